"""Whether an execution that was asked for was taken up, or which companies another one already has."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ops.follow import POLL_SECONDS
from ops.verdict import refusals

if TYPE_CHECKING:
    from ops.desk import Desk
    from ops.stack import Execution

PATIENCE: Final = timedelta(seconds=30)
"""OpenRun answers in a few seconds; it is not worth a longer silence."""


def refused(here: Desk, started: Execution) -> str:
    """Why nothing, or not everything, was begun: one sentence a company. Empty once all of it was, or nobody can tell.

    Waits until the first step of the execution has answered, at most `PATIENCE`.
    """
    until = here.now() + PATIENCE
    while True:
        opened = here.stack.opening(started.arn)
        if opened:
            return refusals(opened)
        if here.now() >= until or here.stack.execution(started.arn).ended:
            return ""
        here.tools.clock.sleep(POLL_SECONDS)
