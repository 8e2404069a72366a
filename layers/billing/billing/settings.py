"""What a person decides about Jestor, each company and its limits: one TOML file, checked once, completely.

`load_settings` either gives a frozen `Settings` or raises `SettingsError` with one line per problem: where in
the file, what is wrong, how to put it right. Nothing in the file is secret: keys and tokens live in Secrets
Manager. `settings_reference` writes the tables of docs/configuration.md from the descriptions below.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from billing.domain.late_fee import (
    CONSUMER_FINE_CAP,
    GRACE_LIMIT,
    CountingStart,
    LateFeeRefused,
    Mode,
    Rounding,
    Terms,
    check_terms,
)
from billing.domain.money import parse_money, reais
from billing.domain.plan import CompanyPolicy, Guardrail, Service, service_key
from billing.domain.reajuste import Rules
from billing.domain.text import UnreadableText, decoded, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

# The time-out that the template gives the function that bills a batch.
FUNCTION_TIMEOUT_SECONDS: Final = 120


class SettingsError(ValueError):
    """`problems`: one clear line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def _said(description: str, where: str = "", **rules: Any) -> Any:
    """A setting's description and, for the person who must fill it in, where its value is found."""
    return Field(description=description, json_schema_extra={"where": where}, **rules)


def _no_blank_edges(text: str) -> str:
    if text != text.strip():
        raise PydanticCustomError("blank_edges", "has blanks at an end; remove them")
    return text


def _whole(value: object) -> object:
    """`max_count = 1.000` is a TOML number with a fraction of zero, and means one thousand to a Brazilian."""
    if isinstance(value, bool | str | float | Decimal):
        raise PydanticCustomError("whole", "must be a whole number, as in 1000 or 1_000, without point and quotes")
    return value


def _positive_money(value: object) -> int:
    """`max_total = 250.000` is refused as the text would be: the number alone does not show its three digits."""
    if isinstance(value, bool):
        raise PydanticCustomError("money", "is not an amount in reais; write it as 250000 or 250000.00")
    try:
        centavos = parse_money(str(value) if isinstance(value, Decimal) else value)
    except ValueError as error:
        raise PydanticCustomError("money", "is not an amount in reais ({why})", {"why": str(error)}) from error
    if centavos <= 0:
        raise PydanticCustomError("money", "must be more than zero")
    return centavos


Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(_no_blank_edges)]
Whole = Annotated[int, BeforeValidator(_whole)]
Centavos = Annotated[int, BeforeValidator(_positive_money)]
Path = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?$")]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
TableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
CompanyKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,29}$")]
StatusName = Literal["active", "suspended", "churned", "draft", "other"]
TitleStatus = Literal["em_aberto", "atrasado", "parcial", "pago", "cancelado"]
ExceptionName = Literal["isento", "negociado", "em_disputa"]

_API_NAME: Final = "copy the API name from Jestor > Developer Area > Objects and record types"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class FieldMap(_Model):
    """Which Jestor field holds what, by API name, never by label.

    API names: Jestor > Developer Area > Objects and record types. A dotted path reads a connected record:
    `cliente.cnpj_cpf`.
    """

    name: Path = _said("the contract's title", _API_NAME)
    company: Path = _said("which company bills it; its labels are `jestor_label` below", _API_NAME)
    document: Path = _said("the customer's CNPJ or CPF, formatted or not; a customer abroad has none", _API_NAME)
    service: Path = _said("what is sold; its labels are `omie.services` below", _API_NAME)
    unit_amount: Path = _said("price of one unit per month, in reais", _API_NAME)
    due_day: Path = _said("the day of the month on which the boleto falls due", _API_NAME)
    start: Path = _said("first day of the contract", _API_NAME)
    status: Path = _said("the stage; its labels are `status_labels` below", _API_NAME)
    customer_name: Path | None = _said("the customer's name; without it the title is used", _API_NAME, default=None)
    email: Path | None = _said("where boleto and NFS-e go", _API_NAME, default=None)
    phone: Path | None = _said("WhatsApp number, in any form", _API_NAME, default=None)
    cep: Path | None = _said("address: CEP", _API_NAME, default=None)
    endereco: Path | None = _said("address: street", _API_NAME, default=None)
    numero: Path | None = _said("address: number", _API_NAME, default=None)
    complemento: Path | None = _said("address: complement", _API_NAME, default=None)
    bairro: Path | None = _said("address: district", _API_NAME, default=None)
    cidade: Path | None = _said("address: city", _API_NAME, default=None)
    estado: Path | None = _said("address: state, two letters", _API_NAME, default=None)
    description: Path | None = _said(
        "text of the invoice; without it the service's own description is used", _API_NAME, default=None
    )
    quantity: Path | None = _said("how many units; without it one", _API_NAME, default=None)
    discount: Path | None = _said("reais off per month; without it none", _API_NAME, default=None)
    end: Path | None = _said("last day of the contract; empty means open-ended", _API_NAME, default=None)
    omie_id: Path | None = _said("Omie's `nCodCtr`, when the two are already linked", _API_NAME, default=None)
    change_mode: Path | None = _said(
        'how a change of amount is charged: "Proporcional" = from its day on; anything else = from the next cycle',
        _API_NAME,
        default=None,
    )
    change_from: Path | None = _said(
        "day from which what the row says holds; empty means at once", _API_NAME, default=None
    )
    late_fine_percent: Path | None = _said(
        "fine in percent that this contract states; empty means the company's", _API_NAME, default=None
    )
    late_interest_percent: Path | None = _said(
        "interest in percent a month that this contract states; empty means the company's", _API_NAME, default=None
    )
    late_mode: Path | None = _said(
        "who collects late charges; its labels are `late_mode_labels` below; empty means the company's way",
        _API_NAME,
        default=None,
    )
    customer_kind: Path | None = _said(
        "consumer or business; its labels are `customer_kind_labels` below; empty means the company's rule",
        _API_NAME,
        default=None,
    )
    readjust_index: Path | None = _said(
        "what the price is adjusted by every year; its labels are `readjust_labels` below; empty means not at all",
        _API_NAME,
        default=None,
    )
    readjust_percent: Path | None = _said(
        "percent a year, of contracts with a fixed percentage", _API_NAME, default=None
    )
    readjusted_on: Path | None = _said(
        "day from which the last adjustment was charged; empty means the contract's first day", _API_NAME, default=None
    )
    draft: Path = _said("Jestor's own draft flag", _API_NAME, default="jestor_is_draft")

    @model_validator(mode="after")
    def _each_field_once(self) -> Self:
        used = Counter(path for key, path in self if path is not None and key != "customer_name")
        twice = [path for path, times in used.items() if times > 1]
        if twice:
            keys = ", ".join(key for key, path in self if path == twice[0] and key != "customer_name")
            raise PydanticCustomError(
                "twice",
                "{path} is given to {keys}; each needs its own field",
                {"path": twice[0], "keys": keys},
            )
        return self


