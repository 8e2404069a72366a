"""What `billing-ops doctor` looks at in one company's Omie: its key, its codes, and who else might bill.

Some eight reads and one list of all contracts; nothing is written. What Omie's API does not show is said to be so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from billing.domain.charge import MONTHLY, State
from billing.domain.month import SAO_PAULO, opens_at
from billing.omie.mapping import compact
from billing.omie.replies import OUR_STOPS, Blocked, KeyRefused, OmieError
from billing.unreadable import DATA_ERRORS, note
from ops.findings import Examiner, Finding, Findings, count, quoted, some
from ops.follow import hour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date, datetime

    from billing.domain.charge import Charge
    from billing.domain.month import BillingMonth
    from billing.omie.client import OmieClient
    from billing.settings import CompanySettings, ServiceSettings
    from ops.doctor_jestor import Seen

    Json = dict[str, Any]

ACTIVE: Final = "10"
LOOK_BACK: Final = timedelta(days=35)
"""Long enough to meet the last billing day, whenever it was."""
SAMPLE: Final = 100
"""Titles looked at for what their boletos charge: one page."""
STATES: Final = frozenset({
    "AC", "AL", "AM", "AP", "BA", "CE", "DF", "ES", "EX", "GO", "MA", "MG", "MS", "MT", "PA", "PB", "PE", "PI", "PR",
    "RJ", "RN", "RO", "RR", "RS", "SC", "SE", "SP", "TO",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """One company. `charges`: what the ledger has of `month`; `seen`: None when Jestor could not be read whole.

    `time_is_up`: whether no further check is to be begun.
    """

    key: str
    company: CompanySettings
    omie: OmieClient
    charges: Sequence[Charge]
    seen: Seen | None
    now: datetime
    month: BillingMonth
    time_is_up: Callable[[], bool] = lambda: False

    @property
    def today(self) -> date:
        return self.now.astimezone(SAO_PAULO).date()


def examine_omie(subject: Subject) -> Findings:
    """One check after another; one that cannot be read keeps no other from being made. Ends soon after `time_is_up`."""
    say = Examiner(f"Omie {subject.key}")
    contracts = _Contracts()
    for check in (_account, _categories, _services, contracts.examine, _lots, _stage_30, _orders, _boletos):
        if subject.time_is_up():
            what = "O Omie responde devagar demais: o resto desta empresa não foi examinado."
            yield say.error("not_examined", what, f"Repita mais tarde: billing-ops doctor --company {subject.key}")
            return
        try:
            yield from check(say, subject)
        except KeyRefused as error:
            yield say.error(
                "omie.key",
                f"O Omie recusa a chave desta empresa: {_said(error)}",
                f"Confira o aplicativo em developer.omie.com.br e grave: billing-ops secrets put omie {subject.key}",
            )
            return
        except Blocked as error:
            minutes = -(-int(error.retry_after or 1800) // 60)
            if error.rule in OUR_STOPS:
                what = f"{error.method} não foi consultado agora: {error.text}."
                yield say.warning(f"omie.{error.method}", what, f"Repita daqui a {minutes} min: billing-ops doctor")
                continue
            yield say.error(
                "omie.blocked",
                f"O Omie bloqueou a chave desta empresa por {minutes} minutos.",
                "Espere e repita. Se outro programa usa a mesma chave, dê a ele outra.",
            )
            return
        except OmieError as error:
            yield _unread(say, error)
            if error.http_status is None:
                return
        except DATA_ERRORS as error:
            kind = note(f"doctor of {subject.key}", error)
            what = f"Algo que o Omie respondeu não pôde ser lido ({kind}): uma das verificações ficou por fazer."
            yield say.error("omie.unreadable", what, "Mostre esta linha a quem mantém o sistema.")


def not_shown_by_api() -> Finding:
    """Said once for all companies."""
    return Examiner("Omie").by_hand(
        "omie.automatic",
        "A API não mostra se o Omie fatura contratos por agendamento, nem que conectores usam a conta.",
        "Olhe uma vez em cada empresa: no Omie, nenhum agendamento de faturamento de contratos; em "
        "developer.omie.com.br, só aplicativos conhecidos; no Jestor, nenhuma integração pronta com o Omie que fature.",
    )


def _said(error: OmieError) -> str:
    return " ".join(error.text.split())[:160]


def _unread(say: Examiner, error: OmieError) -> Finding:
    if error.http_status is None:
        what = f"O Omie não respondeu ({error.method})."
        return say.error("omie.reachable", what, "Confira a rede e OmieBaseUrl, e repita: billing-ops doctor")
    return say.error(
        f"omie.{error.method}",
        f"{error.method} não pôde ser lido: {_said(error)}",
        "Espere dois minutos e repita: billing-ops doctor. Se continuar, mostre esta linha a quem mantém o sistema.",
    )


# ---- codes


def _account(say: Examiner, subject: Subject) -> Findings:
    wanted = subject.company.omie.nCodCC
    accounts = {int(account["nCodCC"]): account for account in subject.omie.iter_contas_correntes()}
    yield say.ok("omie.key", "O Omie aceita a chave.")
    account = accounts.get(wanted)
    setting = f"[companies.{subject.key}.omie] nCodCC"
    if account is None:
        names = [f"{number} ({found.get('descricao') or 'sem nome'})" for number, found in accounts.items()]
        what = f"A conta corrente {wanted} não existe nesta empresa."
        yield say.error("omie.account", what, f"Copie para {setting} uma destas: {some(names, 6)}.")
        return
    name = f"A conta corrente {wanted} ({account.get('descricao') or 'sem nome'})"
    if _yes(account, "inativo"):
        yield say.error("omie.account", f"{name} está inativa.", f"Reative-a no Omie ou troque {setting}.")
    elif subject.company.send_email.cEnviarBoleto and str(account.get("bol_sn") or "").upper() == "N":
        yield say.warning(
            "omie.account",
            f"{name} não emite boleto, e a configuração manda enviar boleto.",
            f"Ligue o boleto na conta, no Omie, ou use cEnviarBoleto = false em [companies.{subject.key}.send_email].",
        )
    else:
        yield say.ok("omie.account", f"{name} existe.")
    yield from _account_charges(say, subject, account, name)


def _account_charges(say: Examiner, subject: Subject, account: Json, name: str) -> Findings:
    """Who collects late charges: the bank with the boleto, or our next bill. Both, or neither, is worth a word."""
    charged = _number(account, "per_multa"), _number(account, "per_juros")
    terms = f"{_percent(charged[0])} de multa e {_percent(charged[1])} de juros ao mês"
    settings = subject.company.late_fee
    setting = f"[companies.{subject.key}.late_fee]"
    if settings is not None and settings.mode == "next_invoice" and any(charged):
        yield say.error(
            "omie.late_fee",
            f"{name} já cobra no boleto {terms}, e {setting} cobra na próxima fatura: o cliente pagaria duas vezes, e "
            "o plano desta empresa para.",
            'Escolha um: zere os dois na conta, no Omie, ou use mode = "boleto".',
        )
    elif settings is not None and settings.mode == "boleto" and not any(charged):
        yield say.warning(
            "omie.late_fee",
            f"{setting} diz que o boleto cobra os encargos, e {name} não cobra multa nem juros.",
            "Preencha % de multa e % de juros na conta, no Omie (aba Boletos de Cobrança), ou mude mode.",
        )
    elif settings is None and any(charged):
        yield say.ok("omie.late_fee", f"O boleto cobra {terms}; este sistema não cobra encargos.")
    else:
        yield say.ok("omie.late_fee", "Boleto e configuração não cobram encargos duas vezes.")


def _categories(say: Examiner, subject: Subject) -> Findings:
    register: dict[str, Json] = {str(row["codigo"]): row for row in subject.omie.iter_categorias()}
    yield _category(say, f"[companies.{subject.key}.omie] cCodCateg", subject.company.omie.cCodCateg, register)
    fees = subject.company.late_fee
    if fees is not None and fees.cCodCategReemb is not None:
        yield _category(say, f"[companies.{subject.key}.late_fee] cCodCategReemb", fees.cCodCategReemb, register)


def _category(say: Examiner, setting: str, wanted: str, register: Mapping[str, Json]) -> Finding:
    category = register.get(wanted)
    usable = [
        f"{code} ({row.get('descricao')})"
        for code, row in register.items()
        if _yes(row, "conta_receita") and not any(_yes(row, flag) for flag in ("conta_inativa", "totalizadora"))
    ]
    choose = f"Copie para {setting} uma destas: {some(usable)}."
    if category is None:
        return say.error("omie.category", f"A categoria {wanted} não existe nesta empresa.", choose)
    if _yes(category, "conta_inativa"):
        return say.error("omie.category", f"A categoria {wanted} está inativa.", choose)
    if _yes(category, "totalizadora"):
        return say.error("omie.category", f"A categoria {wanted} é um grupo, não recebe lançamentos.", choose)
    if not _yes(category, "conta_receita"):
        return say.error("omie.category", f"A categoria {wanted} não é de receita.", choose)
    return say.ok("omie.category", f"A categoria {wanted} ({category.get('descricao')}) existe.")


def _services(say: Examiner, subject: Subject) -> Findings:
    register = {int(row["intListar"]["nCodServ"]): row for row in subject.omie.iter_servicos()}
    bad = 0
    for label, service in subject.company.omie.services.items():
        if problem := _service_problem(say, subject.key, label, service, register):
            bad += 1
            yield problem
    if not bad:
        services = count(len(subject.company.omie.services), "serviço", "serviços")
        yield say.ok("omie.services", f"{services} da configuração conferem com o cadastro.")


def _service_problem(
    say: Examiner, key: str, label: str, service: ServiceSettings, register: Mapping[int, Json]
) -> Finding | None:
    setting = f'[companies.{key}.omie.services."{label}"]'
    if service.codServico is None:
        codes = {_head(row, "cCodLC116") for row in register.values()}
        if service.codLC116 in codes:
            return None
        return say.warning(
            "omie.services",
            f'Serviço "{label}": nenhum serviço cadastrado no Omie tem o código LC 116 {service.codLC116}.',
            f"Confirme o código com a contabilidade, ou cadastre o serviço e use codServico em {setting}.",
        )
    row = register.get(service.codServico)
    if row is None:
        names = [f"{number} ({_head(found, 'cDescricao')})" for number, found in register.items()]
        return say.error(
            "omie.services",
            f'Serviço "{label}": o codServico {service.codServico} não existe no cadastro.',
            f"Copie para {setting} um destes: {some(names)}.",
        )
    if _yes(row.get("info") or {}, "inativo"):
        return say.error(
            "omie.services",
            f'Serviço "{label}": o codServico {service.codServico} está inativo no Omie.',
            f"Reative-o no Omie, ou troque-o em {setting}.",
        )
    theirs = _head(row, "cCodLC116")
    if service.codLC116 is not None and theirs and theirs != service.codLC116:
        return say.warning(
            "omie.services",
            f'Serviço "{label}": a configuração diz LC 116 {service.codLC116}, o cadastro do Omie diz {theirs}.',
            f"A contabilidade decide qual vale; deixe os dois iguais em {setting}.",
        )
    return None


# ---- contracts


@dataclass(slots=True)
class _Contracts:
    """Omie's active contracts, counted while they are read."""

    active: int = 0
    linked: int = 0
    other_day: list[str] = field(default_factory=list)
    nobody: list[str] = field(default_factory=list)
    by_program: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    cities: Counter[str] = field(default_factory=Counter)

    def examine(self, say: Examiner, subject: Subject) -> Findings:
        for cadastro in subject.omie.iter_contratos(cExibirInfoCadastro="S"):
            self._count(cadastro, subject)
        yield from self._city(say, subject)
        if subject.seen is None:
            yield say.warning(
                "omie.links",
                f"{count(self.active, 'contrato ativo', 'contratos ativos')}; sem o Jestor não se sabe de quem são.",
                "Acerte primeiro o que está errado no Jestor, e repita: billing-ops doctor",
            )
        else:
            yield from self._links(say)
        yield from self._days(say, subject)

    def _count(self, cadastro: Json, subject: Subject) -> None:
        contract = compact(cadastro)
        if contract.cCodSit != ACTIVE:
            return
        self.active += 1
        self.cities[str((cadastro.get("infAdic") or {}).get("cCidPrestServ") or "").strip()] += 1
        code, seen = contract.cCodIntCtr, subject.seen
        ours = code.startswith("JST-")
        if seen is not None and ours and code not in seen.codes:
            self.orphans.append(code)
        if ours or (seen is not None and contract.nCodCtr in seen.named):
            self.linked += 1
            if contract.nDiaFat != subject.company.billing_day:
                self.other_day.append(code or contract.label)
            return
        by_program = _yes(cadastro.get("infoCadastro") or {}, "cImpAPI")
        (self.by_program if by_program else self.nobody).append(contract.label)

    def _links(self, say: Examiner) -> Findings:
        link = "billing-ops link --contract JST-12 --omie NÚMERO"
        if self.nobody:
            yield say.warning(
                "omie.links",
                f"{count(len(self.nobody), 'contrato ativo não está ligado', 'contratos ativos não estão ligados')} "
                f"a nenhum contrato do Jestor: {some(self.nobody, 3)}.",
                f"Os que também estão no Jestor: {link}. Os outros ninguém fatura por aqui.",
            )
        if self.by_program:
            contracts = count(len(self.by_program), "contrato ativo foi criado", "contratos ativos foram criados")
            yield say.warning(
                "omie.other_programs",
                f"{contracts} por outro programa, pela API: {some(self.by_program, 3)}.",
                f"Se um conector os criou e fatura, desligue-o antes; depois ligue-os ao Jestor: {link}",
            )
        if self.orphans:
            contracts = count(len(self.orphans), "contrato ativo tem", "contratos ativos têm")
            yield say.warning(
                "omie.links",
                f"{contracts} um código do Jestor que o token não vê: {some(self.orphans)}.",
                "Apagados no Jestor? Suspenda-os no Omie. Senão, o token tem filtro de linhas.",
            )
        if not (self.nobody or self.by_program or self.orphans):
            yield say.ok("omie.links", f"Os {self.active} contratos ativos estão ligados ao Jestor.")

    def _days(self, say: Examiner, subject: Subject) -> Findings:
        day = subject.company.billing_day
        if self.other_day:
            contracts = count(len(self.other_day), "contrato tem", "contratos têm")
            mended = subject.company.alter_differences
            yield say.warning(
                "omie.billing_day",
                f"{contracts} dia de faturamento diferente de {day}: {some(self.other_day)}.",
                "A primeira execução os acerta; a prévia lista cada um."
                if mended
                else "Com alter_differences = false eles param: acerte o dia no Omie.",
            )
        elif self.linked:
            yield say.ok("omie.billing_day", f"Os {self.linked} contratos ligados têm o dia de faturamento {day}.")

    def _city(self, say: Examiner, subject: Subject) -> Findings:
        wanted = subject.company.omie.cCidPrestServ
        setting = f"[companies.{subject.key}.omie] cCidPrestServ"
        used = [city for city, _ in self.cities.most_common() if city]
        if wanted[-3:-1] not in STATES:
            yield say.error(
                "omie.city", f'A cidade "{wanted}" não termina com uma sigla de estado.', f"Corrija {setting}."
            )
        elif used and wanted not in used:
            yield say.warning(
                "omie.city",
                f'Nenhum contrato ativo do Omie usa a cidade "{wanted}".',
                f"Os contratos usam {quoted(used, 3)}: copie a certa para {setting}, letra por letra.",
            )
        elif used:
            yield say.ok("omie.city", f'A cidade "{wanted}" é a dos contratos do Omie.')
        else:
            yield say.by_hand(
                "omie.city",
                f'Não há contrato ativo com que comparar a cidade "{wanted}".',
                "Confira-a na tela de um contrato do Omie: tem de ser igual, letra por letra.",
            )


