"""What comes on top of one month's charge, once: late fine and interest of earlier titles, the share of a change.

An addition is planned with the contract, brought into Omie just before billing, and charged when the month's charge
is BILLED: the ledger keeps `charged()` in that charge, so that nothing is added twice. Amounts are centavos.

In Omie it is a line that the next billing takes and that people can read; its end carries a marker made from the key,
by which we find it again: "Encargos por atraso do boleto de 10/11/2026: multa R$ 2,00 (JST-AD-1f0c9a77)".
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from enum import StrEnum
from typing import Any, Literal, Self

from billing.domain.contract import ITEM_PREFIX

ADDITION_PREFIX = f"{ITEM_PREFIX}AD-"
"""Begins every marker, and the codIntItem of an addition that is an item."""
TEXT_LENGTH = 200
"""Omie's limit for the text of an expense, marker included."""

How = Literal["expense", "item"]
"""A non-recurring reimbursable expense, or an item for the next billing only."""

_MARKER = re.compile(rf"\(({re.escape(ADDITION_PREFIX)}[0-9a-f]{{8}})\)\s*$")


class Kind(StrEnum):
    LATE = "encargos"
    PRORATE = "proporcional"


NAMES = {Kind.LATE: "Encargos por atraso", Kind.PRORATE: "Proporcional"}


@dataclass(frozen=True, slots=True)
class Addition:
    """One amount to add to the next bill.

    Attributes:
        key: names it for ever; the same debt of the same month has the same key. "encargos#<nCodTitulo>#2026-12".
        kind: why.
        amount: centavos, more than zero.
        text: what the invoice shows, in Portuguese.
        proof: the arithmetic, in Portuguese; for the report, not for the invoice.
        how: as what it is brought into Omie.
        title: nCodTitulo of the late title, if it is one's.
        through: the last day that is charged, ISO.
        fine, interest: the parts of a late fee, centavos.
        seen: how the title stood when this was reckoned; when it stands otherwise, this must be reckoned anew.
        due: the title's due date, ISO: by it the title is found again.
    """

    key: str
    kind: Kind
    amount: int
    text: str
    proof: str
    how: How = "expense"
    title: int | None = None
    through: str | None = None
    fine: int = 0
    interest: int = 0
    seen: str = ""
    due: str | None = None

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("an addition needs a key")
        if self.amount <= 0:
            raise ValueError(f"addition {self.key}: {self.amount} centavos; there is nothing to add")
        if (self.fine or self.interest) and self.fine + self.interest != self.amount:
            raise ValueError(f"addition {self.key}: fine {self.fine} + interest {self.interest} is not {self.amount}")

    @property
    def marker(self) -> str:
        """Short, the same for the same key: "JST-AD-1f0c9a77"."""
        return ADDITION_PREFIX + hashlib.sha256(self.key.encode()).hexdigest()[:8]

    @property
    def label(self) -> str:
        """The text with its marker, cut to TEXT_LENGTH: the text gives way, the marker does not."""
        end = f" ({self.marker})"
        return " ".join(self.text.split())[: TEXT_LENGTH - len(end)].rstrip() + end

    @property
    def due_date(self) -> date | None:
        return date.fromisoformat(self.due) if self.due else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: getattr(self, name) for name in _FIELDS} | {"kind": str(self.kind)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "kind": Kind(data["kind"])})

    def charged(self) -> dict[str, Any]:
        """What the ledger keeps of it in the charge that carried it: all but its arithmetic, which the plan keeps."""
        return {name: getattr(self, name) for name in ("key", "title", "through", "fine", "interest", "amount", "text")}


_FIELDS = tuple(known.name for known in fields(Addition))


def total(additions: Sequence[Mapping[str, Any]]) -> int:
    """Centavos of additions as dicts, as a plan line and a charge hold them."""
    return sum(addition["amount"] for addition in additions)


def charged_kind(charged: Mapping[str, Any]) -> Kind:
    """The kind of what a charge keeps: its key begins with it."""
    return Kind(str(charged["key"]).partition("#")[0])


def marker_in(text: str) -> str | None:
    """The marker at the end of a text of Omie's, if it is one of ours."""
    found = _MARKER.search(text)
    return found[1] if found else None


def as_billed(additions: Sequence[Mapping[str, Any]], planned: int, billed: int | None) -> list[dict[str, Any]]:
    """What the ledger may say was charged, when a billing is found in Omie instead of answered.

    | The order's total                   | Charged                                                        |
    |-------------------------------------|----------------------------------------------------------------|
    | the planned one, or not known       | every addition: Omie showed them when the charge was claimed    |
    | the planned one without additions   | none                                                           |
    | any other                           | nobody can tell: each kept as `doubtful`, never charged again   |

    Args:
        additions: as planned for this charge.
        planned: its centavos, additions included.
        billed: the order's centavos; None when no order was found.
    """
    if billed is None or billed == planned:
        return [dict(addition) for addition in additions]
    if billed == planned - total(additions):
        return []
    return [{**addition, "doubtful": True} for addition in additions]
