"""What every Omie reply means: each known row verbatim, and the rule for everything unknown."""

import json
import traceback
from datetime import UTC, datetime, time
from decimal import Decimal

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing.omie.replies import (
    AlreadyRegistered,
    Blocked,
    EmptyPage,
    InDoubt,
    KeyRefused,
    NotExecuted,
    OmieError,
    Outcome,
    Rejected,
    clean,
    fold,
    read_reply,
    seconds_until,
    transport_error,
    was_sent,
)

METHOD = "FaturarContrato"


def fault(text, code="SOAP-ENV:Client-0"):
    return json.dumps({"faultstring": text, "faultcode": code}).encode()


def verdict(body, *, write, status=500):
    with pytest.raises(OmieError) as caught:
        read_reply(METHOD, write=write, status=status, body=body)
    return caught.value


REDUNDANT = "ERROR: Consumo redundante detectado. Aguarde {} segundos para tentar novamente (REDUNDANT)."
BUSY = (
    "ERROR: Já existe uma requisição desse método sendo executada e você pode tentar novamente em alguns instantes. (1)"
)
PROCESSED = (
    "ERROR: Esta requisição já foi processada ou está sendo processada e você pode tentar novamente às 19:04:08. (1)"
)
BLOCKED = "ERROR: API bloqueada por consumo indevido. Tente novamente em {} segundos."
BROKEN = "SOAP-ERROR: Broken response from Application Server (4)"

THROTTLING = [
    # status, faultcode, text, a read, a write, retry_after
    *[
        (500, f"SOAP-ENV:Client-{code}", REDUNDANT.format(16), NotExecuted, InDoubt, 17)
        for code in (6, 8020, 5020, 500)
    ],
    *[(500, "SOAP-ENV:Client-6", REDUNDANT.format(n), NotExecuted, InDoubt, n + 1) for n in (47, 57, 58, 60)],
    (500, "SOAP-ENV:Client-1880", BUSY, NotExecuted, NotExecuted, 10),
    (500, "SOAP-ENV:Client-8020", PROCESSED, NotExecuted, InDoubt, None),
    *[(425, "MISUSE_API_PROCESS", BLOCKED.format(n), Blocked, Blocked, n + 1) for n in (1678, 1764, 1322, 1200, 664)],
    (500, "SOAP-ENV:Server", BROKEN, NotExecuted, InDoubt, None),
    (500, "", "PROTO_BYEBYE", NotExecuted, InDoubt, None),
]


@pytest.mark.parametrize(("status", "code", "text", "read", "write", "wait"), THROTTLING)
def test_throttling_and_instability_mean_what_omie_says(status, code, text, read, write, wait):
    for is_write, expected in ((False, read), (True, write)):
        error = verdict(fault(text, code), write=is_write, status=status)
        assert type(error) is expected
        assert (error.retry_after, error.faultcode, error.http_status) == (wait, code, status)
        assert error.text == text


