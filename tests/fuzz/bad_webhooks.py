"""Webhooks that must not be accepted, each with something in it that no answer and no log line may show."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.door import APP_KEY, OLDER, OTHER_APP_KEY, OTHER_TOKEN, SECRET, START, TOKEN, Door, event, sign

PERSON = {
    "nome": "Canária da Silva Pereira",
    "cpf": "390.533.447-05",
    "cnpj": "11.222.333/0001-81",
    "email": "canaria.pereira@example.com",
    "telefone": "+55 11 98888-7777",
    "endereco": "Rua das Canárias, 1234",
}
KEYS = (SECRET, OLDER, TOKEN, OTHER_TOKEN, APP_KEY, OTHER_APP_KEY)
CANARIES = (*PERSON.values(), *KEYS, "canary", "Canária", "39053344705", "11222333000181", "5511988887777")
NOW = int(START.timestamp())
REFUSALS = {
    (400, '{"message": "not understood"}'),
    (401, '{"message": "not authorized"}'),
    (413, '{"message": "too large"}'),
}
WORDS = {"level", "message", "service", "route", "status", "why"}
"""What a line about a refused webhook may say; its values are our own words."""


def _is_no_object(body: str) -> bool:
    try:
        return not isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return True


text = st.text(max_size=40)
person = st.dictionaries(st.sampled_from(sorted(PERSON)), st.just(None), max_size=4).map(
    lambda names: {name: PERSON[name] for name in names}
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.sampled_from(CANARIES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
ids = st.sampled_from(["jestor_id", "id_jestor", "object_id", "id", "id_contratos", "cliente_id"])
no_id = (
    st.integers(max_value=0)
    | st.integers(min_value=10**15)
    | st.floats()
    | st.booleans()
    | st.none()
    | st.sampled_from([*PERSON.values(), "", "12x", "-1", "1e3", " 12", "0x0c", "١٢"])
    | st.lists(st.integers(), max_size=2)
)
headers = st.dictionaries(
    st.sampled_from(["x-forwarded-for", "authorization", "cookie", "user-agent", "x-webhook-secret", "content-type"]),
    st.sampled_from(CANARIES) | text,
    max_size=3,
)
route = st.sampled_from(["contract", "churn"])


@st.composite
def welcome(draw: st.DrawFn) -> str:
    """A body that a right signature would open the door to."""
    return json.dumps({draw(ids): draw(st.integers(1, 10**6)), **draw(person)}, ensure_ascii=draw(st.booleans()))


unreadable = st.one_of(
    text.filter(_is_no_object),
    anything.filter(lambda found: not isinstance(found, dict)).map(json.dumps),
    welcome().map(lambda body: body[:-1]),
    welcome().map(lambda body: f"[{body}]"),
    welcome().map(lambda body: body.replace("{", '{"x": NaN, ', 1)),
    st.integers(1_000, 30_000).map(lambda depth: "[" * depth),
    st.tuples(ids, no_id, person).map(lambda parts: json.dumps({parts[0]: parts[1], **parts[2]})),
    person.map(json.dumps),
)
"""Bodies that say nothing, whoever signed them."""
beyond = st.integers(301, 10**9)
position = st.integers(0, 63)
misspelt = st.sampled_from(
    [
        "{right},t={now}",
        "v0={v1},t={now}",
        "T={now},v1={v1}",
        "t= {now},v1={v1}",
        "t={now},V1={v1}",
        "t={now};v1={v1}",
        f"t={{now}},v1={SECRET}",
        "t={now},v1=",
        "v1={v1}",
        "t=" + "9" * 400 + ",v1={v1}",
        SECRET,
    ]
)


@st.composite
def header_that_is_none(draw: st.DrawFn, body: bytes) -> str:
    """A signature header that proves nothing about this body now."""
    right = sign(body, NOW, SECRET)
    match draw(st.integers(0, 7)):
        case 0:
            return sign(body, NOW - draw(beyond), SECRET)
        case 1:
            return sign(body, NOW + draw(beyond), OLDER)
        case 2:
            return sign(body, NOW, draw(text.filter(lambda secret: secret not in KEYS)))
        case 3:
            return sign(draw(st.binary(max_size=20)) + b"}", NOW, SECRET)
        case 4:
            return right[: -1 - draw(position)]
        case 5:
            return _flipped(right, len(right) - 1 - draw(position))
        case 6:
            return draw(misspelt).format(right=right, now=NOW, v1=right.partition("v1=")[2])
        case _:
            return draw(text | st.sampled_from(CANARIES))


@st.composite
def forged(draw: st.DrawFn) -> dict[str, Any]:
    """A body that would be welcome, from somebody who does not know the secret, or late."""
    body = draw(welcome())
    given = draw(headers)
    if draw(st.integers(0, 9)):
        given["x-webhook-signature"] = draw(header_that_is_none(body.encode()))
    return event(draw(route), body, given)


anybody = welcome() | unreadable


@st.composite
def altered(draw: st.DrawFn) -> dict[str, Any]:
    """Signed, and then another body."""
    body, other = draw(welcome()), draw(anybody)
    if body == other:
        other = f"{other} "
    given = {**draw(headers), "x-webhook-signature": sign(body.encode(), NOW, SECRET)}
    return event(draw(route), other, given)


@st.composite
def signed_and_unreadable(draw: st.DrawFn) -> dict[str, Any]:
    """From Jestor itself, but it says nothing."""
    body = draw(unreadable)
    given = {**draw(headers), "x-webhook-signature": sign(_bytes(body), NOW, draw(st.sampled_from([SECRET, OLDER])))}
    if draw(st.booleans()):
        return event(draw(route), base64.b64encode(_bytes(body)).decode(), given, encoded=True)
    return event(draw(route), body, given)


@st.composite
def no_text(draw: st.DrawFn) -> dict[str, Any]:
    """Signed bytes that are no UTF-8, and base64 that is none."""
    body = draw(welcome()).encode().replace(b"}", draw(st.sampled_from([b"\xff}", b"\xc3}", b"\xed\xa0\x80}"])), 1)
    given = {"x-webhook-signature": sign(body, NOW, SECRET)}
    coded = base64.b64encode(body).decode()
    return event(draw(route), draw(st.sampled_from([coded, coded[:-1] + "*", "%%%"])), given, encoded=True)


@st.composite
def too_large(draw: st.DrawFn) -> dict[str, Any]:
    body = json.dumps({"jestor_id": 12, **PERSON, "x": "y" * draw(st.integers(65_537, 70_000))})
    return event(draw(route), body, {"x-webhook-signature": sign(body.encode(), NOW, SECRET)})


def omie_body(**more: object) -> dict[str, Any]:
    return {"messageId": "f5e2", "topic": "NFSe.NotaAutorizada", "event": {"codigo_os": 7}, "appKey": APP_KEY, **more}


wrong_token = text | st.sampled_from(
    [SECRET, OLDER, APP_KEY, TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), f"../{TOKEN}", *PERSON.values()]
)
likely_body = st.sampled_from(['{"ping":"omie"}', json.dumps(omie_body(author=PERSON))]) | unreadable
wrong_key = (anything | st.sampled_from([OTHER_APP_KEY, SECRET, TOKEN])).filter(lambda key: key != APP_KEY)
wrong_topic = st.none() | st.integers() | st.just("") | st.text(min_size=101, max_size=120)
no_omie_body = st.one_of(
    wrong_key.map(lambda key: json.dumps(omie_body(appKey=key, author=PERSON))),
    wrong_topic.map(lambda topic: json.dumps(omie_body(topic=topic, author=PERSON))),
    unreadable.filter(_is_no_object),
    person.map(lambda facts: json.dumps({"ping": "omie", "x": 1, **facts})),
)
from_nobodys_omie = st.builds(
    lambda body, given, token: event("omie", body, given, token=token), likely_body, headers, wrong_token
)
from_another_omie = st.builds(lambda body, given: event("omie", body, given, token=TOKEN), no_omie_body, headers)

bad_webhooks = st.one_of(
    forged(),
    forged(),
    altered(),
    signed_and_unreadable(),
    no_text(),
    from_nobodys_omie,
    from_another_omie,
    st.integers(0, 40).flatmap(lambda dice: forged() if dice else too_large()),
)


def complaints(door: Door, given: dict[str, Any]) -> list[str]:
    """What the door did with a bad webhook that it should not have; empty when all is well. The door stays clean."""
    door.log.seek(0)
    door.log.truncate()
    answer = door.take(given)
    written = door.log.getvalue()
    found = [] if answer in REFUSALS else [f"answered {answer}"]
    if door.webhooks.items or door.sent or door.ledger._holds:
        found.append("kept, queued or held something")
    shown = f"{answer[1]}\n{written}"
    found += [f"showed {canary}" for canary in CANARIES if canary.casefold() in shown.casefold()]
    lines = [json.loads(line) for line in written.splitlines()]
    if len(lines) != 1 or not set(lines[0]) <= WORDS:
        found.append(f"wrote {lines}")
    return found


def _flipped(signature: str, at: int) -> str:
    other = "0" if signature[at] != "0" else "1"
    return signature[:at] + other + signature[at + 1 :]


def _bytes(body: str) -> bytes:
    return body.encode("utf-8", "surrogatepass")
