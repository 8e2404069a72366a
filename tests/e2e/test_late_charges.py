"""Late fine and interest on the deployed template: flagged in Jestor, on the next bill, and not on the one after.

Three contracts that are not billed yet this month join the world, with titles of earlier months in Omie. The tests run
in order and build on one another. What each title must cost is asked of `billing-ops late-fee`, which needs no stack.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from billing.domain.calendar import is_business_day
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.holidays_br import is_bank_holiday
from ops import local
from simulators.world import (
    COMPANIES,
    CONTRACT_ID,
    CONTRACTS_TABLE,
    CUSTOMER_ID,
    EXCEPTIONS,
    FIELDS,
    JESTOR_TOKEN,
    RECEIVABLE_FIELDS,
    RECEIVABLE_ID,
    RECEIVABLES_TABLE,
    WorldContract,
    make_world,
)

pytestmark = pytest.mark.e2e

ACME = COMPANIES["acme"]
AGREED = "fine_percent = 2\ninterest_percent = 1\n"
PAID = 40_000


@dataclass
class Case:
    """A late title, and what `billing-ops late-fee` says of it. Centavos."""

    due: date
    amount: int
    paid: tuple[date, int] | None = None
    nCodTitulo: int = 0
    fee: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return centavos(self.fee["total"])


@dataclass
class Owner:
    """A contract of both sides, with the titles it has not paid in time."""

    jestor_id: int
    nCodCtr: int
    monthly: int
    titles: list[Case]

    @property
    def code(self) -> str:
        return f"JST-{self.jestor_id}"


@dataclass
class Cast:
    owing: Owner
    spared: Owner
    punctual: Owner
    through: date

    @property
    def titles(self) -> list[Case]:
        return [*self.owing.titles, *self.spared.titles]


def today() -> date:
    return datetime.now(SAO_PAULO).date()


def centavos(reais: object) -> int:
    return round(float(str(reais)) * 100)


@pytest.fixture(scope="module")
def cast(deployed: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    deployed.webhooks(on=False)
    push(deployed, tmp_path_factory.mktemp("late"), with_late_fee(deployed.settings))
    like = [one for one in make_world(60, 7, today()).contracts if (one.kind, one.omie_company) == ("match", "acme")]
    day = today()
    owing = join(deployed, like[-1], [Case(day - timedelta(48), 123_456), Case(day - timedelta(20), 35_001)])
    spared = join(deployed, like[-2], [Case(day - timedelta(33), 98_765)])
    punctual = join(deployed, like[-3], [])
    deployed.until_shown()
    first = owing.titles[0]
    first.paid = (first.due + timedelta(10), PAID)
    in_omie(
        deployed,
        "financas/contareceber",
        "LancarRecebimento",
        {
            "codigo_lancamento": first.nCodTitulo,
            "codigo_baixa_integracao": f"late-{first.nCodTitulo}",
            "codigo_conta_corrente": ACME.nCodCC,
            "valor": PAID / 100,
            "data": f"{first.paid[0]:%d/%m/%Y}",
        },
    )
    through = day - timedelta(1)
    while not is_business_day(through, is_bank_holiday):
        through -= timedelta(1)
    cast = Cast(owing, spared, punctual, through)
    for case in cast.titles:
        case.fee = late_fee(deployed, case, through)
        assert case.total > 0
    yield cast
    deployed.control("omie", "account", {"company": "acme", "per_multa": 0, "per_juros": 0})
    push(deployed, tmp_path_factory.mktemp("settings"), deployed.settings)
    deployed.webhooks(on=True)


def with_late_fee(settings: str) -> str:
    """For the companies that have none."""
    for key in COMPANIES:
        if f"[companies.{key}.late_fee]" not in settings:
            head = f"[companies.{key}.omie]\n"
            settings = settings.replace(head, f"[companies.{key}.late_fee]\n{AGREED}\n{head}")
    return settings


def push(deployed: Any, folder: Any, text: str) -> None:
    (folder / "settings.toml").write_text(text)
    deployed.ops("settings", "push", str(folder / "settings.toml"))


def join(deployed: Any, like: WorldContract, titles: list[Case]) -> Owner:
    """A further contract of that customer's, on both sides, with titles of months before we billed it."""
    row, cadastro = like.jestor_row or {}, like.omie_contrato or {}
    wanted = ("name", "company", "service", "description", "quantity", "unit_amount", "discount")
    names = [FIELDS[word] for word in (*wanted, "due_day", "start", "end", "status")]
    data = {name: row[name] for name in names if row[name] is not None}
    made = deployed.create(CONTRACTS_TABLE, data | {"cliente": row["cliente"][CUSTOMER_ID]})
    jestor_id = int(made[CONTRACT_ID])
    for block in ("infoCadastro", "observacoes", "despesasReembolsaveis"):
        del cadastro[block]
    for tag in ("nCodCtr", "cNumCtr", "nValTotMes"):
        del cadastro["cabecalho"][tag]
    for item in cadastro["itensContrato"]:
        del item["itemCabecalho"]["codItem"]
    cadastro["cabecalho"]["cCodIntCtr"] = f"JST-{jestor_id}"
    nCodCtr = in_omie(deployed, "servicos/contrato", "IncluirContrato", cadastro)["nCodCtr"]
    if titles:
        wish = [{"nCodCtr": nCodCtr, "due": str(case.due), "amount": case.amount} for case in titles]
        answer = httpx.post(f"{deployed.state['simulators']['omie']}/_sim/titles", json=wish, timeout=60)
        for case, number in zip(titles, answer.raise_for_status().json()["nCodTitulo"], strict=True):
            case.nCodTitulo = number
    return Owner(jestor_id, nCodCtr, like.amount, titles)


