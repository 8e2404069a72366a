"""The rounds of a run: one contract's trouble uses up none of another's, and what cannot be read is waited for."""

from dataclasses import replace

import pytest

from billing.bill_batch import ALTERATION, is_written
from billing.domain.charge import ChargeKey, Event, State
from billing.domain.month import BillingMonth
from billing.settle_company import MAX_ROUNDS, UNREAD_FOR
from simulators.lab import Killed, Lab, demo_settings
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches

DECEMBER = BillingMonth(2026, 12)
NOVEMBER = 202611
ALTER, READ = frozenset({"AlterarContrato"}), frozenset({"ConsultarContrato"})


def charges(lab):
    keys = [key for key in lab.ledger._charges if key.month == DECEMBER and key.kind == "mensalidade"]
    return {key.contract: lab.ledger.get(key) for key in keys}


def until_the_first_billing(lab):
    execution = lab.start(trigger="operator")
    while not lab.omie.book.billings:
        (lab.actions() or [lab.wait])[0]()
    return execution


def not_turned(**more):
    lab = Lab(40, switches=Switches(turn_late=8 * 3600.0), **more)
    for app in lab.omie.apps.values():
        app.billed_in[NOVEMBER] = {contract.nCodCtr: 0.0 for contract in app.contract_list}
    return lab


def first_number(lab):
    contract = next(c for c in lab.world.contracts if c.kind == "match" and c.omie_company == "acme")
    return contract.code, contract.omie_contrato["cabecalho"]["nCodCtr"]


@pytest.mark.parametrize("kind", ["lost_reply", "lost_request", "server_error"])
def test_an_unanswered_alteration_uses_up_no_round_of_those_that_wait_for_omies_month(kind):
    """It was made after all, so there was nothing left to write: six rounds in as many minutes, and all were parked."""
    lab = not_turned()
    lab.omie.faults.replace([Fault(kind, methods=ALTER, nth=frozenset({1}))])
    execution = lab.start(trigger="operator")
    lab.drain()
    assert execution.answer["balanced"]
    found = charges(lab)
    assert {charge.state for charge in found.values()} == {State.BILLED}
    assert all(branch.event["round"] < MAX_ROUNDS for branch in execution.branches)


def test_an_alteration_that_never_succeeds_parks_its_contract_and_no_other():
    lab = not_turned()
    altered = next(c for c in lab.world.contracts if c.kind == "differs_amount" and c.omie_company == "acme")
    number = str(altered.omie_contrato["cabecalho"]["nCodCtr"])
    lab.omie.faults.replace([Fault("too_many_requests", methods=ALTER, contains=number)])
    lab.run()
    found = charges(lab)
    assert (found[altered.code].state, found[altered.code].reason_code) == (State.PARKED, "not_sent")
    assert {charge.state for code, charge in found.items() if code != altered.code} == {State.BILLED}


def test_what_omie_shows_as_planned_already_is_noted_and_not_altered_again():
    lab = not_turned()
    lab.omie.faults.replace([Fault("lost_reply", methods=ALTER, nth=frozenset({1}))])
    execution = lab.start(trigger="operator")
    lab.drain(3600)
    hashes = {branch.event["plan"]["hash"] for branch in execution.branches}
    keys = [key for key in lab.ledger._charges if key.kind == ALTERATION]
    assert keys
    assert all(any(is_written(lab.ledger.get(key), one) for one in hashes) for key in keys)
    assert lab.omie.book.methods["AlterarContrato"].count == len(keys)


def each_looked_up_alone(lab, *faults):
    """A run whose plan is old, and Omie answers no page any more."""
    lab.start(trigger="operator")
    while not lab.fifo.messages:
        (lab.actions() or [lab.wait])[0]()
    lab.clock.advance(62)
    lab.omie.faults.replace([Fault("lost_request", methods=frozenset({"ListarContratos"})), *faults])


def test_a_question_that_omie_never_answers_parks_its_contract_and_the_run_ends():
    lab = Lab(20, clean=True)
    code, number = first_number(lab)
    each_looked_up_alone(lab, Fault("lost_request", methods=READ, contains=str(number)))
    lab.drain(2 * 3600)
    assert lab.executions[0].ended
    found = charges(lab)
    assert (found[code].state, found[code].reason_code) == (State.PARKED, "not_sent")
    assert {charge.state for each, charge in found.items() if each != code} == {State.BILLED}


