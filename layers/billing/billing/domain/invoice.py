"""What became of a billed charge's invoice, what the Jestor record shall show of it, and what the customer reads.

```
             NFS-e      title      boleto          state                what Jestor is told
OS billed    not yet                               WAITING "nfse"       nothing yet
             refused                               REJECTED             why and what to fix; nothing to send
             issued     not yet                    WAITING "titulo"     nothing yet
             issued     there      expected, none  WAITING "boleto"     nothing yet, for a bounded time
             issued     there      as expected     AUTHORISED           everything, in one write
             another    there      as expected     SUBSTITUTED          everything anew: the customer holds a void one
             cancelled                             CANCELLED            it says so; nothing to send
```

Every write to the record fires its WhatsApp automation, so an invoice is told once it is complete and not in parts.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Literal

from billing.domain.addition import Kind
from billing.domain.boleto import typeable_line
from billing.domain.city_advice import advice
from billing.domain.links import lasting
from billing.domain.money import format_brl, reais
from billing.domain.month import BillingMonth


class InvoiceState(StrEnum):
    WAITING = "waiting"
    AUTHORISED = "authorised"
    SUBSTITUTED = "substituted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


TO_SEND: Final = frozenset({InvoiceState.AUTHORISED, InvoiceState.SUBSTITUTED})
"""The customer has something to receive."""

STATUS_TEXT: Final = {
    InvoiceState.WAITING: "Aguardando NFS-e",
    InvoiceState.AUTHORISED: "Faturado",
    InvoiceState.SUBSTITUTED: "NFS-e substituída",
    InvoiceState.REJECTED: "NFS-e rejeitada",
    InvoiceState.CANCELLED: "NFS-e cancelada",
}
"""As Jestor and the operator read them."""

AwaitedPart = Literal["", "nfse", "link", "titulo", "boleto"]


class NfseStatus(StrEnum):
    """Omie's letter, with "R" for what the city refused."""

    ISSUED = "F"
    CANCELLED = "C"
    REJECTED = "R"
    NOT_YET = "N"


@dataclass(frozen=True, slots=True)
class Nfse:
    """One NFS-e of the order; an order may have several (refused and sent again, substituted)."""

    status: NfseStatus
    nCodNF: int = 0
    number: str = ""


@dataclass(frozen=True, slots=True)
class Slip:
    """One title of the order (conta a receber), in centavos, and whether it has a boleto; `barcode`: as Omie gives it.

    The boleto's own address is not kept: Omie's ends after a day, and the customer's page has the boleto too.
    """

    nCodTitulo: int
    due: date
    amount: int
    paid: bool = False
    has_boleto: bool = False
    barcode: str = ""


@dataclass(frozen=True, slots=True)
class CityMessage:
    """What the city's system said of an RPS it refused."""

    code: str
    text: str
    correction: str = ""


@dataclass(frozen=True, slots=True)
class Invoice:
    """Attributes:

    state: see the table above.
    awaits: the part that is not there yet, of WAITING.
    nCodNF, number: of the NFS-e that holds.
    link: the customer's page with all documents, which lasts.
    slips: the titles that are not cancelled, by due date.
    reason, fix: of REJECTED, in Portuguese.
    """

    state: InvoiceState
    awaits: AwaitedPart = ""
    nCodNF: int = 0
    number: str = ""
    link: str = ""
    slips: tuple[Slip, ...] = ()
    reason: str = ""
    fix: str = ""

    @property
    def paid(self) -> bool:
        return bool(self.slips) and all(slip.paid for slip in self.slips)

    @property
    def identity(self) -> str:
        """What makes it this document and no other: a digest of numbers, never of links, which may change on their own.

        Two looks with the same identity are one document, told once.
        """
        parts: list[object] = [self.state in TO_SEND or self.state, self.nCodNF, self.number, self.reason]
        if self.state in TO_SEND:
            parts += [(slip.nCodTitulo, slip.due.isoformat(), slip.amount, slip.barcode) for slip in self.slips]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def valid_nfse(nfses: Iterable[Nfse]) -> Nfse:
    """The one that holds: issued before refused before not yet before cancelled, and of those the newest."""
    order = (NfseStatus.CANCELLED, NfseStatus.NOT_YET, NfseStatus.REJECTED, NfseStatus.ISSUED)
    found = sorted(nfses, key=lambda nfse: (order.index(nfse.status), nfse.nCodNF))
    return found[-1] if found else Nfse(NfseStatus.NOT_YET)


