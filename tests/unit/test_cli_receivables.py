"""`billing-ops receivables` as it is typed, over both simulators."""

import json
from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from billing.settings import LateFeeSettings
from ops import receivables as command
from ops.cli import app
from ops.desk import Tools
from ops.stack import Clients, Stack
from simulators.lab import Lab
from simulators.omie.desk import Desk
from simulators.world import COMPANIES, RECEIVABLE_FIELDS, RECEIVABLES_TABLE

OUTPUTS = {
    "DataBucketName": "dados", "SettingsKey": "config/settings.toml", "SecretsPrefix": "billing-ops",
    "LedgerTableName": "ledger", "SyncReceivablesFunctionName": "sync",
}  # fmt: skip
ACME = COMPANIES["acme"]


class LabStack(Stack):
    """The lab's settings are in force."""

    def settings(self):
        return self.clients.s3.settings


class Rig:
    def __init__(self, monkeypatch):
        self.lab = Lab(4, seed=2, clean=True, latency_ms=5)
        self.asked, self.terminal = [], False
        functions = SimpleNamespace(invoke=lambda **asked: self.asked.append(asked))
        self.stack = LabStack("billing-ops", OUTPUTS, {}, Clients(None, None, self.lab, None, None, None, functions))
        monkeypatch.setattr(command, "jestor_of", lambda here: self.lab.jestor_client())
        monkeypatch.setattr(command, "omie_of", self.omie_of)
        monkeypatch.setattr(command, "Ledger", lambda *_: self.lab.ledger)

    def omie_of(self, here, key, seconds, *, waiting):
        if self.terminal:
            waiting(seconds)
        return self.lab.omie_clients()(key)

    def __call__(self, *words):
        tools = Tools(
            environ={"AWS_PROFILE": "faturamento"},
            clock=self.lab.clock,
            connect=lambda _: self.stack,
            http=httpx.Client,
            at_a_terminal=lambda: self.terminal,
        )
        return CliRunner().invoke(app, ["receivables", *words], obj=tools, prog_name="billing-ops")

    def title(self, due, amount=1000):
        self.lab.clock.advance(1)
        param = {
            "codigo_lancamento_integracao": f"T{due}",
            "codigo_cliente_fornecedor": next(iter(self.lab.omie.apps["acme"].customers)),
            "data_vencimento": f"{due:%d/%m/%Y}",
            "valor_documento": amount,
            "codigo_categoria": ACME.cCodCateg,
            "id_conta_corrente": ACME.nCodCC,
        }
        answer = Desk(self.lab.omie, now=self.lab.now()).ask("financas/contareceber", "IncluirContaReceber", param)
        return answer.json["codigo_lancamento_omie"]


@pytest.fixture
def ops(monkeypatch):
    return Rig(monkeypatch)


def titles(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["titles"]


def test_open_titles_are_listed_the_oldest_first_and_nothing_is_written(ops):
    late, soon = ops.title(date(2026, 11, 20)), ops.title(date(2026, 12, 20), amount=250)
    found = titles(ops("--json"))
    assert [(one["title"], one["delay_days"], one["stage"], one["open"]) for one in found] == [
        (late, 11, "D+5", "1000.00"),
        (soon, 0, None, "250.00"),
    ]
    assert [one["title"] for one in titles(ops("--overdue", "--json"))] == [late]
    assert titles(ops("--company", "nimbus", "--json")) == []
    assert "em 1 título; atrasados" in ops("--overdue").stdout
    shown = ops().stdout
    assert "Em aberto: R$ 1.250,00 em 2 títulos; atrasados: R$ 1.000,00 em 1." in shown
    assert not [write for write in ops.lab.jestor.book()["writes"] if write["table"] == RECEIVABLES_TABLE]


def test_a_persons_mark_is_shown_and_charges_nothing(ops):
    late = ops.title(date(2026, 11, 20))
    ops.lab.sync_receivables("acme")
    row = {RECEIVABLE_FIELDS["exception"]: "Negociado"}
    ops.lab.jestor.edit({"table": RECEIVABLES_TABLE, "id": 1, "data": row}, ops.lab.now())
    (one,) = titles(ops("--overdue", "--json"))
    assert (one["title"], one["mark"], one["stage"], one["charges"]) == (late, "negociado", None, "0.00")


def test_the_last_day_that_is_charged_is_told(ops):
    ops.title(date(2026, 11, 20))
    assert "Encargos contados" not in ops().stdout
    fee = LateFeeSettings(fine_percent=Decimal(2), interest_percent=Decimal(1))
    acme = ops.lab.settings.companies["acme"].model_copy(update={"late_fee": fee})
    ops.lab.settings = ops.lab.settings.model_copy(update={"companies": ops.lab.settings.companies | {"acme": acme}})
    shown = ops("--overdue").stdout
    assert "Encargos contados até 30/11/2026, o último dia cujos pagamentos o Omie já conhece." in shown
    assert "R$ 23,33" in shown


def test_nothing_late_says_so(ops):
    assert ops("--overdue").stdout == "Nenhum título atrasado.\n"
    assert ops().stdout == "Nenhum título em aberto.\n"


def test_a_sync_is_asked_for_in_the_background(ops):
    assert ops("--sync", "--company", "acme").exit_code == 0
    (asked,) = ops.asked
    assert (asked["FunctionName"], asked["InvocationType"], json.loads(asked["Payload"])) == (
        "sync", "Event", {"company": "acme"},
    )  # fmt: skip


def test_without_a_table_one_line_says_so(ops):
    jestor = ops.lab.settings.jestor.model_copy(update={"receivables": None})
    ops.lab.settings = ops.lab.settings.model_copy(update={"jestor": jestor})
    result = ops()
    assert result.exit_code == 1
    assert result.stderr.startswith("A configuração não tem [jestor.receivables]")


def test_who_must_wait_for_omie_is_told_why(ops):
    ops.terminal = True
    assert "duas vezes por minuto: espero" in ops("--overdue").stderr
