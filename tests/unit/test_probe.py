"""`billing-ops probe` against simulators whose switches it does not know: no wrong answer, nothing left behind."""

import json
from datetime import datetime
from random import Random

import httpx
import pytest

from billing.domain.month import SAO_PAULO
from billing.omie.client import Credentials
from billing.omie.governor import ReadGate
from ops.probe.caller import MOST_CALLS, MOST_ERRORS, MOST_SECONDS, Caller
from ops.probe.questions import QUESTIONS
from ops.probe.run import probe
from ops.probe.things import Maker
from simulators.clock import VirtualClock
from simulators.lab import demo_settings
from simulators.omie import contracts
from simulators.omie.core import OmieCore, apps_of
from simulators.omie.faults import read_faults
from simulators.omie.transport import transport
from simulators.world import OMIE_KEYS, make_world

START = datetime(2026, 12, 8, 9, 17, 3, 400_000, tzinfo=SAO_PAULO)
WORLD = make_world(14, 7, START.date(), clean=True)
COMPANY = demo_settings().companies["acme"].model_copy(update={"test_account": True})
SEEDS = range(60)


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
        "read_lag": draw.choice([0.0, 8.0, 30.0]),
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
        return not (truth / 2 <= value <= truth * 1.25 + 4) if truth else value != 0
    if name == "list_lag":
        return not (truth / 2 <= value <= truth * 1.15 + 35) if truth else value != 0
    if name == "list_lag_least":
        return not (truth - 35 <= value <= truth + 120)
    if name == "nfse_seconds":
        return not (truth * 0.6 - 10 <= value <= truth * 1.4 + 15)
    if name == "boleto_seconds":
        return abs(value - truth) > 10
    if name == "clock_offset":
        return abs(value - truth) > 1
    return value != truth


@pytest.mark.parametrize("seed", SEEDS)
def test_a_probe_answers_what_the_simulator_plays(seed):
    switches = hidden(seed)
    account = Account(switches, seed=seed)
    result = account.probe()
    truth = switches | FACTS
    told = {name: answer.value for name, answer in result.answers.items() if answer.told}
    errors = {name: (value, truth[name]) for name, value in told.items() if wrong(name, value, truth[name])}
    untold = {name: answer.why for name, answer in result.answers.items() if not answer.told}
    print(seed, switches, result.measured.calls.total(), result.seconds, dict(result.measured.errors), untold)
    assert errors == {}
    assert len(untold) <= len(QUESTIONS) // 10, untold
    assert result.stopped == ""
    assert_within_the_budgets(account, result)
    assert account.alive() == ([], [], [], set())


def assert_within_the_budgets(account, result):
    book = account.core.book
    assert result.measured.calls.total() <= MOST_CALLS
    assert result.seconds <= MOST_SECONDS
    assert not book.blocks
    assert not result.measured.errors or max(result.measured.errors.values()) <= MOST_ERRORS
