"""The lane of each Omie company: whose turn it is to call, the errors so far, and whether it is blocked.

The rules are the governor's, pure; here they meet the table. Every change is: read, decide, write if the
version is still the one read; whoever loses the race reads again. A write whose reply was lost and that is
made again only wastes slots or counts an error twice: slower, never faster.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from billing.omie import governor
from billing.omie.governor import BlockedUntil, LaneState, Slots
from billing.store import dynamo
from billing.store.dynamo import Item, Sleep, encode_item, patiently

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
RACES = 20


def take_slots(state: LaneState, n: int, now: float, interval: float) -> tuple[LaneState, Slots | BlockedUntil]:
    """The next slots; in a blocked lane none, and the state is left alone."""
    if governor.blocked(state, now):
        return state, BlockedUntil(state.blocked_until, state.blocked_reason)
    return governor.reserve(state, now, n, interval)


def take_turn(state: LaneState, question: str, now: float, window: float) -> tuple[LaneState, float | BlockedUntil]:
    """The seconds until the question's own moment; in a lane that is blocked for its method there is none."""
    if governor.may_not_ask(state, question.partition(" ")[0], now):
        return state, BlockedUntil(state.blocked_until, state.blocked_reason)
    return governor.ask(state, question, now, window)


def to_state(item: Mapping[str, Any]) -> LaneState:
    return LaneState(
        next_free=float(item["next_free"]),
        blocked_until=float(item["blocked_until"]),
        blocked_reason=item["blocked_reason"],
        errors={method: tuple(map(float, times)) for method, times in item["errors"].items()},
        asked={question: float(at) for question, at in item.get("asked", {}).items()},
    )


class LaneStore:
    """Lanes in DynamoDB: hash key `lane`, the company. Times are epoch seconds."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, *, sleep: Sleep = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._sleep = sleep

    def get(self, company: str) -> LaneState:
        return self._read(company)[0]

    def reserve(self, company: str, n: int, now: float, interval: float) -> Slots | BlockedUntil:
        """`n` slots nobody else gets, for one write; while the lane is blocked, none and no write."""
        return self._change(company, lambda state: take_slots(state, n, now, interval))

    def block(self, company: str, until: float, reason: str) -> LaneState:
        """Stop the lane until then; a longer block already standing stays."""

        def blocked(state: LaneState) -> tuple[LaneState, LaneState]:
            return (new := governor.note_block(state, until, reason)), new

        return self._change(company, blocked)

    def note_error(self, company: str, method: str, now: float) -> LaneState:
        """Count an error response of Omie's; the answer may be a lane that has just stopped itself."""

        def noted(state: LaneState) -> tuple[LaneState, LaneState]:
            return (new := governor.note_error(state, method, now)), new

        return self._change(company, noted)

    def ask(self, company: str, question: str, now: float, window: float) -> float | BlockedUntil:
        """Seconds to wait before this read may be made; the moment is then ours."""
        return self._change(company, lambda state: take_turn(state, question, now, window))

    def _change(self, company: str, decide: Callable[[LaneState], tuple[LaneState, T]]) -> T:
        for races in range(1, RACES + 1):
            state, version = self._read(company)
            new, answer = decide(state)
            if new == state or self._write(company, new, version):
                return answer
            self._sleep(dynamo.delay(min(races, 4)))
        raise TimeoutError(f"lane {company}: {RACES} others were faster")

    def _read(self, company: str) -> tuple[LaneState, int]:
        item = dynamo.get_item(self._dynamodb, self._table, {"lane": company}, self._sleep)
        return (to_state(item), item["version"]) if item else (LaneState(), 0)

    def _write(self, company: str, state: LaneState, version: int) -> bool:
        """Whether the lane was still at `version` (0 = never written) and now is one further."""
        still_the_same = "version = :version" if version else "attribute_not_exists(lane)"
        changes: Item = {**state._asdict(), "version": version + 1}
        values = {f":new_{name}": value for name, value in changes.items()}
        if version:
            values[":version"] = version
        try:
            patiently(
                lambda: self._dynamodb.update_item(
                    TableName=self._table,
                    Key=encode_item({"lane": company}),
                    UpdateExpression="SET " + ", ".join(f"#{name} = :new_{name}" for name in changes),
                    ConditionExpression=still_the_same,
                    ExpressionAttributeNames={f"#{name}": name for name in changes},
                    ExpressionAttributeValues=encode_item(values),
                ),
                self._sleep,
            )
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise
            return False
        return True
