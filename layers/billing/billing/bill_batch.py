"""Bills one batch of one company, each contract exactly once.

    look            which contracts Omie shows as to be billed, stage 20: the others are left to Settle
    read ahead      Omie's contracts by pages of the list, and the titles whose charges they are to carry, while the one
                    before is being billed
    bring           create or alter it, and leave it: a read right after a write proves nothing. It is billed in a later
                    round, once Omie shows the planned amount, additions included
    claim           SENDING in the ledger, in one transaction with the hold check
    send            FaturarContrato, within seconds of the claim or not at all
    record          BILLED | READY | PARKED | UNKNOWN, by what the reply *proves*

Omie writes are serial: one message per company is out of the queue at a time, and one contract at a time is written
here. Whatever this function does not finish it leaves as the ledger has it; Settle reads, and decides.

An alteration has no key that Omie would know again, and an abandoned call may still be executed: so it is claimed in
the ledger (kind ALTERATION) in one transaction with the hold check, and until that call is known to have ended, or the
in-doubt wait is over, the contract is neither altered again nor billed. One that Omie accepted is not sent a second
time for the same plan: while Omie still shows the contract as it was, the answer is "not yet".

A contract is read by its page of ListarContratos, a hundred at once; what its page does not show is looked up alone.
No read waits inside this function: a question that got no answer may have arrived, and is asked again when its minute
is over, while other contracts are billed. Answers are kept for that minute, across batches and workers.

A late charge whose title does not stand any more as the plan saw it (paid meanwhile, by instalment or cancelled) is
withdrawn from the bill, and its amount with it: what is still owed is reckoned anew for the next one.
"""

import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple, NoReturn

from billing.answers import Answers, NotYet, page_question
from billing.batches import LinesChanged, Part, read_lines
from billing.clock import Clock
from billing.domain.addition import Addition
from billing.domain.charge import (
    MONTHLY,
    UNDECIDED,
    Charge,
    ChargeKey,
    Event,
    State,
    TransitionRefused,
    is_parked_by_a_read,
    is_stale,
    was_sent,
)
from billing.domain.composition import Composition
from billing.domain.contract import Customer
from billing.domain.money import format_brl
from billing.domain.month import MIDNIGHT_MARGIN, SAO_PAULO, BillingMonth, may_send, opens_at
from billing.domain.plan import MONTHLY_BILLING, Desired, PlanLine, not_monthly
from billing.late_charges import standing_now
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.omie.governor import (
    HEAD_START,
    PAUSE_AFTER_KEY_REFUSED,
    BlockedUntil,
    Slots,
    interval_for,
    wait_turn,
)
from billing.omie.replies import (
    AlreadyRegistered,
    Blocked,
    InDoubt,
    KeyRefused,
    NotExecuted,
    OmieError,
    Rejected,
)
from billing.parking import REJECTED, tell
from billing.settings import CompanySettings, Settings
from billing.store.ledger import Claim, Claimed, Held
from billing.store.objects import ObjectMissing, look_key
from billing.store.ports import Charges, Lanes, Messages, Objects, Runs, Tasks
from billing.unreadable import DATA_ERRORS, note

SEND_WINDOW = timedelta(seconds=5)
"""A claim older than this is given up unsent: someone may already have doubted it."""
STOP_BEFORE_TIMEOUT = 60.0
"""Seconds of the function's time kept back: longer than any one call may take."""
MAX_RECEIVES = 5
"""After so many receives the queue gives a message up (template.yaml)."""
UNREADABLE = "unreadable_contract"
"""The reason code of what could not be computed while it was billed."""
CREATION = "cadastro"
"""The ledger's kind for creating the contract in Omie: as much "exactly once" as the charge."""
ALTERATION = "alteracao"
"""The ledger's kind for altering the contract in Omie before it is billed; READY: no such call is under way."""
WRITTEN = "written"
"""Reason code of an alteration that Omie accepted: its reads may go on showing the contract as it was."""
STAGE_SHOWN_FOR = 61.0
"""Seconds for which a look at stage 20 is fresh enough; ours at a title or a contract too."""
LOOK_HOLDS_FOR = 2 * STAGE_SHOWN_FOR
"""Seconds after which nothing is billed by a look any more, even if Omie may not be asked again yet."""
SHOWN_WITHIN = timedelta(minutes=15)
"""After an alteration that Omie accepted: what it still does not show by then, a person must look at."""
ANSWERED_WITHIN = timedelta(minutes=4)
"""Of a round's beginning: after that a batch does not come again for a question that Omie does not answer."""
ASKED_BEFORE = frozenset({"redundant", "being_processed"})
"""Refusals of a read that say: the same question arrived a moment ago. They are no reason to stop the lane."""
LOOK_UP = "ConsultarContrato "
"""How an order of the living contract names its question to the lane; the contract's nCodCtr follows."""
STAGE_20 = 'ObterContratos {"cEtapa": "20"}'
"""The question, as the readers' gate words it."""
ALTERED_FROM = 30.0
"""Seconds for which a reading may be what an alteration begins with: it holds people's own items, and Omie may take an
alteration for the whole contract.
"""

ReadAhead = Callable[[Callable[[PlanLine], Any], Iterable[PlanLine]], Iterator[tuple[PlanLine, Callable[[], Any]]]]


class Look(NamedTuple):
    """What Omie showed in stage 20: when it was asked (epoch seconds), and every nCodCtr to be billed then."""

    asked_at: float
    to_bill: frozenset[int]


def keep_look(objects: Objects, company: str, look: Look) -> None:
    """For every worker of the company: Omie answers this question once a minute, whoever asks."""
    objects.put_json(look_key(company), {"asked_at": look.asked_at, "to_bill": sorted(look.to_bill)})


