"""One small economy, seen from both sides: what Jestor holds and what Omie holds, drawn from one seed.

First the names both simulators and their configuration share, then `make_world`.

Nothing is stored but each contract's kind and number: a row or an Omie dict is built again each time it is
asked for, always the same, so a world of 100,000 contracts costs a few dozen megabytes.
"""

from __future__ import annotations

import calendar
import struct
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from simulators.brazil import Party, formatted, party

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Row = dict[str, Any]
Expected = Literal["bill", "skip", "park", "absent"]
"""What a month's run must do with it; "absent": it has no plan line (it is not in Jestor)."""

# -------------------------------------------------------------------------------------------- names in Jestor

ORG: Final = "demo"
JESTOR_TOKEN: Final = "demo-jestor-token"  # noqa: S105 - obviously fake
JESTOR_RESTRICTED_TOKEN: Final = "demo-jestor-token-acme-only"  # noqa: S105
"""A token whose profile has a row filter: it silently sees Acme's contracts only."""

MIN_DAYS_TO_DUE: Final = 3
"""Fewest days between billing and due date, in the companies of this world (min_days_to_due in config/demo.toml)."""
CONTRACTS_TABLE: Final = "o_k7v2mxq94trw1bz6hd3n8"
CUSTOMERS_TABLE: Final = "mjx81tqf0zd5pw6ly3r7c"
RECEIVABLES_TABLE: Final = "vz3ck8w1_titulos_q7hm20xb"
CONTRACT_ID: Final = f"id_{CONTRACTS_TABLE}"
CUSTOMER_ID: Final = f"id_{CUSTOMERS_TABLE}"
RECEIVABLE_ID: Final = f"id_{RECEIVABLES_TABLE}"

FIELDS: Final[Mapping[str, str]] = {
    "name": "name",
    "company": "empresa_faturadora",
    "document": "cliente.cnpj_cpf",
    "customer_name": "cliente.razao_social_1",
    "email": "cliente.email_faturamento",
    "phone": "cliente.whatsapp",
    "cep": "cliente.cep",
    "endereco": "cliente.endereco",
    "numero": "cliente.numero",
    "complemento": "cliente.complemento",
    "bairro": "cliente.bairro",
    "cidade": "cliente.cidade",
    "estado": "cliente.estado",
    "service": "servico_contratado",
    "description": "descricao_nf_1",
    "quantity": "quantidade",
    "unit_amount": "valor_mensal_2",
    "discount": "desconto",
    "due_day": "dia_vencimento",
    "start": "inicio_vigencia",
    "end": "fim_vigencia",
    "status": "status_1",
    "omie_id": "id_omie",
    "change_mode": "modo_mudanca",
    "change_from": "mudanca_vale_a_partir",
    "late_fine_percent": "multa_percentual",
    "late_interest_percent": "juros_percentual_mes",
    "late_mode": "modo_encargos",
    "customer_kind": "tipo_cliente",
    "readjust_index": "indice_reajuste",
    "readjust_percent": "reajuste_percentual",
    "readjusted_on": "ultimo_reajuste",
    "draft": "jestor_is_draft",
}
"""Our word -> API name in CONTRACTS_TABLE.
"cliente.x" is field x of the connected record `cliente` (CUSTOMERS_TABLE),
an object without `nested_type`, an id with `nested_type: "onlyrefs"`; `select` takes the root: cliente."""

STALE_FIELDS: Final = ("valor_mensal", "status")
"""Fields of an older layout that are still there, with old values: reading them bills the wrong amount."""

CHANGE_FIELDS: Final[Mapping[str, str]] = {
    "change_mode": "modo_mudanca",
    "change_from": "mudanca_vale_a_partir",
    "late_fine_percent": "multa_percentual",
    "late_interest_percent": "juros_percentual_mes",
    "late_mode": "modo_encargos",
    "customer_kind": "tipo_cliente",
}
"""Per-contract wishes that override the company's policy; empty in most rows."""

WRITE_BACK_FIELDS: Final[Mapping[str, str]] = {
    "omie_status": "situacao_omie",
    "omie_note": "observacao_omie",
    "effective_month": "mudanca_vale_na_competencia",
}
"""What the billing writes back of the contract itself: nothing reads them but people."""

READJUSTMENTS: Final[Mapping[str, str]] = {"e2b5d7": "IPCA", "a90c13": "IGP-M", "4f6e88": "Percentual fixo"}
"""A radio field, as ORIGINS."""

