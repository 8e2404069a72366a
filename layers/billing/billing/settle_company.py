"""Says what really became of a company's plan, by reading: nothing is guessed, nothing is sent from here.

    ledger BILLED, PARKED, HELD      settled; but PARKED for a missed month, and Omie shows an order of it: adopt
    ledger SENDING, UNKNOWN          in doubt: rests, and is then found out by reading (see `billing.doubt`)
    nothing in the ledger, READY     not sent (throttled, a batch lost, a worker killed), or altered and not billed yet:
        Omie shows an order of it        a person billed it: adopt
        it stands in stage 20            sent in the next round
        neither                          asked again; when many are, Omie's month has not turned: the company waits
        neither, and on hold             held: it was stopped in Omie by this system
    ledger BILLED                    compared: another amount, two orders, or one that a person cancelled is said

The answer's `decision` is "wait" (with `wait_seconds`), "bill" (with new `batches`) or "done".
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from billing.batches import pages, write_batches, written
from billing.bill_batch import ALTERATION, CREATION, is_written
from billing.clock import Clock
from billing.domain.addition import Addition, as_billed, total
from billing.domain.charge import UNDECIDED, Charge, ChargeKey, Event, State, TransitionRefused, was_sent
from billing.domain.composition import Composition
from billing.domain.list_lag import ListLag
from billing.domain.month import MIDNIGHT_MARGIN, SAO_PAULO, BillingMonth, may_send, opens_at
from billing.domain.plan import Action, PlanLine, Reason, chunks
from billing.doubt import (
    ASK_AGAIN,
    UNCLEAR_FOR,
    Books,
    Doubts,
    Order,
    Resolution,
    Shown,
    Verdict,
    keep_books_look,
    unclear_reason,
)
from billing.omie.client import OmieClient
from billing.omie.replies import BLOCK_SECONDS, Blocked, NotExecuted
from billing.order_names import LedgerOrders
from billing.parking import REJECTED, tell
from billing.settings import Settings
from billing.store.objects import ObjectMissing, cancelled_orders_key
from billing.store.ports import Charges, Messages, Objects, Runs

ASK_AGAIN_MANY = timedelta(minutes=10)
"""How often Omie is asked whether its month has turned."""
MAX_ROUNDS = 6
"""After so many rounds a contract that is still unsent is parked: something keeps it from being billed, and a person
must look. Each contract has its own: one that is tried in vain uses up none of those that rest meanwhile."""
MOST_NAMED = 20
"""Cancelled orders that the run's state names; more of them are in a file, because Step Functions carries 256 KB."""
UNREAD_FOR = timedelta(hours=2)
"""How long a company waits for an Omie that cannot be read, before it fails."""
UNCLEAR = "unclear_in_omie"
"""Reason code: Omie showed it neither with an order nor to be billed for too long."""
UNNAMED = "order_unnamed"
"""Reason code: Omie shows orders that may be of it, and does not say whose they are."""
MISSED_REASON = "O mês desta cobrança terminou antes que ela fosse enviada."
UNSENT = frozenset({None, State.READY})
_NOT_KEPT = frozenset({"approval", "error", "cancelled_orders_key", "unread_since", "held_since", "list_lag"})
"""Of the run's state: what is said anew, or not at all."""


@dataclass(frozen=True)
class SettleDeps:
    settings: Settings
    ledger: Charges
    runs: Runs
    objects: Objects
    queues: Messages
    omie: Callable[[str], OmieClient]
    clock: Clock


def settle_company(planned: dict[str, Any], deps: SettleDeps) -> dict[str, Any]:
    """Answers the plan's event with `decision`, `round`, and what the books of this company say now.

    While the lane is blocked nothing can be read: the answer is to wait as long. An Omie that does not answer, or whose
    list changes while it is read, is waited for as well.

    Raises:
        OmieError: Omie refuses to be read, or could not be for `UNREAD_FOR`.
    """
    try:
        return _Settlement(planned, deps).run()
    except Blocked as blocked:
        wait = int(blocked.retry_after or BLOCK_SECONDS) + 1
        return planned | {"decision": "wait", "wait_seconds": wait, "waiting_for": "lane"}
    except NotExecuted as unread:
        now = deps.clock.now()
        since = planned.get("unread_since") or now.isoformat()
        if now >= datetime.fromisoformat(since) + UNREAD_FOR:
            raise
        wait = int(max(ASK_AGAIN.total_seconds(), unread.retry_after or 0.0)) + 1
        return planned | {
            "decision": "wait", "wait_seconds": wait, "waiting_for": "omie", "unread_since": since,
        }  # fmt: skip


