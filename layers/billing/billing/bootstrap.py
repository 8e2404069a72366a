"""The only place that builds clients and reads the environment. One function per Lambda, called at each invocation.

Clients, connections and rate gates are kept between invocations; settings and secrets are read anew, so that a change
holds from the next step on. Every variable a function reads is a field of its `Env`: a missing one is named.
Each function imports what it needs and no more (tests/template/test_cold_start.py): httpx, pydantic and jinja2 are
most of a cold start, and half the functions call nobody.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from billing.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    import boto3
    import httpx

    from billing.answers import Answers
    from billing.bill_batch import BillDeps, Look
    from billing.close_run import CloseDeps
    from billing.deliver_invoice import InvoiceDeps
    from billing.domain.reajuste import IndexTable
    from billing.jestor.client import JestorClient
    from billing.living import LivingDeps
    from billing.notify import Notifier
    from billing.omie.client import OmieClient
    from billing.omie.governor import ReadGate
    from billing.open_run import OpenRunDeps
    from billing.plan_company import PlanDeps
    from billing.receive_webhook import ReceiveDeps
    from billing.redrive import RedriveDeps
    from billing.request_approval import ApprovalDeps
    from billing.settings import Settings
    from billing.settle_company import SettleDeps
    from billing.store.contracts import ContractStore
    from billing.store.documents import DocumentStore
    from billing.store.fast_aws import FastAws
    from billing.store.lanes import LaneStore
    from billing.store.ledger import Ledger
    from billing.store.objects import ObjectStore
    from billing.store.queues import Queues
    from billing.store.runs import RunStore
    from billing.store.secrets import SecretStore
    from billing.store.task import TaskCallbacks
    from billing.store.webhooks import WebhookSecrets
    from billing.sweep_contracts import SweepDeps
    from billing.sweep_invoices import InvoiceSweepDeps
    from billing.sync_receivables import ReceivablesDeps
    from billing.update_jestor import UpdateDeps

OMIE_READS_PER_MINUTE = 235
"""Of one method and process; Omie's ceiling is 240 (help 8112984)."""
INVOICE_READS_PER_MINUTE = 60
"""Likewise, where two processes look at invoices at a time, beside whoever else reads."""
CONNECT_TIMEOUT = 5.0
OMIE_TIMEOUT = 45.0
"""Seconds for one answer. Below what bill_batch keeps back before its own end (STOP_BEFORE_TIMEOUT)."""
LANE_WAIT = 5.0
"""Seconds that a read waits at most in a function that lives for two minutes; whoever must wait longer comes again."""
JESTOR_TIMEOUT = 60.0


class MissingVariable(RuntimeError):  # noqa: N818
    """An environment variable the template must set is not there."""


@dataclass(frozen=True)
class Env:
    """Read from the environment by field name, in capitals."""

    @classmethod
    def read(cls) -> Self:
        values = {field.name: os.environ.get(field.name.upper(), "") for field in fields(cls)}
        missing = [name.upper() for name, value in values.items() if not value]
        if missing:
            raise MissingVariable(f"environment: {', '.join(missing)} not set; template.yaml sets it on the function")
        return cls(**values)


@dataclass(frozen=True)
class BaseEnv(Env):
    data_bucket: str
    settings_key: str
    runs_table: str


@dataclass(frozen=True)
class NotifyingEnv(BaseEnv):
    notification_topic: str


@dataclass(frozen=True)
class LedgerEnv(BaseEnv):
    ledger_table: str
    holds_table: str


@dataclass(frozen=True)
class CloseEnv(LedgerEnv):
    notification_topic: str


@dataclass(frozen=True)
class OmieEnv(LedgerEnv):
    lanes_table: str
    omie_base_url: str
    secrets_prefix: str


@dataclass(frozen=True)
class PlanEnv(OmieEnv):
    jestor_base_url: str


@dataclass(frozen=True)
class PlanningEnv(PlanEnv):
    contracts_table: str


@dataclass(frozen=True)
class ReceivablesEnv(PlanEnv):
    receivables_queue_url: str


