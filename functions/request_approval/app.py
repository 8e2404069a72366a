"""Keeps the task token of a run that broke its guardrail until a person answers."""

from typing import Any

from billing import bootstrap
from billing.request_approval import request_approval


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return request_approval(event["token"], event["plan"], bootstrap.request_approval())
