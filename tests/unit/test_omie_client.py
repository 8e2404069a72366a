"""The client: one request per call, reads repeated and complete, writes sent once, keys never shown."""

import json
import logging
import traceback
from datetime import UTC, date, datetime
from decimal import Decimal

import httpx
import pytest

from billing.bill_batch import STAGE_20
from billing.omie.client import PATHS, Credentials, FaturarReply, LoteReply, OmieClient, reader_permit, shared_turns
from billing.omie.governor import LaneState, ReadGate
from billing.omie.replies import (
    Blocked,
    EmptyPage,
    IncompleteRead,
    InDoubt,
    KeyRefused,
    NotExecuted,
    OmieError,
    Rejected,
)
from simulators.clock import VirtualClock
from simulators.memory_store import MemoryLanes

KEY, SECRET = "canary-key-38333295000", "canary-secret-fed2163e2e8dccb53ff914ce9e2f1258"
BROKEN = (
    500,
    {
        "faultstring": "SOAP-ERROR: Broken response from Application Server (4)",
        "faultcode": "SOAP-ENV:Server",
    },
)
BUSY = (
    500,
    {
        "faultstring": "ERROR: Já existe uma requisição desse método sendo executada",
        "faultcode": "SOAP-ENV:Client-1880",
    },
)
REDUNDANT = (
    500,
    {
        "faultstring": "ERROR: Consumo redundante detectado. Aguarde 16 segundos para tentar novamente (REDUNDANT).",
        "faultcode": "SOAP-ENV:Client-6",
    },
)
TOO_MANY = (429, {"error_code": 429, "error_message": "Too Many Requests", "error_hash": "h"})
EMPTY = (
    500,
    {"faultstring": "ERROR: Não existem registros para a página [1]!", "faultcode": "SOAP-ENV:Client-5113"},
)
DONE = (200, {"nCodCtr": 7, "nCodOS": 99, "cCodStatus": "0", "cDescStatus": "Faturado!"})


class Omie:
    """A server that answers from a list (or a function) and remembers what it was asked."""

    def __init__(self, answers):
        self.answers = answers if callable(answers) else iter(answers)
        self.asked = []

    def __call__(self, request):
        body = json.loads(request.content)
        self.asked.append((request.url.path, body))
        answer = self.answers(body) if callable(self.answers) else next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        status, payload = answer
        return (
            httpx.Response(status, json=payload)
            if not isinstance(payload, bytes)
            else httpx.Response(status, content=payload)
        )

    @property
    def params(self):
        return [body["param"][0] for _, body in self.asked]


@pytest.fixture
def clock():
    return VirtualClock(datetime(2026, 12, 1, 9, tzinfo=UTC))


@pytest.fixture
def client_of(clock):
    def build(answers, **options):
        omie = Omie(answers)
        http = httpx.Client(transport=httpx.MockTransport(omie))
        client = OmieClient(
            Credentials(KEY, SECRET), base_url="https://omie.test/api/v1", http=http, clock=clock, **options
        )
        return client, omie

    return build


