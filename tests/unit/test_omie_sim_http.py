"""The simulator's HTTP shell: a real server on a free port of the loopback."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue

import httpx
import pytest

from billing.domain.month import SAO_PAULO
from ops.local import add_late_titles

ROOT = Path(__file__).parents[2]
FAT = "/api/v1/servicos/contratofat/"


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[str, Queue]]:
    """A receiver of webhooks and what it was told."""
    queue: Queue = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queue.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/omie", queue
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def omie(told: tuple[str, Queue]) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "simulators.omie", "--port", "0", "--contracts", "20", "--latency-ms", "5"]
    command += ["--now", "2026-12-01T06:00", "--webhook-url", told[0], "--switch", "redundant_on=0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"omie simulator: (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line
        with httpx.Client(base_url=found[1], timeout=10) as client:
            yield client
        process.terminate()


def ask(omie: httpx.Client, method: str, param: dict, *, path: str = FAT, company: str = "acme") -> httpx.Response:
    key = {"app_key": f"demo-{company}-key", "app_secret": f"demo-{company}-secret"}
    return omie.post(path, json={"call": method, **key, "param": [param]})


def first_in_stage_20(omie: httpx.Client) -> int:
    return ask(omie, "ObterContratos", {"cEtapa": "20"}).json()["listaContratos"][0]["nCodCtr"]


def test_a_contract_is_billed_over_http_and_the_webhook_comes(omie, told):
    omie.post("/_sim/reset")
    number = first_in_stage_20(omie)
    reply = ask(omie, "FaturarContrato", {"nCodCtr": number})
    assert reply.json()["cCodStatus"] == "0"
    assert reply.headers["X-Omie-ParallelRateLimit"] == "1/4"
    assert told[1].get(timeout=5)["event"]["idOrdemServico"] == reply.json()["nCodOS"]
    book = omie.get("/_sim/book").json()
    assert book["billings"][0]["nCodCtr"] == number
    assert book["first_billing_at"].startswith("2026-12-01T06:00")
    assert ask(omie, "FaturarContrato", {"nCodCtr": 1}).status_code == 500
    assert omie.post("/api/v1/servicos/nada/").status_code == 404


def test_webhooks_are_sent_where_the_control_plane_says_and_survive_a_reset(omie, told):
    url, heard = told
    there = [{"url": url, "company": "acme", "topics": ["OrdemServico.Faturada"]}]
    assert omie.post("/_sim/webhooks", json=there).json() == {"endpoints": 1}
    omie.post("/_sim/reset")
    while not heard.empty():
        heard.get()
    ask(omie, "FaturarContrato", {"nCodCtr": first_in_stage_20(omie)})
    assert heard.get(timeout=5)["topic"] == "OrdemServico.Faturada"
    assert omie.post("/_sim/webhooks", json=[]).json() == {"endpoints": 0}
    omie.post("/_sim/reset")
    ask(omie, "FaturarContrato", {"nCodCtr": first_in_stage_20(omie)})
    assert omie.get("/_sim/book").json()["webhooks"]["queued"] == 0
    assert omie.post("/_sim/webhooks", json=[{"company": "acme"}]).status_code == 400


def test_a_lost_reply_breaks_the_connection_though_it_was_executed(omie):
    omie.post("/_sim/reset")
    number = first_in_stage_20(omie)
    assert omie.post("/_sim/faults", json={"spec": "lost_reply:methods=FaturarContrato:times=1"}).json() == {
        "faults": 1
    }
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ask(omie, "FaturarContrato", {"nCodCtr": number})
    assert omie.get("/_sim/book").json()["billed_contracts"] == 1
    assert omie.post("/_sim/faults", json=[]).json() == {"faults": 0}


def test_the_control_plane_moves_the_clock_sets_switches_and_bills_by_hand(omie):
    omie.post("/_sim/reset")
    assert omie.get("/_sim/health").json()["ok"] is True
    number = first_in_stage_20(omie)
    order = omie.post("/_sim/bill", json={"nCodCtr": number}).json()["nCodOS"]
    assert omie.get("/_sim/book").json()["billings"][0]["by"] == "person"
    omie.post("/_sim/clock", json={"offset_seconds": 120})
    status = ask(omie, "StatusOS", {"nCodOS": order}, path="/api/v1/servicos/os/").json()
    assert status["ListaRpsNfse"][0]["cStatusRps"] == "004"
    assert omie.post("/_sim/clock", json={"now": "2027-01-01T08:00"}).json()["now"].startswith("2027-01-01T08:00")
    assert first_in_stage_20(omie) == number
    assert omie.post("/_sim/switches", json={"second_billing": "refuse"}).json()["second_billing"] == "refuse"
    assert omie.post("/_sim/switches", json={"second": 1}).status_code == 400
    assert omie.post("/_sim/faults", json={"spec": "explode"}).status_code == 400
    assert omie.post("/_sim/bill", json={"nCodCtr": 1}).status_code == 400


def test_the_control_plane_puts_titles_of_earlier_months_and_percents_on_boletos(omie):
    omie.post("/_sim/reset")
    number = first_in_stage_20(omie)
    wish = {"nCodCtr": number, "due": "2026-10-10", "amount": 12345}
    (title,) = omie.post("/_sim/titles", json=[wish]).json()["nCodTitulo"]
    omie.post("/_sim/account", json={"company": "acme", "per_multa": 2, "per_juros": 1.5})
    key = {"nCodTitulo": title, "cNatureza": "R", "dDtVencDe": "10/10/2026", "dDtVencAte": "10/10/2026"}
    (row,) = ask(omie, "ListarMovimentos", key, path="/api/v1/financas/mf/").json()["movimentos"]
    assert (row["detalhes"]["nCodCtr"], row["detalhes"]["nValorTitulo"]) == (number, 123.45)
    assert row["detalhes"]["cStatus"] == "ATRASADO"
    slip = ask(omie, "ObterBoleto", {"nCodTitulo": title}, path="/api/v1/financas/contareceberboleto/").json()
    assert slip["cLinkBoleto"]
    assert (slip["nPerMulta"], slip["nPerJuros"]) == (2, 1.5)
    for wrong in ({"nCodCtr": 1}, {"due": "10/10/2026"}, {"amount": 0}):
        assert omie.post("/_sim/titles", json=[wish, wish | wrong]).status_code == 400
    found = ask(omie, "ListarMovimentos", key | {"nCodTitulo": ""}, path="/api/v1/financas/mf/").json()
    assert found["nTotRegistros"] == 1
    assert omie.post("/_sim/account", json={"company": "acne", "per_multa": 2, "per_juros": 1}).status_code == 400


def test_the_local_stack_s_late_titles_are_of_different_contracts_and_due_in_the_last_three_months(omie):
    omie.post("/_sim/reset")
    add_late_titles({"simulators": {"omie": str(omie.base_url)}}, 4)
    window = {"dDtVencDe": "01/01/2026", "dDtVencAte": "31/12/2099", "cTpLancamento": "CR"}
    pages = [ask(omie, "ListarMovimentos", window, path="/api/v1/financas/mf/", company=c) for c in ("acme", "nimbus")]
    rows = [row for page in pages for row in page.json().get("movimentos", [])]
    today = datetime.now(SAO_PAULO).date()
    due = [datetime.strptime(row["detalhes"]["dDtVenc"], "%d/%m/%Y").replace(tzinfo=SAO_PAULO).date() for row in rows]
    late = [(today - day).days for day in due]
    assert len({row["detalhes"]["nCodCtr"] for row in rows}) == len(rows) == 4
    assert all(4 <= days <= 90 for days in late)


def test_the_latency_of_a_call_is_slept(omie):
    omie.post("/_sim/reset")
    omie.post("/_sim/faults", json={"spec": "slow:seconds=0.2"})
    started = time.monotonic()
    ask(omie, "ObterContratos", {"cEtapa": "20"})
    assert time.monotonic() - started >= 0.2
    omie.post("/_sim/faults", json=[])
