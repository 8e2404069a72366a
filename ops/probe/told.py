"""An answer, and when Omie's words refuse what was asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from billing.omie.replies import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.probe.caller import Reply

NOT_REACHED: Final = "a sonda não chegou a esta pergunta"
PASSING: Final = frozenset(
    {"being_processed", "redundant", "broken_response", "proto_byebye", "method_busy", "too_many_requests"}
)
"""Rules of answers that would be others a moment later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """value: of the switch, or the fact; None when it could not be told. why: in Portuguese, what it rests on."""

    value: str | float | int | None
    why: str

    @property
    def told(self) -> bool:
        return self.value is not None


def could_not(why: str) -> Answer:
    return Answer(None, why)


def refusal(replies: Sequence[Reply], stem: str, *, control: Reply | None = None) -> str | None:
    """Omie's words when they refuse what was asked; None when they may mean anything else.

    They do when they speak of the matter (`stem`); or when two calls were answered with the same unknown words, and
    afterwards the same method did its work elsewhere (`control`).
    """
    refused = [reply for reply in replies if reply.refused and not _passing(reply)]
    for reply in refused:
        if re.search(stem, fold(reply.words)):
            return reply.words
    words = [re.sub(r"\d+", "#", fold(reply.words)) for reply in refused]
    twice = next((word for word in words if word and words.count(word) > 1), None)
    if twice is None or control is None or not control.done:
        return None
    return refused[words.index(twice)].words


def _passing(reply: Reply) -> bool:
    """Whether it speaks of the moment, and not of what was asked."""
    return reply.error is not None and (
        reply.error.rule in PASSING
        or re.search(r"momento|instante|novamente|mais tarde", fold(reply.words)) is not None
    )


def unclear(replies: Sequence[Reply]) -> Answer:
    words = next((reply.words for reply in replies if reply.refused and reply.words), "")
    if words:
        return could_not(f'resposta desconhecida do Omie: "{words[:120]}"')
    return could_not("o Omie não respondeu" if replies else NOT_REACHED)
