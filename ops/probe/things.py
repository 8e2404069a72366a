"""What the probe makes in the test account: contracts of R$ 1,00 whose codes and texts carry the probe's own mark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from billing.domain.month import SAO_PAULO
from billing.omie.client import omie_date

if TYPE_CHECKING:
    from datetime import date, datetime

    from billing.settings import CompanySettings

Json = dict[str, Any]

MARK: Final = "SONDA-"
"""How every integration code begins that a probe gave."""
ONCE_ONLY: Final = 3
"""nTipoItVigFinal: for the next billing only."""
ALTERED, TWICE, CANCELLED, ONCE, PLAIN, CONTROL, NOT_DUE = 1, 2, 3, 4, 5, 8, 9
"""Numbers of contracts; what each is for stands at the top of ops/probe/experiments.py."""
UNBILLED, LATE = 10, 11
"""Numbers of the order that is never billed, and can be deleted, and of the title that fell due yesterday."""
YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Maker:
    """Writes the parameters of one probe; `run` makes its codes differ from every other probe's.

    nCodCli: the customer who is billed, one of the user's own.
    """

    company: CompanySettings
    nCodCli: int
    now: datetime

    @property
    def run(self) -> str:
        return f"{self.now.astimezone(SAO_PAULO):%m%d%H%M%S}"

    @property
    def today(self) -> date:
        return self.now.astimezone(SAO_PAULO).date()

    def code(self, number: int) -> str:
        """At most 20 characters, as cCodIntCtr."""
        return f"{MARK}{self.run}-{number:02}"

    def text(self, code: str) -> str:
        """Of the item that is billed: an order of this contract carries it."""
        return f"Teste do billing-ops, sem valor comercial ({code})"

    def contract(self, number: int, *, items: int = 1, expenses: int = 0, recurring: bool = True) -> Json:
        """contratoCadastro of an active contract that is due today; further items and expenses as asked."""
        code, omie = self.code(number), self.company.omie
        cadastro: Json = {
            "cabecalho": {
                "cCodIntCtr": code,
                "cCodSit": "10",
                "cTipoFat": "01",
                "nCodCli": self.nCodCli,
                "nDiaFat": 1,
                "dVigInicial": omie_date(self.today - timedelta(days=3)),
                "dVigFinal": omie_date(self.today + YEAR),
            },
            "infAdic": {"cCodCateg": omie.cCodCateg, "nCodCC": omie.nCodCC, "cCidPrestServ": omie.cCidPrestServ},
            "vencTextos": {"cTpVenc": "001", "nDias": 15, "cAntecipar": "N", "cPostergar": "N", "cCodPerRef": "001"},
            "emailCliente": dict.fromkeys(("cEnviarRecibo", "cEnviarLinkNfse", "cEnviarBoleto", "cEnviarPix"), "N"),
            "itensContrato": [self.item(code, place) for place in range(1, items + 1)],
        }
        if not recurring:
            for item in cadastro["itensContrato"][1:]:
                item["itemOutrasInf"] = {"nTipoItVigFinal": ONCE_ONLY}
        if expenses:
            rows = [self.expense(code, place, recurring=recurring) for place in range(1, expenses + 1)]
            cadastro["despesasReembolsaveis"] = {"despesaReembolsavel": rows}
        return cadastro

    def item(self, code: str, place: int) -> Json:
        service = next(iter(self.company.omie.services.values()))
        codes = service.model_dump(include={"codServico", "codLC116", "codServMunic", "natOperacao"}, exclude_none=True)
        taxes = service.model_dump(include={"aliqISS", "retISS"}, exclude_none=True)
        more = {"codIntItem": f"item-{place}", "seq": place, "quant": 1, "valorUnit": 1}
        item: Json = {"itemCabecalho": codes | more, "itemDescrServ": {"descrCompleta": self.text(code)}}
        return item | ({"itemImpostos": taxes} if taxes else {})

    def expense(self, code: str, place: int, *, recurring: bool) -> Json:
        return {
            "cAcaoReemb": "I",
            "cDescReemb": self.expense_text(code, place),
            "cRecorrenteReemb": "S" if recurring else "N",
            "dDataReemb": omie_date(self.today),
            "nValorReemb": 1,
        }

    def expense_text(self, code: str, place: int) -> str:
        """Its end tells whether Omie keeps the whole of it, as it must keep our marker."""
        return f"Despesa de teste {place} do billing-ops [{code}]"

    def not_due(self, number: int) -> Json:
        """A contract that is not in stage 20 today: its nDiaFat is tomorrow, or it begins the day after."""
        cadastro, tomorrow = self.contract(number), self.today + timedelta(days=1)
        if 1 < tomorrow.day <= 28:
            cadastro["cabecalho"]["nDiaFat"] = tomorrow.day
        else:
            cadastro["cabecalho"]["dVigInicial"] = omie_date(tomorrow + timedelta(days=1))
        return cadastro

    def abroad(self, *, with_nome_fantasia: bool) -> Json:
        """A customer of the probe's own, without a document, never billed and deleted at the end."""
        cadastro = {
            "codigo_cliente_integracao": f"{MARK}{self.run}-{'B' if with_nome_fantasia else 'A'}",
            "razao_social": f"Teste do billing-ops {self.run}",
            "complemento": "SALA 1",
            "estado": "EX",
            "cidade": "EX",
            "exterior": "S",
        }
        return cadastro | ({"nome_fantasia": "Teste do billing-ops"} if with_nome_fantasia else {})

    def order(self, number: int) -> Json:
        """osCadastro that is never billed: it keeps the list of the customer's orders from being empty."""
        omie, code = self.company.omie, self.code(number)
        service = next(iter(omie.services.values()))
        line: Json = {"nQtde": 1, "nValUnit": 1, "cDescServ": self.text(code)}
        for tag, value in (
            ("nCodServico", service.codServico),
            ("cCodServLC116", service.codLC116),
            ("cCodServMun", service.codServMunic),
            ("cTribServ", service.natOperacao),
        ):
            if value is not None:
                line[tag] = value
        return {
            "Cabecalho": {
                "cCodIntOS": code,
                "nCodCli": self.nCodCli,
                "cEtapa": "10",
                "dDtPrevisao": omie_date(self.today),
                "nQtdeParc": 1,
            },
            "InformacoesAdicionais": {
                "cCodCateg": omie.cCodCateg,
                "nCodCC": omie.nCodCC,
                "cCidPrestServ": omie.cCidPrestServ,
            },
            "ServicosPrestados": [line],
        }

    def title(self, number: int) -> Json:
        """conta_receber_cadastro of R$ 1,00 that fell due yesterday."""
        omie = self.company.omie
        return {
            "codigo_lancamento_integracao": self.code(number),
            "codigo_cliente_fornecedor": self.nCodCli,
            "data_vencimento": omie_date(self.today - timedelta(days=1)),
            "valor_documento": 1,
            "codigo_categoria": omie.cCodCateg,
            "data_previsao": omie_date(self.today - timedelta(days=1)),
            "id_conta_corrente": omie.nCodCC,
        }
