"""Our run and naive loops over the same contracts: how fast each bills, and what Omie says of it.

Ours is timed from the moment its plan is ready to the last contract billed, in whatever round, and plans, creates and
alters as the month needs it. The naive loops get the contracts that exist in Omie, because they cannot create any.

A naive loop may use more than 100 % of the ceiling: it spends a minute's calls in a burst, and so may begin a run's
last minute before it is due. What it is refused meanwhile it tries again and then gives up: not billed, nobody told.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from bench import naive, ours, simulator
from bench.floor import CEILING, PROMISED_RATIO, PROMISED_RATIO_LOST, Margin
from bench.world import COMPANY, Terms, numbers
from simulators.lab import demo_settings

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
    """That it was to bill."""
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


@dataclass(frozen=True)
class Comparison:
    """One table: all loops on the same terms, ours first, and how far ours stayed from the floor."""

    loops: list[Result]
    margin: Margin

    def figures(self) -> dict[str, Any]:
        return {"loops": [asdict(loop) for loop in self.loops], "ours": self.margin.figures()}


def read_result(
    name: str, terms: Terms, book: Mapping[str, Any], seconds: float, *, contracts: int, limit: float = float("inf")
) -> Result:
    """From the simulator's book; pure. `contracts`: how many it was given to bill."""
    refused: Mapping[str, int] = book["refused"]
    refuses = (terms.switches or {}).get("parallel_writes") == REFUSES["parallel_writes"]
    return Result(
        name=name,
        contracts=contracts,
        billed=book["billed_contracts"],
        billed_twice=len(book["billed_twice"]),
        seconds=round(seconds, 1),
        stopped=seconds >= limit,
        share_of_ceiling=round(book["billed_contracts"] * 60 / CEILING / seconds, 3) if seconds else 0.0,
        fullest_minute=book["peak_per_minute"].get("FaturarContrato", 0),
        throttled_429=book["throttled"],
        refused_425=refused.get("blocked", 0),
        blocks=len(book["blocks"]),
        busy_1880=refused.get("in_flight", 0) + (refused.get("parallel_write", 0) if refuses else 0),
        redundant=refused.get("redundant", 0) + refused.get("same_id", 0),
        parallel_writes=book["parallel_writes"],
    )


def read_margin(terms: Terms, book: Mapping[str, Any], run: ours.Run, in_doubt_wait: float) -> Margin:
    """From the simulator's book; pure. `in_doubt_wait`: the company's setting, in seconds."""
    switches = terms.switched()
    ready = run.plan_ready + timedelta(seconds=switches.clock_offset)  # the book goes by Omie's clock
    last = book["last_billing_at"]
    return Margin(
        work=run.work,
        floor_seconds=run.work.floor(terms.latency_ms / 1000, switches.read_lag),
        allowed_ratio=PROMISED_RATIO_LOST if terms.faults else PROMISED_RATIO,
        allowed_wait=in_doubt_wait if terms.faults else 0.0,
        billed_seconds=(datetime.fromisoformat(last) - ready).total_seconds() if last else 0.0,
        settled_seconds=(run.settled - run.plan_ready).total_seconds(),
        calls={method: its["count"] for method, its in book["calls"].items()},
        written=sum(its["count"] for its in book["calls"].values() if its["write"]),
    )


def shortcomings(compared: Comparison) -> list[str]:
    """What ours promised and did not keep; empty when all is well."""
    own, found = compared.loops[0], []
    if not own.clean:
        found.append("Omie refused calls for their rate")
    if own.billed_twice:
        found.append(f"{own.billed_twice} contracts billed twice")
    if own.billed != own.contracts:
        found.append(f"{own.billed} of {own.contracts} contracts billed")
    if own.parallel_writes:
        found.append(f"{own.parallel_writes} parallel writes")
    return found + compared.margin.shortcomings()


def in_real_time(terms: Terms, limit: float) -> Comparison:
    """All loops side by side, each with a simulator process of its own; `limit`: seconds for a naive one."""
    with ThreadPoolExecutor(4) as pool:
        own = pool.submit(_ours_over_http, terms)
        naives = [pool.submit(_naive_over_http, *loop, limit) for loop in _naive_loops(terms)]
        book, run = own.result()
        return _compared(terms, book, run, [loop.result() for loop in naives])


def on_the_virtual_clock(terms: Terms, limit: float) -> Comparison:
    """The same within this process and without waiting."""
    lab = terms.lab()
    run = ours.bill(lab)
    naives = []
    for name, its, threads in _naive_loops(terms):
        core = its.lab().omie
        seconds = naive.bill_virtually(core, its, threads, limit)
        naives.append(_naive_result(name, its, core.read_book(billings=False), seconds, limit))
    return _compared(terms, lab.omie.read_book(billings=False), run, naives)


def _compared(terms: Terms, book: Mapping[str, Any], run: ours.Run, naives: list[Result]) -> Comparison:
    margin = read_margin(terms, book, run, demo_settings().companies[COMPANY].in_doubt_wait_seconds)
    own = read_result(OURS, terms, book, margin.billed_seconds, contracts=terms.contracts)
    return Comparison([own, *naives], margin)


def _naive_loops(terms: Terms) -> list[tuple[str, Terms, int]]:
    loops = [(SEQUENTIAL, terms, 1), (THREADS, terms, 4)]
    if not terms.faults:  # with its key blocked from the start, a fault is the least of its troubles
        refusing = replace(terms, switches={**(terms.switches or {}), **REFUSES})
        loops.append((THREADS_REFUSED, refusing, 4))
    return loops


def _ours_over_http(terms: Terms) -> tuple[dict[str, Any], ours.Run]:
    with simulator.running(terms) as url:
        run = ours.bill_over_http(url, terms, simulator.read_clock(url))
        return simulator.read_book(url), run


def _naive_over_http(name: str, terms: Terms, threads: int, limit: float) -> Result:
    with simulator.running(terms) as url:
        seconds = naive.bill_over_http(url, terms, threads, limit)
        return _naive_result(name, terms, simulator.read_book(url), seconds, limit)


def _naive_result(name: str, terms: Terms, book: Mapping[str, Any], seconds: float, limit: float) -> Result:
    return read_result(name, terms, book, seconds, contracts=len(numbers(terms.world())), limit=limit)
