"""A month on the deployed template, as the operator lives it. The tests run in order and build on one another."""

import json
from datetime import UTC, datetime

import pytest

from billing.domain.month import BillingMonth
from simulators.world import CONTRACTS_TABLE

CONTRACTS = 60
pytestmark = pytest.mark.e2e


def with_approval(settings: str, company: str) -> str:
    head, tail = settings.split(f"[companies.{company}.guardrail]")
    changed = tail.replace('approval = "auto"', 'approval = "required"', 1)
    return f"{head}[companies.{company}.guardrail]{changed}"


def push(deployed, tmp_path, text: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    deployed.ops("settings", "push", str(file))


def approval_of(deployed, company: str):
    month = BillingMonth.of(datetime.now(UTC))
    run = deployed.stack.company_run(month, company)
    return run.approval is not None and run.approval.decision is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("run", "--month", "dezembro", "--yes"), "Mês inválido: dezembro"),
        (("run", "--month", "2031-02", "--yes"), "o Omie fatura sempre o mês corrente"),
        (("run", "--company", "acne", "--yes"), "acne"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_starts_nothing(deployed, words, line):
    done = deployed.ops(*words, expect=2)
    said = [text for text in done.stderr.splitlines() if not text.startswith("Usando a pilha local")]
    assert len(said) == 1
    assert line in said[0]
    assert deployed.stack.latest_execution() is None


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"kind": "status_false", "path": "objectProperties", "message": "Token sem acesso"}, "Token sem acesso"),
        (
            {"kind": "vanished_field", "table": CONTRACTS_TABLE, "field": "valor_mensal_2"},
            "valor_mensal_2 não existe mais",
        ),
        ({"kind": "short_page", "path": "/object/list", "rows": 3}, "li "),
    ],
)
def test_a_jestor_that_cannot_be_trusted_stops_the_plan_in_one_line(deployed, fault, line):
    deployed.control("jestor", "faults", [fault])
    done = deployed.ops("run", "--company", "nimbus", "--yes", expect=1)
    deployed.control("jestor", "reset", {})
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert deployed.book()["billed_contracts"] == 0


def test_a_preview_plans_and_bills_nothing(deployed, tmp_path):
    seen = deployed.json("run", "--company", "nimbus", "--preview")
    assert seen["balanced"], seen["explanation"]
    assert 0 < seen["companies"][0]["billed"] < CONTRACTS
    assert deployed.book()["billed_contracts"] == 0
    deployed.ops("report", "--output", str(tmp_path), "--format", "html")
    page = next(tmp_path.glob("*.html")).read_text()
    assert "PRÉVIA" in page.upper()


def test_a_rejected_plan_bills_nothing_and_says_who_said_no(deployed, tmp_path):
    push(deployed, tmp_path, with_approval(deployed.settings, "acme"))
    deployed.ops("run", "--company", "acme", "--yes", "--no-follow")
    deployed.await_that(lambda: approval_of(deployed, "acme"), "the question to a person")
    deployed.ops("reject", "--company", "acme", "--reason", "valores em revisão")
    closing = deployed.ops("follow", expect=None)
    assert "valores em revisão" in closing.stdout + closing.stderr
    assert deployed.book()["billed_contracts"] == 0


def test_a_company_that_fails_stops_no_other_and_an_approved_plan_is_billed(deployed, tmp_path):
    push(deployed, tmp_path, with_approval(deployed.settings, "nimbus"))
    secret = f"{deployed.state['outputs']['SecretsPrefix']}/omie/acme"
    good = deployed.stack.clients.secretsmanager.get_secret_value(SecretId=secret)["SecretString"]
    deployed.stack.clients.secretsmanager.put_secret_value(SecretId=secret, SecretString="not json")
    deployed.ops("run", "--yes", "--no-follow")
    deployed.await_that(lambda: approval_of(deployed, "nimbus"), "the question to a person")
    deployed.ops("approve", "--company", "nimbus")
    done = deployed.ops("follow", expect=1)
    deployed.stack.clients.secretsmanager.put_secret_value(SecretId=secret, SecretString=good)
    assert "acme" in done.stderr.lower()
    billed = {billing["company"] for billing in deployed.book()["billings"]}
    assert billed == {"nimbus"}


def test_the_month_is_billed_once_and_the_books_agree_with_omie_s(deployed, tmp_path):
    push(deployed, tmp_path, deployed.settings)
    seen = deployed.json("run", "--yes")
    book = deployed.book()
    assert seen["balanced"], seen["explanation"]
    assert sum(company["billed"] for company in seen["companies"]) == CONTRACTS == book["billed_contracts"]
    ours = sum(company["total_billed_centavos"] for company in seen["companies"])
    assert ours == sum(billing["amount"] for billing in book["billings"])
    assert (book["billed_twice"], book["limit_breaches"], book["blocks"], book["parallel_writes"]) == ([], [], [], 0)


def test_a_second_run_bills_nothing_and_says_why(deployed):
    seen = deployed.json("run", "--yes")
    assert f"{CONTRACTS} já estavam faturados antes desta execução" in seen["explanation"]
    assert len(deployed.book()["billings"]) == CONTRACTS


def test_the_report_can_be_fetched_in_each_form(deployed, tmp_path):
    for form in ("html", "csv", "json"):
        deployed.ops("report", "--output", str(tmp_path), "--format", form)
    told = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert str(CONTRACTS) in json.dumps(told)


def test_the_schedule_starts_an_execution_that_bills_nothing_again(deployed):
    before = deployed.stack.latest_execution().arn
    deployed.fire("MonthlySchedule")
    started = deployed.await_that(
        lambda: (found := deployed.stack.latest_execution()) and found.arn != before and found, "the schedule's run"
    )
    ended = deployed.await_that(lambda: (e := deployed.stack.execution(started.arn)).ended and e, "its end")
    assert ended.input["trigger"] == "schedule"
    assert ended.output["anything_to_do"] is False
    assert {entry["company"] for entry in ended.output["refused"]} == {"acme", "nimbus"}
    assert len(deployed.book()["billings"]) == CONTRACTS


def test_nothing_waits_in_a_dead_letter_queue(deployed):
    assert deployed.stack.parked_messages() == 0


def test_a_letter_nobody_can_read_is_listed_discarded_and_kept(deployed):
    outputs, clients = deployed.stack.outputs, deployed.stack.clients
    clients.sqs.send_message(
        QueueUrl=outputs["OmieWritesDlqUrl"], MessageBody="lixo", MessageGroupId="x", MessageDeduplicationId="x"
    )
    [item] = deployed.await_that(lambda: deployed.json("dlq", "list")["items"], "the letter")
    assert item["what"] == "malformed"
    deployed.ops("dlq", "discard", item["id"][:8], "--yes")
    assert deployed.json("dlq", "list")["items"] == []
    kept = clients.s3.get_object(Bucket=outputs["DataBucketName"], Key=f"discarded/{item['id']}.json")["Body"].read()
    assert json.loads(kept)["body"] == "lixo"
    assert deployed.stack.parked_messages() == 0
