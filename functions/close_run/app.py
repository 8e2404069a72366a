"""Balances the books of the run, writes the report and tells people."""

from typing import Any

from billing import bootstrap
from billing.close_run import close_run
from billing.log import measure, tell


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    closed = close_run(event, bootstrap.close_run())
    tell("run closed", closed)
    for company in closed["companies"]:
        measure(company)
    return closed
