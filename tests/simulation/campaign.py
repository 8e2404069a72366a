"""A search that may span days: `make sim RESUME=1 SCHEDULES=50000` goes on where the last one ended.

What was searched stands for one content of layers/ only, by its hash, and is kept in campaign.json beside this file: for
each content and kind of world the first seeds, how many, and what was found. A search that is ended in the middle is
kept up to its last whole block.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.simulation.schedules import Tally, tallies

ROOT: Final = Path(__file__).resolve().parent.parent.parent
BOOK: Final = Path(__file__).with_name("campaign.json")
BLOCK: Final = 5_000
COUNTED: Final = ("schedules", "steps", "billings", "contracts")


def content(layers: Path = ROOT / "layers") -> str:
    """Twelve hexadecimal digits of what the Lambdas run: every Python file and template below layers/."""
    digest = hashlib.sha256()
    for path in sorted(layers.rglob("*")):
        if path.suffix in {".py", ".j2"}:
            digest.update(f"{path.relative_to(layers)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def resume(schedules: int, jobs: int, *, late: bool, book: Path = BOOK) -> Iterator[Tally]:
    """So many schedules more for the present content, block by block; each block is in the book before it is answered.

    `late`: in worlds whose lists are later than assumed; they are counted by themselves.
    """
    key, kind = content(), "late" if late else "plain"
    left = schedules
    while left > 0:
        done = read(book)
        entry = done.setdefault(key, {}).setdefault(kind, dict.fromkeys(COUNTED, 0) | {"failed": [], "unmeasured": 0})
        size = min(BLOCK, left)
        total = Tally()
        for piece in tallies(entry["schedules"], size, jobs, late=late):
            total += piece
        for name in COUNTED:
            entry[name] += getattr(total, name)
        entry["failed"] += [replay for replay, _ in total.failed]
        entry["unmeasured"] += len(total.unmeasured)
        book.write_text(json.dumps(done, indent=1) + "\n")
        left -= size
        yield total


def read(book: Path = BOOK) -> dict[str, Any]:
    return dict(json.loads(book.read_text())) if book.exists() else {}


def stands(book: Path = BOOK) -> str:
    """How much was searched of the present content, in a line a kind of world."""
    found = read(book).get(content(), {})
    lines = [
        f"layers {content()}, {kind}: {entry['schedules']:,} schedules (seeds 0 to {entry['schedules'] - 1:,}), "
        f"{entry['steps']:,} steps, {entry['billings']:,} billings, {len(entry['failed'])} failed"
        + (f", {entry['unmeasured']} billed twice where no order was known" if entry["unmeasured"] else "")
        for kind, entry in found.items()
    ]
    return "\n".join(lines) or f"layers {content()}: nothing was searched yet"
