# billing-ops. `make help` lists what there is. Needs Python 3.11 to 3.13, make and package registries; nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := .tools/uv/bin/uv
COMPILE := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --universal \
    --python-version 3.11

# What Python compiles is kept, outside the tree, also where the machine says that it is not to be.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache

.PHONY: help demo test test-all rows test-offline test-deployed check up down setup setup-dev lock build bench browser format clean docs deploy model sim rows mutation chaos fuzz

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

demo: setup ## bill a month of simulated contracts on the real template: make demo ARGS="--contracts 500 --keep"
	@$(BIN)/python -m ops.demo $(ARGS)

test: setup ## everything: check, the slow ones and the simulation; beside them the template's lint and the deployed stack
	@$(MAKE) --no-print-directory -j2 test-offline test-deployed

test-all: test model ## all of it, hours: what make test leaves out, 50,000 schedules, 20,000 odd rows, both mixes of chaos
	$(BIN)/python -m pytest -q -n 2 -m long tests/unit
	@$(MAKE) --no-print-directory sim SEED=0 SCHEDULES=50000
	@$(MAKE) --no-print-directory sim EXHAUSTIVE=singles
	@$(MAKE) --no-print-directory rows EXAMPLES=20000
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory chaos ARGS="--mix rough --contracts 80 --seed 6709"
	@$(MAKE) --no-print-directory chaos

test-offline: check ## check, the slow ones, the model's and the simulation's tests
	$(BIN)/python -m pytest -q -n 2 -m "slow and not long" tests/unit tests/contract tests/template
	SCHEDULES=$(or $(SCHEDULES),5000) $(BIN)/python -m pytest -n 2 --dist loadfile -m "not model" tests/model tests/simulation

test-deployed: setup ## the template's lint, then a stack of its own, end to end; printed when it is through
	@mkdir -p build
	@(AWS_DEFAULT_REGION=sa-east-1 SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam validate --lint && \
	    MAKEFLAGS= $(BIN)/python -m pytest tests/e2e $(ARGS)) > build/deployed.txt 2>&1; result=$$?; cat build/deployed.txt; exit $$result

check: setup-dev .tools/sam/.done ## lint, types, unit, contract and template tests; offline
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n auto --maxprocesses=4 -m "not slow" --hypothesis-profile=check tests/unit tests/contract tests/template

sim: setup-dev ## the simulation: make sim SEED=0 SCHEDULES=10000, EVENINGS=1, LATE=1, RESUME=1, EXHAUSTIVE=singles|pairs; one schedule prints what happened
	@$(BIN)/python -m tests.simulation --seed $(or $(SEED),0) --schedules $(or $(SCHEDULES),10000) \
	    $(if $(EVENINGS),--evenings) $(if $(LATE),--late) $(if $(RESUME),--resume) --exhaustive "$(EXHAUSTIVE)" --script "$(SCRIPT)" --every $(or $(EVERY),1) --jobs $(or $(JOBS),2)

rows: setup-dev ## one row or title with anything in it among twelve: make rows EXAMPLES=20000
	PARTS=20 EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest -q -n 2 tests/simulation/test_rows.py

up: setup ## start the whole stack for work and leave it running (OMIE_BASE_URL, JESTOR_BASE_URL, SETTINGS)
	@$(BIN)/python -m ops.local up --late-titles 12 $(ARGS)

down: ## end what `make up` started
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m ops.local down; else echo "Nothing was up."; fi

build: setup ## sam build: functions and layer into .aws-sam
	@$(BIN)/python -c "from ops import local; local.LOCAL.mkdir(exist_ok=True); local.build()"

docs: setup-dev ## write the generated part of docs/configuration.md anew
	@$(BIN)/python -m ops.docs

deploy: build ## publish to your AWS account: make deploy PARAMETERS="OmieBaseUrl=https://…/api/v1/ JestorBaseUrl=https://…"
	@.tools/sam/bin/sam deploy $(ARGS) --parameter-overrides $(PARAMETERS) \
	    "PythonRuntime=python$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"

chaos: setup ## the month on the deployed stack while a fifth of the billing calls goes wrong (half an hour)
	@$(BIN)/python -m ops.chaos $(ARGS)

bench: setup ## the numbers of docs/performance.md
	@$(BIN)/python -m bench $(ARGS)

setup: setup-dev .tools/sam/.done .tools/emulator/.done

setup-dev: .venv/.done

browser: ## headless Chromium from Debian's packages, for the report's browser test
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }
	@chromium --version

model: setup-dev ## verify docs/model/charge.pml exhaustively with spin (Debian's package): 3 minutes, 1 GB
	@command -v spin >/dev/null && command -v gcc >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq spin gcc >/dev/null; }
	@$(BIN)/python -m ops.model

mutation: .tools/mutation/.done ## do the tests notice changed rules? Score per file, 90 % promised: 30 minutes, one core
	@nice -n 10 .tools/mutation/bin/python -m ops.mutation $(ARGS)

fuzz: .tools/fuzz/.done ## 100,000 bad webhooks, then schemathesis against docs/openapi.yaml: make fuzz COUNT=100000
	@PYTHONPATH=.:layers/billing .tools/fuzz/bin/python -m tests.fuzz --count $(or $(COUNT),100000)

lock: .tools/uv/.done ## resolve the requirement files anew
	$(COMPILE) --upgrade pyproject.toml -o layers/billing/requirements.txt
	$(COMPILE) --upgrade pyproject.toml --extra ops --extra dev -o requirements/dev.txt
	for name in sam emulator uv mutation fuzz; do $(COMPILE) --upgrade requirements/$$name.in -o requirements/$$name.txt; done

format: setup-dev ## ruff format and the fixes it can make
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: down ## remove what the build made; keeps the tools
	rm -rf .aws-sam build .local

# --- tools, each in its own environment: aws-sam-cli and the emulator pin different botocore ---------------------------

.tools/uv/.done: requirements/uv.txt
	@echo "setting up uv (once)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed; this is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.done: .tools/uv/.done requirements/dev.txt pyproject.toml
	@echo "setting up the virtual environment (once)"
	@$(UV) venv --quiet --allow-existing --python .tools/uv/bin/python .venv
	@$(UV) pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

.tools/%/.done: requirements/%.txt .tools/uv/.done
	@echo "setting up $* (once)"
	@$(UV) venv --quiet --allow-existing --python .tools/uv/bin/python .tools/$*
	@$(UV) pip sync --quiet --python .tools/$*/bin/python --require-hashes requirements/$*.txt
	@touch $@
