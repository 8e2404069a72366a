"""The numbers of docs/performance.md.

    python -m bench [--contracts 500] [--virtual] [--no-faults]      how fast contracts are billed, beside naive loops
    python -m bench plan [--contracts 100000]                        what planning a company costs

    python -m bench receive [--webhooks 1000]                        how fast a webhook is received, cold and warm

Write build/bench/rate.json, plan.json and receive.json; exit with 0 only when what was promised was measured.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import planning, rate
from bench import receive as receiving
from bench.world import Terms
from simulators.omie.faults import FaultError
from simulators.omie.switches import SwitchError

OUT: Final = Path(__file__).resolve().parent.parent / "build" / "bench"
LOST_REPLIES: Final = "lost_reply:methods=FaturarContrato:share=0.03"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def bill(  # noqa: PLR0917 - typer's options
    context: typer.Context,
    contracts: Annotated[int, typer.Option(min=1, help="Contracts of one company.")] = 500,
    seed: int = 7,
    latency_ms: Annotated[float, typer.Option(help="Mean time of an Omie call.")] = 60.0,
    virtual: Annotated[bool, typer.Option("--virtual", help="On a virtual clock: seconds instead of minutes.")] = False,
    faults: Annotated[bool, typer.Option(help="A second table, with 3 % of the replies lost (virtual clock).")] = True,
    limit: Annotated[float, typer.Option(help="Seconds after which a naive loop is stopped.")] = 180.0,
    switch: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the Omie simulator.")] = None,
) -> None:
    """Bill the same contracts with our loop and with three naive ones."""
    if context.invoked_subcommand:
        return
    console = Console()
    switches = dict(pair.partition("=")[::2] for pair in switch or [])
    terms = Terms(contracts, seed, latency_ms, switches=switches)
    lossy = Terms(contracts, seed, latency_ms, LOST_REPLIES, switches)
    terms.switched()  # a wrong one is told now
    pace = "a virtual clock" if virtual else f"real time; up to {max(limit, contracts * 60 / rate.CEILING):.0f} s"
    console.print(f"{contracts} contracts of one company, {latency_ms:g} ms a call, {pace} ...")
    plain = rate.on_the_virtual_clock(terms, limit) if virtual else rate.in_real_time(terms, limit)
    _show(console, "No faults", plain)
    lost = rate.on_the_virtual_clock(lossy, limit) if faults else []
    if lost:
        _show(console, "3 % of FaturarContrato's replies lost after Omie billed (virtual clock)", lost)
    problems = rate.shortcomings(plain[0], lost[0] if lost else None)
    _write(
        console,
        "rate.json",
        {
            **asdict(terms),
            "clock": "virtual" if virtual else "real",
            "ceiling_per_minute": rate.CEILING,
            "limit_seconds": limit,
            "no_faults": [asdict(result) for result in plain],
            "lost_replies": [asdict(result) for result in lost],
            "problems": problems,
        },
        problems,
    )


@app.command()
def plan(
    contracts: Annotated[
        int, typer.Option(min=1, help="Contracts to bill; the dirt of real life comes on top.")
    ] = 100_000,
    seed: int = 7,
) -> None:
    """Plan one company's month, each time in a process of its own."""
    console = Console()
    figures = planning.measure(contracts, seed)
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in planning.told(figures):
        table.add_row(f"[dim]{name}[/]", value)
    console.print(table)
    problems = planning.shortcomings(figures)
    _write(console, "plan.json", figures | {"problems": problems}, problems)


@app.command()
def receive(
    webhooks: Annotated[int, typer.Option(min=1, help="Of each kind, through the deployed API.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Cold starts of each handler.")] = 15,
) -> None:
    """Receive webhooks cold, beside a conventional handler, and warm, on the emulator."""
    console = Console()
    console.print(f"{rounds} cold starts of each handler, then {webhooks} webhooks of each kind on the emulator ...")
    figures = {"cold": receiving.cold(rounds), "warm": receiving.warm(webhooks)}
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in receiving.told(figures):
        table.add_row(f"[dim]{name}[/]", value)
    console.print(table)
    problems = receiving.shortcomings(figures)
    _write(console, "receive.json", figures | {"problems": problems}, problems)


def _show(console: Console, title: str, results: Sequence[rate.Result]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for one in results:
        table.add_column(one.name, justify="right", max_width=16)
    rows: list[tuple[str, Callable[[rate.Result], str]]] = [
        ("billed", lambda one: _bad(one.billed != one.contracts, f"{one.billed} of {one.contracts}")),
        ("billed twice", lambda one: _bad(one.billed_twice, one.billed_twice)),
        ("seconds", lambda one: f"{one.seconds}{' (stopped)' if one.stopped else ''}"),
        ("share of ceiling", lambda one: f"{one.share_of_ceiling:.1%}"),
        ("fullest minute", lambda one: str(one.fullest_minute)),
        ("429", lambda one: _bad(one.throttled_429, one.throttled_429)),
        ("425", lambda one: _bad(one.refused_425, one.refused_425)),
        ("30-minute blocks", lambda one: _bad(one.blocks, one.blocks)),
        ("1880", lambda one: _bad(one.busy_1880, one.busy_1880)),
        ("REDUNDANT", lambda one: _bad(one.redundant, one.redundant)),
        ("parallel writes", lambda one: _bad(one.parallel_writes, one.parallel_writes)),
    ]
    for name, tell in rows:
        table.add_row(f"[dim]{name}[/]", *map(tell, results))
    console.print()
    console.print(table)


def _bad(is_bad: object, text: object) -> str:
    return f"[bold red]{text}[/]" if is_bad else str(text)


def _write(console: Console, name: str, figures: dict[str, Any], problems: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    console.print(f"\nbuild/bench/{name}{'' if problems else ' - as promised.'}")
    for problem in problems:
        console.print(f"[bold red]{problem}[/]")
    raise typer.Exit(1 if problems else 0)


def main() -> None:
    try:
        app(prog_name="python -m bench")
    except (FaultError, SwitchError, RuntimeError) as error:
        sys.exit(f"bench: {error}")


if __name__ == "__main__":
    main()
