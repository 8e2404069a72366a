"""How each answer follows from what was seen. Pure; an answer is a value, or why it could not be told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from billing.omie.replies import AlreadyRegistered, Rejected, fold
from ops.probe import measures
from ops.probe.observations import is_cancelled, order_text
from ops.probe.questions import QUESTIONS
from ops.probe.told import NOT_REACHED, Answer, could_not, refusal, unclear

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ops.probe.observations import Observations

Json = dict[str, Any]
SETTLED: Final = 300.0
"""Seconds after a billing from which what is still on the contract counts as kept."""


def answers(seen: Observations) -> dict[str, Answer]:
    """Every question's answer, by name."""
    found = {}
    for question in QUESTIONS:
        answer = ANSWERS[question.name](seen)
        if not answer.told and question.name in seen.reasons:
            answer = could_not(seen.reasons[question.name])
        found[question.name] = answer
    return found


def _taken(seen: Observations, name: str, stem: str, yes: str, no: str) -> Answer:
    """For what is either executed or refused: yes, no, or could not be told."""
    replies = seen.tries.get(name, [])
    if any(reply.done for reply in replies):
        return Answer(yes, "o Omie aceitou")
    if words := refusal(replies, stem):
        return Answer(no, f'o Omie recusou: "{words[:120]}"')
    return unclear(replies)


def _billing(name: str, stem: str, orders_before: int) -> Callable[[Observations], Answer]:
    """Of a billing that Omie may refuse: its orders decide, its words only when there is no further order."""

    def answer(seen: Observations) -> Answer:
        replies = seen.tries.get(name, [])
        if any(reply.done for reply in replies):
            return Answer("accept", "o Omie faturou: a resposta traz a OS")
        code = seen.asked_again.get(name)
        if code is None:
            return could_not(NOT_REACHED)
        live = [order for order in seen.orders.values() if not is_cancelled(order) and code in order_text(order)]
        if len(live) > orders_before:
            return Answer("accept", "o Omie faturou: a OS está no ListarOS")
        if not seen.whole:
            return could_not("as OS não puderam ser listadas no fim")
        words = refusal(replies, stem, control=seen.control)
        return Answer("refuse", f'o Omie recusou: "{words[:120]}"') if words else unclear(replies)

    return answer


def _duplicate(seen: Observations) -> Answer:
    replies = seen.tries.get("duplicate_integration_code", [])
    if any(isinstance(reply.error, AlreadyRegistered) for reply in replies):
        return Answer("refuse", "o Omie recusou: o código já está cadastrado")
    return _taken(seen, "duplicate_integration_code", r"\bja (foi )?cadastrad", "accept", "refuse")


def _null_values(seen: Observations) -> Answer:
    replies = seen.tries.get("null_values", [])
    if any(isinstance(reply.error, Rejected) and reply.error.rule == "permanent" for reply in replies):
        return Answer("refuse", f'o Omie recusou: "{replies[-1].words[:120]}"')
    return _taken(seen, "null_values", r"\bnull|\bnul[oa]\b|nao e do tipo", "accept", "refuse")


# ----------------------------------------------------------------------------------------- after billing


def _after_cancel(seen: Observations) -> Answer:
    match seen.cancelled:
        case (True, False):
            return Answer("20", "voltou à etapa 20")
        case (False, True):
            return Answer("30", "ficou na etapa 30")
        case None:
            return could_not(NOT_REACHED)
    return could_not(
        "o contrato está nas duas etapas" if all(seen.cancelled) else "o contrato não está em nenhuma etapa"
    )


def _in_every_order(seen: Observations, tag: Callable[[Json], object]) -> Answer:
    mine = {each.nCodOS for each in seen.billed}
    shown = {bool(tag(order)) for number, order in seen.orders.items() if number in mine}
    if len(shown) != 1:
        return could_not("umas OS trazem, outras não" if shown else NOT_REACHED)
    return Answer("present" if shown.pop() else "absent", f"{len(mine & set(seen.orders))} OS de contratos no ListarOS")


def _lot_details(seen: Observations) -> Answer:
    kinds = {type(lot["detalhes"]) for lot in seen.lots if "detalhes" in lot}
    names: dict[type, str] = {list: "list", dict: "object"}
    if len(kinds) != 1 or not kinds <= set(names):
        return could_not("nenhum lote com detalhes foi visto" if not kinds else "detalhes veio de mais de um tipo")
    return Answer(names[kinds.pop()], f"{len(seen.lots)} lote(s) listado(s)")


def _receipt_value(seen: Observations) -> Answer:
    """R$ 1,00 with R$ 0,10 of interest, for a title of R$ 1,00: it is settled unless the value includes both."""
    if seen.receipt is None or seen.receipt.answer is None:
        return unclear([seen.receipt] if seen.receipt else [])
    settled = str(seen.receipt.answer.get("liquidado") or "")
    title = (seen.receipt_title.answer or {}) if seen.receipt_title else {}
    status = fold(str(title.get("status_titulo") or "")).replace(" ", "").replace("_", "")
    expected = {"S": ("net", ("recebido", "liquidado", "pago")), "N": ("gross", ("pagtoparcial", "atrasado"))}
    if settled not in expected:
        return could_not("a resposta do recebimento não diz se liquidou")
    value, statuses = expected[settled]
    if status not in statuses:
        return could_not(f"o recebimento disse liquidado {settled}, e o título está {status or 'sem situação'}")
    return Answer(value, f"liquidado {settled}, título {title.get('status_titulo')}")


# ---------------------------------------------------------------------------------------------- contracts


def items_of(cadastro: Json) -> dict[str, Json]:
    """codIntItem -> item."""
    return {str(item["itemCabecalho"].get("codIntItem") or ""): item for item in cadastro.get("itensContrato") or []}


