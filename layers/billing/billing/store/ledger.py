"""The ledger: one item per charge (contract + billing month + kind). It is why nothing is billed twice.

A charge is claimed in the ledger *before* Omie is called, and closed after. DynamoDB decides every race; each
write is conditional on the states its event may start from (domain TRANSITIONS) and leaves a line in the
charge's history in the same update. Nothing here ever expires.

Timeline of one charge, and what a second actor meets at each moment:

    writer A         ledger          Omie                someone else
    --------         ------          ----                ------------
                     (nothing)
    claim(a1)  --->  SENDING a1                          claim(b1)             -> NotClaimed(SENDING)
    FaturarContrato ------------->   bills               IN_DOUBT, once stale  -> UNKNOWN a1
    DONE(a1)   --->  BILLED      <-  OS 123              claim(b1)             -> NotClaimed(BILLED), for ever

    1. A dies before FaturarContrato: SENDING stays; whoever finds it stale tells IN_DOUBT, Settle reads Omie:
       the contract waits in stage 20 -> RESEND -> READY.
    2. A dies after it: the same, but Omie shows stage 30 -> ADOPT -> BILLED.
    3. A's reply comes after somebody told IN_DOUBT: DONE(a1) still closes UNKNOWN a1, because a1 is its own.
    4. The ledger's reply to `claim(a1)` is lost and the claim is tried again: the condition fails, the
       consistent read shows SENDING a1: it is ours, Claimed. (`apply` finds its own line in the history.)
    5. A hold is put between plan and claim: claim is one transaction of "not yet claimed" and "no hold", so
       either the claim came first, or the hold wins: Held.
    6. Somebody decides from an old reading (saw UNKNOWN a1, meanwhile it was sent again as a2): it gives
       attempt="a1" with its event, and the event is refused.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack
from uuid import uuid4

from botocore.exceptions import ClientError

from billing.domain.charge import (
    WITHOUT_ORDER_ONLY,
    WRITER_ONLY,
    Charge,
    ChargeKey,
    Event,
    State,
    TransitionRefused,
    sources,
    target,
)
from billing.domain.composition import Composition
from billing.store import dynamo
from billing.store.dynamo import Item, Sleep, decode_item, encode, encode_item, patiently

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BY_COMPANY_MONTH = "by_company_month"  # the ledger's index: company_month ("acme#2026-12"), then charge
BY_ORDER = "by_order"  # likewise, of billed charges only: order (nCodOS as text), the whole charge


@dataclass(frozen=True, slots=True)
class Claimed:
    """The charge is ours to send, under our attempt, for a few seconds."""

    charge: Charge


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """The charge is in a state nobody may claim from (or another attempt has it)."""

    charge: Charge


@dataclass(frozen=True, slots=True)
class Held:
    """The charge could be claimed, but its contract is on hold."""

    reason: str


Claim = Claimed | NotClaimed | Held


class Hold(NamedTuple):
    """Nothing of the contract may be claimed. `put_at`: when it was put, the last time."""

    reason: str
    put_at: datetime


class Facts(TypedDict, total=False):
    """What an event may tell about the charge besides its new state."""

    nCodCtr: int | None
    nCodOS: int | None
    failures: int
    reason_code: str
    reason: str
    additions: Sequence[Mapping[str, Any]]
    composition: Composition | None


@dataclass(frozen=True, slots=True)
class Write:
    """One event as plain data: what the item becomes and when it may. Both ledgers obey it.

    Attributes:
        sets: attributes that become these values.
        first: attributes that take these values only if the charge has none yet.
        line: the history's new last line.
        sources: the states the event may start from; None = no charge yet.
        attempt: if given, the charge's attempt must be this one.
        without_order: whether the charge must name no order.
    """

    sets: Item
    first: Item
    line: Item
    sources: frozenset[State | None]
    attempt: str | None = None
    without_order: bool = False


def stamp(at: datetime) -> str:
    """ISO-8601 in UTC with microseconds, always the same length, so text order is time order."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def written_at(charge: Charge) -> str:
    assert charge.updated_at is not None  # noqa: S101 - whatever the ledger answers has it
    return stamp(charge.updated_at)


