"""What a person sees while a run goes on: pure functions from snapshots to lines, and one thin loop.

A `Snapshot` is what AWS says at one moment. `view` makes the rows out of the last few of them; `plain_lines`
writes them as text. The coloured bar is `ops.render`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from billing.domain.month import SAO_PAULO
from billing.settings import FUNCTION_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from billing.clock import Clock

PACE_WINDOW: Final = timedelta(minutes=2)
"""The rate is that of the last two minutes."""
POLL_SECONDS: Final = 2.0
PLAIN_EVERY: Final = timedelta(seconds=15)
"""A log gets a line this often, and at once when a company's situation changes."""
STALLED_AFTER: Final = timedelta(seconds=90)
"""Without a contract billed, parked or doubted for so long nobody can tell when the company is done."""
LONGEST_BATCH: Final = timedelta(seconds=FUNCTION_TIMEOUT_SECONDS)
"""A batch that has told nothing after this was killed."""
HIDDEN_FOR: Final = timedelta(seconds=6 * FUNCTION_TIMEOUT_SECONDS)
"""For how long the queue hides a batch whose taker was killed (template.yaml), and with it the company's lane."""
PATIENCE: Final = timedelta(minutes=5)
"""How long AWS may be out of reach before following gives up. The run itself goes on without us."""

CLOSED: Final = "encerrada"
CHECKING: Final = "conferindo com o Omie"
BILLING: Final = "faturando"
DONE_STEPS: Final = frozenset({CLOSED, CHECKING})
"""A company in one of these has nothing left to send."""


@dataclass(frozen=True, slots=True)
class CompanyProgress:
    """One company at one moment, by counters made for the eye: the ledger alone knows what was billed.

    `to_bill`: contracts the plan bills, 0 while nothing is planned yet.
    """

    company: str
    to_bill: int = 0
    billed: int = 0
    parked: int = 0
    in_doubt: int = 0
    closed: bool = False
    blocked_until: datetime | None = None
    blocked_reason: str = ""
    waiting_approval: tuple[str, ...] | None = None
    """The guardrail's reasons, when a person's answer is awaited."""
    unclear: int = 0
    """Contracts that Omie shows neither with an order of the month nor to be billed."""
    month_not_turned: bool = False
    """So many of them that Omie's stages still show the month before."""
    asked_again_at: datetime | None = None

    @property
    def planned(self) -> bool:
        return self.to_bill > 0 or self.billed > 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    at: datetime
    companies: tuple[CompanyProgress, ...] = ()
    month: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One company's line. `per_minute` and `left` are None while nobody can tell."""

    company: str
    step: str
    billed: int
    to_bill: int
    per_minute: int | None
    left: timedelta | None
    notes: tuple[str, ...]

    @property
    def done(self) -> float:
        """Share of the contracts already billed, 0 to 1."""
        return self.billed / self.to_bill if self.to_bill else 0.0


@dataclass(frozen=True, slots=True)
class View:
    at: datetime
    rows: tuple[Row, ...]
    total: Row | None
    """All companies together, when there are several."""
    warning: str = ""


def view(
    history: Sequence[Snapshot],
    *,
    warning: str = "",
    moved: Mapping[str, datetime] = MappingProxyType({}),
    doubt_waits: Mapping[str, timedelta] = MappingProxyType({}),
) -> View:
    """What to show after the snapshots so far, the last of them being now. Needs at least one.

    `moved`: company -> when its counters last changed, where that lies before the snapshots.
    `doubt_waits`: company -> how long a charge in doubt rests before Omie is asked again.
    """
    now = history[-1]
    rows = tuple(
        _row(one, history, moved.get(one.company) or last_change(history, one.company), doubt_waits.get(one.company))
        for one in now.companies
    )
    total = _total(rows) if len(rows) > 1 else None
    return View(now.at, rows, total, warning)


