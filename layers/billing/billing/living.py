"""What the workers of a living contract share: look at the row, send orders into the companies' lanes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from billing.agree import known_number
from billing.clock import Clock
from billing.domain.charge import ChargeKey
from billing.domain.contract import BadRow, Contract
from billing.domain.month import BillingMonth
from billing.hints import Hint, Later, pause
from billing.jestor.client import JestorClient, JestorError
from billing.jestor.rows import Labels, read_row
from billing.settings import Settings
from billing.store.contracts import Remembered
from billing.store.ports import Charges, Contracts, Messages


@dataclass(frozen=True)
class LivingUrls:
    changes: str
    churns: str
    omie_writes: str


@dataclass(frozen=True)
class LivingDeps:
    """`labels` outlives the invocation."""

    settings: Settings
    ledger: Charges
    contracts: Contracts
    queues: Messages
    jestor: Callable[[], JestorClient]
    clock: Clock
    urls: LivingUrls
    labels: Labels = field(default_factory=dict)


def look(hint: Hint, deps: LivingDeps) -> Contract | BadRow | None:
    """The row as Jestor has it now. Raises Later: Jestor is not there."""
    now = deps.clock.now().timestamp()
    try:
        return read_row(deps.jestor(), deps.settings, hint.jestor_id, labels=deps.labels, now=now)
    except JestorError as error:
        raise Later(deps.clock.now().timestamp() + pause(hint.tries), type(error).__name__) from error


def whereabouts(
    row: Contract | BadRow | None, memory: Remembered, deps: LivingDeps, *, unseen: bool = False
) -> list[str]:
    """The companies in whose Omie the contract is, as far as anybody knows; stopped ones that it has left are not.

    `unseen`: the row's own company too, although nobody knows of a contract there.
    """
    month = BillingMonth.of(deps.clock.now())
    code = memory.contract
    charges = deps.ledger.get_many([ChargeKey(code, month), ChargeKey(code, month.previous())]).values()
    own = (row.company or "") if row else ""
    companies = {company for company, place in memory.places.items() if company == own or not place.stopped}
    companies |= {charge.company for charge in charges if charge.company not in memory.places}
    if own and (unseen or known_number(row, memory, own, charges)):
        companies.add(own)
    return sorted(companies & set(deps.settings.companies))


def send_orders(hint: Hint, companies: Iterable[str], deps: LivingDeps, message_id: str) -> None:
    for company in companies:
        order = replace(hint, company=company, not_before=0.0)
        deps.queues.send(deps.urls.omie_writes, {"order": order.message()}, company, f"{message_id}.{company}")
