"""Webhook to Omie and back: change, churn and reactivation, with everything that can go wrong between."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from billing.bill_batch import ALTERATION
from billing.bootstrap import LANE_WAIT
from billing.domain.charge import ChargeKey, Event, State
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.prorate import Pending
from billing.omie.replies import NotExecuted
from billing.prorated import additions, shares, still_owed
from billing.store.contracts import Remembered
from simulators.lab import Killed, demo_settings
from simulators.living_lab import CHANGES, CHURNS, LivingLab
from simulators.omie import contracts as omie_contracts
from simulators.omie.faults import Fault
from simulators.world import CUSTOMER_ID, CUSTOMERS_TABLE, FIELDS

TENTH = datetime(2026, 12, 10, 9, tzinfo=SAO_PAULO)
DECEMBER = BillingMonth(2026, 12)
AMOUNT, STATUS = FIELDS["unit_amount"], FIELDS["status"]


def linked(contract):
    """Of Acme, with a customer of its own, and carrying our code in Omie."""
    code = (contract.omie_contrato["cabecalho"].get("cCodIntCtr") or "").strip()
    return contract.omie_company == "acme" and contract.customer == contract.index and code == contract.code


class Desk:
    """A small agreed world, swept once, and its first contract of Acme."""

    def __init__(self, *, start=TENTH, settings=None, contracts=5, **more):
        self.lab = LivingLab(contracts, 5, clean=True, start=start, settings=settings, **more)
        self.lab.sweep()
        self.lab.drain()
        self.one = next(c for c in self.lab.world.contracts if linked(c))
        self.code, self.id = self.one.code, self.one.jestor_id
        self.number = self.one.omie_contrato["cabecalho"]["nCodCtr"]
        self.lab.omie.book.methods.clear()
        self.lab.outcomes.clear()

    def edit(self, *, arrives=True, **data):
        posts = self.lab.edit(self.id, {FIELDS[word]: value for word, value in data.items()})
        for post in posts if arrives else ():
            self.lab.arrive(post)
        return posts

    def change(self, **data):
        self.edit(**data)
        self.lab.drain()

    @property
    def held(self):
        return self.lab.omie.apps["acme"].contracts[self.number]

    def calls(self, method):
        return self.lab.omie.book.methods[method].count

    def did(self, function):
        return [answer["outcome"] for name, answer in self.lab.outcomes if name == function and "outcome" in answer]

    def told(self):
        row = self.lab.row(self.id)
        return row["situacao_omie"], row["observacao_omie"], row["mudanca_vale_na_competencia"]

    def memory(self):
        return self.lab.contracts.get(self.code)

    def planned_line(self, month):
        """Its line in the last plan of that month."""
        plans = [
            text for key, text in self.lab.objects.texts.items() if f"/{month}/" in key and key.endswith("plan.jsonl")
        ]
        lines = [json.loads(line) for text in plans for line in text.splitlines()]
        return next(line for line in reversed(lines) if line["contract"] == self.code)

    def charge(self, event=None, **facts):
        key = ChargeKey(self.code, DECEMBER)
        if event is not None:
            self.lab.ledger.apply(
                key, event, now=self.lab.clock.now(), who="a test", why="", company="acme", amount=1, **facts
            )
        return self.lab.ledger.get(key)


# --- change


def test_a_new_price_reaches_omie_and_the_record_says_from_which_month():
    desk = Desk()

    desk.change(unit_amount=777.77)

    assert desk.held.total == 77777
    situation, note, month = desk.told()
    assert (situation, month) == ("Ativo", "2027-01")
    assert "→ R$ 777,77" in note
    assert "Vale a partir da competência 2027-01." in note


def test_our_own_writing_and_a_doubled_webhook_cost_omie_nothing():
    desk = Desk()
    posts = desk.edit(unit_amount=777.77)
    desk.lab.drain()
    desk.lab.omie.book.methods.clear()

    for post in [*desk.lab.echoes, *posts]:
        desk.lab.arrive(post)
    desk.lab.drain()

    assert desk.did("changes")[-1] == "as it was"
    assert not desk.lab.omie.book.methods


def test_many_edits_within_a_minute_are_one_more_look():
    desk = Desk()
    for price in (101, 102, 103, 104):
        desk.edit(unit_amount=price)
        desk.lab.clock.advance(1)
        for action in desk.lab.actions():
            action()
    desk.lab.drain()

    assert desk.held.total == 10400
    assert desk.calls("ConsultarContrato") == 2
    assert desk.lab.omie.book.breaches == []


def test_a_change_for_later_waits_for_its_day_and_says_so():
    desk = Desk()

    desk.change(unit_amount=500, change_from="2027-01-20")

    before = desk.held.total
    assert before != 50000
    assert desk.told()[1:] == ("Mudança guardada: vale a partir da competência 2027-02.", "2027-02")
    desk.lab.clock.set(datetime(2027, 1, 20, 5, tzinfo=SAO_PAULO))
    desk.lab.sweep()
    desk.lab.drain()
    assert desk.held.total == 50000


def test_a_customers_new_address_and_email_reach_omie_for_each_of_its_contracts():
    desk = Desk()
    customer = desk.lab.row(desk.id)["cliente"][CUSTOMER_ID]

    for post in desk.lab.edit(
        customer, {"endereco": "Rua Nova", "email_faturamento": "novo@cliente.example"}, table=CUSTOMERS_TABLE
    ):
        desk.lab.arrive(post)
    desk.lab.drain()

    assert desk.held.cadastro()["emailCliente"]["cUtilizarEmails"] == "novo@cliente.example"
    assert desk.lab.omie.apps["acme"].customer(desk.held.nCodCli)["endereco"] == "Rua Nova"


EMPTIED = {"complemento": None, "email_faturamento": "", "whatsapp": None}


class Customers(Desk):
    """A desk whose customer has every field, in Jestor and in Omie, and whose contract was agreed with them."""

    def __init__(self, **more):
        super().__init__(**more)
        self.customer = self.lab.row(self.id)["cliente"][CUSTOMER_ID]
        self.revise({"complemento": "sala 7", "email_faturamento": "a@cliente.example", "whatsapp": "(11) 98888-7776"})
        self.lab.omie.book.methods.clear()

    def revise(self, data):
        for post in self.lab.edit(self.customer, data, table=CUSTOMERS_TABLE):
            self.lab.arrive(post)
        self.lab.drain()

    @property
    def in_omie(self):
        shown = self.lab.omie.apps["acme"].customer(self.held.nCodCli)
        return tuple(shown.get(tag) or "" for tag in ("complemento", "email", "telefone1_ddd", "telefone1_numero"))


def test_what_was_emptied_in_jestor_is_emptied_in_omie():
    desk = Customers()
    assert desk.in_omie == ("sala 7", "a@cliente.example", "11", "988887776")
    desk.lab.omie.switches.update({"empty_on_alter": "clear"})

    desk.revise(EMPTIED)

    assert desk.in_omie == ("", "", "", "")
    assert "cadastro do cliente enviado ao Omie (vazio: e-mail, telefone, complemento)" in desk.told()[1]
    assert "o contrato no Omie continua com o e-mail que tem" in desk.told()[1]
    assert (desk.calls("AlterarCliente"), desk.calls("ConsultarCliente")) == (1, 1)
    assert desk.lab.omie.book.breaches == []


def test_where_omie_does_not_empty_a_field_the_record_says_which():
    desk = Customers()

    desk.revise(EMPTIED)

    assert desk.in_omie == ("sala 7", "a@cliente.example", "11", "988887776")
    assert (
        "o cadastro do cliente no Omie não mostra o que foi enviado (e-mail, telefone, complemento)" in desk.told()[1]
    )
    assert "atualizado" not in desk.told()[1]
    desk.lab.sweep()
    desk.lab.drain()
    assert (desk.calls("AlterarCliente"), desk.calls("ConsultarCliente")) == (1, 1)


def test_an_address_that_became_empty_stays_in_omie_and_that_is_said():
    desk = Customers()
    before = desk.lab.omie.apps["acme"].customer(desk.held.nCodCli)["endereco"]

    desk.revise({"endereco": None, "whatsapp": "+1 (415) 555-26"})

    shown = desk.lab.omie.apps["acme"].customer(desk.held.nCodCli)
    assert (shown["endereco"], shown["telefone1_numero"]) == (before, "988887776")
    assert "sem valor utilizável no Jestor, continua como está no Omie: telefone, endereço" in desk.told()[1]


def test_what_omie_alone_has_of_a_customer_is_left_alone():
    desk = Customers()
    desk.revise({"complemento": None})
    desk.lab.omie.switches.update({"empty_on_alter": "clear"})
    app = desk.lab.omie.apps["acme"]
    app.add_customer(app.customer(desk.held.nCodCli) | {"complemento": "posto à mão"})

    desk.revise({"endereco": "Rua Nova"})

    assert desk.in_omie[0] == "posto à mão"


def test_an_emptied_document_is_a_problem_of_the_row_and_no_change_of_customer():
    desk = Customers()

    desk.revise({"cnpj_cpf": ""})

    assert desk.calls("AlterarCliente") == 0
    assert desk.told()[1].startswith("Corrija no Jestor: cliente.cnpj_cpf: CPF/CNPJ vazio")


def test_another_document_is_a_persons_business():
    desk = Desk()
    customer = desk.lab.row(desk.id)["cliente"][CUSTOMER_ID]

    for post in desk.lab.edit(customer, {"cnpj_cpf": "11.444.777/0001-61"}, table=CUSTOMERS_TABLE):
        desk.lab.arrive(post)
    desk.lab.drain()

    assert desk.calls("UpsertClienteCpfCnpj") == desk.calls("AlterarCliente") == 0
    assert "CNPJ/CPF do cliente mudou" in desk.told()[1]


def test_a_contract_that_moves_is_stopped_where_it_was():
    desk = Desk()

    desk.change(company="Nimbus Serviços em Nuvem S.A.", service="Hospedagem Gerenciada", omie_id=None)

    assert desk.held.cCodSit == "90"


def test_what_cannot_be_read_is_told_and_when_it_is_put_right_that_too():
    desk = Desk()
    desk.change(unit_amount="a combinar")
    assert "Corrija no Jestor" in desk.told()[1]

    desk.change(unit_amount=250)

    assert desk.held.total == 25000
    assert "R$ 250,00" in desk.told()[1]


# --- a run


def test_a_change_in_the_middle_of_a_run_belongs_to_one_month_and_the_record_says_which():
    desk = Desk(start=datetime(2026, 12, 1, 6, tzinfo=SAO_PAULO))
    execution = desk.lab.start(trigger="operator")
    while not any(branch.todo or branch.tasks for branch in execution.branches):
        desk.lab.actions()[0]()  # opened and planned, nothing sent yet
    price = desk.held.total

    desk.edit(unit_amount=999)
    while desk.lab.fifos[CHANGES].messages:
        desk.lab.deliver_hint(CHANGES, desk.lab.fifos[CHANGES].messages[0])
    order = next(message for message in desk.lab.fifo.messages if "order" in message.body)
    desk.lab.deliver(order)
    assert desk.did("agree") == ["waits for run"]
    assert desk.held.total == price
    desk.lab.drain()

    billed = [billing.amount for billing in desk.lab.omie.book.billings if billing.nCodCtr == desk.number]
    assert billed == [price]
    assert desk.held.total == 99900
    assert desk.told()[2] == "2027-01"


def test_a_change_that_the_plan_saw_belongs_to_its_month():
    desk = Desk(start=datetime(2026, 12, 1, 6, tzinfo=SAO_PAULO))
    desk.edit(unit_amount=999)
    execution = desk.lab.start(trigger="operator")
    while not execution.branches:
        desk.lab.executions[0].actions(desk.lab.now())[0]()
    desk.lab.deliver_hint(CHANGES, desk.lab.fifos[CHANGES].messages[0])
    desk.lab.deliver(desk.lab.fifo.messages[0])
    assert desk.did("agree") == ["waits for run"]
    desk.lab.drain()

    billed = [billing.amount for billing in desk.lab.omie.book.billings if billing.nCodCtr == desk.number]
    assert billed == [99900]
    assert desk.told()[2] == "2026-12"


@pytest.mark.parametrize(
    ("event", "facts", "says"),
    [
        (Event.ADOPT, {}, "a mudança entrou no faturamento de 2026-12"),
        (
            Event.PARK,
            {"reason_code": "omie_rejected", "reason": "x"},
            "a mudança está no Omie, e 2026-12 ainda não foi faturado",
        ),
    ],
)
def test_a_change_that_waited_for_a_run_is_called_billed_only_if_it_was(event, facts, says):
    desk = Desk()
    desk.lab.contracts.put(replace(desk.memory(), waits="run"))
    desk.charge(event, **facts)

    desk.lab.sweep()
    desk.lab.drain()

    assert says in desk.told()[1]


# --- prorate


def test_an_upgrade_in_mid_cycle_leaves_the_days_difference_to_be_charged_once():
    desk = Desk()
    old = desk.held.total
    desk.charge(Event.ADOPT)

    desk.change(unit_amount=(old + 31000) / 100, change_mode="Proporcional")

    (left,) = desk.memory().pending
    assert left.amount == 22000  # 310 reais more, 22 of 31 days
    desk.lab.clock.advance(3600)
    desk.lab.sweep()
    desk.lab.drain()
    assert desk.memory().pending == (left,)


def test_the_difference_goes_on_the_next_bill_and_on_no_other():
    desk = Desk(start=datetime(2026, 12, 1, 6, tzinfo=SAO_PAULO))
    desk.lab.run(trigger="operator")
    old = desk.held.total
    desk.lab.clock.set(TENTH)
    desk.change(unit_amount=(old + 31000) / 100, change_mode="Proporcional")

    for month in (1, 2):
        desk.lab.clock.set(datetime(2027, month, 1, 6, tzinfo=SAO_PAULO))
        desk.lab.run(trigger="operator")
        desk.lab.sweep()
        desk.lab.drain()

    billed = [billing.amount for billing in desk.lab.omie.book.billings if billing.nCodCtr == desk.number]
    assert billed == [old, old + 31000 + 22000, old + 31000]
    assert desk.memory().pending == ()


def test_a_bill_in_doubt_keeps_its_difference_to_itself():
    desk = Desk()
    left = Pending(1, 22000, "diferença", "2026-11-10")
    desk.lab.contracts.put(replace(desk.memory(), pending=(left,)))
    carried = [{"key": f"proporcional#{desk.code}#1", "amount": 22000, "title": None}]
    desk.lab.ledger.claim(
        ChargeKey(desk.code, DECEMBER), attempt="a", now=desk.lab.clock.now(), company="acme", amount=1,
        plan_hash="p", run="r", nCodCtr=1, who="a test", additions=carried,
    )  # fmt: skip

    def owed():
        return still_owed([desk.memory()], DECEMBER.next(), desk.lab.ledger)[desk.code]

    assert owed() is None
    assert additions({desk.code: owed()}) == {}
    told = shares([desk.memory()], DECEMBER.next(), desk.lab.ledger)[desk.code]
    assert (told.additions, "não se sabe" in told.warnings[0]) == ((), True)
    desk.charge(Event.NOT_EXECUTED, attempt="a")
    assert owed() == (left,)
    assert additions({desk.code: owed()})[desk.code].amount == 22000


def test_a_downgrade_s_credit_is_told_with_every_plan_until_a_rise_makes_up_for_it():
    desk = Desk(start=datetime(2026, 12, 1, 6, tzinfo=SAO_PAULO))
    desk.lab.run(trigger="operator")
    old = desk.held.total
    desk.lab.clock.set(TENTH)
    desk.change(unit_amount=(old - 3100) / 100, change_mode="Proporcional")

    desk.lab.clock.set(datetime(2027, 1, 1, 6, tzinfo=SAO_PAULO))
    desk.lab.run(trigger="operator")

    line = desk.planned_line("2027-01")
    assert (line["amount"], line["additions"]) == (old - 3100, [])
    (warning,) = [text for text in line["warnings"] if "Crédito" in text]
    assert warning.startswith("Crédito proporcional de R$ 22,00: abata-o no Omie ou devolva-o")


def test_up_and_down_again_on_one_day_comes_to_nothing():
    desk = Desk()
    old = desk.held.total
    desk.charge(Event.ADOPT)
    desk.change(unit_amount=(old + 31000) / 100, change_mode="Proporcional")
    desk.lab.clock.advance(100)

    desk.change(unit_amount=old / 100)

    assert [one.amount for one in desk.memory().pending] == [22000, -22000]


@pytest.mark.parametrize("mode", [None, "Próximo ciclo"])
def test_the_next_cycle_is_the_default(mode):
    desk = Desk()
    desk.charge(Event.ADOPT)
    desk.change(unit_amount=999, change_mode=mode)
    assert desk.memory().pending == ()


def test_what_was_not_charged_at_the_old_price_owes_no_difference():
    desk = Desk()
    desk.change(unit_amount=999, change_mode="Proporcional")
    assert desk.memory().pending == ()


def test_a_price_that_a_person_changed_in_omie_is_put_right_and_is_nobodys_debt():
    desk = Desk()
    desk.charge(Event.ADOPT)
    desk.change(change_mode="Proporcional", unit_amount=999)
    desk.lab.clock.advance(100)
    pending = desk.memory().pending
    cadastro = desk.held.cadastro()
    cadastro["itensContrato"][0]["itemCabecalho"]["valorUnit"] = 1.0
    omie_contracts._keep(desk.lab.omie.apps["acme"], cadastro, desk.held, desk.lab.now())

    desk.lab.sweep()
    desk.lab.drain()

    assert desk.held.total == 99900
    assert desk.memory().pending == pending


def test_a_noted_difference_survives_a_lost_reply_and_is_noted_once():
    desk = Desk()
    old = desk.held.total
    desk.charge(Event.ADOPT)
    desk.lab.omie.faults.replace([Fault("lost_reply", methods=frozenset({"AlterarContrato"}), times=1)])

    desk.change(unit_amount=(old + 31000) / 100, change_mode="Proporcional")

    assert desk.held.total == old + 31000
    assert [one.amount for one in desk.memory().pending] == [22000]
    assert desk.calls("AlterarContrato") == 1


def test_a_change_that_never_happened_is_nobodys_debt():
    desk = Desk()
    old = desk.held.total
    desk.charge(Event.ADOPT)
    desk.lab.omie.faults.replace([Fault("lost_request", methods=frozenset({"AlterarContrato"}), times=1)])
    desk.edit(unit_amount=(old + 31000) / 100, change_mode="Proporcional")
    for _ in range(6):
        for action in desk.lab.actions():
            action()
    assert len(desk.memory().pending) == 1

    desk.change(unit_amount=old / 100)

    assert desk.held.total == old
    assert desk.memory().pending == ()


# --- churn


def test_a_churn_holds_at_once_and_suspends():
    desk = Desk()

    desk.edit(status="Churn")
    assert desk.lab.ledger.hold(desk.code) is not None
    desk.lab.drain()

    assert desk.held.cCodSit == "90"
    assert desk.told()[0] == "Suspenso"
    assert desk.lab.ledger.hold(desk.code) is not None


def test_a_charge_that_waits_is_held_and_released_again_with_who_and_why():
    desk = Desk()
    desk.charge(Event.PARK, reason="x", reason_code="x")
    desk.charge(Event.REDRIVE)

    desk.change(status="Churn")
    assert desk.charge().state is State.HELD
    desk.lab.clock.advance(300)
    desk.change(status="Ativo")

    assert desk.charge().state is State.READY
    assert [(line["event"], line["who"]) for line in desk.charge().history[-2:]] == [
        ("HOLD", "churn_contract"),
        ("RELEASE", "churn_contract"),
    ]
    assert desk.lab.ledger.hold(desk.code) is None
    assert desk.held.cCodSit == "10"


def test_suspended_and_reactivated_any_number_of_times():
    desk = Desk()
    for _ in range(3):
        for status, situation in (("Suspenso", "90"), ("Ativo", "10"), ("Churn", "90"), ("Ativo", "10")):
            desk.change(status=status)
            assert desk.held.cCodSit == situation
            desk.lab.clock.advance(200)
    assert desk.lab.ledger.hold(desk.code) is None


def test_churns_out_of_order_end_as_jestor_is():
    desk = Desk()
    churn = desk.edit(arrives=False, status="Churn")
    desk.lab.clock.advance(30)
    back = desk.edit(arrives=False, status="Ativo")

    for post in [*back, *churn]:
        desk.lab.arrive(post)
    assert desk.lab.ledger.hold(desk.code) is not None
    desk.lab.drain()

    assert desk.lab.ledger.hold(desk.code) is None
    assert desk.held.cCodSit == "10"


def test_a_hold_is_not_lifted_by_a_look_that_may_be_older_than_the_churn():
    """Jestor's script called before its own write could be read: the row still says active."""
    desk = Desk()
    (post,) = desk.edit(arrives=False, status="Churn")
    desk.lab.edit(desk.id, {STATUS: "Ativo"})
    desk.lab.arrive(post)
    desk.lab.deliver_hint(CHURNS, desk.lab.fifos[CHURNS].messages[0])
    assert desk.did("churns") == ["the hold is too fresh to be lifted"]
    desk.lab.edit(desk.id, {STATUS: "Churn"})  # now it can be read
    desk.lab.drain()

    assert desk.lab.ledger.hold(desk.code) is not None
    assert desk.held.cCodSit == "90"


