"""Omie's limits of use (Omie help 8112984 and 8001888), as sliding windows over a caller-supplied clock.

A call is in flight from its `now` until `now + delay`, so a virtual clock that does not move during calls sees
them as simultaneous. Refused calls are never in flight.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Any

from simulators.omie import answers
from simulators.omie.dates import iso

if TYPE_CHECKING:
    from simulators.omie.book import Book
    from simulators.omie.switches import Switches

MINUTE = 60.0
_NO_TIME = 1e-6


class TooManyError(Exception):
    """HTTP 429."""


class Line:
    """What is remembered of one IP + app_key + method."""

    __slots__ = ("calls", "errors", "in_flight")

    def __init__(self) -> None:
        self.calls: deque[float] = deque()
        self.errors: deque[float] = deque()
        self.in_flight: list[float] = []


class Limits:
    def __init__(self, switches: Switches, book: Book) -> None:
        self._switches = switches
        self._book = book
        self._ips: dict[str, deque[float]] = {}
        self._lines: dict[tuple[str, str, str], Line] = {}
        self._blocked: dict[tuple[str, str], float] = {}
        self._writing: dict[str, float] = {}
        self._seen = TwoMinutes()
        self._looked_up = TwoMinutes()

    def line(self, ip: str, key: str, method: str) -> Line:
        name = (ip, key, method)
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line()
        return line

    def admit_ip(self, ip: str, now: float) -> None:
        """960 calls a minute per IP, whatever they ask; TooManyError beyond."""
        calls = self._ips.setdefault(ip, deque())
        over = _count(calls, now, self._switches.calls_per_minute_ip, refused=self._switches.refused_calls_count)
        self._book.peak_ip = max(self._book.peak_ip, len(calls) + over)
        if over:
            self._book.breach("ip_per_minute", "", "", now)
            if self._switches.limits:
                raise TooManyError

    def admit(self, line: Line, company: str, key: str, method: str, now: float, *, write: bool) -> None:
        """Block, minute, simultaneity; raises TooManyError or OmieFault (425, 1880)."""
        switches, book = self._switches, self._book
        until = max(self._blocked.get((key, ""), 0.0), self._blocked.get((key, method), 0.0))
        if until > now:
            book.refused["blocked"] += 1
            raise answers.blocked(ceil(until - now))
        over = _count(line.calls, now, switches.calls_per_minute_method, refused=switches.refused_calls_count)
        peak = len(line.calls) + over
        count = book.methods[method]
        count.peak = max(count.peak, peak)
        if over:
            book.breach("method_per_minute", company, method, now)
            if switches.limits:
                raise TooManyError
        line.in_flight = [end for end in line.in_flight if end > now + _NO_TIME]
        if len(line.in_flight) >= switches.in_flight:
            book.breach("in_flight", company, method, now)
            if switches.limits:
                raise answers.busy()
        if write and self._writing.get(key, 0.0) > now + _NO_TIME:
            book.parallel_writes += 1
            book.breach("parallel_write", company, method, now)
            if switches.parallel_writes == "refuse" and switches.limits:
                raise answers.busy()

    def admit_again(self, company: str, key: str, method: str, param: str, now: float) -> int:
        """The how manieth time in a row the question is asked, 0 if nobody counts.

        REDUNDANT: the same method and parameters within 60 s; every repetition starts the window anew.
        """
        if not self._switches.redundant_on:
            return 0
        times, last = self._seen.note((key, method, param), now)
        if times >= self._switches.redundant_on:
            self._book.breach("redundant", company, method, now)
            if self._switches.limits:
                raise answers.redundant(max(1, ceil(MINUTE - (now - last))))
        return times

    def admit_lookup(self, company: str, key: str, method: str, param: dict[str, Any], now: float) -> None:
        """The same ID, consulted by the same method, is answered once in 60 s."""
        rule = self._switches.same_id_lookup
        if rule == "off" or not (
            method.startswith("Consultar") or (rule == "consultar+status" and method.startswith("Status"))
        ):
            return
        times, last = self._looked_up.note((key, method, _identity(param)), now)
        if times > 1:
            self._book.breach("same_id", company, method, now)
            if self._switches.limits:
                raise answers.redundant(max(1, ceil(MINUTE - (now - last))))

    def begin(self, line: Line, key: str, *, write: bool, until: float, written_by: float) -> None:
        line.in_flight.append(until)
        if write and written_by > self._writing.get(key, 0.0):
            self._writing[key] = written_by

    def error(self, line: Line, company: str, key: str, method: str, now: float) -> None:
        """One more answer with an error: the tenth within the window blocks the key (or the method)."""
        switches = self._switches
        errors = line.errors
        while errors and errors[0] <= now - switches.error_window:
            errors.popleft()
        errors.append(now)
        if len(errors) >= switches.error_budget and switches.limits:
            errors.clear()
            self.block(company, key, method, now, switches.block_seconds)

    def block(self, company: str, key: str, method: str, now: float, seconds: float) -> None:
        self._blocked[key, method if self._switches.block_scope == "method" else ""] = now + seconds
        self._book.blocks.append({"company": company, "method": method, "at": iso(now), "until": iso(now + seconds)})


class TwoMinutes:
    """When each thing was last seen and how often in a row without 60 s between; older things are forgotten."""

    __slots__ = ("_new", "_old", "_turn")

    def __init__(self) -> None:
        self._new: dict[object, tuple[float, int]] = {}
        self._old: dict[object, tuple[float, int]] = {}
        self._turn = 0.0

    def note(self, thing: object, now: float) -> tuple[int, float]:
        """(how many times by now, when the time before was)."""
        if now - self._turn >= MINUTE:
            self._old = self._new if now - self._turn < 2 * MINUTE else {}
            self._new = {}
            self._turn = now
        seen = self._new.get(thing) or self._old.get(thing)
        if seen is None or now - seen[0] >= MINUTE:
            self._new[thing] = (now, 1)
            return 1, now
        self._new[thing] = (now, seen[1] + 1)
        return seen[1] + 1, seen[0]


def _count(calls: deque[float], now: float, most: int, *, refused: bool) -> bool:
    """Note a call in the sliding minute; True when it is one too many (then it is only noted if `refused`)."""
    while calls and calls[0] <= now - MINUTE:
        calls.popleft()
    over = len(calls) >= most
    if not over or refused:
        calls.append(now)
    return over


def _identity(param: dict[str, Any]) -> tuple[object, ...]:
    """The ids in a lookup's parameter: its numbers and texts, not its options (true/false)."""
    values: list[object] = []
    for tag in sorted(param):
        value = param[tag]
        if isinstance(value, dict):
            values.extend(_identity(value))
        elif value and not isinstance(value, bool):
            values.append(value if isinstance(value, int | float | str) else repr(value))
    return tuple(values)
