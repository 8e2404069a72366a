"""One schedule: a small world, the real use cases, and somebody who breaks what a seed tells to break.

A step is one port call. Before, in place of and after each, the adversary may kill the process, let time pass, refuse
the store's service (with or without the write done), spoil the answer of Omie or Jestor, or let something else happen
first: another Lambda, a person, a message. What it may not do is the claim's two assumptions: Omie finishes or drops an
abandoned call within `longest_abandoned_call_seconds` and lists a billing within `list_lag_seconds`; and Lambda ends a
function at its time-out.

Omie is as it really is: what it shows lags behind what was written, some calls get no answer at all, its clock differs
from ours, its stages turn to the new month hours late, one document has two registers, contracts of every interval.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, cast

from botocore.exceptions import ClientError

from billing.domain.charge import Event, State, TransitionRefused
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.omie.replies import OmieError
from billing.redrive import redrive
from billing.settings import FUNCTION_TIMEOUT_SECONDS, Settings
from simulators.lab import START, Killed, Lab, Message, demo_settings
from simulators.omie import billing as omie_billing
from simulators.omie.answers import OmieFault
from simulators.omie.dates import day_of, month_of
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches
from simulators.world import COMPANIES, CONTRACTS_TABLE, FIELDS, World, make_world
from tests.simulation.lean import lean

LONGEST_LIST_LAG = 10.0
"""config/demo.toml's list_lag_seconds. Likewise, with LONGEST_READ_LAG, how long contracts are shown as they were."""
LONGEST_READ_LAG = 10.0
LATE = (200.0, 400.0)
"""Seconds for which the lists lack a billing where the second assumption is false."""
LIVE = {"list_lag_seconds": 120, "read_lag_seconds": 60}
"""The settings' defaults, of a third of the schedules and of those with late lists; Omie keeps to them in the former."""
UNNAMED_SHARE = 0.2
"""Of the schedules: ListarOS says of no order which contract it is of."""
NAMED_AFTER = 590.0
"""Seconds for which nothing names an order in half of these: not longer than what is unclear is asked again."""
LONGEST_ABANDONED = 60.0
"""config/demo.toml's longest_abandoned_call_seconds: the adversary keeps to it, and only to it."""
MOVES = 220
A_DAY = 86_400.0
CALM_RUNS = 6

STORES = frozenset({"ledger", "lanes", "runs", "objects", "queues", "tasks", "contracts"})
OMIE_ANSWERS = [
    "server_error",
    "html",
    "broken_response",
    "proto_byebye",
    "already_processing",
    "unknown_wording",
    "not_json",
    "too_many_requests",
    "busy",
    "redundant",
    "soft_error",
    "slow",
]
JESTOR_ANSWERS = ("server_error", "rate_limited", "status_false", "missing_data", "short_page", "slow", "lost_reply")
AT_A_STEP = [
    "kill_before",
    "kill_after",
    "pause",
    "pause_after",
    "nested",
    "nested_after",
    "during",
    "throttle",
    "throttle_after",
    "lost_reply",
    "lost_request",
    "late",
    "killed_late",
    "answer",
    "blocked",
    "jestor",
]
WRITES = frozenset({"omie.FaturarContrato", "omie.IncluirContrato", "omie.AlterarContrato"})
ONLY_AT = {
    **dict.fromkeys(("during", "lost_reply", "lost_request", "late", "killed_late", "answer", "blocked"), "omie"),
    **dict.fromkeys(("throttle", "throttle_after"), "store"),
    "jestor": "jestor",
}
_EVERYWHERE = {**dict.fromkeys(STORES, "store"), "omie": "omie", "jestor": "jestor"}
AT_ANY_TIME = [
    "redeliver",
    "move",
    "second_execution",
    "abort",
    "duplicate",
    "drop",
    "reorder",
    "replay",
    "click",
    "hold",
    "lift",
    "redrive",
    "dlq",
    "amount",
    "company",
    "edit",
    "suspend",
    "cancel_order",
    "time",
    "long_time",
]
INTERVALS = ("02", "03", "06", "12")


