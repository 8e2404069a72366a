"""The billing's own reader, mapping and planner, over the world: every kind comes out as the world means it."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from billing.domain.contract import BadRow
from billing.domain.month import BillingMonth
from billing.domain.plan import plan_contract, unlinked
from billing.jestor.client import JestorClient, with_drafts
from billing.jestor.field_map import check_fields, option_labels, to_contract
from billing.plan_company import OmieIndex
from billing.settings import load_settings
from simulators.clock import VirtualClock
from simulators.jestor.core import JestorCore
from simulators.jestor.transport import transport
from simulators.world import CONTRACT_ID, FIELDS, JESTOR_TOKEN, make_world

WORLD = make_world(300, 11, date(2026, 12, 1))
SETTINGS = load_settings((Path(__file__).parents[2] / "config" / "demo.toml").read_text(encoding="utf-8"))
TABLE = SETTINGS.jestor.contracts
WORK = {"create": "create", "match": "none", "foreign_item": "none"}


@pytest.fixture(scope="module")
def rows():
    clock = VirtualClock(datetime(2026, 12, 1, 9, tzinfo=UTC))
    with httpx.Client(transport=transport(JestorCore(WORLD), lambda: clock.now().timestamp())) as http:
        jestor = JestorClient("http://demo.api.jestor.com", JESTOR_TOKEN, http=http, clock=clock)
        properties = jestor.properties(TABLE.table)
        labels = [company.jestor_label for company in SETTINGS.companies.values()]
        assert check_fields(properties, TABLE, labels, ()) == []
        options = option_labels(properties)
        filters = [with_drafts(TABLE.fields.draft)]
        raw = jestor.iter_records(TABLE.table, filters=filters, select=TABLE.select)
        return [to_contract(row, TABLE, SETTINGS.company_by_label, options) for row in raw]


def lines_of(company, rows):
    contratos = [c.omie_contrato for c in WORLD.contracts if c.omie_company == company and c.omie_contrato]
    named = Counter(row.omie_id for row in rows if not isinstance(row, BadRow) and row.omie_id)
    index = OmieIndex.read(contratos, named, date(2026, 12, 1))
    free = defaultdict(list)
    for contract in unlinked(index.by_id.values(), named):
        free[contract.nCodCli].append(contract)
    clientes = [c.omie_cliente for c in WORLD.contracts if c.omie_company == company and c.omie_cliente]
    known = {"".join(filter(str.isalnum, c["cnpj_cpf"])): c["codigo_cliente_omie"] for c in clientes}
    for row in rows:
        if row.company != company:
            continue
        found = index.find(row)
        customer = None if found or isinstance(row, BadRow) else known.get(row.customer.document)
        yield plan_contract(
            row,
            month=BillingMonth(2026, 12),
            today=date(2026, 12, 1),
            policy=SETTINGS.companies[company].policy(company),
            omie=found,
            lookalikes=free.get(customer, ()),
        )


def test_every_contract_is_planned_as_the_world_expects_to_the_cent(rows):
    meant = {c.jestor_id: c for c in WORLD.contracts if c.jestor_row}
    lines = [line for company in SETTINGS.companies for line in lines_of(company, rows)]
    assert sorted(line.jestor_id for line in lines) == sorted(meant)
    for line in lines:
        contract = meant[line.jestor_id]
        assert str(line.action) == contract.expected, (contract.kind, line.reason)
        if contract.expected == "bill":
            assert (line.amount, line.work) == (contract.amount, WORK.get(contract.kind, "alter")), contract.kind


def test_the_field_names_of_the_demo_settings_are_the_world_s():
    assert TABLE.fields.model_dump() == dict(FIELDS)
    assert f"id_{TABLE.table}" == CONTRACT_ID
