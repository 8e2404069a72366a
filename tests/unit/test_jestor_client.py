import json
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from billing.jestor.client import (
    ATTEMPTS,
    LONGEST_WAIT,
    BadAnswer,
    IncompleteRead,
    JestorClient,
    JestorError,
    JestorRefused,
    JestorUnavailable,
    equals,
    one_of,
    wait_before,
    with_drafts,
)
from simulators.clock import VirtualClock

TABLE = "contratos"
TOKEN = "canary-token-7Zq"


class Jestor:
    """A table over HTTP. `script`: answers given first, in order; `on_page[n]` runs before page n is answered."""

    def __init__(self, ids=(), script=()):
        self.rows = [{"id_contratos": n, "name": f"c{n}"} for n in ids]
        self.script = list(script)
        self.on_page = {}
        self.cap = 500
        self.seen = []
        self.clock = VirtualClock(datetime(2026, 12, 1, 9, tzinfo=UTC))
        self.http = httpx.Client(transport=httpx.MockTransport(self._answer))
        self.client = JestorClient("https://demo.api.jestor.test/", TOKEN, http=self.http, clock=self.clock)

    def _answer(self, request):
        body = json.loads(request.content)
        self.seen.append((request.url.path, body, request.headers))
        if self.script:
            answer = self.script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return ok(self._data(request.url.path, body))

    def _data(self, path, body):
        match path:
            case "/v3/low-code-execution/count":
                return len(self.rows)
            case "/object/list":
                if body["size"] > 1:
                    self.on_page.pop(body["page"], lambda: None)()
                size = min(body["size"], self.cap)
                first = (body["page"] - 1) * size
                return {"items": self.rows[first : first + size], "has_more": len(self.rows) > first + size}
            case "/object/update":
                return body["data"]
            case "/object/create":
                return {"id_contratos": 13} | body["data"]
        raise AssertionError(path)

    def paths(self):
        return [path for path, _, _ in self.seen]

    def read(self):
        return [row["id_contratos"] for row in self.client.iter_records(TABLE)]


def ok(data):
    return httpx.Response(200, json={"status": True, "data": data, "metadata": {}})


def html(status):
    return httpx.Response(status, text="<html><body>manutenção</body></html>")


def said(error):
    text = str(error.value)
    assert text.startswith("Jestor: ")
    assert f"(tabela {TABLE})" in text
    assert "\n" not in text
    assert TOKEN not in text
    return text


# --- reading a whole table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 499, 500, 501, 1000, 1234])
def test_every_row_is_read_once_whatever_the_size_of_the_table(rows):
    ids = list(range(1, rows + 1))
    assert Jestor(ids).read() == ids


def test_a_server_that_serves_smaller_pages_is_followed():
    jestor = Jestor(range(1, 251))
    jestor.cap = 100
    assert jestor.read() == list(range(1, 251))


def test_a_page_is_asked_for_as_jestor_documents_it():
    jestor = Jestor([7])
    filters = [equals("status", "Ativo"), with_drafts("jestor_is_draft")]
    list(jestor.client.iter_records(TABLE, filters=filters, select=["name", "cliente"]))
    path, body, headers = jestor.seen[1]
    assert path == "/object/list"
    assert body == {
        "object_type": TABLE,
        "page": 1,
        "size": 500,
        "sort": "id_contratos asc",
        "select": ["cliente", "id_contratos", "name"],
        "filters": [
            {"field": "status", "operator": "==", "value": "Ativo"},
            {"field": "jestor_is_draft", "operator": "in", "type": "list", "value": "0,1"},
        ],
    }
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert jestor.seen[0][1] == {"arguments": [TABLE, filters]}


def test_gaps_in_the_ids_cost_one_small_question_at_a_page_edge_only():
    ids = [*range(1, 500), 600, *range(700, 900)]
    jestor = Jestor(ids)
    assert jestor.read() == ids
    edges = [body for path, body, _ in jestor.seen if path == "/object/list" and body["size"] == 1]
    assert [(body["page"], body["select"]) for body in edges] == [(500, ["id_contratos"])]


def test_a_row_deleted_while_reading_is_noticed():
    jestor = Jestor(range(1, 1002))
    jestor.on_page[2] = lambda: jestor.rows.pop(3)
    with pytest.raises(IncompleteRead) as error:
        jestor.read()
    assert "li 500 de 1001 registros" in said(error)
    assert "foi apagado durante a leitura" in str(error.value)


def test_a_deletion_hidden_by_a_new_row_is_noticed_though_the_counts_agree():
    jestor = Jestor(range(1, 1002))

    def swap():
        jestor.rows.pop(3)
        jestor.rows.append({"id_contratos": 1002})

    jestor.on_page[2] = swap
    with pytest.raises(IncompleteRead):
        jestor.read()


