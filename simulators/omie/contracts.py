"""/servicos/contrato/: the register of service contracts."""

from __future__ import annotations

import copy
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

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
from simulators.omie.dates import br, day_of, hour_of, read_br
from simulators.omie.paging import CLASSIC, one_page
from simulators.omie.state import App, Call, Contract, Handler, digits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

PATH: Final = "/servicos/contrato/"

SITUATIONS: Final[Mapping[str, str]] = {"00": "Em Elaboração", "10": "Ativo", "90": "Suspenso", "99": "Cancelado"}
BILLING_TYPES: Final[Mapping[str, tuple[str, int]]] = {
    "01": ("Mensal", 1),
    "02": ("Bimestral", 2),
    "03": ("Trimestral", 3),
    "06": ("Semestral", 6),
    "12": ("Anual", 12),
}
NEXT_BILLING_ONLY: Final = 3
"""nTipoItVigFinal: "Apenas para o próximo faturamento"."""
_EXACT: Final = 1e-6
BLOCKS: Final = ("cabecalho", "emailCliente", "infAdic", "observacoes", "vencTextos")
EMPTY_EXPENSES: Final[Json] = {"cCodCategReemb": "", "despesaReembolsavel": []}

# ------------------------------------------------------------------------------------------------------ money


def centavos(reais: float) -> int:
    """Reais as JSON has them, to centavos; halves go up."""
    cents = reais * 100
    nearest = round(cents)
    if abs(cents - nearest) < _EXACT:
        return nearest
    return _whole(Decimal(str(reais)) * 100)


def item_discount(head: Json) -> int:
    if head.get("cTpDesconto") == "P":
        percent = Decimal(str(head.get("aliqDesconto") or 0))
        return _whole(_gross(head) * percent)
    return centavos(head.get("valorDesconto") or 0)


def item_total(head: Json) -> int:
    """Centavos of one itemCabecalho: quantity x unit - discount + addition."""
    quantity, unit = head.get("quant") or 0, head.get("valorUnit") or 0
    gross = centavos(unit) if quantity == 1 else _whole(_gross(head) * 100)
    return gross - item_discount(head) + centavos(head.get("valorAcrescimo") or 0)


def _whole(cents: Decimal) -> int:
    return int(cents.quantize(Decimal(1), ROUND_HALF_UP))


def _gross(head: Json) -> Decimal:
    return Decimal(str(head.get("quant") or 0)) * Decimal(str(head.get("valorUnit") or 0))


def item_counts(item: Json, today: date) -> bool:
    """Is the item inside its own vigência? (types 2 and 3 follow the contract and the next billing)"""
    more = item.get("itemOutrasInf") or {}
    if int(more.get("nTipoItVigFinal") or 2) != 1:
        return True
    start, end = read_br(more.get("dItVigInicial") or ""), read_br(more.get("dItVigFinal") or "")
    return (start is None or start <= today) and (end is None or today <= end)


# --------------------------------------------------------------------------------------------- keeping them


def load(app: App, cadastro: Json, now: float) -> Contract:
    """Put an existing contract in, as the world gives it (complete, with its ids)."""
    for item in cadastro.get("itensContrato") or []:
        head = item["itemCabecalho"]
        app.last_id = max(app.last_id, int(head.get("codItem") or 0))
    contract = _keep(app, dict(cadastro), None, now)
    app.last_contract_number += 1
    return contract


def keep(app: App, cadastro: Json, old: Contract | None, now: float, lag: float = 0.0) -> Contract:
    """Calculate what Omie calculates and (re)index; reads show the contract as it was for `lag` seconds more."""
    seen = copy.copy(old.seen(now)) if old is not None else None
    contract = _keep(app, cadastro, old, now)
    if lag:
        contract.before, contract.shown_at = seen, now + lag
        app.lagging_until = max(app.lagging_until, contract.shown_at)
    return contract


