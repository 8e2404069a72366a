import hashlib
import json
import sys
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.addition import Addition, Kind
from billing.domain.charge import Charge, ChargeKey, ParkClass, State
from billing.domain.composition import Composition
from billing.domain.contract import BadRow, Contract, ContractStatus, Customer, Price
from billing.domain.month import BillingMonth
from billing.domain.plan import (
    Action,
    CompanyPolicy,
    Desired,
    Guardrail,
    LedgerView,
    OmieContract,
    PlanLine,
    PlanSummary,
    Previous,
    Reason,
    Service,
    as_charged,
    brought,
    check_guardrail,
    differences,
    due_date,
    find_omie,
    fingerprint,
    is_jump,
    park_class,
    percent_of,
    plan_contract,
    plan_hash,
    service_key,
    shared_links,
    unlinked,
)

DECEMBER = BillingMonth(2026, 12)
FIRST = date(2026, 12, 1)
POLICY = CompanyPolicy(company="acme", services={"Plataforma": Service("7001", "Licença da plataforma")})
CUSTOMER = Customer(
    document="11222333000181",
    name="Açúcar & Cia",
    email="fin@example.com",
    cep="01001000",
    endereco="Praça da Sé",
    numero="1",
    bairro="Sé",
    cidade="São Paulo",
    estado="SP",
)
CONTRACT = Contract(
    jestor_id=12,
    company="acme",
    name="Açúcar & Cia - Plataforma",
    customer=CUSTOMER,
    service="Plataforma",
    description="Mensalidade",
    quantity=1,
    unit_amount=100000,
    discount=0,
    due_day=10,
    start=date(2025, 1, 15),
    end=None,
    status=ContractStatus.ACTIVE,
    status_label="Ativo",
)


def seen(description="Mensalidade", service="7001", due="002/10/N", email="fin@example.com"):
    cTpVenc, nDiaFixo, cProxMes = due.split("/")
    return fingerprint(
        description=description,
        service_key=service,
        cTpVenc=cTpVenc,
        nDiaFixo=int(nDiaFixo),
        cProxMes=cProxMes,
        email=email,
    )


OMIE = OmieContract(
    nCodCtr=500,
    cCodIntCtr="JST-12",
    cNumCtr="2025/00012",
    cCodSit="10",
    nCodCli=900,
    nDiaFat=1,
    own_total=100000,
    foreign_total=0,
    own_items=1,
    dVigInicial=date(2025, 1, 15),
    dVigFinal=date(2030, 12, 31),
    fingerprint=seen(),
)


FEE = Addition(
    key="encargos#77#2026-12",
    kind=Kind.LATE,
    amount=1234,
    text="Encargos por atraso do boleto de 10/11/2026: multa R$ 10,00 + juros R$ 2,34",
    proof="Multa...",
    title=77,
    through="2026-11-30",
    fine=1000,
    interest=234,
)
SHARE = Addition(
    "proporcional#JST-12#2026-11-20", Kind.PRORATE, 5000, "Proporcional de 20/11 a 30/11", "...", how="item"
)


def plan(row=CONTRACT, omie=OMIE, *, month=DECEMBER, today=FIRST, policy=POLICY, **rest):
    return plan_contract(row, month=month, today=today, policy=policy, omie=omie, **rest)


def as_planned(line, omie=None):
    """The Omie contract once a line's work is done."""
    desired = Desired.from_dict(line.desired)
    omie = omie or OMIE._replace(foreign_total=0)
    return omie._replace(
        cCodIntCtr=line.contract,
        nDiaFat=desired.nDiaFat,
        own_total=desired.amount,
        own_items=1,
        additions=brought(map(Addition.from_dict, line.additions)),
        fingerprint=desired.fingerprint(),
        dVigInicial=date.fromisoformat(desired.dVigInicial) if desired.dVigInicial else omie.dVigInicial,
        dVigFinal=date.fromisoformat(desired.dVigFinal) if desired.dVigFinal else omie.dVigFinal,
    )


# --- any situation at all


days = st.dates(date(2026, 10, 1), date(2027, 2, 28))
contracts = st.builds(
    Contract,
    jestor_id=st.just(12),
    company=st.just("acme"),
    name=st.just("Açúcar & Cia"),
    customer=st.sampled_from([CUSTOMER, replace(CUSTOMER, email=None), Customer("52998224725", "Ana")]),
    service=st.sampled_from(["Plataforma", "Plataforma", "Plataforma", "Consultoria"]),
    description=st.sampled_from(["Mensalidade", "", "Plano novo"]),
    quantity=st.integers(1, 3),
    unit_amount=st.sampled_from([0, 50000, 100000, 100000]),
    discount=st.sampled_from([0, 0, 10000, 900000]),
    due_day=st.none() | st.integers(1, 31),
    start=st.none() | days,
    end=st.none() | days,
    status=st.sampled_from([*ContractStatus, *[ContractStatus.ACTIVE] * 8]),
    status_label=st.sampled_from(["Ativo", "{Ativo}"]),
    omie_id=st.sampled_from([None, None, 500, 501]),
)
bad_rows = st.builds(BadRow, st.just(12), st.sampled_from([None, "acme"]), st.just(""), st.just(("Valor: vazio",)))
omies = st.builds(
    OmieContract,
    nCodCtr=st.just(500),
    cCodIntCtr=st.sampled_from(["JST-12", "JST-12", "", "JST-13", "PED-9"]),
    cNumCtr=st.sampled_from(["2025/00012", ""]),
    cCodSit=st.sampled_from(["10", "10", "10", "90", "99", "00"]),
    nCodCli=st.just(900),
    nDiaFat=st.sampled_from([1, 1, 15]),
    own_total=st.sampled_from([0, 50000, 100000]),
    foreign_total=st.sampled_from([0, 0, 5000, 100000]),
    own_items=st.integers(0, 2),
    dVigInicial=st.none() | days,
    dVigFinal=st.none() | days,
    fingerprint=st.sampled_from([seen(), seen(due="002/5/S"), seen(email=""), seen("", "", "001/0/", "")]),
    additions=st.sampled_from([(), (), brought([FEE]), brought([FEE, FEE]), brought([replace(FEE, how="item")])]),
    cTipoFat=st.sampled_from(["01", "01", "01", "03", "12"]),
)
policies = st.builds(
    CompanyPolicy,
    company=st.just("acme"),
    services=st.just(POLICY.services),
    billing_day=st.sampled_from([1, 1, 20]),
    due_month=st.sampled_from(["same", "next"]),
    min_days_to_due=st.integers(0, 40),
    default_due_day=st.sampled_from([None, 5]),
    jump_percent=st.sampled_from([None, 20]),
    jump_amount=st.sampled_from([None, 30000]),
    create_unknown=st.booleans(),
    alter_differences=st.sampled_from([True, True, False]),
)
ledgers = st.builds(
    LedgerView,
    st.sampled_from(State),
    st.sampled_from([None, 88]),
    reason=st.just(""),
    reason_code=st.just(""),
)
situations = st.fixed_dictionaries(
    {
        "row": contracts | contracts | bad_rows,
        "month": st.sampled_from([DECEMBER, DECEMBER, DECEMBER.next(), DECEMBER.previous()]),
        "today": st.dates(date(2026, 12, 1), date(2026, 12, 31)),
        "policy": policies,
        "omie": st.none() | omies | omies,
        "lookalikes": st.sampled_from([(), (), (OMIE._replace(nCodCtr=700, cCodIntCtr=""),)]),
        "billed": st.sampled_from([False, False, True]),
        "registers": st.sampled_from([(), (), (700,), (700, 701)]),
        "ledger": st.none() | ledgers,
        "previous": st.none()
        | st.builds(
            Previous, st.integers(5000, 200000), st.sampled_from(["2026-11", "2026-09"]), st.sampled_from([0, 0, 5000])
        ),
        "held": st.sampled_from([False, False, True]),
        "rivals": st.sampled_from([(), (), ("JST-12", "JST-14")]),
        "additions": st.sampled_from([(), (), (FEE,), (FEE, SHARE)]),
    }
)
# The same, where nothing forbids the bill: property tests of bill lines must meet many of them.
billable = situations.map(
    lambda case: (
        case
        | {
            "row": replace(
                case["row"] if isinstance(case["row"], Contract) else CONTRACT,
                service="Plataforma",
                unit_amount=100000,
                discount=0,
                due_day=getattr(case["row"], "due_day", None) or 31,
                start=None,
                end=None,
                status=ContractStatus.ACTIVE,
                omie_id=None,
            ),
            "month": max(case["month"], DECEMBER),
            "policy": replace(case["policy"], create_unknown=True, alter_differences=True),
            "omie": case["omie"]
            and case["omie"]._replace(unreadable="", cCodSit="10", cCodIntCtr="JST-12", own_items=1, cTipoFat="01"),
            "lookalikes": (),
            "billed": False,
            "registers": (),
            "ledger": None,
            "held": False,
            "rivals": (),
        }
    )
)