def assess(
    nfse: Nfse,
    slips: Sequence[Slip] = (),
    *,
    link: str = "",
    messages: Sequence[CityMessage] = (),
    boleto_expected: bool = True,
    told_nCodNF: int = 0,
) -> Invoice:
    """What Omie says, as one state.

    Args:
        nfse: the one that holds (`valid_nfse`).
        slips: the order's titles, without the cancelled ones.
        link: where the customer finds the documents; one that ends counts for none.
        messages: the city's words, newest first.
        boleto_expected: whether the customer is to get nothing before the boletos are there.
        told_nCodNF: the NFS-e the customer was sent before; 0 when none was.
    """
    match nfse.status:
        case NfseStatus.NOT_YET:
            return Invoice(InvoiceState.WAITING, "nfse")
        case NfseStatus.CANCELLED:
            return Invoice(InvoiceState.CANCELLED, nCodNF=nfse.nCodNF, number=nfse.number)
        case NfseStatus.REJECTED:
            return Invoice(InvoiceState.REJECTED, reason=refusal(messages), fix=what_to_fix(messages))
    ordered = tuple(sorted(slips, key=lambda slip: (slip.due, slip.nCodTitulo)))
    awaits: AwaitedPart = ""
    link = lasting(link)
    if not link:
        awaits = "link"
    elif not ordered:
        awaits = "titulo"
    elif boleto_expected and not all(slip.paid or slip.has_boleto for slip in ordered):
        awaits = "boleto"
    another = told_nCodNF not in {0, nfse.nCodNF}
    state = InvoiceState.SUBSTITUTED if another else InvoiceState.AUTHORISED
    return Invoice(InvoiceState.WAITING if awaits else state, awaits, nfse.nCodNF, nfse.number, link, ordered)


# --- refused by the city ---------------------------------------------------------------------------------------------

_AND_THEN: Final = "Depois reenvie a NFS-e pela OS, no Omie. Não fature de novo."


def refusal(messages: Sequence[CityMessage]) -> str:
    """The newest of the city's messages, with its code."""
    if not messages:
        return "A prefeitura recusou a nota sem dizer o motivo."
    newest = messages[0]
    return f"{newest.code}: {newest.text}" if newest.code else newest.text


def what_to_fix(messages: Sequence[CityMessage]) -> str:
    """What a person must do, in Portuguese: the city's own advice first, if it gives any."""
    if messages and messages[0].correction:
        return f"{messages[0].correction.rstrip('.')}. {_AND_THEN}"
    fix = advice(messages[0].text) if messages else ""
    return f"{fix or 'Veja a mensagem da prefeitura na OS, no Omie, e corrija o que ela aponta.'} {_AND_THEN}"


# --- what Jestor shall show ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who bills whom, and where the message goes.

    phone: E.164, or empty with `phone_problem` saying why (Portuguese, without the number).
    document: what the customer's page asks for the first five digits of.
    """

    company: str
    customer: str
    phone: str = ""
    phone_problem: str = ""
    document: Literal["CNPJ", "CPF", "CNPJ ou CPF"] = "CNPJ ou CPF"


def record(
    invoice: Invoice, month: BillingMonth, amount: int, to: Addressee, added: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Any]:
    """Our word for a field (settings `jestor.contracts.write_back`) -> its value. Nothing for WAITING.

    Always all the fields: what an earlier month left there must not stay beside this month's. Every link is the page,
    which holds note and boleto and lasts; a field of its own for the PDF or the boleto shows it too.
    """
    if invoice.state is InvoiceState.WAITING:
        return {}
    told: dict[str, Any] = {
        "month": str(month),
        "billed_status": STATUS_TEXT[invoice.state],
        "billed_amount": float(reais(amount)),
        "invoice_number": invoice.number,
        "invoice_link": "",
        "invoice_pdf": "",
        "boleto_link": "",
        "boleto_barcode": "",
        "due_date": None,
        "whatsapp_phone": "",
        "whatsapp_text": "",
        "invoice_problem": _problem(invoice, to),
    }
    if invoice.state in TO_SEND:
        first = next((slip for slip in invoice.slips if not slip.paid), invoice.slips[0])
        told |= {
            "invoice_link": invoice.link,
            "invoice_pdf": invoice.link,
            "boleto_link": invoice.link if first.has_boleto and not first.paid else "",
            "boleto_barcode": "" if first.paid else typeable_line(first.barcode),
            "due_date": first.due.isoformat(),
            "whatsapp_phone": to.phone,
            "whatsapp_text": whatsapp_text(invoice, month, amount, to, added),
        }
    return told


def _problem(invoice: Invoice, to: Addressee) -> str:
    if invoice.state is InvoiceState.REJECTED:
        return f"A prefeitura rejeitou a NFS-e. {invoice.reason.rstrip('.')}. O que fazer: {invoice.fix}"
    if invoice.state is InvoiceState.CANCELLED:
        return "A NFS-e foi cancelada no Omie: não envie esta fatura ao cliente."
    return f"WhatsApp não enviado: {to.phone_problem}" if to.phone_problem else ""


def page_asks_for(document: str) -> Literal["CNPJ", "CPF", "CNPJ ou CPF"]:
    """What the customer's page asks for the first digits of, by the length of a document that was read already."""
    match len(document):
        case 14:
            return "CNPJ"
        case 11:
            return "CPF"
    return "CNPJ ou CPF"


