"""What became of a plan, found by reading: each row of settle_company's table, and nothing sent from there."""

import json
from datetime import datetime, timedelta

import pytest

from billing.batches import write_batches
from billing.bill_batch import ALTERATION, CREATION, STAGE_20, bill_batch
from billing.domain.addition import Addition, Kind
from billing.domain.charge import ChargeKey, Event, State
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.plan import PlanLine
from billing.doubt import MONTH_OVER_REASON
from billing.open_run import RunRequest, open_run
from billing.plan_company import plan_company
from billing.settle_company import MAX_ROUNDS, settle_company
from simulators.lab import Lab
from simulators.omie import contracts as omie_contracts
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches
from simulators.world import COMPANIES, FIELDS

DECEMBER = BillingMonth(2026, 12)
SEND = frozenset({"FaturarContrato"})
WAIT = 191
"""in_doubt_wait_seconds of config/demo.toml."""


class Desk:
    """A planned month of one company, nothing billed yet, with what tests ask about."""

    def __init__(self, contracts=12, company="acme", *, clean=True, **more):
        self.lab = Lab(contracts, clean=clean, **more)
        self.company = company
        self.planned = self.plan()
        self.codes = [line["contract"] for batch in self.batches(self.planned) for line in batch["lines"]]

    def plan(self, event=None):
        return plan_company(event or self.open(), self.lab.plan_deps())

    def open(self):
        request = RunRequest("arn:execution:one", "operator", companies=(self.company,))
        return open_run(request, self.lab.open_deps())["companies"][0]

    def batches(self, event):
        return [json.loads(line) for line in self.lab.objects.read_lines(event["batches"]["key"])]

    def bill(self, event=None):
        for batch in self.batches(event or self.planned):
            bill_batch(batch, self.lab.bill_deps(), deadline=self.lab.now() + 900)

    def settle(self, event=None):
        self.lab.omie.book.methods.clear()
        answer = settle_company(event or self.planned, self.lab.settle_deps())
        writes = [name for name, count in self.lab.omie.book.methods.items() if count.write]
        assert writes == []
        return answer

    def settle_to_the_end(self, event=None):
        """As the state machine does: wait, bill, settle again."""
        event = self.settle(event)
        while event["decision"] != "done":
            if event["decision"] == "wait":
                self.lab.clock.advance(event["wait_seconds"])
            else:
                self.bill(event)
            event = self.settle(event)
        return event

    def charge(self, code, kind="mensalidade"):
        return self.lab.ledger.get(ChargeKey(code, DECEMBER, kind))

    def line(self, code):
        lines = map(json.loads, self.lab.objects.read_lines(self.planned["plan"]["key"]))
        return next(line for line in lines if line["contract"] == code)

    def omie_id(self, code):
        return self.line(code)["nCodCtr"]

    def billings(self, code):
        return [b for b in self.lab.omie.book.billings if b.nCodCtr == self.omie_id(code)]

    def faults(self, *faults):
        self.lab.omie.faults.replace(faults)

    def claim(self, code):
        """A worker claims the contract's charge and is never heard of again."""
        self.lab.ledger.claim(
            ChargeKey(code, DECEMBER),
            attempt="lost-worker",
            now=self.lab.clock.now(),
            company="acme",
            amount=1,
            plan_hash="h",
            run="r",
            nCodCtr=self.omie_id(code),
            who="bill_batch",
        )

    def person_bills(self, code):
        return self.lab.omie.bill_by_person(self.company, self.omie_id(code), now=self.lab.now())

    def until_listed(self):
        """Time passes until Omie's lists show what was billed a moment ago."""
        self.lab.clock.advance(self.lab.settings.companies[self.company].list_lag_seconds)


def in_doubt(kind, **more):
    """All billed but the third, whose call ended in doubt."""
    desk = Desk()
    desk.faults(Fault(kind, methods=SEND, nth=frozenset({3}), **more))
    desk.bill()
    desk.faults()
    assert desk.charge(desk.codes[2]).state is State.UNKNOWN
    return desk, desk.codes[2]


# --- settled


def test_when_all_is_billed_the_company_is_done():
    desk = Desk()
    desk.bill()

    answer = desk.settle_to_the_end()

    assert (answer["decision"], answer["in_doubt"], answer["mismatches"]) == ("done", 0, 0)
    assert answer["round"] == 0
    assert {name: answer[name] for name in ("plan", "run", "generation")} == {
        name: desk.planned[name] for name in ("plan", "run", "generation")
    }