NOTHING_KNOWN = "ERROR: texto que ninguém conhece"
EMPTY = "ERROR: Não existem registros para a página [1]!"
RULES = [
    # rule, what is enough to know it by: a wording, a code or a status; a read, a write, retry_after
    *[
        ("key_refused", {"text": text}, KeyRefused, KeyRefused, None)
        for text in ("A chave de acesso está inválida", "A chave de acesso não está preenchida")
    ],
    (
        "being_processed",
        {"text": "Esta requisição já foi processada ou está sendo processada"},
        NotExecuted,
        InDoubt,
        None,
    ),
    ("redundant", {"text": "Consumo redundante detectado."}, NotExecuted, InDoubt, 60),
    ("redundant", {"text": "ERROR: (REDUNDANT)."}, NotExecuted, InDoubt, 60),
    ("broken_response", {"text": BROKEN}, NotExecuted, InDoubt, None),
    ("proto_byebye", {"text": "PROTO_BYEBYE"}, NotExecuted, InDoubt, None),
    ("blocked", {"text": "ERROR: API bloqueada por consumo indevido."}, Blocked, Blocked, 1800),
    ("blocked", {"code": "MISUSE_API_PROCESS"}, Blocked, Blocked, 1800),
    ("blocked", {"status": 425}, Blocked, Blocked, 1800),
    ("method_busy", {"text": BUSY}, NotExecuted, NotExecuted, 10),
    ("too_many_requests", {"text": "Too Many Requests"}, NotExecuted, NotExecuted, 60),
    ("too_many_requests", {"code": "429"}, NotExecuted, NotExecuted, 60),
    ("too_many_requests", {"status": 429}, NotExecuted, NotExecuted, 60),
    ("empty_page", {"text": EMPTY}, EmptyPage, InDoubt, None),
    ("empty_page", {"code": "SOAP-ENV:Client-5113"}, EmptyPage, InDoubt, None),
    ("already_registered", {"text": "ERROR: Cliente já cadastrado"}, Rejected, AlreadyRegistered, None),
    ("already_registered", {"text": "ERROR: Contrato já foi cadastrado"}, Rejected, AlreadyRegistered, None),
    *[
        ("permanent", {"text": text}, Rejected, Rejected, None)
        for text in (
            "ERROR: Tag [X] não faz parte da estrutura do tipo complexo [Y]!",
            "ERROR: OS não cadastrada para o Código [9]",
            "ERROR: Cliente não cadastrado para o Código [9]",
            "ERROR: Nenhuma [?] foi encontrada!",
            "ERROR: Nenhum registro foi encontrado",
            "ERROR: O preenchimento da tag [razao_social] é obrigatório!",
            "ERROR: Nenhum parâmetro foi recebido em WS_PARAMS!",
            "ERROR: O número máximo de caracteres permitido para o elemento [cCodIntCtr] é de 20",
            "Invalid JSON Object",
            "JSON request with SyntaxError",
            "error Method FaturarContratos not exists",
            "ERROR: O período contábil de Dezembro de 2023 foi bloqueado por Integração",
            "ERROR: Informe a Tag [nCodOS] ou [cCodIntOS] na alteração!",
        )
    ],
    *[
        ("permanent", {"code": f"SOAP-ENV:Client-{code}"}, Rejected, Rejected, None)
        for code in (71, 103, 105, 115, 206, 1000, 1002, 1010, 1020, 1035, 1070, 1073, 3102, 5001, 5002, 9090, 18800)
    ],
    ("unknown", {}, NotExecuted, InDoubt, None),
    ("unknown", {"code": "SOAP-ENV:Client-101"}, NotExecuted, InDoubt, None),
    ("unknown", {"text": "O cliente disse: too many requests hoje"}, NotExecuted, InDoubt, None),
]


@pytest.mark.parametrize(("rule", "known", "read", "write", "wait"), RULES)
def test_a_wording_a_code_or_a_status_alone_is_enough(rule, known, read, write, wait):
    body = fault(known.get("text", NOTHING_KNOWN), known.get("code", ""))
    for is_write, expected in ((False, read), (True, write)):
        error = verdict(body, write=is_write, status=known.get("status", 500))
        assert (type(error), error.rule, error.retry_after) == (expected, rule, wait)


@pytest.mark.parametrize("write", [True, False])
def test_the_429_body_has_no_faultstring_and_was_not_executed(write):
    body = b'{"error_code":429,"error_message":"Too Many Requests","error_hash":"a1b2c3"}'
    error = verdict(body, write=write, status=429)
    assert type(error) is NotExecuted
    assert error.retry_after == 60


