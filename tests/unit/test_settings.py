import re
import tomllib
from dataclasses import fields
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from billing.domain.late_fee import CountingStart, Mode, Rounding, Terms
from billing.domain.plan import Guardrail, Service
from billing.settings import SettingsError, load_settings, settings_reference
from simulators import world

CONFIG = Path(__file__).parents[2] / "config"
DEMO = (CONFIG / "demo.toml").read_text(encoding="utf-8")
EXAMPLE = (CONFIG / "example.toml").read_text(encoding="utf-8")


def problems(text, **options):
    with pytest.raises(SettingsError) as caught:
        load_settings(text, **options)
    return caught.value.problems


def changed(old, new, text=EXAMPLE):
    assert text.count(old) == 1, old
    return text.replace(old, new)


def test_the_demo_settings_are_the_simulators_world():
    settings = load_settings(DEMO)
    contracts = settings.jestor.contracts
    assert settings.jestor.org == world.ORG
    assert contracts.table == world.CONTRACTS_TABLE
    assert contracts.fields.model_dump() == dict(world.FIELDS)
    assert contracts.status_labels == dict(world.STATUS_LABELS)
    receivables = settings.jestor.receivables
    assert receivables.table == world.RECEIVABLES_TABLE
    assert receivables.fields.model_dump() == dict(world.RECEIVABLE_FIELDS)
    assert receivables.status_labels == dict(world.RECEIVABLE_STATUSES)
    assert (receivables.stages, receivables.resolved_stage) == (dict(world.STAGES), world.RESOLVED_STAGE)
    assert set(receivables.exception_labels) == set(world.EXCEPTIONS.values())
    assert settings.companies.keys() == world.COMPANIES.keys()
    for key, company in world.COMPANIES.items():
        mine = settings.companies[key]
        assert (mine.name, mine.jestor_label, mine.billing_day) == (
            company.name,
            company.jestor_label,
            world.BILLING_DAY,
        )
        omie = mine.omie
        assert (omie.nCodCC, omie.cCodCateg, omie.cCidPrestServ) == (
            company.nCodCC,
            company.cCodCateg,
            company.cCidPrestServ,
        )
        assert omie.services.keys() == company.services.keys()
        for label, service in company.services.items():
            codes = omie.services[label]
            for name in ("codServico", "codLC116", "codServMunic", "natOperacao", "retISS", "description"):
                assert getattr(codes, name) == getattr(service, name)
            assert codes.aliqISS == Decimal(str(service.aliqISS))
        for flag, sent in mine.send_email.model_dump().items():
            assert sent == (world.EMAIL_FLAGS[flag] == "S")


def test_the_example_file_is_valid_and_shows_every_mandatory_setting():
    settings = load_settings(EXAMPLE)
    assert settings.jestor.base_url == "https://minha-empresa.api.jestor.com"
    assert settings.company_by_label == {"Minha Empresa Ltda": "matriz"}


def test_a_policy_speaks_the_language_of_planning():
    company = load_settings(EXAMPLE).companies["matriz"]
    policy = company.policy("matriz")
    assert policy.services["Plano Pro"] == Service("987654321", "Licença de uso de software - Plano Pro")
    assert policy.services["Suporte mensal"].key == "1.07"
    assert (policy.company, policy.billing_day, policy.default_due_day) == ("matriz", 1, 10)
    assert company.guardrail.limits() == Guardrail(
        max_total=25_000_000, max_count=600, max_jump_percent=50, approval_required=False
    )


def test_a_connected_record_is_asked_for_whole_and_once():
    assert load_settings(DEMO).jestor.contracts.select.count("cliente") == 1


def test_an_empty_file_names_what_it_lacks():
    assert [line.split(":")[0] for line in problems("")] == ["jestor", "companies"]


def test_a_file_that_is_not_toml_says_on_which_line():
    (line,) = problems('[jestor]\norg = minha-empresa"\n')
    assert "not a TOML file" in line
    assert "line 2" in line


def test_a_missing_code_says_where_to_copy_it_from():
    (line,) = problems(changed("nCodCC = 1234567890 # Omie > Finanças > Contas Correntes", ""))
    assert line.startswith("companies.matriz.omie.nCodCC: missing - the bank account code; copy it from Omie > ")


