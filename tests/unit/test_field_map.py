import json
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.contract import BadRow, Contract, ContractStatus, LateWishes, Price
from billing.jestor.client import id_field
from billing.jestor.field_map import check_fields, contact, option_labels, to_contract
from billing.jestor.receivables import to_row
from billing.settings import load_settings
from simulators import world
from tests.simulation.rows import Spoiled, anything, row_fields

SETTINGS = load_settings((Path(__file__).parents[2] / "config" / "demo.toml").read_text(encoding="utf-8"))
TABLE = SETTINGS.jestor.contracts


def row(customer=None, **changes):
    return {
        world.CONTRACT_ID: 12,
        "name": "Padaria Pão & Cia - Plataforma Pro",
        "jestor_is_draft": 0,
        "empresa_faturadora": "Acme Tecnologia Ltda",
        "servico_contratado": "Plataforma Pro",
        "descricao_nf_1": "Plataforma Pro - mensal",
        "quantidade": 2,
        "valor_mensal_2": Decimal("750.25"),
        "desconto": "R$ 100,50",
        "dia_vencimento": 10,
        "inicio_vigencia": "2025-03-01",
        "fim_vigencia": None,
        "status_1": "Ativo",
        "id_omie": 2310000001,
        "modo_mudanca": None,
        "mudanca_vale_a_partir": None,
        "multa_percentual": None,
        "juros_percentual_mes": None,
        "modo_encargos": None,
        "tipo_cliente": None,
        "cliente": {
            "cnpj_cpf": " 11.222.333/0001-81 ",
            "razao_social_1": "Padaria Pão & Cia Ltda",
            "email_faturamento": "financeiro@padaria.example",
            "whatsapp": "(85) 99262-5840",
            "cep": "60170-001",
            "endereco": "Av. Beira Mar",
            "numero": 100,
            "complemento": "",
            "bairro": "Meireles",
            "cidade": "Fortaleza",
            "estado": "ce",
        }
        | (customer or {}),
    } | changes


def read(given, **options):
    return to_contract(given, TABLE, SETTINGS.company_by_label, **options)


def problems(given):
    bad = read(given)
    assert isinstance(bad, BadRow), bad
    return bad.problems


def test_a_row_becomes_a_contract():
    contract = read(row())
    assert isinstance(contract, Contract)
    assert (contract.code, contract.company, contract.status) == ("JST-12", "acme", ContractStatus.ACTIVE)
    assert contract.amount == 2 * 75025 - 10050
    assert (contract.due_day, contract.start, contract.end) == (10, date(2025, 3, 1), None)
    assert contract.omie_id == 2310000001
    customer = contract.customer
    assert (customer.document, customer.name) == ("11222333000181", "Padaria Pão & Cia Ltda")
    assert (customer.numero, customer.complemento, customer.estado) == ("100", None, "CE")


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        ("valor_mensal_2", "1.200,50", "unit_amount", 120050),
        ("valor_mensal_2", 1500, "unit_amount", 150000),
        ("desconto", None, "discount", 0),
        ("desconto", "", "discount", 0),
        ("quantidade", None, "quantity", 1),
        ("quantidade", "3", "quantity", 3),
        ("quantidade", Decimal("3.0"), "quantity", 3),
        ("dia_vencimento", "31", "due_day", 31),
        ("dia_vencimento", None, "due_day", None),
        ("inicio_vigencia", "2025-03-01 09:30", "start", date(2025, 3, 1)),
        ("inicio_vigencia", None, "start", None),
        ("id_omie", "2310000001", "omie_id", 2310000001),
        ("id_omie", "", "omie_id", None),
        ("id_omie", 0, "omie_id", None),
        ("modo_mudanca", "Proporcional", "prorate", True),
        ("modo_mudanca", "Próximo ciclo", "prorate", False),
        ("mudanca_vale_a_partir", "2027-01-15", "change_from", date(2027, 1, 15)),
        ("empresa_faturadora", " acme tecnologia  LTDA", "company", "acme"),
        ("status_1", "ATIVO", "status", ContractStatus.ACTIVE),
        ("descricao_nf_1", None, "description", ""),
        ("name", None, "name", "Contrato 12"),
    ],
)
def test_every_form_in_which_jestor_gives_a_value_is_read(field, value, attribute, expected):
    assert getattr(read(row(**{field: value})), attribute) == expected


@pytest.mark.parametrize("flag", [1, "1", True, "true", "Sim"])
def test_a_draft_is_a_draft_whatever_its_stage_says(flag):
    assert read(row(jestor_is_draft=flag)).status is ContractStatus.DRAFT


