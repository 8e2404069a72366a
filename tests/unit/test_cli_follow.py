"""What a person sees while a run goes on: snapshots in, lines out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ConnectTimeoutError

from billing.store import dynamo
from ops.follow import (
    PATIENCE,
    CompanyProgress,
    Follower,
    PlainShow,
    Snapshot,
    duration,
    hour,
    plain_lines,
    rate,
    remaining,
    situation,
    view,
)
from simulators.clock import VirtualClock

NOON = datetime(2026, 12, 1, 15, 0, tzinfo=UTC)  # 12:00 in São Paulo
ACME = CompanyProgress("acme", to_bill=1000)


def at(seconds: float, *companies: CompanyProgress, ended: bool = False) -> Snapshot:
    return Snapshot(NOON + timedelta(seconds=seconds), companies, "2026-12", ended)


def steady(seconds: int, per_minute: int, start: CompanyProgress = ACME) -> list[Snapshot]:
    return [
        at(second, replace(start, billed=start.billed + per_minute * second // 60))
        for second in range(0, seconds + 1, 2)
    ]


def only_line(*history: Snapshot) -> str:
    (line,) = plain_lines(view(history))
    return line


def test_before_the_plan_the_line_says_what_is_being_done():
    assert only_line(at(0, CompanyProgress("acme"))) == "12:00:00 acme: planejando"


def test_a_running_company_shows_count_pace_and_time_left():
    history = steady(60, per_minute=240)
    assert only_line(*history) == "12:01:00 acme: 240/1.000 faturados · 240/min · faltam 3 min"


def test_the_first_snapshot_claims_no_pace():
    assert only_line(at(0, replace(ACME, billed=400))) == "12:00:00 acme: 400/1.000 faturados"


def test_the_pace_is_that_of_the_last_two_minutes_not_of_the_whole_run():
    slow = [at(second, replace(ACME, billed=second)) for second in range(0, 600, 10)]
    fast = [at(600 + second, replace(ACME, billed=600 + second * 4)) for second in range(0, 121, 10)]
    assert rate([*slow, *fast], "acme") == pytest.approx(240, rel=0.02)


def test_a_counter_that_goes_back_gives_no_pace():
    assert rate([at(0, replace(ACME, billed=500)), at(60, replace(ACME, billed=10))], "acme") is None


def test_no_progress_shows_a_pace_of_zero_and_no_time_left():
    line = only_line(at(0, replace(ACME, billed=10)), at(60, replace(ACME, billed=10)))
    assert line == "12:01:00 acme: 10/1.000 faturados · 0/min"


def test_a_blocked_lane_says_until_when_how_long_and_why_instead_of_a_pace():
    blocked = replace(
        ACME, billed=412, blocked_until=NOON + timedelta(minutes=32), blocked_reason="o Omie bloqueou a chave"
    )
    line = only_line(at(0, replace(ACME, billed=400)), at(60, blocked))
    assert line == ("12:01:00 acme: 412/1.000 faturados · bloqueada até 12:32 (faltam 31 min): o Omie bloqueou a chave")


def test_a_block_that_is_over_is_not_shown():
    over = replace(ACME, billed=412, blocked_until=NOON - timedelta(seconds=1), blocked_reason="x")
    assert only_line(at(0, over)) == "12:00:00 acme: 412/1.000 faturados"


def test_parked_and_in_doubt_are_told_in_singular_and_plural():
    one = replace(ACME, billed=10, parked=1, in_doubt=1)
    many = replace(ACME, billed=10, parked=12, in_doubt=3)
    assert only_line(at(0, one)).endswith("· 1 parado · 1 em dúvida")
    assert only_line(at(0, many)).endswith("· 12 parados · 3 em dúvida")


def test_waiting_for_approval_shows_the_reasons():
    waiting = replace(ACME, waiting_approval=("total acima do limite", "3 saltos"))
    assert only_line(at(0, waiting)).endswith(
        "· espera aprovação: total acima do limite; 3 saltos · responda em outro terminal: "
        "billing-ops approve --month 2026-12 --company acme (ou reject)"
    )


def test_parked_contracts_do_not_count_as_still_to_come():
    history = [at(s, replace(ACME, billed=900 + s, parked=20)) for s in range(0, 61, 2)]
    assert "falta menos de 1 min" in only_line(*history)


def test_when_all_is_sent_the_company_is_being_checked_and_has_no_time_left():
    row = view([at(0, replace(ACME, billed=990)), at(60, replace(ACME, billed=1000))]).rows[0]
    assert (row.step, row.per_minute, row.left, row.done) == ("conferindo com o Omie", None, None, 1.0)


def test_without_the_plans_count_the_line_counts_what_is_billed():
    assert only_line(at(0, CompanyProgress("acme", billed=25))) == "12:00:00 acme: 25 faturados"


def test_contracts_in_doubt_were_sent_and_are_being_checked():
    row = view([at(0, replace(ACME, billed=995, parked=2, in_doubt=3))]).rows[0]
    assert (row.step, row.notes) == ("conferindo com o Omie", ("2 parados · 3 em dúvida",))


def test_a_closed_company_has_no_more_doubts():
    row = view([at(0, replace(ACME, billed=997, in_doubt=3, closed=True))]).rows[0]
    assert (row.step, row.notes) == ("encerrada", ())


def test_several_companies_have_a_total_and_wait_for_the_slowest():
    nimbus = CompanyProgress("nimbus", to_bill=100)
    history = [at(s, replace(ACME, billed=s * 4), replace(nimbus, billed=s)) for s in range(0, 61, 2)]
    lines = plain_lines(view(history))
    assert [line.split(" ", 1)[1] for line in lines] == [
        "acme: 240/1.000 faturados · 240/min · faltam 3 min",
        "nimbus: 60/100 faturados · 60/min · falta 1 min",
        "total: 300/1.100 faturados · 300/min · faltam 3 min",
    ]


def test_the_total_promises_no_end_while_one_company_stands_still():
    blocked = CompanyProgress("nimbus", to_bill=100, blocked_until=NOON + timedelta(minutes=30))
    history = [at(s, replace(ACME, billed=s * 4), blocked) for s in range(0, 61, 2)]
    assert plain_lines(view(history))[-1] == "12:01:00 total: 240/1.100 faturados · 240/min"


def test_the_total_waits_for_nobody_who_has_sent_everything():
    done = CompanyProgress("nimbus", to_bill=100, billed=100)
    history = [at(s, replace(ACME, billed=s * 4), done) for s in range(0, 61, 2)]
    assert plain_lines(view(history))[-1] == "12:01:00 total: 340/1.100 faturados · 240/min · faltam 3 min"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "menos de 1 min"), (29, "menos de 1 min"), (31, "1 min"), (3540, "59 min"), (3900, "1 h 05 min")],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(timedelta(seconds=seconds)) == said


def test_an_hour_of_another_day_comes_with_its_day():
    assert hour(NOON, NOON) == "12:00"
    assert hour(NOON + timedelta(days=1), NOON) == "02/12 12:00"


class Script:
    """Gives the snapshots one after another, or raises what stands in their place."""

    def __init__(self, clock, steps):
        self.clock = clock
        self.steps = list(steps)

    def __call__(self):
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return replace(step, at=self.clock.now())


def follower(steps, shown):
    clock = VirtualClock(NOON)
    return Follower(Script(clock, steps), shown.append, clock, dynamo.passes)


def test_following_ends_with_the_execution_and_keeps_only_the_window():
    shown = []
    steps = [*(at(0, replace(ACME, billed=n)) for n in range(200)), at(0, ACME, ended=True)]
    loop = follower(steps, shown)
    assert loop.until_ended().ended
    assert len(shown) == 201
    assert len(loop.history) == 61  # two minutes of readings, two seconds apart


def test_a_lost_connection_is_a_warning_and_following_goes_on():
    lost = ConnectTimeoutError(endpoint_url="http://127.0.0.1:1")
    shown = []
    follower([at(0, ACME), lost, lost, at(0, ACME, ended=True)], shown).until_ended()
    assert [bool(step.warning) for step in shown] == [False, True, True, False]
    assert plain_lines(shown[1])[-1] == ("12:00:02 a AWS não responde há menos de 1 min; a execução continua por lá")


def test_a_log_is_told_again_and_again_that_aws_is_silent():
    lost = ConnectTimeoutError(endpoint_url="http://127.0.0.1:1")
    lines = []
    clock = VirtualClock(NOON)
    script = Script(clock, [at(0, ACME), *[lost] * 60, at(0, ACME, ended=True)])
    Follower(script, PlainShow(lines.append), clock, dynamo.passes).until_ended()
    silent = [line[9:] for line in lines if "não responde" in line]
    assert silent[0] == "a AWS não responde há menos de 1 min; a execução continua por lá"
    assert silent[-1] == "a AWS não responde há 2 min; a execução continua por lá"
    assert len(silent) == 8


def test_a_connection_lost_for_too_long_ends_the_following():
    lost = ConnectTimeoutError(endpoint_url="http://127.0.0.1:1")
    loop = follower([at(0, ACME), lost], [])
    with pytest.raises(ConnectTimeoutError):
        loop.until_ended()
    assert loop.clock.now() - NOON > PATIENCE


def test_an_error_that_does_not_pass_ends_the_following_at_once():
    with pytest.raises(KeyError):
        follower([at(0, ACME), KeyError("x")], []).until_ended()


def test_a_log_gets_a_line_every_fifteen_seconds():
    lines = []
    show = PlainShow(lines.append)
    for snapshot in steady(60, per_minute=60):
        show(view([snapshot]))
    assert [line[:8] for line in lines] == ["12:00:00", "12:00:16", "12:00:32", "12:00:48"]


def test_a_log_gets_a_line_at_once_when_a_lane_is_blocked():
    lines = []
    show = PlainShow(lines.append)
    show(view([at(0, ACME)]))
    until = NOON + timedelta(minutes=30)
    for second in (2, 4, 6):
        show(view([at(second, replace(ACME, blocked_until=until))]))
    assert [line[:8] for line in lines] == ["12:00:00", "12:00:02"]


@pytest.mark.parametrize(
    ("counters", "shown"),
    [
        ({"billed": 55, "parked": 1, "in_doubt": 5}, "55/59 faturados · 1 parado · 3 em dúvida"),
        ({"billed": 61}, "59/59 faturados"),
        ({"billed": 58, "parked": 4}, "58/59 faturados · 1 parado"),
        ({"billed": 50, "parked": 2, "in_doubt": 3}, "50/59 faturados · 2 parados · 3 em dúvida"),
    ],
)
def test_the_parts_of_a_line_are_never_more_than_the_whole(counters, shown):
    assert only_line(at(0, CompanyProgress("acme", to_bill=59, **counters))) == f"12:00:00 acme: {shown}"


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0, "falta menos de 1 min"),
        (1, "falta 1 min"),
        (2, "faltam 2 min"),
        (65, "falta 1 h 05 min"),
        (125, "faltam 2 h 05 min"),
    ],
)
def test_what_is_left_agrees_in_number(minutes, said):
    assert remaining(timedelta(minutes=minutes)) == said


# --- waiting says what for, and until when


def silent(seconds, **more):
    """Snapshots every two seconds of a company that billed 978 of 1,000 and moves no more."""
    return [at(s, replace(ACME, billed=978, **more)) for s in range(0, seconds + 1, 2)]


def test_a_batch_that_tells_nothing_has_no_time_left_and_says_when_it_comes_back():
    assert "falta" not in only_line(*silent(100))
    assert only_line(*silent(100)).endswith("978/1.000 faturados · sem avanço há 2 min")
    assert only_line(*silent(180)).endswith(
        "978/1.000 faturados · sem avanço há 3 min: um lote interrompido volta à fila até 12:12 e continua sozinho; "
        "nada é cobrado duas vezes"
    )
    assert only_line(*silent(800)).endswith("sem avanço há 13 min: veja billing-ops status e billing-ops dlq list")


def test_the_follower_remembers_the_last_move_though_old_snapshots_are_gone():
    lines = []
    clock = VirtualClock(NOON)

    def read():
        seconds = (clock.now() - NOON).total_seconds()
        return Snapshot(clock.now(), (replace(ACME, billed=978),), "2026-12", ended=seconds >= 600)

    Follower(read, PlainShow(lines.append), clock, lambda _: False).until_ended()
    assert any("sem avanço há 9 min: um lote interrompido volta à fila até 12:12" in line for line in lines)
    assert not any("falta" in line for line in lines)


def test_what_is_in_doubt_says_when_omie_is_asked_again():
    history = [at(s, replace(ACME, billed=997, in_doubt=3)) for s in range(0, 61, 2)]
    row = view(history, doubt_waits={"acme": timedelta(minutes=10)}).rows[0]
    assert row.notes == (
        "3 em dúvida",
        "espera para ler de novo no Omie o que está em dúvida: por volta das 12:10",
    )


def test_the_time_left_counts_the_rest_of_what_is_in_doubt():
    """A doubt of a moment ago rests for its whole wait, beside what is still sent, in every company."""
    waits = {"acme": timedelta(minutes=5), "nimbus": timedelta(minutes=5)}
    doubting = [at(s, replace(ACME, billed=900 + s, in_doubt=1)) for s in range(0, 61, 2)]
    assert plain_lines(view(doubting, doubt_waits=waits)) == [
        "12:01:00 acme: 960/1.000 faturados · 60/min · faltam 5 min · 1 em dúvida"
    ]
    checking = CompanyProgress("nimbus", to_bill=100, billed=99, in_doubt=1)
    both = [at(s, replace(ACME, billed=900 + s), checking) for s in range(0, 61, 2)]
    assert (
        plain_lines(view(both, doubt_waits=waits))[-1]
        == "12:01:00 total: 1.059/1.100 faturados · 60/min · faltam 4 min"
    )


@pytest.mark.parametrize(
    ("unclear", "turned", "said"),
    [
        (
            201,
            True,
            "o Omie ainda mostra o mês anterior em 201 contratos, e a execução espera que ele vire o mês: confere",
        ),
        (1, False, "o Omie não mostra 1 contrato nem com OS deste mês nem a faturar: confere de novo às 12:10"),
    ],
)
def test_what_omie_shows_neither_way_is_said_with_the_hour_of_the_next_look(unclear, turned, said):
    at_ten = NOON + timedelta(minutes=10)
    company = replace(ACME, billed=10, unclear=unclear, month_not_turned=turned, asked_again_at=at_ten)
    row = view([at(s, company) for s in range(0, 61, 2)]).rows[0]
    assert any(said in note for note in row.notes)
    assert (row.per_minute, row.left) == (None, None)


def test_a_blocked_a_closed_and_a_planning_company_say_nothing_of_standing_still():
    blocked = replace(ACME, billed=10, blocked_until=NOON + timedelta(hours=1))
    for company in (blocked, replace(ACME, billed=10, closed=True), CompanyProgress("acme")):
        history = [at(s, company) for s in range(0, 400, 2)]
        assert "sem avanço" not in only_line(*history)


def test_how_long_nothing_moved_is_no_reason_for_a_line_of_its_own():
    early, late = view(silent(200)), view(silent(280))
    assert early.rows != late.rows
    assert situation(early) == situation(late)
