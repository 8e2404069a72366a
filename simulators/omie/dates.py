"""São Paulo's calendar over epoch seconds, and Omie's dd/mm/yyyy."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

SAO_PAULO: Final = ZoneInfo("America/Sao_Paulo")


@lru_cache(maxsize=4096)
def _day_of_quarter_hour(quarter: int) -> date:
    return datetime.fromtimestamp(quarter * 900, SAO_PAULO).date()


def day_of(now: float) -> date:
    """The São Paulo day of an instant (midnight falls on a quarter of an hour, so quarters are cached)."""
    return _day_of_quarter_hour(int(now // 900))


def hour_of(now: float) -> str:
    return f"{datetime.fromtimestamp(now, SAO_PAULO):%H:%M:%S}"


def iso(now: float) -> str:
    return datetime.fromtimestamp(now, SAO_PAULO).isoformat(timespec="milliseconds")


def month_of(day: date) -> int:
    """2026-12 as 202612: a month that compares and hashes cheaply."""
    return day.year * 100 + day.month


@lru_cache(maxsize=4096)
def br(day: date) -> str:
    return f"{day:%d/%m/%Y}"


@lru_cache(maxsize=4096)
def read_br(text: str) -> date | None:
    """`dd/mm/yyyy`, or None when it is not a date."""
    if len(text) != 10 or text[2] != "/" or text[5] != "/":
        return None
    try:
        return date(int(text[6:]), int(text[3:5]), int(text[:2]))
    except ValueError:
        return None


def clamped(year: int, month: int, day: int) -> date:
    """Day 31 of a shorter month is its last day."""
    first_of_next = date(year + month // 12, month % 12 + 1, 1)
    return min(date(year, month, 1) + timedelta(days=max(day, 1) - 1), first_of_next - timedelta(days=1))


def next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
