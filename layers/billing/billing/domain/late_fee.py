"""Late fine and interest on one title, lawful to the centavo, with its proof in Portuguese.

```
free until = the later of the extended due date and (counting start + grace days)
stop       = the day the principal was fully paid, or `as_of` if that comes first
stop <= free until: nothing.  One day more: everything, from the counting start.

fine     = round(principal open after the extended due date × fine %)                       once
interest = round(sum over the days after the counting start of balance × interest % ÷ 30)   simple, on principal only
charged  = each part less what was already collected of it, never below zero
```
The extended due date is the due date or, when that is a weekend or bank holiday, the next business day (CC art. 132 §1,
Lei 7.089/83). Days are calendar days; the day of payment counts, the due date does not. Nothing compounds, and no
monetary update is added. Rates have no default here: what was not agreed is refused, never guessed.

Charging a title in pieces needs no arithmetic of its own: hand what earlier invoices charged in as collected, and the
pieces add up to the whole to the centavo.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from typing import NamedTuple

from billing.domain.calendar import HolidayCheck, business_day_on_or_after, is_business_day
from billing.domain.money import LIMIT, format_brl

CONSUMER_FINE_CAP = Decimal(2)
"""Percent. CDC art. 52 §1."""
FINE_CAP = Decimal(100)
"""Percent. CC art. 412: a penalty is never more than the obligation itself."""
CONSUMER_INTEREST_CAUTION = Decimal(1)
"""Percent a month. Above it the proof warns: the Usury Law's ceiling for a consumer follows the variable legal rate."""
INTEREST_LIMIT = Decimal(10)
"""Percent a month. More is a slip: a yearly rate, or a daily one times a hundred."""
GRACE_LIMIT = 365
DAYS_LIMIT = 3653
"""Ten years. More is a mistyped year."""
PRESCRIPTION_DAYS = 1826
"""Five years, CC art. 206 §5 I: the proof warns."""

_DECIMALS = 6
_EXACT = Context(prec=60)
"""Wide enough that only a division by 3 is not exact, and that far behind any half centavo."""
_WEEKDAYS = (
    "segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo",
)  # fmt: skip


class LateFeeRefused(ValueError):  # noqa: N818 - it is an answer: the title parks with this reason
    """Nothing can lawfully or sensibly be computed. The text is one Portuguese line: why, and what to do."""


class Rounding(StrEnum):
    HALF_UP = "half_up"
    TRUNCATE = "truncate"


class Mode(StrEnum):
    """Who collects: our next invoice, the bank with its boleto, nobody."""

    NEXT_INVOICE = "next_invoice"
    BOLETO = "boleto"
    NONE = "none"


class CountingStart(StrEnum):
    DUE_DATE = "due_date"
    EXTENDED_DUE_DATE = "extended_due_date"


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed.

    fine_percent: of the principal; None or 0: no fine was agreed, none is due (CC art. 408).
    interest_percent: a month; 0: agreed that there is none; None: nothing was agreed, refused in mode NEXT_INVOICE.
    consumer: the customer is protected by the CDC; when in doubt, True.
    """

    fine_percent: Decimal | None
    interest_percent: Decimal | None
    grace_days: int = 0
    rounding: Rounding = Rounding.HALF_UP
    consumer: bool = True
    mode: Mode = Mode.NEXT_INVOICE
    counting_start: CountingStart = CountingStart.DUE_DATE


class Payment(NamedTuple):
    """Centavos of the principal paid on a day; fine and interest that came with it are the title's `collected_…`."""

    day: date
    amount: int


@dataclass(frozen=True, slots=True)
class Title:
    """A receivable, in centavos.

    due: as printed on the boleto.
    collected_fine, collected_interest: what the boleto or earlier invoices have charged of each already.
    """

    amount: int
    due: date
    payments: Sequence[Payment] = ()
    collected_fine: int = 0
    collected_interest: int = 0


@dataclass(frozen=True, slots=True)
class LateFee:
    """What is still to be charged, in centavos.

    days: calendar days charged, 0 when the title is in time, within grace or not ours to charge.
    through: the last day counted; what the ledger remembers.
    proof: Portuguese lines: calendar, formula, numbers, clause.
    """

    fine: int
    interest: int
    days: int
    through: date
    proof: str

    @property
    def total(self) -> int:
        return self.fine + self.interest


