"""A Jestor org without clock, sockets or threads: `handle` takes a call and the time, gives the answer.

Three API families over the same rows: `/object/*`, `/v3/low-code-execution/{function}`, `/webhook/{token}`.
Where Jestor's behaviour is documented or seen, this does the same; the guesses are `Switches`.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl

from simulators import world as names
from simulators.jestor.faults import FaultPlan
from simulators.jestor.filters import RELATIVE, BadFilter, Condition, predicate, read_filters
from simulators.jestor.schema import TABLES, USERS
from simulators.jestor.table import Query, Row, Table
from simulators.jestor.triggers import DEEPEST, Post, Trigger, build_post, fires
from simulators.world import brazilian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from simulators.world import World

OBJECT_WEBHOOK: Final = "wh-demo-novo-contrato"
"""POST /webhook/<this> creates a row of CONTRACTS_TABLE from the keys it knows; it cannot update."""
FUNCTION_WEBHOOK: Final = "wh-demo-registrar-fatura"
"""POST /webhook/<this> runs a function that writes INVOICE_FIELDS on the contract named by `jestor_id`."""

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}(:\d{2})?)?")
_HTML: Final = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back.

    delay: seconds to wait first. lost: break the connection instead of answering. posts: calls that triggers
    make because of it.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    lost: bool = False
    posts: tuple[Post, ...] = ()


@dataclass(frozen=True, slots=True)
class Switches:
    """What nobody documents.

    page_cap: most rows in a page (documented for `fetch`, assumed for lists). default_size: rows of a list
    without `size` (seen). unknown_fields: a filter, sort or value on a field that does not exist is refused
    with 422, or silently ignored.
    """

    page_cap: int = 500
    default_size: int = 20
    unknown_fields: Literal["refuse", "ignore"] = "refuse"


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """Becomes the error envelope with this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class _Call:
    """Who calls, when and from where."""

    by: str
    now: float
    depth: int
    rows_of: tuple[Condition, str] | None
    posts: list[Post] = field(default_factory=list)


class JestorCore:
    """The org, its book and its faults. Not thread-safe: one call at a time."""

    def __init__(
        self,
        world: World,
        *,
        switches: Switches | None = None,
        triggers: Iterable[Trigger] = (),
        seed: int = 0,
    ) -> None:
        self.world = world
        self.switches = switches or Switches()
        self.triggers = list(triggers)
        self.seed = seed
        self.reset()

    def reset(self) -> None:
        """The world as it began, no faults, an empty book; triggers stay."""
        self.faults = FaultPlan(Random(self.seed))
        self.tables = {name: Table(name, {f.key: f for f in fields}) for name, fields in TABLES.items()}
        self._load()
        self._writes: list[dict[str, Any]] = []
        self._calls: dict[str, Counter[str]] = defaultdict(Counter)
        self._deliveries: list[dict[str, Any]] = []
        self._runs = 0
        self._files = 0

    def _load(self) -> None:
        customers: dict[int, Row] = {}

        def contracts() -> Iterable[Row]:
            for row in self.world.jestor_rows():
                customer = row["cliente"]
                number = customer[names.CUSTOMER_ID]
                customers.setdefault(number, {**customer, "jestor_is_draft": 0})
                row["cliente"] = number
                yield row

        self.tables[names.CONTRACTS_TABLE].load(contracts())
        self.tables[names.CUSTOMERS_TABLE].load(customers[number] for number in sorted(customers))

    # ---------------------------------------------------------------------------------------- a call comes in

    def handle(self, path: str, headers: Mapping[str, str], body: bytes, *, now: float) -> Answer:
        """The answer to one POST. `path` may carry a query; header names in any case; `now`: Unix time."""
        route, _, query = path.partition("?")
        lower = {key.lower(): value for key, value in headers.items()}
        org = _org(lower.get("host", ""))
        tally = self._calls[_tally_name(route)]
        tally["count"] += 1
        struck = self.faults.striking(route)
        limit = self.faults.over_the_limit(now)
        if limit is None:
            limit = struck.get("rate_limited")
        delay = float(struck.get("slow", {}).get("seconds", 0))
        if limit is not None:
            tally["limited"] += 1
            wait = limit.get("retry_after")
            retry = {} if wait is None else {"Retry-After": str(wait)}
            return _json(429, _error(429, "Too Many Requests", org), retry, delay=delay)
        if "server_error" in struck:
            tally["errors"] += 1
            status = int(struck["server_error"].get("status", 502))
            return Answer(status, _HTML, {"content-type": "text/html"}, delay)
        if "status_false" in struck:
            tally["errors"] += 1
            message = struck["status_false"].get("message", "Não foi possível concluir a operação")
            return _json(200, _error(422, message, org), delay=delay)
        try:
            call = self._caller(route, lower, now)
            data = self._dispatch(route, query, body, call)
        except Refused as refused:
            tally["errors"] += 1
            return _json(refused.code, _error(refused.code, str(refused), org), delay=delay)
        except BadFilter as bad:
            tally["errors"] += 1
            return _json(422, _error(422, str(bad), org), delay=delay)
        tally["ok"] += 1
        if "short_page" in struck:
            data = _shortened(data, int(struck["short_page"].get("rows", 1)))
        envelope = {"status": True, "data": data, "metadata": _metadata(org)}
        if "missing_data" in struck:
            del envelope["data"]
        answer = _json(200, envelope)  # written now: the fault below changes the rows it shows
        if "edit" in struck:
            call.posts.extend(self.edit(struck["edit"], now))
        return Answer(200, answer.body, answer.headers, delay, "lost_reply" in struck, tuple(call.posts))

    def _caller(self, route: str, headers: Mapping[str, str], now: float) -> _Call:
        depth = headers.get("x-low-code-trigger-depth", "")
        level = int(depth) if depth.isdigit() else 0
        if route.startswith("/webhook/"):
            return _Call("webhook", now, level, None)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or token not in {names.JESTOR_TOKEN, names.JESTOR_RESTRICTED_TOKEN}:
            raise Refused(401, "Token inválido")
        rows_of = None
        if token == names.JESTOR_RESTRICTED_TOKEN:
            label = names.COMPANIES["acme"].jestor_label
            rows_of = Condition("empresa_faturadora", "eq", label), names.CONTRACTS_TABLE
        return _Call("sdk" if route.startswith("/v3/") else "api", now, level, rows_of)

    def _dispatch(self, route: str, query: str, body: bytes, call: _Call) -> object:
        payload = _parsed(body)
        if route.startswith("/webhook/"):
            return self._webhook(route.removeprefix("/webhook/"), {**dict(parse_qsl(query)), **payload}, call)
        match route.rstrip("/"):
            case "/object/list":
                return self._list(payload, call)
            case "/object/create":
                table = self._table(payload.get("object_type"))
                return self._shown(table, self._create(table, payload.get("data"), call), nested=False)
            case "/object/update":
                table = self._table(payload.get("object_type"))
                return self._shown(table, self._update(table, payload.get("data"), call), nested=False)
            case "/object/describe":
                return self._describe(payload, call)
            case "/objectProperties/index":
                return [f.properties() for f in self._table(payload.get("object_type")).fields.values()]
        function = route.removeprefix("/v3/low-code-execution/")
        if function != route and function in _FUNCTIONS:
            arguments = payload.get("arguments")
            return _FUNCTIONS[function](self, arguments if isinstance(arguments, list) else [], call)
        raise Refused(404, f"Não existe {route}")

    # ------------------------------------------------------------------------------------------------ reading

    def _list(self, payload: Row, call: _Call) -> Row:
        """`limit`, `offset`, `fields` and `direction` are ignored, as the real one does."""
        table = self._table(payload.get("object_type"))
        size = _whole(payload.get("size"), self.switches.default_size)
        ids = self._ids(table, payload.get("filters"), call, sort=payload.get("sort"))
        page, more = self._page(ids, _whole(payload.get("page"), 1), size)
        nested = payload.get("nested_type") != "onlyrefs"
        return {"items": self._rows(table, page, payload.get("select"), nested=nested), "has_more": more}

    def _fetch(self, arguments: Sequence[Any], call: _Call) -> list[Row]:
        name, filters, limit, page, sort, select, mode, joined = _padded(
            arguments, None, None, 100, 1, None, None, "single", "AND"
        )
        table = self._table(name)
        ids = self._ids(table, filters, call, sort=sort, any_of=str(joined).upper() == "OR")
        chosen, _ = self._page(ids, _whole(page, 1), _whole(limit, 100))
        return self._rows(table, chosen, select, nested=mode == "nested")

    def _count(self, arguments: Sequence[Any], call: _Call) -> int:
        name, filters = _padded(arguments, None, None)
        return len(self._ids(self._table(name), filters, call, sort=None))

    def _describe(self, payload: Row, call: _Call) -> Row:
        table = self._table(payload.get("object_type"))
        record_id = _whole(payload.get("id"), 0)
        among = {record_id}
        visible = self._matching(table, (), call, any_of=False)
        if not table.ids(_by_id(table), visible, among):
            raise Refused(404, f"Registro {payload.get('id')} não encontrado")
        return self._shown(table, table.rows[record_id], nested=not payload.get("summarized"))

    def _table(self, name: object) -> Table:
        if name not in self.tables:
            raise Refused(422, f"O objeto {name} não existe")
        return self.tables[str(name)]

    def _ids(self, table: Table, filters: object, call: _Call, *, sort: object, any_of: bool = False) -> Sequence[int]:
        ignore = self.switches.unknown_fields == "ignore"
        conditions = read_filters(filters, table.fields, ignore_unknown=ignore)
        by, descending = self._sort(table, sort)
        today = datetime.fromtimestamp(call.now, UTC).date()
        day = str(today) if any(c.operator in RELATIVE for c in conditions) else ""
        hidden = tuple(self._hidden(table, conditions, call))
        query = Query((*conditions, None, *hidden), any_of, by, descending, day)
        among = None if any_of else _named_ids(table, conditions)
        return table.ids(query, self._matching(table, conditions, call, any_of=any_of), among)

    def _sort(self, table: Table, sort: object) -> tuple[str, bool]:
        words = str(sort or "").split()
        if not words:
            return table.id_field, False
        if words[0] not in table.fields:
            if self.switches.unknown_fields == "refuse":
                raise Refused(422, f"O campo {words[0]} não existe")
            return table.id_field, False
        return words[0], words[-1].lower() == "desc"

    def _hidden(self, table: Table, conditions: Sequence[Condition], call: _Call) -> Iterable[Condition]:
        """What every list leaves out without saying so: drafts, and rows the token may not see."""
        if not any(c.field == "jestor_is_draft" for c in conditions):
            yield Condition("jestor_is_draft", "ne", "1")
        if call.rows_of and call.rows_of[1] == table.name:
            yield call.rows_of[0]
        for limit in self.faults.standing("row_filter"):
            if limit["table"] == table.name:
                yield Condition(limit["field"], "eq", str(limit["value"]))

    def _matching(
        self, table: Table, conditions: Sequence[Condition], call: _Call, *, any_of: bool
    ) -> Callable[[Row], bool]:
        today = datetime.fromtimestamp(call.now, UTC).date()
        wanted = [predicate(c, today) for c in conditions]
        shown = [predicate(c, today) for c in self._hidden(table, conditions, call)]
        if any_of and wanted:
            return lambda row: all(p(row) for p in shown) and any(p(row) for p in wanted)
        return lambda row: all(p(row) for p in shown) and all(p(row) for p in wanted)

    def _page(self, ids: Sequence[int], page: int, size: int) -> tuple[Sequence[int], bool]:
        size = min(size, self.switches.page_cap)
        start = (page - 1) * size
        return ids[start : start + size], start + size < len(ids)

    def _rows(self, table: Table, ids: Sequence[int], select: object, *, nested: bool) -> list[Row]:
        show = self._shower(table, nested=nested)
        rows = [show(table.rows[i]) for i in ids]
        if not isinstance(select, list) or not select:
            return rows
        return [{key: row[key] for key in (table.id_field, *select) if key in row} for row in rows]

    def _shown(self, table: Table, row: Row, *, nested: bool) -> Row:
        return self._shower(table, nested=nested)(row)

    def _shower(self, table: Table, *, nested: bool) -> Callable[[Row], Row]:
        """How rows go out: connected records as objects or as ids, money in the style of the day."""
        connected = [
            (column.key, self.tables[column.connected].rows)
            for column in table.fields.values()
            if nested and column.connected
        ]
        styles = [fault["style"] for fault in self.faults.standing("money_as")]
        money = [column.key for column in table.fields.values() if styles and column.type == "currency"]

        def show(row: Row) -> Row:
            shown = dict(row)
            for key, records in connected:
                shown[key] = records.get(row.get(key, 0))
            for key in money:
                amount = row.get(key)
                if isinstance(amount, int | float):
                    shown[key] = brazilian(round(amount * 100)) if styles[-1] == "string" else float(amount)
            return shown

        return show

    # ------------------------------------------------------------------------------------------------ writing

    def _create(self, table: Table, data: object, call: _Call) -> Row:
        values = self._checked(table, data)
        values.pop(table.id_field, None)
        row = table.create({**table.empty_row(), "jestor_is_draft": 0, **values})
        self._note("create", table, row[table.id_field], values, call)
        self._fire("after_create", table, {}, row, call)
        return row

    def _update(self, table: Table, data: object, call: _Call) -> Row:
        values = self._checked(table, data)
        record_id = _whole(values.pop(table.id_field, None), 0)
        if record_id not in table.rows:
            raise Refused(422, f"Registro {record_id} não encontrado: informe {table.id_field}")
        before, after = table.update(record_id, values)
        self._note("update", table, record_id, values, call)
        self._fire("after_update", table, before, after, call)
        return after

    def _remove(self, arguments: Sequence[Any], call: _Call) -> bool:
        name, record = _padded(arguments, None, None)
        table, record_id = self._table(name), _whole(record, 0)
        row = table.remove(record_id)
        if row is None:
            return False
        self._note("delete", table, record_id, {}, call)
        self._fire("after_delete", table, row, row, call)
        return True

    def _checked(self, table: Table, data: object) -> Row:
        if not isinstance(data, dict):
            raise Refused(422, "Informe data com os campos do registro")
        values: Row = {}
        for key, value in data.items():
            if key not in table.fields:
                if self.switches.unknown_fields == "refuse":
                    raise Refused(422, f"O campo {key} não existe")
                continue
            values[key] = self._accepted(table, key, value)
        return values

    def _accepted(self, table: Table, key: str, value: Any) -> Any:
        """The value as Jestor keeps it; Refused when the field's type cannot hold it."""
        column = table.fields[key]
        if value is None or value == "":
            return value
        if column.connected:
            record = _whole(value, 0)
            if record not in self.tables[column.connected].rows:
                raise Refused(422, f"O campo {column.label} aponta para um registro que não existe")
            return record
        if column.options:
            for option, label in column.options:
                if value in {option, label}:
                    return option
            raise Refused(422, f"O campo {column.label} não tem a opção {value}")
        if column.type == "checkbox":
            return int(str(value).lower() in {"1", "true"})
        if column.type in {"date", "datetime"} and not _DATE.fullmatch(str(value)):
            raise Refused(422, f"O campo {column.label} deve ser uma data AAAA-MM-DD")
        return value

    def _note(self, what: str, table: Table, record_id: int, values: Row, call: _Call) -> None:
        self._writes.append(
            {
                "what": what,
                "table": table.name,
                "id": record_id,
                "by": call.by,
                "at": call.now,
                "data": values,
            }
        )

    def _fire(self, event: str, table: Table, before: Row, after: Row, call: _Call) -> None:
        if call.depth >= DEEPEST:
            return
        for trigger in self.triggers:
            if fires(trigger, table.name, event, before, after):
                old, new = (self._shown(table, row, nested=True) for row in (before, after))
                call.posts.append(
                    build_post(trigger, after[table.id_field], old, new, user=call.by, now=call.now, depth=call.depth)
                )
                self._runs += 2  # the script and its one native method

    # ----------------------------------------------------------------------------- functions, files, webhooks

    def _create_object(self, arguments: Sequence[Any], call: _Call) -> Row:
        name, data = _padded(arguments, None, None)
        table = self._table(name)
        return self._shown(table, self._create(table, data, call), nested=False)

    def _update_object(self, arguments: Sequence[Any], call: _Call) -> Row:
        name, data = _padded(arguments, None, None)
        table = self._table(name)
        return self._shown(table, self._update(table, data, call), nested=False)

    def _fetch_users(self, arguments: Sequence[Any], _call: _Call) -> list[Row]:
        _filters, limit, page = _padded(arguments, None, 100, 1)
        chosen, _ = self._page(range(len(USERS)), _whole(page, 1), _whole(limit, 100))
        return [dict(USERS[i]) for i in chosen]

    def _get_files(self, arguments: Sequence[Any], _call: _Call) -> list[Row]:
        name, record, column = _padded(arguments, None, None, None)
        return self._held_files(name, record, column)[2]

    def _add_file(self, arguments: Sequence[Any], call: _Call) -> list[Row]:
        name, config, record, column = _padded(arguments, None, None, None, None)
        table, record_id, files = self._held_files(name, record, column)
        files.append(self._stored(table.name, record_id, config))
        return self._put_files(table, record_id, column, files, call)

    def _update_file(self, arguments: Sequence[Any], call: _Call) -> list[Row]:
        name, config, file_id, record, column = _padded(arguments, None, None, None, None, None)
        table, record_id, files = self._held_files(name, record, column)
        kept = [f for f in files if f["id"] != file_id]
        if len(kept) == len(files):
            raise Refused(422, f"Arquivo {file_id} não encontrado")
        kept.append({**self._stored(table.name, record_id, config), "id": file_id})
        return self._put_files(table, record_id, column, kept, call)

    def _delete_file(self, arguments: Sequence[Any], call: _Call) -> list[Row]:
        name, file_id, record, column = _padded(arguments, None, None, None, None)
        table, record_id, files = self._held_files(name, record, column)
        return self._put_files(table, record_id, column, [f for f in files if f["id"] != file_id], call)

    def _held_files(self, name: object, record: object, column: object) -> tuple[Table, int, list[Row]]:
        table, record_id = self._table(name), _whole(record, 0)
        if record_id not in table.rows or column not in table.fields:
            raise Refused(422, f"Registro {record} ou campo {column} não encontrado")
        return table, record_id, json.loads(table.rows[record_id].get(str(column)) or "[]")

    def _put_files(self, table: Table, record_id: int, column: str, files: list[Row], call: _Call) -> list[Row]:
        """A file field is a string that holds a JSON array."""
        self._update(table, {table.id_field: record_id, column: json.dumps(files, ensure_ascii=False)}, call)
        return files

    def _stored(self, table: str, record_id: int, config: object) -> Row:
        if not isinstance(config, dict) or "name" not in config:
            raise Refused(422, "Informe name, content e contentType do arquivo")
        self._files += 1
        name, kind = str(config["name"]), config.get("contentType")
        return {
            "id": f"f{self._files}",
            "file": f"{table}/{record_id}/{name}",
            "name": name,
            "contentType": kind,
        }

    def _webhook(self, token: str, payload: Row, call: _Call) -> Row:
        table = self.tables[names.CONTRACTS_TABLE]
        if token == OBJECT_WEBHOOK:
            known = {key: value for key, value in payload.items() if key in table.fields}
            return {table.id_field: self._create(table, known, call)[table.id_field]}
        if token == FUNCTION_WEBHOOK:
            allowed = set(names.INVOICE_FIELDS.values())
            values = {key: value for key, value in payload.items() if key in allowed}
            row = self._update(table, {**values, table.id_field: payload.get("jestor_id")}, call)
            return {table.id_field: row[table.id_field]}
        raise Refused(404, "Webhook não encontrado")

    # -------------------------------------------------------------------------------------- the control plane

    def edit(self, change: Mapping[str, Any], now: float) -> tuple[Post, ...]:
        """A person works in Jestor: `{"table", "id", "data"}`, or `"create": {...}`, or `"delete": [ids]`.

        Returns the calls the triggers make. `user` (default "person") is who did it. Raises Refused.
        """
        call = _Call(str(change.get("user", "person")), now, 0, None)
        table = self._table(change.get("table", names.CONTRACTS_TABLE))
        if "id" in change:
            self._update(table, {**change.get("data", {}), table.id_field: change["id"]}, call)
        if "create" in change:
            self._create(table, change["create"], call)
        for record_id in change.get("delete", ()):
            self._remove([table.name, record_id], call)
        return tuple(call.posts)

    def set_faults(self, specs: Iterable[object]) -> None:
        """Only these faults from now on. A vanished field stays vanished until reset. Raises BadFault."""
        self.faults.replace(specs)
        for gone in self.faults.standing("vanished_field"):
            table = self._table(gone["table"])
            if gone["field"] in table.fields:
                table.drop_field(gone["field"])

    def delivered(self, post: Post, status: int | None, at: float) -> None:
        """The shell reports how a trigger's call ended (None: nobody answered). There is no second try."""
        self._deliveries.append(
            {
                "url": post.url,
                "event": post.event,
                "table": post.table,
                "id": post.record_id,
                "status": status,
                "at": at,
            }
        )

    def book(self) -> dict[str, Any]:
        """Everything that was written and called.

        writes: in order, {what: create|update|delete, table, id, by: api|sdk|webhook|person, at, data};
        records: table -> id -> the same, for one record; calls: path -> {count, ok, errors, limited};
        deliveries: calls made by triggers; automation_runs: as Jestor meters them; rows: table -> count.
        """
        records: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in self.tables}
        for write in self._writes:
            records[write["table"]].setdefault(str(write["id"]), []).append(write)
        return {
            "writes": self._writes,
            "records": records,
            "calls": {
                path: {key: tally[key] for key in ("count", "ok", "errors", "limited")}
                for path, tally in sorted(self._calls.items())
            },
            "deliveries": self._deliveries,
            "automation_runs": self._runs,
            "rows": {name: len(table.rows) for name, table in self.tables.items()},
        }


