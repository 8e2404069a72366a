"""Hints on the living contract's queues: "look at this contract". Whoever takes one reads both sides again.

A hint that came too early is hidden in its queue until its time. Its queue's groups are the contracts, so nobody else
waits behind it; the lane of a company, whose group is the company, never waits for one contract.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from billing.clock import Clock
from billing.store.ports import Messages

FIRST_PAUSE: Final = 60.0
LONGEST_PAUSE: Final = 3600.0
RECEIVES: Final = 3
"""A hint that was put off so often goes on as a new message: the queue gives up one that was received five times."""
EPOCH: Final = "1970-01-01T00:00:00+00:00"


class Later(Exception):  # noqa: N818 - an answer
    """Look again at `until` (epoch seconds)."""

    def __init__(self, until: float, why: str) -> None:
        super().__init__(why)
        self.until = until
        self.why = why


@dataclass(frozen=True, slots=True)
class Hint:
    """One contract, or (`customer`) all of a customer's. `tries`: how often it was put off; `not_before`: epoch s."""

    contract: str = ""
    jestor_id: int = 0
    customer: int = 0
    company: str = ""
    source: str = "webhook"
    webhook: str = ""
    received_at: str = EPOCH
    tries: int = 0
    not_before: float = 0.0

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Raises ValueError: no contract and no customer in it."""
        known = {name: message[name] for name in cls.__dataclass_fields__ if message.get(name) is not None}
        hint = cls(**known)
        if not (hint.contract and hint.jestor_id) and not hint.customer:
            raise ValueError("a hint that names no contract and no customer")
        return hint

    def message(self) -> dict[str, Any]:
        """JSON-able; what says nothing is left out."""
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in said.items() if value}

    def again(self, at: float) -> Self:
        return replace(self, not_before=at, tries=self.tries + 1)

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.received_at)


def pause(tries: int) -> float:
    """Seconds before the next look, after so many."""
    return min(FIRST_PAUSE * 2.0**tries, LONGEST_PAUSE)


def take(
    record: Mapping[str, Any], work: Callable[[Hint, str], dict[str, Any]], *, queues: Messages, url: str, clock: Clock
) -> dict[str, Any]:
    """One message of the queue `url`; "later" in the answer: it is hidden until then and must be returned.

    `work`: is given the hint and the message's id.
    """
    hint = Hint.of(json.loads(record["body"]))
    facts = {"contract": hint.contract, "source": hint.source, "webhook": hint.webhook}
    later: Later | None = None
    if hint.not_before > clock.now().timestamp():
        later = Later(hint.not_before, "not yet")
    else:
        try:
            return facts | {"later": False} | work(hint, str(record["messageId"]))
        except Later as put_off:
            later = put_off
    if int(record.get("attributes", {}).get("ApproximateReceiveCount", 1)) >= RECEIVES:
        again = hint.again(later.until)
        group = hint.contract or f"customer-{hint.customer}"
        queues.send(url, again.message(), group, f"{record['messageId']}.again")
        return facts | {"later": False, "outcome": f"{later.why}; asked anew"}
    queues.hide(url, str(record["receiptHandle"]), later.until - clock.now().timestamp())
    return facts | {"later": True, "outcome": later.why}
