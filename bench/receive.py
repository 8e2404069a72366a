"""How fast a webhook is received: cold beside a conventional handler, and warm through the deployed API.

Cold: a fresh process each time, ours and the conventional one in turn, from its start until the first webhook is
answered. Ours is what `make build` makes (the layer has its .pyc); the conventional one what plain `sam build` makes of
bench/conventional (no .pyc), with boto3 from the virtual environment, compiled, as Lambda's runtime brings it; once
more with its .pyc, to tell what the code costs and what the compiling. All talk plain http to a stand-in for AWS on
this machine, so none pays for TLS. Python writes no .pyc meanwhile.

Warm: one caller over a kept connection to the stack on the emulator, while the functions that read the queues rest (on
AWS they have processors of their own; here they would take the receiver's). A churn's 202 comes after its hold is
written, so its time is the time until the contract cannot be billed. The floors: the same API and function refusing (no
call to AWS), and one PutItem of boto3 to the emulator's DynamoDB.
"""

import compileall
import hashlib
import hmac
import json
import os
import py_compile
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from ops import local

CONVENTIONAL: Final = local.ROOT / "bench" / "conventional"
BUILT: Final = local.ROOT / ".aws-sam" / "build"
OUT: Final = local.ROOT / "build" / "bench" / "conventional"
COMPILED: Final = OUT.with_name("conventional-compiled")
PROMISED_RATIO: Final = 0.35
PROMISED_RECEIVE_MS: Final = 200.0
PROMISED_CHURN_MS: Final = 250.0
WARM_UP: Final = 20
FIRST: Final = 900_001
"""The contracts of these webhooks are nobody's."""

ONE_WEBHOOK = """
import json, os, sys
import app
from types import SimpleNamespace
context = SimpleNamespace(function_name="receive", memory_limit_in_mb=1024, aws_request_id="bench",
                          invoked_function_arn="arn:aws:lambda:sa-east-1:000000000000:function:receive")
answer = app.handler(json.loads(sys.stdin.read()), context)
assert answer["statusCode"] == 202, answer
"""


# --- cold -------------------------------------------------------------------------------------------------------------


def cold(rounds: int) -> dict[str, Any]:
    """Milliseconds of each start, ours and the conventional one's, in turn."""
    _build()
    paths = {
        "ours": [BUILT / "ReceiveWebhookFunction", BUILT / "BillingLayer" / "python"],
        "conventional": [OUT / "Receive"],
        "compiled": [COMPILED],
    }
    taken: dict[str, list[float]] = {name: [] for name in paths}
    with _stand_in() as address:
        for _ in range(rounds + 1):
            for name, path in paths.items():
                taken[name].append(_start(path, address))
    taken = {name: times[1:] for name, times in taken.items()}  # the first of each found nothing in the disk's cache
    ours, conventional, compiled = (statistics.median(taken[name]) for name in paths)
    return {
        "rounds": rounds,
        "ours_ms": round(ours, 1),
        "conventional_ms": round(conventional, 1),
        "compiled_ms": round(compiled, 1),
        "ratio": round(ours / conventional, 3),
        "ratio_compiled": round(ours / compiled, 3),
        "interpreter_ms": round(statistics.median(_timed([sys.executable, "-c", ""], {}) for _ in range(rounds)), 1),
        "each_ms": {name: [round(one, 1) for one in times] for name, times in taken.items()},
    }


