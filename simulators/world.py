"""One small economy, seen from both sides: what Jestor holds and what Omie holds, drawn from one seed.

Nothing is stored but the draws: every row and every Omie dict is built again each time it is asked for, always
the same for the same (seed, index), so a world of 100,000 contracts costs a few dozen megabytes.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Row = dict[str, Any]
Expected = Literal["bill", "skip", "park", "absent"]
"""What a month's run must do with a contract; "absent": it has no plan line (not in Jestor, or a hidden draft)."""

# ---------------------------------------------------------------------------------------------- names in Jestor

ORG: Final = "demo"
JESTOR_TOKEN: Final = "demo-jestor-token"  # noqa: S105 - obviously fake
JESTOR_RESTRICTED_TOKEN: Final = "demo-jestor-token-acme-only"  # noqa: S105
"""A token whose profile has a row filter: it silently sees Acme's contracts only."""

CONTRACTS_TABLE: Final = "o_k7v2mxq94trw1bz6hd3n8"
CUSTOMERS_TABLE: Final = "mjx81tqf0zd5pw6ly3r7c"
CONTRACT_ID: Final = f"id_{CONTRACTS_TABLE}"
CUSTOMER_ID: Final = f"id_{CUSTOMERS_TABLE}"

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
    "draft": "jestor_is_draft",
}
"""Our word -> API name in CONTRACTS_TABLE.
"cliente.x" is field x of the connected record `cliente` (CUSTOMERS_TABLE):
an object without `nested_type`, a bare id with `nested_type: "onlyrefs"`. `select` takes the root, "cliente"."""

STALE_FIELDS: Final = ("valor_mensal", "status")
"""Fields of an older layout that are still there, with old values: reading them bills the wrong amount."""

CHANGE_FIELDS: Final[Mapping[str, str]] = {
    "change_mode": "modo_mudanca",
    "change_from": "mudanca_vale_a_partir",
    "late_fine_percent": "multa_percentual",
    "late_interest_percent": "juros_percentual_mes",
    "late_mode": "modo_encargos",
}
"""Per-contract wishes that override the company's policy; empty in most rows."""

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
}
"""What the billing writes back; a Jestor automation on `link_fatura` sends the message."""

STATUS_LABELS: Final[Mapping[str, str]] = {
    "Ativo": "active",
    "Suspenso": "suspended",
    "Churn": "churned",
    "Em negociação": "draft",
    "Encerrado": "other",
}
CHANGE_MODES: Final = ("Próximo ciclo", "Proporcional")
LATE_MODES: Final = ("Próxima fatura", "Boleto", "Nenhum")
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
        document="45.723.174/0001-10",
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
OMIE_KEYS: Final[Mapping[str, tuple[str, str]]] = {
    c.key: (c.app_key, c.app_secret) for c in COMPANIES.values()
}
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


class _Draw(NamedTuple):
    """Sixteen random bits per question, all of one contract's (or customer's) chances."""

    a: int = 0


@dataclass(frozen=True, slots=True)
class WorldContract:
    """One contract of the world. The dicts are built when asked for; change them freely.

    jestor_row: the row as `/object/list` returns it (connected customer nested), None when only Omie knows it.
    omie_cliente: `clientes_cadastro` of its customer in that company, None when Omie does not know the customer.
      Two contracts may share one customer (same codigo_cliente_omie): de-duplicate when loading.
    omie_contrato: complete `contratoCadastro`, None when it is to be created.
    amount: centavos to be billed each month (foreign Omie items included), 0 when unreadable.
    """

    kind: str
    omie_company: str
    expected: Expected
    expected_reason: str


@dataclass(frozen=True, slots=True)
class World:
    seed: int
    today: date
    companies: Mapping[str, Company]
    contracts: tuple[WorldContract, ...]

    def expected(self) -> dict[str, int]:
        """How many contracts a run must bill, skip and park ("absent": those without a plan line)."""
        return dict(Counter(contract.expected for contract in self.contracts))
