"""The daily sweep: what no webhook told. Reads both sides in bulk, and looks closer only at what is not as it was.

    Jestor, all rows ─┐
                      ├─ per company and contract: decide ─┬─ agrees, as last time      nothing
    Omie, all of it ──┘                                    ├─ agrees, or a new problem  remembered; problems reported
                                                           ├─ differs                   an order in the lane (or listed)
                                                           └─ stopped, or a stale hold  a hint for the churns

What was found is remembered by a digest of both sides, so a day without changes costs the two lists and nothing more.
It changes nothing itself: orders and hints look again before they act.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from billing.agree import FINAL, both_digest, customer_is_news, customer_told, place_after, row_digest
from billing.bill_batch import ALTERATION, CREATION
from billing.clock import Clock
from billing.domain.agree import Decision, Step, decide, stops
from billing.domain.charge import MONTHLY, UNDECIDED, Charge, ChargeKey, State
from billing.domain.contract import BadRow, Contract, ContractStatus
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.plan import OmieContract, chunks, shared_links
from billing.domain.register import Told
from billing.hints import Hint
from billing.jestor.client import JestorClient, JestorError, with_drafts
from billing.jestor.field_map import check_fields, option_labels, to_contract
from billing.omie.client import OmieClient
from billing.omie.replies import OmieError
from billing.plan_company import OmieIndex
from billing.prorated import still_owed
from billing.request_approval import Notifier
from billing.settings import Settings
from billing.store.contracts import Remembered
from billing.store.objects import report_key
from billing.store.ports import Charges, Contracts, Messages, Objects, Runs
from billing.store.runs import run_name
from billing.store.secrets import SecretError
from billing.unreadable import DATA_ERRORS, note

CHUNK: Final = 100
SHOWN: Final = 50
"""Lines of each kind in the short text."""

Row = Contract | BadRow


@dataclass(frozen=True)
class SweepUrls:
    churns: str
    omie_writes: str


@dataclass(frozen=True)
class SweepDeps:
    settings: Settings
    jestor: Callable[[], JestorClient]
    omie: Callable[[str], OmieClient]
    ledger: Charges
    runs: Runs
    contracts: Contracts
    objects: Objects
    queues: Messages
    notifier: Notifier
    clock: Clock
    urls: SweepUrls


@dataclass
class Found:
    """What one company's sweep found. Each entry {"contract", "nCodCtr", "what", "why"}; `why` is Portuguese."""

    contracts: int = 0
    agreed: int = 0
    ordered: list[dict[str, Any]] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    holds: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    known_problems: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""

    @property
    def news(self) -> int:
        return len(self.ordered) + len(self.listed) + len(self.holds) + len(self.problems) + bool(self.stopped)


def sweep_contracts(event: Mapping[str, Any], deps: SweepDeps) -> dict[str, Any]:
    """Sweeps `event["companies"]` (all, if it names none); `event["list"]`: changes nothing, whatever the settings say.

    Answers {"at", "companies": {company: counts}, "report": {"json", "text"}, "found"}.

    Raises:
        JestorError: Jestor cannot be read, or its table no longer fits the settings: nothing was looked at.
    """
    now = deps.clock.now()
    wanted = sorted(set(event.get("companies") or deps.settings.companies) & set(deps.settings.companies))
    source = str(event.get("source") or "sweep")
    rows = _rows(deps)
    by_company: dict[str, Found] = {}
    for company in wanted:
        sweep = _Sweep(company, rows, deps, source, lists=bool(event.get("list")))
        by_company[company] = sweep.run()
    name = f"sweep-{now.astimezone(SAO_PAULO):%Y%m%dT%H%M%S}"
    month = BillingMonth.of(now)
    keys = {"json": report_key(month, f"{name}.json"), "text": report_key(month, f"{name}.txt")}
    text = _text(by_company, deps.settings)
    details = {company: vars(found) for company, found in by_company.items()}
    deps.objects.put_json(keys["json"], {"at": now.isoformat(), "source": source, "companies": details})
    deps.objects.put_text(keys["text"], text)
    news = sum(found.news for found in by_company.values())
    if news:
        what = "1 diferença" if news == 1 else f"{news} diferenças"
        deps.notifier.send(f"Jestor e Omie: {what} na conferência diária", text)
    return {
        "at": now.isoformat(),
        "found": news,
        "companies": {company: _counts(found) for company, found in by_company.items()},
        "report": keys,
    }


