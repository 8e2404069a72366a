"""Omie's dicts and the domain's types: totals to the cent, our item first, people's work untouched."""

import copy
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.addition import Addition, Kind
from billing.domain.contract import Customer
from billing.domain.plan import Desired, brought, differences, service_key
from billing.omie.mapping import (
    OWN_ITEM,
    BilledOrder,
    additions_differ,
    additions_of,
    billed_order,
    cliente_cadastro,
    compact,
    contrato_cadastro,
    differs,
    order_number,
    own_items_to_remove,
    register_warnings,
    total,
    with_additions,
)
from billing.omie.replies import IncompleteRead
from billing.settings import LateFeeSettings, load_settings
from simulators.world import COMPANIES, make_world

ROOT = Path(__file__).parents[2]
COMPANY = load_settings((ROOT / "config/demo.toml").read_text(encoding="utf-8")).companies["acme"]
SERVICE = COMPANIES["acme"].services["Plataforma Pro"]


def item(code="", *, codItem=1, quant=1, unit=100.0, **more):
    header = {
        "codItem": codItem,
        "codIntItem": code,
        "seq": codItem,
        "quant": quant,
        "valorUnit": unit,
        "codServico": 5,
    }
    return {"itemCabecalho": header | more, "itemDescrServ": {"descrCompleta": "Serviço"}}


def cadastro(*items, **cabecalho):
    head = {"nCodCtr": 7, "nCodCli": 70, "cCodIntCtr": " " * 60, "cNumCtr": "2020/1", "cCodSit": "10", "nDiaFat": 1}
    return {"cabecalho": head | cabecalho, "itensContrato": list(items)}


def desired(**changes):
    wanted = {
        "nDiaFat": 1,
        "nDiaFixo": 10,
        "cProxMes": "N",
        "description": "Assinatura Plataforma Pro & suporte",
        "service": "Plataforma Pro",
        "service_key": service_key(SERVICE.codServico, SERVICE.codLC116),
        "amount": 2 * 89900 - 500,
        "quantity": 2,
        "unit_amount": 89900,
        "discount": 500,
        "email": "financeiro@cliente.test",
    }
    return Desired(**wanted | changes)


@pytest.mark.parametrize(
    ("header", "centavos"),
    [
        ({"quant": 3, "unit": 19.9}, 5970),
        ({"quant": 1, "unit": Decimal("1200.10")}, 120010),
        ({"quant": 2, "unit": 50, "cTpDesconto": "V", "valorDesconto": 10.01}, 8999),
        ({"quant": 1, "unit": 99.99, "cTpDesconto": "P", "aliqDesconto": 10, "valorDesconto": 3}, 8999),
        ({"quant": 1, "unit": 100, "valorAcrescimo": 0.5}, 10050),
        ({"quant": Decimal("1.5"), "unit": Decimal("33.33")}, 5000),
        ({"quant": None, "unit": 10}, 0),
    ],
)
def test_an_item_counts_quantity_times_unit_less_discount_plus_addition(header, centavos):
    assert total(cadastro(item(OWN_ITEM, **header))) == (centavos, 0, 0)


def test_items_without_our_prefix_and_reimbursements_are_foreign():
    contract = cadastro(item(OWN_ITEM), item("", unit=30), item("EXTRA-1", unit=5))
    contract["despesasReembolsaveis"] = {"despesaReembolsavel": [{"nValorReemb": 50.25, "nCodReemb": 1}]}
    assert total(contract) == (10000, 3000 + 500 + 5025, 0)


def test_an_item_with_dates_of_its_own_counts_only_inside_them():
    dated = item("", unit=30) | {
        "itemOutrasInf": {"nTipoItVigFinal": 1, "dItVigInicial": "01/11/2026", "dItVigFinal": "30/11/2026"}
    }
    contract = cadastro(item(OWN_ITEM), dated)
    assert total(contract, date(2026, 11, 30)).foreign == 3000
    assert total(contract, date(2026, 12, 1)).foreign == 0
    assert total(contract).foreign == 3000
    assert compact(contract, date(2026, 12, 1)).foreign_total == 0


