"""Jestor and Omie end up agreed, whatever became of the webhooks. At full size: tests/simulation/test_edits.py."""

from tests.simulation.edits import Edits


def test_after_the_sweep_nothing_differs_although_a_fifth_of_the_webhooks_never_came():
    edits = Edits(8, 80, 12).run()

    assert edits.done["lost webhook"] > 5
    assert edits.missed, "the webhooks alone did it: this shows nothing of the sweep"
    assert edits.left == []
    assert edits.lab.omie.book.breaches == []
    assert edits.lab.sweep()["found"] == 0


def test_without_any_webhook_the_sweep_does_it_all():
    edits = Edits(3, 40, 12, loss=1.0).run()

    assert len(edits.missed) > 5
    assert edits.left == []
