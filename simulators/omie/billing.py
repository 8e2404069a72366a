"""/servicos/contratofat/, contratolote/ and contratotpfat/: stages of a contract, and what billing one does."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from simulators.omie import contracts, invoices
from simulators.omie.answers import Json, OmieFault, Rendered, dumps, invalid, refused, required, unknown
from simulators.omie.book import Billing
from simulators.omie.dates import br, clamped, day_of, hour_of, month_of, next_month, read_br
from simulators.omie.paging import CLASSIC, LOT, one_page
from simulators.omie.state import App, Call, Contract, Handler, Line, Lot, Order, Sim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATH: Final = "/servicos/contratofat/"
LOT_PATH: Final = "/servicos/contratolote/"
TYPES_PATH: Final = "/servicos/contratotpfat/"

STAGES: Final = ("10", "20", "30", "40")
RENEWAL: Final = timedelta(days=90)

# ------------------------------------------------------------------------------------------------- the stages


def in_stage_20(contract: Contract, today: date, month: int) -> bool:
    """`Faturar hoje`: due, and not yet billed this month."""
    return contract.billed_month != month and is_due(contract, today)


def is_due(contract: Contract, today: date) -> bool:
    """Active, due up to today, in vigência and in one of its own months."""
    if contract.cCodSit != "10":
        return False
    if (contract.start is not None and contract.start > today) or (contract.end is not None and contract.end < today):
        return False
    if contract.nDiaFat > today.day and contract.nDiaFat > 28:
        if clamped(today.year, today.month, contract.nDiaFat) > today:
            return False
    elif contract.nDiaFat > today.day:
        return False
    if contract.months == 1 or contract.start is None:
        return True
    return ((today.year - contract.start.year) * 12 + today.month - contract.start.month) % contract.months == 0


def stages_day(now: float, turn_late: float) -> date:
    """The day that the stages go by: last month's last one until Omie has turned them to the new month."""
    today, behind = day_of(now), day_of(now - turn_late)
    return today if (today.year, today.month) == (behind.year, behind.month) else today.replace(day=1) - timedelta(1)


def stage(app: App, cEtapa: str, now: float, turn_late: float = 0.0) -> list[Contract]:
    today = stages_day(now, turn_late)
    months = {month_of(today), month_of(day_of(now))}
    billed = {number for month in months for number, since in app.billed_in.get(month, {}).items() if since <= now}
    if cEtapa == "30":
        shown = [number for month in sorted(months) for number in app.billed_in.get(month, {}) if number in billed]
        return [app.contracts[number] for number in dict.fromkeys(shown)]
    if cEtapa == "20":
        seen = [contract.seen(now) for contract in app.contract_list]
        return [one for one in seen if one is not None and one.nCodCtr not in billed and is_due(one, today)]
    if cEtapa == "40":
        limit = today + RENEWAL
        return [
            contract
            for contract in app.contract_list
            if contract.cCodSit == "10" and contract.end is not None and contract.end <= limit
        ]
    return app.contract_list


def due_date(contract_terms: Json, today: date) -> date:
    """vencTextos: 001 = days after billing, 002 = a fixed day of this or the next month."""
    if contract_terms.get("cTpVenc") == "002":
        fixed = int(contract_terms.get("nDiaFixo") or today.day)
        due = clamped(today.year, today.month, fixed)
        if contract_terms.get("cProxMes") == "S" or due < today:
            following = next_month(today)
            due = clamped(following.year, following.month, fixed)
    else:
        due = today + timedelta(days=int(contract_terms.get("nDias") or 0))
    if due.weekday() >= 5:
        if contract_terms.get("cPostergar") == "S":
            due += timedelta(days=7 - due.weekday())
        elif contract_terms.get("cAntecipar") == "S":
            due -= timedelta(days=due.weekday() - 4)
    return due


# ---------------------------------------------------------------------------------------------- billing one


