"""What the dead-letter queue says about one parked contract: enough to act on without opening anything else.

The ledger decides what is parked and why (`reason_code`); a message may be older than what it speaks of.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from billing.domain.charge import MONTHLY, Charge, ChargeKey, ParkClass
from billing.domain.month import BillingMonth
from billing.omie.replies import fold

if TYPE_CHECKING:
    from billing.store.ports import Charges, Messages

SAFE_ACTION: Final[Mapping[ParkClass, str]] = {
    ParkClass.TRANSIENT: "Nada a corrigir: pode ser reenviado (billing-ops dlq redrive).",
    ParkClass.DATA: (
        "Corrija o cadastro no Jestor ou no Omie e libere o contrato (billing-ops dlq redrive); "
        "ele volta a ser conferido antes do envio."
    ),
    ParkClass.FISCAL: (
        "Peça à contabilidade que corrija o serviço ou os impostos e libere o contrato (billing-ops dlq redrive)."
    ),
    ParkClass.IN_DOUBT: (
        "Não reenvie. Veja no Omie se o contrato foi faturado neste mês; billing-ops dlq redrive lê o Omie e decide."
    ),
    ParkClass.MISSED_MONTH: (
        "O mês terminou: sem OS dele no Omie, cobre por OS avulsa. Nunca pelo contrato, que cobraria o mês atual."
    ),
    ParkClass.UNKNOWN: "Leia o texto do Omie e decida com quem cuida do faturamento. Não reenvie.",
}

_CLASS_OF_CODE: Final[Mapping[str, ParkClass]] = {
    "amount_not_planned": ParkClass.DATA,
    "created_elsewhere": ParkClass.DATA,
    "not_monthly": ParkClass.DATA,
    "unclear_in_omie": ParkClass.IN_DOUBT,
    "order_unnamed": ParkClass.IN_DOUBT,
    "unreadable_contract": ParkClass.DATA,
    "missed_month": ParkClass.MISSED_MONTH,
    "not_sent": ParkClass.TRANSIENT,
    "too_many_failures": ParkClass.TRANSIENT,
    "in_doubt": ParkClass.IN_DOUBT,
}
REJECTED: Final = "omie_rejected"

_FISCAL: Final = re.compile(
    r"\b(iss(qn)?|icms|pis|cofins|csll|irrf|inss|ibs|cbs|cnae|lc ?116)\b"
    r"|aliquota|tribut|impost|codigo (do|de) servico|natureza da operacao|inscricao municipal"
)
"""Words of refusals that the accountant, not the billing team, puts right."""
_THE_NOTE: Final = re.compile(r"\b(nfs-?e|rps)\b|nota fiscal")
"""Likewise, unless the refusal speaks of the customer's own data: "Para emitir a NFS-e falta preencher o E-mail"."""
_CUSTOMERS_DATA: Final = re.compile(
    r"falta preencher|endereco|\bcep\b|e-?mail|telefone|bairro|\bcidade\b|\bestado\b|cnpj|\bcpf\b|razao social"
)
_COMPANYS_DATA: Final = re.compile(r"\b(prestador|emitente|emissor)\b")


def class_of_rejection(text: str) -> ParkClass:
    """FISCAL when Omie's words speak of taxes, the service's codes, the issuer or the invoice itself; else DATA."""
    words = fold(text)
    customers = _CUSTOMERS_DATA.search(words) and not _COMPANYS_DATA.search(words)
    fiscal = _FISCAL.search(words) or _COMPANYS_DATA.search(words) or (_THE_NOTE.search(words) and not customers)
    return ParkClass.FISCAL if fiscal else ParkClass.DATA


def class_of(charge: Charge, told: ParkClass | None = None, told_reason: str = "") -> ParkClass:
    """The class of a parked charge, by what the ledger holds.

    `told` and `told_reason` are a message's words: they count only for a code that says nothing by itself, and only
    if they speak of this very parking. A message of an earlier one must not make a doubtful charge look harmless.
    """
    if charge.reason_code == REJECTED:
        return class_of_rejection(charge.reason)
    if charge.reason_code in _CLASS_OF_CODE:
        return _CLASS_OF_CODE[charge.reason_code]
    return told if told is not None and told_reason == charge.reason else ParkClass.UNKNOWN


def tell(charge: Charge, ledger: "Charges", queues: "Messages", *, nCodCtr: int | None = None) -> None:
    """The one message about a charge that was parked just now; the ledger then knows that it was sent.

    Who is killed in between leaves it untold: the next Settle tells. `nCodCtr`: for a charge that names none.
    """
    queues.park(
        charge_message(charge, class_of(charge), nCodCtr=nCodCtr),
        group=charge.key.contract,  # each its own: of a group, SQS shows ten at a time and no more
        dedup=f"{charge.key}#{charge.updated_at:%Y%m%dT%H%M%S.%f}",
    )
    ledger.note_told(charge)


def charge_message(charge: Charge, park_class: ParkClass, *, nCodCtr: int | None = None) -> dict[str, Any]:
    """Company, contract, month, class, the reason in Omie's own words, and the only safe next action.

    No personal data.
    """
    return {
        "version": 1,
        "company": charge.company,
        "contract": charge.key.contract,
        "jestor_id": int(charge.key.contract.rpartition("-")[2]),
        "month": str(charge.key.month),
        "kind": charge.key.kind,
        "nCodCtr": charge.nCodCtr or nCodCtr,
        "amount": charge.amount,
        "class": park_class.value,
        "reason": charge.reason,
        "safe_action": SAFE_ACTION[park_class],
    }


# --- read again ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parked:
    """A contract's own message, or what it would say (`told` None) when only the ledger knows it."""

    key: ChargeKey
    company: str
    amount: int
    told: ParkClass | None = None
    reason: str = ""


@dataclass(frozen=True)
class LostBatch:
    """A whole batch that SQS moved after too many receives. `lines`: contract and centavos."""

    company: str
    month: BillingMonth
    run: str
    plan_hash: str
    lines: tuple[tuple[str, int], ...]
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Malformed:
    why: str


def read(body: str) -> Parked | LostBatch | Malformed:
    """What a letter of the dead-letter queue is about, whatever its body."""
    try:
        data = json.loads(body)
    except ValueError:
        return Malformed(f"Não é JSON ({len(body)} caracteres).")
    try:
        return _lost_batch(data) if "batch" in data else _parked(data)
    except KeyError as missing:
        return Malformed(f"Falta o campo {missing.args[0]}.")
    except (AttributeError, TypeError, ValueError):
        return Malformed("Os campos não são os de um contrato nem os de um lote.")


def _parked(data: dict[str, Any]) -> Parked:
    key = ChargeKey.parse(f"{data['contract']}#{data['month']}#{data.get('kind', MONTHLY)}")
    known = {park_class.value: park_class for park_class in ParkClass}
    return Parked(
        key=key,
        company=str(data["company"]),
        amount=int(data.get("amount") or 0),
        told=known.get(str(data["class"]), ParkClass.UNKNOWN),
        reason=str(data.get("reason") or ""),
    )


def _lost_batch(data: dict[str, Any]) -> LostBatch:
    batch = data["batch"]
    return LostBatch(
        company=str(batch["company"]),
        month=BillingMonth.parse(batch["month"]),
        run=str(batch["run"]),
        plan_hash=str(batch["plan_hash"]),
        lines=tuple((str(line["contract"]), int(line["amount"])) for line in batch["lines"]),
        token=token if isinstance(token := data.get("token"), str) else "",
    )
