"""`billing-ops doctor` against the simulators: a healthy account is told to be well, each fault is found and its cure named."""

import io
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import httpx
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from billing.domain.charge import ChargeKey, Event
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.omie.governor import ReaderState
from ops.cli import app
from ops.desk import Desk, Tools
from ops.doctor import Show, examine
from ops.findings import Finding, Level, as_dict
from ops.stack import Clients, Lane, Stack
from simulators import world as names
from simulators.clock import VirtualClock
from simulators.jestor.core import JestorCore
from simulators.jestor.transport import transport as jestor_transport
from simulators.lab import DEMO
from simulators.memory_store import MemoryLanes, MemoryLedger
from simulators.omie.core import OmieCore, apps_of
from simulators.omie.faults import FaultPlan, read_faults
from simulators.omie.registers import category
from simulators.omie.transport import transport as omie_transport
from simulators.world import make_world

START = datetime(2026, 12, 1, 6, 0, tzinfo=SAO_PAULO)
TURNED = 2 * 3600
"""Seconds after START: Omie's stages have turned to the new month."""
NOVEMBER = BillingMonth(2026, 11)
WORLD = make_world(14, 7, START.date(), clean=True)
SECRETS = {
    "billing-ops/jestor": {"token": names.JESTOR_TOKEN},
    "billing-ops/webhooks": {
        "jestor": ["s" * 43],
        "omie": {key: {"tokens": ["t" * 43], "app_key": app_key} for key, (app_key, _) in names.OMIE_KEYS.items()},
    },
} | {f"billing-ops/omie/{key}": {"app_key": k, "app_secret": s} for key, (k, s) in names.OMIE_KEYS.items()}
OUTPUTS = {
    "DataBucketName": "dados",
    "SettingsKey": "config/settings.toml",
    "SecretsPrefix": "billing-ops",
    "ScheduleName": "billing-ops-MonthlySchedule",
    "OmieWritesDlqUrl": "omie-writes-dlq",
    "LivingDlqUrl": "living-dlq",
    "NotificationTopicArn": "arn:aws:sns:sa-east-1:123456789012:topic",
    "WebhooksUrl": "https://api.test/v1/webhooks",
}
PARAMETERS = {"OmieBaseUrl": "https://app.omie.com.br/api/v1/", "JestorBaseUrl": "https://demo.api.jestor.com"}


def refused(operation, code, message=""):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@dataclass(frozen=True)
class MemoryStack(Stack):
    """The deployed stack with its tables in memory; what it reads from AWS otherwise comes from `House`."""

    house: "House" = None

    def month_charges(self, company, month):
        return list(self.house.ledger.by_month(company, month))

    def ask_omie(self, company, question, now, window):
        return self.house.lanes.ask(company, question, now.timestamp(), window)

    def readers(self, company):
        return self.house.lanes.readers(company)

    def note_omie_error(self, company, method, now):
        self.house.lanes.note_reader_error(company, method, now.timestamp())

    def block_lane(self, company, until, reason):
        self.house.lanes.block(company, until.timestamp(), reason)

    def lane(self, company, now):
        return self.house.lane

    def webhook_routes(self, pages=5):
        return self.house.routes


