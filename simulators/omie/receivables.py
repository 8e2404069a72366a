"""/financas/contareceber/ and /financas/contareceberboleto/: titles, receipts and boletos."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from simulators.omie.answers import (
    Json,
    OmieFault,
    Rendered,
    dumps,
    duplicate,
    refused,
    required,
    required_one,
    unknown,
)
from simulators.omie.contracts import centavos
from simulators.omie.dates import br, day_of, hour_of, read_br
from simulators.omie.links import signed_link
from simulators.omie.paging import CLASSIC, one_page
from simulators.omie.state import App, Boleto, Call, Contract, Handler, Order, Receipt, Sim, Title, digits

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/financas/contareceber/"
BOLETO_PATH: Final = "/financas/contareceberboleto/"

KNOWN_TAGS: Final = frozenset(
    {
        "codigo_lancamento_omie",
        "codigo_lancamento_integracao",
        "codigo_cliente_fornecedor",
        "codigo_cliente_fornecedor_integracao",
        "data_vencimento",
        "data_previsao",
        "data_emissao",
        "data_registro",
        "valor_documento",
        "codigo_categoria",
        "id_conta_corrente",
        "numero_documento",
        "numero_documento_fiscal",
        "numero_parcela",
        "status_titulo",
        "boleto",
        "info",
        "recebimento",
    }
)

# -------------------------------------------------------------------------------------------- titles' life


def status_of(title: Title, today: date) -> str:
    """status_titulo is a matter of the day."""
    if title.cancelled:
        return "CANCELADO"
    if title.open == 0:
        return "RECEBIDO"
    if title.receipts:
        return "PAGTO_PARCIAL"
    if title.due == today:
        return "VENCE HOJE"
    return "A VENCER" if title.due > today else "ATRASADO"


def matches_status(title: Title, wanted: str, today: date) -> bool:
    word = wanted.upper().replace(" ", "").replace("_", "")
    if word == "EMABERTO":
        return title.open > 0
    if word == "ATRASADO":
        return title.open > 0 and title.due < today
    if word in ("LIQUIDADO", "PAGO"):
        word = "RECEBIDO"
    return status_of(title, today).replace(" ", "").replace("_", "") == word


def keep_title(app: App, title: Title) -> Title:
    app.titles[title.nCodTitulo] = title
    if title.code:
        app.title_codes.setdefault(title.code, title.nCodTitulo)
    app.changed()
    return title


def title_of_order(sim: Sim, app: App, order: Order, now: float, *, due: date, amount: int, installment: str) -> Title:
    """The conta a receber of an authorised NFS-e (id_origem VENR), and its boleto where that is automatic."""
    title = keep_title(
        app,
        Title(
            nCodTitulo=app.new_id(),
            code="",
            nCodCli=order.nCodCli,
            due=due,
            forecast=due,
            issued=day_of(now),
            amount=amount,
            category=order.category,
            account=order.account,
            origin="VENR",
            document=f"RPS {order.rps}",
            fiscal_document=str(order.nfse),
            installment=installment,
            included=now,
            altered=now,
            nCodOS=order.nCodOS,
            cNumOS=order.cNumOS,
            nCodCtr=order.nCodCtr,
            cNumCtr=order.cNumCtr,
            nCodNF=order.nCodNF,
        ),
    )
    app.titles_of_order.setdefault(order.nCodOS, []).append(title.nCodTitulo)
    announce(sim, app, title, "Incluido", now)
    if sim.switches.boleto == "automatic" and '"gerar_boletos":"N"' not in app.customers.get(order.nCodCli, ""):
        sim.later(now + sim.switches.boleto_seconds, partial(_automatic_boleto, sim, app, title.nCodTitulo))
    return title


def _automatic_boleto(sim: Sim, app: App, number: int, now: float) -> None:
    title = app.titles.get(number)
    if title is not None and not title.cancelled and title.boleto is None and title.open:
        make_boleto(sim, app, title, now)


def earlier_title(app: App, contract: Contract, now: float, *, due: date, amount: int) -> Title:
    """The title, with its boleto, of a contract billed in a month before anybody looked: no webhook tells of it."""
    cadastro = contract.cadastro().get("infAdic") or {}
    issued = due - timedelta(days=10)
    title = keep_title(
        app,
        Title(
            nCodTitulo=app.new_id(),
            code="",
            nCodCli=contract.nCodCli,
            due=due,
            forecast=due,
            issued=issued,
            amount=amount,
            category=str(cadastro.get("cCodCateg") or ""),
            account=int(cadastro.get("nCodCC") or 0),
            origin="VENR",
            document=f"RPS {app.last_id % 10**5}",
            fiscal_document="",
            installment="001/001",
            included=now,
            altered=now,
            nCodCtr=contract.nCodCtr,
            cNumCtr=contract.cNumCtr,
        ),
    )
    title.boleto = _boleto(title, issued)
    return title


def make_boleto(sim: Sim, app: App, title: Title, now: float) -> Boleto:
    title.boleto = _boleto(title, day_of(now))
    title.altered = now
    app.changed()
    announce(sim, app, title, "BoletoGerado", now)
    return title.boleto


def _boleto(title: Title, issued: date) -> Boleto:
    number = f"{title.nCodTitulo % 10**10:010}"
    factor = (title.due - date(2022, 5, 29)).days % 9000 + 1000
    before, after = "3419", f"{factor:04}{title.amount:010}{title.nCodTitulo % 10**25:025}"
    return Boleto(
        number=number,
        bank_number=f"00019/{number}-{title.nCodTitulo % 9}",
        barcode=f"{before}{_check_digit(before + after)}{after}",
        issued=issued,
    )


def _check_digit(digits: str) -> int:
    """FEBRABAN's modulo 11 over the other 43 digits of a barcode."""
    weights = (2 + place % 8 for place in range(len(digits)))
    check = 11 - sum(int(digit) * weight for digit, weight in zip(reversed(digits), weights, strict=True)) % 11
    return check if 1 < check < 10 else 1


