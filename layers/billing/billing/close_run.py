"""Balances the books of a run: every planned contract is billed or explained. Writes the report and tells people.

The count is made twice, from different hands: `planned` as the plan itself counted while it was written, and what
became of each line as the ledger has it now.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from billing import report
from billing.clock import Clock
from billing.domain.charge import MONTHLY, Charge, ChargeKey, State
from billing.domain.month import BillingMonth
from billing.domain.plan import Action, PlanLine, chunks
from billing.report import Charged, ContractLine, Difference, Run, Situation, Tally
from billing.request_approval import Notifier
from billing.settings import Settings
from billing.store.objects import report_key
from billing.store.ports import Charges, Objects, Runs
from billing.store.runs import NotTheRunner

NOT_APPROVED = "NotApproved"
"""The error name with which `billing-ops reject` ends the wait for approval."""


@dataclass(frozen=True)
class CloseDeps:
    settings: Settings
    ledger: Charges
    runs: Runs
    objects: Objects
    notifier: Notifier
    clock: Clock


def close_run(event: dict[str, Any], deps: CloseDeps) -> dict[str, Any]:
    """Answers {"balanced", "explanation", "month", "preview", "companies", "report": {"html", "csv", "json"}}."""
    month = BillingMonth.parse(event["month"])
    now = deps.clock.now()
    companies: list[dict[str, Any]] = event["companies"]
    books = [_Book(company, month, deps, preview=event["preview"]) for company in companies]
    run = Run(
        month=month,
        run=f"{month}#{MONTHLY}",
        generation=max(company["generation"] for company in companies),
        execution=event["execution"],
        started_at=datetime.fromisoformat(event["started_at"]),
        finished_at=now,
        companies={company["company"]: deps.settings.companies[company["company"]].name for company in companies},
        preview=event["preview"],
        plan_hash={book.key: book.plan["hash"] for book in books if book.plan},
        stopped={book.key: book.stopped for book in books if book.stopped},
        findings={book.key: book.finding for book in books if book.finding},
        notes={book.key: tuple(book.company["notes"]) for book in books if book.company.get("notes")},
        vanished=tuple(gone for book in books for gone in book.vanished()),
    )
    csv_file = io.StringIO(newline="")
    planned = {book.key: Tally(book.plan["lines"], sum(book.plan["sums"].values())) for book in books if book.plan}
    lines = (line for book in books for line in book.lines())
    summary = report.summarise(run, planned, report.csv_tee(run, lines, csv_file))
    verdict = report.verdict(summary)
    explanation = str(verdict)
    if before := sum(book.already_billed for book in books):
        explanation += f" {before} já estavam faturados antes desta execução e não foram enviados de novo."
    balanced = (
        summary.balanced
        and not run.findings
        and summary.total.in_doubt.count == 0
        and all(not book.stopped or book.rejected for book in books)
    )
    keys = _write(deps.objects, run, csv_file.getvalue(), summary)
    answers = [
        _answer(book, of_company, keys["html"]) for book, of_company in zip(books, summary.companies, strict=True)
    ]
    if not event["preview"]:
        for book, answer in zip(books, answers, strict=True):
            _close(deps.runs, book, event["execution"], answer, now)
        deps.notifier.send(f"Faturamento {month}: {verdict.headline}", explanation)
    return {
        "balanced": balanced,
        "explanation": explanation,
        "month": str(month),
        "preview": event["preview"],
        "execution": event["execution"],
        "companies": answers,
        "refused": event["refused"],
        "report": keys,
    }


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
        self.finding = _mismatched(company.get("mismatches", 0))
        self.already_billed: int = (self.plan or {}).get("reasons", {}).get("skip/already_billed", 0)

    def lines(self) -> Iterator[ContractLine]:
        for line, charge in self._charges():
            yield self._line(line, charge)

    def vanished(self) -> list[Difference]:
        """Billed last month and not even mentioned in Jestor any more: a deleted record must not go unseen."""
        if not self.plan:
            return []
        known = {line.contract for line in self._plan_lines()}
        return [
            Difference(self.key, charge.key.contract, _in_omie(charge), charge.amount, None, "Não está mais no Jestor")
            for charge in self.deps.ledger.by_month(self.key, self.month.previous())
            if charge.state is State.BILLED and charge.key.kind == MONTHLY and charge.key.contract not in known
        ]

    def _plan_lines(self) -> Iterator[PlanLine]:
        return map(PlanLine.from_json, self.deps.objects.read_lines(self.plan["key"]) if self.plan else ())

    def _charges(self) -> Iterator[tuple[PlanLine, Charge | None]]:
        for chunk in chunks(self._plan_lines(), 100):
            keys = [ChargeKey(line.contract, self.month) for line in chunk]
            charges = self.deps.ledger.get_many(keys)
            yield from ((line, charges.get(key)) for line, key in zip(chunk, keys, strict=True))

    def _line(self, line: PlanLine, charge: Charge | None) -> ContractLine:
        situation, amount, code, reason = self._what_became(line, charge)
        withdrawn = _withdrawn(line, charge)
        return ContractLine(
            company=self.key,
            contract=line.contract,
            customer=line.name,
            situation=situation,
            amount=amount,
            reason_code=code,
            reason=reason,
            previous_amount=line.previous_amount,
            cause=line.cause,
            due_date=date.fromisoformat(line.due_date) if line.due_date else None,
            nCodCtr=line.nCodCtr or (charge.nCodCtr if charge else None),
            nCodOS=charge.nCodOS if charge else None,
            warnings=line.warnings,
            additions=tuple(
                Charged(self.key, line.contract, line.name, each["amount"], each["text"], each["proof"])
                for each in line.additions
                if each["key"] not in withdrawn
            ),
            withdrawn=sum(withdrawn.values()),
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


def _mismatched(count: int) -> str:
    """What is said of contracts whose OS in Omie does not show the planned amount; empty when there are none."""
    if not count:
        return ""
    which = "1 contrato faturado" if count == 1 else f"{count} contratos faturados"
    return f"{which} no Omie com valor diferente do planejado: confira as OS deste mês no Omie."


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
        "report_key": report_at,
    }


def _write(objects: Objects, run: Run, csv_text: str, summary: report.RunReport) -> dict[str, str]:
    label = "previa" if run.preview else str(run.generation)
    execution = run.execution.rsplit(":", 1)[-1]
    stem = f"{label}-{execution}"
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
