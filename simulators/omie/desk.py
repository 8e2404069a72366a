"""A serial client of the core on a clock of its own, and a small Omie to try things on: for tests and examples."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from simulators.omie import contracts, registers
from simulators.omie.core import API, OmieCore
from simulators.omie.dates import SAO_PAULO
from simulators.omie.state import App

if TYPE_CHECKING:
    from simulators.omie.answers import Json

DECEMBER_FIRST: Final = datetime(2026, 12, 1, 6, 0, tzinfo=SAO_PAULO).timestamp()


class Reply(NamedTuple):
    """What the client got; `json` is empty when there was none to read."""

    status: int
    json: Json
    lost: bool
    headers: dict[str, str]

    @property
    def code(self) -> str:
        return str(self.json.get("faultcode", ""))

    @property
    def text(self) -> str:
        return str(self.json.get("faultstring", ""))


class Desk:
    """Asks one call after the other; its clock moves by each call's delay and by `pause` seconds more."""

    def __init__(
        self,
        core: OmieCore,
        company: str = "acme",
        *,
        now: float = DECEMBER_FIRST,
        pause: float = 0.0,
        ip: str = "127.0.0.1",
    ) -> None:
        self.core = core
        self.app = core.apps[company]
        self.now = now
        self.pause = pause
        self.ip = ip

    def ask(self, resource: str, method: str, param: Json | None = None, /, **envelope: Any) -> Reply:
        """resource: "servicos/contratofat". envelope: replaces parts of the request's envelope."""
        request = {
            "call": method,
            "app_key": self.app.app_key,
            "app_secret": self.app.app_secret,
            "param": [param or {}],
            **envelope,
        }
        return self.send(f"{API}/{resource}/", json.dumps(request).encode())

    def send(self, path: str, body: bytes) -> Reply:
        answer = self.core.handle(path, body, now=self.now, ip=self.ip)
        self.now += answer.delay + self.pause
        if answer.lost or not answer.headers.get("content-type", "").startswith("application/json"):
            return Reply(answer.status, {}, answer.lost, answer.headers)
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = {}
        return Reply(answer.status, document, answer.lost, answer.headers)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.core.advance(self.now)


def small_app(count: int = 3, *, company: str = "acme", now: float = DECEMBER_FIRST - 86400) -> App:
    """A company with `count` active contracts of R$ 100,00, R$ 200,00...: ids 1001..., codes "C-1"..."""
    app = App(company, f"{company}-key", f"{company}-secret", document="11222333000181", first_id=5000)
    app.accounts[77] = {"nCodCC": 77, "cCodCCInt": "", "descricao": "Conta", "per_juros": 1, "per_multa": 2}
    app.categories["1.01.02"] = registers.category("1.01.02", "Clientes - Serviços Prestados")
    app.services[88] = {
        "intListar": {"cCodIntServ": "SRV", "nCodServ": 88},
        "cabecalho": {
            "cCodigo": "SRV88",
            "cDescricao": "Assinatura",
            "cCodLC116": "1.05",
            "cCodServMun": "02798",
            "cIdTrib": "01",
            "nPrecoUnit": 99.9,
        },
        "descricao": {"cDescrCompleta": "Assinatura mensal"},
        "impostos": {"nAliqISS": 2.9, "cRetISS": "N"},
        "info": {"inativo": "N"},
    }
    app.add_customer(
        {
            "codigo_cliente_omie": 501,
            "codigo_cliente_integracao": "CLI-1",
            "razao_social": "Padaria São João & Filhos Ltda",
            "nome_fantasia": "Padaria São João",
            "cnpj_cpf": "80.716.929/0001-50",
            "email": "financeiro@padaria.example",
            "recomendacoes": {"gerar_boletos": "S"},
        }
    )
    for number in range(1, count + 1):
        contracts.load(app, small_contract(number), now)
    return app


def small_contract(number: int = 1) -> Json:
    """A complete contratoCadastro; number 2 costs R$ 200,00."""
    return {
        "cabecalho": {
            "nCodCtr": 1000 + number,
            "cCodIntCtr": f"C-{number}",
            "cNumCtr": f"2026/{number:05}",
            "nCodCli": 501,
            "cCodSit": "10",
            "cTipoFat": "01",
            "dVigInicial": "01/01/2026",
            "dVigFinal": "31/12/2030",
            "nDiaFat": 1,
        },
        "departamentos": [],
        "emailCliente": {"cEnviarBoleto": "S", "cEnviarLinkNfse": "S", "cUtilizarEmails": "a@b.example"},
        "infAdic": {"cCodCateg": "1.01.02", "nCodCC": 77, "cCidPrestServ": "SAO PAULO (SP)"},
        "itensContrato": [
            {
                "itemCabecalho": {
                    "codItem": 2000 + number,
                    "codIntItem": f"I-{number}",
                    "codServico": 88,
                    "quant": 1,
                    "valorUnit": 100 * number,
                },
                "itemDescrServ": {"descrCompleta": "Assinatura mensal"},
                "itemImpostos": {"aliqISS": 2.9, "retISS": "N"},
            }
        ],
        "vencTextos": {"cTpVenc": "002", "nDiaFixo": 10, "cProxMes": "N"},
    }