@dataclass
class House:
    """Everything the doctor looks at; a test spoils one thing of it."""

    settings: str = field(default_factory=lambda: DEMO.read_text(encoding="utf-8"))
    secrets: dict = field(default_factory=lambda: json.loads(json.dumps(SECRETS)))
    outputs: dict = field(default_factory=lambda: dict(OUTPUTS))
    parameters: dict = field(default_factory=lambda: dict(PARAMETERS))
    queues: dict = field(default_factory=dict)
    routes: set = field(default_factory=lambda: {"contract", "omie"})
    facts: dict = field(default_factory=dict)
    schedule: str = "ENABLED"
    subscriptions: tuple = ("arn:aws:sns:sa-east-1:123456789012:topic:1",)
    lane: Lane = field(default_factory=lambda: Lane(None, ""))
    terminal: bool = False

    def __post_init__(self):
        self.clock = VirtualClock(START)
        self.ledger, self.lanes = MemoryLedger(), MemoryLanes()
        self.jestor = JestorCore(WORLD, seed=1)
        self.omie = OmieCore(apps_of(WORLD, now=START.timestamp() - 86400), seed=1, latency_ms=0)
        for contract in WORLD.contracts[:12]:
            self.bill(contract.code, contract.omie_company, NOVEMBER, nCodCtr=None)

    def bill(self, code, company, month, *, nCodCtr, nCodOS=1):
        key, facts = ChargeKey(code, month), {"company": company, "amount": 1, "plan_hash": "h", "run": "r"}
        self.ledger.claim(key, attempt="a", now=START, nCodCtr=nCodCtr, who="t", **facts)
        self.ledger.apply(
            key,
            Event.DONE,
            now=START,
            who="t",
            why="w",
            attempt="a",
            nCodOS=nCodOS,
            **({"nCodCtr": nCodCtr} if nCodCtr else {}),
        )

    def tools(self):
        clients = Clients(None, None, self, self, self, None, None, self, self)
        stack = MemoryStack("billing-ops", self.outputs, self.parameters, clients, self)
        return Tools(
            environ={"AWS_PROFILE": "x"},
            clock=self.clock,
            connect=lambda _: stack,
            http=lambda: httpx.Client(transport=httpx.MockTransport(self.answer)),
            at_a_terminal=lambda: self.terminal,
        )

    def __call__(self, *words):
        """As it is typed."""
        return CliRunner().invoke(app, ["doctor", *words], obj=self.tools(), prog_name="billing-ops")

    def findings(self, *companies):
        desk = Desk(self.tools())
        return [as_dict(finding) for finding in examine(desk, companies, Show(desk, quiet=True, silent=True))]

    def answer(self, request):
        now = self.clock.now().timestamp
        pick = omie_transport(self.omie, now) if "omie" in request.url.host else jestor_transport(self.jestor, now)
        return pick.handle_request(request)

    # what the AWS clients are asked

    def get_object(self, *, Bucket, Key):
        if Key.startswith("probe/"):
            if Key not in self.facts:
                raise refused("GetObject", "NoSuchKey")
            if isinstance(self.facts[Key], Exception):
                raise self.facts[Key]
            return {"Body": io.BytesIO(self.facts[Key].encode())}
        if self.settings is None:
            raise refused("GetObject", "NoSuchKey")
        return {"Body": io.BytesIO(self.settings.encode())}

    def get_secret_value(self, *, SecretId):
        if SecretId not in self.secrets:
            raise refused("GetSecretValue", "ResourceNotFoundException")
        value = self.secrets[SecretId]
        if isinstance(value, Exception):
            raise value
        return {"SecretString": value if isinstance(value, str) else json.dumps(value)}

    def get_queue_attributes(self, *, QueueUrl, AttributeNames):
        return {"Attributes": {AttributeNames[0]: str(self.queues.get(QueueUrl, 0)), AttributeNames[1]: "0"}}

    def get_schedule(self, *, Name):
        assert Name == OUTPUTS["ScheduleName"]
        if isinstance(self.schedule, Exception):
            raise self.schedule
        return {"State": self.schedule, "ScheduleExpression": "cron(0 6 * * ? *)"}

    def get_paginator(self, operation):
        assert operation == "list_subscriptions_by_topic"
        return self

    def paginate(self, *, TopicArn):
        assert TopicArn == OUTPUTS["NotificationTopicArn"]
        return [{"Subscriptions": [{"SubscriptionArn": arn}]} for arn in self.subscriptions]

    # shorthand

    @property
    def acme(self):
        return self.omie.apps["acme"]

    def changed(self, old, new):
        assert old in self.settings
        self.settings = self.settings.replace(old, new, 1)


@pytest.fixture
def house():
    return House()


def found(findings, check, level=None):
    """The texts of the findings of one check that are not well (or of that level)."""
    return [
        f"{f['what']} → {f['fix']}" if f["fix"] else f["what"]
        for f in findings
        if f["check"] == check and f["level"] == (level or f["level"]) and (level or f["level"] != "ok")
    ]


# ---- the healthy account


def test_a_healthy_account_has_nothing_but_what_no_api_shows(house):
    findings = house.findings()
    assert [(f["where"], f["check"]) for f in findings if f["level"] != "ok"] == [
        ("Jestor", "jestor.labels.service"),  # the simulated org has a service that nobody sells
        ("Omie", "omie.automatic"),
    ]
    assert {f["where"] for f in findings} == {"AWS", "Jestor", "Omie acme", "Omie nimbus", "Omie"}


def test_json_is_one_object_with_the_counts_and_every_finding(house):
    result = house("--json", "--company", "acme")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["errors"], told["warnings"], told["by_hand"]) == (0, 0, 1, 1)
    assert told["findings"] == House().findings("acme")
    house.schedule = refused("GetSchedule", "AccessDenied")
    assert (house("--json").exit_code, json.loads(house("--json").stdout)["errors"]) == (1, 1)


def test_it_changes_nothing_anywhere(house):
    house()
    assert house.jestor.book()["writes"] == []
    book = house.omie.read_book()
    assert (book["billings"], [name for name, call in book["calls"].items() if call.get("write")]) == ([], [])


def test_omie_counts_no_error_and_no_misuse_although_it_is_asked_twice(house):
    house()
    house()
    assert house.clock.slept  # the same questions waited for their minute
    assert not house.omie.book.refused


def test_one_company_alone_is_examined_on_request(house):
    findings = house.findings("nimbus")
    assert {f["where"] for f in findings} == {"AWS", "Jestor", "Omie nimbus", "Omie"}


def test_an_unknown_company_is_exit_code_two(house):
    result = house("--company", "acmee")
    assert (result.exit_code, result.stderr) == (
        2,
        "Empresa desconhecida: acmee. As da configuração são: acme, nimbus.\n",
    )


def test_what_a_person_reads_is_one_paragraph_a_finding_with_its_cure_below(house):
    house.changed("nCodCC = 2208238701", "nCodCC = 5")
    result = house()
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    at = lines.index("   erro A conta corrente 5 não existe nesta empresa.")
    assert lines[at + 1].startswith(
        "        → Copie para [companies.acme.omie] nCodCC uma destas: 2208238701 (Conta Acme"
    )
    assert lines[-3:] == [
        "1 erro, 1 aviso, 1 para olhar à mão.",
        "Depois de mudar a configuração: billing-ops settings push ARQUIVO",
        "Acerte os erros de cima para baixo e repita: billing-ops doctor",
    ]
    assert [line for line in lines if line and not line.startswith(" ")][:2] == ["AWS", "Jestor"]


