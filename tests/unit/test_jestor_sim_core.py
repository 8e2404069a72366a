from __future__ import annotations

import json
from datetime import date

import pytest

from simulators.jestor.core import FUNCTION_WEBHOOK, OBJECT_WEBHOOK, JestorCore, Switches
from simulators.jestor.schema import TABLES
from simulators.jestor.triggers import DEEPEST, SECRET_HEADER, SIGNATURE_HEADER, builder_defined, sign
from simulators.world import (
    CONTRACT_ID,
    CONTRACTS_TABLE,
    CUSTOMERS_TABLE,
    FIELDS,
    INVOICE_FIELDS,
    JESTOR_TOKEN,
    ORG,
    make_world,
)

NOW = 1_796_120_000.0  # 1 December 2026
WORLD = make_world(120, 5, date(2026, 11, 22))
DRAFTS_TOO = {"field": "jestor_is_draft", "operator": "in", "type": "list", "value": "0,1"}


@pytest.fixture
def core():
    return JestorCore(WORLD)


def call(core, path, body=None, **headers):
    headers = {"Authorization": f"Bearer {JESTOR_TOKEN}", "Host": "demo.api.jestor.com"} | headers
    return core.handle(path, headers, json.dumps(body or {}).encode(), now=NOW)


def data(core, path, body=None, **headers):
    answer = call(core, path, body, **headers)
    envelope = json.loads(answer.body)
    assert (answer.status, envelope["status"]) == (200, True), envelope
    return envelope["data"]


def listed(core, **wish):
    return data(core, "/object/list", {"object_type": CONTRACTS_TABLE, **wish})


def refusal(core, path, body=None, **headers):
    answer = call(core, path, body, **headers)
    envelope = json.loads(answer.body)
    assert envelope["status"] is False
    assert envelope["data"]["code"] == answer.status
    return answer.status, envelope["data"]["message"]


def test_twenty_rows_without_a_size_and_more_follow(core):
    page = listed(core)
    assert (len(page["items"]), page["has_more"]) == (20, True)


def test_limit_offset_fields_and_direction_are_silently_ignored(core):
    assert listed(core, limit=500, offset=40, fields=["name"], direction="desc") == listed(core)


@pytest.mark.parametrize("size", ["50", 50])
def test_size_may_be_text_and_pages_start_at_one(core, size):
    first, second = listed(core, size=size), listed(core, size=size, page=2)
    assert len(first["items"]) == 50
    assert first == listed(core, size=size, page=1)
    assert first["items"][-1][CONTRACT_ID] < second["items"][0][CONTRACT_ID]


def test_a_page_never_holds_more_than_the_cap():
    core = JestorCore(WORLD, switches=Switches(page_cap=30))
    assert len(listed(core, size=20000)["items"]) == 30


def test_the_last_page_ends_the_loop_and_a_page_beyond_it_is_empty(core):
    count = data(core, "/v3/low-code-execution/count", {"arguments": [CONTRACTS_TABLE]})
    page = listed(core, size=500)
    assert (len(page["items"]), page["has_more"]) == (count, False)
    assert listed(core, size=500, page=2) == {"items": [], "has_more": False}


def test_drafts_are_hidden_unless_asked_for(core):
    with_drafts = listed(core, size=500, filters=[DRAFTS_TOO])["items"]
    hidden = len(with_drafts) - len(listed(core, size=500)["items"])
    assert hidden == sum(c.kind == "hidden_draft" for c in WORLD.contracts) > 0


def test_a_list_shows_the_world_s_rows_as_they_are(core):
    rows = listed(core, size=500, sort=f"{CONTRACT_ID} asc", filters=[DRAFTS_TOO])["items"]
    for row, expected in zip(rows, WORLD.jestor_rows(), strict=True):
        expected["cliente"]["jestor_is_draft"] = 0
        assert row == expected


def test_nested_records_become_references_when_asked(core):
    nested, bare = listed(core)["items"][0], listed(core, nested_type="onlyrefs")["items"][0]
    assert bare["cliente"] == nested["cliente"][f"id_{CUSTOMERS_TABLE}"]


def test_select_keeps_the_id_and_ignores_names_that_do_not_exist(core):
    row = listed(core, select=["name", "cliente", "nada"])["items"][0]
    assert set(row) == {CONTRACT_ID, "name", "cliente"}