class WriteBack(_Model):
    """Fields of the contracts table that this system writes. One that is left out is not written.

    They must be fields that nothing else reads: a write fires the table's own automations.
    """

    omie_status: FieldName | None = _said(
        "how the contract stands in Omie: Ativo, Suspenso...", _API_NAME, default=None
    )
    omie_note: FieldName | None = _said(
        "what was last done in Omie, or what a person must put right", _API_NAME, default=None
    )
    effective_month: FieldName | None = _said(
        "first billing month in which the last change holds, as in 2026-12", _API_NAME, default=None
    )
    month: FieldName | None = _said("the invoice's billing month, as in 2026-12", _API_NAME, default=None)
    billed_status: FieldName | None = _said(
        "how the invoice stands: Faturado, NFS-e rejeitada, NFS-e cancelada, NFS-e substituída", _API_NAME, default=None
    )
    billed_amount: FieldName | None = _said("what was billed, in reais", _API_NAME, default=None)
    invoice_number: FieldName | None = _said("the NFS-e's number", _API_NAME, default=None)
    invoice_link: FieldName | None = _said(
        "the customer's page with the documents, which lasts; the WhatsApp automation waits for this field",
        _API_NAME,
        default=None,
    )
    invoice_pdf: FieldName | None = _said(
        "the same page; the address of a PDF ends within a day", _API_NAME, default=None
    )
    boleto_link: FieldName | None = _said(
        "the same page, while a boleto is to be paid; its own address ends within a day", _API_NAME, default=None
    )
    boleto_barcode: FieldName | None = _said("the boleto's linha digitável, 47 digits", _API_NAME, default=None)
    due_date: FieldName | None = _said("due date of the invoice", _API_NAME, default=None)
    whatsapp_phone: FieldName | None = _said(
        "where the message goes, as in +5511988887777; empty when the customer's phone is doubtful",
        _API_NAME,
        default=None,
    )
    whatsapp_text: FieldName | None = _said("the message, ready to be sent", _API_NAME, default=None)
    invoice_problem: FieldName | None = _said(
        "what keeps the invoice from the customer: why the NFS-e was refused and what to fix, a doubtful phone",
        _API_NAME,
        default=None,
    )


