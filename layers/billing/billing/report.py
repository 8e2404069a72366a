"""The report of a billing run: what a finance person opens on the 1st of the month.

One self-contained HTML page, the same as JSON for machines, and a CSV of every contract for Excel. All three are
functions of plain values; nothing here reads a clock, a store or a setting. Amounts are `int` centavos.

`summarise` folds the contracts of a run into a `RunReport` in one pass and flat memory; `csv_tee` lets the same
pass write the CSV:

    with open(path, "w", encoding="utf-8", newline="") as file:
        report = summarise(run, planned, csv_tee(run, lines, file))
    page = render_html(report)

The books balance when, for each company, the plan's own count and sum equal the sum over what became of every
contract: planned = billed + skipped + parked + in doubt, with nothing left unexplained.
"""

import csv
import hashlib
import heapq
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Generic, Literal, NamedTuple, Self, TextIO, TypeVar

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from billing.domain.money import format_brl, reais
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.plan import JUMP_WARNING, JUMPS_REASON, percent_of

NO_CAUSE = "Sem causa conhecida"
"""The group of the differences that nothing explains."""
LIMIT = 500
"""Rows a table shows at most; the CSV has them all."""

_MONTHS = (
    *("janeiro", "fevereiro", "março", "abril", "maio", "junho"),
    *("julho", "agosto", "setembro", "outubro", "novembro", "dezembro"),
)

Row = TypeVar("Row")


# --- what the use case hands in -------------------------------------------------------------------------------------


class Situation(StrEnum):
    """What became of a planned contract."""

    BILLED = "faturado"
    SKIPPED = "pulado"
    PARKED = "parado"
    IN_DOUBT = "em dúvida"
    UNEXPLAINED = "sem explicação"


class Where(StrEnum):
    """Where a person settles the matter."""

    JESTOR = "Jestor"
    OMIE = "Omie"
    COMMAND = "Comando"
    NOWHERE = "Aguarde"


@dataclass(frozen=True, slots=True)
class ContractLine:
    """One contract of the month, one row of the CSV.

    `situation` is about the month, not about this execution: what an earlier generation of the run billed is
    BILLED here too. `amount`: what was billed, else what the plan says; `amount_unknown`: neither says anything, since
    Jestor's price cannot be read. `by_person`: found billed in Omie, where no call of this system had billed it.
    `jumped_from`: the last charge without its additions, where the change against it keeps the plan waiting.
    `reason_code` is the plan's or the ledger's and picks the title and the advice (see `ADVICE`); `todo` and `where`
    override that advice. `withdrawn`: centavos of late charges that were planned and not billed, because their title
    was paid or changed after the plan. `billed_before`: of a preview, the contract is billed already.
    """

    company: str
    contract: str
    customer: str
    situation: Situation
    amount: int
    reason_code: str = ""
    reason: str = ""
    todo: str = ""
    where: Where | None = None
    previous_amount: int | None = None
    cause: str = ""
    due_date: date | None = None
    nCodCtr: int | None = None
    nCodOS: int | None = None
    warnings: tuple[str, ...] = ()
    additions: tuple["Charged", ...] = ()
    withdrawn: int = 0
    by_person: bool = False
    billed_before: bool = False
    amount_unknown: bool = False
    jumped_from: int | None = None