class _Settlement:
    def __init__(self, planned: dict[str, Any], deps: SettleDeps) -> None:
        self.planned = {name: value for name, value in planned.items() if name not in _NOT_KEPT}
        self.deps = deps
        self.company: str = planned["company"]
        self.month = BillingMonth.parse(planned["month"])
        self.settings = deps.settings.companies[self.company]
        self.now = deps.clock.now()
        self.who = f"settle_company {planned['execution']}"
        lag = ListLag(self.settings.list_lag_seconds, **planned.get("list_lag", {}))
        self.books = self._books_of(self.company, lag)
        self.lines = 0
        self.unclear_many = False
        self.listed_by: datetime | None = None
        """When Omie's list shows the last order that it does not show yet."""
        self.expected_by = self.now
        """When it should, by the setting; from then on it is looked for each minute."""
        self.cancelled: list[dict[str, Any]] = []
        """BILLED charges whose order a person cancelled in Omie: {contract, nCodOS, amount in centavos}."""
        self.differing: list[dict[str, Any]] = []
        """Charges that Omie billed for another amount: {contract, nCodOS, amount, in_omie}, in centavos."""
        self.held_before: dict[str, str] = planned.get("held_since", {})
        self.held_since: dict[str, str] = {}
        """Contracts on hold that Omie shows neither way: since when (ISO)."""
        self._doubts_of: dict[str, Doubts] = {}

    @property
    def list_lag(self) -> timedelta:
        return timedelta(seconds=self.books.lag.seconds)

    def run(self) -> dict[str, Any]:
        resting, unsent, unclear = self._settle_each()
        look_early = self._doubts(self.company).look_early() if resting.doubts else None
        waiting_for = self._rest_or_park(self._without_held(unclear, resting), resting)
        keep_books_look(self.deps.objects, self.company, self.books)
        round_ = self.planned["round"]
        found = {"mismatches": 0, "cancelled_orders": [], "differing_orders": []}
        answer = self.planned | found | {"in_doubt": resting.count, "wait_seconds": 0}
        answer |= waiting_for | ({"held_since": self.held_since} if self.held_since else {})
        if unsent := self._with_rounds_left(unsent):  # what rests keeps no other waiting
            page_of = pages(self.deps.objects, self.planned["plan"]["key"])
            batches = write_batches(
                self.deps.objects,
                self.planned,
                unsent,
                round_ + 1,
                page_of=lambda line: page_of.get(line.contract, 0),
                looked_at=self.books.looked_at,
                began=self.now.timestamp(),
            )
            return answer | self._list_lag() | {"decision": "bill", "round": round_ + 1, "batches": batches}
        if resting.count:
            until = min(resting.until, look_early) if look_early else resting.until
            wait = max(1, int((until - self.deps.clock.now()).total_seconds()) + 1)
            return answer | self._list_lag() | {"decision": "wait", "wait_seconds": wait}
        mismatches = self._compare()
        answer |= self._list_lag()
        if self.listed_by is not None:
            now = self.deps.clock.now()
            until = min(self.listed_by, max(self.expected_by, now + ASK_AGAIN))
            wait = int((until - now).total_seconds()) + 2
            return answer | {"decision": "wait", "wait_seconds": max(1, wait), "waiting_for": "order_list"}
        return answer | {"decision": "done", "mismatches": mismatches} | self._named_orders()

    def _list_lag(self) -> dict[str, Any]:
        """What was measured, for the next look and CloseRun; said to who follows when it is not as assumed."""
        lag = self.books.lag
        if not lag.in_time:
            self.deps.runs.set_progress(self.planned["run"], self.company, list_lag=round(lag.missing))
        return {"list_lag": lag.measures()}

    def _named_orders(self) -> dict[str, Any]:
        """The cancelled orders for CloseRun: the first of them and, when there are more, the key of a file with all."""
        named: dict[str, Any] = {
            "cancelled_orders": self.cancelled[:MOST_NAMED],
            "differing_orders": self.differing[:MOST_NAMED],
        }
        if len(self.cancelled) > MOST_NAMED:
            key = cancelled_orders_key(self.planned["plan"]["key"])
            self.deps.objects.put_json(key, self.cancelled)
            named["cancelled_orders_key"] = key
        return named

    def _with_rounds_left(self, unsent: list[PlanLine]) -> list[PlanLine]:
        """Those that were not in `MAX_ROUNDS` rounds yet; the others are parked."""
        if self.planned["round"] < MAX_ROUNDS:
            return unsent
        tried = self._rounds_of()
        left = [line for line in unsent if tried[line.contract] < MAX_ROUNDS]
        for line in unsent:
            if tried[line.contract] >= MAX_ROUNDS:
                reason = f"Não foi possível enviar em {MAX_ROUNDS} tentativas seguidas."
                self._park(line, "not_sent", reason)
        return left

    def _rounds_of(self) -> Counter[str]:
        """Contract -> in how many rounds after the first it was to be sent, by the files that the rounds were given.

        A round whose file is gone counts for every contract of the plan: the rounds must end.
        """
        tried: Counter[str] = Counter()
        for round_ in range(1, self.planned["round"] + 1):
            try:
                batches = list(written(self.deps.objects, self.planned["plan"]["key"], round_))
            except ObjectMissing:
                tried.update(line.contract for line, _ in self._charges())
                continue
            tried.update(line["contract"] for batch in batches for line in batch["lines"])
        return tried

    # --- each line of the plan -------------------------------------------------------------------------------------

    def _settle_each(self) -> tuple["_Resting", list[PlanLine], list["_Unclear"]]:
        resting = _Resting(self.now)
        unsent: list[PlanLine] = []
        unclear: list[_Unclear] = []
        for line, charge in self._charges():
            state = charge.state if charge else None
            if charge is not None and state in UNDECIDED:
                self._doubt(line, charge, resting, unsent)
            elif line.reason_code == Reason.BILLED_IN_OMIE:
                if state is not State.BILLED and self._order_of(line, charge) is not None:
                    self._adopt(line, charge, "faturado por uma pessoa no Omie antes da execução")
            elif line.action is Action.BILL and state in UNSENT:
                self._unsent(line, charge, resting, unsent, unclear)
            elif charge is not None and _missed(charge):
                if self._order_of(line, charge) is not None:
                    self._adopt(line, charge, "faturado por uma pessoa no Omie antes que o mês terminasse")
                elif not self._is_listed_by_now(charge):  # a click a moment before: its order is not listed yet
                    resting.add(charge.updated_at + self.list_lag if charge.updated_at else self.now)
            self.lines += line.action is Action.BILL
        return resting, unsent, unclear

    def _order_of(self, line: PlanLine, charge: Charge | None) -> Order | None:
        return self.books.order(self._number(line, charge))

    def _number(self, line: PlanLine, charge: Charge | None) -> int | None:
        """The contract's nCodCtr in this company's Omie; a charge may name the one in a company that it left."""
        own = charge.nCodCtr if charge is not None and charge.company == self.company else None
        return own or line.nCodCtr

    def _without_held(self, unclear: list["_Unclear"], resting: "_Resting") -> list["_Unclear"]:
        """Those on no hold: what churned during the run was stopped in Omie by us, and is held.

        Not before the lists have shown a billing of a moment ago: a person may have billed it, and then it is adopted.
        """
        held = self.deps.ledger.held_many(each.line.contract for each in unclear) if unclear else set()
        for line in (each.line for each in unclear if each.line.contract in held):
            since = self.held_before.get(line.contract) or self.now.isoformat()
            listed_by = datetime.fromisoformat(since) + self.list_lag
            if self.now <= listed_by:
                resting.add(listed_by + timedelta(seconds=1))
                if len(self.held_since) < MOST_NAMED:  # the others are asked again with the last of these
                    self.held_since[line.contract] = since
                continue
            reason = self.deps.ledger.hold(line.contract) or ""
            key, made = ChargeKey(line.contract, self.month), self._composition(line)
            told = {"reason_code": "held", "reason": reason, "additions": _charged(line), "composition": made}
            self._apply(key, Event.HOLD, reason, attempt=None, **self._first(line), **told)
        return [each for each in unclear if each.line.contract not in held]

    def _rest_or_park(self, unclear: list["_Unclear"], resting: "_Resting") -> dict[str, Any]:
        """What Omie shows neither way rests, and is parked when that lasts; answers what the company waits for.

        When more of the plan than the setting's share is neither, Omie's stages have not turned to the new month: the
        company waits for that, and what is to be sent meanwhile is sent.
        """
        if not unclear:
            if self.planned.get("unclear_since"):
                self._say_unclear(0)
            return {"unclear_since": "", "waiting_for": ""}
        since = self.planned.get("unclear_since") or self.now.isoformat()
        share = self.settings.unclear_share_percent
        self.unclear_many = len(unclear) * 100 > share * self.lines and not self._month_ends()
        until = datetime.fromisoformat(since) + UNCLEAR_FOR
        if self.unclear_many:
            turned = opens_at(self.month, timedelta(hours=self.settings.month_turn_hours))
            until = max(until, turned)
        if self.now >= until:
            unclear = self._park_unclear(unclear)
            if not unclear:
                self._say_unclear(0)
                return {"unclear_since": "", "waiting_for": ""}
            self.unclear_many = False
            until = max(each.written for each in unclear if each.written) + UNCLEAR_FOR
        now = self.deps.clock.now()
        again = min(now + (ASK_AGAIN_MANY if self.unclear_many else ASK_AGAIN), max(until, now))
        for _ in unclear:
            resting.add(again)
        self._say_unclear(len(unclear), again)
        return {"unclear_since": since, "waiting_for": "month_turn" if self.unclear_many else "unclear"}

    def _park_unclear(self, unclear: list["_Unclear"]) -> list["_Unclear"]:
        """Those that have not been written to for long enough; the others are answered, and rest as long."""
        young = []
        for each in unclear:
            if each.written is not None and self.now < each.written + UNCLEAR_FOR:
                young.append(each)
            elif self._month_ends() and self.books.cancelled(each.nCodCtr) is None:
                self._park(each.line, Reason.MISSED_MONTH, MISSED_REASON)
            else:
                code = UNNAMED if self.books.unnamed(each.nCodCtr) else UNCLEAR
                self._park(each.line, code, unclear_reason(self.books, each.nCodCtr), nCodCtr=each.nCodCtr)
        return young

    def _say_unclear(self, number: int, again: datetime | None = None) -> None:
        """For who follows the run: how many rest, whether Omie's month has not turned, and when Omie is asked again."""
        self.deps.runs.set_progress(
            self.planned["run"],
            self.company,
            unclear=number,
            month_not_turned=int(self.unclear_many and number > 0),
            asked_again_at=int(again.timestamp()) if again else 0,
        )

    def _compare(self) -> int:
        """How many charges Omie billed for another amount, or twice: compared once, when nothing is left to settle.

        The counters people watch are put right on the way: they know neither a killed worker's batch nor adoptions. And
        what is parked is told, should who parked it have been killed before.
        """
        states: Counter[State] = Counter()
        mismatches = 0
        for line, charge in self._charges():
            if charge is None:
                continue
            if not charge.told:
                tell(charge, self.deps.ledger, self.deps.queues, nCodCtr=line.nCodCtr)
            states[charge.state] += line.action is Action.BILL
            if charge.state is State.BILLED:
                mismatches += self._differs_from_omie(charge)
        counts = {"billed": states[State.BILLED], "parked": states[State.PARKED], "in_doubt": 0}
        self.deps.runs.set_progress(self.planned["run"], self.company, **counts)
        return mismatches

    def _charges(self) -> Iterator[tuple[PlanLine, Charge | None]]:
        """Every line of the plan with its charge, a hundred read at a time."""
        lines = map(PlanLine.from_json, self.deps.objects.read_lines(self.planned["plan"]["key"]))
        for chunk in chunks(lines, 100):
            keys = [ChargeKey(line.contract, self.month) for line in chunk]
            self.books.customers |= {line.nCodCtr: line.nCodCli for line in chunk if line.nCodCtr and line.nCodCli}
            charges = self.deps.ledger.get_many(keys)
            yield from ((line, charges.get(key)) for line, key in zip(chunk, keys, strict=True))

    def _doubt(self, line: PlanLine, charge: Charge, resting: "_Resting", unsent: list[PlanLine]) -> None:
        resolution = self._doubts(charge.company).resolve(charge, line.nCodCtr)
        resting.add_if_waiting(resolution)
        if resolution.verdict is Verdict.RELEASED and line.action is Action.BILL:
            unsent.append(line)

    def _unsent(
        self,
        line: PlanLine,
        charge: Charge | None,
        resting: "_Resting",
        unsent: list[PlanLine],
        unclear: list["_Unclear"],
    ) -> None:
        nCodCtr = self._number(line, charge)
        written = None
        if line.work == "create" and nCodCtr is None:
            creation = self._creation(line, resting)
            if creation is not None and creation.state in UNDECIDED | {State.PARKED}:
                return
            if creation is not None and creation.company == self.company:
                nCodCtr, written = creation.nCodCtr, creation.updated_at
        altering = self.deps.ledger.get(ChargeKey(line.contract, self.month, ALTERATION)) if nCodCtr else None
        if altering is not None and altering.state in UNDECIDED:
            until = self._doubts(altering.company).rests_until(altering)
            resting.add_if(until)
            if until is None:
                unsent.append(line)
            return
        if altering is not None and is_written(altering, self.planned["plan"]["hash"]):
            written = altering.updated_at
        if self.planned["round"] == 0 and written is not None:
            # written in the first round and left to the next one: Omie shows it by then
            shown_at = written + timedelta(seconds=self.settings.read_lag_seconds)
            if shown_at > self.now:
                resting.add(shown_at)
            else:
                unsent.append(line)
            return
        sent = charge is not None and was_sent(charge)  # and found not to be billed since
        shown = self.books.shows(nCodCtr, sent=sent) if nCodCtr is not None else Shown.TO_BILL
        if shown is Shown.BILLED:
            self._adopt(line, charge, "faturado por uma pessoa no Omie durante a execução", nCodCtr)
        elif charge is not None and charge.failures >= self.settings.max_failures:
            reason = f"Falhou {charge.failures} vezes seguidas no Omie."
            self._park(line, "too_many_failures", reason)
        elif self._month_ends():
            unclear.append(_Unclear(line, nCodCtr, written))
        elif shown is Shown.TO_BILL or (line.work != "none" and written is None and not sent):
            unsent.append(line)  # what is to be written first may not be in stage 20 yet, but was never sent either
        else:
            unclear.append(_Unclear(line, nCodCtr, written))

    def _month_ends(self) -> bool:
        """Whether the month is over, or almost: its stages are not read any more, and nothing is sent."""
        last_day_came = self.now.astimezone(SAO_PAULO).date() >= self.month.last_day
        return last_day_came and not may_send(self.month, self.now, MIDNIGHT_MARGIN)

    def _creation(self, line: PlanLine, resting: "_Resting") -> Charge | None:
        """The contract's creation in Omie, as far as it is certain by now; it settles like a charge, by reading."""
        creation = self.deps.ledger.get(ChargeKey(line.contract, self.month, CREATION))
        if creation is not None and creation.state is State.PARKED:
            reason = creation.reason or "O Omie recusou o contrato."
            self._park(line, REJECTED, reason)
        if creation is None or creation.state not in UNDECIDED:
            return creation
        resolution = self._doubts(creation.company).resolve(creation)
        resting.add_if_waiting(resolution)
        return resolution.charge

    def _doubts(self, company: str) -> Doubts:
        """A contract that moved here may be in doubt in the company it left: only that one's Omie can tell."""
        if company not in self.deps.settings.companies:  # no key to read that Omie with: a person must
            company = self.company
        if company not in self._doubts_of:
            books = self.books
            if company != self.company:
                lag = ListLag(self.deps.settings.companies[company].list_lag_seconds)
                books = self._books_of(company, lag)
            wait = timedelta(seconds=self.deps.settings.companies[company].in_doubt_wait_seconds)
            self._doubts_of[company] = Doubts(
                company, self.deps.ledger, self.deps.queues, books, wait, self.now, self.who
            )
        return self._doubts_of[company]

    def _books_of(self, company: str, lag: ListLag) -> Books:
        ours = LedgerOrders(self.deps.ledger, company, self.month)
        return Books(self.deps.omie(company), self.month, self.deps.clock, lag, ours)

    # --- Omie, in bulk -----------------------------------------------------------------------------------------------

    def _differs_from_omie(self, charge: Charge) -> bool:
        """In the Omie where it was billed: the contract may have moved here since. A cancelled order is noted."""
        books = self._doubts(charge.company).books
        order = books.order(charge.nCodCtr)
        if order is None and (nCodOS := self._gone(charge, books)) is not None:
            self.cancelled.append({"contract": charge.key.contract, "nCodOS": nCodOS, "amount": charge.amount})
        if order is None or order.amount == charge.amount:
            return False
        facts = {"nCodOS": order.nCodOS, "amount": charge.amount, "in_omie": order.amount}
        self.differing.append({"contract": charge.key.contract} | facts)
        return True

    def _gone(self, charge: Charge, books: Books) -> int | None:
        """The nCodOS of a billing whose order was cancelled, or is not listed any more although it should be by now."""
        if (cancelled := books.cancelled(charge.nCodCtr)) is not None:
            return cancelled.nCodOS
        if charge.nCodOS is None or books.lists(charge.nCodOS):
            return None
        self._doubts(charge.company).measure()
        listed_by = (charge.updated_at or self.now) + timedelta(seconds=books.lag.by_those_found)
        if charge.updated_at is None or listed_by < self.now:
            return charge.nCodOS
        self.listed_by = max(self.listed_by or self.now, listed_by)
        assumed = timedelta(seconds=books.lag.assumed)
        self.expected_by = max(self.expected_by, charge.updated_at + assumed)
        return None

    def _is_listed_by_now(self, charge: Charge) -> bool:
        """Whether Omie's lists show a billing of before the charge's last change."""
        return charge.updated_at is None or charge.updated_at + self.list_lag < self.now

    # --- the ledger --------------------------------------------------------------------------------------------------

    def _apply(self, key: ChargeKey, event: Event, why: str, *, attempt: str | None, **facts: Any) -> Charge | None:
        try:
            return self.deps.ledger.apply(key, event, now=self.now, who=self.who, why=why, attempt=attempt, **facts)
        except TransitionRefused:
            return None  # it moved while we looked: the next round sees where it is

    def _first(self, line: PlanLine) -> dict[str, Any]:
        plan_hash = self.planned["plan"]["hash"]
        return {
            "company": self.company,
            "amount": line.amount,
            "plan_hash": plan_hash,
            "run": self.planned["run"],
        }

    def _adopt(self, line: PlanLine, charge: Charge | None, why: str, nCodCtr: int | None = None) -> None:
        nCodCtr = nCodCtr or self._number(line, charge)
        order = self.books.order(nCodCtr)
        assert order is not None  # noqa: S101 - nothing is adopted without one
        additions = charge.additions if charge else _charged(line)
        amount = charge.amount if charge else line.amount + total(additions) - line.additions_total
        self._apply(
            ChargeKey(line.contract, self.month),
            Event.ADOPT,
            why,
            attempt=charge.attempt if charge else None,
            **self._first(line),
            nCodCtr=nCodCtr,
            nCodOS=order.nCodOS,
            composition=self._composition(line, charge),
            additions=as_billed(additions, amount, order.amount),
        )

    def _composition(self, line: PlanLine, charge: Charge | None = None) -> Composition:
        """What the charge keeps already; else what this plan says of the contract."""
        kept = charge.composition if charge else None
        return kept or line.composition(self.planned["plan"]["key"])

    def _park(self, line: PlanLine, code: str, reason: str, **facts: Any) -> None:
        parked = self._apply(
            ChargeKey(line.contract, self.month),
            Event.PARK,
            reason,
            attempt=None,
            **self._first(line),
            reason_code=code,
            reason=reason,
            additions=_charged(line),
            composition=self._composition(line),
            **facts,
        )
        if parked is not None:
            tell(parked, self.deps.ledger, self.deps.queues, nCodCtr=line.nCodCtr)


def _missed(charge: Charge) -> bool:
    """Whether a person is told to bill it by a service order, which nobody has looked for yet."""
    return charge.state is State.PARKED and charge.reason_code == Reason.MISSED_MONTH


def _charged(line: PlanLine) -> list[dict[str, Any]]:
    """What a billing by hand charges on top, if the plan's additions, or an earlier one's, were there by then."""
    return [Addition.from_dict(each).charged() for each in line.additions]


class _Unclear(NamedTuple):
    """A line that Omie shows neither with an order nor to be billed."""

    line: PlanLine
    nCodCtr: int | None
    written: datetime | None
    """When it was created or altered: Omie's stages show it a while later."""


@dataclass
class _Resting:
    """Charges that nobody may decide yet, and when the last of them may be."""

    until: datetime
    count: int = 0
    doubts: int = 0
    """How many of them are in doubt."""

    def add(self, until: datetime) -> None:
        self.count += 1
        self.until = max(self.until, until)

    def add_if(self, until: datetime | None) -> None:
        if until is not None:
            self.add(until)

    def add_if_waiting(self, resolution: Resolution) -> None:
        if resolution.verdict in {Verdict.RESTS, Verdict.MOVED}:
            self.add(resolution.until)
            self.doubts += 1
