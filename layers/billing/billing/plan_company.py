"""One company's plan: both sides read in bulk, one line per contract, to the cent, before anything is billed.

    Jestor's rows (to a file), what Omie has billed, Omie's contracts (compact), customers of the contracts to create
        -> plan.jsonl, its hash, batches-0.jsonl, and the decision:
        bill | approval | settle (nothing to send, but something in doubt or to compare) | nothing | preview

Jestor's rows wait in a temporary file and Omie's contracts as small tuples, so that memory grows by less than 1 KB a
contract. What cannot be read whole, on either side, refuses the plan: no plan is better than a plan of a part.
"""

import contextlib
import json
import pickle
import tempfile
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

from billing import prorated
from billing.answers import page_question
from billing.batches import write_batches
from billing.clock import Clock
from billing.domain.addition import total
from billing.domain.calendar import HolidayCheck
from billing.domain.charge import (
    MONTHLY,
    UNDECIDED,
    Charge,
    ChargeKey,
    State,
    is_parked_by_a_read,
    was_sent,
)
from billing.domain.contract import BadRow, Contract, ContractStatus, normalise_document
from billing.domain.list_lag import ListLag
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.number import whole
from billing.domain.plan import (
    Action,
    LedgerView,
    OmieContract,
    PlanLine,
    PlanSummary,
    Previous,
    Reason,
    as_charged,
    check_guardrail,
    chunks,
    find_omie,
    plan_contract,
    plan_hash,
    shared_links,
    unlinked,
)
from billing.domain.reajuste import IndexTable, Rules, proposal
from billing.domain.sizes import REASON_LENGTH, shortened
from billing.doubt import Books, Order, keep_books_look
from billing.jestor.client import JestorClient, JestorError, with_drafts
from billing.jestor.field_map import check_fields, option_labels, to_contract
from billing.jestor.receivables import TableProblems
from billing.late_charges import NOTHING, LateTitles, Reckoned, Waivers, collected_twice, no_waivers, read_late_titles
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.omie.governor import is_pause
from billing.omie.replies import BLOCK_SECONDS, Blocked, IncompleteRead, KeyRefused, NotExecuted, OmieError
from billing.settings import CompanySettings, Settings
from billing.store.contracts import Remembered
from billing.store.objects import page_key, plan_key
from billing.store.ports import Charges, Contracts, Objects, Runs
from billing.store.secrets import SecretError
from billing.unreadable import DATA_ERRORS, note

CHUNK = 100
"""Rows planned at a time: one consistent read of the ledger each."""
_IN_MEMORY = 256 * 1024
"""Bytes of Omie's pages beyond which they wait in a file."""
_TOLD_BY_THE_LEDGER = frozenset({State.BILLED, State.PARKED, State.HELD})
"""Charges in these states say themselves what they amount to."""
VANISHED_SHARE, VANISHED_LEAST = 0.10, 5
"""More of last month's contracts than this gone from Jestor, by share and by number, is a question to a person."""


def bank_holiday(day: date) -> bool:
    from billing.holidays_br import is_bank_holiday  # noqa: PLC0415 - slow to import, and most plans never ask

    return is_bank_holiday(day)


class PlanRefused(Exception):  # noqa: N818
    """Nothing may be planned until a person has put something right: one Portuguese line a problem.

    The text is kept short: the run's state holds those of all companies.
    """

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text, 2 * REASON_LENGTH))


@dataclass(frozen=True)
class PlanDeps:
    settings: Settings
    jestor: Callable[[], JestorClient]
    omie: Callable[[str], OmieClient]
    ledger: Charges
    runs: Runs
    objects: Objects
    clock: Clock
    indices: Callable[[], IndexTable] = dict
    """The price indices that were imported, for the yearly adjustment."""
    waivers: Waivers = no_waivers
    contracts: Contracts | None = None
    """What is remembered of the living contracts; None: nothing is."""
    is_holiday: HolidayCheck = bank_holiday
    new_planning: Callable[[], str] = lambda: uuid.uuid4().hex[:12]
    """Names what one planning writes."""


