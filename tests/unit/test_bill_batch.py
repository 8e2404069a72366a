"""One batch: each contract billed exactly once, at the amount that was planned, whatever Omie answers."""

import copy
import json
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import httpx
import pytest

from billing.batches import Part, read_lines, write_batches
from billing.bill_batch import ALTERATION, CREATION, STAGE_20, Look, NoBatch, bill_batch, keep_look, read_ahead, take
from billing.domain.addition import Addition, Kind
from billing.domain.charge import ChargeKey, Event, State
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.plan import PlanLine
from billing.omie import mapping
from billing.open_run import RunRequest, open_run
from billing.plan_company import plan_company
from simulators.lab import Killed, Lab
from simulators.omie import contracts as omie_contracts
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches

DECEMBER = BillingMonth(2026, 12)
RUN = "2026-12#mensalidade#acme"
SEND = frozenset({"FaturarContrato"})


class Desk:
    """A planned month of one company and its first batch, with what tests ask about.

    `idle`: seconds since the plan; after a minute, what it read is asked anew.
    """

    def __init__(self, contracts=12, company="acme", *, clean=True, idle=62.0, **more):
        self.lab = Lab(contracts, clean=clean, **more)
        request = RunRequest("arn:execution:one", "operator", companies=(company,))
        event = open_run(request, self.lab.open_deps())["companies"][0]
        self.company = company
        self.planned = plan_company(event, self.lab.plan_deps())
        self.lines, self.batches, self.rewritten = {}, [], 0
        for message in map(json.loads, self.lab.objects.read_lines(self.planned["batches"]["key"])):
            lines = [line.to_dict() for line in read_lines(self.lab.objects, Part.of(message))]
            self.lines |= {line["contract"]: line for line in lines}
            self.batches.append(message)
        self.take(self.batches[0])
        self.lab.clock.advance(idle)
        self.lab.omie.book.methods.clear()

    def take(self, batch):
        self.batch = batch
        self.codes = [line["contract"] for line in batch["lines"]]

    def of(self, *lines):
        """A message of these lines."""
        pages = {line["contract"]: line["page"] for batch in self.batches for line in batch["lines"]}
        self.lines |= {line["contract"]: line for line in lines}
        self.rewritten += 1
        plan = self.planned["plan"]
        elsewhere = self.planned | {"plan": plan | {"key": f"rewritten/{self.rewritten}/plan.jsonl"}}
        written = write_batches(
            self.lab.objects, elsewhere, map(PlanLine.from_dict, lines), 0,
            page_of=lambda line: pages[line.contract], looked_at=self.batch["looked_at"],
        )  # fmt: skip
        [message] = self.lab.objects.read_lines(written["key"])
        return json.loads(message) | {"plan_key": plan["key"]}

    def bill(self, batch=None, *, seconds=120.0, **deps):
        deadline = self.lab.now() + seconds
        return bill_batch(batch or self.batch, replace(self.lab.bill_deps(), **deps), deadline=deadline)

    def second(self):
        """The round after the first: a minute later, what that one wrote into Omie is billed."""
        self.lab.clock.advance(62)
        return self.bill(self.batch | {"round": 1})

    def line(self, code):
        return self.lines[code]

    def charge(self, code, kind="mensalidade"):
        return self.lab.ledger.get(ChargeKey(code, DECEMBER, kind))

    def states(self):
        return [charge.state if (charge := self.charge(code)) else None for code in self.codes]

    def billings(self, code=None):
        book = self.lab.omie.book.billings
        return [b for b in book if code is None or b.nCodCtr == self.line(code)["nCodCtr"]]

    def calls(self, method):
        return self.lab.omie.book.methods[method].count

    def parked(self):
        return self.lab.queues.parked

    def faults(self, *faults):
        self.lab.omie.faults.replace(faults)

    def person_bills(self, code):
        """A person bills the contract in Omie's own screen, and Omie's lists have shown it since."""
        self.lab.omie.bill_by_person(self.company, self.line(code)["nCodCtr"], now=self.lab.now())
        self.lab.clock.advance(self.lab.settings.companies[self.company].list_lag_seconds)

    def person_changes(self, code, change):
        """A person works on the contract in Omie's own screen."""
        app = self.lab.omie.apps[self.company]
        cadastro = app.contracts[self.line(code)["nCodCtr"]].cadastro()
        change(cadastro)
        app.contract_list[:] = [one for one in app.contract_list if one.nCodCtr != self.line(code)["nCodCtr"]]
        omie_contracts.load(app, cadastro, self.lab.now())


def no_order(body):
    raise AssertionError(f"no order: {body}")


def all_but(desk, *codes):
    return [code for code in desk.codes if code not in codes]


def look_before_that(desk):
    """Stage 20, as somebody saw it before a person suspended one of them."""
    everybody = frozenset(line["nCodCtr"] for line in desk.lines.values())
    keep_look(desk.lab.objects, desk.company, Look(desk.lab.now() - 1, everybody))


def assert_billed_once(desk, codes):
    for code in codes:
        assert desk.charge(code).state is State.BILLED, code
        assert len(desk.billings(code)) == 1, code


# --- the good day


def test_each_contract_is_billed_once_at_its_planned_amount_and_its_os_is_kept():
    desk = Desk()

    answer = desk.bill()

    assert answer == {"wait_seconds": 0, "billed": len(desk.codes), "parked": 0, "in_doubt": 0, "left": 0}
    for code in desk.codes:
        charge = desk.charge(code)
        [billing] = desk.billings(code)
        assert charge.state is State.BILLED
        assert (charge.nCodOS, charge.amount) == (billing.nCodOS, billing.amount)
        assert charge.amount == desk.line(code)["amount"]
        assert (charge.run, charge.plan_hash) == (RUN, desk.planned["plan"]["hash"])
    assert desk.lab.runs.get(RUN).companies["acme"]["billed"] == len(desk.codes)


