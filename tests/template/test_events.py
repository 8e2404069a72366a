"""The samples in events/: each is what its step really receives, and the handlers take it as it is."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from billing import bootstrap
from billing.batches import read_lines, write_batches
from billing.bill_batch import Batch, BillDeps, one_by_one
from billing.close_run import CloseDeps
from billing.deliver_invoice import InvoiceDeps
from billing.domain.charge import ChargeKey, Event, ParkClass
from billing.domain.month import BillingMonth
from billing.domain.plan import Action, PlanLine, plan_hash
from billing.jestor.client import JestorRefused
from billing.open_run import OpenRunDeps, RunRequest
from billing.receive_webhook import Known, ReceiveDeps, Sender
from billing.redrive import RedriveDeps, Request
from billing.request_approval import ApprovalDeps
from billing.settings import Settings, load_settings
from billing.settle_company import SettleDeps
from billing.sweep_invoices import InvoiceSweepDeps
from billing.sync_receivables import ReceivablesDeps
from billing.update_jestor import UpdateDeps
from simulators.clock import VirtualClock
from simulators.living_lab import LivingLab
from simulators.memory_store import (
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryLanes,
    MemoryLedger,
    MemoryObjects,
    MemoryQueues,
    MemoryRuns,
    MemoryTasks,
    MemoryWebhooks,
)
from simulators.world import FIELDS

START = datetime(2026, 12, 1, 9, 0, 12, tzinfo=UTC)
DEMO_SECRET = "demo-jestor-webhook-secret"
KEY = "runs/2026-12/1/acme/8c1f20d4b7aa/plan.jsonl"

Events = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def events(root: Path) -> Events:
    return lambda name: json.loads((root / "events" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def lines(root: Path) -> list[str]:
    return (root / "events" / "plan.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    return load_settings((root / "config" / "demo.toml").read_text())


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def objects(lines: list[str], events: Events) -> MemoryObjects:
    """The bucket with the plan that the samples speak of."""
    bucket = MemoryObjects()
    bucket.bucket = events("settle_company")["batches"]["bucket"]
    bucket.texts[KEY] = "".join(f"{line}\n" for line in lines)
    return bucket


class Letters:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def send(self, subject: str, text: str) -> None:
        self.sent.append((subject, text))


@pytest.fixture
def load(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], ModuleType]:
    """The function's app.py as Lambda would load it, but for whom it calls."""

    def load(name: str, deps: object) -> ModuleType:
        monkeypatch.setattr(bootstrap, name, lambda: deps)
        monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "billing-ops")
        monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "billing-ops")
        spec = importlib.util.spec_from_file_location(f"function_{name}", root / "functions" / name / "app.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_every_function_has_a_sample(root: Path, functions: dict[str, Any]) -> None:
    samples = {path.stem for path in (root / "events").glob("*.json")}
    webhooks = {name for name in samples if name.startswith("webhook_")}
    assert len(webhooks) == 3
    assert samples - webhooks == set(functions) - {"receive_webhook"} | {"schedule"}


def test_the_schedule_sends_what_its_sample_says(of_type: Any, events: Events) -> None:
    schedule = of_type("AWS::Scheduler::Schedule")["MonthlySchedule"]
    assert json.loads(schedule["Target"]["Input"]) == events("schedule")


def test_the_state_machine_wraps_as_the_samples_are_wrapped(definition: dict[str, Any], events: Events) -> None:
    company = definition["States"]["Companies"]["ItemProcessor"]["States"]
    send = company["BillBatches"]["ItemProcessor"]["States"]["SendBatch"]
    message = json.loads(events("bill_batch")["Records"][0]["body"])
    assert _keys(definition["States"]["OpenRun"]["Parameters"]["Payload"]) == set(events("open_run"))
    assert _keys(company["RequestApproval"]["Parameters"]["Payload"]) == set(events("request_approval"))
    assert _keys(send["Parameters"]["MessageBody"]) == set(message)


def test_a_scheduled_run_asks_for_every_company_that_is_due_this_month(events: Events) -> None:
    asked = RunRequest.from_event({"input": events("schedule"), "execution": "arn:x"})
    assert asked == RunRequest(execution="arn:x", trigger="schedule", who="schedule")


def test_an_operators_run_asks_for_what_was_typed(events: Events) -> None:
    asked = RunRequest.from_event(events("open_run"))
    assert (asked.trigger, asked.month, asked.companies, asked.preview, asked.who) == (
        "operator", BillingMonth(2026, 12), ("acme",), False, "ana",
    )  # fmt: skip


def test_open_run_answers_what_plan_company_receives(
    load: Any, events: Events, settings: Settings, clock: VirtualClock
) -> None:
    deps = OpenRunDeps(settings, MemoryRuns(), clock, lambda day: False, lambda execution: True)
    answer = load("open_run", deps).handler(events("open_run"), None)
    assert answer["companies"] == [events("plan_company")]
    assert _but(answer, "companies") == _but(events("close_run"), "companies")


def test_plan_company_adds_to_what_it_received(events: Events) -> None:
    received, planned = events("plan_company"), events("settle_company")
    assert received.items() <= planned.items()
    assert set(planned) - set(received) == {"plan", "decision", "reasons", "planned_at", "batches"}


def test_the_plans_hash_is_the_plans(events: Events, lines: list[str]) -> None:
    plan = events("settle_company")["plan"]
    assert plan["hash"] == plan_hash(lines)
    assert plan["lines"] == len(lines)
    assert [PlanLine.from_json(line).to_json() for line in lines] == lines


def test_request_approval_keeps_the_token_and_says_how_to_answer(
    load: Any, events: Events, clock: VirtualClock
) -> None:
    runs, letters, event = MemoryRuns(), Letters(), events("request_approval")
    load("request_approval", ApprovalDeps(runs, letters, clock)).handler(event, None)
    kept = runs.get_approval("2026-12#mensalidade#acme", "acme")
    assert kept
    assert kept.token == event["token"]
    ((_, text),) = letters.sent
    assert "billing-ops approve --month 2026-12 --company acme" in text
    assert event["token"] not in text


def test_the_plan_writes_the_batch_that_the_queue_delivers(
    events: Events, objects: MemoryObjects, lines: list[str]
) -> None:
    to_bill = [line for line in map(PlanLine.from_json, lines) if line.action is Action.BILL]
    planned = events("settle_company")
    written = write_batches(objects, planned, to_bill, 0, page_of=lambda _: 1, looked_at=1796115612.0)
    assert written == planned["batches"]
    (message,) = objects.read_lines(planned["batches"]["key"])
    batch = json.loads(events("bill_batch")["Records"][0]["body"])["batch"]
    assert json.loads(message) == batch
    assert read_lines(objects, Batch.of(batch).part) == to_bill


def test_bill_batch_leaves_a_replaced_plan_alone_and_answers_the_run(
    load: Any, events: Events, settings: Settings, clock: VirtualClock
) -> None:
    event, tasks = events("bill_batch"), MemoryTasks()
    token = json.loads(event["Records"][0]["body"])["token"]
    tasks.waiting.add(token)
    deps = BillDeps(
        settings, MemoryLedger(), MemoryLanes(), MemoryRuns(), MemoryObjects(), MemoryQueues(), tasks, _no_omie, clock,
        one_by_one,
    )  # fmt: skip
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 120_000)
    assert load("bill_batch", deps).handler(event, context) == {"batchItemFailures": []}
    assert tasks.ended[token]["output"] == {"wait_seconds": 0, "billed": 0, "parked": 0, "in_doubt": 0, "left": 4}


