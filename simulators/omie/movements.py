"""/financas/mf/ ListarMovimentos and /financas/pesquisartitulos/ PesquisarLancamentos: titles, read only."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

from simulators.omie import receivables
from simulators.omie.answers import Json, Rendered, dumps
from simulators.omie.billing import due_date, in_stage_20
from simulators.omie.dates import br, clamped, day_of, hour_of, month_of, read_br
from simulators.omie.paging import MODERN, one_page
from simulators.omie.state import App, Call, Contract, Handler, Receipt, Title, digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PATH: Final = "/financas/mf/"
SEARCH_PATH: Final = "/financas/pesquisartitulos/"


class Row(NamedTuple):
    """A movement: a title, one of its receipts, or a contract's forecast for this month."""

    title: Title | None
    receipt: Receipt | None = None
    contract: Contract | None = None
    due: date = date.min


def listar_movimentos(call: Call, param: Json) -> Rendered:
    """Forecasts are among the rows; dDtVencDe without dDtVencAte silently drops them (both seen live)."""
    rows: list[Row] = call.app.found(("mf", call.today, _question(param)), lambda: list(_movements(call, param)))
    document = _document_of(call.app) if param.get("lDadosCad") else None
    return one_page(
        param,
        MODERN,
        "movimentos",
        rows,
        lambda row: dumps(_render(call, row, document)),
        largest=call.switches.largest_page,
    )


def _question(param: Json) -> str:
    return dumps({tag: value for tag, value in sorted(param.items()) if tag not in ("nPagina", "nRegPorPagina")})


def _movements(call: Call, param: Json) -> Iterator[Row]:
    app = call.app
    if str(param.get("cNatureza") or "R") != "R":
        return
    kind = str(param.get("cTpLancamento") or "")
    wanted = _title_filter(call, param)
    paid = _days(param, "dDtPagto")
    for title in app.titles.values():
        if not wanted(title):
            continue
        if kind in ("", "CR") and paid is None:
            yield Row(title, due=title.due)
        if kind in ("", "BXCR"):
            for receipt in title.receipts:
                if paid is None or paid[0] <= receipt.day <= paid[1]:
                    yield Row(title, receipt, due=title.due)
    status = str(param.get("cStatus") or "")
    if kind in ("", "PREVISAO") and status in ("", "PREVISAO") and paid is None and not param.get("nCodTitulo"):
        yield from _forecasts(call, param)


def _forecasts(call: Call, param: Json) -> Iterator[Row]:
    """Active contracts not yet billed this month, with the due date they would get."""
    if param.get("dDtVencDe") and not param.get("dDtVencAte"):
        return
    if any(param.get(tag) for tag in ("nCodOS", "cNumOS", "dDtEmisDe", "dDtEmisAte", "cCodIntTitulo")):
        return
    app, today = call.app, call.today
    month, days = month_of(today), _days(param, "dDtVenc")
    customer, account = int(param.get("nCodCliente") or 0), int(param.get("nCodCC") or 0)
    if document := digits(param.get("cCPFCNPJCliente")):
        customer = app.customer_documents.get(document, -1)
    last = clamped(today.year, today.month, 31)
    one = app.contracts.get(int(param.get("nCodCtr") or 0))
    for contract in [one] if one is not None else [] if param.get("nCodCtr") else app.contract_list:
        if not in_stage_20(contract, last, month) or (customer and contract.nCodCli != customer):
            continue
        if param.get("cNumCtr") and contract.cNumCtr != param["cNumCtr"]:
            continue
        cadastro = contract.cadastro()
        if account and int((cadastro.get("infAdic") or {}).get("nCodCC") or 0) != account:
            continue
        billed_on = max(today, clamped(today.year, today.month, contract.nDiaFat))
        due = due_date(cadastro.get("vencTextos") or {}, billed_on)
        if days is None or days[0] <= due <= days[1]:
            yield Row(None, contract=contract, due=due)


def _title_filter(call: Call, param: Json) -> Callable[[Title], bool]:
    app, today = call.app, call.today
    customer = int(param.get("nCodCliente") or 0)
    if document := digits(param.get("cCPFCNPJCliente")):
        customer = app.customer_documents.get(document, -1)
    equal = [
        (name, param[tag])
        for tag, name in (
            ("nCodTitulo", "nCodTitulo"),
            ("cCodIntTitulo", "code"),
            ("nCodCtr", "nCodCtr"),
            ("cNumCtr", "cNumCtr"),
            ("nCodOS", "nCodOS"),
            ("cNumOS", "cNumOS"),
            ("nCodCC", "account"),
            ("cCodCateg", "category"),
            ("cNumTitulo", "document"),
            ("cNumDocFiscal", "fiscal_document"),
        )
        if param.get(tag)
    ]
    if customer:
        equal.append(("nCodCli", customer))
    ranges = [
        (moment, days)
        for stem, moment in (
            ("dDtVenc", lambda title: title.due),
            ("dDtEmis", lambda title: title.issued),
            ("dDtPrev", lambda title: title.forecast),
            ("dDtInc", lambda title: day_of(title.included)),
            ("dDtReg", lambda title: day_of(title.included)),
            ("dDtAlt", lambda title: day_of(title.altered)),
        )
        if (days := _days(param, stem)) is not None
    ]
    status = str(param.get("cStatus") or "")

    def wanted(title: Title) -> bool:
        return (
            all(getattr(title, name) == value for name, value in equal)
            and all(days[0] <= moment(title) <= days[1] for moment, days in ranges)
            and (not status or receivables.matches_status(title, status, today))
        )

    return wanted