@dataclass(frozen=True)
class BillDeps:
    settings: Settings
    ledger: Charges
    lanes: Lanes
    runs: Runs
    objects: Objects
    queues: Messages
    tasks: Tasks
    omie: Callable[[str], OmieClient]
    clock: Clock
    read_ahead: ReadAhead
    new_attempt: Callable[[], str] = lambda: uuid.uuid4().hex
    looks: dict[str, Look] = field(default_factory=dict)
    """This process's last look at each company's stage 20. Outlives the invocation."""
    answers: dict[str, Answers] = field(default_factory=dict)
    """This process's answers of each company's Omie, of the last minute. They outlive the invocation, too."""


class LaneStopped(Exception):  # noqa: N818 - the batch's own stop signal
    """Nothing more may be sent before `until` (epoch seconds)."""

    def __init__(self, until: float) -> None:
        super().__init__(until)
        self.until = until


class NoBatch(ValueError):  # noqa: N818
    """The message can never be billed as it is, however often it comes. `token`: whom to tell."""

    def __init__(self, why: str, token: str = "") -> None:
        super().__init__(why)
        self.token = token


class NotShown(NotYet):
    """Omie accepted an alteration, and still shows the contract as it was."""


class AmountNotPlanned(Exception):  # noqa: N818
    """Omie shows another amount than the plan: billing it would bill what nobody approved."""

    code = "amount_not_planned"


class NotMonthly(AmountNotPlanned):
    """Omie does not bill the contract every month, by now."""

    code = "not_monthly"


class CreatedElsewhere(AmountNotPlanned):
    """This system created the contract this month already, in the Omie of the company that it then left."""

    code = "created_elsewhere"


@dataclass(frozen=True)
class _Found:
    """What was read ahead: the Omie contract, and those of the line's additions that are still owed as planned."""

    cadastro: dict[str, Any] | None
    additions: tuple[Addition, ...]


@dataclass(frozen=True)
class _Ready:
    """A contract that Omie shows as it is to be billed; `amount` in centavos."""

    nCodCtr: int
    amount: int
    additions: tuple[Addition, ...]


@dataclass
class Batch:
    """What one message asks for, and what came of it."""

    company: str
    month: BillingMonth
    run: str
    plan_hash: str
    part: Part
    pages: Mapping[str, int]
    """Contract -> the page of ListarContratos on which the plan found it; 0: on none."""
    per_minute: int
    who: str
    plan_key: str
    round: int = 0
    looked_at: float = 0.0
    """When the plan or Settle asked stage 20 for these lines (epoch seconds): an older look does not know them."""
    began: float = 0.0
    """When Settle began the round (epoch seconds); 0 in the first one."""
    counts: dict[str, int] = field(default_factory=lambda: {"billed": 0, "parked": 0, "in_doubt": 0, "left": 0})

    @classmethod
    def of(cls, message: dict[str, Any]) -> "Batch":
        """Without its lines.

        Raises:
            ValueError, TypeError, LookupError, AttributeError: no batch.
        """
        return cls(
            company=message["company"],
            month=BillingMonth.parse(message["month"]),
            run=message["run"],
            plan_hash=message["plan_hash"],
            part=Part.of(message),
            pages={line["contract"]: line.get("page", 0) for line in message["lines"]},
            per_minute=message["contracts_per_minute"],
            who=f"bill_batch {message['execution']}",
            plan_key=message.get("plan_key", ""),
            round=message.get("round", 0),
            looked_at=message.get("looked_at", 0.0),
            began=message.get("began", 0.0),
        )


def take(
    record: dict[str, Any],
    prepare: Callable[[], BillDeps],
    tasks: Callable[[], Tasks],
    order: Callable[[str], dict[str, Any]],
    *,
    seconds_left: float,
) -> dict[str, Any]:
    """One message of the queue, from its body to the run's answer; answers the batch's facts and its counts.

    Whatever is raised returns the message to the queue, which gives it up to the dead-letter queue after
    MAX_RECEIVES. The run is told before that, or it would wait for the batch until its time-out: at once if the body
    is no batch of ours, else with the last receive, because the trouble may pass (settings, DynamoDB).

    `order`: takes the body of a message {"order": ...}, which stands in the same lane and which no run waits for.
    """
    if is_order(record["body"]):
        return order(record["body"])
    token = ""
    try:
        token, batch = _read(record["body"])
        deps = prepare()
        _known(batch["company"], deps.settings)
        answer = bill_batch(batch, deps, deadline=deps.clock.now().timestamp() + seconds_left)
    except Exception as error:
        token = token or getattr(error, "token", "")
        last = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1)) >= MAX_RECEIVES
        if token and (last or isinstance(error, NoBatch)):
            tasks().failure(token, type(error).__name__, str(error))
        raise
    deps.tasks.success(token, answer)
    return batch | answer


def is_order(body: str) -> bool:
    try:
        return isinstance(json.loads(body).get("order"), dict)
    except (ValueError, AttributeError):
        return False


def _known(company: str, settings: Settings) -> None:
    if company not in settings.companies:
        raise NoBatch(f"company {company} is not in the settings")


def _read(body: str) -> tuple[str, dict[str, Any]]:
    """The task token and the batch. Raises NoBatch with the token, if there is one to be read."""
    token = ""
    try:
        message = json.loads(body)
        token = str(message["token"])
        batch: dict[str, Any] = message["batch"]
        Batch.of(batch)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise NoBatch(f"no batch of ours: {type(error).__name__} {error}", token) from None
    return token, batch