@pytest.mark.parametrize("event", [Event.PARK, Event.HOLD])
def test_what_waits_for_a_person_is_left_alone(event):
    desk = Desk()
    key = ChargeKey(desk.codes[0], DECEMBER)
    charge = desk.lab.ledger.apply(
        key, event, now=desk.lab.clock.now(), who="t", why="", company="acme", reason="because"
    )
    desk.lab.ledger.note_told(charge)
    desk.bill()
    before = desk.charge(desk.codes[0])

    assert desk.settle_to_the_end()["round"] == 0
    assert desk.charge(desk.codes[0]) == before
    assert desk.lab.queues.parked == []


def test_who_was_killed_before_the_message_is_made_up_for_once():
    desk = Desk()
    key = ChargeKey(desk.codes[0], DECEMBER)
    desk.lab.ledger.apply(
        key, Event.PARK, now=desk.lab.clock.now(), who="t", why="", company="acme", amount=5, reason_code="not_sent"
    )
    desk.bill()

    desk.settle()
    desk.settle()

    [message] = desk.lab.queues.parked
    assert (message["contract"], message["class"]) == (key.contract, "transient")
    assert message["nCodCtr"] is not None


def test_the_answer_forgets_an_approval_and_an_error_of_before():
    desk = Desk()
    desk.bill()

    answer = desk.settle(desk.planned | {"approval": {"who": "ana"}, "error": {"Error": "States.Timeout"}})

    assert not {"approval", "error"} & answer.keys()


# --- in doubt


def test_a_doubt_rests_until_its_wait_is_over():
    desk, code = in_doubt("lost_reply")
    since = desk.charge(code).claimed_at

    answer = desk.settle()

    assert (answer["decision"], answer["in_doubt"]) == ("wait", 1)
    rest = (since + timedelta(seconds=WAIT) - desk.lab.clock.now()).total_seconds()
    assert rest < answer["wait_seconds"] <= rest + 2
    assert desk.charge(code).state is State.UNKNOWN


def test_a_doubt_that_omie_billed_is_adopted_with_its_os():
    desk, code = in_doubt("lost_reply")
    desk.lab.clock.advance(WAIT + 1)

    answer = desk.settle()

    [billing] = desk.billings(code)
    charge = desk.charge(code)
    assert answer["decision"] == "done"
    assert (charge.state, charge.nCodOS, charge.amount) == (State.BILLED, billing.nCodOS, billing.amount)


def test_a_doubt_that_omie_did_not_bill_is_sent_again():
    desk, code = in_doubt("lost_request")
    answer = desk.settle()
    desk.lab.clock.advance(WAIT + 1)

    answer = desk.settle(answer)

    [batch] = desk.batches(answer)
    assert (answer["decision"], answer["round"]) == ("bill", 1)
    assert [line["contract"] for line in batch["lines"]] == [code]
    assert batch["batch"].startswith("1-")
    assert desk.charge(code).state is State.READY
    desk.bill(answer)
    assert desk.settle(answer)["decision"] == "done"
    assert len(desk.billings(code)) == 1


def test_a_call_that_omie_finishes_late_but_within_the_wait_is_adopted_not_sent_again():
    desk, code = in_doubt("late_execution", seconds=50)

    answer = desk.settle_to_the_end()

    assert answer["decision"] == "done"
    assert desk.charge(code).state is State.BILLED
    assert len(desk.billings(code)) == 1


def test_a_doubt_that_omie_shows_nowhere_is_parked_for_a_person_with_one_message():
    desk, code = in_doubt("lost_request")
    desk.lab.omie_clients()("acme").suspender_contrato(desk.omie_id(code))  # a person did, meanwhile
    desk.lab.clock.advance(WAIT + 1)

    answer = desk.settle()
    assert (answer["decision"], answer["wait_seconds"]) == ("wait", 62), "it is asked again for a while"
    answer = desk.settle_to_the_end()

    assert answer["decision"] == "done"
    assert (desk.charge(code).state, desk.charge(code).reason_code) == (State.PARKED, "in_doubt")
    [message] = desk.lab.queues.parked
    assert (message["contract"], message["class"]) == (code, "in_doubt")


