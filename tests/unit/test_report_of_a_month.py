"""A month's report tells the same story however often the month was run: causes, additions, totals, to the word."""

import csv
import io
import json
import re
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.domain.charge import ChargeKey, State
from billing.domain.money import format_brl
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.settings import LateFeeSettings
from simulators.lab import Lab, demo_settings
from simulators.world import CONTRACTS_TABLE, FIELDS

LATE = LateFeeSettings(fine_percent=Decimal(2), interest_percent=Decimal(1))
JANUARY = BillingMonth(2027, 1)


class Year:
    """December was billed; in January prices differ, titles are late, and the last contract is new."""

    def __init__(self, seed=1, contracts=12):
        settings = demo_settings()
        companies = {key: one.model_copy(update={"late_fee": LATE}) for key, one in settings.companies.items()}
        self.lab = Lab(contracts, seed, settings=settings.model_copy(update={"companies": companies}))
        self.lab.run()
        self.billed = sorted(
            (
                charge
                for key in companies
                for charge in self.lab.ledger.by_month(key, JANUARY.previous(), {State.BILLED})
            ),
            key=lambda charge: charge.key,
        )
        self.lab.clock.set(datetime(2027, 1, 1, 6, tzinfo=SAO_PAULO))
        self.lab.omie.advance(self.lab.now())
        *changed, self.late_comer = [charge.key.contract for charge in self.billed if charge.key.kind == "mensalidade"]
        for number, contract in enumerate(changed):
            if number % 3 == 0:
                self.says(contract, unit_amount=f"{700 + 13 * number + seed},00", quantity="2", discount="100,00")
        self.status = self.row(self.late_comer)[FIELDS["status"]]
        self.says(self.late_comer, status="Suspenso")

    def row(self, contract):
        return self.lab.jestor.tables[CONTRACTS_TABLE].rows[int(contract.removeprefix("JST-"))]

    def says(self, contract, **fields):
        data = {FIELDS[name]: value for name, value in fields.items()}
        edit = {"table": CONTRACTS_TABLE, "id": int(contract.removeprefix("JST-")), "data": data}
        self.lab.jestor.edit(edit, self.lab.now())

    def run(self, **wanted):
        return self.page(self.lab.run(**wanted))

    def page(self, answer):
        texts = {kind: self.lab.objects.texts[key] for kind, key in answer["report"].items()}
        return Page(json.loads(texts["json"]), texts["html"], texts["csv"])

    def charge(self, contract):
        return self.lab.ledger.get(ChargeKey(contract, JANUARY))


class Page:
    def __init__(self, data, html, table):
        self.data = data
        self.html = html
        rows = list(csv.DictReader(io.StringIO(table.lstrip("\ufeff")), delimiter=";"))
        self.rows = {row["Contrato"]: row for row in rows}

    def story(self):
        """What must not change: causes, differences, additions with their arithmetic, last month's and this one's sums."""
        names = ("causes", "differences", "additions", "additions_amount", "previous", "owed", "needs_person")
        found = {name: self.data[name] for name in names}
        return found | {"billed": self.data["total"]["billed"], "parked": self.data["total"]["parked"]}

    def sections(self):
        """The page's own sections about differences and additions."""
        sections = re.findall(r"<section.*?</section>", self.html, re.DOTALL)
        return [text for text in sections if re.search("<h2>(Diferenças|Acréscimos|Precisa)", text)]

    def verdict_amount(self):
        return format_brl(self.data["total"]["billed"]["amount"]["centavos"])

    def billed(self):
        columns = ("Valor", "Mês anterior", "Diferença", "Causa", "Vencimento", "OS", "Código Omie")
        rows = [row for row in self.rows.values() if row["Situação"] == "faturado"]
        return {row["Contrato"]: [row[column] for column in columns] for row in rows}


def test_the_month_run_again_tells_the_same_causes_additions_and_totals_to_the_word():
    year = Year()
    first, second = year.run(), year.run()
    assert first.data["additions"]["count"] > 0
    assert {"Upsell", "Downgrade"} & {cause["cause"] for cause in first.data["causes"]}
    assert second.story() == first.story()
    assert second.sections() == first.sections()
    assert second.billed() == first.billed()


