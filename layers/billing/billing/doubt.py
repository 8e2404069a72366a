"""What became of a charge whose end nobody knows: found by reading Omie in bulk, never by sending.

    SENDING, UNKNOWN        rests until the in-doubt wait is over, counted from its claim; then, inside its own month
        Omie's stage 30     adopt, with the OS found in bulk
        Omie's stage 20     may be sent again
        neither             an OS that the contract's billing made this month: adopt; none: a person
    its month is over       the stages speak of another month and prove nothing: an OS of it: adopt; none: a person
    putting additions on    nothing to find out: whoever bills the contract reads it first
    PARKED, once in doubt   the same reading; what still cannot be told stays with the person

Settle asks this at the end of a run, `billing-ops resolve` and `dlq redrive` ask it any time after.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from billing.bill_batch import ADDITIONS, CREATION, MIDNIGHT_MARGIN
from billing.clock import Clock
from billing.domain.addition import as_billed
from billing.domain.charge import Charge, Event, State, TransitionRefused
from billing.domain.month import SAO_PAULO, BillingMonth, may_send
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.parking import tell
from billing.store.ports import Charges, Messages

UNCLEAR_REASON = "Não se sabe se foi faturado: o Omie não o mostra nem a faturar nem faturado."
MONTH_OVER_REASON = (
    "Não se sabe se foi faturado: o mês terminou e o Omie não mostra OS dele deste contrato. "
    "Confira no Omie antes de cobrar por ordem de serviço avulsa."
)


class Order(NamedTuple):
    """What Omie billed in the month, in centavos; the OS is the first, should there be more than one."""

    nCodOS: int
    amount: int


class Shown(StrEnum):
    """What Omie shows of one contract's billing month."""

    BILLED = "billed"
    TO_BILL = "to_bill"
    UNCLEAR = "unclear"


@dataclass
class Books:
    """One company's month as Omie shows it. Each list is read once, when it is first needed.

    Make it after the in-doubt wait of what it is asked about: an older reading proves nothing.
    """

    omie: OmieClient
    month: BillingMonth
    clock: Clock
    _stages: dict[int, dict[int, str]] = field(default_factory=dict)
    _orders: dict[int, Order] | None = None
    _created: dict[str, int] | None = None

    def shows(self, nCodCtr: int | None) -> Shown:
        if nCodCtr is None:
            return Shown.UNCLEAR
        if nCodCtr in self._stage(30):
            return Shown.BILLED
        if nCodCtr in self._stage(20):
            return Shown.TO_BILL
        return Shown.BILLED if self.order(nCodCtr) else Shown.UNCLEAR

    def billed(self, nCodCtr: int | None) -> bool:
        """Whether a person or a forgotten call has billed it; cheaper than `shows` for what was never sent."""
        if nCodCtr is None:
            return False
        if self._own_month() and nCodCtr in self._stage(30):
            return True
        return not self._own_month() and self.order(nCodCtr) is not None

    def orders(self) -> dict[int, Order]:
        """nCodCtr -> the OS the contract's billing made in this month."""
        if self._orders is None:
            self._orders = self._read_orders()
        return self._orders

    def order(self, nCodCtr: int | None) -> Order | None:
        orders = self.orders()
        return orders.get(nCodCtr) if nCodCtr is not None else None

    def created(self, contract: str) -> int | None:
        """nCodCtr of a contract created in Omie since the month began, by its code."""
        if self._created is None:
            first = f"{self.month.first_day:%d/%m/%Y}"
            recent = self.omie.iter_contratos(filtrar_apenas_inclusao="S", filtrar_por_data_de=first)
            self._created = {found.cCodIntCtr: found.nCodCtr for found in map(mapping.compact, recent)}
        return self._created.get(contract)

    def turning(self, at: datetime) -> bool:
        """Whether these are the month's last minutes: its stages prove nothing any more, and its orders not yet."""
        return self.month == BillingMonth.of(at) and not may_send(self.month, at, MIDNIGHT_MARGIN)

    def _stage(self, cEtapa: int) -> dict[int, str]:
        """nCodCtr -> cNumCtr. Empty when it was not, or no longer, this month when Omie answered."""
        if cEtapa not in self._stages:
            read = dict(self.omie.obter_contratos(cEtapa)) if self._own_month() else {}
            self._stages[cEtapa] = read if self._own_month() else {}
        return self._stages[cEtapa]

    def _own_month(self) -> bool:
        return may_send(self.month, self.clock.now(), MIDNIGHT_MARGIN)

    def _read_orders(self) -> dict[int, Order]:
        billed = self._stage(30) if self._own_month() else {}
        if not self._own_month():  # which it may have become while Omie answered
            billed = dict(self.omie.obter_contratos(10))
        by_number = {cNumCtr: nCodCtr for nCodCtr, cNumCtr in billed.items() if cNumCtr}
        today = self.clock.now().astimezone(SAO_PAULO).date()
        until = min(max(today, self.month.first_day), self.month.last_day)
        found: dict[int, Order] = {}
        for os in self.omie.iter_os(self.month.first_day, until):
            order = mapping.billed_order(os, by_number)
            if order is not None:  # two of one month are more than was planned, and show up as a mismatch
                known = found.get(order.nCodCtr, Order(order.nCodOS, 0))
                found[order.nCodCtr] = Order(known.nCodOS, known.amount + order.amount)
        return found


