"""Balances the books of a run: every planned contract is billed or explained. Writes the report and tells people.

The count is made twice, from different hands: `planned` as the plan itself counted while it was written, and what
became of each line as the ledger has it now.
"""

import contextlib
import io
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from billing import report
from billing.clock import Clock
from billing.domain.addition import NAMES as ADDITION_NAMES
from billing.domain.addition import charged_kind
from billing.domain.charge import MONTHLY, Charge, ChargeKey, State, is_by_a_person
from billing.domain.list_lag import ListLag
from billing.domain.money import format_brl
from billing.domain.month import BillingMonth
from billing.domain.plan import Action, PlanLine, as_charged, chunks, is_jump
from billing.report import CancelledOrder, Charged, ContractLine, Difference, Run, Situation, Tally
from billing.request_approval import Notifier
from billing.settings import Settings
from billing.store.objects import ObjectMissing, report_key
from billing.store.ports import Charges, Objects, Runs
from billing.store.runs import NotTheRunner
from billing.unreadable import DATA_ERRORS, note

BEYOND = "Faturado nesta competência; não está no plano desta execução."
DOUBTFUL = " (não se sabe se foi cobrado: confira a OS no Omie)"
NOT_APPROVED = "NotApproved"
"""The error name with which `billing-ops reject` ends the wait for approval."""
NAMED = 5
"""So many contracts one sentence names."""


@dataclass(frozen=True)
class CloseDeps:
    settings: Settings
    ledger: Charges
    runs: Runs
    objects: Objects
    notifier: Notifier
    clock: Clock


def close_run(event: dict[str, Any], deps: CloseDeps) -> dict[str, Any]:
    """Answers {"balanced", "explanation", "attention", "month", "preview", "companies", "report", ...}.

    `attention`: what a person must look at though the books balance, Portuguese sentences.
    """
    now = deps.clock.now()
    books, run, summary, keys = _account(event, deps, _stem(event))
    verdict = report.verdict(summary)
    explanation = str(verdict)
    if not run.preview and (before := sum(book.already_billed for book in books)):
        explanation += (
            " 1 já estava faturado antes desta execução e não foi enviado de novo."
            if before == 1
            else f" {before} já estavam faturados antes desta execução e não foram enviados de novo."
        )
    balanced = (
        summary.balanced
        and not run.findings
        and summary.total.in_doubt.count == 0
        and all(not book.stopped or book.rejected for book in books)
    )
    answers = [
        _answer(book, of_company, keys["html"]) for book, of_company in zip(books, summary.companies, strict=True)
    ]
    if not run.preview:
        for book, answer in zip(books, answers, strict=True):
            _close(deps.runs, book, event["execution"], answer, now)
        deps.notifier.send(f"Faturamento {run.month}: {verdict.headline.rstrip(':.')}", explanation)
    return {
        "balanced": balanced,
        "explanation": explanation,
        "attention": list(report.attention(summary)),
        "month": str(run.month),
        "preview": run.preview,
        "execution": event["execution"],
        "companies": answers,
        "refused": event["refused"],
        "report": keys,
    }


def write_waiting_plan(planned: dict[str, Any], deps: CloseDeps) -> dict[str, str]:
    """Writes the page of one company's plan that now waits for a person, as a preview; answers where its files are.

    `planned`: what plan_company answered.
    """
    event = planned | {"companies": [planned], "preview": True, "started_at": planned["planned_at"]}
    stem = f"espera-{planned['company']}-{planned['generation']}-{_name(planned['execution'])}"
    return _account(event, deps, stem, waiting=True)[-1]