def test_a_hold_put_while_jestor_was_read_is_not_the_one_to_be_lifted():
    desk = Desk()
    desk.change(status="Churn")
    desk.lab.clock.advance(300)
    desk.edit(status="Ativo")

    def step(name, call):
        answer = call()
        if name == "jestor./object/list" and desk.lab.ledger.find_hold(desk.code).put_at < desk.lab.clock.now():
            desk.lab.ledger.put_hold(desk.code, "novo churn", desk.lab.clock.now())
            desk.lab.step = None
        return answer

    while desk.lab.fifos[CHANGES].messages:
        desk.lab.deliver_hint(CHANGES, desk.lab.fifos[CHANGES].messages[0])
    desk.lab.step = step
    desk.lab.deliver_hint(CHURNS, desk.lab.fifos[CHURNS].messages[0])

    assert desk.did("churns")[-1] == "held anew"
    assert desk.lab.ledger.hold(desk.code) == "novo churn"


def test_a_churn_that_omie_does_not_know_holds_and_ends():
    desk = Desk()
    row = {key: value for key, value in desk.lab.row(desk.id).items() if key != "id_o_k7v2mxq94trw1bz6hd3n8"}
    created = desk.lab.jestor.edit(
        {"create": row | {"cliente": row["cliente"][CUSTOMER_ID], "id_omie": None, STATUS: "Churn"}}, desk.lab.now()
    )
    for post in created:
        desk.lab.arrive(post)
    desk.lab.drain()

    code = f"JST-{max(desk.lab.jestor.tables['o_k7v2mxq94trw1bz6hd3n8'].rows)}"
    assert desk.lab.ledger.hold(code) is not None
    assert desk.did("agree") == ["agrees"]
    assert desk.lab.fifo.dead == []


