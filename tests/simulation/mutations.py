"""The rules of docs/exactly-once.md, each taken away by substituting a port, a setting or a constant of one lab."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from billing import bill_batch, plan_company
from billing.domain.charge import WRITER_ONLY, Charge, ChargeKey, Event, State
from billing.doubt import Books
from billing.omie import mapping
from billing.order_names import OrderNames
from billing.store.ledger import Claimed, NotClaimed
from simulators.lab import Lab


def claim_before_call(lab: Lab) -> None:
    """The ledger hears of the claim only together with what came of it."""
    real_claim, real_apply = lab.ledger.claim, lab.ledger.apply
    waiting: dict[str, tuple[ChargeKey, dict[str, Any]]] = {}

    def claim(key: ChargeKey, **facts: Any) -> Any:
        known = lab.ledger.get(key)
        if known is not None and known.state is not State.READY:
            return NotClaimed(known)
        if (reason := lab.ledger.hold(key.contract)) is not None:
            return type(lab.ledger).claim(lab.ledger, key, **facts) if reason else None
        waiting[facts["attempt"]] = key, facts
        return Claimed(
            Charge(
                key, State.SENDING, facts["company"], facts["amount"], attempt=facts["attempt"], claimed_at=facts["now"]
            )
        )

    def apply(key: ChargeKey, event: Event, *, attempt: str | None = None, **facts: Any) -> Charge:
        if attempt in waiting and event in WRITER_ONLY | {Event.IN_DOUBT}:
            real_claim(key, **waiting.pop(attempt)[1])
        return real_apply(key, event, attempt=attempt, **facts)

    lab.ledger.claim = claim  # type: ignore[method-assign]
    lab.ledger.apply = apply  # type: ignore[method-assign]


def hold_check(lab: Lab) -> None:
    real = lab.ledger.claim

    def claim(*args: Any, **facts: Any) -> Any:
        holds, lab.ledger._holds = lab.ledger._holds, {}
        try:
            return real(*args, **facts)
        finally:
            lab.ledger._holds = holds

    lab.ledger.claim = claim  # type: ignore[method-assign]


def in_doubt_wait(lab: Lab) -> None:
    companies = {
        key: company.model_copy(update={"in_doubt_wait_seconds": 0}) for key, company in lab.settings.companies.items()
    }
    lab.settings = lab.settings.model_copy(update={"companies": companies})


def adopt(lab: Lab) -> None:
    """What Omie shows as billed is sent again like what it shows as not billed."""
    real = lab.ledger.apply

    def apply(key: ChargeKey, event: Event, **facts: Any) -> Charge:
        if event is Event.ADOPT and (known := lab.ledger.get(key)) is not None and known.state is State.UNKNOWN:
            event = Event.RESEND
        return real(key, event, **facts)

    lab.ledger.apply = apply  # type: ignore[method-assign]


class _Any(str):
    """Equal to every hash."""

    __slots__ = ()

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False

    __hash__ = str.__hash__


def plan_hash_check(lab: Lab) -> None:
    lab.runs.plan_hash = lambda *_: _Any("any")  # type: ignore[method-assign]


def fifo_group(lab: Lab) -> None:
    lab.fifo.grouped = False


def own_month_rule(lab: Lab) -> None:
    """Together with `without_own_month`: the rule is a function of the module, not a port."""


def interval_rule(lab: Lab) -> None:
    """cTipoFat is never read: every contract is taken for a monthly one."""


def cancelled_order_rule(lab: Lab) -> None:
    """An order that a person cancelled is as if it had never been."""


def every_register(lab: Lab) -> None:
    """Of the registers of one document the last one counts."""


def unnamed_orders(lab: Lab) -> None:
    """An order that names no contract is as if it had never been."""


def unnamed_order_rule(lab: Lab) -> None:
    """What is sent does not wait for an order of which nobody says whose it is."""


def list_lag_measure(lab: Lab) -> None:
    """Nobody looks whether the lists show the orders that the ledger knows."""


_REAL_ORDER, _REAL_COMPACT, _REAL_CUSTOMERS = mapping.billed_order, mapping.compact, plan_company._customers


def _live_only(*args: Any) -> Any:
    order = _REAL_ORDER(*args)
    return order if order is not None and order.live else None


def _named_only(*args: Any) -> Any:
    order = _REAL_ORDER(*args)
    return None if isinstance(order, mapping.UnnamedOrder) else order


def _monthly(*args: Any, **more: Any) -> Any:
    return _REAL_COMPACT(*args, **more)._replace(cTipoFat="01")


def _last_register(*args: Any) -> Any:
    found, lacking = _REAL_CUSTOMERS(*args)
    return {document: registers[-1:] for document, registers in found.items()}, lacking


_INSTEAD: dict[Callable[[Lab], None], tuple[Any, str, Any]] = {
    own_month_rule: (bill_batch, "may_send", lambda *_: True),
    interval_rule: (mapping, "compact", _monthly),
    cancelled_order_rule: (mapping, "billed_order", _live_only),
    unnamed_orders: (mapping, "billed_order", _named_only),
    unnamed_order_rule: (OrderNames, "left", lambda *_: []),
    every_register: (plan_company, "_customers", _last_register),
    list_lag_measure: (Books, "measure", lambda *_: None),
}
"""Rules that no port carries: where they stand, and what stands there without them."""


@contextmanager
def constants(mutation: Callable[[Lab], None]) -> Iterator[None]:
    if mutation not in _INSTEAD:
        yield
        return
    home, name, instead = _INSTEAD[mutation]
    real = getattr(home, name)
    setattr(home, name, instead)
    try:
        yield
    finally:
        setattr(home, name, real)


MUTATIONS = (
    claim_before_call,
    hold_check,
    in_doubt_wait,
    adopt,
    plan_hash_check,
    own_month_rule,
    fifo_group,
    interval_rule,
    cancelled_order_rule,
    every_register,
    list_lag_measure,
    unnamed_orders,
    unnamed_order_rule,
)
LATE = frozenset({list_lag_measure})
"""Missed where Omie's lists are later than assumed."""
