"""A company's plan: made whole from both sides, or refused in one line with nothing written."""

import gc
import json
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from billing.batches import Part, read_lines
from billing.domain.charge import ChargeKey, Event
from billing.domain.month import BillingMonth
from billing.domain.plan import PlanLine, plan_hash
from billing.omie.client import Credentials, OmieClient
from billing.omie.governor import ERROR_BUDGET
from billing.open_run import RunRequest, open_run
from billing.plan_company import PlanDeps, PlanRefused, plan_company
from billing.store.objects import PlanWriter
from billing.store.secrets import SecretError
from simulators.clock import VirtualClock
from simulators.lab import OMIE_URL, START, Lab, OmieLine, demo_settings
from simulators.omie.faults import Fault
from simulators.world import CONTRACT_ID, CONTRACTS_TABLE, FIELDS

DECEMBER = BillingMonth(2026, 12)
NOVEMBER = DECEMBER.previous()


def event(lab, company="acme", **wanted):
    request = RunRequest("arn:execution:one", "operator", companies=(company,), **wanted)
    return open_run(request, lab.open_deps())["companies"][0]


def plan(lab, company="acme", **wanted):
    return plan_company(event(lab, company, **wanted), lab.plan_deps())


def refusal(lab, company="acme", **deps):
    """Why the plan is refused: one line, and nothing was written anywhere."""
    with pytest.raises(PlanRefused) as refused:
        plan_company(event(lab, company), replace(lab.plan_deps(), **deps))
    assert "\n" not in str(refused.value)
    assert lab.objects.texts == {}
    assert lab.runs.plan_hash(f"2026-12#mensalidade#{company}", company) is None
    assert list(lab.ledger.by_month(company, DECEMBER)) == []
    assert lab.omie.book.billings == []
    return str(refused.value)


def lines(lab, planned):
    return {line.contract: line for line in map(PlanLine.from_json, lab.objects.read_lines(planned["plan"]["key"]))}


def batches(lab, planned):
    return [json.loads(line) for line in lab.objects.read_lines(planned["batches"]["key"])]


def of_kind(lab, kind):
    return next(contract for contract in lab.world.contracts if contract.kind == kind)


def settings_with(company="acme", *, guardrail=None, **changes):
    settings = demo_settings()
    changed = settings.companies[company].model_copy(update=changes)
    if guardrail:
        changed = changed.model_copy(update={"guardrail": changed.guardrail.model_copy(update=guardrail)})
    return settings.model_copy(update={"companies": {**settings.companies, company: changed}})


def bill(lab, contract, month, *, amount=None, nCodOS=77):
    lab.ledger.apply(
        ChargeKey(contract.code, month),
        Event.ADOPT,
        now=START,
        who="test",
        why="",
        company=contract.omie_company,
        amount=contract.amount if amount is None else amount,
        nCodOS=nCodOS,
    )


# --- the plan itself


def test_every_contract_of_both_companies_gets_the_line_its_world_expects():
    lab = Lab(contracts=40)

    planned = [plan(lab, company) for company in ("acme", "nimbus")]

    found = lines(lab, planned[0]) | lines(lab, planned[1])
    expected = {c.code: c.expected for c in lab.world.contracts if c.expected != "absent"}
    assert {code: str(line.action) for code, line in found.items()} == expected
    assert {code: line.amount for code, line in found.items() if line.action == "bill"} == lab.world.expected_amounts()


def test_the_answer_carries_what_the_next_steps_need():
    lab = Lab(contracts=20)

    planned = plan(lab)

    found = lines(lab, planned)
    counts = Counter(str(line.action) for line in found.values())
    assert planned["decision"] == "bill"
    assert planned["reasons"] == []
    assert planned["plan"]["key"] == "runs/2026-12/1/acme/planning-1/plan.jsonl"
    assert planned["plan"]["lines"] == len(found)
    assert planned["plan"]["counts"] == dict(counts)
    assert planned["plan"]["hash"] == plan_hash(line.to_json() for line in found.values())
    assert lab.runs.plan_hash(planned["run"], "acme") == planned["plan"]["hash"]
    assert planned["batches"]["key"] == "runs/2026-12/1/acme/planning-1/batches-0.jsonl"


