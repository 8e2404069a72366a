"""`billing-ops probe` against simulators whose switches it does not know: no wrong answer, nothing left behind."""

import json
from dataclasses import fields
from datetime import date, datetime
from itertools import count
from pathlib import Path
from random import Random

import httpx
import pytest

from billing.domain.month import SAO_PAULO
from billing.omie.client import Credentials
from billing.omie.governor import ReadGate
from ops.findings import Examiner, Level
from ops.probe.caller import MOST_CALLS, MOST_ERRORS, MOST_SECONDS, Caller
from ops.probe.facts import examine_facts, read_facts, write_facts
from ops.probe.questions import QUESTIONS
from ops.probe.report import contradictions, report
from ops.probe.run import probe
from ops.probe.things import Maker
from simulators.clock import VirtualClock
from simulators.lab import demo_settings
from simulators.omie import answers, billing, contracts
from simulators.omie.__main__ import _switches
from simulators.omie.__main__ import main as simulator
from simulators.omie.core import OmieCore, apps_of
from simulators.omie.faults import read_faults
from simulators.omie.state import Handler
from simulators.omie.switches import Switches, read_switches
from simulators.omie.transport import transport
from simulators.world import OMIE_KEYS, make_world

START = datetime(2026, 12, 8, 9, 17, 3, 400_000, tzinfo=SAO_PAULO)
WORLD = make_world(14, 7, START.date(), clean=True)
COMPANY = demo_settings().companies["acme"].model_copy(update={"test_account": True})


def some(number, first=2):
    """So many seeds; `make check` takes the first ones."""
    return [*range(first), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(first, number))]


def hidden(seed):
    """A set of switches that the probe is not told."""
    draw = Random(f"hidden-{seed}")
    lag = draw.choice([0.0, 45.0, 120.0, 400.0])
    return {
        "redundant_on": draw.choice([0, 2, 3]),
        "same_id_lookup": draw.choice(["off", "consultar", "consultar+status"]),
        "in_flight": draw.choice([2, 4, 8]),
        "largest_page": draw.choice([100, 500]),
        "missing_slash": draw.choice(["redirect", "accept"]),
        "null_values": draw.choice(["refuse", "accept"]),
        "items_on_alter": draw.choice(["merge", "replace"]),
        "expenses_on_alter": draw.choice(["merge", "replace"]),
        "once_only_after_billing": draw.choice(["removed", "kept"]),
        "empty_on_alter": draw.choice(["keep", "clear"]),
        "nome_fantasia": draw.choice(["required", "optional"]),
        "second_billing": draw.choice(["accept", "refuse"]),
        "bill_outside_stage_20": draw.choice(["accept", "refuse"]),
        "repeat_status_change": draw.choice(["refuse", "accept"]),
        "duplicate_integration_code": draw.choice(["refuse", "accept"]),
        "list_os_cNumContrato": draw.choice(["present", "absent"]),
        "os_nCodCtr": draw.choice(["present", "absent"]),
        "lot_details": draw.choice(["list", "object"]),
        "nfse_seconds": draw.uniform(5, 90),
        "boleto": draw.choice(["automatic", "on_request"]),
        "boleto_seconds": draw.uniform(2, 60),
        "receipt_value": draw.choice(["gross", "net"]),
        "read_lag": draw.choice([0.0, 8.0, 30.0, 75.0]),
        "list_lag": lag,
        "list_lag_least": draw.choice([0.0, lag / 3]),
        "lists_lag": draw.choice(["alike", "apart"]),
        "clock_offset": draw.choice([0.0, -37.5, 210.0, 890.0]),
        "after_cancel": draw.choice(["20", "30"]),
        "parallel_writes": draw.choice(["record", "refuse"]),
        "server_faults_count": draw.choice([True, False]),
    }


FACTS = {
    "item_keys_kept": "sim",
    "expense_text_kept": "sim",
    "links_change": "sim",
    "barcode_digits": 44,
    "billing_moves_alteration_date": "não",
}


