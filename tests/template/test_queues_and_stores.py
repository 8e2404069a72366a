"""What must outlive a mistake: queues, tables, the bucket, and who is told."""

import importlib.util
from typing import Any

import pytest

from billing.bill_batch import MAX_RECEIVES

FOURTEEN_DAYS = 14 * 24 * 3600
NOT_THE_TRUTH = {"LanesTable", "WebhooksTable"}
"""Rate slots of the present minute: lost, they begin anew, and their backup would restore a past that is of no use.
Webhooks are hints, and personal data: a backup would keep them longer than their 30 days."""
FORGETTING = {"WebhooksTable"}


def test_a_message_stays_invisible_six_times_as_long_as_its_function_may_run(
    functions: dict[str, Any], resources: dict[str, Any]
) -> None:
    sources = _queue_sources(resources)
    assert sources, "no function reads a queue"
    for folder, queue, _ in sources:
        visibility = resources[queue]["Properties"]["VisibilityTimeout"]
        assert visibility >= 6 * functions[folder]["Timeout"], folder


def test_a_queue_that_is_read_gives_up_on_a_message_only_after_five_attempts(resources: dict[str, Any]) -> None:
    for _, queue, _ in _queue_sources(resources):
        assert resources[queue]["Properties"]["RedrivePolicy"]["maxReceiveCount"] >= 5, queue


def test_the_worker_knows_which_receive_is_the_last(resources: dict[str, Any]) -> None:
    assert resources["OmieWritesQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVES


def test_a_failed_message_does_not_take_its_neighbours_with_it(resources: dict[str, Any]) -> None:
    for folder, _, source in _queue_sources(resources):
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], folder


def test_the_handler_that_counts_on_single_messages_gets_single_messages(resources: dict[str, Any]) -> None:
    sizes = {folder: source["BatchSize"] for folder, _, source in _queue_sources(resources)}
    assert {folder: sizes[folder] for folder in ("bill_batch", "sync_receivables")} == {
        "bill_batch": 1,
        "sync_receivables": 1,
    }


def test_omie_writes_are_serial_per_company_and_so_their_queue_is_fifo(resources: dict[str, Any]) -> None:
    assert resources["OmieWritesQueue"]["Properties"]["FifoQueue"] is True
    assert resources["OmieWritesDlq"]["Properties"]["FifoQueue"] is True


def test_dead_letters_are_kept_fourteen_days_and_seen(of_type: Any) -> None:
    dead = _dead_letter_queues(of_type)
    assert dead == {"LivingDlq", "OmieWritesDlq", "ScheduleDlq", "SweepsDlq"}
    queues = of_type("AWS::SQS::Queue")
    for name in dead:
        assert queues[name]["MessageRetentionPeriod"] == FOURTEEN_DAYS, name
        # not NumberOfMessagesSent, which misses what SQS itself moves there
        for metric in ("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"):
            assert ("AWS/SQS", metric, f"{name}.QueueName") in _watched(of_type), name


def test_every_queue_that_is_read_is_watched_for_standing_still(of_type: Any, resources: dict[str, Any]) -> None:
    for _, queue, _ in _queue_sources(resources):
        assert ("AWS/SQS", "ApproximateAgeOfOldestMessage", f"{queue}.QueueName") in _watched(of_type), queue


def test_every_function_is_watched_for_errors_and_for_not_being_let_begin(of_type: Any) -> None:
    for name in of_type("AWS::Serverless::Function"):
        for metric in ("Errors", "Throttles"):
            assert ("AWS/Lambda", metric, name) in _watched(of_type), name


@pytest.mark.parametrize(
    "metric", ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionsSucceeded"]
)
def test_a_run_that_ends_badly_or_not_at_all_is_told(of_type: Any, metric: str) -> None:
    assert ("AWS/States", metric, "BillingRunStateMachine") in _watched(of_type)


def test_what_stands_is_told_again_each_day(of_type: Any) -> None:
    """An alarm speaks when its state changes: one letter that waits for days would keep the next one quiet."""
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        if name == "RunMissingAlarm":  # it looks at whole days
            assert alarm["TreatMissingData"] == "breaching"
            continue
        told = alarm["Metrics"][-1]
        assert told["Expression"].startswith("IF(HOUR(m1) == 12 AND MINUTE(m1) < 5, 0, "), name
        assert not any(metric["ReturnData"] for metric in alarm["Metrics"][:-1]), name
        assert len(alarm["Metrics"]) <= 10, name  # of CloudWatch


