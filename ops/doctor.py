"""`billing-ops doctor`: looks at AWS, Jestor and each Omie account, and says how to put right what is not.

It reads with the keys the operator may read, from the operator's machine, as `billing-ops link` does. A Lambda in its
place would need a role that may do all that every other role may read, and could not say why it does not start: the
first thing this command is for. It writes nothing in Jestor or Omie. In AWS it notes in the lane what it asked, so that
neither a second examination nor a run asks Omie the same within a minute, which Omie counts as misuse.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from botocore.exceptions import ClientError
from rich.text import Text

from billing.domain.month import SAO_PAULO, BillingMonth
from ops import render
from ops.desk import Desk, desk
from ops.doctor_aws import examine_stack, read_settings
from ops.doctor_jestor import Seen, examine_jestor
from ops.doctor_omie import Subject, examine_omie, not_shown_by_api
from ops.doors import jestor_of, omie_of
from ops.errors import OperatorError, explain
from ops.findings import Examiner, Finding, Findings, Level, as_dict, count
from ops.follow import hour
from ops.options import Companies, Json  # noqa: TC001 - Typer reads the annotations
from ops.probe.facts import examine_facts, facts_key
from ops.stack import known_company

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    import httpx
    from rich.status import Status

    from billing.omie.replies import OmieError
    from billing.settings import Settings

COMPANY_BOUND: Final = timedelta(minutes=4)
"""After which no further check of a company is begun."""
WHAT_IS_READ: Final[Mapping[str, str]] = {
    "ListarContasCorrentes": "contas correntes",
    "ListarCategorias": "categorias",
    "ListarCadastroServico": "serviços",
    "ListarContratos": "contratos",
    "ListarLotesContrato": "lotes de faturamento",
    "ObterContratos": "contratos faturados no mês",
    "ListarNFSEs": "notas",
    "ListarOS": "ordens de serviço",
    "ListarContasReceber": "títulos",
    "/objectProperties/index": "campos das tabelas",
    "/object/list": "registros",
}
"""Omie's methods and Jestor's paths, as the progress line calls them."""
MARGIN: Final = 8
"""Columns of the word before each finding."""
_STYLES: Final = {Level.OK: "green", Level.BY_HAND: "cyan", Level.WARNING: "yellow", Level.ERROR: "bold red"}


def doctor(
    ctx: typer.Context,
    company: Companies = None,
    as_json: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Só o que precisa de você, sem o que está certo.")
    ] = False,
) -> None:
    """Examina a pilha, o Jestor e o Omie de cada empresa, e diz como acertar o que estiver errado.

    Só lê: nada muda no Jestor nem no Omie. Sai com 0 se não há erro, 1 se há, 2 se o pedido não pode ser atendido.
    """
    here = desk(ctx)
    findings: list[Finding] = []
    show = Show(here, quiet=quiet or as_json, silent=as_json)
    here.tools = replace(here.tools, http=show.watched(here.tools.http))
    with show.progress():
        for finding in examine(here, company or [], show):
            findings.append(finding)
            show.finding(finding)
    levels = Counter(finding.level for finding in findings)
    if as_json:
        here.say_json(
            {
                "stack": here.place.stack,
                "errors": levels[Level.ERROR],
                "warnings": levels[Level.WARNING],
                "by_hand": levels[Level.BY_HAND],
                "findings": [as_dict(finding) for finding in findings],
            }
        )
    else:
        here.say("")
        for line in summary(findings):
            here.say(line)
    if levels[Level.ERROR]:
        raise typer.Exit(1)


def summary(findings: Sequence[Finding]) -> list[str]:
    """The last lines: what was found, and what to do next."""
    levels = Counter(finding.level for finding in findings)
    errors, warnings, by_hand = levels[Level.ERROR], levels[Level.WARNING], levels[Level.BY_HAND]
    found = [
        *([count(errors, "erro", "erros")] if errors else []),
        *([count(warnings, "aviso", "avisos")] if warnings else []),
        *([f"{by_hand} para olhar à mão"] if by_hand else []),
    ]
    lines = [f"{', '.join(found)}." if found else "Tudo certo."]
    if any("[" in finding.fix or "configuração" in finding.fix for finding in findings):
        lines.append("Depois de mudar a configuração: billing-ops settings push ARQUIVO")
    if errors:
        lines.append("Acerte os erros de cima para baixo e repita: billing-ops doctor")
    else:
        lines.append("Nenhum erro: o próximo passo é billing-ops run --preview")
    return lines


def examine(here: Desk, chosen: Sequence[str], show: Show) -> Findings:
    stack = here.stack
    settings = yield from read_settings(stack)
    if settings is None:
        return
    companies = [known_company(settings, key) for key in dict.fromkeys(chosen)] or sorted(settings.companies)
    yield from examine_stack(stack, settings, companies, local=here.place.local)
    seen = yield from _jestor(here, settings, show)
    for key in companies:
        yield from _omie(here, settings, key, seen, show)
    yield _probed(here, settings)
    yield not_shown_by_api()


def _probed(here: Desk, settings: Settings) -> Finding:
    """How Omie behaves is the same for every company, so the test account's facts are looked at."""
    say, marked = Examiner("Omie"), [key for key, company in settings.companies.items() if company.test_account]
    try:
        texts = [text for key in marked if (text := here.stack.facts(facts_key(key))) is not None]
    except ClientError as error:
        return _not_looked_at(say, error)
    return examine_facts(say, texts, here.now().astimezone(SAO_PAULO).date())


