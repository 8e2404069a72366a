"""One row, one title, one contract of Omie or one message that nobody foresaw: said of it alone, the others go on."""

import json
import logging
from dataclasses import replace
from hashlib import sha256

import pytest

from billing import agree, bill_batch, close_run, plan_company, sweep_contracts, sweep_invoices
from billing.domain.charge import ChargeKey, State
from billing.domain.month import BillingMonth
from billing.domain.plan import PlanLine
from billing.unreadable import note
from simulators.lab import Lab
from simulators.living_lab import LivingLab
from simulators.world import FIELDS
from tests.simulation.rows import Spoiled, told

DECEMBER = BillingMonth(2026, 12)


@pytest.fixture(scope="module")
def always():
    return told(Spoiled())


@pytest.fixture(scope="module")
def billed(always):
    """A contract that is billed as it stands, and the code of it."""
    return next(
        int(code.removeprefix("JST-"))
        for code, each in always.of.items()
        if "billed" in each and "charge cadastro" not in each
    )


@pytest.mark.parametrize(
    ("fields", "action", "code"),
    [
        ({FIELDS["start"]: "9999-12-31"}, "skip", "not_started"),
        ({FIELDS["start"]: "9999-12-01"}, "skip", "not_started"),
        ({FIELDS["end"]: "9999-12-31"}, "bill", ""),
        ({FIELDS["change_from"]: "9999-12-31", FIELDS["unit_amount"]: 999}, "bill", ""),
        ({FIELDS["start"]: "0026-12-01"}, "park", "bad_row"),
        ({FIELDS["quantity"]: "1e9999"}, "park", "bad_row"),
        ({FIELDS["quantity"]: 10**400}, "park", "bad_row"),
        ({FIELDS["quantity"]: "1.000"}, "park", "bad_row"),
        ({FIELDS["quantity"]: float("nan")}, "park", "bad_row"),
        ({FIELDS["quantity"]: float("inf")}, "park", "bad_row"),
        ({FIELDS["quantity"]: 10**9, FIELDS["unit_amount"]: 10**9}, "park", "bad_row"),
        ({FIELDS["unit_amount"]: 10**400}, "park", "bad_row"),
        ({FIELDS["name"]: "\ud800"}, "park", "bad_row"),
        ({FIELDS["customer_name"]: "a\x00b"}, "park", "bad_row"),
        ({FIELDS["description"]: "\udfff"}, "park", "bad_row"),
        ({FIELDS["company"]: {"a": [1]}}, "park", "bad_row"),
        ({FIELDS["status"]: [["Ativo", "Ativo"]]}, "park", "bad_row"),
        ({FIELDS["draft"]: {"a": 1}}, "park", "bad_row"),
        ({"cliente": [[[]]]}, "park", "bad_row"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_billed_waits_or_parks_and_the_others_get_what_they_always_get(
    fields, action, code, always, billed
):
    found = told(Spoiled(row=billed, fields=fields))
    (line,) = found.of[f"JST-{billed}"]["plan"]
    assert (line["action"], line["reason_code"]) == (action, code)
    assert found.without(f"JST-{billed}") == always.without(f"JST-{billed}")


def test_whatever_planning_one_row_raises_parks_that_row_and_is_logged_without_its_data(
    always, billed, monkeypatch, caplog
):
    real = plan_company.plan_contract

    def plan(row, **given):
        if row.jestor_id == billed and hasattr(row, "customer"):
            raise KeyError("Padaria Pão & Cia")
        return real(row, **given)

    monkeypatch.setattr(plan_company, "plan_contract", plan)
    with caplog.at_level(logging.ERROR):
        found = told(Spoiled())
    (line,) = found.of[f"JST-{billed}"]["plan"]
    assert (line["action"], line["reason_code"]) == ("park", "unreadable_row")
    assert line["reason"] == (
        f"Não foi possível ler o contrato JST-{billed} (KeyError): confira no Jestor se algum campo traz um valor "
        "estranho e digite-o de novo; se nada estiver errado, avise quem cuida do sistema."
    )
    assert found.of[f"JST-{billed}"]["report"]["Situação"] == "parado"
    assert found.without(f"JST-{billed}") == always.without(f"JST-{billed}")
    assert f"planning JST-{billed} (KeyError at test_one_row.py:" in caplog.text
    assert "Padaria" not in caplog.text


def test_a_row_that_was_billed_stays_billed_when_it_cannot_be_read_any_more(monkeypatch):
    lab = Lab(contracts=12, seed=4)
    first = lab.run(trigger="operator")
    row = next(iter(lab.ledger.by_month("acme", DECEMBER, {State.BILLED}))).key.contract

    def plan(contract, **given):
        if contract.code == row and hasattr(contract, "customer"):
            raise ArithmeticError
        return real(contract, **given)

    real = plan_company.plan_contract
    monkeypatch.setattr(plan_company, "plan_contract", plan)
    lab.clock.advance(3600)
    again = lab.run(trigger="operator")
    assert again["balanced"]
    assert [each["billed"] for each in again["companies"]] == [each["billed"] for each in first["companies"]]


def test_whatever_sweeping_one_row_raises_is_told_of_that_row(always, billed, monkeypatch):
    real = sweep_contracts.decide

    def decide(row, *args, **given):
        if row is not None and row.jestor_id == billed:
            raise OverflowError
        return real(row, *args, **given)

    monkeypatch.setattr(sweep_contracts, "decide", decide)
    found = told(Spoiled())
    assert ("problems", "tell") in {(kind, what) for _, kind, what, _ in found.of[f"JST-{billed}"]["sweep"]}
    assert found.without(f"JST-{billed}") == always.without(f"JST-{billed}")


def test_whatever_reporting_one_row_raises_leaves_the_books_balanced(always, billed, monkeypatch):
    real = close_run.ContractLine

    def line(**given):
        if given["contract"] == f"JST-{billed}" and "cause" in given:
            raise TypeError
        return real(**given)

    monkeypatch.setattr(close_run, "ContractLine", line)
    found = told(Spoiled())
    report = found.of[f"JST-{billed}"]["report"]
    assert report["Situação"] == "faturado"
    assert "não puderam ser lidos (TypeError)" in report["Avisos"]
    assert found.without(f"JST-{billed}") == always.without(f"JST-{billed}")


def test_whatever_billing_one_contract_raises_parks_it_and_the_batch_goes_on(always, billed, monkeypatch):
    real = bill_batch.mapping.total

    def total(cadastro, on=None):
        if cadastro["cabecalho"]["nCodCtr"] == number:
            raise ValueError
        return real(cadastro, on)

    number = always.of[f"JST-{billed}"]["plan"][0]["nCodCtr"]

    class Mapping:
        def __getattr__(self, name):
            return total if name == "total" else getattr(real_mapping, name)

    real_mapping = bill_batch.mapping
    monkeypatch.setattr(bill_batch, "mapping", Mapping())
    found = told(Spoiled())
    state, _, code, *_ = found.of[f"JST-{billed}"]["charge mensalidade"]
    assert (state, code) == ("PARKED", "unreadable_contract")
    assert "libere o contrato" in found.of[f"JST-{billed}"]["report"]["O que fazer"]
    assert "billed" not in found.of[f"JST-{billed}"]
    assert found.without(f"JST-{billed}") == always.without(f"JST-{billed}")


def test_what_raises_after_the_call_went_out_is_left_to_settle(monkeypatch):
    """Not parked: Omie may have billed it. Settle reads, finds the order and records it."""
    lab = Lab(contracts=12, seed=4)
    real = bill_batch._Lane._record
    raised = []

    def record(self, key, event, why, attempt, **facts):
        if event is bill_batch.Event.DONE and key.kind == "mensalidade" and not raised:
            raised.append(key)
            raise KeyError("cDescStatus")
        return real(self, key, event, why, attempt, **facts)

    monkeypatch.setattr(bill_batch._Lane, "_record", record)
    answer = lab.run(trigger="operator")
    assert answer["balanced"]
    charge = lab.ledger.get(raised[0])
    assert charge.state is State.BILLED
    assert len(lab.omie.book.billings) == len({(b.company, b.nCodCtr) for b in lab.omie.book.billings})


def test_a_contract_of_omie_that_cannot_be_read_parks_its_own_row_and_is_not_created_again():
    lab = Lab(contracts=12, seed=4)
    app = lab.omie.apps["acme"]
    here = [contract for contract in lab.world.contracts if contract.omie_company == "acme" and contract.omie_contrato]
    victim = next(contract for contract in here if contract.expected == "bill")
    number = victim.omie_contrato["cabecalho"]["nCodCtr"]
    clients = lab.omie_clients

    def spoiling(*args, **kwargs):
        client_of = clients(*args, **kwargs)

        def client(company):
            made = client_of(company)
            read = made.iter_contratos

            def iter_contratos(keep=None, **filters):
                for cadastro in read(keep, **filters):
                    if cadastro["cabecalho"]["nCodCtr"] == number:
                        cadastro["itensContrato"] = [{"itemCabecalho": {"quant": "muitos"}}, 7]
                    yield cadastro

            made.iter_contratos = iter_contratos
            return made

        return client

    lab.omie_clients = spoiling
    before = len(app.contract_list)
    answer = lab.run(trigger="operator", companies=["acme"])
    assert answer["balanced"]
    assert answer["companies"][0]["billed"] > 3
    plan = next(text for key, text in lab.objects.texts.items() if key.endswith("plan.jsonl"))
    line = next(line for line in map(PlanLine.from_json, plan.splitlines()) if line.contract == victim.code)
    assert (line.action, line.reason_code, line.nCodCtr) == ("park", "unreadable_in_omie", number)
    assert "Não foi possível ler o contrato" in line.reason
    created = [charge for charge in lab.ledger.by_month("acme", DECEMBER) if charge.key.kind == "cadastro"]
    assert len(app.contract_list) == before + len(created)
    assert all(charge.key.contract != victim.code for charge in created)


def test_one_line_of_a_batch_that_cannot_be_read_is_left_to_settle():
    lab = LivingLab(contracts=12, seed=4)
    sent = lab.fifo.send

    def send(group, body):
        if "batch" in body and not spoiled:
            spoiled.append(body["batch"]["lines"][0]["contract"])
            where = body["batch"]["file"]
            content = lab.objects.get_part(where["key"], where["start"], where["length"])
            first, rest = content.split(b"\n", 1)
            odd = b'{"contract": 7}'.ljust(len(first)) + b"\n" + rest
            lab.objects.texts[where["key"]] = lab.objects.get_text(where["key"]).replace(content.decode(), odd.decode())
            where["sha256"] = sha256(odd).hexdigest()
        sent(group, body)

    spoiled = []
    lab.fifo.send = send
    answer = lab.run(trigger="operator")
    assert answer["balanced"]
    charge = lab.ledger.get(ChargeKey(spoiled[0], DECEMBER))
    assert charge.state is State.BILLED  # in the round after


def test_a_message_whose_lines_are_no_keys_is_no_batch():
    message = {
        "company": "acme", "month": "2026-12", "run": "r", "plan_hash": "h", "execution": "e",
        "contracts_per_minute": 60, "lines": [{"contract": "JST-1"}, 7],
    }  # fmt: skip
    with pytest.raises(bill_batch.NoBatch):
        bill_batch._read(json.dumps({"token": "t", "batch": message}))


@pytest.mark.parametrize(
    "fields",
    [
        {"": None},
        {"": [1]},
        {"detalhes": "x"},
        {"detalhes.nCodTitulo": {"a": 1}},
        {"detalhes.nValorTitulo": "1e9999"},
        {"detalhes.nValorTitulo": 10**400},
        {"detalhes.nValorTitulo": float("nan")},
        {"detalhes.dDtVenc": "31/12/9999"},
        {"detalhes.nCodCtr": [[]]},
        {"detalhes.cNumTitulo": "\ud800"},
        {"resumo": 5},
        {"resumo.nValAberto": "muito"},
    ],
    ids=str,
)
def test_a_title_that_cannot_be_read_is_counted_and_the_others_are_told_and_charged(fields, always):
    from tests.simulation.test_rows import lab, others_get_what_they_always_get  # noqa: PLC0415

    title = next(title for title in lab().titles if title.nCodCtr)
    found = others_get_what_they_always_get(Spoiled(title=title.nCodTitulo, fields=fields))
    assert replace(found, of={}).month["unreadable"] in {0, 1}


def test_the_log_names_the_row_the_class_and_the_line_and_nothing_of_the_value(caplog):
    try:
        int("123.456.789-09")
    except ValueError as error:
        kind = note("row 7", error)
    assert kind == "ValueError"
    assert caplog.messages[0].startswith("unreadable: row 7 (ValueError at test_one_row.py:")
    assert "123" not in caplog.messages[0]


ODD = (
    7, None, [], {"OrdemServico": 5}, {"OrdemServico": {"nCodigoOS": "x"}}, {"RPS": {"cDataRPS": "00/13/10000"}},
    {"OrdemServico": {"nCodigoOS": 1, "nCodigoContrato": 2}, "RPS": {"cDataRPS": "31/12/9999"}}, {"nCodOS": {"a": 1}},
    {"nCodOS": 1, "boleto": 3}, {"codigo_cliente_omie": "?", "cnpj_cpf": 5}, {"cabecalho": {"cCodIntCtr": "JST-x"}},
)  # fmt: skip


def with_odd_records(lab, *methods):
    """Each of these lists of Omie's gives the odd ones first."""
    clients = lab.omie_clients

    def odd_first(read):
        def both(*args, **kwargs):
            yield from ODD
            yield from read(*args, **kwargs)

        return both

    def spoiling(*args, **kwargs):
        def client(company):
            made = clients(*args, **kwargs)(company)
            for method in methods:
                setattr(made, method, odd_first(getattr(made, method)))
            return made

        return client

    lab.omie_clients = spoiling


def month_of_invoices(*methods):
    """What the sweep asks to be looked at, and what became of it."""
    lab = LivingLab(contracts=12, seed=4)
    lab.run(trigger="operator")
    lab.clock.advance(7200)
    lab.omie.advance(lab.now())
    with_odd_records(lab, *methods)
    swept = sweep_invoices.sweep_invoices({}, lab.invoice_sweep_deps())
    lab.drain(within=7200)
    outcomes = sorted((each["contract"], each["outcome"]) for name, each in lab.outcomes if name == "invoices")
    return swept, outcomes


def test_a_note_or_a_title_that_cannot_be_read_keeps_no_other_invoice_from_its_customer():
    swept, outcomes = month_of_invoices()
    assert outcomes
    assert month_of_invoices("listar_nfses", "iter_contas_receber") == (swept, outcomes)


def test_customers_that_cannot_be_read_keep_nobody_from_being_planned_and_told():
    def month(*methods):
        lab = LivingLab(contracts=12, seed=4)
        with_odd_records(lab, *methods)
        answer = lab.run(trigger="operator")
        lab.clock.advance(7200)
        return answer["companies"], lab.sync_receivables()

    def without_numbers(result):
        return json.loads(
            json.dumps(result), object_hook=lambda each: {k: v for k, v in each.items() if "key" not in k}
        )

    assert without_numbers(month("iter_clientes")) == without_numbers(month())


def test_whatever_an_order_raises_is_told_in_jestor_and_the_lane_goes_on(monkeypatch):
    lab = LivingLab(contracts=12, seed=4)
    lab.run(trigger="operator")
    lab.clock.advance(7200)
    row, other = [int(c.key.contract[4:]) for c in lab.ledger.by_month("acme", DECEMBER, {State.BILLED})][:2]
    real = agree.decide

    def decide(found, *args, **given):
        if found is not None and found.jestor_id == row:
            raise ZeroDivisionError
        return real(found, *args, **given)

    monkeypatch.setattr(agree, "decide", decide)
    for each in (row, other):
        for post in lab.edit(each, {FIELDS["unit_amount"]: 123.45}):
            lab.arrive(post)
    lab.drain(within=3600)
    outcomes = {each["contract"]: each["outcome"] for name, each in lab.outcomes if name == "agree"}
    assert outcomes[f"JST-{row}"] == "unreadable: ZeroDivisionError"
    assert "alter" in outcomes[f"JST-{other}"]
    assert lab.fifo.messages == []
    assert "não foi possível conferir este contrato com o Omie (ZeroDivisionError)" in lab.row(row)["observacao_omie"]


@pytest.mark.parametrize("spoil", [str.upper, lambda label: f"{label}\u00a0", lambda label: label.replace(" ", "  ")])
def test_a_service_label_in_other_capitals_and_blanks_is_billed_as_always(spoil, always, billed):
    label = LivingLab(contracts=12, seed=4).row(billed)[FIELDS["service"]]
    found = told(Spoiled(row=billed, fields={FIELDS["service"]: spoil(label)}))
    assert found.of == always.of


def test_a_description_with_an_entity_agrees_after_one_correction():
    lab = LivingLab(contracts=12, seed=4)
    lab.run(trigger="operator")
    charge = next(lab.ledger.by_month("acme", DECEMBER, {State.BILLED}))
    row, number = int(charge.key.contract.removeprefix("JST-")), charge.nCodCtr
    lab.edit(row, {FIELDS["description"]: "P&amp;D mensal"})
    ordered = []
    for _ in range(3):
        lab.clock.advance(86400)
        swept = lab.sweep()
        lab.drain(within=3600)
        ordered.append(swept["companies"]["acme"]["ordered"])
    assert ordered == [1, 0, 0]
    cadastro = json.loads(lab.omie.apps["acme"].contracts[number].text)
    assert "P&D mensal" in [item["itemDescrServ"]["descrCompleta"] for item in cadastro["itensContrato"]]
