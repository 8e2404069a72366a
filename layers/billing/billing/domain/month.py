"""The billing month (competência), always as São Paulo's calendar has it."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
MIDNIGHT_MARGIN = timedelta(minutes=20)
"""At either end of a month nothing is sent for so long: Omie's clock may differ from ours by a quarter of an hour."""


_LAST = (9999, 12)


class MonthError(ValueError):
    """Not a billing month."""


@dataclass(frozen=True, order=True, slots=True)
class BillingMonth:
    year: int
    month: int

    def __post_init__(self) -> None:
        if not (2000 <= self.year <= 9999 and 1 <= self.month <= 12):
            raise MonthError(f"not a billing month: year {self.year}, month {self.month}")

    @classmethod
    @lru_cache(maxsize=256)
    def parse(cls, text: str) -> Self:
        """From "2026-12", the only form written anywhere in this system."""
        match = re.fullmatch(r"([0-9]{4})-([0-9]{2})", text)
        if match is None:
            raise MonthError(f"not a billing month: {text!r}; write it as 2026-12")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """The month in which São Paulo lives at that moment (aware datetimes only)."""
        if moment.tzinfo is None:
            raise MonthError("a moment without a time zone belongs to no billing month")
        local = moment.astimezone(SAO_PAULO)
        return cls(local.year, local.month)

    @classmethod
    def containing(cls, day: date) -> Self:
        """The month of a calendar day."""
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        return self.day(31)

    def day(self, number: int) -> date:
        """That day of the month, or the last one when the month is shorter: 31 -> 28 February."""
        return date(self.year, self.month, min(number, calendar.monthrange(self.year, self.month)[1]))

    def next(self) -> Self:
        """Raises MonthError after December 9999, the calendar's last month."""
        return type(self)(self.year + self.month // 12, self.month % 12 + 1)

    def previous(self) -> Self:
        return type(self)(self.year - (self.month == 1), (self.month - 2) % 12 + 1)


def first_charge(day: date, billing_day: int) -> date:
    """The first billing day on or after `day`; in the calendar's last month, its only one."""
    month = BillingMonth.containing(day)
    this = month.day(billing_day)
    return this if day <= this or (month.year, month.month) == _LAST else month.next().day(billing_day)


def may_send(month: BillingMonth, now: datetime, margin: timedelta) -> bool:
    """Whether a charge of `month` may be sent to Omie now.

    Omie's FaturarContrato bills *its* current month, whatever we meant: a charge goes out only inside its own
    month, and not in the first or last `margin` of it, when it may be another month by Omie's clock.
    """
    moment = now.astimezone(UTC)
    return BillingMonth.of(moment - margin) == month == BillingMonth.of(moment + margin)


def opens_at(month: BillingMonth, margin: timedelta) -> datetime:
    """From when charges of `month` may be sent."""
    return datetime(month.year, month.month, 1, tzinfo=SAO_PAULO) + margin
