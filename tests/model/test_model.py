"""The Promela model and the code: the same states, the same table; what must hold holds, and each mutation is caught."""

import re
from datetime import UTC, datetime

import pytest

from billing.domain.charge import TRANSITIONS, ChargeKey, Event, State, TransitionRefused, target
from billing.domain.month import BillingMonth
from ops import model
from simulators.memory_store import MemoryLedger

TEXT = model.MODEL.read_text()
NOT_MODELLED = {Event.RELEASE}
NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)

needs_spin = pytest.mark.skipif(
    bool(model.missing()), reason=f"{' and '.join(model.missing())} not installed: make model installs them"
)


def test_the_model_has_the_states_of_the_code():
    declared = re.search(r"mtype:state = \{(.*?)\}", TEXT)
    assert declared
    assert [name.strip() for name in declared[1].split(",")] == list(State)


def test_an_event_starts_in_the_model_where_it_starts_in_the_code():
    ours = {
        (None if state == "NONE" else State(state), Event(event))
        for event, sources in re.findall(r"^#define from_(\w+) +(.*)$", TEXT, re.MULTILINE)
        for state in re.findall(r"in\((\w+)\)", sources)
    }
    assert ours == {(state, event) for state, event in TRANSITIONS if event not in NOT_MODELLED}


def test_an_event_leads_in_the_model_where_it_leads_in_the_code():
    told = {(Event(event), State(to)) for event, to in re.findall(r"tell\(([A-Z_]+), \w+, ([A-Z]+)\)", TEXT)}
    claims = {
        (Event.CLAIM, State(to)) for to in re.findall(r"claimable && !on_hold ->.*?state = (\w+)", TEXT, re.DOTALL)
    }
    assert told | claims == {(event, target(event)) for event in Event if event not in NOT_MODELLED}


def test_the_model_is_short_enough_to_be_read():
    assert len(TEXT.splitlines()) <= 150


def test_a_park_that_names_no_attempt_leaves_a_doubt_alone():
    """`nameless` of switches.h. Else: parked as harmless while Omie may still finish the call, redriven, billed twice."""
    ledger, key = MemoryLedger(), ChargeKey("JST-12", BillingMonth(2026, 12))
    facts = {"company": "acme", "amount": 120000, "plan_hash": "p", "run": "r", "now": NOW, "who": "test"}
    ledger.claim(key, attempt="a1", nCodCtr=1, **facts)
    ledger.apply(key, Event.IN_DOUBT, now=NOW, who="test", why="no reply", attempt="a1")
    with pytest.raises(TransitionRefused):
        ledger.apply(key, Event.PARK, why="rounds used up", **facts)


@pytest.mark.model
@needs_spin
@pytest.mark.parametrize("name", model.HOLDS)
def test_billed_once_never_lost_never_after_a_hold(name):
    verdict = model.verify(*model.HOLDS[name])
    assert verdict.error == "", verdict.trail
    assert verdict.complete
    assert verdict.states > 100_000


@pytest.mark.model
@needs_spin
@pytest.mark.parametrize("name", model.BROKEN)
def test_without_one_rule_there_is_a_counterexample(name):
    verdict = model.verify(*model.BROKEN[name], shortest=True)
    expected = "late_claim" if name == "no_hold" else "billings==1"
    assert expected in verdict.error
    assert "text of failed assertion" in verdict.trail


@pytest.mark.model
@needs_spin
@pytest.mark.parametrize("name", model.LIMITS)
def test_a_click_between_our_look_and_our_call_bills_twice_if_omie_lets_it(name):
    verdict = model.verify(*model.LIMITS[name], shortest=True)
    assert "billings==1" in verdict.error
    assert "(Person:" in verdict.trail


@pytest.mark.model
@needs_spin
def test_lists_later_than_assumed_bill_nothing_twice_where_one_order_is_known():
    verdict = model.verify(model=model.LISTS)
    assert verdict.complete
    assert verdict.error == ""


@pytest.mark.model
@needs_spin
@pytest.mark.parametrize("name", model.LATE_LISTS)
def test_without_that_measure_or_with_half_of_it_they_do(name):
    assert "assertion violated" in model.verify(*model.LATE_LISTS[name], model=model.LISTS, shortest=True).error
