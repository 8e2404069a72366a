"""The days on which banks stay closed, as the calendar of the schedule needs them."""

from datetime import date

import pytest

from billing.domain.calendar import first_business_day
from billing.domain.month import BillingMonth
from billing.holidays_br import is_bank_holiday


@pytest.mark.parametrize(
    "day",
    [
        date(2027, 1, 1),
        date(2027, 2, 8),  # Carnival's Monday
        date(2027, 2, 9),  # and its Tuesday
        date(2027, 3, 26),  # Good Friday
        date(2027, 4, 21),
        date(2027, 5, 1),
        date(2027, 5, 27),  # Corpus Christi
        date(2026, 9, 7),
        date(2026, 10, 12),
        date(2026, 11, 2),
        date(2026, 11, 15),
        date(2026, 11, 20),  # national since 2024
        date(2026, 12, 25),
        date(2026, 12, 31),  # banks are closed to the public
    ],
)
def test_banks_are_closed(day):
    assert is_bank_holiday(day)


@pytest.mark.parametrize(
    "day",
    [
        date(2027, 2, 10),  # Ash Wednesday: open from noon
        date(2026, 12, 24),  # open in the morning, though the exchange rests
        date(2026, 12, 1),
        date(2023, 11, 20),  # not yet national
        date(2027, 1, 25),  # São Paulo's own
        date(2026, 8, 1),  # a Saturday is no holiday: the calendar knows weekends
    ],
)
def test_banks_open(day):
    assert not is_bank_holiday(day)


@pytest.mark.parametrize("year", range(2024, 2036))
def test_the_month_after_carnival_and_the_new_year_begin_on_a_day_that_banks_open(year):
    for month in range(1, 13):
        day = first_business_day(BillingMonth(year, month), is_bank_holiday)
        assert day.weekday() < 5
        assert not is_bank_holiday(day)
        assert day.day <= 5
