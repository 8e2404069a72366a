"""What becomes of a charge in doubt, by what Omie shows and by the hour at which it is looked at."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.bill_batch import ALTERATION, CREATION
from billing.domain.charge import ChargeKey, Event, State
from billing.domain.list_lag import LONGEST_BELIEVED, ListLag
from billing.domain.month import BillingMonth
from billing.doubt import ASK_AGAIN, UNCLEAR_FOR, UNCLEAR_REASON, Books, Doubts, Shown, Verdict, unclear_reason
from billing.omie.replies import IncompleteRead, KeyRefused, NotExecuted, Rejected
from billing.order_names import MOST_ASKED, LedgerOrders
from simulators.clock import VirtualClock
from simulators.memory_store import MemoryLedger, MemoryQueues

MONTH = BillingMonth(2026, 12)
CLAIMED = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
LATER = CLAIMED + timedelta(minutes=20)
JANUARY = datetime(2027, 1, 2, 9, 0, tzinfo=UTC)
WAIT = timedelta(minutes=10)
LAG = 120
"""`list_lag_seconds`."""
KEY = ChargeKey("JST-12", MONTH)
CREATE = ChargeKey("JST-12", MONTH, CREATION)
CTR = 700


CLI, OTHER = 30, 31
"""The contract's customer in Omie, and somebody else."""


class Omie:
    """Omie's lists as given; `asked` is what was read, in order.

    `contracts`: nCodOS -> the nCodCtr or cNumContrato that ConsultarOS names; `notes`: the same of ListarNFSEs.
    """

    def __init__(self, stages=None, orders=(), created=(), contracts=None, notes=None, customer=CLI):
        self.stages = stages or {}
        self.orders = orders
        self.made = created
        self.contracts, self.notes, self.customer = contracts or {}, notes or {}, customer
        self.asked = []

    def obter_contratos(self, cEtapa):
        self.asked.append(cEtapa)
        return [(number, f"2026/{number}") for number in self.stages.get(cEtapa, ())]

    def iter_os(self, de, ate):
        self.asked.append((str(de), str(ate)))
        return iter(self.orders)

    def iter_contratos(self, **filters):
        self.asked.append(filters["filtrar_por_data_de"])
        return iter(self.made)

    def consultar_os(self, nCodOS):
        self.asked.append(f"OS {nCodOS}")
        found = next((each for each in self.orders if each["Cabecalho"]["nCodOS"] == nCodOS), None)
        if found is None:
            raise Rejected("ConsultarOS", "OS não cadastrada", rule="permanent")
        named = self.contracts.get(nCodOS)
        if isinstance(named, Exception):
            del self.contracts[nCodOS]
            raise named
        return found | {"InformacoesAdicionais": {"cNumContrato": named}} if named else found

    def nfses_da_os(self, *, nCodOS):
        self.asked.append(f"NFS-e {nCodOS}")
        return [note(nCodOS, self.notes[nCodOS])] if nCodOS in self.notes else []

    def listar_nfses(self, de, ate):
        self.asked.append("NFS-e")
        return (note(nCodOS, named) for nCodOS, named in self.notes.items())

    def consultar_contrato(self, nCodCtr):
        self.asked.append(f"contract {nCodCtr}")
        if self.customer is None:
            raise Rejected("ConsultarContrato", "Contrato não cadastrado", rule="permanent")
        return {"cabecalho": {"nCodCtr": nCodCtr, "nCodCli": self.customer, "cCodSit": "10"}, "itensContrato": []}


def note(nCodOS, nCodCtr):
    return {"OrdemServico": {"nCodigoOS": nCodOS, "nCodigoContrato": nCodCtr, "cNumeroContrato": ""}}


def order(nCodOS=55, total=100, nCodCtr=CTR, **more):
    return {
        "Cabecalho": {"nCodOS": nCodOS, "nCodCtr": nCodCtr, "nValorTotal": total},
        "InfoCadastro": {"cOrigem": "CTR", "cCancelada": "N"},
    } | more


def unnamed(nCodOS=55, nCodCli=CLI, cancelled="N", **head):
    """An order of ListarOS that does not say of which contract it is."""
    head = {"nCodOS": nCodOS, "nCodCli": nCodCli, "nValorTotal": 100} | head
    return {"Cabecalho": head, "InfoCadastro": {"cOrigem": "CTR", "cCancelada": cancelled}}