def paged(
    records,
    key="contratoCadastro",
    *,
    dialect=("pagina", "registros_por_pagina", "total_de_paginas", "total_de_registros"),
):
    """A list method over `records`, strict about asking past the end."""
    page_key, size_key, pages_key, total_key = dialect

    def answer(body):
        param = body["param"][0]
        page, size = param[page_key], param[size_key]
        found = records[(page - 1) * size : page * size]
        if not found:
            return EMPTY
        return 200, {page_key: page, pages_key: -(-len(records) // size), total_key: len(records), key: found}

    return answer


def contrato(n):
    return {"cabecalho": {"nCodCtr": n}}


def test_a_call_is_one_post_with_call_keys_and_one_param(client_of):
    client, omie = client_of([DONE])
    assert client.faturar_contrato(7) == FaturarReply(7, 99, "0", "Faturado!")
    path, body = omie.asked[0]
    assert path == "/api/v1/servicos/contratofat/"
    assert body == {
        "call": "FaturarContrato",
        "app_key": KEY,
        "app_secret": SECRET,
        "param": [{"nCodCtr": 7}],
    }


@pytest.mark.parametrize(
    ("call", "method", "param"),
    [
        (lambda c: c.incluir_contrato({"a": Decimal("1.10")}), "IncluirContrato", {"a": 1.1}),
        (lambda c: c.alterar_contrato({"a": 1}), "AlterarContrato", {"a": 1}),
        (lambda c: c.upsert_contrato({"a": 1}), "UpsertContrato", {"a": 1}),
        (
            lambda c: c.excluir_item(7, 3),
            "ExcluirItem",
            {"contratoChave": {"nCodCtr": 7}, "ItensExclusao": [{"codItem": 3}]},
        ),
        (lambda c: c.faturar_contrato(7), "FaturarContrato", {"nCodCtr": 7}),
        (lambda c: c.suspender_contrato(7), "SuspenderContrato", {"nCodCtr": 7}),
        (lambda c: c.ativar_contrato(7), "AtivarContrato", {"nCodCtr": 7}),
        (lambda c: c.reativar_contrato(7), "ReativarContrato", {"nCodCtr": 7}),
        (lambda c: c.cancelar_contrato(7), "CancelarContrato", {"nCodCtr": 7}),
        (lambda c: c.upsert_cliente_cpf_cnpj({"cnpj_cpf": "1"}), "UpsertClienteCpfCnpj", {"cnpj_cpf": "1"}),
        (
            lambda c: c.alterar_cliente(7, {"email": ""}),
            "AlterarCliente",
            {"codigo_cliente_omie": 7, "email": ""},
        ),
        (lambda c: c.faturar_lote_contrato("L1"), "FaturarLoteContrato", {"cCodIntLote": "L1"}),
    ],
)
@pytest.mark.parametrize(
    "failure",
    [
        BUSY,
        TOO_MANY,
        BROKEN,
        (502, b"<html></html>"),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
    ],
)
def test_a_write_is_sent_once_and_never_repeated(client_of, clock, call, method, param, failure):
    client, omie = client_of([failure])
    with pytest.raises(OmieError):
        call(client)
    assert [(path, body["call"], body["param"][0]) for path, body in omie.asked] == [
        ("/api/v1/" + PATHS[method], method, param)
    ]
    assert clock.slept == []


def test_a_write_whose_connection_was_refused_did_nothing_and_one_cut_off_is_in_doubt(client_of):
    client, _ = client_of([httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.ReadTimeout("slow")])
    with pytest.raises(NotExecuted):
        client.faturar_contrato(7)
    for _ in range(2):
        with pytest.raises(InDoubt):
            client.faturar_contrato(7)


@pytest.mark.parametrize(
    "reply",
    [
        {"cCodStatus": "0"},
        {"nCodCtr": 7, "nCodOS": 0, "cCodStatus": "0"},
        {"nCodCtr": 8, "nCodOS": 9, "cCodStatus": "0"},
    ],
)
def test_billing_without_a_plausible_os_is_in_doubt(client_of, reply):
    client, _ = client_of([(200, reply)])
    with pytest.raises(InDoubt):
        client.faturar_contrato(7)


def test_writes_return_the_ids_omie_gave(client_of):
    client, _ = client_of(
        [
            (200, {"cCodIntCtr": "JST-1", "nCodCtr": 12, "cCodStatus": "0", "cDescStatus": "ok"}),
            (200, {"codigo_cliente_omie": 34, "codigo_status": "0", "descricao_status": "ok"}),
            (200, {"nQtdeFat": 3, "nIdLoteFat": 56, "cCodStatus": "0", "cDesStatus": "ok"}),
            (200, {"cCodStatus": "0"}),
        ]
    )
    assert client.incluir_contrato({}) == 12
    assert client.upsert_cliente_cpf_cnpj({}) == 34
    assert client.faturar_lote_contrato("L-1") == LoteReply(56, 3, "0", "ok")
    with pytest.raises(InDoubt):
        client.alterar_contrato({})


def test_a_read_is_repeated_until_it_is_answered(client_of, clock):
    client, omie = client_of([httpx.ReadTimeout("slow"), (502, b"<html>"), (200, {"contratoCadastro": {"x": 1}})])
    assert client.consultar_contrato(7) == {"x": 1}
    assert len(omie.asked) == 3
    assert clock.slept == [61, 61], "the first may have arrived: sooner it would be refused as redundant"


def test_a_read_that_never_left_is_repeated_sooner(client_of, clock):
    client, omie = client_of(lambda _: httpx.ConnectError("refused"))
    with pytest.raises(NotExecuted, match="before the request was sent"):
        client.consultar_contrato(7)
    assert len(omie.asked) == 5
    assert clock.slept == [2, 4, 8, 16]


def test_an_answer_between_refused_connections_brings_the_redundancy_window_back(client_of, clock):
    refused, slow = httpx.ConnectError("refused"), httpx.ReadTimeout("slow")
    client, _ = client_of([refused, slow, refused, (200, {"contratoCadastro": {"x": 1}})])
    assert client.consultar_contrato(7) == {"x": 1}
    assert clock.slept == [2, 61, 8]


@pytest.mark.parametrize(("failure", "wait"), [(REDUNDANT, 17), (BUSY, 10), (TOO_MANY, 60)])
def test_a_read_waits_as_long_as_omie_asks(client_of, clock, failure, wait):
    client, _ = client_of([failure, (200, {"nCodOS": 1})], gate=ReadGate(clock))
    client.status_os(1)
    assert sum(clock.slept) == wait


def test_a_question_repeated_takes_its_turn_among_the_others_again(client_of, clock):
    lanes = MemoryLanes()
    turns = shared_turns(lambda question: lanes.ask("acme", question, clock.now().timestamp(), 61.0), clock)
    began = clock.now().timestamp()
    client, omie = client_of(
        [httpx.ReadTimeout("slow"), httpx.ConnectError("refused"), (200, {"listaContratos": []})],
        gate=ReadGate(clock, ask=turns),
    )
    assert client.obter_contratos(20) == []
    assert len(omie.asked) == 3
    asked = lanes.get("acme").asked[STAGE_20] - began  # the question as a batch looks for it in the lane
    assert asked == 61, "the second attempt waited for its moment; the third needed none, for the second never left"


def test_while_the_lane_is_stopped_no_question_is_asked(client_of, clock):
    lanes = MemoryLanes()
    lanes.block("acme", clock.now().timestamp() + 300, "5 erros de ListarContratos em 10 minutos")
    turns = shared_turns(lambda question: lanes.ask("acme", question, clock.now().timestamp(), 61.0), clock)
    client, omie = client_of(lambda _: EMPTY, gate=ReadGate(clock, ask=turns))
    with pytest.raises(Blocked, match="5 erros de ListarContratos") as stopped:
        list(client.iter_contratos())
    assert stopped.value.retry_after == 300
    assert not omie.asked


def test_a_read_gives_up_after_five_attempts(client_of):
    client, omie = client_of(lambda _: BUSY)
    with pytest.raises(NotExecuted):
        client.status_os(1)
    assert len(omie.asked) == 5


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            (
                425,
                {
                    "faultstring": "ERROR: API bloqueada por consumo indevido. Tente novamente em 1678 segundos.",
                    "faultcode": "MISUSE_API_PROCESS",
                },
            ),
            Blocked,
        ),
        (
            (
                403,
                {
                    "faultstring": "A chave de acesso está inválida ou o aplicativo está suspenso.",
                    "faultcode": "SOAP-ENV:Server",
                },
            ),
            KeyRefused,
        ),
        (
            (
                500,
                {
                    "faultstring": "ERROR: OS não cadastrada para o Código [1] !",
                    "faultcode": "SOAP-ENV:Client-103",
                },
            ),
            Rejected,
        ),
        (EMPTY, EmptyPage),
    ],
)
def test_a_read_that_was_refused_for_good_is_not_repeated(client_of, answer, error):
    client, omie = client_of([answer])
    with pytest.raises(error):
        client.listar_contratos(1)
    assert len(omie.asked) == 1


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_every_contract_is_read_once_and_no_page_beyond_the_last_is_asked(client_of, count):
    errors = []
    client, omie = client_of(
        paged([contrato(n) for n in range(count)]), on_error=lambda method, _: errors.append(method)
    )
    assert [c["cabecalho"]["nCodCtr"] for c in client.iter_contratos()] == list(range(count))
    assert len(omie.asked) == max(1, -(-count // 100))
    assert len(errors) == (count == 0)


def test_contracts_stream_page_by_page(client_of):
    client, omie = client_of(paged([contrato(n) for n in range(250)]))
    next(client.iter_contratos())
    assert len(omie.asked) == 1


def test_a_page_too_big_is_asked_for_in_smaller_ones_from_the_same_record_on(client_of):
    whole = paged([contrato(n) for n in range(230)])

    def answer(body):
        param = body["param"][0]
        first = (param["pagina"] - 1) * param["registros_por_pagina"]
        return BROKEN if param["registros_por_pagina"] > 25 and first >= 100 else whole(body)

    client, omie = client_of(answer)
    assert [c["cabecalho"]["nCodCtr"] for c in client.iter_contratos()] == list(range(230))
    assert [(p["pagina"], p["registros_por_pagina"]) for p in omie.params][:5] == [
        (1, 100),
        (2, 100),
        (3, 50),
        (5, 25),
        (6, 25),
    ]


def test_a_server_that_always_breaks_is_given_up(client_of):
    client, omie = client_of(lambda _: BROKEN)
    with pytest.raises(NotExecuted):
        list(client.iter_contratos())
    assert len(omie.asked) < 10


def test_fewer_records_than_announced_is_an_incomplete_read(client_of):
    client, _ = client_of(
        lambda body: (
            200,
            {
                "pagina": 1,
                "total_de_paginas": 2,
                "total_de_registros": 150,
                "contratoCadastro": [contrato(n) for n in range(100)],
            },
        )
    )
    with pytest.raises(IncompleteRead, match="Read 100 of 150"):
        list(client.iter_contratos())


def test_a_page_that_vanished_is_an_incomplete_read(client_of):
    first = {
        "pagina": 1,
        "total_de_paginas": 2,
        "total_de_registros": 101,
        "contratoCadastro": [contrato(n) for n in range(100)],
    }
    client, _ = client_of([(200, first), EMPTY])
    with pytest.raises(IncompleteRead):
        list(client.iter_contratos())


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"contratoCadastro": None},
        {"contratoCadastro": [contrato(1)]},
        {"contratoCadastro": ["x"], "total_de_registros": "?"},
    ],
)
def test_a_page_of_another_shape_is_an_omie_error(client_of, reply):
    client, _ = client_of(lambda _: (200, reply))
    with pytest.raises(NotExecuted):
        list(client.iter_contratos())


