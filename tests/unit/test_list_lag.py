"""How late Omie's lists are, by the orders that the ledger knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.list_lag import GONE_AFTER, LONGEST_BELIEVED, ListLag

ASSUMED = 120


def looked(*seen):
    lag = ListLag(ASSUMED)
    for age, listed in seen:
        lag = lag.found(age) if listed else lag.lacking(age)
    return lag


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        ((), ASSUMED),
        ([(5, True)], ASSUMED),
        ([(119, False)], ASSUMED),
        ([(70, False), (200, True), (131, True)], 131),
        ([(200, False)], 600),
        ([(200, False), (261, True)], 522),
        ([(500, False), (561, True)], 750),
        ([(5000, True)], 600),
        ([(5, True), (239, False)], 359),
        ([(5, True), (240, False)], ASSUMED),
        ([(GONE_AFTER, False)], ASSUMED),
    ],
)
def test_the_lists_are_as_late_as_the_known_orders_show(seen, seconds):
    assert looked(*seen).seconds == seconds


def test_an_order_that_a_person_undid_is_not_waited_for():
    assert looked((130, True), (900, False)).in_time
    assert looked((900, False)).by_those_found == LONGEST_BELIEVED


def test_what_was_measured_is_kept_from_one_look_to_the_next():
    lag = looked((70, False), (131, True))
    assert ListLag(ASSUMED, **lag.measures()) == lag
    assert ListLag(ASSUMED, **ListLag(ASSUMED).measures()) == ListLag(ASSUMED)


@given(
    late=st.floats(0, LONGEST_BELIEVED),
    assumed=st.integers(0, 300),
    orders=st.lists(st.floats(0, 900), min_size=1, max_size=6),
    looks=st.lists(st.floats(0, 3000), min_size=1, max_size=6),
)
def test_once_a_list_shows_one_known_order_it_is_not_later_than_it_is_said_to_be(late, assumed, orders, looks):
    """A list that lags as a whole: at each look it shows what was billed `late` seconds ago or earlier."""
    lag = ListLag(assumed)
    for look in looks:
        for made in sorted((made for made in orders if made <= look), reverse=True):
            age = look - made
            lag = lag.found(age) if age >= late else lag.lacking(age)
    if lag.shown is not None:
        assert lag.seconds >= late
    assert lag.seconds >= assumed
