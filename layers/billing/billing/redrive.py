"""Takes contracts out of the dead-letter queue, and doubts out of the ledger, doing only what is safe.

The ledger decides; a message may be older than what it speaks of, come twice, or be missing. Nothing is sent to Omie
from here: what is released goes through a new run (plan, guardrail, claim). So it may be repeated any number of times.

    ledger                           of this month                       of a month that is over
    BILLED, HELD                     message deleted                     message deleted
    READY                            message deleted; a run is needed    PARKED as missed month
    SENDING, UNKNOWN, nothing        stays                               stays
    PARKED: transient, data, fiscal  READY, deleted; a run is needed     stays: never through the contract
    PARKED: in_doubt                 Omie is read: adopt|release|stays   Omie is read: adopt|stays
    PARKED: missed_month             stays                               stays
    PARKED: unknown                  stays; if asked for by its name     stays
                                     and in Omie's stage 20: READY
    a batch that SQS gave up         deleted once the ledger or a newer  what was never sent is PARKED as missed
                                     plan explains it; else a run        month, then deleted
    a body nobody can read           stays, is shown, is never sent      the same

What can never be done anything with here (unreadable, unknown to the ledger, parked in a month that is over) a person
may discard, one letter at a time: out of the queue, its words kept in S3.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, Self

from billing.bill_batch import CREATION
from billing.clock import Clock
from billing.domain.charge import MONTHLY, UNDECIDED, Charge, ChargeKey, Event, ParkClass, State, TransitionRefused
from billing.domain.list_lag import ListLag
from billing.domain.month import MIDNIGHT_MARGIN, SAO_PAULO, BillingMonth, may_send
from billing.domain.sizes import shortened
from billing.doubt import UNCLEAR_REASON, Books, Doubts, Resolution, Verdict, unclear_reason
from billing.omie.client import OmieClient
from billing.omie.governor import blocked
from billing.omie.replies import OUR_STOPS, Blocked, OmieError
from billing.order_names import LedgerOrders
from billing.parking import SAFE_ACTION, LostBatch, Malformed, Parked, class_of, read, tell
from billing.settings import Settings
from billing.store.objects import discarded_key
from billing.store.ports import Charges, Lanes, Letters, Messages, Objects, Runs, Tasks
from billing.store.queues import Letter

HIDDEN_SECONDS: Final = 900
"""How long a letter is out while it is worked on: no shorter than this function may run."""
STOP_BEFORE_TIMEOUT: Final = 60.0
MOST_ITEMS: Final = 2000
"""Of one answer, which may have 6 MB."""
PAUSE: Final = 0.05
"""Seconds after each change: at most twenty a second."""
MISSED: Final = "O mês desta cobrança terminou sem que ela fosse enviada."

Timing = Literal["open", "over", "closed"]
"""Of a billing month: may be sent now; is over; or neither (its last minutes, or still to come)."""


class BadRequest(ValueError):  # noqa: N818
    """What was asked for is not known here: one line, in Portuguese."""


@dataclass(frozen=True)
class RedriveDeps:
    settings: Settings
    ledger: Charges
    lanes: Lanes
    runs: Runs
    objects: Objects
    letters: Letters
    queues: Messages
    tasks: Tasks
    omie: Callable[[str], OmieClient]
    clock: Clock


@dataclass(frozen=True)
class Request:
    """`classes`, `companies` empty and `month` None mean all. `id` may be the beginning of a letter's."""

    action: str
    who: str = ""
    why: str = ""
    contract: str = ""
    id: str = ""
    classes: frozenset[ParkClass] = frozenset()
    companies: frozenset[str] = frozenset()
    month: BillingMonth | None = None
    dry_run: bool = False

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Self:
        """Raises BadRequest, MonthError."""
        try:
            classes = frozenset(map(ParkClass, event.get("classes") or ()))
        except ValueError:
            known = ", ".join(ParkClass)
            raise BadRequest(f"Classe desconhecida: {', '.join(event['classes'])}. As que existem: {known}.") from None
        return cls(
            action=str(event.get("action") or ""),
            who=str(event.get("who") or "operador"),
            why=str(event.get("why") or "").strip(),
            contract=str(event.get("contract") or ""),
            id=str(event.get("id") or ""),
            classes=classes,
            companies=frozenset(event.get("companies") or ()),
            month=BillingMonth.parse(event["month"]) if event.get("month") else None,
            dry_run=bool(event.get("dry_run")),
        )


