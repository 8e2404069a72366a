"""The probe's pure part: bounds from looks, what two lists prove, and when words are a refusal."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.omie.replies import InDoubt, NotExecuted, Rejected
from ops.probe.caller import Reply
from ops.probe.lags import Sighting, Span, alike, common, longest
from ops.probe.told import refusal

moments = st.lists(st.floats(0, 500), min_size=1, max_size=12)


def sighting(lag, looks, *, took=1.0):
    """A call that took a second and a half of whose work was done in the middle, looked for `looks` seconds later."""
    one = Sighting(100.0, 101.0)
    for look in sorted(looks):
        sent = 101.0 + look
        one.look(sent, sent + took, shows=sent + took / 2 >= 100.5 + lag)
    return one


@given(st.floats(0, 400), moments)
def test_the_lag_lies_within_the_bounds(lag, looks):
    span = sighting(lag, looks).span
    assert span.low <= lag <= span.high


def test_what_was_never_shown_has_no_upper_bound():
    one = sighting(50, [10, 20])
    assert one.span == Span(20.0, inf)
    assert not one.seen


def test_a_look_that_left_before_the_answer_tells_nothing():
    one = Sighting(100.0, 101.0)
    one.look(100.5, 102.0, shows=True)
    assert not one.looked


def test_what_is_shown_and_missing_again_counts_from_its_last_absence():
    one = Sighting(0.0, 0.0)
    for at, shows in ((5, True), (9, False), (14, True)):
        one.look(at, at, shows=shows)
    assert one.span == Span(9, 14)


def test_the_longest_and_what_all_have_in_common():
    spans = [Span(0, 10), Span(5, 12), Span(8, 30)]
    assert longest(spans) == Span(8, 30)
    assert common(spans) == Span(8, 10)
    assert common([Span(0, 1), Span(2, 3)]) is None


@given(st.lists(st.floats(0, 300), min_size=1, max_size=9), st.integers(1, 40))
def test_lists_that_lag_alike_are_never_called_apart(lags, width):
    pairs = [(Span(max(0, lag - width), lag), Span(lag, lag + width)) for lag in lags]
    assert alike(pairs) is not False


def test_one_billing_proves_that_lists_lag_apart():
    assert alike([(Span(0, 400), Span(0, 400)), (Span(10, 20), Span(30, 40))]) is False


def test_lists_that_hardly_lag_prove_nothing():
    assert alike([(Span(0, 2), Span(0, 2))] * 9) is None
    assert alike([]) is None


def test_short_spans_beside_lags_that_vary_prove_that_lists_lag_alike():
    assert alike([(Span(lag, lag + 5), Span(lag + 1, lag + 6)) for lag in (10, 60, 110, 190, 300)]) is True


def answered(error=None):
    return Reply("FaturarContrato", 0.0, 1.0, None if error else {"nCodOS": 1}, error)


def fault(text, rule="unknown", kind=InDoubt, status=500):
    return answered(kind("FaturarContrato", text, rule=rule, http_status=status))


STEM = r"\bja\b.*fatur"
DONE = answered()


@pytest.mark.parametrize(
    ("replies", "control", "believed"),
    [
        ([fault("O contrato já foi faturado neste mês!")], None, True),
        ([fault("Recusado: 12", kind=Rejected, rule="soft", status=200)], DONE, False),
        ([fault("Xyzzy 1"), fault("Xyzzy 2")], DONE, True),
        ([fault("Xyzzy 1"), fault("Xyzzy 2")], fault("Xyzzy 3"), False),
        ([fault("Xyzzy 1"), fault("Xyzzy 2")], None, False),
        ([fault("Xyzzy"), fault("Plugh")], DONE, False),
        ([fault("já faturando, tente novamente em instantes")] * 2, DONE, False),
        ([fault("REDUNDANT", rule="redundant")] * 2, DONE, False),
        ([fault("", status=503)] * 2, DONE, False),
        ([fault("ReadTimeout", rule="transport", status=None)] * 2, DONE, False),
        ([fault("Já existe", kind=NotExecuted, rule="method_busy")] * 2, DONE, False),
        ([DONE], DONE, False),
        ([], DONE, False),
    ],
)
def test_a_refusal_is_believed_by_its_words_or_by_their_repetition(replies, control, believed):
    assert (refusal(replies, STEM, control=control) is not None) is believed
