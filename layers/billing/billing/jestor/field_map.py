"""A Jestor row becomes a `Contract`, or says in Portuguese which field a person must put right.

Jestor's fields are typed by the people who build the table, so a value may come as a number or as text, a
date with or without a time, an option as its label or as its id. All of these are read; nothing is guessed:
what can be understood in two ways is a problem of the row.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from billing.domain import text as texts
from billing.domain.contract import (
    BadRow,
    Contract,
    ContractStatus,
    Customer,
    DocumentError,
    LateWishes,
    Price,
    normalise_document,
    plain_document,
)
from billing.domain.fiscal_limits import ABROAD, read_emails, read_estado
from billing.domain.money import LIMIT, MoneyError, format_brl, parse_money
from billing.domain.number import NumberError, percent, whole
from billing.domain.reajuste import Index, Wish
from billing.domain.sizes import shortened
from billing.omie.mapping import split_phone
from billing.unreadable import DATA_ERRORS, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from billing.settings import FieldMap, TableMap

T = TypeVar("T")
Row = dict[str, Any]
Options = dict[str, dict[str, str]]
"""Field -> option id -> label."""

PRORATE: Final = "proporcional"
"""The label of `change_mode` that charges a change from its day on; any other label, or none, is the next cycle."""
LINE_LENGTH: Final = 400
_YES: Final = frozenset({"1", "true", "sim", "yes"})
_NOT_THERE: Final = object()
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:$|[ T])")
_OLDEST_YEAR: Final = 1900
"""A year before it has lost its first digits: "0026-12-01"."""


class Contact(NamedTuple):
    """Name and phone as they were typed; `document` without punctuation, unchecked."""

    name: str
    phone: str
    document: str


def to_contract(
    row: Row,
    table_map: TableMap,
    company_by_label: Mapping[str, str],
    options: Mapping[str, Mapping[str, str]] | None = None,
) -> Contract | BadRow:
    """The row as a contract, amounts in centavos.

    Args:
        row: one item of `/object/list`, connected records nested.
        table_map: settings; `fields` may be dotted ("cliente.cnpj_cpf").
        company_by_label: Jestor's company label -> company key.
        options: from `option_labels`, for tables whose option fields hold ids.

    What a company sells and how it treats a missing due day are its own rules: planning looks at those.

    A row that bills nothing (draft, churned, suspended...) is never a BadRow: what cannot be read of it stays
    empty, `company` too, for nobody needs to repair a contract that ended. A row that raises is an `unreadable`
    BadRow, of its company when at least that can be read.
    """
    try:
        return _to_contract(row, table_map, company_by_label, options or {})
    except DATA_ERRORS as error:
        row_id = int(row[f"id_{table_map.table}"])
        kind = note(f"contract row {row_id}", error)
        company = None
        with suppress(*DATA_ERRORS):
            company = _Reader(row, table_map.fields, options or {}).known("company", company_by_label, "")
        return BadRow.unread(row_id, company, f"Contrato {row_id}", kind)


def _to_contract(
    row: Row,
    table_map: TableMap,
    company_by_label: Mapping[str, str],
    options: Mapping[str, Mapping[str, str]],
) -> Contract | BadRow:
    read = _Reader(row, table_map.fields, options)
    row_id = int(row[f"id_{table_map.table}"])
    status_label = read.text("status") or ""
    status = ContractStatus.DRAFT if read.flag("draft") else _status(status_label, table_map, read)
    company = read.known("company", company_by_label, "não é uma empresa da configuração")
    name = read.text("name") or ""
    start, end = read.day("start"), read.day("end")
    if start and end and end < start:
        read.problem("end", "é anterior ao início do contrato")
    customer, document_problem, unread = _customer(read, name)
    quantity, unit_amount, discount, price_known = _price(read)
    contract = Contract(
        jestor_id=row_id,
        company=company or "",
        name=name or f"Contrato {row_id}",
        customer=customer,
        service=read.text("service") or "",
        description=read.text("description") or "",
        quantity=quantity,
        unit_amount=unit_amount,
        discount=discount,
        due_day=read.due_day(),
        start=start,
        end=end,
        status=status or ContractStatus.OTHER,
        status_label=status_label,
        omie_id=read.whole("omie_id", empty=0) or None,
        prorate=texts.fold(read.text("change_mode") or "") == PRORATE,
        change_from=read.day("change_from"),
        late=_late(read, table_map),
        readjust=_readjust(read, table_map),
        document_problem=document_problem,
        unread=unread,
    )
    if contract.quantity * contract.unit_amount >= LIMIT:
        whole_amount = f"{contract.quantity} × {format_brl(contract.unit_amount)}"
        read.problem("quantity", f"{whole_amount} é grande demais: confira a quantidade e o valor")
        price_known = False
    bills = status is None or status is ContractStatus.ACTIVE
    if bills and read.problems:
        price = Price(quantity, unit_amount, discount) if price_known else None
        return BadRow(row_id, company, contract.name, tuple(dict.fromkeys(read.problems)), price)
    return contract


def _price(read: _Reader) -> tuple[int, int, int, bool]:
    """Quantity, unit amount and discount, and whether all three could be read."""
    before = len(read.problems)
    quantity = read.whole("quantity", empty=1)
    unit_amount, discount = read.money("unit_amount", empty=None), read.money("discount", empty=0)
    return quantity, unit_amount, discount, len(read.problems) == before


def contact(row: Row, fields: FieldMap) -> Contact:
    """Whom an invoice is sent to. Nothing of it is a problem of the row: what cannot be read is empty."""
    read = _Reader(row, fields, {})
    name = read.text("customer_name") or read.text("name") or ""
    return Contact(name, read.text("phone") or "", plain_document(read.text("document") or ""))


def option_labels(properties: Iterable[Mapping[str, Any]]) -> Options:
    """Field -> option id -> label, from `JestorClient.properties`. Fields without options are left out."""
    found: Options = {}
    for field in properties:
        configs = [field.get("radio_select_config"), field.get("multiple_select_config")]
        lists = [
            field.get("tags"),
            *(config.get("options") for config in configs if isinstance(config, dict)),
        ]
        options = [option for each in lists if isinstance(each, list) for option in each]
        told = [option for option in options if "id" in option and "label" in option]
        labels = {texts.of(option["id"]): str(option["label"]) for option in told}
        if labels:
            found[str(field["key"])] = labels
    return found


def check_fields(
    properties: Sequence[Mapping[str, Any]],
    table_map: TableMap,
    company_labels: Iterable[str] = (),
    service_labels: Iterable[str] = (),
) -> list[str]:
    """What makes reading this table pointless: one Portuguese line each, nothing when it fits the settings.

    Run it before a table is read: a field that somebody deleted and made again has another API name, and
    every row would come without it. Of a connected record only the connection itself is looked at. Labels
    matter when none of them is left: a single one that came or went concerns its own rows, which park.

    Args:
        properties: from `JestorClient.properties`.
        table_map: settings.
        company_labels: of the company that is about to be planned.
        service_labels: what that company sells.
    """
    keys = {str(field["key"]) for field in properties}
    lines = []
    for word, path in table_map.fields:
        root = path.partition(".")[0] if path else None
        if root is None or root in keys or word == "draft":
            continue
        near = difflib.get_close_matches(root, sorted(keys), n=3, cutoff=0.6)
        hint = f" Parecidos: {', '.join(near)}." if near else ""
        lines.append(
            f"jestor.contracts.fields.{word}: o campo {root} não existe mais na tabela {table_map.table}."
            f"{hint} Corrija o nome de API na configuração."
        )
    options = option_labels(properties)
    active = [label for label, meaning in table_map.status_labels.items() if meaning == "active"]
    for setting, field, labels in (
        ("jestor.contracts.status_labels", table_map.fields.status, active),
        ("companies.*.jestor_label", table_map.fields.company, company_labels),
        ("companies.*.omie.services", table_map.fields.service, service_labels),
    ):
        existing = list(options.get(field, {}).values())
        wanted = list(labels)
        if (
            existing
            and wanted
            and not {texts.fold(label) for label in wanted} & {texts.fold(label) for label in existing}
        ):
            lines.append(
                f"{setting}: o campo {field} não tem mais a opção {_quoted(wanted)}. "
                f"No Jestor há {_quoted(existing[:20])}. Use na configuração o texto que o Jestor mostra."
            )
    return lines


def _quoted(labels: Iterable[str]) -> str:
    return ", ".join(f'"{label}"' for label in labels)


def _status(label: str, table_map: TableMap, read: _Reader) -> ContractStatus | None:
    found = read.known("status", table_map.status_labels, "não está em jestor.contracts.status_labels")
    return ContractStatus(found) if label and found else None


def _late(read: _Reader, table_map: TableMap) -> LateWishes:
    """What cannot be read here is no problem of the row: the bill goes out, without late charges."""
    before = len(read.problems)
    fine, interest = read.percent("late_fine_percent"), read.percent("late_interest_percent")
    mode = _label_of(read, "late_mode", table_map.late_mode_labels, "jestor.contracts.late_mode_labels")
    kind = _label_of(read, "customer_kind", table_map.customer_kind_labels, "jestor.contracts.customer_kind_labels")
    problems = tuple(read.problems[before:])
    del read.problems[before:]
    return LateWishes(fine, interest, mode, None if kind is None else kind == "consumer", problems)


def _readjust(read: _Reader, table_map: TableMap) -> Wish:
    """Likewise: what cannot be read stops the adjustment alone."""
    before = len(read.problems)
    label = _label_of(read, "readjust_index", table_map.readjust_labels, "jestor.contracts.readjust_labels")
    percent, last = read.percent("readjust_percent"), read.day("readjusted_on")
    problems = tuple(read.problems[before:])
    del read.problems[before:]
    return Wish(None if label in {None, "nenhum"} else Index(label), percent, last, problems)


def _label_of(read: _Reader, word: str, labels: Mapping[str, T], setting: str) -> T | None:
    return read.known(word, labels, f"não está em {setting}") if read.text(word) else None


def _customer(read: _Reader, title: str) -> tuple[Customer, str, tuple[str, ...]]:
    """The customer, why it has no document, and what else of it cannot be used.

    Only a contract that is to be created in Omie needs a document: a customer abroad has none, and is billed by the
    contract that is linked.
    """
    name = read.line("customer_name") or title
    if not name:
        read.problem("customer_name", "está vazio: informe o nome do cliente")
    phone, email, estado = read.text("phone"), read.text("email"), read.text("estado")
    uf = read_estado(estado)
    emails = read_emails(email)
    if emails.problem:
        read.note("email", emails.problem)
    if estado and not uf:
        read.note("estado", "não é um dos 26 estados nem o DF (use a sigla, ou EX para o exterior).")
    if phone and uf != ABROAD and not split_phone(phone)[1]:
        read.note("phone", "não é um telefone do Brasil com DDD: não vai ao Omie.")
    document, document_problem = _document(read)
    customer = Customer(
        document=document,
        name=name,
        email=emails.text or None,
        phone=phone,
        cep=read.text("cep"),
        endereco=read.line("endereco"),
        numero=read.line("numero"),
        complemento=read.line("complemento"),
        bairro=read.line("bairro"),
        cidade=read.line("cidade"),
        estado=uf or None,
    )
    return customer, document_problem, tuple(read.notes)


def _document(read: _Reader) -> tuple[str, str]:
    """The document and no problem, or none and why."""
    try:
        return normalise_document(read.text("document") or ""), ""
    except DocumentError as error:
        return "", read.named("document", str(error))


class _Reader:
    """One row, read field by field; what cannot be read is noted once and comes back empty."""

    def __init__(self, row: Row, fields: FieldMap, options: Mapping[str, Mapping[str, str]]) -> None:
        self._row = row
        self._fields = fields
        self._options = options
        self.problems: list[str] = []
        self.notes: list[str] = []

    def named(self, word: str, what: str) -> str:
        """A line that begins with the field's name in Jestor; of what was typed, no more than helps to find it."""
        return f"{getattr(self._fields, word) or self._fields.name}: {shortened(what, LINE_LENGTH)}"

    def problem(self, word: str, what: str) -> None:
        self.problems.append(self.named(word, what))

    def note(self, word: str, what: str) -> None:
        """What stops no bill."""
        self.notes.append(self.named(word, what))

    def value(self, word: str) -> Any:
        """The raw value; None when the field is not mapped, empty or not there."""
        path: str | None = getattr(self._fields, word)
        if path is None:
            return None
        root, _, inner = path.partition(".")
        found = self._row.get(root, _NOT_THERE)
        if found is _NOT_THERE:
            if word != "draft":
                self.problem(word, "o campo não veio do Jestor; confira o nome de API na configuração")
            return None
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if inner and found not in (None, ""):
            if not isinstance(found, dict):
                self.problem(word, f"o registro de {root} não veio aberto: um só registro conectado era esperado")
                return None
            found = found.get(inner, _NOT_THERE)
            if found is _NOT_THERE:
                self.problem(word, f"o campo não veio no registro conectado {root}; confira o nome de API")
                return None
        if isinstance(found, dict | list):
            self.problem(word, "é uma lista ou um registro conectado: aponte para um campo simples dele")
            return None
        return self._options.get(path, {}).get(texts.of(found), found)

    def text(self, word: str) -> str | None:
        """The field as text: without HTML entities, line breaks as line feeds, and nothing that XML cannot carry."""
        value = self.value(word)
        if value is None:
            return None
        text = texts.of(value).strip()
        if text.isprintable() and "&" not in text:  # nearly all: nothing below would change it
            return text or None
        text = texts.visible(texts.with_line_breaks(texts.without_entities(text)))
        if not texts.can_be_written(text):
            self.problem(word, "tem um caractere que não pode ser lido; apague o texto e digite-o de novo")
            text = texts.writable(text)
        return text or None

    def line(self, word: str) -> str | None:
        """As `text`, on one line and with one blank between words: an address has no breaks and no tabs."""
        text = self.text(word)
        return " ".join(text.split()) if text else None

    def flag(self, word: str) -> bool:
        return texts.of(self.value(word)).casefold() in _YES

    def known(self, word: str, labels: Mapping[str, T], unknown: str) -> T | None:
        """What the field's label stands for; capitals and repeated blanks do not matter."""
        label = self.text(word)
        if label is None:
            self.problem(word, "está vazio")
            return None
        exact = labels.get(label)
        if exact is not None:
            return exact
        for known, meaning in labels.items():
            if texts.fold(known) == texts.fold(label):
                return meaning
        self.problem(word, f'"{texts.shown(label)}" {unknown}')
        return None

    def money(self, word: str, *, empty: int | None) -> int:
        value = self.value(word)
        if (value is None or (isinstance(value, str) and not texts.visible(value))) and empty is not None:
            return empty
        try:
            centavos = parse_money(value)
        except MoneyError as error:
            self.problem(word, str(error))
            return 0
        if centavos < 0:
            self.problem(word, "não pode ser negativo")
        return centavos

    def percent(self, word: str) -> Decimal | None:
        """From 2, "2", "2,5" or "2,5 %"; None when empty."""
        text = self.text(word)
        if text is None:
            return None
        try:
            return percent(text)
        except NumberError as error:
            self.problem(word, str(error))
            return None

    def whole(self, word: str, *, empty: int) -> int:
        value = self.value(word)
        if value is None or (isinstance(value, str) and not texts.visible(value)):
            return empty
        try:
            return whole(value)
        except NumberError as error:
            self.problem(word, str(error))
            return empty

    def due_day(self) -> int | None:
        day = self.whole("due_day", empty=0)
        if day > 31:
            self.problem("due_day", f"{day} não é um dia do mês")
        return day if 1 <= day <= 31 else None

    def day(self, word: str) -> date | None:
        """From "2026-12-01" or "2026-12-01 09:30"."""
        text = self.text(word)
        if text is None:
            return None
        match = _DATE.match(text)
        if match:
            with suppress(ValueError):
                found = date(int(match[1]), int(match[2]), int(match[3]))
                if found.year >= _OLDEST_YEAR:
                    return found
        self.problem(word, f'"{texts.shown(text)}" não é uma data; o Jestor escreve 2026-12-01')
        return None
