from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.month import SAO_PAULO, BillingMonth, MonthError, first_charge, may_send

months = st.builds(BillingMonth, st.integers(2000, 9997), st.integers(1, 12))
moments = st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
DECEMBER = BillingMonth(2026, 12)


@given(months)
def test_a_month_reads_back_as_it_is_written(month):
    assert BillingMonth.parse(str(month)) == month


@given(months)
def test_next_and_previous_undo_each_other_and_keep_the_order(month):
    assert month.next().previous() == month
    assert month < month.next()
    assert month.last_day + timedelta(days=1) == month.next().first_day


@given(months, st.integers(1, 31))
def test_a_day_never_leaves_its_month(month, number):
    day = month.day(number)
    assert BillingMonth.containing(day) == month
    assert day.day == number or day == month.last_day


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "12-2026", "2026-1", "2026-12-01", "０２６-12", "1999-12"]
)
def test_other_forms_are_refused(text):
    with pytest.raises(MonthError):
        BillingMonth.parse(text)


def test_the_end_of_the_month_clamps():
    assert BillingMonth(2026, 2).day(31) == date(2026, 2, 28)
    assert BillingMonth(2028, 2).day(30) == date(2028, 2, 29)
    assert DECEMBER.first_day == date(2026, 12, 1)
    assert DECEMBER.next() == BillingMonth(2027, 1)
    assert BillingMonth(2027, 1).previous() == DECEMBER


def test_the_month_is_the_one_of_sao_paulo_not_of_utc():
    assert BillingMonth.of(datetime(2027, 1, 1, 2, 59, tzinfo=UTC)) == DECEMBER
    assert BillingMonth.of(datetime(2027, 1, 1, 3, 0, tzinfo=UTC)) == BillingMonth(2027, 1)


def test_a_moment_without_a_time_zone_belongs_to_no_month():
    with pytest.raises(MonthError, match="time zone"):
        BillingMonth.of(datetime(2026, 12, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("local", "allowed"),
    [
        ("2026-11-30 23:59:59", False),
        ("2026-12-01 00:00:00", False),
        ("2026-12-01 00:09:59", False),
        ("2026-12-01 00:10:00", True),
        ("2026-12-31 23:49:59", True),
        ("2026-12-31 23:50:00", False),
        ("2027-01-01 00:00:00", False),
    ],
)
def test_a_charge_goes_out_only_inside_its_own_month_short_of_both_midnights(local, allowed):
    now = datetime.fromisoformat(local).replace(tzinfo=SAO_PAULO)
    assert may_send(DECEMBER, now, timedelta(minutes=10)) is allowed


@given(moments, st.timedeltas(timedelta(0), timedelta(days=2)))
def test_whatever_may_be_sent_still_lies_in_its_month_after_the_margin(now, margin):
    month = BillingMonth.of(now)
    allowed = may_send(month, now, margin)
    assert allowed == (BillingMonth.of(now - margin) == month == BillingMonth.of(now + margin))
    assert not may_send(month.next(), now, margin)
    assert not may_send(month.previous(), now, margin)


def test_the_calendars_last_month_is_a_month_and_has_no_next():
    last = BillingMonth.containing(date(9999, 12, 31))
    assert str(last) == "9999-12"
    assert last.previous().next() == last
    with pytest.raises(MonthError):
        last.next()


@pytest.mark.parametrize(
    ("day", "billing_day", "first"),
    [
        (date(2026, 12, 1), 1, date(2026, 12, 1)),
        (date(2026, 12, 2), 1, date(2027, 1, 1)),
        (date(2026, 2, 20), 31, date(2026, 2, 28)),
        (date(9999, 12, 1), 1, date(9999, 12, 1)),
        (date(9999, 12, 31), 1, date(9999, 12, 1)),
        (date(9999, 12, 31), 31, date(9999, 12, 31)),
    ],
)
def test_the_first_billing_day_on_or_after_a_day(day, billing_day, first):
    assert first_charge(day, billing_day) == first
