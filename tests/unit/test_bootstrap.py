"""The composition root: what is missing is named, and with everything there each function gets all it needs."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from billing import bootstrap
from billing.bootstrap import (
    BaseEnv,
    BatchEnv,
    CloseEnv,
    InvoiceEnv,
    LivingEnv,
    MissingVariable,
    NotifyingEnv,
    PlanEnv,
    SettleEnv,
    SweepEnv,
    UpdateEnv,
)
from billing.settings import SettingsError

DEMO = (Path(__file__).parents[2] / "config/demo.toml").read_text(encoding="utf-8")
ENVS = [BaseEnv, NotifyingEnv, CloseEnv, PlanEnv, SettleEnv, BatchEnv, LivingEnv, SweepEnv, InvoiceEnv, UpdateEnv]
FUNCTIONS = [
    "open_run", "plan_company", "request_approval", "bill_batch", "settle_company", "close_run",
    "change_contract", "churn_contract", "sweep_contracts", "deliver_invoice", "sweep_invoices", "update_jestor",
]  # fmt: skip


@pytest.fixture(scope="module")
def environment():
    """Every variable that any function reads, and no AWS but moto's."""
    with pytest.MonkeyPatch.context() as patch:
        for env in ENVS:
            for field in fields(env):
                patch.setenv(field.name.upper(), f"the-{field.name.replace('_', '-')}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
        yield


@pytest.fixture(scope="module")
def aws(environment):
    """One AWS for all, because clients are slow to make; a bucket and the settings in it."""
    with mock_aws():
        bootstrap._session.cache_clear()
        bootstrap._client.cache_clear()
        bucket = boto3.resource("s3").create_bucket(
            Bucket="the-data-bucket", CreateBucketConfiguration={"LocationConstraint": "sa-east-1"}
        )
        bucket.put_object(Key="the-settings-key", Body=DEMO.encode())
        yield bucket
    bootstrap._session.cache_clear()
    bootstrap._client.cache_clear()


@pytest.mark.parametrize("env", ENVS)
def test_the_environment_is_read_by_field_name(env, environment):
    read = env.read()

    assert {name: getattr(read, name) for name in (field.name for field in fields(env))} == {
        field.name: f"the-{field.name.replace('_', '-')}" for field in fields(env)
    }


@pytest.mark.parametrize(("env", "name"), [(env, field.name.upper()) for env in ENVS for field in fields(env)])
def test_a_missing_variable_stops_the_function_by_its_name(env, name, environment, monkeypatch):
    monkeypatch.delenv(name)

    with pytest.raises(MissingVariable) as missing:
        env.read()

    assert str(missing.value) == f"environment: {name} not set; template.yaml sets it on the function"


def test_an_empty_variable_is_as_bad_as_none_and_all_are_named_at_once(environment, monkeypatch):
    monkeypatch.setenv("LEDGER_TABLE", "")
    monkeypatch.delenv("LANES_TABLE")

    with pytest.raises(MissingVariable, match=r"^environment: LEDGER_TABLE, LANES_TABLE not set"):
        SettleEnv.read()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_gets_all_it_needs_from_its_environment(function, aws):
    deps = getattr(bootstrap, function)()

    assert is_dataclass(deps)
    assert [field.name for field in fields(deps) if getattr(deps, field.name) is None] == []
    if hasattr(deps, "settings"):
        assert sorted(deps.settings.companies) == ["acme", "nimbus"]


def test_a_company_s_connections_and_rate_outlive_an_invocation_and_its_key_is_read_anew(aws):
    boto3.client("secretsmanager").create_secret(
        Name="the-secrets-prefix/omie/acme", SecretString='{"app_key": "k", "app_secret": "s"}'
    )

    omie = bootstrap.settle_company().omie

    first, again = omie("acme"), bootstrap.settle_company().omie("acme")
    assert first._gate is again._gate
    assert first._http is again._http
    boto3.client("secretsmanager").put_secret_value(
        SecretId="the-secrets-prefix/omie/acme", SecretString='{"app_key": "new", "app_secret": "s"}'
    )
    assert omie("acme")._credentials.app_key == "new"


def test_settings_that_are_not_there_say_where_they_belong_and_how_to_put_them_there(aws, monkeypatch):
    monkeypatch.setenv("SETTINGS_KEY", "nowhere")

    with pytest.raises(SettingsError) as missing:
        bootstrap.open_run()

    assert str(missing.value) == (
        "s3://the-data-bucket/nowhere: NoSuchKey; put it there: billing-ops settings push FILE"
    )


def test_settings_that_are_wrong_say_in_which_object(aws, monkeypatch):
    aws.put_object(Key="wrong", Body=DEMO.replace("billing_day = 1", "billing_day = 31").encode())
    monkeypatch.setenv("SETTINGS_KEY", "wrong")

    with pytest.raises(SettingsError) as wrong:
        bootstrap.open_run()

    assert [problem.partition(": must")[0] for problem in wrong.value.problems] == [
        "s3://the-data-bucket/wrong: companies.acme.billing_day",
        "s3://the-data-bucket/wrong: companies.nimbus.billing_day",
    ]


def test_an_execution_that_aws_does_not_know_is_not_running(aws):
    arn = "arn:aws:states:sa-east-1:123456789012:execution:billing-run:gone"

    assert bootstrap._is_running(arn) is False
