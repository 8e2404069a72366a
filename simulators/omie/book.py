"""The referee's book: what was billed, how fast, and which of Omie's rules were broken. Never read by Omie itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from simulators.omie.dates import iso

MOST_DETAILS = 1000
"""Breaches and blocks beyond this many are only counted."""


class Billing(NamedTuple):
    company: str
    nCodCtr: int
    cCodIntCtr: str
    month: str
    nCodOS: int
    amount: int
    at: float
    by: str


class MethodCount:
    __slots__ = ("count", "errors", "latency", "ok", "peak", "write")

    def __init__(self) -> None:
        self.count = 0
        self.ok = 0
        self.errors = 0
        self.latency = 0.0
        self.peak = 0
        self.write = False


class Book:
    """`billings` is append-only; everything else is a count or a short list."""

    def __init__(self) -> None:
        self.billings: list[Billing] = []
        self.orders_of: dict[tuple[str, int, str], list[int]] = defaultdict(list)
        self.cancelled: set[int] = set()
        self.methods: dict[str, MethodCount] = defaultdict(MethodCount)
        self.refused: Counter[str] = Counter()
        self.breaches: list[dict[str, Any]] = []
        self.breach_count = 0
        self.blocks: list[dict[str, Any]] = []
        self.faults: Counter[str] = Counter()
        self.faulted: Counter[str] = Counter()
        """"FaturarContrato lost_reply" -> how often."""
        self.parallel_writes = 0
        self.peak_ip = 0
        self.lost_late: list[dict[str, Any]] = []
        self.revived: list[tuple[str, int, float, float]] = []
        """(company, nCodCtr, when it was last written before, when) an alteration made a stopped contract active."""

    def billed(self, billing: Billing) -> None:
        self.billings.append(billing)
        self.orders_of[billing.company, billing.nCodCtr, billing.month].append(billing.nCodOS)

    def call(self, method: str, *, write: bool, ok: bool, latency: float) -> None:
        count = self.methods[method]
        count.count += 1
        count.write = write
        count.latency += latency
        if ok:
            count.ok += 1
        else:
            count.errors += 1

    def breach(self, limit: str, company: str, method: str, now: float) -> None:
        """A rule of use was broken, whether the call was refused for it or not."""
        self.refused[limit] += 1
        self.breach_count += 1
        if len(self.breaches) < MOST_DETAILS:
            self.breaches.append({"limit": limit, "company": company, "method": method, "at": iso(now)})

    def billed_twice(self) -> list[dict[str, Any]]:
        """Contracts with more than one order in one month that nobody cancelled."""
        codes = {(b.company, b.nCodCtr): b.cCodIntCtr for b in self.billings}
        found = []
        for (company, nCodCtr, month), orders in self.orders_of.items():
            alive = [order for order in orders if order not in self.cancelled]
            if len(alive) > 1:
                found.append(
                    {
                        "company": company,
                        "nCodCtr": nCodCtr,
                        "cCodIntCtr": codes[company, nCodCtr],
                        "month": month,
                        "nCodOS": alive,
                    }
                )
        return found

    def to_dict(self, *, billings: bool = True) -> dict[str, Any]:
        """The book as JSON (GET /_sim/book); amounts in centavos, instants in ISO with São Paulo's offset."""
        counts = self.methods.values()
        writes = [count for count in counts if count.write]
        return {
            "billings": [
                {**billing._asdict(), "at": iso(billing.at), "cancelled": billing.nCodOS in self.cancelled}
                for billing in (self.billings if billings else [])
            ],
            "billed_contracts": len({(b.company, b.nCodCtr) for b in self.billings}),
            "billed_amount": sum(b.amount for b in self.billings if b.nCodOS not in self.cancelled),
            "billed_twice": self.billed_twice(),
            "calls": {
                method: {
                    "count": count.count,
                    "ok": count.ok,
                    "errors": count.errors,
                    "write": count.write,
                    "mean_latency_ms": _mean_ms(count.latency, count.count),
                }
                for method, count in sorted(self.methods.items())
            },
            "total_calls": sum(count.count for count in counts),
            "limit_breaches": self.breaches,
            "limit_breach_count": self.breach_count,
            "refused": dict(self.refused),
            "blocks": self.blocks,
            "throttled": self.refused["ip_per_minute"] + self.refused["method_per_minute"],
            "faults": dict(self.faults),
            "faulted": dict(self.faulted),
            "late_executions": self.lost_late,
            "first_billing_at": iso(self.billings[0].at) if self.billings else None,
            "last_billing_at": iso(self.billings[-1].at) if self.billings else None,
            "mean_latency_ms": _mean_ms(sum(c.latency for c in counts), sum(c.count for c in counts)),
            "mean_write_latency_ms": _mean_ms(sum(c.latency for c in writes), sum(c.count for c in writes)),
            "peak_per_minute": {
                "*": self.peak_ip,
                **{method: count.peak for method, count in sorted(self.methods.items()) if count.peak},
            },
            "parallel_writes": self.parallel_writes,
        }


def _mean_ms(seconds: float, count: int) -> float:
    return round(1000 * seconds / count, 1) if count else 0.0