def bill(sim: Sim, app: App, contract: Contract, now: float, by: str) -> Order:
    """Bill the current month, whatever was meant: there is no month and no key in Omie's call.

    Raises:
        OmieFault: 101 when the contract cannot be billed.
    """
    today = day_of(now)
    month = month_of(today)
    _check_billable(sim, app, contract, today)
    cadastro = contract.cadastro()
    lines = tuple(_lines(cadastro, today))
    total = sum(line.total for line in lines)
    if total <= 0:
        raise refused(f"O valor total do contrato [{contract.cNumCtr}] deve ser maior que zero!")
    order = invoices.new_order(
        sim,
        app,
        now,
        nCodCli=contract.nCodCli,
        lines=lines,
        due=((due_date(cadastro.get("vencTextos") or {}, today), total),),
        more=cadastro.get("infAdic") or {},
        email=_email(cadastro.get("emailCliente") or {}),
        origin="CTR",
    )
    order.nCodCtr, order.cNumCtr = contract.nCodCtr, contract.cNumCtr
    contract.billed_month = month
    in_stages, in_orders = sim.list_lags()
    app.billed_in.setdefault(month, {})[contract.nCodCtr] = now + in_stages
    order.listed_at = now + in_orders
    app.lagging_until = max(app.lagging_until, order.listed_at)
    if sim.switches.once_only_after_billing == "removed":
        contracts.keep_after_billing(app, contract, cadastro, now)
    sim.book.billed(
        Billing(
            app.company,
            contract.nCodCtr,
            contract.cCodIntCtr,
            f"{month // 100}-{month % 100:02}",
            order.nCodOS,
            total,
            now,
            by,
        )
    )
    invoices.bill_order(sim, app, order, now)
    contracts.announce(sim, app, contract, "Faturado", now)
    return order


def _check_billable(sim: Sim, app: App, contract: Contract, today: date) -> None:
    name = contract.cNumCtr
    if contract.cCodSit != "10":
        situation = contracts.SITUATIONS[contract.cCodSit]
        raise refused(f"O contrato [{name}] está com a situação [{situation}] e não pode ser faturado!")
    month = month_of(today)
    if contract.billed_month == month:
        if sim.switches.second_billing == "refuse":
            raise refused(f"O contrato [{name}] já foi faturado neste mês!")
    elif sim.switches.bill_outside_stage_20 == "refuse" and not in_stage_20(contract, today, month):
        raise refused(f"O contrato [{name}] não está disponível para faturamento hoje!")
    if '"bloquear_faturamento":"S"' in app.customers.get(contract.nCodCli, ""):
        raise refused(f"O cliente do contrato [{name}] está com o faturamento bloqueado!")


def _lines(cadastro: Json, today: date) -> Iterator[Line]:
    for item in cadastro.get("itensContrato") or []:
        if not contracts.item_counts(item, today):
            continue
        head = item["itemCabecalho"]
        yield Line(
            nIdItem=int(head.get("codItem") or 0),
            nCodServico=int(head.get("codServico") or 0),
            description=(item.get("itemDescrServ") or {}).get("descrCompleta") or "",
            quantity=head.get("quant") or 0,
            unit=head.get("valorUnit") or 0,
            discount=contracts.item_discount(head),
            addition=contracts.centavos(head.get("valorAcrescimo") or 0),
            total=contracts.item_total(head),
            reimbursement=False,
            no_receivable=head.get("cNaoGerarFinanceiro") == "S",
            lc116=str(head.get("codLC116") or ""),
            municipal=str(head.get("codServMunic") or ""),
            aliqISS=(item.get("itemImpostos") or {}).get("aliqISS") or 0,
            category=str(head.get("cCodCategItem") or ""),
        )
    expenses = cadastro.get("despesasReembolsaveis") or {}
    for expense in expenses.get("despesaReembolsavel") or []:
        amount = expense.get("nValorReemb") or 0
        yield Line(
            nIdItem=int(expense.get("nCodReemb") or 0),
            nCodServico=0,
            description=expense.get("cDescReemb") or "Despesas reembolsaveis",
            quantity=1,
            unit=amount,
            discount=0,
            addition=0,
            total=contracts.centavos(amount),
            reimbursement=True,
            no_receivable=False,
            lc116="",
            municipal="",
            aliqISS=0,
            category=str(expenses.get("cCodCategReemb") or ""),
        )


def _email(flags: Json) -> Json:
    return {
        "cEnvRecibo": flags.get("cEnviarRecibo") or "N",
        "cEnvLink": flags.get("cEnviarLinkNfse") or "N",
        "cEnvBoleto": flags.get("cEnviarBoleto") or "N",
        "cEnvPix": flags.get("cEnviarPix") or "N",
        "cEnvViaUnica": flags.get("cEnvViaUnica") or "N",
        "cEnviarPara": flags.get("cUtilizarEmails") or "",
    }


# ------------------------------------------------------------------------------------------- contratofat


def faturar_contrato(call: Call, param: Json) -> Json:
    contract = contracts.find(call.app, param)
    order = bill(call.sim, call.app, contract, call.now, "api")
    return {
        "nCodCtr": contract.nCodCtr,
        "nCodOS": order.nCodOS,
        "cCodStatus": "0",
        "cDescStatus": "Contrato faturado com sucesso!",
    }