@dataclass
class OmieIndex:
    """Omie's contracts, each held once: by our code where they carry it, else by nCodCtr."""

    by_code: dict[str, OmieContract] = field(default_factory=dict)
    by_id: dict[int, OmieContract] = field(default_factory=dict)
    code_of: dict[int, str] = field(default_factory=dict)
    """nCodCtr -> code, of linked contracts that a row names by number as well."""

    @classmethod
    def read(cls, contratos: Iterable[dict[str, Any]], named: Container[int], today: date) -> "OmieIndex":
        index = cls()
        for cadastro in contratos:
            found = mapping.compact(cadastro, on=today)
            if found.cCodIntCtr.startswith("JST-") and found.cCodIntCtr not in index.by_code:
                index.by_code[found.cCodIntCtr] = found
                if found.nCodCtr in named:
                    index.code_of[found.nCodCtr] = found.cCodIntCtr
            else:  # one without a number cannot be read: it is kept for the sake of its customer
                index.by_id[found.nCodCtr or -1 - len(index.by_id)] = found
        return index

    def find(self, row: Contract | BadRow) -> OmieContract | None:
        found = find_omie(row, self.by_code, self.by_id)
        if found is None and isinstance(row, Contract) and row.omie_id in self.code_of:
            return self.by_code[self.code_of[row.omie_id]]
        return found

    def number(self, row: Contract | BadRow) -> int | None:
        found = self.find(row)
        return found.nCodCtr if found else None


def plan_company(event: dict[str, Any], deps: PlanDeps) -> dict[str, Any]:
    """Plans `event["company"]` (see open_run's answer) and adds what BillBatches, Settle and CloseRun need to it.

    Raises:
        PlanRefused: also when Jestor, Omie or their secrets cannot be read.
    """
    try:
        return _plan(event, deps)
    except JestorError as error:
        raise PlanRefused(f"O Jestor não pôde ser lido; nada foi faturado nesta execução. {error}") from error
    except SecretError as error:
        raise PlanRefused(
            "Falta uma credencial no Secrets Manager, ou ela está errada; nada foi faturado nesta execução. Grave-a e "
            f"rode o mês de novo. ({error})"
        ) from error
    except OmieError as error:
        what, fix = _omie_unread(error)
        raise PlanRefused(f"{what}; nada foi faturado nesta execução. {fix} ({error})") from error


