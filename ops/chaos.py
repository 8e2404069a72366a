"""`make chaos`: the month on the deployed stack while a fifth of the billing calls goes wrong, and worse.

    python -m ops.chaos [--contracts 500] [--seed 7] [--keep]

Every fifth FaturarContrato is lost before or after Omie executed it, finishes late, or hangs; a worker is killed in the
middle of a batch; the month is started a second time while it runs; at the end the dead-letter queue is redriven
three times. Exits with 0 only when Omie's book shows every contract billed exactly once, for the planned amount.
Takes as long as the in-doubt waits and one queue visibility time-out take: about half an hour.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console

from ops import local
from ops.stack import Execution, Stack, connect, find_place

OUT: Final = local.ROOT / "build" / "chaos"
LATE: Final = 4
"""Seconds after which an abandoned call is still executed; the settings below allow 5."""
FAULTS: Final = (
    "lost_reply:methods=FaturarContrato:share=0.10;lost_request:methods=FaturarContrato:share=0.07;"
    f"late_execution:methods=FaturarContrato:share=0.06:seconds={LATE};"
    "slow:methods=FaturarContrato:share=0.04:seconds=3;unknown_wording:methods=FaturarContrato:share=0.01:times=2"
)
KILL_AFTER: Final = 40
"""Billings after which the worker is killed."""
BILLING_OPS: Final = str(Path(sys.executable).parent / "billing-ops")


def _settings() -> str:
    demo = (local.ROOT / "config" / "demo.toml").read_text()
    return demo.replace("in_doubt_wait_seconds = 191", "in_doubt_wait_seconds = 137").replace(
        "longest_abandoned_call_seconds = 60", f"longest_abandoned_call_seconds = {LATE + 1}"
    )


def _book(state: dict[str, Any]) -> dict[str, Any]:
    return dict(httpx.get(f"{state['simulators']['omie']}/_sim/book", timeout=60).json())


def _ops(*words: str) -> None:
    subprocess.run([BILLING_OPS, *words], cwd=local.ROOT, check=False)  # noqa: S603 - our own command


def _start(stack: Stack, trigger: str, name: str) -> Execution:
    request = {"month": None, "companies": None, "trigger": trigger, "preview": False, "who": "chaos"}
    return stack.start(request, name)


def _kill_a_worker() -> int | None:
    """SIGKILL to a process of the emulator that runs bill_batch, and no other."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if b"BillBatchFunction" in command + environment and str(local.LOCAL).encode() in command + environment:
                os.kill(int(entry.name), signal.SIGKILL)
                return int(entry.name)
    return None


def _until_ended(stack: Stack, execution: Execution, console: Console, state: dict[str, Any], *, kill: bool) -> bool:
    """Watches the run, kills a worker in the middle of it and starts the month again beside it; was one killed?"""
    killed = twice = False
    while not (seen := stack.execution(execution.arn)).ended:
        billed = _book(state)["billed_contracts"]
        if billed >= KILL_AFTER and not twice:
            twice = True
            for trigger in ("operator", "schedule"):
                _start(stack, trigger, f"chaos-again-{trigger}-{int(time.time())}")
            console.print(f"{billed} billed: the month is started twice more, by an operator and by the schedule")
        if kill and billed >= KILL_AFTER and not killed and (pid := _kill_a_worker()):
            killed = True
            console.print(f"{billed} billed: worker {pid} is killed")
        time.sleep(1)  # between two looks
    console.print(f"the run ended {seen.status}")
    return killed


def chaos(
    contracts: int = 500,
    seed: int = 7,
    keep: Annotated[bool, typer.Option(help="Leave the stack up.")] = False,
    kill: Annotated[bool, typer.Option(help="Kill a worker in the middle of its batch.")] = True,
) -> None:
    """Bill the month while a fifth of the billing calls goes wrong."""
    console = Console()
    OUT.mkdir(parents=True, exist_ok=True)
    settings = OUT / "settings.toml"
    settings.write_text(_settings())
    os.environ["SETTINGS"] = str(settings)
    state = local.up(contracts, seed, 60.0, webhooks=False)
    try:
        httpx.post(f"{state['simulators']['omie']}/_sim/faults", json={"spec": FAULTS}).raise_for_status()
        stack = connect(find_place({}, None))
        execution = _start(stack, "operator", f"chaos-{int(time.time())}")
        killed = _until_ended(stack, execution, console, state, kill=kill)
        for _ in range(3):
            _ops("dlq", "redrive", "--yes")
        _ops("run", "--yes")
        _ops("status")
        book = _book(state)
    finally:
        if not keep:
            local.down()
    calls = book["calls"]["FaturarContrato"]["count"]
    faulted = sum(book["faults"].values())
    summary = {
        "contracts": contracts,
        "seed": seed,
        "billed_contracts": book["billed_contracts"],
        "billed_twice": book["billed_twice"],
        "limit_breaches": book["limit_breach_count"],
        "blocks": len(book["blocks"]),
        "parallel_writes": book["parallel_writes"],
        "calls": calls,
        "faults": book["faults"],
        "faulted_share": round(faulted / calls, 3),
        "worker_killed": killed,
    }
    (OUT / "summary.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1))
    console.print_json(data=summary)
    once = book["billed_contracts"] == contracts and not book["billed_twice"] and not book["blocks"]
    raise typer.Exit(0 if once and (killed or not kill) else 1)


def main() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(chaos)
    local.run(app)


if __name__ == "__main__":
    main()
