"""Webhooks of titles that nobody knows, beside a run: billing goes on as if they had not come."""

import json
from functools import partial

import pytest

from billing.omie.governor import interval_for
from simulators.living_lab import LivingLab

RUN = 500
EVERY = 6.0
"""Seconds between two posts: ten a minute."""
TOLERANCE = 0.03


class Flooded(LivingLab):
    """From the first billing on, posts reach acme's Omie address until the run has ended.

    Its hints are taken by processes of their own: what they do takes none of the billing's time.
    """

    def __init__(self, contracts, event_of=None, **more):
        super().__init__(contracts, 1, clean=True, **more)
        self.event_of = event_of
        self.posts = 0
        self.next_post = self.now()

    def actions(self):
        ready = super().actions()
        hints = [action for action in ready if getattr(action, "func", None) == self.deliver_hint]
        others = [action for action in ready if action not in hints]
        due = self.event_of and self.next_post <= self.now() and not all(one.ended for one in self.executions)
        return [*([self.post] if due else []), *hints, *others]

    def wait(self):
        before = self.now()
        if not super().wait():
            return False
        if self.event_of and before < self.next_post < self.now():
            self.clock.advance(self.next_post - self.now() + 0.001)
        return True

    def post(self):
        self.posts += 1
        self.next_post = self.now() + EVERY
        topic, event = self.event_of(self.posts)
        content = {
            "messageId": f"forged-{self.posts}",
            "topic": topic,
            "event": event,
            "appKey": self.omie.apps["acme"].app_key,
        }
        assert self.arrive_from_omie("acme", json.dumps(content).encode()).status == 202

    def deliver_hint(self, name, message):
        began = self.clock.now()
        super().deliver_hint(name, message)
        self.clock.set(began)


def ratio(lab):
    """Of the billing phase: its time to the shortest that Omie's ceiling allows."""
    times = sorted(billing.at for billing in lab.omie.sim.book.billings if billing.company == "acme")
    return (times[-1] - times[0]) / ((len(times) - 1) * interval_for())


@pytest.fixture(scope="module")
def undisturbed():
    lab = Flooded(RUN)
    lab.run(companies=["acme"])
    return ratio(lab)


def deleted(number):
    return "Financas.ContaReceber.Excluido", {"codigo_lancamento_omie": 7000 + number, "numero_pedido": str(number)}


def unknown_title(number):
    return "Financas.ContaReceber.Alterado", {"codigo_lancamento_omie": 7000 + number}


def unknown_number(number):
    return "Financas.ContaReceber.Incluido", {"codigo_lancamento_omie": 1, "numero_pedido": str(10**9 + number)}


def many(ids, number):
    titles = [ids(100 * number + one) for one in range(100)]
    return "Financas.ContaReceber.BaixaRealizada", [{"conta_a_receber": titles}]


hundred_titles = partial(many, lambda n: {"codigo_lancamento_omie": 7000 + n})
hundred_numbers = partial(many, lambda n: {"numero_pedido": str(10**9 + n)})
hundred_notes = partial(many, lambda n: {"id_nf": 7000 + n})
hundred_orders = partial(many, lambda n: {"nCodOS": 7000 + n})


@pytest.mark.parametrize(
    "event_of",
    [
        deleted,
        pytest.param(unknown_title, marks=pytest.mark.slow),
        pytest.param(unknown_number, marks=pytest.mark.slow),
        pytest.param(hundred_titles, marks=pytest.mark.slow),
        pytest.param(hundred_numbers, marks=pytest.mark.slow),
        pytest.param(hundred_notes, marks=[pytest.mark.slow, pytest.mark.long]),
        hundred_orders,
    ],
    ids=lambda event_of: getattr(event_of, "__name__", "many"),
)
def test_ten_webhooks_a_minute_of_what_nobody_knows_do_not_slow_the_billing(undisturbed, event_of):
    lab = Flooded(RUN, event_of)
    answer = lab.run(companies=["acme"])
    assert answer["balanced"]
    assert lab.posts >= 12  # all the while: the run takes a minute and a half
    assert abs(ratio(lab) - undisturbed) <= TOLERANCE
    assert lab.lanes.get("acme").errors == {}
    looked_up = lab.settings.companies["acme"].invoice.unknown_documents_per_hour
    assert len(lab.lanes.readers("acme").unknown) <= looked_up