class _Stretch(NamedTuple):
    balance: int
    days: int


def check_terms(terms: Terms) -> None:
    """For the configuration; `late_fee` asks again. Raises LateFeeRefused."""
    fine, interest = terms.fine_percent, terms.interest_percent
    _check_percent("multa", fine)
    _check_percent("juros ao mês", interest)
    if terms.consumer and fine is not None and fine > CONSUMER_FINE_CAP:
        cap = _percent(CONSUMER_FINE_CAP)
        raise LateFeeRefused(f"multa de {_percent(fine)} acima do máximo de {cap} para consumidor (CDC art. 52, §1º)")
    if fine is not None and fine > FINE_CAP:
        raise LateFeeRefused(f"multa de {_percent(fine)} maior que o próprio principal (CC art. 412)")
    if interest is not None and interest > INTEREST_LIMIT:
        raise LateFeeRefused(
            f"juros de {_percent(interest)} ao mês, acima de {_percent(INTEREST_LIMIT)}: confira se a taxa não é anual"
        )
    if interest is None and terms.mode is Mode.NEXT_INVOICE:
        raise LateFeeRefused(
            "nenhuma taxa de juros combinada: a taxa legal (CC art. 406) varia e não é presumida; informe a taxa do "
            "contrato, ou 0 para não cobrar juros"
        )
    if not 0 <= terms.grace_days <= GRACE_LIMIT:
        raise LateFeeRefused(f"carência de {terms.grace_days} dias inválida: use de 0 a {GRACE_LIMIT}")


def late_fee(title: Title, terms: Terms, as_of: date, is_holiday: HolidayCheck) -> LateFee:
    """Fine and interest on `title` as things stand at the end of `as_of`; later payments are not looked at.

    Raises:
        LateFeeRefused: terms beyond the law or never agreed; amounts or dates that cannot be right.
    """
    check_terms(terms)
    _check_title(title, as_of)
    extended = business_day_on_or_after(title.due, is_holiday)
    start = title.due if terms.counting_start is CountingStart.DUE_DATE else extended
    free_until = max(extended, start + timedelta(days=terms.grace_days))
    payments = sorted(payment for payment in title.payments if payment.day <= as_of)
    paid_off = _paid_off(title.amount, payments)
    stop = min(as_of, paid_off or as_of)
    calendar = _calendar_lines(title, terms, extended, free_until, is_holiday)
    state = _state_line(payments, paid_off, as_of)

    if stop <= free_until:
        return _nothing(stop, *calendar, state, "Nada a cobrar: dentro do prazo sem encargos.")
    if terms.mode is not Mode.NEXT_INVOICE:
        return _nothing(stop, *calendar, state, f"Nada a cobrar na fatura: {_MODES[terms.mode]}.")

    fine_base = title.amount - sum(payment.amount for payment in payments if payment.day <= extended)
    exact_fine = _share(fine_base, terms.fine_percent, 100)
    stretches = _stretches(title.amount, payments, start, stop)
    balance_days = sum(balance * days for balance, days in stretches)
    exact_interest = _share(balance_days, terms.interest_percent, 100 * 30)
    gross_fine, gross_interest = _rounded(exact_fine, terms.rounding), _rounded(exact_interest, terms.rounding)
    fine, interest = max(0, gross_fine - title.collected_fine), max(0, gross_interest - title.collected_interest)
    days = (stop - start).days
    proof = [
        *calendar,
        state,
        _counting_line(title, terms, start, stop, extended),
        _fine_line(terms, fine_base, extended, exact_fine, gross_fine),
        _interest_line(terms, stretches, exact_interest, gross_interest),
        *_collected_lines(title),
        f"A cobrar: multa {format_brl(fine)} + juros {format_brl(interest)} = {format_brl(fine + interest)}.",
        f"Arredondamento: {_ROUNDINGS[terms.rounding]}, uma só vez em cada parte.",
        "Nenhuma correção monetária aplicada (Lei 10.192/2001, art. 2º, §1º).",
        *_cautions(terms, days),
    ]
    return LateFee(fine, interest, days, stop, "\n".join(proof))