def test_the_compact_form_reads_blank_codes_dates_and_entities():
    contract = cadastro(item(OWN_ITEM), dVigInicial="29/03/2020", dVigFinal="")
    contract["itensContrato"][0]["itemDescrServ"]["descrCompleta"] = "A &amp; B"
    plain = copy.deepcopy(contract)
    plain["itensContrato"][0]["itemDescrServ"]["descrCompleta"] = "A & B"
    found = compact(contract)
    assert (found.nCodCtr, found.cCodIntCtr, found.cCodSit, found.own_items) == (7, "", "10", 1)
    assert (found.dVigInicial, found.dVigFinal) == (date(2020, 3, 29), None)
    assert found.fingerprint == compact(plain).fingerprint


def test_a_new_contract_is_complete_and_already_as_it_must_be():
    wanted = desired(dVigInicial="2026-12-01", dVigFinal="2031-12-31")
    sent = contrato_cadastro(wanted, code="JST-12", nCodCli=70, company=COMPANY)
    assert sent["cabecalho"] == {
        "cCodIntCtr": "JST-12",
        "cCodSit": "10",
        "cTipoFat": "01",
        "nCodCli": 70,
        "nDiaFat": 1,
        "dVigInicial": "01/12/2026",
        "dVigFinal": "31/12/2031",
    }
    assert sent["infAdic"] == {"cCodCateg": "1.01.02", "nCodCC": 2208238701, "cCidPrestServ": "SAO PAULO (SP)"}
    assert sent["emailCliente"] == {
        "cEnviarRecibo": "N",
        "cEnviarLinkNfse": "S",
        "cEnviarBoleto": "S",
        "cEnviarPix": "N",
        "cUtilizarEmails": "financeiro@cliente.test",
    }
    header = sent["itensContrato"][0]["itemCabecalho"]
    assert (header["codIntItem"], header["quant"], header["valorUnit"], header["valorDesconto"]) == (
        OWN_ITEM,
        2,
        899.0,
        5.0,
    )
    assert total(sent) == (wanted.amount, 0, 0)
    assert not {"valorTotal", "valorDed"} & header.keys()


def test_altering_keeps_what_people_did_and_drops_what_omie_calculates():
    theirs = item("", codItem=2, unit=30, valorTotal=30) | {
        "itemImpostos": {"aliqISS": 5, "valorISS": 1.5, "retISS": "N"}
    }
    ours = item(OWN_ITEM, codItem=3, unit=1, cTpDesconto="P", aliqDesconto=10, codNBS="1", valorTotal=1)
    existing = cadastro(theirs, ours, cCodIntCtr="PED-1", nValTotMes=31, dVigInicial="29/03/2020")
    existing |= {
        "infoCadastro": {"uAlt": "x"},
        "observacoes": {"cObsContrato": "Combinado &quot;por telefone&quot;"},
        "departamentos": [],
        "emailCliente": {"cEnviarBoleto": "N", "cUtilizarEmails": "antigo@cliente.test"},
        "infAdic": {"cCodCateg": "9.99", "nCodVend": None},
        "vencTextos": {"cTpVenc": "001", "nDias": 5, "cAdVenc": "S"},
        "despesasReembolsaveis": {"cCodCategReemb": "", "despesaReembolsavel": []},
    }
    before = copy.deepcopy(existing)
    sent = contrato_cadastro(desired(), code="JST-12", nCodCli=1, company=COMPANY, existing=existing)
    assert existing == before
    assert sent["cabecalho"] == {
        "nCodCtr": 7, "nCodCli": 70, "cCodIntCtr": "PED-1", "cNumCtr": "2020/1", "cCodSit": "10", "nDiaFat": 1,
        "dVigInicial": "29/03/2020",
    }  # fmt: skip
    assert not {"infoCadastro", "departamentos", "despesasReembolsaveis"} & sent.keys()
    assert sent["observacoes"] == {"cObsContrato": 'Combinado "por telefone"'}
    assert sent["infAdic"] == {"cCodCateg": "9.99"}
    assert sent["emailCliente"] == {"cEnviarBoleto": "N", "cUtilizarEmails": "financeiro@cliente.test"}
    assert sent["vencTextos"] == {"cTpVenc": "002", "nDias": 5, "cAdVenc": "S", "nDiaFixo": 10, "cProxMes": "N"}
    first, second = sent["itensContrato"]
    assert (first["itemCabecalho"]["codItem"], first["itemCabecalho"]["codNBS"]) == (3, "1")
    assert second == item("", codItem=2, unit=30) | {"itemImpostos": {"aliqISS": 5, "retISS": "N"}}
    assert total(sent) == (desired().amount, 3000, 0)
    assert not differs(sent, desired())


