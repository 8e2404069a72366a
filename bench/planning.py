"""What plan_company costs, measured in a process that holds nothing else.

    planner   plan_company, its clients and the plan's files        <- measured
    sources   Jestor's and Omie's simulators, in another process    <- not measured

The two talk through a pipe. The clock is virtual: calls and waits for Omie's limits take their time on it, and that
is the time a plan takes on AWS beside the processor's. Jestor's simulator answers at once.
"""

import gc
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Final, cast

from bench.world import COMPANY, one_company
from billing.bootstrap import OMIE_READS_PER_MINUTE
from billing.jestor.client import JestorClient
from billing.omie.client import Credentials, OmieClient
from billing.omie.governor import ReadGate
from billing.plan_company import PlanDeps, plan_company
from billing.store.objects import ObjectStore
from billing.store.runs import run_name
from simulators.clock import VirtualClock
from simulators.jestor.core import JestorCore
from simulators.lab import JESTOR_URL, OMIE_URL, START, TIMEOUTS, Reply, demo_settings
from simulators.memory_store import MemoryLedger, MemoryRuns
from simulators.omie.core import OmieCore, apps_of
from simulators.world import COMPANIES, JESTOR_TOKEN

ROOT: Final = Path(__file__).resolve().parent.parent
FEW, MANY = 2_000, 10_000
"""Contracts of the two traced plans whose difference is the memory a contract costs."""
PROMISED_BYTES: Final = 1024
FUNCTION_TIMEOUT: Final = TIMEOUTS["plan_company"]
FUNCTION_MEMORY_MB: Final = 1769
"""plan_company's in template.yaml."""
MB: Final = 1024 * 1024


def measure(contracts: int, seed: int) -> dict[str, Any]:
    whole = _in_a_process(contracts, seed, traced=False)
    few, many = (_in_a_process(n, seed, traced=True)["peak_traced_bytes"] for n in (FEW, MANY))
    return whole | {"bytes_a_contract": round((many - few) / (MANY - FEW)), "traced_contracts": [FEW, MANY]}


def told(figures: dict[str, Any]) -> list[tuple[str, str]]:
    few, many = figures["traced_contracts"]
    return [
        ("contracts to bill, plan lines", f"{figures['to_bill']:,}, {figures['lines']:,}"),
        ("processor seconds of planning", f"{figures['cpu_seconds']:.1f}"),
        ("seconds of waiting for Omie", f"{figures['waited_seconds']:.0f}"),
        (f"mean answer that still fits in {FUNCTION_TIMEOUT} s", f"{longest_answer(figures):.2f} s"),
        ("calls", f"{figures['omie_calls']:,} of Omie, {figures['jestor_calls']:,} of Jestor"),
        (
            "peak memory of the process",
            f"{figures['peak_rss_mb']:.0f} MB ({figures['rss_before_mb']:.0f} before planning)",
        ),
        (f"memory a contract, traced, {few:,} to {many:,}", f"{figures['bytes_a_contract']} bytes"),
    ]


def longest_answer(figures: dict[str, Any]) -> float:
    """Seconds a call may take on average, Omie's and Jestor's alike, before the plan outlasts its function.

    Reads go one at a time: slower than the 60 / 235 s that Omie's limit asks for, they set the pace themselves.
    """
    calls: int = figures["omie_calls"] + figures["jestor_calls"]
    return float((FUNCTION_TIMEOUT - figures["cpu_seconds"]) / calls)


def shortcomings(figures: dict[str, Any]) -> list[str]:
    """What was promised and not kept."""
    found = []
    if figures["bytes_a_contract"] > PROMISED_BYTES:
        found.append(f"{figures['bytes_a_contract']} bytes a contract, at most {PROMISED_BYTES} were promised")
    if figures["cpu_seconds"] + figures["waited_seconds"] > FUNCTION_TIMEOUT:
        found.append(f"planning takes longer than plan_company may ({FUNCTION_TIMEOUT} s)")
    if figures["peak_rss_mb"] > FUNCTION_MEMORY_MB:
        found.append(f"planning takes more memory than plan_company has ({FUNCTION_MEMORY_MB} MB)")
    return found


def _in_a_process(contracts: int, seed: int, *, traced: bool) -> dict[str, Any]:
    asked = json.dumps({"contracts": contracts, "seed": seed, "traced": traced})
    done = subprocess.run(
        [sys.executable, "-m", "bench.planning", asked], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"planning {contracts} contracts failed (exit code {done.returncode})")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


# ------------------------------------------------------------------------------------------------------- the sources