def test_redrive_reads_what_the_command_asks(events: Events) -> None:
    asked = Request.from_event(events("redrive"))
    assert (asked.action, asked.month, asked.dry_run) == ("redrive", BillingMonth(2026, 12), False)
    assert (asked.classes, asked.companies) == ({ParkClass.TRANSIENT, ParkClass.DATA}, {"acme"})


def test_settle_company_takes_the_plan_and_answers_for_each_line(
    load: Any, events: Events, settings: Settings, clock: VirtualClock, objects: MemoryObjects, lines: list[str]
) -> None:
    ledger = MemoryLedger()
    _each_bill_line(ledger, lines, Event.PARK)
    deps = SettleDeps(settings, ledger, MemoryRuns(), objects, MemoryQueues(), lambda company: None, clock)  # type: ignore[arg-type]
    answer = load("settle_company", deps).handler(events("settle_company"), None)
    assert answer["decision"] == "done"
    (settled,) = events("close_run")["companies"]
    assert set(answer) == set(settled)


def test_close_run_balances_the_sample(
    load: Any, events: Events, settings: Settings, clock: VirtualClock, objects: MemoryObjects, lines: list[str]
) -> None:
    ledger, runs, event = MemoryLedger(), MemoryRuns(), events("close_run")
    _each_bill_line(ledger, lines, Event.ADOPT)
    runs.open("2026-12", "mensalidade#acme", trigger="operator", execution=event["execution"], now=START)
    deps = CloseDeps(settings, ledger, runs, objects, Letters(), clock)
    answer = load("close_run", deps).handler(event, None)
    assert answer["balanced"] is True
    (acme,) = answer["companies"]
    assert (acme["planned"], acme["billed"], acme["skipped"], acme["parked"]) == (14, 4, 4, 6)
    assert objects.get_text(answer["report"]["html"]).lstrip().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "queue", "group", "hint"),
    [
        ("webhook_jestor_contract", "changes", "JST-12", {"contract": "JST-12", "jestor_id": 12}),
        ("webhook_jestor_churn", "churns", "JST-12", {"contract": "JST-12", "jestor_id": 12}),
        (
            "webhook_omie",
            "invoices",
            "acme#7001",
            {"company": "acme", "topic": "NFSe.NotaAutorizada", "nCodOS": 7001, "nIdNf": 5021, "nCodTitulo": None,
             "numero_pedido": None},
        ),
    ],
)  # fmt: skip
def test_receive_webhook_accepts_each_sample_once(
    load: Any, events: Events, clock: VirtualClock, name: str, queue: str, group: str, hint: dict[str, Any]
) -> None:
    queues, ledger = MemoryQueues(), MemoryLedger()
    known = Known((DEMO_SECRET,), {"acme": Sender(("demo-omie-webhook-token-acme",), "demo-app-key-acme")})
    senders = SimpleNamespace(known=lambda *, fresh=False: known)
    told: list[str] = []
    urls: dict[Any, str] = {"changes": "changes", "churns": "churns", "invoices": "invoices"}
    deps = ReceiveDeps(
        senders, MemoryWebhooks(), ledger, queues, urls, clock, lambda outcome, **facts: told.append(outcome)
    )
    handler = load("receive_webhook", deps).handler
    answers = [handler(events(name), None) for _ in range(2)]
    assert [answer["statusCode"] for answer in answers] == [202, 202]
    assert told == ["accepted", "known"]
    assert list(queues.sent) == [queue]
    ((sent_group, message),) = queues.sent[queue]
    assert (sent_group, message | hint) == (group, message)
    assert set(message) - set(hint) == {"source", "webhook", "received_at"}
    assert ledger.hold("JST-12") == ("Churn avisado pelo Jestor." if queue == "churns" else None)


