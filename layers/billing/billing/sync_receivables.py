"""Omie's titles into Jestor's receivables table: who is late, how many days, what stage of dunning that is.

```
Omie's movements (bulk)  ─┐
the table's rows (bulk)  ─┼─▶  what each row must say  ──▶  only what differs is written, late titles first
contracts, ledger        ─┘
```
Level-triggered: each run reads both sides whole and closes the difference, so a run that was killed, came late or came
twice needs no repair. What does not fit into one invocation goes on in the next message of the company's queue group,
and the group lets one run at a time touch the table: that, and reading before creating, is why a title never gets a
second row although Jestor has no upsert. A `create` whose answer was lost is looked up; when it cannot be found, the
next run decides, from the list.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from billing.deliver_invoice import nfse_of, portal_link
from billing.domain.charge import Charge, ChargeKey
from billing.domain.contract import ITEM_PREFIX, Contract, contract_code
from billing.domain.invoice import NfseStatus, valid_nfse
from billing.domain.links import lasting
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.number import whole
from billing.domain.receivable import (
    RESOLVED,
    Dunning,
    Standing,
    Status,
    Title,
    TitleError,
    Values,
    assess,
    changes,
    row_values,
    titles,
)
from billing.domain.text import fold, writable
from billing.jestor.client import BadAnswer, JestorError, JestorRefused, JestorUnavailable, equals, with_drafts
from billing.jestor.field_map import option_labels, to_contract
from billing.jestor.receivables import ReceivableRow, read_rows, to_fields
from billing.late_charges import Quote, charged_before
from billing.unreadable import DATA_ERRORS, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from billing.clock import Clock
    from billing.domain.calendar import HolidayCheck
    from billing.jestor.client import JestorClient
    from billing.omie.client import OmieClient
    from billing.settings import ReceivablesTable, Settings
    from billing.store.ports import Charges, Messages

MAX_WRITES: Final = 1500
"""Of one invocation; the rest waits for the next."""
PAUSE: Final = 0.2
"""Seconds between two writes: Jestor documents no limit, and every write may run the table's automations."""
STOP_BEFORE_TIMEOUT: Final = 90.0
"""Seconds kept back for one last call with its retries."""
MAX_LOOKUPS: Final = 100
"""Titles asked for one by one in a run: those no list has any more, and as many for the page of their invoice."""
MAX_GONE: Final = 1
"""Titles found to be deleted in a sync, in its first round: Omie answers such a question with an error, and two errors
of a method stop all readers (billing.omie.governor)."""
MAX_REFUSED: Final = 20
"""Rows that Jestor refuses before the run gives up: the table, not the rows, is the trouble then."""
OLDEST, LATEST = date(2000, 1, 1), date(2099, 12, 31)

MAX_ROUNDS: Final = 100
"""A stop for a table that never comes to rest: 150,000 writes."""


@dataclass(frozen=True)
class ReceivablesDeps:
    settings: Settings
    jestor: Callable[[], JestorClient]
    omie: Callable[[str], OmieClient]
    ledger: Charges
    queues: Messages
    queue_url: str
    clock: Clock
    is_holiday: HolidayCheck
    quote: Callable[[str], Quote] | None = None
    """Company -> how its late titles are charged."""


@dataclass
class Result:
    """Counts of one run; `left`: rows that differ and were not written, `refused`: Jestor said no.

    duplicates: rows beyond a title's first, which nobody touches. unmatched: titles of no known contract.
    unreadable: titles without a value or a due date.
    """

    company: str
    titles: int = 0
    overdue: int = 0
    added: int = 0
    updated: int = 0
    left: int = 0
    refused: int = 0
    duplicates: int = 0
    unmatched: int = 0
    unreadable: int = 0

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def ask(event: Mapping[str, Any], deps: ReceivablesDeps) -> dict[str, Any]:
    """One message per company into the queue: of `event["company"]`, else of every company.

    Raises:
        KeyError: a company that the settings do not know.
    """
    if deps.settings.jestor.receivables is None:
        return {"asked": []}
    wanted = [str(event["company"])] if event.get("company") else sorted(deps.settings.companies)
    for company in wanted:
        _ = deps.settings.companies[company]
        _send(company, 0, deps)
    return {"asked": wanted}


