"""The deployed handler with its stores in memory: what goes in as an API Gateway event comes out as answer and log."""

import hashlib
import hmac
import importlib.util
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from billing import bootstrap, plain_log
from billing.receive_webhook import Known, ReceiveDeps, Sender
from simulators.clock import VirtualClock
from simulators.memory_store import MemoryLedger, MemoryQueues, MemoryWebhooks

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 12, 1, 9, 0, 12, tzinfo=UTC)
SECRET = "canary-jestor-secret-2026"
OLDER = "canary-jestor-secret-2025"
TOKEN = "canary-omie-token-acme-0001"
OTHER_TOKEN = "canary-omie-token-bravo-0001"
APP_KEY = "canary-app-key-acme"
OTHER_APP_KEY = "canary-app-key-bravo"
KNOWN = Known(
    (SECRET, OLDER),
    {"acme": Sender((TOKEN, f"{TOKEN}-new"), APP_KEY), "bravo": Sender((OTHER_TOKEN,), OTHER_APP_KEY)},
)
RESOURCES = {
    "contract": "/webhooks/jestor/contract",
    "churn": "/webhooks/jestor/churn",
    "omie": "/webhooks/omie/{token}",
}


def sign(body: bytes, at: int, *secrets: str) -> str:
    """As Jestor's script does, with one `v1` a secret."""
    text = b"%d." % at + body
    parts = [f"v1={hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}" for secret in secrets]
    return ",".join([f"t={at}", *parts])


def event(route: str, text: str, headers: dict[str, str], *, token: str = "", encoded: bool = False) -> dict[str, Any]:
    """A proxy event of API Gateway (REST), as far as the handler reads it."""
    resource = RESOURCES[route]
    return {
        "resource": resource,
        "path": resource.replace("{token}", token),
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "pathParameters": {"token": token} if route == "omie" else None,
        "body": text,
        "isBase64Encoded": encoded,
    }


class Door:
    """`answers`: (status, body) of each; `log`: every line written, to either stream."""

    def __init__(self, *, allow_static: bool = False) -> None:
        self.clock = VirtualClock(START)
        self.known = KNOWN
        self.asked: list[bool] = []
        self.webhooks = MemoryWebhooks()
        self.ledger = MemoryLedger()
        self.queues = MemoryQueues(now=lambda: self.clock.now().timestamp())
        self.log = io.StringIO()
        self.deps = ReceiveDeps(
            senders=SimpleNamespace(known=self._known),
            webhooks=self.webhooks,
            holds=self.ledger,
            queues=self.queues,
            urls={"changes": "changes", "churns": "churns", "invoices": "invoices"},
            clock=self.clock,
            tell=plain_log.teller("DEBUG"),
            allow_static=allow_static,
        )
        self._handler = _handler()

    def _known(self, *, fresh: bool = False) -> Known:
        self.asked.append(fresh)
        return self.known

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def take(self, given: dict[str, Any]) -> tuple[int, str]:
        """One event through the handler."""
        with (
            mock.patch.object(bootstrap, "receive_webhook", return_value=self.deps),
            redirect_stdout(self.log),
            redirect_stderr(self.log),
        ):
            answer = self._handler(given, None)
        return answer["statusCode"], answer["body"]

    def jestor(self, content: object, route: str = "contract", *, at: int | None = None, secret: str = SECRET) -> int:
        """The status of a well-signed one."""
        text = json.dumps(content)
        signature = sign(text.encode(), self.now if at is None else at, secret)
        return self.take(event(route, text, {"X-Webhook-Signature": signature}))[0]

    def omie(self, content: object, *, token: str = TOKEN) -> int:
        return self.take(event("omie", json.dumps(content), {}, token=token))[0]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    @property
    def sent(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        return {url: messages for url, messages in self.queues.sent.items() if messages}


def _handler() -> Any:
    spec = importlib.util.spec_from_file_location("receive_webhook", ROOT / "functions" / "receive_webhook" / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler
