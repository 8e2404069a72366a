"""Jestor over HTTP: read a whole table or refuse, write one record at a time.

Every call is a POST that answers `{"status": bool, "data": ..., "metadata": {...}}`; an error carries
`data.message` and may come with HTTP 200. The errors, and what each one allows:

    JestorError              one line in Portuguese: what failed, in which table, how to put it right
    |-- JestorUnavailable    429, 5xx, time-out, a web page instead of JSON: the same call may work later
    |-- JestorRefused        status false, 401, 404, 422...: the same call fails until somebody acts
    |-- BadAnswer            JSON came, but not the JSON that was asked for
    `-- IncompleteRead       a table was read, and these are not provably all of its rows

Reads and `update` (the same patch twice leaves the same record) are repeated on JestorUnavailable, a
bounded number of times. `create` never is: Jestor has no key to recognise the second one by.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from billing import json_in
from billing.domain.text import writable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from billing.clock import Clock

PAGE_SIZE: Final = 500  # the ceiling Jestor documents for `fetch`; nothing larger is known to be honoured
ATTEMPTS: Final = 6
LONGEST_WAIT: Final = 60.0
PAUSE_AFTER_429: Final = 1.5  # seconds between pages, the spacing real integrations settled on
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)

Row = dict[str, Any]
Filter = dict[str, str]

_TABLE_HELP: Final = "Confira o nome de API da tabela em Jestor > Área do desenvolvedor > Objetos."
_ACCESS_HELP: Final = "Gere outro token no Jestor e grave-o no segredo do Jestor."
_LATER: Final = "O Jestor costuma voltar sozinho: repita mais tarde."
_CHANGED: Final = "Repita; se continuar, a API do Jestor mudou e o cliente precisa ser revisto."
_ADDRESS: Final = "Confira JESTOR_BASE_URL e a org na configuração."
_LOOK_FIRST: Final = "O registro pode ter sido criado: procure-o antes de repetir."


class JestorError(Exception):
    """Base of all; `str()` is one clear line without tokens or record data."""

    def __init__(self, what: str, *, table: str, fix: str, http_status: int | None = None) -> None:
        super().__init__(f"Jestor: {what} (tabela {table}). {fix}")
        self.table = table
        self.http_status = http_status


class JestorUnavailable(JestorError):  # noqa: N818 - the name says what happened
    """The same call may work later. `retry_after`: seconds, when Jestor said so."""

    retry_after: float | None = None


class JestorRefused(JestorError):  # noqa: N818 - the name says what happened
    """Jestor understood and said no."""


class BadAnswer(JestorError):  # noqa: N818 - the name says what happened
    """An answer that cannot be relied on."""


class IncompleteRead(JestorError):  # noqa: N818 - the name says what happened
    """Rows are missing, repeated or moved while they were read: nothing of this reading may be used."""


class Page(NamedTuple):
    """One page of `/object/list`."""

    items: list[Row]
    has_more: bool


def equals(field: str, value: object) -> Filter:
    return {"field": field, "operator": "==", "value": str(value)}


def one_of(field: str, values: Sequence[object]) -> Filter:
    return {"field": field, "operator": "in", "type": "list", "value": ",".join(map(str, values))}


def with_drafts(draft_field: str) -> Filter:
    """Jestor lists hide drafts unless both values are asked for; a hidden contract could not be explained."""
    return one_of(draft_field, (0, 1))


def id_field(table: str) -> str:
    return f"id_{table}"


def wait_before(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next try: 2, 4, 8... or longer when Jestor asks; never beyond LONGEST_WAIT."""
    return min(max(2.0**attempt, retry_after or 0.0), LONGEST_WAIT)


class JestorClient:
    """`base_url` is `https://{org}.api.jestor.com`; `http` keeps the connections and is the seam of tests.

    `attempts`: how often a call is tried in all while Jestor is not available.
    """

    def __init__(
        self, base_url: str, token: str, *, http: httpx.Client, clock: Clock, attempts: int = ATTEMPTS
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._http = http
        self._clock = clock
        self._attempts = attempts
        self._pause = 0.0

    def __repr__(self) -> str:
        return f"JestorClient({self._base_url!r})"

    def list_page(
        self,
        table: str,
        *,
        page: int,
        size: int = PAGE_SIZE,
        filters: Sequence[Filter] = (),
        select: Sequence[str] | None = None,
    ) -> Page:
        """One page (1-based), ordered by record id; connected records come as nested objects."""
        body: dict[str, Any] = {
            "object_type": table,
            "page": page,
            "size": size,
            "sort": f"{id_field(table)} asc",
            "filters": list(filters),
        }
        if select is not None:
            body["select"] = sorted({id_field(table), *select})
        data = self._repeat("/object/list", table, body)
        items = data.get("items") if isinstance(data, dict) else None
        has_more = data.get("has_more") if isinstance(data, dict) else None
        if not isinstance(items, list) or not isinstance(has_more, bool | int):
            raise BadAnswer(
                f"a lista veio sem items e has_more na página {page}",
                table=table,
                fix=_CHANGED,
            )
        if not all(isinstance(item, dict) for item in items):
            raise BadAnswer(
                f"a página {page} traz algo que não é um registro",
                table=table,
                fix=_CHANGED,
            )
        return Page(items, bool(has_more))

    def iter_records(
        self, table: str, *, filters: Sequence[Filter] = (), select: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """Every row once, by ascending id. Rows may be used only after the last one came without an error.

        Raises IncompleteRead unless the rows are provably all. A row deleted while the table is read moves
        the rows behind it one place forward, so one can slip over a page's edge unseen, even with a right
        count if another was created meanwhile. An id missing at an edge is therefore checked: the last row
        before it must still be where it was.

            page 1: 1 2 3 | row 2 is deleted | page 2: 5 6 -> 4 is skipped; place 3 now holds 4, not 3
        """
        expected = self.count(table, filters=filters)
        read, last_id, page = 0, 0, 0
        has_more = True
        while has_more:
            page += 1
            if page > 1 and self._pause:
                self._clock.sleep(self._pause)
            items, has_more = self.list_page(table, page=page, filters=filters, select=select)
            if has_more and not items:
                raise _incomplete(table, read, expected, f"a página {page} veio vazia")
            if page > 1 and items and self._row_id(table, items[0]) > last_id + 1:
                self._check_edge(table, filters, read, last_id, expected)
            for row in items:
                row_id = self._row_id(table, row)
                if row_id <= last_id:
                    why = f"o registro {row_id} veio de novo ou fora de ordem na página {page}"
                    raise _incomplete(table, read, expected, why)
                read, last_id = read + 1, row_id
                yield row
            if read > expected:
                raise _incomplete(table, read, expected, "vieram mais registros que a contagem")
        if read != expected:
            raise _incomplete(table, read, expected, "a lista terminou antes da contagem")
        after = self.count(table, filters=filters)
        if after != expected:
            raise _incomplete(table, read, after, "a tabela mudou durante a leitura")

    def get(self, table: str, record_id: int, *, filters: Sequence[Filter] = ()) -> Row | None:
        """The record as it is now, or None. Give `with_drafts(...)` in `filters` to see a draft as well."""
        page = self.list_page(table, page=1, size=2, filters=[equals(id_field(table), record_id), *filters])
        if not page.items:
            return None
        if len(page.items) > 1 or self._row_id(table, page.items[0]) != record_id:
            raise BadAnswer(
                f"pedi o registro {record_id} e vieram outros",
                table=table,
                fix=f"O filtro por {id_field(table)} não foi respeitado. {_TABLE_HELP}",
            )
        return page.items[0]

    def count(self, table: str, *, filters: Sequence[Filter] = ()) -> int:
        """How many records the token may see."""
        data = self._repeat("/v3/low-code-execution/count", table, {"arguments": [table, list(filters)]})
        if isinstance(data, str) and data.isdecimal():
            return int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            raise BadAnswer("a contagem não veio como número", table=table, fix=_CHANGED)
        return data

    def properties(self, table: str) -> list[Row]:
        """The table's fields: `key`, `type` and, for option fields, the options with `id` and `label`."""
        data = self._repeat("/objectProperties/index", table, {"object_type": table})
        if not isinstance(data, list) or not all(isinstance(item, dict) and "key" in item for item in data):
            raise BadAnswer("a descrição dos campos não veio como lista de campos", table=table, fix=_TABLE_HELP)
        return data

    def update(self, table: str, record_id: int, data: Mapping[str, Any], *, once: bool = False) -> Row:
        """Patch the fields in `data`, leave the others. Every update fires the table's own automations.

        `once`: in one attempt. After JestorUnavailable it may have happened: read the record before another.
        """
        body = {"object_type": table, "data": {**data, id_field(table): record_id}}
        send = self._call if once else self._repeat
        answer = send("/object/update", table, body)
        if not isinstance(answer, dict):
            raise BadAnswer(
                f"a alteração do registro {record_id} não foi confirmada",
                table=table,
                fix="Confira o registro.",
            )
        return answer

    def create(self, table: str, data: Mapping[str, Any]) -> int:
        """Create one record, in one attempt, and give its id.

        After JestorUnavailable or BadAnswer the record may exist: look for it before creating again.
        """
        body = {"object_type": table, "data": dict(data)}
        try:
            answer = self._call("/object/create", table, body)
        except JestorUnavailable as error:
            what = f"não sei se o registro foi criado (HTTP {error.http_status or 'sem resposta'})"
            raise JestorUnavailable(what, table=table, fix=_LOOK_FIRST, http_status=error.http_status) from error
        if not isinstance(answer, dict):
            raise BadAnswer("a criação não foi confirmada", table=table, fix=_LOOK_FIRST)
        return self._row_id(table, answer)

    def _check_edge(self, table: str, filters: Sequence[Filter], place: int, last_id: int, expected: int) -> None:
        page = self.list_page(table, page=place, size=1, filters=filters, select=())
        if [self._row_id(table, row) for row in page.items] != [last_id]:
            raise _incomplete(table, place, expected, "um registro foi apagado durante a leitura")

    def _row_id(self, table: str, row: Row) -> int:
        value = row.get(id_field(table))
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadAnswer(f"um registro veio sem {id_field(table)}", table=table, fix=_TABLE_HELP)
        return value

    def _repeat(self, path: str, table: str, body: Mapping[str, Any]) -> Any:
        retrying = Retrying(
            stop=stop_after_attempt(self._attempts),
            wait=_wait,
            retry=retry_if_exception_type(JestorUnavailable),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(self._call, path, table, body)

    def _call(self, path: str, table: str, body: Mapping[str, Any]) -> Any:
        headers = {
            "authorization": f"Bearer {self._token}",
            "accept": "application/json",
            "content-type": "application/json",
        }
        content = writable(json.dumps(body, ensure_ascii=False, default=_plain_number)).encode()
        try:
            response = self._http.post(
                self._base_url + path,
                content=content,
                headers=headers,
                timeout=TIMEOUT,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            what = f"{path} não respondeu ({type(error).__name__})"
            raise JestorUnavailable(what, table=table, fix=_LATER) from error
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            self._pause = PAUSE_AFTER_429
        return read_answer(response, path=path, table=table)


def read_answer(response: httpx.Response, *, path: str, table: str) -> Any:
    """The envelope's `data`, or the error that this answer is."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        busy = "muitas chamadas (HTTP 429)" if status == 429 else f"está fora do ar (HTTP {status})"
        unavailable = JestorUnavailable(f"{path}: {busy}", table=table, fix=_LATER, http_status=status)
        unavailable.retry_after = _seconds(response.headers.get("retry-after", ""))
        raise unavailable
    try:
        answer = json_in.loads(response.content)
    except ValueError:
        answer = None
        if status < 300:
            if response.content.lstrip()[:1] == b"<":
                what = f"{path}: veio uma página da web no lugar de JSON"
                raise JestorUnavailable(what, table=table, fix=_LATER, http_status=status) from None
            what = f"{path}: a resposta não é JSON"
            raise BadAnswer(what, table=table, fix=_ADDRESS, http_status=status) from None
    if status >= 300:
        raise _refused(status, answer, path=path, table=table)
    if not isinstance(answer, dict) or answer.get("status") is not True:
        if isinstance(answer, dict) and "status" in answer:
            raise _refused(status, answer, path=path, table=table)
        raise BadAnswer(f"{path}: a resposta não tem status", table=table, fix=_ADDRESS, http_status=status)
    if "data" not in answer:
        raise BadAnswer(f"{path}: a resposta não tem data", table=table, fix=_CHANGED, http_status=status)
    return answer["data"]


def _refused(status: int, answer: Any, *, path: str, table: str) -> JestorRefused:
    data = answer.get("data") if isinstance(answer, dict) else None
    message = data.get("message") if isinstance(data, dict) else None
    said = " ".join(str(message).split())[:200] if message else "sem mensagem"
    if status in (401, 403):
        fix = _ACCESS_HELP
    elif 300 <= status < 400:
        fix = _ADDRESS
    else:
        fix = _TABLE_HELP
    return JestorRefused(f"{path} recusado (HTTP {status}): {said}", table=table, fix=fix, http_status=status)


def _incomplete(table: str, read: int, expected: int, why: str) -> IncompleteRead:
    fix = f"Nada desta leitura será usado. {why[:1].upper()}{why[1:]}. Repita quando a tabela estiver quieta"
    hint = "; se persistir, confira os filtros do perfil do token."
    return IncompleteRead(f"li {read} de {expected} registros", table=table, fix=fix + hint)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    retry_after = error.retry_after if isinstance(error, JestorUnavailable) else None
    return wait_before(state.attempt_number, retry_after)


def _seconds(header: str) -> float | None:
    return float(header) if header.isdecimal() else None


def _plain_number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to Jestor")
