"""`billing-ops sweep`: does Omie agree with Jestor, and what differs."""

from __future__ import annotations

from typing import Annotated

import typer

from ops import render
from ops.desk import desk
from ops.options import Companies, Json  # noqa: TC001 - Typer reads the annotations
from ops.stack import known_company


def sweep(
    ctx: typer.Context,
    *,
    company: Companies = None,
    only_list: Annotated[bool, typer.Option("--list", help="Só mostra o que difere; nada é acertado.")] = False,
    as_json: Json = False,
) -> None:
    """Confere agora o que a conferência diária confere: Jestor e Omie, contrato a contrato.

    O que difere é acertado no Omie (ou só listado, com --list ou pela configuração), na fila de cada empresa, entre os
    lotes de faturamento. Sai com 0 mesmo quando algo difere; com 1 se uma empresa não pôde ser lida.
    """
    here = desk(ctx)
    stack = here.stack
    companies = [known_company(stack.settings(), key) for key in dict.fromkeys(company or ())]
    request = {"companies": companies or None, "list": only_list, "source": "operator"}
    answer = stack.sweep(request)
    if as_json:
        here.say_json(answer)
    else:
        render.paragraphs(stack.text(answer["report"]["text"]).rstrip().splitlines())
        if any(counts["ordered"] or counts["holds"] for counts in answer["companies"].values()) and not only_list:
            here.say("Os acertos seguem pela fila de cada empresa; repita daqui a alguns minutos para ver o resultado.")
    if any(counts["stopped"] for counts in answer["companies"].values()):
        raise typer.Exit(1)
