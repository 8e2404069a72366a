"""What an Omie reply means: every answer, and every missing answer, becomes exactly one of five outcomes.

    OmieError
    ├── NotExecuted            safe to try again, the call did nothing
    │   └── IncompleteRead     a paged read brought fewer records than Omie announced
    ├── Rejected               permanent: park it with the reason, never retry blindly
    │   ├── KeyRefused         the app key itself is refused: stop the lane and call a person
    │   ├── AlreadyRegistered  the key exists; `.existing_id` when Omie names it; confirm by reading
    │   └── EmptyPage          a list found nothing
    ├── Blocked                HTTP 425: stop the whole lane for `.retry_after` seconds
    └── InDoubt                a write that may or may not have happened: only reading can tell

The fifth outcome, Done, is the payload itself. The rows of `RULES` are tried in order and the first that fits
decides; rows that admit doubt stand before those that deny execution. What no row knows:

    a write   InDoubt       unknown wording, HTML, a torn body, no cCodStatus, time-out or reset after send
    a read    NotExecuted   reading again is always safe
    HTTP 200  Rejected      cCodStatus (or codigo_status) other than "0"

A write answered with a refusal *and* a sign of success (cCodStatus "0", or the id of a new OS or lot) is
InDoubt whatever the refusal says. Sources: Omie help 8112984 and 8001888, and replies seen live.
"""

import html
import json
import re
import unicodedata
from datetime import datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import httpx

from billing import json_in

TEXT_LIMIT = 500
"""Characters of Omie's text kept in an error."""
BLOCK_SECONDS = 1800.0
"""How long a block lasts when Omie does not say (Omie help 8112984: 30 minutes)."""
NOT_SENT = "not_sent"
"""The rule of a call that never left: Omie has seen nothing of it, so repeating it is not redundant."""
NO_ANSWER = "transport"
"""The rule of a call that may have arrived, and whose answer did not."""
LOST_PAGE = "lost_page"
"""The rule of a list's first page whose answer did not arrive: it may have been the error that says "nothing found"."""
LANE_STOP, READERS_STOP = "lane", "readers"
"""The rules of calls that we did not make: the company's lane stands, or its readers have spent their budget."""
OUR_STOPS = frozenset({LANE_STOP, READERS_STOP})
WAIT_MARGIN = 1.0
"""Seconds added to every wait that Omie names."""


class Outcome(StrEnum):
    DONE = "done"
    NOT_EXECUTED = "not_executed"
    REJECTED = "rejected"
    BLOCKED = "blocked"
    IN_DOUBT = "in_doubt"


class OmieError(Exception):
    """Base of the tree above.

    Attributes:
        outcome: what to do about it.
        method: Omie's method, e.g. FaturarContrato.
        http_status: None when no answer arrived.
        faultcode: as Omie wrote it, e.g. SOAP-ENV:Client-1880; cCodStatus of an HTTP 200; "" when none.
        text: Omie's own words, cleaned of entities and noise, one line, at most TEXT_LIMIT characters.
        retry_after: seconds to wait before the same call, None when nobody said.
        retry_at: the time of day (São Paulo) that code 8020 names.
        rule: name of the row that decided.
    """

    outcome: ClassVar[Outcome]

    def __init__(
        self,
        method: str,
        text: str,
        *,
        rule: str,
        http_status: int | None = None,
        faultcode: str = "",
        retry_after: float | None = None,
        retry_at: time | None = None,
    ) -> None:
        super().__init__(method, text)
        self.method = method
        self.text = text
        self.rule = rule
        self.http_status = http_status
        self.faultcode = faultcode
        self.retry_after = retry_after
        self.retry_at = retry_at

    def __str__(self) -> str:
        answer = "no answer" if self.http_status is None else f"HTTP {self.http_status}"
        code = f" {self.faultcode}" if self.faultcode else ""
        return f"{self.method}: {answer}{code} [{self.rule}] {self.text}".rstrip()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    @property
    def counts_toward_block(self) -> bool:
        """Whether Omie may count it among the ten error responses that block the key for 30 minutes.

        Which errors count is undocumented, so every error *response* does; a soft one (HTTP 200) and a
        missing answer do not, and while blocked there is nothing left to protect. A list that may be empty is
        the exception: Omie counts its "nothing found" whether or not that reaches us.
        """
        if self.outcome is Outcome.BLOCKED or self.rule in {"soft", "odd_reply"}:
            return False
        return self.was_answered or self.rule == LOST_PAGE

    @property
    def was_answered(self) -> bool:
        return self.http_status is not None