class Case:
    def __init__(self, omie, now=LATER, *events, key=KEY):
        self.ledger, self.queues, self.omie = MemoryLedger(), MemoryQueues(), omie
        self.clock = VirtualClock(now)
        facts = {"company": "acme", "amount": 10_000, "plan_hash": "h", "run": "r"}
        self.ledger.claim(key, attempt="a1", now=CLAIMED, nCodCtr=CTR if key is KEY else None, who="w", **facts)
        for event in events:
            why = {"reason_code": "in_doubt", "reason": "x"} if event is Event.PARK else {}
            self.ledger.apply(key, event, now=CLAIMED, who="w", why="w", attempt="a1", **why)
        self.key = key

    def doubts(self):
        ours = LedgerOrders(self.ledger, "acme", MONTH)
        books = Books(self.omie, MONTH, self.clock, ListLag(LAG), ours)
        return Doubts("acme", self.ledger, self.queues, books, WAIT, self.clock.now(), "resolve maria")

    def resolve(self, before=None):
        return self.doubts().resolve(before or self.ledger.get(self.key))

    def foresee(self):
        return self.doubts().foresee(self.ledger.get(self.key))


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,), (Event.IN_DOUBT, Event.PARK)])
def test_before_the_wait_is_over_nobody_decides_and_nobody_even_reads(events):
    case = Case(Omie({20: [CTR]}), CLAIMED + timedelta(minutes=9), *events)
    resolution = case.resolve()
    assert (resolution.verdict, resolution.until) == (Verdict.RESTS, CLAIMED + WAIT)
    assert case.omie.asked == []


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,), (Event.IN_DOUBT, Event.PARK)])
def test_a_live_order_of_the_month_is_adopted(events):
    resolution = Case(Omie({30: [CTR]}, [order()]), LATER, *events).resolve()
    assert resolution.verdict is Verdict.ADOPTED
    assert (resolution.charge.state, resolution.charge.nCodOS) == (State.BILLED, 55)


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,), (Event.IN_DOUBT, Event.PARK)])
def test_stage_20_may_be_sent_again(events):
    resolution = Case(Omie({20: [CTR]}), LATER, *events).resolve()
    assert (resolution.verdict, resolution.charge.state) == (Verdict.RELEASED, State.READY)


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,)])
@pytest.mark.parametrize("shown", [{}, {30: [CTR]}])
def test_stage_30_or_no_stage_without_an_order_is_neither_and_asked_again_before_a_person_is(events, shown):
    """Stage 30 goes on showing last month until Omie turns it."""
    case = Case(Omie(shown), CLAIMED + WAIT, *events)
    resolution = case.resolve()
    assert (resolution.verdict, resolution.until) == (Verdict.RESTS, CLAIMED + WAIT + ASK_AGAIN)
    assert case.ledger.get(KEY).state is State.UNKNOWN
    assert case.queues.parked == []


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,)])
@pytest.mark.parametrize("shown", [{}, {30: [CTR]}])
def test_what_stays_neither_is_parked_with_one_message_of_its_own_group(events, shown):
    case = Case(Omie(shown), LATER, *events)
    resolution = case.resolve()
    assert (resolution.verdict, resolution.charge.reason_code) == (Verdict.PARKED, "in_doubt")
    [(group, message)] = case.queues.sent["dlq"]
    assert (group, message["contract"], message["class"], message["amount"]) == ("JST-12", "JST-12", "in_doubt", 10_000)


STALE = timedelta(minutes=30)