PERMANENT = [
    ("5001", "ERROR: Tag [CODIGO_CLIENTE] não faz parte da estrutura do tipo complexo [osCadastro]!"),
    ("103", "ERROR: OS não cadastrada para o Código de Integração [999999999999] !"),
    ("105", "ERROR: Cliente não cadastrado para o Código [999999999] !"),
    ("105", "ERROR: Lançamento não cadastrado para o Código [123] !"),
    ("105", "ERROR: Valor inválido para a tag [cTpVenc]. Valores válidos: 001, 002."),
    (
        "5002",
        "ERROR: Serviço não cadastrado para o Código de integração do Serviço [teste-010] ! Tag [cCodIntServ]!",
    ),
    ("101", "ERROR: Nenhuma [?] foi encontrada!"),
    ("1000", "ERROR: O preenchimento da tag [razao_social] é obrigatório!"),
    ("1002", "ERROR: O preenchimento da tag [cCodIntOS] ou [nCodOS] é obrigatório!"),
    *[
        (code, "ERROR: texto que varia com o campo")
        for code in ["1010", "1020", "1035", "1070", "1073", "3102", "9090"]
    ],
    ("115", "ERROR: Produto inativo"),
    ("206", "ERROR: Pedido de compra não cadastrado para o Número [12]"),
    ("18800", "ERROR: Pedido não cadastrado"),
    ("71", "ERROR: Nenhum parâmetro foi recebido em WS_PARAMS!"),
    ("", "ERROR: O número máximo de caracteres permitido para o elemento [cCodIntCtr] é de 20"),
    ("", "Invalid JSON Object"),
    ("", "JSON request with SyntaxError"),
    ("", "error Method FaturarContratos not exists"),
    ("", "ERROR: O período contábil de Dezembro de 2023 foi bloqueado por Integração em 05/01/2024"),
    ("", "ERROR: Informe a Tag [nCodOS] ou [cCodIntOS] na alteração!"),
]


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize(("code", "text"), PERMANENT)
def test_a_permanent_error_is_rejected_and_never_repeated(code, text, write):
    error = verdict(fault(text, f"SOAP-ENV:Client-{code}" if code else ""), write=write)
    assert type(error) is Rejected
    assert error.counts_toward_block


@pytest.mark.parametrize(
    ("code", "text", "existing_id"),
    [
        (
            "102",
            "ERROR: Cliente já cadastrado para o Código de Integração [X] com o nCod [2274524288] !",
            2274524288,
        ),
        (
            "101",
            "Cliente já cadastrado para o CPF/CNPJ [11.222.333/0001-81] com o Id [2310000011] e código de integração [C-7]",
            2310000011,
        ),
        ("101", "ERROR: Pedido de venda já cadastrado para o codigo de integracao [P-1]!", None),
        ("102", "CONTRATO JA FOI CADASTRADO com o nCod [7]", 7),
        ("102", "ERROR: Código [5] já cadastrado para o Id [6], agora com o nCod [ 7 ]", 7),
        ("102", "ERROR: já cadastrado com o Grid [8]", None),
    ],
)
def test_a_duplicate_key_names_what_exists(code, text, existing_id):
    error = verdict(fault(text, f"SOAP-ENV:Client-{code}"), write=True)
    assert type(error) is AlreadyRegistered
    assert error.existing_id == existing_id


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "A chave de acesso está inválida ou o aplicativo está suspenso.",
        "ERROR: A chave de acesso não está preenchida ou não é válida.",
    ],
)
def test_a_refused_key_is_its_own_kind_of_rejection(text, write):
    error = verdict(fault(text, "SOAP-ENV:Server"), write=write, status=403)
    assert type(error) is KeyRefused
    assert error.outcome is Outcome.REJECTED


def test_an_empty_page_is_an_error_only_in_form():
    body = fault("ERROR: Não existem registros para a página [1]!", "SOAP-ENV:Client-5113")
    assert type(verdict(body, write=False)) is EmptyPage
    assert type(verdict(body, write=True)) is InDoubt


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"cCodStatus": "103", "cDesStatus": "", "cLinkBoleto": ""}, "103"),
        ({"cCodStatus": "1", "cDescStatus": "Para emitir falta preencher o E-mail."}, "1"),
        ({"cCodStatus": "719", "cDesStatus": "Pix indisponível"}, "719"),
        ({"codigo_status": 5, "descricao_status": "Recusado"}, "5"),
        ({"cCodStatus": "429", "cDescStatus": "Recusado"}, "429"),
        ({"cCodStatus": "X0", "cDescStatus": "Recusado"}, "X0"),
    ],
)
@pytest.mark.parametrize("write", [True, False])
def test_a_status_other_than_zero_is_a_rejection_though_http_says_200(body, code, write):
    error = verdict(json.dumps(body).encode(), write=write, status=200)
    assert type(error) is Rejected
    assert error.faultcode == code
    assert not error.counts_toward_block


