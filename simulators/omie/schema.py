"""Omie's documented tags, types and lengths (schema.json), compiled once; `check` refuses what Omie refuses."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from simulators.omie.answers import CLIENT, OmieFault
from simulators.omie.dates import read_br

STRING: Final = 0
DATE: Final = 1
NUMBER: Final = 2
BOOLEAN: Final = 3
COMPLEX: Final = 4
LIST: Final = 5

_DATE_NAME = re.compile(r"d[A-Z]\w*|data(_\w+)?|filtrar_por_\w*_(de|ate)|saldo_data|data_\w+")
_TAX_REFORM = re.compile(r"ibs|cbs|classtrib|indoper", re.IGNORECASE)
_TAX_BLOCKS = frozenset({"itemImpostos", "impostos", "Valores"})


class Field(NamedTuple):
    kind: int
    longest: int
    of: Complex | None


class Complex:
    """One complex type: its name in Omie's documentation and its fields."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: dict[str, Field] = {}


class Method(NamedTuple):
    param: Complex
    reply: Complex


@cache
def services() -> dict[str, dict[str, Method]]:
    """Path -> method -> its parameter's and reply's types."""
    document = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    del document["_source"]
    return {path: _compile(part["methods"], part["types"]) for path, part in document.items()}


def _compile(methods: dict[str, list[str]], types: dict[str, dict[str, str]]) -> dict[str, Method]:
    compiled = {name: Complex(name) for name in types}
    for name, tags in types.items():
        compiled[name].fields = {tag: _field(tag, text, compiled) for tag, text in tags.items()}
    return {name: Method(compiled[param], compiled[reply]) for name, (param, reply) in methods.items()}


def _field(tag: str, text: str, types: dict[str, Complex]) -> Field:
    if text[0] == ">":
        return Field(COMPLEX, 0, types[text[1:]])
    if text[0] == "[":
        return Field(LIST, 0, types[text[1:-1]])
    if text == "number":
        return Field(NUMBER, 0, None)
    if text == "boolean":
        return Field(BOOLEAN, 0, None)
    longest = int(text[7:-1]) if text.startswith("string(") else 0
    is_date = longest == 10 and _DATE_NAME.fullmatch(tag) is not None
    return Field(DATE if is_date else STRING, longest, None)


def check(value: dict[str, Any], kind: Complex, *, nulls: bool = False) -> None:
    """Refuse a parameter as Omie does: the first unknown tag, wrong type or over-long text.

    Numbers sent as text are read (Omie's own example sends nCodOS so); they are replaced in place.

    Raises:
        OmieFault: 5001 unknown tag, 1073 wrong type, the "número máximo de caracteres" text for a length.
    """
    fields = kind.fields
    for tag, item in value.items():
        field = fields.get(tag)
        if field is None:
            if kind.name in _TAX_BLOCKS and _TAX_REFORM.search(tag):
                continue  # IBS/CBS tags of 2026 are newer than the crawl
            raise OmieFault(
                5001, f"ERROR: Tag [{tag.upper()}] não faz parte da estrutura do tipo complexo [{kind.name}]!"
            )
        wanted = field.kind
        if item is None and nulls:
            continue
        if wanted <= DATE:
            if type(item) is not str:
                raise _wrong_type(tag, "string")
            if 0 < field.longest < len(item):
                raise OmieFault(
                    CLIENT,
                    f"ERROR: O número máximo de caracteres permitido para o elemento [{tag}] é de {field.longest}",
                )
            if wanted == DATE and item.strip() and read_br(item) is None:
                raise _wrong_type(tag, "data dd/mm/aaaa")
        elif wanted == NUMBER:
            if type(item) is not int and type(item) is not float:
                value[tag] = _number(tag, item)
        elif wanted == BOOLEAN:
            if type(item) is not bool:
                raise _wrong_type(tag, "boolean")
        elif field.of is not None:
            _check_nested(tag, item, field, nulls=nulls)


def _check_nested(tag: str, item: object, field: Field, *, nulls: bool) -> None:
    if field.of is None:
        return
    if field.kind == COMPLEX:
        if not isinstance(item, dict):
            raise _wrong_type(tag, field.of.name)
        check(item, field.of, nulls=nulls)
        return
    if not isinstance(item, list):
        raise _wrong_type(tag, f"lista de {field.of.name}")
    for one in item:
        if not isinstance(one, dict):
            raise _wrong_type(tag, field.of.name)
        check(one, field.of, nulls=nulls)


def _number(tag: str, item: object) -> int | float:
    if isinstance(item, str):
        if not item:
            return 0
        try:
            return int(item)
        except ValueError:
            pass
        try:
            return float(item)
        except ValueError:
            pass
    raise _wrong_type(tag, "number")


def _wrong_type(tag: str, wanted: str) -> OmieFault:
    return OmieFault(1073, f"ERROR: O conteúdo da tag [{tag}] não é do tipo [{wanted}]!")
