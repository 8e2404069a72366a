"""A subscription contract as Jestor states it, once it can be trusted."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NamedTuple

from billing.domain.reajuste import NOT_AGREED, Wish

ITEM_PREFIX = "JST-"
"""Items of an Omie contract whose codIntItem starts with this are ours; people's own are kept as they are."""


class ContractStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CHURNED = "churned"
    DRAFT = "draft"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Customer:
    """Who is billed.

    `document` is a normalised CPF or CNPJ, empty when there is none that can be read; `estado` the two letters of the
    state, EX for abroad; `email` only what can be written to. The rest is as it was typed.
    """

    document: str
    name: str
    email: str | None = None
    phone: str | None = None
    cep: str | None = None
    endereco: str | None = None
    numero: str | None = None
    complemento: str | None = None
    bairro: str | None = None
    cidade: str | None = None
    estado: str | None = None


class LateWishes(NamedTuple):
    """What one contract says of late charges; None: what holds for its company.

    `problems`: what cannot be read of it, Portuguese. They stop the late charges, not the bill.
    """

    fine_percent: Decimal | None = None
    interest_percent: Decimal | None = None
    mode: Literal["next_invoice", "boleto", "none"] | None = None
    consumer: bool | None = None
    problems: tuple[str, ...] = ()


AS_THE_COMPANY = LateWishes()


@dataclass(frozen=True, slots=True)
class Contract:
    """One row of Jestor's contracts table. Amounts in centavos; `status_label` is Jestor's own word."""

    jestor_id: int
    company: str
    name: str
    customer: Customer
    service: str
    description: str
    quantity: int
    unit_amount: int
    discount: int
    due_day: int | None
    start: date | None
    end: date | None
    status: ContractStatus
    status_label: str
    omie_id: int | None = None
    prorate: bool = False
    """A change of amount is charged from its day on, not from the next cycle."""
    change_from: date | None = None
    """What the row says holds from this day on; before it, what was agreed last."""
    late: LateWishes = AS_THE_COMPANY
    readjust: Wish = NOT_AGREED
    """Its yearly adjustment."""
    document_problem: str = ""
    """Why the customer has no `document`: Portuguese, the Jestor field and what to fix."""
    unread: tuple[str, ...] = ()
    """Likewise, what else of the customer's data cannot be used. It stops no bill."""

    @property
    def amount(self) -> int:
        """Centavos a month, without what people added in Omie."""
        return self.quantity * self.unit_amount - self.discount

    @property
    def code(self) -> str:
        return contract_code(self.jestor_id)


class Price(NamedTuple):
    """What a month costs in Jestor. Centavos."""

    quantity: int
    unit_amount: int
    discount: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot become a `Contract`. `problems` are Portuguese: the Jestor field and what to fix.

    `price`: None when it is among what cannot be read.
    """

    jestor_id: int
    company: str | None
    name: str
    problems: tuple[str, ...]
    price: Price | None = None
    unreadable: bool = False
    """The row made the reading itself fail, so that no field can be named."""

    @classmethod
    def unread(cls, jestor_id: int, company: str | None, name: str, kind: str) -> "BadRow":
        """Of a row that raised an error of this class when it was read or planned."""
        code = contract_code(jestor_id)
        problem = (
            f"não foi possível ler o contrato {code} ({kind}): confira no Jestor se algum campo traz um valor estranho "
            "e digite-o de novo; se nada estiver errado, avise quem cuida do sistema"
        )
        return cls(jestor_id, company, name, (problem,), unreadable=True)

    @property
    def amount(self) -> int:
        """Centavos a month, as `Contract.amount`; 0 when the price cannot be read."""
        return self.price.quantity * self.price.unit_amount - self.price.discount if self.price else 0

    @property
    def code(self) -> str:
        return contract_code(self.jestor_id)


def contract_code(jestor_id: int) -> str:
    """The contract's name on both sides, Omie's cCodIntCtr (20 characters). Jestor never reuses an id."""
    return f"JST-{jestor_id}"


class DocumentError(ValueError):
    """No valid CPF or CNPJ. The text is Portuguese, for billing people, and never repeats the document."""


_CPF_WEIGHTS = tuple(range(11, 1, -1))
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


_SEPARATORS = re.compile(r"[\s./\\\u00ad\u2010-\u2015\u2212\u200b-\u200f\u2060\ufeff-]")


def plain_document(text: str) -> str:
    """The document as it is compared: without blanks, points, bars and dashes of any kind, in capitals; unchecked."""
    return _SEPARATORS.sub("", text).upper()


def normalise_document(text: str) -> str:
    """The CPF (11 digits) or CNPJ (14) without punctuation, its check digits verified.

    Since July 2026 the first 12 places of a CNPJ may be letters (Receita Federal, IN RFB 2.229/2024): each is
    worth its ASCII code minus 48, which leaves digits as they were; the two check digits stay digits.

    Raises:
        DocumentError: wrong length or character, or check digits that do not match.
    """
    document = plain_document(text)
    if not document:
        raise DocumentError("CPF/CNPJ vazio")
    if len(document) not in {11, 14}:
        raise DocumentError(f"CPF/CNPJ com {len(document)} posições: o CPF tem 11 e o CNPJ tem 14")
    body, check = document[:-2], document[-2:]
    kind, weights = ("CPF", _CPF_WEIGHTS) if len(document) == 11 else ("CNPJ", _CNPJ_WEIGHTS)
    letters_allowed = kind == "CNPJ"
    valid_body = body.isascii() and (body.isalnum() if letters_allowed else body.isdigit())
    if not (valid_body and check.isascii() and check.isdigit()):
        raise DocumentError(f"{kind} com caractere inválido")
    if len(set(document)) == 1 or check != _check_digits(body, weights):
        raise DocumentError(f"{kind} com dígito verificador errado: confira o número")
    return document


def _check_digits(body: str, weights: tuple[int, ...]) -> str:
    for _ in range(2):
        used = weights[-len(body) :] if len(body) < len(weights) else weights
        rest = sum((ord(place) - 48) * weight for place, weight in zip(body, used, strict=True)) % 11
        body += "0" if rest < 2 else str(11 - rest)
    return body[-2:]
