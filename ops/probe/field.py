"""One probe under way: what it made and billed, and what Omie showed of it last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from billing.omie.replies import NotExecuted, Rejected
from ops.probe.caller import NoRoom
from ops.probe.observations import Billed, Observations

if TYPE_CHECKING:
    from ops.probe.caller import Caller, Reply
    from ops.probe.things import Maker

Json = dict[str, Any]

CONTRACT, ORDER, CUSTOMER, TITLE, RECEIPT = "contrato", "ordem de serviço", "cliente", "título", "recebimento"
"""Kinds of what a probe makes."""


@dataclass(slots=True)
class Made:
    """Something the probe made. `gone`: whether it was undone; `number`: 0 while Omie has not said it."""

    kind: str
    code: str
    number: int = 0
    gone: bool = False


@dataclass(slots=True)
class Field:
    caller: Caller
    maker: Maker
    seen: Observations
    made: list[Made] = field(default_factory=list)
    contracts: dict[str, Json] = field(default_factory=dict)
    """Code -> the contract as last listed."""
    listed: dict[int, Json] = field(default_factory=dict)
    """nCodCtr -> every contract with a probe's code, as last listed."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Code -> nCodCtr of the probe's contracts."""
    wanted: dict[str, str] = field(default_factory=dict)
    """Code -> the dVigFinal that its last alteration asked for."""
    in_20: set[str] = field(default_factory=set)
    """Codes that stage 20 showed before their billing."""
    stages: dict[str, tuple[float, frozenset[int]]] = field(default_factory=dict)
    """cEtapa -> when it was last asked for, and the contracts it showed."""
    settled: set[int] = field(default_factory=set)
    """Orders at which no look is taken any more, because they were cancelled."""
    empty: bool = False
    """Whether the last list of contracts had none: Omie calls that an error, so the next look waits for long."""
    by_customer: bool = False
    """Whether the list of contracts is asked for by the customer, because some of the probe's were seen in it."""
    billed_again: set[str] = field(default_factory=set)
    """Codes of contracts billed a second time: what the stages show of them is of either billing."""
    unanswered: Counter[str] = field(default_factory=Counter)
    """Code -> billings of this contract of which Omie did not answer that they were done."""
    asked: Counter[str] = field(default_factory=Counter)
    """Method -> how often its list was asked for."""

    # ---- making

    def make(self, kind: str, code: str, method: str, param: Json, key: str) -> Reply:
        """Create something; it is listed as made before the call leaves, and until Omie says that it was refused."""
        made = Made(kind, code)
        self.made.append(made)
        reply = self.caller.write(method, param)
        number = (reply.answer or {}).get(key)
        if isinstance(number, int):
            made.number = number
        elif isinstance(reply.error, Rejected | NotExecuted):
            self.made.remove(made)
        return reply

    def number(self, code: str) -> int:
        """nCodCtr of a contract of the probe's. Raises NoRoom when it could not be created."""
        if code not in self.numbers:
            raise NoRoom("o contrato de teste não foi criado")
        return self.numbers[code]

    def bill(self, code: str) -> Reply:
        """FaturarContrato; an order that the reply names is looked for from now on."""
        if self.billed(code) is not None:
            self.billed_again.add(code)
        contract = self.number(code)
        self.unanswered[code] += 1
        reply = self.caller.write("FaturarContrato", {"nCodCtr": contract})
        number = (reply.answer or {}).get("nCodOS")
        if isinstance(number, int):
            self.unanswered[code] -= 1
            first = not any(each.code == code for each in self.seen.billed)
            self.seen.billed.append(Billed.by(reply, code, number, first=first))
        return reply

    def billed(self, code: str) -> Billed | None:
        """The first billing of that contract, if Omie answered it with an order."""
        return next((each for each in self.seen.billed if each.code == code), None)

    def own_contracts(self) -> set[int]:
        """nCodCtr of every contract that a probe is known to have made."""
        return {one.number for one in self.made if one.kind == CONTRACT} | set(self.listed)
