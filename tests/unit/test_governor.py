"""The rate of calls: no minute above the limit whatever the writers do, and close to it when they do not pause."""

from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.clock import SystemClock
from billing.omie.governor import (
    ERROR_BUDGET,
    ERROR_WINDOW,
    JITTER,
    LATENESS,
    READER_BUDGET,
    LaneState,
    ReaderState,
    ReadGate,
    Slots,
    blocked,
    in_time,
    interval_for,
    may_look_up,
    may_not_ask,
    note_block,
    note_error,
    note_reader_error,
    note_unknown,
    reader_stop,
    reserve,
    wait_turn,
)
from simulators.clock import VirtualClock

START = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
T0 = START.timestamp()


def busiest_minute(times):
    """Most of `times` in any half-open 60 s."""
    times = sorted(times)
    first, most = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= 60:
            first += 1
        most = max(most, last - first + 1)
    return most


class Lane:
    """The stored state that several workers share, each at a moment of its own."""

    def __init__(self, limit):
        self.state = LaneState()
        self.interval = interval_for(limit)

    def reserve(self, now, n):
        self.state, slots = reserve(self.state, now, n, self.interval)
        return slots


steps = st.tuples(
    st.integers(0, 2),  # the worker
    st.integers(1, 40),  # slots it reserves when it has none left
    st.one_of(st.just(0.0), st.floats(0, 0.4), st.floats(0, 5), st.floats(0, 90)),  # its pause before sending
    st.floats(0, 1),  # where on the way within the jitter
    st.integers(1, 30),  # sends in a row
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([5, 12, 30, 60]), st.lists(steps, max_size=40))
def test_no_minute_holds_more_calls_than_the_limit_however_writers_interleave_and_pause(limit, script):
    lane, held, now, arrived = Lane(limit), {}, defaultdict(lambda: T0), []
    for worker, n, pause, way, sends in script:
        for _ in range(sends):
            taken = held.get(worker, Slots(0, 1, 0)).take(now[worker])
            if taken is None:
                held[worker] = lane.reserve(now[worker], n)
                continue
            slot, held[worker] = taken
            now[worker] = max(now[worker], slot)
            if in_time(slot, now[worker]):
                arrived.append(now[worker] + way * JITTER * 0.999)
        now[worker] += pause
    assert busiest_minute(arrived) <= limit


@pytest.mark.parametrize("seconds_a_call", [0.0, 0.1, 0.2])
def test_without_pauses_the_throughput_is_at_least_95_percent_of_the_ceiling(seconds_a_call):
    limit, lane, clock, sent = 240, Lane(240), VirtualClock(START), []
    slots = Slots(0, 1, 0)
    while clock.now().timestamp() < T0 + 600:
        slots = wait_turn(slots, clock=clock, reserve=lambda: lane.reserve(clock.now().timestamp(), 25))
        sent.append(clock.now().timestamp())
        clock.advance(seconds_a_call)
    assert len(sent) >= 0.95 * limit * 10
    assert busiest_minute(sent) <= limit


def test_slots_that_went_late_are_skipped_not_sent():
    slots = Slots(start=100.0, interval=1.0, n=5)
    assert slots.take(100.0) == (100.0, Slots(101.0, 1.0, 4))
    assert slots.take(103.5) == (102.0, Slots(103.0, 1.0, 2))
    assert slots.take(104.0 + LATENESS) == (104.0, Slots(105.0, 1.0, 0))
    assert slots.take(104.1 + LATENESS) is None


def test_a_worker_that_overslept_reserves_anew():
    lane, clock = Lane(60), VirtualClock(START)
    stale = lane.reserve(T0, 3)
    clock.advance(300)
    left = wait_turn(stale, clock=clock, reserve=lambda: lane.reserve(clock.now().timestamp(), 2))
    assert left.n == 1
    assert left.start > T0 + 290


def test_a_gap_between_two_batches_is_caught_up_but_never_more_than_the_lateness():
    lane = Lane(60)
    first = lane.reserve(T0, 10)
    end = first.start + 10 * lane.interval
    assert lane.reserve(end + 1, 1).start == end
    assert lane.reserve(end + 500, 1).start == end + 500 - LATENESS


def test_no_slot_begins_while_the_lane_is_blocked():
    state = note_block(LaneState(), T0 + 1678, "425")
    assert blocked(state, T0)
    assert not blocked(state, T0 + 1678)
    assert reserve(state, T0, 1, 0.25)[1].start == T0 + 1678


def test_a_longer_block_is_not_shortened():
    state = note_block(note_block(LaneState(), T0 + 1800, "API bloqueada"), T0 + 60, "429")
    assert (state.blocked_until, state.blocked_reason) == (T0 + 1800, "API bloqueada")


def test_the_fifth_error_of_a_method_stops_the_lane_until_the_first_leaves_the_window():
    state = LaneState()
    for minute in range(ERROR_BUDGET):
        assert not blocked(state, T0 + 60 * minute)
        state = note_error(state, "AlterarContrato", T0 + 60 * minute)
        state = note_error(state, "ConsultarContrato", T0) if minute == 0 else state
    assert state.blocked_until == T0 + ERROR_WINDOW
    assert "AlterarContrato" in state.blocked_reason