class TableMap(_Model):
    """A Jestor table and the meaning of its fields and stages."""

    table: TableName = _said("the contracts table", _API_NAME)
    fields: FieldMap = _said("which field holds what")
    write_back: WriteBack = _said("what is written back", default=WriteBack())
    status_labels: dict[Text, StatusName] = _said(
        "every label of the status field and what it means; a label that is not here parks the contract",
        'the options of the field in Jestor, e.g. "Ativo" = "active"',
        min_length=1,
    )

    late_mode_labels: dict[Text, Literal["next_invoice", "boleto", "none"]] = _said(
        "every label of the late_mode field and what it means",
        default={"Próxima fatura": "next_invoice", "Boleto": "boleto", "Nenhum": "none"},
    )
    customer_kind_labels: dict[Text, Literal["consumer", "business"]] = _said(
        "every label of the customer_kind field and what it means",
        default={"Consumidor": "consumer", "Empresa": "business"},
    )

    readjust_labels: dict[Text, Literal["ipca", "igpm", "fixo", "nenhum"]] = _said(
        "every label of the readjust_index field and what it means",
        default={"IPCA": "ipca", "IGP-M": "igpm", "Percentual fixo": "fixo", "Sem reajuste": "nenhum"},
    )

    @property
    def select(self) -> tuple[str, ...]:
        """The fields to ask Jestor for; a connected record is asked for whole."""
        return tuple(sorted({path.partition(".")[0] for _, path in self.fields if path is not None}))

    @model_validator(mode="after")
    def _labels_once(self) -> Self:
        _once(self.status_labels, "status_labels")
        _once(self.late_mode_labels, "late_mode_labels")
        _once(self.customer_kind_labels, "customer_kind_labels")
        _once(self.readjust_labels, "readjust_labels")
        if "active" not in self.status_labels.values():
            raise PydanticCustomError(
                "no_active", 'status_labels has no label that means "active": nobody would be billed'
            )
        return self


class ReceivableFields(_Model):
    """Which field of the receivables table holds what, by API name. We write all of them but `exception`, a person's.

    A field that is not mapped is not written.
    """

    title: Path = _said("Omie's `nCodTitulo`, by which a row is found again", _API_NAME)
    company: Path = _said("whose title it is; its labels are `jestor_label` below", _API_NAME)
    amount: Path = _said("value of the title, in reais", _API_NAME)
    due_date: Path = _said("due date as printed on the boleto", _API_NAME)
    status: Path = _said("open, late, paid...; its labels are `status_labels` below", _API_NAME)
    delay_days: Path = _said("days late; 0 until the due date, moved to a business day, has passed", _API_NAME)
    name: Path = _said("the row's title, written once", _API_NAME, default="name")
    contract: Path | None = _said("connection to the contract, written once", _API_NAME, default=None)
    customer: Path | None = _said("the customer's name, written once", _API_NAME, default=None)
    document: Path | None = _said("number of the document, e.g. RPS 9", _API_NAME, default=None)
    open_amount: Path | None = _said("what is still open of the principal, in reais", _API_NAME, default=None)
    stage: Path | None = _said("dunning stage; its labels are `stages` below", _API_NAME, default=None)
    paid_date: Path | None = _said("day of the last payment", _API_NAME, default=None)
    paid_amount: Path | None = _said("what was paid, fine and interest included, in reais", _API_NAME, default=None)
    collected_fine: Path | None = _said("fine that came with the payments, in reais", _API_NAME, default=None)
    collected_interest: Path | None = _said("interest that came with the payments, in reais", _API_NAME, default=None)
    boleto_link: Path | None = _said("the page of a late title's invoice", _API_NAME, default=None)
    exception: Path | None = _said(
        "a person's mark that charges and dunning stop; its labels are `exception_labels` below",
        _API_NAME,
        default=None,
    )
    charges: Path | None = _said(
        "late fine and interest as of today that no invoice has charged yet, in reais", _API_NAME, default=None
    )
    charges_billed: Path | None = _said(
        "late fine and interest that invoices have charged already, in reais", _API_NAME, default=None
    )
    proof: Path | None = _said("how these were computed, a long text", _API_NAME, default=None)
    draft: Path = _said("Jestor's own draft flag", _API_NAME, default="jestor_is_draft")

    @model_validator(mode="after")
    def _plain_and_once(self) -> Self:
        used = Counter(path for _, path in self if path is not None)
        twice = [path for path, times in used.items() if times > 1]
        if twice:
            keys = ", ".join(key for key, path in self if path == twice[0])
            raise PydanticCustomError(
                "twice", "{path} is given to {keys}; each needs its own field", {"path": twice[0], "keys": keys}
            )
        dotted = [key for key, path in self if path is not None and "." in path]
        if dotted:
            raise PydanticCustomError(
                "dotted", "{keys}: name a field of the table itself, it is written to", {"keys": ", ".join(dotted)}
            )
        return self


