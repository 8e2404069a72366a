"""The receiver of webhooks, through its handler: who gets in, what becomes of it, and what happens when something fails."""

import base64
import json
from random import Random

import pytest

from billing.plain_log import teller
from billing.receive_webhook import HOLD_REASON, Known, Sender
from billing.store.fast_aws import AwsError, AwsUnavailable
from billing.store.webhooks import WebhookSecretError, WebhookSecrets, read_known
from tests.fuzz.door import APP_KEY, KNOWN, OLDER, OTHER_APP_KEY, OTHER_TOKEN, SECRET, TOKEN, Door, event, sign

CONTRACT = {"jestor_id": 12, "status": "Ativo", "valor": 1500}


@pytest.fixture
def door():
    return Door()


def signed(door, text, *, at=None, secrets=(SECRET,), route="contract"):
    signature = sign(text.encode(), door.now if at is None else at, *secrets)
    return event(route, text, {"X-Webhook-Signature": signature})


def refusals(door):
    return [(line["status"], line["why"]) for line in door.lines() if line["message"] == "refused"]


# --- Jestor: who gets in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, OLDER])
def test_either_of_two_secrets_signs_while_one_is_replaced(door, secret):
    assert door.jestor(CONTRACT, secret=secret) == 202


def test_of_several_signatures_one_right_one_is_enough(door):
    assert door.take(signed(door, json.dumps(CONTRACT), secrets=("another-secret", OLDER)))[0] == 202


@pytest.mark.parametrize(("seconds", "status"), [(-301, 401), (-300, 202), (0, 202), (300, 202), (301, 401)])
def test_a_signature_holds_for_five_minutes_both_ways(door, seconds, status):
    assert door.jestor(CONTRACT, at=door.now + seconds) == status


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1={v1}",
        "t={t}",
        "t={t},v1=",
        "t={t},v1={upper}",
        "t={t},t={t},v1={v1}",
        "t=-{t},v1={v1}",
        "t={t}.0,v1={v1}",
        "t=١٢٣,v1={v1}",
        "t={t},v0={v1}",
        "t={t},v1={v1}" + "," * 1024,
        "T={t},V1={v1}",
        "{v1}",
    ],
)
def test_a_signature_that_is_not_as_agreed_is_none(door, header):
    text = json.dumps(CONTRACT)
    v1 = sign(text.encode(), door.now, SECRET).partition("v1=")[2]
    given = header.format(t=door.now, v1=v1, upper=v1.upper())
    assert door.take(event("contract", text, {"x-webhook-signature": given}))[0] == 401
    assert door.sent == {}
    assert door.webhooks.items == {}


def test_what_was_signed_is_the_raw_body(door):
    text = '{"jestor_id":   12, "nome": "José"}'
    given = signed(door, text)
    assert door.take(given)[0] == 202
    assert door.take(given | {"body": text.replace("   ", " ")})[0] == 401
    assert door.take(given | {"body": text.replace("é", "\\u00e9")})[0] == 401


def test_a_body_in_base64_is_the_same_body(door):
    text = json.dumps(CONTRACT)
    given = signed(door, text)
    coded = base64.b64encode(text.encode()).decode()
    assert door.take(given | {"body": coded, "isBase64Encoded": True})[0] == 202
    assert door.take(given) == (202, '{"message": "accepted"}')
    assert len(door.sent["changes"]) == 1
    assert door.take(given | {"body": "no base64!", "isBase64Encoded": True})[0] == 401


def test_headers_sent_twice_are_all_looked_at(door):
    text = json.dumps(CONTRACT)
    right = sign(text.encode(), door.now, SECRET)
    given = event("contract", text, {}) | {"multiValueHeaders": {"X-Webhook-Signature": [right, right]}}
    assert door.take(given)[0] == 401
    only_headers = event("contract", text, {"x-webhook-signature": right}) | {"multiValueHeaders": None}
    assert door.take(only_headers)[0] == 202