def test_cancelling_by_setting_and_its_open_boletos():
    settings = demo_settings()
    acme = settings.companies["acme"]
    churn = acme.churn.model_copy(update={"action": "cancel", "open_boletos": "cancel"})
    chosen = settings.model_copy(
        update={"companies": settings.companies | {"acme": acme.model_copy(update={"churn": churn})}}
    )
    desk = Desk(start=datetime(2026, 12, 1, 6, tzinfo=SAO_PAULO), settings=chosen)
    desk.lab.run(trigger="operator")
    desk.lab.clock.advance(7200)
    desk.lab.omie.advance(desk.lab.now())
    titles = [title for title in desk.lab.omie.apps["acme"].titles.values() if title.nCodCtr == desk.number]
    assert [title.boleto is not None for title in titles] == [True]

    desk.change(status="Churn")

    assert desk.held.cCodSit == "99"
    assert [(title.boleto, bool(title.open)) for title in titles] == [(None, True)]
    desk.lab.clock.advance(200)
    desk.change(status="Ativo")
    assert desk.held.cCodSit == "10"


# --- what Omie may answer


@pytest.mark.parametrize("kind", ["lost_reply", "lost_request", "server_error", "unknown_wording"])
def test_a_suspension_in_doubt_is_looked_at_before_it_is_tried_again(kind):
    desk = Desk()
    desk.lab.omie.faults.replace([Fault(kind, methods=frozenset({"SuspenderContrato"}), times=1)])

    desk.change(status="Churn")

    assert desk.held.cCodSit == "90"
    assert desk.calls("SuspenderContrato") <= 2
    assert desk.memory().doubt_until == 0
    assert desk.told()[0] == "Suspenso"


