from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing.domain.charge import (
    TRANSITIONS,
    UNDECIDED,
    WITHOUT_ORDER_ONLY,
    WRITER_ONLY,
    Charge,
    ChargeKey,
    Event,
    State,
    TransitionRefused,
    is_by_a_person,
    is_stale,
    next_state,
    sources,
    target,
)
from billing.domain.month import BillingMonth, MonthError

KEY = ChargeKey("JST-12", BillingMonth(2026, 12))
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
histories = st.lists(st.sampled_from(Event), max_size=30)


def lived(events):
    """The states a charge passes through, refused events changing nothing."""
    state = None
    for event in events:
        before, state = state, TRANSITIONS.get((state, event), state)
        yield before, event, state


ALLOWED = {
    None: {"CLAIM": "SENDING", "HOLD": "HELD", "PARK": "PARKED", "ADOPT": "BILLED"},
    "READY": {"CLAIM": "SENDING", "HOLD": "HELD", "PARK": "PARKED", "ADOPT": "BILLED"},
    "SENDING": {
        "DONE": "BILLED",
        "NOT_EXECUTED": "READY",
        "GIVE_UP": "READY",
        "REJECT": "PARKED",
        "IN_DOUBT": "UNKNOWN",
    },
    "UNKNOWN": {"DONE": "BILLED", "ADOPT": "BILLED", "RESEND": "READY", "PARK": "PARKED"},
    "PARKED": {"REDRIVE": "READY", "ADOPT": "BILLED"},
    "HELD": {"RELEASE": "READY", "PARK": "PARKED", "ADOPT": "BILLED"},
    "BILLED": {"NOT_BILLED": "PARKED"},
}


def test_the_table_is_the_one_agreed():
    """Written out a second time: a row that changes must be changed here too, on purpose (and in docs/model)."""
    assert {(s, e): to for s, events in ALLOWED.items() for e, to in events.items()} == dict(TRANSITIONS)


def test_undecided_is_what_may_be_out():
    assert {State.SENDING, State.UNKNOWN} == UNDECIDED


def test_billed_is_final_but_for_what_was_adopted_without_an_order():
    assert {event for state, event in TRANSITIONS if state is State.BILLED} == WITHOUT_ORDER_ONLY


def test_every_state_can_be_reached_and_left():
    reached, todo = {None}, [None]
    while todo:
        here = todo.pop()
        for (state, _), to in TRANSITIONS.items():
            if state is here and to not in reached:
                reached.add(to)
                todo.append(to)
    assert reached == {None, *State}
    assert {state for state, _ in TRANSITIONS} == {None, *State}


def test_every_state_can_still_end_billed():
    ending = {State.BILLED}
    while more := {state for (state, _), to in TRANSITIONS.items() if to in ending} - ending:
        ending |= more
    assert ending == {None, *State}


def test_every_event_is_used_and_leads_to_one_state_only():
    assert {event for _, event in TRANSITIONS} == set(Event)
    for event in Event:
        assert {to for (_, known), to in TRANSITIONS.items() if known is event} == {target(event)}
        assert sources(event) == {state for state in (None, *State) if (state, event) in TRANSITIONS}


def test_a_call_goes_out_only_from_a_claim_and_only_where_nothing_is_known_to_be_out():
    assert {event for (_, event), to in TRANSITIONS.items() if to is State.SENDING} == {Event.CLAIM}
    assert sources(Event.CLAIM) == {None, State.READY}


def test_only_the_writer_says_what_became_of_its_call():
    assert {Event.DONE, Event.NOT_EXECUTED, Event.GIVE_UP, Event.REJECT} == WRITER_ONLY
    leaving = {event for state, event in TRANSITIONS if state is State.SENDING}
    assert leaving - WRITER_ONLY == {Event.IN_DOUBT}


def test_doubt_ends_only_by_reading_omie_or_by_the_writers_late_reply():
    assert {event for state, event in TRANSITIONS if state is State.UNKNOWN} == {
        Event.ADOPT,
        Event.RESEND,
        Event.PARK,
        Event.DONE,
    }


@pytest.mark.parametrize(("state", "event"), list(product((None, *State), Event)))
def test_the_table_is_all_there_is(state, event):
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(TransitionRefused) as refused:
            next_state(state, event)
        assert (refused.value.state, refused.value.event, refused.value.charge) == (state, event, None)
        shown = state or "not yet in the ledger"
        assert str(refused.value) == f"{event} is not allowed when the charge is {shown}"


