"""What `billing-ops doctor` looks at in Jestor: token, fields, labels, write-back fields, and what the token hides."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from billing.domain.charge import MONTHLY, State
from billing.domain.contract import contract_code
from billing.domain.number import NumberError, whole
from billing.domain.text import fold
from billing.jestor.client import IncompleteRead, JestorError, JestorUnavailable, id_field, with_drafts
from billing.jestor.field_map import PRORATE, check_fields, option_labels
from billing.plan_company import VANISHED_LEAST, VANISHED_SHARE
from ops.findings import Examiner, Finding, Findings, count, quoted, some

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from billing.domain.charge import Charge
    from billing.domain.month import BillingMonth
    from billing.jestor.client import JestorClient, Row
    from billing.settings import ReceivablesTable, Settings, TableMap

SAMPLE: Final = 100
"""Rows looked at for the fields of connected records."""
AGAIN: Final = "Repita: billing-ops doctor"
_API_NAMES: Final = "Copie o nome de API em Jestor > Developer Area > Objects and record types."
_NOT_OURS: Final = ("formula", "lookup", "rollup", "timein", "lastedited", "createdby", "button", "indicator", "id")
"""Parts of the names of field types that Jestor fills in by itself."""
_OPTION_TYPES: Final = frozenset({"tags", "radioSelect", "multipleSelect"})
_NUMBERS: Final = frozenset({"number", "currency", "percent", "decimal", "integer"})
_NO_TEXT: Final = _NUMBERS | {"date", "datetime", "checkbox", "file", "connectedTable"}
_DATES: Final = frozenset({"due_date", "paid_date"})
_AMOUNTS: Final = frozenset(
    {
        "amount", "billed_amount", "open_amount", "paid_amount", "collected_fine", "collected_interest", "charges",
        "charges_billed",
        "delay_days", "title",
    }
)  # fmt: skip
_OPTIONS: Final = frozenset({"company", "status", "stage", "exception"})
"""Words of the receivables table whose labels are compared one by one."""

say = Examiner("Jestor")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the token sees. `named`: the nCodCtr that rows carry."""

    codes: frozenset[str]
    named: frozenset[int]


def examine_jestor(
    settings: Settings,
    jestor: JestorClient,
    billed: Iterable[Charge],
    last_month: BillingMonth,
) -> Generator[Finding, None, Seen | None]:
    """Every finding; what the token sees, or None when the contracts could not be read whole.

    `billed`: the ledger's charges of `last_month`, of every company.
    """
    table = settings.jestor.contracts
    try:
        properties = jestor.properties(table.table)
    except JestorError as error:
        yield _unread(error)
        return None
    yield say.ok("jestor.token", f"O Jestor aceita o token; a tabela {table.table} tem {len(properties)} campos.")
    missing = [line for line in check_fields(properties, table) if line.startswith("jestor.contracts.fields.")]
    for line in missing:
        what, _, fix = line.rpartition(" Corrija ")
        yield say.error("jestor.fields", what, f"Corrija {fix}")
    yield from _labels(settings, option_labels(properties))
    yield from _write_back(table, properties)
    if settings.jestor.receivables is not None:
        yield from _receivables(settings, settings.jestor.receivables, jestor)
    if missing:
        return None  # a list that asks for a field that is not there says nothing
    try:
        yield from _connected(table, jestor)
        rows = _Rows.read(table, jestor, option_labels(properties))
    except IncompleteRead as error:
        what = str(error).partition("). ")[0]
        fix = "Repita quando ninguém estiver mexendo na tabela. Se persistir, veja os filtros do perfil do token."
        yield say.error("jestor.rows", f"{what}).", fix)
        return None
    except JestorError as error:
        yield _unread(error)
        return None
    yield from rows.visible(billed, last_month)
    yield from rows.companies(settings)
    return Seen(frozenset(map(contract_code, rows.ids)), frozenset(rows.named))


def _unread(error: JestorError) -> Finding:
    what, _, fix = str(error).partition("). ")
    if error.http_status in (401, 403):
        return say.error("jestor.token", f"O Jestor recusa o token: {what}).", "billing-ops secrets put jestor")
    if isinstance(error, JestorUnavailable):
        return say.error(
            "jestor.reachable", f"{what}).", "Confira JestorBaseUrl e a rede, e repita: billing-ops doctor"
        )
    return say.error("jestor.table", f"{what}).", fix)


