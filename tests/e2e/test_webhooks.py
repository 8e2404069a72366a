"""Webhooks through the deployed API: signed here, or sent by the simulators as Jestor and Omie would."""

import json
import time
from typing import Any

import httpx
import pytest

from billing.receive_webhook import HOLD_REASON
from ops import local
from simulators.world import CONTRACTS_TABLE, FIELDS

pytestmark = pytest.mark.e2e

NOBODYS = 987_001
"""A contract that is in neither Jestor nor Omie."""


def post(deployed: Any, path: str, content: object, **more: Any) -> httpx.Response:
    return deployed.post(path, json.dumps(content, ensure_ascii=False).encode(), **more)


def test_a_churn_is_held_kept_and_queued_before_it_is_acknowledged(deployed: Any) -> None:
    answer = post(deployed, "/jestor/churn", {"jestor_id": NOBODYS, "motivo": "não usa mais"})
    assert (answer.status_code, answer.json()) == (202, {"message": "accepted"})
    (ours,) = [webhook for webhook in deployed.kept() if webhook["body"].get("jestor_id") == NOBODYS]
    assert (ours["state"], ours["route"], ours["body"]["motivo"]) == ("queued", "churn", "não usa mais")
    assert int(time.time()) < ours["expires_at"] <= int(time.time()) + 30 * 24 * 3600
    assert deployed.hold(f"JST-{NOBODYS}") in {HOLD_REASON, None}  # none: the churn worker was faster than we


@pytest.mark.parametrize("path", ["/jestor/contract", "/jestor/churn", "/omie/not-a-token-of-ours"])
def test_who_may_not_send_is_refused_in_one_line(deployed: Any, path: str) -> None:
    answer = post(deployed, path, {"jestor_id": NOBODYS + 1}, secret="not-the-secret")
    assert (answer.status_code, answer.text) == (401, '{"message": "not authorized"}')
    assert not [webhook for webhook in deployed.kept() if webhook["body"].get("jestor_id") == NOBODYS + 1]


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
        return [one for one in deployed.kept() if one["state"] == "queued" and one["body"].get("jestor_id") == last]

    (webhook, *_) = deployed.await_that(arrived, "the webhook of an edit in Jestor")
    assert (webhook["route"], webhook["body"]["evento"]) == ("contract", "after_update")
