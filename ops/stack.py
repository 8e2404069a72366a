"""The deployed stack as the command line sees it: where everything is, and what a person does with it.

`find_stack` asks CloudFormation once; the `Stack` it makes holds names and clients and looks nothing up
again. All AWS calls of the command line are in this file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from billing.domain.charge import MONTHLY, Charge, ChargeKey, State
from billing.domain.plan import PlanLine
from billing.domain.text import UnreadableText, decoded, writable
from billing.omie import governor
from billing.settings import Settings, SettingsError, load_settings
from billing.store import dynamo
from billing.store.contracts import ContractStore, Remembered
from billing.store.documents import Document, DocumentStore
from billing.store.indices import KEY as INDICES_KEY
from billing.store.indices import read_indices, to_json
from billing.store.lanes import LaneStore
from billing.store.ledger import BY_COMPANY_MONTH, Ledger, company_month
from billing.store.objects import ObjectMissing, ObjectStore
from billing.store.runs import RunStore
from billing.store.secrets import jestor_name, omie_name
from billing.store.task import TaskCallbacks
from ops.errors import InputError, OperatorError
from ops.follow import CompanyProgress, Snapshot, hour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

    from billing.domain.month import BillingMonth
    from billing.domain.reajuste import IndexTable
    from billing.omie.governor import BlockedUntil, ReaderState

DEFAULT_NAME: Final = "billing-ops"
LOCAL_FILE: Final = Path(__file__).resolve().parent.parent / ".local" / "stack.json"
"""Written when a local stack comes up: {"env": {"AWS_ENDPOINT_URL": ...}, "stack": "billing-ops"}."""

_AWS_CHOSEN: Final = (
    "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
"""Whoever set one of these has said which AWS is meant."""

_CLIENT: Final = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})
_INVOKE: Final = Config(
    connect_timeout=5, read_timeout=910, tcp_keepalive=True, retries={"mode": "standard", "total_max_attempts": 1}
)
"""For a function that may work 900 seconds; asked once, because a second call would work beside the first."""
_RUN_REPORT: Final = re.compile(r"[0-9]+-")
_REPORT: Final = re.compile(r"(?:[0-9]+|previa|espera)-")
"""How a report's file is named; other files of the month lie beside them."""
_OUTPUTS: Final = (
    "StateMachineArn", "DataBucketName", "LedgerTableName", "RunsTableName", "LanesTableName",
    "OmieWritesDlqUrl", "SettingsKey", "SecretsPrefix",
)  # fmt: skip


class Place(NamedTuple):
    """Which AWS, and the stack's name in it. `local`: the stack of this computer."""

    stack: str
    env: Mapping[str, str]
    local: bool


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of the state machine. `output` of one that failed is None."""

    arn: str
    status: str
    started: datetime
    input: dict[str, Any]
    output: dict[str, Any] | None = None
    error: str = ""
    cause: str = ""

    @property
    def name(self) -> str:
        return self.arn.rsplit(":", 1)[-1]

    @property
    def ended(self) -> bool:
        return self.status not in {"RUNNING", "PENDING_REDRIVE"}


@dataclass(frozen=True, slots=True)
class Approval:
    """A plan that waits for a person. The token answers Step Functions and is never shown."""

    company: str
    token: str = field(repr=False)
    reasons: tuple[str, ...] = ()
    asked_at: datetime | None = None
    decision: str | None = None
    decided_by: str | None = None


@dataclass(frozen=True, slots=True)
class CompanyRun:
    """What the runs table says of one company's month. `counts` are for the eye; the ledger decides."""

    run: str
    company: str
    status: str = ""
    generation: int = 0
    execution: str = ""
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    approval: Approval | None = None

    @property
    def waits(self) -> bool:
        """Whether a person's answer is awaited (a question of an earlier opening is not)."""
        if self.approval is None or self.approval.decision is not None or self.status != "open":
            return False
        asked, opened = self.approval.asked_at, self.opened_at
        return asked is None or opened is None or asked >= opened

    @property
    def unsent(self) -> int:
        """Of an open run: planned contracts of which nothing has become yet."""
        done = sum(self.counts.get(name, 0) for name in ("billed", "parked", "in_doubt"))
        return max(self.counts.get("planned", 0) - done, 0) if self.status == "open" else 0

    def describe(self, now: datetime) -> str:
        """As in "encerrada 01/12 06:40"; a run opened more than once says how often."""
        again = f" ({self.generation}ª vez)" if self.generation > 1 else ""
        if self.closed_at and self.status == "closed":
            return f"encerrada {hour(self.closed_at, now)}{again}"
        return f"aberta {hour(self.opened_at, now)}{again}" if self.opened_at else "não iniciada"