def test_the_same_message_delivered_twice_bills_nobody_twice():
    desk = Desk()
    desk.bill()

    again = desk.bill()

    assert again == {"wait_seconds": 0, "billed": 0, "parked": 0, "in_doubt": 0, "left": 0}
    assert_billed_once(desk, desk.codes)


def test_the_charge_is_claimed_before_the_call():
    seen = []

    def step(name, call):
        if name == "omie.FaturarContrato":
            sending = [code for code in desk.codes if (c := desk.charge(code)) and c.state is State.SENDING]
            seen.append(sending)
        return call()

    desk = Desk(step=step)

    desk.bill()

    assert seen == [[code] for code in desk.codes]


def test_without_faults_a_batch_writes_its_lane_once():
    written = []

    def step(name, call):
        if name.startswith("lanes.") and name != "lanes.get":
            written.append(name)
        return call()

    desk = Desk(60, step=step, idle=0)
    assert len(desk.codes) == 25
    written.clear()

    desk.bill()

    assert written == ["lanes.reserve"]


def test_calls_keep_the_pace_they_were_given():
    desk = Desk(60)
    desk.batch["contracts_per_minute"] = 60

    desk.bill()

    sent = [billing.at for billing in desk.billings()]
    assert len(sent) == 25
    assert 21 < sent[-1] - sent[0] < 25  # one a second and a bit, but for what an idle lane may catch up
    assert max(after - before for before, after in pairwise(sent)) < 1.5


# --- what happened since the plan


def test_a_hold_wins_over_a_queued_message():
    desk = Desk()
    desk.lab.ledger.put_hold(desk.codes[2], "churn", desk.lab.clock.now())

    answer = desk.bill()

    assert answer["billed"] == len(desk.codes) - 1
    assert (desk.charge(desk.codes[2]).state, desk.charge(desk.codes[2]).reason) == (State.HELD, "churn")
    assert desk.billings(desk.codes[2]) == []


def test_a_hold_written_while_the_contract_is_being_read_wins():
    def step(name, call):
        if name == "ledger.claim":
            desk.lab.ledger.put_hold(desk.codes[0], "churn", desk.lab.clock.now())
        return call()

    desk = Desk(step=step)

    desk.bill()

    assert desk.charge(desk.codes[0]).state is State.HELD
    assert_billed_once(desk, desk.codes[1:])


def add_item(cadastro):
    [item] = cadastro["itensContrato"]
    header = {"codItem": 999, "codIntItem": "MANUAL", "seq": 2, "quant": 1, "valorUnit": 50}
    cadastro["itensContrato"].append(item | {"itemCabecalho": item["itemCabecalho"] | header})


def test_an_amount_that_changed_after_the_plan_parks_and_is_not_billed():
    desk = Desk()
    code = desk.codes[1]
    desk.person_changes(code, add_item)

    answer = desk.bill()

    charge = desk.charge(code)
    assert (answer["billed"], answer["parked"]) == (len(desk.codes) - 1, 1)
    assert (charge.state, charge.reason_code) == (State.PARKED, "amount_not_planned")
    assert charge.reason.startswith("O Omie mostra R$ ")
    assert desk.billings(code) == []
    assert [message["contract"] for message in desk.parked()] == [code]


def test_our_own_item_changed_by_a_person_is_brought_back_to_the_plan():
    desk = Desk()
    code = desk.codes[1]
    desk.person_changes(code, lambda c: c["itensContrato"][0]["itemCabecalho"].update(valorUnit=1.23))

    desk.bill()
    assert desk.billings(code) == []
    desk.second()

    [billing] = desk.billings(code)
    assert billing.amount == desk.line(code)["amount"]


def test_a_contract_suspended_after_the_plan_parks():
    desk = Desk()
    code = desk.codes[1]
    desk.person_changes(code, lambda cadastro: cadastro["cabecalho"].update(cCodSit="90"))
    look_before_that(desk)

    desk.bill()

    assert desk.charge(code).state is State.PARKED
    assert desk.charge(code).reason == "O contrato deixou de estar ativo no Omie depois do plano."
    assert desk.billings(code) == []
    assert_billed_once(desk, all_but(desk, code))


def test_what_a_person_billed_since_the_plan_is_left_to_settle():
    desk = Desk()
    code = desk.codes[1]
    desk.lab.clock.advance(120)
    desk.person_bills(code)

    answer = desk.bill()

    assert (answer["billed"], answer["left"]) == (len(desk.codes) - 1, 1)
    assert desk.charge(code) is None
    assert len(desk.billings(code)) == 1


def test_nobody_is_billed_while_the_last_look_is_too_old_and_the_next_may_not_be_taken_yet():
    """Who was to look reserved the minute, and died."""
    desk = Desk()
    code = desk.codes[1]
    desk.lab.clock.advance(720)
    desk.person_bills(code)
    desk.lab.lanes.ask("acme", STAGE_20, desk.lab.now(), 61)

    answer = desk.bill()

    assert (answer["billed"], answer["wait_seconds"]) == (0, 61)
    desk.lab.clock.advance(answer["wait_seconds"])
    assert desk.bill()["billed"] == len(desk.codes) - 1
    assert len(desk.billings(code)) == 1


def test_what_one_process_saw_the_next_one_knows_without_asking_again():
    desk = Desk()
    first, second = desk.codes[:2]
    desk.lab.clock.advance(720)
    desk.person_bills(second)
    assert desk.bill(desk.of(desk.line(first)))["billed"] == 1
    asked = desk.calls("ObterContratos")

    answer = desk.bill(looks={})

    assert desk.calls("ObterContratos") == asked
    assert (answer["billed"], answer["left"]) == (len(desk.codes) - 2, 1)
    assert len(desk.billings(second)) == 1


