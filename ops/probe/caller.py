"""The probe's only way to Omie: every call is counted, timed, kept inside the budgets and out of repetitions.

    budget                     for experiments     in all
    calls                      210                 250
    minutes                    24                  30
    errors of one method       3; of a list 2      3       (Omie blocks the key at ten)

The same question waits for 61 s, also the same ID of a method that looks one up. Only the two experiments that ask
whether Omie minds (`redundant_on`, `same_id_lookup`) put a question again on purpose: at most one error a method each.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from billing.omie.governor import LaneState, ask
from billing.omie.replies import Blocked, KeyRefused, OmieError, Rejected
from ops.probe.client import ProbeClient, WithoutSlash
from ops.probe.lags import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    import httpx

    from billing.clock import Clock

    class Http(Protocol):
        """The part of httpx.Client that OmieClient uses."""

        def post(self, url: str, *, content: str, headers: Mapping[str, str]) -> httpx.Response: ...


Json = dict[str, Any]

MOST_CALLS: Final = 250
MOST_SECONDS: Final = 1800.0
MOST_ERRORS: Final = 3
FOR_CLEANING: Final = (40, 360.0)
"""Calls and seconds that the experiments leave to the cleaning."""
MOST_SILENT: Final = 4
"""Calls in a row without an answer after which Omie is left alone."""
IN_FLIGHT_HEADER: Final = "X-Omie-ParallelRateLimit"


class StopProbe(Exception):  # noqa: N818 - a decision
    """Nothing more may be asked of this Omie; the text says why, in Portuguese."""


class NoRoom(Exception):  # noqa: N818 - a decision
    """This call does not fit into a budget; the text says which, in Portuguese."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call. Either `answer` or `error` is there; times are epoch seconds of our clock."""

    method: str
    sent: float
    answered: float
    answer: Json | None = None
    error: OmieError | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None

    @property
    def silent(self) -> bool:
        return self.error is not None and self.error.http_status is None

    @property
    def refused(self) -> bool:
        """Omie answered, and not with what was asked for."""
        return self.error is not None and self.error.http_status is not None

    @property
    def words(self) -> str:
        return self.error.text if self.error else ""

    def rows(self, key: str) -> list[Json] | None:
        """The records of a list; None when it was not answered. An empty list, which Omie calls an error, is []."""
        if self.answer is not None:
            found = self.answer.get(key)
            return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else None
        return [] if isinstance(self.error, Rejected) and self.error.rule == "empty_page" else None