@pytest.mark.parametrize(
    ("flags", "sent_flags"),
    [
        ({"cEnviarRecibo": "S", "cEnviarLinkNfse": "S"}, {"cEnviarRecibo": "N", "cEnviarLinkNfse": "S"}),
        ({"cEnviarRecibo": "S", "cEnviarLinkNfse": "N"}, {"cEnviarRecibo": "S", "cEnviarLinkNfse": "N"}),
        ({"cEnviarRecibo": "S"}, {"cEnviarRecibo": "S"}),
        ({"cEnviarRecibo": "s", "cEnviarLinkNfse": "S "}, {"cEnviarRecibo": "N", "cEnviarLinkNfse": "S "}),
    ],
)
def test_receipt_and_link_are_never_both_sent_whatever_a_contract_of_omie_carries(flags, sent_flags):
    existing = cadastro(item(OWN_ITEM)) | {"emailCliente": dict(flags)}
    altered = contrato_cadastro(desired(email=None), code="JST-12", nCodCli=1, company=COMPANY, existing=existing)
    assert altered["emailCliente"] == sent_flags
    added = with_additions(existing, (), COMPANY, date(2026, 12, 1))
    assert added["emailCliente"] == sent_flags


def test_without_an_email_in_jestor_omies_own_stays():
    existing = cadastro(item(OWN_ITEM)) | {"emailCliente": {"cUtilizarEmails": "dela@cliente.test"}}
    sent = contrato_cadastro(desired(email=None), code="JST-12", nCodCli=1, company=COMPANY, existing=existing)
    assert sent["emailCliente"]["cUtilizarEmails"] == "dela@cliente.test"


def test_what_is_there_already_is_altered_not_added_again():
    existing = cadastro(item(OWN_ITEM))
    existing["despesasReembolsaveis"] = {"despesaReembolsavel": [{"nCodReemb": 9, "nValorReemb": 50}]}
    existing["produtosUtilizados"] = {"produtoUtilizado": [{"nIdItemPU": 4, "nQtdePU": 1}]}
    sent = contrato_cadastro(desired(), code="JST-12", nCodCli=1, company=COMPANY, existing=existing)
    assert sent["despesasReembolsaveis"]["despesaReembolsavel"] == [
        {"nCodReemb": 9, "nValorReemb": 50, "cAcaoReemb": "A"}
    ]
    assert sent["produtosUtilizados"]["produtoUtilizado"] == [{"nIdItemPU": 4, "nQtdePU": 1, "cAcaoItemPU": "A"}]


def test_of_several_own_items_the_first_stays_and_the_others_are_named_for_removal():
    existing = cadastro(item("JST-1", codItem=1), item("", codItem=2), item("JST-2", codItem=3))
    assert own_items_to_remove(existing) == [3]
    sent = contrato_cadastro(desired(), code="JST-12", nCodCli=1, company=COMPANY, existing=existing)
    assert [one["itemCabecalho"]["codItem"] for one in sent["itensContrato"]] == [1, 2]


def test_a_new_own_item_beside_foreign_ones_gets_the_next_number():
    sent = contrato_cadastro(
        desired(), code="JST-12", nCodCli=1, company=COMPANY, existing=cadastro(item("", codItem=2))
    )
    assert [one["itemCabecalho"]["seq"] for one in sent["itensContrato"]] == [3, 2]


