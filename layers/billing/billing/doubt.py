"""What became of a charge whose end nobody knows: found by reading Omie in bulk, never by sending.

    SENDING, UNKNOWN        rests until the in-doubt wait is over, counted from its claim; then, inside its own month
        a live OS of it     adopt
        Omie's stage 20,    may be sent again, if both lists are as late as assumed; if they are later by the orders
          and no OS of it   that the ledger knows (`billing.domain.list_lag`), it rests as much longer
        anything else       asked again for a while, then a person
    its month is over       the stages speak of another month and prove nothing: an OS of it: adopt; none: a person
    altering the contract   nothing to find out: it is read before it is billed
    PARKED, once in doubt   the same reading; what still cannot be told stays with the person

Settle asks this at the end of a run, `billing-ops resolve` and `dlq redrive` ask it any time after.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from billing.bill_batch import ALTERATION, CREATION, Look, keep_look
from billing.clock import Clock
from billing.domain.addition import as_billed
from billing.domain.charge import Charge, Event, State, TransitionRefused, sent_at
from billing.domain.list_lag import GONE_AFTER, ListLag
from billing.domain.month import MIDNIGHT_MARGIN, SAO_PAULO, BillingMonth, may_send
from billing.domain.plan import CANCELLED_REASON
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.parking import tell
from billing.store.ports import Charges, Messages, Objects

UNCLEAR_REASON = (
    "Não se sabe se foi faturado: o Omie não o mostra na lista a faturar nem mostra OS deste mês. "
    "Confira no Omie e não reenvie."
)
MONTH_OVER_REASON = (
    "Não se sabe se foi faturado: o mês terminou e o Omie não mostra OS dele deste contrato. "
    "Confira no Omie antes de cobrar por ordem de serviço avulsa."
)
STALE_REASON = (
    "Não se sabe se foi faturado: as listas do Omie estão atrasadas e ainda não mostram ordens que ele confirmou. "
    "Confira no Omie e não reenvie."
)
UNCLEAR_FOR = timedelta(minutes=10)
"""How long what Omie shows neither way is asked again after the in-doubt wait, before a person is asked."""
STALE_FOR = timedelta(minutes=30)
"""How long lists that are later than assumed are waited for after the in-doubt wait, before a person is asked."""
ASK_AGAIN = timedelta(seconds=61)


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

        a live order of the month                     billed
        stage 20, and no order of the month           not billed: it may be sent
        anything else, a cancelled order with it      not known

    Stage 30 proves nothing: until Omie turns its stages to the new month it shows what was billed last month. Make it
    after the in-doubt wait of what it is asked about: an older reading proves nothing.
    """

    omie: OmieClient
    month: BillingMonth
    clock: Clock
    lag: ListLag
    """How late both lists are, by earlier looks; `measure` adds this one."""
    late: int = 0
    """How many orders that the ledger knows `measure` did not find."""
    looked_at: float | None = None
    """When stage 20 was asked for (epoch seconds); None: it was not."""
    _measured: bool = False
    _to_bill: frozenset[int] | None = None
    _orders: dict[int, Order] | None = None
    _listed: dict[int, bool] = field(default_factory=dict)
    """nCodOS -> whether the order is live."""
    _cancelled: dict[int, Order] = field(default_factory=dict)
    _numbers: dict[str, int] | None = None
    _none_billed: bool | None = None
    _created: dict[str, int] | None = None

    def shows(self, nCodCtr: int | None, *, sent: bool = True) -> Shown:
        """`sent`: whether a call of ours may have billed it. If not, and stage 30 is empty, ListarOS is not asked: an
        empty list is an error that counts.
        """
        if nCodCtr is None:
            return Shown.UNCLEAR
        waiting = nCodCtr in self.to_bill()  # before the orders: a billing in between then shows as one
        if not sent and self.none_billed():
            return Shown.TO_BILL if waiting else Shown.UNCLEAR
        if self.order(nCodCtr) is not None:
            return Shown.BILLED
        return Shown.TO_BILL if waiting and nCodCtr not in self._cancelled else Shown.UNCLEAR

    def orders(self) -> dict[int, Order]:
        """nCodCtr -> the live OS that the contract's billing made in this month."""
        if self._orders is None:
            self._orders = self._read_orders()
        return self._orders

    def order(self, nCodCtr: int | None) -> Order | None:
        orders = self.orders()
        return orders.get(nCodCtr) if nCodCtr is not None else None

    def cancelled(self, nCodCtr: int | None) -> Order | None:
        """The contract's OS of this month that a person cancelled, where no live one stands beside it."""
        return self.all_cancelled().get(nCodCtr) if nCodCtr is not None else None

    def all_cancelled(self) -> dict[int, Order]:
        """nCodCtr -> what `cancelled` answers, of the contracts that have one."""
        self.orders()
        return self._cancelled

    def lists(self, nCodOS: int) -> bool:
        """Whether that OS is among the month's orders that nobody cancelled, of whatever contract."""
        self.orders()
        return self._listed.get(nCodOS, False)

    def measure(self, charges: Iterable[Charge]) -> None:
        """Once: how late both lists are by those of `charges` of which Omie itself answered that it billed them.

        While stage 20 still shows all of them, ListarOS is not asked: it is probably empty, an error that counts.
        """
        if self._measured:
            return
        self._measured = True
        waiting = self.to_bill()
        for charge in charges:
            sent = sent_at(charge)
            if sent is None or charge.nCodOS is None:
                continue
            shown = charge.nCodCtr not in waiting
            if shown:
                self.orders()
                shown = charge.nCodOS in self._listed
            if not self._listed.get(charge.nCodOS, True):
                continue  # cancelled by a person: its contract may stand in stage 20 again
            age = (self.clock.now() - sent).total_seconds()
            self.lag = self.lag.seen(age, listed=shown)
            self.late += not shown and age < GONE_AFTER

    def created(self, contract: str) -> int | None:
        """nCodCtr of a contract created in Omie since the month began, by its code."""
        if self._created is None:
            first = f"{self.month.first_day:%d/%m/%Y}"
            recent = self.omie.iter_contratos(filtrar_apenas_inclusao="S", filtrar_por_data_de=first)
            self._created = {found.cCodIntCtr: found.nCodCtr for found in map(mapping.compact, recent)}
        return self._created.get(contract)

    def turning(self, at: datetime) -> bool:
        """Whether these are the month's first or last minutes: its stages prove nothing, and its orders not yet."""
        return self.month == BillingMonth.of(at) and not may_send(self.month, at, MIDNIGHT_MARGIN)

    def to_bill(self) -> frozenset[int]:
        """The contracts in stage 20. Empty when it was not, or no longer, this month when Omie answered."""
        if self._to_bill is None:
            self.looked_at = self.clock.now().timestamp()
            read = frozenset(nCodCtr for nCodCtr, _ in self.omie.obter_contratos(20)) if self._own_month() else ()
            self._to_bill = frozenset(read) if self._own_month() else frozenset()
        return self._to_bill

    def none_billed(self) -> bool:
        """Whether stage 30 is empty, so that nothing was billed in this month, nor in the one before."""
        if self._none_billed is None:
            self._none_billed = self._own_month() and not self.omie.obter_contratos(30) and self._own_month()
        return self._none_billed

    def _own_month(self) -> bool:
        return may_send(self.month, self.clock.now(), MIDNIGHT_MARGIN)

    def _by_number(self) -> dict[str, int]:
        if self._numbers is None:
            self._numbers = {cNumCtr: nCodCtr for nCodCtr, cNumCtr in self.omie.obter_contratos(10) if cNumCtr}
        return self._numbers

    def _read_orders(self) -> dict[int, Order]:
        """Until tomorrow, should it be tomorrow already by Omie's clock."""
        tomorrow = self.clock.now().astimezone(SAO_PAULO).date() + timedelta(days=1)
        until = min(max(tomorrow, self.month.first_day), self.month.last_day)
        found: dict[int, Order] = {}
        for os in self.omie.iter_os(self.month.first_day, until):
            order = mapping.billed_order(os, self._by_number)
            nCodOS, live = mapping.order_number(os)
            self._listed[nCodOS] = live
            if order is None:
                continue
            if not order.live:
                self._cancelled[order.nCodCtr] = Order(order.nCodOS, order.amount)
                continue
            # two of one month are more than was planned, and show up as a mismatch
            known = found.get(order.nCodCtr, Order(order.nCodOS, 0))
            found[order.nCodCtr] = Order(known.nCodOS, known.amount + order.amount)
        self._cancelled = {nCodCtr: order for nCodCtr, order in self._cancelled.items() if nCodCtr not in found}
        return found


