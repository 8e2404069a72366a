"""Webhooks through the deployed API: signed here, or sent by the simulators as Jestor and Omie would."""

import json
import time
from typing import Any

import httpx
import pytest

from billing.receive_webhook import HOLD_REASON
from billing.store.dynamo import decode_item
from ops import local
from simulators.jestor.triggers import sign
from simulators.world import CONTRACTS_TABLE, FIELDS

pytestmark = pytest.mark.e2e

NOBODYS = 987_001
"""A contract that is in neither Jestor nor Omie."""


def post(deployed: Any, path: str, content: object, *, secret: str = local.JESTOR_WEBHOOK_SECRET) -> httpx.Response:
    body = json.dumps(content, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "x-webhook-signature": sign(secret, body, int(time.time()))}
    return httpx.post(deployed.state["addresses"]["webhooks"] + path, content=body, headers=headers, timeout=60)


def kept(deployed: Any) -> list[dict[str, Any]]:
    """The raw webhooks the stack has kept, with their bodies read."""
    pages = local.client(deployed.state, "dynamodb").get_paginator("scan")
    items = [
        decode_item(item)
        for page in pages.paginate(TableName=deployed.state["outputs"]["WebhooksTableName"])
        for item in page["Items"]
    ]
    return [{**item, "body": json.loads(item["body"])} for item in items]


def test_a_churn_is_held_kept_and_queued_before_it_is_acknowledged(deployed: Any) -> None:
    answer = post(deployed, "/jestor/churn", {"jestor_id": NOBODYS, "motivo": "não usa mais"})
    assert (answer.status_code, answer.json()) == (202, {"message": "accepted"})
    (ours,) = [webhook for webhook in kept(deployed) if webhook["body"].get("jestor_id") == NOBODYS]
    assert (ours["state"], ours["route"], ours["body"]["motivo"]) == ("queued", "churn", "não usa mais")
    assert int(time.time()) < ours["expires_at"] <= int(time.time()) + 30 * 24 * 3600
    dynamodb = local.client(deployed.state, "dynamodb")
    key = {"contract": {"S": f"JST-{NOBODYS}"}}
    hold = dynamodb.get_item(TableName=deployed.state["outputs"]["HoldsTableName"], Key=key).get("Item")
    assert hold is None or decode_item(hold)["reason"] == HOLD_REASON  # none: the churn worker was faster than we


@pytest.mark.parametrize("path", ["/jestor/contract", "/jestor/churn", "/omie/not-a-token-of-ours"])
def test_who_may_not_send_is_refused_in_one_line(deployed: Any, path: str) -> None:
    answer = post(deployed, path, {"jestor_id": NOBODYS + 1}, secret="not-the-secret")
    assert (answer.status_code, answer.text) == (401, '{"message": "not authorized"}')
    assert not [webhook for webhook in kept(deployed) if webhook["body"].get("jestor_id") == NOBODYS + 1]


def test_omies_portal_finds_somebody_listening(deployed: Any) -> None:
    answer = post(deployed, f"/omie/{local.omie_webhook_token('acme')}", {"ping": "omie"})
    assert (answer.status_code, answer.json()) == (200, {"message": "pong"})


def test_what_a_person_edits_in_jestor_comes_in_by_itself(deployed: Any) -> None:
    rows = httpx.get(f"{deployed.state['simulators']['jestor']}/_sim/health", timeout=60).json()["rows"]
    last = rows[CONTRACTS_TABLE]
    deployed.control(
        "jestor", "edit", {"table": CONTRACTS_TABLE, "id": last, "data": {FIELDS["description"]: "Texto novo"}}
    )

    def arrived() -> list[dict[str, Any]]:
        return [one for one in kept(deployed) if one["state"] == "queued" and one["body"].get("jestor_id") == last]

    (webhook, *_) = deployed.await_that(arrived, "the webhook of an edit in Jestor")
    assert (webhook["route"], webhook["body"]["evento"]) == ("contract", "after_update")
