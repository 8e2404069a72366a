"""From Omie's titles to Jestor's rows: the real clients against both simulators, on a clock that only we move."""

from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from billing import sync_receivables
from billing.domain.month import SAO_PAULO
from billing.jestor.client import JestorUnavailable
from billing.jestor.receivables import TableProblems, waivers
from billing.settings import LateFeeSettings
from billing.sync_receivables import look
from simulators.lab import Killed, Lab
from simulators.omie.desk import Desk
from simulators.world import COMPANIES, CONTRACT_ID, EXCEPTIONS, RECEIVABLE_FIELDS, RECEIVABLE_ID, RECEIVABLES_TABLE

ACME = COMPANIES["acme"]
ID_OF = {label: key for key, label in EXCEPTIONS.items()}


@pytest.fixture
def lab():
    return Lab(contracts=7, seed=1, clean=True, latency_ms=5)


def desk(lab):
    return Desk(lab.omie, now=lab.now())


def add_title(lab, due, *, amount=1000, customer=None, code=None, **more):
    """A person's own title in Omie; its nCodTitulo."""
    app = lab.omie.apps["acme"]
    lab.clock.advance(1)
    param = {
        "codigo_lancamento_integracao": code or f"T{len(app.titles)}",
        "codigo_cliente_fornecedor": customer or next(iter(app.customers)),
        "data_vencimento": f"{due:%d/%m/%Y}",
        "valor_documento": amount,
        "codigo_categoria": ACME.cCodCateg,
        "id_conta_corrente": ACME.nCodCC,
    }
    return desk(lab).ask("financas/contareceber", "IncluirContaReceber", param | more).json["codigo_lancamento_omie"]


def pay(lab, title, amount, on, **more):
    param = {"codigo_lancamento": title, "valor": amount, "data": f"{on:%d/%m/%Y}", **more}
    reply = desk(lab).ask("financas/contareceber", "LancarRecebimento", param)
    assert reply.status == 200, reply.text


def rows(lab):
    """nCodTitulo -> the row in our words; a title with two rows fails."""
    found = {}
    for row in lab.jestor.tables[RECEIVABLES_TABLE].rows.values():
        ours = {word: row.get(path) for word, path in RECEIVABLE_FIELDS.items()} | {"id": row[RECEIVABLE_ID]}
        assert ours["title"] not in found, "two rows of one title"
        found[ours["title"]] = ours
    return found


def edit(lab, row_id, **words):
    data = {RECEIVABLE_FIELDS[word]: value for word, value in words.items()}
    lab.jestor.edit({"table": RECEIVABLES_TABLE, "id": row_id, "data": data}, lab.now())


def tomorrow(lab, days=1):
    lab.clock.advance(days * 86400)


def written(lab):
    return sum(write["table"] == RECEIVABLES_TABLE for write in lab.jestor.book()["writes"])


def sync(lab):
    """Acme's, in one round."""
    (answer,) = lab.sync_receivables("acme")
    return answer


def test_a_late_title_is_flagged_with_its_stage_and_resolved_when_it_is_paid(lab):
    title = add_title(lab, date(2026, 12, 4))  # a Friday
    sync(lab)
    row = rows(lab)[title]
    assert (row["status"], row["delay_days"], row["stage"], row["amount"]) == ("Em aberto", 0, None, 1000)

    tomorrow(lab, 4)  # Saturday the 5th, by the clock of the 1st at six
    sync(lab)
    row = rows(lab)[title]
    assert (row["status"], row["delay_days"], row["stage"]) == ("Atrasado", 1, "D+1")

    tomorrow(lab, 4)
    sync(lab)
    assert (rows(lab)[title]["stage"], rows(lab)[title]["delay_days"]) == ("D+5", 5)

    pay(lab, title, 1030, date(2026, 12, 9), juros=10, multa=20)
    sync(lab)
    row = rows(lab)[title]
    assert (row["status"], row["stage"], row["open_amount"], row["delay_days"]) == ("Pago", "Resolvido", 0, 5)
    assert (row["paid_amount"], row["collected_fine"], row["collected_interest"]) == (1030, 20, 10)
    assert row["paid_date"] == "2026-12-09"

    tomorrow(lab, 30)
    before = written(lab)
    sync(lab)
    assert written(lab) == before


