"""The life of one charge (one contract, one month) as ONE table, which the ledger enforces.

```
            CLAIM            DONE
 (none) ─────────▶ SENDING ─────────▶ BILLED   final, but for one event (below)
 READY  ◀───────── │  │ REJECT ─────▶ PARKED   waits for a person ── REDRIVE ─▶ READY
     NOT_EXECUTED, │  │
     GIVE_UP       │  └ IN_DOUBT ───▶ UNKNOWN  settled only by reading Omie: ADOPT ─▶ BILLED,
                   │                           RESEND ─▶ READY, PARK ─▶ PARKED
 HELD: churn put its hand on it; RELEASE ─▶ READY
 BILLED, adopted without an order: a named person says NOT_BILLED ─▶ PARKED, in doubt
```

SENDING is written before the call. Only the writer whose attempt id is on it may say what became of the call
(`WRITER_ONLY`); whoever else finds it may only doubt it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from billing.domain.composition import Composition
from billing.domain.month import BillingMonth

MONTHLY = "mensalidade"
"""The kind of the monthly charge."""


class State(StrEnum):
    READY = "READY"
    SENDING = "SENDING"
    UNKNOWN = "UNKNOWN"
    BILLED = "BILLED"
    PARKED = "PARKED"
    HELD = "HELD"


UNDECIDED = frozenset({State.SENDING, State.UNKNOWN})
"""A call went out, or may have, and nobody has yet proved what came of it."""


class Event(StrEnum):
    CLAIM = "CLAIM"
    GIVE_UP = "GIVE_UP"
    DONE = "DONE"
    NOT_EXECUTED = "NOT_EXECUTED"
    REJECT = "REJECT"
    IN_DOUBT = "IN_DOUBT"
    ADOPT = "ADOPT"
    RESEND = "RESEND"
    PARK = "PARK"
    HOLD = "HOLD"
    RELEASE = "RELEASE"
    REDRIVE = "REDRIVE"
    NOT_BILLED = "NOT_BILLED"


TRANSITIONS: Mapping[tuple[State | None, Event], State] = MappingProxyType(
    {
        # nobody has sent anything
        (None, Event.CLAIM): State.SENDING,
        (None, Event.HOLD): State.HELD,
        (None, Event.PARK): State.PARKED,
        (None, Event.ADOPT): State.BILLED,
        (State.READY, Event.CLAIM): State.SENDING,
        (State.READY, Event.HOLD): State.HELD,
        (State.READY, Event.PARK): State.PARKED,
        (State.READY, Event.ADOPT): State.BILLED,
        # the call is out: the writer reports, others may only doubt
        (State.SENDING, Event.DONE): State.BILLED,
        (State.SENDING, Event.NOT_EXECUTED): State.READY,
        (State.SENDING, Event.GIVE_UP): State.READY,
        (State.SENDING, Event.REJECT): State.PARKED,
        (State.SENDING, Event.IN_DOUBT): State.UNKNOWN,
        # nobody knows: settled by reading Omie, or by the writer's own late reply
        (State.UNKNOWN, Event.DONE): State.BILLED,
        (State.UNKNOWN, Event.ADOPT): State.BILLED,
        (State.UNKNOWN, Event.RESEND): State.READY,
        (State.UNKNOWN, Event.PARK): State.PARKED,
        # waiting for a person, who may have billed it in Omie
        (State.PARKED, Event.REDRIVE): State.READY,
        (State.PARKED, Event.ADOPT): State.BILLED,
        (State.HELD, Event.RELEASE): State.READY,
        (State.HELD, Event.PARK): State.PARKED,
        (State.HELD, Event.ADOPT): State.BILLED,
        # adopted without an order, as an earlier version did: a person knows better (WITHOUT_ORDER_ONLY)
        (State.BILLED, Event.NOT_BILLED): State.PARKED,
    }
)

WRITER_ONLY = frozenset({Event.DONE, Event.NOT_EXECUTED, Event.GIVE_UP, Event.REJECT})
"""Accepted only from the attempt whose id is on the charge: only it knows what its call came to."""


_DISPROVED = frozenset({Event.NOT_EXECUTED, Event.GIVE_UP, Event.REJECT, Event.RESEND, Event.REDRIVE})
"""After these it is certain that the call before them billed nothing."""


WITHOUT_ORDER_ONLY = frozenset({Event.NOT_BILLED})
"""Refused where the charge names its order (nCodOS): what Omie billed stays billed, whoever says what."""


class ParkClass(StrEnum):
    """What kind of trouble parked a contract, and so who can help."""

    TRANSIENT = "transient"  # Omie kept failing: send again later
    DATA = "data"  # the contract is wrong or incomplete: fix it in Jestor or Omie
    FISCAL = "fiscal"  # service, tax or city settings: the accountant
    IN_DOUBT = "in_doubt"  # nobody can tell whether it was billed: look in Omie first
    MISSED_MONTH = "missed_month"  # its month is over: bill by service order, never through the contract
    UNKNOWN = "unknown"


class TransitionRefused(Exception):  # noqa: N818 - a refusal is an answer, not a failure
    """The event is not allowed in the charge's state. `charge` is what the ledger holds, if it was read."""

    def __init__(self, state: State | None, event: Event, charge: "Charge | None" = None) -> None:
        super().__init__(f"{event} is not allowed when the charge is {state or 'not yet in the ledger'}")
        self.state = state
        self.event = event
        self.charge = charge


