"""Omie's dicts and the domain's types, one into the other. Pure.

We own the contract items whose codIntItem carries `ITEM_PREFIX`, and the additions that carry a marker of ours; every
other item and expense, and every field of a contract that this module does not name, goes back to Omie as it came. The
whole contract is sent each time, because Omie does not say whether an alteration merges or replaces items. Seen live:
audit fields, nulls and empty blocks must not be sent back; calculated fields should not.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from billing.domain.addition import ADDITION_PREFIX, Addition, marker_in
from billing.domain.contract import ITEM_PREFIX, Customer, DocumentError, normalise_document
from billing.domain.fiscal_limits import (
    ABROAD,
    CITY,
    FANTASY_NAME,
    NAME,
    NUMBER,
    STREET,
    city_name,
    customer_warnings,
    missing_address,
    read_cep,
    read_emails,
    read_estado,
)
from billing.domain.money import LIMIT, format_brl, to_json
from billing.domain.number import NumberError, whole
from billing.domain.plan import (
    MONTHLY_BILLING,
    Brought,
    Desired,
    OmieContract,
    brought,
    differences,
    fingerprint,
    service_key,
)
from billing.domain.text import of, unescaped, writable
from billing.omie.replies import IncompleteRead
from billing.unreadable import DATA_ERRORS, note

if TYPE_CHECKING:
    from billing.settings import CompanySettings

Json = dict[str, Any]

OWN_ITEM = f"{ITEM_PREFIX}1"
"""codIntItem of the one item we write."""

ACTIVE = "10"
"""cCodSit of a contract that Omie bills."""
NEXT_BILLING_ONLY = 3
"""nTipoItVigFinal: "Apenas para o próximo faturamento"."""

_NOT_SENT = frozenset({"infoCadastro", "nValTotMes", "valorTotal", "valorDed", "valorISS"})
"""Audit and calculated fields."""


class Total(NamedTuple):
    """Centavos a billing adds up to: our items, what people added (items, expenses), and our additions."""

    own: int
    foreign: int
    additions: int


class BilledOrder(NamedTuple):
    """The OS that billing a contract made; `amount` in centavos. `live`: no person cancelled it."""

    nCodCtr: int
    nCodOS: int
    amount: int
    live: bool = True


class UnnamedOrder(NamedTuple):
    """The OS that billing a contract made, where it does not say which one; `nCodCli` is 0 if it is not told either."""

    nCodOS: int
    nCodCli: int
    amount: int
    live: bool


class NotedOrder(NamedTuple):
    """The OS of an NFS-e. `nCodCtr` is 0 for a contract that Omie does not show, and None if the note names none."""

    nCodOS: int
    nCodCtr: int | None


def compact(cadastro: Json, on: date | None = None) -> OmieContract:
    """What planning needs of a contratoCadastro; `on` as in `total`. Absent codes (60 blanks, live) become "".

    One whose content makes reading it fail comes back as `unreadable`.

    Raises:
        IncompleteRead: it cannot be read, and not even tells its number, its code or its customer.
    """
    try:
        return _compact(cadastro, on)
    except DATA_ERRORS as error:
        return _unreadable(cadastro, error)


def _unreadable(cadastro: object, error: BaseException) -> OmieContract:
    """What is known of such a contract. A situation that cannot be read counts as active: it may be somebody's."""
    head = cadastro.get("cabecalho") if isinstance(cadastro, dict) else None
    head = head if isinstance(head, dict) else {}
    number, customer = (_number_in(head, name) for name in ("nCodCtr", "nCodCli"))
    code, shown, situation = (writable(_text(head, name)) for name in ("cCodIntCtr", "cNumCtr", "cCodSit"))
    kind = note(f"contract {number} of Omie", error)
    if not number and not code and not customer:
        text = "A contract that cannot be read names no number, code or customer."
        raise IncompleteRead("ListarContratos", text, rule="odd_reply") from error
    return OmieContract(
        nCodCtr=number,
        cCodIntCtr=code,
        cNumCtr=shown,
        cCodSit=situation or "10",
        nCodCli=customer,
        nDiaFat=0,
        own_total=0,
        foreign_total=0,
        own_items=0,
        dVigInicial=None,
        dVigFinal=None,
        fingerprint="...",
        unreadable=kind,
    )


