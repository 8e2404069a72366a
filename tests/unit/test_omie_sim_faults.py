"""Faults on demand, and the webhooks' queue with its own."""

import json
from collections.abc import Iterator

import httpx
import pytest

from simulators.omie.core import OmieCore
from simulators.omie.desk import DECEMBER_FIRST, Desk, small_app
from simulators.omie.faults import MAYBE_EXECUTED, FaultError, read_faults
from simulators.omie.transport import transport

FAT = "servicos/contratofat"


def desk(faults: object = (), count: int = 5, **switches: object) -> Desk:
    core = OmieCore([small_app(count)], faults=read_faults(faults) if faults else (), seed=1, latency_ms=40)
    core.switches.update(switches)
    return Desk(core, pause=0.5)


def bill(caller: Desk, nCodCtr: int = 1001):
    return caller.ask(FAT, "FaturarContrato", {"nCodCtr": nCodCtr})


def billings(caller: Desk) -> int:
    return len(caller.core.book.billings)


def test_a_lost_reply_is_executed():
    caller = desk("lost_reply:methods=FaturarContrato:nth=2")
    assert not bill(caller, 1001).lost
    assert bill(caller, 1002).lost
    assert billings(caller) == 2
    assert caller.core.read_book()["faults"] == {"lost_reply": 1}


def test_a_lost_request_is_not_executed():
    caller = desk("lost_request:times=1")
    assert bill(caller).lost
    assert billings(caller) == 0
    assert not bill(caller).lost


def test_a_late_execution_happens_after_the_client_gave_up():
    caller = desk("late_execution:times=1:seconds=45")
    assert bill(caller).lost
    caller.wait(44)
    assert billings(caller) == 0
    caller.wait(2)
    assert billings(caller) == 1
    assert caller.core.book.billings[0].at == pytest.approx(DECEMBER_FIRST + 45)
    assert caller.core.read_book()["late_executions"][0]["result"] == "executed"


def test_a_late_execution_of_a_contract_billed_meanwhile_is_seen_as_twice():
    caller = desk("late_execution:times=1:seconds=45")
    bill(caller)
    bill(caller)
    caller.wait(60)
    assert len(caller.core.read_book()["billed_twice"]) == 1


def test_a_slow_call_is_executed_at_once_and_answered_later():
    caller = desk("slow:times=1:seconds=20")
    assert bill(caller).status == 200
    assert caller.now > DECEMBER_FIRST + 20
    assert caller.core.book.billings[0].at == DECEMBER_FIRST


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("server_error", 503, ""),
        ("html", 502, ""),
        ("broken_response", 500, "SOAP-ENV:Server"),
        ("proto_byebye", 500, "SOAP-ENV:Server"),
        ("already_processing", 500, "SOAP-ENV:Client-8020"),
        ("unknown_wording", 500, "SOAP-ENV:Client"),
        ("not_json", 200, ""),
    ],
)
@pytest.mark.parametrize("executed", ["yes", "no"])
def test_after_some_faults_only_a_look_can_tell(kind, status, code, executed):
    assert kind in MAYBE_EXECUTED
    caller = desk([{"kind": kind, "executed": executed}])
    reply = bill(caller)
    assert (reply.status, reply.code) == (status, code)
    assert billings(caller) == (executed == "yes")


@pytest.mark.parametrize(
    ("kind", "status"),
    [("too_many_requests", 429), ("busy", 500), ("redundant", 500), ("blocked", 425), ("soft_error", 200)],
)
def test_refusals_on_demand_are_never_executed(kind, status):
    caller = desk(f"{kind}:times=1")
    reply = bill(caller)
    assert reply.status == status
    assert reply.json.get("cCodStatus", "") != "0"
    assert billings(caller) == 0


def test_a_block_on_demand_lasts_its_seconds():
    caller = desk("blocked:times=1:seconds=300")
    bill(caller)
    assert bill(caller, 1002).status == 425
    caller.wait(300)
    assert bill(caller, 1002).status == 200