def test_sort_by_any_field_and_direction(core):
    names = [row["name"] for row in listed(core, size=500, sort="name desc")["items"]]
    assert names == sorted(names, reverse=True)
    ids = [row[CONTRACT_ID] for row in listed(core, size=500, sort=f"{CONTRACT_ID} desc")["items"]]
    assert ids == sorted(ids, reverse=True)
    assert listed(core, sort="") == listed(core)


def test_filters_are_joined_by_and(core):
    active = {"field": "status_1", "operator": "==", "value": "Ativo"}
    churned = {"field": "status_1", "operator": "==", "value": "Churn"}
    assert listed(core, filters=[active])["items"]
    assert not listed(core, filters={"filters": [active, churned]})["items"]


def test_cached_views_follow_every_write(core):
    filters = [{"field": "status_1", "operator": "==", "value": "Churn"}]

    def churned(sort):
        return [row[CONTRACT_ID] for row in listed(core, size=500, filters=filters, sort=sort)["items"]]

    before = churned(f"{CONTRACT_ID} asc")
    assert sorted(churned("name asc")) == before
    active = listed(core, filters=[{"field": "status_1", "operator": "==", "value": "Ativo"}])["items"][0]
    chosen = {CONTRACT_ID: active[CONTRACT_ID]}
    data(core, "/object/update", {"object_type": CONTRACTS_TABLE, "data": {**chosen, "status_1": "Churn"}})
    expected = sorted([*before, active[CONTRACT_ID]])
    assert churned(f"{CONTRACT_ID} asc") == sorted(churned("name asc")) == expected
    assert churned(f"{CONTRACT_ID} desc") == expected[::-1]
    core.edit({"table": CONTRACTS_TABLE, "delete": [expected[0]]}, NOW)
    assert churned(f"{CONTRACT_ID} asc") == sorted(churned("name asc")) == expected[1:]


def test_one_record_by_id(core):
    row = listed(core, filters=[{"field": CONTRACT_ID, "operator": "==", "value": "1"}])["items"][0]
    assert data(core, "/object/describe", {"object_type": CONTRACTS_TABLE, "id": 1}) == row
    assert refusal(core, "/object/describe", {"object_type": CONTRACTS_TABLE, "id": 99999})[0] == 404


def test_an_update_is_a_partial_patch_and_the_id_may_be_text(core):
    before = listed(core, size=1)["items"][0]
    data(core, "/object/update", {"object_type": CONTRACTS_TABLE, "data": {CONTRACT_ID: "1", "link_fatura": "x"}})
    assert listed(core, size=1)["items"][0] == before | {"link_fatura": "x"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nao_existe": 1}, "O campo nao_existe não existe"),
        ({"status_1": "Cancelado"}, "O campo Status não tem a opção Cancelado"),
        ({"cliente": 99999}, "O campo Cliente aponta para um registro que não existe"),
        ({"inicio_vigencia": "01/12/2026"}, "O campo Início da vigência deve ser uma data AAAA-MM-DD"),
    ],
)
def test_values_the_field_cannot_hold_are_refused_and_nothing_is_written(core, values, message):
    body = {"object_type": CONTRACTS_TABLE, "data": {CONTRACT_ID: 1, **values}}
    assert refusal(core, "/object/update", body) == (422, message)
    assert core.book()["writes"] == []


def test_what_is_not_there_is_refused(core):
    body = {"object_type": CONTRACTS_TABLE, "data": {"link_fatura": "x"}}
    assert refusal(core, "/object/update", body)[0] == 422
    assert refusal(core, "/object/list", {"object_type": "contratos"}) == (422, "O objeto contratos não existe")
    assert refusal(core, "/object/delete")[0] == 404
    sort = {"object_type": CONTRACTS_TABLE, "sort": "nada asc"}
    assert refusal(core, "/object/list", sort) == (422, "O campo nada não existe")


def test_a_missing_or_wrong_token_is_refused(core):
    assert refusal(core, "/object/list", Authorization="")[0] == 401
    assert refusal(core, "/object/list", Authorization="Bearer nope") == (401, "Token inválido")


@pytest.mark.parametrize(
    ("host", "org"), [("acme.api.local.jestor.com", "acme"), ("127.0.0.1:8802", ORG), ("localhost", ORG)]
)
def test_the_org_comes_from_the_host(core, host, org):
    answer = call(core, "/object/list", {"object_type": CONTRACTS_TABLE}, Host=host)
    assert json.loads(answer.body)["metadata"]["org"] == org