def contract_number(cadastro: object) -> int:
    """nCodCtr of a contratoCadastro; 0 where it does not say, or in no way that can be read."""
    head = cadastro.get("cabecalho") if isinstance(cadastro, dict) else None
    return _number_in(head, "nCodCtr") if isinstance(head, dict) else 0


def _number_in(block: Mapping[str, Any], name: str) -> int:
    """0 where there is none, or none that can be read."""
    try:
        return whole(block.get(name) or 0)
    except NumberError:
        return 0


def _compact(cadastro: Json, on: date | None) -> OmieContract:
    cabecalho = cadastro["cabecalho"]
    own, foreign, _ = total(cadastro, on)
    return OmieContract(
        nCodCtr=int(cabecalho["nCodCtr"]),
        cCodIntCtr=_text(cabecalho, "cCodIntCtr"),
        cNumCtr=_text(cabecalho, "cNumCtr"),
        cCodSit=_text(cabecalho, "cCodSit"),
        nCodCli=int(cabecalho.get("nCodCli") or 0),
        nDiaFat=int(cabecalho.get("nDiaFat") or 0),
        own_total=own,
        foreign_total=foreign,
        own_items=len(own_items(cadastro)),
        dVigInicial=parse_date(_text(cabecalho, "dVigInicial")),
        dVigFinal=parse_date(_text(cabecalho, "dVigFinal")),
        fingerprint=_fingerprint(cadastro),
        additions=additions_of(cadastro),
        cTipoFat=_text(cabecalho, "cTipoFat") or MONTHLY_BILLING,
    )


def differs(cadastro: Json, desired: Desired, on: date | None = None) -> bool:
    """Whether the contract, but for its additions, must be altered before it is billed; `on` as in `total`."""
    return bool(differences(desired, _compact(cadastro, on)))


def additions_of(cadastro: Json) -> tuple[Brought, ...]:
    """The additions of ours on the contract, sorted: those of the plan, or left by one that was not billed."""
    found = [Brought(marker, _centavos(line.get("nValorReemb")), "expense") for marker, line in _own_expenses(cadastro)]
    items = [item for item in _items(cadastro) if _is_addition(item)]
    found += [Brought(_code(item), _item_total(item["itemCabecalho"]), "item") for item in items]
    return tuple(sorted(found))


def additions_differ(cadastro: Json, additions: Sequence[Addition]) -> bool:
    """Whether the contract carries other additions than these: some missing, too many, or of another amount."""
    return additions_of(cadastro) != brought(additions)


def total(cadastro: Json, on: date | None = None) -> Total:
    """Item by item: quant x valorUnit - discount + valorAcrescimo, each of the three rounded to centavos.

    Reimbursable expenses are billed with the items (seen live: item 150, expense 50, OS 200), so they count.
    An item with dates of its own (nTipoItVigFinal 1) counts only inside them; without `on` every item counts.
    """
    own = foreign = 0
    for item in _items(cadastro):
        amount = _item_total(item["itemCabecalho"]) if on is None or _runs_on(item, on) else 0
        if _is_own(item):
            own += amount
        elif not _is_addition(item):
            foreign += amount
    expenses = sum(_centavos(line.get("nValorReemb")) for line in _expenses(cadastro))
    ours = sum(_centavos(line.get("nValorReemb")) for _, line in _own_expenses(cadastro))
    return Total(own, foreign + expenses - ours, sum(each.amount for each in additions_of(cadastro)))


def own_items(cadastro: Json) -> list[Json]:
    return [item for item in _items(cadastro) if _is_own(item)]


def own_items_to_remove(cadastro: Json, additions: Sequence[Addition] | None = None) -> list[int]:
    """The codItem of our items beyond the first: leaving them out may not be enough (see above).

    With `additions`, also of those items for the next billing only that are not, or no longer, among them.
    """
    surplus = [int(item["itemCabecalho"]["codItem"]) for item in own_items(cadastro)[1:]]
    return surplus + (additions_to_remove(cadastro, additions) if additions is not None else [])


def additions_to_remove(cadastro: Json, additions: Sequence[Addition]) -> list[int]:
    """The codItem of our items for the next billing that are not, or no longer, among these, or are there twice."""
    kept = {int(item["itemCabecalho"]["codItem"]) for item in _items_kept(cadastro, additions).values()}
    numbers = [int(item["itemCabecalho"]["codItem"]) for item in _items(cadastro) if _is_addition(item)]
    return [number for number in numbers if number not in kept]


