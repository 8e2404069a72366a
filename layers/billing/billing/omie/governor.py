"""How fast Omie may be called: rate slots shared by a company's writers, an error budget, a gate for reads.

Omie counts at most 240 calls a minute per method (help 8112984). Whoever wants to call reserves slots from
the lane's shared `next_free`; slots lie `interval` seconds apart, and a call may leave only while its slot is
valid:

    slots     t0        t1        t2        t3        t(k+1) - t(k) >= interval, across all reservations
    valid     [t0 ... t0+LATENESS]                    later than that: take the next slot, or reserve anew
    interval  (60 + LATENESS + JITTER) / limit        240 a minute: one each 0.2604 s, 96 % of the ceiling

Proof that no 60 s hold more than `limit` calls, however writers pause. Let the way to Omie take between d
and d + JITTER. A call that arrives in [w, w + 60) left in [w - d - JITTER, w + 60 - d), and its slot
began at most LATENESS before that. All slots involved thus begin inside one half-open interval of
60 + LATENESS + JITTER seconds, which is `limit` intervals long, and points that are at least one interval
apart fall into it at most `limit` times. A slot lets one call of each method leave, so the bound holds for
every method.

A reservation starts at max(next_free, now - LATENESS): a lane idle between two batches catches up at most
LATENESS seconds of slots, which the proof already allows for.

Omie blocks a whole key at ten error responses of one method (help 8112984). Two budgets that share nothing keep below:

    who                                            counted in       stops                            at
    lane     plan, bill_batch, orders, settle      LaneState        the lane, and its questions      ERROR_BUDGET   5
    readers  webhooks, sweeps, sync, terminal      ReaderState      readers' calls of that method    READER_BUDGET  2

What counts is said in one place, `OmieError.counts_toward_block`: each error response, and the lost answer of a list
that may be empty. An error is counted in one of the two, and each stops asking when its own is spent. So ERROR_WINDOW
seconds hold at most 5 + 2 errors of a method, and those of calls that were under way when the last was counted: the
lane's next one and the two it reads ahead, and one of each other reader, which has one call in flight (ReadGate).
Readers of one method at one moment are few; three may err together before the tenth. No reader's error appears in
LaneState, and `note_reader_error` cannot reach `blocked_until`: nothing that arrives from outside, and nothing that a
person reads, can stop billing.
"""

import math
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from billing.clock import Clock

LIMIT_PER_MINUTE = 240
"""Calls per minute, key and method (Omie help 8112984)."""
LATENESS = 2.0
"""Seconds a slot stays valid."""
JITTER = 0.5
"""Seconds by which the way to Omie may vary between two calls."""
HEAD_START = 1.5
"""Seconds from reserving slots to the first send: the lane's write and the first contract's read. A slot that is late
before anything could be sent would be lost, and cost a second write."""
PAUSE_AFTER_KEY_REFUSED = 900.0
WINDOW = 60.0
SAME_QUESTION = 61.0
"""Seconds between two identical reads."""

ERROR_BUDGET = 5
"""Error responses of one method after which the lane stops itself; Omie blocks the whole key at 10."""
ERROR_WINDOW = 600.0
"""Seconds over which they are counted. Omie does not document its own window."""
READER_BUDGET = 2
"""Error responses of one method after which all readers together leave it alone; the lane does not notice."""
UNKNOWN_WINDOW = 3600.0
"""Seconds over which look-ups of documents that turned out not to be ours are counted."""
PAUSE = "pausa antes que a Omie bloqueie a chave"
"""How the reason ends of a stop that is our own."""


def interval_for(limit_per_minute: float = LIMIT_PER_MINUTE) -> float:
    """Seconds between two slots."""
    return (WINDOW + LATENESS + JITTER) / limit_per_minute


class LaneState(NamedTuple):
    """What the writers of one company share. Times are epoch seconds."""

    next_free: float = 0.0
    blocked_until: float = 0.0
    blocked_reason: str = ""
    errors: dict[str, tuple[float, ...]] = {}  # noqa: RUF012 - never changed in place
    asked: dict[str, float] = {}  # noqa: RUF012 - likewise; question -> when it was last asked


