"""What arrives at the webhooks: checked before it is read, kept before it is acknowledged.

    check ──▶ read ──▶ keep the raw body ──▶ churn: put the hold ──▶ queue the hint ──▶ mark it queued ──▶ 202
    401       400      └────────────────────── any of them fails: 503, and never a 202 ──────────┘

A webhook is a hint: whoever takes it from the queue reads Jestor or Omie again. So two hints for one change do no
harm, and one lost after its 202 must not happen. Hence:

    Twice the same    What Omie names by `messageId`, and what Jestor's script signed with the same second and body, is
                      one webhook. The same body signed a second later is another one: a contract edited twice in
                      fields that the script does not send makes two equal bodies (docs/adr/0015).
    Kept, not queued  Whoever finds its own webhook kept but not yet queued goes on from there.
    Hold after keep   A doubled churn whose first one was acknowledged puts no second hold: nobody would lift it.

Of what Omie sends nothing but ids is believed, because Omie signs nothing; of deletions, nothing at all.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from billing.clock import Clock

Route = Literal["contract", "churn", "omie"]
Queue = Literal["changes", "churns", "invoices"]

ROUTES: Final[Mapping[str, Route]] = {
    "/webhooks/jestor/contract": "contract",
    "/webhooks/jestor/churn": "churn",
    "/webhooks/omie/{token}": "omie",
}
TOLERANCE: Final = 300
"""Seconds that Jestor's clock may differ from ours, either way."""
LONGEST_BODY: Final[Mapping[Route, int]] = {"contract": 65_536, "churn": 65_536, "omie": 262_144}
"""Bytes. Omie may send a whole NFS-e in its event, and what is refused stops all that it sends after it."""
LONGEST_HEADER: Final = 1024
SIGNATURE: Final = "x-webhook-signature"
SECRET: Final = "x-webhook-secret"  # noqa: S105 - a header's name
JESTOR_IDS: Final = ("jestor_id", "id_jestor", "object_id", "id")
TABLES: Final = ("tabela", "table", "object_type")
CUSTOMERS: Final = ("cliente_id", "customer_id")
TOPICS: Final = ("NFSe.", "OrdemServico.", "Financas.ContaReceber.", "ContratoServico.")
OMIE_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "nCodOS": ("codigo_os", "idOrdemServico", "nCodOS"),
    "nIdNf": ("id_nf", "nIdNf"),
    "nCodTitulo": ("codigo_lancamento_omie", "nCodTitulo"),
}
"""What an id is called in a hint -> what Omie calls it in its events."""
LARGEST_ID: Final = 10**15
HOLD_REASON: Final = "Churn avisado pelo Jestor."


@dataclass(frozen=True, slots=True)
class Request:
    """One POST, as it came. `headers`: lower-case names; of a name sent twice, both values with a comma."""

    route: Route
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Self:
        """From an API Gateway proxy event. What is no base64 although the event says so can be nobody's signature."""
        body = (event.get("body") or "").encode("utf-8", "surrogatepass")
        if event.get("isBase64Encoded"):
            try:
                body = b64decode(body, validate=True)
            except ValueError:
                body = b""
        sent = event.get("multiValueHeaders") or {name: [text] for name, text in (event.get("headers") or {}).items()}
        headers: dict[str, str] = {}
        for name, texts in sent.items():
            headers[name.lower()] = ",".join([*filter(None, [headers.get(name.lower())]), *texts])
        return cls(ROUTES[event["resource"]], headers, body, (event.get("pathParameters") or {}).get("token", ""))


@dataclass(frozen=True, slots=True)
class Sender:
    """A company's Omie: the path tokens it may use (two while one is replaced) and its app key."""

    tokens: tuple[str, ...] = field(repr=False)
    app_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """Who may send: secret `<prefix>/webhooks`."""

    jestor: tuple[str, ...] = field(default=(), repr=False)
    omie: Mapping[str, Sender] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Hint:
    """A message for a queue; `webhook` and `received_at` are added when it is sent."""

    queue: Queue
    group: str
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Webhook:
    """An accepted webhook. `key` names it, the same each time the same one comes; no hints: kept only."""

    key: str
    route: Route
    hints: tuple[Hint, ...]
    hold: str = ""
    company: str = ""
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    message: str


