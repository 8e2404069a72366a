"""`billing-ops`: the command that the operations person types on the 1st.

Exit codes: 0 done (a run: balanced), 1 it went wrong or did not balance, 2 what was typed cannot be done,
3 a run that balances and that a person must look at (a preview: the plan will wait for approval), 130 somebody
stopped looking. Results on stdout, everything else on stderr. An error is one line.
"""

from __future__ import annotations

import json
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live

from billing.agree import LOOKED_UP_FOR
from billing.domain.charge import State
from billing.domain.money import format_brl
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.text import visible
from billing.settings import load_settings
from billing.store import dynamo
from billing.store.objects import ObjectMissing
from ops import render
from ops.desk import Desk, Tools, desk
from ops.doctor import doctor
from ops.doors import jestor_of, omie_of, tell_waiting, turns_at
from ops.errors import InputError, OperatorError
from ops.files import read_piped, read_text
from ops.follow import Follower, PlainShow, Snapshot, hour, thousands
from ops.invoices import invoices
from ops.late_fee import late_fee
from ops.link import check_link, contract_number, order_link
from ops.opening import refused
from ops.options import Company, Json, Month, whole_number
from ops.portuguese import App, Group
from ops.probe.command import probe
from ops.reajuste import reajuste_app
from ops.receivables import receivables
from ops.repair import dlq_app, explain, not_billed, resolve
from ops.stack import Execution, Stack, known_company, no_settings
from ops.sweep import sweep
from ops.verdict import refusals, verdict
from ops.webhooks import put_webhooks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing.omie.client import OmieClient
    from billing.settings import Settings
    from ops.follow import View

