"""/servicos/os/, /servicos/osp/ and /servicos/oslote/: service orders, of contracts or made one by one."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from simulators.omie import billing, invoices
from simulators.omie.answers import (
    Json,
    OmieFault,
    Rendered,
    dumps,
    duplicate,
    invalid,
    refused,
    required,
    required_one,
    unknown,
)
from simulators.omie.contracts import centavos
from simulators.omie.dates import br, day_of, hour_of, read_br
from simulators.omie.links import signed_link
from simulators.omie.paging import CLASSIC, LOT, one_page
from simulators.omie.state import App, Call, Handler, Line, Order

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/servicos/os/"
STEPS_PATH: Final = "/servicos/osp/"
LOT_PATH: Final = "/servicos/oslote/"

STAGES: Final = ("10", "20", "30", "40", "50", "60")
OWN_BLOCKS: Final = ("Departamentos", "Observacoes", "despesasReembolsaveis", "produtosUtilizados")
"""Blocks kept as they were sent."""


def find(app: App, key: Json) -> Order:
    """By nCodOS, cCodIntOS or cNumOS; 103 when there is none."""
    if number := int(key.get("nCodOS") or 0):
        order = app.orders.get(number)
        if order is None:
            raise unknown("OS", number, code=103, female=True)
        return order
    if code := str(key.get("cCodIntOS") or "").strip():
        known = app.order_codes.get(code)
        if known is None:
            raise unknown("OS", code, code=103, by="Código de Integração", female=True)
        return app.orders[known]
    if shown := str(key.get("cNumOS") or "").strip():
        known = app.order_numbers.get(shown.zfill(15))
        if known is None:
            raise unknown("OS", shown, code=103, by="Número", female=True)
        return app.orders[known]
    raise required_one("nCodOS", "cCodIntOS")


# ----------------------------------------------------------------------------------------------------- os


def incluir_os(call: Call, param: Json) -> Json:
    app = call.app
    head = param.get("Cabecalho") or {}
    more = param.get("InformacoesAdicionais") or {}
    code = str(head.get("cCodIntOS") or "").strip()
    if code in app.order_codes and call.switches.duplicate_integration_code == "refuse":
        raise duplicate("OS", code, app.order_codes[code], female=True)
    customer = int(head.get("nCodCli") or 0) or app.customer_codes.get(str(head.get("cCodIntCli") or "").strip(), 0)
    if not customer:
        raise required("nCodCli")
    if customer not in app.customers:
        raise unknown("Cliente", customer)
    for tag in ("cCodCateg", "nCodCC"):
        if not more.get(tag):
            raise required(tag)
    cEtapa = str(head.get("cEtapa") or "10")
    if cEtapa not in STAGES:
        raise invalid("cEtapa", cEtapa, ", ".join(STAGES))
    lines = tuple(_line(app, row) for row in param.get("ServicosPrestados") or [])
    if not lines:
        raise required("ServicosPrestados")
    forecast = read_br(head.get("dDtPrevisao") or "") or call.today
    total = sum(line.total for line in lines)
    contract = app.contracts.get(int(head.get("nCodCtr") or 0))
    if head.get("nCodCtr") and contract is None:
        raise unknown("Contrato", head["nCodCtr"], code=103)
    order = invoices.new_order(
        call.sim,
        app,
        call.now,
        nCodCli=customer,
        lines=lines,
        due=_installments(param, total, forecast),
        more=more,
        email=dict(param.get("Email") or {}),
        origin="API",
        cEtapa=cEtapa,
        cCodIntOS=code,
    )
    order.forecast = forecast
    order.sent = {
        **{block: param[block] for block in OWN_BLOCKS if param.get(block)},
        "InformacoesAdicionais": dict(more),
        "Parcelas": [dict(row) for row in param.get("Parcelas") or []],
        "cCodParc": str(head.get("cCodParc") or "000"),
    }
    if contract is not None:
        order.nCodCtr, order.cNumCtr = contract.nCodCtr, contract.cNumCtr
    _announce(call, order, "Incluida")
    return _status(order, "Ordem de Serviço cadastrado com sucesso!")


def alterar_os(call: Call, param: Json) -> Json:
    head = param.get("Cabecalho") or {}
    if not head.get("nCodOS") and not str(head.get("cCodIntOS") or "").strip():
        raise OmieFault(101, "ERROR: Informe a Tag [nCodOS] ou [cCodIntOS] na alteração!")
    app = call.app
    order = find(app, head)
    _open(order)
    if head.get("nCodCli"):
        if int(head["nCodCli"]) not in app.customers:
            raise unknown("Cliente", head["nCodCli"])
        order.nCodCli = int(head["nCodCli"])
    if head.get("cEtapa"):
        order.cEtapa = str(head["cEtapa"])
    if day := read_br(head.get("dDtPrevisao") or ""):
        order.forecast = day
    if rows := param.get("ServicosPrestados"):
        order.lines = _altered_lines(app, order, rows)
        order.total = sum(line.total for line in order.lines)
    if param.get("Parcelas") or rows:
        order.due = _installments(param, order.total, order.forecast)
    more = param.get("InformacoesAdicionais") or {}
    order.account = int(more.get("nCodCC") or order.account)
    order.category = str(more.get("cCodCateg") or order.category)
    order.city = str(more.get("cCidPrestServ") or order.city)
    order.email = {**order.email, **(param.get("Email") or {})}
    order.sent = {**(order.sent or {}), **{block: param[block] for block in OWN_BLOCKS if param.get(block)}}
    order.altered = call.now
    app.changed()
    _announce(call, order, "Alterada")
    return _status(order, "Ordem de Serviço alterada com sucesso!")


def excluir_os(call: Call, param: Json) -> Json:
    app = call.app
    order = find(app, param)
    if order.billed:
        raise refused(f"A Ordem de Serviço [{order.cNumOS}] está faturada e não pode ser excluída!")
    del app.orders[order.nCodOS]
    app.order_list.remove(order)
    app.order_codes.pop(order.cCodIntOS, None)
    del app.order_numbers[order.cNumOS]
    app.changed()
    _announce(call, order, "Excluida")
    return _status(order, "Ordem de Serviço excluída com sucesso!")


def consultar_os(call: Call, param: Json) -> Json:
    order = find(call.app, param)
    return render(call, order, number_of_contract=invoices.is_named(call, order))


def listar_os(call: Call, param: Json) -> Rendered:
    shows = call.switches.list_os_cNumContrato == "present"
    question = dumps(
        {tag: value for tag, value in param.items() if tag.startswith(("filtrar", "ordem", "cTipo", "apenas"))}
    )
    if call.now < call.app.lagging_until:
        orders = [order for order in _search(call.app, param) if order.listed_at <= call.now]
    else:
        orders = call.app.found(("os", question), lambda: _search(call.app, param))
    return one_page(
        param,
        CLASSIC,
        "osCadastro",
        orders,
        lambda order: dumps(render(call, order, number_of_contract=shows)),
        largest=call.switches.largest_page,
    )


def _search(app: App, param: Json) -> list[Order]:
    orders = list(app.order_list)
    if keys := param.get("filtrar_por_codigo"):
        wanted = {int(key.get("nCodOS") or 0) for key in keys}
        wanted |= {app.order_codes.get(str(key.get("cCodIntOS") or "").strip(), 0) for key in keys}
        orders = [order for order in orders if order.nCodOS in wanted]
    if status := param.get("filtrar_por_status"):
        orders = [order for order in orders if _letter(order) == status]
    if param.get("apenas_importado_api") == "S":
        orders = [order for order in orders if order.cOrigem == "API"]
    if stage := param.get("filtrar_por_etapa"):
        orders = [order for order in orders if order.cEtapa == stage]
    if customer := int(param.get("filtrar_por_cliente") or 0):
        orders = [order for order in orders if order.nCodCli == customer]
    for stem, moment in (
        ("filtrar_por_data_faturamento", "billed_at"),
        ("filtrar_por_data_cancelamento", "cancelled_at"),
    ):
        if days := _between(param, stem):
            orders = [o for o in orders if getattr(o, moment) and days[0] <= day_of(getattr(o, moment)) <= days[1]]
    if days := _between(param, "filtrar_por_data_previsao"):
        orders = [order for order in orders if days[0] <= order.forecast <= days[1]]
    if days := _between(param, "filtrar_por_data"):
        fields = ["included"] * (param.get("filtrar_apenas_alteracao") != "S")
        fields += ["altered"] * (param.get("filtrar_apenas_inclusao") != "S")
        orders = [
            order for order in orders if any(days[0] <= day_of(getattr(order, field)) <= days[1] for field in fields)
        ]
    if "S" in (param.get("ordem_decrescente"), param.get("ordem_descrescente")):
        orders.reverse()
    return orders


def _between(param: Json, stem: str) -> tuple[date, date] | None:
    start, end = read_br(param.get(f"{stem}_de") or ""), read_br(param.get(f"{stem}_ate") or "")
    return None if start is None and end is None else (start or date.min, end or date.max)


def _letter(order: Order) -> str:
    """filtrar_por_status: F billed, N not billed, C cancelled."""
    if order.cancelled:
        return "C"
    return "F" if order.billed else "N"


def status_os(call: Call, param: Json) -> Json:
    order = find(call.app, param)
    status: Json = {
        "cCodIntOS": order.cCodIntOS,
        "nCodOS": order.nCodOS,
        "cNumOS": order.cNumOS,
        "cEtapa": order.cEtapa,
        "cNumContrato": order.cNumCtr,
        "nValorTot": order.total / 100,
        "cNumRecibo": "",
        "cUrlPdfRecibo": "",
        **_audit(order),
        "ListaRpsNfse": [],
    }
    del status["cOrigem"]
    if order.rps:
        pdf = signed_link("nfse", order.nCodNF, call.now)
        rps: Json = {
            "nLote": order.rps_lot,
            "cStatusLote": invoices.rps_status(order, call.now),
            "cProtocolo": f"{order.rps_lot:012}",
            "nRps": str(order.rps),
            "cStatusRps": invoices.rps_status(order, call.now),
            "nNfse": str(order.nfse or ""),
            "cCodVerif": order.verification,
            "mensagens": _messages(order),
            "danfe": pdf if order.nfse else "",
            "xml_distr": f"{invoices.PORTAL}/xml/{order.nCodNF}.xml" if order.nfse else "",
            "cUrlNfse": f"{invoices.PORTAL}/prefeitura/{order.nCodNF}" if order.nfse else "",
            "cUrlPdfDemo": pdf if param.get("lPdfDemo") and order.nfse else "",
            "cUrlPdfDest": pdf if param.get("lPdfDest") and order.nfse else "",
            "cUrlRps": f"{invoices.PORTAL}/rps/{order.rps}" if param.get("lRps") else "",
        }
        status["ListaRpsNfse"] = [rps]
    return status


def _messages(order: Order) -> list[Json]:
    """Newest first."""
    return [
        {
            "cCodigo": code,
            "cDescricao": text,
            "cCorrecao": "",
            "cSituacao": "ERRO",
            "cAnexo": "",
            "cUsuario": "WEBSERVICE",
            "dData": br(day_of(at)),
            "hHora": hour_of(at),
        }
        for code, text, at in order.rejection
    ]


def trocar_etapa_os(call: Call, param: Json) -> Json:
    order = find(call.app, param)
    _open(order)
    cEtapa = str(param.get("cEtapa") or "")
    if cEtapa not in STAGES[:-1]:
        raise invalid("cEtapa", cEtapa, ", ".join(STAGES[:-1]))
    order.cEtapa, order.altered = cEtapa, call.now
    call.app.changed()
    _announce(call, order, "EtapaAlterada")
    return {
        "cCodIntOS": order.cCodIntOS,
        "nCodOS": order.nCodOS,
        "cNumOS": order.cNumOS,
        "codigo_status": "0",
        "descricao_status": "Etapa alterada com sucesso!",
    }


METHODS: Final[Mapping[str, Handler]] = {
    "IncluirOS": Handler(incluir_os, write=True),
    "AlterarOS": Handler(alterar_os, write=True),
    "ExcluirOS": Handler(excluir_os, write=True),
    "ConsultarOS": Handler(consultar_os, write=False),
    "ListarOS": Handler(listar_os, write=False),
    "StatusOS": Handler(status_os, write=False),
    "TrocarEtapaOS": Handler(trocar_etapa_os, write=True),
}

# ---------------------------------------------------------------------------------------------------- osp


def faturar_os(call: Call, param: Json) -> Json:
    order = find(call.app, param)
    invoices.bill_order(call.sim, call.app, order, call.now)
    return _step(order, "OS faturada com sucesso!")


def validar_os(call: Call, param: Json) -> Json:
    order = find(call.app, param)
    customer = call.app.customer(order.nCodCli)
    wants = "S" in (order.email.get("cEnvBoleto"), order.email.get("cEnvLink"), order.email.get("cEnvRecibo"))
    if wants and not order.email.get("cEnviarPara") and not customer.get("email"):
        return {**_step(order, "Para emitir falta preencher o E-mail."), "cCodStatus": "1"}
    return _step(order, "OS validada com sucesso!")


def cancelar_os(call: Call, param: Json) -> Json:
    order = find(call.app, param)
    if order.cancelled:
        raise refused(f"A Ordem de Serviço [{order.cNumOS}] já está cancelada!")
    invoices.cancel_order(call.sim, call.app, order, call.now, nfse=param.get("cCancelarNfse") != "N")
    return _step(order, "OS cancelada com sucesso!")


def duplicar_os(call: Call, param: Json) -> Json:
    old = find(call.app, param)
    order = invoices.new_order(
        call.sim,
        call.app,
        call.now,
        nCodCli=old.nCodCli,
        lines=old.lines,
        due=old.due,
        more={"nCodCC": old.account, "cCodCateg": old.category, "cCidPrestServ": old.city},
        email=dict(old.email),
        origin="API",
        cEtapa="10",
    )
    order.sent = old.sent
    _announce(call, order, "Incluida")
    return _step(order, "OS duplicada com sucesso!")


def associar_cod_int_os(call: Call, param: Json) -> Json:
    app = call.app
    order = find(app, {"nCodOS": param.get("nCodOS")})
    code = str(param.get("cCodIntOS") or "").strip()
    if not code:
        raise required("cCodIntOS")
    if app.order_codes.get(code, order.nCodOS) != order.nCodOS:
        raise duplicate("OS", code, app.order_codes[code], female=True)
    app.order_codes.pop(order.cCodIntOS, None)
    order.cCodIntOS = code
    app.order_codes[code] = order.nCodOS
    app.changed()
    return _step(order, "Código de integração associado com sucesso!")


def reenviar_os(call: Call, param: Json) -> Json:
    order = find(call.app, param)
    if order.rps_status != "003":
        raise refused(f"A Ordem de Serviço [{order.cNumOS}] não possui RPS com erro para reenvio!")
    invoices.send_rps(call.sim, call.app, order, call.now)
    call.app.changed()
    return _step(order, "OS reenviada com sucesso!")


def obter_os(call: Call, param: Json) -> Json:
    cEtapa = str(param.get("cEtapa") or "")
    if not cEtapa:
        raise required("cEtapa")
    rows = [
        {"nIdPed": order.nCodOS, "cNumPedido": order.cNumOS}
        for order in call.app.order_list
        if order.cEtapa == cEtapa and not order.cancelled
    ]
    return {"cEtapa": cEtapa, "listaOS": rows}


def _step(order: Order, text: str) -> Json:
    return {"cCodIntOS": order.cCodIntOS, "nCodOS": order.nCodOS, "cCodStatus": "0", "cDescStatus": text}


STEPS_METHODS: Final[Mapping[str, Handler]] = {
    "FaturarOS": Handler(faturar_os, write=True),
    "ValidarOS": Handler(validar_os, write=False),
    "CancelarOS": Handler(cancelar_os, write=True),
    "DuplicarOS": Handler(duplicar_os, write=True),
    "AssociarCodIntOS": Handler(associar_cod_int_os, write=True),
    "ReenviarOS": Handler(reenviar_os, write=True),
    "ObterOS": Handler(obter_os, write=False),
}

# ------------------------------------------------------------------------------------------------- oslote


def faturar_lote_os(call: Call, param: Json) -> Json:
    """Bills every order of one column, in the background."""
    cEtapa = str(param.get("cEtapa") or "")
    if not cEtapa:
        raise required("cEtapa")
    members = [
        order.nCodOS
        for order in call.app.order_list
        if order.cEtapa == cEtapa and not order.billed and not order.cancelled
    ]
    return billing.start_lot(call, members, of_contracts=False)


def listar_lote_nfse(call: Call, param: Json) -> Rendered:
    """A day's NFS-e and where each stands."""
    day = read_br(param.get("dDtFat") or "")
    status = str(param.get("cStatusLote") or "")
    rows = []
    for order in call.app.order_list:
        if not order.billed or (day is not None and day_of(order.billed_at) != day):
            continue
        reached = invoices.rps_status(order, call.now)
        if status and reached != status:
            continue
        rows.append((order, reached))
    return one_page(param, LOT, "nfseLote", rows, _lot_row, largest=call.switches.largest_page)