def test_a_worker_that_died_between_claim_and_call_is_doubted_first_then_sent_again():
    desk = Desk()
    desk.claim(desk.codes[0])
    desk.bill()

    answer = desk.settle()
    assert answer["decision"] == "wait"
    assert desk.charge(desk.codes[0]).state is State.SENDING
    desk.lab.clock.advance(WAIT + 1)
    assert desk.settle(answer)["decision"] == "bill"
    events = [entry["event"] for entry in desk.charge(desk.codes[0]).history]
    assert events == ["CLAIM", "IN_DOUBT", "RESEND"]


def test_a_worker_that_died_after_the_call_is_adopted():
    desk = Desk()
    desk.claim(desk.codes[0])
    desk.person_bills(desk.codes[0])
    desk.bill()

    assert desk.settle_to_the_end()["decision"] == "done"
    assert desk.charge(desk.codes[0]).state is State.BILLED
    assert len(desk.billings(desk.codes[0])) == 1
    counts = desk.lab.runs.get(desk.planned["run"]).companies["acme"]
    assert (counts["billed"], counts["in_doubt"]) == (len(desk.codes), 0), "adopted, it counts as billed"


def test_a_doubt_left_by_an_earlier_execution_is_settled_though_there_is_nothing_to_send():
    desk, code = in_doubt("lost_reply")
    desk.lab.clock.advance(3600)
    desk.planned = desk.plan()

    answer = desk.settle()

    assert desk.planned["plan"]["counts"]["bill"] == 0
    assert desk.planned["decision"] == "settle"
    assert answer["decision"] == "done"
    assert desk.charge(code).state is State.BILLED


# --- not sent


def test_what_was_never_sent_is_sent_in_the_next_round():
    desk = Desk()

    answer = desk.settle()

    assert (answer["decision"], answer["round"]) == ("bill", 1)
    assert [line["contract"] for batch in desk.batches(answer) for line in batch["lines"]] == desk.codes
    assert answer["batches"]["key"] == "runs/2026-12/1/acme/planning-1/batches-1.jsonl"
    desk.bill(answer)
    assert desk.settle_to_the_end(answer)["round"] == 1


def test_batches_of_a_later_round_still_belong_to_the_same_plan():
    desk = Desk()

    [batch] = desk.batches(desk.settle())

    assert batch["plan_hash"] == desk.planned["plan"]["hash"]


def test_a_person_who_billed_during_the_run_is_adopted_not_sent_again():
    desk = Desk()
    code = desk.codes[0]
    order = desk.person_bills(code)

    answer = desk.settle()

    assert code not in [line["contract"] for batch in desk.batches(answer) for line in batch["lines"]]
    assert (desk.charge(code).state, desk.charge(code).nCodOS) == (State.BILLED, order)
    assert desk.charge(code).amount == desk.billings(code)[0].amount


def test_a_person_who_billed_before_the_plan_is_adopted():
    desk = Desk()
    code = desk.codes[0]
    order = desk.person_bills(code)
    desk.lab.clock.advance(120)
    desk.planned = desk.plan()
    assert desk.planned["plan"]["reasons"]["skip/billed_in_omie"] == 1
    desk.bill()

    assert desk.settle()["decision"] == "done"
    assert (desk.charge(code).state, desk.charge(code).nCodOS) == (State.BILLED, order)


def test_what_a_person_billed_in_a_month_that_is_over_is_adopted_not_asked_for_again():
    """The run was opened on its last evening, and planned after midnight."""
    desk = Desk()
    by_hand, parked, nobody = desk.codes[:3]
    for code, event in ((by_hand, Event.PARK), (by_hand, Event.REDRIVE), (parked, Event.PARK)):
        key = ChargeKey(code, DECEMBER)
        facts = {"company": "acme", "amount": desk.line(code)["amount"], "reason": "because", "reason_code": "not_sent"}
        desk.lab.ledger.apply(key, event, now=desk.lab.clock.now(), who="t", why="", **facts)
    for code in (by_hand, parked):
        desk.person_bills(code)
    opened = desk.open()
    desk.lab.clock.advance(31 * 86400)

    desk.planned = desk.plan(opened)

    assert desk.planned["decision"] == "settle"
    assert [desk.line(code)["reason_code"] for code in (by_hand, parked, nobody)] == [
        "billed_in_omie",
        "billed_in_omie",
        "missed_month",
    ]
    answer = desk.settle_to_the_end()
    assert answer["mismatches"] == 0
    assert [desk.charge(code) and desk.charge(code).state for code in (by_hand, parked, nobody)] == [
        State.BILLED,
        State.BILLED,
        None,
    ]
    assert [desk.charge(code).nCodOS for code in (by_hand, parked)] == [
        desk.billings(code)[0].nCodOS for code in (by_hand, parked)
    ]


