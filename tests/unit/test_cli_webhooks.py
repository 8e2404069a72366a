"""`billing-ops secrets put webhooks`: values are made, shown once, replaced without a gap."""

import json
import re
from dataclasses import dataclass, field
from itertools import count

import pytest
from typer.testing import CliRunner

from billing.store.webhooks import read_known
from ops.cli import app
from ops.desk import Tools
from ops.errors import OperatorError
from ops.webhooks import completed, finished, rotated

KEYS = {"acme": "key-a", "nimbus": "key-n"}
URL = "https://api.test/v1/webhooks"


def maker():
    numbers = count(1)
    return lambda: f"made-value-number-{next(numbers)}"


def full():
    return completed({}, KEYS, maker())[0]


# ---- what becomes of the secret


def test_what_is_missing_is_made_once_for_each():
    secret, made = completed({}, KEYS, maker())
    assert sorted(made) == ["acme", "jestor", "nimbus"]
    assert len(set(made.values())) == 3
    known = read_known("x", json.dumps(secret))
    assert known.jestor == (made["jestor"],)
    assert (known.omie["acme"].tokens, known.omie["acme"].app_key) == ((made["acme"],), "key-a")


def test_what_is_there_stays_and_a_changed_app_key_is_taken_over():
    secret, made = completed(full(), KEYS | {"acme": "key-new"}, maker())
    assert made == {}
    assert secret["omie"] == full()["omie"] | {"acme": full()["omie"]["acme"] | {"app_key": "key-new"}}


def test_a_company_that_is_no_longer_in_the_settings_loses_its_token():
    assert list(completed(full(), {"nimbus": "key-n"}, maker())[0]["omie"]) == ["nimbus"]


@pytest.mark.parametrize("whose", ["jestor", "acme"])
def test_a_rotation_keeps_the_old_one_until_it_is_finished(whose):
    def values(secret):
        return secret["jestor"] if whose == "jestor" else secret["omie"][whose]["tokens"]

    before = full()
    (old,) = values(before)
    turned, made = rotated(before, whose, lambda: "the-second-value-of-all")
    assert (values(turned), made) == (["the-second-value-of-all", old], {whose: "the-second-value-of-all"})
    assert values(before) == [old]
    again, _ = rotated(turned, whose, lambda: "the-third-value-of-all")
    assert values(again) == ["the-third-value-of-all", "the-second-value-of-all"]  # never more than two
    assert values(finished(again)) == ["the-third-value-of-all"]


# ---- as it is typed


class Settings:
    companies = KEYS


@dataclass
class Stack:
    secrets: dict = field(default_factory=dict)
    outputs: dict = field(default_factory=lambda: {"SecretsPrefix": "billing-ops", "WebhooksUrl": URL})
    name = "billing-ops"

    def settings(self):
        return Settings

    def omie_secret(self, company):
        return f"billing-ops/omie/{company}"

    def read_secret(self, name, fields):
        if self.secrets.get(name) == "missing":
            raise OperatorError(f"O segredo {name} não existe.")
        return (KEYS[name.rpartition("/")[2]],)

    def secret_text(self, name):
        return self.secrets.get(name)

    def put_secret(self, name, value):
        self.secrets[name] = json.dumps(value)

    def typed(self, *words):
        tools = Tools(environ={"AWS_PROFILE": "x"}, connect=lambda _: self)
        return CliRunner().invoke(app, ["secrets", "put", "webhooks", *words], obj=tools, prog_name="billing-ops")

    @property
    def known(self):
        return read_known("x", self.secrets["billing-ops/webhooks"])


def test_the_first_time_it_shows_what_to_paste_and_where():
    stack = Stack()
    result = stack.typed()
    assert result.exit_code == 0
    assert f"Jestor, no script do gatilho: {stack.known.jestor[0]}" in result.stdout
    assert f"endereço dos avisos: {URL}/jestor" in result.stdout
    for company in KEYS:
        (token,) = stack.known.omie[company].tokens
        assert f"Omie de {company}, endereço do webhook: {URL}/omie/{token}" in result.stdout
        assert re.fullmatch(r"[\w-]{43}", token)


def test_the_second_time_it_shows_nothing_of_them():
    stack = Stack()
    stack.typed()
    before = stack.secrets["billing-ops/webhooks"]
    result = stack.typed()
    assert (result.stdout, stack.secrets["billing-ops/webhooks"]) == (
        "Nada faltava: as chaves dos avisos existem.\n",
        before,
    )


def test_a_rotation_shows_the_new_one_alone_and_says_how_it_ends():
    stack = Stack()
    stack.typed()
    (old,) = stack.known.jestor
    result = stack.typed("--rotate", "jestor")
    assert stack.known.jestor[1] == old
    assert (stack.known.jestor[0] in result.stdout, old in result.stdout) == (True, False)
    assert "billing-ops secrets put webhooks --finish" in result.stdout
    assert stack.typed("--finish").stdout == "Os valores anteriores deixaram de valer.\n"
    assert old not in stack.known.jestor


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--rotate", "acmee"), "Não há o que trocar em acmee. Escolha um destes: jestor, acme, nimbus."),
        (
            ("--rotate", "acme", "--finish"),
            "Use --rotate ou --finish: a troca só termina depois de colado o valor novo.",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(words, line):
    stack = Stack()
    result = stack.typed(*words)
    assert (result.exit_code, result.stderr, stack.secrets) == (2, line + "\n", {})


def test_a_secret_that_cannot_be_read_is_not_overwritten_nor_shown():
    stack = Stack({"billing-ops/webhooks": '{"jestor": ["canary"]}'})
    result = stack.typed()
    assert (result.exit_code, "malformado" in result.stderr, "canary" in result.stderr) == (1, True, False)
    assert stack.secrets == {"billing-ops/webhooks": '{"jestor": ["canary"]}'}


def test_a_stack_without_webhooks_and_a_company_without_a_key_say_so():
    assert "não recebe avisos ainda" in Stack(outputs={"SecretsPrefix": "billing-ops"}).typed().stderr
    assert "O segredo billing-ops/omie/acme não existe." in Stack({"billing-ops/omie/acme": "missing"}).typed().stderr
