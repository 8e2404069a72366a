import pytest

from billing.omie.governor import ERROR_BUDGET, LATENESS, BlockedUntil, LaneState, ReaderState, Slots, reader_stop
from billing.store.lanes import RACES, LaneStore

NOW = 1_764_590_400.123456  # 2025-12-01 09:00 in São Paulo
INTERVAL = 62.5 / 240


def test_a_lane_nobody_used_is_free(stores):
    assert stores.lanes.get("acme") == LaneState()


def test_reservations_follow_one_another_without_overlap(stores):
    first = stores.lanes.reserve("acme", 25, NOW, INTERVAL)
    second = stores.lanes.reserve("acme", 10, NOW, INTERVAL)
    assert first == Slots(NOW - LATENESS, INTERVAL, 25)
    assert second == Slots(first.start + 25 * INTERVAL, INTERVAL, 10)
    assert stores.lanes.get("acme").next_free == second.start + 10 * INTERVAL


def test_companies_have_lanes_of_their_own(stores):
    stores.lanes.reserve("acme", 25, NOW, INTERVAL)
    assert stores.lanes.reserve("nimbus", 1, NOW, INTERVAL) == Slots(NOW - LATENESS, INTERVAL, 1)


def test_a_blocked_lane_gives_no_slots_until_the_block_is_over(stores):
    stores.lanes.block("acme", NOW + 1800, "425: API bloqueada por consumo indevido")
    before = stores.lanes.get("acme")
    answer = stores.lanes.reserve("acme", 1, NOW, INTERVAL)
    assert answer == BlockedUntil(NOW + 1800, "425: API bloqueada por consumo indevido")
    assert stores.lanes.get("acme") == before
    assert isinstance(stores.lanes.reserve("acme", 1, NOW + 1800, INTERVAL), Slots)


def test_a_longer_block_stays(stores):
    stores.lanes.block("acme", NOW + 1800, "longo")
    state = stores.lanes.block("acme", NOW + 60, "curto")
    assert (state.blocked_until, state.blocked_reason) == (NOW + 1800, "longo")
    assert stores.lanes.get("acme") == state


def test_errors_are_counted_per_method_until_the_lane_stops_itself(stores):
    for second in range(ERROR_BUDGET - 1):
        state = stores.lanes.note_error("acme", "FaturarContrato", NOW + second)
        stores.lanes.note_error("acme", "AlterarContrato", NOW + second)
        assert state.blocked_until == 0
    state = stores.lanes.note_error("acme", "FaturarContrato", NOW + 10)
    assert state.blocked_until > NOW + 10
    assert stores.lanes.get("acme") == state
    assert isinstance(stores.lanes.reserve("acme", 1, NOW + 10, INTERVAL), BlockedUntil)


@pytest.fixture
def lanes_with(moto_aws, faulty):
    def build(**faults):
        client = faulty(moto_aws.dynamodb, faults)
        return LaneStore(client, moto_aws.tables["lanes"], sleep=lambda _: None), client

    return build


def test_a_reservation_writes_once_and_a_blocked_lane_not_at_all(lanes_with):
    lanes, client = lanes_with()
    lanes.reserve("acme", 25, NOW, INTERVAL)
    lanes.reserve("acme", 25, NOW, INTERVAL)
    assert client.calls == ["get_item", "update_item"] * 2
    lanes.block("acme", NOW + 60, "425")
    client.calls.clear()
    lanes.reserve("acme", 25, NOW, INTERVAL)
    assert client.calls == ["get_item"]


@pytest.mark.parametrize("used_before", [False, True])
def test_who_loses_the_race_takes_the_slots_after_the_winners(lanes_with, used_before):
    other, _ = lanes_with()
    if used_before:
        other.reserve("acme", 1, NOW - 100, INTERVAL)
    won = []
    lanes, client = lanes_with(update_item=[lambda: won.append(other.reserve("acme", 5, NOW, INTERVAL))])
    slots = lanes.reserve("acme", 1, NOW, INTERVAL)
    assert slots.start == won[0].start + 5 * INTERVAL
    assert client.calls.count("update_item") == 2


def test_a_lost_reply_wastes_slots_but_never_shares_them(lanes_with):
    lanes, _ = lanes_with(update_item=["lost"])
    first = lanes.reserve("acme", 3, NOW, INTERVAL)
    assert lanes.reserve("acme", 1, NOW, INTERVAL).start >= first.start + 3 * INTERVAL


def test_endless_races_end_in_an_error(lanes_with):
    lanes, _ = lanes_with(update_item=["ConditionalCheckFailedException"] * RACES)
    with pytest.raises(TimeoutError, match="lane acme"):
        lanes.reserve("acme", 1, NOW, INTERVAL)


def test_a_question_has_no_turn_while_the_lane_is_stopped(stores):
    stores.lanes.block("acme", NOW + 1800, "425: API bloqueada por consumo indevido")
    assert stores.lanes.ask("acme", "ListarContratos {}", NOW, 61) == BlockedUntil(
        NOW + 1800, "425: API bloqueada por consumo indevido"
    )
    assert stores.lanes.ask("acme", "ListarContratos {}", NOW + 1801, 61) == 0.0


def test_readers_errors_are_kept_apart_from_the_lane(stores):
    stores.lanes.reserve("acme", 1, NOW, INTERVAL)
    before = stores.lanes.get("acme")
    assert stores.lanes.readers("acme") == ReaderState()
    stores.lanes.note_reader_error("acme", "ListarNFSEs", NOW)
    state = stores.lanes.note_reader_error("acme", "ListarNFSEs", NOW + 1)
    assert stores.lanes.readers("acme") == state == ReaderState(errors={"ListarNFSEs": (NOW, NOW + 1)})
    assert reader_stop(state, "ListarNFSEs", NOW + 1) is not None
    for second in range(ERROR_BUDGET):
        stores.lanes.note_reader_error("acme", "ListarNFSEs", NOW + second)
    assert stores.lanes.get("acme") == before
    assert stores.lanes.readers("nimbus") == ReaderState()
    assert isinstance(stores.lanes.reserve("acme", 1, NOW, INTERVAL), Slots)


def test_unknown_documents_are_counted_beside_the_errors(stores):
    stores.lanes.note_reader_error("acme", "ListarNFSEs", NOW)
    stores.lanes.note_unknown("acme", NOW)
    state = stores.lanes.note_unknown("acme", NOW + 5)
    assert stores.lanes.readers("acme") == state == ReaderState({"ListarNFSEs": (NOW,)}, (NOW, NOW + 5))


def test_two_readers_that_count_at_once_are_both_counted(lanes_with):
    other, _ = lanes_with()
    lanes, client = lanes_with(update_item=[lambda: other.note_reader_error("acme", "ListarNFSEs", NOW)])
    state = lanes.note_reader_error("acme", "ListarNFSEs", NOW + 1)
    assert state.errors == {"ListarNFSEs": (NOW, NOW + 1)}
    assert client.calls.count("update_item") == 2
