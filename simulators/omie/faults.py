"""Faults on demand: by seeded share, by the nth call, or by explicit script.

The text form, for the command line, is one fault per `;`, e.g.
    lost_reply:methods=FaturarContrato:share=0.03;slow:share=0.01:seconds=20;broken_response:nth=5,9
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS: Final[Mapping[str, str]] = {
    "lost_reply": "executed, then the connection breaks without a reply",
    "lost_request": "not executed, the connection breaks without a reply",
    "late_execution": "the connection breaks without a reply; executed `seconds` later",
    "slow": "executed at once, answered `seconds` later",
    "server_error": "HTTP 503 with an empty body",
    "html": "HTTP 502 with an HTML body",
    "broken_response": "SOAP-ERROR: Broken response from Application Server (4)",
    "proto_byebye": "HTTP 500 PROTO_BYEBYE",
    "already_processing": "8020",
    "unknown_wording": "HTTP 500 with a text nobody has seen",
    "not_json": "HTTP 200 with half a JSON document",
    "too_many_requests": "429, not executed",
    "busy": "1880, not executed",
    "redundant": "REDUNDANT, not executed",
    "blocked": "425 for `seconds` on the whole key, not executed",
    "soft_error": "HTTP 200 with cCodStatus 101, not executed",
    "webhook_duplicate": "the webhook is sent twice",
    "webhook_late": "the webhook is sent `seconds` later, out of order",
    "webhook_lost": "the webhook is never sent",
}
MAYBE_EXECUTED: Final = frozenset(
    {"server_error", "html", "broken_response", "proto_byebye", "already_processing", "unknown_wording", "not_json"}
)
"""Kinds after which only a look can tell; `executed` says yes, no, or (default) leaves it to the seed."""

PRESETS: Final[Mapping[str, str]] = {
    "rough": (
        "lost_reply:share=0.02;late_execution:share=0.01:seconds=45;slow:share=0.01:seconds=12;"
        "server_error:share=0.01;broken_response:share=0.01;html:share=0.005"
    ),
}


class FaultError(ValueError):
    """A fault that cannot be read; the text says what is valid."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule. All its conditions must hold; the first rule that fires wins.

    methods, companies: empty means any. writes: only methods that change something.
    share: seeded chance per matching call. nth: which matching calls (1-based), instead of a share.
    times: fires at most so often. seconds: of slow, late_execution, blocked, webhook_late.
    contains: only when the parameter's JSON contains this text (one contract's id, say).
    """

    kind: str
    methods: frozenset[str] = frozenset()
    companies: frozenset[str] = frozenset()
    writes: bool = False
    share: float = 1.0
    nth: frozenset[int] = frozenset()
    times: int = 0
    seconds: float = 30.0
    executed: str = "seeded"
    contains: str = ""


def read_faults(source: object) -> list[Fault]:
    """Rules from JSON text, a list of objects, the command line's text form, or a preset's name.

    Raises:
        FaultError: one clear line.
    """
    if isinstance(source, str):
        text = PRESETS.get(source.strip(), source).strip()
        if text.startswith(("[", "{")):
            source = json.loads(text)
        else:
            source = [_from_text(part) for part in text.split(";") if part.strip()]
    if isinstance(source, dict):
        source = source.get("faults", [source])
    if not isinstance(source, list):
        raise FaultError("faults: a list of objects, or text such as lost_reply:share=0.03")
    return [_fault(item) for item in source]


def _from_text(text: str) -> dict[str, Any]:
    kind, *options = text.strip().split(":")
    item: dict[str, Any] = {"kind": kind}
    for option in options:
        name, _, value = option.partition("=")
        item[name] = value
    return item


def _fault(item: object) -> Fault:
    if not isinstance(item, dict):
        raise FaultError(f"a fault is an object, not {item!r}")
    names = {field.name for field in fields(Fault)}
    if unknown := set(item) - names:
        raise FaultError(f"fault option {min(unknown)!r} is unknown; there are: {', '.join(sorted(names))}")
    kind = str(item.get("kind"))
    if kind not in KINDS:
        raise FaultError(f"fault kind {kind!r} is unknown; there are: {', '.join(KINDS)}")
    executed = str(item.get("executed", "seeded"))
    if executed not in {"yes", "no", "seeded"}:
        raise FaultError(f"executed is yes, no or seeded, not {executed!r}")
    try:
        return Fault(
            kind=kind,
            methods=frozenset(_words(item.get("methods"))),
            companies=frozenset(_words(item.get("companies"))),
            writes=str(item.get("writes", "")).lower() in {"true", "1"},
            share=float(item.get("share", 1.0)),
            nth=frozenset(int(word) for word in _words(item.get("nth"))),
            times=int(item.get("times", 0)),
            seconds=float(item.get("seconds", 30.0)),
            executed=executed,
            contains=str(item.get("contains", "")),
        )
    except ValueError as error:
        raise FaultError(f"fault {kind}: {error}") from None


def _words(value: object) -> Iterable[str]:
    if value is None:
        return ()
    if isinstance(value, list | tuple | set | frozenset):
        return [str(word) for word in value]
    return [word.strip() for word in str(value).split(",") if word.strip()]


class FaultPlan:
    """The rules in force, drawn with a random source of their own so that they repeat for one seed."""

    def __init__(self, rules: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._random = Random(f"faults-{seed}")
        self.replace(rules)

    def replace(self, rules: Iterable[Fault]) -> None:
        self.rules = tuple(rules)
        self._matched: Counter[int] = Counter()
        self._fired: Counter[int] = Counter()
        self._calls = tuple((i, rule) for i, rule in enumerate(self.rules) if not rule.kind.startswith("webhook"))
        self._hooks = tuple((i, rule) for i, rule in enumerate(self.rules) if rule.kind.startswith("webhook"))

    def draw(self, method: str, company: str, param: str, *, write: bool) -> Fault | None:
        """The fault of this call, if any."""
        for index, rule in self._calls:
            if rule.writes and not write:
                continue
            if rule.contains and rule.contains not in param:
                continue
            if self._fires(index, rule, method, company):
                return rule
        return None

    def draw_webhook(self, topic: str, company: str) -> Fault | None:
        for index, rule in self._hooks:
            if self._fires(index, rule, topic, company):
                return rule
        return None

    def executed(self, fault: Fault) -> bool:
        if fault.executed == "seeded":
            return self._random.random() < 0.5
        return fault.executed == "yes"

    def _fires(self, index: int, rule: Fault, method: str, company: str) -> bool:
        if (rule.methods and method not in rule.methods) or (rule.companies and company not in rule.companies):
            return False
        if rule.times and self._fired[index] >= rule.times:
            return False
        self._matched[index] += 1
        if rule.nth:
            fires = self._matched[index] in rule.nth
        else:
            fires = rule.share >= 1.0 or self._random.random() < rule.share
        if fires:
            self._fired[index] += 1
        return fires
