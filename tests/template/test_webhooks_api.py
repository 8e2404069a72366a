"""The API of the webhooks: as published, quiet in its logs, and open to nothing else."""

from pathlib import Path
from typing import Any

import yaml

from billing.receive_webhook import ANSWERS, ROUTES

SPOKEN = {200, 202, 400, 401, 413, 503}


def _events(functions: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        folder: {name: event["Properties"] for name, event in function["Events"].items() if event["Type"] == "Api"}
        for folder, function in functions.items()
        if any(event["Type"] == "Api" for event in function.get("Events", {}).values())
    }


def test_the_published_document_names_the_paths_and_methods_of_the_template(
    functions: dict[str, Any], root: Path
) -> None:
    published = yaml.safe_load((root / "docs" / "openapi.yaml").read_text())["paths"]
    deployed = [(event["Path"], event["Method"]) for event in _events(functions)["receive_webhook"].values()]
    assert sorted(deployed) == sorted((path, method) for path, methods in published.items() for method in methods)
    assert {path for path, _ in deployed} == set(ROUTES)


def test_the_published_document_names_every_answer(root: Path) -> None:
    document = yaml.safe_load((root / "docs" / "openapi.yaml").read_text())
    for path, methods in document["paths"].items():
        wanted = SPOKEN if path.endswith("{token}") else SPOKEN - {200}
        assert {int(status) for status in methods["post"]["responses"]} == wanted
    assert set(document["components"]["schemas"]["Answer"]["properties"]["message"]["enum"]) == {
        *ANSWERS.values(), "pong",
    }  # fmt: skip


def test_only_the_receiver_is_open_to_the_world(functions: dict[str, Any]) -> None:
    events = _events(functions)
    assert set(events) == {"receive_webhook"}
    assert all(event["RestApiId"] == {"Ref": "WebhooksApi"} for event in events["receive_webhook"].values())


def test_no_log_and_no_trace_of_the_api_holds_a_path_a_header_or_a_body(of_type: Any) -> None:
    (api,) = of_type("AWS::Serverless::Api").values()
    written = api["AccessLogSetting"]["Format"]
    assert "$context.resourcePath" in written
    for telling in ("$context.path", "$context.request.", "$input", "$context.authorizer", "header", "body"):
        assert telling not in written.replace("$context.resourcePath", "")
    assert api["TracingEnabled"] is False
    for setting in api["MethodSettings"]:
        assert "DataTraceEnabled" not in setting
        assert "LoggingLevel" not in setting


def test_the_api_is_throttled(of_type: Any) -> None:
    (api,) = of_type("AWS::Serverless::Api").values()
    (setting,) = api["MethodSettings"]
    assert (setting["ResourcePath"], setting["HttpMethod"]) == ("/*", "*")
    assert 0 < setting["ThrottlingRateLimit"] <= setting["ThrottlingBurstLimit"] <= 400


def test_the_receiver_answers_before_omie_gives_up(functions: dict[str, Any]) -> None:
    assert functions["receive_webhook"]["Timeout"] <= 10