def contrato_cadastro(
    desired: Desired,
    *,
    code: str,
    nCodCli: int,
    company: "CompanySettings",
    existing: Json | None = None,
    additions: Sequence[Addition] | None = None,
    on: date | None = None,
) -> Json:
    """The whole contratoCadastro to send: our item first, then the others untouched.

    Args:
        desired: what it must be.
        code: the contract's code, cCodIntCtr of a new contract. An existing one keeps the code it has.
        nCodCli: the customer, of a new contract.
        company: account, category, city, services and e-mail flags. An existing contract keeps its own, but
            for the service.
        existing: the contract as Omie has it now.
        additions: exactly these for the next billing; None leaves those that are there.
        on: the day of the additions.
    """
    if existing is None:
        cadastro = _new_cadastro(code, nCodCli, company)
        own: Json = {}
        others: list[Json] = []
    else:
        cadastro = _as_it_is(existing)
        own = next((item for item in _items(cadastro) if _is_own(item)), {})
        others = [item for item in _items(cadastro) if not _is_own(item)]
    cabecalho = cadastro["cabecalho"]
    if not _text(cabecalho, "cCodIntCtr"):
        cabecalho.pop("cCodIntCtr", None)
    cabecalho["cCodSit"] = ACTIVE  # what is wanted, never what was read: an old reading would revive a stopped contract
    cabecalho["nDiaFat"] = desired.nDiaFat
    for name in ("dVigInicial", "dVigFinal"):
        if day := getattr(desired, name):
            cabecalho[name] = f"{date.fromisoformat(day):%d/%m/%Y}"
    cadastro["itensContrato"] = [_own_item(own, desired, company, others), *others]
    cadastro["vencTextos"] = cadastro.get("vencTextos", {}) | {
        "cTpVenc": desired.cTpVenc,
        "nDiaFixo": desired.nDiaFixo,
        "cProxMes": desired.cProxMes,
    }
    if desired.email:
        cadastro["emailCliente"] = cadastro.get("emailCliente", {}) | {"cUtilizarEmails": desired.email}
    return cadastro if additions is None else _with_additions(cadastro, additions, company, on)


def with_additions(existing: Json, additions: Sequence[Addition], company: "CompanySettings", on: date) -> Json:
    """The contract as AlterarContrato takes it, with exactly these additions and nothing else changed."""
    cadastro = _as_it_is(existing)
    cadastro["cabecalho"]["cCodSit"] = ACTIVE
    return _with_additions(cadastro, additions, company, on)


class Takeover(NamedTuple):
    """A contract made by hand, becoming ours: what to send, and what changes in it, in Portuguese."""

    cadastro: Json
    changes: tuple[str, ...]


def takeover(existing: Json, code: str, amount: int, on: date) -> Takeover | None:
    """The contract with its only item marked as ours, and with our code if it has none. None: it has no such item.

    Raises:
        NotOurs: its items are a person's and are not one item worth `amount` (centavos): nobody can tell which is ours.
    """
    cadastro = _as_it_is(existing)
    items = [item for item in _items(cadastro) if not _is_addition(item)]
    if own_items(cadastro) or not items:
        return None
    item, *more = items
    if more:
        raise NotOurs(f"o contrato tem {len(more) + 1} itens feitos à mão")
    worth = _item_total(item["itemCabecalho"]) if _runs_on(item, on) else 0
    if worth != amount:
        raise NotOurs(f"o item do Omie vale {format_brl(worth)} e o contrato no Jestor, {format_brl(amount)}")
    before = _text(item["itemCabecalho"], "codIntItem") or "vazio"
    item["itemCabecalho"]["codIntItem"] = OWN_ITEM
    changes = [f"item de {format_brl(worth)}: código de integração {before} → {OWN_ITEM}"]
    if not _text(cadastro["cabecalho"], "cCodIntCtr"):
        cadastro["cabecalho"]["cCodIntCtr"] = code
        changes.append(f"contrato: código de integração vazio → {code}")
    return Takeover(cadastro, tuple(changes))


class NotOurs(ValueError):  # noqa: N818 - an answer, in Portuguese
    """Why the contract's items cannot be taken over."""


