from datetime import UTC, datetime, timedelta

import pytest

from billing.domain.charge import TRANSITIONS, WRITER_ONLY, ChargeKey, Event, State, TransitionRefused
from billing.domain.composition import Composition
from billing.domain.month import BillingMonth
from billing.store.ledger import Claimed, Held, NotClaimed, event_write, is_ours

DECEMBER = BillingMonth(2026, 12)
KEY = ChargeKey("JST-12", DECEMBER)
NOW = datetime(2026, 12, 1, 9, 0, 0, 123456, tzinfo=UTC)
WRITER = {"now": NOW, "who": "bill_batch", "why": "told by the test"}
BEFORE = {"now": NOW, "who": "test", "why": "on the way"}
SETTLE = {"now": NOW + timedelta(minutes=20), "who": "settle_company", "why": "read in Omie"}


def claim(ledger, key=KEY, attempt="a1", **changes):
    planned = {
        "now": NOW,
        "company": "acme",
        "amount": 120050,
        "plan_hash": "p1",
        "run": "2026-12#mensalidade",
        "nCodCtr": 4001,
        "who": "bill_batch",
    }
    return ledger.claim(key, attempt=attempt, **{**planned, **changes})


def bring_to(ledger, key, state):
    """The shortest way into a state, by attempt a1."""
    first = {"company": "acme", "amount": 120050}
    if state in {State.HELD, State.PARKED}:
        ledger.apply(key, {State.HELD: Event.HOLD, State.PARKED: Event.PARK}[state], **BEFORE, **first)
    elif state is not None:
        claim(ledger, key)
    told = {State.READY: Event.GIVE_UP, State.UNKNOWN: Event.IN_DOUBT, State.BILLED: Event.DONE}.get(state)
    if told:
        ledger.apply(key, told, attempt="a1", **BEFORE)


def test_a_charge_never_seen_is_claimed_as_planned(stores):
    answer = claim(stores.ledger)
    assert isinstance(answer, Claimed)
    charge = answer.charge
    assert charge == stores.ledger.get(KEY)
    assert (charge.state, charge.attempt, charge.claimed_at) == (State.SENDING, "a1", NOW)
    assert (charge.company, charge.amount, charge.plan_hash) == ("acme", 120050, "p1")
    assert (charge.run, charge.nCodCtr, charge.nCodOS) == ("2026-12#mensalidade", 4001, None)
    assert charge.failures == 0
    assert type(charge.amount) is int
    assert charge.history == (
        {
            "at": "2026-12-01T09:00:00.123456+00:00",
            "who": "bill_batch",
            "event": "CLAIM",
            "to": "SENDING",
            "why": "run 2026-12#mensalidade",
            "attempt": "a1",
        },
    )


def test_what_is_parked_is_untold_until_it_is_noted_and_again_when_it_is_parked_anew(stores):
    ledger = stores.ledger
    claim(ledger)
    assert ledger.get(KEY).told
    ledger.apply(KEY, Event.GIVE_UP, attempt="a1", **BEFORE)
    first = ledger.apply(KEY, Event.PARK, **SETTLE)
    assert not first.told
    ledger.note_told(first)
    assert ledger.get(KEY).told

    ledger.apply(KEY, Event.REDRIVE, **SETTLE)
    assert ledger.get(KEY).told
    later = SETTLE | {"now": SETTLE["now"] + timedelta(hours=1)}
    ledger.apply(KEY, Event.PARK, **later)
    ledger.note_told(first)

    assert ledger.get(KEY) == next(ledger.iter_many([KEY]))
    assert not ledger.get(KEY).told


FEE = {
    "key": "encargos#77#2026-12",
    "title": 77,
    "through": "2026-11-30",
    "fine": 1000,
    "interest": 234,
    "amount": 1234,
}
SHARE = {"key": "proporcional#JST-12", "title": None, "through": None, "fine": 0, "interest": 0, "amount": 50}


def test_what_was_added_is_charged_with_the_charge(stores):
    charge = claim(stores.ledger, additions=[FEE, SHARE]).charge
    assert charge.additions == (FEE, SHARE)
    assert {type(value) for value in charge.additions[0].values()} == {str, int}
    billed = stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=123, **WRITER)
    assert (billed.state, billed.additions) == (State.BILLED, (FEE, SHARE))
    assert stores.ledger.get_many([KEY])[KEY].additions == (FEE, SHARE)


