"""Low-code triggers: after a create, update or delete, Jestor posts whatever JSON the builder wrote.

There is no vendor envelope, no event id, no signature of Jestor's own and no second try. What a careful
builder can do in the script is send a static secret, and an HMAC of the body with the time it was sent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from simulators import world

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulators.jestor.table import Row

SECRET_HEADER: Final = "x-webhook-secret"  # noqa: S105 - a header's name
SIGNATURE_HEADER: Final = "x-webhook-signature"
DEEPEST: Final = 5
"""A trigger whose own writes fire triggers stops at this depth (x-low-code-trigger-depth)."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One after-trigger.

    event: after_create | after_update | after_delete. body: JSON key -> where its value comes from: a field
    ("status_1", "cliente.cnpj_cpf"), "old:field" for the value before, "$id", "$table", "$event", "$user" or
    "=literal". only_fields: fires only when one of these changed. only_values: fires only when the record has
    these values afterwards. secret: sent as SECRET_HEADER and used for SIGNATURE_HEADER
    (`t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`). wait: Jestor's default, the write's answer
    waits for the receiver (`//async` scripts do not).
    """

    table: str
    event: str
    url: str
    body: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""
    secret_header: str = SECRET_HEADER
    signature_header: str = SIGNATURE_HEADER
    only_fields: tuple[str, ...] = ()
    only_values: Mapping[str, Any] = field(default_factory=dict)
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """An outgoing call, ready to be sent once."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    wait: bool
    table: str
    record_id: int
    event: str


def builder_defined(url: str, secret: str, *, churn_url: str = "", wait: bool = False) -> list[Trigger]:
    """What the demo org's builder wrote: contract created or changed, its customer's data changed, and (given a
    `churn_url`) moved to the Churn stage.
    """
    body = {
        "evento": "$event",
        "tabela": "$table",
        "jestor_id": "$id",
        "status": world.FIELDS["status"],
        "status_anterior": f"old:{world.FIELDS['status']}",
        "valor": world.FIELDS["unit_amount"],
        "valor_anterior": f"old:{world.FIELDS['unit_amount']}",
        "alterado_por": "$user",
    }
    customer = {"evento": "$event", "tabela": "$table", "cliente_id": "$id", "alterado_por": "$user"}
    triggers = [
        Trigger(table, event, url, content, secret=secret, wait=wait)
        for table, event, content in (
            (world.CONTRACTS_TABLE, "after_create", body),
            (world.CONTRACTS_TABLE, "after_update", body),
            (world.CUSTOMERS_TABLE, "after_update", customer),
        )
    ]
    if churn_url:
        status = world.FIELDS["status"]
        churned = next(label for label, meaning in world.STATUS_LABELS.items() if meaning == "churned")
        churn = Trigger(world.CONTRACTS_TABLE, "after_update", churn_url, body, secret=secret, wait=wait)
        triggers.append(replace(churn, only_fields=(status,), only_values={status: churned}))
    return triggers


def fires(trigger: Trigger, table: str, event: str, before: Row, after: Row) -> bool:
    """Jestor fires an update trigger on any write, changed or not, unless the builder compared the values."""
    if (trigger.table, trigger.event) != (table, event):
        return False
    if trigger.only_fields and all(before.get(key) == after.get(key) for key in trigger.only_fields):
        return False
    return all(after.get(key) == value for key, value in trigger.only_values.items())


def build_post(trigger: Trigger, record_id: int, before: Row, after: Row, *, user: str, now: float, depth: int) -> Post:
    """The call a trigger makes; `after` and `before` have connected records nested."""
    facts = {"$id": record_id, "$table": trigger.table, "$event": trigger.event, "$user": user}
    content = {key: _value(source, facts, before, after) for key, source in trigger.body.items()}
    body = json.dumps(content).encode()
    headers = {
        "content-type": "application/json",
        "x-low-code-trigger-depth": str(depth + 1),
        **trigger.headers,
    }
    if trigger.secret:
        headers[trigger.secret_header] = trigger.secret
        headers[trigger.signature_header] = sign(trigger.secret, body, int(now))
    return Post(trigger.url, headers, body, trigger.wait, trigger.table, record_id, trigger.event)


def sign(secret: str, body: bytes, at: int) -> str:
    """`t=<at>,v1=<hex>`: HMAC-SHA256 over "<at>.<body>"."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _value(source: str, facts: Mapping[str, Any], before: Row, after: Row) -> object:
    if source.startswith("="):
        return source[1:]
    if source in facts:
        return facts[source]
    row = before if source.startswith("old:") else after
    value: Any = row
    for part in source.removeprefix("old:").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