def cliente_cadastro(customer: Customer, code: str | None = None) -> Json:
    """clientes_cadastro for UpsertClienteCpfCnpj, cut to Omie's lengths; what is unknown or no such thing is left out.

    `code` becomes codigo_cliente_integracao: only for a customer Omie does not have yet.
    """
    ddd, number = split_phone(customer.phone or "")
    cadastro = {
        "cnpj_cpf": customer.document,
        "codigo_cliente_integracao": code,
        "razao_social": _cut(customer.name, NAME),
        "nome_fantasia": _cut(customer.name, FANTASY_NAME),
        "email": read_emails(customer.email).text,
        "telefone1_ddd": ddd,
        "telefone1_numero": number,
        "cep": _cep(customer),
        "endereco": _cut(customer.endereco, STREET),
        "endereco_numero": _cut(customer.numero, NUMBER),
        "complemento": _cut(customer.complemento, STREET),
        "bairro": _cut(customer.bairro, STREET),
        "cidade": _city(customer),
        "estado": read_estado(customer.estado),
    }
    return {name: value for name, value in cadastro.items() if value}


def _cep(customer: Customer) -> str:
    """Eight digits; nothing for an address abroad, whose postal code may look like one."""
    abroad = read_estado(customer.estado) == ABROAD
    return "" if abroad else read_cep(customer.cep, customer.estado, customer.cidade).number


def register_warnings(cliente: Json) -> list[str]:
    """What a city will refuse of a customer as Omie has it (clientes_cadastro), whatever Jestor says."""
    if _text(cliente, "exterior") == "S":
        return []
    customer = Customer(
        document=_text(cliente, "cnpj_cpf"),
        name=_text(cliente, "razao_social"),
        cep=_text(cliente, "cep"),
        endereco=_text(cliente, "endereco"),
        numero=_text(cliente, "endereco_numero"),
        complemento=_text(cliente, "complemento"),
        bairro=_text(cliente, "bairro"),
        cidade=_text(cliente, "cidade"),
        estado=_text(cliente, "estado").upper(),
    )
    lines = [*customer_warnings(customer), *filter(None, [read_emails(_text(cliente, "email")).problem])]
    phone = _text(cliente, "telefone1_ddd") + _text(cliente, "telefone1_numero")
    if phone and not split_phone(phone)[1]:
        lines.append("O telefone não é do Brasil, com DDD: a prefeitura pode rejeitar a NFS-e.")
    try:
        normalise_document(customer.document)
    except DocumentError as error:
        lines.append(f"{error}.")
    wrong = [f"No cadastro do cliente no Omie: {line}" for line in lines]
    return missing_address(customer, "no cadastro do cliente no Omie") + wrong


def _cut(text: str | None, length: int) -> str:
    """The text in composed characters, as long as Omie takes it."""
    return unicodedata.normalize("NFC", text or "")[:length].strip()


def split_phone(phone: str) -> tuple[str, str]:
    """(area code, number) of a Brazilian phone in any form; both empty if it is none (see `phone.area_and_number`)."""
    from billing.phone import area_and_number  # noqa: PLC0415 - slow to import, and most processes write no customer

    return area_and_number(phone)


def billed_order(os: Json, by_number: Callable[[], Mapping[str, int]] = dict) -> BilledOrder | UnnamedOrder | None:
    """What an osCadastro says of a contract's billing; None if it is none, or not of a known contract.

    `by_number`: cNumCtr -> nCodCtr, asked only where an order names the contract by its number alone. An amount that
    cannot be read is 0, which differs from every planned one.

    Raises:
        IncompleteRead: nobody can tell whose order it is. It may be the proof that a contract was billed.
    """
    try:
        return _billed_order(os, by_number)
    except DATA_ERRORS as error:
        note("an order of ListarOS", error)
        text = "An order that cannot be read does not say whose it is."
        raise IncompleteRead("ListarOS", text, rule="odd_reply") from error


def _billed_order(os: Json, by_number: Callable[[], Mapping[str, int]]) -> BilledOrder | UnnamedOrder | None:
    cabecalho, info = os.get("Cabecalho") or {}, os.get("InfoCadastro") or {}
    if not cabecalho.get("nCodOS") or not _is_of_a_contract(cabecalho, info):
        return None
    nCodOS, live = int(cabecalho["nCodOS"]), info.get("cCancelada", "N") != "S"
    number = _text(os.get("InformacoesAdicionais") or {}, "cNumContrato")
    nCodCtr = _contract(cabecalho.get("nCodCtr"), number, by_number)
    try:
        amount = _centavos(cabecalho.get("nValorTotal"))
    except DATA_ERRORS as error:
        note(f"the amount of order {nCodOS}", error)
        amount = 0
    if nCodCtr is None:
        return UnnamedOrder(nCodOS, _number_in(cabecalho, "nCodCli"), amount, live)
    return BilledOrder(nCodCtr, nCodOS, amount, live) if nCodCtr else None


