"""What holds for every late title, whatever its numbers; and `billing-ops late-fee` as it is typed."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from billing.domain.late_fee import (
    CountingStart,
    LateFeeRefused,
    Mode,
    Payment,
    Rounding,
    Terms,
    Title,
    check_terms,
    late_fee,
)
from ops.cli import app
from ops.desk import Tools
from simulators.clock import VirtualClock

HOLIDAYS = {date(2026, 10, 12), date(2026, 11, 2), date(2026, 11, 20), date(2026, 12, 25), date(2027, 1, 1)}
DUE = date(2026, 10, 1)
TERMS = Terms(Decimal(2), Decimal(1))

dues = st.integers(-12, 100).map(lambda days: DUE + timedelta(days=days))
days = st.integers(0, 400)
amounts = st.integers(1, 5000) | st.integers(1, 10**9)
percents = st.integers(0, 20_000).map(lambda number: Decimal(number).scaleb(-4))


@st.composite
def terms(draw):
    consumer = draw(st.booleans())
    fine = draw(st.none() | percents)
    return Terms(
        fine_percent=fine and (fine if consumer else fine * 50),
        interest_percent=draw(percents),
        grace_days=draw(st.sampled_from([0, 0, 1, 5, 40])),
        rounding=draw(st.sampled_from(Rounding)),
        consumer=consumer,
        counting_start=draw(st.sampled_from(CountingStart)),
    )


@st.composite
def titles(draw):
    amount, due = draw(amounts), draw(dues)
    payments, open_ = [], amount
    for when in draw(st.lists(st.integers(-10, 120), max_size=3)):
        if open_:
            paid = draw(st.just(open_) | st.integers(1, open_))
            payments.append(Payment(due + timedelta(days=when), paid))
            open_ -= paid
    return Title(amount, due, tuple(payments))


def holiday(day):
    return day in HOLIDAYS


def charge(title, agreed, after):
    return late_fee(title, agreed, title.due + timedelta(days=after), holiday)


def rounded(exact, rounding):
    return int(exact + (Fraction(1, 2) if rounding is Rounding.HALF_UP else 0))


quick = settings(max_examples=25, deadline=None)


@quick
@given(titles(), terms(), days, st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_part_is_negative_and_the_parts_make_the_total(title, agreed, after, fine, interest):
    result = charge(replace(title, collected_fine=fine, collected_interest=interest), agreed, after)
    assert result.fine >= 0
    assert result.interest >= 0
    assert result.total == result.fine + result.interest


@quick
@given(titles(), terms(), days)
def test_no_part_is_above_what_was_agreed_on_the_whole_principal(title, agreed, after):
    result = charge(title, agreed, after)
    fine = Fraction(agreed.fine_percent or 0) * title.amount / 100
    interest = Fraction(agreed.interest_percent) * title.amount * after / 3000
    assert result.fine <= rounded(fine, agreed.rounding)
    assert result.interest <= rounded(interest, agreed.rounding)
    if agreed.consumer:
        assert result.fine <= rounded(Fraction(2 * title.amount, 100), agreed.rounding)


@quick
@given(titles(), terms(), days, days)
def test_another_day_never_lowers_the_charge(title, agreed, one, other):
    sooner, later = sorted((one, other))
    before, after = charge(title, agreed, sooner), charge(title, agreed, later)
    assert before.fine <= after.fine
    assert before.interest <= after.interest
    assert before.days <= after.days


@quick
@given(titles(), terms(), st.lists(days, min_size=1, max_size=5))
def test_charged_in_pieces_it_is_the_whole_to_the_centavo(title, agreed, cuts):
    fine = interest = 0
    for cut in sorted(cuts):
        piece = charge(replace(title, collected_fine=fine, collected_interest=interest), agreed, cut)
        fine, interest = fine + piece.fine, interest + piece.interest
    whole = charge(title, agreed, max(cuts))
    assert (fine, interest) == (whole.fine, whole.interest)


@quick
@given(amounts, percents, st.sampled_from(Rounding), st.integers(1, 300), st.integers(1, 300))
def test_the_interest_of_two_stretches_is_that_of_both_within_the_one_rounding(amount, rate, rounding, first, second):
    agreed = Terms(None, rate, rounding=rounding)
    monday = Title(amount, date(2026, 10, 5))
    parts = charge(monday, agreed, first).interest + charge(monday, agreed, second).interest
    assert abs(parts - charge(monday, agreed, first + second).interest) <= 1


@quick
@given(titles(), terms(), days, st.integers(0, 130), st.data())
def test_a_further_payment_never_raises_the_charge(title, agreed, after, when, data):
    open_ = title.amount - sum(payment.amount for payment in title.payments)
    if not open_:
        return
    paid = data.draw(st.integers(1, open_))
    lower = replace(title, payments=(*title.payments, Payment(title.due + timedelta(days=when), paid)))
    with_it, without = charge(lower, agreed, after), charge(title, agreed, after)
    assert with_it.fine <= without.fine
    assert with_it.interest <= without.interest


@quick
@given(titles(), terms(), st.integers(0, 200), days)
def test_once_paid_it_grows_no_more(title, agreed, settled, later):
    rest = title.amount - sum(payment.amount for payment in title.payments)
    last = max([title.due + timedelta(days=settled), *(payment.day for payment in title.payments)])
    paid = replace(title, payments=(*title.payments, Payment(last, rest))) if rest else title
    at_once = late_fee(paid, agreed, last, holiday)
    afterwards = late_fee(paid, agreed, last + timedelta(days=later), holiday)
    assert (at_once.fine, at_once.interest, at_once.days) == (afterwards.fine, afterwards.interest, afterwards.days)
    assert afterwards.through <= last


@quick
@given(amounts, dues, terms(), days)
def test_within_the_free_days_nothing_and_one_day_more_everything(amount, due, agreed, after):
    extended = due
    while extended.weekday() > 4 or extended in HOLIDAYS:
        extended += timedelta(days=1)
    start = due if agreed.counting_start is CountingStart.DUE_DATE else extended
    late = due + timedelta(days=after)
    result = late_fee(Title(amount, due), agreed, late, holiday)
    if late <= extended or (late - start).days <= agreed.grace_days:
        assert (result.fine, result.interest, result.days) == (0, 0, 0)
    else:
        assert result.days == (late - start).days
        assert result.interest == rounded(
            Fraction(agreed.interest_percent) * amount * result.days / 3000, agreed.rounding
        )
        assert result.fine == rounded(Fraction(agreed.fine_percent or 0) * amount / 100, agreed.rounding)


@quick
@given(titles(), terms(), days)
def test_truncating_never_charges_more_than_rounding(title, agreed, after):
    cut = charge(title, replace(agreed, rounding=Rounding.TRUNCATE), after)
    up = charge(title, replace(agreed, rounding=Rounding.HALF_UP), after)
    assert 0 <= up.fine - cut.fine <= 1
    assert 0 <= up.interest - cut.interest <= 1


@quick
@given(titles(), terms(), days)
def test_payments_count_in_whatever_order_they_are_listed(title, agreed, after):
    backwards = replace(title, payments=tuple(reversed(title.payments)))
    assert charge(title, agreed, after) == charge(backwards, agreed, after)


def test_the_callers_decimal_context_changes_nothing():
    title = Title(123456789, DUE)
    expected = charge(title, TERMS, 17)
    with localcontext() as context:
        context.prec = 4
        assert charge(title, TERMS, 17) == expected


@pytest.mark.parametrize("mode", [Mode.BOLETO, Mode.NONE])
def test_what_we_do_not_collect_is_nothing_and_needs_no_rate(mode):
    result = charge(Title(100_000, DUE), Terms(None, None, mode=mode), 45)
    assert (result.total, result.days) == (0, 0)
    assert "Nada a cobrar" in result.proof


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"fine_percent": Decimal("2.01")}, "acima do máximo de 2% para consumidor (CDC art. 52, §1º)"),
        ({"fine_percent": Decimal(101), "consumer": False}, "CC art. 412"),
        ({"fine_percent": Decimal("1E+9999")}, "não é um percentual"),
        ({"fine_percent": Decimal("-0.01")}, "não é um percentual"),
        ({"interest_percent": None}, "a taxa legal (CC art. 406) varia e não é presumida"),
        ({"interest_percent": Decimal("Infinity")}, "não é um percentual"),
        ({"interest_percent": Decimal("0.0333333")}, "casas demais"),
        ({"interest_percent": Decimal(12)}, "confira se a taxa não é anual"),
        ({"grace_days": 366}, "de 0 a 365"),
    ],
)
def test_terms_are_refused_when_configured_and_again_when_used(wrong, reason):
    agreed = replace(TERMS, **wrong)
    for attempt in (lambda: check_terms(agreed), lambda: charge(Title(100_000, DUE), agreed, 45)):
        with pytest.raises(LateFeeRefused) as refused:
            attempt()
        assert reason in str(refused.value)
        assert "\n" not in str(refused.value)


def test_the_proof_tells_the_whole_story():
    title = Title(100_000, date(2026, 10, 3), (Payment(date(2026, 11, 2), 40_000),), collected_interest=1000)
    agreed = replace(TERMS, grace_days=5)
    assert late_fee(title, agreed, date(2026, 11, 15), holiday).proof == (
        "Título de R$ 1.000,00, vencimento em 03/10/2026 (sábado, sem expediente bancário).\n"
        "Pode ser pago sem encargos até o dia útil seguinte, 05/10/2026 (segunda-feira): CC art. 132, §1º, e Lei 7.089/83, art. 1º.\n"
        "Carência de 5 dias: sem encargos até 08/10/2026, inclusive.\n"
        "Situação em 15/11/2026: em aberto. Pagamentos do principal: R$ 400,00 em 02/11/2026.\n"
        "Atraso: 43 dias corridos, contados do vencimento impresso, 03/10/2026, até 15/11/2026. "
        "Não quitado no dia útil seguinte, conta desde o vencimento original (STJ, REsp 1.954.924). "
        "Passada a carência, conta-se tudo.\n"
        "Multa, uma só vez: 2% × R$ 1.000,00 (principal em aberto depois de 05/10/2026) = R$ 20,00 (CDC art. 52, §1º: no máximo 2%).\n"
        "Juros de mora simples de 1% ao mês, pro rata die, sobre o saldo de cada dia: "
        "(R$ 1.000,00 × 30 dias + R$ 600,00 × 13 dias) × 1% ÷ 30 = R$ 12,60 (taxa combinada, CC art. 395 e 406; só sobre o principal).\n"
        "Já cobrado antes (boleto ou fatura): multa R$ 0,00, juros R$ 10,00; descontado de cada parte.\n"
        "A cobrar: multa R$ 20,00 + juros R$ 2,60 = R$ 22,60.\n"
        "Arredondamento: meio centavo ou mais sobe, uma só vez em cada parte.\n"
        "Nenhuma correção monetária aplicada (Lei 10.192/2001, art. 2º, §1º)."
    )


# ---- the command


def typed(*words):
    """(exit code, stdout, stderr) of `billing-ops late-fee` on 15 November in São Paulo, without a stack."""

    def no_stack(place):
        raise AssertionError("the command needs no stack")

    clock = VirtualClock(datetime(2026, 11, 16, 2, 30, tzinfo=UTC))  # 23:30 of the 15th
    done = CliRunner().invoke(app, ["late-fee", *words], obj=Tools(environ={}, clock=clock, connect=no_stack))
    return done.exit_code, done.stdout, done.stderr


def test_the_command_explains_a_title():
    code, out, err = typed("--amount", "1000", "--due", "2026-10-01")  # unpaid: as things stand today
    assert (code, err) == (0, "")
    assert "A cobrar: multa R$ 20,00 + juros R$ 15,00 = R$ 35,00." in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--paid 2026-11-15", ("20.00", "15.00", "35.00", 45)),
        ("--paid 2026-11-15 --as-of 2026-10-31", ("20.00", "10.00", "30.00", 30)),
        ("--payment 2026-11-02:400.00 --as-of 2026-11-15", ("20.00", "13.27", "33.27", 45)),
        ("--payment 2026-10-11:500 --paid 2026-10-31", ("20.00", "6.67", "26.67", 30)),
        ("--fine 1,5 --interest 0.5% --as-of 2026-11-15", ("15.00", "7.50", "22.50", 45)),
        ("--fine 10 --interest 2 --business --as-of 2026-11-15", ("100.00", "30.00", "130.00", 45)),
        ("--grace-days 45 --as-of 2026-11-15", ("0.00", "0.00", "0.00", 0)),
        ("--rounding truncate --as-of 2026-10-03", ("20.00", "0.66", "20.66", 2)),
        ("--collected-fine 20 --collected-interest 5.00 --as-of 2026-11-15", ("0.00", "10.00", "10.00", 45)),
        ("--due 2026-10-03 --counting-start extended_due_date --as-of 2026-10-06", ("20.00", "0.33", "20.33", 1)),
        ("--due 2026-02-14 --paid 2026-02-18", ("0.00", "0.00", "0.00", 0)),
    ],
)
def test_the_command_speaks_json(words, expected):
    code, out, err = typed("--amount", "1000", "--due", "2026-10-01", *words.split(), "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert tuple(answer[key] for key in ("fine", "interest", "total", "days")) == expected
    assert answer["proof"].startswith("Título de R$ 1.000,00")
    assert set(answer) == {"fine", "interest", "total", "days", "proof"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--fine 2.01 --json", "para consumidor (CDC art. 52, §1º)"),
        ("--interest none", "taxa legal (CC art. 406)"),
        ("--amount -5", "valor do título inválido: -R$ 5,00"),
        ("--amount 1.000", "Valor inválido em --amount"),
        ("--fine dois", "Percentual inválido em --fine: dois"),
        ("--due 01/10/2026", "Data inválida em --due: 01/10/2026"),
        ("--payment 400", "Pagamento inválido em --payment: 400"),
        ("--payment 2026-11-02:1000.01", "passam do principal"),
        ("--payment 2026-11-02:1000 --paid 2026-11-15", "--paid 2026-11-15 não combina com --payment"),
    ],
)
def test_the_command_refuses_in_one_line(words, reason):
    code, out, err = typed("--amount", "1000", "--due", "2026-10-01", *words.split())
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1
