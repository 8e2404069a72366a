"""One record brought to what it shall say: only what differs is written, once, whatever becomes of the answer."""

from decimal import Decimal

import pytest

from billing.jestor.client import BadAnswer, JestorRefused, JestorUnavailable
from billing.update_jestor import UpdateDeps, bring, drafts_too, says, update_jestor
from simulators.lab import Lab
from simulators.world import CONTRACTS_TABLE, CUSTOMERS_TABLE, RECEIVABLES_TABLE

NOTE, STATUS, AMOUNT, DUE = "observacao_omie", "situacao_omie", "valor_faturado", "vencimento_fatura"


@pytest.fixture
def lab():
    return Lab(3, clean=True)


@pytest.fixture
def record(lab):
    return next(iter(lab.jestor.tables[CONTRACTS_TABLE].rows))


def writes(lab):
    return [write["data"] for write in lab.jestor.book()["writes"]]


def write(lab, record, **data):
    deps = UpdateDeps(lab.settings, lab.jestor_client, lab.queues, lab.clock)
    message = {"table": CONTRACTS_TABLE, "jestor_id": record, "data": data, "why": "contrato", "key": "k1"}
    return update_jestor(message, deps)


def test_only_what_differs_is_written_and_the_same_message_again_writes_nothing(lab, record):
    lab.jestor.tables[CONTRACTS_TABLE].rows[record][STATUS] = "Ativo"
    told = write(lab, record, **{STATUS: "Ativo", NOTE: "Alterado.", AMOUNT: 1200.5, DUE: "2026-12-10"})
    assert told == {"why": "contrato", "jestor_id": record, "outcome": "written"}
    (written,) = writes(lab)
    assert {field: written[field] for field in written if not field.startswith("id_")} == {
        NOTE: "Alterado.",
        AMOUNT: 1200.5,
        DUE: "2026-12-10",
    }
    assert write(lab, record, **{STATUS: "Ativo", NOTE: "Alterado.", AMOUNT: 1200.5})["outcome"] == "same"
    assert len(writes(lab)) == 1


def test_a_draft_is_found_too(lab, record):
    lab.jestor.tables[CONTRACTS_TABLE].rows[record]["jestor_is_draft"] = 1
    assert write(lab, record, **{NOTE: "x"})["outcome"] == "written"


def test_tables_have_the_draft_flag_that_the_settings_name(lab):
    assert [entry["field"] for entry in drafts_too(lab.settings, CONTRACTS_TABLE)] == ["jestor_is_draft"]
    assert [entry["field"] for entry in drafts_too(lab.settings, RECEIVABLES_TABLE)] == ["jestor_is_draft"]
    assert drafts_too(lab.settings, CUSTOMERS_TABLE) == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [({"no_such_field": "x"}, "recusado"), ({DUE: "amanhã"}, "AAAA-MM-DD")],
)
def test_what_jestor_will_never_accept_is_parked_with_one_line(lab, record, data, reason):
    assert write(lab, record, **data)["outcome"] == "parked"
    (letter,) = lab.queues.parked
    assert reason in letter["reason"]
    assert "\n" not in letter["reason"]
    assert (letter["jestor_id"], letter["fields"], letter["key"]) == (record, sorted(data), "k1")
    assert "amanhã" not in str(letter)


def test_a_record_that_is_gone_is_parked(lab):
    assert write(lab, 99999, **{NOTE: "x"})["outcome"] == "parked"
    assert "não existe" in lab.queues.parked[0]["reason"]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost_reply", "path": "/object/update", "times": 1},
        {"kind": "lost_reply", "path": "/object/update", "times": 3},
        {"kind": "rate_limited", "path": "/object/update", "times": 2, "retry_after": 7},
        {"kind": "server_error", "path": "/object/update", "times": 3},
        {"kind": "missing_data", "path": "/object/update", "times": 1},
    ],
)
def test_an_update_without_an_answer_is_looked_for_before_it_is_repeated(lab, record, fault):
    lab.jestor.faults.replace([fault])
    assert write(lab, record, **{NOTE: "x"})["outcome"] in {"written", "same"}
    assert lab.jestor.tables[CONTRACTS_TABLE].rows[record][NOTE] == "x"
    assert len(writes(lab)) == 1


