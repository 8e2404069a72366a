"""A person's order to link a contract made by hand in Omie: in the lane, once, from both sides as they are then."""

import json

import pytest

from billing import agree
from billing.domain.charge import ChargeKey, Event
from simulators.lab import OMIE_WRITES
from simulators.omie.contracts import _keep
from simulators.omie.faults import Fault
from simulators.world import FIELDS
from tests.unit.test_living import DECEMBER, Desk


class Linking(Desk):
    """The desk, whose contract a person made in Omie: no code of ours in it, and no number in Jestor."""

    def __init__(self, **more):
        super().__init__(**more)
        lab, held = self.lab, self.held
        cadastro = held.cadastro()
        cadastro["cabecalho"]["cCodIntCtr"] = ""
        for item in cadastro["itensContrato"]:
            item["itemCabecalho"]["codIntItem"] = ""
        _keep(lab.omie.apps["acme"], cadastro, held, lab.now())
        lab.edit(self.id, {FIELDS["omie_id"]: None})
        lab.clock.advance(120.0)

    def order(self, **more):
        order = {
            "kind": "link", "contract": self.code, "jestor_id": self.id, "company": "acme", "nCodCtr": self.number,
            "nCodCli": self.held.nCodCli, "source": "operator", "key": "k-1",
        }  # fmt: skip
        self.lab.queues.send(OMIE_WRITES, {"order": order | more}, "acme", f"k-{self.lab.now()}")
        self.lab.drain()
        return self.memory().link

    def omie_id(self):
        return self.lab.row(self.id)[FIELDS["omie_id"]]


def test_the_only_item_becomes_ours_and_jestor_gets_the_number():
    desk = Linking()
    link = desk.order()
    assert (link["order"], link["outcome"]) == ("k-1", "done")
    assert desk.held.cCodIntCtr == desk.code
    (item,) = desk.held.cadastro()["itensContrato"]
    assert item["itemCabecalho"]["codIntItem"] == "JST-1"
    assert int(desk.omie_id()) == desk.number
    assert desk.calls("AlterarContrato") == 1


def test_the_same_order_twice_alters_once():
    desk = Linking()
    desk.order()
    desk.lab.clock.advance(120.0)
    assert desk.order(key="k-2")["outcome"] == "done"
    assert desk.calls("AlterarContrato") == 1


def test_looked_at_a_moment_ago_it_is_left_for_later_and_costs_omie_nothing():
    desk = Linking()
    desk.lab.lanes.ask("acme", f"ConsultarContrato {desk.number}", desk.lab.now(), agree.LOOKED_UP_FOR)
    link = desk.order()
    assert (link["outcome"], link["text"]) == ("later", "looked at a moment ago")
    assert link["until"] > desk.lab.now()
    assert desk.calls("ConsultarContrato") == 0
    desk.lab.clock.advance(62.0)
    assert desk.order()["outcome"] == "done"


def test_a_write_without_an_answer_is_in_doubt_and_never_repeated_before_the_wait():
    desk = Linking()
    desk.lab.omie.faults.replace([Fault("lost_reply", methods=frozenset({"AlterarContrato"}), times=1)])
    link = desk.order()
    assert (link["outcome"], link["text"]) == ("later", "in doubt")
    assert desk.order(key="k-2")["outcome"] == "later"
    assert desk.calls("AlterarContrato") == 1
    desk.lab.clock.advance(700.0)
    assert desk.order(key="k-3")["outcome"] == "done"
    assert desk.calls("AlterarContrato") == 1
    assert int(desk.omie_id()) == desk.number


def test_what_changed_since_the_person_looked_is_refused_and_nothing_is_written():
    desk = Linking()
    assert "mudou desde a conferência" in desk.order(nCodCli=1)["text"]
    desk.lab.clock.advance(120.0)
    desk.lab.edit(desk.id, {FIELDS["unit_amount"]: 1})
    assert desk.order(key="k-2")["text"].startswith("Os itens não foram assumidos: o item do Omie vale")
    desk.lab.clock.advance(120.0)
    other = next(c for c in desk.lab.world.contracts if c.code != desk.code)
    desk.lab.edit(other.jestor_id, {FIELDS["omie_id"]: desk.number})
    assert "já está vinculado a" in desk.order(key="k-3")["text"]
    assert (desk.calls("AlterarContrato"), desk.omie_id()) == (0, None)


def test_a_hold_and_a_charge_in_doubt_keep_the_contract_from_being_altered():
    desk = Linking()
    desk.lab.ledger.put_hold(desk.code, "Churn avisado pelo Jestor.", desk.lab.clock.now())
    assert "retido" in desk.order()["text"]
    assert desk.calls("AlterarContrato") == 0

    desk = Linking()
    facts = {"attempt": "a", "nCodCtr": desk.number, "who": "t", "plan_hash": "h", "run": "r"}
    key = ChargeKey(desk.code, DECEMBER)
    desk.lab.ledger.claim(key, now=desk.lab.clock.now(), company="acme", amount=1, **facts)
    assert "em mãos" in desk.order(key="k-2")["text"]
    desk.lab.ledger.apply(key, Event.NOT_EXECUTED, now=desk.lab.clock.now(), who="t", why="w", attempt="a")
    desk.lab.clock.advance(120.0)
    assert desk.order(key="k-3")["outcome"] == "done"
    assert desk.calls("AlterarContrato") == 1


def test_an_order_is_json_that_the_lane_reads():
    desk = Linking()
    body = {"order": {"kind": "link", "contract": desk.code, "jestor_id": desk.id, "company": "elsewhere"}}
    assert agree.take(json.dumps(body), desk.lab.agree_deps())["outcome"] == "unknown company"


@pytest.mark.parametrize(("owner", "name"), [(agree.mapping, "takeover"), (agree._LinkOrder, "_not_now")])
def test_a_contract_that_cannot_be_computed_is_refused_once_and_keeps_no_company_waiting(owner, name, monkeypatch):
    desk = Linking()

    def breaks(*_args):
        raise ArithmeticError("R$ 1,00 of somebody")

    monkeypatch.setattr(owner, name, breaks)
    link = desk.order()
    assert (link["order"], link["outcome"]) == ("k-1", "refused")
    assert "não foi possível conferir" in link["text"]
    assert "ArithmeticError" in link["text"]
    assert "somebody" not in link["text"]
    assert desk.calls("AlterarContrato") == 0
