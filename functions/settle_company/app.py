"""Reads what really happened in Omie, resolves what is in doubt, and says whether anything is left to send."""

from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.settle_company import settle_company


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    settled = settle_company(event, bootstrap.settle_company())
    tell("company settled", settled)
    return settled