@given(situations)
def test_the_same_inputs_give_the_same_line_and_hash(case):
    one, two = plan_contract(**case), plan_contract(**case)
    assert one == two
    assert plan_hash([one.to_json()]) == plan_hash([two.to_json()])


@given(situations)
def test_a_line_survives_its_journey_as_json(case):
    line = plan_contract(**case)
    assert PlanLine.from_json(line.to_json()) == line
    assert PlanLine.from_dict(json.loads(json.dumps(line.to_dict()))) == line
    assert PlanLine.from_json(line.to_json()).to_json() == line.to_json()


@given(situations)
def test_what_is_not_billed_says_why(case):
    line = plan_contract(**case)
    if line.action is Action.BILL:
        assert line.reason_code == ""
    else:
        assert line.reason_code in set(Reason)
        assert len(line.reason.split()) >= 3
        assert (line.due_date, line.desired, line.customer, line.work) == (None, None, None, "none")


@given(situations | billable)
def test_what_is_billed_has_an_amount_a_due_date_and_a_cause(case):
    line = plan_contract(**case)
    if line.action is not Action.BILL:
        return
    due = date.fromisoformat(line.due_date)
    assert line.amount > 0
    assert line.amount == case["row"].amount + line.foreign_total + line.additions_total
    assert line.additions == tuple(each.to_dict() for each in case["additions"]) or (
        not line.additions and not case["policy"].alter_differences
    )
    assert BillingMonth.containing(due) in {case["month"], case["month"].next()}
    assert line.cause
    assert line.difference == (line.amount - case["previous"].amount if case["previous"] else None)


@given(situations)
def test_nothing_is_billed_against_any_sign_that_it_must_not_be(case):
    line = plan_contract(**case)
    if line.action is not Action.BILL:
        return
    row, omie, ledger = case["row"], case["omie"], case["ledger"]
    assert isinstance(row, Contract)
    assert row.status is ContractStatus.ACTIVE
    assert not case["held"]
    assert ledger is None or ledger.state is State.READY
    assert not case["billed"] or case["month"] != DECEMBER
    assert case["month"] >= DECEMBER
    if omie is None:
        assert not case["lookalikes"]
        assert len(case["registers"]) < 2
        assert row.omie_id is None
        assert case["policy"].create_unknown
    else:
        assert (omie.cCodSit, omie.cTipoFat) == ("10", "01")
        assert omie.cCodIntCtr != "JST-13"
        assert row.omie_id in {None, omie.nCodCtr}


@given(situations | billable)
def test_without_work_omie_already_shows_the_planned_amount(case):
    line = plan_contract(**case)
    if line.action is Action.BILL and line.work == "none":
        omie = case["omie"]
        shown = omie.own_total + omie.foreign_total + sum(each.amount for each in omie.additions)
        assert shown == line.amount
    if line.action is Action.BILL:
        assert (line.work == "create") == (case["omie"] is None) == (line.customer is not None)


@given(billable)
def test_once_the_work_is_done_there_is_no_more_work(case):
    line = plan_contract(**case)
    assert line.action is Action.BILL
    again = plan_contract(**case | {"omie": as_planned(line, case["omie"])})
    assert (again.action, again.work, again.amount) == (Action.BILL, "none", line.amount)
    assert again.due_date == line.due_date


@given(billable)
def test_omies_due_rule_says_the_planned_due_date(case):
    line = plan_contract(**case)
    desired = Desired.from_dict(line.desired)
    month = case["month"].next() if desired.cProxMes == "S" else case["month"]
    assert desired.cTpVenc == "002"
    assert date(month.year, month.month, desired.nDiaFixo) == date.fromisoformat(line.due_date)


@given(
    st.builds(BillingMonth, st.integers(2024, 2032), st.integers(1, 12)),
    st.integers(1, 31),
    st.integers(1, 31),
    policies,
)
def test_the_due_date_leaves_the_customer_time_and_never_drifts(month, day, due_day, policy):
    today = month.day(day)
    due = due_date(month, today, due_day, policy)
    assert due in {month.day(due_day), month.next().day(due_day)}
    if BillingMonth.containing(due) == month:
        assert policy.due_month == "same"
        assert due >= today + timedelta(days=policy.min_days_to_due)
    else:
        soon = month.day(due_day) < today + timedelta(days=policy.min_days_to_due)
        assert soon or policy.due_month == "next"


# --- due dates


@pytest.mark.parametrize(
    ("month", "due_day", "settings", "due"),
    [
        ("2026-12", 10, {}, "2026-12-10"),
        ("2026-12", 1, {}, "2026-12-01"),
        ("2026-12", 5, {"min_days_to_due": 4}, "2026-12-05"),
        ("2026-12", 5, {"min_days_to_due": 5}, "2027-01-05"),
        ("2026-12", 10, {"due_month": "next"}, "2027-01-10"),
        ("2027-02", 31, {}, "2027-02-28"),
        ("2028-02", 31, {}, "2028-02-29"),
        ("2027-01", 31, {"due_month": "next"}, "2027-02-28"),
        ("2027-02", 31, {"due_month": "next"}, "2027-03-31"),
        ("2027-02", 30, {"min_days_to_due": 28}, "2027-03-30"),
    ],
)
def test_due_dates(month, due_day, settings, due):
    month = BillingMonth.parse(month)
    assert due_date(month, month.first_day, due_day, replace(POLICY, **settings)).isoformat() == due


def test_a_late_run_moves_the_due_date_and_omies_rule_together():
    line = plan(today=date(2026, 12, 20))
    assert line.due_date == "2027-01-10"
    assert (line.desired["nDiaFixo"], line.desired["cProxMes"]) == (10, "S")
    assert line.work == "alter"


def test_a_due_date_that_cannot_leave_enough_time_is_pointed_out():
    line = plan(today=date(2026, 12, 31), policy=replace(POLICY, min_days_to_due=15))
    assert line.due_date == "2027-01-10"
    assert line.warnings == ("Vence em 10/01/2027, com menos de 15 dias de prazo.",)
    assert plan(today=date(2026, 12, 31), policy=replace(POLICY, min_days_to_due=10)).warnings == ()


def test_the_companys_due_day_serves_a_contract_without_one():
    line = plan(replace(CONTRACT, due_day=None), policy=replace(POLICY, default_due_day=15))
    assert line.due_date == "2026-12-15"


# --- bill


def test_a_contract_that_agrees_is_billed_as_it_stands():
    line = plan(previous=Previous(100000, "2026-11"))
    assert (line.action, line.work, line.amount, line.cause) == (Action.BILL, "none", 100000, "Sem mudança")
    assert (line.due_date, line.nCodCtr, line.warnings, line.reason) == ("2026-12-10", 500, (), "")


def test_a_bill_line_tells_everything_the_biller_needs():
    assert plan(omie=OMIE._replace(foreign_total=5000), previous=Previous(90000, "2026-11")) == PlanLine(
        contract="JST-12",
        jestor_id=12,
        name="Açúcar & Cia - Plataforma",
        company="acme",
        month="2026-12",
        kind="mensalidade",
        action=Action.BILL,
        reason_code="",
        reason="",
        amount=105000,
        due_date="2026-12-10",
        previous_amount=90000,
        difference=15000,
        cause="Upsell: R$ 900,00 → R$ 1.050,00; Itens adicionados no Omie: R$ 50,00",
        nCodCtr=500,
        nCodCli=900,
        work="none",
        desired={
            "nDiaFat": 1,
            "nDiaFixo": 10,
            "cProxMes": "N",
            "description": "Mensalidade",
            "service": "Plataforma",
            "service_key": "7001",
            "amount": 100000,
            "quantity": 1,
            "unit_amount": 100000,
            "discount": 0,
            "email": "fin@example.com",
            "dVigInicial": None,
            "dVigFinal": None,
            "cTpVenc": "002",
        },
        customer=None,
        warnings=(),
        foreign_total=5000,
        previous_month="2026-11",
        quantity=1,
        unit_amount=100000,
    )