def test_one_more_contract_adds_its_own_line_and_changes_no_other():
    year = Year()
    first = year.run()
    year.says(year.late_comer, status=year.status)
    third = year.run()
    assert third.billed().keys() - first.billed().keys() == {year.late_comer}
    assert {key: row for key, row in third.billed().items() if key != year.late_comer} == first.billed()
    amounts = [page.data["total"]["billed"]["amount"]["centavos"] for page in (first, third)]
    assert amounts[1] - amounts[0] == year.charge(year.late_comer).amount
    assert "Sem causa conhecida" not in third.html


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(st.integers(2, 400))
def test_whatever_the_world_a_second_run_tells_the_same(seed):
    year = Year(seed, 6)
    first, second = year.run(), year.run()
    assert second.story() == first.story()
    assert second.billed() == first.billed()


def test_a_preview_of_a_billed_month_tells_it_too():
    year = Year()
    first, preview = year.run(), year.run(preview=True)
    assert preview.data["causes"] == first.data["causes"]
    assert preview.data["additions"] == first.data["additions"]


def test_a_preview_of_a_billed_month_says_that_it_is_billed_and_what_would_still_be():
    year = Year()
    first = year.run()
    year.says(year.late_comer, status=year.status)
    answer = year.lab.run(preview=True)
    page = year.page(answer)
    billed = first.data["total"]["billed"]
    assert "1 contrato seria faturado, " in answer["explanation"]
    assert f"Já faturados neste mês: {billed['count']} ({first.verdict_amount()})." in answer["explanation"]
    assert "antes desta execução" not in answer["explanation"]
    states = {key: row["Situação"] for key, row in page.rows.items()}
    assert states[year.late_comer] == "a faturar"
    assert {states[key] for key in first.billed()} == {"faturado"}
    assert "Faturado ou a faturar" in page.html
    assert "Os números mostram o que já foi e o que seria faturado." in page.html


def test_what_was_billed_and_then_deleted_from_jestor_stays_in_the_month():
    year = Year()
    first = year.run()
    gone = next(iter(first.billed()))
    year.lab.jestor.edit({"table": CONTRACTS_TABLE, "delete": [int(gone.removeprefix("JST-"))]}, year.lab.now())
    second = year.run()
    assert second.data["balanced"] is True
    assert second.data["total"]["billed"] == first.data["total"]["billed"]
    assert second.data["causes"] == first.data["causes"]
    assert second.billed()[gone] == first.billed()[gone]


def test_a_charge_of_before_that_keeps_no_composition_still_has_a_cause():
    year = Year()
    first = year.run()
    for item in year.lab.ledger._charges.values():
        item.pop("composition", None)
        item["additions"] = [{k: v for k, v in each.items() if k != "text"} for each in item["additions"]]
    second = year.run()
    assert "Sem causa conhecida" not in second.html
    assert second.data["causes"] == first.data["causes"]
    assert second.data["additions_amount"] == first.data["additions_amount"]


def test_what_a_charge_is_made_of_stays_with_it():
    year = Year()
    year.run()
    made = next(
        one for one in map(year.charge, sorted({c.key.contract for c in year.billed})) if one and one.composition
    )
    kept = made.composition
    assert kept.own + kept.foreign_total + sum(each["amount"] for each in made.additions) == made.amount
    assert kept.quantity * kept.unit_amount - kept.discount == kept.own
    assert kept.previous_month == "2026-12"
    assert kept.cause


def test_a_contract_that_a_person_billed_has_its_cause_in_every_run():
    year = Year()
    charge = next(one for one in year.billed if one.company == "acme" and one.key.contract != year.late_comer)
    order = year.lab.omie.bill_by_person("acme", charge.nCodCtr, now=year.lab.now())
    year.lab.clock.advance(year.lab.settings.companies["acme"].list_lag_seconds)
    first, second = year.run(), year.run()
    assert year.charge(charge.key.contract).nCodOS == order
    assert first.rows[charge.key.contract]["Situação"] == "faturado"
    assert "Sem causa conhecida" not in first.html
    assert second.story() == first.story()
