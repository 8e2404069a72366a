"""The numbers of docs/performance.md.

    python -m bench [--contracts 500] [--profile live] [--virtual]   how fast a month is billed, beside naive loops
    python -m bench plan [--contracts 100000]                        what planning a company costs

    python -m bench receive [--webhooks 1000]                        how fast a webhook is received, cold and warm

Write build/bench/rate.json, plan.json and receive.json; exit with 0 only when what was promised was measured.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import planning, rate
from bench import receive as receiving
from bench.floor import CEILING, PROMISED_CALLS, Margin, Work
from bench.world import Terms, numbers
from simulators.omie.faults import FaultError
from simulators.omie.profiles import PROFILES
from simulators.omie.switches import SwitchError

OUT: Final = Path(__file__).resolve().parent.parent / "build" / "bench"
LOST: Final = PROFILES["live"].faults
NOTHING_LOST, SOME_LOST = "Nothing lost", "2.9 % of all calls lost (virtual clock)"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def bill(  # noqa: PLR0917 - typer's options
    context: typer.Context,
    contracts: Annotated[int, typer.Option(min=1, help="Contracts of one company.")] = 500,
    seed: int = 7,
    profile: Annotated[
        str, typer.Option(help="demo, or live: latency and switches of an Omie as live accounts show it.")
    ] = "demo",
    latency_ms: Annotated[
        float | None, typer.Option(help="Mean time of an Omie call, instead of the profile's.")
    ] = None,
    virtual: Annotated[bool, typer.Option("--virtual", help="On a virtual clock: seconds instead of minutes.")] = False,
    faults: Annotated[bool, typer.Option(help="A second table, with 2.9 % of all calls lost (virtual clock).")] = True,
    limit: Annotated[float, typer.Option(help="Seconds after which a naive loop is stopped.")] = 180.0,
    switch: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the Omie simulator; wins over the profile's.")
    ] = None,
) -> None:
    """Bill one company's month, in the demo's mix, with our run and with naive loops."""
    if context.invoked_subcommand:
        return
    if profile not in PROFILES:
        raise typer.BadParameter(f"one of {', '.join(PROFILES)}, not {profile}", param_hint="--profile")
    console = Console()
    as_profiled = PROFILES[profile]
    switches = {**as_profiled.switches, **dict(pair.partition("=")[::2] for pair in switch or [])}
    latency = as_profiled.latency_ms if latency_ms is None else latency_ms
    terms = Terms(contracts, seed, latency, switches=switches)
    terms.switched()  # a wrong one is told now
    least = Work(contracts, 0, 0).floor(latency / 1000)
    pace = "a virtual clock" if virtual else f"real time, {least:.0f} s at least"
    console.print(f"{contracts} contracts of one company, profile {profile}, {latency:g} ms a call, {pace} ...")
    measure = rate.on_the_virtual_clock if virtual else rate.in_real_time
    compared = {NOTHING_LOST: measure(terms, limit)}
    if faults:
        compared[SOME_LOST] = rate.on_the_virtual_clock(replace(terms, faults=LOST), limit)
    for title, one in compared.items():
        _show(console, title, one)
    _show_calls(console, {title: one.margin for title, one in compared.items()})
    existing = len(numbers(terms.world()))
    console.print(
        f"The naive loops are given the {existing} contracts that exist in Omie: they create none, and alter none."
    )
    problems = [f"{title}: {told}" for title, one in compared.items() for told in rate.shortcomings(one)]
    _write(
        console,
        "rate.json",
        {
            **asdict(terms),
            "profile": profile,
            "clock": "virtual" if virtual else "real",
            "ceiling_per_minute": CEILING,
            "limit_seconds": limit,
            "nothing_lost": compared[NOTHING_LOST].figures(),
            "some_lost": {"faults": LOST, **compared[SOME_LOST].figures()} if faults else None,
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


def _show(console: Console, title: str, compared: rate.Comparison) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for one in compared.loops:
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
        table.add_row(f"[dim]{name}[/]", *map(tell, compared.loops))
    console.print()
    console.print(table)
    margin = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _margin_rows(compared.margin):
        margin.add_row(f"[dim]{name}[/]", value)
    console.print(margin)


def _margin_rows(margin: Margin) -> list[tuple[str, str]]:
    work, calls = margin.work, margin.total_calls
    return [
        ("ours: to bill, to alter first, to create first", f"{work.contracts}, {work.alterations}, {work.creations}"),
        ("floor, seconds", f"{margin.floor_seconds:.1f}"),
        (f"promised: at most {margin.allowed}, seconds", f"{margin.allowed_seconds:.1f}"),
        (
            "plan ready until the last contract was billed, seconds",
            _bad(margin.late, f"{margin.billed_seconds:.1f}"),
        ),
        ("that against the floor", str(margin.ratio)),
        ("plan ready until Settle had nothing left, seconds", f"{margin.settled_seconds:.1f}"),
        ("Omie calls, planning to Settle's end", f"{calls}, {calls / work.contracts:.2f} a contract"),
        (
            f"beyond the {work.writes} needed writes, a contract (promised: {PROMISED_CALLS})",
            _bad(margin.calls_beyond > PROMISED_CALLS, margin.calls_beyond),
        ),
    ]


def _show_calls(console: Console, margins: Mapping[str, Margin]) -> None:
    table = Table(title="Our calls", title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for title in margins:
        table.add_column(title, justify="right", max_width=20)
    for method in sorted({method for margin in margins.values() for method in margin.calls}):
        table.add_row(f"[dim]{method}[/]", *(str(margin.calls.get(method, 0)) for margin in margins.values()))
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