def _keep(app: App, cadastro: Json, old: Contract | None, now: float) -> Contract:
    info = cadastro.pop("infoCadastro", None) or {}
    notes = (cadastro.pop("observacoes", None) or {}).get("cObsContrato") or ""
    head = cadastro["cabecalho"]
    total = 0
    for item in cadastro.get("itensContrato") or []:
        amount = item_total(item["itemCabecalho"])
        item["itemCabecalho"]["valorTotal"] = amount / 100
        total += amount
    head["nValTotMes"] = total / 100
    new = Contract(
        nCodCtr=int(head["nCodCtr"]),
        cCodIntCtr=str(head.get("cCodIntCtr") or "").strip(),
        cNumCtr=str(head.get("cNumCtr") or ""),
        cCodSit=str(head.get("cCodSit") or "10"),
        nCodCli=int(head["nCodCli"]),
        nDiaFat=int(head.get("nDiaFat") or 1),
        months=BILLING_TYPES.get(str(head.get("cTipoFat") or "01"), ("", 1))[1],
        start=read_br(head.get("dVigInicial") or ""),
        end=read_br(head.get("dVigFinal") or ""),
        total=total,
        text=dumps(cadastro),
        notes=notes,
        included=old.included if old else now,
        altered=now,
        billed_month=old.billed_month if old else 0,
        by_api=old.by_api if old else info.get("cImpAPI", "S") == "S",
    )
    app.last_id = max(app.last_id, new.nCodCtr)
    if old is None:
        app.contracts[new.nCodCtr] = new
        app.contract_list.append(new)
    else:
        if old.cCodIntCtr and app.contract_codes.get(old.cCodIntCtr) == old.nCodCtr:
            del app.contract_codes[old.cCodIntCtr]
        for name in Contract.__dataclass_fields__:
            setattr(old, name, getattr(new, name))
        new = old
    if new.cCodIntCtr:
        app.contract_codes.setdefault(new.cCodIntCtr, new.nCodCtr)
    app.changed()
    return new


def set_situation(app: App, contract: Contract, cCodSit: str, now: float) -> None:
    cadastro = contract.cadastro()
    cadastro["cabecalho"]["cCodSit"] = cCodSit
    _keep(app, cadastro, contract, now)


def keep_after_billing(app: App, contract: Contract, cadastro: Json, now: float) -> None:
    """Drop what was for this billing only: items of type 3 and non-recurring reimbursements."""
    items = cadastro.get("itensContrato") or []
    staying = [
        item
        for item in items
        if int((item.get("itemOutrasInf") or {}).get("nTipoItVigFinal") or 2) != NEXT_BILLING_ONLY
    ]
    expenses = (cadastro.get("despesasReembolsaveis") or {}).get("despesaReembolsavel") or []
    recurring = [expense for expense in expenses if expense.get("cRecorrenteReemb") == "S"]
    if len(staying) == len(items) and len(recurring) == len(expenses):
        return
    cadastro["itensContrato"] = staying
    if expenses:
        cadastro["despesasReembolsaveis"]["despesaReembolsavel"] = recurring
    _keep(app, cadastro, contract, now)


def find(app: App, key: Json) -> Contract:
    """By nCodCtr, else by cCodIntCtr.

    Raises:
        OmieFault: 103 when there is no such contract, 1002 when neither was given.
    """
    number, code = int(key.get("nCodCtr") or 0), str(key.get("cCodIntCtr") or "").strip()
    if number:
        contract = app.contracts.get(number)
        if contract is None:
            raise unknown("Contrato", number, code=103)
        return contract
    if code:
        known = app.contract_codes.get(code)
        if known is None:
            raise unknown("Contrato", code, code=103, by="Código de Integração")
        return app.contracts[known]
    raise required_one("nCodCtr", "cCodIntCtr")


# --------------------------------------------------------------------------------------------- the methods