def test_a_new_claim_adds_what_it_says_and_no_more(stores):
    claim(stores.ledger, additions=[FEE, SHARE])
    stores.ledger.apply(KEY, Event.GIVE_UP, attempt="a1", **WRITER)
    assert claim(stores.ledger, attempt="a2", additions=[SHARE]).charge.additions == (SHARE,)
    stores.ledger.apply(KEY, Event.GIVE_UP, attempt="a2", **WRITER)
    assert claim(stores.ledger, attempt="a3").charge.additions == ()


def test_who_finds_the_billing_in_omie_says_what_it_charged(stores):
    claim(stores.ledger, additions=[FEE])
    stores.ledger.apply(KEY, Event.IN_DOUBT, attempt="a1", **WRITER)
    doubtful = {**FEE, "doubtful": True}
    assert stores.ledger.apply(KEY, Event.ADOPT, attempt="a1", additions=[doubtful], **SETTLE).additions == (doubtful,)


def test_a_first_event_may_say_what_was_added(stores):
    adopted = stores.ledger.apply(KEY, Event.ADOPT, company="acme", amount=120050, additions=[FEE], **SETTLE)
    assert adopted.additions == (FEE,)
    other = ChargeKey("JST-13", DECEMBER)
    assert stores.ledger.apply(other, Event.ADOPT, company="acme", amount=1, **SETTLE).additions == ()


MADE = Composition(
    own=120_000, quantity=2, unit_amount=60_000, foreign_total=50, cause="Upsell: R$ 1,00 → R$ 1.200,00",
    previous_amount=100, previous_month="2026-11", due_date="2026-12-10", plan="runs/2026-12/1/acme/x/plan.jsonl",
)  # fmt: skip


def test_what_a_charge_is_made_of_stays_with_it_until_a_new_claim_says_otherwise(stores):
    assert claim(stores.ledger, composition=MADE).charge.composition == MADE
    stores.ledger.apply(KEY, Event.GIVE_UP, attempt="a1", **WRITER)
    assert claim(stores.ledger, attempt="a2").charge.composition == MADE
    billed = stores.ledger.apply(KEY, Event.DONE, attempt="a2", nCodOS=1, **WRITER)
    assert billed.composition == MADE
    assert stores.ledger.get_many([KEY])[KEY].composition == MADE
    assert [type(each) for each in (billed.composition.own, billed.composition.previous_amount)] == [int, int]


def test_a_first_event_may_say_what_the_charge_is_made_of(stores):
    adopted = stores.ledger.apply(KEY, Event.ADOPT, company="acme", amount=120050, composition=MADE, **SETTLE)
    assert adopted.composition == MADE
    other = ChargeKey("JST-13", DECEMBER)
    assert stores.ledger.apply(other, Event.ADOPT, company="acme", amount=1, **SETTLE).composition is None


def test_a_later_event_that_tells_none_leaves_it(stores):
    stores.ledger.apply(KEY, Event.PARK, company="acme", amount=1, composition=MADE, **BEFORE)
    assert stores.ledger.apply(KEY, Event.REDRIVE, composition=None, **SETTLE).composition == MADE


def test_a_charge_nobody_wrote_is_none(stores):
    assert stores.ledger.get(KEY) is None


def test_two_claims_of_one_charge_give_it_to_the_first(stores):
    claim(stores.ledger)
    answer = claim(stores.ledger, attempt="a2")
    assert isinstance(answer, NotClaimed)
    assert answer.charge.attempt == "a1"


def test_a_contract_that_moved_between_companies_is_not_billed_in_both(stores):
    claim(stores.ledger)
    stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=123, **WRITER)
    answer = claim(stores.ledger, attempt="a2", company="nimbus")
    assert isinstance(answer, NotClaimed)
    assert (answer.charge.company, answer.charge.state, answer.charge.nCodOS) == ("acme", State.BILLED, 123)


def test_the_same_contract_is_claimed_again_in_the_next_month_and_for_another_kind(stores):
    claim(stores.ledger)
    assert isinstance(claim(stores.ledger, ChargeKey("JST-12", DECEMBER.next())), Claimed)
    assert isinstance(claim(stores.ledger, ChargeKey("JST-12", DECEMBER, "multa")), Claimed)


def test_a_hold_wins_over_a_claim_and_leaves_no_trace_in_the_ledger(stores):
    stores.ledger.put_hold("JST-12", "churn em 30/11", NOW)
    assert claim(stores.ledger) == Held("churn em 30/11")
    assert stores.ledger.get(KEY) is None