def test_faults_are_scoped_by_method_company_writes_and_content():
    core = OmieCore(
        [small_app(2), small_app(2, company="nimbus")],
        faults=read_faults("html:companies=nimbus:writes=true;busy:contains=1002"),
        latency_ms=0,
    )
    acme, nimbus = Desk(core), Desk(core, "nimbus")
    assert (bill(acme, 1001).status, bill(nimbus, 1001).status) == (200, 502)
    assert nimbus.ask(FAT, "ObterContratos", {"cEtapa": "20"}).status == 200
    assert bill(acme, 1002).code == "SOAP-ENV:Client-1880"


def test_a_share_of_calls_fails_and_the_same_seed_repeats_it():
    def statuses() -> list[int]:
        caller = desk("html:share=0.2", count=200)
        return [bill(caller, 1000 + n).status for n in range(1, 201)]

    assert statuses() == statuses()
    assert 20 < statuses().count(502) < 65


def test_server_faults_count_as_errors_only_where_the_switch_says_so():
    def blocks(**switches: object) -> int:
        caller = desk("broken_response:executed=no", count=20, **switches)
        for n in range(1, 12):
            bill(caller, 1000 + n)
        return len(caller.core.book.blocks)

    assert (blocks(), blocks(server_faults_count=True)) == (0, 1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("explode", "kind 'explode' is unknown"),
        ("slow:colour=1", "'colour' is unknown"),
        ("slow:seconds=a bit", "slow"),
    ],
)
def test_a_fault_that_cannot_be_read_says_why(spec, words):
    with pytest.raises(FaultError, match=words):
        read_faults(spec)


def test_faults_are_read_from_json_and_from_presets():
    assert read_faults('[{"kind": "slow", "seconds": 3}]')[0].seconds == 3
    assert read_faults({"faults": [{"kind": "html", "nth": [1, 3]}]})[0].nth == {1, 3}
    assert len(read_faults("rough")) > 3


# ----------------------------------------------------------------------------------------------------- webhooks


def hooked(faults: object = (), **switches: object) -> Desk:
    caller = desk(faults, **switches)
    caller.core.outbox.subscribe("http://billing.example/omie")
    return caller


def delivered(caller: Desk, seconds: float, *, ok: bool = True) -> list[dict]:
    """Everything the outbox sends in the next seconds, all of it answered alike."""
    bodies = []
    end = caller.now + seconds
    while (at := _next(caller)) is not None and at <= end:
        caller.now = max(at, caller.now)
        caller.core.advance(caller.now)
        for message in caller.core.outbox.due(caller.now):
            bodies.append(json.loads(message.body))
            caller.core.outbox.report(message, caller.now, ok=ok)
    caller.now = end
    return bodies


def _next(caller: Desk) -> float | None:
    times = [time for time in (caller.core.outbox.next_at(), caller.core.sim.next_at()) if time is not None]
    return min(times, default=None)


def test_a_billing_is_told_topic_by_topic_in_order():
    caller = hooked()
    order = bill(caller).json["nCodOS"]
    told = delivered(caller, 120)
    assert [message["topic"] for message in told] == [
        "OrdemServico.Faturada",
        "ContratoServico.Faturado",
        "NFSe.NotaAutorizada",
        "Financas.ContaReceber.Incluido",
        "Financas.ContaReceber.BoletoGerado",
    ]
    assert told[0]["event"]["idOrdemServico"] == order
    assert told[0]["event"]["faturada"] == "S"
    assert told[2]["event"]["codigo_os"] == order
    assert told[3]["event"]["data_vencimento"] == "2026-12-10T00:00:00-03:00"
    assert told[4]["event"]["boleto_gerado"] == "S"
    assert len({message["messageId"] for message in told}) == 5
    assert set(told[0]) == {"messageId", "topic", "event", "author", "appKey", "appHash", "origin"}


def test_a_receipts_event_is_a_list():
    caller = hooked()
    bill(caller)
    delivered(caller, 120)
    (number,) = caller.app.titles
    caller.ask("financas/contareceber", "LancarRecebimento", {"codigo_lancamento": number, "valor": 100})
    (told,) = delivered(caller, 1)
    assert told["topic"] == "Financas.ContaReceber.BaixaRealizada"
    assert told["event"][0]["conta_a_receber"][0]["codigo_lancamento_omie"] == number


