"""A contract may have changed in Jestor: Omie's is ordered to agree. One message at a time of each contract."""

from typing import Any

from billing import bootstrap
from billing.change_contract import take
from billing.log import tell


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    failures = []
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        answer = take(record, bootstrap.change_contract())
        tell("contract change", answer)
        if answer["later"]:  # hidden until its time
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