class Account:
    """A test account with cancelled contracts of earlier days, on a clock that moves only with calls and waits."""

    def __init__(self, switches=(), *, seed=0, faults="", latency_ms=300.0):
        self.clock = VirtualClock(START)
        before = START.timestamp() - 86400 * 30
        apps = apps_of(WORLD, now=before)
        self.app = next(app for app in apps if app.company == "acme")
        model = self.app.contract_list[0].cadastro()
        for contract in list(self.app.contract_list):
            contracts.set_situation(self.app, contract, "99", before)
        for number in range(130 - len(self.app.contract_list)):
            new = json.loads(json.dumps(model))
            new["cabecalho"] |= {"nCodCtr": self.app.new_id(), "cCodIntCtr": f"antigo-{number}", "cCodSit": "99"}
            contracts.load(self.app, new, before)
        self.core = OmieCore(apps, faults=read_faults(faults), seed=seed, latency_ms=latency_ms)
        self.core.switches.update(dict(switches))
        self.customer = self.app.customer_list[0]
        self.before = set(self.app.contracts), set(self.app.customers)
        self.calls = 0

    def caller(self, answer=None):
        now = lambda: self.clock.now().timestamp()  # noqa: E731
        http = httpx.Client(transport=answer or transport(self.core, now, self.clock.advance), timeout=30)

        def make(kind, meter):
            return kind(
                Credentials(*OMIE_KEYS["acme"]),
                base_url="https://omie.test/api/v1",
                http=meter,
                clock=self.clock,
                gate=ReadGate(self.clock, 200),
                read_attempts=1,
            )

        return Caller(make, http, self.clock)

    def probe(self, answer=None):
        caller = self.caller(answer)
        maker = Maker(COMPANY, self.customer, self.clock.now())
        return probe(caller, maker, say=lambda _: None)

    def alive(self):
        """What a probe left behind: contracts, orders, titles, customers."""
        orders = [o for o in self.app.orders.values() if not o.cancelled]
        titles = [t for t in self.app.titles.values() if not t.cancelled]
        ours = [c for c in self.app.contracts.values() if c.nCodCtr not in self.before[0] and c.cCodSit != "99"]
        return orders, titles, ours, set(self.app.customers) - self.before[1]


def wrong(name, value, truth):
    """Whether a told value is not what the simulator plays; a measure may lie within what chance allows."""
    if name == "read_lag":
        return not truth / 2 <= value <= truth * 1.25 + 5
    if name == "list_lag":
        return not truth / 2 <= value <= truth * 1.15 + 35
    if name == "list_lag_least":
        return not (truth - 35 <= value <= truth + 120)
    if name == "nfse_seconds":
        return not (truth * 0.6 - 10 <= value <= truth * 1.4 + 15)
    if name == "boleto_seconds":
        return abs(value - truth) > 10
    if name == "clock_offset":
        return abs(value - truth) > 1
    return value != truth


@pytest.mark.parametrize("seed", some(16))
def test_a_probe_answers_what_the_simulator_plays(seed):
    switches = hidden(seed)
    account = Account(switches, seed=seed)
    result = account.probe()
    truth = switches | FACTS
    told = {name: answer.value for name, answer in result.answers.items() if answer.told}
    errors = {name: (value, truth[name]) for name, value in told.items() if wrong(name, value, truth[name])}
    untold = {name: answer.why for name, answer in result.answers.items() if not answer.told}
    assert errors == {}
    assert len(untold) <= len(QUESTIONS) // 10, untold
    assert result.stopped == ""
    assert_within_the_budgets(account, result)
    assert account.alive() == ([], [], [], set())


@pytest.mark.parametrize("seed", some(4, 1))
def test_an_account_without_any_contract_is_told_as_well(seed):
    switches = hidden(seed) | {"read_lag": 30.0}
    account = Account(switches, seed=seed)
    account.app.contracts.clear()
    account.app.contract_list.clear()
    account.app.contract_codes.clear()
    account.before = set(), account.before[1]
    result = account.probe()
    truth = switches | FACTS
    told = {name: answer.value for name, answer in result.answers.items() if answer.told}
    assert {name: (value, truth[name]) for name, value in told.items() if wrong(name, value, truth[name])} == {}
    assert "a conta tem só" in result.answers["largest_page"].why
    assert len(told) >= len(QUESTIONS) - len(QUESTIONS) // 10 - 1
    assert_within_the_budgets(account, result)
    assert account.alive() == ([], [], [], set())


def assert_within_the_budgets(account, result):
    assert result.measured.calls.total() <= MOST_CALLS
    assert result.seconds <= MOST_SECONDS
    assert not account.core.book.blocks
    broken = {(each["limit"], each["method"]) for each in account.core.book.breaches}
    assert broken <= {("redundant", "ListarCategorias"), ("same_id", "ConsultarContrato"), ("same_id", "StatusOS")}
    assert max(result.measured.errors.values(), default=0) <= MOST_ERRORS


def nothing_hidden(account, result):
    """What is left is named; a contract whose order nobody could see is called doubtful."""
    orders, titles, ours, customers = account.alive()
    named = {one.number or one.code for one in result.made if not one.gone}
    hidden = {order.nCodOS for order in orders if order.nCodOS not in named}
    assert len(hidden) == 0 or result.doubtful
    assert {one.nCodCtr for one in ours} <= named
    assert {title.nCodTitulo for title in titles if title.code and title.code not in named} <= named
    assert {
        number for number in customers if account.app.customer(number)["codigo_cliente_integracao"] not in named
    } <= named