# ---- labels


def _labels(settings: Settings, options: Mapping[str, Mapping[str, str]]) -> Findings:
    table = settings.jestor.contracts
    sold = [label for company in settings.companies.values() for label in company.omie.services]
    payers = [company.jestor_label for company in settings.companies.values()]
    for word, field, wanted in (
        ("status", table.fields.status, list(table.status_labels)),
        ("company", table.fields.company, payers),
        ("service", table.fields.service, list(dict.fromkeys(sold))),
        ("late_mode", table.fields.late_mode, list(table.late_mode_labels)),
        ("customer_kind", table.fields.customer_kind, list(table.customer_kind_labels)),
        ("readjust_index", table.fields.readjust_index, list(table.readjust_labels)),
    ):
        if field is None or "." in field:  # options of a connected record's fields are not known
            continue
        existing = list(options.get(field, {}).values())
        if existing:
            yield from _compare(word, field, wanted, existing)
        else:
            yield say.warning(
                f"jestor.labels.{word}",
                f"O campo {field} não é de opções: o que se digita nele não pode ser conferido.",
                "No Jestor, faça dele um campo de opção única: um erro de digitação para o contrato.",
            )
    modes = list(options.get(table.fields.change_mode or "", {}).values())
    if modes and PRORATE not in set(map(fold, modes)):
        yield say.warning(
            "jestor.labels.change_mode",
            f'O campo {table.fields.change_mode} não tem a opção "Proporcional": mudanças valem do próximo ciclo.',
            "Se é o que se quer, tire o campo da configuração; senão, crie a opção no Jestor.",
        )


_SETTING: Final = {
    "status": "[jestor.contracts.status_labels]",
    "company": "[companies.EMPRESA] jestor_label",
    "service": '[companies.EMPRESA.omie.services."..."]',
    "late_mode": "[jestor.contracts.late_mode_labels]",
    "customer_kind": "[jestor.contracts.customer_kind_labels]",
    "readjust_index": "[jestor.contracts.readjust_labels]",
}
_OFFERED: Final = frozenset({"late_mode", "customer_kind", "readjust_index"})
"""Whose labels the settings offer without being asked: Jestor need not have all of them."""
_ADD: Final = {
    "status": "Acrescente cada uma em [jestor.contracts.status_labels] (active, suspended, churned, draft ou other).",
    "company": "Se deveria faturar, acrescente a empresa na configuração; senão, é assim mesmo.",
    "service": 'Acrescente [companies.EMPRESA.omie.services."OPÇÃO"], ou tire a opção do Jestor.',
    "late_mode": "Acrescente cada uma em [jestor.contracts.late_mode_labels] (next_invoice, boleto ou none).",
    "customer_kind": "Acrescente cada uma em [jestor.contracts.customer_kind_labels] (consumer ou business).",
    "readjust_index": "Acrescente cada uma em [jestor.contracts.readjust_labels] (ipca, igpm, fixo ou nenhum).",
}


def _compare(word: str, field: str, wanted: Sequence[str], existing: Sequence[str]) -> Findings:
    there, here = {fold(label) for label in existing}, {fold(label) for label in wanted}
    gone = [label for label in wanted if fold(label) not in there]
    if word in _OFFERED and len(gone) < len(wanted):
        gone = []
    unknown = [label for label in existing if fold(label) not in here]
    check = f"jestor.labels.{word}"
    if gone:
        # A company that Jestor does not know bills nobody; a status or a service is missed only if rows have it.
        report = say.error if word == "company" or len(gone) == len(wanted) else say.warning
        yield report(
            check,
            f"O campo {field} não tem a opção {quoted(gone)}, que está em {_SETTING[word]}.",
            f"No Jestor há {quoted(list(existing))}. Copie o texto como o Jestor o mostra.",
        )
    if unknown:
        yield say.warning(
            check,
            f"A configuração não conhece a opção {quoted(unknown)} do campo {field}: os contratos com ela param.",
            _ADD[word],
        )
    if not gone and not unknown:
        yield say.ok(check, f"As {len(existing)} opções de {field} estão na configuração.")


# ---- fields that we write


