"""Undoes what a probe made: orders first, then titles, contracts and the probe's own customer; then looks again.

What is undone is found in two ways, so that what was made by a call without an answer is found as well: by what the
replies named, and in Omie's lists by the probe's mark, which every code and every billed text carries.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from billing.omie.replies import fold
from billing.unreadable import DATA_ERRORS, note
from ops.probe.caller import NoRoom
from ops.probe.field import CONTRACT, CUSTOMER, ORDER, RECEIPT, TITLE, Made
from ops.probe.lags import known, longest
from ops.probe.looks import look_contracts, look_orders
from ops.probe.observations import is_cancelled, order_text
from ops.probe.things import MARK, UNBILLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.probe.field import Field

Json = dict[str, Any]
LEAST_WAIT: Final = 10.0
"""Seconds before what was undone is looked at again, at least."""
LATE_ORDERS, MINUTE = 6, 60.0
"""How often, and how many seconds apart, orders are looked for whose billing was not answered."""
ENDED: Final = "99"
"""cCodSit of a cancelled contract."""
_CODE: Final = re.compile(rf"{MARK}\d{{10}}-\w{{1,2}}")


def clean(field: Field) -> None:
    """Cancel and delete, twice over; what could not be undone stays in `field.made` as not gone.

    Raises:
        StopProbe: Omie is not to be asked any more.
    """
    field.caller.clean_up()
    _pass(field)
    for _ in range(LATE_ORDERS):  # of billings without an answer; the lists may be late
        if doubtful(field) and field.caller.room(MINUTE):
            _try(partial(field.caller.wait, MINUTE))
            _try(partial(_find_orders, field))
    if not all(one.gone for one in field.made):
        lags = known(field.seen.altered.values())
        _try(partial(field.caller.wait, max(LEAST_WAIT, longest(lags).high if lags else 0.0)))
        _pass(field)


def _pass(field: Field) -> None:
    _try(partial(_find_orders, field))
    _try(partial(_find_contracts, field))
    for one in sorted(field.made, key=lambda made: _ORDER.index(made.kind)):
        if not one.gone and (one.number or one.kind in BY_CODE):
            _try(partial(_undo, field, one))


def _try(step: Callable[[], object]) -> None:
    """What does not fit into a budget, or reads nonsense, keeps nothing else from being undone."""
    try:
        step()
    except NoRoom:
        return
    except DATA_ERRORS as error:
        note("probe, cleaning", error)


def doubtful(field: Field) -> list[str]:
    """Codes of contracts with a billing that was not answered, and of which no order was seen: a person must look."""
    answered = {each.nCodOS for each in field.seen.billed}
    found = Counter(one.code for one in field.made if one.kind == ORDER and one.number not in answered)
    return sorted((field.unanswered - found).keys())


def _find_orders(field: Field) -> None:
    """Every order of the customer that carries a probe's mark, and those that replies named."""
    field.seen.whole = look_orders(field) or field.seen.whole
    known_orders = {one.number: one for one in field.made if one.kind == ORDER and one.number}
    for each in field.seen.billed:
        if each.nCodOS not in known_orders:
            known_orders[each.nCodOS] = Made(ORDER, each.code, each.nCodOS)
            field.made.append(known_orders[each.nCodOS])
    for number, row in field.seen.orders.items():
        code = _CODE.search(f"{(row.get('Cabecalho') or {}).get('cCodIntOS') or ''} {order_text(row)}")
        if code and number not in known_orders:
            known_orders[number] = Made(ORDER, code[0], number)
            field.made.append(known_orders[number])
        if number in known_orders:
            known_orders[number].gone = known_orders[number].gone or is_cancelled(row)


def _find_contracts(field: Field) -> None:
    if not look_contracts(field):
        return
    known_contracts = {one.number: one for one in field.made if one.kind == CONTRACT and one.number}
    for number, row in field.listed.items():
        head = row["cabecalho"]
        if number not in known_contracts:
            known_contracts[number] = Made(CONTRACT, str(head.get("cCodIntCtr") or ""), number)
            field.made.append(known_contracts[number])
        known_contracts[number].gone = known_contracts[number].gone or head.get("cCodSit") == ENDED
    found = {one.code for one in known_contracts.values()}
    for one in field.made:
        if one.kind == CONTRACT and not one.number and one.code in found:
            one.gone = True  # by a call without an answer; what it made was found in the list, and counts there


def _undo(field: Field, one: Made) -> None:
    """Note whether it is gone: Omie did it now, or says that there is no such thing any more."""
    if one.kind == ORDER and one.code.endswith(f"-{UNBILLED}"):
        method, param = "ExcluirOS", _key(one, "nCodOS", "cCodIntOS")
    elif one.kind == ORDER:
        method, param = "CancelarOS", {"nCodOS": one.number}
    elif one.kind == RECEIPT:
        method, param = "CancelarRecebimento", _key(one, "codigo_baixa", "codigo_baixa_integracao")
    elif one.kind == TITLE:
        method, param = "ExcluirContaReceber", _key(one, "chave_lancamento", "codigo_lancamento_integracao")
    elif one.kind == CONTRACT:
        method, param = "CancelarContrato", {"nCodCtr": one.number}
    else:
        method, param = "ExcluirCliente", _key(one, "codigo_cliente_omie", "codigo_cliente_integracao")
    reply = field.caller.write(method, param)
    one.gone = reply.done or re.search(GONE, fold(reply.words)) is not None


def _key(one: Made, number: str, code: str) -> Json:
    return {number: one.number} if one.number else {code: one.code}


GONE: Final = r"\bja (esta|foi) .*(cancelad|excluid)|\bnao cadastrad"
BY_CODE: Final = (RECEIPT, TITLE, CUSTOMER, ORDER)
"""What Omie finds by the probe's own code, too, when no answer named its number."""
_ORDER: Final = (RECEIPT, TITLE, ORDER, CONTRACT, CUSTOMER)
