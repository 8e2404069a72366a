"""What is remembered of a contract: whole, and never over somebody else's writing."""

from dataclasses import replace

from billing.domain.prorate import Pending
from billing.store.contracts import ContractStore, Place, Remembered

FULL = Remembered(
    "JST-12",
    row="abc",
    customer="def",
    places={"acme": Place(500, stopped=True, digest="x", problem="Corrija."), "nimbus": Place(700)},
    waits="run",
    doubt_until=1796112000.5,
    change={"old": 10000, "new": 12000, "day": "2026-12-10", "number": 2},
    pending=(Pending(1, -500, "ontem", "2026-12-09"), Pending(2, 1250, "hoje", "2026-12-10")),
    told={"omie_status": "Ativo"},
)


def test_of_a_contract_never_seen_nothing_is_remembered(stores):
    assert stores.contracts.get("JST-12") == Remembered("JST-12")
    assert stores.contracts.get_many(["JST-12"]) == {}


def test_everything_comes_back_as_it_was_put(stores):
    kept = stores.contracts.put(FULL)
    assert kept == replace(FULL, version=1)
    assert stores.contracts.get("JST-12") == kept
    assert stores.contracts.get_many(["JST-12", "JST-13"]) == {"JST-12": kept}


def test_who_read_before_another_wrote_writes_nothing(stores):
    first = stores.contracts.put(Remembered("JST-12", row="one"))
    second = stores.contracts.put(replace(first, row="two"))
    assert stores.contracts.put(replace(first, row="late")) is None
    assert stores.contracts.put(Remembered("JST-12", row="never seen")) is None
    assert stores.contracts.get("JST-12") == second


def test_a_write_whose_reply_was_lost_is_ours_all_the_same(moto_aws, faulty):
    client = faulty(moto_aws.dynamodb, {"put_item": ["lost"]})
    store = ContractStore(client, moto_aws.tables["contracts"], sleep=lambda _: None)
    assert store.put(FULL) == replace(FULL, version=1)
    assert store.get("JST-12").version == 1