def take(body: Mapping[str, Any], deps: ReceivablesDeps, *, seconds_left: float) -> dict[str, Any]:
    """One message {"company", "round"}: syncs, and asks for another round when something is left to write."""
    company = str(body["company"])
    if deps.settings.jestor.receivables is None or company not in deps.settings.companies:
        return {"company": company}  # the settings changed since it was asked for
    before = int(body.get("round") or 0)
    deadline = deps.clock.now().timestamp() + seconds_left
    result = sync_receivables(company, deps, deadline=deadline, first_round=before == 0)
    round_ = before + 1
    progress = result.added + result.updated > 0
    if result.left and round_ < MAX_ROUNDS and (progress or round_ < 3):
        _send(company, round_, deps)
    return result.to_dict()


def _send(company: str, round_: int, deps: ReceivablesDeps) -> None:
    dedup = f"{company}-{round_}-{deps.clock.now().timestamp():.3f}"
    deps.queues.send(deps.queue_url, {"company": company, "round": round_}, company, dedup)


def sync_receivables(company: str, deps: ReceivablesDeps, *, deadline: float, first_round: bool = True) -> Result:
    """Brings the company's rows to what Omie says, as far as time and MAX_WRITES go. `deadline`: epoch seconds.

    `first_round`: whether titles that no list has are looked up one by one; later rounds go on with what is written.

    Raises:
        OmieError, JestorError: a list could not be read whole, or Jestor is away: nothing further is written.
        TableProblems: the table does not fit the settings.
    """
    run = _Run(company, deps, deadline)
    run.read(look_up=first_round)
    run.write()
    return run.result


def read_titles(
    omie: OmieClient, table: ReceivablesTable, today: date, unreadable: Callable[[TitleError], object]
) -> dict[int, Title]:
    """nCodTitulo -> title: all due within the settings' window, and older ones that are late."""
    since = today - timedelta(days=table.look_back_days)
    ahead = today + timedelta(days=table.look_ahead_days)
    late: Iterable[dict[str, Any]] = ()
    if omie.has_title("ATRASADO"):  # all of them, not the older ones only: that list would mostly be empty
        late = omie.iter_movimentos(OLDEST, today - timedelta(days=1), cNatureza="R", cStatus="ATRASADO")
    elif not omie.has_title():
        return {}
    found = {title.nCodTitulo: title for title in titles(late, unreadable)}
    recent = titles(omie.iter_movimentos(since, ahead, cNatureza="R"), unreadable)
    return found | {title.nCodTitulo: title for title in recent}


@dataclass
class _Links:
    """Which contract of Jestor a title belongs to, by what each side knows of the other."""

    known: set[int] = field(default_factory=set)
    contracts: dict[int, Contract] = field(default_factory=dict)
    by_contract: dict[int, int] = field(default_factory=dict)
    by_order: dict[int, int] = field(default_factory=dict)

    def find(self, title: Title) -> int | None:
        """Jestor's id: by the order first, which was billed for exactly one contract."""
        return self.by_order.get(title.nCodOS) or self.by_contract.get(title.nCodCtr)


