"""Brings one invoice to its contract's Jestor record, from where WhatsApp goes out: once per document.

A hint says "look at this order again" and nothing else; everything is read from Omie.

    whose is it       the ledger: an order that we did not bill is ignored
    take it           one works on a document at a time (store.documents)
    look              NFS-e, its links, titles, boletos -> `Invoice` (domain.invoice)
    what is new       compared with what was told before: the same document is told once, whatever comes again
    tell              read the record, compare, one update with everything (update_jestor.bring)
    remember          what was told

Killed anywhere before "remember", the next hint (or the daily sweep) goes through it again, and the record itself
shows whether the update had happened. InvoiceEventsQueue delays every hint by more than a minute: the three or four
webhooks of one invoice become one look, because a hint older than the last look has nothing to add, and no question
is put to Omie twice within the minute in which it refuses repetitions.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from billing.domain.addition import Kind
from billing.domain.charge import Charge, ChargeKey, State
from billing.domain.invoice import (
    TO_SEND,
    Addressee,
    CityMessage,
    Invoice,
    InvoiceState,
    Nfse,
    NfseStatus,
    Slip,
    assess,
    greeted,
    page_asks_for,
    record,
    valid_nfse,
)
from billing.domain.links import lasting
from billing.domain.money import parse_money
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.number import whole
from billing.jestor.client import JestorRefused
from billing.jestor.field_map import contact
from billing.omie.governor import may_look_up
from billing.omie.mapping import parse_date
from billing.omie.replies import BLOCK_SECONDS, OUR_STOPS, READERS_STOP, Blocked, Rejected
from billing.phone import read_phone
from billing.settings import FUNCTION_TIMEOUT_SECONDS, CompanySettings, Settings
from billing.store.documents import Document, document_key
from billing.store.objects import ObjectMissing
from billing.unreadable import DATA_ERRORS
from billing.update_jestor import bring, drafts_too

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from billing.clock import Clock
    from billing.jestor.client import JestorClient
    from billing.omie.client import OmieClient
    from billing.store.ports import Charges, Documents, Lanes, Messages, Objects

Json = dict[str, Any]

HELD_FOR: Final = timedelta(seconds=FUNCTION_TIMEOUT_SECONDS)
"""Longer no invocation lives; after that the document is anybody's."""
SHARED_PHONES: Final = "phones/shared.json"
"""Where the sweep keeps the marks of the phones that several customers have: {"day", "marks"}."""
ORDER_DIGITS: Final = 15
"""Omie pads an order's number (cNumOS) with zeros; webhooks leave them out."""
OTHER_NUMBERS: Final = ("numero_pedido", "nIdNf")
"""By which a hint may name its order: ListarNFSEs answers both with an empty list, not an error, when there is none."""
LEFT_TO_SWEEP: Final = "left to the sweep"
RECEIVES: Final = 3
"""A hint that was put off so often goes on as a new message: the queue gives up one that was received five times."""
ASK_FOR_BOLETO_EVERY: Final = timedelta(days=1)


@dataclass(frozen=True)
class InvoiceDeps:
    settings: Settings
    ledger: Charges
    documents: Documents
    lanes: Lanes
    objects: Objects
    queues: Messages
    omie: Callable[[str], OmieClient]
    jestor: Callable[[], JestorClient]
    clock: Clock
    omie_writes_url: str
    invoice_events_url: str
    new_holder: Callable[[], str] = lambda: uuid.uuid4().hex