INVOICE_FIELDS: Final[Mapping[str, str]] = {
    "month": "competencia_faturada",
    "billed_status": "status_faturamento",
    "billed_amount": "valor_faturado",
    "invoice_number": "numero_nfse",
    "invoice_link": "link_fatura",
    "invoice_pdf": "link_nfse_pdf",
    "boleto_link": "link_boleto_1",
    "boleto_barcode": "linha_digitavel",
    "due_date": "vencimento_fatura",
    "whatsapp_phone": "whatsapp_destino",
    "whatsapp_text": "mensagem_whatsapp",
    "invoice_problem": "pendencia_fatura",
}
"""What the billing writes back; a Jestor automation on `link_fatura` sends the message."""

RECEIVABLE_FIELDS: Final[Mapping[str, str]] = {
    "name": "name",
    "title": "codigo_titulo_omie",
    "company": "empresa",
    "contract": "contrato",
    "customer": "cliente_1",
    "document": "numero_documento",
    "amount": "valor_titulo",
    "open_amount": "saldo_em_aberto",
    "due_date": "vencimento_2",
    "status": "situacao_1",
    "delay_days": "dias_atraso",
    "stage": "etapa_cobranca",
    "paid_date": "pago_em",
    "paid_amount": "valor_pago",
    "collected_fine": "multa_recebida",
    "collected_interest": "juros_recebidos",
    "boleto_link": "link_boleto",
    "exception": "excecao_1",
    "charges": "encargos_previstos",
    "charges_billed": "encargos_ja_faturados",
    "proof": "calculo_encargos",
    "draft": "jestor_is_draft",
}
"""Our word -> API name in RECEIVABLES_TABLE. A person sets `excecao_1`; the billing writes the rest."""

STATUS_LABELS: Final[Mapping[str, str]] = {
    "Ativo": "active",
    "Suspenso": "suspended",
    "Churn": "churned",
    "Em negociação": "draft",
    "Encerrado": "other",
}
RECEIVABLE_STATUSES: Final[Mapping[str, str]] = {
    "Em aberto": "em_aberto",
    "Atrasado": "atrasado",
    "Pago em parte": "parcial",
    "Pago": "pago",
    "Cancelado": "cancelado",
}
STAGES: Final[Mapping[str, int]] = {"D+1": 1, "D+5": 5, "D+30": 30}
RESOLVED_STAGE: Final = "Resolvido"
EXCEPTIONS: Final[Mapping[str, str]] = {"7c21f0": "Isento", "d09b4e": "Negociado", "51ee83": "Em disputa"}
"""A radio field, as ORIGINS."""
CHANGE_MODES: Final = ("Próximo ciclo", "Proporcional")
LATE_MODES: Final = ("Próxima fatura", "Boleto", "Nenhum")
CUSTOMER_KINDS: Final = ("Consumidor", "Empresa")
ORIGINS: Final[Mapping[str, str]] = {"9f3a1c": "Indicação", "b71e02": "Site", "0c44d8": "Evento"}
"""A radio field: the row holds the option's id, `objectProperties/index` gives its label."""

# ---------------------------------------------------------------------------------------------- names in Omie


@dataclass(frozen=True, slots=True)
class Service:
    """A service of Omie's register, as contract items refer to it."""

    codServico: int
    codLC116: str
    codServMunic: str
    natOperacao: str
    aliqISS: float
    retISS: str
    description: str
    price: int
    """Usual unit price in centavos (only the generator uses it)."""


@dataclass(frozen=True, slots=True)
class Company:
    """One Omie account (app_key) and the label that sends contracts to it in Jestor."""

    key: str
    name: str
    jestor_label: str
    document: str
    app_key: str
    app_secret: str
    nCodCC: int
    cCodCateg: str
    cCidPrestServ: str
    services: Mapping[str, Service]
    first_id: int


