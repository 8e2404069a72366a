"""The terminal writes nothing in Omie but a probe's test contracts: all else goes through the company's lane."""

import ast
import inspect
from pathlib import Path

import pytest

from billing.omie.client import OmieClient

FOLDER = Path(__file__).resolve().parents[2] / "ops"
PROBE_CLIENT = FOLDER / "probe" / "client.py"
OPS = sorted(path for path in FOLDER.rglob("*.py") if path != PROBE_CLIENT)
WRITES = {
    name
    for name, method in inspect.getmembers(OmieClient, inspect.isfunction)
    if not name.startswith("_") and "self._write" in inspect.getsource(method)
}


def writing_calls(source):
    """Names of Omie's writing methods that are named in the source, however they are called."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in WRITES | {"_write", "_write_for_id", "_send", "_post"}:
            found.add(node.attr)
        if isinstance(node, ast.Constant) and node.value in WRITES:
            found.add(node.value)
    return found


def test_the_writing_methods_are_known():
    assert {"alterar_contrato", "faturar_contrato", "gerar_boleto", "upsert_cliente_cpf_cnpj", "excluir_item"} <= WRITES
    assert not {name for name in WRITES if name.startswith(("listar", "consultar", "obter", "iter", "status"))}


@pytest.mark.parametrize("path", OPS, ids=lambda path: path.name)
def test_no_command_calls_a_method_that_writes_in_omie(path):
    assert writing_calls(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("path", OPS, ids=lambda path: path.name)
def test_only_the_reader_s_door_makes_a_client_of_omie(path):
    made = "OmieClient(" in path.read_text(encoding="utf-8")
    assert not made or path.name == "doors.py"


def test_only_the_probe_s_caller_writes_and_only_its_own_door_makes_one():
    """`ops.probe.command` asks for that door once the settings have said that the account is a test one."""
    text = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in OPS}
    assert [name for name, source in text.items() if "_client.write(" in source] == ["probe/caller.py"]
    assert [name for name, source in text.items() if "Caller(" in source] == ["doors.py"]
    assert [name for name, source in text.items() if "probe_caller(" in source] == ["doors.py", "probe/command.py"]
    command = text["probe/command.py"]
    assert command.index("not chosen.test_account") < command.index("= probe_caller(")


@pytest.mark.parametrize(
    "line", ["omie.faturar_contrato(1)", "omie_of(k).alterar_contrato(c)", "getattr(omie, 'alterar_contrato')(c)"]
)
def test_a_writing_call_would_be_found(line):
    assert writing_calls(line)