class _Run:
    def __init__(self, company: str, deps: ReceivablesDeps, deadline: float) -> None:
        table = deps.settings.jestor.receivables
        if table is None:
            raise ValueError("[jestor.receivables] is not in the settings")
        self.company = company
        self.deps = deps
        self.table = table
        self.deadline = deadline
        self.jestor = deps.jestor()
        self.omie = deps.omie(company)
        self.today = deps.clock.now().astimezone(SAO_PAULO).date()
        self.dunning = Dunning(table.stages, table.resolved_stage)
        self.quote = deps.quote(company) if deps.quote else None
        self.result = Result(company)
        self.titles: dict[int, Title] = {}
        self.rows: dict[int, ReceivableRow] = {}
        self.unread: set[int] = set()
        self.gone: list[ReceivableRow] = []
        self.links = _Links()
        self.names: dict[int, str] = {}
        self.charges: dict[int, list[Charge]] = {}
        """Of the contracts with late titles, by Jestor's id: what may have carried late charges."""
        self.pages = 0

    # ---- both sides

    def read(self, *, look_up: bool = True) -> None:
        self.titles = read_titles(self.omie, self.table, self.today, self._unreadable)
        for row in read_rows(self.jestor, self.deps.settings, self.company):
            if row.title in self.rows:
                self.result.duplicates += 1
            elif row.title:
                self.rows[row.title] = row
        if look_up:
            self._look_up_what_no_list_has()
        self._read_links()
        self._read_charges()
        self.result.titles, self.result.unreadable = len(self.titles), len(self.unread)

    def _unreadable(self, error: TitleError) -> None:
        self.unread.add(error.nCodTitulo)

    def _look_up_what_no_list_has(self) -> None:
        """Late ones that were paid long after their due date, and titles that were deleted in Omie."""
        labels = {fold(self.table.label[status]) for status in RESOLVED}
        missing = [row for row in self.rows.values() if row.title not in self.titles.keys() | self.unread]
        open_ones = [row for row in missing if row.company and fold(str(row.values.get("status"))) not in labels]
        first = self.today.toordinal() * MAX_LOOKUPS % max(1, len(open_ones))  # more than fit take turns by the day
        for row in (open_ones[first:] + open_ones[:first])[:MAX_LOOKUPS]:
            if len(self.gone) == MAX_GONE:
                break
            found = list(titles(self.omie.iter_movimentos(OLDEST, LATEST, nCodTitulo=row.title), self._unreadable))
            if found:
                self.titles[row.title] = found[0]
            elif row.title not in self.unread:
                self.gone.append(row)

    def _read_links(self) -> None:
        settings = self.deps.settings
        contracts = settings.jestor.contracts
        options = option_labels(self.jestor.properties(contracts.table))
        drafts = with_drafts(contracts.fields.draft)
        links = self.links
        named: Counter[int] = Counter()
        for raw in self.jestor.iter_records(contracts.table, filters=[drafts], select=contracts.select):
            row = to_contract(raw, contracts, settings.company_by_label, options)
            links.known.add(row.jestor_id)
            if isinstance(row, Contract):
                links.contracts[row.jestor_id] = row
                if row.omie_id and row.company in {"", self.company}:
                    named[row.omie_id] += 1
                    links.by_contract[row.omie_id] = row.jestor_id
        for contested in [number for number, times in named.items() if times > 1]:
            del links.by_contract[contested]
        self._read_ledger()
        new = [title for title in self._wanted() if links.find(title) is None and self._contract_of(title) is None]
        if any(title.nCodCtr for title in new):
            for cadastro in self.omie.iter_contratos():
                links.by_contract |= _linked_by_code(cadastro)
        if any(links.find(title) is None for title in new):
            for cliente in self.omie.iter_clientes():
                self.names |= _named(cliente)

    def _read_ledger(self) -> None:
        """What was billed says of an order, and of an Omie contract, whose it is."""
        month = BillingMonth.containing(self.today - timedelta(days=self.table.look_back_days)).previous()
        last = BillingMonth.containing(self.today)
        while month <= last:
            for charge in self.deps.ledger.by_month(self.company, month):
                number = charge.key.contract.removeprefix(ITEM_PREFIX)
                if number.isdecimal():
                    if charge.nCodOS:
                        self.links.by_order[charge.nCodOS] = int(number)
                    if charge.nCodCtr:
                        self.links.by_contract.setdefault(charge.nCodCtr, int(number))
            month = month.next()

    def _read_charges(self) -> None:
        """What may have charged for the delay of a late title, read of its contract as far back as is charged for."""
        late_fee = self.deps.settings.companies[self.company].late_fee
        if self.quote is None or late_fee is None:
            return
        late = [title for title, standing in self._work() if standing.delay_days]
        numbers = {self._contract_of(title) or self.links.find(title) for title in late}
        month = BillingMonth.containing(self.today - timedelta(days=late_fee.lookback_days)).previous()
        months = []
        while month <= BillingMonth.containing(self.today):
            months.append(month)
            month = month.next()
        keys = (ChargeKey(contract_code(number), month) for number in sorted(filter(None, numbers)) for month in months)
        for charge in self.deps.ledger.iter_many(keys):
            self.charges.setdefault(int(charge.key.contract.removeprefix(ITEM_PREFIX)), []).append(charge)

    def _contract_of(self, title: Title) -> int | None:
        row = self.rows.get(title.nCodTitulo)
        known = row.values.get("contract") if row else None
        return known if isinstance(known, int) else None

    def _wanted(self) -> list[Title]:
        """The titles that have a row or must get one: one settled before we ever saw it is history."""
        return [
            title
            for title in self.titles.values()
            if title.nCodTitulo in self.rows or title.open or (not title.cancelled and title.due >= self._since())
        ]

    def _since(self) -> date:
        return self.today - timedelta(days=self.table.look_back_days)

    def seen(self) -> Iterator[Seen]:
        for title, standing, row, values in self._valued(self._work()):
            yield Seen(
                title=title,
                standing=standing,
                contract=self._contract_of(title) or self.links.find(title),
                customer=str((row.values.get("customer") if row else None) or values["customer"] or ""),
                mark=str(row.mark or "") if row else "",
                charges=int(values.get("charges") or 0),
                charges_billed=int(values.get("charges_billed") or 0),
                proof=str(values.get("proof") or ""),
            )

    # ---- what is to be written

    def write(self) -> None:
        work = list(self._work())
        self.result.overdue = sum(standing.status is Status.LATE for _, standing in work)
        self.result.unmatched = sum(
            self.links.find(title) is None and self._contract_of(title) is None for title, _ in work
        )
        work.sort(key=lambda pair: (pair[1].status is not Status.LATE, pair[0].nCodTitulo))
        for title, _, row, wanted in self._valued(work):
            todo = changes(wanted, row.values if row else {})
            if not self._mapped(todo):
                continue
            if not self._may_write():
                self.result.left += 1
            elif row is None:
                self._create(title, {word: value for word, value in wanted.items() if value is not None})
            else:
                self._update(row, todo)
        for row in self.gone:
            self._write_gone(row)

    def _work(self) -> Iterator[tuple[Title, Standing]]:
        """Each title with how it stands today, of those whose numbers can be reckoned with."""
        for title in self._wanted():
            try:
                standing = self._standing(title)
            except DATA_ERRORS as error:
                self._left_out(title, error)
            else:
                yield title, standing

    def _valued(
        self, work: Iterable[tuple[Title, Standing]]
    ) -> Iterator[tuple[Title, Standing, ReceivableRow | None, Values]]:
        """With each title its row in Jestor and what that is to hold; without those that cannot be computed."""
        for title, standing in work:
            row = self.rows.get(title.nCodTitulo)
            try:
                values = self._values(title, standing, row)
            except DATA_ERRORS as error:
                self._left_out(title, error)
            else:
                yield title, standing, row, values

    def _left_out(self, title: Title, error: BaseException) -> None:
        note(f"title {title.nCodTitulo}", error)
        self.unread.add(title.nCodTitulo)
        self.result.unreadable = len(self.unread)

    def _standing(self, title: Title) -> Standing:
        row = self.rows.get(title.nCodTitulo)
        stage = str(row.values.get("stage") or "") if row else ""
        mark = row.mark if row else None
        return assess(title, self.today, self.deps.is_holiday, self.dunning, mark=mark, stage=stage)

    def _values(self, title: Title, standing: Standing, row: ReceivableRow | None) -> Values:
        number = self._contract_of(title) or self.links.find(title)
        contract = self.links.contracts.get(number or 0)
        customer = contract.customer.name if contract else self.names.get(title.nCodCliente)
        values = row_values(title, standing)
        values["status"] = self.table.label[standing.status]
        values["company"] = self.deps.settings.companies[self.company].jestor_label
        values["contract"] = number if number in self.links.known else None
        values["customer"] = customer or None
        values["name"] = " - ".join(filter(None, [title.document or f"Título {title.nCodTitulo}", customer]))
        values["boleto_link"] = self._boleto_link(title, standing, row) or None
        if self.quote is not None:
            mark = str(row.mark or "") if row else ""
            charges = self.charges.get(number or 0, [])
            quoted = self.quote(title, contract, mark, self.today, charges) if standing.delay_days else None
            values["charges"], values["proof"] = quoted or (None, None)
            before = charged_before(title.nCodTitulo, charges)
            values["charges_billed"] = before.fine + before.interest or None
        return values

    def _boleto_link(self, title: Title, standing: Standing, row: ReceivableRow | None) -> str:
        """The page of a late title's invoice, which has its boleto and lasts. Asked for once: no list has it.

        A title that no order made has no such page, and the address of a boleto alone ends after a day.
        """
        known = lasting(str((row.values.get("boleto_link") if row is not None else "") or ""))
        wanted = self.table.fields.boleto_link is not None and standing.status is Status.LATE and title.nCodOS
        if known or not wanted or self.pages >= MAX_LOOKUPS or not self._may_write():
            return known
        self.pages += 1
        nfse = valid_nfse(map(nfse_of, self.omie.nfses_da_os(nCodOS=title.nCodOS)))
        return portal_link(self.omie.obter_nfse(nfse.nCodNF)) if nfse.status is NfseStatus.ISSUED else ""

    def _mapped(self, values: Values) -> bool:
        return any(getattr(self.table.fields, word) is not None for word in values)

    # ---- the writes

    def _may_write(self) -> bool:
        left = self.deadline - self.deps.clock.now().timestamp()
        return self.result.added + self.result.updated < MAX_WRITES and left > STOP_BEFORE_TIMEOUT

    def _create(self, title: Title, values: Values) -> None:
        try:
            self.jestor.create(self.table.table, to_fields(values, self.table))
        except JestorRefused as error:
            self._refused(error)
            return
        except (JestorUnavailable, BadAnswer):
            if not self._is_there(title.nCodTitulo):
                self.result.left += 1  # it may still come to be: only the next list can tell
                return
        self.result.added += 1
        self.deps.clock.sleep(PAUSE)

    def _is_there(self, number: int) -> bool:
        fields = self.table.fields
        filters = [equals(fields.title, number), with_drafts(fields.draft)]
        found = self.jestor.list_page(self.table.table, page=1, size=2, filters=filters, select=[fields.title]).items
        return any(str(row.get(fields.title)) == str(number) for row in found)

    def _update(self, row: ReceivableRow, values: Values) -> None:
        try:
            self.jestor.update(self.table.table, row.jestor_id, to_fields(values, self.table))
        except JestorRefused as error:
            self._refused(error)
            return
        self.result.updated += 1
        self.deps.clock.sleep(PAUSE)

    def _write_gone(self, row: ReceivableRow) -> None:
        """Omie has the title no more: it was deleted there."""
        stage = self.table.resolved_stage if row.values.get("stage") else None
        wanted: Values = {
            "status": self.table.label[Status.CANCELLED],
            "open_amount": 0,
            "delay_days": 0,
            "stage": stage,
            "charges": None,
            "proof": None,
        }
        todo = changes(wanted, row.values)
        if self._may_write():
            self._update(row, todo)
        else:
            self.result.left += 1

    def _refused(self, error: JestorError) -> None:
        """One row may be odd; many mean that the table is."""
        self.result.refused += 1
        if self.result.refused > MAX_REFUSED:
            raise error


