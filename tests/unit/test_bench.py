"""The measuring itself: what is read from the simulator's book, what counts as kept, and that the loops differ."""

from collections import Counter
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from bench import __main__ as command
from bench import naive, ours, planning, rate, receive
from bench.floor import Margin, Work
from bench.world import COMPANY, Terms, numbers, one_company
from simulators.lab import START, demo_settings

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
DEMO = Work(contracts=500, alterations=31, creations=8)
NEAR = Margin(
    work=DEMO,
    floor_seconds=125.0,
    allowed_ratio=1.05,
    allowed_wait=0.0,
    billed_seconds=130.0,
    settled_seconds=191.0,
    calls={"FaturarContrato": 500, "AlterarContrato": 31, "IncluirContrato": 8, "UpsertClienteCpfCnpj": 5,
           "ListarContratos": 42},
    written=544,
)  # fmt: skip


def test_the_world_is_one_companys_with_just_so_many_contracts_to_bill_and_some_that_are_not():
    world = one_company(40, 7)

    assert {contract.omie_company for contract in world.contracts} == {COMPANY}
    assert Counter(contract.expected for contract in world.contracts)["bill"] == 40
    assert len(world.contracts) > 40


def test_ours_bills_the_naive_loops_contracts_and_those_that_it_creates():
    lab = TERMS.lab()

    run = ours.bill(lab)

    billed = {billing.nCodCtr for billing in lab.omie.book.billings}
    assert billed > set(numbers(TERMS.world()))
    assert len(billed) == len(numbers(TERMS.world())) + run.work.creations == run.work.contracts == 60
    assert run.work.alterations > 0


def test_a_naive_loop_tries_three_times_more_and_then_goes_on():
    steps = naive.loop(iter([11, 12]))
    refused, wanted = [], next(steps)
    while wanted != 12:
        refused.append(wanted)
        wanted = steps.send(False)

    assert refused == [11, naive.PAUSE, 11, naive.PAUSE, 11, naive.PAUSE, 11]


def test_without_faults_everybody_bills_each_contract_once_and_four_threads_write_at_the_same_time():
    own, sequential, threads, refused = rate.on_the_virtual_clock(TERMS, limit=60).loops
    existing = len(numbers(TERMS.world()))

    assert [(one.contracts, one.billed, one.billed_twice) for one in (own, sequential, threads)] == [
        (60, 60, 0),
        (existing, existing, 0),
        (existing, existing, 0),
    ]
    assert own.clean
    assert own.parallel_writes == sequential.parallel_writes == 0
    assert threads.parallel_writes > 0
    assert refused.blocks == 1
    assert refused.billed < existing


def test_two_lost_replies_cost_the_naive_loops_two_double_bills_and_ours_none():
    own, *others = rate.on_the_virtual_clock(LOSSY, limit=60).loops

    assert (own.billed, own.billed_twice) == (60, 0)
    assert [(one.name, one.billed_twice) for one in others] == [(rate.SEQUENTIAL, 2), (rate.THREADS, 2)]


def test_ours_is_timed_from_the_plan_to_the_last_contract_of_the_last_round_and_until_settle_is_done():
    compared = rate.on_the_virtual_clock(TERMS, limit=60)
    lab = TERMS.lab()
    run = ours.bill(lab)
    margin, book = compared.margin, lab.omie.book

    assert compared.loops[0].seconds == round(margin.billed_seconds, 1)
    assert margin.billed_seconds == pytest.approx(book.billings[-1].at - run.plan_ready.timestamp(), abs=0.001)
    assert 0 < margin.billed_seconds < margin.settled_seconds
    assert margin.calls == {method: its.count for method, its in book.methods.items()}
    assert margin.written == sum(its.count for its in book.methods.values() if its.write)


def test_a_lost_request_is_sent_again_after_the_in_doubt_wait_and_counts_until_then():
    terms = replace(TERMS, faults="lost_request:methods=FaturarContrato:nth=3")

    margin = rate.on_the_virtual_clock(terms, limit=60).margin

    assert margin.billed_seconds > margin.allowed_wait == demo_settings().companies[COMPANY].in_doubt_wait_seconds


