"""The line that a customer types to pay a boleto (linha digitável), from what Omie gives as its barcode.

    barcode, 44 digits    BBBM D FFFF VVVVVVVVVV LLLLL LLLLLLLLLL LLLLLLLLLL
                          bank and currency, check digit (modulo 11), due date factor, amount, the bank's own 25
    line, 47 digits       BBBMLLLLL d  LLLLLLLLLL d  LLLLLLLLLL d  D  FFFFVVVVVVVVVV
                          three fields, each with its check digit (modulo 10), then the barcode's own, factor and amount

FEBRABAN's layout for boletos de cobrança. A wrong line pays somebody else or nobody: what does not agree with its check
digits is given as no line at all.
"""

import re

BARCODE_LENGTH, LINE_LENGTH = 44, 47


def typeable_line(code: str) -> str:
    """The line of a barcode (44 digits), or of one that is a line already (47), in groups as banks print it.

    Empty for anything else, for a check digit that does not agree, and for the slips of utilities and taxes (they begin
    with 8 and have other lines).
    """
    digits = re.sub(r"[\s.\-]", "", code)
    if not digits.isascii() or not digits.isdigit() or digits[0] == "8":
        return ""
    barcode = digits if len(digits) == BARCODE_LENGTH else _barcode_of(digits)
    if len(barcode) != BARCODE_LENGTH or barcode[4] != _modulo_11(barcode[:4] + barcode[5:]):
        return ""
    line = _line_of(barcode)
    if len(digits) == LINE_LENGTH and digits != line:
        return ""
    return f"{line[:5]}.{line[5:10]} {line[10:15]}.{line[15:21]} {line[21:26]}.{line[26:32]} {line[32]} {line[33:]}"


def _barcode_of(line: str) -> str:
    """The barcode whose line it would be, its fields' check digits left out; empty for a line of another length."""
    if len(line) != LINE_LENGTH:
        return ""
    return line[:4] + line[32:] + line[4:9] + line[10:20] + line[21:31]


def _line_of(barcode: str) -> str:
    free = barcode[19:]
    fields = (barcode[:4] + free[:5], free[5:15], free[15:])
    return "".join(field + _modulo_10(field) for field in fields) + barcode[4:19]


def _modulo_10(field: str) -> str:
    """Weights 2 and 1 from the right; the digits of each product are summed."""
    total = 0
    for place, digit in enumerate(reversed(field)):
        value = int(digit) * (2 - place % 2)
        total += value - 9 * (value > 9)
    return str(-total % 10)


def _modulo_11(digits: str) -> str:
    """Weights 2 to 9 from the right, again and again; 0, 10 and 11 become 1."""
    total = sum(int(digit) * (2 + place % 8) for place, digit in enumerate(reversed(digits)))
    check = 11 - total % 11
    return str(check if 1 < check < 10 else 1)