def bill_batch(message: dict[str, Any], deps: BillDeps, *, deadline: float) -> dict[str, Any]:
    """Answers {"wait_seconds", "billed", "parked", "in_doubt", "left"}; wait_seconds > 0 asks for the batch again.

    `deadline`: epoch seconds at which this function is killed.

    Raises:
        NoBatch: its lines are gone, or are not those that it was written for.
    """
    batch = Batch.of(message)
    if deps.runs.plan_hash(batch.run, batch.company) != batch.plan_hash:
        # An older plan's message: what it says was replaced.
        return {"wait_seconds": 0, **batch.counts, "left": len(batch.pages)}
    try:
        lines = read_lines(deps.objects, batch.part)
    except (LinesChanged, ObjectMissing) as error:
        raise NoBatch(str(error)) from None
    batch.counts["left"] = len(batch.pages) - len(lines)
    settled = {State.BILLED, State.PARKED, State.HELD, State.UNKNOWN, State.SENDING}
    kinds = (MONTHLY, ALTERATION)
    known = deps.ledger.get_many(ChargeKey(line.contract, batch.month, kind) for line in lines for kind in kinds)
    _lift(lines, known, batch, deps)
    todo = [
        line
        for line in lines
        if (charge := known.get(ChargeKey(line.contract, batch.month))) is None
        or (charge.state not in settled and not _released_since(charge, batch))
    ]
    wait = 0.0
    if todo:
        rested = _rested(todo, known, batch, deps)
        try:
            if rested := _in_vain_last(rested, known, batch):
                _Lane(batch, rested, known, deps, deadline).bill_all()
        except LaneStopped as stopped:
            wait = max(1.0, stopped.until - deps.clock.now().timestamp())
    deps.runs.add_progress(batch.run, batch.company, **batch.counts)
    return {"wait_seconds": int(wait + 0.999), **batch.counts}


_UNREAD: Final = frozenset({Event.REDRIVE, Event.RELEASE})
"""A person's events, after which a charge is READY: the others name a reply or a reading of Omie as their proof."""


def _lift(lines: list[PlanLine], known: dict[ChargeKey, Charge], batch: Batch, deps: BillDeps) -> None:
    """What an earlier run's reading of Omie parked, and this plan found to be right by now, is READY again."""
    for key in [ChargeKey(line.contract, batch.month) for line in lines if batch.round == 0]:
        charge = known.get(key)
        if charge is None or not is_parked_by_a_read(charge) or charge.updated_at is None:
            continue
        if charge.updated_at.timestamp() < batch.looked_at:
            why = "o plano novo leu o Omie de novo"
            with contextlib.suppress(TransitionRefused):
                known[key] = deps.ledger.apply(key, Event.REDRIVE, now=deps.clock.now(), who=batch.who, why=why)


def _released_since(charge: Charge, batch: Batch) -> bool:
    """Whether a person released a charge once sent after the month's orders were read for these lines: Settle reads
    them again first. Its order may be cancelled: stage 20 then shows it like one that was never billed.
    """
    if not was_sent(charge) or charge.updated_at is None or charge.history[-1]["event"] not in _UNREAD:
        return False
    return charge.updated_at.timestamp() > (batch.began or batch.looked_at)


def _rested(todo: list[PlanLine], known: Mapping[ChargeKey, Charge], batch: Batch, deps: BillDeps) -> list[PlanLine]:
    """The lines on whose contract no abandoned call can put additions any more; whatever is read from now on holds."""
    wait = timedelta(seconds=deps.settings.companies[batch.company].in_doubt_wait_seconds)
    rested = []
    for line in todo:
        doubted = known.get(ChargeKey(line.contract, batch.month, ALTERATION))
        if (
            doubted is None
            or doubted.state not in UNDECIDED
            or forgotten(doubted, wait, deps.ledger, now=deps.clock.now(), who=batch.who)
        ):
            rested.append(line)
        else:
            batch.counts["left"] += 1
    return rested


def _in_vain_last(lines: list[PlanLine], known: Mapping[ChargeKey, Charge], batch: Batch) -> list[PlanLine]:
    """Those that were tried in this round already come after the others, should the batch come again: Omie may always
    refuse one of them in passing. An alteration that it so refused is left to the next round.
    """

    def tried(line: PlanLine, kind: str) -> bool:
        charge = known.get(ChargeKey(line.contract, batch.month, kind))
        if charge is None or charge.state is not State.READY or charge.claimed_at is None:
            return False
        since = batch.began or batch.looked_at
        return charge.reason_code != WRITTEN and charge.run == batch.run and charge.claimed_at.timestamp() > since

    left = [line for line in lines if tried(line, ALTERATION)]
    batch.counts["left"] += len(left)
    return sorted((line for line in lines if line not in left), key=lambda line: tried(line, MONTHLY))


def forgotten(doubted: Charge, wait: timedelta, ledger: Charges, *, now: datetime, who: str) -> bool:
    """Whether an alteration in doubt has ended one way or the other; the ledger then says so."""
    if not is_stale(doubted, now, wait):
        return False
    events = [Event.RESEND] if doubted.state is State.UNKNOWN else [Event.IN_DOUBT, Event.RESEND]
    try:
        for event in events:
            why = "o contrato é lido de novo antes de ser faturado"
            ledger.apply(doubted.key, event, now=now, who=who, why=why, attempt=doubted.attempt)
    except TransitionRefused:
        return False
    return True


def read_ahead(depth: int = 2) -> ReadAhead:
    """Runs the reads of the next `depth` lines in threads while the present one is being written."""

    def run(read: Callable[[PlanLine], Any], lines: Iterable[PlanLine]) -> Iterator[tuple[PlanLine, Callable[[], Any]]]:
        with ThreadPoolExecutor(max_workers=depth) as pool:
            waiting: list[tuple[PlanLine, Future[Any]]] = []
            for line in lines:
                waiting.append((line, pool.submit(read, line)))
                if len(waiting) > depth:
                    ahead, future = waiting.pop(0)
                    yield ahead, future.result
            for ahead, future in waiting:
                yield ahead, future.result

    return run


