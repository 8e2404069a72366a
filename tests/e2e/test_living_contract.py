"""The living contract on the deployed template: between two months, Jestor and Omie agree without anyone typing.

Both simulators send their webhooks through the deployed API, Omie's doubled and out of order. The month is billed when
the story begins; the tests run in order and build on one another, and the longest wait (a hold is not lifted within its
first minute) is waited while the others work.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest

from billing.domain.boleto import typeable_line
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.receive_webhook import HOLD_REASON
from ops import local
from simulators.brazil import formatted, party
from simulators.world import COMPANIES as OMIE_COMPANIES
from simulators.world import CONTRACTS_TABLE, CUSTOMER_ID, CUSTOMERS_TABLE, FIELDS, INVOICE_FIELDS, make_world
from simulators.world import WRITE_BACK_FIELDS as TOLD

pytestmark = pytest.mark.e2e

STOPPED, ACTIVE = "90", "10"
NEW = 3
EDITS, EDITED = int(os.environ.get("EDITS", "36")), 12
"""How often a person edits what no webhook tells, and in how many contracts: an order takes its lane three seconds."""


@dataclass(frozen=True)
class Known:
    """A contract of both sides."""

    jestor_id: int
    company: str
    nCodCtr: str

    @property
    def code(self) -> str:
        return f"JST-{self.jestor_id}"


@dataclass
class Cast:
    """Who plays: `raised` and `disputed` are billed already; `churner` is not, nor are the `new` (Jestor's ids)."""

    raised: Known
    disputed: Known
    churner: Known
    edited: list[Known]
    new: list[int]
    altered: dict[str, str]
    """When Omie's contract was altered, as first seen."""


@pytest.fixture(scope="module")
def cast(deployed: Any) -> Iterator[Cast]:
    """A month that is billed, a contract that is renewed but not billed yet, and new ones that nobody has heard of."""
    deployed.webhooks(on=False)
    deployed.ops("run", "--yes")
    world = make_world(60, 7, today())
    linked = [
        Known(one.jestor_id, one.omie_company, str((one.omie_contrato or {})["cabecalho"]["nCodCtr"]))
        for one in world.contracts
        if one.kind in {"match", "ended"}
    ]
    kinds = {one.jestor_id: one.kind for one in world.contracts}
    churner = next(one for one in linked if kinds[one.jestor_id] == "ended")
    matches = [one for one in linked if kinds[one.jestor_id] == "match"]
    deployed.edit(churner.jestor_id, {FIELDS["status"]: "Ativo", FIELDS["end"]: ""})
    new = [sell(deployed, number) for number in range(NEW)]
    deployed.control("omie", "switches", {"nfse_seconds": 1, "boleto_seconds": 1})
    deployed.control(
        "omie",
        "faults",
        [
            {"kind": "webhook_duplicate", "share": 0.5},
            {"kind": "webhook_late", "share": 0.5, "seconds": 2},
        ],
    )
    deployed.webhooks(on=True)
    yield Cast(matches[0], matches[1], churner, matches[2 : 2 + EDITED], new, {})
    deployed.control("omie", "faults", [])
    deployed.webhooks(on=True)


def sell(deployed: Any, number: int) -> int:
    """A new customer and its contract in Jestor; nobody has it in Omie yet."""
    who = party(1_000_003, number)
    company = OMIE_COMPANIES["nimbus"]
    customer = deployed.create(
        CUSTOMERS_TABLE,
        {
            "name": who.name,
            "razao_social_1": who.name,
            "cnpj_cpf": formatted(who.document),
            "email_faturamento": f"cliente{number}@example.com",
            "whatsapp": f"(41) 99876-54{number:02d}",
            "cep": who.cep,
            "endereco": who.endereco,
            "numero": who.numero,
            "bairro": who.bairro,
            "cidade": who.cidade,
            "estado": who.estado,
        },
    )
    row = deployed.create(
        CONTRACTS_TABLE,
        {
            FIELDS["name"]: who.name,
            FIELDS["company"]: company.jestor_label,
            "cliente": customer[CUSTOMER_ID],
            FIELDS["service"]: next(iter(company.services)),
            FIELDS["description"]: "Assinatura nova",
            FIELDS["quantity"]: 1,
            FIELDS["unit_amount"]: 450 + number,
            FIELDS["due_day"]: 10,
            FIELDS["start"]: str(today().replace(day=1)),
            FIELDS["status"]: "Ativo",
        },
    )
    return int(row[f"id_{CONTRACTS_TABLE}"])


def today() -> date:
    return datetime.now(SAO_PAULO).date()


def priced(reais: float) -> dict[str, Any]:
    return {FIELDS["quantity"]: 1, FIELDS["unit_amount"]: reais, FIELDS["discount"]: 0}


def in_omie(deployed: Any, contract: Known) -> dict[str, Any]:
    return deployed.contracts()[contract.company][contract.nCodCtr]


def alterations(deployed: Any) -> int:
    return deployed.book()["calls"].get("AlterarContrato", {"count": 0})["count"]


def settled(deployed: Any) -> bool:
    """Nothing waits anywhere; twice, because a message may be between two queues."""
    return not deployed.waiting() and not deployed.waiting()


def next_month() -> str:
    month = BillingMonth.of(datetime.now(UTC))
    return str(BillingMonth.containing(month.first_day + timedelta(days=40)))


def test_an_upsell_reaches_omie_and_its_own_echo_changes_nothing(deployed: Any, cast: Cast) -> None:
    before = alterations(deployed)
    deployed.edit(cast.raised.jestor_id, priced(1777.77))
    deployed.await_that(lambda: in_omie(deployed, cast.raised)["amount"] == 177_777, "the new amount in Omie")

    def told() -> dict[str, Any]:
        record = deployed.record(cast.raised.jestor_id)
        return record if record[TOLD["effective_month"]] else {}

    record = deployed.await_that(told, "what the Jestor record says")
    assert record[TOLD["effective_month"]] == next_month()
    assert "R$ 1.777,77" in record[TOLD["omie_note"]]
    assert f"Vale a partir da competência {next_month()}" in record[TOLD["omie_note"]]

    def echo() -> list[dict[str, Any]]:
        ours = [one["body"] for one in deployed.kept() if one["body"].get("jestor_id") == cast.raised.jestor_id]
        return [body for body in ours if body["alterado_por"] == "api"]

    deployed.await_that(echo, "the webhook that our own writing sets off")
    deployed.await_that(lambda: settled(deployed), "the end of what follows from it")
    assert alterations(deployed) == before + 1
    assert len(deployed.writes(cast.raised.jestor_id, TOLD["omie_note"])) == 1
    cast.altered[cast.raised.code] = in_omie(deployed, cast.raised)["altered"]


def test_doubled_old_and_out_of_order_is_one_alteration(deployed: Any, cast: Cast) -> None:
    before, one = alterations(deployed), cast.disputed
    deployed.webhooks(on=False)
    for amount in (1500, 1600):
        deployed.edit(one.jestor_id, priced(amount))
    deployed.webhooks(on=True)
    older, newer = (
        json.dumps({"evento": "after_update", "jestor_id": one.jestor_id, "valor": amount}).encode()
        for amount in (1500, 1600)
    )
    now = time.time()
    answers = [
        deployed.post("/jestor/contract", body, at=at).status_code
        for body, at in ((newer, now), (newer, now), (older, now - 200), (older, now - 200), (newer, now - 1))
    ]
    assert answers == [202] * 5
    assert deployed.post("/jestor/contract", newer, at=now - 400).status_code == 401
    deployed.await_that(lambda: in_omie(deployed, one)["amount"] == 160_000, "the new amount in Omie")
    assert alterations(deployed) == before + 1
    assert len([kept for kept in deployed.kept() if kept["body"].get("jestor_id") == one.jestor_id]) >= 3
    cast.altered[one.code] = in_omie(deployed, one)["altered"]


def test_a_forged_churn_holds_nothing(deployed: Any, cast: Cast) -> None:
    body = json.dumps({"jestor_id": cast.churner.jestor_id, "forjado": True}).encode()
    before = deployed.contracts()
    for path in ("/jestor/churn", "/jestor/contract", "/omie/not-a-token-of-ours"):
        assert deployed.post(path, body, secret="not-the-secret").status_code == 401
    assert deployed.hold(cast.churner.code) is None
    assert not [one for one in deployed.kept() if "forjado" in one["body"]]
    assert in_omie(deployed, cast.churner) == before[cast.churner.company][cast.churner.nCodCtr]


def test_a_churn_is_held_when_it_is_acknowledged_and_suspended_in_omie(deployed: Any, cast: Cast) -> None:
    one = cast.churner
    assert in_omie(deployed, one)["cCodSit"] == ACTIVE
    deployed.webhooks(on=False)
    deployed.edit(one.jestor_id, {FIELDS["status"]: "Churn"})
    deployed.webhooks(on=True)
    body = json.dumps({"evento": "after_update", "jestor_id": one.jestor_id, "status": "Churn"}).encode()
    assert deployed.post("/jestor/churn", body).status_code == 202
    assert deployed.hold(one.code) == HOLD_REASON
    deployed.await_that(lambda: in_omie(deployed, one)["cCodSit"] == STOPPED, "the suspension in Omie")
    deployed.await_that(
        lambda: deployed.record(one.jestor_id)[TOLD["omie_status"]] == "Suspenso", "what the Jestor record says"
    )


def test_a_run_bills_the_new_contracts_and_not_the_churned_one(deployed: Any, cast: Cast) -> None:
    before = len(deployed.book()["billings"])
    seen = deployed.json("run", "--yes")
    assert seen["balanced"], seen["explanation"]
    billings = deployed.book()["billings"]
    assert len(billings) == before + NEW
    assert {billing["cCodIntCtr"] for billing in billings[before:]} == {f"JST-{number}" for number in cast.new}
    assert int(cast.churner.nCodCtr) not in {billing["nCodCtr"] for billing in billings}
    # Won back: the hold is lifted when it is a minute old, while the next tests go on.
    deployed.edit(cast.churner.jestor_id, {FIELDS["status"]: "Ativo"})


def test_each_invoice_reaches_its_record_once(deployed: Any, cast: Cast) -> None:
    orders = {billing["cCodIntCtr"]: billing["nCodOS"] for billing in deployed.book()["billings"]}
    for number in cast.new:
        record = deployed.await_that(
            lambda number=number: (found := deployed.record(number))[INVOICE_FIELDS["invoice_link"]] and found,
            f"the invoice of JST-{number}",
        )
        assert record[INVOICE_FIELDS["invoice_link"]].endswith(f"{orders[f'JST-{number}']:x}")
        assert record[INVOICE_FIELDS["billed_status"]] == "Faturado"
        assert record[INVOICE_FIELDS["whatsapp_phone"]] == f"+55419987654{cast.new.index(number):02d}"
        assert record[INVOICE_FIELDS["boleto_link"]] in record[INVOICE_FIELDS["whatsapp_text"]]
        assert record[INVOICE_FIELDS["boleto_barcode"]] in slips(deployed)
        assert not record[INVOICE_FIELDS["invoice_problem"]]


def slips(deployed: Any) -> set[str]:
    """The typeable lines of the boletos that Omie's webhooks speak of."""
    events = [one["body"]["event"] for one in deployed.kept() if one["body"].get("topic", "").endswith("BoletoGerado")]
    return {typeable_line(event["codigo_barras_ficha_compensacao"]) for event in events}


def test_what_no_webhook_told_is_found_by_the_sweep(deployed: Any, cast: Cast) -> None:
    deployed.webhooks(on=False)
    random = Random(4)
    wanted = {one: {"cCodSit": ACTIVE} for one in cast.edited}
    for _ in range(EDITS):
        one = random.choice(cast.edited)
        reais = random.randrange(100_00, 2_000_00) / 100
        change, becomes = random.choice(
            [
                (priced(reais), {"amount": round(reais * 100)}),
                ({FIELDS["due_day"]: random.choice((3, 7, 14, 22, 28))}, {}),
                ({FIELDS["description"]: f"Plano revisto nº {random.randrange(1000)}"}, {}),
                ({FIELDS["status"]: "Suspenso"}, {"cCodSit": STOPPED}),
                ({FIELDS["status"]: "Ativo"}, {"cCodSit": ACTIVE}),
            ]
        )
        deployed.edit(one.jestor_id, change)
        wanted[one] |= becomes
    before = deployed.contracts()
    changed = {one.code for one in cast.edited if wanted[one].items() - before[one.company][one.nCodCtr].items()}
    found = {entry["contract"] for entry in differences(deployed)}
    assert changed <= found <= {one.code for one in (*cast.edited, cast.churner)}
    deployed.await_that(lambda: settled(deployed), "the mending of what the sweep found", 200)
    after = deployed.contracts()
    for one in cast.edited:
        told, stopped = wanted[one], wanted[one]["cCodSit"] == STOPPED
        told = {"cCodSit": STOPPED} if stopped else told  # what is stopped is altered when it is active again
        assert told.items() <= after[one.company][one.nCodCtr].items(), one
    deployed.until_shown()  # a sweep that reads a contract as it was before an alteration calls it different
    before = reports(deployed)
    deployed.fire("SweepSchedule")
    (daily,) = deployed.await_that(lambda: reports(deployed) - before, "the daily sweep's report")
    assert entries(deployed, daily) == []


def differences(deployed: Any) -> list[dict[str, Any]]:
    """What a sweep is about to put right."""
    return entries(deployed, deployed.json("sweep")["report"]["json"])


def entries(deployed: Any, report: str) -> list[dict[str, Any]]:
    companies = json.loads(deployed.stack.text(report))["companies"].values()
    assert not any(found["stopped"] for found in companies)
    return [entry for found in companies for kind in ("ordered", "listed", "holds") for entry in found[kind]]


def reports(deployed: Any) -> set[str]:
    """The keys of all that sweeps have reported."""
    bucket = deployed.state["outputs"]["DataBucketName"]
    found = local.client(deployed.state, "s3").list_objects_v2(Bucket=bucket, Prefix="reports/")["Contents"]
    return {one["Key"] for one in found if "/sweep-" in one["Key"] and one["Key"].endswith(".json")}


def test_who_comes_back_is_active_again(deployed: Any, cast: Cast) -> None:
    one = cast.churner
    assert in_omie(deployed, one)["cCodSit"] == ACTIVE
    assert deployed.hold(one.code) is None
    assert deployed.record(one.jestor_id)[TOLD["omie_status"]] == "Ativo"


def test_who_came_back_is_billed_and_a_refused_nfse_says_what_to_fix(deployed: Any, cast: Cast) -> None:
    one = cast.churner
    deployed.control("omie", "switches", {"nfse_rejected_share": 1})
    seen = deployed.json("run", "--company", one.company, "--yes")
    assert seen["balanced"], seen["explanation"]
    assert [b["nCodCtr"] for b in deployed.book()["billings"]].count(int(one.nCodCtr)) == 1

    deployed.fire("InvoiceSchedule")  # Omie has no webhook for it: what looks several times a day finds it
    record = deployed.await_that(
        lambda: (found := deployed.record(one.jestor_id))[INVOICE_FIELDS["invoice_problem"]] and found,
        "the refusal in the Jestor record",
    )
    assert record[INVOICE_FIELDS["billed_status"]] == "NFS-e rejeitada"
    assert record[INVOICE_FIELDS["invoice_problem"]].startswith("A prefeitura rejeitou a NFS-e.")
    assert "O que fazer:" in record[INVOICE_FIELDS["invoice_problem"]]
    assert not record[INVOICE_FIELDS["whatsapp_text"]]


def test_the_doctor_finds_nothing_wrong_and_what_is_wrong(deployed: Any, cast: Cast, tmp_path: Any) -> None:
    del cast
    levels = {finding["check"]: finding["level"] for finding in deployed.json("doctor")["findings"]}
    assert levels["aws.webhooks_came"] == levels["aws.dead_letters"] == levels["aws.secrets"] == "ok"
    file = tmp_path / "settings.toml"
    account = str(OMIE_COMPANIES["acme"].nCodCC)
    file.write_text(deployed.settings.replace(account, "12345"))
    deployed.ops("settings", "push", str(file))
    told = deployed.json("doctor", "--company", "acme", expect=1)
    file.write_text(deployed.settings)
    deployed.ops("settings", "push", str(file))
    (wrong,) = [finding for finding in told["findings"] if finding["level"] == "error"]
    assert (wrong["where"], wrong["check"]) == ("Omie acme", "omie.account")
    assert account in wrong["fix"]


def test_in_the_end_nothing_was_done_twice(deployed: Any, cast: Cast) -> None:
    deployed.await_that(lambda: settled(deployed), "the end of everything", 200)
    for one in (cast.raised, cast.disputed):
        assert in_omie(deployed, one)["altered"] == cast.altered[one.code]
        assert len(deployed.writes(one.jestor_id, TOLD["omie_note"])) == 1
    for number in cast.new:
        assert len(deployed.writes(number, INVOICE_FIELDS["invoice_link"])) == 1
    book = deployed.book()
    assert (book["billed_twice"], book["blocks"], book["parallel_writes"]) == ([], [], 0)
    assert deployed.stack.dead_letters() == dict.fromkeys(deployed.stack.dead_letters(), 0)