def test_a_fault_is_a_fault_even_with_http_200():
    assert type(verdict(fault(BUSY, "SOAP-ENV:Client-1880"), write=True, status=200)) is NotExecuted
    assert type(verdict(fault("ERROR: Algo novo aconteceu"), write=True, status=200)) is InDoubt


def test_the_documented_omie_fail_shape_is_a_fault():
    body = b'{"code":5001,"description":"ERROR: Tag [X] nao faz parte da estrutura do tipo complexo [Y]!","referer":"","fatal":false}'
    assert type(verdict(body, write=True, status=500)) is Rejected


@pytest.mark.parametrize(
    ("body", "text", "code"),
    [
        ({"faultstring": "Algo &amp; mais", "faultcode": 7}, "Algo & mais", "7"),
        ({"faultstring": "Algo"}, "Algo", ""),
        ({"faultcode": "Server"}, "", "Server"),
        ({"faultstring": "Algo", "error_message": "x", "error_code": 1, "description": "x", "code": 1}, "Algo", ""),
        ({"error_message": "Algo", "error_code": 7}, "Algo", "7"),
        ({"error_message": "Algo"}, "Algo", ""),
        ({"error_code": 7}, "", "7"),
        ({"error_code": 7, "description": "x", "code": 1}, "", "7"),
        ({"description": "Algo", "code": 7}, "Algo", "7"),
        ({"description": "Algo", "code": 0}, "Algo", ""),
    ],
)
def test_text_and_code_of_a_fault_are_found_in_each_of_its_shapes(body, text, code):
    error = verdict(json.dumps(body).encode(), write=True)
    assert (error.text, error.faultcode, error.http_status, error.method) == (text, code, 500, METHOD)


@pytest.mark.parametrize("body", [{"description": "Contrato 12"}, {"code": 7}, {"description": "", "code": 7}])
def test_a_payload_that_has_a_code_or_a_description_is_no_fault(body):
    assert read_reply("ListarContratos", write=False, status=200, body=json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"cCodStatus": "1", "cDescStatus": "Recusado &amp; mais"}, "Recusado & mais"),
        ({"cCodStatus": "1", "cDescStatus": "", "cDesStatus": "Recusado"}, "Recusado"),
        ({"codigo_status": "1", "descricao_status": "Recusado"}, "Recusado"),
        ({"cCodStatus": "1"}, ""),
    ],
)
def test_the_words_of_a_status_are_found_whatever_their_key(body, text):
    error = verdict(json.dumps(body).encode(), write=True, status=200)
    assert (type(error), error.rule, error.text, error.faultcode) == (Rejected, "soft", text, "1")
    assert (error.method, error.http_status, error.retry_after, error.retry_at) == (METHOD, 200, None, None)


def test_a_status_whose_words_are_known_is_judged_by_them():
    error = verdict(json.dumps({"cCodStatus": "5", "cDescStatus": BUSY}).encode(), write=True, status=200)
    assert (type(error), error.rule) == (NotExecuted, "method_busy")


@pytest.mark.parametrize("status", ["0", "00", 0, " 0 "])
def test_zero_is_done_however_it_is_written(status):
    for key in ("cCodStatus", "codigo_status"):
        body = {key: status, "nCodOS": 1}
        assert read_reply(METHOD, write=True, status=200, body=json.dumps(body).encode()) == body


def test_every_success_of_http_and_no_other_may_be_done():
    body = b'{"cCodStatus":"0"}'
    for status in (200, 202, 299):
        assert read_reply(METHOD, write=True, status=status, body=body) == {"cCodStatus": "0"}
    for status in (199, 300, 500):
        error = verdict(body, write=True, status=status)
        assert (error.rule, error.method, error.http_status) == ("contradiction", METHOD, status)
        assert verdict(body, write=False, status=status).rule == "unknown"