@dataclass(frozen=True, slots=True)
class Lane:
    blocked_until: datetime | None
    reason: str


class Clients(NamedTuple):
    stepfunctions: SFNClient
    dynamodb: DynamoDBClient
    s3: S3Client
    sqs: SQSClient
    secretsmanager: SecretsManagerClient
    sts: Any
    functions: Any = None
    """Lambda."""
    scheduler: Any = None
    sns: Any = None


def find_place(environ: Mapping[str, str], name: str | None, local_file: Path = LOCAL_FILE) -> Place:
    """This computer's stack when one is up and nobody said otherwise; else the AWS the environment means."""
    chosen = name or environ.get("BILLING_STACK")
    if any(environ.get(variable) for variable in _AWS_CHOSEN) or not local_file.is_file():
        region = environ.get("AWS_REGION")  # the other tools obey it, boto3 alone does not
        return Place(chosen or DEFAULT_NAME, {"AWS_REGION": region} if region else {}, local=False)
    try:
        local = json.loads(local_file.read_text())
        env = {str(key): str(value) for key, value in local["env"].items()}
        return Place(chosen or str(local["stack"]), env, local=True)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OperatorError(
            f"{local_file}: arquivo da pilha local ilegível. Suba-a de novo (make up) ou apague o arquivo."
        ) from None


def connect(place: Place) -> Stack:
    """The stack, found with boto3."""
    env = place.env
    session = boto3.Session(
        aws_access_key_id=env.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=env.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=env.get("AWS_SESSION_TOKEN"),
        region_name=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION"),
    )

    def client(service: Any) -> Any:
        config = _INVOKE if service == "lambda" else _CLIENT
        return session.client(service, endpoint_url=env.get("AWS_ENDPOINT_URL"), config=config)

    return find_stack(place.stack, client)


def find_stack(name: str, client: Callable[[str], Any]) -> Stack:
    """The stack's names from CloudFormation. `client` makes a boto3 client of a service."""
    cloudformation = client("cloudformation")
    try:
        found = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        found = []
    if not found:
        region = cloudformation.meta.region_name
        raise OperatorError(
            f"A pilha {name} não existe em {region}. Confira --stack (ou BILLING_STACK), a conta e a região."
        )
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found[0].get("Outputs", [])}
    missing = [key for key in _OUTPUTS if key not in outputs]
    if missing:
        raise OperatorError(
            f"A pilha {name} não tem a saída {missing[0]}: não é deste sistema ou a publicação não acabou. "
            f"Confira --stack ou publique de novo (make deploy)."
        )
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in found[0].get("Parameters", [])}
    services = ("stepfunctions", "dynamodb", "s3", "sqs", "secretsmanager", "sts", "lambda", "scheduler", "sns")
    return Stack(name, outputs, parameters, Clients(*map(client, services)))


def run_name(month: object, company: str) -> str:
    """The runs table's key of one company's month."""
    return f"{month}#{MONTHLY}#{company}"


