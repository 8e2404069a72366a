from __future__ import annotations

import json
from datetime import date

import httpx
import pytest

from simulators.jestor.core import JestorCore
from simulators.jestor.faults import BadFault
from simulators.jestor.server import serving
from simulators.jestor.transport import transport
from simulators.jestor.triggers import Trigger
from simulators.world import CONTRACT_ID, CONTRACTS_TABLE, JESTOR_TOKEN, make_world

NOW = 1_796_120_000.0
WORLD = make_world(60, 5, date(2026, 11, 22))
HEADERS = {"Authorization": f"Bearer {JESTOR_TOKEN}"}
LIST = {"object_type": CONTRACTS_TABLE, "size": 10, "sort": f"{CONTRACT_ID} asc"}


@pytest.fixture
def core():
    return JestorCore(WORLD)


def ask(core, path="/object/list", body=LIST, now=NOW):
    return core.handle(path, HEADERS, json.dumps(body).encode(), now=now)


def ids(answer):
    return [row[CONTRACT_ID] for row in json.loads(answer.body)["data"]["items"]]


def client(core, slept=None):
    sleep = slept.append if slept is not None else None
    return httpx.Client(
        transport=transport(core, lambda: NOW, sleep), base_url="http://demo.api.jestor.com", headers=HEADERS
    )


@pytest.mark.parametrize(("wait", "expected"), [({}, None), ({"retry_after": 2}, "2")])
def test_too_many_requests_with_and_without_retry_after(core, wait, expected):
    core.set_faults([{"kind": "rate_limited", **wait}])
    answer = ask(core)
    assert (answer.status, answer.headers.get("Retry-After")) == (429, expected)
    assert ask(core).status == 200


def test_after_times_every_and_path_choose_the_calls(core):
    core.set_faults([{"kind": "rate_limited", "path": "/object/list", "after": 1, "every": 2, "times": 2}])
    assert ask(core, "/objectProperties/index").status == 200
    assert [ask(core).status for _ in range(7)] == [200, 429, 200, 429, 200, 200, 200]


def test_chance_is_seeded():
    def run(seed):
        core = JestorCore(WORLD, seed=seed)
        core.set_faults([{"kind": "server_error", "probability": 0.5}])
        return [ask(core).status for _ in range(20)]

    assert run(1) == run(1)
    assert set(run(1)) == {200, 502}


def test_html_status_false_and_missing_data(core):
    core.set_faults([{"kind": "server_error", "status": 503}])
    answer = ask(core)
    assert (answer.status, answer.headers["content-type"], answer.body[:6]) == (503, "text/html", b"<html>")
    core.set_faults([{"kind": "status_false"}])
    answer = ask(core)
    assert (answer.status, json.loads(answer.body)["status"]) == (200, False)
    core.set_faults([{"kind": "missing_data"}])
    assert "data" not in json.loads(ask(core).body)


def test_a_short_page_lies_about_the_rest(core):
    whole = ids(ask(core))
    core.set_faults([{"kind": "short_page", "rows": 3}])
    answer = ask(core)
    assert ids(answer) == whole[:-3]
    assert json.loads(answer.body)["data"]["has_more"] is False


def test_a_row_deleted_between_pages_shifts_the_next_page(core):
    second = ids(ask(core, body=LIST | {"page": 2}))
    core.set_faults([{"kind": "edit", "path": "/object/list", "delete": [1]}])
    assert ids(ask(core))[0] == 1
    assert ids(ask(core, body=LIST | {"page": 2}))[0] == second[1]


def test_money_changes_its_style(core):
    core.set_faults([{"kind": "money_as", "style": "string"}])
    rows = json.loads(ask(core).body)["data"]["items"]
    assert all(isinstance(row["valor_mensal_2"], str | None) for row in rows)
    assert any("," in row["valor_mensal"] for row in rows)


def test_a_row_filter_hides_rows_from_lists_and_counts_alike(core):
    count = {"arguments": [CONTRACTS_TABLE]}
    before = json.loads(ask(core, "/v3/low-code-execution/count", count).body)["data"]
    core.set_faults([{"kind": "row_filter", "table": CONTRACTS_TABLE, "field": "status_1", "value": "Churn"}])
    after = json.loads(ask(core, "/v3/low-code-execution/count", count).body)["data"]
    assert 0 < after < before
    assert len(ids(ask(core, body=LIST | {"size": 500}))) == after


