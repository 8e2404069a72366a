"""How late something appeared, from looks that did and did not show it: bounds, never a guess.

call sent ─ it happened ─ answered        look sent ─ Omie looked ─ answered
not shown: the lag is more than   look.sent - call.answered
shown:     the lag is less than   look.answered - call.sent
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, prod
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SURE: Final = 0.01
"""Chance at most that lists which lag apart would look alike, for "alike" to be said."""


class Span(NamedTuple):
    """Seconds between which something lies; `high` is infinite while it was never seen."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    def apart(self, other: Span) -> bool:
        return self.low > other.high or other.low > self.high


@dataclass(slots=True)
class Sighting:
    """One thing done by a call that was sent and answered then, and the ages at which looks showed it or did not."""

    sent: float
    answered: float
    missing: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)

    def look(self, sent: float, answered: float, *, shows: bool) -> None:
        """Note one look; one that was sent before the call was answered tells nothing."""
        if sent < self.answered:
            return
        if shows:
            self.shown.append(answered - self.sent)
        else:
            self.missing.append(sent - self.answered)

    @property
    def looked(self) -> bool:
        return bool(self.missing or self.shown)

    @property
    def seen(self) -> bool:
        """Whether the latest looks show it."""
        return self.span.high < inf

    @property
    def span(self) -> Span:
        """A thing that was shown and then missing again counts from its last absence."""
        low = max(self.missing, default=0.0)
        return Span(low, min((age for age in self.shown if age >= low), default=inf))


def known(sightings: Iterable[Sighting]) -> list[Span]:
    """The spans of what was looked for and found."""
    return [one.span for one in sightings if one.seen]


def longest(spans: Sequence[Span]) -> Span:
    return Span(max(span.low for span in spans), max(span.high for span in spans))


def shortest(spans: Sequence[Span]) -> Span:
    return Span(min(span.low for span in spans), min(span.high for span in spans))


def common(spans: Sequence[Span]) -> Span | None:
    """What lies in all of them; None when nothing does."""
    low, high = max(span.low for span in spans), min(span.high for span in spans)
    return Span(low, high) if low <= high else None


def alike(pairs: Sequence[tuple[Span, Span]]) -> bool | None:
    """Whether two lists lag alike, from both lists' spans of the same billings; None: cannot be told.

    One billing whose spans do not meet proves that they lag apart. That all meet proves something only when the spans
    are short beside how much the lags vary: lists that lag apart would meet by chance with the probability reckoned.
    """
    if any(one.apart(other) for one, other in pairs):
        return False
    if not pairs:
        return None
    spans = [span for pair in pairs for span in pair]
    varies = longest(spans).low - shortest(spans).high
    if varies <= 0:
        return None
    chance = prod(min(1.0, (one.width + other.width) / varies) for one, other in pairs)
    return True if chance < SURE else None