def test_a_line_that_is_not_billed_still_shows_the_money_and_the_link():
    row = replace(CONTRACT, company="nimbus", quantity=2, discount=50000)
    held = plan(row, OMIE._replace(foreign_total=5000), previous=Previous(90000, "2026-11"), held=True)
    assert held == PlanLine(
        contract="JST-12",
        jestor_id=12,
        name="Açúcar & Cia - Plataforma",
        company="nimbus",
        month="2026-12",
        kind="mensalidade",
        action=Action.SKIP,
        reason_code="held",
        reason=HELD,
        amount=155000,
        due_date=None,
        previous_amount=90000,
        difference=None,
        cause="",
        nCodCtr=500,
        nCodCli=900,
        foreign_total=5000,
        previous_month="2026-11",
        quantity=2,
        unit_amount=100000,
        discount=50000,
    )
    alone = plan(row, None, held=True)
    assert (alone.amount, alone.previous_amount, alone.nCodCtr, alone.foreign_total) == (150000, None, None, 0)


@pytest.mark.parametrize(
    ("own", "companys", "description"),
    [("Plano", "Licença", "Plano"), ("", "Licença", "Licença"), ("", "", "Plataforma")],
)
def test_a_contract_without_a_description_takes_its_services(own, companys, description):
    policy = replace(POLICY, services={"Plataforma": Service("7001", companys)})
    assert plan(replace(CONTRACT, description=own), policy=policy).desired["description"] == description


def test_a_contract_lasting_just_the_day_it_is_billed_keeps_its_days_in_omie():
    line = plan(omie=OMIE._replace(dVigInicial=FIRST, dVigFinal=FIRST))
    assert (line.work, line.desired["dVigInicial"], line.desired["dVigFinal"]) == ("none", None, None)
    line = plan(omie=OMIE._replace(dVigInicial=None, dVigFinal=None))
    assert (line.work, line.desired["dVigInicial"], line.desired["dVigFinal"]) == ("none", None, None)
    late = plan(omie=OMIE._replace(dVigFinal=date(2026, 12, 5)), today=date(2026, 12, 6))
    assert late.desired["dVigFinal"] == "2031-12-31"
    new = plan(replace(CONTRACT, start=None), None)
    assert new.desired["dVigInicial"] == "2026-12-01"


def test_an_upsell_is_brought_to_omie_first():
    line = plan(replace(CONTRACT, unit_amount=150000), previous=Previous(100000, "2026-11"))
    assert (line.work, line.amount, line.difference) == ("alter", 150000, 50000)
    assert line.cause == "Upsell: R$ 1.000,00 → R$ 1.500,00"
    assert line.reason == "Corrigir no Omie antes de faturar: valor R$ 1.000,00 → R$ 1.500,00."


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"nDiaFat": 15}, "dia de faturamento 15 → 1"),
        ({"own_items": 2}, "itens nossos 2 → 1"),
        ({"own_items": 0, "own_total": 0}, "valor R$ 0,00 → R$ 1.000,00; itens nossos 0 → 1"),
        ({"fingerprint": seen(description="Plano antigo")}, "descrição"),
        ({"fingerprint": seen(service="7002")}, "serviço"),
        ({"fingerprint": seen(due="002/7/N")}, "vencimento"),
        ({"fingerprint": seen(due="001/0/")}, "vencimento"),
        ({"fingerprint": seen(email="outro@example.com")}, "e-mail"),
        ({"dVigFinal": date(2026, 11, 30)}, "vigência"),
        ({"dVigInicial": date(2026, 12, 2)}, "vigência"),
    ],
)
def test_every_difference_is_corrected_and_named(change, what):
    line = plan(omie=OMIE._replace(**change))
    assert (line.action, line.work) == (Action.BILL, "alter")
    assert line.reason == f"Corrigir no Omie antes de faturar: {what}."


def test_a_fingerprint_is_four_hashes_of_what_was_written():
    made = fingerprint(
        description="Plano \n novo",
        service_key="7001",
        cTpVenc="002",
        nDiaFixo=10,
        cProxMes="",
        email="b@x.com; A@x.com",
    )
    parts = ("Plano novo", "7001", "002/10/N", "a@x.com,b@x.com")
    assert made == ".".join(hashlib.sha256(part.encode()).hexdigest()[:8] for part in parts)
    assert seen(email="").split(".")[3] == ""


def test_a_fingerprint_of_another_shape_is_compared_with_nothing():
    with pytest.raises(ValueError, match="zip"):
        plan(omie=OMIE._replace(fingerprint="12345678.12345678"))


def test_spacing_case_and_blanks_are_no_difference():
    same = seen(description=" Mensalidade\n", due="002/10/", email="FIN@example.com; ")
    assert plan(omie=OMIE._replace(fingerprint=same)).work == "none"


def test_an_expired_contract_in_omie_is_extended_to_jestors_end():
    expired = OMIE._replace(dVigFinal=date(2026, 11, 30))
    assert plan(replace(CONTRACT, end=date(2027, 6, 30)), expired).desired["dVigFinal"] == "2027-06-30"
    assert plan(omie=expired).desired["dVigFinal"] == "2031-12-31"
    assert plan().desired["dVigFinal"] is None


def test_a_correction_already_made_is_no_difference_any_more():
    line = plan(omie=OMIE._replace(dVigFinal=date(2026, 11, 30)))
    assert differences(Desired.from_dict(line.desired), as_planned(line)) == ()


def test_a_contract_only_in_jestor_is_created_with_its_customer():
    line = plan(omie=None)
    assert (line.work, line.nCodCtr) == ("create", None)
    assert line.customer == {
        "document": "11222333000181",
        "name": "Açúcar & Cia",
        "email": "fin@example.com",
        "phone": None,
        "cep": "01001000",
        "endereco": "Praça da Sé",
        "numero": "1",
        "complemento": None,
        "bairro": "Sé",
        "cidade": "São Paulo",
        "estado": "SP",
    }
    assert line.reason == "Criar o contrato no Omie antes de faturar."
    assert (line.desired["dVigInicial"], line.desired["dVigFinal"]) == ("2025-01-15", "2031-12-31")
    assert line.cause == "Primeiro faturamento"
    assert line.warnings == ()


def test_a_new_customer_without_an_address_is_pointed_out():
    line = plan(replace(CONTRACT, customer=replace(CUSTOMER, cep=None, cidade=None)), omie=None)
    assert line.warnings == ("Sem CEP, cidade no Jestor: a prefeitura pode rejeitar a NFS-e.",)
    line = plan(replace(CONTRACT, customer=replace(CUSTOMER, endereco=None, estado="")), omie=None)
    assert line.warnings == ("Sem endereço, estado no Jestor: a prefeitura pode rejeitar a NFS-e.",)
    line = plan(replace(CONTRACT, customer=Customer(CUSTOMER.document, CUSTOMER.name)), omie=None)
    assert [warning.split(" no Jestor")[0] for warning in line.warnings] == [
        "Sem e-mail",
        "Sem CEP, endereço, número, bairro, cidade, estado",
    ]
    line = plan(replace(CONTRACT, customer=replace(CUSTOMER, numero=None, bairro=" ")), omie=None)
    assert line.warnings == ("Sem número, bairro no Jestor: a prefeitura pode rejeitar a NFS-e.",)


@pytest.mark.parametrize("omie", [OMIE, None])
@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"cep": "131010"}, "O CEP tem 6 dígitos"),
        ({"cep": "013101000"}, "O CEP tem 9 dígitos"),
        ({"cep": "20040020"}, "O CEP é de RJ e o estado é SP"),
        ({"bairro": "Sé \U0001f600"}, "O campo bairro tem caractere"),
    ],
)
def test_what_the_city_will_refuse_is_said_before_a_known_contract_is_billed_and_before_a_new_one(omie, facts, says):
    line = plan(replace(CONTRACT, customer=replace(CUSTOMER, **facts)), omie=omie)
    assert line.action is Action.BILL
    (warning,) = line.warnings
    assert warning.startswith(says)


def test_a_cep_that_lost_its_zero_needs_no_word():
    assert plan(replace(CONTRACT, customer=replace(CUSTOMER, cep="1001000")), omie=None).warnings == ()


