"""`billing-ops invoices` as it is typed: the stores are the ledger's and the documents' twins in memory."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from billing.domain.charge import ChargeKey, Event
from billing.domain.month import BillingMonth
from billing.store.documents import Document
from ops.cli import app
from ops.desk import Tools
from ops.stack import Stack
from simulators.clock import VirtualClock
from simulators.lab import demo_settings
from simulators.memory_store import MemoryDocuments, MemoryLedger

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
DECEMBER = BillingMonth(2026, 12)


class Queue:
    def __init__(self):
        self.sent = []

    def send_message(self, **message):
        self.sent.append(message)


class MemoryStack(Stack):
    """The stack with its stores in memory."""

    def settings(self):
        return demo_settings()

    def month_charges(self, company, month):
        return list(LEDGER.by_month(company, month))

    def charges(self, contract, month, kinds):
        found = LEDGER.get_many(ChargeKey(contract, month, kind) for kind in kinds)
        return list(found.values()), None

    def documents(self, keys):
        return DOCUMENTS.get_many(keys)


LEDGER = MemoryLedger()
DOCUMENTS = MemoryDocuments()


@pytest.fixture(scope="module", autouse=True)
def month():
    told = {"told_at": "2026-12-01T11:59:00+00:00", "told": "x"}
    documents = {
        1: Document("acme#1", state="authorised", told_state="authorised", number="44", nCodNF=9, **told),
        2: Document(
            "acme#2", state="rejected", told_state="rejected", problem="A prefeitura rejeitou a NFS-e. E1.", **told
        ),
        3: Document("acme#3", state="waiting", awaits="boleto"),
        4: Document(
            "acme#4",
            state="authorised",
            told_state="authorised",
            number="45",
            problem="WhatsApp não enviado: x.",
            **told,
        ),
        10: None,
    }
    for number, document in documents.items():
        key = ChargeKey(f"JST-{number}", DECEMBER)
        LEDGER.apply(key, Event.ADOPT, now=NOW, who="t", why="", company="acme", amount=120050, run="r", nCodOS=number)
        if document:
            DOCUMENTS.take(document.document, holder="t", now=NOW, until=NOW)
            DOCUMENTS.put(document, holder="t")
    LEDGER.apply(ChargeKey("JST-9", DECEMBER), Event.PARK, now=NOW, who="t", why="", company="acme", amount=1, run="r")


@pytest.fixture
def billing_ops():
    queue = Queue()
    stack = MemoryStack("billing-ops", {"InvoiceEventsQueueUrl": "the-queue"}, {}, SimpleNamespace(sqs=queue))

    def call(*arguments, code=0):
        tools = Tools(
            environ={"AWS_PROFILE": "x", "AWS_REGION": "sa-east-1"},
            clock=VirtualClock(NOW),
            connect=lambda place: stack,
        )
        result = CliRunner().invoke(app, ["invoices", *arguments], obj=tools)
        assert result.exit_code == code, result.output
        return result.output

    return SimpleNamespace(call=call, sent=queue.sent)


def test_each_invoice_of_the_month_is_shown_with_what_it_lacks(billing_ops):
    told = billing_ops.call()
    assert told.startswith("2026-12: 5 faturadas, 1 entregue ao Jestor, 4 pendentes.\n")
    rows = {line.split()[0]: line for line in told.splitlines() if line.startswith("JST-")}
    assert set(rows) == {"JST-1", "JST-2", "JST-3", "JST-4", "JST-10"}
    for code, words in {
        "JST-1": ("R$ 1.200,50", "Faturado", "44", "01/12 08:59"),
        "JST-2": ("NFS-e rejeitada",),
        "JST-3": ("Aguardando NFS-e",),
        "JST-4": ("Faturado",),
        "JST-10": ("Sem notícia do Omie",),
    }.items():
        for word in words:
            assert word in rows[code]
    lacks = told.partition("\nO que falta:\n")[2].splitlines()
    for line, words in zip(
        lacks,
        (
            "  JST-2: A prefeitura rejeitou a NFS-e. E1.",
            "  JST-3: o boleto ainda não foi gerado",
            "  JST-4: WhatsApp não enviado",
        ),
        strict=False,
    ):
        assert line.startswith(words)
    assert lacks[3] == ""
    assert "Não fature de novo." in told


def test_contracts_come_in_the_order_of_their_numbers(billing_ops):
    rows = [line.split()[0] for line in billing_ops.call().splitlines() if line.startswith("JST-")]
    assert rows == ["JST-1", "JST-2", "JST-3", "JST-4", "JST-10"]


def test_only_what_is_missing_and_only_one_company_may_be_asked_for(billing_ops):
    told = json.loads(billing_ops.call("--missing", "--json"))
    assert [line["contract"] for line in told["invoices"]] == ["JST-2", "JST-3", "JST-4", "JST-10"]
    assert told["invoices"][1] == {
        "contract": "JST-3",
        "company": "acme",
        "month": "2026-12",
        "amount": 120050,
        "nCodOS": 3,
        "state": "waiting",
        "invoice_number": None,
        "told_at": None,
        "delivered": False,
        "note": "o boleto ainda não foi gerado",
    }
    assert billing_ops.call("--company", "nimbus").startswith("2026-12: 0 faturadas")


def test_an_invoice_is_sent_again_by_a_hint_that_says_so(billing_ops):
    told = billing_ops.call("--again", "JST-4", "--again", "JST-4")
    assert "JST-4 (2026-12) será lida no Omie" in told
    (message,) = billing_ops.sent
    assert (message["QueueUrl"], message["MessageGroupId"]) == ("the-queue", "acme#4")
    body = json.loads(message["MessageBody"])
    assert (body["nCodOS"], body["again"], body["source"]) == (4, True, "operator")


@pytest.mark.parametrize("contract", ["JST-9", "JST-77"])
def test_what_was_not_billed_cannot_be_sent_again(billing_ops, contract):
    assert f"{contract} não foi faturado em 2026-12" in billing_ops.call("--again", contract, code=2)
    assert billing_ops.sent == []