@pytest.mark.parametrize(("kind", "error"), [("server_error", JestorUnavailable), ("missing_data", BadAnswer)])
def test_what_does_not_pass_goes_back_to_the_queue(lab, record, kind, error):
    lab.jestor.faults.replace([{"kind": kind, "path": "/object/", "times": 99}])
    with pytest.raises(error):
        write(lab, record, **{NOTE: "x"})
    assert lab.queues.parked == []


def test_all_of_it_is_written_where_an_automation_looks_at_what_was_sent(lab, record):
    lab.jestor.tables[CONTRACTS_TABLE].rows[record][STATUS] = "Ativo"
    jestor = lab.jestor_client()
    data = {STATUS: "Ativo", NOTE: "x"}
    assert bring(jestor, CONTRACTS_TABLE, record, data, clock=lab.clock, whole=True) == (NOTE,)
    assert data.items() <= writes(lab)[0].items()
    assert (
        bring(jestor, CONTRACTS_TABLE, record, {NOTE: "y"}, clock=lab.clock, wanted=lambda row: row[NOTE] != "x") == ()
    )
    with pytest.raises(JestorRefused):
        bring(jestor, CONTRACTS_TABLE, 99999, data, clock=lab.clock)


@pytest.mark.parametrize(
    ("found", "value", "same"),
    [
        (None, "", True),
        ("", None, True),
        ([], None, True),
        ("x", "", False),
        (None, "x", False),
        (0, None, False),
        ("1200.50", 1200.5, True),
        ("1.200,50", Decimal("1200.50"), True),
        (1200.5, 1200.51, False),
        ("a combinar", 1200.5, False),
        (None, 0, False),
        (0, 0, True),
        (1, True, True),
        ("false", False, True),
        ("0", True, False),
        ("2026-12-10 00:00", "2026-12-10", True),
        ("2026-12-10T00:00:00", "2026-12-10", True),
        ("2026-12-100", "2026-12-10", False),
        ("2026-12-11", "2026-12-10", False),
        (" Ativo ", "Ativo", True),
        ("linha 1\r\nP&amp;D", "linha 1\nP&D", True),
        ("linha 1 linha 3", "linha 1\nlinha 2", False),
        ("1.000", 1, False),
        ("1.000,00", 1000, True),
        ({"id_abc": 7, "name": "x"}, 7, True),
        ([{"id_abc": 7}], 7, True),
        ({"id_abc": 8}, 7, False),
    ],
)
def test_a_field_says_what_it_shall_however_jestor_writes_it(found, value, same):
    assert says(found, value) is same


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://omie.s3.amazonaws.com/1.pdf?Expires=1", ""),
        ("Veja https://x.example/1.pdf?X-Amz-Expires=9 hoje", "Veja  hoje"),
        ("https://click.omie.com/r/1a", "https://click.omie.com/r/1a"),
    ],
)
def test_an_address_that_ends_never_reaches_a_record_whoever_wanted_it_written(lab, record, value, kept):
    bring(lab.jestor_client(), CONTRACTS_TABLE, record, {NOTE: value}, clock=lab.clock)
    assert (lab.jestor.tables[CONTRACTS_TABLE].rows[record].get(NOTE) or "") == kept
    assert bring(lab.jestor_client(), CONTRACTS_TABLE, record, {NOTE: value}, clock=lab.clock) == ()


def test_the_clock_waits_as_long_as_jestor_asks(lab, record):
    lab.jestor.faults.replace([{"kind": "rate_limited", "path": "/object/update", "times": 1, "retry_after": 30}])
    before = lab.clock.now()
    write(lab, record, **{NOTE: "x"})
    assert (lab.clock.now() - before).total_seconds() >= 30
