"""Behind `billing-ops dlq` and `resolve`: lists what waits for a person, and does with it only what is safe."""

from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.redrive import redrive


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    deps = bootstrap.redrive()
    deadline = deps.clock.now().timestamp() + context.get_remaining_time_in_millis() / 1000
    answer = redrive(event, deps, deadline=deadline)
    tell(f"redrive {answer['action']}", answer["counts"])
    return answer
