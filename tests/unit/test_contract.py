import pytest
from hypothesis import given
from hypothesis import strategies as st
from validate_docbr import CNPJ, CPF

from billing.domain.contract import (
    BadRow,
    Contract,
    ContractStatus,
    Customer,
    DocumentError,
    contract_code,
    normalise_document,
)


@pytest.mark.parametrize(
    ("written", "document"),
    [
        ("529.982.247-25", "52998224725"),
        (" 52998224725 ", "52998224725"),
        ("11.222.333/0001-81", "11222333000181"),
        ("11222333000181", "11222333000181"),
        # The example of the Receita Federal's own manual.
        ("12.ABC.345/01DE-35", "12ABC34501DE35"),
        ("12abc34501de35", "12ABC34501DE35"),
    ],
)
def test_documents_lose_their_punctuation(written, document):
    assert normalise_document(written) == document


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "vazio"),
        (" ./- ", "vazio"),
        ("529.982.247-26", "dígito verificador"),
        ("11.222.333/0001-82", "dígito verificador"),
        ("12.ABC.345/01DE-36", "dígito verificador"),
        ("111.111.111-11", "dígito verificador"),
        ("00.000.000/0000-00", "dígito verificador"),
        ("5299822472", "10 posições"),
        ("529982247251", "12 posições"),
        ("529.982.24A-25", "caractere inválido"),
        ("12.ABC.345/01DE-3X", "caractere inválido"),
        ("12.ÁBC.345/01DE-35", "caractere inválido"),
        ("５２９９８２２４７２５", "caractere inválido"),
    ],
)
def test_wrong_documents_are_refused_with_the_reason(written, why):
    with pytest.raises(DocumentError, match=why) as refused:
        normalise_document(written)
    assert not written.strip() or written not in str(refused.value)


@given(st.from_regex(r"\A[0-9]{11}\Z") | st.from_regex(r"\A[0-9]{14}\Z"))
def test_arbitrary_numbers_are_judged_as_an_independent_library_does(digits):
    known = CPF() if len(digits) == 11 else CNPJ()
    try:
        accepted = normalise_document(digits) == digits
    except DocumentError:
        accepted = False
    assert accepted == known.validate(digits)


@pytest.mark.parametrize("kind", [CPF(), CNPJ()], ids=["CPF", "CNPJ"])
def test_documents_made_by_an_independent_library_are_accepted(kind):
    for document in kind.generate_list(100, mask=True):
        assert normalise_document(document) == document.translate(str.maketrans("", "", "./-"))


def test_the_amount_is_quantity_times_price_less_the_discount():
    contract = Contract(
        jestor_id=12,
        company="acme",
        name="Cliente Exemplo",
        customer=Customer("11222333000181", "Cliente Exemplo"),
        service="Plataforma",
        description="",
        quantity=3,
        unit_amount=10000,
        discount=500,
        due_day=10,
        start=None,
        end=None,
        status=ContractStatus.ACTIVE,
        status_label="Ativo",
    )
    assert contract.amount == 29500
    assert contract.code == "JST-12"


def test_a_bad_row_has_a_code_too():
    assert BadRow(12, None, "", ("Valor: vazio",)).code == "JST-12"


@given(st.integers(1, 10**15))
def test_the_code_fits_omies_twenty_characters(jestor_id):
    assert len(contract_code(jestor_id)) <= 20