def incluir_contrato(call: Call, param: Json) -> Json:
    head = dict(param.get("cabecalho") or {})
    if head.get("nCodCtr"):
        raise refused("A tag [nCodCtr] não deve ser informada na inclusão!")
    return _include(call, param)


def alterar_contrato(call: Call, param: Json) -> Json:
    return _alter(call, param, find(call.app, param.get("cabecalho") or {}))


def upsert_contrato(call: Call, param: Json) -> Json:
    head = param.get("cabecalho") or {}
    code = str(head.get("cCodIntCtr") or "").strip()
    if head.get("nCodCtr") or code in call.app.contract_codes:
        return _alter(call, param, find(call.app, head))
    return _include(call, param)


def consultar_contrato(call: Call, param: Json) -> Rendered:
    """A contract just created is shown; whether Omie's own lag hides it here, too, is not known."""
    found = find(call.app, param.get("contratoChave") or {})
    contract = found.seen(call.now) or found
    return Rendered(f'{{"contratoCadastro":{_render(contract, notes=True, audit=True)}}}')


def listar_contratos(call: Call, param: Json) -> Rendered:
    notes = param.get("cExibeObs") == "S"
    audit = param.get("cExibirInfoCadastro") == "S"
    return one_page(
        param,
        CLASSIC,
        "contratoCadastro",
        _listed(call, param),
        lambda contract: _render(contract, notes=notes, audit=audit),
        largest=call.switches.largest_page,
    )


def excluir_item(call: Call, param: Json) -> Json:
    contract = find(call.app, param.get("contratoChave") or {})
    cadastro = contract.cadastro()
    items = cadastro["itensContrato"]
    for key in param.get("ItensExclusao") or []:
        found = _same_item(items, key)
        if found is None:
            raise refused(f"Item [{key.get('codItem') or key.get('codIntItem') or ''}] não cadastrado para o contrato!")
        items.remove(found)
    if not items:
        raise refused("O contrato deve possuir ao menos um item!")
    keep(call.app, cadastro, contract, call.now, call.sim.record_lag())
    return _status(contract, "Item(ns) do contrato excluído(s) com sucesso!")


METHODS: Final[Mapping[str, Handler]] = {
    "IncluirContrato": Handler(incluir_contrato, write=True),
    "AlterarContrato": Handler(alterar_contrato, write=True),
    "UpsertContrato": Handler(upsert_contrato, write=True),
    "ConsultarContrato": Handler(consultar_contrato, write=False),
    "ListarContratos": Handler(listar_contratos, write=False),
    "ExcluirItem": Handler(excluir_item, write=True),
}

# ----------------------------------------------------------------------------------------------------- inside


def _include(call: Call, param: Json) -> Json:
    app = call.app
    cadastro: Json = {name: dict(param.get(name) or {}) for name in BLOCKS}
    cadastro["departamentos"] = list(param.get("departamentos") or [])
    cadastro["itensContrato"] = [_new_item(app, item) for item in param.get("itensContrato") or []]
    cadastro["despesasReembolsaveis"] = _expenses(app, dict(EMPTY_EXPENSES), param.get("despesasReembolsaveis"))
    head = cadastro["cabecalho"]
    code = str(head.get("cCodIntCtr") or "").strip()
    if code in app.contract_codes and call.switches.duplicate_integration_code == "refuse":
        raise duplicate("Contrato", code, app.contract_codes[code])
    head.setdefault("cCodSit", "10")
    head.setdefault("cTipoFat", "01")
    _validate(app, cadastro)
    head["nCodCtr"] = app.new_id()
    app.last_contract_number += 1
    if not str(head.get("cNumCtr") or "").strip():
        head["cNumCtr"] = f"{call.today.year}/{app.last_contract_number:05}"
    contract = keep(app, cadastro, None, call.now, call.sim.record_lag())
    _announce(call, contract, "Incluido")
    return _status(contract, "Contrato cadastrado com sucesso!")