def test_an_alteration_in_doubt_rests_its_contract_and_not_the_lane_until_omie_has_ended_it():
    desk = Desk()
    desk.lab.omie.faults.replace(
        [Fault("late_execution", seconds=55.0, methods=frozenset({"AlterarContrato"}), times=1)]
    )
    desk.edit(unit_amount=777)
    while not desk.calls("AlterarContrato"):
        desk.lab.actions()[0]()

    assert desk.lab.lanes.get("acme").blocked_until == 0
    altering = desk.lab.ledger.get(ChargeKey(desk.code, BillingMonth(2026, 12), ALTERATION))
    assert altering.state is State.UNKNOWN
    desk.lab.drain()
    assert desk.held.total == 77700
    assert desk.memory().doubt_until == 0


def test_a_blocked_lane_is_left_alone_and_the_order_comes_again():
    desk = Desk()
    desk.lab.lanes.block("acme", desk.lab.now() + 1800, "a test")

    desk.edit(unit_amount=777)
    for _ in range(4):
        for action in desk.lab.actions():
            action()

    assert desk.did("agree") == ["lane blocked"]
    assert not desk.lab.fifo.messages, "it would keep the batches waiting"
    assert not desk.lab.omie.book.methods
    desk.lab.drain()
    assert desk.held.total == 77700


