"""The yearly adjustment of a price (reajuste) by an index or a fixed percentage, with its proof in Portuguese.

```
base        = the day of the last adjustment, or the contract's first day
anniversary = the last day that is a whole number of years after base and not after the day asked about
factor      = (1 + m1/100) × ... × (1 + m12/100)    the 12 months that end `lag_months` before the anniversary's month
            = 1 + p/100                             a fixed percentage
price       = round(price × factor)                 once, half a centavo up
```
Never sooner than 12 months after the last one (Lei 10.192/2001, art. 2, §1; §2: counted from when that one happened).
Years that nobody adjusted are not made up for: only the last 12 months count. A month that the table does not have is
never guessed: the proposal names it and has no price. What is adjusted is the unit price; quantity stays, and so does a
discount in reais.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from enum import StrEnum

from billing.domain.money import format_brl
from billing.domain.month import BillingMonth

MONTHS = 12
LIMIT_PERCENT = Decimal(100)
"""A month's or a year's percentage beyond it, either way, is a slip of the keyboard."""

_EXACT = Context(prec=120)
"""Twelve factors of six decimals, times a price: nothing is lost before the one rounding."""


class Index(StrEnum):
    IPCA = "ipca"
    IGPM = "igpm"
    FIXED = "fixo"


NAMES: Mapping[Index, str] = {
    Index.IPCA: "IPCA (IBGE)",
    Index.IGPM: "IGP-M (FGV)",
    Index.FIXED: "percentual fixo",
}

Series = Mapping[BillingMonth, Decimal]
"""Month -> its change in percent, as published: Decimal("0.56")."""
IndexTable = Mapping[Index, Series]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a contract says of its adjustment. `index` None: nothing was agreed, nothing is proposed.

    fixed_percent: a year, for Index.FIXED. last: the day from which the last adjustment was charged.
    problems: what cannot be read of it, Portuguese; they stop the proposal, not the bill.
    """

    index: Index | None = None
    fixed_percent: Decimal | None = None
    last: date | None = None
    problems: tuple[str, ...] = ()


NOT_AGREED = Wish()


@dataclass(frozen=True, slots=True)
class Rules:
    """A company's. `lag_months`: how many months before the anniversary's the last one counted lies; `reduce`: whether
    a negative index lowers the price.
    """

    lag_months: int = 1
    reduce: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """An adjustment that is due. Prices are of one unit, centavos.

    after: None when it cannot be computed (`missing` months, or a problem); equal to `before` when nothing changes.
    percent: exact, None with `after`.
    effective: the first bill with the new price; what becomes the day of the last adjustment.
    proof: Portuguese lines.
    """

    index: Index
    base: date
    anniversary: date
    effective: date
    before: int
    after: int | None
    percent: Decimal | None
    missing: tuple[BillingMonth, ...]
    proof: str

    @property
    def told(self) -> str:
        """The line and, when there is a price, its proof: one paragraph for a plan."""
        return self.line if self.after is None else " ".join([self.line, *self.proof.splitlines()])

    @property
    def line(self) -> str:
        """One Portuguese line: what is proposed, or why nothing is."""
        due = f"Reajuste devido desde {_day(self.anniversary)} ({NAMES[self.index]})"
        if self.after is None:
            return f"{due}, sem proposta: {self.proof.splitlines()[-1]}"
        if self.after == self.before:
            return f"{due}: o preço não muda ({shown_percent(self.percent)})."
        change = f"{format_brl(self.before)} → {format_brl(self.after)} por unidade ({shown_percent(self.percent)})"
        return f"{due}: proposta {change}; só vale depois de aplicado (billing-ops reajuste)."


def proposal(
    wish: Wish, *, start: date | None, unit_amount: int, effective: date, table: IndexTable, rules: Rules
) -> Proposal | None:
    """The adjustment that a bill of the day `effective` may carry; None when none was agreed or a year is not over."""
    index = wish.index
    base = wish.last or start
    if index is None or unit_amount <= 0:
        return None
    if base is None:
        return _without(
            wish, index, effective, unit_amount, "informe o início do contrato ou a data do último reajuste."
        )
    anniversary = last_anniversary(base, effective)
    if anniversary is None:
        return None
    since = f"{_day(base)}{'' if wish.last else ' (início do contrato)'}"
    head = [
        f"Reajuste anual por {NAMES[index]}: último em {since}, aniversário em {_day(anniversary)}.",
        f"Cobrado a partir de {_day(effective)}, com 12 meses cumpridos (Lei 10.192/2001, art. 2º, §§ 1º e 2º).",
    ]
    if anniversary > years_after(base, 1):
        head.append("Anos anteriores sem reajuste não são recuperados: contam só os últimos 12 meses.")
    common = (index, base, anniversary, effective, unit_amount)
    if wish.problems:
        return Proposal(*common, None, None, (), "\n".join([*head, f"corrija no Jestor: {'; '.join(wish.problems)}."]))
    if index is Index.FIXED:
        return _fixed(wish, common, head)
    return _indexed(table.get(index, {}), common, head, rules)