def plain_lines(shown: View) -> list[str]:
    """The view as text: one line a company, each complete in itself, for a log or a pipe."""
    clock = f"{shown.at.astimezone(SAO_PAULO):%H:%M:%S}"
    lines = [f"{clock} {row.company}: {describe(row)}" for row in (*shown.rows, *_only(shown.total))]
    if shown.warning:
        lines.append(f"{clock} {shown.warning}")
    return lines or [f"{clock} abrindo a execução"]


def describe(row: Row) -> str:
    return " · ".join([counts(row), *pace(row), *row.notes])


def counts(row: Row) -> str:
    """As in 412/1.000 faturados; the step when there is nothing to count yet."""
    if not (row.to_bill or row.billed):
        return row.step
    of_all = f"/{thousands(row.to_bill)}" if row.to_bill else ""
    return f"{thousands(row.billed)}{of_all} {_plural(row.to_bill or row.billed, 'faturado')}"


def pace(row: Row) -> list[str]:
    if row.per_minute is None or row.billed >= row.to_bill:
        return []
    left = [remaining(row.left)] if row.left is not None else []
    return [f"{thousands(row.per_minute)}/min", *left]


def situation(shown: View) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """What makes a plain line worth writing before its time: anything but the moving numbers."""
    return tuple((row.company, row.step, tuple(map(_kind, row.notes))) for row in shown.rows)


def _kind(note: str) -> str:
    """The note without what changes by the minute: how long is left, how long nothing moved."""
    return re.sub(r" há [^:]*", "", note.split(" (", maxsplit=1)[0])


def duration(span: timedelta) -> str:
    """As a person says it: "menos de 1 min", "12 min", "1 h 05 min"."""
    minutes = round(span.total_seconds() / 60)
    if minutes < 1:
        return "menos de 1 min"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def remaining(span: timedelta) -> str:
    """As in "faltam 12 min", "falta 1 min" or "falta menos de 1 min"."""
    said = duration(span)
    minutes = round(span.total_seconds() / 60)
    return f"{'falta' if minutes <= 1 or 60 <= minutes < 120 else 'faltam'} {said}"


def thousands(number: int) -> str:
    return f"{number:,}".replace(",", ".")


def hour(moment: datetime, now: datetime) -> str:
    """The hour in São Paulo; with its day when that is not today."""
    local = moment.astimezone(SAO_PAULO)
    same_day = local.date() == now.astimezone(SAO_PAULO).date()
    return f"{local:%H:%M}" if same_day else f"{local:%d/%m %H:%M}"


def rate(history: Sequence[Snapshot], company: str) -> float | None:
    """Contracts billed a minute over the last `PACE_WINDOW`; None while it cannot be told."""
    now = history[-1].at
    known = [
        (snapshot.at, progress.billed)
        for snapshot in history
        if now - snapshot.at <= PACE_WINDOW
        for progress in snapshot.companies
        if progress.company == company and progress.planned
    ]
    if len(known) < 2:
        return None
    (first_at, first), (last_at, last) = known[0], known[-1]
    minutes = (last_at - first_at).total_seconds() / 60
    # A counter that went back (a run opened again) tells nothing.
    rising = all(before[1] <= after[1] for before, after in pairwise(known))
    return (last - first) / minutes if minutes > 0 and rising else None


def last_change(history: Sequence[Snapshot], company: str) -> datetime:
    """Since when its counters are what they are now, as far as the snapshots tell."""
    counters = [(snapshot.at, _counters(snapshot, company)) for snapshot in history]
    latest = counters[-1][1]
    since = counters[-1][0]
    for at, found in reversed(counters):
        if found != latest:
            break
        since = at
    return since


def _counters(snapshot: Snapshot, company: str) -> tuple[int, ...]:
    return next(
        ((one.to_bill, one.billed, one.parked, one.in_doubt) for one in snapshot.companies if one.company == company),
        (),
    )


