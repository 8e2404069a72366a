"""Credentials in Secrets Manager. Errors name the secret and what is wrong with it, never what is in it."""

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from billing.omie.client import Credentials


class SecretError(Exception):
    """A secret is missing or does not read as it should: one line, without a value."""


def omie_name(prefix: str, company: str) -> str:
    return f"{prefix}/omie/{company}"


def jestor_name(prefix: str) -> str:
    return f"{prefix}/jestor"


def read_fields(name: str, text: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The named fields of a secret that is a JSON object. Raises SecretError."""
    shape = ", ".join(f'"{wanted}": "..."' for wanted in fields)
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError:
        found = None  # the parser's own message would carry the secret
    if not isinstance(found, dict):
        raise SecretError(f"secret {name} is not a JSON object: store {{{shape}}}")
    for wanted in fields:
        if not isinstance(found.get(wanted), str) or not found[wanted].strip():
            raise SecretError(f'secret {name} has no "{wanted}": store {{{shape}}}')
    return tuple(found[wanted].strip() for wanted in fields)


class SecretStore:
    """Secrets `<prefix>/omie/<company>` {"app_key", "app_secret"} and `<prefix>/jestor` {"token"}."""

    def __init__(self, secretsmanager: "SecretsManagerClient", prefix: str) -> None:
        self._secretsmanager = secretsmanager
        self._prefix = prefix

    def omie(self, company: str) -> "Credentials":
        """A company's key to Omie. Raises SecretError."""
        from billing.omie.client import Credentials  # noqa: PLC0415 - webhooks start without httpx

        return Credentials(*self._fields(omie_name(self._prefix, company), "app_key", "app_secret"))

    def jestor(self) -> str:
        """Jestor's token. Raises SecretError."""
        (token,) = self._fields(jestor_name(self._prefix), "token")
        return token

    def _fields(self, name: str, *fields: str) -> tuple[str, ...]:
        try:
            answer = self._secretsmanager.get_secret_value(SecretId=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
                raise
            raise SecretError(f"secret {name} does not exist: create it in this account and region") from None
        return read_fields(name, answer.get("SecretString", ""), fields)
