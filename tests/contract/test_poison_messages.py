"""What the queue delivers and cannot be billed: it ends in the dead-letter queue, and the run is told in time.

The queue and its dead-letter queue are moto's; `Delivery` is Lambda's event source: it deletes what the handler
returned from, and what it raised over becomes visible again.
"""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from billing import bootstrap
from billing.bill_batch import MAX_RECEIVES, BillDeps, NoBatch, one_by_one
from billing.domain.plan import PlanLine
from billing.settings import Settings, SettingsError, load_settings
from simulators.clock import VirtualClock
from simulators.lab import START
from simulators.memory_store import MemoryLanes, MemoryLedger, MemoryObjects, MemoryQueues, MemoryRuns, MemoryTasks

ROOT = Path(__file__).resolve().parents[2]
EVENT = json.loads((ROOT / "events" / "bill_batch.json").read_text())
GOOD = json.loads(EVENT["Records"][0]["body"])
PLAN = map(PlanLine.from_json, (ROOT / "events" / "plan.jsonl").read_text().splitlines())
LINES = "".join(f"{line.to_json()}\n" for line in PLAN if line.action == "bill")
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 120_000)


class Delivery:
    def __init__(self, aws, prepare, monkeypatch):
        self.sqs = aws.sqs
        self.dlq = aws.dlq_url
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
        self.queue = self.sqs.create_queue(
            QueueName=f"{aws.own}-writes.fifo", Attributes={"FifoQueue": "true", "RedrivePolicy": policy}
        )["QueueUrl"]
        self.tasks = MemoryTasks()
        monkeypatch.setattr(bootstrap, "bill_batch", prepare)
        monkeypatch.setattr(bootstrap, "task_callbacks", lambda: self.tasks)
        spec = importlib.util.spec_from_file_location(
            "function_bill_batch", ROOT / "functions" / "bill_batch" / "app.py"
        )
        self.function = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.function)
        self.errors = []
        self.told_at = None

    def send(self, body):
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body, MessageGroupId="acme", MessageDeduplicationId="d")

    def run(self):
        """Until the queue is empty. Answers how often the handler was called."""
        for calls in range(20):
            got = self.sqs.receive_message(QueueUrl=self.queue, VisibilityTimeout=0, AttributeNames=["All"])
            if "Messages" not in got:
                return calls
            (message,) = got["Messages"]
            record = {"body": message["Body"], "attributes": message["Attributes"]}
            try:
                self.function.handler({"Records": [record]}, CONTEXT)
            except Exception as error:  # noqa: BLE001 - as Lambda does
                self.errors.append(type(error))
            else:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            if self.tasks.ended and self.told_at is None:
                self.told_at = calls + 1
        raise AssertionError("it loops")

    def dead(self):
        got = self.sqs.receive_message(QueueUrl=self.dlq)
        return [message["Body"] for message in got.get("Messages", [])]


@pytest.fixture
def settings():
    return load_settings((ROOT / "config" / "demo.toml").read_text())


@pytest.fixture
def delivery(moto_aws, monkeypatch, settings):
    def ready(companies=None, problems=()):
        known = settings if companies is None else Settings(jestor=settings.jestor, companies=companies)
        runs = MemoryRuns()
        batch = GOOD["batch"]
        runs.put_plan(batch["run"], batch["company"], plan_hash=batch["plan_hash"], plan_key="k", planned=4)

        waiting, objects = list(problems), MemoryObjects()
        objects.put_text(batch["file"]["key"], LINES)

        def build():
            if waiting:
                raise waiting.pop(0)
            return BillDeps(
                known, MemoryLedger(), MemoryLanes(), runs, objects, MemoryQueues(), made.tasks, nobody,
                VirtualClock(START), one_by_one,
            )  # fmt: skip

        made = Delivery(moto_aws, build, monkeypatch)
        made.tasks.waiting.add(GOOD["token"])
        return made

    return ready


def nobody(company):
    raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "GetItem")


@pytest.mark.parametrize("body", ["{ não é json", "[]", "null", '"texto"', "{}", '{"batch": {}}'])
def test_a_body_without_a_token_ends_in_the_dead_letter_queue(delivery, body):
    made = delivery()
    made.send(body)
    assert made.run() == MAX_RECEIVES
    assert (made.dead(), made.tasks.ended) == ([body], {})
    assert set(made.errors) == {NoBatch}


