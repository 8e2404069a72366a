"""What a run cannot be faster than, which calls it cannot do without, and what was promised of both.

All of it follows from the plan's own counts and from the simulated Omie's numbers; nothing here measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

CEILING: Final = 240
"""Calls of one method that Omie takes in a minute (help 8112984)."""
PROMISED_RATIO: Final = 1.05
"""Seconds until the last contract is billed against the floor, at most, when no call is lost."""
PROMISED_RATIO_LOST: Final = 1.3
"""The same when calls are lost; the in-doubt wait comes on top of it."""
PROMISED_CALLS: Final = 0.15
"""Calls a contract, at most, beyond the writes that the plan's differences need."""


@dataclass(frozen=True)
class Work:
    """What a plan asks of Omie: so many contracts to bill, and how many of them it must alter or create first."""

    contracts: int
    alterations: int
    creations: int

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> "Work":
        """From the `plan` of plan_company's answer."""
        return cls(plan["counts"]["bill"], plan["work"].get("alter", 0), plan["work"].get("create", 0))

    @property
    def writes(self) -> int:
        """One a billing, one an alteration, two a creation: the customer's and the contract's."""
        return self.contracts + self.alterations + 2 * self.creations

    def floor(self, latency: float, read_lag: float = 0.0) -> float:
        """Seconds in which nobody could bill this: by Omie's rate, or by one write after the other.

        Where every contract is altered first, none can be billed before Omie shows the first alteration: `read_lag`
        seconds are added then, and only then.
        """
        least = max(self.contracts * 60 / CEILING, self.writes * latency)
        return least + (read_lag if self.alterations == self.contracts else 0.0)


@dataclass(frozen=True)
class Margin:
    """How far ours stayed from the floor. Times are seconds from the moment the plan was ready."""

    work: Work
    floor_seconds: float
    allowed_ratio: float
    """Of the floor."""
    allowed_wait: float
    """Seconds on top of that: the in-doubt wait, when calls are lost."""
    billed_seconds: float
    """Until the last contract was billed, whatever round it was billed in."""
    settled_seconds: float
    """Until Settle had nothing left."""
    calls: Mapping[str, int]
    """Omie's methods, and how often each was called from the beginning of planning to the end of Settle."""
    written: int
    """How many of those calls were writes."""

    @property
    def allowed_seconds(self) -> float:
        return self.allowed_ratio * self.floor_seconds + self.allowed_wait

    @property
    def ratio(self) -> float:
        return round(self.billed_seconds / self.floor_seconds, 3)

    @property
    def total_calls(self) -> int:
        return sum(self.calls.values())

    @property
    def calls_beyond(self) -> float:
        """Reads, and writes beyond those needed, a contract. A write that was needed less does not pay for a read."""
        return round((self.total_calls - min(self.written, self.work.writes)) / self.work.contracts, 3)

    @property
    def allowed(self) -> str:
        """In words, for a table and for a shortcoming."""
        wait = f" + {self.allowed_wait:g} s in doubt" if self.allowed_wait else ""
        return f"{self.allowed_ratio} x floor{wait}"

    @property
    def late(self) -> bool:
        """By the tenths of a second that are shown."""
        return round(self.billed_seconds, 1) > round(self.allowed_seconds, 1)

    def shortcomings(self) -> list[str]:
        """What was promised and not kept."""
        found = []
        if self.late:
            found.append(
                f"the last contract was billed after {self.billed_seconds:.1f} s, "
                f"{self.allowed} = {self.allowed_seconds:.1f} s was promised"
            )
        if self.calls_beyond > PROMISED_CALLS:
            found.append(
                f"{self.calls_beyond} calls a contract beyond the needed writes, {PROMISED_CALLS} was promised"
            )
        return found

    def figures(self) -> dict[str, Any]:
        return {
            "to_bill": self.work.contracts,
            "alterations": self.work.alterations,
            "creations": self.work.creations,
            "floor_seconds": round(self.floor_seconds, 1),
            "allowed_seconds": round(self.allowed_seconds, 1),
            "billed_seconds": round(self.billed_seconds, 1),
            "ratio": self.ratio,
            "settled_seconds": round(self.settled_seconds, 1),
            "calls": dict(self.calls),
            "total_calls": self.total_calls,
            "needed_writes": self.work.writes,
            "calls_beyond": self.calls_beyond,
        }
