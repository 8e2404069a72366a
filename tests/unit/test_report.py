import csv
import io
import json
import re
import tracemalloc
from dataclasses import replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest

from billing import report as module
from billing.domain.month import BillingMonth
from billing.domain.plan import Reason
from billing.report import (
    ADVICE,
    LIMIT,
    CancelledOrder,
    Charged,
    ContractLine,
    Difference,
    Listing,
    NeedsPerson,
    Run,
    Situation,
    Tally,
    Where,
    charts,
    csv_tee,
    month_name,
    render_html,
    render_json,
    summarise,
    verdict,
    write_csv,
)

RUN = Run(
    month=BillingMonth(2026, 12),
    run="2026-12#mensalidade",
    generation=1,
    execution="execution-1",
    started_at=datetime(2026, 12, 1, 9, 0, tzinfo=UTC),
    finished_at=datetime(2026, 12, 1, 9, 9, tzinfo=UTC),
    companies={"acme": "Acme", "nimbus": "Nimbus"},
    plan_hash={"acme": "5f1d7a84"},
    versions={"billing-ops": "0.1.0"},
)
BILLED = ContractLine("acme", "JST-1", "Padaria São João", Situation.BILLED, 120_050, previous_amount=120_050)
PARKED = ContractLine("acme", "JST-2", "Café", Situation.PARKED, 5_000, reason_code="bad_row", reason="Corrija o CNPJ")
SKIPPED = ContractLine("nimbus", "JST-3", "Ótica", Situation.SKIPPED, 900, reason_code="draft", reason="Rascunho")
LINES = (BILLED, PARKED, SKIPPED)
PLANNED = {"acme": Tally(2, 125_050), "nimbus": Tally(1, 900)}


def many(number, line):
    return [replace(line, contract=f"JST-{n}", customer=f"Cliente {n}", amount=line.amount + n) for n in range(number)]


def planned(lines):
    return {
        key: sum((Tally(1, line.amount) for line in lines if line.company == key), Tally()) for key in RUN.companies
    }


# --- the balance and the verdict


def test_every_planned_contract_is_billed_or_explained():
    report = summarise(RUN, PLANNED, LINES)
    assert report.balanced
    assert report.total.planned == Tally(3, 125_950)
    assert report.total.billed == Tally(1, 120_050)
    assert str(verdict(report)) == (
        "Faturado, com pendências: 1 contrato faturado, R$ 1.200,50. 1 contrato segue em aberto e precisa de você."
    )


def test_the_verdict_agrees_in_number():
    lines = many(1_500, replace(BILLED, cause="Upsell: R$ 1,00 → R$ 2,00"))
    assert str(verdict(summarise(RUN, planned(lines), lines))) == (
        "Tudo certo: 1.500 contratos faturados, R$ 1.811.992,50. Nada precisa de você."
    )


def test_a_contract_that_got_lost_is_an_imbalance():
    report = summarise(RUN, PLANNED, [BILLED, SKIPPED])
    assert not report.balanced
    assert verdict(report).tone == "bad"
    assert str(verdict(report)).startswith(
        "Atenção: as contas não fecham. Acme: 1 contrato do plano (R$ 50,00) não está faturado nem explicado."
    )


def test_a_contract_nobody_can_explain_is_an_imbalance():
    report = summarise(RUN, PLANNED, [replace(BILLED, situation=Situation.UNEXPLAINED), PARKED, SKIPPED])
    assert not report.balanced
    assert report.unexplained.rows[0].contract == "JST-1"
    assert "Sem explicação" in render_html(report)


def test_an_unexplained_contract_unbalances_even_when_the_sums_agree():
    stray = replace(BILLED, contract="JST-9", situation=Situation.UNEXPLAINED)
    report = summarise(RUN, PLANNED, [*LINES, stray])
    assert not report.balanced
    assert "Acme: 1 contrato fora do plano e sem explicação." in str(verdict(report))


def test_a_contract_nobody_planned_is_an_imbalance():
    report = summarise(RUN, PLANNED, [*LINES, replace(BILLED, contract="JST-9")])
    assert "Acme: 1 contrato a mais do que o plano previa" in str(verdict(report))