class ReceivablesTable(_Model):
    """Jestor's receivables table: Omie's titles, kept up to date by `sync_receivables`. Leave it out to have none."""

    table: TableName = _said("the receivables table", _API_NAME)
    fields: ReceivableFields = _said("which field holds what")
    status_labels: dict[Text, TitleStatus] = _said(
        "the label of each status, once for each",
        "the options of the status field in Jestor",
        default={
            "Em aberto": "em_aberto",
            "Atrasado": "atrasado",
            "Pago em parte": "parcial",
            "Pago": "pago",
            "Cancelado": "cancelado",
        },
    )
    stages: dict[Text, Annotated[Whole, Field(ge=1, le=3650)]] = _said(
        "dunning stages: label and the days late from which it holds",
        "the options of the stage field in Jestor",
        default={"D+1": 1, "D+5": 5, "D+30": 30},
        min_length=1,
    )
    resolved_stage: Text = _said("stage of a late title once it is paid or cancelled", default="Resolvido")
    exception_labels: dict[Text, ExceptionName] = _said(
        "what a person's mark means; a mark that is not here counts as in dispute",
        "the options of the exception field in Jestor",
        default={"Isento": "isento", "Negociado": "negociado", "Em disputa": "em_disputa"},
    )
    look_back_days: Whole = _said(
        "titles due so many days ago or less are all read; older ones while they are open", default=90, ge=1, le=1825
    )
    look_ahead_days: Whole = _said("titles due within so many days are read", default=45, ge=0, le=365)

    @model_validator(mode="after")
    def _labels_once(self) -> Self:
        _once(self.status_labels, "status_labels")
        _once(self.exception_labels, "exception_labels")
        _once([*self.stages, self.resolved_stage], "stages")
        missing = [word for word in get_args(TitleStatus) if word not in self.status_labels.values()]
        if missing or len(self.status_labels) > len(get_args(TitleStatus)):
            raise PydanticCustomError(
                "twice",
                "status_labels needs exactly one label for each of {words}",
                {"words": ", ".join(get_args(TitleStatus))},
            )
        if len(set(self.stages.values())) < len(self.stages):
            raise PydanticCustomError("twice", "stages has two labels for the same number of days; keep one")
        return self

    @property
    def label(self) -> dict[str, str]:
        """Our word for a status -> Jestor's label."""
        return {word: label for label, word in self.status_labels.items()}


class JestorSettings(_Model):
    """The Jestor account; its token is in Secrets Manager."""

    org: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")] = _said(
        "the account's name in its API address", "the first word of https://ORG.api.jestor.com"
    )
    contracts: TableMap = _said("the contracts table")
    receivables: ReceivablesTable | None = _said("the receivables table, when there is one", default=None)

    @property
    def base_url(self) -> str:
        return f"https://{self.org}.api.jestor.com"


class ServiceSettings(_Model):
    """How a service that Jestor names is invoiced: by Omie's service register, or by its codes."""

    codServico: Whole | None = _said(
        "the service's id in Omie's register; it brings the codes below with it",
        "Omie > Serviços > Cadastro de Serviços",
        default=None,
        gt=0,
    )
    codLC116: Annotated[str, StringConstraints(min_length=1, max_length=10)] | None = _said(
        "the service's code in the LC 116 list, e.g. 1.07", "the company's accountant", default=None
    )
    codServMunic: Annotated[str, StringConstraints(min_length=1, max_length=20)] | None = _said(
        "the city's own service code", "the company's accountant", default=None
    )
    natOperacao: Annotated[str, StringConstraints(pattern=r"^\d{2}$")] | None = _said(
        "nature of the operation, two digits", "the company's accountant", default=None
    )
    aliqISS: Decimal | None = _said("ISS rate in percent", "the company's accountant", default=None, ge=0, le=5)
    retISS: Literal["S", "N"] | None = _said(
        'whether the customer withholds the ISS, "S" or "N"', "the company's accountant", default=None
    )
    description: Text | None = _said("text of the invoice when the contract has none", default=None)

    @model_validator(mode="after")
    def _register_or_codes(self) -> Self:
        codes = {key: getattr(self, key) for key in ("codLC116", "codServMunic", "natOperacao")}
        missing = [key for key, value in codes.items() if value is None]
        if self.codServico is None and missing:
            raise PydanticCustomError(
                "service", "give codServico, or else {missing} as well", {"missing": ", ".join(missing)}
            )
        return self


class OmieSettings(_Model):
    """The company's codes in Omie; its app key and secret are in Secrets Manager."""

    nCodCC: Whole = _said("the bank account code", "copy it from Omie > Finanças > Contas Correntes", gt=0)
    cCodCateg: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$", max_length=20)] = _said(
        "the revenue category's code, e.g. 1.01.02", "copy it from Omie > Finanças > Categorias"
    )
    cCidPrestServ: Annotated[str, StringConstraints(pattern=r"^.+ \([A-Z]{2}\)$", max_length=40)] = _said(
        "the city where the service is rendered, as Omie writes it: SAO PAULO (SP)",
        "copy it from any contract of the company in Omie",
    )
    services: dict[Text, ServiceSettings] = _said(
        "one table per service label of Jestor", "the options of the service field in Jestor", min_length=1
    )

    @model_validator(mode="after")
    def _labels_once(self) -> Self:
        _once(self.services, "services")
        return self


class EmailSettings(_Model):
    """What Omie e-mails to the customer when a contract is billed."""

    cEnviarRecibo: bool = _said("the receipt", default=False)
    cEnviarLinkNfse: bool = _said("the link to the NFS-e", default=True)
    cEnviarBoleto: bool = _said("the boleto", default=True)
    cEnviarPix: bool = _said("the Pix code", default=False)

    @model_validator(mode="after")
    def _receipt_or_link(self) -> Self:
        if self.cEnviarRecibo and self.cEnviarLinkNfse:
            raise PydanticCustomError(
                "receipt_and_link",
                "cEnviarRecibo and cEnviarLinkNfse are both true, which Omie refuses (the link is true unless the "
                "file says otherwise); write cEnviarRecibo = false or cEnviarLinkNfse = false",
            )
        return self


