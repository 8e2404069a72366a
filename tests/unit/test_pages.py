"""Contracts read by pages: what one page, one odd contract or another reader does to the others."""

import json
from collections import Counter

import pytest

from billing.domain.charge import ChargeKey, State
from billing.domain.month import BillingMonth
from simulators.lab import Lab
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches

DECEMBER = BillingMonth(2026, 12)
LIST, ALONE = "ListarContratos", "ConsultarContrato"


def charges(lab):
    keys = [key for key in lab.ledger._charges if key.month == DECEMBER and key.kind == "mensalidade"]
    return {key.contract: lab.ledger.get(key) for key in keys}


def assert_all_billed_once(lab):
    assert {charge.state for charge in charges(lab).values()} == {State.BILLED}
    assert set(Counter(billing.nCodCtr for billing in lab.omie.book.billings).values()) == {1}


def until_a_batch_waits(lab, **more):
    lab.start(trigger="operator", **more)
    while not lab.fifo.messages:
        (lab.actions() or [lab.wait])[0]()


@pytest.mark.parametrize("number", ["absent", None, "?", {"a": 1}])
def test_a_contract_whose_number_cannot_be_read_parks_nobody_of_its_page(number):
    """It is somebody's, and no row names it; the plan keeps it for the sake of its customer."""
    lab = Lab(60, clean=True)
    handle = lab.omie.handle

    def with_an_odd_one(path, body, now):
        reply = handle(path, body, now=now)
        if json.loads(body)["call"] != LIST or reply.status != 200:
            return reply
        page = json.loads(reply.body)
        odd = json.loads(json.dumps(page["contratoCadastro"][0]))
        odd["cabecalho"] |= {"nCodCtr": number, "cCodIntCtr": ""}
        if number == "absent":
            del odd["cabecalho"]["nCodCtr"]
        page["contratoCadastro"].insert(2, odd)
        page["total_de_registros"] += 1
        return reply._replace(body=json.dumps(page).encode())

    lab.omie.handle = with_an_odd_one
    lab.run()
    assert_all_billed_once(lab)


def test_a_page_that_is_too_big_for_omie_is_asked_once():
    """Each answer would be an error that counts; its contracts are looked up one by one."""
    lab = Lab(60, clean=True)
    until_a_batch_waits(lab, companies=["acme"])
    lab.clock.advance(62)
    lab.omie.faults.replace([Fault("broken_response", methods=frozenset({LIST}))])
    lab.drain()
    assert_all_billed_once(lab)
    assert lab.omie.book.faults["broken_response"] == 1
    assert lab.lanes.get("acme").blocked_reason == ""


def test_of_a_list_that_comes_in_parts_no_page_is_guessed():
    lab = Lab(60, clean=True)
    lab.omie.faults.replace([Fault("broken_response", methods=frozenset({LIST}), times=1)])
    until_a_batch_waits(lab, companies=["acme"])
    (key,) = [key for key in lab.objects.texts if key.endswith("batches-0.jsonl")]
    lines = [line for message in map(json.loads, lab.objects.read_lines(key)) for line in message["lines"]]
    assert {line["page"] for line in lines} == {0}


@pytest.mark.parametrize("billed", [60, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 120))])
def test_who_reads_the_whole_list_meanwhile_costs_nobody_an_error(billed):
    """A preview asks the very pages that the batches ask: each waits for the other's minute."""
    lab = Lab(300, clean=True, switches=Switches(redundant_on=2))
    execution, preview = lab.start(trigger="operator"), None
    while not (execution.ended and preview is not None and preview.ended):
        if preview is None and len(lab.omie.book.billings) >= billed:
            preview = lab.start(trigger="operator", preview=True)
        (lab.actions() or [lab.wait])[0]()
    assert not lab.omie.book.refused["redundant"] + lab.omie.book.refused["same_id"]
    assert_all_billed_once(lab)


def test_an_order_without_a_name_is_a_persons_and_the_next_run_lifts_nothing():
    """The reason says not to send again: a click that Omie cannot name may have billed it, though it is cancelled now."""
    switches = Switches(os_nCodCtr="absent", list_os_cNumContrato="absent", os_named_after=1e9, nfse_seconds=1e9)
    lab = Lab(20, clean=True, switches=switches)
    contract = next(one for one in lab.world.contracts if one.kind == "match" and one.omie_company == "acme")
    number = contract.omie_contrato["cabecalho"]["nCodCtr"]
    until_a_batch_waits(lab)
    order = lab.omie.bill_by_person("acme", number, now=lab.now())
    lab.clock.advance(200)
    lab.drain()
    parked = lab.ledger.get(ChargeKey(contract.code, DECEMBER))
    assert (parked.state, parked.reason_code) == (State.PARKED, "order_unnamed")
    assert f"OS {order}" in parked.reason
    lab.omie.cancel_by_person("acme", order, now=lab.now())
    lab.clock.advance(86400)
    lab.run()
    assert lab.ledger.get(ChargeKey(contract.code, DECEMBER)).state is State.PARKED
    assert [billing.nCodCtr for billing in lab.omie.book.billings].count(number) == 1
