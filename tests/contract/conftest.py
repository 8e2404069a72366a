"""One suite, three stores: in memory, moto, and the emulator when BILLING_EMULATOR_URL says where it is."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import boto3
import pytest
import requests
from botocore.exceptions import ClientError, ConnectionClosedError
from moto import mock_aws

from billing.store.contracts import ContractStore
from billing.store.documents import DocumentStore
from billing.store.dynamo import decode_item
from billing.store.fast_aws import Connections, FastAws
from billing.store.lanes import LaneStore
from billing.store.ledger import Ledger
from billing.store.objects import ObjectStore
from billing.store.queues import DeadLetters, Queues
from billing.store.runs import RunStore
from billing.store.secrets import SecretStore
from billing.store.webhooks import WebhookHolds, WebhookQueues, WebhookSecrets, WebhookStore
from simulators.memory_store import (
    MemoryContracts,
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryLanes,
    MemoryLedger,
    MemoryObjects,
    MemoryQueues,
    MemoryRuns,
    MemorySecrets,
    MemoryWebhooks,
)

REGION = "sa-east-1"
EMULATOR_URL = os.environ.get("BILLING_EMULATOR_URL")
KINDS = ["memory", "moto", *(["emulator"] if EMULATOR_URL else [])]

TABLES: dict[str, dict[str, Any]] = {
    "ledger": {
        "AttributeDefinitions": [
            {"AttributeName": "charge", "AttributeType": "S"},
            {"AttributeName": "company_month", "AttributeType": "S"},
            {"AttributeName": "order", "AttributeType": "S"},
        ],
        "KeySchema": [{"AttributeName": "charge", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by_company_month",
                "KeySchema": [
                    {"AttributeName": "company_month", "KeyType": "HASH"},
                    {"AttributeName": "charge", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            },
            {
                "IndexName": "by_order",
                "KeySchema": [{"AttributeName": "order", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            },
        ],
    },
    "holds": {
        "AttributeDefinitions": [{"AttributeName": "contract", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "contract", "KeyType": "HASH"}],
    },
    **{
        table: {
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        }
        for table, key in {"contracts": "contract", "documents": "document", "webhooks": "webhook"}.items()
    },
    "lanes": {
        "AttributeDefinitions": [{"AttributeName": "lane", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "lane", "KeyType": "HASH"}],
    },
    "runs": {
        "AttributeDefinitions": [
            {"AttributeName": "run", "AttributeType": "S"},
            {"AttributeName": "part", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "run", "KeyType": "HASH"},
            {"AttributeName": "part", "KeyType": "RANGE"},
        ],
    },
}


class Tables(dict[str, str]):
    """Table -> the name of one test's own, created when first asked for."""

    def __init__(self, dynamodb: Any, own: str) -> None:
        super().__init__()
        self._dynamodb = dynamodb
        self._own = own

    def __missing__(self, table: str) -> str:
        name = self[table] = f"{self._own}-{table}"
        self._dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **TABLES[table])
        return name


