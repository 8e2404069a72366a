"""The golden table of late fine and interest (late_fee_golden.csv), each case with the law or convention it shows.

Every amount was worked out by hand. `day_by_day` is a second, independent calculation: whole fractions, one day at a
time, with holidays from the computus. An empty cell is the default: 2 % and 1 % for a consumer.
"""

import csv
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from billing.domain.late_fee import (
    CountingStart,
    LateFeeRefused,
    Mode,
    Payment,
    Rounding,
    Terms,
    Title,
    late_fee,
)
from billing.domain.money import format_brl, parse_money, reais
from billing.holidays_br import is_bank_holiday

TABLE = Path(__file__).with_name("late_fee_golden.csv").read_text(encoding="utf-8")
CASES = list(csv.DictReader(TABLE.splitlines()))
COMPUTED = [case for case in CASES if not case["expect_refusal"]]
REFUSED = [case for case in CASES if case["expect_refusal"]]


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["case"])


def percent(text, default):
    return None if text == "none" else Decimal(text or default)


def payments_of(case):
    pairs = (pair.split(":") for pair in case["payments"].split())
    return [Payment(date.fromisoformat(day), parse_money(amount)) for day, amount in pairs]


def computed(case):
    terms = Terms(
        fine_percent=percent(case["fine_percent"], "2"),
        interest_percent=percent(case["interest_percent"], "1"),
        grace_days=int(case["grace_days"] or 0),
        rounding=Rounding(case["rounding"] or "half_up"),
        consumer=case["customer"] != "business",
        mode=Mode(case["mode"] or "next_invoice"),
        counting_start=CountingStart(case["counting_start"] or "due_date"),
    )
    title = Title(
        amount=parse_money(case["amount"]),
        due=date.fromisoformat(case["due"]),
        payments=payments_of(case),
        collected_fine=parse_money(case["collected_fine"] or "0"),
        collected_interest=parse_money(case["collected_interest"] or "0"),
    )
    return late_fee(title, terms, date.fromisoformat(case["as_of"]), is_bank_holiday)


def easter(year):
    century, golden = year // 100, year % 19
    moon = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (year % 100 // 4) - moon - year % 100 % 4) % 7
    month, day = divmod(moon + weekday - 7 * ((golden + 11 * moon + 22 * weekday) // 451) + 114, 31)
    return date(year, month, day + 1)


def banks_open(day):
    fixed = {(1, 1), (4, 21), (5, 1), (9, 7), (10, 12), (11, 2), (11, 15), (11, 20), (12, 25), (12, 31)}
    moving = {easter(day.year) + timedelta(days=days) for days in (-48, -47, -2, 60)}
    return day.weekday() < 5 and (day.month, day.day) not in fixed and day not in moving


def day_by_day(case):
    """(fine, interest) in reais and days of the case, walking from the due date to its `as_of`."""
    if case["mode"]:
        return Fraction(0), Fraction(0), 0
    due, as_of = date.fromisoformat(case["due"]), date.fromisoformat(case["as_of"])
    extended = due
    while not banks_open(extended):
        extended += timedelta(days=1)
    start = extended if case["counting_start"] == "extended_due_date" else due
    in_time = {extended} | {start + timedelta(days=days) for days in range(int(case["grace_days"] or 0) + 1)}
    balance = Fraction(case["amount"])
    fine_base = balance
    interest = Fraction(0)
    days = 0
    day = min([due, *(payment.day for payment in payments_of(case))])
    while day <= as_of and balance:
        if day > start:
            days += 1
            rate = Fraction(case["interest_percent"] or 1) / 100 / 30
            interest += balance * rate
        balance -= sum(Fraction(payment.amount, 100) for payment in payments_of(case) if payment.day == day)
        if day <= extended:
            fine_base = balance
        day += timedelta(days=1)
    last = day - timedelta(days=1)
    if last <= max(in_time):
        return Fraction(0), Fraction(0), 0
    fine_percent = "0" if case["fine_percent"] == "none" else case["fine_percent"] or "2"

    def charged(exact, collected):
        extra = 0 if case["rounding"] == "truncate" else Fraction(1, 2)
        return max(Fraction(0), Fraction(int(exact * 100 + extra), 100) - Fraction(collected or 0))

    fine = charged(fine_base * Fraction(fine_percent) / 100, case["collected_fine"])
    return fine, charged(interest, case["collected_interest"]), days


@named(COMPUTED)
def test_the_case_comes_to_the_centavo_and_its_proof_says_why(case):
    result = computed(case)
    assert (reais(result.fine), reais(result.interest), result.days) == (
        Decimal(case["expect_fine"]),
        Decimal(case["expect_interest"]),
        int(case["expect_days"]),
    )
    assert case["proof_says"] in result.proof
    if result.days:
        fine, interest, total = map(format_brl, (result.fine, result.interest, result.total))
        assert f"A cobrar: multa {fine} + juros {interest} = {total}." in result.proof


def test_the_table_agrees_with_a_calculation_day_by_day():
    for case in COMPUTED:
        expected = Fraction(case["expect_fine"]), Fraction(case["expect_interest"]), int(case["expect_days"])
        assert day_by_day(case) == expected, case["case"]


@named(REFUSED)
def test_the_case_is_refused_with_its_reason(case):
    with pytest.raises(LateFeeRefused) as refused:
        computed(case)
    assert case["expect_refusal"] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_table_is_large_and_every_case_names_its_source():
    assert len(CASES) >= 60
    assert len({case["case"] for case in CASES}) == len(CASES)
    assert all(case["source"] for case in CASES)
    sources = " ".join(case["source"] for case in CASES)
    for law in ("CDC art. 52 §1º", "Lei 7.089/83", "Lei 10.192/2001", "CC art. 395 e 406", "CC art. 413"):
        assert law in sources