def test_what_a_person_billed_before_midnight_is_not_left_as_a_missed_month():
    """The batch came after midnight and left everything: Settle looks for the month's orders before it parks."""
    desk = Desk()
    by_hand, held, missed = desk.codes[:3]
    desk.person_bills(by_hand)
    desk.lab.ledger.put_hold(held, "Churn no Jestor.", desk.lab.clock.now())
    desk.lab.clock.advance(31 * 86400)
    desk.bill()

    assert desk.settle_to_the_end()["mismatches"] == 0

    assert [desk.charge(code).state for code in (by_hand, held, missed)] == [State.BILLED, State.HELD, State.PARKED]
    assert desk.charge(by_hand).nCodOS == desk.billings(by_hand)[0].nCodOS
    assert desk.charge(missed).reason_code == "missed_month"
    letters = {message["contract"] for message in desk.lab.queues.parked}
    assert letters == set(desk.codes[2:]), "nobody is sent to bill what is billed, or who left"


def test_a_month_that_ends_while_the_plan_is_made_has_its_orders():
    desk = Desk()
    by_hand = desk.codes[0]
    desk.person_bills(by_hand)
    opened = desk.open()
    desk.lab.clock.advance(datetime(2026, 12, 31, 23, 59, 50, tzinfo=SAO_PAULO).timestamp() - desk.lab.now())
    desk.lab.lanes.ask("acme", STAGE_20, desk.lab.now(), 61)

    desk.planned = desk.plan(opened)

    assert desk.line(by_hand)["reason_code"] == "billed_in_omie"
    assert {desk.line(code)["action"] for code in desk.codes[1:]} == {"bill"}, "which bill_batch will not do any more"


def turning_while_omie_answers(*billed):
    """The month's last evening: a person billed the first before the plan, a worker was lost with a claim on the second.

    `billed`: which of the others a person, or that worker's call, then billed as well. Settle waits for its turn to ask
    Omie into the month's last minutes.
    """
    desk = Desk(switches=Switches(os_nCodCtr="absent"))
    first, second, *_ = desk.codes
    last_minutes = datetime(2026, 12, 31, 23, 40, tzinfo=SAO_PAULO).timestamp()
    desk.lab.clock.advance(last_minutes - WAIT - 90 - desk.lab.now())
    desk.person_bills(first)
    desk.planned = desk.plan()
    desk.claim(second)
    for position in billed:
        desk.person_bills(desk.codes[position])
    desk.lab.clock.advance(last_minutes - 5 - desk.lab.now())
    desk.lab.lanes.ask("acme", STAGE_20, desk.lab.now(), 61)
    return desk, desk.settle()


def test_a_month_that_begins_to_turn_while_omie_answers_is_read_by_its_orders():
    desk, answer = turning_while_omie_answers(1, 2)

    assert [desk.charge(code) and desk.charge(code).state for code in desk.codes[:4]] == [*[State.BILLED] * 3, None]
    assert [desk.charge(code).nCodOS for code in desk.codes[:3]] == [
        desk.billings(code)[0].nCodOS for code in desk.codes[:3]
    ]
    assert answer["decision"] == "bill"


def test_what_no_order_shows_then_rests_until_the_month_is_over():
    desk, answer = turning_while_omie_answers()
    code = desk.codes[1]

    assert (answer["decision"], answer["in_doubt"]) == ("bill", 1), "what rests keeps no other waiting"
    assert desk.charge(code).state is State.UNKNOWN
    desk.lab.clock.advance(1500)
    desk.settle(answer)
    assert (desk.charge(code).state, desk.charge(code).reason) == (State.PARKED, MONTH_OVER_REASON)