def test_what_could_not_be_read_of_the_customer_is_said_instead_of_that_it_is_missing():
    unread = ("cliente.email: O que está no campo de e-mail não é um e-mail válido.",)
    line = plan(replace(CONTRACT, customer=replace(CUSTOMER, email=None), unread=unread))
    assert line.warnings == unread


@pytest.mark.parametrize(("length", "warned"), [(2000, 0), (2001, 1), (12000, 1)])
def test_a_description_that_the_nfse_has_no_room_for_is_said_before_billing(length, warned):
    for omie in (OMIE, None):
        line = plan(replace(CONTRACT, description="x" * length), omie)
        assert line.action is Action.BILL
        assert len(line.warnings) == warned
        assert all("A descrição tem" in warning and "2.000" in warning for warning in line.warnings)


def test_a_long_description_that_is_not_sent_needs_no_word():
    later = replace(CONTRACT, description="x" * 2001, change_from=date(2027, 1, 1))
    assert [line.split(":")[0] for line in plan(later).warnings] == ["Mudança marcada para 01/01/2027"]


ABROAD = replace(
    CONTRACT,
    customer=replace(CUSTOMER, document="", estado="EX", cidade="EX", cep=None, numero=None, bairro=None),
    document_problem="cliente.cnpj_cpf: CPF/CNPJ vazio",
)


def test_a_customer_abroad_is_billed_by_the_contract_that_is_linked():
    line = plan(ABROAD)
    assert (line.action, line.amount, line.warnings) == (Action.BILL, 100000, ())


def test_a_customer_without_a_document_is_not_created_and_the_reason_says_what_to_do():
    line = plan(ABROAD, None)
    assert (line.action, line.reason_code) == (Action.PARK, Reason.BAD_ROW)
    assert line.amount == 100000
    assert line.reason.startswith("Corrija no Jestor: cliente.cnpj_cpf: CPF/CNPJ vazio. Sem ele o contrato não pode")
    assert "billing-ops link --contract JST-12 --omie CÓDIGO" in line.reason


def test_a_linked_customer_in_brazil_without_a_document_is_billed_and_that_is_said():
    line = plan(replace(CONTRACT, customer=replace(CUSTOMER, document=""), document_problem="cnpj: CPF/CNPJ vazio"))
    assert line.action is Action.BILL
    assert line.warnings == ("cnpj: CPF/CNPJ vazio. Faturado pelo contrato que já existe no Omie.",)


def test_a_missing_email_is_a_warning_and_leaves_omies_alone():
    line = plan(replace(CONTRACT, customer=replace(CUSTOMER, email=None)))
    assert (line.action, line.work) == (Action.BILL, "none")
    assert line.warnings == ("Sem e-mail no Jestor: o cliente só recebe se o cadastro dele no Omie tiver um.",)


def test_items_people_added_in_omie_are_kept_billed_and_explained():
    line = plan(omie=OMIE._replace(foreign_total=5000), previous=Previous(100000, "2026-11"))
    assert (line.work, line.amount, line.foreign_total, line.difference) == ("none", 105000, 5000, 5000)
    assert line.cause == "Itens adicionados no Omie: R$ 50,00"


@pytest.mark.parametrize(
    ("previous", "cause"),
    [
        (None, "Primeiro faturamento"),
        (Previous(100000, "2026-11"), "Sem mudança"),
        (Previous(99999, "2026-11"), "Upsell: R$ 999,99 → R$ 1.000,00"),
        (Previous(120000, "2026-11"), "Downgrade: R$ 1.200,00 → R$ 1.000,00"),
        (Previous(100000, "2026-09"), "Sem mudança; último faturamento em 2026-09"),
    ],
)
def test_the_cause_compares_with_the_last_charge(previous, cause):
    assert plan(previous=previous).cause == cause


def test_a_first_billing_names_the_items_people_added():
    assert plan(omie=OMIE._replace(foreign_total=5000)).cause == (
        "Primeiro faturamento; Itens adicionados no Omie: R$ 50,00"
    )


@pytest.mark.parametrize(
    ("amount", "before", "percent", "centavos", "jump"),
    [
        (12000, 10000, 20, None, False),
        (12001, 10000, 20, None, True),
        (7999, 10000, 20, None, True),
        (10500, 10000, None, 500, False),
        (10501, 10000, None, 500, True),
        (9499, 10000, None, 500, True),
        (10501, 10000, 20, 500, True),
        (12001, 10000, 20, 9999, True),
        (99999, 1, None, None, False),
        (1, 0, 20, None, True),
    ],
)
def test_a_jump_is_a_change_beyond_either_limit(amount, before, percent, centavos, jump):
    assert is_jump(amount, before, percent, centavos) is jump


def test_a_big_jump_is_pointed_out():
    policy = replace(POLICY, jump_percent=30)
    assert plan(previous=Previous(76000, "2026-11"), policy=replace(policy, jump_percent=40)).warnings == ()
    line = plan(previous=Previous(76000, "2026-11"), policy=policy)
    assert line.warnings == ("Mudança grande: R$ 760,00 → R$ 1.000,00.",)
    policy = replace(POLICY, jump_amount=23999)
    assert plan(previous=Previous(76000, "2026-11"), policy=policy).warnings == line.warnings


def test_another_integrations_code_in_omie_does_not_matter_to_a_row_that_names_the_contract():
    assert plan(replace(CONTRACT, omie_id=500), OMIE._replace(cCodIntCtr="PED-9")).action is Action.BILL


def test_a_hand_made_item_worth_our_amount_is_the_charge_itself():
    by_hand = OMIE._replace(own_items=0, own_total=0, foreign_total=100000, fingerprint=seen("x", "9", email=""))
    line = plan(omie=by_hand)
    assert (line.action, line.amount, line.foreign_total) == (Action.BILL, 100000, 0)
    assert (line.work, line.desired) == ("none", None)
    assert line.warnings == ("Item feito à mão no Omie, com o mesmo valor: faturado como está lá.",)


# --- skip


@pytest.mark.parametrize(
    ("row", "code", "reason"),
    [
        (
            {"status": ContractStatus.DRAFT},
            Reason.DRAFT,
            "Rascunho no Jestor: só é faturado depois de publicado.",
        ),
        ({"status": ContractStatus.SUSPENDED}, Reason.SUSPENDED, 'Suspenso no Jestor (status "Ativo").'),
        ({"status": ContractStatus.CHURNED}, Reason.CHURNED, 'Cancelado no Jestor (status "Ativo").'),
        ({"status": ContractStatus.OTHER}, Reason.OTHER_STATUS, 'O status "Ativo" do Jestor não é faturado.'),
        (
            {"start": date(2026, 12, 2)},
            Reason.NOT_STARTED,
            "Começa em 02/12/2026: o primeiro faturamento é o de 2027-01.",
        ),
        (
            {"start": date(2027, 3, 1)},
            Reason.NOT_STARTED,
            "Começa em 01/03/2027: o primeiro faturamento é o de 2027-03.",
        ),
        ({"end": date(2026, 11, 30)}, Reason.ENDED, "Terminou em 30/11/2026 (data de fim no Jestor)."),
    ],
)
def test_contracts_that_are_not_to_be_billed_are_skipped(row, code, reason):
    line = plan(replace(CONTRACT, **row))
    assert (line.action, line.reason_code, line.reason) == (Action.SKIP, code, reason)


def test_a_contract_is_billed_on_its_first_and_last_day():
    assert plan(replace(CONTRACT, start=FIRST, end=FIRST)).action is Action.BILL


def test_a_contract_that_started_after_the_billing_day_waits_however_late_the_run():
    assert plan(replace(CONTRACT, start=date(2026, 12, 15)), today=date(2026, 12, 20)).action is Action.SKIP


def test_the_first_billing_of_a_contract_that_starts_later_is_named_by_the_billing_day():
    policy = replace(POLICY, billing_day=20)
    for start, first in (
        (date(2027, 3, 20), "2027-03"),
        (date(2027, 3, 21), "2027-04"),
        (date(2026, 12, 21), "2027-01"),
    ):
        assert plan(replace(CONTRACT, start=start), policy=policy).reason.endswith(f"é o de {first}.")
    assert (
        plan(replace(CONTRACT, start=date(2026, 12, 20), end=date(2026, 12, 20)), policy=policy).action is Action.BILL
    )
    assert plan(replace(CONTRACT, end=date(2026, 12, 19)), policy=policy).reason_code == "ended"