WORLD = make_world(60, 7, date(2026, 12, 1))
IN_OMIE = [c.omie_contrato for c in WORLD.contracts if c.omie_company == "acme" and c.omie_contrato]


@given(
    st.sampled_from(IN_OMIE),
    st.integers(1, 20),
    st.integers(1, 10**8),
    st.integers(0, 99),
    st.integers(1, 31),
    st.sampled_from(["S", "N"]),
    st.sampled_from(sorted(COMPANY.omie.services)),
    st.text(min_size=1, max_size=40).filter(str.strip),
)
def test_a_contract_sent_as_desired_has_no_difference_left_and_the_same_foreign_total(
    existing, quantity, unit, discount, day, next_month, label, text
):
    service = COMPANY.omie.services[label]
    wanted = desired(
        quantity=quantity,
        unit_amount=unit,
        discount=discount,
        amount=quantity * unit - discount,
        nDiaFixo=day,
        cProxMes=next_month,
        service=label,
        service_key=service_key(service.codServico or 0, service.codLC116 or ""),
        description=text.replace("&", "e"),
    )
    sent = contrato_cadastro(wanted, code="JST-1", nCodCli=1, company=COMPANY, existing=existing)
    assert differences(wanted, compact(sent)) == ()
    assert total(sent) == (wanted.amount, total(existing).foreign, 0)


def test_a_customer_is_cut_to_omies_lengths_and_says_nothing_it_does_not_know():
    bare = Customer(document="11222333000181", name="N" * 120)
    assert cliente_cadastro(bare) == {
        "cnpj_cpf": "11222333000181",
        "razao_social": "N" * 60,
        "nome_fantasia": "N" * 100,
    }
    full = Customer(
        document="11222333000181", name="Café & Cia", email="a@b.test", phone="+55 (11) 98888-7777", cep="01310-100",
        endereco="Av. Paulista", numero="1000", complemento="cj 1", bairro="Bela Vista", cidade="São Paulo", estado="sp",
    )  # fmt: skip
    assert cliente_cadastro(full, "JST-12") == {
        "cnpj_cpf": "11222333000181",
        "codigo_cliente_integracao": "JST-12",
        "razao_social": "Café & Cia",
        "nome_fantasia": "Café & Cia",
        "email": "a@b.test",
        "telefone1_ddd": "11",
        "telefone1_numero": "988887777",
        "cep": "01310100",
        "endereco": "Av. Paulista",
        "endereco_numero": "1000",
        "complemento": "cj 1",
        "bairro": "Bela Vista",
        "cidade": "SAO PAULO (SP)",
        "estado": "SP",
    }


def test_the_os_of_a_billing_names_contract_order_and_amount():
    os = {
        "Cabecalho": {"nCodCtr": 7, "nCodOS": 99, "nValorTotal": 200.1},
        "InfoCadastro": {"cOrigem": "CTR", "cCancelada": "N"},
    }
    assert billed_order(os) == BilledOrder(7, 99, 20010)
    by_number = {"Cabecalho": {"nCodOS": 99, "nValorTotal": 1}, "InformacoesAdicionais": {"cNumContrato": "2020/1"}}
    assert billed_order(by_number, lambda: {"2020/1": 8}) == BilledOrder(8, 99, 100)
    assert billed_order(by_number) is None
    cancelled = os | {"InfoCadastro": {"cOrigem": "CTR", "cCancelada": "S"}}
    assert billed_order(cancelled) == BilledOrder(7, 99, 20010, live=False)
    assert [order_number(each) for each in (os, cancelled, {})] == [(99, True), (99, False), (0, True)]
    assert billed_order(os | {"InfoCadastro": {"cOrigem": "MAN"}}) is None
    assert billed_order({}) is None


# --- additions