def test_a_misspelt_setting_suggests_the_right_one():
    lines = problems(changed("max_total = 250000.00", "max_totl = 250000.00"))
    assert "companies.matriz.guardrail.max_totl: no such setting; did you mean max_total?" in lines


def test_an_invented_setting_lists_the_real_ones():
    (line,) = problems(changed("cEnviarPix = false", "sms = true"))
    assert line.startswith("companies.matriz.send_email.sms: no such setting; use one of cEnviarRecibo, ")


@pytest.mark.parametrize("link", ["cEnviarLinkNfse = true", ""])  # without it the link is true as well
def test_receipt_and_link_together_are_refused_before_omie_refuses_each_contract(link):
    text = changed("cEnviarLinkNfse = true", link, changed("cEnviarRecibo = false", "cEnviarRecibo = true"))
    (line,) = problems(text)
    assert line.startswith("companies.matriz.send_email: cEnviarRecibo and cEnviarLinkNfse are both true, which Omie r")
    assert "write cEnviarRecibo = false or cEnviarLinkNfse = false" in line
    assert load_settings(
        changed(
            "cEnviarBoleto = true",
            "cEnviarBoleto = true\ncEnviarLinkNfse = false",
            changed("cEnviarLinkNfse = true", "", changed("cEnviarRecibo = false", "cEnviarRecibo = true")),
        )
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("max_count = 600", "max_count = 0", "guardrail.max_count: must be more than 0 - "),
        ("max_count = 600", "max_count = 1.000", "guardrail.max_count: must be a whole number, as in 1000 or 1_000"),
        ("max_count = 600", 'max_count = "1.000"', "guardrail.max_count: must be a whole number, as in 1000"),
        ("max_count = 600", "max_count = true", "guardrail.max_count: must be a whole number, as in 1000"),
        ("max_count = 600", "max_count = 1.5", "guardrail.max_count: must be a whole number, as in 1000"),
        ("max_total = 250000.00", "max_total = 250.000", 'guardrail.max_total: is not an amount in reais ("250.000" é'),
        ("max_count = 600", 'max_count = "many"', "guardrail.max_count: must be a whole number"),
        ("max_total = 250000.00", "max_total = 0", "guardrail.max_total: must be more than zero - "),
        ("max_total = 250000.00", "max_total = -1.5", "guardrail.max_total: must be more than zero - "),
        ("max_total = 250000.00", "max_total = true", "guardrail.max_total: is not an amount in reais"),
        ("max_total = 250000.00", 'max_total = "much"', "guardrail.max_total: is not an amount in reais"),
        ("max_jump_percent = 50", "max_jump_percent = -5", "max_jump_percent: must be more than 0"),
        ("billing_day = 1", "billing_day = 31", "matriz.billing_day: must be 28 or less"),
        ("min_days_to_due = 3", "min_days_to_due = -1", "matriz.min_days_to_due: must be 0 or more"),
        ('due_month = "same"', 'due_month = "last"', "matriz.due_month: must be 'same' or 'next'"),
        ("cEnviarPix = false", 'cEnviarPix = "talvez"', "cEnviarPix: must be true or false, without quotes"),
        ('cCodCateg = "1.01.02"', 'cCodCateg = "Receitas"', "cCodCateg: has not the form"),
        ('cCodCateg = "1.01.02"', "cCodCateg = 1", "cCodCateg: must be text in quotes"),
        ('"SAO PAULO (SP)"', '"São Paulo"', "cCidPrestServ: has not the form"),
        ("aliqISS = 2.9", "aliqISS = 29", "aliqISS: must be 5 or less"),
        ("aliqISS = 2.9", 'aliqISS = "dois"', "aliqISS: must be a number, without quotes"),
        ('name = "Minha Empresa"', 'name = ""', "companies.matriz.name: is empty"),
        ('name = "Minha Empresa"', 'name = " Minha Empresa"', "name: has blanks at an end; remove them"),
        ('status = "status"', 'status = "cliente.a.b"', "jestor.contracts.fields.status: has not the form"),
        ('codLC116 = "1.07"', "", '"Suporte mensal": give codServico, or else codLC116 as well'),
        ('Encerrado = "other"', '"ativo " = "other"', "this name cannot be used, it has blanks at an end"),
        ('Ativo = "active"', 'Ativo = "other"', 'no label that means "active"'),
        ('Ativo = "active"', 'Ativo = "active"\nATIVO = "other"', 'the label "Ativo" and "ATIVO" more than'),
        ('Ativo = "active"', 'Ativo = "active"\n"Ativo\u200b" = "other"', "more than once"),
        ('discount = "desconto"', 'discount = "valor_mensal"', "valor_mensal is given to unit_amount, disc"),
    ],
)
def test_a_wrong_value_says_where_and_what_is_right(old, new, expected):
    (line,) = problems(changed(old, new))
    assert expected in line
    assert "\n" not in line


