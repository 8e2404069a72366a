"""The end of a run: books that balance or say why not, a report that says the same, people who are told."""

import csv
import io
import json
from datetime import datetime

import pytest

from billing.close_run import close_run
from billing.domain.addition import Addition
from billing.domain.charge import ChargeKey, Event, State
from billing.domain.money import format_brl
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.plan import PlanLine
from billing.open_run import RunRequest, open_run
from billing.plan_company import plan_company
from billing.request_approval import request_approval
from simulators.lab import Lab
from simulators.omie.faults import Fault
from simulators.world import CONTRACTS_TABLE, FIELDS

DECEMBER = BillingMonth(2026, 12)
ARN = "arn:aws:states:lab:execution:run:one"


class Desk:
    """Both companies planned, and their charges as a test wants them."""

    def __init__(self, contracts=20, *, clean=False, preview=False, **more):
        self.lab = Lab(contracts, clean=clean, **more)
        self.opened = open_run(RunRequest(ARN, "operator", preview=preview), self.lab.open_deps())
        self.companies = [plan_company(company, self.lab.plan_deps()) for company in self.opened["companies"]]

    def lines(self, company=None):
        return [
            json.loads(text)
            for planned in self.companies
            if company in (None, planned["company"])
            for text in self.lab.objects.read_lines(planned["plan"]["key"])
        ]

    def to_bill(self, company=None):
        return [line for line in self.lines(company) if line["action"] == "bill"]

    def write(self, line, event, **facts):
        return self.lab.ledger.apply(
            ChargeKey(line["contract"], DECEMBER),
            event,
            now=self.lab.clock.now(),
            who="test",
            why="because",
            company=line["company"],
            amount=line["amount"],
            **facts,
        )

    def bill_all(self):
        for number, line in enumerate(self.to_bill()):
            self.bill(line, nCodOS=5000 + number)

    def bill(self, line, **facts):
        """As the company's lane does: claimed, sent, answered."""
        key, now = ChargeKey(line["contract"], DECEMBER), self.lab.clock.now()
        planned = PlanLine.from_dict(line)
        self.lab.ledger.claim(
            key,
            attempt="a1",
            now=now,
            company=line["company"],
            amount=line["amount"],
            plan_hash="p",
            run="r",
            nCodCtr=line["nCodCtr"],
            who="test",
            additions=[Addition.from_dict(each).charged() for each in line["additions"]],
            composition=planned.composition("plan"),
        )
        self.lab.ledger.apply(key, Event.DONE, now=now, who="test", why="", attempt="a1", **facts)

    def close(self, **changes):
        event = self.opened | {"companies": self.companies} | changes
        return close_run(event, self.lab.close_deps())

    def page(self, answer, kind="html"):
        return self.lab.objects.texts[answer["report"][kind]]


def failed(company, error, cause):
    return company | {"error": {"Error": error, "Cause": cause}}


def test_a_balanced_run_says_all_is_well_closes_its_runs_and_tells_people():
    desk = Desk(clean=True)
    desk.bill_all()

    answer = desk.close()

    billed = desk.to_bill()
    total = sum(line["amount"] for line in billed)
    assert answer["balanced"] is True
    assert answer["explanation"].startswith(f"Tudo certo: {len(billed)} contratos faturados, R$ ")
    assert sum(company["billed"] for company in answer["companies"]) == len(billed)
    assert sum(company["total_billed_centavos"] for company in answer["companies"]) == total
    for company in answer["companies"]:
        explained = company["billed"] + company["skipped"] + company["parked"]
        assert company["planned"] == explained
        assert (company["in_doubt"], company["unexplained"], company["stopped"]) == (0, 0, "")
        run = desk.lab.runs.get(f"2026-12#mensalidade#{company['company']}")
        assert (run.status, run.summary) == ("closed", company)
    assert desk.lab.notes.sent == [("Faturamento 2026-12: Tudo certo", answer["explanation"])]


