"""Omie's titles as the receivables table shows them: late days, stages, payments, and what is written."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.domain.late_fee import Payment
from billing.domain.receivable import (
    WRITTEN_ONCE,
    Dunning,
    Mark,
    Status,
    Title,
    TitleError,
    assess,
    changes,
    days_late,
    row_values,
    titles,
)
from billing.holidays_br import is_bank_holiday
from billing.jestor.receivables import UNREADABLE, to_fields, to_row
from billing.settings import load_settings
from simulators.lab import DEMO
from simulators.world import EXCEPTIONS, RECEIVABLE_FIELDS, RECEIVABLE_ID

DUNNING = Dunning({"D+1": 1, "D+5": 5, "D+30": 30}, "Resolvido")
TABLE = load_settings(DEMO.read_text(encoding="utf-8")).jestor.receivables
DAYS = st.dates(date(2024, 1, 1), date(2028, 12, 31))


def title(due, *, amount=100_000, left=None, payments=(), **more):
    left = amount - sum(payment.amount for payment in payments) if left is None else left
    return Title(
        7, 1, 0, 0, "RPS 9", amount, due, left, sum(p.amount for p in payments), False, tuple(payments), **more
    )


def movement(number=7, *, resumo=None, **detalhes):
    details = {"nCodTitulo": number, "dDtVenc": "10/11/2026", "nValorTitulo": Decimal("1000.00"), "cStatus": "ATRASADO"}
    return {"detalhes": details | detalhes, "resumo": {"cLiquidado": "N"} | (resumo or {})}


def receipt(number, day, value, *, fine=0, interest=0, discount=0, **more):
    parts = {"nMulta": fine, "nJuros": interest, "nDesconto": discount}
    return movement(nCodBaixa=number, dDtPagamento=day, nValorMovCC=value, **parts, **more)


# ---- how late, and what stage that is


@pytest.mark.parametrize(
    ("due", "today", "late"),
    [
        ("2026-11-10", "2026-11-10", 0),  # a Tuesday, its own day
        ("2026-11-10", "2026-11-11", 1),
        ("2026-11-07", "2026-11-09", 0),  # due on a Saturday, payable on Monday (Lei 7.089/83)
        ("2026-11-07", "2026-11-10", 3),  # not paid on Monday: from the printed day
        ("2026-10-12", "2026-10-13", 0),  # a national holiday
        ("2026-10-12", "2026-10-14", 2),
        ("2026-12-24", "2026-12-25", 1),  # banks open on Christmas Eve
        ("2026-12-31", "2027-01-04", 0),  # banks shut on the year's last day, then a holiday and a weekend
        ("2026-12-31", "2027-01-05", 5),
        ("2026-11-10", "2026-10-01", 0),
    ],
)
def test_days_late_begin_after_the_extended_due_date(due, today, late):
    assert days_late(date.fromisoformat(due), date.fromisoformat(today), is_bank_holiday) == late


@pytest.mark.parametrize(
    ("late", "stage"), [(0, ""), (1, "D+1"), (4, "D+1"), (5, "D+5"), (29, "D+5"), (30, "D+30"), (900, "D+30")]
)
def test_the_stage_is_the_furthest_that_was_reached(late, stage):
    assert DUNNING.of(late) == stage


@settings(deadline=None)  # the first question loads the holidays
@given(due=DAYS, days=st.integers(0, 400))
def test_a_day_more_is_never_less_late_and_never_an_earlier_stage(due, days):
    today = due + timedelta(days=days)
    one, next_ = (assess(title(due), today + timedelta(days=n), is_bank_holiday, DUNNING) for n in (0, 1))
    assert one.delay_days in {0, days}
    assert one.delay_days <= next_.delay_days
    order = ["", *DUNNING.stages]
    assert order.index(one.stage) <= order.index(next_.stage)
    assert (one.status is Status.LATE) == (one.delay_days > 0)


@pytest.mark.parametrize(
    ("payments", "status", "late", "stage"),
    [
        ([], Status.LATE, 10, "D+5"),
        ([Payment(date(2026, 11, 5), 40_000)], Status.LATE, 10, "D+5"),
        ([Payment(date(2026, 11, 10), 100_000)], Status.PAID, 0, ""),
        ([Payment(date(2026, 11, 13), 100_000)], Status.PAID, 3, ""),
        ([Payment(date(2026, 11, 5), 40_000), Payment(date(2026, 11, 18), 60_000)], Status.PAID, 8, ""),
    ],
)
def test_what_was_paid_decides_the_status(payments, status, late, stage):
    found = assess(title(date(2026, 11, 10), payments=payments), date(2026, 11, 20), is_bank_holiday, DUNNING)
    assert (found.status, found.delay_days, found.stage) == (status, late, stage)


def test_paid_in_part_and_not_yet_due_is_its_own_status():
    part = title(date(2026, 11, 30), payments=[Payment(date(2026, 11, 5), 1)])
    assert assess(part, date(2026, 11, 20), is_bank_holiday, DUNNING).status is Status.PARTIAL


@pytest.mark.parametrize("mark", Mark)
def test_a_persons_mark_ends_the_dunning_and_hides_nothing(mark):
    found = assess(title(date(2026, 11, 10)), date(2026, 11, 20), is_bank_holiday, DUNNING, mark=mark, stage="D+5")
    assert (found.status, found.delay_days, found.stage) == (Status.LATE, 10, "")


@pytest.mark.parametrize(("before", "after"), [("", ""), ("D+5", "Resolvido"), ("Resolvido", "Resolvido")])
def test_one_that_was_chased_is_resolved_when_it_is_paid(before, after):
    paid = title(date(2026, 11, 10), payments=[Payment(date(2026, 11, 18), 100_000)])
    assert assess(paid, date(2026, 11, 20), is_bank_holiday, DUNNING, stage=before).stage == after


def test_a_payment_taken_back_opens_the_title_again():
    found = assess(title(date(2026, 11, 10)), date(2026, 11, 20), is_bank_holiday, DUNNING, stage="Resolvido")
    assert (found.status, found.stage) == (Status.LATE, "D+5")


# ---- Omie's movements


def test_a_title_and_its_receipts_are_one():
    rows = [
        movement(resumo={"nValPago": 1030, "nValAberto": 0, "cLiquidado": "S", "nMulta": 20, "nJuros": 10}),
        receipt(2, "20/11/2026", Decimal("630.00"), fine=20, interest=10),
        receipt(1, "12/11/2026", 390, discount=10),
    ]
    (found,) = titles(rows)
    assert found.payments == (Payment(date(2026, 11, 12), 40_000), Payment(date(2026, 11, 20), 60_000))
    assert (found.open, found.paid, found.collected_fine, found.collected_interest) == (0, 103_000, 2_000, 1_000)
    assert found.settled_on == date(2026, 11, 20)


def test_receipts_that_do_not_add_up_give_way_to_omies_sum_on_the_first_day():
    rows = [movement(resumo={"nValPago": 600, "nValAberto": 400}), receipt(1, "12/11/2026", 570)]
    (found,) = titles(rows)
    assert (found.open, found.payments) == (40_000, (Payment(date(2026, 11, 12), 60_000),))


def test_forecasts_and_what_is_to_be_paid_are_no_titles():
    rows = [
        movement(0, cStatus="PREVISAO", cGrupo="PREVISAO_CONTRATO"),
        movement(8, cGrupo="PREVISAO_ORDEM_SERVICO"),
        movement(9, cNatureza="P"),
    ]
    assert list(titles(rows)) == []


@pytest.mark.parametrize("status", ["CANCELADO", "Cancelado"])
def test_a_cancelled_title_owes_nothing(status):
    (found,) = titles([movement(cStatus=status, resumo={"nValAberto": 1000})])
    assert (found.cancelled, found.open, found.payments) == (True, 0, ())


@pytest.mark.parametrize("broken", [{"dDtVenc": ""}, {"nValorTitulo": 0}, {"dDtVenc": "31/02/2026"}])
def test_a_title_without_value_or_due_date_is_no_guess(broken):
    with pytest.raises(TitleError, match="title 7"):
        list(titles([movement(**broken)]))


# ---- what is written


@given(st.dictionaries(st.sampled_from(["amount", "status", "stage", "delay_days"]), st.integers(0, 3)))
def test_what_was_written_is_not_written_again(wanted):
    assert changes(wanted, wanted) == {}
    assert changes(wanted, {}) == wanted


def test_a_persons_fields_are_never_written():
    assert changes({"exception": None}, {"exception": "Isento"}) == {}
    for word in WRITTEN_ONCE:
        assert changes({word: "ours"}, {word: "a person's"}) == {}
        assert changes({word: None}, {word: "a person's"}) == {}
        assert changes({word: "ours"}, {word: ""}) == {word: "ours"}


def test_an_empty_field_is_no_zero():
    assert changes({"paid_amount": 0}, {"paid_amount": None}) == {"paid_amount": 0}
    assert changes({"stage": None}, {"stage": ""}) == {}


def test_what_is_written_reads_back_the_same():
    late = title(date(2026, 11, 10), amount=123_456, payments=[Payment(date(2026, 11, 5), 3_456)])
    values = row_values(late, assess(late, date(2026, 11, 20), is_bank_holiday, DUNNING))
    raw = to_fields(values, TABLE) | {RECEIVABLE_ID: 3}
    assert changes(values, to_row(raw, TABLE, {}, "id_contratos").values) == {}
    assert raw[RECEIVABLE_FIELDS["amount"]] == 1234.56


@pytest.mark.parametrize(
    ("word", "raw", "value"),
    [
        ("amount", "1.234,50", 123_450),
        ("amount", "a combinar", UNREADABLE),
        ("due_date", "2026-11-10 00:00", "2026-11-10"),
        ("due_date", "10/11/2026", UNREADABLE),
        ("delay_days", "12.0", 12),
        ("delay_days", "doze", UNREADABLE),
        ("contract", {"id_contratos": 12, "id_omie": 99}, 12),
        ("contract", [{"id_contratos": "12"}], 12),
        ("contract", "12", 12),
        ("contract", [], None),
        ("stage", " ", None),
    ],
)
def test_a_row_is_read_as_jestor_may_hold_it(word, raw, value):
    row = to_row({RECEIVABLE_ID: 3, RECEIVABLE_FIELDS[word]: raw}, TABLE, {}, "id_contratos")
    assert row.values[word] == value


@pytest.mark.parametrize(
    ("written", "mark"),
    [
        (next(iter(EXCEPTIONS)), Mark.WAIVED),
        ("isento ", Mark.WAIVED),
        ("Em  Disputa", Mark.DISPUTED),
        ("Falar com o Júlio", Mark.DISPUTED),
        ("", None),
    ],
)
def test_a_mark_that_nobody_knows_counts_as_in_dispute(written, mark):
    options = {RECEIVABLE_FIELDS["exception"]: dict(EXCEPTIONS)}
    row = to_row({RECEIVABLE_ID: 3, RECEIVABLE_FIELDS["exception"]: written}, TABLE, options, "id_contratos")
    assert row.mark is mark


def test_a_label_in_other_capitals_is_no_difference():
    row = {"status": "ATRASADO\u00a0", "stage": "d+5", "document": "rps 1"}
    assert changes({"status": "Atrasado", "stage": "D+5", "document": "RPS 1"}, row) == {"document": "RPS 1"}


@pytest.mark.parametrize("amount", ["1e9999", "nan", True, [1], {"a": 1}, 10**400, "1.234,56"])
def test_an_amount_that_is_none_is_no_title(amount):
    told = []
    assert (
        list(titles([{"detalhes": {"nCodTitulo": 5, "dDtVenc": "01/12/2026", "nValorTitulo": amount}}], told.append))
        == []
    )
    assert [error.nCodTitulo for error in told] == [5]


def test_a_title_due_on_the_calendars_last_day_is_not_late():
    assert days_late(date(9999, 12, 31), date(2026, 12, 1), lambda _: True) == 0