def in_omie(deployed: Any, resource: str, call: str, param: dict[str, Any]) -> dict[str, Any]:
    """As acme's people, or its bank, would do it."""
    return deployed.omie("acme", resource, call, param)


def late_fee(deployed: Any, case: Case, as_of: date) -> dict[str, Any]:
    words = ["--amount", f"{case.amount / 100:.2f}", "--due", str(case.due), "--as-of", str(as_of)]
    if case.paid:
        words += ["--payment", f"{case.paid[0]}:{case.paid[1] / 100:.2f}"]
    return deployed.json("late-fee", *words)


def rows(deployed: Any) -> dict[int, dict[str, Any]]:
    """Jestor's receivables, by nCodTitulo."""
    found = httpx.post(
        f"{deployed.state['simulators']['jestor']}/object/list",
        json={"object_type": RECEIVABLES_TABLE, "page": 1, "size": 100},
        headers={"authorization": f"Bearer {JESTOR_TOKEN}"},
        timeout=60,
    ).json()
    return {int(row[RECEIVABLE_FIELDS["title"]]): row for row in found["data"]["items"]}


def written(deployed: Any) -> int:
    """How often our side has written to the receivables."""
    book = httpx.get(deployed.state["simulators"]["jestor"] + "/_sim/book", timeout=60).json()
    return sum(one["table"] == RECEIVABLES_TABLE and one["by"] == "api" for one in book["writes"])


def sync(deployed: Any) -> None:
    """As the schedule does; returns when what it asked for is done."""
    before = asked(deployed)
    told = deployed.call("SyncReceivablesFunctionName", {})
    assert told == {"asked": ["acme", "nimbus"]}
    deployed.await_that(lambda: at_rest(deployed), "the receivables of both companies")
    assert asked(deployed) >= before + 2


def asked(deployed: Any) -> int:
    """How often Omie was asked whether an account has titles at all."""
    return deployed.book()["calls"].get("ListarContasReceber", {"count": 0})["count"]


