"""Late charges from an overdue title to the bill that carries them, through the real run, month after month."""

import json
import os
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from billing import late_charges
from billing.domain.addition import marker_in
from billing.domain.charge import Charge, ChargeKey, Event, State
from billing.domain.late_fee import Payment, Terms, late_fee
from billing.domain.late_fee import Title as Owed
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.receivable import Title
from billing.holidays_br import is_bank_holiday
from billing.settings import LateFeeSettings
from simulators.lab import START, Killed, Lab, demo_settings
from simulators.omie.faults import Fault
from simulators.omie.state import Receipt
from simulators.world import (
    COMPANIES,
    CONTRACTS_TABLE,
    CUSTOMERS_TABLE,
    FIELDS,
    RECEIVABLE_FIELDS,
    RECEIVABLE_ID,
    RECEIVABLES_TABLE,
    World,
    make_world,
)

LATE = LateFeeSettings(fine_percent=Decimal(2), interest_percent=Decimal(1))
TWO = tuple(one for one in make_world(9, 5, START.date(), clean=True).contracts if one.omie_company == "acme")[:2]


class Months:
    """A company's months, one after the other: `bill` moves to the first of a month and runs it."""

    def __init__(self, late=LATE, *, step=None, **switches):
        settings = demo_settings()
        acme = settings.companies["acme"].model_copy(update={"late_fee": late})
        self.lab = Lab(
            world=World(5, START.date(), COMPANIES, TWO),
            settings=settings.model_copy(update={"companies": {"acme": acme}}),
            step=step,
        )
        self.lab.omie.switches.update(switches)
        self.app = self.lab.omie.apps["acme"]

    def bill(self, month="2026-12", day=1):
        self.to(date.fromisoformat(f"{month}-{day:02}"))
        return self.again()

    def again(self):
        answer = self.lab.run()
        self.lab.clock.advance(60)  # the city answers, and the titles are there
        self.lab.omie.advance(self.lab.now())
        self.event = self.lab.executions[-1].branches[0].event
        self.lines = []
        if "plan" in self.event:
            self.lines = [json.loads(line) for line in self.lab.objects.read_lines(self.event["plan"]["key"])]
        return answer

    def to(self, day, hour=6):
        self.lab.clock.set(max(datetime(day.year, day.month, day.day, hour, tzinfo=SAO_PAULO), self.lab.clock.now()))
        self.lab.omie.advance(self.lab.now())

    def pay(self, title, day, amount=None, *, fine=0, interest=0):
        """The bank reports a payment."""
        receipt = Receipt(
            codigo_baixa=self.app.new_id(),
            codigo_baixa_integracao="",
            day=day,
            paid=title.open if amount is None else amount,
            interest=interest,
            fine=fine,
            discount=0,
            account=title.account,
            note="",
            reconciled=False,
        )
        title.receipts.append(receipt)
        self.app.changed()

    def says(self, contract, **fields):
        data = {FIELDS[name]: value for name, value in fields.items()}
        number = int(contract.removeprefix("JST-"))
        self.lab.jestor.edit({"table": CONTRACTS_TABLE, "id": number, "data": data}, self.lab.now())

    @property
    def titles(self):
        return sorted(self.app.titles.values(), key=lambda title: title.nCodTitulo)

    def title_of(self, contract, month="2026-12"):
        nCodOS = self.charge(contract, month).nCodOS
        return next(title for title in self.titles if title.nCodOS == nCodOS)

    def charge(self, contract, month):
        return self.lab.ledger.get(ChargeKey(contract, BillingMonth.parse(month)))

    def line(self, contract):
        return next(line for line in self.lines if line["contract"] == contract)

    def billed(self, month):
        """nCodCtr -> amount of its orders, by Omie's own book."""
        found = {}
        for billing in self.lab.omie.book.billings:
            if billing.month == month:
                found.setdefault(billing.nCodCtr, []).append(billing.amount)
        return found

    def on_contracts(self):
        """The additions of ours that contracts carry now."""
        return [
            marker
            for contract in self.app.contract_list
            for line in contract.cadastro()["despesasReembolsaveis"]["despesaReembolsavel"]
            if (marker := marker_in(line["cDescReemb"]))
        ] + [
            item["itemCabecalho"]["codIntItem"]
            for contract in self.app.contract_list
            for item in contract.cadastro()["itensContrato"]
            if item["itemCabecalho"]["codIntItem"].startswith("JST-AD-")
        ]


