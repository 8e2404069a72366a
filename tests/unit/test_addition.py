import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.addition import NAMES, TEXT_LENGTH, Addition, Kind, as_billed, marker_in, total

FEE = Addition(
    key="encargos#77#2026-12",
    kind=Kind.LATE,
    amount=1234,
    text="Encargos por atraso",
    proof="Multa...",
    title=77,
    through="2026-11-30",
    fine=1000,
    interest=234,
    due="2026-11-10",
)
OTHER = Addition("proporcional#JST-12#2026-11-20", Kind.PRORATE, 5000, "Proporcional", "...")
CHARGED = [FEE.charged(), OTHER.charged()]


@given(
    st.text(min_size=1), st.text(), st.integers(1, 10**9), st.sampled_from(Kind), st.sampled_from(["expense", "item"])
)
def test_an_addition_survives_its_journey_and_is_found_again_in_omie(key, text, amount, kind, how):
    one = Addition(key, kind, amount, text, "", how=how)
    assert Addition.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert len(one.label) <= TEXT_LENGTH
    assert marker_in(one.label) == one.marker
    assert marker_in(f"{one.label}\n ") == one.marker
    assert len(one.marker) <= 30  # codIntItem


def test_the_marker_is_the_keys_alone_and_the_text_comes_first():
    assert replace(FEE, amount=1, fine=1, interest=0, text="Outro", how="item").marker == FEE.marker
    assert OTHER.marker != FEE.marker
    assert FEE.label == f"Encargos por atraso ({FEE.marker})"
    assert FEE.marker.startswith("JST-AD-")


def test_a_long_text_gives_way_to_its_marker():
    long = replace(FEE, text="x" * 500)
    assert len(long.label) == TEXT_LENGTH
    assert marker_in(long.label) == FEE.marker


@pytest.mark.parametrize(
    "text",
    ["", "Multa", "Uber (JST-AD-)", "(JST-AD-12345678) Uber", "JST-AD-12345678", "(JST-AD-1234567g)", "(JST-12)"],
)
def test_what_people_write_is_not_ours(text):
    assert marker_in(text) is None


@pytest.mark.parametrize("wrong", [{"amount": 0}, {"amount": -1}, {"key": ""}, {"fine": 999}, {"interest": 0}])
def test_an_addition_of_nothing_or_of_other_parts_is_refused(wrong):
    with pytest.raises(ValueError, match="addition"):
        replace(FEE, **wrong)


def test_every_kind_has_a_name_for_people():
    assert set(NAMES) == set(Kind)


def test_the_ledger_keeps_what_the_next_reckoning_needs_and_the_invoices_text():
    assert FEE.charged() == {
        "key": "encargos#77#2026-12",
        "title": 77,
        "through": "2026-11-30",
        "fine": 1000,
        "interest": 234,
        "amount": 1234,
        "text": FEE.text,
    }
    assert total(CHARGED) == 6234


@pytest.mark.parametrize("billed", [106234, None])
def test_an_order_of_the_planned_amount_or_one_not_found_charged_the_additions(billed):
    assert as_billed(CHARGED, 106234, billed) == CHARGED


def test_an_order_without_them_did_not():
    assert as_billed(CHARGED, 106234, 100000) == []


@pytest.mark.parametrize("billed", [105000, 106233, 101234, 200000, 0])
def test_of_any_other_order_nobody_can_tell(billed):
    kept = as_billed(CHARGED, 106234, billed)
    assert [each["doubtful"] for each in kept] == [True, True]
    assert [each["key"] for each in kept] == [FEE.key, OTHER.key]
    assert as_billed([], 100000, billed) == []