def test_each_list_speaks_its_own_dialect_of_paging(client_of):
    de, ate = date(2026, 12, 1), date(2026, 12, 31)
    movimento = ("nPagina", "nRegPorPagina", "nTotPaginas", "nTotRegistros")
    lote = ("nPagina", "nRegistros", "nTotPaginas", "nTotRegistros")
    client, omie = client_of(paged([{"Cabecalho": {"nCodOS": n}} for n in range(3)], "osCadastro"))
    assert len(list(client.iter_os(de, ate))) == 3
    assert omie.params[0]["filtrar_por_data_faturamento_de"] == "01/12/2026"
    client, omie = client_of(paged([{"n": 1}] * 3, "nfseEncontradas", dialect=movimento))
    assert len(list(client.listar_nfses(de, ate))) == 3
    assert omie.params[0] == {
        "nPagina": 1,
        "nRegPorPagina": 100,
        "dEmiInicial": "01/12/2026",
        "dEmiFinal": "31/12/2026",
    }
    client, omie = client_of(paged([{"n": 1}] * 3, "movimentos", dialect=movimento))
    assert len(list(client.iter_movimentos(de, ate, cNatureza="R"))) == 3
    assert {"dDtVencDe", "dDtVencAte", "cNatureza"} <= omie.params[0].keys()
    client, omie = client_of(
        paged([{"detalhes": {"nIdPedido": 1}}, {"detalhes": [{"nIdPedido": 2}]}, {}], "lotes", dialect=lote)
    )
    assert client.listar_lotes_contrato(5) == [{"nIdPedido": 1}, {"nIdPedido": 2}]
    client, omie = client_of(paged([{"nIdLoteFat": 1, "cOrigem": "SCH"}], "lotes", dialect=lote))
    assert [lot["cOrigem"] for lot in client.iter_lotes_contrato(de, ate)] == ["SCH"]
    assert omie.params[0] == {"nPagina": 1, "nRegistros": 100, "dDtIncDe": "01/12/2026", "dDtIncAte": "31/12/2026"}
    client, omie = client_of(paged([{"codigo_cliente_omie": n} for n in range(3)], "clientes_cadastro"))
    assert len(list(client.iter_clientes(clientesFiltro={"cnpj_cpf": "1"}))) == 3
    client, _ = client_of(paged([{"nCodCC": n} for n in range(3)], "ListarContasCorrentes"))
    assert [account["nCodCC"] for account in client.iter_contas_correntes()] == [0, 1, 2]
    client, _ = client_of(paged([{"codigo": f"1.0{n}"} for n in range(3)], "categoria_cadastro"))
    assert [category["codigo"] for category in client.iter_categorias()] == ["1.00", "1.01", "1.02"]
    client, _ = client_of(paged([{"intListar": {"nCodServ": n}} for n in range(3)], "cadastros", dialect=movimento))
    assert [service["intListar"]["nCodServ"] for service in client.iter_servicos()] == [0, 1, 2]