_FUNCTIONS: Final[Mapping[str, Callable[[JestorCore, Sequence[Any], _Call], Any]]] = {
    "fetch": JestorCore._fetch,  # noqa: SLF001
    "count": JestorCore._count,  # noqa: SLF001
    "createObject": JestorCore._create_object,  # noqa: SLF001
    "updateObject": JestorCore._update_object,  # noqa: SLF001
    "removeObject": JestorCore._remove,  # noqa: SLF001
    "fetchUsers": JestorCore._fetch_users,  # noqa: SLF001
    "getFiles": JestorCore._get_files,  # noqa: SLF001
    "addFile": JestorCore._add_file,  # noqa: SLF001
    "updateFile": JestorCore._update_file,  # noqa: SLF001
    "deleteFile": JestorCore._delete_file,  # noqa: SLF001
}


def _by_id(table: Table) -> Query:
    return Query((), any_of=False, sort=table.id_field, descending=False, day="")


def _named_ids(table: Table, conditions: Sequence[Condition]) -> set[int] | None:
    """The ids a filter on the id field names, so that one record is found without a scan."""
    for condition in conditions:
        if condition.field == table.id_field and condition.operator in {"eq", "in"}:
            return {int(part) for part in condition.value.split(",") if part.strip().isdigit()}
    return None


