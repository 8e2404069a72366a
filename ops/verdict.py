"""How an execution ended, in one line; pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.stack import Execution


class Verdict(NamedTuple):
    """`balanced`: every planned contract is billed or explained (of a preview: the plan is complete).

    `look`: it balances, and a person must look at something all the same: the plan will wait for approval, an order
    was cancelled in Omie, a difference has no cause, people billed more than the settings expect.
    """

    balanced: bool
    line: str
    look: bool = False


def verdict(execution: Execution, closing: Mapping[str, Any]) -> Verdict:
    """`closing`: what CloseRun answered, empty when it never came to that."""
    month = closing.get("month") or execution.input.get("month") or ""
    preview = bool(execution.input.get("preview"))
    said = " ".join(str(closing.get("explanation") or "").split())
    if execution.status == "SUCCEEDED":
        if closing.get("anything_to_do") is False:
            return Verdict(balanced=False, line=f"Nada foi iniciado para {month}. {refusals(closing)}".strip())
        if closing.get("balanced") is True:
            done = "Prévia pronta; nada foi faturado." if preview else "Fechado: tudo faturado ou explicado."
            return Verdict(balanced=True, line=f"{month}: {said or done}", look=bool(closing.get("attention")))
        why = said or "a execução terminou sem dizer se as contas fecham"
        return Verdict(balanced=False, line=f"{month} NÃO fechou: {why}")
    return Verdict(balanced=False, line=f"{month} NÃO fechou: {_failure(execution, said)}")


def refusals(closing: Mapping[str, Any]) -> str:
    """Why companies were left out: "acme: já há uma execução em andamento"."""
    return " ".join(f"{entry['company']}: {entry['why']}" for entry in closing.get("refused") or ())


def _failure(execution: Execution, said: str) -> str:
    if execution.error == "Unbalanced":
        return said or _cause(execution.cause) or "há contratos sem explicação; veja o relatório"
    if execution.status == "TIMED_OUT":
        return "a execução passou do tempo máximo e foi encerrada; repita, o que já foi faturado não se repete"
    if execution.status == "ABORTED":
        who = f" ({_cause(execution.cause)})" if execution.cause else ""
        return f"a execução foi interrompida por uma pessoa{who}; repita, o que já foi faturado não se repete"
    return _cause(execution.cause) or execution.error or "a execução falhou sem dizer por quê"


def _cause(cause: str) -> str:
    """A Lambda's failure arrives as JSON with the message inside."""
    try:
        told = json.loads(cause)
    except ValueError:
        told = None
    message = told.get("errorMessage") if isinstance(told, dict) else cause
    return " ".join(str(message or cause).split())[:500]