def _linked_by_code(cadastro: dict[str, Any]) -> dict[int, int]:
    """nCodCtr -> Jestor's id, of a contract that carries our code; nothing of any other, or of one that is not read."""
    try:
        head = cadastro["cabecalho"]
        code = str(head.get("cCodIntCtr") or "").strip()
        return {whole(head["nCodCtr"]): whole(code.removeprefix(ITEM_PREFIX))} if code.startswith(ITEM_PREFIX) else {}
    except DATA_ERRORS:
        return {}


def _named(cliente: dict[str, Any]) -> dict[int, str]:
    """codigo_cliente_omie -> name; nothing of a customer that is not read."""
    try:
        return {whole(cliente["codigo_cliente_omie"]): writable(str(cliente.get("razao_social") or "")).strip()}
    except DATA_ERRORS:
        return {}


@dataclass(frozen=True, slots=True)
class Seen:
    """A title as its row shows it. `contract`: Jestor's id; `mark`: a person's, or "".

    `charges`: centavos of fine and interest that no invoice has charged yet; `charges_billed`: that invoices have.
    """

    title: Title
    standing: Standing
    contract: int | None
    customer: str
    mark: str
    charges: int
    charges_billed: int
    proof: str


def look(company: str, deps: ReceivablesDeps) -> list[Seen]:
    """The company's titles as the next sync would show them, the oldest first. Reads both sides, writes nothing."""
    run = _Run(company, deps, deadline=0.0)
    run.read(look_up=False)
    return sorted(run.seen(), key=lambda seen: (seen.title.due, seen.title.nCodTitulo))