def test_a_vanished_field_is_gone_until_reset(core):
    core.set_faults([{"kind": "vanished_field", "table": CONTRACTS_TABLE, "field": "status_1"}])
    assert "status_1" not in json.loads(ask(core).body)["data"]["items"][0]
    core.reset()
    assert "status_1" in json.loads(ask(core).body)["data"]["items"][0]


def test_calls_per_minute_slide(core):
    core.set_faults([{"kind": "calls_per_minute", "limit": 3, "retry_after": 20}])
    assert [ask(core, now=NOW + s).status for s in (0, 10, 20, 30, 61)] == [200, 200, 200, 429, 200]


@pytest.mark.parametrize("spec", [{"kind": "meteor"}, {"kind": "slow", "minutes": 1}, "slow"])
def test_a_fault_that_makes_no_sense_is_refused(core, spec):
    with pytest.raises(BadFault):
        core.set_faults([spec])


def test_a_lost_reply_was_executed(core):
    core.set_faults([{"kind": "lost_reply", "path": "/object/create"}])
    with client(core) as http, pytest.raises(httpx.RemoteProtocolError):
        http.post("/object/create", json={"object_type": CONTRACTS_TABLE, "data": {"name": "x"}})
    assert [write["what"] for write in core.book()["writes"]] == ["create"]


def test_a_slow_answer_outlasts_the_client_s_patience(core):
    core.set_faults([{"kind": "slow", "seconds": 3}, {"kind": "slow", "seconds": 40, "after": 1}])
    slept: list[float] = []
    with client(core, slept) as http:
        http.post("/object/list", json=LIST, timeout=10)
        with pytest.raises(httpx.ReadTimeout):
            http.post("/object/list", json=LIST, timeout=10)
    assert slept == [3, 10]


def test_the_server_has_a_control_plane_and_posts_triggers_without_a_second_try():
    receiver = JestorCore(WORLD)  # any HTTP server will do: it answers 401
    with serving(receiver) as receiver_url:
        trigger = Trigger(CONTRACTS_TABLE, "after_update", f"{receiver_url}/hook", {"id": "$id"}, wait=True)
        with serving(JestorCore(WORLD, triggers=[trigger])) as url, httpx.Client(base_url=url, trust_env=False) as http:
            assert http.get("/_sim/health").json()["ok"] is True
            assert http.post("/_sim/edit", json={"id": 1, "data": {"status_1": "Churn"}}).json()["posts"] == 1
            book = http.get("/_sim/book").json()
            assert [(d["id"], d["status"]) for d in book["deliveries"]] == [(1, 401)]
            assert http.post("/_sim/edit", json={"id": 99999, "data": {}}).status_code == 422
            assert http.post("/_sim/triggers", json={}).json() == {"triggers": 0}
            assert http.post("/_sim/edit", json={"id": 1, "data": {"status_1": "Ativo"}}).json()["posts"] == 0
            there = {
                "url": f"{receiver_url}/contract",
                "churn_url": f"{receiver_url}/churn",
                "secret": "s",
                "wait": True,
            }
            assert http.post("/_sim/triggers", json=there).json() == {"triggers": 4}
            assert http.post("/_sim/edit", json={"id": 1, "data": {"status_1": "Churn"}}).json()["posts"] == 2
            assert http.post("/_sim/edit", json={"id": 1, "data": {"status_1": "Churn"}}).json()["posts"] == 1
            assert http.post("/_sim/faults", json={"kind": "meteor"}).status_code == 400
            assert http.post("/_sim/faults", json={"kind": "lost_reply"}).json() == {"faults": 1}
            with pytest.raises(httpx.RemoteProtocolError):
                http.post("/object/list", json=LIST, headers=HEADERS)
            now = http.post("/_sim/clock", json={"now": "2026-12-01T06:00:00-03:00"}).json()["now"]
            assert 0 <= now - 1796115600 < 5
            assert http.post("/_sim/reset").json() == {"ok": True}
            assert http.get("/_sim/book").json()["writes"] == []
            assert http.get("/object/list").status_code == 405
    calls = receiver.book()["calls"]
    assert {path: seen["count"] for path, seen in calls.items()} == {"/hook": 1, "/contract": 2, "/churn": 1}
    assert calls["/hook"] == {"count": 1, "ok": 0, "errors": 1, "limited": 0}
