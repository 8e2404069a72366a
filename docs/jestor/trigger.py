# Avisa o faturamento (billing-ops) quando muda algo que interessa à cobrança. Não envia dado pessoal.
# Cole em dois gatilhos da tabela: "depois de criar" e "depois de atualizar".
import hashlib
import hmac
import json
import time

TABELA = "contratos"  # nome de API desta tabela
ENDERECO = "https://ENDERECO/v1/webhooks/jestor"
SEGREDO = "COLE-AQUI-O-SEGREDO"
CHAVE = "jestor_id"
ESTAGIO = "status"  # campo do estágio (Kanban)
PARAM = ["Churn", "Suspenso"]  # estágios que param a cobrança na hora
CAMPOS = """
name empresa cliente servico descricao_da_nota quantidade valor_mensal desconto dia_de_vencimento
inicio fim status modo_da_mudanca mudanca_vale_a_partir_de indice_de_reajuste reajuste_percentual
"""

# Daqui para baixo não mude nada.

try:
    antes = dict(beforeSave or {})
except NameError:  # ao criar, não há "antes"
    antes = {}
depois = {**antes, **(afterSave or {})}


def texto(valor):
    if isinstance(valor, (dict, list)):
        return json.dumps(valor, sort_keys=True)
    try:
        return str(float(valor))
    except (TypeError, ValueError):
        return str(valor or "").strip()


mudou = [campo for campo in CAMPOS.split() if texto(depois.get(campo)) != texto(antes.get(campo))]

if mudou:
    try:
        agora = str(depois.get(ESTAGIO) or "").strip()
        rota = "/churn" if agora in PARAM else "/contract"
        corpo = json.dumps(
            {
                "evento": "atualizado" if antes else "criado",
                "tabela": TABELA,
                CHAVE: int(depois["id_" + TABELA]),
                "status": agora,
                "campos": mudou,
            }
        )
        hora = str(int(time.time()))
        assinatura = hmac.new(SEGREDO.encode(), (hora + "." + corpo).encode(), hashlib.sha256).hexdigest()
        cabecalhos = [
            "Content-Type: application/json",
            "x-webhook-signature: t=" + hora + ",v1=" + assinatura,
        ]
        jestor.curlCall([ENDERECO + rota, "POST", corpo, cabecalhos])
    except Exception:
        pass  # é só um aviso: se não chegar, a varredura diária encontra a mudança; nada impede a pessoa de salvar

# ruff: noqa: ANN001, ANN201, BLE001, F821, INP001, S110
