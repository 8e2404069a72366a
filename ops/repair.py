"""`billing-ops dlq`, `resolve` and `explain`: what waits for a person, and why.

Whatever writes goes through the redrive function, which does only what is safe; here it is asked, shown, and followed
by a new run, which plans and checks what was released before it is billed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from billing.bill_batch import ALTERATION, CREATION
from billing.domain.charge import MONTHLY, ParkClass, State
from billing.domain.money import format_brl
from billing.domain.month import SAO_PAULO
from ops import opening, render, story
from ops.desk import Desk, desk
from ops.errors import InputError, OperatorError
from ops.follow import thousands
from ops.link import contract_number
from ops.options import Companies, Json, Month  # noqa: TC001 - Typer reads the annotations
from ops.portuguese import App, Group
from ops.stack import known_company

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ops.stack import Execution

dlq_app = App(cls=Group, help="A fila de parados: o que espera uma pessoa, e como liberar.", no_args_is_help=True)

CLASSES: Final[Mapping[str, str]] = {
    ParkClass.TRANSIENT: "o Omie falhou seguidas vezes",
    ParkClass.DATA: "cadastro",
    ParkClass.FISCAL: "fiscal",
    ParkClass.IN_DOUBT: "não se sabe se foi faturado",
    ParkClass.MISSED_MONTH: "o mês terminou",
    ParkClass.UNKNOWN: "motivo desconhecido",
}
DECISIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "released": ("liberado", "liberados", "seria liberado"),
    "adopted": ("já estava feito no Omie", "já estavam feitos no Omie", "seria registrado como feito"),
    "deleted": ("aviso apagado", "avisos apagados", "aviso seria apagado"),
    "parked": ("parado", "parados", "seria parado"),
    "discarded": ("descartado", "descartados", "seria descartado"),
    "stays": ("continua", "continuam", "continuaria"),
}
"""Of one, of several, of a dry run."""

AnyMonth = Annotated[
    str | None, typer.Option("--month", metavar="AAAA-MM", help="Só esta competência; sem ela, todas as da fila.")
]
Classes = Annotated[
    list[ParkClass] | None,
    typer.Option("--class", metavar="CLASSE", help=f"Só esta classe; repita para várias: {', '.join(ParkClass)}."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Só diz o que seria feito; não muda nada.")]


# ---- the dead-letter queue


@dlq_app.command("list")
def dlq_list(
    ctx: typer.Context,
    *,
    class_: Classes = None,
    company: Companies = None,
    month: AnyMonth = None,
    as_json: Json = False,
) -> None:
    """Mostra o que está parado: classe, motivo e desde quando. Não muda nada."""
    here = desk(ctx)
    answer = here.stack.repair(_request(here, "list", class_, company, month))
    if as_json:
        here.say_json(answer)
        return
    items = answer["items"]
    if not items:
        here.say(f"Nada parado na pilha {here.stack.name}{' com esse filtro' if class_ or company or month else ''}.")
        return
    titles = ("id", "classe", "empresa", "contrato", "mês", "valor", "desde", "motivo")
    render.console().print(render.table(titles, map(_row, items)))
    here.say("")
    here.say("De perto: billing-ops dlq show ID      Liberar: billing-ops dlq redrive --dry-run")
    _say_hidden(here, answer, filtered=bool(class_ or company or month))


@dlq_app.command("show")
def dlq_show(
    ctx: typer.Context,
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="O começo do id que a lista mostra, ou o contrato (JST-12).")
    ],
    as_json: Json = False,
) -> None:
    """Mostra um parado de perto: o texto do Omie e a única ação segura."""
    here = desk(ctx)
    if id_.upper().startswith("JST-"):
        code = f"JST-{contract_number(id_)}"
        found = here.stack.repair({"action": "list"})["items"]
        items = [item for item in found if code in (item["contract"], *item.get("contracts", ()))]
    else:
        items = here.stack.repair({"action": "show", "id": id_})["items"]
    if not items:
        raise OperatorError(f"Não há nada parado com {id_}. Veja a fila com: billing-ops dlq list")
    if len({item["id"] for item in items}) > 1 and not id_.upper().startswith("JST-"):
        raise InputError(f"Há {len(items)} que começam com {id_}. Escreva mais letras do id.")
    if as_json:
        here.say_json({"items": items})
        return
    for item in items:
        for line in _close_up(item):
            here.say(line)


@dlq_app.command("redrive")
def dlq_redrive(
    ctx: typer.Context,
    *,
    class_: Classes = None,
    company: Companies = None,
    month: AnyMonth = None,
    dry_run: DryRun = False,
    no_run: Annotated[bool, typer.Option("--no-run", help="Libera, mas não inicia a execução que fatura.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Não pergunta antes.")] = False,
    as_json: Json = False,
) -> None:
    """Faz com cada parado só o que é seguro, e inicia a execução que replaneja, confere e fatura o que foi liberado.

    Pode ser repetido quantas vezes for: nada é faturado duas vezes. O que pode ter sido faturado é antes lido no Omie;
    o que é de um mês que terminou nunca é enviado.
    """
    here = desk(ctx)
    request = _request(here, "redrive", class_, company, month)
    if dry_run:
        _say_done(here, here.stack.repair(request | {"dry_run": True}), as_json=as_json, dry_run=True)
        return
    if not yes and not _agreed(here, request, no_run=no_run):
        return
    answer = _until_done(here, request)
    if as_json:
        started = None if no_run else _start_run(here, answer)
        why = opening.refused(here, started) if started else ""
        here.say_json(answer | {"execution": started.name if started else None, "run_refused": why or None})
        if why:
            raise typer.Exit(1)
        return
    _say_done(here, answer, as_json=False, dry_run=False)
    _say_run(here, answer, None if no_run else _start_run(here, answer))


@dlq_app.command("discard")
def dlq_discard(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="O começo do id que a lista mostra.")],
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Não pergunta antes.")] = False,
    as_json: Json = False,
) -> None:
    """Tira da fila um aviso com que nada mais se pode fazer: ilegível, desconhecido, ou de um mês que terminou.

    O que ele diz fica guardado no S3. O que ainda pode ser resolvido não é descartado.
    """
    here = desk(ctx)
    request = _request(here, "discard", None, None, None) | {"id": id_}
    foreseen = here.stack.repair(request | {"dry_run": True})
    if not foreseen["items"]:
        raise OperatorError(f"Não há na fila nada que comece com {id_}. Veja-a com: billing-ops dlq list")
    (item,) = foreseen["items"]
    if item["decision"] == "stays":
        raise OperatorError(f"{_subject(item)} não pode ser descartado. {item['why']}")
    if dry_run:
        _say_done(here, foreseen, as_json=as_json, dry_run=True)
        return
    if not yes:
        here.need_a_person(", ou com --dry-run para só ver")
        for line in _close_up(item):
            here.say(line)
        _ask(here, "Descartar este aviso")
    _say_done(here, here.stack.repair(request), as_json=as_json, dry_run=False)


def resolve(
    ctx: typer.Context,
    *,
    month: Month = None,
    company: Companies = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Resolve as cobranças em dúvida lendo o Omie: registra as faturadas e libera as outras. Nunca fatura.

    O sistema já faz isso no fim de cada execução; use se ela foi interrompida.
    """
    here = desk(ctx)
    request = _request(here, "resolve", None, company, str(here.month(month)))
    answer = here.stack.repair(request | {"dry_run": True}) if dry_run else _until_done(here, request)
    if as_json:
        here.say_json(answer)
        return
    if not answer["items"] and not answer["refused"]:
        here.say(f"Nada em dúvida em {request['month']}.")
        return
    _say_done(here, answer, as_json=False, dry_run=dry_run)
    if not dry_run:
        _say_run(here, answer, None)


