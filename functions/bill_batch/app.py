"""Bills one batch of one company. The queue holds one message back per company until this one has ended."""

import json
from typing import Any

from billing import bootstrap
from billing.bill_batch import bill_batch
from billing.log import tell

deps = bootstrap.bill_batch()


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        message = json.loads(record["body"])
        deadline = deps.clock.now().timestamp() + context.get_remaining_time_in_millis() / 1000
        answer = bill_batch(message["batch"], deps, deadline=deadline)
        tell("batch billed", message["batch"] | answer)
        deps.tasks.success(message["token"], answer)
    return {"batchItemFailures": []}