class Aws:
    """Clients and one test's own resources, created when first asked for."""

    def __init__(self, dynamodb: Any, s3: Any, sqs: Any, secretsmanager: Any) -> None:
        self.own = f"contract-{uuid4().hex[:12]}"
        self.dynamodb = dynamodb
        self.s3 = s3
        self.sqs = sqs
        self.secretsmanager = secretsmanager
        self.tables = Tables(dynamodb, self.own)
        self.connections = Connections()

    @cached_property
    def bucket(self) -> str:
        self.s3.create_bucket(Bucket=self.own, CreateBucketConfiguration={"LocationConstraint": REGION})
        return self.own

    @cached_property
    def dlq_url(self) -> str:
        queue = self.sqs.create_queue(QueueName=f"{self.own}.fifo", Attributes={"FifoQueue": "true"})
        return queue["QueueUrl"]

    def put_secret(self, name: str, text: str) -> None:
        self.secretsmanager.create_secret(Name=f"{self.own}/{name}", SecretString=text)

    def parked(self) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(QueueUrl=self.dlq_url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def remove(self) -> None:
        self.connections.close()
        for name in self.tables.values():
            self.dynamodb.delete_table(TableName=name)
        if "dlq_url" in vars(self):
            self.sqs.delete_queue(QueueUrl=self.dlq_url)
        if "bucket" in vars(self):
            for found in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", []):
                self.s3.delete_object(Bucket=self.bucket, Key=found["Key"])
            self.s3.delete_bucket(Bucket=self.bucket)


@dataclass
class MemoryStores:
    ledger: MemoryLedger
    lanes: MemoryLanes
    runs: MemoryRuns
    objects: MemoryObjects
    secrets: MemorySecrets
    queues: MemoryQueues
    texts: dict[str, str]

    def put_secret(self, name: str, text: str) -> None:
        self.texts[f"billing/{name}"] = text

    def parked(self) -> list[dict[str, Any]]:
        return self.queues.parked

    @cached_property
    def webhooks(self) -> MemoryWebhooks:
        return MemoryWebhooks()

    @cached_property
    def webhook_holds(self) -> MemoryLedger:
        return self.ledger

    @cached_property
    def webhook_queues(self) -> MemoryQueues:
        return self.queues

    def kept(self, key: str) -> dict[str, Any]:
        return self.webhooks.items[key]

    @cached_property
    def documents(self) -> MemoryDocuments:
        return MemoryDocuments()

    @cached_property
    def contracts(self) -> MemoryContracts:
        return MemoryContracts()

    @cached_property
    def letters(self) -> MemoryDeadLetters:
        return MemoryDeadLetters(self.queues)

    def post(self, body: str, group: str) -> None:
        self.queues.sent.setdefault("dlq", []).append((group, body))


class AwsStores:
    """The same stores over a service; each is built when first used, so a test pays for no other's tables."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.put_secret = aws.put_secret
        self.parked = aws.parked

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self._aws.dynamodb, self._aws.tables["ledger"], self._aws.tables["holds"])

    @cached_property
    def lanes(self) -> LaneStore:
        return LaneStore(self._aws.dynamodb, self._aws.tables["lanes"])

    @cached_property
    def runs(self) -> RunStore:
        return RunStore(self._aws.dynamodb, self._aws.tables["runs"])

    @cached_property
    def contracts(self) -> ContractStore:
        return ContractStore(self._aws.dynamodb, self._aws.tables["contracts"], sleep=lambda _: None)

    @cached_property
    def objects(self) -> ObjectStore:
        return ObjectStore(self._aws.s3, self._aws.bucket)

    @cached_property
    def documents(self) -> DocumentStore:
        return DocumentStore(self._aws.dynamodb, self._aws.tables["documents"])

    @cached_property
    def secrets(self) -> SecretStore:
        return SecretStore(self._aws.secretsmanager, self._aws.own)

    @cached_property
    def queues(self) -> Queues:
        return Queues(self._aws.sqs, self._aws.dlq_url)

    @cached_property
    def fast(self) -> FastAws:
        """The light client; moto hears it through `requests`, the emulator over its own connections."""
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": REGION}
        if "amazonaws.com" in self._aws.sqs.meta.endpoint_url:
            return FastAws(keys, send=_by_requests)
        return FastAws({**keys, "AWS_ENDPOINT_URL": self._aws.sqs.meta.endpoint_url}, send=self._aws.connections.send)

    @cached_property
    def webhooks(self) -> WebhookStore:
        return WebhookStore(self.fast, self._aws.tables["webhooks"])

    @cached_property
    def webhook_holds(self) -> WebhookHolds:
        return WebhookHolds(self.fast, self._aws.tables["holds"])

    @cached_property
    def webhook_queues(self) -> WebhookQueues:
        return WebhookQueues(self.fast)

    @cached_property
    def webhook_secrets(self) -> WebhookSecrets:
        return WebhookSecrets(self.fast, self._aws.own)

    def kept(self, key: str) -> dict[str, Any]:
        answer = self._aws.dynamodb.get_item(TableName=self._aws.tables["webhooks"], Key={"webhook": {"S": key}})
        return decode_item(answer["Item"])

    @cached_property
    def letters(self) -> DeadLetters:
        return DeadLetters(self._aws.sqs, self._aws.dlq_url, wait_seconds=0)

    def post(self, body: str, group: str) -> None:
        self._aws.sqs.send_message(
            QueueUrl=self._aws.dlq_url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=uuid4().hex
        )


def _clients(endpoint_url: str | None = None) -> dict[str, Any]:
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)
    names = ("dynamodb", "s3", "sqs", "secretsmanager")
    return {name: session.client(name, endpoint_url=endpoint_url) for name in names}


@pytest.fixture(scope="session")
def moto_clients() -> dict[str, Any]:
    return _clients()  # whoever uses them is inside mock_aws


@pytest.fixture(scope="session")
def emulator_clients() -> dict[str, Any]:
    return _clients(EMULATOR_URL)


@pytest.fixture
def moto_aws(moto_clients: dict[str, Any]) -> Iterator[Aws]:
    with mock_aws():
        yield Aws(**moto_clients)


@pytest.fixture
def emulator_aws(emulator_clients: dict[str, Any]) -> Iterator[Aws]:
    aws = Aws(**emulator_clients)
    yield aws
    aws.remove()


@pytest.fixture(params=KINDS)
def stores(request: pytest.FixtureRequest) -> MemoryStores | AwsStores:
    if request.param != "memory":
        return AwsStores(request.getfixturevalue(f"{request.param}_aws"))
    texts: dict[str, str] = {}
    return MemoryStores(
        MemoryLedger(),
        MemoryLanes(),
        MemoryRuns(),
        MemoryObjects(),
        MemorySecrets(texts, "billing"),
        MemoryQueues(),
        texts,
    )


@pytest.fixture
def moto_stores(moto_aws: Aws) -> AwsStores:
    return AwsStores(moto_aws)


def _by_requests(address: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    answer = requests.post(address, headers=dict(headers), data=body, timeout=5)
    return answer.status_code, answer.content


class FaultyClient:
    """A boto3 client whose next calls fail as told: `faults` maps a method to one fault per call, in order.

    "lost": the call is carried out and its reply is lost. "refused": it never reaches the service.
    Any other text: it is not carried out and the service answers with that error code. None: no fault.
    A callable: it runs first, then the call goes through: somebody was faster.
    """

    def __init__(self, client: Any, faults: Mapping[str, list[Any]]) -> None:
        self._client = client
        self._faults = {method: list(queue) for method, queue in faults.items()}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if not callable(real):
            return real

        def call(**arguments: Any) -> Any:
            self.calls.append(name)
            queue = self._faults.get(name)
            fault = queue.pop(0) if queue else None
            if callable(fault):
                fault()
                return real(**arguments)
            if fault is None:
                return real(**arguments)
            if fault == "lost":
                real(**arguments)
            if fault in {"lost", "refused"}:
                raise ConnectionClosedError(endpoint_url="https://dynamodb.test")
            if fault == "TransactionConflict":
                reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}]
                raise ClientError(
                    {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}, name
                )
            raise ClientError({"Error": {"Code": fault, "Message": "as told"}}, name)

        return call


@pytest.fixture
def faulty() -> type[FaultyClient]:
    return FaultyClient