def test_a_row_created_while_reading_is_noticed():
    jestor = Jestor(range(1, 601))
    jestor.on_page[2] = lambda: jestor.rows.append({"id_contratos": 601})
    with pytest.raises(IncompleteRead, match="li 601 de 600"):
        jestor.read()


def test_a_row_created_after_the_last_page_is_noticed():
    jestor = Jestor()
    jestor.script = [ok(1), ok({"items": [{"id_contratos": 1}], "has_more": False}), ok(2)]
    with pytest.raises(IncompleteRead, match="A tabela mudou durante a leitura"):
        jestor.read()


def page(*ids, more):
    return ok({"items": [{"id_contratos": n} for n in ids], "has_more": more})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([ok(500), page(1, 2, more=False)], "li 2 de 500 registros"),
        ([ok(4), page(1, 2, more=True), page(2, 3, more=False)], "O registro 2 veio de novo"),
        ([ok(4), page(1, 2, more=True), page(1, 2, more=True)], "O registro 1 veio de novo"),
        ([ok(2), page(2, 1, more=False)], "fora de ordem na página 1"),
        ([ok(2), page(1, 2, more=True), page(more=True)], "A página 2 veio vazia"),
        ([ok(2), page(1, 2, more=True), page(3, more=True)], "Vieram mais registros que a contagem"),
        ([ok(2), page(more=False)], "li 0 de 2 registros"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(answers, expected):
    jestor = Jestor(script=answers)
    with pytest.raises(IncompleteRead) as error:
        jestor.read()
    assert expected in said(error)
    assert "Nada desta leitura será usado" in str(error.value)


def test_a_harmless_extra_empty_page_is_accepted():
    assert Jestor(script=[ok(2), page(1, 2, more=True), page(more=False), ok(2)]).read() == [1, 2]


def test_amounts_arrive_exactly_as_written():
    text = b'{"status": true, "data": {"items": [{"id_contratos": 1, "valor": 0.1}], "has_more": 0}}'
    jestor = Jestor(script=[httpx.Response(200, content=text)])
    assert jestor.client.list_page(TABLE, page=1).items[0]["valor"] == Decimal("0.1")


# --- answers that are no answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (httpx.Response(429), JestorUnavailable, "muitas chamadas (HTTP 429)"),
        (html(503), JestorUnavailable, "está fora do ar (HTTP 503)"),
        (html(200), JestorUnavailable, "página da web no lugar de JSON"),
        (httpx.ReadTimeout("x"), JestorUnavailable, "não respondeu (ReadTimeout)"),
        (httpx.ConnectError("x"), JestorUnavailable, "não respondeu (ConnectError)"),
        (
            httpx.Response(401, json={"status": False, "data": {"message": "Invalid"}}),
            JestorRefused,
            "outro token",
        ),
        (httpx.Response(302, headers={"location": "/login"}), JestorRefused, "Confira JESTOR_BASE_URL"),
        (html(404), JestorRefused, "HTTP 404"),
        (
            httpx.Response(200, json={"status": False, "data": {"message": "Tab\nnot found", "code": 422}}),
            JestorRefused,
            "recusado (HTTP 200): Tab not found",
        ),
        (httpx.Response(422, json={"status": False, "data": None}), JestorRefused, "HTTP 422): sem mensagem"),
        (httpx.Response(200, text="ok"), BadAnswer, "a resposta não é JSON"),
        (httpx.Response(200, text=""), BadAnswer, "a resposta não é JSON"),
        (httpx.Response(200, json=[1]), BadAnswer, "a resposta não tem status"),
        (httpx.Response(200, json={"status": True}), BadAnswer, "a resposta não tem data"),
        (ok("muitos"), BadAnswer, "a contagem não veio como número"),
        (ok(True), BadAnswer, "a contagem não veio como número"),
        (ok(None), BadAnswer, "a contagem não veio como número"),
    ],
)
def test_each_bad_answer_is_one_line_that_says_what_to_do(answer, kind, expected):
    jestor = Jestor(script=[answer] * ATTEMPTS)
    with pytest.raises(kind) as error:
        jestor.client.count(TABLE)
    assert expected in said(error)
    assert len(jestor.seen) == (ATTEMPTS if kind is JestorUnavailable else 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"items": []}, "sem items e has_more"),
        ([], "sem items e has_more"),
        ({"items": [1], "has_more": False}, "não é um registro"),
        ({"items": [{"name": "x"}], "has_more": False}, "sem id_contratos"),
        ({"items": [{"id_contratos": None}], "has_more": False}, "sem id_contratos"),
    ],
)
def test_a_list_of_another_shape_is_refused(data, expected):
    jestor = Jestor(script=[ok(1), ok(data)])
    with pytest.raises(BadAnswer) as error:
        jestor.read()
    assert expected in said(error)


