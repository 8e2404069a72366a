"""What waits for a person, and the only safe step with each: whatever is repeated, nobody is billed twice."""

import json
from copy import deepcopy
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from billing.bill_batch import CREATION
from billing.domain.charge import Charge, ChargeKey, Event, ParkClass, State
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.omie.client import OmieClient
from billing.omie.governor import LaneState
from billing.omie.replies import Blocked
from billing.parking import (
    SAFE_ACTION,
    LostBatch,
    Malformed,
    Parked,
    charge_message,
    class_of,
    class_of_rejection,
    read,
)
from billing.redrive import BadRequest, RedriveDeps, Step, next_step, redrive
from simulators.lab import Lab
from simulators.memory_store import MemoryDeadLetters

DECEMBER = BillingMonth(2026, 12)
NOVEMBER = BillingMonth(2026, 11)
START = datetime(2026, 12, 1, 6, 0, tzinfo=SAO_PAULO)
FACTS = {"company": "acme", "amount": 12_000, "plan_hash": "h", "run": "r"}


class Bench:
    """A lab whose contracts are not billed yet, and the repair over the same stores."""

    def __init__(self, contracts=6):
        self.lab = Lab(contracts, seed=4, clean=True, start=START)
        self.letters = MemoryDeadLetters(self.lab.queues)
        self.omie = self.lab.omie_clients()
        rows = [
            c for c in self.lab.world.contracts if c.expected == "bill" and c.omie_company == "acme" and c.omie_contrato
        ]
        self.contracts = [
            (c.omie_contrato["cabecalho"]["cCodIntCtr"], c.omie_contrato["cabecalho"]["nCodCtr"]) for c in rows
        ]

    def deps(self, **other):
        lab = self.lab
        made = RedriveDeps(
            settings=lab.settings, ledger=lab.ledger, lanes=lab.lanes, runs=lab.runs, objects=lab.objects,
            letters=self.letters, queues=lab.queues, tasks=lab.tasks, omie=self.omie, clock=lab.clock,
        )  # fmt: skip
        return RedriveDeps(**{**vars(made), **other})

    def __call__(self, action="redrive", seconds=900, deps=None, **event):
        return redrive(
            {"action": action, "who": "ana", **event}, deps or self.deps(), deadline=self.lab.now() + seconds
        )

    def park(self, contract, code="not_sent", *, month=DECEMBER, told=ParkClass.TRANSIENT, letter=True, attempt=None):
        """Parked by a run an hour ago, with its letter."""
        key, ledger = ChargeKey(contract, month), self.lab.ledger
        nCodCtr = dict(self.contracts).get(contract, 1)
        then = self.lab.clock.now() - timedelta(hours=1)
        if attempt:
            ledger.claim(key, attempt=attempt, now=then, who="bill_batch x", nCodCtr=nCodCtr, **FACTS)
            ledger.apply(key, Event.IN_DOUBT, now=then, who="w", why="w", attempt=attempt)
        facts = {} if attempt else FACTS | {"nCodCtr": nCodCtr}
        parked = ledger.apply(
            key,
            Event.PARK,
            now=then,
            who="w",
            why="w",
            reason_code=code,
            reason=f"por {code}",
            attempt=attempt,
            **facts,
        )
        if letter:
            self.lab.queues.park(charge_message(parked, told), contract, f"{key}#{attempt}#{code}")
            ledger.note_told(parked)
        return key

    def person_bills(self, nCodCtr):
        """A person bills the contract in Omie's own screen; answers the order, which Omie's lists have shown since."""
        order = self.lab.omie.bill_by_person("acme", nCodCtr, now=self.lab.now())
        self.lab.clock.advance(self.lab.settings.companies["acme"].list_lag_seconds)
        return order

    def state(self, key):
        charge = self.lab.ledger.get(key)
        return charge.state if charge else None

    def billed(self):
        return self.lab.omie.read_book()

    def snapshot(self):
        """All that can change; of the lanes not which questions Omie was asked, for a dry run may read."""
        lab = self.lab
        lanes = {company: state._replace(asked={}) for company, state in lab.lanes._lanes.items()}
        kept = {company: state for company, state in lanes.items() if state != LaneState()}
        return deepcopy((lab.ledger._charges, lab.queues.sent, lab.tasks.ended, lab.tasks.waiting, kept))


@pytest.fixture
def bench():
    return Bench()


def decisions(answer):
    return [(item["contract"], item["decision"]) for item in answer["items"]]