@dataclass(frozen=True)
class Stack:
    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    clients: Clients

    # ---- runs

    def start(self, request: Mapping[str, Any], name: str) -> Execution:
        """Start the state machine. `name` is unique to this start."""
        try:
            answer = self.clients.stepfunctions.start_execution(
                stateMachineArn=self.outputs["StateMachineArn"],
                name=name,
                input=writable(json.dumps(request, ensure_ascii=False)),
            )
        except ClientError as error:
            if dynamo.error_code(error) != "ExecutionAlreadyExists":
                raise
            raise OperatorError(
                "Alguém iniciou uma execução neste mesmo segundo. Veja com: billing-ops follow"
            ) from None
        return Execution(answer["executionArn"], "RUNNING", answer["startDate"], dict(request))

    def execution(self, arn: str) -> Execution:
        found = self.clients.stepfunctions.describe_execution(executionArn=arn)
        return Execution(
            arn=arn,
            status=found["status"],
            started=found["startDate"],
            input=_json_object(found.get("input")),
            output=_json_object(found["output"]) if found.get("output") else None,
            error=found.get("error", ""),
            cause=found.get("cause", ""),
        )

    def latest_execution(self) -> Execution | None:
        """The execution started last, whatever became of it."""
        newest = self.clients.stepfunctions.list_executions(
            stateMachineArn=self.outputs["StateMachineArn"], maxResults=1
        )["executions"]
        return self.execution(newest[0]["executionArn"]) if newest else None

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution given by its name or ARN."""
        if name.startswith("arn:"):
            return name
        machine = self.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
        return f"{machine}:{name}"

    def closing(self, execution: Execution) -> dict[str, Any]:
        """What CloseRun answered, also of an execution that then ended unbalanced (which has no output)."""
        if execution.output is not None:
            return execution.output
        if execution.error != "Unbalanced":
            return {}
        try:
            events = self.clients.stepfunctions.get_execution_history(
                executionArn=execution.arn, reverseOrder=True, maxResults=20
            )["events"]
        except ClientError:
            return {}  # the reason is known without it: `cause`
        for event in events:
            entered = event.get("stateEnteredEventDetails", {})
            if entered.get("name") == "Unbalanced":
                return _json_object(entered.get("input"))
        return {}

    def opening(self, arn: str) -> dict[str, Any]:
        """What the execution's first step answered: `anything_to_do`, and the companies that were `refused`.

        Empty while it has not answered.
        """
        try:
            events = self.clients.stepfunctions.get_execution_history(
                executionArn=arn, reverseOrder=False, maxResults=20
            )["events"]
        except ClientError:
            return {}
        for event in events:
            left = event.get("stateExitedEventDetails", {})
            if left.get("name") == "OpenRun":
                return _json_object(left.get("output"))
        return {}

    def company_run(self, month: object, company: str) -> CompanyRun:
        """Everything the runs table holds of one company's month; empty when it was never opened."""
        answer = self.clients.dynamodb.query(
            TableName=self.outputs["RunsTableName"],
            ConsistentRead=True,
            KeyConditionExpression="#run = :run",
            ExpressionAttributeNames={"#run": "run"},
            ExpressionAttributeValues={":run": dynamo.encode(run_name(month, company))},
        )
        return _company_run(run_name(month, company), company, map(dynamo.decode_item, answer["Items"]))

    def snapshot(self, month: object, companies: Sequence[str], now: datetime, *, ended: bool) -> Snapshot:
        """Where the run is, company by company."""
        return Snapshot(
            at=now,
            month=str(month),
            ended=ended,
            companies=tuple(_progress(self.company_run(month, key), self.lane(key, now)) for key in companies),
        )

    def answer_approval(self, waiting: CompanyRun, *, approved: bool, who: str, reason: str, now: datetime) -> bool:
        """Answer the waiting state machine. False: nobody waits for this answer any more."""
        approval = waiting.approval
        if approval is None:
            return False
        tasks = TaskCallbacks(self.clients.stepfunctions)
        if approved:
            output = {"approved_by": who, "approved_at": now.isoformat(), "reason": reason}
            told = tasks.success(approval.token, output)
        else:
            told = tasks.failure(approval.token, "NotApproved", f"{reason} (por {who})")
        if told:  # Step Functions took this answer and takes no second one; now it goes on record
            runs = RunStore(self.clients.dynamodb, self.outputs["RunsTableName"])
            runs.decide_approval(
                waiting.run, waiting.company, token=approval.token, approved=approved, who=who, now=now
            )
        return told

    def count_states(self, month: BillingMonth, company: str) -> dict[State, int]:
        """How many of the company's charges are in which state of the ledger."""
        counts = dict.fromkeys(State, 0)
        pages = self.clients.dynamodb.get_paginator("query").paginate(
            TableName=self.outputs["LedgerTableName"],
            IndexName=BY_COMPANY_MONTH,
            KeyConditionExpression="company_month = :company_month",
            ProjectionExpression="#state, charge",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":company_month": dynamo.encode(company_month(company, month))},
        )
        for page in pages:
            for item in map(dynamo.decode_item, page["Items"]):
                if item["charge"].endswith(f"#{MONTHLY}"):
                    counts[State(item["state"])] += 1
        return counts

    def month_charges(self, company: str, month: BillingMonth) -> list[Charge]:
        """Everything the ledger holds of the company's month."""
        ledger = Ledger(self.clients.dynamodb, self.outputs["LedgerTableName"], self.outputs.get("HoldsTableName", ""))
        return list(ledger.by_month(company, month))

    def documents(self, keys: Iterable[str]) -> dict[str, Document]:
        """What was delivered of the invoices with these keys."""
        return DocumentStore(self.clients.dynamodb, self._output("DocumentsTableName")).get_many(keys)

    def send(self, queue: str, body: str, *, group: str, dedup: str) -> None:
        """One message into a FIFO queue, named as the stack's output."""
        self.clients.sqs.send_message(
            QueueUrl=self._output(queue), MessageBody=body, MessageGroupId=group, MessageDeduplicationId=dedup
        )

    def _output(self, name: str) -> str:
        if name not in self.outputs:
            raise OperatorError(f"A pilha {self.name} ainda não tem {name}. Publique-a de novo (make deploy).")
        return self.outputs[name]

    def ask_omie(self, company: str, question: str, now: datetime, window: float) -> float | BlockedUntil:
        """Seconds to wait before this read, so that nobody asks Omie the same twice within `window` seconds."""
        lanes = LaneStore(self.clients.dynamodb, self.outputs["LanesTableName"])
        return lanes.ask(company, question, now.timestamp(), window)

    def readers(self, company: str) -> ReaderState:
        """What the company's readers have met: their errors stop readers, and no lane."""
        return LaneStore(self.clients.dynamodb, self.outputs["LanesTableName"]).readers(company)

    def note_omie_error(self, company: str, method: str, now: datetime) -> None:
        """Count an error that a command met in Omie: in the readers' budget."""
        LaneStore(self.clients.dynamodb, self.outputs["LanesTableName"]).note_reader_error(
            company, method, now.timestamp()
        )

    def block_lane(self, company: str, until: datetime, reason: str) -> None:
        """Omie has blocked the key: nobody calls before that."""
        LaneStore(self.clients.dynamodb, self.outputs["LanesTableName"]).block(company, until.timestamp(), reason)

    def remembered(self, contract: str) -> Remembered:
        """What the lane remembers of a contract."""
        return ContractStore(self.clients.dynamodb, self._output("ContractsTableName")).get(contract)

    def schedule(self) -> tuple[str, str]:
        """The state (ENABLED, DISABLED) and the expression of the monthly schedule."""
        found = self.clients.scheduler.get_schedule(Name=self.outputs["ScheduleName"])
        return str(found["State"]), str(found["ScheduleExpression"])

    def told(self) -> tuple[int, int]:
        """How many subscriptions hear of runs and alarms, and how many nobody has confirmed yet."""
        pages = self.clients.sns.get_paginator("list_subscriptions_by_topic").paginate(
            TopicArn=self.outputs["NotificationTopicArn"]
        )
        arns = [str(each["SubscriptionArn"]) for page in pages for each in page["Subscriptions"]]
        confirmed = sum(arn.startswith("arn:") for arn in arns)  # else "PendingConfirmation"
        return confirmed, len(arns) - confirmed

    def webhook_routes(self, pages: int = 5) -> set[str]:
        """Whose webhooks are among those kept ("contract", "churn", "omie"); of a full table only a part is read."""
        found: set[str] = set()
        scan = self.clients.dynamodb.get_paginator("scan").paginate(
            TableName=self.outputs["WebhooksTableName"], ProjectionExpression="route"
        )
        for page in islice(scan, pages):
            found |= {str(dynamo.decode_item(item)["route"]) for item in page["Items"]}
        return found

    def lane(self, company: str, now: datetime) -> Lane:
        state = LaneStore(self.clients.dynamodb, self.outputs["LanesTableName"]).get(company)
        if not governor.blocked(state, now.timestamp()):
            return Lane(None, "")
        return Lane(datetime.fromtimestamp(state.blocked_until, UTC), state.blocked_reason)

    def parked_messages(self) -> int:
        """How many messages wait for a person in the dead-letter queue (SQS: approximate)."""
        return self._messages(self.outputs["OmieWritesDlqUrl"])

    def dead_letters(self) -> dict[str, int]:
        """How many messages are in each dead-letter queue, by its output's name without "Url"."""
        urls = {name: url for name, url in sorted(self.outputs.items()) if name.endswith("DlqUrl")}
        return {name.removesuffix("Url"): self._messages(url) for name, url in urls.items()}

    def _messages(self, url: str) -> int:
        answer = self.clients.sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        return sum(map(int, answer["Attributes"].values()))

    # ---- what waits for a person

    def repair(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the redrive function; its answer. Raises OperatorError with the line it refused with."""
        name = self.outputs.get("RedriveFunctionName")
        if name is None:
            raise OperatorError(
                f"A pilha {self.name} ainda não tem a função redrive. Publique-a de novo (make deploy)."
            )
        payload = writable(json.dumps(request, ensure_ascii=False)).encode()
        answer = self.clients.functions.invoke(FunctionName=name, Payload=payload)
        told = _json_object(answer["Payload"].read().decode())
        if "FunctionError" not in answer:
            return told
        kind, message = str(told.get("errorType", "")), str(told.get("errorMessage", ""))
        if kind == "BadRequest":
            raise InputError(message)
        if "timed out" in message:
            raise OperatorError("A função redrive passou do tempo. Repita: o que já foi feito não se repete.")
        raise OperatorError(
            f"A função redrive falhou ({kind or 'sem nome'}): {' '.join(message.split())[:200]} "
            "Nada se perdeu; o que estava na fila reaparece em 15 minutos."
        )

    def sweep(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the sweep function, and wait for it; its answer."""
        name = self.outputs.get("SweepContractsFunctionName")
        if name is None:
            raise OperatorError(
                f"A pilha {self.name} ainda não tem a função sweep_contracts. Publique-a de novo (make deploy)."
            )
        answer = self.clients.functions.invoke(FunctionName=name, Payload=json.dumps(request).encode())
        told = _json_object(answer["Payload"].read().decode())
        if "FunctionError" not in answer:
            return told
        kind, message = str(told.get("errorType", "")), " ".join(str(told.get("errorMessage", "")).split())
        raise OperatorError(f"Nada foi conferido ({kind or 'sem nome'}): {message[:400]}")

    def text(self, key: str) -> str:
        """A text of the data bucket."""
        return self._objects.get_text(key)

    def charges(self, contract: str, month: BillingMonth, kinds: Sequence[str]) -> tuple[list[Charge], str | None]:
        """The contract's charges of that month, in the order of `kinds`, and the reason of its hold, if any."""
        holds = self.outputs.get("HoldsTableName", "")
        ledger = Ledger(self.clients.dynamodb, self.outputs["LedgerTableName"], holds)
        keys = [ChargeKey(contract, month, kind) for kind in kinds]
        found = ledger.get_many(keys)
        return [found[key] for key in keys if key in found], ledger.hold(contract) if holds else None

    def proofs(self, charge: Charge) -> dict[str, str]:
        """Addition key -> its arithmetic, from the plan by which it was charged, if that still lies in the bucket."""
        wanted = {(each["key"], each["amount"], each["through"]) for each in charge.additions}
        if not wanted:
            return {}
        generations = f"runs/{charge.key.month}/[0-9]*/{charge.company}/*/plan.jsonl"  # not those of previews
        return {
            each["key"]: each["proof"]
            for plan, _ in self._plans(charge.key.month)
            if fnmatchcase(plan, generations)
            for line in self._lines_of(plan, charge.key.contract)
            for each in line.additions
            if (each["key"], each["amount"], each["through"]) in wanted
        }

    def plan_line(self, contract: str, month: BillingMonth) -> tuple[bool, PlanLine | None]:
        """Whether the month has a plan at all, and the contract's line in the newest plan that knows it."""
        plans = sorted(self._plans(month), key=lambda plan: plan[1], reverse=True)
        lines = (line for key, _ in plans for line in self._lines_of(key, contract))
        return bool(plans), next(lines, None)

    def _plans(self, month: BillingMonth) -> list[tuple[str, datetime]]:
        """The keys of the month's plans, those of previews too, and when each was written."""
        pages = self.clients.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.outputs["DataBucketName"], Prefix=f"runs/{month}/"
        )
        found = [entry for page in pages for entry in page.get("Contents", ())]
        return [(entry["Key"], entry["LastModified"]) for entry in found if entry["Key"].endswith("/plan.jsonl")]

    def _lines_of(self, plan: str, contract: str) -> Iterator[PlanLine]:
        named = f'"contract":"{contract}"'
        return (PlanLine.from_json(line) for line in self._objects.read_lines(plan) if named in line)

    # ---- settings and reports

    def settings_bytes(self) -> bytes | None:
        """The settings file in force, as it is stored; None when none was ever pushed."""
        try:
            return self._objects.get_bytes(self.outputs["SettingsKey"])
        except ObjectMissing:
            return None

    def settings_text(self) -> str | None:
        """The settings file in force, read as the functions read it; None when none was ever pushed."""
        raw = self.settings_bytes()
        try:
            return None if raw is None else decoded(raw)
        except UnreadableText as error:
            raise OperatorError(
                f"A configuração em vigor na pilha {self.name} não pode ser lida: {error} Envie-a de novo com: "
                "billing-ops settings push ARQUIVO"
            ) from None

    def settings(self) -> Settings:
        text = self.settings_text()
        if text is None:
            raise no_settings(self.name)
        try:
            return load_settings(text)
        except SettingsError as error:
            more = f" (e mais {len(error.problems) - 1})" if len(error.problems) > 1 else ""
            raise OperatorError(
                f"A configuração em vigor na pilha {self.name} é inválida: {error.problems[0]}{more}. "
                f"Corrija o arquivo e envie-o com: billing-ops settings push ARQUIVO"
            ) from None

    def put_settings(self, text: str) -> None:
        self._objects.put_text(self.outputs["SettingsKey"], text, "application/toml; charset=utf-8")

    def facts(self, key: str) -> str | None:
        """What a probe wrote of a company's Omie; None when there was none."""
        try:
            return self._objects.get_text(key)
        except ObjectMissing:
            return None

    def put_facts(self, key: str, text: str) -> None:
        self._objects.put_text(key, text, "application/toml; charset=utf-8")

    def indices(self) -> IndexTable:
        """The imported price indices; empty when there are none. Raises BadTable."""
        return read_indices(self._objects)

    def put_indices(self, table: IndexTable) -> None:
        self._objects.put_text(INDICES_KEY, to_json(table), "application/json; charset=utf-8")

    def ask_receivables(self, company: str | None) -> None:
        """Have the receivables of one company, or of all, brought up to date: it happens in the background."""
        name = self.outputs.get("SyncReceivablesFunctionName")
        if name is None:
            raise OperatorError(
                f"A pilha {self.name} ainda não tem a função sync_receivables. Publique-a de novo (make deploy)."
            )
        payload = json.dumps({"company": company}).encode()
        self.clients.functions.invoke(FunctionName=name, InvocationType="Event", Payload=payload)

    def cancelled_order(self, contract: str, month: object) -> int | None:
        """The contract's order, if the month's last run found that a person cancelled it in Omie."""
        key = self.newest_report(month, "json", run=True)
        found = json.loads(self.text(key)).get("cancelled_orders") or () if key else ()
        return next((row["nCodOS"] for row in found if row["contract"] == contract), None)

    def newest_report(self, month: object, kind: str, *, run: bool = False) -> str | None:
        """The key of the month's newest report of that kind ("html", "csv" or "json"); with `run`, of no preview."""
        names = _RUN_REPORT if run else _REPORT
        pages = self.clients.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.outputs["DataBucketName"], Prefix=f"reports/{month}/"
        )
        found = [
            (entry["LastModified"], entry["Key"])
            for page in pages
            for entry in page.get("Contents", [])
            if entry["Key"].endswith(f".{kind}") and names.match(entry["Key"].rpartition("/")[2])
        ]
        return max(found)[1] if found else None

    def download(self, key: str, to: Path) -> None:
        self.clients.s3.download_file(self.outputs["DataBucketName"], key, str(to))

    # ---- secrets

    def omie_secret(self, company: str) -> str:
        return omie_name(self.outputs["SecretsPrefix"], company)

    @property
    def jestor_secret(self) -> str:
        return jestor_name(self.outputs["SecretsPrefix"])

    def put_secret(self, name: str, value: Mapping[str, Any]) -> bool:
        """Write the secret; True when it is new."""
        text = json.dumps(value)
        try:
            self.clients.secretsmanager.put_secret_value(SecretId=name, SecretString=text)
        except ClientError as error:
            if dynamo.error_code(error) != "ResourceNotFoundException":
                raise
            self.clients.secretsmanager.create_secret(Name=name, SecretString=text)
            return True
        return False

    def secret_text(self, name: str) -> str | None:
        """The secret as it is stored; None when there is none. Never shown."""
        try:
            return str(self.clients.secretsmanager.get_secret_value(SecretId=name).get("SecretString", ""))
        except ClientError as error:
            if dynamo.error_code(error) != "ResourceNotFoundException":
                raise
            return None

    def read_secret(self, name: str, fields: Sequence[str]) -> tuple[str, ...]:
        """The secret's fields, in that order. The error says what is wrong with it, never what is in it."""
        words = name.removeprefix(f"{self.outputs['SecretsPrefix']}/").replace("/", " ")
        put = f"Grave-o com: billing-ops secrets put {words}"
        text = self.secret_text(name)
        if text is None:
            raise OperatorError(f"O segredo {name} não existe. {put}")
        found = _json_object(text)
        for wanted in fields:
            if not isinstance(found.get(wanted), str) or not found[wanted].strip():
                raise OperatorError(f"O segredo {name} está sem {wanted}. {put}")
        return tuple(found[wanted].strip() for wanted in fields)

    # ---- who

    def who(self, environ: Mapping[str, str]) -> str:
        """The person, for the record: the IAM user or session, else this computer's user."""
        user = environ.get("USER") or environ.get("USERNAME") or "operador"
        try:
            arn = str(self.clients.sts.get_caller_identity()["Arn"])
        except (ClientError, BotoCoreError):
            return user
        name = arn.rsplit("/", 1)[-1]
        return user if name == arn else name  # root has no name of its own

    @property
    def region(self) -> str:
        return str(self.clients.s3.meta.region_name)

    @property
    def _objects(self) -> ObjectStore:
        return ObjectStore(self.clients.s3, self.outputs["DataBucketName"])