# ------------------------------------------------------------------------------------------------------- the world


class Frozen:
    """A WorldContract with its rows written down once."""

    def __init__(self, contract: Any, cTipoFat: str = "01") -> None:
        self.kind = contract.kind
        self.code: str = contract.code
        self.jestor_id: int = contract.jestor_id
        self.omie_company: str = contract.omie_company
        self.expected = contract.expected
        self.cTipoFat = cTipoFat
        rows = (contract.jestor_row, contract.omie_cliente, contract.omie_contrato)
        if rows[2] and cTipoFat != "01":
            rows[2]["cabecalho"]["cTipoFat"] = cTipoFat
        self._texts = [json.dumps(row) for row in rows]
        self.nCodCtr: int | None = rows[2]["cabecalho"]["nCodCtr"] if rows[2] else None

    @property
    def jestor_row(self) -> Any:
        return json.loads(self._texts[0])

    @property
    def omie_cliente(self) -> Any:
        return json.loads(self._texts[1])

    @property
    def omie_contrato(self) -> Any:
        return json.loads(self._texts[2])


@lru_cache(maxsize=8)
def pool(day: Any) -> dict[str, list[Frozen]]:
    found: dict[str, list[Frozen]] = {}
    for contract in make_world(90, 11, day).contracts:
        if contract.customer == contract.index:
            found.setdefault(contract.kind, []).append(Frozen(contract))
    return found


def small_world(
    random: Random, start: datetime, count: int, companies: Collection[str], peculiar: Sequence[str] = ()
) -> World:
    """`count` contracts, two of them peculiar unless it is said which are."""
    kinds = {
        kind: [one for one in found if one.omie_company in companies]
        for kind, found in pool(start.astimezone(SAO_PAULO).date()).items()
    }
    peculiar = peculiar or random.choices(
        ["create", "differs_amount", "foreign_item", "lookalike", "suspended_in_omie", "match"],
        [5, 5, 2, 1, 1, 4],
        k=2,
    )
    wanted = Counter([*peculiar, *["match"] * (count - len(peculiar))])
    chosen = [
        one for kind, number in wanted.items() for one in random.sample(kinds[kind], min(number, len(kinds[kind])))
    ]
    chosen.sort(key=lambda one: one.jestor_id)
    return World(0, start.date(), COMPANIES, cast("Any", tuple(chosen)))


@lru_cache
def only(companies: tuple[str, ...], repetition_refused: bool, live: bool = False) -> Settings:
    """An Omie that answers the same question at once is asked at once: doubts are then looked at as early as may be."""
    settings = demo_settings()
    changes = {} if repetition_refused else {"same_question_seconds": 0}
    if live:
        least = FUNCTION_TIMEOUT_SECONDS + int(LONGEST_ABANDONED) + max(LIVE.values()) + 1
        changes |= LIVE | {"in_doubt_wait_seconds": least}
    chosen = {key: settings.companies[key].model_copy(update=changes) for key in companies}
    return settings.model_copy(update={"companies": chosen})


# --------------------------------------------------------------------------------------------------- what was done


@dataclass
class Witness:
    """What the adversary did that the checker must know of, because no book shows it."""

    claims_when_held: dict[str, int] = field(default_factory=dict)
    """contract -> CLAIM lines in its charges when the hold that is still on it was put."""
    claimed_on_hold: list[str] = field(default_factory=list)
    clicks: list[tuple[str, int, float]] = field(default_factory=list)
    cancelled: list[tuple[str, int, float]] = field(default_factory=list)
    """(company, nCodOS, when) of the orders that a person cancelled in Omie."""
    stopped: list[tuple[str, int, float]] = field(default_factory=list)
    """(company, nCodCtr, when) of the contracts that a person suspended in Omie."""
    registers: set[str] = field(default_factory=set)
    """Documents that have two registers in some Omie."""
    edits: list[tuple[str, int, float]] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    """Contracts whose company was written in Jestor."""
    churned: set[str] = field(default_factory=set)
    """Contracts that were called stopped in Jestor at some time."""
    plans: list[tuple[float, str, str, str]] = field(default_factory=list)
    """(when, run, company, hash) of each plan that became the valid one."""
    blocks: int = 0
    done: Counter[str] = field(default_factory=Counter)
    calm_runs: int = 0
    calm_months: set[str] = field(default_factory=set)
    """The months of which a run came to its end after the adversary had stopped."""