class NotExecuted(OmieError):  # noqa: N818 - an outcome, not an accident
    outcome = Outcome.NOT_EXECUTED


class IncompleteRead(NotExecuted):
    """The pages brought another number of records than announced: nothing may be concluded from them."""


class Rejected(OmieError):  # noqa: N818 - an outcome, not an accident
    outcome = Outcome.REJECTED


class KeyRefused(Rejected):
    """The app key is invalid or its application suspended: every further call would fail the same way."""


class AlreadyRegistered(Rejected):
    @property
    def existing_id(self) -> int | None:
        """The number after `nCod [` or `Id [`."""
        found = re.findall(r"\b(?:ncod|id)\s*\[\s*(\d{1,18})\s*\]", fold(self.text))
        return int(found[-1]) if found else None


class EmptyPage(Rejected):
    pass


class Blocked(OmieError):  # noqa: N818 - an outcome, not an accident
    outcome = Outcome.BLOCKED


class InDoubt(OmieError):  # noqa: N818 - an outcome, not an accident
    outcome = Outcome.IN_DOUBT


class Rule(NamedTuple):
    """One row: it fits by wording (searched in the folded text), fault code (last part) or HTTP status."""

    name: str
    read: type[OmieError]
    write: type[OmieError]
    wordings: tuple[str, ...] = ()
    codes: frozenset[str] = frozenset()
    status: int | None = None
    wait: float | None = None

    def fits(self, folded: str, code: str, status: int) -> bool:
        return self.says(folded) or code in self.codes or status == self.status

    def says(self, folded: str) -> bool:
        return any(re.search(wording, folded) for wording in self.wordings)


# Validation codes whose texts vary with the field. 101 is missing on purpose: it says too many things.
PERMANENT_CODES = frozenset(
    {
        *("71", "103", "105", "115", "206", "1000", "1002", "1010", "1020", "1035"),
        *("1070", "1073", "3102", "5001", "5002", "9090", "18800"),
    }
)

RULES: tuple[Rule, ...] = (
    Rule(
        "key_refused",
        read=KeyRefused,
        write=KeyRefused,
        wordings=("chave de acesso (esta invalida|nao esta preenchida)",),
    ),
    Rule(
        "being_processed",  # 8020: the first call may have succeeded; duplicates are born here
        read=NotExecuted,
        write=InDoubt,
        wordings=("esta requisicao ja foi processada ou esta sendo processada",),
    ),
    Rule(
        "redundant",
        read=NotExecuted,
        write=InDoubt,
        wordings=(r"consumo redundante|\bredundant\b",),
        wait=60.0,
    ),
    Rule(
        "broken_response",
        read=NotExecuted,
        write=InDoubt,
        wordings=("broken response from application server",),
    ),
    Rule("proto_byebye", read=NotExecuted, write=InDoubt, wordings=("proto_byebye",)),
    Rule(
        "blocked",
        read=Blocked,
        write=Blocked,
        wordings=("api bloqueada por consumo indevido",),
        codes=frozenset({"MISUSE_API_PROCESS"}),
        status=425,
        wait=BLOCK_SECONDS,
    ),
    Rule(
        "method_busy",  # 1880: seen live, the refused call is never executed
        read=NotExecuted,
        write=NotExecuted,
        wordings=("ja existe uma requisicao desse metodo sendo executada",),
        wait=10.0,
    ),
    Rule(
        "too_many_requests",
        read=NotExecuted,
        write=NotExecuted,
        wordings=("^too many requests$",),
        codes=frozenset({"429"}),
        status=429,
        wait=60.0,
    ),
    Rule(
        "empty_page",
        read=EmptyPage,
        write=InDoubt,
        wordings=("nao existem registros para a pagina",),
        codes=frozenset({"5113"}),
    ),
    Rule("already_registered", read=Rejected, write=AlreadyRegistered, wordings=(r"\bja (foi )?cadastrad",)),
    Rule(
        "permanent",
        read=Rejected,
        write=Rejected,
        wordings=(
            "nao faz parte da estrutura do tipo complexo",
            "nao cadastrad[oa]",
            r"nenhum[a]? .*foi encontrad[oa]",
            "o preenchimento da tag .*obrigatori",
            "nenhum parametro foi recebido",
            "o numero maximo de caracteres permitido",
            "invalid json object",
            "json request with syntaxerror",
            r"error method \S+ not exists",
            "o periodo contabil .*foi bloqueado",
            r"informe a tag \[",
        ),
        codes=PERMANENT_CODES,
    ),
)