class ComeAgain(Exception):  # noqa: N818 - the queue's business, not an accident
    """Not before so many seconds: the message stays in the queue."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


def take(record: Mapping[str, Any], deps: InvoiceDeps) -> Json:
    """One message of the queue; "later" in the answer: it is hidden for a while and must be returned."""
    hint = json.loads(record["body"])
    try:
        return deliver_invoice(hint, deps) | {"later": False}
    except Blocked as blocked:
        seconds = blocked.retry_after or BLOCK_SECONDS
        if blocked.rule not in OUR_STOPS:  # Omie blocks the whole key
            deps.lanes.block(str(hint["company"]), deps.clock.now().timestamp() + seconds, blocked.text)
        wait = ComeAgain("readers rest" if blocked.rule == READERS_STOP else "lane blocked", seconds)
    except ComeAgain as come_again:
        wait = come_again
    return {"company": str(hint["company"])} | _put_off(record, hint, wait, deps)


def _put_off(record: Mapping[str, Any], hint: Mapping[str, Any], wait: ComeAgain, deps: InvoiceDeps) -> Json:
    """Hide the message until then. The one that was put off RECEIVES times is sent anew: waiting is no failure."""
    attributes = record.get("attributes", {})
    if int(attributes.get("ApproximateReceiveCount", 1)) >= RECEIVES:
        group = str(attributes.get("MessageGroupId") or hint["company"])
        deps.queues.send(deps.invoice_events_url, hint, group, f"{record['messageId']}.again")
        return {"outcome": f"{wait}; asked anew", "later": False}
    deps.queues.hide(deps.invoice_events_url, str(record["receiptHandle"]), wait.seconds)
    return {"outcome": str(wait), "later": True}


def deliver_invoice(hint: Mapping[str, Any], deps: InvoiceDeps) -> Json:
    """One hint {"company", "nCodOS", "nIdNf", "nCodTitulo", "numero_pedido", "received_at", "source"}, ids or null.

    "again": true tells the record once more although it was told (an operator, after a phone was put right);
    "contract" and "month" name the charge when the ledger does not know its order.

    Answers {"company", "contract", "month", "outcome"}; outcome: "not_ours", "seen" (looked at since), an
    `InvoiceState` that Jestor was told, "waiting", "same" (told before), "parked" (Jestor will not have it) or
    LEFT_TO_SWEEP (only a title is named, or too many unknown documents were).

    Raises:
        ComeAgain: another works on the document, or the company's lane is blocked.
        OmieError, JestorUnavailable: it passes by itself.
    """
    company = str(hint["company"])
    answer: Json = {"company": company, "contract": "", "month": "", "outcome": "not_ours"}
    if company not in deps.settings.companies:
        return answer
    if hint.get("nCodOS"):
        _heed_the_lane(company, deps)
        return answer | _deliver(int(hint["nCodOS"]), hint, deps)
    named = next(((name, hint[name]) for name in OTHER_NUMBERS if hint.get(name)), None)
    if named is None:  # a title tells nothing of its order, and the question for a deleted one is an error
        return answer | ({"outcome": LEFT_TO_SWEEP} if hint.get("nCodTitulo") else {})
    return answer | _look_up(*named, hint, deps)


def _look_up(name: str, number: object, hint: Mapping[str, Any], deps: InvoiceDeps) -> Json:
    """A document named by a number that the ledger does not know: Omie is asked for its order.

    Anybody who knows a webhook's address can name documents that do not exist, and a company bills other things than
    ours: so no more than `unknown_documents_per_hour` of them are looked up, and the sweep finds what is left.
    """
    company = str(hint["company"])
    most = deps.settings.companies[company].invoice.unknown_documents_per_hour
    if not may_look_up(deps.lanes.readers(company), most, deps.clock.now().timestamp()):
        return {"outcome": LEFT_TO_SWEEP}
    _heed_the_lane(company, deps)
    with _held(document_key(company, f"{name}-{number}"), deps) as held:
        if _seen_since(held.document, hint):
            return {"outcome": "seen"}
        held.document = replace(held.document, looked_at=deps.clock.now().isoformat())
        nCodOS = _order_of(name, number, deps.omie(company))
        found = _deliver(nCodOS, hint, deps) if nCodOS else {}
        if not found:
            deps.lanes.note_unknown(company, deps.clock.now().timestamp())
        return found


def _heed_the_lane(company: str, deps: InvoiceDeps) -> None:
    blocked = deps.lanes.get(company).blocked_until - deps.clock.now().timestamp()
    if blocked > 0:
        raise ComeAgain("lane blocked", blocked)


def _deliver(nCodOS: int, hint: Mapping[str, Any], deps: InvoiceDeps) -> Json:
    company = str(hint["company"])
    charge = _charge_of(hint, company, nCodOS, deps.ledger)
    if charge is None or charge.state is not State.BILLED:
        return {}
    answer = {"contract": charge.key.contract, "month": str(charge.key.month)}
    with _held(document_key(company, nCodOS), deps) as held:
        if _seen_since(held.document, hint):
            return answer | {"outcome": "seen"}
        document = replace(held.document, contract=charge.key.contract, month=str(charge.key.month))
        delivery = _Delivery(charge, nCodOS, deps.omie(company), deps)
        held.document, outcome = delivery.bring(document, again=bool(hint.get("again")))
    return answer | {"outcome": outcome}


@dataclass
class _Held:
    """A document in our hands."""

    document: Document


@contextmanager
def _held(key: str, deps: InvoiceDeps) -> Iterator[_Held]:
    """Put back as the body leaves it. Not after an exception: then it stays ours until the time is over."""
    now, holder = deps.clock.now(), deps.new_holder()
    document = deps.documents.take(key, holder=holder, now=now, until=now + HELD_FOR)
    if document is None:
        raise ComeAgain("document in other hands", HELD_FOR.total_seconds())
    held = _Held(document)
    yield held
    deps.documents.put(held.document, holder=holder)


def _order_of(name: str, number: object, omie: OmieClient) -> int | None:
    """The order that a webhook names by its number or its NFS-e; None: Omie has none, which is no error."""
    by: Json = {"nCodNF": int(str(number))} if name == "nIdNf" else {"cNumOS": padded(number)}
    found = omie.nfses_da_os(**by)
    orders = {whole((row.get("OrdemServico") or {}).get("nCodigoOS") or 0) for row in found} - {0}
    return orders.pop() if len(orders) == 1 else None


def _charge_of(hint: Mapping[str, Any], company: str, nCodOS: int, ledger: Charges) -> Charge | None:
    charge = ledger.by_order(company, nCodOS)
    if charge is None and hint.get("contract") and hint.get("month"):  # adopted before its order was found
        charge = ledger.get(ChargeKey(str(hint["contract"]), BillingMonth.parse(str(hint["month"]))))
        if charge is not None and (charge.company != company or charge.nCodOS not in {None, nCodOS}):
            return None
    return charge


def _seen_since(document: Document, hint: Mapping[str, Any]) -> bool:
    received = str(hint.get("received_at") or "")
    if not received or not document.looked_at or hint.get("again"):
        return False
    return datetime.fromisoformat(document.looked_at) > datetime.fromisoformat(received)


_NOT_WRITTEN: Final = (
    "O registro no Jestor já mostra a fatura de um mês posterior: esta não foi gravada nem enviada. Se o cliente "
    "ainda precisa dela, envie-a pelo Omie."
)


class _Delivery:
    """One document from Omie to Jestor."""

    def __init__(self, charge: Charge, nCodOS: int, omie: OmieClient, deps: InvoiceDeps) -> None:
        self.charge = charge
        self.nCodOS = nCodOS
        self.omie = omie
        self.deps = deps
        self.company: CompanySettings = deps.settings.companies[charge.company]
        self.now = deps.clock.now()

    def bring(self, document: Document, *, again: bool) -> tuple[Document, str]:
        """The document as it is to be remembered, and the outcome."""
        document = replace(document, looked_at=self.now.isoformat())
        invoice = self._look(document)
        document = replace(document, state=invoice.state, awaits=invoice.awaits)
        if invoice.awaits == "boleto":
            document = self._ask_for_boleto(document, invoice)
        if invoice.state is InvoiceState.WAITING:
            return document, "waiting"
        if not again and not _is_news(invoice, document):
            return document, "same"
        try:
            problem = self._tell(invoice, again=again)
        except JestorRefused as refused:
            reason = str(refused)
            if document.problem != reason:
                self._park(document, reason)
            return replace(document, problem=reason), "parked"
        told = replace(
            document,
            problem=problem,
            nCodNF=invoice.nCodNF if invoice.state in TO_SEND else document.nCodNF,
            number=invoice.number,
            told=invoice.identity,
            told_state=invoice.state,
            told_boleto=any(slip.has_boleto for slip in invoice.slips),
            told_at=document.told_at if problem == _NOT_WRITTEN else self.deps.clock.now().isoformat(),
        )
        return told, invoice.state.value

    # --- what Omie says ------------------------------------------------------------------------------------------

    def _look(self, document: Document) -> Invoice:
        rows = self.omie.nfses_da_os(nCodOS=self.nCodOS)
        nfse = valid_nfse(map(nfse_of, rows))
        if nfse.status is NfseStatus.REJECTED or not rows:
            status = self._status()
            if not rows and status.get("cCancelada") == "S":
                nfse = Nfse(NfseStatus.CANCELLED)
            return assess(nfse, messages=city_messages(status))
        if nfse.status is not NfseStatus.ISSUED:
            return assess(nfse)
        papers = self.omie.obter_nfse(nfse.nCodNF)
        row = next(row for row in rows if nfse_of(row).nCodNF == nfse.nCodNF)
        customer = int((row.get("Cabecalho") or {}).get("nCodigoCliente") or 0)
        number = padded((row.get("OrdemServico") or {}).get("nNumeroOS"))
        return assess(
            nfse,
            self._slips(customer, number),
            link=portal_link(papers),
            boleto_expected=self._boleto_expected(document),
            told_nCodNF=document.nCodNF,
        )

    def _status(self) -> Json:
        """StatusOS; empty for an order that Omie does not have any more: somebody deleted it, and waiting is all."""
        try:
            return self.omie.status_os(self.nCodOS)
        except Rejected as refused:
            if refused.rule != "permanent":
                raise
            return {}

    def _slips(self, nCodCli: int, number: str) -> list[Slip]:
        """The order's titles. Read from the customer's list: it answers "none" without an error."""
        since = self.charge.key.month.first_day
        today = self.now.astimezone(SAO_PAULO).date()
        titles = self.omie.iter_contas_receber(since, max(today, since), filtrar_cliente=nCodCli)
        slips = []
        for title in titles:
            if not self._is_ours(title, number) or title.get("status_titulo") == "CANCELADO":
                continue
            slip = slip_of(title)
            boleto = self.omie.obter_boleto(slip.nCodTitulo) if self.company.invoice.boleto == "expected" else None
            if boleto is not None:
                slip = replace(slip, has_boleto=True, barcode=str(boleto.get("cCodBarras") or ""))
            slips.append(slip)
        return slips

    def _is_ours(self, title: Mapping[str, Any], number: str) -> bool:
        """Whether the title is this order's; one of another order need not even be readable."""
        try:
            order = whole(title.get("nCodOS") or 0)
            return order == self.nCodOS or (not order and number != "" and padded(title.get("numero_pedido")) == number)
        except DATA_ERRORS:
            return False

    def _boleto_expected(self, document: Document) -> bool:
        """Not for ever: an invoice without its boleto is worth more to the customer than none."""
        wanted = self.company.invoice
        if wanted.boleto == "none":
            return False
        since = datetime.fromisoformat(document.authorised_at) if document.authorised_at else self.now
        return self.now - since < timedelta(hours=wanted.wait_for_boleto_hours)

    def _ask_for_boleto(self, document: Document, invoice: Invoice) -> Document:
        """Starts the wait and, where the settings say so, asks the lane to have the missing boletos made."""
        document = replace(document, authorised_at=document.authorised_at or self.now.isoformat())
        if not self.company.invoice.make_missing_boleto:
            return document
        asked = document.boleto_asked_at
        if asked and self.now - datetime.fromisoformat(asked) < ASK_FOR_BOLETO_EVERY:
            return document
        for slip in invoice.slips:
            if not slip.paid and not slip.has_boleto:
                order = {
                    "kind": "boleto",
                    "contract": self.charge.key.contract,
                    "jestor_id": _jestor_id(self.charge),
                    "company": self.charge.company,
                    "nCodOS": self.nCodOS,
                    "nCodTitulo": slip.nCodTitulo,
                    "source": "invoice",
                    "webhook": "",
                    "received_at": self.now.isoformat(),
                }
                dedup = f"boleto-{self.charge.company}-{slip.nCodTitulo}-{self.now:%Y%m%d}"
                self.deps.queues.send(self.deps.omie_writes_url, {"order": order}, self.charge.company, dedup)
        return replace(document, boleto_asked_at=self.now.isoformat())

    # --- what Jestor is told -------------------------------------------------------------------------------------

    def _tell(self, invoice: Invoice, *, again: bool) -> str:
        """Writes the record, unless it speaks of a later month already; answers what a person must do, or "".

        Jestor's automation empties the message once it is sent (docs/jestor-setup.md): an empty one is no reason to
        write it a second time, unless a person asks for that.
        """
        table = self.deps.settings.jestor.contracts
        paths = {word: path for word, path in table.write_back if path is not None}
        month_field = paths.get("month")
        jestor, jestor_id = self.deps.jestor(), _jestor_id(self.charge)
        filters = drafts_too(self.deps.settings, table.table)
        row = jestor.get(table.table, jestor_id, filters=filters)
        if row is None:
            fix = "Foi apagado, ou o token não o vê: confira no Jestor."
            raise JestorRefused(f"o contrato {jestor_id} não existe", table=table.table, fix=fix)
        to = self._addressee(row)
        told = record(invoice, self.charge.key.month, self.charge.amount, to, _added(self.charge))
        refused: list[str] = []

        def wanted(found: Mapping[str, Any]) -> bool:
            """Noted when it is not: whoever asks for this invoice must not hear that the record has it."""
            later = _later(found.get(month_field) if month_field else None, self.charge.key.month)
            refused.extend([_NOT_WRITTEN] * later)
            return not later

        bring(
            jestor,
            table.table,
            jestor_id,
            {paths[word]: value for word, value in told.items() if word in paths},
            clock=self.deps.clock,
            filters=filters,
            whole=True,
            consumed=frozenset() if again else frozenset({paths.get("whatsapp_text", "")}),
            wanted=wanted,
        )
        return refused[0] if refused else str(told["invoice_problem"])

    def _addressee(self, row: Mapping[str, Any]) -> Addressee:
        who = contact(dict(row), self.deps.settings.jestor.contracts.fields)
        phone = read_phone(who.phone, shared_phones(self.deps.objects))
        customer, asked = greeted(who.name, who.document), page_asks_for(who.document)
        return Addressee(self.company.name, customer, phone.number, phone.problem, asked)

    def _park(self, document: Document, reason: str) -> None:
        message = {
            "version": 1,
            "kind": "invoice",
            "company": self.charge.company,
            "contract": self.charge.key.contract,
            "month": str(self.charge.key.month),
            "document": document.document,
            "reason": reason,
            "safe_action": "Corrija o registro no Jestor e peça de novo: billing-ops invoices --again "
            f"{self.charge.key.contract}",
        }
        self.deps.queues.park(message, group=document.document, dedup=f"invoice-{document.document}-{self.now:%Y%m%d}")


