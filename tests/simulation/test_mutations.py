"""Each rule, taken away, must be missed: the seeds are the first that do (`python -m tests.simulation.mutants`)."""

from collections.abc import Callable

import pytest

from simulators.lab import Lab
from tests.simulation import mutations
from tests.simulation.schedules import run_schedule

BITES = {
    mutations.claim_before_call: (28, 94, 112),
    mutations.hold_check: (25, 71, 97),
    mutations.in_doubt_wait: (277,),
    mutations.adopt: (25, 245, 276),
    mutations.plan_hash_check: (223, 475, 540),
    mutations.own_month_rule: (90, 141, 142),
    mutations.fifo_group: (940, 1409, 2594),
    mutations.interval_rule: (6, 13, 46),
    mutations.cancelled_order_rule: (466, 704, 763),
    mutations.every_register: (125, 140, 180),
    mutations.list_lag_measure: (158, 276, 546),
    mutations.unnamed_orders: (7, 91, 94),
    mutations.unnamed_order_rule: (8161,),
}


@pytest.mark.parametrize("rule", mutations.MUTATIONS, ids=lambda rule: rule.__name__)
def test_without_the_rule_the_simulation_fails(rule: Callable[[Lab], None]):
    with mutations.constants(rule):
        late = rule in mutations.LATE
        assert any(run_schedule(seed, spoil=rule, late=late).verdict.broken for seed in BITES[rule])


@pytest.mark.parametrize("rule", mutations.MUTATIONS, ids=lambda rule: rule.__name__)
def test_with_the_rule_the_same_schedules_pass(rule: Callable[[Lab], None]):
    late = rule in mutations.LATE
    assert not any(run_schedule(seed, late=late).verdict.broken for seed in BITES[rule])