@pytest.mark.parametrize("number", [b"NaN", b"1e99999999999999999999", b"9" * 5000, b"[" * 2000 + b"]" * 2000])
def test_a_number_that_is_none_leaves_a_write_in_doubt_and_a_list_its_other_rows(number):
    body = b'{"cCodStatus":"0","movimentos":[{"nValor":' + number + b'},{"nValor":2.50}]}'
    assert type(verdict(body, write=True, status=200)) is InDoubt
    rows = read_reply("ListarMovimentos", write=False, status=200, body=body)["movimentos"]
    assert rows[1] == {"nValor": Decimal("2.50")}
    assert rows[0]["nValor"] != 2.5


@pytest.mark.parametrize("status", [200, 201, 302, 400, 403, 404, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
        b'{"faultstring":"ERROR: Erro que ninguem conhece","faultcode":"SOAP-ENV:Client-9999"}',
        b'{"faultstring":"ERROR: Ja ',
        b"[]",
        b"null",
        b'"ok"',
        b"\xff\xfe\x00",
    ],
)
def test_an_unknown_reply_leaves_a_write_in_doubt_and_a_read_free_to_repeat(status, body):
    assert type(verdict(body, write=True, status=status)) is InDoubt
    assert type(verdict(body, write=False, status=status)) is NotExecuted


@pytest.mark.parametrize("body", [b"{}", b'{"nCodCtr":1}', b'{"cCodStatus":null}', b'{"cCodStatus":" "}'])
def test_a_write_without_a_status_is_in_doubt(body):
    error = verdict(body, write=True, status=200)
    assert type(error) is InDoubt
    assert str(error) == "FaturarContrato: HTTP 200 [unknown] Reply without cCodStatus."
    assert read_reply("ListarContratos", write=False, status=200, body=body) == json.loads(body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"cCodStatus": "1", "cDescStatus": "Faturado com alertas", "nCodOS": 488948625}),
        (200, {"cCodStatus": "1", "nCodOS": 1}),
        (200, {"cCodStatus": "1", "nIdLoteFat": 1}),
        (429, {"cCodStatus": "0", "nCodOS": 488948625}),
        (429, {"nCodOS": 488948625}),
        (425, {"cCodStatus": "0"}),
        (500, {"faultstring": BUSY, "faultcode": "SOAP-ENV:Client-1880", "nCodOS": 488948625}),
        (500, {"faultstring": "Nenhuma [?] foi encontrada!", "cCodStatus": "0"}),
    ],
)
def test_a_refusal_that_also_shows_success_leaves_a_write_in_doubt(status, body):
    error = verdict(json.dumps(body).encode(), write=True, status=status)
    assert (type(error), error.rule) == (InDoubt, "contradiction")


@pytest.mark.parametrize("sign", [{"nCodOS": 0}, {"nCodOS": None}, {"nCodOS": "7"}, {"nIdLoteFat": 0}, {"nCodCtr": 9}])
def test_what_is_no_new_order_is_no_sign_of_success(sign):
    assert type(verdict(json.dumps({"cCodStatus": "1"} | sign).encode(), write=True, status=200)) is Rejected


def test_a_read_is_in_no_doubt_whatever_it_contradicts():
    body = {"faultstring": BUSY, "cCodStatus": "0", "nCodOS": 1}
    assert type(verdict(json.dumps(body).encode(), write=False)) is NotExecuted


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ERROR: x! Elapsed time: 0.31s", "ERROR: x!"),
        ("ERROR: x! ELAPSED TIME:12,5 MS (1)", "ERROR: x! (1)"),
        ("Elapsed time: 3 segundos depois", "depois"),
        ("Elapsed time: 00:00:01 seconds.", "."),
        ("Elapsed time: 3 sono", "sono"),
        (" um\n\tdois\x00três\u200bquatro ", "um dois três quatro"),
        ("a &amp;lt;b&gt;", "a <b>"),
        ("x" * 501, "x" * 500),
        ("&amp;" * 501, "&" * 500),
        (" " * 3999 + "ab", "a"),
    ],
)
def test_a_text_becomes_one_readable_line(text, line):
    assert clean(text) == line