def _is_of_a_contract(cabecalho: Json, info: Json) -> bool:
    """Whether billing a contract may have made the order: nobody else did, and it carries no code of ours."""
    return info.get("cOrigem", "CTR") == "CTR" and not _text(cabecalho, "cCodIntOS").startswith(ITEM_PREFIX)


def _contract(nCodCtr: Any, number: str, by_number: Callable[[], Mapping[str, int]]) -> int | None:
    """nCodCtr; 0 for a number of no contract that Omie shows; None when neither is named."""
    if nCodCtr:
        return int(nCodCtr)
    return by_number().get(number, 0) if number else None


def order_of_note(row: Json, by_number: Callable[[], Mapping[str, int]]) -> NotedOrder:
    """What a row of ListarNFSEs says of its order; of one that cannot be read, that it says nothing."""
    try:
        order = row.get("OrdemServico") or {}
        contract = _contract(order.get("nCodigoContrato"), _text(order, "cNumeroContrato"), by_number)
        return NotedOrder(int(order.get("nCodigoOS") or 0), contract)
    except DATA_ERRORS as error:
        note("a row of ListarNFSEs", error)
        return NotedOrder(0, None)


def order_number(os: Json) -> tuple[int, bool]:
    """The nCodOS of an osCadastro, 0 if it has none, and whether it is live: nobody cancelled it.

    Raises:
        IncompleteRead: it does not say so.
    """
    try:
        number = (os.get("Cabecalho") or {}).get("nCodOS")
        cancelled = (os.get("InfoCadastro") or {}).get("cCancelada", "N") == "S"
        return int(number or 0), not cancelled
    except DATA_ERRORS as error:
        note("an order of ListarOS", error)
        raise IncompleteRead("ListarOS", "An order that cannot be read.", rule="odd_reply") from error


@lru_cache(maxsize=4096)
def parse_date(text: str) -> date | None:
    """dd/mm/yyyy; None when empty or no such day."""
    try:
        return datetime.strptime(text, "%d/%m/%Y").date()  # noqa: DTZ007 - a date has no time zone
    except ValueError:
        return None


# --- reading ---


def _items(cadastro: Json) -> list[Json]:
    return cadastro.get("itensContrato") or []


def _expenses(cadastro: Json) -> list[Json]:
    return (cadastro.get("despesasReembolsaveis") or {}).get("despesaReembolsavel") or []


def _own_expenses(cadastro: Json) -> list[tuple[str, Json]]:
    """(marker, line) of the expenses that are additions of ours."""
    marked = [(marker_in(_text(line, "cDescReemb")), line) for line in _expenses(cadastro)]
    return [(marker, line) for marker, line in marked if marker is not None]


def _code(item: Json) -> str:
    return _text(item["itemCabecalho"], "codIntItem")


def _is_addition(item: Json) -> bool:
    return _code(item).startswith(ADDITION_PREFIX)


def _is_own(item: Json) -> bool:
    return _code(item).startswith(ITEM_PREFIX) and not _is_addition(item)


def _items_kept(cadastro: Json, additions: Sequence[Addition]) -> dict[str, Json]:
    """Marker -> the first item that stands for one of these additions."""
    wanted = {each.marker for each in additions if each.how == "item"}
    kept: dict[str, Json] = {}
    for item in _items(cadastro):
        if _code(item) in wanted:
            kept.setdefault(_code(item), item)
    return kept


def _text(block: Mapping[str, Any], key: str) -> str:
    return unescaped(of(block.get(key) or "")).strip()


def _runs_on(item: Json, day: date) -> bool:
    dates = item.get("itemOutrasInf") or {}
    if dates.get("nTipoItVigFinal") != 1:
        return True
    first, last = parse_date(_text(dates, "dItVigInicial")), parse_date(_text(dates, "dItVigFinal"))
    return (first is None or first <= day) and (last is None or day <= last)