COMPANIES: Final[Mapping[str, Company]] = {
    "acme": Company(
        key="acme",
        name="Acme Tecnologia",
        jestor_label="Acme Tecnologia Ltda",
        document="11.222.333/0001-81",
        app_key="demo-acme-key",
        app_secret="demo-acme-secret",  # noqa: S106 - obviously fake
        nCodCC=2208238701,
        cCodCateg="1.01.02",
        cCidPrestServ="SAO PAULO (SP)",
        services={
            "Plataforma Essencial": Service(
                2203412601,
                "1.05",
                "02798",
                "01",
                2.9,
                "N",
                "Licenciamento de software - plano Essencial",
                19990,
            ),
            "Plataforma Pro": Service(
                2203412602, "1.05", "02798", "01", 2.9, "N", "Licenciamento de software - plano Pro", 89900
            ),
            "Suporte Premium": Service(
                2203412603, "1.07", "02916", "01", 2.9, "N", "Suporte técnico em informática", 150000
            ),
        },
        first_id=2_310_000_000,
    ),
    "nimbus": Company(
        key="nimbus",
        name="Nimbus Nuvem",
        jestor_label="Nimbus Serviços em Nuvem S.A.",
        document="22.333.444/0001-81",
        app_key="demo-nimbus-key",
        app_secret="demo-nimbus-secret",  # noqa: S106
        nCodCC=11008238702,
        cCodCateg="1.01.03",
        cCidPrestServ="CURITIBA (PR)",
        services={
            "Hospedagem Gerenciada": Service(
                11003412604, "1.03", "6311900", "01", 5.0, "N", "Hospedagem gerenciada em nuvem", 45000
            ),
            "Backup & Continuidade": Service(
                11003412605, "1.03", "6311900", "01", 5.0, "N", "Backup e continuidade de negócio", 32050
            ),
        },
        first_id=11_020_000_000,
    ),
}
OMIE_KEYS: Final[Mapping[str, tuple[str, str]]] = {c.key: (c.app_key, c.app_secret) for c in COMPANIES.values()}
"""company -> (app_key, app_secret), obviously fake."""

BILLING_DAY: Final = 1
"""nDiaFat of every contract that is as it should be."""
UNKNOWN_SERVICE: Final = "Consultoria avulsa"
"""An option people choose in Jestor for which no company has an Omie service: its contracts park."""
OWN_ITEM: Final = "JST-1"
"""codIntItem of the one item that is ours."""
BLANK_CODE: Final = " " * 60
"""How Omie sometimes returns an absent integration code (seen live)."""
EMAIL_FLAGS: Final[Mapping[str, str]] = {
    "cEnviarRecibo": "N",
    "cEnviarLinkNfse": "S",
    "cEnviarBoleto": "S",
    "cEnviarPix": "N",
    "cEnvViaUnica": "N",
}


# ---------------------------------------------------------------------------------------------- the contracts


class Kind(NamedTuple):
    """What is peculiar about a contract: how many per thousand billable ones, what a run must do and why."""

    per_thousand: float
    expected: Expected
    reason: str


BILLABLE: Final[Mapping[str, Kind]] = {
    "create": Kind(20, "bill", "only in Jestor: create it in Omie"),
    "differs_amount": Kind(40, "bill", "upsell or downgrade: alter Omie first"),
    "differs_text": Kind(5, "bill", "the invoice text changed: alter Omie first"),
    "differs_due_day": Kind(5, "bill", "the due day changed: alter Omie first"),
    "differs_billing_day": Kind(5, "bill", "nDiaFat is not 1: alter Omie first"),
    "foreign_item": Kind(10, "bill", "a person added an item in Omie: keep it, bill it"),
    "match": Kind(0, "bill", "Omie agrees with Jestor"),
}
"""Kinds that end billed; "match" takes what the others leave."""

DIRT: Final[Mapping[str, Kind]] = {
    "hidden_draft": Kind(5, "skip", "a draft: Jestor's lists hide it unless asked"),
    "negotiation": Kind(10, "skip", "not signed yet"),
    "ended": Kind(10, "skip", "its end date has passed"),
    "future": Kind(6, "skip", "its start date has not come"),
    "churned": Kind(15, "skip", "churn"),
    "suspended": Kind(8, "skip", "suspended in Jestor"),
    "unreadable_money": Kind(4, "park", "the amount is not a number"),
    "invalid_document": Kind(4, "park", "only in Jestor, CNPJ/CPF with wrong check digits: cannot be created"),
    "missing_document": Kind(3, "park", "only in Jestor, no CNPJ/CPF: cannot be created"),
    "lookalike": Kind(6, "park", "the customer has an active contract in Omie that nobody linked"),
    "suspended_in_omie": Kind(4, "park", "a person suspended it in Omie; Jestor says active"),
    "unknown_service": Kind(4, "park", "a service label that no setting maps"),
    "omie_only": Kind(10, "absent", "lives in Omie alone: not ours"),
}
"""What comes on top of the billable contracts."""