def expenses_of(cadastro: Json) -> list[Json]:
    return list((cadastro.get("despesasReembolsaveis") or {}).get("despesaReembolsavel") or [])


def _after_alteration(seen: Observations, part: Callable[[Json], Any]) -> Answer:
    if seen.before is None or seen.after is None:
        return could_not(NOT_REACHED)
    had, has = len(part(seen.before)), len(part(seen.after))
    if (had, has) not in ((2, 2), (2, 1)):
        return could_not(f"eram {had}, e depois da alteração são {has}")
    return Answer("merge" if has == 2 else "replace", f"alterado com um de dois: ficaram {has}")


def _once_only(seen: Observations) -> Answer:
    if seen.once_only is None:
        return could_not(NOT_REACHED)
    cadastro, age = seen.once_only
    item, expense = "item-2" in items_of(cadastro), bool(expenses_of(cadastro))
    if not item and not expense:
        return Answer("removed", "item e despesa saíram do contrato")
    if item != expense:
        return could_not(f"o item {'ficou' if item else 'saiu'} e a despesa {'ficou' if expense else 'saiu'}")
    if age < SETTLED:
        return could_not(f"estavam no contrato {age:.0f} s depois do faturamento; é cedo para dizer que ficam")
    return Answer("kept", f"item e despesa continuam {age / 60:.0f} min depois")


def _empty_on_alter(seen: Observations) -> Answer:
    if seen.emptied is None or seen.emptied.answer is None:
        return unclear([seen.emptied] if seen.emptied else [])
    left = str(seen.emptied.answer.get("complemento") or "")
    return Answer("keep", f'ficou "{left}"') if left else Answer("clear", "o campo ficou vazio")


def _item_keys_kept(seen: Observations) -> Answer:
    if seen.before is None or seen.after is None:
        return could_not(NOT_REACHED)
    items = "item-1" in items_of(seen.before) and "item-1" in items_of(seen.after)
    had, has = ({row.get("nCodReemb") for row in expenses_of(one)} for one in (seen.before, seen.after))
    if not had or not has:
        return could_not("as despesas não apareceram no contrato")
    return Answer("sim" if items and has <= had else "não", "itens e despesas antes e depois de uma alteração")


def _expense_text_kept(seen: Observations) -> Answer:
    if seen.before is None or not expenses_of(seen.before):
        return could_not(NOT_REACHED)
    kept = all(str(row.get("cDescReemb") or "").endswith("]") for row in expenses_of(seen.before))
    return Answer("sim" if kept else "não", "texto lido de volta")


def _links_change(seen: Observations) -> Answer:
    links = [str(one.get("cLinkBoleto") or "") for one in seen.boletos]
    if len(links) < 2 or not all(links):
        return could_not("não houve boleto para ler duas vezes")
    return Answer("sim" if links[0] != links[1] else "não", "ObterBoleto duas vezes, com um minuto entre elas")


def _barcode_digits(seen: Observations) -> Answer:
    lengths = {len(re.sub(r"\D", "", str(one.get("cCodBarras") or ""))) for one in seen.boletos} - {0}
    if len(lengths) != 1:
        return could_not("nenhum boleto com código de barras foi visto")
    return Answer(lengths.pop(), "ObterBoleto")


def _moves_date(seen: Observations) -> Answer:
    if len(seen.plain) < 2:
        return could_not(NOT_REACHED)
    return Answer("sim" if seen.plain[0] != seen.plain[-1] else "não", f"{' '.join(seen.plain[-1])} depois de faturar")


ANSWERS: Final[Mapping[str, Callable[[Observations], Answer]]] = {
    "second_billing": _billing("second_billing", r"\bja\b.*fatur", 1),
    "bill_outside_stage_20": _billing("bill_outside_stage_20", r"\bnao\b.*fatur|vigencia", 0),
    "list_lag": measures.list_lag,
    "list_lag_least": measures.list_lag_least,
    "lists_lag": measures.lists_lag,
    "read_lag": measures.read_lag,
    "clock_offset": measures.clock_offset,
    "after_cancel": _after_cancel,
    "items_on_alter": lambda seen: _after_alteration(seen, items_of),
    "expenses_on_alter": lambda seen: _after_alteration(seen, expenses_of),
    "once_only_after_billing": _once_only,
    "null_values": _null_values,
    "repeat_status_change": lambda seen: _taken(seen, "repeat_status_change", r"situacao|suspens", "accept", "refuse"),
    "empty_on_alter": _empty_on_alter,
    "nome_fantasia": lambda seen: _taken(seen, "nome_fantasia", r"nome_fantasia|nome fantasia", "optional", "required"),
    "duplicate_integration_code": _duplicate,
    "os_nCodCtr": lambda seen: _in_every_order(seen, lambda order: (order.get("Cabecalho") or {}).get("nCodCtr")),
    "list_os_cNumContrato": lambda seen: _in_every_order(
        seen, lambda order: (order.get("InformacoesAdicionais") or {}).get("cNumContrato")
    ),
    "lot_details": _lot_details,
    "redundant_on": measures.redundant_on,
    "same_id_lookup": measures.same_id,
    "in_flight": measures.in_flight,
    "largest_page": measures.largest_page,
    "missing_slash": measures.missing_slash,
    "nfse_seconds": measures.nfse_seconds,
    "boleto": measures.boleto,
    "boleto_seconds": measures.boleto_seconds,
    "receipt_value": _receipt_value,
    "item_keys_kept": _item_keys_kept,
    "expense_text_kept": _expense_text_kept,
    "links_change": _links_change,
    "barcode_digits": _barcode_digits,
    "billing_moves_alteration_date": _moves_date,
}