def test_a_company_that_fails_ends_the_measurement():
    lab = TERMS.lab()
    lab.omie.apps[COMPANY].app_key = "another"  # the simulator knows it by the first one

    with pytest.raises(RuntimeError, match="our run failed"):
        ours.bill(lab)


@pytest.mark.parametrize(
    ("work", "latency", "lag", "floor"),
    [
        (DEMO, 0.06, 0.0, 125.0),  # 240 billings a minute
        (DEMO, 1.4, 8.0, 547 * 1.4),  # one write after the other
        (Work(500, 0, 0), 0.25, 8.0, 125.0),
        (Work(10, 10, 0), 1.0, 8.0, 28.0),  # none can be billed before its alteration is shown
        (Work(10, 9, 1), 1.0, 8.0, 21.0),
    ],
)
def test_the_floor_is_omies_rate_or_the_writes_one_by_one_and_a_read_lag_where_all_are_altered(
    work, latency, lag, floor
):
    assert work.floor(latency, lag) == pytest.approx(floor)


def test_the_work_is_the_plans_own_counts():
    plan = {"counts": {"bill": 500, "skip": 22, "park": 15}, "work": {"alter": 31, "create": 8, "none": 461}}

    assert Work.of(plan) == DEMO
    assert DEMO.writes == 547
    assert Work.of({"counts": {"bill": 3}, "work": {"none": 3}}) == Work(3, 0, 0)


@pytest.mark.parametrize(("faults", "ratio", "wait"), [("", 1.05, 0.0), ("lost_reply:share=0.01", 1.3, 191.0)])
def test_the_margin_is_read_from_the_book(faults, ratio, wait):
    terms = replace(TERMS, faults=faults, latency_ms=1000.0, switches={"read_lag": "8"})
    run = ours.Run(Work(4, 4, 0), START, START + timedelta(seconds=90))
    book = {
        "last_billing_at": (START + timedelta(seconds=40)).isoformat(timespec="milliseconds"),
        "calls": {
            "FaturarContrato": {"count": 5, "write": True},
            "AlterarContrato": {"count": 4, "write": True},
            "ListarContratos": {"count": 2, "write": False},
        },
    }

    assert rate.read_margin(terms, book, run, 191.0) == Margin(
        work=Work(4, 4, 0),
        floor_seconds=16.0,
        allowed_ratio=ratio,
        allowed_wait=wait,
        billed_seconds=40.0,
        settled_seconds=90.0,
        calls={"FaturarContrato": 5, "AlterarContrato": 4, "ListarContratos": 2},
        written=9,
    )


def test_a_clock_of_omies_that_is_ahead_is_allowed_for():
    run = ours.Run(Work(4, 0, 0), START, START + timedelta(seconds=90))
    book = {"last_billing_at": (START + timedelta(seconds=40)).isoformat(), "calls": {}}

    assert rate.read_margin(replace(TERMS, switches={"clock_offset": "30"}), book, run, 191.0).billed_seconds == 10.0


def test_where_nothing_was_billed_no_time_is_told():
    run = ours.Run(Work(4, 0, 0), START, START + timedelta(seconds=90))

    assert rate.read_margin(TERMS, {"last_billing_at": None, "calls": {}}, run, 191.0).billed_seconds == 0.0


def test_the_calls_beyond_are_the_reads_and_the_writes_that_nobody_needed():
    assert NEAR.total_calls == 586
    assert NEAR.calls_beyond == 0.084  # 42 reads; that three customers were known pays for none of them
    assert replace(NEAR, calls={"FaturarContrato": 600}, written=600).calls_beyond == round(53 / 500, 3)


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({}, []),
        ({"billed_seconds": 131.2}, []),
        (
            {"billed_seconds": 190.5},
            ["the last contract was billed after 190.5 s, 1.05 x floor = 131.2 s was promised"],
        ),
        ({"allowed_ratio": 1.3, "allowed_wait": 191.0, "billed_seconds": 353.5}, []),
        (
            {"allowed_ratio": 1.3, "allowed_wait": 191.0, "billed_seconds": 353.6},
            ["the last contract was billed after 353.6 s, 1.3 x floor + 191 s in doubt = 353.5 s was promised"],
        ),
        ({"written": 511}, []),
        ({"written": 510}, ["0.152 calls a contract beyond the needed writes, 0.15 was promised"]),
    ],
)
def test_a_run_is_held_to_the_floor_and_to_the_calls_that_were_promised(measured, told):
    assert replace(NEAR, **measured).shortcomings() == told


