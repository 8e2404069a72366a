"""Bills one batch of one company, or makes one contract agree. The queue holds a company's others back meanwhile."""

from typing import Any

from billing import bootstrap
from billing.bill_batch import take
from billing.log import tell


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        seconds_left = context.get_remaining_time_in_millis() / 1000
        steps = (bootstrap.bill_batch, bootstrap.task_callbacks, bootstrap.take_order)
        tell("lane", take(record, *steps, seconds_left=seconds_left))
    return {"batchItemFailures": []}