class Adversary:
    """A lab and what happens to it.

    Args:
        seed: decides everything.
        script: step number -> what happens there, instead of chance (the exhaustive search).
        spoil: changes the lab before it starts: the mutations.
        contracts: how many.
        kind: of lab.
        late: whether Omie's lists are later than assumed.
    """

    def __init__(
        self,
        seed: int,
        *,
        script: dict[int, str] | None = None,
        spoil: Callable[[Lab], None] | None = None,
        contracts: int | None = None,
        kind: type[Lab] = Lab,
        late: bool = False,
    ) -> None:
        self.seed = seed
        self.late = late
        self.live = False
        self.random = random = Random(seed)
        self.script = script
        self.steps = 0
        self.calm = script is not None
        self.depth = 0
        self.in_flight = 0
        self.forced = False
        self.witness = Witness()
        self.trace: list[str] = []
        self.names: list[str] = []
        start = START if script is not None else _start(random)
        self.rate = random.choice([0.01, 0.03, 0.06, 0.12])
        self.event_rate = random.choice([0.02, 0.08, 0.2])
        self.at_a_step = [kind for kind in AT_A_STEP if random.random() < 0.5] or ["kill_after"]
        self.at_any_time = [kind for kind in AT_ANY_TIME if random.random() < 0.45] or ["redeliver"]
        companies = ("acme", "nimbus") if script is None and random.random() < 0.3 else ("acme",)
        peculiar = ("create", "differs_amount", "foreign_item") if script is not None else ()
        switches = Switches() if script is not None else _switches(random)
        world = small_world(random, start, contracts or random.randint(3, 6), companies, peculiar)
        self.reality = Random(f"reality-{seed}")
        self.silence = 0.0
        if script is None:
            self.silence = self.reality.choice((0.0, 0.03))
            _as_it_is(self.reality, switches)
            switches.repeated_read = Random(f"repeat-{seed}").choice(("cached", "fresh"))
            if (draw := Random(f"unnamed-{seed}")).random() < UNNAMED_SHARE:
                switches.os_nCodCtr = switches.list_os_cNumContrato = "absent"
                switches.os_named_after = draw.choice((0.0, NAMED_AFTER))
            self.live = late or Random(f"live-{seed}").random() < 1 / 3
            if self.live:
                switches.list_lag *= LIVE["list_lag_seconds"] / LONGEST_LIST_LAG
                switches.read_lag *= LIVE["read_lag_seconds"] / LONGEST_READ_LAG
            if late:
                switches.list_lag_least, switches.list_lag = LATE
                self.silence = self.reality.choice((0.1, 0.3))
            world = _with_an_interval(self.reality, world)
        self.lab = kind(
            world=world,
            settings=only(companies, switches.redundant_on > 0, self.live),
            switches=switches,
            latency_ms=60 if script is not None else Random(f"latency-{seed}").choice((60, 900)),
            seed=seed,
            start=start,
            step=self.step,
        )
        if script is None:
            self._register_twice()
            self._billed_last_month()
        self.messages: list[Message] = []
        self.lab.fifo.send = self._sent  # type: ignore[method-assign]
        self._put_plan = self.lab.runs.put_plan
        self.lab.runs.put_plan = self._planned  # type: ignore[method-assign]
        if spoil is not None:
            spoil(self.lab)

    @property
    def list_lag(self) -> float:
        """The longest for which Omie's lists lack a billing."""
        if self.late:
            return LATE[1]
        return float(LIVE["list_lag_seconds"]) if self.live else LONGEST_LIST_LAG

    @property
    def named_after(self) -> float:
        """The longest for which nothing in Omie says of which contract an order is."""
        return self.lab.omie.switches.os_named_after

    @property
    def read_lag(self) -> float:
        """The longest for which Omie shows a contract as it was before an alteration."""
        return float(LIVE["read_lag_seconds"]) if self.live else LONGEST_READ_LAG

    # --- the schedule ----------------------------------------------------------------------------------------------

    def run(self) -> "Adversary":
        with lean():
            self._run()
        return self

    def _run(self) -> None:
        lab = self.lab
        lab.start(trigger="operator")
        if self.script is None:
            for _ in range(MOVES):
                self.forced = False
                if self.random.random() < self.event_rate:
                    self.something()
                self.between()
                ready = lab.actions()
                if ready:
                    self.random.choice(ready)()
                elif not lab.wait():
                    break
                if self._new_month():
                    lab.start(trigger="schedule")
        self._calm_down()

    def between(self) -> None:
        """For more than this adversary does."""

    def _calm_down(self) -> None:
        """Nothing breaks any more: what is under way ends, and a person starts the month again until it balances.

        Not later than the next day: an order of the living contract may ask every hour of a month whether the run
        has let go.
        """
        lab = self.lab
        if self.script is None:
            self.calm = True
        lab.omie.faults.replace(())
        lab.jestor.set_faults(())
        lab.drain(A_DAY)
        for _ in range(CALM_RUNS):
            lab.clock.advance(self.list_lag + self.named_after)  # what was billed a moment ago is listed by then
            month = str(BillingMonth.of(lab.clock.now()))
            execution = lab.start(trigger="operator")
            self.witness.calm_runs += 1
            lab.drain(A_DAY)
            if execution.answer is not None and not any(
                company["stopped"] for company in execution.answer["companies"]
            ):
                self.witness.calm_months.add(month)
                if execution.answer["balanced"]:
                    return
            free_at = max(lab.lanes.get(company).blocked_until for company in lab.settings.companies)
            lab.clock.advance(max(free_at - lab.now(), 2000 if self.witness.blocks else 60))  # as the report says

    def _new_month(self) -> bool:
        month = BillingMonth.of(self.lab.clock.now())
        return month != BillingMonth.of(self._started) and len(self.lab.executions) < 3

    @property
    def _started(self) -> datetime:
        return datetime.fromisoformat(self.lab.executions[0].opened.get("started_at") or START.isoformat())

    # --- a step ----------------------------------------------------------------------------------------------------

    def step(self, name: str, call: Callable[[], Any]) -> Any:
        self.steps += 1
        if self.calm:
            if self.script is None:
                return self._in_time(call)
            self.names.append(name)
            kind = self.script.get(self.steps)
        else:
            kind = self._draw(name)
        if kind is None:
            return self._in_time(call)
        self.witness.done[kind] += 1
        self.trace.append(f"{self.steps:5} {self._hour()} {name}: {kind}")
        return self._broken(kind, name, call)

    def _draw(self, name: str) -> str | None:
        if self.silence and name.startswith("omie.") and self.reality.random() < self.silence:
            return self.reality.choice(("lost_reply", "lost_request"))
        if self.random.random() >= self.rate * (3 if name in WRITES else 1):
            return None
        port = name.partition(".")[0]
        if name in WRITES and "during" in self.at_a_step and self.depth < 2 and self.random.random() < 0.3:
            return "during"
        kinds = [kind for kind in self.at_a_step if ONLY_AT.get(kind, _EVERYWHERE[port]) == _EVERYWHERE[port]]
        if self.depth >= 2:
            kinds = [kind for kind in kinds if kind not in {"nested", "nested_after", "during"}]
        return self.random.choice(kinds) if kinds else None

    def _in_time(self, call: Callable[[], Any]) -> Any:
        """Lambda kills the function at its time-out; nothing leaves after that."""
        deadlines, now = self.lab.deadlines, self.lab.now
        if deadlines and now() > deadlines[-1]:
            raise Killed
        answer = call()
        if deadlines and now() > deadlines[-1]:
            raise Killed
        return answer

    def _broken(self, kind: str, name: str, call: Callable[[], Any]) -> Any:
        match kind:
            case "kill_before":
                raise Killed
            case "kill_after":
                self._in_time(call)
                raise Killed
            case "pause":
                self.lab.clock.advance(self.random.choice((1, 4, 6, 20, 70, 110)))
                return self._in_time(call)
            case "pause_after":
                answer = self._in_time(call)
                self.lab.clock.advance(self.random.choice((1, 4, 6, 20, 70, 110)))
                return answer
            case "nested":
                self._nested()
                return self._in_time(call)
            case "nested_after":
                answer = self._in_time(call)
                self._nested()
                return answer
            case "during":
                began = self.lab.clock.now()
                answer = self._in_time(call)
                ended = self.lab.clock.now()
                self.lab.clock.set(began + timedelta(milliseconds=1))
                self._nested(in_flight=True)
                self.lab.clock.set(max(ended, self.lab.clock.now()))
                return answer
            case "throttle":
                raise _throttled()
            case "throttle_after":
                self._in_time(call)
                raise _throttled()
            case "jestor":
                self.lab.jestor.set_faults([{"kind": self.random.choice(JESTOR_ANSWERS), "times": 1}])
                try:
                    return self._in_time(call)
                finally:
                    self.lab.jestor.set_faults(())
            case "killed_late":
                with _fault(self.lab, Fault("late_execution", seconds=self._late())):
                    try:
                        self._in_time(call)
                    except Exception:  # noqa: BLE001 - nobody is there to see it
                        raise Killed from None
                raise Killed
            case "lost_reply" | "lost_request":
                with _fault(self.lab, Fault(kind)):
                    return self._in_time(call)
            case "late":
                with _fault(self.lab, Fault("late_execution", seconds=self._late())):
                    return self._in_time(call)
            case "blocked":
                self.witness.blocks += 1
                with _fault(self.lab, Fault("blocked", seconds=self.random.choice((30.0, 300.0, 1800.0)))):
                    return self._in_time(call)
            case "answer":
                answered = self.random.choice(OMIE_ANSWERS)
                self.trace[-1] += f" {answered}"
                executed = self.random.choice(("yes", "no"))
                with _fault(self.lab, Fault(answered, seconds=self.random.choice((20.0, 50.0)), executed=executed)):
                    return self._in_time(call)
        raise AssertionError(kind)

    def _late(self) -> float:
        return self.random.uniform(0.5, LONGEST_ABANDONED - 1)

    def _nested(self, *, in_flight: bool = False) -> None:
        """Something else happens while this process waits for its call.

        A second delivery of one message never overlaps a call under way: SQS hides it for six times as long as
        Lambda lets the first one live.
        """
        self.depth += 1
        self.in_flight += in_flight
        try:
            if in_flight:
                self._overlap()
            else:
                self.something(inside=True)
        finally:
            self.depth -= 1
            self.in_flight -= in_flight

    # --- at any time -----------------------------------------------------------------------------------------------

    def something(self, *, inside: bool = False) -> None:
        kind = self.random.choice(self.at_any_time)
        if (inside and kind in {"edit", "long_time"}) or (self.in_flight and kind in {"redeliver", "drop"}):
            return
        self.trace.append(f"{self.steps:5} {self._hour()} {'  ' * self.depth}* {kind}")
        self.witness.done[kind] += 1
        getattr(self, f"_{kind}")()

    def _redeliver(self) -> None:
        """The message that is out comes out again, whether or not its first delivery has ended."""
        out = [message for message in self.lab.fifo.messages if message.receives]
        if out:
            message = self.random.choice(out)
            message.visible_at = 0.0
            self.forced = self.depth > 0
            self.lab.deliver(message)

    def _overlap(self) -> None:
        """Another message, if the queue gives one out, or another step of the machine."""
        if self.forced:  # a message was made to come out twice: what the queue gives out now is no longer SQS's doing
            return
        ready = self.lab.fifo.ready(self.lab.now())
        if ready:
            self.lab.deliver(self.random.choice(ready))
        else:
            self._move()

    def _move(self) -> None:
        ready = self.lab.actions()
        if ready:
            self.random.choice(ready)()

    def _second_execution(self) -> None:
        if len(self.lab.executions) < 3:
            self.lab.start(trigger=self.random.choice(("operator", "schedule")))

    def _abort(self) -> None:
        alive = [one for one in self.lab.executions if not one.ended]
        if alive:
            self.random.choice(alive).abort()
            self.lab.start(trigger="operator")

    def _duplicate(self) -> None:
        if self.lab.fifo.messages:
            message = self.random.choice(self.lab.fifo.messages)
            self.lab.fifo.send(message.group, message.body)

    def _drop(self) -> None:
        if self.lab.fifo.messages:
            self.lab.fifo.delete(self.random.choice(self.lab.fifo.messages))
            self.forced = self.depth > 0

    def _reorder(self) -> None:
        self.random.shuffle(self.lab.fifo.messages)

    def _replay(self) -> None:
        """A message of long ago, perhaps of last month, comes back."""
        if self.messages:
            message = self.random.choice(self.messages)
            self.lab.fifo.send(message.group, message.body)

    def _click(self) -> None:
        """A person bills by hand what Omie's screen shows under "Faturar hoje"."""
        lab = self.lab
        now, app = lab.now(), lab.omie.apps[self.random.choice(sorted(lab.settings.companies))]
        lab.omie.advance(now)
        today = day_of(now + lab.omie.switches.clock_offset)
        waiting = [each for each in app.contract_list if omie_billing.in_stage_20(each, today, month_of(today))]
        if waiting:
            contract = self.random.choice(waiting)
            try:
                lab.omie.bill_by_person(app.company, contract.nCodCtr, now=now)
            except OmieFault:
                return
            self.witness.clicks.append((app.company, contract.nCodCtr, now))
            self.trace[-1] += f" {contract.nCodCtr}"

    def _hold(self) -> None:
        code = self._some_code()
        self.lab.ledger.put_hold(code, "Cancelado no Jestor", self.lab.clock.now())
        self.witness.claims_when_held.setdefault(code, self._claims(code))
        self.trace[-1] += f" {code}"

    def _lift(self) -> None:
        if not self.witness.claims_when_held:
            return
        code = self.random.choice(sorted(self.witness.claims_when_held))
        self.hold_kept(code)
        self.lab.ledger.lift_hold(code)
        self._charge_event(code, State.HELD, Event.RELEASE)
        self.trace[-1] += f" {code}"

    def hold_kept(self, code: str) -> None:
        """The hold ends (or the schedule does): nobody may have claimed since it was put."""
        if self._claims(code) > self.witness.claims_when_held.pop(code):
            self.witness.claimed_on_hold.append(code)

    def _redrive(self) -> None:
        """A person releases what was parked: last month's too."""
        parked = [
            charge for charge in self.charges() if charge.state is State.PARKED and charge.key.kind == "mensalidade"
        ]
        if parked:
            charge = self.random.choice(parked)
            self._charge_event(charge.key.contract, State.PARKED, Event.REDRIVE)
            self.trace[-1] += f" {charge.key}"

    def _dlq(self) -> None:
        """A person works on the dead letters or the doubts: all of them or some, this month's or last month's."""
        month = BillingMonth.of(self.lab.clock.now())
        event = {
            "action": self.random.choice(("redrive", "redrive", "resolve", "list")),
            "classes": self.random.choice(([], [], ["in_doubt"], ["unknown"], ["transient", "data"])),
            "month": self.random.choice((None, str(month), str(month.previous()))),
            "dry_run": self.random.random() < 0.2,
        }
        self.trace[-1] += f" {event}"
        try:
            with self.lab.process("redrive"):
                redrive(event, self.lab.redrive_deps(), deadline=self.lab.deadlines[-1])
        except Killed:
            if self.lab.deadlines and self.lab.now() > self.lab.deadlines[-1]:
                raise  # the one that waited meanwhile is over, too
        except (ClientError, OmieError) as error:
            self.trace[-1] += f" {type(error).__name__}"

    def _amount(self) -> None:
        reais = self.random.choice((111, 222.5, 333.33))
        self._jestor({FIELDS["unit_amount"]: reais})

    def _company(self) -> None:
        """Another company of ours invoices it from now on."""
        company = COMPANIES[self.random.choice(sorted(self.lab.settings.companies))]
        label = self.random.choice(sorted(company.services))
        self.witness.moved.add(self._jestor({FIELDS["company"]: company.jestor_label, FIELDS["service"]: label}))

    def _edit(self) -> None:
        """A person changes the amount in Omie's own screen, while no batch is being billed."""
        app = self.lab.omie.apps[self.random.choice(sorted(self.lab.settings.companies))]
        if not app.contract_list:
            return
        contract = self.random.choice(app.contract_list)
        kind = self.random.choice(("valorUnit", "valorUnit", "cTipoFat"))

        def edit(cadastro: Any) -> None:
            if kind == "cTipoFat":
                cadastro["cabecalho"]["cTipoFat"] = self.reality.choice(INTERVALS)
            else:
                cadastro["itensContrato"][0]["itemCabecalho"]["valorUnit"] = 77.7

        self.lab.omie.edit_by_person(app.company, contract.nCodCtr, edit, now=self.lab.now())
        self.witness.edits.append((app.company, contract.nCodCtr, self.lab.now()))

    def _suspend(self) -> None:
        """A person suspends a contract in Omie's own screen."""
        app = self.lab.omie.apps[self.random.choice(sorted(self.lab.settings.companies))]
        active = [contract for contract in app.contract_list if contract.cCodSit == "10"]
        if active:
            contract = self.random.choice(active)
            now = self.lab.now()
            self.lab.omie.edit_by_person(
                app.company, contract.nCodCtr, lambda cadastro: cadastro["cabecalho"].update(cCodSit="90"), now=now
            )
            self.witness.stopped.append((app.company, contract.nCodCtr, now))
            self.trace[-1] += f" {contract.nCodCtr}"

    def _cancel_order(self) -> None:
        """A person cancels an order in Omie's own screen."""
        app = self.lab.omie.apps[self.random.choice(sorted(self.lab.settings.companies))]
        live = [order for order in app.order_list if order.billed and not order.cancelled]
        if live:
            order, now = self.random.choice(live), self.lab.now()
            self.lab.omie.cancel_by_person(app.company, order.nCodOS, now=now)
            self.witness.cancelled.append((app.company, order.nCodOS, now))
            self.trace[-1] += f" OS {order.nCodOS} of {order.nCodCtr}"

    def _time(self) -> None:
        self.lab.clock.advance(self.random.choice((5, 30, 65, 200)))

    def _long_time(self) -> None:
        self.lab.clock.advance(self.random.choice((800, 1900, 7300)))

    # --- the world as it really is ---------------------------------------------------------------------------------

    def _register_twice(self) -> None:
        """Some customers get a second register of their document, listed after the one that has their contracts."""
        for company in sorted(self.lab.settings.companies):
            app = self.lab.omie.apps[company]
            for number in list(app.customer_list):
                if self.reality.random() < 0.13:
                    again = app.customer(number) | {"codigo_cliente_omie": app.new_id()}
                    app.add_customer(again | {"codigo_cliente_integracao": ""})
                    self.witness.registers.add(str(again["cnpj_cpf"]))

    def _billed_last_month(self) -> None:
        """What stage 30 goes on showing until Omie turns its stages to the new month."""
        before = BillingMonth.of(self.lab.clock.now()).previous()
        for app in self.lab.omie.apps.values():
            billed = [contract.nCodCtr for contract in app.contract_list if self.reality.random() < 0.9]
            app.billed_in[before.year * 100 + before.month] = dict.fromkeys(billed, 0.0)

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _jestor(self, data: dict[str, Any]) -> str:
        """The contract it changed."""
        contract = self.random.choice(self.lab.world.contracts)
        self.lab.jestor.edit({"table": CONTRACTS_TABLE, "id": contract.jestor_id, "data": data}, self.lab.now())
        self.trace[-1] += f" {contract.code}"
        return contract.code

    def _some_code(self) -> str:
        return self.random.choice([contract.code for contract in self.lab.world.contracts])

    def charges(self) -> list[Any]:
        ledger = self.lab.ledger
        return list(ledger.iter_many(list(ledger._charges)))

    def _claims(self, code: str) -> int:
        mine = [c for c in self.charges() if c.key.contract == code and c.key.kind == "mensalidade"]
        return sum(line["event"] == Event.CLAIM for charge in mine for line in charge.history)

    def _charge_event(self, code: str, state: State, event: Event) -> None:
        for charge in self.charges():
            if charge.key.contract == code and charge.state is state:
                try:
                    self.lab.ledger.apply(charge.key, event, now=self.lab.clock.now(), who="person", why="released")
                except TransitionRefused:
                    continue

    def _planned(self, run: str, company: str, **plan: Any) -> None:
        self.witness.plans.append((self.lab.now(), run, company, plan["plan_hash"]))
        self._put_plan(run, company, **plan)

    def _sent(self, group: str, body: Any) -> None:
        Lab_send = type(self.lab.fifo).send
        Lab_send(self.lab.fifo, group, body)
        if len(self.messages) < 40:
            self.messages.append(self.lab.fifo.messages[-1])

    def _hour(self) -> str:
        return f"{self.lab.clock.now().astimezone(SAO_PAULO):%d %H:%M:%S}"