def _account(
    event: dict[str, Any], deps: CloseDeps, stem: str, *, waiting: bool = False
) -> "tuple[list[_Book], Run, report.RunReport, dict[str, str]]":
    """The books of each company, the run, what became of its contracts, and the keys of the files that say so."""
    month = BillingMonth.parse(event["month"])
    companies: list[dict[str, Any]] = event["companies"]
    books = [_Book(company, month, deps, preview=event["preview"]) for company in companies]
    in_plans = frozenset(line.contract for book in books for line in book.plan_lines())
    everywhere = {book.key for book in books if book.plan} == set(deps.settings.companies)
    for book in books:
        book.find_beyond(in_plans)
    run = Run(
        month=month,
        run=f"{month}#{MONTHLY}",
        generation=max(company["generation"] for company in companies),
        execution=event["execution"],
        started_at=datetime.fromisoformat(event["started_at"]),
        finished_at=deps.clock.now(),
        companies={company["company"]: deps.settings.companies[company["company"]].name for company in companies},
        preview=event["preview"],
        plan_hash={book.key: book.plan["hash"] for book in books if book.plan},
        stopped={book.key: book.stopped for book in books if book.stopped},
        findings={book.key: book.finding for book in books if book.finding},
        notes={book.key: tuple(book.company["notes"]) for book in books if book.company.get("notes")},
        vanished=tuple(gone for book in books for gone in book.vanished(in_plans, everywhere=everywhere)),
        waits={book.key: tuple(book.company["reasons"]) for book in books if event["preview"] and book.waits},
        waiting=waiting,
        adopted_share={book.key: deps.settings.companies[book.key].adopted_share for book in books},
        late_lists=tuple(said for book in books for said in book.late_lists()),
        cancelled_orders=tuple(order for book in books for order in book.cancelled_orders()),
        csv_name=f"faturamento-{month}-{stem}.csv",
    )
    csv_file = io.StringIO(newline="")
    planned = {book.key: book.planned() for book in books}
    lines = (line for book in books for line in book.lines())
    summary = report.summarise(run, planned, report.csv_tee(run, lines, csv_file))
    return books, run, summary, _write(deps.objects, run, stem, csv_file.getvalue(), summary)