def test_an_empty_list_with_http_200_is_empty(client_of):
    client, _ = client_of([(200, {"nPagina": 1, "nTotPaginas": 0, "nTotRegistros": 0, "nfseEncontradas": []})])
    assert list(client.listar_nfses(date(2026, 12, 1), date(2026, 12, 1))) == []


def test_a_stage_is_a_list_of_ids_and_numbers(client_of):
    client, omie = client_of(
        [
            (200, {"cEtapa": "20", "listaContratos": [{"nCodCtr": 7, "cNumCtr": "2020/1"}, {"nCodCtr": 8}]}),
            (200, {"cEtapa": "20"}),
            EMPTY,
            (200, {"ok": 1}),
            (200, {"cEtapa": "20", "listaContratos": [{"cNumCtr": "2020/1"}]}),
        ]
    )
    assert client.obter_contratos(20) == [(7, "2020/1"), (8, "")]
    assert client.obter_contratos(20) == []
    assert client.obter_contratos("20") == []
    for _ in range(2):
        with pytest.raises(NotExecuted):
            client.obter_contratos(20)
    assert omie.params == [{"cEtapa": "20"}] * 5


def test_every_error_reply_is_told_also_those_repeated(client_of):
    told = []
    client, _ = client_of([BUSY, EMPTY], on_error=lambda method, error: told.append((method, error.rule)))
    assert client.obter_contratos(30) == []
    assert told == [("ObterContratos", "method_busy"), ("ObterContratos", "empty_page")]