@dataclass(frozen=True)
class SettleEnv(OmieEnv):
    parked_queue_url: str


@dataclass(frozen=True)
class BatchEnv(SettleEnv):
    jestor_base_url: str
    contracts_table: str
    contract_changes_queue_url: str
    jestor_writes_queue_url: str


@dataclass(frozen=True)
class LivingEnv(LedgerEnv):
    jestor_base_url: str
    secrets_prefix: str
    contracts_table: str
    contract_changes_queue_url: str
    contract_churns_queue_url: str
    omie_writes_queue_url: str


@dataclass(frozen=True)
class SweepEnv(PlanEnv):
    contracts_table: str
    contract_churns_queue_url: str
    omie_writes_queue_url: str
    notification_topic: str


@dataclass(frozen=True)
class InvoiceEnv(PlanEnv):
    documents_table: str
    omie_writes_queue_url: str
    invoice_events_queue_url: str
    parked_queue_url: str


@dataclass(frozen=True)
class InvoiceSweepEnv(PlanEnv):
    documents_table: str
    notification_topic: str
    invoice_events_queue_url: str


@dataclass(frozen=True)
class UpdateEnv(BaseEnv):
    jestor_base_url: str
    secrets_prefix: str
    parked_queue_url: str


@dataclass(frozen=True)
class ReceiveEnv(BaseEnv):
    webhooks_table: str
    holds_table: str
    contract_changes_queue_url: str
    contract_churns_queue_url: str
    invoice_events_queue_url: str
    secrets_prefix: str
    allow_static_webhook_secret: str


@lru_cache(maxsize=1)
def _session() -> boto3.Session:
    import boto3

    return boto3.Session()


@lru_cache
def _client(service: Any) -> Any:
    from botocore.config import Config

    return _session().client(service, config=Config(retries={"mode": "standard", "max_attempts": 4}))


def _settings(env: BaseEnv) -> Settings:
    from botocore.exceptions import ClientError

    from billing.settings import SettingsError, load_settings

    where = f"s3://{env.data_bucket}/{env.settings_key}"
    try:
        answer = _client("s3").get_object(Bucket=env.data_bucket, Key=env.settings_key)
    except ClientError as error:
        raise SettingsError(
            [f"{where}: {error.response['Error']['Code']}; put it there: billing-ops settings push FILE"]
        ) from None
    try:
        return load_settings(answer["Body"].read())
    except SettingsError as error:
        raise SettingsError(f"{where}: {problem}" for problem in error.problems) from None


def _omie(
    env: OmieEnv,
    settings: Settings,
    on_error: Callable[[str], Callable[[str, Any], None]] | None = None,
    *,
    repeats: bool = True,
    read_attempts: int | None = None,
    longest_wait: float | None = None,
    per_minute: int = OMIE_READS_PER_MINUTE,
    reads_only: bool = False,
) -> Callable[[str], OmieClient]:
    """Company -> its client. The connections and the gate outlive the invocation, the key is read anew.

    `repeats`: whether its lists could be asked for twice within a minute, here or in another function.
    `read_attempts`: None for the client's own.
    `longest_wait`: seconds a read may wait for its turn or its repetition; None for as long as Omie asks.
    `per_minute`: reads of one method, of this process.
    `reads_only`: a reader, which has the readers' budget of errors; see `_reader`.
    """
    from billing.omie.client import READ_ATTEMPTS, OmieClient

    secrets = _secrets(env)

    def client(company: str) -> OmieClient:
        return OmieClient(
            secrets.omie(company),
            base_url=env.omie_base_url,
            http=_http(OMIE_TIMEOUT),
            clock=SystemClock(),
            gate=_gate(
                company,
                env.lanes_table,
                settings.companies[company].same_question_seconds if repeats else None,
                per_minute,
                longest_wait,
                reads_only=reads_only,
            ),
            on_error=on_error(company) if on_error else None,
            read_attempts=read_attempts or READ_ATTEMPTS,
            longest_wait=longest_wait,
        )

    return client


