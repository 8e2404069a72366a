"""Says what really became of a company's plan, by reading: nothing is guessed, nothing is sent from here.

    ledger BILLED, PARKED, HELD      settled
    ledger SENDING, UNKNOWN          in doubt: rests until the in-doubt wait is over, counted from its claim
        then  Omie's stage 30        adopt, with the OS found in bulk
              Omie's stage 20        may be sent again
              neither                a person
    nothing in the ledger, READY     not sent (throttled, a batch lost, a worker killed): sent again in the next round
        but   Omie's stage 30        a person billed it: adopt

The answer's `decision` is "wait" (with `wait_seconds`), "bill" (with new `batches`) or "done".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from billing.bill_batch import CREATION
from billing.clock import Clock
from billing.domain.charge import Charge, ChargeKey, Event, ParkClass, State, TransitionRefused
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.plan import Action, PlanLine, Reason
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.parking import park_message
from billing.plan_company import write_batches
from billing.settings import Settings
from billing.store.ports import Charges, Messages, Objects

MAX_ROUNDS = 6
"""After so many rounds what is still unsent is parked: something keeps it from being billed, and a person must look."""
UNDECIDED = frozenset({State.SENDING, State.UNKNOWN})
UNSENT = frozenset({None, State.READY})


@dataclass(frozen=True)
class SettleDeps:
    settings: Settings
    ledger: Charges
    objects: Objects
    queues: Messages
    omie: Callable[[str], OmieClient]
    clock: Clock


@dataclass(frozen=True)
class Order:
    """An OS that billing made: what Omie billed, in centavos."""

    nCodOS: int
    amount: int


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
        self.omie = deps.omie(self.company)
        self._stages: dict[int, dict[int, str]] = {}
        self._orders: dict[int, Order] | None = None

    def run(self) -> dict[str, Any]:
        resting, unsent, mismatches = self._settle_each()
        round_ = self.planned["round"]
        answer = self.planned | {"mismatches": mismatches, "in_doubt": resting.count, "wait_seconds": 0}
        if resting.count:
            wait = max(1, int((resting.until - self.now).total_seconds()) + 1)
            return answer | {"decision": "wait", "wait_seconds": wait}
        if unsent and round_ < MAX_ROUNDS:
            batches = write_batches(self.deps.objects, self.planned, unsent, round_ + 1)
            return answer | {"decision": "bill", "round": round_ + 1, "batches": batches}
        for line in unsent:
            reason = f"Não foi possível enviar em {MAX_ROUNDS} tentativas seguidas."
            self._park(line, None, ParkClass.TRANSIENT, "not_sent", reason)
        return answer | {"decision": "done"}

    # --- each line of the plan -------------------------------------------------------------------------------------

    def _settle_each(self) -> tuple["_Resting", list[PlanLine], int]:
        resting = _Resting(self.now)
        unsent: list[PlanLine] = []
        mismatches = 0
        for lines in self._chunks():
            keys = [ChargeKey(line.contract, self.month) for line in lines]
            charges = self.deps.ledger.get_many(keys)
            for line, key in zip(lines, keys, strict=True):
                charge = charges.get(key)
                state = charge.state if charge else None
                if line.action is Action.SKIP:
                    if line.reason_code == Reason.BILLED_IN_OMIE and state in UNSENT:
                        self._adopt(line, charge, "faturado por uma pessoa no Omie antes da execução")
                elif charge is not None and state in UNDECIDED:
                    self._doubt(line, charge, resting, unsent)
                elif state in UNSENT:
                    self._unsent(line, charge, resting, unsent)
                elif charge is not None and state is State.BILLED:
                    mismatches += self._differs_from_omie(charge)
        return resting, unsent, mismatches

    def _chunks(self) -> Iterator[list[PlanLine]]:
        chunk: list[PlanLine] = []
        for text in self.deps.objects.read_lines(self.planned["plan"]["key"]):
            line = PlanLine.from_json(text)
            if line.action is Action.BILL or line.reason_code in {Reason.BILLED_IN_OMIE, Reason.IN_DOUBT}:
                chunk.append(line)
            if len(chunk) == 100:
                yield chunk
                chunk = []
        yield chunk

    def _doubt(self, line: PlanLine, charge: Charge, resting: "_Resting", unsent: list[PlanLine]) -> None:
        wait = timedelta(seconds=self.settings.in_doubt_wait_seconds)
        rests_until = (charge.claimed_at or charge.updated_at or self.now) + wait
        if self.now < rests_until:
            resting.add(rests_until)
            return
        if charge.state is State.SENDING:
            doubted = self._apply(
                charge.key,
                Event.IN_DOUBT,
                "quem enviou não voltou para dizer o resultado",
                attempt=charge.attempt,
            )
            if doubted is None:  # its writer answered in this very moment
                resting.add(self.now + timedelta(seconds=1))
                return
            charge = doubted
        nCodCtr = charge.nCodCtr or line.nCodCtr
        if nCodCtr in self._stage(30):
            self._adopt(line, charge, "em dúvida; o Omie mostra o contrato como faturado neste mês")
        elif nCodCtr in self._stage(20):
            if self._apply(
                charge.key,
                Event.RESEND,
                "em dúvida; o Omie mostra que não foi faturado",
                attempt=charge.attempt,
            ):
                unsent.append(line)
        else:
            reason = "Não se sabe se foi faturado: o Omie não o mostra nem a faturar nem faturado."
            self._park(line, charge.attempt, ParkClass.IN_DOUBT, "in_doubt", reason)

    def _unsent(
        self, line: PlanLine, charge: Charge | None, resting: "_Resting", unsent: list[PlanLine]
    ) -> None:
        nCodCtr = (charge.nCodCtr if charge else None) or line.nCodCtr
        if line.work == "create" and nCodCtr is None and not self._creation_settled(line, resting):
            return
        if nCodCtr is not None and nCodCtr in self._stage(30):
            self._adopt(line, charge, "faturado por uma pessoa no Omie durante a execução")
        elif charge is not None and charge.failures >= self.settings.max_failures:
            reason = f"Falhou {charge.failures} vezes seguidas no Omie."
            self._park(line, None, ParkClass.TRANSIENT, "too_many_failures", reason)
        else:
            unsent.append(line)

    def _creation_settled(self, line: PlanLine, resting: "_Resting") -> bool:
        """Whether it is certain by now if the contract was created; it settles like a charge, by reading."""
        key = ChargeKey(line.contract, self.month, CREATION)
        creation = self.deps.ledger.get(key)
        if creation is None or creation.state not in UNDECIDED:
            if creation is not None and creation.state is State.PARKED:
                self._park(
                    line,
                    None,
                    ParkClass.DATA,
                    "omie_rejected",
                    creation.reason or "O Omie recusou o contrato.",
                )
                return False
            return True
        wait = timedelta(seconds=self.settings.in_doubt_wait_seconds)
        rests_until = (creation.claimed_at or self.now) + wait
        if self.now < rests_until:
            resting.add(rests_until)
            return False
        if creation.state is State.SENDING:
            self._apply(key, Event.IN_DOUBT, "quem criava não voltou", attempt=creation.attempt)
        created = self._created_contracts().get(line.contract)
        if created is not None:
            self._apply(
                key, Event.ADOPT, "o contrato está no Omie", attempt=creation.attempt, nCodCtr=created
            )
        else:
            self._apply(key, Event.RESEND, "o contrato não está no Omie", attempt=creation.attempt)
        return True

    # --- Omie, in bulk -----------------------------------------------------------------------------------------------

    def _stage(self, cEtapa: int) -> dict[int, str]:
        """nCodCtr -> cNumCtr. Read only now, after the in-doubt wait: an older answer would prove nothing."""
        if cEtapa not in self._stages:
            self._stages[cEtapa] = dict(self.omie.obter_contratos(cEtapa))
        return self._stages[cEtapa]

    def _order(self, nCodCtr: int | None) -> Order | None:
        if self._orders is None:
            self._orders = _orders(
                self.omie, self.month, self.now.astimezone(SAO_PAULO).date(), self._stage(30)
            )
        return self._orders.get(nCodCtr) if nCodCtr is not None else None

    def _created_contracts(self) -> dict[str, int]:
        first = self.month.first_day.strftime("%d/%m/%Y")
        recent = self.omie.iter_contratos(filtrar_apenas_inclusao="S", filtrar_por_data_de=first)
        return {found.cCodIntCtr: found.nCodCtr for found in map(mapping.compact, recent)}

    def _differs_from_omie(self, charge: Charge) -> int:
        order = self._order(charge.nCodCtr)
        return int(order is not None and order.amount != charge.amount)

    # --- the ledger ----------------------------------------------------------------------------------------------------

    def _apply(
        self, key: ChargeKey, event: Event, why: str, *, attempt: str | None, **facts: Any
    ) -> Charge | None:
        try:
            return self.deps.ledger.apply(
                key, event, now=self.now, who=self.who, why=why, attempt=attempt, **facts
            )
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

    def _adopt(self, line: PlanLine, charge: Charge | None, why: str) -> None:
        nCodCtr = (charge.nCodCtr if charge else None) or line.nCodCtr
        order = self._order(nCodCtr)
        self._apply(
            ChargeKey(line.contract, self.month),
            Event.ADOPT,
            why,
            attempt=charge.attempt if charge else None,
            **self._first(line),
            nCodCtr=nCodCtr,
            nCodOS=order.nCodOS if order else None,
        )

    def _park(self, line: PlanLine, attempt: str | None, kind: ParkClass, code: str, reason: str) -> None:
        key = ChargeKey(line.contract, self.month)
        parked = self._apply(
            key, Event.PARK, reason, attempt=attempt, **self._first(line), reason_code=code, reason=reason
        )
        if parked is not None:
            self.deps.queues.park(
                park_message(line, kind, reason), group=self.company, dedup=f"{key}#{self.planned['round']}"
            )


@dataclass
class _Resting:
    """Charges that nobody may decide yet, and when the last of them may be."""

    until: datetime
    count: int = 0

    def add(self, until: datetime) -> None:
        self.count += 1
        self.until = max(self.until, until)


def _orders(omie: OmieClient, month: BillingMonth, today: date, billed: dict[int, str]) -> dict[int, Order]:
    """nCodCtr -> the OS its billing made this month; `billed` is stage 30, nCodCtr -> cNumCtr."""
    by_number = {cNumCtr: nCodCtr for nCodCtr, cNumCtr in billed.items() if cNumCtr}
    found: dict[int, Order] = {}
    for os in omie.iter_os(month.first_day, max(today, month.first_day)):
        order = mapping.billed_order(os, by_number)
        if order is not None:
            found[order.nCodCtr] = Order(order.nCodOS, order.amount)
    return found