@pytest.mark.parametrize(
    "missing", ["company", "month", "run", "plan_hash", "file", "lines", "contracts_per_minute", "execution"]
)
def test_a_batch_without_a_field_ends_in_the_dead_letter_queue_and_the_run_is_told_at_once(delivery, missing):
    made = delivery()
    body = json.dumps(GOOD | {"batch": {name: value for name, value in GOOD["batch"].items() if name != missing}})
    made.send(body)
    assert made.run() == MAX_RECEIVES
    assert (made.dead(), made.told_at) == ([body], 1)
    told = made.tasks.ended[GOOD["token"]]
    assert (told["error"], missing in told["cause"]) == ("NoBatch", True)


@pytest.mark.parametrize(
    "batch",
    [None, [], "texto", GOOD["batch"] | {"month": "dezembro"}, GOOD["batch"] | {"lines": [{"amount": 1}]}],
    ids=["null", "list", "text", "month", "line"],
)
def test_a_batch_of_another_shape_is_told_at_once(delivery, batch):
    made = delivery()
    made.send(json.dumps({"token": GOOD["token"], "batch": batch}))
    assert made.run() == MAX_RECEIVES
    assert (len(made.dead()), made.told_at, made.tasks.ended[GOOD["token"]]["error"]) == (1, 1, "NoBatch")


@pytest.mark.parametrize(
    "file", [{"key": "elsewhere"}, {"sha256": "of other lines"}, {"start": 1}], ids=["gone", "changed", "shifted"]
)
def test_a_batch_whose_lines_are_not_what_it_was_written_for_is_told_at_once(delivery, file):
    made = delivery()
    made.send(json.dumps(GOOD | {"batch": GOOD["batch"] | {"file": GOOD["batch"]["file"] | file}}))
    assert made.run() == MAX_RECEIVES
    assert (len(made.dead()), made.told_at, made.tasks.ended[GOOD["token"]]["error"]) == (1, 1, "NoBatch")


def test_an_unknown_company_is_told_at_once(delivery, settings):
    made = delivery(companies={"nimbus": settings.companies["nimbus"]})
    made.send(json.dumps(GOOD))
    assert made.run() == MAX_RECEIVES
    assert made.told_at == 1
    assert made.tasks.ended[GOOD["token"]]["cause"] == "company acme is not in the settings"


def test_when_the_settings_have_vanished_they_may_come_back_so_the_run_is_told_with_the_last_receive(delivery):
    made = delivery(problems=[SettingsError(["settings.toml: NoSuchKey; put it there"])] * MAX_RECEIVES)
    made.send(json.dumps(GOOD))
    assert made.run() == MAX_RECEIVES
    assert (len(made.dead()), made.told_at) == (1, MAX_RECEIVES)
    assert made.tasks.ended[GOOD["token"]]["error"] == "SettingsError"


def test_settings_that_come_back_in_time_need_no_person(delivery):
    problems = [SettingsError(["vanished"]), SettingsError(["vanished"])]
    made = delivery(problems=problems)
    made.send(json.dumps(GOOD | {"batch": GOOD["batch"] | {"plan_hash": "an older plan"}}))
    assert made.run() == 3
    assert (made.dead(), "output" in made.tasks.ended[GOOD["token"]]) == ([], True)


def test_trouble_that_does_not_pass_is_told_with_the_last_receive(delivery):
    made = delivery()
    made.send(json.dumps(GOOD))
    assert made.run() == MAX_RECEIVES
    assert (len(made.dead()), made.told_at) == (1, MAX_RECEIVES)
    assert made.tasks.ended[GOOD["token"]]["error"] == "ClientError"


def test_a_token_that_nobody_waits_for_does_not_bring_the_batch_back(delivery):
    made = delivery()
    made.tasks.waiting.clear()
    made.send(json.dumps(GOOD | {"batch": GOOD["batch"] | {"plan_hash": "an older plan"}}))
    assert (made.run(), made.dead()) == (1, [])
