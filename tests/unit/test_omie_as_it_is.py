"""Omie as live accounts show it: a month that turns late, two registers of one document, intervals, silence."""

import json
from collections import Counter
from datetime import datetime, timedelta

import pytest

from billing.domain.charge import ChargeKey, Event, State
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.omie.governor import ERROR_BUDGET, READER_BUDGET
from billing.omie.replies import BLOCK_SECONDS, Blocked, NotExecuted
from billing.settings import load_settings
from billing.settle_company import MAX_ROUNDS, MOST_NAMED
from ops.local import demo_settings as local_settings
from simulators.lab import START, Lab, demo_settings
from simulators.omie import contracts as omie_contracts
from simulators.omie.faults import Fault, read_faults
from simulators.omie.profiles import PROFILES
from simulators.omie.switches import Switches
from simulators.world import CONTRACTS_TABLE, FIELDS

DECEMBER = BillingMonth(2026, 12)
NOVEMBER = 202611


def charges(lab):
    return {key.contract: charge for key in lab.ledger._charges if (charge := lab.ledger.get(key)) and _monthly(key)}


def _monthly(key):
    return key.month == DECEMBER and key.kind == "mensalidade"


def plain(lab, company="acme"):
    return [c for c in lab.world.contracts if c.kind == "match" and c.omie_company == company]


# --- the turn of the month


def november_is_still_shown(share=1.0, **more):
    """Omie's stage 30 goes on showing November for two hours; a run starts at 06:00, as if at midnight."""
    lab = Lab(40, clean=True, switches=Switches(turn_late=8 * 3600.0), **more)
    for app in lab.omie.apps.values():
        chosen = app.contract_list[: int(len(app.contract_list) * share)]
        app.billed_in[NOVEMBER] = {contract.nCodCtr: 0.0 for contract in chosen}
    return lab


def test_a_stage_30_that_still_shows_last_month_adopts_nothing_and_everything_is_billed_after_the_turn():
    lab = november_is_still_shown()
    answer = lab.run()
    assert answer["balanced"]
    found = charges(lab)
    assert {charge.state for charge in found.values()} == {State.BILLED}
    assert all(charge.nCodOS for charge in found.values())
    assert not [line for charge in found.values() for line in charge.history if line["event"] == Event.ADOPT]
    assert len(lab.omie.book.billings) == len(found)
    turned = START.replace(hour=8).timestamp()
    assert min(billing.at for billing in lab.omie.book.billings) >= turned, "nothing is sent before Omie has turned"
    assert lab.now() < turned + 1800


def test_while_the_company_waits_for_the_turn_it_says_so():
    lab = november_is_still_shown()
    lab.start(trigger="operator")
    lab.drain(1800)
    [waits] = {branch.event["waiting_for"] for branch in lab.executions[0].branches}
    assert waits == "month_turn"
    counts = lab.runs.get("2026-12#mensalidade#acme").companies["acme"]
    assert (counts["month_not_turned"], counts["unclear"]) == (1, counts["planned"])
    assert counts["asked_again_at"] > lab.now() - 2


def test_what_is_to_be_billed_meanwhile_is_billed_meanwhile():
    lab = november_is_still_shown(share=0.5)
    lab.start(trigger="operator")
    lab.drain(3600)
    billed = [charge for charge in charges(lab).values() if charge.state is State.BILLED]
    assert 0 < len(billed) == len(lab.omie.book.billings)
    lab.drain()
    assert {charge.state for charge in charges(lab).values()} == {State.BILLED}


def test_one_contract_that_omie_shows_neither_way_rests_and_keeps_no_other_waiting():
    lab = Lab(60, clean=True)
    app = lab.omie.apps["acme"]
    odd = plain(lab)[0]
    number = odd.omie_contrato["cabecalho"]["nCodCtr"]
    app.billed_in[202612] = {number: 0.0}  # in stage 30, and nothing was billed
    answer = lab.run()
    found = charges(lab)
    assert (found[odd.code].state, found[odd.code].reason_code) == (State.PARKED, "unclear_in_omie")
    assert found[odd.code].nCodCtr == number
    assert {charge.state for code, charge in found.items() if code != odd.code} == {State.BILLED}
    last = max(billing.at for billing in lab.omie.book.billings)
    assert last < START.timestamp() + 300 < lab.now(), "the others did not wait for it"
    assert answer["balanced"]