def test_sync_receivables_asks_once_a_company_and_leaves_one_without_a_table_alone(
    load: Any, events: Events, settings: Settings, clock: VirtualClock
) -> None:
    queues = MemoryQueues()
    deps = ReceivablesDeps(
        settings, lambda: None, _no_omie, MemoryLedger(), queues, "receivables", clock, lambda day: False,  # type: ignore[arg-type,return-value]
    )  # fmt: skip
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
    handler = load("sync_receivables", deps).handler
    assert handler({}, context) == {"asked": ["acme", "nimbus"]}
    (group, message), _ = queues.sent["receivables"]
    record = events("sync_receivables")["Records"][0]
    assert (group, message) == (record["attributes"]["MessageGroupId"], json.loads(record["body"]))
    without = settings.model_copy(update={"jestor": settings.jestor.model_copy(update={"receivables": None})})
    handler = load("sync_receivables", replace(deps, settings=without)).handler
    assert handler(events("sync_receivables"), context) == {"batchItemFailures": []}
    assert handler({"company": "acme"}, context) == {"asked": []}


def test_redrive_takes_what_was_typed_and_answers_for_each_letter(
    load: Any, events: Events, settings: Settings, clock: VirtualClock
) -> None:
    asked = Request.from_event(events("redrive"))
    assert asked.classes == {ParkClass.TRANSIENT, ParkClass.DATA}
    assert (asked.action, asked.who, asked.companies, asked.month) == (
        "redrive",
        "ana",
        {"acme"},
        BillingMonth(2026, 12),
    )
    queues = MemoryQueues()
    deps = RedriveDeps(
        settings, MemoryLedger(), MemoryLanes(), MemoryRuns(), MemoryObjects(), MemoryDeadLetters(queues), queues,
        MemoryTasks(), _no_omie, clock,
    )  # fmt: skip
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
    answer = load("redrive", deps).handler(events("redrive"), context)
    assert (answer["items"], answer["runs"], answer["more"]) == ([], [], False)