def not_billed(
    ctx: typer.Context,
    contract: Annotated[str, typer.Option("--contract", metavar="JST-12", help="O contrato no Jestor.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXTO", help="O que você viu no Omie; fica no registro.")],
    *,
    month: Month = None,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Não pergunta antes.")] = False,
    as_json: Json = False,
) -> None:
    """Desfaz um registro errado: faturado sem OS (adotado por engano) volta a ficar em dúvida, com o seu nome e motivo.

    O que tem OS no registro ou no Omie continua faturado. Depois, billing-ops resolve lê o Omie e decide.
    """
    here = desk(ctx)
    if not why.strip():
        raise InputError("Diga em --why o que você viu no Omie.")
    code = f"JST-{contract_number(contract)}"
    request = _request(here, "not_billed", None, None, str(here.month(month))) | {"contract": code, "why": why.strip()}
    foreseen = here.stack.repair(request | {"dry_run": True})
    (item,) = foreseen["items"]
    if item["decision"] == "stays":
        raise OperatorError(f"{code} continua como está. {item['why']}")
    if dry_run:
        _say_done(here, foreseen, as_json=as_json, dry_run=True)
        return
    if not yes:
        here.need_a_person(", ou com --dry-run para só ver")
        _ask(here, f"Registrar que {code} não foi faturado em {request['month']}")
    _say_done(here, here.stack.repair(request), as_json=as_json, dry_run=False)


