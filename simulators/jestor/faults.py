"""What can go wrong on purpose: faults of a call, by count or by chance, and standing faults.

A fault is a dict (JSON in `--faults` and POST /_sim/faults): `kind` and its own keys.

Faults of a call:

    rate_limited      429; Retry-After when `retry_after` is given
    server_error      an HTML page with `status` (502)
    status_false      HTTP 200 with `"status": false` and `message`
    slow              the answer comes `seconds` later
    missing_data      HTTP 200 without `data`
    lost_reply        executed, then the connection breaks
    short_page        the last `rows` (1) rows of a page are missing and has_more lies
    edit              after the answer a person changes `table`: `id` + `data`, `create` {}, `delete` [ids]
                      (so: between two pages of somebody's list)

Which calls: `path` (a part of it, e.g. "/object/list" or "fetch"; all when absent), `after` (that many pass
first), `times` (then stop; 1 unless `every` or `probability` is given), `every` (each n-th call),
`probability` (seeded chance).

Standing faults:

    calls_per_minute  429 beyond `limit` calls in any minute; `retry_after`
    row_filter        the token silently sees only rows of `table` whose `field` equals `value`
    vanished_field    `field` is gone from `table`, until reset
    money_as          numbers in currency fields arrive as `style`: "number" (1200.5) or "string" ("1.200,50")
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

OF_A_CALL: Final = frozenset(
    {
        "rate_limited",
        "server_error",
        "status_false",
        "slow",
        "missing_data",
        "lost_reply",
        "short_page",
        "edit",
    }
)
STANDING: Final = frozenset({"calls_per_minute", "row_filter", "vanished_field", "money_as"})
_COMMON: Final = frozenset({"kind", "path", "after", "times", "every", "probability"})
_OWN_KEYS: Final = {
    "rate_limited": {"retry_after"},
    "server_error": {"status"},
    "status_false": {"message"},
    "slow": {"seconds"},
    "missing_data": set[str](),
    "lost_reply": set[str](),
    "short_page": {"rows"},
    "edit": {"table", "create", "id", "data", "delete"},
    "calls_per_minute": {"limit", "retry_after"},
    "row_filter": {"table", "field", "value"},
    "vanished_field": {"table", "field"},
    "money_as": {"style"},
}


class BadFault(ValueError):  # noqa: N818 - the name says what happened
    """The message says what is wrong with the fault's description."""


@dataclass(slots=True)
class Fault:
    """One fault and how often it has still to happen."""

    kind: str
    options: dict[str, Any]
    path: str
    after: int
    times: int | None
    every: int
    probability: float
    seen: int = 0

    def strikes(self, path: str, random: Random) -> bool:
        """Does it strike this call? Counts the call."""
        if self.path not in path or self.times == 0:
            return False
        self.seen += 1
        if self.seen <= self.after or (self.seen - self.after - 1) % self.every:
            return False
        if self.probability < 1 and random.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        return True


def read_fault(spec: object) -> Fault:
    """A fault from its dict. Raises BadFault."""
    if not isinstance(spec, dict) or spec.get("kind") not in _OWN_KEYS:
        raise BadFault(f"a fault is an object whose kind is one of {', '.join(sorted(_OWN_KEYS))}: {spec!r}")
    kind = spec["kind"]
    unknown = spec.keys() - _COMMON - _OWN_KEYS[kind]
    if unknown:
        raise BadFault(f"{kind} does not know {', '.join(sorted(unknown))}")
    repeats = "every" in spec or "probability" in spec
    return Fault(
        kind=kind,
        options={key: value for key, value in spec.items() if key not in _COMMON},
        path=str(spec.get("path", "")),
        after=int(spec.get("after", 0)),
        times=spec.get("times", None if repeats else 1),
        every=int(spec.get("every", 1)),
        probability=float(spec.get("probability", 1)),
    )


@dataclass(slots=True)
class FaultPlan:
    """The faults in force."""

    random: Random
    faults: list[Fault] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=deque)

    def replace(self, specs: Iterable[object]) -> None:
        """Only these from now on."""
        self.faults = [read_fault(spec) for spec in specs]
        self._recent.clear()

    def striking(self, path: str) -> dict[str, dict[str, Any]]:
        """Kind -> options of the faults that strike this call; each is counted."""
        return {
            fault.kind: fault.options
            for fault in self.faults
            if fault.kind in OF_A_CALL and fault.strikes(path, self.random)
        }

    def standing(self, kind: str) -> list[dict[str, Any]]:
        return [fault.options for fault in self.faults if fault.kind == kind]

    def over_the_limit(self, now: float) -> dict[str, Any] | None:
        """Counts a call against `calls_per_minute`; the options when it is one too many."""
        for options in self.standing("calls_per_minute"):
            while self._recent and self._recent[0] <= now - 60:
                self._recent.popleft()
            if len(self._recent) >= options["limit"]:
                return options
            self._recent.append(now)
        return None
