"""What Omie or a city refuses, seen before anything is billed."""

import pytest

from billing.domain.contract import Customer
from billing.domain.fiscal_limits import (
    DESCRIPTION,
    Cep,
    city_name,
    customer_warnings,
    description_warnings,
    missing_address,
    read_cep,
    read_emails,
    read_estado,
    uf_of_cep,
)

WHOLE = Customer(
    document="11222333000181",
    name="Padaria Pão & Cia Ltda",
    email="financeiro@padaria.example",
    phone="(11) 98888-7776",
    cep="01310-100",
    endereco="Av. Paulista",
    numero="1000",
    bairro="Bela Vista",
    cidade="São Paulo",
    estado="SP",
)


def changed(**facts):
    return Customer(**{name: getattr(WHOLE, name) for name in Customer.__slots__} | facts)


# --- CEP


@pytest.mark.parametrize(
    ("typed", "where", "number"),
    [
        ("01310-100", ("SP", "São Paulo"), "01310100"),
        ("01310100", ("", ""), "01310100"),
        (" 01.310-100 ", ("SP", "São Paulo"), "01310100"),
        ("CEP 20040-020", ("RJ", "Rio de Janeiro"), "20040020"),
        # dashes that word processors write, and what has no width
        ("01310\u2013100", ("SP", "São Paulo"), "01310100"),
        ("01310\u2011100", ("SP", "São Paulo"), "01310100"),
        ("01310\u2212100", ("SP", "São Paulo"), "01310100"),
        ("\u200b01310-100", ("SP", "São Paulo"), "01310100"),
        # what is typed where a CEP is demanded and none is known
        ("11111-111", ("SP", "Santos"), ""),
        ("88888888", ("SC", ""), ""),
        ("12345-678", ("SP", ""), ""),
        # a table took the text for a number, and the zero in front is gone: only São Paulo and its neighbours have one
        ("1310100", ("SP", "São Paulo"), "01310100"),
        ("1310-100", ("SP", "SAO PAULO (SP)"), "01310100"),
        ("1310100", ("", ""), "01310100"),
        ("7010000", ("SP", "Guarulhos"), "07010000"),
        ("8499999", ("SP", "São Paulo"), "08499999"),
        ("80010000.0", ("PR", "Curitiba"), "80010000"),
        ("1310100.0", ("SP", "São Paulo"), "01310100"),
        ("1310100.0", ("RJ", "Rio de Janeiro"), ""),
        # seven digits that may as well lack another one
        ("1310100", ("RJ", "Rio de Janeiro"), ""),
        ("1301010", ("SP", "Campinas"), ""),
        ("6010000", ("SP", "São Paulo"), ""),
        ("0131010", ("SP", "São Paulo"), ""),
        ("131010", ("SP", "São Paulo"), ""),
        ("013101000", ("SP", "São Paulo"), ""),
        ("13101000,5", ("SP", ""), ""),
        ("00000-000", ("SP", ""), ""),
        ("99999999999", ("", ""), ""),
        ("sem CEP", ("", ""), ""),
        ("٠١٣١٠١٠٠", ("", ""), ""),
    ],
)
def test_a_cep_has_eight_digits_or_is_no_cep(typed, where, number):
    read = read_cep(typed, *where)
    assert read.number == number
    assert bool(read.problem) == (not number)


def test_an_empty_cep_is_missing_and_not_wrong():
    assert read_cep(None) == read_cep("  ") == Cep("", "")


@pytest.mark.parametrize(
    ("cep", "uf"),
    [
        ("01310100", "SP"), ("19999999", "SP"), ("20000000", "RJ"), ("28999999", "RJ"), ("29010000", "ES"),
        ("30130010", "MG"), ("40010000", "BA"), ("49010000", "SE"), ("50010000", "PE"), ("57020000", "AL"),
        ("58010000", "PB"), ("59010000", "RN"), ("60010000", "CE"), ("64000000", "PI"), ("65010000", "MA"),
        ("66010000", "PA"), ("68900000", "AP"), ("69005000", "AM"), ("69300000", "RR"), ("69400000", "AM"),
        ("69900000", "AC"), ("70040010", "DF"), ("72800000", "GO"), ("73010000", "DF"), ("74003010", "GO"),
        ("76801000", "RO"), ("77001000", "TO"), ("78005000", "MT"), ("79002000", "MS"), ("80010000", "PR"),
        ("88010400", "SC"), ("90010000", "RS"), ("99999999", "RS"), ("00999999", ""),
    ],
)  # fmt: skip
def test_every_cep_is_of_one_state(cep, uf):
    assert uf_of_cep(cep) == uf


