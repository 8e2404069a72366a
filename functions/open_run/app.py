"""First step of the run: names it, and says which companies it is for."""

from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.open_run import RunRequest, open_run


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    answer = open_run(RunRequest.from_event(event), bootstrap.open_run())
    tell("run opened", answer)
    return answer