@pytest.mark.parametrize(
    "gone",
    [{"status": ContractStatus.CHURNED}, {"status": ContractStatus.SUSPENDED}, {"end": date(2026, 11, 30)}],
)
def test_a_contract_that_is_over_but_still_active_in_omie_is_pointed_out(gone):
    over = replace(CONTRACT, **gone)
    assert plan(over).warnings == (
        "O contrato nº 2025/00012 (código 500) continua ativo no Omie: confira se deve ser suspenso lá.",
    )
    assert plan(over, OMIE._replace(cCodSit="90")).warnings == ()
    assert plan(over, None).warnings == ()
    assert plan(replace(CONTRACT, status=ContractStatus.DRAFT)).warnings == ()


IN_DOUBT = "Envio em dúvida: será resolvido lendo o Omie. Não fature à mão enquanto isso."
HELD = "Retido por pedido de cancelamento (churn). Se o cliente continua, reative o contrato no Jestor."


@pytest.mark.parametrize(
    ("ledger", "code", "reason"),
    [
        (LedgerView(State.BILLED, 123), "already_billed", "Já faturado em 2026-12 (OS 123)."),
        (LedgerView(State.BILLED), "already_billed", "Já faturado em 2026-12."),
        (LedgerView(State.UNKNOWN), "in_doubt", IN_DOUBT),
        (LedgerView(State.SENDING), "in_doubt", IN_DOUBT),
        (LedgerView(State.HELD), "held", HELD),
    ],
)
def test_what_the_ledger_knows_is_not_sent_again(ledger, code, reason):
    line = plan(ledger=ledger)
    assert (line.action, line.reason_code, line.reason) == (Action.SKIP, code, reason)


def test_what_is_billed_stays_billed_when_the_row_is_spoilt_afterwards():
    bad = BadRow(12, "acme", "x", ("Valor: vazio",))
    assert plan(bad, ledger=LedgerView(State.BILLED, 1)).reason_code == "already_billed"


def test_what_a_person_billed_in_omie_is_skipped_to_be_adopted():
    for ledger in (None, LedgerView(State.READY), LedgerView(State.PARKED), LedgerView(State.HELD)):
        line = plan(billed=True, ledger=ledger)
        assert (line.action, line.reason_code) == (Action.SKIP, "billed_in_omie")
        assert line.reason == (
            "O contrato nº 2025/00012 (código 500) já foi faturado no Omie em 2026-12: será registrado."
        )
    assert plan(omie=None, billed=True).reason == "O contrato já foi faturado no Omie em 2026-12: será registrado."


def test_what_omie_billed_in_a_month_that_is_over_is_adopted_not_asked_for_again():
    line = plan(billed=True, month=DECEMBER.previous())
    assert (line.action, line.reason_code) == (Action.SKIP, "billed_in_omie")


def test_no_order_is_of_a_month_to_come():
    assert plan(billed=True, month=DECEMBER.next()).action is Action.BILL


def test_a_hold_wins():
    line = plan(held=True, ledger=LedgerView(State.READY))
    assert (line.action, line.reason_code, line.reason) == (Action.SKIP, "held", HELD)


# --- park


NO_SERVICE = (
    'O serviço "Consultoria" não tem dados fiscais na configuração de acme: escolha outro serviço no Jestor ou peça '
    "que ele seja incluído na configuração."
)
NO_DUE_DAY = "Informe no Jestor o dia de vencimento, de 1 a 31."
LINK = "billing-ops link --contract JST-12 --omie"


@pytest.mark.parametrize(
    ("change", "omie", "code", "reason"),
    [
        (
            {"discount": 100000},
            OMIE,
            "no_amount",
            "O valor mensal dá R$ 0,00: corrija quantidade, valor ou desconto no Jestor.",
        ),
        ({"service": "Consultoria"}, OMIE, "unknown_service", NO_SERVICE),
        ({"due_day": None}, OMIE, "no_due_day", NO_DUE_DAY),
        ({"due_day": 32}, OMIE, "no_due_day", NO_DUE_DAY),
        ({"due_day": -1}, OMIE, "no_due_day", NO_DUE_DAY),
        (
            {},
            OMIE._replace(cCodIntCtr="JST-13"),
            "linked_elsewhere",
            "O contrato nº 2025/00012 (código 500) do Omie já é de JST-13: corrija no Jestor o número do Omie.",
        ),
        (
            {"omie_id": 501},
            OMIE,
            "link_conflict",
            (
                "O Jestor aponta o código 501 do Omie, mas quem traz JST-12 no Omie é o contrato nº 2025/00012 "
                "(código 500): corrija no Jestor o número do Omie."
            ),
        ),
        (
            {"omie_id": 501},
            None,
            "link_not_found",
            (
                "O Jestor aponta o código 501 do Omie, que não existe na empresa acme: confira no Jestor o número do Omie "
                "e a empresa."
            ),
        ),
        (
            {},
            OMIE._replace(cCodSit="90", cNumCtr=""),
            "suspended_in_omie",
            (
                "Ativo no Jestor, mas suspenso no Omie: código 500. Se deve ser faturado, reative-o no Omie; se não, "
                "suspenda-o no Jestor."
            ),
        ),
        (
            {},
            OMIE._replace(cCodSit="99", cNumCtr=""),
            "cancelled_in_omie",
            (
                "Ativo no Jestor, mas cancelado no Omie: código 500. Se deve ser faturado, reative-o no Omie; se não, "
                "encerre-o no Jestor."
            ),
        ),
        (
            {},
            OMIE._replace(cCodSit="00", cNumCtr=""),
            "draft_in_omie",
            "Ativo no Jestor, mas ainda em elaboração no Omie: código 500. Confira-o e ative-o no Omie.",
        ),
        (
            {},
            OMIE._replace(own_items=0, own_total=0, foreign_total=90000, nDiaFat=15),
            "no_own_item",
            (
                "Os itens do contrato nº 2025/00012 (código 500) foram feitos à mão no Omie e não conferem com o Jestor "
                "(valor R$ 900,00 → R$ 1.000,00; dia de faturamento 15 → 1). Corrija no Omie ou no Jestor, ou entregue o "
                f"item a este sistema: {LINK} 500"
            ),
        ),
    ],
)
def test_what_a_person_must_decide_is_parked_with_what_to_do(change, omie, code, reason):
    line = plan(replace(CONTRACT, **change), omie)
    assert (line.action, line.reason_code, line.reason) == (Action.PARK, code, reason)


def test_one_centavo_is_an_amount():
    assert plan(replace(CONTRACT, unit_amount=1)).action is Action.BILL


@pytest.mark.parametrize("due_day", [1, 31])
def test_any_day_of_a_month_may_be_a_due_day(due_day):
    assert plan(replace(CONTRACT, due_day=due_day)).action is Action.BILL


def test_a_row_that_cannot_be_read_is_parked_with_all_its_problems():
    line = plan(BadRow(12, None, "x", ("CNPJ: vazio", "Valor: vazio")), omie=None)
    assert (line.action, line.company) == (Action.PARK, "acme")
    assert line.reason == "Corrija no Jestor: CNPJ: vazio; Valor: vazio"
    assert (line.amount, line.foreign_total) == (0, 0)


def test_all_problems_of_the_data_are_told_at_once():
    line = plan(replace(CONTRACT, discount=100000, service="Consultoria", due_day=None))
    assert line.reason_code == "no_amount"
    assert line.reason.endswith(f"no Jestor. {NO_SERVICE} {NO_DUE_DAY}")


def test_a_customer_with_an_unlinked_contract_is_parked_with_the_command_that_links_it():
    other = OMIE._replace(nCodCtr=123, cCodIntCtr="", cNumCtr="2020/01")
    line = plan(omie=None, lookalikes=[other, other._replace(nCodCtr=124, cNumCtr="")])
    assert (line.action, line.reason_code) == (Action.PARK, "possible_duplicate")
    assert line.reason == (
        "O cliente já tem contrato ativo no Omie sem vínculo com o Jestor: nº 2020/01 (código 123), código 124. Se for "
        f"este, vincule: {LINK} 123 ou {LINK} 124. Se for outro, crie este contrato no Omie e vincule-o do mesmo modo."
    )


