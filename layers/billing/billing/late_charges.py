"""Late fine and interest of one company's overdue titles, as additions to its contracts' next bills.

```
Omie's titles that are late, and those that were paid late   ─┐
what BILLED charges have charged of each (the ledger)        ─┼─▶  domain.late_fee  ──▶  Addition, with its proof
what the contract and the company agreed, what people said   ─┘
```
A title's charge has one key a month, "encargos#<nCodTitulo>#<month>", and lives nowhere but in the month's charge: when
that is BILLED the addition is charged, and what was charged is handed to the next reckoning as collected. So the pieces
add up to the whole, and a month without a bill loses nothing.

Nothing is charged beyond the last day whose payments Omie knows (`bank_return_days`); what an earlier bill added to a
title bears no fine and no interest (never interest on interest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from billing.domain.addition import Addition, Kind
from billing.domain.calendar import HolidayCheck, is_business_day
from billing.domain.charge import UNDECIDED, Charge, ChargeKey, State
from billing.domain.contract import BadRow, Contract
from billing.domain.late_fee import LateFee, LateFeeRefused, Mode, Payment, Terms, check_terms, late_fee
from billing.domain.late_fee import Title as Owed
from billing.domain.money import format_brl
from billing.domain.month import BillingMonth
from billing.domain.receivable import Title, centavos_of, titles
from billing.domain.text import of
from billing.omie.client import omie_date
from billing.omie.mapping import parse_date
from billing.unreadable import DATA_ERRORS, note

if TYPE_CHECKING:
    from billing.omie.client import OmieClient
    from billing.settings import CompanySettings, LateFeeSettings
    from billing.store.ports import Charges

Waivers = Callable[[str], Mapping[int, str]]
"""Company -> nCodTitulo -> what a person said of it in Jestor (domain.receivable.Mark): while that stands, nothing is
charged for its delay."""

_MARKED: Final[Mapping[str, str]] = {"negociado": "negociado", "em_disputa": "em disputa"}
_IN_DOUBT: Final = "in_doubt"
"""The reason code of a charge parked because nobody can tell whether it was billed."""


def no_waivers(_: str) -> Mapping[int, str]:
    return {}


# ---- what was charged before


class Charged(NamedTuple):
    """Centavos that earlier bills have charged of one title; `doubtful`: the month in which nobody knows."""

    fine: int = 0
    interest: int = 0
    doubtful: BillingMonth | None = None


def charged_before(nCodTitulo: int, charges: Iterable[Charge]) -> Charged:
    """From the contract's charges of earlier months: only what was billed was charged."""
    fine = interest = 0
    doubtful = None
    for charge in charges:
        for entry in charge.additions:
            if entry["title"] != nCodTitulo:
                continue
            undecided = charge.state in UNDECIDED or (charge.state is State.PARKED and charge.reason_code == _IN_DOUBT)
            if undecided or (charge.state is State.BILLED and entry.get("doubtful")):
                doubtful = charge.key.month
            elif charge.state is State.BILLED:
                fine += entry["fine"]
                interest += entry["interest"]
    return Charged(fine, interest, doubtful)


def principal(title: Title, charges: Iterable[Charge]) -> tuple[int, tuple[Payment, ...]]:
    """What of a title bears fine and interest, and the payments of it: without the late charges it was billed with.

    Payments go to the principal first, the customer's favour.
    """
    inside = sum(
        entry["fine"] + entry["interest"]
        for charge in charges
        if charge.nCodOS and charge.nCodOS == title.nCodOS
        for entry in charge.additions
    )
    left = amount = max(0, title.amount - inside)
    payments = []
    for day, paid in sorted(title.payments):
        taken = min(paid, left)
        left -= taken
        if taken:
            payments.append(Payment(day, taken))
    return amount, tuple(payments)


# ---- one title


