"""One contract of Jestor, as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing.jestor.client import JestorClient, equals, with_drafts
from billing.jestor.field_map import option_labels, to_contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from billing.domain.contract import BadRow, Contract
    from billing.jestor.field_map import Options
    from billing.settings import Settings

LABELS_FOR = 600.0
"""Seconds for which a table's option labels are remembered."""

Labels = dict[str, tuple[float, Any]]
"""Table -> (when they were read, its options). Outlives the invocation."""


def read_row(
    jestor: JestorClient, settings: Settings, jestor_id: int, *, labels: Labels, now: float
) -> Contract | BadRow | None:
    """The contract, drafts too; None when there is no such record, or the token may not see it. Raises JestorError."""
    table_map = settings.jestor.contracts
    raw = jestor.get(table_map.table, jestor_id, filters=[with_drafts(table_map.fields.draft)])
    if raw is None:
        return None
    return to_contract(raw, table_map, settings.company_by_label, _options(jestor, table_map.table, labels, now))


def rows_of_customer(jestor: JestorClient, settings: Settings, customer_id: int) -> Iterator[int]:
    """Ids of the contracts whose customer is that record of the connected table. Raises JestorError."""
    table_map = settings.jestor.contracts
    link, _, inner = table_map.fields.document.partition(".")
    if inner:
        rows = jestor.iter_records(table_map.table, filters=[equals(link, customer_id)], select=[link])
        yield from [int(row[f"id_{table_map.table}"]) for row in rows]


def rows_naming(jestor: JestorClient, settings: Settings, nCodCtr: int) -> list[int]:
    """Ids of the contracts that name this Omie contract by its number. Raises JestorError."""
    table_map = settings.jestor.contracts
    field = table_map.fields.omie_id
    if field is None or "." in field:
        return []
    page = jestor.list_page(table_map.table, page=1, filters=[equals(field, nCodCtr)], select=[field])
    return [int(row[f"id_{table_map.table}"]) for row in page.items]


def _options(jestor: JestorClient, table: str, labels: Labels, now: float) -> Options:
    read_at, options = labels.get(table, (0.0, None))
    if options is None or now - read_at > LABELS_FOR:
        options = option_labels(jestor.properties(table))
        labels[table] = (now, options)
    found: Options = options
    return found