@pytest.mark.parametrize("offset", [-900.0, 900.0])
def test_nothing_is_sent_while_it_may_be_another_month_by_omies_clock(offset):
    lab = Lab(6, clean=True, start=datetime(2026, 12, 1, 0, 0, 5, tzinfo=SAO_PAULO))
    lab.omie.switches.update({"clock_offset": offset})
    assert lab.run()["balanced"]
    assert {billing.month for billing in lab.omie.book.billings} == {"2026-12"}
    first = min(billing.at for billing in lab.omie.book.billings) - offset
    assert first >= datetime(2026, 12, 1, 0, 20, tzinfo=SAO_PAULO).timestamp()


# --- a billing that a person cancelled


@pytest.mark.parametrize("stage", ["20", "30"])
def test_a_cancelled_order_is_said_and_never_billed_again(stage):
    lab = Lab(20, clean=True, switches=Switches(after_cancel=stage))
    lab.run()
    contract = plain(lab)[0]
    charge = lab.ledger.get(ChargeKey(contract.code, DECEMBER))
    lab.omie.cancel_by_person("acme", charge.nCodOS, now=lab.now())
    lab.clock.advance(120)
    answer = lab.run()
    branches = {branch.event["company"]: branch.event for branch in lab.executions[-1].branches}
    named = {"contract": contract.code, "nCodOS": charge.nCodOS, "amount": charge.amount}
    assert branches["acme"]["cancelled_orders"] == [named]
    assert lab.ledger.get(ChargeKey(contract.code, DECEMBER)).state is State.BILLED
    assert len([one for one in lab.omie.book.billings if one.nCodCtr == charge.nCodCtr]) == 1
    assert answer["attention"]


@pytest.mark.parametrize("stage", ["20", "30"])
def test_a_released_charge_whose_order_was_cancelled_parks_again_and_says_which_order(stage):
    """The order may be our own lost call's: stage 20 shows the contract as to bill, and a release is no second look."""
    lab = Lab(20, clean=True, switches=Switches(after_cancel=stage))
    contract = plain(lab)[0]
    key, number = ChargeKey(contract.code, DECEMBER), contract.omie_contrato["cabecalho"]["nCodCtr"]
    facts = {"company": "acme", "amount": 10_000, "plan_hash": "h", "run": "r"}
    lab.ledger.claim(key, attempt="a1", now=START, who="w", nCodCtr=number, **facts)
    order = lab.omie.bill_by_person("acme", number, now=lab.now())
    lab.omie.cancel_by_person("acme", order, now=lab.now())
    for event, facts in ((Event.IN_DOUBT, {}), (Event.PARK, {"reason_code": "in_doubt", "reason": "x"})):
        lab.ledger.apply(key, event, now=START, who="w", why="w", attempt="a1", **facts)
    lab.ledger.apply(key, Event.REDRIVE, now=START, who="w", why="w")
    lab.clock.advance(120)
    lab.run()
    line = lines(lab)[contract.code]
    assert (line["action"], line["reason_code"]) == ("park", "order_cancelled")
    assert f"OS {order}" in line["reason"]
    assert len([one for one in lab.omie.book.billings if one.nCodCtr == number]) == 1


@pytest.mark.parametrize("kind", ["mensalidade", "alteracao"])
def test_what_was_never_sent_makes_no_plan_ask_for_an_empty_list_of_orders(kind):
    """An empty ListarOS is an error that counts: the fifth within ten minutes stops the lane."""
    lab = Lab(20, clean=True)
    key = ChargeKey(plain(lab)[0].code, DECEMBER, kind)
    facts = {"company": "acme", "amount": 10_000, "plan_hash": "h", "run": "r"}
    if kind == "mensalidade":
        lab.ledger.apply(key, Event.PARK, now=START, who="w", why="w", reason="x", reason_code="no_amount", **facts)
    else:
        lab.ledger.claim(key, attempt="a1", now=START, who="w", nCodCtr=1, **facts)
        lab.ledger.apply(key, Event.GIVE_UP, now=START, who="w", why="w", attempt="a1")
    asked = []
    lab.step = lambda name, call: asked.append(name) or call()
    lab.run(trigger="operator", preview=True)
    assert "omie.ObterContratos" in asked
    assert "omie.ListarOS" not in asked