def test_two_rows_that_name_one_omie_contract_are_parked_unless_omie_itself_names_one_of_them():
    row = replace(CONTRACT, omie_id=500)
    line = plan(row, OMIE._replace(cCodIntCtr=""), rivals=("JST-12", "JST-14", "JST-15"))
    assert (line.action, line.reason_code) == (Action.PARK, "shared_link")
    assert line.reason == (
        "O contrato nº 2025/00012 (código 500) do Omie também está em JST-14, JST-15: deixe-o em um só contrato do "
        "Jestor."
    )
    assert plan(row, OMIE, rivals=("JST-12", "JST-14")).action is Action.BILL


def test_what_was_parked_stays_parked_with_its_own_reason():
    line = plan(ledger=LedgerView(State.PARKED, None, "O Omie recusou: x", "omie_rejected"))
    assert (line.action, line.reason_code, line.reason) == (Action.PARK, "omie_rejected", "O Omie recusou: x")
    line = plan(ledger=LedgerView(State.PARKED))
    assert (line.reason_code, line.reason) == ("parked_before", "Parado nesta rodada, sem motivo registrado.")


def test_a_contract_whose_order_of_the_month_was_cancelled_is_not_billed_by_us_again():
    line = plan(cancelled=77)
    assert (line.action, line.reason_code) == (Action.PARK, "order_cancelled")
    assert line.reason.startswith("A OS deste mês foi cancelada no Omie (OS 77).")
    assert plan(cancelled=77, ledger=LedgerView(State.PARKED, None, "x", "in_doubt")).reason_code == "in_doubt"
    assert plan(cancelled=77, ledger=LedgerView(State.BILLED, 77)).reason_code == "already_billed"


def test_a_past_month_is_never_billed_through_the_contract():
    line = plan(month=DECEMBER.previous())
    assert (line.action, line.reason_code) == (Action.PARK, "missed_month")
    assert line.reason == (
        "O mês 2026-11 já passou, e o Omie só fatura o contrato no mês corrente: cobre este mês por uma ordem de "
        "serviço avulsa."
    )


def test_settings_may_forbid_creating_and_altering():
    careful = replace(POLICY, create_unknown=False, alter_differences=False)
    missing = plan(omie=None, policy=careful)
    assert (missing.reason_code, missing.reason) == (
        "unknown_in_omie",
        f"Não existe no Omie, e a configuração não deixa criar: crie-o no Omie e vincule com {LINK} CÓDIGO.",
    )
    different = plan(omie=OMIE._replace(nDiaFat=15, own_total=5), policy=careful)
    assert (different.reason_code, different.reason) == (
        "differs",
        (
            "O contrato nº 2025/00012 (código 500) do Omie difere do Jestor (valor R$ 0,05 → R$ 1.000,00; dia de "
            "faturamento 15 → 1), e a configuração não deixa corrigir: acerte-o no Omie."
        ),
    )
    assert plan(policy=careful).action is Action.BILL


def test_park_codes_have_a_class():
    assert park_class("bad_row") is ParkClass.DATA
    assert park_class("unknown_service") is ParkClass.FISCAL
    assert park_class("missed_month") is ParkClass.MISSED_MONTH
    assert park_class("omie_rejected") is ParkClass.UNKNOWN


# --- links


def test_the_code_in_omie_is_a_stronger_link_than_the_number_in_jestor():
    by_code, by_number = OMIE, OMIE._replace(nCodCtr=501, cCodIntCtr="")
    row = replace(CONTRACT, omie_id=501)
    assert find_omie(row, {"JST-12": by_code}, {501: by_number}) is by_code
    assert find_omie(row, {}, {501: by_number}) is by_number
    assert find_omie(CONTRACT, {}, {501: by_number}) is None
    assert find_omie(BadRow(12, None, "", ()), {"JST-12": by_code}, {}) is by_code


def test_only_active_rows_contest_a_link():
    one, two = replace(CONTRACT, omie_id=500), replace(CONTRACT, jestor_id=14, omie_id=500)
    gone = replace(CONTRACT, jestor_id=15, omie_id=501, status=ContractStatus.CHURNED)
    new = replace(CONTRACT, jestor_id=16, omie_id=501)
    rows = [one, two, gone, new, CONTRACT, BadRow(1, None, "", ())]
    assert shared_links(rows) == {500: ("JST-12", "JST-14")}


def test_a_lookalike_is_active_and_nobodys():
    free = OMIE._replace(nCodCtr=1, cCodIntCtr="PED-9")
    ours, named, suspended = OMIE, free._replace(nCodCtr=2), free._replace(nCodCtr=3, cCodSit="90")
    assert unlinked([free, ours, named, suspended], {2}) == [free]


def test_a_service_is_known_by_omies_register_or_by_its_lc116_code():
    assert service_key(7001, "1.05") == "7001"
    assert service_key(0, " 1.05 ") == "1.05"


# --- the whole plan


def lines(*changes):
    base = plan(previous=Previous(100000, "2026-11"))
    return [replace(base, jestor_id=n, contract=f"JST-{n}", **change) for n, change in enumerate(changes)]


def test_the_hash_depends_on_every_line_and_their_order():
    one, two = (line.to_json() for line in lines({}, {}))
    assert len(plan_hash([])) == 64
    assert plan_hash(["ação", "b"]) == hashlib.sha256("ação\nb\n".encode()).hexdigest()
    assert len({plan_hash(plan) for plan in ([], [one], [two], [one, two], [two, one], [one + "\n" + two + "x"])}) == 6


def test_canonical_json_is_sorted_compact_and_readable():
    text = plan().to_json()
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert '": ' not in text
    assert "Açúcar" in text


def test_a_contract_with_a_pasted_text_parks_with_one_clear_line():
    line = plan(replace(CONTRACT, description="x" * 200_000), previous=Previous(100000, "2026-11"))
    assert (line.action, line.reason_code, line.amount) == (Action.PARK, Reason.TOO_LARGE, 100000)
    assert line.reason.startswith("Os textos deste contrato somam 2")
    assert "encurte no Jestor a descrição" in line.reason
    assert (line.work, line.desired, line.customer, line.due_date) == ("none", None, None, None)
    assert plan().action is Action.BILL


def test_a_reason_stays_short_whatever_was_typed():
    line = plan(replace(CONTRACT, service="s" * 300_000))
    assert line.reason_code == Reason.UNKNOWN_SERVICE
    assert len(line.reason) <= 1_500
    assert line.reason.endswith("peça que ele seja incluído na configuração.")


def test_the_summary_counts_and_sums_by_action_and_reason():
    summary = PlanSummary()
    bills = lines({}, {"work": "alter"}, {"warnings": ("x", "y")}, {"previous_amount": None})
    for line in [*bills, plan(held=True), plan(billed=True), replace(plan(held=True), warnings=("z",))]:
        summary.add(line)
    assert (summary.count, summary.total) == (4, 400000)
    assert summary.to_dict() == {
        "counts": {"bill": 4, "skip": 3, "park": 0},
        "sums": {"bill": 400000, "skip": 300000, "park": 0},
        "reasons": {"skip/billed_in_omie": 1, "skip/held": 2},
        "work": {"alter": 1, "none": 3},
        "previous_total": 300000,
        "warnings": 3,
        "jumps": 0,
        "largest_jumps": [],
    }
    assert json.loads(json.dumps(summary.to_dict())) == summary.to_dict()


def test_a_plan_inside_policy_needs_nobody():
    guardrail = Guardrail(max_total=200000, max_count=2, max_jump_percent=50, max_jump_amount=50000)
    summary = PlanSummary(guardrail)
    for line in lines({}, {"previous_amount": 70000}):
        summary.add(line)
    assert check_guardrail(summary, guardrail) == ()
    assert check_guardrail(summary, Guardrail()) == ()


def test_every_limit_that_is_passed_is_named():
    guardrail = Guardrail(max_total=199999, max_count=1, max_jump_percent=20, approval_required=True)
    summary = PlanSummary(guardrail)
    for line in lines({}, {"previous_amount": 80000}):
        summary.add(line)
    assert check_guardrail(summary, guardrail) == (
        "A configuração pede aprovação em toda rodada.",
        "O total de R$ 2.000,00 passa do limite de R$ 1.999,99.",
        "São 2 contratos, mais que o limite de 1.",
        "Mudança de valor acima do limite em 1 contrato: JST-1 R$ 800,00 → R$ 1.000,00 (+25 %).",
    )