# --- state, e-mail


@pytest.mark.parametrize(
    ("typed", "uf"),
    [
        ("SP", "SP"), ("sp", "SP"), (" Sp ", "SP"), ("São Paulo", "SP"), ("SAO  PAULO", "SP"), ("Rio de Janeiro", "RJ"),
        ("Distrito Federal", "DF"), ("ex", "EX"), ("Exterior", "EX"), ("XX", ""), ("Brasil", ""), ("", ""),
        (None, ""), ("S P", ""),
    ],
)  # fmt: skip
def test_a_state_is_one_of_the_27_or_abroad(typed, uf):
    assert read_estado(typed) == uf


@pytest.mark.parametrize(
    "typed",
    ["a@b.example", "a.b+c@sub.b.example", "A@B.EXAMPLE; c@d.example", "a@b.example, c@d.example\ne@f.example"],
)
def test_good_addresses_stay_as_they_were_typed(typed):
    read = read_emails(typed)
    assert (read.text, read.problem) == (typed.strip(), "")


@pytest.mark.parametrize(
    "typed",
    [
        "não tem", "a@b", "a@@b.example", "@b.example", "a@.example", "a@b..example", "a..b@c.example", "a.@c.example",
        ".a@c.example", "joão@padaria.example", "a b@c.example", "a@b.example.", "a@-b.example", "<a@b.example>",
        "a@b.e1", "a@b.example\x00", "x" * 65 + "@b.example",
    ],
)  # fmt: skip
def test_what_is_no_address_is_said_and_not_sent(typed):
    read = read_emails(typed)
    assert "e-mail" in read.problem
    assert typed not in read.text


def test_what_has_no_width_is_no_part_of_an_address():
    assert read_emails("\u200ba@b.example\ufeff") == ("a@b.example", "")


def test_of_several_addresses_the_good_ones_are_sent():
    read = read_emails("financeiro@padaria.example; contas@padaria")
    assert read.text == "financeiro@padaria.example"
    assert read.problem.startswith("1 de 2 endereços de e-mail")


def test_several_that_are_none_are_said_at_once():
    assert read_emails("a; b@c") == ("", "Nenhum dos 2 endereços de e-mail é válido.")


def test_no_address_is_missing_and_not_wrong():
    assert read_emails("")[:2] == read_emails(None)[:2] == ("", "")


# --- the customer


def test_a_whole_customer_needs_no_word():
    assert customer_warnings(WHOLE) == customer_warnings(WHOLE, writes=True) == []
    assert missing_address(WHOLE) == []


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("cep", "CEP"),
        ("endereco", "endereço"),
        ("numero", "número"),
        ("bairro", "bairro"),
        ("cidade", "cidade"),
        ("estado", "estado"),
    ],
)
def test_every_part_of_the_address_that_a_nfse_needs_is_missed(part, name):
    for empty in (None, "", "  "):
        assert missing_address(changed(**{part: empty})) == [
            f"Sem {name} no Jestor: a prefeitura pode rejeitar a NFS-e."
        ]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"cep": "131010"}, "CEP tem 6 dígitos"),
        ({"cep": "013101000"}, "CEP tem 9 dígitos"),
        ({"cep": "1310100", "estado": "RJ", "cidade": "Rio de Janeiro"}, "CEP tem 7 dígitos"),
        ({"estado": "RJ", "cidade": "Rio de Janeiro"}, "CEP é de SP e o estado é RJ"),
        ({"cep": "00100-000"}, "CEP não existe"),
        ({"bairro": "Bela Vista \U0001f600"}, "bairro tem caractere"),
        ({"endereco": "Av. Paulista\x07"}, "endereço tem caractere"),
        ({"complemento": "sala \ud83d"}, "complemento tem caractere"),
        ({"name": "Padaria “Pão” Ltda"}, "nome tem caractere"),
        ({"cidade": "São Paulo\x00"}, "cidade tem caractere"),
        ({"numero": "10\ufffe"}, "número tem caractere"),
    ],
)
def test_what_will_be_refused_is_said_whether_it_is_written_now_or_stands_there(facts, says):
    for writes in (True, False):
        (line,) = customer_warnings(changed(**facts), writes=writes)
        assert says in line
        assert line.endswith(("pode rejeitar a NFS-e.", "corrija-o no Jestor."))
        line.encode()  # the broken character itself is not repeated