@pytest.mark.parametrize(("billed", "said"), [(120_000, "R$ 0,50 a menos"), (120_100, "R$ 0,50 a mais")])
def test_one_centavo_more_or_less_is_an_imbalance(billed, said):
    report = summarise(RUN, PLANNED, [replace(BILLED, amount=billed), PARKED, SKIPPED])
    assert f"Acme: {said} do que o plano previa." in str(verdict(report))


def test_errors_of_two_companies_do_not_cancel_out():
    moved = [replace(BILLED, company="nimbus"), PARKED, replace(SKIPPED, company="acme")]
    report = summarise(RUN, {"acme": Tally(2, 125_050), "nimbus": Tally(1, 900)}, moved)
    assert report.total.gap == Tally()
    assert not report.balanced


FEE = Charged("acme", "JST-1", "Padaria São João", 1234, "Encargos <por> atraso", "Multa...\nJuros...")


def test_what_is_charged_once_is_shown_with_its_arithmetic():
    report = summarise(RUN, planned([BILLED]), [replace(BILLED, additions=(FEE, replace(FEE, amount=9, proof="")))])
    assert (report.additions.count, report.additions_amount, report.owed.count) == (2, 1243, 0)
    page = render_html(report)
    assert "Acréscimos destas cobranças" in page
    assert "Encargos &lt;por&gt; atraso" in page
    assert "<p>Juros...</p>" in page
    assert json.loads(render_json(report))["additions_amount"] == {"centavos": 1243, "reais": "12.43"}
    assert json.loads(render_json(report))["additions"]["rows"][0]["proof"] == "Multa...\nJuros..."
    assert "Acréscimos destas" not in render_html(summarise(RUN, planned([BILLED]), [BILLED]))


@pytest.mark.parametrize("code", ["churned", "suspended", "ended", "other_status"])
def test_what_a_contract_without_a_next_bill_owes_is_listed_and_counted_nowhere(code):
    line = replace(SKIPPED, reason_code=code, additions=(FEE,))
    report = summarise(RUN, planned([line]), [line])
    assert (report.owed.rows, report.owed_amount, report.additions.count) == ((FEE,), 1234, 0)
    assert report.balanced
    assert report.total.skipped.amount == SKIPPED.amount
    assert "Encargos de clientes encerrados" in render_html(report)


@pytest.mark.parametrize("line", [SKIPPED, PARKED, replace(SKIPPED, reason_code="billed_in_omie")])
def test_what_waits_for_its_next_bill_is_no_matter_for_a_person(line):
    report = summarise(RUN, planned([line]), [replace(line, additions=(FEE,))])
    assert (report.owed.count, report.additions.count) == (0, 0)


def test_charges_withdrawn_after_the_plan_explain_the_difference_to_the_centavo():
    report = summarise(RUN, planned([BILLED]), [replace(BILLED, amount=BILLED.amount - 1234, withdrawn=1234)])
    assert report.balanced
    assert report.total.withdrawn == Tally(0, 1234)
    assert "encargos retirados, de títulos pagos ou alterados depois do plano" in render_html(report)
    short = summarise(RUN, planned([BILLED]), [replace(BILLED, amount=BILLED.amount - 1235, withdrawn=1234)])
    assert not short.balanced


def test_notes_about_no_contract_are_told_beside_the_warnings():
    report = summarise(replace(RUN, notes={"acme": ("1 título atrasado sem contrato",)}), planned([BILLED]), [BILLED])
    assert [(row.company, row.contract, row.text) for row in report.notices.rows] == [
        ("acme", "", "1 título atrasado sem contrato")
    ]
    assert "1 título atrasado sem contrato" in render_html(report)


def test_a_contract_in_doubt_keeps_the_verdict_open():
    report = summarise(RUN, PLANNED, [replace(BILLED, situation=Situation.IN_DOUBT), PARKED, SKIPPED])
    assert report.balanced
    assert verdict(report).tone == "open"
    assert "1 contrato em dúvida: o sistema confere no Omie; não fature à mão." in str(verdict(report))


def test_a_stopped_company_is_named_with_its_reason():
    run = replace(RUN, stopped={"nimbus": "ninguém aprovou o plano."})
    report = summarise(run, {"acme": PLANNED["acme"]}, [BILLED, PARKED])
    assert verdict(report).tone == "bad"
    assert str(verdict(report)).startswith(
        "Atenção: nem todas as empresas foram faturadas. Nimbus: ninguém aprovou o plano. 1 contrato faturado"
    )