def _build() -> None:
    local.LOCAL.mkdir(exist_ok=True)
    local.build()
    if not (OUT / "Receive" / "app.py").exists():
        command = [
            str(local.TOOLS / "sam" / "bin" / "sam"), "build",
            "--template", str(CONVENTIONAL / "template.yaml"),
            "--build-dir", str(OUT),
            "--parameter-overrides", f"PythonRuntime=python{sys.version_info.major}.{sys.version_info.minor}",
        ]  # fmt: skip
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        env = {**os.environ, "PATH": path, "SAM_CLI_TELEMETRY": "0"}
        done = subprocess.run(command, cwd=local.ROOT, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"sam build of {CONVENTIONAL.name} failed:\n{done.stderr[-2000:]}")
    if not COMPILED.exists():
        shutil.copytree(OUT / "Receive", COMPILED)
        compileall.compile_dir(COMPILED, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def _start(path: Sequence[Path], address: str) -> float:
    env = {
        **local.KEYS,
        "AWS_REGION": local.KEYS["AWS_DEFAULT_REGION"],
        "AWS_ENDPOINT_URL": address,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",  # /var/task cannot be written to
        "LAMBDA_TASK_ROOT": str(path[0]),
        "AWS_LAMBDA_FUNCTION_NAME": "receive",
        "AWS_XRAY_SDK_ENABLED": "false",  # there is no daemon to send to; the import is what costs
        "POWERTOOLS_SERVICE_NAME": "billing-ops",
        "ALLOW_STATIC_WEBHOOK_SECRET": "false",
        **dict.fromkeys(
            ("DATA_BUCKET", "SETTINGS_KEY", "RUNS_TABLE", "WEBHOOKS_TABLE", "HOLDS_TABLE", "SECRETS_PREFIX",
             "CONTRACT_CHANGES_QUEUE_URL", "CONTRACT_CHURNS_QUEUE_URL", "INVOICE_EVENTS_QUEUE_URL"),
            "something",
        ),
    }  # fmt: skip
    env["CONTRACT_CHANGES_QUEUE_URL"] = f"{address}/000000000000/changes.fifo"
    body = json.dumps({"jestor_id": 12, "status": "Ativo", "valor": 1500})
    headers = {"content-type": "application/json", "x-webhook-signature": _signature(body.encode())}
    event = {
        "resource": "/webhooks/jestor/contract",
        "path": "/webhooks/jestor/contract",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": {"stage": "v1", "resourcePath": "/webhooks/jestor/contract", "requestId": "bench"},
        "body": body,
        "isBase64Encoded": False,
    }
    return _timed([sys.executable, "-c", ONE_WEBHOOK], env, json.dumps(event))


def _timed(command: list[str], env: dict[str, str], given: str = "") -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=env, input=given, capture_output=True, text=True, check=False)
    taken = (time.perf_counter() - began) * 1000
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return taken


def _signature(body: bytes) -> str:
    at = int(time.time())
    secret = local.JESTOR_WEBHOOK_SECRET.encode()
    return f"t={at},v1={hmac.new(secret, b'%d.' % at + body, hashlib.sha256).hexdigest()}"


