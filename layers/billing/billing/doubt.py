"""What became of a charge whose end nobody knows: found by reading Omie in bulk, never by sending.

    SENDING, UNKNOWN        rests until the in-doubt wait is over, counted from its claim; then, inside its own month
        a live OS of it     adopt
        Omie's stage 20,    may be sent again, if both lists are as late as assumed; if they are later by the orders
          and no OS of it   that the ledger knows (`billing.domain.list_lag`), it rests as much longer
        an OS that may be   asked again for a while, then a person: Omie does not say of which contract it is
          of it             (`billing.order_names`)
        anything else       asked again for a while, then a person
    its month is over       the stages speak of another month and prove nothing: an OS of it: adopt; none: a person
    altering the contract   nothing to find out: it is read before it is billed
    PARKED, once in doubt   the same reading; what still cannot be told stays with the person

Settle asks this at the end of a run, `billing-ops resolve` and `dlq redrive` ask it any time after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from billing.bill_batch import ALTERATION, CREATION, Look, keep_look
from billing.clock import Clock
from billing.domain.addition import as_billed
from billing.domain.charge import Charge, Event, KnownOrder, State, TransitionRefused
from billing.domain.list_lag import ListLag
from billing.domain.month import MIDNIGHT_MARGIN, SAO_PAULO, BillingMonth, may_send
from billing.domain.plan import CANCELLED_REASON
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.omie.mapping import BilledOrder, UnnamedOrder
from billing.order_names import LedgerOrders, OrderNames
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
UNNAMED_REASON = (
    "Não se sabe se foi faturado: o Omie mostra OS deste mês sem dizer de qual contrato ({}). "
    "Abra no Omie e confira: se alguma for deste contrato, ele já foi faturado. Não reenvie."
)
MOST_NAMED = 5
"""Orders that one reason names."""
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
        an order that may be of it, and names none    not known

    Stage 30 proves nothing: until Omie turns its stages to the new month it shows what was billed last month. Make it
    after the in-doubt wait of what it is asked about: an older reading proves nothing.
    """

    omie: OmieClient
    month: BillingMonth
    clock: Clock
    lag: ListLag
    """How late both lists are, by earlier looks; `measure` adds this one."""
    ours: LedgerOrders | None = None
    """What the ledger knows. Without it, as for a plan, all orders that name no contract are named at once."""
    customers: dict[int, int] = field(default_factory=dict)
    """nCodCtr -> nCodCli, as far as it is known: whose unnamed orders may be of that contract."""
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
    _names: OrderNames = field(init=False)

    def __post_init__(self) -> None:
        self._names = OrderNames(self.omie, self._by_number, self.customers)

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
        clear = nCodCtr not in self._cancelled and not self.unnamed(nCodCtr)
        return Shown.TO_BILL if waiting and clear else Shown.UNCLEAR

    def orders(self) -> dict[int, Order]:
        """nCodCtr -> the live OS that the contract's billing made in this month, of those that are named by now."""
        if self._orders is None:
            self._orders = self._read_orders()
        return self._orders

    def order(self, nCodCtr: int | None) -> Order | None:
        """Of `orders`, once the orders of its customer that name no contract were asked for."""
        if nCodCtr is None:
            return None
        self._find_out(nCodCtr)
        return self.orders().get(nCodCtr)

    def unnamed(self, nCodCtr: int | None) -> list[int]:
        """The nCodOS of orders that may be of that contract, cancelled ones with them, and whose nobody can tell."""
        if nCodCtr is None:
            return []
        self._find_out(nCodCtr)
        return self._names.left(nCodCtr)

    def cancelled(self, nCodCtr: int | None) -> Order | None:
        """The contract's OS of this month that a person cancelled, where no live one stands beside it."""
        if nCodCtr is None:
            return None
        self._find_out(nCodCtr)
        return self._cancelled.get(nCodCtr)

    def all_cancelled(self) -> dict[int, Order]:
        """nCodCtr -> what `cancelled` answers, of the contracts that have one and whose orders are named by now."""
        self.orders()
        return self._cancelled

    def lists(self, nCodOS: int) -> bool:
        """Whether that OS is among the month's orders that nobody cancelled, of whatever contract."""
        self.orders()
        return self._listed.get(nCodOS, False)

    @property
    def known(self) -> Sequence[KnownOrder]:
        """The orders of which Omie itself answered, by the ledger."""
        return self.ours.answered if self.ours is not None else ()

    def measure(self) -> None:
        """Once: how late both lists are, by the orders that are known.

        While stage 20 still shows all of them, and none should be billed there by now, ListarOS is not asked: it is
        probably empty, an error that counts. A cancelled order is as good a witness as a live one, but its contract
        may stand in stage 20 again.
        """
        if self._measured:
            return
        self._measured = True
        waiting = self.to_bill()
        asked_at = self.clock.now() if self.looked_at is None else datetime.fromtimestamp(self.looked_at, UTC)
        overdue = asked_at - timedelta(seconds=self.lag.assumed)
        if any(order.nCodCtr not in waiting or order.answered < overdue for order in self.known):
            self.orders()
        now = self.clock.now()
        for order in sorted(self.known, key=lambda each: each.sent, reverse=True):  # the youngest first
            live = self._listed.get(order.nCodOS)
            if live is False or (live and order.nCodCtr not in waiting):
                self.lag = self.lag.found((now - order.sent).total_seconds())
            elif (age := (asked_at - order.answered).total_seconds()) >= 0:
                self.late += not self.lag.undone(age)
                self.lag = self.lag.lacking(age)

    @property
    def lists_nothing(self) -> bool:
        """Whether ListarOS was asked, and is empty: an error that counts."""
        return self._orders is not None and not self._listed

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
            if isinstance(order, UnnamedOrder):
                order = self._named_by_the_ledger(order)
            if order is not None:
                self._keep(order, found)
        if self.ours is None:
            for order in self._names.find_out_all(self.month.first_day, until):
                self._keep(order, found)
        return found

    def _named_by_the_ledger(self, order: UnnamedOrder) -> BilledOrder | None:
        """None: the ledger does not know it; it is asked for when a contract of its customer is."""
        nCodCtr = self.ours.contracts.get(order.nCodOS) if self.ours is not None else None
        if nCodCtr is not None:
            return self._names.named(order, nCodCtr)
        self._names.add(order)
        return None

    def _find_out(self, nCodCtr: int) -> None:
        """Has the orders named that name no contract, and may be of this one."""
        orders = self.orders()
        for order in self._names.find_out(nCodCtr):
            self._keep(order, orders)

    def _keep(self, order: BilledOrder, orders: dict[int, Order]) -> None:
        known = orders.get(order.nCodCtr)
        if order.live:
            # two of one month are more than was planned, and show up as a mismatch
            first, amount = known or Order(order.nCodOS, 0)
            orders[order.nCodCtr] = Order(first, amount + order.amount)
            self._cancelled.pop(order.nCodCtr, None)
        elif known is None:
            self._cancelled[order.nCodCtr] = Order(order.nCodOS, order.amount)


