"""`make model`: verifies docs/model/*.pml exhaustively, and shows that each rule left out of them is needed.

    python -m ops.model

Needs spin and gcc. Exits with 0 only when the model holds and every mutation is caught. Trails of the mutations, step
by step, are written to build/model/<name>.txt.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
MODEL: Final = ROOT / "docs" / "model" / "charge.pml"
LISTS: Final = MODEL.with_name("lists.pml")
OUT: Final = ROOT / "build" / "model"

HOLDS: Final = {
    "person_outside_our_window": (),
    "omie_refuses_second": ("OMIE_REFUSES_SECOND",),
}
"""What must hold, by name; the defines of docs/model/switches.h."""
TWO_SETTLES: Final = ("SETTLES=2", "COPIES=1")
"""The larger size, on top of each of `HOLDS`: a few minutes, 1.5 GB."""
BROKEN: Final = {
    "no_claim": ("NO_CLAIM",),
    "no_wait": ("NO_WAIT",),
    "no_adopt": ("NO_ADOPT",),
    "no_hold": ("NO_HOLD",),
    "park_over_doubt": ("PARK_OVER_DOUBT",),
}
"""One rule of the system left out: each must be caught."""
LATE_LISTS: Final = {
    "no_measure": ("NO_MEASURE",),
    "only_missing": ("ONLY_MISSING",),
}
"""Of docs/model/lists.pml: how late Omie's lists are, not measured, or by the missing orders alone."""
LIMITS: Final = {
    "click_anytime": ("CLICK_ANYTIME",),
    "click_before_claim": ("CLICK_BEFORE_CLAIM",),
}
"""What the system cannot prevent while Omie bills a billed contract again: stated in docs/model/README.md."""


class Verdict(NamedTuple):
    """`error` is spin's sentence about the assertion that failed, "" when none did; `trail` its shortest story."""

    complete: bool
    states: int
    error: str
    trail: str


def missing() -> list[str]:
    """The programs this needs and the machine lacks."""
    return [program for program in ("spin", "gcc") if shutil.which(program) is None]


def verify(*defines: str, model: Path = MODEL, shortest: bool = False) -> Verdict:
    """Every reachable state of the model. `shortest`: breadth first, so that a counterexample is as short as can be."""
    flags = [f"-D{define}" for define in defines]
    order = ["-DBFS"] if shortest else []
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(model.parent, place, dirs_exist_ok=True)  # so that the trail names lines, not this machine
        _run(place, "spin", "-a", *flags, model.name)
        _run(place, "gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", *order, "-o", "pan", "pan.c")
        answer = _run(place, "./pan", "-m100000", "-w24")
        found = re.search(r"pan:1: (.*) \(at depth", answer)
        trails = list(Path(place).glob("*.trail"))
        trail = _run(place, "spin", "-k", str(trails[0]), "-p", "-g", *flags, model.name) if trails else ""
    stored = re.search(r"(\d+) states, stored", answer)
    return Verdict(
        complete="Search not completed" not in answer and "max search depth too small" not in answer,
        states=int(stored[1]) if stored else 0,
        error=found[1] if found else "",
        trail=trail,
    )


def main() -> int:
    absent = missing()
    if absent:
        sys.stderr.write(f"{' and '.join(absent)} missing: make model installs Debian's packages spin and gcc\n")
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    sizes = {"": (), "_two_settles": TWO_SETTLES}
    wrong = sum(_wrong(name + size, *defines, *more) for size, more in sizes.items() for name, defines in HOLDS.items())
    wrong += _wrong("late_lists", model=LISTS)
    wrong += sum(_wrong(name, *defines, broken=True) for name, defines in (BROKEN | LIMITS).items())
    wrong += sum(_wrong(name, *defines, model=LISTS, broken=True) for name, defines in LATE_LISTS.items())
    print(f"Trails: {OUT.relative_to(ROOT)}/")
    return 1 if wrong else 0


def _wrong(name: str, *defines: str, model: Path = MODEL, broken: bool = False) -> bool:
    """Whether the model does not hold under these; if it is to be `broken`, whether it does. Says so."""
    verdict = verify(*defines, model=model, shortest=broken)
    (OUT / f"{name}.txt").write_text(verdict.trail)
    if broken:
        print(f"{'caught' if verdict.error else 'MISSED':8}{name:40}{verdict.error}", flush=True)
        return not verdict.error
    held = verdict.complete and not verdict.error
    print(f"{'holds' if held else 'FAILS':8}{name:40}{verdict.states:>12,} states {verdict.error}", flush=True)
    return not held


def _run(place: str, *command: str) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)  # noqa: S603 - our own list
    if done.returncode and command[0] != "./pan":
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