def announce(sim: Sim, app: App, title: Title, what: str, now: float) -> None:
    """Financas.ContaReceber.*: no contract id in it, and an ISO due date (as seen)."""
    if not sim.outbox.wanted:
        return
    event: Json = {
        "codigo_lancamento_omie": title.nCodTitulo,
        "codigo_lancamento_integracao": title.code,
        "codigo_cliente_fornecedor": title.nCodCli,
        "numero_documento": title.document,
        "numero_documento_fiscal": title.fiscal_document,
        "numero_parcela": title.installment,
        "numero_pedido": title.cNumOS,
        "boleto_gerado": "S" if title.boleto else "N",
        "pix_gerado": "N",
        "situacao": status_of(title, day_of(now)).capitalize(),
        "valor_documento": title.amount / 100,
        "data_vencimento": f"{title.due.isoformat()}T00:00:00-03:00",
        "id_origem": title.origin,
        "id_conta_corrente": title.account,
        "codigo_categoria": title.category,
    }
    if title.boleto:
        event["boleto_numero"] = title.boleto.number
        event["codigo_barras_ficha_compensacao"] = title.boleto.barcode
    sim.outbox.emit(app.company, app.app_key, f"Financas.ContaReceber.{what}", event, now)


# -------------------------------------------------------------------------------------------- contareceber


def find(app: App, key: Json) -> Title:
    """By any of the tags under which Omie's methods name a title; 105 when there is none."""
    for tag in ("codigo_lancamento_omie", "chave_lancamento", "codigo_lancamento", "nCodTitulo"):
        if number := int(key.get(tag) or 0):
            title = app.titles.get(number)
            if title is None:
                raise unknown("Lançamento", number)
            return title
    for tag in ("codigo_lancamento_integracao", "cCodIntTitulo"):
        if code := str(key.get(tag) or "").strip():
            known = app.title_codes.get(code)
            if known is None:
                raise unknown("Lançamento", code, by="Código de Integração")
            return app.titles[known]
    raise required_one("codigo_lancamento_omie", "codigo_lancamento_integracao")