def keep_books_look(objects: Objects, company: str, books: Books) -> None:
    """What `books` saw in stage 20, for the batches; nothing while the month begins or ends, when it proves nothing."""
    if books.looked_at is not None and not books.turning(books.clock.now()):
        keep_look(objects, company, Look(books.looked_at, books.to_bill()))


def unclear_reason(books: Books, nCodCtr: int | None) -> str:
    if cancelled := books.cancelled(nCodCtr):
        return CANCELLED_REASON.format(cancelled.nCodOS)
    unnamed = books.unnamed(nCodCtr)
    return UNNAMED_REASON.format(_orders_named(unnamed)) if unnamed else UNCLEAR_REASON


def _orders_named(numbers: Sequence[int]) -> str:
    named = "OS " + ", ".join(map(str, numbers[:MOST_NAMED]))
    return f"{named} e mais {len(numbers) - MOST_NAMED}" if len(numbers) > MOST_NAMED else named


class Verdict(StrEnum):
    RESTS = "rests"  # nobody may decide yet
    ADOPTED = "adopted"
    RELEASED = "released"  # may be sent again
    PARKED = "parked"
    STAYS = "stays"  # parked already, and still nobody can tell
    MOVED = "moved"  # somebody else was faster: look again


class Resolution(NamedTuple):
    """`charge` as the ledger has it now; `until` is when a RESTS or MOVED one may be looked at again.

    `for_the_lists`: it rests because the lists may be later than assumed.
    """

    verdict: Verdict
    charge: Charge
    until: datetime
    for_the_lists: bool = False


