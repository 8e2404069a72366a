"""A contract may have been stopped or started again in Jestor: the hold, then Omie's contract, follow."""

from typing import Any

from billing import bootstrap
from billing.churn_contract import take
from billing.log import tell


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    failures = []
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        answer = take(record, bootstrap.churn_contract())
        tell("contract churn", answer)
        if answer["later"]:  # hidden until its time
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
