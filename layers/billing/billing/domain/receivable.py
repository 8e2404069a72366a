"""A title of Omie's as the receivables table shows it: how late it is, what was paid, what Jestor should do about it.

```
Omie's movements (a title and each of its receipts, forecasts among them)  ── titles ──▶  Title
Title, today, a person's mark, the row's present stage                     ── assess ──▶  what the row must say
that, and what the row says                                                ── changes ─▶  what is to be written
```
Days late are São Paulo's calendar days from the printed due date, 0 until the extended one (the next business day after
a weekend or bank holiday) has passed: the same day on which `late_fee` begins to charge. Amounts are centavos.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from billing.domain.calendar import HolidayCheck, business_day_on_or_after
from billing.domain.late_fee import Payment
from billing.domain.money import LIMIT
from billing.domain.number import NumberError, whole
from billing.domain.text import fold, of, writable

Values = dict[str, str | int | None]
"""Our word for a field (`ReceivableFields`) -> centavos, a number, text or an ISO date; None is an empty field."""


class Status(StrEnum):
    """`LATE` also when a part was paid; `PARTIAL` is paid in part and not late."""

    OPEN = "em_aberto"
    LATE = "atrasado"
    PARTIAL = "parcial"
    PAID = "pago"
    CANCELLED = "cancelado"


RESOLVED = frozenset({Status.PAID, Status.CANCELLED})


class Mark(StrEnum):
    """A person's word on a title: nothing is charged for the delay, and no dunning stage is set."""

    WAIVED = "isento"
    NEGOTIATED = "negociado"
    DISPUTED = "em_disputa"


class TitleError(ValueError):
    """Omie's movement cannot be read as a title; `nCodTitulo` says which, 0 when not even that can be read."""

    def __init__(self, nCodTitulo: int, what: str = "without a due date or a value") -> None:
        super().__init__(f"title {nCodTitulo}: {what}")
        self.nCodTitulo = nCodTitulo


@dataclass(frozen=True, slots=True)
class Title:
    """A conta a receber.

    payments: of the principal, in order; fine and interest that came with them are apart.
    open: what is left of the principal.
    paid: everything that came in, fine and interest included.
    nCodCtr, nCodOS: 0 when Omie does not say.
    """

    nCodTitulo: int
    nCodCliente: int
    nCodCtr: int
    nCodOS: int
    document: str
    amount: int
    due: date
    open: int
    paid: int
    cancelled: bool
    payments: tuple[Payment, ...] = ()
    collected_fine: int = 0
    collected_interest: int = 0

    @property
    def settled_on(self) -> date | None:
        """The day of the last payment, of a title with nothing open."""
        return self.payments[-1].day if self.payments and not self.open else None


# ---- from Omie


def titles(
    movements: Iterable[Mapping[str, Any]], unreadable: Callable[[TitleError], object] | None = None
) -> Iterator[Title]:
    """The titles among ListarMovimentos' rows, each once, in the order they came. Forecasts are no debt.

    A title comes as a row of its own (CONTA_A_RECEBER) and one for each receipt (with nCodBaixa). Where the receipts
    do not add up to what Omie says was settled, Omie's sum counts, as one payment on the first day money came in.

    Raises:
        TitleError: a title without value or due date, or one whose row makes the reading fail; where `unreadable` is
            given, it is told and the title left out.
    """

    def left_out(error: TitleError) -> None:
        if unreadable is None:
            raise error
        unreadable(error)

    found: dict[int, list[Mapping[str, Any]]] = {}
    for movement in movements:
        try:
            number = _number_of(movement)
        except TitleError as error:
            left_out(error)
            continue
        if number:
            found.setdefault(number, []).append(movement)
    for number, rows in found.items():
        try:
            title = _title(number, rows)
        except TitleError as error:
            left_out(error)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            left_out(TitleError(number, f"cannot be read ({type(error).__name__})"))
        else:
            yield title


def _number_of(movement: object) -> int:
    """The number of the title that the row is about; 0 of a forecast, and of what is no title.

    Raises:
        TitleError: it has another shape than any row of Omie's.
    """
    details = movement.get("detalhes") if isinstance(movement, Mapping) else 0
    if details is None:
        return 0
    if not isinstance(details, Mapping):
        raise TitleError(0, "no row of ListarMovimentos")
    forecast = "PREVISAO" in f"{of(details.get('cStatus'))} {of(details.get('cGrupo'))}".upper()
    if forecast or of(details.get("cNatureza") or "R") != "R":
        return 0
    try:
        return whole(details.get("nCodTitulo") or 0)
    except NumberError:
        raise TitleError(0, "without a number") from None


def _title(number: int, rows: list[Mapping[str, Any]]) -> Title:
    details, summary = rows[0]["detalhes"], rows[0].get("resumo") or {}
    due, amount = _day(details.get("dDtVenc")), centavos_of(details.get("nValorTitulo"))
    if due is None or amount <= 0:
        raise TitleError(number)
    cancelled = str(details.get("cStatus") or "").upper().startswith("CANCEL")
    fine, interest, paid = (centavos_of(summary.get(name)) for name in ("nMulta", "nJuros", "nValPago"))
    left = _open(amount, details, summary, cancelled=cancelled)
    return Title(
        nCodTitulo=number,
        nCodCliente=whole(details.get("nCodCliente") or 0),
        nCodCtr=whole(details.get("nCodCtr") or 0),
        nCodOS=whole(details.get("nCodOS") or 0),
        document=writable(of(details.get("cNumTitulo") or details.get("cNumDocFiscal") or "").strip()),
        amount=amount,
        due=due,
        open=left,
        paid=paid,
        cancelled=cancelled,
        payments=() if cancelled else _payments(rows, settled=amount - left),
        collected_fine=fine,
        collected_interest=interest,
    )


