"""Each function: thin, alone in its folder, with its own log, role and variables."""

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from billing import bill_batch, bootstrap, settings

MAX_LINES = 40


@pytest.fixture(scope="module")
def handlers(root: Path) -> dict[str, Path]:
    """Folder -> its app.py."""
    return {path.parent.name: path for path in sorted((root / "functions").glob("*/app.py"))}


def test_every_folder_is_deployed_and_everything_deployed_has_a_folder(
    functions: dict[str, Any], handlers: dict[str, Path], root: Path
) -> None:
    assert set(functions) == set(handlers)
    assert {found["CodeUri"] for found in functions.values()} == {f"functions/{name}" for name in handlers}
    assert {path.name for path in (root / "functions").iterdir() if path.is_dir()} == set(handlers)


def test_a_resource_is_named_as_its_folder(of_type: Any) -> None:
    for name, function in of_type("AWS::Serverless::Function").items():
        words = function["CodeUri"].rpartition("/")[2].split("_")
        assert name == "".join(map(str.capitalize, words)) + "Function"


def test_a_handler_is_a_translation_of_forty_lines_at_most(handlers: dict[str, Path]) -> None:
    for name, path in handlers.items():
        assert len(path.read_text().splitlines()) <= MAX_LINES, name


def test_a_handler_imports_its_use_case_and_no_sibling(handlers: dict[str, Path]) -> None:
    for name, path in handlers.items():
        ours = {module for module in _imports(path) if module.partition(".")[0] == "billing"}
        assert ours - {"billing.log"} == {"billing", f"billing.{name}"}, name
        assert [path.name for path in path.parent.iterdir() if path.name != "__pycache__"] == ["app.py"], name


def test_a_handler_is_where_the_template_looks_for_it(template: dict[str, Any], handlers: dict[str, Path]) -> None:
    assert template["Globals"]["Function"]["Handler"] == "app.handler"
    for name, path in handlers.items():
        defined = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert defined == ["handler"], name


def test_each_function_has_its_own_log_that_ends(functions: dict[str, Any], resources: dict[str, Any]) -> None:
    logs = [function["LoggingConfig"]["LogGroup"]["Ref"] for function in functions.values()]
    assert len(set(logs)) == len(functions)
    for log in logs:
        assert resources[log]["Type"] == "AWS::Logs::LogGroup"
        assert resources[log]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_state_machine_logs_no_data_and_its_log_ends(of_type: Any) -> None:
    (machine,) = of_type("AWS::Serverless::StateMachine").values()
    assert machine["Logging"]["IncludeExecutionData"] is False
    for log in of_type("AWS::Logs::LogGroup").values():
        assert log["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_what_bootstrap_reads_the_template_sets_on_that_function_and_nothing_else(
    template: dict[str, Any], functions: dict[str, Any]
) -> None:
    for folder, function in functions.items():
        wanted = {field.name.upper() for field in fields(_env_of(folder))}
        given = _variables(template, function)
        assert {name for name in given if not name.startswith("POWERTOOLS_")} == wanted, folder


def test_the_in_doubt_wait_is_checked_against_the_real_time_out(functions: dict[str, Any]) -> None:
    assert functions["bill_batch"]["Timeout"] == settings.FUNCTION_TIMEOUT_SECONDS


def test_the_longest_call_to_omie_ends_before_the_function_does(functions: dict[str, Any]) -> None:
    longest = bootstrap.CONNECT_TIMEOUT + bootstrap.OMIE_TIMEOUT
    assert longest < bill_batch.STOP_BEFORE_TIMEOUT < functions["bill_batch"]["Timeout"]


def test_nothing_runs_longer_than_lambda_lets_it(functions: dict[str, Any]) -> None:
    for folder, function in functions.items():
        assert function["Timeout"] <= 900, folder


def _env_of(folder: str) -> type[bootstrap.Env]:
    found = re.search(r"env = (\w+)\.read\(\)", inspect.getsource(getattr(bootstrap, folder)))
    assert found, folder
    env = getattr(bootstrap, found[1])
    assert issubclass(env, bootstrap.Env)
    return env


def _variables(template: dict[str, Any], function: dict[str, Any]) -> set[str]:
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    return set(shared) | set(function.get("Environment", {}).get("Variables", {}))


def _imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found