def validar_contrato(call: Call, param: Json) -> Json:
    """Soft: HTTP 200, cCodStatus 1 and a reason."""
    contract = contracts.find(call.app, param)
    try:
        _check_billable(call.sim, call.app, contract, call.today)
    except OmieFault as fault:
        return _status(contract, "1", fault.text.removeprefix("ERROR: "))
    flags = contract.cadastro().get("emailCliente") or {}
    wants_mail = "S" in (flags.get("cEnviarBoleto"), flags.get("cEnviarLinkNfse"), flags.get("cEnviarRecibo"))
    if wants_mail and not flags.get("cUtilizarEmails"):
        customer = call.app.customer(contract.nCodCli)
        if not (customer.get("email") or (customer.get("recomendacoes") or {}).get("email_fatura")):
            return _status(contract, "1", "Para emitir falta preencher o E-mail.")
    return _status(contract, "0", "Contrato validado com sucesso!")


def obter_contratos(call: Call, param: Json) -> Rendered:
    cEtapa = param.get("cEtapa") or ""
    if not cEtapa:
        raise required("cEtapa")
    if cEtapa not in STAGES:
        raise invalid("cEtapa", cEtapa, ", ".join(STAGES))
    rows = ",".join(
        [
            f'{{"cNumCtr":{dumps(c.cNumCtr)},"nCodCtr":{c.nCodCtr}}}'
            for c in stage(call.app, cEtapa, call.now, call.switches.turn_late)
        ]
    )
    return Rendered(f'{{"cEtapa":"{cEtapa}","listaContratos":[{rows}]}}')


def _situation_change(call: Call, param: Json, sources: tuple[str, ...], target: str, topic: str) -> Json:
    contract = contracts.find(call.app, param)
    name = contracts.SITUATIONS[contract.cCodSit]
    repeated = contract.cCodSit == target
    if repeated and call.switches.repeat_status_change == "refuse":
        raise refused(f"O contrato [{contract.cNumCtr}] já está com a situação [{name}]!")
    if not repeated and contract.cCodSit not in sources:
        raise refused(f"Operação não permitida: o contrato [{contract.cNumCtr}] está com a situação [{name}]!")
    if not repeated:
        contracts.set_situation(call.app, contract, target, call.now)
        contracts.announce(call.sim, call.app, contract, topic, call.now)
    return _status(contract, "0", f"Contrato {topic.lower()} com sucesso!")


def ativar_contrato(call: Call, param: Json) -> Json:
    return _situation_change(call, param, ("00", "90"), "10", "Ativado")


def reativar_contrato(call: Call, param: Json) -> Json:
    return _situation_change(call, param, ("90", "99"), "10", "Ativado")


def suspender_contrato(call: Call, param: Json) -> Json:
    return _situation_change(call, param, ("10",), "90", "Suspenso")


def cancelar_contrato(call: Call, param: Json) -> Json:
    return _situation_change(call, param, ("00", "10", "90"), "99", "Cancelado")


def _status(contract: Contract, code: str, text: str) -> Json:
    return {"nCodCtr": contract.nCodCtr, "cCodStatus": code, "cDescStatus": text}


METHODS: Final[Mapping[str, Handler]] = {
    "FaturarContrato": Handler(faturar_contrato, write=True),
    "ValidarContrato": Handler(validar_contrato, write=False),
    "ObterContratos": Handler(obter_contratos, write=False),
    "AtivarContrato": Handler(ativar_contrato, write=True),
    "ReativarContrato": Handler(reativar_contrato, write=True),
    "SuspenderContrato": Handler(suspender_contrato, write=True),
    "CancelarContrato": Handler(cancelar_contrato, write=True),
}

# ------------------------------------------------------------------------------------------- contratolote


def faturar_lote_contrato(call: Call, param: Json) -> Json:
    """Bills every contract in stage 20, in the background; an integration code makes it no more idempotent."""
    del param
    return start_lot(call, _to_bill(call.app, call.now), of_contracts=True)


def _to_bill(app: App, now: float) -> list[int]:
    month = month_of(day_of(now))
    return [contract.nCodCtr for contract in app.contract_list if in_stage_20(contract, day_of(now), month)]


def bill_all(sim: Sim, app: App, now: float, origin: str) -> Lot:
    """The lot that Omie's own schedule (SCH) or a person's "Faturar Todos" (MAN) makes."""
    lot = Lot(app.new_id(), True, _to_bill(app, now), now, now, origin=origin)
    return _begin(sim, app, lot)


def _begin(sim: Sim, app: App, lot: Lot) -> Lot:
    app.lots[lot.nIdLoteFat] = lot
    sim.later(lot.started + 1.0, partial(_work, sim, app, lot))
    return lot