class _Book:
    """One company's part of the run."""

    def __init__(self, company: dict[str, Any], month: BillingMonth, deps: CloseDeps, *, preview: bool) -> None:
        self.company = company
        self.key: str = company["company"]
        self.month = month
        self.deps = deps
        self.preview = preview
        self.plan: dict[str, Any] | None = company.get("plan")
        self.error: dict[str, str] = company.get("error") or {}
        self.rejected = self.error.get("Error") == NOT_APPROVED
        self.stopped = _stopped(self.error)
        self.finding = _mismatched(company.get("mismatches", 0), company.get("differing_orders") or ())
        self.beyond: list[Charge] = []
        """Billed this month and in no plan of this run: deleted from Jestor since, or its plan could not be made."""
        self._lines_of: dict[str, dict[str, PlanLine]] = {}
        self.already_billed: int = (self.plan or {}).get("reasons", {}).get("skip/already_billed", 0)

    @property
    def waits(self) -> bool:
        """Whether the plan is one that a person must approve before it is billed."""
        return bool(self.plan and self.company.get("reasons") and self.plan["counts"].get(Action.BILL))

    @property
    def list_lag(self) -> ListLag:
        """How late Omie's lists were, as Settle measured it."""
        return ListLag(self.deps.settings.companies[self.key].list_lag_seconds, **self.company.get("list_lag", {}))

    def late_lists(self) -> Iterator[str]:
        """What a person must know when they were later than the settings assume."""
        lag, settings = self.list_lag, self.deps.settings.companies[self.key]
        if not lag.in_time:
            yield (
                f"{settings.name}: {lag.missing:.0f} s depois de um faturamento que o Omie confirmou, as listas dele "
                f"ainda não o mostravam; a configuração supõe {lag.assumed:.0f} s. As dúvidas esperam mais por "
                "isso: aumente list_lag_seconds."
            )

    def find_beyond(self, in_plans: Container[str]) -> None:
        """Looks up what the ledger has billed this month beside the plans, which hold the contracts `in_plans`."""
        self.beyond = [
            charge
            for charge in self.deps.ledger.by_month(self.key, self.month, {State.BILLED})
            if charge.key.kind == MONTHLY and charge.key.contract not in in_plans
        ]

    def planned(self) -> Tally:
        """As the plan counted itself; and what was billed beside it."""
        plan = Tally(self.plan["lines"], sum(self.plan["sums"].values())) if self.plan else Tally()
        return plan + Tally(len(self.beyond), sum(charge.amount for charge in self.beyond))

    def lines(self) -> Iterator[ContractLine]:
        for line, charge in self._charges():
            yield self._told(line, charge)
        for charge in self.beyond:
            line = self._planned_by(charge) or PlanLine.of_charge(charge)
            yield self._told(as_charged(replace(line, reason=BEYOND, warnings=()), charge), charge)

    def _told(self, line: PlanLine, charge: Charge | None) -> ContractLine:
        """The line of the report; of one of which something cannot be read, what the books need of it."""
        try:
            return self._line(line, charge)
        except DATA_ERRORS as error:
            return self._bare(line, charge, note(f"reporting {line.contract}", error))

    def vanished(self, in_plans: Container[str], *, everywhere: bool) -> list[Difference]:
        """Billed last month and not even mentioned in Jestor any more: a deleted record must not go unseen.

        `everywhere`: whether `in_plans` are those of every company; a contract may have moved to another.
        """
        if not self.plan:
            return []
        billed_now = {charge.key.contract for charge in self.beyond}
        cause = "Não está mais no Jestor" if everywhere else "Não está mais nesta empresa no Jestor"
        return [
            Difference(self.key, charge.key.contract, _in_omie(charge), charge.amount, None, cause)
            for charge in self.deps.ledger.by_month(self.key, self.month.previous(), {State.BILLED})
            if charge.key.kind == MONTHLY
            and charge.key.contract not in in_plans
            and charge.key.contract not in billed_now
        ]

    def cancelled_orders(self) -> list[CancelledOrder]:
        """Orders of billed charges that a person cancelled in Omie, as Settle found them."""
        key = self.company.get("cancelled_orders_key")
        named = self.deps.objects.get_json(key) if key else self.company.get("cancelled_orders")
        orders = {each["contract"]: each for each in named or ()}
        names = {line.contract: line.name for line in self.plan_lines() if line.contract in orders} if orders else {}
        return [
            CancelledOrder(self.key, contract, names.get(contract, ""), each["amount"], each.get("nCodOS"))
            for contract, each in orders.items()
        ]

    def plan_lines(self) -> Iterator[PlanLine]:
        return map(PlanLine.from_json, self.deps.objects.read_lines(self.plan["key"]) if self.plan else ())

    def _charges(self) -> Iterator[tuple[PlanLine, Charge | None]]:
        for chunk in chunks(self.plan_lines(), 100):
            keys = [ChargeKey(line.contract, self.month) for line in chunk]
            charges = self.deps.ledger.get_many(keys)
            yield from ((line, charges.get(key)) for line, key in zip(chunk, keys, strict=True))

    def _line(self, line: PlanLine, charge: Charge | None) -> ContractLine:
        situation, amount, code, reason = self._what_became(line, charge)
        withdrawn = _withdrawn(line, charge)
        billed = charge if charge is not None and charge.state is State.BILLED else None
        made = (billed.composition if billed else None) or line.composition()
        return ContractLine(
            company=self.key,
            contract=line.contract,
            customer=line.name,
            situation=situation,
            amount=amount,
            reason_code=code,
            reason=reason,
            previous_amount=made.previous_amount,
            cause=made.cause,
            due_date=date.fromisoformat(made.due_date) if made.due_date else None,
            nCodCtr=line.nCodCtr or (charge.nCodCtr if charge else None),
            nCodOS=charge.nCodOS if charge else None,
            warnings=line.warnings,
            additions=self._billed_additions(line, billed) if billed else _planned_additions(self.key, line),
            withdrawn=sum(withdrawn.values()),
            by_person=charge is not None and is_by_a_person(charge),
            billed_before=self.preview and billed is not None,
            amount_unknown=line.amount_unknown and not amount,
            jumped_from=self._jumped_from(line) if self.preview and self.waits else None,
        )

    def _jumped_from(self, line: PlanLine) -> int | None:
        """The last charge's amount without its additions, where the change against it is beyond the guardrail."""
        limits = self.deps.settings.companies[self.key].guardrail.limits()
        if line.action is not Action.BILL or line.previous_amount is None:
            return None
        before = line.previous_amount - line.previous_additions
        now = line.amount - line.additions_total
        return before if is_jump(now, before, limits.max_jump_percent, limits.max_jump_amount) else None

    def _billed_additions(self, line: PlanLine, billed: Charge) -> tuple[Charged, ...]:
        """What the charge carried; the arithmetic is in the plan by which it was billed."""
        planned = self._planned_by(billed, line) if billed.additions else None
        proofs = {each["key"]: each for each in (planned.additions if planned else ())}
        return tuple(
            Charged(
                self.key,
                line.contract,
                line.name,
                each["amount"],
                str(each.get("text") or proofs.get(each["key"], {}).get("text") or ADDITION_NAMES[charged_kind(each)])
                + (DOUBTFUL if each.get("doubtful") else ""),
                proofs.get(each["key"], {}).get("proof", ""),
            )
            for each in billed.additions
        )

    def _planned_by(self, charge: Charge, line: PlanLine | None = None) -> PlanLine | None:
        """The line by which the charge was billed: `line` itself, or one of an earlier plan; None when that is gone.

        Of an earlier plan only the lines with additions, and those of `beyond`, are kept in memory.
        """
        plan = charge.composition.plan if charge.composition else ""
        if line is not None and line.action is Action.BILL:
            return line
        if not plan:
            return line
        if plan not in self._lines_of:
            beyond = {each.key.contract for each in self.beyond}
            self._lines_of[plan] = {}
            with contextlib.suppress(ObjectMissing):
                self._lines_of[plan] = {
                    found.contract: found
                    for found in map(PlanLine.from_json, self.deps.objects.read_lines(plan))
                    if found.additions or found.contract in beyond
                }
        return self._lines_of[plan].get(charge.key.contract)

    def _bare(self, line: PlanLine, charge: Charge | None, kind: str) -> ContractLine:
        """Situation and amount, by which the books balance, and a warning that nothing else could be read."""
        situation, amount, code, reason = self._what_became(line, charge)
        return ContractLine(
            company=self.key,
            contract=line.contract,
            customer=line.name,
            situation=situation,
            amount=amount,
            reason_code=code,
            reason=reason,
            nCodCtr=line.nCodCtr,
            warnings=(f"Os detalhes deste contrato não puderam ser lidos ({kind}): avise quem cuida do sistema.",),
        )

    def _what_became(self, line: PlanLine, charge: Charge | None) -> tuple[Situation, int, str, str]:
        if charge is not None:
            match charge.state:
                case State.BILLED:
                    return Situation.BILLED, charge.amount, line.reason_code, line.reason
                case State.PARKED:
                    return Situation.PARKED, line.amount, charge.reason_code, charge.reason
                case State.HELD:
                    return Situation.SKIPPED, line.amount, "held", charge.reason
                case State.SENDING | State.UNKNOWN:
                    return Situation.IN_DOUBT, line.amount, "in_doubt", charge.reason
        match line.action:
            case Action.SKIP:
                return Situation.SKIPPED, line.amount, line.reason_code, line.reason
            case Action.PARK:
                return Situation.PARKED, line.amount, line.reason_code, line.reason
        if self.preview:
            return Situation.BILLED, line.amount, "", line.reason
        if self.stopped:
            return Situation.SKIPPED, line.amount, "stopped", self.stopped
        return Situation.UNEXPLAINED, line.amount, "", ""