def test_numbers_as_text_are_still_numbers():
    assert Jestor(script=[ok("1"), ok({"items": [{"id_contratos": "1"}], "has_more": False}), ok("1")]).read() == ["1"]


# --- trying again -----------------------------------------------------------------------------------------------------


def test_a_read_is_repeated_until_jestor_is_back():
    jestor = Jestor([1], script=[httpx.Response(429), html(502), httpx.ReadTimeout("x")])
    assert jestor.client.count(TABLE) == 1
    assert jestor.clock.slept == [2.0, 4.0, 8.0]


def test_jestor_may_ask_for_a_longer_wait():
    jestor = Jestor([1], script=[httpx.Response(429, headers={"retry-after": "17"})])
    assert jestor.client.count(TABLE) == 1
    assert jestor.clock.slept == [17.0]


@pytest.mark.parametrize(("attempt", "asked", "seconds"), [(1, None, 2), (3, 5.0, 8), (9, None, 60), (1, 900.0, 60)])
def test_waits_double_and_are_bounded(attempt, asked, seconds):
    assert wait_before(attempt, asked) == seconds <= LONGEST_WAIT


def test_after_a_429_pages_are_spaced():
    jestor = Jestor(range(1, 1501))
    jestor.on_page[2] = lambda: jestor.script.append(httpx.Response(429))
    assert len(jestor.read()) == 1500
    assert jestor.clock.slept == [2.0]
    jestor.clock.slept.clear()
    jestor.read()
    assert jestor.clock.slept == [1.5, 1.5]


def test_an_update_is_repeated_because_the_same_patch_twice_changes_nothing():
    jestor = Jestor(script=[html(500)])
    jestor.client.update(TABLE, 12, {"valor": Decimal("10.5"), "link_fatura": "https://x"})
    bodies = [body for _, body, _ in jestor.seen]
    assert bodies[0] == bodies[1]
    assert bodies[1]["data"] == {"id_contratos": 12, "valor": 10.5, "link_fatura": "https://x"}


@pytest.mark.parametrize("answer", [httpx.Response(429), html(500), httpx.ReadTimeout("x"), html(200)])
def test_a_create_is_never_repeated(answer):
    jestor = Jestor(script=[answer])
    with pytest.raises(JestorUnavailable) as error:
        jestor.client.create(TABLE, {"name": "ACME"})
    assert "pode ter sido criado: procure-o antes de repetir" in said(error)
    assert len(jestor.seen) == 1


def test_a_create_gives_the_new_id():
    assert Jestor().client.create(TABLE, {"name": "ACME"}) == 13


@pytest.mark.parametrize("write", ["update", "create"])
def test_an_unconfirmed_write_is_no_success(write):
    client = Jestor(script=[ok(None)]).client
    with pytest.raises(BadAnswer):
        client.update(TABLE, 1, {}) if write == "update" else client.create(TABLE, {})


# --- one record, and the table's fields -------------------------------------------------------------------------------


def test_one_record_is_read_by_its_id():
    jestor = Jestor([7])
    assert jestor.client.get(TABLE, 7, filters=[with_drafts("jestor_is_draft")])["name"] == "c7"
    assert jestor.seen[0][1]["filters"][0] == {"field": "id_contratos", "operator": "==", "value": "7"}
    assert Jestor().client.get(TABLE, 7) is None


@pytest.mark.parametrize("others", [[8], [7, 8]])
def test_a_filter_that_jestor_ignored_never_gives_somebody_elses_record(others):
    with pytest.raises(BadAnswer, match="não foi respeitado"):
        Jestor(others).client.get(TABLE, 7)


def test_the_fields_of_a_table_are_listed():
    fields = [{"key": "status", "type": "radioSelect"}]
    assert Jestor(script=[ok(fields)]).client.properties(TABLE) == fields
    with pytest.raises(BadAnswer):
        Jestor(script=[ok({"fields": fields})]).client.properties(TABLE)


def test_the_token_is_never_shown():
    jestor = Jestor(script=[httpx.Response(401)])
    assert TOKEN not in repr(jestor.client)
    with pytest.raises(JestorError) as error:
        jestor.client.count(TABLE)
    assert TOKEN not in repr(error.value)
    assert one_of("x", [1, 2])["value"] == "1,2"
