"""What `make up` says of webhooks that nobody sends."""

from ops.local import unconnected

STATE = {
    "addresses": {"webhooks": "http://127.0.0.1:4566/v1/webhooks"},
    "outputs": {"SecretsPrefix": "billing-ops"},
    "simulators": {"omie": "http://127.0.0.1:1", "jestor": "http://127.0.0.1:2"},
}


def test_with_our_simulators_there_is_nothing_to_say():
    assert unconnected(STATE) == []


def test_another_server_is_named_with_what_to_do():
    text = "\n".join(unconnected(STATE | {"simulators": {"jestor": "x"}}))
    assert "No webhooks from omie: OMIE_BASE_URL is another server, which was not told to send any." in text
    assert "http://127.0.0.1:4566/v1/webhooks/omie/TOKEN" in text
    assert "JESTOR_BASE_URL" not in text
    both = "\n".join(unconnected(STATE | {"simulators": {}}))
    assert "JESTOR_BASE_URL" in both
    assert "/webhooks/jestor/contract and http://127.0.0.1:4566/v1/webhooks/jestor/churn" in both
    assert "billing-ops sweep" in both


def test_switched_off_is_said_too():
    lines = unconnected(STATE, webhooks=False)
    assert [line for line in lines if "--no-webhooks" in line] == [
        "No webhooks from jestor: started with --no-webhooks.",
        "No webhooks from omie: started with --no-webhooks.",
    ]
