"""docs/jestor-setup.md: its scripts are the files, run as Jestor runs them, and are believed by our receiver."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from billing.receive_webhook import Known, Refused, Request, decide
from simulators.jestor.triggers import sign

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/jestor-setup.md").read_text(encoding="utf-8")
SCRIPTS = {
    language: (ROOT / f"docs/jestor/trigger.{language}").read_text(encoding="utf-8") for language in ("php", "py")
}
EXAMPLE = tomllib.loads((ROOT / "config/example.toml").read_text(encoding="utf-8"))["jestor"]
FIELDS = EXAMPLE["contracts"]["fields"]
WRITTEN = set(EXAMPLE["contracts"]["write_back"].values()) | {FIELDS["omie_id"], FIELDS["readjusted_on"]}
"""What this system writes: a change of it is an echo of our own."""
SECRET = "segredo-de-teste-com-43-caracteres-ou-quase"
ROW = {
    "id_contratos": 12,
    "name": "ACME",
    "status": "Ativo",
    "valor_mensal": 1500.5,
    "cliente": 7,
    "link_da_fatura": None,
}
PHP = shutil.which("php")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def filled_in(text):
    assert text.count("COLE-AQUI-O-SEGREDO") == text.count("https://ENDERECO/") == 1
    return text.replace("COLE-AQUI-O-SEGREDO", SECRET)


def for_customers(language, head):
    """The script with the head that the customers' table gets."""
    first, last = {"php": ("$tabela", "\n// Daqui"), "py": ("TABELA", "\n# Daqui")}[language]
    script = SCRIPTS[language]
    return script[: script.index(first)] + head + script[script.index(last) :]


def run_python(script, before, after):
    """As Jestor's Python: the record before and after are globals; `jestor` takes a list of arguments."""
    calls = []

    class Jestor:
        def curlCall(self, arguments):  # noqa: N802 - Jestor's name
            calls.append(arguments)

    names = {"afterSave": after, "currentData": after, "currentUser": {"id_user": 1}, "jestor": Jestor()}
    if before is not None:
        names["beforeSave"] = before
    exec(compile(filled_in(script), "trigger.py", "exec"), names)
    return calls


STAND_IN = """<?php
define("Jestor", "");
function curlCall($url, $method, $body = null, $headers = null) {
    echo json_encode(array(array($url, $method, $body, $headers)));
    return "{}";
}
$objectOld = json_decode($argv[1], true);
$objectNew = json_decode($argv[2], true);
if ($objectOld === null) { unset($objectOld); }
?>
"""