def company_month(company: str, month: object) -> str:
    return f"{company}#{month}"


def claim_write(
    key: ChargeKey,
    *,
    attempt: str,
    now: datetime,
    company: str,
    amount: int,
    plan_hash: str,
    run: str,
    nCodCtr: int | None,
    who: str,
    additions: Sequence[Mapping[str, Any]] = (),
    composition: Composition | None = None,
) -> Write:
    return Write(
        sets={
            "company": company,
            "company_month": company_month(company, key.month),
            "amount": amount,
            "plan_hash": plan_hash,
            "run": run,
            "nCodCtr": nCodCtr,
            "attempt": attempt,
            "claimed_at": stamp(now),
            "additions": [dict(each) for each in additions],
            **_kept(composition),
            "state": target(Event.CLAIM),
            "reason_code": "",
            "reason": "",
            "updated_at": stamp(now),
        },
        first={"failures": 0},
        line={
            "at": stamp(now),
            "who": who,
            "event": Event.CLAIM,
            "to": target(Event.CLAIM),
            "why": f"run {run}",
            "attempt": attempt,
        },
        sources=sources(Event.CLAIM),
    )


def _kept(composition: Composition | None) -> Item:
    """Nothing to write when none is told: the one that the charge has stays."""
    return {} if composition is None else {"composition": composition.to_dict()}


def event_write(
    key: ChargeKey,
    event: Event,
    *,
    now: datetime,
    who: str,
    why: str,
    attempt: str | None,
    company: str,
    amount: int,
    plan_hash: str,
    run: str,
    facts: Facts,
) -> Write:
    """The write of any event but CLAIM. Without a company it cannot be the charge's first.

    Raises:
        ValueError: CLAIM, or an event only the writer may tell without its attempt.
    """
    if event is Event.CLAIM:
        raise ValueError("a charge is claimed by claim(), which also looks at the holds")
    if event in WRITER_ONLY and attempt is None:
        raise ValueError(f"{event} is told by the writer only: give its attempt")
    may_start = sources(event) if company else sources(event) - {None}
    if event is Event.PARK and attempt is None:
        # Who names no attempt decided before it knew of the doubt: parking it would let a redrive send it again
        # while Omie may still finish the call (docs/model: PARK_OVER_DOUBT).
        may_start -= {State.UNKNOWN}
    told: Item = {name: value for name, value in facts.items() if name != "composition"}
    told |= _kept(facts.get("composition"))
    sets = {"reason_code": "", "reason": "", **told, "state": target(event), "updated_at": stamp(now)}
    if target(event) is State.PARKED:
        sets["told"] = False
    if facts.get("nCodOS"):
        sets["order"] = str(facts["nCodOS"])  # text and only when known: an index's key may not be null
    first = {
        "company": company,
        "company_month": company_month(company, key.month),
        "amount": amount,
        "plan_hash": plan_hash,
        "run": run,
        "failures": 0,
    }
    line = {"at": stamp(now), "who": who, "event": event, "to": target(event), "why": why}
    return Write(
        sets=sets,
        first={name: first[name] for name in first if None in may_start and name not in sets},
        line=line if attempt is None else {**line, "attempt": attempt},
        sources=may_start,
        attempt=attempt,
        without_order=event in WITHOUT_ORDER_ONLY,
    )


def is_ours(charge: Charge | None, write: Write) -> bool:
    """Did this very write happen already? (Its reply was lost and it was sent again.)

    A line with an attempt is unique, so it counts wherever it stands; any other only as the last one.
    """
    if charge is None:
        return False
    lines = charge.history if "attempt" in write.line else charge.history[-1:]
    return dict(write.line) in [dict(line) for line in lines]


def is_claimed(charge: Charge, attempt: str) -> bool:
    return charge.state is State.SENDING and charge.attempt == attempt


