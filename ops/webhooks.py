"""Who may call our webhooks: the secret `<prefix>/webhooks`, made, replaced and shown here.

The values are made by this computer, never typed: a person would choose a short one. Each is shown once, when it is
made, because it has to be pasted into Jestor or Omie; after that no command shows it.

    put webhooks                   what is missing: a secret for Jestor, a token for each Omie company
    put webhooks --rotate jestor   a new one in front, the old one goes on working
    put webhooks --finish          the old ones stop working
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from billing.store.webhooks import MOST_SECRETS, WebhookSecretError, read_known, webhooks_name
from ops.desk import desk
from ops.errors import InputError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JESTOR: Final = "jestor"
BYTES: Final = 32

Secret = dict[str, Any]
Made = dict[str, str]
"""Whose ("jestor" or a company's key) -> the new value."""


def completed(secret: Secret, app_keys: Mapping[str, str], new: Callable[[], str]) -> tuple[Secret, Made]:
    """The secret with nothing missing. `app_keys`: company -> the app key its webhooks must carry."""
    made: Made = {}
    omie: dict[str, Any] = {}
    for company, app_key in app_keys.items():
        known = secret.get("omie", {}).get(company)
        tokens = list(known["tokens"]) if known else [made.setdefault(company, new())]
        omie[company] = {"tokens": tokens, "app_key": app_key}
    jestor = list(secret.get(JESTOR) or [made.setdefault(JESTOR, new())])
    return {JESTOR: jestor, "omie": omie}, made


def rotated(secret: Secret, whose: str, new: Callable[[], str]) -> tuple[Secret, Made]:
    """A new value in front; the one before stays until `finished`."""
    value = new()
    made = {whose: value}
    if whose == JESTOR:
        return secret | {JESTOR: [value, *secret[JESTOR]][:MOST_SECRETS]}, made
    part = secret["omie"][whose]
    turned = part | {"tokens": [value, *part["tokens"]][:MOST_SECRETS]}
    return secret | {"omie": secret["omie"] | {whose: turned}}, made


def finished(secret: Secret) -> Secret:
    """Only the newest of each."""
    omie = {company: part | {"tokens": part["tokens"][:1]} for company, part in secret["omie"].items()}
    return {JESTOR: secret[JESTOR][:1], "omie": omie}


def put_webhooks(
    ctx: typer.Context,
    rotate: Annotated[
        str | None,
        typer.Option("--rotate", metavar="jestor|EMPRESA", help="Faz um valor novo; o anterior continua valendo."),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Encerra a troca: os valores anteriores deixam de valer.")
    ] = False,
) -> None:
    """Cria o que falta para receber avisos do Jestor e do Omie, e mostra uma vez o que colar em cada um."""
    if rotate and finish:
        raise InputError("Use --rotate ou --finish: a troca só termina depois de colado o valor novo.")
    here = desk(ctx)
    stack, settings = here.stack, here.stack.settings()
    name = webhooks_name(stack.outputs["SecretsPrefix"])
    url = stack.outputs.get("WebhooksUrl")
    if url is None:
        raise OperatorError(f"A pilha {stack.name} não recebe avisos ainda. Publique-a de novo (make deploy).")
    if rotate and rotate != JESTOR and rotate not in settings.companies:
        known = ", ".join([JESTOR, *sorted(settings.companies)])
        raise InputError(f"Não há o que trocar em {rotate}. Escolha um destes: {known}.")
    app_keys = {
        company: stack.read_secret(stack.omie_secret(company), ("app_key",))[0]
        for company in sorted(settings.companies)
    }
    secret, made = completed(_stored(name, stack.secret_text(name)), app_keys, _new)
    if rotate and rotate not in made:
        secret, turned = rotated(secret, rotate, _new)
        made |= turned
    if finish:
        secret = finished(secret)
    stack.put_secret(name, secret)
    if not made:
        done = "Os valores anteriores deixaram de valer." if finish else "Nada faltava: as chaves dos avisos existem."
        here.say(done)
        return
    here.note("Mostrado só agora: cole cada valor no seu lugar e não o guarde em outro.")
    if JESTOR in made:
        here.say(f"Jestor, no script do gatilho: {made[JESTOR]}")
        here.say(f"  endereço dos avisos: {url}/jestor")
    for company in sorted(set(made) - {JESTOR}):
        here.say(f"Omie de {company}, endereço do webhook: {url}/omie/{made[company]}")
    if rotate:
        here.say("O valor anterior ainda vale. Depois de colar o novo: billing-ops secrets put webhooks --finish")


def _new() -> str:
    return secrets.token_urlsafe(BYTES)


def _stored(name: str, text: str | None) -> Secret:
    """What is there, if it can be relied on. Raises OperatorError."""
    if text is None:
        return {}
    try:
        read_known(name, text)
    except WebhookSecretError as error:
        raise OperatorError(
            f"O segredo {name} está malformado ({error}). Apague-o no console da AWS (Secrets Manager) e repita."
        ) from None
    stored: Secret = json.loads(text)
    return stored