def test_what_was_found_is_said_by_the_verdict_the_page_and_the_json_though_every_contract_is_explained():
    run = replace(RUN, findings={"acme": "1 contrato faturado com outro valor: confira-o no Omie."})
    report = summarise(run, PLANNED, LINES)
    assert report.balanced
    assert verdict(report).tone == "bad"
    said = "Atenção: algo não confere. Acme: 1 contrato faturado com outro valor: confira-o no Omie."
    assert str(verdict(report)).startswith(said)
    page = render_html(report)
    assert "Tudo certo" not in page
    assert page.count("faturado com outro valor") == 2
    assert json.loads(render_json(report))["companies"][0]["finding"] == run.findings["acme"]


def test_what_was_found_is_not_lost_beside_a_stopped_company():
    run = replace(RUN, stopped={"nimbus": "ninguém aprovou o plano."}, findings={"acme": "Um valor não confere."})
    said = str(verdict(summarise(run, {"acme": PLANNED["acme"]}, [BILLED, PARKED])))
    assert "Nimbus: ninguém aprovou o plano. Acme: Um valor não confere." in said


def test_an_empty_plan_is_not_all_right():
    assert verdict(summarise(RUN, {}, [])).headline == "Atenção: o plano está vazio."


def test_a_preview_never_says_that_anything_was_billed():
    page = render_html(summarise(replace(RUN, preview=True), PLANNED, LINES))
    assert "PRÉVIA – nada foi faturado" in page
    assert "1 contrato seria faturado" in page
    assert "Tudo certo" not in page
    assert ">Faturado<" not in page
    assert "A faturar" in page


def test_a_line_of_an_unknown_company_is_refused():
    with pytest.raises(KeyError, match="other"):
        summarise(RUN, PLANNED, [replace(BILLED, company="other")])


# --- what needs a person


def test_what_needs_a_person_comes_with_what_to_do_and_where_largest_first():
    lines = [replace(PARKED, amount=100), replace(PARKED, contract="JST-8", amount=9_000, reason_code="omie_rejected")]
    rows = summarise(RUN, planned(lines), lines).needs_person.rows
    assert [row.contract for row in rows] == ["JST-8", "JST-2"]
    assert rows[0].where is Where.OMIE
    assert rows[1].title == "Cadastro incompleto"
    assert rows[1].where is Where.JESTOR


def test_the_use_case_may_know_better_what_to_do():
    line = replace(PARKED, todo="Ligue para o cliente.", where=Where.OMIE)
    row = summarise(RUN, planned([line]), [line]).needs_person.rows[0]
    assert (row.todo, row.where) == ("Ligue para o cliente.", Where.OMIE)


def test_a_reason_without_advice_still_tells_what_happened():
    line = replace(PARKED, reason_code="something_new", reason="Algo novo")
    row = summarise(RUN, planned([line]), [line]).needs_person.rows[0]
    assert row.reason == "Algo novo"
    assert row.todo


def test_every_reason_of_the_plan_has_a_title():
    assert set(Reason) <= set(ADVICE)


@pytest.mark.parametrize(
    "code",
    [
        "omie_rejected",
        "amount_not_planned",
        "created_elsewhere",
        "not_sent",
        "too_many_failures",
        "in_doubt",
        "missed_month",
    ],
)
def test_what_billing_and_settling_park_comes_with_advice(code):
    assert ADVICE[code].todo


def test_waiting_and_parked_doubts_are_not_the_same():
    waiting = replace(BILLED, situation=Situation.IN_DOUBT, reason_code="in_doubt")
    parked = replace(PARKED, reason_code="in_doubt")
    report = summarise(RUN, planned([waiting, parked]), [waiting, parked])
    assert report.in_doubt.rows[0].todo.startswith("Nada, por enquanto")
    assert report.needs_person.rows[0].todo.startswith("Não reenvie. Veja no Omie")


def test_commands_are_set_as_code_and_escaped_around():
    reason = "Rode billing-ops link --contract JST-530 --omie 44. Ou `a<b`."
    line = replace(PARKED, reason=reason)
    page = render_html(summarise(RUN, planned([line]), [line]))
    assert "<code>billing-ops link --contract JST-530 --omie 44</code>. Ou <code>a&lt;b</code>." in page


# --- differences