def test_nothing_is_queued_without_an_endpoint():
    caller = desk()
    bill(caller)
    assert caller.core.outbox.pending() == {"queued": 0, "dead": 0, "delivered": 0, "given_up": 0}


def test_one_failing_message_holds_back_those_behind_it():
    caller = hooked()
    bill(caller)
    outbox = caller.core.outbox
    (head,) = outbox.due(caller.now)
    assert outbox.due(caller.now) == []
    outbox.report(head, caller.now, ok=False)
    assert outbox.due(caller.now + 0.9) == []
    assert outbox.due(caller.now + 4) == [head]
    outbox.report(head, caller.now + 4, ok=True)
    assert outbox.due(caller.now + 4)[0].topic == "ContratoServico.Faturado"


def test_after_three_tries_a_message_goes_to_the_dead_letter_queue_for_five_days():
    caller = hooked(nfse_seconds=10**9)
    bill(caller)
    sent = delivered(caller, 60, ok=False)
    assert [message["topic"] for message in sent] == ["OrdemServico.Faturada"] * 3 + ["ContratoServico.Faturado"] * 3
    assert caller.core.outbox.pending()["dead"] == 2
    assert len(delivered(caller, 600, ok=False)) == 2
    delivered(caller, 5 * 86400 + 700, ok=False)
    assert caller.core.outbox.pending() == {"queued": 0, "dead": 0, "delivered": 0, "given_up": 2}


def test_webhooks_are_lost_doubled_and_late_on_demand():
    topic = "methods=ContratoServico.Faturado"
    for spec, expected in (
        (f"webhook_lost:{topic}", ["OrdemServico.Faturada"]),
        (f"webhook_duplicate:{topic}", ["OrdemServico.Faturada"] + ["ContratoServico.Faturado"] * 2),
        ("webhook_late:methods=OrdemServico.Faturada:seconds=5", ["ContratoServico.Faturado", "OrdemServico.Faturada"]),
    ):
        caller = hooked(spec, nfse_seconds=10**9)
        bill(caller)
        assert [message["topic"] for message in delivered(caller, 30)] == expected


def test_the_portals_test_is_a_ping():
    caller = hooked()
    caller.core.outbox.ping(caller.now)
    assert delivered(caller, 1) == [{"ping": "omie"}]


def test_endpoints_choose_company_and_topics():
    caller = desk()
    caller.core.outbox.subscribe("http://a.example", company="nimbus")
    caller.core.outbox.subscribe("http://b.example", topics=["OrdemServico.Faturada"])
    bill(caller)
    assert [message["topic"] for message in delivered(caller, 1)] == ["OrdemServico.Faturada"]


# --------------------------------------------------------------------------------- in process, behind an httpx client


@pytest.fixture
def in_process() -> Iterator[tuple[httpx.Client, Desk]]:
    caller = desk("slow:contains=1001:seconds=45;lost_reply:contains=1002")
    moves = transport(caller.core, lambda: caller.now, caller.wait)
    with httpx.Client(transport=moves, base_url="http://omie.example/api/v1/", timeout=30) as client:
        yield client, caller


def over_http(client: httpx.Client, nCodCtr: int) -> httpx.Response:
    key = {"app_key": "acme-key", "app_secret": "acme-secret"}
    body = {"call": "FaturarContrato", **key, "param": [{"nCodCtr": nCodCtr}]}
    return client.post("servicos/contratofat/", json=body)


def test_an_answer_slower_than_the_clients_patience_is_a_time_out_though_executed(in_process):
    client, caller = in_process
    with pytest.raises(httpx.ReadTimeout):
        over_http(client, 1001)
    assert caller.now == DECEMBER_FIRST + 30
    assert billings(caller) == 1


def test_a_lost_reply_is_a_broken_connection(in_process):
    client, caller = in_process
    with pytest.raises(httpx.RemoteProtocolError):
        over_http(client, 1002)
    assert billings(caller) == 1
    assert over_http(client, 1003).json()["cCodStatus"] == "0"


def test_refusals_before_the_method_is_known_are_counted():
    caller = desk()
    caller.ask(FAT, "FaturarTudo")
    caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001}, app_secret="wrong")
    assert caller.core.read_book()["refused"] == {"envelope": 2}