class _fault:  # noqa: N801
    """One fault for the calls in the body."""

    def __init__(self, lab: Lab, fault: Fault) -> None:
        self._faults = lab.omie.faults
        self._fault = fault

    def __enter__(self) -> None:
        self._faults.replace((self._fault,))

    def __exit__(self, *_: object) -> None:
        self._faults.replace(())


def _throttled() -> ClientError:
    return ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow down"}}, "Any")


def on_the_last_evening(seed: int) -> bool:
    """Whether that seed's schedule begins on a month's last evening: where months meet, most faults were found."""
    return _start(Random(seed)) < START.replace(hour=0)


def _start(random: Random) -> datetime:
    return random.choice(
        [
            *[START] * 6,
            START.replace(hour=23, minute=random.randint(20, 50)),
            START.replace(hour=23, minute=random.randint(35, 58)) - timedelta(days=1),
            START.replace(hour=22, minute=random.randint(0, 58)) - timedelta(days=1),
            START.replace(day=15, hour=14),
        ]
    )


def _switches(random: Random) -> Switches:
    pick = random.choice
    return Switches(
        second_billing=pick(("accept", "refuse")),
        items_on_alter=pick(("merge", "replace")),
        duplicate_integration_code=pick(("refuse", "accept")),
        bill_outside_stage_20=pick(("accept", "refuse")),
        redundant_on=pick((0, 2, 3)),
        os_nCodCtr=pick(("present", "absent")),
        parallel_writes=pick(("record", "refuse")),
        server_faults_count=pick((True, False)),
        same_id_lookup=pick(("off", "consultar", "consultar+status")),
    )


def _as_it_is(reality: Random, switches: Switches) -> None:
    """What live accounts showed, and what nobody knows, each in some schedules."""
    switches.read_lag = reality.choice((0.0, 3.0, LONGEST_READ_LAG))
    switches.list_lag = reality.choice((0.0, 3.0, LONGEST_LIST_LAG - 0.5))
    switches.lists_lag = reality.choice(("alike", "apart"))
    switches.clock_offset = reality.choice((0.0, 0.0, reality.uniform(-900, 900)))
    switches.turn_late = reality.choice((0.0, 0.0, 0.0, 900.0, 7200.0, 21600.0))
    switches.after_cancel = reality.choice(("20", "30"))


def _with_an_interval(reality: Random, world: World) -> World:
    """One of the plain contracts is billed every so many months."""
    plain = [contract for contract in world.contracts if contract.kind == "match"]
    if not plain or reality.random() < 0.6:
        return world
    chosen, cTipoFat = reality.choice(plain), reality.choice(INTERVALS)
    contracts = tuple(Frozen(one, cTipoFat) if one is chosen else one for one in world.contracts)
    return World(0, world.today, world.companies, cast("Any", contracts))
