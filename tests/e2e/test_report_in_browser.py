"""The report as people get it: a file opened in a browser, on a desk, on a phone and on paper."""

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

import pytest

from billing.domain.month import BillingMonth
from billing.report import Charged, ContractLine, Difference, Run, Situation, Tally, render_html, summarise

pytestmark = pytest.mark.browser

RUN = Run(
    month=BillingMonth(2026, 12),
    run="2026-12#mensalidade",
    generation=1,
    execution="2026-12-mensalidade-1",
    started_at=datetime(2026, 12, 1, 9, 0, 4, tzinfo=UTC),
    finished_at=datetime(2026, 12, 1, 9, 9, 41, tzinfo=UTC),
    companies={"acme": "Acme Tecnologia", "nimbus": "Nimbus Serviços em Nuvem"},
    plan_hash={"acme": "5f1d7a84c2d8e9b0", "nimbus": "a0c49e31b77f2d56"},
    approval={"acme": "Aprovado por ana@example.com em 01/12/2026, 06:02."},
    vanished=(Difference("acme", "JST-77", "Livraria Boa Página", 64_000, None, "Não faturado: fora do Jestor"),),
    versions={"billing-ops": "0.1.0", "Python": "3.13"},
)
KINDS = ("Padaria", "Clínica", "Oficina", "Escola", "Mercado", "Farmácia", "Pousada", "Ótica", "Academia", "Gráfica")
NAMES = ("São João", "Boa Esperança", "Irmãos Müller & Cia", "Três Corações", "D'Ávila", "Pão & Prosa", "Ipê Amarelo")
SKIPPED = ("draft", "suspended", "churned", "not_started", "ended", "held")
PARKED = (
    ("bad_row", 'Corrija no Jestor: Valor: "mil e duzentos" não é um valor em reais: escreva como 1200,50 ou 1.200,50'),
    ("bad_row", "Corrija no Jestor: CNPJ: 11.222.333/0001-80 tem dígito verificador errado"),
    ("possible_duplicate", "O cliente já tem no Omie um contrato sem ligação: nº 2026/118 (código 4418823). Se for este: billing-ops link --contract JST-530 --omie 4418823. Se não for, cadastre outro no Omie."),
    ("suspended_in_omie", "O contrato nº 2025/044 (código 4417701) está suspenso no Omie e ativo no Jestor."),
    ("unknown_service", 'O serviço "Consultoria especial" não está na configuração da empresa.'),
    ("omie_rejected", "O Omie recusou o faturamento: a cidade do prestador não está configurada para este serviço."),
)  # fmt: skip


def contracts(seed: int = 7) -> Iterator[ContractLine]:
    """About what a real month looks like: 500 billed, 22 skipped, 9 parked."""
    random = Random(seed)
    for number in range(1, 532):
        company = "acme" if number % 10 < 7 else "nimbus"
        previous: int | None = random.choice((49_000, 89_990, 120_000, 189_050, 249_900, 480_000, 1_250_000))
        assert previous is not None
        amount, cause, warnings = previous, "Sem mudança", ()
        chance = random.random()
        if chance < 0.03:
            amount, cause = previous * 3 // 2, "Upsell: mais licenças"
        elif chance < 0.05:
            amount, cause = previous * 4 // 5, "Downgrade: menos licenças"
        elif chance < 0.07:
            amount, cause = previous + 35_000, "Itens adicionados no Omie: R$ 350,00"
        elif chance < 0.10:
            previous, cause = None, "Primeiro faturamento"
        elif chance < 0.12:
            warnings = ("Sem e-mail no Jestor: o Omie não envia a NFS-e nem o boleto.",)
        line = ContractLine(
            company,
            f"JST-{number}",
            f"{random.choice(KINDS)} {random.choice(NAMES)}",
            Situation.BILLED,
            amount,
            previous_amount=previous,
            cause=cause,
            due_date=date(2026, 12, 10),
            nCodCtr=4_400_000 + number,
            nCodOS=9_100_000 + number,
            warnings=warnings,
        )
        if number > 522:
            code, reason = PARKED[number % len(PARKED)]
            line = replace(line, situation=Situation.PARKED, reason_code=code, reason=reason, nCodOS=None, warnings=())
        elif number > 500:
            code = SKIPPED[number * number % len(SKIPPED)]
            previous = previous if number % 7 == 0 else None
            line = replace(
                line,
                situation=Situation.SKIPPED,
                reason_code=code,
                previous_amount=previous,
                nCodOS=None,
                warnings=(),
            )
        yield line


def planned(lines: list[ContractLine]) -> dict[str, Tally]:
    return {
        company: sum((Tally(1, line.amount) for line in lines if line.company == company), Tally())
        for company in RUN.companies
    }