def terms_of(contract: Contract | None, settings: LateFeeSettings) -> Terms:
    """What holds for a contract: its own word first, then the company's."""
    terms = settings.terms()
    if contract is None:
        return terms
    said = contract.late
    consumer = said.consumer
    if consumer is None and settings.customer_kind == "by_document":
        consumer = len(contract.customer.document) != 14  # in doubt, a consumer
    return replace(
        terms,
        fine_percent=terms.fine_percent if said.fine_percent is None else said.fine_percent,
        interest_percent=terms.interest_percent if said.interest_percent is None else said.interest_percent,
        consumer=terms.consumer if consumer is None else consumer,
        mode=terms.mode if said.mode is None else Mode(said.mode),
    )


def known_through(today: date, settings: LateFeeSettings, is_holiday: HolidayCheck) -> date:
    """The last day of whose payments Omie knows this morning."""
    day = today
    for _ in range(settings.bank_return_days):
        day -= timedelta(days=1)
        while not is_business_day(day, is_holiday):
            day -= timedelta(days=1)
    return day


def with_local(is_holiday: HolidayCheck, settings: LateFeeSettings) -> HolidayCheck:
    """The banks' holidays and those of the company's state and city."""
    local = frozenset(settings.local_holidays)
    return (lambda day: day in local or is_holiday(day)) if local else is_holiday


def reckon(
    title: Title, terms: Terms, charges: Sequence[Charge], through: date, is_holiday: HolidayCheck
) -> tuple[LateFee, str]:
    """What is still to be charged of a title, and a warning when earlier bills have charged more than is owed.

    Raises:
        LateFeeRefused: terms beyond the law or never agreed; amounts that cannot be right.
    """
    amount, payments = principal(title, charges)
    before = charged_before(title.nCodTitulo, charges)
    bank = Owed(amount, title.due, payments, title.collected_fine, title.collected_interest)
    if not before.fine and not before.interest:
        return late_fee(bank, terms, through, is_holiday), ""
    whole = late_fee(bank, terms, through, is_holiday)
    too_much = max(0, before.fine - whole.fine) + max(0, before.interest - whole.interest)
    warning = ""
    if too_much:
        warning = (
            f"Título de {title.due:%d/%m/%Y}: já cobrados {format_brl(before.fine + before.interest)} de encargos, "
            f"{format_brl(too_much)} a mais do que é devido (pagamento registrado depois?): devolva ou abata."
        )
    fine, interest = bank.collected_fine + before.fine, bank.collected_interest + before.interest
    rest = replace(bank, collected_fine=fine, collected_interest=interest)
    return late_fee(rest, terms, through, is_holiday), warning


def addition_of(title: Title, fee: LateFee, month: BillingMonth, how: Literal["expense", "item"]) -> Addition:
    """`fee` must be more than nothing."""
    parts = [("multa", fee.fine), ("juros", fee.interest)]
    shown = " + ".join(f"{name} {format_brl(amount)}" for name, amount in parts if amount)
    return Addition(
        key=f"{Kind.LATE}#{title.nCodTitulo}#{month}",
        kind=Kind.LATE,
        amount=fee.total,
        text=f"Encargos por atraso do boleto de {title.due:%d/%m/%Y} até {fee.through:%d/%m/%Y}: {shown}",
        proof=fee.proof,
        how=how,
        title=title.nCodTitulo,
        through=fee.through.isoformat(),
        fine=fee.fine,
        interest=fee.interest,
        seen=standing(title),
        due=title.due.isoformat(),
    )


# ---- between plan and bill


def standing(title: Title) -> str:
    """A title's amount and all that was paid of it, in one word: another word, another reckoning."""
    paid = ",".join(f"{payment.day:%Y%m%d}={payment.amount}" for payment in title.payments)
    state = "cancelado" if title.cancelled else f"{title.open}/{title.collected_fine}/{title.collected_interest}"
    return f"{title.amount}:{state}:{paid}"


def standing_now(addition: Addition, omie: OmieClient) -> str:
    """How the title an addition is for stands in Omie; empty when it is gone, and for an addition without one.

    Raises:
        OmieError: it cannot be read.
    """
    if addition.title is None or addition.due_date is None:
        return ""
    due = addition.due_date
    found = _titles(omie.iter_movimentos(due, due, nCodTitulo=addition.title))
    return next((standing(title) for title in found if title.nCodTitulo == addition.title), "")


# ---- a company's plan


