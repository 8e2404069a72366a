"""Schemathesis against docs/openapi.yaml: the handler behind a small HTTP shell, once as nobody, once as one who may.

As nobody, nothing is accepted. As one who may (the shell signs each body, and puts in the right token and app key), what
the document calls right must be accepted. In both, no answer is 5xx or undocumented, and no canary is shown.

Left out: `unsupported_method` (API Gateway answers 403 for an unknown method, and it is not what runs here) and
`negative_data_rejection` (a record may carry anything beside its id, also under another id's name).
"""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.fuzz.bad_webhooks import CANARIES
from tests.fuzz.door import APP_KEY, RESOURCES, ROOT, SECRET, TOKEN, Door, event, sign

DOCUMENT = ROOT / "docs" / "openapi.yaml"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "positive_data_acceptance",
)  # fmt: skip


def shell(door: Door, *, vouched: bool) -> Starlette:
    """What API Gateway does: three POST routes to the handler; one request at a time, as a Lambda gets them."""
    turn = threading.Lock()

    def endpoint(route: str) -> Any:
        async def call(request: Request) -> Response:
            body = await request.body()
            headers = dict(request.headers)
            token = str(request.path_params.get("token", ""))
            if vouched and route == "omie":
                token, body = TOKEN, _with_app_key(body)
            elif vouched:
                headers["x-webhook-signature"] = sign(body, door.now, SECRET)
            given = event(route, body.decode("utf-8", "replace"), headers, token=token)
            with turn:
                status, answer = door.take(given)
            return Response(answer, status, {"content-type": "application/json"})

        return call

    return Starlette(routes=[Route(path, endpoint(name), methods=["POST"]) for name, path in RESOURCES.items()])


def _with_app_key(body: bytes) -> bytes:
    try:
        content = json.loads(body)
    except ValueError:
        return body
    if isinstance(content, dict) and isinstance(content.get("appKey"), str):
        content["appKey"] = APP_KEY
    return json.dumps(content).encode()


def run(seed: int, examples: int) -> list[str]:
    """What was wrong, in words; empty when nothing was. Schemathesis' own report goes to the terminal."""
    found = []
    for vouched in (False, True):
        door = Door()
        who = "as one who may send" if vouched else "as nobody"
        print(f"schemathesis {who}:", flush=True)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(shell(door, vouched=vouched), log_level="error", access_log=False)
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            code = _schemathesis(listening.getsockname()[1], seed, examples)
            server.should_exit = True
            thread.join()
        if code:
            found.append(f"schemathesis {who} ended with {code}")
        if not vouched and (door.webhooks.items or door.sent):
            found.append(f"{len(door.webhooks.items)} accepted from nobody")
        if vouched and not door.webhooks.items:
            found.append("nothing accepted from one who may send")
        shown = door.log.getvalue().casefold()
        found += [f"{who}: a log line shows {canary}" for canary in CANARIES if canary.casefold() in shown]
        statuses: dict[str, int] = {}
        for line in door.lines():
            outcome = str(line.get("status", line["message"]))
            statuses[outcome] = statuses.get(outcome, 0) + 1
        print(f"  {sum(statuses.values())} webhooks: {dict(sorted(statuses.items()))}", flush=True)
    return found


def _schemathesis(port: int, seed: int, examples: int) -> int:
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(DOCUMENT),
        "--url", f"http://127.0.0.1:{port}",
        "--checks", ",".join(CHECKS),
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(examples),
        "--seed", str(seed),
        "--no-color",
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT / "build", check=False).returncode


def documented() -> dict[str, set[str]]:
    """Path -> methods of the published document."""
    paths = yaml.safe_load(DOCUMENT.read_text())["paths"]
    return {path: set(methods) for path, methods in paths.items()}