# ---- the arithmetic


def _paid_off(amount: int, payments: Sequence[Payment]) -> date | None:
    paid = 0
    for payment in payments:
        paid += payment.amount
        if paid == amount:
            return payment.day
    return None


def _stretches(amount: int, payments: Sequence[Payment], start: date, stop: date) -> list[_Stretch]:
    """The balance open on each of the days after `start` through `stop`: a payment lowers it from the day after."""
    balance, since, found = amount, start, []
    for day, paid in [*payments, Payment(stop, 0)]:
        if day > since:
            found.append(_Stretch(balance, (day - since).days))
            since = day
        balance -= paid
    return found


def _share(centavos: int, percent: Decimal | None, of: int) -> Decimal:
    return _EXACT.divide(_EXACT.multiply(Decimal(centavos), percent or Decimal(0)), Decimal(of))


def _rounded(centavos: Decimal, rounding: Rounding) -> int:
    """The one place where a fraction of a centavo ends."""
    how = ROUND_HALF_UP if rounding is Rounding.HALF_UP else ROUND_DOWN
    return int(centavos.to_integral_value(how))


# ---- what is refused


def _check_percent(name: str, percent: Decimal | None) -> None:
    if percent is None:
        return
    if not percent.is_finite() or percent < 0 or percent.adjusted() > 5:
        raise LateFeeRefused(f"{name}: {percent} não é um percentual; use zero ou mais")
    if _EXACT.remainder(_EXACT.scaleb(percent, _DECIMALS), Decimal(1)):
        raise LateFeeRefused(f"{name}: {percent} tem casas demais; use até {_DECIMALS} decimais")


def _check_title(title: Title, as_of: date) -> None:
    if not 0 < title.amount < LIMIT:
        raise LateFeeRefused(
            f"valor do título inválido: {format_brl(title.amount)}; informe o principal, maior que zero"
        )
    if any(payment.amount <= 0 for payment in title.payments):
        raise LateFeeRefused("pagamento com valor zero ou negativo: informe só o que entrou")
    paid = sum(payment.amount for payment in title.payments)
    if paid > title.amount:
        raise LateFeeRefused(
            f"pagamentos de {format_brl(paid)} passam do principal de {format_brl(title.amount)}: "
            "o que entrou de multa e juros é informado à parte, como já cobrado"
        )
    if title.collected_fine < 0 or title.collected_interest < 0:
        raise LateFeeRefused("multa ou juros já cobrados não podem ser negativos")
    if abs((as_of - title.due).days) > DAYS_LIMIT:
        raise LateFeeRefused(f"vencimento em {_day(title.due)}, a mais de dez anos de {_day(as_of)}: confira as datas")


# ---- the proof

_MODES = {
    Mode.BOLETO: "os encargos deste título são cobrados pelo banco, no boleto",
    Mode.NONE: "este cliente não paga encargos por atraso",
}
_ROUNDINGS = {
    Rounding.HALF_UP: "meio centavo ou mais sobe",
    Rounding.TRUNCATE: "frações de centavo desprezadas",
}


def _nothing(through: date, *lines: str) -> LateFee:
    return LateFee(0, 0, 0, through, "\n".join(lines))


def _calendar_lines(
    title: Title, terms: Terms, extended: date, free_until: date, is_holiday: HolidayCheck
) -> list[str]:
    weekday = _WEEKDAYS[title.due.weekday()]
    kind = "dia útil" if is_business_day(title.due, is_holiday) else "sem expediente bancário"
    lines = [f"Título de {format_brl(title.amount)}, vencimento em {_day(title.due)} ({weekday}, {kind})."]
    if extended != title.due:
        lines.append(
            f"Pode ser pago sem encargos até o dia útil seguinte, {_day(extended)} "
            f"({_WEEKDAYS[extended.weekday()]}): CC art. 132, §1º, e Lei 7.089/83, art. 1º."
        )
    if terms.grace_days:
        lines.append(f"Carência de {_days(terms.grace_days)}: sem encargos até {_day(free_until)}, inclusive.")
    return lines


def _state_line(payments: Sequence[Payment], paid_off: date | None, as_of: date) -> str:
    state = f"Pago por inteiro em {_day(paid_off)}." if paid_off else f"Situação em {_day(as_of)}: em aberto."
    if len(payments) + (paid_off is None) > 1:
        paid = ", ".join(f"{format_brl(payment.amount)} em {_day(payment.day)}" for payment in payments)
        state += f" Pagamentos do principal: {paid}."
    return state


def _counting_line(title: Title, terms: Terms, start: date, stop: date, extended: date) -> str:
    from_where = "do vencimento impresso" if start == title.due else "do vencimento prorrogado"
    line = f"Atraso: {_days((stop - start).days)} corridos, contados {from_where}, {_day(start)}, até {_day(stop)}."
    if start != extended:
        line += " Não quitado no dia útil seguinte, conta desde o vencimento original (STJ, REsp 1.954.924)."
    if terms.grace_days:
        line += " Passada a carência, conta-se tudo."
    return line


def _fine_line(terms: Terms, base: int, extended: date, exact: Decimal, gross: int) -> str:
    if not terms.fine_percent:
        return "Multa: nenhuma combinada, nenhuma cobrada (CC art. 408)."
    clause = "CDC art. 52, §1º: no máximo 2%" if terms.consumer else "cláusula penal, CC art. 408, 412 e 413"
    return (
        f"Multa, uma só vez: {_percent(terms.fine_percent)} × {format_brl(base)} (principal em aberto depois de "
        f"{_day(extended)}) = {_result(exact, gross)} ({clause})."
    )


def _interest_line(terms: Terms, stretches: Sequence[_Stretch], exact: Decimal, gross: int) -> str:
    if not terms.interest_percent:
        return "Juros de mora: nenhum, conforme combinado."
    rate = f"{_percent(terms.interest_percent)} ÷ 30"
    parts = [f"{format_brl(balance)} × {_days(days)}" for balance, days in stretches]
    sum_ = parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"
    return (
        f"Juros de mora simples de {_percent(terms.interest_percent)} ao mês, pro rata die, sobre o saldo de cada dia: "
        f"{sum_} × {rate} = {_result(exact, gross)} (taxa combinada, CC art. 395 e 406; só sobre o principal)."
    )


def _collected_lines(title: Title) -> list[str]:
    if not title.collected_fine and not title.collected_interest:
        return []
    fine, interest = format_brl(title.collected_fine), format_brl(title.collected_interest)
    return [f"Já cobrado antes (boleto ou fatura): multa {fine}, juros {interest}; descontado de cada parte."]


def _cautions(terms: Terms, days: int) -> list[str]:
    lines = []
    if terms.consumer and terms.interest_percent and terms.interest_percent > CONSUMER_INTEREST_CAUTION:
        lines.append(
            "Atenção: juros acima de 1% ao mês para consumidor podem ser contestados (Decreto 22.626/33, art. 1º)."
        )
    if not terms.consumer and terms.fine_percent and terms.fine_percent > 10:
        lines.append("Atenção: multa acima de 10% pode ser reduzida pelo juiz (CC art. 413).")
    if days > PRESCRIPTION_DAYS:
        lines.append("Atenção: mais de cinco anos de atraso; a dívida pode estar prescrita (CC art. 206, §5º, I).")
    return lines


def _result(exact: Decimal, rounded: int) -> str:
    """The rounded amount, and before it the exact one where they differ: "R$ 13,2666… → R$ 13,27"."""
    if exact == rounded:
        return format_brl(rounded)
    hundredths = _EXACT.scaleb(exact, 2)
    whole, rest = divmod(int(hundredths), 100)
    decimals = f"{rest:02d}".rstrip("0") if hundredths == int(hundredths) else f"{rest:02d}…"
    return f"{format_brl(whole)}{decimals} → {format_brl(rounded)}"


def _percent(percent: Decimal) -> str:
    return f"{_EXACT.normalize(percent):f}%".replace(".", ",")


def _day(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _days(days: int) -> str:
    return "1 dia" if days == 1 else f"{days} dias"