@pytest.fixture
def december():
    months = Months()
    months.bill()
    months.first, months.second = (line["contract"] for line in months.lines if line["action"] == "bill")
    return months


def owed(title, through, payments=(), **collected):
    return late_fee(Owed(title.amount, title.due, payments, **collected), LATE.terms(), through, is_bank_holiday)


# --- an overdue title, the next bill, and the one after


@pytest.mark.parametrize("how", ["expense", "item"])
@pytest.mark.parametrize("kept", ["removed", "kept"])
@pytest.mark.parametrize("on_alter", ["merge", "replace"])
def test_an_overdue_title_is_charged_on_the_next_bill_and_not_on_the_one_after(how, kept, on_alter):
    months = Months(
        LATE.model_copy(update={"how": how}),
        once_only_after_billing=kept,
        expenses_on_alter=on_alter,
        items_on_alter=on_alter,
    )
    months.bill()
    contract, other = (line["contract"] for line in months.lines if line["action"] == "bill")
    title = months.title_of(contract)
    months.pay(months.title_of(other), months.title_of(other).due)
    december = months.charge(contract, "2026-12").amount

    months.bill("2027-01")
    fee = owed(title, date(2026, 12, 30))  # Friday 1 January is a holiday, the 31st banks rest
    charge = months.charge(contract, "2027-01")
    assert (charge.state, charge.amount) == (State.BILLED, december + fee.total)
    assert months.billed("2027-01")[charge.nCodCtr] == [december + fee.total]
    (entry,) = charge.additions
    assert (entry["title"], entry["fine"], entry["interest"]) == (title.nCodTitulo, fee.fine, fee.interest)
    (planned,) = months.line(contract)["additions"]
    assert planned["proof"] == fee.proof
    assert months.charge(other, "2027-01").additions == ()

    months.pay(title, date(2026, 12, 30))
    for each in (contract, other):
        months.pay(months.title_of(each, "2027-01"), date(2027, 1, 4))
    months.bill("2027-02")
    assert months.charge(contract, "2027-02").amount == december
    assert months.charge(contract, "2027-02").additions == ()
    assert months.on_contracts() == []


def test_what_stays_open_is_charged_piece_by_piece_and_the_pieces_are_the_whole(december):
    title = december.title_of(december.first)
    for month in ("2027-01", "2027-02", "2027-03"):
        december.bill(month)
    charges = [december.charge(december.first, month) for month in ("2027-01", "2027-02", "2027-03")]
    mine = [entry for charge in charges for entry in charge.additions if entry["title"] == title.nCodTitulo]
    whole = owed(title, date.fromisoformat(mine[-1]["through"]))
    assert sum(entry["fine"] for entry in mine) == mine[0]["fine"] == whole.fine
    assert sum(entry["interest"] for entry in mine) == whole.interest
    assert len(mine) == 3


def test_charges_bear_no_charges(december):
    december.bill("2027-01")
    later = december.title_of(december.first, "2027-01")
    base = december.charge(december.first, "2026-12").amount
    assert later.amount > base
    december.bill("2027-02")
    entry = next(e for e in december.charge(december.first, "2027-02").additions if e["title"] == later.nCodTitulo)
    plain = late_fee(Owed(base, later.due), LATE.terms(), date.fromisoformat(entry["through"]), is_bank_holiday)
    assert (entry["fine"], entry["interest"]) == (plain.fine, plain.interest)


def test_a_month_without_a_bill_carries_over(december):
    december.says(december.first, status="Suspenso")
    december.bill("2027-01")
    assert december.line(december.first)["action"] == "skip"
    (waiting,) = december.line(december.first)["additions"]
    december.says(december.first, status="Ativo")
    title = december.title_of(december.first)
    december.pay(title, date(2027, 1, 20))
    december.bill("2027-02")
    (entry,) = december.charge(december.first, "2027-02").additions
    fee = owed(title, date(2027, 1, 29), [Payment(date(2027, 1, 20), title.amount)])
    assert entry["amount"] == fee.total > waiting["amount"]
    assert entry["through"] == "2027-01-20"


def test_what_the_boleto_collected_is_not_charged_again(december):
    title = december.title_of(december.first)
    fee = owed(title, date(2026, 12, 29), [Payment(date(2026, 12, 29), title.amount)])
    december.pay(title, date(2026, 12, 29), fine=fee.fine, interest=fee.interest)
    december.bill("2027-01")
    assert december.charge(december.first, "2027-01").additions == ()


