"""`make demo`: a month of simulated contracts billed on the real template, and the books compared with the simulator's.

    python -m ops.demo [--contracts 500] [--seed 7] [--profile demo|live] [--twice] [--keep]

Starts the stack (or uses the one that is up), runs the operator's own command, then asks the simulator what it
saw. Exits with 0 only when every active contract was billed exactly once for the planned amount, by our books and by
the simulator's, without a limit breach or a block. Writes build/demo/summary.json and build/demo/report.html.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.table import Table

from billing.domain.money import format_brl
from ops import local
from ops.stack import connect, find_place

OUT: Final = local.ROOT / "build" / "demo"
CEILING: Final = 240
"""Omie's calls a minute of one method (help 8112984)."""


@dataclass(frozen=True)
class Phase:
    """How long billing took against the least it could take.

    `floor_seconds` = max(n / 240 a minute, n x the simulator's mean write latency): what Omie's own limits allow.
    """

    seconds: float
    floor_seconds: float
    ratio: float


def summarise(closing: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The demo's summary from our closing and the simulator's book before and after; pure."""
    companies = closing.get("companies") or []
    counts = {
        name: sum(company.get(name, 0) for company in companies)
        for name in ("planned", "billed", "skipped", "parked", "in_doubt", "total_billed_centavos")
    }
    new = after["billings"][len(before["billings"]) :]
    calls = {
        method: seen["count"] - before["calls"].get(method, {}).get("count", 0)
        for method, seen in after["calls"].items()
    }
    return {
        "month": closing.get("month"),
        **counts,
        "total_billed": format_brl(counts["total_billed_centavos"]),
        "balanced": bool(closing.get("balanced")),
        "explanation": closing.get("explanation", ""),
        "calls": {method: count for method, count in sorted(calls.items()) if count},
        "billed_now": len(new),
        "book": {
            "billed_contracts": after["billed_contracts"],
            "billed_amount_centavos": sum(billing["amount"] for billing in after["billings"]),
            "billed_twice": len(after["billed_twice"]),
            "limit_breaches": len(after["limit_breaches"]),
            "blocks": len(after["blocks"]),
            "throttled": after["throttled"],
            "parallel_writes": after["parallel_writes"],
            "peak_per_minute": after["peak_per_minute"],
            "share_of_ceiling": round(after["peak_per_minute"].get("FaturarContrato", 0) / CEILING, 3),
            "mean_write_latency_ms": after["mean_write_latency_ms"],
        },
        "billing_phase": asdict(_phase(new, companies, after["mean_write_latency_ms"])) if new else None,
    }


def disagreements(summary: dict[str, Any]) -> list[str]:
    """What keeps the demo from being a success; empty when our books and the simulator's agree."""
    book = summary["book"]
    found = [] if summary["balanced"] else [f"the books do not balance: {summary['explanation']}"]
    if summary["billed"] != book["billed_contracts"]:
        found.append(f"we say {summary['billed']} contracts were billed, Omie's book says {book['billed_contracts']}")
    if summary["total_billed_centavos"] != book["billed_amount_centavos"]:
        found.append("the amounts billed differ from Omie's book")
    found += [
        f"{book[name]} {name.replace('_', ' ')}"
        for name in ("billed_twice", "limit_breaches", "blocks", "parallel_writes")
        if book[name]
    ]
    return found


def _phase(new: list[dict[str, Any]], companies: list[dict[str, Any]], latency_ms: float) -> Phase:
    """From the moment the first plan was ready to the last billing Omie made: cold starts and queues included."""
    first = min(datetime.fromisoformat(company["planned_at"]) for company in companies if company["planned_at"])
    last = max(datetime.fromisoformat(billing["at"]) for billing in new)
    seconds = (last - first).total_seconds()
    floor = max(len(new) * 60 / CEILING, len(new) * latency_ms / 1000)
    return Phase(round(seconds, 1), round(floor, 1), round(seconds / floor, 3))


def _run(state: dict[str, Any], console: Console) -> dict[str, Any]:
    book = f"{state['simulators']['omie']}/_sim/book"
    before = httpx.get(book, timeout=60).json()
    command = [str(Path(sys.executable).parent / "billing-ops"), "run", "--yes"]
    started = datetime.now().astimezone()
    subprocess.run(command, check=False, cwd=local.ROOT)  # noqa: S603 - our own command
    seconds = (datetime.now().astimezone() - started).total_seconds()
    stack = connect(find_place({}, None))
    execution = stack.latest_execution()
    if execution is None:
        raise local.LocalError("The run did not start.")
    closing = stack.closing(execution)
    after = httpx.get(book, timeout=60).json()
    summary = summarise(closing, before, after)
    summary |= {"execution": execution.name, "seconds": round(seconds, 1), "refused": closing.get("refused") or []}
    _show(console, summary)
    if closing.get("report"):
        stack.download(closing["report"]["html"], OUT / "report.html")
    return summary


def _show(console: Console, summary: dict[str, Any]) -> None:
    book, phase = summary["book"], summary["billing_phase"]
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = [
        ("planned", summary["planned"]),
        ("billed", f"{summary['billed']}  ({summary['billed_now']} in this run)"),
        ("skipped, explained", summary["skipped"]),
        ("parked, for a person", summary["parked"]),
        ("in doubt", summary["in_doubt"]),
        ("total", summary["total_billed"]),
        ("Omie's book", f"{book['billed_contracts']} contracts, {format_brl(book['billed_amount_centavos'])}"),
        ("billed twice", book["billed_twice"]),
        ("limit breaches, blocks, 429s", f"{book['limit_breaches']}, {book['blocks']}, {book['throttled']}"),
        ("calls", ", ".join(f"{method} {count}" for method, count in summary["calls"].items())),
        ("seconds in all", summary["seconds"]),
    ]
    if phase:
        told = f"{phase['seconds']} s, floor {phase['floor_seconds']} s, ratio {phase['ratio']}"
        rows += [
            ("billing phase", told),
            ("Omie's rate ceiling used", f"{book['share_of_ceiling']:.1%} in the fullest minute of one company"),
        ]
    for name, value in rows:
        table.add_row(f"[dim]{name}[/]", str(value))
    console.print()
    console.print(table)
    console.print()


def demo(
    contracts: Annotated[int, typer.Option(help="Active contracts to bill; the dirt of real life comes on top.")] = 500,
    seed: int = 7,
    latency_ms: Annotated[float | None, typer.Option(help="Mean latency of the Omie simulator.")] = None,
    *,
    profile: Annotated[str, typer.Option(help="demo; or live: an Omie as live accounts show it.")] = "demo",
    twice: Annotated[bool, typer.Option(help="Run the same month a second time: nothing may be billed.")] = False,
    keep: Annotated[bool, typer.Option(help="Leave the stack up; a later demo uses it. End it: make down.")] = False,
) -> None:
    """Bill a month of simulated contracts on the real template."""
    console = Console()
    OUT.mkdir(parents=True, exist_ok=True)
    was_up = local.STATE.exists()
    if was_up:
        console.print("A local stack is up: using it, with the contracts and bills it already has.")
        state = json.loads(local.STATE.read_text())
    else:
        console.print(
            f"Starting the emulator and the simulators with {contracts} contracts, deploying the template ..."
        )
        state = local.up(contracts, seed, latency_ms, profile=profile, webhooks=False)
    try:
        if set(state["simulators"]) != {"omie", "jestor"}:
            raise local.LocalError("The demo needs our simulators; unset OMIE_BASE_URL and JESTOR_BASE_URL.")
        runs = [_run(state, console)]
        if twice:
            console.print("The same month once more:")
            runs.append(_run(state, console))
    finally:
        if not (keep or was_up):
            console.print("Ending the emulator and the simulators; deleting the emulator's files may take minutes ...")
            local.down()
    expected = [] if was_up or runs[0]["billed"] == contracts else [f"{runs[0]['billed']} of {contracts} were billed"]
    problems = expected + [problem for summary in runs for problem in disagreements(summary)]
    problems += [f"run {n} billed {run['billed_now']} again" for n, run in enumerate(runs[1:], 2) if run["billed_now"]]
    result = runs[0] | {"runs": runs, "problems": problems, "contracts": contracts, "seed": seed}
    (OUT / "summary.json").write_text(json.dumps(result, ensure_ascii=False, indent=1))
    console.print(f"build/demo/summary.json, build/demo/report.html{'' if problems else ' - everything agrees.'}")
    for problem in problems:
        console.print(f"[bold red]{problem}[/]")
    raise typer.Exit(1 if problems else 0)


def main() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(demo)
    local.run(app)


if __name__ == "__main__":
    main()