def _reader(
    env: OmieEnv,
    settings: Settings,
    lanes: LaneStore,
    *,
    repeats: bool = True,
    read_attempts: int | None = None,
    longest_wait: float | None = None,
    per_minute: int = OMIE_READS_PER_MINUTE,
) -> Callable[[str], OmieClient]:
    """As `_omie`, for those who read beside the lane: webhooks, sweeps, what a person asks for.

    Their errors go to the readers' budget (billing.omie.governor), and Omie's own block to the lane.
    """
    return _omie(
        env,
        settings,
        _counting_readers(lanes, SystemClock()),
        repeats=repeats,
        read_attempts=read_attempts,
        longest_wait=longest_wait,
        per_minute=per_minute,
        reads_only=True,
    )


def _jestor(env: PlanEnv | BatchEnv | LivingEnv | UpdateEnv, attempts: int | None = None) -> Callable[[], JestorClient]:
    """`attempts`: None for the client's own."""
    from billing.jestor.client import ATTEMPTS, JestorClient

    secrets = _secrets(env)
    return lambda: JestorClient(
        env.jestor_base_url,
        secrets.jestor(),
        http=_http(JESTOR_TIMEOUT),
        clock=SystemClock(),
        attempts=attempts or ATTEMPTS,
    )


@lru_cache
def _http(timeout: float) -> httpx.Client:
    import httpx

    # Idle connections are dropped early: one that the server has closed meanwhile would put a write in doubt.
    limits = httpx.Limits(keepalive_expiry=4.0)
    return httpx.Client(timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT), limits=limits)


@lru_cache
def _gate(
    company: str,
    lanes_table: str,
    same_question: float | None,
    per_minute: int,
    longest_wait: float | None,
    *,
    reads_only: bool,
) -> ReadGate:
    """`same_question`: None for who asks nothing that somebody else might ask, and heeds the lane by itself."""
    from billing.omie.client import reader_permit, shared_turns
    from billing.omie.governor import ReadGate
    from billing.store.lanes import LaneStore

    clock = SystemClock()
    if same_question is None and not reads_only:
        return ReadGate(clock, per_minute, longest_wait=longest_wait)
    lanes = LaneStore(_client("dynamodb"), lanes_table)
    ask = None
    if same_question is not None:
        seconds = same_question
        ask = shared_turns(lambda question: lanes.ask(company, question, clock.now().timestamp(), seconds), clock)
    permit = reader_permit(lambda: lanes.readers(company), clock) if reads_only else None
    return ReadGate(clock, per_minute, ask, longest_wait=longest_wait, permit=permit)


def _secrets(env: OmieEnv | LivingEnv | UpdateEnv) -> SecretStore:
    from billing.store.secrets import SecretStore

    return SecretStore(_client("secretsmanager"), env.secrets_prefix)


def _ledger(env: LedgerEnv) -> Ledger:
    from billing.store.ledger import Ledger

    return Ledger(_client("dynamodb"), env.ledger_table, env.holds_table)


def _runs(env: BaseEnv) -> RunStore:
    from billing.store.runs import RunStore

    return RunStore(_client("dynamodb"), env.runs_table)


def _objects(env: BaseEnv) -> ObjectStore:
    from billing.store.objects import ObjectStore

    return ObjectStore(_client("s3"), env.data_bucket)


def _indices(env: BaseEnv) -> IndexTable:
    """What was imported. A table that cannot be read bills nobody wrongly: the proposals then name what they lack."""
    from billing.store.indices import BadTable, read_indices

    try:
        return read_indices(_objects(env))
    except BadTable:
        return {}


def _queues(env: SettleEnv | InvoiceEnv | UpdateEnv) -> Queues:
    from billing.store.queues import Queues

    return Queues(_client("sqs"), env.parked_queue_url)


def _contracts(env: BatchEnv | LivingEnv | PlanningEnv | SweepEnv) -> ContractStore:
    from billing.store.contracts import ContractStore

    return ContractStore(_client("dynamodb"), env.contracts_table)


def _plain_queues() -> Queues:
    """For those who park nothing."""
    from billing.store.queues import Queues

    return Queues(_client("sqs"))


