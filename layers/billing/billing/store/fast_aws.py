"""AWS over the standard library alone: SigV4, JSON, one kept connection a service. For the receiver of webhooks.

`import boto3` and three clients are most of a cold start (docs/adr/0014-light-aws-client.md). Only what the receiver
calls is spoken here, all of it in the services' JSON protocol:

    dynamodb        PutItem, UpdateItem     JSON 1.0
    sqs             SendMessage             JSON 1.0
    secretsmanager  GetSecretValue          JSON 1.1

Credentials, region and AWS_ENDPOINT_URL come from the environment, as Lambda sets them. Errors:

    AwsError               code: AWS's own, e.g. ConditionalCheckFailedException; never the request, never a value
    └── AwsUnavailable     passes by itself: no answer, 5xx, throttled; already tried `TRIES` times
"""

import hashlib
import hmac
import json
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

TRIES: Final = 4
FIRST_DELAY: Final = 0.025
"""Seconds; doubles. Four tries wait 0.175 s at most, beside the time-outs."""
TIMEOUT: Final = 1.5
"""Seconds for one connect or answer: Omie gives a webhook seven in all."""
PASSING: Final = frozenset(
    {
        "InternalFailure", "InternalServerError", "InternalServiceError", "LimitExceededException",
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "ServiceUnavailable",
        "ThrottlingException", "TooManyRequestsException", "TransactionConflictException",
        "TransactionInProgressException",
    }
)  # fmt: skip

Send = Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]
"""(service address, headers, body) -> (status, body). Raises OSError or HTTPException when there was no answer."""


class AwsError(Exception):
    """AWS refused a call."""

    def __init__(self, service: str, code: str) -> None:
        super().__init__(f"{service}: {code}")
        self.code = code


class AwsUnavailable(AwsError):  # noqa: N818
    """No answer, or one that passes by itself, as often as was tried."""


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    target: str
    content_type: str


SERVICES: Final = {
    service.name: service
    for service in (
        Service("dynamodb", "DynamoDB_20120810", "application/x-amz-json-1.0"),
        Service("sqs", "AmazonSQS", "application/x-amz-json-1.0"),
        Service("secretsmanager", "secretsmanager", "application/x-amz-json-1.1"),
    )
}


class FastAws:
    """Calls AWS. A call that was answered with a passing failure, or not at all, is repeated: every write of the
    receiver may happen twice without harm.

    Args:
        environ: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION or AWS_DEFAULT_REGION, and
            AWS_ENDPOINT_URL if it is not AWS itself.
        send: how a request travels; kept connections by default.
        sleep: how to wait between tries.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        send: Send | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._environ = environ
        self._region = environ.get("AWS_REGION") or environ["AWS_DEFAULT_REGION"]
        self._send = send or Connections().send
        self._sleep = sleep
        self._now = now

    def call(self, service: str, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's JSON. Raises AwsError."""
        spoken = SERVICES[service]
        address = self._environ.get("AWS_ENDPOINT_URL") or f"https://{service}.{self._region}.amazonaws.com"
        body = json.dumps(request, ensure_ascii=False).encode("utf-8", "replace")
        unavailable = ""
        for tries in range(TRIES):
            if tries:
                self._sleep(FIRST_DELAY * 2.0 ** (tries - 1) * (1 + random.random()) / 2)
            headers = {"content-type": spoken.content_type, "x-amz-target": f"{spoken.target}.{action}"}
            signed = sign(
                headers, body, address=address, region=self._region, service=service, who=self._who, at=self._now()
            )
            try:
                status, answer = self._send(address, signed, body)
            except (OSError, HTTPException) as error:
                unavailable = type(error).__name__
                continue
            if status < 300:
                return json.loads(answer) if answer else {}
            code = _code(answer)
            if status < 500 and code not in PASSING:
                raise AwsError(service, code)
            unavailable = code or str(status)
        raise AwsUnavailable(service, unavailable)

    @property
    def _who(self) -> Credentials:
        env = self._environ
        return Credentials(
            env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_SESSION_TOKEN", "")
        )  # fmt: skip


class Connections:
    """One kept connection an address. Lambda runs one invocation at a time, so no two calls share one at once."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._open: dict[str, HTTPConnection] = {}
        self._tls: ssl.SSLContext | None = None

    def send(self, address: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        connection = self._open.pop(address, None) or self._connect(address)
        try:
            connection.request("POST", "/", body, dict(headers))
            answer = connection.getresponse()
            found = answer.status, answer.read()
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._open[address] = connection
        return found

    def close(self) -> None:
        """What is kept open; a later call opens anew."""
        while self._open:
            self._open.popitem()[1].close()

    def _connect(self, address: str) -> HTTPConnection:
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme == "https":
            self._tls = self._tls or ssl.create_default_context()  # reads all the authorities: 80 ms, so once
            return HTTPSConnection(host, parts.port, timeout=self._timeout, context=self._tls)
        return HTTPConnection(host, parts.port, timeout=self._timeout)


def sign(
    headers: Mapping[str, str], body: bytes, *, address: str, region: str, service: str, who: Credentials, at: float
) -> dict[str, str]:
    """The headers with SigV4's (AWS General Reference, "Signature Version 4"): a POST of `body` to `/`."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    day = moment[:8]
    signed = {**headers, "host": urlsplit(address).netloc, "x-amz-date": moment}
    if who.token:
        signed["x-amz-security-token"] = who.token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{who.secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={who.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def _code(answer: bytes) -> str:
    """AWS's error code: `{"__type": "prefix#Code"}`. Its message may quote a value, so it is not kept."""
    try:
        found = json.loads(answer)
    except ValueError:
        return ""
    kind = found.get("__type") if isinstance(found, dict) else None
    return kind.rpartition("#")[2] if isinstance(kind, str) else ""
