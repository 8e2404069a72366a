"""Bills one batch of one company. The queue holds one message back per company until this one has ended."""

from typing import Any

from billing import bootstrap
from billing.bill_batch import take
from billing.log import tell


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        seconds_left = context.get_remaining_time_in_millis() / 1000
        tell("batch billed", take(record, bootstrap.bill_batch, bootstrap.task_callbacks, seconds_left=seconds_left))
    return {"batchItemFailures": []}
