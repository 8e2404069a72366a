"""`billing-ops` as it is typed: what is said on which stream, and with which exit code.

The stack is moto's (tables, bucket, queue, secrets) and a scripted Step Functions; Jestor and Omie answer by
an httpx transport. Nothing is patched.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from moto import mock_aws
from typer.testing import CliRunner

from billing import agree
from billing.domain.charge import ChargeKey, Event
from billing.domain.month import BillingMonth
from billing.jestor.client import JestorClient
from billing.omie.client import Credentials, OmieClient
from billing.store import dynamo
from billing.store.lanes import LaneStore
from billing.store.ledger import Ledger
from ops.cli import app
from ops.desk import Tools
from ops.stack import Clients, Stack, find_stack, run_name
from simulators.clock import VirtualClock
from simulators.memory_store import MemoryContracts, MemoryLedger, MemoryQueues, MemoryRuns

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)  # 06:00 in São Paulo
MACHINE = "arn:aws:states:sa-east-1:123456789012:stateMachine:billing-ops-billing-run"
EXECUTION = MACHINE.replace(":stateMachine:", ":execution:") + ":"
OUTPUTS = {
    "StateMachineArn": MACHINE,
    "DataBucketName": "dados",
    "LedgerTableName": "ledger",
    "HoldsTableName": "holds",
    "RunsTableName": "runs",
    "LanesTableName": "lanes",
    "SettingsKey": "config/settings.toml",
    "SecretsPrefix": "billing-ops",
}
PARAMETERS = {"OmieBaseUrl": "https://omie.test/api/v1/", "JestorBaseUrl": "https://demo.jestor.test"}

SETTINGS = """
[jestor]
org = "demo"
[jestor.contracts]
table = "contratos"
[jestor.contracts.fields]
name = "name"
company = "empresa"
document = "documento"
service = "servico"
unit_amount = "valor"
due_day = "vencimento"
start = "inicio"
status = "situacao"
omie_id = "id_omie"
[jestor.contracts.status_labels]
Ativo = "active"
"""
for key, label in (("acme", "Acme Ltda"), ("nimbus", "Nimbus S.A.")):
    SETTINGS += f"""
