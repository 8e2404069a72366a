"""The story of one charge, for a tired person: what happened, when, by whom and why; and what to do now. Pure."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from billing.bill_batch import ALTERATION, CREATION
from billing.domain.charge import MONTHLY, Charge, Event, State
from billing.domain.money import format_brl
from billing.domain.month import SAO_PAULO
from billing.domain.plan import Action
from billing.parking import SAFE_ACTION, class_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from billing.domain.plan import PlanLine

STATES: Final[Mapping[State, str]] = {
    State.READY: "A ENVIAR",
    State.SENDING: "ENVIANDO",
    State.UNKNOWN: "EM DÚVIDA",
    State.BILLED: "FATURADO",
    State.PARKED: "PARADO",
    State.HELD: "RETIDO",
}
EVENTS: Final[Mapping[str, str]] = {
    Event.CLAIM: "reservado para o envio",
    Event.GIVE_UP: "reserva devolvida, sem enviar",
    Event.DONE: "faturado no Omie",
    Event.NOT_EXECUTED: "o Omie não executou; pode ser enviado de novo",
    Event.REJECT: "recusado pelo Omie",
    Event.IN_DOUBT: "ficou em dúvida",
    Event.ADOPT: "encontrado no Omie já faturado, e registrado",
    Event.RESEND: "lido no Omie como não faturado; pode ser enviado de novo",
    Event.PARK: "parado, à espera de uma pessoa",
    Event.HOLD: "retido por cancelamento",
    Event.RELEASE: "retenção desfeita",
    Event.REDRIVE: "liberado para uma nova tentativa",
}
OF_CREATION: Final[Mapping[str, str]] = {
    Event.CLAIM: "criação do contrato no Omie: reservada",
    Event.DONE: "contrato criado no Omie",
    Event.ADOPT: "contrato encontrado no Omie já criado",
    Event.RESEND: "o contrato não está no Omie; pode ser criado de novo",
    Event.REJECT: "criação do contrato recusada pelo Omie",
    Event.IN_DOUBT: "criação do contrato em dúvida",
    Event.REDRIVE: "criação do contrato liberada para nova tentativa",
}
OF_ALTERATION: Final[Mapping[str, str]] = {
    Event.CLAIM: "alteração do contrato no Omie: reservada",
    Event.GIVE_UP: "alteração do contrato no Omie: chamada encerrada",
    Event.NOT_EXECUTED: "alteração do contrato no Omie: não executada",
    Event.IN_DOUBT: "alteração do contrato no Omie: resposta perdida",
    Event.RESEND: "alteração do contrato no Omie: espera encerrada",
}
FUNCTIONS: Final[Mapping[str, str]] = {
    "bill_batch": "faturamento",
    "settle_company": "conferência",
    "redrive": "billing-ops",
}


def told(
    contract: str,
    month: object,
    charges: Sequence[Charge],
    hold: str | None,
    proofs: Mapping[str, str],
    *,
    planned: PlanLine | None = None,
    cancelled: int | None = None,
) -> Iterator[str]:
    """The lines, the present state first.

    Args:
        contract: its code.
        month: of the charges.
        charges: the month's charge and, if any, the creation in Omie.
        hold: the reason for which it is held, if it is.
        proofs: addition key -> its arithmetic, as far as it is known.
        planned: its line in the newest plan, if nothing is charged yet.
        cancelled: the charge's order, if a person cancelled it in Omie.
    """
    monthly = next((charge for charge in charges if charge.key.kind == MONTHLY), None)
    if monthly is not None:
        yield _headline(monthly)
        if cancelled is None:
            yield f"  O que fazer: {_to_do(monthly)}"
        else:
            seen = "(visto pela última execução do mês)"
            yield f"  A OS {cancelled} foi cancelada no Omie: o cliente não está sendo cobrado {seen}."
            yield (
                "  O que fazer: confira se o cancelamento está certo; o sistema não fatura de novo por conta própria."
            )
        yield from _composition(monthly)
        yield from _additions(monthly, proofs)
    elif planned is not None:
        yield from _planned(planned)
    elif charges:
        yield f"{contract} em {month}: a cobrança ainda não foi enviada."
    else:
        yield f"{contract} em {month}: nada foi enviado nem registrado, e nenhum plano do mês o conhece."
    if hold is not None:
        yield f"  Há um cancelamento sobre {contract}: nenhuma cobrança dele pode ser enviada. {hold}".rstrip()
    lines = [(str(line["at"]), charge.key.kind, line) for charge in charges for line in charge.history]
    lines.sort(key=lambda entry: entry[0])  # two at the same instant stay in the ledger's order
    if lines:
        yield ""
    for at, kind, line in lines:
        yield f"  {_moment(at)}  {_event(kind, line)}"


def facts(
    contract: str,
    month: object,
    charges: Sequence[Charge],
    hold: str | None,
    proofs: Mapping[str, str],
    *,
    planned: PlanLine | None = None,
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "contract": contract,
        "month": str(month),
        "hold": hold,
        "plan": None
        if planned is None
        else {
            "action": planned.action.value,
            "reason_code": planned.reason_code,
            "reason": planned.reason,
            "amount": None if planned.amount_unknown else planned.amount,
            "company": planned.company,
        },
        "charges": [
            {
                "kind": charge.key.kind,
                "state": charge.state.value,
                "company": charge.company,
                "amount": charge.amount,
                "nCodCtr": charge.nCodCtr,
                "nCodOS": charge.nCodOS,
                "reason_code": charge.reason_code,
                "reason": charge.reason,
                "failures": charge.failures,
                "run": charge.run,
                "plan_hash": charge.plan_hash,
                "composition": charge.composition.to_dict() if charge.composition else None,
                "additions": [{**each, "proof": proofs.get(each["key"])} for each in charge.additions],
                "history": [dict(line) for line in charge.history],
            }
            for charge in charges
        ],
    }


def _headline(charge: Charge) -> str:
    parts = [format_brl(charge.amount)]
    parts += [f"OS {charge.nCodOS}"] if charge.nCodOS else []
    parts += [f"contrato {charge.nCodCtr} no Omie"] if charge.nCodCtr else []
    reason = f" {charge.reason}" if charge.reason else ""
    key = charge.key
    return f"{key.contract} em {key.month} ({charge.company}): {STATES[charge.state]}. {', '.join(parts)}.{reason}"


def _composition(charge: Charge) -> Iterator[str]:
    """What the month's own amount is made of, and why it is not the last one."""
    made = charge.composition
    if made is None:
        return
    foreign = f"; itens adicionados no Omie: {format_brl(made.foreign_total)}" if made.foreign_total else ""
    yield f"  Composição: {made.text}{foreign}"
    if made.previous_amount is not None:
        month = f" ({made.previous_month})" if made.previous_month else ""
        yield f"  Cobrança anterior{month}: {format_brl(made.previous_amount)}"
    if made.cause:
        yield f"  Causa: {made.cause}"


