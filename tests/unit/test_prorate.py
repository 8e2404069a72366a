"""A change in mid-cycle: every day is paid at exactly one price, to the centavo, in every month there is."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.month import BillingMonth
from billing.domain.prorate import Cycle, Pending, bundle, pending, prorate, settled, share

DAY = "2026-12-16"
amounts = st.integers(0, 10_000_00)
anchors = st.integers(1, 31)
days = st.dates(date(2024, 1, 1), date(2032, 12, 31))


@given(days, anchors)
def test_a_day_is_in_exactly_one_cycle_and_cycles_touch(day, anchor):
    cycle = Cycle.containing(day, anchor)
    assert cycle.first <= day <= cycle.last
    following = Cycle.containing(cycle.last + timedelta(days=1), anchor)
    assert following.first == cycle.last + timedelta(days=1)
    assert 28 <= cycle.days <= 31


def test_the_anchor_does_not_drift():
    firsts, day = [], date(2027, 1, 31)
    for _ in range(5):
        cycle = Cycle.containing(day, 31)
        firsts.append(cycle.first)
        day = cycle.last + timedelta(days=1)
    assert firsts == [date(2027, 1, 31), date(2027, 2, 28), date(2027, 3, 31), date(2027, 4, 30), date(2027, 5, 31)]


@given(amounts, amounts, days, anchors)
def test_up_and_down_on_one_day_is_nothing(old, new, day, anchor):
    cycle = Cycle.containing(day, anchor)
    assert prorate(old, new, day, cycle) + prorate(new, old, day, cycle) == 0
    assert prorate(old, old, day, cycle) == 0


@given(amounts, amounts, days, anchors)
def test_from_the_first_day_it_is_the_whole_difference_and_after_the_last_nothing(old, new, day, anchor):
    cycle = Cycle.containing(day, anchor)
    assert prorate(old, new, cycle.first, cycle) == new - old
    assert prorate(old, new, cycle.first - timedelta(days=40), cycle) == new - old
    assert prorate(old, new, cycle.last + timedelta(days=1), cycle) == 0


@given(st.lists(st.tuples(amounts, st.integers(0, 30)), min_size=1, max_size=6), amounts, days, anchors)
def test_any_number_of_changes_pays_each_day_once_without_gap_or_overlap(changes, first_price, day, anchor):
    cycle = Cycle.containing(day, anchor)
    steps = sorted((cycle.first + timedelta(days=after % cycle.days), new) for new, after in changes)
    steps = list(dict(steps).items())  # of two on one day the last holds
    prices = [(cycle.first, first_price), *steps]
    paid = first_price
    for (_, old), (effective, new) in pairwise(prices):
        paid += prorate(old, new, effective, cycle)
    exact = 0
    for offset in range(cycle.days):
        today = cycle.first + timedelta(days=offset)
        exact += [new for since, new in prices if since <= today][-1]
    assert abs(paid * cycle.days - exact) <= cycle.days * len(steps)  # half a centavo a rounding, two a change
    ends = [*[since for since, _ in prices[1:]], cycle.last + timedelta(days=1)]
    pieces = [share(p, a, cycle) - share(p, b, cycle) for (a, p), b in zip(prices, ends, strict=True)]
    assert paid == sum(pieces)


@given(amounts, days, days, anchors)
def test_a_price_that_did_not_change_costs_itself_however_it_is_cut(amount, day, cut, anchor):
    cycle = Cycle.containing(day, anchor)
    assert (share(amount, cycle.first, cycle) - share(amount, cut, cycle)) + share(amount, cut, cycle) == amount


@pytest.mark.parametrize(
    ("old", "new", "day", "amount"),
    [
        (100000, 150000, date(2026, 12, 16), 25806),  # 50000 x 16/31 = 25806.45
        (150000, 100000, date(2026, 12, 16), -25806),
        (100000, 150000, date(2027, 2, 15), 25000),  # 14 of 28 days
        (100, 101, date(2026, 12, 31), 0),
        (0, 31, date(2026, 12, 31), 1),
    ],
)
def test_by_hand(old, new, day, amount):
    assert prorate(old, new, day, Cycle.containing(day, 1)) == amount


def test_what_a_change_leaves_says_how_it_was_reckoned():
    cycle = Cycle.of(BillingMonth(2026, 12), 1)
    assert pending(1, 100000, 150000, date(2026, 12, 16), cycle) == Pending(
        1,
        25806,
        "R$ 1.000,00 → R$ 1.500,00 a partir de 16/12/2026: 16 de 31 dias de 01/12 a 31/12/2026 = R$ 258,06",
        "2026-12-16",
    )
    assert pending(2, 100000, 100000, date(2026, 12, 16), cycle) is None


def test_an_upgrade_and_a_downgrade_are_netted_and_a_credit_waits():
    up, down = Pending(1, 25806, "mais", DAY), Pending(2, -10000, "menos", DAY)
    both = bundle("JST-12", [up, down])
    assert (both.amount, both.key, both.kind, both.proof) == (
        15806,
        "proporcional#JST-12#2",
        "proporcional",
        "mais; menos",
    )
    assert bundle("JST-12", [down]) is None
    assert bundle("JST-12", []) is None


def test_what_a_bill_carried_is_settled_and_what_came_after_it_is_not():
    pendings = (Pending(1, 500, "a", DAY), Pending(2, -100, "b", DAY), Pending(3, 70, "c", DAY))
    assert settled("JST-12", pendings, "proporcional#JST-12#2") == (pendings[2],)
    assert settled("JST-12", pendings, "encargos#9#2026-12") == pendings
    assert settled("JST-12", pendings, "proporcional#JST-1#2") == pendings


def test_what_is_pending_goes_through_the_table():
    assert Pending.from_dict(Pending(3, -70, "c", DAY).to_dict()) == Pending(3, -70, "c", DAY)