def incluir_conta_receber(call: Call, param: Json) -> Json:
    app = call.app
    code = str(param.get("codigo_lancamento_integracao") or "").strip()
    if not code:
        raise required("codigo_lancamento_integracao")
    if code in app.title_codes and call.switches.duplicate_integration_code == "refuse":
        raise duplicate("Lançamento", code, app.title_codes[code])
    for tag in ("data_vencimento", "valor_documento", "codigo_categoria", "id_conta_corrente"):
        if not param.get(tag):
            raise required(tag)
    customer = _customer(app, param)
    account = int(param["id_conta_corrente"])
    if app.accounts and account not in app.accounts:
        raise unknown("Conta Corrente", account, female=True)
    due = read_br(param["data_vencimento"]) or call.today
    title = Title(
        nCodTitulo=app.new_id(),
        code=code,
        nCodCli=customer,
        due=due,
        forecast=read_br(param.get("data_previsao") or "") or due,
        issued=read_br(param.get("data_emissao") or "") or call.today,
        amount=centavos(param["valor_documento"]),
        category=str(param["codigo_categoria"]),
        account=account,
        origin="APIR",
        document=str(param.get("numero_documento") or ""),
        fiscal_document=str(param.get("numero_documento_fiscal") or ""),
        installment=str(param.get("numero_parcela") or "001/001"),
        included=call.now,
        altered=call.now,
        cNumCtr=str(param.get("cNumeroContrato") or ""),
        extra={tag: value for tag, value in param.items() if tag not in KNOWN_TAGS},
    )
    keep_title(app, title)
    announce(call.sim, app, title, "Incluido", call.now)
    return _status(title, "Lançamento cadastrado com sucesso!")


def _customer(app: App, param: Json) -> int:
    number = int(param.get("codigo_cliente_fornecedor") or 0)
    code = str(param.get("codigo_cliente_fornecedor_integracao") or "").strip()
    if not number and code:
        number = app.customer_codes.get(code, 0)
        if not number:
            raise unknown("Cliente", code, by="Código de Integração")
    if not number:
        raise required("codigo_cliente_fornecedor")
    if number not in app.customers:
        raise unknown("Cliente", number)
    return number


def alterar_conta_receber(call: Call, param: Json) -> Json:
    title = find(call.app, param)
    if title.cancelled:
        raise refused("O lançamento está cancelado e não pode ser alterado!")
    if title.receipts and "valor_documento" in param:
        raise refused("O lançamento possui baixas e o valor não pode ser alterado!")
    for tag, name in (("data_vencimento", "due"), ("data_previsao", "forecast"), ("data_emissao", "issued")):
        if day := read_br(param.get(tag) or ""):
            setattr(title, name, day)
    if param.get("valor_documento"):
        title.amount = centavos(param["valor_documento"])
    for tag, name in (
        ("codigo_categoria", "category"),
        ("id_conta_corrente", "account"),
        ("numero_documento", "document"),
        ("numero_documento_fiscal", "fiscal_document"),
    ):
        if param.get(tag):
            setattr(title, name, param[tag])
    title.extra.update({tag: value for tag, value in param.items() if tag not in KNOWN_TAGS})
    title.altered = call.now
    keep_title(call.app, title)
    announce(call.sim, call.app, title, "Alterado", call.now)
    return _status(title, "Lançamento alterado com sucesso!")


def upsert_conta_receber(call: Call, param: Json) -> Json:
    code = str(param.get("codigo_lancamento_integracao") or "").strip()
    if param.get("codigo_lancamento_omie") or code in call.app.title_codes:
        return alterar_conta_receber(call, param)
    return incluir_conta_receber(call, param)


def por_lote(call: Call, param: Json) -> Json:
    """IncluirContaReceberPorLote and UpsertContaReceberPorLote: each row has its own status."""
    one = incluir_conta_receber if call.method.startswith("Incluir") else upsert_conta_receber
    rows = []
    for row in param.get("conta_receber_cadastro") or []:
        try:
            rows.append(one(call, row))
        except OmieFault as fault:
            rows.append(
                {
                    "codigo_lancamento_omie": 0,
                    "codigo_lancamento_integracao": row.get("codigo_lancamento_integracao") or "",
                    "codigo_status": fault.code.rpartition("-")[2][:4],
                    "descricao_status": fault.text,
                }
            )
    return {
        "lote": param.get("lote") or 0,
        "codigo_status": "0",
        "descricao_status": "Lote processado com sucesso!",
        "status_lote": rows,
    }