def test_a_lifted_hold_stands_in_nobodys_way(stores):
    stores.ledger.put_hold("JST-12", "churn", NOW)
    stores.ledger.lift_hold("JST-12")
    stores.ledger.lift_hold("JST-12")
    assert stores.ledger.hold("JST-12") is None
    assert isinstance(claim(stores.ledger), Claimed)


def test_a_hold_is_lifted_only_by_who_saw_the_one_that_is_there(stores):
    stores.ledger.put_hold("JST-12", "churn", NOW)
    seen = stores.ledger.find_hold("JST-12")
    assert (seen.reason, seen.put_at) == ("churn", NOW)
    stores.ledger.put_hold("JST-12", "churn de novo", NOW + timedelta(seconds=5))
    assert stores.ledger.lift_hold("JST-12", put_at=seen.put_at) is False
    assert stores.ledger.hold("JST-12") == "churn de novo"
    again = stores.ledger.find_hold("JST-12")
    assert stores.ledger.lift_hold("JST-12", put_at=again.put_at) is True
    assert stores.ledger.lift_hold("JST-12", put_at=again.put_at) is True
    assert stores.ledger.find_hold("JST-12") is None


def test_a_hold_put_after_the_claim_does_not_hide_that_the_charge_is_out(stores):
    claim(stores.ledger)
    stores.ledger.put_hold("JST-12", "churn", NOW)
    answer = claim(stores.ledger, attempt="a2")
    assert isinstance(answer, NotClaimed)
    assert answer.charge.state is State.SENDING


def test_a_charge_given_back_is_claimed_by_a_new_attempt_with_its_failures(stores):
    claim(stores.ledger)
    stores.ledger.apply(KEY, Event.NOT_EXECUTED, attempt="a1", failures=1, reason_code="busy", reason="1880", **WRITER)
    waiting = stores.ledger.get(KEY)
    assert (waiting.state, waiting.failures, waiting.reason_code) == (State.READY, 1, "busy")
    answer = claim(stores.ledger, attempt="a2", amount=130000, plan_hash="p2")
    assert isinstance(answer, Claimed)
    charge = answer.charge
    assert (charge.attempt, charge.amount, charge.plan_hash, charge.failures) == ("a2", 130000, "p2", 1)
    assert (charge.reason_code, charge.reason) == ("", "")
    assert [line["event"] for line in charge.history] == ["CLAIM", "NOT_EXECUTED", "CLAIM"]


@pytest.mark.parametrize("state", [None, *State], ids=str)
def test_the_ledger_allows_exactly_what_the_domains_table_allows(stores, state):
    # A doubt is parked only by who names the attempt it read (docs/model: PARK_OVER_DOUBT).
    named = WRITER_ONLY | ({Event.PARK} if state is State.UNKNOWN else set())
    told = {event: {"attempt": "a1" if event in named else None, **SETTLE} for event in Event}
    bring_to(stores.ledger, KEY, state)
    before = stores.ledger.get(KEY)
    for event in set(Event) - {Event.CLAIM}:
        if (state, event) in TRANSITIONS:
            key = ChargeKey(f"JST-{event}", DECEMBER)
            bring_to(stores.ledger, key, state)
            after = stores.ledger.apply(key, event, company="acme", **told[event])
            assert after.state is TRANSITIONS[state, event]
            assert after.history[:-1] == (before.history if before else ())
        else:
            with pytest.raises(TransitionRefused) as refused:
                stores.ledger.apply(KEY, event, company="acme", **told[event])
            assert (refused.value.state, refused.value.event) == (state, event)
            assert refused.value.charge == before
    assert stores.ledger.get(KEY) == before
    assert isinstance(claim(stores.ledger, attempt="a2"), Claimed) == ((state, Event.CLAIM) in TRANSITIONS)


def test_what_names_its_order_is_never_said_not_to_be_billed(stores):
    """A person's word stands against an adoption that no order proves, and against nothing else."""
    said = {"reason_code": "in_doubt", "reason": "maria: o Omie não tem OS", **SETTLE}
    claim(stores.ledger)
    stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=77, **WRITER)
    with pytest.raises(TransitionRefused) as refused:
        stores.ledger.apply(KEY, Event.NOT_BILLED, **said)
    assert refused.value.charge.state is State.BILLED
    assert stores.ledger.get(KEY).nCodOS == 77
    adopted = ChargeKey("JST-13", DECEMBER)
    stores.ledger.apply(adopted, Event.ADOPT, company="acme", amount=5, **SETTLE)
    denied = stores.ledger.apply(adopted, Event.NOT_BILLED, **said)
    assert (denied.state, denied.reason_code, denied.told) == (State.PARKED, "in_doubt", False)


