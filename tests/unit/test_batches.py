"""What a run sends to the lane: keys in its messages, and the plan's own lines beside them."""

import json
from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.batches import LinesChanged, Part, in_turn, pages, read_lines, write_batches
from billing.domain.plan import Action, PlanLine
from simulators.memory_store import MemoryObjects

PLANNED = {
    "company": "acme", "month": "2026-12", "run": "2026-12#mensalidade#acme", "execution": "arn:execution:one",
    "contracts_per_minute": 240, "plan": {"key": "runs/2026-12/1/acme/p/plan.jsonl", "hash": "h"},
}  # fmt: skip
LINE = PlanLine(
    contract="JST-1", jestor_id=1, name="Padaria\u2028São João", company="acme", month="2026-12", kind="mensalidade",
    action=Action.BILL, reason_code="", reason="", amount=12_000, due_date="2026-12-10", previous_amount=None,
    difference=None, cause="Primeiro faturamento", nCodCtr=7,
)  # fmt: skip
WORKS = st.sampled_from(["none", "alter", "create"])


def lines(works):
    return [replace(LINE, contract=f"JST-{n}", nCodCtr=n, work=work) for n, work in enumerate(works, 1)]


def written(some, page_of=lambda _: 0):
    objects = MemoryObjects()
    told = write_batches(objects, PLANNED, some, 0, page_of=page_of)
    return objects, [json.loads(message) for message in objects.read_lines(told["key"])]


@given(st.lists(WORKS, max_size=60), st.integers(1, 9))
def test_every_line_to_bill_is_in_one_message_to_the_letter_and_no_other(works, step):
    billed = lines(works)
    skipped = [replace(LINE, contract=f"JST-9{line.contract}", action=Action.SKIP) for line in billed]
    objects, messages = written([*billed, *skipped], lambda line: line.jestor_id // step)
    read = [line for message in messages for line in read_lines(objects, Part.of(message))]
    assert sorted(read, key=lambda line: line.nCodCtr) == billed
    assert [line.contract for line in read] == [key["contract"] for message in messages for key in message["lines"]]
    assert all(len(message["lines"]) == 25 for message in messages[:-1])


@given(st.lists(st.tuples(WORKS, st.integers(1, 4)), max_size=40))
def test_what_is_written_first_comes_in_turns_with_the_rest_and_each_by_its_page(drawn):
    page_of = {line.contract: page for line, (_, page) in zip(lines([work for work, _ in drawn]), drawn, strict=True)}
    objects, messages = written(lines([work for work, _ in drawn]), lambda line: page_of[line.contract])
    read = [line for message in messages for line in read_lines(objects, Part.of(message))]
    turns = [line.work != "none" for line in read]
    runs = [(first, len(list(some))) for first, some in groupby(turns)]
    assert all(length == 1 for _, length in runs[:-1]), "in turns, until one kind is used up"
    for first in (True, False):
        its = [page_of[line.contract] for line in read if (line.work != "none") is first]
        assert its == sorted(its)
    assert pages(objects, PLANNED["plan"]["key"]) == page_of


@pytest.mark.parametrize("work", ["none", "alter"])
def test_a_message_names_nobody_and_weighs_little_however_long_the_texts_are(work):
    long = [replace(line, reason="x" * 100_000) for line in lines([work] * 25)]
    _, (message,) = written(long)
    text = json.dumps(message)
    assert "Padaria" not in text
    assert len(text) < 3_000


def test_lines_that_were_changed_since_are_refused():
    objects, (message,) = written(lines(["none"] * 3))
    part = Part.of(message)
    objects.texts[part.key] = objects.texts[part.key].replace("12000", "12001", 1)
    with pytest.raises(LinesChanged, match="not those that this batch was written for"):
        read_lines(objects, part)


def test_the_pages_of_a_plan_that_is_gone_are_not_known():
    assert pages(MemoryObjects(), "runs/gone/plan.jsonl") == {}
    assert list(in_turn([])) == []