def _lot_row(row: tuple[Order, str]) -> str:
    order, reached = row
    return dumps(
        {
            "nCodOS": order.nCodOS,
            "cNumOs": order.cNumOS,
            "nCodNF": order.nCodNF,
            "cNumNfse": str(order.nfse or ""),
            "cNumRps": str(order.rps),
            "cCodVerif": order.verification,
            "cNumContrato": order.cNumCtr,
            "cStatusLote": reached,
            "nLote": order.rps_lot,
            "dDtFat": br(day_of(order.billed_at)),
        }
    )


LOT_METHODS: Final[Mapping[str, Handler]] = {
    "FaturarLoteOS": Handler(faturar_lote_os, write=True),
    "StatusLoteOS": Handler(billing.status_lote, write=False),
    "ListarLotesOS": Handler(billing.listar_lotes, write=False),
    "ListarLoteNfse": Handler(listar_lote_nfse, write=False),
}

# ------------------------------------------------------------------------------------------------- inside


def render(call: Call, order: Order, *, number_of_contract: bool) -> Json:
    """osCadastro of an order."""
    sent = order.sent or {}
    more: Json = {
        **(sent.get("InformacoesAdicionais") or {}),
        "cCodCateg": order.category,
        "nCodCC": order.account,
        "cCidPrestServ": order.city,
    }
    if order.cNumCtr and number_of_contract:
        more["cNumContrato"] = order.cNumCtr
    head: Json = {
        "cCodIntOS": order.cCodIntOS,
        "nCodOS": order.nCodOS,
        "cNumOS": order.cNumOS,
        "nCodCli": order.nCodCli,
        "cEtapa": order.cEtapa,
        "dDtPrevisao": br(order.forecast),
        "cCodParc": sent.get("cCodParc", "999"),
        "nQtdeParc": len(order.due),
        "nValorTotal": order.total / 100,
        "nValorTotalImpRet": 0,
    }
    if order.nCodCtr and (order.cOrigem != "CTR" or call.switches.os_nCodCtr == "present"):
        head["nCodCtr"] = order.nCodCtr
    return {
        "Cabecalho": head,
        "Departamentos": sent.get("Departamentos") or [],
        "Email": order.email,
        "InformacoesAdicionais": more,
        "InfoCadastro": _audit(order),
        "Observacoes": sent.get("Observacoes") or {"cObsOS": ""},
        "Parcelas": [
            {
                **_sent_installment(sent, number),
                "nParcela": number,
                "dDtVenc": br(due),
                "nValor": amount / 100,
                "nPercentual": round(100 * amount / order.total, 2) if order.total else 0,
            }
            for number, (due, amount) in enumerate(order.due, start=1)
        ],
        "ServicosPrestados": [_render_line(line, seq) for seq, line in enumerate(order.lines, start=1)],
    }


