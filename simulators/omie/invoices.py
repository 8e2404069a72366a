"""From a service order to its NFS-e, its titles and boletos; /servicos/nfse/ and /servicos/osdocs/ show them.

bill_order ── RPS 001 ── 002 sent ──┬─ 004 authorised ─ NFS-e ─ conta a receber ─ boleto
           now        + a third     └─ 003 refused by the city (ReenviarOS tries again)
                                    + nfse_seconds (seeded)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from simulators.omie import receivables
from simulators.omie.answers import Json, Rendered, dumps, refused, required, unknown
from simulators.omie.dates import br, day_of, hour_of, month_of, read_br
from simulators.omie.links import portal_link, signed_link
from simulators.omie.paging import MODERN, one_page
from simulators.omie.state import App, Call, Handler, Line, Order, Sim, digits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

PATH: Final = "/servicos/nfse/"
DOCS_PATH: Final = "/servicos/osdocs/"

PORTAL: Final = "https://portal.omie.example"
REJECTIONS: Final = (
    ("E0314", "O código do serviço informado não está habilitado para o prestador nesta competência."),
    ("EM076", "CNPJ do tomador inválido ou não cadastrado."),
    ("EM062", "Alíquota do ISS divergente da cadastrada no município."),
)
BILLED_STAGE: Final = "60"


def new_order(
    sim: Sim,
    app: App,
    now: float,
    *,
    nCodCli: int,
    lines: tuple[Line, ...],
    due: tuple[tuple[date, int], ...],
    more: Json,
    email: Json,
    origin: str,
    cEtapa: str = "50",
    cCodIntOS: str = "",
) -> Order:
    """Put a service order in; `more` is the contract's infAdic or the order's InformacoesAdicionais."""
    del sim
    app.last_order_number += 1
    order = Order(
        nCodOS=app.new_id(),
        cNumOS=f"{app.last_order_number:015}",
        cCodIntOS=cCodIntOS,
        nCodCli=nCodCli,
        nCodCtr=0,
        cNumCtr="",
        cEtapa=cEtapa,
        cOrigem=origin,
        lines=lines,
        total=sum(line.total for line in lines),
        due=due,
        account=int(more.get("nCodCC") or 0),
        category=str(more.get("cCodCateg") or ""),
        city=str(more.get("cCidPrestServ") or ""),
        email=email,
        included=now,
        altered=now,
        forecast=day_of(now),
    )
    app.orders[order.nCodOS] = order
    app.order_list.append(order)
    app.order_numbers[order.cNumOS] = order.nCodOS
    if cCodIntOS:
        app.order_codes.setdefault(cCodIntOS, order.nCodOS)
    app.changed()
    return order


def order_event(order: Order) -> Json:
    """What OrdemServico.* carries; the billed one keeps an old etapa, as seen live: only its ids are to be trusted."""
    return {
        "codigoCategoria": order.category,
        "codigoIntegracao": order.cCodIntOS or "0",
        "dataPrevisao": br(order.forecast),
        "etapa": order.cEtapa,
        "idCliente": order.nCodCli,
        "idContaCorrente": order.account,
        "idOrdemServico": order.nCodOS,
        "numeroOrdemServico": order.cNumOS.lstrip("0"),
        "valorOrdemServico": order.total / 100,
    }


def bill_order(sim: Sim, app: App, order: Order, now: float) -> None:
    """Invoice a service order: RPS now, NFS-e when the city answers.

    Raises:
        OmieFault: 101 when it is cancelled or billed already.
    """
    if order.cancelled:
        raise refused(f"A Ordem de Serviço [{order.cNumOS}] está cancelada!")
    if order.billed:
        raise refused(f"A Ordem de Serviço [{order.cNumOS}] já foi faturada!")
    event = order_event(order) if sim.outbox.wanted else {}
    order.cEtapa = BILLED_STAGE
    order.billed_at = order.altered = now
    app.last_rps += 1
    order.rps = order.rps_lot = app.last_rps
    app.changed()
    if event:
        event |= {
            "faturada": "S",
            "dataFaturado": br(day_of(now)),
            "horaFaturado": hour_of(now),
            "usuarioFaturado": "WEBSERVICE",
        }
        sim.outbox.emit(app.company, app.app_key, "OrdemServico.Faturada", event, now)
    send_rps(sim, app, order, now)


def send_rps(sim: Sim, app: App, order: Order, now: float) -> None:
    wait = sim.switches.nfse_seconds * (0.5 + sim.random.random())
    order.rps_status = "001"
    order.rps_sent_at = now + wait / 3
    sim.later(now + wait, partial(_city_answers, sim, app, order))


def rps_status(order: Order, now: float) -> str:
    """001 waiting, 002 sent, 003 error, 004 authorised, 005 cancelled."""
    return "002" if order.rps_status == "001" and now >= order.rps_sent_at else order.rps_status


def _city_answers(sim: Sim, app: App, order: Order, now: float) -> None:
    if order.cancelled or order.rps_status != "001":
        return
    app.changed()
    if sim.random.random() < sim.switches.nfse_rejected_share:
        order.rps_status = "003"
        code, text = REJECTIONS[order.nCodOS % len(REJECTIONS)]
        order.rejection = ((code, text, now), *order.rejection)
        return
    order.rps_status = "004"
    order.nCodNF = app.new_id()
    order.nfse = len(app.invoices) + 1
    order.verification = f"{order.nCodNF * 2654435761 % 0xFFFFFFFF:08X}"
    order.nfse_at = now
    app.invoices[order.nCodNF] = order
    if sim.outbox.wanted:
        event = {
            "id_nf": order.nCodNF,
            "codigo_os": order.nCodOS,
            "numero_os": order.cNumOS,
            "numero_rps": str(order.rps),
            "numero_nfse": str(order.nfse),
            "data_emis": br(day_of(now)),
            "nfse_xml": f"{PORTAL}/xml/{order.nCodNF}.xml",
        }
        sim.outbox.emit(app.company, app.app_key, "NFSe.NotaAutorizada", event, now)
    _make_titles(sim, app, order, now)


def _make_titles(sim: Sim, app: App, order: Order, now: float) -> None:
    """The conta a receber appears after the authorisation (Omie help); lines marked so are left out of it."""
    unpaid = sum(line.total for line in order.lines if line.no_receivable)
    count = len(order.due)
    for number, (due, amount) in enumerate(order.due, start=1):
        left = amount - (unpaid if number == count else 0)
        if left > 0:
            receivables.title_of_order(
                sim, app, order, now, due=due, amount=left, installment=f"{number:03}/{count:03}"
            )


def cancel_order(sim: Sim, app: App, order: Order, now: float, *, nfse: bool) -> None:
    """Cancel an order with its titles; its contract may be billed again."""
    order.cancelled_at = order.altered = now
    if nfse and order.rps_status:
        order.rps_status = "005"
    for number in app.titles_of_order.get(order.nCodOS, ()):
        title = app.titles[number]
        title.cancelled, title.altered = True, now
    contract = app.contracts.get(order.nCodCtr)
    again = [each for each in app.order_list if each.nCodCtr == order.nCodCtr and each.billed and not each.cancelled]
    month = month_of(day_of(order.billed_at))
    billed_still = any(month_of(day_of(each.billed_at)) == month for each in again)
    if contract is not None and order.cOrigem == "CTR" and contract.billed_month == month and not billed_still:
        contract.billed_month = 0
        if sim.switches.after_cancel == "20":
            app.billed_in.get(month, {}).pop(contract.nCodCtr, None)
    sim.book.cancelled.add(order.nCodOS)
    app.changed()
    if sim.outbox.wanted:
        sim.outbox.emit(app.company, app.app_key, "OrdemServico.Cancelada", order_event(order), now)
        if nfse and order.nCodNF:
            event = {"id_nf": order.nCodNF, "codigo_os": order.nCodOS, "numero_os": order.cNumOS}
            sim.outbox.emit(app.company, app.app_key, "NFSe.NotaCancelada", event, now)


# --------------------------------------------------------------------------------------------------- nfse


def is_named(call: Call, order: Order) -> bool:
    """Whether the order and its note say of which contract they are by now."""
    return not order.billed_at or call.now >= order.billed_at + call.switches.os_named_after


def listar_nfses(call: Call, param: Json) -> Rendered:
    """Answers an empty list, not a fault, when nothing was found (seen live)."""
    question = tuple(sorted((tag, value) for tag, value in param.items() if value and tag[:4] not in ("nPag", "nReg")))
    orders: list[Order] = call.app.found(("nfse", question), lambda: _search(call, param))
    return one_page(
        param,
        MODERN,
        "nfseEncontradas",
        orders,
        lambda order: dumps(_nfse(call, order, param)),
        largest=call.switches.largest_page,
        empty_is_fault=False,
    )


def _search(call: Call, param: Json) -> list[Order]:
    start, end = read_br(param.get("dEmiInicial") or ""), read_br(param.get("dEmiFinal") or "")
    equal = {
        "nCodigoOS": "nCodOS",
        "nNumeroOS": "cNumOS",
        "nCodigoContrato": "nCodCtr",
        "cNumeroContrato": "cNumCtr",
        "nCodigoCliente": "nCodCli",
        "nCodNF": "nCodNF",
        "nCodigoCC": "account",
        "cCodigoCategoria": "category",
        "cCodigoVerifNFSe": "verification",
    }
    wanted = [(name, param[tag]) for tag, name in equal.items() if param.get(tag)]
    status, number = param.get("cStatusNFSe"), param.get("nNumeroNFSe")
    found = []
    for order in call.app.order_list:
        if not order.billed or (status and _letter(order) != status):
            continue
        issued = day_of(order.nfse_at or order.billed_at)
        if (start and issued < start) or (end and issued > end):
            continue
        if number and str(order.nfse) != str(number):
            continue
        if all(getattr(order, name) == value for name, value in wanted):
            found.append(order)
    return found


def _letter(order: Order) -> str:
    """F issued, C cancelled, R rejected, N not (yet) issued."""
    if order.cancelled:
        return "C"
    return {"004": "F", "003": "R"}.get(order.rps_status, "N")


def _nfse(call: Call, order: Order, param: Json) -> Json:
    issued, named = order.nfse_at or order.billed_at, is_named(call, order)
    document = digits(_customer(call.app, order).get("cnpj_cpf"))
    lines = [
        {
            "CidadePrestacao": order.city,
            "CodigoLC116": line.lc116,
            "CodigoServico": line.municipal,
            "cDescricao": line.description if param.get("cExibirDescricao") == "S" else "",
            "nQuantidade": line.quantity,
            "nValorUnitario": line.unit,
            "nDescontoValor": line.discount / 100,
            "nValorTotal": line.total / 100,
            "nValorServico": line.total / 100,
            "nAliquotaISS": line.aliqISS,
        }
        for line in order.lines
    ]
    total = order.total / 100
    base = sum(line.total for line in order.lines if not line.reimbursement) / 100
    iss = sum(line.total * line.aliqISS for line in order.lines if not line.reimbursement)
    return {
        "Cabecalho": {
            "nNumeroNFSe": str(order.nfse or ""),
            "cSerieNFSe": "1" if order.nfse else "",
            "nValorNFSe": total,
            "cStatusNFSe": _letter(order),
            "cAmbienteNFSe": "P",
            "cCodigoVerifNFSe": order.verification,
            "nCodNF": order.nCodNF,
            "nCodigoCliente": order.nCodCli,
            "cCNPJEmissor": digits(call.app.document),
            "cCNPJDestinatario": document if len(document) == 14 else "",
            "cCPFDestinatario": document if len(document) == 11 else "",
        },
        "OrdemServico": {
            "nCodigoOS": order.nCodOS,
            "nNumeroOS": order.cNumOS,
            "nValorOS": total,
            "nCodigoContrato": order.nCodCtr if named else 0,
            "cNumeroContrato": order.cNumCtr if named else "",
            "cPedidoCliente": "",
        },
        "RPS": {
            "cDataRPS": br(day_of(order.billed_at)),
            "cSerieRPS": "1",
            "nNumeroRPS": str(order.rps),
            "nNumeroLote": order.rps_lot,
            "cStatusRPS": rps_status(order, call.now),
            "nStatusLote": rps_status(order, call.now),
        },
        "Emissao": {
            "cDataEmissao": br(day_of(issued)),
            "cHoraEmissao": hour_of(issued),
            "cUsuarioEmissao": "WEBSERVICE",
        },
        "Valores": {
            "cIssRetido": "N",
            "nAliquotaISS": order.lines[0].aliqISS if order.lines else 0,
            "nValorBaseCalculo": base,
            "nValorISS": round(iss / 10000, 2),
            "nValorTotalServicos": total,
            "nValorLiquido": total,
        },
        "Adicionais": {"cCodigoCategoria": order.category, "nCodigoCC": order.account},
        "ListaServicos": lines,
    }


def _customer(app: App, order: Order) -> Json:
    return app.customer(order.nCodCli) if order.nCodCli in app.customers else {}


METHODS: Final[Mapping[str, Handler]] = {"ListarNFSEs": Handler(listar_nfses, write=False)}

# ------------------------------------------------------------------------------------------------- osdocs


def _invoice(call: Call, param: Json) -> Order:
    number = int(param.get("nIdNf") or 0)
    if not number:
        raise required("nIdNf")
    order = call.app.invoices.get(number)
    if order is None:
        raise unknown("NFS-e", number, code=103, female=True)
    return order


def _document(order: Order, **fields: str) -> Json:
    return {
        "cNumOs": order.cNumOS,
        **fields,
        "cLinkPortal": portal_link(order.nCodOS),
        "cCodStatus": "0",
        "cDesStatus": "Documento obtido com sucesso!",
    }


def _pdf(call: Call, kind: str, number: int) -> str:
    return signed_link(kind, number, call.now)


def obter_nfse(call: Call, param: Json) -> Json:
    order = _invoice(call, param)
    return _document(
        order,
        cNumNFSe=str(order.nfse),
        cSerieNFSe="1",
        cCodVerif=order.verification,
        cUrlNFSe=f"{PORTAL}/prefeitura/{order.nCodNF}",
        cPdfNFSe=_pdf(call, "nfse", order.nCodNF),
        cXmlNFSe=f"{PORTAL}/xml/{order.nCodNF}.xml",
    )


def obter_rps(call: Call, param: Json) -> Json:
    order = _invoice(call, param)
    return _document(order, cNumRPS=str(order.rps), cSerieRPS="1", cPdfRPS=_pdf(call, "rps", order.nCodNF))


def obter_demonst(call: Call, param: Json) -> Json:
    order = _invoice(call, param)
    return _document(order, cPdfDemonst=_pdf(call, "demonstrativo", order.nCodNF))


def obter_via_unica(call: Call, param: Json) -> Json:
    order = _invoice(call, param)
    return _document(
        order, cModelo="21", cSerieViaUnica="1", cNumViaUnica="", cPdfViaUnica=_pdf(call, "viaunica", order.nCodNF)
    )


def _order(call: Call, tag: str, param: Json) -> Order:
    number = int(param.get(tag) or 0)
    if not number:
        raise required(tag)
    order = call.app.orders.get(number)
    if order is None:
        raise unknown("OS", number, code=103, female=True)
    return order


def obter_os(call: Call, param: Json) -> Json:
    order = _order(call, "nIdOs", param)
    return _document(order, cPdfOs=_pdf(call, "os", order.nCodOS))


def obter_recibo(call: Call, param: Json) -> Json:
    order = _order(call, "nIdRec", param)
    return _document(order, cNumRecibo="", cPdfRecibo=_pdf(call, "recibo", order.nCodOS))


DOCS_METHODS: Final[Mapping[str, Handler]] = {
    "ObterNFSe": Handler(obter_nfse, write=False),
    "ObterRPS": Handler(obter_rps, write=False),
    "ObterDemonst": Handler(obter_demonst, write=False),
    "ObterViaUnica": Handler(obter_via_unica, write=False),
    "ObterOS": Handler(obter_os, write=False),
    "ObterRecibo": Handler(obter_recibo, write=False),
}
