"""A change of price in the middle of a cycle, to the day and to the centavo. Pure.

```
cycle    |----------- old -----------|------------ new ------------|
         first                       effective                     last
charged  share(old, first) - share(old, effective)  +  share(new, effective)
```

`share(amount, day)` is what the days from `day` to the cycle's end are worth, rounded half up once. Each day is thus
paid at exactly one price: between two changes a price costs the share at its start less the share at its end, these
differences telescope, and a price that did not change costs itself. The sum of any number of changes is the last
price's share less the first's, change by change: up and down again on one day is nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple, Self

from billing.domain.addition import Addition, Kind
from billing.domain.money import format_brl
from billing.domain.month import BillingMonth


class Cycle(NamedTuple):
    """The days that one charge pays for, both included."""

    first: date
    last: date

    @classmethod
    def containing(cls, day: date, anchor: int) -> Self:
        """The cycle of monthly charges that begin on day `anchor` (1 to 31) of each month.

        A month without that day begins on its last one. Each month looks at the anchor itself, never at the month
        before, so it does not drift: 31 January, 28 February, 31 March.
        """
        month = BillingMonth.containing(day)
        if day < month.day(anchor):
            month = month.previous()
        return cls.of(month, anchor)

    @classmethod
    def of(cls, month: BillingMonth, anchor: int) -> Self:
        """The cycle that begins in that month."""
        following = month.next().day(anchor)
        return cls(month.day(anchor), date.fromordinal(following.toordinal() - 1))

    @property
    def days(self) -> int:
        return self.last.toordinal() - self.first.toordinal() + 1


def share(amount: int, day: date, cycle: Cycle) -> int:
    """Centavos of the monthly `amount` for the days from `day` to the end of the cycle, half up."""
    rest = min(max(cycle.last.toordinal() - day.toordinal() + 1, 0), cycle.days)
    return (2 * amount * rest + cycle.days) // (2 * cycle.days)


def prorate(old: int, new: int, effective: date, cycle: Cycle) -> int:
    """What a cycle already charged at `old` centavos still owes (or, negative, is owed) when the price becomes `new`.

    A day before the cycle counts as its first: the past is never charged again. One after it changes nothing here.
    """
    return share(new, effective, cycle) - share(old, effective, cycle)


@dataclass(frozen=True, slots=True)
class Pending:
    """The difference of one change, kept until a bill carries it. `amount` in centavos; negative is a credit.

    `number` counts a contract's changes from 1. `proof`: the arithmetic, in Portuguese. `day`: of the change, ISO.
    """

    number: int
    amount: int
    proof: str
    day: str

    def to_dict(self) -> dict[str, Any]:
        return {"number": self.number, "amount": self.amount, "proof": self.proof, "day": self.day}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(int(data["number"]), int(data["amount"]), str(data["proof"]), str(data["day"]))


def pending(number: int, old: int, new: int, effective: date, cycle: Cycle) -> Pending | None:
    """What a change leaves to be charged or given back; None when it comes to nothing."""
    amount = prorate(old, new, effective, cycle)
    if not amount:
        return None
    rest = cycle.last.toordinal() - max(effective, cycle.first).toordinal() + 1
    proof = (
        f"{format_brl(old)} → {format_brl(new)} a partir de {max(effective, cycle.first):%d/%m/%Y}: "
        f"{rest} de {cycle.days} dias de {cycle.first:%d/%m} a {cycle.last:%d/%m/%Y} = {format_brl(amount)}"
    )
    return Pending(number, amount, proof, effective.isoformat())


def bundle(contract: str, pendings: Sequence[Pending]) -> Addition | None:
    """All that a contract has pending, as one addition to its next bill. None: nothing, or a credit.

    A bill may only be added to, so upgrades and credits are netted first; a credit that is left stays pending, whole,
    until later upgrades outweigh it or a person gives it back. The key ends with the highest number bundled: once a
    BILLED charge carries it, every pending up to that number is settled (`settled`).
    """
    amount = sum(one.amount for one in pendings)
    if amount <= 0:
        return None
    last = max(one.number for one in pendings)
    proof = "; ".join(one.proof for one in pendings)
    return Addition(
        key=f"{_PREFIX}{contract}#{last}",
        kind=Kind.PRORATE,
        amount=amount,
        text="Diferença proporcional pela mudança do valor no ciclo anterior",
        proof=proof,
    )


def settled(contract: str, pendings: Sequence[Pending], charged: str) -> tuple[Pending, ...]:
    """What is still pending when a BILLED charge carries the key `charged`."""
    head, _, number = charged.rpartition("#")
    if head != f"{_PREFIX}{contract}":
        return tuple(pendings)
    return tuple(one for one in pendings if one.number > int(number))


_PREFIX = f"{Kind.PRORATE}#"
