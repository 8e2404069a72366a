import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from billing.store.queues import LONGEST_HIDDEN, Queues
from billing.store.task import CAUSE_LENGTH, ERROR_LENGTH, TaskCallbacks
from simulators.memory_store import MemoryQueues, MemoryTasks


def test_a_parked_contract_is_one_message_however_often_it_is_parked(stores):
    message = {"contract": "JST-12", "class": "fiscal", "text": "Código de serviço inválido"}
    stores.queues.park(message, "acme", "JST-12#2026-12#mensalidade#a1")
    stores.queues.park(message, "acme", "JST-12#2026-12#mensalidade#a1")
    assert stores.parked() == [message]


def test_in_memory_the_five_minutes_pass_with_the_simulations_clock():
    now = [0.0]
    queues = MemoryQueues(now=lambda: now[0])
    for moment in (0.0, 299.9, 300.0):
        now[0] = moment
        queues.send("writes", {"n": moment}, "acme", "same")
    assert queues.sent == {"writes": [("acme", {"n": 0.0}), ("acme", {"n": 300.0})]}
    assert queues.parked == []


@pytest.fixture
def sfn():
    return boto3.client("stepfunctions", region_name="sa-east-1", aws_access_key_id="x", aws_secret_access_key="x")


CALLS = {
    "success": ("send_task_success", {"output": {"billed": 25}}),
    "failure": ("send_task_failure", {"error": "Blocked", "cause": "425"}),
    "heartbeat": ("send_task_heartbeat", {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_waiting_task_hears_the_answer(sfn, name):
    method, arguments = CALLS[name]
    with Stubber(sfn) as stub:
        stub.add_response(method, {})
        assert getattr(TaskCallbacks(sfn), name)("token", **arguments)
    memory = MemoryTasks()
    memory.waiting.add("token")
    assert getattr(memory, name)("token", **arguments)


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
@pytest.mark.parametrize("name", CALLS)
def test_nobody_waiting_is_told_not_raised(sfn, name, code):
    method, arguments = CALLS[name]
    with Stubber(sfn) as stub:
        stub.add_client_error(method, service_error_code=code)
        assert not getattr(TaskCallbacks(sfn), name)("token", **arguments)
    memory = MemoryTasks()
    assert not getattr(memory, name)("token", **arguments)


def test_any_other_refusal_is_raised(sfn):
    with Stubber(sfn) as stub:
        stub.add_client_error("send_task_success", service_error_code="AccessDeniedException")
        with pytest.raises(ClientError, match="AccessDeniedException"):
            TaskCallbacks(sfn).success("token", {})


def test_a_long_cause_is_cut_to_what_step_functions_takes(sfn):
    expected = {"taskToken": ANY, "error": "E" * ERROR_LENGTH, "cause": "c" * CAUSE_LENGTH}
    with Stubber(sfn) as stub:
        stub.add_response("send_task_failure", {}, expected)
        assert TaskCallbacks(sfn).failure("token", "E" * 999, "c" * 99_999)


def test_in_memory_a_task_ends_once():
    tasks = MemoryTasks()
    tasks.waiting.add("token")
    assert tasks.success("token", {"billed": 25})
    assert not tasks.failure("token", "late", "late")
    assert tasks.ended == {"token": {"output": {"billed": 25}}}


def test_a_message_is_hidden_for_as_long_as_its_worker_wants_to_wait_and_sqs_allows():
    sqs = boto3.client("sqs", region_name="sa-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(sqs) as stub:
        for told, asked in ((61.2, 62), (-3, 0), (10**6, LONGEST_HIDDEN)):
            stub.add_response(
                "change_message_visibility",
                {},
                {"QueueUrl": "changes", "ReceiptHandle": "r", "VisibilityTimeout": asked},
            )
            Queues(sqs).hide("changes", "r", told)
        stub.assert_no_pending_responses()