def test_the_same_inputs_give_the_same_plan_and_the_same_hash():
    first, second = (plan(Lab(contracts=30)) for _ in range(2))

    assert first["plan"] == second["plan"]


def test_who_plans_beside_another_writes_over_nothing_of_its():
    """Lambda may still be running a call that Step Functions has given up and made again."""
    lab = Lab(contracts=10, clean=True)
    asked = event(lab)
    contract = next(c for c in lab.world.contracts if c.omie_company == "acme")
    planned = [plan_company(asked, lab.plan_deps())]
    lab.jestor.edit({"id": contract.jestor_id, "data": {FIELDS["unit_amount"]: 999}}, now=lab.now())
    planned.append(plan_company(asked, lab.plan_deps()))

    hashes = [each["plan"]["hash"] for each in planned]

    assert hashes[0] != hashes[1]
    assert [plan_hash(lab.objects.read_lines(each["plan"]["key"])) for each in planned] == hashes
    assert [{message["plan_hash"] for message in batches(lab, each)} for each in planned] == [{one} for one in hashes]


def test_another_amount_gives_another_hash():
    lab, other = Lab(contracts=30), Lab(contracts=30)
    contract = next(c for c in other.world.contracts if c.kind == "match" and c.omie_company == "acme")
    other.jestor.edit({"id": contract.jestor_id, "data": {FIELDS["unit_amount"]: 12345}}, now=other.now())

    assert plan(lab)["plan"]["hash"] != plan(other)["plan"]["hash"]


