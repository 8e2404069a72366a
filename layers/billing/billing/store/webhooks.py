"""What the receiver of webhooks keeps and reads, over the light client: see `fast_aws` and `receive_webhook`."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from billing.receive_webhook import Known, Sender, Webhook
from billing.store.fast_aws import AwsError, AwsUnavailable, FastAws

KEPT_SECONDS: Final = 30 * 24 * 3600
REMEMBERED_SECONDS: Final = 60.0
"""How long a secret that was taken away still opens the door, at most."""
FRESH_SECONDS: Final = 5.0
"""How often, at most, refused webhooks make us read the secret again."""
SHORTEST_SECRET: Final = 16
MOST_SECRETS: Final = 2
SHAPE: Final = '{"jestor": ["..."], "omie": {"<company>": {"tokens": ["..."], "app_key": "..."}}}'


class WebhookSecretError(Exception):
    """Secret `<prefix>/webhooks` is missing or does not read as it should: one line, without a value."""


class WebhookStore:
    """Raw webhooks, 30 days. Hash key `webhook`; `state`: received, queued, or stored (there was nothing to queue)."""

    def __init__(self, aws: FastAws, table: str) -> None:
        self._aws = aws
        self._table = table

    def keep(self, webhook: Webhook, body: str, now: datetime) -> bool:
        """True: it is kept now, and what follows is the caller's to do. False: that was done before."""
        item = kept_item(webhook, body, now)
        try:
            self._aws.call(
                "dynamodb",
                "PutItem",
                {
                    "TableName": self._table,
                    "Item": {
                        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
                        for name, value in item.items()
                    },
                    "ConditionExpression": "attribute_not_exists(webhook) OR #state = :received",
                    "ExpressionAttributeNames": {"#state": "state"},
                    "ExpressionAttributeValues": {":received": {"S": "received"}},
                },
            )
        except AwsError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def queued(self, key: str) -> None:
        """All its hints are on their queues."""
        self._aws.call(
            "dynamodb",
            "UpdateItem",
            {
                "TableName": self._table,
                "Key": {"webhook": {"S": key}},
                "UpdateExpression": "SET #state = :queued",
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": {":queued": {"S": "queued"}},
            },
        )


class WebhookHolds:
    """Puts the holds that `ledger.Ledger` heeds: the same item."""

    def __init__(self, aws: FastAws, table: str) -> None:
        self._aws = aws
        self._table = table

    def put_hold(self, contract: str, reason: str, now: datetime) -> None:
        """From now on no charge of this contract can be claimed."""
        item = {"contract": {"S": contract}, "reason": {"S": reason}, "at": {"S": _stamp(now)}}
        self._aws.call("dynamodb", "PutItem", {"TableName": self._table, "Item": item})


class WebhookQueues:
    """`queues.Queues.send`"""

    def __init__(self, aws: FastAws) -> None:
        self._aws = aws

    def send(self, url: str, message: Mapping[str, Any], group: str, dedup: str) -> None:
        self._aws.call(
            "sqs",
            "SendMessage",
            {
                "QueueUrl": url,
                "MessageBody": json.dumps(message, ensure_ascii=False, sort_keys=True),
                "MessageGroupId": group,
                "MessageDeduplicationId": dedup,
            },
        )


class WebhookSecrets:
    """Who may send, remembered for a minute; the old memory serves while Secrets Manager does not answer."""

    def __init__(self, aws: FastAws, prefix: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._aws = aws
        self._name = webhooks_name(prefix)
        self._monotonic = monotonic
        self._read_at = 0.0
        self._remembered: Known | None = None

    def known(self, *, fresh: bool = False) -> Known:
        """Raises WebhookSecretError, AwsError."""
        now = self._monotonic()
        if self._remembered and now - self._read_at < (FRESH_SECONDS if fresh else REMEMBERED_SECONDS):
            return self._remembered
        try:
            answer = self._aws.call("secretsmanager", "GetSecretValue", {"SecretId": self._name})
        except AwsError as error:
            if self._remembered and isinstance(error, AwsUnavailable):
                return self._remembered
            if error.code != "ResourceNotFoundException":
                raise
            raise WebhookSecretError(f"secret {self._name} does not exist: store {SHAPE}") from None
        self._remembered = read_known(self._name, answer.get("SecretString", ""))
        self._read_at = now
        return self._remembered


def kept_item(webhook: Webhook, body: str, now: datetime) -> dict[str, str | int]:
    """One item of the table; `expires_at` in seconds since the epoch."""
    item: dict[str, str | int] = {
        "webhook": webhook.key,
        "state": "received" if webhook.hints else "stored",
        "route": webhook.route,
        "company": webhook.company,
        "topic": webhook.topic,
        "body": body,
        "received_at": _stamp(now),
        "expires_at": int(now.timestamp()) + KEPT_SECONDS,
    }
    return {name: value for name, value in item.items() if value != ""}


def webhooks_name(prefix: str) -> str:
    return f"{prefix}/webhooks"


def read_known(name: str, text: str) -> Known:
    """Secret `<prefix>/webhooks`, either part of which may be missing. Raises WebhookSecretError."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None  # the parser's own message would carry the secret
    if not isinstance(found, dict) or not isinstance(found.get("omie", {}), dict):
        raise WebhookSecretError(f"secret {name} is no JSON object: store {SHAPE}")
    companies: dict[str, Sender] = {}
    for company, sender in found.get("omie", {}).items():
        if not isinstance(sender, dict) or not isinstance(sender.get("app_key"), str) or not sender["app_key"].strip():
            raise WebhookSecretError(f'secret {name}: omie.{company} has no "app_key": store {SHAPE}')
        tokens = _secrets(name, f"omie.{company}.tokens", sender.get("tokens"))
        companies[company] = Sender(tokens, sender["app_key"].strip())
    return Known(_secrets(name, "jestor", found["jestor"]) if "jestor" in found else (), companies)


def _secrets(name: str, where: str, found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_SECRETS:
        raise WebhookSecretError(f"secret {name}: {where} must be a list of one, or of two while one is replaced")
    for secret in found:
        if not isinstance(secret, str) or len(secret.strip()) < SHORTEST_SECRET:
            raise WebhookSecretError(f"secret {name}: {where} holds one shorter than {SHORTEST_SECRET} characters")
    return tuple(secret.strip() for secret in found)


def _stamp(at: datetime) -> str:
    """As `ledger.stamp` writes it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


if TYPE_CHECKING:
    from billing.receive_webhook import Webhooks

    _same_interface: type[Webhooks] = WebhookStore
