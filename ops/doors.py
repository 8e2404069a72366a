"""The ways into Jestor and Omie for commands that read or write there themselves, with the stack's own secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from billing.jestor.client import JestorClient
from billing.omie.client import Credentials, OmieClient, shared_turns
from billing.omie.governor import ReadGate
from ops.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from billing.omie.governor import BlockedUntil
    from ops.desk import Desk

READS_PER_MINUTE: Final = 200
"""Of one method: room for a run that reads at the same time with the same key."""


def jestor_of(here: Desk) -> JestorClient:
    stack = here.stack
    (token,) = stack.read_secret(stack.jestor_secret, ("token",))
    return JestorClient(parameter(here, "JestorBaseUrl"), token, http=here.tools.http(), clock=here.tools.clock)


def omie_of(
    here: Desk, company: str, same_question_seconds: float, *, waiting: Callable[[float], None] | None = None
) -> OmieClient:
    """For bulk reads: paced, and never the question that somebody asked within the last `same_question_seconds`.

    `waiting`: told how many seconds, before a question waits for its turn.
    """
    stack, clock = here.stack, here.tools.clock

    def ask(question: str) -> float | BlockedUntil:
        return stack.ask_omie(company, question, here.now(), same_question_seconds)

    keys = stack.read_secret(stack.omie_secret(company), ("app_key", "app_secret"))
    base_url = parameter(here, "OmieBaseUrl")
    turn = shared_turns(ask, clock)

    def take_turn(question: str) -> float:
        seconds = turn(question)
        if waiting is not None and seconds > 0:
            waiting(seconds)
        return seconds

    gate = ReadGate(clock, READS_PER_MINUTE, take_turn)
    return OmieClient(Credentials(*keys), base_url=base_url, http=here.tools.http(), clock=clock, gate=gate)


def parameter(here: Desk, name: str) -> str:
    try:
        return here.stack.parameters[name]
    except KeyError:
        raise OperatorError(
            f"A pilha {here.stack.name} não tem o parâmetro {name}. Publique-a de novo (make deploy)."
        ) from None