def one_by_one(
    read: Callable[[PlanLine], Any], lines: Iterable[PlanLine]
) -> Iterator[tuple[PlanLine, Callable[[], Any]]]:
    """The same without threads, for a deterministic run."""
    for line in lines:
        yield line, lambda line=line: read(line)  # type: ignore[misc]


def is_written(alteration: Charge, plan_hash: str) -> bool:
    """Whether Omie accepted the alteration that the plan asks for."""
    accepted = alteration.state is State.READY and alteration.reason_code == WRITTEN
    return accepted and alteration.plan_hash == plan_hash


def _check_situation(cadastro: dict[str, Any]) -> None:
    """Raises AmountNotPlanned: Omie would not bill the contract, or not every month."""
    if cadastro["cabecalho"]["cCodSit"] != mapping.ACTIVE:
        raise AmountNotPlanned("O contrato deixou de estar ativo no Omie depois do plano.")
    if (found := mapping.compact(cadastro)).cTipoFat != MONTHLY_BILLING:
        raise NotMonthly(not_monthly(found))


class _Lane:
    """One company's writes, one contract at a time, each inside a slot of the shared rate."""

    def __init__(
        self, batch: Batch, todo: list[PlanLine], known: Mapping[ChargeKey, Charge], deps: BillDeps, deadline: float
    ) -> None:
        self.batch = batch
        self.todo = todo
        self.known = known
        self.deps = deps
        self.deadline = deadline
        self.company: CompanySettings = deps.settings.companies[batch.company]
        self.omie = deps.omie(batch.company)
        self.answers = deps.answers.setdefault(batch.company, Answers(self.company.same_question_seconds))
        self.errors_heeded = self.omie.errors
        self.left = len(todo)
        self.to_send = 0
        """How many of those that are left may be sent this time: each takes a slot."""
        self.slots = Slots(0.0, 0.0, 0)
        self._one_page = threading.Lock()
        self.to_bill: frozenset[int] = frozenset()
        self.unread = False
        """Whether some question may not be asked again yet, by this worker or another."""
        self.again_at: list[float] = []
        """When what Omie does not show yet, or did not answer, may be asked again (epoch seconds)."""

    def bill_all(self) -> None:
        now = self.deps.clock.now()
        if now < (opens := opens_at(self.batch.month, MIDNIGHT_MARGIN)):
            raise LaneStopped(opens.timestamp())
        if self._month_is_over():
            self.batch.counts["left"] += self.left
            self.left = 0
            return
        self.to_bill = self._look()
        self.todo = [line for line in self.todo if self._may_be_sent(line) or line.work != "none"]
        self.batch.counts["left"] += self.left - len(self.todo)
        self.left = len(self.todo)
        if not self.todo:
            return
        self._load_answers()
        self.to_send = sum(map(self._is_sent_now, self.todo))
        self.slots = self._reserve()
        try:
            for line, existing in self.deps.read_ahead(self._read, self.todo):
                if self.deps.clock.now().timestamp() > self.deadline - STOP_BEFORE_TIMEOUT:
                    raise LaneStopped(self.deps.clock.now().timestamp())
                self._heed_errors()
                try:
                    self._bill(line, existing)
                except DATA_ERRORS as error:
                    self._failed(line, error)
                self.left -= 1
                self.to_send -= self._is_sent_now(line)
        finally:
            if self.left or self.unread:  # else nothing was read and not used
                self.answers.keep(self.deps.objects, self.batch.company, self._now())
        if self.again_at:
            raise LaneStopped(max(self.again_at))

    def _load_answers(self) -> None:
        """What the plan and other workers read in the last minute, and what others asked Omie."""
        company = self.batch.company
        pages = sorted({self.batch.pages.get(line.contract, 0) for line in self.todo} - {0})
        self.answers.load(self.deps.objects, company, pages, self._now())
        for question, at in self.deps.lanes.get(company).asked.items():
            if question.startswith(LOOK_UP):
                self.answers.asked_elsewhere(f"contrato {question.removeprefix(LOOK_UP)}", at)
            elif question in map(page_question, pages):
                self.answers.asked_elsewhere(question, at)

    def _may_be_sent(self, line: PlanLine) -> bool:
        return line.nCodCtr is not None and line.nCodCtr in self.to_bill

    def _is_sent_now(self, line: PlanLine) -> bool:
        """Whether it may be: what must be written into Omie first is billed in a later round."""
        return line.work == "none" or self.batch.round > 0

    # --- what waits to be billed -----------------------------------------------------------------------------------

    def _look(self) -> frozenset[int]:
        """Which contracts Omie shows in stage 20: who is not in it (any more) was billed or stopped by a person, or is
        not due.

        Omie answers this question once a minute, whoever asks. In between the last look must do, this process's, the
        plan's or another's; when that is too old (who was to look died, or got no answer) nothing is billed before the
        next.
        """
        now = self.deps.clock.now().timestamp()
        if (look := self._last_look(now - STAGE_SHOWN_FOR)) is not None:
            return look.to_bill
        window = self.company.same_question_seconds
        next_at = self.deps.lanes.get(self.batch.company).asked.get(STAGE_20, 0.0) + window
        if next_at <= now:
            return self._look_now(now, window)
        if (look := self._last_look(now - LOOK_HOLDS_FOR)) is None:
            raise LaneStopped(next_at)
        return look.to_bill

    def _look_now(self, now: float, window: float) -> frozenset[int]:
        self.deps.lanes.ask(self.batch.company, STAGE_20, now, window)
        try:
            look = Look(now, frozenset(nCodCtr for nCodCtr, _ in self.omie.obter_contratos(20)))
        except Blocked as error:
            self._stop(error)
        except KeyRefused as error:
            self._key_refused(error)
        except OmieError:
            raise LaneStopped(now + STAGE_SHOWN_FOR) from None
        self.deps.looks[self.batch.company] = look
        keep_look(self.deps.objects, self.batch.company, look)
        answered = self.deps.clock.now().timestamp()
        if answered >= now + window:  # it was asked again meanwhile: whoever asks next counts from then
            self.deps.lanes.ask(self.batch.company, STAGE_20, answered, window)
        return look.to_bill

    def _last_look(self, since: float) -> Look | None:
        """This process's, or the one that the plan, Settle or another worker kept; None when it is older."""
        since = max(since, self.batch.looked_at)
        look = self.deps.looks.get(self.batch.company)
        if look is None or look.asked_at < since:
            try:
                kept = self.deps.objects.get_json(look_key(self.batch.company))
            except ObjectMissing:
                return None
            look = self.deps.looks[self.batch.company] = Look(kept["asked_at"], frozenset(kept.get("to_bill", ())))
        return look if look.asked_at >= since else None

    def _heed_errors(self) -> None:
        """Omie's errors since the last look may have used up the lane's budget; slots reserved before do not count."""
        if self.omie.errors != self.errors_heeded:
            self.errors_heeded = self.omie.errors
            until = self.deps.lanes.get(self.batch.company).blocked_until
            if until > self.deps.clock.now().timestamp():
                raise LaneStopped(until)

    # --- slots ---------------------------------------------------------------------------------------------------

    def _reserve(self) -> Slots:
        first_call = self.deps.clock.now().timestamp() + HEAD_START
        interval = interval_for(self.batch.per_minute)
        answer = self.deps.lanes.reserve(self.batch.company, max(1, self.to_send), first_call, interval)
        if isinstance(answer, BlockedUntil):
            raise LaneStopped(answer.until)
        return answer

    # --- one contract --------------------------------------------------------------------------------------------

    def _read(self, line: PlanLine) -> _Found:
        cadastro = self._cadastro(line) if line.nCodCtr is not None else None
        planned = map(Addition.from_dict, line.additions)
        return _Found(cadastro, tuple(each for each in planned if each.title is None or self._stands(each)))

    def _cadastro(self, line: PlanLine) -> dict[str, Any]:
        """The Omie contract, of the last minute; one that was altered as Omie shows it since.

        Raises:
            NotYet: Omie was asked within its minute, and its answer is not there or is of before the alteration.
        """
        assert line.nCodCtr is not None  # noqa: S101 - the caller looks
        since = self._changed_at(line)
        if line.work == "alter" and self._written(line) is None:
            since = max(since, self._now() - ALTERED_FROM)
        page = self.batch.pages.get(line.contract, 0)
        if page:
            self._ask_page(page, since)
        alone = f"contrato {line.nCodCtr}"
        for question in (page_question(page), alone):
            for cadastro in self.answers.find(question, since, self._now()) or ():
                if mapping.contract_number(cadastro) == line.nCodCtr:
                    return cadastro
        (found,) = self.answers.ask(alone, self._now, lambda: [self.omie.consultar_contrato(line.nCodCtr or 0)])
        return found

    def _ask_page(self, page: int, since: float) -> None:
        """Has Omie show that page, if its last answer is too old and it may be asked; the answer is kept for the next
        workers.

        A page that got no answer, or is too big for Omie, is left alone: its contracts are looked up one by one.
        """
        company, question = self.batch.company, page_question(page)
        with self._one_page:  # the threads that read ahead want the same one
            if page in self.answers.too_big or self.answers.find(question, since, self._now()) is not None:
                return
            if not self._may_ask(question):
                return
            try:
                self.answers.ask(question, self._now, lambda: self.omie.contratos_da_pagina(page))
            except (Blocked, KeyRefused):
                raise
            except OmieError as error:
                if error.rule == "broken_response":
                    self.answers.too_big.add(page)
            self.answers.keep_page(self.deps.objects, company, page)

    def _may_ask(self, question: str) -> bool:
        """Whether nobody else asked it in the last minute: who reads the whole list asks the same. Then it is ours."""
        now, window = self._now(), self.company.same_question_seconds
        if not self.answers.may_ask(question, now):
            return False
        asked_at = self.deps.lanes.get(self.batch.company).asked.get(question, 0.0)
        if now < asked_at + window:
            self.answers.asked_elsewhere(question, asked_at)
            return False
        wait = self.deps.lanes.ask(self.batch.company, question, now, window)
        if isinstance(wait, BlockedUntil):
            raise LaneStopped(wait.until)
        if wait > 0:  # somebody was a moment faster
            self.answers.asked_elsewhere(question, now)
        return wait <= 0

    def _changed_at(self, line: PlanLine) -> float:
        """When Omie shows what this system wrote into the contract last, or tried to (epoch seconds): what was read
        before proves nothing.

        Raises:
            NotYet: that is still to come.
        """
        known = self.known.get(ChargeKey(line.contract, self.batch.month, ALTERATION))
        if known is None or known.updated_at is None:
            return 0.0
        changed_at = known.updated_at.timestamp()
        if known.reason_code != WRITTEN:
            return changed_at
        shown_at = changed_at + self.company.read_lag_seconds
        if shown_at > self._now():
            raise NotYet(shown_at)
        return shown_at

    def _now(self) -> float:
        return self.deps.clock.now().timestamp()

    def _stands(self, addition: Addition) -> bool:
        """Whether the title still is as the plan saw it. Asked for once a minute: Omie takes more for an error."""
        assert addition.title is not None  # noqa: S101 - asked of late charges only
        question = f"titulo {addition.title}"
        answer = self.answers.find(question, 0.0, self._now())
        if answer is None:
            answer = self.answers.ask(question, self._now, lambda: [{"standing": standing_now(addition, self.omie)}])
        return bool(answer[0]["standing"] == addition.seen)

    def _bill(self, line: PlanLine, found: Callable[[], _Found]) -> None:
        key = ChargeKey(line.contract, self.batch.month)
        if self._month_is_over():
            self.batch.counts["left"] += 1
            return
        try:
            ready = self._bring(line, found())
        except NotShown as later:
            self._not_yet(later.until, SHOWN_WITHIN)
        except NotYet as later:
            self._not_yet(later.until)
        except AmountNotPlanned as changed:
            if reason := self.deps.ledger.hold(line.contract):  # stopped in Omie by this system: no person must look
                self._held(line, Held(reason))
            else:
                self._park(line, key, changed.code, str(changed))
        except OmieError as error:
            self._brought_to_nothing(line, key, error)
        else:
            if ready is None or ready.nCodCtr not in self.to_bill:
                self.batch.counts["left"] += 1
                self.unread = True
                self._note_as_planned(line, ready)
            else:
                self.slots = wait_turn(self.slots, clock=self.deps.clock, reserve=self._reserve)
                self._send(line, key, ready)

    def _month_is_over(self) -> bool:
        """Or almost: nothing is sent in its last minutes. Settle finds out whom a person billed, or a churn stopped."""
        return not may_send(self.batch.month, self.deps.clock.now(), MIDNIGHT_MARGIN)

    def _not_yet(self, until: float, within: timedelta = ANSWERED_WITHIN) -> None:
        """In the first round what was altered is left to the next one: by then Omie shows it, and no slot is lost.

        `within`: of the round's beginning, after which the contract is left to Settle: a question that Omie never
        answers must not keep the others of the company waiting.
        """
        self.batch.counts["left"] += 1
        self.unread = True
        began = self.batch.began or self._now()
        if self.batch.round and self._now() < began + within.total_seconds():
            self.again_at.append(until)

    def _note_as_planned(self, line: PlanLine, ready: _Ready | None) -> None:
        """For Settle: an alteration is not needed any more where Omie shows the contract as planned, whoever brought it
        there: an abandoned call, or a person. It is then waited for like every other one that is not to be billed yet.
        """
        if ready is None or line.work != "alter" or self._written(line) is not None:
            return
        key = ChargeKey(line.contract, self.batch.month, ALTERATION)
        claim = self._claim(key, ready.nCodCtr, ready.amount)
        if isinstance(claim, Held):
            self._held(line, claim)
        if isinstance(claim, Claimed):
            why = "o Omie já mostra o contrato como no plano"
            self._record(key, Event.GIVE_UP, why, claim.charge.attempt, reason_code=WRITTEN)

    def _failed(self, line: PlanLine, error: BaseException) -> None:
        """What is computed of this contract failed; the next one's turn comes all the same.

        A charge whose call may be out stays as the ledger has it, for Settle to find out.
        """
        kind = note(f"billing {line.contract}", error)
        key = ChargeKey(line.contract, self.batch.month)
        charge = self.deps.ledger.get(key)
        if charge is not None and charge.state is not State.READY:
            self.batch.counts["left"] += 1
            return
        reason = (
            f"Não foi possível ler o contrato no Omie ou no plano ({kind}): confira os itens e as datas dele no Omie; "
            "se nada estiver errado, avise quem cuida do sistema."
        )
        self._park(line, key, UNREADABLE, reason)

    def _bring(self, line: PlanLine, found: _Found) -> _Ready | None:
        """The Omie contract once it shows the planned amount; None: it was written just now, or may not be, or a write
        before that is in doubt.

        Raises:
            NotYet: it was altered for this plan, and Omie still shows it as it was.
            AmountNotPlanned: it cannot become what the plan says.
        """
        cadastro, additions = found.cadastro, found.additions
        desired = Desired.from_dict(line.desired) if line.desired else None
        if cadastro is None:
            assert desired is not None  # noqa: S101 - planning gives it to every contract to create
            cadastro = self._created(line, desired, additions)
            if cadastro is None:
                return None
        _check_situation(cadastro)
        withdrawn = line.additions_total - sum(each.amount for each in additions)
        amount = line.amount - withdrawn
        as_planned = not mapping.additions_differ(cadastro, additions) and (
            desired is None or not mapping.differs(cadastro, desired, on=self._today())
        )
        shown = sum(mapping.total(cadastro, on=self._today()))
        if as_planned and shown == amount:
            return _Ready(int(cadastro["cabecalho"]["nCodCtr"]), amount, additions)
        if not as_planned and self._alter_claimed(line, desired, cadastro, additions, amount):
            return None
        raise AmountNotPlanned(
            f"O Omie mostra {format_brl(shown)} e o plano aprovado é {format_brl(amount)}: "
            "confira os itens do contrato no Omie e rode o mês de novo."
        )

    def _today(self) -> date:
        return self.deps.clock.now().astimezone(SAO_PAULO).date()

    def _written(self, line: PlanLine) -> datetime | None:
        """When Omie accepted the alteration that this plan asks for; None: it was not asked yet."""
        known = self.known.get(ChargeKey(line.contract, self.batch.month, ALTERATION))
        return known.updated_at if known is not None and is_written(known, self.batch.plan_hash) else None

    def _alter_claimed(
        self,
        line: PlanLine,
        desired: Desired | None,
        existing: dict[str, Any],
        additions: tuple[Addition, ...],
        amount: int,
    ) -> bool:
        """Alters the contract under a claim. True: it was, or may not be now; False: it was long ago, and in vain.

        Raises:
            NotShown: the same alteration was accepted a moment ago.
        """
        key = ChargeKey(line.contract, self.batch.month, ALTERATION)
        known = self.known.get(key)
        if known is not None and is_written(known, self.batch.plan_hash) and known.amount == amount:
            assert known.updated_at is not None  # noqa: S101 - whatever the ledger answers has it
            if self.deps.clock.now() - known.updated_at > SHOWN_WITHIN:
                return False
            raise NotShown(self._now() + STAGE_SHOWN_FOR)
        claim = self._claim(key, int(existing["cabecalho"]["nCodCtr"]), amount)
        if isinstance(claim, Held):
            self._held(line, claim)
        if not isinstance(claim, Claimed):
            return True
        attempt = claim.charge.attempt
        try:
            self._alter(line, desired, existing, additions)
        except InDoubt as doubt:
            self._record(key, Event.IN_DOUBT, doubt.text, attempt)
            raise
        except OmieError as refused:
            self._record(key, Event.GIVE_UP, refused.text, attempt)
            raise
        self._record(key, Event.GIVE_UP, "o Omie aceitou a alteração", attempt, reason_code=WRITTEN)
        return True

    def _alter(
        self, line: PlanLine, desired: Desired | None, existing: dict[str, Any], additions: tuple[Addition, ...]
    ) -> None:
        """Without `desired` nothing but the additions is changed."""
        nCodCtr, nCodCli = (int(existing["cabecalho"][name]) for name in ("nCodCtr", "nCodCli"))
        if desired is None:
            surplus = mapping.additions_to_remove(existing, additions)
            cadastro = mapping.with_additions(existing, additions, self.company, self._today())
        else:
            surplus = mapping.own_items_to_remove(existing, additions)
            cadastro = mapping.contrato_cadastro(
                desired,
                code=line.contract,
                nCodCli=nCodCli,
                company=self.company,
                existing=existing,
                additions=additions,
                on=self._today(),
            )
        for codItem in surplus:
            self.omie.excluir_item(nCodCtr, codItem)
        self.omie.alterar_contrato(cadastro)

    def _created(self, line: PlanLine, desired: Desired, additions: tuple[Addition, ...]) -> dict[str, Any] | None:
        """The Omie contract that an earlier round created; None: it was created just now, or may not be, or that is in
        doubt.

        The ledger guards the creation like a charge: a lost reply must not make two. The customer is written under
        the same claim: not for a contract on hold, and not again in each round.
        """
        key = ChargeKey(line.contract, self.batch.month, CREATION)
        claim = self._claim(key, None, line.amount)
        if isinstance(claim, Held):
            self._held(line, claim)
            return None
        if not isinstance(claim, Claimed):
            return self._created_before(line, claim.charge)
        attempt = claim.charge.attempt
        try:
            nCodCli = self._customer(line)
        except NotYet:
            self._record(key, Event.GIVE_UP, "o cliente foi enviado há menos de um minuto", attempt)
            raise
        except OmieError as refused:
            self._record(key, Event.GIVE_UP, refused.text, attempt)
            raise
        cadastro = mapping.contrato_cadastro(
            desired, code=line.contract, nCodCli=nCodCli, company=self.company, additions=additions, on=self._today()
        )
        try:
            created = self.omie.incluir_contrato(cadastro)
        except AlreadyRegistered as already:
            if already.existing_id is None:
                self._record(key, Event.IN_DOUBT, already.text, attempt)
                return None
            created = already.existing_id
        except InDoubt as doubt:
            self._record(key, Event.IN_DOUBT, doubt.text, attempt)
            raise
        except (NotExecuted, Blocked) as refused:
            self._record(key, Event.NOT_EXECUTED, refused.text, attempt)
            raise
        except Rejected as rejected:
            self._record(key, Event.REJECT, rejected.text, attempt, reason_code=REJECTED, reason=rejected.text)
            raise
        self._record(key, Event.DONE, "contrato criado no Omie", attempt, nCodCtr=created)
        return None

    def _created_before(self, line: PlanLine, creation: Charge) -> dict[str, Any] | None:
        if creation.state is not State.BILLED or creation.nCodCtr is None:
            return None
        if creation.company != self.batch.company:
            raise CreatedElsewhere(
                f"Este mês o contrato já foi criado no Omie de {creation.company} (código {creation.nCodCtr}), "
                "e depois mudou de empresa no Jestor. Crie-o no Omie da empresa nova e vincule: "
                f"billing-ops link --contract {line.contract} --omie CÓDIGO."
            )
        return self._cadastro(replace(line, nCodCtr=creation.nCodCtr))

    def _customer(self, line: PlanLine) -> int:
        """Its number in Omie, which is told of it first where it has none.

        Raises:
            NotYet: Omie was told a moment ago and did not answer: the same words again would be refused as redundant.
        """
        assert line.customer is not None  # noqa: S101 - planning gives it to every contract to create
        customer = dict(line.customer)
        if known := customer.pop("nCodCli", None):
            return int(known)
        cadastro, question = mapping.cliente_cadastro(Customer(**customer), line.contract), f"cadastro {line.contract}"
        told = self.answers.find(question, 0.0, self._now())
        if told is None:
            told = self.answers.ask(
                question, self._now, lambda: [{"nCodCli": self.omie.upsert_cliente_cpf_cnpj(cadastro)}]
            )
        return int(told[0]["nCodCli"])

    def _held(self, line: PlanLine, held: Held) -> None:
        key = ChargeKey(line.contract, self.batch.month)
        self._apply(key, Event.HOLD, held.reason, line=line, reason_code="held", reason=held.reason)

    def _send(self, line: PlanLine, key: ChargeKey, ready: _Ready) -> None:
        nCodCtr = ready.nCodCtr
        made = line.composition(self.batch.plan_key)
        claim = self._claim(key, nCodCtr, ready.amount, ready.additions, made)
        if isinstance(claim, Held):
            self._held(line, claim)
            return
        if not isinstance(claim, Claimed):
            return  # billed, in doubt or parked by someone else in the meantime: nothing is ours to do
        attempt = claim.charge.attempt
        assert claim.charge.claimed_at is not None  # noqa: S101 - claiming sets it
        now = self.deps.clock.now()
        if now - claim.charge.claimed_at > SEND_WINDOW or not may_send(self.batch.month, now, MIDNIGHT_MARGIN):
            self._record(key, Event.GIVE_UP, "a reserva envelheceu antes do envio", attempt)
            self.batch.counts["left"] += 1
            return
        try:
            reply = self.omie.faturar_contrato(nCodCtr)
        except InDoubt as doubt:
            self._record(key, Event.IN_DOUBT, doubt.text, attempt, reason_code="in_doubt", reason=doubt.text)
            self.batch.counts["in_doubt"] += 1
        except NotExecuted as refused:
            # Throttling uses up nobody's attempts; what Omie did not ask to wait for is a failure.
            failures = claim.charge.failures + (refused.retry_after is None)
            self._record(key, Event.NOT_EXECUTED, refused.text, attempt, failures=failures)
            self.batch.counts["left"] += 1
            self._pause_for(refused)
        except Blocked as blocked:
            self._record(key, Event.NOT_EXECUTED, blocked.text, attempt)
            self._stop(blocked)
        except Rejected as rejected:
            self._rejected(line, key, rejected, attempt)
        else:
            self._record(
                key,
                Event.DONE,
                reply.cDescStatus,
                attempt,
                nCodCtr=nCodCtr,
                nCodOS=reply.nCodOS,
            )
            self.batch.counts["billed"] += 1

    # --- what a reply does to the ledger and the lane --------------------------------------------------------------

    def _claim(
        self,
        key: ChargeKey,
        nCodCtr: int | None,
        amount: int,
        additions: tuple[Addition, ...] = (),
        composition: Composition | None = None,
    ) -> Claim:
        return self.deps.ledger.claim(
            key,
            attempt=self.deps.new_attempt(),
            now=self.deps.clock.now(),
            company=self.batch.company,
            amount=amount,
            plan_hash=self.batch.plan_hash,
            run=self.batch.run,
            nCodCtr=nCodCtr,
            who=self.batch.who,
            additions=[each.charged() for each in additions],
            composition=composition,
        )

    def _record(self, key: ChargeKey, event: Event, why: str, attempt: str | None, **facts: Any) -> Charge | None:
        try:
            return self.deps.ledger.apply(
                key, event, now=self.deps.clock.now(), who=self.batch.who, why=why, attempt=attempt, **facts
            )
        except TransitionRefused:
            return None  # someone found our claim and doubted it: Settle reads Omie, our word is not needed

    def _apply(self, key: ChargeKey, event: Event, why: str, *, line: PlanLine, **facts: Any) -> Charge | None:
        return self._record(
            key,
            event,
            why,
            None,
            company=self.batch.company,
            amount=line.amount,
            plan_hash=self.batch.plan_hash,
            run=self.batch.run,
            additions=[Addition.from_dict(each).charged() for each in line.additions],  # should a person bill it
            composition=line.composition(self.batch.plan_key),
            **facts,
        )

    def _brought_to_nothing(self, line: PlanLine, key: ChargeKey, error: OmieError) -> None:
        """Reading, creating or altering failed: nothing was billed, so the charge itself is in no doubt."""
        match error:
            case Blocked():
                self._stop(error)
            case KeyRefused():
                self._key_refused(error)
            case Rejected():
                self._park(line, key, REJECTED, f"O Omie recusou o contrato: {error.text}")
            case NotExecuted() if error.rule in ASKED_BEFORE or error.http_status is None:
                self._not_yet(self._now() + (error.retry_after or STAGE_SHOWN_FOR))
            case _:
                self.batch.counts["left"] += 1
                self.unread = True
                self._pause_for(error)

    def _rejected(self, line: PlanLine, key: ChargeKey, error: Rejected, attempt: str | None) -> None:
        if isinstance(error, KeyRefused):
            self._record(key, Event.NOT_EXECUTED, error.text, attempt)
            self._key_refused(error)
        reason = f"O Omie recusou o faturamento: {error.text}"
        charge = self._record(key, Event.REJECT, reason, attempt, reason_code=REJECTED, reason=reason)
        if charge is not None:
            self._tell(line, charge)

    def _park(self, line: PlanLine, key: ChargeKey, code: str, reason: str) -> None:
        parked = self._apply(key, Event.PARK, reason, line=line, reason_code=code, reason=reason)
        if parked is not None:
            self._tell(line, parked)

    def _tell(self, line: PlanLine, parked: Charge) -> None:
        self.batch.counts["parked"] += 1
        tell(parked, self.deps.ledger, self.deps.queues, nCodCtr=line.nCodCtr)

    def _pause_for(self, error: OmieError) -> None:
        """Throttled: the whole lane rests as long as Omie asks. Nobody's attempts are used up by it."""
        if error.retry_after:
            until = self.deps.clock.now().timestamp() + error.retry_after
            self.deps.lanes.block(self.batch.company, until, error.text)
            raise LaneStopped(until)

    def _stop(self, error: Blocked) -> NoReturn:
        until = self.deps.clock.now().timestamp() + (error.retry_after or PAUSE_AFTER_KEY_REFUSED)
        self.deps.lanes.block(self.batch.company, until, error.text)
        raise LaneStopped(until)

    def _key_refused(self, error: OmieError) -> NoReturn:
        until = self.deps.clock.now().timestamp() + PAUSE_AFTER_KEY_REFUSED
        self.deps.lanes.block(self.batch.company, until, f"Chave do Omie recusada: {error.text}")
        raise LaneStopped(until)
