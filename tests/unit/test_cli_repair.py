"""`billing-ops dlq`, `resolve` and `explain` as they are typed, over the real use case and a lab."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from billing.bill_batch import ALTERATION, CREATION
from billing.domain.addition import Addition, Kind
from billing.domain.charge import ChargeKey, Event, ParkClass, State
from billing.domain.composition import Composition
from billing.domain.month import BillingMonth
from billing.domain.plan import Action, PlanLine
from billing.parking import charge_message
from billing.redrive import BadRequest, RedriveDeps, redrive
from billing.store.ledger import Ledger
from billing.store.objects import ObjectStore, plan_key
from ops.cli import app
from ops.desk import Tools
from ops.stack import Clients, Stack
from simulators.lab import DEMO, Lab
from simulators.memory_store import MemoryDeadLetters

MACHINE = "arn:aws:states:sa-east-1:123456789012:stateMachine:billing-ops-billing-run"
OUTPUTS = {
    "StateMachineArn": MACHINE, "DataBucketName": "dados", "LedgerTableName": "ledger", "HoldsTableName": "holds",
    "RunsTableName": "runs", "LanesTableName": "lanes", "SettingsKey": "config/settings.toml",
    "SecretsPrefix": "billing-ops", "OmieWritesDlqUrl": "dlq", "RedriveFunctionName": "billing-ops-redrive",
}  # fmt: skip
DECEMBER = BillingMonth(2026, 12)
FACTS = {"company": "acme", "amount": 12_000, "plan_hash": "h", "run": "r"}


class Functions:
    """Lambda: the real use case, its answer through JSON. `answers` come first, if any."""

    def __init__(self, lab, seconds=900):
        self.lab = lab
        self.seconds = seconds
        self.asked = []
        self.answers = []
        queues = lab.queues
        self.deps = RedriveDeps(
            settings=lab.settings, ledger=lab.ledger, lanes=lab.lanes, runs=lab.runs, objects=lab.objects,
            letters=MemoryDeadLetters(queues), queues=queues, tasks=lab.tasks, omie=lab.omie_clients(), clock=lab.clock,
        )  # fmt: skip

    def invoke(self, *, FunctionName, Payload):
        assert FunctionName == "billing-ops-redrive"
        event = json.loads(Payload)
        self.asked.append(event)
        if self.answers:
            return self.answers.pop(0)
        try:
            answer = redrive(event, self.deps, deadline=self.lab.now() + self.seconds)
        except BadRequest as error:
            return failed("BadRequest", str(error))
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def failed(kind, message):
    body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return {"FunctionError": "Unhandled", "Payload": io.BytesIO(body)}


class Machine:
    def __init__(self):
        self.started = []
        self.refused = []

    def start_execution(self, *, stateMachineArn, name, input):  # noqa: A002
        self.started.append((name, json.loads(input)))
        arn = stateMachineArn.replace(":stateMachine:", ":execution:") + f":{name}"
        return {"executionArn": arn, "startDate": datetime(2026, 12, 1, tzinfo=UTC)}

    def get_execution_history(self, *, executionArn, reverseOrder, maxResults):
        left = {"name": "OpenRun", "output": json.dumps({"anything_to_do": True, "refused": self.refused})}
        return {"events": [{"stateExitedEventDetails": left}]}


class Rig:
    def __init__(self, outputs=OUTPUTS, dynamodb=None, s3=None):
        self.lab = Lab(4, seed=4, clean=True)
        self.functions, self.machine, self.terminal = Functions(self.lab), Machine(), False
        s3 = s3 or SimpleNamespace(
            meta=SimpleNamespace(region_name="sa-east-1"),
            get_object=lambda **_: {"Body": io.BytesIO(DEMO.read_bytes())},
        )
        sts = SimpleNamespace(get_caller_identity=lambda: {"Arn": "arn:aws:iam::123456789012:user/maria"})
        clients = Clients(self.machine, dynamodb, s3, None, None, sts, self.functions)
        self.stack = Stack("billing-ops", outputs, {}, clients)

    def __call__(self, *words, stdin=""):
        tools = Tools(
            environ={"AWS_PROFILE": "faturamento"},
            clock=self.lab.clock,
            connect=lambda _: self.stack,
            at_a_terminal=lambda: self.terminal,
        )
        return CliRunner().invoke(app, list(words), obj=tools, input=stdin, prog_name="billing-ops")

    def park(self, contract="JST-1", code="not_sent", month=DECEMBER, told=ParkClass.TRANSIENT, nCodCtr=1):
        key = ChargeKey(contract, month)
        then = self.lab.clock.now() - timedelta(hours=1)
        charge = self.lab.ledger.apply(
            key, Event.PARK, now=then, who="w", why="w", reason_code=code, reason=f"O Omie disse: {code}",
            nCodCtr=nCodCtr, **FACTS,
        )  # fmt: skip
        self.lab.queues.park(charge_message(charge, told), contract, f"{key}#{code}")
        return key


@pytest.fixture
def ops():
    return Rig()


def cells(result):
    """The table's rows, cell by cell; the title has other lines."""
    rows = [line.split("│") for line in result.stdout.splitlines() if "│" in line]
    return [[cell.strip() for cell in row] for row in rows]