def test_many_cancelled_orders_do_not_fill_the_runs_state_and_are_all_named():
    """Step Functions carries 256 KB from step to step, for all companies together."""
    lab = Lab(120, clean=True)
    lab.run()
    billed = charges(lab)
    for charge in billed.values():
        lab.omie.cancel_by_person(charge.company, charge.nCodOS, now=lab.now())
    lab.clock.advance(200)
    answer = lab.run()
    events = [branch.event for branch in lab.executions[-1].branches]
    assert [len(event["cancelled_orders"]) for event in events] == [MOST_NAMED, MOST_NAMED]
    report = json.loads(lab.objects.get_text(answer["report"]["json"]))
    assert {each["contract"] for each in report["cancelled_orders"]} == set(billed)
    assert f"{len(billed)} contratos faturados tiveram a OS cancelada" in "".join(answer["attention"])


def test_an_order_that_is_no_longer_listed_is_said_once_the_lists_lag_is_over():
    lab = Lab(8, clean=True)
    lab.run()
    charge = lab.ledger.get(ChargeKey(plain(lab)[0].code, DECEMBER))
    app = lab.omie.apps["acme"]
    order = app.orders.pop(charge.nCodOS)
    app.order_list.remove(order)
    app.changed()
    lab.clock.advance(120)
    lab.run()
    events = [branch.event for branch in lab.executions[-1].branches]
    assert [each["nCodOS"] for event in events for each in event["cancelled_orders"]] == [charge.nCodOS]


# --- two registers of one CNPJ/CPF


def register_again(lab, contract, *, inactive=False):
    app = lab.omie.apps[contract.omie_company]
    again = contract.omie_cliente | {"codigo_cliente_omie": app.new_id(), "codigo_cliente_integracao": ""}
    app.add_customer(again | ({"inativo": "S"} if inactive else {}))
    return again["codigo_cliente_omie"]


def lines(lab):
    return {
        line["contract"]: line
        for execution in lab.executions
        for branch in execution.branches
        for line in map(json.loads, lab.objects.read_lines(branch.event["plan"]["key"]))
    }


def test_an_unlinked_contract_under_any_register_of_the_document_parks_the_new_one():
    """The register listed last has none: a dictionary that keeps the last of several bills the customer twice."""
    lab = Lab(40)
    contract = next(c for c in lab.world.contracts if c.kind == "lookalike")
    register_again(lab, contract)
    lab.run()
    assert lines(lab)[contract.code]["reason_code"] == "possible_duplicate"
    assert contract.code not in {billing.cCodIntCtr for billing in lab.omie.book.billings}


def forget(lab, contract):
    """Its customer is known in Omie, and no contract of it."""
    app = lab.omie.apps[contract.omie_company]
    number = contract.omie_contrato["cabecalho"]["nCodCtr"]
    gone = app.contracts.pop(number)
    app.contract_list.remove(gone)
    app.contract_codes.pop(gone.cCodIntCtr, None)
    lab.jestor.edit({"table": CONTRACTS_TABLE, "id": contract.jestor_id, "data": {FIELDS["omie_id"]: None}}, lab.now())


@pytest.mark.parametrize("inactive", [True, False])
def test_a_contract_is_created_only_where_one_register_is_meant(inactive):
    lab = Lab(40, clean=True)
    contract = plain(lab)[0]
    forget(lab, contract)
    second = register_again(lab, contract, inactive=inactive)
    lab.run()
    line = lines(lab)[contract.code]
    if inactive:
        assert line["customer"]["nCodCli"] == contract.omie_cliente["codigo_cliente_omie"]
        assert charges(lab)[contract.code].state is State.BILLED
    else:
        assert (line["action"], line["reason_code"]) == ("park", "several_registers")
        assert str(second) in line["reason"]
        assert contract.code not in {billing.cCodIntCtr for billing in lab.omie.book.billings}