def test_quiet_leaves_out_what_is_well(house):
    lines = house("--quiet").stdout.splitlines()
    assert not [line for line in lines if line.split()[:1] == ["ok"]]
    assert [line for line in lines if line.split()[:1] == ["aviso"]]


def test_at_a_terminal_it_says_what_it_reads_and_why_it_waits(house):
    house.terminal = True
    house()
    told = house().stderr
    assert "Lendo o Omie de acme..." in told
    assert "O Omie não aceita a mesma pergunta duas vezes por minuto: espero" in told


def test_the_help_says_what_it_does_and_what_its_exit_codes_mean(house):
    text = " ".join(house("--help").stdout.split())
    assert "Só lê: nada muda no Jestor nem no Omie." in text
    assert "Sai com 0 se não há erro, 1 se há, 2 se o pedido não pode ser atendido." in text


def test_no_secret_is_ever_shown(house):
    house.secrets["billing-ops/jestor"] = {"token": "canary-token"}
    house.secrets["billing-ops/omie/acme"] = {"app_key": "canary-key", "app_secret": "canary-secret"}
    house.secrets["billing-ops/webhooks"] = '{"jestor": ["canary-short"]}'
    result = house()
    assert result.exit_code == 1
    assert "canary" not in result.stdout + result.stderr


def test_what_is_not_well_always_says_how_to_put_it_right():
    with pytest.raises(ValueError, match="how to put it right"):
        Finding("AWS", "aws.x", Level.WARNING, "algo")


# ---- AWS


def test_without_settings_the_first_step_is_to_push_them(house):
    house.settings = None
    assert found(house.findings(), "aws.settings") == [
        "A pilha billing-ops não tem configuração. → Envie-a: billing-ops settings push ARQUIVO"
    ]


def test_each_problem_of_the_settings_is_a_finding(house):
    house.changed("nCodCC = 2208238701", 'nCodCC = "x"')
    house.changed("billing_day = 1", "billing_day = 31")
    problems = found(house.findings(), "aws.settings", "error")
    assert [problem.split(":")[1].strip() for problem in problems] == [
        "companies.acme.omie.nCodCC",
        "companies.acme.billing_day",
    ]


def test_a_missing_key_stops_only_its_own_part(house):
    del house.secrets["billing-ops/omie/acme"]
    findings = house.findings()
    (missing,) = found(findings, "aws.secrets")
    assert missing.startswith(
        "O segredo billing-ops/omie/acme não existe. → Grave-o com: billing-ops secrets put omie acme"
    )
    assert found(findings, "not_examined")
    assert [f for f in findings if f["where"] == "Omie nimbus" and f["check"] == "omie.account"]


def test_a_key_that_the_operator_may_not_read_is_a_finding(house):
    message = "User is not authorized to perform: secretsmanager:GetSecretValue on resource"
    house.secrets["billing-ops/jestor"] = refused("GetSecretValue", "AccessDeniedException", message)
    findings = house.findings()
    assert "não tem permissão para secretsmanager:GetSecretValue" in found(findings, "aws.secrets")[0]
    assert [f["where"] for f in findings if f["check"] == "not_examined"] == ["Jestor"]


def test_whoever_may_not_note_the_turns_at_omie_is_told_which_permission_is_missing(house):
    message = "User is not authorized to perform: dynamodb:UpdateItem on resource"
    house.lanes = Refusing(refused("UpdateItem", "AccessDeniedException", message))
    findings = house.findings("acme")
    assert "não tem permissão para dynamodb:UpdateItem" in found(findings, "not_examined", "error")[0]
    assert house.omie.read_book()["calls"] == {}


class Refusing:
    def __init__(self, error):
        self.error = error

    def ask(self, *_):
        raise self.error

    def readers(self, _):
        return ReaderState()


def test_a_register_that_answers_in_unknown_words_costs_one_question_and_no_minutes(house):
    words = {"faultstring": "ERROR: Palavras que ninguém conhece", "faultcode": "SOAP-ENV:Client-99999"}
    asked, answer = [], house.answer

    def strange(request):
        if b"ListarCategorias" in request.content:
            asked.append(house.clock.now())
            return httpx.Response(500, json=words)
        return answer(request)

    house.answer = strange
    began = house.clock.now()
    findings = house.findings("acme")
    assert "ListarCategorias não pôde ser lido" in found(findings, "omie.ListarCategorias", "error")[0]
    assert found(findings, "omie.services", "ok")
    assert (len(asked), house.clock.now() - began < timedelta(seconds=30)) == (1, True)
    assert house.lanes.get("acme").errors == {}


def test_a_slow_omie_ends_within_a_bound_and_says_what_was_left_out(house):
    answer = house.answer

    def slow(request):
        if "omie" in request.url.host:
            house.clock.advance(100.0)
        return answer(request)

    house.answer = slow
    began = house.clock.now()
    (line,) = found(house.findings("acme"), "not_examined", "error")
    assert "O Omie responde devagar demais" in line
    assert house.clock.now() - began < timedelta(minutes=7)


def test_four_examinations_in_a_row_spend_no_error_that_they_could_have_spared(house):
    for _ in range(4):
        assert house("--json", "--company", "acme").exit_code == 0
    errors = house.lanes.readers("acme").errors
    assert set(errors) <= {"ListarLotesContrato"}
    assert house.lanes.get("acme").errors == {}


