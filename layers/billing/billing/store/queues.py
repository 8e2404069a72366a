"""Messages onto the FIFO queues."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Queues:
    """Sends to FIFO queues. `dlq_url` is where parked contracts wait for a person."""

    def __init__(self, sqs: "SQSClient", dlq_url: str) -> None:
        self._sqs = sqs
        self._dlq_url = dlq_url

    def park(self, message: Mapping[str, Any], group: str, dedup: str) -> None:
        """One self-explaining message per parked contract.

        Args:
            message: company, contract, month, class, Omie's text, the only safe next action.
            group: the company.
            dedup: at most 128 characters; SQS drops repetitions within five minutes.
        """
        self.send(self._dlq_url, message, group, dedup)

    def send(self, url: str, message: Mapping[str, Any], group: str, dedup: str) -> None:
        self._sqs.send_message(
            QueueUrl=url,
            MessageBody=json.dumps(message, ensure_ascii=False, sort_keys=True),
            MessageGroupId=group,
            MessageDeduplicationId=dedup,
        )