def _write_back(table: TableMap, properties: Sequence[Row]) -> Findings:
    fields = {word: path for word, path in table.write_back if path is not None}
    if not fields:
        yield say.warning(
            "jestor.write_back",
            "A configuração não diz em que campos do Jestor gravar o que aconteceu no Omie.",
            "Crie-os (docs/jestor-setup.md) e preencha [jestor.contracts.write_back].",
        )
        return
    yield from _writable("jestor.write_back", "jestor.contracts.write_back", fields, properties)
    lacking = [word for word in ("invoice_link", "whatsapp_phone", "whatsapp_text") if word not in fields]
    if lacking:
        yield say.warning(
            "jestor.write_back",
            f"A configuração não diz onde gravar {', '.join(lacking)}: o cliente não recebe a fatura pelo WhatsApp.",
            "Crie os campos (docs/jestor-setup.md) e preencha [jestor.contracts.write_back].",
        )


def _writable(check: str, setting: str, fields: Mapping[str, str], properties: Sequence[Row]) -> Findings:
    """Whether each field exists and takes what we write."""
    kinds = {str(field["key"]): str(field.get("type") or "") for field in properties}
    bad = 0
    for word, field in fields.items():
        problem = _problem(word, kinds.get(field))
        if problem:
            bad += 1
            what, fix = problem
            yield say.error(check, f"{setting}.{word}: o campo {field} {what}", f"{fix} Depois, em [{setting}].")
    if not bad:
        yield say.ok(check, f"Os {len(fields)} campos de {setting} existem e aceitam gravação.")


def _problem(word: str, kind: str | None) -> tuple[str, str] | None:
    """What is the matter with a field of this type, and what to do. Types whose names we do not know pass."""
    if kind is None:
        return "não existe.", "Copie o nome de API do Jestor, ou crie o campo."
    lower = kind.lower().replace("_", "").replace(" ", "")
    if any(part == lower if part == "id" else part in lower for part in _NOT_OURS):
        return f"é calculado pelo próprio Jestor ({kind}) e não pode ser gravado.", "Crie um campo comum para isto."
    wanted = "data" if word in _DATES else "número" if word in _AMOUNTS else "texto"
    if word in _OPTIONS or word == "contract":
        return None
    if kind in _OPTION_TYPES:
        return f"é de opções ({kind}), e o que gravamos não é uma delas.", f"Use um campo de {wanted}."
    fits = {"data": kind not in _NO_TEXT - {"date", "datetime"}, "número": kind not in _NO_TEXT - _NUMBERS}
    if not fits.get(wanted, kind not in _NO_TEXT):
        return f"é do tipo {kind} e não aceita {wanted}.", f"Use um campo de {wanted}."
    return None


def _receivables(settings: Settings, table: ReceivablesTable, jestor: JestorClient) -> Findings:
    check = "jestor.receivables"
    try:
        properties = jestor.properties(table.table)
    except JestorError as error:
        what = str(error).partition("). ")[0]
        yield say.error(check, f"A tabela de recebíveis não pôde ser lida. {what}).", _API_NAMES)
        return
    fields = {word: path for word, path in table.fields if path is not None and word != "draft"}
    yield from _writable(check, "jestor.receivables.fields", fields, properties)
    options = option_labels(properties)
    labels = {
        "company": [company.jestor_label for company in settings.companies.values()],
        "status": list(table.status_labels),
        "stage": [*table.stages, table.resolved_stage],
        "exception": list(table.exception_labels),
    }
    for word, wanted in labels.items():
        existing = list(options.get(fields.get(word, ""), {}).values())
        gone = [label for label in wanted if fold(label) not in set(map(fold, existing))]
        if existing and gone:
            yield say.error(
                check,
                f"O campo {fields[word]} da tabela {table.table} não tem a opção {quoted(gone)}.",
                f"Crie-a no Jestor, ou mude a configuração: lá há {quoted(existing)}.",
            )


# ---- rows


