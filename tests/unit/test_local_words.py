"""What `make up` says of webhooks that nobody sends, and the settings that go with each kind of Omie."""

import pytest

from billing.settings import load_settings
from ops.local import LocalError, demo_settings, unconnected, up
from simulators.omie.faults import read_faults
from simulators.omie.profiles import PROFILES
from simulators.omie.switches import Switches

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


def test_an_omie_as_live_accounts_show_it_keeps_to_what_the_settings_assume_of_it():
    switches = Switches()
    switches.update(PROFILES["live"].switches)
    assert len(read_faults(PROFILES["live"].faults)) == 2
    for company in load_settings(demo_settings("live")).companies.values():
        assert switches.list_lag <= company.list_lag_seconds == 120
        assert switches.read_lag <= company.read_lag_seconds == 60
    for company in load_settings(demo_settings()).companies.values():
        assert company.list_lag_seconds == 10


def test_a_profile_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(LocalError, match="No profile 'real' of the Omie simulator; there are: demo, live"):
        up(profile="real")
