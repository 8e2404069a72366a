"""Many schedules: counted, and each failing one with the command that replays it."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple, Self

from billing.domain.charge import MONTHLY
from simulators.lab import Killed, Lab
from tests.simulation.adversary import Adversary, on_the_last_evening
from tests.simulation.checker import Verdict, check
from tests.simulation.living import LivingAdversary

LIVES = 3


class Outcome(NamedTuple):
    seed: int
    verdict: Verdict
    steps: int
    billings: int
    contracts: int
    done: Counter[str]
    redundant: int
    trace: list[str]


def adversary_of(seed: int, *, spoil: Callable[[Lab], None] | None = None, late: bool = False) -> Adversary:
    """Every fourth seed lives: webhooks, their workers and orders in the lane come between (`living`)."""
    if seed % 4 == LIVES and spoil is None:
        return LivingAdversary(seed, late=late)
    return Adversary(seed, spoil=spoil, late=late)


def run_schedule(seed: int, *, spoil: Callable[[Lab], None] | None = None, late: bool = False) -> Outcome:
    return outcome(adversary_of(seed, spoil=spoil, late=late).run())


def outcome(adversary: Adversary) -> Outcome:
    book = adversary.lab.omie.book
    return Outcome(
        adversary.seed,
        check(adversary),
        adversary.steps,
        len(book.billings),
        sum(charge.key.kind == MONTHLY for charge in adversary.charges()),
        adversary.witness.done,
        book.refused["redundant"] + book.refused["same_id"],
        adversary.trace,
    )


@dataclass
class Tally:
    """What many schedules came to."""

    schedules: int = 0
    steps: int = 0
    billings: int = 0
    disturbed: int = 0
    redundant: int = 0
    forgiven: int = 0
    unmeasured: list[str] = field(default_factory=list)
    """What replays each in which a contract was billed twice and no order was known that could have shown it."""
    contracts: int = 0
    false_parks: list[str] = field(default_factory=list)
    """What replays each, and the charge."""
    done: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, list[str]]] = field(default_factory=list)
    """(what replays it, the promises it broke)."""

    def add(self, outcome: Outcome, replay: str) -> None:
        self.schedules += 1
        self.steps += outcome.steps
        self.billings += outcome.billings
        self.disturbed += bool(outcome.done)
        self.redundant += bool(outcome.redundant)
        self.done += outcome.done
        self.forgiven += bool(outcome.verdict.forgiven)
        if outcome.verdict.unmeasured:
            self.unmeasured.append(replay)
        self.contracts += outcome.contracts
        self.false_parks += [f"{replay}: {park}" for park in outcome.verdict.false_parks]
        if outcome.verdict.broken:
            self.failed.append((replay, outcome.verdict.broken))

    def __iadd__(self, other: "Tally") -> Self:
        for name in ("schedules", "steps", "billings", "disturbed", "redundant", "forgiven", "contracts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.done += other.done
        self.unmeasured += other.unmeasured
        self.false_parks += other.false_parks
        self.failed += other.failed
        return self

    def __str__(self) -> str:
        each = self.steps / max(1, self.schedules)
        return (
            f"{self.schedules} schedules ({self.disturbed} disturbed, {sum(self.done.values())} times in all), "
            f"{self.steps} steps ({each:.0f} each), {self.billings} billings; {len(self.failed)} failed; "
            f"{self.forgiven} with a person's click or edit under our very call; "
            f"{self.redundant} in which Omie answered REDUNDANT at least once; "
            f"{len(self.false_parks)} of {self.contracts} contracts parked for nothing"
            + (f"; {len(self.unmeasured)} billed twice where no order was known" if self.unmeasured else "")
        )


def tally(seeds: Sequence[int], *, late: bool = False) -> Tally:
    found = Tally()
    gc.freeze()  # what is there by now stays
    gc.disable()  # hundreds of small worlds that end at once; collected between the pieces
    try:
        for seed in seeds:
            replay = f"make sim SEED={seed} SCHEDULES=1{' LATE=1' if late else ''}"
            try:
                found.add(run_schedule(seed, late=late), replay)
            except (Exception, Killed) as error:  # the lab did not hear it
                raise RuntimeError(f"{error!r}: {replay}") from error
    finally:
        gc.enable()
    gc.collect()
    return found


def tallies(first: int, schedules: int, jobs: int, *, evenings: bool = False, late: bool = False) -> Iterator[Tally]:
    """The schedules first, first + 1..., counted piece by piece, in `jobs` processes.

    `evenings`: of these only those that begin on a month's last evening, a fifth of them. `late`: in a world whose
    lists are later than assumed.
    """
    count = partial(tally, late=late)
    size = 50
    pieces: list[Sequence[int]]
    pieces = [range(at, min(at + size, first + schedules)) for at in range(first, first + schedules, size)]
    if evenings:
        pieces = [[seed for seed in piece if on_the_last_evening(seed)] for piece in pieces]
    if jobs == 1:
        yield from map(count, pieces)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:  # a worker that ends ends the search
        try:
            for done in as_completed([pool.submit(count, piece) for piece in pieces]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)