def test_the_plans_look_does_for_two_minutes_while_somebody_else_holds_the_question():
    desk = Desk(idle=100)
    desk.lab.lanes.ask("acme", STAGE_20, desk.lab.now(), 61)

    assert desk.bill()["billed"] == len(desk.codes)


def test_an_older_plans_message_bills_nothing():
    desk = Desk()
    desk.lab.runs.put_plan(RUN, "acme", plan_hash="newer", plan_key="elsewhere", planned=1)

    answer = desk.bill()

    assert answer == {"wait_seconds": 0, "billed": 0, "parked": 0, "in_doubt": 0, "left": len(desk.codes)}
    assert desk.billings() == []


def test_what_the_ledger_has_settled_is_not_touched():
    desk = Desk()
    now = desk.lab.clock.now()
    parked, held, billed, ready = desk.codes[:4]
    for code, event in ((parked, Event.PARK), (held, Event.HOLD), (billed, Event.ADOPT)):
        desk.lab.ledger.apply(ChargeKey(code, DECEMBER), event, now=now, who="t", why="", company="acme")
    for event in (Event.PARK, Event.REDRIVE):
        desk.lab.ledger.apply(ChargeKey(ready, DECEMBER), event, now=now, who="t", why="", company="acme")

    answer = desk.bill()

    assert answer["billed"] == len(desk.codes) - 3
    assert desk.states()[:4] == [State.PARKED, State.HELD, State.BILLED, State.BILLED]
    assert [len(desk.billings(code)) for code in desk.codes[:4]] == [0, 0, 0, 1]


@pytest.mark.parametrize("after", [(), (Event.HOLD, Event.RELEASE)])
def test_a_charge_once_sent_and_released_since_the_orders_were_read_is_left_to_settle(after):
    desk = Desk()
    code = desk.codes[0]
    key, number = ChargeKey(code, DECEMBER), desk.line(code)["nCodCtr"]
    now = desk.lab.clock.now()
    facts = {"company": "acme", "amount": 1, "plan_hash": "h", "run": "r"}
    desk.lab.ledger.claim(key, attempt="a1", now=now, who="t", nCodCtr=number, **facts)
    order = desk.lab.omie.bill_by_person("acme", number, now=now.timestamp())
    desk.lab.omie.cancel_by_person("acme", order, now=now.timestamp())
    for event in (Event.IN_DOUBT, Event.PARK):
        desk.lab.ledger.apply(key, event, now=now, who="t", why="", attempt="a1")
    desk.lab.clock.advance(1)
    for event in (Event.REDRIVE, *after):
        desk.lab.ledger.apply(key, event, now=desk.lab.clock.now(), who="t", why="")

    desk.bill()

    assert desk.charge(code).state is State.READY
    assert len(desk.billings(code)) == 1  # the person's
    assert {desk.charge(each).state for each in desk.codes[1:]} == {State.BILLED}


# --- its own month


@pytest.mark.parametrize("moment", ["2026-12-31T23:51", "2027-01-01T00:00", "2027-01-03T09:00"])
def test_a_charge_is_sent_in_its_own_month_or_left_to_settle(moment):
    """Omie's stages speak of the next month by then, and are not asked. Settle finds whom a person billed."""
    desk = Desk()
    desk.lab.clock.set(datetime.fromisoformat(moment).replace(tzinfo=SAO_PAULO))
    asked = desk.lab.omie.book.methods["ObterContratos"].count

    answer = desk.bill()

    assert (answer["billed"], answer["parked"], answer["left"]) == (0, 0, len(desk.codes))
    assert desk.billings() == []
    assert desk.lab.omie.book.methods["ObterContratos"].count == asked


def test_twenty_minutes_before_the_month_ends_it_is_still_sent():
    desk = Desk()
    desk.lab.clock.set(datetime(2026, 12, 31, 23, 39, tzinfo=SAO_PAULO))

    assert desk.bill()["billed"] == len(desk.codes)


# --- time


def test_a_claim_that_aged_is_given_up_unsent():
    def step(name, call):
        answer = call()
        if name == "ledger.claim" and desk.states()[0] is State.SENDING:
            desk.lab.clock.advance(6)
        return answer

    desk = Desk(step=step)

    answer = desk.bill()

    assert desk.states()[0] is State.READY
    assert desk.billings(desk.codes[0]) == []
    assert answer["left"] == 1
    assert_billed_once(desk, desk.codes[1:])


def test_a_minute_before_its_end_the_function_stops_and_asks_for_the_batch_again():
    desk = Desk(60)
    desk.batch["contracts_per_minute"] = 60

    first = desk.bill(seconds=70)

    assert 5 < first["billed"] < 15
    assert first["wait_seconds"] == 1
    assert State.SENDING not in desk.states()
    second = desk.bill(seconds=120)
    assert first["billed"] + second["billed"] == 25
    assert second["wait_seconds"] == 0
    assert_billed_once(desk, desk.codes)


def test_without_time_nothing_is_begun():
    desk = Desk()

    assert desk.bill(seconds=59) == {"wait_seconds": 1, "billed": 0, "parked": 0, "in_doubt": 0, "left": 0}
    assert desk.states() == [None] * len(desk.codes)


# --- what Omie answers

THROTTLES = {"429": ("too_many_requests", 60), "1880": ("busy", 10)}


