"""A thousand random edits with lost, doubled, late and reordered webhooks: after the sweep, no difference."""

import pytest

from tests.simulation.edits import Edits


@pytest.mark.parametrize(("seed", "bill_first"), [(2026, True), (2027, False)])
def test_a_thousand_edits_leave_no_difference(seed, bill_first):
    edits = Edits(seed, 1000, 100, bill_first=bill_first).run()

    assert sum(edits.done.values()) - edits.done["lost webhook"] > 900
    assert edits.missed
    assert edits.left == []
    assert edits.lab.omie.book.breaches == []
    assert edits.lab.omie.book.blocks == []
    assert [queue.dead for queue in (edits.lab.fifo, *edits.lab.fifos.values())] == [[]] * 5
    assert edits.lab.sweep()["found"] == 0
