"""The experiments that bill: when the lists show it, what Omie refuses, a cancelled order, a lot, boletos."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from billing.omie.client import omie_date
from ops.probe.field import ORDER, Made
from ops.probe.lags import known, longest
from ops.probe.looks import look_notes, look_orders, look_stage, look_titles
from ops.probe.measures import BOLETO_PATIENCE
from ops.probe.things import CANCELLED, CONTROL, NOT_DUE, PLAIN, TWICE
from ops.probe.told import refusal

if TYPE_CHECKING:
    from ops.probe.field import Field

Json = dict[str, Any]

BILLED_AT_FIRST: Final = range(2, 8)
LONGEST_LIST_LAG: Final = 480.0
LONGEST_NOTE: Final = 300.0
"""Seconds after which what has not appeared is not waited for."""
STAGE_TURN: Final = 30.6
"""Seconds between looks at the two stages in turn: each is asked for once a minute."""
BETWEEN_BILLINGS: Final = 6.0
AFTER_CANCEL: Final = 120.0
ROOM_TO_WAIT: Final = 300.0
"""Seconds that the experiments after it need; it is not waited for into them."""
LOT: Final = "lote"
"""Stands for the codes of contracts that the lot billed."""


def bill(field: Field) -> None:
    codes = [field.maker.code(number) for number in BILLED_AT_FIRST]
    codes = [code for code in codes if code in field.numbers]
    shown = look_stage(field, "20") or frozenset()
    field.in_20 = {code for code in codes if field.numbers[code] in shown}
    look_orders(field)
    for code in codes:
        due = _turn_in(field)
        if at_once := due < BETWEEN_BILLINGS:  # a stage looked at right after a billing tells most
            field.caller.wait(due)
        if field.bill(code).done:
            if at_once:
                look_stage(field, _turn(field))
            look_orders(field)
            _pause(field, BETWEEN_BILLINGS)


def _turn(field: Field) -> str:
    """The stage that was not asked for the longest."""
    return min(("20", "30"), key=lambda cEtapa: field.stages.get(cEtapa, (0.0, None))[0])


def _turn_in(field: Field) -> float:
    """Seconds until that stage may be looked at."""
    at = [field.stages.get(cEtapa, (0.0, None))[0] for cEtapa in ("20", "30")]
    return max(0.0, max(at) + STAGE_TURN - field.caller.now(), min(at) + 2 * STAGE_TURN - field.caller.now())


def _pause(field: Field, seconds: float) -> None:
    """Wait so long; a stage whose turn comes meanwhile is looked at on time."""
    until = field.caller.now() + seconds
    while not _staged(field) and (due := _turn_in(field)) < until - field.caller.now():
        field.caller.wait(due)
        look_stage(field, _turn(field))
    field.caller.wait(until - field.caller.now())


def follow(field: Field) -> None:
    """Look until both lists show every billing, and notes, titles and boletos had their time."""
    began, rounds = field.caller.now(), 0

    def waited(seconds: float) -> bool:
        return field.caller.now() - began >= seconds

    while not (_listed(field) or waited(LONGEST_LIST_LAG)) or not (_documents(field) or waited(LONGEST_NOTE)):
        if not _listed(field):
            look_orders(field)
        if not _documents(field) and rounds % (3 if waited(180) else 2 if waited(60) else 1) == 0:
            if not all(each.note.seen or each.refused for each in field.seen.billed):
                look_notes(field)
            look_titles(field)
        rounds += 1
        _pause(field, 8.0 if not waited(120) else 20.0)


def _listed(field: Field) -> bool:
    return all(
        each.in_orders.seen and (each.in_stages.seen or not each.first)
        for each in field.seen.billed
        if each.nCodOS not in field.settled
    )


def _staged(field: Field) -> bool:
    return all(each.in_stages.seen or not each.first or each.nCodOS in field.settled for each in field.seen.billed)


def _documents(field: Field) -> bool:
    return all(
        (each.note.seen and each.title.seen and each.boleto.seen) or each.refused
        for each in field.seen.billed
        if each.nCodOS not in field.settled
    )


def bill_again(field: Field) -> None:
    """A second time, and once more where the first attempt told nothing."""
    tries = field.seen.tries.setdefault("second_billing", [])
    for number in (TWICE, PLAIN + 1):
        code = field.maker.code(number)
        billed = field.billed(code)
        if billed is None or not billed.in_orders.seen:
            continue
        field.seen.asked_again["second_billing"] = code
        reply = field.bill(code)
        tries.append(reply)
        look_orders(field)
        if not reply.silent:
            break
    _once_more_if_unknown(field, "second_billing", r"fatur")


def bill_not_due(field: Field) -> None:
    code = field.maker.code(NOT_DUE)
    field.seen.asked_again["bill_outside_stage_20"] = code
    field.seen.tries["bill_outside_stage_20"] = [field.bill(code)]
    look_orders(field)
    _once_more_if_unknown(field, "bill_outside_stage_20", r"fatur|vigencia")


def _once_more_if_unknown(field: Field, name: str, stem: str) -> None:
    """The same words to a second call, and the next contract billed all the same, make an unknown refusal clear."""
    replies = field.seen.tries[name]
    if replies and replies[-1].refused and refusal(replies, stem) is None:
        field.caller.wait(61.0)
        replies.append(field.bill(field.seen.asked_again[name]))


def control(field: Field) -> None:
    field.seen.control = field.bill(field.maker.code(CONTROL))
    look_orders(field)


def cancel(field: Field) -> None:
    """The stage of a contract whose order is cancelled, once the lists have had the longest time they took so far."""
    billed = field.billed(field.maker.code(CANCELLED))
    if billed is None or not (billed.in_orders.seen and billed.in_stages.seen):
        field.seen.reasons["after_cancel"] = "as listas não mostraram o faturamento a tempo"
        return
    reply = field.caller.write("CancelarOS", {"nCodOS": billed.nCodOS})
    field.settled.add(billed.nCodOS)
    if not reply.done:
        field.seen.reasons["after_cancel"] = "o cancelamento da OS não foi confirmado"
        return
    spans = known([one for each in field.seen.billed for one in (each.in_orders, each.in_stages)])
    _watch(field, max(AFTER_CANCEL, longest(spans).high if spans else 0.0))
    number = field.numbers[billed.code]
    shown = [look_stage(field, cEtapa) for cEtapa in ("20", "30")]
    if shown[0] is not None and shown[1] is not None:
        field.seen.cancelled = (number in shown[0], number in shown[1])


def _watch(field: Field, seconds: float) -> None:
    """Wait so long, and longer while a list lacks a billing that may yet be the latest; look meanwhile."""
    began, step = field.caller.now(), 12.0
    while not _listed(field):
        waited = field.caller.now() - began
        if waited >= seconds and not (waited < LONGEST_LIST_LAG and field.caller.room(ROOM_TO_WAIT)):
            return
        _pause(field, step)
        look_orders(field)
        step = min(30.0, step + 2.0)
    field.caller.wait(seconds - (field.caller.now() - began))


def suspend_twice(field: Field) -> None:
    param = {"nCodCtr": field.number(field.maker.code(NOT_DUE))}
    if field.caller.write("SuspenderContrato", param).done:
        field.seen.tries["repeat_status_change"] = [field.caller.write("SuspenderContrato", param)]


def lot(field: Field) -> None:
    """The lot bills whatever stands in stage 20: only where a fresh look shows the probe's own contracts alone."""
    shown = look_stage(field, "20")
    if shown and shown <= field.own_contracts():
        reply = field.caller.write("FaturarLoteContrato", {"cCodIntLote": field.maker.code(0)})
        number = (reply.answer or {}).get("nIdLoteFat")
        members = (reply.answer or {}).get("nQtdeFat")
        field.unanswered[LOT] = members if isinstance(members, int) else len(shown)
        if isinstance(number, int):
            _until_done(field, number)
            field.seen.lots = _lots(field, {"nIdLoteFat": number})
            _orders_of_lot(field)
        return
    if shown:
        field.seen.reasons["lot_details"] = "há contratos alheios na etapa 20: um lote os faturaria"
    begun = field.maker.today - timedelta(days=60)
    field.seen.lots = _lots(field, {"dDtIncDe": omie_date(begun), "dDtIncAte": omie_date(field.maker.today)})