def test_a_second_sync_writes_nothing(lab):
    add_title(lab, date(2026, 11, 20))
    first = sync(lab)
    assert (first["added"], first["overdue"], first["left"]) == (1, 1, 0)
    before = written(lab)
    again = sync(lab)
    assert (again["added"], again["updated"], written(lab)) == (0, 0, before)


def test_titles_of_a_billed_month_belong_to_their_contracts(lab):
    assert lab.run()["balanced"]
    tomorrow(lab, 2)
    lab.sync_receivables()
    found = rows(lab)
    titles = {title.nCodTitulo: title for app in lab.omie.apps.values() for title in app.titles.values()}
    assert set(found) == set(titles)
    by_order = {charge.nCodOS: charge.key.contract for charge in lab.ledger.by_month("acme", "2026-12")}
    by_order |= {charge.nCodOS: charge.key.contract for charge in lab.ledger.by_month("nimbus", "2026-12")}
    contracts = {row[CONTRACT_ID]: row for row in lab.world.jestor_rows()}
    for number, row in found.items():
        assert f"JST-{row['contract']}" == by_order[titles[number].nCodOS]
        assert row["customer"] == contracts[row["contract"]]["cliente"]["razao_social_1"]
        assert row["name"] == f"{titles[number].document} - {row['customer']}"


def test_a_title_of_no_contract_keeps_its_customer(lab):
    title = add_title(lab, date(2026, 11, 20))
    assert sync(lab)["unmatched"] == 1
    row = rows(lab)[title]
    assert row["contract"] is None
    assert (
        row["customer"]
        == next(iter(c.omie_cliente for c in lab.world.contracts if c.omie_company == "acme"))["razao_social"]
    )


def test_what_a_person_marked_or_corrected_stays_and_dunning_ends(lab):
    title = add_title(lab, date(2026, 11, 20))
    sync(lab)
    row = rows(lab)[title]
    assert row["stage"] == "D+5"
    edit(lab, row["id"], exception="Isento", customer="Cliente Corrigido", contract=1)
    tomorrow(lab)
    sync(lab)
    row = rows(lab)[title]
    assert (row["exception"], row["customer"], row["contract"]) == (ID_OF["Isento"], "Cliente Corrigido", 1)
    assert (row["stage"], row["status"], row["delay_days"]) == (None, "Atrasado", 12)
    assert waivers(lab.jestor_client(), lab.settings, "acme") == {title: "isento"}
    assert waivers(lab.jestor_client(), lab.settings, "nimbus") == {}


def test_what_a_person_wrote_over_our_fields_is_put_right(lab):
    title = add_title(lab, date(2026, 11, 20))
    sync(lab)
    edit(lab, rows(lab)[title]["id"], amount=5, status="Pago", delay_days=None, document="ver com Ana")
    sync(lab)
    row = rows(lab)[title]
    assert (row["amount"], row["status"], row["delay_days"]) == (1000, "Atrasado", 11)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_around_a_create_makes_no_second_row(lab, when):
    titles = {add_title(lab, date(2026, 11, 20)), add_title(lab, date(2026, 11, 21))}
    died = []

    def step(port, call):
        if port == "jestor./object/create" and not died:
            died.append(port)
            if when == "after":
                call()
            raise Killed
        return call()

    lab.step = step
    lab.sync_receivables("acme")
    assert died
    assert set(rows(lab)) == titles


def test_a_create_whose_answer_was_lost_is_found_and_not_repeated(lab):
    titles = {add_title(lab, date(2026, 11, 20)), add_title(lab, date(2026, 11, 21))}
    lab.jestor.set_faults([{"kind": "lost_reply", "path": "/object/create", "times": 1}])
    (answer,) = lab.sync_receivables("acme")
    assert (answer["added"], answer["left"]) == (2, 0)
    assert set(rows(lab)) == titles


def test_a_create_that_came_to_nothing_is_left_to_the_next_round(lab):
    title = add_title(lab, date(2026, 11, 20))
    lab.jestor.set_faults([{"kind": "server_error", "path": "/object/create", "times": 1}])
    first, second = lab.sync_receivables("acme")
    assert (first["added"], first["left"], second["added"], second["left"]) == (0, 1, 1, 0)
    assert set(rows(lab)) == {title}


