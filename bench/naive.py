"""What an integrator writes first: bill each contract; on an error or a time-out try again, up to three times.

It reads nothing, plans nothing and remembers nothing: this favours it in time, and costs it the rest. It is given the
contracts that exist in Omie; it creates none, and bills as it stands what should have been altered first.
"""

import heapq
import json
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Final

import httpx

from bench.world import COMPANY, Terms, numbers
from billing.omie.client import PATHS
from simulators.lab import START
from simulators.omie.core import API, OmieCore
from simulators.world import COMPANIES

RETRIES: Final = 3
PAUSE: Final = 1.0
"""Seconds before trying again."""
TIMEOUT: Final = 30.0
PATH: Final = f"{API}/{PATHS['FaturarContrato']}"

Steps = Generator[int | float, bool, None]
"""Yields an nCodCtr to bill (and is told whether Omie said yes), or seconds to pause."""


def loop(contracts: Iterator[int]) -> Steps:
    """One thread; several share `contracts`."""
    for nCodCtr in contracts:
        for attempt in range(1 + RETRIES):
            if attempt:
                yield PAUSE
            if (yield nCodCtr):
                break


def body(nCodCtr: int) -> bytes:
    keys = {"app_key": COMPANIES[COMPANY].app_key, "app_secret": COMPANIES[COMPANY].app_secret}
    return json.dumps({"call": "FaturarContrato", **keys, "param": [{"nCodCtr": nCodCtr}]}).encode()


def bill_over_http(url: str, terms: Terms, threads: int, limit: float) -> float:
    """Seconds it took; it stops after `limit`."""
    contracts = iter(numbers(terms.world()))
    started = time.monotonic()

    def run(steps: Steps, http: httpx.Client) -> None:
        said_yes = None
        while time.monotonic() - started < limit:
            try:
                wanted = next(steps) if said_yes is None else steps.send(said_yes)
            except StopIteration:
                return
            if isinstance(wanted, float):
                time.sleep(wanted)
                said_yes = False
                continue
            try:
                said_yes = http.post(url + PATH, content=body(wanted)).status_code == httpx.codes.OK
            except httpx.HTTPError:
                said_yes = False

    with httpx.Client(timeout=TIMEOUT) as http, ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run, loop(contracts), http) for _ in range(threads)]:
            done.result()
    return min(limit, time.monotonic() - started)


def bill_virtually(core: OmieCore, terms: Terms, threads: int, limit: float) -> float:
    """The same against the simulator's core, on a clock that jumps from one call to the next."""
    contracts = iter(numbers(terms.world()))
    start = now = START.timestamp()
    order = count()
    waiting = [(start, next(order), partial(next, steps), steps) for steps in (loop(contracts) for _ in range(threads))]
    while waiting and waiting[0][0] - start < limit:
        now, _, proceed, steps = heapq.heappop(waiting)
        try:
            wanted = proceed()
        except StopIteration:
            continue
        if isinstance(wanted, float):
            until, said_yes = now + wanted, False
        else:
            answer = core.handle(PATH, body(wanted), now=now)
            until = now + min(answer.delay, TIMEOUT)
            said_yes = answer.status == httpx.codes.OK and not answer.lost and answer.delay < TIMEOUT
        heapq.heappush(waiting, (until, next(order), partial(steps.send, said_yes), steps))
    return limit if waiting else now - start