def test_the_differences_bridge_last_month_to_this_one():
    lines = [
        replace(BILLED, contract="JST-1", amount=150, previous_amount=100, cause="Upsell: mais"),
        replace(BILLED, contract="JST-2", amount=80, previous_amount=100, cause="Downgrade: menos"),
        replace(BILLED, contract="JST-3", amount=70, previous_amount=None, cause="Primeiro faturamento"),
        replace(BILLED, contract="JST-4", amount=60, previous_amount=60, cause="Sem mudança"),
        replace(PARKED, contract="JST-5", amount=50, previous_amount=40),
        replace(BILLED, contract="JST-6", amount=30, previous_amount=30, situation=Situation.IN_DOUBT),
        replace(SKIPPED, contract="JST-7", amount=30, previous_amount=None),
    ]
    run = replace(RUN, vanished=(Difference("acme", "JST-8", "Foi", 25, None, "Não faturado: fora do Jestor"),))
    report = summarise(run, planned(lines), lines)
    assert report.previous == Tally(6, 355)
    assert {row.contract: row.difference for row in report.differences.rows} == {
        "JST-3": 70, "JST-1": 50, "JST-5": -40, "JST-6": -30, "JST-8": -25, "JST-2": -20,
    }  # fmt: skip
    assert report.previous.amount + sum(total.difference for total in report.causes) == report.total.billed.amount
    assert [(total.cause, total.count, total.difference) for total in report.causes] == [
        ("Primeiro faturamento", 1, 70),
        ("Não faturado", 2, -65),
        ("Upsell", 1, 50),
        ("Em dúvida", 1, -30),
        ("Downgrade", 1, -20),
    ]


def test_the_first_month_has_nothing_to_compare_with():
    line = replace(BILLED, previous_amount=None, cause="Primeiro faturamento")
    page = render_html(summarise(RUN, planned([line]), [line]))
    assert "Não há mês anterior registrado" in page
    assert "Contrato a contrato" not in page


def test_skipped_contracts_are_counted_by_reason():
    lines = [SKIPPED, replace(SKIPPED, contract="JST-4"), replace(SKIPPED, reason_code="ended", reason="x")]
    reasons = summarise(RUN, planned(lines), lines).skipped
    assert [(reason.title, reason.count) for reason in reasons] == [("Rascunho no Jestor", 2), ("Já terminou", 1)]


# --- the page


