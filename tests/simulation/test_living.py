"""Churn by its real way, in the middle of a running month: nothing is claimed on a hold."""

import pytest

from simulators.memory_store import MemoryLedger
from tests.simulation.living import LivingAdversary
from tests.simulation.schedules import outcome


@pytest.mark.parametrize("seed", range(20))
def test_no_contract_is_billed_after_its_hold(seed):
    found = outcome(LivingAdversary(seed).run())
    assert found.verdict.broken == []


def test_without_the_check_of_holds_some_are(monkeypatch):
    real = MemoryLedger.claim

    def claim(ledger, key, **claimed):
        hold = ledger._holds.pop(key.contract, None)
        try:
            return real(ledger, key, **claimed)
        finally:
            if hold is not None:
                ledger._holds[key.contract] = hold

    monkeypatch.setattr(MemoryLedger, "claim", claim)
    adversary = LivingAdversary(24)
    adversary.at_any_time = [kind for kind in adversary.at_any_time if kind not in {"hold", "lift"}]
    assert outcome(adversary.run()).verdict.broken == ["JST-91: claimed although it was on hold"]
