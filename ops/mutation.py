"""`make mutation`: do the tests notice when the rules that keep billing exact are changed?

    python -m ops.mutation [MUTANT...]

Each function of `SUBJECTS` is changed in one place at a time by mutmut. Their tables (states, error rules, texts),
which mutmut leaves alone, are changed here: an entry dropped, an outcome exchanged, a number or text altered. A change
counts as noticed when a test fails. Prints the share noticed per file and fails where it is below `PROMISED`. A change
that makes no difference to the program stands with its reason in tests/mutation/equivalent.txt and is not counted.

Everything happens in a copy, build/mutation; survivors.txt there lists what no test noticed. Mutants named as mutmut
names them (`make mutation ARGS="'billing.domain.plan.*'"`) are tried again alone, by the tests known to call them.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
PLACE: Final = ROOT / "build" / "mutation"
EQUIVALENT: Final = ROOT / "tests" / "mutation" / "equivalent.txt"
PROMISED: Final = 90.0

SUBJECTS: Final = {
    "billing/domain/charge.py": ["tests/unit/test_charge.py"],
    "billing/domain/plan.py": ["tests/unit/test_plan.py"],
    "billing/omie/replies.py": ["tests/unit/test_replies.py"],
    "billing/store/ledger.py": ["tests/contract/test_ledger.py", "tests/contract/test_ledger_faults.py"],
}
"""File -> its tests. A table's change is tried on these; a function's on those of all these that call the function."""
NOTICED: Final = frozenset({1, 3, 24, 36, 152, 255, -24})
"""mutmut's exit codes of tests that failed or ran out of time; any other: survived, or no test calls the function."""

EXCHANGED: Final = {
    "NotExecuted": "InDoubt",
    "InDoubt": "NotExecuted",
    **dict.fromkeys(("Rejected", "Blocked"), "NotExecuted"),
    **dict.fromkeys(("KeyRefused", "EmptyPage", "AlreadyRegistered"), "Rejected"),
    "READY": "SENDING",
    "SENDING": "UNKNOWN",
    "UNKNOWN": "BILLED",
    "BILLED": "PARKED",
    "PARKED": "HELD",
    "HELD": "READY",
}
"""Outcomes and states in tables -> what is put in their place."""

SETTINGS: Final = """\
[tool.pytest.ini_options]
pythonpath = ["."]
addopts = ["--strict-markers", "--strict-config", "--import-mode=importlib", "-p", "no:cacheprovider"]
filterwarnings = ["error"]

[tool.mutmut]
source_paths = ["billing"]
also_copy = ["simulators", "conftest.py"]
"""
CONFTEST: Final = """\
from hypothesis import Phase, settings

# The same examples for every change; a failing one need not be made smaller.
phases = (Phase.explicit, Phase.generate)
settings.register_profile("mutation", derandomize=True, deadline=None, database=None, max_examples=40, phases=phases)
settings.load_profile("mutation")
"""


class Mutant(NamedTuple):
    """`change` reads `file: function: old line → new line`, or `file: table: what`."""

    subject: str
    change: str
    noticed: bool


def main(names: list[str]) -> int:
    if not names:
        shutil.rmtree(PLACE, ignore_errors=True)
    lay_out(PLACE)
    with (PLACE / "mutmut.log").open("w") as log:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names]
        subprocess.run(command, cwd=PLACE, stdout=log, stderr=log, check=False)  # noqa: S603 - our own list
    mutants = [mutant for subject in SUBJECTS for mutant in of_functions(subject, names or ["*"])]
    if not names:
        mutants += [mutant for subject in SUBJECTS for mutant in of_tables(subject)]
    known = equivalents()
    survivors = [mutant.change for mutant in mutants if not mutant.noticed and mutant.change not in known]
    (PLACE / "survivors.txt").write_text("".join(f"{change}\n" for change in survivors))
    return report(mutants, known, whole=not names)