def test_a_company_key_must_serve_as_a_name_on_aws():
    lines = problems(EXAMPLE.replace("companies.matriz", "companies.Matriz_SP"))
    assert any(line.startswith("companies.Matriz_SP: this name cannot be used") for line in lines)


def test_a_section_that_is_no_section_says_so():
    (line,) = problems('jestor = "demo"\n' + DEMO[DEMO.index("[companies.acme]") :])
    assert line.startswith("jestor: must be a table, under its own [heading]")


def test_two_companies_never_share_a_jestor_label():
    nimbus, acme = (world.COMPANIES[key].jestor_label for key in ("nimbus", "acme"))
    assert problems(DEMO.replace(nimbus, acme.upper())) == (
        "companies.acme and companies.nimbus have the same jestor_label; give each its own",
    )


def test_the_in_doubt_wait_is_longer_than_the_function_an_abandoned_call_and_omies_lag():
    short = changed("billing_day = 1", "in_doubt_wait_seconds = 540")
    (line,) = problems(short)
    assert "in_doubt_wait_seconds is 540; write 541 or more" in line
    load_settings(short.replace("540", "541"))
    assert "write 721 or more" in problems(short, function_timeout_seconds=300)[0]
    assert "write 571 or more" in problems(short.replace("540", "560\nread_lag_seconds = 150"))[0]


def test_every_problem_is_named_at_once():
    text = changed("max_count = 600", "max_count = 0")
    text = changed('cCodCateg = "1.01.02" # Omie > Finanças > Categorias', "", text)
    text = changed('org = "minha-empresa"', 'org = "https://minha-empresa"', text)
    assert [line.split(":")[0] for line in problems(text)] == [
        "jestor.org",
        "companies.matriz.omie.cCodCateg",
        "companies.matriz.guardrail.max_count",
    ]


def test_amounts_are_read_to_the_centavo():
    text = changed("max_total = 250000.00", "max_total = 1234.10")
    assert load_settings(text).companies["matriz"].guardrail.max_total == 123_410


def test_the_reference_lists_every_setting_of_the_example_with_its_meaning():
    reference = settings_reference()

    def names(table):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from names(value)
            else:
                yield key

    labels = {*tomllib.loads(EXAMPLE)["jestor"]["contracts"]["status_labels"]}
    for name in set(names(tomllib.loads(EXAMPLE))) - labels:
        assert f"| `{name}` |" in reference
    assert "| `nCodCC` | whole number | required | the bank account code (copy it from Omie" in reference
    assert '### `[companies.KEY.omie.services."LABEL"]`' in reference
    assert "| `max_total` | reais | required |" in reference
    assert "None" not in reference


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('exception = "excecao"', 'exception = "situacao"', "situacao is given to status, exception"),
        ('contract = "contrato"', 'contract = "cliente.contrato"', "contract: name a field of the table itself"),
        ('delay_days = "dias_de_atraso"\n', "", "jestor.receivables.fields.delay_days: missing"),
        (
            'table = "contas_a_receber"',
            'table = "contas_a_receber"\nstages = { A = 1, B = 1 }',
            "stages has two labels",
        ),
        (
            'table = "contas_a_receber"',
            'table = "contas_a_receber"\nstatus_labels = { Pago = "pago" }',
            "exactly one label for each",
        ),
    ],
)
def test_a_receivables_table_that_cannot_work_says_why_in_one_line(old, new, line):
    found = problems(changed(old, new))
    assert len(found) == 1
    assert line in found[0]


