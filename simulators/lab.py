"""The whole monthly run in one process, on a clock that moves only when somebody waits: for tests and proofs.

    Lab(contracts=50, seed=1).run()      bills a month and answers what close_run answered

The use cases, clients, ledger rules and governor are the real ones; Omie and Jestor are the simulators' cores, the
stores are in memory, and Step Functions, SQS and Lambda are the few lines of `Execution`, `Fifo` and `Lab.deliver`.
Whoever gives a `step` is asked at every port call, and may do anything in its place, before it or after it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from itertools import count
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx

from billing.bill_batch import BillDeps, Look, bill_batch, one_by_one
from billing.bootstrap import JESTOR_TIMEOUT, LANE_WAIT, OMIE_READS_PER_MINUTE, OMIE_TIMEOUT
from billing.close_run import CloseDeps, close_run, write_waiting_plan
from billing.deliver_invoice import InvoiceDeps
from billing.domain.month import SAO_PAULO
from billing.holidays_br import is_bank_holiday
from billing.jestor.client import JestorClient
from billing.jestor.receivables import waivers
from billing.late_charges import quote_of
from billing.omie.client import READ_ATTEMPTS, Credentials, OmieClient, reader_permit, shared_turns
from billing.omie.governor import BlockedUntil, ReadGate
from billing.omie.replies import BLOCK_SECONDS, Blocked, OmieError
from billing.open_run import OpenRunDeps, RunRequest, open_run
from billing.plan_company import PlanDeps, plan_company
from billing.redrive import RedriveDeps
from billing.request_approval import ApprovalDeps, request_approval
from billing.settings import FUNCTION_TIMEOUT_SECONDS, Settings, load_settings
from billing.settle_company import SettleDeps, settle_company
from billing.sweep_invoices import InvoiceSweepDeps
from billing.sync_receivables import ReceivablesDeps, ask, take
from simulators.clock import VirtualClock
from simulators.jestor.core import JestorCore
from simulators.memory_store import (
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryLanes,
    MemoryLedger,
    MemoryLines,
    MemoryObjects,
    MemoryQueues,
    MemoryRuns,
    MemoryTasks,
)
from simulators.omie.core import OmieCore, apps_of
from simulators.world import JESTOR_TOKEN, World, make_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from billing.answers import Answers
    from billing.domain.reajuste import IndexTable
    from simulators.omie.switches import Switches

    Step = Callable[[str, Callable[[], Any]], Any]
    """("port.method", the call) -> its answer. Raising is an answer too."""

T = TypeVar("T")
Json = dict[str, Any]

START: Final = datetime(2026, 12, 1, 6, 0, tzinfo=SAO_PAULO)
DEMO: Final = Path(__file__).resolve().parent.parent / "config" / "demo.toml"
OMIE_URL: Final = "http://omie.lab/api/v1"
JESTOR_URL: Final = "http://demo.api.jestor.lab"

# What the template and the state machine set; tests/template keeps the template to it.
TIMEOUTS: Final = {
    "open_run": 60,
    "plan_company": 900,
    "bill_batch": FUNCTION_TIMEOUT_SECONDS,
    "request_approval": 300,
    "settle_company": 900,
    "close_run": 300,
    "redrive": 900,
    "change_contract": FUNCTION_TIMEOUT_SECONDS,
    "churn_contract": FUNCTION_TIMEOUT_SECONDS,
    "update_jestor": FUNCTION_TIMEOUT_SECONDS,
    "deliver_invoice": FUNCTION_TIMEOUT_SECONDS,
    "sweep_contracts": 900,
    "sync_receivables": 900,
}
OMIE_WRITES: Final = "omie-writes"
INVOICE_EVENTS: Final = "invoice-events"
RECEIVABLES: Final = "receivables"
"""Names of queues."""
VISIBILITY_TIMEOUT: Final = 6 * FUNCTION_TIMEOUT_SECONDS
MAX_RECEIVES: Final = 5
BATCH_TIMEOUT: Final = 7200.0
BATCHES_AT_ONCE: Final = 2
RETRIES: Final = 5
RETRY_AFTER: Final = 30.0


class Killed(BaseException):
    """The process is gone: no `except Exception` hears of it, and nothing after it happens."""


@lru_cache(maxsize=8)
def demo_settings() -> Settings:
    """Without late charges: who wants them in a simulated month says so."""
    settings = load_settings(DEMO.read_text(encoding="utf-8"))
    companies = {key: company.model_copy(update={"late_fee": None}) for key, company in settings.companies.items()}
    return settings.model_copy(update={"companies": companies})


@lru_cache(maxsize=64)
def demo_world(contracts: int, seed: int, start: datetime, *, clean: bool) -> World:
    return make_world(contracts, seed, start.astimezone(SAO_PAULO).date(), clean=clean)


class Port:
    """Any store, asked through `step`."""

    def __init__(self, name: str, target: object, step: Step) -> None:
        self._name = name
        self._target = target
        self._step = step

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._target, method)
        if not callable(found):
            return found
        name, step = f"{self._name}.{method}", self._step

        def call(*args: Any, **kwargs: Any) -> Any:
            return step(name, lambda: found(*args, **kwargs))

        setattr(self, method, call)
        return call


class _Objects(Port):
    """A plan is in the bucket only once its writer has ended: that moment is the step."""

    @contextmanager
    def plan_writer(self, key: str) -> Iterator[MemoryLines]:
        lines = MemoryLines()
        yield lines
        text = "".join(f"{line}\n" for line in lines.written)
        target = cast("MemoryObjects", self._target)
        self._step("objects.plan_writer", lambda: target.put_text(key, text))


class Reply(httpx.Response):
    """As much of a response as the clients look at: making a whole one costs more than the simulated call."""

    def __init__(self, status_code: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = status_code
        self._content = content
        self.headers = httpx.Headers(headers) if headers else _NO_HEADERS


_NO_HEADERS: Final = httpx.Headers()


class OmieLine:
    """`httpx.Client.post` straight into the core; a call takes the time the core says."""

    def __init__(self, core: OmieCore, clock: VirtualClock, step: Step | None) -> None:
        self._core = core
        self._clock = clock
        self._step = step

    def post(self, url: str, *, content: str, **_: Any) -> Reply:
        if self._step is None:
            return self._post(url, content)
        method = content.split('"', 4)[3]
        answer: Reply = self._step(f"omie.{method}", lambda: self._post(url, content))
        return answer

    def _post(self, url: str, content: str) -> Reply:
        path = url.removeprefix("http://omie.lab")
        reply = self._core.handle(path, content.encode(), now=self._clock.now().timestamp())
        self._clock.advance(min(reply.delay, OMIE_TIMEOUT))
        if reply.delay > OMIE_TIMEOUT:
            raise httpx.ReadTimeout("the answer did not come in time")
        if reply.lost:
            raise httpx.RemoteProtocolError("the server disconnected without an answer")
        return Reply(reply.status, reply.body)


class JestorLine:
    def __init__(self, core: JestorCore, clock: VirtualClock, step: Step | None) -> None:
        self._core = core
        self._clock = clock
        self._step = step

    def post(self, url: str, *, content: bytes, headers: dict[str, str], **_: Any) -> Reply:
        path = url.removeprefix(JESTOR_URL)
        if self._step is None:
            return self._post(path, content, headers)
        answer: Reply = self._step(f"jestor.{path}", lambda: self._post(path, content, headers))
        return answer

    def _post(self, path: str, content: bytes, headers: dict[str, str]) -> Reply:
        reply = self._core.handle(path, headers, content, now=self._clock.now().timestamp())
        self._clock.advance(min(reply.delay, JESTOR_TIMEOUT))
        if reply.delay > JESTOR_TIMEOUT or reply.lost:
            raise httpx.ReadTimeout("the answer did not come in time")
        return Reply(reply.status, reply.body, reply.headers)


# --------------------------------------------------------------------------------------------------------- the queue


@dataclass
class Message:
    number: int
    group: str
    body: Json
    visible_at: float = 0.0
    receives: int = 0


class Fifo:
    """SQS FIFO: of a group, nothing comes out while a message of it is out and neither deleted nor timed out.

    `grouped=False` forgets the groups (what the system would be without them).
    """

    def __init__(self, *, grouped: bool = True) -> None:
        self.messages: list[Message] = []
        self.dead: list[Message] = []
        self.grouped = grouped
        self._numbers = count(1)

    def send(self, group: str, body: Json) -> None:
        self.messages.append(Message(next(self._numbers), group, body))

    def ready(self, now: float) -> list[Message]:
        """The messages that may be received, the first of each group."""
        if not self.grouped:
            return [message for message in self.messages if message.visible_at <= now]
        first = {message.group: message for message in reversed(self.messages)}
        out = {message.group for message in self.messages if message.visible_at > now}
        return [message for message in self.messages if message is first[message.group] and message.group not in out]

    def receive(self, message: Message, now: float) -> bool:
        """Take it out for VISIBILITY_TIMEOUT; False when it was received too often and goes to the dead letters."""
        message.receives += 1
        if message.receives > MAX_RECEIVES:
            self.messages.remove(message)
            self.dead.append(message)
            return False
        message.visible_at = now + VISIBILITY_TIMEOUT
        return True

    def delete(self, message: Message) -> None:
        if message in self.messages:
            self.messages.remove(message)


# ------------------------------------------------------------------------------------------------- the state machine


@dataclass
class Task:
    """A batch whose token waits for SendTaskSuccess."""

    token: str
    batch: Json
    until: float


@dataclass
class Branch:
    """One company of an execution; `state` is the name of the state machine's state it stands before."""

    event: Json
    state: str = "PlanCompany"
    wake: float = 0.0
    retries: int = 0
    todo: list[Json] = field(default_factory=list)
    delayed: list[tuple[float, Json]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.state == "Done"


class Execution:
    """statemachine/billing_run.asl.json, one state at a time."""

    def __init__(self, lab: Lab, name: str, wanted: Json) -> None:
        self.lab = lab
        self.name = name
        self.wanted = wanted
        self.state = "OpenRun"
        self.wake = 0.0
        self.retries = 0
        self.opened: Json = {}
        self.branches: list[Branch] = []
        self.answer: Json | None = None
        self.failure = ""

    @property
    def ended(self) -> bool:
        return self.state == "Ended"

    def actions(self, now: float) -> list[Callable[[], None]]:
        """What could happen next, each one Lambda call or one move of the machine."""
        match self.state:
            case "OpenRun" | "CloseRun":
                return [self._open if self.state == "OpenRun" else self._close] if self.wake <= now else []
            case "Companies":
                found: list[Callable[[], None]] = []
                for branch in self.branches:
                    found += self._branch_actions(branch, now)
                return found
        return []

    def next_wake(self) -> float | None:
        if self.state in {"OpenRun", "CloseRun"}:
            return self.wake
        if self.state != "Companies":
            return None
        times: list[float] = []
        for branch in self.branches:
            if branch.state == "BillBatches":
                times += [at for at, _ in branch.delayed] + [task.until for task in branch.tasks]
            elif not branch.ended:
                times.append(branch.wake)
        return min(times, default=None)

    # --- the run's own states

    def _open(self) -> None:
        try:
            request = RunRequest.from_event({"input": self.wanted, "execution": self.name})
            with self.lab.process("open_run"):
                self.opened = open_run(request, self.lab.open_deps())
        except (Exception, Killed) as error:  # noqa: BLE001 - States.ALL
            self._end(f"RunNotOpened: {error!r}")
            return
        if not self.opened["anything_to_do"]:
            self._end("")
            return
        self.branches = [Branch(dict(company)) for company in self.opened["companies"]]
        self.state = "Companies"

    def _close(self) -> None:
        event = self.opened | {"companies": [branch.event for branch in self.branches]}
        try:
            with self.lab.process("close_run"):
                self.answer = close_run(event, self.lab.close_deps())
        except Killed:
            self.retries += 1
            self.wake = self.lab.now() + RETRY_AFTER
            if self.retries > RETRIES:
                self._end("RunNotClosed: Lambda.Unknown")
            return
        except Exception as error:  # noqa: BLE001 - States.ALL
            self._end(f"RunNotClosed: {error!r}")
            return
        self._end("" if self.answer["balanced"] else "Unbalanced")

    def _end(self, failure: str) -> None:
        self.state, self.failure = "Ended", failure

    def abort(self) -> None:
        """Somebody stops the execution; what is in the queue stays there."""
        self._end("Aborted")

    # --- one company

    def _branch_actions(self, branch: Branch, now: float) -> list[Callable[[], None]]:
        match branch.state:
            case "BillBatches":
                return self._batch_actions(branch, now)
            case "Done":
                return []
            case state if branch.wake <= now:
                move: Callable[[Branch], None] = getattr(self, f"_{state.lower()}")
                return [lambda: self._moved(move, branch)]
        return []

    def _moved(self, move: Callable[[Branch], None], branch: Branch) -> None:
        move(branch)
        if all(one.ended for one in self.branches) and self.state == "Companies":
            self.state = "CloseRun"

    def _plancompany(self, branch: Branch) -> None:
        try:
            with self.lab.process("plan_company"):
                branch.event = plan_company(branch.event, self.lab.plan_deps())
        except (Exception, Killed) as error:  # noqa: BLE001 - States.ALL
            self._company_failed(branch, error)
            return
        match branch.event["decision"]:
            case "bill":
                self._start_batches(branch)
            case "approval":
                branch.state = "RequestApproval"
            case "settle":
                branch.state = "Settle"
            case _:
                branch.state = "Done"

    def _requestapproval(self, branch: Branch) -> None:
        """A person approves at once; of a company whose request fails nobody is asked, and it ends as failed."""
        try:
            with self.lab.process("request_approval"):
                request_approval(self.lab.new_token(), branch.event, self.lab.approval_deps())
        except (Exception, Killed) as error:  # noqa: BLE001 - States.ALL
            self._company_failed(branch, error)
            return
        self._start_batches(branch)

    def _start_batches(self, branch: Branch) -> None:
        branch.todo = [json.loads(line) for line in self.lab.objects.read_lines(branch.event["batches"]["key"])]
        branch.delayed, branch.tasks = [], []
        branch.state = "BillBatches" if branch.todo else "Settle"

    def _batch_actions(self, branch: Branch, now: float) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        under_way = len(branch.tasks) + len(branch.delayed)
        if branch.todo and under_way < BATCHES_AT_ONCE:
            found.append(lambda: self._send(branch, branch.todo.pop(0)))
        found += [partial(self._resend, branch, entry) for entry in branch.delayed if entry[0] <= now]
        for task in branch.tasks:
            if task.token in self.lab.tasks.ended or task.until <= now:
                found.append(partial(self._task_ended, branch, task))
        if not found and not under_way:
            branch.state, branch.wake = "Settle", 0.0
            return self._branch_actions(branch, now)
        return found

    def _send(self, branch: Branch, batch: Json) -> None:
        token = self.lab.new_token()
        branch.tasks.append(Task(token, batch, self.lab.now() + BATCH_TIMEOUT))
        self.lab.fifo.send(batch["company"], {"token": token, "batch": batch})

    def _resend(self, branch: Branch, entry: tuple[float, Json]) -> None:
        branch.delayed.remove(entry)
        self._send(branch, entry[1])

    def _task_ended(self, branch: Branch, task: Task) -> None:
        branch.tasks.remove(task)
        result = self.lab.tasks.ended.get(task.token)
        self.lab.tasks.waiting.discard(task.token)
        wait = result["output"]["wait_seconds"] if result and "output" in result else 0
        if wait > 0:
            branch.delayed.append((self.lab.now() + wait, task.batch))

    def _settle(self, branch: Branch) -> None:
        try:
            with self.lab.process("settle_company"):
                branch.event = settle_company(branch.event, self.lab.settle_deps())
        except Killed as error:
            branch.retries += 1
            branch.wake = self.lab.now() + RETRY_AFTER * 2 ** (branch.retries - 1)
            if branch.retries > RETRIES:
                self._company_failed(branch, error)
            return
        except Exception as error:  # noqa: BLE001 - States.ALL
            self._company_failed(branch, error)
            return
        branch.retries = 0
        match branch.event["decision"]:
            case "wait":
                branch.wake = self.lab.now() + branch.event["wait_seconds"]
            case "bill":
                self._start_batches(branch)
            case _:
                branch.state = "Done"

    def _company_failed(self, branch: Branch, error: BaseException) -> None:
        branch.event = branch.event | {"error": {"Error": type(error).__name__, "Cause": str(error)}}
        branch.state = "Done"


# ------------------------------------------------------------------------------------------------------------ the lab


class Notes:
    """A Notifier that keeps what it was told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def send(self, subject: str, text: str) -> None:
        self.sent.append((subject, text))


class Lab:
    """The two companies' systems and ours.

    Args:
        contracts: that must end billed, as in make_world.
        seed: of the world, the latencies and the attempts' ids.
        start: the present instant.
        clean: only contracts on which both sides agree.
        world: instead of the four above.
        settings: instead of config/demo.toml.
        switches: Omie's undocumented behaviour.
        latency_ms: mean time of an Omie call.
        step: asked at every port call; None calls the ports directly.
        grouped: whether the queue keeps one message of a company out at a time.
    """

    def __init__(
        self,
        contracts: int = 50,
        seed: int = 1,
        *,
        start: datetime = START,
        clean: bool = False,
        world: World | None = None,
        settings: Settings | None = None,
        switches: Switches | None = None,
        latency_ms: float = 60.0,
        step: Step | None = None,
        grouped: bool = True,
    ) -> None:
        self.clock = VirtualClock(start)
        self.settings = settings or demo_settings()
        self.world = world or demo_world(contracts, seed, start, clean=clean)
        apps = apps_of(self.world, now=self.now() - 86400)
        self.omie = OmieCore(apps, switches=switches, seed=seed, latency_ms=latency_ms)
        self.jestor = JestorCore(self.world, seed=seed)
        self.ledger = MemoryLedger()
        self.lanes = MemoryLanes()
        self.runs = MemoryRuns()
        self.objects = MemoryObjects()
        self.documents = MemoryDocuments()
        self.indices: IndexTable = {}
        """The imported price indices."""
        self.queues = MemoryQueues(now=self.now)
        self.letters = MemoryDeadLetters(self.queues)
        self.tasks = MemoryTasks()
        self.notes = Notes()
        self.fifo = Fifo(grouped=grouped)
        self.executions: list[Execution] = []
        self.step = step
        self.warm: dict[str, Look] = {}
        """What the process that bills remembers from one invocation to the next, until it is killed."""
        self.warm_answers: dict[str, Answers] = {}
        self.deadlines: list[float] = []
        """Of the functions now running, the innermost last: when Lambda kills each (epoch seconds)."""
        self._numbers, self._plannings = count(1), count(1)
        self._is_holiday = lru_cache(is_bank_holiday)

    def now(self) -> float:
        """Epoch seconds."""
        return self.clock.now().timestamp()

    def new_token(self) -> str:
        token = f"token-{next(self._numbers)}"
        self.tasks.waiting.add(token)
        return token

    def new_attempt(self) -> str:
        return f"attempt-{next(self._numbers)}"

    # --- what each function is given, fresh at every call, as a new process would have it

    def port(self, name: str, target: T) -> T:
        if self.step is None:
            return target
        kind = _Objects if name == "objects" else Port
        return cast("T", kind(name, target, self.step))

    def omie_line(self) -> httpx.Client:
        """Through which the clients reach Omie."""
        return cast("httpx.Client", OmieLine(self.omie, self.clock, self.step))

    def omie_clients(
        self,
        on_error: Callable[[str, str, OmieError], None] | None = None,
        *,
        repeats: bool = True,
        read_attempts: int = READ_ATTEMPTS,
        longest_wait: float | None = None,
        reads_only: bool = False,
    ) -> Callable[[str], OmieClient]:
        """`repeats`, `reads_only`: as in bootstrap."""
        line = self.omie_line()

        def client(company: str) -> OmieClient:
            app = self.omie.apps[company]
            return OmieClient(
                Credentials(app.app_key, app.app_secret),
                base_url=OMIE_URL,
                http=line,
                clock=self.clock,
                gate=ReadGate(
                    self.clock,
                    OMIE_READS_PER_MINUTE,
                    shared_turns(partial(self._ask, company), self.clock) if repeats else None,
                    longest_wait=longest_wait,
                    permit=reader_permit(partial(self.lanes.readers, company), self.clock) if reads_only else None,
                ),
                on_error=(lambda method, error: on_error(company, method, error)) if on_error else None,
                read_attempts=read_attempts,
                longest_wait=longest_wait,
            )

        return client

    def _ask(self, company: str, question: str) -> float | BlockedUntil:
        return self.lanes.ask(company, question, self.now(), self.settings.companies[company].same_question_seconds)

    def jestor_client(self) -> JestorClient:
        line = cast("httpx.Client", JestorLine(self.jestor, self.clock, self.step))
        return JestorClient(JESTOR_URL, JESTOR_TOKEN, http=line, clock=self.clock)

    def open_deps(self) -> OpenRunDeps:
        return OpenRunDeps(
            settings=self.settings,
            runs=self.port("runs", self.runs),
            clock=self.clock,
            is_holiday=self._is_holiday,
            is_running=lambda name: any(one.name == name and not one.ended for one in self.executions),
        )

    def plan_deps(self) -> PlanDeps:
        return PlanDeps(
            settings=self.settings,
            jestor=self.jestor_client,
            omie=self.omie_clients(self._counting(self.lanes)),
            ledger=self.port("ledger", self.ledger),
            runs=self.port("runs", self.runs),
            objects=self.port("objects", self.objects),
            clock=self.clock,
            waivers=lambda company: waivers(self.jestor_client(), self.settings, company),
            indices=lambda: self.indices,
            is_holiday=self._is_holiday,
            new_planning=lambda: f"planning-{next(self._plannings)}",
        )

    def approval_deps(self) -> ApprovalDeps:
        return ApprovalDeps(
            runs=self.runs,
            notifier=self.notes,
            clock=self.clock,
            page=lambda plan: write_waiting_plan(plan, self.close_deps()),
        )

    def bill_deps(self) -> BillDeps:
        lanes = self.port("lanes", self.lanes)
        return BillDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            lanes=lanes,
            runs=self.port("runs", self.runs),
            objects=self.port("objects", self.objects),
            queues=self.port("queues", self.queues),
            tasks=self.tasks,
            omie=self.omie_clients(self._counting(lanes), repeats=False, read_attempts=1, longest_wait=LANE_WAIT),
            clock=self.clock,
            read_ahead=one_by_one,
            new_attempt=self.new_attempt,
            looks=self.warm,
            answers=self.warm_answers,
        )

    def settle_deps(self) -> SettleDeps:
        return SettleDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            runs=self.port("runs", self.runs),
            objects=self.port("objects", self.objects),
            queues=self.port("queues", self.queues),
            omie=self.omie_clients(self._counting(self.lanes)),
            clock=self.clock,
        )

    def close_deps(self) -> CloseDeps:
        return CloseDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            runs=self.port("runs", self.runs),
            objects=self.port("objects", self.objects),
            notifier=cast("Any", self.notes),
            clock=self.clock,
        )

    def redrive_deps(self) -> RedriveDeps:
        lanes = self.port("lanes", self.lanes)
        return RedriveDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            lanes=lanes,
            runs=self.port("runs", self.runs),
            objects=self.port("objects", self.objects),
            letters=self.letters,
            queues=self.port("queues", self.queues),
            tasks=self.tasks,
            omie=self.readers(lanes),
            clock=self.clock,
        )

    def _counting(self, lanes: Any) -> Callable[[str, str, OmieError], None]:
        def count_error(company: str, method: str, error: OmieError) -> None:
            if error.counts_toward_block:
                lanes.note_error(company, method, self.now())

        return count_error

    def readers(
        self, lanes: Any = None, *, repeats: bool = True, read_attempts: int = READ_ATTEMPTS
    ) -> Callable[[str], OmieClient]:
        """The clients of those who read beside the lane, as bootstrap's `_reader` makes them."""
        lanes = lanes or self.lanes

        def count_error(company: str, method: str, error: OmieError) -> None:
            if error.counts_toward_block:
                lanes.note_reader_error(company, method, self.now())
            elif isinstance(error, Blocked):
                lanes.block(company, self.now() + (error.retry_after or BLOCK_SECONDS), error.text)

        return self.omie_clients(count_error, repeats=repeats, read_attempts=read_attempts, reads_only=True)

    def invoice_deps(self) -> InvoiceDeps:
        lanes = self.port("lanes", self.lanes)
        return InvoiceDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            documents=self.port("documents", self.documents),
            lanes=lanes,
            objects=self.port("objects", self.objects),
            queues=self.port("queues", self.queues),
            omie=self.readers(lanes, repeats=False, read_attempts=2),
            jestor=self.jestor_client,
            clock=self.clock,
            omie_writes_url=OMIE_WRITES,
            invoice_events_url=INVOICE_EVENTS,
            new_holder=self.new_attempt,
        )

    def invoice_sweep_deps(self) -> InvoiceSweepDeps:
        return InvoiceSweepDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            documents=self.port("documents", self.documents),
            objects=self.port("objects", self.objects),
            queues=self.port("queues", self.queues),
            omie=self.readers(),
            jestor=self.jestor_client,
            clock=self.clock,
            notifier=cast("Any", self.notes),
            invoice_events_url=INVOICE_EVENTS,
        )

    def receivables_deps(self) -> ReceivablesDeps:
        return ReceivablesDeps(
            settings=self.settings,
            jestor=self.jestor_client,
            omie=self.readers(),
            ledger=self.port("ledger", self.ledger),
            queues=self.port("queues", self.queues),
            queue_url=RECEIVABLES,
            clock=self.clock,
            is_holiday=self._is_holiday,
            quote=lambda company: quote_of(self.settings.companies[company].late_fee, self._is_holiday),
        )

    # --- how it goes

    @contextmanager
    def process(self, function: str) -> Iterator[None]:
        """A Lambda function runs in the body."""
        self.deadlines.append(self.now() + TIMEOUTS[function])
        try:
            yield
        finally:
            self.deadlines.pop()

    def start(self, **wanted: Any) -> Execution:
        """A new execution, `wanted` as in the state machine's input (trigger, month, companies, preview)."""
        execution = Execution(self, f"arn:aws:states:lab:execution:run:{next(self._numbers)}", wanted)
        self.executions.append(execution)
        return execution

    def deliver(self, message: Message) -> None:
        """Lambda takes one message out of the queue, as functions/bill_batch does."""
        if not self.fifo.receive(message, self.now()):
            return
        try:
            with self.process("bill_batch"):
                answer = bill_batch(message.body["batch"], self.bill_deps(), deadline=self.deadlines[-1])
                self.port("tasks", self.tasks).success(message.body["token"], answer)
        except Killed:
            self.warm, self.warm_answers = {}, {}
            return
        except Exception:  # noqa: BLE001 - the message comes again after its visibility time-out
            return
        self.fifo.delete(message)

    def actions(self) -> list[Callable[[], None]]:
        """Everything that could happen at this instant."""
        now = self.now()
        found: list[Callable[[], None]] = []
        for execution in self.executions:
            found += execution.actions(now)
        for message in self.fifo.ready(now):
            found.append(partial(self.deliver, message))
        return found

    def wait(self) -> bool:
        """Nothing can happen now: move the clock to when something can. False: nothing ever will."""
        times = [wake for execution in self.executions if (wake := execution.next_wake()) is not None]
        times += [message.visible_at for message in self.fifo.messages]
        now = self.now()
        later = [at for at in times if at > now]
        if later:
            self.clock.advance(min(later) - now + 0.001)
        return bool(later)

    def drain(self, within: float = inf) -> None:
        """Let everything happen, first things first, until nothing can any more or so many seconds are over."""
        until = self.now() + within
        while ((ready := self.actions()) or self.wait()) and self.now() <= until:
            if ready:
                ready[0]()

    def sync_receivables(self, company: str | None = None) -> list[Json]:
        """As the daily schedule does: asks, and takes the queue's messages until none is left; their answers.

        A message whose taker was killed is taken again.
        """
        self.omie.advance(self.now())
        try:
            with self.process("sync_receivables"):
                ask({"company": company}, self.receivables_deps())
        except Killed:  # tomorrow's schedule asks again
            pass
        queue, answers = self.queues.sent.get(RECEIVABLES, []), []
        while queue:
            try:
                with self.process("sync_receivables"):
                    left = self.deadlines[-1] - self.now()
                    answers.append(take(queue[0][1], self.receivables_deps(), seconds_left=left))
            except Killed:
                self.clock.advance(6 * TIMEOUTS["sync_receivables"])
                continue
            queue.pop(0)
        return answers

    def run(self, **wanted: Any) -> Json:
        """One execution from its start to its end; what close_run answered.

        Raises:
            RuntimeError: it ended before CloseRun.
        """
        execution = self.start(**wanted)
        self.drain()
        if execution.answer is None:
            raise RuntimeError(execution.failure or f"nothing to do: {execution.opened}")
        return execution.answer