def test_deliver_invoice_takes_the_hint_and_leaves_alone_what_we_did_not_bill(
    load: Any, events: Events, settings: Settings, clock: VirtualClock
) -> None:
    queues = MemoryQueues()
    deps = InvoiceDeps(
        settings, MemoryLedger(), MemoryDocuments(), MemoryLanes(), MemoryObjects(), queues, _no_omie, _no_jestor, clock,
        "omie-writes", "invoice-events",
    )  # fmt: skip
    event = events("deliver_invoice")
    assert load("deliver_invoice", deps).handler(event, None) == {"batchItemFailures": []}
    deps.lanes.block("acme", clock.now().timestamp() + 60, "parada")
    again = [{"itemIdentifier": event["Records"][0]["messageId"]}]
    assert load("deliver_invoice", deps).handler(event, None) == {"batchItemFailures": again}


def test_the_invoice_sweep_answers_for_every_company(
    load: Any, events: Events, settings: Settings, clock: VirtualClock, of_type: Any
) -> None:
    objects = MemoryObjects()
    objects.put_json("phones/shared.json", {"day": "2026-12-01", "marks": []})
    deps = InvoiceSweepDeps(
        settings, MemoryLedger(), MemoryDocuments(), objects, MemoryQueues(), _no_omie, _no_jestor, clock, Letters(),
        "invoice-events",
    )  # fmt: skip
    answer = load("sweep_invoices", deps).handler(events("sweep_invoices"), None)
    assert set(answer["companies"]) == set(settings.companies)
    schedule = of_type("AWS::Scheduler::Schedule")["InvoiceSchedule"]
    assert json.loads(schedule["Target"]["Input"]) == events("sweep_invoices")


def test_update_jestor_parks_what_jestor_refuses(
    load: Any, events: Events, settings: Settings, clock: VirtualClock
) -> None:
    queues = MemoryQueues()
    deps = UpdateDeps(settings, _refusing_jestor, queues, clock)  # type: ignore[arg-type]
    assert load("update_jestor", deps).handler(events("update_jestor"), None) == {"batchItemFailures": []}
    (letter,) = queues.parked
    assert (letter["jestor_id"], letter["fields"]) == (12, ["observacao_omie"])


def test_change_contract_orders_what_the_webhook_told(load: Any, events: Events) -> None:
    lab, event = LivingLab(12, 7, clean=True), events("change_contract")
    lab.sweep()
    lab.edit(12, {FIELDS["unit_amount"]: 777})
    module = load("change_contract", lab.living_deps())
    assert module.handler(event, None) == {"batchItemFailures": []}
    (order,) = [message.body["order"] for message in lab.fifo.messages]
    assert (order["contract"], order["webhook"]) == ("JST-12", "2f7c1b6a9d")


def test_a_hint_that_comes_too_early_goes_back_to_its_queue(load: Any, events: Events) -> None:
    lab, event = LivingLab(12, 7, clean=True), events("churn_contract")
    lab.ledger.put_hold("JST-12", "churn", lab.clock.now())
    queues = MemoryQueues()
    module = load("churn_contract", replace(lab.living_deps(), queues=queues))
    (record,) = event["Records"]
    assert module.handler(event, None) == {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
    assert [(receipt, round(seconds)) for _, receipt, seconds in queues.hidden] == [(record["receiptHandle"], 60)]


def test_sweep_contracts_sweeps_what_was_asked(load: Any, events: Events) -> None:
    lab = LivingLab(12, 7, clean=True)
    answer = load("sweep_contracts", lab.sweep_deps()).handler(events("sweep_contracts"), None)
    assert (answer["found"], set(answer["companies"])) == (0, {"acme"})


def test_the_samples_hold_no_key_and_no_real_address(root: Path) -> None:
    for path in (root / "events").iterdir():
        text = path.read_text()
        assert "app_secret" not in text
        assert all(part.startswith("cliente") for part in text.split("@")[1:]), path.name


def _no_jestor() -> Any:
    raise AssertionError("Jestor must not be asked")


def _refusing_jestor() -> Any:
    raise JestorRefused("não", table="t", fix="Confira.")


def _no_omie(company: str) -> Any:
    raise AssertionError(f"a batch of a replaced plan must not reach Omie ({company})")


def _each_bill_line(ledger: MemoryLedger, lines: list[str], event: Event) -> None:
    for line in map(PlanLine.from_json, lines):
        if line.action is Action.BILL:
            ledger.apply(
                ChargeKey(line.contract, BillingMonth(2026, 12)),
                event,
                now=START,
                who="a test",
                why="",
                company="acme",
                amount=line.amount,
                run="2026-12#mensalidade#acme",
                nCodCtr=line.nCodCtr,
            )


def _keys(payload: dict[str, Any]) -> set[str]:
    return {name.removesuffix(".$") for name in payload}


def _but(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != name}