class ChurnSettings(_Model):
    """What a churn does in Omie, beside stopping the billing at once."""

    action: Literal["suspend", "cancel"] = _said(
        "what becomes of the contract; both can be undone by a reactivation", default="suspend"
    )
    open_boletos: Literal["keep", "cancel"] = _said(
        "boletos of its titles that nobody has paid; the titles stay owed either way", default="keep"
    )


class LateFeeSettings(_Model):
    """Late fine and interest of overdue titles, on the next bill. Without this table nothing is read and none charged.

    How it is reckoned, and the law behind each default: docs/late-fee.md.
    """

    mode: Literal["next_invoice", "boleto", "none"] = _said(
        "who collects: our next bill, the bank with its boleto, or nobody; a contract may say otherwise",
        default="next_invoice",
    )
    fine_percent: Decimal | None = _said(
        "fine in percent of the principal, once; at most 2 for a consumer; without it none is charged",
        "what your contracts say",
        default=None,
    )
    interest_percent: Decimal | None = _said(
        "simple interest in percent a month, by the day; 0 charges none; without it a contract that states none is not "
        "charged at all, and the report says so",
        "what your contracts say",
        default=None,
    )
    customer_kind: Literal["consumer", "business", "by_document"] = _said(
        "whom the consumer's cap protects: everybody, nobody, or whoever has a CPF; a contract may say otherwise",
        default="consumer",
    )
    grace_days: Whole = _said("days after the due date that cost nothing", default=0, ge=0, le=GRACE_LIMIT)
    counting_start: Literal["due_date", "extended_due_date"] = _said(
        "whether days count from the printed due date or from the business day to which it moves", default="due_date"
    )
    rounding: Literal["half_up", "truncate"] = _said(
        "what becomes of half a centavo, once for each part", default="half_up"
    )
    local_holidays: tuple[date, ...] = _said(
        "further days without banks, of your state or city, as in [2026-07-09, 2026-11-20]", default=()
    )
    bank_return_days: Whole = _said(
        "business days until Omie knows of a payment; nothing is charged beyond the last day that is known",
        default=1,
        ge=0,
        le=10,
    )
    due_from: date | None = _said("titles due before this day are never charged, as in 2027-01-01", default=None)
    lookback_days: Whole = _said("how long ago a title may have been due, in days", default=365, ge=31, le=3653)
    paid_lookback_days: Whole = _said(
        "how long ago a late title may have been paid and what was left of its charges still go on a bill, in days",
        default=100,
        ge=31,
        le=3653,
    )
    least: Centavos | None = _said(
        "what one title must come to before it is charged, in reais; less waits until it does", default=None
    )
    titles_per_bill: Whole = _said(
        "most titles whose charges go on one bill; the oldest first", default=12, ge=1, le=12
    )
    how: Literal["expense", "item"] = _said(
        'as what it goes on the bill: "expense" = reimbursable expense, without ISS; "item" = item for that bill only',
        default="expense",
    )
    cCodCategReemb: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$", max_length=20)] | None = _said(
        "category of these lines in Omie; without it Omie's own choice",
        "copy it from Omie > Finanças > Categorias",
        default=None,
    )

    def terms(self) -> Terms:
        """What holds where a contract says nothing."""
        return Terms(
            fine_percent=self.fine_percent,
            interest_percent=self.interest_percent,
            grace_days=self.grace_days,
            rounding=Rounding(self.rounding),
            consumer=self.customer_kind != "business",
            mode=Mode(self.mode),
            counting_start=CountingStart(self.counting_start),
        )

    @model_validator(mode="after")
    def _lawful(self) -> Self:
        terms = self.terms()
        if terms.consumer and terms.fine_percent is not None and terms.fine_percent > CONSUMER_FINE_CAP:
            raise PydanticCustomError(
                "late_fee",
                "fine_percent is {given}; write {cap} or less: the law allows no more to a consumer (CDC art. 52 §1). "
                'If every customer is a company buying for its business, write customer_kind = "business"',
                {"given": str(terms.fine_percent), "cap": str(CONSUMER_FINE_CAP)},
            )
        try:
            # No rate is no slip here: each contract may state its own.
            check_terms(terms if terms.interest_percent is not None else replace(terms, interest_percent=Decimal(0)))
        except LateFeeRefused as refused:
            raise PydanticCustomError("late_fee", "{why}", {"why": str(refused)}) from None
        return self