def test_a_contract_just_created_is_not_looked_for_in_a_look_of_before():
    """A worker that remembers a young look would leave it to Settle in each round, until the rounds are used up."""
    settings = demo_settings()
    at_once = {key: one.model_copy(update={"same_question_seconds": 0}) for key, one in settings.companies.items()}
    switches = Switches(redundant_on=0, same_id_lookup="off")
    lab = Lab(60, seed=7, settings=settings.model_copy(update={"companies": at_once}), switches=switches)
    lab.run()
    created = [c.code for c in lab.world.contracts if c.kind == "create" and c.expected == "bill"]
    assert created
    assert {charges(lab)[code].state for code in created} == {State.BILLED}


# --- contracts that Omie does not bill every month


@pytest.mark.parametrize("cTipoFat", ["02", "03", "06", "12"])
def test_a_contract_of_another_interval_is_neither_repriced_nor_billed(cTipoFat):
    lab = Lab(20, clean=True)
    contract = plain(lab)[0]
    number = contract.omie_contrato["cabecalho"]["nCodCtr"]
    price = lab.omie.apps["acme"].contracts[number].total
    lab.omie.edit_by_person("acme", number, lambda c: c["cabecalho"].update(cTipoFat=cTipoFat), now=lab.now())
    lab.clock.advance(lab.settings.companies["acme"].read_lag_seconds)
    lab.run()
    line = lines(lab)[contract.code]
    assert (line["action"], line["reason_code"]) == ("park", "not_monthly")
    assert "só fatura contratos mensais" in line["reason"]
    assert number not in {billing.nCodCtr for billing in lab.omie.book.billings}
    assert lab.omie.apps["acme"].contracts[number].total == price


def test_a_contract_that_becomes_yearly_after_the_plan_is_not_billed():
    lab = Lab(12, clean=True)
    contract = plain(lab)[0]
    number = contract.omie_contrato["cabecalho"]["nCodCtr"]
    execution = lab.start(trigger="operator")
    while not lab.fifo.messages:
        lab.actions()[0]()
    lab.omie.edit_by_person("acme", number, lambda c: c["cabecalho"].update(cTipoFat="12"), now=lab.now())
    lab.clock.advance(62)
    lab.drain()
    assert execution.answer is not None
    assert charges(lab)[contract.code].state is State.PARKED
    assert number not in {billing.nCodCtr for billing in lab.omie.book.billings}


# --- an alteration says what is wanted, not what was read


def test_a_read_of_before_a_suspension_does_not_revive_the_contract():
    """A hold is a condition of the alteration's own claim: what was read before it is not sent any more."""
    lab = Lab(40)
    contract = next(c for c in lab.world.contracts if c.kind == "differs_amount")
    company = contract.omie_company
    number = contract.omie_contrato["cabecalho"]["nCodCtr"]
    lab.start(trigger="operator")
    while not lab.fifo.messages:
        lab.actions()[0]()
    lab.ledger.put_hold(contract.code, "Cancelado no Jestor", lab.clock.now())
    app = lab.omie.apps[company]
    held = app.contracts[number]
    omie_contracts.set_situation(app, held, "90", lab.now())
    before = held.altered
    lab.drain()
    assert (held.cCodSit, held.altered) == ("90", before)
    assert charges(lab)[contract.code].state in {State.HELD, State.PARKED}
    assert lab.omie.book.revived == []


# --- a rough day: silence, errors, throttling


ROUGH = [
    Fault("lost_reply", share=0.025),
    Fault("lost_request", share=0.025),
    Fault("server_error", share=0.02),
    Fault("too_many_requests", share=0.02),
]


