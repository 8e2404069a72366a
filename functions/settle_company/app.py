"""Reads what really happened in Omie, resolves what is in doubt, and says whether anything is left to send."""

from typing import Any

from billing import bootstrap
from billing.settle_company import settle_company

deps = bootstrap.settle_company()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return settle_company(event, deps)