def _rows(deps: SweepDeps) -> list[Row]:
    jestor, settings = deps.jestor(), deps.settings
    table_map = settings.jestor.contracts
    properties = jestor.properties(table_map.table)
    if problems := check_fields(properties, table_map):
        raise JestorError("; ".join(problems), table=table_map.table, fix="Nada foi conferido.")
    options = option_labels(properties)
    drafts = with_drafts(table_map.fields.draft)
    return [
        to_contract(raw, table_map, settings.company_by_label, options)
        for raw in jestor.iter_records(table_map.table, filters=[drafts], select=table_map.select)
    ]


class _Sweep:
    """One company."""

    def __init__(self, company: str, rows: list[Row], deps: SweepDeps, source: str, *, lists: bool) -> None:
        self.company = company
        self.rows = rows
        self.deps = deps
        self.source = source
        settings = deps.settings.companies[company]
        self.mends = settings.sweep == "mend" and not lists
        self.writes_nothing = lists
        self.churn = settings.churn.action
        self.policy = settings.policy(company)
        self.now = deps.clock.now()
        self.today = self.now.astimezone(SAO_PAULO).date()
        self.month = BillingMonth.containing(self.today)
        self.found = Found()

    def run(self) -> Found:
        """Whatever keeps a company from being read stops that company alone."""
        try:
            index = OmieIndex.read(self.deps.omie(self.company).iter_contratos(), _named(self.rows), self.today)
        except (OmieError, SecretError) as error:
            self.found.stopped = f"O Omie não pôde ser lido: {error}"
            return self.found
        run = self.deps.runs.get(run_name(self.month, f"{MONTHLY}#{self.company}"))
        run_open = run is not None and run.status == "open"
        rivals = shared_links(self.rows)
        for chunk in chunks(self._concerned(index), CHUNK):
            self._look_at(chunk, index, rivals, run_open=run_open)
        everybody = {row.code for row in self.rows}
        for code, omie in index.by_code.items():
            if code not in everybody:
                decision = decide(None, omie, policy=self.policy, today=self.today)
                if decision.problem:
                    self._problem(code, omie, decision, known=False)
        return self.found

    def _concerned(self, index: OmieIndex) -> Iterator[tuple[Row, OmieContract | None]]:
        """This company's rows, and those of others that have a contract here."""
        for row in self.rows:
            omie = index.find(row)
            if omie is not None or row.company == self.company:
                yield row, omie

    def _look_at(
        self,
        chunk: list[tuple[Row, OmieContract | None]],
        index: OmieIndex,
        rivals: Mapping[int, tuple[str, ...]],
        *,
        run_open: bool,
    ) -> None:
        codes = [row.code for row, _ in chunk]
        memories = self.deps.contracts.get_many(codes)
        kinds = (MONTHLY, CREATION, ALTERATION)
        charges = self.deps.ledger.get_many(ChargeKey(code, self.month, kind) for code in codes for kind in kinds)
        held = self.deps.ledger.held_many(codes)
        memories |= self._settled(memories)
        for row, shown in chunk:
            memory = memories.get(row.code) or Remembered(row.code)
            mine = [charges.get(ChargeKey(row.code, self.month, kind)) for kind in kinds]
            self.found.contracts += 1
            try:
                if self._hold(row, mine[0], held=row.code in held) or memory.doubt_until > self.now.timestamp():
                    continue
                omie = self._seen(row, shown, memory, index)
                others = rivals.get(omie.nCodCtr, ()) if omie else ()
                decision = self._decide(row, omie, memory, mine, others, run_open=run_open)
                self._judge(row, omie, decision, memory)
            except DATA_ERRORS as error:
                self._unread(row, shown, error)

    def _seen(self, row: Row, shown: OmieContract | None, memory: Remembered, index: OmieIndex) -> OmieContract | None:
        place = memory.place(self.company)
        if shown is None and isinstance(row, BadRow) and place is not None:
            return index.by_id.get(place.nCodCtr)  # the number it names cannot be read either
        return shown

    def _decide(
        self,
        row: Row,
        omie: OmieContract | None,
        memory: Remembered,
        charges: Sequence[Charge | None],
        others: Iterable[str],
        *,
        run_open: bool,
    ) -> Decision:
        """`charges`: this month's, the monthly one first. `others`: the codes of all rows that name the contract."""
        billed = charges[0] is not None and charges[0].state in FINAL
        undecided = any(charge is not None and charge.state in UNDECIDED for charge in charges)
        place = memory.place(self.company)
        return decide(
            row,
            omie,
            policy=self.policy,
            today=self.today,
            churn=self.churn,
            billed=billed,
            busy=undecided or (run_open and not billed),
            ours=place is not None and place.stopped,
            rivals=tuple(code for code in others if code != row.code),
        )

    def _unread(self, row: Row, omie: OmieContract | None, error: BaseException) -> None:
        """Said of this row alone; the sweep goes on with the next."""
        why = "; ".join(BadRow.unread(row.jestor_id, row.company, "", note(f"sweeping {row.code}", error)).problems)
        self.found.problems.append(_entry(row, omie, str(Step.TELL), f"{why[:1].upper()}{why[1:]}."))

    def _settled(self, memories: Mapping[str, Remembered]) -> dict[str, Remembered]:
        """What bills have carried meanwhile is crossed out. The plan asks the ledger: this keeps the item small."""
        found: dict[str, Remembered] = {}
        for code, left in still_owed(memories.values(), self.month, self.deps.ledger).items():
            if left is not None and left != memories[code].pending and not self.writes_nothing:
                kept = self.deps.contracts.put(replace(memories[code], pending=left))
                found |= {code: kept} if kept is not None else {}
        return found

    def _hold(self, row: Row, charge: Charge | None, *, held: bool) -> bool:
        """Whether a hold or its lack is the matter: that is the churns' business, and what comes after it too."""
        active = isinstance(row, Contract) and row.status is ContractStatus.ACTIVE and row.company == self.company
        charge_held = charge is not None and charge.state is State.HELD
        if not (active and (held or charge_held)):
            return False
        entry = _entry(row, None, "hold", "Retido, mas ativo no Jestor: a retenção será conferida e retirada.")
        self.found.holds.append(entry)
        if self.mends:
            self._hint(row)
        return True

    def _judge(self, row: Row, omie: OmieContract | None, decision: Decision, memory: Remembered) -> None:
        if omie is None:
            self.found.agreed += 1  # a plan will create it, or nobody expects it here
            return
        place = memory.place(self.company)
        known = place is not None and place.digest == both_digest(row, omie, decision)
        if decision.waits:
            self.found.waiting.append(_entry(row, omie, decision.waits, f"Vale a partir de {decision.month}."))
            if decision.waits == "date" and not known:
                self._remember(row, omie, decision, memory)
        elif decision.problem and not decision.writes:
            self._problem(row.code, omie, decision, known=known)
            if not known:
                self._remember(row, omie, decision, memory)
        elif decision.writes or self._customer_changed(row, memory) or memory.waits in {"run", "told"}:
            self._mend(row, omie, decision)
        else:
            self.found.agreed += 1
            if not known or memory.waits or Told.parse(memory.customer).filled is None:
                self._remember(row, omie, decision, memory)

    def _customer_changed(self, row: Row, memory: Remembered) -> bool:
        active = isinstance(row, Contract) and row.status is ContractStatus.ACTIVE and row.company == self.company
        return isinstance(row, Contract) and active and customer_is_news(row, memory)

    def _mend(self, row: Row, omie: OmieContract, decision: Decision) -> None:
        steps = " ".join(map(str, decision.steps)) or "customer"
        entry = _entry(row, omie, steps, "; ".join(decision.changes) or "cadastro do cliente")
        if not self.mends:
            self.found.listed.append(entry)
            return
        self.found.ordered.append(entry)
        if stops(row) and row.company == self.company:
            self._hint(row)  # its hold first, then the order
            return
        order = replace(self._as_hint(row), company=self.company)
        self.deps.queues.send(
            self.deps.urls.omie_writes,
            {"order": order.message()},
            self.company,
            f"sweep-{row.code}-{self.now:%Y%m%dT%H%M}",
        )

    def _problem(self, code: str, omie: OmieContract, decision: Decision, *, known: bool) -> None:
        entry = {"contract": code, "nCodCtr": omie.nCodCtr, "what": str(Step.TELL), "why": decision.problem}
        (self.found.known_problems if known else self.found.problems).append(entry)

    def _remember(self, row: Row, omie: OmieContract, decision: Decision, memory: Remembered) -> None:
        """Whoever is at work on the contract meanwhile knows better: then nothing is written."""
        if self.writes_nothing:
            return
        place = place_after(row, omie, decision, memory, self.company, wrote=False)
        new = replace(memory.with_place(self.company, place), waits=decision.waits)
        if isinstance(row, Contract) and row.company in {self.company, ""}:
            new = replace(new, row=row_digest(row))
            if decision.agrees and row.status is ContractStatus.ACTIVE:
                new = replace(new, customer=customer_told(row), amount=omie.own_total)
        self.deps.contracts.put(new)

    def _as_hint(self, row: Row) -> Hint:
        return Hint(row.code, row.jestor_id, source=self.source, received_at=self.now.isoformat())

    def _hint(self, row: Row) -> None:
        dedup = f"sweep-{row.code}-{self.now:%Y%m%dT%H%M}"
        self.deps.queues.send(self.deps.urls.churns, self._as_hint(row).message(), row.code, dedup)


