"""The file of facts that a probe leaves, for the simulators and for `doctor`; it is dated, and ends after 90 days."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from ops.probe.questions import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ops.findings import Examiner, Finding
    from ops.probe.told import Answer

VALID_FOR: Final = timedelta(days=90)
NAME: Final = "switches.toml"


def facts_key(company: str) -> str:
    """Where a company's facts lie in the data bucket."""
    return f"probe/{company}/{NAME}"


@dataclass(frozen=True, slots=True)
class Facts:
    measured_on: date
    told: int
    not_told: int

    def expired(self, today: date) -> bool:
        return today > self.measured_on + VALID_FOR


class BadFacts(ValueError):  # noqa: N818 - an answer
    """The file is not what a probe writes; the text is one line."""


def write_facts(company: str, day: date, answers: Mapping[str, Answer]) -> str:
    """switches.toml: a table [switches] for the simulators, [facts] that no switch plays, [not_told] with reasons."""
    lines = [
        "# billing-ops probe. Para o simulador: python -m simulators.omie --switches ARQUIVO",
        f"company = {json.dumps(company)}",
        f"measured_on = {day.isoformat()}",
    ]
    for table, wanted in (("switches", True), ("facts", False)):
        told = {name: answer for name, answer in answers.items() if answer.told and BY_NAME[name].is_switch is wanted}
        lines += ["", f"[{table}]"]
        lines += [f"{name} = {json.dumps(answer.value, ensure_ascii=False)}" for name, answer in told.items()]
    lines += ["", "[not_told]"]
    lines += [
        f"{name} = {json.dumps(answer.why, ensure_ascii=False)}" for name, answer in answers.items() if not answer.told
    ]
    return "\n".join(lines) + "\n"


def read_facts(text: str) -> Facts:
    """Raises BadFacts."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadFacts(f"não é um arquivo TOML ({error})") from None
    day = content.get("measured_on")
    if type(day) is not date:
        raise BadFacts("falta measured_on, o dia da medição")
    tables = [content.get(table) for table in ("switches", "facts", "not_told")]
    sizes = [len(table) if isinstance(table, dict) else 0 for table in tables]
    return Facts(day, sizes[0] + sizes[1], sizes[2])


def examine_facts(say: Examiner, texts: Sequence[str], today: date) -> Finding:
    """What `doctor` says of the newest facts: none yet is no fault, and old ones are to be measured again."""
    command = "billing-ops probe, numa conta de teste"
    if not texts:
        return say.ok("omie.probe", f"Ninguém mediu ainda como o Omie se comporta: vale o que supomos ({command}).")
    again = f"Meça de novo: {command}."
    try:
        facts = max((read_facts(text) for text in texts), key=lambda one: one.measured_on)
    except BadFacts as error:
        return say.by_hand("omie.probe", f"O que a sonda do Omie mediu não pode ser lido: {error}.", again)
    day = f"{facts.measured_on:%d/%m/%Y}"
    if facts.expired(today):
        what = f"O comportamento do Omie foi medido em {day}, há mais de {VALID_FOR.days} dias."
        return say.by_hand("omie.probe", what, again)
    return say.ok("omie.probe", f"Comportamento do Omie medido em {day}: {facts.told} respostas.")