class ReaderState(NamedTuple):
    """What the readers of one company share, apart from its lane. Times are epoch seconds.

    `errors`: of each method, when Omie answered a reader with an error. `unknown`: when a webhook's document was looked
    up in Omie and turned out not to be ours.
    """

    errors: dict[str, tuple[float, ...]] = {}  # noqa: RUF012 - never changed in place
    unknown: tuple[float, ...] = ()


class BlockedUntil(NamedTuple):
    """No call of this company may leave before `until` (epoch seconds)."""

    until: float
    reason: str


class Slots(NamedTuple):
    """`n` slots at start, start + interval, ..."""

    start: float
    interval: float
    n: int

    def take(self, now: float) -> tuple[float, "Slots"] | None:
        """The first slot not late at `now`, and those after it; None when the reservation is used up."""
        for index in range(self.n):
            slot = self.start + index * self.interval
            if now <= slot + LATENESS:
                return slot, Slots(slot + self.interval, self.interval, self.n - index - 1)
        return None


def in_time(slot: float, now: float) -> bool:
    """Whether a call may leave now on this slot."""
    return slot <= now <= slot + LATENESS


def reserve(state: LaneState, now: float, n: int, interval: float) -> tuple[LaneState, Slots]:
    """The next `n` slots; never before the end of a block. The caller writes the state back conditionally."""
    start = max(state.next_free, now - LATENESS, state.blocked_until)
    return state._replace(next_free=start + n * interval), Slots(start, interval, n)


def wait_turn(slots: Slots, *, clock: Clock, reserve: Callable[[], Slots]) -> Slots:
    """Wait for a valid slot, reserving anew when all are late; returns the slots that are left.

    The call must leave at once: nothing slow may stand between this and the request.
    """
    while True:
        taken = slots.take(clock.now().timestamp())
        if taken is None:
            slots = reserve()
            continue
        slot, slots = taken
        if (early := slot - clock.now().timestamp()) > 0:
            clock.sleep(early + 0.001)  # a clock of microseconds must not wake just before the slot
        if in_time(slot, clock.now().timestamp()):
            return slots


def blocked(state: LaneState, now: float) -> bool:
    return now < state.blocked_until


def may_not_ask(state: LaneState, method: str, now: float) -> bool:
    """Whether a question by this method must wait. The pause for another method's errors is no reason to.

    A plan whose first list is the one error too many would else be stopped at its second, each time it is tried.
    """
    if not blocked(state, now):
        return False
    spent = sum(at > now - ERROR_WINDOW for at in state.errors.get(method, ())) >= ERROR_BUDGET
    return spent or not is_pause(state.blocked_reason)


def note_block(state: LaneState, until: float, reason: str) -> LaneState:
    """Stop the lane until then. A longer block already standing stays; its reason, too, but a pause of our own."""
    if until > state.blocked_until:
        return state._replace(blocked_until=until, blocked_reason=reason)
    return state._replace(blocked_reason=reason) if is_pause(state.blocked_reason) else state


def is_pause(reason: str) -> bool:
    """Whether it was this system that stopped the lane, and not Omie."""
    return reason.endswith(PAUSE)


def note_error(state: LaneState, method: str, now: float) -> LaneState:
    """Count an error response; with the budget spent, the lane stops until the oldest leaves the window.

    So no ERROR_WINDOW seconds hold more than ERROR_BUDGET errors of a method, save those already under way.
    """
    errors = {**state.errors, method: (*state.errors.get(method, ()), now)}
    recent = {name: tuple(at for at in times if at > now - ERROR_WINDOW) for name, times in errors.items()}
    state = state._replace(errors={name: times for name, times in recent.items() if times})
    times = recent[method]
    if len(times) < ERROR_BUDGET:
        return state
    until = times[-ERROR_BUDGET] + ERROR_WINDOW
    if blocked(state, now) and not is_pause(state.blocked_reason):
        return state._replace(blocked_until=max(until, state.blocked_until))
    return note_block(state, until, f"{len(times)} erros de {method} em 10 minutos: {PAUSE}")