def redrive(event: dict[str, Any], deps: RedriveDeps, *, deadline: float) -> dict[str, Any]:
    """Does `event["action"]`: list, show or discard (by `id`), redrive or resolve (of `month`), not_billed (of
    `contract`, with `who` and `why`). See `Request`.

    Answers {"action", "items": [...], "counts": {decision: n}, "runs": [{"company", "month"}], "refused": [{"company",
    "why"}], "waiting": letters in the queue, "more": whether to call again}. `deadline`: epoch seconds of its end.
    """
    request = Request.from_event(event)
    unknown = sorted(request.companies - deps.settings.companies.keys())
    if unknown:
        known = ", ".join(sorted(deps.settings.companies))
        raise BadRequest(f"Empresa desconhecida: {', '.join(unknown)}. As configuradas são: {known}.")
    work = _Work(request, deps, deadline - STOP_BEFORE_TIMEOUT)
    match request.action:
        case "list" | "show":
            work.look()
        case "redrive":
            work.redrive()
        case "resolve":
            work.resolve()
        case "discard":
            work.discard()
        case "not_billed":
            work.not_billed()
        case other:
            known = "list, show, redrive, resolve, discard, not_billed"
            raise BadRequest(f"Ação desconhecida: {other}. As que existem: {known}.")
    return work.answer()


# --- what may be done -------------------------------------------------------------------------------------------------


class Step(StrEnum):
    FORGET = "forget"
    FORGET_AND_RUN = "forget_and_run"
    RELEASE = "release"
    READ_OMIE = "read_omie"
    MISS = "miss"
    STAY = "stay"


class Decision(StrEnum):
    """What became of an item; `--dry-run` tells what would."""

    RELEASED = "released"
    ADOPTED = "adopted"
    DELETED = "deleted"
    PARKED = "parked"
    DISCARDED = "discarded"
    STAYS = "stays"


class Said(NamedTuple):
    step: Step
    why: str


_BY_STATE: Final = {
    State.BILLED: Said(Step.FORGET, "Já foi faturado."),
    State.HELD: Said(Step.FORGET, "Retido por cancelamento (churn): não será faturado."),
    State.SENDING: Said(Step.STAY, "Está sendo enviado, ou ficou em dúvida: billing-ops resolve."),
    State.UNKNOWN: Said(Step.STAY, "Está em dúvida: billing-ops resolve lê o Omie e decide."),
}
_NEVER_SEEN: Final = Said(Step.STAY, "O registro não conhece esta cobrança: confira o contrato no Omie. Não reenvie.")
_MONTH_OVER: Final = Said(Step.STAY, SAFE_ACTION[ParkClass.MISSED_MONTH])
_NOT_NOW: Final = Said(Step.STAY, "Nos últimos minutos do mês, ou antes dele, nada é liberado.")
_RELEASE: Final = Said(Step.RELEASE, "Volta a ser planejado e conferido na próxima execução.")
_READ: Final = Said(Step.READ_OMIE, "")


def next_step(charge: Charge | None, park_class: ParkClass, timing: Timing, *, asked: bool) -> Said:
    """The only safe step for a contract. `asked`: its class was asked for by name."""
    if charge is None:
        return _NEVER_SEEN
    if charge.state in _BY_STATE:
        return _BY_STATE[charge.state]
    if charge.state is State.READY:
        match timing:
            case "open":
                return Said(Step.FORGET_AND_RUN, "Já estava liberado: entra na próxima execução.")
            case "over":
                return Said(Step.MISS, MISSED)
        return _NOT_NOW
    match park_class:
        case ParkClass.IN_DOUBT:
            return _READ
        case ParkClass.MISSED_MONTH:
            return _MONTH_OVER
    if timing != "open":
        return _MONTH_OVER if timing == "over" else _NOT_NOW
    if park_class is ParkClass.UNKNOWN:
        ask = "Motivo desconhecido: leia o texto do Omie. Só com --class unknown, e se o Omie o mostra a faturar."
        return _READ if asked else Said(Step.STAY, ask)
    return _RELEASE


