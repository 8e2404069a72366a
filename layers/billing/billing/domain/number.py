"""Whole numbers and percentages as Jestor, Omie and people write them. What can be read in two ways is refused."""

import re
from decimal import Decimal
from typing import Final

from billing.domain.text import of, shown, visible

LIMIT: Final = 10**15
"""Omie's codes have ten digits, quantities fewer: from here on it is a slip of the keyboard."""

_WHOLE: Final = re.compile(r"(?P<units>[0-9]+)(?:[.,]0{1,2})?|(?P<groups>[0-9]{1,3}(?:\.[0-9]{3})+)(?:,0{1,2})?")
_AMBIGUOUS: Final = re.compile(r"([0-9]{1,3})[.,]([0-9]{3})")
_PERCENT: Final = re.compile(r"[0-9]{1,6}(?:[.,][0-9]{1,12})?")


class NumberError(ValueError):
    """The value is no such number, or could be two. The text is Portuguese, for billing people."""


def whole(value: object) -> int:
    """A whole number of zero or more.

    Accepts `int`, and a `float` or `Decimal` without a fraction; text as "1000", "2.0", "2,00", "1.000,00" and
    "2.310.000.001". One separator followed by exactly three digits ("1.000", "1,000") is refused: it is a thousand to
    one reader and one to the other.

    Raises:
        NumberError: no whole number, negative, ambiguous, or `LIMIT` and more.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise NumberError(f'"{shown(value)}" não é um número inteiro; escreva só os algarismos')
    return _of_text(value) if isinstance(value, str) else _of_number(value)


def percent(text: str) -> Decimal:
    """From "2", "2,5", "2.5" or "2,5 %".

    Raises:
        NumberError: no such percentage.
    """
    number = visible(text).removesuffix("%").strip()
    if _PERCENT.fullmatch(number) is None:
        raise NumberError(f'"{shown(text)}" não é um percentual; escreva como 2 ou 2,5')
    return Decimal(number.replace(",", "."))


def change(text: str) -> Decimal:
    """As `percent`, also below zero: the monthly variation of an index.

    Raises:
        NumberError: no such percentage.
    """
    number = visible(text).replace("\N{MINUS SIGN}", "-")
    return -percent(number[1:]) if number.startswith("-") else percent(number)


def _of_number(value: float | Decimal) -> int:
    exact = value if isinstance(value, int) else Decimal(of(value)) if isinstance(value, float) else value
    if isinstance(exact, Decimal) and not exact.is_finite():
        raise NumberError(f'"{shown(value)}" não é um número inteiro; escreva só os algarismos')
    if exact < 0:
        raise NumberError(f'"{shown(value)}" não é um número inteiro de zero em diante')
    if exact >= LIMIT:
        raise NumberError(f"{shown(value)} é grande demais; confira se não sobrou um algarismo")
    if exact != int(exact):
        raise NumberError(f'"{shown(value)}" não é um número inteiro: tem fração')
    return int(exact)


def _of_text(value: str) -> int:
    text = visible(value)
    if unclear := _AMBIGUOUS.fullmatch(text):
        raise NumberError(f'"{shown(text)}" é ambíguo: escreva {unclear[1]}{unclear[2]} (sem ponto) ou {unclear[1]}')
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise NumberError(f'"{shown(value)}" não é um número inteiro; escreva só os algarismos')
    digits = match["units"] or match["groups"].replace(".", "")
    if len(digits.lstrip("0")) > len(str(LIMIT)) - 1:
        raise NumberError(f'"{shown(text)}" é grande demais; confira se não sobrou um algarismo')
    return int(digits)