def test_the_report_is_three_files_named_by_month_generation_and_execution():
    desk = Desk()
    desk.bill_all()

    answer = desk.close()

    assert answer["report"] == {kind: f"reports/2026-12/1-one.{kind}" for kind in ("html", "csv", "json")}
    assert desk.page(answer).lstrip().startswith("<!doctype html>")
    assert (
        json.loads(desk.page(answer, "json"))["verdict"]["tone"] == "open"
    )  # of this world's contracts some are parked
    rows = list(csv.reader(io.StringIO(desk.page(answer, "csv").lstrip("\ufeff")), delimiter=";"))
    assert len(rows) == 1 + len(desk.lines())
    assert {company["report_key"] for company in answer["companies"]} == {answer["report"]["html"]}


def test_a_contract_that_nothing_explains_unbalances_the_run_and_every_page_says_so():
    desk = Desk()
    desk.bill_all()
    lost = desk.to_bill()[0]
    del desk.lab.ledger._charges[ChargeKey(lost["contract"], DECEMBER)]

    answer = desk.close()

    [company] = [c for c in answer["companies"] if c["company"] == lost["company"]]
    assert answer["balanced"] is False
    assert company["unexplained"] == 1
    assert answer["explanation"].startswith("Atenção: as contas não fecham.")
    assert "as contas não fecham" in desk.page(answer)
    assert lost["contract"] in desk.page(answer)
    assert desk.lab.notes.sent[0][0] == "Faturamento 2026-12: Atenção: as contas não fecham"


def test_a_charge_left_in_doubt_is_no_balance_yet():
    desk = Desk()
    desk.bill_all()
    line = desk.to_bill()[0]
    desk.lab.ledger._charges[ChargeKey(line["contract"], DECEMBER)]["state"] = State.UNKNOWN

    answer = desk.close()

    assert answer["balanced"] is False
    assert answer["explanation"].startswith("Quase pronto.")
    assert sum(company["in_doubt"] for company in answer["companies"]) == 1


def test_what_became_of_each_contract_is_what_the_ledger_says():
    desk = Desk()
    parked, held, *others = desk.to_bill()
    desk.write(parked, Event.PARK, reason_code="omie_rejected", reason="O Omie recusou o faturamento: algo.")
    desk.write(held, Event.HOLD, reason="churn")
    for line in others:
        desk.write(line, Event.ADOPT)

    answer = desk.close()

    page = desk.page(answer)
    assert answer["balanced"] is True
    assert sum(company["billed"] for company in answer["companies"]) == len(others)
    assert "O Omie recusou o faturamento: algo." in page
    assert "libere o contrato" in page


def test_what_was_billed_before_this_execution_is_said_and_balances():
    desk = Desk(10, clean=True)
    desk.bill_all()
    desk.companies = [plan_company(company, desk.lab.plan_deps()) for company in desk.opened["companies"]]

    answer = desk.close()

    assert answer["balanced"] is True
    assert answer["explanation"].endswith("10 já estavam faturados antes desta execução e não foram enviados de novo.")


def test_a_mismatch_is_said_by_the_page_and_the_explanation_and_fails_the_run():
    desk = Desk()
    desk.bill_all()
    acme, nimbus = desk.companies

    answer = desk.close(companies=[acme | {"mismatches": 2}, nimbus | {"mismatches": 0}])

    said = (
        "Atenção: algo não confere. Acme Tecnologia: 2 contratos faturados no Omie com valor diferente do planejado: "
        "confira as OS deste mês no Omie."
    )
    assert answer["balanced"] is False
    assert answer["explanation"].startswith(said)
    assert "Tudo certo" not in desk.page(answer)
    assert "2 contratos faturados no Omie com valor diferente do planejado" in desk.page(answer)
    assert [company["mismatches"] for company in answer["companies"]] == [2, 0]
    assert desk.lab.notes.sent[0][0] == "Faturamento 2026-12: Atenção: algo não confere"