def _watched(of_type: Any) -> set[tuple[str, str, str]]:
    """(namespace, metric, whose) of every alarm."""
    found = set()
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alarm]
        for metric in metrics:
            whose = metric["Dimensions"][0]["Value"]
            found.add((metric["Namespace"], metric["MetricName"], next(iter(whose.values()))))
    return found


def test_every_alarm_is_told_to_a_person(of_type: Any) -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")
    assert len(alarms) >= 16
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == [{"Ref": "NotificationTopic"}], name
        assert "docs/runbook.md" in alarm["AlarmDescription"], name


def test_everything_at_rest_is_encrypted(of_type: Any) -> None:
    for name, queue in of_type("AWS::SQS::Queue").items():
        assert queue["SqsManagedSseEnabled"] is True, name
    for name, table in of_type("AWS::DynamoDB::Table").items():
        assert table["SSESpecification"]["SSEEnabled"] is True, name
    for name, bucket in of_type("AWS::S3::Bucket").items():
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], name
    for name, topic in of_type("AWS::SNS::Topic").items():
        assert topic["KmsMasterKeyId"] == {"Ref": "NotificationKey"}, name


def test_what_cannot_be_made_again_survives_the_stack(resources: dict[str, Any]) -> None:
    kept = {
        name: found for name, found in resources.items() if found["Type"] in {"AWS::DynamoDB::Table", "AWS::S3::Bucket"}
    }
    assert len(kept) >= 5
    for name, found in kept.items():
        assert found["DeletionPolicy"] == "Retain", name
        assert found["UpdateReplacePolicy"] == "Retain", name


def test_tables_of_record_can_be_restored_and_not_be_dropped(of_type: Any) -> None:
    for name, table in of_type("AWS::DynamoDB::Table").items():
        if name not in NOT_THE_TRUTH:
            assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name
            assert table["DeletionProtectionEnabled"] is True, name


def test_nothing_but_raw_webhooks_is_forgotten(of_type: Any) -> None:
    tables = of_type("AWS::DynamoDB::Table")
    assert {name for name, table in tables.items() if "TimeToLiveSpecification" in table} == FORGETTING
    assert tables["WebhooksTable"]["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_the_bucket_is_private_versioned_and_speaks_tls_only(of_type: Any) -> None:
    policies = of_type("AWS::S3::BucketPolicy").values()
    tls_only = {
        policy["Bucket"]["Ref"]
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"]["Bool"] == {"aws:SecureTransport": "false"}
    }
    for name, bucket in of_type("AWS::S3::Bucket").items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, name
        assert name in tls_only


def test_the_contract_tests_try_the_tables_of_the_template(of_type: Any, root: Any) -> None:
    spec = importlib.util.spec_from_file_location("contract_conftest", root / "tests" / "contract" / "conftest.py")
    assert spec
    assert spec.loader
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    shape = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    deployed = {
        name.removesuffix("Table").lower(): {part: table[part] for part in shape if part in table}
        for name, table in of_type("AWS::DynamoDB::Table").items()
    }
    assert deployed == conftest.TABLES


def _queue_sources(resources: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(folder, queue, the event source's properties)"""
    return [
        (
            resources[source["FunctionName"]["Ref"]]["Properties"]["CodeUri"].rpartition("/")[2],
            source["EventSourceArn"]["Fn::GetAtt"].partition(".")[0],
            source,
        )
        for source in (
            found["Properties"] for found in resources.values() if found["Type"] == "AWS::Lambda::EventSourceMapping"
        )
    ]


def _dead_letter_queues(of_type: Any) -> set[str]:
    from_queues = [
        queue["RedrivePolicy"]["deadLetterTargetArn"]
        for queue in of_type("AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue
    ]
    from_schedules = [
        schedule["Target"]["DeadLetterConfig"]["Arn"] for schedule in of_type("AWS::Scheduler::Schedule").values()
    ]
    from_sweeps = [
        function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"]
        for function in of_type("AWS::Serverless::Function").values()
        if "EventInvokeConfig" in function
    ]
    return {arn["Fn::GetAtt"].partition(".")[0] for arn in [*from_queues, *from_schedules, *from_sweeps]}


def test_what_batches_remember_of_omie_is_gone_after_a_day(resources: Any) -> None:
    """Answers hold contracts with their customers' e-mail; nothing needs them after a minute."""
    rules = resources["DataBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (looks,) = [rule for rule in rules if rule["Prefix"] == "looks/"]
    assert (looks["Status"], looks["ExpirationInDays"]) == ("Enabled", 1)
    assert looks["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