def consultar_conta_receber(call: Call, param: Json) -> Json:
    return render(call, find(call.app, param))


def listar_contas_receber(call: Call, param: Json) -> Rendered:
    """Answers an empty list, not a fault, when nothing was found (seen live)."""
    question = tuple(
        sorted((tag, value) for tag, value in param.items() if tag.startswith(("filtrar", "ordem", "apenas")))
    )
    titles: list[Title] = call.app.found(("titulos", call.today, question), lambda: _search(call, param))
    return one_page(
        param,
        CLASSIC,
        "conta_receber_cadastro",
        titles,
        lambda title: dumps(render(call, title)),
        largest=call.switches.largest_page,
        empty_is_fault=False,
    )


def _search(call: Call, param: Json) -> list[Title]:
    app, today = call.app, call.today
    customer = int(param.get("filtrar_cliente") or 0)
    if document := digits(param.get("filtrar_por_cpf_cnpj")):
        customer = app.customer_documents.get(document, -1)
    account = int(param.get("filtrar_conta_corrente") or 0)
    status = str(param.get("filtrar_por_status") or "")
    only_open = param.get("filtrar_apenas_titulos_em_aberto") == "S"
    changed = _between(param, "filtrar_por_data")
    issued = _between(param, "filtrar_por_emissao")
    registered = _between(param, "filtrar_por_registro")
    only_new, only_changed = (param.get(f"filtrar_apenas_{word}") == "S" for word in ("inclusao", "alteracao"))

    def wanted(title: Title) -> bool:
        moments = [title.included] * (not only_changed) + [title.altered] * (not only_new)
        return (
            (not customer or title.nCodCli == customer)
            and (not account or title.account == account)
            and (not status or matches_status(title, status, today))
            and (not only_open or title.open > 0)
            and (changed is None or any(_inside(changed, day_of(moment)) for moment in moments))
            and (issued is None or _inside(issued, title.issued))
            and (registered is None or _inside(registered, day_of(title.included)))
            and (param.get("apenas_importado_api") != "S" or title.origin == "APIR")
        )

    found = [title for title in app.titles.values() if wanted(title)]
    if param.get("ordem_descrescente") == "S":
        found.reverse()
    return found


def _between(param: Json, stem: str) -> tuple[date, date] | None:
    start, end = read_br(param.get(f"{stem}_de") or ""), read_br(param.get(f"{stem}_ate") or "")
    return None if start is None and end is None else (start or date.min, end or date.max)


def _inside(days: tuple[date, date], day: date) -> bool:
    return days[0] <= day <= days[1]


def excluir_conta_receber(call: Call, param: Json) -> Json:
    app = call.app
    title = find(app, param)
    if title.receipts:
        raise refused("O lançamento possui baixas e não pode ser excluído!")
    del app.titles[title.nCodTitulo]
    app.title_codes.pop(title.code, None)
    if title.nCodOS:
        app.titles_of_order[title.nCodOS].remove(title.nCodTitulo)
    app.changed()
    announce(call.sim, app, title, "Excluido", call.now)
    return _status(title, "Lançamento excluído com sucesso!")


def cancelar_conta_receber(call: Call, param: Json) -> Json:
    title = find(call.app, param)
    if title.receipts:
        raise refused("O lançamento possui baixas e não pode ser cancelado!")
    if title.cancelled:
        raise refused("O lançamento já está cancelado!")
    title.cancelled, title.boleto, title.altered = True, None, call.now
    call.app.changed()
    announce(call.sim, call.app, title, "BoletoCancelado", call.now)
    return _status(title, "Lançamento cancelado com sucesso!")