class ReadjustmentSettings(_Model):
    """The yearly adjustment of prices: proposed in the plan, applied by a person. docs/receivables.md says how."""

    lag_months: Whole = _said(
        "the twelve months of an index end so many months before the anniversary's month", default=1, ge=0, le=3
    )
    negative: Literal["keep", "reduce"] = _said(
        "what a negative accumulated index does to the price, as your contracts say", default="keep"
    )

    def rules(self) -> Rules:
        return Rules(lag_months=self.lag_months, reduce=self.negative == "reduce")


class InvoiceSettings(_Model):
    """When an invoice goes to the customer, and with what."""

    boleto: Literal["expected", "none"] = _said(
        'whether a boleto belongs to it: "expected" waits for it, "none" sends the NFS-e alone', default="expected"
    )
    wait_for_boleto_hours: Whole = _said(
        "how long an issued NFS-e waits for its boleto; then it goes out without", default=24, ge=0, le=720
    )
    make_missing_boleto: bool = _said(
        "have Omie make the boleto of an issued NFS-e that has none (GerarBoleto)", default=False
    )
    unknown_documents_per_hour: Whole = _said(
        "most documents that Omie's webhooks name and that turn out not to be ours, looked up in an hour; beyond it "
        "the daily reading of invoices finds what matters",
        default=60,
        ge=0,
        le=1000,
    )


class GuardrailSettings(_Model):
    """Limits beyond which a person must approve a run before anything is billed."""

    max_total: Centavos = _said("largest total of one run, in reais")
    max_count: Whole = _said("most contracts in one run", gt=0)
    max_jump_percent: Whole | None = _said(
        "largest change of one contract since last month, in percent", default=50, gt=0
    )
    max_jump_amount: Centavos | None = _said(
        "largest change of one contract since last month, in reais; beyond either limit is beyond",
        default=None,
    )
    approval: Literal["auto", "required"] = _said(
        '"auto": a run inside the limits goes on by itself; "required": every run waits for a person',
        default="auto",
    )

    def limits(self) -> Guardrail:
        return Guardrail(
            max_total=self.max_total,
            max_count=self.max_count,
            max_jump_percent=self.max_jump_percent,
            max_jump_amount=self.max_jump_amount,
            approval_required=self.approval == "required",
        )


def _once(labels: Iterable[str], setting: str) -> None:
    times = Counter(map(fold, labels))
    twice = [label for label in labels if times[fold(label)] > 1]
    if twice:
        raise PydanticCustomError(
            "twice",
            "{setting} has the label {labels} more than once, up to blanks and capitals; keep one",
            {"setting": setting, "labels": " and ".join(f'"{label}"' for label in twice)},
        )