@pytest.mark.parametrize("seed", range(5))
def test_a_rough_day_ends_in_time_without_one_redundant_question_of_our_own(seed):
    lab = Lab(80, seed=seed, switches=Switches(redundant_on=2, read_lag=8.0, list_lag=8.0))
    lab.omie.faults.replace(ROUGH)
    began, paused = lab.now(), []
    real = lab.lanes.note_error

    def note(company, method, now):
        state = real(company, method, now)
        paused.append(max(0.0, state.blocked_until - now) if "pausa" in state.blocked_reason else 0.0)
        return state

    lab.lanes.note_error = note
    answer = lab.run()
    book = lab.omie.book
    assert not book.refused["redundant"] + book.refused["same_id"]
    assert book.blocks == []
    assert answer["balanced"]
    expected = {c.code for c in lab.world.contracts if c.expected == "bill"}
    assert {code for code, charge in charges(lab).items() if charge.state is State.BILLED} == expected
    planned = max(company["billed"] for company in answer["companies"])
    unanswered = book.faults["lost_reply"] + book.faults["lost_request"] + book.faults["server_error"]
    waits = MAX_ROUNDS * 61 + 61 * (unanswered + book.faults["too_many_requests"])
    assert lab.now() - began <= 1.3 * planned * 62.5 / 240 + 191 + waits
    assert sum(paused) <= 0.1 * (lab.now() - began) or book.faults["server_error"] >= ERROR_BUDGET


@pytest.mark.parametrize("by_pages", [True, False])
def test_an_answer_read_ahead_is_kept_when_the_lane_stops_and_by_the_next_worker(by_pages):
    """Omie asks for ten seconds' rest: what was read ahead is not asked for again, by this process or another."""
    asked = []

    def step(name, call):
        if name in {"omie.ConsultarContrato", "omie.ListarContratos"}:
            asked.append(name)
        return call()

    # Without lags: while one company waits for the lists, the minute of what was read ahead for the other would end.
    lab = Lab(30, clean=True, step=step, switches=Switches(read_lag=0.0, list_lag=0.0))
    busy = Fault("busy", methods=frozenset({"FaturarContrato"}), nth=frozenset({4}))
    lab.omie.faults.replace([busy])
    lab.start(trigger="operator")
    while not lab.fifo.messages:
        lab.actions()[0]()
    lab.clock.advance(62)  # the plan's pages are too old by now
    if not by_pages:
        lab.omie.faults.replace([busy, Fault("lost_request", methods=frozenset({"ListarContratos"}))])
    asked.clear()
    while not lab.omie.book.faults["busy"]:
        (lab.actions() or [lab.wait])[0]()
    lab.warm, lab.warm_answers = {}, {}  # the next worker is another process
    lab.drain()
    assert not lab.omie.book.refused["same_id"] + lab.omie.book.refused["redundant"]
    assert {charge.state for charge in charges(lab).values()} == {State.BILLED}
    if by_pages:
        assert Counter(asked) == Counter({"omie.ListarContratos": 2}), "a page a company"
    else:
        assert Counter(asked)["omie.ConsultarContrato"] == len(charges(lab)), "each contract was looked up once"


def test_no_read_in_the_lane_waits_longer_than_the_function_has_left():
    lab = Lab(30, clean=True)
    reads = frozenset({"ConsultarContrato", "ListarContratos"})
    lab.start(trigger="operator")
    while not lab.fifo.messages:
        lab.actions()[0]()
    lab.clock.advance(62)
    lab.omie.faults.replace([Fault("too_many_requests", methods=reads, share=0.5)])
    longest = timedelta()
    while (ready := lab.actions()) or lab.wait():
        if ready:
            began = lab.clock.now()
            ready[0]()
            if lab.fifo.messages or lab.omie.book.billings:
                longest = max(longest, lab.clock.now() - began)
        if lab.now() > START.timestamp() + 3600:
            break
    assert longest < timedelta(seconds=120)


# --- lists that are later than assumed