_TITLES: Final = frozenset({"sr", "sra", "srta", "dr", "dra", "prof", "profa", "eng"})


def greeted(name: str, document: str) -> str:
    """The customer as a message greets it: a person by the first name, a company without what was added to its own.

    "João de Souza Silva" (CPF) -> "João"; "Padaria Sertão Ltda - em recuperação judicial" -> "Padaria Sertão Ltda".
    """
    own = " ".join(name.split(" - ", maxsplit=1)[0].split())
    person = len(document) == len("00000000000") and document.isdecimal()
    if not person:
        return own or "cliente"
    first = next((word for word in own.split() if word.casefold().rstrip(".") not in _TITLES), "")
    return first.capitalize() or "cliente"


# --- what the customer reads -----------------------------------------------------------------------------------------

_MONTHS: Final = (
    "janeiro", "fevereiro", "março", "abril", "maio", "junho",
    "julho", "agosto", "setembro", "outubro", "novembro", "dezembro",
)  # fmt: skip
ADDED: Final = {Kind.LATE: "encargos por atraso", Kind.PRORATE: "diferença proporcional"}
_CLOSING: Final = "Qualquer dúvida, é só responder a esta mensagem. Agradecemos a parceria!"


def month_name(month: BillingMonth) -> str:
    """As in "dezembro de 2026"."""
    return f"{_MONTHS[month.month - 1]} de {month.year}"


def whatsapp_text(
    invoice: Invoice, month: BillingMonth, amount: int, to: Addressee, added: Mapping[str, int] = MappingProxyType({})
) -> str:
    """The message, ready to be sent: plain text, one thing to a line, so that links and digits can be tapped.

    Args:
        invoice: AUTHORISED or SUBSTITUTED.
        month: what is billed.
        amount: centavos on the invoice; what is to be paid may be less (taxes that the customer withholds).
        to: who bills whom.
        added: what of the amount came on top of the month's own: kind (`addition.Kind`) -> centavos.
    """
    opening = f"Olá, {to.customer}! Sua fatura de {month_name(month)} da {to.company} já está disponível."
    if invoice.state is InvoiceState.SUBSTITUTED:
        opening = (
            f"Olá, {to.customer}! A nota fiscal da sua fatura de {month_name(month)} da {to.company} foi substituída. "
            "Por favor, desconsidere a anterior: vale esta."
        )
    payable = any(slip.has_boleto and not slip.paid for slip in invoice.slips)
    page = [
        f"Nota fiscal{_number(invoice)}{' e boleto' * payable}: {invoice.link}",
        f"Ao abrir a página, informe os cinco primeiros dígitos do seu {to.document}.",
    ]
    blocks = [opening, "\n".join([*_amounts(invoice, amount, added), *page])]
    if invoice.paid:
        blocks.append("Já identificamos o pagamento: não há nada a pagar.")
    else:
        blocks += _payments(invoice.slips)
    return "\n\n".join([*blocks, _CLOSING])


def _number(invoice: Invoice) -> str:
    return f" nº {invoice.number}" if invoice.number else ""


def _amounts(invoice: Invoice, amount: int, added: Mapping[str, int]) -> list[str]:
    lines = [f"Valor: {format_brl(amount)}"]
    lines += [f"Inclui {ADDED[Kind(kind)]}: {format_brl(extra)}" for kind, extra in added.items()]
    to_pay = sum(slip.amount for slip in invoice.slips)
    if to_pay != amount:
        lines.append(f"Valor a pagar: {format_brl(to_pay)}{' (com as retenções de impostos)' * (to_pay < amount)}")
    if len(invoice.slips) == 1:
        lines.append(f"Vencimento: {invoice.slips[0].due:%d/%m/%Y}")
    return lines


def _payments(slips: Sequence[Slip]) -> list[str]:
    blocks = []
    for number, slip in enumerate(slips, start=1):
        lines = []
        if len(slips) > 1:
            due = "paga" if slip.paid else f"vencimento {slip.due:%d/%m/%Y}"
            lines.append(f"Parcela {number} de {len(slips)}: {format_brl(slip.amount)}, {due}")
        if not slip.paid and (line := typeable_line(slip.barcode)):
            lines.append(f"Linha digitável:\n{line}")
        if lines:
            blocks.append("\n".join(lines))
    return blocks
