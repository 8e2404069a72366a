"""What a function loads before its first event: counted in modules, not by a stopwatch."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from billing import bootstrap

LAYER = Path(__file__).resolve().parents[2] / "layers" / "billing"
HEAVY = {"aws_lambda_powertools", "holidays", "httpx", "jinja2", "pydantic", "tenacity"}
"""What the layer brings beside the standard library and boto3, all of it slow to load."""
WITHOUT_BOTO3 = {"receive_webhook"}
"""It must answer at once, cold too (docs/adr/0014)."""
NEVER = {"moto", "pytest", "rich", "typer", "simulators", "ops", "requests", "aws_xray_sdk"}
LOADS = {
    "open_run": {"aws_lambda_powertools", "pydantic", "holidays"},
    "plan_company": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "request_approval": set[str](),
    "bill_batch": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "redrive": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "sync_receivables": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity", "holidays"},
    "change_contract": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "churn_contract": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "sweep_contracts": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "settle_company": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "deliver_invoice": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "sweep_invoices": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "update_jestor": {"aws_lambda_powertools", "pydantic", "httpx", "tenacity"},
    "receive_webhook": set[str](),
    "close_run": {"aws_lambda_powertools", "pydantic", "jinja2"},
}

START = """
import json, os, sys
os.environ.update(dict.fromkeys({variables}, "something"), AWS_DEFAULT_REGION="sa-east-1")
import app
from billing import bootstrap
bootstrap._settings = lambda env: __import__("billing.settings")
bootstrap.{name}()
print(json.dumps(sorted({{module.partition(".")[0] for module in sys.modules}})))
"""
PACKAGES = """
import json, sys
import billing.domain, billing.omie, billing.jestor, billing.store
print(json.dumps(sorted({module.partition(".")[0] for module in sys.modules})))
"""


def test_every_function_has_its_list(functions: dict[str, object]) -> None:
    assert set(LOADS) == set(functions)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOADS))
def test_a_function_loads_what_it_needs_and_no_more(name: str, root: Path) -> None:
    variables = [field.name.upper() for field in fields(bootstrap.SettleEnv)] + [
        "NOTIFICATION_TOPIC",
        "JESTOR_BASE_URL",
        *(field.name.upper() for field in fields(bootstrap.ReceiveEnv)),
        *(field.name.upper() for field in fields(bootstrap.ReceivablesEnv)),
        *(
            field.name.upper()
            for env in (bootstrap.BatchEnv, bootstrap.SweepEnv, bootstrap.InvoiceEnv)
            for field in fields(env)
        ),
    ]
    loaded = _loaded(root / "functions" / name, START.format(name=name, variables=variables))
    assert loaded & HEAVY == LOADS[name]
    # httpx takes rich along where it is installed, for its command line; the layer has none
    assert not loaded & (NEVER - {"rich"})
    if name in WITHOUT_BOTO3:
        assert not loaded & {"boto3", "botocore", "urllib3"}


def test_the_packages_themselves_load_nothing(root: Path) -> None:
    assert not _loaded(root / "functions", PACKAGES) & (HEAVY | NEVER | {"boto3", "botocore"})


def _loaded(folder: Path, code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": os.pathsep.join([str(folder), str(LAYER)])},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))
