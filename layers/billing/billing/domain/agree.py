"""What must be done so that one Omie contract agrees with one row of Jestor. Pure.

The same table serves the order in the lane and the sweep; planning a bill looks at the same differences
(`plan_contract`), so a contract that agrees here is one that the next plan bills without touching it.

| Jestor                              | Omie            | Steps                                                      |
|-------------------------------------|-----------------|------------------------------------------------------------|
| another company                     | active          | suspend here; the new company's plan creates it there      |
| not there (deleted, or not visible) | active          | tell: nobody stops a customer because a row is out of sight |
| cannot be read                      | any             | tell                                                       |
| draft, or a status that bills not   | active          | tell                                                       |
| suspended                           | active          | suspend                                                    |
| churned                             | active          | suspend, or cancel by setting                              |
| active                              | not there       | create: left to the plan, whose ledger guards it           |
| active                              | stopped by us   | reactivate, then as below                                  |
| active                              | stopped by others | tell                                                     |
| active                              | active, differs | alter, or wait (see below)                                 |

An alteration waits while a run of the company has the contract in hand (`busy`), and until the row's own day
(`change_from`). Stopping never waits.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, Literal

from billing.domain.contract import ITEM_PREFIX, BadRow, Contract, ContractStatus
from billing.domain.month import BillingMonth, first_charge
from billing.domain.plan import (
    Action,
    CompanyPolicy,
    Desired,
    OmieContract,
    Reason,
    differences,
    plan_contract,
    wrong_link,
)

ACTIVE, SUSPENDED, CANCELLED = "10", "90", "99"
"""cCodSit; "00" is a contract in preparation, which Omie does not bill."""


class Step(StrEnum):
    SUSPEND = "suspend"
    CANCEL = "cancel"
    REACTIVATE = "reactivate"
    ALTER = "alter"
    MOVE = "move"  # suspend in the company that it left
    CREATE = "create"  # not done here
    TELL = "tell"


DUE = "vencimento"
"""The one of `differences` that planning puts right by itself."""

STOPS = frozenset({Step.SUSPEND, Step.CANCEL, Step.MOVE})
WRITES = STOPS | {Step.REACTIVATE, Step.ALTER}


@dataclass(frozen=True, slots=True)
class Decision:
    """`steps` in order. `changes` and `problem` are Portuguese.

    `desired`: of an ALTER. `month`: the first billing month for which the row's content holds. `waits`: why an
    alteration is not among the steps yet: a run has the contract in hand, or its day has not come.
    """

    steps: tuple[Step, ...] = ()
    desired: Desired | None = None
    changes: tuple[str, ...] = ()
    problem: str = ""
    month: BillingMonth | None = None
    waits: Literal["", "run", "date"] = ""

    @property
    def agrees(self) -> bool:
        """Nothing to do, now or later, here or elsewhere."""
        return not self.steps and not self.waits

    @property
    def writes(self) -> bool:
        return any(step in WRITES for step in self.steps)


def stops(row: Contract | BadRow | None) -> bool:
    """Whether Jestor says that the contract must not be billed from now on."""
    return isinstance(row, Contract) and row.status in {ContractStatus.SUSPENDED, ContractStatus.CHURNED}


def decide(
    row: Contract | BadRow | None,
    omie: OmieContract | None,
    *,
    policy: CompanyPolicy,
    today: date,
    churn: Literal["suspend", "cancel"] = "suspend",
    billed: bool = False,
    busy: bool = False,
    ours: bool = False,
    rivals: tuple[str, ...] = (),
) -> Decision:
    """What makes Omie agree in the company of `policy`.

    Args:
        row: as Jestor has it now; None when there is none.
        omie: its contract in that company; None when there is none.
        policy: the company's rules.
        today: São Paulo's date.
        churn: what a churn does.
        billed: whether this month's charge is over (billed, or parked with a person).
        busy: whether a run may be about to bill it.
        ours: whether it was stopped in agreement with Jestor: only such a contract is started again.
        rivals: codes of other rows that name the same Omie contract.
    """
    code = row.code if row else omie.cCodIntCtr if omie else ""
    if omie is None:
        return _not_in_omie(row, policy)
    if row is None:
        return _tell(f"{code} não está mais no Jestor, e o contrato {omie.label} continua ativo no Omie.", omie)
    if isinstance(row, BadRow):
        return Decision((Step.TELL,), problem="Corrija no Jestor: " + "; ".join(row.problems))
    moved = bool(row.company) and row.company != policy.company
    if moved and omie.cCodIntCtr != row.code and row.omie_id != omie.nCodCtr:
        return Decision()
    if wrong := wrong_link(replace(row, omie_id=None) if moved else row, omie, rivals):
        return _tell(wrong[1], omie)
    if moved:
        left = f"faturado agora por {row.company}: suspenso em {policy.company}"
        return Decision((Step.MOVE,), changes=(left,)) if omie.cCodSit == ACTIVE else Decision()
    if stops(row):
        return _stop(row, omie, churn)
    if row.status is not ContractStatus.ACTIVE:
        return _tell(
            f'O status "{row.status_label}" do Jestor não é faturado, e o contrato {omie.label} continua ativo no '
            "Omie: suspenda-o lá, ou corrija o status no Jestor.",
            omie,
        )
    charge = next_charge(today, policy.billing_day, over=billed)
    return _keep(row, omie, policy, today, charge, busy=busy, ours=ours)


def next_charge(today: date, billing_day: int, *, over: bool) -> date:
    """The day of the next charge: this month's while it is still to come and not over, else next month's."""
    first = first_charge(today, billing_day)
    if not over or BillingMonth.containing(first) != BillingMonth.containing(today):
        return first
    return BillingMonth.containing(today).next().day(billing_day)


def _not_in_omie(row: Contract | BadRow | None, policy: CompanyPolicy) -> Decision:
    if isinstance(row, Contract) and row.status is ContractStatus.ACTIVE and row.company == policy.company:
        return Decision((Step.CREATE,))
    return Decision()


def _tell(problem: str, omie: OmieContract) -> Decision:
    """A contract that Omie would not bill is nobody's trouble."""
    return Decision((Step.TELL,), problem=problem) if omie.cCodSit == ACTIVE else Decision()