@pytest.mark.parametrize(
    ("field", "length", "name"),
    [
        ("name", 60, "nome"),
        ("endereco", 60, "endereço"),
        ("numero", 10, "número"),
        ("complemento", 60, "complemento"),
        ("bairro", 60, "bairro"),
        ("cidade", 35, "cidade"),
    ],
)
def test_what_omie_would_cut_is_said_before_it_is_written(field, length, name):
    assert customer_warnings(changed(**{field: "x" * length}), writes=True) == []
    too_long = changed(**{field: "x" * (length + 1)})
    (line,) = customer_warnings(too_long, writes=True)
    assert f"{name} tem {length + 1} caracteres" in line
    assert str(length) in line
    assert customer_warnings(too_long, writes=False) == []


def test_a_customer_abroad_needs_no_brazilian_address():
    abroad = changed(estado="EX", cidade="Lisboa", cep="1100-148", bairro=None, numero=None)
    assert customer_warnings(abroad, writes=True) == missing_address(abroad) == []


# --- the description


@pytest.mark.parametrize(("length", "warned"), [(1, False), (2000, False), (2001, True), (12000, True)])
def test_a_description_may_have_two_thousand_characters(length, warned):
    assert DESCRIPTION == 2000
    lines = description_warnings("x" * length)
    assert bool(lines) == warned
    if warned:
        assert f"{length:,}".replace(",", ".") in lines[0]
        assert "2.000" in lines[0]


def test_the_texts_of_the_additions_that_are_items_count_with_it():
    assert description_warnings("x" * 1900, ["y" * 99]) == []
    assert description_warnings("x" * 1900, ["y" * 101])


@pytest.mark.parametrize("text", ["Plano \U0001f680", "Plano\x0b", "Plano \ud800", "Plano \uffff", "Plano \x85?"])
def test_a_character_that_no_xml_takes_is_said(text):
    (line,) = description_warnings(text)
    assert "descrição tem caractere" in line
    line.encode()


@pytest.mark.parametrize("text", ["Plano Pro – mensal", "linha 1\nlinha 2\tcoluna", "P&D <mensal> “ouro” €"])
def test_what_xml_takes_is_let_alone(text):
    assert description_warnings(text) == []


@pytest.mark.parametrize("filler", ["-", " . ", "...", "x", "XXX", "não informado", "N/A", "sem endereço", "a definir"])
@pytest.mark.parametrize("part", ["endereco", "numero", "bairro", "cidade"])
def test_a_filler_is_no_part_of_an_address(part, filler):
    [line] = missing_address(changed(**{part: filler}))
    assert line.startswith("Sem ")


@pytest.mark.parametrize("number", ["S/N", "s/nº", "0", "12-A", "km 3"])
def test_a_street_without_numbers_is_no_filler(number):
    assert missing_address(changed(numero=number)) == []


@pytest.mark.parametrize(
    ("typed", "city"),
    [
        ("São Paulo", "São Paulo"),
        ("São Paulo (SP)", "São Paulo"),
        ("São Paulo - SP", "São Paulo"),
        ("São Paulo/SP", "São Paulo"),
        ("São Paulo, sp ", "São Paulo"),
        ("São Paulo \u2013 SP", "São Paulo"),
        ("Ji-Paraná", "Ji-Paraná"),
        ("Embu-Guaçu", "Embu-Guaçu"),
        ("Xangri-lá", "Xangri-lá"),
        (None, ""),
    ],
)
def test_a_city_is_named_without_its_state(typed, city):
    assert city_name(typed) == city


def test_a_city_of_another_state_than_the_customer_s_is_said():
    assert customer_warnings(changed(cidade="Curitiba - PR")) == [
        "A cidade diz PR e o estado é SP: a prefeitura pode rejeitar a NFS-e."
    ]
    assert customer_warnings(changed(cidade="São Paulo/SP")) == []
