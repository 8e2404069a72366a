"""A few hundred of the bad webhooks that `make fuzz` sends a hundred thousand of."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.bad_webhooks import CANARIES, bad_webhooks, complaints, omie_body
from tests.fuzz.door import APP_KEY, SECRET, Door, event


@pytest.fixture(scope="module")
def door():
    return Door()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(webhook=bad_webhooks)
def test_a_bad_webhook_is_refused_without_a_trace_of_what_it_said(door, webhook):
    assert complaints(door, webhook) == []


def test_what_is_accepted_shows_no_more_of_itself():
    door = Door()
    person = {"email": "canaria.pereira@example.com", "valor": 1500, "nome": "Canária da Silva Pereira"}
    assert door.jestor({"jestor_id": 12, **person}) == 202
    assert door.omie(omie_body(author=person, appKey=APP_KEY)) == 202
    shown = door.log.getvalue().casefold()
    assert not [canary for canary in CANARIES if canary.casefold() in shown]
    assert len(door.lines()) == 2


def test_a_door_that_let_something_in_would_be_noticed():
    door = Door(allow_static=True)
    let_in = event("churn", '{"jestor_id": 12}', {"x-webhook-secret": SECRET})
    assert len(complaints(door, let_in)) >= 2