# --- the work --------------------------------------------------------------------------------------------------------


class _Work:
    def __init__(self, request: Request, deps: RedriveDeps, stop_at: float) -> None:
        self.request = request
        self.deps = deps
        self.stop_at = stop_at
        self.now = deps.clock.now()
        self.who = f"redrive {request.who}"
        self.items: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.runs: set[str] = set()
        self.refused: dict[str, str] = {}
        self.more = False
        self._out: dict[str, Letter] = {}
        self._doubts: dict[tuple[str, BillingMonth], Doubts] = {}

    def answer(self) -> dict[str, Any]:
        return {
            "action": self.request.action,
            "dry_run": self.request.dry_run,
            "items": self.items,
            "counts": dict(self.counts),
            "runs": [{"company": company, "month": str(BillingMonth.of(self.now))} for company in sorted(self.runs)],
            "refused": [{"company": company, "why": why} for company, why in sorted(self.refused.items())],
            "waiting": self.deps.letters.count(),
            "more": self.more,
        }

    # --- the three things asked for

    def look(self) -> None:
        with self._letters() as letters:
            seen = set()
            for letter in letters:
                matter = read(letter.body)
                seen |= {matter.key} if isinstance(matter, Parked) else set()
                if letter.id.startswith(self.request.id):
                    self._show(letter, matter)
        if not self.request.id:
            for _, charge in self._without_letter(seen):
                self._show(None, Parked(charge.key, charge.company, charge.amount))

    def redrive(self) -> None:
        with self._letters() as letters:
            seen = set()
            for letter in letters:
                matter = read(letter.body)
                seen |= {matter.key} if isinstance(matter, Parked) else set()
                if self._take(letter, matter) and not self.request.dry_run:
                    self.deps.letters.delete(letter)
                    del self._out[letter.id]
        for _, charge in self._without_letter(seen):
            self._take(None, Parked(charge.key, charge.company, charge.amount))

    def resolve(self) -> None:
        month = self.request.month or BillingMonth.of(self.now)
        if month > BillingMonth.of(self.now):
            raise BadRequest(f"A competência {month} ainda não começou: não há dúvida a resolver.")
        for company in sorted(self.request.companies or self.deps.settings.companies):
            for found in self.deps.ledger.by_month(company, month, UNDECIDED | {State.PARKED}):
                charge = self.deps.ledger.get(found.key)  # the index may be behind
                if charge is not None and _in_doubt(charge) and not self._out_of_time():
                    self._resolve(charge)

    def discard(self) -> None:
        """Takes the one letter of that id out, unless something can still be done about it; its words are kept."""
        if not self.request.id:
            raise BadRequest("Diga qual: o começo do id que a lista mostra.")
        with self._letters() as letters:
            found = [letter for letter in letters if letter.id.startswith(self.request.id)]
            if len(found) > 1:
                raise BadRequest(f"Há {len(found)} que começam com {self.request.id}. Escreva mais letras do id.")
            for letter in found:
                self._discard(letter)

    def not_billed(self) -> None:
        """A named person says that a charge adopted without an order was not billed: it is parked in doubt.

        From there the ordinary way reads Omie and decides. What names an order, or has one in Omie, stays billed.
        """
        if not (self.request.contract and self.request.why and self.request.who):
            raise BadRequest("Diga o contrato, quem afirma que não foi faturado e por quê.")
        month = self.request.month or BillingMonth.of(self.now)
        charge = self.deps.ledger.get(ChargeKey(self.request.contract, month))
        matter = Parked(ChargeKey(self.request.contract, month), charge.company if charge else "", 0)
        decision, why = self._deny(charge)
        self._note(None, matter, charge, decision, why)

    def _deny(self, charge: Charge | None) -> tuple[Decision, str]:
        if charge is None or charge.state is not State.BILLED:
            return Decision.STAYS, "Não está registrado como faturado neste mês: não há o que desfazer."
        if charge.nCodOS is not None:
            return (
                Decision.STAYS,
                f"Foi faturado pela OS {charge.nCodOS}: o registro não muda. Se não vale, cancele a OS no Omie.",
            )
        try:
            doubts = self._doubts_of(charge.company, charge.key.month)
            if doubts is None:
                return Decision.STAYS, self.refused[charge.company]
            order = doubts.books.order(charge.nCodCtr)
        except OmieError as error:
            return Decision.STAYS, self._cannot_read(charge.company, error)
        if order is not None:
            return Decision.STAYS, f"O Omie mostra a OS {order.nCodOS} deste mês: foi faturado."
        reason = f"{self.request.who} afirma que não foi faturado: {self.request.why}"
        if not self.request.dry_run:
            parked = self._apply(
                charge.key, Event.NOT_BILLED, reason, None, reason_code="in_doubt", reason=shortened(reason)
            )
            if parked is None:
                return Decision.STAYS, "Mudou neste instante: repita."
            tell(parked, self.deps.ledger, self.deps.queues)
        return Decision.PARKED, f"{reason}. billing-ops resolve lê o Omie e decide."

    def _discard(self, letter: Letter) -> None:
        matter = read(letter.body)
        charge = self.deps.ledger.get(matter.key) if isinstance(matter, Parked) else None
        if why := self._worth_keeping(matter, charge):
            self._note(letter, matter, charge, Decision.STAYS, why)
            return
        key = discarded_key(letter.id)
        if not self.request.dry_run:
            kept = {"body": letter.body, "sent_at": letter.sent_at.isoformat(), "who": self.request.who}
            self.deps.objects.put_json(key, kept | {"discarded_at": self.now.isoformat()})
            self.deps.letters.delete(letter)
            del self._out[letter.id]
        self._note(letter, matter, charge, Decision.DISCARDED, f"O que ela diz fica guardado em {key}.")

    def _worth_keeping(self, matter: Parked | LostBatch | Malformed, charge: Charge | None) -> str:
        """What can still be done, so that the letter stays; empty when nothing can."""
        match matter:
            case LostBatch():
                return (
                    "Um lote não se descarta: billing-ops dlq redrive o apaga quando o registro explicar cada contrato."
                )
            case Parked() if charge is not None and charge.state in UNDECIDED:
                return f"Está em dúvida: billing-ops resolve --month {matter.key.month} lê o Omie e decide."
            case Parked() if charge is not None and charge.state is State.READY:
                return "Foi liberado e não foi enviado: billing-ops dlq redrive ainda faz o que é seguro com ele."
            case Parked() if charge is not None and self._timing(matter.key.month) != "over":
                return "O mês ainda não terminou: corrija o que ela diz e libere com billing-ops dlq redrive."
        return ""

    # --- one thing at a time

    def _take(self, letter: Letter | None, matter: Parked | LostBatch | Malformed) -> bool:
        """Whether the letter has no more to say."""
        if isinstance(matter, LostBatch):
            return self._take_batch(letter, matter)
        if isinstance(matter, Malformed):
            if self._wanted(ParkClass.UNKNOWN, "", None):
                self._note(letter, matter, None, Decision.STAYS, f"{matter.why} Nunca é reenviada.")
            return False
        charge = self.deps.ledger.get(matter.key)
        if letter is None and (charge is None or charge.state is not State.PARKED):
            return False  # the index was behind
        park_class = _class(matter, charge)
        company = charge.company if charge else matter.company
        if not self._wanted(park_class, company, matter.key.month):
            return False
        asked = park_class in self.request.classes
        step, why = next_step(charge, park_class, self._timing(matter.key.month), asked=asked)
        if charge is None or company not in self.deps.settings.companies:
            self._note(letter, matter, charge, Decision.STAYS, why if charge is None else _no_such(company))
            return False
        decision, why = self._do(step, why, charge)
        self._note(letter, matter, charge, decision, why)
        return decision not in {Decision.STAYS, Decision.PARKED}

    def _do(self, step: Step, why: str, charge: Charge) -> tuple[Decision, str]:
        match step:
            case Step.FORGET:
                return Decision.DELETED, why
            case Step.FORGET_AND_RUN:
                self.runs.add(charge.company)
                return Decision.DELETED, why
            case Step.RELEASE:
                return self._release(charge, why)
            case Step.MISS:
                self._miss(charge.key, charge.company, charge.amount, charge.plan_hash, charge.run)
                return Decision.PARKED, why
            case Step.READ_OMIE:
                return self._ask_omie(charge)
        return Decision.STAYS, why

    def _release(self, charge: Charge, why: str) -> tuple[Decision, str]:
        if not self.request.dry_run:
            creation = ChargeKey(charge.key.contract, charge.key.month, CREATION)
            refused = self.deps.ledger.get(creation)
            if refused is not None and refused.state is State.PARKED:  # else the next run would park it for the same
                self._apply(creation, Event.REDRIVE, "liberado com a cobrança", refused.attempt)
            why_kept = f"liberado por {self.request.who}: {charge.reason}"
            if self._apply(charge.key, Event.REDRIVE, why_kept, charge.attempt) is None:
                return Decision.STAYS, "Mudou neste instante: repita."
        self.runs.add(charge.company)
        return Decision.RELEASED, why

    def _miss(self, key: ChargeKey, company: str, amount: int, plan_hash: str, run: str) -> None:
        """What was planned for a month that is over and never sent: on record, and for a person."""
        if self.request.dry_run:
            return
        facts = {"company": company, "amount": amount, "plan_hash": plan_hash, "run": run}
        parked = self._apply(key, Event.PARK, MISSED, None, reason_code="missed_month", reason=MISSED, **facts)
        if parked is not None:
            tell(parked, self.deps.ledger, self.deps.queues)

    def _take_batch(self, letter: Letter | None, batch: LostBatch) -> bool:
        if not self._wanted(ParkClass.TRANSIENT, batch.company, batch.month):
            return False
        if batch.token and not self.request.dry_run:  # or the run would wait for it until its time-out
            self.deps.tasks.failure(batch.token, "BatchGivenUp", "the batch is in the dead-letter queue")
        keys = {ChargeKey(contract, batch.month): amount for contract, amount in batch.lines}
        charges = self.deps.ledger.get_many(keys)
        states = {key: charges[key].state if key in charges else None for key in keys}
        doubtful = sum(state in UNDECIDED for state in states.values())
        unsent = [key for key, state in states.items() if state in {None, State.READY}]
        timing = self._timing(batch.month)
        replaced = self.deps.runs.plan_hash(batch.run, batch.company) not in {None, batch.plan_hash}
        decision = Decision.STAYS
        if batch.company not in self.deps.settings.companies:
            why = _no_such(batch.company)
        elif doubtful:
            why = f"{doubtful} contratos deste lote estão em dúvida: billing-ops resolve --month {batch.month}."
        elif replaced or not unsent:
            decision, why = Decision.DELETED, "O registro explica todos os contratos deste lote."
            why = "Um plano mais novo substituiu este lote." if unsent else why
        elif timing == "over":
            for key in unsent:
                self._miss(key, batch.company, keys[key], batch.plan_hash, batch.run)
            decision, why = (
                Decision.DELETED,
                f"{len(unsent)} não enviados: parados, um a um, como mês perdido.",
            )
        else:
            why = f"{len(unsent)} não enviados: a próxima execução os cobre; depois repita, e este aviso some."
            if timing == "open":
                self.runs.add(batch.company)
        self._note(letter, batch, None, decision, why)
        return decision is Decision.DELETED

    # --- by reading Omie

    def _ask_omie(self, charge: Charge) -> tuple[Decision, str]:
        try:
            doubts = self._doubts_of(charge.company, charge.key.month)
            if doubts is None:
                return Decision.STAYS, self.refused[charge.company]
            resolution = doubts.foresee(charge) if self.request.dry_run else doubts.resolve(charge)
            if resolution.verdict is Verdict.STAYS:
                why = unclear_reason(doubts.books, charge.nCodCtr)
                if why != UNCLEAR_REASON:
                    return Decision.STAYS, why
            return self._resolved(resolution)
        except OmieError as error:
            return Decision.STAYS, self._cannot_read(charge.company, error)

    def _resolve(self, charge: Charge) -> None:
        decision, why = self._ask_omie(charge)
        self._note(None, Parked(charge.key, charge.company, charge.amount), charge, decision, why)

    def _resolved(self, resolution: Resolution) -> tuple[Decision, str]:
        verdict, charge, until, for_the_lists = resolution
        if verdict not in {Verdict.RESTS, Verdict.STAYS, Verdict.MOVED}:
            self._pause()
        match verdict:
            case Verdict.ADOPTED:
                order = f" (OS {charge.nCodOS})" if charge.nCodOS else ""
                return Decision.ADOPTED, f"O Omie mostra que está feito{order}: registrado."
            case Verdict.RELEASED:
                if self._timing(charge.key.month) == "open":
                    self.runs.add(charge.company)
                return Decision.RELEASED, "O Omie mostra que não foi feito: entra na próxima execução."
            case Verdict.PARKED:
                return Decision.PARKED, charge.reason or UNCLEAR_REASON
            case Verdict.RESTS:
                what = (
                    "As listas do Omie podem estar atrasadas"
                    if for_the_lists
                    else "O Omie ainda pode terminar a chamada"
                )
                return Decision.STAYS, f"{what}: repita depois das {_hour(until)}."
            case Verdict.MOVED:
                return Decision.STAYS, "Mudou neste instante: repita."
        return Decision.STAYS, "O Omie não o mostra nem a faturar nem faturado: confira lá. Não reenvie."

    def _doubts_of(self, company: str, month: BillingMonth) -> Doubts | None:
        """None when Omie may not be asked now; `refused` says why."""
        if company in self.refused:
            return None
        if (company, month) not in self._doubts:
            lane = self.deps.lanes.get(company)
            now = self.deps.clock.now()
            if blocked(lane, now.timestamp()):
                until = datetime.fromtimestamp(lane.blocked_until, now.tzinfo)
                self.refused[company] = f"O Omie não pode ser consultado até {_hour(until)}: {lane.blocked_reason}"
                return None
            settings = self.deps.settings.companies[company]
            wait = timedelta(seconds=settings.in_doubt_wait_seconds)
            lag, ours = ListLag(settings.list_lag_seconds), LedgerOrders(self.deps.ledger, company, month)
            books = Books(self.deps.omie(company), month, self.deps.clock, lag, ours)
            self._doubts[company, month] = Doubts(
                company, self.deps.ledger, self.deps.queues, books, wait, self.now, self.who
            )
        return self._doubts[company, month]

    def _cannot_read(self, company: str, error: OmieError) -> str:
        if isinstance(error, Blocked) and error.retry_after and error.rule not in OUR_STOPS:
            until = self.deps.clock.now().timestamp() + error.retry_after
            self.deps.lanes.block(company, until, error.text)
        asked = error.rule not in OUR_STOPS
        self.refused[company] = f"O Omie não {'respondeu' if asked else 'foi consultado agora'}: {error.text}"
        return self.refused[company]

    # --- the queue, the ledger, the answer

    @contextmanager
    def _letters(self) -> Iterator[Iterator[Letter]]:
        """The letters, one by one; whatever happens, those not deleted are visible again at its end."""

        def each() -> Iterator[Letter]:
            while received := self.deps.letters.receive(HIDDEN_SECONDS):
                self._out |= {letter.id: letter for letter in received}
                for letter in received:
                    if self._out_of_time():
                        return
                    yield letter

        try:
            yield each()
        finally:
            self.deps.letters.put_back(list(self._out.values()))

    def _without_letter(self, seen: set[ChargeKey]) -> Iterator[tuple[str, Charge]]:
        """Parked in the ledger and not in the queue: its letter was lost on the way, or is older than 14 days."""
        if self.more:
            return
        month = self.request.month or BillingMonth.of(self.now)
        for company in sorted(self.request.companies or self.deps.settings.companies):
            for charge in self.deps.ledger.by_month(company, month, {State.PARKED}):
                if charge.key.kind == MONTHLY and charge.key not in seen and not self._out_of_time():
                    yield company, charge

    def _wanted(self, park_class: ParkClass, company: str, month: BillingMonth | None) -> bool:
        request = self.request
        return (
            (not request.classes or park_class in request.classes)
            and (not request.companies or company in request.companies)
            and (request.month is None or month == request.month)
        )

    def _show(self, letter: Letter | None, matter: Parked | LostBatch | Malformed) -> None:
        charge = self.deps.ledger.get(matter.key) if isinstance(matter, Parked) else None
        if isinstance(matter, Parked):
            wanted = self._wanted(
                _class(matter, charge), charge.company if charge else matter.company, matter.key.month
            )
        elif isinstance(matter, LostBatch):
            wanted = self._wanted(ParkClass.TRANSIENT, matter.company, matter.month)
        else:
            wanted = self._wanted(ParkClass.UNKNOWN, "", None)
        if wanted:
            self.items.append(_item(letter, matter, charge))

    def _note(
        self,
        letter: Letter | None,
        matter: Parked | LostBatch | Malformed,
        charge: Charge | None,
        decision: Decision,
        why: str,
    ) -> None:
        self.counts[decision] += 1
        self.items.append(_item(letter, matter, charge) | {"decision": decision.value, "why": why})

    def _timing(self, month: BillingMonth) -> Timing:
        now = self.deps.clock.now()
        if may_send(month, now, MIDNIGHT_MARGIN):
            return "open"
        return "over" if month < BillingMonth.of(now) else "closed"

    def _apply(self, key: ChargeKey, event: Event, why: str, attempt: str | None, **facts: Any) -> Charge | None:
        """None: the charge moved while we looked."""
        self._pause()
        now = self.deps.clock.now()
        try:
            return self.deps.ledger.apply(key, event, now=now, who=self.who, why=why, attempt=attempt, **facts)
        except TransitionRefused:
            return None

    def _pause(self) -> None:
        if not self.request.dry_run:
            self.deps.clock.sleep(PAUSE)

    def _out_of_time(self) -> bool:
        full = len(self.items) >= MOST_ITEMS
        self.more = self.more or full or self.deps.clock.now().timestamp() > self.stop_at
        return self.more