def note_reader_error(state: ReaderState, method: str, now: float) -> ReaderState:
    """Count an error response to a reader; those that left the window are forgotten."""
    errors = {**state.errors, method: (*state.errors.get(method, ()), now)}
    recent = {name: tuple(at for at in times if at > now - ERROR_WINDOW) for name, times in errors.items()}
    return state._replace(errors={name: times for name, times in recent.items() if times})


def reader_stop(state: ReaderState, method: str, now: float) -> BlockedUntil | None:
    """Until when readers may not call this method; None: they may."""
    times = [at for at in state.errors.get(method, ()) if at > now - ERROR_WINDOW]
    if len(times) < READER_BUDGET:
        return None
    return BlockedUntil(times[-READER_BUDGET] + ERROR_WINDOW, f"{len(times)} erros de {method} em 10 minutos: {PAUSE}")


def may_look_up(state: ReaderState, most: int, now: float) -> bool:
    """Whether one more document may be looked up in Omie that nobody knows to be ours."""
    return sum(at > now - UNKNOWN_WINDOW for at in state.unknown) < most


def note_unknown(state: ReaderState, now: float) -> ReaderState:
    """Count a document that was looked up and is not ours."""
    return state._replace(unknown=(*(at for at in state.unknown if at > now - UNKNOWN_WINDOW), now))


def ask(state: LaneState, question: str, now: float, window: float = SAME_QUESTION) -> tuple[LaneState, float]:
    """Reserve the next moment at which the same question may be asked; answers the seconds to wait for it.

    Omie refuses the same method with the same parameters within 60 s as redundant, and counts it as an error.
    """
    at = max(now, state.asked.get(question, 0.0) + window)
    recent = {other: when for other, when in state.asked.items() if when > now - window}
    return state._replace(asked={**recent, question: at}), at - now


class ReadGate:
    """Paces the reads of one process: one call in flight, at most `per_minute` of a method in any 60 s.

    `ask`: reserves the moment at which a question may be asked again, across processes; None when nobody else asks.
    `longest_wait`: seconds; a read that would wait longer is refused unsent, because its function may not live so long.
    `permit`: a reader's; asked with the method before every call, it raises when readers may not make it.
    """

    def __init__(
        self,
        clock: Clock,
        per_minute: int = 230,
        ask: Callable[[str], float] | None = None,
        *,
        longest_wait: float | None = None,
        permit: Callable[[str], None] | None = None,
    ) -> None:
        self._clock = clock
        self._longest_wait = math.inf if longest_wait is None else longest_wait
        self._ask = ask
        self._permit = permit
        self._per_minute = per_minute
        self._sent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._held_until: defaultdict[str, float] = defaultdict(float)
        self._one_in_flight = threading.Lock()

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        """Wait for this method's turn; the call in the body is the only one in flight.

        Raises:
            NotExecuted: the turn comes too late; nothing was sent.
        """
        with self._one_in_flight:
            sent = self._sent[method]
            earliest = self._held_until[method]
            if len(sent) == self._per_minute:
                earliest = max(earliest, sent[0] + WINDOW)
            wait = earliest - self._clock.now().timestamp()
            if wait > self._longest_wait:
                from billing.omie.replies import NOT_SENT, NotExecuted  # noqa: PLC0415 - httpx, for whoever calls Omie only

                raise NotExecuted(method, "The turn of this read comes too late.", rule=NOT_SENT, retry_after=wait)
            if len(sent) == self._per_minute:
                sent.popleft()
            self._clock.sleep(wait)
            sent.append(self._clock.now().timestamp())
            yield

    def may_call(self, method: str) -> None:
        """Raises what the permit raises; nothing for a gate without one."""
        if self._permit is not None:
            self._permit(method)

    def wait_to_ask(self, question: str) -> None:
        """Before a question that could have been asked, word for word, a moment ago: a stage, a list's first page."""
        if self._ask is not None:
            self._clock.sleep(self._ask(question))

    def hold(self, method: str, seconds: float) -> None:
        """Send no call of this method for so long."""
        self._held_until[method] = max(self._held_until[method], self._clock.now().timestamp() + seconds)