@dataclass(frozen=True)
class Reckoned:
    """What goes on one contract's bill, and what a person should know, Portuguese."""

    additions: tuple[Addition, ...] = ()
    warnings: tuple[str, ...] = ()


NOTHING: Final = Reckoned()


@dataclass
class LateTitles:
    """A company's late titles, by the Omie contract whose billing made them.

    Args:
        settings: the company's.
        month: to be billed.
        through: the last day that may be charged.
        is_holiday: the banks' and the company's own.
        by_contract: nCodCtr -> its late titles, the oldest first.
        homeless: those of which nobody knows the contract.
        marks: what people said of titles.
    """

    settings: LateFeeSettings
    month: BillingMonth
    through: date
    is_holiday: HolidayCheck
    by_contract: dict[int, list[Title]] = field(default_factory=dict)
    homeless: list[Title] = field(default_factory=list)
    marks: Mapping[int, str] = field(default_factory=dict)
    _asked: set[int] = field(default_factory=set)

    def months_of(self, nCodCtr: int | None) -> list[BillingMonth]:
        """The earlier months whose charges may have carried, or been, one of the contract's late titles.

        Not counted from the due date: that of a boleto may have been put off since.
        """
        if nCodCtr not in self.by_contract:
            return []
        first = BillingMonth.containing(self.through - timedelta(days=self.settings.lookback_days)).previous()
        months = []
        month = self.month.previous()
        while month >= first:
            months.append(month)
            month = month.previous()
        return months

    def charges(self, ledger: Charges, contracts: Iterable[tuple[str, int | None]]) -> dict[str, list[Charge]]:
        """(code, nCodCtr) of contracts -> the charges that matter, by code; nothing is read when none is late."""
        keys = [ChargeKey(code, month) for code, nCodCtr in contracts for month in self.months_of(nCodCtr)]
        found: dict[str, list[Charge]] = {}
        for charge in ledger.iter_many(keys) if keys else ():
            found.setdefault(charge.key.contract, []).append(charge)
        return found

    def of(self, row: Contract | BadRow, nCodCtr: int | None, charges: Sequence[Charge]) -> Reckoned:
        """What the contract's late titles add to its bill. A reason not to charge stops the charges, not the bill."""
        late = self.by_contract.get(nCodCtr or 0, [])
        self._asked.add(nCodCtr or 0)
        if not late or isinstance(row, BadRow):
            return NOTHING
        terms = terms_of(row, self.settings)
        if terms.mode is not Mode.NEXT_INVOICE:
            return NOTHING
        if why := _not_agreed(row, terms):
            overdue = any(self._is_late(title, terms) for title in late)
            return Reckoned(warnings=(f"Encargos por atraso não cobrados: {why}.",)) if overdue else NOTHING
        return self._sum(late, terms, charges)

    def notes(self) -> list[str]:
        """About late titles that belong to no contract of this company in Jestor, Portuguese."""
        strays = [each for nCodCtr, some in self.by_contract.items() if nCodCtr not in self._asked for each in some]
        strays += self.homeless
        if not strays:
            return []
        open_ = sum(title.open for title in strays)
        which = "1 título atrasado" if len(strays) == 1 else f"{len(strays)} títulos atrasados"
        shown = ", ".join(str(title.nCodTitulo) for title in sorted(strays, key=lambda title: title.due)[:10])
        more = ", …" if len(strays) > 10 else ""
        text = f"{which} ({format_brl(open_)} em aberto) sem contrato desta empresa no Jestor: encargos não cobrados."
        return [f"{text} Código no Omie: {shown}{more}."]

    def _sum(self, late: Sequence[Title], terms: Terms, charges: Sequence[Charge]) -> Reckoned:
        additions: list[Addition] = []
        warnings: list[str] = []
        for title in late:
            try:
                addition, warning = self._one(title, terms, charges)
            except DATA_ERRORS as error:
                kind = note(f"late charges of title {title.nCodTitulo}", error)
                text = f"encargos não cobrados; não foi possível calculá-los ({kind}): confira o título no Omie."
                addition, warning = None, f"Título {title.nCodTitulo}: {text}"
            warnings += [warning] if warning else []
            if addition is not None:
                additions.append(addition)
        kept = additions[: self.settings.titles_per_bill]
        if later := additions[len(kept) :]:
            owed = format_brl(sum(each.amount for each in later))
            warnings.append(f"Encargos de mais {len(later)} títulos, {owed}, ficam para a próxima cobrança.")
        return Reckoned(tuple(kept), tuple(warnings))

    def _one(self, title: Title, terms: Terms, charges: Sequence[Charge]) -> tuple[Addition | None, str]:
        which = f"Título de {title.due:%d/%m/%Y} ({format_brl(title.amount)})"
        before = charged_before(title.nCodTitulo, charges)
        if before.doubtful is not None:
            text = f"não se sabe se a cobrança de {before.doubtful} os levou. Confira no Omie."
            return None, f"{which}: encargos não cobrados agora; {text}"
        try:
            fee, warning = reckon(title, terms, charges, self.through, self.is_holiday)
        except LateFeeRefused as refused:
            return None, f"{which}: encargos não cobrados; {refused}."
        mark = self.marks.get(title.nCodTitulo)
        if mark is not None:
            said = _MARKED.get(mark)
            return None, f"{which}: {said} no Jestor, encargos não cobrados." if said and fee.total else ""
        if not fee.total or fee.total < (self.settings.least or 0):
            return None, warning
        return addition_of(title, fee, self.month, self.settings.how), warning

    def _is_late(self, title: Title, terms: Terms) -> bool:
        """Whether any charge could be due, whatever the rates."""
        rates = replace(terms, fine_percent=Decimal(1), interest_percent=Decimal(1), grace_days=0)
        amount, payments = principal(title, ())
        try:
            return late_fee(Owed(amount, title.due, payments), rates, self.through, self.is_holiday).total > 0
        except LateFeeRefused:
            return True