@pytest.mark.parametrize("flag", [0, "0", False, None, ""])
def test_what_is_not_a_draft_keeps_its_stage(flag):
    assert read(row(jestor_is_draft=flag)).status is ContractStatus.ACTIVE


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("valor_mensal_2", "a combinar", "valor_mensal_2: "),
        ("valor_mensal_2", "1.200", "ambíguo"),
        ("valor_mensal_2", None, "valor_mensal_2: valor vazio"),
        ("valor_mensal_2", -10, "valor_mensal_2: não pode ser negativo"),
        ("desconto", -10, "desconto: não pode ser negativo"),
        ("quantidade", "1.5", 'quantidade: "1.5" não é um número inteiro'),
        ("quantidade", -1, 'quantidade: "-1" não é um número inteiro'),
        ("quantidade", "NaN", 'quantidade: "NaN" não é um número inteiro'),
        ("dia_vencimento", 32, "dia_vencimento: 32 não é um dia do mês"),
        ("dia_vencimento", "dia 10", 'dia_vencimento: "dia 10" não é um número inteiro'),
        ("inicio_vigencia", "01/03/2025", 'inicio_vigencia: "01/03/2025" não é uma data'),
        ("inicio_vigencia", "2025-02-30", 'inicio_vigencia: "2025-02-30" não é uma data'),
        ("fim_vigencia", "2025-02-28", "fim_vigencia: é anterior ao início do contrato"),
        ("status_1", "Em análise", 'status_1: "Em análise" não está em jestor.contracts.status_labels'),
        ("status_1", None, "status_1: está vazio"),
        ("empresa_faturadora", "Outra Ltda", 'empresa_faturadora: "Outra Ltda" não é uma empresa'),
        ("empresa_faturadora", {"name": "Acme"}, "empresa_faturadora: é uma lista ou um registro conectado"),
        ("cliente", 77, "cliente.cnpj_cpf: o registro de cliente não veio aberto"),
    ],
)
def test_what_cannot_be_read_names_the_field_and_the_fault(field, value, expected):
    lines = problems(row(**{field: value}))
    assert any(expected in line for line in lines), lines
    assert len(lines) == len(set(lines))


def test_a_wrong_document_is_refused_without_being_repeated():
    found = read(row(customer={"cnpj_cpf": "11.222.333/0001-82"}))
    assert found.customer.document == ""
    assert found.document_problem.startswith("cliente.cnpj_cpf: CNPJ com dígito verificador errado")
    assert "222" not in found.document_problem


@pytest.mark.parametrize("document", ["", None, "12-3456789"])
def test_a_customer_abroad_needs_no_document(document):
    found = read(row(customer={"cnpj_cpf": document, "estado": "EX", "cidade": "EX", "whatsapp": "+1 415 555 2671"}))
    assert isinstance(found, Contract)
    assert (found.customer.document, found.customer.estado, found.unread) == ("", "EX", ())
    assert found.document_problem.startswith("cliente.cnpj_cpf: ")


def test_a_row_without_its_customer_lacks_a_document_and_nothing_else():
    assert read(row(cliente=None)).document_problem == "cliente.cnpj_cpf: CPF/CNPJ vazio"


@pytest.mark.parametrize(
    ("customer", "line"),
    [
        ({"email_faturamento": "não tem"}, "cliente.email_faturamento: O que está no campo de e-mail não é um e-mail"),
        ({"email_faturamento": "a@b.example; c@d"}, "cliente.email_faturamento: 1 de 2 endereços de e-mail não vale"),
        ({"estado": "Sampa"}, "cliente.estado: não é um dos 26 estados nem o DF"),
        ({"whatsapp": "+351 912 345 678"}, "cliente.whatsapp: não é um telefone do Brasil com DDD"),
        ({"whatsapp": "98888-7776"}, "cliente.whatsapp: não é um telefone do Brasil com DDD"),
    ],
)
def test_what_cannot_be_used_of_the_customer_is_told_and_stops_no_bill(customer, line):
    found = read(row(customer=customer))
    assert isinstance(found, Contract)
    assert len(found.unread) == 1
    assert found.unread[0].startswith(line)
    assert not any(typed in found.unread[0] for typed in customer.values())


def test_a_problem_stays_short_whatever_was_typed():
    (line,) = problems(row(status_1="s" * 300_000))
    assert len(line) < 500
    assert line.endswith("não está em jestor.contracts.status_labels")


def test_a_state_may_be_written_in_full():
    assert read(row(customer={"estado": "são paulo"})).customer.estado == "SP"


