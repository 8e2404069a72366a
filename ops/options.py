"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from billing.domain.number import NumberError, whole

if TYPE_CHECKING:
    from collections.abc import Callable

Month = Annotated[
    str | None,
    typer.Option("--month", metavar="AAAA-MM", help="Mês de competência; sem ela, o mês atual em São Paulo."),
]
Company = Annotated[str, typer.Option("--company", metavar="EMPRESA", help="A empresa, como está na configuração.")]
Companies = Annotated[
    list[str] | None,
    typer.Option("--company", metavar="EMPRESA", help="Só esta empresa; repita para várias. Sem ela, todas."),
]
Json = Annotated[bool, typer.Option("--json", help="Um único objeto JSON na saída, para programas.")]


def whole_number(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """The parser of a whole number; like a field of Jestor's it refuses what could be two numbers."""
    limits = f"ser {least} ou mais" if most is None else f"ser de {least} a {most}"

    def parse(text: str) -> int:
        try:
            number = whole(text)
        except NumberError as error:
            raise typer.BadParameter(f"{error}.") from None
        if number < least or (most is not None and number > most):
            raise typer.BadParameter(f"deve {limits}.")
        return number

    return parse
