"""Balances the books of the run, writes the report and tells people."""

from typing import Any

from billing import bootstrap
from billing.close_run import close_run

deps = bootstrap.close_run()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return close_run(event, deps)