def _is_news(invoice: Invoice, document: Document) -> bool:
    if document.told == invoice.identity:
        return False
    # Paid after it was told: Omie may drop the boleto, and nobody needs to hear of the invoice again.
    same_note = document.told_state in TO_SEND and document.nCodNF == invoice.nCodNF
    return not (same_note and invoice.state in TO_SEND and invoice.paid)


def _later(shown: object, month: BillingMonth) -> bool:
    """Whether a record speaks of a later month already: a late word about an old invoice must not replace it."""
    return isinstance(shown, str) and shown.strip()[:7] > str(month)


def _added(charge: Charge) -> dict[str, int]:
    """What came on top of the month's own, by kind."""
    sums: Counter[str] = Counter()
    for addition in charge.additions:
        if not addition.get("doubtful"):
            late = addition.get("fine") or addition.get("interest")
            sums[Kind.LATE if late else Kind.PRORATE] += int(addition["amount"])
    return dict(sums)


def _jestor_id(charge: Charge) -> int:
    return int(charge.key.contract.rpartition("-")[2])


def shared_phones(objects: Objects) -> frozenset[str]:
    try:
        return frozenset(objects.get_json(SHARED_PHONES)["marks"])
    except ObjectMissing:
        return frozenset()


# --- Omie's words -------------------------------------------------------------------------------------------------


