"""Our loop and naive ones over the same contracts: how fast each bills, and what Omie says of it.

A naive loop may use more than 100 % of the ceiling: it spends a minute's calls in a burst, and so may begin a run's
last minute before it is due. What it is refused meanwhile it tries again and then gives up: not billed, nobody told.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from bench import naive, ours, simulator
from bench.world import Terms

CEILING: Final = 240
"""Calls of one method that Omie takes in a minute (help 8112984)."""
PROMISED: Final = 0.95
OURS, SEQUENTIAL, THREADS = "ours", "naive, sequential", "naive, 4 threads"
THREADS_REFUSED = "4 threads, 1880 if parallel"
REFUSES: Final = {"parallel_writes": "refuse"}
"""Help 8001888 says "no simultaneous inclusion or alteration", not what happens then. By default the simulator bills
and counts; this answers 1880, as Omie does to a method that is busy."""


@dataclass(frozen=True)
class Result:
    """One loop's end; all but `seconds` from the simulator's book."""

    name: str
    contracts: int
    billed: int
    billed_twice: int
    seconds: float
    stopped: bool
    """At the limit of time, with contracts still to be tried."""
    share_of_ceiling: float
    """Contracts a minute against CEILING, over all of `seconds`."""
    fullest_minute: int
    """FaturarContrato calls in any 60 s, at most; above CEILING one was refused."""
    throttled_429: int
    refused_425: int
    blocks: int
    """How often the key was blocked for 30 minutes."""
    busy_1880: int
    redundant: int
    parallel_writes: int

    @property
    def clean(self) -> bool:
        """No answer that Omie's limits of use explain."""
        return not (self.throttled_429 or self.refused_425 or self.blocks or self.busy_1880 or self.redundant)


def read_result(
    name: str, terms: Terms, book: Mapping[str, Any], seconds: float, limit: float = float("inf")
) -> Result:
    """From the simulator's book; pure."""
    refused: Mapping[str, int] = book["refused"]
    refuses = (terms.switches or {}).get("parallel_writes") == REFUSES["parallel_writes"]
    return Result(
        name=name,
        contracts=terms.contracts,
        billed=book["billed_contracts"],
        billed_twice=len(book["billed_twice"]),
        seconds=round(seconds, 1),
        stopped=seconds >= limit,
        share_of_ceiling=round(book["billed_contracts"] * 60 / CEILING / seconds, 3),
        fullest_minute=book["peak_per_minute"].get("FaturarContrato", 0),
        throttled_429=book["throttled"],
        refused_425=refused.get("blocked", 0),
        blocks=len(book["blocks"]),
        busy_1880=refused.get("in_flight", 0) + (refused.get("parallel_write", 0) if refuses else 0),
        redundant=refused.get("redundant", 0) + refused.get("same_id", 0),
        parallel_writes=book["parallel_writes"],
    )


def shortcomings(no_faults: Result, lost_replies: Result | None) -> list[str]:
    """What ours promised and did not keep; empty when all is well."""
    found = []
    if no_faults.share_of_ceiling < PROMISED:
        found.append(f"{no_faults.share_of_ceiling:.1%} of the ceiling, {PROMISED:.0%} was promised")
    for result in filter(None, [no_faults, lost_replies]):
        if not result.clean:
            found.append("Omie refused calls for their rate")
        if result.billed_twice:
            found.append(f"{result.billed_twice} contracts billed twice")
        if result.billed != result.contracts:
            found.append(f"{result.billed} of {result.contracts} contracts billed")
        if result.parallel_writes:
            found.append(f"{result.parallel_writes} parallel writes")
    return found


def in_real_time(terms: Terms, limit: float) -> list[Result]:
    """All loops side by side, each with a simulator process of its own; `limit`: seconds for a naive one."""
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(_ours_over_http, terms)]
        running += [pool.submit(_naive_over_http, *loop, limit) for loop in _naive_loops(terms)]
        return [loop.result() for loop in running]


def on_the_virtual_clock(terms: Terms, limit: float) -> list[Result]:
    """The same within this process and without waiting. With faults, ours goes on until Settle has nothing left."""
    core, billing, settled = ours.bill_virtually(terms)
    found = [read_result(OURS, terms, core.read_book(billings=False), settled if terms.faults else billing)]
    for name, its, threads in _naive_loops(terms):
        core = its.lab().omie
        seconds = naive.bill_virtually(core, its, threads, limit)
        found.append(read_result(name, its, core.read_book(billings=False), seconds, limit))
    return found


def _naive_loops(terms: Terms) -> list[tuple[str, Terms, int]]:
    loops = [(SEQUENTIAL, terms, 1), (THREADS, terms, 4)]
    if not terms.faults:  # with its key blocked from the start, a fault is the least of its troubles
        refusing = replace(terms, switches={**(terms.switches or {}), **REFUSES})
        loops.append((THREADS_REFUSED, refusing, 4))
    return loops


def _ours_over_http(terms: Terms) -> Result:
    with simulator.running(terms) as url:
        seconds = ours.bill_over_http(url, terms)
        return read_result(OURS, terms, simulator.read_book(url), seconds)


def _naive_over_http(name: str, terms: Terms, threads: int, limit: float) -> Result:
    with simulator.running(terms) as url:
        seconds = naive.bill_over_http(url, terms, threads, limit)
        return read_result(name, terms, simulator.read_book(url), seconds, limit)
