"""Each rule, taken away, must be missed: the seeds are the first that do (`python -m tests.simulation.mutants`)."""

from collections.abc import Callable

import pytest

from simulators.lab import Lab
from tests.simulation import mutations
from tests.simulation.schedules import run_schedule

BITES = {
    mutations.claim_before_call: (20, 27, 39),
    mutations.hold_check: (18, 22, 90),
    mutations.in_doubt_wait: (389, 741, 3129),
    mutations.adopt: (25, 153, 185),
    mutations.plan_hash_check: (314, 471, 475),
    mutations.own_month_rule: (56, 75, 90),
    mutations.fifo_group: (179, 352, 643),
}


@pytest.mark.parametrize("rule", mutations.MUTATIONS, ids=lambda rule: rule.__name__)
def test_without_the_rule_the_simulation_fails(rule: Callable[[Lab], None]):
    with mutations.constants(rule):
        assert any(run_schedule(seed, spoil=rule).verdict.broken for seed in BITES[rule])


@pytest.mark.parametrize("rule", mutations.MUTATIONS, ids=lambda rule: rule.__name__)
def test_with_the_rule_the_same_schedules_pass(rule: Callable[[Lab], None]):
    assert not any(run_schedule(seed).verdict.broken for seed in BITES[rule])
