"""POST /webhooks/jestor/contract, /webhooks/jestor/churn, /webhooks/omie/{token}: kept and queued, then 202."""

import json
from typing import Any

from billing import bootstrap
from billing.receive_webhook import Request, receive_webhook


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    answer = receive_webhook(Request.of_event(event), bootstrap.receive_webhook())
    return {
        "statusCode": answer.status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": answer.message}),
    }
