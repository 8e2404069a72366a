"""Who may do what: one role a function, exact actions, exact resources."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

Statement = tuple[str, list[str], list[Any], str]

ANY_RESOURCE = {
    "states:SendTaskSuccess": "the task token is the permission; IAM checks no resource for it",
    "states:SendTaskFailure": "the task token is the permission; IAM checks no resource for it",
    "logs:CreateLogDelivery": "log delivery has no resource-level permissions",
    "logs:GetLogDelivery": "log delivery has no resource-level permissions",
    "logs:UpdateLogDelivery": "log delivery has no resource-level permissions",
    "logs:DeleteLogDelivery": "log delivery has no resource-level permissions",
    "logs:ListLogDeliveries": "log delivery has no resource-level permissions",
    "logs:PutResourcePolicy": "log delivery has no resource-level permissions",
    "logs:DescribeResourcePolicies": "log delivery has no resource-level permissions",
    "logs:DescribeLogGroups": "log delivery has no resource-level permissions",
    **dict.fromkeys(
        (
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:FilterLogEvents",
            "logs:GetLogEvents",
            "logs:PutLogEvents",
        ),
        "API Gateway tries its account's role on all log groups, its own API's or not, before it takes it",
    ),
    "xray:PutTraceSegments": "X-Ray has no resource-level permissions",
    "xray:PutTelemetryRecords": "X-Ray has no resource-level permissions",
    "xray:GetSamplingRules": "X-Ray has no resource-level permissions",
    "xray:GetSamplingTargets": "X-Ray has no resource-level permissions",
}

OPEN_ENDED = {
    "${DataBucket.Arn}/runs/*": "plans and batches are named by month, generation and company",
    "${DataBucket.Arn}/reports/*": "reports are named by month and execution",
    "${DataBucket.Arn}/looks/*": "one a company",
    "${DataBucket.Arn}/discarded/*": "named by the letter's id",
    "secret:${SecretsPrefix}/*": "Jestor's secret and every company's; Secrets Manager adds six characters",
    "secret:${SecretsPrefix}/omie/*": "one secret a company; Secrets Manager adds six characters",
    "secret:${SecretsPrefix}/jestor-*": "one secret; Secrets Manager adds six characters",
    "secret:${SecretsPrefix}/webhooks-*": "one secret; Secrets Manager adds six characters",
    "execution:${AWS::StackName}-billing-run:*": "executions of our own state machine",
    "execution:${AWS::StackName}-billing-run/*": "executions of its distributed Map",
}
"""Ends of the resource names that may hold a star, and why."""


@pytest.fixture(scope="module")
def statements(of_type: Any) -> list[Statement]:
    """(owner, actions, resources, effect) of every statement of every identity policy."""
    return [
        (owner, _list(statement["Action"]), _list(statement["Resource"]), statement["Effect"])
        for owner, statement in _all_statements(of_type)
    ]


def test_each_function_has_a_role_of_its_own(template: dict[str, Any], functions: dict[str, Any]) -> None:
    assert "Role" not in template["Globals"]["Function"]
    for folder, function in functions.items():
        assert "Role" not in function, folder  # SAM makes one from its Policies
        assert function["Policies"], folder


def test_no_function_takes_a_ready_made_policy(functions: dict[str, Any]) -> None:
    for folder, function in functions.items():
        assert all(isinstance(policy, dict) and set(policy) == {"Statement"} for policy in function["Policies"]), folder


def test_no_action_has_a_star(statements: list[Statement]) -> None:
    for owner, actions, _, effect in statements:
        assert effect == "Allow"
        for action in actions:
            assert re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action), f"{owner}: {action}"


def test_a_star_for_a_resource_has_a_reason(statements: list[Statement]) -> None:
    used: set[str] = set()
    for owner, actions, resources, _ in statements:
        if "*" in resources:
            assert set(actions) <= set(ANY_RESOURCE), f"{owner}: {actions}"
            used |= set(actions)
    assert used == set(ANY_RESOURCE), "a reason for something nobody asks for any more"


def test_a_star_in_a_resource_has_a_reason(statements: list[Statement]) -> None:
    used: set[str] = set()
    for owner, _, resources, _ in statements:
        for resource in resources:
            text = resource["Fn::Sub"] if isinstance(resource, dict) and "Fn::Sub" in resource else ""
            if "*" in text:
                reasons = [end for end in OPEN_ENDED if text.endswith(end)]
                assert reasons, f"{owner}: {text}"
                used |= set(reasons)
    assert used == set(OPEN_ENDED), "a reason for something nobody asks for any more"


def test_only_the_billing_worker_answers_the_run(statements: list[Statement]) -> None:
    for owner, actions, _, _ in statements:
        if "states:SendTaskSuccess" in actions:
            assert owner == "BillBatchFunction"


def test_the_lanes_are_written_by_whoever_calls_omie(statements: list[Statement]) -> None:
    writers = {owner for owner, _, resources, _ in statements if {"Fn::GetAtt": "LanesTable.Arn"} in resources}
    assert writers == {
        "BillBatchFunction", "DeliverInvoiceFunction", "PlanCompanyFunction", "RedriveFunction", "SettleCompanyFunction", "SweepContractsFunction",
        "SweepInvoicesFunction", "SyncReceivablesFunction",
    }  # fmt: skip


def test_only_the_repair_takes_letters_out_of_the_dead_letter_queue(statements: list[Statement]) -> None:
    letters = {
        owner
        for owner, actions, resources, _ in statements
        if set(actions) & {"sqs:ReceiveMessage", "sqs:DeleteMessage"}
        and {"Fn::GetAtt": "OmieWritesDlq.Arn"} in resources
    }
    assert letters == {"RedriveFunction"}


def test_only_the_worker_settle_and_the_repair_write_to_the_ledger(statements: list[Statement]) -> None:
    writers = {
        owner
        for owner, actions, resources, _ in statements
        if {"Fn::GetAtt": "LedgerTable.Arn"} in resources
        and set(actions) & {"dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:DeleteItem"}
    }
    # a churn holds the charge of the month that nobody has claimed, a reactivation releases it
    assert writers == {"BillBatchFunction", "ChurnContractFunction", "RedriveFunction", "SettleCompanyFunction"}


def test_a_hold_is_put_by_a_churn_and_lifted_by_who_has_read_jestor(statements: list[Statement]) -> None:
    doers = {
        (owner, action)
        for owner, actions, resources, _ in statements
        for action in actions
        if resources == [{"Fn::GetAtt": "HoldsTable.Arn"}] and action in {"dynamodb:PutItem", "dynamodb:DeleteItem"}
    }
    assert doers == {
        ("ReceiveWebhookFunction", "dynamodb:PutItem"),
        ("ChurnContractFunction", "dynamodb:PutItem"),
        ("ChurnContractFunction", "dynamodb:DeleteItem"),
    }


def test_nobody_may_delete_a_charge_or_a_plan(statements: list[Statement]) -> None:
    for owner, actions, resources, _ in statements:
        if owner == "ChurnContractFunction" and resources == [{"Fn::GetAtt": "HoldsTable.Arn"}]:
            continue
        assert not [
            action
            for action in actions
            if action.partition(":")[2].startswith(("Delete", "Purge"))
            and not action.startswith("logs:")
            and action != "sqs:DeleteMessage"  # one letter; the ledger keeps what it spoke of
        ], owner


def test_a_function_that_calls_omie_reads_secrets_and_no_other_does(
    functions: dict[str, Any], statements: list[Statement]
) -> None:
    readers = {owner for owner, actions, _, _ in statements if "secretsmanager:GetSecretValue" in actions}
    callers = {
        "".join(map(str.capitalize, folder.split("_"))) + "Function"
        for folder, function in functions.items()
        if "SECRETS_PREFIX" in function.get("Environment", {}).get("Variables", {})
    }
    assert readers == callers


def _all_statements(of_type: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, function in of_type("AWS::Serverless::Function").items():
        for policy in function["Policies"]:
            yield from ((name, statement) for statement in policy["Statement"])
    for name, role in of_type("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role, name
        for policy in role["Policies"]:
            yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
