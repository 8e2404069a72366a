"""One deployed stack for all end-to-end tests: the emulator with IAM enforced, both simulators, the real template."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from billing.store.dynamo import decode_item
from ops import local
from ops.stack import Stack, connect, find_place
from simulators.jestor.triggers import sign
from simulators.world import COMPANIES, CONTRACTS_TABLE, JESTOR_TOKEN

LIVING_QUEUES = (
    "ContractChangesQueue",
    "ContractChurnsQueue",
    "InvoiceEventsQueue",
    "JestorWritesQueue",
    "OmieWritesQueue",
)
INVOICE_DELAY = 3
"""Seconds. More than a minute in production, where Omie refuses what was asked a minute ago; here it does not."""
NEVER = 10**6
"""Seconds until the city answers: no NFS-e, unless a test wants them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The month first: it begins with nothing billed and every contract as the world drew it."""
    items.sort(key=lambda item: item.path.name != "test_month.py")


@dataclass
class Deployed:
    state: dict[str, Any]
    stack: Stack
    settings: str

    def ops(self, *words: str, expect: int | None = 0, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Runs `billing-ops` as an operator would, and checks its exit code."""
        command = [str(Path(sys.executable).parent / "billing-ops"), *words]
        done = subprocess.run(
            command, cwd=local.ROOT, capture_output=True, text=True, input=typed, timeout=500, check=False
        )
        if expect is not None:
            assert done.returncode == expect, done.stdout + done.stderr
        return done

    def json(self, *words: str, expect: int | None = 0) -> dict[str, Any]:
        return json.loads(self.ops(*words, "--json", expect=expect).stdout)

    def book(self) -> dict[str, Any]:
        return httpx.get(self.state["simulators"]["omie"] + "/_sim/book", timeout=60).json()

    def contracts(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Every contract of Omie's, by company and nCodCtr."""
        return httpx.get(self.state["simulators"]["omie"] + "/_sim/contracts", timeout=60).json()

    def omie(self, company: str, resource: str, call: str, param: dict[str, Any]) -> dict[str, Any]:
        """A call of Omie's, as that company's people, or its bank, would make it."""
        whose = COMPANIES[company]
        body = {"call": call, "app_key": whose.app_key, "app_secret": whose.app_secret, "param": [param]}
        answer = httpx.post(f"{self.state['simulators']['omie']}/api/v1/{resource}/", json=body, timeout=60)
        return answer.raise_for_status().json()

    def until_shown(self) -> None:
        """Omie's reads lag behind its writes: returns when its lists show every contract as it stands."""
        self.await_that(lambda: all(map(self._shown, COMPANIES)), "lists that show what was written")

    def _shown(self, company: str) -> bool:
        wanted = {"pagina": 1, "registros_por_pagina": 100, "cExibirInfoCadastro": "S"}
        listed = self.omie(company, "servicos/contrato", "ListarContratos", wanted)
        assert listed["total_de_paginas"] == 1
        shown = {
            str(one["cabecalho"]["nCodCtr"]): f"{one['infoCadastro']['dAlt']} {one['infoCadastro']['hAlt']}"
            for one in listed["contratoCadastro"]
        }
        held = self.contracts()[company]
        return shown == {
            number: f"{datetime.fromisoformat(one['altered']):%d/%m/%Y %H:%M:%S}" for number, one in held.items()
        }

    def record(self, jestor_id: int) -> dict[str, Any]:
        """The contract's record, as Jestor shows it."""
        asked = {"object_type": CONTRACTS_TABLE, "id": jestor_id}
        return self._jestor("describe", asked)

    def create(self, table: str, data: dict[str, Any]) -> dict[str, Any]:
        return self._jestor("create", {"object_type": table, "data": data})

    def _jestor(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.state['simulators']['jestor']}/object/{what}",
            json=body,
            headers={"authorization": f"Bearer {JESTOR_TOKEN}"},
            timeout=60,
        ).json()
        assert answer["status"], answer
        return answer["data"]

    def edit(self, jestor_id: int, data: dict[str, Any]) -> None:
        """A person changes the contract's record."""
        self.control("jestor", "edit", {"table": CONTRACTS_TABLE, "id": jestor_id, "data": data})

    def writes(self, jestor_id: int, field: str = "") -> list[dict[str, Any]]:
        """What our side wrote to the contract's record; of one field, if named."""
        book = httpx.get(self.state["simulators"]["jestor"] + "/_sim/book", timeout=60).json()
        done = book["records"][CONTRACTS_TABLE].get(str(jestor_id), [])
        return [
            one for one in done if (one["what"], one["by"]) == ("update", "api") and (not field or field in one["data"])
        ]

    def post(
        self, path: str, body: bytes, *, at: float | None = None, secret: str = local.JESTOR_WEBHOOK_SECRET
    ) -> httpx.Response:
        """A webhook as Jestor's script would sign it `at` that time; now, if none is said."""
        signature = sign(secret, body, int(time.time() if at is None else at))
        headers = {"content-type": "application/json", "x-webhook-signature": signature}
        return httpx.post(self.state["addresses"]["webhooks"] + path, content=body, headers=headers, timeout=60)

    def kept(self) -> list[dict[str, Any]]:
        """The raw webhooks the stack has kept, with their bodies read."""
        pages = local.client(self.state, "dynamodb").get_paginator("scan")
        items = [
            decode_item(item)
            for page in pages.paginate(TableName=self.state["outputs"]["WebhooksTableName"])
            for item in page["Items"]
        ]
        return [{**item, "body": json.loads(item["body"])} for item in items]

    def hold(self, contract: str) -> str | None:
        """The reason for which the contract is held, if it is."""
        key = {"contract": {"S": contract}}
        table = self.state["outputs"]["HoldsTableName"]
        found = local.client(self.state, "dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        return decode_item(found)["reason"] if found else None

    def call(self, output: str, event: dict[str, Any]) -> dict[str, Any]:
        """Calls the function named by that output, as its schedule would."""
        functions = local.client(self.state, "lambda")
        answer = functions.invoke(FunctionName=self.state["outputs"][output], Payload=json.dumps(event).encode())
        told = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, told
        return told

    def fire(self, schedule: str) -> None:
        """That schedule, by its name in the template, fires now instead of at its hour."""
        scheduler = local.client(self.state, "scheduler")
        (name,) = [one["Name"] for one in scheduler.list_schedules()["Schedules"] if schedule in one["Name"]]
        found = scheduler.get_schedule(Name=name)
        soon = datetime.now(UTC) + timedelta(seconds=3)
        scheduler.update_schedule(
            **{key: found[key] for key in ("Name", "FlexibleTimeWindow", "Target")},
            ScheduleExpression=f"at({soon:%Y-%m-%dT%H:%M:%S})",
            ScheduleExpressionTimezone="UTC",
            State="ENABLED",
        )

    def waiting(self) -> dict[str, int]:
        """How many messages each queue of the living contract still has, those hidden for a while too."""
        sqs = local.client(self.state, "sqs")
        found = {}
        for name in LIVING_QUEUES:
            url = self.state["outputs"][f"{name}Url"]
            counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            found[name] = sum(int(count) for key, count in counts.items() if key.startswith("ApproximateNumber"))
        return {name: count for name, count in found.items() if count}

    def webhooks(self, *, on: bool) -> None:
        """Whether both simulators tell the stack of what happens."""
        if on:
            local.connect_webhooks(self.state)
        else:
            self.control("jestor", "triggers", {})
            self.control("omie", "webhooks", [])

    def control(self, who: str, what: str, body: Any) -> None:
        httpx.post(f"{self.state['simulators'][who]}/_sim/{what}", json=body, timeout=60).raise_for_status()

    def await_that(self, condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.2)  # between two looks at a condition, never instead of one
        pytest.fail(f"waited {seconds} s for: {what}")


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if local.STATE.exists():
        pytest.fail("a local stack is up; the end-to-end tests bring their own. End it first: make down")
    # Here the same month is planned again and again: neither side insists on a minute between two identical reads.
    demo = (local.ROOT / "config" / "demo.toml").read_text()
    settings = demo.replace("in_doubt_wait_seconds", "same_question_seconds = 0\nin_doubt_wait_seconds")
    file = tmp_path_factory.mktemp("settings") / "settings.toml"
    file.write_text(settings)
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "ops.local"]
    up = [*command, "up", "--contracts", "60", "--latency-ms", "20"]
    started = subprocess.run(
        up,
        cwd=local.ROOT,
        env=env | {"SETTINGS": str(file), "PARAMETERS": f"InvoiceDelaySeconds={INVOICE_DELAY}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if started.returncode:
        pytest.fail(started.stdout + started.stderr)
    try:
        ready = Deployed(json.loads(local.STATE.read_text()), connect(find_place({}, None)), settings)
        ready.control("omie", "switches", {"redundant_on": 0, "same_id_lookup": "off", "nfse_seconds": NEVER})
        yield ready
    finally:
        subprocess.run([*command, "down"], cwd=local.ROOT, timeout=60, check=True)