# ---- dlq list and show


def test_an_empty_queue_says_so(ops):
    result = ops("dlq", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Nada parado na pilha billing-ops.\n", "")
    assert ops("dlq", "list", "--class", "fiscal").stdout == "Nada parado na pilha billing-ops com esse filtro.\n"


def test_the_list_shows_class_company_contract_month_amount_and_reason(ops):
    ops.park()
    result = ops("dlq", "list")
    assert cells(result) == [
        ["letter-1", "transient", "acme", "JST-1", "2026-12", "R$ 120,00", "01/12 05:00", "O Omie disse: not_sent"]
    ]
    assert (result.stdout.splitlines()[-1], result.exit_code) == (
        "De perto: billing-ops dlq show ID      Liberar: billing-ops dlq redrive --dry-run", 0,
    )  # fmt: skip


def test_filters_are_passed_on_and_checked(ops):
    ops("dlq", "list", "--class", "data", "--class", "fiscal", "--company", "acme", "--month", "2026-12")
    assert ops.functions.asked == [
        {"action": "list", "who": "maria", "classes": ["data", "fiscal"], "companies": ["acme"], "month": "2026-12"}
    ]
    assert ops("dlq", "list", "--company", "x").stderr == (
        "Empresa desconhecida: x. As da configuração são: acme, nimbus.\n"
    )
    result = ops("dlq", "list", "--class", "x")
    assert (result.exit_code, result.stderr.splitlines()) == (
        2,
        [
            (
                "Valor inválido em --class: x. Use um destes: transient, data, fiscal, in_doubt, missed_month, unknown. "
                "Veja billing-ops dlq list --help."
            )
        ],
    )
    assert ops("dlq", "list", "--month", "dezembro").exit_code == 2


def test_a_letter_is_shown_with_the_only_safe_action(ops):
    ops.park("JST-7", "omie_rejected")
    result = ops("dlq", "show", "letter-1")
    assert result.stdout.splitlines() == [
        "JST-7, 2026-12, acme: parado desde 01/12 05:00",
        "  Classe: data (cadastro)",
        "  Valor: R$ 120,00",
        "  Motivo: O Omie disse: omie_rejected",
        (
            "  O que fazer: Corrija o cadastro no Jestor ou no Omie e libere o contrato (billing-ops dlq redrive); ele volta a "
            "ser conferido antes do envio."
        ),
        "  A história: billing-ops explain --contract JST-7 --month 2026-12",
    ]
    assert ops("dlq", "show", "jst-7").stdout == result.stdout
    assert json.loads(ops("dlq", "show", "letter-1", "--json").stdout)["items"][0]["contract"] == "JST-7"


def test_what_is_not_there_or_not_clear_is_one_line(ops):
    ops.park("JST-7")
    ops.park("JST-8")
    assert ops("dlq", "show", "nada").stderr == "Não há nada parado com nada. Veja a fila com: billing-ops dlq list\n"
    result = ops("dlq", "show", "letter")
    assert (result.exit_code, result.stderr) == (2, "Há 2 que começam com letter. Escreva mais letras do id.\n")
    assert ops("dlq", "show", "JST-x").exit_code == 2


def test_batches_and_unreadable_bodies_are_listed_without_what_is_in_them(ops):
    batch = {"company": "acme", "month": "2026-12", "run": "r", "plan_hash": "h"}
    batch["lines"] = [{"contract": "JST-1", "amount": 5_00, "name": "Fulano"}]
    dead = ops.lab.queues.sent.setdefault("dlq", [])
    dead += [("acme", {"token": "segredo", "batch": batch}), ("acme2", "lixo Fulano")]
    result = ops("dlq", "list")
    assert [row[3] for row in cells(result)] == ["lote de 1", "ilegível"]
    shown = [ops("dlq", "show", row[0]).stdout for row in cells(result)]
    assert "  Contratos: JST-1" in shown[0]
    assert "nunca é reenviada" in shown[1]
    assert not any(word in text for text in [result.stdout, *shown] for word in ("Fulano", "segredo"))


# ---- dlq discard


def test_a_letter_nobody_can_read_is_shown_and_discarded_when_said_so(ops):
    ops.lab.queues.sent.setdefault("dlq", []).append(("acme", "lixo"))
    ops.terminal = True
    assert ops("dlq", "discard", "letter-1", stdin="n\n").stderr.endswith("Cancelado; nada foi mudado.\n")
    result = ops("dlq", "discard", "letter-1", stdin="s\n")
    assert "ilegível, sem mês, acme: parado desde" in result.stdout
    assert result.stdout.rstrip().endswith("1 descartado.")
    assert ops("dlq", "list").stdout == "Nada parado na pilha billing-ops.\n"


def test_without_a_terminal_nothing_is_discarded_unless_yes_is_said(ops):
    ops.lab.queues.sent.setdefault("dlq", []).append(("acme", "lixo"))
    assert ops("dlq", "discard", "letter-1").exit_code == 2
    assert "seria descartado" in ops("dlq", "discard", "letter-1", "--dry-run").stdout
    answer = json.loads(ops("dlq", "discard", "letter-1", "--yes", "--json").stdout)
    assert answer["counts"] == {"discarded": 1}


def test_what_can_still_be_done_is_not_discarded(ops):
    ops.park("JST-7")
    assert ops("dlq", "discard", "letter-1", "--yes").stderr == (
        "JST-7 não pode ser descartado. O mês ainda não terminou: corrija o que ela diz e libere com "
        "billing-ops dlq redrive.\n"
    )
    assert ops("dlq", "discard", "nada", "--yes").stderr == (
        "Não há na fila nada que comece com nada. Veja-a com: billing-ops dlq list\n"
    )


# ---- dlq redrive


def test_without_a_terminal_nothing_is_done_unless_yes_is_said(ops):
    key = ops.park()
    result = ops("dlq", "redrive")
    assert (result.exit_code, result.stderr) == (
        2,
        "Sem um terminal não há como perguntar: repita com --yes, ou com --dry-run para só ver.\n",
    )
    assert ops.lab.ledger.get(key).state is State.PARKED


def test_a_dry_run_says_what_would_be_done_and_does_nothing(ops):
    key = ops.park()
    result = ops("dlq", "redrive", "--dry-run")
    assert cells(result) == [
        [
            "JST-1",
            "acme",
            "2026-12",
            "transient",
            "seria liberado",
            "Volta a ser planejado e conferido na próxima execução.",
        ]
    ]
    assert result.stdout.splitlines()[-1] == "Simulação, nada foi mudado: 1 liberado."
    assert (ops.lab.ledger.get(key).state, ops.machine.started) == (State.PARKED, [])


def test_redrive_releases_and_starts_the_run_that_checks_and_bills(ops):
    key = ops.park()
    result = ops("dlq", "redrive", "--yes")
    assert ops.lab.ledger.get(key).state is State.READY
    assert ops.machine.started == [
        (
            "2026-12-operador-20261201T090000",
            {"month": "2026-12", "companies": ["acme"], "trigger": "operator", "preview": False, "who": "maria"},
        )
    ]
    assert result.stdout.splitlines()[-3:] == [
        "1 liberado.",
        "Execução 2026-12-operador-20261201T090000 iniciada para acme: replaneja, confere e fatura.",
        "Acompanhe com: billing-ops follow 2026-12-operador-20261201T090000",
    ]
    assert (result.exit_code, result.stderr) == (0, "")


def test_repeating_it_finds_nothing_and_starts_nothing(ops):
    ops.park()
    ops("dlq", "redrive", "--yes")
    result = ops("dlq", "redrive", "--yes")
    assert (result.stdout, len(ops.machine.started)) == ("Nada a fazer.\n", 1)


def test_a_run_that_was_refused_is_not_said_to_be_begun(ops):
    ops.park()
    ops.machine.refused = [{"company": "acme", "why": "Já há uma execução em andamento para 2026-12: x."}]
    result = ops("dlq", "redrive", "--yes")
    assert "iniciada" not in result.stdout
    assert (result.exit_code, result.stderr) == (
        1,
        (
            "O que foi liberado ainda não é faturado, porque a execução foi recusada. acme: Já há uma execução em "
            "andamento para 2026-12: x. Se a que está em andamento não o levar, repita depois: "
            "billing-ops run --company acme\n"
        ),
    )
    ops.park("JST-2")
    told = ops("dlq", "redrive", "--yes", "--json")
    assert (told.exit_code, json.loads(told.stdout)["run_refused"]) == (
        1, "acme: Já há uma execução em andamento para 2026-12: x.",
    )  # fmt: skip


def test_no_run_says_which_run_is_missing(ops):
    ops.park()
    result = ops("dlq", "redrive", "--yes", "--no-run")
    assert result.stdout.splitlines()[-1] == (
        "Falta a execução que replaneja, confere e fatura: billing-ops run --company acme"
    )
    assert ops.machine.started == []


@pytest.mark.parametrize(("typed", "state"), [("s\n", State.READY), ("n\n", State.PARKED)])
def test_at_a_terminal_it_shows_first_and_asks(ops, typed, state):
    ops.terminal = True
    key = ops.park()
    result = ops("dlq", "redrive", stdin=typed)
    assert "Fazer isso, e faturar o que for liberado, na pilha billing-ops (sa-east-1)? [s/N]" in result.stderr
    assert "Simulação, nada foi mudado: 1 liberado." in result.stdout
    assert ops.lab.ledger.get(key).state is state
    assert result.exit_code == (0 if typed == "s\n" else 1)


def test_at_a_terminal_nobody_is_asked_when_there_is_nothing_to_do(ops):
    ops.terminal = True
    ops.park(code="missed_month", month=BillingMonth(2026, 11))
    result = ops("dlq", "redrive")
    assert (result.exit_code, "Fazer isso" in result.stderr) == (0, False)
    assert "1 continua." in result.stdout


def test_last_months_letter_says_why_it_stays(ops):
    ops.park(month=BillingMonth(2026, 11))
    result = ops("dlq", "redrive", "--yes")
    assert cells(result)[0][4:] == [
        "continua",
        "O mês terminou: sem OS dele no Omie, cobre por OS avulsa. Nunca pelo contrato, que cobraria o mês atual.",
    ]
    assert ops.machine.started == []


def test_more_than_one_answer_is_asked_for_and_told_as_one(ops):
    for number in range(1, 9):
        ops.park(f"JST-{number}")
    ops.functions.seconds = 60.1  # time for two or three
    result = ops("dlq", "redrive", "--yes", "--json")
    told = json.loads(result.stdout)
    assert len(ops.functions.asked) > 2
    assert (told["counts"], told["more"], told["execution"]) == (
        {"released": 8}, False, "2026-12-operador-20261201T090000",
    )  # fmt: skip
    assert len(told["items"]) == 8


def test_a_refused_company_is_a_note(ops):
    ops.park("JST-1", "in_doubt")
    ops.lab.lanes.block("acme", ops.lab.now() + 1800, "Erros demais.")
    result = ops("dlq", "redrive", "--yes")
    assert result.stderr == "acme: O Omie não pode ser consultado até 06:30 de 01/12: Erros demais.\n"


@pytest.mark.parametrize(
    ("answer", "code", "line"),
    [
        (failed("BadRequest", "Classe desconhecida: x."), 2, "Classe desconhecida: x."),
        (
            failed("Sandbox.Timedout", "Task timed out after 900.00 seconds"),
            1,
            "A função redrive passou do tempo. Repita: o que já foi feito não se repete.",
        ),
        (
            failed("SecretError", "secret billing-ops/omie/acme does not exist"),
            1,
            (
                "A função redrive falhou (SecretError): secret billing-ops/omie/acme does not exist "
                "Nada se perdeu; o que estava na fila reaparece em 15 minutos."
            ),
        ),
    ],
)
def test_a_function_that_fails_is_one_line(ops, answer, code, line):
    ops.functions.answers = [answer]
    result = ops("dlq", "redrive", "--yes")
    assert (result.exit_code, result.stderr, result.stdout) == (code, line + "\n", "")


def test_a_stack_without_the_function_says_how_to_get_it():
    outputs = {name: value for name, value in OUTPUTS.items() if name != "RedriveFunctionName"}
    assert Rig(outputs)("dlq", "list").stderr == (
        "A pilha billing-ops ainda não tem a função redrive. Publique-a de novo (make deploy).\n"
    )


# ---- resolve


def test_nothing_in_doubt_says_so(ops):
    assert ops("resolve").stdout == "Nada em dúvida em 2026-12.\n"


def test_resolve_reads_omie_and_says_what_is_left_to_do(ops):
    contract = next(c for c in ops.lab.world.contracts if c.omie_contrato and c.omie_company == "acme")
    cabecalho = contract.omie_contrato["cabecalho"]
    key = ChargeKey(cabecalho["cCodIntCtr"], DECEMBER)
    then = ops.lab.clock.now() - timedelta(hours=1)
    ops.lab.ledger.claim(key, attempt="a", now=then, who="w", nCodCtr=cabecalho["nCodCtr"], **FACTS)
    dry = ops("resolve", "--month", "2026-12", "--company", "acme", "--dry-run")
    assert (dry.stdout.splitlines()[-1], ops.lab.ledger.get(key).state) == (
        "Simulação, nada foi mudado: 1 liberado.", State.SENDING,
    )  # fmt: skip
    result = ops("resolve", "--month", "2026-12", "--company", "acme")
    assert ops.lab.ledger.get(key).state is State.READY
    assert result.stdout.splitlines()[-1] == (
        "Falta a execução que replaneja, confere e fatura: billing-ops run --company acme"
    )
    assert ops.machine.started == []  # it never bills
    assert json.loads(ops("resolve", "--json").stdout)["items"] == []


def test_a_wrong_adoption_is_put_right_with_the_name_and_the_reason_of_who_saw_it(ops):
    contract = next(c for c in ops.lab.world.contracts if c.omie_contrato and c.omie_company == "acme")
    cabecalho = contract.omie_contrato["cabecalho"]
    key = ChargeKey(cabecalho["cCodIntCtr"], DECEMBER)
    code = key.contract
    unknown = ops("not-billed", "--contract", code, "--month", "2026-12", "--why", "sem OS", "--yes")
    assert (unknown.exit_code, unknown.stderr) == (
        1, f"{code} continua como está. Não está registrado como faturado neste mês: não há o que desfazer.\n",
    )  # fmt: skip
    ops.lab.ledger.apply(
        key, Event.ADOPT, now=ops.lab.clock.now(), who="w", why="w", company="acme", amount=5,
        nCodCtr=cabecalho["nCodCtr"],
    )  # fmt: skip
    words = ("not-billed", "--contract", code, "--month", "2026-12", "--why", "no Omie não há OS \udce3")
    dry = ops(*words, "--dry-run")
    assert dry.stdout.splitlines()[-1] == "Simulação, nada foi mudado: 1 parado."
    assert ops.lab.ledger.get(key).state is State.BILLED
    assert ops(*words, "--yes").exit_code == 0
    charge = ops.lab.ledger.get(key)
    assert (charge.state, charge.reason_code) == (State.PARKED, "in_doubt")
    assert "afirma que não foi faturado: no Omie não há OS" in charge.reason


def test_a_month_to_come_is_refused(ops):
    result = ops("resolve", "--month", "2027-01")
    assert (result.exit_code, result.stderr) == (
        2, "A competência 2027-01 ainda não começou: não há dúvida a resolver.\n",
    )  # fmt: skip


# ---- explain


@pytest.fixture(scope="module")
def clients():
    """Made once, because clients are slow to make; whoever uses them is inside mock_aws."""
    session = boto3.Session("testing", "testing", region_name="sa-east-1")
    return session.client("dynamodb"), session.client("s3")


@pytest.fixture
def books(clients):
    dynamodb, s3 = clients
    with mock_aws():
        s3.create_bucket(Bucket="dados", CreateBucketConfiguration={"LocationConstraint": "sa-east-1"})
        for table, key in (("ledger", "charge"), ("holds", "contract")):
            dynamodb.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            )
        yield Rig(dynamodb=dynamodb, s3=s3), Ledger(dynamodb, "ledger", "holds")