def test_a_body_and_headers_that_are_missing_are_refused_not_a_crash(door):
    given = event("contract", "", {}) | {"body": None, "headers": None, "multiValueHeaders": None}
    assert door.take(given)[0] == 401


def test_the_static_secret_alone_opens_nothing_by_default(door):
    assert door.take(event("contract", json.dumps(CONTRACT), {"x-webhook-secret": SECRET}))[0] == 401
    assert refusals(door) == [(401, "unsigned")]


def test_the_static_secret_opens_where_the_setting_says_so_and_never_beside_a_wrong_signature():
    door, text = Door(allow_static=True), json.dumps(CONTRACT)
    assert door.take(event("contract", text, {"x-webhook-secret": OLDER}))[0] == 202
    assert door.take(event("contract", text, {"x-webhook-secret": "wrong"}))[0] == 401
    assert door.take(event("contract", text, {}))[0] == 401
    both = {"x-webhook-secret": SECRET, "x-webhook-signature": sign(text.encode(), door.now, "wrong")}
    assert door.take(event("contract", text, both))[0] == 401


def test_without_any_secret_nobody_gets_in():
    door = Door(allow_static=True)
    door.known = Known()
    assert door.jestor(CONTRACT, secret="") == 401
    assert door.take(event("contract", json.dumps(CONTRACT), {"x-webhook-secret": ""}))[0] == 401
    assert door.omie({"ping": "omie"}, token="") == 401


def test_before_a_refusal_the_secrets_are_read_anew(door):
    replaced = "canary-replaced-just-now"
    door.deps.senders.known = lambda *, fresh=False: Known((replaced,)) if fresh else KNOWN
    assert door.jestor(CONTRACT, secret=replaced) == 202


def test_a_webhook_that_is_welcome_asks_for_no_secret_anew(door):
    door.jestor(CONTRACT)
    assert door.asked == [False]


def test_a_body_too_large_is_not_even_checked(door):
    text = json.dumps({"jestor_id": 12, "x": "y" * 65_536})
    assert door.take(event("contract", text, {}))[0] == 413
    assert door.take(event("omie", "x" * 262_145, {}, token=TOKEN))[0] == 413
    exact = '{"jestor_id": 12}'.ljust(65_536)
    assert door.take(signed(door, exact))[0] == 202


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "12", "null", '"x"', '{"jestor_id": NaN}', "[" * 60_000, '{"a": ' + "9" * 5000 + "}", "{}",
     '{"jestor_id": 0}', '{"jestor_id": -1}', '{"jestor_id": true}', '{"jestor_id": 1.5}', '{"jestor_id": "12a"}',
     '{"jestor_id": "١٢"}', '{"jestor_id": ""}', '{"jestor_id": [12]}', '{"jestor_id": 1000000000000000}',
     '{"id_a": 1, "id_b": 2}', '{"id_a": null}'],
)  # fmt: skip
def test_a_body_that_names_no_record_is_not_understood(door, text):
    assert door.take(signed(door, text)) == (400, '{"message": "not understood"}')
    assert door.webhooks.items == {}


def test_a_body_that_is_no_text_is_not_understood(door):
    body = b'{"jestor_id": 12, "x": "\xff"}'
    headers = {"x-webhook-signature": sign(body, door.now, SECRET)}
    given = event("contract", base64.b64encode(body).decode(), headers, encoded=True)
    assert door.take(given)[0] == 400


# --- Jestor: what becomes of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [{"jestor_id": 12}, {"jestor_id": "12"}, {"id_jestor": 12}, {"object_id": "0012"}, {"id": 12},
     {"id_o_k7v2mxq94trw1bz6hd3n8": 12}, {"tabela": "contratos", "id_contratos": 12, "id_cliente": 7},
     {"jestor_id": 12, "cliente_id": 7}, {"jestor_id": None, "id": 12}],
)  # fmt: skip
def test_a_contract_is_found_by_any_name_its_id_is_sent_under(door, content):
    assert door.jestor(content) == 202
    ((group, message),) = door.sent["changes"]
    assert group == "JST-12"
    assert message == {
        "contract": "JST-12",
        "jestor_id": 12,
        "source": "webhook",
        "webhook": next(iter(door.webhooks.items)),
        "received_at": "2026-12-01T09:00:12+00:00",
    }
    assert door.ledger.hold("JST-12") is None


