"""Brings a Jestor record to what it shall say: read, compare, write only what differs, in one update.

Every update fires the table's automations, and one of them writes to the customer. So an update whose answer was
lost is never simply repeated: the record is read again first, and if it shows the values, that was the update.

    read --- differs --> update x answer lost --> wait --> read --- nothing differs --> done, written once
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from billing.domain.links import without_ending_links
from billing.domain.money import MoneyError, parse_money, reais
from billing.domain.text import prose
from billing.jestor.client import BadAnswer, JestorRefused, JestorUnavailable, wait_before, with_drafts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from billing.clock import Clock
    from billing.jestor.client import Filter, JestorClient
    from billing.settings import Settings
    from billing.store.ports import Messages

ATTEMPTS: Final = 4
"""Updates of one record, each after a new look at it, before the queue tries again later."""
TABLES_WITH_DRAFTS: Final = ("contracts", "receivables")


@dataclass(frozen=True)
class UpdateDeps:
    settings: Settings
    jestor: Callable[[], JestorClient]
    queues: Messages
    clock: Clock


def update_jestor(message: Mapping[str, Any], deps: UpdateDeps) -> dict[str, Any]:
    """One message {"table", "jestor_id", "data", "why", "key"}: `data` is field API name -> value.

    Answers {"why", "jestor_id", "outcome"}: "written", "same" or "parked". What Jestor will never accept is parked
    with the reason; what passes by itself is raised, and the queue brings the message again.
    """
    table, record_id = str(message["table"]), int(message["jestor_id"])
    answer = {"why": str(message.get("why", "")), "jestor_id": record_id}
    try:
        written = bring(
            deps.jestor(), table, record_id, message["data"], clock=deps.clock, filters=drafts_too(deps.settings, table)
        )
    except JestorRefused as refused:
        deps.queues.park(
            {
                **answer,
                "version": 1,
                "kind": "jestor_write",
                "table": table,
                "fields": sorted(message["data"]),
                "key": str(message.get("key", "")),
                "reason": str(refused),
                "safe_action": "Corrija o registro ou a tabela no Jestor; a varredura diária grava de novo.",
            },
            group=f"{table}#{record_id}",
            dedup=f"jestor-write-{message.get('key', '')}"[:128],
        )
        return answer | {"outcome": "parked"}
    return answer | {"outcome": "written" if written else "same"}


def drafts_too(settings: Settings, table: str) -> tuple[Filter, ...]:
    """The filter without which Jestor hides drafts, for a table whose draft flag the settings name."""
    known = (getattr(settings.jestor, name) for name in TABLES_WITH_DRAFTS)
    flags = [found.fields.draft for found in known if found is not None and found.table == table]
    return tuple(map(with_drafts, flags))


def bring(
    jestor: JestorClient,
    table: str,
    record_id: int,
    data: Mapping[str, Any],
    *,
    clock: Clock,
    filters: tuple[Filter, ...] = (),
    whole: bool = False,
    consumed: frozenset[str] = frozenset(),
    wanted: Callable[[Mapping[str, Any]], bool] | None = None,
) -> tuple[str, ...]:
    """The fields that differed and were written; empty when the record says so already.

    Args:
        jestor: the client.
        table: API name.
        record_id: of the record.
        data: field API name -> value. An address that ends is left out of it: a record is read for months.
        clock: to wait between attempts.
        filters: see `drafts_too`.
        whole: write all of `data` when anything differs, for automations that look at what was sent.
        consumed: fields that an automation empties when it has used them: by them nobody can tell what was written.
        wanted: asked with the record before every write; False leaves it alone.

    Raises:
        JestorRefused: there is no such record, or Jestor will not have it so.
        JestorUnavailable, BadAnswer: not now.
    """
    data = {field: without_ending_links(value) if isinstance(value, str) else value for field, value in data.items()}
    for attempt in range(1, ATTEMPTS + 1):
        row = jestor.get(table, record_id, filters=filters)
        if row is None:
            fix = "Foi apagado, ou o token não o vê: confira no Jestor."
            raise JestorRefused(f"o registro {record_id} não existe", table=table, fix=fix)
        differing = tuple(
            field for field, value in data.items() if field not in consumed and not says(row.get(field), value)
        )
        if not differing or (wanted is not None and not wanted(row)):
            return ()
        try:
            jestor.update(table, record_id, data if whole else {field: data[field] for field in differing}, once=True)
        except (JestorUnavailable, BadAnswer) as error:
            if attempt == ATTEMPTS:
                raise
            clock.sleep(wait_before(attempt, getattr(error, "retry_after", None)))
        else:
            return differing
    raise AssertionError("the last attempt returns or raises")


def says(found: object, value: object) -> bool:
    """Whether a field of a record already holds a value, however Jestor writes it.

    Empty is empty ("" and null); a number may come as text; a day with a time; a connected record as an object; a text
    with other blanks and line breaks, or with its HTML entities.
    """
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, dict):
        found = next((inner for key, inner in found.items() if str(key).startswith("id_")), found)
    if value in (None, ""):
        return found in (None, "", [])
    if found in (None, ""):
        return False
    if isinstance(value, bool):
        return str(found).casefold() in ({"1", "true"} if value else {"0", "false"})
    if isinstance(value, int | float | Decimal):
        return _number(found) == Decimal(str(value))
    text, wanted = prose(str(found)), prose(str(value))
    return text == wanted or (_is_day(wanted) and text[:10] == wanted and text[10:11] in {" ", "T"})


def _number(found: object) -> Decimal | None:
    """None for what is no number, or could be two ("1.000")."""
    try:
        return reais(parse_money(found)) if isinstance(found, str) else Decimal(str(found))
    except (MoneyError, InvalidOperation):
        return None


def _is_day(text: str) -> bool:
    return len(text) == 10 and text[4] == text[7] == "-" and text.replace("-", "").isdecimal()