def run_php(script, before, after):
    """As Jestor's PHP: `Jestor.curlCall` is a constant and a function's answer, put together."""
    if PHP is None:
        pytest.skip("php is missing: install php-cli from Debian's packages")
    source = STAND_IN.removesuffix("?>\n") + filled_in(script)
    command = [
        PHP,
        "-n",
        "-d",
        "display_errors=stderr",
        "-r",
        source.removeprefix("<?php\n"),
        "--",
        json.dumps(before),
        json.dumps(after),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    return json.loads(answer.stdout or "[]")


RUN = {"py": run_python, "php": run_php}


def received(call):
    """The webhook our receiver makes of the call, and the body that was sent."""
    url, method, body, lines = call
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert (method, headers["content-type"]) == ("POST", "application/json")
    at = int(re.match(r"t=(\d+),v1=", headers["x-webhook-signature"])[1])
    assert headers["x-webhook-signature"] == sign(SECRET, body.encode(), at)
    address, _, route = url.rpartition("/")
    assert address == "https://ENDERECO/v1/webhooks/jestor"
    request = Request(route, headers, body.encode())
    known = Known(jestor=("an older or newer secret", SECRET))
    with pytest.raises(Refused):
        decide(request, Known(jestor=("another secret entirely",)), now=at, allow_static=False)
    return decide(request, known, now=at, allow_static=False), json.loads(body)


@pytest.fixture(params=["py", "php"])
def language(request):
    return request.param


def test_the_page_shows_the_files_as_they_are():
    assert [SCRIPTS["php"], SCRIPTS["py"]] == [blocks("php")[0], blocks("python")[0]]


def test_a_change_of_price_is_a_signed_hint_to_the_contract_route(language):
    (call,) = RUN[language](SCRIPTS[language], ROW, ROW | {"valor_mensal": 2000})
    webhook, body = received(call)
    assert webhook.route == "contract"
    assert [hint.message for hint in webhook.hints] == [{"contract": "JST-12", "jestor_id": 12}]
    assert (webhook.hold, body["campos"], body["evento"]) == ("", ["valor_mensal"], "atualizado")


@pytest.mark.parametrize("stage", ["Churn", "Suspenso"])
def test_a_stage_that_stops_goes_to_the_churn_route_and_puts_a_hold(language, stage):
    (call,) = RUN[language](SCRIPTS[language], ROW, ROW | {"status": stage})
    webhook, body = received(call)
    assert (webhook.route, webhook.hold, body["status"]) == ("churn", "JST-12", stage)


def test_a_reactivation_goes_to_the_contract_route(language):
    (call,) = RUN[language](SCRIPTS[language], ROW | {"status": "Churn"}, ROW)
    assert received(call)[0].route == "contract"


def test_a_new_contract_is_told(language):
    (call,) = RUN[language](SCRIPTS[language], None, ROW)
    webhook, body = received(call)
    assert (webhook.hints[0].message["jestor_id"], body["evento"]) == (12, "criado")


def test_what_we_write_ourselves_does_not_come_back(language):
    written = dict.fromkeys(WRITTEN, "x")
    assert RUN[language](SCRIPTS[language], ROW, ROW | written | {"observacao_interna": "ligar amanhã"}) == []


@pytest.mark.parametrize(
    "after", [{"valor_mensal": "1500.50"}, {"cliente": "7"}, {"name": " ACME "}, {"desconto": None}, {"desconto": ""}]
)
def test_the_same_value_in_another_form_is_no_change(language, after):
    assert RUN[language](SCRIPTS[language], ROW, ROW | after) == []


def test_a_script_that_gets_only_the_changed_fields_knows_the_rest_from_before(language):
    (call,) = RUN[language](SCRIPTS[language], ROW, {"status": "Churn"})
    assert received(call)[0].hold == "JST-12"
    assert RUN[language](SCRIPTS[language], ROW, {"link_da_fatura": "https://x"}) == []


def test_no_name_document_or_amount_leaves_with_it(language):
    (call,) = RUN[language](SCRIPTS[language], None, ROW | {"name": "Canário Ltda", "valor_mensal": 98765})
    assert not [word for word in ("Canário", "98765") if word in json.dumps(call, ensure_ascii=False)]


def test_a_network_that_is_down_does_not_keep_a_person_from_saving():
    class Down:
        def curlCall(self, arguments):  # noqa: N802
            raise OSError("down")

    names = {"afterSave": ROW, "beforeSave": {}, "jestor": Down()}
    exec(compile(SCRIPTS["py"], "trigger.py", "exec"), names)


def test_a_customers_new_address_is_a_hint_that_names_the_customer(language):
    head = blocks({"py": "python", "php": "php"}[language])[-1]
    before = {"id_clientes": 7, "name": "ACME", "cep": "01310-100"}
    (call,) = RUN[language](for_customers(language, head), before, before | {"cep": "01310-200"})
    webhook, _ = received(call)
    assert (webhook.route, [hint.message for hint in webhook.hints]) == ("contract", [{"customer": 7}])
    assert RUN[language](for_customers(language, head), before, before | {"anotacao": "x"}) == []


def test_the_older_form_of_curl_call_sends_the_same():
    if PHP is None:
        pytest.skip("php is missing: install php-cli from Debian's packages")
    older = blocks("php")[1]
    script = SCRIPTS["php"].replace('        Jestor.curlCall($endereco . $rota, "POST", $corpo, $cabecalhos);\n', older)
    assert older in script
    options = "define('CURLOPT_POST', 47); define('CURLOPT_RETURNTRANSFER', 19913);"
    options += "define('CURLOPT_HTTPHEADER', 10023); define('CURLOPT_POSTFIELDS', 10015);"
    stand_in = (
        'define("Jestor", ""); function curlCall($url, $o) {'
        "echo json_encode(array($url, 'POST', $o[CURLOPT_POSTFIELDS], $o[CURLOPT_HTTPHEADER])); }"
        "$objectOld = array(); $objectNew = json_decode($argv[1], true);\n"
    )
    command = [PHP, "-n", "-r", options + stand_in + filled_in(script), "--", json.dumps(ROW)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert received(json.loads(answer.stdout))[0].hints


def test_both_scripts_watch_what_billing_reads_and_nothing_that_it_writes():
    (python,) = [
        node.value.value
        for node in ast.parse(SCRIPTS["py"]).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "CAMPOS"
    ]
    php = re.search(r'^\$campos   = "(.*?)";', SCRIPTS["php"], flags=re.MULTILINE | re.DOTALL)[1]
    read = {path.partition(".")[0] for path in FIELDS.values()} - WRITTEN
    assert python.split() == php.split()
    assert set(python.split()) == read
    customers = {path.partition(".")[2] for path in FIELDS.values() if path.startswith("cliente.")}
    for language in ("python", "php"):
        assert customers <= set(re.findall(r"\w+", blocks(language)[-1]))


def named(heading):
    """The fields in the first cells of a section's first table."""
    section = PAGE.partition(f"\n### {heading}")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`.+?) \|", section, flags=re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_field_of_the_example_is_in_the_tables_of_the_page():
    paths = list(FIELDS.values())
    assert named("Contratos") == {path.partition(".")[0] for path in paths}
    assert named("Clientes") == {path.partition(".")[2] for path in paths if "." in path}
    assert named("O que o sistema grava") == set(EXAMPLE["contracts"]["write_back"].values())
    assert named("Recebíveis") == set(EXAMPLE["receivables"]["fields"].values())
    for label, meaning in EXAMPLE["contracts"]["status_labels"].items():
        assert f"| {label} | `{meaning}` |" in PAGE


def test_the_topics_asked_of_omie_are_topics_that_the_receiver_heeds():
    from billing.receive_webhook import TOPICS  # noqa: PLC0415

    told = re.findall(r"`((?:NFSe|OrdemServico|Financas|ContratoServico)\.[\w.]+)`", PAGE)
    assert len(told) >= 8
    assert all(topic.startswith(TOPICS) for topic in told)