def _alter(call: Call, param: Json, contract: Contract) -> Json:
    app = call.app
    cadastro = contract.cadastro()
    for name in BLOCKS:
        cadastro.setdefault(name, {}).update(param.get(name) or {})
    head = cadastro["cabecalho"]
    head["nCodCtr"] = contract.nCodCtr
    owner = app.contract_codes.get(str(head.get("cCodIntCtr") or "").strip(), contract.nCodCtr)
    if owner != contract.nCodCtr:
        raise duplicate("Contrato", str(head["cCodIntCtr"]), owner)
    if param.get("departamentos"):
        cadastro["departamentos"] = list(param["departamentos"])
    if sent := param.get("itensContrato"):
        replaces = call.switches.items_on_alter == "replace"
        cadastro["itensContrato"] = _merged(app, cadastro["itensContrato"], sent, replaces=replaces)
    known = cadastro.get("despesasReembolsaveis") or dict(EMPTY_EXPENSES)
    replaces = call.switches.expenses_on_alter == "replace"
    cadastro["despesasReembolsaveis"] = _expenses(app, known, param.get("despesasReembolsaveis"), replaces=replaces)
    _validate(app, cadastro)
    revived = contract.cCodSit in {"90", "99"} and head["cCodSit"] == "10"
    if revived:
        call.sim.book.revived.append((app.company, contract.nCodCtr, contract.altered, call.now))
    keep(app, cadastro, contract, call.now, call.sim.record_lag())
    _announce(call, contract, "Alterado")
    return _status(contract, "Contrato alterado com sucesso!")


def _merged(app: App, known: list[Json], sent: list[Json], *, replaces: bool) -> list[Json]:
    """Sent items over the known ones with the same codItem or codIntItem; the rest stays, or goes."""
    result = [] if replaces else list(known)
    for item in sent:
        old = _same_item(known, item.get("itemCabecalho") or {})
        if old is None:
            result.append(_new_item(app, item, seq=len(result) + 1))
            continue
        new = dict(old)
        for block, fields in item.items():
            new[block] = {**(old.get(block) or {}), **(fields or {})}
        new["itemCabecalho"]["codItem"] = old["itemCabecalho"]["codItem"]
        if replaces:
            result.append(new)
        else:
            result[result.index(old)] = new
    return result


def _same_item(items: list[Json], key: Json) -> Json | None:
    for tag in ("codItem", "codIntItem"):
        wanted = key.get(tag)
        if wanted:
            for item in items:
                if item["itemCabecalho"].get(tag) == wanted:
                    return item
    return None


def _new_item(app: App, item: Json, seq: int = 0) -> Json:
    new = {block: dict(fields or {}) for block, fields in item.items()}
    head = new.setdefault("itemCabecalho", {})
    head["codItem"] = app.new_id()
    if seq:
        head["seq"] = seq
    service = app.services.get(int(head.get("codServico") or 0))
    if service is not None:
        register = service["cabecalho"]
        for tag, from_register in (
            ("natOperacao", "cIdTrib"),
            ("codServMunic", "cCodServMun"),
            ("codLC116", "cCodLC116"),
            ("valorUnit", "nPrecoUnit"),
        ):
            if head.get(tag) in (None, ""):
                head[tag] = register.get(from_register, "")
        if not (new.get("itemDescrServ") or {}).get("descrCompleta"):
            new["itemDescrServ"] = {"descrCompleta": service["descricao"]["cDescrCompleta"]}
    head.setdefault("quant", 1)
    return new