# ---- who else bills


def _lots(say: Examiner, subject: Subject) -> Findings:
    lots = list(subject.omie.iter_lotes_contrato(subject.today - LOOK_BACK, subject.today))
    origins = Counter(str(lot.get("cOrigem") or "") for lot in lots)
    if origins["SCH"]:
        yield say.error(
            "omie.scheduled",
            f"O Omie faturou {count(origins['SCH'], 'lote', 'lotes')} pelo próprio agendamento nos últimos 35 dias.",
            "Desligue no Omie o faturamento agendado de contratos: os dois juntos cobrariam duas vezes.",
        )
    if origins["API"]:
        yield say.warning(
            "omie.other_programs",
            f"{count(origins['API'], 'lote foi faturado', 'lotes foram faturados')} pela API nos últimos 35 dias, por "
            "outro programa: este sistema não fatura em lote.",
            "Descubra em developer.omie.com.br que aplicativo é e desligue o faturamento dele.",
        )
    if not origins["SCH"] and not origins["API"]:
        yield say.ok("omie.scheduled", "Nenhum lote agendado nem de outro programa nos últimos 35 dias.")


def _stage_30(say: Examiner, subject: Subject) -> Findings:
    """Before Omie's month turns, its stage 30 still shows what was billed in the month before."""
    billed = dict(subject.omie.obter_contratos(30))
    ours = {charge.nCodCtr for charge in subject.charges if charge.state is State.BILLED and charge.key.kind == MONTHLY}
    unknown = [
        f"nº {number}" if number else f"código {nCodCtr}" for nCodCtr, number in billed.items() if nCodCtr not in ours
    ]
    turned = opens_at(subject.month, timedelta(hours=subject.company.month_turn_hours))
    if unknown and subject.now < turned:
        contracts = count(len(unknown), "contrato já aparece como faturado", "contratos já aparecem como faturados")
        yield say.by_hand(
            "omie.billed_elsewhere",
            f"{contracts}; até {hour(turned, subject.now)} isso pode ser ainda o faturamento do mês anterior.",
            "Repita depois disso, para saber se alguém mais fatura contratos: billing-ops doctor",
        )
    elif unknown:
        contracts = count(len(unknown), "contrato foi faturado", "contratos foram faturados")
        yield say.warning(
            "omie.billed_elsewhere",
            f"{contracts} em {subject.month} sem passar por este sistema: {some(unknown, 3)}.",
            "Se foi uma pessoa, a próxima execução os reconhece. Se ninguém clicou, outro programa fatura: desligue-o.",
        )
    else:
        yield say.ok("omie.billed_elsewhere", f"Ninguém mais faturou contratos em {subject.month}.")


