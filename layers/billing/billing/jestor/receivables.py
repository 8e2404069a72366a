"""Jestor's receivables table: its rows in our words and units, and back.

Values are what `domain.receivable.Values` says: centavos, whole numbers, text, ISO dates, None for an empty field. What
a field holds and cannot be read (a person typed "ver com Ana" into a date) is `UNREADABLE`, so that it is written anew.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from billing.domain import text as texts
from billing.domain.money import MoneyError, parse_money, to_json
from billing.domain.number import NumberError, whole
from billing.domain.receivable import Mark, Values
from billing.jestor.client import id_field, with_drafts
from billing.jestor.field_map import Options, option_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from billing.jestor.client import JestorClient
    from billing.settings import ReceivablesTable, Settings

UNREADABLE: Final = "?"

_MONEY: Final = frozenset(
    {"amount", "open_amount", "paid_amount", "collected_fine", "collected_interest", "charges", "charges_billed"}
)
_WHOLE: Final = frozenset({"title", "delay_days"})
_MARKED: Final = frozenset({"title", "company", "exception"})
"""What is read of a row to know whom a person spared."""
_DAYS: Final = frozenset({"due_date", "paid_date"})
_DAY: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:$|[ T])")


class TableProblems(ValueError):  # noqa: N818 - it is an answer, in Portuguese
    """The table no longer fits the settings: one line a problem."""


class ReceivableRow(NamedTuple):
    """One row. `title` is 0 when the row names none; `mark` is a person's."""

    jestor_id: int
    title: int
    company: str
    mark: Mark | None
    values: dict[str, Any]


def read_rows(
    jestor: JestorClient, settings: Settings, company: str, words: frozenset[str] | None = None
) -> Iterator[ReceivableRow]:
    """The company's rows and those of no company, by id. They may be used only after the last one came.

    `words`: the only fields that are read, and that the table must have; all of them when not given.

    Raises:
        TableProblems: the table does not fit `[jestor.receivables]`.
        JestorError: also when rows are missing.
    """
    table = _table(settings)
    properties = jestor.properties(table.table)
    options = option_labels(properties)
    problems = table_problems([str(field["key"]) for field in properties], table, options, words)
    if problems:
        raise TableProblems("\n".join(problems))
    mine = texts.fold(settings.companies[company].jestor_label)
    contract_id = id_field(settings.jestor.contracts.table)
    select = sorted({path for word, path in table.fields if path is not None and (words is None or word in words)})
    for raw in jestor.iter_records(table.table, filters=[with_drafts(table.fields.draft)], select=select):
        row = to_row(raw, table, options, contract_id)
        if texts.fold(row.company) in {"", mine}:
            yield row


def waivers(jestor: JestorClient, settings: Settings, company: str) -> dict[int, str]:
    """nCodTitulo -> "isento", "negociado" or "em_disputa", of every title a person has marked; {} without a table.

    A mark that the settings do not know counts as "em_disputa": whoever wrote it meant that something stops. Of two
    rows of one title the marked one counts.
    """
    table = settings.jestor.receivables
    if table is None or table.fields.exception is None:
        return {}
    rows = read_rows(jestor, settings, company, _MARKED)
    return {row.title: str(row.mark) for row in rows if row.title and row.mark}


def to_row(
    raw: Mapping[str, Any], table: ReceivablesTable, options: Mapping[str, Mapping[str, str]], contract_id: str
) -> ReceivableRow:
    """A row of `/object/list`; `contract_id` is the id field of the contracts table."""
    values = {
        word: _value(word, _plain(raw.get(path), contract_id), options.get(path, {}))
        for word, path in table.fields
        if path is not None and word != "draft"
    }
    title = values.get("title")
    return ReceivableRow(
        jestor_id=int(raw[id_field(table.table)]),
        title=title if isinstance(title, int) else 0,
        company=str(values.get("company") or ""),
        mark=_mark(values.get("exception"), table),
        values=values,
    )


def to_fields(values: Values, table: ReceivablesTable) -> dict[str, Any]:
    """What `create` and `update` take: field -> value as Jestor keeps it. Words without a field are left out."""
    found: dict[str, Any] = {}
    for word, value in values.items():
        path = getattr(table.fields, word)
        if path is not None:
            found[path] = to_json(value) if word in _MONEY and isinstance(value, int) else value
    return found


def table_problems(
    keys: Sequence[str], table: ReceivablesTable, options: Options, words: frozenset[str] | None = None
) -> list[str]:
    """What makes syncing pointless: fields that are gone, options that do not exist. One Portuguese line each.

    `words`: as in `read_rows`; options matter only to who writes, and so reads all.
    """
    lines = []
    for word, path in table.fields:
        if path is None or path in keys or word == "draft" or (words is not None and word not in words):
            continue
        near = difflib.get_close_matches(path, sorted(keys), n=3, cutoff=0.6)
        hint = f" Parecidos: {', '.join(near)}." if near else ""
        lines.append(
            f"jestor.receivables.fields.{word}: o campo {path} não existe mais na tabela {table.table}."
            f"{hint} Corrija o nome de API na configuração."
        )
    if words is not None:
        return lines
    stages = [*table.stages, table.resolved_stage]
    for setting, path, wanted in (
        ("status_labels", table.fields.status, list(table.status_labels)),
        ("stages", table.fields.stage, stages),
    ):
        existing = list(options.get(path or "", {}).values())
        missing = [label for label in wanted if label not in existing]  # to the letter: these are written
        if existing and missing:
            names = ", ".join(f'"{label}"' for label in missing)
            lines.append(
                f"jestor.receivables.{setting}: o campo {path} não tem a opção {names}. Crie-a no Jestor, ou use na "
                f"configuração o texto que o Jestor mostra."
            )
    return lines


def _table(settings: Settings) -> ReceivablesTable:
    if settings.jestor.receivables is None:
        raise TableProblems("a configuração não tem [jestor.receivables]: não há tabela de contas a receber no Jestor")
    return settings.jestor.receivables


def _mark(label: object, table: ReceivablesTable) -> Mark | None:
    if label is None:
        return None
    plain = {texts.fold(known): meaning for known, meaning in table.exception_labels.items()}
    return Mark(plain.get(texts.fold(str(label)), Mark.DISPUTED))


def _value(word: str, raw: Any, options: Mapping[str, str]) -> Any:
    text = "" if raw is None else texts.of(raw).strip()
    if not text:
        return None
    text = options.get(text, text)
    if word in _MONEY:
        return _centavos(raw)
    if word in _WHOLE or word == "contract":
        return _number(raw)
    if word in _DAYS:
        day = _DAY.match(text)
        return day[1] if day else UNREADABLE
    return text


def _plain(raw: Any, contract_id: str) -> Any:
    """A connected record comes as an object, as its id, or as a list of one."""
    if isinstance(raw, list):
        raw = raw[0] if len(raw) == 1 else UNREADABLE if raw else None
    return raw.get(contract_id, UNREADABLE) if isinstance(raw, dict) else raw


def _number(raw: Any) -> int | str:
    try:
        return whole(raw)
    except NumberError:
        return UNREADABLE


def _centavos(raw: Any) -> int | str:
    try:
        return parse_money(raw)
    except MoneyError:
        return UNREADABLE