RUN = "arn:aws:states:sa-east-1:123456789012:execution:billing-ops-billing-run:2026-12-operador-x"


def test_the_story_of_a_charge_is_told_in_order_with_who_and_why(books):
    ops, ledger = books
    key, create = ChargeKey("JST-12", DECEMBER), ChargeKey("JST-12", DECEMBER, CREATION)
    at = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    worker, settle = f"bill_batch {RUN}", f"settle_company {RUN}"
    ledger.claim(create, attempt="c", now=at, who=worker, nCodCtr=None, **FACTS)
    ledger.apply(
        create,
        Event.DONE,
        now=at + timedelta(seconds=1),
        who=worker,
        why="contrato criado no Omie",
        attempt="c",
        nCodCtr=700,
    )
    ledger.claim(key, attempt="a", now=at + timedelta(seconds=2), who=worker, nCodCtr=700, **FACTS)
    ledger.apply(key, Event.IN_DOUBT, now=at + timedelta(minutes=11), who=settle, why="não voltou", attempt="a")
    ledger.apply(
        key, Event.PARK, now=at + timedelta(minutes=11), who=settle, why="não se sabe", attempt="a",
        reason_code="in_doubt", reason="Não se sabe.",
    )  # fmt: skip
    ledger.apply(
        key, Event.ADOPT, now=at + timedelta(hours=3), who="redrive ana", why="o Omie mostra", attempt="a", nCodOS=55
    )
    result = ops("explain", "--contract", "jst-12", "--month", "2026-12")
    assert result.stdout.splitlines() == [
        "JST-12 em 2026-12 (acme): FATURADO. R$ 120,00, OS 55, contrato 700 no Omie.",
        "  O que fazer: nada.",
        "",
        "  01/12/2026 06:00:00  criação do contrato no Omie: reservada [faturamento, execução 2026-12-operador-x]",
        "  01/12/2026 06:00:01  contrato criado no Omie [faturamento, execução 2026-12-operador-x]",
        "  01/12/2026 06:00:02  reservado para o envio [faturamento, execução 2026-12-operador-x]",
        "  01/12/2026 06:11:00  ficou em dúvida: não voltou [conferência, execução 2026-12-operador-x]",
        (
            "  01/12/2026 06:11:00  parado, à espera de uma pessoa: não se sabe "
            "[conferência, execução 2026-12-operador-x]"
        ),
        "  01/12/2026 09:00:00  encontrado no Omie já faturado, e registrado: o Omie mostra [ana, por billing-ops]",
    ]
    told = json.loads(ops("explain", "--contract", "JST-12", "--json").stdout)
    assert [charge["kind"] for charge in told["charges"]] == ["mensalidade", "cadastro"]
    assert told["charges"][0]["history"][0]["event"] == "CLAIM"