def _named(rows: Iterable[Row]) -> set[int]:
    return {row.omie_id for row in rows if isinstance(row, Contract) and row.omie_id is not None}


def _entry(row: Row, omie: OmieContract | None, what: str, why: str) -> dict[str, Any]:
    return {"contract": row.code, "nCodCtr": omie.nCodCtr if omie else None, "what": what, "why": why}


def _counts(found: Found) -> dict[str, Any]:
    lists = {name: len(value) for name, value in vars(found).items() if isinstance(value, list)}
    return {"contracts": found.contracts, "agreed": found.agreed, "stopped": found.stopped} | lists


_TITLES: Final[Mapping[str, str]] = {
    "ordered": "Serão acertados no Omie",
    "listed": "Diferem (só listados, nada muda)",
    "holds": "Retenções a conferir",
    "waiting": "Esperam a sua vez",
    "problems": "Precisam de uma pessoa",
    "known_problems": "Já conhecidos, ainda sem solução",
}


def _text(by_company: Mapping[str, Found], settings: Settings) -> str:
    lines: list[str] = []
    for company, found in by_company.items():
        lines.append(f"{settings.companies[company].name}: {found.contracts} contratos, {found.agreed} conferem.")
        lines += [found.stopped] if found.stopped else []
        for name, title in _TITLES.items():
            entries = getattr(found, name)
            if entries:
                lines.append(f"{title}: {len(entries)}")
                lines += [f"  {entry['contract']}: {entry['why']}" for entry in entries[:SHOWN]]
                lines += [f"  ... e mais {len(entries) - SHOWN}"] if len(entries) > SHOWN else []
    return "\n".join(lines) + "\n"
