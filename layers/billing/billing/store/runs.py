"""Runs: one per month and kind, however often something triggers it; their progress and their approvals.

Keys: `run` ("2026-12#mensalidade"), and `part`: "run" (the run itself), "company#acme" (its counters),
"plan#acme" (which plan is the valid one), "approval#acme" (the open question to a person). Counters are for
the eye: they may count a repeated message twice. The ledger alone decides what was billed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from billing.store import dynamo
from billing.store.dynamo import Item, decode_item, encode, encode_item
from billing.store.ledger import stamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Trigger = Literal["schedule", "operator"]
RACES = 10  # two triggers at the same moment: the loser re-reads and answers from what it finds
HEAD = "run"
COMPANY = "company#"
APPROVAL = "approval#"
PLAN = "plan#"


@dataclass(frozen=True, slots=True)
class Opened:
    """The run is this execution's. `generation` counts the times the month was opened, from 1."""

    run: str
    generation: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Another execution has the run open."""

    execution: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The run is over, and only an operator opens it again."""

    summary: dict[str, Any]


Opening = Opened | Joined | Closed


class NotTheRunner(Exception):  # noqa: N818 - an answer, like TransitionRefused
    """An execution wanted to close a run that another execution has."""


@dataclass(frozen=True, slots=True)
class Run:
    run: str
    month: str
    kind: str
    status: Literal["open", "closed"]
    generation: int
    trigger: Trigger
    execution: str
    opened_at: datetime
    closed_at: datetime | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    companies: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to a person: may this plan be billed? The token answers Step Functions: it is not shown."""

    company: str
    token: str = field(repr=False)
    plan_hash: str
    reasons: tuple[str, ...]
    asked_at: datetime
    decision: Literal["approved", "rejected"] | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None


def run_name(month: object, kind: str) -> str:
    return f"{month}#{kind}"


def opening(current: Item | None, *, run: str, trigger: Trigger, execution: str, replaces: str | None) -> Opening:
    """Who gets the run? `Opened` by an execution that does not have it yet means: write it.

    ```
    found                   the same execution   schedule   operator   whoever replaces its dead execution
    nothing                 -                    Opened 1   Opened 1   Opened 1
    open, by execution E    Opened n             Joined E   Joined E   Opened n+1
    closed                  Opened n             Closed     Opened n+1 by its trigger
    ```
    """
    if current is None:
        return Opened(run, 1)
    if current["execution"] == execution:
        return Opened(run, current["generation"])
    if current["status"] == "open":
        if current["execution"] != replaces:
            return Joined(current["execution"])
    elif trigger == "schedule":
        return Closed(json.loads(current["summary"]))
    return Opened(run, current["generation"] + 1)


def head(opened: Opened, month: object, kind: str, *, trigger: Trigger, execution: str, now: datetime) -> Item:
    """The item of a run just opened, all of it but its keys."""
    return {
        "month": str(month),
        "kind": kind,
        "status": "open",
        "generation": opened.generation,
        "trigger": trigger,
        "execution": execution,
        "opened_at": stamp(now),
        "closed_at": None,
        "summary": "{}",
    }


def to_run(run: str, item: Mapping[str, Any], companies: Mapping[str, Mapping[str, int]]) -> Run:
    closed_at = item["closed_at"]
    return Run(
        run=run,
        month=item["month"],
        kind=item["kind"],
        status=item["status"],
        generation=item["generation"],
        trigger=item["trigger"],
        execution=item["execution"],
        opened_at=datetime.fromisoformat(item["opened_at"]),
        closed_at=datetime.fromisoformat(closed_at) if closed_at else None,
        summary=json.loads(item["summary"]),
        companies={company: dict(counts) for company, counts in companies.items()},
    )


def to_approval(company: str, item: Mapping[str, Any]) -> Approval:
    decided_at = item.get("decided_at")
    return Approval(
        company=company,
        token=item["token"],
        plan_hash=item["plan_hash"],
        reasons=tuple(item["reasons"]),
        asked_at=datetime.fromisoformat(item["asked_at"]),
        decision=item.get("decision"),
        decided_by=item.get("decided_by"),
        decided_at=datetime.fromisoformat(decided_at) if decided_at else None,
    )


class RunStore:
    """Runs in DynamoDB: hash key `run`, range key `part`."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def open(
        self,
        month: object,
        kind: str,
        *,
        trigger: Trigger,
        execution: str,
        now: datetime,
        replaces: str | None = None,
    ) -> Opening:
        """Open the month's run, or learn who has it.

        Args:
            month: the billing month.
            kind: of charge, such as "mensalidade".
            trigger: only an operator opens a closed run again.
            execution: Step Functions' execution; asking again with the same one answers the same.
            now: aware.
            replaces: an execution the caller knows has ended without closing its run.
        """
        run = run_name(month, kind)
        for _ in range(RACES):
            current = self._part(run, HEAD)
            answer = opening(current, run=run, trigger=trigger, execution=execution, replaces=replaces)
            if not isinstance(answer, Opened) or (current and current["execution"] == execution):
                return answer
            item = head(answer, month, kind, trigger=trigger, execution=execution, now=now)
            if self._replace(run, current, item):
                return answer
        raise TimeoutError(f"run {run}: {RACES} others were faster")

    def close(self, run: str, *, execution: str, summary: Mapping[str, Any], now: datetime) -> None:
        """Close the run with its summary; closing again overwrites. Raises NotTheRunner."""
        its_execution = "execution = :execution"
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=encode_item({"run": run, "part": HEAD}),
                UpdateExpression="SET #status = :closed, closed_at = :now, #summary = :summary",
                ConditionExpression=its_execution,
                ExpressionAttributeNames={"#status": "status", "#summary": "summary"},
                ExpressionAttributeValues=encode_item(
                    {
                        ":closed": "closed",
                        ":now": stamp(now),
                        ":summary": json.dumps(summary, ensure_ascii=False),
                        ":execution": execution,
                    }
                ),
            )
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise
            raise NotTheRunner(f"run {run} is not open by {execution}") from None

    def add_progress(self, run: str, company: str, **counts: int) -> None:
        """Add to a company's counters, such as billed=25."""
        if not counts:
            return
        self._dynamodb.update_item(
            TableName=self._table,
            Key=encode_item({"run": run, "part": COMPANY + company}),
            UpdateExpression="ADD " + ", ".join(f"#{name} :{name}" for name in counts),
            ExpressionAttributeNames={f"#{name}": name for name in counts},
            ExpressionAttributeValues=encode_item({f":{name}": count for name, count in counts.items()}),
        )

    def set_progress(self, run: str, company: str, **counts: int) -> None:
        """Put a company's counters right: what is true, whatever was added up."""
        self._dynamodb.update_item(
            TableName=self._table,
            Key=encode_item({"run": run, "part": COMPANY + company}),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in counts),
            ExpressionAttributeNames={f"#{name}": name for name in counts},
            ExpressionAttributeValues=encode_item({f":{name}": count for name, count in counts.items()}),
        )

    def get(self, run: str) -> Run | None:
        """The run with every company's counters."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="#run = :run",
            ExpressionAttributeNames={"#run": "run"},
            ExpressionAttributeValues={":run": encode(run)},
        )
        parts = {}
        for page in pages:
            for item in map(decode_item, page["Items"]):
                del item["run"]
                parts[item.pop("part")] = item
        if HEAD not in parts:
            return None
        companies = {part.removeprefix(COMPANY): counts for part, counts in parts.items() if part.startswith(COMPANY)}
        return to_run(run, parts[HEAD], companies)

    def list_recent(self, limit: int = 12) -> list[Run]:
        """The latest runs by name, without counters. Scans: the table grows by a few items a month."""
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table,
            FilterExpression="part = :head",
            ExpressionAttributeValues={":head": encode(HEAD)},
        )
        items = [decode_item(item) for page in pages for item in page["Items"]]
        items.sort(key=lambda item: str(item["run"]), reverse=True)
        return [to_run(item["run"], item, {}) for item in items[:limit]]

    def put_plan(self, run: str, company: str, *, plan_hash: str, plan_key: str, planned: int) -> None:
        """From now on only batches of this plan may be billed: an older plan's messages are void.

        `planned`: how many contracts it bills. The counters of an earlier generation begin again.
        """
        plan = {"run": run, "part": PLAN + company, "plan_hash": plan_hash, "plan_key": plan_key}
        for item in ({"run": run, "part": COMPANY + company, "planned": planned}, plan):
            self._dynamodb.put_item(TableName=self._table, Item=encode_item(item))

    def plan_hash(self, run: str, company: str) -> str | None:
        """The hash of the valid plan."""
        item = self._part(run, PLAN + company)
        return item["plan_hash"] if item else None

    def put_approval(
        self, run: str, company: str, *, token: str, plan_hash: str, reasons: tuple[str, ...], now: datetime
    ) -> None:
        """Ask (again): a later question replaces an earlier one and its answer."""
        item = {"token": token, "plan_hash": plan_hash, "reasons": reasons, "asked_at": stamp(now)}
        key = {"run": run, "part": APPROVAL + company}
        self._dynamodb.put_item(TableName=self._table, Item=encode_item({**key, **item}))

    def get_approval(self, run: str, company: str) -> Approval | None:
        item = self._part(run, APPROVAL + company)
        return to_approval(company, item) if item else None

    def decide_approval(self, run: str, company: str, *, token: str, approved: bool, who: str, now: datetime) -> bool:
        """Record a person's answer. False: this question is answered already, or a newer one replaced it."""
        this_question = "#token = :token"
        still_open = "attribute_not_exists(decision)"
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=encode_item({"run": run, "part": APPROVAL + company}),
                UpdateExpression="SET decision = :decision, decided_by = :who, decided_at = :now",
                ConditionExpression=f"{this_question} AND {still_open}",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues=encode_item(
                    {
                        ":decision": "approved" if approved else "rejected",
                        ":who": who,
                        ":now": stamp(now),
                        ":token": token,
                    }
                ),
            )
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise
            return False
        return True

    def _part(self, run: str, part: str) -> Item | None:
        answer = self._dynamodb.get_item(
            TableName=self._table, Key=encode_item({"run": run, "part": part}), ConsistentRead=True
        )
        return decode_item(answer["Item"]) if "Item" in answer else None

    def _replace(self, run: str, current: Item | None, item: Item) -> bool:
        """Write the run's item if it is still as it was read."""
        key = {"run": run, "part": HEAD}
        condition: dict[str, Any]
        if current is None:
            never_opened = "attribute_not_exists(part)"
            condition = {"ConditionExpression": never_opened}
        else:
            same_generation = "generation = :generation"
            same_status = "#status = :status"
            values = {":generation": current["generation"], ":status": current["status"]}
            condition = {
                "ConditionExpression": f"{same_generation} AND {same_status}",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": encode_item(values),
            }
        try:
            self._dynamodb.put_item(TableName=self._table, Item=encode_item({**key, **item}), **condition)
        except ClientError as error:
            if not dynamo.condition_failed(error):
                raise
            return False
        return True
