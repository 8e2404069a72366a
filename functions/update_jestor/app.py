"""Brings one Jestor record to what a message says it shall say. One message at a time of each record."""

import json
from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.update_jestor import update_jestor


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    for record in event["Records"]:  # BatchSize is 1: an exception returns exactly this message to the queue
        tell("jestor updated", update_jestor(json.loads(record["body"]), bootstrap.update_jestor()))
    return {"batchItemFailures": []}
