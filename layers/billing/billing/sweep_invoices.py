"""Finds the invoices of which no webhook spoke, and asks for each to be looked at.

Omie has no webhook at all for a note that the city refused, and any other may be lost. So, a few times a day, the
billed charges of the last two months are held against Omie's own lists, read in bulk: NFS-e by day of issue, titles
by day of issue. Where what Jestor was told differs from them, one hint goes to InvoiceEventsQueue, as a webhook's
would; nothing is asked of Omie per charge.

What a person must put right goes into the month's report of invoices (S3 `reports/<month>/faturas.json`, shown by
`billing-ops invoices`), and what is new in it is told by e-mail. On its way, once a day, it notes which phones several
customers have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from billing.deliver_invoice import SHARED_PHONES, nfse_of, padded
from billing.domain.charge import State
from billing.domain.invoice import TO_SEND, InvoiceState, Nfse, NfseStatus, valid_nfse
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.number import whole
from billing.jestor.client import JestorError
from billing.jestor.field_map import contact
from billing.omie.mapping import parse_date
from billing.omie.replies import OmieError
from billing.phone import shared_marks
from billing.store.documents import Document, document_key
from billing.store.objects import ObjectMissing
from billing.unreadable import DATA_ERRORS, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from billing.clock import Clock
    from billing.domain.charge import Charge
    from billing.jestor.client import JestorClient
    from billing.notify import Notifier
    from billing.omie.client import OmieClient
    from billing.settings import Settings
    from billing.store.ports import Charges, Documents, Messages, Objects

MOST_HINTS: Final = 5000
"""Of one sweep and company: sending them takes about a minute. The next sweep asks for the rest."""
_FIRST_YEAR: Final = 2000
LOOK_AGAIN_AFTER: Final = timedelta(days=1)
"""At a note still refused: the city may give another reason by now."""


@dataclass(frozen=True)
class InvoiceSweepDeps:
    settings: Settings
    ledger: Charges
    documents: Documents
    objects: Objects
    queues: Messages
    omie: Callable[[str], OmieClient]
    jestor: Callable[[], JestorClient]
    clock: Clock
    notifier: Notifier
    invoice_events_url: str


class SweepFailed(RuntimeError):  # noqa: N818 - what happened
    """Some companies could not be read; the others were swept."""


class Titles(NamedTuple):
    """nCodOS of the orders that have a title, and of those whose titles have a boleto."""

    all: frozenset[int] = frozenset()
    with_boleto: frozenset[int] = frozenset()


def sweep_invoices(event: Mapping[str, Any], deps: InvoiceSweepDeps) -> dict[str, Any]:
    """{"company": key or null} -> {"companies": {company: {"billed", "told", "hints", "left"}}}.

    Raises:
        SweepFailed: after all others were swept.
    """
    _note_shared_phones(deps)
    wanted = [str(event["company"])] if event.get("company") else sorted(deps.settings.companies)
    swept: dict[str, dict[str, int]] = {}
    failed: list[str] = []
    for company in wanted:
        problems: dict[str, dict[str, str]] = {}
        try:
            swept[company] = _sweep(company, deps, problems)
        except OmieError as error:
            failed.append(f"{company}: {error.method} {error.rule}")
        else:
            for month, found in problems.items():
                _report(company, month, found, deps)
    if failed:
        raise SweepFailed("; ".join(failed))
    return {"companies": swept}


def report_key(month: object) -> str:
    """Where a month's invoices that wait for a person are: {company: {contract: what to do}}."""
    return f"reports/{month}/faturas.json"


def _report(company: str, month: str, problems: dict[str, str], deps: InvoiceSweepDeps) -> None:
    """Keeps what a person must put right, and tells of what is new; of nothing, when nothing has changed."""
    try:
        report = deps.objects.get_json(report_key(month))
    except ObjectMissing:
        report = {}
    before = report.get(company, {})
    if problems == before:
        return
    deps.objects.put_json(report_key(month), report | {company: problems})
    if new := sorted(contract for contract in problems if problems[contract] != before.get(contract)):
        name = deps.settings.companies[company].name
        shown = ", ".join(new[:20]) + (f" e outros {len(new) - 20}" if len(new) > 20 else "")
        deps.notifier.send(
            f"{name}: faturas de {month} esperam uma pessoa",
            f"{len(new)} de {name}: {shown}.\nO motivo e o que corrigir, de cada uma: "
            f"billing-ops invoices --month {month} --company {company} --missing",
        )


def _sweep(company: str, deps: InvoiceSweepDeps, problems: dict[str, dict[str, str]]) -> dict[str, int]:
    """`problems` is filled: month -> contract -> what a person must do."""
    now = deps.clock.now()
    today = now.astimezone(SAO_PAULO).date()
    month = BillingMonth.containing(today)
    charges = [
        charge for each in (month.previous(), month) for charge in deps.ledger.by_month(company, each, {State.BILLED})
    ]
    counts = {"billed": len(charges), "told": 0, "hints": 0, "left": 0}
    if not charges:
        return counts
    problems.update({str(charge.key.month): {} for charge in charges})
    books = _Books(deps.omie(company), month.previous().first_day, today)
    keys = {charge.key: books.order_of(charge) for charge in charges}
    documents = deps.documents.get_many(document_key(company, order) for order in keys.values() if order)
    boleto_expected = deps.settings.companies[company].invoice.boleto == "expected"
    for charge in charges:
        order = keys[charge.key]
        if not order:
            continue
        document = documents.get(document_key(company, order), Document(""))
        counts["told"] += bool(document.told)
        if document.problem and document.told_state != InvoiceState.CANCELLED:
            problems[str(charge.key.month)][charge.key.contract] = document.problem
        try:
            needed = needs_a_look(books.nfse(order), document, books, order, now, boleto_expected=boleto_expected)
        except DATA_ERRORS as error:
            note(f"invoice of {charge.key.contract}", error)
            needed = True  # what is wrong with it shows when it is looked at by itself
        if not needed:
            continue
        if counts["hints"] == MOST_HINTS:
            counts["left"] += 1
            continue
        counts["hints"] += 1
        deps.queues.send(
            deps.invoice_events_url,
            {
                "company": company,
                "topic": "sweep",
                "nCodOS": order,
                "contract": charge.key.contract,
                "month": str(charge.key.month),
                "source": "sweep",
                "webhook": "",
                "received_at": now.isoformat(),
            },
            document_key(company, order),
            f"sweep-{company}-{order}-{now:%Y%m%d%H%M%S}",
        )
    return counts