def test_a_refused_alteration_is_told_once_and_not_repeated_by_the_sweep():
    desk = Desk()
    desk.lab.omie.faults.replace([Fault("soft_error", methods=frozenset({"AlterarContrato"}))])
    desk.change(unit_amount=777)
    assert desk.told()[1].startswith("O Omie recusou")
    before = desk.calls("AlterarContrato")

    desk.lab.clock.advance(4000)
    desk.edit(arrives=True, unit_amount=777)
    desk.lab.drain()

    assert desk.calls("AlterarContrato") == before


def test_a_jestor_that_is_away_keeps_the_lane_free():
    desk = Desk()
    desk.edit(unit_amount=777)
    desk.lab.deliver_hint(CHANGES, desk.lab.fifos[CHANGES].messages[0])
    desk.lab.jestor.set_faults([{"kind": "server_error", "times": 1}])
    began = desk.lab.now()
    desk.lab.deliver(desk.lab.fifo.messages[0])

    assert desk.did("agree") == ["JestorUnavailable"]
    assert desk.lab.now() - began < 10
    assert not desk.lab.fifo.messages
    desk.lab.drain()
    assert desk.held.total == 77700


def test_a_hint_outlives_a_jestor_that_is_away_for_a_day():
    desk = Desk()
    desk.lab.jestor.set_faults([{"kind": "server_error", "times": 10**6}])
    desk.edit(unit_amount=777)
    until = desk.lab.now() + 86400
    while desk.lab.now() < until:
        ready = desk.lab.actions()
        assert ready or desk.lab.wait(), "nobody asks any more"
        for action in ready:
            action()
    assert desk.lab.fifos[CHANGES].dead == []
    assert len(desk.did("changes")) < 60

    desk.lab.jestor.set_faults([])
    desk.lab.drain()

    assert desk.held.total == 77700


