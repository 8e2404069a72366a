"""JSON from outside, read so that one value that Python cannot hold does not take the whole answer with it."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

DEEPEST: Final = 64
"""Lists and objects inside one another; what lies deeper is read as null. Jestor and Omie nest five deep."""
_LONGEST_INT: Final = 40
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def loads(body: bytes) -> Any:
    """Numbers with a point as `Decimal`.

    Only where that fails: a number too big for Python is `Decimal` ("Infinity" beyond its exponents too), bytes that
    are not UTF-8 are lone surrogates, which no reader of a row accepts, and what is nested too deep is null.

    Raises:
        ValueError: not JSON.
    """
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        try:
            return json.loads(_shallow(text), parse_float=_decimal, parse_int=_whole)
        except RecursionError:  # never closed: no JSON whatever comes after it
            raise ValueError("nested too deep, and not closed") from None


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _LONGEST_INT else Decimal(digits)


def _decimal(number: str) -> Decimal:
    try:
        return Decimal(number)
    except InvalidOperation:
        return Decimal("Infinity")


def _shallow(text: str) -> str:
    """The text with null in the place of every list and object that lies deeper than DEEPEST."""
    kept: list[str] = []
    depth = since = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept.append(text[since : token.start()])
        elif mark in "]}":
            if depth == DEEPEST + 1:
                kept.append("null")
                since = token.end()
            depth -= 1
    return "".join([*kept, text[since:]]) if depth == 0 else text