_LINKED: Final = frozenset(BILLABLE) - {"create"}
_UNLINKED: Final = frozenset({"lookalike", "omie_only"})
_BAD_MONEY: Final = ("a combinar", "1.200,5O", "12 x 350,00", "US$ 300,00", "sob consulta")
_DUE_DAYS: Final = (5, 10, 10, 10, 15, 15, 20, 20, 25, 8, 12, 18)
_LATE_DUE_DAYS: Final = (29, 30, 31)
_TERMS: Final = ("mensal", "anual", "12 meses", "24 meses", "ações & relatórios", "usuários adicionais")


class _Draw(NamedTuple):
    """Sixteen random bits per question: all the chances of one contract."""

    company: int
    service: int
    price: int
    quantity: int
    discount: int
    due_day: int
    late_due_day: int
    start: int
    end: int
    link: int
    code: int
    money_style: int
    number_style: int
    text: int
    change: int
    extra: int
    omie_side: int
    origin: int
    shared: int
    document_style: int


def _draw(seed: int, index: int) -> _Draw:
    return _Draw(*struct.unpack(">20H", blake2b(b"contract:%d:%d" % (seed, index), digest_size=40).digest()))


def _company(draw: _Draw) -> Company:
    return COMPANIES["acme" if draw.company % 10 < 7 else "nimbus"]


@dataclass(frozen=True, slots=True)
class WorldContract:
    """One contract of the world. The dicts are built when asked for; change them freely.

    kind: a key of BILLABLE or DIRT. customer: the customer's number; two contracts may share one
    (then their Omie customer, codigo_cliente_omie, is the same: de-duplicate when loading).
    """

    kind: str
    index: int
    customer: int
    seed: int
    today: date

    @property
    def expected(self) -> Expected:
        """What a run must do with it."""
        return self._kind.expected

    @property
    def expected_reason(self) -> str:
        return self._kind.reason

    @property
    def _kind(self) -> Kind:
        return BILLABLE.get(self.kind) or DIRT[self.kind]

    @property
    def omie_company(self) -> str:
        """Key of COMPANIES."""
        return _company(_draw(self.seed, self.index)).key

    @property
    def jestor_id(self) -> int:
        """Ids have holes: records were deleted and Jestor never reuses an id."""
        return 1 + self.index + self.index // 37

    @property
    def code(self) -> str:
        """What goes to cCodIntCtr: "JST-12"."""
        return f"JST-{self.jestor_id}"

    @property
    def amount(self) -> int:
        """Centavos to bill each month, foreign Omie items included; 0 unless it is to be billed."""
        if self.expected != "bill":
            return 0
        terms = _terms(self)
        return terms.quantity * terms.unit - terms.discount + terms.foreign

    @property
    def jestor_row(self) -> Row | None:
        """The row as `/object/list` returns it, its customer nested; None when only Omie knows it."""
        return None if self.kind == "omie_only" else _jestor_row(self, _terms(self))

    @property
    def omie_cliente(self) -> Row | None:
        """`clientes_cadastro` of its customer; None when that company's Omie does not know the customer."""
        terms = _terms(self)
        known = terms.in_omie or self._customer_known(terms)
        return _omie_cliente(self, terms) if known else None

    def _customer_known(self, terms: _Terms) -> bool:
        shares = self.customer != self.index
        if shares and _company(_draw(self.seed, self.customer)) is terms.company:
            return True
        return terms.draw.omie_side % 10 < 4

    @property
    def omie_contrato(self) -> Row | None:
        """Complete `contratoCadastro` as ConsultarContrato returns it; None when Omie does not have it."""
        terms = _terms(self)
        return _omie_contrato(self, terms) if terms.in_omie else None


class _Terms(NamedTuple):
    """The business facts of a contract, money in centavos."""

    draw: _Draw
    company: Company
    service_label: str
    service: Service
    description: str
    quantity: int
    unit: int
    discount: int
    foreign: int
    due_day: int
    start: date
    end: date | None
    in_omie: bool
    link_by_code: bool
    omie_id_in_jestor: bool
    cCodSit: str