class _Judged(NamedTuple):
    verdict: Verdict
    until: datetime
    reason: str = ""
    for_the_lists: bool = False


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
        judged = self._judge(charge, nCodCtr)
        match judged.verdict:
            case Verdict.ADOPTED:
                return self._adopt(charge, nCodCtr)
            case Verdict.RELEASED:
                return self._release(charge, "em dúvida; o Omie mostra que não foi faturado")
            case Verdict.PARKED:
                return self._leave(charge, judged.reason)
        return Resolution(judged.verdict, charge, judged.until, judged.for_the_lists)

    def _judge(self, charge: Charge, nCodCtr: int | None) -> _Judged:
        """What Omie's lists say of the charge of a month, once its wait is over."""
        shown, parked, now = self.books.shows(nCodCtr), charge.state is State.PARKED, self.books.clock.now()
        if shown is Shown.BILLED:
            return _Judged(Verdict.ADOPTED, now)
        if shown is Shown.TO_BILL:
            self.measure()
            fresh_at = self._wait_ends(charge) + self._later()
            if self.now >= fresh_at:
                return _Judged(Verdict.RELEASED, now)
            bound = self._wait_ends(charge) + STALE_FOR
            if parked or self.now < bound:
                return _Judged(Verdict.RESTS, fresh_at if parked else min(fresh_at, bound), for_the_lists=True)
            return _Judged(Verdict.PARKED, now, STALE_REASON)
        if self.books.turning(now):  # it began to while Omie answered
            return _Judged(Verdict.RESTS, now + MIDNIGHT_MARGIN)
        over = self.books.month < BillingMonth.of(self.now)
        if parked:
            return _Judged(Verdict.STAYS, now)
        if not over and self.now < self._wait_ends(charge) + min(self._later(), STALE_FOR) + UNCLEAR_FOR:
            return _Judged(Verdict.RESTS, now + ASK_AGAIN)  # too young to ask a person about
        if over and not self.books.unnamed(nCodCtr):
            return _Judged(Verdict.PARKED, now, MONTH_OVER_REASON)
        return _Judged(Verdict.PARKED, now, unclear_reason(self.books, nCodCtr))

    def look_early(self) -> datetime | None:
        """While charges rest, looks how late the lists are; answers when to look again, or None: nothing more to learn.

        At once, and while an order that the ledger knows is missing: when the youngest should be listed, then each
        minute. Not while ListarOS is empty when it should not be: each time is an error that counts.
        """
        if self.books.lag.measured or not self.books.known:
            return None
        self.measure()
        listed_by = max(order.sent for order in self.books.known) + timedelta(seconds=self.books.lag.assumed + 1)
        now = self.books.clock.now()
        if not self.books.late or (self.books.lists_nothing and now >= listed_by):
            return None
        return max(listed_by, now + ASK_AGAIN)

    def measure(self) -> None:
        """Looks for every order that the ledger knows: `books.lag` says how late the lists are."""
        self.books.measure()

    def _later(self) -> timedelta:
        """By how much the lists are later than assumed."""
        lag = self.books.lag
        return timedelta(seconds=max(0.0, lag.seconds - lag.assumed))

    def _wait_ends(self, charge: Charge) -> datetime:
        since = charge.claimed_at or charge.updated_at
        return since + self.wait if since is not None else self.now - STALE_FOR - UNCLEAR_FOR

    def foresee(self, charge: Charge) -> Resolution:
        """What `resolve` would come to, without writing anything."""
        until = self.rests_until(charge)
        if until is not None:
            return Resolution(Verdict.RESTS, charge, until)
        if charge.key.kind == CREATION:
            created = self.books.created(charge.key.contract)
            return Resolution(Verdict.ADOPTED if created else Verdict.RELEASED, charge, self.now)
        if charge.key.kind == ALTERATION:
            return Resolution(Verdict.RELEASED, charge, self.now)
        judged = self._judge(charge, charge.nCodCtr)
        return Resolution(judged.verdict, charge, judged.until, judged.for_the_lists)

    def rests_until(self, charge: Charge) -> datetime | None:
        """When the charge may be decided, if not yet: after the wait, and not while the month is about to turn."""
        if self.now < (ends := self._wait_ends(charge)):
            return ends
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

    def _leave(self, charge: Charge, reason: str) -> Resolution:
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
