"""A contract may have changed in Jestor: if it has, order its Omie contract to agree.

customer ──▶ a hint for each of its contracts
contract ──▶ read the row ──▶ as it was last seen: nothing (our own writing came back, or the webhook came twice)
                              stopped, or on hold: the churns' business
                              differs: an order in the lane of each company that has it
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from billing import hints
from billing.agree import row_digest
from billing.domain.agree import stops
from billing.domain.contract import Contract, contract_code
from billing.domain.register import Told
from billing.hints import Hint, Later, pause
from billing.jestor.client import JestorError
from billing.jestor.rows import rows_of_customer
from billing.living import LivingDeps, look, send_orders, whereabouts
from billing.store.contracts import Remembered


def take(record: Mapping[str, Any], deps: LivingDeps) -> dict[str, Any]:
    """One message of contract-changes.fifo; "later" in the answer: return it to the queue."""
    return hints.take(
        record,
        lambda hint, message_id: change_contract(hint, message_id, deps),
        queues=deps.queues,
        url=deps.urls.changes,
        clock=deps.clock,
    )


def change_contract(hint: Hint, message_id: str, deps: LivingDeps) -> dict[str, Any]:
    """Answers {"outcome"}. Raises Later. `message_id`: the same when the same message comes again."""
    if hint.customer:
        return {"outcome": f"{_of_customer(hint, message_id, deps)} contracts"}
    row = look(hint, deps)
    if row is None:
        return {"outcome": "not in Jestor"}
    if stops(row) or deps.ledger.find_hold(row.code) is not None:
        again = replace(hint, company="", not_before=0.0)
        deps.queues.send(deps.urls.churns, again.message(), row.code, f"{message_id}.churn")
        return {"outcome": "sent to the churns"}
    memory = deps.contracts.get(row.code)
    if isinstance(row, Contract) and not _news(row, memory):
        return {"outcome": "as it was"}
    companies = whereabouts(row, memory, deps)
    if not companies:
        return {"outcome": "not in Omie yet"}
    send_orders(hint, companies, deps, message_id)
    return {"outcome": f"order for {', '.join(companies)}"}


def _news(row: Contract, memory: Remembered) -> bool:
    """Whether anything is to be done or looked at: the row changed, or something of it is not finished."""
    unseen = Told.parse(memory.customer).unseen
    return memory.row != row_digest(row) or bool(memory.waits or unseen) or _moved(row, memory)


def _moved(row: Contract, memory: Remembered) -> bool:
    """Whether a company that the contract has left still has it active."""
    return any(company != row.company and not place.stopped for company, place in memory.places.items())


def _of_customer(hint: Hint, message_id: str, deps: LivingDeps) -> int:
    try:
        ids = list(rows_of_customer(deps.jestor(), deps.settings, hint.customer))
    except JestorError as error:
        raise Later(deps.clock.now().timestamp() + pause(hint.tries), type(error).__name__) from error
    for jestor_id in ids:
        code = contract_code(jestor_id)
        one = replace(hint, customer=0, contract=code, jestor_id=jestor_id, not_before=0.0)
        deps.queues.send(deps.urls.changes, one.message(), code, f"{message_id}.{code}")
    return len(ids)