class CompanySettings(_Model):
    """One Omie account and how it is billed."""

    name: Text = _said("the company's name, as reports show it")
    jestor_label: Text = _said("its label in Jestor's company field", "the options of the field in Jestor")
    omie: OmieSettings = _said("the company's codes in Omie")
    guardrail: GuardrailSettings = _said("limits of a run")
    send_email: EmailSettings = _said("what Omie sends to the customer", default=EmailSettings())
    churn: ChurnSettings = _said("what a churn does", default=ChurnSettings())
    invoice: InvoiceSettings = _said("when an invoice goes to the customer", default=InvoiceSettings())
    late_fee: LateFeeSettings | None = _said("late fine and interest", default=None)
    readjustment: ReadjustmentSettings = _said("yearly adjustment of prices", default=ReadjustmentSettings())
    sweep: Literal["mend", "list"] = _said(
        "what the daily sweep does with a difference between Jestor and Omie", default="mend"
    )
    billing_day: Whole = _said("Omie's `nDiaFat` of every contract, 1 to 28", default=1, ge=1, le=28)
    default_due_day: Whole | None = _said(
        "due day of contracts that have none; without it they are parked", default=None, ge=1, le=31
    )
    due_month: Literal["same", "next"] = _said(
        "whether the due day lies in the billing month or in the next one", default="same"
    )
    min_days_to_due: Whole = _said("fewest days between billing and due date", default=3, ge=0, le=60)
    schedule_policy: Literal["calendar_day", "first_business_day"] = _said(
        "on which day the monthly run starts", default="calendar_day"
    )
    catch_up_days: Whole = _said(
        "days after its billing day on which the schedule still starts a run that never happened; later than "
        "that only a person does",
        default=3,
        ge=0,
        le=15,
    )
    in_doubt_wait_seconds: Whole = _said(
        "how long a charge in doubt rests before it is looked up in Omie; more than the function's time-out plus "
        "`longest_abandoned_call_seconds` plus the longer of `list_lag_seconds` and `read_lag_seconds`",
        default=600,
        gt=0,
    )
    longest_abandoned_call_seconds: Whole = _said(
        "how long Omie may still finish a call nobody waits for; the exactly-once claim rests on it",
        default=300,
        gt=0,
    )
    list_lag_seconds: Whole = _said(
        "how long Omie's lists of stages and orders may lack a billing; the exactly-once claim rests on it",
        default=120,
        ge=0,
        le=900,
    )
    read_lag_seconds: Whole = _said(
        "how long Omie may show a contract as it was before an alteration; seen live: 2 to 8 s",
        default=60,
        ge=0,
        le=600,
    )
    month_turn_hours: Whole = _said(
        "how many hours into the month Omie may take to turn its stages to the new one; the run waits for it",
        default=8,
        ge=0,
        le=72,
    )
    unclear_share_percent: Whole = _said(
        "a larger share of a plan that Omie shows neither billed nor to be billed means that its month has not turned",
        default=5,
        ge=0,
        le=100,
    )
    same_question_seconds: Whole = _said(
        "seconds between two identical reads: within 60 s Omie refuses the second as redundant, and counts an error",
        default=61,
        ge=0,
        le=600,
    )
    adopted_share: Whole = _said(
        "percent of a month's contracts that people may bill in Omie before the report asks to look at them",
        default=5,
        ge=0,
        le=100,
    )
    max_failures: Whole = _said("failures after which a contract is parked; throttling is none", default=3, ge=1, le=20)
    test_account: bool = _said(
        "the Omie account is a test one of yours, in which nobody owes anything: `billing-ops probe` makes, bills and "
        "cancels contracts of R$ 1,00 there, and refuses any other account",
        default=False,
    )
    create_unknown: bool = _said("create in Omie what only Jestor knows; otherwise park it", default=True)
    alter_differences: bool = _said("make Omie's contract agree with Jestor; otherwise park it", default=True)

    def policy(self, key: str) -> CompanyPolicy:
        """The rules that planning goes by; `key` is the company's key in the file."""
        services = {
            label: Service(service_key(service.codServico or 0, service.codLC116 or ""), service.description or "")
            for label, service in self.omie.services.items()
        }
        return CompanyPolicy(
            company=key,
            services=services,
            billing_day=self.billing_day,
            due_month=self.due_month,
            min_days_to_due=self.min_days_to_due,
            default_due_day=self.default_due_day,
            jump_percent=self.guardrail.max_jump_percent,
            jump_amount=self.guardrail.max_jump_amount,
            create_unknown=self.create_unknown,
            alter_differences=self.alter_differences,
        )

    @model_validator(mode="after")
    def _waits_long_enough(self, info: ValidationInfo) -> Self:
        timeout = (info.context or {}).get("function_timeout_seconds", FUNCTION_TIMEOUT_SECONDS)
        lag = max(self.list_lag_seconds, self.read_lag_seconds)
        least = timeout + self.longest_abandoned_call_seconds + lag + 1
        if self.in_doubt_wait_seconds < least:
            raise PydanticCustomError(
                "in_doubt",
                "in_doubt_wait_seconds is {given}; write {least} or more: longer than the function's time-out "
                "({timeout}) plus longest_abandoned_call_seconds ({call}) plus the longer of list_lag_seconds and "
                "read_lag_seconds ({lag})",
                {
                    "given": self.in_doubt_wait_seconds,
                    "least": least,
                    "timeout": timeout,
                    "call": self.longest_abandoned_call_seconds,
                    "lag": lag,
                },
            )
        return self


class Settings(_Model):
    """The whole file."""

    jestor: JestorSettings = _said("where the contracts are")
    companies: dict[CompanyKey, CompanySettings] = _said(
        "one table per Omie company; the key names its secret and queue group, so it never changes",
        min_length=1,
    )

    @model_validator(mode="after")
    def _companies_once(self) -> Self:
        owner: dict[str, str] = {}
        for key, company in self.companies.items():
            other = owner.setdefault(fold(company.jestor_label), key)
            if other != key:
                raise PydanticCustomError(
                    "twice",
                    "companies.{one} and companies.{two} have the same jestor_label; give each its own",
                    {"one": other, "two": key},
                )
        return self

    @property
    def company_by_label(self) -> dict[str, str]:
        """Jestor's company label -> company key."""
        return {company.jestor_label: key for key, company in self.companies.items()}


def load_settings(text: str | bytes, *, function_timeout_seconds: int = FUNCTION_TIMEOUT_SECONDS) -> Settings:
    """Check a whole settings file. Raises SettingsError naming every problem, not only the first.

    `text`: also as the file has it, in UTF-8 or, with a byte order mark, UTF-16; that mark is no part of it.
    `function_timeout_seconds`: the billing function's time-out, which the in-doubt wait must outlast.
    """
    try:
        text = decoded(text) if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnreadableText as error:
        raise SettingsError([str(error)]) from None
    try:
        # Decimal, not float: 1234.10 reais must stay what was written.
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"not a TOML file: {error}; put text in quotes and dotted labels too"]) from error
    try:
        return Settings.model_validate(content, context={"function_timeout_seconds": function_timeout_seconds})
    except ValidationError as error:
        raise SettingsError(map(_line, error.errors(include_url=False))) from error


def settings_reference() -> str:
    """The settings as Markdown: one section and table per TOML table."""
    return "\n".join(_sections(Settings, ""))


