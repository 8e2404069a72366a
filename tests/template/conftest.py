"""template.yaml and the state machine as plain data."""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


class _CloudFormation(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: !Ref X is {"Ref": X}, !Sub X is {"Fn::Sub": X}."""


def _long_form(loader: _CloudFormation, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.SequenceNode):
        value: Any = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        value = loader.construct_scalar(node)
    return {"Ref" if tag == "Ref" else f"Fn::{tag}": value}


_CloudFormation.add_multi_constructor("!", _long_form)


@cache
def _template() -> dict[str, Any]:
    return yaml.load((ROOT / "template.yaml").read_text(), _CloudFormation)


@cache
def _states() -> dict[str, Any]:
    text = (ROOT / "statemachine" / "billing_run.asl.json").read_text()
    # A substitution outside quotes is a number.
    return json.loads(re.sub(r"(?<=: )\$\{\w+\}(?=[,\s])", "172800", text))


@cache
def _translated() -> dict[str, Any]:
    sam = ROOT / ".tools" / "sam" / "bin" / "python"
    if not sam.exists():
        pytest.skip("the SAM tool is missing: make setup")
    command = [sam, ROOT / "tests" / "template" / "translate.py", ROOT / "template.yaml"]
    environment = os.environ | {"AWS_DEFAULT_REGION": "sa-east-1", "PYTHONPATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def translated() -> dict[str, dict[str, Any]]:
    """Name -> resource of what CloudFormation is given, once SAM has translated the template."""
    return _translated()["Resources"]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    return _template()


@pytest.fixture(scope="session")
def definition() -> dict[str, Any]:
    return _states()


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return template["Resources"]


@pytest.fixture(scope="session")
def of_type(resources: dict[str, dict[str, Any]]) -> Any:
    """Type -> {name: properties}: of_type("AWS::SQS::Queue")."""

    def pick(kind: str) -> dict[str, dict[str, Any]]:
        return {name: found.get("Properties", {}) for name, found in resources.items() if found["Type"] == kind}

    return pick


@pytest.fixture(scope="session")
def functions(of_type: Any) -> dict[str, dict[str, Any]]:
    """Folder -> properties of its function."""
    return {found["CodeUri"].rpartition("/")[2]: found for found in of_type("AWS::Serverless::Function").values()}
