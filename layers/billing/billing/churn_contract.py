"""A contract may have been stopped, or started again, in Jestor. Jestor as it is now decides; the webhook only asked.

    receiver: hold ──▶ 202          the hold is there before anybody has looked
                        │
    this:     read Jestor ──▶ stopped: hold (if none) ──▶ READY charge of the month: HELD ──▶ order: suspend or cancel
                              active:  lift the hold it saw ──▶ HELD charge: READY again ──▶ order: reactivate

A hold is lifted only if it is still the one that was seen before Jestor was read, and not within `SETTLES` of its being
put: Jestor's script may call us before its own write can be read, and "active" would be the state before the churn.
"""

from collections.abc import Mapping
from typing import Any, Final

from billing import hints
from billing.agree import row_digest
from billing.domain.agree import stops
from billing.domain.charge import ChargeKey, Event, State, TransitionRefused
from billing.domain.contract import Contract, ContractStatus
from billing.domain.month import BillingMonth
from billing.hints import Hint, Later, pause
from billing.living import LivingDeps, look, send_orders, whereabouts

SETTLES: Final = 60.0
"""Seconds after which what Jestor's trigger spoke of can be read."""
WHO: Final = "churn_contract"


def take(record: Mapping[str, Any], deps: LivingDeps) -> dict[str, Any]:
    """One message of contract-churns.fifo; "later" in the answer: return it to the queue."""
    return hints.take(
        record,
        lambda hint, message_id: churn_contract(hint, message_id, deps),
        queues=deps.queues,
        url=deps.urls.churns,
        clock=deps.clock,
    )


def churn_contract(hint: Hint, message_id: str, deps: LivingDeps) -> dict[str, Any]:
    """Answers {"outcome"}. Raises Later. `message_id`: the same when the same message comes again."""
    held = deps.ledger.find_hold(hint.contract)
    row = look(hint, deps)
    if stops(row):
        assert isinstance(row, Contract)  # noqa: S101 - only such a row stops
        if held is None:
            deps.ledger.put_hold(row.code, f'Status "{row.status_label}" no Jestor.', deps.clock.now())
        _tell_charge(row.code, State.READY, Event.HOLD, f'parado no Jestor: status "{row.status_label}"', deps)
        if _at_rest(row, deps):
            return {"outcome": "as it was"}
        return {"outcome": _order(hint, row, deps, message_id, unseen=True) or "stopped"}
    if not isinstance(row, Contract) or row.status is not ContractStatus.ACTIVE:
        return {"outcome": "held" if held else "nothing"}  # what cannot be billed needs no lifting
    if held is not None:
        now = deps.clock.now().timestamp()
        if held.put_at.timestamp() + SETTLES > now:
            raise Later(held.put_at.timestamp() + SETTLES, "the hold is too fresh to be lifted")
        if not deps.ledger.lift_hold(row.code, put_at=held.put_at):
            raise Later(now + pause(0), "held anew")
    _tell_charge(row.code, State.HELD, Event.RELEASE, "ativo de novo no Jestor", deps)
    ordered = _order(hint, row, deps, message_id)
    return {"outcome": "lifted" if held else ordered or "nothing"}


def _at_rest(row: Contract, deps: LivingDeps) -> bool:
    """This very row was looked at before, and nothing of it is active anywhere."""
    memory = deps.contracts.get(row.code)
    stopped = bool(memory.places) and all(place.stopped for place in memory.places.values())
    return stopped and memory.row == row_digest(row) and memory.doubt_until == 0


def _order(hint: Hint, row: Contract, deps: LivingDeps, message_id: str, *, unseen: bool = False) -> str:
    memory = deps.contracts.get(row.code)
    companies = whereabouts(row, memory, deps, unseen=unseen and not memory.row)
    send_orders(hint, companies, deps, message_id)
    return f"order for {', '.join(companies)}" if companies else ""


def _tell_charge(code: str, state: State, event: Event, why: str, deps: LivingDeps) -> None:
    """This month's charge hears of it, if it is in that state; the history keeps who and why."""
    key = ChargeKey(code, BillingMonth.of(deps.clock.now()))
    charge = deps.ledger.get(key)
    if charge is None or charge.state is not state:
        return
    facts = {"reason_code": "held", "reason": why} if event is Event.HOLD else {}
    try:
        deps.ledger.apply(key, event, now=deps.clock.now(), who=WHO, why=why, attempt=charge.attempt, **facts)  # type: ignore[arg-type]
    except TransitionRefused:
        return
