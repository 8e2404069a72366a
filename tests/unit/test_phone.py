"""Where a message may go: the phone as people type it, and what is too doubtful to write to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.phone import Phone, area_and_number, mark, read_phone, shared_marks
from simulators.brazil import party

GOOD = "+5511988887771"


@pytest.mark.parametrize(
    "typed",
    [
        "(11) 98888-7771",
        "11988887771",
        "+55 11 98888 7771",
        "5511988887771",
        "+55 (11) 9 8888-7771",
        "011 98888.7771 (whats)",
        "0xx11 98888-7771",
        "0xx 11 98888-7771",
        "021 11 98888-7771",
        "(11) 98888\u20137771",
        "whats: (11) 98888-7771",
        "(11) 98888-7771 ramal 22",
        "(11) 98888-7771 / (11) 3333-4444",
        "  (11) 98888-7771 Ana",
    ],
)
def test_however_it_is_typed_it_is_the_same_number(typed):
    assert read_phone(typed) == Phone(GOOD)


def test_a_number_with_a_code_of_another_country_is_kept():
    assert read_phone("+351 912 345 670") == Phone("+351912345670")


def test_an_area_code_that_looks_like_the_country_s_is_an_area_code():
    assert read_phone("(55) 98888-7771").number == "+5555988887771"


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        (None, "sem telefone"),
        ("", "sem telefone"),
        ("não tem", "sem telefone"),
        ("--", "sem telefone"),
        ("(00) 00000-0000", "preenchimento"),
        ("99999-9999", "preenchimento"),
        ("(11) 99999-9999", "preenchimento"),
        ("(11) 91234-5678", "preenchimento"),
        ("(11) 98765-4321", "preenchimento"),
        ("(11) 91111-1111", "preenchimento"),
        ("(11) 3333-4445", "não é de celular"),
        ("98888-7771", "confira o DDD"),
        ("(11) 8888-7771", "nono dígito"),
        ("(20) 98888-7771", "confira o DDD"),
        ("(11) 98888-77712", "confira o DDD"),
        ("1", "não é um número"),
        ("+999 1234567", "não é um número"),
    ],
)
def test_what_is_doubtful_is_said_and_not_used(typed, problem):
    found = read_phone(typed)
    assert found.number == ""
    assert problem in found.problem
    assert not any(character.isdigit() for character in found.problem)


def test_a_number_that_many_customers_have_is_doubtful_and_the_marks_hide_it():
    theirs = [("1", "(11) 98888-7771"), ("2", "11988887771"), ("3", "+55 11 98888-7771"), ("4", "(11) 97777-6661")]
    marks = shared_marks([*theirs, ("4", "11 97777-6661"), ("4", "(11) 97777 6661"), ("", GOOD), ("5", None)])
    assert marks == [mark(GOOD)]
    assert "98888" not in marks[0]
    assert read_phone("11 98888-7771", set(marks)) == Phone(
        "", "o mesmo telefone está em 3 ou mais clientes; confira de quem é."
    )
    assert shared_marks(theirs[:2]) == []


def test_most_customers_of_the_simulated_world_can_be_written_to():
    found = [(read_phone(who.phone), who) for who in (party(7, index) for index in range(400))]
    reached = [(phone, who) for phone, who in found if phone.number]
    assert 0.75 < len(reached) / len(found) < 0.9
    assert all(phone.number == f"+55{who.ddd}{who.number}" for phone, who in reached)
    assert all(phone.problem for phone, _ in found if not phone.number)


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("(11) 98888-7771", ("11", "988887771")),
        ("+55 11 3333-4445", ("11", "33334445")),
        ("5511988887771", ("11", "988887771")),
        ("55 99999-8881", ("55", "999998881")),
        ("011 3333 4445", ("11", "33334445")),
        ("+55 (011) 98888-7776", ("11", "988887776")),
        ("(11) 98888-7771 / (11) 3333-4445 (Ana)", ("11", "988887771")),
        ("ramal 12", ("", "")),
        ("", ("", "")),
        (None, ("", "")),
        ("+1 415 555 2671", ("", "")),
        ("+351 912 345 670", ("", "")),
        ("0800 123 4567", ("", "")),
        ("(11) 00000-0000", ("", "")),
        ("(11) 99999-9999", ("", "")),
        ("(10) 98888-7776", ("", "")),
        ("(20) 98888-7771", ("", "")),
        ("(11) 98888-77712", ("", "")),
        ("11 8888-7771", ("", "")),
        ("\ud800\x00", ("", "")),
        ("(" * 3000, ("", "")),
        ("9" * 3000, ("", "")),
    ],
)
def test_omie_gets_area_code_and_number_of_a_brazilian_phone_and_of_no_other(typed, parts):
    assert area_and_number(typed) == parts


@given(
    st.text(st.characters(exclude_categories=()), max_size=40) | st.text("0123456789+-() x;=/\u0661\uff11", max_size=40)
)
def test_whatever_is_typed_is_a_number_or_a_reason(typed):
    phone = read_phone(typed)
    assert bool(phone.number) != bool(phone.problem)
    ddd, number = area_and_number(typed)
    assert (len(ddd), len(number)) in {(0, 0), (2, 8), (2, 9)}
    assert (ddd + number).isascii()
