"""What CloudFormation is given once SAM has translated the template: SAM adds roles, policies and stages of its own."""

import json
import re
from typing import Any

import pytest

Resources = dict[str, dict[str, Any]]
SAMS_OWN = {
    "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole": "its log lines",
    "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess": "its traces",
}
"""Managed policies of every function's role, and what each is for. None reaches a queue, a table or a bucket."""
TAKE = {"sqs:ReceiveMessage", "sqs:DeleteMessage"}


def _of(resources: Resources, kind: str) -> Resources:
    return {name: found["Properties"] for name, found in resources.items() if found["Type"] == kind}


def _statements(role: dict[str, Any]) -> list[tuple[list[str], list[Any]]]:
    found = []
    for policy in role.get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            actions, resources = (
                value if isinstance(value, list) else [value] for value in (statement["Action"], statement["Resource"])
            )
            found.append((actions, resources))
    return found


def _queue(arn: Any) -> str:
    got = arn["Fn::GetAtt"]
    return str(got[0] if isinstance(got, list) else got.partition(".")[0])


def test_one_stage_is_published_and_it_is_throttled_and_logged(translated: Resources) -> None:
    (stage,) = _of(translated, "AWS::ApiGateway::Stage").values()
    assert stage["StageName"] == "v1"
    assert stage["MethodSettings"][0]["ThrottlingRateLimit"] > 0
    assert stage["AccessLogSetting"]["DestinationArn"]
    for deployment in _of(translated, "AWS::ApiGateway::Deployment").values():
        assert "StageName" not in deployment  # "Stage", which SAM makes of its own accord without OpenApiVersion


def test_the_alarms_name_the_api_as_cloudwatch_knows_it(translated: Resources) -> None:
    (api,) = _of(translated, "AWS::ApiGateway::RestApi").values()
    assert api["Body"]["info"]["title"] == {"Ref": "AWS::StackName"}
    named = [
        dimension
        for alarm in _of(translated, "AWS::CloudWatch::Alarm").values()
        for metric in alarm.get("Metrics", [])
        for dimension in metric.get("MetricStat", {}).get("Metric", {}).get("Dimensions", [])
        if dimension["Name"] == "ApiName"
    ]
    assert [dimension["Value"] for dimension in named] == [{"Ref": "AWS::StackName"}] * 2


def test_no_role_has_a_ready_made_policy_but_for_logs_and_traces(translated: Resources) -> None:
    for name, role in _of(translated, "AWS::IAM::Role").items():
        assert set(role.get("ManagedPolicyArns", [])) <= set(SAMS_OWN), name


def test_a_worker_takes_messages_out_of_its_own_queue_alone(translated: Resources) -> None:
    reads = {
        source["FunctionName"]["Ref"]: _queue(source["EventSourceArn"])
        for source in _of(translated, "AWS::Lambda::EventSourceMapping").values()
    }
    assert len(reads) == 6
    takes: dict[str, set[str]] = {}
    for name, role in _of(translated, "AWS::IAM::Role").items():
        queues = {_queue(arn) for actions, arns in _statements(role) if TAKE & set(actions) for arn in arns}
        if queues:
            takes[name.removesuffix("Role")] = queues
    assert takes.pop("RedriveFunction") == {"OmieWritesDlq"}
    assert takes == {function: {queue} for function, queue in reads.items()}


def test_every_queue_is_read_by_so_many_at_a_time(translated: Resources) -> None:
    for name, source in _of(translated, "AWS::Lambda::EventSourceMapping").items():
        assert 2 <= source["ScalingConfig"]["MaximumConcurrency"] <= 10, name


def test_a_failed_sweep_is_not_repeated_blindly_and_somebody_hears_of_it(translated: Resources) -> None:
    schedules = _of(translated, "AWS::Scheduler::Schedule").values()
    asked = {_queue(schedule["Target"]["Arn"]) for schedule in schedules if "Fn::GetAtt" in schedule["Target"]["Arn"]}
    configs = {
        config["FunctionName"]["Ref"]: config for config in _of(translated, "AWS::Lambda::EventInvokeConfig").values()
    }
    assert set(configs) == asked
    roles = _of(translated, "AWS::IAM::Role")
    for function, config in configs.items():
        assert config["MaximumRetryAttempts"] == 0, function
        assert _queue(config["DestinationConfig"]["OnFailure"]["Destination"]) == "SweepsDlq", function
        allowed = [arns for actions, arns in _statements(roles[f"{function}Role"]) if "sqs:SendMessage" in actions]
        assert any(_queue(arn) == "SweepsDlq" for arns in allowed for arn in arns), function


@pytest.mark.parametrize(
    "function", ["BillBatchFunction", "ChangeContractFunction", "ChurnContractFunction", "SyncReceivablesFunction"]
)
def test_our_own_loops_are_not_cut_after_sixteen_hops(translated: Resources, function: str) -> None:
    assert translated[function]["Properties"]["RecursiveLoop"] == "Allow"


# --- people are told


def test_an_alarm_may_use_the_topics_key_and_publish(translated: Resources) -> None:
    """CloudWatch cannot use alias/aws/sns: the alarm changes its state, and nobody hears of it."""
    (topic,) = _of(translated, "AWS::SNS::Topic").values()
    key = translated[topic["KmsMasterKeyId"]["Ref"]]["Properties"]
    granted = [
        statement
        for statement in key["KeyPolicy"]["Statement"]
        if statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    ]
    assert [set(statement["Action"]) for statement in granted] == [{"kms:Decrypt", "kms:GenerateDataKey*"}]
    (policy,) = _of(translated, "AWS::SNS::TopicPolicy").values()
    (allowed,) = policy["PolicyDocument"]["Statement"]
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    for statement in (*granted, allowed):
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_who_publishes_may_use_the_topics_key(translated: Resources) -> None:
    publishers = 0
    for name, role in _of(translated, "AWS::IAM::Role").items():
        statements = _statements(role)
        if any("sns:Publish" in actions for actions, _ in statements):
            publishers += 1
            key = {"Fn::GetAtt": ["NotificationKey", "Arn"]}
            assert any({"kms:Decrypt", "kms:GenerateDataKey"} <= set(a) and key in r for a, r in statements), name
    assert publishers == 4


def test_the_dashboard_can_be_drawn_and_shows_every_queue_that_a_person_must_empty(translated: Resources) -> None:
    (dashboard,) = _of(translated, "AWS::CloudWatch::Dashboard").values()
    text = re.sub(r"\$\{[A-Za-z:.]+\}", "x", dashboard["DashboardBody"]["Fn::Sub"]).replace("${!", "${")
    widgets = json.loads(text)["widgets"]
    named = set(re.findall(r"\$\{(\w+)\.QueueName\}", dashboard["DashboardBody"]["Fn::Sub"]))
    assert named >= {name for name in _of(translated, "AWS::SQS::Queue") if name.endswith("Dlq")}
    first = [metric[0] for widget in widgets[1:] for metric in widget["properties"]["metrics"]]
    assert {one for one in first if isinstance(one, str)} == {"AWS/States", "AWS/SQS", "AWS/ApiGateway"}
    drawn = [one["expression"] for one in first if isinstance(one, dict)]
    assert drawn
    assert all("""SEARCH('{"billing-ops",company,service} MetricName=""" in one for one in drawn), (
        "as Powertools names them"
    )
