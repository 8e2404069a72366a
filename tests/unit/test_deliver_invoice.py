"""One invoice, from Omie's webhooks to the Jestor record: once per document, whatever comes, gets lost or dies."""

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from billing.deliver_invoice import ComeAgain, deliver_invoice, nfse_of, portal_link, take
from billing.domain.charge import ChargeKey, Event
from billing.domain.invoice import NfseStatus
from billing.domain.links import lasting
from billing.domain.month import BillingMonth
from billing.jestor.client import BadAnswer, JestorUnavailable
from billing.omie.replies import OmieError
from billing.phone import mark, read_phone
from billing.receive_webhook import _invoice_hints
from billing.store.documents import HoldLost
from billing.sweep_invoices import SweepFailed, sweep_invoices
from simulators.jestor.faults import OF_A_CALL
from simulators.lab import Killed, Lab, demo_settings
from simulators.living_lab import LivingLab
from simulators.omie import invoices
from simulators.omie.faults import Fault
from simulators.omie.switches import Switches
from simulators.world import CONTRACTS_TABLE, CUSTOMERS_TABLE, INVOICE_FIELDS

DECEMBER = BillingMonth(2026, 12)
DELAY = 75.0
COME_AGAIN = 720.0
MANY = 60
FIELD = INVOICE_FIELDS


class Office:
    """A billed month of one company, Omie's webhooks into a queue, and the queue into deliver_invoice."""

    def __init__(self, contracts=4, *, switches=None, step=None, **invoice):
        settings = demo_settings()
        acme = settings.companies["acme"]
        acme = acme.model_copy(update={"invoice": acme.invoice.model_copy(update=invoice)})
        settings = settings.model_copy(update={"companies": {"acme": acme}})
        self.lab = Lab(contracts, clean=True, switches=switches, settings=settings)
        self.lab.omie.outbox.subscribe("http://receiver")
        self.lab.run(companies=["acme"])
        self.lab.step = step
        charges = self.lab.ledger.by_month("acme", DECEMBER)
        self.charges = {charge.key.contract: charge for charge in charges if charge.nCodOS}
        self.queue = []
        self.outcomes = []

    @property
    def first(self):
        return next(iter(self.charges.values()))

    def app(self):
        return self.lab.omie.apps["acme"]

    def order(self, charge):
        return self.app().orders[charge.nCodOS]

    def receive(self, copies=1, mangle=lambda hints: hints):
        """What Omie has to tell by now comes in and is queued."""
        self.lab.omie.advance(self.lab.now())
        hints = []
        while due := self.lab.omie.outbox.due(self.lab.now()):
            for message in due:
                self.lab.omie.outbox.report(message, self.lab.now(), ok=True)
                content = json.loads(message.body)
                for hint in _invoice_hints("acme", content["topic"], content["event"]):
                    at = datetime.fromtimestamp(message.born, self.lab.clock.now().tzinfo)
                    hints += [hint.message | {"received_at": at.isoformat(), "source": "webhook"}] * copies
        self.queue += [(self.lab.now() + DELAY, hint) for hint in mangle(hints)]

    def hint(self, charge, **more):
        received = self.lab.clock.now().isoformat()
        hint = {"company": "acme", "nCodOS": charge.nCodOS, "received_at": received, "source": "operator"}
        return hint | more

    def work(self):
        """Until the queue is empty."""
        while self.queue:
            self.work_one()

    def work_one(self):
        """The next message; what is raised comes again after the queue's time-out."""
        self.queue.sort(key=lambda entry: entry[0])
        at, hint = self.queue.pop(0)
        self.lab.clock.advance(max(0.0, at - self.lab.now()))
        try:
            self.outcomes.append(deliver_invoice(hint, self.lab.invoice_deps())["outcome"])
        except (ComeAgain, OmieError, JestorUnavailable, BadAnswer, HoldLost, Killed):
            self.queue.append((self.lab.now() + COME_AGAIN, hint))
            self.outcomes.append("again")
            assert self.outcomes.count("again") < MANY

    def days_go_by(self, seconds=60.0, **more):
        self.lab.clock.advance(seconds)
        self.receive(**more)
        self.work()

    def look(self, charge=None, **more):
        self.lab.clock.advance(61.0)
        return deliver_invoice(self.hint(charge or self.first, **more), self.lab.invoice_deps())

    def row(self, charge=None):
        return self.lab.jestor.tables[CONTRACTS_TABLE].rows[int((charge or self.first).key.contract[4:])]

    def shown(self, charge=None):
        return {word: self.row(charge)[field] for word, field in FIELD.items()}

    def writes(self, charge=None):
        records = self.lab.jestor.book()["records"][CONTRACTS_TABLE]
        return records.get((charge or self.first).key.contract[4:], [])

    def document(self, charge=None):
        key = f"acme#{(charge or self.first).nCodOS}"
        return self.lab.documents.get_many([key])[key]

    def calls(self, method):
        return self.lab.omie.book.methods[method].count