def knows_an_order(case, at, nCodOS=77, nCodCtr=7700, answered=None):
    """Omie answered the call for another contract, begun at `at`, with that order."""
    key = ChargeKey(f"JST-{nCodOS}", MONTH)
    facts = {"company": "acme", "amount": 1, "plan_hash": "h", "run": "r"}
    case.ledger.claim(key, attempt="k", now=at, nCodCtr=nCodCtr, who="w", **facts)
    case.ledger.apply(key, Event.DONE, now=answered or at, who="w", why="w", attempt="k", nCodOS=nCodOS)


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,)])
@pytest.mark.parametrize(
    ("shown", "orders"),
    [({20: [CTR, 7700]}, []), ({20: [CTR]}, []), ({20: [CTR, 7700]}, [order(77, nCodCtr=7700)])],
    ids=["both lists", "the orders", "the stages"],
)
def test_stage_20_proves_nothing_while_a_list_lacks_an_order_that_is_known(events, shown, orders):
    case = Case(Omie(shown, orders), CLAIMED + WAIT, *events)
    knows_an_order(case, CLAIMED)
    resolution = case.resolve()
    age = WAIT.total_seconds()
    assert (resolution.verdict, resolution.charge.state) == (Verdict.RESTS, State.UNKNOWN)
    assert resolution.until == CLAIMED + WAIT + timedelta(seconds=1.5 * age - LAG)


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,)])
def test_lists_that_stay_late_are_asked_once_more_and_then_a_person_is(events):
    case = Case(Omie({20: [CTR, 7700]}), CLAIMED + WAIT + STALE, *events)
    knows_an_order(case, CLAIMED)
    resolution = case.resolve()
    assert (resolution.verdict, resolution.charge.reason_code) == (Verdict.PARKED, "in_doubt")
    assert "as listas do Omie estão atrasadas" in resolution.charge.reason


def test_what_a_person_looks_into_rests_while_the_lists_are_late():
    case = Case(Omie({20: [CTR, 7700]}), CLAIMED + WAIT + STALE, Event.IN_DOUBT, Event.PARK)
    knows_an_order(case, CLAIMED)
    assert case.foresee().verdict is Verdict.RESTS
    resolution = case.resolve()
    assert (resolution.verdict, resolution.charge.state) == (Verdict.RESTS, State.PARKED)


def test_stage_20_may_be_sent_again_when_the_lists_show_what_is_known():
    case = Case(Omie({20: [CTR]}, [order(77, nCodCtr=7700)]), LATER, Event.IN_DOUBT)
    knows_an_order(case, LATER - timedelta(seconds=30))
    assert case.resolve().verdict is Verdict.RELEASED


def test_an_order_that_a_person_cancelled_shows_as_well_how_late_the_lists_are():
    """Its contract may stand in stage 20 again. Were it no witness, the setting would stand alone."""
    known = order(77, nCodCtr=7700)
    known["InfoCadastro"]["cCancelada"] = "S"
    case = Case(Omie({20: [CTR, 7700]}, [known]), CLAIMED + WAIT, Event.IN_DOUBT)
    knows_an_order(case, CLAIMED - timedelta(seconds=100))
    resolution = case.resolve()
    assert (resolution.verdict, resolution.for_the_lists) == (Verdict.RESTS, True)
    case.clock.set(CLAIMED + WAIT + timedelta(seconds=LONGEST_BELIEVED - LAG))
    assert case.resolve().verdict is Verdict.RELEASED


def test_an_order_that_a_person_deleted_makes_no_list_late_that_shows_younger_ones():
    case = Case(Omie({20: [CTR]}, [order(78, nCodCtr=7800)]), LATER, Event.IN_DOUBT)
    knows_an_order(case, LATER - timedelta(minutes=15))
    knows_an_order(case, LATER - timedelta(seconds=30), 78, 7800)
    assert case.resolve().verdict is Verdict.RELEASED


def test_how_long_the_call_and_our_reading_took_makes_no_list_late():
    """Missing is counted from Omie's answer to when the list was asked for."""
    case = Case(Omie({20: [CTR, 7700]}), LATER, Event.IN_DOUBT)
    knows_an_order(case, LATER - timedelta(seconds=LAG + 50), answered=LATER - timedelta(seconds=LAG))
    doubts = case.doubts()
    doubts.look_early()
    assert doubts.books.lag.in_time


def test_a_look_that_was_early_enough_is_the_last_one():
    omie = Omie({20: [CTR]}, [order(77, nCodCtr=7700)])
    case = Case(omie, LATER, Event.IN_DOUBT)
    knows_an_order(case, LATER - timedelta(seconds=30))
    doubts = case.doubts()
    assert doubts.look_early() is None
    asked = list(omie.asked)
    books = Books(omie, MONTH, case.clock, doubts.books.lag, doubts.books.ours)
    assert replace(doubts, books=books).look_early() is None
    assert omie.asked == asked