def to_charge(item: Mapping[str, Any]) -> Charge:
    """A stored item as the domain's Charge. Attributes never told yet are None, 0 or empty."""
    claimed_at = item.get("claimed_at")
    return Charge(
        key=ChargeKey.parse(item["charge"]),
        state=State(item["state"]),
        company=item["company"],
        amount=item["amount"],
        plan_hash=item["plan_hash"],
        attempt=item.get("attempt"),
        claimed_at=datetime.fromisoformat(claimed_at) if claimed_at else None,
        nCodCtr=item.get("nCodCtr"),
        nCodOS=item.get("nCodOS"),
        failures=item["failures"],
        reason_code=item["reason_code"],
        reason=item["reason"],
        run=item["run"],
        updated_at=datetime.fromisoformat(item["updated_at"]),
        history=tuple(item["history"]),
        additions=tuple(item.get("additions", ())),
        told=item["state"] != State.PARKED or item.get("told", True),
        composition=Composition.from_dict(item["composition"]) if item.get("composition") else None,
    )


class Ledger:
    """Charges and holds in DynamoDB.

    Args:
        dynamodb: a boto3 client.
        ledger_table: hash key `charge`; indexes `by_company_month` (`company_month`, `charge`) and `by_order`
            (`order`), all attributes.
        holds_table: hash key `contract`.
        sleep: how to wait between tries.
    """

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        ledger_table: str,
        holds_table: str,
        *,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._dynamodb = dynamodb
        self._ledger = ledger_table
        self._holds = holds_table
        self._sleep = sleep

    def claim(
        self,
        key: ChargeKey,
        *,
        attempt: str,
        now: datetime,
        company: str,
        amount: int,
        plan_hash: str,
        run: str,
        nCodCtr: int | None,
        who: str,
        additions: Sequence[Mapping[str, Any]] = (),
        composition: Composition | None = None,
    ) -> Claim:
        """Take the charge for sending: none yet or READY, and no hold, becomes SENDING, in one transaction.

        Args:
            key: contract, billing month and kind.
            attempt: unique to this claim; every later event of the writer names it.
            now: the claim's time (aware).
            company: the Omie company it is billed in.
            amount: planned centavos.
            plan_hash: of the plan that was approved.
            run: the run that bills it.
            nCodCtr: Omie's contract.
            who: the function that claims.
            additions: what of the amount came on top; charged if this claim ends BILLED.
            composition: what the amount is made of and why; None leaves the one that an earlier event told.
        """
        write = claim_write(
            key,
            attempt=attempt,
            now=now,
            company=company,
            amount=amount,
            plan_hash=plan_hash,
            run=run,
            nCodCtr=nCodCtr,
            who=who,
            additions=additions,
            composition=composition,
        )
        no_hold = "attribute_not_exists(contract)"
        token = str(uuid4())  # the same for every try of this call: DynamoDB itself forgets repetitions
        try:
            patiently(
                lambda: self._dynamodb.transact_write_items(
                    ClientRequestToken=token,
                    TransactItems=[
                        {"Update": self._update(key, write)},
                        {
                            "ConditionCheck": {
                                "TableName": self._holds,
                                "Key": {"contract": encode(key.contract)},
                                "ConditionExpression": no_hold,
                            }
                        },
                    ],
                ),
                self._sleep,
            )
        except ClientError as error:
            if dynamo.error_code(error) != "TransactionCanceledException":
                raise
            not_claimable, on_hold = (
                reason == "ConditionalCheckFailed" for reason in dynamo.cancellation_reasons(error)
            )
            if on_hold and not not_claimable:
                return Held(self.hold(key.contract) or "")
            if not not_claimable:
                raise
        charge = self._current(key)
        return Claimed(charge) if is_claimed(charge, attempt) else NotClaimed(charge)

    def apply(
        self,
        key: ChargeKey,
        event: Event,
        *,
        now: datetime,
        who: str,
        why: str,
        attempt: str | None = None,
        company: str = "",
        amount: int = 0,
        plan_hash: str = "",
        run: str = "",
        **facts: Unpack[Facts],
    ) -> Charge:
        """Tell the ledger that something happened to the charge; answers the charge as it is now.

        `reason_code` and `reason` explain the present state: an event that brings none clears them (the
        history keeps every `why`). `company`, `amount`, `plan_hash` and `run` are used only if this is the
        charge's first event; without a company it may not be.

        Args:
            key: contract, billing month and kind.
            event: any but CLAIM.
            now: when (aware).
            who: which function or person.
            why: one line for the history.
            attempt: the writer's own, mandatory for WRITER_ONLY events. Anyone else who decides from a
                reading gives the attempt it read, so that a newer one is not touched.
            company: first event only.
            amount: first event only; centavos.
            plan_hash: first event only.
            run: first event only.
            **facts: see `Facts`.

        Raises:
            TransitionRefused: the charge is in a state the event may not start from, or of another attempt.
        """
        write = event_write(
            key,
            event,
            now=now,
            who=who,
            why=why,
            attempt=attempt,
            company=company,
            amount=amount,
            plan_hash=plan_hash,
            run=run,
            facts=facts,
        )
        try:
            answer = patiently(
                lambda: self._dynamodb.update_item(**self._update(key, write), ReturnValues="ALL_NEW"),
                self._sleep,
            )
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise
            charge = self.get(key)
            if charge is not None and is_ours(charge, write):
                return charge
            raise TransitionRefused(charge.state if charge else None, event, charge) from None
        return to_charge(decode_item(answer["Attributes"]))

    def note_told(self, charge: Charge) -> None:
        """The message about this parking is in the queue. Nothing happens if the charge moved on meanwhile."""
        values = {":told": True, ":parked": State.PARKED, ":at": written_at(charge)}
        try:
            patiently(
                lambda: self._dynamodb.update_item(
                    TableName=self._ledger,
                    Key={"charge": encode(str(charge.key))},
                    UpdateExpression="SET told = :told",
                    ConditionExpression="#state = :parked AND updated_at = :at",
                    ExpressionAttributeNames={"#state": "state"},
                    ExpressionAttributeValues=encode_item(values),
                ),
                self._sleep,
            )
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise

    def get(self, key: ChargeKey) -> Charge | None:
        item = dynamo.get_item(self._dynamodb, self._ledger, {"charge": str(key)}, self._sleep)
        return to_charge(item) if item else None

    def iter_many(self, keys: Iterable[ChargeKey]) -> Iterator[Charge]:
        """The charges that exist among `keys`, in no order, read consistently a hundred at a time."""
        charges = map(str, keys)
        return map(to_charge, dynamo.batch_get(self._dynamodb, self._ledger, "charge", charges, self._sleep))

    def get_many(self, keys: Iterable[ChargeKey]) -> dict[ChargeKey, Charge]:
        return {charge.key: charge for charge in self.iter_many(keys)}

    def by_month(self, company: str, month: object, states: Collection[State] | None = None) -> Iterator[Charge]:
        """A company's month in key order, from the index: what was written just now may be missing.

        `states`: only the charges in one of these, picked out by DynamoDB.
        """
        only = {f":state{number}": encode(state.value) for number, state in enumerate(states or ())}
        filtered: dict[str, Any] = {}
        if only:
            filtered = {
                "FilterExpression": f"#state IN ({', '.join(only)})",
                "ExpressionAttributeNames": {"#state": "state"},
            }
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._ledger,
            IndexName=BY_COMPANY_MONTH,
            KeyConditionExpression="company_month = :company_month",
            ExpressionAttributeValues={":company_month": encode(company_month(company, month))} | only,
            **filtered,
        )
        for page in pages:
            yield from map(to_charge, map(decode_item, page["Items"]))

    def by_order(self, company: str, nCodOS: int) -> Charge | None:
        """The charge that Omie billed with this order, from the index: what was written just now may be missing."""
        answer = patiently(
            lambda: self._dynamodb.query(
                TableName=self._ledger,
                IndexName=BY_ORDER,
                KeyConditionExpression="#order = :order",
                ExpressionAttributeNames={"#order": "order"},
                ExpressionAttributeValues={":order": encode(str(nCodOS))},
            ),
            self._sleep,
        )
        charges = map(to_charge, map(decode_item, answer["Items"]))
        return next((charge for charge in charges if charge.company == company), None)

    def put_hold(self, contract: str, reason: str, now: datetime) -> None:
        """From now on no charge of this contract can be claimed."""
        item = encode_item({"contract": contract, "reason": reason, "at": stamp(now)})
        patiently(lambda: self._dynamodb.put_item(TableName=self._holds, Item=item), self._sleep)

    def lift_hold(self, contract: str, *, put_at: datetime | None = None) -> bool:
        """Claims are free again. With `put_at`, only if the hold is still the one put then; False: it is not."""
        key = {"contract": encode(contract)}
        only: dict[str, Any] = {}
        if put_at is not None:
            # Twice the same lift: the reply to the first was lost, and there is no hold any more.
            only = {
                "ConditionExpression": "attribute_not_exists(contract) OR #at = :at",
                "ExpressionAttributeNames": {"#at": "at"},
                "ExpressionAttributeValues": {":at": encode(stamp(put_at))},
            }
        try:
            patiently(lambda: self._dynamodb.delete_item(TableName=self._holds, Key=key, **only), self._sleep)
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise
            return False
        return True

    def hold(self, contract: str) -> str | None:
        """Why the contract is on hold; None if it is not."""
        found = self.find_hold(contract)
        return found.reason if found else None

    def find_hold(self, contract: str) -> Hold | None:
        item = dynamo.get_item(self._dynamodb, self._holds, {"contract": contract}, self._sleep)
        return Hold(item["reason"], datetime.fromisoformat(item["at"])) if item else None

    def held_many(self, contracts: Iterable[str]) -> set[str]:
        items = dynamo.batch_get(self._dynamodb, self._holds, "contract", contracts, self._sleep)
        return {item["contract"] for item in items}

    def _current(self, key: ChargeKey) -> Charge:
        charge = self.get(key)
        if charge is None:
            raise LookupError(f"charge {key} was written and is gone")
        return charge

    def _update(self, key: ChargeKey, write: Write) -> Any:
        """UpdateItem's arguments: the same for a single update and inside a transaction."""
        states = [state for state in State if state in write.sources]
        values: Item = {f":from_{state}": state for state in states}

        # May the event start here? The charge is in a state the domain's table allows,
        in_source_state = f"#state IN ({', '.join(values)})"
        # or nothing is written for it yet, where the table allows that;
        never_written = "attribute_not_exists(charge)"
        # and where an attempt is named, the charge is still of that attempt.
        of_this_attempt = "attempt = :attempt"

        condition = f"({never_written} OR {in_source_state})" if None in write.sources else in_source_state
        if write.attempt is not None:
            condition += f" AND {of_this_attempt}"
            values[":attempt"] = write.attempt
        if write.without_order:
            condition += " AND attribute_not_exists(#order)"

        values |= {":line": [write.line], ":no_lines": []}
        changes = ["#history = list_append(if_not_exists(#history, :no_lines), :line)"]
        for name, value in write.sets.items():
            changes.append(f"#{name} = :{name}")
            values[f":{name}"] = value
        for name, value in write.first.items():
            changes.append(f"#{name} = if_not_exists(#{name}, :{name})")
            values[f":{name}"] = value
        names = {"history", "state", *write.sets, *write.first} | ({"order"} if write.without_order else set())
        return {
            "TableName": self._ledger,
            "Key": {"charge": encode(str(key))},
            "UpdateExpression": "SET " + ", ".join(changes),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {f"#{name}": name for name in names},
            "ExpressionAttributeValues": encode_item(values),
        }