@dataclass(frozen=True, slots=True)
class Charged:
    """Part of a contract's amount that is charged once (late fine and interest, the share of a change): what, the
    text of the invoice, and the arithmetic. Of a contract that is not billed: what it owes.
    """

    company: str
    contract: str
    customer: str
    amount: int
    text: str
    proof: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many contracts, and how many centavos."""

    count: int = 0
    amount: int = 0

    def __add__(self, other: Self) -> "Tally":
        return Tally(self.count + other.count, self.amount + other.amount)

    def __sub__(self, other: Self) -> "Tally":
        return Tally(self.count - other.count, self.amount - other.amount)


@dataclass(frozen=True, slots=True)
class CompanyReport:
    """A company's month. `planned` is counted by the plan itself, the others over what became of its contracts.

    In a preview `billed` is what would be billed and, of it, `billed_before` what is billed already. `by_person`: what
    of `billed` people billed in Omie. `stopped`: why
    the company was not billed, or not to the end (plan failed, not approved, Omie blocked); `finding`: what is wrong
    with what was billed, though every contract is accounted for. Both are Portuguese sentences.
    """

    key: str
    name: str
    planned: Tally = Tally()
    by_person: Tally = Tally()
    billed_before: Tally = Tally()
    billed: Tally = Tally()
    skipped: Tally = Tally()
    parked: Tally = Tally()
    in_doubt: Tally = Tally()
    unexplained: Tally = Tally()
    withdrawn: Tally = Tally()
    plan_hash: str = ""
    approval: str = ""
    stopped: str = ""
    finding: str = ""

    @property
    def gap(self) -> Tally:
        """What the plan holds and nothing explains. Its parts are negative when more came out than went in."""
        return self.planned - (self.billed + self.skipped + self.parked + self.in_doubt + self.withdrawn)

    @property
    def balanced(self) -> bool:
        return self.gap == Tally() and self.unexplained.count == 0


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """The rows a table shows, best first, and how many there are in all."""

    rows: tuple[Row, ...] = ()
    count: int = 0

    @property
    def more(self) -> int:
        return self.count - len(self.rows)


@dataclass(frozen=True, slots=True)
class NeedsPerson:
    """A contract that someone must look at: what happened, what to do and where. `amount` None: it is not known."""

    company: str
    contract: str
    customer: str
    amount: int | None
    title: str
    reason: str
    todo: str
    where: Where


@dataclass(frozen=True, slots=True)
class Difference:
    """A contract whose bill differs from last month's. `before` None: it had none; `now` None: it has none.

    `cause` reads "Upsell: R$ 1.000,00 → R$ 1.500,00"; what stands before the colon is its group.
    """

    company: str
    contract: str
    customer: str
    before: int | None
    now: int | None
    cause: str

    @property
    def difference(self) -> int:
        return (self.now or 0) - (self.before or 0)

    @property
    def group(self) -> str:
        return self.cause.partition(":")[0].strip() or NO_CAUSE


@dataclass(frozen=True, slots=True)
class Jump:
    """A change of the month's own amount, without additions, that is beyond the company's guardrail."""

    company: str
    contract: str
    customer: str
    before: int
    now: int

    @property
    def difference(self) -> int:
        return self.now - self.before

    @property
    def percent(self) -> str:
        """As in "+9.900 %"; a dash where there was nothing before."""
        return percent_of(self.before, self.now)


@dataclass(frozen=True, slots=True)
class ByPerson:
    """A contract that a person billed in Omie, and that was recorded as billed."""

    company: str
    contract: str
    customer: str
    amount: int
    nCodOS: int | None


@dataclass(frozen=True, slots=True)
class CancelledOrder:
    """A billed contract whose order was cancelled in Omie: its customer is not charged any more."""

    company: str
    contract: str
    customer: str
    amount: int
    nCodOS: int | None


@dataclass(frozen=True, slots=True)
class CauseTotal:
    cause: str
    count: int
    difference: int


@dataclass(frozen=True, slots=True)
class SkippedReason:
    code: str
    title: str
    count: int
    amount: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning about a contract that was billed, or will be, all the same."""

    company: str
    contract: str
    customer: str
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of the run before its contracts are counted.

    `companies`: key -> name, in the order of the report. `plan_hash`, `approval`, `stopped` and `findings` by company
    key; so are `notes`, which are about no contract of the plan, `waits` (why the plan needs a person's approval) and
    `adopted_share` (percent of the billed contracts that people may have billed in Omie). `waiting`: the approval has
    been asked for. `late_lists`: sentences about an Omie whose lists were later than assumed. `vanished`: contracts
    billed last month that the plan does not know any more. `versions`: what -> version.
    """

    month: BillingMonth
    run: str
    generation: int
    execution: str
    started_at: datetime
    finished_at: datetime
    companies: Mapping[str, str]
    preview: bool = False
    plan_hash: Mapping[str, str] = field(default_factory=dict)
    approval: Mapping[str, str] = field(default_factory=dict)
    stopped: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vanished: tuple[Difference, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    csv_name: str = ""
    waits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    waiting: bool = False
    adopted_share: Mapping[str, int] = field(default_factory=dict)
    cancelled_orders: tuple[CancelledOrder, ...] = ()
    late_lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that the page shows. `previous`: last month's bills of these contracts, None when there are none.

    `unknown_amounts`: how many of `needs_person` have no known amount.
    """

    run: Run
    companies: tuple[CompanyReport, ...]
    needs_person: Listing[NeedsPerson] = Listing()
    in_doubt: Listing[NeedsPerson] = Listing()
    unexplained: Listing[NeedsPerson] = Listing()
    differences: Listing[Difference] = Listing()
    causes: tuple[CauseTotal, ...] = ()
    previous: Tally | None = None
    skipped: tuple[SkippedReason, ...] = ()
    notices: Listing[Notice] = Listing()
    additions: Listing[Charged] = Listing()
    additions_amount: int = 0
    owed: Listing[Charged] = Listing()
    owed_amount: int = 0
    unknown_amounts: int = 0
    jumps: Listing[Jump] = Listing()
    by_person: Listing[ByPerson] = Listing()
    cancelled_orders: tuple[CancelledOrder, ...] = ()

    @property
    def without_cause(self) -> CauseTotal | None:
        """The differences that nothing explains; None when there are none."""
        return next((cause for cause in self.causes if cause.cause == NO_CAUSE), None)

    @property
    def total(self) -> CompanyReport:
        """All companies as one."""

        def over(name: str) -> Tally:
            return sum((getattr(company, name) for company in self.companies), Tally())

        return CompanyReport(
            key="",
            name="Todas as empresas",
            planned=over("planned"),
            billed=over("billed"),
            skipped=over("skipped"),
            parked=over("parked"),
            in_doubt=over("in_doubt"),
            by_person=over("by_person"),
            billed_before=over("billed_before"),
            unexplained=over("unexplained"),
            withdrawn=over("withdrawn"),
        )

    @property
    def balanced(self) -> bool:
        """Company by company: two errors that cancel out do not make a balance."""
        return all(company.balanced for company in self.companies)


# --- what each reason means to a person -----------------------------------------------------------------------------


class Advice(NamedTuple):
    title: str
    todo: str = ""
    where: Where = Where.JESTOR


_AGAIN = "Depois: `billing-ops run`."
_RELEASE = "Depois, libere o contrato: `billing-ops dlq redrive`."
"""The ledger remembers what it parked; what the plan parked is simply planned anew."""

ADVICE: Mapping[str, Advice] = {
    # skipped
    "already_billed": Advice("Já faturado neste mês"),
    "billed_in_omie": Advice("Faturado à mão no Omie"),
    "draft": Advice("Rascunho no Jestor"),
    "suspended": Advice("Suspenso no Jestor"),
    "churned": Advice("Cancelado no Jestor"),
    "other_status": Advice("Status que não é faturado"),
    "not_started": Advice("Ainda não começou"),
    "ended": Advice("Já terminou"),
    "held": Advice("Retido por cancelamento (churn)"),
    # parked by the plan
    "bad_row": Advice("Cadastro incompleto", f"Corrija os campos do contrato. {_AGAIN}"),
    "unreadable_row": Advice("Contrato que não pôde ser lido", f"Confira os campos do contrato. {_AGAIN}"),
    "unreadable_in_omie": Advice(
        "Contrato do Omie que não pôde ser lido", f"Confira os itens do contrato no Omie. {_AGAIN}", Where.OMIE
    ),
    "parked_before": Advice("Parado numa tentativa anterior", f"Resolva o motivo. {_RELEASE}", Where.COMMAND),
    "order_cancelled": Advice(
        "OS do mês cancelada no Omie",
        "Se deve ser cobrado, fature por ordem de serviço avulsa; se não, não há o que fazer.",
        Where.OMIE,
    ),
    "no_amount": Advice("Sem valor a cobrar", f"Preencha o valor do contrato, ou encerre-o. {_AGAIN}"),
    "unknown_service": Advice(
        "Serviço desconhecido", "Escolha um serviço cadastrado, ou peça para cadastrar este na configuração."
    ),
    "no_due_day": Advice("Sem dia de vencimento", f"Preencha o dia de vencimento. {_AGAIN}"),
    "shared_link": Advice("Dois contratos, um só no Omie", "Deixe o código do Omie em um dos dois contratos só."),
    "linked_elsewhere": Advice(
        "Contrato do Omie é de outro",
        "Corrija o código do Omie no contrato, ou ligue-o ao certo.",
        Where.COMMAND,
    ),
    "link_conflict": Advice(
        "Ligação com o Omie em conflito", "Confira qual contrato é o certo e ligue-o.", Where.COMMAND
    ),
    "link_not_found": Advice("Código do Omie não existe", "Corrija ou apague o código do Omie no contrato."),
    "possible_duplicate": Advice(
        "Pode já existir no Omie", "Confira se é o mesmo contrato; se for, ligue os dois.", Where.COMMAND
    ),
    "unknown_in_omie": Advice("Não existe no Omie", "Cadastre o contrato no Omie e ligue os dois.", Where.OMIE),
    "suspended_in_omie": Advice(
        "Suspenso no Omie, ativo no Jestor", "Reative no Omie, ou suspenda no Jestor.", Where.OMIE
    ),
    "cancelled_in_omie": Advice(
        "Cancelado no Omie, ativo no Jestor", "Cancele no Jestor, ou ligue a um contrato novo.", Where.OMIE
    ),
    "draft_in_omie": Advice("Em elaboração no Omie", "Ative o contrato no Omie.", Where.OMIE),
    "no_own_item": Advice("Itens feitos à mão no Omie", "Confira os itens e ligue o contrato.", Where.OMIE),
    "not_monthly": Advice(
        "Contrato que o Omie não fatura todo mês",
        "Fature-o no Omie nos meses dele, ou mude o tipo de faturamento para mensal.",
        Where.OMIE,
    ),
    "several_registers": Advice(
        "Mais de um cadastro do mesmo CNPJ/CPF no Omie",
        "Inative os cadastros que não se usam, ou crie o contrato no certo e vincule.",
        Where.OMIE,
    ),
    "unclear_in_omie": Advice(
        "O Omie não mostra se foi faturado",
        "Veja no Omie se há OS deste mês; se não há, confira a lista a faturar e rode o mês de novo.",
        Where.OMIE,
    ),
    "order_unnamed": Advice(
        "OS sem contrato no Omie",
        "Abra no Omie as OS que o motivo cita. Se uma for deste contrato, ele já foi faturado; se nenhuma for, "
        "libere-o com `billing-ops dlq redrive`.",
        Where.OMIE,
    ),
    "differs": Advice("Omie diferente do Jestor", "Deixe os dois iguais e mande de novo.", Where.OMIE),
    "missed_month": Advice(
        "O mês passou",
        "Se o Omie não tem OS do mês, fature por ordem de serviço (recuperação), nunca pelo contrato.",
        Where.COMMAND,
    ),
    "too_large": Advice("Texto grande demais", f"Encurte a descrição do contrato. {_AGAIN}"),
    # parked while billing or settling
    "omie_rejected": Advice("O Omie recusou", f"Corrija o que o Omie aponta. {_RELEASE}", Where.OMIE),
    "amount_not_planned": Advice(
        "Valor diferente do planejado", f"Confira os itens do contrato no Omie. {_AGAIN}", Where.OMIE
    ),
    "unreadable_contract": Advice(
        "Contrato que não pôde ser lido", f"Confira os itens do contrato no Omie. {_RELEASE}", Where.OMIE
    ),
    "created_elsewhere": Advice(
        "Criado em outra empresa", f"Crie o contrato no Omie da empresa nova e vincule. {_RELEASE}", Where.OMIE
    ),
    "not_sent": Advice("Não foi possível enviar", "Libere o contrato: `billing-ops dlq redrive`.", Where.COMMAND),
    "too_many_failures": Advice("O Omie falhou seguidas vezes", f"Confira o contrato no Omie. {_RELEASE}", Where.OMIE),
    "in_doubt": Advice(
        "Não se sabe se foi faturado",
        "Não reenvie. Veja no Omie se há OS deste mês; `billing-ops dlq redrive` lê o Omie antes de decidir.",
        Where.OMIE,
    ),
    # the company stopped before its turn came
    "stopped": Advice("A empresa parou antes da vez dele"),
}
"""Reason code -> short title, what to do, where. A code that is not here shows its own reason."""

CLOSED = frozenset({"churned", "suspended", "ended", "other_status"})
"""Skipped, and no next bill to wait for: what such a contract owes in late charges is for a person."""

_UNKNOWN = Advice("Precisa ser conferido", "Leia o motivo, confira no Omie e só então mande de novo.", Where.OMIE)


_NO_ANSWER = Advice(
    "Resposta do Omie se perdeu",
    "Nada, por enquanto: o sistema lê o Omie e resolve. Não fature à mão.",
    Where.NOWHERE,
)
_LOST = Advice(
    "Planejado, mas ninguém sabe dele",
    "Não fature à mão. Confira o contrato no Omie e avise quem cuida do sistema.",
    Where.OMIE,
)


def _advice(line: ContractLine) -> Advice:
    match line.situation:
        case Situation.IN_DOUBT:
            return _NO_ANSWER
        case Situation.UNEXPLAINED:
            return _LOST
        case _:
            return ADVICE.get(line.reason_code, _UNKNOWN)


def _needs(line: ContractLine) -> NeedsPerson:
    advice = _advice(line)
    return NeedsPerson(
        company=line.company,
        contract=line.contract,
        customer=line.customer,
        amount=None if line.amount_unknown else line.amount,
        title=advice.title,
        reason=line.reason,
        todo=line.todo or advice.todo,
        where=line.where or advice.where,
    )


def _title(line: ContractLine) -> str:
    return ADVICE[line.reason_code].title if line.reason_code in ADVICE else line.reason


def _difference(line: ContractLine) -> Difference | None:
    """None when the contract bills what it billed last month, or nothing in both."""
    now = line.amount if line.situation is Situation.BILLED else None
    if (now or 0) == (line.previous_amount or 0):
        return None
    match line.situation:
        case Situation.BILLED:
            cause = line.cause
        case Situation.IN_DOUBT | Situation.UNEXPLAINED:
            cause = str(line.situation).capitalize()
        case _:
            cause = f"Não faturado: {_title(line)}"
    return Difference(line.company, line.contract, line.customer, line.previous_amount, now, cause)


# --- from contracts to the report -----------------------------------------------------------------------------------


class _Largest(Generic[Row]):
    """Keeps the `LIMIT` rows of the largest `size`, earlier ones first among equals, and counts all."""

    def __init__(self, size: Callable[[Row], int]) -> None:
        self._size = size
        self._heap: list[tuple[int, int, Row]] = []
        self.count = 0

    def add(self, row: Row) -> None:
        self.count += 1
        entry = (self._size(row), -self.count, row)
        if len(self._heap) < LIMIT:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def listing(self) -> Listing[Row]:
        return Listing(tuple(row for _, _, row in sorted(self._heap, reverse=True)), self.count)


_TALLY = {
    Situation.BILLED: "billed",
    Situation.SKIPPED: "skipped",
    Situation.PARKED: "parked",
    Situation.IN_DOUBT: "in_doubt",
    Situation.UNEXPLAINED: "unexplained",
}


def summarise(run: Run, planned: Mapping[str, Tally], lines: Iterable[ContractLine]) -> RunReport:
    """The report of a run, from one pass over its contracts; holds at most `LIMIT` rows of each table.

    Args:
        run: what is known beforehand.
        planned: company key -> count and sum of its plan, as the plan itself counted them. It must not be counted
            from `lines`, or the balance would prove nothing.
        lines: every contract of every company; KeyError for a company that is not in `run.companies`.
    """
    tallies = {
        key: dict.fromkeys((*_TALLY.values(), "withdrawn", "by_person", "billed_before"), Tally())
        for key in run.companies
    }
    additions = _Largest[Charged](lambda row: row.amount)
    owed = _Largest[Charged](lambda row: row.amount)
    sums = {"additions": 0, "owed": 0}
    matters = {
        situation: _Largest[NeedsPerson](lambda row: -1 if row.amount is None else row.amount)
        for situation in (Situation.PARKED, Situation.IN_DOUBT, Situation.UNEXPLAINED)
    }
    differences = _Largest[Difference](lambda row: abs(row.difference))
    notices = _Largest[Notice](lambda _: 0)
    jumps = _Largest[Jump](lambda row: abs(row.difference))
    by_person = _Largest[ByPerson](lambda row: row.amount)
    unknown_amounts = 0
    causes: dict[str, Tally] = {}
    skipped: dict[tuple[str, str], Tally] = {}
    previous = Tally()

    def differs(row: Difference) -> None:
        differences.add(row)
        causes[row.group] = causes.get(row.group, Tally()) + Tally(1, row.difference)

    for line in lines:
        of_company, name = tallies[line.company], _TALLY[line.situation]
        of_company[name] += Tally(1, line.amount)
        if line.situation in matters:
            matters[line.situation].add(_needs(line))
            unknown_amounts += line.amount_unknown and line.situation is Situation.PARKED
        if line.by_person and line.situation is Situation.BILLED:
            of_company["by_person"] += Tally(1, line.amount)
            by_person.add(ByPerson(line.company, line.contract, line.customer, line.amount, line.nCodOS))
        if line.billed_before:
            of_company["billed_before"] += Tally(1, line.amount)
        if line.jumped_from is not None:
            now = line.amount - sum(charged.amount for charged in line.additions)
            jumps.add(Jump(line.company, line.contract, line.customer, line.jumped_from, now))
        if line.situation is Situation.SKIPPED:
            reason = (line.reason_code, _title(line))
            skipped[reason] = skipped.get(reason, Tally()) + Tally(1, line.amount)
        if line.previous_amount is not None:
            previous += Tally(1, line.previous_amount)
        if difference := _difference(line):
            differs(difference)
        for text in line.warnings:
            if line.jumped_from is not None and text.startswith(JUMP_WARNING):
                continue  # it stands above, among the jumps: it does keep the plan from being billed
            notices.add(Notice(line.company, line.contract, line.customer, text))
        of_company["withdrawn"] += Tally(0, line.withdrawn)
        closed = line.situation is Situation.SKIPPED and line.reason_code in CLOSED
        if line.situation is Situation.BILLED or closed:
            for charged in line.additions:
                (owed if closed else additions).add(charged)
                sums["owed" if closed else "additions"] += charged.amount
    for company, texts in run.notes.items():
        for text in texts:
            notices.add(Notice(company, "", run.companies[company], text))
    for gone in run.vanished:
        previous += Tally(1, gone.before or 0)
        differs(gone)

    return RunReport(
        run=run,
        companies=tuple(
            CompanyReport(
                key,
                name,
                planned=planned.get(key, Tally()),
                plan_hash=run.plan_hash.get(key, ""),
                approval=run.approval.get(key, ""),
                stopped=run.stopped.get(key, ""),
                finding=run.findings.get(key, ""),
                **tallies[key],
            )
            for key, name in run.companies.items()
        ),
        needs_person=matters[Situation.PARKED].listing(),
        in_doubt=matters[Situation.IN_DOUBT].listing(),
        unexplained=matters[Situation.UNEXPLAINED].listing(),
        differences=differences.listing(),
        causes=tuple(
            CauseTotal(cause, tally.count, tally.amount)
            for cause, tally in sorted(causes.items(), key=lambda item: (-abs(item[1].amount), item[0]))
        ),
        previous=previous if previous.count else None,
        skipped=tuple(
            SkippedReason(code, title, tally.count, tally.amount)
            for (code, title), tally in sorted(skipped.items(), key=lambda item: (-item[1].count, item[0]))
        ),
        notices=notices.listing(),
        additions=additions.listing(),
        additions_amount=sums["additions"],
        owed=owed.listing(),
        owed_amount=sums["owed"],
        unknown_amounts=unknown_amounts,
        jumps=jumps.listing(),
        by_person=by_person.listing(),
        cancelled_orders=run.cancelled_orders,
    )


# --- the verdict ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report in a sentence or two, also for the notification. `str()` is the plain text."""

    tone: Literal["ok", "open", "bad"]
    headline: str
    text: str

    def __str__(self) -> str:
        return f"{self.headline} {self.text}".strip()


def verdict(report: RunReport) -> Verdict:
    """Bad: no balance, a company stopped, something was found, or the plan is empty.

    Open: something is in doubt, waits for a person, or must be looked at (see `attention`). Ok: nothing of all this.
    """
    total, preview = report.total, report.run.preview
    stopped = [_sentence(f"{company.name}: {company.stopped}") for company in report.companies if company.stopped]
    findings = [f"{company.name}: {company.finding}" for company in report.companies if company.finding]
    gaps = [_gap(company) for company in report.companies if not company.balanced]
    looks = attention(report)
    said = [*gaps, *stopped, *findings, *looks, *_done(total, preview=preview), *_by_people(report)]
    if gaps:
        return Verdict("bad", "Atenção: as contas não fecham.", " ".join(said))
    said.append(_people(report))
    if stopped:
        which = "a prévia está incompleta" if preview else "nem todas as empresas foram faturadas"
        return Verdict("bad", f"Atenção: {which}.", " ".join(said))
    if findings:
        return Verdict("bad", "Atenção: algo não confere.", " ".join(said))
    if total.planned.count == 0:
        return Verdict("bad", "Atenção: o plano está vazio.", "Nenhum contrato foi lido do Jestor para este mês.")
    if total.in_doubt.count:
        doubt = f"{_contracts(total.in_doubt.count)} em dúvida: o sistema confere no Omie; não fature à mão."
        return Verdict("open", "Quase pronto.", " ".join([*said[:-1], doubt, said[-1]]))
    return _without_trouble(report, " ".join(said), waits=bool(report.run.waits), looks=bool(looks))


def _without_trouble(report: RunReport, text: str, *, waits: bool, looks: bool) -> Verdict:
    """The verdict of a run that balances and in which nothing went wrong: green only if nothing is left to do."""
    if waits:
        return Verdict("open", f"Este plano {'espera' if report.run.waiting else 'vai esperar'} aprovação:", text)
    if looks:
        return Verdict("open", "Confira antes de dar o mês por encerrado:", text)
    preview = report.run.preview
    if report.total.parked.count:
        return Verdict("open", "Prévia pronta, com pendências:" if preview else "Faturado, com pendências:", text)
    return Verdict("ok", "Prévia pronta:" if preview else "Tudo certo:", text)


def attention(report: RunReport) -> tuple[str, ...]:
    """What a person must look at though every contract is explained, in sentences; such a month is never green."""
    several = len(report.companies) > 1
    found = [
        f"{report.run.companies[key]}: {_brief(reason)}" if several else _brief(reason)
        for key, reasons in report.run.waits.items()
        for reason in reasons
    ]
    if report.cancelled_orders:
        number, amount = len(report.cancelled_orders), sum(each.amount for each in report.cancelled_orders)
        had = "teve a OS cancelada" if number == 1 else "tiveram a OS cancelada"
        not_charged = "não está cobrado" if number == 1 else "não estão cobrados"
        found.append(f"{_billed_ones(number)} {had} no Omie e {not_charged}: {format_brl(amount)}.")
    if (unknown := report.without_cause) is not None:
        found.append(
            f"Diferença de {_signed(unknown.difference)} sem causa conhecida, em {_contracts(unknown.count)}: "
            "confira em Diferenças."
        )
    found += report.run.late_lists
    for company in report.companies:
        share = report.run.adopted_share.get(company.key)
        if share is not None and company.by_person.count * 100 > share * company.billed.count:
            found.append(
                f"{company.name}: {_integer(company.by_person.count)} de {_contracts(company.billed.count)} "
                f"{_by_hand(company.by_person.count)}, mais que os {share} % da configuração: confira as OS no Omie."
            )
    return tuple(found)


def _brief(reason: str) -> str:
    """A reason of the guardrail with the largest jump only: the table below it, and the message, have the others."""
    head, _, jumps = reason.partition(": ")
    first, _, others = jumps.partition("; ")
    return f"{head}; a maior: {first}." if reason.startswith(JUMPS_REASON) and others else reason


def _sentence(text: str) -> str:
    """With a full stop, so that another sentence may follow."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _billed_ones(number: int) -> str:
    return f"{_contracts(number)} {'faturado' if number == 1 else 'faturados'}"


def _by_hand(number: int) -> str:
    return "foi faturado por uma pessoa" if number == 1 else "foram faturados por uma pessoa"


def _by_people(report: RunReport) -> list[str]:
    """Said of every month in which people billed in Omie, however few contracts."""
    tally = report.total.by_person
    return [f"Faturados por uma pessoa: {_integer(tally.count)} ({format_brl(tally.amount)})."] if tally.count else []


def _contracts(number: int) -> str:
    return f"{_integer(number)} {'contrato' if number == 1 else 'contratos'}"


def _done(total: CompanyReport, *, preview: bool) -> list[str]:
    billed, before = total.billed - total.billed_before, total.billed_before
    one = billed.count == 1
    would = ("seria " if one else "seriam ") if preview else ""
    said = [f"{_contracts(billed.count)} {would}faturado{'' if one else 's'}, {format_brl(billed.amount)}."]
    if not before.count:
        return said
    already = f"Já {'faturado' if before.count == 1 else 'faturados'} neste mês: {_integer(before.count)}"
    said = said if billed.count else ["Nenhum contrato seria faturado agora."]
    return [*said, f"{already} ({format_brl(before.amount)})."]


def _billed_label(report: RunReport) -> str:
    """What a page calls the billed of a run, or of a preview those that would be billed."""
    if not report.run.preview:
        return "Faturado"
    return "Faturado ou a faturar" if report.total.billed_before.count else "A faturar"


def _people(report: RunReport) -> str:
    number = report.total.parked.count
    if number == 0:
        return "Nada precisa de você."
    one = number == 1
    if report.run.preview:
        return (
            f"{_contracts(number)} não {'seria faturado e precisa' if one else 'seriam faturados e precisam'} de você."
        )
    return f"{_contracts(number)} {'segue em aberto e precisa' if one else 'seguem em aberto e precisam'} de você."


def _gap(company: CompanyReport) -> str:
    gap = company.gap
    if gap.count > 0:
        one = gap.count == 1
        fate = "não está faturado nem explicado" if one else "não estão faturados nem explicados"
        return f"{company.name}: {_contracts(gap.count)} do plano ({format_brl(gap.amount)}) {fate}."
    if gap.count < 0:
        return f"{company.name}: {_contracts(-gap.count)} a mais do que o plano previa."
    if gap.amount:
        less = "menos" if gap.amount > 0 else "mais"
        return f"{company.name}: {format_brl(abs(gap.amount))} a {less} do que o plano previa."
    return f"{company.name}: {_contracts(company.unexplained.count)} fora do plano e sem explicação."


# --- HTML -----------------------------------------------------------------------------------------------------------


class Bar(NamedTuple):
    """`share` of the longest bar of its chart, 0 to 100."""

    kind: str
    label: str
    text: str
    share: float


class Chart(NamedTuple):
    key: str
    title: str
    description: str
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]


def charts(report: RunReport) -> tuple[Chart, ...]:
    """One chart of contracts and one of reais, with a group of bars for each company."""
    billed = _billed_label(report)
    kinds = [("billed", billed), ("skipped", "Pulado, com motivo"), ("parked", "Precisa de você")]
    kinds += [("in_doubt", "Em dúvida")] * bool(report.total.in_doubt.count)
    kinds += [("unexplained", "Sem explicação")] * bool(report.total.unexplained.count)

    def chart(key: str, title: str, measure: Callable[[Tally], int], show: Callable[[int], str]) -> Chart:
        values = [[measure(getattr(company, kind)) for kind, _ in kinds] for company in report.companies]
        longest = max((value for of_company in values for value in of_company), default=0) or 1
        groups = tuple(
            (
                company.name,
                tuple(
                    Bar(kind, label, show(value), round(100 * max(value, 0) / longest, 2))
                    for (kind, label), value in zip(kinds, of_company, strict=True)
                ),
            )
            for company, of_company in zip(report.companies, values, strict=True)
        )
        description = " ".join(
            f"{name}: " + ", ".join(f"{bar.label.lower()} {bar.text}" for bar in bars) + "." for name, bars in groups
        )
        return Chart(key, title, description, groups)

    return (
        chart("count", "Contratos", lambda tally: tally.count, _integer),
        chart("amount", "Valor", lambda tally: tally.amount, format_brl),
    )


def _integer(number: int) -> str:
    return f"{number:,}".replace(",", ".")


def _brl(centavos: int | None) -> str:
    """On one line whatever the width of the screen; a dash for no bill."""
    return "–" if centavos is None else _unbroken(format_brl(centavos)).replace("-", "−")


def _unbroken(text: str) -> str:
    """No line ends between R$ and its number."""
    return text.replace("R$ ", "R$\N{NO-BREAK SPACE}")


def _signed(centavos: int) -> str:
    return f"+{_brl(centavos)}" if centavos > 0 else _brl(centavos)


def month_name(month: BillingMonth) -> str:
    """In words: dezembro de 2026."""
    return f"{_MONTHS[month.month - 1]} de {month.year}"


def _when(moment: datetime) -> str:
    local = moment.astimezone(SAO_PAULO)
    day = "1º" if local.day == 1 else local.day
    return f"{day} de {_MONTHS[local.month - 1]} de {local.year}, {local:%H:%M}"


_COMMAND = re.compile(r"`([^`]+)`|(billing-ops [\w-]+(?: --[\w-]+(?: [\w#/-]+)?)*)")


def _commands(text: str) -> Markup:
    """Escaped text with its commands (between backticks, or starting with billing-ops) set as code."""
    parts, end = [], 0
    for match in _COMMAND.finditer(text):
        parts += [escape(text[end : match.start()]), Markup("<code>{}</code>").format(match[1] or match[2])]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def _script_hash(script: str) -> str:
    """The Content-Security-Policy source that allows this one script and no other."""
    return f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _together(notices: Listing[Notice]) -> list[tuple[str, list[Notice]]]:
    """Notices by text, the most frequent first."""
    groups: dict[str, list[Notice]] = {}
    for notice in notices.rows:
        groups.setdefault(notice.text, []).append(notice)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "brl": _brl,
        "signed": _signed,
        "integer": _integer,
        "unbroken": _unbroken,
        "contracts": _contracts,
        "month": month_name,
        "when": _when,
        "commands": _commands,
        "script_hash": _script_hash,
        "together": _together,
        "brief": _brief,
    }
    return environment.from_string(files("billing").joinpath("report.html.j2").read_text("utf-8"))


def _shown(listing: Listing[Row]) -> Listing[Row]:
    return Listing(listing.rows[:LIMIT], listing.count)


def render_html(report: RunReport) -> str:
    """The whole page: no external resource, readable without its script, everything from data escaped."""
    return _template().render(
        report=report,
        run=report.run,
        total=report.total,
        verdict=verdict(report),
        charts=charts(report),
        billed_label=_billed_label(report),
        names={company.key: company.name for company in report.companies},
        needs_person=_shown(report.needs_person),
        in_doubt=_shown(report.in_doubt),
        unexplained=_shown(report.unexplained),
        differences=_shown(report.differences),
        notices=_shown(report.notices),
        additions=_shown(report.additions),
        owed=_shown(report.owed),
        jumps=_shown(report.jumps),
        by_person=_shown(report.by_person),
    )


# --- JSON -----------------------------------------------------------------------------------------------------------

SCHEMA = "billing-ops/report/1"


def _money(centavos: int | None) -> dict[str, Any] | None:
    return None if centavos is None else {"centavos": centavos, "reais": f"{reais(centavos):.2f}"}


_MONEY = {"amount", "before", "now", "difference", "additions_amount", "owed_amount"}


def _plain(value: Any) -> Any:
    match value:
        case Listing():
            return {"count": value.count, "rows": [_plain(row) for row in value.rows[:LIMIT]]}
        case Tally():
            return {"count": value.count, "amount": _money(value.amount)}
        case Difference():
            return _fields(value) | {"difference": _money(value.difference)}
        case Jump():
            return _fields(value) | {"difference": _money(value.difference), "percent": value.percent}
        case CompanyReport():
            return _fields(value) | {"balanced": value.balanced, "gap": _plain(value.gap)}
        case tuple():
            return [_plain(item) for item in value]
        case datetime():
            return value.isoformat()
        case BillingMonth():
            return str(value)
        case (
            Run()
            | NeedsPerson()
            | CauseTotal()
            | SkippedReason()
            | Notice()
            | Charged()
            | ByPerson()
            | CancelledOrder()
        ):
            return _fields(value)
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return value


def _fields(row: Any) -> dict[str, Any]:
    return {known.name: (_money if known.name in _MONEY else _plain)(getattr(row, known.name)) for known in fields(row)}


def render_json(report: RunReport) -> str:
    """The report for machines: sorted keys, amounts as {"centavos": 120050, "reais": "1200.50"}, `SCHEMA` inside.

    Fields are added within a schema number, never renamed or removed.
    """
    said = verdict(report)
    data = {
        "schema": SCHEMA,
        "balanced": report.balanced,
        "verdict": {"tone": said.tone, "text": str(said)},
        "attention": list(attention(report)),
        "total": {name: _plain(getattr(report.total, name)) for name in ("planned", *_TALLY.values())},
        **_fields(report),
    }
    return json.dumps(data, sort_keys=True, ensure_ascii=False, indent=2) + "\n"


# --- CSV ------------------------------------------------------------------------------------------------------------

_COLUMNS = (
    *("Competência", "Empresa", "Contrato", "Cliente", "Situação", "Valor", "Mês anterior", "Diferença"),
    *("Causa", "Vencimento", "Motivo", "O que fazer", "Onde", "Avisos", "Código Omie", "OS"),
)

_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@＝＋－＠]")


def _text(value: str) -> str:
    """Text that Excel shows and never runs: an apostrophe before what it would take for a formula."""
    return f"'{value}" if _FORMULA.match(value) else value


def _decimal(centavos: int | None) -> str:
    return "" if centavos is None else f"{reais(centavos):.2f}".replace(".", ",")


def _situation(run: Run, line: ContractLine) -> str:
    would_be = run.preview and line.situation is Situation.BILLED and not line.billed_before
    return "a faturar" if would_be else str(line.situation)


def _csv_row(run: Run, line: ContractLine) -> list[str]:
    matter = _needs(line) if line.situation not in {Situation.BILLED, Situation.SKIPPED} else None
    change = _difference(line)
    return [
        f"{run.month.month:02d}/{run.month.year}",
        _text(line.company),
        _text(line.contract),
        _text(line.customer),
        _situation(run, line),
        _decimal(None if line.amount_unknown else line.amount),
        _decimal(line.previous_amount),
        _decimal(change.difference if change else 0),
        _text(change.cause if change else ""),
        f"{line.due_date:%d/%m/%Y}" if line.due_date else "",
        _text(line.reason),
        _text(matter.todo.replace("`", "") if matter else ""),
        str(matter.where) if matter else "",
        _text(" | ".join(line.warnings)),
        str(line.nCodCtr or ""),
        str(line.nCodOS or ""),
    ]


def csv_tee(run: Run, lines: Iterable[ContractLine], file: TextIO) -> Iterator[ContractLine]:
    """Writes each line as it passes by. The file is complete when the iterator is exhausted.

    For Excel in Brazil: byte order mark, semicolons, decimal comma, CRLF. Open the file with encoding="utf-8" and
    newline="".
    """
    file.write("\N{ZERO WIDTH NO-BREAK SPACE}")
    writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for line in lines:
        writer.writerow(_csv_row(run, line))
        yield line


def write_csv(run: Run, lines: Iterable[ContractLine], file: TextIO) -> int:
    """All of it at once; returns the number of contracts. See `csv_tee`."""
    return sum(1 for _ in csv_tee(run, lines, file))
