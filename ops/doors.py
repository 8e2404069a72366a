"""The ways into Jestor and Omie for commands that read or write there themselves, with the stack's own secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.jestor.client import JestorClient
from billing.omie.client import Credentials, OmieClient
from ops.errors import OperatorError

if TYPE_CHECKING:
    from ops.desk import Desk


def jestor_of(here: Desk) -> JestorClient:
    stack = here.stack
    (token,) = stack.read_secret(stack.jestor_secret, ("token",))
    return JestorClient(_parameter(here, "JestorBaseUrl"), token, http=here.tools.http(), clock=here.tools.clock)


def omie_of(here: Desk, company: str) -> OmieClient:
    stack = here.stack
    keys = stack.read_secret(stack.omie_secret(company), ("app_key", "app_secret"))
    base_url = _parameter(here, "OmieBaseUrl")
    return OmieClient(Credentials(*keys), base_url=base_url, http=here.tools.http(), clock=here.tools.clock)


def _parameter(here: Desk, name: str) -> str:
    try:
        return here.stack.parameters[name]
    except KeyError:
        raise OperatorError(
            f"A pilha {here.stack.name} não tem o parâmetro {name}. Publique-a de novo (make deploy)."
        ) from None
