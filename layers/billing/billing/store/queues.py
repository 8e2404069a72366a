"""Messages onto the FIFO queues, and out of the dead-letter queue."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from billing.domain.sizes import fitting
from billing.domain.text import writable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

NOT_OURS = frozenset(
    {
        "InvalidParameterValue",
        "ReceiptHandleIsInvalid",
        "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
    }
)
"""Deleted, or visible again already."""
LONGEST_HIDDEN = 11 * 3600
"""Seconds; SQS allows twelve hours from the receive."""


class Queues:
    """Sends to FIFO queues. `dlq_url` is where parked contracts wait for a person, for those who park."""

    def __init__(self, sqs: "SQSClient", dlq_url: str = "") -> None:
        self._sqs = sqs
        self._dlq_url = dlq_url

    def park(self, message: Mapping[str, Any], group: str, dedup: str) -> None:
        """One self-explaining message per parked contract.

        Args:
            message: company, contract, month, class, Omie's text, the only safe next action.
            group: the contract; of a group, SQS shows ten messages at a time and no more.
            dedup: at most 128 characters; SQS drops repetitions within five minutes.
        """
        self.send(self._dlq_url, fitting(dict(message)), group, dedup)

    def send(self, url: str, message: Mapping[str, Any], group: str, dedup: str) -> None:
        self._sqs.send_message(
            QueueUrl=url,
            MessageBody=writable(json.dumps(message, ensure_ascii=False, sort_keys=True)),
            MessageGroupId=group,
            MessageDeduplicationId=dedup,
        )

    def hide(self, url: str, receipt: str, seconds: float) -> None:
        """A message that was received comes again after so many seconds, instead of after its queue's own time-out."""
        wait = min(max(int(seconds + 0.999), 0), LONGEST_HIDDEN)
        self._sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=wait)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the dead-letter queue. The body may be anything, and a batch's holds personal data."""

    id: str
    group: str
    sent_at: datetime
    body: str = field(repr=False)
    receipt: str = field(repr=False)


class DeadLetters:
    """The dead-letter queue, read. SQS cannot look without taking: whoever receives puts back or deletes.

    Of one message group at most ten letters are out at a time, and no further one until those are put back or
    deleted: a letter that stays hides what stands behind it in its group.

    Args:
        sqs: a boto3 client.
        url: the queue.
        wait_seconds: how long SQS looks before it says "empty"; 0 may miss letters.
    """

    def __init__(self, sqs: "SQSClient", url: str, *, wait_seconds: int = 2) -> None:
        self._sqs = sqs
        self._url = url
        self._wait = wait_seconds

    def receive(self, hidden_seconds: int) -> list[Letter]:
        """Up to ten letters, hidden from everybody for so long; empty when nothing more can be had."""
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=hidden_seconds,
            WaitTimeSeconds=self._wait,
            AttributeNames=["All"],
        )
        return [
            Letter(
                id=message["MessageId"],
                group=message["Attributes"].get("MessageGroupId", ""),
                sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
                body=message["Body"],
                receipt=message["ReceiptHandle"],
            )
            for message in answer.get("Messages", [])
        ]

    def delete(self, letter: Letter) -> None:
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt)

    def put_back(self, letters: Sequence[Letter]) -> None:
        """Visible again at once. One that SQS no longer has as ours is left alone."""
        for letter in letters:  # one by one: the batch call has no permission of its own, the emulator asks for one
            try:
                self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=letter.receipt, VisibilityTimeout=0
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in NOT_OURS:
                    raise

    def count(self) -> int:
        """How many letters there are, hidden ones too (SQS: approximate)."""
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        return sum(map(int, answer["Attributes"].values()))