def assert_each_was_told_once(office):
    for charge in office.charges.values():
        assert len(office.writes(charge)) == 1, charge.key
        shown = office.shown(charge)
        assert shown["billed_status"] == "Faturado"
        assert shown["billed_amount"] == charge.amount / 100
        assert shown["month"] == "2026-12"
        assert shown["invoice_link"].endswith(f"/r/{charge.nCodOS:x}")


# --- the good day


def test_every_invoice_is_told_once_and_whole_whatever_webhooks_spoke_of_it():
    office = Office()
    office.days_go_by(40.0)
    office.days_go_by(60.0)
    office.days_go_by()

    assert_each_was_told_once(office)
    assert set(office.outcomes) <= {"waiting", "authorised", "seen", "same"}
    for charge in office.charges.values():
        (write,) = office.writes(charge)
        assert set(FIELD.values()) <= set(write["data"])
        shown = office.shown(charge)
        order = office.order(charge)
        title = office.app().titles[office.app().titles_of_order[charge.nCodOS][0]]
        assert shown["invoice_number"] == str(order.nfse)
        assert shown["due_date"] == title.due.isoformat()
        assert shown["invoice_link"] == shown["boleto_link"] == f"https://click.omie.com/r/{charge.nCodOS:x}"
        assert not [value for value in write["data"].values() if isinstance(value, str) and "amazonaws" in value]
        line = "".join(filter(str.isdigit, shown["boleto_barcode"]))
        assert (line[:4], line[-14:]) == (title.boleto.barcode[:4], title.boleto.barcode[5:19])
        for said in (shown["invoice_link"], shown["boleto_link"], shown["boleto_barcode"], "dezembro de 2026"):
            assert said in shown["whatsapp_text"]
        assert shown["whatsapp_phone"] == read_phone(phone_of(office, charge)).number


def test_many_webhooks_of_one_invoice_are_one_look():
    office = Office()
    before = Counter({m: office.calls(m) for m in ("ListarNFSEs", "ObterNFSe", "ObterBoleto")})
    breaches = list(office.lab.omie.book.breaches)
    office.lab.clock.advance(90.0)
    office.receive(copies=2)
    assert len(office.queue) >= 6 * len(office.charges)
    office.work()

    assert_each_was_told_once(office)
    for method in before:
        # a title's webhook names its order by number: one more question, word for word another
        assert office.calls(method) - before[method] <= 8 * len(office.charges), method
    assert office.calls("ObterNFSe") - before["ObterNFSe"] == len(office.charges)
    assert office.lab.omie.book.breaches == breaches


def test_every_link_field_holds_the_page_that_lasts():
    office = Office()
    office.days_go_by(90.0)
    shown = office.shown()
    assert shown["invoice_link"] == shown["invoice_pdf"] == shown["boleto_link"]
    assert lasting(shown["invoice_link"])


def test_what_came_on_top_of_the_month_is_named_in_the_message():
    office = Office(2)
    item = office.lab.ledger._charges[office.first.key]
    late = {"key": "encargos#1", "title": 1, "through": "2026-11-30", "fine": 200, "interest": 5, "amount": 205}
    share = {"key": "proporcional#1", "title": None, "through": None, "fine": 0, "interest": 0, "amount": 1000}
    item["additions"] = [late, late | {"key": "encargos#2"}, share, share | {"doubtful": True}]
    office.days_go_by(90.0)
    assert "Inclui encargos por atraso: R$ 4,10\n" in office.shown()["whatsapp_text"]
    assert "Inclui diferença proporcional: R$ 10,00\n" in office.shown()["whatsapp_text"]


# --- whatever comes, in whatever order


def test_doubled_late_and_reordered_webhooks_tell_once():
    office = Office()
    for seconds in (5.0, 20.0, 15.0, 30.0):
        office.days_go_by(seconds, copies=3, mangle=lambda hints: hints[::-1])
    office.days_go_by()

    assert_each_was_told_once(office)


def test_a_title_that_names_its_order_by_number_only_is_found():
    office = Office(2)
    office.lab.clock.advance(90.0)
    office.lab.omie.advance(office.lab.now())
    for title in office.app().titles.values():
        title.nCodOS = 0
    office.app().changed()
    assert sweep(office)["hints"] == len(office.charges)
    office.work()
    assert_each_was_told_once(office)
    assert office.shown()["boleto_link"]


@pytest.mark.parametrize("name", ["nCodOS", "nIdNf", "numero_pedido"])
def test_a_hint_may_name_the_invoice_by_any_of_its_numbers(name):
    office = Office(2)
    office.lab.clock.advance(90.0)
    office.lab.omie.advance(office.lab.now())
    order = office.order(office.first)
    numbers = {
        "nCodOS": order.nCodOS,
        "nIdNf": order.nCodNF,
        "numero_pedido": order.cNumOS.lstrip("0"),
    }
    hint = dict.fromkeys(numbers) | {name: numbers[name], "company": "acme", "received_at": None}
    answer = deliver_invoice(hint, office.lab.invoice_deps())
    assert answer == {
        "company": "acme",
        "contract": office.first.key.contract,
        "month": "2026-12",
        "outcome": "authorised",
    }