def _lanes(env: OmieEnv) -> LaneStore:
    from billing.store.lanes import LaneStore

    return LaneStore(_client("dynamodb"), env.lanes_table)


def _counting(lanes: LaneStore, clock: SystemClock) -> Callable[[str], Callable[[str, Any], None]]:
    """Every error response of Omie's goes to the lane's error budget."""

    def of_company(company: str) -> Callable[[str, Any], None]:
        def count(method: str, error: Any) -> None:
            if error.counts_toward_block:
                lanes.note_error(company, method, clock.now().timestamp())

        return count

    return of_company


def _counting_readers(lanes: LaneStore, clock: SystemClock) -> Callable[[str], Callable[[str, Any], None]]:
    """A reader's error responses go to the readers' budget. A block of Omie's is everybody's: it stops the lane."""
    from billing.omie.replies import BLOCK_SECONDS, Blocked

    def of_company(company: str) -> Callable[[str, Any], None]:
        def count(method: str, error: Any) -> None:
            now = clock.now().timestamp()
            if error.counts_toward_block:
                lanes.note_reader_error(company, method, now)
            elif isinstance(error, Blocked):
                lanes.block(company, now + (error.retry_after or BLOCK_SECONDS), error.text)

        return count

    return of_company


def task_callbacks() -> TaskCallbacks:
    from billing.store.task import TaskCallbacks

    return TaskCallbacks(_client("stepfunctions"))


def _notifier(env: NotifyingEnv | CloseEnv | SweepEnv | InvoiceSweepEnv) -> Notifier:
    from billing.notify import Notifier

    return Notifier(_client("sns"), env.notification_topic)