FEE = Addition(
    key="encargos#77#2026-12",
    kind=Kind.LATE,
    amount=1234,
    text="Encargos por atraso do boleto de 10/11/2026: multa R$ 10,00 + juros R$ 2,34 (Açaí & Cia)",
    proof="...",
    title=77,
    fine=1000,
    interest=234,
)
AS_ITEM = replace(FEE, key="encargos#78#2026-12", how="item")
TODAY = date(2026, 12, 1)
THEIRS = {"nCodReemb": 9, "nValorReemb": 50, "cDescReemb": "Uber (JST-1)", "cRecorrenteReemb": "S"}


def with_expenses(*lines, category="", items=()):
    contract = cadastro(item(OWN_ITEM), *items)
    contract["despesasReembolsaveis"] = {"cCodCategReemb": category, "despesaReembolsavel": list(lines)}
    return contract


def ours(each, nCodReemb=11, **more):
    return {"nCodReemb": nCodReemb, "nValorReemb": each.amount / 100, "cDescReemb": each.label, **more}


def brought_item(each, codItem=5):
    one = item(each.marker, codItem=codItem, unit=each.amount / 100)
    return one | {"itemOutrasInf": {"nTipoItVigFinal": 3}}


def expenses_sent(existing, *additions):
    sent = with_additions(existing, additions, COMPANY, TODAY)
    return sent.get("despesasReembolsaveis", {}).get("despesaReembolsavel", [])


def test_our_additions_are_neither_own_nor_foreign():
    contract = with_expenses(THEIRS, ours(FEE), items=[item("EXTRA-1", unit=5), brought_item(AS_ITEM)])
    assert total(contract) == (10000, 5000 + 500, 1234 + 1234)
    found = compact(contract)
    assert (found.own_total, found.own_items, found.foreign_total) == (10000, 1, 5500)
    assert found.additions == brought([FEE, AS_ITEM])
    assert not additions_differ(contract, [AS_ITEM, FEE])
    assert additions_differ(contract, [FEE])
    assert additions_differ(contract, [])
    assert additions_differ(contract, [replace(FEE, amount=1235, fine=1001), AS_ITEM])
    assert additions_differ(contract, [replace(FEE, how="item"), AS_ITEM])
    assert additions_differ(with_expenses(ours(FEE), ours(FEE, 12)), [FEE])


def test_an_expense_is_included_once_with_the_text_people_read():
    assert expenses_sent(with_expenses(THEIRS), FEE) == [
        THEIRS | {"cAcaoReemb": "A"},
        {
            "cAcaoReemb": "I",
            "nValorReemb": 12.34,
            "cDescReemb": FEE.label,
            "cRecorrenteReemb": "N",
            "dDataReemb": "01/12/2026",
        },
    ]


def test_an_expense_that_is_there_is_not_included_again():
    escaped = ours(FEE) | {"cDescReemb": FEE.label.replace("&", "&amp;")}
    (line,) = expenses_sent(with_expenses(escaped), FEE)
    assert (line["cAcaoReemb"], line["nCodReemb"], line["cDescReemb"]) == ("A", 11, FEE.label)


def test_an_expense_of_another_amount_or_made_recurring_is_put_right():
    (line,) = expenses_sent(with_expenses(ours(FEE, cRecorrenteReemb="S")), replace(FEE, amount=1300, interest=300))
    assert (line["cAcaoReemb"], line["nCodReemb"]) == ("A", 11)
    assert (line["nValorReemb"], line["cRecorrenteReemb"]) == (13, "N")


def test_expenses_of_ours_that_no_plan_has_are_taken_out_and_peoples_stay():
    lines = expenses_sent(with_expenses(ours(FEE), THEIRS, ours(FEE, 12)))
    assert [(line["nCodReemb"], line["cAcaoReemb"]) for line in lines] == [(11, "E"), (9, "A"), (12, "E")]
    lines = expenses_sent(with_expenses(ours(FEE), ours(FEE, 12)), FEE)
    assert [(line["nCodReemb"], line["cAcaoReemb"]) for line in lines] == [(11, "A"), (12, "E")]
    assert "despesasReembolsaveis" not in with_additions(with_expenses(), [], COMPANY, TODAY)


