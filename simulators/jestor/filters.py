"""Jestor's filters: one meaning, many spellings (REST, Python, PHP and .NET clients each send their own)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    Row = Mapping[str, Any]
    Predicate = Callable[[Row], bool]

_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "eq": ("==", "=", "Exatamente igual", "É igual a", "Igual", "equal", ""),
    "ne": ("!=", "<>", "É diferente de", "Diferente", "not_equal"),
    "contains": ("like", "Contém"),
    "lacks": ("notlike", "not like", "Não contém"),
    "starts": ("Começa com", "startswith"),
    "in": ("in", "Na lista", "Está na lista", "list"),
    "not_in": ("not in", "Não está na lista", "Fora da lista", "notinlist"),
    "gt": (">", "É maior que", "Maior que", "gt"),
    "ge": (">=", "É maior ou igual a", "Maior ou igual que", "gte"),
    "lt": ("<", "É menor que", "Menor que", "lt"),
    "le": ("<=", "É menor ou igual a", "Menor ou igual que", "lte"),
    "between": ("between", "Está no intervalo", "Está entre as datas", "Entre"),
    "last_7_days": ("Está nos últimos 7 dias",),
    "last_30_days": ("Está nos últimos 30 dias",),
    "empty": ("Está vazio", "Nulo", "Nulo ou vazio", "is_null", "nullorempty"),
    "filled": ("Está preenchido", "Não é Nulo", "Não é vazio", "is_not_null", "nullorfilled"),
}
OPERATORS: Final[Mapping[str, str]] = {
    spelling.casefold(): operator for operator, spellings in _SPELLINGS.items() for spelling in spellings
}
"""Spelling (casefolded) -> operator."""
RELATIVE: Final = frozenset({"last_7_days", "last_30_days"})
"""Operators whose answer changes with the day."""


class BadFilter(ValueError):  # noqa: N818 - the name says what happened
    """The message says which field or operator is unknown."""


class Condition(NamedTuple):
    field: str
    operator: str
    value: str


def read_filters(filters: object, fields: Collection[str], *, ignore_unknown: bool) -> tuple[Condition, ...]:
    """Both accepted shapes, `[{...}]` and `{"filters": [{...}]}`, as conditions.

    A field that does not exist raises BadFilter, or is silently left out when `ignore_unknown`.
    """
    if isinstance(filters, dict):
        filters = filters.get("filters")
    if not filters:
        return ()
    if not isinstance(filters, list) or not all(isinstance(entry, dict) for entry in filters):
        raise BadFilter("O formato dos filtros é inválido")
    conditions = []
    for entry in filters:
        field = str(entry.get("field"))
        if field not in fields:
            if ignore_unknown:
                continue
            raise BadFilter(f"O campo {field} não existe")
        spelling = str(entry.get("operator") or "").casefold()
        if spelling not in OPERATORS:
            raise BadFilter(f"O operador {entry.get('operator')} não existe")
        conditions.append(Condition(field, OPERATORS[spelling], _wire(entry.get("value"))))
    return tuple(conditions)


def predicate(condition: Condition, today: date) -> Predicate:
    """Does a row satisfy the condition? Missing and null count as the empty text."""
    field, operator, value = condition
    if operator == "empty":
        return lambda row: not _wire(row.get(field))
    if operator == "filled":
        return lambda row: bool(_wire(row.get(field)))
    if operator in {"in", "not_in"}:
        wanted = frozenset(part.strip() for part in value.split(","))
        inside = operator == "in"
        return lambda row: (_wire(row.get(field)) in wanted) is inside
    if operator in {"contains", "lacks"}:
        part, positive = value.strip("%").casefold(), operator == "contains"
        return lambda row: (part in _wire(row.get(field)).casefold()) is positive
    if operator == "starts":
        return lambda row: _wire(row.get(field)).casefold().startswith(value.casefold())
    if operator in {"eq", "ne"}:
        positive = operator == "eq"
        return lambda row: _equal(row.get(field), value) is positive
    if operator in RELATIVE:
        first = str(today - timedelta(days=7 if operator == "last_7_days" else 30))
        return lambda row: first <= _wire(row.get(field))[:10] <= str(today)
    if operator == "between":
        low, _, high = value.partition(",")
        return lambda row: _within(row.get(field), low.strip(), high.strip())
    return lambda row: _ordered(row.get(field), operator, value)


def _wire(value: object) -> str:
    """A value as filters compare it: booleans are 1 and 0, null is empty, lists are comma-separated."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(_wire(part) for part in value)
    return str(value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _equal(held: object, value: str) -> bool:
    if isinstance(held, bool):
        return _wire(held) == {"true": "1", "false": "0"}.get(value.casefold(), value)
    if isinstance(held, int | float):
        return held == _number(value)
    return _wire(held) == value


def _ordered(held: object, operator: str, value: str) -> bool:
    text = _wire(held)
    if not text:
        return False
    left, right = _number(text), _number(value)
    order = _compare(left, right) if left is not None and right is not None else _compare(text, value)
    return {"gt": order > 0, "ge": order >= 0, "lt": order < 0, "le": order <= 0}[operator]


def _compare(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _within(held: object, low: str, high: str) -> bool:
    return _ordered(held, "ge", low) and (not high or _ordered(held, "le", high))