class Refused(Exception):  # noqa: N818
    """`why`: one of our own words, for the log; nothing of the request."""

    def __init__(self, status: Literal[400, 401, 413], why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Ping(Exception):  # noqa: N818
    """Omie's portal asks whether somebody listens."""


class Webhooks(Protocol):
    """What came, for 30 days."""

    def keep(self, webhook: Webhook, body: str, now: datetime) -> bool: ...
    def queued(self, key: str) -> None: ...


class Holds(Protocol):
    def put_hold(self, contract: str, reason: str, now: datetime) -> None: ...


class Sending(Protocol):
    def send(self, url: str, message: Mapping[str, Any], group: str, dedup: str) -> None: ...


class Senders(Protocol):
    def known(self, *, fresh: bool = False) -> Known:
        """Who may send; `fresh`: as it is now, not as it was remembered."""


class Tell(Protocol):
    def __call__(self, outcome: str, **facts: str | int) -> None: ...


@dataclass(frozen=True, slots=True)
class ReceiveDeps:
    """`urls`: of the three queues."""

    senders: Senders
    webhooks: Webhooks
    holds: Holds
    queues: Sending
    urls: Mapping[Queue, str]
    clock: Clock
    tell: Tell
    allow_static: bool = False


def receive_webhook(request: Request, deps: ReceiveDeps) -> Answer:
    """One webhook to its answer. Never raises: what went wrong is a 503 and the class of the error in the log."""
    try:
        webhook = _checked(request, deps)
        return _accept(webhook, request, deps)
    except Ping:
        return Answer(200, "pong")
    except Refused as refused:
        deps.tell("refused", route=request.route, status=refused.status, why=refused.why)
        return Answer(refused.status, ANSWERS[refused.status])
    except Exception as error:  # noqa: BLE001 - whatever it is, the sender must not believe we have it
        deps.tell("failed", route=request.route, status=503, error=type(error).__name__)
        return Answer(503, ANSWERS[503])


ANSWERS: Final = {
    202: "accepted",
    400: "not understood",
    401: "not authorized",
    413: "too large",
    503: "try again",
}


def _checked(request: Request, deps: ReceiveDeps) -> Webhook:
    """As the remembered secrets have it, and if they refuse: as the present ones do (one was replaced just now)."""
    now = int(deps.clock.now().timestamp())
    try:
        return decide(request, deps.senders.known(), now=now, allow_static=deps.allow_static)
    except Refused as refused:
        if refused.status != 401:
            raise
    return decide(request, deps.senders.known(fresh=True), now=now, allow_static=deps.allow_static)


def _accept(webhook: Webhook, request: Request, deps: ReceiveDeps) -> Answer:
    now = deps.clock.now()
    facts: dict[str, str | int] = {"route": webhook.route, "webhook": webhook.key}
    facts |= {name: value for name, value in (("company", webhook.company), ("topic", webhook.topic)) if value}
    if not deps.webhooks.keep(webhook, request.body.decode(), now):
        deps.tell("known", **facts)
        return Answer(202, ANSWERS[202])
    if webhook.hold:
        deps.holds.put_hold(webhook.hold, HOLD_REASON, now)
    for number, hint in enumerate(webhook.hints):
        message = {**hint.message, "source": "webhook", "webhook": webhook.key, "received_at": now.isoformat()}
        # The second is part of it: a hold that is put again must have a message of its own behind it.
        once = f"{webhook.key}.{number}.{int(now.timestamp())}"
        deps.queues.send(deps.urls[hint.queue], message, hint.group, once)
    if webhook.hints:
        deps.webhooks.queued(webhook.key)
    deps.tell("accepted", hints=len(webhook.hints), **facts)
    return Answer(202, ANSWERS[202])


# --- check, then read -------------------------------------------------------------------------------------------------


def decide(request: Request, known: Known, *, now: int, allow_static: bool) -> Webhook:
    """Pure: the webhook this request is. Raises Refused or Ping.

    Args:
        request: the POST.
        known: who may send.
        now: seconds since the epoch.
        allow_static: whether Jestor may send the secret itself instead of a signature.
    """
    if len(request.body) > LONGEST_BODY[request.route]:
        raise Refused(413, "size")
    if request.route == "omie":
        return _from_omie(request, known)
    return _from_jestor(request, known, now, allow_static=allow_static)


def _from_jestor(request: Request, known: Known, now: int, *, allow_static: bool) -> Webhook:
    at = _signed_at(request, known.jestor, now, allow_static=allow_static)
    content = _object(request.body)
    contract = _contract_id(content)
    customer = None if contract else _first_id(content, CUSTOMERS)
    hold = ""
    if contract:
        code = f"JST-{contract}"
        queue: Queue = "churns" if request.route == "churn" else "changes"
        hint = Hint(queue, code, {"contract": code, "jestor_id": contract})
        hold = code if request.route == "churn" else ""
    elif customer and request.route == "contract":
        hint = Hint("changes", f"customer-{customer}", {"customer": customer})
    else:
        raise Refused(400, "no id")
    key = _digest(request.route, str(at), request.body)
    return Webhook(key, request.route, (hint,), hold=hold)


def _signed_at(request: Request, secrets: tuple[str, ...], now: int, *, allow_static: bool) -> int:
    """When it was signed; with the static secret, when it came."""
    header = request.headers.get(SIGNATURE, "")
    if header:
        at, given = _signature(header)
        text = b"%d." % at + request.body
        expected = [hmac.digest(secret.encode(), text, "sha256").hex() for secret in secrets]
        if not _any_equal(given, expected):
            raise Refused(401, "signature")
        if abs(now - at) > TOLERANCE:
            raise Refused(401, "time")
        return at
    if not allow_static:
        raise Refused(401, "unsigned")
    if not _any_equal([request.headers.get(SECRET, "")], secrets):
        raise Refused(401, "secret")
    return now


def _signature(header: str) -> tuple[int, list[str]]:
    """`t=<unix seconds>,v1=<hex>[,v1=<hex>...]`; other names are for later versions and count for nothing."""
    if len(header) > LONGEST_HEADER:
        raise Refused(401, "signature header")
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not _digits(times[0]):
        raise Refused(401, "signature header")
    return int(times[0]), [value for name, _, value in pairs if name == "v1"]


def _from_omie(request: Request, known: Known) -> Webhook:
    company = ""
    for name, sender in known.omie.items():  # all of them, so that the time it takes names no company
        if _any_equal([request.token], sender.tokens):
            company = name
    if not company:
        raise Refused(401, "token")
    content = _object(request.body)
    if content == {"ping": "omie"}:
        raise Ping
    if not _any_equal([content.get("appKey")], [known.omie[company].app_key]):
        raise Refused(401, "app key")
    topic = content.get("topic")
    if not isinstance(topic, str) or not 0 < len(topic) <= 100:
        raise Refused(400, "no topic")
    message = content.get("messageId")
    key = _digest("omie", company, message if isinstance(message, str) and message else request.body)
    known_topic = topic if topic.startswith(TOPICS) and _plain(topic) else ""
    tells = known_topic and not _is_deletion(known_topic)
    hints = tuple(_invoice_hints(company, topic, content.get("event"))) if tells else ()
    return Webhook(key, "omie", hints, company=company, topic=known_topic)


def _is_deletion(topic: str) -> bool:
    """Financas.ContaReceber.Excluido, OrdemServico.Excluida...: of what is gone Omie answers every question with an
    error, and the lists that the sweep reads do not show it any more.
    """
    return topic.rpartition(".")[2].casefold().startswith("exclu")


def _invoice_hints(company: str, topic: str, event: object) -> Iterator[Hint]:
    """One for each document named. BaixaRealizada's event is a list, and the titles are a list inside it."""
    seen: list[dict[str, Any]] = []
    for part in event if isinstance(event, list) else [event]:
        if not isinstance(part, dict):
            continue
        titles = part.get("conta_a_receber")
        for facts in titles if isinstance(titles, list) else [part]:
            if not isinstance(facts, dict):
                continue
            ids: dict[str, Any] = {name: _first_id(facts, names) for name, names in OMIE_IDS.items()}
            ids["numero_pedido"] = _number_of_order(facts.get("numero_pedido"))
            if any(ids.values()) and ids not in seen and len(seen) < MOST_DOCUMENTS:
                seen.append(ids)
                document = ids["nCodOS"] or next(f"{name}-{value}" for name, value in ids.items() if value)
                yield Hint("invoices", f"{company}#{document}", {"company": company, "topic": topic, **ids})


MOST_DOCUMENTS: Final = 100
"""Of one webhook. What is beyond is found by the daily reading, like what no webhook brought."""


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or too deep
        raise Refused(400, "no JSON") from None
    if not isinstance(content, dict):
        raise Refused(400, "no object")
    return content


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _contract_id(content: Mapping[str, Any]) -> int | None:
    """The Jestor record's id, by any name it is sent under; `id_<table>` of the table named, or of the only one."""
    if found := _first_id(content, JESTOR_IDS):
        return found
    tables = [f"id_{content[name]}" for name in TABLES if isinstance(content.get(name), str)]
    if tables:
        return _first_id(content, tables)
    others = [name for name in content if name.startswith("id_")]
    return _first_id(content, others) if len(others) == 1 else None


def _first_id(content: Mapping[str, Any], names: tuple[str, ...] | list[str]) -> int | None:
    return next((found for name in names if (found := _id(content.get(name)))), None)


def _id(value: object) -> int | None:
    """A record's id: a positive whole number, or its digits."""
    if isinstance(value, str) and _digits(value):
        value = int(value)
    return value if type(value) is int and 0 < value < LARGEST_ID else None


def _number_of_order(value: object) -> str | None:
    text = str(value) if type(value) is int else value
    return text if isinstance(text, str) and 0 < len(text) <= 15 and _plain(text) else None


def _digits(text: str) -> bool:
    return 0 < len(text) <= 15 and text.isascii() and text.isdigit()


def _plain(text: str) -> bool:
    return text.isascii() and all(letter.isalnum() or letter in "._-/" for letter in text)


def _any_equal(given: list[Any] | list[str], expected: tuple[str, ...] | list[str]) -> bool:
    """Is one of the given an expected one? All are compared, each in constant time."""
    equal = False
    for one in given:
        for other in expected:
            equal |= isinstance(one, str) and hmac.compare_digest(_bytes(one), _bytes(other))
    return equal


def _digest(*parts: str | bytes) -> str:
    """A name that says nothing of what it names."""
    return hashlib.sha256(b"\n".join(map(_bytes, parts))).hexdigest()


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")  # JSON may name half a pair