@pytest.mark.parametrize(("kind", "seconds"), THROTTLES.values(), ids=THROTTLES)
def test_throttling_rests_the_lane_as_long_as_omie_asks_and_costs_nobody_an_attempt(kind, seconds):
    desk = Desk()
    desk.faults(Fault(kind, methods=SEND, nth=frozenset({3})))

    answer = desk.bill()

    charge = desk.charge(desk.codes[2])
    assert (answer["billed"], answer["left"], answer["wait_seconds"]) == (2, 1, seconds)
    assert (charge.state, charge.failures) == (State.READY, 0)
    assert desk.states()[3:] == [None] * (len(desk.codes) - 3)
    assert desk.lab.lanes.get("acme").blocked_until == pytest.approx(desk.lab.now() + seconds)

    calls = desk.calls("FaturarContrato")
    assert desk.bill()["wait_seconds"] == seconds  # too early: not one call
    assert desk.calls("FaturarContrato") == calls

    while answer["wait_seconds"]:
        desk.lab.clock.advance(answer["wait_seconds"])
        answer = desk.bill()
    assert_billed_once(desk, desk.codes)


def test_a_refused_connection_is_a_failure_of_that_contract_only():
    refused = []

    def step(name, call):
        if name == "omie.FaturarContrato" and not refused:
            refused.append(name)
            raise httpx.ConnectError("refused")
        return call()

    desk = Desk(step=step)

    answer = desk.bill()

    assert (answer["left"], answer["wait_seconds"]) == (1, 0)
    assert (desk.charge(desk.codes[0]).state, desk.charge(desk.codes[0]).failures) == (State.READY, 1)
    assert_billed_once(desk, desk.codes[1:])


def test_a_rejection_parks_the_contract_with_omies_own_words_and_one_message():
    desk = Desk()
    code = desk.codes[2]
    desk.faults(Fault("soft_error", methods=SEND, nth=frozenset({3})))

    answer = desk.bill()

    reason = "O Omie recusou o faturamento: Não foi possível concluir a operação neste momento."
    assert (answer["billed"], answer["parked"], answer["wait_seconds"]) == (len(desk.codes) - 1, 1, 0)
    charge = desk.charge(code)
    assert (charge.state, charge.reason_code, charge.reason) == (State.PARKED, "omie_rejected", reason)
    [message] = desk.parked()
    assert (message["contract"], message["company"], message["month"]) == (code, "acme", "2026-12")
    assert (message["class"], message["reason"]) == ("data", reason)
    assert message["safe_action"]
    assert_billed_once(desk, all_but(desk, code))

    desk.bill()
    assert len(desk.parked()) == 1


def test_a_parking_message_says_no_name_and_no_document():
    desk = Desk()
    desk.faults(Fault("soft_error", methods=SEND))

    desk.bill()

    said = json.dumps(desk.parked(), ensure_ascii=False)
    for line in desk.lines.values():
        assert line["name"] not in said
    assert len(desk.parked()) == len(desk.codes)


@pytest.mark.parametrize("seconds", [90, 1678])
def test_a_block_stops_the_whole_lane_for_exactly_the_seconds_omie_names(seconds):
    desk = Desk()
    desk.faults(Fault("blocked", methods=SEND, nth=frozenset({3}), seconds=seconds))

    answer = desk.bill()

    margin = 1  # of WAIT_MARGIN
    assert answer["wait_seconds"] == seconds + margin
    assert desk.lab.lanes.get("acme").blocked_until == pytest.approx(desk.lab.now() + seconds + margin)
    assert answer["billed"] == 2
    assert (desk.charge(desk.codes[2]).state, desk.charge(desk.codes[2]).failures) == (State.READY, 0)

    desk.lab.clock.advance(answer["wait_seconds"])
    assert desk.bill()["wait_seconds"] == 0
    assert_billed_once(desk, desk.codes)
    assert len(desk.lab.omie.book.blocks) == 1


def test_a_refused_key_stops_the_lane_and_leaves_every_contract_as_it_was():
    desk = Desk()
    text = "A chave de acesso está inválida ou o aplicativo está suspenso."

    def step(name, call):
        if name == "omie.FaturarContrato":
            return httpx.Response(403, json={"faultstring": text, "faultcode": "SOAP-ENV:Server"})
        return call()

    desk.lab.step = step

    answer = desk.bill()

    assert answer == {"wait_seconds": 900, "billed": 0, "parked": 0, "in_doubt": 0, "left": 0}
    assert desk.states() == [State.READY] + [None] * (len(desk.codes) - 1)
    assert desk.lab.lanes.get("acme").blocked_reason == f"Chave do Omie recusada: {text}"


DOUBTS = [
    *("lost_reply", "lost_request", "late_execution", "broken_response", "html", "server_error"),
    *("proto_byebye", "already_processing", "redundant", "unknown_wording", "not_json", "slow"),
]


@pytest.mark.parametrize("kind", DOUBTS)
def test_whatever_leaves_a_doubt_is_written_as_unknown_and_the_batch_goes_on(kind):
    desk = Desk()
    code = desk.codes[2]
    desk.faults(Fault(kind, methods=SEND, nth=frozenset({3}), seconds=50))

    answer = desk.bill(seconds=600)

    charge = desk.charge(code)
    assert answer == {"wait_seconds": 0, "billed": len(desk.codes) - 1, "parked": 0, "in_doubt": 1, "left": 0}
    assert (charge.state, charge.reason_code) == (State.UNKNOWN, "in_doubt")
    assert_billed_once(desk, all_but(desk, code))

    desk.bill()  # the message comes again: a doubt is never sent again from here
    assert len(desk.billings(code)) <= 1
    assert desk.charge(code).state is State.UNKNOWN


def test_five_errors_of_one_method_rest_the_lane_before_omie_blocks_the_key():
    desk = Desk(60)
    desk.faults(Fault("unknown_wording", methods=SEND, executed="no"))

    answer = desk.bill()

    assert (answer["in_doubt"], desk.calls("FaturarContrato")) == (5, 5)
    assert 590 < answer["wait_seconds"] <= 600
    reason = desk.lab.lanes.get("acme").blocked_reason
    assert reason == "5 erros de FaturarContrato em 10 minutos: pausa antes que a Omie bloqueie a chave"
    assert desk.lab.omie.book.blocks == []

    desk.faults()
    desk.lab.clock.advance(answer["wait_seconds"])
    assert desk.bill()["billed"] == 20


