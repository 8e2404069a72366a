"""The yearly adjustment: due after twelve months and never before, by months that are known, rounded once."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.month import BillingMonth
from billing.domain.reajuste import (
    Index,
    Rules,
    Wish,
    first_bill,
    last_anniversary,
    proposal,
    window,
    years_after,
)

IPCA_2025 = dict(
    zip(
        window(date(2026, 1, 1), 1),
        map(Decimal, ["0.16", "1.31", "0.56", "0.43", "0.26", "0.24", "0.26", "-0.11", "0.48", "0.09", "0.18", "0.33"]),
        strict=True,
    )
)
"""As published by IBGE; its own accumulated figure for 2025 is 4.26 %."""
PERCENTS = st.decimals(Decimal(-2), Decimal(3), places=2)


def due(wish=None, *, unit=100_000, on=date(2026, 1, 1), start=date(2025, 1, 1), table=None, **rules):
    wish = wish or Wish(Index.IPCA)
    return proposal(
        wish, start=start, unit_amount=unit, effective=on, table={Index.IPCA: table or IPCA_2025}, rules=Rules(**rules)
    )


def test_the_accumulated_index_is_the_publishers_own():
    found = due()
    assert found.after == 104_264
    assert round(found.percent, 2) == Decimal("4.26")
    assert "01/2025 0,16%; 02/2025 1,31%" in found.proof
    assert "Lei 10.192/2001, art. 2º" in found.proof
    assert "R$ 1.000,00 × fator = R$ 1.042,64" in found.proof


@pytest.mark.parametrize(
    ("base", "on", "is_due"),
    [
        ("2025-01-01", "2025-12-31", False),
        ("2025-01-01", "2026-01-01", True),
        ("2025-01-02", "2026-01-01", False),  # billed on the 1st: the year ends one day later
        ("2025-01-02", "2026-02-01", True),
        ("2024-02-29", "2025-02-28", False),  # no 29th: the year ends on the next day (CC art. 132, §3)
        ("2024-02-29", "2025-03-01", True),
        ("2027-01-01", "2026-01-01", False),
    ],
)
def test_nothing_is_due_before_twelve_months_are_over(base, on, is_due):
    months = {BillingMonth(year, month): Decimal(0) for year in range(2023, 2028) for month in range(1, 13)}
    found = due(start=date.fromisoformat(base), on=date.fromisoformat(on), table=months)
    assert (found is not None) == is_due


@given(base=st.dates(date(2010, 1, 1), date(2030, 1, 1)), days=st.integers(0, 4000))
def test_between_two_adjustments_there_are_always_twelve_months(base, days):
    on = base + timedelta(days=days)
    found = last_anniversary(base, on)
    if found is None:
        assert on < years_after(base, 1)
        return
    assert base + timedelta(days=365) <= found <= on
    assert on < years_after(found, 1) + timedelta(days=1)
    applied = last_anniversary(on, on + timedelta(days=364))
    assert applied is None


@given(st.lists(PERCENTS, min_size=12, max_size=12), st.integers(1, 10**9))
def test_the_price_is_the_exact_product_rounded_once(percents, unit):
    table = dict(zip(window(date(2026, 1, 1), 1), percents, strict=True))
    found = due(unit=unit, table=table, reduce=True)
    exact = Fraction(unit)
    for percent in percents:
        exact *= 1 + Fraction(percent) / 100
    assert abs(found.after - exact) <= Fraction(1, 2)
    assert found.after == (exact + Fraction(1, 2)).__floor__()


@given(st.lists(PERCENTS, min_size=12, max_size=12), st.integers(1, 10**9))
def test_without_the_setting_a_price_never_falls(percents, unit):
    table = dict(zip(window(date(2026, 1, 1), 1), percents, strict=True))
    found = due(unit=unit, table=table)
    assert found.after >= unit
    assert due(unit=unit, table=table, reduce=True).after <= found.after


def test_a_negative_index_says_why_the_price_stays():
    falling = dict.fromkeys(IPCA_2025, Decimal("-0.5"))
    kept, reduced = due(table=falling), due(table=falling, reduce=True)
    assert (kept.after, reduced.after) == (100_000, 94_162)
    assert "negativo: o preço não é reduzido" in kept.proof
    assert "não muda" in kept.line


def test_a_month_that_is_not_in_the_table_is_named_and_not_guessed():
    known = {month: percent for month, percent in IPCA_2025.items() if month.month not in {3, 12}}
    found = due(table=known)
    assert (found.after, found.percent) == (None, None)
    assert [str(month) for month in found.missing] == ["2025-03", "2025-12"]
    assert "falta na tabela o IPCA (IBGE) de 03/2025, 12/2025" in found.proof
    assert found.line.startswith("Reajuste devido desde 01/01/2026 (IPCA (IBGE)), sem proposta: falta")


def test_the_last_month_counted_is_a_setting():
    assert [str(month) for month in window(date(2026, 1, 10), 2)][::11] == ["2024-12", "2025-11"]
    assert due(lag_months=2).missing == (BillingMonth(2024, 12),)


def test_years_that_nobody_adjusted_are_not_made_up_for():
    found = due(start=date(2022, 1, 1))
    assert found.after == 104_264
    assert "não são recuperados" in found.proof
    assert "não são recuperados" not in due().proof


def test_the_last_adjustment_counts_before_the_contracts_first_day():
    assert due(Wish(Index.IPCA, last=date(2025, 6, 1)), start=date(2020, 1, 1)) is None


@pytest.mark.parametrize(
    ("percent", "unit", "after"),
    [("5", 100_000, 105_000), ("4.5", 19_990, 20_890), ("0", 100, 100), ("2.5", 20, 21), ("2.4999", 20, 20)],
)
def test_a_fixed_percentage_needs_no_table(percent, unit, after):
    found = due(Wish(Index.FIXED, Decimal(percent)), unit=unit, table={})
    assert found.after == after
    assert "percentual fixo" in found.proof


@pytest.mark.parametrize(
    ("wish", "start", "says"),
    [
        (Wish(Index.FIXED), date(2025, 1, 1), "informe no Jestor o percentual fixo"),
        (Wish(Index.FIXED, Decimal(450)), date(2025, 1, 1), "450% ao ano não parece certo"),
        (Wish(Index.IPCA), None, "informe o início do contrato ou a data do último reajuste"),
        (Wish(Index.IPCA, problems=("ultimo_reajuste: não é uma data",)), date(2025, 1, 1), "corrija no Jestor"),
    ],
)
def test_what_cannot_be_computed_says_what_to_put_right(wish, start, says):
    found = due(wish, start=start)
    assert found.after is None
    assert says in found.line


def test_a_contract_that_agreed_on_nothing_is_left_alone():
    assert due(Wish()) is None
    assert due(Wish(Index.FIXED, Decimal(5)), unit=0) is None


@pytest.mark.parametrize(
    ("today", "billing_day", "first"),
    [("2026-12-01", 1, "2027-01-01"), ("2026-12-02", 1, "2027-01-01"), ("2026-12-02", 28, "2026-12-28")],
)
def test_a_price_changed_today_is_charged_on_the_next_billing_day(today, billing_day, first):
    assert first_bill(date.fromisoformat(today), billing_day) == date.fromisoformat(first)