def _stop(row: Contract, omie: OmieContract, churn: Literal["suspend", "cancel"]) -> Decision:
    cancels = row.status is ContractStatus.CHURNED and churn == "cancel"
    if cancels and omie.cCodSit != CANCELLED:
        return Decision((Step.CANCEL,), changes=("contrato cancelado",))
    if not cancels and omie.cCodSit == ACTIVE:
        return Decision((Step.SUSPEND,), changes=("contrato suspenso",))
    return Decision()


def _keep(
    row: Contract, omie: OmieContract, policy: CompanyPolicy, today: date, charge: date, *, busy: bool, ours: bool
) -> Decision:
    """An active row: Omie's contract must be active and be what the next charge needs."""
    month = BillingMonth.containing(charge)
    stopped = omie.cCodSit in {SUSPENDED, CANCELLED}
    first = (Step.REACTIVATE,) if stopped and ours else ()
    seen = omie._replace(cCodSit=ACTIVE) if first else omie
    line = plan_contract(replace(row, change_from=None), month=month, today=charge, policy=policy, omie=seen)
    done = _again(first)
    if line.action is Action.PARK:
        return Decision((*first, Step.TELL), problem=line.reason, month=month, changes=done)
    if line.action is Action.SKIP:
        if line.reason_code == Reason.ENDED and omie.cCodSit == ACTIVE:
            return Decision((Step.TELL,), problem=" ".join((line.reason, *line.warnings)), month=month)
        return Decision(month=month)
    if line.work != "alter":
        return Decision(first, changes=done, month=month)
    assert line.desired is not None  # noqa: S101 - planning gives it to every contract to alter
    desired = Desired.from_dict(line.desired)
    changes = differences(desired, seen)
    if set(changes) == {DUE} and due_agrees(row, desired, seen, policy):
        return Decision(first, changes=done, month=month)
    if row.change_from and today < row.change_from:
        later = BillingMonth.containing(next_charge(row.change_from, policy.billing_day, over=False))
        return Decision(first, changes=done, month=later, waits="date")
    if busy:
        return Decision(first, changes=done, month=month, waits="run")
    return Decision((*first, Step.ALTER), desired, (*done, *changes), month=month)


def due_agrees(row: Contract, desired: Desired, omie: OmieContract, policy: CompanyPolicy) -> bool:
    """Whether Omie's due rule is that of the row's day, as some month writes it.

    The rule is written for one month: day 31 becomes 28, and the due date moves to the next month when the first is too
    near. Rewriting it is the plan's business, each month anew, and no difference of opinion.
    """
    day = row.due_day or policy.default_due_day or desired.nDiaFixo
    written = {desired.nDiaFixo, day, *(range(28, day) if day > 28 else ())}
    seen = omie.fingerprint.split(".")[2]
    rules = (replace(desired, nDiaFixo=fixed, cProxMes=month) for fixed in written for month in ("S", "N"))
    return any(rule.fingerprint().split(".")[2] == seen for rule in rules)


def _again(first: tuple[Step, ...]) -> tuple[str, ...]:
    return ("contrato reativado",) if first else ()


def is_ours(omie: OmieContract, code: str, named: int | None) -> bool:
    """Whether this Omie contract may be the row's: it carries its code, or it carries none and the row names it."""
    if omie.cCodIntCtr.startswith(ITEM_PREFIX):
        return omie.cCodIntCtr == code
    return omie.nCodCtr == named


def digest_of(*parts: Any) -> str:
    """One short word for what two sides were when they were last compared."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
