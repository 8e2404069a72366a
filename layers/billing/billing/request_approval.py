"""A plan outside its guardrail waits for a person: the task token is kept in the run until the command answers it."""

from dataclasses import dataclass
from typing import Any, Protocol

from billing.clock import Clock
from billing.store.ports import Runs


class Notifier(Protocol):
    def send(self, subject: str, text: str) -> None: ...


@dataclass(frozen=True)
class ApprovalDeps:
    runs: Runs
    notifier: Notifier
    clock: Clock


def request_approval(token: str, plan: dict[str, Any], deps: ApprovalDeps) -> dict[str, Any]:
    """Stores the token and tells people why the run waits and how to answer."""
    reasons: list[str] = plan["reasons"]
    deps.runs.put_approval(
        plan["run"],
        plan["company"],
        token=token,
        plan_hash=plan["plan"]["hash"],
        reasons=tuple(reasons),
        now=deps.clock.now(),
    )
    answer = f"--month {plan['month']} --company {plan['company']}"
    deps.notifier.send(
        f"Faturamento {plan['month']} de {plan['company']} aguarda aprovação",
        "\n".join(
            [
                *reasons,
                "",
                f"Aprovar:  billing-ops approve {answer}",
                f"Rejeitar: billing-ops reject {answer}",
            ]
        ),
    )
    return {}
