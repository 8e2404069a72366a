"""Omie's limits of use: minutes, simultaneity, repetition, the ten-error block."""

import json

import pytest

from simulators.omie.core import OmieCore
from simulators.omie.desk import Desk, small_app

FAT = "servicos/contratofat"
CTR = "servicos/contrato"


def desk(count: int = 3, *, latency_ms: float = 0, pause: float = 0.0, **switches: object) -> Desk:
    """An Omie that shows at once what was written."""
    core = OmieCore([small_app(count)], seed=1, latency_ms=latency_ms)
    core.switches.update({"empty_page_counts": False, "read_lag": 0.0, "list_lag": 0.0, **switches})
    return Desk(core, pause=pause)


def test_the_241st_call_of_a_method_in_a_minute_is_429():
    caller = desk(300, pause=0.1)
    replies = [caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1000 + n}) for n in range(1, 242)]
    assert {reply.status for reply in replies[:240]} == {200}
    assert replies[240].status == 429
    assert replies[240].json["error_message"] == "Too Many Requests"
    assert caller.core.book.billings[-1].nCodCtr == 1240
    book = caller.core.read_book()
    assert book["throttled"] == 1
    assert book["peak_per_minute"]["FaturarContrato"] == 241
    assert book["limit_breaches"][0]["limit"] == "method_per_minute"


def test_the_minute_slides():
    caller = desk(300)
    for n in range(1, 241):
        caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1000 + n})
    caller.wait(59.9)
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1241}).status == 429
    caller.wait(0.2)
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1241}).status == 200


def test_another_method_has_its_own_minute():
    caller = desk(300)
    for n in range(1, 241):
        caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1000 + n})
    assert caller.ask(FAT, "ObterContratos", {"cEtapa": "20"}).status == 200


def test_the_961st_call_of_an_ip_in_a_minute_is_429_whatever_it_asks():
    caller = desk(1)
    for _ in range(960):
        caller.ask(FAT, "NoSuchMethod")
    assert caller.ask(FAT, "ObterContratos", {"cEtapa": "20"}).status == 429
    caller.ip = "10.0.0.2"
    assert caller.ask(FAT, "ObterContratos", {"cEtapa": "20"}).status == 200


def test_the_fifth_call_of_a_method_in_flight_is_refused_with_1880_and_not_executed():
    core = OmieCore([small_app(9)], seed=1, latency_ms=1000)

    def bill(number: int, now: float) -> dict:
        body = {"call": "FaturarContrato", "app_key": "acme-key", "app_secret": "acme-secret"}
        answer = core.handle(
            "/api/v1/servicos/contratofat/",
            json.dumps({**body, "param": [{"nCodCtr": number}]}).encode(),
            now=now,
        )
        return json.loads(answer.body)

    for number in range(1001, 1005):
        assert bill(number, 1_796_119_200.0)["cCodStatus"] == "0"
    refused = bill(1005, 1_796_119_200.1)
    assert refused["faultcode"] == "SOAP-ENV:Client-1880"
    assert refused["faultstring"].startswith("ERROR: Já existe uma requisição desse método sendo executada")
    assert len(core.book.billings) == 4
    assert bill(1005, 1_796_119_260.0)["cCodStatus"] == "0"


def test_a_write_while_another_is_in_flight_is_a_breach_in_the_book():
    caller = desk(3, latency_ms=1000)
    start = caller.now
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001}).status == 200
    after, caller.now = caller.now, start + 0.1
    assert caller.ask(FAT, "SuspenderContrato", {"nCodCtr": 1002}).status == 200
    assert caller.core.book.parallel_writes == 1
    caller.now = max(after, caller.now)
    caller.wait(10)
    caller.ask(FAT, "SuspenderContrato", {"nCodCtr": 1003})
    assert caller.core.book.parallel_writes == 1


def test_a_parallel_write_is_refused_where_the_switch_says_so():
    caller = desk(3, latency_ms=1000, parallel_writes="refuse")
    start = caller.now
    caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001})
    caller.now = start + 0.1
    assert caller.ask(FAT, "SuspenderContrato", {"nCodCtr": 1002}).code == "SOAP-ENV:Client-1880"
    assert caller.ask(FAT, "ObterContratos", {"cEtapa": "10"}).status == 200


def test_the_third_identical_call_within_a_minute_is_redundant():
    caller = desk(1, pause=1)
    ask = {"pagina": 1}
    assert [caller.ask(CTR, "ListarContratos", ask).status for _ in range(2)] == [200, 200]
    caller.wait(43)
    reply = caller.ask(CTR, "ListarContratos", ask)
    assert (reply.status, reply.code) == (500, "SOAP-ENV:Client-6")
    assert reply.text == ("ERROR: Consumo redundante detectado. Aguarde 16 segundos para tentar novamente (REDUNDANT).")


