"""`billing-ops link`: tie a Jestor contract to the Omie contract that already bills it.

Everything that could make the link wrong is looked at first: both exist, the same company, the same customer
(CNPJ/CPF), and neither is tied to another one. When the contract in Omie was made by hand, its only item, if worth the
same, becomes ours too: else the plan would park it. No document or name is ever printed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from billing.agree import LOOKED_UP_FOR
from billing.domain.contract import BadRow, Contract, DocumentError, normalise_document
from billing.domain.month import SAO_PAULO
from billing.domain.text import visible
from billing.jestor.client import equals, with_drafts
from billing.jestor.field_map import option_labels, to_contract
from billing.omie.mapping import NotOurs, Takeover, takeover
from billing.omie.replies import Rejected
from ops.errors import InputError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from billing.jestor.client import JestorClient
    from billing.omie.client import OmieClient
    from billing.settings import Settings
    from ops.desk import Desk

PATIENCE: Final = 900.0
"""Seconds for which an order is followed: longer than a batch that was killed hides the rest of its lane."""
POLL_SECONDS: Final = 2.0
_WHY_LATER: Final[Mapping[str, str]] = {
    "lane blocked": "a fila desta empresa está em pausa",
    "looked at a moment ago": "o contrato foi consultado há menos de um minuto",
    "a call may still be under way": "uma chamada anterior ainda pode terminar",
    "in doubt": "o Omie não respondeu; depois da espera o contrato é lido de novo",
    "an alteration may still be under way": "uma alteração anterior ainda pode terminar",
    "an alteration is under way": "outra alteração deste contrato está em andamento",
    "on hold": "o contrato está retido",
    "Jestor rests": "o Jestor não responde",
}


@dataclass(frozen=True, slots=True)
class Link:
    """A link that may be written. `already`: Jestor has it. `takeover`: what must change in Omie, if anything.

    `warning`: why the items in Omie cannot be taken over, though the link itself is right.
    """

    jestor_id: int
    code: str
    company: str
    nCodCtr: int
    nCodCli: int
    field: str
    already: bool
    takeover: Takeover | None = None
    warning: str = ""


def contract_number(text: str) -> int:
    """The Jestor id in "JST-12". Raises InputError."""
    match = re.fullmatch(r"JST-([1-9][0-9]*)", visible(text).upper())
    if match is None:
        raise InputError(f"Contrato inválido: {text}. Escreva o código do Jestor, por exemplo --contract JST-12.")
    return int(match[1])


def check_link(
    jestor_id: int,
    nCodCtr: int,
    settings: Settings,
    jestor: JestorClient,
    omie: Callable[[str], OmieClient],
    *,
    today: date,
    turn: Callable[[str, str], None],
) -> Link:
    """The link, if nothing speaks against it. Raises OperatorError with the reason.

    `turn`: waits until the question may be asked in that company's Omie, given (company, question).
    """
    table = settings.jestor.contracts
    field = table.fields.omie_id
    if field is None:
        raise OperatorError(
            "A configuração não diz qual campo do Jestor guarda o número do Omie. "
            "Preencha jestor.contracts.fields.omie_id e envie-a com: billing-ops settings push ARQUIVO"
        )
    drafts = with_drafts(table.fields.draft)
    row = jestor.get(table.table, jestor_id, filters=[drafts])
    if row is None:
        raise OperatorError(f"O contrato JST-{jestor_id} não existe no Jestor. Confira o número no registro.")
    options = option_labels(jestor.properties(table.table))
    contract = to_contract(row, table, settings.company_by_label, options)
    if isinstance(contract, BadRow):
        raise OperatorError(f"{contract.code} precisa ser corrigido no Jestor antes: {contract.problems[0]}")
    if not contract.company:
        raise OperatorError(
            f"{contract.code} está {contract.status_label or 'sem situação'} no Jestor e sem empresa. "
            "Corrija o registro antes de vincular."
        )
    if contract.omie_id not in (None, nCodCtr):
        raise OperatorError(
            f"{contract.code} já está vinculado ao contrato {contract.omie_id} do Omie. "
            f"Se está errado, apague o campo {field} no Jestor e repita."
        )
    others = jestor.list_page(table.table, page=1, size=2, filters=[equals(field, nCodCtr), drafts]).items
    other = next((found for item in others if (found := _id(item, table.table)) != jestor_id), None)
    if other is not None:
        raise OperatorError(
            f"O contrato {nCodCtr} do Omie já está vinculado a JST-{other}. "
            f"Um contrato do Omie só pode ter um no Jestor: apague o campo {field} do registro errado."
        )
    turn(contract.company, shown_once_a_minute(nCodCtr))
    existing = _check_omie(contract, nCodCtr, omie(contract.company))
    change, warning = None, ""
    try:
        change = takeover(existing, contract.code, contract.amount, today)
    except NotOurs as reason:
        warning = (
            f"Os itens não foram assumidos: {reason}. Deixe no Omie um só item com o valor do Jestor e repita; "
            "até lá o plano para o contrato."
        )
    already = contract.omie_id == nCodCtr
    nCodCli = int(existing["cabecalho"]["nCodCli"])
    return Link(jestor_id, contract.code, contract.company, nCodCtr, nCodCli, field, already, change, warning)


def shown_once_a_minute(nCodCtr: int) -> str:
    """The question as the lane words it: Omie shows one contract once a minute, whoever asks."""
    return f"ConsultarContrato {nCodCtr}"


def order_link(here: Desk, link: Link, *, asked_at: float) -> None:
    """Has the lane change the contract in Omie and tie Jestor's row to it, and follows until it is done.

    `asked_at`: when the contract was looked at here (epoch seconds): the lane looks again, a minute after that.

    Raises:
        OperatorError: it was refused, or nobody answered for `PATIENCE`; in that case the order may still be carried
            out, and the command may be repeated.
    """
    give_up, ready = here.now().timestamp() + PATIENCE, asked_at + LOOKED_UP_FOR
    while True:
        if (seconds := ready - here.now().timestamp()) > 0:
            here.note(f"O Omie mostra um contrato uma vez por minuto: o pedido sai às {_clock(here, ready)}.")
            here.tools.clock.sleep(seconds)
        answer = _answer_to(here, _send(here, link), link, give_up)
        match str(answer["outcome"]):
            case "done":
                return
            case "later" if float(answer["until"]) < give_up:
                ready = float(answer["until"])
                here.note(f"Ainda não ({_WHY_LATER.get(str(answer['text']), str(answer['text']))}).")
            case "later":
                until = _clock(here, float(answer["until"]))
                raise OperatorError(f"Não foi possível agora: o Omie de {link.company} só atende depois das {until}.")
            case _:
                raise OperatorError(str(answer["text"]))


def _send(here: Desk, link: Link) -> str:
    """The order's key."""
    key = f"link-{link.code}-{link.nCodCtr}-{here.now():%Y%m%d%H%M%S%f}"
    order = {
        "kind": "link",
        "contract": link.code,
        "jestor_id": link.jestor_id,
        "company": link.company,
        "nCodCtr": link.nCodCtr,
        "nCodCli": link.nCodCli,
        "source": "operator",
        "key": key,
        "received_at": here.now().isoformat(),
    }
    here.stack.send("OmieWritesQueueUrl", json.dumps({"order": order}), group=link.company, dedup=key)
    return key