def _item_total(item: Json) -> int:
    gross = _decimal(item.get("quant")) * _decimal(item.get("valorUnit"))
    discount = _decimal(item.get("valorDesconto"))
    if item.get("cTpDesconto") == "P":
        discount = gross * _decimal(item.get("aliqDesconto")) / 100
    return _centavos(gross) - _centavos(discount) + _centavos(item.get("valorAcrescimo"))


def _decimal(number: Any) -> Decimal:
    found = Decimal(of(number or 0))
    if abs(found) >= LIMIT:  # not a number compares with nothing, and says so itself
        raise ValueError("an amount or a quantity beyond all measure")
    return found


def _centavos(reais: Any) -> int:
    return int((_decimal(reais) * 100).quantize(Decimal(1), ROUND_HALF_UP))


def _fingerprint(cadastro: Json) -> str:
    items = own_items(cadastro) or [item for item in _items(cadastro) if not _is_addition(item)] or [{}]
    header = items[0].get("itemCabecalho") or {}
    due = cadastro.get("vencTextos") or {}
    return fingerprint(
        description=_text(items[0].get("itemDescrServ") or {}, "descrCompleta"),
        service_key=service_key(int(header.get("codServico") or 0), _text(header, "codLC116")),
        cTpVenc=_text(due, "cTpVenc"),
        nDiaFixo=int(due.get("nDiaFixo") or 0),
        cProxMes=_text(due, "cProxMes"),
        email=_text(cadastro.get("emailCliente") or {}, "cUtilizarEmails"),
    )


# --- writing ---


def _sendable(block: Any) -> Any:
    """A copy without audit fields, calculated fields, nulls and empty blocks; texts without HTML entities."""
    if isinstance(block, dict):
        kept = {key: _sendable(value) for key, value in block.items() if key not in _NOT_SENT}
        return {key: value for key, value in kept.items() if value not in (None, {}, [])}
    if isinstance(block, list):
        return [_sendable(value) for value in block]
    return unescaped(block) if isinstance(block, str) else block


def _as_it_is(existing: Json) -> Json:
    """The contract as AlterarContrato takes it, changing nothing."""
    cadastro: Json = _sendable(existing)
    # Lines with an action: "A" names what is there already, so that nothing is added twice.
    for expense in _expenses(cadastro):
        expense["cAcaoReemb"] = "A"
    for product in (cadastro.get("produtosUtilizados") or {}).get("produtoUtilizado") or []:
        product["cAcaoItemPU"] = "A"
    if not _expenses(cadastro):
        cadastro.pop("despesasReembolsaveis", None)
    email = cadastro.get("emailCliente") or {}
    if all(_text(email, flag).upper() == "S" for flag in ("cEnviarRecibo", "cEnviarLinkNfse")):
        cadastro["emailCliente"] = email | {
            "cEnviarRecibo": "N"
        }  # Omie refuses both; the note holds what a receipt says
    return cadastro


def _new_cadastro(code: str, nCodCli: int, company: "CompanySettings") -> Json:
    flags = company.send_email.model_dump()
    return {
        "cabecalho": {"cCodIntCtr": code, "cCodSit": ACTIVE, "cTipoFat": MONTHLY_BILLING, "nCodCli": nCodCli},
        "infAdic": {
            "cCodCateg": company.omie.cCodCateg,
            "nCodCC": company.omie.nCodCC,
            "cCidPrestServ": company.omie.cCidPrestServ,
        },
        "vencTextos": {"nDias": 0, "cAntecipar": "N", "cPostergar": "N", "cCodPerRef": "001"},
        "emailCliente": {name: "S" if wanted else "N" for name, wanted in flags.items()},
    }


def _own_item(own: Json, desired: Desired, company: "CompanySettings", others: list[Json]) -> Json:
    service = company.omie.services[desired.service]
    header = own.get("itemCabecalho") or {
        "codIntItem": OWN_ITEM,
        "seq": 1 + max((int(item["itemCabecalho"].get("seq") or 0) for item in others), default=0),
        "cNaoGerarFinanceiro": "N",
    }
    codes = service.model_dump(include={"codServico", "codLC116", "codServMunic", "natOperacao"}, exclude_none=True)
    taxes = service.model_dump(include={"aliqISS", "retISS"}, exclude_none=True)
    item = own | {
        "itemCabecalho": header
        | {"codServico": 0}
        | codes
        | {
            "quant": desired.quantity,
            "valorUnit": to_json(desired.unit_amount),
            "cTpDesconto": "V",
            "valorDesconto": to_json(desired.discount),
            "aliqDesconto": 0,
            "valorAcrescimo": 0,
        },
        "itemDescrServ": {"descrCompleta": desired.description},
    }
    if taxes:
        item["itemImpostos"] = own.get("itemImpostos", {}) | taxes
    return item