def test_the_progress_line_names_what_is_read_and_nothing_of_the_request():
    shown, show = [], Show(Desk(Tools()), quiet=False, silent=False)
    show._status = type("Status", (), {"update": lambda _, line: shown.append(line)})()
    show.reading("Omie de acme")
    body = {"call": "ListarContratos", "app_key": "canary", "app_secret": "canary", "param": [{"pagina": 3}]}
    client = show.watched(lambda: httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))))()
    client.post("https://omie.test/api/v1/servicos/contrato/", content=json.dumps(body))
    client.post("https://demo.test/object/list", content=b"{}")
    assert shown == ["Lendo o Omie de acme: contratos, página 3...", "Lendo o Omie de acme: registros..."]


def test_without_the_webhooks_secret_nothing_comes_before_the_daily_sweep(house):
    del house.secrets["billing-ops/webhooks"]
    (line,) = found(house.findings(), "aws.webhooks", "warning")
    assert "só são vistos na varredura diária" in line
    assert "billing-ops secrets put webhooks" in line


def test_a_webhooks_secret_that_cannot_be_read_is_an_error(house):
    house.secrets["billing-ops/webhooks"] = {"jestor": ["curto"]}
    (line,) = found(house.findings(), "aws.webhooks", "error")
    assert "curto" not in line


def test_another_app_key_in_the_webhooks_secret_refuses_all_of_omies_webhooks(house):
    house.secrets["billing-ops/webhooks"]["omie"]["acme"]["app_key"] = "old"
    (line,) = found(house.findings(), "aws.webhooks", "error")
    assert "outra app_key para acme" in line


def test_a_company_without_a_webhook_token_and_a_missing_trigger_secret_are_named(house):
    house.secrets["billing-ops/webhooks"] = {"omie": {"acme": SECRETS["billing-ops/webhooks"]["omie"]["acme"]}}
    lines = found(house.findings(), "aws.webhooks", "warning")
    assert ["gatilho do Jestor" in lines[0], "Omie de nimbus" in lines[1]] == [True, True]


def test_whether_webhooks_ever_came_is_told(house):
    house.routes = {"omie"}
    (line,) = found(house.findings(), "aws.webhooks_came", "by_hand")
    assert line.startswith("Nenhum aviso do Jestor nos últimos 30 dias")


def test_addresses_that_are_not_the_real_ones_are_pointed_out(house):
    house.parameters.update(OmieBaseUrl="https://proxy.test/api/v1/", JestorBaseUrl="https://outra.api.jestor.com")
    lines = found(house.findings("acme"), "aws.addresses", "warning")
    assert "https://proxy.test/api/v1/" in lines[0]
    assert "a org da configuração diz https://demo.api.jestor.com" in lines[1]


def test_a_schedule_that_is_off_or_hidden_is_told(house):
    house.schedule = "DISABLED"
    assert "ScheduleState=ENABLED" in found(house.findings(), "aws.schedule", "warning")[0]
    house = House(schedule=refused("GetSchedule", "AccessDeniedException", "to perform: scheduler:GetSchedule on"))
    assert "scheduler:GetSchedule" in found(house.findings(), "aws.schedule", "error")[0]


@pytest.mark.parametrize(
    ("arns", "word"), [((), "nenhum endereço está inscrito"), (("PendingConfirmation",), "espera a confirmação")]
)
def test_that_nobody_hears_of_alarms_is_an_error(house, arns, word):
    house.subscriptions = arns
    assert word in found(house.findings(), "aws.told", "error")[0]


def test_one_who_has_confirmed_is_enough(house):
    house.subscriptions = ("PendingConfirmation", *house.subscriptions)
    assert found(house.findings(), "aws.told", "ok") == ["Avisos e alarmes chegam a 1 endereço."]


def test_dead_letters_are_counted_queue_by_queue(house):
    house.queues = {"omie-writes-dlq": 3, "living-dlq": 1}
    living, writes = found(house.findings(), "aws.dead_letters", "warning")
    assert living.startswith("Fila LivingDlq: 1 mensagem, avisos do Jestor ou do Omie que falharam.")
    assert writes.endswith("→ billing-ops dlq list")


# ---- Jestor


def test_a_refused_token_is_one_error_and_omie_is_examined_all_the_same(house):
    house.secrets["billing-ops/jestor"] = {"token": "vencido"}
    findings = house.findings()
    assert found(findings, "jestor.token") == [
        (
            "O Jestor recusa o token: Jestor: /objectProperties/index recusado (HTTP 401): Token inválido (tabela "
            "o_k7v2mxq94trw1bz6hd3n8). → billing-ops secrets put jestor"
        )
    ]
    assert "sem o Jestor não se sabe de quem são" in found(findings, "omie.links", "warning")[0]


def test_a_table_that_does_not_exist_is_named(house):
    house.changed(names.CONTRACTS_TABLE, "contratos_velhos")
    assert "contratos_velhos" in found(house.findings(), "jestor.table", "error")[0]


def test_a_jestor_that_is_down_says_so(house):
    house.jestor.set_faults([{"kind": "server_error", "path": "/objectProperties/index", "times": 20}])
    assert "está fora do ar (HTTP 502)" in found(house.findings(), "jestor.reachable", "error")[0]


def test_a_field_that_is_gone_is_named_with_those_like_it(house):
    house.jestor.set_faults([{"kind": "vanished_field", "table": names.CONTRACTS_TABLE, "field": "valor_mensal_2"}])
    (line,) = found(house.findings(), "jestor.fields", "error")
    assert "o campo valor_mensal_2 não existe mais" in line
    assert "Parecidos: valor_mensal" in line