def test_a_customers_change_is_a_hint_about_all_its_contracts(door):
    assert door.jestor({"tabela": "clientes", "cliente_id": 7}) == 202
    ((group, message),) = door.sent["changes"]
    assert (group, message["customer"], message["source"]) == ("customer-7", 7, "webhook")
    assert "contract" not in message
    assert door.jestor({"cliente_id": 7}, "churn") == 400


def test_a_churn_is_on_hold_before_anybody_hears_of_it(door):
    held_then = []
    send = door.queues.send
    door.queues.send = lambda *message: (held_then.append(door.ledger.hold("JST-12")), send(*message))
    assert door.jestor({"jestor_id": 12}, "churn") == 202
    assert held_then == [HOLD_REASON]
    assert [group for group, _ in door.sent["churns"]] == ["JST-12"]


def test_the_same_webhook_again_is_acknowledged_and_nothing_more(door):
    for _ in range(3):
        assert door.jestor({"jestor_id": 12}, "churn") == 202
        door.ledger.lift_hold("JST-12")
        door.clock.sleep(100)
    given = {"jestor_id": 12}, "churn"
    assert len(door.sent["churns"]) == 3  # signed anew each time, so each is another one
    assert door.jestor(*given, at=door.now - 100) == 202
    assert len(door.sent["churns"]) == 3
    assert door.ledger.hold("JST-12") is None
    assert door.lines()[-1]["message"] == "known"


def test_two_routes_and_two_seconds_make_different_webhooks(door):
    for route in ("contract", "churn"):
        for at in (door.now, door.now - 1):
            assert door.jestor({"jestor_id": 12}, route, at=at) == 202
    assert len(door.webhooks.items) == 4


# --- Omie -------------------------------------------------------------------------------------------------------------


def omie(topic, event, **more):
    return {
        "messageId": "f5e2d3e0",
        "topic": topic,
        "event": event,
        "appKey": APP_KEY,
        "origin": "omie-connect-2.0",
        **more,
    }


def hints(door):
    return [
        (group, {name: message[name] for name in ("nCodOS", "nIdNf", "nCodTitulo", "numero_pedido") if message[name]})
        for group, message in door.sent.get("invoices", [])
    ]


@pytest.mark.parametrize("token", [TOKEN, f"{TOKEN}-new"])
def test_omies_portal_is_answered_that_somebody_listens(door, token):
    assert door.take(event("omie", '{"ping":"omie"}', {}, token=token)) == (200, '{"message": "pong"}')
    assert door.webhooks.items == {}


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN.upper(), f"{TOKEN} ", "é", SECRET])
def test_a_wrong_token_is_refused_whatever_it_says(door, token):
    assert door.omie({"ping": "omie"}, token=token) == 401
    assert door.take(event("omie", "no json", {}, token=token))[0] == 401


@pytest.mark.parametrize("key", [None, "", OTHER_APP_KEY, APP_KEY.upper(), 5, [APP_KEY], "\ud800"])
def test_the_app_key_must_be_the_companys_whose_token_it_is(door, key):
    assert door.omie(omie("NFSe.NotaAutorizada", {"codigo_os": 7}) | {"appKey": key}) == 401
    assert door.omie(omie("NFSe.NotaAutorizada", {"codigo_os": 7}), token=OTHER_TOKEN) == 401
    assert door.sent == {}