def test_while_a_question_is_not_answered_the_others_that_are_in_doubt_do_not_wait_for_it():
    lab = Lab(20, clean=True)
    _, number = first_number(lab)
    silent = Fault("lost_request", methods=READ, contains=str(number))
    each_looked_up_alone(lab, silent, Fault("lost_request", methods=frozenset({"FaturarContrato"}), times=1))
    lab.drain(900)
    assert sum(charge.state is State.BILLED for charge in charges(lab).values()) == len(charges(lab))


# --- Omie cannot be read


@pytest.mark.parametrize("method", ["ListarOS", "ObterContratos"])
@pytest.mark.parametrize("kind", ["server_error", "lost_request"])
def test_an_omie_that_cannot_be_read_for_a_while_is_waited_for(method, kind):
    lab = Lab(20, clean=True)
    execution = until_the_first_billing(lab)
    lab.omie.faults.replace([Fault(kind, methods=frozenset({method}), times=12)])
    lab.drain()
    assert execution.answer["balanced"]
    assert not [branch for branch in execution.branches if "unread_since" in branch.event]


def test_an_omie_that_cannot_be_read_for_hours_fails_the_company_in_the_end():
    lab = Lab(20, clean=True)
    execution = until_the_first_billing(lab)
    lab.omie.faults.replace([Fault("lost_request", methods=frozenset({"ListarOS"}))])
    lab.drain(UNREAD_FOR.total_seconds() - 1800)
    assert not execution.ended
    lab.drain(3600)
    assert {branch.event["error"]["Error"] for branch in execution.branches} == {"NotExecuted"}
    assert execution.failure == "Unbalanced"


def test_a_worker_that_dies_while_it_asks_for_approval_fails_its_company_and_the_next_start_bills(monkeypatch):
    settings = demo_settings()
    acme = settings.companies["acme"]
    asked = acme.model_copy(update={"guardrail": acme.guardrail.model_copy(update={"approval": "required"})})
    settings = settings.model_copy(update={"companies": settings.companies | {"acme": asked}})
    lab = Lab(20, clean=True, settings=settings)

    def dies(_plan):
        raise Killed

    with monkeypatch.context() as patched:
        deps = lab.approval_deps()
        patched.setattr(lab, "approval_deps", lambda: replace(deps, page=dies))
        answer = lab.run()
    assert not answer["balanced"]
    assert [b.event["error"]["Error"] for b in lab.executions[-1].branches if "error" in b.event] == ["Killed"]
    lab.run()
    assert {charge.state for charge in charges(lab).values()} == {State.BILLED}


# --- what a read that came too early parked


def test_the_next_run_bills_what_only_a_read_parked():
    """A person adds an item in Omie after the plan: this run does not bill what nobody approved, the next one plans it."""
    lab = Lab(20, clean=True)
    code, number = first_number(lab)
    lab.start(trigger="operator")
    while not lab.fifo.messages:
        (lab.actions() or [lab.wait])[0]()
    item = {"codIntItem": "à mão", "quant": 1, "valorUnit": 12.5}
    lab.omie.edit_by_person(
        "acme", number, lambda c: c["itensContrato"][0]["itemCabecalho"].update(item), now=lab.now()
    )
    lab.clock.advance(62)
    lab.drain()
    parked = charges(lab)[code]
    assert (parked.state, parked.reason_code, parked.attempt) == (State.PARKED, "amount_not_planned", None)
    lab.start(trigger="operator")
    lab.drain()
    charge = charges(lab)[code]
    assert (charge.state, charge.amount) == (State.BILLED, lab.omie.apps["acme"].contracts[number].total)
    assert [line["event"] for line in charge.history] == ["PARK", "REDRIVE", "CLAIM", "DONE"]


@pytest.mark.parametrize("reason", ["rejected", "in_doubt", "unreadable_contract", "not_sent"])
def test_what_something_else_parked_is_no_runs_to_lift(reason):
    lab = Lab(20, clean=True)
    code, _ = first_number(lab)
    key = ChargeKey(code, DECEMBER)
    lab.ledger.apply(
        key, Event.PARK, now=lab.clock.now(), who="t", why="t", company="acme", reason_code=reason, reason="Confira."
    )
    lab.clock.advance(62)
    lab.start(trigger="operator")
    lab.drain()
    assert charges(lab)[code].state is State.PARKED