class Outline(HTMLParser):
    """Tags, attributes and text, to look for what must and must not be there."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.words, self.open = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "action"}]
        if tag not in {"meta", "input", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize("situation", list(Situation))
def test_the_page_is_well_formed_and_needs_no_other_file(preview, situation):
    lines = [
        *LINES,
        replace(BILLED, contract="JST-9", situation=situation, previous_amount=1, warnings=("Sem e-mail",)),
    ]
    page = render_html(summarise(replace(RUN, preview=preview), planned(lines), lines))
    outline = Outline(page)
    assert outline.open == []
    assert outline.links == []
    assert outline.tags.count("script") == 1
    assert "url(" not in re.sub(r"url\(#[a-z-]+\)", "", page)
    assert "http" not in page.replace("http-equiv", "")


def test_everything_from_data_is_escaped():
    attack = '<script>alert("x")</script><b onclick=x>'
    lines = [
        ContractLine(
            "acme", attack, attack, situation, 100, reason_code=code, reason=attack, todo=attack, previous_amount=1,
            cause=attack, warnings=(attack,),
        )
        for situation in Situation
        for code in ("bad_row", attack)
    ]  # fmt: skip
    run = replace(
        RUN,
        run=attack,
        execution=attack,
        companies={"acme": attack},
        plan_hash={"acme": attack},
        approval={"acme": attack},
        stopped={"acme": attack},
        findings={"acme": attack},
        versions={attack: attack},
        csv_name=attack,
    )
    page = render_html(summarise(run, {"acme": Tally(1, 1)}, lines))
    assert attack not in page
    assert "<b onclick" not in page
    outline = Outline(page)
    assert outline.tags.count("script") == 1
    assert any(attack in words for words in outline.words)


def test_only_the_page_s_own_script_may_run():
    page = render_html(summarise(RUN, PLANNED, LINES))
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert script is not None
    assert policy is not None
    assert module._script_hash(script[1]) in policy[1]
    assert "default-src 'none'" in policy[1]


def test_a_table_never_shows_more_than_its_limit():
    lines = [
        *many(LIMIT + 7, replace(PARKED, previous_amount=1)),
        *many(LIMIT + 9, replace(BILLED, previous_amount=1, warnings=("Sem e-mail",))),
    ]
    page = render_html(summarise(RUN, planned(lines), lines))
    assert "… e mais 7 no CSV" in page  # needs a person
    assert "… e mais 9 no CSV" in page  # notices
    assert f"… e mais {LIMIT + 16} no CSV" in page  # differences
    assert page.count("<tr>") < 2 * LIMIT + 30


def test_a_report_handed_in_with_too_many_rows_is_cut_all_the_same():
    rows = (NeedsPerson("acme", "JST-1", "x", 1, "t", "r", "d", Where.OMIE),) * (LIMIT + 1)
    report = replace(summarise(RUN, PLANNED, LINES), needs_person=Listing(rows, len(rows)))
    assert "… e mais 1 no CSV" in render_html(report)
    assert len(json.loads(render_json(report))["needs_person"]["rows"]) == LIMIT


@pytest.mark.slow
def test_memory_stays_flat_however_many_contracts():
    def peak(number):
        tracemalloc.start()
        lines = (replace(PARKED, contract=f"JST-{n}", amount=n, warnings=("a",)) for n in range(number))
        summarise(RUN, {}, lines)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(8_000)  # fills the interpreter's own free lists, which are no growth of the report
    assert peak(8_000) < 1.5 * peak(2_000)


def test_the_charts_say_in_words_what_they_show():
    by_count, by_amount = charts(summarise(RUN, PLANNED, LINES))
    assert by_count.description.startswith("Acme: faturado 1, pulado, com motivo 0, precisa de você 1.")
    assert "Nimbus: faturado R$ 0,00" in by_amount.description
    assert by_amount.description in render_html(summarise(RUN, PLANNED, LINES))
    assert [bar.share for bar in by_amount.groups[0][1]] == [100, 0, 4.16]


def test_no_amount_is_torn_from_its_currency():
    page = render_html(summarise(RUN, PLANNED, LINES))
    body = re.sub(r"<svg.*?</svg>", "", page.partition("<body>")[2], flags=re.DOTALL)
    assert "R$ " not in body
    assert "R$\N{NO-BREAK SPACE}1.200,50" in body


def test_the_same_report_gives_the_same_page():
    assert render_html(summarise(RUN, PLANNED, LINES)) == render_html(summarise(RUN, PLANNED, LINES))


def test_times_are_those_of_sao_paulo():
    late = replace(RUN, finished_at=datetime(2027, 1, 1, 1, 30, tzinfo=UTC))
    assert "31 de dezembro de 2026, 22:30" in render_html(summarise(late, PLANNED, LINES))
    assert "1º de dezembro de 2026, 06:09" in render_html(summarise(RUN, PLANNED, LINES))


def test_months_are_named():
    assert [month_name(BillingMonth(2026, number)) for number in (1, 3, 12)] == [
        "janeiro de 2026",
        "março de 2026",
        "dezembro de 2026",
    ]


# --- JSON


def test_the_json_carries_centavos_and_reais():
    data = json.loads(render_json(summarise(RUN, PLANNED, LINES)))
    assert data["schema"] == "billing-ops/report/1"
    assert data["balanced"] is True
    assert data["total"]["billed"] == {"count": 1, "amount": {"centavos": 120050, "reais": "1200.50"}}
    assert data["run"]["month"] == "2026-12"
    assert data["run"]["started_at"] == "2026-12-01T09:00:00+00:00"
    assert data["companies"][0]["gap"] == {"count": 0, "amount": {"centavos": 0, "reais": "0.00"}}
    assert data["needs_person"]["rows"][0]["amount"] == {"centavos": 5000, "reais": "50.00"}


def test_the_json_of_differences_keeps_the_sign_and_the_missing_side():
    line = replace(PARKED, previous_amount=5)
    row = json.loads(render_json(summarise(RUN, planned([line]), [line])))["differences"]["rows"][0]
    assert row["now"] is None
    assert row["difference"] == {"centavos": -5, "reais": "-0.05"}


def test_the_json_is_stable():
    text = render_json(summarise(RUN, PLANNED, LINES))
    assert text == json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False, indent=2) + "\n"


# --- CSV


def rows_of(*lines, run=RUN):
    file = io.StringIO()
    assert write_csv(run, lines, file) == len(lines)
    text = file.getvalue()
    assert text.encode().startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(text[1:]), delimiter=";"))


def test_the_csv_is_what_excel_in_brazil_expects():
    line = replace(BILLED, amount=120_050, previous_amount=130_000, due_date=date(2026, 12, 10), nCodCtr=44, nCodOS=91)
    row = rows_of(line)[0]
    assert row["Valor"] == "1200,50"
    assert row["Diferença"] == "-99,50"
    assert row["Vencimento"] == "10/12/2026"
    assert row["Competência"] == "12/2026"
    assert row["Situação"] == "faturado"
    assert (row["Código Omie"], row["OS"]) == ("44", "91")


def test_the_csv_says_what_to_do_with_what_is_parked():
    row = rows_of(PARKED)[0]
    assert row["Onde"] == "Jestor"
    assert row["O que fazer"].startswith("Corrija os campos do contrato.")
    assert "`" not in row["O que fazer"]


@pytest.mark.parametrize("name", ["=1+1", "+55", "-x", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1", "\n"])
def test_no_name_becomes_a_formula(name):
    assert rows_of(replace(BILLED, customer=name))[0]["Cliente"].startswith("'")


@pytest.mark.parametrize("name", ["Padaria; Filhos", 'Bar "do Zé"', "Duas\nlinhas", "3 - Irmãos", ""])
def test_names_survive_the_csv(name):
    assert rows_of(replace(BILLED, customer=name))[0]["Cliente"] == name


def test_the_csv_of_a_preview_says_to_be_billed():
    assert rows_of(BILLED, run=replace(RUN, preview=True))[0]["Situação"] == "a faturar"


def test_one_pass_writes_the_csv_and_counts():
    file = io.StringIO()
    report = summarise(RUN, PLANNED, csv_tee(RUN, iter(LINES), file))
    assert report.balanced
    assert len(file.getvalue().splitlines()) == 1 + len(LINES)


# --- what is open, unknown, jumped, cancelled


def test_a_parked_contract_whose_price_is_unknown_is_not_shown_as_nothing():
    unknown = replace(PARKED, contract="JST-7", amount=0, amount_unknown=True)
    report = summarise(RUN, planned([PARKED, unknown]), [unknown, PARKED])
    assert [row.amount for row in report.needs_person.rows] == [5_000, None]
    assert report.balanced
    page = render_html(report)
    assert "valor desconhecido em 1" in page
    assert ">–</td>" in page
    assert "R$\N{NO-BREAK SPACE}0,00</td>" not in page.split("<h2>Precisa de você")[1].split("</section>")[0]
    assert json.loads(render_json(report))["needs_person"]["rows"][1]["amount"] is None
    file = io.StringIO(newline="")
    write_csv(RUN, [unknown], file)
    assert next(csv.DictReader(io.StringIO(file.getvalue().lstrip("\ufeff")), delimiter=";"))["Valor"] == ""


@pytest.mark.parametrize(
    ("number", "preview", "said"),
    [
        (1, False, "1 contrato segue em aberto e precisa de você."),
        (25, False, "25 contratos seguem em aberto e precisam de você."),
        (1, True, "1 contrato não seria faturado e precisa de você."),
        (25, True, "25 contratos não seriam faturados e precisam de você."),
    ],
)
def test_what_is_open_is_said_and_never_green(number, preview, said):
    lines = [BILLED, *many(number, PARKED)]
    found = verdict(summarise(replace(RUN, preview=preview), planned(lines), lines))
    assert (found.tone, "com pendências:" in found.headline) == ("open", True)
    assert found.text.endswith(said)


def test_the_page_names_the_files_that_are_there_and_how_to_get_them():
    page = render_html(summarise(replace(RUN, csv_name="faturamento-2026-12-1-x.csv"), PLANNED, LINES))
    assert "report.csv" not in page
    assert "<code>billing-ops report --month 2026-12 --format csv</code> baixa faturamento-2026-12-1-x.csv" in page


def test_the_jumps_of_a_plan_that_waits_stand_on_top_the_largest_first():
    waits = replace(RUN, preview=True, waits={"acme": ("Mudança de valor acima do limite em 2 contratos: …",)})
    small = replace(BILLED, jumped_from=60_025, warnings=("Mudança grande: a → b.", "Sem e-mail."))
    large = replace(BILLED, contract="JST-5", amount=15_053_500, jumped_from=150_535)
    report = summarise(waits, planned([small, large]), [small, large])
    assert [(jump.contract, jump.percent) for jump in report.jumps.rows] == [("JST-5", "+9.900 %"), ("JST-1", "+100 %")]
    assert [notice.text for notice in report.notices.rows] == ["Sem e-mail."]
    found = verdict(report)
    assert (found.tone, found.headline) == ("open", "Este plano vai esperar aprovação:")
    assert found.text.startswith("Acme: Mudança de valor")
    page = render_html(report)
    assert page.index('id="saltos"') < page.index("<h2>Precisa de você")


def test_the_banner_names_the_largest_jump_and_leaves_the_others_to_the_table():
    reason = "Mudança de valor acima do limite em 3 contratos: JST-1 R$ 1,00 → R$ 9,00 (+800 %); JST-2 R$ 2; e mais 1."
    waits = replace(RUN, preview=True, waits={"acme": (reason, "São 9 contratos, mais que o limite de 8.")})
    said = str(verdict(summarise(waits, planned([BILLED]), [BILLED])))
    assert (
        "em 3 contratos; a maior: JST-1 R$ 1,00 → R$ 9,00 (+800 %). Acme: São 9 contratos, mais que o limite de 8."
        in said
    )
    assert "JST-2" not in said


def test_a_rejection_is_told_as_a_sentence_of_its_own():
    run = replace(RUN, stopped={"nimbus": "O plano foi rejeitado: Limite errado (por operador)"})
    assert "Nimbus: O plano foi rejeitado: Limite errado (por operador). 1 contrato" in str(
        verdict(summarise(run, planned([BILLED]), [BILLED]))
    )


def test_a_jump_is_measured_without_what_is_charged_once():
    waits = replace(RUN, preview=True, waits={"acme": ("…",)})
    line = replace(BILLED, amount=101_234, additions=(FEE,), jumped_from=50_000)
    [jump] = summarise(waits, planned([line]), [line]).jumps.rows
    assert (jump.before, jump.now, jump.difference) == (50_000, 100_000, 50_000)


@pytest.mark.parametrize(
    ("share", "green"), [(5, True), (4, False), (0, False), (100, True)]
)  # 5 of 100: exactly the share is not beyond it
def test_beyond_its_share_what_people_billed_is_never_green(share, green):
    lines = [replace(line, by_person=number < 5) for number, line in enumerate(many(100, BILLED))]
    lines = [replace(line, previous_amount=line.amount) for line in lines]
    report = summarise(replace(RUN, adopted_share={"acme": share}), planned(lines), lines)
    assert (verdict(report).tone == "ok") is green
    assert "Faturados por uma pessoa: 5 (R$ 6.002,60)." in str(verdict(report))
    assert report.by_person.count == 5


def test_cancelled_orders_are_named():
    gone = CancelledOrder("acme", "JST-1", "Padaria São João", 120_050, 77)
    report = summarise(replace(RUN, cancelled_orders=(gone,)), planned([BILLED]), [BILLED])
    assert verdict(report).tone == "open"
    assert "1 contrato faturado teve a OS cancelada no Omie e não está cobrado: R$ 1.200,50." in str(verdict(report))
    assert "Padaria São João" in render_html(report).split("OS canceladas no Omie")[1].split("</section>")[0]


@pytest.mark.parametrize("trouble", ["gap", "stopped", "finding", "doubt"])
def test_what_must_be_looked_at_is_said_beside_any_other_trouble(trouble):
    gone = CancelledOrder("acme", "JST-1", "Padaria São João", 120_050, 77)
    run, lines, plan = replace(RUN, cancelled_orders=(gone,)), [BILLED], planned([BILLED])
    match trouble:
        case "gap":
            plan = {"acme": Tally(2, 0)}
        case "stopped":
            run = replace(run, stopped={"nimbus": "parou"})
        case "finding":
            run = replace(run, findings={"acme": "algo"})
        case "doubt":
            lines = [*lines, replace(PARKED, situation=Situation.IN_DOUBT)]
            plan = planned(lines)
    assert "OS cancelada no Omie" in str(verdict(summarise(run, plan, lines)))