def test_what_is_not_ours_is_left_alone():
    office = Office(2)
    office.lab.clock.advance(90.0)
    for hint in (
        {"nCodOS": 999},
        {"nIdNf": 999},
        {"numero_pedido": "999"},
        {},
        {"company": "elsewhere", "nCodOS": office.first.nCodOS},
    ):
        assert deliver_invoice({"company": "acme"} | hint, office.lab.invoice_deps())["outcome"] == "not_ours"
    assert office.writes() == []


def test_a_title_alone_is_left_to_the_sweep_and_omie_is_not_asked():
    office = Office(2)
    office.lab.clock.advance(90.0)
    before = [office.calls(method) for method in ("ListarMovimentos", "ListarNFSEs", "ListarContasReceber")]
    for number in (999, office.app().titles_of_order.get(office.first.nCodOS, [5])[0]):
        answer = deliver_invoice({"company": "acme", "nCodTitulo": number}, office.lab.invoice_deps())
        assert answer["outcome"] == "left to the sweep"
    assert before == [office.calls(method) for method in ("ListarMovimentos", "ListarNFSEs", "ListarContasReceber")]


def test_no_more_unknown_documents_than_the_setting_are_looked_up_in_an_hour():
    office = Office(2, unknown_documents_per_hour=3)
    office.lab.clock.advance(90.0)
    office.lab.omie.advance(office.lab.now())
    asked = office.calls("ListarNFSEs")

    def outcome(number):
        hint = {"company": "acme", "numero_pedido": number}
        return deliver_invoice(hint, office.lab.invoice_deps())["outcome"]

    assert [outcome(str(9000 + n)) for n in range(5)] == ["not_ours"] * 3 + ["left to the sweep"] * 2
    assert office.calls("ListarNFSEs") == asked + 3
    assert deliver_invoice(office.hint(office.first), office.lab.invoice_deps())["outcome"] == "authorised"
    office.lab.clock.advance(3600.0)
    own = office.order(office.first).cNumOS.lstrip("0")
    assert outcome(own) == "same"  # one of ours uses nothing up
    assert [outcome(str(9100 + n)) for n in range(4)] == ["not_ours"] * 3 + ["left to the sweep"]


def test_an_order_that_somebody_deleted_waits_and_costs_one_error_a_look():
    office = Office(2)
    app, order = office.app(), office.order(office.first)
    del app.orders[order.nCodOS]
    app.order_list.remove(order)
    app.changed()
    assert office.look()["outcome"] == "waiting"
    assert office.lab.lanes.get("acme").errors.get("StatusOS") is None
    assert len(office.lab.lanes.readers("acme").errors["StatusOS"]) == 1


def test_two_errors_of_a_method_stop_the_readers_and_never_the_lane():
    office = Office(2)
    office.lab.clock.advance(90.0)
    office.lab.omie.advance(office.lab.now())
    lane = office.lab.lanes.get("acme")
    office.lab.omie.faults.replace([Fault("http_500", methods=frozenset({"ListarNFSEs"}), times=9)])
    asked = office.calls("ListarNFSEs")
    record = {"body": json.dumps(office.hint(office.first)), "receiptHandle": "r", "messageId": "m"}
    queues = Hides(office.lab.queues)
    deps = replace(office.lab.invoice_deps(), queues=queues)
    with pytest.raises(OmieError):
        take(record, deps)
    office.lab.clock.advance(130.0)  # whoever held the document is gone
    assert take(record, deps) == {"company": "acme", "outcome": "readers rest", "later": True}
    assert office.calls("ListarNFSEs") == asked + 2
    assert office.lab.lanes.get("acme") == lane
    ((_, _, seconds),) = queues.hidden
    assert 400 < seconds < 600
    office.lab.omie.faults.replace([])
    office.lab.clock.advance(seconds + 120.0)
    assert take(record, deps)["outcome"] == "authorised"


def test_a_hint_that_waits_for_long_is_sent_anew_before_the_queue_gives_it_up():
    office = Office(2)
    office.lab.clock.advance(90.0)
    office.lab.lanes.block("acme", office.lab.now() + 5000, "bloqueada")
    attributes = {"ApproximateReceiveCount": "3", "MessageGroupId": "acme#7"}
    hint = office.hint(office.first)
    record = {"body": json.dumps(hint), "receiptHandle": "r", "messageId": "m", "attributes": attributes}
    answer = take(record, office.lab.invoice_deps())
    assert answer == {"company": "acme", "outcome": "lane blocked; asked anew", "later": False}
    assert office.lab.queues.sent["invoice-events"] == [("acme#7", hint)]


def test_a_charge_adopted_without_its_order_is_found_by_its_contract():
    office = Office(2)
    office.lab.clock.advance(90.0)
    first = office.first
    key = ChargeKey(first.key.contract, DECEMBER)
    item = office.lab.ledger._charges[key]
    del item["order"]
    item["nCodOS"] = None
    hint = {"company": "acme", "nCodOS": first.nCodOS}
    assert deliver_invoice(hint, office.lab.invoice_deps())["outcome"] == "not_ours"
    named = hint | {"contract": first.key.contract, "month": "2026-12"}
    assert deliver_invoice(named, office.lab.invoice_deps())["outcome"] == "authorised"
    item["nCodOS"] = 1
    assert deliver_invoice(named, office.lab.invoice_deps())["outcome"] == "not_ours"