def padded(number: object) -> str:
    """An order's number as Omie keeps it; empty when there is none."""
    text = str(number or "").strip()
    return text.zfill(ORDER_DIGITS) if text else ""


def nfse_of(row: Mapping[str, Any]) -> Nfse:
    """One of nfseEncontradas. A refused one shows in its letter or in its RPS."""
    head, rps = row.get("Cabecalho") or {}, row.get("RPS") or {}
    letter = str(head.get("cStatusNFSe") or "N")
    if letter == "N" and str(rps.get("cStatusRPS") or "") == "003":
        letter = "R"
    known = {status.value for status in NfseStatus}
    status = NfseStatus(letter if letter in known else "N")
    return Nfse(status, int(head.get("nCodNF") or 0), str(head.get("nNumeroNFSe") or "").strip())


def slip_of(title: Mapping[str, Any]) -> Slip:
    """One of conta_receber_cadastro, without its boleto."""
    due = parse_date(str(title["data_vencimento"]))
    if due is None:
        raise ValueError(f"title {title['codigo_lancamento_omie']} has no due date")
    return Slip(
        nCodTitulo=int(title["codigo_lancamento_omie"]),
        due=due,
        amount=parse_money(title["valor_documento"]),
        paid=str(title.get("status_titulo") or "") in {"RECEBIDO", "LIQUIDADO", "PAGO"},
    )


def portal_link(papers: Mapping[str, Any]) -> str:
    """The customer's page of the invoice; empty while Omie gives none. Omie's other addresses end within a day."""
    return lasting(str(papers.get("cLinkPortal") or ""))


def city_messages(status: Mapping[str, Any]) -> list[CityMessage]:
    """The errors of StatusOS, newest first as Omie gives them."""
    found: Iterable[Mapping[str, Any]] = (
        message for rps in status.get("ListaRpsNfse") or [] for message in rps.get("mensagens") or []
    )
    return [
        CityMessage(str(m.get("cCodigo") or ""), str(m.get("cDescricao") or "").strip(), str(m.get("cCorrecao") or ""))
        for m in found
        if str(m.get("cSituacao") or "ERRO") == "ERRO"
    ]
