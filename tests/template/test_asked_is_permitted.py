"""What each function asks of its tables and of the bucket while months are simulated, its role permits: the lab enforces
no policy.
"""

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from billing.redrive import redrive
from simulators.lab import Lab
from simulators.memory_store import MemoryObjects
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches

LEDGER, HOLDS, RUNS, LANES = (f"{name}Table.Arn" for name in ("Ledger", "Holds", "Runs", "Lanes"))
BY_MONTH, BY_ORDER = ("${LedgerTable.Arn}/index/" + name for name in ("by_company_month", "by_order"))
NEEDS: dict[str, list[tuple[str, str]]] = {
    "ledger.get": [("GetItem", LEDGER)],
    "ledger.iter_many": [("BatchGetItem", LEDGER)],
    "ledger.get_many": [("BatchGetItem", LEDGER)],
    "ledger.by_month": [("Query", BY_MONTH)],
    "ledger.by_order": [("Query", BY_ORDER)],
    "ledger.claim": [("UpdateItem", LEDGER), ("ConditionCheckItem", HOLDS)],
    "ledger.apply": [("UpdateItem", LEDGER)],
    "ledger.note_told": [("UpdateItem", LEDGER)],
    "ledger.hold": [("GetItem", HOLDS)],
    "ledger.find_hold": [("GetItem", HOLDS)],
    "ledger.held_many": [("BatchGetItem", HOLDS)],
    "runs.get": [("Query", RUNS)],
    "runs.plan_hash": [("GetItem", RUNS)],
    "runs.put_plan": [("PutItem", RUNS)],
    "runs.add_progress": [("UpdateItem", RUNS)],
    "runs.set_progress": [("UpdateItem", RUNS)],
    "runs.close": [("UpdateItem", RUNS)],
    "runs.put_approval": [("PutItem", RUNS)],
    "lanes.get": [("GetItem", LANES)],
    "lanes.reserve": [("UpdateItem", LANES)],
    "lanes.block": [("UpdateItem", LANES)],
    "lanes.note_error": [("UpdateItem", LANES)],
    "lanes.ask": [("UpdateItem", LANES)],
}
"""What billing.store does to answer: the DynamoDB action, and the table or index it needs."""
USE_CASES = {
    name: "".join(map(str.capitalize, name.split("_"))) + "Function"
    for name in (
        "open_run", "plan_company", "request_approval", "bill_batch", "settle_company", "close_run", "redrive",
    )
}  # fmt: skip


class Asked:
    """(function, "store.method") of every call of a store; the function is found on the stack."""

    def __init__(self) -> None:
        self.pairs: set[tuple[str, str]] = set()
        self.objects: set[tuple[str, str, str]] = set()
        """(function, action, resource) of every object that was read or written."""

    def step(self, name: str, call: Callable[[], Any]) -> Any:
        if name in NEEDS and (function := _function()):
            self.pairs.add((function, name))
        return call()


def _function() -> str:
    """Whose call this is; empty for a test's own."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name not in USE_CASES:
        frame = frame.f_back  # type: ignore[assignment]
    return USE_CASES[frame.f_code.co_name] if frame is not None else ""


class Bucket(MemoryObjects):
    """Tells what is asked of it."""

    def __init__(self, heard: Asked) -> None:
        super().__init__()
        self._heard = heard

    def get_text(self, key: str) -> str:
        self._note("GetObject", key)
        return super().get_text(key)

    def put_text(self, key: str, text: str, content_type: str = "") -> None:
        self._note("PutObject", key)
        super().put_text(key, text, content_type)

    def _note(self, action: str, key: str) -> None:
        if function := _function():
            self._heard.objects.add((function, action, f"${{DataBucket.Arn}}/{key.partition('/')[0]}/*"))


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Of a rough month, of one whose lists are late, and of a repair of what was left."""
    heard = Asked()
    rough = [
        Fault("lost_reply", methods=frozenset({"FaturarContrato"}), nth=frozenset({2, 5})),
        Fault("lost_request", methods=frozenset({"FaturarContrato"}), nth=frozenset({8})),
        Fault("soft_error", methods=frozenset({"FaturarContrato"}), nth=frozenset({11, 12})),
        Fault("too_many_requests", nth=frozenset({30, 31})),
    ]
    for switches in (Switches(), Switches(list_lag=300.0, list_lag_least=300.0)):
        lab = Lab(20, switches=switches, step=heard.step)
        lab.objects = Bucket(heard)
        lab.omie.faults.replace(rough)
        codes = [contract.code for contract in lab.world.contracts if contract.kind == "match"]
        lab.ledger.put_hold(codes[0], "Churn no Jestor.", lab.clock.now() - timedelta(days=1))
        lab.run()
        lab.omie.faults.replace(())
        for action in ("resolve", "redrive"):
            request = {"action": action, "month": "2026-12", "dry_run": False, "who": "ana"}
            redrive(request, lab.redrive_deps(), deadline=lab.now() + 600)
    return heard


def test_what_is_asked_of_the_bucket_is_permitted(asked: Asked, of_type: Any) -> None:
    functions = of_type("AWS::Serverless::Function")
    lacking = sorted(
        f"{function}: s3:{action} of {resource}"
        for function, action, resource in asked.objects
        if (action, resource) not in _permitted(functions[function])
    )
    assert lacking == []
    assert ("BillBatchFunction", "GetObject", "${DataBucket.Arn}/runs/*") in asked.objects


def test_what_is_asked_of_a_table_is_permitted(asked: Asked, of_type: Any) -> None:
    functions = of_type("AWS::Serverless::Function")
    lacking = sorted(
        f"{function} calls {method}: dynamodb:{action} of {resource}"
        for function, method in asked.pairs
        for action, resource in NEEDS[method]
        if (action, resource) not in _permitted(functions[function])
    )
    assert lacking == []


def test_every_use_case_and_the_new_ways_were_heard(asked: Asked) -> None:
    assert {function for function, _ in asked.pairs} >= set(USE_CASES.values()) - {
        "OpenRunFunction",
        "RequestApprovalFunction",
    }
    assert ("SettleCompanyFunction", "ledger.by_month") in asked.pairs


def _permitted(function: dict[str, Any]) -> set[tuple[str, str]]:
    found = set()
    for policy in function["Policies"]:
        for statement in policy["Statement"]:
            actions, resources = statement["Action"], statement["Resource"]
            for action in actions if isinstance(actions, list) else [actions]:
                for resource in resources if isinstance(resources, list) else [resources]:
                    if isinstance(resource, dict):
                        found.add((action.partition(":")[2], next(iter(resource.values()))))
    return found