def read_reply(method: str, *, write: bool, status: int, body: bytes) -> dict[str, Any]:
    """The payload of a reply that is Done; decimals come as Decimal.

    Raises:
        OmieError: every other reply, as the class its outcome asks for. Nothing else is ever raised.
    """
    answer = _parse(body)
    if answer is None and not write:
        answer = _parse_leniently(body)
    if answer is None:
        raise _judge(_Refusal(method, write, status, _plain(body)))
    soft = _soft_status(answer)
    if fault := _fault(answer):
        raise _judge(_Refusal(method, write, status, *fault), in_spite_of=_issued_id(answer) or soft == "0")
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        refusal = _Refusal(method, write, status, _plain(body))
        raise _judge(refusal, in_spite_of=_issued_id(answer) or soft == "0")
    if soft == "0" or (not soft and not write):
        return answer
    if not soft:
        raise InDoubt(method, "Reply without cCodStatus.", rule="unknown", http_status=status)
    described = (answer.get(key) for key in ("cDescStatus", "cDesStatus", "descricao_status"))
    text = clean(str(next((words for words in described if words), "")))
    refusal = _Refusal(method, write, status, text, soft, soft=True)
    raise _judge(refusal, in_spite_of=_issued_id(answer))


def transport_error(
    method: str, *, write: bool, exc: httpx.HTTPError, sent: bool, may_be_empty: bool = False
) -> OmieError:
    """The error of a call that got no answer; `sent`: whether any of it may have left (see `was_sent`).

    `may_be_empty`: the answer may have been the error with which a list says that it is empty.
    """
    if not sent:
        return NotExecuted(method, f"{type(exc).__name__} before the request was sent.", rule=NOT_SENT)
    kind = InDoubt if write else NotExecuted
    rule = LOST_PAGE if may_be_empty else NO_ANSWER
    return kind(method, f"{type(exc).__name__} after the request was sent.", rule=rule)


def was_sent(exc: httpx.HTTPError) -> bool:
    """False only where httpx promises that no byte of the request left: no connection, or none free."""
    return not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def seconds_until(retry_at: time, now: datetime) -> float:
    """Seconds from `now` (aware) to the next `retry_at` in São Paulo; 60 if absurdly far (clocks differ)."""
    here = now.astimezone(ZoneInfo("America/Sao_Paulo"))
    then = datetime.combine(here.date(), retry_at, here.tzinfo)
    if then < here:
        then += timedelta(days=1)
    seconds = (then - here).total_seconds() + WAIT_MARGIN
    return seconds if seconds <= 3600 else 60.0