def test_an_empty_list_of_orders_that_should_not_be_is_asked_for_once_and_not_each_minute():
    case = Case(Omie({20: [CTR]}), LATER, Event.IN_DOUBT)
    knows_an_order(case, LATER - timedelta(seconds=LAG + 5))
    assert case.doubts().look_early() is None


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,), (Event.IN_DOUBT, Event.PARK)])
@pytest.mark.parametrize("shown", [{20: [CTR, 7700]}, {20: [CTR]}, {}])
@pytest.mark.parametrize("after", [timedelta(), timedelta(minutes=9), STALE, 2 * STALE])
def test_what_is_foreseen_is_what_becomes_of_it(events, shown, after):
    case = Case(Omie(shown), CLAIMED + WAIT + after, *events)
    knows_an_order(case, CLAIMED + after)
    foreseen = case.foresee()
    resolved = case.resolve()
    assert (foreseen.verdict, foreseen.until) == (resolved.verdict, resolved.until)


def test_while_stage_20_shows_every_known_order_the_orders_are_not_asked_for():
    """An empty ListarOS is an error that counts."""
    omie = Omie({20: [CTR, 7700]})
    case = Case(omie, LATER, Event.IN_DOUBT)
    knows_an_order(case, LATER - timedelta(seconds=5))
    assert case.doubts().look_early() == LATER + timedelta(seconds=LAG + 1 - 5)
    assert omie.asked == [20]


def test_neither_stage_but_an_order_of_this_month_is_adopted():
    resolution = Case(Omie(orders=[order()]), LATER, Event.IN_DOUBT).resolve()
    assert (resolution.verdict, resolution.charge.nCodOS) == (Verdict.ADOPTED, 55)


def test_a_cancelled_order_proves_no_billing_and_is_not_billed_again():
    cancelled = order(InfoCadastro={"cOrigem": "CTR", "cCancelada": "S"})
    resolution = Case(Omie({20: [CTR]}, orders=[cancelled]), LATER, Event.IN_DOUBT).resolve()
    assert resolution.verdict is Verdict.PARKED
    assert "foi cancelada no Omie (OS 55)" in resolution.charge.reason


def test_parked_in_doubt_that_omie_still_does_not_explain_stays_and_is_not_told_again():
    case = Case(Omie(), LATER, Event.IN_DOUBT, Event.PARK)
    assert case.resolve().verdict is Verdict.STAYS
    assert case.queues.parked == []


# ---- orders that name no contract

LISTED = {10: [CTR, 7700], 20: [CTR, 7700]}


def test_an_order_without_a_name_is_adopted_by_what_consultar_os_says_of_it():
    case = Case(Omie(LISTED, [unnamed()], contracts={55: f"2026/{CTR}"}), LATER, Event.IN_DOUBT)
    resolution = case.resolve()
    assert (resolution.verdict, resolution.charge.nCodOS) == (Verdict.ADOPTED, 55)
    assert [asked for asked in case.omie.asked if "NFS-e" in str(asked)] == []


def test_an_order_without_a_name_is_adopted_by_what_its_note_says():
    case = Case(Omie(LISTED, [unnamed()], notes={55: CTR}), LATER, Event.IN_DOUBT)
    assert (case.resolve().verdict, case.ledger.get(KEY).nCodOS) == (Verdict.ADOPTED, 55)


def test_an_order_without_a_name_that_a_person_cancelled_is_not_billed_again():
    omie = Omie(LISTED, [unnamed(cancelled="S")], contracts={55: f"2026/{CTR}"})
    resolution = Case(omie, LATER, Event.IN_DOUBT).resolve()
    assert (resolution.verdict, "foi cancelada no Omie (OS 55)" in resolution.charge.reason) == (Verdict.PARKED, True)


@pytest.mark.parametrize("cancelled", ["N", "S"])
@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,)])
def test_while_an_order_of_the_customer_stays_unnamed_nothing_is_sent_again_and_then_a_person_is_asked(
    events, cancelled
):
    case = Case(Omie(LISTED, [unnamed(cancelled=cancelled)]), CLAIMED + WAIT, *events)
    resolution = case.resolve()
    assert (resolution.verdict, resolution.until) == (Verdict.RESTS, CLAIMED + WAIT + ASK_AGAIN)
    case.clock.set(CLAIMED + WAIT + UNCLEAR_FOR)
    resolution = case.resolve()
    assert (resolution.verdict, resolution.charge.reason_code) == (Verdict.PARKED, "in_doubt")
    assert "sem dizer de qual contrato (OS 55)" in resolution.charge.reason