def needs_a_look(
    nfse: Nfse, document: Document, books: _Books, order: int, now: datetime, *, boleto_expected: bool
) -> bool:
    """Whether Omie's lists say something that Jestor was not told."""
    match nfse.status:
        case NfseStatus.NOT_YET:
            return False
        case NfseStatus.CANCELLED:
            return document.told_state != InvoiceState.CANCELLED
        case NfseStatus.REJECTED:
            old = not document.looked_at or now - datetime.fromisoformat(document.looked_at) >= LOOK_AGAIN_AFTER
            return document.told_state != InvoiceState.REJECTED or old
    if document.told_state in TO_SEND and document.nCodNF == nfse.nCodNF:
        return boleto_expected and not document.told_boleto and order in books.titles.with_boleto
    return order in books.titles.all


class _Books:
    """A company's notes and titles between two days, each list read once and the titles only if they are asked for."""

    def __init__(self, omie: OmieClient, since: date, until: date) -> None:
        self._omie = omie
        self._days = since, until
        self._titles: Titles | None = None
        self._nfses: dict[int, list[Nfse]] = {}
        self._of_contract: dict[tuple[int, BillingMonth], set[int]] = {}
        self._numbered: dict[str, int] = {}
        for row in omie.listar_nfses(since, until):
            try:
                self._keep(row)
            except DATA_ERRORS as error:
                note("a note of ListarNFSEs", error)

    def _keep(self, row: Mapping[str, Any]) -> None:
        of = row.get("OrdemServico") or {}
        order, contract = whole(of.get("nCodigoOS") or 0), whole(of.get("nCodigoContrato") or 0)
        nfse, month = nfse_of(row), _month_of(row)
        self._nfses.setdefault(order, []).append(nfse)
        if number := padded(of.get("nNumeroOS")):
            self._numbered[number] = order
        if contract and month:
            self._of_contract.setdefault((contract, month), set()).add(order)

    def nfse(self, order: int) -> Nfse:
        return valid_nfse(self._nfses.get(order, ()))

    def order_of(self, charge: Charge) -> int | None:
        """Its own, or the only one that its contract's billing made in its month."""
        if charge.nCodOS or charge.nCodCtr is None:
            return charge.nCodOS
        orders = self._of_contract.get((charge.nCodCtr, charge.key.month), set())
        return next(iter(orders)) if len(orders) == 1 else None

    @property
    def titles(self) -> Titles:
        if self._titles is None:
            rows = [found for row in self._omie.iter_contas_receber(*self._days) if (found := self._slip(row))]
            slips = frozenset(order for order, boleto in rows if boleto)
            self._titles = Titles(frozenset(order for order, _ in rows), slips)
        return self._titles

    def _slip(self, row: Mapping[str, Any]) -> tuple[int, bool] | None:
        """(its order or 0, whether it has a boleto) of a title; None of one that is cancelled or cannot be read."""
        try:
            if row.get("status_titulo") == "CANCELADO":
                return None
            order = whole(row.get("nCodOS") or 0) or self._numbered.get(padded(row.get("numero_pedido")), 0)
            return order, (row.get("boleto") or {}).get("cGerado") == "S"
        except DATA_ERRORS as error:
            note("a title of ListarContasReceber", error)
            return None


def _month_of(row: Mapping[str, Any]) -> BillingMonth | None:
    """Of the RPS, which is made when the contract is billed; None when it names no day."""
    day = parse_date(str((row.get("RPS") or {}).get("cDataRPS") or "").strip())
    return BillingMonth.containing(day) if day is not None and day.year >= _FIRST_YEAR else None


def _note_shared_phones(deps: InvoiceSweepDeps) -> None:
    """Once a day. A reading that fails leaves yesterday's note."""
    today = str(deps.clock.now().astimezone(SAO_PAULO).date())
    try:
        if deps.objects.get_json(SHARED_PHONES)["day"] == today:
            return
    except ObjectMissing:
        pass
    try:
        marks = shared_marks(_phones(deps))
    except JestorError:
        return
    deps.objects.put_json(SHARED_PHONES, {"day": today, "marks": marks})


def _phones(deps: InvoiceSweepDeps) -> Iterator[tuple[str, str]]:
    table = deps.settings.jestor.contracts
    roots = {
        path.partition(".")[0]
        for path in (table.fields.document, table.fields.customer_name, table.fields.phone, table.fields.name)
        if path
    }
    for row in deps.jestor().iter_records(table.table, select=sorted(roots)):
        who = contact(row, table.fields)
        yield who.document, who.phone