app = App(
    cls=Group,
    help="Faturamento de assinaturas: do Jestor ao Omie, cada contrato exatamente uma vez.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
settings_app = App(cls=Group, help="Confere, envia e mostra a configuração das empresas.", no_args_is_help=True)
secrets_app = App(cls=Group, help="Grava e confere as chaves do Omie e do Jestor.", no_args_is_help=True)
app.add_typer(settings_app, name="settings")
app.add_typer(secrets_app, name="secrets")
app.add_typer(dlq_app, name="dlq")
app.add_typer(reajuste_app, name="reajuste")


LOOK = 3
"""The exit code of a run that balances and that a person must look at."""
JUMPS_SHOWN = 20
REPORTS = {"previa": "Prévia", "espera": "Plano que espera aprovação"}
"""How the names of reports begin that are not of a month's end."""


class ReportFormat(StrEnum):
    HTML = "html"
    CSV = "csv"
    JSON = "json"


@app.callback()
def _start(
    ctx: typer.Context,
    stack: Annotated[
        str | None,
        typer.Option("--stack", metavar="NOME", help="A pilha na AWS; sem ela, BILLING_STACK ou billing-ops."),
    ] = None,
    debug: Annotated[  # noqa: ARG001 - read by Group.main, which meets the errors
        bool, typer.Option("--debug", help="Em caso de erro, mostra o rastro completo.")
    ] = False,
) -> None:
    ctx.obj = Desk(ctx.obj if isinstance(ctx.obj, Tools) else Tools(), stack)


# ---- the run


@app.command()
def run(
    ctx: typer.Context,
    *,
    month: Month = None,
    company: Annotated[
        list[str] | None,
        typer.Option("--company", metavar="EMPRESA", help="Só esta empresa; repita para várias. Sem ela, todas."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Só planeja e mostra o relatório; nada é faturado.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Acompanha até o fim, ou só inicia.")] = True,
    as_json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Não pergunta antes de faturar.")] = False,
) -> None:
    """Fatura o mês: planeja, confere os limites, fatura cada contrato uma vez e fecha as contas.

    Sai com 0 se as contas fecharam, 1 se não fecharam (com o motivo), 2 se o pedido não pode ser atendido e 3 se
    fecharam, mas uma pessoa precisa olhar algo (na prévia: o plano vai esperar aprovação).
    """
    here = desk(ctx)
    chosen = here.month(month)
    if not preview:
        _own_month(chosen, BillingMonth.of(here.now()))
    stack = here.stack
    settings = stack.settings()
    companies = [known_company(settings, key) for key in dict.fromkeys(company or ())]
    if not preview and not yes:
        here.need_a_person(" para faturar, ou com --preview")
        whose = ", ".join(companies or sorted(settings.companies))
        here.ask(f"Faturar {chosen} de {whose} na pilha {stack.name} ({stack.region})?", "faturado")
    request = {
        "month": str(chosen),
        "companies": companies or None,
        "trigger": "operator",
        "preview": preview,
        "who": stack.who(here.tools.environ),
    }
    started = stack.start(request, f"{chosen}-{'previa' if preview else 'operador'}-{here.now():%Y%m%dT%H%M%S}")
    if not as_json:
        here.say(f"Execução {started.name} pedida na pilha {stack.name} ({stack.region}).")
    if follow:
        _follow_to_the_end(here, started, companies or sorted(settings.companies), as_json=as_json)
    else:
        why = refused(here, started)
        if as_json:
            told = {"execution": started.arn, "status": started.status, "run_refused": why or None}
            here.say_json(told | request)
        if why:
            raise OperatorError(f"{chosen}: não foi tudo iniciado. {why}")
        if not as_json:
            here.say(f"Acompanhe com: billing-ops follow {started.name}")


@app.command("follow")
def follow_command(
    ctx: typer.Context,
    execution: Annotated[
        str | None, typer.Argument(metavar="[EXECUÇÃO]", help="Nome da execução; sem ele, a mais recente.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Acompanha uma execução já iniciada até o fim. Parar de acompanhar não para o faturamento.

    Sai com os mesmos códigos de billing-ops run: 0, 1 ou 3.
    """
    here = desk(ctx)
    stack = here.stack
    found = stack.execution(stack.execution_arn(execution)) if execution else stack.latest_execution()
    if found is None:
        raise OperatorError(f"Nenhuma execução na pilha {stack.name}. Inicie uma com: billing-ops run")
    companies = found.input.get("companies") or sorted(stack.settings().companies)
    _follow_to_the_end(here, found, companies, as_json=as_json)


def _own_month(chosen: BillingMonth, present: BillingMonth) -> None:
    if chosen == present:
        return
    raise InputError(
        f"Estamos em {present} e o Omie fatura sempre o mês corrente: pedir {chosen} cobraria {present}. "
        f"Para só ver o plano: billing-ops run --month {chosen} --preview"
    )


def _follow_to_the_end(here: Desk, started: Execution, companies: Sequence[str], *, as_json: bool) -> None:
    try:
        last = _watch(here, started, companies, quiet=as_json)
    except KeyboardInterrupt:
        here.note(
            f"Você parou de acompanhar; a execução continua na AWS. Para voltar: billing-ops follow {started.name}"
        )
        raise typer.Exit(130) from None
    ended = here.stack.execution(started.arn)
    closing = here.stack.closing(ended)
    result = verdict(ended, closing)
    if as_json:
        told = {"balanced": result.balanced, "explanation": result.line, "attention": closing.get("attention") or []}
        here.say_json(_summary(ended, closing, last) | told)
    else:
        _show_closing(here, closing)
    if not result.balanced:
        raise OperatorError(result.line)
    if not as_json:
        here.tell(result.line)
    if result.look:
        raise typer.Exit(LOOK)


def _watch(here: Desk, started: Execution, companies: Sequence[str], *, quiet: bool) -> Snapshot:
    stack = here.stack
    known = stack.settings().companies
    waits = {key: timedelta(seconds=known[key].in_doubt_wait_seconds) for key in companies if key in known}

    def read() -> Snapshot:
        now = stack.execution(started.arn)
        month = now.input.get("month") or BillingMonth.of(now.started)
        return stack.snapshot(month, companies, here.now(), ended=now.ended)

    def look(show: Any) -> Snapshot:
        return Follower(read, show, here.tools.clock, dynamo.passes, doubt_waits=waits).until_ended()

    if quiet:
        return look(lambda _: None)
    if not here.tools.at_a_terminal():
        return look(PlainShow(here.say))
    console = render.console()
    with Live(console=console, refresh_per_second=4) as live:

        def draw(view: View) -> None:
            live.update(render.progress(view, console.width))

        return look(draw)


def _summary(ended: Execution, closing: dict[str, Any], last: Snapshot) -> dict[str, Any]:
    seen = [
        {
            "company": company.company,
            "to_bill": company.to_bill,
            "billed": company.billed,
            "parked": company.parked,
            "in_doubt": company.in_doubt,
        }
        for company in last.companies
    ]
    return {
        "execution": ended.arn,
        "status": ended.status,
        "month": closing.get("month") or ended.input.get("month"),
        "preview": bool(ended.input.get("preview")),
        "companies": closing.get("companies") or seen,
        "refused": closing.get("refused") or [],
        "report": closing.get("report"),
    }


def _show_closing(here: Desk, closing: dict[str, Any]) -> None:
    companies = [company for company in closing.get("companies") or () if "billed" in company]
    if companies:
        here.say("")
        render.console().print(render.closing(companies, preview=bool(closing.get("preview"))))
        here.say("")
    if closing.get("attention") and closing.get("preview"):
        _show_jumps(here, closing)
    if closing.get("anything_to_do") is not False and refusals(closing):
        here.note(f"Fora desta execução: {refusals(closing)}")
    if closing.get("report"):
        here.say(f"Relatório: billing-ops report --month {closing['month']} --open")


def _show_jumps(here: Desk, closing: dict[str, Any]) -> None:
    """The changes for which the plan will wait, the largest first: their customers' names are in the report only."""
    try:
        found = json.loads(here.stack.text(closing["report"]["json"]))["jumps"]["rows"]
    except (ObjectMissing, KeyError, ValueError):
        return  # the sentence below names the contracts
    if not found:
        return
    titles = ("contrato", "cliente", "antes", "agora", "%")
    rows = [
        (
            jump["contract"],
            jump["customer"],
            format_brl(jump["before"]["centavos"]),
            format_brl(jump["now"]["centavos"]),
            jump["percent"],
        )
        for jump in found[:JUMPS_SHOWN]
    ]
    render.console().print(render.table(titles, rows))
    if len(found) > JUMPS_SHOWN:
        here.say(f"e mais {thousands(len(found) - JUMPS_SHOWN)}, no relatório.")
    here.say("")


# ---- what is going on


@app.command()
def status(
    ctx: typer.Context,
    month: Month = None,
    company: Annotated[str | None, typer.Option("--company", metavar="EMPRESA", help="Só esta empresa.")] = None,
    as_json: Json = False,
) -> None:
    """Mostra o mês: execuções, contratos por situação, bloqueios, aprovações à espera e a fila de parados."""
    here = desk(ctx)
    stack, now, chosen = here.stack, here.now(), here.month(month)
    settings = stack.settings()
    companies = [known_company(settings, company)] if company else sorted(settings.companies)
    runs = {key: stack.company_run(chosen, key) for key in companies}
    states = {key: stack.count_states(chosen, key) for key in companies}
    for key in companies:  # what no worker has touched yet has no charge in the ledger
        states[key][State.READY] = max(states[key][State.READY], runs[key].unsent)
    lanes = {key: stack.lane(key, now) for key in companies}
    waiting = [found.approval for found in runs.values() if found.approval and found.waits]
    parked = stack.parked_messages()
    if as_json:
        here.say_json(
            {
                "month": str(chosen),
                "stack": stack.name,
                "companies": {
                    key: {
                        "run": runs[key].status or None,
                        "generation": runs[key].generation,
                        "execution": runs[key].execution or None,
                        "opened_at": runs[key].opened_at,
                        "closed_at": runs[key].closed_at,
                        "states": {state.value: count for state, count in states[key].items()},
                        "list_lag_seconds": runs[key].counts.get("list_lag"),
                        "blocked_until": lanes[key].blocked_until,
                        "blocked_reason": lanes[key].reason or None,
                    }
                    for key in companies
                },
                "approvals": [
                    {"company": item.company, "reasons": item.reasons, "asked_at": item.asked_at} for item in waiting
                ],
                "parked_messages": parked,
            }
        )
        return
    titles = ("empresa", "execução", "faturados", "enviando", "em dúvida", "parados", "retidos", "a enviar")
    order = (State.BILLED, State.SENDING, State.UNKNOWN, State.PARKED, State.HELD, State.READY)
    rows = [(key, runs[key].describe(now), *(thousands(states[key][state]) for state in order)) for key in companies]
    here.say(f"{chosen} na pilha {stack.name} ({stack.region}), {now.astimezone(SAO_PAULO):%d/%m/%Y %H:%M}")
    render.console().print(render.table(titles, rows))
    for key, lane in lanes.items():
        if lane.blocked_until:
            here.say(f"Bloqueada: {key} até {hour(lane.blocked_until, now)}. {lane.reason}".rstrip())
    for key, run in runs.items():
        if run.status == "open" and (late := run.counts.get("list_lag")):
            here.say(f"Listas atrasadas: depois de {late} s o Omie de {key} ainda não mostrava o que faturou.")
    for item in waiting:
        here.say(f"Espera aprovação: {item.company}: {'; '.join(item.reasons)}")
        here.say(f"  billing-ops approve --month {chosen} --company {item.company}   (ou reject)")
    if parked:
        here.say(f"Fila de parados: {thousands(parked)} à espera de uma pessoa, somando todos os meses.")
        here.say("  billing-ops dlq list")


@app.command()
def report(
    ctx: typer.Context,
    month: Month = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PASTA", help="Onde salvar; sem ela, a pasta atual.")
    ] = Path(),
    format_: Annotated[
        ReportFormat, typer.Option("--format", metavar="html|csv|json", help="html, csv (Excel) ou json.")
    ] = ReportFormat.HTML,
    open_: Annotated[bool, typer.Option("--open", help="Abre o relatório no navegador.")] = False,
) -> None:
    """Baixa o relatório mais recente do mês."""
    here = desk(ctx)
    chosen = here.month(month)
    key = here.stack.newest_report(chosen, format_.value)
    if key is None:
        raise OperatorError(
            f"Ainda não há relatório de {chosen}. Ele é gravado quando uma execução termina: "
            f"billing-ops run --month {chosen} --preview"
        )
    name = key.rsplit("/", 1)[-1]
    path = output / f"faturamento-{chosen}-{name}"
    output.mkdir(parents=True, exist_ok=True)
    here.stack.download(key, path)
    kind = next((kind for start, kind in REPORTS.items() if name.startswith(start)), "Relatório")
    here.say(f"{kind} de {chosen}: {path}")
    if open_:
        here.tools.open_page(path.resolve().as_uri())


app.command("doctor")(doctor)
app.command("probe")(probe)


# ---- what waits for a person

app.command("explain")(explain)
app.command("resolve")(resolve)
app.command("not-billed")(not_billed)
app.command("late-fee")(late_fee)
app.command("sweep")(sweep)
app.command("receivables")(receivables)
app.command("invoices")(invoices)


# ---- approval


@app.command()
def approve(
    ctx: typer.Context,
    company: Company,
    month: Month = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXTO", help="Por quê; fica no registro.")] = "",
) -> None:
    """Aprova o plano que passou dos limites e está à espera; o faturamento continua na hora."""
    _answer(desk(ctx), month, company, reason, approved=True)


@app.command()
def reject(
    ctx: typer.Context,
    company: Company,
    month: Month = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXTO", help="Por quê; vai para o relatório.")] = "",
) -> None:
    """Rejeita o plano que está à espera; a empresa não é faturada nesta execução."""
    _answer(desk(ctx), month, company, reason, approved=False)


def _answer(here: Desk, month: str | None, company: str, reason: str, *, approved: bool) -> None:
    chosen = here.month(month)
    stack = here.stack
    known_company(stack.settings(), company)
    found = stack.company_run(chosen, company)
    if found.approval is None:
        raise OperatorError(f"{company} não tem aprovação à espera em {chosen}. Veja com: billing-ops status")
    if not found.waits:
        by = f" por {found.approval.decided_by}" if found.approval.decided_by else ""
        raise OperatorError(f"A aprovação de {company} em {chosen} já foi respondida{by}.")
    who = stack.who(here.tools.environ)
    told = stack.answer_approval(
        found, approved=approved, who=who, reason=reason or "sem motivo informado", now=here.now()
    )
    if not told:
        raise OperatorError(
            "A execução já não espera esta resposta (o prazo passou ou ela parou); nada foi faturado. "
            f"Para tentar de novo: billing-ops run --month {chosen} --company {company}"
        )
    for line in found.approval.reasons:
        here.say(f"  {line}")
    if approved:
        here.say(f"Aprovado por {who}: {company} em {chosen}. Acompanhe com: billing-ops follow")
    else:
        here.say(f"Rejeitado por {who}: {company} não será faturada nesta execução de {chosen}.")


# ---- link


@app.command()
def link(
    ctx: typer.Context,
    contract: Annotated[str, typer.Option("--contract", metavar="JST-12", help="O contrato no Jestor.")],
    omie: Annotated[
        int, typer.Option("--omie", metavar="NÚMERO", parser=whole_number(1), help="O nCodCtr do contrato no Omie.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Só confere; não grava nada.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Não pergunta antes de mudar o Omie.")] = False,
) -> None:
    """Vincula um contrato do Jestor ao contrato do Omie que já existe, depois de conferir os dois.

    Se o contrato do Omie foi feito à mão e o seu único item vale o mesmo, o item passa a ser deste sistema: a mudança
    é mostrada, você responde, e o pedido segue pela fila da empresa, como tudo que se grava no Omie.
    """
    here = desk(ctx)
    number = contract_number(contract)
    settings = here.stack.settings()
    jestor = jestor_of(here)
    asked_at = 0.0

    def waiting(seconds: float) -> None:
        tell_waiting(here, seconds)

    def omie_for(key: str) -> OmieClient:
        return omie_of(here, key, settings.companies[key].same_question_seconds, waiting=waiting)

    def turn(key: str, question: str) -> None:
        nonlocal asked_at
        here.tools.clock.sleep(turns_at(here, key, LOOKED_UP_FOR, waiting)(question))
        asked_at = here.now().timestamp()

    today = here.now().astimezone(SAO_PAULO).date()
    checked = check_link(number, omie, settings, jestor, omie_for, today=today, turn=turn)
    if checked.warning:
        here.note(checked.warning)
    if checked.already and checked.takeover is None:
        here.say(f"{checked.code} já está vinculado ao contrato {omie} do Omie ({checked.company}); nada a fazer.")
        return
    for change in checked.takeover.changes if checked.takeover else ():
        here.say(f"  No Omie, {change}")
    if dry_run:
        here.say(f"Confere: {checked.code} e o contrato {omie} do Omie ({checked.company}). Nada foi gravado.")
        return
    if checked.takeover is not None:
        if not yes:
            here.need_a_person(" para mudar o Omie, ou com --dry-run")
            here.ask(f"Mudar o contrato {omie} no Omie?", "gravado")
        order_link(here, checked, asked_at=asked_at)
    elif not checked.already:
        jestor.update(settings.jestor.contracts.table, checked.jestor_id, {checked.field: omie})
    here.say(f"Vinculado: {checked.code} ao contrato {omie} do Omie ({checked.company}).")


# ---- settings


@settings_app.command("check")
def settings_check(
    file: Annotated[Path, typer.Argument(metavar="ARQUIVO", help="O arquivo TOML da configuração.")],
) -> None:
    """Confere um arquivo de configuração, sem enviar nada."""
    checked = load_settings(read_text(file))
    print(f"{file}: válido. Empresas: {', '.join(sorted(checked.companies))}.")


@settings_app.command("push")
def settings_push(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="ARQUIVO", help="O arquivo TOML da configuração.")],
) -> None:
    """Confere o arquivo e o põe em vigor na pilha. A versão anterior fica guardada no bucket."""
    here = desk(ctx)
    text = read_text(file)
    checked = load_settings(text)
    if here.stack.settings_bytes() == text.encode():
        here.say(f"A pilha {here.stack.name} já está com esta configuração; nada a fazer.")
        return
    here.stack.put_settings(text)
    here.say(f"Configuração em vigor na pilha {here.stack.name}. Empresas: {', '.join(sorted(checked.companies))}.")
    for line in _missing_secrets(here.stack, checked):
        here.note(line)


@settings_app.command("show")
def settings_show(ctx: typer.Context) -> None:
    """Mostra a configuração em vigor na pilha."""
    here = desk(ctx)
    text = here.stack.settings_text()
    if text is None:
        raise no_settings(here.stack.name)
    here.say(text.rstrip("\n"))


# ---- secrets

secrets_put = App(
    cls=Group, help="Grava uma chave; os valores são perguntados ou lidos da entrada.", no_args_is_help=True
)
secrets_app.add_typer(secrets_put, name="put")


@secrets_put.command("omie")
def secrets_put_omie(
    ctx: typer.Context,
    company: Annotated[str, typer.Argument(metavar="EMPRESA", help="A empresa, como está na configuração.")],
) -> None:
    """Grava app_key e app_secret de uma empresa. Pela entrada: uma em cada linha, nesta ordem."""
    here = desk(ctx)
    if here.stack.settings_bytes() is not None:
        known_company(here.stack.settings(), company)
    _put_secret(here, here.stack.omie_secret(company), ("app_key", "app_secret"))


@secrets_put.command("jestor")
def secrets_put_jestor(ctx: typer.Context) -> None:
    """Grava o token do Jestor."""
    here = desk(ctx)
    _put_secret(here, here.stack.jestor_secret, ("token",))


secrets_put.command("webhooks")(put_webhooks)


@secrets_app.command("check")
def secrets_check(ctx: typer.Context) -> None:
    """Confere se todas as chaves existem e estão completas. Não mostra nenhuma."""
    here = desk(ctx)
    settings = here.stack.settings()
    missing = _missing_secrets(here.stack, settings)
    for line in missing:
        here.note(line)
    if missing:
        raise typer.Exit(1)
    here.say(f"Chaves completas: Jestor e Omie de {', '.join(sorted(settings.companies))}.")


def _put_secret(here: Desk, name: str, fields: Sequence[str]) -> None:
    if here.tools.at_a_terminal():
        values = [visible(typer.prompt(field, hide_input=True)) for field in fields]
    else:
        values = [shown for line in read_piped().splitlines() if (shown := visible(line))]
    if len(values) != len(fields):
        came = "veio 1 linha" if len(values) == 1 else f"vieram {len(values)} linhas"
        raise InputError(f"Esperava {' e '.join(fields)} na entrada, um por linha; {came}. Nada foi gravado.")
    new = here.stack.put_secret(name, dict(zip(fields, values, strict=True)))
    here.say(f"Segredo {name} {'criado' if new else 'atualizado'}.")


def _missing_secrets(stack: Stack, settings: Settings) -> list[str]:
    wanted: list[tuple[str, tuple[str, ...]]] = [(stack.jestor_secret, ("token",))]
    wanted += [(stack.omie_secret(key), ("app_key", "app_secret")) for key in sorted(settings.companies)]
    lines = []
    for name, fields in wanted:
        try:
            stack.read_secret(name, fields)
        except OperatorError as error:
            lines.append(str(error))
    return lines


def main() -> None:
    """The entry point `billing-ops`."""
    app(prog_name="billing-ops", obj=Tools())