def paused(method="ListarContratos"):
    state = LaneState()
    for n in range(ERROR_BUDGET):
        state = note_error(state, method, T0 + n)
    return state


def test_a_pause_of_our_own_stops_the_questions_of_its_method_and_all_writes_but_no_other_question():
    state = paused()
    assert blocked(state, T0 + 60)
    assert may_not_ask(state, "ListarContratos", T0 + 60)
    assert not may_not_ask(state, "ListarClientes", T0 + 60)
    assert not may_not_ask(state, "ListarContratos", T0 + ERROR_WINDOW)


@pytest.mark.parametrize("minutes", [5, 30])
def test_omies_block_stops_every_question_whatever_pause_stood_or_comes(minutes):
    before = note_block(paused(), T0 + 60 * minutes, "API bloqueada por consumo indevido")
    after = LaneState()
    after = note_block(after, T0 + 60 * minutes, "API bloqueada por consumo indevido")
    for n in range(ERROR_BUDGET):
        after = note_error(after, "ListarContratos", T0 + n)
    for state in (before, after):
        assert state.blocked_until == T0 + max(60 * minutes, ERROR_WINDOW)
        assert state.blocked_reason == "API bloqueada por consumo indevido"
        assert may_not_ask(state, "ListarClientes", T0 + 60)


def test_errors_that_left_the_window_are_forgotten():
    state = note_error(LaneState(), "AlterarContrato", T0)
    state = note_error(state, "FaturarContrato", T0 + ERROR_WINDOW)
    assert state.errors == {"FaturarContrato": (T0 + ERROR_WINDOW,)}


@given(st.lists(st.floats(0, 400), max_size=60))
def test_no_window_ever_holds_more_errors_than_the_budget(gaps):
    state, now, made = LaneState(), T0, []
    for gap in gaps:
        now = max(now + gap, state.blocked_until)
        state = note_error(state, "FaturarContrato", now)
        made.append(now)
    assert all(sum(start < at <= start + ERROR_WINDOW for at in made) <= ERROR_BUDGET for start in made)


def test_the_read_gate_keeps_every_minute_of_a_method_under_its_limit():
    clock = VirtualClock(START)
    gate, sent = ReadGate(clock, per_minute=10), []
    for _ in range(35):
        with gate.call("ListarContratos"):
            sent.append(clock.now().timestamp())
            clock.advance(0.1)
    assert busiest_minute(sent) == 10
    with gate.call("ListarClientes"):
        assert clock.now().timestamp() - sent[-1] < 1


def test_the_read_gate_holds_a_method_for_as_long_as_omie_asks():
    clock = VirtualClock(START)
    gate = ReadGate(clock)
    gate.hold("ListarOS", 16)
    gate.hold("ListarOS", 3)
    with gate.call("ListarNFSEs"):
        assert clock.now() == START
    with gate.call("ListarOS"):
        assert clock.now().timestamp() == T0 + 16


def test_the_system_clock_tells_utc_and_returns_at_once_from_a_wait_of_nothing():
    clock = SystemClock()
    clock.sleep(-1)
    assert clock.now().tzinfo is UTC
    with pytest.raises(ValueError, match="aware"):
        VirtualClock(datetime(2026, 12, 1))  # noqa: DTZ001


def test_readers_rest_after_two_errors_of_a_method_until_the_first_leaves_the_window():
    state = note_reader_error(ReaderState(), "ListarNFSEs", T0)
    assert reader_stop(state, "ListarNFSEs", T0) is None
    state = note_reader_error(state, "ListarNFSEs", T0 + 60)
    assert reader_stop(state, "ListarNFSEs", T0 + 60).until == T0 + ERROR_WINDOW
    assert reader_stop(state, "ListarContratos", T0 + 60) is None
    assert reader_stop(state, "ListarNFSEs", T0 + ERROR_WINDOW) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 400)), max_size=80))
def test_lane_and_readers_together_stay_below_the_ten_that_block_a_key(steps):
    lane, readers, now, made = LaneState(), ReaderState(), T0, []
    for is_reader, gap in steps:
        now += gap
        if is_reader and reader_stop(readers, "ListarContratos", now) is None:
            readers = note_reader_error(readers, "ListarContratos", now)
            made.append(now)
        elif not is_reader and not may_not_ask(lane, "ListarContratos", now):
            lane = note_error(lane, "ListarContratos", now)
            made.append(now)
    most = ERROR_BUDGET + READER_BUDGET
    assert all(sum(start <= at < start + ERROR_WINDOW for at in made) <= most for start in made)
    assert most < 10


def test_documents_that_nobody_knows_are_counted_by_the_hour():
    state = ReaderState()
    for minute in range(3):
        assert may_look_up(state, 3, T0 + 60 * minute)
        state = note_unknown(state, T0 + 60 * minute)
    assert not may_look_up(state, 3, T0 + 200)
    assert may_look_up(state, 3, T0 + 3600)
    assert note_unknown(state, T0 + 3661).unknown == (T0 + 120, T0 + 3661)
    assert not may_look_up(ReaderState(), 0, T0)