# ---- classes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Alíquota de ISS inválida", ParkClass.FISCAL),
        ("O código do serviço municipal não foi informado", ParkClass.FISCAL),
        ("A NFS-e foi rejeitada", ParkClass.FISCAL),
        ("Natureza da operação inválida", ParkClass.FISCAL),
        ("Para emitir a NFS-e falta preencher o Número do Endereço", ParkClass.DATA),
        ("Para emitir a NFS-e falta preencher o E-mail", ParkClass.DATA),
        ("CEP não pertence à faixa válida para o estado RJ.", ParkClass.DATA),
        ("O CEP do prestador é inválido para emitir a NFS-e", ParkClass.FISCAL),
        ("Para emitir a NFS-e falta preencher a alíquota do ISS", ParkClass.FISCAL),
        ("Informe o endereço do cliente", ParkClass.DATA),
        ("O missionário não existe", ParkClass.DATA),  # "iss" inside a word is no tax
    ],
)
def test_refusals_that_speak_of_taxes_are_the_accountants(text, expected):
    assert class_of_rejection(text) is expected


def charge(state=State.PARKED, code="", reason=""):
    return Charge(ChargeKey("JST-1", DECEMBER), state, "acme", 100, reason_code=code, reason=reason)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("not_sent", ParkClass.TRANSIENT),
        ("too_many_failures", ParkClass.TRANSIENT),
        ("amount_not_planned", ParkClass.DATA),
        ("omie_rejected", ParkClass.DATA),
        ("in_doubt", ParkClass.IN_DOUBT),
        ("missed_month", ParkClass.MISSED_MONTH),
        ("never heard of", ParkClass.UNKNOWN),
    ],
)
def test_the_ledgers_reason_decides_the_class_whatever_an_old_letter_says(code, expected):
    assert class_of(charge(code=code, reason="x"), ParkClass.TRANSIENT, "outra vez") is expected


def test_a_letter_counts_only_where_the_ledger_says_nothing_and_speaks_of_this_parking():
    assert class_of(charge(code="new", reason="x"), ParkClass.DATA, "x") is ParkClass.DATA
    assert class_of(charge(code="new", reason="x"), ParkClass.DATA, "y") is ParkClass.UNKNOWN


# ---- what a letter says

GOOD = {"contract": "JST-1", "month": "2026-12", "company": "acme", "class": "data", "amount": 100, "reason": "x"}
BATCH = {
    "company": "acme",
    "month": "2026-12",
    "run": "r",
    "plan_hash": "h",
    "lines": [{"contract": "JST-1", "amount": 5}],
}


def test_letters_are_read_as_what_they_are():
    assert read(json.dumps(GOOD)) == Parked(ChargeKey("JST-1", DECEMBER), "acme", 100, ParkClass.DATA, "x")
    assert read(json.dumps({"token": "t", "batch": BATCH})) == LostBatch(
        "acme", DECEMBER, "r", "h", (("JST-1", 5),), "t"
    )
    assert read(json.dumps(GOOD | {"class": "new"})).told is ParkClass.UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        "", "não é json", "[]", "null", "7", '"texto"', "{}", '{"batch": null}', '{"batch": 1}', '{"batch": {}}',
        json.dumps(GOOD | {"month": "dezembro"}), json.dumps(GOOD | {"contract": ""}),
        json.dumps(GOOD | {"contract": "JST-1#x"}), json.dumps(GOOD | {"amount": "muito"}),
        json.dumps({"batch": BATCH | {"lines": [{}]}}), json.dumps({"batch": BATCH | {"month": 12}}),
    ],
)  # fmt: skip
def test_anything_else_is_malformed_and_nothing_is_raised(body):
    assert isinstance(read(body), Malformed)


def test_a_lost_batch_shows_no_token():
    assert "segredo" not in repr(read(json.dumps({"token": "segredo", "batch": BATCH})))


# ---- the table


@pytest.mark.parametrize("state", [None, *(state for state in State if state is not State.PARKED)])
@pytest.mark.parametrize("timing", ["open", "over", "closed"])
@pytest.mark.parametrize("park_class", ParkClass)
def test_what_is_not_parked_is_never_released(state, timing, park_class):
    known = charge(state) if state else None
    step, why = next_step(known, park_class, timing, asked=True)
    assert step not in {Step.RELEASE, Step.READ_OMIE}
    assert why


@pytest.mark.parametrize("park_class", ParkClass)
@pytest.mark.parametrize("timing", ["over", "closed"])
def test_outside_its_month_nothing_is_released_without_reading_omie(park_class, timing):
    step, _ = next_step(charge(), park_class, timing, asked=True)
    assert step is (Step.READ_OMIE if park_class is ParkClass.IN_DOUBT else Step.STAY)


