"""Our own loop: the real plan, bill_batch, settle_company, client, governor and ledger rules, in one process.

The stores are in memory, and batches follow each other as the queue would let them. What AWS adds to it (Lambda,
SQS, DynamoDB) is `make demo`'s to measure.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx

from bench.world import Terms, batches, plan
from billing.bill_batch import BillDeps, bill_batch, read_ahead
from billing.bootstrap import CONNECT_TIMEOUT, OMIE_READS_PER_MINUTE, OMIE_TIMEOUT
from billing.clock import Clock
from billing.omie.client import Credentials, OmieClient
from billing.omie.governor import ReadGate
from billing.omie.replies import OmieError
from billing.settings import FUNCTION_TIMEOUT_SECONDS
from billing.settle_company import settle_company
from simulators.lab import Lab
from simulators.omie.core import API, OmieCore


class PacedClock:
    """Runs at real pace from `start` on, so that a measurement may be taken on any day of any month."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._zero = time.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() - self._zero)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


def bill_over_http(url: str, terms: Terms) -> float:
    """Seconds from the first batch's start to the last one's end; planned before, against a core of its own."""
    lab = terms.lab()
    planned = plan(lab)
    clock = PacedClock(lab.clock.now())
    app = lab.omie.apps[planned["company"]]

    def on_error(method: str, error: OmieError) -> None:
        if error.counts_toward_block:
            lab.lanes.note_error(app.company, method, clock.now().timestamp())

    limits = httpx.Limits(keepalive_expiry=4.0)
    with httpx.Client(timeout=httpx.Timeout(OMIE_TIMEOUT, connect=CONNECT_TIMEOUT), limits=limits) as http:
        omie = OmieClient(
            Credentials(app.app_key, app.app_secret),
            base_url=url + API,
            http=http,
            clock=clock,
            gate=ReadGate(clock, OMIE_READS_PER_MINUTE),
            on_error=on_error,
        )
        deps = replace(lab.bill_deps(), omie=lambda _: omie, clock=clock, read_ahead=read_ahead())
        return _timed(clock, lambda: _bill(lab, planned, deps))


def bill_virtually(terms: Terms) -> tuple[OmieCore, float, float]:
    """Omie with its book, seconds until the first round of batches was billed, and until Settle had nothing left."""
    lab = terms.lab()
    planned = plan(lab)
    billing = _timed(lab.clock, lambda: _bill(lab, planned, lab.bill_deps()))
    return lab.omie, billing, billing + _timed(lab.clock, lambda: _settle(lab, planned))


def _bill(lab: Lab, planned: dict[str, Any], deps: BillDeps) -> None:
    for batch in batches(lab, planned):
        wait = 1
        while wait:
            deadline = deps.clock.now().timestamp() + FUNCTION_TIMEOUT_SECONDS
            wait = bill_batch(batch, deps, deadline=deadline)["wait_seconds"]
            deps.clock.sleep(wait)


def _settle(lab: Lab, planned: dict[str, Any]) -> None:
    while (planned := settle_company(planned, lab.settle_deps()))["decision"] != "done":
        if planned["decision"] == "bill":
            _bill(lab, planned, lab.bill_deps())
        else:
            lab.clock.sleep(planned["wait_seconds"])


def _timed(clock: Clock, act: Callable[[], None]) -> float:
    started = clock.now()
    act()
    return (clock.now() - started).total_seconds()
