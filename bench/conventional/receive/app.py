"""A webhook's receiver as most would write it: Powertools' resolver, Logger, Metrics, Tracer, pydantic, boto3, httpx.

Beside ours in bench/receive.py. It does the same work for a signed contract webhook: secret, check, keep, queue, mark.
"""

import hashlib
import hmac
import json
import os
import time
from typing import Annotated, Any

import boto3
import httpx
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import UnauthorizedError
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel, ConfigDict, Field

logger = Logger(service="billing-ops")
metrics = Metrics(namespace="billing-ops", service="billing-ops")
tracer = Tracer(service="billing-ops")
app = APIGatewayRestResolver()
table = boto3.resource("dynamodb").Table(os.environ["WEBHOOKS_TABLE"])
sqs = boto3.client("sqs")
secretsmanager = boto3.client("secretsmanager")
jestor = httpx.Client(timeout=5.0)  # to read the record again


class Changed(BaseModel):
    model_config = ConfigDict(extra="allow")
    jestor_id: Annotated[int, Field(gt=0)]


@app.post("/webhooks/jestor/contract")
@tracer.capture_method
def contract_changed() -> Response[str]:
    body = app.current_event.body or ""
    answer = secretsmanager.get_secret_value(SecretId=f"{os.environ['SECRETS_PREFIX']}/webhooks")
    signature = dict(part.split("=") for part in app.current_event.headers["x-webhook-signature"].split(","))
    secret = json.loads(answer["SecretString"])["jestor"][0]
    expected = hmac.new(secret.encode(), f"{signature['t']}.{body}".encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature["v1"]) or abs(time.time() - int(signature["t"])) > 300:
        raise UnauthorizedError("signature")
    changed = Changed.model_validate_json(body)
    key = hashlib.sha256(f"{signature['t']}\n{body}".encode()).hexdigest()
    table.put_item(Item={"webhook": key, "state": "received", "body": body})
    sqs.send_message(
        QueueUrl=os.environ["CONTRACT_CHANGES_QUEUE_URL"],
        MessageBody=json.dumps({"contract": f"JST-{changed.jestor_id}", "jestor_id": changed.jestor_id}),
        MessageGroupId=f"JST-{changed.jestor_id}",
        MessageDeduplicationId=key,
    )
    table.update_item(
        Key={"webhook": key},
        UpdateExpression="SET #state = :queued",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":queued": "queued"},
    )
    metrics.add_metric(name="accepted", unit=MetricUnit.Count, value=1)
    logger.info("accepted", extra={"webhook": key})
    return Response(status_code=202, content_type="application/json", body='{"message": "accepted"}')


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return dict(app.resolve(event, context))
