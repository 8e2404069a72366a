"""Once a day: what no webhook told. Finds where Jestor and Omie differ, and has it mended or listed."""

from typing import Any

from billing import bootstrap
from billing.log import tell
from billing.sweep_contracts import sweep_contracts


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    answer = sweep_contracts(event, bootstrap.sweep_contracts())
    for company, counts in answer["companies"].items():
        tell("contracts swept", counts | {"company": company})
    return answer