def _sent_installment(sent: Json, number: int) -> Json:
    rows: list[Json] = sent.get("Parcelas") or []
    return dict(rows[number - 1]) if number <= len(rows) else {"nao_gerar_boleto": "N"}


def _render_line(line: Line, seq: int) -> Json:
    return {
        "nIdItem": line.nIdItem,
        "nSeqItem": seq,
        "nCodServico": line.nCodServico,
        "cDescServ": line.description,
        "nQtde": line.quantity,
        "nValUnit": line.unit,
        "cTpDesconto": "V",
        "nValorDesconto": line.discount / 100,
        "nValorAcrescimos": line.addition / 100,
        "cReembolso": "S" if line.reimbursement else "N",
        "cNaoGerarFinanceiro": "S" if line.no_receivable else "N",
        "cCodServLC116": line.lc116,
        "cCodServMun": line.municipal,
        "cCodCategItem": line.category,
        "impostos": {
            "nBaseISS": 0 if line.reimbursement else line.total / 100,
            "nAliqISS": line.aliqISS,
            "nValorISS": round(line.total * line.aliqISS / 10000, 2),
        },
    }


def _audit(order: Order) -> Json:
    audit: Json = {
        "cOrigem": order.cOrigem,
        "cAmbiente": "P",
        "cFaturada": "S" if order.billed else "N",
        "cCancelada": "S" if order.cancelled else "N",
    }
    for suffix, moment in (
        ("Inc", order.included),
        ("Alt", order.altered),
        ("Fat", order.billed_at),
        ("Canc", order.cancelled_at),
    ):
        audit[f"dDt{suffix}"] = br(day_of(moment)) if moment else ""
        audit[f"cHr{suffix}"] = hour_of(moment) if moment else ""
    return audit