class Meter:
    """Stands between OmieClient and httpx: when the last request left and was answered, and with which headers."""

    def __init__(self, http: Http, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self.sent = self.answered = 0.0
        self.headers: Mapping[str, str] = {}

    def post(self, url: str, *, content: str, headers: Mapping[str, str]) -> httpx.Response:
        self.headers = {}
        self.sent = self.answered = self._clock.now().timestamp()
        try:
            response = self._http.post(url, content=content, headers=headers)
            self.headers = response.headers
        finally:
            self.answered = self._clock.now().timestamp()
        return response


class Measured(NamedTuple):
    """What the calls themselves told. `offsets`: bounds of Omie's clock minus ours, one for each `Date` header."""

    calls: Counter[str]
    errors: Counter[str]
    silent: Counter[str]
    latencies: defaultdict[str, list[float]]
    offsets: list[Span]
    in_flight: set[str]


class Caller:
    """Asks one Omie account.

    Args:
        make: gives a client of that class whose requests go through the meter.
        http: what the meter hands requests to.
        turn: seconds to wait before a question, by what others of this system asked; it may raise Blocked.
    """

    def __init__(
        self,
        make: Callable[[type[ProbeClient], Meter], ProbeClient],
        http: Http,
        clock: Clock,
        turn: Callable[[str], float] | None = None,
    ) -> None:
        self.clock = clock
        self._meter = Meter(http, clock)
        self._client = make(ProbeClient, self._meter)
        self._slashless = make(WithoutSlash, self._meter)
        self._turn = turn
        self._asked = LaneState()
        self._began = self.now()
        self._silent_in_a_row = 0
        self._cleaning = False
        self.measured = Measured(Counter(), Counter(), Counter(), defaultdict(list), [], set())

    def now(self) -> float:
        return self.clock.now().timestamp()

    @property
    def seconds(self) -> float:
        """Since the probe began."""
        return self.now() - self._began

    @property
    def calls(self) -> int:
        return self.measured.calls.total()

    def clean_up(self) -> None:
        """From now on the reserve may be used, and silences begin to count anew."""
        self._cleaning = True
        self._silent_in_a_row = 0

    def room(self, seconds: float = 0.0) -> bool:
        """Whether one more call fits, `seconds` from now."""
        calls, left = (0, 0.0) if self._cleaning else FOR_CLEANING
        return self.calls < MOST_CALLS - calls and self.seconds + seconds < MOST_SECONDS - left

    def wait(self, seconds: float) -> None:
        """Raises NoRoom instead of waiting beyond the time there is."""
        if seconds <= 0:
            return
        if not self.room(seconds):
            raise NoRoom("acabou o tempo da sonda")
        self.clock.sleep(seconds)

    def read(self, method: str, param: Json, *, again: bool = False, slash: bool = True) -> Reply:
        """Ask once the question's minute has come.

        again: at once, although Omie may refuse it as redundant. slash: whether the address ends with its slash.
        """
        texts = [_text(param)]
        if method.startswith(("Consultar", "Status")):
            texts.append(f"id {_ids(param)}")
        if not again:
            self._take_turn(method, param, self._shared(f"{method} {_text(param)}"))
        self._asked = self._asked._replace(
            asked=self._asked.asked | dict.fromkeys(_questions(method, param), self.now())
        )
        return self._call(method, lambda: (self._client if slash else self._slashless).read(method, param))

    def write(self, method: str, param: Json) -> Reply:
        """Send once its minute has come; what came of it is the caller's to find out when no answer tells."""
        self._take_turn(method, param)
        return self._call(method, lambda: self._client.write(method, param))

    def _take_turn(self, method: str, param: Json, least: float = 0.0) -> None:
        waits = [least]
        for question in _questions(method, param):
            self._asked, wait = ask(self._asked, question, self.now())
            waits.append(wait)
        self.wait(max(waits))

    def _shared(self, question: str) -> float:
        if self._turn is None or self._cleaning:  # nothing may keep the cleaning from being done
            return 0.0
        try:
            return self._turn(question)
        except Blocked as stop:
            raise StopProbe(f"a fila desta empresa está parada: {stop.text}") from None

    def _call(self, method: str, send: Callable[[], Json]) -> Reply:
        seen = self.measured
        if not self.room():
            raise NoRoom("acabou o limite de chamadas ou de tempo da sonda")
        # The lists are what the cleaning needs: one error is left to it.
        most = MOST_ERRORS - (method.startswith("Listar") and not self._cleaning)
        if seen.errors[method] >= most:
            raise NoRoom(f"{method} já respondeu {most} erros, o limite da sonda")
        seen.calls[method] += 1
        answer: Json | None = None
        error: OmieError | None = None
        try:
            answer = send()
        except OmieError as raised:
            error = raised
        reply = Reply(method, self._meter.sent, self._meter.answered, answer, error)
        self._note(reply)
        return reply

    def _note(self, reply: Reply) -> None:
        seen, error = self.measured, reply.error
        if reply.silent:
            seen.silent[reply.method] += 1
            self._silent_in_a_row += 1
            if self._silent_in_a_row >= MOST_SILENT:
                raise StopProbe(f"o Omie não respondeu a {MOST_SILENT} chamadas seguidas")
            return
        self._silent_in_a_row = 0
        seen.latencies[reply.method].append(reply.answered - reply.sent)
        headers = self._meter.headers
        if (date := _moment(headers.get("Date"))) is not None:
            seen.offsets.append(Span(date - reply.answered, date + 1 - reply.sent))
        if limit := headers.get(IN_FLIGHT_HEADER):
            seen.in_flight.add(limit.rpartition("/")[2].strip())
        if error is not None and error.counts_toward_block:
            seen.errors[reply.method] += 1
        if isinstance(error, KeyRefused):
            raise StopProbe("o Omie recusa a chave desta empresa")
        if isinstance(error, Blocked):
            raise StopProbe(f"o Omie bloqueou a chave: {error.text}")


def _moment(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None


def _questions(method: str, param: Json) -> list[str]:
    """What Omie may take for the same when it comes again within a minute."""
    same = [f"{method} {_text(param)}"]
    if method.startswith(("Consultar", "Status")):
        same.append(f"{method} id {_ids(param)}")
    return same


def _text(param: Json) -> str:
    return json.dumps(param, sort_keys=True, default=str)


def _ids(param: Json) -> str:
    """The numbers and texts by which a look-up names its record, without its options."""
    values: list[str] = []
    for tag in sorted(param):
        value = param[tag]
        if isinstance(value, dict):
            values.append(_ids(value))
        elif value and not isinstance(value, bool):
            values.append(str(value))
    return " ".join(values)
