"""Omie's page dialects: same idea, different words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from simulators.omie.answers import Rendered, empty_page, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Dialect(NamedTuple):
    page: str
    size: str
    pages: str
    shown: str
    total: str


CLASSIC = Dialect("pagina", "registros_por_pagina", "total_de_paginas", "registros", "total_de_registros")
MODERN = Dialect("nPagina", "nRegPorPagina", "nTotPaginas", "nRegistros", "nTotRegistros")
LOT = Dialect("nPagina", "nRegistros", "nTotPaginas", "nRegistros", "nTotRegistros")

DEFAULT_SIZE = 50


def one_page(
    param: dict[str, Any],
    dialect: Dialect,
    list_key: str,
    items: Sequence[T],
    render: Callable[[T], str],
    *,
    largest: int,
    empty_is_fault: bool = True,
) -> Rendered:
    """The requested page of `items` (a slice: no work on the other pages), each rendered to JSON text.

    Raises:
        OmieFault: 5113 beyond the end or when nothing was found, unless this method answers an empty list.
    """
    number = int(param.get(dialect.page) or 1)
    if number < 1:
        raise invalid(dialect.page, number, "a partir de 1")
    size = min(int(param.get(dialect.size) or DEFAULT_SIZE), largest)
    if size < 1:
        raise invalid(dialect.size, size, f"de 1 a {largest}")
    total = len(items)
    part = items[(number - 1) * size : number * size]
    if not part and empty_is_fault:
        raise empty_page(number)
    pages = -(-total // size)
    head = (
        f'{{"{dialect.page}":{number},"{dialect.pages}":{pages},'
        f'"{dialect.shown}":{len(part)},"{dialect.total}":{total},"{list_key}":['
    )
    return Rendered(head + ",".join([render(item) for item in part]) + "]}")
