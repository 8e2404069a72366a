"""What every command is given: the clock, the environment, the stack (found when first needed), a voice.

`main` hands a `Tools` to Typer as the context's object; tests hand their own. A command asks `desk(ctx)`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import webbrowser
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import httpx

from billing.clock import Clock, SystemClock
from billing.domain.month import BillingMonth, MonthError
from billing.domain.text import visible
from ops.errors import InputError, OperatorError
from ops.stack import LOCAL_FILE, Place, Stack, connect, find_place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    import typer


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


@dataclass(frozen=True)
class Tools:
    """The outside world of the command line. Tests replace it whole; nothing is ever patched.

    http: a client for Omie and Jestor.
    at_a_terminal: whether a person can be asked and shown a moving bar.
    open_page: shows a file in the browser.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Clock = field(default_factory=SystemClock)
    connect: Callable[[Place], Stack] = connect
    local_file: Path = LOCAL_FILE
    http: Callable[[], httpx.Client] = lambda: httpx.Client(timeout=httpx.Timeout(30.0, connect=5.0))
    at_a_terminal: Callable[[], bool] = _at_a_terminal
    open_page: Callable[[str], object] = webbrowser.open


class Desk:
    def __init__(self, tools: Tools, stack_name: str | None = None) -> None:
        self.tools = tools
        self._stack_name = stack_name

    @cached_property
    def place(self) -> Place:
        place = find_place(self.tools.environ, self._stack_name, self.tools.local_file)
        if place.local:
            address = place.env.get("AWS_ENDPOINT_URL", "endereço não informado")
            self.note(f"Usando a pilha local {place.stack} ({address}).")
        return place

    @cached_property
    def stack(self) -> Stack:
        return self.tools.connect(self.place)

    def now(self) -> datetime:
        return self.tools.clock.now()

    def month(self, text: str | None) -> BillingMonth:
        """The month typed, or the present one in São Paulo. Raises InputError."""
        present = BillingMonth.of(self.now())
        if text is None:
            return present
        try:
            return BillingMonth.parse(text)
        except MonthError:
            raise InputError(
                f"Mês inválido: {text}. Escreva ano e mês com traço, por exemplo --month {present}."
            ) from None

    def say(self, line: str) -> None:
        """To the person, as a result."""
        print(line, flush=True)

    def tell(self, text: str) -> None:
        """As `say`, for sentences: on a terminal they are broken between words, under their own indent."""
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in text.splitlines() or [""]:
            self.say(wrapped(line, width))

    def note(self, line: str) -> None:
        """To the person, beside the result."""
        print(line, file=sys.stderr, flush=True)

    def say_json(self, value: Mapping[str, Any]) -> None:
        print(json.dumps(value, ensure_ascii=False, default=str), flush=True)

    def need_a_person(self, what_else: str) -> None:
        """Raises InputError where nobody can be asked, with what to do about it."""
        if not self.tools.at_a_terminal():
            raise InputError(f"Sem um terminal não há como perguntar: repita com --yes{what_else}.")

    def ask(self, question: str, undone: str) -> None:
        """Raises OperatorError, with what was left undone, unless the person says yes."""
        self.note(f"{question} [s/N] ")
        if visible(sys.stdin.readline()).casefold() not in {"s", "sim"}:
            raise OperatorError(f"Cancelado; nada foi {undone}.")


_AMOUNT: Final = "R$\N{NO-BREAK SPACE}"


def wrapped(line: str, width: int | None) -> str:
    """A line broken between words into lines of `width` columns; nothing that a person may copy is cut in two."""
    if width is None or len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    broken = textwrap.fill(
        line.strip().replace("R$ ", _AMOUNT),
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return broken.replace(_AMOUNT, "R$ ")


def desk(ctx: typer.Context) -> Desk:
    found = ctx.find_object(Desk)
    if found is None:
        raise LookupError("the command line's callback puts the desk in the context")
    return found