@pytest.mark.parametrize(("late", "lists"), [(400.0, "alike"), (200.0, "apart"), (300.0, "alike")])
def test_what_lists_that_are_later_than_assumed_do_not_show_is_not_billed_again(late, lists):
    """Eight replies are lost, and long after the in-doubt wait both lists still show all of them as not billed."""
    lab = Lab(24, clean=True, switches=Switches(list_lag=late, list_lag_least=late, lists_lag=lists))
    lab.omie.faults.replace([Fault("lost_reply", methods=frozenset({"FaturarContrato"}), nth=frozenset(range(3, 11)))])
    answer = lab.run()
    assert answer["balanced"]
    assert {charge.state for charge in charges(lab).values()} == {State.BILLED}
    numbers = [billing.nCodCtr for billing in lab.omie.book.billings]
    assert len(numbers) == len(set(numbers)) == 24
    told = answer["attention"][0]
    assert "as listas dele ainda não o mostravam; a configuração supõe 10 s" in told
    assert answer["explanation"].startswith("Confira antes de dar o mês por encerrado: Acme Tecnologia: ")
    seen = answer["companies"][0]["list_lag_seconds"]
    assert 10 < seen <= late
    assert lab.runs.get("2026-12#mensalidade#acme").companies["acme"]["list_lag"] == seen


def test_a_billing_that_late_lists_do_not_show_yet_is_no_cancelled_order():
    lab = Lab(24, clean=True, switches=Switches(list_lag=300.0, list_lag_least=300.0))
    answer = lab.run()
    assert answer["balanced"]
    assert not any(branch.event["cancelled_orders"] for branch in lab.executions[0].branches)
    assert len(answer["attention"]) == 2, (
        "both companies say that the setting is too small, though nothing was in doubt"
    )


@pytest.mark.slow
def test_lists_as_late_as_the_settings_assume_are_never_called_late():
    """The profile of live accounts, with the settings that go with it."""
    settings = load_settings(local_settings("live"))
    for seed in range(8, 28):
        switches = Switches()
        switches.update(PROFILES["live"].switches)
        lab = Lab(
            60, clean=True, seed=seed, settings=settings, switches=switches, latency_ms=PROFILES["live"].latency_ms
        )
        lab.omie.faults.replace(read_faults(PROFILES["live"].faults))
        answer = lab.run()
        assert not [said for said in answer["attention"] if "as listas" in said], seed
        assert {charge.state for charge in charges(lab).values()} == {State.BILLED}, seed


@pytest.mark.parametrize(("minute", "waits"), [(39, 0), (58, 0), (38, 1500)])
def test_what_comes_too_late_for_the_month_is_a_missed_month_and_no_doubt(minute, waits):
    """After its last twenty minutes Omie's stages are not read any more; what was never sent is known not to be billed.

    `waits`: seconds until the lane is free again, after the run has begun.
    """
    lab = Lab(20, start=START.replace(month=11, day=30, hour=23, minute=minute, second=30))
    lab.start(trigger="operator")
    if waits:
        lab.drain(5)
        for company in lab.settings.companies:
            lab.lanes.block(company, lab.now() + waits, "Omie")
    lab.drain(2 * 3600)
    november = [lab.ledger.get(key) for key in lab.ledger._charges if key.kind == "mensalidade"]
    parked = {charge.reason_code for charge in november if charge.state is State.PARKED}
    assert "missed_month" in parked
    assert not parked & {"unclear_in_omie", "in_doubt"}


# --- answers that are lost


def test_lost_answers_of_an_empty_list_stop_us_before_omie_blocks_the_key():
    """To Omie each of them is an error, whether or not it reaches us."""
    lab = Lab(6, clean=True)
    lab.omie.faults.replace([Fault("lost_reply", methods=frozenset({"ListarOS"}))])
    day = lab.clock.now().date()
    for client, asked in ((lab.settle_deps().omie("acme"), ERROR_BUDGET), (lab.readers()("acme"), READER_BUDGET)):
        lab.clock.advance(BLOCK_SECONDS)
        lab.omie.book.methods.clear()
        for _ in range(3):
            with pytest.raises((NotExecuted, Blocked)):
                list(client.iter_os(day, day))
        assert lab.omie.book.methods["ListarOS"].count == asked
    assert lab.omie.book.blocks == []
