"""Many schedules: counted, and each failing one with the command that replays it."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from billing import plan_company, report
from simulators.lab import Lab
from tests.simulation.adversary import Adversary
from tests.simulation.checker import Verdict, check

# The report's pages have tests of their own; here they would be a fifth of the time.
report.render_html = report.render_json = lambda _: ""

plan_company.BATCH_SIZE = 3
"""So that a company has several messages."""


class Outcome(NamedTuple):
    seed: int
    verdict: Verdict
    steps: int
    billings: int
    done: Counter[str]
    redundant: int
    trace: list[str]


def run_schedule(seed: int, *, spoil: Callable[[Lab], None] | None = None) -> Outcome:
    adversary = Adversary(seed, spoil=spoil).run()
    return outcome(adversary)


def outcome(adversary: Adversary) -> Outcome:
    book = adversary.lab.omie.book
    return Outcome(
        adversary.seed,
        check(adversary),
        adversary.steps,
        len(book.billings),
        adversary.witness.done,
        book.refused["redundant"] + book.refused["same_id"],
        adversary.trace,
    )