@pytest.mark.parametrize(
    ("lines", "known", "sent"),
    [
        ([], "", "1.02.03"),
        ([], "9.99", "1.02.03"),
        ([THEIRS], "", "1.02.03"),
        ([THEIRS], "9.99", "9.99"),
        ([ours(FEE)], "9.99", "1.02.03"),
    ],
)
def test_the_category_is_the_settings_unless_people_have_chosen_theirs(lines, known, sent):
    company = COMPANY.model_copy(update={"late_fee": LateFeeSettings(interest_percent=1, cCodCategReemb="1.02.03")})
    contract = with_additions(with_expenses(*lines, category=known), [FEE], company, TODAY)
    assert contract["despesasReembolsaveis"]["cCodCategReemb"] == sent
    without = with_additions(with_expenses(*lines, category=known), [FEE], COMPANY, TODAY)
    assert without["despesasReembolsaveis"].get("cCodCategReemb") in {known, None}


def test_an_item_for_the_next_billing_takes_service_and_taxes_of_the_first():
    existing = with_expenses(items=[item("", codItem=4)])
    existing["itensContrato"][0]["itemImpostos"] = {"aliqISS": 2.9, "valorISS": 2.61}
    sent = with_additions(existing, [AS_ITEM], COMPANY, TODAY)
    *others, added = sent["itensContrato"]
    assert [one["itemCabecalho"]["codItem"] for one in others] == [1, 4]
    header = added["itemCabecalho"]
    assert (header["codIntItem"], header["valorUnit"], header["quant"]) == (AS_ITEM.marker, 12.34, 1)
    assert (header["codServico"], header["seq"]) == (5, 5)
    assert added["itemOutrasInf"] == {"nTipoItVigFinal": 3}
    assert added["itemDescrServ"] == {"descrCompleta": AS_ITEM.text}
    assert added["itemImpostos"] == {"aliqISS": 2.9}
    assert "despesasReembolsaveis" not in sent
    assert not additions_differ(sent, [AS_ITEM])


def test_items_of_ours_that_no_plan_has_are_named_for_removal_and_not_sent():
    twice = with_expenses(items=[brought_item(AS_ITEM, 5), brought_item(AS_ITEM, 6), brought_item(FEE, 7)])
    assert own_items_to_remove(twice) == []
    assert own_items_to_remove(twice, [AS_ITEM]) == [6, 7]
    assert own_items_to_remove(twice, []) == [5, 6, 7]
    sent = with_additions(twice, [AS_ITEM], COMPANY, TODAY)
    assert [one["itemCabecalho"]["codItem"] for one in sent["itensContrato"]] == [1, 5]
    assert sent["itensContrato"][1]["itemCabecalho"]["seq"] == 5


def test_what_is_not_told_of_additions_leaves_them():
    existing = with_expenses(ours(FEE), items=[brought_item(AS_ITEM)])
    sent = contrato_cadastro(desired(), code="JST-12", nCodCli=1, company=COMPANY, existing=existing)
    assert additions_of(sent) == additions_of(existing)
    assert sent["despesasReembolsaveis"]["despesaReembolsavel"][0]["cAcaoReemb"] == "A"


def test_a_new_contract_carries_its_additions():
    sent = contrato_cadastro(desired(), code="JST-12", nCodCli=1, company=COMPANY, additions=[FEE, AS_ITEM], on=TODAY)
    assert total(sent) == (desired().amount, 0, 2468)
    assert not additions_differ(sent, [FEE, AS_ITEM])