def _orders(say: Examiner, subject: Subject) -> Findings:
    """A connector that bills without contracts leaves service orders made by API.

    Notes are asked for first: their list answers "none" without an error, ListarOS does not.
    """
    first = subject.month.first_day
    if next(subject.omie.listar_nfses(first, subject.today), None) is None:
        return
    known = {charge.nCodOS for charge in subject.charges}
    made = [
        order
        for order in subject.omie.iter_os(first, subject.today)
        if (order.get("InfoCadastro") or {}).get("cOrigem") == "API"
        and int((order.get("Cabecalho") or {}).get("nCodOS") or 0) not in known
    ]
    if made:
        numbers = [str((order.get("Cabecalho") or {}).get("cNumOS") or "").lstrip("0") for order in made]
        orders = count(len(made), "ordem de serviço foi faturada", "ordens de serviço foram faturadas")
        yield say.warning(
            "omie.other_programs",
            f"{orders} por outro programa em {subject.month}: nº {some(numbers)}.",
            "Se cobram a mesma assinatura (conector do Jestor com o Omie?), desligue-o: o cliente pagaria duas vezes.",
        )


def _boletos(say: Examiner, subject: Subject) -> Findings:
    """What boletos already carry: each keeps the account's percentages of its own day."""
    settings = subject.company.late_fee
    if settings is None or settings.mode != "next_invoice":
        return
    titles = subject.omie.iter_contas_receber(subject.today - LOOK_BACK, subject.today)
    charging = [
        boleto
        for title in islice(titles, SAMPLE)
        if (boleto := title.get("boleto") or {}) and (_number(boleto, "nPerMulta") or _number(boleto, "nPerJuros"))
    ]
    if charging:
        fine, interest = (max(_number(boleto, name) for boleto in charging) for name in ("nPerMulta", "nPerJuros"))
        yield say.warning(
            "omie.late_fee",
            f"{count(len(charging), 'boleto recente cobra', 'boletos recentes cobram')} até {_percent(fine)} de "
            f"multa e {_percent(interest)} de juros ao mês, mesmo que a conta tenha mudado depois.",
            f"Em [companies.{subject.key}.late_fee] use due_from: título que vence antes desse dia não tem encargos.",
        )


def _yes(row: Json, flag: str) -> bool:
    return str(row.get(flag) or "").upper() == "S"


def _head(row: Json, name: str) -> str:
    return str((row.get("cabecalho") or {}).get(name) or "").strip()


def _number(row: Json, name: str) -> float:
    return float(row.get(name) or 0)


def _percent(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".").replace(".", ",") + " %"