def start_lot(call: Call, members: list[int], *, of_contracts: bool) -> Json:
    lot = _begin(call.sim, call.app, Lot(call.app.new_id(), of_contracts, members, call.now, call.now))
    return {
        "nQtdeFat": len(members),
        "nIdLoteFat": lot.nIdLoteFat,
        "cCodStatus": "0",
        "cDesStatus": "Lote de faturamento incluído com sucesso!",
    }


def _work(sim: Sim, app: App, lot: Lot, now: float) -> None:
    """One second of a lot."""
    for number in lot.members[lot.done : lot.done + max(1, sim.switches.lot_per_second)]:
        lot.details.append(_bill_member(sim, app, lot, number, now))
        lot.done += 1
    lot.updated = now
    if lot.status == "RUNNING":
        sim.later(now + 1.0, partial(_work, sim, app, lot))


def _bill_member(sim: Sim, app: App, lot: Lot, number: int, now: float) -> Json:
    detail: Json = {"nIdPedido": 0, "cStatus": "DONE", "cMensagem": "Faturado com sucesso!"}
    try:
        if lot.of_contracts:
            detail["nIdContrato"] = number
            contract = app.contracts[number]
            if contract.billed_month == month_of(day_of(now)):
                raise refused(f"O contrato [{contract.cNumCtr}] já foi faturado neste mês!")
            detail["nIdPedido"] = bill(sim, app, contract, now, "lote").nCodOS
        else:
            detail["nIdPedido"] = number
            invoices.bill_order(sim, app, app.orders[number], now)
    except OmieFault as fault:
        detail.update(cStatus="ERROR", cMensagem=fault.text.removeprefix("ERROR: ")[:500])
    return detail


def status_lote(call: Call, param: Json) -> Json:
    return _lot_head(find_lot(call.app, param, of_contracts=call.method == "StatusLoteContrato"))


def listar_lotes(call: Call, param: Json) -> Rendered:
    of_contracts = call.method == "ListarLotesContrato"
    lots = [lot for lot in call.app.lots.values() if lot.of_contracts == of_contracts]
    if wanted := int(param.get("nIdLoteFat") or 0):
        lots = [lot for lot in lots if lot.nIdLoteFat == wanted]
    start, end = read_br(param.get("dDtIncDe") or ""), read_br(param.get("dDtIncAte") or "")
    lots = [
        lot
        for lot in lots
        if (start is None or start <= day_of(lot.started)) and (end is None or day_of(lot.started) <= end)
    ]
    rows: list[Json] = []
    for lot in lots:
        head = _lot_head(lot)
        if param.get("cExibirDetalhes") != "S":
            rows.append(head)
        elif call.switches.lot_details == "list":
            rows.append({**head, "detalhes": lot.details})
        else:
            rows += [{**head, "detalhes": detail} for detail in lot.details] or [{**head, "detalhes": {}}]
    return one_page(param, LOT, "lotes", rows, dumps, largest=call.switches.largest_page)


def find_lot(app: App, param: Json, *, of_contracts: bool) -> Lot:
    number = int(param.get("nIdLoteFat") or 0)
    if not number:
        raise required("nIdLoteFat")
    lot = app.lots.get(number)
    if lot is None or lot.of_contracts != of_contracts:
        raise unknown("Lote de faturamento", number, code=103)
    return lot


def _lot_head(lot: Lot) -> Json:
    started, updated = day_of(lot.started), day_of(lot.updated)
    done = lot.status == "DONE"
    return {
        "nIdLoteFat": lot.nIdLoteFat,
        "nQtdeTotal": len(lot.members),
        "nQtdeProcessadas": lot.done,
        "cOrigem": lot.origin,
        "cStatus": lot.status,
        "dInicioProc": br(started),
        "hInicioProc": hour_of(lot.started),
        "dUltimaAtual": br(updated),
        "hUltimaAtual": hour_of(lot.updated),
        "dConclusaoProc": br(updated) if done else "",
        "hConclusaoProc": hour_of(lot.updated) if done else "",
    }


LOT_METHODS: Final[Mapping[str, Handler]] = {
    "FaturarLoteContrato": Handler(faturar_lote_contrato, write=True),
    "StatusLoteContrato": Handler(status_lote, write=False),
    "ListarLotesContrato": Handler(listar_lotes, write=False),
}

# ------------------------------------------------------------------------------------------ contratotpfat


def listar_tipo_fat_contrato(call: Call, param: Json) -> Rendered:
    rows = [{"cCodigo": code, "cDescricao": name} for code, (name, _) in contracts.BILLING_TYPES.items()]
    return one_page(param, CLASSIC, "cadastros", rows, dumps, largest=call.switches.largest_page)


TYPES_METHODS: Final[Mapping[str, Handler]] = {
    "ListarTipoFatContrato": Handler(listar_tipo_fat_contrato, write=False),
}
