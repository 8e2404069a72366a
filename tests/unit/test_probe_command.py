"""`billing-ops probe` as it is typed: what it refuses, what it writes, how it ends."""

import tomllib
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from typer.testing import CliRunner

from billing.domain.month import SAO_PAULO
from billing.settings import load_settings
from ops.cli import app
from ops.desk import Tools
from ops.stack import Execution, Lane
from simulators.clock import VirtualClock
from simulators.lab import DEMO
from simulators.memory_store import MemoryLanes
from simulators.omie.core import OmieCore, apps_of
from simulators.omie.transport import transport
from simulators.world import OMIE_KEYS, make_world

START = datetime(2026, 12, 8, 9, 17, tzinfo=SAO_PAULO)
WORLD = make_world(14, 7, START.date(), clean=True)
TEST_ACCOUNT = DEMO.read_text(encoding="utf-8").replace(
    "[companies.acme]\n", "[companies.acme]\ntest_account = true\n", 1
)


class Bench:
    """The stack, the account and the operator's machine; a test spoils one thing of it."""

    name, region = "billing-ops", "sa-east-1"
    parameters = {"OmieBaseUrl": "https://omie.test/api/v1/"}  # noqa: RUF012

    def __init__(self, settings=TEST_ACCOUNT, start=START):
        self.clock = VirtualClock(start)
        self.omie = OmieCore(apps_of(WORLD, now=start.timestamp() - 86400), seed=1, latency_ms=200)
        self.lanes, self.text, self.facts = MemoryLanes(), settings, {}
        self.lane_is, self.running, self.terminal = Lane(None, ""), None, False
        self.customer = self.omie.apps["acme"].customer(self.omie.apps["acme"].customer_list[0])

    def __call__(self, *words, out, company="acme", customer=None):
        typed = ["probe", "--company", company, "--customer", customer or self.customer["cnpj_cpf"], "--out", str(out)]
        return CliRunner().invoke(app, [*typed, *words], obj=self.tools(), prog_name="billing-ops")

    def tools(self):
        way = transport(self.omie, lambda: self.clock.now().timestamp(), self.clock.advance)
        return Tools(
            environ={"AWS_PROFILE": "x"},
            clock=self.clock,
            connect=lambda _: self,
            http=lambda: httpx.Client(transport=way, timeout=30),
            at_a_terminal=lambda: self.terminal,
        )

    # what the command asks of the stack

    def settings(self):
        return load_settings(self.text)

    def latest_execution(self):
        return self.running

    def lane(self, company, now):
        return self.lane_is

    def omie_secret(self, company):
        return f"omie/{company}"

    def read_secret(self, name, fields):
        return OMIE_KEYS[name.partition("/")[2]]

    def ask_omie(self, company, question, now, window):
        return self.lanes.ask(company, question, now.timestamp(), window)

    def note_omie_error(self, company, method, now):
        self.lanes.note_reader_error(company, method, now.timestamp())

    def block_lane(self, company, until, reason):
        self.lanes.block(company, until.timestamp(), reason)

    def put_facts(self, key, text):
        self.facts[key] = text

    @property
    def calls(self):
        return self.omie.read_book()["total_calls"]


def test_it_measures_writes_and_leaves_nothing(tmp_path):
    bench = Bench()
    ended = bench("--yes", out=tmp_path)
    assert ended.exit_code == 0, ended.output
    facts = tomllib.loads((tmp_path / "switches.toml").read_text(encoding="utf-8"))
    assert facts["switches"]["second_billing"] == "accept"
    assert f"{facts['measured_on']}" == "2026-12-08"
    assert bench.facts == {"probe/acme/switches.toml": (tmp_path / "switches.toml").read_text(encoding="utf-8")}
    assert (tmp_path / "sonda.txt").read_text(encoding="utf-8").startswith("Sonda do Omie de acme, 08/12/2026: ")
    assert all(order.cancelled for order in bench.omie.apps["acme"].orders.values())
    assert not bench.omie.book.blocks