@pytest.mark.parametrize("event", sorted(WRITER_ONLY))
def test_only_the_writer_tells_what_became_of_its_call(stores, event):
    claim(stores.ledger)
    with pytest.raises(TransitionRefused) as refused:
        stores.ledger.apply(KEY, event, attempt="a2", **WRITER)
    assert refused.value.charge == stores.ledger.get(KEY)
    with pytest.raises(ValueError, match=f"^{event} is told by the writer only: give its attempt$"):
        stores.ledger.apply(KEY, event, **WRITER)


def test_a_claim_is_not_an_event_to_apply(stores):
    with pytest.raises(ValueError, match=r"^a charge is claimed by claim\(\), which also looks at the holds$"):
        stores.ledger.apply(KEY, Event.CLAIM, attempt="a1", company="acme", **WRITER)


def test_the_writers_late_reply_settles_its_own_doubt(stores):
    bring_to(stores.ledger, KEY, State.UNKNOWN)
    charge = stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=9, **WRITER)
    assert (charge.state, charge.nCodOS) == (State.BILLED, 9)


def test_a_decision_from_an_old_reading_does_not_touch_a_newer_attempt(stores):
    bring_to(stores.ledger, KEY, State.UNKNOWN)
    stores.ledger.apply(KEY, Event.RESEND, attempt="a1", **SETTLE)
    claim(stores.ledger, attempt="a2")
    stores.ledger.apply(KEY, Event.IN_DOUBT, attempt="a2", **WRITER)
    later = {**SETTLE, "now": SETTLE["now"] + timedelta(seconds=1)}
    with pytest.raises(TransitionRefused) as refused:
        stores.ledger.apply(KEY, Event.RESEND, attempt="a1", **later)
    assert refused.value.charge.attempt == "a2"


def test_the_first_event_needs_a_company(stores):
    with pytest.raises(TransitionRefused) as refused:
        stores.ledger.apply(KEY, Event.PARK, **SETTLE)
    assert refused.value.charge is None
    charge = stores.ledger.apply(
        KEY, Event.PARK, company="acme", amount=5, plan_hash="p", run="r", reason_code="data",
        reason="sem CNPJ", failures=2, **SETTLE,
    )  # fmt: skip
    assert (charge.company, charge.amount, charge.plan_hash, charge.run) == ("acme", 5, "p", "r")
    assert (charge.attempt, charge.claimed_at, charge.failures) == (None, None, 2)
    assert (charge.reason_code, charge.reason) == ("data", "sem CNPJ")


def test_a_first_event_that_tells_nothing_else_leaves_the_rest_empty(stores):
    charge = stores.ledger.apply(KEY, Event.ADOPT, company="acme", **SETTLE)
    assert (charge.state, charge.company, charge.amount, charge.failures) == (State.BILLED, "acme", 0, 0)
    assert (charge.plan_hash, charge.run, charge.reason_code, charge.reason) == ("", "", "", "")
    assert (charge.attempt, charge.claimed_at, charge.nCodCtr, charge.nCodOS) == (None, None, None, None)
    assert charge.updated_at == SETTLE["now"]


def test_every_event_leaves_its_line_and_its_time(stores):
    claim(stores.ledger)
    doubted = stores.ledger.apply(KEY, Event.IN_DOUBT, **SETTLE)
    assert doubted.history[1:] == (
        {
            "at": "2026-12-01T09:20:00.123456+00:00",
            "who": "settle_company",
            "event": "IN_DOUBT",
            "to": "UNKNOWN",
            "why": "read in Omie",
        },
    )
    assert (doubted.claimed_at, doubted.updated_at) == (NOW, SETTLE["now"])
    billed = stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodCtr=4002, nCodOS=9, **WRITER)
    assert billed.history == (
        *doubted.history,
        {
            "at": "2026-12-01T09:00:00.123456+00:00",
            "who": "bill_batch",
            "event": "DONE",
            "to": "BILLED",
            "why": "told by the test",
            "attempt": "a1",
        },
    )
    assert (billed.nCodCtr, billed.nCodOS, billed.attempt, billed.updated_at) == (4002, 9, "a1", NOW)


