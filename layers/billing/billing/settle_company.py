"""Says what really became of a company's plan, by reading: nothing is guessed, nothing is sent from here.

    ledger BILLED, PARKED, HELD      settled; but PARKED for a missed month, and Omie shows an order of it: adopt
    ledger SENDING, UNKNOWN          in doubt: rests, and is then found out by reading (see `billing.doubt`)
    nothing in the ledger, READY     not sent (throttled, a batch lost, a worker killed): sent again in the next round
        but   Omie shows it billed   a person billed it: adopt

The answer's `decision` is "wait" (with `wait_seconds`), "bill" (with new `batches`) or "done".
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.bill_batch import ADDITIONS, CREATION
from billing.clock import Clock
from billing.domain.addition import Addition, as_billed, total
from billing.domain.charge import UNDECIDED, Charge, ChargeKey, Event, State, TransitionRefused
from billing.domain.composition import Composition
from billing.domain.month import BillingMonth
from billing.domain.plan import Action, PlanLine, Reason, chunks
from billing.doubt import Books, Doubts, Resolution, Verdict
from billing.omie.client import OmieClient
from billing.parking import REJECTED, tell
from billing.plan_company import write_batches
from billing.settings import Settings
from billing.store.ports import Charges, Messages, Objects, Runs

MAX_ROUNDS = 6
"""After so many rounds what is still unsent is parked: something keeps it from being billed, and a person must look."""
UNSENT = frozenset({None, State.READY})


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
    """Answers the plan's event with `decision`, `round`, and what the books of this company say now."""
    return _Settlement(planned, deps).run()


