"""Looks at Omie's lists, and what each tells of everything the probe did before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from billing.domain.month import SAO_PAULO
from billing.omie.client import omie_date
from ops.probe.lags import Span
from ops.probe.things import MARK

if TYPE_CHECKING:
    from ops.probe.caller import Reply
    from ops.probe.field import Field

Json = dict[str, Any]

WORDINGS: Final = 50
"""Page sizes from 100 down by which a list is asked anew without being the same question within a minute."""
REFUSED_NOTE: Final = ("R", "003")
"""cStatusNFSe, or the status of the RPS, of a note that the city refused."""


def look_contracts(field: Field) -> bool:
    """List the customer's new contracts; False when the list was not answered.

    Until one of them was seen the account's newest are listed: an empty list is an error that counts.
    """
    today = field.maker.today
    param = {**_page(field, "ListarContratos", "pagina", "registros_por_pagina"), "cExibirInfoCadastro": "S"}
    if field.by_customer:
        param |= {
            "filtrar_cliente": field.maker.nCodCli,
            "filtrar_por_data_de": omie_date(today - timedelta(days=1)),
            "filtrar_por_data_ate": omie_date(today + timedelta(days=1)),
            "filtrar_apenas_inclusao": "S",
        }
    else:
        param["ordem_descrescente"] = "S"
    reply = field.caller.read("ListarContratos", param)
    rows = reply.rows("contratoCadastro")
    if rows is None:
        return False
    field.empty, field.contracts = not rows, {}
    for row in rows:
        code, number = str(row["cabecalho"].get("cCodIntCtr") or ""), int(row["cabecalho"]["nCodCtr"])
        if code.startswith(MARK):
            field.listed[number] = row
        if code.startswith(f"{MARK}{field.maker.run}"):
            field.numbers.setdefault(code, number)
        if field.numbers.get(code, number) == number:  # another may carry the same code
            field.contracts[code] = row
    field.by_customer = field.by_customer or any(code in field.contracts for code in field.seen.created)
    for code, one in field.seen.created.items():
        one.look(reply.sent, reply.answered, shows=code in field.contracts)
    for code, row in field.contracts.items():
        look_altered(field, code, row, reply)
    return True


def look_altered(field: Field, code: str, cadastro: Json, reply: Reply) -> None:
    """Note whether a contract, as that reply shows it, is already as its last alteration wanted it."""
    if code in field.seen.altered:
        shows = cadastro["cabecalho"].get("dVigFinal") == field.wanted[code]
        field.seen.altered[code].look(reply.sent, reply.answered, shows=shows)


def look_orders(field: Field) -> bool:
    """List the customer's new orders; False when the list was not answered."""
    reply = field.caller.read("ListarOS", orders_param(field))
    rows = reply.rows("osCadastro")
    if rows is None:
        return False
    field.seen.orders = {int(row["Cabecalho"]["nCodOS"]): row for row in rows}
    for each in field.seen.billed:
        if each.nCodOS not in field.settled:
            row = field.seen.orders.get(each.nCodOS)
            shows = row is not None and (row.get("InfoCadastro") or {}).get("cFaturada") != "N"
            each.in_orders.look(reply.sent, reply.answered, shows=shows)
    return True


def orders_param(field: Field) -> Json:
    today = field.maker.today
    return {
        **_page(field, "ListarOS", "pagina", "registros_por_pagina"),
        "filtrar_por_cliente": field.maker.nCodCli,
        "filtrar_por_data_de": omie_date(today - timedelta(days=1)),
        "filtrar_por_data_ate": omie_date(today + timedelta(days=1)),
        "filtrar_apenas_inclusao": "S",
    }


