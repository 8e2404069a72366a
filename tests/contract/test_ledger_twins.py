"""Any sequence of events: the ledger in memory and the one in DynamoDB give the same answers."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.domain.charge import ChargeKey, Event, State, TransitionRefused, next_state
from billing.domain.composition import Composition
from billing.domain.month import BillingMonth
from billing.store.ledger import Ledger
from simulators.memory_store import MemoryLedger

DECEMBER = BillingMonth(2026, 12)
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)

contracts = st.sampled_from(["JST-1", "JST-2"])
attempts = st.sampled_from(["a1", "a2"])
companies = st.sampled_from(["acme", "nimbus"])
facts = st.fixed_dictionaries(
    {},
    optional={
        "nCodOS": st.integers(1, 9),
        "failures": st.integers(0, 3),
        "reason_code": st.just("busy"),
        "reason": st.just("método em execução"),
        "composition": st.none() | st.builds(Composition, own=st.integers(0, 9), cause=st.sampled_from(["", "Upsell"])),
        "additions": st.lists(st.just({"key": "encargos#77#2026-12", "amount": 1234}), max_size=2),
    },
)
claims = st.tuples(st.just("claim"), contracts, attempts, companies, st.integers(0, 10**9))
events = st.tuples(
    st.just("apply"),
    contracts,
    st.sampled_from(sorted(set(Event) - {Event.CLAIM})),
    st.none() | attempts,
    st.just("") | companies,
    facts,
)
holds = st.tuples(st.sampled_from(["put_hold", "lift_hold"]), contracts)
steps = st.lists(st.tuples(claims | claims | events | events | events | holds, st.booleans()), min_size=3, max_size=11)


def perform(ledger, example, step, now):
    name, contract, *rest = step
    contract = f"{contract}-{example}"
    key = ChargeKey(contract, DECEMBER)
    match name:
        case "claim":
            attempt, company, amount = rest
            company = f"{company}-{example}"
            return ledger.claim(
                key, attempt=attempt, now=now, company=company, amount=amount, plan_hash="p", run="r",
                nCodCtr=amount, who="bill_batch",
            )  # fmt: skip
        case "apply":
            event, attempt, company, told = rest
            company = company and f"{company}-{example}"
            try:
                return ledger.apply(key, event, now=now, who="test", why="x", attempt=attempt, company=company, **told)
            except (TransitionRefused, ValueError) as refused:
                return type(refused), str(refused), getattr(refused, "charge", None)
        case "put_hold":
            return ledger.put_hold(contract, f"since {now}", now)
        case _:
            return ledger.lift_hold(contract)


def obeys_the_table(charge):
    """The history, replayed through the domain's table, ends in the charge's state; BILLED is final."""
    state = None
    for line in charge.history if charge else ():
        assert state is not State.BILLED
        state = next_state(state, Event(line["event"]))
        assert state == line["to"]
    assert state == (charge.state if charge else None)


@pytest.fixture
def pair(moto_aws):
    return (
        Ledger(moto_aws.dynamodb, moto_aws.tables["ledger"], moto_aws.tables["holds"]),
        MemoryLedger(),
        count(),
    )


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(steps)
def test_both_ledgers_answer_alike_whatever_happens(pair, sequence):
    dynamodb, memory, examples = pair
    example, now = next(examples), NOW
    for step, time_passes in sequence:
        now += timedelta(microseconds=int(time_passes))
        assert perform(dynamodb, example, step, now) == perform(memory, example, step, now)
    for contract in ("JST-1", "JST-2"):
        key = ChargeKey(f"{contract}-{example}", DECEMBER)
        charge = dynamodb.get(key)
        assert charge == memory.get(key)
        obeys_the_table(charge)
    for company in (f"acme-{example}", f"nimbus-{example}"):
        assert list(dynamodb.by_month(company, DECEMBER)) == list(memory.by_month(company, DECEMBER))
