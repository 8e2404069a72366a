"""The lean way is the same way: what it remembers or leaves out changes nothing that happens."""

from contextlib import contextmanager

import pytest

from billing import batches
from tests.simulation import adversary, lean
from tests.simulation.schedules import run_schedule


@contextmanager
def plain():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batches, "BATCH_SIZE", lean.BATCH_SIZE)
        yield


@pytest.mark.parametrize("first", range(100, 200, 4))
def test_the_lean_way_is_the_same_way(first: int, monkeypatch):
    """Four seeds: of the four, one lives."""
    seeds = range(first, first + 4)
    lean_ones = [run_schedule(seed) for seed in seeds]
    monkeypatch.setattr(adversary, "lean", plain)
    assert [run_schedule(seed) for seed in seeds] == lean_ones


def test_everything_is_put_back():
    with lean.lean():
        pass
    assert batches.BATCH_SIZE == 25
    assert all(vars(home)[name] is not instead for home, name, instead in lean._INSTEAD)
