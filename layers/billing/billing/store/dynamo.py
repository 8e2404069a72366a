"""What the DynamoDB stores share: values in and out, batch reads, and patience.

`patiently` repeats a call whose failure passes by itself: throttling, a transaction in conflict, a lost
connection. Repeating a write is safe here because every write is conditional, and whoever then meets the
mark of its own first try (whose reply was lost) recognises it: see `ledger`.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from botocore import exceptions as boto

from billing.domain.text import encodable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
Sleep = Callable[[float], None]
Item = dict[str, Any]

TRIES = 7
FIRST_DELAY = 0.05  # seconds; doubles, so seven tries span about three seconds
KEYS_PER_READ = 100  # BatchGetItem's own limit

PASSING_CODES = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
PASSING_REASONS = frozenset(
    {
        "None",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)


def cancellation_reasons(error: boto.ClientError) -> list[str]:
    """One code per item of a cancelled TransactWriteItems, in the items' order; "None" = was fine."""
    reasons: Sequence[Mapping[str, Any]] = error.response.get("CancellationReasons", ())
    return [str(reason.get("Code", "None")) for reason in reasons]


def error_code(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def condition_failed(error: boto.ClientError) -> bool:
    return error_code(error) == "ConditionalCheckFailedException"


def passes(error: Exception) -> bool:
    """Does this failure go away by itself? (A refused condition does not.)"""
    if not isinstance(error, boto.ClientError):
        return isinstance(error, boto.HTTPClientError | boto.ConnectionError)
    if error_code(error) == "TransactionCanceledException":
        reasons = cancellation_reasons(error)
        return bool(reasons) and PASSING_REASONS.issuperset(reasons)
    return error_code(error) in PASSING_CODES


def delay(tries: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait after `tries` failures: doubling, and spread over the upper half."""
    return FIRST_DELAY * 2.0 ** (tries - 1) * (1 + jitter()) / 2


def patiently(call: Callable[[], T], sleep: Sleep) -> T:
    """The call's answer; a passing failure is tried again, at most `TRIES` times in all."""
    for tries in range(1, TRIES):
        try:
            return call()
        except (boto.ClientError, boto.HTTPClientError, boto.ConnectionError) as error:
            if not passes(error):
                raise
        sleep(delay(tries))
    return call()


def encode(value: Any) -> dict[str, Any]:
    """A plain value as DynamoDB wants it. int and float keep their exact digits (no Decimal in between)."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": encodable(value)}
        case int() | float():
            return {"N": repr(value)}
        case Mapping():
            return {"M": {name: encode(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [encode(inner) for inner in value]}
    raise TypeError(f"DynamoDB value of type {type(value).__name__}")


def decode(value: Mapping[str, Any]) -> Any:
    ((kind, raw),) = value.items()
    match kind:
        case "S" | "BOOL":
            return raw
        case "N":
            return int(raw) if raw.lstrip("-").isdigit() else float(raw)
        case "NULL":
            return None
        case "M":
            return decode_item(raw)
        case "L":
            return [decode(inner) for inner in raw]
    raise TypeError(f"DynamoDB value of kind {kind}")


def encode_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: encode(value) for name, value in item.items()}


def decode_item(item: Mapping[str, Any]) -> Item:
    return {name: decode(value) for name, value in item.items()}


def get_item(dynamodb: "DynamoDBClient", table: str, key: Item, sleep: Sleep) -> Item | None:
    """A consistent read of one item."""
    answer = patiently(lambda: dynamodb.get_item(TableName=table, Key=encode_item(key), ConsistentRead=True), sleep)
    return decode_item(answer["Item"]) if "Item" in answer else None


def batch_get(dynamodb: "DynamoDBClient", table: str, name: str, keys: Iterable[str], sleep: Sleep) -> Iterator[Item]:
    """The items that exist among `keys` (of the hash key `name`), in no order, read consistently.

    Streams: a hundred keys are taken, read and handed on before the next hundred. Keys that DynamoDB leaves
    unprocessed are asked for again; only `TRIES` rounds in a row without one answer are an error.
    """
    remaining = iter(keys)
    while batch := list(dict.fromkeys(islice(remaining, KEYS_PER_READ))):
        wanted: list[dict[str, Any]] = [{name: encode(key)} for key in batch]
        fruitless = 0
        while wanted:
            asked = wanted
            answer = patiently(
                lambda asked=asked: dynamodb.batch_get_item(  # type: ignore[misc]
                    RequestItems={table: {"Keys": asked, "ConsistentRead": True}}
                ),
                sleep,
            )
            items = answer["Responses"].get(table, [])
            yield from map(decode_item, items)
            unprocessed = answer.get("UnprocessedKeys", {}).get(table)
            wanted = [dict(key) for key in unprocessed["Keys"]] if unprocessed else []
            fruitless = 0 if items else fruitless + 1
            if wanted and fruitless == TRIES:
                raise TimeoutError(f"DynamoDB answers none of {len(wanted)} keys of {table}")
            if wanted:
                sleep(delay(fruitless + 1))
