"""The tables of the simulated Jestor org and what `objectProperties/index` says of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from simulators import world

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table; `options` are (id, label), the row holds the id (in old fields the label)."""

    key: str
    label: str
    type: str = "string"
    options: tuple[tuple[str, str], ...] = ()
    connected: str | None = None

    def properties(self) -> dict[str, Any]:
        """One entry of `objectProperties/index`."""
        options = [{"id": key, "label": label} for key, label in self.options]
        entry: dict[str, Any] = {"key": self.key, "label": self.label, "type": self.type}
        match self.type:
            case "tags":
                entry["tags"] = options
            case "radioSelect":
                entry["radio_select_config"] = {"options": options}
            case "multipleSelect":
                entry["multiple_select_config"] = {"options": options}
            case "connectedTable":
                entry["connected_table"] = self.connected
        return entry


def _same(*labels: str) -> tuple[tuple[str, str], ...]:
    return tuple((label, label) for label in labels)


_SERVICES = (*(label for c in world.COMPANIES.values() for label in c.services), world.UNKNOWN_SERVICE)

CONTRACTS: Final = (
    Field(world.CONTRACT_ID, "ID", "number"),
    Field("name", "Contrato"),
    Field("jestor_is_draft", "Rascunho", "checkbox"),
    Field("criado_em", "Criado em", "datetime"),
    Field(
        "empresa_faturadora",
        "Empresa faturadora",
        "tags",
        _same(*(c.jestor_label for c in world.COMPANIES.values())),
    ),
    Field("cliente", "Cliente", "connectedTable", connected=world.CUSTOMERS_TABLE),
    Field("servico_contratado", "Serviço contratado", "tags", _same(*_SERVICES)),
    Field("descricao_nf_1", "Descrição na NF", "longText"),
    Field("quantidade", "Quantidade", "number"),
    Field("valor_mensal", "Valor mensal (antigo)", "currency"),
    Field("valor_mensal_2", "Valor mensal", "currency"),
    Field("desconto", "Desconto", "currency"),
    Field("dia_vencimento", "Dia de vencimento", "number"),
    Field("inicio_vigencia", "Início da vigência", "date"),
    Field("fim_vigencia", "Fim da vigência", "date"),
    Field("status_1", "Status", "tags", _same(*world.STATUS_LABELS)),
    Field("status", "Status (antigo)", "tags", _same("Ativo", "Deletado")),
    Field("id_omie", "ID no Omie", "number"),
    Field("origem", "Origem", "radioSelect", tuple(world.ORIGINS.items())),
    Field("modo_mudanca", "Modo da mudança", "radioSelect", _same(*world.CHANGE_MODES)),
    Field("mudanca_vale_a_partir", "Mudança vale a partir de", "date"),
    Field("multa_percentual", "Multa (%)", "number"),
    Field("juros_percentual_mes", "Juros ao mês (%)", "number"),
    Field("indice_reajuste", "Índice de reajuste", "radioSelect", tuple(world.READJUSTMENTS.items())),
    Field("reajuste_percentual", "Reajuste anual (%)", "number"),
    Field("ultimo_reajuste", "Último reajuste", "date"),
    Field("modo_encargos", "Encargos", "radioSelect", _same(*world.LATE_MODES)),
    Field("tipo_cliente", "Tipo de cliente", "radioSelect", _same(*world.CUSTOMER_KINDS)),
    Field("situacao_omie", "Situação no Omie"),
    Field("observacao_omie", "Observação do faturamento", "longText"),
    Field("mudanca_vale_na_competencia", "Mudança vale na competência"),
    Field("competencia_faturada", "Competência faturada"),
    Field("status_faturamento", "Status do faturamento"),
    Field("valor_faturado", "Valor faturado", "currency"),
    Field("numero_nfse", "Número da NFS-e"),
    Field("link_fatura", "Link da fatura"),
    Field("link_nfse_pdf", "PDF da NFS-e"),
    Field("link_boleto_1", "Link do boleto"),
    Field("linha_digitavel", "Linha digitável"),
    Field("vencimento_fatura", "Vencimento da fatura", "date"),
    Field("whatsapp_destino", "WhatsApp de destino", "phone"),
    Field("mensagem_whatsapp", "Mensagem do WhatsApp", "longText"),
    Field("pendencia_fatura", "Pendência da fatura", "longText"),
    Field("anexos", "Anexos", "file"),
)

CUSTOMERS: Final = (
    Field(world.CUSTOMER_ID, "ID", "number"),
    Field("name", "Cliente"),
    Field("jestor_is_draft", "Rascunho", "checkbox"),
    Field("razao_social_1", "Razão social"),
    Field("cnpj_cpf", "CNPJ/CPF", "cnpj"),
    Field("email_faturamento", "E-mail de faturamento", "email"),
    Field("whatsapp", "WhatsApp", "phone"),
    Field("cep", "CEP"),
    Field("endereco", "Endereço"),
    Field("numero", "Número"),
    Field("complemento", "Complemento"),
    Field("bairro", "Bairro"),
    Field("cidade", "Cidade"),
    Field("estado", "Estado"),
)

RECEIVABLES: Final = (
    Field(world.RECEIVABLE_ID, "ID", "number"),
    Field("name", "Título"),
    Field("jestor_is_draft", "Rascunho", "checkbox"),
    Field("codigo_titulo_omie", "Código do título no Omie", "number"),
    Field("empresa", "Empresa", "tags", _same(*(c.jestor_label for c in world.COMPANIES.values()))),
    Field("contrato", "Contrato", "connectedTable", connected=world.CONTRACTS_TABLE),
    Field("cliente_1", "Cliente"),
    Field("numero_documento", "Número do documento"),
    Field("valor_titulo", "Valor do título", "currency"),
    Field("saldo_em_aberto", "Saldo em aberto", "currency"),
    Field("vencimento_2", "Vencimento", "date"),
    Field("situacao_1", "Situação", "tags", _same(*world.RECEIVABLE_STATUSES)),
    Field("dias_atraso", "Dias de atraso", "number"),
    Field("etapa_cobranca", "Etapa de cobrança", "tags", _same(*world.STAGES, world.RESOLVED_STAGE)),
    Field("pago_em", "Pago em", "date"),
    Field("valor_pago", "Valor pago", "currency"),
    Field("multa_recebida", "Multa recebida", "currency"),
    Field("juros_recebidos", "Juros recebidos", "currency"),
    Field("link_boleto", "Link do boleto"),
    Field("excecao_1", "Exceção", "radioSelect", tuple(world.EXCEPTIONS.items())),
    Field("encargos_previstos", "Encargos a faturar", "currency"),
    Field("encargos_ja_faturados", "Encargos já faturados", "currency"),
    Field("calculo_encargos", "Cálculo dos encargos", "longText"),
)

TABLES: Final[Mapping[str, tuple[Field, ...]]] = {
    world.CONTRACTS_TABLE: CONTRACTS,
    world.CUSTOMERS_TABLE: CUSTOMERS,
    world.RECEIVABLES_TABLE: RECEIVABLES,
}

USERS: Final[tuple[dict[str, Any], ...]] = tuple(
    {
        "id_user": number,
        "email": f"{login}@{world.ORG}.example",
        "name": name,
        "display_name": name,
        "is_portal": False,
        "photo_url": None,
        "tabs": [],
    }
    for number, login, name in (
        (1, "api", "Integração"),
        (2, "cs", "Sucesso do Cliente"),
        (3, "fin", "Financeiro"),
    )
)
