"""What `billing-ops doctor` has to say, one finding at a time: what was seen, and how to put it right."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """`BY_HAND`: nobody can see it through an API; a person must look, once."""

    OK = "ok"
    BY_HAND = "à mão"
    WARNING = "aviso"
    ERROR = "erro"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination, in Portuguese.

    where: "AWS", "Jestor" or "Omie acme". check: what was looked at, a name that stays the same, for programs.
    fix: how to put it right; only what is well needs none.
    """

    where: str
    check: str
    level: Level
    what: str
    fix: str = ""

    def __post_init__(self) -> None:
        if self.level is not Level.OK and not self.fix:
            raise ValueError(f"{self.check}: a finding says how to put it right")


Findings = Generator[Finding, None, None]


@dataclass(frozen=True, slots=True)
class Examiner:
    """Writes findings about one place."""

    where: str

    def ok(self, check: str, what: str) -> Finding:
        return Finding(self.where, check, Level.OK, what)

    def by_hand(self, check: str, what: str, fix: str) -> Finding:
        return Finding(self.where, check, Level.BY_HAND, what, fix)

    def warning(self, check: str, what: str, fix: str) -> Finding:
        return Finding(self.where, check, Level.WARNING, what, fix)

    def error(self, check: str, what: str, fix: str) -> Finding:
        return Finding(self.where, check, Level.ERROR, what, fix)


def as_dict(finding: Finding) -> dict[str, Any]:
    """For --json; the level in plain ASCII."""
    names = {Level.OK: "ok", Level.BY_HAND: "by_hand", Level.WARNING: "warning", Level.ERROR: "error"}
    return {
        "where": finding.where,
        "check": finding.check,
        "level": names[finding.level],
        "what": finding.what,
        "fix": finding.fix or None,
    }


def some(names: list[str], most: int = 5) -> str:
    """The first few, and how many more: "JST-1, JST-2 e mais 7"."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" e mais {more}" if more > 0 else "")


def quoted(labels: list[str], most: int = 8) -> str:
    return some([f'"{label}"' for label in labels], most)


def count(number: int, one: str, many: str) -> str:
    """As in "1 contrato" and "2.350 contratos"."""
    return f"{number:,}".replace(",", ".") + f" {one if number == 1 else many}"