def test_more_writes_than_one_round_takes_go_on_in_the_next(lab, monkeypatch):
    monkeypatch.setattr("billing.sync_receivables.MAX_WRITES", 3)
    late = [add_title(lab, date(2026, 11, 20) + timedelta(days=n)) for n in range(2)]
    later = [add_title(lab, date(2026, 12, 20) + timedelta(days=n)) for n in range(5)]
    answers = lab.sync_receivables("acme")
    assert [(a["added"], a["left"]) for a in answers] == [(3, 4), (3, 1), (1, 0)]
    assert list(rows(lab))[:2] == late
    assert set(rows(lab)) == {*late, *later}


def test_a_round_ends_before_its_function_is_killed(lab):
    for n in range(6):
        add_title(lab, date(2026, 11, 20) + timedelta(days=n))

    def slow(port, call):
        answer = call()
        if port == "jestor./object/create":
            lab.clock.advance(300)
        return answer

    lab.step = slow
    answers = lab.sync_receivables("acme")
    assert [a["added"] for a in answers] == [3, 3]
    assert len(rows(lab)) == 6


def test_forecasts_are_no_titles(lab):
    sync(lab)  # the contracts of December are not billed yet: Omie lists what they will be
    assert rows(lab) == {}


def test_a_title_paid_long_after_its_due_date_is_still_resolved(lab):
    title = add_title(lab, date(2026, 11, 20))
    sync(lab)
    tomorrow(lab, 200)
    assert sync(lab)["titles"] == 1
    assert rows(lab)[title]["stage"] == "D+30"
    pay(lab, title, 1000, date(2027, 6, 1))
    tomorrow(lab)
    sync(lab)
    row = rows(lab)[title]
    assert (row["status"], row["stage"], row["paid_date"]) == ("Pago", "Resolvido", "2027-06-01")


def test_a_title_deleted_in_omie_ends_as_cancelled(lab):
    title = add_title(lab, date(2026, 11, 20))
    sync(lab)
    assert desk(lab).ask("financas/contareceber", "ExcluirContaReceber", {"chave_lancamento": title}).status == 200
    sync(lab)
    row = rows(lab)[title]
    assert (row["status"], row["stage"], row["open_amount"]) == ("Cancelado", "Resolvido", 0)
    before = written(lab)
    sync(lab)
    assert written(lab) == before


def test_a_title_cancelled_in_omie_ends_as_cancelled_and_one_never_seen_is_not_created(lab):
    known = add_title(lab, date(2026, 11, 20))
    sync(lab)
    unknown = add_title(lab, date(2026, 11, 21))
    for title in (known, unknown):
        lab.clock.advance(1)
        reply = desk(lab).ask("financas/contareceber", "CancelarContaReceber", {"chave_lancamento": title})
        assert reply.status == 200, reply.text
    sync(lab)
    assert {number: row["status"] for number, row in rows(lab).items()} == {known: "Cancelado"}


def test_a_late_title_gets_the_page_of_its_invoice_and_one_in_time_is_not_asked_for(lab):
    assert lab.run()["balanced"]
    tomorrow(lab, 2)
    lab.sync_receivables("acme")
    assert not any(row["boleto_link"] for row in rows(lab).values())
    tomorrow(lab, 40)
    lab.sync_receivables("acme")
    assert all(row["boleto_link"].startswith("https://click.omie.com/r/") for row in rows(lab).values())
    lab.sync_receivables("acme")
    assert pages_asked(lab) == len(rows(lab))


def pages_asked(lab):
    return lab.omie.read_book(billings=False)["calls"]["ObterNFSe"]["count"]


def test_a_link_that_ends_in_the_table_is_replaced_and_one_without_an_invoice_is_emptied(lab):
    own = add_title(lab, date(2026, 11, 20))
    sync(lab)
    table, field = lab.jestor.tables[RECEIVABLES_TABLE], RECEIVABLE_FIELDS["boleto_link"]
    (row,) = [row for row in table.rows.values() if int(row[RECEIVABLE_FIELDS["title"]]) == own]
    row[field] = "https://omie.s3.amazonaws.com/1.pdf?Expires=1"
    tomorrow(lab)
    sync(lab)
    assert rows(lab)[own]["boleto_link"] in (None, "")