def test_an_echo_of_our_own_write_or_a_payment_tells_nothing_new():
    office = Office(2)
    office.days_go_by(90.0)
    office.days_go_by()
    title = office.app().titles[office.app().titles_of_order[office.first.nCodOS][0]]
    title.boleto = None
    title.receipts.append(
        type("R", (), {"paid": title.amount, "discount": 0, "interest": 0, "fine": 0, "day": title.due})()
    )
    assert office.look()["outcome"] == "same"
    assert office.look()["outcome"] == "same"
    assert len(office.writes()) == 1


# --- the city refuses, the note is cancelled, substituted


def test_a_refused_note_says_why_and_what_to_fix_and_goes_out_once_it_is_put_right():
    office = Office(2, switches=Switches(nfse_rejected_share=1.0))
    office.days_go_by(90.0)
    shown = office.shown()
    assert shown["billed_status"] == "NFS-e rejeitada"
    assert "O que fazer: " in shown["invoice_problem"]
    assert shown["invoice_link"] in (None, "")
    assert shown["whatsapp_text"] in (None, "")
    assert office.look()["outcome"] == "same"

    office.lab.omie.switches.nfse_rejected_share = 0.0
    resend(office)
    office.days_go_by(90.0)
    assert office.shown()["billed_status"] == "Faturado"
    assert office.shown()["invoice_problem"] in (None, "") or "WhatsApp" in office.shown()["invoice_problem"]
    assert [write["data"][FIELD["billed_status"]] for write in office.writes()] == ["NFS-e rejeitada", "Faturado"]


def resend(office):
    for charge in office.charges.values():
        invoices.send_rps(office.lab.omie.sim, office.app(), office.order(charge), office.lab.now())
    office.app().changed()


def cancel(office, charge):
    invoices.cancel_order(office.lab.omie.sim, office.app(), office.order(charge), office.lab.now(), nfse=True)


def test_a_cancelled_note_leaves_nothing_to_send():
    office = Office(2)
    office.days_go_by(90.0)
    number = office.shown()["invoice_number"]
    cancel(office, office.first)
    office.days_go_by()
    shown = office.shown()
    assert (shown["billed_status"], shown["invoice_number"]) == ("NFS-e cancelada", number)
    sent = ("invoice_link", "invoice_pdf", "boleto_link", "boleto_barcode", "whatsapp_phone", "whatsapp_text")
    assert not any(shown[word] for word in sent)
    assert office.look()["outcome"] == "same"
    assert len(office.writes()) == 2


def test_a_substituted_note_is_sent_as_such():
    office = Office(2)
    office.days_go_by(90.0)
    order = office.order(office.first)
    order.nCodNF, order.nfse = office.app().new_id(), 900
    office.app().invoices[order.nCodNF] = order
    office.app().changed()
    assert office.look()["outcome"] == "substituted"
    assert office.shown()["billed_status"] == "NFS-e substituída"
    assert "substituída" in office.shown()["whatsapp_text"]
    assert office.look()["outcome"] == "same"


# --- the boleto


def test_an_invoice_waits_for_its_boleto_and_for_no_longer_than_the_settings_say():
    office = Office(2, switches=Switches(boleto="on_request"), wait_for_boleto_hours=24)
    office.days_go_by(90.0)
    assert office.document().awaits == "boleto"
    assert office.writes() == []
    office.lab.clock.advance(23 * 3600)
    assert office.look()["outcome"] == "waiting"
    office.lab.clock.advance(3600)
    assert office.look()["outcome"] == "authorised"
    assert office.shown()["boleto_link"] == ""
    assert "oleto" not in office.shown()["whatsapp_text"]


def test_a_company_without_boletos_waits_for_none():
    office = Office(2, switches=Switches(boleto="on_request"), boleto="none")
    office.days_go_by(90.0)
    assert office.shown()["billed_status"] == "Faturado"
    assert office.calls("ObterBoleto") == 0


def test_a_missing_boleto_is_asked_of_the_lane_once_a_day_and_only_where_the_settings_say_so():
    quiet = Office(2, switches=Switches(boleto="on_request"))
    quiet.days_go_by(90.0)
    assert "omie-writes" not in quiet.lab.queues.sent

    office = Office(2, switches=Switches(boleto="on_request"), make_missing_boleto=True)
    office.days_go_by(90.0)
    office.look()
    first = office.first
    (title,) = office.app().titles_of_order[first.nCodOS]
    mine = [message for _, message in office.lab.queues.sent["omie-writes"] if message["order"]["nCodTitulo"] == title]
    assert [group for group, _ in office.lab.queues.sent["omie-writes"]] == ["acme"] * len(office.charges)
    assert mine == [
        {
            "order": {
                "kind": "boleto",
                "contract": first.key.contract,
                "jestor_id": int(first.key.contract[4:]),
                "company": "acme",
                "nCodOS": first.nCodOS,
                "nCodTitulo": title,
                "source": "invoice",
                "webhook": "",
                "received_at": mine[0]["order"]["received_at"],
            }
        }
    ]
    office.lab.clock.advance(86400)
    office.lab.omie.switches.boleto = "on_request"
    assert office.look()["outcome"] in {"authorised", "waiting"}


