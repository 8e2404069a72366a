"""The light AWS client: signatures beside botocore's own, patience, and what it says of a refusal."""

import json
import ssl
import threading
from datetime import UTC, datetime
from http.client import BadStatusLine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from billing.store.fast_aws import TRIES, AwsError, AwsUnavailable, Connections, Credentials, FastAws, sign

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary-secret", "AWS_REGION": "sa-east-1"}
AT = datetime(2026, 12, 1, 9, 0, 12, tzinfo=UTC)
plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(body=st.binary(max_size=300), secret=plain, token=st.just("") | plain, port=st.sampled_from(["", ":4566"]))
def test_a_request_is_signed_as_botocore_signs_it(body, secret, token, port):
    address = f"https://dynamodb.sa-east-1.amazonaws.com{port}"
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.PutItem"}
    request = AWSRequest("POST", f"{address}/", headers=headers, data=body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda **_: AT.replace(tzinfo=None))
        theirs = BotocoreCredentials("AKIDEXAMPLE", secret, token or None)
        SigV4Auth(theirs, "dynamodb", "sa-east-1").add_auth(request)
    ours = sign(
        headers,
        body,
        address=address,
        region="sa-east-1",
        service="dynamodb",
        who=Credentials("AKIDEXAMPLE", secret, token),
        at=AT.timestamp(),
    )
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]


class Wire:
    """Answers in turn; an exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []

    def __call__(self, address, headers, body):
        self.sent.append((address, headers, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(wire, **more):
    waits = []
    return FastAws({**KEYS, **more}, send=wire, sleep=waits.append, now=AT.timestamp), waits


def refused(code, status=400):
    return status, json.dumps({"__type": f"com.amazonaws#{code}", "message": "holds 123.456.789-09"}).encode()


def test_a_call_goes_to_the_services_own_address_in_its_own_dialect():
    wire = Wire((200, b'{"SecretString": "x"}'))
    assert client(wire)[0].call("secretsmanager", "GetSecretValue", {"SecretId": "p/webhooks"}) == {"SecretString": "x"}
    ((address, headers, body),) = wire.sent
    assert address == "https://secretsmanager.sa-east-1.amazonaws.com"
    assert headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert json.loads(body) == {"SecretId": "p/webhooks"}


def test_another_endpoint_and_the_older_name_of_the_region_are_heeded():
    wire = Wire((200, b""))
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    aws = FastAws({**keys, "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, send=wire)
    assert aws.call("sqs", "SendMessage", {}) == {}
    ((address, headers, _),) = wire.sent
    assert address == "http://127.0.0.1:4566"
    assert headers["host"] == "127.0.0.1:4566"
    assert "/us-east-1/sqs/aws4_request" in headers["authorization"]


def test_a_sessions_token_travels_signed():
    wire = Wire((200, b"{}"))
    client(wire, AWS_SESSION_TOKEN="session")[0].call("dynamodb", "PutItem", {})
    headers = wire.sent[0][1]
    assert headers["x-amz-security-token"] == "session"
    assert "x-amz-security-token" in headers["authorization"]


@pytest.mark.parametrize(
    "passing",
    [
        ConnectionResetError("reset"),
        TimeoutError("slow"),
        BadStatusLine(""),
        (500, b"<html>"),
        refused("InternalServerError", 500),
        refused("ThrottlingException"),
        refused("TransactionConflictException"),  # a charge of this contract is being claimed
        refused("ProvisionedThroughputExceededException"),
    ],
    ids=str,
)
def test_what_passes_is_tried_again_a_bounded_number_of_times(passing):
    wire = Wire(passing, (200, b'{"ok": 1}'))
    aws, waits = client(wire)
    assert aws.call("dynamodb", "PutItem", {}) == {"ok": 1}
    assert len(waits) == 1
    wire = Wire(*[passing] * TRIES)
    aws, waits = client(wire)
    with pytest.raises(AwsUnavailable):
        aws.call("dynamodb", "PutItem", {})
    assert not wire.answers
    assert sum(waits) < 0.2


def test_a_refusal_is_told_at_once_by_its_code_alone():
    wire = Wire(refused("ConditionalCheckFailedException"))
    aws, waits = client(wire)
    with pytest.raises(AwsError) as caught:
        aws.call("dynamodb", "PutItem", {})
    assert (str(caught.value), waits) == ("dynamodb: ConditionalCheckFailedException", [])
    assert not isinstance(caught.value, AwsUnavailable)


@pytest.mark.parametrize("answer", [b"", b"not json", b"[]", b'{"message": "no"}', b'{"__type": 5}'])
def test_a_refusal_without_a_code_is_a_refusal(answer):
    with pytest.raises(AwsError) as caught:
        client(Wire((403, answer)))[0].call("sqs", "SendMessage", {})
    assert caught.value.code == ""


def test_credentials_show_no_key():
    assert "canary" not in repr(Credentials("AKID", "canary-secret", "canary-token"))


@pytest.fixture
def server():
    """Counts connections; closes each after the second answer."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            seen.append(0)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            seen[-1] += 1
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            if seen[-1] == 2:
                self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", seen
    http.shutdown()
    http.server_close()


def test_a_connection_is_kept_until_the_other_side_closes_it(server):
    address, seen = server
    connections = Connections()
    assert [connections.send(address, {}, b"%d" % n) for n in range(5)] == [(200, b"%d" % n) for n in range(5)]
    assert seen == [2, 2, 1]
    connections.close()
    assert connections.send(address, {}, b"x") == (200, b"x")
    connections.close()


def test_nobody_there_is_an_os_error():
    with pytest.raises(OSError):
        Connections(timeout=0.5).send("http://127.0.0.1:1", {}, b"")


def test_aws_itself_is_spoken_to_over_tls_with_its_certificate_checked():
    connections = Connections()
    first, second = (connections._connect(f"https://{name}.sa-east-1.amazonaws.com") for name in ("sqs", "dynamodb"))
    assert first.default_port == 443
    assert first._context is second._context
    assert first._context.verify_mode is ssl.CERT_REQUIRED
    assert first._context.check_hostname