def test_what_is_parked_stays_parked_while_an_order_of_its_customer_is_unnamed():
    case = Case(Omie(LISTED, [unnamed()]), LATER, Event.IN_DOUBT, Event.PARK)
    assert (case.foresee().verdict, case.resolve().verdict) == (Verdict.STAYS, Verdict.STAYS)


def test_a_doubt_of_no_known_contract_reads_no_orders():
    """An empty ListarOS is an error that counts."""
    case = Case(Omie(), LATER)
    books = case.doubts().books
    assert (books.shows(None), unclear_reason(books, None), case.omie.asked) == (Shown.UNCLEAR, UNCLEAR_REASON, [])


def test_once_its_month_is_over_the_reason_still_names_the_order():
    resolution = Case(Omie({10: [CTR]}, [unnamed()]), JANUARY, Event.IN_DOUBT).resolve()
    assert (resolution.verdict, "OS 55" in resolution.charge.reason) == (Verdict.PARKED, True)


def test_of_many_unnamed_orders_the_reason_names_the_first():
    orders = [unnamed(number) for number in range(50, 58)]
    resolution = Case(Omie(LISTED, orders), LATER, Event.IN_DOUBT).resolve()
    assert "(OS 50, 51, 52, 53, 54 e mais 3)" in resolution.charge.reason


@pytest.mark.parametrize(
    "theirs",
    [
        unnamed(nCodCli=OTHER),
        unnamed(cCodIntOS="JST-12-2026-11"),
        unnamed() | {"InfoCadastro": {"cOrigem": "MAN"}},
    ],
    ids=["another customer's", "made by us with a code of its own", "made by hand"],
)
def test_an_order_that_cannot_be_the_contracts_stops_nobody_and_is_not_asked_for(theirs):
    case = Case(Omie(LISTED, [theirs]), LATER, Event.IN_DOUBT)
    assert case.resolve().verdict is Verdict.RELEASED
    assert [asked for asked in case.omie.asked if str(asked).startswith("OS")] == []


def test_an_order_with_a_code_of_ours_is_never_a_contracts_billing_even_if_it_names_one():
    ours = order()
    ours["Cabecalho"]["cCodIntOS"] = "JST-12-2026-11"
    assert Case(Omie(LISTED, [ours]), LATER, Event.IN_DOUBT).resolve().verdict is Verdict.RELEASED


@pytest.mark.parametrize("named", ["2026/7700", "2019/1"], ids=["ours", "one that omie does not show"])
def test_an_order_of_the_customers_other_contract_stops_nobody(named):
    case = Case(Omie(LISTED, [unnamed()], contracts={55: named}), LATER, Event.IN_DOUBT)
    assert case.resolve().verdict is Verdict.RELEASED


def test_where_nobody_can_tell_the_contracts_customer_any_unnamed_order_stops_it():
    case = Case(Omie(LISTED, [unnamed(nCodCli=OTHER)], customer=None), LATER, Event.IN_DOUBT)
    assert case.resolve().verdict is Verdict.PARKED


def test_an_order_that_does_not_say_whose_it_is_stops_everybody():
    case = Case(Omie(LISTED, [unnamed(nCodCli=0)]), LATER, Event.IN_DOUBT)
    assert case.resolve().verdict is Verdict.PARKED


def test_an_order_that_the_ledger_knows_needs_no_call():
    case = Case(Omie({10: [CTR, 7700], 20: [CTR]}, [unnamed(77)]), LATER, Event.IN_DOUBT)
    knows_an_order(case, CLAIMED)
    assert case.resolve().verdict is Verdict.RELEASED
    assert {str(asked)[:2] for asked in case.omie.asked} & {"OS", "NF"} == set()


def test_who_knows_the_contracts_customer_does_not_ask_for_it():
    case = Case(Omie(LISTED, [unnamed()]), LATER, Event.IN_DOUBT)
    doubts = case.doubts()
    doubts.books.customers[CTR] = CLI
    assert doubts.resolve(case.ledger.get(KEY)).verdict is Verdict.PARKED
    assert f"contract {CTR}" not in case.omie.asked