def test_a_mismatch_is_named_with_both_amounts():
    desk = Desk()
    desk.bill_all()
    acme, nimbus = desk.companies
    differing = [{"contract": f"JST-{n}", "nCodOS": 5000 + n, "amount": 85500, "in_omie": 84699} for n in range(7)]

    one = desk.close(companies=[acme | {"mismatches": 1, "differing_orders": differing[:1]}, nimbus])
    many = desk.close(companies=[acme | {"mismatches": 30, "differing_orders": differing}, nimbus])

    assert (
        "1 contrato faturado no Omie com valor diferente do planejado: JST-0, OS 5000 (planejado R$ 855,00; no Omie "
        "R$ 846,99). Confira as OS no Omie."
    ) in one["explanation"]
    assert "JST-4, OS 5004" in many["explanation"]
    assert "JST-5" not in many["explanation"]
    assert "; e mais 25. Confira as OS no Omie." in many["explanation"]


# --- companies that stopped


def test_a_company_whose_plan_failed_is_named_with_its_reason_and_the_other_is_billed():
    desk = Desk()
    desk.bill_all()
    acme, nimbus = desk.companies
    cause = json.dumps({"errorMessage": "O Omie não respondeu; nada foi faturado.", "errorType": "PlanRefused"})
    unplanned = {key: value for key, value in nimbus.items() if key not in {"plan", "decision", "batches"}}

    answer = desk.close(companies=[acme, failed(unplanned, "PlanRefused", cause)])

    said = "Nimbus Nuvem: O Omie não respondeu; nada foi faturado."
    assert answer["balanced"] is False
    assert said in answer["explanation"]
    assert "O Omie não respondeu" in desk.page(answer)
    assert [c["stopped"] for c in answer["companies"]] == ["", "O Omie não respondeu; nada foi faturado."]
    assert answer["companies"][0]["billed"] > 0


def test_a_rejected_plan_is_a_persons_decision_and_no_failure():
    desk = Desk()
    desk.companies = [failed(company, "NotApproved", "valores errados") for company in desk.companies]

    answer = desk.close()

    assert answer["balanced"] is True
    assert {company["stopped"] for company in answer["companies"]} == {"O plano foi rejeitado: valores errados"}
    assert sum(company["billed"] for company in answer["companies"]) == 0
    assert "O plano foi rejeitado: valores errados" in desk.page(answer)


def test_an_approval_nobody_gave_in_time_fails_the_run():
    desk = Desk()
    desk.companies = [failed(company, "States.Timeout", "") for company in desk.companies]

    answer = desk.close()

    assert answer["balanced"] is False
    assert "Ninguém respondeu a tempo" in answer["explanation"]


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (json.dumps({"errorMessage": "Linha clara."}), "Linha clara."),
        ("not JSON", "not JSON"),
        ("", "Lambda.Unknown"),
    ],
)
def test_the_reason_of_a_stop_is_what_the_function_said_or_else_the_errors_name(cause, said):
    desk = Desk()

    answer = desk.close(companies=[failed(company, "Lambda.Unknown", cause) for company in desk.companies])

    assert {company["stopped"] for company in answer["companies"]} == {said}


def test_a_company_stopped_half_way_shows_what_was_billed_until_then():
    desk = Desk()
    first, *_ = desk.to_bill("acme")
    desk.write(first, Event.ADOPT)
    acme, nimbus = desk.companies

    answer = desk.close(companies=[failed(acme, "OmieError", "fim"), failed(nimbus, "OmieError", "fim")])

    assert [company["billed"] for company in answer["companies"]] == [1, 0]
    assert [company["unexplained"] for company in answer["companies"]] == [0, 0]


# --- previews


def test_a_preview_bills_closes_and_notifies_nothing():
    desk = Desk(preview=True)

    answer = desk.close()

    assert answer["balanced"] is True
    assert answer["preview"] is True
    assert answer["report"]["html"] == "reports/2026-12/previa-one.html"
    assert "nada foi faturado" in desk.page(answer)
    assert desk.lab.notes.sent == []
    assert desk.lab.runs.list_recent() == []
    assert list(desk.lab.ledger.by_month("acme", DECEMBER)) == []
    assert sum(company["billed"] for company in answer["companies"]) == len(desk.to_bill())


# --- across executions and months


def test_a_run_that_another_execution_took_over_is_left_for_it_to_close():
    desk = Desk()
    desk.bill_all()
    now = desk.lab.clock.now()
    for company in ("acme", "nimbus"):
        desk.lab.runs.open(
            DECEMBER, f"mensalidade#{company}", trigger="operator", execution="later", now=now, replaces=ARN
        )

    assert desk.close()["balanced"] is True
    assert desk.lab.runs.get("2026-12#mensalidade#acme").status == "open"


