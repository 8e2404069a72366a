"""The measuring itself: what is read from the simulator's book, what counts as kept, and that the loops differ."""

from collections import Counter
from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from bench import naive, ours, planning, rate, receive
from bench.world import COMPANY, Terms, batches, numbers, one_company, plan
from simulators.lab import START

TERMS = Terms(contracts=60, seed=7, latency_ms=60.0)
LOSSY = replace(TERMS, faults="lost_reply:methods=FaturarContrato:nth=3,8")
KEPT = rate.Result(
    name=rate.OURS,
    contracts=500,
    billed=500,
    billed_twice=0,
    seconds=130.0,
    stopped=False,
    share_of_ceiling=0.96,
    fullest_minute=233,
    throttled_429=0,
    refused_425=0,
    blocks=0,
    busy_1880=0,
    redundant=0,
    parallel_writes=0,
)


@pytest.mark.parametrize("clean", [True, False])
def test_the_world_is_one_companys_with_just_so_many_contracts_to_bill(clean):
    world = one_company(40, 7, clean=clean)

    assert {contract.omie_company for contract in world.contracts} == {COMPANY}
    assert Counter(contract.expected for contract in world.contracts)["bill"] == 40
    assert (len(world.contracts) == 40) is clean


def test_our_plan_and_the_naive_loops_list_name_the_same_contracts():
    lab = TERMS.lab()

    planned = [line["nCodCtr"] for batch in batches(lab, plan(lab)) for line in batch["lines"]]

    assert sorted(planned) == sorted(numbers(TERMS.world()))


def test_a_naive_loop_tries_three_times_more_and_then_goes_on():
    steps = naive.loop(iter([11, 12]))
    refused, wanted = [], next(steps)
    while wanted != 12:
        refused.append(wanted)
        wanted = steps.send(False)

    assert refused == [11, naive.PAUSE, 11, naive.PAUSE, 11, naive.PAUSE, 11]


def test_without_faults_everybody_bills_each_contract_once_and_four_threads_write_at_the_same_time():
    own, sequential, threads, refused = rate.on_the_virtual_clock(TERMS, limit=60)

    assert [(one.billed, one.billed_twice) for one in (own, sequential, threads)] == [(60, 0)] * 3
    assert own.clean
    assert own.parallel_writes == sequential.parallel_writes == 0
    assert threads.parallel_writes > 0
    assert refused.blocks == 1
    assert refused.billed < 60


def test_two_lost_replies_cost_the_naive_loops_two_double_bills_and_ours_none():
    own, *others = rate.on_the_virtual_clock(LOSSY, limit=60)

    assert (own.billed, own.billed_twice) == (60, 0)
    assert [(one.name, one.billed_twice) for one in others] == [(rate.SEQUENTIAL, 2), (rate.THREADS, 2)]


def test_in_doubt_is_found_out_after_the_wait_and_not_before():
    _, billing, settled = ours.bill_virtually(LOSSY)

    assert settled - billing > 120


def test_a_result_is_read_from_the_book():
    book = {
        "billed_contracts": 480,
        "billed_twice": [{}, {}],
        "peak_per_minute": {"FaturarContrato": 241},
        "throttled": 81,
        "refused": {"blocked": 5, "in_flight": 2, "parallel_write": 7, "redundant": 3, "same_id": 1},
        "blocks": [{}],
        "parallel_writes": 7,
    }

    found = rate.read_result(rate.THREADS, replace(TERMS, contracts=500), book, 120.04, limit=120)

    assert asdict(found) == {
        "name": rate.THREADS,
        "contracts": 500,
        "billed": 480,
        "billed_twice": 2,
        "seconds": 120.0,
        "stopped": True,
        "share_of_ceiling": 1.0,
        "fullest_minute": 241,
        "throttled_429": 81,
        "refused_425": 5,
        "blocks": 1,
        "busy_1880": 2,
        "redundant": 4,
        "parallel_writes": 7,
    }


