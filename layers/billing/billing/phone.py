"""A phone as people typed it becomes the E.164 number a WhatsApp message may go to, or the reason why none may.

The same reading gives the area code and number that Omie's register of customers takes.

A wrong number sends one customer's invoice to another person: what is doubtful is said and not used. Reasons are
Portuguese, for the contract's record, and never repeat the number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

COUNTRY: Final = "BR"
COUNTRY_CODE: Final = 55
_MOBILE: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
_WITH_AREA: Final = _MOBILE | {PhoneNumberType.FIXED_LINE}
SHARED_BY: Final = 3
"""So many different customers with one number: it is somebody's own, or a filler."""
_COUNTING: Final = ("0123456789", "9876543210")


class Phone(NamedTuple):
    """`number` in E.164, or empty with the `problem`."""

    number: str
    problem: str = ""


def read_phone(text: str | None, shared: Collection[str] = ()) -> Phone:
    """The number to write to.

    Args:
        text: as the record has it: "(11) 98888-7777", "011 98888.7777 (whats)", "+351 912 345 678".
        shared: marks (`mark`) of the numbers that several customers have.
    """
    typed = _first_number(text or "")
    if not typed:
        return Phone("", "o cliente está sem telefone.")
    try:
        number = phonenumbers.parse(typed, COUNTRY)
    except NumberParseException:
        return Phone("", "o telefone do cliente não é um número de telefone.")
    if _filler(str(number.national_number)):
        return Phone("", "o telefone do cliente é um número de preenchimento; peça o verdadeiro.")
    if not phonenumbers.is_valid_number(number):
        return Phone("", "o telefone do cliente não existe assim: confira o DDD e o nono dígito.")
    kind = phonenumbers.number_type(number)
    if kind not in _MOBILE:
        return Phone("", "o telefone do cliente não é de celular; informe o do WhatsApp.")
    found = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if mark(found) in shared:
        return Phone("", f"o mesmo telefone está em {SHARED_BY} ou mais clientes; confira de quem é.")
    return Phone(found)


def area_and_number(text: str | None) -> tuple[str, str]:
    """(area code, number) of a Brazilian phone, of a mobile or not, as Omie keeps it.

    Both are empty for everything else: a number of another country, a toll-free or a filler one, one that does not
    exist. The city would refuse the NFS-e for it.
    """
    try:
        number = phonenumbers.parse(_first_number(text or ""), COUNTRY)
    except NumberParseException:
        return "", ""
    kind = phonenumbers.number_type(number)
    national = str(number.national_number)
    if number.country_code != COUNTRY_CODE or kind not in _WITH_AREA or _filler(national):
        return "", ""
    return national[:2], national[2:]


def mark(number: str) -> str:
    """What stands for a number where the number itself need not lie."""
    return sha256(number.encode()).hexdigest()


def shared_marks(phones: Iterable[tuple[str, str | None]]) -> list[str]:
    """Marks of the numbers that SHARED_BY or more customers have, from (the customer's document, the phone typed)."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for document, text in phones:
        number = read_phone(text).number
        if number and document:
            owners[mark(number)].add(document)
    return sorted(marked for marked, documents in owners.items() if len(documents) >= SHARED_BY)


def _first_number(text: str) -> str:
    """What stands before words and second numbers: "(11) 98888-7777 / 3333-4444 (Ana)" -> "(11) 98888-7777"."""
    text = re.sub(r"[\u2010-\u2015]", "-", re.sub(r"\b0xx\s*", "0", text, flags=re.IGNORECASE))
    match = re.search(r"[+(]?[\d(][\d\s().\-]*", text)
    return match[0].strip() if match and re.search(r"\d", match[0]) else ""


def _filler(national: str) -> bool:
    """All of one digit, or counting up or down, behind the DDD and the ninth digit."""
    own = national[-8:]
    return len(set(own)) == 1 or any(own in counting for counting in _COUNTING)