def test_a_contract_billed_last_month_and_gone_from_jestor_is_shown_with_its_code_in_omie():
    desk = Desk()
    desk.bill_all()
    desk.lab.ledger.apply(
        ChargeKey("JST-9999", DECEMBER.previous()),
        Event.ADOPT,
        now=desk.lab.clock.now(),
        who="test",
        why="",
        company="acme",
        amount=12345,
        nCodCtr=777888,
    )

    page = desk.page(desk.close())

    assert "JST-9999" in page
    assert "contrato de código 777888 no Omie" in page
    assert "Não está mais no Jestor" in page


def test_what_was_refused_at_the_opening_is_passed_on():
    desk = Desk()
    desk.bill_all()
    refused = [{"company": "other", "why": "Não é dia de faturar."}]

    assert desk.close(refused=refused)["refused"] == refused


# --- the whole month, from trigger to report


def test_a_whole_month_ends_balanced_and_agrees_with_omies_own_book():
    lab = Lab(60)

    answer = lab.run(trigger="schedule")

    assert answer["balanced"] is True
    assert sum(company["billed"] for company in answer["companies"]) == 60
    assert len(lab.omie.book.billings) == 60
    assert sum(b.amount for b in lab.omie.book.billings) == sum(lab.world.expected_amounts().values())
    assert lab.omie.book.billed_twice() == []
    assert (lab.omie.book.breach_count, lab.omie.book.blocks) == (0, [])


def test_the_same_month_again_bills_nothing_and_says_why():
    lab = Lab(30)
    lab.run(trigger="operator")

    again = lab.run(trigger="operator")

    assert again["balanced"] is True
    assert len(lab.omie.book.billings) == 30
    assert "30 já estavam faturados antes desta execução e não foram enviados de novo." in again["explanation"]


def test_a_rough_month_ends_balanced_with_nobody_billed_twice():
    lab = Lab(60)
    lab.omie.faults.replace(
        [
            Fault("lost_reply", methods=frozenset({"FaturarContrato"}), share=0.1, times=3),
            Fault("lost_request", methods=frozenset({"FaturarContrato"}), share=0.1, times=3),
            Fault("too_many_requests", share=0.02, times=2),
        ]
    )

    answer = lab.run(trigger="schedule")

    assert answer["balanced"] is True
    assert len(lab.omie.book.billings) == 60
    assert lab.omie.book.billed_twice() == []


# --- what is never green


def looks(answer):
    return " ".join(answer["attention"])


def test_what_people_billed_is_counted_named_and_beyond_its_share_never_green():
    desk = Desk(20, clean=True)
    adopted, *others = desk.to_bill("acme")
    desk.write(adopted, Event.ADOPT, nCodOS=77)
    for line in [*others, *desk.to_bill("nimbus")]:
        desk.bill(line)

    answer = desk.close()

    said = f"Faturados por uma pessoa: 1 ({format_brl(adopted['amount'])})."
    assert said in answer["explanation"]
    assert "foi faturado por uma pessoa, mais que os 5 % da configuração" in looks(answer)
    report = json.loads(desk.page(answer, "json"))
    assert report["verdict"]["tone"] == "open"
    assert report["by_person"]["rows"][0]["contract"] == adopted["contract"]
    assert report["by_person"]["rows"][0]["customer"] == adopted["name"]
    assert "Faturados por uma pessoa" in desk.page(answer)


def test_a_few_that_people_billed_are_said_and_stay_green():
    desk = Desk(50, clean=True)
    adopted, *others = desk.to_bill()
    desk.write(adopted, Event.ADOPT)
    for line in others:
        desk.bill(line)

    answer = desk.close()

    assert answer["explanation"].startswith("Tudo certo: 50 contratos faturados")
    assert "Faturados por uma pessoa: 1 (" in answer["explanation"]
    assert answer["attention"] == []