def test_a_table_that_no_longer_fits_is_not_touched_and_says_why(lab):
    add_title(lab, date(2026, 11, 20))
    field = RECEIVABLE_FIELDS["delay_days"]
    lab.jestor.set_faults([{"kind": "vanished_field", "table": RECEIVABLES_TABLE, "field": field}])
    with pytest.raises(TableProblems, match=f"delay_days: o campo {field} não existe mais"):
        sync(lab)
    assert written(lab) == 0


def test_whom_a_person_spared_is_known_though_other_fields_are_gone(lab):
    title = add_title(lab, date(2026, 11, 20))
    sync(lab)
    edit(lab, rows(lab)[title]["id"], exception="Em disputa")
    gone = [RECEIVABLE_FIELDS[word] for word in ("delay_days", "stage")]
    lab.jestor.set_faults([{"kind": "vanished_field", "table": RECEIVABLES_TABLE, "field": field} for field in gone])
    assert waivers(lab.jestor_client(), lab.settings, "acme") == {title: "em_disputa"}
    lab.jestor.set_faults(
        [{"kind": "vanished_field", "table": RECEIVABLES_TABLE, "field": RECEIVABLE_FIELDS["exception"]}]
    )
    with pytest.raises(TableProblems, match="exception"):
        waivers(lab.jestor_client(), lab.settings, "acme")


def test_more_rows_to_look_up_than_a_run_may_take_turns(lab, monkeypatch):
    monkeypatch.setattr("billing.sync_receivables.MAX_LOOKUPS", 1)
    found = [add_title(lab, date(2026, 11, 18) + timedelta(days=n)) for n in range(3)]
    sync(lab)
    for title in found:
        lab.clock.advance(1)
        desk(lab).ask("financas/contareceber", "ExcluirContaReceber", {"chave_lancamento": title})
    for _ in range(3):
        sync(lab)
        tomorrow(lab)
    assert [rows(lab)[title]["status"] for title in found].count("Cancelado") >= 2
    for _ in range(3):
        sync(lab)
        tomorrow(lab)
    assert {rows(lab)[title]["status"] for title in found} == {"Cancelado"}


def test_a_list_that_cannot_be_read_whole_writes_nothing(lab):
    add_title(lab, date(2026, 11, 20))
    lab.jestor.set_faults([{"kind": "server_error", "path": "/object/list", "every": 1}])
    with pytest.raises(JestorUnavailable, match="fora do ar"):
        sync(lab)
    assert written(lab) == 0


def test_companies_share_the_table_and_not_their_titles(lab):
    title = add_title(lab, date(2026, 11, 20))
    lab.sync_receivables()
    assert rows(lab)[title]["company"] == ACME.jestor_label
    before = written(lab)
    lab.sync_receivables("nimbus")
    assert written(lab) == before
    assert rows(lab)[title]["status"] == "Atrasado"


def test_days_are_those_of_sao_paulo():
    lab = Lab(contracts=1, seed=1, clean=True, start=datetime(2026, 12, 4, 23, 30, tzinfo=SAO_PAULO))
    title = add_title(lab, date(2026, 12, 4))
    sync(lab)
    assert rows(lab)[title]["status"] == "Em aberto"  # 02:30 of the 5th in UTC
    lab.clock.advance(3600)
    sync(lab)
    assert rows(lab)[title]["delay_days"] == 1


def with_late_fees(lab, **terms):
    late = LateFeeSettings(fine_percent=Decimal(2), interest_percent=Decimal(1), **terms)
    acme = lab.settings.companies["acme"].model_copy(update={"late_fee": late})
    companies = dict(lab.settings.companies) | {"acme": acme}
    lab.settings = lab.settings.model_copy(update={"companies": companies})


def test_a_late_row_says_what_the_delay_costs_and_why_until_a_person_waives_it(lab):
    title = add_title(lab, date(2026, 11, 20))
    with_late_fees(lab, bank_return_days=0)
    sync(lab)
    row = rows(lab)[title]
    assert row["charges"] == 23.67  # 2 % of 1,000, and 1 % a month of it for 11 days
    assert "R$ 1.000,00 × 11 dias × 1% ÷ 30 = R$ 3,6666… → R$ 3,67" in row["proof"]
    edit(lab, row["id"], exception="Isento")
    sync(lab)
    row = rows(lab)[title]
    assert (row["charges"], row["proof"], row["stage"]) == (None, None, None)


