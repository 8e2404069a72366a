"""A month in which one row of Jestor, or one title of Omie, comes with anything in it; and what each of the others gets.

    told(Spoiled())                          nothing is spoilt: what everybody gets
    told(Spoiled(row=12, fields={...}))      the answers of Jestor show these values in the row of contract 12
    told(Spoiled(title=345, fields={...}))   the answers of Omie show them in the movements of that title

The values are put into the answers on their way: what Jestor's screen or Omie's would never have let in is read too.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

from hypothesis import strategies as st

from billing.domain.month import BillingMonth
from billing.domain.plan import PlanLine
from billing.jestor.client import JestorClient
from billing.settings import LateFeeSettings
from simulators.lab import JESTOR_URL, OmieLine, Reply, demo_settings
from simulators.living_lab import LivingLab, _TellingLine
from simulators.world import CONTRACT_ID, CONTRACTS_TABLE, FIELDS, JESTOR_TOKEN, RECEIVABLES_TABLE
from tests.simulation.test_late_titles import add_title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from billing.omie.client import OmieClient
    from simulators.omie.state import App, Title

Json = dict[str, Any]

DECEMBER: Final = BillingMonth(2026, 12)
CONTRACTS: Final = 12
SEED: Final = 4
NUMBERED: Final = frozenset({"codigo_titulo_omie", "numero_documento", "name", "link_boleto", "OS", "Código Omie"})
"""What counts what was made in Omie before it: not the same when another contract was not billed."""


@dataclass(frozen=True)
class Spoiled:
    """`fields`: "cliente.cnpj_cpf" or "detalhes.nValorTitulo" -> the value that is shown; "" is the whole."""

    row: int = 0
    title: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)

    def put_into(self, shown: Json) -> Any:
        for path, value in self.fields.items():
            root, _, inner = path.partition(".")
            if not path:
                return value
            if not inner:
                shown[root] = value
            elif isinstance(shown.get(root), dict):
                shown[root] = shown[root] | {inner: value}
        return shown


class _SpoilingJestor(_TellingLine):
    spoiled = Spoiled()

    def _post(self, path: str, content: bytes, headers: dict[str, str]) -> Reply:
        reply = super()._post(path, content, headers)
        if path != "/object/list" or json.loads(content)["object_type"] != CONTRACTS_TABLE:
            return reply
        answer = json.loads(reply.content)
        for shown in answer["data"]["items"]:
            if shown[CONTRACT_ID] == self.spoiled.row:
                self.spoiled.put_into(shown)
        return Reply(200, json.dumps(answer).encode())


class _SpoilingOmie(OmieLine):
    spoiled = Spoiled()

    def _post(self, url: str, content: str) -> Reply:
        reply = super()._post(url, content)
        if not self.spoiled.title or '"ListarMovimentos"' not in content or b'"movimentos"' not in reply.content:
            return reply
        answer = json.loads(reply.content)
        answer["movimentos"] = [
            self.spoiled.put_into(shown) if shown["detalhes"].get("nCodTitulo") == self.spoiled.title else shown
            for shown in answer["movimentos"]
        ]
        return Reply(200, json.dumps(answer).encode())


class SpoiledLab(LivingLab):
    """A month whose contracts owe late charges, some of them."""

    def __init__(self, spoiled: Spoiled) -> None:
        super().__init__(contracts=CONTRACTS, seed=SEED, settings=_settings())
        self.spoiled = spoiled
        self.titles = [title for app in self.omie.apps.values() for title in self._late_titles(app)]

    def _late_titles(self, app: App) -> list[Title]:
        random = Random(f"titles of {app.app_key}")
        owing = [contract.nCodCtr for contract in app.contract_list if random.random() < 0.6]
        return [
            add_title(self, app, nCodCtr, days_late=random.randint(15, 60), amount=random.choice([9990, 100000]))
            for nCodCtr in [*owing, 0]
        ]

    def jestor_client(self, attempts: int = 6) -> JestorClient:
        line = _SpoilingJestor(self.jestor, self.clock, self.step, self.echoes.extend)
        line.spoiled = self.spoiled
        http = cast("httpx.Client", line)
        return JestorClient(JESTOR_URL, JESTOR_TOKEN, http=http, clock=self.clock, attempts=attempts)

    def omie_clients(self, *args: Any, **kwargs: Any) -> Callable[[str], OmieClient]:
        client_of = super().omie_clients(*args, **kwargs)
        line = _SpoilingOmie(self.omie, self.clock, self.step)
        line.spoiled = self.spoiled

        def client(company: str) -> OmieClient:
            client = client_of(company)
            client._http = cast("httpx.Client", line)
            return client

        return client


@lru_cache
def _settings() -> Any:
    late = LateFeeSettings(fine_percent=Decimal(2), interest_percent=Decimal(1))
    settings = demo_settings()
    companies = {key: company.model_copy(update={"late_fee": late}) for key, company in settings.companies.items()}
    return settings.model_copy(update={"companies": companies})


@dataclass(frozen=True)
class Told:
    """What became of the month: of everybody together, and of each contract by its code."""

    month: Json
    of: Mapping[str, Json]

    def without(self, *codes: str) -> Mapping[str, Json]:
        return {code: each for code, each in self.of.items() if code not in codes}


def told(spoiled: Spoiled) -> Told:
    """Plans, bills, closes, sweeps, tells the receivables and looks for invoices; nothing of it may stop."""
    lab = SpoiledLab(spoiled)
    answer = lab.run(trigger="operator")
    lab.clock.advance(7200)
    swept = lab.sweep()
    lab.drain(within=3600)
    lab.clock.advance(7200)
    synced = lab.sync_receivables()
    lab.clock.advance(7200)
    of: dict[str, Json] = {contract.code: {} for contract in lab.world.contracts}
    for key, text in lab.objects.texts.items():
        text.encode()
        if key.endswith("plan.jsonl"):
            _plan(text, of)
        elif key.endswith(".csv"):
            _report(text, of)
    _charges(lab, of)
    _swept(lab, of)
    _receivables(lab, of)
    assert [failure for execution in lab.executions if (failure := execution.failure)] == []
    assert [company["stopped"] for company in answer["companies"]] == ["", ""]
    assert [company["stopped"] for company in swept["companies"].values()] == ["", ""]
    assert answer["balanced"]
    assert len(synced) >= len(lab.settings.companies)
    return Told({"unreadable": sum(each["unreadable"] for each in synced)}, of)


def _plan(text: str, of: dict[str, Json]) -> None:
    for line in map(PlanLine.from_json, text.splitlines()):
        of[line.contract].setdefault("plan", []).append(replace(line).to_dict())


def _report(text: str, of: dict[str, Json]) -> None:
    for row in csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"):
        of[row["Contrato"]]["report"] = {name: value for name, value in row.items() if name not in NUMBERED}


def _charges(lab: SpoiledLab, of: dict[str, Json]) -> None:
    contract_of: dict[tuple[str, int], str] = {}
    for company in lab.settings.companies:
        for charge in lab.ledger.by_month(company, DECEMBER):
            facts = (str(charge.state), charge.amount, charge.reason_code, charge.company, charge.additions)
            of[charge.key.contract][f"charge {charge.key.kind}"] = facts
            if charge.nCodOS:
                contract_of[company, charge.nCodOS] = charge.key.contract
    for billing in lab.omie.book.billings:
        order = lab.omie.apps[billing.company].orders[billing.nCodOS]
        code = contract_of[billing.company, billing.nCodOS]
        of[code].setdefault("billed", []).append(order.total)


def _swept(lab: SpoiledLab, of: dict[str, Json]) -> None:
    report = next(value for key, value in lab.objects.texts.items() if "sweep-" in key and key.endswith(".json"))
    for company, found in json.loads(report)["companies"].items():
        for kind, entries in found.items():
            for entry in entries if isinstance(entries, list) else ():
                if entry["contract"] in of:
                    of[entry["contract"]].setdefault("sweep", []).append((company, kind, entry["what"], entry["why"]))


def _receivables(lab: SpoiledLab, of: dict[str, Json]) -> None:
    for row in lab.jestor.tables[RECEIVABLES_TABLE].rows.values():
        code = f"JST-{row.get('contrato')}"
        if code in of:
            facts = {name: value for name, value in row.items() if not name.startswith("id_") and name not in NUMBERED}
            of[code].setdefault("titles", []).append(facts)
    for each in of.values():
        each.get("titles", []).sort(key=repr)


# ---- anything


NASTY: Final = (
    *("9999-12-31", "0001-01-01", "9999-12-31 23:59", "2026-02-30", "31/12/9999", "1e9999", "nan", "-inf", "1.000"),
    *(
        "\ud800",
        "a\udfffb",
        "\x00",
        "x" * 5000,
        "\u0661",
        "1\u00a0000",
        "&amp;amp;",
        "=1+1",
        "Ativo",
        "Churn",
        "{{7*7}}",
    ),
    *(10**30, -(10**30), 10**400, 1e308, -0.0, 0.1, True, False, None, [], {}, [[]], [{}], [[[[1]]]], {"id": [1]}),
    *(float("nan"), float("inf"), "0", 0, -1, "-1", 32, "\n", " ", "<b>", "'; --", "\u202e", "ß" * 300),
)
anything: Final = st.recursive(
    st.sampled_from(NASTY)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates().map(str)
    | st.text(st.characters(exclude_categories=()), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
row_fields: Final = st.dictionaries(
    st.sampled_from(sorted({*FIELDS.values(), "cliente"})), anything, min_size=1, max_size=6
)
title_fields: Final = st.dictionaries(
    st.sampled_from(
        [
            *("", "detalhes", "resumo", "detalhes.nCodTitulo", "detalhes.nCodCliente", "detalhes.nCodCtr"),
            *("detalhes.nCodOS", "detalhes.cNumTitulo", "detalhes.dDtVenc", "detalhes.dDtPagamento"),
            *("detalhes.nValorTitulo", "detalhes.cStatus", "detalhes.cGrupo", "detalhes.cNatureza"),
            *("detalhes.nCodBaixa", "detalhes.nValorMovCC", "detalhes.nJuros", "detalhes.nMulta"),
            *("detalhes.nDesconto", "resumo.cLiquidado", "resumo.nValAberto", "resumo.nValPago"),
            *("resumo.nMulta", "resumo.nJuros"),
        ]
    ),
    anything,
    min_size=1,
    max_size=4,
)