def test_in_one_look_each_order_is_asked_for_once():
    case = Case(Omie(LISTED, [unnamed(), unnamed(56)], contracts={56: "2026/7700"}), LATER, Event.IN_DOUBT)
    doubts = case.doubts()
    assert [doubts.books.shows(CTR), doubts.books.shows(CTR), doubts.books.shows(7700)] == [
        Shown.UNCLEAR,
        Shown.UNCLEAR,
        Shown.BILLED,
    ]
    for asked in ("OS 55", "NFS-e 55", "OS 56", f"contract {CTR}"):
        assert case.omie.asked.count(asked) == 1


def test_an_order_whose_asking_failed_is_not_forgotten():
    lost = NotExecuted("ConsultarOS", "ReadTimeout", rule="transport")
    case = Case(Omie(LISTED, [unnamed()], contracts={55: lost}), LATER, Event.IN_DOUBT)
    doubts = case.doubts()
    with pytest.raises(NotExecuted):
        doubts.resolve(case.ledger.get(KEY))
    assert doubts.resolve(case.ledger.get(KEY)).verdict is Verdict.PARKED


def test_a_key_that_omie_refuses_is_no_order_without_a_name():
    refused = KeyRefused("ConsultarOS", "chave", rule="key_refused")
    case = Case(Omie(LISTED, [unnamed()], contracts={55: refused}), LATER, Event.IN_DOUBT)
    with pytest.raises(KeyRefused):
        case.resolve()


def test_an_order_that_is_gone_when_it_is_asked_for_stays_unnamed_in_that_look():
    gone = Rejected("ConsultarOS", "OS não cadastrada", rule="permanent")
    assert Case(Omie(LISTED, [unnamed()], contracts={55: gone}), LATER, Event.IN_DOUBT).resolve().verdict is (
        Verdict.PARKED
    )


def test_more_orders_than_one_look_asks_for_stay_unnamed():
    orders = [unnamed(number) for number in range(1000, 1000 + MOST_ASKED + 5)]
    case = Case(Omie(LISTED, orders, contracts=dict.fromkeys(range(1000, 2000), "2026/7700")), LATER)
    assert case.resolve().verdict is Verdict.PARKED
    assert len([asked for asked in case.omie.asked if str(asked).startswith("OS")]) <= MOST_ASKED


def test_a_plan_has_all_orders_named_by_the_notes_and_only_the_others_one_by_one():
    omie = Omie(
        LISTED,
        [unnamed(), unnamed(56, OTHER, "S"), unnamed(57)],
        contracts={57: "2026/7800"},
        notes={55: CTR, 56: 7700, 99: 1},
    )
    omie.stages = LISTED | {10: [CTR, 7700, 7800]}
    books = Books(omie, MONTH, VirtualClock(LATER), ListLag(LAG))
    assert {nCodCtr: each.nCodOS for nCodCtr, each in books.orders().items()} == {CTR: 55, 7800: 57}
    assert {nCodCtr: each.nCodOS for nCodCtr, each in books.all_cancelled().items()} == {7700: 56}
    assert [asked for asked in omie.asked if str(asked).startswith("OS")] == ["OS 57"]


def test_a_list_of_notes_that_changed_while_it_was_read_names_what_it_shows():
    class Changing(Omie):
        def listar_nfses(self, de, ate):
            yield note(55, CTR)
            raise IncompleteRead("ListarNFSEs", "Read 1 of 2.", rule="odd_reply")

    omie = Changing(LISTED, [unnamed(), unnamed(56)], contracts={56: "2026/7700"})
    books = Books(omie, MONTH, VirtualClock(LATER), ListLag(LAG))
    assert set(books.orders()) == {CTR, 7700}


# ---- the month turns: stages speak of Omie's own present month


@pytest.mark.parametrize("stage", [20, 30])
def test_in_january_the_stages_say_nothing_about_december(stage):
    case = Case(Omie({stage: [CTR]}), JANUARY, Event.IN_DOUBT)
    resolution = case.resolve()
    assert resolution.verdict is Verdict.PARKED
    assert "o mês terminou" in resolution.charge.reason
    assert case.omie.asked == [("2026-12-01", "2026-12-31")]


def test_in_january_decembers_order_is_adopted():
    resolution = Case(Omie(orders=[order()]), JANUARY, Event.IN_DOUBT).resolve()
    assert (resolution.verdict, resolution.charge.nCodOS) == (Verdict.ADOPTED, 55)


