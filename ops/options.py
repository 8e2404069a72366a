"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

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
