"""The lane of each Omie company: whose turn it is to call, the errors so far, and whether it is blocked.

The rules are the governor's, pure; here they meet the table. Every change is: read, decide, write if the
version is still the one read; whoever loses the race reads again. A write whose reply was lost and that is
made again only wastes slots or counts an error twice: slower, never faster.

What readers share is an item of its own, `<company>#readers`: their errors race with no batch, and cannot stop one.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from billing.omie import governor
from billing.omie.governor import BlockedUntil, LaneState, ReaderState, Slots
from billing.store import dynamo
from billing.store.dynamo import Item, Sleep, encode_item, patiently

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
S = TypeVar("S", LaneState, ReaderState)
RACES = 20
READERS = "#readers"
"""What is appended to a company's name in the key of its readers' item; no company's name holds a "#"."""


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


def to_readers(item: Mapping[str, Any]) -> ReaderState:
    return ReaderState(
        errors={method: tuple(map(float, times)) for method, times in item["errors"].items()},
        unknown=tuple(map(float, item["unknown"])),
    )


class LaneStore:
    """Lanes in DynamoDB: hash key `lane`, the company. Times are epoch seconds."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, *, sleep: Sleep = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._sleep = sleep

    def get(self, company: str) -> LaneState:
        return self._read(company, to_state, LaneState())[0]

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

    def readers(self, company: str) -> ReaderState:
        return self._read(company + READERS, to_readers, ReaderState())[0]

    def note_reader_error(self, company: str, method: str, now: float) -> ReaderState:
        """Count an error response to a reader. The lane is another item and stays as it is."""
        return self._change_readers(company, lambda state: governor.note_reader_error(state, method, now))

    def note_unknown(self, company: str, now: float) -> ReaderState:
        """Count a webhook's document that was looked up in Omie and is not ours."""
        return self._change_readers(company, lambda state: governor.note_unknown(state, now))

    def _change(self, company: str, decide: Callable[[LaneState], tuple[LaneState, T]]) -> T:
        return self._decide(company, to_state, LaneState(), decide)

    def _change_readers(self, company: str, change: Callable[[ReaderState], ReaderState]) -> ReaderState:
        def decide(state: ReaderState) -> tuple[ReaderState, ReaderState]:
            return (new := change(state)), new

        return self._decide(company + READERS, to_readers, ReaderState(), decide)

    def _decide(
        self, lane: str, parse: Callable[[Mapping[str, Any]], S], empty: S, decide: Callable[[S], tuple[S, T]]
    ) -> T:
        for races in range(1, RACES + 1):
            state, version = self._read(lane, parse, empty)
            new, answer = decide(state)
            if new == state or self._write(lane, new, version):
                return answer
            self._sleep(dynamo.delay(min(races, 4)))
        raise TimeoutError(f"lane {lane}: {RACES} others were faster")

    def _read(self, lane: str, parse: Callable[[Mapping[str, Any]], S], empty: S) -> tuple[S, int]:
        item = dynamo.get_item(self._dynamodb, self._table, {"lane": lane}, self._sleep)
        return (parse(item), item["version"]) if item else (empty, 0)

    def _write(self, lane: str, state: LaneState | ReaderState, version: int) -> bool:
        """Whether the item was still at `version` (0 = never written) and now is one further."""
        still_the_same = "version = :version" if version else "attribute_not_exists(lane)"
        changes: Item = {**state._asdict(), "version": version + 1}
        values = {f":new_{name}": value for name, value in changes.items()}
        if version:
            values[":version"] = version
        try:
            patiently(
                lambda: self._dynamodb.update_item(
                    TableName=self._table,
                    Key=encode_item({"lane": lane}),
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
