"""Texts as people, spreadsheets and screens write them, brought to one form before they are compared, kept or sent.

| Two texts are the same when equal by | Used for                                                        |
|--------------------------------------|-----------------------------------------------------------------|
| `fold`                               | labels: companies, services, status, options, marks             |
| `prose`                              | what stands on an invoice: descriptions, names, addresses       |
| `addresses`                          | e-mail addresses, in any order and case                         |
"""

import codecs
import html
import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import Final

_UNWRITABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0, and so an NFS-e, SQS and DynamoDB, cannot carry; DEL with it."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BREAKS: Final = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
"""Line breaks of word processors and of Windows."""
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
"""Characters without width, which come along when something is copied from a web page."""
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_ROUNDS: Final = 8
"""So often a text may have been escaped; no text was met that was escaped more than twice."""
_LONGEST_SHOWN: Final = 60
_EXACT: Final = 2.0**53
"""Below it a float holds every whole number."""


class UnreadableText(ValueError):  # noqa: N818 - it is an answer, in Portuguese
    """The bytes are no text that can be read: one Portuguese line, without the file's name."""


def of(value: object) -> str:
    """A plain value of JSON as text; a whole number is written without a point. Never raises for such a value."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite() and -30 < value.adjusted() < 30:
        whole = value.to_integral_value()
        return f"{whole:f}" if whole == value else f"{value:f}"
    try:
        return str(value)
    except (ValueError, RecursionError):  # an int of thousands of digits; a list of lists of lists
        return "?"


def can_be_written(text: str) -> bool:
    """Whether every character may stand in XML and UTF-8."""
    return _UNWRITABLE.search(text) is None


def writable(text: str) -> str:
    """The text with a replacement character for each one that XML or UTF-8 cannot carry."""
    return _UNWRITABLE.sub(_REPLACEMENT, text)


def encodable(text: str) -> str:
    """The text with a replacement character for each lone surrogate, which UTF-8 cannot carry."""
    return _SURROGATE.sub(_REPLACEMENT, text)


def with_line_breaks(text: str) -> str:
    """Every kind of line break as a line feed."""
    return _BREAKS.sub("\n", text)


def visible(text: str) -> str:
    """Without the characters that have no width, and without blanks at its ends."""
    return _INVISIBLE.sub("", text).strip()


def shown(value: object) -> str:
    """A value as a message quotes it: one line, writable, and cut where it is long."""
    line = " ".join(writable(with_line_breaks(of(value))).split())
    return line if len(line) <= _LONGEST_SHOWN else f"{line[: _LONGEST_SHOWN - 1]}…"


def unescaped(text: str) -> str:
    """The text with its HTML entities resolved once. `&` without a semicolon is no entity: "C&centro" stays."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def without_entities(text: str) -> str:
    """As `unescaped`, however often the text was escaped: `P&amp;amp;D` and `P&amp;D` are `P&D`."""
    for _ in range(_ROUNDS):
        found = unescaped(text)
        if found == text:
            break
        text = found
    return text


@lru_cache(maxsize=8192)
def fold(label: str) -> str:
    """A label as it is compared: entities, capitals, kinds and number of blanks, invisible characters do not matter."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", without_entities(label)))
    return " ".join(plain.split()).casefold()


def prose(text: str) -> str:
    """A text as it is compared: entities, kinds and number of blanks, breaks and composed accents do not matter."""
    return " ".join(unicodedata.normalize("NFC", _INVISIBLE.sub("", without_entities(text))).split())


def addresses(text: str) -> tuple[str, ...]:
    """The e-mail addresses of a text, each once, sorted, in lower case."""
    found = re.split(r"[,;\s]+", _INVISIBLE.sub("", without_entities(text)).lower())
    return tuple(sorted(set(filter(None, found))))


def decoded(raw: bytes) -> str:
    """The text of a file or a pipe: UTF-8 with a byte order mark or without, UTF-16 with one.

    Raises:
        UnreadableText: another encoding.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if raw.startswith(mark):
            return _decoded(raw, encoding)
    if b"\0" in raw:
        raise UnreadableText("está em UTF-16 sem marca, ou não é um texto (tem bytes zero). Salve de novo como UTF-8.")
    return _decoded(raw, "utf-8")


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UnreadableText(
            f"não está em UTF-8 (linha {line}, byte 0x{raw[error.start]:02X}; o Windows chama isso de ANSI). "
            "Salve de novo como UTF-8."
        ) from None