def test_after_its_last_round_what_is_still_unsent_is_parked_and_said():
    desk = Desk()

    answer = desk.settle(desk.planned | {"round": MAX_ROUNDS})

    assert answer["decision"] == "done"
    assert {desk.charge(code).reason_code for code in desk.codes} == {"not_sent"}
    assert sorted(message["contract"] for message in desk.lab.queues.parked) == sorted(desk.codes)
    assert {message["class"] for message in desk.lab.queues.parked} == {"transient"}


def test_rounds_end_though_nothing_is_ever_sent():
    desk = Desk()
    event, rounds = desk.planned, 0
    while (event := desk.settle(event))["decision"] == "bill":
        desk.lab.clock.advance(61)
        rounds += 1

    assert rounds == MAX_ROUNDS
    assert event["decision"] == "done"


def test_a_contract_that_failed_too_often_is_parked():
    desk = Desk()
    code = desk.codes[0]
    for _ in range(3):
        desk.claim(code)
        failures = desk.charge(code).failures + 1
        desk.lab.ledger.apply(
            ChargeKey(code, DECEMBER),
            Event.NOT_EXECUTED,
            now=desk.lab.clock.now(),
            who="t",
            why="",
            attempt="lost-worker",
            failures=failures,
        )

    desk.settle()

    charge = desk.charge(code)
    assert (charge.state, charge.reason_code) == (State.PARKED, "too_many_failures")
    assert charge.reason == "Falhou 3 vezes seguidas no Omie."


# --- creations


def creating():
    contract = next(c for c in Lab(20).world.contracts if c.kind == "create")
    desk = Desk(20, contract.omie_company, clean=False)
    return desk, contract.code


def created(desk, code):
    return [c for c in desk.lab.omie.apps[desk.company].contracts.values() if c.cCodIntCtr == code]


@pytest.mark.parametrize("kind", ["lost_reply", "lost_request"])
def test_a_creation_in_doubt_ends_as_one_contract_billed_once(kind):
    desk, code = creating()
    desk.faults(Fault(kind, methods=frozenset({"IncluirContrato"}), contains=f'"{code}"', times=1))
    desk.bill()
    assert desk.charge(code, CREATION).state is State.UNKNOWN

    assert desk.settle()["decision"] == "wait"
    answer = desk.settle_to_the_end()

    assert answer["decision"] == "done"
    [contract] = created(desk, code)
    assert desk.charge(code, CREATION).state is State.BILLED
    assert desk.charge(code).state is State.BILLED
    assert [b.nCodCtr for b in desk.lab.omie.book.billings].count(contract.nCodCtr) == 1


# --- where ListarOS does not say of which contract an order is

NAMELESS = {"os_nCodCtr": "absent", "list_os_cNumContrato": "absent"}


def nameless(kind="lost_reply"):
    """As `in_doubt`, on such an account."""
    desk = Desk(switches=Switches(**NAMELESS))
    desk.faults(Fault(kind, methods=SEND, nth=frozenset({3})))
    desk.bill()
    desk.faults()
    desk.lab.clock.advance(WAIT + 1)
    return desk, desk.codes[2]


def asked(desk, method):
    return desk.lab.omie.book.methods[method].count


def test_a_doubt_is_adopted_by_its_order_and_only_that_order_is_asked_for():
    desk, code = nameless()
    answer = desk.settle()
    assert (answer["decision"], answer["mismatches"]) == ("done", 0)
    assert desk.charge(code).nCodOS == desk.billings(code)[0].nCodOS
    assert (asked(desk, "ConsultarOS"), asked(desk, "ConsultarContrato"), asked(desk, "ListarNFSEs")) == (1, 0, 0)


def test_a_doubt_whose_order_was_cancelled_and_whose_contract_is_to_be_billed_again_is_not_sent_again():
    desk, code = nameless()
    desk.lab.omie.cancel_by_person("acme", desk.billings(code)[0].nCodOS, now=desk.lab.now())
    desk.settle_to_the_end()
    assert len(desk.billings(code)) == 1
    assert (desk.charge(code).state, "foi cancelada no Omie" in desk.charge(code).reason) == (State.PARKED, True)


def test_a_doubt_without_an_order_is_sent_again_and_the_others_orders_are_not_asked_for():
    desk, _ = nameless("lost_request")
    desk.lab.clock.advance(600)
    answer = desk.settle()
    assert (answer["decision"], asked(desk, "ConsultarOS")) == ("bill", 0)