def at_rest(deployed: Any) -> bool:
    url = deployed.state["outputs"]["ReceivablesQueueUrl"]
    counts = local.client(deployed.state, "sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return not sum(int(count) for key, count in counts["Attributes"].items() if key.startswith("ApproximateNumber"))


def shown(row: dict[str, Any], *words: str) -> tuple[Any, ...]:
    return tuple(row[RECEIVABLE_FIELDS[word]] for word in words)


def test_a_late_title_is_flagged_in_jestor_with_the_proof_of_what_it_costs(deployed: Any, cast: Cast) -> None:
    sync(deployed)
    found = rows(deployed)
    for owner in (cast.owing, cast.spared):
        for case in owner.titles:
            row = found[case.nCodTitulo]
            late = (today() - case.due).days
            paid = case.paid[1] if case.paid else 0
            assert shown(row, "amount", "due_date") == (case.amount / 100, str(case.due))
            assert centavos(row[RECEIVABLE_FIELDS["open_amount"]]) == case.amount - paid
            assert shown(row, "status", "delay_days") == ("Atrasado", late)
            assert shown(row, "stage") == ("D+30" if late >= 30 else "D+5",)
            assert centavos(row[RECEIVABLE_FIELDS["charges"]]) == case.total
            assert row[RECEIVABLE_FIELDS["proof"]] == case.fee["proof"]
            assert not row[RECEIVABLE_FIELDS["boleto_link"]]  # no order made it: there is no page of an invoice
            assert row[RECEIVABLE_FIELDS["contract"]][CONTRACT_ID] == owner.jestor_id


def test_a_second_sync_writes_nothing(deployed: Any, cast: Cast) -> None:
    del cast
    before = written(deployed)
    assert before
    sync(deployed)
    assert written(deployed) == before


def test_what_a_person_spares_is_charged_no_more_and_the_operator_sees_it(deployed: Any, cast: Cast) -> None:
    (case,) = cast.spared.titles
    spared = next(option for option, label in EXCEPTIONS.items() if label == "Isento")
    row = rows(deployed)[case.nCodTitulo]
    wish = {RECEIVABLE_FIELDS["exception"]: spared}
    deployed.control("jestor", "edit", {"table": RECEIVABLES_TABLE, "id": row[RECEIVABLE_ID], "data": wish})
    deployed.ops("receivables", "--sync", "--company", "acme")

    def ended() -> bool:
        return not rows(deployed)[case.nCodTitulo][RECEIVABLE_FIELDS["charges"]]

    deployed.await_that(ended, "the end of the charges in the spared title's row")
    row = rows(deployed)[case.nCodTitulo]
    assert shown(row, "status", "delay_days", "exception") == ("Atrasado", (today() - case.due).days, spared)
    assert not row[RECEIVABLE_FIELDS["proof"]]
    listed = {one["title"]: one for one in deployed.json("receivables", "--overdue")["titles"]}
    assert listed.keys() == {case.nCodTitulo for case in cast.titles}
    assert (listed[case.nCodTitulo]["mark"], listed[case.nCodTitulo]["charges"]) == ("isento", "0.00")
    for owed in cast.owing.titles:
        assert (listed[owed.nCodTitulo]["charges"], listed[owed.nCodTitulo]["proof"]) == (
            owed.fee["total"],
            owed.fee["proof"],
        )
    screen = deployed.ops("receivables", "--overdue", "--proof").stdout
    assert all(line in screen for owed in cast.owing.titles for line in owed.fee["proof"].splitlines())


def test_boletos_that_charge_the_same_stop_that_company_s_plan_and_the_doctor_says_so(
    deployed: Any, cast: Cast
) -> None:
    del cast
    deployed.control("omie", "account", {"company": "acme", "per_multa": 2, "per_juros": 1})
    seen = deployed.json("run", "--preview", expect=1)
    assert "o cliente pagaria duas vezes" in seen["explanation"]
    assert 'mode = "boleto"' in seen["explanation"]
    planned = {company["company"]: company.get("billed", 0) for company in seen["companies"]}
    assert planned["acme"] == 0
    (wrong,) = [one for one in deployed.json("doctor", expect=1)["findings"] if one["level"] == "error"]
    assert (wrong["where"], wrong["check"]) == ("Omie acme", "omie.late_fee")
    assert 'mode = "boleto"' in wrong["fix"]
    deployed.control("omie", "account", {"company": "acme", "per_multa": 0, "per_juros": 0})


def test_the_next_bill_carries_the_charges_to_the_cent_with_the_same_proof(
    deployed: Any, cast: Cast, tmp_path: Any
) -> None:
    seen = deployed.json("run", "--yes")
    assert seen["balanced"], seen["explanation"]
    owing, month = cast.owing, str(BillingMonth.of(datetime.now(UTC)))
    extra = sum(case.total for case in owing.titles)
    orders = {one["nCodCtr"]: one for one in deployed.book()["billings"]}
    assert orders[owing.nCodCtr]["amount"] == owing.monthly + extra
    assert orders[cast.spared.nCodCtr]["amount"] == cast.spared.monthly
    assert orders[cast.punctual.nCodCtr]["amount"] == cast.punctual.monthly

    order = in_omie(deployed, "servicos/os", "ConsultarOS", {"nCodOS": orders[owing.nCodCtr]["nCodOS"]})
    lines = [line for line in order["ServicosPrestados"] if line["cReembolso"] == "S"]
    assert sorted(centavos(line["nValUnit"]) for line in lines) == sorted(case.total for case in owing.titles)
    text = f"Encargos por atraso do boleto de {owing.titles[0].due:%d/%m/%Y} até {cast.through:%d/%m/%Y}: multa"
    assert any(line["cDescServ"].startswith(text) for line in lines)

    told = deployed.json("explain", "--contract", owing.code, "--month", month)
    (charge,) = [one for one in told["charges"] if one["kind"] == "mensalidade"]
    assert charge["amount"] == owing.monthly + extra
    charged = {each["title"]: each for each in charge["additions"]}
    assert {number: each["amount"] for number, each in charged.items()} == {
        case.nCodTitulo: case.total for case in owing.titles
    }
    assert {each["through"] for each in charged.values()} == {str(cast.through)}

    deployed.ops("report", "--month", month, "--output", str(tmp_path), "--format", "json")
    report = json.loads(next(tmp_path.glob("*.json")).read_text())
    reported = {(row["contract"], row["amount"]["centavos"]): row["proof"] for row in report["additions"]["rows"]}
    screen = deployed.ops("explain", "--contract", owing.code, "--month", month).stdout
    for case in owing.titles:
        proof = case.fee["proof"]
        assert charged[case.nCodTitulo]["proof"] == proof
        assert reported[owing.code, case.total] == proof
        assert all(line in screen for line in proof.splitlines())
    assert {row["contract"] for row in report["additions"]["rows"]} == {owing.code}


def test_the_bill_after_that_carries_nothing_of_the_days_already_charged(
    deployed: Any, cast: Cast, tmp_path: Any
) -> None:
    contract = in_omie(
        deployed, "servicos/contrato", "ConsultarContrato", {"contratoChave": {"nCodCtr": cast.owing.nCodCtr}}
    )["contratoCadastro"]
    assert not (contract.get("despesasReembolsaveis") or {}).get("despesaReembolsavel")
    assert deployed.contracts()["acme"][str(cast.owing.nCodCtr)]["amount"] == cast.owing.monthly

    first = BillingMonth.of(datetime.now(UTC)).first_day
    following = str(BillingMonth.containing(first + timedelta(days=40)))
    seen = deployed.json("run", "--month", following, "--preview")
    assert seen["balanced"], seen["explanation"]
    deployed.ops("report", "--month", following, "--output", str(tmp_path), "--format", "json")
    report = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert (report["additions"]["count"], report["owed"]["count"]) == (0, 0)


def test_in_the_end_nothing_was_charged_or_written_twice(deployed: Any, cast: Cast) -> None:
    sync(deployed)
    found = rows(deployed)
    assert found.keys() == {case.nCodTitulo for case in cast.titles}
    for case in cast.owing.titles:  # not paid: late they stay, whoever charges for it
        assert found[case.nCodTitulo][RECEIVABLE_FIELDS["status"]] == "Atrasado"
    book = deployed.book()
    assert (book["billed_twice"], book["blocks"], book["parallel_writes"]) == ([], [], 0)
    assert deployed.stack.dead_letters() == dict.fromkeys(deployed.stack.dead_letters(), 0)
