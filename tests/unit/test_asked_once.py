"""One question of a company is asked once a minute, whether a batch, another worker or an order asks it."""

import pytest

from billing.answers import Answers
from billing.store.objects import answers_key
from simulators.lab import Lab
from simulators.living_lab import LivingLab
from simulators.memory_store import MemoryObjects
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches
from simulators.world import FIELDS

NOW = 1_000_000.0
QUESTION = "contrato 7"


def asked(at, answer=()):
    answers = Answers(61.0)
    answers.ask(QUESTION, lambda: at, lambda: list(answer))
    return answers


def test_a_worker_learns_what_another_asked_between_two_batches_of_its_own():
    objects = MemoryObjects()
    first = Answers(61.0)
    first.load(objects, "acme", [], NOW)
    asked(NOW + 5, [{"id": 7}]).keep(objects, "acme", NOW + 6)
    first.load(objects, "acme", [], NOW + 10)
    assert not first.may_ask(QUESTION, NOW + 10)
    assert first.find(QUESTION, NOW, NOW + 10) == [{"id": 7}]


def test_what_a_worker_asked_later_than_another_stands():
    objects = MemoryObjects()
    asked(NOW, [{"id": "old"}]).keep(objects, "acme", NOW + 1)
    later = asked(NOW + 20, [{"id": "new"}])
    later.load(objects, "acme", [], NOW + 30)
    assert later.find(QUESTION, NOW, NOW + 30) == [{"id": "new"}]


def test_answers_that_cannot_be_read_keep_no_batch_from_its_work():
    objects = MemoryObjects()
    objects.put_text(answers_key("acme"), "{")
    answers = Answers(61.0)
    answers.load(objects, "acme", [], NOW)
    assert answers.may_ask(QUESTION, NOW)


def test_an_older_answer_is_not_given_for_a_question_that_was_asked_elsewhere_since():
    answers = asked(NOW, [{"id": "old"}])
    answers.asked_elsewhere(QUESTION, NOW + 20)
    assert answers.find(QUESTION, NOW + 10, NOW + 30) is None
    assert not answers.may_ask(QUESTION, NOW + 70)
    assert answers.may_ask(QUESTION, NOW + 82)


@pytest.mark.parametrize("kind", ["lost_request", "lost_reply", "server_error"])
@pytest.mark.parametrize("method", ["UpsertClienteCpfCnpj", "IncluirContrato"])
def test_a_customer_is_not_told_twice_within_the_minute(method, kind):
    """Neither when Omie did not answer, nor when it did and the contract's creation was refused after it."""
    lab = Lab(60, switches=Switches(redundant_on=2))
    lab.omie.faults.replace([Fault(kind, methods=frozenset({method}), times=4, executed="no")])
    answer = lab.run()
    assert {name: count for name, count in lab.omie.book.refused.items() if count} == {}
    created = {c.code for c in lab.world.contracts if c.kind == "create" and c.expected == "bill"}
    assert created <= {billing.cCodIntCtr for billing in lab.omie.book.billings}
    assert answer["balanced"]


def changed(lab, codes):
    """People change these contracts in Jestor, and the hints are on their way to the lane."""
    for contract in lab.world.contracts:
        if contract.code in codes:
            for post in lab.edit(contract.jestor_id, {FIELDS["due_day"]: 7}):
                lab.arrive(post)
    while hints := [(name, message) for name, queue in lab.fifos.items() for message in queue.ready(lab.now())]:
        lab.deliver_hint(*hints[0])


@pytest.mark.parametrize("before", [True, False], ids=["orders first", "batches first"])
def test_orders_for_contracts_that_a_run_has_in_hand_cost_the_lane_no_error(before):
    """Five refusals would stop it for ten minutes: a dozen changes in Jestor on the billing day were enough."""
    lab = LivingLab(120, clean=True, switches=Switches(redundant_on=2))
    execution = lab.start(trigger="operator")
    while not (execution.branches and all(branch.state == "BillBatches" for branch in execution.branches)):
        (lab.actions() or [lab.wait])[0]()
    todo = [batch for branch in execution.branches for batch in (branch.todo[-1] if before else branch.todo[0],)]
    if not before:
        while len({billing.company for billing in lab.omie.book.billings}) < 2:
            (lab.actions() or [lab.wait])[0]()
    changed(lab, {line["contract"] for batch in todo for line in batch["lines"][:12]})
    lab.drain(3600)
    assert {name: count for name, count in lab.omie.book.refused.items() if count} == {}
    assert {lab.lanes.get(company).blocked_reason for company in lab.omie.apps} == {""}
    assert execution.answer["balanced"]
    outcomes = [answer["outcome"] for name, answer in lab.outcomes if name == "agree" and not answer.get("later")]
    assert len(outcomes) >= 20
