"""The official `jestor` package, unchanged, against the simulator: what it writes our client's calls read, and back."""

from __future__ import annotations

from datetime import date

import httpx
import pytest
from jestor.exception.JestorApiException import JestorApiException
from jestor.filter import Operators
from jestor.filter.Filter import Filter
from jestor.Jestor import Jestor

from simulators.jestor.core import JestorCore
from simulators.jestor.server import serving
from simulators.world import (
    CONTRACT_ID,
    CONTRACTS_TABLE,
    CUSTOMERS_TABLE,
    JESTOR_RESTRICTED_TOKEN,
    JESTOR_TOKEN,
    ORG,
    ORIGINS,
    make_world,
)


@pytest.fixture(scope="module")
def core():
    return JestorCore(make_world(120, 5, date(2026, 11, 22)))


@pytest.fixture(scope="module")
def base_url(core):
    with serving(core) as url:
        yield url


@pytest.fixture
def sdk(base_url, monkeypatch):
    monkeypatch.setenv("jestor_host_local", base_url.removeprefix("http://"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Jestor(JESTOR_TOKEN, ORG)


@pytest.fixture
def rest(base_url):
    def post(path, body):
        with httpx.Client(trust_env=False) as http:
            reply = http.post(base_url + path, json=body, headers={"Authorization": f"Bearer {JESTOR_TOKEN}"})
        envelope = reply.json()
        assert envelope["status"] is True, envelope
        return envelope["data"]

    return post


def one(rest, record_id):
    filters = [{"field": CONTRACT_ID, "operator": "==", "value": str(record_id)}]
    (row,) = rest("/object/list", {"object_type": CONTRACTS_TABLE, "filters": filters})["items"]
    return row


def test_what_the_sdk_inserts_the_list_shows(sdk, rest):
    customer = sdk.table(CUSTOMERS_TABLE).get(limit=1)[0][f"id_{CUSTOMERS_TABLE}"]
    row = sdk.table(CONTRACTS_TABLE).insert({"name": "Padaria Ávila", "valor_mensal_2": 1200.5, "cliente": customer})
    seen = one(rest, row[CONTRACT_ID])
    assert seen["name"] == "Padaria Ávila"
    assert seen["valor_mensal_2"] == 1200.5
    assert seen["cliente"][f"id_{CUSTOMERS_TABLE}"] == customer
    assert sdk.table(CONTRACTS_TABLE).delete(row[CONTRACT_ID]) is True


def test_what_the_sdk_updates_the_list_shows(sdk, rest):
    sdk.table(CONTRACTS_TABLE).update(1, {"link_fatura": "https://exemplo.example/1"})
    assert one(rest, 1)["link_fatura"] == "https://exemplo.example/1"


def test_what_rest_creates_and_updates_the_sdk_reads(sdk, rest):
    created = rest("/object/create", {"object_type": CONTRACTS_TABLE, "data": {"name": "Ótica", "status_1": "Ativo"}})
    rest("/object/update", {"object_type": CONTRACTS_TABLE, "data": {**created, "status_1": "Churn"}})
    found = sdk.table(CONTRACTS_TABLE).get([Filter(CONTRACT_ID, str(created[CONTRACT_ID]), "==")])
    assert [(row["name"], row["status_1"]) for row in found] == [("Ótica", "Churn")]
    sdk.table(CONTRACTS_TABLE).delete(created[CONTRACT_ID])


def test_a_deleted_records_id_is_never_given_again(sdk):
    table = sdk.table(CONTRACTS_TABLE)
    first = table.insert({"name": "um"})[CONTRACT_ID]
    table.delete(first)
    second = table.insert({"name": "dois"})[CONTRACT_ID]
    table.delete(second)
    assert second > first


@pytest.mark.parametrize("operator", [Operators.ITS_EQUAL_TO, "=="])
def test_the_count_equals_the_sum_of_the_pages_of_both_families(sdk, rest, operator):
    active = Filter("status_1", "Ativo", operator)
    count = sdk.table(CONTRACTS_TABLE).count([[active.serialize()]])
    pages = [sdk.table(CONTRACTS_TABLE).get([active], 50, page, f"{CONTRACT_ID} asc") for page in range(1, 5)]
    listed, page, more = [], 1, True
    while more:
        body = {"object_type": CONTRACTS_TABLE, "page": page, "size": 50, "sort": f"{CONTRACT_ID} asc"}
        data = rest("/object/list", {**body, "filters": [active.serialize()]})
        listed += data["items"]
        page, more = page + 1, data["has_more"]
    ids = [row[CONTRACT_ID] for rows in pages for row in rows]
    assert count == len(ids) == len(listed) > 120
    assert ids == [row[CONTRACT_ID] for row in listed] == sorted(set(ids))


def test_or_joins_the_filters_when_the_sdk_asks_for_it(sdk):
    churned, suspended = Filter("status_1", "Churn", "=="), Filter("status_1", "Suspenso", "==")
    table = sdk.table(CONTRACTS_TABLE)
    assert table.get([churned, suspended]) == []
    either = table.get([churned, suspended], operator="OR")
    assert {row["status_1"] for row in either} == {"Churn", "Suspenso"}


def test_single_gives_bare_references_and_nested_gives_the_record(sdk):
    table = sdk.table(CONTRACTS_TABLE)
    (bare,) = table.get(limit=1, sort=f"{CONTRACT_ID} asc")
    (nested,) = table.get(limit=1, sort=f"{CONTRACT_ID} asc", fetch_type="nested")
    assert nested["cliente"][f"id_{CUSTOMERS_TABLE}"] == bare["cliente"]


def test_properties_give_the_label_of_a_stored_option(sdk):
    table = sdk.table(CONTRACTS_TABLE)
    (row,) = table.get(limit=1)
    assert table.getValueFromField("origem", row["origem"]) in ORIGINS.values()
    assert {"key": "Churn", "value": "Churn"} in table.getPropertiesFromField("status_1")


def test_users_and_files(sdk):
    assert {user["name"] for user in sdk.user().get()} >= {"Integração"}
    files = sdk.file(CONTRACTS_TABLE, 1, "anexos")
    (added,) = files.add({"name": "contrato.pdf", "content": "JVBERi0=", "contentType": "application/pdf"})
    assert sdk.file(CONTRACTS_TABLE, 1, "anexos").get() == [added]
    files.update(added["id"], {"name": "aditivo.pdf", "content": "JVBERi0=", "contentType": "application/pdf"})
    assert [file["name"] for file in sdk.file(CONTRACTS_TABLE, 1, "anexos").get()] == ["aditivo.pdf"]
    files.delete(added["id"])
    assert sdk.file(CONTRACTS_TABLE, 1, "anexos").get() == []


def test_a_wrong_token_raises_the_sdks_own_error(sdk):
    with pytest.raises(JestorApiException) as error:
        Jestor("not-a-token", ORG).table(CONTRACTS_TABLE).get()
    assert error.value.status_code == 401


def test_a_restricted_token_gets_fewer_contracts_and_no_hint(sdk):
    everyone = sdk.table(CONTRACTS_TABLE).count([])
    assert 0 < Jestor(JESTOR_RESTRICTED_TOKEN, ORG).table(CONTRACTS_TABLE).count([]) < everyone


def test_status_false_with_http_200_reaches_the_sdks_caller_as_if_it_were_data(sdk, core):
    core.set_faults([{"kind": "status_false"}])
    assert "message" in sdk.table(CONTRACTS_TABLE).get()
