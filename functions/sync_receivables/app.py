"""Omie's titles into Jestor's receivables table. The schedule (or a person) only asks; the queue's messages do it."""

import json
from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.sync_receivables import ask, take


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    deps = bootstrap.sync_receivables()
    if "Records" not in event:
        return ask(event, deps)
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        seconds_left = context.get_remaining_time_in_millis() / 1000
        tell("receivables synced", take(json.loads(record["body"]), deps, seconds_left=seconds_left))
    return {"batchItemFailures": []}