def test_a_parallel_write_is_an_1880_only_where_it_is_refused():
    book = {
        "billed_contracts": 1,
        "billed_twice": [],
        "peak_per_minute": {},
        "throttled": 0,
        "refused": {"parallel_write": 7},
        "blocks": [],
        "parallel_writes": 7,
    }

    found = rate.read_result("refused", replace(TERMS, switches=rate.REFUSES), book, 1.0)

    assert found.busy_1880 == 7


def test_what_was_promised_is_kept():
    assert rate.shortcomings(KEPT, replace(KEPT, share_of_ceiling=0.4)) == []


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({"share_of_ceiling": 0.94}, "94.0% of the ceiling, 95% was promised"),
        ({"throttled_429": 1}, "Omie refused calls for their rate"),
        ({"refused_425": 1}, "Omie refused calls for their rate"),
        ({"blocks": 1}, "Omie refused calls for their rate"),
        ({"busy_1880": 1}, "Omie refused calls for their rate"),
        ({"redundant": 1}, "Omie refused calls for their rate"),
        ({"billed_twice": 1}, "1 contracts billed twice"),
        ({"billed": 499}, "499 of 500 contracts billed"),
        ({"parallel_writes": 1}, "1 parallel writes"),
    ],
)
def test_what_was_promised_and_not_kept_is_told(measured, told):
    assert rate.shortcomings(replace(KEPT, **measured), None) == [told]


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({}, []),
        ({"bytes_a_contract": 1025}, ["1025 bytes a contract, at most 1024 were promised"]),
        ({"waited_seconds": 871}, ["planning takes longer than plan_company may (900 s)"]),
        ({"peak_rss_mb": 1800}, ["planning takes more memory than plan_company has (1769 MB)"]),
    ],
)
def test_planning_is_held_to_its_promise_and_to_its_functions_limits(measured, told):
    figures = {"bytes_a_contract": 600, "cpu_seconds": 30, "waited_seconds": 300, "peak_rss_mb": 180} | measured

    assert planning.shortcomings(figures) == told


def test_the_slowest_answers_that_fit_are_what_the_functions_time_leaves_for_each_call():
    assert planning.longest_answer({"cpu_seconds": 60, "omie_calls": 1900, "jestor_calls": 200}) == 0.4


def test_the_real_pace_clock_begins_where_it_is_told():
    clock = ours.PacedClock(START)

    clock.sleep(-1)

    assert timedelta() <= clock.now() - START < timedelta(minutes=1)


FIGURES = {
    "cold": {"rounds": 15, "ours_ms": 100.0, "conventional_ms": 1000.0, "compiled_ms": 500.0, "ratio": 0.1,
             "ratio_compiled": 0.2, "interpreter_ms": 30.0},
    "warm": {name: {"p50": 10.0, "p95": 20.0, "p99": 30.0, "max": 40.0}
             for name in ("contract", "churn", "refused", "put_item")},
}  # fmt: skip


def test_a_receiver_as_promised_has_no_shortcomings():
    assert receive.shortcomings(FIGURES) == []
    assert ("ratio (promised: at most 0.35)", "0.1") in receive.told(FIGURES)


@pytest.mark.parametrize(("part", "name", "value"), [("cold", "ratio", 0.36), ("warm", "contract", 200.0), ("warm", "churn", 250.0)])  # fmt: skip
def test_a_receiver_that_is_slow_is_told(part, name, value):
    slow = value if part == "cold" else FIGURES["warm"][name] | {"p99": value}
    (told,) = receive.shortcomings(FIGURES | {part: FIGURES[part] | {name: slow}})
    assert str(value) in told


def test_percentiles_are_of_what_was_measured_after_the_warm_up():
    times = iter([9999.0] * receive.WARM_UP + [float(n) for n in range(1, 101)])
    assert receive._spread(lambda: next(times), 100) == {"p50": 51.0, "p95": 96.0, "p99": 100.0, "max": 100.0}