def _expenses(app: App, known: Json, sent: Json | None, *, replaces: bool = False) -> Json:
    """despesasReembolsaveis after a write; cAcaoReemb I (default), A or E. What is not sent stays, or goes."""
    if not sent:
        return known
    rows = list(known.get("despesaReembolsavel") or [])
    if replaces:
        named = {int(expense.get("nCodReemb") or 0) for expense in sent.get("despesaReembolsavel") or []}
        rows = [row for row in rows if row["nCodReemb"] in named]
    for expense in sent.get("despesaReembolsavel") or []:
        row = {tag: value for tag, value in expense.items() if tag != "cAcaoReemb"}
        number = int(row.get("nCodReemb") or 0)
        action = expense.get("cAcaoReemb") or ("A" if number else "I")
        if action not in ("I", "A", "E"):
            raise invalid("cAcaoReemb", action, "I, A, E")
        if action == "I":
            rows.append({**row, "nCodReemb": app.new_id()})
            continue
        old = next((one for one in rows if one["nCodReemb"] == number), None)
        if old is None:
            raise unknown("Despesa reembolsável", number, code=101, female=True)
        rows.remove(old)
        if action == "A":
            rows.append({**old, **row})
    category = sent.get("cCodCategReemb") or known.get("cCodCategReemb") or ""
    return {"cCodCategReemb": category, "despesaReembolsavel": rows}


def _validate(app: App, cadastro: Json) -> None:
    """Refuse what would not make a contract; the whole result is looked at, not only what was sent."""
    head, more, due = cadastro["cabecalho"], cadastro["infAdic"], cadastro["vencTextos"]
    for tag in ("nCodCli", "dVigInicial", "dVigFinal", "nDiaFat"):
        if not head.get(tag):
            raise required(tag)
    if int(head["nCodCli"]) not in app.customers:
        raise unknown("Cliente", head["nCodCli"])
    _one_of(head, "cCodSit", SITUATIONS)
    _one_of(head, "cTipoFat", BILLING_TYPES)
    if not 1 <= int(head["nDiaFat"]) <= 31:
        raise invalid("nDiaFat", head["nDiaFat"], "de 1 a 31")
    start, end = read_br(head["dVigInicial"]), read_br(head["dVigFinal"])
    if start is not None and end is not None and end < start:
        raise refused("A data final da vigência não pode ser anterior à data inicial!")
    for tag in ("cCodCateg", "nCodCC"):
        if not more.get(tag):
            raise required(tag)
    if app.accounts and int(more["nCodCC"]) not in app.accounts:
        raise unknown("Conta Corrente", more["nCodCC"], female=True)
    mail = cadastro["emailCliente"]
    if mail.get("cEnviarRecibo") == "S" and mail.get("cEnviarLinkNfse") == "S":
        raise refused("As tags [cEnviarRecibo] e [cEnviarLinkNfse] não podem ser informadas juntas!")
    _one_of(due, "cTpVenc", {"001": "", "002": ""})
    if due.get("cTpVenc") == "002" and not 1 <= int(due.get("nDiaFixo") or 0) <= 31:
        raise invalid("nDiaFixo", due.get("nDiaFixo", ""), "de 1 a 31")
    if not cadastro["itensContrato"]:
        raise required("itensContrato")
    for item in cadastro["itensContrato"]:
        _validate_item(app, item)


def _validate_item(app: App, item: Json) -> None:
    head = item["itemCabecalho"]
    _one_of(head, "cTpDesconto", {"P": "", "V": ""})
    more = item.get("itemOutrasInf") or {}
    if more.get("nTipoItVigFinal") and int(more["nTipoItVigFinal"]) not in (1, 2, 3):
        raise invalid("nTipoItVigFinal", more["nTipoItVigFinal"], "1, 2, 3")
    if head.get("codServico"):
        if app.services and int(head["codServico"]) not in app.services:
            raise OmieFault(
                5002, f"ERROR: Serviço não cadastrado para o Código [{head['codServico']}] ! Tag [codServico]!"
            )
        return
    for tag in ("natOperacao", "codServMunic", "codLC116", "valorUnit", "quant"):
        if head.get(tag) in (None, "", 0):
            raise required(tag)
    if not (item.get("itemDescrServ") or {}).get("descrCompleta"):
        raise required("descrCompleta")


def _one_of(block: Json, tag: str, valid: Mapping[str, object]) -> None:
    value = block.get(tag)
    if value not in (None, "") and value not in valid:
        raise invalid(tag, value, ", ".join(valid))


