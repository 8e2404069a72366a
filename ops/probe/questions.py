"""What `billing-ops probe` asks, by name: each row stands in docs/api-open-questions.md under `row`.

`switch` is the simulator's switch that the answer sets; "" for a fact that no switch plays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Question:
    """name: the switch's name, or the fact's. row: the question as the page words it. asks: for the operator."""

    name: str
    row: str
    asks: str
    is_switch: bool = True

    @property
    def switch(self) -> str:
        return self.name if self.is_switch else ""


def _fact(name: str, row: str, asks: str) -> Question:
    return Question(name, row, asks, is_switch=False)


_SECOND: Final = "Does `FaturarContrato` bill a contract that was already billed this month?"
_OUTSIDE: Final = "Does it bill before `nDiaFat`, or outside the vigência (not in stage 20)?"
_LISTS: Final = "How long do the stages and `ListarOS` lack a billing that was made?"
_ALIKE: Final = "Do the stages and `ListarOS` lag alike?"
_READS: Final = "How long do reads show a contract as it was before an alteration?"
_CLOCK: Final = "How far is Omie's clock from ours?"
_CANCELLED: Final = "In which stage does a contract stand whose order was cancelled?"
_ITEMS: Final = "Items missing from `AlterarContrato`/`UpsertContrato`: kept or removed?"
_EXPENSES: Final = "Expenses missing from `AlterarContrato`: kept or removed?"
_ONCE: Final = (
    "Does Omie take off by itself what was for one billing only (item of type 3, expense that does not recur)?"
)
_MARKER: Final = "Does an expense need `dDataReemb`, and keep the end of its text (our marker)?"
_KEYS: Final = "Are `codIntItem` of an item and `nCodReemb` of an expense kept from one alteration to the next?"
_EMPTY: Final = "Does an explicit empty text in `AlterarCliente` empty the field?"
_LIMITS: Final = "Are the documented numbers still right?"
_CITY: Final = "How long does the city take, how often does it refuse?"
_BOLETO: Final = "Does a boleto come by itself?"
_RECEIPT: Final = "Does the `valor` of `LancarRecebimento` include interest and fine?"

QUESTIONS: Final[tuple[Question, ...]] = (
    Question("second_billing", _SECOND, "FaturarContrato de um contrato já faturado no mês"),
    Question("bill_outside_stage_20", _OUTSIDE, "FaturarContrato antes do nDiaFat ou fora da vigência"),
    Question("list_lag", _LISTS, "Maior atraso das etapas e do ListarOS, em segundos"),
    Question("list_lag_least", _LISTS, "Menor atraso das etapas e do ListarOS, em segundos"),
    Question("lists_lag", _ALIKE, "Etapas e ListarOS atrasam juntos"),
    Question("read_lag", _READS, "Por quanto tempo as leituras mostram o contrato antigo, em segundos"),
    Question("clock_offset", _CLOCK, "Quanto o relógio do Omie está à frente do nosso, em segundos"),
    Question("after_cancel", _CANCELLED, "Etapa do contrato cuja OS foi cancelada"),
    Question("items_on_alter", _ITEMS, "Itens que a alteração não traz"),
    Question("expenses_on_alter", _EXPENSES, "Despesas que a alteração não traz"),
    Question("once_only_after_billing", _ONCE, "O que era só para um faturamento, depois dele"),
    Question("null_values", "Are `null` values accepted?", "Valores null na alteração"),
    Question(
        "repeat_status_change",
        "Suspending a suspended contract (and the like)?",
        "Suspender um contrato já suspenso",
    ),
    Question("empty_on_alter", _EMPTY, "Texto vazio em AlterarCliente"),
    Question("nome_fantasia", "Must a new customer carry `nome_fantasia`?", "nome_fantasia de um cliente novo"),
    Question(
        "duplicate_integration_code",
        "Does a duplicate integration code always fail?",
        "Segundo contrato com o mesmo cCodIntCtr",
    ),
    Question("os_nCodCtr", "Does an OS born of a contract repeat `nCodCtr` in `ListarOS`?", "nCodCtr no ListarOS"),
    Question("list_os_cNumContrato", "Does `ListarOS` return `cNumContrato`?", "cNumContrato no ListarOS"),
    Question("lot_details", "`ListarLotesContrato.detalhes`: a list or one object?", "detalhes do ListarLotesContrato"),
    Question("redundant_on", "REDUNDANT on the second or the third identical call?", "Chamada que volta REDUNDANT"),
    Question(
        "same_id_lookup",
        'Which methods does "the same ID once in 60 s" mean?',
        "Métodos que só respondem o mesmo ID uma vez por minuto",
    ),
    Question("in_flight", _LIMITS, "Chamadas simultâneas permitidas"),
    Question("largest_page", "Largest page: 100 or 500?", "Maior página"),
    Question("missing_slash", "A URL without its trailing slash?", "URL sem a barra no fim"),
    Question("nfse_seconds", _CITY, "Tempo até a NFS-e, em segundos"),
    Question("boleto", _BOLETO, "Boleto sem pedir"),
    Question("boleto_seconds", _BOLETO, "Tempo do título ao boleto, em segundos"),
    Question("receipt_value", _RECEIPT, "O valor do recebimento inclui juros e multa"),
    _fact("item_keys_kept", _KEYS, "codIntItem e nCodReemb continuam depois da alteração"),
    _fact("expense_text_kept", _MARKER, "O fim do texto da despesa continua"),
    _fact("links_change", "Do links change from one reading to the next?", "O link do boleto muda a cada leitura"),
    _fact(
        "barcode_digits",
        "Is `cCodBarras` the barcode (44 digits) or the linha digitável (47)?",
        "Dígitos de cCodBarras",
    ),
    _fact(
        "billing_moves_alteration_date",
        "Does billing a contract move its alteration date (`dAlt`)?",
        "O faturamento muda a data de alteração do contrato",
    ),
)
BY_NAME: Final = {question.name: question for question in QUESTIONS}