def test_a_first_charge_is_no_jump_and_many_jumps_are_told_briefly():
    guardrail = Guardrail(max_jump_amount=1)
    summary = PlanSummary(guardrail)
    for line in lines({"previous_amount": None}, *[{"previous_amount": 1}] * 30):
        summary.add(line)
    (reason,) = check_guardrail(summary, guardrail)
    shown = "; ".join(f"JST-{number} R$ 0,01 → R$ 1.000,00 (+9.999.900 %)" for number in range(1, 11))
    assert reason == f"Mudança de valor acima do limite em 30 contratos: {shown}; e mais 20."


def test_the_largest_jumps_are_told_first_and_kept_in_bounds_without_names_in_the_history():
    summary = PlanSummary(Guardrail(max_jump_percent=50))
    for line in lines(*[{"previous_amount": before} for before in (60_000, 1_000, 66_000, *[40_000] * 20)]):
        summary.add(line)
    assert (summary.jumps, len(summary.largest_jumps)) == (23, 10)
    assert [jump.before for jump in summary.largest_jumps[:3]] == [1_000, 40_000, 40_000]
    assert {jump.name for jump in summary.largest_jumps} == {plan().name}
    kept = summary.to_dict()["largest_jumps"]
    assert kept[0].keys() == {"contract", "before", "now"}
    (reason,) = check_guardrail(summary, summary.guardrail)
    assert plan().name not in reason
    assert reason.startswith(
        "Mudança de valor acima do limite em 23 contratos: JST-1 R$ 10,00 → R$ 1.000,00 (+9.900 %); "
    )


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [(150_535, 15_053_500, "+9.900 %"), (1000, 500, "−50 %"), (1000, 1000, "0 %"), (0, 5, "–"), (1000, 1004, "0 %")],
)
def test_a_change_in_percent_is_said_as_people_write_it(before, now, said):
    assert percent_of(before, now) == said


def test_a_hundred_thousand_contracts_fit_in_memory():
    assert not hasattr(plan(), "__dict__")
    assert sys.getsizeof(OMIE) <= 160
    assert isinstance(OMIE, tuple)


# --- additions


def test_an_addition_is_planned_brought_and_no_upsell():
    line = plan(additions=[FEE], previous=Previous(100000, "2026-11"), policy=replace(POLICY, jump_amount=1))
    assert (line.amount, line.additions_total, line.difference) == (101234, 1234, 1234)
    assert (line.work, line.reason) == ("alter", "Acréscimos desta cobrança no Omie: R$ 0,00 → R$ 12,34.")
    assert line.cause == "Encargos por atraso: R$ 12,34"
    assert line.warnings == ()
    assert line.due_date == plan().due_date
    assert Desired.from_dict(line.desired) == Desired.from_dict(plan().desired)
    assert line.additions == (FEE.to_dict(),)
    assert Addition.from_dict(PlanLine.from_json(line.to_json()).additions[0]) == FEE


def test_last_months_addition_is_no_downgrade():
    before = Previous(101234, "2026-11", additions=1234)
    line = plan(previous=before, policy=replace(POLICY, jump_amount=1))
    assert (line.amount, line.difference, line.previous_additions) == (100000, -1234, 1234)
    assert line.cause == "Acréscimos do mês anterior: R$ 12,34"
    assert line.warnings == ()


def test_an_upsell_is_told_apart_from_the_additions_of_both_months():
    before = Previous(91234, "2026-11", additions=1234)
    line = plan(additions=[FEE, SHARE], previous=before, policy=replace(POLICY, jump_amount=9999))
    assert line.cause == (
        "Upsell: R$ 900,00 → R$ 1.000,00; Encargos por atraso: R$ 12,34; Proporcional: R$ 50,00; "
        "Acréscimos do mês anterior: R$ 12,34"
    )
    assert line.warnings == ("Mudança grande: R$ 900,00 → R$ 1.000,00.",)


def test_additions_make_no_jump_of_the_guardrail_but_count_in_the_total():
    summary = PlanSummary(Guardrail(max_jump_amount=1))
    summary.add(plan(additions=[SHARE], previous=Previous(101234, "2026-11", additions=1234)))
    assert (summary.jumps, summary.total, summary.previous_total) == (0, 105000, 101234)


def test_what_stands_in_omie_already_needs_no_work():
    line = plan(omie=OMIE._replace(additions=brought([FEE])), additions=[FEE])
    assert (line.work, line.reason, line.amount) == ("none", "", 101234)


@pytest.mark.parametrize(
    "leftover",
    [[FEE], [FEE, FEE], [replace(FEE, amount=1300, fine=1066)], [replace(FEE, how="item")]],
)
def test_what_an_earlier_plan_left_in_omie_is_put_right(leftover):
    omie = OMIE._replace(additions=brought(leftover))
    gone = plan(omie=omie)
    assert (gone.work, gone.amount, gone.additions) == ("alter", 100000, ())
    other = plan(omie=omie, additions=[SHARE])
    assert (other.work, other.amount) == ("alter", 105000)
    if len(leftover) == 2:
        assert plan(omie=omie, additions=[FEE]).work == "alter"


def test_a_company_that_may_not_alter_omie_bills_without_additions_and_never_with_leftovers():
    policy = replace(POLICY, alter_differences=False)
    line = plan(policy=policy, additions=[FEE])
    assert (line.action, line.amount, line.work, line.additions) == (Action.BILL, 100000, "none", ())
    assert line.warnings == ("Acréscimos de R$ 12,34 ficam para depois: a configuração não deixa alterar o Omie.",)
    assert "Encargos" not in line.cause
    leftover = plan(policy=policy, omie=OMIE._replace(additions=brought([FEE])))
    assert (leftover.action, leftover.reason_code) == (Action.PARK, Reason.DIFFERS)
    assert "acréscimos de um plano anterior" in leftover.reason


def test_a_contract_made_by_hand_carries_its_addition_and_stays_as_it_is():
    by_hand = OMIE._replace(own_total=0, own_items=0, foreign_total=100000)
    line = plan(omie=by_hand, additions=[FEE])
    assert (line.action, line.work, line.amount, line.desired) == (Action.BILL, "alter", 101234, None)


def test_a_contract_to_create_is_created_with_its_addition():
    line = plan(omie=None, additions=[SHARE])
    assert (line.work, line.amount, line.cause) == ("create", 105000, "Primeiro faturamento; Proporcional: R$ 50,00")


def test_additions_of_what_is_not_billed_are_owed_and_no_part_of_the_amount():
    line = plan(replace(CONTRACT, status=ContractStatus.CHURNED), additions=[FEE], warnings=["Título 77 em aberto."])
    assert (line.action, line.amount, line.additions_total) == (Action.SKIP, 100000, 0)
    assert line.additions == (FEE.to_dict(),)
    assert line.warnings[0] == "Título 77 em aberto."


def test_the_plans_hash_covers_additions():
    assert len({plan_hash([plan(additions=some).to_json()]) for some in ([], [FEE], [SHARE], [FEE, SHARE])}) == 4


def test_a_line_written_before_additions_existed_has_none():
    old = {name: value for name, value in plan().to_dict().items() if "additions" not in name}
    assert PlanLine.from_dict(old) == plan()


def test_the_warnings_given_are_said_of_a_bill_too():
    assert plan(warnings=["Sem taxa combinada."]).warnings == ("Sem taxa combinada.",)


def test_what_is_altered_for_two_reasons_says_both():
    line = plan(omie=OMIE._replace(nDiaFat=15), additions=[FEE, SHARE])
    assert line.work == "alter"
    assert line.reason == (
        "Corrigir no Omie antes de faturar: dia de faturamento 15 → 1. "
        "Acréscimos desta cobrança no Omie: R$ 0,00 → R$ 62,34."
    )
    assert plan(omie=OMIE._replace(additions=brought([FEE, SHARE]))).reason == (
        "Acréscimos desta cobrança no Omie: R$ 62,34 → R$ 0,00."
    )


def test_what_waits_because_omie_may_not_be_altered_is_summed():
    line = plan(policy=replace(POLICY, alter_differences=False), additions=[FEE, SHARE])
    assert "Acréscimos de R$ 62,34 ficam para depois" in line.warnings[0]
    same = plan(
        policy=replace(POLICY, alter_differences=False),
        omie=OMIE._replace(additions=brought([FEE])),
        additions=[FEE],
    )
    assert (same.work, same.amount, same.warnings) == ("none", 101234, ())