def _line(app: App, row: Json) -> Line:
    number = int(row.get("nCodServico") or 0)
    service = app.services.get(number) or {}
    if number and app.services and not service:
        raise OmieFault(5002, f"ERROR: Serviço não cadastrado para o Código [{number}] ! Tag [nCodServico]!")
    if not number and not str(row.get("cDescServ") or "").strip():
        raise required("cDescServ")
    register = service.get("cabecalho") or {}
    unit = row.get("nValUnit") if row.get("nValUnit") is not None else register.get("nPrecoUnit", 0)
    quantity = row.get("nQtde") or 1
    discount = centavos(row.get("nValorDesconto") or 0)
    addition = centavos(row.get("nValorAcrescimos") or 0)
    gross = centavos(round(float(quantity) * float(unit or 0), 6))
    return Line(
        nIdItem=app.new_id(),
        nCodServico=number,
        description=str(row.get("cDescServ") or (service.get("descricao") or {}).get("cDescrCompleta") or ""),
        quantity=quantity,
        unit=unit or 0,
        discount=discount,
        addition=addition,
        total=gross - discount + addition,
        reimbursement=row.get("cReembolso") == "S",
        no_receivable=row.get("cNaoGerarFinanceiro") == "S",
        lc116=str(row.get("cCodServLC116") or register.get("cCodLC116") or ""),
        municipal=str(row.get("cCodServMun") or register.get("cCodServMun") or ""),
        aliqISS=(row.get("impostos") or {}).get("nAliqISS") or 0,
        category=str(row.get("cCodCategItem") or ""),
    )


