"""A plan outside its guardrail waits for a person: the task token is kept in the run until the command answers it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from billing.clock import Clock
from billing.store.ports import Runs

logger = logging.getLogger(__name__)


class Notifier(Protocol):
    def send(self, subject: str, text: str) -> None: ...


@dataclass(frozen=True)
class ApprovalDeps:
    """`page`: writes the page of the plan that waits."""

    runs: Runs
    notifier: Notifier
    clock: Clock
    page: Callable[[dict[str, Any]], object] = lambda _: None


def request_approval(token: str, plan: dict[str, Any], deps: ApprovalDeps) -> dict[str, Any]:
    """Stores the token, writes the plan's page and tells people why the run waits and how to answer.

    A page that cannot be written keeps nobody from answering: the message then does not speak of it.
    """
    reasons: list[str] = plan["reasons"]
    deps.runs.put_approval(
        plan["run"],
        plan["company"],
        token=token,
        plan_hash=plan["plan"]["hash"],
        reasons=tuple(reasons),
        now=deps.clock.now(),
    )
    try:
        deps.page(plan)
        see = [f"Ver o plano: billing-ops report --month {plan['month']} --open"]
    except Exception as error:  # noqa: BLE001 - whatever it is, the plan can be approved without its page
        logger.warning("the plan's page was not written: %s", type(error).__name__)
        see = []
    answer = f"--month {plan['month']} --company {plan['company']}"
    deps.notifier.send(
        f"Faturamento {plan['month']} de {plan['company']} aguarda aprovação",
        "\n".join(
            [
                *reasons,
                "",
                *see,
                f"Aprovar:  billing-ops approve {answer}",
                f"Rejeitar: billing-ops reject {answer}",
            ]
        ),
    )
    return {}