def test_a_reason_lasts_until_the_next_event(stores):
    stores.ledger.apply(KEY, Event.PARK, company="acme", reason_code="data", reason="sem CNPJ", **SETTLE)
    charge = stores.ledger.apply(KEY, Event.REDRIVE, **SETTLE)
    assert (charge.state, charge.reason_code, charge.reason) == (State.READY, "", "")


def test_nobody_wrote_what_is_not_there():
    write = event_write(
        KEY, Event.PARK, attempt=None, company="acme", amount=1, plan_hash="", run="", facts={}, **SETTLE
    )
    assert is_ours(None, write) is False


def test_what_is_told_for_a_first_event_changes_no_later_one(stores):
    claim(stores.ledger)
    charge = stores.ledger.apply(KEY, Event.IN_DOUBT, company="nimbus", amount=1, plan_hash="x", run="y", **SETTLE)
    assert (charge.company, charge.amount, charge.plan_hash) == ("acme", 120050, "p1")
    assert charge.run == "2026-12#mensalidade"
    assert [found.key for found in stores.ledger.by_month("acme", DECEMBER)] == [KEY]
    assert list(stores.ledger.by_month("nimbus", DECEMBER)) == []


def test_an_event_told_twice_word_for_word_is_one_event(stores):
    claim(stores.ledger)
    once = stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=7, **WRITER)
    assert stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=7, **WRITER) == once
    assert isinstance(claim(stores.ledger, attempt="a1"), NotClaimed)


def test_a_claim_told_twice_is_one_claim(stores):
    assert claim(stores.ledger) == claim(stores.ledger)
    assert len(stores.ledger.get(KEY).history) == 1


def test_many_charges_and_holds_are_read_in_batches(stores):
    keys = [ChargeKey(f"JST-{number}", DECEMBER) for number in range(230)]
    written = [keys[0], keys[99], keys[100], keys[229]]
    for key in written:
        claim(stores.ledger, key)
        stores.ledger.put_hold(key.contract, "churn", NOW)
    found = stores.ledger.get_many(iter([*keys, *keys]))
    assert found.keys() == set(written)
    assert found[keys[0]] == stores.ledger.get(keys[0])
    assert stores.ledger.held_many(key.contract for key in keys) == {key.contract for key in written}
    assert stores.ledger.get_many([]) == {}


def test_a_companys_month_is_listed_in_key_order(stores):
    claim(stores.ledger, ChargeKey("JST-3", DECEMBER))
    claim(stores.ledger, ChargeKey("JST-1", DECEMBER))
    claim(stores.ledger, ChargeKey("JST-2", DECEMBER), company="nimbus")
    claim(stores.ledger, ChargeKey("JST-4", DECEMBER.next()))
    stores.ledger.apply(ChargeKey("JST-5", DECEMBER), Event.PARK, company="acme", **SETTLE)
    listed = list(stores.ledger.by_month("acme", DECEMBER))
    assert [charge.key.contract for charge in listed] == ["JST-1", "JST-3", "JST-5"]
    assert listed[0] == stores.ledger.get(listed[0].key)
    waiting = stores.ledger.by_month("acme", DECEMBER, {State.PARKED, State.UNKNOWN})
    assert [charge.key.contract for charge in waiting] == ["JST-5"]


def test_a_billed_charge_is_found_by_the_order_it_became(stores):
    claim(stores.ledger)
    claim(stores.ledger, ChargeKey("JST-13", DECEMBER), company="nimbus")
    stores.ledger.apply(KEY, Event.DONE, attempt="a1", nCodOS=7, **WRITER)
    stores.ledger.apply(ChargeKey("JST-13", DECEMBER), Event.DONE, attempt="a1", nCodOS=7, **WRITER)
    stores.ledger.apply(ChargeKey("JST-14", DECEMBER), Event.ADOPT, company="acme", nCodOS=None, **SETTLE)
    stores.ledger.apply(ChargeKey("JST-15", DECEMBER), Event.ADOPT, company="acme", nCodOS=8, **SETTLE)
    assert stores.ledger.by_order("acme", 7).key == KEY
    assert stores.ledger.by_order("nimbus", 7).key.contract == "JST-13"
    assert stores.ledger.by_order("acme", 8).key.contract == "JST-15"
    assert stores.ledger.by_order("acme", 9) is None
