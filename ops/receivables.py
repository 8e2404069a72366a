"""`billing-ops receivables`: open titles as Jestor's table shows them, read anew, and what their delay costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from billing.domain.contract import contract_code
from billing.domain.money import format_brl, reais
from billing.domain.month import SAO_PAULO
from billing.domain.receivable import RESOLVED, Status
from billing.holidays_br import is_bank_holiday
from billing.jestor.receivables import TableProblems
from billing.late_charges import known_through, quote_of, with_local
from billing.store.ledger import Ledger
from billing.store.queues import Queues
from billing.sync_receivables import ReceivablesDeps, look
from ops import render
from ops.desk import desk
from ops.doors import jestor_of, omie_of, tell_waiting
from ops.errors import OperatorError
from ops.findings import count
from ops.options import Companies, Json  # noqa: TC001 - Typer reads the annotations
from ops.stack import known_company

if TYPE_CHECKING:
    from datetime import date

    from billing.settings import Settings
    from billing.sync_receivables import Seen
    from ops.desk import Desk

_STATUS = {
    Status.OPEN: "em aberto",
    Status.LATE: "atrasado",
    Status.PARTIAL: "pago em parte",
    Status.PAID: "pago",
    Status.CANCELLED: "cancelado",
}


def receivables(
    ctx: typer.Context,
    *,
    company: Companies = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Só os atrasados.")] = False,
    proof: Annotated[bool, typer.Option("--proof", help="Mostra a conta dos encargos de cada um.")] = False,
    sync: Annotated[
        bool, typer.Option("--sync", help="Só pede que a tabela do Jestor seja atualizada agora, e sai.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Lista os títulos em aberto: dias de atraso, etapa de cobrança, marca de uma pessoa, encargos até hoje."""
    here = desk(ctx)
    settings = here.stack.settings()
    if settings.jestor.receivables is None:
        raise OperatorError("A configuração não tem [jestor.receivables]: não há tabela de contas a receber no Jestor.")
    wanted = [known_company(settings, key) for key in dict.fromkeys(company or sorted(settings.companies))]
    if sync:
        for key in wanted:
            here.stack.ask_receivables(key)
        here.say(f"Pedido: {', '.join(wanted)}. A tabela fica em dia em alguns minutos.")
        return
    deps = _deps(here, settings)
    try:
        found = [(key, seen) for key in wanted for seen in look(key, deps) if _is_shown(seen, overdue=overdue)]
    except TableProblems as error:
        raise OperatorError(str(error)) from None
    if as_json:
        here.say_json({"titles": [_plain(key, seen) for key, seen in found]})
        return
    if not found:
        here.say("Nenhum título atrasado." if overdue else "Nenhum título em aberto.")
        return
    _show(here, found)
    for day in sorted(_charged_through(here, settings, {key for key, seen in found if seen.standing.delay_days})):
        here.tell(f"Encargos contados até {day:%d/%m/%Y}, o último dia cujos pagamentos o Omie já conhece.")
    if proof:
        for _, seen in found:
            if seen.proof:
                here.say("")
                document = f" ({seen.title.document})" if seen.title.document else ""
                here.say(f"Título {seen.title.nCodTitulo}{document}:")
                for line in seen.proof.splitlines():
                    here.tell(f"  {line}")


def _deps(here: Desk, settings: Settings) -> ReceivablesDeps:
    stack = here.stack

    ledger = Ledger(stack.clients.dynamodb, stack.outputs["LedgerTableName"], stack.outputs.get("HoldsTableName", ""))
    return ReceivablesDeps(
        settings=settings,
        jestor=lambda: jestor_of(here),
        omie=lambda key: omie_of(
            here, key, settings.companies[key].same_question_seconds, waiting=partial(tell_waiting, here)
        ),
        ledger=ledger,
        queues=Queues(stack.clients.sqs, ""),
        queue_url="",
        clock=here.tools.clock,
        is_holiday=is_bank_holiday,
        quote=lambda key: quote_of(settings.companies[key].late_fee, is_bank_holiday),
    )


def _is_shown(seen: Seen, *, overdue: bool) -> bool:
    return seen.standing.status is Status.LATE if overdue else seen.standing.status not in RESOLVED


def _charged_through(here: Desk, settings: Settings, companies: set[str]) -> set[date]:
    today = here.now().astimezone(SAO_PAULO).date()
    fees = [settings.companies[key].late_fee for key in companies]
    return {known_through(today, fee, with_local(is_bank_holiday, fee)) for fee in fees if fee is not None}


def _show(here: Desk, found: list[tuple[str, Seen]]) -> None:
    rows = [
        (
            key,
            contract_code(seen.contract) if seen.contract else "",
            str(seen.title.nCodTitulo),
            f"{seen.title.due:%d/%m/%Y}",
            str(seen.standing.delay_days),
            seen.mark.replace("_", " ") or seen.standing.stage or _STATUS[seen.standing.status],
            format_brl(seen.title.open),
            format_brl(seen.charges_billed) if seen.charges_billed else "",
            format_brl(seen.charges) if seen.charges else "",
        )
        for key, seen in found
    ]
    names = (
        "empresa",
        "contrato",
        "título",
        "vencimento",
        "dias",
        "etapa",
        "saldo",
        "encargos já faturados",
        "a faturar",
    )
    render.console().print(render.table(names, rows))
    late = [seen for _, seen in found if seen.standing.status is Status.LATE]
    here.say(
        f"Em aberto: {format_brl(sum(seen.title.open for _, seen in found))} em "
        f"{count(len(found), 'título', 'títulos')}; atrasados: "
        f"{format_brl(sum(seen.title.open for seen in late))} em {len(late)}."
    )
    if billed := sum(seen.charges_billed for _, seen in found):
        to_bill = sum(seen.charges for _, seen in found)
        here.say(f"Encargos: {format_brl(billed)} já em faturas; {format_brl(to_bill)} a faturar.")


def _plain(company: str, seen: Seen) -> dict[str, Any]:
    title, standing = seen.title, seen.standing
    return {
        "company": company,
        "contract": contract_code(seen.contract) if seen.contract else None,
        "title": title.nCodTitulo,
        "document": title.document or None,
        "due": title.due.isoformat(),
        "status": str(standing.status),
        "delay_days": standing.delay_days,
        "stage": standing.stage or None,
        "mark": seen.mark or None,
        "amount": str(reais(title.amount)),
        "open": str(reais(title.open)),
        "charges": str(reais(seen.charges)),
        "charges_billed": str(reais(seen.charges_billed)),
        "proof": seen.proof or None,
    }