[companies.{key}]
name = "{label}"
jestor_label = "{label}"
[companies.{key}.guardrail]
max_total = 100000
max_count = 500
[companies.{key}.omie]
nCodCC = 1
cCodCateg = "1.01.02"
cCidPrestServ = "SAO PAULO (SP)"
[companies.{key}.omie.services."Plano"]
codServico = 7
"""


def refused(operation, code, message=""):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@dataclass
class StepFunctions:
    """A state machine by script: every execution goes through `steps`, the last of which stays."""

    steps: list = field(default_factory=lambda: [{"status": "RUNNING"}])
    started: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    nobody_waits: bool = False
    entered: dict = field(default_factory=dict)
    opened: dict = field(default_factory=dict)

    def start_execution(self, *, stateMachineArn, name, input):  # noqa: A002
        self.started.append((name, json.loads(input)))
        return {"executionArn": stateMachineArn.replace(":stateMachine:", ":execution:") + f":{name}", "startDate": NOW}

    def describe_execution(self, *, executionArn):
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, BaseException):
            raise step
        _, request = self.started[-1]
        return {"startDate": NOW, "input": json.dumps(request)} | step

    def list_executions(self, *, stateMachineArn, maxResults):
        arns = [EXECUTION + name for name, _ in reversed(self.started)]
        return {"executions": [{"executionArn": arn} for arn in arns[:maxResults]]}

    def get_execution_history(self, *, executionArn, reverseOrder, maxResults):
        if not reverseOrder:
            left = {"name": "OpenRun", "output": json.dumps(self.opened)}
            return {"events": [{"type": "ExecutionStarted"}] + [{"stateExitedEventDetails": left}] * bool(self.opened)}
        entered = {"name": "Unbalanced", "input": json.dumps(self.entered)}
        return {"events": [{"type": "ExecutionFailed"}, {"stateEnteredEventDetails": entered}]}

    def send_task_success(self, *, taskToken, output):
        self._answer(("success", taskToken, json.loads(output)))

    def send_task_failure(self, *, taskToken, error, cause):
        self._answer(("failure", taskToken, error, cause))

    def _answer(self, answer):
        if self.nobody_waits:
            raise refused("SendTaskSuccess", "TaskTimedOut")
        self.answers.append(answer)


class Caller:
    def get_caller_identity(self):
        return {"Arn": "arn:aws:iam::123456789012:user/maria"}


@dataclass
class Rig:
    stack: Stack
    machine: StepFunctions
    clock: VirtualClock
    local_file: object
    worker: object = None
    terminal: bool = False
    answer: object = None
    opened: list = field(default_factory=list)
    places: list = field(default_factory=list)

    def __call__(self, *words, stdin="", connect=None, environ=None):
        def found(place):
            self.places.append(place)
            return self.stack

        tools = Tools(
            environ={"AWS_PROFILE": "faturamento", "USER": "ana"} if environ is None else environ,
            clock=self.clock,
            connect=connect or found,
            local_file=self.local_file,
            http=lambda: httpx.Client(transport=httpx.MockTransport(self.answer)),
            at_a_terminal=lambda: self.terminal,
            open_page=self.opened.append,
        )
        return CliRunner().invoke(app, list(words), obj=tools, input=stdin, prog_name="billing-ops")

    def dynamodb(self):
        return self.stack.clients.dynamodb

    def put_run(self, company, part, **item):
        key = {"run": run_name("2026-12", company), "part": part}
        self.dynamodb().put_item(TableName="runs", Item=dynamo.encode_item(key | item))

    def ledger(self):
        return Ledger(self.dynamodb(), "ledger", "holds", sleep=lambda _: None)


TABLES = {"ledger": ("charge",), "holds": ("contract",), "runs": ("run", "part"), "lanes": ("lane",)}


@pytest.fixture(scope="module")
def aws():
    """Tables, bucket and queue, made once: `clean` empties them after each test."""
    session = boto3.Session("testing", "testing", region_name="sa-east-1")
    with mock_aws():
        made = {name: session.client(name) for name in ("dynamodb", "s3", "sqs", "secretsmanager")}
        by_company_month = {
            "IndexName": "by_company_month",
            "KeySchema": key_schema("company_month", "charge"),
            "Projection": {"ProjectionType": "ALL"},
        }
        for table, keys in TABLES.items():
            index = {"GlobalSecondaryIndexes": [by_company_month]} if table == "ledger" else {}
            names = {*keys, *(("company_month",) if index else ())}
            made["dynamodb"].create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
                KeySchema=key_schema(*keys),
                **index,
            )
        made["s3"].create_bucket(Bucket="dados", CreateBucketConfiguration={"LocationConstraint": "sa-east-1"})
        made["queue"] = made["sqs"].create_queue(QueueName="dlq.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        yield made


def key_schema(*names):
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def clean(made):
    for table, keys in TABLES.items():
        for item in made["dynamodb"].scan(TableName=table)["Items"]:
            made["dynamodb"].delete_item(TableName=table, Key={name: item[name] for name in keys})
    for entry in made["s3"].list_objects_v2(Bucket="dados").get("Contents", []):
        made["s3"].delete_object(Bucket="dados", Key=entry["Key"])
    for secret in made["secretsmanager"].list_secrets()["SecretList"]:
        made["secretsmanager"].delete_secret(SecretId=secret["Name"], ForceDeleteWithoutRecovery=True)
    for message in made["sqs"].receive_message(QueueUrl=made["queue"]).get("Messages", []):
        made["sqs"].delete_message(QueueUrl=made["queue"], ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture
def ops(tmp_path, aws):
    """The command line with a deployed stack: two companies in its settings, nothing else in it."""
    aws["s3"].put_object(Bucket="dados", Key="config/settings.toml", Body=SETTINGS.encode())
    machine = StepFunctions()
    clients = Clients(machine, aws["dynamodb"], aws["s3"], aws["sqs"], aws["secretsmanager"], Caller())
    stack = Stack("billing-ops", OUTPUTS | {"OmieWritesDlqUrl": aws["queue"]}, PARAMETERS, clients)
    yield Rig(stack, machine, VirtualClock(NOW), tmp_path / "stack.json")
    clean(aws)


@pytest.fixture
def typed(tmp_path):
    """The command line before any stack is found."""
    return Rig(None, StepFunctions(), VirtualClock(NOW), tmp_path / "stack.json")


CLOSED_COUNTS = {"planned": 10, "billed": 9, "skipped": 1, "parked": 0, "in_doubt": 0, "total_billed_centavos": 120050}


def company_line(company, **counts):
    return {"company": company} | CLOSED_COUNTS | counts


CLOSED = {
    "balanced": True,
    "explanation": "19 contratos faturados, R$ 2.401,00.",
    "month": "2026-12",
    "preview": False,
    "companies": [company_line("acme"), company_line("nimbus", planned=11, billed=10)],
    "refused": [],
    "report": {"html": "reports/2026-12/1-x.html", "csv": "c", "json": "j"},
}


def succeeded(output):
    return {"status": "SUCCEEDED", "output": json.dumps(output)}


def failed(error, cause, status="FAILED"):
    return {"status": status, "error": error, "cause": cause}


# ---- run: what is asked for


def test_a_balanced_run_ends_with_zero_and_says_so_last(ops):
    ops.machine.steps = [{"status": "RUNNING"}, succeeded(CLOSED)]
    result = ops("run", "--month", "2026-12", "--yes")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "Execução 2026-12-operador-20261201T090000 pedida na pilha billing-ops (sa-east-1)."
    assert lines[-1] == "2026-12: 19 contratos faturados, R$ 2.401,00."
    assert "Relatório: billing-ops report --month 2026-12 --open" in lines
    assert "R$ 2.401,00" in next(line for line in lines if line.startswith("total"))
    assert result.stderr == ""


def test_the_execution_is_told_month_companies_and_who_asked(ops):
    ops("run", "--company", "nimbus", "--company", "nimbus", "--yes", "--no-follow")
    assert ops.machine.started == [
        (
            "2026-12-operador-20261201T090000",
            {"month": "2026-12", "companies": ["nimbus"], "trigger": "operator", "preview": False, "who": "maria"},
        )
    ]


def test_all_companies_are_asked_for_by_naming_none(ops):
    result = ops("run", "--yes", "--no-follow")
    assert ops.machine.started[0][1]["companies"] is None
    assert result.stdout.splitlines()[-1] == "Acompanhe com: billing-ops follow 2026-12-operador-20261201T090000"


def test_the_month_is_sao_paulos_when_none_is_given(ops):
    ops.clock.set(datetime(2027, 1, 1, 1, 0, tzinfo=UTC))  # still 2026 in São Paulo
    ops("run", "--yes", "--no-follow")
    assert ops.machine.started[0][1]["month"] == "2026-12"


def test_another_month_is_refused_and_the_own_month_rule_explained(typed):
    result = typed("run", "--month", "2026-11", "--yes")
    assert (result.exit_code, result.stdout, typed.machine.started) == (2, "", [])
    assert result.stderr == (
        "Estamos em 2026-12 e o Omie fatura sempre o mês corrente: pedir 2026-11 cobraria 2026-12. "
        "Para só ver o plano: billing-ops run --month 2026-11 --preview\n"
    )


def test_another_month_may_be_previewed(ops):
    ops.machine.steps = [succeeded(CLOSED | {"month": "2027-01", "preview": True, "explanation": ""})]
    result = ops("run", "--month", "2027-01", "--preview")
    assert (result.exit_code, ops.machine.started[0][1]["preview"]) == (0, True)
    assert "a faturar" in result.stdout
    assert result.stdout.splitlines()[-1] == "2027-01: Prévia pronta; nada foi faturado."


@pytest.mark.parametrize("month", ["2026-13", "12/2026", "dezembro", "2026-1"])
def test_a_wrong_month_is_one_clear_line(typed, month):
    result = typed("run", "--month", month, "--yes")
    assert (result.exit_code, typed.machine.started) == (2, [])
    assert result.stderr == (f"Mês inválido: {month}. Escreva ano e mês com traço, por exemplo --month 2026-12.\n")


def test_an_unknown_company_is_named_with_those_that_exist(ops):
    result = ops("run", "--company", "acmee", "--yes")
    assert (result.exit_code, ops.machine.started) == (2, [])
    assert result.stderr == "Empresa desconhecida: acmee. As da configuração são: acme, nimbus.\n"


def test_without_a_terminal_nothing_is_billed_unless_yes_is_said(ops):
    result = ops("run")
    assert (result.exit_code, ops.machine.started) == (2, [])
    assert result.stderr == (
        "Sem um terminal não há como perguntar: repita com --yes para faturar, ou com --preview.\n"
    )


@pytest.mark.parametrize(("typed", "starts"), [("s\n", 1), ("sim\n", 1), ("n\n", 0), ("\n", 0), ("y\n", 0)])
def test_at_a_terminal_a_person_is_asked_before_anything_is_billed(ops, typed, starts):
    ops.terminal = True
    result = ops("run", "--no-follow", stdin=typed)
    assert len(ops.machine.started) == starts
    assert "Faturar 2026-12 de acme, nimbus na pilha billing-ops (sa-east-1)? [s/N]" in result.stderr
    assert result.exit_code == (0 if starts else 1)


# ---- run: how it ends


def test_an_unbalanced_run_ends_with_one_and_its_reason_in_one_line(ops):
    ops.machine.entered = CLOSED | {"balanced": False, "explanation": "3 contratos sem explicação em acme."}
    ops.machine.steps = [failed("Unbalanced", "3 contratos sem explicação em acme.")]
    result = ops("run", "--yes")
    assert result.exit_code == 1
    assert result.stderr == "2026-12 NÃO fechou: 3 contratos sem explicação em acme.\n"
    assert "acme" in result.stdout  # the counts are shown all the same


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            failed("BadRequest", json.dumps({"errorMessage": "Empresa desconhecida: x.", "errorType": "BadRequest"})),
            "2026-12 NÃO fechou: Empresa desconhecida: x.",
        ),
        (
            failed("States.Timeout", "", "TIMED_OUT"),
            (
                "2026-12 NÃO fechou: a execução passou do tempo máximo e foi encerrada; "
                "repita, o que já foi faturado não se repete"
            ),
        ),
        (
            failed("", "parei", "ABORTED"),
            (
                "2026-12 NÃO fechou: a execução foi interrompida por uma pessoa (parei); "
                "repita, o que já foi faturado não se repete"
            ),
        ),
        (
            succeeded(
                {
                    "anything_to_do": False,
                    "month": "2026-12",
                    "refused": [{"company": "acme", "why": "Já há uma execução em andamento."}],
                }
            ),
            "Nada foi iniciado para 2026-12. acme: Já há uma execução em andamento.",
        ),
    ],
)
def test_a_run_that_fails_says_why_in_one_line(ops, step, line):
    ops.machine.steps = [step]
    result = ops("run", "--yes")
    assert (result.exit_code, result.stderr) == (1, line + "\n")


def test_json_is_one_object_and_nothing_else(ops):
    ops.machine.steps = [{"status": "RUNNING"}, succeeded(CLOSED)]
    result = ops("run", "--yes", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "execution": EXECUTION + "2026-12-operador-20261201T090000",
        "status": "SUCCEEDED",
        "month": "2026-12",
        "preview": False,
        "companies": CLOSED["companies"],
        "refused": [],
        "report": CLOSED["report"],
        "balanced": True,
        "explanation": "2026-12: 19 contratos faturados, R$ 2.401,00.",
        "attention": [],
    }


def test_json_of_a_failed_run_has_the_last_counts_seen_and_exit_code_one(ops):
    ops.put_run("acme", "company#acme", planned=10, billed=7, parked=2, in_doubt=1)
    ops.machine.steps = [failed("Boom", "quebrou")]
    result = ops("run", "--yes", "--json", "--company", "acme")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["balanced"], result.stderr) == (1, False, "2026-12 NÃO fechou: quebrou\n")
    assert told["companies"] == [{"company": "acme", "to_bill": 10, "billed": 7, "parked": 2, "in_doubt": 1}]


def test_progress_comes_from_the_runs_and_lanes_tables(ops):
    ops.put_run("acme", "plan#acme", planned=1000, plan_hash="h")
    ops.put_run("acme", "company#acme", billed=412, parked=3)
    LaneStore(ops.dynamodb(), "lanes").block("acme", (NOW + timedelta(minutes=30)).timestamp(), "chave bloqueada")
    ops.machine.steps = [{"status": "RUNNING"}, succeeded(CLOSED)]
    result = ops("run", "--yes", "--company", "acme")
    assert (
        "06:00:00 acme: 412/1.000 faturados · bloqueada até 06:30 (faltam 30 min): chave bloqueada · 3 parados"
    ) in result.stdout.splitlines()


def test_the_moving_bar_draws_at_a_terminal(ops):
    ops.terminal = True
    ops.put_run("acme", "company#acme", planned=1000, billed=412, parked=3)
    ops.machine.steps = [{"status": "RUNNING"}, {"status": "RUNNING"}, succeeded(CLOSED)]
    result = ops("run", "--yes", "--company", "acme")
    assert result.exit_code == 0
    assert "412/1.000 faturados" in result.stdout
    assert "acme: 3 parados" in result.stdout


def test_whoever_stops_looking_is_told_that_the_run_goes_on(ops):
    ops.machine.steps = [{"status": "RUNNING"}, KeyboardInterrupt()]
    result = ops("run", "--yes")
    assert result.exit_code == 130
    assert result.stderr == (
        "Você parou de acompanhar; a execução continua na AWS. "
        "Para voltar: billing-ops follow 2026-12-operador-20261201T090000\n"
    )


def test_the_latest_execution_can_be_followed_again(ops):
    ops("run", "--yes", "--no-follow")
    ops.machine.steps = [succeeded(CLOSED)]
    result = ops("follow")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "2026-12: 19 contratos faturados, R$ 2.401,00.")


def test_following_without_any_execution_says_so(ops):
    result = ops("follow")
    assert (result.exit_code, result.stderr) == (
        1,
        "Nenhuma execução na pilha billing-ops. Inicie uma com: billing-ops run\n",
    )


# ---- status


def bill(ops, contract, event=None, company="acme"):
    key = ChargeKey(contract, BillingMonth(2026, 12))
    book = ops.ledger()
    facts = {"company": company, "amount": 100, "plan_hash": "h", "run": "r"}
    book.claim(key, attempt="a", now=NOW, nCodCtr=1, who="test", **facts)
    if event:
        book.apply(key, event, now=NOW, who="test", why="test", attempt="a", **facts)


def test_status_counts_the_ledger_and_names_blocks_approvals_and_the_queue(ops):
    for contract, event in (("JST-1", Event.DONE), ("JST-2", Event.DONE), ("JST-3", Event.IN_DOUBT), ("JST-4", None)):
        bill(ops, contract, event)
    bill(ops, "JST-9", Event.DONE, company="nimbus")
    opened = NOW - timedelta(minutes=5)
    ops.put_run("acme", "run", status="open", generation=2, execution="e", opened_at=opened.isoformat())
    ops.put_run("acme", "approval#acme", token="t", reasons=["Total acima do limite."], asked_at=NOW.isoformat())
    LaneStore(ops.dynamodb(), "lanes").block("nimbus", (NOW + timedelta(minutes=30)).timestamp(), "Erros demais.")
    ops.stack.clients.sqs.send_message(
        QueueUrl=ops.stack.outputs["OmieWritesDlqUrl"], MessageBody="{}", MessageGroupId="g", MessageDeduplicationId="d"
    )
    result = ops("status")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "2026-12 na pilha billing-ops (sa-east-1), 01/12/2026 06:00"
    assert "acme │ aberta 05:55 (2ª vez) │ 2 │ 1 │ 1 │ 0 │ 0 │ 0" in lines
    assert "nimbus │ não iniciada │ 1 │ 0 │ 0 │ 0 │ 0 │ 0" in lines
    assert lines[-5:] == [
        "Bloqueada: nimbus até 06:30. Erros demais.",
        "Espera aprovação: acme: Total acima do limite.",
        "billing-ops approve --month 2026-12 --company acme (ou reject)",
        "Fila de parados: 1 à espera de uma pessoa, somando todos os meses.",
        "billing-ops dlq list",
    ]


def test_status_says_when_omies_lists_are_later_than_assumed(ops):
    ops.put_run("acme", "run", status="open", generation=1, execution="e", opened_at=NOW.isoformat())
    ops.put_run("acme", "company#acme", planned=3, billed=1, list_lag=372)
    said = "Listas atrasadas: depois de 372 s o Omie de acme ainda não mostrava o que faturou."
    assert said in ops("status").stdout
    told = json.loads(ops("status", "--json").stdout)["companies"]
    assert (told["acme"]["list_lag_seconds"], told["nimbus"]["list_lag_seconds"]) == (372, None)


def test_status_as_json(ops):
    bill(ops, "JST-1", Event.DONE)
    told = json.loads(ops("status", "--company", "acme", "--json").stdout)
    assert told["companies"]["acme"]["states"]["BILLED"] == 1
    assert (told["parked_messages"], told["approvals"], list(told["companies"])) == (0, [], ["acme"])


# ---- report


def test_the_newest_report_is_downloaded_and_opened(ops, tmp_path):
    for name in ("1-antigo.html", "2-novo.html", "2-novo.csv"):
        ops.stack.clients.s3.put_object(Bucket="dados", Key=f"reports/2026-12/{name}", Body=name.encode())
    result = ops("report", "--output", str(tmp_path / "saida"), "--open")
    path = tmp_path / "saida" / "faturamento-2026-12-2-novo.html"
    assert (result.exit_code, result.stdout) == (0, f"Relatório de 2026-12: {path}\n")
    assert path.read_text() == "2-novo.html"
    assert ops.opened == [path.as_uri()]


@pytest.mark.parametrize("other", ["sweep-20261202T040000.json", "faturas.json"])
def test_what_else_lies_beside_the_reports_is_no_report(ops, tmp_path, other):
    for name in ("2-fim.json", other):
        ops.stack.clients.s3.put_object(Bucket="dados", Key=f"reports/2026-12/{name}", Body=name.encode())
    ops("report", "--format", "json", "--output", str(tmp_path))
    assert [path.name for path in tmp_path.glob("*.json")] == ["faturamento-2026-12-2-fim.json"]


def test_a_month_without_a_report_says_when_there_will_be_one(ops):
    result = ops("report", "--month", "2026-11", "--format", "csv")
    assert (result.exit_code, result.stderr) == (
        1,
        (
            "Ainda não há relatório de 2026-11. Ele é gravado quando uma execução termina: "
            "billing-ops run --month 2026-11 --preview\n"
        ),
    )


def test_an_unknown_report_format_names_those_that_exist(typed):
    result = typed("report", "--format", "pdf")
    assert result.exit_code == 2
    assert result.stderr == (
        "Valor inválido em --format: pdf. Use um destes: html, csv, json. Veja billing-ops report --help.\n"
    )


# ---- approve and reject


def waiting(ops, **answer):
    opened = NOW - timedelta(minutes=5)
    ops.put_run("acme", "run", status="open", generation=1, execution="e", opened_at=opened.isoformat())
    reasons = ["Total R$ 120.000,00 acima do limite."]
    ops.put_run("acme", "approval#acme", token="senha-da-espera", reasons=reasons, asked_at=NOW.isoformat(), **answer)


def test_approving_lets_the_execution_go_on_and_goes_on_record(ops):
    waiting(ops)
    result = ops("approve", "--month", "2026-12", "--company", "acme", "--reason", "conferido")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "  Total R$ 120.000,00 acima do limite.\n"
        "Aprovado por maria: acme em 2026-12. Acompanhe com: billing-ops follow\n"
    )
    approved = {"approved_by": "maria", "approved_at": NOW.isoformat(), "reason": "conferido"}
    assert ops.machine.answers == [("success", "senha-da-espera", approved)]
    again = ops("approve", "--month", "2026-12", "--company", "acme")
    assert (again.exit_code, again.stderr) == (1, "A aprovação de acme em 2026-12 já foi respondida por maria.\n")


def test_rejecting_ends_the_wait_with_the_reason(ops):
    waiting(ops)
    result = ops("reject", "--company", "acme", "--reason", "valor errado")
    assert result.stdout.splitlines()[-1] == ("Rejeitado por maria: acme não será faturada nesta execução de 2026-12.")
    assert ops.machine.answers == [("failure", "senha-da-espera", "NotApproved", "valor errado (por maria)")]


def test_an_answer_that_comes_too_late_says_that_nothing_was_billed(ops):
    waiting(ops)
    ops.machine.nobody_waits = True
    result = ops("approve", "--company", "acme")
    assert (result.exit_code, result.stderr) == (
        1,
        (
            "A execução já não espera esta resposta (o prazo passou ou ela parou); nada foi faturado. "
            "Para tentar de novo: billing-ops run --month 2026-12 --company acme\n"
        ),
    )


def test_there_is_nothing_to_approve_when_nobody_asked(ops):
    result = ops("approve", "--company", "acme")
    assert (result.exit_code, result.stderr) == (
        1,
        "acme não tem aprovação à espera em 2026-12. Veja com: billing-ops status\n",
    )


def test_what_no_worker_has_touched_is_still_to_be_sent(ops):
    ops.put_run("acme", "run", status="open", generation=1, execution="e", opened_at=NOW.isoformat())
    ops.put_run("acme", "plan#acme", planned=30, plan_hash="h")
    ops.put_run("acme", "company#acme", billed=7, parked=1)
    told = json.loads(ops("status", "--json").stdout)["companies"]
    assert told["acme"]["states"]["READY"] == 22
    assert told["nimbus"]["states"]["READY"] == 0
    ops.put_run("acme", "run", status="closed", generation=1, execution="e", opened_at=NOW.isoformat())
    assert json.loads(ops("status", "--json").stdout)["companies"]["acme"]["states"]["READY"] == 0


# ---- link


class Systems:
    """Jestor with contract 12 (and what `rows` adds), Omie with contract 123 of one customer."""

    def __init__(self):
        self.row = {
            "id_contratos": 12,
            "name": "Plano",
            "empresa": "Acme Ltda",
            "documento": "11.222.333/0001-81",
            "servico": "Plano",
            "valor": 100,
            "vencimento": 10,
            "inicio": "2026-01-01",
            "situacao": "Ativo",
            "id_omie": None,
        }
        self.linked = []
        self.document = "11222333000181"
        self.code = ""
        self.items = []
        self.updates = []
        self.altered = []

    def __call__(self, request):
        body = json.loads(request.content)
        if request.url.host == "omie.test":
            return self.omie(body["call"], body["param"][0])
        return httpx.Response(200, json={"status": True, "data": self.jestor(request.url.path, body)})

    def jestor(self, path, body):
        if path == "/objectProperties/index":
            return [{"key": "name", "type": "string"}]
        if path == "/object/update":
            self.updates.append(body["data"])
            return {"id_contratos": 12}
        by_id = any(one["field"] == "id_contratos" for one in body["filters"])
        wanted = next((one["value"] for one in body["filters"] if one["field"] == "id_contratos"), None)
        rows = ([self.row] if wanted == "12" else []) if by_id else self.linked
        return {"items": rows, "has_more": False}

    def omie(self, call, param):
        if call == "AlterarContrato":
            self.altered.append(param)
            return httpx.Response(200, json={"nCodCtr": 123, "cCodStatus": "0", "cDescStatus": "Contrato alterado"})
        if call == "ConsultarContrato":
            head = {"nCodCtr": 123, "nCodCli": 55, "cCodIntCtr": self.code}
            return httpx.Response(200, json={"contratoCadastro": {"cabecalho": head, "itensContrato": self.items}})
        found = [{"codigo_cliente_omie": 55, "cnpj_cpf": self.document}]
        pages = {"pagina": 1, "total_de_paginas": 1, "registros": 1, "total_de_registros": 1}
        return httpx.Response(200, json=pages | {"clientes_cadastro": found})


@dataclass(frozen=True)
class LaneStack(Stack):
    """The stack with a lane whose function takes each order at once, unless it `sleeps`; its memory is its own."""

    lane_worker: "Worker" = None

    def send(self, queue, body, *, group, dedup):
        assert (queue, group) == ("OmieWritesQueueUrl", "acme")
        self.lane_worker.take(body, self)

    def remembered(self, contract):
        return self.lane_worker.contracts.get(contract)


@dataclass
class Worker:
    rig: Rig
    sleeps: bool = False
    orders: list = field(default_factory=list)
    contracts: MemoryContracts = field(default_factory=MemoryContracts)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    runs: MemoryRuns = field(default_factory=MemoryRuns)

    def take(self, body, stack):
        self.orders.append(json.loads(body)["order"])
        if self.sleeps:
            return
        queues, http = MemoryQueues(), httpx.Client(transport=httpx.MockTransport(self.rig.answer))
        clock, settings = self.rig.clock, stack.settings()
        omie = OmieClient(
            Credentials("k", "s"), base_url=PARAMETERS["OmieBaseUrl"], http=http, clock=clock, read_attempts=1
        )
        jestor = JestorClient(PARAMETERS["JestorBaseUrl"], "t", http=http, clock=clock, attempts=1)
        lanes = LaneStore(self.rig.dynamodb(), "lanes")
        urls = agree.Urls(changes="changes", jestor_writes="jestor-writes")
        agree.take(body, agree.AgreeDeps(
            settings, self.ledger, lanes, self.runs, self.contracts, queues, lambda _: omie, lambda: jestor, clock, urls,
        ))  # fmt: skip
        for _, write in queues.sent.get("jestor-writes", ()):
            jestor.update(write["table"], write["jestor_id"], write["data"])


@pytest.fixture
def linking(ops):
    ops.answer = Systems()
    stack = ops.stack
    ops.worker = Worker(ops)
    ops.stack = LaneStack(stack.name, stack.outputs, stack.parameters, stack.clients, ops.worker)
    for name, value in (("omie/acme", {"app_key": "k", "app_secret": "s"}), ("jestor", {"token": "t"})):
        ops.stack.put_secret(f"billing-ops/{name}", value)
    return ops


def test_a_link_is_written_to_jestor_when_both_sides_agree(linking):
    result = linking("link", "--contract", "jst-12", "--omie", "123")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Vinculado: JST-12 ao contrato 123 do Omie (acme).\n"
    assert linking.answer.updates == [{"id_omie": 123, "id_contratos": 12}]


def test_a_dry_run_checks_and_writes_nothing(linking):
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--dry-run")
    assert result.stdout == "Confere: JST-12 e o contrato 123 do Omie (acme). Nada foi gravado.\n"
    assert linking.answer.updates == []


def hand_made(value=100, code="", number=1):
    return {"itemCabecalho": {"codItem": 9 + number, "codIntItem": code, "quant": 1, "valorUnit": value}}


CHANGES = [
    "  No Omie, item de R$ 100,00: código de integração vazio → JST-1",
    "  No Omie, contrato: código de integração vazio → JST-12",
]


def test_a_hand_made_item_of_equal_value_becomes_ours(linking):
    linking.answer.items = [hand_made()]
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert result.stdout.splitlines() == [*CHANGES, "Vinculado: JST-12 ao contrato 123 do Omie (acme)."]
    [sent] = linking.answer.altered
    assert sent["cabecalho"] == {"nCodCtr": 123, "nCodCli": 55, "cCodIntCtr": "JST-12"}
    assert [item["itemCabecalho"]["codIntItem"] for item in sent["itensContrato"]] == ["JST-1"]
    assert sent["itensContrato"][0]["itemCabecalho"]["codItem"] == 10  # the same item, not a second one
    assert linking.answer.updates == [{"id_omie": 123, "id_contratos": 12}]


def test_taking_an_item_over_is_asked_first(linking):
    linking.answer.items = [hand_made()]
    refused = linking("link", "--contract", "JST-12", "--omie", "123")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "Sem um terminal não há como perguntar: repita com --yes para mudar o Omie, ou com --dry-run.\n",
    )
    linking.terminal = True
    cancelled = linking("link", "--contract", "JST-12", "--omie", "123", stdin="n\n")
    assert (cancelled.exit_code, linking.answer.altered, linking.answer.updates) == (1, [], [])
    linking("link", "--contract", "JST-12", "--omie", "123", stdin="s\n")
    assert (len(linking.answer.altered), len(linking.answer.updates)) == (1, 1)


def test_the_check_and_the_order_ask_omie_nothing_twice_within_a_minute(linking):
    linking.answer.items = [hand_made()]
    began, asked = linking.clock.now(), []
    answer = linking.answer.omie

    def noted(call, param):
        asked.append((call, (linking.clock.now() - began).total_seconds()))
        return answer(call, param)

    linking.answer.omie = noted
    linking("link", "--contract", "JST-12", "--omie", "123", "--dry-run")
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert result.exit_code == 0
    for method in ("ConsultarContrato", "ListarClientes"):
        times = [at for call, at in asked if call == method]
        assert all(later - earlier >= 60 for earlier, later in pairwise(times)), method
    assert [call for call, _ in asked].count("ConsultarContrato") == 3
    assert [order["kind"] for order in linking.worker.orders] == ["link"]
    assert "O Omie mostra um contrato uma vez por minuto: o pedido sai às 06:02:02." in result.stderr


def test_an_order_that_the_lane_refuses_is_said_in_one_line(linking):
    linking.answer.items = [hand_made()]
    linking.worker.ledger.put_hold("JST-12", "Churn avisado pelo Jestor.", NOW)
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert (result.exit_code, linking.answer.altered) == (1, [])
    assert result.stderr.splitlines()[-1] == (
        "JST-12 está retido: nada é alterado no Omie. Resolva a retenção e repita."
    )


def test_a_write_that_omie_did_not_answer_is_asked_for_again_after_the_wait_and_found_done(linking):
    linking.answer.items = [hand_made()]
    answer = linking.answer.omie

    def silent(call, param):
        if call != "AlterarContrato":
            return answer(call, param)
        answer(call, param)  # it happened
        linking.answer.items = [hand_made(code="JST-1")]
        linking.answer.code = "JST-12"
        raise httpx.ReadTimeout("slow")

    linking.answer.omie = silent
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert (result.exit_code, len(linking.answer.altered)) == (0, 1)
    assert "Ainda não (o Omie não respondeu; depois da espera o contrato é lido de novo)." in result.stderr
    assert result.stdout.splitlines()[-1] == "Vinculado: JST-12 ao contrato 123 do Omie (acme)."
    assert linking.answer.updates == [{"id_omie": 123, "id_contratos": 12}]
    assert len(linking.worker.orders) >= 2


def test_a_lane_that_does_not_come_to_it_is_told_and_left(linking):
    linking.answer.items = [hand_made()]
    linking.worker.sleeps = True
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("O pedido está na fila de acme e ainda não foi atendido")
    assert linking.clock.now() - NOW < timedelta(minutes=17)


def test_readers_that_have_erred_twice_keep_the_terminal_from_asking(linking):
    lanes = LaneStore(linking.dynamodb(), "lanes")
    for _ in range(2):
        lanes.note_reader_error("acme", "ConsultarContrato", NOW.timestamp())
    result = linking("link", "--contract", "JST-12", "--omie", "123")
    assert result.exit_code == 1
    assert "2 erros de ConsultarContrato em 10 minutos" in result.stderr
    assert lanes.get("acme").errors == {}


def test_a_dry_run_shows_what_would_change_in_omie(linking):
    linking.answer.items = [hand_made()]
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--dry-run")
    assert result.stdout.splitlines()[:2] == CHANGES
    assert (linking.answer.altered, linking.answer.updates) == ([], [])


def test_a_link_whose_item_was_left_behind_is_finished_without_touching_jestor(linking):
    linking.answer.row["id_omie"] = "123"
    linking.answer.linked = [linking.answer.row]
    linking.answer.code = "JST-12"
    linking.answer.items = [hand_made()]
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert result.stdout.splitlines()[0] == CHANGES[0]
    assert (len(linking.answer.altered), linking.answer.updates) == (1, [])


def test_an_item_that_is_ours_already_is_left_alone(linking):
    linking.answer.items = [hand_made(code="JST-1"), hand_made(50, number=2)]
    linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert (linking.answer.altered, len(linking.answer.updates)) == ([], 1)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([hand_made(90)], "o item do Omie vale R$ 90,00 e o contrato no Jestor, R$ 100,00"),
        ([hand_made(), hand_made(number=2)], "o contrato tem 2 itens feitos à mão"),
    ],
)
def test_items_that_are_not_one_of_equal_value_stay_a_persons_and_it_is_said(linking, items, reason):
    linking.answer.items = items
    result = linking("link", "--contract", "JST-12", "--omie", "123", "--yes")
    assert result.stderr == (
        f"Os itens não foram assumidos: {reason}. Deixe no Omie um só item com o valor do Jestor e repita; "
        "até lá o plano para o contrato.\n"
    )
    assert (linking.answer.altered, len(linking.answer.updates)) == ([], 1)


def test_a_link_that_is_there_is_left_alone(linking):
    linking.answer.row["id_omie"] = "123"
    linking.answer.linked = [linking.answer.row]
    result = linking("link", "--contract", "JST-12", "--omie", "123")
    assert result.stdout == "JST-12 já está vinculado ao contrato 123 do Omie (acme); nada a fazer.\n"
    assert linking.answer.updates == []


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            {"document": "45.723.174/0001-10"},
            "JST-12 e o contrato 123 do Omie são de clientes diferentes (o CNPJ/CPF não confere). Nada foi gravado.",
        ),
        (
            {"document": ""},
            "JST-12 e o contrato 123 do Omie são de clientes diferentes (o CNPJ/CPF não confere). Nada foi gravado.",
        ),
        ({"code": "JST-7"}, "No Omie, o contrato 123 já tem o código JST-7. Confira qual dos dois é o certo."),
        (
            {"linked": [{"id_contratos": 7}]},
            (
                "O contrato 123 do Omie já está vinculado a JST-7. "
                "Um contrato do Omie só pode ter um no Jestor: apague o campo id_omie do registro errado."
            ),
        ),
    ],
)
def test_a_link_that_would_be_wrong_is_refused(linking, spoil, line):
    for name, value in spoil.items():
        setattr(linking.answer, name, value)
    result = linking("link", "--contract", "JST-12", "--omie", "123")
    assert (result.exit_code, result.stderr, linking.answer.updates) == (1, line + "\n", [])


@pytest.mark.parametrize("document", ["", "12-3456789"])
def test_a_customer_abroad_is_linked_where_neither_side_has_a_document(linking, document):
    linking.answer.row["documento"] = document
    refused = linking("link", "--contract", "JST-12", "--omie", "123")
    assert "são de clientes diferentes" in refused.stderr
    linking.answer.document = ""
    result = linking("link", "--contract", "JST-12", "--omie", "123")
    assert (result.exit_code, linking.answer.updates) == (0, [{"id_omie": 123, "id_contratos": 12}])


def test_a_contract_tied_to_another_one_in_omie_is_not_tied_again(linking):
    linking.answer.row["id_omie"] = 99
    result = linking("link", "--contract", "JST-12", "--omie", "123")
    assert result.stderr == (
        "JST-12 já está vinculado ao contrato 99 do Omie. Se está errado, apague o campo id_omie no Jestor e repita.\n"
    )


def test_a_contract_jestor_does_not_have_is_said_to_be_missing(linking):
    result = linking("link", "--contract", "JST-13", "--omie", "123")
    assert (result.exit_code, result.stderr) == (
        1,
        "O contrato JST-13 não existe no Jestor. Confira o número no registro.\n",
    )


def test_a_code_that_is_no_contract_is_bad_input(typed):
    result = typed("link", "--contract", "12", "--omie", "123")
    assert (result.exit_code, result.stderr) == (
        2,
        "Contrato inválido: 12. Escreva o código do Jestor, por exemplo --contract JST-12.\n",
    )


# ---- settings


def test_a_valid_settings_file_is_checked_and_pushed_once(ops, tmp_path):
    file = tmp_path / "novo.toml"
    file.write_text(SETTINGS + "\n# revisado\n")
    assert ops("settings", "check", str(file)).stdout == f"{file}: válido. Empresas: acme, nimbus.\n"
    pushed = ops("settings", "push", str(file))
    assert pushed.stdout == "Configuração em vigor na pilha billing-ops. Empresas: acme, nimbus.\n"
    assert pushed.stderr.splitlines()[0] == (
        "O segredo billing-ops/jestor não existe. Grave-o com: billing-ops secrets put jestor"
    )
    assert ops("settings", "push", str(file)).stdout == (
        "A pilha billing-ops já está com esta configuração; nada a fazer.\n"
    )
    assert ops("settings", "show").stdout.rstrip().endswith("# revisado")


def test_a_settings_file_with_mistakes_is_not_pushed(ops, tmp_path):
    file = tmp_path / "novo.toml"
    file.write_text(SETTINGS.replace("max_count = 500", "max_count = 0").replace('org = "demo"', ""))
    result = ops("settings", "push", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("Configuração: ") for line in lines)
    assert ops.stack.settings_text() == SETTINGS


def test_a_settings_file_that_is_not_there_is_one_line(typed, tmp_path):
    result = typed("settings", "check", str(tmp_path / "nada.toml"))
    assert (result.exit_code, result.stderr) == (
        1,
        f"{tmp_path}/nada.toml: o arquivo não existe; confira o caminho.\n",
    )


def test_a_stack_without_settings_says_how_to_push_them(ops):
    ops.stack.clients.s3.delete_object(Bucket="dados", Key="config/settings.toml")
    for words in (["settings", "show"], ["run", "--yes"], ["status"]):
        result = ops(*words)
        assert (result.exit_code, result.stderr) == (
            1,
            "A pilha billing-ops ainda não tem configuração. Envie-a com: billing-ops settings push ARQUIVO\n",
        )


def test_invalid_settings_in_force_are_told_before_anything_starts(ops):
    ops.stack.put_settings("isto não é TOML")
    result = ops("run", "--yes")
    assert (result.exit_code, ops.machine.started, result.stderr.count("\n")) == (1, [], 1)
    assert result.stderr.startswith("A configuração em vigor na pilha billing-ops é inválida: ")
    assert result.stderr.endswith("Corrija o arquivo e envie-o com: billing-ops settings push ARQUIVO\n")


# ---- secrets


def test_keys_are_read_from_the_input_and_never_shown(ops):
    result = ops("secrets", "put", "omie", "acme", stdin="chave-canario\nsegredo-canario\n")
    assert (result.exit_code, result.stdout) == (0, "Segredo billing-ops/omie/acme criado.\n")
    assert "canario" not in result.output
    assert ops.stack.read_secret("billing-ops/omie/acme", ("app_key", "app_secret")) == (
        "chave-canario",
        "segredo-canario",
    )
    again = ops("secrets", "put", "omie", "acme", stdin="outra\noutra\n")
    assert again.stdout == "Segredo billing-ops/omie/acme atualizado.\n"


def test_at_a_terminal_the_keys_are_asked_for_without_echo(ops):
    ops.terminal = True
    result = ops("secrets", "put", "jestor", stdin="\ufefftoken-canario\u200b \n")
    assert result.exit_code == 0
    assert "token-canario" not in result.output
    assert ops.stack.read_secret("billing-ops/jestor", ("token",)) == ("token-canario",)


def test_half_a_key_is_not_written(ops):
    result = ops("secrets", "put", "omie", "acme", stdin="so-uma\n")
    assert (result.exit_code, result.stderr) == (
        2,
        "Esperava app_key e app_secret na entrada, um por linha; veio 1 linha. Nada foi gravado.\n",
    )


def test_a_key_for_an_unknown_company_is_refused(ops):
    result = ops("secrets", "put", "omie", "acmee", stdin="a\nb\n")
    assert (result.exit_code, result.stderr) == (
        2,
        "Empresa desconhecida: acmee. As da configuração são: acme, nimbus.\n",
    )


def test_missing_and_incomplete_keys_are_listed_one_per_line(ops):
    ops.stack.put_secret("billing-ops/jestor", {"token": "t"})
    ops.stack.put_secret("billing-ops/omie/acme", {"app_key": "k", "app_secret": " "})
    result = ops("secrets", "check")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "O segredo billing-ops/omie/acme está sem app_secret. Grave-o com: billing-ops secrets put omie acme",
        "O segredo billing-ops/omie/nimbus não existe. Grave-o com: billing-ops secrets put omie nimbus",
    ]


def test_complete_keys_are_confirmed(ops):
    ops.stack.put_secret("billing-ops/jestor", {"token": "t"})
    for company in ("acme", "nimbus"):
        ops.stack.put_secret(f"billing-ops/omie/{company}", {"app_key": "k", "app_secret": "s"})
    result = ops("secrets", "check")
    assert (result.exit_code, result.stdout) == (0, "Chaves completas: Jestor e Omie de acme, nimbus.\n")


# ---- which stack


def test_the_local_stack_is_used_and_named_when_nobody_chose_another(ops):
    ops.local_file.write_text(json.dumps({"env": {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, "stack": "local"}))
    result = ops("settings", "show", environ={"USER": "ana"})
    assert (ops.places[0].stack, ops.places[0].local) == ("local", True)
    assert result.stderr == "Usando a pilha local local (http://127.0.0.1:4566).\n"


def test_the_region_of_the_environment_is_obeyed(ops):
    ops("settings", "show", environ={"AWS_PROFILE": "x", "AWS_REGION": "us-east-1"})
    assert ops.places[0].env == {"AWS_REGION": "us-east-1"}


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"])
def test_whoever_chose_an_aws_does_not_get_the_local_stack(ops, variable):
    ops.local_file.write_text(json.dumps({"env": {}, "stack": "local"}))
    result = ops("settings", "show", environ={variable: "x", "BILLING_STACK": "producao"})
    assert (ops.places[0].stack, ops.places[0].local, result.stderr) == ("producao", False, "")


def test_the_stack_may_be_named_before_or_after_the_command(ops):
    ops("--stack", "um", "settings", "show")
    ops("settings", "show", "--stack", "dois")
    ops("settings", "show", "--stack=tres")
    assert [place.stack for place in ops.places] == ["um", "dois", "tres"]


# ---- errors


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            NoCredentialsError(),
            "AWS: não encontrei credenciais. Entre na conta da AWS (`aws sso login` ou AWS_PROFILE) e repita.",
        ),
        (
            refused("DescribeStacks", "ExpiredToken"),
            "AWS: a sua sessão expirou. Entre na conta da AWS (`aws sso login` ou AWS_PROFILE) e repita.",
        ),
        (
            refused(
                "StartExecution",
                "AccessDeniedException",
                "User: x is not authorized to perform: states:StartExecution on y",
            ),
            "AWS: o seu usuário não tem permissão para states:StartExecution. Peça-a a quem administra a conta.",
        ),
        (
            EndpointConnectionError(endpoint_url="http://127.0.0.1:4566/"),
            (
                "AWS: sem resposta em http://127.0.0.1:4566. "
                "Confira a rede e AWS_ENDPOINT_URL (pilha local: make up) e repita."
            ),
        ),
        (
            ZeroDivisionError("senha=canario"),
            "Erro inesperado (ZeroDivisionError). Repita com --debug e mande o resultado a quem mantém o sistema.",
        ),
    ],
)
def test_what_aws_refuses_is_one_line_without_a_traceback(typed, error, line):
    def connect(_):
        raise error

    result = typed("status", connect=connect)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line + "\n")


def test_debug_shows_the_traceback(typed):
    def connect(_):
        raise ZeroDivisionError

    result = typed("status", "--debug", connect=connect)
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr


class CloudFormation:
    class meta:  # noqa: N801
        region_name = "sa-east-1"

    def __init__(self, stacks):
        self.stacks = stacks

    def describe_stacks(self, *, StackName):
        if not self.stacks:
            raise refused("DescribeStacks", "ValidationError", f"Stack with id {StackName} does not exist")
        return {"Stacks": self.stacks}


@pytest.mark.parametrize(
    ("stacks", "line"),
    [
        (
            [],
            "A pilha outra não existe em sa-east-1. Confira --stack (ou BILLING_STACK), a conta e a região.\n",
        ),
        (
            [{"Outputs": []}],
            (
                "A pilha outra não tem a saída StateMachineArn: não é deste sistema ou a publicação não acabou. "
                "Confira --stack ou publique de novo (make deploy).\n"
            ),
        ),
    ],
)
def test_a_stack_that_is_not_ours_is_told(typed, stacks, line):
    result = typed(
        "status", "--stack", "outra", connect=lambda place: find_stack(place.stack, lambda _: CloudFormation(stacks))
    )
    assert (result.exit_code, result.stderr) == (1, line)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fatura"], "Comando desconhecido: fatura. Veja billing-ops --help."),
        (["statu"], "Comando desconhecido: statu. Seria status? Veja billing-ops --help."),
        (["run", "--mes", "2026-12"], "Opção desconhecida: --mes. Veja billing-ops run --help."),
        (["approve"], "Falta a opção --company. Veja billing-ops approve --help."),
        (["secrets", "put", "omie"], "Falta o argumento EMPRESA. Veja billing-ops secrets put omie --help."),
        (["status", "2026-12"], "Sobrou na linha: 2026-12. Veja billing-ops status --help."),
    ],
)
def test_a_mistyped_command_is_one_portuguese_line(typed, words, line):
    result = typed(*words)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


@pytest.mark.parametrize(
    "words", [[], ["run"], ["follow"], ["status"], ["report"], ["approve"], ["link"], ["settings"], ["secrets", "put"]]
)
def test_help_is_portuguese_throughout(typed, words):
    result = typed(*words, "--help")
    assert result.exit_code == 0
    assert "Uso: billing-ops" in result.output
    for english in ("Usage", "Options", "Commands", "Arguments", "Show this", "required", "default", "<bool>"):
        assert english not in result.output


# ---- doctor: what it asks of the tables (tests/unit/test_doctor.py has the rest)


def test_the_doctor_reads_the_months_charges_and_takes_its_turn_at_omie(ops):
    key = ChargeKey("JST-1", BillingMonth(2026, 11))
    ops.ledger().claim(
        key, attempt="a", now=NOW, company="acme", amount=100, plan_hash="h", run="r", nCodCtr=5, who="t"
    )
    ops.ledger().apply(key, Event.DONE, now=NOW, who="t", why="w", attempt="a", nCodOS=9)
    (charge,) = ops.stack.month_charges("acme", BillingMonth(2026, 11))
    assert (charge.key, charge.nCodOS) == (key, 9)
    assert ops.stack.month_charges("nimbus", BillingMonth(2026, 11)) == []
    assert ops.stack.ask_omie("acme", "ListarContratos {}", NOW, 61.0) == 0.0
    assert ops.stack.ask_omie("acme", "ListarContratos {}", NOW, 61.0) == 61.0
    assert ops.stack.ask_omie("nimbus", "ListarContratos {}", NOW, 61.0) == 0.0


# ---- what must be looked at, though it balances


JUMP = {
    "contract": "JST-13", "customer": "Padaria Pão & Cia", "percent": "+9.900 %",
    "before": {"centavos": 150_535}, "now": {"centavos": 15_053_500},
}  # fmt: skip
WAITS = CLOSED | {
    "preview": True,
    "explanation": "Este plano vai esperar aprovação: JST-13.",
    "attention": ["Mudança de valor acima do limite em 1 contrato: JST-13."],
}


def test_a_preview_that_will_wait_shows_the_jumps_with_names_and_ends_with_three(ops):
    ops.machine.steps = [succeeded(WAITS)]
    ops.stack.clients.s3.put_object(Bucket="dados", Key="j", Body=json.dumps({"jumps": {"rows": [JUMP]}}))
    result = ops("run", "--preview")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[-1] == "2026-12: Este plano vai esperar aprovação: JST-13."
    row = next(line for line in result.stdout.splitlines() if line.startswith("JST-13"))
    assert [cell.strip() for cell in row.split("│")] == [
        "JST-13", "Padaria Pão & Cia", "R$ 1.505,35", "R$ 150.535,00", "+9.900 %",
    ]  # fmt: skip


def test_its_json_says_why_and_ends_with_three_too(ops):
    ops.machine.steps = [succeeded(WAITS)]
    result = ops("run", "--preview", "--json")
    assert (result.exit_code, json.loads(result.stdout)["attention"]) == (3, WAITS["attention"])


def test_following_ends_with_the_same_code(ops):
    ops("run", "--preview", "--no-follow")
    ops.machine.steps = [succeeded(WAITS)]
    assert ops("follow").exit_code == 3


@pytest.mark.parametrize("body", [None, "{}", "no JSON"])
def test_without_the_reports_table_the_sentence_is_enough(ops, body):
    ops.machine.steps = [succeeded(WAITS)]
    if body is not None:
        ops.stack.clients.s3.put_object(Bucket="dados", Key="j", Body=body)
    result = ops("run", "--preview")
    assert (result.exit_code, result.stderr) == (3, "")
    assert "Este plano vai esperar" in result.stdout


def test_a_run_that_was_refused_does_not_say_that_it_was_begun(ops):
    why = "Já há uma execução em andamento para 2026-12: x."
    ops.machine.opened = {"anything_to_do": False, "refused": [{"company": "acme", "why": why}]}
    result = ops("run", "--yes", "--no-follow")
    assert (result.exit_code, result.stderr) == (1, f"2026-12: não foi tudo iniciado. acme: {why}\n")
    for_programs = ops("run", "--yes", "--no-follow", "--json")
    assert for_programs.exit_code == 1
    assert json.loads(for_programs.stdout)["run_refused"] == f"acme: {why}"
    assert "iniciada" not in result.stdout


def test_a_run_whose_opening_cannot_be_seen_is_not_waited_for_for_ever(ops):
    before = ops.clock.now()
    assert ops("run", "--yes", "--no-follow").exit_code == 0
    assert ops.clock.now() - before <= timedelta(seconds=32)


# ---- files and pipes of Windows


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_settings_file_of_windows_is_pushed_without_its_mark(ops, tmp_path, encoding):
    file = tmp_path / "novo.toml"
    file.write_bytes((SETTINGS + "\n# revisão\n").replace("\n", "\r\n").encode(encoding))
    assert ops("settings", "check", str(file)).exit_code == 0
    pushed = ops("settings", "push", str(file))
    assert pushed.stdout == "Configuração em vigor na pilha billing-ops. Empresas: acme, nimbus.\n"
    assert not ops.stack.settings_text().startswith("\ufeff")
    assert "# revisão" in ops.stack.settings_text()


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_settings_in_force_in_another_encoding_are_said_once_and_the_advised_push_mends_them(ops, tmp_path, encoding):
    text = (SETTINGS + "\n# revisão\n").encode(encoding, "replace")
    ops.stack.clients.s3.put_object(Bucket="dados", Key=ops.stack.outputs["SettingsKey"], Body=text)
    shown = ops("settings", "show")
    assert (shown.exit_code, shown.stderr.count("\n")) == ((0, 0) if encoding == "utf-16" else (1, 1))
    assert ("# revisão" in shown.stdout) is (encoding == "utf-16")  # read as the functions read it
    file = tmp_path / "novo.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    assert ops("settings", "push", str(file)).exit_code == 0
    assert ops("settings", "show").stdout.strip() == SETTINGS.strip()


def test_a_settings_file_in_ansi_is_named_in_one_line(ops, tmp_path):
    file = tmp_path / "novo.toml"
    file.write_bytes(("# revisão\n" + SETTINGS).encode("cp1252", "replace"))
    result = ops("settings", "push", str(file))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"{file}: não está em UTF-8 (linha 1, byte 0xE3; o Windows chama isso de ANSI)")
    assert ops.stack.settings_text() == SETTINGS


def test_settings_in_force_with_a_mark_are_read(ops):
    ops.stack.put_settings("\ufeff" + SETTINGS)
    assert sorted(ops.stack.settings().companies) == ["acme", "nimbus"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_keys_piped_by_powershell_are_read(ops, encoding):
    result = ops("secrets", "put", "omie", "acme", stdin="chave-canario\r\nsegredo-canario\r\n".encode(encoding))
    assert (result.exit_code, result.stderr) == (0, "")
    kept = ops.stack.read_secret("billing-ops/omie/acme", ("app_key", "app_secret"))
    assert kept == ("chave-canario", "segredo-canario")


def test_keys_in_an_encoding_that_cannot_be_read_are_named_and_not_shown(ops):
    result = ops("secrets", "put", "jestor", stdin="canário".encode("cp1252"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Entrada: não está em UTF-8 (linha 1")
    assert "can" not in result.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("link --contract JST-1 --omie 1.000", '--omie: "1.000" é ambíguo: escreva 1000 (sem ponto) ou 1.'),
        ("link --contract JST-1 --omie 1_000", '--omie: "1_000" não é um número inteiro; escreva só os algarismos.'),
        ("link --contract JST-1 --omie abc", '--omie: "abc" não é um número inteiro; escreva só os algarismos.'),
        ("link --contract JST-1 --omie 0", "--omie: deve ser 1 ou mais."),
        ("reajuste fetch --months 1.000", '--months: "1.000" é ambíguo: escreva 1000 (sem ponto) ou 1.'),
        ("reajuste fetch --months 121", "--months: deve ser de 1 a 120."),
        ("late-fee --amount 10 --due 2026-10-01 --grace-days 1.000", '--grace-days: "1.000" é ambíguo'),
    ],
)
def test_a_number_on_the_command_line_is_read_as_everywhere_else(ops, words, line):
    answer = ops(*words.split())
    assert answer.exit_code == 2
    assert f"Valor inválido em {line}" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_code_of_omie_may_have_points_between_its_thousands(ops):
    answer = ops("link", "--contract", "JST-1", "--omie", "2.310.000.001")
    assert "Valor inválido" not in answer.stderr