def _open(amount: int, details: Mapping[str, Any], summary: Mapping[str, Any], *, cancelled: bool) -> int:
    settled = str(summary.get("cLiquidado") or "").upper() == "S" or str(details.get("cStatus") or "").upper() in {
        "RECEBIDO",
        "LIQUIDADO",
        "PAGO",
    }
    if cancelled or settled:
        return 0
    known = summary.get("nValAberto")
    return amount if known is None else min(amount, max(0, centavos_of(known)))


def _payments(rows: list[Mapping[str, Any]], *, settled: int) -> tuple[Payment, ...]:
    receipts: dict[int, Payment] = {}
    for row in rows:
        details = row["detalhes"]
        number, day = int(details.get("nCodBaixa") or 0), _day(details.get("dDtPagamento"))
        if number and day:
            extra = sum(centavos_of(details.get(name)) for name in ("nJuros", "nMulta"))
            principal = centavos_of(details.get("nValorMovCC")) - extra + centavos_of(details.get("nDesconto"))
            receipts[number] = Payment(day, principal)
    paid = sorted(receipt for receipt in receipts.values() if receipt.amount > 0)
    if settled <= 0 or sum(receipt.amount for receipt in paid) == settled:
        return tuple(paid) if settled > 0 else ()
    days = [receipt.day for receipt in receipts.values()]
    days += [day for row in rows if (day := _day(row["detalhes"].get("dDtPagamento")))]
    return (Payment(min(days), settled),) if days else ()


def _day(text: object) -> date | None:
    try:
        return datetime.strptime(str(text or "").strip(), "%d/%m/%Y").date()  # noqa: DTZ007 - a date has no time zone
    except ValueError:
        return None


def centavos_of(reais: object) -> int:
    """Centavos of an amount as Omie's JSON has it: a number, or digits; nothing is 0.

    Raises:
        ValueError: no such amount, or one beyond all measure.
    """
    if isinstance(reais, bool) or not isinstance(reais, int | float | Decimal | str | None):
        raise ValueError("not an amount")  # noqa: TRY004 - of a value, not of our own code
    try:
        exact = Decimal(of(reais or 0))
    except InvalidOperation:
        raise ValueError("not an amount") from None
    if not exact.is_finite() or abs(exact) * 100 >= LIMIT:
        raise ValueError("an amount beyond all measure")
    return int((exact * 100).quantize(Decimal(1), ROUND_HALF_UP))


# ---- what the row must say


@dataclass(frozen=True, slots=True)
class Standing:
    """How a title stands today. `delay_days` of a paid one: how late it was paid."""

    status: Status
    delay_days: int
    stage: str


@dataclass(frozen=True, slots=True)
class Dunning:
    """`stages`: label -> days late from which it holds; `resolved`: the label of one that was late and is settled."""

    stages: Mapping[str, int]
    resolved: str

    def of(self, delay_days: int) -> str:
        """The furthest stage that so many days have reached; "" before the first."""
        reached = [(days, label) for label, days in self.stages.items() if days <= delay_days]
        return max(reached)[1] if reached else ""


def days_late(due: date, on: date, is_holiday: HolidayCheck) -> int:
    """0 through the extended due date, then calendar days from the printed one."""
    return (on - due).days if on > due and on > business_day_on_or_after(due, is_holiday) else 0


def assess(
    title: Title, today: date, is_holiday: HolidayCheck, dunning: Dunning, *, mark: Mark | None = None, stage: str = ""
) -> Standing:
    """`mark`: a person's; `stage`: what the row says now, so that one that was chased ends as resolved."""
    if title.cancelled:
        return Standing(Status.CANCELLED, 0, dunning.resolved if stage else "")
    if not title.open:
        late = days_late(title.due, title.settled_on or title.due, is_holiday)
        return Standing(Status.PAID, late, dunning.resolved if stage else "")
    late = days_late(title.due, today, is_holiday)
    status = Status.LATE if late else Status.PARTIAL if title.open < title.amount else Status.OPEN
    return Standing(status, late, "" if mark else dunning.of(late))


def row_values(title: Title, standing: Standing) -> Values:
    """What the row must say of the title itself. Contract, customer, link and charges are added by who knows them."""
    return {
        "title": title.nCodTitulo,
        "document": title.document or None,
        "amount": title.amount,
        "open_amount": title.open,
        "due_date": title.due.isoformat(),
        "status": str(standing.status),
        "delay_days": standing.delay_days,
        "stage": standing.stage or None,
        "paid_date": title.payments[-1].day.isoformat() if title.payments else None,
        "paid_amount": title.paid,
        "collected_fine": title.collected_fine,
        "collected_interest": title.collected_interest,
    }


# ---- the difference

WRITTEN_ONCE = frozenset({"name", "company", "contract", "customer"})
"""Filled in where empty; what a person put there stays."""
LABELS = frozenset({"status", "stage"})
"""Options, the same in whatever capitals."""
A_PERSONS = frozenset({"exception"})
"""Never written."""


def changes(wanted: Values, row: Mapping[str, Any]) -> Values:
    """The fields of `wanted` that the row does not show yet. Both in our words and units; empty is empty, 0 is not."""
    found: Values = {}
    for word, value in wanted.items():
        now = row.get(word)
        now = None if now == "" else now
        if word in LABELS and isinstance(now, str) and isinstance(value, str) and fold(now) == fold(value):
            continue
        fixed = word in A_PERSONS or (word in WRITTEN_ONCE and (now is not None or value is None))
        if value != now and not fixed:
            found[word] = value
    return found
