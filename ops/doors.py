"""The ways into Jestor and Omie for commands that read there themselves, with the stack's own secrets.

Of Omie they only read, and as readers: a question that anybody asked within the minute waits for its turn, two errors
of a method in ten minutes stop every reader, and nothing a person types can stop a lane. What a command wants written
goes into the company's lane as an order. The one exception is the probe of an account that is marked as a test one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from billing.jestor.client import JestorClient
from billing.omie.client import Credentials, OmieClient, reader_permit, shared_turns
from billing.omie.governor import ReadGate
from billing.omie.replies import BLOCK_SECONDS, Blocked
from ops.errors import OperatorError
from ops.probe.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from billing.omie.governor import BlockedUntil
    from billing.omie.replies import OmieError
    from ops.desk import Desk
    from ops.probe.client import ProbeClient

READS_PER_MINUTE: Final = 200
"""Of one method: room for a run that reads at the same time with the same key."""
ATTEMPTS: Final = 2
"""Of a read, for a person who waits: one more after no answer; an error that counts is never repeated."""


def jestor_of(here: Desk) -> JestorClient:
    stack = here.stack
    (token,) = stack.read_secret(stack.jestor_secret, ("token",))
    return JestorClient(parameter(here, "JestorBaseUrl"), token, http=here.tools.http(), clock=here.tools.clock)


def omie_of(
    here: Desk,
    company: str,
    same_question_seconds: float,
    *,
    waiting: Callable[[float], None] | None = None,
    failed: Callable[[OmieError], None] | None = None,
) -> OmieClient:
    """A reader: paced, and never the question that somebody asked within the last `same_question_seconds`.

    `waiting`: told how many seconds, before a question waits for its turn. `failed`: told of each answer that is an
    error, and of each that did not come.
    """
    stack, clock = here.stack, here.tools.clock
    keys = stack.read_secret(stack.omie_secret(company), ("app_key", "app_secret"))
    base_url = parameter(here, "OmieBaseUrl")
    turn = turns_at(here, company, same_question_seconds, waiting)
    permit = reader_permit(lambda: stack.readers(company), clock)
    gate = ReadGate(clock, READS_PER_MINUTE, turn, permit=permit)
    return OmieClient(
        Credentials(*keys),
        base_url=base_url,
        http=here.tools.http(),
        clock=clock,
        gate=gate,
        on_error=_counting(here, company, failed),
        read_attempts=ATTEMPTS,
        repeats_errors=False,
    )


def _counting(
    here: Desk, company: str, failed: Callable[[OmieError], None] | None = None
) -> Callable[[str, OmieError], None]:
    """Notes each error among the readers', and a block of the key in the lane."""

    def count(method: str, error: OmieError) -> None:
        if error.counts_toward_block:
            here.stack.note_omie_error(company, method, here.now())
        elif isinstance(error, Blocked):
            until = here.now() + timedelta(seconds=error.retry_after or BLOCK_SECONDS)
            here.stack.block_lane(company, until, error.text)
        if failed is not None:
            failed(error)

    return count


def probe_caller(here: Desk, company: str, same_question_seconds: float) -> Caller:
    """The probe's way to a test account, the only one of a command that writes in Omie.

    Its own budget of errors is narrower than the lane's; they are counted among the readers' all the same.
    """
    stack, clock = here.stack, here.tools.clock
    keys = Credentials(*stack.read_secret(stack.omie_secret(company), ("app_key", "app_secret")))
    base_url, gate = parameter(here, "OmieBaseUrl"), ReadGate(clock, READS_PER_MINUTE)

    def make(kind: type[ProbeClient], http: Any) -> ProbeClient:
        return kind(
            keys,
            base_url=base_url,
            http=http,
            clock=clock,
            gate=gate,
            on_error=_counting(here, company),
            read_attempts=1,
        )

    return Caller(make, here.tools.http(), clock, turns_at(here, company, same_question_seconds))


def turns_at(
    here: Desk, company: str, same_question_seconds: float, waiting: Callable[[float], None] | None = None
) -> Callable[[str], float]:
    """Reserves a question's moment in the company's lane; the seconds until then, of which `waiting` is told first."""

    def ask(question: str) -> float | BlockedUntil:
        return here.stack.ask_omie(company, question, here.now(), same_question_seconds)

    turn = shared_turns(ask, here.tools.clock)

    def take_turn(question: str) -> float:
        seconds = turn(question)
        if waiting is not None and seconds > 0:
            waiting(seconds)
        return seconds

    return take_turn


def tell_waiting(here: Desk, seconds: float) -> None:
    """Tells a person why nothing happens for a minute."""
    if here.tools.at_a_terminal():
        here.note(f"O Omie não aceita a mesma pergunta duas vezes por minuto: espero {seconds:.0f} s.")


def parameter(here: Desk, name: str) -> str:
    try:
        return here.stack.parameters[name]
    except KeyError:
        raise OperatorError(
            f"A pilha {here.stack.name} não tem o parâmetro {name}. Publique-a de novo (make deploy)."
        ) from None
