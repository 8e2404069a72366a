"""What changes in mid-cycle left to be charged: from what is remembered of the contracts to an addition of the plan.

A difference is charged when the month's charge that carries its key is BILLED. So what is still owed is told by the
ledger, from the day of the oldest difference on, and never by what somebody remembered to cross out.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Final

from billing.domain.addition import Addition
from billing.domain.charge import UNDECIDED, Charge, ChargeKey, State
from billing.domain.money import format_brl
from billing.domain.month import BillingMonth
from billing.domain.prorate import Pending, bundle, settled
from billing.late_charges import Reckoned
from billing.store.contracts import Remembered
from billing.store.ports import Charges

LONGEST: Final = 36
"""Months. A credit that nobody has used in three years is a person's business."""


def still_owed(
    memories: Iterable[Remembered], month: BillingMonth, ledger: Charges
) -> dict[str, tuple[Pending, ...] | None]:
    """Contract -> its differences that no bill has carried. None: nobody can tell, a bill that had them is in doubt."""
    waiting = {memory.contract: memory.pending for memory in memories if memory.pending}
    keys = [
        ChargeKey(contract, billed)
        for contract, pendings in waiting.items()
        for billed in _months(min(one.day for one in pendings), month)
    ]
    charges: dict[str, list[Charge]] = {}
    for key, charge in ledger.get_many(keys).items() if keys else ():
        charges.setdefault(key.contract, []).append(charge)
    return {contract: _left(contract, pendings, charges.get(contract, ())) for contract, pendings in waiting.items()}


def additions(owed: Mapping[str, tuple[Pending, ...] | None]) -> dict[str, Addition]:
    """Contract -> what goes on its next bill. Those with nothing, a credit or a doubt are not in it."""
    bundles = {contract: bundle(contract, pendings) for contract, pendings in owed.items() if pendings}
    return {contract: addition for contract, addition in bundles.items() if addition is not None}


def shares(memories: Iterable[Remembered], month: BillingMonth, ledger: Charges) -> dict[str, Reckoned]:
    """Contract -> what mid-cycle changes put on its next bill, or what a person should know of them, Portuguese."""
    owed = still_owed(memories, month, ledger)
    found = {contract: Reckoned((addition,)) for contract, addition in additions(owed).items()}
    for contract, pendings in owed.items():
        if pendings is None:
            text = "A diferença proporcional espera: não se sabe se uma cobrança anterior já a levou."
            found[contract] = Reckoned(warnings=(text,))
        elif (left := sum(one.amount for one in pendings)) < 0:
            text = f"Crédito proporcional de {format_brl(-left)}: abata-o no Omie ou devolva-o; um aumento o compensa"
            found[contract] = Reckoned(warnings=(f"{text}. {'; '.join(one.proof for one in pendings)}.",))
    return found


def _left(contract: str, pendings: tuple[Pending, ...], charges: Iterable[Charge]) -> tuple[Pending, ...] | None:
    for charge in charges:
        for entry in charge.additions:
            after = settled(contract, pendings, str(entry["key"]))
            if after == pendings:
                continue
            if charge.state is State.BILLED:
                pendings = after
            elif charge.state in UNDECIDED or (charge.state is State.PARKED and charge.reason_code == "in_doubt"):
                return None
    return pendings


def _months(since: str, until: BillingMonth) -> Iterator[BillingMonth]:
    month = BillingMonth.containing(date.fromisoformat(since))
    for _ in range(LONGEST):
        if month > until:
            return
        yield month
        month = month.next()