def _is_running(execution: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        answer = _client("stepfunctions").describe_execution(executionArn=execution)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return False
        raise
    return bool(answer["status"] == "RUNNING")


def open_run() -> OpenRunDeps:
    from billing.holidays_br import is_bank_holiday
    from billing.open_run import OpenRunDeps

    env = BaseEnv.read()
    return OpenRunDeps(
        settings=_settings(env),
        runs=_runs(env),
        clock=SystemClock(),
        is_holiday=is_bank_holiday,
        is_running=_is_running,
    )


def plan_company() -> PlanDeps:
    from billing.jestor.receivables import waivers
    from billing.plan_company import PlanDeps

    env = PlanningEnv.read()
    settings, clock = _settings(env), SystemClock()
    return PlanDeps(
        settings=settings,
        jestor=_jestor(env),
        omie=_omie(env, settings, _counting(_lanes(env), clock)),
        ledger=_ledger(env),
        runs=_runs(env),
        objects=_objects(env),
        clock=clock,
        contracts=_contracts(env),
        indices=lambda: _indices(env),
        waivers=lambda company: waivers(_jestor(env)(), settings, company),
    )


def request_approval() -> ApprovalDeps:
    from billing.request_approval import ApprovalDeps

    env = CloseEnv.read()

    def page(plan: dict[str, Any]) -> dict[str, str]:
        from billing.close_run import write_waiting_plan

        return write_waiting_plan(plan, close_run())

    return ApprovalDeps(runs=_runs(env), notifier=_notifier(env), clock=SystemClock(), page=page)


@lru_cache(maxsize=1)
def _looks() -> dict[str, Look]:
    """One for the life of the process."""
    return {}


@lru_cache(maxsize=1)
def _answers() -> dict[str, Answers]:
    """Likewise."""
    return {}


def bill_batch() -> BillDeps:
    from billing.bill_batch import BillDeps, read_ahead

    env = BatchEnv.read()
    lanes, clock = _lanes(env), SystemClock()
    settings = _settings(env)
    return BillDeps(
        settings=settings,
        ledger=_ledger(env),
        lanes=lanes,
        runs=_runs(env),
        objects=_objects(env),
        queues=_queues(env),
        tasks=task_callbacks(),
        omie=_omie(env, settings, _counting(lanes, clock), repeats=False, read_attempts=1, longest_wait=LANE_WAIT),
        clock=clock,
        read_ahead=read_ahead(),
        looks=_looks(),
        answers=_answers(),
    )


def take_order(body: str) -> dict[str, Any]:
    """An order that stands in the lane between the batches: read once, and never waited for."""
    from billing import agree

    env = BatchEnv.read()
    lanes, clock = _lanes(env), SystemClock()
    settings = _settings(env)
    deps = agree.AgreeDeps(
        settings=settings,
        ledger=_ledger(env),
        lanes=lanes,
        runs=_runs(env),
        contracts=_contracts(env),
        queues=_plain_queues(),
        omie=_omie(env, settings, _counting(lanes, clock), repeats=False, read_attempts=1, longest_wait=LANE_WAIT),
        jestor=_jestor(env, attempts=1),
        clock=clock,
        urls=agree.Urls(changes=env.contract_changes_queue_url, jestor_writes=env.jestor_writes_queue_url),
        labels=_labels(),
        resting=_resting(),
    )
    return agree.take(body, deps)


@lru_cache(maxsize=1)
def _labels() -> dict[str, tuple[float, Any]]:
    """One for the life of the process."""
    return {}


@lru_cache(maxsize=1)
def _resting() -> dict[str, float]:
    """Likewise."""
    return {}


def _living(env: LivingEnv) -> LivingDeps:
    from billing.living import LivingDeps, LivingUrls

    return LivingDeps(
        settings=_settings(env),
        ledger=_ledger(env),
        contracts=_contracts(env),
        queues=_plain_queues(),
        jestor=_jestor(env),
        clock=SystemClock(),
        urls=LivingUrls(
            changes=env.contract_changes_queue_url,
            churns=env.contract_churns_queue_url,
            omie_writes=env.omie_writes_queue_url,
        ),
        labels=_labels(),
    )


def change_contract() -> LivingDeps:
    env = LivingEnv.read()
    return _living(env)


def churn_contract() -> LivingDeps:
    env = LivingEnv.read()
    return _living(env)


def sweep_contracts() -> SweepDeps:
    from billing.sweep_contracts import SweepDeps, SweepUrls

    env = SweepEnv.read()
    clock, settings = SystemClock(), _settings(env)
    return SweepDeps(
        settings=settings,
        jestor=_jestor(env),
        omie=_reader(env, settings, _lanes(env)),
        ledger=_ledger(env),
        runs=_runs(env),
        contracts=_contracts(env),
        objects=_objects(env),
        queues=_plain_queues(),
        notifier=_notifier(env),
        clock=clock,
        urls=SweepUrls(churns=env.contract_churns_queue_url, omie_writes=env.omie_writes_queue_url),
    )


def settle_company() -> SettleDeps:
    from billing.settle_company import SettleDeps

    env = SettleEnv.read()
    settings, clock = _settings(env), SystemClock()
    return SettleDeps(
        settings=settings,
        ledger=_ledger(env),
        runs=_runs(env),
        objects=_objects(env),
        queues=_queues(env),
        omie=_omie(env, settings, _counting(_lanes(env), clock)),
        clock=clock,
    )


def sync_receivables() -> ReceivablesDeps:
    from billing.holidays_br import is_bank_holiday
    from billing.late_charges import quote_of
    from billing.sync_receivables import ReceivablesDeps

    env = ReceivablesEnv.read()
    settings, clock = _settings(env), SystemClock()
    return ReceivablesDeps(
        settings=settings,
        jestor=_jestor(env),
        omie=_reader(env, settings, _lanes(env)),
        ledger=_ledger(env),
        queues=_plain_queues(),
        queue_url=env.receivables_queue_url,
        clock=clock,
        is_holiday=is_bank_holiday,
        quote=lambda company: quote_of(settings.companies[company].late_fee, is_bank_holiday),
    )


def close_run() -> CloseDeps:
    from billing.close_run import CloseDeps

    env = CloseEnv.read()
    return CloseDeps(
        settings=_settings(env),
        ledger=_ledger(env),
        runs=_runs(env),
        objects=_objects(env),
        notifier=_notifier(env),
        clock=SystemClock(),
    )


def redrive() -> RedriveDeps:
    from billing.redrive import RedriveDeps
    from billing.store.queues import DeadLetters

    env = SettleEnv.read()
    lanes, clock = _lanes(env), SystemClock()
    settings = _settings(env)
    return RedriveDeps(
        settings=settings,
        ledger=_ledger(env),
        lanes=lanes,
        runs=_runs(env),
        objects=_objects(env),
        letters=DeadLetters(_client("sqs"), env.parked_queue_url),
        queues=_queues(env),
        tasks=task_callbacks(),
        omie=_reader(env, settings, lanes),
        clock=clock,
    )


@lru_cache(maxsize=1)
def _fast_aws() -> FastAws:
    from billing.store.fast_aws import FastAws

    return FastAws(os.environ)


@lru_cache
def _webhook_secrets(prefix: str) -> WebhookSecrets:
    from billing.store.webhooks import WebhookSecrets

    return WebhookSecrets(_fast_aws(), prefix)


def receive_webhook() -> ReceiveDeps:
    from billing.plain_log import teller
    from billing.receive_webhook import ReceiveDeps
    from billing.store.webhooks import WebhookHolds, WebhookQueues, WebhookStore

    env = ReceiveEnv.read()
    aws = _fast_aws()
    return ReceiveDeps(
        senders=_webhook_secrets(env.secrets_prefix),
        webhooks=WebhookStore(aws, env.webhooks_table),
        holds=WebhookHolds(aws, env.holds_table),
        queues=WebhookQueues(aws),
        urls={
            "changes": env.contract_changes_queue_url,
            "churns": env.contract_churns_queue_url,
            "invoices": env.invoice_events_queue_url,
        },
        clock=SystemClock(),
        tell=teller(os.environ.get("POWERTOOLS_LOG_LEVEL", "INFO")),
        allow_static=env.allow_static_webhook_secret == "true",  # noqa: S105 - a setting, no secret
    )


def _documents(env: InvoiceEnv | InvoiceSweepEnv) -> DocumentStore:
    from billing.store.documents import DocumentStore

    return DocumentStore(_client("dynamodb"), env.documents_table)


def deliver_invoice() -> InvoiceDeps:
    """Its reads need no turn among others': the queue's delay keeps two looks at an order more than a minute apart."""
    from billing.deliver_invoice import InvoiceDeps

    env = InvoiceEnv.read()
    lanes, clock = _lanes(env), SystemClock()
    settings = _settings(env)
    return InvoiceDeps(
        settings=settings,
        ledger=_ledger(env),
        documents=_documents(env),
        lanes=lanes,
        objects=_objects(env),
        queues=_queues(env),
        omie=_reader(
            env,
            settings,
            lanes,
            repeats=False,
            read_attempts=2,
            longest_wait=LANE_WAIT,
            per_minute=INVOICE_READS_PER_MINUTE,
        ),
        jestor=_jestor(env, attempts=3),
        clock=clock,
        omie_writes_url=env.omie_writes_queue_url,
        invoice_events_url=env.invoice_events_queue_url,
    )


def sweep_invoices() -> InvoiceSweepDeps:
    from billing.sweep_invoices import InvoiceSweepDeps

    env = InvoiceSweepEnv.read()
    lanes, clock = _lanes(env), SystemClock()
    settings = _settings(env)
    return InvoiceSweepDeps(
        settings=settings,
        ledger=_ledger(env),
        documents=_documents(env),
        objects=_objects(env),
        queues=_plain_queues(),
        omie=_reader(env, settings, lanes),
        jestor=_jestor(env),
        clock=clock,
        notifier=_notifier(env),
        invoice_events_url=env.invoice_events_queue_url,
    )


def update_jestor() -> UpdateDeps:
    from billing.update_jestor import UpdateDeps

    env = UpdateEnv.read()
    return UpdateDeps(
        settings=_settings(env), jestor=_jestor(env, attempts=3), queues=_queues(env), clock=SystemClock()
    )
