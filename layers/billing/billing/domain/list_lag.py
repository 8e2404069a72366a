"""How late Omie's lists show a billing: assumed by a setting, measured by the orders that the ledger knows.

A charge that Omie still shows as to be billed was not billed only if its call ended longer ago than the lists are late.
Nothing says how late they are but orders that are known from Omie's own replies: each look tells which of them both
lists show, and how old each is. Where no order is known the setting stands alone.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Self

GONE_AFTER = 3600.0
"""Seconds: an order that is missing at this age is not late any more; a person deleted it in Omie."""
LONGEST_BELIEVED = 600.0
"""Seconds: an order first looked for at a greater age, and found, says nothing of how late the lists are."""
NEARLY = 60.0
"""Seconds: the lists are looked at once a minute, so an order seen first so long after the setting was in time."""


@dataclass(frozen=True, slots=True)
class ListLag:
    """All in seconds.

    assumed: `list_lag_seconds`.
    missing: the greatest age at which a known order was not shown yet; 0: none was.
    shown: the least age at which a known order was shown; None: none was.
    """

    assumed: float
    missing: float = 0.0
    shown: float | None = None

    def found(self, age: float) -> Self:
        """With one more order that both lists show; `age` since its call was begun."""
        return replace(self, shown=age if self.shown is None else min(age, self.shown))

    def lacking(self, age: float) -> Self:
        """With one more order that a list lacks; `age` from Omie's answer to when the list was asked for."""
        return self if self.undone(age) else replace(self, missing=max(age, self.missing))

    def undone(self, age: float) -> bool:
        """Whether an order that is missing at that age was undone by a person: much younger ones are shown."""
        return age >= (GONE_AFTER if self.shown is None else 2 * max(self.shown, self.assumed))

    def measures(self) -> dict[str, float]:
        """What the next look begins with: `ListLag(assumed, **measures)`."""
        return {"missing": self.missing} | ({} if self.shown is None else {"shown": self.shown})

    @property
    def in_time(self) -> bool:
        """Whether no order was seen missing for longer than assumed."""
        return self.missing <= self.assumed

    @property
    def measured(self) -> bool:
        """Whether an order was found so young that one more look can tell nothing better."""
        return self.shown is not None and self.shown <= self.assumed + NEARLY

    @property
    def seconds(self) -> int:
        """How late the lists may be: half as much again as an order was missing for, if that is not as assumed.

        And never less than `by_those_found`.
        """
        return max(self.by_those_found, 0 if self.in_time else ceil(1.5 * self.missing))

    @property
    def by_those_found(self) -> int:
        """How late the lists may be by the orders that they show.

        They are not later than the youngest of them is old. If that is much more than assumed, one order may be later
        than another: twice as old. While they show none that they should, nothing is known.
        """
        if self.shown is None:
            return ceil(self.assumed if self.in_time else max(self.assumed, LONGEST_BELIEVED))
        return ceil(max(self.assumed, min(self.shown if self.measured else 2 * self.shown, LONGEST_BELIEVED)))