def _days(param: Json, stem: str) -> tuple[date, date] | None:
    start, end = read_br(param.get(f"{stem}De") or ""), read_br(param.get(f"{stem}Ate") or "")
    return None if start is None and end is None else (start or date.min, end or date.max)


def _document_of(app: App) -> Callable[[int], str]:
    return lambda number: app.customer(number).get("cnpj_cpf", "") if number in app.customers else ""


def _render(call: Call, row: Row, document: Callable[[int], str] | None) -> Json:
    if row.title is None:
        return _render_forecast(row)
    title, receipt = row.title, row.receipt
    details = _details(call, title)
    details["cGrupo"] = "CONTA_CORRENTE_REC" if receipt else "CONTA_A_RECEBER"
    if receipt is not None:
        details |= {
            "nCodBaixa": receipt.codigo_baixa,
            "dDtPagamento": br(receipt.day),
            "dDtCredito": br(receipt.day),
            "nValorMovCC": (receipt.paid + receipt.interest + receipt.fine) / 100,
            "nJuros": receipt.interest / 100,
            "nMulta": receipt.fine / 100,
            "nDesconto": receipt.discount / 100,
            "nCodCC": receipt.account,
        }
    elif title.receipts:
        details["dDtPagamento"] = br(title.receipts[-1].day)
    if document is not None:
        details["cCPFCNPJCliente"] = document(title.nCodCli)
    return {
        "detalhes": details,
        "resumo": receivables.summary(title),
        "categorias": [{"cCodCateg": title.category, "nDistrPercentual": 100, "nDistrValor": title.amount / 100}],
    }


def _details(call: Call, title: Title) -> Json:
    boleto = title.boleto
    return {
        "nCodTitulo": title.nCodTitulo,
        "cCodIntTitulo": title.code,
        "cNumTitulo": title.document,
        "cNumDocFiscal": title.fiscal_document,
        "cNumParcela": title.installment,
        "dDtEmissao": br(title.issued),
        "dDtVenc": br(title.due),
        "dDtPrevisao": br(title.forecast),
        "dDtRegistro": br(day_of(title.included)),
        "nCodCliente": title.nCodCli,
        "nCodCtr": title.nCodCtr,
        "cNumCtr": title.cNumCtr,
        "nCodOS": title.nCodOS,
        "cNumOS": title.cNumOS,
        "nCodCC": title.account,
        "nCodNF": title.nCodNF,
        "cStatus": receivables.status_of(title, call.today),
        "cNatureza": "R",
        "cTipo": "BOL" if boleto else "",
        "cOperacao": "01",
        "cOrigem": title.origin,
        "cCodCateg": title.category,
        "nValorTitulo": title.amount / 100,
        "cNumBoleto": boleto.number if boleto else "",
        "cCodigoBarras": boleto.barcode if boleto else "",
        "dDtInc": br(day_of(title.included)),
        "cHrInc": hour_of(title.included),
        "dDtAlt": br(day_of(title.altered)),
        "cHrAlt": hour_of(title.altered),
        "dDtPagamento": "",
    }


def _render_forecast(row: Row) -> Json:
    """Not a debt: a contract that will be billed."""
    contract = row.contract
    if contract is None:
        return {}
    value = contract.total / 100
    return {
        "detalhes": {
            "nCodTitulo": 0,
            "cStatus": "PREVISAO",
            "cGrupo": "PREVISAO_CONTRATO",
            "cNatureza": "R",
            "nCodCtr": contract.nCodCtr,
            "cNumCtr": contract.cNumCtr,
            "nCodCliente": contract.nCodCli,
            "dDtVenc": br(row.due),
            "dDtPrevisao": br(row.due),
            "nValorTitulo": value,
        },
        "resumo": {"cLiquidado": "N", "nValPago": 0, "nValAberto": value, "nValLiquido": value},
    }


METHODS: Final[Mapping[str, Handler]] = {"ListarMovimentos": Handler(listar_movimentos, write=False)}

# ---------------------------------------------------------------------------------------- pesquisartitulos


def pesquisar_lancamentos(call: Call, param: Json) -> Rendered:
    app = call.app
    wanted = _title_filter(call, param)

    def search() -> list[Title]:
        return [title for title in app.titles.values() if wanted(title)]

    titles: list[Title] = app.found(("pesquisa", call.today, _question(param)), search)
    return one_page(
        param,
        MODERN,
        "titulosEncontrados",
        titles,
        lambda title: dumps(_found(call, title)),
        largest=call.switches.largest_page,
    )


def _found(call: Call, title: Title) -> Json:
    head = {
        tag: value
        for tag, value in _details(call, title).items()
        if tag not in ("dDtInc", "cHrInc", "dDtAlt", "cHrAlt")
    }
    head["cCPFCNPJCliente"] = _document_of(call.app)(title.nCodCli)
    lines = [
        {
            "nCodLanc": receipt.codigo_baixa,
            "cCodIntLanc": receipt.codigo_baixa_integracao,
            "cNatureza": "R",
            "cObsLanc": receipt.note,
            "dDtLanc": br(receipt.day),
            "nCodCC": receipt.account,
            "nDesconto": receipt.discount / 100,
            "nJuros": receipt.interest / 100,
            "nMulta": receipt.fine / 100,
            "nValLanc": (receipt.paid + receipt.interest + receipt.fine) / 100,
        }
        for receipt in title.receipts
    ]
    return {"cabecTitulo": head, "lancamentos": lines, "resumo": receivables.summary(title)}


SEARCH_METHODS: Final[Mapping[str, Handler]] = {"PesquisarLancamentos": Handler(pesquisar_lancamentos, write=False)}
