"""`billing-ops sweep`: asks, shows what differs, and says how it goes on."""

import io
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.desk import Tools
from ops.stack import Clients, Stack
from simulators.lab import DEMO
from simulators.living_lab import LivingLab
from simulators.world import FIELDS

OUTPUTS = {
    "StateMachineArn": "arn", "DataBucketName": "dados", "LedgerTableName": "ledger", "RunsTableName": "runs",
    "LanesTableName": "lanes", "OmieWritesDlqUrl": "dlq", "SettingsKey": "config/settings.toml",
    "SecretsPrefix": "billing-ops", "SweepContractsFunctionName": "varredura",
}  # fmt: skip


class Rig:
    def __init__(self, outputs=OUTPUTS, failure=None):
        self.lab = LivingLab(4, 4, clean=True)
        self.failure = failure
        self.asked = []

    @property
    def stack(self):
        s3 = SimpleNamespace(
            meta=SimpleNamespace(region_name="sa-east-1"),
            get_object=lambda Key, **_: {"Body": io.BytesIO(self._object(Key))},
        )
        functions = SimpleNamespace(invoke=self._invoke)
        clients = Clients(None, None, s3, None, None, None, functions)
        return Stack("billing-ops", self.outputs, {}, clients)

    outputs = OUTPUTS

    def _object(self, key):
        return DEMO.read_bytes() if key.endswith(".toml") else self.lab.objects.get_text(key).encode()

    def _invoke(self, FunctionName, Payload):
        assert FunctionName == "varredura"
        self.asked.append(json.loads(Payload))
        if self.failure:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(self.failure).encode())}
        return {"Payload": io.BytesIO(json.dumps(self.lab.sweep(**self.asked[-1])).encode())}

    def __call__(self, *words):
        tools = Tools(
            environ={"AWS_PROFILE": "faturamento"},
            clock=self.lab.clock,
            connect=lambda _: self.stack,
            at_a_terminal=lambda: False,
        )
        return CliRunner().invoke(app, ["sweep", *words], obj=tools, prog_name="billing-ops")

    def edit(self, word, value):
        contract = self.lab.world.contracts[0]
        self.lab.edit(contract.jestor_id, {FIELDS[word]: value})
        return contract


def test_when_everything_agrees_it_says_so():
    ops = Rig()
    result = ops()
    assert result.exit_code == 0
    assert "Acme Tecnologia:" in result.stdout
    assert "conferem" in result.stdout
    assert ops.asked == [{"companies": None, "list": False, "source": "operator"}]


def test_what_differs_is_shown_and_on_its_way():
    ops = Rig()
    contract = ops.edit("unit_amount", 777)
    result = ops("--company", contract.omie_company)
    assert f"{contract.code}: valor" in result.stdout
    assert "repita daqui a alguns minutos" in result.stdout
    assert ops.asked[0]["companies"] == [contract.omie_company]
    assert [message.body["order"]["source"] for message in ops.lab.fifo.messages] == ["operator"]


def test_a_list_changes_nothing():
    ops = Rig()
    contract = ops.edit("unit_amount", 777)
    result = ops("--list")
    assert f"{contract.code}: valor" in result.stdout
    assert "repita" not in result.stdout
    assert ops.lab.fifo.messages == []


def test_json_is_the_answer():
    answer = json.loads(Rig()("--json").stdout)
    assert answer["found"] == 0
    assert set(answer["companies"]) == {"acme", "nimbus"}


def test_an_unknown_company_is_refused_before_anything_is_asked():
    ops = Rig()
    assert ops("--company", "ninguem").exit_code == 2
    assert ops.asked == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [({"errorType": "JestorUnavailable", "errorMessage": "Jestor: fora do ar"}, "fora do ar"), ({}, "sem nome")],
)
def test_a_sweep_that_failed_says_why(failure, said):
    result = Rig(failure=failure or {"x": 1})()
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_stack_from_before_says_so(monkeypatch):
    monkeypatch.setattr(Rig, "outputs", {k: v for k, v in OUTPUTS.items() if not k.startswith("Sweep")})
    result = Rig()()
    assert result.exit_code == 1
    assert "ainda não tem a função sweep_contracts" in result.stderr