class _StandIn(BaseHTTPRequestHandler):
    """Answers the JSON protocols: the secret when asked for it, and otherwise that all is well."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        secret = json.dumps({"jestor": [local.JESTOR_WEBHOOK_SECRET]})
        wanted = self.headers.get("x-amz-target", "").endswith("GetSecretValue")
        answer = json.dumps({"SecretString": secret} if wanted else {}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _stand_in() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _StandIn) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# --- warm -------------------------------------------------------------------------------------------------------------


def warm(webhooks: int) -> dict[str, Any]:
    """Milliseconds of each webhook, one after the other; the stack is the one that is up, or one of its own."""
    was_up = local.STATE.exists()
    state = json.loads(local.STATE.read_text()) if was_up else local.up(contracts=20, webhooks=False)
    try:
        with _workers_at_rest(state):
            return _warm(state, webhooks)
    finally:
        if not was_up:
            local.down()


@contextmanager
def _workers_at_rest(state: dict[str, Any]) -> Iterator[None]:
    functions = local.client(state, "lambda")
    sources = [one["UUID"] for one in functions.list_event_source_mappings()["EventSourceMappings"]]
    for source in sources:
        functions.update_event_source_mapping(UUID=source, Enabled=False)
    try:
        yield
    finally:
        for source in sources:
            functions.update_event_source_mapping(UUID=source, Enabled=True)


def _warm(state: dict[str, Any], webhooks: int) -> dict[str, Any]:
    to, outputs = state["addresses"]["webhooks"], state["outputs"]
    dynamodb = local.client(state, "dynamodb")
    numbers = iter(range(FIRST, FIRST + 10 * webhooks + 1000))
    with httpx.Client(timeout=30) as http:

        def post(route: str, expected: int, sign: Callable[[bytes], str]) -> float:
            body = json.dumps({"jestor_id": next(numbers), "status": "Churn", "evento": uuid4().hex}).encode()
            headers = {"content-type": "application/json", "x-webhook-signature": sign(body)}
            began = time.perf_counter()
            answer = http.post(f"{to}/jestor/{route}", content=body, headers=headers)
            taken = (time.perf_counter() - began) * 1000
            if answer.status_code != expected:
                raise RuntimeError(f"{route}: {answer.status_code} {answer.text}")
            return taken

        def put() -> float:
            began = time.perf_counter()
            item = {"webhook": {"S": uuid4().hex}, "state": {"S": "stored"}, "expires_at": {"N": "0"}}
            dynamodb.put_item(TableName=outputs["WebhooksTableName"], Item=item)
            return (time.perf_counter() - began) * 1000

        measured = {
            "contract": _spread(lambda: post("contract", 202, _signature), webhooks),
            "churn": _spread(lambda: post("churn", 202, _signature), webhooks),
            "refused": _spread(lambda: post("contract", 401, lambda _: "t=1,v1=0"), webhooks),
            "put_item": _spread(put, webhooks),
        }
    return {"webhooks": webhooks, **measured}


def _spread(act: Callable[[], float], times: int) -> dict[str, float]:
    for _ in range(WARM_UP):
        act()
    taken = sorted(act() for _ in range(times))
    at = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
    return {name: round(taken[min(int(share * times), times - 1)], 1) for name, share in at.items()} | {
        "max": round(taken[-1], 1)
    }


# --- what it says -----------------------------------------------------------------------------------------------------


def told(figures: dict[str, Any]) -> list[tuple[str, str]]:
    start, through = figures["cold"], figures["warm"]
    names = {
        "contract": f"contract webhook -> 202 (promised: p99 under {PROMISED_RECEIVE_MS:.0f} ms)",
        "churn": f"churn webhook -> hold and 202 (promised: p99 under {PROMISED_CHURN_MS:.0f} ms)",
        "refused": "floor: the same API and function refusing",
        "put_item": "floor: one PutItem, boto3 to the emulator",
    }
    return [
        (f"cold start, median of {start['rounds']}", f"{start['ours_ms']} ms"),
        ("conventional handler, likewise", f"{start['conventional_ms']} ms"),
        (f"ratio (promised: at most {PROMISED_RATIO})", str(start["ratio"])),
        ("the conventional one with its .pyc, ratio", f"{start['compiled_ms']} ms, {start['ratio_compiled']}"),
        ("of each, Python itself", f"{start['interpreter_ms']} ms"),
        *(
            (name, "p50 {p50}, p95 {p95}, p99 {p99}, max {max} ms".format(**through[key]))
            for key, name in names.items()
        ),
    ]


def shortcomings(figures: dict[str, Any]) -> list[str]:
    """Promises that were not measured to be kept."""
    start, through = figures["cold"], figures["warm"]
    found = []
    if start["ratio"] > PROMISED_RATIO:
        found.append(f"a cold start takes {start['ratio']} of a conventional one's time")
    if through["contract"]["p99"] >= PROMISED_RECEIVE_MS:
        found.append(f"a webhook takes {through['contract']['p99']} ms at p99")
    if through["churn"]["p99"] >= PROMISED_CHURN_MS:
        found.append(f"a churn takes {through['churn']['p99']} ms at p99")
    return found