def test_an_order_for_a_company_nobody_knows_ends_there():
    desk = Desk()
    desk.lab.fifo.send("nobody", {"order": {"contract": "JST-1", "jestor_id": 1, "company": "nobody"}})
    desk.lab.drain()
    assert desk.did("agree") == ["unknown company"]


def test_a_killed_worker_leaves_nothing_half_done():
    desk = Desk()
    killed = []

    def step(name, call):
        answer = call()
        if name == "omie.AlterarContrato" and not killed:
            killed.append(name)
            raise Killed
        return answer

    desk.lab.step = step
    desk.change(unit_amount=777)

    assert killed
    assert desk.held.total == 77700
    assert desk.calls("AlterarContrato") == 1
    assert desk.memory().doubt_until == 0
    assert desk.told()[2] == "2027-01"


# --- the sweep


def test_a_day_without_changes_costs_the_lists_alone():
    desk = Desk()
    written = []
    desk.lab.step = lambda name, call: (written.append(name), call())[1]

    answer = desk.lab.sweep()

    assert answer["found"] == 0
    assert set(desk.lab.omie.book.methods) == {"ListarContratos"}
    assert "contracts.put" not in written
    assert desk.lab.notes.sent == []


def test_what_no_webhook_told_is_found_mended_and_reported():
    desk = Desk()
    desk.edit(arrives=False, unit_amount=777)

    answer = desk.lab.sweep()
    desk.lab.drain()

    assert answer["companies"]["acme"]["ordered"] == 1
    assert desk.held.total == 77700
    ((subject, text),) = desk.lab.notes.sent
    assert subject == "Jestor e Omie: 1 diferença na conferência diária"
    assert f"{desk.code}: valor" in text
    report = desk.lab.objects.get_json(answer["report"]["json"])
    assert report["companies"]["acme"]["ordered"][0]["contract"] == desk.code
    assert desk.lab.objects.get_text(answer["report"]["text"]) == text