def _altered_lines(app: App, order: Order, rows: list[Json]) -> tuple[Line, ...]:
    """cAcaoItem A (by nSeqItem or nIdItem), E or I; a line without an action and a number is added."""
    lines: list[Line | None] = list(order.lines)
    for row in rows:
        seq = int(row.get("nSeqItem") or 0)
        number = int(row.get("nIdItem") or 0)
        place = seq - 1 if seq else next((i for i, line in enumerate(order.lines) if line.nIdItem == number), -1)
        if row.get("cAcaoItem", "A" if seq or number else "I") == "I":
            lines.append(_line(app, row))
            continue
        if not 0 <= place < len(order.lines):
            raise unknown("Item da OS", seq or number, code=101)
        old = lines[place]
        lines[place] = None if row.get("cAcaoItem") == "E" or old is None else _over(app, old, row)
    return tuple(line for line in lines if line is not None)


def _over(app: App, old: Line, row: Json) -> Line:
    whole: dict[str, Any] = {
        "nCodServico": old.nCodServico,
        "cDescServ": old.description,
        "nQtde": old.quantity,
        "nValUnit": old.unit,
        "nValorDesconto": old.discount / 100,
        "nValorAcrescimos": old.addition / 100,
        "cCodServLC116": old.lc116,
        "cCodServMun": old.municipal,
        **row,
    }
    return _line(app, whole)._replace(nIdItem=old.nIdItem)