@given(
    st.sampled_from(IN_OMIE),
    st.lists(
        st.sampled_from([FEE, replace(FEE, amount=99, fine=99, interest=0), replace(FEE, how="item")]), max_size=4
    ),
    st.lists(st.sampled_from([AS_ITEM, replace(AS_ITEM, key="x", how="expense")]), max_size=3, unique=True),
    st.sampled_from([(), (FEE,), (AS_ITEM,), (FEE, AS_ITEM)]),
)
def test_whatever_an_earlier_plan_left_what_is_sent_is_exactly_what_is_planned(existing, leftovers, more, planned):
    existing = copy.deepcopy(existing)
    before = total(existing)
    lines = existing["despesasReembolsaveis"]["despesaReembolsavel"]
    for number, each in enumerate([*leftovers, *more]):
        if each.how == "item":
            existing["itensContrato"].append(brought_item(each, codItem=9000 + number))
        else:
            lines.append(ours(each, nCodReemb=9000 + number))
    removed = own_items_to_remove(existing, planned)
    sent = with_additions(existing, planned, COMPANY, TODAY)
    kept = sent.get("despesasReembolsaveis", {}).get("despesaReembolsavel", [])
    after = sent | {"despesasReembolsaveis": {"despesaReembolsavel": [x for x in kept if x["cAcaoReemb"] != "E"]}}
    assert not additions_differ(after, planned)
    assert total(after) == (before.own, before.foreign, sum(each.amount for each in planned))
    numbers = {one["itemCabecalho"].get("codItem") for one in sent["itensContrato"]}
    assert not numbers & set(removed)
    known = {one["itemCabecalho"]["codItem"] for one in existing["itensContrato"]}
    assert known == (numbers - {None}) | set(removed)


REGISTER = {
    "codigo_cliente_omie": 55,
    "cnpj_cpf": "11.222.333/0001-81",
    "razao_social": "P&amp;D Ltda",
    "cep": "01310-100",
    "endereco": "Av. Paulista",
    "endereco_numero": "1000",
    "bairro": "Bela Vista",
    "cidade": "SAO PAULO (SP)",
    "estado": "SP",
}


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({}, []),
        (
            {"endereco_numero": "", "bairro": None},
            ["Sem número, bairro no cadastro do cliente no Omie: a prefeitura pode rejeitar a NFS-e."],
        ),
        (
            {"cep": "20040-020"},
            ["No cadastro do cliente no Omie: O CEP é de RJ e o estado é SP: a prefeitura pode rejeitar a NFS-e."],
        ),
        ({"cep": "1310100"}, []),
        ({"telefone1_ddd": "11", "telefone1_numero": "98888-7776", "email": "a@b.example"}, []),
        (
            {"telefone1_ddd": "", "telefone1_numero": "8888-7776", "email": "a@b"},
            [
                "No cadastro do cliente no Omie: O que está no campo de e-mail não é um e-mail válido.",
                "No cadastro do cliente no Omie: O telefone não é do Brasil, com DDD: a prefeitura pode rejeitar a NFS-e.",
            ],
        ),
        (
            {"cnpj_cpf": "11.222.333/0001-82"},
            ["No cadastro do cliente no Omie: CNPJ com dígito verificador errado: confira o número."],
        ),
        ({"exterior": "S", "estado": "EX", "cep": "", "bairro": ""}, []),
    ],
)
def test_what_is_wrong_with_a_register_in_omie_is_told(facts, lines):
    assert register_warnings(REGISTER | facts) == lines


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("01310-100", "01310100"),
        ("1310100", "01310100"),
        ("131010", None),
        ("013101000", None),
    ],
)
def test_only_a_whole_cep_goes_to_omie(typed, sent):
    customer = Customer("11222333000181", "A", cep=typed, cidade="São Paulo", estado="SP")
    assert cliente_cadastro(customer).get("cep") == sent


def test_a_customer_abroad_has_no_cep_and_no_city_of_brazil():
    abroad = Customer("", "A", cep="11001-480", cidade="Lisboa", estado="EX", phone="+351 912 345 678")
    cadastro = cliente_cadastro(abroad)
    assert (cadastro["cidade"], cadastro["estado"]) == ("EX", "EX")
    assert not cadastro.keys() & {"cep", "telefone1_ddd", "telefone1_numero", "cnpj_cpf"}


