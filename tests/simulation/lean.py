"""What a schedule does not prove is done once, or with less ceremony: the same answers in half of the time.

Batches of three, so that a company has several messages. The report's pages are not drawn. What is a pure function of
what was read before is remembered: a Jestor row, the table's fields, a line of a plan. The rows of a plan wait in a list
instead of a file. Tenacity is called only once something failed. JSON's readers and writers are made once.
`test_lean.py` holds all of it but the size of a batch to what it stands for.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Self

import msgspec
import tenacity

from billing import batches, plan_company, report, sweep_contracts
from billing.domain.charge import Charge
from billing.domain.contract import BadRow, Contract
from billing.domain.plan import PlanLine
from billing.jestor import client as jestor_client
from billing.jestor import rows
from billing.jestor.field_map import Options, Row, check_fields, option_labels, to_contract
from billing.settings import TableMap
from billing.store.ledger import to_charge
from simulators import memory_store
from simulators.omie import answers

BATCH_SIZE = 3
MOST_REMEMBERED = 5000

_dumps, _loads, _Retrying = json.dumps, json.loads, tenacity.Retrying
_read_answer, _from_json = jestor_client.read_answer, PlanLine.from_json


@contextmanager
def lean() -> Iterator[None]:
    before = [(home, name, vars(home)[name]) for home, name, _ in _INSTEAD]
    for home, name, instead in _INSTEAD:
        setattr(home, name, instead)
    try:
        yield
    finally:
        for home, name, real in before:
            setattr(home, name, real)


# ------------------------------------------------------------------------------------------------------- remembered


class _Memory(dict[Any, Any]):
    def keep(self, key: object, found: Any) -> Any:
        if len(self) > MOST_REMEMBERED:
            self.clear()
        self[key] = found
        return found


_ROWS, _LINES, _TABLES, _CHARGES = _Memory(), _Memory(), _Memory(), _Memory()


def _row(row: Row, table_map: TableMap, companies: Mapping[str, str], options: Options) -> Contract | BadRow:
    """The same row of the same companies' table is the same contract."""
    key = (repr(row), tuple(companies))
    return _ROWS.get(key) or _ROWS.keep(key, to_contract(row, table_map, companies, options))


def _charge(item: Mapping[str, Any]) -> Charge:
    """The memory's ledger writes an item anew, and never changes one."""
    known, charge = _CHARGES.get(id(item)) or _CHARGES.keep(id(item), (item, to_charge(item)))
    return charge if known is item else to_charge(item)


def _line(text: str) -> PlanLine:
    return _LINES.get(text) or _LINES.keep(text, _from_json(text))


class _Table(list[Any]):
    """A table's fields that were read before, and what was asked of them."""

    def __init__(self, fields: Iterable[Any]) -> None:
        super().__init__(fields)
        self.options = option_labels(self)
        self.problems = _Memory()


def _answer(response: Any, *, path: str, table: str) -> Any:
    if path != "/objectProperties/index" or response.status_code != 200:
        return _read_answer(response, path=path, table=table)
    key = response.content
    return _TABLES.get(key) or _TABLES.keep(key, _Table(_read_answer(response, path=path, table=table)))


def _options(fields: list[Any]) -> Options:
    return fields.options if isinstance(fields, _Table) else option_labels(fields)


def _problems(
    fields: Any, table_map: TableMap, companies: Iterable[str] = (), services: Iterable[str] = ()
) -> list[str]:
    key = (id(table_map), *companies, None, *services)
    asked = fields.problems if isinstance(fields, _Table) else _Memory()
    found: list[str] | None = asked.get(key)
    return asked.keep(key, check_fields(fields, table_map, companies, services)) if found is None else found


# ----------------------------------------------------------------------------------------------- with less ceremony


class _Spool:
    """As much of a temporary file as `_Rows` needs, and of pickle."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.seek(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def seek(self, place: int) -> None:
        self.place = place

    @staticmethod
    def dump(row: Any, spool: "_Spool") -> None:
        spool.rows.append(row)

    @staticmethod
    def load(spool: "_Spool") -> Any:
        if spool.place == len(spool.rows):
            raise EOFError
        spool.place += 1
        return spool.rows[spool.place - 1]


class _RetryingOnceFailed:
    def __init__(self, **how: Any) -> None:
        self.how = how

    def __call__(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except Exception as error:  # noqa: BLE001 - tenacity decides
            first = [error]

        def again() -> Any:
            if first:
                raise first.pop()
            return call(*args)

        return _Retrying(**self.how)(again)


_write = msgspec.json.Encoder(decimal_format="number").encode
_write_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_write_question = json.JSONEncoder(sort_keys=True).encode


@lru_cache
def _reader(parse_float: Any) -> Any:
    return msgspec.json.Decoder(float_hook=parse_float).decode


def _write_json(value: Any, **how: Any) -> str:
    """Without the spaces and the escapes, which no reader sees; but a question is known by its very letters."""
    if "sort_keys" not in how:
        return _write(value).decode()
    return _write_sorted(value).decode() if "separators" in how else _write_question(value)


def _read_json(text: str | bytes, **how: Any) -> Any:
    """Whatever is not plainly JSON goes to the real reader, which knows what to say."""
    try:
        return _reader(how.get("parse_float"))(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _loads(text, **how)


_INSTEAD: list[tuple[Any, str, Any]] = [
    (report, "render_html", lambda _: ""),
    (report, "render_json", lambda _: ""),
    (report, "csv_tee", lambda _run, lines, _file: lines),
    (batches, "BATCH_SIZE", BATCH_SIZE),
    *((home, "to_contract", _row) for home in (plan_company, sweep_contracts, rows)),
    *((home, "option_labels", _options) for home in (plan_company, sweep_contracts, rows)),
    *((home, "check_fields", _problems) for home in (plan_company, sweep_contracts)),
    (plan_company, "tempfile", SimpleNamespace(TemporaryFile=_Spool)),
    (plan_company, "pickle", _Spool),
    (PlanLine, "from_json", staticmethod(_line)),
    (memory_store, "to_charge", _charge),
    (jestor_client, "read_answer", _answer),
    (jestor_client, "Retrying", _RetryingOnceFailed),
    (tenacity, "Retrying", _RetryingOnceFailed),
    (answers, "_ENCODER", SimpleNamespace(encode=lambda value: _write(value).decode())),
    (json, "dumps", _write_json),
    (json, "loads", _read_json),
]