def _sections(model: type[_Model], path: str) -> Iterator[str]:
    rows: list[str] = []
    inner: list[tuple[type[_Model], str]] = []
    for name, info in model.model_fields.items():
        below = _model_below(info)
        if below is None:
            rows.append(f"| `{name}` | {_kind(info)} | {_default(info)} | {_meaning(info)} |")
        else:
            inner.append((below, f"{path}.{name}{_TABLE_NAMES.get(below, '')}".removeprefix(".")))
    if path:
        yield f"### `[{path}]`\n\n{' '.join((model.__doc__ or '').split())}\n"
    if rows:
        yield "| Setting | Value | Default | Meaning |\n|---|---|---|---|"
        yield from rows
        yield ""
    for below, below_path in inner:
        yield from _sections(below, below_path)


_TABLE_NAMES: Final[dict[type[_Model], str]] = {CompanySettings: ".KEY", ServiceSettings: '."LABEL"'}
_KINDS: Final[dict[object, str]] = {
    int: "whole number",
    Decimal: "number",
    bool: "`true` or `false`",
    str: "text",
    date: "day",
}


def _model_below(info: FieldInfo) -> type[_Model] | None:
    kinds = [kind for kind in _leaves(info.annotation) if isinstance(kind, type) and issubclass(kind, _Model)]
    return kinds[0] if kinds else None


def _leaves(kind: object) -> Iterator[object]:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is None:
        yield kind
    for inner in get_args(kind):
        yield from _leaves(inner)


def _is_money(info: FieldInfo) -> bool:
    return any(isinstance(rule, BeforeValidator) and rule.func is _positive_money for rule in info.metadata)


def _kind(info: FieldInfo) -> str:
    leaves = [leaf for leaf in _leaves(info.annotation) if leaf is not type(None)]
    choices = " or ".join(f'`"{leaf}"`' for leaf in leaves if isinstance(leaf, str))
    if get_origin(info.annotation) is dict:
        return f'`"LABEL" =` {choices or _KINDS[leaves[-1]]}'
    if _is_money(info):
        return "reais"
    return choices or _KINDS[leaves[0]]


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default is None:
        return "none"
    if _is_money(info):
        return f"`{reais(info.default)}`"
    if info.default == ():
        return "none"
    if isinstance(info.default, dict):
        return ", ".join(f"`{label}`" for label in info.default)
    if isinstance(info.default, bool):
        return f"`{str(info.default).lower()}`"
    return f'`"{info.default}"`' if isinstance(info.default, str) else f"`{info.default}`"


def _meaning(info: FieldInfo) -> str:
    where = _where(info)
    # The same words on every field of a table say nothing; its heading has them once.
    return f"{info.description} ({where})" if where and where != _API_NAME else f"{info.description}"


def _where(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    return str(extra.get("where", "")) if isinstance(extra, dict) else ""


_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_WORDS: Final = {
    "missing": "missing",
    "string_pattern_mismatch": "has not the form {pattern}",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number, without quotes",
    "int_parsing": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "decimal_type": "must be a number, without quotes",
    "decimal_parsing": "must be a number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "bool_parsing": "must be true or false, without quotes",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "too_short": "is empty",
    "model_type": "must be a table, under its own [heading]",
    "dict_type": "must be a table, under its own [heading]",
}
_COMPLETE: Final = frozenset({"twice", "dotted", "no_active", "service", "in_doubt", "late_fee"})
"""Our own checks of several settings at once: their text says everything."""


def _line(problem: ErrorDetails) -> str:
    """One problem as one line: path in the file, what is wrong, how to put it right."""
    kind = problem["type"]
    loc = [str(step) for step in problem["loc"] if step != "[key]"]
    parent, info = _find(loc)
    what = _WORDS[kind].format(**problem.get("ctx", {})) if kind in _WORDS else problem["msg"]
    if problem["loc"][-1:] == ("[key]",):
        what = f"this name cannot be used, it {what}"
    if kind == "extra_forbidden" and parent:
        near = difflib.get_close_matches(loc[-1], parent.model_fields, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(parent.model_fields)}"
        what = f"no such setting; {hint}"
    elif info and kind not in _COMPLETE:
        where = _where(info)
        what = f"{what} - {info.description}" + (f"; {where}" if where else "")
    path = ".".join(step if _BARE_KEY.fullmatch(step) else f'"{step}"' for step in loc)
    return f"{path}: {what}" if path else what


def _find(loc: Sequence[str]) -> tuple[type[_Model] | None, FieldInfo | None]:
    """The model that holds a place of the file, and the setting that place belongs to."""
    model: type[_Model] | None = Settings
    info: FieldInfo | None = None
    key_next = False
    for depth, step in enumerate(loc):
        if key_next:
            key_next = False
            continue
        found = model.model_fields.get(step) if model else None
        if found is None:
            return model, None if depth == len(loc) - 1 else info
        info, below = found, _model_below(found)
        key_next = get_origin(found.annotation) is dict
        if below is None:
            return model, info
        model = below
    return model, info