def _jestor(here: Desk, settings: Settings, show: Show) -> Generator[Finding, None, Seen | None]:
    stack, last = here.stack, BillingMonth.of(here.now()).previous()
    try:
        jestor = jestor_of(here)
        charges = [charge for key in sorted(settings.companies) for charge in stack.month_charges(key, last)]
    except (OperatorError, ClientError) as error:
        yield _not_looked_at(Examiner("Jestor"), error)
        return None
    show.reading("Jestor")
    return (yield from examine_jestor(settings, jestor, charges, last))


def _omie(here: Desk, settings: Settings, key: str, seen: Seen | None, show: Show) -> Findings:
    stack, now, say, company = here.stack, here.now(), Examiner(f"Omie {key}"), settings.companies[key]
    month = BillingMonth.of(now)
    try:
        lane = stack.lane(key, now)
        if lane.blocked_until is not None:
            yield say.error(
                "omie.blocked",
                f"Parada até {hour(lane.blocked_until, now)}: {lane.reason or 'o Omie bloqueou a chave'}",
                "Espere e repita; nada foi perguntado ao Omie.",
            )
            return
        charges = stack.month_charges(key, month)
        omie = omie_of(here, key, company.same_question_seconds, waiting=show.waiting, failed=show.failed)
    except (OperatorError, ClientError) as error:
        yield _not_looked_at(say, error)
        return
    show.reading(f"Omie de {key}")
    until = now + COMPANY_BOUND
    try:
        yield from examine_omie(Subject(key, company, omie, charges, seen, now, month, lambda: here.now() > until))
    except ClientError as error:  # the turns at Omie are noted in AWS
        yield _not_looked_at(say, error)


def _not_looked_at(say: Examiner, error: Exception) -> Finding:
    what, _, fix = (explain(error) or str(error)).partition(". ")
    return say.error("not_examined", f"Não examinado: {what}.", fix or "Acerte o que está acima e repita.")


class Show:
    """Findings as they come: a heading for each place, then a line for each; `silent` keeps them for the JSON."""

    def __init__(self, here: Desk, *, quiet: bool, silent: bool) -> None:
        self._here = here
        self._quiet = quiet
        self._silent = silent
        self._where = ""
        self._console = render.console()
        self._reading = ""
        self._status: Status | None = None

    @contextmanager
    def progress(self) -> Iterator[None]:
        """At a terminal, a line below the findings says what is being read; it is gone at the end."""
        if self._silent or not self._here.tools.at_a_terminal():
            yield
            return
        with self._console.status("") as self._status:
            yield
        self._status = None

    def watched(self, http: Callable[[], httpx.Client]) -> Callable[[], httpx.Client]:
        """The same clients, each request of which moves the progress line. Of a request only its name is shown."""

        def client() -> httpx.Client:
            made = http()
            made.event_hooks = {**made.event_hooks, "request": [*made.event_hooks["request"], self._asked]}
            return made

        return client

    def _asked(self, request: httpx.Request) -> None:
        name, page = request.url.path, 0
        if b'"call"' in request.content[:10]:
            asked = json.loads(request.content)
            name, param = str(asked["call"]), asked["param"][0]
            page = int(param.get("pagina") or param.get("nPagina") or 0)
        what = WHAT_IS_READ.get(name, name)
        self._progress(f"{self._reading}: {what}{f', página {page}' if page > 1 else ''}")

    def _progress(self, line: str) -> None:
        if self._status is not None:
            self._status.update(f"Lendo o {line}...")

    def failed(self, error: OmieError) -> None:
        """Tells a person of an answer that did not come: the question is put once more."""
        if self._here.tools.at_a_terminal() and not self._silent and error.http_status is None:
            self._here.note(f"O Omie não respondeu ({error.method}): pergunto mais uma vez.")

    def finding(self, finding: Finding) -> None:
        if self._silent or (self._quiet and finding.level is Level.OK):
            return
        if finding.where != self._where:
            self._where = finding.where
            self._console.print(Text(f"\n{finding.where}", "bold"))
        level = Text(f"{finding.level.value:>{MARGIN - 1}} ", _STYLES[finding.level])
        self._paragraph(level, finding.what, "dim" if finding.level is Level.OK else "")
        if finding.fix:
            self._paragraph(Text(" " * MARGIN), f"→ {finding.fix}", "")

    def _paragraph(self, first: Text, text: str, style: str) -> None:
        """Wrapped beside the margin, without blanks at the ends of lines: people copy commands from it."""
        for line in textwrap.wrap(text, self._console.width - MARGIN, break_on_hyphens=False, break_long_words=False):
            self._console.print(first + Text(line, style), soft_wrap=True)
            first = Text(" " * MARGIN)

    def reading(self, what: str) -> None:
        self._reading = what
        if self._here.tools.at_a_terminal() and not self._silent:
            self._here.note(f"Lendo o {what}...")

    def waiting(self, seconds: float) -> None:
        """Tells a person why nothing happens for a minute."""
        if self._here.tools.at_a_terminal() and not self._silent:
            self._here.note(f"O Omie não aceita a mesma pergunta duas vezes por minuto: espero {seconds:.0f} s.")