def test_of_a_page_of_html_the_words_are_kept():
    page = b"<html><head><title>502 Bad Gateway</title></head>\n<body><b>nginx</b></body></html>"
    assert verdict(page, write=True, status=502).text == "502 Bad Gateway nginx"
    assert verdict(b"<i></i>" * 571 + b"abcdef", write=True, status=502).text == "abc"
    assert verdict("não é JSON".encode("latin-1"), write=True).text == "não é JSON"


def test_entities_and_elapsed_time_noise_do_not_hide_the_wording():
    text = "ERROR: Cliente &quot;A &amp;amp; B&quot; n&atilde;o cadastrado para o C&oacute;digo [9] !\n Elapsed time: 0.31s"
    error = verdict(fault(text), write=True)
    assert type(error) is Rejected
    assert error.text == 'ERROR: Cliente "A & B" não cadastrado para o Código [9] !'
    soft = {"cCodStatus": "0", "cDesStatus": "Boleto gerado com sucesso! Elapsed time: 1,2 s"}
    assert read_reply("ObterBoleto", write=False, status=200, body=json.dumps(soft).encode()) == soft


def test_wordings_match_without_accents_in_any_case_and_encoding():
    body = fault(BUSY).decode("unicode-escape").encode("latin-1")
    assert type(verdict(body, write=True)) is NotExecuted
    assert type(verdict(fault(fold(PROCESSED).upper()), write=True)) is InDoubt


def test_a_block_that_names_no_time_lasts_half_an_hour():
    assert verdict(b"<html>425</html>", write=True, status=425).retry_after == 1800


def test_the_time_of_day_that_8020_names_is_read_in_sao_paulo():
    error = verdict(fault(PROCESSED, "SOAP-ENV:Client-8020"), write=False)
    assert error.retry_at == time(19, 4, 8)
    assert seconds_until(error.retry_at, datetime(2026, 12, 1, 22, 3, 48, tzinfo=UTC)) == 21
    assert seconds_until(time(0, 0, 5), datetime(2026, 12, 2, 2, 59, 55, tzinfo=UTC)) == 11
    assert seconds_until(error.retry_at, datetime(2026, 12, 1, 22, 4, 9, tzinfo=UTC)) == 60
    assert seconds_until(error.retry_at, datetime(2026, 12, 1, 22, 4, 8, tzinfo=UTC)) == 1
    assert seconds_until(error.retry_at, datetime(2026, 12, 1, 21, 4, 9, tzinfo=UTC)) == 3600
    assert seconds_until(error.retry_at, datetime(2026, 12, 1, 21, 4, 8, tzinfo=UTC)) == 60


@pytest.mark.parametrize(
    ("says", "retry_at"),
    [
        ("às 00:00:00", time(0, 0, 0)),
        ("às 23:59:59.", time(23, 59, 59)),
        ("às 24:00:00", None),
        ("às 12:60:00", None),
        ("das 12:00:00", None),
        ("às 12:00", None),
    ],
)
def test_a_time_of_day_is_read_only_where_there_is_one(says, retry_at):
    assert verdict(fault(f"Tente novamente {says}"), write=False).retry_at == retry_at


@pytest.mark.parametrize(
    ("says", "wait"),
    [
        ("em 1 segundo", 2),
        ("em 99999 segundos", 100000),
        ("AGUARDE 0 SEGUNDOS", 1),
        ("em 100000 segundos", None),
        ("bem 5 segundos", None),
        ("em cinco segundos", None),
    ],
)
def test_a_wait_is_read_only_where_there_is_one(says, wait):
    assert verdict(fault(f"Tente novamente {says}"), write=False).retry_after == wait


