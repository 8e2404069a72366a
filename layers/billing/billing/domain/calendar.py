"""Business days. Who knows the holidays (national, of the state, of the city) is asked, never imported."""

from collections.abc import Callable
from datetime import date, timedelta

from billing.domain.month import BillingMonth

HolidayCheck = Callable[[date], bool]
"""True for a bank holiday. Weekends need not be in it."""


def is_business_day(day: date, is_holiday: HolidayCheck) -> bool:
    return day.weekday() < 5 and not is_holiday(day)


def business_day_on_or_after(day: date, is_holiday: HolidayCheck) -> date:
    while not is_business_day(day, is_holiday):
        day += timedelta(days=1)
    return day


def first_business_day(month: BillingMonth, is_holiday: HolidayCheck) -> date:
    return business_day_on_or_after(month.first_day, is_holiday)
