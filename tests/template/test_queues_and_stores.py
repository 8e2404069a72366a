"""What must outlive a mistake: queues, tables, the bucket, and who is told."""

import importlib.util
from typing import Any

from billing.bill_batch import MAX_RECEIVES

FOURTEEN_DAYS = 14 * 24 * 3600
NOT_THE_TRUTH = {"LanesTable", "WebhooksTable"}
"""Rate slots of the present minute: lost, they begin anew, and their backup would restore a past that is of no use.
Webhooks are hints, and personal data: a backup would keep them longer than their 30 days."""
FORGETTING = {"WebhooksTable"}


def test_a_message_stays_invisible_six_times_as_long_as_its_function_may_run(
    functions: dict[str, Any], resources: dict[str, Any]
) -> None:
    sources = _queue_sources(functions)
    assert sources, "no function reads a queue"
    for folder, queue, _ in sources:
        visibility = resources[queue]["Properties"]["VisibilityTimeout"]
        assert visibility >= 6 * functions[folder]["Timeout"], folder


def test_a_queue_that_is_read_gives_up_on_a_message_only_after_five_attempts(
    functions: dict[str, Any], resources: dict[str, Any]
) -> None:
    for _, queue, _ in _queue_sources(functions):
        assert resources[queue]["Properties"]["RedrivePolicy"]["maxReceiveCount"] >= 5, queue


def test_the_worker_knows_which_receive_is_the_last(resources: dict[str, Any]) -> None:
    assert resources["OmieWritesQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVES


def test_a_failed_message_does_not_take_its_neighbours_with_it(functions: dict[str, Any]) -> None:
    for folder, _, source in _queue_sources(functions):
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], folder


def test_the_handler_that_counts_on_single_messages_gets_single_messages(functions: dict[str, Any]) -> None:
    sizes = {folder: source["BatchSize"] for folder, _, source in _queue_sources(functions)}
    assert {folder: sizes[folder] for folder in ("bill_batch", "sync_receivables")} == {
        "bill_batch": 1,
        "sync_receivables": 1,
    }


def test_omie_writes_are_serial_per_company_and_so_their_queue_is_fifo(resources: dict[str, Any]) -> None:
    assert resources["OmieWritesQueue"]["Properties"]["FifoQueue"] is True
    assert resources["OmieWritesDlq"]["Properties"]["FifoQueue"] is True


def test_dead_letters_are_kept_fourteen_days_and_seen(of_type: Any) -> None:
    dead = _dead_letter_queues(of_type)
    assert dead == {"LivingDlq", "OmieWritesDlq", "ScheduleDlq"}
    queues = of_type("AWS::SQS::Queue")
    watched = {
        dimension["Value"]["Fn::GetAtt"].partition(".")[0]
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        # not NumberOfMessagesSent, which misses what SQS itself moves there
        if alarm["Namespace"] == "AWS/SQS" and alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        for dimension in alarm["Dimensions"]
    }
    for name in dead:
        assert queues[name]["MessageRetentionPeriod"] == FOURTEEN_DAYS, name
        assert name in watched, name


def test_every_alarm_is_told_to_a_person(of_type: Any) -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")
    assert len(alarms) >= 3
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
        assert topic["KmsMasterKeyId"], name


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


def _queue_sources(functions: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(folder, queue, the event source's properties)"""
    return [
        (folder, event["Properties"]["Queue"]["Fn::GetAtt"].partition(".")[0], event["Properties"])
        for folder, function in functions.items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
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
    return {arn["Fn::GetAtt"].partition(".")[0] for arn in [*from_queues, *from_schedules]}


def test_what_batches_remember_of_omie_is_gone_after_a_day(resources: Any) -> None:
    """Answers hold contracts with their customers' e-mail; nothing needs them after a minute."""
    rules = resources["DataBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (looks,) = [rule for rule in rules if rule["Prefix"] == "looks/"]
    assert (looks["Status"], looks["ExpirationInDays"]) == ("Enabled", 1)
    assert looks["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