def _in_doubt(charge: Charge) -> bool:
    if charge.state is State.PARKED:
        return charge.key.kind == MONTHLY and class_of(charge) is ParkClass.IN_DOUBT
    return charge.state in UNDECIDED


def _class(matter: Parked, charge: Charge | None) -> ParkClass:
    """The ledger's word, where it has one; a message's own only while nothing else is known."""
    if charge is not None and charge.state is State.PARKED:
        return class_of(charge, matter.told, matter.reason)
    if charge is not None and charge.state in UNDECIDED:
        return ParkClass.IN_DOUBT
    return matter.told or ParkClass.UNKNOWN


def _item(letter: Letter | None, matter: Parked | LostBatch | Malformed, charge: Charge | None) -> dict[str, Any]:
    """What a person is told of it: no names, no documents."""
    head = {"id": letter.id if letter else "", "since": letter.sent_at.isoformat() if letter else None}
    match matter:
        case Malformed():
            return head | {
                "what": "malformed",
                "class": ParkClass.UNKNOWN.value,
                "company": letter.group if letter else "",
                "contract": "",
                "month": "",
                "reason": matter.why,
                "safe_action": "Veja quem a pôs na fila; ela nunca é reenviada. Depois: billing-ops dlq discard.",
            }
        case LostBatch():
            return head | {
                "what": "batch",
                "class": ParkClass.TRANSIENT.value,
                "company": matter.company,
                "contract": "",
                "contracts": [contract for contract, _ in matter.lines],
                "month": str(matter.month),
                "amount": sum(amount for _, amount in matter.lines),
                "reason": f"Lote devolvido vezes demais pela fila; contratos: {len(matter.lines)}.",
                "safe_action": SAFE_ACTION[ParkClass.TRANSIENT],
            }
    park_class = _class(matter, charge)
    since = charge.updated_at.isoformat() if charge and charge.updated_at else head["since"]
    return head | {
        "what": "contract",
        "since": since,
        "class": park_class.value,
        "company": charge.company if charge else matter.company,
        "contract": matter.key.contract,
        "month": str(matter.key.month),
        "kind": matter.key.kind,
        "amount": charge.amount if charge else matter.amount,
        "nCodCtr": charge.nCodCtr if charge else None,
        "state": charge.state.value if charge else None,
        "reason": (charge.reason if charge else "") or matter.reason,
        "safe_action": SAFE_ACTION[park_class],
    }


def _no_such(company: str) -> str:
    return f"A empresa {company} não está mais na configuração: nada pode ser feito com ela."


def _hour(moment: datetime) -> str:
    return f"{moment.astimezone(SAO_PAULO):%H:%M de %d/%m}"