def _planned_additions(company: str, line: PlanLine) -> tuple[Charged, ...]:
    return tuple(
        Charged(company, line.contract, line.name, each["amount"], each["text"], each["proof"])
        for each in line.additions
    )


def _withdrawn(line: PlanLine, charge: Charge | None) -> dict[str, int]:
    """Key -> centavos of the planned additions that the bill went out without, because their title had changed."""
    if charge is None or charge.state is not State.BILLED or line.action is not Action.BILL:
        return {}
    billed = {each["key"] for each in charge.additions}
    left = {each["key"]: each["amount"] for each in line.additions if each["key"] not in billed}
    return left if charge.amount == line.amount - sum(left.values()) else {}


def _in_omie(charge: Charge) -> str:
    """Who the customer was, in a place where a person can look it up: the ledger knows no names."""
    return f"contrato de código {charge.nCodCtr} no Omie" if charge.nCodCtr else ""


def _mismatched(count: int, differing: Sequence[Mapping[str, Any]]) -> str:
    """What is said of contracts whose OS in Omie does not show the planned amount; empty when there are none.

    `differing`: those of them that Settle named.
    """
    if not count:
        return ""
    which = "1 contrato faturado" if count == 1 else f"{count} contratos faturados"
    what = f"{which} no Omie com valor diferente do planejado"
    if not differing:
        return f"{what}: confira as OS deste mês no Omie."
    names = [
        f"{each['contract']}, OS {each['nCodOS']} (planejado {format_brl(each['amount'])}; "
        f"no Omie {format_brl(each['in_omie'])})"
        for each in differing[:NAMED]
    ]
    more = [f"e mais {count - len(names)}"] if count > len(names) else []
    return f"{what}: {'; '.join([*names, *more])}. Confira as OS no Omie."