@pytest.mark.parametrize("charges", [False, True])
def test_a_title_whose_delay_cannot_be_computed_keeps_no_other_from_its_row(lab, charges, monkeypatch):
    if charges:
        with_late_fees(lab, bank_return_days=0)
    title, other = add_title(lab, date(2026, 11, 20)), add_title(lab, date(2026, 11, 21))
    real = sync_receivables.assess

    def assess(found, *args, **given):
        if found.nCodTitulo == title:
            raise OverflowError
        return real(found, *args, **given)

    monkeypatch.setattr(sync_receivables, "assess", assess)
    assert sync(lab)["unreadable"] == 1
    assert list(rows(lab)) == [other]


def test_a_title_that_cannot_be_read_is_counted_and_its_row_left_alone(lab):
    title, other = add_title(lab, date(2026, 11, 20)), add_title(lab, date(2026, 11, 21))
    sync(lab)
    lab.omie.apps["acme"].titles[title].amount = 0
    lab.omie.apps["acme"].changed()
    before = written(lab)
    tomorrow(lab)
    answer = sync(lab)
    assert (answer["unreadable"], answer["titles"], written(lab)) == (1, 1, before + 1)
    assert (rows(lab)[title]["status"], rows(lab)[other]["delay_days"]) == ("Atrasado", 11)


def test_looking_shows_what_a_sync_would_write_and_writes_nothing(lab):
    title = add_title(lab, date(2026, 11, 20))
    (seen,) = look("acme", lab.receivables_deps())
    assert (seen.title.nCodTitulo, seen.standing.stage, seen.mark) == (title, "D+5", "")
    assert written(lab) == 0


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_on_the_way_each_title_ends_with_one_right_row(seed):
    """Lost answers, refusals, 5xx and deaths, payments and marks in between; then one undisturbed sync."""
    lab, random = Lab(contracts=2, seed=seed + 1, clean=True, latency_ms=5), Random(seed)
    titles = [add_title(lab, date(2026, 11, 1) + timedelta(days=3 * n)) for n in range(8)]

    def step(port, call):
        if port.startswith("jestor.") and random.random() < 0.04:
            if random.random() < 0.5:
                call()
            raise Killed
        return call()

    for _ in range(4):
        lab.step = step
        lab.jestor.set_faults(
            [
                {"kind": kind, "path": f"/object/{path}", "probability": 0.15}
                for kind in ("lost_reply", "server_error")
                for path in ("create", "update")
            ]
        )
        with suppress(JestorUnavailable):
            lab.sync_receivables("acme")
        lab.queues.sent["receivables"].clear()
        lab.step = None
        lab.jestor.set_faults([])
        paid = random.choice(titles)
        if lab.omie.apps["acme"].titles[paid].open:
            pay(lab, paid, random.choice([400, 1000]), date(2026, 12, 1))
        tomorrow(lab, random.randrange(3))
    sync(lab)
    found, today = rows(lab), lab.clock.now().astimezone(SAO_PAULO).date()
    assert set(found) == set(titles)
    for number, row in found.items():
        title = lab.omie.apps["acme"].titles[number]
        assert row["open_amount"] * 100 == title.open
        assert row["status"] == ("Atrasado" if title.open else "Pago")
        assert row["delay_days"] == ((today if title.open else date(2026, 12, 1)) - title.due).days
    before = written(lab)
    sync(lab)
    assert written(lab) == before


def test_an_account_without_titles_gives_omie_no_reason_to_count_an_error(lab):
    lab.omie.switches.nfse_seconds = 10**6
    for company in ("acme", "nimbus"):
        for _ in range(10):
            lab.sync_receivables(company)
    assert not errors(lab)


def test_titles_deleted_in_omie_are_looked_up_a_few_a_day(lab):
    app = lab.omie.apps["acme"]
    for day in range(1, 6):
        add_title(lab, date(2026, 11, day))
    sync(lab)
    app.titles.clear()
    app.changed()
    left = []
    for _ in range(3):
        before = errors(lab)
        tomorrow(lab)
        sync(lab)
        assert errors(lab) - before <= 1  # a second would stop every reader for ten minutes
        left.append(sum(row["status"] != "Cancelado" for row in rows(lab).values()))
    assert (left, errors(lab)) == ([4, 3, 2], 3)


def errors(lab):
    return lab.omie.read_book()["calls"].get("ListarMovimentos", {"errors": 0})["errors"]
