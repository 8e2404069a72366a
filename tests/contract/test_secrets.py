import json
import traceback

import pytest

from billing.store.secrets import SecretError


def test_the_keys_of_a_company_and_jestors_token_are_read(stores):
    stores.put_secret("omie/acme", json.dumps({"app_key": "k", "app_secret": " s\n"}))
    stores.put_secret("jestor", json.dumps({"token": "t"}))
    credentials = stores.secrets.omie("acme")
    assert (credentials.app_key, credentials.app_secret) == ("k", "s")
    assert stores.secrets.jestor() == "t"


def test_a_missing_secret_is_named(stores):
    with pytest.raises(SecretError, match="omie/nimbus does not exist"):
        stores.secrets.omie("nimbus")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("CANARY", "not a JSON object"),
        ('["CANARY"]', "not a JSON object"),
        ('{"app_key": "CANARY"}', 'no "app_secret"'),
        ('{"app_key": "CANARY", "app_secret": " "}', 'no "app_secret"'),
        ('{"app_key": 1, "app_secret": "CANARY"}', 'no "app_key"'),
    ],
)
def test_a_malformed_secret_is_one_clear_line_without_its_value(stores, text, problem):
    stores.put_secret("omie/acme", text)
    with pytest.raises(SecretError, match=problem) as error:
        stores.secrets.omie("acme")
    assert "\n" not in str(error.value)
    shown = "".join(traceback.format_exception(error.value, chain=True, limit=0))
    assert "CANARY" not in shown
    assert error.value.__context__ is None