def test_in_the_months_last_minutes_nobody_decides():
    case = Case(Omie({20: [CTR]}), datetime(2027, 1, 1, 2, 55, tzinfo=UTC), Event.IN_DOUBT)  # 23:55 in São Paulo
    resolution = case.resolve()
    assert (resolution.verdict, case.omie.asked) == (Verdict.RESTS, [])
    assert resolution.until == datetime(2027, 1, 1, 3, 15, tzinfo=UTC)


def test_an_answer_that_came_after_midnight_proves_nothing():
    clock = VirtualClock(datetime(2027, 1, 1, 2, 40, tzinfo=UTC))

    class Slow(Omie):
        def obter_contratos(self, cEtapa):
            clock.advance(1800)
            return super().obter_contratos(cEtapa)

    assert Books(Slow({20: [CTR], 30: [CTR]}), MONTH, clock, ListLag(LAG)).shows(CTR) is Shown.UNCLEAR


# ---- somebody else is faster


def test_a_writer_that_answers_while_we_look_has_the_last_word():
    case = Case(Omie({20: [CTR]}), LATER)
    before = case.ledger.get(KEY)
    case.ledger.apply(KEY, Event.DONE, now=LATER, who="w", why="late", attempt="a1", nCodOS=9)
    assert case.resolve(before).verdict is Verdict.MOVED
    assert case.ledger.get(KEY).nCodOS == 9


def test_an_old_reading_does_not_touch_a_newer_attempt():
    case = Case(Omie({20: [CTR]}), LATER, Event.IN_DOUBT)
    before = case.ledger.get(KEY)
    case.ledger.apply(KEY, Event.RESEND, now=LATER, who="other", why="w", attempt="a1")
    facts = {"company": "acme", "amount": 10_000, "plan_hash": "h", "run": "r"}
    case.ledger.claim(KEY, attempt="a2", now=LATER, nCodCtr=CTR, who="w", **facts)
    case.ledger.apply(KEY, Event.IN_DOUBT, now=LATER, who="w", why="w", attempt="a2")
    assert case.resolve(before).verdict is Verdict.MOVED
    assert (case.ledger.get(KEY).state, case.ledger.get(KEY).attempt) == (State.UNKNOWN, "a2")


# ---- creations


def test_a_contract_whose_creation_is_in_doubt_is_adopted_by_its_code():
    made = {"cabecalho": {"nCodCtr": 901, "cCodIntCtr": "JST-12", "nCodCli": 1, "cCodSit": "10"}, "itensContrato": []}
    resolution = Case(Omie(created=[made]), LATER, Event.IN_DOUBT, key=CREATE).resolve()
    assert (resolution.verdict, resolution.charge.nCodCtr) == (Verdict.ADOPTED, 901)


def test_a_contract_that_omie_does_not_have_may_be_created_again():
    resolution = Case(Omie(), LATER, Event.IN_DOUBT, key=CREATE).resolve()
    assert (resolution.verdict, resolution.charge.state) == (Verdict.RELEASED, State.READY)


# --- additions


@pytest.mark.parametrize("events", [(), (Event.IN_DOUBT,)])
def test_an_alteration_in_doubt_is_over_after_its_wait_whatever_omie_shows(events):
    key = ChargeKey("JST-12", MONTH, ALTERATION)
    case = Case(Omie({30: [CTR], 20: [CTR]}), CLAIMED + timedelta(minutes=9), *events, key=key)
    assert case.resolve().verdict is Verdict.RESTS
    case = Case(Omie({30: [CTR]}), LATER, *events, key=key)
    assert case.resolve().verdict is Verdict.RELEASED
    assert case.ledger.get(key).state is State.READY
    assert case.omie.asked == []


@pytest.mark.parametrize(
    ("total", "charged"),
    [(100, [{"key": "k", "amount": 1000}]), (90, []), (95, [{"key": "k", "amount": 1000, "doubtful": True}])],
)
def test_what_is_adopted_charged_what_its_order_proves(total, charged):
    omie = Omie({30: [CTR]}, [order(total=total)])
    case = Case(omie, LATER, Event.IN_DOUBT)
    claimed = case.ledger._charges[KEY]
    case.ledger._charges[KEY] = claimed | {"additions": [{"key": "k", "amount": 1000}]}
    assert case.resolve().verdict is Verdict.ADOPTED
    assert list(case.ledger.get(KEY).additions) == charged