@pytest.mark.parametrize("document", ["", "12-3456789"])
def test_a_customer_abroad_without_a_document_is_billed_with_its_late_charges(december, document):
    title = december.title_of(december.first)
    number = int(december.first.removeprefix("JST-"))
    row = december.lab.jestor.tables[CONTRACTS_TABLE].rows[number]
    abroad = {"cnpj_cpf": document, "estado": "EX", "cidade": "EX"}
    december.lab.jestor.edit({"table": CUSTOMERS_TABLE, "id": row["cliente"], "data": abroad}, december.lab.now())

    december.bill("2027-01")

    assert december.line(december.first)["warnings"] == []
    charge = december.charge(december.first, "2027-01")
    assert charge.state is State.BILLED
    assert [entry["title"] for entry in charge.additions] == [title.nCodTitulo]


def test_a_title_paid_late_without_its_charges_still_owes_them(december):
    title = december.title_of(december.first)
    december.pay(title, date(2026, 12, 28), title.amount // 2)
    december.pay(title, date(2026, 12, 29))
    december.bill("2027-01")
    (entry,) = december.charge(december.first, "2027-01").additions
    halves = [
        Payment(date(2026, 12, 28), title.amount // 2),
        Payment(date(2026, 12, 29), title.amount - title.amount // 2),
    ]
    assert entry["amount"] == owed(title, date(2026, 12, 30), halves).total


def test_nothing_is_charged_beyond_the_last_day_whose_payments_are_known(december):
    title = december.title_of(december.first)
    due = title.due
    while due.weekday() > 3:  # a day whose morrow is a business day
        due -= timedelta(days=1)
    for each in december.titles:
        each.due = due
    morning_after = due + timedelta(days=1)
    settings = LATE.model_copy(update={"bank_return_days": 0})
    assert late_charges.known_through(morning_after, LATE, is_bank_holiday) == due
    assert late_charges.known_through(morning_after, settings, is_bank_holiday) == morning_after
    assert owed(title, due).total == 0


# --- between plan and bill


def paid_meanwhile(months, title, **payment):
    """A step for the lab: the title is paid once the plan is written."""

    def step(name, call):
        answer = call()
        if name == "runs.put_plan" and not title.receipts:
            months.pay(title, date(2026, 12, 30), **payment)
        return answer

    return step


@pytest.mark.parametrize("collected", [True, False])
def test_a_title_paid_between_plan_and_bill_is_withdrawn_and_reckoned_anew(december, collected):
    title = december.title_of(december.first)
    whole = owed(title, date(2026, 12, 30), [Payment(date(2026, 12, 30), title.amount)])
    fees = {"fine": whole.fine, "interest": whole.interest} if collected else {}
    december.lab.step = paid_meanwhile(december, title, **fees)
    answer = december.bill("2027-01")
    base = december.charge(december.first, "2026-12").amount
    assert december.line(december.first)["amount"] == base + whole.total
    charge = december.charge(december.first, "2027-01")
    assert (charge.amount, charge.additions) == (base, ())
    assert december.billed("2027-01")[charge.nCodCtr] == [base]
    assert answer["balanced"]
    december.bill("2027-02")
    entries = [e for e in december.charge(december.first, "2027-02").additions if e["title"] == title.nCodTitulo]
    assert sum(entry["amount"] for entry in entries) == (0 if collected else whole.total)


# --- no rate, other modes, marks


def test_without_an_agreed_rate_the_bill_goes_out_and_a_warning_says_so():
    months = Months(LateFeeSettings(fine_percent=Decimal(2)))
    months.bill()
    contract, other = (line["contract"] for line in months.lines if line["action"] == "bill")
    months.says(other, late_interest_percent="0,5")
    months.bill("2027-01")
    assert months.charge(contract, "2027-01").additions == ()
    (warning,) = months.line(contract)["warnings"]
    assert warning.startswith("Encargos por atraso não cobrados: nenhuma taxa de juros combinada")
    (entry,) = months.charge(other, "2027-01").additions
    assert entry["interest"] > 0


@pytest.mark.parametrize(
    ("says", "warning"),
    [
        ({"late_mode": "Boleto"}, None),
        ({"late_mode": "Nenhum"}, None),
        ({"late_fine_percent": "10"}, "acima do máximo de 2% para consumidor"),
        ({"late_fine_percent": "dez"}, "não é um percentual"),
    ],
)
def test_a_contract_may_say_otherwise_and_never_beyond_the_law(december, says, warning):
    december.says(december.first, **says)
    december.bill("2027-01")
    assert december.charge(december.first, "2027-01").additions == ()
    warnings = december.line(december.first)["warnings"]
    assert (warning in warnings[0]) if warning else not warnings
    assert december.charge(december.second, "2027-01").additions


def test_a_business_may_have_agreed_on_more(december):
    december.says(december.first, late_fine_percent="10", customer_kind="Empresa")
    december.bill("2027-01")
    (entry,) = december.charge(december.first, "2027-01").additions
    assert entry["fine"] == december.title_of(december.first).amount // 10


@pytest.mark.parametrize(("mark", "said"), [("isento", ""), ("negociado", "negociado"), ("em_disputa", "em disputa")])
def test_what_a_person_marked_in_jestor_is_not_charged(december, mark, said):
    title = december.title_of(december.first)
    deps = december.lab.plan_deps
    december.lab.plan_deps = lambda: replace(deps(), waivers=lambda company: {title.nCodTitulo: mark})
    december.bill("2027-01")
    assert december.charge(december.first, "2027-01").additions == ()
    warnings = december.line(december.first)["warnings"]
    assert (f"{said} no Jestor" in warnings[0]) if said else not warnings
    assert december.charge(december.second, "2027-01").additions
    december.lab.plan_deps = deps
    december.bill("2027-02")
    assert any(e["title"] == title.nCodTitulo for e in december.charge(december.first, "2027-02").additions)


def test_the_plan_stops_where_the_bank_collects_the_same(december):
    december.app.accounts[december.lab.settings.companies["acme"].omie.nCodCC] |= {"per_multa": 2, "per_juros": 1.5}
    answer = december.bill("2027-01")
    (company,) = answer["companies"]
    assert "multa de 2% e juros de 1,5% ao mês" in company["stopped"]
    assert 'mode = "boleto"' in company["stopped"]
    assert december.billed("2027-01") == {}


def test_titles_of_no_contract_of_ours_are_told_and_those_of_an_order_of_ours_are_found(december):
    found, lost = december.title_of(december.first), december.title_of(december.second)
    found.nCodCtr = 0
    lost.nCodCtr = lost.nCodOS = 0
    december.bill("2027-01")
    assert december.charge(december.first, "2027-01").additions[0]["title"] == found.nCodTitulo
    (note,) = december.event["notes"]
    assert note.startswith("1 título atrasado (R$ ")
    assert str(lost.nCodTitulo) in note


def test_old_titles_and_small_amounts_wait():
    months = Months(LATE.model_copy(update={"least": 10_000_00}))
    months.bill()
    months.bill("2027-01")
    assert [line["additions"] for line in months.lines] == [[], []]
    months = Months(LATE.model_copy(update={"due_from": date(2027, 1, 1)}))
    months.bill()
    months.bill("2027-01")
    assert [line["additions"] for line in months.lines] == [[], []]


# --- what was charged before


def charge(month, state=State.BILLED, *entries, **more):
    additions = tuple({"key": "k", "title": 7, "fine": 200, "interest": 50, "amount": 250} | entry for entry in entries)
    return Charge(ChargeKey("JST-1", BillingMonth.parse(month)), state, "acme", 1, additions=additions, **more)


def test_only_what_was_billed_was_charged():
    charges = [charge("2026-11", State.BILLED, {}, {"title": 8}), charge("2026-12", State.READY, {})]
    assert late_charges.charged_before(7, charges) == (200, 50, None)
    charges.append(charge("2027-01", State.BILLED, {"fine": 0}))
    assert late_charges.charged_before(7, charges) == (200, 100, None)
    assert late_charges.charged_before(9, charges) == (0, 0, None)


@pytest.mark.parametrize(
    "doubted",
    [
        charge("2026-12", State.UNKNOWN, {}),
        charge("2026-12", State.SENDING, {}),
        charge("2026-12", State.PARKED, {}, reason_code="in_doubt"),
        charge("2026-12", State.BILLED, {"doubtful": True}),
    ],
)
def test_while_a_month_is_in_doubt_its_titles_wait(december, doubted):
    assert late_charges.charged_before(7, [doubted]).doubtful == BillingMonth(2026, 12)
    assert late_charges.charged_before(8, [doubted]).doubtful is None
    title = december.title_of(december.first)
    entry = {"key": "k", "title": title.nCodTitulo, "through": "2026-12-30", "fine": 1, "interest": 0, "amount": 1}
    key = ChargeKey(december.first, BillingMonth(2026, 11))
    facts = {"now": START, "who": "test", "why": "", "company": "acme", "amount": 1}
    entry |= {"doubtful": True}
    december.lab.ledger.apply(key, Event.ADOPT, **facts, additions=[entry])
    december.bill("2027-01")
    assert december.charge(december.first, "2027-01").additions == ()
    assert "não se sabe se a cobrança de 2026-11 os levou" in december.line(december.first)["warnings"][0]


def test_a_charge_parked_because_omie_refused_charged_nothing():
    parked = charge("2026-12", State.PARKED, {}, reason_code="omie_rejected")
    assert late_charges.charged_before(7, [parked]) == (0, 0, None)


def test_more_charged_than_owed_is_told():
    title = Title(
        7,
        1,
        1,
        9,
        "",
        10000,
        date(2026, 12, 10),
        0,
        10000,
        cancelled=False,
        payments=(Payment(date(2026, 12, 14), 10000),),
    )
    terms = Terms(Decimal(2), Decimal(1))
    fee, warning = late_charges.reckon(
        title, terms, [charge("2027-01", State.BILLED, {})], date(2027, 1, 29), is_bank_holiday
    )
    assert fee.total == 0
    assert "R$ 0,37 a mais do que é devido" in warning
    assert late_charges.reckon(title, terms, [], date(2027, 1, 29), is_bank_holiday)[1] == ""


# --- whatever happens


@pytest.mark.parametrize("fault", [Fault("lost_reply"), Fault("late_execution", seconds=50.0), Fault("lost_request")])
def test_a_lost_reply_of_alterar_contrato_adds_nothing_twice(december, fault):
    hit = []

    def step(name, call):
        if name == "omie.AlterarContrato" and not hit:
            hit.append(name)
            december.lab.omie.faults.replace((fault,))
            try:
                return call()
            finally:
                december.lab.omie.faults.replace(())
        return call()

    december.lab.step = step
    answer = december.bill("2027-01")
    assert hit
    assert answer["balanced"]
    for contract in (december.first, december.second):
        charge_ = december.charge(contract, "2027-01")
        assert december.billed("2027-01")[charge_.nCodCtr] == [charge_.amount]
        assert len(charge_.additions) == 1
    assert december.on_contracts() == []


WRITES = {"omie.AlterarContrato", "omie.FaturarContrato", "omie.ExcluirItem"}


class Trouble:
    """A step that kills, loses and delays at random, while `on`."""

    def __init__(self, random, rate=0.25):
        self.random, self.rate, self.on, self.lab = random, rate, False, None
        self.between = lambda: None
        """What may happen once a plan is written."""

    def __call__(self, name, call):
        if self.on and name == "runs.put_plan" and self.random.random() < 0.3:
            call()
            self.between()
            return None
        if not self.on or self.random.random() > (self.rate if name in WRITES else self.rate / 30):
            return call()
        kind = self.random.choice(["before", "after", "lost_reply", "late", "lost_request"])
        if kind == "before":
            raise Killed
        if kind == "after" or not name.startswith("omie."):
            call()
            raise Killed
        fault = Fault("late_execution", seconds=self.random.uniform(1, 59)) if kind == "late" else Fault(kind)
        self.lab.omie.faults.replace((fault,))
        try:
            return call()
        finally:
            self.lab.omie.faults.replace(())


@pytest.mark.parametrize("seed", range(int(os.environ.get("LATE_MONTHS", "2"))))
def test_no_title_is_charged_twice_under_any_interleaving_of_runs_payments_and_waivers(seed):
    months_of_trouble(seed)


def months_of_trouble(seed):
    """Four months of runs that are killed and lose replies, while people pay titles and mark them."""
    random = Random(seed)
    trouble = Trouble(random)
    months = Months(
        LATE.model_copy(update={"how": random.choice(["expense", "item"])}),
        step=trouble,
        once_only_after_billing=random.choice(["removed", "kept"]),
        expenses_on_alter=random.choice(["merge", "replace"]),
        second_billing=random.choice(["accept", "refuse"]),
        same_id_lookup=random.choice(["off", "consultar+status"]),
    )
    trouble.lab = months.lab
    marks = {}
    trouble.between = lambda: happens(months, random, marks)
    deps = months.lab.plan_deps
    months.lab.plan_deps = lambda: replace(deps(), waivers=lambda company: dict(marks))
    for month in ("2026-12", "2027-01", "2027-02", "2027-03"):
        months.to(date.fromisoformat(f"{month}-01"))
        trouble.on = True
        for _ in range(random.randint(1, 3)):
            months.lab.start(trigger="operator")
            months.lab.drain()
            if random.random() < 0.3:
                trouble.on = False
                happens(months, random, marks)
                trouble.on = True
        trouble.on = False
        for _ in range(3):
            months.again()
        for day in (8, 15, 27):
            months.to(date.fromisoformat(f"{month}-{day:02}"))
            happens(months, random, marks)
    no_title_twice(months)


def happens(months, random, marks):
    """Somebody pays, in part or whole, at the bank with or without its charges; or a title is marked, or unmarked."""
    open_ones = [title for title in months.titles if title.open]
    if not open_ones:
        return
    title = random.choice(open_ones)
    today = months.lab.clock.now().astimezone(SAO_PAULO).date()
    match random.randrange(4):
        case 0:
            months.pay(title, today)
        case 1:
            months.pay(title, today, max(1, title.open // 3), fine=random.choice([0, 100]))
        case 2:
            marks[title.nCodTitulo] = "isento"
        case 3:
            marks.clear()


def no_title_twice(months):
    ledger = months.lab.ledger
    charges = [one for one in ledger.iter_many(list(ledger._charges)) if one.key.kind == "mensalidade"]
    by_order = {one.nCodOS: one for one in charges if one.state is State.BILLED}
    live = [b for b in months.lab.omie.book.billings if b.nCodOS not in months.lab.omie.book.cancelled]
    assert len({(b.nCodCtr, b.month) for b in live}) == len(live)
    shown = Counter()
    for billing in live:
        assert billing.amount == by_order[billing.nCodOS].amount
        planned = sum(entry["amount"] for entry in by_order[billing.nCodOS].additions)
        assert months.charge(by_order[billing.nCodOS].key.contract, "2026-12").amount + planned == billing.amount
        shown.update(
            marker for line in months.app.orders[billing.nCodOS].lines if (marker := marker_in(line.description))
        )
    assert set(shown.values()) <= {1}
    today = months.lab.clock.now().astimezone(SAO_PAULO).date()
    for title in months.titles:
        mine = [
            e for one in charges if one.state is State.BILLED for e in one.additions if e["title"] == title.nCodTitulo
        ]
        inside = sum(e["amount"] for e in by_order[title.nCodOS].additions)
        left, payments = title.amount - inside, []
        for receipt in sorted(title.receipts, key=lambda receipt: receipt.day):
            payments.append(Payment(receipt.day, min(receipt.paid, left)))
            left -= payments[-1].amount
        whole = late_fee(
            Owed(title.amount - inside, title.due, [p for p in payments if p.amount]),
            LATE.terms(),
            today,
            is_bank_holiday,
        )
        assert sum(e["fine"] for e in mine) <= whole.fine
        assert sum(e["interest"] for e in mine) <= whole.interest
        assert sum(1 for e in mine if e["fine"]) <= 1
        assert not any(e.get("doubtful") for e in mine)


# --- with Jestor's receivables table


def receivable(months, title):
    rows = months.lab.jestor_client().iter_records(RECEIVABLES_TABLE)
    return next(row for row in rows if int(row[RECEIVABLE_FIELDS["title"]]) == title.nCodTitulo)


def test_an_overdue_title_is_flagged_in_jestor_charged_on_the_next_bill_and_not_on_the_one_after(december):
    title, spared = december.title_of(december.first), december.title_of(december.second)
    december.to(date(2027, 1, 1))
    december.lab.sync_receivables("acme")
    row = receivable(december, title)
    assert row[RECEIVABLE_FIELDS["delay_days"]] == (date(2027, 1, 1) - title.due).days > 0
    assert row[RECEIVABLE_FIELDS["proof"]] == owed(title, date(2026, 12, 30)).proof

    mark = {RECEIVABLE_FIELDS["exception"]: "7c21f0"}  # Isento
    change = {"table": RECEIVABLES_TABLE, "id": receivable(december, spared)[RECEIVABLE_ID], "data": mark}
    december.lab.jestor.edit(change, december.lab.now())
    december.bill("2027-01")
    (planned,) = december.line(december.first)["additions"]
    assert planned["proof"] == row[RECEIVABLE_FIELDS["proof"]]
    assert [e["title"] for e in december.charge(december.first, "2027-01").additions] == [title.nCodTitulo]
    assert december.charge(december.second, "2027-01").additions == ()

    december.to(date(2027, 1, 5))
    december.pay(title, date(2026, 12, 30))
    december.pay(december.title_of(december.first, "2027-01"), date(2027, 1, 5))
    december.bill("2027-02")
    assert december.charge(december.first, "2027-02").additions == ()


def test_a_receivables_table_that_cannot_be_read_charges_nobody_and_bills_everybody(december):
    receivables = december.lab.settings.jestor.receivables
    fields = receivables.fields.model_copy(update={"exception": "sumiu"})
    broken = december.lab.settings.jestor.model_copy(
        update={"receivables": receivables.model_copy(update={"fields": fields})}
    )
    december.lab.settings = december.lab.settings.model_copy(update={"jestor": broken})
    december.bill("2027-01")
    assert len(december.billed("2027-01")) == 2
    assert december.charge(december.first, "2027-01").additions == ()
    (note,) = december.event["notes"]
    assert note.startswith("Encargos por atraso não cobrados nesta execução: ")


def test_what_a_contract_that_ended_owes_is_listed_in_the_report(december):
    december.says(december.first, status="Churn")
    answer = december.bill("2027-01")
    found = json.loads(december.lab.objects.get_text(answer["report"]["json"]))
    assert [row["contract"] for row in found["owed"]["rows"]] == [december.first]
    assert [row["contract"] for row in found["additions"]["rows"]] == [december.second]
    fee = owed(december.title_of(december.first), date(2026, 12, 30))
    assert found["owed_amount"]["centavos"] == fee.total
    assert found["owed"]["rows"][0]["proof"] == fee.proof


# ---- Jestor's receivables table


def receivables_row(months, title):
    rows = months.lab.jestor.tables[RECEIVABLES_TABLE].rows.values()
    row = next(row for row in rows if row[RECEIVABLE_FIELDS["title"]] == title.nCodTitulo)
    return {word: row.get(RECEIVABLE_FIELDS[word]) for word in ("charges", "charges_billed", "proof")}


def centavos(value):
    return round(Decimal(str(value or 0)) * 100)


def test_what_an_invoice_has_charged_is_not_shown_as_still_to_be_charged(december):
    title = december.title_of(december.first)
    december.to(date(2027, 1, 1))
    december.lab.sync_receivables("acme")
    before = receivables_row(december, title)
    assert (before["charges_billed"], centavos(before["charges"]) > 0) == (None, True)
    december.again()
    [fee] = december.charge(december.first, "2027-01").additions
    december.lab.clock.advance(120)
    december.lab.sync_receivables("acme")
    after = receivables_row(december, title)
    assert centavos(after["charges_billed"]) == fee["amount"] == centavos(before["charges"])
    assert (after["charges"], after["proof"]) == (None, None)

    december.to(date(2027, 1, 20))
    december.lab.sync_receivables("acme")
    later = receivables_row(december, title)
    assert centavos(later["charges_billed"]) == fee["amount"]
    assert 0 < centavos(later["charges"]) < fee["amount"]  # the interest of the days since; the fine is charged once
    december.bill("2027-02")
    paid_for = [entry for month in ("2027-01", "2027-02") for entry in december.charge(december.first, month).additions]
    december.lab.clock.advance(120)
    december.lab.sync_receivables("acme")
    billed = sum(entry["amount"] for entry in paid_for if entry["title"] == title.nCodTitulo)
    assert centavos(receivables_row(december, title)["charges_billed"]) == billed > fee["amount"]


def test_when_nobody_knows_whether_an_invoice_charged_it_nothing_is_proposed(december):
    title = december.title_of(december.first)
    december.bill("2027-01")
    key = ChargeKey(december.first, BillingMonth(2027, 1))
    december.lab.ledger._charges[key]["state"] = State.UNKNOWN
    december.lab.clock.advance(120)
    december.lab.sync_receivables("acme")
    row = receivables_row(december, title)
    assert (centavos(row["charges"]), row["charges_billed"]) == (0, None)
    assert row["proof"] == "Não se sabe se a cobrança de 2027-01 já levou os encargos: confira no Omie."