def test_a_field_that_the_connected_customer_has_not_is_named(house):
    house.changed('"cliente.email_faturamento"', '"cliente.email_financeiro"')
    (line,) = found(house.findings(), "jestor.connected", "error")
    assert "jestor.contracts.fields.email: o registro conectado cliente não traz o campo email_financeiro." in line


def test_labels_are_compared_both_ways(house):
    house.changed('Churn = "churned"', 'Cancelado = "churned"')
    gone, unknown = found(house.findings(), "jestor.labels.status", "warning")
    assert gone.startswith(
        'O campo status_1 não tem a opção "Cancelado", que está em [jestor.contracts.status_labels].'
    )
    assert unknown.startswith('A configuração não conhece a opção "Churn" do campo status_1')


def test_of_labels_that_the_settings_offer_jestor_need_not_have_all(house):
    table = house.jestor.tables[names.CONTRACTS_TABLE]
    table.fields["modo_encargos"] = replace(table.fields["modo_encargos"], options=(("1", "Boleto"),))
    assert not found(house.findings(), "jestor.labels.late_mode", "warning")
    table.fields["modo_encargos"] = replace(table.fields["modo_encargos"], options=(("1", "Banco"),))
    gone, unknown = found(house.findings(), "jestor.labels.late_mode", "error") + found(
        house.findings(), "jestor.labels.late_mode", "warning"
    )
    assert "[jestor.contracts.late_mode_labels]" in gone
    assert '"Banco"' in unknown


def test_a_company_label_that_jestor_has_not_is_an_error(house):
    house.changed('jestor_label = "Acme Tecnologia Ltda"', 'jestor_label = "Acme Ltda"')
    findings = house.findings()
    assert '"Acme Ltda"' in found(findings, "jestor.labels.company", "error")[0]
    assert 'Nenhum contrato visível é de acme ("Acme Ltda").' in found(findings, "jestor.row_filter", "warning")[0]


def test_a_status_that_anybody_may_type_is_a_warning(house):
    house.changed('status = "status_1"', 'status = "descricao_nf_1"\n')
    house.changed('description = "descricao_nf_1"\n', "")
    assert "não é de opções" in found(house.findings(), "jestor.labels.status", "warning")[0]


def test_write_back_fields_must_exist_and_take_what_is_written(house):
    for old, new in (
        ('invoice_link = "link_fatura"', 'invoice_link = "link_fatur"'),
        ('billed_amount = "valor_faturado"', 'billed_amount = "jestor_is_draft"'),
        ('billed_status = "status_faturamento"', 'billed_status = "origem"'),
    ):
        house.changed(old, new)
    lines = found(house.findings(), "jestor.write_back", "error")
    assert [line.split(" → ")[0] for line in sorted(lines)] == [
        "jestor.contracts.write_back.billed_amount: o campo jestor_is_draft é do tipo checkbox e não aceita número.",
        (
            "jestor.contracts.write_back.billed_status: o campo origem é de opções (radioSelect), e o que gravamos não é uma "
            "delas."
        ),
        "jestor.contracts.write_back.invoice_link: o campo link_fatur não existe.",
    ]


def test_a_field_that_jestor_fills_in_itself_cannot_be_written(house):
    table = house.jestor.tables[names.CONTRACTS_TABLE]
    table.fields["valor_faturado"] = replace(table.fields["valor_faturado"], type="formula")
    (line,) = found(house.findings(), "jestor.write_back", "error")
    assert "é calculado pelo próprio Jestor (formula)" in line


def test_without_write_back_fields_nobody_gets_the_invoice_by_whatsapp(house):
    head, _, rest = house.settings.partition("[jestor.contracts.write_back]")
    house.settings = head + "[jestor.contracts.status_labels]" + rest.partition("[jestor.contracts.status_labels]")[2]
    assert "preencha [jestor.contracts.write_back]" in found(house.findings(), "jestor.write_back", "warning")[0]
    house = House()
    house.changed('whatsapp_text = "mensagem_whatsapp"\n', "")
    assert "não recebe a fatura pelo WhatsApp" in found(house.findings(), "jestor.write_back", "warning")[0]


def test_the_receivables_table_is_compared_too(house):
    house.changed('stage = "etapa_cobranca"', 'stage = "etapa"')
    assert "o campo etapa não existe" in found(house.findings(), "jestor.receivables", "error")[0]
    house = House()
    house.changed(names.RECEIVABLES_TABLE, "recebiveis")
    assert "não pôde ser lida" in found(house.findings(), "jestor.receivables", "error")[0]


def test_a_label_that_the_receivables_table_lacks_is_an_error(house):
    table = house.jestor.tables[names.RECEIVABLES_TABLE]
    table.fields["situacao_1"] = replace(table.fields["situacao_1"], options=(("1", "Em aberto"),))
    assert '"Atrasado"' in found(house.findings(), "jestor.receivables", "error")[0]


def test_a_token_that_sees_only_some_rows_is_unmasked_by_last_months_bills(house):
    house.secrets["billing-ops/jestor"] = {"token": names.JESTOR_RESTRICTED_TOKEN}
    findings = house.findings()
    (line,) = found(findings, "jestor.row_filter", "error")
    assert "faturados em 2026-11" in line
    assert "tire o filtro" in line
    assert any(
        "Nenhum contrato visível é de nimbus" in text for text in found(findings, "jestor.row_filter", "warning")
    )
    assert any("código do Jestor que o token não vê" in text for text in found(findings, "omie.links", "warning"))


