"""What only a network can do to the ledger: lost replies, throttling, conflicts, half-answered batches."""

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from billing.domain.charge import ChargeKey, Event, State, TransitionRefused
from billing.domain.month import BillingMonth
from billing.store import dynamo
from billing.store.ledger import Claimed, Held, Ledger, NotClaimed

KEY = ChargeKey("JST-12", BillingMonth(2026, 12))
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
TOLD = {"now": NOW, "who": "bill_batch", "why": "told by the test"}


@pytest.fixture
def ledger_with(moto_aws, faulty):
    def build(**faults):
        client = faulty(moto_aws.dynamodb, faults)
        waits = []
        ledger = Ledger(client, moto_aws.tables["ledger"], moto_aws.tables["holds"], sleep=waits.append)
        return ledger, client, waits

    return build


def claim(ledger, attempt="a1"):
    return ledger.claim(
        KEY,
        attempt=attempt,
        now=NOW,
        company="acme",
        amount=1,
        plan_hash="p",
        run="r",
        nCodCtr=1,
        who="bill_batch",
    )


@pytest.mark.parametrize(
    "fault",
    ["lost", "refused", "TransactionConflict", "ThrottlingException", "TransactionInProgressException"],
)
def test_a_claim_that_meets_a_passing_fault_is_claimed_once(ledger_with, fault):
    ledger, client, waits = ledger_with(transact_write_items=[fault])
    answer = claim(ledger)
    assert isinstance(answer, Claimed)
    assert [line["event"] for line in answer.charge.history] == ["CLAIM"]
    assert client.calls.count("transact_write_items") == 2
    assert len(waits) == 1


def test_a_claim_whose_reply_was_lost_is_not_ours_once_somebody_doubted_it(ledger_with):
    other, *_ = ledger_with()
    ledger, *_ = ledger_with(transact_write_items=["lost", lambda: other.apply(KEY, Event.IN_DOUBT, **TOLD)])
    answer = claim(ledger)
    assert isinstance(answer, NotClaimed)
    assert answer.charge.state is State.UNKNOWN


def test_a_claim_that_loses_the_race_is_told_who_won(ledger_with):
    other, *_ = ledger_with()
    ledger, *_ = ledger_with(transact_write_items=[lambda: claim(other, "b1")])
    answer = claim(ledger)
    assert isinstance(answer, NotClaimed)
    assert answer.charge.attempt == "b1"


def test_a_hold_that_comes_at_the_last_moment_wins(ledger_with):
    other, *_ = ledger_with()
    ledger, *_ = ledger_with(transact_write_items=[lambda: other.put_hold("JST-12", "churn", NOW)])
    assert claim(ledger) == Held("churn")
    assert ledger.get(KEY) is None


def test_a_hold_lifted_while_it_is_looked_up_was_a_hold_all_the_same(ledger_with):
    other, *_ = ledger_with()
    other.put_hold("JST-12", "churn", NOW)
    ledger, *_ = ledger_with(get_item=[lambda: other.lift_hold("JST-12")])
    assert claim(ledger) == Held("")
    assert ledger.get(KEY) is None


def test_the_tries_of_one_claim_share_a_token_that_no_other_claim_has(moto_aws, faulty):
    """DynamoDB forgets a repeated token for ten minutes: shared by two claims, the second would be answered unwritten."""
    tokens = []

    class Noting(faulty):
        def __getattr__(self, name):
            real = super().__getattr__(name)

            def call(**arguments):
                tokens.extend(filter(None, [arguments.get("ClientRequestToken")]))
                return real(**arguments)

            return call

    client = Noting(moto_aws.dynamodb, {"transact_write_items": ["lost", None, None]})
    ledger = Ledger(client, moto_aws.tables["ledger"], moto_aws.tables["holds"], sleep=lambda _: None)
    claim(ledger, "a1")
    claim(ledger, "a2")
    assert [tokens.count(token) for token in tokens] == [2, 2, 1]


@pytest.mark.parametrize("fault", ["lost", "refused", "ThrottlingException", "TransactionConflictException"])
def test_an_event_that_meets_a_passing_fault_is_applied_once(ledger_with, fault):
    ledger, *_ = ledger_with(update_item=[fault])
    claim(ledger)
    charge = ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=3, **TOLD)
    assert (charge.state, charge.nCodOS) == (State.BILLED, 3)
    assert [line["event"] for line in charge.history] == ["CLAIM", "DONE"]


def test_a_lost_reply_is_recognised_even_when_others_went_on(ledger_with):
    other, *_ = ledger_with()
    ledger, *_ = ledger_with(update_item=["lost", lambda: claim(other, "b1")])
    claim(ledger)
    charge = ledger.apply(KEY, Event.GIVE_UP, attempt="a1", **TOLD)
    assert (charge.state, charge.attempt) == (State.SENDING, "b1")