@pytest.mark.parametrize(
    ("event", "state", "to_do"),
    [
        (None, "ENVIANDO", ("não fature à mão. O sistema lê o Omie no fim da execução e decide; "
         "para adiantar: billing-ops resolve --month 2026-12 --company acme")),
        (Event.IN_DOUBT, "EM DÚVIDA", ("não fature à mão. O sistema lê o Omie no fim da execução e decide; "
         "para adiantar: billing-ops resolve --month 2026-12 --company acme")),
        (Event.GIVE_UP, "A ENVIAR", "entra na próxima execução: billing-ops run --company acme"),
        (Event.REJECT, "PARADO", "Leia o texto do Omie e decida com quem cuida do faturamento. Não reenvie."),
    ],
)  # fmt: skip
def test_each_state_says_what_to_do(books, event, state, to_do):
    ops, ledger = books
    key = ChargeKey("JST-12", DECEMBER)
    at = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    ledger.claim(key, attempt="a", now=at, who="w", nCodCtr=700, **FACTS)
    if event:
        ledger.apply(key, event, now=at, who="w", why="x", attempt="a")
    lines = ops("explain", "--contract", "JST-12").stdout.splitlines()
    assert lines[0].startswith(f"JST-12 em 2026-12 (acme): {state}. R$ 120,00")
    assert lines[1] == f"  O que fazer: {to_do}"