def test_a_contract_or_two_that_are_gone_are_a_warning(house):
    house.jestor.edit({"delete": [WORLD.contracts[0].jestor_id]}, START.timestamp())
    (line,) = found(house.findings(), "jestor.row_filter", "warning")
    assert f"1 não aparecem mais: {WORLD.contracts[0].code}." in line


def test_without_a_month_to_compare_with_a_person_must_count(house):
    house.ledger = MemoryLedger()
    house.jestor.edit({"delete": [WORLD.contracts[3].jestor_id]}, START.timestamp())
    (line,) = found(house.findings(), "jestor.row_filter", "by_hand")
    assert line.startswith("O token vê 13 contratos (até o id 14; 1 id falta, apagado ou escondido).")
    assert "deve mostrar 13 registros" in line


def test_a_table_that_moves_while_it_is_read_is_an_error_to_try_again(house):
    house.jestor.set_faults([{"kind": "short_page", "rows": 2, "path": "/object/list", "times": 20}])
    (line,) = found(house.findings(), "jestor.rows", "error")
    assert line.startswith("Jestor: li 12 de 14 registros")
    assert "Repita quando ninguém estiver mexendo na tabela." in line


# ---- Omie


def test_a_refused_omie_key_ends_that_companys_part(house):
    house.secrets["billing-ops/omie/acme"]["app_secret"] = "errado"
    findings = house.findings()
    assert "billing-ops secrets put omie acme" in found(findings, "omie.key", "error")[0]
    assert [f["check"] for f in findings if f["where"] == "Omie acme"] == ["omie.key"]


def test_a_blocked_lane_is_left_alone(house):
    house.lane = Lane(START.replace(hour=7), "o Omie bloqueou a chave")
    findings = house.findings()
    assert found(findings, "omie.blocked", "error")[0].startswith("Parada até 07:00: o Omie bloqueou a chave")
    assert house.omie.read_book()["calls"] == {}


def test_a_key_that_omie_blocks_now_says_for_how_long(house):
    house.omie.faults = FaultPlan(read_faults([{"kind": "blocked", "seconds": 600.0}]), seed=1)
    assert "por 11 minutos" in found(house.findings("acme"), "omie.blocked", "error")[0]


def test_an_account_that_is_inactive_or_makes_no_boletos_is_told(house):
    house.acme.accounts[2208238701]["inativo"] = "S"
    assert "está inativa" in found(house.findings(), "omie.account", "error")[0]
    house = House()
    house.acme.accounts[2208238701]["bol_sn"] = "N"
    assert "não emite boleto" in found(house.findings(), "omie.account", "warning")[0]


@pytest.mark.parametrize(
    ("code", "flags", "told"),
    [
        ("9.99", {}, "não existe nesta empresa"),
        ("1.01.50", {"conta_inativa": "S"}, "está inativa"),
        ("1.01", {"totalizadora": "S"}, "é um grupo"),
        ("2.04", {"conta_receita": "N"}, "não é de receita"),
    ],
)
def test_a_category_that_cannot_take_revenue_is_an_error_with_those_that_can(house, code, flags, told):
    house.changed('cCodCateg = "1.01.02"', f'cCodCateg = "{code}"')
    if flags:
        house.acme.categories[code] = category(code, "Outra", **flags)
    (line,) = found(house.findings("acme"), "omie.category", "error")
    assert told in line
    assert "1.01.02 (Clientes - Serviços Prestados)" in line


def test_services_are_compared_with_the_register(house):
    house.changed("codServico = 2203412601", "codServico = 1")
    house.acme.services[2203412602]["info"]["inativo"] = "S"
    house.acme.services[2203412603]["cabecalho"]["cCodLC116"] = "17.01"
    findings = house.findings("acme")
    gone, inactive = found(findings, "omie.services", "error")
    assert 'Serviço "Plataforma Essencial": o codServico 1 não existe' in gone
    assert 'Serviço "Plataforma Pro": o codServico 2203412602 está inativo' in inactive
    assert (
        "a configuração diz LC 116 1.07, o cadastro do Omie diz 17.01" in found(findings, "omie.services", "warning")[0]
    )


def test_a_service_without_a_register_entry_needs_a_code_that_the_company_uses(house):
    house.changed('codServico = 2203412603\ncodLC116 = "1.07"', 'codLC116 = "7.10"')
    (line,) = found(house.findings("acme"), "omie.services", "warning")
    assert "nenhum serviço cadastrado no Omie tem o código LC 116 7.10" in line


def test_a_city_is_compared_with_what_contracts_say(house):
    house.changed('cCidPrestServ = "SAO PAULO (SP)"', 'cCidPrestServ = "SÃO PAULO (SP)"')
    (line,) = found(house.findings("acme"), "omie.city", "warning")
    assert 'Os contratos usam "SAO PAULO (SP)"' in line
    house = House()
    house.changed('cCidPrestServ = "SAO PAULO (SP)"', 'cCidPrestServ = "SAO PAULO (XX)"')
    assert "sigla de estado" in found(house.findings("acme"), "omie.city", "error")[0]