def _omie_unread(error: OmieError) -> tuple[str, str]:
    """What is the matter with Omie, and what to do."""
    again = "rode o mês de novo."
    match error:
        case KeyRefused():
            return "O Omie recusou a chave desta empresa", f"Confira o aplicativo no Omie e o segredo, e {again}"
        case Blocked():
            minutes = -(-int(error.retry_after or BLOCK_SECONDS) // 60)
            what = "O Omie bloqueou a chave desta empresa"
            if is_pause(error.text):
                what = "O Omie devolveu erros demais, e este sistema parou antes que ele bloqueasse a chave"
            return what, f"Daqui a {minutes} minuto{'s' if minutes > 1 else ''}, {again}"
        case IncompleteRead():
            return "A lista do Omie veio incompleta", f"Espere que ninguém esteja mexendo nos contratos e {again}"
        case NotExecuted(http_status=None):
            return "O Omie não respondeu", f"Confira se ele está no ar e o endereço em OMIE_BASE_URL, e {again}"
        case NotExecuted():
            return "O Omie não conseguiu responder", f"Costuma passar sozinho: daqui a alguns minutos, {again}"
    return "O Omie recusou a leitura", "Mostre este texto a quem mantém o sistema."


def _plan(event: dict[str, Any], deps: PlanDeps) -> dict[str, Any]:
    company: str = event["company"]
    month = BillingMonth.parse(event["month"])
    settings = deps.settings.companies[company]
    today = deps.clock.now().astimezone(SAO_PAULO).date()
    omie = deps.omie(company)

    with tempfile.TemporaryFile() as spool, SpooledTemporaryFile(_IN_MEMORY) as spooled:
        rows = _Rows(spool, deps, company)
        named = rows.read()
        books = Books(omie, month, deps.clock, ListLag(settings.list_lag_seconds))
        asked = _must_ask(books, deps.ledger, company)
        billed = books.orders() if asked else {}
        cancelled = books.all_cancelled() if asked else {}
        rivals = rows.rivals(named)
        pages = _Pages(spooled, settings.same_question_seconds)
        index = OmieIndex.read(omie.iter_contratos(pages.keep), named, today)
        customers, lacking = _customers(omie, rows, index) if settings.create_unknown else ({}, {})
        lookalikes = _lookalikes(customers, index, named)

        late, notes = _late_titles(company, month, today, omie, deps)
        rules, prices = settings.readjustment.rules(), deps.indices()
        generation = event["generation"] or f"preview-{event['execution'].rsplit(':', 1)[-1]}"
        key = plan_key(month, generation, company, deps.new_planning())
        summary = PlanSummary(settings.guardrail.limits())
        sides = _Sides(
            company,
            settings,
            month,
            today,
            index,
            billed,
            cancelled,
            customers,
            lookalikes,
            rivals,
            late,
            prices,
            rules,
            lacking,
        )
        still_here = unfinished = 0
        with deps.objects.plan_writer(key) as plan:
            for chunk in chunks(rows, CHUNK):
                codes = [row.code for row in chunk]
                this_month = _charges(deps.ledger, codes, month)
                last_month = _charges(deps.ledger, codes, month.previous())
                still_here += sum(charge.company == company and _is_billed(charge) for charge in last_month.values())
                unfinished += sum(charge.state in UNDECIDED or not charge.told for charge in this_month.values())
                held = deps.ledger.held_many(codes)
                shares = prorated.shares(_remembered(deps, codes), month, deps.ledger)
                charged = late.charges(deps.ledger, ((row.code, index.number(row)) for row in chunk)) if late else {}
                around = _Around(this_month, last_month, held, shares, charged)
                for row in chunk:
                    line = sides.line(row, around)
                    summary.add(line)
                    plan.write(line.to_json())
            vanished = _vanished(deps.ledger, company, month.previous(), still_here)
            if vanished and not summary.count:
                raise PlanRefused(
                    f"Não há nada a faturar, e {vanished} Confira o token do Jestor e rode o mês de novo."
                )
        if not event["preview"]:
            pages.hand_over(deps.objects, company, deps.clock.now().timestamp())

    digest = plan_hash(deps.objects.read_lines(key))
    reasons = [*check_guardrail(summary, summary.guardrail), *filter(None, [vanished])]
    decision = _decide(event, summary, unfinished, reasons)
    planned = event | {
        "plan": {"key": key, "hash": digest, "lines": plan.lines} | summary.to_dict(),
        "decision": decision,
        "reasons": reasons,
        "planned_at": deps.clock.now().isoformat(),
        "notes": [shortened(note) for note in (*notes, *(late.notes() if late else ()))],
    }
    return planned if event["preview"] else planned | _handed_over(planned, books, pages.page_of, deps)


def _handed_over(planned: dict[str, Any], books: Books, page_of: Mapping[int, int], deps: PlanDeps) -> dict[str, Any]:
    """What the batches need: their lines, the look at stage 20, and the plan that is valid from now on."""
    company, plan = planned["company"], planned["plan"]
    keep_books_look(deps.objects, company, books)
    lines = map(PlanLine.from_json, deps.objects.read_lines(plan["key"]))
    batches_file = write_batches(
        deps.objects,
        planned,
        lines,
        0,
        page_of=lambda line: page_of.get(line.nCodCtr or 0, 0),
        looked_at=books.looked_at,
    )
    count = plan["counts"][Action.BILL]
    deps.runs.put_plan(planned["run"], company, plan_hash=plan["hash"], plan_key=plan["key"], planned=count)
    return {"batches": batches_file}


class _Pages:
    """The pages of ListarContratos that were read within the last minute, for the batches: Omie shows a page once a
    minute, and a long list's first pages are older than that when the plan is ready.
    """

    def __init__(self, spool: IO[bytes], window: float) -> None:
        self._spool = spool
        self._window = window
        self.page_of: dict[int, int] = {}
        """nCodCtr -> the page on which it stood. Of a page that came in parts, being too big, nothing is known."""
        self._read: list[tuple[int, float, int]] = []
        """(page, when it was asked for, its place in the file)."""

    def keep(self, page: int, asked_at: float, contratos: list[dict[str, Any]]) -> None:
        content = zlib.compress(json.dumps({page_question(page): [asked_at, contratos]}, default=float).encode(), 1)
        self.page_of |= dict.fromkeys(map(mapping.contract_number, contratos), page)
        self._read.append((page, asked_at, self._spool.tell()))
        self._spool.write(len(content).to_bytes(4, "big") + content)

    def hand_over(self, objects: Objects, company: str, now: float) -> None:
        for page, asked_at, place in self._read:
            if now - asked_at < self._window:
                self._spool.seek(place)
                content = self._spool.read(int.from_bytes(self._spool.read(4), "big"))
                objects.put_text(page_key(company, page), zlib.decompress(content).decode(), "application/json")


def _must_ask(books: Books, ledger: Charges, company: str) -> bool:
    """Whether ListarOS is asked for the month's orders: nothing else proves that a contract was billed.

    Not where stage 30 is empty and no call of ours billed in the month: an empty list is an error that counts. After
    such a call it is: a contract whose order was cancelled leaves stage 30.
    """
    if books.month > BillingMonth.of(books.clock.now()):
        return False
    if books.month < BillingMonth.of(books.clock.now()):
        return True
    books.to_bill()
    return not books.none_billed() or any(map(was_sent, ledger.by_month(company, books.month)))


class _Register(NamedTuple):
    """One of the customers that Omie has under a document; `active`: not marked as no longer used."""

    nCodCli: int
    active: bool


class _Around(NamedTuple):
    """What the ledger and the memory of living contracts say of a chunk of rows, by the contracts' codes."""

    this_month: dict[str, Charge]
    last_month: dict[str, Charge]
    held: Container[str]
    shares: Mapping[str, Reckoned]
    charged: dict[str, list[Charge]]


@dataclass(frozen=True)
class _Sides:
    """What was read of both sides before the first row is planned."""

    company: str
    settings: CompanySettings
    month: BillingMonth
    today: date
    index: OmieIndex
    billed: Container[int]
    cancelled: Mapping[int, Order]
    customers: Mapping[str, Sequence[_Register]]
    lookalikes: Mapping[int, Sequence[OmieContract]]
    rivals: Mapping[int, Sequence[str]]
    late: LateTitles | None
    prices: IndexTable
    rules: Rules
    lacking: Mapping[int, list[str]]

    def line(self, row: Contract | BadRow, around: _Around) -> PlanLine:
        """The row's line; of one whose planning fails, a line that parks it and says so. No other row is touched."""
        try:
            line = self._planned(row, around)
            line.to_json().encode()
        except DATA_ERRORS as error:
            line = self._unread(row, around, note(f"planning {row.code}", error))
        return _as_told(line, around.this_month.get(row.code))

    def _planned(self, row: Contract | BadRow, around: _Around) -> PlanLine:
        code, index = row.code, self.index
        found = index.find(row)
        extras = (
            _fees(self.late, row, index.number(row), around.charged, around.this_month.get(code)),
            around.shares.get(code, NOTHING),
        )
        registers = self.customers.get(_document(row), ()) if found is None else ()
        active = [each.nCodCli for each in registers if each.active] or [each.nCodCli for each in registers]
        due = self.month.day(self.settings.billing_day)
        cancelled = self.cancelled.get(found.nCodCtr) if found is not None else None
        line = plan_contract(
            row,
            month=self.month,
            today=self.today,
            policy=self.settings.policy(self.company),
            omie=found,
            lookalikes=[one for each in registers for one in self.lookalikes.get(each.nCodCli, ())],
            registers=active,
            billed=found is not None and found.nCodCtr in self.billed,
            cancelled=cancelled.nCodOS if cancelled is not None else None,
            ledger=_ledger_view(around.this_month.get(code)),
            previous=_previous(around.last_month.get(code)),
            held=code in around.held,
            rivals=[c for c in self.rivals.get(found.nCodCtr, ()) if c != code] if found else (),
            additions=[addition for extra in extras for addition in extra.additions],
            warnings=[
                *_readjustment(row, due, self.prices, self.rules),
                *_refused_by_the_city(row, found, self.lacking),
                *(warning for extra in extras for warning in extra.warnings),
            ],
        )
        if line.customer is not None and active:
            line = replace(line, customer=line.customer | {"nCodCli": active[0]})
        return line

    def _unread(self, row: Contract | BadRow, around: _Around, kind: str) -> PlanLine:
        """Planned as a row that cannot be read: what the ledger and Omie say of its month still comes first."""
        bad = BadRow.unread(row.jestor_id, row.company or None, f"Contrato {row.jestor_id}", kind)
        found = self.index.find(row)
        return plan_contract(
            bad,
            month=self.month,
            today=self.today,
            policy=self.settings.policy(self.company),
            omie=found,
            billed=found is not None and found.nCodCtr in self.billed,
            ledger=_ledger_view(around.this_month.get(row.code)),
            previous=_previous(around.last_month.get(row.code)),
        )


def _late_titles(
    company: str, month: BillingMonth, today: date, omie: OmieClient, deps: PlanDeps
) -> tuple[LateTitles | None, list[str]]:
    """The titles whose late charges go on these bills, and what a person should know of them.

    Raises:
        PlanRefused: the bank collects the same charges on the boleto.
    """
    settings = deps.settings.companies[company]
    by_contract = deps.settings.jestor.contracts.fields.late_mode is not None
    if settings.late_fee is None or (settings.late_fee.mode != "next_invoice" and not by_contract):
        return None, []
    if twice := collected_twice(settings, omie.iter_contas_correntes()):
        raise PlanRefused(twice)
    try:
        marks = deps.waivers(company)
    except TableProblems as problems:  # whom a person spared cannot be told: nobody is charged, everybody billed
        return None, [f"Encargos por atraso não cobrados nesta execução: {problems}"]
    late = read_late_titles(
        company,
        settings.late_fee,
        month=month,
        today=today,
        omie=omie,
        ledger=deps.ledger,
        is_holiday=deps.is_holiday,
        marks=marks,
    )
    return late, []


def _fees(
    late: LateTitles | None,
    row: Contract | BadRow,
    nCodCtr: int | None,
    charged: dict[str, list[Charge]],
    now: Charge | None,
) -> Reckoned:
    """What a row's late titles add to its bill; nothing once that is billed: what it carried, it carried."""
    fees = late.of(row, nCodCtr, charged.get(row.code, ())) if late else NOTHING
    return NOTHING if now is not None and _is_billed(now) else fees


def _readjustment(row: Contract | BadRow, effective: date, prices: IndexTable, rules: Rules) -> list[str]:
    """The yearly adjustment that is due by then, with its proof. The plan only says so: a person applies it."""
    if not isinstance(row, Contract) or row.status is not ContractStatus.ACTIVE:
        return []
    found = proposal(
        row.readjust, start=row.start, unit_amount=row.unit_amount, effective=effective, table=prices, rules=rules
    )
    return [found.told] if found else []


def _vanished(ledger: Charges, company: str, last_month: BillingMonth, still_here: int) -> str:
    """A token that sees only some rows gets a consistent count of them: only the month before knows better."""
    billed = sum(map(_is_billed, ledger.by_month(company, last_month)))
    gone = billed - still_here
    if gone < VANISHED_LEAST or gone <= VANISHED_SHARE * billed:
        return ""
    return f"{gone} contratos faturados em {last_month} não estão mais no Jestor (token com filtro de linhas?)."


def _decide(event: dict[str, Any], summary: PlanSummary, unfinished: int, reasons: list[str]) -> str:
    if event["preview"]:
        return "preview"
    if not summary.count:
        billed = sum(summary.reasons[f"{Action.SKIP}/{why}"] for why in (Reason.BILLED_IN_OMIE, Reason.ALREADY_BILLED))
        return "settle" if unfinished or billed else "nothing"
    return "approval" if reasons else "bill"


class _Rows:
    """This company's contracts, spooled to a file in id order; may be iterated again and again."""

    def __init__(self, spool: IO[bytes], deps: PlanDeps, company: str) -> None:
        self._spool = spool
        self._deps = deps
        self._company = company

    def read(self) -> Counter[int]:
        """How many rows name each Omie contract, by nCodCtr.

        Raises:
            PlanRefused: the table no longer fits the field map.
            JestorError: rows are missing.
        """
        jestor = self._deps.jestor()
        settings = self._deps.settings
        table_map = settings.jestor.contracts
        company = settings.companies[self._company]
        properties = jestor.properties(table_map.table)
        problems = check_fields(properties, table_map, [company.jestor_label], company.omie.services)
        if problems:
            raise PlanRefused("\n".join(problems))
        options = option_labels(properties)
        takes_orphans = self._company == min(settings.companies)
        drafts = with_drafts(table_map.fields.draft)
        named: Counter[int] = Counter()
        for raw in jestor.iter_records(table_map.table, filters=[drafts], select=table_map.select):
            row = to_contract(raw, table_map, settings.company_by_label, options)
            if row.company == self._company or (not row.company and takes_orphans):
                pickle.dump(row, self._spool)
                if isinstance(row, Contract) and row.omie_id is not None:
                    named[row.omie_id] += 1
        return named

    def __iter__(self) -> Iterator[Contract | BadRow]:
        self._spool.seek(0)
        with contextlib.suppress(EOFError):
            while True:
                yield pickle.load(self._spool)  # noqa: S301 - this process wrote it a moment ago

    def rivals(self, named: Counter[int]) -> dict[int, tuple[str, ...]]:
        """nCodCtr -> the codes of the active rows that contest it."""
        if not any(times > 1 for times in named.values()):
            return {}
        return shared_links(row for row in self if isinstance(row, Contract) and named.get(row.omie_id or 0, 0) > 1)


def _document(row: Contract | BadRow) -> str:
    return row.customer.document if isinstance(row, Contract) else ""


def _refused_by_the_city(
    row: Contract | BadRow, found: OmieContract | None, lacking: Mapping[int, list[str]]
) -> list[str]:
    """What a city will refuse of the customer in Omie, of a contract that is to be billed."""
    bills = isinstance(row, Contract) and row.status is ContractStatus.ACTIVE
    return lacking.get(found.nCodCli, []) if bills and found else []


def _customers(
    omie: OmieClient, rows: _Rows, index: OmieIndex
) -> tuple[dict[str, list[_Register]], dict[int, list[str]]]:
    """Document -> every register of it in Omie, of the customers whose contract Omie does not know.

    Omie's customers are read for these alone; codigo_cliente_omie -> what is wrong with any of them comes along.
    """
    lacking: dict[int, list[str]] = {}
    wanted = {_document(row) for row in rows if index.find(row) is None} - {""}
    found: dict[str, list[_Register]] = {}
    if wanted:
        for cliente in omie.iter_clientes():
            try:
                if wrong := mapping.register_warnings(cliente):
                    lacking[whole(cliente.get("codigo_cliente_omie"))] = wrong
                document = normalise_document(str(cliente.get("cnpj_cpf") or ""))
                number = whole(cliente.get("codigo_cliente_omie")) if document in wanted else 0
            except DATA_ERRORS:
                continue
            if number:
                register = _Register(number, str(cliente.get("inativo") or "N") != "S")
                found.setdefault(document, []).append(register)
    return found, lacking


def _lookalikes(
    customers: Mapping[str, list[_Register]], index: OmieIndex, named: Counter[int]
) -> dict[int, list[OmieContract]]:
    """nCodCli -> its active contracts in Omie that belong to no row."""
    wanted = {register.nCodCli for registers in customers.values() for register in registers}
    found: dict[int, list[OmieContract]] = {}
    for contract in unlinked((c for c in index.by_id.values() if c.nCodCli in wanted), named):
        found.setdefault(contract.nCodCli, []).append(contract)
    return found


def _charges(ledger: Charges, codes: list[str], month: BillingMonth) -> dict[str, Charge]:
    found = ledger.get_many(ChargeKey(code, month) for code in codes)
    return {key.contract: charge for key, charge in found.items()}


def _ledger_view(charge: Charge | None) -> LedgerView | None:
    """A charge in doubt is planned like any other: nothing is sent until Settle has proved that it was not billed.

    So is one that was never claimed, and that only an earlier run's reading of Omie parked.
    """
    if charge is None or charge.state in UNDECIDED or is_parked_by_a_read(charge):
        return None
    return LedgerView(charge.state, charge.nCodOS, charge.reason, charge.reason_code)


def _is_billed(charge: Charge) -> bool:
    return charge.state is State.BILLED and charge.key.kind == MONTHLY


def _as_told(line: PlanLine, charge: Charge | None) -> PlanLine:
    if charge is None or charge.state not in _TOLD_BY_THE_LEDGER or is_parked_by_a_read(charge):
        return line
    return as_charged(line, charge)


def _previous(charge: Charge | None) -> Previous | None:
    if charge is None or not _is_billed(charge):
        return None
    return Previous(charge.amount, str(charge.key.month), total(charge.additions))


def _remembered(deps: PlanDeps, codes: list[str]) -> Iterable[Remembered]:
    return deps.contracts.get_many(codes).values() if deps.contracts is not None else ()