def _not_agreed(row: Contract, terms: Terms) -> str:
    """Why a contract's late titles cannot be charged, Portuguese; empty when they can."""
    if row.late.problems:
        return "corrija no Jestor: " + "; ".join(row.late.problems)
    try:
        check_terms(terms)
    except LateFeeRefused as refused:
        return str(refused)
    return ""


def read_late_titles(
    company: str,
    late: LateFeeSettings,
    *,
    month: BillingMonth,
    today: date,
    omie: OmieClient,
    ledger: Charges,
    is_holiday: HolidayCheck,
    marks: Mapping[int, str],
) -> LateTitles:
    """The company's late titles, in two bulk reads.

    Args:
        company: its key.
        late: its settings.
        month: to be billed.
        today: São Paulo's date.
        omie: its client.
        ledger: says whose an order is, when Omie does not name the contract.
        is_holiday: the banks'.
        marks: what people said of titles.
    """
    closed = with_local(is_holiday, late)
    found = LateTitles(late, month, known_through(today, late, closed), closed, marks=marks)
    for title in _late(omie, late, today):
        if title.cancelled or (late.due_from is not None and title.due < late.due_from):
            continue
        nCodCtr = title.nCodCtr
        if not nCodCtr and title.nCodOS:
            charge = ledger.by_order(company, title.nCodOS)
            nCodCtr = (charge.nCodCtr or 0) if charge else 0
        if nCodCtr:
            found.by_contract.setdefault(nCodCtr, []).append(title)
        else:
            found.homeless.append(title)
    for some in found.by_contract.values():
        some.sort(key=lambda title: (title.due, title.nCodTitulo))
    return found


def _late(omie: OmieClient, settings: LateFeeSettings, today: date) -> Iterator[Title]:
    """Titles open after their due date, and those paid after it within `paid_lookback_days`, each once and whole."""
    first, last = today - timedelta(days=settings.lookback_days), today - timedelta(days=1)
    seen = set()
    if omie.has_title("ATRASADO"):
        for title in _titles(omie.iter_movimentos(first, last, cNatureza="R", cStatus="ATRASADO")):
            seen.add(title.nCodTitulo)
            yield title
    elif not omie.has_title():
        return
    since = today - timedelta(days=settings.paid_lookback_days)
    in_parts: dict[int, date] = {}
    paid = omie.iter_movimentos(first, last, cNatureza="R", dDtPagtoDe=omie_date(since), dDtPagtoAte=omie_date(today))
    for row in filter(_paid_late, paid):
        for title in _titles([row]):
            if title.nCodTitulo in seen:
                continue
            # A title paid at once is whole in its one receipt; of another this list may lack receipts.
            if len(title.payments) == 1 and _principal_of(row) == title.amount:
                seen.add(title.nCodTitulo)
                yield title
            else:
                in_parts[title.nCodTitulo] = title.due
    for nCodTitulo, due in in_parts.items():
        yield from _titles(omie.iter_movimentos(due, due, nCodTitulo=nCodTitulo))


