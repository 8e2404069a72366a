from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from billing.domain.calendar import business_day_on_or_after, first_business_day, is_business_day
from billing.domain.month import BillingMonth

HOLIDAYS = frozenset({date(2027, 1, 1), date(2026, 12, 25)})
is_holiday = HOLIDAYS.__contains__


def test_weekends_and_holidays_are_no_business_days():
    assert is_business_day(date(2026, 12, 24), is_holiday)
    assert not is_business_day(date(2026, 12, 25), is_holiday)
    assert not is_business_day(date(2026, 12, 26), is_holiday)
    assert not is_business_day(date(2026, 12, 27), is_holiday)


def test_a_holiday_before_a_weekend_goes_to_monday():
    assert business_day_on_or_after(date(2026, 12, 25), is_holiday) == date(2026, 12, 28)


def test_the_first_business_day_of_january_is_not_the_first():
    assert first_business_day(BillingMonth(2027, 1), is_holiday) == date(2027, 1, 4)
    assert first_business_day(BillingMonth(2026, 12), is_holiday) == date(2026, 12, 1)


@given(st.dates(date(2001, 1, 1), date(2090, 1, 1)), st.frozensets(st.integers(0, 9)))
def test_the_day_found_is_the_first_business_day_there_is(day, offsets):
    holidays = {day + timedelta(days=offset) for offset in offsets}
    found = business_day_on_or_after(day, holidays.__contains__)
    assert is_business_day(found, holidays.__contains__)
    skipped = (day + timedelta(days=n) for n in range((found - day).days))
    assert not any(is_business_day(before, holidays.__contains__) for before in skipped)
