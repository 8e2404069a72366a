from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from validate_docbr import CNPJ, CPF

from simulators.brazil import with_cnpj_digits
from simulators.world import (
    BILLABLE,
    COMPANIES,
    CONTRACT_ID,
    CUSTOMER_ID,
    DIRT,
    FIELDS,
    OWN_ITEM,
    STATUS_LABELS,
    UNKNOWN_SERVICE,
    World,
    make_world,
)

TODAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(1000, 7, TODAY)


def field(row, name):
    value = row
    for part in FIELDS[name].split("."):
        value = value[part]
    return value


def by_kind(world, kind):
    return [c for c in world.contracts if c.kind == kind]


def test_exactly_the_asked_number_of_contracts_is_billable_and_the_dirt_comes_on_top(world):
    assert world.expected()["bill"] == 1000
    assert 1060 <= len(world.contracts) <= 1110
    assert {c.kind for c in world.contracts} == set(BILLABLE) | set(DIRT)


def test_even_a_tiny_world_has_every_kind():
    assert {c.kind for c in make_world(7, 1, TODAY).contracts} == set(BILLABLE) | set(DIRT)


def test_a_clean_world_agrees_everywhere():
    world = make_world(50, 3, TODAY, clean=True)
    assert world.expected() == {"bill": 50}
    for contract in world.contracts:
        assert round(contract.omie_contrato["cabecalho"]["nValTotMes"] * 100) == contract.amount


def test_the_same_seed_gives_the_same_world_and_another_seed_another(world):
    again = make_world(1000, 7, TODAY)
    assert list(again.jestor_rows()) == list(world.jestor_rows())
    assert list(make_world(1000, 8, TODAY).jestor_rows()) != list(world.jestor_rows())


def test_jestor_ids_rise_and_have_holes(world):
    ids = [row[CONTRACT_ID] for row in world.jestor_rows()]
    assert ids == sorted(set(ids))
    assert ids[-1] > len(ids)


def test_about_seventy_per_cent_belong_to_acme(world):
    share = Counter(c.omie_company for c in world.contracts)["acme"] / len(world.contracts)
    assert 0.65 < share < 0.75


def test_every_row_has_every_mapped_field(world):
    labels = {company.jestor_label for company in COMPANIES.values()}
    for row in world.jestor_rows():
        for name in FIELDS:
            field(row, name)
        assert field(row, "status") in STATUS_LABELS
        assert field(row, "company") in labels


def test_documents_have_valid_check_digits_except_where_that_is_the_point(world):
    for contract in world.contracts:
        row = contract.jestor_row
        if row is None or contract.kind == "missing_document":
            continue
        document = "".join(c for c in field(row, "document") if c.isalnum())
        valid = CPF().validate(document) if len(document) == 11 else CNPJ().validate(document)
        assert valid == (contract.kind != "invalid_document"), document


def test_cnpj_with_letters_has_the_check_digits_of_the_published_example():
    assert with_cnpj_digits("12ABC34501DE") == "12ABC34501DE35"


def test_omie_agrees_with_jestor_to_the_cent_except_where_it_is_meant_to_differ(world):
    for contract in world.contracts:
        contrato = contract.omie_contrato
        if contract.expected != "bill" or contrato is None:
            continue
        total = sum(round(item["itemCabecalho"]["valorTotal"] * 100) for item in contrato["itensContrato"])
        assert round(contrato["cabecalho"]["nValTotMes"] * 100) == total
        assert (total == contract.amount) == (contract.kind != "differs_amount")


