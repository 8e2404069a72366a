from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.charge import Event, State
from billing.store import dynamo
from billing.store.ledger import company_month, stamp

values = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_a_value_survives_the_table(value):
    assert dynamo.decode(dynamo.encode(value)) == value


@pytest.mark.parametrize("centavos", [0, -1, 10**15])
def test_amounts_stay_whole_numbers(centavos):
    assert type(dynamo.decode(dynamo.encode(centavos))) is int


def test_a_state_is_stored_as_its_word():
    assert dynamo.encode([State.READY, Event.CLAIM]) == {"L": [{"S": "READY"}, {"S": "CLAIM"}]}


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_a_value_no_table_should_hold_is_refused(value):
    with pytest.raises(TypeError, match=type(value).__name__):
        dynamo.encode(value)


def test_a_kind_no_store_writes_is_refused():
    with pytest.raises(TypeError, match="SS"):
        dynamo.decode({"SS": ["a"]})


def refusal(code, *reasons):
    response = {"Error": {"Code": code}, "CancellationReasons": [{"Code": reason} for reason in reasons]}
    return ClientError(response, "TransactWriteItems")


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (refusal("ThrottlingException"), True),
        (refusal("TransactionConflictException"), True),
        (refusal("TransactionCanceledException", "None", "TransactionConflict"), True),
        (refusal("TransactionCanceledException", "ConditionalCheckFailed", "TransactionConflict"), False),
        (refusal("TransactionCanceledException"), False),
        (refusal("ConditionalCheckFailedException"), False),
        (refusal("AccessDeniedException"), False),
        (ReadTimeoutError(endpoint_url="https://x.test"), True),
        (ConnectTimeoutError(endpoint_url="https://x.test"), True),
        (KeyError("a bug"), False),
    ],
)
def test_only_what_passes_by_itself_is_worth_another_try(error, passing):
    assert dynamo.passes(error) is passing


def test_waits_double_and_are_spread_over_their_upper_half():
    shortest = [dynamo.delay(tries, lambda: 0.0) for tries in (1, 2, 3)]
    longest = [dynamo.delay(tries, lambda: 1.0) for tries in (1, 2, 3)]
    assert shortest == [0.025, 0.05, 0.1]
    assert longest == [0.05, 0.1, 0.2]


def test_times_are_written_in_utc_with_microseconds_so_that_text_sorts_like_time():
    at = datetime(2026, 12, 1, 6, 0, tzinfo=ZoneInfo("America/Sao_Paulo"))
    assert stamp(at) == "2026-12-01T09:00:00.000000+00:00"
    assert company_month("acme", "2026-12") == "acme#2026-12"


def test_a_lone_surrogate_is_replaced_where_it_would_be_refused():
    assert dynamo.encode("Pão \ud83d") == {"S": "Pão \ufffd"}
    assert dynamo.encode({"a": ["\udfff"]}) == {"M": {"a": {"L": [{"S": "\ufffd"}]}}}