def test_a_person_who_billed_a_contract_before_the_batch_is_adopted():
    desk = Desk(switches=Switches(**NAMELESS))
    desk.person_bills(desk.codes[0])
    desk.lab.clock.advance(130)
    desk.bill()
    assert desk.settle_to_the_end()["mismatches"] == 0
    assert desk.charge(desk.codes[0]).nCodOS == desk.billings(desk.codes[0])[0].nCodOS


def test_amounts_and_second_orders_are_compared_by_the_orders_that_the_ledger_knows():
    desk = Desk(switches=Switches(**NAMELESS))
    desk.bill()
    other, twice, cancelled = desk.codes[:3]
    desk.lab.ledger._charges[ChargeKey(other, DECEMBER)]["amount"] += 1
    desk.person_bills(twice)
    desk.lab.omie.cancel_by_person("acme", desk.charge(cancelled).nCodOS, now=desk.lab.now())
    desk.until_listed()

    answer = desk.settle()

    assert [each["contract"] for each in answer["differing_orders"]] == [other, twice]
    assert [each["contract"] for each in answer["cancelled_orders"]] == [cancelled]
    assert asked(desk, "ConsultarOS") == 1, "the second order alone is not known"


def test_the_plan_shows_what_a_person_billed():
    desk = Desk(switches=Switches(**NAMELESS))
    code = desk.codes[0]
    desk.person_bills(code)
    desk.planned = desk.plan()
    assert desk.line(code)["reason_code"] == "billed_in_omie"


# --- what Omie shows for what we billed


def test_a_contract_billed_twice_in_the_company_it_then_left_is_a_mismatch_of_the_new_one():
    desk = Desk()
    code = desk.codes[0]
    desk.bill()
    desk.person_bills(code)
    desk.lab.clock.advance(120)
    row = next(contract for contract in desk.lab.world.contracts if contract.code == code)
    service = next(iter(COMPANIES["nimbus"].services))
    moved = {FIELDS["company"]: COMPANIES["nimbus"].jestor_label, FIELDS["service"]: service}
    desk.lab.jestor.edit({"id": row.jestor_id, "data": moved}, now=desk.lab.now())
    desk.company = "nimbus"
    desk.planned = desk.plan()

    assert desk.settle_to_the_end()["mismatches"] == 1


def test_a_churn_during_the_run_is_held_and_not_unclear():
    """It is not in stage 20 any more because this system suspended it: nobody has to wait for it, or to ask."""
    desk = Desk()
    code = desk.codes[0]
    desk.lab.clock.advance(130)  # the plan's look is too old
    desk.lab.ledger.put_hold(code, "Churn no Jestor", desk.lab.clock.now())
    app = desk.lab.omie.apps[desk.company]
    omie_contracts.set_situation(app, app.contracts[desk.omie_id(code)], "90", desk.lab.now())
    desk.bill()
    assert desk.charge(code) is None

    answer = desk.settle()
    assert (answer["decision"], answer["waiting_for"]) == ("wait", ""), "a click of a moment ago may not be listed yet"
    desk.lab.clock.advance(answer["wait_seconds"])
    answer = desk.settle(answer)

    assert (answer["decision"], answer["waiting_for"]) == ("done", "")
    held = desk.charge(code)
    assert (held.state, held.reason_code, held.reason) == (State.HELD, "held", "Churn no Jestor")
    assert desk.lab.queues.parked == []


def test_a_click_just_before_a_churn_is_adopted_and_not_held():
    desk = Desk(switches=Switches(list_lag=9.0, lists_lag="apart"))
    code = desk.codes[0]
    desk.lab.clock.advance(130)
    desk.person_bills(code)
    desk.lab.omie.apps[desk.company].order_list[-1].listed_at = desk.lab.now() + 9
    desk.lab.ledger.put_hold(code, "Churn no Jestor", desk.lab.clock.now())
    app = desk.lab.omie.apps[desk.company]
    omie_contracts.set_situation(app, app.contracts[desk.omie_id(code)], "90", desk.lab.now())
    desk.bill()

    desk.settle_to_the_end()

    assert desk.charge(code).state is State.BILLED


