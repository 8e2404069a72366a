"""The ways into Jestor and Omie for commands that read or write there themselves, with the stack's own secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from billing.jestor.client import JestorClient
from billing.omie.client import Credentials, OmieClient, shared_turns
from billing.omie.governor import ReadGate
from ops.errors import OperatorError

if TYPE_CHECKING:
    from billing.omie.governor import BlockedUntil
    from ops.desk import Desk

READS_PER_MINUTE: Final = 200
"""Of one method: room for a run that reads at the same time with the same key."""


def jestor_of(here: Desk) -> JestorClient:
    stack = here.stack
    (token,) = stack.read_secret(stack.jestor_secret, ("token",))
    return JestorClient(_parameter(here, "JestorBaseUrl"), token, http=here.tools.http(), clock=here.tools.clock)


def omie_of(here: Desk, company: str, same_question_seconds: float) -> OmieClient:
    """For bulk reads: paced, and never the question that somebody asked within the last `same_question_seconds`."""
    stack, clock = here.stack, here.tools.clock

    def ask(question: str) -> float | BlockedUntil:
        return stack.ask_omie(company, question, here.now(), same_question_seconds)

    keys = stack.read_secret(stack.omie_secret(company), ("app_key", "app_secret"))
    base_url = _parameter(here, "OmieBaseUrl")
    gate = ReadGate(clock, READS_PER_MINUTE, shared_turns(ask, clock))
    return OmieClient(Credentials(*keys), base_url=base_url, http=here.tools.http(), clock=clock, gate=gate)


def _parameter(here: Desk, name: str) -> str:
    try:
        return here.stack.parameters[name]
    except KeyError:
        raise OperatorError(
            f"A pilha {here.stack.name} não tem o parâmetro {name}. Publique-a de novo (make deploy)."
        ) from None
