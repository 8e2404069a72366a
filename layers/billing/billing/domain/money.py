"""Money is a whole number of centavos (`int`) everywhere in this system.

Decimals exist only at the edges: what Jestor and people write comes in through `parse_money`; what people
read goes out through `format_brl`, what Omie's JSON carries through `to_json`.
"""

import re
from decimal import Decimal

from billing.domain.text import shown, visible

LIMIT = 10**12
"""Centavos. R$ 10 billion and more is a slip of the keyboard."""

_FLOAT_NOISE = 6
"""Decimal places of a float that mean something: 0.1 + 0.2 is 0.30, but 10.005 stays refused."""

_SPLIT = re.compile(r"[0-9.,]\s+[0-9.,]")

_NUMBER = re.compile(
    r"(?P<thousands>[0-9]{1,3}(?:\.[0-9]{3})+)(?:,(?P<centavos>[0-9]+))?"
    r"|(?P<units>[0-9]+)(?:(?P<separator>[.,])(?P<decimals>[0-9]+))?"
)


class MoneyError(ValueError):
    """The value is no amount of money, or could be two. The text is Portuguese, for billing people."""


def parse_money(value: object) -> int:
    """Centavos of an amount in reais, as Jestor or a person writes it.

    Accepts `int`, `float`, `Decimal` and text: "1200", "1200.50", "1200,5", "1.200,50", "1.200.000",
    "R$ 1.200,50", "-10,00". Decimals beyond the second must be zeros (a float's binary noise is forgiven).

    One separator followed by exactly three digits ("1.200", "1,200") is refused: it is one thousand two
    hundred to one reader and one real twenty to the other, and a wrong guess is a wrong invoice. The American
    "1,200.50" is refused too, and so are digits with a blank between them: "10 50" may be R$ 10,50 or R$ 1.050,00.

    Raises:
        MoneyError: not a number, ambiguous, a fraction of a centavo, or `LIMIT` centavos and more.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise MoneyError(f"valor {'vazio' if value is None else 'não numérico'}: escreva como 1200,50 ou 1.200,50")
    return _parse_text(value) if isinstance(value, str) else _parse_number(value)


def _parse_number(value: float | Decimal) -> int:
    exact = Decimal(value) if isinstance(value, int | Decimal) else Decimal(repr(value))
    if not exact.is_finite():
        raise MoneyError(f"{shown(value)} não é um valor em reais")
    if abs(exact) >= LIMIT // 100:
        raise MoneyError(f"valor {shown(value)} grande demais: confira se não sobrou um zero")
    if isinstance(value, float):
        exact = round(exact, _FLOAT_NOISE)
    return _whole_centavos(exact, shown(value))


def _parse_text(value: str) -> int:
    typed = visible(value)
    if _SPLIT.search(typed):
        raise MoneyError(f'"{shown(value)}" tem um espaço entre os algarismos: escreva como 1200,50 ou 1.200,50')
    text = "".join(typed.split())  # str.split knows the no-break space that spreadsheets put after R$
    unsigned = text.replace("R$", "", 1).removeprefix("-")
    negative = "-" in text
    match = _NUMBER.fullmatch(unsigned)
    if match is None:
        what = f'"{shown(value)}" não é um valor em reais' if text else "valor vazio"
        raise MoneyError(f"{what}: escreva como 1200,50 ou 1.200,50")
    thousands, centavos, units, separator, decimals = match.group(
        "thousands", "centavos", "units", "separator", "decimals"
    )
    if (separator and len(decimals) == 3) or (thousands and centavos is None and thousands.count(".") == 1):
        readings = unsigned.replace(",", ".").split(".")
        raise MoneyError(
            f'"{shown(value)}" é ambíguo: escreva {readings[0]}{readings[1]},00 (sem ponto) '
            f"ou {readings[0]},{readings[1][:2]}"
        )
    if len(unsigned) > 20:
        raise MoneyError(f"valor {shown(unsigned)} grande demais: confira se não sobrou um zero")
    whole = thousands.replace(".", "") if thousands else units
    exact = Decimal(f"{whole}.{(centavos if thousands else decimals) or '0'}")
    if exact >= LIMIT // 100:
        raise MoneyError(f"valor {unsigned} grande demais: confira se não sobrou um zero")
    return _whole_centavos(-exact if negative else exact, shown(value))


def _whole_centavos(exact: Decimal, shown: str) -> int:
    centavos = exact * 100
    if centavos != centavos.to_integral_value():
        raise MoneyError(f"{shown} tem fração de centavo: use no máximo duas casas decimais")
    return int(centavos)


def format_brl(centavos: int) -> str:
    """As Brazilian people read it: 120050 -> "R$ 1.200,50", -5 -> "-R$ 0,05"."""
    whole, cents = divmod(abs(centavos), 100)
    sign = "-" if centavos < 0 else ""
    return f"{sign}R$ {whole:,}".replace(",", ".") + f",{cents:02d}"


def reais(centavos: int) -> Decimal:
    """Exact reais with two decimals: 120050 -> Decimal("1200.50")."""
    return Decimal(centavos).scaleb(-2)


def to_json(centavos: int) -> float:
    """The JSON decimal Omie expects: 120050 -> 1200.5. Prints with two decimals at most below `LIMIT`."""
    return centavos / 100
