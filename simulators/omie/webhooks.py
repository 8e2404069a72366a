"""Omie's webhooks out: FIFO per app and endpoint, three tries 1-4 s apart, then a dead-letter queue every ten
minutes for five days (Omie help 9565655; numbers as quoted from it). While one message fails, those behind wait.

Pure: `due` says what to POST now, `report` takes what came of it; the HTTP shell (or a test) does the sending.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulators.omie.faults import FaultPlan

TIMEOUT: Final = 7.0
DEAD_TIMEOUT: Final = 20.0
TRIES: Final = 3
DEAD_EVERY: Final = 600.0
DEAD_FOR: Final = 5 * 24 * 3600.0


@dataclass(slots=True)
class Message:
    """One webhook on its way to one endpoint."""

    url: str
    topic: str
    body: bytes
    not_before: float
    born: float
    tries: int = 0
    dead: bool = False
    in_flight: bool = False

    @property
    def timeout(self) -> float:
        return DEAD_TIMEOUT if self.dead else TIMEOUT


class Outbox:
    def __init__(self, faults: FaultPlan, *, seed: int = 0) -> None:
        self._random = Random(f"webhooks-{seed}")
        self._faults = faults
        self._endpoints: list[tuple[str, str, frozenset[str]]] = []
        self._queues: dict[tuple[str, str], deque[Message]] = {}
        self._late: list[tuple[tuple[str, str], Message]] = []
        self._dead: list[Message] = []
        self.delivered = 0
        self.given_up = 0

    def subscribe(self, url: str, *, company: str = "", topics: Iterable[str] = ()) -> None:
        """Send the topics (all when empty) of a company (all when empty) to `url`."""
        self._endpoints.append((url, company, frozenset(topics)))

    def subscribe_anew(self, endpoints: Iterable[tuple[str, str, frozenset[str]]]) -> None:
        """Exactly these (url, company or "", topics or none) from now on; what is queued is still sent."""
        self._endpoints = list(endpoints)

    @property
    def endpoints(self) -> tuple[tuple[str, str, frozenset[str]], ...]:
        return tuple(self._endpoints)

    @property
    def wanted(self) -> bool:
        return bool(self._endpoints)

    def emit(self, company: str, app_key: str, topic: str, event: object, now: float) -> None:
        """Queue one event for every endpoint that wants it."""
        for url, only_company, topics in self._endpoints:
            if (only_company and only_company != company) or (topics and topic not in topics):
                continue
            fault = self._faults.draw_webhook(topic, company)
            kind = fault.kind if fault else ""
            if kind == "webhook_lost":
                continue
            message = Message(url, topic, self._body(app_key, topic, event), now, now)
            group = (app_key, url)
            if fault is not None and kind == "webhook_late":
                message.not_before = now + fault.seconds
                self._late.append((group, message))
                continue
            queue = self._queues.setdefault(group, deque())
            queue.append(message)
            if kind == "webhook_duplicate":
                queue.append(Message(url, topic, message.body, now, now))

    def ping(self, now: float) -> None:
        """The portal's test button."""
        for url, company, _ in self._endpoints:
            queue = self._queues.setdefault((company, url), deque())
            queue.append(Message(url, "ping", b'{"ping":"omie"}', now, now))

    def due(self, now: float) -> list[Message]:
        """Messages to POST now: the head of each group, and dead letters whose ten minutes are over."""
        for group, message in [late for late in self._late if late[1].not_before <= now]:
            self._queues.setdefault(group, deque()).append(message)
        self._late = [late for late in self._late if late[1].not_before > now]
        heads = [queue[0] for queue in self._queues.values() if queue]
        found = [message for message in heads + self._dead if not message.in_flight and message.not_before <= now]
        for message in found:
            message.in_flight = True
        return found

    def report(self, message: Message, now: float, *, ok: bool) -> None:
        """What came of a POST: 2XX in time, or anything else."""
        message.in_flight = False
        message.tries += 1
        if ok:
            self._forget(message)
            self.delivered += 1
        elif message.dead:
            message.not_before = now + DEAD_EVERY
            if now - message.born > DEAD_FOR:
                self._forget(message)
                self.given_up += 1
        elif message.tries >= TRIES:
            self._forget(message)
            message.dead = True
            message.not_before = now + DEAD_EVERY
            self._dead.append(message)
        else:
            message.not_before = now + 1.0 + 3.0 * self._random.random()

    def next_at(self) -> float | None:
        """When `due` next has something, None when all is delivered."""
        heads = [queue[0] for queue in self._queues.values() if queue]
        times = [message.not_before for message in heads + self._dead if not message.in_flight]
        times += [message.not_before for _, message in self._late]
        return min(times, default=None)

    def pending(self) -> dict[str, int]:
        return {
            "queued": sum(len(queue) for queue in self._queues.values()) + len(self._late),
            "dead": len(self._dead),
            "delivered": self.delivered,
            "given_up": self.given_up,
        }

    def _forget(self, message: Message) -> None:
        if message.dead:
            self._dead.remove(message)
            return
        for queue in self._queues.values():
            if queue and queue[0] is message:
                queue.popleft()

    def _body(self, app_key: str, topic: str, event: object) -> bytes:
        envelope: dict[str, Any] = {
            "messageId": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "topic": topic,
            "event": event,
            "author": {"email": "no-reply@omie.com.br", "name": "Integração", "userId": 89},
            "appKey": app_key,
            "appHash": sha1(app_key.encode(), usedforsecurity=False).hexdigest(),
            "origin": "omie-connect-2.0",
        }
        return json.dumps(envelope, ensure_ascii=False).encode()