Common = tuple[Index, date, date, date, int]


def _without(wish: Wish, index: Index, effective: date, unit_amount: int, why: str) -> Proposal:
    why = "; ".join([*wish.problems, why])
    return Proposal(index, effective, effective, effective, unit_amount, None, None, (), f"corrija no Jestor: {why}")


def _fixed(wish: Wish, common: Common, head: list[str]) -> Proposal:
    percent = wish.fixed_percent
    if percent is None:
        return Proposal(*common, None, None, (), "\n".join([*head, "informe no Jestor o percentual fixo do contrato."]))
    if abs(percent) >= LIMIT_PERCENT:
        wrong = f"{_plain(percent)}% ao ano não parece certo: confira o percentual fixo no Jestor."
        return Proposal(*common, None, None, (), "\n".join([*head, wrong]))
    factor = _EXACT.add(Decimal(1), _EXACT.scaleb(percent, -2))
    return _adjusted(factor, common, [*head, f"Percentual do contrato: {shown_percent(percent)}."])


def _indexed(series: Series, common: Common, head: list[str], rules: Rules) -> Proposal:
    index, _, anniversary, _, before = common
    months = window(anniversary, rules.lag_months)
    missing = tuple(month for month in months if month not in series)
    if missing:
        names = ", ".join(map(_month, missing))
        why = f"falta na tabela o {NAMES[index]} de {names}; importe-o quando for publicado."
        return Proposal(*common, None, None, missing, "\n".join([*head, why]))
    factor = Decimal(1)
    for month in months:
        factor = _EXACT.multiply(factor, _EXACT.add(Decimal(1), _EXACT.scaleb(series[month], -2)))
    listed = "; ".join(f"{_month(month)} {_plain(series[month])}%" for month in months)
    head = [*head, f"Variação mensal de {_month(months[0])} a {_month(months[-1])}: {listed}."]
    if factor < 1 and not rules.reduce:
        accumulated = _percent_of(factor)
        note = f"Acumulado de {shown_percent(accumulated)}, negativo: o preço não é reduzido (regra da empresa)."
        return Proposal(*common, before, accumulated, (), "\n".join([*head, note]))
    return _adjusted(factor, common, head)


def _adjusted(factor: Decimal, common: Common, head: list[str]) -> Proposal:
    before = common[-1]
    exact = _EXACT.multiply(Decimal(before), factor)
    after = int(exact.to_integral_value(ROUND_HALF_UP))
    percent = _percent_of(factor)
    lines = [
        *head,
        f"Fator acumulado: {_cut(factor, 8)} ({shown_percent(percent)}).",
        f"Preço unitário: {format_brl(before)} × fator = {format_brl(after)}, arredondado só aqui (meio centavo sobe).",
    ]
    return Proposal(*common, after, percent, (), "\n".join(lines))


# ---- the calendar


def years_after(day: date, years: int) -> date:
    """The same day `years` later; of 29 February, where there is none, the next day (CC art. 132, §3)."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)


def last_anniversary(base: date, on: date) -> date | None:
    """The latest whole year after `base` that `on` has reached; None before the first."""
    years = on.year - base.year
    while years > 0 and years_after(base, years) > on:
        years -= 1
    return years_after(base, years) if years > 0 else None


def window(anniversary: date, lag_months: int) -> tuple[BillingMonth, ...]:
    """The 12 months, oldest first, of which the last is `lag_months` before the anniversary's."""
    month = BillingMonth.containing(anniversary)
    for _ in range(lag_months):
        month = month.previous()
    months = [month]
    while len(months) < MONTHS:
        months.append(months[-1].previous())
    return tuple(reversed(months))


def first_bill(today: date, billing_day: int) -> date:
    """The next billing day after today: the first on which a price that is changed today may be charged."""
    this = BillingMonth.containing(today)
    day = this.day(billing_day)
    return day if today < day else this.next().day(billing_day)


# ---- the index table


def check_percent(percent: Decimal) -> Decimal:
    """Raises ValueError, in Portuguese: no percentage of a month or a year."""
    if not percent.is_finite() or abs(percent) >= LIMIT_PERCENT:
        raise ValueError(f"{percent} não é uma variação em percentual")
    if _EXACT.remainder(_EXACT.scaleb(percent, 4), Decimal(1)):
        raise ValueError(f"{percent} tem casas demais; use até 4 decimais")
    return percent


# ---- how it is shown


def shown_percent(percent: Decimal | None) -> str:
    """Cut, not rounded, at four decimals: "4,7012%", with "…" where there is more."""
    return "" if percent is None else f"{_cut(percent, 4)}%"


def _percent_of(factor: Decimal) -> Decimal:
    return _EXACT.scaleb(_EXACT.subtract(factor, Decimal(1)), 2)


def _cut(number: Decimal, places: int) -> str:
    shown = number.quantize(Decimal(1).scaleb(-places), ROUND_DOWN)
    return _plain(shown) + ("" if shown == number else "…")


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return (text or "0").replace(".", ",")


def _day(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _month(month: BillingMonth) -> str:
    return f"{month.month:02d}/{month.year}"