def _awaited(
    progress: CompanyProgress, step: str, now: datetime, moved: datetime, doubt_wait: timedelta | None
) -> list[str]:
    """What a company that does not move waits for, and until when."""
    still = now - moved
    if progress.unclear and not progress.closed:
        return [_unclear(progress, now)]
    if step == CHECKING and progress.in_doubt and doubt_wait is not None:
        return [f"espera para ler de novo no Omie o que está em dúvida: por volta das {hour(moved + doubt_wait, now)}"]
    if step != BILLING or still < STALLED_AFTER:
        return []
    line = f"sem avanço há {duration(still)}"
    if still < LONGEST_BATCH:
        return [line]
    if still <= HIDDEN_FOR:
        back = hour(moved + HIDDEN_FOR, now)
        return [f"{line}: um lote interrompido volta à fila até {back} e continua sozinho; nada é cobrado duas vezes"]
    return [f"{line}: veja billing-ops status e billing-ops dlq list"]


def _unclear(progress: CompanyProgress, now: datetime) -> str:
    number = thousands(progress.unclear)
    contracts = f"{number} {_plural(progress.unclear, 'contrato')}"
    again = f": confere de novo às {hour(progress.asked_again_at, now)}" if progress.asked_again_at else ""
    if progress.month_not_turned:
        return f"o Omie ainda mostra o mês anterior em {contracts}, e a execução espera que ele vire o mês{again}"
    return f"o Omie não mostra {contracts} nem com OS deste mês nem a faturar{again}"


def _row(progress: CompanyProgress, history: Sequence[Snapshot], moved: datetime, doubt_wait: timedelta | None) -> Row:
    now = history[-1].at
    progress = _bounded(progress)
    left_over = progress.to_bill - progress.billed - progress.parked - progress.in_doubt
    notes: list[str] = []
    blocked = progress.blocked_until is not None and progress.blocked_until > now and not progress.closed
    if progress.blocked_until is not None and blocked:
        why = f": {progress.blocked_reason}" if progress.blocked_reason else ""
        wait = remaining(progress.blocked_until - now)
        notes.append(f"bloqueada até {hour(progress.blocked_until, now)} ({wait}){why}")
    if progress.waiting_approval is not None:
        notes.append("espera aprovação: " + "; ".join(progress.waiting_approval))
        answer = f"--month {history[-1].month} --company {progress.company}"
        notes.append(f"responda em outro terminal: billing-ops approve {answer} (ou reject)")
    troubles = []
    if progress.parked:
        troubles.append(f"{thousands(progress.parked)} {_plural(progress.parked, 'parado')}")
    if progress.in_doubt and not progress.closed:  # once closed, each of them was looked up
        troubles.append(f"{thousands(progress.in_doubt)} em dúvida")
    if troubles:
        notes.append(" · ".join(troubles))
    step = _step(progress, blocked=blocked, left_over=left_over)
    awaited = _awaited(progress, step, now, moved, doubt_wait)
    notes += awaited
    speed = None if progress.closed or blocked or awaited or left_over <= 0 else rate(history, progress.company)
    return Row(
        company=progress.company,
        step=step,
        billed=progress.billed,
        to_bill=progress.to_bill,
        per_minute=None if speed is None else round(speed),
        left=_left(progress, step, left_over, speed, moved + doubt_wait - now if doubt_wait is not None else None),
        notes=tuple(notes),
    )


def _left(
    progress: CompanyProgress, step: str, left_over: int, speed: float | None, doubt: timedelta | None
) -> timedelta | None:
    """How long it will take at most. What is in doubt rests for `doubt` from now on, beside what is still sent."""
    sending = timedelta(minutes=left_over / speed) if speed and left_over > 0 else None
    if not progress.in_doubt or doubt is None or step not in {BILLING, CHECKING}:
        return sending
    rests = max(doubt, timedelta())
    if step == CHECKING:
        return rests
    return max(sending, rests) if sending is not None else None


def _bounded(progress: CompanyProgress) -> CompanyProgress:
    """The counters as parts of what the plan bills: a message that came twice was counted twice.

    What is in doubt gives way first: the counters do not hear of it when a doubt is settled.
    """
    if not progress.to_bill:
        return progress
    billed = min(progress.billed, progress.to_bill)
    parked = min(progress.parked, progress.to_bill - billed)
    in_doubt = min(progress.in_doubt, progress.to_bill - billed - parked)
    return replace(progress, billed=billed, parked=parked, in_doubt=in_doubt)