DAY = date(2026, 12, 1)
LOST = httpx.ReadTimeout("slow")
ORDERS = (200, {"osCadastro": [{"Cabecalho": {"nCodOS": 1}}], "total_de_paginas": 1, "total_de_registros": 1})


@pytest.mark.parametrize(
    ("ask", "counts"),
    [
        (lambda client: list(client.iter_os(DAY, DAY)), True),
        (lambda client: list(client.iter_movimentos(DAY, DAY)), True),
        (lambda client: list(client.iter_contratos(filtrar_apenas_inclusao="S")), True),
        (lambda client: list(client.iter_contratos(filtrar_cliente=7)), False),
        (lambda client: list(client.iter_movimentos(DAY, DAY, nCodTitulo=7)), False),
        (lambda client: list(client.listar_nfses(DAY, DAY)), False),
        (lambda client: list(client.iter_contas_receber(DAY, DAY)), False),
        (lambda client: client.obter_contratos(20), False),
        (lambda client: client.consultar_contrato(7), False),
    ],
    ids=["orders", "titles", "new contracts", "one customer's", "one title", "notes", "receivables", "stage", "one"],
)
def test_a_lost_answer_counts_as_an_error_only_where_it_may_have_said_that_a_list_is_empty(client_of, ask, counts):
    """Omie counts each "nothing found", also the one that does not reach us; ten of them block the key."""
    told = []
    client, _ = client_of([LOST], read_attempts=1, on_error=lambda _, error: told.append(error.counts_toward_block))
    with pytest.raises(NotExecuted):
        ask(client)
    assert told == [counts]