def lancar_recebimento(call: Call, param: Json) -> Json:
    app = call.app
    title = find(app, param)
    code = str(param.get("codigo_baixa_integracao") or "").strip()
    if code and code in app.receipt_codes:
        raise duplicate("Recebimento", code, app.receipt_codes[code])
    if title.cancelled:
        raise refused("O lançamento está cancelado!")
    if not title.open:
        raise refused("O lançamento já está liquidado!")
    if not param.get("valor"):
        raise required("valor")
    interest, fine = centavos(param.get("juros") or 0), centavos(param.get("multa") or 0)
    paid = centavos(param["valor"])
    if call.switches.receipt_value == "gross":
        paid -= interest + fine
    receipt = Receipt(
        codigo_baixa=app.new_id(),
        codigo_baixa_integracao=code,
        day=read_br(param.get("data") or "") or call.today,
        paid=paid,
        interest=interest,
        fine=fine,
        discount=centavos(param.get("desconto") or 0),
        account=int(param.get("codigo_conta_corrente") or title.account),
        note=str(param.get("observacao") or ""),
        reconciled=param.get("conciliar_documento") == "S",
    )
    title.receipts.append(receipt)
    title.altered = call.now
    app.receipts[receipt.codigo_baixa] = title
    if code:
        app.receipt_codes[code] = receipt.codigo_baixa
    app.changed()
    _announce_receipt(call, title, receipt, "BaixaRealizada")
    return {
        "codigo_lancamento": title.nCodTitulo,
        "codigo_lancamento_integracao": title.code,
        "codigo_baixa": receipt.codigo_baixa,
        "codigo_baixa_integracao": code,
        "liquidado": "N" if title.open else "S",
        "valor_baixado": (paid + interest + fine) / 100,
        "codigo_status": "0",
        "descricao_status": "Recebimento lançado com sucesso!",
    }


def _receipt(app: App, param: Json) -> tuple[Title, Receipt]:
    number = int(param.get("codigo_baixa") or 0)
    code = str(param.get("codigo_baixa_integracao") or "").strip()
    number = number or app.receipt_codes.get(code, 0)
    title = app.receipts.get(number)
    if title is None:
        raise unknown("Recebimento", number or code)
    return title, next(receipt for receipt in title.receipts if receipt.codigo_baixa == number)


def cancelar_recebimento(call: Call, param: Json) -> Json:
    app = call.app
    title, receipt = _receipt(app, param)
    title.receipts.remove(receipt)
    title.altered = call.now
    del app.receipts[receipt.codigo_baixa]
    app.receipt_codes.pop(receipt.codigo_baixa_integracao, None)
    app.changed()
    _announce_receipt(call, title, receipt, "BaixaCancelada")
    return _receipt_status(receipt, "Recebimento cancelado com sucesso!")


def conciliar_recebimento(call: Call, param: Json) -> Json:
    receipt = _receipt(call.app, param)[1]
    receipt.reconciled = call.method == "ConciliarRecebimento"
    return _receipt_status(receipt, "Operação realizada com sucesso!")


def _receipt_status(receipt: Receipt, text: str) -> Json:
    return {
        "codigo_baixa": receipt.codigo_baixa,
        "codigo_baixa_integracao": receipt.codigo_baixa_integracao,
        "codigo_status": "0",
        "descricao_status": text,
    }


def _announce_receipt(call: Call, title: Title, receipt: Receipt, what: str) -> None:
    """BaixaRealizada's event is a list, unlike all others (seen live)."""
    if call.sim.outbox.wanted:
        event = [
            {
                "conta_a_receber": [
                    {
                        "codigo_lancamento_omie": title.nCodTitulo,
                        "codigo_lancamento_integracao": title.code,
                        "numero_documento": title.document,
                    }
                ],
                "codigo_cliente_fornecedor": title.nCodCli,
                "codigo_baixa": receipt.codigo_baixa,
                "data": f"{receipt.day.isoformat()}T00:00:00-03:00",
                "data_cred": f"{receipt.day.isoformat()}T00:00:00-03:00",
                "valor": (receipt.paid + receipt.interest + receipt.fine) / 100,
                "observacao": receipt.note,
            }
        ]
        app = call.app
        call.sim.outbox.emit(app.company, app.app_key, f"Financas.ContaReceber.{what}", event, call.now)