def _terms(contract: WorldContract) -> _Terms:
    draw, kind, today = _draw(contract.seed, contract.index), contract.kind, contract.today
    company = _company(draw)
    labels = tuple(company.services)
    label = labels[draw.service % len(labels)]
    service = company.services[label]
    unit = service.price + (draw.price % 40) * 500 + (draw.price % 7) * 35
    quantity = 2 + draw.quantity % 5 if draw.quantity % 100 < 10 else 1
    start, end = _validity(kind, draw, today)
    ends_the_month = draw.late_due_day % 100 < 4
    by_code = draw.link % 10 < 7
    return _Terms(
        draw=draw,
        company=company,
        service_label=label,
        service=service,
        description=f"{label} - {_TERMS[draw.text % len(_TERMS)]}",
        quantity=quantity,
        unit=unit,
        discount=unit * quantity // 10 if draw.discount % 100 < 6 else 0,
        foreign=1000 + draw.extra % 90 * 100 + 50 if kind == "foreign_item" else 0,
        due_day=_LATE_DUE_DAYS[draw.due_day % 3] if ends_the_month else _DUE_DAYS[draw.due_day % len(_DUE_DAYS)],
        start=start,
        end=end,
        in_omie=_in_omie(kind, draw),
        link_by_code=by_code and kind not in _UNLINKED,
        omie_id_in_jestor=kind != "lookalike" and (not by_code or draw.code % 2 == 0),
        cCodSit=_situation(kind, draw),
    )


def _in_omie(kind: str, draw: _Draw) -> bool:
    if kind in {"create", "negotiation", "hidden_draft", "invalid_document", "missing_document"}:
        return False
    return kind != "future" or draw.omie_side % 2 == 0


def _situation(kind: str, draw: _Draw) -> str:
    match kind:
        case "churned":
            return "90" if draw.omie_side % 2 else "99"
        case "suspended" | "suspended_in_omie":
            return "90"
        case "omie_only":
            return ("10", "10", "10", "90", "99", "00")[draw.omie_side % 6]
    return "10"


def _validity(kind: str, draw: _Draw, today: date) -> tuple[date, date | None]:
    first = today.replace(day=1)
    if kind == "future":
        return first + timedelta(days=100 + draw.start % 200), None
    start = first - timedelta(days=400 + draw.start % 1400)
    if kind == "ended":
        return start, first - timedelta(days=40 + draw.end % 300)
    return start, today + timedelta(days=365 + draw.end % 1200) if draw.end % 10 < 4 else None


# ---------------------------------------------------------------------------------------------- Jestor's side


def _jestor_row(contract: WorldContract, terms: _Terms) -> Row:
    draw, kind, who = terms.draw, contract.kind, party(contract.seed, contract.customer)
    status = {
        "churned": "Churn",
        "suspended": "Suspenso",
        "negotiation": "Em negociação",
        "ended": "Encerrado" if draw.end % 2 else "Ativo",
    }.get(kind, "Ativo")
    unit: object = _typed_money(terms.unit, draw.money_style)
    if kind == "unreadable_money":
        unit = _BAD_MONEY[draw.change % len(_BAD_MONEY)]
    as_text = draw.number_style % 100 < 10
    omie_id = _ctr_id(contract, terms) if terms.in_omie and terms.omie_id_in_jestor else None
    row: Row = {
        CONTRACT_ID: contract.jestor_id,
        "name": f"{who.name} - {terms.service_label}",
        "jestor_is_draft": int(kind == "hidden_draft"),
        "criado_em": f"{terms.start - timedelta(days=12)} 09:{draw.start % 60:02d}",
        "empresa_faturadora": terms.company.jestor_label,
        "cliente": _jestor_customer(contract, who, draw),
        "servico_contratado": UNKNOWN_SERVICE if kind == "unknown_service" else terms.service_label,
        "descricao_nf_1": terms.description,
        "quantidade": str(terms.quantity) if as_text else terms.quantity,
        "valor_mensal": _number(terms.unit - 1000),
        "valor_mensal_2": unit,
        "desconto": _typed_money(terms.discount, draw.money_style) if terms.discount else (None, 0)[draw.link % 2],
        "dia_vencimento": str(terms.due_day) if as_text else terms.due_day,
        "inicio_vigencia": f"{terms.start} 00:00" if draw.number_style % 100 == 50 else str(terms.start),
        "fim_vigencia": str(terms.end) if terms.end else None,
        "status_1": status,
        "status": "Deletado" if draw.text % 50 == 0 else None,
        "id_omie": str(omie_id) if omie_id and draw.number_style % 10 == 3 else omie_id,
        "origem": tuple(ORIGINS)[draw.origin % len(ORIGINS)],
    }
    row |= dict.fromkeys((*CHANGE_FIELDS.values(), *WRITE_BACK_FIELDS.values(), *INVOICE_FIELDS.values()))
    row |= _readjustment(draw, terms, contract.today)
    if kind == "hidden_draft":
        row |= dict.fromkeys(("valor_mensal_2", "servico_contratado", "inicio_vigencia", "dia_vencimento"))
    return row


