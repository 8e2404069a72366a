"""A run of six contracts, broken at every port call in every way: once, and twice."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from tests.simulation.adversary import Adversary
from tests.simulation.schedules import Outcome, Tally, outcome

CONTRACTS = 6
Script = dict[int, str]


def ways(name: str) -> tuple[str, ...]:
    """How a step can break: the process ends before it or after it, or its reply is lost."""
    lost = "lost_reply" if name.startswith("omie.") else "throttle_after" if not name.startswith("jestor.") else ""
    return ("kill_before", "kill_after", *([lost] if lost else []))


def run(script: Script) -> tuple[Outcome, list[str]]:
    adversary = Adversary(1, script=dict(script), contracts=CONTRACTS).run()
    return outcome(adversary), adversary.names


@lru_cache(maxsize=1)
def undisturbed() -> tuple[str, ...]:
    """The steps of the run when nothing breaks."""
    return tuple(run({})[1])


def singles() -> Iterator[Script]:
    for number, name in enumerate(undisturbed(), 1):
        for way in ways(name):
            yield {number: way}


def pairs() -> Iterator[Script]:
    """After the first break, at every later step of as many as an undisturbed run has."""
    for first in singles():
        ((at, _),) = first.items()
        names = run(first)[1]
        for number in range(at + 1, min(len(names), at + len(undisturbed())) + 1):
            for way in ways(names[number - 1]):
                yield {**first, number: way}


def search(scripts: Iterator[Script], every: int = 1) -> Tally:
    """Every `every`-th of them."""
    found = Tally()
    for script in islice(scripts, 0, None, every):
        replay = ",".join(f"{number}:{way}" for number, way in script.items())
        found.add(run(script)[0], f'make sim SCRIPT="{replay}"')
    return found
