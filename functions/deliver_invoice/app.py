"""Looks at one billed order in Omie and brings its invoice to Jestor. One message at a time of each order."""

from typing import Any

from billing import bootstrap
from billing.deliver_invoice import take
from billing.log import tell


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    failures = []
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        answer = take(record, bootstrap.deliver_invoice())
        tell("invoice looked at", answer)
        if answer["later"]:  # hidden until its time
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