def _installments(param: Json, total: int, forecast: date) -> tuple[tuple[date, int], ...]:
    """Parcelas as sent, else nQtdeParc equal parts a month (30 days) apart from the forecast."""
    rows = param.get("Parcelas") or []
    if rows:
        due = []
        for row in rows:
            day = read_br(row.get("dDtVenc") or "") or forecast + timedelta(days=int(row.get("nDias") or 0))
            percent = row.get("nPercentual")
            amount = centavos(row["nValor"]) if row.get("nValor") else round(total * float(percent or 0) / 100)
            due.append((day, amount))
        if sum(amount for _, amount in due) != total:
            raise refused("A soma das parcelas difere do valor total da Ordem de Serviço!")
        return tuple(due)
    count = max(1, int((param.get("Cabecalho") or {}).get("nQtdeParc") or 1))
    part = total // count
    amounts = [part] * (count - 1) + [total - part * (count - 1)]
    return tuple((forecast + timedelta(days=30 * i), amount) for i, amount in enumerate(amounts))


def _open(order: Order) -> None:
    if order.billed or order.cancelled:
        word = "cancelada" if order.cancelled else "faturada"
        raise refused(f"A Ordem de Serviço [{order.cNumOS}] está {word} e não pode ser alterada!")


def _announce(call: Call, order: Order, what: str) -> None:
    if call.sim.outbox.wanted:
        app = call.app
        event = invoices.order_event(order)
        call.sim.outbox.emit(app.company, app.app_key, f"OrdemServico.{what}", event, call.now)


def _status(order: Order, text: str) -> Json:
    return {
        "cCodIntOS": order.cCodIntOS,
        "nCodOS": order.nCodOS,
        "cNumOS": order.cNumOS,
        "cCodStatus": "0",
        "cDescStatus": text,
    }