def test_what_was_written_a_moment_ago_is_not_parked_with_those_that_are_unclear_for_long():
    desk = Desk(40, clean=False, start=datetime(2026, 12, 5, 6, tzinfo=SAO_PAULO))
    app = desk.lab.omie.apps[desk.company]
    desk.bill()
    written = next(code for code in desk.codes if desk.line(code)["work"] == "alter")
    long_ago = next(code for code in desk.codes if desk.line(code)["work"] == "none")
    desk.lab.ledger._charges.pop(ChargeKey(long_ago, DECEMBER))
    app.orders.clear()
    app.order_list.clear()
    app.billed_in[202612] = {desk.omie_id(code): 0.0 for code in (written, long_ago)}
    app.changed()
    desk.lab.clock.advance(120)
    since = (desk.lab.clock.now() - timedelta(minutes=11)).isoformat()

    answer = desk.settle(desk.planned | {"round": 1, "unclear_since": since})

    assert desk.charge(long_ago).reason_code == "unclear_in_omie"
    assert desk.charge(written) is None
    desk.lab.clock.advance(600)
    desk.settle(answer)
    assert desk.charge(written).reason_code == "unclear_in_omie"


def test_a_contract_that_came_from_another_company_is_looked_for_by_its_number_in_this_one():
    """Its charge was released in the company it left, and still names the contract there."""
    desk = Desk()
    code = desk.codes[0]
    key, now = ChargeKey(code, DECEMBER), desk.lab.clock.now()
    facts = {"attempt": "a", "now": now, "who": "t"}
    desk.lab.ledger.claim(key, company="nimbus", amount=1, plan_hash="h", run="r", nCodCtr=77, **facts)
    desk.lab.ledger.apply(key, Event.NOT_EXECUTED, why="", **facts)

    assert desk.settle()["unclear_since"] == ""
    desk.settle_to_the_end()
    assert desk.charge(code).state is State.BILLED
    assert len(desk.billings(code)) == 1


def test_an_os_with_another_amount_is_counted_as_a_mismatch():
    desk = Desk()
    desk.bill()
    desk.until_listed()
    key = ChargeKey(desk.codes[0], DECEMBER)
    desk.lab.ledger._charges[key]["amount"] += 1
    charge = desk.lab.ledger.get(key)

    answer = desk.settle()

    assert answer["mismatches"] == 1
    [found] = answer["differing_orders"]
    assert found == {
        "contract": key.contract,
        "nCodOS": charge.nCodOS,
        "amount": charge.amount,
        "in_omie": charge.amount - 1,
    }


def test_reading_again_settles_nothing_twice():
    desk, _ = in_doubt("lost_reply")
    desk.lab.clock.advance(WAIT + 1)
    first = desk.settle()
    ledger = [desk.charge(code) for code in desk.codes]
    desk.lab.clock.advance(120)

    again = desk.settle(first)

    assert again == first
    assert [desk.charge(code) for code in desk.codes] == ledger


# --- additions

FEE = Addition("encargos#7#2026-12", Kind.LATE, 1234, "Encargos por atraso", "...", fine=1000, interest=234)


def adding(action="bill"):
    """A desk with a contract that is planned with a late charge; `action` "skip": billed by hand before the plan."""
    desk = Desk()
    code = desk.codes[0]

    def add(line):
        if line["contract"] == code:
            line["additions"] = [FEE.to_dict()]
            line["amount"] += FEE.amount if action == "bill" else 0
            line |= {} if action == "bill" else {"action": "skip", "reason_code": "billed_in_omie"}
        return line

    texts, plan = desk.lab.objects.texts, desk.planned["plan"]["key"]
    lines = [add(json.loads(line)) for line in texts[plan].splitlines()]
    texts[plan] = "".join(f"{json.dumps(line)}\n" for line in lines)
    looked_at = desk.batches(desk.planned)[0]["looked_at"]
    again = map(PlanLine.from_dict, lines)
    write_batches(desk.lab.objects, desk.planned, again, 0, page_of=lambda _: 1, looked_at=looked_at)
    return desk, code


def put_by_hand(desk, code, amount):
    """What the contract carries in Omie when a person bills it, over its own amount."""
    app = desk.lab.omie.apps["acme"]
    contract = app.contracts[desk.omie_id(code)]
    cadastro = contract.cadastro()
    expense = {"nCodReemb": 5, "nValorReemb": amount / 100, "cDescReemb": FEE.label, "cRecorrenteReemb": "N"}
    cadastro["despesasReembolsaveis"]["despesaReembolsavel"] = [expense] if amount else []
    omie_contracts._keep(app, cadastro, contract, desk.lab.now())


