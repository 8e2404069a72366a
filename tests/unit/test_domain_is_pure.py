"""billing.domain: the standard library only, and of it no clock, no chance, no environment, no input or output."""

import ast
import sys
from pathlib import Path

import pytest

import billing.domain.money

MODULES = sorted(Path(billing.domain.money.__file__).parent.glob("*.py"))
FORBIDDEN_MODULES = {
    *("time", "random", "secrets", "uuid", "os", "sys", "io", "pathlib", "subprocess", "socket", "threading"),
    *("logging", "tempfile", "shutil", "asyncio", "http", "urllib", "sqlite3", "importlib"),
}
FORBIDDEN_CALLS = {"now", "utcnow", "today", "fromtimestamp", "getenv", "urandom", "uuid4", "localtime"}
FORBIDDEN_NAMES = {"open", "print", "input", "exec", "eval", "__import__", "hash"}


def faults(source):
    """What a module must not do, as (line, what)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=module, level=level):
                modules = ["." * level + (module or "")]
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in FORBIDDEN_CALLS:
                found.append((node.lineno, f".{attr}()"))
                continue
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_NAMES:
                found.append((node.lineno, f"{name}()"))
                continue
            case _:
                continue
        for module in modules:
            top = module.split(".")[0]
            ours = module.startswith("billing.domain.")
            if not ours and (top not in sys.stdlib_module_names or top in FORBIDDEN_MODULES):
                found.append((node.lineno, f"import {module}"))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_the_domain_is_pure(path):
    assert faults(path.read_text(encoding="utf-8")) == []


def test_every_module_of_the_domain_is_looked_at():
    names = {path.stem for path in MODULES}
    assert names >= {"money", "month", "calendar", "contract", "charge", "plan"}


@pytest.mark.parametrize(
    "source",
    [
        "import httpx",
        "import os",
        "from os import environ",
        "import random",
        "import time",
        "from billing.settings import Settings",
        "from . import plan",
        "from datetime import datetime\ndatetime.now()",
        "from datetime import date\nstamp = date.today()",
        "open('x')",
        "hash('a text')",
    ],
)
def test_the_test_itself_can_fail(source):
    assert faults(source)