def test_a_vanished_field_is_told_apart_from_an_empty_one():
    given = row()
    del given["valor_mensal_2"], given["cliente"]["email_faturamento"]
    lines = problems(given)
    assert "valor_mensal_2: o campo não veio do Jestor; confira o nome de API na configuração" in lines
    assert any(line.startswith("cliente.email_faturamento: o campo não veio no registro conectado") for line in lines)


def test_all_problems_of_a_row_are_named_at_once():
    assert len(problems(row(valor_mensal_2="?", dia_vencimento=99, status_1="?"))) == 3


def test_a_bad_row_keeps_its_company_and_name():
    bad = read(row(valor_mensal_2="a combinar"))
    assert (bad.code, bad.company, bad.name) == ("JST-12", "acme", "Padaria Pão & Cia - Plataforma Pro")
    assert read(row(empresa_faturadora="?")).company is None


def test_nobody_is_asked_to_repair_a_contract_that_bills_nothing():
    churned = read(row(status_1="Churn", valor_mensal_2="a combinar", cliente=None, empresa_faturadora=None))
    assert isinstance(churned, Contract)
    assert (churned.status, churned.company, churned.amount) == (ContractStatus.CHURNED, "", -10050)


def test_a_single_connected_record_may_come_in_a_list():
    given = row()
    given["cliente"] = [given["cliente"]]
    assert read(given).customer.document == "11222333000181"
    given["cliente"] *= 2
    assert any("um só registro conectado" in line for line in problems(given))


def test_an_address_that_is_no_email_is_left_out():
    assert read(row(customer={"email_faturamento": "não tem"})).customer.email is None


def test_option_ids_written_as_decimals_are_read_by_label():
    options = option_labels([{"key": "servico_contratado", "type": "tags", "tags": [{"id": 4.0, "label": "Suporte"}]}])
    for told in (4, 4.0, "4"):
        assert read(row(servico_contratado=told), options=options).service == "Suporte"


def test_option_fields_that_hold_ids_are_read_by_label():
    options = option_labels(
        [
            {
                "key": "status_1",
                "type": "radioSelect",
                "radio_select_config": {"options": [{"id": "9f", "label": "Ativo"}]},
            },
            {"key": "servico_contratado", "type": "tags", "tags": [{"id": 4, "label": "Suporte Premium"}]},
            {"key": "name", "type": "string"},
        ]
    )
    assert options == {"status_1": {"9f": "Ativo"}, "servico_contratado": {"4": "Suporte Premium"}}
    contract = read(row(status_1="9f", servico_contratado=4), options=options)
    assert (contract.status_label, contract.service) == ("Ativo", "Suporte Premium")


def properties(*, without=(), status=tuple(world.STATUS_LABELS)):
    keys = {path.partition(".")[0] for path in world.FIELDS.values()} - {
        "jestor_is_draft",
        "status_1",
        *without,
    }
    labels = [{"id": str(n), "label": label} for n, label in enumerate(status)]
    fields = [{"key": key, "type": "string"} for key in sorted(keys)]
    return [*fields, {"key": "status_1", "type": "radioSelect", "radio_select_config": {"options": labels}}]


def test_a_table_that_fits_the_settings_gives_no_line():
    assert check_fields(properties(), TABLE, SETTINGS.company_by_label) == []


def test_a_field_that_was_made_again_under_another_name_is_suggested():
    drifted = [*properties(without={"valor_mensal_2"}), {"key": "valor_mensal_3", "type": "currency"}]
    (line,) = check_fields(drifted, TABLE)
    assert line.startswith("jestor.contracts.fields.unit_amount: o campo valor_mensal_2 não existe mais na tabela")
    assert "Parecidos: valor_mensal_3." in line


def test_a_renamed_active_stage_stops_the_reading():
    labels = ["Ativa", *(label for label in world.STATUS_LABELS if label != "Ativo")]
    (line,) = check_fields(properties(status=labels), TABLE)
    assert line.startswith('jestor.contracts.status_labels: o campo status_1 não tem mais a opção "Ativo".')
    assert '"Ativa"' in line


def test_a_stage_that_came_or_went_concerns_its_own_rows_only():
    labels = ["Em análise", *(label for label in world.STATUS_LABELS if label != "Encerrado")]
    assert check_fields(properties(status=labels), TABLE) == []


