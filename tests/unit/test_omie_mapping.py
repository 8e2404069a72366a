"""Omie's dicts and the domain's types: totals to the cent, our item first, people's work untouched."""

import copy
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.contract import Customer
from billing.domain.plan import Desired, differences, service_key
from billing.omie.mapping import (
    OWN_ITEM,
    BilledOrder,
    billed_order,
    cliente_cadastro,
    compact,
    contrato_cadastro,
    differs,
    own_items_to_remove,
    split_phone,
    total,
)
from billing.settings import load_settings
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
    assert total(cadastro(item(OWN_ITEM, **header))) == (centavos, 0)


def test_items_without_our_prefix_and_reimbursements_are_foreign():
    contract = cadastro(item(OWN_ITEM), item("", unit=30), item("EXTRA-1", unit=5))
    contract["despesasReembolsaveis"] = {"despesaReembolsavel": [{"nValorReemb": 50.25, "nCodReemb": 1}]}
    assert total(contract) == (10000, 3000 + 500 + 5025)


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
    assert total(sent) == (wanted.amount, 0)
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
    assert total(sent) == (desired().amount, 3000)
    assert not differs(sent, desired())


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
    assert total(sent) == (wanted.amount, total(existing).foreign)


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


@pytest.mark.parametrize(
    ("phone", "parts"),
    [
        ("(11) 98888-7777", ("11", "988887777")),
        ("+55 11 3333-4444", ("11", "33334444")),
        ("5511988887777", ("11", "988887777")),
        ("55 99999-8888", ("55", "999998888")),
        ("011 3333 4444", ("11", "33334444")),
        ("ramal 12", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_phone_in_any_form_becomes_area_code_and_number(phone, parts):
    assert split_phone(phone) == parts


def test_the_os_of_a_billing_names_contract_order_and_amount():
    os = {
        "Cabecalho": {"nCodCtr": 7, "nCodOS": 99, "nValorTotal": 200.1},
        "InfoCadastro": {"cOrigem": "CTR", "cCancelada": "N"},
    }
    assert billed_order(os) == BilledOrder(7, 99, 20010)
    by_number = {"Cabecalho": {"nCodOS": 99, "nValorTotal": 1}, "InformacoesAdicionais": {"cNumContrato": "2020/1"}}
    assert billed_order(by_number, {"2020/1": 8}) == BilledOrder(8, 99, 100)
    assert billed_order(by_number) is None
    assert billed_order(os | {"InfoCadastro": {"cOrigem": "CTR", "cCancelada": "S"}}) is None
    assert billed_order(os | {"InfoCadastro": {"cOrigem": "MAN"}}) is None
    assert billed_order({}) is None