def test_a_boleto_that_comes_after_the_wait_is_told():
    office = Office(2, switches=Switches(boleto="on_request"), wait_for_boleto_hours=0)
    office.days_go_by(90.0)
    assert office.shown()["billed_status"] == "Faturado"
    office.lab.omie_clients()("acme").gerar_boleto(office.app().titles_of_order[office.first.nCodOS][0])
    office.days_go_by()
    assert office.shown()["boleto_link"]
    assert len(office.writes()) == 2


# --- the record


def test_a_phone_that_many_customers_have_is_not_written_to():
    office = Office(4)
    reached = [charge for charge in office.charges.values() if read_phone(phone_of(office, charge)).number]
    number = read_phone(phone_of(office, reached[0])).number
    office.lab.objects.put_json("phones/shared.json", {"day": "2026-12-01", "marks": [mark(number)]})
    office.days_go_by(90.0)
    shown = office.shown(reached[0])
    assert shown["whatsapp_phone"] == ""
    assert "mesmo telefone" in shown["invoice_problem"]
    assert shown["invoice_link"]
    assert office.document(reached[0]).problem == shown["invoice_problem"]
    assert office.shown(reached[1])["whatsapp_phone"] == read_phone(phone_of(office, reached[1])).number


def phone_of(office, charge):
    jestor = office.lab.jestor_client()
    return jestor.get(CONTRACTS_TABLE, int(charge.key.contract[4:]))["cliente"]["whatsapp"]


def test_a_phone_put_right_is_sent_to_when_a_person_asks_again():
    office = Office(2)
    office.days_go_by(90.0)
    office.row()[FIELD["whatsapp_phone"]] = ""
    assert office.look()["outcome"] == "same"
    assert office.look(again=True)["outcome"] == "authorised"
    assert len(office.writes()) == 1 + bool(read_phone(phone_of(office, office.first)).number)


def test_a_late_word_about_an_old_invoice_does_not_replace_a_newer_month():
    office = Office(2)
    office.days_go_by(90.0)
    office.row()[FIELD["month"]] = "2027-01"
    cancel(office, office.first)
    office.days_go_by()
    assert office.shown()["billed_status"] == "Faturado"
    assert office.document().told_state == "cancelled"


def test_an_invoice_that_found_no_room_in_the_record_is_not_called_written():
    office = Office(2)
    office.row()[FIELD["month"]] = "2027-01"
    office.lab.clock.advance(90.0)
    office.look()
    assert office.writes() == []
    document = office.document()
    assert (document.state, document.told_at) == ("authorised", "")
    assert document.problem.startswith("O registro no Jestor já mostra a fatura de um mês posterior: esta não foi")
    assert office.look()["outcome"] == "same"


def test_a_record_that_is_gone_is_parked_with_one_clear_line():
    office = Office(2)
    office.lab.clock.advance(90.0)
    first = office.first
    office.lab.jestor.tables[CONTRACTS_TABLE].remove(int(first.key.contract[4:]))
    assert office.look()["outcome"] == "parked"
    assert office.look()["outcome"] == "parked"
    (letter,) = office.lab.queues.parked
    assert letter["contract"] == first.key.contract
    assert "não existe" in letter["reason"]
    assert "billing-ops invoices --again" in letter["safe_action"]


class Automation:
    """Jestor's, as docs/jestor-setup.md has it made: sends when link, phone and message are filled, and empties the last."""

    def __init__(self, office):
        self.sent = Counter()
        self._office = office

    def runs(self):
        for code, row in self._office.lab.jestor.tables[CONTRACTS_TABLE].rows.items():
            if all(row[FIELD[word]] for word in ("invoice_link", "whatsapp_phone", "whatsapp_text")):
                self.sent[code] += 1
                row[FIELD["whatsapp_text"]] = ""


def test_a_message_is_sent_once_though_sending_empties_it_and_we_die_before_we_remember():
    office = Office(4)
    automation = Automation(office)
    office.lab.step = lambda name, call: call() if name != "documents.put" else die_once(office, call)
    office.died = False
    office.lab.clock.advance(90.0)
    office.receive()
    while office.queue:
        office.work_one()
        automation.runs()
    assert office.died
    assert_each_was_told_once(office)
    reached = {int(c.key.contract[4:]) for c in office.charges.values() if read_phone(phone_of(office, c)).number}
    assert automation.sent == dict.fromkeys(reached, 1)

    assert office.look(again=True)["outcome"] == "authorised"
    automation.runs()
    assert sum(automation.sent.values()) == len(reached) + (int(office.first.key.contract[4:]) in reached)


def die_once(office, call):
    if not office.died and office.writes():
        office.died = True
        raise Killed
    return call()


