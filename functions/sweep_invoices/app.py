"""Asks for a look at every billed order of which Omie says something that Jestor was not told."""

from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.sweep_invoices import sweep_invoices


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    answer = sweep_invoices(event, bootstrap.sweep_invoices())
    for company, counts in answer["companies"].items():
        tell("invoices swept", {"company": company} | counts)
    return answer