@pytest.mark.parametrize(
    ("topic", "event", "expected"),
    [
        ("NFSe.NotaAutorizada", {"id_nf": 5021, "codigo_os": 7001, "numero_os": "53", "nfse_xml": "<x/>"},
         [("acme#7001", {"nCodOS": 7001, "nIdNf": 5021})]),
        ("NFSe.NotaCancelada", {"id_nf": 5021}, [("acme#nIdNf-5021", {"nIdNf": 5021})]),
        ("OrdemServico.Faturada", {"codigoIntegracao": "0", "etapa": "20", "idCliente": 6289226831,
                                   "idOrdemServico": 6301351446, "numeroOrdemServico": "53", "valorOrdemServico": 10.5},
         [("acme#6301351446", {"nCodOS": 6301351446})]),
        ("Financas.ContaReceber.BoletoGerado", {"codigo_lancamento_omie": 88, "numero_pedido": "000000000000053",
                                                "codigo_cliente_fornecedor": 1, "boleto_gerado": "S"},
         [("acme#nCodTitulo-88", {"nCodTitulo": 88, "numero_pedido": "000000000000053"})]),
        ("Financas.ContaReceber.BaixaRealizada",
         [{"conta_a_receber": [{"codigo_lancamento_omie": 88}, {"codigo_lancamento_omie": 89}], "valor": 10.0},
          {"conta_a_receber": [{"codigo_lancamento_omie": 88}]}],
         [("acme#nCodTitulo-88", {"nCodTitulo": 88}), ("acme#nCodTitulo-89", {"nCodTitulo": 89})]),
        ("Financas.ContaReceber.Incluido", {"numero_pedido": 53}, [("acme#numero_pedido-53", {"numero_pedido": "53"})]),
        ("Financas.ContaReceber.Incluido", {"numero_pedido": "53; DROP", "codigo_lancamento_omie": True}, []),
        ("Financas.ContaReceber.Incluido", {"numero_pedido": "0" * 16, "codigo_lancamento_omie": -4}, []),
        ("ContratoServico.Alterado", {"idContrato": 9, "codigoIntegracao": "JST-12"}, []),
        ("ContratoServico.Faturado", {"nCodOS": "7001"}, [("acme#7001", {"nCodOS": 7001})]),
        ("Financas.ContaReceber.Excluido", {"codigo_lancamento_omie": 88, "numero_pedido": "53"}, []),
        ("Financas.ContaReceber.Rateio.Excluido", {"codigo_lancamento_omie": 88}, []),
        ("Financas.ContaReceber.EXCLUIDO", {"codigo_lancamento_omie": 88}, []),
        ("OrdemServico.Excluida", {"idOrdemServico": 7001}, []),
        ("ContratoServico.Excluido", {"nCodOS": 7001}, []),
        ("NFSe.NotaAutorizada", None, []),
        ("NFSe.NotaAutorizada", [None, 5, {"conta_a_receber": [None]}], []),
        ("ClienteFornecedor.Alterado", {"codigo_lancamento_omie": 88}, []),
        ("NFSe.<script>", {"codigo_os": 7001}, []),
    ],
)  # fmt: skip
def test_of_omies_events_the_ids_are_taken_and_nothing_else(door, topic, event, expected):
    assert door.omie(omie(topic, event)) == 202
    assert hints(door) == expected
    for _, message in door.sent.get("invoices", []):
        assert set(message) == {
            "company", "topic", "nCodOS", "nIdNf", "nCodTitulo", "numero_pedido", "source", "webhook", "received_at",
        }  # fmt: skip
        assert (message["company"], message["topic"]) == ("acme", topic)
    (kept,) = door.webhooks.items.values()
    assert kept["state"] == ("queued" if expected else "stored")


@pytest.mark.parametrize("topic", [None, "", 5, "x" * 101])
def test_an_omie_webhook_without_a_topic_is_not_understood(door, topic):
    assert door.omie(omie(topic, {})) == 400