def clean(text: str) -> str:
    """One readable line: no HTML entities, no `Elapsed time: ...` noise, no control or broken characters."""
    text = html.unescape(html.unescape(text[: 8 * TEXT_LIMIT]))
    text = re.sub(r"Elapsed time:\s*[\d.,:]*\s*(?:ms|s|seg\w*|sec\w*)?(?!\w)", "", text, flags=re.IGNORECASE)
    text = "".join(" " if unicodedata.category(character).startswith("C") else character for character in text)
    return " ".join(text.split())[:TEXT_LIMIT]


def fold(text: str) -> str:
    """Lower case without accents: how wordings are compared."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()


class _Refusal(NamedTuple):
    method: str
    write: bool
    status: int
    text: str
    faultcode: str = ""
    soft: bool = False


def _judge(refusal: _Refusal, *, in_spite_of: bool = False) -> OmieError:
    """The error of a reply that is not Done; `in_spite_of`: the same reply carries a sign of success."""
    folded, code = fold(refusal.text), refusal.faultcode.rsplit("-", 1)[-1]
    if refusal.write and in_spite_of:
        return _error(InDoubt, refusal, "contradiction")
    # A cCodStatus is no fault code: in an HTTP 200 only the wording is looked up.
    fitting = (r for r in RULES if (r.says(folded) if refusal.soft else r.fits(folded, code, refusal.status)))
    rule = next(fitting, None)
    if rule is not None:
        return _error(rule.write if refusal.write else rule.read, refusal, rule.name, wait=rule.wait)
    if refusal.soft:
        return _error(Rejected, refusal, "soft")
    return _error(InDoubt if refusal.write else NotExecuted, refusal, "unknown")


def _error(kind: type[OmieError], refusal: _Refusal, rule: str, *, wait: float | None = None) -> OmieError:
    folded = fold(refusal.text)
    named = re.search(r"\b(?:em|aguarde) (\d{1,5}) segundos?", folded)
    clock = re.search(r"\bas ([01]\d|2[0-3]):([0-5]\d):([0-5]\d)\b", folded)
    return kind(
        refusal.method,
        refusal.text,
        rule=rule,
        http_status=refusal.status,
        faultcode=refusal.faultcode,
        retry_after=float(named[1]) + WAIT_MARGIN if named else wait,
        retry_at=time(int(clock[1]), int(clock[2]), int(clock[3])) if clock else None,
    )


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(_decode(body), parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError):  # not JSON; 1e(10^20); [[[[...
        return None
    return answer if isinstance(answer, dict) else None


def _parse_leniently(body: bytes) -> dict[str, Any] | None:
    """What a reading may still tell although one value of it is no number, or too big or too deep for Python."""
    try:
        answer = json_in.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _plain(body: bytes) -> str:
    return clean(re.sub(r"<[^>]*>", " ", _decode(body[: 8 * TEXT_LIMIT])))


def _fault(answer: dict[str, Any]) -> tuple[str, str] | None:
    """(text, code) of the three shapes: faultstring, the 429 body, and the documented omie_fail."""
    if answer.get("faultstring") or answer.get("faultcode"):
        words, code = answer.get("faultstring"), answer.get("faultcode")
    elif answer.get("error_message") or answer.get("error_code"):
        words, code = answer.get("error_message"), answer.get("error_code")
    elif answer.get("description") and "code" in answer:
        words, code = answer["description"], answer["code"]
    else:
        return None
    return clean(str(words or "")), clean(str(code or ""))


def _soft_status(answer: dict[str, Any]) -> str:
    """The status of a reply: "0" however many zeros it is written with, "" when there is none."""
    status = answer.get("cCodStatus", answer.get("codigo_status"))
    text = "" if status is None else clean(str(status))
    return "0" if text and not text.strip("0") else text


def _issued_id(answer: dict[str, Any]) -> bool:
    return any(isinstance(answer.get(key), int) and answer[key] > 0 for key in ("nCodOS", "nIdLoteFat"))