def _stopped(error: dict[str, str]) -> str:
    """Why the company was not billed to its end, in a sentence; empty when it was."""
    if not error:
        return ""
    match error.get("Error"):
        case "NotApproved":
            return f"O plano foi rejeitado: {error.get('Cause') or 'sem motivo informado'}"
        case "States.Timeout":
            return "Ninguém respondeu a tempo: o plano não foi aprovado, ou um passo não terminou"
    cause = error.get("Cause", "")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        cause = json.loads(cause)["errorMessage"]  # what Lambda says of an exception
    return cause or error.get("Error", "erro sem descrição")


def _answer(book: _Book, of_company: report.CompanyReport, report_at: str) -> dict[str, Any]:
    return {
        "company": book.key,
        "planned": of_company.planned.count,
        "billed": of_company.billed.count,
        "skipped": of_company.skipped.count,
        "parked": of_company.parked.count,
        "in_doubt": of_company.in_doubt.count,
        "unexplained": of_company.unexplained.count,
        "total_billed_centavos": of_company.billed.amount,
        "plan_hash": of_company.plan_hash,
        "stopped": of_company.stopped,
        "planned_at": book.company.get("planned_at"),
        "already_billed": book.already_billed,
        "mismatches": book.company.get("mismatches", 0),
        "list_lag_seconds": round(book.list_lag.missing),
        "report_key": report_at,
    }


def _stem(event: dict[str, Any]) -> str:
    """The name that the files of this execution's report share."""
    generation = max(company["generation"] for company in event["companies"])
    return f"{'previa' if event['preview'] else generation}-{_name(event['execution'])}"


def _name(execution: str) -> str:
    """From its ARN."""
    return execution.rsplit(":", 1)[-1]


def _write(objects: Objects, run: Run, stem: str, csv_text: str, summary: report.RunReport) -> dict[str, str]:
    keys = {kind: report_key(run.month, f"{stem}.{kind}") for kind in ("html", "csv", "json")}
    objects.put_text(keys["html"], report.render_html(summary), "text/html; charset=utf-8")
    objects.put_text(keys["json"], report.render_json(summary), "application/json")
    objects.put_text(keys["csv"], csv_text, "text/csv; charset=utf-8")
    return keys


def _close(runs: Runs, book: _Book, execution: str, answer: dict[str, Any], now: datetime) -> None:
    try:
        runs.close(book.company["run"], execution=execution, summary=answer, now=now)
    except NotTheRunner:
        return  # another execution took the run over while this one was thought dead: it will close it