@pytest.mark.parametrize("action", ["bill", "skip"])
@pytest.mark.parametrize(
    ("carried", "charged"), [(1234, [FEE.charged()]), (0, []), (1000, [FEE.charged() | {"doubtful": True}])]
)
def test_an_order_found_in_omie_proves_by_its_total_what_it_charged(action, carried, charged):
    desk, code = adding(action)
    put_by_hand(desk, code, carried)
    desk.person_bills(code)
    desk.until_listed()
    desk.settle()
    charge = desk.charge(code)
    assert charge.state is State.BILLED
    assert list(charge.additions) == charged


def test_a_doubt_that_omie_billed_charged_what_was_claimed():
    desk, code = adding()
    desk.bill()
    desk.lab.clock.advance(62)
    event = desk.settle()
    desk.faults(Fault("lost_reply", methods=SEND, nth=frozenset({1})))
    desk.bill(event)
    desk.faults()
    assert desk.charge(code).state is State.UNKNOWN
    desk.lab.clock.advance(WAIT + 1)
    assert desk.settle()["decision"] == "done"
    assert (desk.charge(code).state, desk.charge(code).additions) == (State.BILLED, (FEE.charged(),))


def test_a_contract_whose_alteration_is_in_doubt_rests_and_costs_no_rounds():
    desk, code = adding()
    desk.faults(Fault("late_execution", seconds=50, methods=frozenset({"AlterarContrato"}), times=1))
    desk.bill()
    desk.faults()
    assert desk.charge(code, ALTERATION).state is State.UNKNOWN
    since = desk.charge(code, ALTERATION).claimed_at
    answer = desk.settle()
    rest = (since + timedelta(seconds=WAIT) - desk.lab.clock.now()).total_seconds()
    assert (answer["decision"], answer["in_doubt"]) == ("wait", 1)
    assert rest < answer["wait_seconds"] <= rest + 2
    answer = desk.settle_to_the_end()
    assert answer["round"] == 1
    [billing] = desk.billings(code)
    assert billing.amount == desk.charge(code).amount
    assert desk.charge(code).additions == (FEE.charged(),)


def test_what_settle_parks_remembers_its_additions():
    desk, code = adding()
    desk.settle(desk.planned | {"round": MAX_ROUNDS})
    assert desk.charge(code).state is State.PARKED
    assert desk.charge(code).additions == (FEE.charged(),)


def test_a_charge_once_sent_whose_order_was_cancelled_is_not_sent_again_though_its_contract_was_created_for_it():
    """A person released it: its contract stands in stage 20 again, and nothing is left to be written first."""
    desk = Desk(20, clean=False)
    code = next(code for code in desk.codes if desk.line(code)["work"] == "create")
    event = desk.settle_to_the_end()
    charge = desk.charge(code)
    assert charge.state is State.BILLED
    desk.lab.omie.cancel_by_person(desk.company, charge.nCodOS, now=desk.lab.now())
    desk.until_listed()
    charge = desk.lab.ledger._charges[ChargeKey(code, DECEMBER)]
    charge["state"] = "READY"  # as after a doubt that was parked, and released
    del charge["nCodOS"]
    answer = desk.settle(event | {"round": 1})
    assert answer["decision"] != "bill"
    assert len([billing for billing in desk.lab.omie.book.billings if billing.cCodIntCtr == code]) == 1


def test_an_order_that_is_not_listed_yet_is_looked_for_again_long_before_the_lag_that_cannot_be_ruled_out():
    """The youngest order found by an earlier look was minutes old, so the lists may be twice as late; they rarely are."""
    desk = Desk(switches=Switches(list_lag=8.0, list_lag_least=8.0))
    desk.bill()
    began = desk.lab.now()
    event = desk.settle(desk.planned | {"list_lag": {"missing": 0.5, "shown": 249.0}})
    assert (event["decision"], event["waiting_for"]) == ("wait", "order_list")
    assert event["wait_seconds"] <= 64
    while event["decision"] == "wait":
        desk.lab.clock.advance(event["wait_seconds"])
        event = desk.settle(event)
    assert event["decision"] == "done"
    assert desk.lab.now() - began < 150
