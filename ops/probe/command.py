"""`billing-ops probe`: how the real Omie behaves, on a test account of the user's.

It writes in Omie from the operator's machine, which no other command does: only in an account that the settings mark as
a test account, and while no run is under way (docs/adr/0028).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from billing.domain.month import SAO_PAULO
from billing.domain.text import visible
from ops.desk import Desk, desk
from ops.doors import probe_caller
from ops.errors import InputError, OperatorError
from ops.follow import hour
from ops.options import Company  # noqa: TC001 - Typer reads the annotation
from ops.probe.caller import MOST_CALLS, MOST_SECONDS, NoRoom, StopProbe
from ops.probe.facts import NAME, facts_key, write_facts
from ops.probe.report import CLOCK_BOUND, report
from ops.probe.run import probe as run_probe
from ops.probe.things import Maker
from ops.stack import known_company

if TYPE_CHECKING:
    from datetime import datetime

    from ops.probe.caller import Caller, Json

REPORT: Final = "sonda.txt"


def probe(
    ctx: typer.Context,
    *,
    company: Company,
    customer: Annotated[
        str,
        typer.Option("--customer", metavar="CNPJ", help="CNPJ ou CPF de um cliente seu, já cadastrado nesta conta."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PASTA", help="Onde gravar o relatório.")] = Path(),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Não pergunta antes de começar.")] = False,
) -> None:
    """Mede como o Omie se comporta, numa conta de TESTE: cria, fatura e cancela contratos de R$ 1,00.

    Sai com 0 se mediu e desfez tudo, 1 se parou antes ou algo ficou, 2 se o pedido não pode ser atendido.
    """
    here = desk(ctx)
    settings = here.stack.settings()
    chosen = settings.companies[known_company(settings, company)]
    if not chosen.test_account:
        raise InputError(
            f"{company} não está marcada como conta de teste, e a sonda cria, fatura e cancela contratos. Se ela é uma "
            f"conta sua, só para testes, ponha test_account = true em [companies.{company}] e envie a configuração."
        )
    _not_now(here, company)
    if not out.is_dir():
        raise InputError(f"{out}: a pasta não existe; crie-a ou indique outra com --out.")
    if not yes:
        here.need_a_person(" para medir numa conta de teste")
        minutes = int(MOST_SECONDS // 60)
        here.note(f"Até {minutes} minutos e {MOST_CALLS} chamadas; tudo o que for criado é cancelado no fim.")
        here.ask(f"Medir o Omie de {company} ({chosen.name}), conta de teste?", "criado")
    caller = probe_caller(here, company, chosen.same_question_seconds)
    register = _customer(caller, customer)
    maker = Maker(chosen, int(register["codigo_cliente_omie"]), here.now())
    wanted = (register.get("recomendacoes") or {}).get("gerar_boletos") != "N"
    probed = run_probe(caller, maker, boleto_wanted=wanted, say=here.note)
    lines = report(company, chosen, probed)
    facts = write_facts(company, maker.today, probed.answers)
    (out / REPORT).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / NAME).write_text(facts, encoding="utf-8")
    for line in lines:
        here.tell(line)
    if any(answer.told for answer in probed.answers.values()):
        here.stack.put_facts(facts_key(company), facts)
    here.note(f"Gravados {out / REPORT} e {out / NAME}.")
    if probed.interrupted:
        raise typer.Exit(130)
    if probed.stopped or probed.doubtful or not all(one.gone for one in probed.made):
        raise typer.Exit(1)


def _not_now(here: Desk, company: str) -> None:
    """Raises OperatorError while a run is under way, while Omie is not to be asked, and before midnight."""
    now = here.now()
    running = here.stack.latest_execution()
    if running is not None and not running.ended:
        raise OperatorError(f"A execução {running.name} ainda está em andamento. Espere o fim e repita.")
    lane = here.stack.lane(company, now)
    if lane.blocked_until is not None:
        raise OperatorError(
            f"{company} está parada até {hour(lane.blocked_until, now)}: {lane.reason}. Espere e repita."
        )
    if _day(now) != _day(now + timedelta(seconds=MOST_SECONDS + CLOCK_BOUND)):
        raise OperatorError(
            "Falta pouco para a meia-noite, e o dia não pode mudar durante a sonda. Repita depois dela."
        )


def _day(moment: datetime) -> int:
    return moment.astimezone(SAO_PAULO).toordinal()


def _customer(caller: Caller, document: str) -> Json:
    """The customer's register. Raises InputError when there is none, or none that can be billed."""
    digits = "".join(sign for sign in visible(document) if sign.isalnum())
    if len(digits) not in (11, 14):
        raise InputError(f"--customer {document}: escreva o CNPJ ou o CPF inteiro, como 12.345.678/0001-90.")
    try:
        reply = caller.read(
            "ListarClientes",
            {"pagina": 1, "registros_por_pagina": 50, "clientesFiltro": {"cnpj_cpf": digits}},
        )
    except (StopProbe, NoRoom) as stop:
        raise OperatorError(f"A sonda não começou: {stop}.") from None
    rows = reply.rows("clientes_cadastro")
    if rows is None:
        raise OperatorError(f"A sonda não começou: ListarClientes não deu certo ({reply.words or 'sem resposta'}).")
    billable = [row for row in rows if row.get("inativo") != "S" and row.get("bloquear_faturamento") != "S"]
    if not billable:
        raise InputError(
            f"Nenhum cliente com o documento {document} pode ser faturado nesta conta. Cadastre no Omie um cliente "
            "seu, com o endereço completo, e repita."
        )
    return billable[0]
