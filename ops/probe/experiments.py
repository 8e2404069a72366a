"""The experiments, in their order. Each one only does and looks; what follows from it is `ops.probe.answers`.

contracts    1      two items, two expenses: altered with one of each; later the lot's
             2      billed twice                3   its order is cancelled
             4      billed with what is for one billing only
             5-7    billed                      8   billed after the refusals
             9      not due today: billed, then suspended twice
others       10 an order that is never billed, 11 a late title; a second contract with the code of the first
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from billing.omie.client import omie_date
from billing.unreadable import DATA_ERRORS, note
from ops.probe.answers import expenses_of
from ops.probe.billings import bill, bill_again, bill_not_due, cancel, control, follow, lot, read_boletos, suspend_twice
from ops.probe.caller import NoRoom
from ops.probe.field import CONTRACT, CUSTOMER, ORDER, RECEIPT, TITLE
from ops.probe.lags import Sighting
from ops.probe.looks import changed, look_altered, look_contracts, look_orders, note_hour
from ops.probe.things import ALTERED, LATE, NOT_DUE, ONCE, PLAIN, UNBILLED, YEAR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ops.probe.field import Field

Json = dict[str, Any]

BILLED_AT_FIRST: Final = range(2, 8)
READ_AGAIN: Final = (2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 8, 8, 10, 10, 15, 15, 20, 20, 25, 30, 40)
LIST_AGAIN: Final = (10, 20, 30, 60, 60)
"""Seconds between looks at what was altered, and at what was created."""
FIRST_LOOK: Final = 6.0
AFTER_EMPTY: Final = 60.0
"""Seconds before the first look at what was created, and after a list that had nothing at all."""


def run_experiments(field: Field, say: Callable[[str], None]) -> None:
    """All of them; one that does not fit or reads nonsense leaves its questions open, and the others go on.

    `say` is told in Portuguese what is done.

    Raises:
        StopProbe: Omie is not to be asked any more.
    """
    for experiment, says, names in PLAN:
        try:
            if says:
                say(says)
            experiment(field)
        except NoRoom as full:
            field.seen.reasons.update(dict.fromkeys(names, str(full)))
        except DATA_ERRORS as error:
            note(f"probe, {experiment.__name__}", error)
            field.seen.reasons.update(dict.fromkeys(names, "uma resposta do Omie tem outra forma que a conhecida"))


# ------------------------------------------------------------------------------------------- customers, lists


def _page(field: Field) -> None:
    field.seen.page = field.caller.read("ListarContratos", {"pagina": 1, "registros_por_pagina": 500})


def _customer(field: Field) -> None:
    tries = field.seen.tries.setdefault("nome_fantasia", [])
    for with_name in (False, True):
        param = field.maker.abroad(with_nome_fantasia=with_name)
        code = str(param["codigo_cliente_integracao"])
        reply = field.make(CUSTOMER, code, "IncluirCliente", param, "codigo_cliente_omie")
        if not with_name:
            tries.append(reply)
        if reply.done:
            return


def _empty(field: Field) -> None:
    """Empty a field; whether it is empty is read later, and only after an answer that it was done."""
    param = {"codigo_cliente_omie": _own_customer(field), "complemento": ""}
    if not field.caller.write("AlterarCliente", param).done:
        raise NoRoom("a alteração do cliente não foi confirmada")


def _emptied(field: Field) -> None:
    if "empty_on_alter" not in field.seen.reasons:
        field.seen.emptied = field.caller.read("ConsultarCliente", {"codigo_cliente_omie": _own_customer(field)})


def _own_customer(field: Field) -> int:
    """Raises NoRoom when none could be created."""
    number = next((one.number for one in field.made if one.kind == CUSTOMER and one.number), 0)
    if not number:
        raise NoRoom("o cliente de teste não foi criado")
    return number


# ------------------------------------------------------------------------------------------- contracts


def _make_contracts(field: Field) -> None:
    maker = field.maker
    field.make(ORDER, maker.code(UNBILLED), "IncluirOS", maker.order(UNBILLED), "nCodOS")
    for number in range(1, NOT_DUE + 1):
        match number:
            case 1:
                cadastro = maker.contract(number, items=2, expenses=2)
            case 4:
                cadastro = maker.contract(number, items=2, expenses=1, recurring=False)
            case 9:
                cadastro = maker.not_due(number)
            case _:
                cadastro = maker.contract(number)
        code = maker.code(number)
        reply = field.make(CONTRACT, code, "IncluirContrato", cadastro, "nCodCtr")
        if reply.done:
            field.numbers[code] = field.made[-1].number
            field.seen.created[code] = Sighting(reply.sent, reply.answered)
    field.caller.wait(FIRST_LOOK)
    _until(field, lambda: _all_seen(field.seen.created), LIST_AGAIN)
    if not field.by_customer:  # the account's order of contracts may be another than we suppose
        field.by_customer = True
        look_contracts(field)
    field.seen.before = field.contracts.get(maker.code(ALTERED))


def _duplicate(field: Field) -> None:
    code = field.maker.code(ALTERED)
    if code not in field.contracts:
        raise NoRoom("o primeiro contrato com o código não apareceu na lista")
    param = field.maker.contract(ALTERED)
    reply = field.make(CONTRACT, code, "IncluirContrato", param, "nCodCtr")
    field.seen.tries["duplicate_integration_code"] = [reply]


def _alter(field: Field) -> None:
    """Every alteration moves the end of the contract by a day, and is looked for at once and then ever more seldom."""
    maker, end = field.maker, omie_date(field.maker.today + YEAR + timedelta(days=1))
    first = None
    for number in range(1, NOT_DUE + 1):
        code = maker.code(number)
        if number == ONCE or code not in field.numbers or code not in field.contracts:
            continue
        cadastro = maker.contract(number)
        param: Json = {
            "cabecalho": {"nCodCtr": field.numbers[code], "dVigFinal": end},
            "itensContrato": cadastro["itensContrato"],
        }
        if number == ALTERED and field.seen.before and (rows := expenses_of(field.seen.before)):
            param["despesasReembolsaveis"] = {"despesaReembolsavel": [rows[0] | {"cAcaoReemb": "A"}]}
        reply = field.caller.write("AlterarContrato", param)
        if reply.done:
            first = first or (code, reply)
            field.wanted[code] = end
            field.seen.altered[code] = Sighting(reply.sent, reply.answered)
            _consult(field, code)
            look_contracts(field)
    _until(field, lambda: _all_seen(field.seen.altered), READ_AGAIN)
    code = maker.code(ALTERED)
    if code in field.seen.altered and field.seen.altered[code].seen:
        field.seen.after = field.contracts.get(code)
    if first is not None and field.seen.altered[first[0]].seen:
        note_hour(field, *first)
    if plain := field.contracts.get(maker.code(PLAIN)):
        field.seen.plain.append(changed(plain))


def _consult(field: Field, code: str) -> None:
    reply = field.caller.read("ConsultarContrato", {"contratoChave": {"nCodCtr": field.numbers[code]}})
    cadastro = (reply.answer or {}).get("contratoCadastro")
    if isinstance(cadastro, dict):
        look_altered(field, code, cadastro, reply)
        shows = cadastro["cabecalho"].get("dVigFinal") == field.wanted[code]
        field.seen.consulted.append((reply.answered - field.seen.altered[code].sent, shows))


def _null_value(field: Field) -> None:
    number = field.number(field.maker.code(NOT_DUE))
    param = {"cabecalho": {"nCodCtr": number}, "observacoes": {"cObsContrato": None}}
    field.seen.tries["null_values"] = [field.caller.write("AlterarContrato", param)]


# ------------------------------------------------------------------------------------------- limits


def _identical(field: Field) -> None:
    for size in (7, 8):
        param = {"pagina": 1, "registros_por_pagina": size}
        replies = []
        for again in (False, True, True):
            replies.append(field.caller.read("ListarCategorias", param, again=again))
            if not replies[-1].done:
                break
        field.seen.repeats.setdefault("identical", []).append(replies)
        if not replies[-1].silent:
            return


def _same_id(field: Field) -> None:
    """The same ID twice, in other words: only a rule about IDs can refuse the second."""
    for billed in field.seen.billed[-2:]:
        key = {"nCodCtr": field.numbers[billed.code]}
        questions: dict[str, tuple[str, Json, Json]] = {
            "Consultar": ("ConsultarContrato", {"contratoChave": key}, {"contratoChave": key | {"cCodIntCtr": ""}}),
            "Status": ("StatusOS", {"nCodOS": billed.nCodOS, "lRps": True}, {"nCodOS": billed.nCodOS, "lRps": False}),
        }
        for family, (method, one, other) in questions.items():
            tried = field.seen.repeats.setdefault(family, [])
            if not tried or tried[-1][-1].silent:
                first = field.caller.read(method, one)
                tried.append([first, field.caller.read(method, other, again=True)] if first.done else [first])


def _slash(field: Field) -> None:
    param = {"pagina": 1, "registros_por_pagina": 1}
    for _ in range(2):
        field.seen.slash = field.caller.read("ListarContasCorrentes", param, slash=False)
        if not field.seen.slash.silent:
            return


# ------------------------------------------------------------------------------------------- money


def _receive(field: Field) -> None:
    code = field.maker.code(LATE)
    made = field.make(TITLE, code, "IncluirContaReceber", field.maker.title(LATE), "codigo_lancamento_omie")
    if not made.done:
        return
    receipt = {
        "codigo_lancamento": field.made[-1].number,
        "codigo_conta_corrente": field.maker.company.omie.nCodCC,
        "valor": 1,
        "juros": 0.1,
        "data": omie_date(field.maker.today),
        "codigo_baixa_integracao": code,
    }
    field.seen.receipt = field.make(RECEIPT, code, "LancarRecebimento", receipt, "codigo_baixa")


def _look_at_receipt(field: Field) -> None:
    number = next((one.number for one in field.made if one.kind == TITLE), 0)
    if number:
        param = {"codigo_lancamento_omie": number}
        field.seen.receipt_title = field.caller.read("ConsultarContaReceber", param)


def _last_look(field: Field) -> None:
    field.seen.whole = look_orders(field)
    if not look_contracts(field):
        field.caller.wait(5.0)
        if not look_contracts(field):
            return
    once, plain = field.maker.code(ONCE), field.maker.code(PLAIN)
    billed = field.billed(once)
    if billed is not None and once in field.contracts:
        field.seen.once_only = (field.contracts[once], field.caller.now() - billed.in_orders.answered)
    if field.billed(plain) is not None and plain in field.contracts and field.seen.plain:
        field.seen.plain.append(changed(field.contracts[plain]))


def _all_seen(sightings: dict[str, Sighting]) -> bool:
    return all(one.seen for one in sightings.values())


def _until(field: Field, done: Callable[[], bool], waits: Sequence[float]) -> None:
    """List the contracts, and again after each wait, until it is done or the waits are used up."""
    for wait in [*waits, None]:
        look_contracts(field)
        if done() or wait is None:
            return
        field.caller.wait(max(wait, AFTER_EMPTY if field.empty else 0.0))


PLAN: Final[tuple[tuple[Callable[[Field], None], str, tuple[str, ...]], ...]] = (
    (_customer, "Criando um cliente de teste...", ("nome_fantasia",)),
    (_empty, "", ("empty_on_alter",)),
    (_make_contracts, "Criando contratos de R$ 1,00...", ()),
    (_duplicate, "", ("duplicate_integration_code",)),
    (
        _alter,
        "Alterando os contratos e lendo de volta...",
        ("read_lag", "items_on_alter", "expenses_on_alter", "item_keys_kept"),
    ),
    (_null_value, "", ("null_values",)),
    (_receive, "", ("receipt_value",)),
    (bill, "Faturando...", ()),
    (
        follow,
        "Esperando etapas, OS, notas e boletos aparecerem...",
        ("list_lag", "list_lag_least", "lists_lag", "nfse_seconds"),
    ),
    (bill_again, "Pedindo o que o Omie pode recusar...", ("second_billing",)),
    (bill_not_due, "", ("bill_outside_stage_20",)),
    (control, "", ()),
    (cancel, "Cancelando uma OS e esperando a etapa do contrato...", ("after_cancel",)),
    (suspend_twice, "", ("repeat_status_change",)),
    (_identical, "", ("redundant_on",)),
    (_same_id, "", ("same_id_lookup",)),
    (_slash, "", ("missing_slash",)),
    (_page, "", ("largest_page",)),
    (_emptied, "", ("empty_on_alter",)),
    (_look_at_receipt, "", ("receipt_value",)),
    (lot, "Faturando um lote, se só tem contratos da sonda...", ("lot_details",)),
    (_last_look, "", ("once_only_after_billing", "billing_moves_alteration_date")),
    (read_boletos, "Lendo boletos...", ("boleto", "boleto_seconds", "links_change", "barcode_digits")),
)
"""Each experiment, what the operator is told meanwhile, and the questions that stay open when it cannot be made."""