def distribuicao(call: Call, param: Json) -> Json:
    """Incluir, Alterar and ExcluirDistribuicaoDepartamento of a title."""
    title = find(call.app, param)
    rows = list(title.extra.get("distribuicao") or [])
    department = param.get("codigo_departamento") or ""
    if call.method.startswith("Excluir"):
        rows = []
    else:
        rows = [row for row in rows if row["cCodDep"] != department]
        rows.append(
            {
                "cCodDep": department,
                "cDesDep": "",
                "nPerDep": param.get("percentual_rateio") or 0,
                "nValDep": param.get("valor") or 0,
            }
        )
    title.extra["distribuicao"] = rows
    title.altered = call.now
    call.app.changed()
    return {"chave_lancamento": title.nCodTitulo, "codigo_lancamento_integracao": title.code}


METHODS: Final[Mapping[str, Handler]] = {
    "IncluirContaReceber": Handler(incluir_conta_receber, write=True),
    "AlterarContaReceber": Handler(alterar_conta_receber, write=True),
    "UpsertContaReceber": Handler(upsert_conta_receber, write=True),
    "IncluirContaReceberPorLote": Handler(por_lote, write=True),
    "UpsertContaReceberPorLote": Handler(por_lote, write=True),
    "ConsultarContaReceber": Handler(consultar_conta_receber, write=False),
    "ListarContasReceber": Handler(listar_contas_receber, write=False),
    "ExcluirContaReceber": Handler(excluir_conta_receber, write=True),
    "CancelarContaReceber": Handler(cancelar_conta_receber, write=True),
    "LancarRecebimento": Handler(lancar_recebimento, write=True),
    "CancelarRecebimento": Handler(cancelar_recebimento, write=True),
    "ConciliarRecebimento": Handler(conciliar_recebimento, write=True),
    "DesconciliarRecebimento": Handler(conciliar_recebimento, write=True),
    "IncluirDistribuicaoDepartamento": Handler(distribuicao, write=True),
    "AlterarDistribuicaoDepartamento": Handler(distribuicao, write=True),
    "ExcluirDistribuicaoDepartamento": Handler(distribuicao, write=True),
}


def render(call: Call, title: Title) -> Json:
    """A title as ConsultarContaReceber and ListarContasReceber show it."""
    boleto = title.boleto
    percents = _boleto_percents(call.app, title)
    return {
        **title.extra,
        "codigo_lancamento_omie": title.nCodTitulo,
        "codigo_lancamento_integracao": title.code,
        "codigo_cliente_fornecedor": title.nCodCli,
        "data_vencimento": br(title.due),
        "data_previsao": br(title.forecast),
        "data_emissao": br(title.issued),
        "data_registro": br(day_of(title.included)),
        "valor_documento": title.amount / 100,
        "codigo_categoria": title.category,
        "categorias": [{"codigo_categoria": title.category, "percentual": 100, "valor": title.amount / 100}],
        "id_conta_corrente": title.account,
        "numero_documento": title.document,
        "numero_documento_fiscal": title.fiscal_document,
        "numero_parcela": title.installment,
        "numero_pedido": title.cNumOS,
        "nCodOS": title.nCodOS,
        "cNumeroContrato": title.cNumCtr,
        "id_origem": title.origin,
        "status_titulo": status_of(title, call.today),
        "codigo_barras_ficha_compensacao": boleto.barcode if boleto else "",
        "boleto": {
            "cGerado": "S" if boleto else "N",
            "cNumBoleto": boleto.number if boleto else "",
            "cNumBancario": boleto.bank_number if boleto else "",
            "dDtEmBol": br(boleto.issued) if boleto else "",
            **(percents if boleto else {"nPerJuros": 0, "nPerMulta": 0}),
        },
        "info": {
            "cImpAPI": "S" if title.origin == "APIR" else "N",
            "dInc": br(day_of(title.included)),
            "hInc": hour_of(title.included),
            "uInc": "WEBSERVICE",
            "dAlt": br(day_of(title.altered)),
            "hAlt": hour_of(title.altered),
            "uAlt": "WEBSERVICE",
        },
    }


def _status(title: Title, text: str) -> Json:
    return {
        "codigo_lancamento_omie": title.nCodTitulo,
        "codigo_lancamento_integracao": title.code,
        "codigo_status": "0",
        "descricao_status": text,
    }