def test_a_lost_page_after_the_first_counts_nothing(client_of):
    """A list that has a second page is not empty: of a thousand pages about thirty get no answer."""
    told = []
    first = (200, {"osCadastro": [{"Cabecalho": {"nCodOS": 1}}] * 100, "total_de_paginas": 2})
    first[1]["total_de_registros"] = 101
    client, _ = client_of([first, LOST], read_attempts=1, on_error=lambda _, error: told.append(error))
    with pytest.raises(NotExecuted):
        list(client.iter_os(DAY, DAY))
    assert [(error.rule, error.counts_toward_block) for error in told] == [("transport", False)]


def test_a_list_that_never_left_counts_nothing(client_of):
    told = []
    refused = httpx.ConnectError("refused")
    client, _ = client_of([refused], read_attempts=1, on_error=lambda _, error: told.append(error))
    with pytest.raises(NotExecuted):
        list(client.iter_os(DAY, DAY))
    assert [error.counts_toward_block for error in told] == [False]


def test_who_repeats_no_errors_repeats_a_list_whose_answer_was_lost(client_of):
    client, omie = client_of([LOST, ORDERS], repeats_errors=False)
    assert len(list(client.iter_os(DAY, DAY))) == 1
    assert len(omie.asked) == 2


@pytest.mark.parametrize(
    "failure",
    [
        (
            500,
            {
                "faultstring": f"ERROR: app_key {KEY} app_secret {SECRET} desconhecidos",
                "faultcode": "SOAP-ENV:Client-1",
            },
        ),
        (502, f"<html>{KEY} {SECRET}</html>".encode()),
        (200, {"cCodStatus": "1", "cDescStatus": f"{SECRET}"}),
        httpx.ReadTimeout(f"{KEY}:{SECRET}"),
        httpx.ConnectError(f"{KEY}:{SECRET}"),
    ],
)
def test_keys_are_never_in_errors_tracebacks_reprs_or_logs(client_of, caplog, failure):
    caplog.set_level(logging.DEBUG)
    client, _ = client_of(
        lambda _: failure, on_error=lambda method, error: logging.getLogger("t").error("%s %r", method, error)
    )
    shown = [repr(client), str(client), repr(Credentials(KEY, SECRET)), repr(vars(client))]
    for call in (
        lambda: client.faturar_contrato(7),
        lambda: client.consultar_contrato(7),
        lambda: list(client.iter_contratos()),
    ):
        with pytest.raises(OmieError) as caught:
            call()
        error = caught.value
        details = traceback.TracebackException.from_exception(error, capture_locals=True)
        details.stack = traceback.StackSummary.from_list(
            [f for f in details.stack if "test_omie_client" not in f.filename]
        )
        shown += [str(error), repr(error), repr(error.args), repr(vars(error)), *details.format()]
    for text in (*shown, caplog.text):
        assert KEY not in text
        assert SECRET not in text


# --- what billing produced


def test_an_order_s_nfse_is_found_by_whatever_names_it_and_none_is_no_error(client_of):
    found = {"OrdemServico": {"nCodigoOS": 9}}
    page = {"nPagina": 1, "nTotPaginas": 1, "nTotRegistros": 1, "nfseEncontradas": [found]}
    nothing = {"nPagina": 1, "nTotPaginas": 0, "nTotRegistros": 0, "nfseEncontradas": []}
    client, omie = client_of([(200, page), (200, nothing)])
    assert client.nfses_da_os(nCodOS=9) == [found]
    assert client.nfses_da_os(cNumOS="000000000000012") == []
    assert [set(param) - {"nPagina", "nRegPorPagina"} for param in omie.params] == [{"nCodigoOS"}, {"nNumeroOS"}]
    with pytest.raises(ValueError, match="an order is named"):
        client.nfses_da_os()


def test_titles_of_a_customer_are_read_between_two_days(client_of):
    titles = [{"codigo_lancamento_omie": 1}, {"codigo_lancamento_omie": 2}]
    dialect = ("pagina", "registros_por_pagina", "total_de_paginas", "total_de_registros")
    client, omie = client_of(paged(titles, "conta_receber_cadastro", dialect=dialect))
    read = client.iter_contas_receber(date(2026, 12, 1), date(2026, 12, 31), filtrar_cliente=7)
    assert list(read) == titles
    assert omie.params[0].items() >= {
        ("filtrar_por_emissao_de", "01/12/2026"),
        ("filtrar_por_emissao_ate", "31/12/2026"),
        ("filtrar_cliente", 7),
    }


