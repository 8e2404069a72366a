"""The customer's register in Omie: what became empty, and what Omie shows of it."""

import pytest

from billing.domain.register import Told, change_of, differing, names

FULL = {"razao_social": "Padaria", "email": "a@b.example", "complemento": "sala 1", "cep": "01310100"}


@pytest.mark.parametrize(
    "told",
    [
        Told(),
        Told("12345678.abc"),
        Told("12345678.abc", frozenset()),
        Told("12345678.abc", frozenset({"email", "cep"})),
        Told("12345678.abc", frozenset({"email"}), frozenset({"complemento", "email"})),
    ],
)
def test_what_was_told_is_kept_as_one_text(told):
    assert Told.parse(str(told)) == told


def test_what_became_empty_is_sent_empty():
    told = Told("x", frozenset(FULL))
    change = change_of({"razao_social": "Padaria", "cep": "01310100"}, told)
    assert change.sent == {"razao_social": "Padaria", "cep": "01310100", "email": "", "complemento": ""}
    assert (change.emptied, change.kept) == ({"email", "complemento"}, frozenset())


def test_what_an_nfse_needs_and_what_cannot_be_read_stays_as_omie_has_it():
    change = change_of({"razao_social": "Padaria"}, Told("x", frozenset(FULL)), unreadable=["email"])
    assert change.sent == {"razao_social": "Padaria", "complemento": ""}
    assert (change.emptied, change.kept) == ({"complemento"}, {"cep", "email"})


@pytest.mark.parametrize("filled", [None, frozenset(), frozenset({"razao_social"})])
def test_what_jestor_never_had_is_left_alone(filled):
    change = change_of({"razao_social": "Padaria"}, Told("x", filled))
    assert change.sent == {"razao_social": "Padaria"}
    assert not change.kept


def test_what_omie_shows_is_compared_as_people_read_it():
    sent = {
        "razao_social": "Pão & Cia",
        "cep": "01310100",
        "email": "A@b.example",
        "complemento": "",
        "cidade": "X (SP)",
    }
    shown = {"razao_social": "PÃO &amp; CIA", "cep": "01310-100", "email": "a@B.example", "complemento": None}
    assert differing(sent, shown) == frozenset()
    assert differing(sent, shown | {"complemento": "sala 1", "email": ""}) == {"complemento", "email"}


def test_fields_have_their_names_each_once():
    assert names(["telefone1_numero", "email", "telefone1_ddd"]) == "e-mail, telefone"
    assert names([]) == ""