# ---- an Omie that errs


@pytest.mark.parametrize("seed", some(6, 1))
@pytest.mark.parametrize(
    "faults",
    [
        "lost_reply:share=0.03;lost_request:share=0.01",
        "unknown_wording:share=0.05",
        "server_error:share=0.03;html:share=0.01;broken_response:share=0.02",
        "rough",
    ],
)
def test_errors_make_no_answer_wrong_and_hide_nothing(faults, seed):
    switches = hidden(seed)
    account = Account(switches, seed=seed, faults=faults, latency_ms=1000)
    result = account.probe()
    truth = switches | FACTS
    told = {name: answer.value for name, answer in result.answers.items() if answer.told}
    assert {name: (value, truth[name]) for name, value in told.items() if wrong(name, value, truth[name])} == {}
    assert_within_the_budgets(account, result)
    nothing_hidden(account, result)


def silent_from(account, first, last=10**6):
    """The account's transport, which gets no answer from the nth call on; requests do not arrive."""
    through, calls = transport(account.core, lambda: account.clock.now().timestamp(), account.clock.advance), count(1)

    def answer(request):
        if first <= next(calls) <= last:
            account.clock.advance(30)
            raise httpx.ReadTimeout("no answer", request=request)
        return through.handle_request(request)

    return httpx.MockTransport(answer)


def test_an_omie_that_answers_nothing_is_left_alone():
    account = Account()
    result = account.probe(silent_from(account, 1))
    assert not any(answer.told for answer in result.answers.values())
    assert result.stopped == "o Omie não respondeu a 4 chamadas seguidas"
    assert result.measured.calls.total() <= 8


@pytest.mark.parametrize("first", [30, 70, 120])
def test_what_stays_when_omie_goes_silent_is_named(first):
    account = Account(hidden(1), seed=1)
    result = account.probe(silent_from(account, first))
    assert result.stopped
    nothing_hidden(account, result)
    assert [one for one in result.made if not one.gone]


def test_a_refused_key_ends_the_probe_at_once():
    account = Account()
    account.app.app_secret = "another"
    result = account.probe()
    assert result.stopped == "o Omie recusa a chave desta empresa"
    assert result.measured.calls.total() <= 2


def test_a_blocked_key_ends_the_probe_and_nothing_is_asked_any_more():
    account = Account(faults="blocked:methods=ListarOS:nth=3:seconds=900")
    result = account.probe()
    assert result.stopped.startswith("o Omie bloqueou a chave")
    nothing_hidden(account, result)


# ---- interrupted


def interrupting(account, at, *, before):
    """Ctrl+C at the nth call, before it leaves or when Omie has done it."""
    through, calls = transport(account.core, lambda: account.clock.now().timestamp(), account.clock.advance), count(1)

    def answer(request):
        now = next(calls) == at
        if now and before:
            raise KeyboardInterrupt
        reply = through.handle_request(request)
        if now:
            raise KeyboardInterrupt
        return reply

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", [1, 3, 5, 12, 14, 25, 41, 44, 47, 60, 75, 90, 110, 130])
def test_an_interrupted_probe_leaves_nothing(at, before):
    account = Account({"list_lag": 0.0, "read_lag": 8.0}, seed=3)
    result = account.probe(interrupting(account, at, before=before))
    assert result.interrupted
    assert account.alive() == ([], [], [], set())
    assert all(one.gone or not one.number for one in result.made)
    assert all(answer.told or answer.why for answer in result.answers.values())


def test_an_error_of_our_own_leaves_nothing_either():
    account = Account(seed=3)
    through, calls = transport(account.core, lambda: account.clock.now().timestamp(), account.clock.advance), count(1)

    def answer(request):
        if next(calls) == 50:
            raise OSError("no space left on device")
        return through.handle_request(request)

    result = account.probe(httpx.MockTransport(answer))
    assert result.stopped == "erro inesperado (OSError)"
    assert account.alive() == ([], [], [], set())


def test_a_later_probe_undoes_what_a_killed_one_left():
    account = Account(seed=3)
    killed = account.probe(silent_from(account, 60))
    assert [one for one in killed.made if not one.gone]
    account.clock.advance(3600)
    account.probe()
    orders, _, ours, _ = account.alive()
    assert (orders, ours) == ([], [])


# ---- words that nobody has seen


def test_a_refusal_in_unknown_words_is_believed_when_it_is_said_twice(monkeypatch):
    def check(sim, app, contract, today):
        if contract.billed_month == 202612:
            raise answers.refused("Contrato em período de carência [7].")

    monkeypatch.setattr(billing, "_check_billable", check)
    result = Account().probe()
    assert result.answers["second_billing"].value == "refuse"
    assert "carência" in result.answers["second_billing"].why