@given(histories)
def test_nothing_but_a_persons_word_happens_to_a_charge_after_it_is_billed(events):
    after = [state for before, event, state in lived(events) if before is State.BILLED and event != "NOT_BILLED"]
    assert set(after) <= {State.BILLED}


@given(histories)
@example([Event.CLAIM, Event.DONE, Event.NOT_BILLED, Event.REDRIVE, Event.CLAIM])
def test_between_two_claims_someone_always_ruled_the_first_call_out(events):
    """A second call needs proof, or a person, that the first was not executed."""
    out = False
    for before, event, state in lived(events):
        if state is before:
            continue
        if event is Event.CLAIM:
            assert not out
            out = True
        elif event in {Event.NOT_EXECUTED, Event.GIVE_UP, Event.RESEND, Event.REJECT, Event.PARK, Event.NOT_BILLED}:
            out = False


@given(
    st.integers(1, 10**9),
    st.integers(2000, 2099),
    st.integers(1, 12),
    st.sampled_from(["mensalidade", "cadastro"]),
)
def test_a_key_reads_back_as_it_is_written(number, year, month, kind):
    key = ChargeKey(f"JST-{number}", BillingMonth(year, month), kind)
    assert ChargeKey.parse(str(key)) == key


def test_a_key_is_contract_month_and_kind():
    assert str(KEY) == "JST-12#2026-12#mensalidade"


@pytest.mark.parametrize("text", ["", "JST-12", "JST-12#2026-12", "#2026-12#x", "JST-12#2026-12#", "a#2026-12#b#c"])
def test_other_texts_are_no_key(text):
    with pytest.raises(ValueError, match="charge key") as refused:
        ChargeKey.parse(text)
    assert str(refused.value) == f"not a charge key: {text!r}; it reads JST-12#2026-12#mensalidade"


def test_a_key_of_no_month_is_refused():
    with pytest.raises(MonthError):
        ChargeKey.parse("JST-12#2026-13#mensalidade")


@pytest.mark.parametrize("state", State)
def test_only_a_call_without_an_answer_grows_stale(state):
    charge = Charge(KEY, state, "acme", 1000, claimed_at=NOW)
    assert not is_stale(charge, NOW + MINUTE - timedelta(microseconds=1), MINUTE)
    assert is_stale(charge, NOW + MINUTE, MINUTE) == (state in {State.SENDING, State.UNKNOWN})


def test_a_call_of_unknown_age_is_stale():
    assert is_stale(Charge(KEY, State.SENDING, "acme", 1000), NOW, MINUTE)
    assert not is_stale(Charge(KEY, State.UNKNOWN, "acme", 1000, updated_at=NOW), NOW, MINUTE)


def test_a_call_ages_from_its_claim_whatever_is_written_later():
    doubted = Charge(KEY, State.UNKNOWN, "acme", 1000, claimed_at=NOW, updated_at=NOW + MINUTE)
    assert is_stale(doubted, NOW + MINUTE, MINUTE)


def told(*events):
    """A charge with these lines in its history, in the state they lead to."""
    state = None
    for event in events:
        state = next_state(state, event)
    lines = tuple({"event": event} for event in events)
    return Charge(ChargeKey("JST-1", BillingMonth(2026, 12)), state, "acme", 1, history=lines)


@pytest.mark.parametrize(
    ("events", "by_a_person"),
    [
        (["ADOPT"], True),
        (["PARK", "ADOPT"], True),
        (["HOLD", "ADOPT"], True),
        (["CLAIM", "NOT_EXECUTED", "ADOPT"], True),
        (["CLAIM", "GIVE_UP", "ADOPT"], True),
        (["CLAIM", "REJECT", "ADOPT"], True),
        (["CLAIM", "IN_DOUBT", "RESEND", "ADOPT"], True),
        (["CLAIM", "IN_DOUBT", "PARK", "REDRIVE", "ADOPT"], True),
        (["CLAIM", "DONE"], False),
        (["CLAIM", "IN_DOUBT", "ADOPT"], False),
        (["CLAIM", "IN_DOUBT", "PARK", "ADOPT"], False),
        (["CLAIM", "NOT_EXECUTED", "CLAIM", "IN_DOUBT", "ADOPT"], False),
        (["CLAIM", "IN_DOUBT", "DONE"], False),
        (["PARK"], False),
    ],
)
def test_billed_by_a_person_is_what_no_call_of_ours_can_have_billed(events, by_a_person):
    assert is_by_a_person(told(*map(Event, events))) is by_a_person