def _padded(arguments: Sequence[Any], *defaults: Any) -> list[Any]:
    """Positional arguments with the defaults for those not sent (or sent as null)."""
    return [
        default if i >= len(arguments) or arguments[i] is None else arguments[i] for i, default in enumerate(defaults)
    ]


def _whole(value: object, default: int) -> int:
    """A positive whole number sent as a number or as text; the default for anything else."""
    text = str(value)
    return int(text) if text.isdigit() and int(text) > 0 else default


def _parsed(body: bytes) -> Row:
    """The body is JSON whatever Content-Type says, or without it."""
    if not body.strip():
        return {}
    try:
        payload = json.loads(body)
    except ValueError as error:
        raise Refused(400, "JSON inválido") from error
    if not isinstance(payload, dict):
        raise Refused(400, "O corpo deve ser um objeto JSON")
    return payload


def _shortened(data: object, rows: int) -> object:
    if isinstance(data, dict) and "items" in data:
        return {"items": data["items"][:-rows], "has_more": False}
    return data[:-rows] if isinstance(data, list) else data


def _tally_name(route: str) -> str:
    return "/webhook" if route.startswith("/webhook/") else route


def _org(host: str) -> str:
    """The first label of the Host header; a bare address means the demo org."""
    label = host.partition(":")[0].partition(".")[0]
    return names.ORG if not label or label.isdigit() or label == "localhost" else label


def _metadata(org: str) -> Row:
    return {"response": "", "message": "", "org": org, "notifications": []}


def _error(code: int, message: str, org: str) -> Row:
    return {
        "status": False,
        "data": {"message": message, "url": "", "code": code},
        "metadata": _metadata(org),
    }


def _json(status: int, payload: Row, headers: Mapping[str, str] | None = None, *, delay: float = 0.0) -> Answer:
    body = json.dumps(payload, ensure_ascii=False).encode()
    return Answer(status, body, {"content-type": "application/json", **(headers or {})}, delay)