def _answer_to(here: Desk, key: str, link: Link, give_up: float) -> Mapping[str, Any]:
    """What the lane remembers of this order, once it does."""
    told = False
    while True:
        kept = here.stack.remembered(link.code).link
        if kept.get("order") == key:
            return kept
        now = here.now().timestamp()
        if now >= give_up:
            raise OperatorError(
                f"O pedido está na fila de {link.company} e ainda não foi atendido (um faturamento em andamento ou uma "
                "pausa da fila). Ele vale; para ver o resultado, repita este comando mais tarde."
            )
        if not told:
            told = True
            here.note(f"Pedido na fila de {link.company}, atrás do que já está lá. Acompanhando...")
        here.tools.clock.sleep(POLL_SECONDS)


def _clock(here: Desk, at: float) -> str:
    moment = datetime.fromtimestamp(at, here.now().tzinfo).astimezone(SAO_PAULO)
    return f"{moment:%H:%M:%S}"


def _check_omie(contract: Contract, nCodCtr: int, omie: OmieClient) -> dict[str, Any]:
    """The contratoCadastro."""
    try:
        existing: dict[str, Any] = omie.consultar_contrato(nCodCtr)
        cabecalho: dict[str, Any] = existing["cabecalho"]
    except Rejected as error:
        raise OperatorError(
            f"O contrato {nCodCtr} não existe no Omie da empresa {contract.company}. "
            f"Confira o número no Omie (resposta: {' '.join(error.text.split())[:120]})"
        ) from None
    code = str(cabecalho.get("cCodIntCtr") or "").strip()
    if code.startswith("JST-") and code != contract.code:
        raise OperatorError(f"No Omie, o contrato {nCodCtr} já tem o código {code}. Confira qual dos dois é o certo.")
    customers = omie.iter_clientes(clientesFiltro={"codigo_cliente_omie": cabecalho["nCodCli"]})
    document = next(
        (
            str(found.get("cnpj_cpf") or "")
            for found in customers
            if found["codigo_cliente_omie"] == cabecalho["nCodCli"]
        ),
        "",
    )
    if _normal(document) != contract.customer.document:  # of a customer abroad neither side has one
        raise OperatorError(
            f"{contract.code} e o contrato {nCodCtr} do Omie são de clientes diferentes "
            "(o CNPJ/CPF não confere). Nada foi gravado."
        )
    return existing


def _normal(document: str) -> str:
    try:
        return normalise_document(document)
    except DocumentError:
        return ""


def _id(row: dict[str, Any], table: str) -> int:
    return int(row[f"id_{table}"])
