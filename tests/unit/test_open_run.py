"""Who is billed today, who joins a run that is under way, and who is told why not."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from billing.domain.month import SAO_PAULO, BillingMonth, MonthError
from billing.holidays_br import is_bank_holiday
from billing.open_run import BadRequest, OpenRunDeps, RunRequest, open_run
from billing.settings import load_settings
from simulators.clock import VirtualClock
from simulators.memory_store import MemoryRuns

DEMO = load_settings((Path(__file__).parents[2] / "config/demo.toml").read_text(encoding="utf-8"))
ARN = "arn:aws:states:sa-east-1:123456789012:execution:billing-run:"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=SAO_PAULO)


def policy(**changes):
    companies = {key: company.model_copy(update=changes) for key, company in DEMO.companies.items()}
    return DEMO.model_copy(update={"companies": companies})


def deps(now, *, settings=DEMO, running=()):
    return OpenRunDeps(
        settings=settings,
        runs=MemoryRuns(),
        clock=VirtualClock(at(now)),
        is_holiday=is_bank_holiday,
        is_running=lambda execution: execution in running,
    )


def asked(name="first", **wanted):
    return RunRequest(**{"execution": ARN + name, "trigger": "operator"} | wanted)


def scheduled(name="first"):
    return asked(name, trigger="schedule", who="schedule")


def opened(answer):
    return [company["company"] for company in answer["companies"]]


def due_on(day, settings):
    return bool(opened(open_run(scheduled(), deps(f"{day}T06:00", settings=settings))))


def test_every_company_is_opened_on_its_billing_day_with_what_the_next_step_needs():
    answer = open_run(scheduled(), deps("2026-12-01T06:00"))

    assert answer["anything_to_do"] is True
    assert answer["refused"] == []
    assert opened(answer) == ["acme", "nimbus"]
    assert answer["companies"][0] == {
        "company": "acme",
        "month": "2026-12",
        "run": "2026-12#mensalidade#acme",
        "generation": 1,
        "preview": False,
        "trigger": "schedule",
        "who": "schedule",
        "execution": f"{ARN}first",
        "round": 0,
        "contracts_per_minute": 240,
    }


def test_a_second_trigger_joins_the_run_that_is_under_way():
    both = deps("2026-12-01T06:00", running={f"{ARN}first"})
    open_run(scheduled("first"), both)

    second = open_run(asked("second"), both)

    assert second["anything_to_do"] is False
    assert second["refused"][0] == {
        "company": "acme",
        "why": "Já há uma execução em andamento para 2026-12: first.",
    }


def test_the_same_execution_asking_again_gets_the_same_answer():
    same = deps("2026-12-01T06:00", running={f"{ARN}first"})

    assert open_run(scheduled("first"), same) == open_run(scheduled("first"), same)


def test_a_dead_execution_is_taken_over_by_the_next_one():
    after = deps("2026-12-01T06:00", running=set())
    open_run(scheduled("dead"), after)

    answer = open_run(scheduled("next"), after)

    assert [company["generation"] for company in answer["companies"]] == [2, 2]
    assert after.runs.get("2026-12#mensalidade#acme").execution == f"{ARN}next"


def test_a_closed_month_is_opened_again_by_a_person_only():
    month = deps("2026-12-01T06:00")
    open_run(scheduled("first"), month)
    for company in ("acme", "nimbus"):
        month.runs.close(f"2026-12#mensalidade#{company}", execution=f"{ARN}first", summary={}, now=month.clock.now())

    by_schedule = open_run(scheduled("second"), month)
    by_person = open_run(asked("third", companies=("acme",)), month)

    assert by_schedule["anything_to_do"] is False
    assert {refused["why"] for refused in by_schedule["refused"]} == {
        "A competência 2026-12 já foi fechada para esta empresa; nada a refazer."
    }
    assert [company["generation"] for company in by_person["companies"]] == [2]


def test_a_company_that_is_running_does_not_keep_the_other_from_its_own_run():
    month = deps("2026-12-01T06:00", running={f"{ARN}first"})
    open_run(asked("first", companies=("acme",)), month)

    answer = open_run(asked("second"), month)

    assert opened(answer) == ["nimbus"]
    assert [refused["company"] for refused in answer["refused"]] == ["acme"]


def test_a_person_opens_a_month_on_any_day_of_it():
    assert opened(open_run(asked(companies=("nimbus",)), deps("2026-12-22T15:00"))) == ["nimbus"]


@pytest.mark.parametrize(
    ("day", "due"),
    [("2026-12-04", False), ("2026-12-05", True), ("2026-12-07", True), ("2026-12-08", False)],
)
def test_by_calendar_day_the_schedule_bills_on_the_billing_day_and_its_catch_up_days(day, due):
    assert due_on(day, policy(billing_day=5, catch_up_days=2)) is due


def test_without_catch_up_days_a_missed_day_is_left_to_a_person():
    assert due_on("2026-12-02", policy(catch_up_days=0)) is False


def test_the_refusal_names_the_day_on_which_the_month_is_billed():
    answer = open_run(scheduled(), deps("2026-12-20T06:00"))

    assert answer["anything_to_do"] is False
    assert answer["refused"][0]["why"] == "Não é dia de faturar: a data desta competência é 01/12/2026."


@pytest.mark.parametrize(
    ("holiday", "first_business_day"),
    [
        ("2026-08-01", "2026-08-03"),  # a Saturday
        ("2026-11-01", "2026-11-03"),  # a Sunday, then All Souls' Day
        ("2027-01-01", "2027-01-04"),  # New Year on a Friday
        ("2025-03-01", "2025-03-05"),  # a Saturday, then Carnival's Monday and Tuesday
        ("2026-05-01", "2026-05-04"),  # Labour Day on a Friday
    ],
)
def test_by_first_business_day_the_schedule_waits_for_the_banks_to_open(holiday, first_business_day):
    settings = policy(schedule_policy="first_business_day", catch_up_days=0)

    assert due_on(holiday, settings) is False
    assert due_on(first_business_day, settings) is True


def test_the_day_is_sao_paulos_not_the_servers():
    settings = policy(catch_up_days=0)
    clock = VirtualClock(datetime.fromisoformat("2026-12-02T02:30:00+00:00"))  # 23:30 of the 1st there

    assert opened(open_run(scheduled(), replace(deps("2026-12-01T06:00", settings=settings), clock=clock)))


@pytest.mark.parametrize("month", ["2026-11", "2027-01"])
def test_a_month_other_than_the_present_is_refused_in_one_line(month):
    with pytest.raises(BadRequest) as refused:
        open_run(asked(month=BillingMonth.parse(month)), deps("2026-12-01T06:00"))

    assert str(refused.value) == (
        f"A competência {month} não pode ser faturada em 01/12/2026: o Omie fatura sempre o mês corrente "
        "(2026-12). Use --preview para ver o plano de outro mês."
    )


def test_another_month_may_be_previewed_and_takes_no_run():
    month = deps("2026-12-20T06:00")

    answer = open_run(asked(month=BillingMonth(2027, 1), preview=True), month)

    assert opened(answer) == ["acme", "nimbus"]
    assert {company["generation"] for company in answer["companies"]} == {0}
    assert month.runs.list_recent() == []


def test_a_preview_is_given_while_a_run_is_under_way():
    month = deps("2026-12-01T06:00", running={f"{ARN}first"})
    open_run(scheduled("first"), month)

    assert opened(open_run(asked("second", preview=True), month)) == ["acme", "nimbus"]


def test_an_unknown_company_is_refused_in_one_line_that_names_the_known_ones():
    month = deps("2026-12-01T06:00")

    with pytest.raises(BadRequest) as refused:
        open_run(asked(companies=("acme", "acmee")), month)

    assert str(refused.value) == "Empresa desconhecida: acmee. As configuradas são: acme, nimbus."
    assert month.runs.list_recent() == []


@pytest.mark.parametrize(("companies", "per_minute"), [(1, 240), (2, 240), (3, 160), (4, 120)])
def test_companies_share_the_calls_that_omie_takes_from_one_address(companies, per_minute):
    settings = DEMO.model_copy(update={"companies": {f"company-{n}": DEMO.companies["acme"] for n in range(companies)}})

    answer = open_run(asked(), deps("2026-12-01T06:00", settings=settings))

    assert {company["contracts_per_minute"] for company in answer["companies"]} == {per_minute}


def test_an_event_says_what_is_wanted_and_by_whom():
    request = RunRequest.from_event(
        {
            "execution": ARN + "x",
            "input": {
                "trigger": "operator",
                "month": "2026-12",
                "companies": ["acme"],
                "preview": True,
                "who": "ana",
            },
        }
    )

    assert request == asked("x", month=BillingMonth(2026, 12), companies=("acme",), preview=True, who="ana")


def test_an_event_without_input_is_everything_due_this_month():
    request = RunRequest.from_event({"execution": ARN + "x", "input": {"trigger": "schedule"}})

    assert request == scheduled("x")


def test_a_month_that_is_none_is_refused_before_anything_is_opened():
    with pytest.raises(MonthError, match=r"'2026-13'|year 2026, month 13"):
        RunRequest.from_event({"execution": ARN + "x", "input": {"month": "2026-13"}})