def test_our_own_write_comes_back_as_a_webhook_and_differs_from_nothing():
    lab = LivingLab(3, clean=True)
    lab.run(companies=["acme"])
    lab.clock.advance(90.0)
    charge = next(charge for charge in lab.ledger.by_month("acme", DECEMBER) if charge.nCodOS)
    hint = {"company": "acme", "nCodOS": charge.nCodOS, "received_at": lab.clock.now().isoformat()}
    assert deliver_invoice(hint, lab.invoice_deps())["outcome"] == "authorised"
    written = Counter({name: line.count for name, line in lab.omie.book.methods.items()})
    (echo,) = lab.echoes
    assert lab.arrive(echo).status == 202
    lab.echoes.clear()
    lab.drain()

    after = Counter({name: line.count for name, line in lab.omie.book.methods.items()}) - written
    assert not [name for name in after if not name.startswith(("Listar", "Consultar", "Obter"))]
    assert lab.echoes == []
    assert "changes" in dict(lab.outcomes)


def test_in_the_living_lab_a_swept_invoice_goes_through_its_queue_a_minute_later():
    lab = LivingLab(3, clean=True)
    lab.run(companies=["acme"])
    lab.clock.advance(90.0)
    lab.omie.advance(lab.now())
    before = lab.now()
    sweep_invoices({"company": "acme"}, lab.invoice_sweep_deps())
    lab.drain()
    assert lab.now() - before > DELAY
    told = [answer["outcome"] for name, answer in lab.outcomes if name == "invoices"]
    assert told
    assert set(told) == {"authorised"}


# --- who else is at it, what breaks


def test_two_at_once_do_not_both_write():
    office = Office(2)
    office.lab.clock.advance(90.0)
    deps = office.lab.invoice_deps()
    now = office.lab.clock.now()
    key = f"acme#{office.first.nCodOS}"
    office.lab.documents.take(key, holder="another", now=now, until=now + timedelta(minutes=2))
    with pytest.raises(ComeAgain, match="other hands"):
        deliver_invoice(office.hint(office.first), deps)
    office.lab.clock.advance(120)
    assert deliver_invoice(office.hint(office.first), deps)["outcome"] == "authorised"


def test_a_blocked_lane_is_not_asked():
    office = Office(2)
    office.lab.lanes.block("acme", office.lab.now() + 1800, "bloqueada")
    asked = office.calls("ListarNFSEs")
    with pytest.raises(ComeAgain, match="blocked"):
        deliver_invoice(office.hint(office.first), office.lab.invoice_deps())
    assert office.calls("ListarNFSEs") == asked


class Hides:
    """A queue that notes for how long a message was hidden."""

    def __init__(self, queues):
        self._queues, self.hidden = queues, []

    def __getattr__(self, name):
        return getattr(self._queues, name)

    def hide(self, url, receipt, seconds):
        self.hidden.append((url, receipt, round(seconds)))


def test_what_must_wait_is_hidden_in_its_queue_for_as_long_as_it_must():
    office = Office(2)
    office.lab.clock.advance(90.0)
    queues = Hides(office.lab.queues)
    deps = replace(office.lab.invoice_deps(), queues=queues)
    record = {"body": json.dumps(office.hint(office.first)), "receiptHandle": "r"}
    now, key = office.lab.clock.now(), f"acme#{office.first.nCodOS}"
    office.lab.documents.take(key, holder="another", now=now, until=now + timedelta(minutes=2))
    assert take(record, deps) == {"company": "acme", "outcome": "document in other hands", "later": True}
    office.lab.clock.advance(120)
    office.lab.omie.faults.replace([Fault("blocked", methods=frozenset({"ListarNFSEs"}), times=1, seconds=600.0)])
    assert take(record, deps) == {"company": "acme", "outcome": "lane blocked", "later": True}
    assert office.lab.lanes.get("acme").blocked_until > office.lab.now() + 500
    assert take(record, deps)["outcome"] == "lane blocked"
    (_, _, other_hands), (_, _, block), (url, receipt, _) = queues.hidden
    assert (url, receipt, other_hands) == ("invoice-events", "r", 120)
    office.lab.clock.advance(block + 120)
    assert take(record, deps) == {
        "company": "acme",
        "contract": office.first.key.contract,
        "month": "2026-12",
        "outcome": "authorised",
        "later": False,
    }


def test_killed_before_any_step_it_is_told_once():
    steps = []
    office = Office(1, step=lambda name, call: (steps.append(name), call())[1])
    office.days_go_by(90.0)
    assert steps.count("jestor./object/update") == 1
    told = steps.index("jestor./object/update")
    after = steps[told:].index("documents.put") + 2  # before the step after it: it was carried out
    for number in range(told + after):
        dies = Dies(number)
        office = Office(1, step=dies)
        office.days_go_by(90.0)
        assert dies.died, steps[number]
        assert_each_was_told_once(office)


class Dies:
    def __init__(self, number):
        self.left, self.died = number, False

    def __call__(self, name, call):
        self.left -= 1
        if self.left != -1:
            return call()
        self.died = True
        raise Killed


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost_reply", "path": "/object/update", "times": 2},
        {"kind": "server_error", "path": "/object/update", "times": 3},
        {"kind": "rate_limited", "path": "/object/", "times": 3, "retry_after": 2},
        {"kind": "slow", "path": "/object/update", "times": 1, "seconds": 90},
        {"kind": "missing_data", "path": "/object/list", "times": 1},
    ],
    ids=lambda fault: fault["kind"],
)
def test_whatever_jestor_does_to_the_update_it_is_carried_out_once(fault):
    assert fault["kind"] in OF_A_CALL
    office = Office(2)
    office.lab.jestor.faults.replace([fault])
    office.days_go_by(90.0)
    office.days_go_by()
    assert_each_was_told_once(office)