def _readjustment(draw: _Draw, terms: _Terms, today: date) -> Row:
    """One contract in nine states an adjustment; of these, one in three is due this month."""
    if draw.origin % 9 != 4:
        return dict.fromkeys((FIELDS["readjust_index"], FIELDS["readjust_percent"], FIELDS["readjusted_on"]))
    option = tuple(READJUSTMENTS)[draw.extra % 3]
    first = today.replace(day=1)
    last = first - timedelta(days=150) if draw.code % 3 else first.replace(year=first.year - 1)
    return {
        FIELDS["readjust_index"]: option,
        FIELDS["readjust_percent"]: 4.5 + draw.price % 5 / 2 if READJUSTMENTS[option] == "Percentual fixo" else None,
        FIELDS["readjusted_on"]: str(last) if last > terms.start else None,
    }


def _jestor_customer(contract: WorldContract, who: Party, draw: _Draw) -> Row:
    document: str | None = formatted(who.document)
    if contract.kind == "invalid_document":
        last = who.document[-1]
        document = formatted(who.document[:-1] + str((int(last) + 1) % 10))
    elif contract.kind == "missing_document":
        document = (None, "")[draw.change % 2]
    elif (style := _draw(contract.seed, contract.customer).document_style % 100) < 15:
        document = (who.document, f" {formatted(who.document)} ")[style % 2]
    return {
        CUSTOMER_ID: 1 + contract.customer + contract.customer // 53,
        "name": who.name,
        "razao_social_1": who.name,
        "cnpj_cpf": document,
        "email_faturamento": who.email,
        "whatsapp": who.phone,
        "cep": f"{who.cep[:5]}-{who.cep[5:]}",
        "endereco": who.endereco,
        "numero": who.numero,
        "complemento": who.complemento or None,
        "bairro": who.bairro,
        "cidade": who.cidade,
        "estado": who.estado,
    }


def _number(centavos: int) -> float | int:
    return centavos // 100 if centavos % 100 == 0 else centavos / 100


def _typed_money(centavos: int, style: int) -> float | int | str:
    """The same amount as the API gives it: mostly a number, sometimes what a person typed."""
    match style % 20:
        case 0 | 1:
            return brazilian(centavos)
        case 2:
            return f"R$ {brazilian(centavos)}"
        case 3:
            return f"{centavos // 100}.{centavos % 100:02d}"
    return _number(centavos)


def brazilian(centavos: int) -> str:
    """Centavos as people write reais: 120050 is 1.200,50."""
    return f"{centavos // 100:,}".replace(",", ".") + f",{centavos % 100:02d}"


# ------------------------------------------------------------------------------------------------ Omie's side


def _ctr_id(contract: WorldContract, terms: _Terms) -> int:
    return terms.company.first_id + 10 * contract.index + 1


def _cli_id(contract: WorldContract, terms: _Terms) -> int:
    return terms.company.first_id + 500_000_000 + 10 * contract.customer