def test_errors_of_the_last_contract_ask_for_no_batch_again():
    desk = Desk()
    desk.faults(Fault("unknown_wording", methods=SEND, executed="no"))
    assert len(desk.codes) == 5

    assert desk.bill() == {"wait_seconds": 0, "billed": 0, "parked": 0, "in_doubt": 5, "left": 0}


def test_the_writers_late_reply_settles_a_charge_that_somebody_doubted_meanwhile():
    def step(name, call):
        answer = call()
        if name == "omie.FaturarContrato" and (charge := desk.charge(desk.codes[0])).state is State.SENDING:
            now = desk.lab.clock.now() + timedelta(seconds=600)
            desk.lab.ledger.apply(charge.key, Event.IN_DOUBT, now=now, who="settle", why="", attempt=charge.attempt)
        return answer

    desk = Desk(step=step)

    desk.bill()

    assert_billed_once(desk, desk.codes)


def test_a_charge_decided_by_somebody_else_is_not_overruled():
    def step(name, call):
        answer = call()
        if name == "omie.FaturarContrato" and (charge := desk.charge(desk.codes[0])).state is State.SENDING:
            for event in (Event.IN_DOUBT, Event.ADOPT):
                now = desk.lab.clock.now()
                desk.lab.ledger.apply(charge.key, event, now=now, who="s", why="", attempt=charge.attempt, nCodOS=7)
        return answer

    desk = Desk(step=step)

    desk.bill()

    assert (desk.charge(desk.codes[0]).state, desk.charge(desk.codes[0]).nCodOS) == (State.BILLED, 7)


# --- bringing Omie to the plan: alter and create


def changing(kind):
    """A desk whose batch is a contract of this kind of the world, then two that need no work."""
    contract = next(c for c in Lab(20).world.contracts if c.kind == kind)
    desk = Desk(20, contract.omie_company, clean=False)
    plain = [line for line in map(desk.line, desk.codes) if line["work"] == "none"]
    desk.take(desk.of(desk.line(contract.code), *plain[:2]))
    return desk, contract.code


def asked_of_omie(desk):
    """The methods that are called from now on, as they are."""
    order = []

    def step(name, call):
        if name.startswith("omie."):
            order.append(name.removeprefix("omie."))
        return call()

    desk.lab.step = step
    return order


def test_a_differing_contract_is_altered_and_billed_in_the_next_round_once_omie_shows_it():
    desk, code = changing("differs_amount")
    order = asked_of_omie(desk)
    assert desk.bill()["left"] == 1
    assert order.count("AlterarContrato") == 1
    assert desk.charge(code) is None
    order.clear()
    desk.second()

    assert order == ["ObterContratos", "ListarContratos", "FaturarContrato"]
    [billing] = desk.billings(code)
    assert billing.amount == desk.line(code)["amount"]


def test_a_churn_before_the_alteration_is_held_and_bothers_nobody():
    desk, code = changing("differs_amount")
    desk.lab.ledger.put_hold(code, "Churn no Jestor", desk.lab.clock.now())
    app = desk.lab.omie.apps[desk.company]
    omie_contracts.set_situation(app, app.contracts[desk.line(code)["nCodCtr"]], "90", desk.lab.now())
    desk.bill()
    assert (desk.charge(code).state, desk.charge(code).reason) == (State.HELD, "Churn no Jestor")
    assert desk.parked() == []


def test_a_second_round_within_the_minute_looks_the_contract_up_alone():
    """Omie shows a page once a minute, and that of the first round is of before the alteration."""
    desk, code = changing("differs_amount")
    desk.bill()
    desk.lab.clock.advance(11)
    order = asked_of_omie(desk)
    desk.bill(desk.batch | {"round": 1})

    assert order == ["ConsultarContrato", "FaturarContrato"]
    assert_billed_once(desk, [code])


@pytest.mark.parametrize("lag", [3.0, 30.0, 400.0])
def test_reads_that_lag_behind_the_alteration_are_never_believed_and_never_park(lag):
    desk, code = changing("differs_amount")
    desk.bill()
    contract = desk.lab.omie.apps[desk.company].contracts[desk.line(code)["nCodCtr"]]
    contract.before, contract.shown_at = old_version(contract), desk.lab.now() + lag
    waits = []
    while desk.charge(code) is None:
        desk.lab.clock.advance(62)
        waits.append(desk.bill(desk.batch | {"round": 1})["wait_seconds"])
        assert len(waits) < 12

    assert desk.calls("AlterarContrato") == 1
    assert desk.parked() == []
    assert_billed_once(desk, [code])
    assert all(wait > 0 for wait in waits[:-1]), "the batch asks to come again"


def old_version(contract):
    old = copy.copy(contract)
    cadastro = contract.cadastro()
    cadastro["itensContrato"][0]["itemCabecalho"]["valorUnit"] = 1.0
    old.text = json.dumps(cadastro)
    return old


def test_an_alteration_that_did_not_take_is_parked_and_not_billed():
    desk, code = changing("differs_amount")

    def step(name, call):
        if name == "omie.AlterarContrato":
            return httpx.Response(200, json={"nCodCtr": desk.line(code)["nCodCtr"], "cCodStatus": "0"})
        return call()

    desk.lab.step = step
    desk.bill()
    assert desk.second()["wait_seconds"] > 0, "it may only not be shown yet"
    assert desk.charge(code) is None
    desk.lab.clock.advance(900)
    desk.second()

    assert desk.charge(code).reason_code == "amount_not_planned"
    assert desk.billings(code) == []