def test_the_receivables_table_may_be_left_out():
    before, _, rest = EXAMPLE.partition("[jestor.receivables]")
    settings = load_settings(before + "[companies.matriz]" + rest.partition("[companies.matriz]")[2])
    assert settings.jestor.receivables is None


def late(text):
    return load_settings(f"{WITHOUT_LATE}\n[companies.matriz.late_fee]\n{text}").companies["matriz"].late_fee


WITHOUT_LATE = re.sub(r"\[companies\.matriz\.late_fee\][^\[]*", "", EXAMPLE)


def test_what_nothing_says_of_late_fees_is_cautious():
    assert load_settings(WITHOUT_LATE).companies["matriz"].late_fee is None
    terms = late("").terms()
    assert (terms.mode, terms.consumer) == (Mode.NEXT_INVOICE, True)
    assert (terms.fine_percent, terms.interest_percent) == (None, None)


def test_every_option_of_the_late_fee_engine_is_a_setting():
    text = (
        'mode = "boleto"\nfine_percent = 10\ninterest_percent = 1.5\ncustomer_kind = "business"\ngrace_days = 5\n'
        'counting_start = "extended_due_date"\nrounding = "truncate"'
    )
    assert late(text).terms() == Terms(
        fine_percent=Decimal(10),
        interest_percent=Decimal("1.5"),
        grace_days=5,
        rounding=Rounding.TRUNCATE,
        consumer=False,
        mode=Mode.BOLETO,
        counting_start=CountingStart.EXTENDED_DUE_DATE,
    )
    # A new option of the engine is to be a setting too.
    assert len(fields(Terms)) == 7


@pytest.mark.parametrize("kind", ["", 'customer_kind = "by_document"'])
def test_a_fine_beyond_the_consumers_cap_is_refused_at_configuration(kind):
    (line,) = problems(f"{WITHOUT_LATE}\n[companies.matriz.late_fee]\nfine_percent = 2.01\n{kind}")
    assert line.startswith("companies.matriz.late_fee: fine_percent is 2.01; write 2 or less: the law allows no more")
    assert '"business"' in line
    assert late(f"fine_percent = 2\n{kind}").fine_percent == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("interest_percent = 12", "confira se a taxa não é anual"),
        ("interest_percent = -1", "não é um percentual"),
        ('fine_percent = 101\ncustomer_kind = "business"', "maior que o próprio principal"),
        ("grace_days = 366", "must be 365 or less"),
        ('mode = "bank"', "must be 'next_invoice', 'boleto' or 'none'"),
        ("titles_per_bill = 13", "must be 12 or less"),
        ('cCodCategReemb = "receita"', "has not the form"),
    ],
)
def test_late_fees_that_cannot_be_right_are_refused_in_one_line(text, why):
    (line,) = problems(f"{WITHOUT_LATE}\n[companies.matriz.late_fee]\n{text}")
    assert line.startswith("companies.matriz.late_fee")
    assert why in line


def test_days_are_days():
    found = late("due_from = 2027-01-01\nlocal_holidays = [2026-07-09]\nleast = 0.50")
    assert (found.due_from, found.local_holidays, found.least) == (date(2027, 1, 1), (date(2026, 7, 9),), 50)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_file_as_windows_saves_it_is_the_same_file(encoding):
    text = EXAMPLE.replace("\n", "\r\n")
    assert load_settings(text.encode(encoding)) == load_settings(EXAMPLE)
    assert load_settings("\ufeff" + text) == load_settings(EXAMPLE)


def test_a_file_in_another_encoding_is_named_in_one_line():
    with pytest.raises(SettingsError) as refused:
        load_settings("name = 'Praça'".encode("cp1252"))
    (line,) = refused.value.problems
    assert line.startswith("não está em UTF-8 (linha 1, byte 0xE7;")