def test_contracts_are_linked_by_code_or_by_the_omie_id_in_jestor_or_by_both(world):
    ways = Counter()
    for contract in world.contracts:
        contrato = contract.omie_contrato
        if contract.expected != "bill" or contrato is None:
            continue
        by_code = contrato["cabecalho"]["cCodIntCtr"] == contract.code
        by_id = str(contract.jestor_row["id_omie"]) == str(contrato["cabecalho"]["nCodCtr"])
        assert by_code or by_id
        assert by_code or not contrato["cabecalho"]["cCodIntCtr"].strip()
        ways[by_code, by_id] += 1
        assert contrato["itensContrato"][0]["itemCabecalho"]["codIntItem"] == OWN_ITEM
    assert set(ways) == {(True, True), (True, False), (False, True)}


def test_only_the_contracts_to_be_altered_have_another_billing_day(world):
    days = {c.kind: c.omie_contrato["cabecalho"]["nDiaFat"] for c in world.contracts if c.omie_contrato}
    assert {kind for kind, day in days.items() if day != 1} == {"differs_billing_day"}


def test_a_contract_to_be_created_has_no_unlinked_look_alike(world):
    unlinked = {(c.omie_company, c.customer) for c in world.contracts if c.kind in {"lookalike", "omie_only"}}
    assert not {(c.omie_company, c.customer) for c in by_kind(world, "create")} & unlinked
    for contract in by_kind(world, "lookalike"):
        assert contract.jestor_row["id_omie"] is None
        assert not contract.omie_contrato["cabecalho"]["cCodIntCtr"].strip()
        assert contract.omie_contrato["cabecalho"]["cCodSit"] == "10"


def test_customers_with_two_contracts_have_one_omie_customer_per_company(world):
    customers = Counter(c.customer for c in world.contracts)
    assert max(customers.values()) == 2
    seen = {}
    for contract in world.contracts:
        cliente = contract.omie_cliente
        if cliente:
            key = contract.omie_company, contract.customer
            assert seen.setdefault(key, cliente["codigo_cliente_omie"]) == cliente["codigo_cliente_omie"]
    assert len(set(seen.values())) == len(seen)


def test_two_contracts_of_one_customer_show_the_same_customer(world):
    seen = {}
    for row in world.jestor_rows():
        customer = row["cliente"]
        assert seen.setdefault(customer[CUSTOMER_ID], customer) == customer


def test_omie_ids_have_ten_or_eleven_digits_and_are_unique(world):
    contracts = [c.omie_contrato["cabecalho"]["nCodCtr"] for c in world.contracts if c.omie_contrato]
    assert len(set(contracts)) == len(contracts)
    assert {len(str(i)) for i in contracts} == {10, 11}


def test_the_dates_leave_no_doubt_for_this_month_and_the_next(world):
    for contract in world.contracts:
        contrato, row = contract.omie_contrato, contract.jestor_row
        if contract.expected == "bill":
            assert date.fromisoformat(field(row, "start")[:10]) < date(2026, 11, 1)
            assert field(row, "end") is None or field(row, "end") > "2027-01-31"
            if contrato:
                assert contrato["cabecalho"]["dVigFinal"][-4:] >= "2027"
    assert all(field(c.jestor_row, "start")[:10] > "2026-12-31" for c in by_kind(world, "future"))
    assert all(field(c.jestor_row, "end") < "2026-11-01" for c in by_kind(world, "ended"))


def test_the_dirt_is_there(world):
    rows = [c.jestor_row for c in world.contracts if c.expected == "bill"]
    assert {type(row["valor_mensal_2"]) for row in rows} == {int, float, str}
    assert any("," in str(row["valor_mensal_2"]) for row in rows)
    assert any(field(row, "email") is None for row in rows)
    assert {29, 30, 31} <= {int(field(row, "due_day")) for row in rows}
    assert any("&" in field(row, "customer_name") for row in rows)
    assert any("00000-0000" in (field(row, "phone") or "") for row in rows)
    assert all(c.jestor_row["servico_contratado"] == UNKNOWN_SERVICE for c in by_kind(world, "unknown_service"))
    assert all(len(c.omie_contrato["itensContrato"]) == 2 for c in by_kind(world, "foreign_item"))
