"""What a run sends to a company's lane: messages of keys, and the plan's lines beside them in a file.

    lines-<round>.jsonl      the plan's own lines, to the byte, in the order in which they are billed
    batches-<round>.jsonl    a message a line: which part of that file, its SHA-256, and each contract's code, amount in
                             centavos and page in ListarContratos (0: not known)

So no name, document or address gets into Step Functions' history, into a queue or a log, no message grows with its
contracts' texts, and what is billed is what was planned and approved.

What must be written into Omie first comes early, so that Omie shows it by the time everything else is billed: between
two calls that bill there is time for one that writes. Otherwise contracts come in the order of Omie's pages, because
each is read by its page.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import zip_longest
from operator import itemgetter
from tempfile import SpooledTemporaryFile
from typing import Any, Final, NamedTuple, Self

from billing.domain.plan import Action, PlanLine, chunks
from billing.domain.text import encodable
from billing.store.objects import ObjectMissing, batches_key, lines_key
from billing.store.ports import Objects
from billing.unreadable import DATA_ERRORS, note

BATCH_SIZE = 25
_IN_MEMORY: Final = 256 * 1024
"""Bytes of lines beyond which they wait in a file."""


class LinesChanged(ValueError):  # noqa: N818
    """What lies in the bucket is not what the message was written for."""


class Part(NamedTuple):
    """So many bytes of an object from `start` on, and their SHA-256 (hex)."""

    key: str
    start: int
    length: int
    sha256: str

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Where the message's lines lie. Raises LookupError, TypeError: it does not say so."""
        where = message["file"]
        return cls(*(where[name] for name in cls._fields))


class _Place(NamedTuple):
    """Where a line waits; whether Omie is written to before it is billed, and its page."""

    writes: bool
    page: int
    start: int
    length: int


def write_batches(
    objects: Objects,
    planned: Mapping[str, Any],
    lines: Iterable[PlanLine],
    round_: int,
    *,
    page_of: Callable[[PlanLine], int],
    looked_at: float | None = None,
    began: float = 0.0,
) -> dict[str, Any]:
    """Writes the messages of the lines that are to be billed, for the distributed Map; answers where and how many.

    `looked_at`: when stage 20 was asked for these lines (epoch seconds); no batch of them goes by an older look.
    `began`: when Settle began the round (epoch seconds); the first round has none.
    """
    plan = planned["plan"]["key"]
    told, beside = batches_key(plan, round_), lines_key(plan, round_)
    head = {name: planned[name] for name in ("company", "month", "run", "execution", "contracts_per_minute")}
    head |= {"plan_hash": planned["plan"]["hash"], "plan_key": plan}
    head |= {"round": round_, "looked_at": looked_at or 0.0} | ({"began": began} if began else {})
    with SpooledTemporaryFile(_IN_MEMORY) as spool:
        places = []
        for line in lines:
            if line.action is Action.BILL:
                page, start = page_of(line), spool.tell()
                length = spool.write(encodable(line.to_json()).encode())
                places.append(_Place(line.work != "none", page, start, length))
        # the file that the messages point to is there first: the inner writer ends before the outer one
        with objects.plan_writer(told) as messages, objects.plan_writer(beside) as file:
            start = 0
            for number, batch in enumerate(chunks(in_turn(places), BATCH_SIZE)):
                digest, length, keys = sha256(), 0, []
                for place in batch:
                    spool.seek(place.start)
                    text = spool.read(place.length).decode()
                    file.write(text)
                    digest.update(f"{text}\n".encode())
                    length += place.length + 1
                    line = PlanLine.from_json(text)
                    keys.append({"contract": line.contract, "amount": line.amount, "page": place.page})
                part = Part(beside, start, length, digest.hexdigest())
                message = head | {"batch": f"{round_}-{number}", "file": part._asdict(), "lines": keys}
                messages.write(json.dumps(message, separators=(",", ":")))
                start += length
            return {"bucket": objects.bucket, "key": told, "count": messages.lines}


def in_turn(places: Iterable[_Place]) -> Iterator[_Place]:
    """By page, those that are written to first in turns with the others, from the beginning on."""
    ordered = sorted(places, key=itemgetter(1))
    writes, bills = ([place for place in ordered if place.writes is first] for first in (True, False))
    for pair in zip_longest(writes, bills):
        yield from filter(None, pair)


def read_lines(objects: Objects, part: Part) -> list[PlanLine]:
    """The lines that lie there. One that cannot be read is left out: Settle reads the plan.

    Raises:
        LinesChanged: they are not those that the message was written for.
        ObjectMissing: their file is gone.
    """
    content = objects.get_part(part.key, part.start, part.length)
    if sha256(content).hexdigest() != part.sha256:
        raise LinesChanged(f"the lines in {part.key} are not those that this batch was written for")
    lines = content.removesuffix(b"\n").split(b"\n")  # a line separator of Unicode may stand in a name
    return [line for line in map(_readable, lines) if line is not None]


def _readable(text: bytes) -> PlanLine | None:
    try:
        return PlanLine.from_json(text.decode())
    except DATA_ERRORS as error:
        note("a line of a batch", error)
        return None


def written(objects: Objects, plan: str, round_: int) -> Iterator[dict[str, Any]]:
    """The messages of a round. Raises ObjectMissing at the first."""
    return map(json.loads, objects.read_lines(batches_key(plan, round_)))


def pages(objects: Objects, plan: str) -> dict[str, int]:
    """Contract -> its page, as the plan found them; without those that nobody knows."""
    try:
        return {line["contract"]: line["page"] for message in written(objects, plan, 0) for line in message["lines"]}
    except ObjectMissing:
        return {}