def _planned(line: PlanLine) -> Iterator[str]:
    """What the newest plan makes of a contract of which nothing is charged yet, and why."""
    from billing.report import ADVICE  # noqa: PLC0415 - slow to import, and most commands never ask

    amount = "valor desconhecido" if line.amount_unknown else format_brl(line.amount)
    advice = ADVICE.get(line.reason_code)
    state, to_do = {
        Action.BILL: ("A ENVIAR", f"entra na próxima execução: billing-ops run --company {line.company}"),
        Action.SKIP: ("PULADO PELO PLANO", "nada."),
        Action.PARK: ("PARADO PELO PLANO", advice.todo.replace("`", "") if advice else "Leia o motivo e corrija."),
    }[line.action]
    yield f"{line.contract} em {line.month} ({line.company}): {state}. {amount}. {line.reason}".rstrip()
    yield f"  O que fazer: {to_do}"


def _additions(charge: Charge, proofs: Mapping[str, str]) -> Iterator[str]:
    """What the charge carries beside the month's own amount, with the arithmetic."""
    for each in charge.additions:
        both = (("multa", each["fine"]), ("juros", each["interest"]))
        parts = [f"{name} {format_brl(amount)}" for name, amount in both if amount]
        through = f" até {date.fromisoformat(each['through']):%d/%m/%Y}" if each["through"] else ""
        of_title = f" (encargos do título {each['title']}{through}: {' + '.join(parts)})" if each["title"] else ""
        doubt = ". Não se sabe se foi cobrado: confira a OS no Omie." if each.get("doubtful") else ""
        yield f"  Acréscimo: {format_brl(each['amount'])}{of_title}{doubt}"
        yield from (f"    {line}" for line in proofs.get(each["key"], "").splitlines())
    if any(each["key"] not in proofs for each in charge.additions):
        yield f"  O cálculo de cada um: billing-ops report --month {charge.key.month} --open"


def _to_do(charge: Charge) -> str:
    month, company = charge.key.month, charge.company
    match charge.state:
        case State.BILLED:
            return "nada."
        case State.PARKED:
            return SAFE_ACTION[class_of(charge)]
        case State.READY:
            return f"entra na próxima execução: billing-ops run --company {company}"
        case State.HELD:
            return "nada; se o cliente continua, reative o contrato no Jestor."
    return (
        "não fature à mão. O sistema lê o Omie no fim da execução e decide; "
        f"para adiantar: billing-ops resolve --month {month} --company {company}"
    )


def _event(kind: str, line: Mapping[str, Any]) -> str:
    event, why = str(line["event"]), str(line.get("why") or "")
    words = {CREATION: OF_CREATION, ALTERATION: OF_ALTERATION}.get(kind, EVENTS)
    what = words.get(event) or EVENTS.get(event, event)
    says_nothing = why in {"", what} or (event == Event.CLAIM and why.startswith("run "))
    because = "" if says_nothing else f": {why}"
    return f"{what}{because} [{_who(str(line['who']))}]"


def _who(who: str) -> str:
    """From "bill_batch arn:...:2026-12-operador" to "faturamento, execução 2026-12-operador"."""
    function, _, rest = who.partition(" ")
    name = FUNCTIONS.get(function)
    if name is None:
        return who
    if function == "redrive":
        return f"{rest}, por {name}"
    return f"{name}, execução {rest.rsplit(':', 1)[-1]}"


def _moment(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(SAO_PAULO):%d/%m/%Y %H:%M:%S}"