def test_omie_names_its_webhooks_itself(door):
    for message in ("one", "one", "two", "\ud800", None, None, ""):
        assert door.omie(omie("NFSe.NotaAutorizada", {"codigo_os": 7}, messageId=message)) == 202
    assert len(door.sent["invoices"]) == len(door.webhooks.items) == 5


def test_two_companies_may_use_one_name(door):
    assert door.omie(omie("NFSe.NotaAutorizada", {"codigo_os": 7})) == 202
    content = omie("NFSe.NotaAutorizada", {"codigo_os": 7}, appKey=OTHER_APP_KEY)
    assert door.omie(content, token=OTHER_TOKEN) == 202
    assert [group for group, _ in door.sent["invoices"]] == ["acme#7", "bravo#7"]


def test_a_webhook_of_a_thousand_documents_queues_a_hundred(door):
    titles = [{"codigo_lancamento_omie": n} for n in range(1, 1001)]
    assert door.omie(omie("Financas.ContaReceber.BaixaRealizada", [{"conta_a_receber": titles}])) == 202
    assert len(door.sent["invoices"]) == 100


# --- when something fails ---------------------------------------------------------------------------------------------


def broken(*_, **__):
    raise AwsUnavailable("sqs", "canary-in-an-error")


@pytest.mark.parametrize(
    ("part", "method"),
    [("webhooks", "keep"), ("ledger", "put_hold"), ("queues", "send"), ("webhooks", "queued")],
)
def test_what_was_not_made_durable_is_not_acknowledged_and_goes_on_when_it_comes_again(door, part, method):
    thing = getattr(door, part)
    whole = getattr(thing, method)
    setattr(thing, method, broken)
    assert door.jestor({"jestor_id": 12}, "churn") == 503
    setattr(thing, method, whole)
    assert door.jestor({"jestor_id": 12}, "churn") == 202
    assert door.ledger.hold("JST-12") == HOLD_REASON
    assert [message["contract"] for _, message in door.sent["churns"]] == ["JST-12"]
    (kept,) = door.webhooks.items.values()
    assert kept["state"] == "queued"


def test_a_hold_that_is_put_again_has_a_message_of_its_own(door):
    """The first message was sent, the mark was lost, the worker lifted the hold: then the webhook comes again."""
    queued, door.webhooks.queued = door.webhooks.queued, broken
    at = door.now
    assert door.jestor({"jestor_id": 12}, "churn", at=at) == 503
    door.webhooks.queued = queued
    door.ledger.lift_hold("JST-12")
    door.clock.sleep(5)
    assert door.jestor({"jestor_id": 12}, "churn", at=at) == 202
    assert door.ledger.hold("JST-12") == HOLD_REASON
    assert len(door.sent["churns"]) == 2


def test_a_failure_is_told_by_its_class_alone(door):
    door.queues.send = broken
    given = signed(door, json.dumps(CONTRACT))
    assert door.take(given) == (503, '{"message": "try again"}')
    (line,) = door.lines()
    assert line == {
        "level": "ERROR", "message": "failed", "service": "billing-ops", "route": "contract", "status": 503,
        "error": "AwsUnavailable",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("least", "told"),
    [("DEBUG", ["accepted", "refused", "failed"]), ("WARNING", ["refused", "failed"]), ("ERROR", ["failed"])],
)
def test_the_log_level_is_heeded(capsys, least, told):
    tell = teller(least)
    for outcome in ("accepted", "refused", "failed"):
        tell(outcome)
    assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == told


@pytest.mark.slow
def test_nothing_is_lost_after_its_202_with_the_stores_failing_at_random(door):
    random = Random(7)
    for thing, method in (
        (door.webhooks, "keep"),
        (door.ledger, "put_hold"),
        (door.queues, "send"),
        (door.webhooks, "queued"),
    ):
        _sometimes(random, thing, method)
    acknowledged = set()
    for number in range(1, 1001):
        given = signed(door, json.dumps({"jestor_id": number}), route=random.choice(["contract", "churn"]))
        for _ in range(random.randint(1, 4)):
            if door.take(given)[0] == 202:
                acknowledged.add((given["path"].rpartition("/")[2], f"JST-{number}"))
    arrived = {("contract", group) for group, _ in door.sent["changes"]} | {
        ("churn", group) for group, _ in door.sent["churns"]
    }
    assert len(acknowledged) > 500
    assert acknowledged <= arrived
    assert {contract for route, contract in acknowledged if route == "churn"} <= set(door.ledger._holds)