def test_a_city_without_contracts_to_compare_with_is_looked_at_by_hand(house):
    app = house.acme
    app.contracts.clear()
    app.contract_list.clear()
    assert found(house.findings("acme"), "omie.city", "by_hand")


def alter(house, contract, change):
    """Omie's contract of a world's contract, changed as a person would."""
    from simulators.omie import contracts  # noqa: PLC0415

    app = house.omie.apps[contract.omie_company]
    cadastro = contract.omie_contrato
    number = cadastro["cabecalho"]["nCodCtr"]
    change(cadastro)
    app.contract_list = [known for known in app.contract_list if known.nCodCtr != number]
    del app.contracts[number]
    contracts.load(app, cadastro, START.timestamp() - 86400)
    app.changed()


def of_acme(number=0):
    return [c for c in WORLD.contracts if c.omie_company == "acme"][number]


def test_another_billing_day_is_counted(house):
    alter(house, of_acme(), lambda c: c["cabecalho"].update(nDiaFat=15))
    (line,) = found(house.findings("acme"), "omie.billing_day", "warning")
    assert line.startswith("1 contrato tem dia de faturamento diferente de 1:")
    assert "A primeira execução os acerta" in line


def test_contracts_that_nobody_linked_are_counted_by_who_made_them(house):
    def by_person(cadastro):
        cadastro["cabecalho"]["cCodIntCtr"] = ""

    row = of_acme()
    house.jestor.edit({"id": row.jestor_id, "data": {"id_omie": None}}, START.timestamp())
    alter(house, row, by_person)
    (line,) = found(house.findings("acme"), "omie.links", "warning")
    assert line.startswith("1 contrato ativo não está ligado a nenhum contrato do Jestor: nº 20")
    assert "billing-ops link --contract JST-12 --omie NÚMERO" in line


def test_contracts_of_another_program_are_named(house):
    contract = of_acme(1)
    house.jestor.edit({"id": contract.jestor_id, "data": {"id_omie": None}}, START.timestamp())

    def by_program(cadastro):
        cadastro["cabecalho"]["cCodIntCtr"] = "CONECTOR-1"
        cadastro["infoCadastro"]["cImpAPI"] = "S"

    alter(house, contract, by_program)
    findings = house.findings("acme")
    assert "por outro programa, pela API" in found(findings, "omie.other_programs", "warning")[0]


def test_omies_own_schedule_is_an_error(house):
    house.omie.bill_all("acme", now=START.timestamp())
    house.clock.advance(TURNED)
    findings = house.findings("acme")
    assert "faturou 1 lote pelo próprio agendamento" in found(findings, "omie.scheduled", "error")[0]
    assert "sem passar por este sistema" in found(findings, "omie.billed_elsewhere", "warning")[0]


def test_what_stage_30_keeps_of_the_month_before_accuses_nobody(house):
    number = of_acme().omie_contrato["cabecalho"]["nCodCtr"]
    house.omie.bill_by_person("acme", number, now=START.timestamp())
    house.clock.advance(120)
    findings = house.findings("acme")
    assert (
        "até 08:00 isso pode ser ainda o faturamento do mês anterior"
        in found(findings, "omie.billed_elsewhere", "by_hand")[0]
    )
    assert not found(findings, "omie.billed_elsewhere", "warning")


def test_a_lot_begun_by_another_program_is_a_warning(house):
    house.omie.bill_all("acme", now=START.timestamp(), origin="API")
    house.clock.advance(120)
    assert "1 lote foi faturado pela API" in found(house.findings(), "omie.other_programs", "warning")[0]


def test_what_this_system_billed_is_not_held_against_anybody(house):
    contract = of_acme()
    number = contract.omie_contrato["cabecalho"]["nCodCtr"]
    order = house.omie.bill_by_person("acme", number, now=START.timestamp())
    house.clock.advance(TURNED)
    assert found(house.findings("acme"), "omie.billed_elsewhere", "warning")
    house.bill(contract.code, "acme", BillingMonth(2026, 12), nCodCtr=number, nCodOS=order)
    assert not found(house.findings("acme"), "omie.billed_elsewhere", "warning")


def test_orders_that_another_program_billed_are_told(house):
    key, secret = names.OMIE_KEYS["acme"]
    customer = next(iter(house.acme.customers))
    made = {
        "Cabecalho": {"nCodCli": customer, "cEtapa": "50"},
        "ServicosPrestados": [{"nCodServico": 2203412601, "nQtde": 1, "nValUnit": 10}],
        "InformacoesAdicionais": {"cCodCateg": "1.01.02", "nCodCC": 2208238701},
    }
    now = START.timestamp()
    envelope = {"app_key": key, "app_secret": secret}
    answer = house.omie.handle(
        "/api/v1/servicos/os/", json.dumps({"call": "IncluirOS", "param": [made], **envelope}).encode(), now=now
    )
    order = {"nCodOS": json.loads(answer.body)["nCodOS"]}
    house.omie.handle(
        "/api/v1/servicos/osp/", json.dumps({"call": "FaturarOS", "param": [order], **envelope}).encode(), now=now
    )
    house.clock.advance(61)
    (line,) = found(house.findings("acme"), "omie.other_programs", "warning")
    assert line.startswith("1 ordem de serviço foi faturada por outro programa em 2026-12: nº 1.")


def late_fee(house, **settings):
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    house.changed("[companies.acme.send_email]", f"[companies.acme.late_fee]\n{lines}\n[companies.acme.send_email]")


