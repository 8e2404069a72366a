"""Of which contracts the orders are that do not say so: an account's ListarOS may name none.

    the ledger knows the order              no call
    ConsultarOS of it names a contract      asked once
    ListarNFSEs of it names one             asked once, when ConsultarOS does not
    none of them                            it stays unnamed, and no contract of its customer may be sent again

Who asks about single contracts has only the orders of their customers looked up. A plan asks about all of them: for it
the month's notes are read first, a hundred at a time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from billing.domain.charge import KnownOrder, State, known_order
from billing.domain.month import BillingMonth
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.omie.mapping import BilledOrder, UnnamedOrder
from billing.omie.replies import IncompleteRead, Rejected
from billing.store.ports import Charges

MOST_ASKED = 200
"""Orders and contracts that are asked for one by one in one look: five minutes of reading at most. What is left
stays unnamed until a later look."""


@dataclass(frozen=True)
class LedgerOrders:
    """The orders of a company's month that the ledger knows, read once, when they are first needed."""

    ledger: Charges
    company: str
    month: BillingMonth

    @property
    def contracts(self) -> Mapping[int, int]:
        """nCodOS -> nCodCtr of every billed charge."""
        return self._billed[0]

    @property
    def answered(self) -> list[KnownOrder]:
        """Those that Omie itself named in its answers."""
        return self._billed[1]

    @cached_property
    def _billed(self) -> tuple[dict[int, int], list[KnownOrder]]:
        contracts: dict[int, int] = {}
        answered: list[KnownOrder] = []
        for charge in self.ledger.by_month(self.company, self.month, {State.BILLED}):
            if charge.nCodOS and charge.nCodCtr:
                contracts[charge.nCodOS] = charge.nCodCtr
            if (known := known_order(charge)) is not None:
                answered.append(known)
        return contracts, answered


@dataclass
class OrderNames:
    """The unnamed orders of one look, and what was found out of them.

    Args:
        omie: the company's.
        by_number: cNumCtr -> nCodCtr of Omie's contracts.
        customers: nCodCtr -> nCodCli, as far as it is known; what is learned is added.
    """

    omie: OmieClient
    by_number: Callable[[], Mapping[str, int]]
    customers: dict[int, int]
    _unnamed: dict[int, dict[int, UnnamedOrder]] = field(default_factory=lambda: defaultdict(dict))
    """nCodCli -> nCodOS -> the order; nCodCli 0: nobody knows whose it is."""
    _asked: set[int] = field(default_factory=set)
    """The nCodOS that nobody could name."""
    _calls: int = 0

    def add(self, order: UnnamedOrder) -> None:
        self._unnamed[order.nCodCli][order.nCodOS] = order

    def find_out(self, nCodCtr: int) -> Iterator[BilledOrder]:
        """The orders of that contract's customer that have just been named, of whichever contract each is."""
        yield from self._ask_for(self._concerning(nCodCtr))

    def find_out_all(self, de: date, ate: date) -> Iterator[BilledOrder]:
        """All orders that can be named: by the notes that were issued between two days, and one by one."""
        if self._all():
            yield from self._named_by_notes(de, ate)
            yield from self._ask_for(self._all())

    def left(self, nCodCtr: int) -> list[int]:
        """The nCodOS that are still unnamed and may be of that contract."""
        return [order.nCodOS for order in self._concerning(nCodCtr)]

    def named(self, order: UnnamedOrder, nCodCtr: int) -> BilledOrder:
        if order.nCodCli:
            self.customers[nCodCtr] = order.nCodCli
        return BilledOrder(nCodCtr, order.nCodOS, order.amount, order.live)

    def _all(self) -> list[UnnamedOrder]:
        return [order for orders in self._unnamed.values() for order in orders.values()]

    def _concerning(self, nCodCtr: int) -> list[UnnamedOrder]:
        """All of them, where the contract's customer cannot be told."""
        if not any(self._unnamed.values()):
            return []
        customer = self._customer_of(nCodCtr)
        whose = (customer, 0) if customer else tuple(self._unnamed)
        return [order for each in whose for order in self._unnamed.get(each, {}).values()]

    def _named_by_notes(self, de: date, ate: date) -> Iterator[BilledOrder]:
        orders = {order.nCodOS: order for order in self._all()}
        try:
            for row in self.omie.listar_nfses(de, ate):
                note = mapping.order_of_note(row, self.by_number)
                if note.nCodCtr is not None and (order := orders.pop(note.nCodOS, None)) is not None:
                    yield from self._found(order, note.nCodCtr)
        except IncompleteRead:  # what it lacks is asked for one by one
            return

    def _ask_for(self, orders: Iterable[UnnamedOrder]) -> Iterator[BilledOrder]:
        for order in orders:
            if order.nCodOS in self._asked or not self._may_ask():
                continue
            contract = self._contract_of(order)
            if contract is None:
                self._asked.add(order.nCodOS)
            else:
                yield from self._found(order, contract)

    def _found(self, order: UnnamedOrder, nCodCtr: int) -> Iterator[BilledOrder]:
        del self._unnamed[order.nCodCli][order.nCodOS]
        if nCodCtr:
            yield self.named(order, nCodCtr)

    def _contract_of(self, order: UnnamedOrder) -> int | None:
        """nCodCtr; 0 if it is of no contract that Omie shows; None if nobody says."""
        found = self._consulted(order)
        if not isinstance(found, UnnamedOrder):
            return found.nCodCtr if found is not None else 0
        notes = (mapping.order_of_note(row, self.by_number) for row in self.omie.nfses_da_os(nCodOS=order.nCodOS))
        return next((note.nCodCtr for note in notes if note.nCodCtr is not None), None)

    def _consulted(self, order: UnnamedOrder) -> BilledOrder | UnnamedOrder | None:
        try:
            os = self.omie.consultar_os(order.nCodOS)
            return mapping.billed_order(os, self.by_number) if mapping.order_number(os)[0] == order.nCodOS else order
        except IncompleteRead:
            return order
        except Rejected as refused:
            if refused.rule != "permanent":
                raise
            return order  # it was deleted a moment ago

    def _customer_of(self, nCodCtr: int) -> int:
        """0 if it cannot be told."""
        if nCodCtr not in self.customers:
            if not self._may_ask():
                return 0
            self.customers[nCodCtr] = self._consulted_customer(nCodCtr)
        return self.customers[nCodCtr]

    def _consulted_customer(self, nCodCtr: int) -> int:
        try:
            return mapping.compact(self.omie.consultar_contrato(nCodCtr)).nCodCli
        except IncompleteRead:
            return 0
        except Rejected as refused:
            if refused.rule != "permanent":
                raise
            return 0

    def _may_ask(self) -> bool:
        self._calls += 1
        return self._calls <= MOST_ASKED
