"""What the receiver of webhooks keeps: in memory, in moto and in the emulator, over the light client."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.receive_webhook import Hint, Known, Sender, Webhook
from billing.store.fast_aws import AwsError
from billing.store.webhooks import KEPT_SECONDS, WebhookSecretError

NOW = datetime(2026, 12, 1, 9, 0, 12, tzinfo=UTC)
CHURN = Webhook("a" * 64, "churn", (Hint("churns", "JST-12", {"contract": "JST-12", "jestor_id": 12}),), hold="JST-12")
BODY = '{"jestor_id": 12, "quem": "José"}'


def test_a_webhook_is_kept_with_its_raw_body_for_thirty_days(stores):
    assert stores.webhooks.keep(CHURN, BODY, NOW)
    assert stores.kept(CHURN.key) == {
        "webhook": CHURN.key,
        "state": "received",
        "route": "churn",
        "body": BODY,
        "received_at": "2026-12-01T09:00:12.000000+00:00",
        "expires_at": int(NOW.timestamp()) + KEPT_SECONDS,
    }


def test_one_not_yet_queued_is_still_to_be_done(stores):
    assert stores.webhooks.keep(CHURN, BODY, NOW)
    assert stores.webhooks.keep(CHURN, BODY, NOW + timedelta(seconds=2))
    stores.webhooks.queued(CHURN.key)
    assert stores.kept(CHURN.key)["state"] == "queued"
    assert not stores.webhooks.keep(CHURN, BODY, NOW + timedelta(seconds=4))


def test_one_without_hints_is_stored_and_done(stores):
    other = replace(CHURN, route="omie", hints=(), hold="", company="acme", topic="NFe.Nota")
    assert stores.webhooks.keep(other, "{}", NOW)
    assert not stores.webhooks.keep(other, "{}", NOW)
    kept = stores.kept(other.key)
    assert (kept["state"], kept["company"], kept["topic"]) == ("stored", "acme", "NFe.Nota")


def test_a_hold_put_by_the_receiver_is_the_ledgers(stores):
    stores.webhook_holds.put_hold("JST-12", "Churn avisado pelo Jestor.", NOW)
    assert stores.ledger.hold("JST-12") == "Churn avisado pelo Jestor."
    assert stores.ledger.held_many(["JST-12", "JST-13"]) == {"JST-12"}
    assert stores.ledger.lift_hold("JST-12", put_at=NOW)


def test_a_hint_comes_out_as_it_went_in(stores):
    aws = getattr(stores, "_aws", None)
    url = aws.dlq_url if aws else "dlq"
    for _ in range(2):
        stores.webhook_queues.send(url, {"contract": "JST-12", "jestor_id": 12}, "JST-12", "key.0")
    assert stores.parked() == [{"contract": "JST-12", "jestor_id": 12}]


SECRET = """{"jestor": ["new-secret-0123456789", "old-secret-0123456789"],
             "omie": {"acme": {"tokens": ["token-0123456789abc"], "app_key": "1234"}}}"""


def test_the_secret_says_who_may_send(moto_stores):
    moto_stores.put_secret("webhooks", SECRET)
    known = moto_stores.webhook_secrets.known()
    assert known == Known(
        ("new-secret-0123456789", "old-secret-0123456789"), {"acme": Sender(("token-0123456789abc",), "1234")}
    )
    assert "0123456789" not in repr(known)


def test_a_missing_secret_is_named(moto_stores):
    with pytest.raises(WebhookSecretError, match="/webhooks does not exist"):
        moto_stores.webhook_secrets.known()


def test_what_aws_refuses_is_told_by_its_code(moto_stores):
    with pytest.raises(AwsError) as caught:
        moto_stores.webhook_queues.send("https://sqs.sa-east-1.amazonaws.com/1/none.fifo", {}, "g", "d")
    assert str(caught.value) == "sqs: QueueDoesNotExist"
    with pytest.raises(AwsError) as caught:
        moto_stores.fast.call("dynamodb", "PutItem", {"TableName": "none", "Item": {"webhook": {"S": "x"}}})
    assert caught.value.code == "ResourceNotFoundException"