def no_settings(stack: str) -> OperatorError:
    return OperatorError(f"A pilha {stack} ainda não tem configuração. Envie-a com: billing-ops settings push ARQUIVO")


def known_company(settings: Settings, company: str) -> str:
    if company not in settings.companies:
        known = ", ".join(sorted(settings.companies))
        raise InputError(f"Empresa desconhecida: {company}. As da configuração são: {known}.")
    return company


def _json_object(text: object) -> dict[str, Any]:
    try:
        value = json.loads(str(text))
    except ValueError:
        return {}  # not ours: an execution started by hand
    return value if isinstance(value, dict) else {}


def _company_run(run: str, company: str, items: Iterable[dict[str, Any]]) -> CompanyRun:
    head: dict[str, Any] = {}
    counts: dict[str, int] = {}
    approval: Approval | None = None
    for item in items:
        part = str(item["part"]).partition("#")[0]
        if part == "run":
            head = item
        elif part == "approval":
            approval = Approval(
                company=company,
                token=item["token"],
                reasons=tuple(item["reasons"]),
                asked_at=_moment(item.get("asked_at")),
                decision=item.get("decision"),
                decided_by=item.get("decided_by"),
            )
        else:  # the plan and the progress: counters
            counts |= {name: value for name, value in item.items() if isinstance(value, int)}
    return CompanyRun(
        run=run,
        company=company,
        status=head.get("status", ""),
        generation=head.get("generation", 0),
        execution=head.get("execution", ""),
        opened_at=_moment(head.get("opened_at")),
        closed_at=_moment(head.get("closed_at")),
        counts=counts,
        approval=approval,
    )


def _progress(run: CompanyRun, lane: Lane) -> CompanyProgress:
    return CompanyProgress(
        company=run.company,
        to_bill=run.counts.get("planned", 0),
        billed=run.counts.get("billed", 0),
        parked=run.counts.get("parked", 0),
        in_doubt=run.counts.get("in_doubt", 0),
        closed=run.status == "closed",
        blocked_until=lane.blocked_until,
        blocked_reason=lane.reason,
        waiting_approval=run.approval.reasons if run.approval is not None and run.waits else None,
        unclear=run.counts.get("unclear", 0),
        month_not_turned=bool(run.counts.get("month_not_turned")),
        asked_again_at=datetime.fromtimestamp(at, UTC) if (at := run.counts.get("asked_again_at", 0)) else None,
    )


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