def test_contracts_of_others_in_stage_20_are_never_billed_by_a_lot(tmp_path):
    bench = Bench()
    assert bench("--yes", out=tmp_path).exit_code == 0
    ours = {
        contract.nCodCtr
        for contract in bench.omie.apps["acme"].contract_list
        if contract.cCodIntCtr.startswith("SONDA-")
    }
    assert {billing.nCodCtr for billing in bench.omie.book.billings} <= ours
    assert "há contratos alheios na etapa 20" in (tmp_path / "sonda.txt").read_text(encoding="utf-8")


def test_an_account_that_is_not_marked_as_a_test_one_is_refused(tmp_path):
    bench = Bench(DEMO.read_text(encoding="utf-8"))
    ended = bench("--yes", out=tmp_path)
    assert ended.exit_code == 2
    assert "acme não está marcada como conta de teste" in ended.output
    assert "test_account = true em [companies.acme]" in ended.output
    assert bench.calls == 0


def test_only_the_marked_company_may_be_probed(tmp_path):
    bench = Bench()
    assert bench("--yes", out=tmp_path, company="nimbus").exit_code == 2
    assert bench("--yes", out=tmp_path, company="acmee").exit_code == 2
    assert bench.calls == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda b: setattr(b, "running", Execution("a:r", "RUNNING", START, {}, None, "", "")),
            "ainda está em andamento",
        ),
        (lambda b: setattr(b, "lane_is", Lane(START + timedelta(minutes=9), "o Omie bloqueou")), "está parada até"),
        (lambda b: b.clock.set(START.replace(hour=23, minute=40)), "Falta pouco para a meia-noite"),
        (lambda b: setattr(b.omie.apps["acme"], "app_secret", "x"), "o Omie recusa a chave"),
    ],
)
def test_it_does_not_begin_while_it_may_not(spoil, said, tmp_path):
    bench = Bench()
    spoil(bench)
    ended = bench("--yes", out=tmp_path)
    assert ended.exit_code == 1
    assert said in ended.output
    assert bench.calls <= 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("customer", "said"), [("12.345", "escreva o CNPJ ou o CPF inteiro"), ("11222333000181", "Nenhum cliente")]
)
def test_a_customer_that_cannot_be_billed_is_refused_before_anything_is_made(customer, said, tmp_path):
    bench = Bench()
    ended = bench("--yes", out=tmp_path, customer=customer)
    assert ended.exit_code == 2
    assert said in ended.output
    assert len(bench.omie.apps["acme"].customer_list) == len(set(bench.omie.apps["acme"].customer_list))


def test_without_a_terminal_it_asks_for_yes_and_a_person_may_say_no(tmp_path):
    bench = Bench()
    assert bench(out=tmp_path).exit_code == 2
    bench.terminal = True
    ended = bench(out=tmp_path)
    assert ended.exit_code == 1
    assert "Cancelado; nada foi criado." in ended.output
    assert bench.calls == 0


def test_a_folder_that_does_not_exist_is_told_before_anything_is_made(tmp_path):
    bench = Bench()
    ended = bench("--yes", out=tmp_path / "nenhuma")
    assert ended.exit_code == 2
    assert "a pasta não existe" in ended.output
    assert bench.calls == 0


def test_an_interrupted_one_says_what_it_has_and_ends_with_130(tmp_path):
    bench = Bench()
    way, left = transport(bench.omie, lambda: bench.clock.now().timestamp(), bench.clock.advance), [40]

    def answer(request):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return way.handle_request(request)

    tools = replace(bench.tools(), http=lambda: httpx.Client(transport=httpx.MockTransport(answer)))
    bench.tools = lambda: tools
    ended = bench("--yes", out=tmp_path)
    assert ended.exit_code == 130
    assert "Parou antes do fim: interrompida por você." in (tmp_path / "sonda.txt").read_text(encoding="utf-8")
    assert not any(
        contract.cCodIntCtr.startswith("SONDA-") and contract.cCodSit != "99"
        for contract in bench.omie.apps["acme"].contract_list
    )