def test_a_new_customer_always_has_both_names_cut_to_omies_lengths_and_its_city_keeps_its_state():
    cadastro = cliente_cadastro(Customer("11222333000181", "n" * 120, cidade="c" * 60, estado="SP"))
    assert (len(cadastro["razao_social"]), len(cadastro["nome_fantasia"])) == (60, 100)
    assert len(cadastro["cidade"]) == 40
    assert cadastro["cidade"].endswith(" (SP)")


def test_an_email_or_a_state_that_is_none_does_not_go_to_omie():
    cadastro = cliente_cadastro(Customer("11222333000181", "A", email="a@b.example; c", estado="Sampa"))
    assert cadastro["email"] == "a@b.example"
    assert "estado" not in cadastro


@pytest.mark.parametrize(
    "spoilt",
    [
        {"itensContrato": [7]},
        {"itensContrato": [{"itemCabecalho": {"quant": "muitos", "codIntItem": "JST-1"}}]},
        {"itensContrato": [{"itemCabecalho": {"quant": 1e300, "valorUnit": 1e300}}]},
        {"itensContrato": [{"itemCabecalho": {"quant": float("nan"), "valorUnit": 1}}]},
        {"vencTextos": [1]},
        {"vencTextos": {"nDiaFixo": "dia dez"}},
        {"despesasReembolsaveis": {"despesaReembolsavel": [None]}},
    ],
    ids=str,
)
def test_a_contract_that_cannot_be_read_keeps_its_numbers_and_is_never_altered(spoilt):
    cabecalho = {"nCodCtr": 7, "cCodIntCtr": "JST-7", "cNumCtr": "1", "cCodSit": "90", "nCodCli": 3, "nDiaFat": 1}
    cadastro = {"cabecalho": cabecalho, "itensContrato": []} | spoilt
    found = compact(cadastro)
    assert (found.nCodCtr, found.cCodIntCtr, found.cCodSit, found.nCodCli) == (7, "JST-7", "90", 3)
    assert found.unreadable
    with pytest.raises((ValueError, TypeError, ArithmeticError, AttributeError)):
        differs(cadastro, desired())


def test_a_contract_without_number_code_or_customer_makes_the_list_incomplete():
    """Nobody could tell whose it is: what Omie does not seem to have would be created again."""
    with pytest.raises(IncompleteRead):
        compact({"cabecalho": {"nCodCtr": "x"}})
    with pytest.raises(IncompleteRead):
        compact([])
    assert compact({"cabecalho": {"nCodCtr": "x", "nCodCli": 3}}).cCodSit == "10"


def test_an_ampersand_of_somebodys_text_goes_back_as_it_came():
    existing = {
        "cabecalho": {"nCodCtr": 7},
        "itensContrato": [item("X-1", unit=1.0) | {"itemDescrServ": {"descrCompleta": "C&amp;centro e C&centro"}}],
    }
    sent = with_additions(existing, [], COMPANY, on=date(2026, 12, 1))
    assert sent["itensContrato"][0]["itemDescrServ"]["descrCompleta"] == "C&centro e C&centro"


@pytest.mark.parametrize("amount", ["muito", float("nan"), [1], 1e300])
def test_an_order_whose_amount_cannot_be_read_is_still_the_proof_of_a_billing(amount):
    os = {"Cabecalho": {"nCodCtr": 7, "nCodOS": 99, "nValorTotal": amount}}
    assert billed_order(os) == BilledOrder(7, 99, 0)


@pytest.mark.parametrize("os", [7, None, {"Cabecalho": 5}, {"Cabecalho": {"nCodCtr": [1], "nCodOS": 9}}])
def test_an_order_that_does_not_say_whose_it_is_is_never_taken_for_none(os):
    with pytest.raises(IncompleteRead):
        billed_order(os)


@pytest.mark.parametrize("typed", ["São Paulo - SP", "São Paulo/SP", "São Paulo, SP", "São Paulo (SP)"])
def test_a_city_that_names_its_state_is_sent_as_omie_names_it(typed):
    cadastro = cliente_cadastro(Customer("11222333000181", "A", cidade=typed, estado="SP"))
    assert cadastro["cidade"] == "SAO PAULO (SP)"
