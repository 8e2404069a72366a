import os

import pytest

from tests.simulation.exhaustive import pairs, search, singles, undisturbed
from tests.simulation.schedules import run_schedule, tallies

SCHEDULES = int(os.environ.get("SCHEDULES", "10000"))
SEED = int(os.environ.get("SEED", "0"))


def test_no_schedule_bills_twice_loses_anybody_or_breaks_a_limit():
    failed, schedules, disturbed, billings = [], 0, 0, 0
    for piece in tallies(SEED, SCHEDULES, jobs=os.cpu_count() or 1):
        failed += piece.failed
        schedules += piece.schedules
        disturbed += piece.disturbed
        billings += piece.billings
    assert not failed, "\n".join(f"{replay}: {broken}" for replay, broken in failed)
    assert schedules == SCHEDULES
    assert disturbed > 0.9 * SCHEDULES
    assert billings > 3 * SCHEDULES, "most are billed in the end: a system that parks everybody keeps its promises, too"


def test_a_run_of_six_survives_a_break_at_every_port_call():
    found = search(singles())
    assert not found.failed, found.failed
    assert found.schedules > 2 * len(undisturbed())


def test_a_run_of_six_survives_a_sample_of_two_breaks():
    found = search(pairs(), every=701)
    assert not found.failed, found.failed
    assert found.schedules > 20


@pytest.mark.parametrize("seed", [5, 137])
def test_a_seed_is_the_same_schedule_each_time(seed: int):
    once, again = run_schedule(seed), run_schedule(seed)
    assert (once.trace, once.steps, once.billings) == (again.trace, again.steps, again.billings)