# ---- explain


def explain(
    ctx: typer.Context,
    contract: Annotated[str, typer.Option("--contract", metavar="JST-12", help="O contrato no Jestor.")],
    month: Month = None,
    as_json: Json = False,
) -> None:
    """Conta a história de uma cobrança: o que aconteceu, quando, por quem e por quê; e o que fazer agora."""
    here = desk(ctx)
    code = f"JST-{contract_number(contract)}"
    chosen = here.month(month)
    charges, hold = here.stack.charges(code, chosen, (MONTHLY, CREATION, ALTERATION))
    proofs = {key: proof for charge in charges for key, proof in here.stack.proofs(charge).items()}
    planned = None
    if not any(charge.key.kind == MONTHLY for charge in charges):
        any_plan, planned = here.stack.plan_line(code, chosen)
        if planned is None and not charges and hold is None:
            raise OperatorError(_unknown(code, str(chosen), any_plan=any_plan))
    billed = any(charge.key.kind == MONTHLY and charge.state is State.BILLED for charge in charges)
    gone = here.stack.cancelled_order(code, chosen) if billed else None
    if as_json:
        here.say_json(story.facts(code, chosen, charges, hold, proofs, planned=planned) | {"cancelled_order": gone})
        return
    for line in story.told(code, chosen, charges, hold, proofs, planned=planned, cancelled=gone):
        here.tell(line)


def _unknown(code: str, month: str, *, any_plan: bool) -> str:
    """What to do about a contract of which neither the ledger nor a plan of the month knows anything."""
    preview = f"billing-ops run --month {month} --preview"
    if not any_plan:
        return f"{code} em {month}: nada foi faturado nem planejado neste mês. Para ver o que seria: {preview}"
    return (
        f"{code} não existe em {month}: nenhum plano deste mês o conhece, e nada foi cobrado dele. "
        f"Confira o número no Jestor e o mês; se o contrato é novo, faça outra prévia: {preview}"
    )


# ---- asking


def _request(
    here: Desk, action: str, classes: Sequence[ParkClass] | None, companies: Sequence[str] | None, month: str | None
) -> dict[str, Any]:
    request: dict[str, Any] = {"action": action, "who": here.stack.who(here.tools.environ)}
    if classes:
        request["classes"] = [park_class.value for park_class in classes]
    if companies:
        settings = here.stack.settings()
        request["companies"] = [known_company(settings, key) for key in dict.fromkeys(companies)]
    if month is not None:
        request["month"] = str(here.month(month))
    return request


def _agreed(here: Desk, request: dict[str, Any], *, no_run: bool) -> bool:
    """Shows what would be done and asks. False when there is nothing to do."""
    here.need_a_person(", ou com --dry-run para só ver")
    foreseen = here.stack.repair(request | {"dry_run": True})
    _say_done(here, foreseen, as_json=False, dry_run=True)
    if not _moves(foreseen) and not foreseen["runs"]:
        return False
    billing = foreseen["runs"] and not no_run
    what = "Fazer isso, e faturar o que for liberado" if billing else "Fazer isso"
    _ask(here, what)
    return True


def _ask(here: Desk, what: str) -> None:
    here.ask(f"{what}, na pilha {here.stack.name} ({here.stack.region})?", "mudado")


def _until_done(here: Desk, request: dict[str, Any]) -> dict[str, Any]:
    """Asks again while there is more and the last answer moved something; one answer of them all."""
    answer = here.stack.repair(request)
    last = answer
    while last["more"] and _moves(last):
        last = here.stack.repair(request)
        items = {_identity(item): item for item in [*answer["items"], *last["items"]]}
        runs = {(run["company"], run["month"]): run for run in [*answer["runs"], *last["runs"]]}
        answer = last | {"items": list(items.values()), "runs": list(runs.values())}
    counts: dict[str, int] = {}
    for item in answer["items"]:
        counts[item["decision"]] = counts.get(item["decision"], 0) + 1
    return answer | {"counts": counts}


def _moves(answer: Mapping[str, Any]) -> bool:
    return any(decision != "stays" for decision in answer["counts"])


