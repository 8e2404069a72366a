from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.money import LIMIT, MoneyError, format_brl, parse_money, reais, to_json

amounts = st.integers(min_value=1 - LIMIT, max_value=LIMIT - 1)


@pytest.mark.parametrize(
    ("value", "centavos"),
    [
        (1200, 120000),
        (1200.5, 120050),
        (0.1 + 0.2, 30),
        (1199.9999999999998, 120000),
        (Decimal("1200.5"), 120050),
        (Decimal("1200.5000"), 120050),
        ("1200", 120000),
        ("1200.50", 120050),
        ("1200.5", 120050),
        ("1200,5", 120050),
        ("1.200,50", 120050),
        ("1.200,5000", 120050),
        ("1.200.000", 120000000),
        ("12.345.678,90", 1234567890),
        ("R$ 1.200,50", 120050),
        ("R$\u00a01.200,50", 120050),
        ("  1200,50 ", 120050),
        ("-10,00", -1000),
        ("-R$ 10,00", -1000),
        ("R$ -10,00", -1000),
        ("0", 0),
        ("0,05", 5),
        ("\u200b1200,50\u200e", 120050),
    ],
)
def test_amounts_are_read_as_people_and_programs_write_them(value, centavos):
    assert parse_money(value) == centavos


@pytest.mark.parametrize("value", ["1.200", "1,200", "12.000", "R$ 1.200", "0.500", "1200.500"])
def test_three_digits_after_the_only_separator_are_ambiguous_and_refused(value):
    with pytest.raises(MoneyError, match="ambíguo"):
        parse_money(value)


@pytest.mark.parametrize("value", ["10 50", "1 2", "1 200,50", "1200 ,50", "1. 200,50", "R$ 10\u00a050", "10\n50"])
def test_a_blank_between_the_digits_is_no_comma_and_no_point_and_is_refused(value):
    with pytest.raises(MoneyError, match="espaço entre os algarismos"):
        parse_money(value)


def test_an_ambiguous_amount_is_answered_with_both_readings():
    with pytest.raises(MoneyError) as refused:
        parse_money("1.200")
    assert str(refused.value) == '"1.200" é ambíguo: escreva 1200,00 (sem ponto) ou 1,20'


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "   ",
            "R$",
            "a combinar",
            "1.200,5O",
            "12 x 350,00",
            "US$ 300,00",
            "1,200.50",
            "1.2.3",
            "1..2",
            "1e5",
        ),
        *("--1", "1-", "1.20,00", "1234.567,00", ",50", "50,", "٣", "1_000", "NaN", "Infinity"),
        *(None, True, False, [], {}, b"12", float("nan"), float("inf"), Decimal("NaN"), 1200.555, "1200,555"),
        *("0,0001", Decimal("0.001"), 10**10, "10000000000", 1e300, "9" * 15, "9" * 400, Decimal("1E+500"), 10**400),
    ],
)
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(MoneyError):
        parse_money(value)


@given(amounts)
def test_what_is_shown_reads_back_the_same(centavos):
    assert parse_money(format_brl(centavos)) == centavos


@given(amounts)
def test_every_way_out_reads_back_the_same(centavos):
    assert parse_money(reais(centavos)) == centavos
    assert parse_money(to_json(centavos)) == centavos
    assert parse_money(f"{reais(centavos):.2f}") == centavos
    assert parse_money(f"{reais(centavos):.2f}".replace(".", ",")) == centavos


@given(st.text("-R$ 0123456789.,", max_size=12) | st.text(max_size=12) | st.floats() | st.decimals())
def test_any_value_gives_whole_centavos_or_is_refused(value):
    try:
        centavos = parse_money(value)
    except MoneyError:
        return
    assert isinstance(centavos, int)
    assert abs(centavos) < LIMIT


@pytest.mark.parametrize(
    ("centavos", "shown"),
    [
        (0, "R$ 0,00"),
        (5, "R$ 0,05"),
        (120050, "R$ 1.200,50"),
        (123456789, "R$ 1.234.567,89"),
        (-5, "-R$ 0,05"),
        (-120000, "-R$ 1.200,00"),
    ],
)
def test_amounts_are_shown_as_brazilians_write_them(centavos, shown):
    assert format_brl(centavos) == shown


def test_reais_are_exact_and_json_is_a_plain_decimal():
    assert reais(120050) == Decimal("1200.50")
    assert repr(to_json(1999)) == "19.99"