def test_an_alteration_in_doubt_leaves_the_charge_itself_in_no_doubt():
    desk, code = changing("differs_amount")
    desk.faults(Fault("lost_reply", methods=frozenset({"AlterarContrato"}), times=1))

    answer = desk.bill()

    assert answer["left"] == 1
    assert desk.charge(code) is None
    desk.lab.clock.advance(192)
    desk.bill()
    assert_billed_once(desk, [code])


def test_an_unknown_contract_is_created_once_and_billed():
    desk, code = changing("create")

    desk.bill()
    desk.second()

    creation = desk.charge(code, CREATION)
    assert creation.state is State.BILLED
    assert desk.charge(code).nCodCtr == creation.nCodCtr
    [billing] = [b for b in desk.billings() if b.nCodCtr == creation.nCodCtr]
    assert (billing.cCodIntCtr, billing.amount) == (code, desk.line(code)["amount"])


def test_for_a_contract_on_hold_nothing_is_created_and_no_customer_written():
    desk, code = changing("create")
    desk.line(code)["customer"].pop("nCodCli", None)
    desk.lab.ledger.put_hold(code, "Cancelado no Jestor.", desk.lab.clock.now())

    desk.bill()

    assert desk.calls("UpsertClienteCpfCnpj") == desk.calls("IncluirContrato") == 0
    assert desk.charge(code).state is State.HELD


def test_a_customer_is_written_once_though_the_billing_is_tried_again():
    desk, code = changing("create")
    desk.line(code)["customer"].pop("nCodCli", None)
    desk.bill()
    desk.faults(Fault("too_many_requests", methods=SEND, times=1))
    desk.second()
    assert (desk.charge(code, CREATION).state, desk.charge(code).state) == (State.BILLED, State.READY)
    desk.lab.clock.advance(120)

    desk.bill()

    assert desk.charge(code).state is State.BILLED
    assert desk.calls("UpsertClienteCpfCnpj") == 1


def test_a_customer_that_omie_does_not_take_leaves_the_creation_to_the_next_round():
    desk, code = changing("create")
    desk.line(code)["customer"].pop("nCodCli", None)
    desk.faults(Fault("server_error", methods=frozenset({"UpsertClienteCpfCnpj"}), times=1))
    desk.bill()
    assert (desk.charge(code, CREATION).state, desk.charge(code)) == (State.READY, None)
    desk.second()
    desk.second()

    assert desk.charge(code).state is State.BILLED


def created(desk, code):
    return [c for c in desk.lab.omie.apps[desk.company].contracts.values() if c.cCodIntCtr == code]


@pytest.mark.parametrize("kind", ["lost_reply", "lost_request"])
def test_a_creation_in_doubt_is_never_repeated_from_here(kind):
    desk, code = changing("create")
    desk.faults(Fault(kind, methods=frozenset({"IncluirContrato"}), contains=f'"{code}"'))

    desk.bill()
    calls = desk.calls("IncluirContrato")
    desk.lab.clock.advance(120)
    desk.bill()

    assert desk.charge(code, CREATION).state is State.UNKNOWN
    assert desk.charge(code) is None
    assert len(created(desk, code)) == (kind == "lost_reply")
    assert desk.calls("IncluirContrato") == calls


def test_a_creation_that_omie_did_not_execute_may_be_tried_again():
    desk, code = changing("create")
    desk.faults(Fault("too_many_requests", methods=frozenset({"IncluirContrato"}), times=1))

    answer = desk.bill()

    assert answer["wait_seconds"] == 60
    assert desk.charge(code, CREATION).state is State.READY
    desk.lab.clock.advance(60)
    desk.bill()
    desk.second()
    assert_is_billed_as_created(desk, code)


def test_a_contract_that_omie_already_knows_by_its_code_is_taken_as_the_created_one():
    desk, code = changing("create")
    pattern = next(
        c
        for c in desk.lab.omie.apps[desk.company].contracts.values()
        if c.nCodCtr == desk.line(desk.codes[1])["nCodCtr"]
    )
    there = pattern.cadastro()
    there["cabecalho"] |= {"nCodCtr": 987654, "cCodIntCtr": code}
    omie_contracts.load(desk.lab.omie.apps[desk.company], there, desk.lab.now())

    desk.bill()

    assert desk.charge(code, CREATION).nCodCtr == 987654
    assert [c.nCodCtr for c in created(desk, code)] == [987654]


def test_a_contract_created_in_the_company_it_then_left_waits_for_a_person():
    desk, code = changing("create")
    key = ChargeKey(code, DECEMBER, CREATION)
    facts = {"now": desk.lab.clock.now(), "who": "bill_batch of the other company", "attempt": "a"}
    plan = {"company": "nimbus", "amount": 1, "plan_hash": "h", "run": "r"}
    desk.lab.ledger.claim(key, nCodCtr=None, **facts, **plan)
    desk.lab.ledger.apply(key, Event.DONE, why="contrato criado no Omie", nCodCtr=11_920_000_001, **facts)

    desk.bill()
    desk.lab.clock.advance(61)
    desk.bill()

    charge = desk.charge(code)
    assert (charge.state, charge.reason_code) == (State.PARKED, "created_elsewhere")
    assert "já foi criado no Omie de nimbus (código 11920000001)" in charge.reason
    assert created(desk, code) == []
    assert [message["contract"] for message in desk.lab.queues.parked].count(code) == 1


def test_a_rejected_creation_parks_the_contract():
    desk, code = changing("create")
    desk.faults(Fault("soft_error", methods=frozenset({"IncluirContrato"}), contains=f'"{code}"'))

    desk.bill()

    assert desk.charge(code).state is State.PARKED
    assert desk.charge(code).reason.startswith("O Omie recusou o contrato: ")
    assert [message["contract"] for message in desk.parked()] == [code]
    assert created(desk, code) == []


