"""Our own run: the state machine's steps with the real use cases, client, governor and ledger rules, in one process.

The run is the lab's `Execution`: it plans, sends batches as the queue would let them out, settles, waits and sends
again until Settle has nothing left. The stores are in memory. What AWS adds to it (Lambda, SQS, DynamoDB) is
`make demo`'s to measure.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import httpx

from bench.floor import Work
from bench.world import COMPANY, Terms
from billing.bill_batch import BillDeps, read_ahead
from billing.bootstrap import CONNECT_TIMEOUT, OMIE_TIMEOUT
from simulators.clock import VirtualClock
from simulators.lab import OMIE_URL, Lab
from simulators.omie.core import API


@dataclass(frozen=True)
class Run:
    """One run that ended well."""

    work: Work
    plan_ready: datetime
    settled: datetime
    """When Settle had nothing left."""


class PacedClock(VirtualClock):
    """Goes on by itself, at real pace, from the instant it is set to; to advance it is to wait."""

    def set(self, instant: datetime) -> None:
        super().set(instant)
        self._zero = time.monotonic()

    def now(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._zero)

    def advance(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class _OmieOverHttp:
    """What OmieClient needs of `httpx.Client`, for an Omie at another address than the lab's."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._url = url + API

    def post(self, url: str, **request: Any) -> httpx.Response:
        return self._http.post(self._url + url.removeprefix(OMIE_URL), **request)


class _PacedLab(Lab):
    """The lab at real pace, from `now` on, with its Omie in another process."""

    def __init__(self, terms: Terms, now: datetime, http: httpx.Client, url: str) -> None:
        super().__init__(world=terms.world(), seed=terms.seed)
        self.clock = PacedClock(now)
        self._line = _OmieOverHttp(http, url)

    def omie_line(self) -> httpx.Client:
        return cast("httpx.Client", self._line)

    def bill_deps(self) -> BillDeps:
        return replace(super().bill_deps(), read_ahead=read_ahead())


def bill_over_http(url: str, terms: Terms, now: datetime) -> Run:
    """`now`: the simulator's time, from which our clock goes on."""
    limits = httpx.Limits(keepalive_expiry=4.0)
    with httpx.Client(timeout=httpx.Timeout(OMIE_TIMEOUT, connect=CONNECT_TIMEOUT), limits=limits) as http:
        return bill(_PacedLab(terms, now, http, url))


def bill(lab: Lab) -> Run:
    """A whole run of the company, at the pace of the lab's clock.

    Raises:
        RuntimeError: the company failed, or its books do not balance.
    """
    execution = lab.start(companies=[COMPANY])
    _go_on(lab, until=lambda: execution.state not in {"OpenRun", "Companies"})
    settled = lab.clock.now()
    _go_on(lab, until=lambda: execution.ended)
    event = execution.branches[0].event
    if failure := event.get("error") or execution.failure:
        raise RuntimeError(f"our run failed: {failure}")
    return Run(Work.of(event["plan"]), datetime.fromisoformat(event["planned_at"]), settled)


def _go_on(lab: Lab, *, until: Callable[[], bool]) -> None:
    while not until():
        if ready := lab.actions():
            ready[0]()
        else:
            lab.wait()