def look_stage(field: Field, cEtapa: str) -> frozenset[int] | None:
    """The contracts in a stage, asked for at most once a minute; None when it was not answered."""
    reply = field.caller.read("ObterContratos", {"cEtapa": cEtapa})
    rows = reply.rows("listaContratos")
    if rows is None:
        return None
    shown = frozenset(int(row["nCodCtr"]) for row in rows)
    field.stages[cEtapa] = (reply.sent, shown)
    for each in field.seen.billed:
        if not each.first or each.nCodOS in field.settled or each.code in field.billed_again:
            continue
        number = field.numbers[each.code]
        if cEtapa == "30":
            each.in_stages.look(reply.sent, reply.answered, shows=number in shown)
        elif each.code in field.in_20:
            each.in_stages.look(reply.sent, reply.answered, shows=number not in shown)
    return shown


def look_notes(field: Field) -> None:
    """The notes of the customer's orders: issued, refused or not yet there."""
    today = field.maker.today
    param = {
        **_page(field, "ListarNFSEs", "nPagina", "nRegPorPagina"),
        "nCodigoCliente": field.maker.nCodCli,
        "dEmiInicial": omie_date(today - timedelta(days=1)),
        "dEmiFinal": omie_date(today + timedelta(days=1)),
    }
    reply = field.caller.read("ListarNFSEs", param)
    rows = reply.rows("nfseEncontradas")
    if rows is None:
        return
    notes = {int(row["OrdemServico"]["nCodigoOS"]): row for row in rows}
    for each in field.seen.billed:
        if each.nCodOS not in field.settled:
            row = notes.get(each.nCodOS) or {}
            letter = (row.get("Cabecalho") or {}).get("cStatusNFSe")
            refused = {letter, (row.get("RPS") or {}).get("cStatusRPS")} & set(REFUSED_NOTE)
            each.refused = each.refused or bool(refused)
            each.note.look(reply.sent, reply.answered, shows=letter == "F")


def look_titles(field: Field) -> None:
    """The customer's titles, and whether each has its boleto."""
    today = field.maker.today
    param = {
        **_page(field, "ListarContasReceber", "pagina", "registros_por_pagina"),
        "filtrar_cliente": field.maker.nCodCli,
        "filtrar_por_emissao_de": omie_date(today - timedelta(days=1)),
        "filtrar_por_emissao_ate": omie_date(today + timedelta(days=1)),
    }
    reply = field.caller.read("ListarContasReceber", param)
    rows = reply.rows("conta_receber_cadastro")
    if rows is None:
        return
    titles = {int(row.get("nCodOS") or 0): row for row in rows}
    for each in field.seen.billed:
        if each.nCodOS not in field.settled:
            row = titles.get(each.nCodOS) or {}
            each.nCodTitulo = each.nCodTitulo or int(row.get("codigo_lancamento_omie") or 0)
            each.title.look(reply.sent, reply.answered, shows=bool(row))
            made = (row.get("boleto") or {}).get("cGerado") == "S"
            each.boleto.look(reply.sent, reply.answered, shows=made)
            if each.title.seen and not made:
                age = reply.sent - each.title.sent - each.title.span.high
                field.seen.title_age = max(field.seen.title_age, age)


def note_hour(field: Field, code: str, alteration: Reply) -> None:
    """Omie's own clock, by the hour of an alteration whose call is known, once the contract shows it."""
    day, hour = changed(field.contracts.get(code) or {})
    if day and hour:
        moment = datetime.strptime(f"{day} {hour}", "%d/%m/%Y %H:%M:%S").replace(tzinfo=SAO_PAULO)
        at = moment.astimezone(UTC).timestamp()
        field.seen.hours.append(Span(at - alteration.answered, at + 1 - alteration.sent))


def _page(field: Field, method: str, page: str, size: str) -> Json:
    """Page 1 in a size that was not asked for lately."""
    field.asked[method] += 1
    return {page: 1, size: 100 - field.asked[method] % WORDINGS}


def changed(cadastro: Json) -> tuple[str, str]:
    """dAlt and hAlt of a contract."""
    info = cadastro.get("infoCadastro") or {}
    return str(info.get("dAlt") or ""), str(info.get("hAlt") or "")
