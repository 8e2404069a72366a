"""What `billing-ops doctor` looks at in the stack itself: settings, secrets, addresses, schedule, dead letters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from billing.settings import Settings, SettingsError, load_settings
from billing.store.webhooks import WebhookSecretError, read_known, webhooks_name
from ops.errors import OperatorError, explain
from ops.findings import Examiner, Finding, Findings, count

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ops.stack import Stack

OMIE: Final = "https://app.omie.com.br/api/v1/"
_PUSH: Final = "billing-ops settings push ARQUIVO"
_QUEUES: Final = {
    "OmieWritesDlq": ("contratos parados à espera de uma pessoa", "billing-ops dlq list"),
    "ScheduleDlq": ("inícios do agendamento que falharam", "inicie o do mês à mão: billing-ops run; docs/runbook.md"),
    "SweepsDlq": ("varreduras do dia que falharam", "docs/runbook.md, seção 5, diz qual repetir"),
    "LivingDlq": ("avisos do Jestor ou do Omie que falharam", "docs/runbook.md diz o que fazer com cada um"),
}

say = Examiner("AWS")


def read_settings(stack: Stack) -> Generator[Finding, None, Settings | None]:
    """One finding for each problem of the file; the settings, when there is none."""
    text = stack.settings_text()
    if text is None:
        yield say.error("aws.settings", f"A pilha {stack.name} não tem configuração.", f"Envie-a: {_PUSH}")
        return None
    try:
        settings = load_settings(text)
    except SettingsError as error:
        for problem in error.problems:
            yield say.error("aws.settings", f"Configuração: {problem}", f"Corrija o arquivo e envie-o: {_PUSH}")
        return None
    companies = ", ".join(sorted(settings.companies))
    yield say.ok("aws.settings", f"A configuração da pilha {stack.name} é válida: {companies}.")
    return settings


def examine_stack(stack: Stack, settings: Settings, companies: Sequence[str], *, local: bool) -> Findings:
    """`local`: the stack of this computer, whose Omie and Jestor are simulators."""
    yield from _keys(stack, companies)
    yield from _guarded("aws.webhooks", _webhooks(stack, settings))
    if not local:
        yield from _addresses(stack, settings)
        yield from _guarded("aws.told", _told(stack))
    yield from _guarded("aws.schedule", _schedule(stack))
    yield from _guarded("aws.dead_letters", _dead_letters(stack))


def _guarded(check: str, findings: Findings) -> Findings:
    """What AWS refuses is a finding too: the examination goes on."""
    try:
        yield from findings
    except ClientError as error:
        what, _, fix = (explain(error) or "AWS recusou a leitura.").partition(". ")
        yield say.error(check, f"{what}.", fix or "Repita: billing-ops doctor")


def _keys(stack: Stack, companies: Sequence[str]) -> Findings:
    wanted: list[tuple[str, tuple[str, ...]]] = [(stack.jestor_secret, ("token",))]
    wanted += [(stack.omie_secret(company), ("app_key", "app_secret")) for company in companies]
    bad = 0
    for name, fields in wanted:
        for finding in _guarded("aws.secrets", _key(stack, name, fields)):
            bad += 1
            yield finding
    if not bad:
        yield say.ok("aws.secrets", f"As chaves do Jestor e do Omie de {', '.join(companies)} existem.")


def _key(stack: Stack, name: str, fields: tuple[str, ...]) -> Findings:
    try:
        stack.read_secret(name, fields)
    except OperatorError as error:
        what, _, fix = str(error).partition(". ")
        yield say.error("aws.secrets", f"{what}.", fix)


def _webhooks(stack: Stack, settings: Settings) -> Findings:
    name, put = webhooks_name(stack.outputs["SecretsPrefix"]), "billing-ops secrets put webhooks"
    check, guide = "aws.webhooks", "docs/jestor-setup.md diz onde colar cada valor."
    text = stack.secret_text(name)
    if text is None:
        what = f"O segredo {name} não existe: mudança, churn e nota fiscal só são vistos na varredura diária."
        yield say.warning(check, what, f"{put}; {guide}")
        return
    try:
        known = read_known(name, text)
    except WebhookSecretError as error:
        what = str(error).partition(": store")[0]
        yield say.error(check, f"Avisos: {what}.", f"Apague-o no console da AWS (Secrets Manager) e depois: {put}")
        return
    complete = True
    if not known.jestor:
        complete = False
        yield say.warning(check, f"O segredo {name} não tem o do gatilho do Jestor.", f"{put}; {guide}")
    for company in sorted(settings.companies):
        sender = known.omie.get(company)
        if sender is None:
            complete = False
            yield say.warning(check, f"O segredo {name} não tem o Omie de {company}.", f"{put}; {guide}")
        elif sender.app_key != _app_key(stack, company):
            complete = False
            yield say.error(
                check,
                f"O segredo {name} guarda outra app_key para {company}: todo aviso do Omie é recusado.",
                f"{put} copia a app_key certa e não muda os endereços.",
            )
    if complete:
        yield say.ok(check, f"O segredo {name} está completo.")
    came = stack.webhook_routes()
    for who, routes, fix in (
        ("do Jestor", {"contract", "churn"}, f"Mude a descrição de um contrato de teste e repita; {guide}"),
        ("do Omie", {"omie"}, f"Depois da próxima nota fiscal, repita; {guide}"),
    ):
        if came & routes:
            yield say.ok("aws.webhooks_came", f"Chegaram avisos {who} nos últimos 30 dias.")
        else:
            what = f"Nenhum aviso {who} nos últimos 30 dias: ou nada mudou, ou falta ligá-los."
            yield say.by_hand("aws.webhooks_came", what, fix)


def _app_key(stack: Stack, company: str) -> str:
    try:
        found: Any = json.loads(stack.secret_text(stack.omie_secret(company)) or "{}")
    except ValueError:
        return ""
    return str(found.get("app_key") or "").strip() if isinstance(found, dict) else ""


def _addresses(stack: Stack, settings: Settings) -> Findings:
    omie, jestor = stack.parameters.get("OmieBaseUrl", ""), stack.parameters.get("JestorBaseUrl", "")
    fix = "A engenharia publica de novo com o endereço certo (make deploy)."
    if omie != OMIE:
        yield say.warning("aws.addresses", f"As chamadas ao Omie vão para {omie or 'lugar nenhum'}, não {OMIE}.", fix)
    if jestor.rstrip("/") != settings.jestor.base_url:
        wanted = settings.jestor.base_url
        what = f"As chamadas ao Jestor vão para {jestor or 'lugar nenhum'}; a org da configuração diz {wanted}."
        yield say.warning("aws.addresses", what, f"Corrija org em [jestor]. Ou: {fix}")
    if omie == OMIE and jestor.rstrip("/") == settings.jestor.base_url:
        yield say.ok("aws.addresses", "Os endereços do Omie e do Jestor são os de produção.")


def _schedule(stack: Stack) -> Findings:
    state, expression = stack.schedule()
    if state == "ENABLED":
        yield say.ok("aws.schedule", f"O agendamento está ligado: {expression}, hora de São Paulo.")
    else:
        yield say.warning(
            "aws.schedule",
            "O agendamento está desligado: o mês só começa à mão (billing-ops run).",
            "Quando a prévia estiver certa, a engenharia publica com ScheduleState=ENABLED.",
        )


def _told(stack: Stack) -> Findings:
    """Whether alarms and the ends of runs reach anybody."""
    if "NotificationTopicArn" not in stack.outputs:  # published before it was said
        return
    confirmed, pending = stack.told()
    if confirmed:
        yield say.ok("aws.told", f"Avisos e alarmes chegam a {count(confirmed, 'endereço', 'endereços')}.")
    elif pending:
        yield say.error(
            "aws.told",
            "Ninguém recebe os avisos e alarmes: a inscrição espera a confirmação.",
            'Abra o e-mail "AWS Notification - Subscription Confirmation" e clique em Confirm subscription.',
        )
    else:
        yield say.error(
            "aws.told",
            "Ninguém recebe os avisos e alarmes: nenhum endereço está inscrito.",
            "A engenharia publica com NotificationEmail=ENDEREÇO, e o clique no e-mail da AWS confirma.",
        )


def _dead_letters(stack: Stack) -> Findings:
    waiting = {name: number for name, number in stack.dead_letters().items() if number}
    for name, number in waiting.items():
        what, fix = _QUEUES.get(name, ("mensagens que falharam", "docs/runbook.md, seção 5"))
        yield say.warning("aws.dead_letters", f"Fila {name}: {count(number, 'mensagem', 'mensagens')}, {what}.", fix)
    if not waiting:
        yield say.ok("aws.dead_letters", "As filas de parados estão vazias.")