def test_a_title_without_a_boleto_is_none_and_an_error_is_an_error(client_of):
    slip = {"cLinkBoleto": "https://x", "cCodBarras": "1", "cCodStatus": "0", "cDesStatus": "ok"}
    none_yet = {
        "cLinkBoleto": "",
        "cCodBarras": "",
        "cCodStatus": "103",
        "cDesStatus": "O boleto ainda não foi gerado!",
    }
    client, omie = client_of([(200, slip), (200, none_yet), (200, {**none_yet, "cCodStatus": "0"})])
    assert client.obter_boleto(5) == slip
    assert client.obter_boleto(6) is None
    assert client.obter_boleto(7) is None
    assert omie.params[0] == {"nCodTitulo": 5}
    refused, _ = client_of([(500, {"faultstring": "A chave de acesso está inválida!", "faultcode": "x"})])
    with pytest.raises(KeyRefused):
        refused.obter_boleto(5)


def test_making_a_boleto_is_a_write_sent_once(client_of):
    client, omie = client_of([BROKEN])
    with pytest.raises(InDoubt):
        client.gerar_boleto(5)
    assert omie.asked[0][0] == "/api/v1/financas/contareceberboleto/"


def test_readers_that_erred_twice_leave_the_method_alone_for_ten_minutes(client_of, clock):
    lanes = MemoryLanes()

    def count(method, error):
        if error.counts_toward_block:
            lanes.note_reader_error("acme", method, clock.now().timestamp())

    gate = ReadGate(clock, permit=reader_permit(lambda: lanes.readers("acme"), clock))
    client, omie = client_of([BROKEN, BROKEN, (200, {"contratoCadastro": contrato(8)})], gate=gate, on_error=count)
    with pytest.raises(Blocked, match="2 erros de ConsultarContrato") as stopped:
        client.consultar_contrato(7)
    assert (stopped.value.rule, len(omie.asked)) == ("readers", 2)
    assert lanes.get("acme") == LaneState()
    clock.sleep(stopped.value.retry_after)
    assert client.consultar_contrato(8) == contrato(8)


UNKNOWN = (
    500,
    {"faultstring": "ERROR: Contrato não cadastrado para o Código [0]!", "faultcode": "SOAP-ENV:Client-103"},
)


def test_a_contract_is_found_by_our_code_and_none_is_an_answer(client_of):
    client, omie = client_of([(200, {"contratoCadastro": contrato(7)}), UNKNOWN])
    assert client.consultar_contrato_por_codigo("JST-12") == contrato(7)
    assert client.consultar_contrato_por_codigo("JST-12") is None
    assert omie.params[0] == {"contratoChave": {"cCodIntCtr": "JST-12"}}


def test_a_refused_key_is_not_a_contract_that_is_not_there(client_of):
    refused = (500, {"faultstring": "ERROR: A chave de acesso está inválida.", "faultcode": "SOAP-ENV:Client-4"})
    client, _ = client_of([refused])
    with pytest.raises(KeyRefused):
        client.consultar_contrato_por_codigo("JST-12")


def test_who_must_not_wait_reads_once(client_of, clock):
    began = clock.now()
    client, omie = client_of([BROKEN, DONE], read_attempts=1)
    with pytest.raises(NotExecuted):
        client.consultar_contrato(7)
    assert (len(omie.asked), clock.now()) == (1, began)


def test_a_boleto_is_cancelled_by_its_title_and_one_that_is_not_there_is_refused_softly(client_of):
    gone = (200, {"cCodStatus": "103", "cDesStatus": "O boleto ainda não foi gerado!"})
    client, omie = client_of([(200, {"cCodStatus": "0", "cDesStatus": "ok"}), gone])
    client.cancelar_boleto(99)
    with pytest.raises(Rejected) as refused:
        client.cancelar_boleto(99)
    assert (refused.value.rule, refused.value.counts_toward_block) == ("soft", False)
    assert omie.params == [{"nCodTitulo": 99}] * 2
    assert omie.asked[0][0] == "/api/v1/financas/contareceberboleto/"