@pytest.mark.parametrize(
    ("park_class", "asked", "expected"),
    [
        (ParkClass.TRANSIENT, False, Step.RELEASE),
        (ParkClass.DATA, False, Step.RELEASE),
        (ParkClass.FISCAL, False, Step.RELEASE),
        (ParkClass.IN_DOUBT, False, Step.READ_OMIE),
        (ParkClass.MISSED_MONTH, True, Step.STAY),
        (ParkClass.UNKNOWN, False, Step.STAY),
        (ParkClass.UNKNOWN, True, Step.READ_OMIE),
    ],
)
def test_inside_its_month_each_class_has_one_safe_step(park_class, asked, expected):
    assert next_step(charge(), park_class, "open", asked=asked)[0] is expected


# ---- redrive: released, run again, billed once


@pytest.mark.parametrize("code", ["not_sent", "too_many_failures", "omie_rejected"])
def test_a_parked_contract_is_released_billed_once_and_repeating_changes_nothing(bench, code):
    (contract, nCodCtr), *_ = bench.contracts
    key = bench.park(contract, code)
    bench.lab.run()
    assert bench.state(key) is State.PARKED  # a run alone does not release it

    answer = bench()
    assert decisions(answer) == [(contract, "released")]
    assert answer["runs"] == [{"company": "acme", "month": "2026-12"}]
    assert (bench.state(key), bench.letters.count()) == (State.READY, 0)

    bench.lab.run()
    assert bench.state(key) is State.BILLED
    for _ in range(3):
        bench()
        bench.lab.run()
    book = bench.billed()
    assert book["billed_twice"] == []
    assert [b["nCodCtr"] for b in book["billings"]].count(nCodCtr) == 1


def test_who_released_it_and_why_is_in_its_history(bench):
    key = bench.park(bench.contracts[0][0])
    bench()
    line = bench.lab.ledger.get(key).history[-1]
    assert (line["event"], line["who"], line["why"]) == (Event.REDRIVE, "redrive ana", "liberado por ana: por not_sent")


def test_two_letters_of_one_contract_release_it_once(bench):
    contract = bench.contracts[0][0]
    key = bench.park(contract)
    bench.lab.queues.park(charge_message(bench.lab.ledger.get(key), ParkClass.DATA), contract, "older")
    answer = bench()
    assert decisions(answer) == [(contract, "released"), (contract, "deleted")]
    assert bench.letters.count() == 0


def test_a_letter_whose_deletion_was_lost_only_asks_for_a_run_again(bench):
    contract = bench.contracts[0][0]
    key = bench.park(contract)
    bench.lab.ledger.apply(key, Event.REDRIVE, now=bench.lab.clock.now(), who="redrive ana", why="x")
    answer = bench()
    assert decisions(answer) == [(contract, "deleted")]
    assert answer["runs"] == [{"company": "acme", "month": "2026-12"}]


def test_a_refused_creation_is_released_with_its_charge(bench):
    contract = bench.contracts[0][0]
    create = ChargeKey(contract, DECEMBER, CREATION)
    now = bench.lab.clock.now()
    bench.lab.ledger.claim(create, attempt="c", now=now, who="w", nCodCtr=None, **FACTS)
    bench.lab.ledger.apply(
        create, Event.REJECT, now=now, who="w", why="w", attempt="c", reason_code="omie_rejected", reason="CEP"
    )
    bench.park(contract, "omie_rejected", told=ParkClass.DATA)
    bench()
    assert bench.state(create) is State.READY


def test_what_is_parked_without_a_letter_is_found_in_the_ledger(bench):
    contract = bench.contracts[0][0]
    key = bench.park(contract, letter=False)
    assert [(item["contract"], item["id"]) for item in bench("list")["items"]] == [(contract, "")]
    assert decisions(bench()) == [(contract, "released")]
    assert bench.state(key) is State.READY


@pytest.mark.parametrize(("state", "event"), [(State.BILLED, Event.ADOPT), (State.HELD, Event.HOLD)])
def test_letters_of_what_is_settled_are_deleted(bench, state, event):
    contract = bench.contracts[0][0]
    key = bench.park(contract)
    now = bench.lab.clock.now()
    if event is Event.HOLD:
        bench.lab.ledger.apply(key, Event.REDRIVE, now=now, who="w", why="w")
    bench.lab.ledger.apply(key, event, now=now, who="w", why="w")
    answer = bench()
    assert (decisions(answer), bench.state(key), bench.letters.count()) == ([(contract, "deleted")], state, 0)
    assert answer["runs"] == []


def test_a_letter_of_which_the_ledger_knows_nothing_stays(bench):
    bench.lab.queues.park(GOOD, "JST-1", "d")
    answer = bench()
    assert (decisions(answer), bench.letters.count(), answer["runs"]) == ([("JST-1", "stays")], 1, [])


