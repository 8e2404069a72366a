"""Nothing that is sent weighs more than the services take."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from billing.domain.sizes import LETTER_BYTES, by_weight, fitting, shortened, weight


@given(st.text(), st.integers(20, 50))
def test_a_shortened_text_keeps_its_beginning_and_its_end(text, length):
    short = shortened(text, length)
    assert len(short) <= length
    assert short[:4] == text[:4]
    assert short[-2:] == text[-2:]
    assert short == text or len(text) > length


@given(st.lists(st.integers(1, 120)), st.integers(1, 6))
def test_every_item_comes_once_in_order_and_no_list_is_too_heavy(items, count):
    made = list(by_weight(items, lambda item: item, count=count, limit=100))
    assert [item for chunk in made for item in chunk] == items
    assert all(0 < len(chunk) <= count for chunk in made)
    assert all(sum(chunk) <= 100 or len(chunk) == 1 for chunk in made)
    assert all(len(a) == count or sum(a) + b[0] > 100 for a, b in pairwise(made))


@given(st.text())
def test_no_json_of_it_is_heavier_than_it_was_weighed(text):
    plain = json.dumps({"a": text}, separators=(",", ":"), ensure_ascii=False)
    assert len(plain.encode("utf-8", "surrogatepass")) <= weight({"a": text})


def test_a_letter_fits_whatever_somebody_pasted():
    letter = {"contract": "JST-1", "reason": "O serviço " + "ç" * 300_000 + " não existe: escolha outro.", "n": 1}
    short = fitting(letter)
    assert weight(short) <= LETTER_BYTES
    assert short["reason"].startswith("O serviço")
    assert short["reason"].endswith("escolha outro.")
    assert fitting({"contract": "JST-1"}) == {"contract": "JST-1"}
