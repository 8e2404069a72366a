"""Whole numbers and percentages: read in one way, or refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.number import LIMIT, NumberError, percent, whole


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("2", 2),
        ("2.0", 2),
        ("2,00", 2),
        ("0", 0),
        (" 12 ", 12),
        ("1000", 1000),
        ("1.000,00", 1000),
        ("2310000001", 2310000001),
        ("2.310.000.001", 2310000001),
        (7, 7),
        (2.0, 2),
        (Decimal("2.0"), 2),
        (Decimal("1E+3"), 1000),
    ],
)
def test_a_whole_number_however_it_is_written(written, number):
    assert whole(written) == number


@pytest.mark.parametrize("written", ["1.000", "10.000", "100.000", "2.500", "1,000", "2.310"])
def test_a_point_before_three_digits_is_two_numbers(written):
    with pytest.raises(NumberError, match="ambíguo"):
        whole(written)


@pytest.mark.parametrize(
    "written",
    [
        *("1_000", "1e3", "1e9999", "nan", "inf", "Infinity", "+5", "-5", "", "  ", "dez", "2.5", "1.00.000", "0x10"),
        *("\u0661\u0662", "\uff12", "1\u00a0000", "1 000", "2\x00", "\ud800", "9" * 16, "9" * 5000),
        *(
            True,
            False,
            None,
            [2],
            {"a": 1},
            2.5,
            -1,
            -2.0,
            float("nan"),
            float("inf"),
            1e300,
            10**15,
            pytest.param(10**5000, id="huge"),
        ),
        *(Decimal("1e9999"), Decimal("1e-9999"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("0.5")),
    ],
)
def test_everything_else_is_refused_with_one_line(written):
    with pytest.raises(NumberError) as refused:
        whole(written)
    line = str(refused.value)
    assert "\n" not in line
    assert len(line) < 160
    line.encode()


@given(st.integers(0, LIMIT - 1))
def test_every_number_below_the_limit_is_read_as_it_is_grouped(number):
    assert (
        whole(number)
        == whole(str(number))
        == whole(f"{number:,},00".replace(",", ".").removesuffix(".00") + ",00")
        == number
    )


@pytest.mark.parametrize(("written", "number"), [("2", "2"), ("2,5", "2.5"), ("2.5 %", "2.5"), ("0,033%", "0.033")])
def test_a_percentage(written, number):
    assert percent(written) == Decimal(number)


@pytest.mark.parametrize("written", ["\u0662", "1e2", "-2", "2%%", "nan", "", "1.000.000", "9" * 400])
def test_what_is_no_percentage(written):
    with pytest.raises(NumberError, match="não é um percentual"):
        percent(written)