def test_batches_hold_25_contracts_each_and_only_those_to_bill():
    lab = Lab(contracts=90)

    planned = plan(lab)

    found = batches(lab, planned)
    assert [len(batch["lines"]) for batch in found[:-1]] == [25] * (len(found) - 1)
    assert 1 <= len(found[-1]["lines"]) <= 25
    assert planned["batches"]["count"] == len(found) == -(-planned["plan"]["counts"]["bill"] // 25)
    for batch in found:
        sent = read_lines(lab.objects, Part.of(batch))
        assert {line.action for line in sent} == {"bill"}
        assert [(line.contract, line.amount) for line in sent] == [(x["contract"], x["amount"]) for x in batch["lines"]]
    assert [batch["batch"] for batch in found] == [f"0-{n}" for n in range(len(found))]
    assert {batch["plan_hash"] for batch in found} == {planned["plan"]["hash"]}


def test_a_plan_writes_nothing_to_omie():
    lab = Lab(contracts=20)

    plan(lab)

    assert [name for name, count in lab.omie.book.methods.items() if count.write] == []


def test_a_preview_writes_its_plan_apart_and_gives_nothing_to_bill():
    lab = Lab(contracts=20)

    planned = plan(lab, preview=True)

    assert planned["decision"] == "preview"
    assert list(lab.objects.texts) == ["runs/2026-12/preview-one/acme/planning-1/plan.jsonl"]
    assert "batches" not in planned
    assert lab.runs.plan_hash(planned["run"], "acme") is None


def test_a_row_that_names_no_company_appears_once_in_the_first_companys_plan():
    lab = Lab(contracts=20)
    contract = of_kind(lab, "match")
    lab.jestor.edit({"id": contract.jestor_id, "data": {FIELDS["company"]: None}}, now=lab.now())

    acme, nimbus = (lines(lab, plan(lab, company)) for company in ("acme", "nimbus"))

    assert acme[contract.code].action == "park"
    assert acme[contract.code].reason_code == "bad_row"
    assert contract.code not in nimbus


# --- what is already known of a contract


def test_what_is_already_billed_is_skipped_with_its_os_and_the_amount_that_was_billed():
    lab = Lab(contracts=20, clean=True)
    contract = next(c for c in lab.world.contracts if c.omie_company == "acme")
    bill(lab, contract, DECEMBER, nCodOS=4711)
    lab.jestor.edit({"id": contract.jestor_id, "data": {FIELDS["unit_amount"]: 99999}}, now=lab.now())

    line = lines(lab, plan(lab))[contract.code]

    assert (line.action, line.reason_code, line.amount) == ("skip", "already_billed", contract.amount)
    assert line.reason == "Já faturado em 2026-12 (OS 4711)."


def test_when_everything_is_billed_there_is_only_to_compare():
    lab = Lab(contracts=10, clean=True)
    for contract in lab.world.contracts:
        bill(lab, contract, DECEMBER)

    planned = plan(lab)

    assert planned["decision"] == "settle"
    assert planned["batches"]["count"] == 0


@pytest.mark.parametrize(("told", "decision"), [(False, "settle"), (True, "nothing")])
def test_when_all_that_is_left_is_parked_somebody_must_have_been_told(told, decision):
    lab = Lab(contracts=10, clean=True)
    for contract in lab.world.contracts:
        key = ChargeKey(contract.code, DECEMBER)
        facts = {"company": contract.omie_company, "reason_code": "not_sent", "reason": "Não foi enviado."}
        parked = lab.ledger.apply(key, Event.PARK, now=lab.clock.now(), who="t", why="", **facts)
        if told:
            lab.ledger.note_told(parked)

    assert plan(lab)["decision"] == decision


def test_last_months_charge_explains_the_difference():
    lab = Lab(contracts=10, clean=True)
    contract = next(c for c in lab.world.contracts if c.omie_company == "acme")
    bill(lab, contract, NOVEMBER, amount=contract.amount - 100)

    line = lines(lab, plan(lab))[contract.code]

    assert (line.previous_amount, line.difference) == (contract.amount - 100, 100)
    assert line.cause.startswith("Upsell: ")


def test_a_held_contract_is_skipped():
    lab = Lab(contracts=10, clean=True)
    contract = next(c for c in lab.world.contracts if c.omie_company == "acme")
    lab.ledger.put_hold(contract.code, "churn", lab.clock.now())

    assert lines(lab, plan(lab))[contract.code].reason_code == "held"


def test_what_a_person_billed_in_omie_is_skipped_to_be_adopted():
    lab = Lab(contracts=10, clean=True)
    contract = next(c for c in lab.world.contracts if c.omie_company == "acme")
    nCodCtr = contract.omie_contrato["cabecalho"]["nCodCtr"]
    lab.omie.bill_by_person("acme", nCodCtr, now=lab.now())
    lab.clock.advance(lab.settings.companies["acme"].list_lag_seconds)

    assert lines(lab, plan(lab))[contract.code].reason_code == "billed_in_omie"


def test_a_lookalike_in_omie_parks_the_contract_with_the_command_that_links_the_two():
    lab = Lab(contracts=20)
    contract = of_kind(lab, "lookalike")

    line = lines(lab, plan(lab, contract.omie_company))[contract.code]

    nCodCtr = contract.omie_contrato["cabecalho"]["nCodCtr"]
    assert (line.action, line.reason_code) == ("park", "possible_duplicate")
    assert f"billing-ops link --contract {contract.code} --omie {nCodCtr}" in line.reason


def test_a_contract_omie_does_not_know_is_created_for_the_customer_omie_knows():
    lab = Lab(contracts=200)
    contracts = [c for c in lab.world.contracts if c.kind == "create" and c.omie_cliente]

    for contract in contracts:
        line = lines(lab, plan(lab, contract.omie_company))[contract.code]
        assert (line.action, line.work) == ("bill", "create")
        assert line.customer["nCodCli"] == contract.omie_cliente["codigo_cliente_omie"]


def test_where_the_settings_forbid_creating_it_parks_and_no_customer_is_read():
    lab = Lab(contracts=20, settings=settings_with("acme", create_unknown=False))
    contract = next(c for c in lab.world.contracts if c.kind == "create")
    lab.settings = settings_with(contract.omie_company, create_unknown=False)

    line = lines(lab, plan(lab, contract.omie_company))[contract.code]

    assert (line.action, line.reason_code) == ("park", "unknown_in_omie")
    assert "ListarClientes" not in lab.omie.book.methods


# --- the guardrail


def test_a_plan_beyond_its_guardrail_waits_for_a_person_with_every_reason():
    lab = Lab(contracts=20, settings=settings_with(guardrail={"max_count": 3, "max_total": 100}))

    planned = plan(lab)

    assert planned["decision"] == "approval"
    assert planned["reasons"][0].startswith("O total de R$ ")
    assert planned["reasons"][1].startswith(f"São {planned['plan']['counts']['bill']} contratos, mais que")
    assert planned["batches"]["count"] > 0


def remembering(contracts=60, **more):
    """A lab whose contracts were all billed last month, and Acme's among them."""
    lab = Lab(contracts=contracts, clean=True, **more)
    for contract in lab.world.contracts:
        bill(lab, contract, NOVEMBER)
    return lab, [contract for contract in lab.world.contracts if contract.omie_company == "acme"]


def test_a_token_that_sees_only_some_rows_makes_the_plan_ask_a_person():
    lab, acme = remembering()
    seen = [c for c in acme if c.jestor_row[FIELDS["service"]] == "Plataforma Pro"]
    row_filter = {"table": CONTRACTS_TABLE, "field": FIELDS["service"], "value": "Plataforma Pro"}
    lab.jestor.set_faults([{"kind": "row_filter", **row_filter}])

    planned = plan(lab)

    assert planned["plan"]["lines"] == len(seen)
    assert planned["decision"] == "approval"
    gone = len(acme) - len(seen)
    assert planned["reasons"] == [
        f"{gone} contratos faturados em 2026-11 não estão mais no Jestor (token com filtro de linhas?)."
    ]


def test_a_token_that_sees_no_row_at_all_refuses_the_plan():
    lab, acme = remembering()
    row_filter = {"table": CONTRACTS_TABLE, "field": FIELDS["service"], "value": "Backup & Continuidade"}
    lab.jestor.set_faults([{"kind": "row_filter", **row_filter}])

    assert refusal(lab) == (
        f"Não há nada a faturar, e {len(acme)} contratos faturados em 2026-11 não estão mais no Jestor "
        "(token com filtro de linhas?). Confira o token do Jestor e rode o mês de novo."
    )


@pytest.mark.parametrize(
    ("contracts", "deleted", "asks"),
    [
        (30, 4, False),  # more than a tenth, but fewer than five
        (30, 5, True),
        (90, 5, False),  # five, but less than a tenth
        (90, 7, True),
    ],
)
def test_a_few_deleted_contracts_are_no_question(contracts, deleted, asks):
    lab, acme = remembering(contracts)
    assert {30: 10 < len(acme) < 40, 90: 50 < len(acme) < 70}[contracts]
    lab.jestor.edit({"delete": [contract.jestor_id for contract in acme[:deleted]]}, now=lab.now())

    assert (plan(lab)["decision"] == "approval") is asks


# --- Jestor cannot be read whole

JESTOR_FAULTS = {
    "HTML": ({"kind": "server_error", "path": "/object/list", "every": 1}, "está fora do ar (HTTP 502)"),
    "429": ({"kind": "rate_limited", "path": "/object/list", "every": 1}, "muitas chamadas (HTTP 429)"),
    "status false": (
        {"kind": "status_false", "path": "/object/list", "message": "Token sem acesso"},
        "Token sem acesso",
    ),
    "no data": ({"kind": "missing_data", "path": "/object/list"}, "a resposta não tem data"),
    "no answer": ({"kind": "lost_reply", "path": "count", "every": 1}, "não respondeu (ReadTimeout)"),
    "short page": ({"kind": "short_page", "path": "/object/list", "rows": 2}, "a lista terminou antes da contagem"),
}


@pytest.mark.parametrize(("fault", "said"), JESTOR_FAULTS.values(), ids=JESTOR_FAULTS)
def test_jestor_that_cannot_be_read_refuses_the_plan(fault, said):
    lab = Lab(contracts=20)
    lab.jestor.set_faults([fault])

    line = refusal(lab)

    assert line.startswith("O Jestor não pôde ser lido; nada foi faturado nesta execução. Jestor: ")
    assert said.casefold() in line.casefold()
    assert CONTRACTS_TABLE in line


def test_a_row_created_while_the_table_is_read_refuses_the_plan():
    lab = Lab(contracts=20)
    contract = of_kind(lab, "match")
    row = lab.jestor.tables[CONTRACTS_TABLE].rows[contract.jestor_id]
    copied = {key: row[key] for key in (FIELDS["name"], FIELDS["company"], FIELDS["due_day"])}
    lab.jestor.set_faults([{"kind": "edit", "path": "/object/list", "create": copied}])

    assert "A tabela mudou durante a leitura" in refusal(lab)


def test_a_429_that_passes_is_waited_out():
    lab = Lab(contracts=20)
    lab.jestor.set_faults([{"kind": "rate_limited", "path": "/object/list", "times": 2, "retry_after": 7}])

    assert plan(lab)["plan"]["hash"] == plan(Lab(contracts=20))["plan"]["hash"]
    assert lab.clock.slept[:2] == [7, 7]


def test_a_vanished_field_refuses_the_plan_and_is_named():
    lab = Lab(contracts=20)
    lab.jestor.set_faults([{"kind": "vanished_field", "table": CONTRACTS_TABLE, "field": FIELDS["unit_amount"]}])

    assert FIELDS["unit_amount"] in refusal(lab)


# --- Omie cannot be read whole


def announcing_more(name, call):
    """Omie's list says it has one contract more than it gives."""
    answer = call()
    if name != "omie.ListarContratos":
        return answer
    page = json.loads(answer.content)
    page["total_de_registros"] += 1
    return httpx.Response(200, json=page)


def test_an_incomplete_list_of_omie_refuses_the_plan():
    line = refusal(Lab(contracts=20, step=announcing_more))

    assert line.startswith(
        "A lista do Omie veio incompleta; nada foi faturado nesta execução. Espere que ninguém esteja mexendo nos "
        "contratos e rode o mês de novo. (ListarContratos: "
    )


def refused_connection(name, call):
    if name.startswith("omie."):
        raise httpx.ConnectError("refused")
    return call()


def test_omie_that_is_not_there_refuses_the_plan_within_a_minute():
    lab = Lab(contracts=20, step=refused_connection)

    assert refusal(lab) == (
        "O Omie não respondeu; nada foi faturado nesta execução. Confira se ele está no ar e o endereço em "
        "OMIE_BASE_URL, e rode o mês de novo. (ObterContratos: no answer [not_sent] ConnectError before the request "
        "was sent.)"
    )
    assert lab.clock.slept == [2, 4, 8, 16]


OMIE_FAULTS = {
    "blocked": (Fault("blocked", seconds=600), "O Omie bloqueou a chave desta empresa", "Daqui a 11 minutos, rode"),
    "html": (Fault("html"), "O Omie não conseguiu responder", "daqui a alguns minutos, rode o mês de novo. ("),
    "half JSON": (Fault("not_json", methods=frozenset({"ListarContratos"})), "O Omie não conseguiu", "ListarContratos"),
    "no reply": (Fault("lost_reply", methods=frozenset({"ListarClientes"})), "O Omie não respondeu", "ListarClientes"),
}


@pytest.mark.parametrize(("fault", "what", "said"), OMIE_FAULTS.values(), ids=OMIE_FAULTS)
def test_omie_that_cannot_be_read_refuses_the_plan(fault, what, said):
    lab = Lab(contracts=20)
    lab.omie.faults.replace([fault])

    line = refusal(lab)

    assert line.startswith(what)
    assert said in line


def test_a_pause_of_our_own_is_not_said_to_be_omies():
    lab = Lab(contracts=20)
    for _ in range(ERROR_BUDGET):
        lab.lanes.note_error("acme", "ListarContratos", lab.now())

    line = refusal(lab)

    assert line.startswith("O Omie devolveu erros demais, e este sistema parou antes que ele bloqueasse a chave; nada")
    assert "Daqui a 10 minutos, rode o mês de novo." in line


def test_a_refused_key_is_said_as_that_and_not_shown():
    lab = Lab(contracts=20)
    wrong = Credentials("demo-acme-key", "canary-secret")
    client = OmieClient(wrong, base_url=OMIE_URL, http=OmieLine(lab.omie, lab.clock, None), clock=lab.clock)

    line = refusal(lab, omie=lambda company: client)

    assert line.startswith(
        "O Omie recusou a chave desta empresa; nada foi faturado nesta execução. Confira o aplicativo no Omie e o "
        "segredo, e rode o mês de novo. (ObterContratos: "
    )
    assert "canary" not in line
    assert "demo-acme-key" not in line


def test_a_missing_secret_refuses_the_plan_by_its_name():
    def omie(company):
        raise SecretError(f"secret billing/omie/{company} does not exist: create it in this account and region")

    assert refusal(Lab(contracts=20), omie=omie) == (
        "Falta uma credencial no Secrets Manager, ou ela está errada; nada foi faturado nesta execução. Grave-a e rode "
        "o mês de novo. (secret billing/omie/acme does not exist: create it in this account and region)"
    )


def test_a_read_that_fails_once_is_repeated():
    lab = Lab(contracts=20)
    lab.omie.faults.replace([Fault("html", nth=frozenset({2, 5}))])

    assert plan(lab)["plan"]["hash"] == plan(Lab(contracts=20))["plan"]["hash"]


# --- memory


class Streams:
    """Jestor, Omie, the ledger and S3 that hold nothing: rows are made as they are read, lines go to a file.

    Of ten contracts one is unknown to Omie, though its customer is known. The interpreter keeps up to 2,000 freed
    tuples of each length for later: that is bounded, but looks like growth, so every hundred rows gives them back.
    """

    bucket = "file"

    def __init__(self, contracts):
        lab = Lab(contracts=7, clean=True)
        pattern = next(c for c in lab.world.contracts if c.omie_company == "acme")
        self.numbers = range(1, contracts + 1)
        self.columns = lab.jestor_client().properties(CONTRACTS_TABLE)
        self.row, self.cliente, self.cadastro = pattern.jestor_row, pattern.omie_cliente, pattern.omie_contrato
        self.file = None

    def by_hundreds(self):
        for number in self.numbers:
            if number % 100 == 0:
                gc.collect()
            yield number

    def properties(self, table):
        return self.columns

    def iter_records(self, table, *, filters, select):
        for number in self.by_hundreds():
            yield self.row | {
                CONTRACT_ID: 900000000 + number,
                FIELDS["name"]: f"Customer {number}",
                FIELDS["omie_id"]: None,
            }

    def iter_contratos(self, keep):
        """As parsed from JSON, no two share a value that planning keeps; every page is young enough to be handed on."""
        for number in self.by_hundreds():
            if number % 100 == 0:
                keep(number // 100 + 1, START.timestamp(), [self.cadastro] * 100)
            if number % 10:
                yield self.cadastro | {
                    "cabecalho": self.cadastro["cabecalho"]
                    | {
                        "nCodCtr": 900000000 + number,
                        "cCodIntCtr": f"JST-{900000000 + number}",
                        "cNumCtr": f"2026/{900000000 + number}",
                        "cCodSit": str(10),
                        "nCodCli": 900000000 + number,
                    }
                }

    def iter_clientes(self):
        for number in self.numbers:
            yield self.cliente | {"codigo_cliente_omie": 900000000 + number}

    def obter_contratos(self, cEtapa):
        return ((900000000 + number, "") for number in self.numbers) if cEtapa == 20 else []

    def put_json(self, key, value):
        pass

    def put_text(self, key, text, content_type):
        pass

    def get_many(self, keys):
        return {}

    def by_month(self, company, month):
        return iter(())

    def held_many(self, codes):
        gc.collect()
        return set()

    def put_plan(self, *_, **__):
        pass

    @contextmanager
    def plan_writer(self, key):
        writer = PlanWriter(None, "bucket", key)
        yield writer
        self.close()
        self.file = writer._file

    def read_lines(self, key):
        self.file.seek(0)
        return (line.decode().removesuffix("\n") for line in self.file)

    def close(self):
        if self.file:
            self.file.close()


def peak_of_planning(streams):
    """Bytes at the highest point of one plan, above where it began."""
    deps = PlanDeps(
        settings=demo_settings(),
        jestor=lambda: streams,
        omie=lambda company: streams,
        ledger=streams,
        runs=streams,
        objects=streams,
        clock=VirtualClock(START),
    )
    asked = {
        "company": "acme",
        "month": "2026-12",
        "run": "2026-12#mensalidade#acme",
        "generation": 1,
        "preview": False,
        "execution": "arn:execution:one",
        "contracts_per_minute": 240,
    }
    gc.freeze()  # what is there already need not be looked through each time
    tracemalloc.start()
    try:
        plan_company(asked, deps)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.unfreeze()
        streams.close()


@pytest.mark.slow
def test_memory_grows_by_less_than_1_kb_a_contract():
    few, many = 300, 900
    peak_of_planning(Streams(30))  # imports and caches fill outside of the measure

    slope = (peak_of_planning(Streams(many)) - peak_of_planning(Streams(few))) / (many - few)

    assert 0 < slope < 1024, f"{slope:.0f} bytes a contract"


def test_what_omie_lacks_of_a_known_customer_is_said_where_its_customers_are_read():
    lab = Lab(60)
    app = lab.omie.apps["acme"]
    known = next(c for c in lab.world.contracts if c.kind == "match" and c.omie_company == "acme")
    nCodCli = known.omie_contrato["cabecalho"]["nCodCli"]
    app.add_customer(app.customer(nCodCli) | {"endereco_numero": "", "cep": "20040-020", "estado": "SP"})

    found = lines(lab, plan(lab))

    assert found[known.code].warnings == (
        "Sem número no cadastro do cliente no Omie: a prefeitura pode rejeitar a NFS-e.",
        "No cadastro do cliente no Omie: O CEP é de RJ e o estado é SP: a prefeitura pode rejeitar a NFS-e.",
    )
    assert found[known.code].action == "bill"


def test_one_contract_with_a_pasted_book_parks_and_long_descriptions_leave_in_messages_that_fit():
    lab = Lab(60, clean=True)
    mine = [c for c in lab.world.contracts if c.omie_company == "acme"]
    for each in mine:
        text = "ç" * (400_000 if each is mine[0] else 12_000)
        change = {"table": CONTRACTS_TABLE, "id": each.jestor_id, "data": {FIELDS["description"]: text}}
        lab.jestor.edit(change, lab.now())

    planned = plan(lab)

    found = lines(lab, planned)
    assert {c for c, line in found.items() if line.reason_code == "too_large"} == {mine[0].code}
    sent = [line["contract"] for batch in batches(lab, planned) for line in batch["lines"]]
    assert sorted(sent) == sorted(each.code for each in mine[1:])
    for message in lab.objects.read_lines(planned["batches"]["key"]):
        assert len(json.dumps({"token": "t" * 1_000, "batch": json.loads(message)}).encode()) < 200_000
    assert len(json.dumps(planned).encode()) < 10_000
