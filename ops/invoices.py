"""`billing-ops invoices`: how each invoice of the month stands, from the charge to the customer's WhatsApp."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from billing.domain.charge import MONTHLY, ChargeKey, State
from billing.domain.invoice import STATUS_TEXT, TO_SEND, InvoiceState
from billing.domain.money import format_brl
from billing.domain.month import SAO_PAULO
from billing.store.documents import Document, document_key
from ops import render
from ops.desk import desk
from ops.errors import InputError
from ops.findings import count
from ops.link import contract_number
from ops.options import Companies, Json, Month  # noqa: TC001 - Typer reads the annotations
from ops.stack import known_company

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from billing.domain.charge import Charge
    from billing.domain.month import BillingMonth
    from ops.desk import Desk
    from ops.stack import Stack

AWAITS: Final = {
    "nfse": "a prefeitura ainda não respondeu",
    "link": "o Omie ainda não dá o link da nota",
    "titulo": "o Omie ainda não gerou a conta a receber",
    "boleto": "o boleto ainda não foi gerado",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One billed charge and what became of its invoice."""

    charge: Charge
    document: Document

    @property
    def delivered(self) -> bool:
        """The customer has it, or is about to: Jestor was told and nothing keeps the message back."""
        return self.document.told_state in TO_SEND and not self.document.problem

    @property
    def state(self) -> str:
        state = self.document.state or self.document.told_state
        return STATUS_TEXT[InvoiceState(state)] if state else "Sem notícia do Omie"

    @property
    def note(self) -> str:
        if self.document.state == InvoiceState.WAITING:
            return AWAITS.get(self.document.awaits, "")
        return self.document.problem

    def to_dict(self) -> dict[str, Any]:
        return {
            "contract": self.charge.key.contract,
            "company": self.charge.company,
            "month": str(self.charge.key.month),
            "amount": self.charge.amount,
            "nCodOS": self.charge.nCodOS,
            "state": self.document.state or None,
            "invoice_number": self.document.number or None,
            "told_at": self.document.told_at or None,
            "delivered": self.delivered,
            "note": self.note or None,
        }


def invoices(
    ctx: typer.Context,
    *,
    month: Month = None,
    company: Companies = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Só as que ainda não chegaram ao cliente, com o motivo.")
    ] = False,
    again: Annotated[
        list[str] | None,
        typer.Option("--again", metavar="JST-12", help="Grava e envia de novo a fatura deste contrato; repita."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Mostra cada fatura do mês: NFS-e, o que o Jestor recebeu e o que falta para chegar ao cliente.

    Com --again, a fatura é lida outra vez no Omie e gravada no Jestor, mesmo que já tenha sido: depois de corrigir um
    telefone, por exemplo. Se algo mudou no registro, a automação do WhatsApp roda de novo.
    """
    here = desk(ctx)
    chosen = here.month(month)
    settings = here.stack.settings()
    if again:
        _again(here, chosen, again)
        return
    companies = [known_company(settings, key) for key in dict.fromkeys(company or ())] or sorted(settings.companies)
    lines = [line for key in companies for line in _lines(here.stack, key, chosen)]
    shown = [line for line in lines if not (missing and line.delivered)]
    if as_json:
        here.say_json({"month": str(chosen), "invoices": [line.to_dict() for line in shown]})
        return
    delivered = sum(line.delivered for line in lines)
    billed, told = count(len(lines), "faturada", "faturadas"), count(delivered, "entregue", "entregues")
    here.say(f"{chosen}: {billed}, {told} ao Jestor, {count(len(lines) - delivered, 'pendente', 'pendentes')}.")
    if shown:
        titles = ("contrato", "empresa", "OS", "valor", "situação", "NFS-e", "gravada em")
        render.console().print(render.table(titles, [_row(line) for line in shown]))
    if notes := [f"  {line.charge.key.contract}: {line.note}" for line in shown if line.note]:
        here.say("\nO que falta:")
        render.paragraphs([*notes, ""])
    if any(line.document.told_state == InvoiceState.REJECTED for line in lines):
        here.say("NFS-e rejeitada: corrija o que a linha diz e reenvie a nota pela OS, no Omie. Não fature de novo.")


def _row(line: Line) -> tuple[str, ...]:
    told = line.document.told_at
    when = f"{datetime.fromisoformat(told).astimezone(SAO_PAULO):%d/%m %H:%M}" if told else ""
    order = str(line.charge.nCodOS or "")
    charge = line.charge
    return (
        charge.key.contract, charge.company, order, format_brl(charge.amount), line.state, line.document.number, when,
    )  # fmt: skip


def _lines(stack: Stack, company: str, month: BillingMonth) -> Iterator[Line]:
    charges = [
        charge
        for charge in stack.month_charges(company, month)
        if charge.state is State.BILLED and charge.key.kind == MONTHLY
    ]
    keys = {charge.key: document_key(company, charge.nCodOS) for charge in charges if charge.nCodOS}
    documents = stack.documents(keys.values())
    for charge in sorted(charges, key=lambda charge: contract_number(charge.key.contract)):
        key = keys.get(charge.key, "")
        yield Line(charge, documents.get(key, Document(key)))


def _again(here: Desk, month: BillingMonth, contracts: Sequence[str]) -> None:
    keys = [ChargeKey(f"JST-{contract_number(contract)}", month) for contract in dict.fromkeys(contracts)]
    found = {key: next(iter(here.stack.charges(key.contract, month, [MONTHLY])[0]), None) for key in keys}
    for key, charge in found.items():
        if charge is None or charge.state is not State.BILLED or not charge.nCodOS:
            raise InputError(f"{key.contract} não foi faturado em {month}: não há fatura para enviar de novo.")
    for key, charge in found.items():
        assert charge is not None  # noqa: S101 - looked at above
        now = here.now()
        hint = {
            "company": charge.company,
            "topic": "operator",
            "nCodOS": charge.nCodOS,
            "contract": key.contract,
            "month": str(month),
            "source": "operator",
            "webhook": "",
            "received_at": now.isoformat(),
            "again": True,
        }
        here.stack.send(
            "InvoiceEventsQueueUrl",
            json.dumps(hint),
            group=f"{charge.company}#{charge.nCodOS}",
            dedup=f"again-{charge.nCodOS}-{now:%Y%m%d%H%M%S}",
        )
        here.say(f"Pedido: a fatura de {key.contract} ({month}) será lida no Omie e gravada de novo em poucos minutos.")
