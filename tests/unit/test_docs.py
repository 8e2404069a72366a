"""The documents say what the code does: what can be compared is compared."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from billing.domain.charge import ParkClass
from ops import docs
from ops.cli import app
from simulators.jestor import faults as jestor_faults
from simulators.jestor.core import Switches as JestorSwitches
from simulators.omie.switches import Switches

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEMPLATE = (ROOT / "template.yaml").read_text()
CONFIGURATION = docs.PAGE.read_text()


def rows(page: str, heading: str) -> dict[str, str]:
    """First cell (without backticks) -> the row, of the tables below a heading."""
    below = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (`.+)$", below, flags=re.MULTILINE)
    return {name: row for row in found for name in re.findall(r"`([^`]+)`", row.partition(" | ")[0])}


def test_the_settings_reference_is_the_settings_own():
    assert docs.renewed(CONFIGURATION) == CONFIGURATION, "run: python -m ops.docs"
    assert "### `[companies.KEY]`" in CONFIGURATION


def test_every_parameter_of_the_template_is_documented_with_its_default():
    section = TEMPLATE.partition("\nParameters:\n")[2].partition("\nConditions:")[0]
    parameters = dict(re.findall(r"^  (\w+):\n((?:    .*\n)+)", section, flags=re.MULTILINE))
    documented = rows(CONFIGURATION, "3. Template parameters")
    assert len(parameters) >= 10
    assert set(documented) == set(parameters)
    for name, body in parameters.items():
        default = re.search(r"^    Default: (.*)$", body, flags=re.MULTILINE)
        cell = documented[name].split(" | ")[2]
        if default is None:
            assert cell == "none; required", name
        else:
            value = default[1].strip('"')
            assert cell == (f"`{value}`" if value else "empty"), name


def test_every_variable_of_the_functions_is_documented_with_who_gets_it():
    gets = {
        folder: set(re.findall(r"^          ([A-Z_]+): !", body, flags=re.MULTILINE))
        for folder, body in re.findall(
            r"^      CodeUri: functions/(\w+)\n(.*?)^      Policies:", TEMPLATE, flags=re.MULTILINE | re.DOTALL
        )
    }
    shared = set(re.findall(r"^        ([A-Z_]+): ", TEMPLATE.partition("\nResources:")[0], flags=re.MULTILINE))
    documented = rows(CONFIGURATION, "4. Environment of the functions")
    assert set(documented) == shared.union(*gets.values())
    for name, row in documented.items():
        cell = row.split(" | ")[1]
        if name in shared:
            assert cell == "all", name
        else:
            assert set(re.findall(r"`(\w+)`", cell)) == {folder for folder in gets if name in gets[folder]}, name


def test_every_variable_a_command_reads_is_documented():
    source = "\n".join(path.read_text() for path in [*(ROOT / "ops").glob("*.py"), ROOT / "tests/contract/conftest.py"])
    read = set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", source)) | set(
        re.findall(r"\"(\w+)\" in os\.environ", source)
    )
    assert "OMIE_BASE_URL" in read
    documented = set(rows(CONFIGURATION, "5. Environment of the commands"))
    assert read - {"PATH"} <= documented


def test_every_alarm_is_in_the_runbook():
    runbook = (ROOT / "docs/runbook.md").read_text()
    alarms = re.findall(r"^  (\w+):\n    Type: AWS::CloudWatch::Alarm", TEMPLATE, flags=re.MULTILINE)
    assert alarms
    for alarm in alarms:
        assert f"| `{alarm}` |" in runbook


def test_every_class_of_parked_contracts_is_in_the_runbook():
    runbook = (ROOT / "docs/runbook.md").read_text()
    for kind in ParkClass:
        assert f"| `{kind}` |" in runbook


def test_every_switch_of_the_simulators_has_its_question():
    page = (ROOT / "docs/api-open-questions.md").read_text()
    switches = [field.name for kind in (Switches, JestorSwitches) for field in fields(kind)]
    for name in [*switches, *jestor_faults.OF_A_CALL, *jestor_faults.STANDING]:
        assert f"`{name}`" in page, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_that_is_told_exists(page):
    group = typer.main.get_command(app)
    text = page.read_text()
    for told in re.findall(r"billing-ops ((?:[a-z]+[a-z-]*|--[a-z-]+)(?: (?:--)?[A-Za-z0-9./\"-]+)*)", text):
        command = group
        for word in told.split():
            if word.startswith("--"):
                options = {
                    option for parameter in command.params for option in parameter.opts + parameter.secondary_opts
                }
                assert word in options | {"--help"}, f"billing-ops {told}"
            elif hasattr(command, "commands"):
                if word == "COMANDO":
                    break
                assert word in command.commands, f"billing-ops {told}"
                command = command.commands[word]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_machine_or_a_registry(page):
    assert not re.findall(
        r"(?<![\w.])/(?:home|root|tmp|work|usr)/\S*|pypi|npmjs|\.whl", page.read_text(), flags=re.IGNORECASE
    )


def test_decisions_are_numbered_without_a_gap_and_short():
    records = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [record.name[:4] for record in records] == [f"{n:04d}" for n in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text()
        assert len(text.splitlines()) <= 25, record.name
        for part in ("Context", "Decision", "Rejected", "Consequence", "How to undo"):
            assert f"**{part}.**" in text, record.name
