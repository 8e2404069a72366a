"""What people give a command: files and pipes, also as Windows and Excel write them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from billing.domain.text import UnreadableText, decoded
from ops.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_text(file: Path) -> str:
    """The file's text, without its byte order mark. Raises InputError, one line, when it is in another encoding."""
    try:
        return decoded(file.read_bytes())
    except UnreadableText as error:
        raise InputError(f"{file}: {error}") from None


def read_table(file: Path) -> str:
    """As `read_text`; a CSV that is not UTF-8 is read as Excel for Windows writes it (cp1252)."""
    raw = file.read_bytes()
    try:
        return decoded(raw)
    except UnreadableText as error:
        try:
            return raw.decode("cp1252") if b"\0" not in raw else _refuse(file, error)
        except UnicodeDecodeError:
            return _refuse(file, error)


def _refuse(file: Path, error: UnreadableText) -> str:
    raise InputError(f"{file}: {error}") from None


def read_piped() -> str:
    """What is piped into the command. Raises InputError, one line, when it is in another encoding."""
    raw = getattr(sys.stdin, "buffer", None)
    if raw is None:  # a stream of text, as in a test
        return sys.stdin.read().removeprefix("\ufeff")
    try:
        return decoded(raw.read())
    except UnreadableText as error:
        raise InputError(f"Entrada: {error}") from None