def _until_done(field: Field, number: int) -> None:
    for _ in range(5):
        field.caller.wait(61.0)
        status = field.caller.read("StatusLoteContrato", {"nIdLoteFat": number})
        if (status.answer or {}).get("cStatus") in ("DONE", "ERROR"):
            return


def _lots(field: Field, which: Json) -> list[Json]:
    """In other words once more, where the first question was not answered."""
    for size in (50, 49):
        wanted = {"nPagina": 1, "nRegistros": size, **which, "cExibirDetalhes": "S"}
        rows = field.caller.read("ListarLotesContrato", wanted).rows("lotes")
        if rows is not None:
            return rows
    return []


def _orders_of_lot(field: Field) -> None:
    """They are the probe's own: it called the lot for nothing but its contracts."""
    codes = {number: code for code, number in field.numbers.items()}
    for one in field.seen.lots:
        details = one.get("detalhes") or []
        for detail in details if isinstance(details, list) else [details]:
            if number := int(detail.get("nIdPedido") or 0):
                field.made.append(Made(ORDER, codes.get(int(detail.get("nIdContrato") or 0), LOT), number))
                field.unanswered[LOT] -= 1


def read_boletos(field: Field) -> None:
    """One boleto, read twice. Before none is an answer the titles have their time; then one is asked for."""
    titles = [each for each in field.seen.billed if each.title.seen and each.nCodOS not in field.settled]
    if titles and not any(each.boleto.seen for each in titles):
        look_titles(field)
        if field.seen.boleto_wanted and field.seen.title_age < BOLETO_PATIENCE:
            field.caller.wait(BOLETO_PATIENCE + 10.0 - field.seen.title_age)
            look_titles(field)
        if not any(each.boleto.seen for each in titles):
            field.caller.write("GerarBoleto", {"nCodTitulo": titles[0].nCodTitulo})
    for number in [each.nCodTitulo for each in titles if each.boleto.seen][:1] or [
        one.nCodTitulo for one in titles[:1]
    ]:
        for _ in range(2):
            reply = field.caller.read("ObterBoleto", {"nCodTitulo": number})
            field.seen.boletos += [reply.answer] if reply.answer else []