def _titles(movements: Iterable[Mapping[str, Any]]) -> Iterator[Title]:
    """Of the rows that can be read: one without a value or a due date charges nobody and stops nobody's bill."""
    return titles(movements, unreadable=lambda _: None)


def _paid_late(row: Mapping[str, Any]) -> bool:
    details = row.get("detalhes") if isinstance(row, dict) else None
    if not isinstance(details, dict):
        return False
    paid, due = (parse_date(of(details.get(name) or "").strip()) for name in ("dDtPagamento", "dDtVenc"))
    return paid is not None and due is not None and paid > due


def _principal_of(row: Mapping[str, Any]) -> int | None:
    """Centavos of the principal that this receipt paid; None when it does not say so in numbers."""
    details = row["detalhes"]
    try:
        paid, fine, interest, discount = (
            centavos_of(details.get(name)) for name in ("nValorMovCC", "nMulta", "nJuros", "nDesconto")
        )
    except ValueError:
        return None
    return paid - fine - interest + discount


# ---- for Jestor's receivables table


Quote = Callable[[Title, "Contract | None", str, date, Sequence[Charge]], "tuple[int, str] | None"]
"""(title, its contract, a person's mark or "", today, the contract's charges) -> centavos and proof; None: nothing."""


def quote_of(settings: LateFeeSettings | None, is_holiday: HolidayCheck) -> Quote:
    """What of a late title no invoice has charged yet, as of a day, by its contract's terms."""

    def quote(
        title: Title, contract: Contract | None, mark: str, today: date, charges: Sequence[Charge]
    ) -> tuple[int, str] | None:
        if settings is None or mark or title.cancelled:
            return None
        closed = with_local(is_holiday, settings)
        terms = terms_of(contract, settings)
        if terms.mode is not Mode.NEXT_INVOICE or (settings.due_from is not None and title.due < settings.due_from):
            return None
        if (month := charged_before(title.nCodTitulo, charges).doubtful) is not None:
            return (0, f"Não se sabe se a cobrança de {month} já levou os encargos: confira no Omie.")
        try:
            fee, too_much = reckon(title, terms, charges, known_through(today, settings, closed), closed)
        except LateFeeRefused as refused:
            return (0, f"Encargos não calculados: {refused}.")
        return (fee.total, fee.proof) if fee.total else (0, too_much) if too_much else None

    return quote


# ---- who collects


def collected_twice(settings: CompanySettings, accounts: Iterable[Mapping[str, Any]]) -> str:
    """Why the plan must stop: the bank collects on the boleto what our bill would collect again. Empty: it does not."""
    if settings.late_fee is None or settings.late_fee.mode != "next_invoice":
        return ""
    for account in accounts:
        if of(account.get("nCodCC")).strip() != str(settings.omie.nCodCC):
            continue
        fine, interest = (Decimal(of(account.get(name) or 0)) for name in ("per_multa", "per_juros"))
        if fine or interest:
            said = f"multa de {_percent(fine)} e juros de {_percent(interest)} ao mês"
            return (
                f"Os boletos da conta {settings.omie.nCodCC} já cobram {said} (Omie > Finanças > Contas Correntes > "
                "Boletos de Cobrança), e a configuração manda cobrar os encargos também na próxima fatura: o cliente "
                "pagaria duas vezes. Escolha um: zere os percentuais na conta do Omie, ou escreva "
                'mode = "boleto" em late_fee desta empresa. Depois, rode o mês de novo.'
            )
    return ""


def _percent(percent: Decimal) -> str:
    return f"{percent.normalize():f}%".replace(".", ",")