class _Settlement:
    def __init__(self, planned: dict[str, Any], deps: SettleDeps) -> None:
        self.planned = {name: value for name, value in planned.items() if name not in {"approval", "error"}}
        self.deps = deps
        self.company: str = planned["company"]
        self.month = BillingMonth.parse(planned["month"])
        self.settings = deps.settings.companies[self.company]
        self.now = deps.clock.now()
        self.who = f"settle_company {planned['execution']}"
        self.books = Books(deps.omie(self.company), self.month, deps.clock)
        self._doubts_of: dict[str, Doubts] = {}

    def run(self) -> dict[str, Any]:
        resting, unsent = self._settle_each()
        round_ = self.planned["round"]
        answer = self.planned | {"mismatches": 0, "in_doubt": resting.count, "wait_seconds": 0}
        if resting.count:
            wait = max(1, int((resting.until - self.deps.clock.now()).total_seconds()) + 1)
            return answer | {"decision": "wait", "wait_seconds": wait}
        if unsent and round_ < MAX_ROUNDS:
            batches = write_batches(self.deps.objects, self.planned, unsent, round_ + 1, as_of=self.now)
            return answer | {"decision": "bill", "round": round_ + 1, "batches": batches}
        for line in unsent:
            reason = f"Não foi possível enviar em {MAX_ROUNDS} tentativas seguidas."
            self._park(line, "not_sent", reason)
        return answer | {"decision": "done", "mismatches": self._compare()}

    # --- each line of the plan -------------------------------------------------------------------------------------

    def _settle_each(self) -> tuple["_Resting", list[PlanLine]]:
        resting = _Resting(self.now)
        unsent: list[PlanLine] = []
        for line, charge in self._charges():
            state = charge.state if charge else None
            if charge is not None and state in UNDECIDED:
                self._doubt(line, charge, resting, unsent)
            elif line.reason_code == Reason.BILLED_IN_OMIE:
                if state is not State.BILLED:
                    self._adopt(line, charge, "faturado por uma pessoa no Omie antes da execução")
            elif line.action is Action.BILL and state in UNSENT:
                self._unsent(line, charge, resting, unsent)
            elif charge is not None and _missed(charge) and self.books.billed(charge.nCodCtr or line.nCodCtr):
                self._adopt(line, charge, "faturado por uma pessoa no Omie antes que o mês terminasse")
        return resting, unsent

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
            mismatches += charge.state is State.BILLED and self._differs_from_omie(charge)
        counts = {"billed": states[State.BILLED], "parked": states[State.PARKED], "in_doubt": 0}
        self.deps.runs.set_progress(self.planned["run"], self.company, **counts)
        return mismatches

    def _charges(self) -> Iterator[tuple[PlanLine, Charge | None]]:
        """Every line of the plan with its charge, a hundred read at a time."""
        lines = map(PlanLine.from_json, self.deps.objects.read_lines(self.planned["plan"]["key"]))
        for chunk in chunks(lines, 100):
            keys = [ChargeKey(line.contract, self.month) for line in chunk]
            charges = self.deps.ledger.get_many(keys)
            yield from ((line, charges.get(key)) for line, key in zip(chunk, keys, strict=True))

    def _doubt(self, line: PlanLine, charge: Charge, resting: "_Resting", unsent: list[PlanLine]) -> None:
        resolution = self._doubts(charge.company).resolve(charge, line.nCodCtr)
        resting.add_if_waiting(resolution)
        if resolution.verdict is Verdict.RELEASED and line.action is Action.BILL:
            unsent.append(line)

    def _unsent(self, line: PlanLine, charge: Charge | None, resting: "_Resting", unsent: list[PlanLine]) -> None:
        nCodCtr = (charge.nCodCtr if charge else None) or line.nCodCtr
        if line.work == "create" and nCodCtr is None:
            creation = self._creation(line, resting)
            if creation is not None and creation.state in UNDECIDED | {State.PARKED}:
                return
            nCodCtr = creation.nCodCtr if creation and creation.company == self.company else None
        if self.books.billed(nCodCtr):
            self._adopt(line, charge, "faturado por uma pessoa no Omie durante a execução", nCodCtr)
        elif (until := self._altering(line)) is not None:
            resting.add(until)
        elif charge is not None and charge.failures >= self.settings.max_failures:
            reason = f"Falhou {charge.failures} vezes seguidas no Omie."
            self._park(line, "too_many_failures", reason)
        else:
            unsent.append(line)

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

    def _altering(self, line: PlanLine) -> datetime | None:
        """Until when a forgotten call may still put additions on the Omie contract, or take them off."""
        putting = self.deps.ledger.get(ChargeKey(line.contract, self.month, ADDITIONS))
        if putting is None or putting.state not in UNDECIDED:
            return None
        return self._doubts(putting.company).rests_until(putting)

    def _doubts(self, company: str) -> Doubts:
        """A contract that moved here may be in doubt in the company it left: only that one's Omie can tell."""
        if company not in self.deps.settings.companies:  # no key to read that Omie with: a person must
            company = self.company
        if company not in self._doubts_of:
            books = self.books
            if company != self.company:
                books = Books(self.deps.omie(company), self.month, self.deps.clock)
            wait = timedelta(seconds=self.deps.settings.companies[company].in_doubt_wait_seconds)
            self._doubts_of[company] = Doubts(self.deps.ledger, self.deps.queues, books, wait, self.now, self.who)
        return self._doubts_of[company]

    # --- Omie, in bulk -----------------------------------------------------------------------------------------------

    def _differs_from_omie(self, charge: Charge) -> bool:
        """In the Omie where it was billed: the contract may have moved here since."""
        order = self._doubts(charge.company).books.order(charge.nCodCtr)
        return order is not None and order.amount != charge.amount

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
        nCodCtr = nCodCtr or (charge.nCodCtr if charge else None) or line.nCodCtr
        order = self.books.order(nCodCtr)
        additions = charge.additions if charge else _charged(line)
        amount = charge.amount if charge else line.amount + total(additions) - line.additions_total
        self._apply(
            ChargeKey(line.contract, self.month),
            Event.ADOPT,
            why,
            attempt=charge.attempt if charge else None,
            **self._first(line),
            nCodCtr=nCodCtr,
            nCodOS=order.nCodOS if order else None,
            composition=self._composition(line, charge),
            additions=as_billed(additions, amount, order.amount if order else None),
        )

    def _composition(self, line: PlanLine, charge: Charge | None = None) -> Composition:
        """What the charge keeps already; else what this plan says of the contract."""
        kept = charge.composition if charge else None
        return kept or line.composition(self.planned["plan"]["key"])

    def _park(self, line: PlanLine, code: str, reason: str) -> None:
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
        )
        if parked is not None:
            tell(parked, self.deps.ledger, self.deps.queues, nCodCtr=line.nCodCtr)


def _missed(charge: Charge) -> bool:
    """Whether a person is told to bill it by a service order, which nobody has looked for yet."""
    return charge.state is State.PARKED and charge.reason_code == Reason.MISSED_MONTH


def _charged(line: PlanLine) -> list[dict[str, Any]]:
    """What a billing by hand charges on top, if the plan's additions, or an earlier one's, were there by then."""
    return [Addition.from_dict(each).charged() for each in line.additions]


@dataclass
class _Resting:
    """Charges that nobody may decide yet, and when the last of them may be."""

    until: datetime
    count: int = 0

    def add(self, until: datetime) -> None:
        self.count += 1
        self.until = max(self.until, until)

    def add_if_waiting(self, resolution: Resolution) -> None:
        if resolution.verdict in {Verdict.RESTS, Verdict.MOVED}:
            self.add(resolution.until)