def keep_books_look(objects: Objects, company: str, books: Books) -> None:
    """What `books` saw in stage 20, for the batches; nothing while the month begins or ends, when it proves nothing."""
    if books.looked_at is not None and not books.turning(books.clock.now()):
        keep_look(objects, company, Look(books.looked_at, books.to_bill()))


def unclear_reason(books: Books, nCodCtr: int | None) -> str:
    cancelled = books.cancelled(nCodCtr)
    return CANCELLED_REASON.format(cancelled.nCodOS) if cancelled else UNCLEAR_REASON


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
        wait: the in-doubt wait, longer than a call can last and the lists are assumed to be late.
        now: before anything of `books` was read.
        who: for the history.
    """

    company: str
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
        if charge.key.kind == ALTERATION:
            return self._release(charge, "a chamada terminou; o contrato é lido de novo antes de ser faturado")
        nCodCtr = charge.nCodCtr or nCodCtr
        match self.books.shows(nCodCtr):
            case Shown.BILLED:
                return self._adopt(charge, nCodCtr)
            case Shown.TO_BILL:
                return self._not_billed(charge, nCodCtr)
        now = self.books.clock.now()
        if self.books.turning(now):  # it began to while Omie answered
            return Resolution(Verdict.RESTS, charge, now + MIDNIGHT_MARGIN)
        if charge.state is not State.PARKED and self._may_clear_up(charge):
            return Resolution(Verdict.RESTS, charge, now + ASK_AGAIN)
        return self._leave(charge, nCodCtr)

    def _not_billed(self, charge: Charge, nCodCtr: int | None) -> Resolution:
        """Both lists say so: it may be sent again, unless they are later than assumed. Then it rests, up to a bound."""
        fresh_at = self._fresh_at(charge)
        if self.now >= fresh_at:
            return self._release(charge, "em dúvida; o Omie mostra que não foi faturado")
        bound = fresh_at - self._later() + STALE_FOR
        if charge.state is State.PARKED or self.now < bound:
            return Resolution(Verdict.RESTS, charge, fresh_at if charge.state is State.PARKED else min(fresh_at, bound))
        return self._leave(charge, nCodCtr, STALE_REASON)

    def look_early(self) -> datetime | None:
        """While charges rest, looks how late the lists are; answers when to look again, or None: nothing more to learn.

        At once, and while an order that the ledger knows is missing: when the youngest should be listed, then each
        minute.
        """
        if self.books.lag.measured:
            return None
        youngest = max(filter(None, map(sent_at, self._billed())), default=None)
        if youngest is None:
            return None
        self.measure()
        if not self.books.late:
            return None
        listed_by = youngest + timedelta(seconds=self.books.lag.assumed + 1)
        return max(listed_by, self.books.clock.now() + ASK_AGAIN)

    def measure(self) -> None:
        """Looks for every order that the ledger knows: `books.lag` says how late the lists are."""
        self.books.measure(self._billed())

    def _billed(self) -> Iterator[Charge]:
        return self.ledger.by_month(self.company, self.books.month, {State.BILLED})

    def _later(self) -> timedelta:
        """By how much the lists are later than assumed."""
        lag = self.books.lag
        return timedelta(seconds=max(0.0, lag.seconds - lag.assumed))

    def _fresh_at(self, charge: Charge) -> datetime:
        """From when on both lists show what the charge's call may have billed, by what was measured until now."""
        self.measure()
        since = charge.claimed_at or charge.updated_at
        return since + self.wait + self._later() if since is not None else self.now

    def _may_clear_up(self, charge: Charge) -> bool:
        """Whether what Omie shows neither way is too young to ask a person about."""
        since = charge.claimed_at or charge.updated_at
        over = self.books.month < BillingMonth.of(self.now)
        return since is not None and not over and self.now < since + self.wait + UNCLEAR_FOR

    def foresee(self, charge: Charge) -> Resolution:
        """What `resolve` would come to, without writing anything."""
        until = self.rests_until(charge)
        if until is not None:
            return Resolution(Verdict.RESTS, charge, until)
        if charge.key.kind == CREATION:
            shown = Shown.BILLED if self.books.created(charge.key.contract) else Shown.TO_BILL
        elif charge.key.kind == ALTERATION:
            shown = Shown.TO_BILL
        else:
            shown = self.books.shows(charge.nCodCtr)
            if shown is Shown.TO_BILL and self.now < (fresh_at := self._fresh_at(charge)):
                return Resolution(Verdict.RESTS, charge, fresh_at)
        unclear = Verdict.STAYS if charge.state is State.PARKED else Verdict.PARKED
        if unclear is Verdict.PARKED and shown is Shown.UNCLEAR and self._may_clear_up(charge):
            return Resolution(Verdict.RESTS, charge, self.now + ASK_AGAIN)
        verdict = {Shown.BILLED: Verdict.ADOPTED, Shown.TO_BILL: Verdict.RELEASED}.get(shown, unclear)
        return Resolution(verdict, charge, self.now)

    def rests_until(self, charge: Charge) -> datetime | None:
        """When the charge may be decided, if not yet: after the wait, and not while the month is about to turn.

        As much later as the lists are known to be late, but not beyond the bound, when it is looked at once more.
        """
        since = charge.claimed_at or charge.updated_at
        wait = self.wait + min(self._later(), STALE_FOR)
        if since is not None and self.now < since + wait:
            return since + wait
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
        assert order is not None  # noqa: S101 - shown as billed by its order
        why = "em dúvida; o Omie mostra a OS deste mês"
        facts = {
            "nCodCtr": nCodCtr,
            "nCodOS": order.nCodOS,
            "additions": as_billed(charge.additions, charge.amount, order.amount),
        }
        return self._done(Verdict.ADOPTED, charge, self._apply(charge, Event.ADOPT, why, **facts))

    def _release(self, charge: Charge, why: str) -> Resolution:
        event = Event.REDRIVE if charge.state is State.PARKED else Event.RESEND
        return self._done(Verdict.RELEASED, charge, self._apply(charge, event, why))

    def _leave(self, charge: Charge, nCodCtr: int | None, reason: str = "") -> Resolution:
        if charge.state is State.PARKED:
            return Resolution(Verdict.STAYS, charge, self.now)
        over = self.books.month < BillingMonth.of(self.now)
        reason = reason or (MONTH_OVER_REASON if over else unclear_reason(self.books, nCodCtr))
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