def test_what_a_charge_carries_is_told_with_where_the_arithmetic_is(books):
    ops, ledger = books
    key, putting = ChargeKey("JST-12", DECEMBER), ChargeKey("JST-12", DECEMBER, ALTERATION)
    at = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    fee = {"key": "encargos#7#2026-12", "title": 7, "through": "2026-11-30", "fine": 200, "interest": 50, "amount": 250}
    share = {"key": "proporcional#1", "title": None, "through": None, "fine": 0, "interest": 0, "amount": 900}
    ledger.claim(putting, attempt="p", now=at, who="bill_batch x", nCodCtr=700, **FACTS)
    ledger.apply(putting, Event.GIVE_UP, now=at, who="bill_batch x", why="o Omie respondeu", attempt="p")
    ledger.claim(key, attempt="a", now=at, who="bill_batch x", nCodCtr=700, additions=[fee, share], **FACTS)
    lines = ops("explain", "--contract", "JST-12").stdout.splitlines()
    assert lines[2:5] == [
        "  Acréscimo: R$ 2,50 (encargos do título 7 até 30/11/2026: multa R$ 2,00 + juros R$ 0,50)",
        "  Acréscimo: R$ 9,00",
        "  O cálculo de cada um: billing-ops report --month 2026-12 --open",
    ]
    assert any("alteração do contrato no Omie: reservada" in line for line in lines)
    told = json.loads(ops("explain", "--contract", "JST-12", "--json").stdout)
    assert told["charges"][0]["additions"] == [fee | {"proof": None}, share | {"proof": None}]
    ledger.apply(key, Event.IN_DOUBT, now=at, who="w", why="x", attempt="a")
    ledger.apply(key, Event.ADOPT, now=at, who="w", why="x", additions=[fee | {"doubtful": True}])
    lines = ops("explain", "--contract", "JST-12").stdout.splitlines()
    assert lines[2].endswith("juros R$ 0,50). Não se sabe se foi cobrado: confira a OS no Omie.")