def test_a_list_changes_nothing_not_even_what_is_remembered():
    desk = Desk()
    desk.edit(arrives=False, unit_amount=777)
    before = desk.memory()

    answer = desk.lab.sweep(list=True)
    desk.lab.drain()

    assert answer["companies"]["acme"]["listed"] == 1
    assert desk.held.total != 77700
    assert desk.memory() == before


def test_a_lost_churn_is_held_before_it_is_suspended():
    desk = Desk()
    desk.edit(arrives=False, status="Churn")

    desk.lab.sweep()
    assert not desk.lab.fifo.messages
    desk.lab.drain()

    assert desk.lab.ledger.hold(desk.code) is not None
    assert desk.held.cCodSit == "90"


def test_a_stale_hold_of_an_active_contract_is_lifted_by_the_churns():
    desk = Desk()
    desk.lab.ledger.put_hold(desk.code, "ficou para trás", desk.lab.clock.now() - timedelta(days=2))

    answer = desk.lab.sweep()
    desk.lab.drain()

    assert answer["companies"]["acme"]["holds"] == 1
    assert desk.lab.ledger.hold(desk.code) is None


def test_a_problem_is_reported_once_and_then_known():
    desk = Desk()
    desk.lab.omie.apps["acme"]
    desk.edit(arrives=False, unit_amount="a combinar")

    first, second = desk.lab.sweep(), desk.lab.sweep()

    assert (first["found"], first["companies"]["acme"]["problems"]) == (1, 1)
    assert (second["found"], second["companies"]["acme"]["known_problems"]) == (0, 1)