def test_last_months_additions_are_known_of_every_line():
    before = Previous(101234, "2026-11", additions=1234)
    assert plan(replace(CONTRACT, status=ContractStatus.CHURNED), previous=before).previous_additions == 1234
    assert plan(previous=before).previous_additions == 1234
    assert plan().previous_additions == 0


def test_the_order_of_additions_in_omie_makes_no_difference():
    assert brought([FEE, SHARE]) == brought([SHARE, FEE])
    assert plan(omie=OMIE._replace(additions=brought([SHARE, FEE])), additions=[FEE, SHARE]).work == "none"


# ---- a change that is to hold from a later day


@pytest.mark.parametrize(
    ("change_from", "amount", "work"),
    [
        (date(2026, 12, 2), 97000, "none"),  # the billing day is the 1st: Omie keeps what was agreed before
        (date(2026, 12, 1), 107000, "alter"),
        (None, 107000, "alter"),
    ],
)
def test_a_change_for_later_is_billed_as_omie_has_it_until_its_day(change_from, amount, work):
    omie = OMIE._replace(own_total=90000, foreign_total=7000)
    line = plan(replace(CONTRACT, change_from=change_from), omie, previous=Previous(97000, "2026-11"))
    assert (line.amount, line.foreign_total, line.work) == (amount, 7000, work)
    waits = work == "none"
    assert (line.desired is None) == waits
    assert ("Mudança marcada para 02/12/2026: faturado como está no Omie." in line.warnings) == waits
    assert line.cause.startswith("Sem mudança" if waits else "Upsell: R$ 970,00 → R$ 1.070,00")


def test_what_omie_already_agrees_with_waits_for_no_day():
    line = plan(replace(CONTRACT, change_from=date(2027, 2, 1)))
    assert (line.work, line.amount, line.warnings) == ("none", 100000, ())
    assert line.desired is not None


def test_what_a_plan_would_bring_is_known_by_its_marker_and_its_way():
    assert brought([SHARE, FEE]) == tuple(sorted([(FEE.marker, 1234, "expense"), (SHARE.marker, 5000, "item")]))


def test_two_additions_of_one_kind_are_told_as_one_sum():
    other = replace(FEE, key="encargos#78#2026-12", title=78)
    assert "Encargos por atraso: R$ 24,68" in plan(additions=[FEE, other]).cause


# --- what the ledger says of a line's amount


def test_a_row_that_cannot_be_billed_keeps_the_price_that_can_be_read():
    line = plan(BadRow(12, "acme", "x", ("CNPJ: vazio",), Price(5, 107_900, 100)), omie=None)
    assert (line.action, line.amount, line.amount_unknown) == (Action.PARK, 539_400, False)
    unread = plan(BadRow(12, "acme", "x", ("Valor: vazio",)), omie=None)
    assert (unread.amount, unread.amount_unknown) == (0, True)


CHARGE = Charge(ChargeKey("JST-12", BillingMonth(2026, 12)), State.BILLED, "acme", 123_400)


def test_a_billed_line_tells_its_charges_own_cause():
    made = Composition(own=120_000, quantity=2, unit_amount=60_000, cause="Upsell: a", previous_amount=7)
    line = as_charged(plan(ledger=LedgerView(State.BILLED)), replace(CHARGE, composition=made))
    assert (line.amount, line.cause, line.previous_amount) == (123_400, "Upsell: a", 7)


def test_the_cause_of_a_charge_that_keeps_none_is_reckoned_from_its_amounts():
    fee = {"key": "encargos#77#2026-12", "amount": 3_400}
    previous = Previous(100_000, "2026-11")
    line = as_charged(plan(ledger=LedgerView(State.BILLED), previous=previous), replace(CHARGE, additions=(fee,)))
    assert line.cause == "Upsell: R$ 1.000,00 → R$ 1.200,00; Encargos por atraso: R$ 34,00"


@pytest.mark.parametrize(("amount", "shown"), [(123_400, 123_400), (0, 100_000)])
def test_a_parked_line_amounts_to_what_was_to_be_charged(amount, shown):
    parked = replace(CHARGE, state=State.PARKED, amount=amount)
    assert as_charged(plan(ledger=LedgerView(State.PARKED)), parked).amount == shown


def test_what_was_billed_as_it_stood_in_omie_is_not_multiplied():
    made = replace(plan(), amount=90_000).composition("a plan")
    assert (made.own, made.quantity, made.plan) == (90_000, 0, "a plan")
    assert made.text == "R$ 900,00, como estava no Omie"
    assert Composition.from_dict({**made.to_dict(), "added later": 1}) == made


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Composition(own=28_000, quantity=3, unit_amount=10_000, discount=2_000),
         "3 × R$ 100,00 − desconto de R$ 20,00 = R$ 280,00"),
        (Composition(own=10_000, quantity=1, unit_amount=10_000), "R$ 100,00"),
        (Composition(own=9_000, quantity=1, unit_amount=10_000, discount=1_000),
         "1 × R$ 100,00 − desconto de R$ 10,00 = R$ 90,00"),
    ],
)  # fmt: skip
def test_a_composition_is_said_as_a_sum(made, said):
    assert made.text == said


@pytest.mark.parametrize("label", ["plataforma", "PLATAFORMA", " Plataforma\u00a0", "Plataforma\u200b"])
def test_a_service_is_the_same_in_other_capitals_and_blanks(label):
    line = plan(replace(CONTRACT, service=label))
    assert (line.action, line.work) == (Action.BILL, "none")
    assert line.desired["service"] == "Plataforma"  # the settings' own word, by which its taxes are found


def test_two_services_that_differ_stay_two():
    assert plan(replace(CONTRACT, service="Plataformas")).reason_code == Reason.UNKNOWN_SERVICE


@pytest.mark.parametrize("ours", ["P&D mensal", "P&amp;D mensal", "P&amp;amp;D  mensal", "P&D\r\nmensal"])
@pytest.mark.parametrize("theirs", ["P&D mensal", "P&amp;D mensal", "P&amp;amp;D mensal", "P&D\u00a0mensal"])
def test_a_description_agrees_whoever_escaped_it(ours, theirs):
    line = plan(replace(CONTRACT, description=ours), OMIE._replace(fingerprint=seen(description=theirs)))
    assert (line.action, line.work) == (Action.BILL, "none")


def test_addresses_agree_in_any_order_and_case():
    customer = replace(CUSTOMER, email="Fin@Example.com; b@example.com")
    there = OMIE._replace(fingerprint=seen(email="b@example.com,FIN@example.com"))
    assert plan(replace(CONTRACT, customer=customer), there).work == "none"


@pytest.mark.parametrize("start", [date(9999, 12, 1), date(9999, 12, 31)])
def test_a_start_at_the_end_of_the_calendar_waits(start):
    line = plan(replace(CONTRACT, start=start))
    assert (line.action, line.reason_code) == (Action.SKIP, Reason.NOT_STARTED)
    assert "31/12/9999" in line.reason or "01/12/9999" in line.reason


def test_a_change_from_the_end_of_the_calendar_waits():
    line = plan(replace(CONTRACT, unit_amount=1, change_from=date(9999, 12, 31)))
    assert (line.action, line.amount) == (Action.BILL, 100000)
    assert any("Mudança marcada para 31/12/9999" in warning for warning in line.warnings)


def test_a_contract_of_omie_that_cannot_be_read_is_neither_billed_nor_created_anew():
    line = plan(omie=OMIE._replace(unreadable="ValueError", own_total=0, fingerprint="..."))
    assert (line.action, line.reason_code, line.nCodCtr) == (Action.PARK, Reason.UNREADABLE_IN_OMIE, 500)
    assert "Não foi possível ler o contrato nº 2025/00012 (código 500) do Omie (ValueError)" in line.reason


def test_an_unreadable_row_that_was_billed_is_billed():
    bad = BadRow.unread(12, "acme", "Contrato 12", "KeyError")
    assert plan(bad).reason_code == Reason.UNREADABLE_ROW
    assert plan(bad, ledger=LedgerView(State.BILLED, 7)).reason_code == Reason.ALREADY_BILLED
    assert plan(bad, billed=True).reason_code == Reason.BILLED_IN_OMIE


def test_a_fingerprint_is_made_of_any_text():
    assert seen(description="\ud800").count(".") == 3
