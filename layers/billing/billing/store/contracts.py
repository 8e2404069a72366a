"""What is remembered of each living contract: how it was last agreed, what it waits for, what is still to be charged.

One item a contract, replaced whole, each time only if nobody else has replaced it meanwhile. None of it is the truth:
Jestor and Omie are, and a lost item costs a reading or two. The one exception is `pending`, money that no bill has
carried yet; it is in the same item so that one write keeps both.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from billing.domain.prorate import Pending
from billing.store import dynamo
from billing.store.dynamo import Item, Sleep, encode_item, patiently

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Place:
    """The contract in one company's Omie.

    `stopped`: it was last agreed to be stopped, so it may be started again when Jestor says so. `digest`: of both sides
    when they were last compared, "" when something was done since. `problem`: what a person must put right, Portuguese.
    """

    nCodCtr: int
    stopped: bool = False
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Remembered:
    """`version` 0: never written.

    row: digest of the Jestor row when it was last looked at; "" when it never was.
    amount: centavos of our own items when it was last agreed; 0 when it never was.
    customer: what Omie was last told of the customer's own data (`domain.register.Told`, digests and field names).
    places: company -> where the contract is in its Omie.
    waits: what is still to come: an alteration ("run", "date"), or telling what was done ("told"); "" for nothing.
    doubt_until: epoch seconds before which nobody may write to the contract: a call may still be under way.
    change: the change under way or last made, as {"old", "new", "day", "number", "done"}; the amounts in centavos.
    pending: what changes in mid-cycle left to be charged or given back.
    told: what was last written to the Jestor record.
    link: what became of a person's last order to link it, as {"order", "outcome", "text", "until"} (agree.LinkOrder).
    """

    contract: str
    version: int = 0
    row: str = ""
    amount: int = 0
    customer: str = ""
    places: Mapping[str, Place] = field(default_factory=dict)
    waits: str = ""
    doubt_until: float = 0.0
    change: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[Pending, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    link: Mapping[str, Any] = field(default_factory=dict)

    def place(self, company: str) -> Place | None:
        return self.places.get(company)

    def with_place(self, company: str, place: Place) -> "Remembered":
        return replace(self, places={**self.places, company: place})


def to_item(remembered: Remembered) -> Item:
    """All of it but the version."""
    plain = {known.name: getattr(remembered, known.name) for known in fields(Remembered) if known.name != "version"}
    places = {
        company: {known.name: getattr(place, known.name) for known in fields(Place)}
        for company, place in remembered.places.items()
    }
    return plain | {"places": places, "pending": [one.to_dict() for one in remembered.pending]}


def to_remembered(item: Mapping[str, Any]) -> Remembered:
    known = {name.name for name in fields(Remembered)}
    plain = {name: value for name, value in item.items() if name in known}
    return Remembered(
        **plain
        | {
            "doubt_until": float(item.get("doubt_until", 0.0)),
            "places": {company: Place(**place) for company, place in item.get("places", {}).items()},
            "pending": tuple(map(Pending.from_dict, item.get("pending", ()))),
        }
    )


class ContractStore:
    """In DynamoDB: hash key `contract`."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, *, sleep: Sleep = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._sleep = sleep

    def get(self, contract: str) -> Remembered:
        """What is remembered; of a contract never seen, nothing (version 0)."""
        item = dynamo.get_item(self._dynamodb, self._table, {"contract": contract}, self._sleep)
        return to_remembered(item) if item else Remembered(contract)

    def get_many(self, contracts: Iterable[str]) -> dict[str, Remembered]:
        """Those that were ever seen."""
        items = dynamo.batch_get(self._dynamodb, self._table, "contract", contracts, self._sleep)
        return {found.contract: found for found in map(to_remembered, items)}

    def put(self, remembered: Remembered) -> Remembered | None:
        """Replace the item that `remembered` was read from; the answer is what the next `put` may be made from.

        None: somebody else replaced it meanwhile, and nothing was written.
        """
        kept = replace(remembered, version=remembered.version + 1)
        condition = "version = :version" if remembered.version else "attribute_not_exists(contract)"
        values = {":version": remembered.version} if remembered.version else None
        arguments: dict[str, Any] = {"ExpressionAttributeValues": encode_item(values)} if values else {}
        try:
            patiently(
                lambda: self._dynamodb.put_item(
                    TableName=self._table,
                    Item=encode_item(to_item(kept) | {"version": kept.version}),
                    ConditionExpression=condition,
                    **arguments,
                ),
                self._sleep,
            )
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise
            # The reply to our own write may have been lost and the write tried again.
            return kept if self.get(remembered.contract) == kept else None
        return kept