def _render(contract: Contract, *, notes: bool, audit: bool) -> str:
    text = contract.text
    if notes:
        text = f'{text[:-1]},"observacoes":{dumps({"cObsContrato": contract.notes})}}}'
    if audit:
        info = {
            "cImpAPI": "S" if contract.by_api else "N",
            "dInc": br(day_of(contract.included)),
            "hInc": hour_of(contract.included),
            "uInc": "WEBSERVICE",
            "dAlt": br(day_of(contract.altered)),
            "hAlt": hour_of(contract.altered),
            "uAlt": "WEBSERVICE",
        }
        text = f'{text[:-1]},"infoCadastro":{dumps(info)}}}'
    return text


_FILTERS: Final = (
    "filtrar_cliente",
    "filtrar_cnpj_cpf",
    "filtrar_por_data_de",
    "filtrar_por_data_ate",
    "filtrar_apenas_inclusao",
    "filtrar_apenas_alteracao",
    "ordem_descrescente",
)


def _listed(call: Call, param: Json) -> list[Contract]:
    wanted = tuple(param.get(tag) or "" for tag in _FILTERS)
    if not any(wanted) or wanted == ("",) * 6 + ("N",):
        return _seen(call.app, call.now)
    if call.now < call.app.lagging_until:
        return _search(call.app, param, call.now)
    found: list[Contract] = call.app.found(("contrato", wanted), lambda: _search(call.app, param, call.now))
    return found


def _seen(app: App, now: float) -> list[Contract]:
    """The contracts as a list shows them now."""
    if now >= app.lagging_until:
        return app.contract_list
    return [seen for contract in app.contract_list if (seen := contract.seen(now)) is not None]


def _search(app: App, param: Json, now: float) -> list[Contract]:
    contracts = list(_seen(app, now))
    customer = int(param.get("filtrar_cliente") or 0)
    if document := digits(param.get("filtrar_cnpj_cpf")):
        customer = app.customer_documents.get(document, -1)
    if customer:
        contracts = [contract for contract in contracts if contract.nCodCli == customer]
    start = read_br(param.get("filtrar_por_data_de") or "")
    end = read_br(param.get("filtrar_por_data_ate") or "")
    if start or end:
        moments = _moments(param)
        contracts = [
            contract
            for contract in contracts
            if any(
                (start is None or start <= day_of(moment)) and (end is None or day_of(moment) <= end)
                for moment in moments(contract)
            )
        ]
    if param.get("ordem_descrescente") == "S":
        contracts.reverse()
    return contracts


def _moments(param: Json) -> Callable[[Contract], tuple[float, ...]]:
    if param.get("filtrar_apenas_inclusao") == "S":
        return lambda contract: (contract.included,)
    if param.get("filtrar_apenas_alteracao") == "S":
        return lambda contract: (contract.altered,)
    return lambda contract: (contract.included, contract.altered)


def _status(contract: Contract, text: str) -> Json:
    return {
        "cCodIntCtr": contract.cCodIntCtr,
        "nCodCtr": contract.nCodCtr,
        "cCodStatus": "0",
        "cDescStatus": text,
    }


def _announce(call: Call, contract: Contract, what: str) -> None:
    announce(call.sim, call.app, contract, what, call.now)


def announce(sim: Any, app: App, contract: Contract, what: str, now: float) -> None:
    """ContratoServico.*: the real event's fields are not published; only the ids are sure to be useful."""
    if sim.outbox.wanted:
        event = {
            "idContrato": contract.nCodCtr,
            "codigoIntegracao": contract.cCodIntCtr,
            "numeroContrato": contract.cNumCtr,
            "idCliente": contract.nCodCli,
            "situacao": contract.cCodSit,
            "valorContrato": contract.total / 100,
        }
        sim.outbox.emit(app.company, app.app_key, f"ContratoServico.{what}", event, now)
