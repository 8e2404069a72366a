"""Nothing that is sent weighs more than the services take."""

import json

from hypothesis import given
from hypothesis import strategies as st

from billing.domain.sizes import LETTER_BYTES, fitting, shortened, weight


@given(st.text(), st.integers(20, 50))
def test_a_shortened_text_keeps_its_beginning_and_its_end(text, length):
    short = shortened(text, length)
    assert len(short) <= length
    assert short[:4] == text[:4]
    assert short[-2:] == text[-2:]
    assert short == text or len(text) > length


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