def test_a_company_or_its_services_that_vanished_from_the_options_are_named():
    fields = [
        *properties(without={"empresa_faturadora", "servico_contratado"}),
        {"key": "empresa_faturadora", "tags": [{"id": "1", "label": "Acme Tecnologia"}]},
        {"key": "servico_contratado", "tags": [{"id": "1", "label": "Plataforma Pro"}]},
    ]
    assert check_fields(fields, TABLE, ["Acme Tecnologia"], ["Plataforma Pro", "Suporte Premium"]) == []
    company, service = check_fields(fields, TABLE, ["Acme Tecnologia Ltda"], ["Backup"])
    assert company.startswith("companies.*.jestor_label: ")
    assert service.startswith("companies.*.omie.services: ")


def test_the_whole_world_is_read_as_it_was_meant():
    made = world.make_world(contracts=400, seed=11, today=date(2026, 12, 1))
    seen = set()
    for each in made.contracts:
        if each.jestor_row is None:
            continue
        seen.add(each.kind)
        result = read(each.jestor_row)
        if each.kind == "unreadable_money":
            assert isinstance(result, BadRow), each.kind
            assert len(result.problems) == 1
            continue
        assert isinstance(result, Contract), (each.kind, result)
        assert bool(result.document_problem) == (each.kind in {"invalid_document", "missing_document"})
        if each.expected == "bill":
            assert (result.company, result.status) == (each.omie_company, ContractStatus.ACTIVE)
            if each.kind != "foreign_item":
                assert result.amount == each.amount
    assert seen >= {"match", "create", "churned", "unreadable_money", "hidden_draft"}


def late(**changes):
    return read(row(**changes)).late


def test_what_a_contract_says_of_late_charges_is_read_as_people_write_it():
    assert late() == LateWishes()
    assert late(multa_percentual=2, juros_percentual_mes="0,5 %").fine_percent == 2
    assert late(juros_percentual_mes="0,5 %").interest_percent == Decimal("0.5")
    assert late(juros_percentual_mes=Decimal(0)).interest_percent == 0
    assert [late(modo_encargos=label).mode for label in world.LATE_MODES] == ["next_invoice", "boleto", "none"]
    assert [late(tipo_cliente=label).consumer for label in world.CUSTOMER_KINDS] == [True, False]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("multa_percentual", "dois"),
        ("juros_percentual_mes", "-1"),
        ("juros_percentual_mes", "1,2,3"),
        ("modo_encargos", "Correio"),
        ("tipo_cliente", "Amigo"),
    ],
)
def test_late_charges_that_cannot_be_read_are_no_problem_of_the_bill(field, value):
    wishes = late(**{field: value})
    (problem,) = wishes.problems
    assert problem.startswith(f'{field}: "{value}"')


def test_a_row_that_parks_keeps_a_price_that_can_be_read():
    bad = read(row(inicio_vigencia="31/02/2026"))
    assert isinstance(bad, BadRow)
    assert (bad.price, bad.amount) == (Price(2, 75025, 10050), 2 * 75025 - 10050)


@pytest.mark.parametrize("wrong", [{"quantidade": "dois"}, {"valor_mensal_2": None}, {"desconto": "1.200"}])
def test_a_price_with_a_part_that_cannot_be_read_is_not_known(wrong):
    bad = read(row(customer={"cnpj_cpf": ""}, **wrong))
    assert isinstance(bad, BadRow)
    assert (bad.price, bad.amount) == (None, 0)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("quantidade", "1.000", "ambíguo"),
        ("quantidade", "10.000", "ambíguo"),
        ("quantidade", "1_000", "não é um número inteiro"),
        ("quantidade", "1e9999", "não é um número inteiro"),
        ("quantidade", Decimal("1e9999"), "grande demais"),
        ("quantidade", True, "não é um número inteiro"),
        ("quantidade", "\u0662", "não é um número inteiro"),
        ("quantidade", "1\u00a0000", "não é um número inteiro"),
        ("quantidade", 10**9, "é grande demais: confira a quantidade e o valor"),
        ("id_omie", "1.000", "ambíguo"),
        ("id_omie", "2310000001\x00", "não é um número inteiro"),
        ("dia_vencimento", "1.0000", "não é um número inteiro"),
        ("valor_mensal_2", float("nan"), "não é um valor em reais"),
        ("valor_mensal_2", Decimal("1e9999"), "grande demais"),
        ("inicio_vigencia", "0026-12-01", "não é uma data"),
        ("inicio_vigencia", "\u0662\u0660\u0662\u0666-12-01", "não é uma data"),
        ("descricao_nf_1", "Plano \ud83d", "tem um caractere que não pode ser lido"),
        ("name", "Pão\x00", "tem um caractere que não pode ser lido"),
        ("status_1", "x" * 5000, "não está em jestor.contracts.status_labels"),
    ],
)
def test_a_value_that_could_be_two_or_none_is_one_clear_line(field, value, expected):
    (line,) = problems(row(**{field: value}))
    assert line.startswith(f"{field}: ")
    assert expected in line
    assert len(line) < 200
    line.encode()


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        ("quantidade", "1.000,00", "quantity", 1000),
        ("quantidade", "2.0", "quantity", 2),
        ("id_omie", "2.310.000.001", "omie_id", 2310000001),
        ("id_omie", Decimal(2310000001), "omie_id", 2310000001),
        ("descricao_nf_1", "P&amp;D mensal", "description", "P&D mensal"),
        ("descricao_nf_1", "linha 1\r\nlinha 2\x0blinha 3", "description", "linha 1\nlinha 2\nlinha 3"),
        ("status_1", "Ativo\u00a0", "status", ContractStatus.ACTIVE),
        ("empresa_faturadora", "ACME\u00a0Tecnologia\u200b Ltda", "company", "acme"),
        ("modo_mudanca", "PROPORCIONAL ", "prorate", True),
        ("inicio_vigencia", "9999-12-31", "start", date(9999, 12, 31)),
        ("fim_vigencia", "9999-12-31", "end", date(9999, 12, 31)),
    ],
)
def test_a_value_with_one_meaning_is_read(field, value, attribute, expected):
    assert getattr(read(row(**{field: value})), attribute) == expected