def _dmy(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _omie_cliente(contract: WorldContract, terms: _Terms) -> Row:
    who = party(contract.seed, contract.customer)
    return {
        "codigo_cliente_omie": _cli_id(contract, terms),
        "codigo_cliente_integracao": "",
        "razao_social": who.name[:60],
        "nome_fantasia": who.name[:100],
        "cnpj_cpf": formatted(who.document),
        "pessoa_fisica": "S" if who.is_person else "N",
        "email": who.email or "",
        "telefone1_ddd": who.ddd,
        "telefone1_numero": who.number,
        "endereco": who.endereco,
        "endereco_numero": who.numero,
        "complemento": who.complemento,
        "bairro": who.bairro,
        "cep": who.cep,
        "cidade": f"{who.cidade.upper()} ({who.estado})",
        "estado": who.estado,
        "codigo_pais": "1058",
        "exterior": "N",
        "inativo": "N",
        "bloquear_faturamento": "N",
        "enviar_anexos": "N",
        "inscricao_estadual": "",
        "inscricao_municipal": "",
        "recomendacoes": {"gerar_boletos": "S", "email_fatura": "", "numero_parcelas": ""},
        "tags": [],
    }


def _omie_contrato(contract: WorldContract, terms: _Terms) -> Row:
    draw, kind, who = terms.draw, contract.kind, party(contract.seed, contract.customer)
    unit, description, due_day, billing_day = terms.unit, terms.description, terms.due_day, BILLING_DAY
    if kind == "differs_amount":
        unit = unit * 2 // 3 if draw.change % 4 else unit + 15000
    elif kind == "differs_text":
        description = f"Mensalidade {terms.service_label} (contrato antigo)"
    elif kind == "differs_due_day":
        due_day = 7
    elif kind == "differs_billing_day":
        billing_day = (5, 10, 15, 20)[draw.change % 4]
    own_code = "" if kind in _UNLINKED else OWN_ITEM
    first_item = _ctr_id(contract, terms) + 900_000_000
    items = [
        _item(
            first_item,
            own_code,
            terms.service,
            description,
            seq=1,
            quant=terms.quantity,
            unit=unit,
            discount=terms.discount,
        )
    ]
    if terms.foreign:
        text = "Hora técnica avulsa" if draw.extra % 2 else "Usuário extra (incluído pelo financeiro)"
        code = ("", "EXTRA-1")[draw.extra % 2]
        items.append(_item(first_item + 5, code, terms.service, text, seq=2, quant=1, unit=terms.foreign, discount=0))
    return {
        "cabecalho": {
            "nCodCtr": _ctr_id(contract, terms),
            "cCodIntCtr": _integration_code(contract, terms),
            "cNumCtr": f"{terms.start.year}/{contract.index + 1:06d}",
            "nCodCli": _cli_id(contract, terms),
            "cCodSit": terms.cCodSit,
            "cTipoFat": "01",
            "dVigInicial": _dmy(terms.start),
            "dVigFinal": _dmy(terms.end or terms.start.replace(day=1, year=terms.start.year + 15)),
            "nDiaFat": billing_day,
            "nValTotMes": round(sum(item["itemCabecalho"]["valorTotal"] for item in items), 2),
        },
        "departamentos": [],
        "despesasReembolsaveis": {"cCodCategReemb": "", "despesaReembolsavel": []},
        "emailCliente": {**EMAIL_FLAGS, "cUtilizarEmails": who.email or ""},
        "infAdic": {
            "cCodCateg": terms.company.cCodCateg,
            "nCodCC": terms.company.nCodCC,
            "cCidPrestServ": terms.company.cCidPrestServ,
            "nCodProj": 0,
            "nCodVend": 0,
            "cCodART": "",
            "cCodObra": "",
            "cContato": "",
            "cDadosAdicNF": "",
            "cNumEncap": "",
        },
        "infoCadastro": {
            "dInc": _dmy(terms.start),
            "hInc": "10:12:30",
            "uInc": "P000031234",
            "dAlt": _dmy(terms.start),
            "hAlt": "10:12:30",
            "uAlt": "P000031234",
            "cImpAPI": "N",
        },
        "itensContrato": items,
        "observacoes": {"cObsContrato": ""},
        "vencTextos": {
            "cTpVenc": "002",
            "nDias": 0,
            **_due_rule(due_day, contract.today),
            "cAntecipar": "N",
            "cPostergar": "N",
            "cAdPeriodo": "N",
            "cAdContrato": "N",
            "cAdVenc": "N",
            "cCodPerRef": "001",
            "cDiaIni": 0,
            "cDiaFim": 0,
        },
    }


def _due_rule(due_day: int, today: date) -> Row:
    """As an account in its steady state has it on the day of billing: the day's own date if it is still a few days
    away, else next month's; each month clamps the contract's day.
    """
    due = _day_of(today, due_day)
    if due >= today + timedelta(days=MIN_DAYS_TO_DUE):
        return {"nDiaFixo": due.day, "cProxMes": "N"}
    following = today.replace(day=1) + timedelta(days=32)
    return {"nDiaFixo": _day_of(following, due_day).day, "cProxMes": "S"}


def _day_of(month: date, day: int) -> date:
    return month.replace(day=min(day, calendar.monthrange(month.year, month.month)[1]))


def _integration_code(contract: WorldContract, terms: _Terms) -> str:
    if terms.link_by_code:
        return contract.code
    if contract.kind == "omie_only" and terms.draw.code % 3 == 0:
        return f"PED-{contract.index}"
    return (BLANK_CODE, "")[terms.draw.code % 2]


def _item(
    codItem: int,
    codIntItem: str,
    service: Service,
    text: str,
    *,
    seq: int,
    quant: int,
    unit: int,
    discount: int,
) -> Row:
    total = (quant * unit - discount) / 100
    return {
        "itemCabecalho": {
            "codItem": codItem,
            "codIntItem": codIntItem,
            "seq": seq,
            "codServico": service.codServico,
            "natOperacao": service.natOperacao,
            "codServMunic": service.codServMunic,
            "codLC116": service.codLC116,
            "codNBS": "",
            "quant": quant,
            "valorUnit": unit / 100,
            "cTpDesconto": "V",
            "valorDesconto": discount / 100,
            "aliqDesconto": 0,
            "valorOutrasRetencoes": 0,
            "valorAcrescimo": 0,
            "valorDed": 0,
            "valorTotal": total,
            "cNaoGerarFinanceiro": "N",
            "cCodCategItem": "",
        },
        "itemDescrServ": {"descrCompleta": text},
        "itemImpostos": {
            **_NO_TAX,
            "aliqISS": service.aliqISS,
            "valorISS": round(total * service.aliqISS / 100, 2),
            "retISS": service.retISS,
        },
        "itemLeiTranspImp": {
            "aliMunicipal": 0,
            "aliqEstadual": 0,
            "aliqFederal": 0,
            "chave": "",
            "fonte": "",
        },
        "itemOutrasInf": {"dItVigInicial": "", "dItVigFinal": "", "nTipoItVigFinal": 2},
    }


_NO_TAX: Final[Mapping[str, Any]] = {
    **{f"aliq{tax}": 0 for tax in ("IR", "PIS", "COFINS", "CSLL", "INSS")},
    **{f"valor{tax}": 0 for tax in ("IR", "PIS", "COFINS", "CSLL", "INSS")},
    **{f"ret{tax}": "N" for tax in ("IR", "PIS", "COFINS", "CSLL", "INSS")},
    "redBaseINSS": 0,
    "lDeduzISS": False,
}

# -------------------------------------------------------------------------------------------------- the world


@dataclass(frozen=True, slots=True)
class World:
    """All contracts of both sides; `contracts` is ordered by Jestor id."""

    seed: int
    today: date
    companies: Mapping[str, Company]
    contracts: tuple[WorldContract, ...]

    def expected(self) -> dict[str, int]:
        """How many contracts a run must bill, skip and park ("absent": those without a plan line)."""
        return dict(Counter(contract.expected for contract in self.contracts))

    def expected_amounts(self) -> dict[str, int]:
        """Contract code ("JST-12") -> centavos, of every contract that must end billed."""
        return {c.code: c.amount for c in self.contracts if c.expected == "bill"}

    def jestor_rows(self) -> Iterator[Row]:
        """Rows of CONTRACTS_TABLE in id order."""
        return (row for contract in self.contracts if (row := contract.jestor_row))


def make_world(contracts: int, seed: int, today: date, *, clean: bool = False) -> World:
    """A world with exactly `contracts` billable contracts, and the dirt of real life on top.

    Every kind of BILLABLE and DIRT occurs at least once (when `contracts` >= 7). `clean=True` leaves only
    contracts on which both sides agree: what Omie would bill by itself is then exactly what must be billed.
    """
    kinds: list[str] = []
    if not clean:
        for kind, (per_thousand, *_) in BILLABLE.items():
            kinds += [kind] * max(1, round(contracts * per_thousand / 1000))
        kinds = kinds[:contracts]
    kinds += ["match"] * (contracts - len(kinds))
    if not clean:
        for kind, (per_thousand, *_) in DIRT.items():
            kinds += [kind] * max(1, round(contracts * per_thousand / 1000))
    Random(seed).shuffle(kinds)
    rows: list[WorldContract] = []
    for index, kind in enumerate(kinds):
        previous = rows[-1] if rows else None
        customer = index
        # About one in thirty is a further contract of the customer before it, whose own is linked.
        if (
            previous
            and previous.customer == previous.index
            and previous.kind in _LINKED
            and kind in BILLABLE
            and _draw(seed, index).shared % 30 == 0
        ):
            customer = previous.customer
        rows.append(WorldContract(kind, index, customer, seed, today))
    return World(seed, today, COMPANIES, tuple(rows))
