"""What was delivered of each invoice, so that the customer is written to once.

One item per document (company and Omie order). Whoever works on it holds it for a while:

    holder A            documents            Jestor               holder B
    take(until 12:02) -> held by A                                take -> None: comes again later
    compares the record, writes it -------->  the automation runs
       x killed here                                              take after 12:02 -> what A found it as
                                                                  compares the record: it shows the document, no write
    put -> what was written; free again
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from billing.store import dynamo
from billing.store.dynamo import Item, Sleep, decode_item, encode_item, patiently

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class HoldLost(RuntimeError):  # noqa: N818 - what happened to us
    """The document was not ours any more when we put it back: what we did took longer than we had asked for."""


@dataclass(frozen=True, slots=True)
class Document:
    """Attributes:

    document: "acme#123", the company and Omie's nCodOS.
    contract, month: of its charge.
    state: `InvoiceState` as last seen; `awaits` the part that was missing; `problem` what a person must do.
    nCodNF: of the NFS-e that the customer was last sent; `number`: of the one that Jestor was last told.
    told: identity of what Jestor was told last; empty when nothing was.
    told_state, told_boleto: the state told with it, and whether there were boletos.
    told_at, looked_at, authorised_at, boleto_asked_at: ISO instants in UTC, empty when it has not happened.
        `looked_at`: before Omie was last read; `authorised_at`: when the NFS-e was first seen issued.
    """

    document: str
    contract: str = ""
    month: str = ""
    state: str = ""
    awaits: str = ""
    problem: str = ""
    nCodNF: int = 0
    number: str = ""
    told: str = ""
    told_state: str = ""
    told_boleto: bool = False
    told_at: str = ""
    looked_at: str = ""
    authorised_at: str = ""
    boleto_asked_at: str = ""


def document_key(company: str, nCodOS: int | str) -> str:
    """Of an order; or of another name of it ("numero_pedido-12"), under which only the last look is kept."""
    return f"{company}#{nCodOS}"


_NAMES = tuple(field.name for field in fields(Document))


def to_document(key: str, item: Mapping[str, Any]) -> Document:
    """A stored item; one that is only held, never put, has nothing but its key."""
    return Document(**{name: item[name] for name in _NAMES if name in item} | {"document": key})


def held_by_another(item: Mapping[str, Any], holder: str, now: datetime) -> bool:
    return bool(item.get("holder")) and item["holder"] != holder and float(item["held_until"]) > now.timestamp()


class DocumentStore:
    """Documents in DynamoDB: hash key `document`. Nothing expires."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, *, sleep: Sleep = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._sleep = sleep

    def take(self, document: str, *, holder: str, now: datetime, until: datetime) -> Document | None:
        """The document as it is, held by us until then (aware instants); None while another holds it."""
        try:
            answer = patiently(
                lambda: self._dynamodb.update_item(
                    TableName=self._table,
                    Key=encode_item({"document": document}),
                    UpdateExpression="SET holder = :holder, held_until = :until REMOVE released_by",
                    ConditionExpression="attribute_not_exists(holder) OR holder = :holder OR held_until <= :now",
                    ExpressionAttributeValues=encode_item(
                        {":holder": holder, ":until": until.timestamp(), ":now": now.timestamp()}
                    ),
                    ReturnValues="ALL_NEW",
                ),
                self._sleep,
            )
        except ClientError as error:
            if dynamo.condition_failed(error):
                return None
            raise
        return to_document(document, decode_item(answer["Attributes"]))

    def put(self, document: Document, *, holder: str) -> None:
        """Keep it and let go of it.

        Raises:
            HoldLost: another took it meanwhile; nothing is changed.
        """
        kept: Item = asdict(document)
        try:
            patiently(
                lambda: self._dynamodb.put_item(
                    TableName=self._table,
                    Item=encode_item(kept | {"released_by": holder}),
                    # the second: our first try arrived and only its answer was lost
                    ConditionExpression="holder = :holder OR released_by = :holder",
                    ExpressionAttributeValues=encode_item({":holder": holder}),
                ),
                self._sleep,
            )
        except ClientError as error:
            if dynamo.condition_failed(error):
                raise HoldLost(f"document {document.document} is held by another") from None
            raise

    def get_many(self, documents: Iterable[str]) -> dict[str, Document]:
        """Those of them that exist."""
        items = dynamo.batch_get(self._dynamodb, self._table, "document", documents, self._sleep)
        return {item["document"]: to_document(item["document"], item) for item in items}