def _identity(item: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(item.get(name, "")) for name in ("id", "company", "contract", "month", "kind"))


def _start_run(here: Desk, answer: Mapping[str, Any]) -> Execution | None:
    """The run asked for, for what was released, by the same way as `billing-ops run`."""
    if not answer["runs"]:
        return None
    (month,) = {run["month"] for run in answer["runs"]}
    request = {
        "month": month,
        "companies": [run["company"] for run in answer["runs"]],
        "trigger": "operator",
        "preview": False,
        "who": here.stack.who(here.tools.environ),
    }
    return here.stack.start(request, f"{month}-operador-{here.now():%Y%m%dT%H%M%S}")


# ---- saying


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        item["id"][:8] or "(livro)",
        item["class"],
        item["company"],
        _subject(item),
        item["month"],
        format_brl(item["amount"]) if "amount" in item else "",
        _since(item),
        _short(item["reason"]),
    )


def _subject(item: Mapping[str, Any]) -> str:
    if item["what"] == "batch":
        return f"lote de {len(item['contracts'])}"
    return item["contract"] or "ilegível"


def _since(item: Mapping[str, Any]) -> str:
    return f"{datetime.fromisoformat(item['since']).astimezone(SAO_PAULO):%d/%m %H:%M}" if item["since"] else ""


def _short(text: str, width: int = 70) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _close_up(item: Mapping[str, Any]) -> Iterable[str]:
    where = f"{item['month'] or 'sem mês'}, {item['company'] or 'sem empresa'}"
    yield f"{_subject(item)}, {where}: parado desde {_since(item)}"
    yield f"  Classe: {item['class']} ({CLASSES[item['class']]})"
    if "amount" in item:
        yield f"  Valor: {format_brl(item['amount'])}"
    yield f"  Motivo: {item['reason']}"
    yield f"  O que fazer: {item['safe_action']}"
    if item["what"] == "contract":
        yield f"  A história: billing-ops explain --contract {item['contract']} --month {item['month']}"
    elif item["what"] == "batch":
        yield f"  Contratos: {', '.join(item['contracts'])}"


def _say_done(here: Desk, answer: Mapping[str, Any], *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        here.say_json(answer)
        return
    for refused in answer["refused"]:
        here.note(f"{refused['company']}: {refused['why']}")
    if not answer["items"]:
        here.say("Nada a fazer.")
        return
    titles = ("contrato", "empresa", "mês", "classe", "resultado", "por quê")
    rows = [
        (
            _subject(item),
            item["company"],
            item["month"],
            item["class"],
            DECISIONS[item["decision"]][2 if dry_run else 0],
            item["why"],
        )
        for item in answer["items"]
    ]
    render.console().print(render.table(titles, rows))
    here.say("")
    counts = [(DECISIONS[decision], count) for decision, count in answer["counts"].items()]
    summary = ", ".join(f"{thousands(count)} {words[0] if count == 1 else words[1]}" for words, count in counts)
    here.say(f"Simulação, nada foi mudado: {summary}." if dry_run else f"{summary}.")
    if answer["more"]:
        here.note("Ainda há mais: repita o comando.")
    if dry_run:
        return
    _say_hidden(here, answer, filtered=True)


def _say_run(here: Desk, answer: Mapping[str, Any], started: Execution | None) -> None:
    """What becomes of the run that bills what was released. Raises OperatorError when it was refused."""
    if not answer["runs"]:
        return
    companies = [run["company"] for run in answer["runs"]]
    if started is None:
        options = " ".join(f"--company {company}" for company in companies)
        here.say(f"Falta a execução que replaneja, confere e fatura: billing-ops run {options}")
        return
    if why := opening.refused(here, started):
        options = " ".join(f"--company {company}" for company in companies)
        raise OperatorError(
            f"O que foi liberado ainda não é faturado, porque a execução foi recusada. {why} "
            f"Se a que está em andamento não o levar, repita depois: billing-ops run {options}"
        )
    here.say(f"Execução {started.name} iniciada para {', '.join(companies)}: replaneja, confere e fatura.")
    here.say(f"Acompanhe com: billing-ops follow {started.name}")


def _say_hidden(here: Desk, answer: Mapping[str, Any], *, filtered: bool) -> None:
    seen = sum(1 for item in answer["items"] if item["id"])
    if not filtered and answer["waiting"] > seen:
        here.note(f"Há mais {thousands(answer['waiting'] - seen)} na fila, que aparecem depois destes.")