def test_the_arithmetic_is_that_of_the_plan_by_which_it_was_charged(books):
    ops, ledger = books
    late = Addition(
        "encargos#7#2026-12", Kind.LATE, 250, "Encargos", "Título de R$ 100,00.\nA cobrar: R$ 2,50.",
        title=7, through="2026-11-30", fine=200, interest=50,
    )  # fmt: skip
    stale = replace(late, through="2026-11-29", proof="A conta de ontem.")
    plans = ObjectStore(ops.stack.clients.s3, "dados")
    for generation, company, contract, addition in (
        (1, "acme", "JST-12", late),
        (2, "acme", "JST-12", stale),
        ("preview-x", "acme", "JST-12", replace(late, proof="Só uma prévia.")),
        (3, "nimbus", "JST-12", replace(late, proof="De outra empresa.")),
        (4, "acme", "JST-121", replace(late, proof="De outro contrato.")),
    ):
        line = PlanLine(
            contract, 12, "Cliente", company, "2026-12", "mensalidade", Action.BILL, "", "", 12_000, None, None, None,
            "", 700, additions=(addition.to_dict(),),
        )  # fmt: skip
        plans.put_text(plan_key(DECEMBER, generation, company, "a1b2"), line.to_json() + "\n")
    at = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    key = ChargeKey("JST-12", DECEMBER)
    ledger.claim(key, attempt="a", now=at, who="bill_batch x", nCodCtr=700, additions=[late.charged()], **FACTS)
    lines = ops("explain", "--contract", "JST-12").stdout.splitlines()
    assert lines[2:6] == [
        "  Acréscimo: R$ 2,50 (encargos do título 7 até 30/11/2026: multa R$ 2,00 + juros R$ 0,50)",
        "    Título de R$ 100,00.",
        "    A cobrar: R$ 2,50.",
        "",
    ]
    told = json.loads(ops("explain", "--contract", "JST-12", "--json").stdout)
    assert told["charges"][0]["additions"] == [late.charged() | {"proof": late.proof}]