def test_an_order_that_was_cancelled_in_omie_is_named_and_never_green():
    desk = Desk(clean=True)
    desk.bill_all()
    line = desk.to_bill("acme")[0]
    cancelled = [{"contract": line["contract"], "nCodOS": 5000, "amount": line["amount"]}]
    acme, nimbus = desk.companies

    answer = desk.close(companies=[acme | {"cancelled_orders": cancelled}, nimbus])

    assert "1 contrato faturado teve a OS cancelada no Omie e não está cobrado" in looks(answer)
    assert not answer["explanation"].startswith("Tudo certo")
    [row] = json.loads(desk.page(answer, "json"))["cancelled_orders"]
    assert (row["contract"], row["customer"], row["nCodOS"]) == (line["contract"], line["name"], 5000)
    assert "OS canceladas no Omie" in desk.page(answer)


def test_money_that_nothing_explains_is_never_green():
    desk = Desk(clean=True)
    desk.bill_all()
    line = desk.to_bill()[0]
    item = desk.lab.ledger._charges[ChargeKey(line["contract"], DECEMBER)]
    item["composition"] = item["composition"] | {"cause": "", "previous_amount": 100}

    answer = desk.close()

    assert "sem causa conhecida, em 1 contrato" in looks(answer)
    assert answer["explanation"].startswith("Confira antes de dar o mês por encerrado:")


# --- a preview of a plan that will wait


def a_price_typed_a_hundredfold():
    """The desk in January, December billed, and the line of the contract whose centavos were typed as reais since."""
    desk = Desk(20, clean=True)
    desk.bill_all()
    january = datetime(2027, 1, 1, 6, tzinfo=SAO_PAULO)
    desk.lab.clock.set(january)
    desk.lab.omie.advance(january.timestamp())
    typo = desk.to_bill("acme")[0]
    data = {FIELDS["unit_amount"]: f"{typo['unit_amount']},00"}  # the centavos, typed as reais
    change = {"table": CONTRACTS_TABLE, "id": typo["jestor_id"], "data": data}
    desk.lab.jestor.edit(change, desk.lab.now())
    return desk, typo


def test_a_price_typed_a_hundredfold_stands_on_top_of_the_preview_and_is_not_green():
    desk, typo = a_price_typed_a_hundredfold()

    answer = desk.lab.run(trigger="operator", preview=True)

    assert answer["balanced"] is True
    assert answer["explanation"].startswith("Este plano vai esperar aprovação: ")
    assert typo["contract"] in looks(answer)
    assert "(+9.900 %)" in looks(answer)
    assert typo["name"] not in looks(answer)  # the run's history holds no names
    page = desk.page(answer)
    report = json.loads(desk.page(answer, "json"))
    assert report["verdict"]["tone"] == "open"
    [jump] = report["jumps"]["rows"]
    assert (jump["contract"], jump["customer"], jump["percent"]) == (typo["contract"], typo["name"], "+9.900 %")
    assert page.index("Por que este plano vai esperar") < page.index("<h2>Precisa de você")
    assert "Mudança grande" not in page


def test_the_page_of_a_plan_that_waits_is_there_before_anybody_answers():
    desk, typo = a_price_typed_a_hundredfold()
    opened = open_run(RunRequest(ARN, "operator", BillingMonth(2027, 1)), desk.lab.open_deps())
    planned = plan_company(opened["companies"][0], desk.lab.plan_deps())
    assert planned["decision"] == "approval"

    request_approval("token", planned, desk.lab.approval_deps())

    key = "reports/2027-01/espera-acme-1-one.html"
    page = desk.lab.objects.texts[key]
    assert "Este plano espera aprovação:" in page
    assert typo["name"] in page.split('id="saltos"')[1].split("</table>")[0].replace("&amp;", "&").replace("&#39;", "'")
    assert "rejeite-o, corrija no Jestor" in page
    [(_, mail)] = desk.lab.notes.sent
    assert "Ver o plano: billing-ops report --month 2027-01 --open" in mail
    assert "(+9.900 %)" in mail


def test_a_preview_inside_the_limits_does_not_speak_of_approval():
    answer = Desk(clean=True, preview=True).close()
    assert "aprova" not in answer["explanation"]
    assert answer["attention"] == []
