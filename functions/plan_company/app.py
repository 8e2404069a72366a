"""Reads both sides in bulk and writes what will be billed, to the cent, before anything is."""

from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.plan_company import plan_company


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    planned = plan_company(event, bootstrap.plan_company())
    tell("company planned", planned | planned["plan"]["counts"])
    return planned