def serve(pipe: Connection, contracts: int, seed: int) -> None:
    """Answer (side, path, headers, body, now) with (status, headers, body, delay) until the other end closes."""
    world = one_company(contracts, seed)
    omie = OmieCore(apps_of(world, now=START.timestamp() - 86400), seed=seed)
    jestor = JestorCore(world, seed=seed)
    gc.freeze()
    pipe.send("ready")
    with pipe:
        while True:
            try:
                side, path, headers, body, now = pipe.recv()
            except EOFError:
                return
            if side == "omie":
                answer: Any = omie.handle(path, body, now=now)
            else:
                answer = jestor.handle(path, headers, body, now=now)
            pipe.send((answer.status, dict(answer.headers), answer.body, answer.delay))


class Line:
    """`httpx.Client.post` through the pipe; the call takes the time its answer names."""

    def __init__(self, side: str, root: str, pipe: Connection, clock: VirtualClock) -> None:
        self._side, self._root, self._pipe, self._clock = side, root, pipe, clock
        self.calls = 0

    def post(self, url: str, *, content: str | bytes, headers: dict[str, str], **_: Any) -> Reply:
        self.calls += 1
        body = content.encode() if isinstance(content, str) else content
        self._pipe.send((self._side, url.removeprefix(self._root), headers, body, self._clock.now().timestamp()))
        status, answered, body, delay = self._pipe.recv()
        self._clock.advance(delay)
        return Reply(status, body, answered)


class Folder:
    """As much of S3 as a plan needs, on disk."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def upload_fileobj(self, file: IO[bytes], bucket: str, key: str, **_: Any) -> None:
        with self._file(bucket, key).open("wb") as target:
            shutil.copyfileobj(file, target)

    def download_fileobj(self, bucket: str, key: str, file: IO[bytes]) -> None:
        with self._file(bucket, key).open("rb") as source:
            shutil.copyfileobj(source, file)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> None:
        self._file(Bucket, Key).write_bytes(Body)

    def _file(self, bucket: str, key: str) -> Path:
        return self._path / f"{bucket}-{key.replace('/', '-')}"


# ------------------------------------------------------------------------------------------------------- the planner


def plan(pipe: Connection, folder: str, *, traced: bool) -> dict[str, Any]:
    clock = VirtualClock(START)
    omie = Line("omie", OMIE_URL.removesuffix("/api/v1"), pipe, clock)
    jestor = Line("jestor", JESTOR_URL, pipe, clock)
    company = COMPANIES[COMPANY]
    gate = ReadGate(clock, OMIE_READS_PER_MINUTE)
    deps = PlanDeps(
        settings=demo_settings(),
        jestor=lambda: JestorClient(JESTOR_URL, JESTOR_TOKEN, http=cast("Any", jestor), clock=clock),
        omie=lambda _: OmieClient(
            Credentials(company.app_key, company.app_secret),
            base_url=OMIE_URL,
            http=cast("Any", omie),
            clock=clock,
            gate=gate,
        ),
        ledger=MemoryLedger(),
        runs=MemoryRuns(),
        objects=ObjectStore(cast("Any", Folder(folder)), "bench"),
        clock=clock,
    )
    asked = {
        "company": COMPANY,
        "month": "2026-12",
        "run": run_name("2026-12", f"mensalidade#{COMPANY}"),
        "generation": 1,
        "preview": False,
        "execution": "arn:aws:states:bench:execution:run:1",
        "contracts_per_minute": 240,
    }
    before, cpu, began = _peak_rss_mb(), time.process_time(), clock.now()
    if traced:
        tracemalloc.start()
    planned = plan_company(asked, deps)
    return {
        "to_bill": planned["plan"]["counts"]["bill"],
        "lines": planned["plan"]["lines"],
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "waited_seconds": round((clock.now() - began).total_seconds(), 1),
        "omie_calls": omie.calls,
        "jestor_calls": jestor.calls,
        "rss_before_mb": round(before, 1),
        "peak_rss_mb": round(_peak_rss_mb(), 1),
        "peak_traced_bytes": tracemalloc.get_traced_memory()[1] if traced else 0,
    }


def _peak_rss_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def main() -> None:
    asked = json.loads(sys.argv[1])
    context = get_context("spawn")
    here, there = context.Pipe()
    sources = context.Process(target=serve, args=(there, asked["contracts"], asked["seed"]))
    sources.start()
    there.close()
    with closing(here), tempfile.TemporaryDirectory() as folder:
        here.recv()
        figures = plan(here, folder, traced=asked["traced"])
    sources.join()
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