def _with_additions(cadastro: Json, additions: Sequence[Addition], company: "CompanySettings", on: date | None) -> Json:
    """`cadastro`, ready to be sent, with exactly these additions."""
    category = company.late_fee.cCodCategReemb if company.late_fee else None
    kept = _items_kept(cadastro, additions)
    items = [item for item in _items(cadastro) if not _is_addition(item)]
    for each in additions:
        if each.how == "item":
            seq = 1 + max((int(item["itemCabecalho"].get("seq") or 0) for item in items), default=0)
            first = items[0] if items else {"itemCabecalho": {}}
            items.append(_addition_item(each, first, kept.get(each.marker, {}), category, seq))
    cadastro["itensContrato"] = items
    expenses = _expenses_with(cadastro, [each for each in additions if each.how == "expense"], on)
    if expenses:
        block = cadastro.get("despesasReembolsaveis") or {}
        # The category is one for all expenses of a contract: where people have theirs and a category, theirs stays.
        theirs = len(_own_expenses(cadastro)) < len(_expenses(cadastro)) and _text(block, "cCodCategReemb")
        chosen = {"cCodCategReemb": category} if category and not theirs else {}
        cadastro["despesasReembolsaveis"] = block | chosen | {"despesaReembolsavel": expenses}
    return cadastro


def _expenses_with(cadastro: Json, additions: Sequence[Addition], on: date | None) -> list[Json]:
    """Every expense with its action: people's untouched, ours kept, changed, taken out (E) or included (I)."""
    missing = {each.marker: each for each in additions}
    lines = []
    for line in _expenses(cadastro):
        marker = marker_in(_text(line, "cDescReemb"))
        if marker is None:
            lines.append(line)
        elif (each := missing.pop(marker, None)) is not None:
            lines.append(line | _expense(each) | {"cAcaoReemb": "A"})
        else:  # no longer planned, or there twice
            lines.append(line | {"cAcaoReemb": "E"})
    day = {"dDataReemb": f"{on:%d/%m/%Y}"} if on else {}
    return lines + [_expense(each) | day | {"cAcaoReemb": "I"} for each in missing.values()]


def _expense(each: Addition) -> Json:
    return {"nValorReemb": to_json(each.amount), "cDescReemb": each.label, "cRecorrenteReemb": "N"}


def _addition_item(each: Addition, first: Json, known: Json, category: str | None, seq: int) -> Json:
    """An item for the next billing only, of the same service and taxes as the contract's first one."""
    service = ("codServico", "natOperacao", "codServMunic", "codLC116", "codNBS")
    header = {name: first["itemCabecalho"][name] for name in service if name in first["itemCabecalho"]}
    header |= known.get("itemCabecalho", {"seq": seq, "cNaoGerarFinanceiro": "N"})
    header |= {
        "codIntItem": each.marker,
        "quant": 1,
        "valorUnit": to_json(each.amount),
        "cTpDesconto": "V",
        "valorDesconto": 0,
        "aliqDesconto": 0,
        "valorAcrescimo": 0,
    }
    item = known | {
        "itemCabecalho": header | ({"cCodCategItem": category} if category else {}),
        "itemDescrServ": {"descrCompleta": each.text},
        "itemOutrasInf": {"nTipoItVigFinal": NEXT_BILLING_ONLY},
    }
    taxes = known.get("itemImpostos") or first.get("itemImpostos")
    return item | ({"itemImpostos": taxes} if taxes else {})


def _city(customer: Customer) -> str:
    """As Omie names cities: SAO PAULO (SP), and EX for all those abroad."""
    uf = read_estado(customer.estado)
    if uf == ABROAD:
        return ABROAD
    if not customer.cidade or not uf:
        return ""
    letters = unicodedata.normalize("NFKD", city_name(customer.cidade))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).upper()
    return f"{plain[: CITY - len(' (SP)')]} ({uf})"