@dataclass(frozen=True, order=True, slots=True)
class ChargeKey:
    """What may be billed once: a contract, a month, a kind. The company is deliberately no part of it."""

    contract: str
    month: BillingMonth
    kind: str = MONTHLY

    def __str__(self) -> str:
        return f"{self.contract}#{self.month}#{self.kind}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "JST-12#2026-12#mensalidade". Raises ValueError."""
        contract, month, kind = text.split("#") if text.count("#") == 2 else ("", "", "")
        if not (contract and kind):
            raise ValueError(f"not a charge key: {text!r}; it reads JST-12#2026-12#mensalidade")
        return cls(contract, BillingMonth.parse(month), kind)


@dataclass(frozen=True, slots=True)
class Charge:
    """One entry of the ledger. `amount` in centavos; `attempt` is the id of the last writer to claim it.

    `additions`: what of the amount came on top of the month's own (`Addition.charged`). They are charged when, and
    only when, the charge is BILLED; one with `doubtful` may be, and nobody can tell.
    `told`: whether a person was told that it is parked; True of what is not.
    `composition`: what it is made of and why; None of a charge from before that was kept.
    """

    key: ChargeKey
    state: State
    company: str
    amount: int
    plan_hash: str = ""
    attempt: str | None = None
    claimed_at: datetime | None = None
    nCodCtr: int | None = None
    nCodOS: int | None = None
    failures: int = 0
    reason_code: str = ""
    reason: str = ""
    run: str = ""
    updated_at: datetime | None = None
    history: tuple[dict[str, Any], ...] = ()
    additions: tuple[dict[str, Any], ...] = ()
    told: bool = True
    composition: Composition | None = None


def was_sent(charge: Charge) -> bool:
    """Whether a call of ours may have billed it, whatever was found since."""
    return charge.key.kind == MONTHLY and charge.attempt is not None


BY_A_READ = frozenset({"amount_not_planned", "not_monthly", "unclear_in_omie"})
"""Reason codes of what only Omie's answers parked."""


def is_parked_by_a_read(charge: Charge) -> bool:
    """Whether it was never claimed, and nothing parked it but what Omie showed then: the next run reads it anew."""
    return charge.state is State.PARKED and charge.attempt is None and charge.reason_code in BY_A_READ


class KnownOrder(NamedTuple):
    """An order that Omie itself named in its answer to our call: when that was begun, and answered."""

    nCodOS: int
    nCodCtr: int | None
    sent: datetime
    answered: datetime


def known_order(charge: Charge) -> KnownOrder | None:
    """None: the charge was not billed, or what billed it was only found later."""
    if charge.state is not State.BILLED or not charge.nCodOS or charge.claimed_at is None or not charge.history:
        return None
    answer = charge.history[-1]
    if answer["event"] != Event.DONE:
        return None
    return KnownOrder(charge.nCodOS, charge.nCodCtr, charge.claimed_at, datetime.fromisoformat(answer["at"]))


def is_by_a_person(charge: Charge) -> bool:
    """Whether the charge was found billed in Omie though no call of this system can have billed it.

    A call that was made and never disproved may have: such a charge is this system's own, its answer was lost.
    """
    if charge.state is not State.BILLED:
        return False
    called = adopted = False
    for line in charge.history:
        event = line["event"]
        if event == Event.CLAIM:
            called = True
        elif event in _DISPROVED:
            called = False
        elif event in {Event.DONE, Event.ADOPT}:
            adopted = event == Event.ADOPT
    return adopted and not called


def next_state(state: State | None, event: Event) -> State:
    """The state after `event`; `None` is a charge the ledger has never seen. Raises TransitionRefused."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise TransitionRefused(state, event) from None


def sources(event: Event) -> frozenset[State | None]:
    """The states in which `event` is allowed: the ledger's condition expression is built from them."""
    return frozenset(state for state, known in TRANSITIONS if known is event)


def target(event: Event) -> State:
    """The one state `event` leads to, wherever it is allowed."""
    return next(to for (_, known), to in TRANSITIONS.items() if known is event)


def is_stale(charge: Charge, now: datetime, after: timedelta) -> bool:
    """Whether a call was left without an answer for `after` or longer.

    True for SENDING (its writer died: doubt it) and UNKNOWN (the in-doubt wait is over: Omie may be read),
    counted from the claim.
    """
    if charge.state not in {State.SENDING, State.UNKNOWN}:
        return False
    since = charge.claimed_at or charge.updated_at
    return since is None or now - since >= after