def test_a_reading_that_omie_refuses_comes_again():
    office = Office(2)
    office.lab.omie.faults.replace([Fault("http_500", methods=frozenset({"ObterNFSe"}), times=9)])
    office.days_go_by(90.0)
    assert_each_was_told_once(office)


# --- what no webhook brought


def sweep(office, **event):
    """As the schedule does; the hints go into the queue. Answers the company's counts."""
    before = len(office.lab.queues.sent.get("invoice-events", []))
    office.lab.omie.advance(office.lab.now())
    counts = sweep_invoices(event, office.lab.invoice_sweep_deps())["companies"]["acme"]
    hints = office.lab.queues.sent.get("invoice-events", [])[before:]
    assert all(group == f"acme#{hint['nCodOS']}" for group, hint in hints)
    office.queue += [(office.lab.now() + DELAY, hint) for _, hint in hints]
    return counts


def test_with_every_webhook_lost_the_sweep_brings_every_invoice_and_then_has_nothing_to_ask():
    office = Office()
    billed = len(office.charges)
    office.lab.clock.advance(90.0)
    assert sweep(office) == {"billed": billed, "told": 0, "hints": billed, "left": 0}
    office.work()
    assert_each_was_told_once(office)
    office.lab.clock.advance(61.0)
    assert sweep(office) == {"billed": billed, "told": billed, "hints": 0, "left": 0}


def test_the_sweep_asks_omie_for_lists_and_never_for_a_charge():
    calls = {}
    for contracts in (4, 60):
        office = Office(contracts)
        office.lab.clock.advance(90.0)
        before = Counter({method: line.count for method, line in office.lab.omie.book.methods.items()})
        sweep(office)
        after = Counter({method: line.count for method, line in office.lab.omie.book.methods.items()})
        calls[contracts] = after - before
    assert calls[4] == calls[60] == {"ListarNFSEs": 1, "ListarContasReceber": 1}


def test_a_note_the_city_refused_is_found_though_omie_has_no_webhook_for_it():
    office = Office(2, switches=Switches(nfse_rejected_share=1.0))
    office.lab.clock.advance(90.0)
    assert sweep(office)["hints"] == len(office.charges)
    office.work()
    assert office.shown()["billed_status"] == "NFS-e rejeitada"
    office.lab.clock.advance(3600.0)
    assert sweep(office)["hints"] == 0
    office.lab.clock.advance(86400.0)
    assert sweep(office)["hints"] == len(office.charges)


def test_what_waits_for_a_person_is_in_the_report_and_told_once():
    office = Office(4, switches=Switches(nfse_rejected_share=1.0))
    office.lab.notes.sent.clear()
    office.lab.clock.advance(90.0)
    sweep(office)
    assert office.lab.notes.sent == []
    office.work()
    for _ in range(2):
        office.lab.clock.advance(3600.0)
        sweep(office)
    report = office.lab.objects.get_json("reports/2026-12/faturas.json")
    assert set(report["acme"]) == {charge.key.contract for charge in office.charges.values()}
    assert all("O que fazer: " in problem for problem in report["acme"].values())
    ((subject, body),) = office.lab.notes.sent
    assert subject == "Acme Tecnologia: faturas de 2026-12 esperam uma pessoa"
    assert office.first.key.contract in body
    assert "billing-ops invoices --month 2026-12 --company acme --missing" in body

    office.lab.omie.switches.nfse_rejected_share = 0.0
    resend(office)
    office.lab.clock.advance(90.0)
    sweep(office)
    office.work()
    office.lab.clock.advance(61.0)
    sweep(office)
    left = office.lab.objects.get_json("reports/2026-12/faturas.json")["acme"]
    assert all("WhatsApp" in problem for problem in left.values())


def test_a_lost_cancellation_and_a_lost_boleto_are_found():
    office = Office(4, switches=Switches(boleto="on_request"), wait_for_boleto_hours=0)
    office.lab.clock.advance(90.0)
    sweep(office)
    office.work()
    first, second = list(office.charges.values())[:2]
    office.lab.clock.advance(61.0)
    assert sweep(office)["hints"] == 0
    office.lab.omie_clients()("acme").gerar_boleto(office.app().titles_of_order[second.nCodOS][0])
    cancel(office, first)
    office.lab.clock.advance(61.0)
    assert sweep(office)["hints"] == 2
    office.work()
    assert office.shown(first)["billed_status"] == "NFS-e cancelada"
    assert office.shown(second)["boleto_link"]


def test_what_waits_for_the_city_is_not_asked_for():
    office = Office(2, switches=Switches(nfse_seconds=3600.0))
    office.lab.clock.advance(90.0)
    assert sweep(office)["hints"] == 0


