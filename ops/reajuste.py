"""`billing-ops reajuste`: the index table, which contracts' yearly adjustment is due, and applying it in Jestor.

Jestor is where a price lives: applying writes the new unit price there, in one write with the day from which it holds,
a billing day that is still to come. Until then what was agreed last is billed; from then on it reaches Omie as any
change of price does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final

import httpx
import typer

from billing.domain.contract import Contract, ContractStatus
from billing.domain.money import format_brl, reais, to_json
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.reajuste import NAMES, Index, Proposal, first_bill, proposal, shown_percent
from billing.jestor.client import with_drafts
from billing.jestor.field_map import check_fields, option_labels, to_contract
from billing.store.indices import BadTable, from_csv, from_sgs, merged
from ops import render
from ops.desk import desk
from ops.doors import jestor_of
from ops.errors import InputError, OperatorError
from ops.files import read_table
from ops.findings import count
from ops.link import contract_number
from ops.options import Companies, Json, Month, whole_number
from ops.portuguese import App, Group
from ops.stack import known_company

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing.domain.reajuste import IndexTable
    from billing.jestor.client import JestorClient
    from billing.settings import Settings, TableMap
    from ops.desk import Desk

SGS: Final = {Index.IPCA: 433, Index.IGPM: 189}
"""Monthly change in percent: the series' numbers in Banco Central's SGS."""
SGS_URL: Final = "https://api.bcb.gov.br/dados/serie/bcdata.sgs.{series}/dados"

reajuste_app = App(
    cls=Group, help="Reajuste anual de preços: índices, o que está devido, e a aplicação.", no_args_is_help=True
)

Replace = Annotated[
    bool, typer.Option("--replace", help="Aceita que um mês já importado mude de valor (índice revisado).")
]


@dataclass(frozen=True, slots=True)
class Due:
    """A contract whose adjustment is due. `why_not`: Portuguese; it cannot be applied as things are."""

    contract: Contract
    proposal: Proposal
    why_not: str = ""

    @property
    def monthly(self) -> int:
        """Centavos that it adds to a month."""
        after = self.proposal.after
        return 0 if after is None else (after - self.proposal.before) * self.contract.quantity


# ---- the index table


@reajuste_app.command("import")
def import_table(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="ARQUIVO", help="CSV com índice;mês;variação: IPCA;2025-11;0,18")],
    replace: Replace = False,
) -> None:
    """Importa uma tabela de índices. Meses que já estão lá ficam; um valor diferente só entra com --replace."""
    here = desk(ctx)
    try:
        new = from_csv(read_table(file))
    except BadTable as error:
        raise InputError(f"{file}: {error}.") from None
    _keep(here, new, replace=replace)


@reajuste_app.command("fetch")
def fetch_table(
    ctx: typer.Context,
    months: Annotated[
        int, typer.Option("--months", metavar="N", parser=whole_number(1, 120), help="Quantos meses buscar.")
    ] = 36,
    replace: Replace = False,
) -> None:
    """Busca IPCA e IGP-M nas séries do Banco Central (SGS 433 e 189). Sem internet, use import."""
    here = desk(ctx)
    today = here.now().astimezone(SAO_PAULO).date()
    since = today.replace(day=1) - timedelta(days=31 * months)
    with here.tools.http() as http:
        _keep(here, {index: _series(http, number, since, today) for index, number in SGS.items()}, replace=replace)


def _series(http: httpx.Client, number: int, since: date, today: date) -> Any:
    period = {"formato": "json", "dataInicial": f"{since:%d/%m/%Y}", "dataFinal": f"{today:%d/%m/%Y}"}
    instead = "Importe a tabela de um arquivo: billing-ops reajuste import ARQUIVO"
    try:
        answer = http.get(SGS_URL.format(series=number), params=period)
    except httpx.HTTPError as error:
        raise OperatorError(f"Sem acesso a api.bcb.gov.br ({type(error).__name__}). {instead}") from None
    if answer.status_code != httpx.codes.OK:
        raise OperatorError(f"O Banco Central respondeu {answer.status_code} pela série {number}. {instead}")
    try:
        return from_sgs(answer.json())
    except ValueError as error:
        raise OperatorError(f"Série {number}: {error}. {instead}") from None


def _keep(here: Desk, new: IndexTable, *, replace: bool) -> None:
    try:
        before = here.stack.indices()
    except BadTable as error:
        raise OperatorError(f"{error}. Apague o objeto no bucket e importe de novo.") from None
    table, changed = merged(before, new)
    for index, month, old, now in changed:
        here.note(f"{NAMES[index]} de {month}: {old}% na tabela, {now}% agora.")
    if changed and not replace:
        raise InputError("Há meses com outro valor na tabela; nada foi gravado. Se o novo é o certo: --replace")
    here.stack.put_indices(table)
    for index in sorted(table):
        rows = table[index]
        here.say(f"{NAMES[index]}: {count(len(rows), 'mês', 'meses')}, até {max(rows)}.")


# ---- what is due


@reajuste_app.command("list")
def list_due(ctx: typer.Context, month: Month = None, company: Companies = None, as_json: Json = False) -> None:
    """Lista os contratos com reajuste devido na competência, com a conta. Não muda nada."""
    here = desk(ctx)
    found = _due(here, here.stack.settings(), jestor_of(here), month, company)
    if as_json:
        here.say_json({"contracts": [_plain(due) for due in found], "total": str(reais(_total(found)))})
        return
    if not found:
        here.say("Nenhum reajuste devido.")
        return
    _show(here, found)
    for due in found:
        here.say("")
        here.say(f"{due.contract.code} {due.contract.name}")
        for line in due.proposal.proof.splitlines():
            here.say(f"  {line}")
        if due.why_not:
            here.say(f"  Não pode ser aplicado: {due.why_not}")
    here.say("")
    here.say("Para aplicar: billing-ops reajuste apply --contract JST-12, ou --all")


@reajuste_app.command("apply")
def apply(
    ctx: typer.Context,
    *,
    contract: Annotated[
        list[str] | None, typer.Option("--contract", metavar="JST-12", help="Só este contrato; repita para vários.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Todos os que têm proposta.")] = False,
    month: Month = None,
    company: Companies = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Não pergunta antes de gravar no Jestor.")] = False,
) -> None:
    """Grava no Jestor o novo preço e a data do reajuste. Pergunta antes, com o total."""
    here = desk(ctx)
    if bool(contract) == everything:
        raise InputError("Diga quais: --contract JST-12 (repita para vários) ou --all, um dos dois.")
    if not yes:
        here.need_a_person(" para gravar")
    wanted = {contract_number(text) for text in contract or ()}
    settings, jestor = here.stack.settings(), jestor_of(here)
    found = _due(here, settings, jestor, month, company)
    missing = wanted - {due.contract.jestor_id for due in found}
    if missing:
        codes = ", ".join(f"JST-{number}" for number in sorted(missing))
        raise InputError(f"Sem reajuste devido: {codes}. Veja com: billing-ops reajuste list")
    chosen = [due for due in found if everything or due.contract.jestor_id in wanted]
    for due in chosen:
        if due.why_not:
            here.note(f"{due.contract.code} fica de fora: {due.why_not}")
    ready = [due for due in chosen if not due.why_not]
    if not ready:
        raise OperatorError("Nenhum reajuste pode ser aplicado; nada foi gravado.")
    _show(here, ready)
    if not yes:
        here.ask(f"Gravar {count(len(ready), 'preço novo', 'preços novos')} no Jestor?", "gravado")
    applied = sum(_apply(here, settings, jestor, due) for due in ready)
    here.say(f"Reajustes aplicados: {applied} de {len(ready)}.")
    if applied < len(ready):
        raise OperatorError("Alguns contratos mudaram no Jestor enquanto isso. Veja de novo: billing-ops reajuste list")


def _due(
    here: Desk, settings: Settings, jestor: JestorClient, month: str | None, companies: Sequence[str] | None
) -> list[Due]:
    table = settings.jestor.contracts
    if table.fields.readjust_index is None:
        raise OperatorError("A configuração não diz qual campo tem o índice: jestor.contracts.fields.readjust_index")
    wanted = [known_company(settings, key) for key in dict.fromkeys(companies or settings.companies)]
    prices = here.stack.indices()
    properties = jestor.properties(table.table)
    if problems := check_fields(properties, table):
        raise OperatorError("\n".join(problems))
    options = option_labels(properties)
    today = here.now().astimezone(SAO_PAULO).date()
    chosen = here.month(month) if month else None
    found = []
    for raw in jestor.iter_records(table.table, filters=[with_drafts(table.fields.draft)], select=table.select):
        row = to_contract(raw, table, settings.company_by_label, options)
        if isinstance(row, Contract) and row.company in wanted:
            due = _one(row, settings, prices, today, chosen)
            found += [due] if due else []
    return found


def _one(row: Contract, settings: Settings, prices: IndexTable, today: date, month: BillingMonth | None) -> Due | None:
    if row.status is not ContractStatus.ACTIVE or row.company not in settings.companies:
        return None
    company = settings.companies[row.company]
    day = month.day(company.billing_day) if month else first_bill(today, company.billing_day)
    found = proposal(
        row.readjust,
        start=row.start,
        unit_amount=row.unit_amount,
        effective=day,
        table=prices,
        rules=company.readjustment.rules(),
    )
    if found is None or (row.end is not None and row.end < day):
        return None
    return Due(row, found, _why_not(row, found, settings.jestor.contracts, today))


def _why_not(row: Contract, found: Proposal, table: TableMap, today: date) -> str:
    fields = table.fields
    if found.after is None:
        return found.proof.splitlines()[-1]
    if found.after == found.before:
        return "o preço não muda."
    if not _writable(fields.unit_amount, fields.readjusted_on, fields.change_from):
        return "a configuração precisa de readjusted_on e change_from (jestor.contracts.fields), na própria tabela."
    if found.effective <= today:
        return f"o dia {found.effective:%d/%m/%Y} já chegou: escolha uma competência que ainda venha."
    if row.change_from is not None and row.change_from > today:
        return f"há uma mudança marcada no Jestor para {row.change_from:%d/%m/%Y}: aplique depois dela."
    return ""


def _writable(*paths: str | None) -> bool:
    return all(path is not None and "." not in path for path in paths)


def _apply(here: Desk, settings: Settings, jestor: JestorClient, due: Due) -> bool:
    """One write, if the row still is what was shown."""
    table, found = settings.jestor.contracts, due.proposal
    fields = table.fields
    number = due.contract.jestor_id
    raw = jestor.get(table.table, number, filters=[with_drafts(fields.draft)])
    options = option_labels(jestor.properties(table.table))
    if raw is None or to_contract(raw, table, settings.company_by_label, options) != due.contract:
        here.note(f"{due.contract.code} mudou no Jestor enquanto isso; nada foi gravado nele.")
        return False
    day = found.effective.isoformat()
    price = to_json(found.after or found.before)
    data = {str(fields.unit_amount): price, str(fields.readjusted_on): day, str(fields.change_from): day}
    jestor.update(table.table, number, data)
    return True


def _total(found: Sequence[Due]) -> int:
    return sum(due.monthly for due in found)


def _show(here: Desk, found: Sequence[Due]) -> None:
    rows = [
        (
            due.contract.code,
            due.contract.name,
            NAMES[due.proposal.index],
            f"{due.proposal.anniversary:%d/%m/%Y}",
            shown_percent(due.proposal.percent) or "sem proposta",
            format_brl(due.proposal.before),
            "" if due.proposal.after is None else format_brl(due.proposal.after),
        )
        for due in found
    ]
    titles = ("contrato", "nome", "índice", "aniversário", "variação", "preço", "proposta")
    render.console().print(render.table(titles, rows))
    here.say(f"Total: {format_brl(_total(found))} a mais por mês, em {count(len(found), 'contrato', 'contratos')}.")


def _plain(due: Due) -> dict[str, Any]:
    found = due.proposal
    return {
        "contract": due.contract.code,
        "company": due.contract.company,
        "index": str(found.index),
        "base": found.base.isoformat(),
        "anniversary": found.anniversary.isoformat(),
        "effective": found.effective.isoformat(),
        "percent": shown_percent(found.percent) or None,
        "before": str(reais(found.before)),
        "after": None if found.after is None else str(reais(found.after)),
        "missing": [str(month) for month in found.missing],
        "applicable": not due.why_not,
        "why_not": due.why_not or None,
        "proof": found.proof,
    }