def assert_is_billed_as_created(desk, code):
    [contract] = created(desk, code)
    assert len([b for b in desk.billings() if b.nCodCtr == contract.nCodCtr]) == 1
    assert desk.charge(code).state is State.BILLED


# --- reading ahead


def test_reading_ahead_keeps_the_order_and_raises_where_the_answer_is_asked_for():
    def read(line):
        if line == 2:
            raise ValueError("two")
        return line * 10

    answers = []
    for line, answer in read_ahead(depth=2)(read, range(5)):
        if line == 2:
            with pytest.raises(ValueError, match="two"):
                answer()
        else:
            answers.append((line, answer()))

    assert answers == [(0, 0), (1, 10), (3, 30), (4, 40)]


def test_with_reading_ahead_the_batch_ends_the_same():
    desk = Desk()

    assert desk.bill(read_ahead=read_ahead())["billed"] == len(desk.codes)
    assert_billed_once(desk, desk.codes)


# --- the message around the batch


def record(body, receives=1):
    return {"body": body, "attributes": {"ApproximateReceiveCount": str(receives)}}


def test_the_run_is_told_what_came_of_its_batch():
    desk = Desk()
    token = desk.lab.new_token()
    body = json.dumps({"token": token, "batch": desk.batch})

    take(record(body), desk.lab.bill_deps, lambda: desk.lab.tasks, no_order, seconds_left=120)

    assert desk.lab.tasks.ended[token]["output"]["billed"] == len(desk.codes)


@pytest.mark.parametrize("change", [{"lines": [{}]}, {"month": "2026-13"}, {"company": "gone"}])
def test_a_message_that_can_never_be_billed_tells_the_run_at_once(change):
    desk = Desk()
    token = desk.lab.new_token()
    body = json.dumps({"token": token, "batch": desk.batch | change})

    with pytest.raises(NoBatch):
        take(record(body), desk.lab.bill_deps, lambda: desk.lab.tasks, no_order, seconds_left=120)

    assert desk.lab.tasks.ended[token]["error"] == "NoBatch"
    assert desk.billings() == []


@pytest.mark.parametrize(("receives", "told"), [(1, False), (4, False), (5, True)])
def test_trouble_that_may_pass_is_told_only_with_the_last_receive(receives, told):
    desk = Desk()
    token = desk.lab.new_token()
    body = json.dumps({"token": token, "batch": desk.batch})

    def broken():
        raise OSError("DynamoDB is not there")

    with pytest.raises(OSError, match="not there"):
        take(record(body, receives), broken, lambda: desk.lab.tasks, no_order, seconds_left=120)

    assert (token in desk.lab.tasks.ended) is told


def test_an_order_in_the_lane_is_taken_by_whom_it_is_for_and_no_run_hears_of_it():
    order = json.dumps({"order": {"contract": "JST-1", "company": "acme"}})

    answer = take(record(order), no_deps, no_deps, lambda body: {"outcome": json.loads(body)["order"]}, seconds_left=9)

    assert answer == {"outcome": {"contract": "JST-1", "company": "acme"}}


def no_deps():
    raise AssertionError("an order needs nothing of a batch")


# --- additions

FEE = Addition("encargos#7#2026-12", Kind.LATE, 1234, "Encargos por atraso", "...", fine=1000, interest=234)
ALTER = frozenset({"AlterarContrato"})


def adding(*additions, kind="match"):
    """A desk whose batch is a contract of that kind, to be billed with these on top."""
    desk = Desk()
    desk, code = (desk, desk.codes[0]) if kind == "match" else changing(kind)
    line = desk.line(code)
    line["additions"] = [each.to_dict() for each in additions]
    line["amount"] += sum(each.amount for each in additions)
    desk.take(desk.of(line))
    desk.codes = [code]
    return desk, code


def carried(desk, code):
    app = desk.lab.omie.apps[desk.company]
    return mapping.additions_of(app.contracts[desk.charge(code).nCodCtr].cadastro())


@pytest.mark.parametrize("how", ["expense", "item"])
def test_an_addition_is_put_on_the_contract_billed_and_charged_in_one(how):
    each = replace(FEE, how=how)
    desk, code = adding(each)
    amount = desk.line(code)["amount"]
    desk.bill()
    desk.second()
    [billing] = desk.billings(code)
    charge = desk.charge(code)
    assert (charge.state, charge.amount, charge.additions) == (State.BILLED, amount, (each.charged(),))
    assert billing.amount == amount
    lines = [line.description for line in desk.lab.omie.apps["acme"].orders[billing.nCodOS].lines]
    assert (each.label if how == "expense" else each.text) in lines
    assert desk.charge(code, ALTERATION).state is State.READY
    assert carried(desk, code) == ()


def test_a_contract_that_carries_what_is_planned_is_not_altered():
    desk, code = adding(FEE)
    desk.bill(desk.of(desk.line(code)))
    assert desk.calls("AlterarContrato") == 1
    again, code = adding(FEE)
    again.person_changes(
        code,
        lambda cadastro: cadastro["despesasReembolsaveis"]["despesaReembolsavel"].append(
            {"nCodReemb": 5, "nValorReemb": 12.34, "cDescReemb": FEE.label, "cRecorrenteReemb": "N"}
        ),
    )
    again.bill()
    assert again.calls("AlterarContrato") == 0
    assert again.charge(code, ALTERATION) is None
    assert_billed_once(again, [code])


def test_what_an_earlier_plan_left_is_taken_off_before_the_bill():
    desk, code = adding()
    desk.person_changes(
        code,
        lambda cadastro: cadastro["despesasReembolsaveis"]["despesaReembolsavel"].append(
            {"nCodReemb": 5, "nValorReemb": 12.34, "cDescReemb": FEE.label, "cRecorrenteReemb": "N"}
        ),
    )
    desk.bill()
    desk.second()
    assert_billed_once(desk, [code])
    assert desk.charge(code).additions == ()


