"""Tells people, through one SNS topic, how a run stands."""

import unicodedata
from typing import TYPE_CHECKING

from billing.domain.links import without_ending_links
from billing.domain.sizes import shortened
from billing.domain.text import writable

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

SUBJECT_LENGTH = 100  # SNS's own limit
TEXT_LENGTH = 60_000
"""Characters: four bytes each at most, and SNS takes 262,144."""


class Notifier:
    def __init__(self, sns: "SNSClient", topic: str) -> None:
        self._sns = sns
        self._topic = topic

    def send(self, subject: str, text: str) -> None:
        """One message; an address that ends is left out: mails are opened whenever people come to it."""
        message = shortened(without_ending_links(writable(text)), TEXT_LENGTH)
        self._sns.publish(TopicArn=self._topic, Subject=_ascii(subject)[:SUBJECT_LENGTH], Message=message)


def _ascii(text: str) -> str:
    """SNS takes subjects in ASCII only."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