def _sometimes(random, thing, method):
    """Fails before or after it has done its work."""
    whole = getattr(thing, method)

    def call(*arguments):
        fate = random.random()
        if fate < 0.2:
            raise AwsUnavailable("aws", "before")
        answer = whole(*arguments)
        if fate < 0.3:
            raise AwsUnavailable("aws", "reply lost")
        return answer

    setattr(thing, method, call)


# --- the secret -------------------------------------------------------------------------------------------------------


class Vault:
    """Stands for the light client: answers of Secrets Manager in turn, the last one for good."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = 0

    def call(self, service, action, request):
        assert (service, action, request) == ("secretsmanager", "GetSecretValue", {"SecretId": "demo/webhooks"})
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"SecretString": json.dumps({"jestor": [answer]})}


def secrets_of(vault):
    now = [0.0]
    return WebhookSecrets(vault, "demo", monotonic=lambda: now[0]), now


def test_the_secret_is_remembered_for_a_minute_and_read_anew_at_most_every_five_seconds():
    vault = Vault(SECRET)
    secrets, now = secrets_of(vault)
    for moment, fresh, calls in [
        (0, False, 1),
        (59, False, 1),
        (61, False, 2),
        (65, True, 2),
        (67, True, 3),
        (100, False, 3),
    ]:
        now[0] = moment
        assert secrets.known(fresh=fresh).jestor == (SECRET,)
        assert vault.calls == calls, moment


def test_the_memory_serves_while_secrets_manager_does_not_answer():
    secrets, now = secrets_of(Vault(SECRET, AwsUnavailable("secretsmanager", "500")))
    secrets.known()
    now[0] = 1000
    assert secrets.known().jestor == (SECRET,)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AwsUnavailable("secretsmanager", "500"), AwsUnavailable),
        (AwsError("secretsmanager", "AccessDeniedException"), AwsError),
        (AwsError("secretsmanager", "ResourceNotFoundException"), WebhookSecretError),
    ],
)
def test_without_a_memory_the_error_is_told(error, kind):
    with pytest.raises(kind):
        secrets_of(Vault(error))[0].known()


@pytest.mark.parametrize(
    "text",
    [
        "canary",
        "[]",
        '{"jestor": "canary-canary-canary"}',
        '{"jestor": []}',
        '{"jestor": ["canary"]}',
        '{"jestor": ["canary-canary-1234", "canary-canary-1234", "canary-canary-1234"]}',
        '{"jestor": [5]}',
        '{"omie": ["canary"]}',
        '{"omie": {"acme": {"tokens": ["canary-canary-canary"]}}}',
        '{"omie": {"acme": {"tokens": ["canary"], "app_key": "1"}}}',
        '{"omie": {"acme": {"app_key": "canary"}}}',
        '{"omie": {"acme": {"tokens": ["canary-canary-canary"], "app_key": " "}}}',
        '{"omie": {"acme": "canary"}}',
    ],
)
def test_a_secret_that_is_wrong_is_told_without_a_value(text):
    with pytest.raises(WebhookSecretError, match="secret demo/webhooks") as caught:
        read_known("demo/webhooks", text)
    assert "canary" not in str(caught.value)


def test_either_part_of_the_secret_may_be_missing():
    assert read_known("x", "{}") == Known()
    assert read_known("x", '{"omie": {"acme": {"tokens": [" canary-canary-canary "], "app_key": " 1 "}}}') == Known(
        (), {"acme": Sender(("canary-canary-canary",), "1")}
    )