def test_an_omie_that_cannot_be_read_stops_its_company_alone():
    desk = Desk()
    desk.lab.lanes.block("acme", desk.lab.now() + 900, "a test")
    app = desk.lab.omie.apps["acme"]
    desk.lab.omie.faults.replace(
        [Fault("html", methods=frozenset({"ListarContratos"}), companies=frozenset({app.company}))]
    )

    answer = desk.lab.sweep()

    assert answer["companies"]["acme"]["stopped"]
    assert answer["companies"]["nimbus"]["stopped"] == ""


def test_what_is_remembered_of_nobody_is_nothing():
    assert Desk().lab.contracts.get("JST-999999") == Remembered("JST-999999")


def test_an_order_in_the_lane_never_waits_for_omie_to_be_asked_again():
    """After a 429 the process's gate rests for a minute: the order comes again later, the batches go on."""
    desk = Desk()
    client = desk.lab.agree_deps().omie("acme")
    desk.lab.omie.faults.replace([Fault("too_many_requests", methods=frozenset({"ConsultarContrato"}), times=1)])
    began = desk.lab.now()
    for number in (desk.number, desk.number + 1):
        with pytest.raises(NotExecuted) as refused:
            client.consultar_contrato(number)
        assert refused.value.retry_after > LANE_WAIT
    assert desk.lab.now() - began < LANE_WAIT