@pytest.mark.parametrize("executed", ["yes", "no"])
def test_unknown_words_to_every_billing_are_no_refusal(executed):
    account = Account(faults=f"unknown_wording:methods=FaturarContrato:executed={executed}")
    result = account.probe()
    assert result.answers["second_billing"].value in (None, "accept")
    assert result.answers["bill_outside_stage_20"].value in (None, "accept")
    assert_within_the_budgets(account, result)
    nothing_hidden(account, result)


def test_an_answer_of_another_form_leaves_its_question_open(monkeypatch):
    monkeypatch.setitem(billing.METHODS, "ObterContratos", Handler(lambda call, param: {"cEtapa": "20"}, write=False))
    result = Account().probe()
    assert not result.answers["after_cancel"].told
    assert not result.answers["list_lag"].told


# ---- what it writes


def test_the_simulator_plays_what_the_probe_wrote(tmp_path):
    account = Account(hidden(5), seed=5)
    text = write_facts("acme", START.date(), account.probe().answers)
    changes = read_switches(text)
    Switches().update(changes)
    assert changes["in_flight"] == hidden(5)["in_flight"]
    assert read_facts(text).measured_on == START.date()
    file = tmp_path / "switches.toml"
    file.write_text(text, encoding="utf-8")
    assert _switches(str(file)) == changes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[switches", "not a TOML file"),
        ("read_lag = 8", "no table [switches]"),
        ("switches = 3", "no table [switches]"),
        ("[switches]\nread_lga = 8", "no switch 'read_lga'"),
        ("[switches]\nread_lag = 'soon'", "switch read_lag takes a number"),
        ("[switches]\nafter_cancel = 40", "switch after_cancel takes one of"),
    ],
)
def test_a_file_of_switches_that_cannot_be_used_is_told_in_one_line(text, said, tmp_path):
    file = tmp_path / "switches.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as refused:
        simulator(["--switches", str(file)])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"omie simulator: {file}")


def test_every_question_stands_in_the_page_of_open_questions():
    page = (Path(__file__).resolve().parents[2] / "docs" / "api-open-questions.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(): row for row in page.splitlines() if row.startswith("| ")}
    names = {field.name for field in fields(Switches)}
    for question in QUESTIONS:
        assert question.row in rows, question.name
        assert question.is_switch is (question.name in names)
        assert not question.is_switch or f"`{question.name}`" in rows[question.row], question.name
    assert sum(question.is_switch for question in QUESTIONS) >= 25


def test_the_report_says_which_setting_to_change():
    account = Account({"list_lag": 400.0, "read_lag": 90.0, "boleto": "on_request", "lists_lag": "apart"}, seed=2)
    lines = "\n".join(report("acme", COMPANY, account.probe()))
    assert "Em [companies.acme]: list_lag_seconds = " in lines
    assert "Em [companies.acme]: read_lag_seconds = " in lines
    assert "Com isso, em [companies.acme]: in_doubt_wait_seconds = " in lines
    assert "Em [companies.acme.invoice]: make_missing_boleto = true" in lines
    quiet = Account({"boleto": "automatic", "list_lag": 0.0, "read_lag": 0.0}, seed=2).probe()
    assert contradictions("acme", COMPANY, quiet.answers) == []


def test_lags_below_what_the_settings_assume_contradict_nothing():
    """The probe looks twice a minute at most, and tells the later bound: a lag of 8 s is told as half a minute."""
    assumed = COMPANY.model_copy(update={"list_lag_seconds": 120, "read_lag_seconds": 60, "in_doubt_wait_seconds": 600})
    probed = Account({"boleto": "automatic"}, seed=2).probe()
    assert 8 < probed.answers["list_lag"].value < 62
    assert contradictions("acme", assumed, probed.answers) == []


# ---- facts grow old


@pytest.mark.parametrize(
    ("text", "day", "level", "said"),
    [
        (None, date(2026, 12, 8), Level.OK, "Ninguém mediu ainda"),
        ("measured_on = 2026-12-01", date(2027, 3, 1), Level.OK, "medido em 01/12/2026"),
        ("measured_on = 2026-12-01", date(2027, 3, 2), Level.BY_HAND, "há mais de 90 dias"),
        ("measured_on = 'ontem'", date(2027, 3, 2), Level.BY_HAND, "falta measured_on"),
        ("measured_on", date(2027, 3, 2), Level.BY_HAND, "não é um arquivo TOML"),
    ],
)
def test_doctor_says_how_old_the_facts_are(text, day, level, said):
    finding = examine_facts(Examiner("Omie"), [] if text is None else [text, "measured_on = 2026-11-01"], day)
    assert finding.level is level
    assert said in finding.what
