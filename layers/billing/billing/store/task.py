"""Answers to Step Functions' waiting tasks. Somebody may have stopped waiting: that is told, not raised."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from billing.domain.text import writable

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

NOBODY_WAITS = frozenset({"InvalidToken", "TaskDoesNotExist", "TaskTimedOut"})
ERROR_LENGTH = 256  # Step Functions' own limits, in characters
CAUSE_LENGTH = 32_768


class TaskCallbacks:
    """Each method answers whether somebody was still waiting for the token."""

    def __init__(self, sfn: "SFNClient") -> None:
        self._sfn = sfn

    def success(self, token: str, output: Mapping[str, Any]) -> bool:
        text = writable(json.dumps(output, ensure_ascii=False))
        return _told(lambda: self._sfn.send_task_success(taskToken=token, output=text))

    def failure(self, token: str, error: str, cause: str) -> bool:
        """`error` is the class a Retry or Catch of the state machine names; `cause` is for people."""
        return _told(
            lambda: self._sfn.send_task_failure(
                taskToken=token, error=error[:ERROR_LENGTH], cause=writable(cause)[:CAUSE_LENGTH]
            )
        )

    def heartbeat(self, token: str) -> bool:
        return _told(lambda: self._sfn.send_task_heartbeat(taskToken=token))


def _told(send: Callable[[], object]) -> bool:
    try:
        send()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in NOBODY_WAITS:
            raise
        return False
    return True