# -------------------------------------------------------------------------------------- contareceberboleto


def _boleto_percents(app: App, title: Title) -> Json:
    """Fine and interest are settings of the bank account, never of the contract (Omie help 6786963)."""
    account = app.accounts.get(title.account) or {}
    return {"nPerJuros": account.get("per_juros") or 0, "nPerMulta": account.get("per_multa") or 0}


def _boleto_reply(call: Call, title: Title, boleto: Boleto) -> Json:
    return {
        "cLinkBoleto": signed_link("boleto", title.nCodTitulo, call.now),
        "cCodStatus": "0",
        "cDesStatus": "Boleto gerado com sucesso!",
        "dDtEmBol": br(boleto.issued),
        "cNumBoleto": boleto.number,
        "cNumBancario": boleto.bank_number,
        "cCodBarras": boleto.barcode,
        **_boleto_percents(call.app, title),
        "dDescontoCond1": "",
        "vDescontoCond1": 0,
        "dDescontoCond2": "",
        "vDescontoCond2": 0,
    }


_NO_BOLETO: Final[Json] = {
    "cLinkBoleto": "",
    "cCodStatus": "103",
    "dDtEmBol": "",
    "cNumBoleto": "",
    "cNumBancario": "",
    "cCodBarras": "",
    "nPerJuros": 0,
    "nPerMulta": 0,
}


def gerar_boleto(call: Call, param: Json) -> Json:
    title = find(call.app, param)
    if not title.open:
        return {**_NO_BOLETO, "cDesStatus": "O título está liquidado ou cancelado!"}
    boleto = title.boleto or make_boleto(call.sim, call.app, title, call.now)
    return _boleto_reply(call, title, boleto)


def obter_boleto(call: Call, param: Json) -> Json:
    """Soft error for an unknown title or one without a boleto: HTTP 200, "103", empty fields (seen live)."""
    try:
        title = find(call.app, param)
    except OmieFault as fault:
        return {**_NO_BOLETO, "cDesStatus": fault.text}
    if title.boleto is None:
        return {**_NO_BOLETO, "cDesStatus": "O boleto ainda não foi gerado!"}
    return _boleto_reply(call, title, title.boleto)


def prorrogar_boleto(call: Call, param: Json) -> Json:
    title = find(call.app, param)
    due = read_br(param.get("dDtVenc") or "")
    if due is None:
        raise required("dDtVenc")
    if title.boleto is None:
        return {**_NO_BOLETO, "cDesStatus": "O boleto ainda não foi gerado!"}
    title.due = due
    boleto = make_boleto(call.sim, call.app, title, call.now)
    return _boleto_reply(call, title, boleto)


def cancelar_boleto(call: Call, param: Json) -> Json:
    title = find(call.app, param)
    if title.boleto is None:
        return {"cCodStatus": "103", "cDesStatus": "O boleto ainda não foi gerado!"}
    title.boleto, title.altered = None, call.now
    call.app.changed()
    announce(call.sim, call.app, title, "BoletoCancelado", call.now)
    return {"cCodStatus": "0", "cDesStatus": "Boleto cancelado com sucesso!"}


BOLETO_METHODS: Final[Mapping[str, Handler]] = {
    "GerarBoleto": Handler(gerar_boleto, write=True),
    "ObterBoleto": Handler(obter_boleto, write=False),
    "ProrrogarBoleto": Handler(prorrogar_boleto, write=True),
    "CancelarBoleto": Handler(cancelar_boleto, write=True),
}


def summary(title: Title) -> Json:
    """The `resumo` of ListarMovimentos and PesquisarLancamentos."""
    paid = sum(receipt.paid + receipt.interest + receipt.fine for receipt in title.receipts)
    return {
        "cLiquidado": "S" if title.receipts and not title.open else "N",
        "nValPago": paid / 100,
        "nValAberto": title.open / 100,
        "nDesconto": sum(receipt.discount for receipt in title.receipts) / 100,
        "nJuros": sum(receipt.interest for receipt in title.receipts) / 100,
        "nMulta": sum(receipt.fine for receipt in title.receipts) / 100,
        "nValLiquido": paid / 100 if title.receipts else title.amount / 100,
    }