def pages() -> dict[str, str]:
    lines = list(contracts())
    plan = planned(lines)
    lost = [
        replace(line, situation=Situation.UNEXPLAINED, nCodOS=None) if line.contract in {"JST-9", "JST-18"} else line
        for line in lines
    ]
    doubtful = [
        replace(line, situation=Situation.IN_DOUBT, nCodOS=None, reason="Sem resposta em 60 s (FaturarContrato).")
        if line.contract in {"JST-40", "JST-41", "JST-42"}
        else line
        for line in lines
    ]
    return {
        "balanced": render_html(summarise(RUN, plan, lines)),
        "preview": render_html(summarise(replace(RUN, preview=True, approval={}), plan, lines)),
        "unbalanced": render_html(summarise(RUN, plan, lost)),
        "doubtful": render_html(summarise(RUN, plan, doubtful)),
    }


@pytest.fixture(scope="module")
def chromium() -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed: `make browser` installs it")
    return program


def browse(chromium: str, profile: Path, page: Path, *arguments: str) -> str:
    """Chromium's standard output, from a new empty profile."""
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --hide-scrollbars --force-color-profile=srgb"
    )
    command = [chromium, *flags.split(), f"--user-data-dir={profile}", *arguments, page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def test_a_browser_shows_the_verdict_and_every_table(chromium, tmp_path, page):
    page.write_text(pages()["balanced"], encoding="utf-8")
    dom = browse(chromium, tmp_path / "profile", page, "--dump-dom")
    assert "Faturado, com pendências:" in dom
    assert "500 contratos faturados" in dom
    assert dom.count("<section") == 5
    assert dom.count('role="img"') == 2


def test_the_filter_runs_under_the_page_s_own_policy(chromium, tmp_path, page):
    page.write_text(pages()["balanced"], encoding="utf-8")
    dom = browse(chromium, tmp_path / "profile", page, "--dump-dom")
    shown = re.findall(r'<p class="filter"( hidden="")?>', dom)
    assert shown == ["", ""], "the script did not run: its hash and the policy differ"


def test_a_hostile_name_does_nothing(chromium, tmp_path, page):
    attack = '<img src=x onerror="document.title=1"><script>document.title="owned"</script>'
    line = replace(next(contracts()), customer=attack, situation=Situation.PARKED, reason=attack, company="acme")
    page.write_text(render_html(summarise(RUN, {"acme": Tally(1, line.amount)}, [line])), encoding="utf-8")
    dom = browse(chromium, tmp_path / "profile", page, "--dump-dom")
    assert "<title>Faturamento de dezembro de 2026</title>" in dom
    assert "<img" not in dom


def test_no_page_is_wider_than_a_phone(chromium, tmp_path):
    """In frames 390 pixels wide, since Chromium has no window that narrow; each tells the width of its content."""
    frames = []
    for variant, html in pages().items():
        (tmp_path / f"{variant}.html").write_text(html, encoding="utf-8")
        frames.append(
            f'<iframe src="{variant}.html" width="390" height="800" style="border:0" '
            f'onload="document.body.dataset.{variant} = this.contentDocument.documentElement.scrollWidth"></iframe>'
        )
    outer = tmp_path / "frames.html"
    outer.write_text("<!doctype html><body>" + "".join(frames))
    dom = browse(chromium, tmp_path / "profile", outer, "--dump-dom", "--allow-file-access-from-files")
    widths = dict(re.findall(r'data-(\w+)="(\d+)"', dom))
    assert widths == dict.fromkeys(pages(), "390")


def test_it_draws_and_prints(chromium, tmp_path, page):
    page.write_text(pages()["balanced"], encoding="utf-8")
    picture, paper = tmp_path / "report.png", tmp_path / "report.pdf"
    browse(chromium, tmp_path / "profile", page, f"--screenshot={picture}", "--window-size=1280,900")
    browse(chromium, tmp_path / "paper", page, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1280, 900)
    assert paper.read_bytes().startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) >= 2


def test_paper_shows_the_arithmetic_that_the_screen_folds_away(chromium, tmp_path, page):
    paper, pages_of = tmp_path / "report.pdf", []
    for proof in ("Uma linha.", "\n".join(f"Linha {number} da conta." for number in range(200))):
        line = replace(next(contracts()), situation=Situation.BILLED)
        line = replace(line, additions=(Charged("acme", line.contract, line.customer, 2333, "Encargos", proof),))
        page.write_text(render_html(summarise(RUN, {"acme": Tally(1, line.amount)}, [line])), encoding="utf-8")
        browse(chromium, tmp_path / "profile", page, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
        pages_of.append(len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())))
    assert pages_of[1] > pages_of[0]
