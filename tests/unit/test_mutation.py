import ast

import pytest

from ops.mutation import Mutant, difference, equivalents, report, table_changes

TABLES = """
Work = Literal["none", "alter"]
LIMIT = 10
CODES = frozenset({"71", "103"})
NEXT: dict = {("new", CLAIM): State.SENDING}
RULES = (Rule("busy", read=NotExecuted, write=InDoubt, wait=1.5),)

def untouched():
    return 1
"""


def made(number):
    tree = ast.parse(TABLES)
    what, make = table_changes(tree)[number]
    make()
    return what, ast.unparse(tree)


def test_every_entry_of_a_table_is_dropped_exchanged_or_altered_once():
    whats = [what for what, _ in table_changes(ast.parse(TABLES))]
    assert sorted(whats) == sorted(
        [
            "LIMIT: 10 → 11",
            "CODES: without '71'",
            "CODES: without '103'",
            "CODES: 71 → XX",
            "CODES: 103 → XX",
            "NEXT: without ('new', CLAIM)",
            "NEXT: new → XX",
            "NEXT: SENDING → UNKNOWN (line 5)",
            "RULES: without Rule('busy', read=NotExecuted, write=InDoubt, wait=1.5)",
            "RULES: Rule('busy', read=NotExecuted, write=InDoubt, wait=1.5) without wait=1.5",
            "RULES: busy → XX",
            "RULES: NotExecuted → InDoubt (line 6)",
            "RULES: InDoubt → NotExecuted (line 6)",
            "RULES: 1.5 → 2.5",
        ]
    )


def test_each_change_is_the_only_one_in_its_source():
    original = ast.unparse(ast.parse(TABLES))
    sources = [made(number)[1] for number in range(14)]
    assert len({original, *sources}) == 15
    for source in sources:
        assert sum(a != b for a, b in zip(source.splitlines(), original.splitlines(), strict=True)) == 1


def test_a_changed_function_is_told_by_the_lines_that_differ():
    before, after = ast.parse("def f(a):\n    b = a + 1\n    return b\ndef f_1(a):\n    b = a - 1\n    return b").body
    assert difference(before, after) == "b = a + 1 → b = a - 1"


@pytest.mark.parametrize(("survivors", "code"), [(10, 0), (11, 1)])
def test_less_than_promised_fails(survivors, code):
    mutants = [Mutant("billing/domain/plan.py", f"change {n}", noticed=n >= survivors) for n in range(100)]
    assert report(mutants, {}, whole=True) == code
    known = {f"change {n}": "no difference" for n in range(survivors)}
    assert report(mutants, known, whole=True) == 0
    assert report(mutants, known | {"change 99": "it is noticed"}, whole=True) == 1


def test_every_equivalent_change_has_a_reason():
    assert equivalents()
    assert all(equivalents().values())
