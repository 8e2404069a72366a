"""What the dead-letter queue says about one parked contract: enough to act on without opening anything else."""

from typing import Any

from billing.domain.charge import ParkClass
from billing.domain.plan import PlanLine

SAFE_ACTION = {
    ParkClass.TRANSIENT: "Nada a corrigir: pode ser reenviado.",
    ParkClass.DATA: "Corrija o cadastro no Jestor ou no Omie e libere o contrato; ele volta a ser conferido antes do envio.",
    ParkClass.FISCAL: "Peça à contabilidade que corrija o serviço ou os impostos no Omie e libere o contrato.",
    ParkClass.IN_DOUBT: "Veja no Omie se o contrato foi faturado neste mês antes de qualquer outra coisa. Não reenvie.",
    ParkClass.MISSED_MONTH: "O mês terminou: cobre por ordem de serviço avulsa. Nunca pelo contrato, que faturaria o mês atual.",
    ParkClass.UNKNOWN: "Leia o texto do Omie e decida com quem cuida do faturamento. Não reenvie.",
}


def park_message(line: PlanLine, kind: ParkClass, reason: str) -> dict[str, Any]:
    """Company, contract, month, class, the reason in Omie's own words, and the only safe next action. No personal data."""
    return {
        "version": 1,
        "company": line.company,
        "contract": line.contract,
        "jestor_id": line.jestor_id,
        "nCodCtr": line.nCodCtr,
        "month": line.month,
        "kind": line.kind,
        "amount": line.amount,
        "class": kind.value,
        "reason": reason,
        "safe_action": SAFE_ACTION[kind],
    }
