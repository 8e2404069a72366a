"""What makes one Omie contract agree with its row: the table of `domain.agree`, row by row."""

from dataclasses import replace
from datetime import date

import pytest

from billing.domain.agree import Step, decide, next_charge
from billing.domain.contract import BadRow, Contract, ContractStatus, Customer
from billing.domain.month import BillingMonth
from billing.domain.plan import CompanyPolicy, OmieContract, Service, fingerprint

TODAY = date(2026, 12, 10)
POLICY = CompanyPolicy("acme", {"Pro": Service("900", "Plano Pro")})
ROW = Contract(
    jestor_id=12,
    company="acme",
    name="Padaria",
    customer=Customer("11222333000181", "Padaria", email="a@cliente.example"),
    service="Pro",
    description="Plano Pro",
    quantity=1,
    unit_amount=15000,
    discount=0,
    due_day=10,
    start=date(2025, 1, 1),
    end=None,
    status=ContractStatus.ACTIVE,
    status_label="Ativo",
)


def omie(amount=15000, situation="10", *, code="JST-12", n=500, day=10, month="N", description="Plano Pro"):
    seen = fingerprint(
        description=description, service_key="900", cTpVenc="002", nDiaFixo=day, cProxMes=month,
        email="a@cliente.example",
    )  # fmt: skip
    return OmieContract(n, code, "2025/12", situation, 900, 1, amount, 0, 1, None, None, seen)


def status(word):
    return replace(ROW, status=ContractStatus(word), status_label=word)


def of(row, found, **more):
    return decide(row, found, policy=POLICY, today=TODAY, **more)


def test_a_contract_that_agrees_needs_nothing():
    assert of(ROW, omie()).agrees


def test_a_change_of_price_alters_and_holds_from_the_next_charge():
    decision = of(ROW, omie(12000))
    assert decision.steps == (Step.ALTER,)
    assert decision.changes == ("valor R$ 120,00 → R$ 150,00",)
    assert (decision.desired.amount, decision.month) == (15000, BillingMonth(2027, 1))


@pytest.mark.parametrize(
    ("word", "churn", "situation", "steps"),
    [
        ("suspended", "suspend", "10", (Step.SUSPEND,)),
        ("suspended", "cancel", "10", (Step.SUSPEND,)),
        ("churned", "suspend", "10", (Step.SUSPEND,)),
        ("churned", "cancel", "10", (Step.CANCEL,)),
        ("churned", "cancel", "90", (Step.CANCEL,)),
        ("churned", "suspend", "90", ()),
        ("churned", "suspend", "99", ()),
        ("churned", "cancel", "99", ()),
        ("suspended", "suspend", "90", ()),
        ("churned", "suspend", "00", ()),
    ],
)
def test_a_stop_in_jestor_stops_what_omie_would_bill(word, churn, situation, steps):
    for busy in (False, True):  # stopping waits for no run
        assert of(status(word), omie(situation=situation), churn=churn, busy=busy).steps == steps


@pytest.mark.parametrize("situation", ["90", "99"])
def test_what_was_stopped_in_agreement_is_started_again_and_brought_up_to_date(situation):
    decision = of(ROW, omie(12000, situation), ours=True)
    assert decision.steps == (Step.REACTIVATE, Step.ALTER)
    assert decision.changes == ("contrato reativado", "valor R$ 120,00 → R$ 150,00")
    assert of(ROW, omie(situation=situation), ours=True).steps == (Step.REACTIVATE,)


def test_what_a_person_stopped_in_omie_is_theirs():
    decision = of(ROW, omie(situation="90"))
    assert decision.steps == (Step.TELL,)
    assert "suspenso no Omie" in decision.problem


def test_a_contract_that_moved_is_stopped_where_it_was():
    moved = replace(ROW, company="nimbus", omie_id=777)
    assert of(moved, omie()).steps == (Step.MOVE,)
    assert of(moved, omie(situation="90")).agrees
    assert of(moved, omie(code="")).agrees  # nobody says that this one was ever its


def test_a_row_out_of_sight_stops_nobody():
    decision = of(None, omie())
    assert decision.steps == (Step.TELL,)
    assert "JST-12 não está mais no Jestor" in decision.problem
    assert of(None, omie(situation="90")).agrees
    assert of(None, None).agrees


@pytest.mark.parametrize("word", ["draft", "other"])
def test_a_status_that_is_not_billed_is_told_while_omie_would_bill(word):
    assert of(status(word), omie()).steps == (Step.TELL,)
    assert of(status(word), omie(situation="90")).agrees


def test_what_cannot_be_read_is_told_and_never_guessed():
    decision = of(BadRow(12, "acme", "Padaria", ("valor: vazio",)), omie())
    assert (decision.steps, decision.problem) == ((Step.TELL,), "Corrija no Jestor: valor: vazio")


def test_only_the_plan_creates():
    assert of(ROW, None).steps == (Step.CREATE,)
    assert not of(ROW, None).writes
    assert of(status("churned"), None).agrees
    assert of(replace(ROW, company="nimbus"), None).agrees


def test_another_rows_contract_is_left_alone_even_by_a_churn():
    for row in (replace(ROW, omie_id=500), replace(status("churned"), omie_id=500)):
        assert of(row, omie(code="JST-7")).steps == (Step.TELL,)
        assert of(row, omie(code=""), rivals=("JST-7",)).steps == (Step.TELL,)


def test_a_change_waits_while_a_run_has_the_contract_in_hand():
    decision = of(ROW, omie(12000), busy=True)
    assert (decision.steps, decision.waits) == ((), "run")
    assert of(ROW, omie(), busy=True).agrees


def test_a_change_waits_for_its_day_and_says_from_which_charge_it_holds():
    later = replace(ROW, change_from=date(2027, 1, 15))
    decision = of(later, omie(12000))
    assert (decision.steps, decision.waits, decision.month) == ((), "date", BillingMonth(2027, 2))
    assert decide(later, omie(12000), policy=POLICY, today=date(2027, 1, 15)).steps == (Step.ALTER,)
    assert of(later, omie()).agrees


def test_a_due_rule_written_for_another_month_is_no_difference_and_another_day_is():
    late = replace(ROW, due_day=31)
    for seen in (omie(day=28), omie(day=30), omie(day=31, month="S")):
        assert of(late, seen).agrees
    assert of(ROW, omie(day=10, month="S")).agrees
    assert of(ROW, omie(day=15)).changes == ("vencimento",)
    assert of(late, omie(day=27)).changes == ("vencimento",)


@pytest.mark.parametrize(
    ("today", "over", "charge"),
    [
        (date(2026, 12, 1), False, date(2026, 12, 1)),
        (date(2026, 12, 1), True, date(2027, 1, 1)),
        (date(2026, 12, 2), False, date(2027, 1, 1)),
    ],
)
def test_the_next_charge_is_this_months_until_it_is_over_or_its_day_has_passed(today, over, charge):
    assert next_charge(today, 1, over=over) == charge


def test_a_change_at_the_end_of_the_calendar_waits():
    found = of(replace(ROW, unit_amount=1, change_from=date(9999, 12, 31)), omie())
    assert (found.waits, str(found.month)) == ("date", "9999-12")


def test_a_contract_of_omie_that_cannot_be_read_is_told_and_still_stopped():
    odd = omie()._replace(unreadable="ValueError", own_total=0, fingerprint="...")
    assert of(ROW, odd).steps == (Step.TELL,)
    assert "Não foi possível ler o contrato" in of(ROW, odd).problem
    assert of(replace(ROW, status=ContractStatus.CHURNED), odd).steps == (Step.SUSPEND,)
