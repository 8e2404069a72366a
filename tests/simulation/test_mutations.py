"""Each rule, taken away, must be missed: the seeds are the first that do (`python -m tests.simulation.mutants`)."""

from collections.abc import Callable

import pytest

from simulators.lab import Lab
from tests.simulation import mutations
from tests.simulation.schedules import run_schedule

BITES = {
    mutations.claim_before_call: (9, 67, 80),
    mutations.hold_check: (20, 37, 121),
    mutations.in_doubt_wait: (798, 1337, 1520),
    mutations.adopt: (25, 80, 164),
    mutations.plan_hash_check: (314, 1189, 1396),
    mutations.own_month_rule: (11, 130, 159),
    mutations.fifo_group: (47, 91, 123),
}


@pytest.mark.parametrize("rule", mutations.MUTATIONS, ids=lambda rule: rule.__name__)
def test_without_the_rule_the_simulation_fails(rule: Callable[[Lab], None]):
    with mutations.constants(rule):
        assert any(run_schedule(seed, spoil=rule).verdict.broken for seed in BITES[rule])


@pytest.mark.parametrize("rule", mutations.MUTATIONS, ids=lambda rule: rule.__name__)
def test_with_the_rule_the_same_schedules_pass(rule: Callable[[Lab], None]):
    assert not any(run_schedule(seed).verdict.broken for seed in BITES[rule])