def test_a_held_contract_and_one_never_sent_say_so(books):
    ops, ledger = books
    ledger.put_hold("JST-12", "Cancelado no Jestor.", datetime(2026, 12, 1, tzinfo=UTC))
    assert ops("explain", "--contract", "JST-12").stdout.splitlines() == [
        "JST-12 em 2026-12: nada foi enviado nem registrado, e nenhum plano do mês o conhece.",
        "  Há um cancelamento sobre JST-12: nenhuma cobrança dele pode ser enviada. Cancelado no Jestor.",
    ]
    assert ops("explain", "--contract", "12").exit_code == 2


def plan_of(ops, *lines, generation=1, company="acme", planning="a1"):
    text = "".join(f"{line.to_json()}\n" for line in lines)
    ObjectStore(ops.stack.clients.s3, "dados").put_text(plan_key(DECEMBER, generation, company, planning), text)


def planned(action, code="", reason="", contract="JST-142", **more):
    return PlanLine(
        contract, 142, "Cliente", "acme", "2026-12", "mensalidade", action, code, reason, 539_500, None, None, None, "",
        None, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (planned(Action.PARK, "bad_row", "Corrija no Jestor: CNPJ."),
         ["JST-142 em 2026-12 (acme): PARADO PELO PLANO. R$ 5.395,00. Corrija no Jestor: CNPJ.",
          "  O que fazer: Corrija os campos do contrato. Depois: billing-ops run."]),
        (planned(Action.PARK, "bad_row", "Corrija.", amount_unknown=True),
         ["JST-142 em 2026-12 (acme): PARADO PELO PLANO. valor desconhecido. Corrija.",
          "  O que fazer: Corrija os campos do contrato. Depois: billing-ops run."]),
        (planned(Action.SKIP, "suspended", 'Suspenso no Jestor (status "Pausa").'),
         ['JST-142 em 2026-12 (acme): PULADO PELO PLANO. R$ 5.395,00. Suspenso no Jestor (status "Pausa").',
          "  O que fazer: nada."]),
        (planned(Action.BILL),
         ["JST-142 em 2026-12 (acme): A ENVIAR. R$ 5.395,00.",
          "  O que fazer: entra na próxima execução: billing-ops run --company acme"]),
    ],
)  # fmt: skip
def test_what_the_plan_parked_or_skipped_is_explained_by_the_plan(books, line, said):
    ops, _ = books
    plan_of(ops, planned(Action.BILL, contract="JST-1421"), line)
    result = ops("explain", "--contract", "JST-142")
    assert (result.exit_code, result.stdout.splitlines()) == (0, said)
    told = json.loads(ops("explain", "--contract", "JST-142", "--json").stdout)["plan"]
    assert (told["action"], told["amount"]) == (line.action, None if line.amount_unknown else 539_500)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_contract_that_nothing_knows_is_an_error_that_says_what_to_do(books, options):
    ops, _ = books
    result = ops("explain", "--contract", "JST-99999", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("JST-99999 em 2026-12: nada foi faturado nem planejado neste mês.")
    plan_of(ops, planned(Action.BILL))
    result = ops("explain", "--contract", "JST-99999", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "JST-99999 não existe em 2026-12: nenhum plano deste mês o conhece, e nada foi cobrado dele. Confira o número no "
        "Jestor e o mês; se o contrato é novo, faça outra prévia: billing-ops run --month 2026-12 --preview\n"
    )


def test_a_charge_says_what_it_is_made_of_and_why(books):
    ops, ledger = books
    made = Composition(
        own=11_000, quantity=2, unit_amount=6_000, discount=1_000, foreign_total=1_000, previous_amount=9_000,
        previous_month="2026-11", cause="Upsell: R$ 90,00 → R$ 120,00",
    )  # fmt: skip
    at = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    key = ChargeKey("JST-12", DECEMBER)
    ledger.claim(key, attempt="a", now=at, who="bill_batch x", nCodCtr=700, composition=made, **FACTS)
    assert ops("explain", "--contract", "JST-12").stdout.splitlines()[2:5] == [
        "  Composição: 2 × R$ 60,00 − desconto de R$ 10,00 = R$ 110,00; itens adicionados no Omie: R$ 10,00",
        "  Cobrança anterior (2026-11): R$ 90,00",
        "  Causa: Upsell: R$ 90,00 → R$ 120,00",
    ]
    told = json.loads(ops("explain", "--contract", "JST-12", "--json").stdout)
    assert told["charges"][0]["composition"]["quantity"] == 2


def test_a_charge_whose_order_was_cancelled_in_omie_says_so(books):
    ops, ledger = books
    at = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    key = ChargeKey("JST-12", DECEMBER)
    ledger.claim(key, attempt="a", now=at, who="bill_batch x", nCodCtr=700, **FACTS)
    ledger.apply(key, Event.DONE, now=at, who="bill_batch x", why="", attempt="a", nCodOS=5000)
    reports = ObjectStore(ops.stack.clients.s3, "dados")
    gone = {"company": "acme", "contract": "JST-12", "customer": "", "amount": {"centavos": 1}, "nCodOS": 5000}
    reports.put_json("reports/2026-12/2-fim.json", {"cancelled_orders": [gone]})
    reports.put_json("reports/2026-12/previa-depois.json", {"cancelled_orders": []})

    lines = ops("explain", "--contract", "JST-12").stdout.splitlines()

    assert lines[1:3] == [
        "  A OS 5000 foi cancelada no Omie: o cliente não está sendo cobrado (visto pela última execução do mês).",
        "  O que fazer: confira se o cancelamento está certo; o sistema não fatura de novo por conta própria.",
    ]
    assert json.loads(ops("explain", "--contract", "JST-12", "--json").stdout)["cancelled_order"] == 5000
    reports.put_json("reports/2026-12/2-fim.json", {"cancelled_orders": []})
    assert ops("explain", "--contract", "JST-12").stdout.splitlines()[1] == "  O que fazer: nada."