def _step(progress: CompanyProgress, *, blocked: bool, left_over: int) -> str:
    if progress.closed:
        return CLOSED
    if progress.waiting_approval is not None:
        return "à espera de aprovação"
    if blocked:
        return "bloqueada"
    if not progress.planned:
        return "planejando"
    return BILLING if left_over > 0 or not progress.to_bill else CHECKING


def _total(rows: Sequence[Row]) -> Row:
    speeds = [row.per_minute for row in rows if row.per_minute is not None]
    unfinished = [row for row in rows if row.step not in DONE_STEPS or row.left is not None]
    waits = [row.left for row in unfinished if row.left is not None]
    return Row(
        company="total",
        step="",
        billed=sum(row.billed for row in rows),
        to_bill=sum(row.to_bill for row in rows),
        per_minute=sum(speeds) if speeds else None,
        # Companies are billed side by side; while one of them cannot say when it ends, nobody can.
        left=max(waits) if waits and len(waits) == len(unfinished) else None,
        notes=(),
    )


def _plural(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def _only(row: Row | None) -> tuple[Row, ...]:
    return (row,) if row is not None and row.to_bill else ()


@dataclass
class Follower:
    """The loop: read, show, wait, until the run has ended. It only looks; stopping it stops nothing.

    read: what AWS says now.
    show: draws a view; called at every reading.
    passing: whether an error of `read` may pass by itself (a lost connection); others are raised.
    """

    read: Callable[[], Snapshot]
    show: Callable[[View], None]
    clock: Clock
    passing: Callable[[Exception], bool]
    history: list[Snapshot] = field(default_factory=list)
    doubt_waits: Mapping[str, timedelta] = field(default_factory=dict)
    """Company -> how long a charge in doubt rests before Omie is asked again."""
    moved: dict[str, tuple[tuple[int, ...], datetime]] = field(default_factory=dict)
    """Company -> its counters, and since when they are so."""

    def until_ended(self) -> Snapshot:
        last_answer = self.clock.now()
        while True:
            warning = ""
            try:
                snapshot: Snapshot | None = self.read()
            except Exception as error:
                silent = self.clock.now() - last_answer
                if not self.passing(error) or silent > PATIENCE:
                    raise
                snapshot = None
                warning = f"a AWS não responde há {duration(silent)}; a execução continua por lá"
            if snapshot is not None:
                last_answer = snapshot.at
                self._note_moves(snapshot)
                self.history = [old for old in self.history if snapshot.at - old.at <= PACE_WINDOW] + [snapshot]
            if self.history:
                moved = {company: at for company, (_, at) in self.moved.items()}
                shown = view(self.history, warning=warning, moved=moved, doubt_waits=self.doubt_waits)
                self.show(replace(shown, at=self.clock.now()))  # a silent AWS does not stop the clock
            if snapshot is not None and snapshot.ended:
                return snapshot
            self.clock.sleep(POLL_SECONDS)

    def _note_moves(self, snapshot: Snapshot) -> None:
        for one in snapshot.companies:
            counters = _counters(snapshot, one.company)
            if self.moved.get(one.company, ((), snapshot.at))[0] != counters:
                self.moved[one.company] = (counters, snapshot.at)


@dataclass
class PlainShow:
    """Writes plain lines every `PLAIN_EVERY`, and at once when something other than a number changes."""

    write: Callable[[str], Any]
    last_at: datetime | None = None
    last: object = None

    def __call__(self, shown: View) -> None:
        now = (situation(shown), bool(shown.warning))
        if self.last_at is not None and now == self.last and shown.at - self.last_at < PLAIN_EVERY:
            return
        self.last, self.last_at = now, shown.at
        for line in plain_lines(shown):
            self.write(line)
