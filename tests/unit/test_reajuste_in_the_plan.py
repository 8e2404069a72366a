"""A yearly adjustment from the plan's proposal to the bill, in the lab."""

from datetime import datetime
from decimal import Decimal

import pytest

from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.plan import PlanLine
from billing.domain.reajuste import Index, window
from simulators.lab import Lab
from simulators.world import CONTRACTS_TABLE, FIELDS


@pytest.fixture
def lab():
    return Lab(3, seed=3, clean=True, start=datetime(2026, 11, 20, 10, 0, tzinfo=SAO_PAULO))


def edit(lab, **words):
    data = {FIELDS[word]: value for word, value in words.items()}
    lab.jestor.edit({"table": CONTRACTS_TABLE, "id": 1, "data": data}, lab.now())


def planned(lab, **wanted):
    """The first contract's line of a preview."""
    before = set(lab.objects.texts)
    lab.run(preview=True, companies=["acme"], **wanted)
    (key,) = {key for key in lab.objects.texts if key.endswith("plan.jsonl")} - before
    lines = map(PlanLine.from_json, lab.objects.texts[key].splitlines())
    return next(line for line in lines if line.contract == "JST-1")


def test_the_plan_proposes_and_bills_the_old_price_until_a_person_applies_it(lab):
    old = planned(lab).amount
    edit(lab, readjust_index="Percentual fixo", readjust_percent=10, readjusted_on="2025-12-01")
    assert planned(lab).warnings == ()  # November: eleven months
    lab.clock.advance(11 * 86400)
    line = planned(lab)
    assert line.amount == old
    (said,) = line.warnings
    assert said.startswith("Reajuste devido desde 01/12/2026 (percentual fixo): proposta R$ 350,60 → R$ 385,66")
    assert said.endswith("Preço unitário: R$ 350,60 × fator = R$ 385,66, arredondado só aqui (meio centavo sobe).")


def test_a_price_applied_before_its_day_is_billed_from_that_day_on(lab):
    old = planned(lab).amount
    edit(lab, readjust_index="Percentual fixo", readjust_percent=10, unit_amount=385.66)
    edit(lab, readjusted_on="2026-12-01", change_from="2026-12-01")
    assert lab.run(companies=["acme"])["balanced"]
    lab.clock.advance(11 * 86400)
    assert lab.run(companies=["acme"])["balanced"]
    billed = {
        month: charge.amount
        for month in ("2026-11", "2026-12")
        for charge in lab.ledger.by_month("acme", BillingMonth.parse(month))
        if charge.key.contract == "JST-1"
    }
    assert billed == {"2026-11": old, "2026-12": 38_566}


def test_an_index_comes_from_the_imported_table_and_a_missing_month_is_named(lab):
    edit(lab, readjust_index="IGP-M", readjusted_on="2025-12-01")
    lab.clock.advance(11 * 86400)
    assert "falta na tabela o IGP-M (FGV) de 12/2025, 01/2026" in planned(lab).warnings[0]
    months = window(BillingMonth(2026, 12).first_day, 1)
    lab.indices = {Index.IGPM: dict.fromkeys(months, Decimal(1))}
    assert "R$ 350,60 → R$ 395,06 por unidade (12,6825…%)" in planned(lab).warnings[0]