def test_a_charge_adopted_without_its_order_is_found_by_its_contract_in_the_lists():
    office = Office(2)
    item = office.lab.ledger._charges[office.first.key]
    del item["order"]
    item["nCodOS"] = None
    office.lab.clock.advance(90.0)
    assert sweep(office)["hints"] == len(office.charges)
    office.work()
    assert_each_was_told_once(office)


def test_one_company_in_trouble_does_not_keep_the_others_from_being_swept():
    office = Office(2)
    office.lab.clock.advance(90.0)
    office.lab.omie.advance(office.lab.now())
    office.lab.settings = demo_settings()
    office.lab.ledger.apply(
        ChargeKey("JST-999", DECEMBER), Event.ADOPT, now=office.lab.clock.now(), who="a test", why="", company="acme"
    )
    office.lab.ledger.apply(
        ChargeKey("JST-998", DECEMBER), Event.ADOPT, now=office.lab.clock.now(), who="a test", why="", company="nimbus"
    )
    office.lab.omie.faults.replace(
        [Fault("http_500", methods=frozenset({"ListarNFSEs"}), companies=frozenset({"nimbus"}))]
    )
    with pytest.raises(SweepFailed, match="nimbus: ListarNFSEs"):
        sweep_invoices({}, office.lab.invoice_sweep_deps())
    assert len(office.lab.queues.sent["invoice-events"]) == len(office.charges)


def test_phones_of_many_customers_are_noted_once_a_day_and_a_failing_reading_leaves_yesterdays():
    office = Office(4)
    rows = office.lab.jestor.tables[CUSTOMERS_TABLE].rows
    for row in list(rows.values())[:3]:
        row["whatsapp"] = "(11) 98888-7771"
    sweep(office)
    noted = office.lab.objects.get_json("phones/shared.json")
    assert noted == {"day": "2026-12-01", "marks": [mark("+5511988887771")]}
    for row in rows.values():
        row["whatsapp"] = None
    sweep(office)
    assert office.lab.objects.get_json("phones/shared.json") == noted
    office.lab.clock.advance(86400.0)
    office.lab.jestor.faults.replace([{"kind": "status_false", "path": "/object/list"}])
    sweep(office)
    assert office.lab.objects.get_json("phones/shared.json") == noted
    office.lab.jestor.faults.replace([])
    sweep(office)
    assert office.lab.objects.get_json("phones/shared.json") == {"day": "2026-12-02", "marks": []}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_every_invoice_is_told_exactly_once(seed):
    random = Random(seed)
    kills = Counter()

    def step(name, call):
        if random.random() < 0.04 and kills["all"] < 25:
            kills["all"] += 1
            raise Killed
        answer = call()
        if random.random() < 0.04 and kills["all"] < 25:
            kills["all"] += 1
            raise Killed
        return answer

    office = Office(10, step=step)
    office.lab.omie.faults.replace(
        [
            Fault("webhook_lost", share=0.4),
            Fault("webhook_duplicate", share=0.4),
            Fault("webhook_late", share=0.5, seconds=400.0),
            Fault("http_500", methods=frozenset({"ObterNFSe", "ListarNFSEs", "ObterBoleto"}), share=0.05),
        ]
    )
    office.lab.jestor.faults.replace(
        [
            {"kind": "lost_reply", "path": "/object/update", "times": 6, "probability": 0.5},
            {"kind": "rate_limited", "path": "/object/", "times": 10, "probability": 0.1},
        ]
    )
    for _ in range(4):
        office.days_go_by(30.0, mangle=lambda hints: random.sample(hints, len(hints)))
    office.days_go_by(600.0)
    for _ in range(8):
        office.lab.clock.advance(700.0)
        office.died = False
        try:
            if sweep(office)["hints"] == 0:
                break
        except (Killed, SweepFailed):
            continue
        office.work()
    assert kills["all"] > 5
    assert_each_was_told_once(office)


# --- Omie's words


def test_a_note_is_refused_by_its_letter_or_by_its_rps():
    row = {"Cabecalho": {"cStatusNFSe": "N", "nCodNF": 0}, "RPS": {"cStatusRPS": "003"}}
    assert nfse_of(row).status is NfseStatus.REJECTED
    assert nfse_of({"Cabecalho": {"cStatusNFSe": "R"}}).status is NfseStatus.REJECTED
    assert nfse_of({"Cabecalho": {"cStatusNFSe": "?"}}).status is NfseStatus.NOT_YET
    assert nfse_of({}).status is NfseStatus.NOT_YET


@pytest.mark.parametrize(
    ("papers", "found"),
    [
        ({"cLinkPortal": "https://p", "cUrlNFSe": "https://c", "cPdfNFSe": "https://f"}, "https://p"),
        ({"cLinkPortal": "https://p?Expires=9", "cUrlNFSe": "https://c", "cPdfNFSe": "https://f"}, ""),
        ({"cLinkPortal": "", "cUrlNFSe": "https://c", "cPdfNFSe": "https://f"}, ""),
        ({"cPdfNFSe": "https://f?Expires=9"}, ""),
    ],
)
def test_only_the_page_that_lasts_is_taken(papers, found):
    assert portal_link(papers) == found