def test_an_event_without_an_attempt_that_others_went_past_is_refused(ledger_with):
    """Told again, RELEASE finds HELD -> READY -> SENDING: what it wanted no longer holds, the caller must look."""
    other, *_ = ledger_with()
    other.apply(KEY, Event.HOLD, company="acme", **TOLD)
    ledger, *_ = ledger_with(update_item=["lost", lambda: claim(other, "b1")])
    with pytest.raises(TransitionRefused):
        ledger.apply(KEY, Event.RELEASE, **TOLD)


def test_patience_ends(ledger_with):
    ledger, client, waits = ledger_with(transact_write_items=["TransactionConflict"] * 99)
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        claim(ledger)
    assert client.calls.count("transact_write_items") == dynamo.TRIES
    assert waits == sorted(waits)
    assert sum(waits) < 4


def test_a_lasting_disconnection_is_told_as_itself(ledger_with):
    ledger, *_ = ledger_with(update_item=["refused"] * 99)
    claim(ledger)
    with pytest.raises(ConnectionClosedError):
        ledger.apply(KEY, Event.GIVE_UP, attempt="a1", **TOLD)


def test_a_fault_that_does_not_pass_is_not_tried_again(ledger_with):
    ledger, client, _ = ledger_with(update_item=["AccessDeniedException"] * 9)
    with pytest.raises(ClientError, match="AccessDeniedException"):
        ledger.apply(KEY, Event.PARK, company="acme", **TOLD)
    assert client.calls == ["update_item"]


def test_reads_and_holds_wait_out_a_passing_fault_too(ledger_with):
    steps = {
        "put_item": lambda ledger: ledger.put_hold("JST-12", "churn", NOW),
        "get_item": lambda ledger: (ledger.get(KEY), ledger.hold("JST-12")),
        "batch_get_item": lambda ledger: (ledger.get_many([KEY]), ledger.held_many(["JST-12"])),
        "delete_item": lambda ledger: ledger.lift_hold("JST-12"),
    }
    answers = []
    for method, step in steps.items():
        ledger, client, waits = ledger_with(**{method: ["ThrottlingException", None, "ThrottlingException"]})
        answers.append(step(ledger))
        assert len(waits) == client.calls.count(method) // 2
    assert answers == [None, (None, "churn"), ({}, {"JST-12"}), True]


def test_a_hold_says_since_when(ledger_with, moto_aws):
    ledger, *_ = ledger_with()
    ledger.put_hold("JST-12", "churn", NOW)
    (item,) = moto_aws.dynamodb.scan(TableName=moto_aws.tables["holds"])["Items"]
    assert item == {
        "contract": {"S": "JST-12"},
        "reason": {"S": "churn"},
        "at": {"S": "2026-12-01T09:00:00.000000+00:00"},
    }


class HalfAnswers:
    """A client whose batch reads answer only the first `n` keys of each request."""

    def __init__(self, client, n):
        self._client, self._n = client, n
        self.sizes = []

    def batch_get_item(self, *, RequestItems):
        ((table, wanted),) = RequestItems.items()
        self.sizes.append(len(wanted["Keys"]))
        now, later = wanted["Keys"][: self._n], wanted["Keys"][self._n :]
        answer = (
            self._client.batch_get_item(RequestItems={table: {**wanted, "Keys": now}}) if now else {"Responses": {}}
        )
        return {**answer, "UnprocessedKeys": {table: {**wanted, "Keys": later}} if later else {}}


def test_keys_left_unprocessed_are_asked_for_again(ledger_with, moto_aws):
    ledger, *_ = ledger_with()
    contracts = [f"JST-{number}" for number in range(130)]
    held = {"JST-0", "JST-59", "JST-60", "JST-99", "JST-129"}
    for contract in held:
        ledger.put_hold(contract, "churn", NOW)
    half = HalfAnswers(moto_aws.dynamodb, 60)
    waits = []
    slow = Ledger(half, moto_aws.tables["ledger"], moto_aws.tables["holds"], sleep=waits.append)
    assert slow.held_many(contracts) == held
    assert half.sizes == [100, 40, 30]
    assert len(waits) == 1


def test_a_table_that_answers_nothing_is_an_error(moto_aws):
    deaf = HalfAnswers(moto_aws.dynamodb, 0)
    ledger = Ledger(deaf, moto_aws.tables["ledger"], moto_aws.tables["holds"], sleep=lambda _: None)
    with pytest.raises(TimeoutError, match="1 keys"):
        ledger.held_many(["JST-1"])


def test_many_keys_are_read_as_they_are_consumed(moto_aws):
    taken = []

    def keys():
        for number in range(100_000):
            taken.append(number)
            yield ChargeKey(f"JST-{number}", KEY.month)

    ledger = Ledger(moto_aws.dynamodb, moto_aws.tables["ledger"], moto_aws.tables["holds"])
    claim(ledger)
    assert next(ledger.iter_many(keys())).key == KEY
    assert len(taken) == dynamo.KEYS_PER_READ