@pytest.mark.parametrize("seconds", [1.0, 59.0])
def test_while_an_alteration_may_still_come_the_contract_is_neither_altered_nor_billed(seconds):
    desk, code = adding(FEE)
    desk.faults(Fault("late_execution", seconds=seconds, methods=ALTER, times=1))
    assert desk.bill()["left"] == 1
    assert desk.charge(code, ALTERATION).state is State.UNKNOWN
    desk.lab.clock.advance(100)  # of the in-doubt wait of 191
    assert desk.bill()["left"] == 1
    assert desk.charge(code) is None
    assert desk.calls("AlterarContrato") == 1
    desk.lab.clock.advance(92)
    desk.bill()
    assert_billed_once(desk, [code])
    assert desk.calls("AlterarContrato") == 1


def test_a_request_that_never_arrived_is_made_again_after_the_wait():
    desk, code = adding(FEE)
    desk.faults(Fault("lost_request", methods=ALTER, times=1))
    desk.bill()
    desk.lab.clock.advance(192)
    desk.bill()
    desk.second()
    assert_billed_once(desk, [code])
    assert [line["event"] for line in desk.charge(code, ALTERATION).history] == [
        "CLAIM",
        "IN_DOUBT",
        "RESEND",
        "CLAIM",
        "GIVE_UP",
    ]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_function_killed_while_altering_adds_nothing_twice(moment):
    desk, code = adding(FEE)

    def step(name, call):
        if name == "omie.AlterarContrato":
            if moment == "after":
                call()
            raise Killed
        return call()

    desk.lab.step = step
    with pytest.raises(Killed):
        desk.bill()
    desk.lab.step = None
    assert desk.charge(code, ALTERATION).state is State.SENDING
    assert desk.bill()["left"] == 1
    desk.lab.clock.advance(720)
    desk.bill()
    desk.second()
    assert_billed_once(desk, [code])
    assert desk.calls("AlterarContrato") == 1


@pytest.mark.parametrize(
    "fault", [Fault("busy", methods=ALTER, times=1), Fault("too_many_requests", methods=ALTER, times=1)]
)
def test_an_alteration_that_omie_did_not_execute_is_tried_once_a_round(fault):
    """Omie may go on refusing it in passing; whatever else the batch holds is not kept waiting by it."""
    desk, code = adding(FEE)
    desk.faults(fault)
    desk.bill()
    assert desk.charge(code, ALTERATION).state is State.READY
    desk.lab.clock.advance(70)
    assert (desk.bill()["left"], desk.calls("AlterarContrato")) == (1, 1)
    for _ in range(2):
        desk.lab.clock.advance(62)
        desk.bill(desk.batch | {"round": 1, "began": desk.lab.now()})
    assert_billed_once(desk, [code])


def test_a_hold_keeps_additions_off_the_contract():
    desk, code = adding(FEE)
    desk.lab.ledger.put_hold(code, "Cancelado no Jestor.", desk.lab.clock.now())
    desk.bill()
    assert desk.calls("AlterarContrato") == 0
    assert desk.charge(code).state is State.HELD


def test_a_contract_billed_as_it_stands_gets_its_additions_and_nothing_else():
    desk, code = adding(FEE)
    line = desk.line(code)
    desk.take(desk.of(line | {"desired": None}))
    desk.person_changes(code, lambda cadastro: cadastro["itensContrato"][0]["itemCabecalho"].update(codIntItem="X"))
    before = desk.lab.omie.apps["acme"].contracts[line["nCodCtr"]].cadastro()["itensContrato"]
    desk.bill()
    desk.second()
    assert_billed_once(desk, [code])
    assert desk.lab.omie.apps["acme"].contracts[line["nCodCtr"]].cadastro()["itensContrato"] == before


def test_a_contract_is_created_with_its_additions():
    desk, code = adding(FEE, kind="create")
    desk.bill()
    desk.second()
    charge = desk.charge(code)
    assert (charge.state, charge.additions) == (State.BILLED, (FEE.charged(),))
    assert desk.charge(code, ALTERATION) is None


def test_a_late_charge_whose_title_is_gone_is_withdrawn_and_the_rest_is_billed():
    desk, code = adding(replace(FEE, title=7, due="2026-11-10", seen="100000:100000/0/0:"), replace(FEE, key="other"))
    planned = desk.line(code)["amount"]
    desk.bill()
    desk.second()
    charge = desk.charge(code)
    assert (charge.state, charge.amount) == (State.BILLED, planned - 1234)
    assert [entry["key"] for entry in charge.additions] == ["other"]
    [billing] = desk.billings(code)
    assert billing.amount == planned - 1234


def test_what_is_parked_remembers_what_a_person_might_bill_with_it():
    desk, code = adding(FEE)
    desk.person_changes(code, lambda cadastro: cadastro["cabecalho"].update(cCodSit="90"))
    look_before_that(desk)
    desk.bill()
    assert desk.charge(code).state is State.PARKED
    assert desk.charge(code).additions == (FEE.charged(),)


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_an_alteration_begins_with_a_reading_that_is_not_older_than_half_a_minute(mode):
    """The page holds people's own items as they were: sent back, it would wipe what a person added since."""
    desk = Desk(40, clean=False, idle=20.0, switches=Switches(items_on_alter=mode))
    code = next(code for code in desk.codes if desk.line(code)["work"] == "alter")
    desk.person_changes(code, add_item)
    desk.lab.clock.advance(35)
    desk.bill()
    items = desk.lab.omie.apps["acme"].contracts[desk.line(code)["nCodCtr"]].cadastro()["itensContrato"]
    assert "MANUAL" in {item["itemCabecalho"].get("codIntItem") for item in items}
    assert desk.calls("ConsultarContrato") >= 1
