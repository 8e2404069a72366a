"""What the use cases ask of a store. DynamoDB, S3 and SQS answer in this package; memory in the simulation.

The type checker holds both to these signatures, the contract tests to the same behaviour.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from billing.domain.charge import Charge, ChargeKey, Event, State
from billing.domain.composition import Composition
from billing.omie.governor import BlockedUntil, LaneState, ReaderState, Slots
from billing.store.contracts import Remembered
from billing.store.documents import Document
from billing.store.ledger import Claim, Facts, Hold
from billing.store.queues import Letter
from billing.store.runs import Approval, Opening, Run, Trigger

if TYPE_CHECKING:
    from billing.omie.client import Credentials
    from billing.store import contracts, documents, lanes, ledger, objects, queues, runs, secrets, task


class Charges(Protocol):
    """`ledger.Ledger`"""

    def claim(
        self,
        key: ChargeKey,
        *,
        attempt: str,
        now: datetime,
        company: str,
        amount: int,
        plan_hash: str,
        run: str,
        nCodCtr: int | None,
        who: str,
        additions: Sequence[Mapping[str, Any]] = (),
        composition: Composition | None = None,
    ) -> Claim: ...
    def apply(
        self,
        key: ChargeKey,
        event: Event,
        *,
        now: datetime,
        who: str,
        why: str,
        attempt: str | None = None,
        company: str = "",
        amount: int = 0,
        plan_hash: str = "",
        run: str = "",
        **facts: Unpack[Facts],
    ) -> Charge: ...
    def note_told(self, charge: Charge) -> None: ...
    def get(self, key: ChargeKey) -> Charge | None: ...
    def iter_many(self, keys: Iterable[ChargeKey]) -> Iterator[Charge]: ...
    def get_many(self, keys: Iterable[ChargeKey]) -> dict[ChargeKey, Charge]: ...
    def by_month(self, company: str, month: object, states: Collection[State] | None = None) -> Iterator[Charge]: ...
    def by_order(self, company: str, nCodOS: int) -> Charge | None: ...
    def put_hold(self, contract: str, reason: str, now: datetime) -> None: ...
    def lift_hold(self, contract: str, *, put_at: datetime | None = None) -> bool: ...
    def hold(self, contract: str) -> str | None: ...
    def find_hold(self, contract: str) -> Hold | None: ...
    def held_many(self, contracts: Iterable[str]) -> set[str]: ...


class Lanes(Protocol):
    """`lanes.LaneStore`"""

    def get(self, company: str) -> LaneState: ...
    def reserve(self, company: str, n: int, now: float, interval: float) -> Slots | BlockedUntil: ...
    def block(self, company: str, until: float, reason: str) -> LaneState: ...
    def note_error(self, company: str, method: str, now: float) -> LaneState: ...
    def ask(self, company: str, question: str, now: float, window: float) -> float | BlockedUntil: ...
    def readers(self, company: str) -> ReaderState: ...
    def note_reader_error(self, company: str, method: str, now: float) -> ReaderState: ...
    def note_unknown(self, company: str, now: float) -> ReaderState: ...


class Runs(Protocol):
    """`runs.RunStore`"""

    def open(
        self,
        month: object,
        kind: str,
        *,
        trigger: Trigger,
        execution: str,
        now: datetime,
        replaces: str | None = None,
    ) -> Opening: ...
    def close(self, run: str, *, execution: str, summary: Mapping[str, Any], now: datetime) -> None: ...
    def add_progress(self, run: str, company: str, **counts: int) -> None: ...
    def set_progress(self, run: str, company: str, **counts: int) -> None: ...
    def get(self, run: str) -> Run | None: ...
    def list_recent(self, limit: int = 12) -> list[Run]: ...
    def put_plan(self, run: str, company: str, *, plan_hash: str, plan_key: str, planned: int) -> None: ...
    def plan_hash(self, run: str, company: str) -> str | None: ...
    def put_approval(
        self, run: str, company: str, *, token: str, plan_hash: str, reasons: tuple[str, ...], now: datetime
    ) -> None: ...
    def get_approval(self, run: str, company: str) -> Approval | None: ...
    def decide_approval(
        self, run: str, company: str, *, token: str, approved: bool, who: str, now: datetime
    ) -> bool: ...


class Lines(Protocol):
    """`objects.PlanWriter`"""

    @property
    def lines(self) -> int: ...
    def write(self, line: str) -> None: ...


class Objects(Protocol):
    """`objects.ObjectStore`"""

    bucket: str

    def plan_writer(self, key: str) -> AbstractContextManager[Lines]: ...
    def read_lines(self, key: str) -> Iterator[str]: ...
    def put_json(self, key: str, value: Mapping[str, Any] | list[Any]) -> None: ...
    def get_json(self, key: str) -> Any: ...
    def put_text(self, key: str, text: str, content_type: str = "text/plain; charset=utf-8") -> None: ...
    def get_text(self, key: str) -> str: ...
    def get_part(self, key: str, start: int, length: int) -> bytes: ...


class Secrets(Protocol):
    """`secrets.SecretStore`"""

    def omie(self, company: str) -> "Credentials": ...
    def jestor(self) -> str: ...


class Documents(Protocol):
    """`documents.DocumentStore`"""

    def take(self, document: str, *, holder: str, now: datetime, until: datetime) -> Document | None: ...
    def put(self, document: Document, *, holder: str) -> None: ...
    def get_many(self, documents: Iterable[str]) -> dict[str, Document]: ...


class Messages(Protocol):
    """`queues.Queues`"""

    def park(self, message: Mapping[str, Any], group: str, dedup: str) -> None: ...
    def send(self, url: str, message: Mapping[str, Any], group: str, dedup: str) -> None: ...
    def hide(self, url: str, receipt: str, seconds: float) -> None: ...


class Contracts(Protocol):
    """`contracts.ContractStore`"""

    def get(self, contract: str) -> Remembered: ...
    def get_many(self, contracts: Iterable[str]) -> dict[str, Remembered]: ...
    def put(self, remembered: Remembered) -> Remembered | None: ...


class Letters(Protocol):
    """`queues.DeadLetters`"""

    def receive(self, hidden_seconds: int) -> list[Letter]: ...
    def delete(self, letter: Letter) -> None: ...
    def put_back(self, letters: Sequence[Letter]) -> None: ...
    def count(self) -> int: ...


class Tasks(Protocol):
    """`task.TaskCallbacks`"""

    def success(self, token: str, output: Mapping[str, Any]) -> bool: ...
    def failure(self, token: str, error: str, cause: str) -> bool: ...
    def heartbeat(self, token: str) -> bool: ...


if TYPE_CHECKING:
    _same_interface: tuple[
        type[Charges],
        type[Lanes],
        type[Runs],
        type[Objects],
        type[Secrets],
        type[Documents],
        type[Messages],
        type[Contracts],
        type[Letters],
        type[Tasks],
    ] = (
        ledger.Ledger,
        lanes.LaneStore,
        runs.RunStore,
        objects.ObjectStore,
        secrets.SecretStore,
        documents.DocumentStore,
        queues.Queues,
        contracts.ContractStore,
        queues.DeadLetters,
        task.TaskCallbacks,
    )