def without_late_fee(house, key="acme"):
    head, found_it, rest = house.settings.partition(f"[companies.{key}.late_fee]")
    if found_it:
        house.settings = head + "[" + rest.partition("\n[")[2]


def test_the_boleto_and_the_next_bill_may_not_both_charge(house):
    without_late_fee(house)
    house.acme.accounts[2208238701].update(per_multa=2, per_juros=1)
    assert not found(house.findings("acme"), "omie.late_fee", "error")
    late_fee(house, fine_percent=2, interest_percent=1)
    told = "".join(found(house.findings("acme"), "omie.late_fee", "error"))
    assert "já cobra no boleto 2 % de multa e 1 % de juros ao mês" in told
    assert "o plano desta empresa para" in told


def test_a_boleto_that_should_charge_and_does_not_is_told(house):
    without_late_fee(house)
    late_fee(house, mode="boleto", fine_percent=2, interest_percent=1)
    assert "não cobra multa nem juros" in found(house.findings("acme"), "omie.late_fee", "warning")[0]


def test_boletos_of_the_account_as_it_was_are_told(house):
    without_late_fee(house)
    late_fee(house, fine_percent=2, interest_percent=1)
    account = house.acme.accounts[2208238701]
    account.update(per_multa=2, per_juros=1)
    house.omie.bill_by_person("acme", of_acme().omie_contrato["cabecalho"]["nCodCtr"], now=START.timestamp())
    house.clock.advance(3 * 86400)
    lines = found(house.findings("acme"), "omie.late_fee", "warning")
    assert any("1 boleto recente cobra até 2 % de multa" in line for line in lines)


def test_the_category_of_late_charges_is_checked_too(house):
    without_late_fee(house)
    late_fee(house, fine_percent=2, interest_percent=1, cCodCategReemb="8.88")
    assert "late_fee] cCodCategReemb" in found(house.findings("acme"), "omie.category", "error")[0]


def test_an_omie_that_does_not_answer_is_one_error(house):
    answer = house.answer

    def dead(request):
        if "omie" in request.url.host:
            raise httpx.ConnectError("no route", request=request)
        return answer(request)

    house.answer = dead
    findings = house.findings("acme")
    assert found(findings, "omie.reachable", "error")[0].startswith("O Omie não respondeu (ListarContasCorrentes).")
    assert [f["check"] for f in findings if f["where"] == "Omie acme"] == ["omie.reachable"]


def test_a_read_that_omie_refuses_leaves_the_other_checks_standing(house):
    house.omie._methods["/api/v1/geral/categorias/"].clear()
    findings = house.findings("acme")
    assert found(findings, "omie.ListarCategorias", "error")
    assert [f for f in findings if f["check"] == "omie.billing_day"]


# ---- what the deployed stack is asked


def test_the_routes_of_kept_webhooks_are_read_from_a_part_of_the_table():
    class DynamoDb:
        def get_paginator(self, operation):
            assert operation == "scan"
            return self

        def paginate(self, *, TableName, ProjectionExpression):
            assert (TableName, ProjectionExpression) == ("webhooks", "route")
            yield {"Items": [{"route": {"S": "omie"}}, {"route": {"S": "omie"}}]}
            yield {"Items": []}
            yield {"Items": [{"route": {"S": "churn"}}]}

    clients = Clients(None, DynamoDb(), None, None, None, None)
    stack = Stack("billing-ops", OUTPUTS | {"WebhooksTableName": "webhooks"}, {}, clients)
    assert stack.webhook_routes() == {"omie", "churn"}
    assert stack.webhook_routes(pages=2) == {"omie"}


@pytest.mark.parametrize("odd", [{"per_multa": "2,00"}, {"nCodCC": None}])
def test_an_answer_that_cannot_be_read_costs_one_check_and_ends_nothing(house, odd):
    house.acme.accounts[2208238701].update(odd)
    findings = house.findings()
    assert any(f["check"] == "omie.scheduled" and f["where"] == "Omie acme" for f in findings)
    assert any(f["where"] == "Omie nimbus" for f in findings)
    told = found(findings, "omie.unreadable") + found(findings, "omie.account")
    assert len(told) == 1


# ---- the facts of a probe


def test_that_nobody_probed_omie_is_no_fault(house):
    assert found(house.findings("acme"), "omie.probe", "ok")[0].startswith("Ninguém mediu ainda")


def test_facts_that_are_older_than_90_days_are_to_be_measured_again(house):
    house.changed("[companies.nimbus]\n", "[companies.nimbus]\ntest_account = true\n")
    house.facts["probe/nimbus/switches.toml"] = "measured_on = 2026-09-02\n"
    assert found(house.findings("acme"), "omie.probe") == []
    house.facts["probe/nimbus/switches.toml"] = "measured_on = 2026-09-01\n"
    assert found(house.findings("acme"), "omie.probe", "by_hand")[0].startswith(
        "O comportamento do Omie foi medido em 01/09/2026, há mais de 90 dias."
    )


def test_facts_that_cannot_be_fetched_are_said(house):
    house.changed("[companies.nimbus]\n", "[companies.nimbus]\ntest_account = true\n")
    house.facts["probe/nimbus/switches.toml"] = refused("GetObject", "AccessDenied")
    assert found([f for f in house.findings("acme") if f["where"] == "Omie"], "not_examined", "error")
