"""The command line's tables and bars (Rich). What they say is decided elsewhere; here it is only drawn."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from billing.domain.money import format_brl
from ops import follow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDEST_BAR: Final = 28
TEXT_WIDTH: Final = 60
"""Columns that counts and pace take at most, beside the name and the bar."""
PIPE_WIDTH: Final = 160
"""Columns of a table that nobody reads on a terminal."""


def console(file: TextIO | None = None) -> Console:
    """Where the tables go; wide when it is not a terminal, so that a pipe gets whole lines."""
    file = file or sys.stdout
    return Console(file=file, highlight=False, width=None if file.isatty() else PIPE_WIDTH)


def progress(view: follow.View, width: int) -> RenderableType:
    """One row per company: name, bar, counts, pace, time left; below, what a person must know. In `width` columns."""
    longest_name = max((len(row.company) for row in view.rows), default=0)
    bar = max(6, min(WIDEST_BAR, width - TEXT_WIDTH - longest_name))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(width=bar)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    rows = [*view.rows, *([view.total] if view.total and view.total.to_bill else [])]
    for row in rows:
        style = "bold" if row is view.total else ""
        grid.add_row(Text(row.company, style), _bar(row, bar), follow.counts(row), " · ".join(_pace(row)))
    lines: list[RenderableType] = [grid]
    lines += [
        Text(f"  {row.company}: {note}", _note_style(note), no_wrap=False) for row in view.rows for note in row.notes
    ]
    if view.warning:
        lines.append(Text(f"  {view.warning}", "yellow"))
    return Group(*lines)


def _pace(row: follow.Row) -> list[str]:
    return follow.pace(row) or ([row.step] if row.to_bill and row.step else [])


def _bar(row: follow.Row, width: int) -> RenderableType:
    if not row.to_bill:
        return Text("·" * width, "dim")
    return ProgressBar(total=row.to_bill, completed=row.billed, width=width, finished_style="green")


def _note_style(note: str) -> str:
    if note.startswith(("bloqueada", "espera", "sem avanço")):
        return "bold yellow"
    return "yellow"


def closing(companies: Sequence[Mapping[str, Any]], *, preview: bool) -> RenderableType:
    """CloseRun's answer, one line per company and their sum."""
    names = (
        ("planned", "no plano"),
        ("billed", "a faturar" if preview else "faturados"),
        ("skipped", "pulados"),
        ("parked", "parados"),
        ("in_doubt", "em dúvida"),
    )
    table = Table(show_edge=False, pad_edge=False, header_style="dim", show_footer=len(companies) > 1)
    table.add_column("empresa", footer="total")
    for key, title in names:
        total = sum(company.get(key) or 0 for company in companies)
        table.add_column(title, justify="right", footer=follow.thousands(total))
    billed = sum(company.get("total_billed_centavos") or 0 for company in companies)
    table.add_column(
        "valor a faturar" if preview else "valor faturado",
        justify="right",
        no_wrap=True,
        footer=format_brl(billed),
    )
    for company in companies:
        counts = [follow.thousands(company.get(key) or 0) for key, _ in names]
        table.add_row(escape(str(company["company"])), *counts, format_brl(company.get("total_billed_centavos") or 0))
    return table


def paragraphs(lines: Iterable[str]) -> None:
    """Prints each line, at a terminal wrapped between words and indented a little more than it began."""
    out = console()
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        wrapped = textwrap.wrap(
            line, out.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for part in (wrapped or [""]) if out.is_terminal else [line]:
            print(part, flush=True)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """A plain table; columns from the second on are numbers when they look like numbers."""
    kept = [tuple(row) for row in rows]
    drawn = Table(show_edge=False, pad_edge=False, header_style="dim")
    for place, title in enumerate(titles):
        numbers = all(row[place].replace(".", "").isdigit() for row in kept)
        drawn.add_column(title, justify="right" if numbers else "left")
    for row in kept:
        drawn.add_row(*map(escape, row))
    return drawn