def test_a_done_reply_is_its_payload_with_exact_decimals():
    body = b'\xef\xbb\xbf{"nCodCtr":2203958,"nCodOS":488948625,"cCodStatus":"0","cDescStatus":"ok","v":1200.10}'
    payload = read_reply(METHOD, write=True, status=200, body=body)
    assert payload["nCodOS"] == 488948625
    assert payload["v"] == Decimal("1200.10")


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (httpx.ConnectError, False),
        (httpx.ConnectTimeout, False),
        (httpx.PoolTimeout, False),
        (httpx.ReadTimeout, True),
        (httpx.WriteTimeout, True),
        (httpx.ReadError, True),
        (httpx.WriteError, True),
        (httpx.RemoteProtocolError, True),
        (httpx.DecodingError, True),
    ],
)
def test_only_a_call_that_never_left_is_surely_not_executed(kind, sent):
    exc = kind("x")
    assert was_sent(exc) is sent
    assert type(transport_error(METHOD, write=True, exc=exc, sent=sent)) is (InDoubt if sent else NotExecuted)
    assert type(transport_error(METHOD, write=False, exc=exc, sent=sent)) is NotExecuted
    error = transport_error(METHOD, write=True, exc=exc, sent=sent)
    when = ("[transport]", "after") if sent else ("[not_sent]", "before")
    assert str(error) == f"FaturarContrato: no answer {when[0]} {kind.__name__} {when[1]} the request was sent."
    assert (error.http_status, error.retry_after, error.faultcode) == (None, None, "")
    assert not error.counts_toward_block


def test_an_error_says_method_answer_code_and_text_in_one_line():
    error = verdict(fault(BUSY, "SOAP-ENV:Client-1880"), write=True)
    assert str(error) == f"FaturarContrato: HTTP 500 SOAP-ENV:Client-1880 [method_busy] {BUSY}"
    assert traceback.format_exception_only(error)[0].count("\n") == 1
    assert repr(error) == f"<NotExecuted {error}>"
    assert error.args == (METHOD, BUSY)
    assert str(verdict(b"", write=True)) == "FaturarContrato: HTTP 500 [unknown]"


# Any reply at all

known_words = [
    BUSY,
    PROCESSED,
    BLOCKED,
    BROKEN,
    "Too Many Requests",
    "já cadastrado",
    "PROTO_BYEBYE",
    "0",
    "429",
    "",
]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.sampled_from(known_words)
)
keys = st.sampled_from(
    [
        "faultstring",
        "faultcode",
        "error_message",
        "error_code",
        "description",
        "code",
        "cCodStatus",
        "codigo_status",
        "cDescStatus",
        "nCodOS",
    ]
)
answers = st.dictionaries(keys, scalars | st.lists(scalars, max_size=2), max_size=5)
bodies = st.one_of(st.binary(max_size=200), answers.map(lambda answer: json.dumps(answer).encode()))
statuses = st.one_of(st.integers(min_value=100, max_value=599), st.sampled_from([200, 425, 429, 500]))


def denies_execution(body, status):
    """Whether the reply holds, somewhere, one of the few things that deny execution."""
    try:
        said = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        said = body.decode("latin-1")
    words = ("ja existe uma requisicao desse metodo sendo executada", "too many requests", "429")
    return status == 429 or any(word in fold(said) for word in words)


@given(bodies, statuses, st.booleans())
@example(b'{"a":1e99999999999999999999}', 200, True)
@example(b"[" * 100_000, 200, True)
@example(b'{"cCodStatus":' + b"9" * 5000 + b"}", 200, True)
@example(b'{"cCodStatus":NaN}', 200, True)
@example(b'{"faultstring":"\\ud800","faultcode":{"a":[1]}}', 500, True)
def test_whatever_arrives_nothing_but_an_omie_error_escapes_and_doubt_is_never_called_not_executed(body, status, write):
    try:
        payload = read_reply(METHOD, write=write, status=status, body=body)
    except OmieError as error:
        str(error).encode()
        if write and isinstance(error, NotExecuted):
            assert denies_execution(body, status)
    else:
        assert isinstance(payload, dict)
        assert 200 <= status < 300
        if write:
            assert str(payload.get("cCodStatus", payload.get("codigo_status"))).strip("0 ") == ""
