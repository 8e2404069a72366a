"""JSON from outside: one value that Python cannot hold does not take the others with it."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import json_in


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"9" * 5000, Decimal("9" * 5000)),
        (b"-" + b"9" * 5000, Decimal("-" + "9" * 5000)),
        (b"1e9999999999999999999", Decimal("Infinity")),
        (b'"a\xffb"', "a\udcffb"),
        (b"[" * 3000 + b"]" * 3000, None),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, None),
    ],
    ids=["int", "negative", "exponent", "bytes", "lists", "objects"],
)
def test_one_value_does_not_take_the_others_with_it(value, read):
    answer = json_in.loads(b'{"rows":[{"x":' + value + b'},{"x":"[{]}\\" 2.50"},{"x":2.50}]}')
    assert answer["rows"][1:] == [{"x": '[{]}" 2.50'}, {"x": Decimal("2.50")}]
    found = answer["rows"][0]["x"]
    assert found == read or read is None


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"<html>", b"\xff\xfe", b"[" * 5000, b'{"a":1}}'])
def test_what_is_no_json_is_refused(body):
    with pytest.raises(ValueError):
        json_in.loads(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_is_read_as_it_is(value):
    assert json_in.loads(json.dumps(value).encode()) == value
