from datetime import UTC, datetime, timedelta

import pytest

from billing.domain.month import BillingMonth
from billing.store.runs import Closed, Joined, NotTheRunner, Opened, RunStore

DECEMBER = BillingMonth(2026, 12)
RUN = "2026-12#mensalidade"
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def start(runs, execution, trigger="schedule", month=DECEMBER, **changes):
    return runs.open(month, "mensalidade", trigger=trigger, execution=execution, now=NOW, **changes)


def test_the_first_trigger_opens_the_months_run(stores):
    assert start(stores.runs, "e1") == Opened(RUN, 1)
    run = stores.runs.get(RUN)
    assert (run.run, run.month, run.kind, run.status) == (RUN, "2026-12", "mensalidade", "open")
    assert (run.generation, run.trigger, run.execution) == (1, "schedule", "e1")
    assert (run.opened_at, run.closed_at, run.summary, run.companies) == (NOW, None, {}, {})


def test_a_run_nobody_opened_is_none(stores):
    stores.runs.add_progress(RUN, "acme", billed=1)
    assert stores.runs.get(RUN) is None


@pytest.mark.parametrize("trigger", ["schedule", "operator"])
def test_a_second_trigger_joins_the_open_run(stores, trigger):
    start(stores.runs, "e1")
    assert start(stores.runs, "e2", trigger) == Joined("e1")
    assert stores.runs.get(RUN).execution == "e1"


def test_the_same_execution_opens_as_often_as_it_likes(stores):
    start(stores.runs, "e1")
    assert start(stores.runs, "e1") == Opened(RUN, 1)
    stores.runs.close(RUN, execution="e1", summary={}, now=LATER)
    assert start(stores.runs, "e1") == Opened(RUN, 1)
    assert stores.runs.get(RUN).status == "closed"


def test_a_closed_run_stays_closed_for_the_schedule(stores):
    start(stores.runs, "e1")
    summary = {"balanced": True, "total": 120050, "empresas": ["Nímbus"]}
    stores.runs.close(RUN, execution="e1", summary=summary, now=LATER)
    assert start(stores.runs, "e2") == Closed(summary)
    run = stores.runs.get(RUN)
    assert (run.status, run.closed_at, run.summary) == ("closed", LATER, summary)


def test_an_operator_opens_a_closed_run_as_a_new_generation(stores):
    start(stores.runs, "e1")
    stores.runs.close(RUN, execution="e1", summary={"balanced": False}, now=LATER)
    assert start(stores.runs, "e2", "operator") == Opened(RUN, 2)
    run = stores.runs.get(RUN)
    assert (run.status, run.generation, run.execution, run.summary) == ("open", 2, "e2", {})


def test_a_run_whose_execution_died_is_taken_over_by_who_names_it(stores):
    start(stores.runs, "e1")
    assert start(stores.runs, "e2", replaces="e0") == Joined("e1")
    assert start(stores.runs, "e2", replaces="e1") == Opened(RUN, 2)


def test_only_the_execution_that_has_the_run_closes_it(stores):
    with pytest.raises(NotTheRunner):
        stores.runs.close(RUN, execution="e1", summary={}, now=LATER)
    start(stores.runs, "e1")
    with pytest.raises(NotTheRunner, match="e2"):
        stores.runs.close(RUN, execution="e2", summary={}, now=LATER)
    assert stores.runs.get(RUN).status == "open"


def test_progress_adds_up_per_company_until_it_is_put_right(stores):
    start(stores.runs, "e1")
    stores.runs.add_progress(RUN, "acme", billed=25, parked=1)
    stores.runs.add_progress(RUN, "acme", billed=25)
    stores.runs.add_progress(RUN, "acme", billed=1, in_doubt=2)
    stores.runs.set_progress(RUN, "acme", billed=50, in_doubt=0)
    stores.runs.add_progress(RUN, "nimbus", skipped=3)
    stores.runs.add_progress(RUN, "nimbus")
    assert stores.runs.get(RUN).companies == {
        "acme": {"billed": 50, "parked": 1, "in_doubt": 0},
        "nimbus": {"skipped": 3},
    }


def test_the_latest_runs_come_first(stores):
    for month in (DECEMBER, DECEMBER.previous(), DECEMBER.next()):
        start(stores.runs, "e1", month=month)
        stores.runs.add_progress(f"{month}#mensalidade", "acme", billed=1)
    assert [run.month for run in stores.runs.list_recent()] == ["2027-01", "2026-12", "2026-11"]
    assert [run.month for run in stores.runs.list_recent(1)] == ["2027-01"]


def test_only_the_latest_plan_of_a_company_is_valid(stores):
    assert stores.runs.plan_hash(RUN, "acme") is None
    for plan_hash in ("p1", "p2"):
        stores.runs.put_plan(
            RUN, "acme", plan_hash=plan_hash, plan_key="runs/2026-12/1/acme/a1b2/plan.jsonl", planned=2
        )
    assert stores.runs.plan_hash(RUN, "acme") == "p2"
    assert stores.runs.plan_hash(RUN, "nimbus") is None


def ask(runs, token="t1"):
    runs.put_approval(RUN, "acme", token=token, plan_hash="p1", reasons=("Total acima do teto",), now=NOW)


def test_a_question_waits_for_a_person(stores):
    assert stores.runs.get_approval(RUN, "acme") is None
    ask(stores.runs)
    approval = stores.runs.get_approval(RUN, "acme")
    assert (approval.company, approval.token, approval.plan_hash) == ("acme", "t1", "p1")
    assert (approval.reasons, approval.asked_at) == (("Total acima do teto",), NOW)
    assert (approval.decision, approval.decided_by, approval.decided_at) == (None, None, None)
    assert "t1" not in repr(approval)


def test_the_first_answer_counts(stores):
    ask(stores.runs)
    answer = {"token": "t1", "now": LATER}
    assert stores.runs.decide_approval(RUN, "acme", approved=False, who="ana", **answer)
    assert not stores.runs.decide_approval(RUN, "acme", approved=True, who="bia", **answer)
    approval = stores.runs.get_approval(RUN, "acme")
    assert (approval.decision, approval.decided_by, approval.decided_at) == ("rejected", "ana", LATER)


def test_an_answer_to_an_older_question_does_not_count(stores):
    assert not stores.runs.decide_approval(RUN, "acme", token="t1", approved=True, who="ana", now=LATER)
    ask(stores.runs)
    ask(stores.runs, "t2")
    assert not stores.runs.decide_approval(RUN, "acme", token="t1", approved=True, who="ana", now=LATER)
    assert stores.runs.decide_approval(RUN, "acme", token="t2", approved=True, who="ana", now=LATER)
    assert stores.runs.get_approval(RUN, "acme").decision == "approved"


def test_of_two_triggers_at_the_same_moment_one_joins_the_other(moto_aws, faulty):
    table = moto_aws.tables["runs"]
    other = RunStore(moto_aws.dynamodb, table)
    runs = RunStore(faulty(moto_aws.dynamodb, {"put_item": [lambda: start(other, "e2")]}), table)
    assert start(runs, "e1") == Joined("e2")


def test_of_two_operators_at_the_same_moment_one_reopens(moto_aws, faulty):
    table = moto_aws.tables["runs"]
    other = RunStore(moto_aws.dynamodb, table)
    start(other, "e1")
    other.close(RUN, execution="e1", summary={}, now=LATER)
    runs = RunStore(faulty(moto_aws.dynamodb, {"put_item": [lambda: start(other, "e2", "operator")]}), table)
    assert start(runs, "e3", "operator") == Joined("e2")