def lay_out(place: Path) -> None:
    """A flat copy, for mutmut takes a module's name from its path."""
    for source in ("layers/billing/billing", "simulators", "tests/unit", "tests/contract"):
        target = place / source.removeprefix("layers/billing/")
        shutil.copytree(ROOT / source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    tests = [test for some in SUBJECTS.values() for test in some]
    selection = f"only_mutate = {[*SUBJECTS]}\npytest_add_cli_args_test_selection = {tests}\n"
    (place / "pyproject.toml").write_text(SETTINGS + selection)
    (place / "conftest.py").write_text(CONFTEST)


def of_functions(subject: str, names: Collection[str]) -> Iterator[Mutant]:
    """What mutmut found out."""
    mutated = PLACE / "mutants" / subject
    results = json.loads(Path(f"{mutated}.meta").read_text())["exit_code_by_key"]
    nodes = ast.walk(ast.parse(mutated.read_text()))
    functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
    for key, code in results.items():
        if any(fnmatch(key, name) for name in names):
            mangled = key.rsplit(".", 1)[-1]
            function = mangled.rsplit("__mutmut_", 1)[0]
            change = difference(functions[f"{function}__mutmut_orig"], functions[mangled])
            readable = function[2:].replace("ǁ", ".")  # mutmut's x_target, xǁChargeKeyǁparse
            yield Mutant(subject, f"{subject}: {readable}: {change}", code in NOTICED)


def difference(before: ast.FunctionDef, after: ast.FunctionDef) -> str:
    after.name = before.name
    old, new = (ast.unparse(tree).splitlines() for tree in (before, after))
    gone, come = ([line.strip() for line in one if line not in other] for one, other in ((old, new), (new, old)))
    return f"{' '.join(gone)} → {' '.join(come)}"


def of_tables(subject: str) -> Iterator[Mutant]:
    """Each change of the subject's tables, tried in a copy of its own."""
    place = PLACE / "tables"
    lay_out(place)
    source = (place / subject).read_text()
    for number in range(len(table_changes(ast.parse(source)))):
        tree = ast.parse(source)
        what, make = table_changes(tree)[number]
        make()
        (place / subject).write_text(ast.unparse(tree))
        yield Mutant(subject, f"{subject}: {what}", not passes(place, SUBJECTS[subject]))
    (place / subject).write_text(source)


def table_changes(module: ast.Module) -> list[tuple[str, Callable[[], object]]]:
    """(what, how to make it in place) for every entry of the module's own assignments."""
    found: list[tuple[str, Callable[[], object]]] = []
    for statement in module.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        if isinstance(statement.value, ast.Subscript):  # Literal[...]: a type, which mypy checks and no test can
            continue
        table = ast.unparse(statement.targets[0] if isinstance(statement, ast.Assign) else statement.target)
        fixed = {id(part) for node in ast.walk(statement.value) for part in _of_fixed_size(node)}
        for node in ast.walk(statement.value):
            found += [(f"{table}: {what}", make) for what, make in _node_changes(node, fixed)]
    return found


def _of_fixed_size(node: ast.AST) -> Iterator[ast.AST]:
    """Tuples that are a dict's key or value are records: one with a part missing says nothing about the tests."""
    if isinstance(node, ast.Dict):
        yield from (part for part in (*node.keys, *node.values) if part is not None)


def _node_changes(node: ast.AST, fixed: Collection[int]) -> Iterator[tuple[str, Callable[[], object]]]:
    match node:
        case ast.Dict(keys=keys, values=values):
            for at, key in enumerate(keys):
                yield f"without {_short(key or values[at])}", partial(_drop, at, keys, values)
        case ast.Set(elts=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) if id(node) not in fixed:
            for at, part in enumerate(parts):
                yield f"without {_short(part)}", partial(_drop, at, parts)
        case ast.Call(keywords=keywords):
            for at, keyword in enumerate(keywords):
                if keyword.arg not in {"read", "write"}:  # without these nothing can be built
                    yield f"{_short(node)} without {_short(keyword)}", partial(_drop, at, keywords)
        case ast.Name(id=name) if name in EXCHANGED:
            yield f"{name} → {EXCHANGED[name]} (line {node.lineno})", partial(setattr, node, "id", EXCHANGED[name])
        case ast.Attribute(attr=name) if name in EXCHANGED:
            yield f"{name} → {EXCHANGED[name]} (line {node.lineno})", partial(setattr, node, "attr", EXCHANGED[name])
        case ast.Constant(value=int() | float() as value):
            yield f"{value} → {value + 1}", partial(setattr, node, "value", value + 1)
        case ast.Constant(value=str() as value):
            yield f"{value} → XX", partial(setattr, node, "value", f"XX{value}XX")


def _drop(at: int, *lists: list[Any]) -> None:
    for one in lists:
        del one[at]


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:60]


def passes(place: Path, tests: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", *tests]
    plain = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}  # a change within the same second must not meet old bytecode
    return subprocess.run(command, cwd=place, env=plain, capture_output=True, check=False).returncode == 0  # noqa: S603


def equivalents() -> dict[str, str]:
    """Change -> why it makes no difference: the indented lines under it."""
    found: dict[str, str] = {}
    change = ""
    for line in EQUIVALENT.read_text().splitlines():
        if line.startswith((" ", "\t")):
            found[change] = f"{found[change]} {line.strip()}".strip()
        elif line and not line.startswith("#"):
            change = line
            found[change] = ""
    return found


def report(mutants: list[Mutant], equivalent: Mapping[str, str], *, whole: bool) -> int:
    """Prints the figures; answers the exit code."""
    survivors = [mutant for mutant in mutants if not mutant.noticed]
    same = Counter(mutant.subject for mutant in survivors if mutant.change in equivalent)
    alive = [mutant for mutant in survivors if mutant.change not in equivalent]
    wrong = False
    print(f"{'':26}{'changes':>9}{'same':>6}{'noticed':>9}{'score':>9}")
    for subject in SUBJECTS:
        changed = sum(mutant.subject == subject for mutant in mutants) - same[subject]
        noticed = changed - sum(mutant.subject == subject for mutant in alive)
        score = 100 * noticed / changed if changed else 100.0
        wrong |= score < PROMISED
        print(f"{subject:26}{changed:>9}{same[subject]:>6}{noticed:>9}{score:>8.1f}%")
    print(f"Not noticed: {len(alive)}, listed in build/mutation/survivors.txt")
    idle = equivalent.keys() - {mutant.change for mutant in survivors}
    for change in sorted(idle) if whole else ():
        wrong = True
        print(f"tests/mutation/equivalent.txt names a change that is noticed or gone: {change}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