@pytest.mark.parametrize(
    "document",
    ["11.222.333/0001\u201381", "11\u00a0222\u00a0333 0001 81", "\u200b11222333000181", Decimal(11222333000181)],
)
def test_a_document_is_the_same_however_it_was_copied(document):
    assert read(row({"cnpj_cpf": document})).customer.document == "11222333000181"
    assert contact(row({"cnpj_cpf": document}), TABLE.fields).document == "11222333000181"


def test_a_row_that_makes_the_reading_fail_is_an_unreadable_row_of_its_company(monkeypatch, caplog):
    monkeypatch.setattr("billing.jestor.field_map._customer", lambda *_: {}["Padaria"])
    bad = read(row())
    assert isinstance(bad, BadRow)
    assert (bad.code, bad.company, bad.unreadable) == ("JST-12", "acme", True)
    assert bad.problems[0].startswith("não foi possível ler o contrato JST-12 (KeyError): confira no Jestor")
    assert "Padaria" not in caplog.text
    lost = read(row(empresa_faturadora=[1, 2]))
    assert (lost.company, lost.unreadable) == (None, True)


@given(row_fields)
def test_whatever_a_row_holds_it_is_read_or_refused_field_by_field(fields):
    """The net under the reading is never needed: each reader refuses what it cannot read."""
    given_row = Spoiled(fields=fields).put_into(row())
    read_row = read(given_row)
    assert isinstance(read_row, Contract) or not read_row.unreadable
    json.dumps(asdict(read_row), default=str, ensure_ascii=False).encode()
    contact(given_row, TABLE.fields)
    if isinstance(read_row, BadRow):
        assert all("\n" not in line and line.encode() for line in read_row.problems)


@given(st.dictionaries(st.sampled_from([path for _, path in SETTINGS.jestor.receivables.fields if path]), anything))
def test_whatever_a_row_of_the_receivables_holds_it_is_read(fields):
    table = SETTINGS.jestor.receivables
    found = to_row({id_field(table.table): 7} | fields, table, {}, world.CONTRACT_ID)
    assert found.jestor_id == 7


def test_lines_of_an_address_have_one_form():
    where = {
        "endereco": " Av.\u200b  Beira\tMar\n",
        "bairro": "Meireles\u00a0 Novo",
        "razao_social_1": "Padaria\u200e\n Pão",
        "complemento": "\u200b",
        "numero": 100.0,
    }
    customer = to_contract(row(where), TABLE, SETTINGS.company_by_label).customer
    assert (customer.endereco, customer.bairro, customer.name) == ("Av. Beira Mar", "Meireles Novo", "Padaria Pão")
    assert (customer.complemento, customer.numero) == (None, "100")


@pytest.mark.parametrize("empty", ["", "  ", "\u00a0", "\u200b", None])
def test_a_blank_discount_is_none(empty):
    contract = to_contract(row(desconto=empty), TABLE, SETTINGS.company_by_label)
    assert isinstance(contract, Contract)
    assert contract.discount == 0


def test_a_price_that_no_invoice_can_have_is_an_unknown_amount():
    bad = to_contract(row(quantidade=10**14), TABLE, SETTINGS.company_by_label)
    assert "é grande demais" in bad.problems[0]
    assert bad.price is None