def test_every_repetition_starts_the_redundant_window_anew():
    caller = desk(1)
    ask = {"pagina": 1}
    for _ in range(2):
        caller.ask(CTR, "ListarContratos", ask)
    for _ in range(3):
        caller.wait(50)
        assert caller.ask(CTR, "ListarContratos", ask).status == 500
    caller.wait(60)
    assert caller.ask(CTR, "ListarContratos", ask).status == 200


def test_the_second_identical_call_is_redundant_where_the_switch_says_so():
    caller = desk(2, redundant_on=2)
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001}).status == 200
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001}).code == "SOAP-ENV:Client-6"
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1002}).status == 200


@pytest.mark.parametrize(("switch", "listed"), [("cached", 2), ("fresh", 1)])
def test_the_second_identical_read_within_a_minute_may_be_the_first_ones_answer(switch, listed):
    caller = desk(2, repeated_read=switch)
    ask = {"cEtapa": "20"}
    assert len(caller.ask(FAT, "ObterContratos", ask).json["listaContratos"]) == 2
    caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001})
    assert len(caller.ask(FAT, "ObterContratos", ask).json["listaContratos"]) == listed
    caller.wait(61)
    assert len(caller.ask(FAT, "ObterContratos", ask).json["listaContratos"]) == 1


def test_the_same_id_is_consulted_once_a_minute_even_with_other_options():
    caller = desk(2)
    caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001})
    order = caller.core.book.billings[0].nCodOS
    assert caller.ask("servicos/os", "StatusOS", {"nCodOS": order}).status == 200
    assert caller.ask("servicos/os", "StatusOS", {"nCodOS": order, "lMsg": True}).code == "SOAP-ENV:Client-6"
    assert caller.ask("servicos/os", "ConsultarOS", {"nCodOS": order}).status == 200
    caller.wait(61)
    assert caller.ask("servicos/os", "StatusOS", {"nCodOS": order}).status == 200


def test_status_lookups_may_be_free_of_the_same_id_rule():
    caller = desk(2, same_id_lookup="consultar")
    caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001})
    order = caller.core.book.billings[0].nCodOS
    assert [caller.ask("servicos/os", "StatusOS", {"nCodOS": order}).status for _ in range(2)] == [200, 200]
    assert caller.ask("servicos/os", "ConsultarOS", {"nCodOS": order}).status == 200
    assert caller.ask("servicos/os", "ConsultarOS", {"nCodOS": order}).status == 500


def test_ten_errors_of_a_method_block_the_whole_key_for_half_an_hour_with_a_countdown():
    caller = desk(2, pause=1)
    for n in range(10):
        assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 9000 + n}).status == 500
    reply = caller.ask(FAT, "ObterContratos", {"cEtapa": "20"})
    assert (reply.status, reply.code) == (425, "MISUSE_API_PROCESS")
    assert reply.text == "ERROR: API bloqueada por consumo indevido. Tente novamente em 1799 segundos."
    caller.wait(100)
    assert "em 1698 segundos" in caller.ask(FAT, "ObterContratos", {"cEtapa": "20"}).text
    caller.wait(1698)
    assert caller.ask(FAT, "ObterContratos", {"cEtapa": "20"}).status == 200
    (block,) = caller.core.read_book()["blocks"]
    assert (block["company"], block["method"]) == ("acme", "FaturarContrato")


def test_errors_older_than_the_window_are_forgotten():
    caller = desk(2)
    for n in range(20):
        caller.ask(FAT, "FaturarContrato", {"nCodCtr": 9000 + n})
        caller.wait(70)
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001}).status == 200


def test_the_block_may_be_of_the_method_alone():
    caller = desk(2, block_scope="method")
    for n in range(10):
        caller.ask(FAT, "FaturarContrato", {"nCodCtr": 9000 + n})
    assert caller.ask(FAT, "ObterContratos", {"cEtapa": "20"}).status == 200
    assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1001}).status == 425


def test_pages_beyond_the_end_count_as_errors_where_the_switch_says_so():
    def caller(counts: bool) -> Desk:
        one = desk(1, empty_page_counts=counts)
        for page in range(2, 12):
            assert one.ask(CTR, "ListarContratos", {"pagina": page}).code == "SOAP-ENV:Client-5113"
        return one

    assert caller(counts=True).ask(CTR, "ListarContratos", {"pagina": 1}).status == 425
    assert caller(counts=False).ask(CTR, "ListarContratos", {"pagina": 1}).status == 200


def test_without_limits_nothing_is_refused_but_all_is_counted():
    caller = desk(300, limits=False)
    for n in range(1, 301):
        assert caller.ask(FAT, "FaturarContrato", {"nCodCtr": 1000 + n}).status == 200
    for _ in range(12):
        assert caller.ask(CTR, "ConsultarContrato", {"contratoChave": {"nCodCtr": 1}}).status == 500
    book = caller.core.read_book(billings=False)
    assert book["refused"] == {"method_per_minute": 60, "redundant": 10, "same_id": 11}
    assert book["blocks"] == []
