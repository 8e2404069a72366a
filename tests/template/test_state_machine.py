"""The state machine: every step timed and caught, retried where that is safe, and runnable on AWS and emulator alike."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOKEN = ".waitForTaskToken"
LAMBDAS_OWN_TROUBLE = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException",
}
CRASH = {"Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory", "States.Timeout"}
"""The function died or was too slow, by its runtimes' names, old and new. Retried only for steps that read the books and
repeat without harm."""
REPEATABLE_AFTER_A_CRASH = {"Settle", "CloseRun"}

State = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def states(definition: dict[str, Any]) -> list[State]:
    return list(_walk(definition))


@pytest.fixture(scope="module")
def tasks(states: list[State]) -> list[State]:
    return [(name, state) for name, state in states if state["Type"] == "Task"]


def test_the_story_of_the_run_is_told_by_its_tasks(tasks: list[State]) -> None:
    assert [name for name, _ in tasks] == [
        "OpenRun", "PlanCompany", "RequestApproval", "SendBatch", "Settle", "CloseRun",
    ]  # fmt: skip


def test_every_task_has_a_time_out(tasks: list[State]) -> None:
    for name, task in tasks:
        assert task["TimeoutSeconds"] > 0, name


def test_every_task_catches_everything(tasks: list[State]) -> None:
    for name, task in tasks:
        (catch,) = task["Catch"]
        assert catch["ErrorEquals"] == ["States.ALL"], name
        assert catch["ResultPath"] == "$.error", name


def test_a_step_is_retried_when_lambda_had_trouble_of_its_own(tasks: list[State]) -> None:
    for name, task in tasks:
        if not task["Resource"].endswith(TOKEN):
            retry, *more = task["Retry"]
            allowed = LAMBDAS_OWN_TROUBLE | (CRASH if name in REPEATABLE_AFTER_A_CRASH else set())
            assert set(retry["ErrorEquals"]) == allowed, name
            assert retry["JitterStrategy"] == "FULL", name
            assert retry["BackoffRate"] > 1, name
            assert retry["MaxAttempts"] <= 6, name
            names = [each["ErrorEquals"] for each in more]  # whatever else it was: twice, some minutes apart
            assert names == ([["States.TaskFailed"]] if name in REPEATABLE_AFTER_A_CRASH else []), name
            assert all(each["MaxAttempts"] <= 2 for each in more), name


def test_a_batch_is_never_sent_twice_by_itself(tasks: list[State]) -> None:
    """A second message, while the first is still being worked on."""
    assert "Retry" not in dict(tasks)["SendBatch"]


def test_a_question_is_asked_again_only_when_lambda_did_not_take_it(tasks: list[State]) -> None:
    """The answer goes to the newest token; who answers the first mail answers the plan, by month and company."""
    (retry,) = dict(tasks)["RequestApproval"]["Retry"]
    assert set(retry["ErrorEquals"]) == LAMBDAS_OWN_TROUBLE


def test_a_step_outlasts_its_function(tasks: list[State], functions: dict[str, Any]) -> None:
    for name, task in tasks:
        if "FunctionName" in task["Parameters"] and not task["Resource"].endswith(TOKEN):
            resource = re.fullmatch(r"\$\{(\w+)Function\}", task["Parameters"]["FunctionName"])
            assert resource
            folder = re.sub(r"(?<!^)(?=[A-Z])", "_", resource[1]).lower()
            assert task["TimeoutSeconds"] > functions[folder]["Timeout"], name


def test_a_batch_is_waited_for_longer_than_the_queue_may_deliver_it(
    tasks: list[State], resources: dict[str, Any]
) -> None:
    queue = resources["OmieWritesQueue"]["Properties"]
    longest = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"]
    assert dict(tasks)["SendBatch"]["TimeoutSeconds"] > longest


def test_a_failing_company_never_stops_the_others(definition: dict[str, Any]) -> None:
    inside = definition["States"]["Companies"]["ItemProcessor"]["States"]
    for name, state in inside.items():
        assert state["Type"] != "Fail", name
        for catch in state.get("Catch", []):
            assert catch["Next"] in {"CompanyFailed", "Settle"}, name


def test_what_was_sent_is_always_settled(definition: dict[str, Any]) -> None:
    inside = definition["States"]["Companies"]["ItemProcessor"]["States"]
    billing = inside["BillBatches"]
    assert billing["Next"] == "Settle"
    assert [catch["Next"] for catch in billing["Catch"]] == ["Settle"]


def test_the_queue_is_kept_short_so_that_stopping_the_run_stops_the_billing(definition: dict[str, Any]) -> None:
    billing = definition["States"]["Companies"]["ItemProcessor"]["States"]["BillBatches"]
    assert billing["MaxConcurrency"] == 2
    send = billing["ItemProcessor"]["States"]["SendBatch"]
    assert send["Parameters"]["MessageGroupId.$"] == "$.company"


def test_every_next_exists_and_every_state_is_reached(definition: dict[str, Any]) -> None:
    for machine in _machines(definition):
        names = set(machine["States"])
        reached = {machine["StartAt"]} | {next_ for state in machine["States"].values() for next_ in _next(state)}
        assert reached == names


def test_an_unbalanced_run_ends_failed(definition: dict[str, Any]) -> None:
    states = definition["States"]
    assert states["Balanced"]["Default"] == "Unbalanced"
    assert states["Unbalanced"]["Type"] == "Fail"


def test_every_substitution_is_given_and_used(of_type: Any, root: Path) -> None:
    (machine,) = of_type("AWS::Serverless::StateMachine").values()
    text = (root / machine["DefinitionUri"]).read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(machine["DefinitionSubstitutions"])


def test_the_definition_keeps_to_what_the_emulator_runs_as_aws_does(
    definition: dict[str, Any], states: list[State]
) -> None:
    assert definition.get("QueryLanguage", "JSONPath") == "JSONPath"
    for name, state in states:
        assert "ItemBatcher" not in state, name  # the plan writes batches, 25 contracts a line
        assert "ToleratedFailureCount" not in state, name
        if "ItemReader" in state:
            assert state["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}, name


def test_the_schedule_thinks_in_sao_paulo_and_keeps_what_it_could_not_start(
    of_type: Any, template: dict[str, Any]
) -> None:
    for schedule in of_type("AWS::Scheduler::Schedule").values():
        assert schedule["ScheduleExpressionTimezone"] == "America/Sao_Paulo"
        assert schedule["State"] == {"Ref": "ScheduleState"}
        assert schedule["Target"]["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": "ScheduleDlq.Arn"}}
        assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert template["Parameters"]["ScheduleState"]["Default"] == "DISABLED"


def _machines(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield machine
    for state in machine["States"].values():
        if "ItemProcessor" in state:
            yield from _machines(state["ItemProcessor"])


def _walk(machine: dict[str, Any]) -> Iterator[State]:
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from _walk(state["ItemProcessor"])


def _next(state: dict[str, Any]) -> Iterator[str]:
    for part in (state, *state.get("Catch", []), *state.get("Choices", [])):
        if "Next" in part:
            yield part["Next"]
    if "Default" in state:
        yield state["Default"]
