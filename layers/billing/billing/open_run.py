"""First step of the run: which companies are billed now, and under which name.

A company's run is named by its month and kind ("2026-12#mensalidade#acme"). Whoever comes second joins the run that
is under way or is told how it ended; only a person may open a closed one again, and the ledger still bills nobody
twice. The schedule comes every day: a company is due on its billing day (calendar day, or first business day by its
setting) and, if that day's run never happened, within its catch-up days.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any, Self

from billing.clock import Clock
from billing.domain.calendar import HolidayCheck, first_business_day
from billing.domain.charge import MONTHLY
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.settings import CompanySettings, Settings
from billing.store.ports import Runs
from billing.store.runs import Closed, Joined, Opened, Trigger, run_name

CALLS_PER_CONTRACT = 2
OMIE_CALLS_PER_MINUTE_AND_IP = 960
OMIE_CALLS_PER_MINUTE_AND_METHOD = 240


class BadRequest(ValueError):  # noqa: N818
    """The run was asked for with something this system does not know: one line, in Portuguese."""


@dataclass(frozen=True)
class RunRequest:
    """What started the execution. `month` None is the present one; `companies` empty is every one that is due."""

    execution: str
    trigger: str
    month: BillingMonth | None = None
    companies: tuple[str, ...] = ()
    preview: bool = False
    who: str = ""

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Self:
        wanted = event.get("input") or {}
        trigger = wanted.get("trigger", "operator")
        return cls(
            execution=event["execution"],
            trigger=trigger,
            month=BillingMonth.parse(wanted["month"]) if wanted.get("month") else None,
            companies=tuple(wanted.get("companies") or ()),
            preview=bool(wanted.get("preview")),
            who=wanted.get("who") or trigger,
        )


@dataclass(frozen=True)
class OpenRunDeps:
    settings: Settings
    runs: Runs
    clock: Clock
    is_holiday: HolidayCheck
    is_running: Callable[[str], bool]
    """Whether an execution, by its ARN, is still running: a run whose execution died is taken over."""


def open_run(request: RunRequest, deps: OpenRunDeps) -> dict[str, Any]:
    """Answers {"anything_to_do", "month", "execution", "companies": [...], "refused": [{"company", "why"}]}."""
    now = deps.clock.now()
    today = now.astimezone(SAO_PAULO).date()
    present = BillingMonth.of(now)
    month = request.month or present
    if month != present and not request.preview:
        raise BadRequest(
            f"A competência {month} não pode ser faturada em {today:%d/%m/%Y}: o Omie fatura sempre o mês corrente "
            f"({present}). Use --preview para ver o plano de outro mês."
        )
    unknown = [key for key in request.companies if key not in deps.settings.companies]
    if unknown:
        known = ", ".join(sorted(deps.settings.companies))
        raise BadRequest(f"Empresa desconhecida: {', '.join(unknown)}. As configuradas são: {known}.")

    opened: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    wanted = request.companies or tuple(sorted(deps.settings.companies))
    for company in wanted:
        policy = deps.settings.companies[company]
        why_not = "" if request.trigger == "operator" else _not_due(policy, month, today, deps.is_holiday)
        generation = 0
        if not why_not and not request.preview:
            generation, why_not = _open(company, month, request, deps)
        if why_not:
            refused.append({"company": company, "why": why_not})
        else:
            opened.append(
                {
                    "company": company,
                    "month": str(month),
                    "run": run_name(month, f"{MONTHLY}#{company}"),
                    "generation": generation,
                    "preview": request.preview,
                    "trigger": request.trigger,
                    "who": request.who,
                    "execution": request.execution,
                    "round": 0,
                }
            )
    rate = min(
        OMIE_CALLS_PER_MINUTE_AND_METHOD,
        OMIE_CALLS_PER_MINUTE_AND_IP // (CALLS_PER_CONTRACT * max(1, len(opened))),
    )
    return {
        "anything_to_do": bool(opened),
        "month": str(month),
        "execution": request.execution,
        "preview": request.preview,
        "started_at": now.isoformat(),
        "companies": [company | {"contracts_per_minute": rate} for company in opened],
        "refused": refused,
    }


def billing_date(policy: CompanySettings, month: BillingMonth, is_holiday: HolidayCheck) -> date:
    """The day on which the company bills that month."""
    if policy.schedule_policy == "first_business_day":
        return first_business_day(month, is_holiday)
    return month.day(policy.billing_day)


def _not_due(policy: CompanySettings, month: BillingMonth, today: date, is_holiday: HolidayCheck) -> str:
    day = billing_date(policy, month, is_holiday)
    if day <= today <= day + timedelta(days=policy.catch_up_days):
        return ""
    return f"Não é dia de faturar: a data desta competência é {day:%d/%m/%Y}."


def _open(company: str, month: BillingMonth, request: RunRequest, deps: OpenRunDeps) -> tuple[int, str]:
    kind = f"{MONTHLY}#{company}"
    trigger: Trigger = "operator" if request.trigger == "operator" else "schedule"
    opening = partial(deps.runs.open, month, kind, trigger=trigger, execution=request.execution, now=deps.clock.now())
    result = opening()
    if isinstance(result, Joined) and not deps.is_running(result.execution):
        result = opening(replaces=result.execution)
    match result:
        case Opened():
            return result.generation, ""
        case Joined():
            return 0, f"Já há uma execução em andamento para {month}: {result.execution.rsplit(':', 1)[-1]}."
        case Closed():
            return 0, f"A competência {month} já foi fechada para esta empresa; nada a refazer."