def test_fetch_gives_a_plain_array_of_a_hundred_and_five_hundred_at_most(core):
    rows = data(core, "/v3/low-code-execution/fetch", {"arguments": [CONTRACTS_TABLE]})
    assert isinstance(rows, list)
    assert len(rows) == 100
    everything = data(core, "/v3/low-code-execution/fetch", {"arguments": [CONTRACTS_TABLE, None, 20000]})
    assert len(everything) == len(listed(core, size=500)["items"])


def test_every_mapped_field_is_in_the_properties_with_its_options(core):
    properties = {
        entry["key"]: entry for entry in data(core, "/objectProperties/index", {"object_type": CONTRACTS_TABLE})
    }
    assert {path.partition(".")[0] for path in FIELDS.values()} <= set(properties)
    customer = {column.key for column in TABLES[CUSTOMERS_TABLE]}
    assert {path.partition(".")[2] for path in FIELDS.values() if "." in path} <= customer
    assert "Ativo" in {option["label"] for option in properties["status_1"]["tags"]}


def test_an_object_webhook_creates_from_known_keys_only(core):
    path = f"/webhook/{OBJECT_WEBHOOK}?descricao_nf_1=Plano"
    made = data(core, path, {"name": "Novo", "desconhecido": 1, CONTRACT_ID: 1}, Authorization="")
    row = data(core, "/object/describe", {"object_type": CONTRACTS_TABLE, "id": made[CONTRACT_ID]})
    assert (row["name"], row["descricao_nf_1"]) == ("Novo", "Plano")
    assert row[CONTRACT_ID] != 1


def test_a_function_webhook_can_update(core):
    link = {"jestor_id": 1, INVOICE_FIELDS["invoice_link"]: "https://exemplo.example", "status_1": "Churn"}
    data(core, f"/webhook/{FUNCTION_WEBHOOK}", link, Authorization="")
    row = data(core, "/object/describe", {"object_type": CONTRACTS_TABLE, "id": 1})
    assert (row["link_fatura"], row["status_1"]) == ("https://exemplo.example", "Ativo")
    assert refusal(core, "/webhook/other")[0] == 404


@pytest.fixture
def watched():
    return JestorCore(WORLD, triggers=builder_defined("http://receiver.example/jestor", "s3cret"))


def test_an_update_fires_the_builder_s_flat_json_with_a_secret_and_a_signature(watched):
    body = {"object_type": CONTRACTS_TABLE, "data": {CONTRACT_ID: 1, "status_1": "Churn"}}
    (post,) = call(watched, "/object/update", body).posts
    sent = json.loads(post.body)
    assert (sent["evento"], sent["jestor_id"]) == ("after_update", 1)
    assert (sent["status_anterior"], sent["status"]) == ("Ativo", "Churn")
    assert post.headers[SECRET_HEADER] == "s3cret"
    assert post.headers[SIGNATURE_HEADER] == sign("s3cret", post.body, int(NOW))


def test_our_own_write_back_echoes_as_a_trigger(watched):
    body = {"object_type": CONTRACTS_TABLE, "data": {CONTRACT_ID: 1, "link_fatura": "x"}}
    assert len(call(watched, "/object/update", body).posts) == 1
    assert watched.book()["automation_runs"] == 2


def test_triggers_stop_at_the_deepest_level(watched):
    body = {"object_type": CONTRACTS_TABLE, "data": {CONTRACT_ID: 1, "link_fatura": "x"}}
    assert call(watched, "/object/update", body, **{"x-low-code-trigger-depth": str(DEEPEST)}).posts == ()


def test_a_person_s_edit_is_in_the_book_and_fires_triggers(watched):
    posts = watched.edit({"id": 1, "data": {"valor_mensal_2": 1500}}, NOW)
    assert json.loads(posts[0].body)["valor"] == 1500
    (write,) = watched.book()["records"][CONTRACTS_TABLE]["1"]
    assert (write["by"], write["what"], write["data"]) == ("person", "update", {"valor_mensal_2": 1500})


def test_reset_brings_the_first_world_back(core):
    before = listed(core)
    core.edit({"delete": [1, 2]}, NOW)
    core.set_faults([{"kind": "rate_limited"}])
    core.reset()
    assert listed(core) == before
    assert core.book()["writes"] == []