class Verdict(StrEnum):
    RESTS = "rests"  # nobody may decide yet
    ADOPTED = "adopted"
    RELEASED = "released"  # may be sent again
    PARKED = "parked"
    STAYS = "stays"  # parked already, and still nobody can tell
    MOVED = "moved"  # somebody else was faster: look again


class Resolution(NamedTuple):
    """`charge` as the ledger has it now; `until` is when a RESTS or MOVED one may be looked at again."""

    verdict: Verdict
    charge: Charge
    until: datetime


@dataclass(frozen=True)
class Doubts:
    """Resolves charges of one company and month.

    Args:
        wait: the in-doubt wait.
        now: before anything of `books` was read.
        who: for the history.
    """

    ledger: Charges
    queues: Messages
    books: Books
    wait: timedelta
    now: datetime
    who: str

    def resolve(self, charge: Charge, nCodCtr: int | None = None) -> Resolution:
        """Settle one charge in SENDING, UNKNOWN or PARKED, of any kind. `nCodCtr`: for one that names none."""
        until = self.rests_until(charge)
        if until is not None:
            return Resolution(Verdict.RESTS, charge, until)
        if charge.state is State.SENDING:
            doubted = self._apply(charge, Event.IN_DOUBT, "quem enviou não voltou para dizer o resultado")
            if doubted is None:  # its writer answered in this very moment
                return self._moved(charge)
            charge = doubted
        if charge.key.kind == CREATION:
            return self._resolve_creation(charge)
        if charge.key.kind == ADDITIONS:
            return self._release(charge, "a chamada terminou; o contrato é lido de novo antes de ser faturado")
        nCodCtr = charge.nCodCtr or nCodCtr
        match self.books.shows(nCodCtr):
            case Shown.BILLED:
                return self._adopt(charge, nCodCtr)
            case Shown.TO_BILL:
                return self._release(charge, "em dúvida; o Omie mostra que não foi faturado")
        now = self.books.clock.now()
        if self.books.turning(now):  # it began to while Omie answered
            return Resolution(Verdict.RESTS, charge, now + MIDNIGHT_MARGIN)
        return self._leave(charge)

    def foresee(self, charge: Charge) -> Resolution:
        """What `resolve` would come to, without writing anything."""
        until = self.rests_until(charge)
        if until is not None:
            return Resolution(Verdict.RESTS, charge, until)
        if charge.key.kind == CREATION:
            shown = Shown.BILLED if self.books.created(charge.key.contract) else Shown.TO_BILL
        elif charge.key.kind == ADDITIONS:
            shown = Shown.TO_BILL
        else:
            shown = self.books.shows(charge.nCodCtr)
        unclear = Verdict.STAYS if charge.state is State.PARKED else Verdict.PARKED
        verdict = {Shown.BILLED: Verdict.ADOPTED, Shown.TO_BILL: Verdict.RELEASED}.get(shown, unclear)
        return Resolution(verdict, charge, self.now)

    def rests_until(self, charge: Charge) -> datetime | None:
        """When the charge may be decided, if not yet: after the wait, and not while the month is about to turn."""
        since = charge.claimed_at or charge.updated_at
        if since is not None and self.now < since + self.wait:
            return since + self.wait
        return self.now + MIDNIGHT_MARGIN if self.books.turning(self.now) else None

    def _resolve_creation(self, charge: Charge) -> Resolution:
        created = self.books.created(charge.key.contract)
        if created is None:
            return self._release(charge, "o contrato não está no Omie")
        return self._done(
            Verdict.ADOPTED, charge, self._apply(charge, Event.ADOPT, "o contrato está no Omie", nCodCtr=created)
        )

    def _adopt(self, charge: Charge, nCodCtr: int | None) -> Resolution:
        order = self.books.order(nCodCtr)
        why = "em dúvida; o Omie mostra o contrato como faturado neste mês"
        facts = {
            "nCodCtr": nCodCtr,
            "nCodOS": order.nCodOS if order else None,
            "additions": as_billed(charge.additions, charge.amount, order.amount if order else None),
        }
        return self._done(Verdict.ADOPTED, charge, self._apply(charge, Event.ADOPT, why, **facts))

    def _release(self, charge: Charge, why: str) -> Resolution:
        event = Event.REDRIVE if charge.state is State.PARKED else Event.RESEND
        return self._done(Verdict.RELEASED, charge, self._apply(charge, event, why))

    def _leave(self, charge: Charge) -> Resolution:
        if charge.state is State.PARKED:
            return Resolution(Verdict.STAYS, charge, self.now)
        over = self.books.month < BillingMonth.of(self.now)
        reason = MONTH_OVER_REASON if over else UNCLEAR_REASON
        parked = self._apply(charge, Event.PARK, reason, reason_code="in_doubt", reason=reason)
        if parked is not None:
            tell(parked, self.ledger, self.queues)
        return self._done(Verdict.PARKED, charge, parked)

    def _apply(self, charge: Charge, event: Event, why: str, **facts: Any) -> Charge | None:
        """None: the charge moved while we looked."""
        try:
            return self.ledger.apply(
                charge.key, event, now=self.now, who=self.who, why=why, attempt=charge.attempt, **facts
            )
        except TransitionRefused:
            return None

    def _done(self, verdict: Verdict, before: Charge, after: Charge | None) -> Resolution:
        return Resolution(verdict, after, self.now) if after is not None else self._moved(before)

    def _moved(self, charge: Charge) -> Resolution:
        return Resolution(Verdict.MOVED, charge, self.now + timedelta(seconds=1))