def test_a_company_that_left_the_settings_stays(bench):
    bench.lab.ledger.apply(
        ChargeKey("JST-900", DECEMBER), Event.PARK, now=START, who="w", why="w", reason_code="not_sent",
        **FACTS | {"company": "gone"},
    )  # fmt: skip
    bench.lab.queues.park(GOOD | {"contract": "JST-900", "company": "gone"}, "JST-900", "d")
    answer = bench()
    assert decisions(answer) == [("JST-900", "stays")]
    assert "gone" in answer["items"][0]["why"]


# ---- in doubt


def test_in_doubt_and_to_bill_in_omie_is_released(bench):
    contract, _ = bench.contracts[0]
    key = bench.park(contract, "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    assert decisions(bench()) == [(contract, "released")]
    assert (bench.state(key), bench.letters.count()) == (State.READY, 0)


def test_in_doubt_and_billed_in_omie_is_adopted(bench):
    contract, nCodCtr = bench.contracts[0]
    key = bench.park(contract, "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    order = bench.person_bills(nCodCtr)
    answer = bench()
    assert decisions(answer) == [(contract, "adopted")]
    assert (bench.lab.ledger.get(key).nCodOS, answer["runs"], bench.letters.count()) == (order, [], 0)


def test_in_doubt_that_omie_does_not_explain_stays(bench):
    key = bench.park("JST-777", "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    answer = bench()
    assert (decisions(answer), bench.state(key), bench.letters.count()) == ([("JST-777", "stays")], State.PARKED, 1)


@pytest.mark.parametrize("dry_run", [True, False])
def test_in_doubt_whose_order_was_cancelled_stays_and_names_the_order(bench, dry_run):
    contract, nCodCtr = bench.contracts[0]
    key = bench.park(contract, "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    order = bench.person_bills(nCodCtr)
    bench.lab.omie.cancel_by_person("acme", order, now=bench.lab.now())
    answer = bench(dry_run=dry_run)
    assert (decisions(answer), bench.state(key)) == ([(contract, "stays")], State.PARKED)
    assert f"cancelada no Omie (OS {order})" in answer["items"][0]["why"]


@pytest.mark.parametrize("action", ["redrive", "resolve"])
def test_an_order_that_names_no_contract_is_asked_for_and_adopted(bench, action):
    """Omie may show its contract as to be billed all the same."""
    bench.lab.omie.switches.update({"os_nCodCtr": "absent", "list_os_cNumContrato": "absent"})
    contract, nCodCtr = bench.contracts[0]
    key = bench.park(contract, "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    order = bench.person_bills(nCodCtr)
    bench.lab.omie.apps["acme"].billed_in.clear()
    month = {"month": str(DECEMBER)} if action == "resolve" else {}
    assert decisions(bench(action, **month)) == [(contract, "adopted")]
    assert bench.lab.ledger.get(key).nCodOS == order


@pytest.mark.parametrize("dry_run", [True, False])
def test_in_doubt_stays_while_an_order_of_its_customer_names_no_contract_and_says_which(bench, dry_run, monkeypatch):
    bench.lab.omie.switches.update({"os_nCodCtr": "absent", "list_os_cNumContrato": "absent"})
    monkeypatch.setattr(OmieClient, "consultar_os", lambda *_: {"Cabecalho": {}})
    monkeypatch.setattr(OmieClient, "nfses_da_os", lambda *_, **__: [])
    contract, nCodCtr = bench.contracts[0]
    key = bench.park(contract, "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    order = bench.person_bills(nCodCtr)
    bench.lab.omie.apps["acme"].billed_in.clear()
    answer = bench(dry_run=dry_run)
    assert (decisions(answer), bench.state(key)) == ([(contract, "stays")], State.PARKED)
    assert f"sem dizer de qual contrato (OS {order})" in answer["items"][0]["why"]


def test_an_old_harmless_letter_does_not_release_a_doubt(bench):
    contract, nCodCtr = bench.contracts[0]
    key = bench.park(contract, "in_doubt", attempt="a1", told=ParkClass.TRANSIENT)
    bench.person_bills(nCodCtr)
    bench()
    assert bench.state(key) is State.BILLED


def test_while_the_lane_is_blocked_omie_is_not_asked(bench):
    contract, _ = bench.contracts[0]
    bench.park(contract, "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    bench.lab.lanes.block("acme", bench.lab.now() + 1800, "Erros demais.")
    answer = bench(deps=bench.deps(omie=lambda company: pytest.fail("asked")))
    assert decisions(answer) == [(contract, "stays")]
    assert answer["refused"] == [
        {"company": "acme", "why": "O Omie não pode ser consultado até 06:30 de 01/12: Erros demais."}
    ]


def test_a_block_that_omie_answers_stops_the_lane_and_the_other_letters_go_on(bench):
    doubtful, other = bench.contracts[0][0], bench.contracts[1][0]
    bench.park(doubtful, "in_doubt", attempt="a1", told=ParkClass.IN_DOUBT)
    bench.park(other)

    def blocked(cEtapa):
        raise Blocked("ObterContratos", "API bloqueada", rule="blocked", retry_after=1800.0)

    answer = bench(deps=bench.deps(omie=lambda company: SimpleNamespace(obter_contratos=blocked)))
    assert decisions(answer) == [(doubtful, "stays"), (other, "released")]
    assert bench.lab.lanes.get("acme").blocked_until == bench.lab.now() - 0.05 + 1800.0


# ---- unknown


def test_unknown_stays_unless_it_is_asked_for_by_name_and_omie_shows_it_to_bill(bench):
    contract, _ = bench.contracts[0]
    key = bench.park(contract, "novidade", told=ParkClass.UNKNOWN)
    assert decisions(bench()) == [(contract, "stays")]
    assert decisions(bench(classes=["unknown"])) == [(contract, "released")]
    assert bench.state(key) is State.READY


def test_unknown_that_omie_does_not_show_to_bill_stays_even_when_asked_for(bench):
    bench.park("JST-777", "novidade", told=ParkClass.UNKNOWN)
    assert decisions(bench(classes=["unknown"])) == [("JST-777", "stays")]


# ---- another month


@pytest.mark.parametrize("code", ["not_sent", "omie_rejected", "missed_month", "novidade", "in_doubt"])
def test_last_months_letters_never_bill_this_month(bench, code):
    contract, nCodCtr = bench.contracts[0]
    key = bench.park(contract, code, month=NOVEMBER, attempt="a1")
    for _ in range(3):
        answer = bench()
        assert (decisions(answer), answer["runs"]) == ([(contract, "stays")], [])
    assert (bench.state(key), bench.letters.count()) == (State.PARKED, 1)
    bench.lab.run()
    assert [b["month"] for b in bench.billed()["billings"] if b["nCodCtr"] == nCodCtr] == ["2026-12"]


def test_released_too_late_it_is_parked_as_a_missed_month(bench):
    contract, _ = bench.contracts[0]
    key = bench.park(contract, month=NOVEMBER)
    bench.lab.ledger.apply(key, Event.REDRIVE, now=START, who="w", why="w")
    answer = bench()
    assert decisions(answer)[0] == (contract, "parked")
    assert (bench.lab.ledger.get(key).reason_code, answer["runs"]) == ("missed_month", [])


def test_in_the_last_minutes_of_the_month_nothing_is_released(bench):
    key = bench.park(bench.contracts[0][0])
    bench.lab.clock.set(datetime(2026, 12, 31, 23, 55, tzinfo=SAO_PAULO))
    answer = bench()
    assert (answer["items"][0]["decision"], bench.state(key)) == ("stays", State.PARKED)


# ---- batches that SQS gave up, and bodies that nobody can read


def lost(bench, lines, month="2026-12", plan_hash="h"):
    token = bench.lab.new_token()
    batch = {"company": "acme", "month": month, "run": "r", "plan_hash": plan_hash}
    batch["lines"] = [{"contract": contract, "amount": 12_000, "name": "Fulano"} for contract in lines]
    bench.lab.queues.sent["dlq"].append(("acme", {"token": token, "batch": batch}))
    return token


def test_a_batch_that_the_ledger_explains_is_deleted_and_the_run_told(bench):
    contract = bench.contracts[0][0]
    bench.park(contract, letter=False)
    token = lost(bench, [contract])
    answer = bench(classes=["transient"])
    assert next((item["what"], item["decision"]) for item in answer["items"]) == ("batch", "deleted")
    assert bench.lab.tasks.ended[token]["error"] == "BatchGivenUp"
    assert "Fulano" not in json.dumps(answer)


def test_a_batch_not_sent_waits_for_a_run_and_then_disappears(bench):
    names = [contract for contract, _ in bench.contracts]
    lost(bench, names)
    answer = bench()
    assert (answer["items"][0]["decision"], bench.letters.count()) == ("stays", 1)
    assert answer["runs"] == [{"company": "acme", "month": "2026-12"}]
    bench.lab.run()
    assert (bench()["items"][0]["decision"], bench.letters.count()) == ("deleted", 0)
    assert bench.billed()["billed_twice"] == []


def test_a_batch_that_a_newer_plan_replaced_is_deleted(bench):
    bench.lab.runs.put_plan("r", "acme", plan_hash="newer", plan_key="k", planned=1)
    lost(bench, ["JST-777"])
    assert bench()["items"][0]["decision"] == "deleted"


def test_a_batch_with_a_doubt_in_it_stays(bench):
    contract, nCodCtr = bench.contracts[0]
    key = ChargeKey(contract, DECEMBER)
    bench.lab.ledger.claim(key, attempt="a", now=START, who="w", nCodCtr=nCodCtr, **FACTS)
    lost(bench, [contract])
    answer = bench()
    assert answer["items"][0]["decision"] == "stays"
    assert "resolve" in answer["items"][0]["why"]


def test_what_last_months_batch_never_sent_is_parked_one_by_one(bench):
    lost(bench, ["JST-1", "JST-2"], month="2026-11")
    answer = bench()
    assert [item["decision"] for item in answer["items"]] == ["deleted", "stays", "stays"]
    for contract in ("JST-1", "JST-2"):
        assert bench.lab.ledger.get(ChargeKey(contract, NOVEMBER)).reason_code == "missed_month"
    assert (bench.letters.count(), answer["runs"]) == (2, [])


def test_malformed_bodies_are_shown_and_stay_and_never_loop(bench):
    for body in ("lixo", "{}", '{"token": "t", "batch": {}}'):
        bench.lab.queues.sent["dlq"].append(("acme", body))
    for _ in range(3):
        answer = bench()
        assert [(item["what"], item["decision"]) for item in answer["items"]] == [("malformed", "stays")] * 3
    assert bench.letters.count() == 3


# ---- discarding


def test_what_nobody_can_read_is_taken_out_by_its_id_and_kept(bench):
    bench.lab.queues.sent["dlq"] += [("acme", "lixo"), ("acme", "{}")]
    [first, _] = bench("list")["items"]
    before = bench.snapshot()
    foreseen = bench("discard", id=first["id"], dry_run=True)
    assert (bench.snapshot(), bench.letters.count()) == (before, 2)

    answer = bench("discard", id=first["id"])

    assert answer["items"] == foreseen["items"]
    assert (answer["counts"], bench.letters.count()) == ({"discarded": 1}, 1)
    kept = bench.lab.objects.get_json(f"discarded/{first['id']}.json")
    assert (kept["body"], kept["who"]) == ("lixo", "ana")
    assert bench("discard", id=first["id"])["items"] == []


def test_a_letter_of_a_month_that_is_over_is_discarded_and_the_ledger_remembers(bench):
    key = bench.park("JST-950", month=NOVEMBER)
    [item] = bench("list")["items"]
    assert bench("discard", id=item["id"])["counts"] == {"discarded": 1}
    assert (bench.letters.count(), bench.state(key)) == (0, State.PARKED)


def test_what_can_still_be_resolved_is_not_discarded(bench):
    bench.park(bench.contracts[0][0])
    lost(bench, ["JST-960"])
    doubtful = bench.park("JST-961", month=NOVEMBER, attempt="a1", code="in_doubt")
    bench.lab.ledger.apply(doubtful, Event.REDRIVE, now=bench.lab.clock.now(), who="t", why="t", attempt="a1")
    bench.lab.ledger.claim(doubtful, attempt="a2", now=bench.lab.clock.now(), who="b", nCodCtr=1, **FACTS)
    for item in bench("list")["items"]:
        [told] = bench("discard", id=item["id"])["items"]
        assert told["decision"] == "stays"
        assert "billing-ops" in told["why"]
    assert bench.letters.count() == 3


def test_what_was_released_and_missed_is_put_on_record_and_not_discarded(bench):
    key = bench.park("JST-950", month=NOVEMBER)
    bench.lab.ledger.apply(key, Event.REDRIVE, now=bench.lab.clock.now(), who="t", why="t")
    [item] = bench("list")["items"]

    [told] = bench("discard", id=item["id"])["items"]

    assert (told["decision"], bench.letters.count()) == ("stays", 1)
    bench()
    assert bench.lab.ledger.get(key).reason_code == "missed_month"


def test_one_letter_at_a_time_is_discarded(bench):
    bench.lab.queues.sent["dlq"] += [("acme", "lixo"), ("acme", "{}")]
    with pytest.raises(BadRequest, match="Há 2 que começam com letter"):
        bench("discard", id="letter")
    with pytest.raises(BadRequest, match="Diga qual"):
        bench("discard")
    assert bench.letters.count() == 2


# ---- looking


def everything(bench):
    for number, code in enumerate(("not_sent", "omie_rejected", "in_doubt", "missed_month", "novidade")):
        told = ParkClass.UNKNOWN
        bench.park(f"JST-{900 + number}", code, attempt=f"a{number}", told=told)
    bench.park(bench.contracts[0][0], "in_doubt", attempt="x")
    bench.park(bench.contracts[1][0], letter=False)
    bench.park("JST-950", month=NOVEMBER)
    lost(bench, ["JST-960"])
    lost(bench, ["JST-970"], month="2026-11")
    bench.lab.queues.sent["dlq"].append(("x", "lixo"))


@pytest.mark.parametrize("classes", [[], ["unknown"]])
def test_a_dry_run_says_everything_and_changes_nothing(bench, classes):
    everything(bench)
    before = bench.snapshot()
    told = bench(dry_run=True, classes=classes)
    assert bench.snapshot() == before
    assert told == bench(dry_run=True, classes=classes)
    done = bench(classes=classes)
    known = [item for item in done["items"] if item["month"] != "2026-11" or item["what"] != "contract"]
    foretold = [item for item in told["items"] if item["month"] != "2026-11" or item["what"] != "contract"]
    assert [(i["contract"], i["decision"]) for i in known] == [(i["contract"], i["decision"]) for i in foretold]


def test_listing_changes_nothing_and_tells_class_reason_and_safe_action_but_no_name(bench):
    everything(bench)
    before = bench.snapshot()
    answer = bench("list")
    assert bench.snapshot() == before
    assert [item["class"] for item in answer["items"]] == [
        "transient", "data", "in_doubt", "missed_month", "unknown", "in_doubt", "transient", "transient", "transient",
        "unknown", "transient",
    ]  # fmt: skip
    assert all(item["safe_action"] for item in answer["items"])
    assert "Fulano" not in json.dumps(answer)
    assert answer["waiting"] == 10
    assert answer["items"][0]["safe_action"] == SAFE_ACTION[ParkClass.TRANSIENT]


def test_filters_narrow_by_what_the_ledger_says(bench):
    everything(bench)

    def contracts(**filters):
        return [item["contract"] for item in bench("list", **filters)["items"]]

    assert contracts(classes=["data"]) == ["JST-901"]
    assert contracts(month="2026-11") == ["JST-950", ""]
    assert contracts(companies=["nimbus"]) == []
    assert len(contracts(companies=["acme"])) == 10


def test_one_letter_is_shown_by_the_beginning_of_its_id(bench):
    bench.park(bench.contracts[0][0])
    [item] = bench("list")["items"]
    assert bench("show", id=item["id"])["items"] == [item]
    assert bench("show", id="nada")["items"] == []


# ---- how it ends early


def test_out_of_time_it_says_there_is_more_and_every_letter_is_visible_again(bench):
    for contract, _ in bench.contracts:
        bench.park(contract)
    answer = bench(seconds=60.1)  # time for two, at twenty a second
    released = answer["counts"]["released"]
    assert (answer["more"], 0 < released < len(bench.contracts)) == (True, True)
    assert bench.letters.count() == len(bench.contracts) - released
    assert len(bench("list")["items"]) == len(bench.contracts) - released


def test_whatever_breaks_the_letters_are_put_back(bench):
    bench.park(bench.contracts[0][0], "in_doubt", attempt="a1")

    def broken(company):
        raise RuntimeError("secret missing")

    with pytest.raises(RuntimeError):
        bench(deps=bench.deps(omie=broken))
    assert len(bench.letters.receive(1)) == 1


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"action": "apagar"},
            "Ação desconhecida: apagar. As que existem: list, show, redrive, resolve, discard, not_billed.",
        ),
        ({"action": "list", "companies": ["x"]}, "Empresa desconhecida: x. As configuradas são: acme, nimbus."),
        ({"action": "list", "classes": ["x"]}, "Classe desconhecida: x."),
        ({"action": "resolve", "month": "2027-01"}, "A competência 2027-01 ainda não começou"),
    ],
)
def test_what_is_not_known_is_refused_in_one_line(bench, event, line):
    with pytest.raises(BadRequest, match=line.replace(".", r"\.")):
        bench(**event)


# ---- resolve


def doubt(bench, contract, nCodCtr, ago, kind="mensalidade"):
    key = ChargeKey(contract, DECEMBER, kind)
    then = bench.lab.clock.now() - timedelta(minutes=ago)
    bench.lab.ledger.claim(key, attempt=contract, now=then, who="w", nCodCtr=nCodCtr, **FACTS)
    return key


def test_resolve_adopts_releases_parks_and_leaves_what_rests(bench):
    (one, at_one), (two, at_two), (three, at_three), *_ = bench.contracts
    bench.person_bills(at_one)
    keys = [
        doubt(bench, one, at_one, 60),
        doubt(bench, two, at_two, 60),
        doubt(bench, three, at_three, 1),
        doubt(bench, "JST-998", 998, 60),
        doubt(bench, "JST-999", None, 60, CREATION),
        bench.park("JST-997", "not_sent"),
    ]
    answer = bench("resolve", month="2026-12")
    assert [bench.state(key) for key in keys] == [
        State.BILLED, State.READY, State.SENDING, State.PARKED, State.READY, State.PARKED,
    ]  # fmt: skip
    assert answer["counts"] == {"adopted": 1, "released": 2, "stays": 1, "parked": 1}
    assert answer["runs"] == [{"company": "acme", "month": "2026-12"}]
    assert {item["class"] for item in answer["items"]} == {"in_doubt"}
    assert "repita depois das 06:0" in next(i["why"] for i in answer["items"] if i["contract"] == three)


def test_resolve_reads_the_parked_doubts_again_and_redrive_then_clears_their_letters(bench):
    contract, nCodCtr = bench.contracts[0]
    bench.park(contract, "in_doubt", attempt="a1")
    bench.person_bills(nCodCtr)
    assert decisions(bench("resolve")) == [(contract, "adopted")]
    assert decisions(bench()) == [(contract, "deleted")]


def test_resolving_again_finds_nothing_to_do(bench):
    contract, nCodCtr = bench.contracts[0]
    doubt(bench, contract, nCodCtr, 60)
    bench("resolve")
    assert bench("resolve")["items"] == []
    bench.lab.run()
    assert bench.billed()["billed_twice"] == []


def test_a_dry_resolve_changes_nothing(bench):
    contract, nCodCtr = bench.contracts[0]
    doubt(bench, contract, nCodCtr, 60)
    doubt(bench, "JST-999", None, 60, CREATION)
    before = bench.snapshot()
    assert bench("resolve", dry_run=True)["counts"] == {"released": 2}
    assert bench.snapshot() == before


# ---- what was adopted without an order


def adopted(bench, nCodOS=None):
    """A charge as an earlier version left it: BILLED by stage 30 alone."""
    code, nCodCtr = bench.contracts[0]
    key, now = ChargeKey(code, BillingMonth.of(bench.lab.clock.now())), bench.lab.clock.now()
    bench.lab.ledger.apply(
        key, Event.ADOPT, now=now, who="t", why="t", company="acme", amount=5, nCodCtr=nCodCtr, nCodOS=nCodOS
    )
    return key, nCodCtr


def deny(bench, key, **more):
    return bench("not_billed", contract=key.contract, month=str(key.month), why="o Omie não tem OS dele", **more)


def test_a_wrong_adoption_is_put_right_by_a_named_person_and_then_billed_by_the_ordinary_way(bench):
    key, _ = adopted(bench)
    [item] = deny(bench, key)["items"]
    charge = bench.lab.ledger.get(key)
    assert (item["decision"], charge.state, charge.reason_code) == ("parked", State.PARKED, "in_doubt")
    assert charge.reason == "ana afirma que não foi faturado: o Omie não tem OS dele"
    assert [line["who"] for line in charge.history] == ["t", "redrive ana"]
    assert len(bench.lab.queues.parked) == 1
    bench.lab.clock.advance(700)
    assert decisions(bench("resolve")) == [(key.contract, "released")]
    bench.lab.run(trigger="operator")
    assert bench.lab.ledger.get(key).state is State.BILLED
    assert bench.lab.ledger.get(key).nCodOS is not None


def test_what_names_its_order_or_has_one_in_omie_stays_billed_whoever_says_what(bench):
    key, nCodCtr = adopted(bench, nCodOS=77)
    [item] = deny(bench, key)["items"]
    assert (item["decision"], bench.lab.ledger.get(key).state) == ("stays", State.BILLED)
    assert "OS 77" in item["why"]
    other = Bench()
    key, nCodCtr = adopted(other)
    order = other.person_bills(nCodCtr)
    [item] = deny(other, key)["items"]
    assert (item["decision"], other.lab.ledger.get(key).state) == ("stays", State.BILLED)
    assert f"OS {order}" in item["why"]


def test_a_wrong_adoption_is_denied_only_with_a_contract_and_a_reason(bench):
    key, _ = adopted(bench)
    with pytest.raises(BadRequest, match="por quê"):
        bench("not_billed", contract=key.contract)
    [item] = deny(bench, key, dry_run=True)["items"]
    assert (item["decision"], bench.lab.ledger.get(key).state) == ("parked", State.BILLED)
    [item] = deny(bench, ChargeKey("JST-999", key.month))["items"]
    assert item["decision"] == "stays"