def test_the_figures_say_what_was_measured_and_what_was_allowed():
    figures = NEAR.figures()

    assert (figures["floor_seconds"], figures["allowed_seconds"], figures["ratio"]) == (125.0, 131.2, 1.04)
    assert (figures["total_calls"], figures["needed_writes"], figures["calls_beyond"]) == (586, 547, 0.084)


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

    found = rate.read_result(rate.THREADS, TERMS, book, 120.04, contracts=500, limit=120)

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

    found = rate.read_result("refused", replace(TERMS, switches=rate.REFUSES), book, 1.0, contracts=1)

    assert found.busy_1880 == 7


def test_what_was_promised_is_kept():
    assert rate.shortcomings(rate.Comparison([KEPT], NEAR)) == []


@pytest.mark.parametrize(
    ("measured", "told"),
    [
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
    assert rate.shortcomings(rate.Comparison([replace(KEPT, **measured)], NEAR)) == [told]


def test_the_margin_and_only_our_own_loop_are_held_to_the_promises():
    naive_loop = replace(KEPT, name=rate.SEQUENTIAL, billed=1, billed_twice=9)

    assert rate.shortcomings(rate.Comparison([KEPT, naive_loop], replace(NEAR, billed_seconds=200.0))) == [
        "the last contract was billed after 200.0 s, 1.05 x floor = 131.2 s was promised"
    ]


@pytest.mark.parametrize(("profile", "latency", "lag"), [("demo", 60.0, 8.0), ("live", 1400.0, 120.0)])
def test_a_profile_sets_latency_and_switches_and_its_faults_are_in_the_second_table(monkeypatch, profile, latency, lag):
    asked = []

    def measure(terms, limit):
        asked.append((terms, limit))
        return rate.Comparison([KEPT], NEAR)

    monkeypatch.setattr(rate, "on_the_virtual_clock", measure)
    monkeypatch.setattr(command, "_write", lambda *_: None)

    done = CliRunner().invoke(command.app, ["--virtual", "--profile", profile, "--contracts", "20"])

    assert done.exit_code == 0, done.output
    (plain, _), (lost, _) = asked
    assert (plain.latency_ms, plain.switched().read_lag, plain.switched().list_lag) == (latency, 8.0, lag)
    assert plain.faults == ""
    assert lost == replace(plain, faults="lost_reply:share=0.0145;lost_request:share=0.0145")


def test_latency_and_switches_of_the_command_win_over_the_profiles(monkeypatch):
    asked = []
    monkeypatch.setattr(
        rate, "on_the_virtual_clock", lambda terms, limit: asked.append(terms) or rate.Comparison([KEPT], NEAR)
    )
    monkeypatch.setattr(command, "_write", lambda *_: None)

    CliRunner().invoke(
        command.app,
        ["--virtual", "--no-faults", "--profile", "live", "--latency-ms", "0", "--switch", "read_lag=2"],
    )

    (terms,) = asked
    assert (terms.latency_ms, terms.switched().read_lag, terms.switched().list_lag) == (0.0, 2.0, 120.0)


def test_a_profile_that_does_not_exist_is_told():
    done = CliRunner().invoke(command.app, ["--profile", "lively"])

    assert done.exit_code == 2
    assert "one of demo, live, not lively" in done.output


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
    clock.advance(0.05)

    assert timedelta(seconds=0.05) <= clock.now() - START < timedelta(minutes=1)


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