def _connected(table: TableMap, jestor: JestorClient) -> Findings:
    """Whether the fields of connected records come; their table's name is not known, so rows must tell."""
    dotted = {word: path for word, path in table.fields if path is not None and "." in path}
    if not dotted:
        return
    roots = sorted({path.partition(".")[0] for path in dotted.values()})
    drafts = with_drafts(table.fields.draft)
    rows = jestor.list_page(table.table, page=1, size=SAMPLE, filters=[drafts], select=roots).items
    bad = 0
    for word, path in dotted.items():
        root, _, inner = path.partition(".")
        records = [record for row in rows if (record := _opened(row.get(root)))]
        if records and not any(isinstance(record, dict) and inner in record for record in records):
            bad += 1
            yield say.error(
                "jestor.connected",
                f"jestor.contracts.fields.{word}: o registro conectado {root} não traz o campo {inner}.",
                _API_NAMES,
            )
        elif not records:
            bad += 1
            yield say.warning(
                "jestor.connected",
                f"jestor.contracts.fields.{word}: nenhum dos {len(rows)} primeiros contratos tem {root} preenchido.",
                f"Conecte um contrato ao seu registro em {root}. {AGAIN}",
            )
    if not bad:
        yield say.ok("jestor.connected", f"Os {len(dotted)} campos de {', '.join(roots)} vêm com o contrato.")


def _opened(value: object) -> object:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


@dataclass(slots=True)
class _Rows:
    ids: list[int]
    named: set[int]
    payers: Counter[str]

    @classmethod
    def read(cls, table: TableMap, jestor: JestorClient, options: Mapping[str, Mapping[str, str]]) -> _Rows:
        """Every row, drafts too; few fields. Raises JestorError, IncompleteRead too."""
        rows = cls([], set(), Counter())
        fields = table.fields
        select = [path for path in (fields.company, fields.omie_id) if path is not None and "." not in path]
        labels = options.get(fields.company, {})
        for row in jestor.iter_records(table.table, filters=[with_drafts(fields.draft)], select=select):
            rows.ids.append(int(row[id_field(table.table)]))
            company = _opened(row.get(fields.company))
            rows.payers[fold(labels.get(str(company), str(company or "")))] += 1
            with suppress(NumberError):
                rows.named.add(whole(row.get(fields.omie_id or "")))
        return rows

    def visible(self, billed: Iterable[Charge], last_month: BillingMonth) -> Findings:
        """A restricted token gets a consistent count of what it may see: only other evidence can tell."""
        check = "jestor.row_filter"
        there = {contract_code(number) for number in self.ids}
        before = [charge.key.contract for charge in billed if _is_monthly(charge)]
        gone = sorted((code for code in before if code not in there), key=len)
        sees = f"O token vê {count(len(self.ids), 'contrato', 'contratos')}"
        unseen = max(self.ids, default=0) - len(self.ids)
        if gone:
            many = len(gone) >= VANISHED_LEAST and len(gone) > VANISHED_SHARE * len(before)
            report = say.error if many else say.warning
            yield report(
                check,
                f"{sees}. Dos {len(before)} faturados em {last_month}, {len(gone)} não aparecem mais: {some(gone)}.",
                "Se não foram apagados no Jestor, o perfil do usuário do token filtra linhas: tire o filtro.",
            )
        elif before:
            yield say.ok(check, f"{sees}; todos os {len(before)} faturados em {last_month} estão entre eles.")
        else:
            lacking = count(unseen, "id falta, apagado ou escondido", "ids faltam, apagados ou escondidos")
            ids = f" (até o id {max(self.ids)}; {lacking})" if unseen > 0 else ""
            yield say.by_hand(
                check,
                f"{sees}{ids}. Sem um mês faturado para comparar, não se sabe se o perfil do token esconde linhas.",
                f"No Jestor, como administrador e com os rascunhos, a tabela deve mostrar {len(self.ids)} registros.",
            )

    def companies(self, settings: Settings) -> Findings:
        if "." in settings.jestor.contracts.fields.company:
            return  # the label is in a connected record, which was not read
        for key, company in settings.companies.items():
            if self.ids and not self.payers[fold(company.jestor_label)]:
                yield say.warning(
                    "jestor.row_filter",
                    f'Nenhum contrato visível é de {key} ("{company.jestor_label}").',
                    "Se ela tem contratos no Jestor, o perfil do token filtra linhas: use um usuário que veja todas.",
                )


def _is_monthly(charge: Charge) -> bool:
    return charge.state is State.BILLED and charge.key.kind == MONTHLY
