from __future__ import annotations

from datetime import date

import pytest

from simulators.jestor.filters import OPERATORS, BadFilter, predicate, read_filters

TODAY = date(2026, 11, 22)
FIELDS = {"text", "number", "flag", "day", "empty", "ref"}
ROW = {"text": "São João & Cia", "number": 1500, "flag": True, "day": "2026-11-20", "empty": None, "ref": 7}


def holds(field, operator, value="", row=ROW):
    entry = {"field": field, "value": value}
    if operator is not None:
        entry["operator"] = operator
    (condition,) = read_filters([entry], FIELDS, ignore_unknown=False)
    return predicate(condition, TODAY)(row)


@pytest.mark.parametrize("operator", ["==", "Exatamente igual", "É igual a", "Igual", "equal", "EQUAL", None])
def test_every_client_s_spelling_of_equality_is_understood(operator):
    assert holds("text", operator, "São João & Cia")
    assert not holds("text", operator, "São João")


@pytest.mark.parametrize("operator", ["É diferente de", "Diferente", "not_equal", "!="])
def test_every_spelling_of_inequality_is_understood(operator):
    assert holds("text", operator, "outro")
    assert not holds("text", operator, "São João & Cia")


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("text", "like", "joão", True),
        ("text", "Contém", "%João%", True),
        ("text", "Não contém", "joão", False),
        ("text", "notlike", "Maria", True),
        ("text", "Começa com", "são", True),
        ("text", "startswith", "João", False),
        ("number", "in", "1,1500", True),
        ("number", "Na lista", "1,2", False),
        ("ref", "Não está na lista", "1,2", True),
        ("ref", "notinlist", "7", False),
        ("number", ">", "999", True),
        ("number", "É maior que", "1500", False),
        ("number", ">=", "1500", True),
        ("number", "É maior ou igual a", "1500.01", False),
        ("number", "lt", "1501", True),
        ("number", "Menor que", "900", False),
        ("number", "<=", "1500.0", True),
        ("day", ">=", "2026-11-20", True),
        ("day", "gt", "2026-11-20", False),
        ("empty", "<", "5", False),
        ("number", "Está no intervalo", "1000,2000", True),
        ("day", "Está entre as datas", "2026-11-21,2026-11-30", False),
        ("day", "Está nos últimos 7 dias", "", True),
        ("day", "Está nos últimos 30 dias", "", True),
        ("empty", "Está vazio", "", True),
        ("empty", "is_null", "", True),
        ("text", "Nulo ou vazio", "", False),
        ("text", "Está preenchido", "", True),
        ("empty", "nullorfilled", "", False),
        ("number", "==", "1500.0", True),
        ("flag", "==", "1", True),
        ("flag", "==", "true", True),
        ("flag", None, "0", False),
    ],
)
def test_operators(field, operator, value, expected):
    assert holds(field, operator, value) is expected


def test_no_spelling_means_two_things():
    assert OPERATORS["list"] == "in"
    assert len(OPERATORS) > 45


def test_both_filter_shapes_are_the_same():
    entries = [{"field": "text", "operator": "==", "value": "x"}]
    assert read_filters(entries, FIELDS, ignore_unknown=False) == read_filters(
        {"filters": entries}, FIELDS, ignore_unknown=False
    )
    assert read_filters(None, FIELDS, ignore_unknown=False) == ()


def test_an_unknown_field_or_operator_is_refused():
    with pytest.raises(BadFilter, match="O campo id não existe"):
        read_filters([{"field": "id", "operator": "==", "value": "1"}], FIELDS, ignore_unknown=False)
    with pytest.raises(BadFilter, match="O operador ~ não existe"):
        read_filters([{"field": "text", "operator": "~", "value": "1"}], FIELDS, ignore_unknown=False)


def test_an_unknown_field_is_left_out_when_the_switch_says_so():
    assert read_filters([{"field": "id", "operator": "==", "value": "1"}], FIELDS, ignore_unknown=True) == ()
