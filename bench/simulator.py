"""One Omie of its own for one loop: `python -m bench.simulator` serves `Terms` given as JSON on a free port."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from bench.world import Terms
from simulators.lab import START
from simulators.omie.__main__ import serve
from simulators.omie.core import OmieCore
from simulators.omie.server import Clock, Server

ROOT: Final = Path(__file__).resolve().parent.parent


@contextmanager
def running(terms: Terms) -> Iterator[str]:
    """The address of a fresh simulator, which ends with the block."""
    command = [sys.executable, "-m", "bench.simulator", json.dumps(asdict(terms))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"The Omie simulator did not start (exit code {process.wait()}).")
            yield line.rsplit(maxsplit=1)[-1]
        finally:
            process.terminate()


def read_book(url: str) -> dict[str, Any]:
    book: dict[str, Any] = httpx.get(f"{url}/_sim/book", params={"billings": 0}, timeout=60).json()
    return book


def read_clock(url: str) -> datetime:
    return datetime.fromisoformat(httpx.get(f"{url}/_sim/health", timeout=60).json()["now"])


def main() -> None:
    terms = Terms(**json.loads(sys.argv[1]))

    def make_core(now: float) -> OmieCore:
        del now
        return terms.lab().omie

    asyncio.run(serve(Server(make_core, Clock(START.timestamp())), "127.0.0.1", 0))


if __name__ == "__main__":
    main()
