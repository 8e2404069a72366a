"""What one month's charge is made of and why: kept with the charge, so that every later report tells the same.

The plan reckons it once. What is read again later (Jestor's row, Omie's contract) may have changed by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from billing.domain.money import format_brl


@dataclass(frozen=True, slots=True)
class Composition:
    """Amounts in centavos. The charge's amount is `own` + `foreign_total` + its additions.

    Attributes:
        own: the month's own amount: quantity × unit_amount − discount, or what stood in Omie.
        quantity: 0 when the contract was billed as it stood in Omie, so that nothing is multiplied.
        unit_amount: of one unit a month.
        discount: off the month.
        foreign_total: items that people added in Omie.
        cause: why the amount is what it is against the last charge, Portuguese.
        previous_amount: the last charge's; None when there was none.
        previous_month: that charge's month, "2026-11"; empty when there was none.
        due_date: ISO; None when nobody planned one.
        plan: where the plan lies that holds the additions' arithmetic; empty when it is not known.
    """

    own: int = 0
    quantity: int = 0
    unit_amount: int = 0
    discount: int = 0
    foreign_total: int = 0
    cause: str = ""
    previous_amount: int | None = None
    previous_month: str = ""
    due_date: str | None = None
    plan: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What a later version may have added is left out."""
        return cls(**{name: data[name] for name in _FIELDS if name in data})

    @property
    def text(self) -> str:
        """The own amount as a sum, Portuguese: "3 × R$ 100,00 − desconto de R$ 20,00 = R$ 280,00"."""
        if not self.quantity:
            return f"{format_brl(self.own)}, como estava no Omie"
        if self.quantity == 1 and not self.discount:
            return format_brl(self.own)
        discount = f" − desconto de {format_brl(self.discount)}" if self.discount else ""
        return f"{self.quantity} × {format_brl(self.unit_amount)}{discount} = {format_brl(self.own)}"


_FIELDS = tuple(known.name for known in fields(Composition))
