"""`make sim SEED=0 SCHEDULES=10000`, `EVENINGS=1`, `EXHAUSTIVE=singles|pairs`, `SCRIPT="12:kill_after"`: see `make help`."""

import argparse
import sys
import time

from tests.simulation import campaign
from tests.simulation.adversary import Adversary
from tests.simulation.exhaustive import CONTRACTS, pairs, search, singles
from tests.simulation.schedules import Tally, adversary_of, outcome, tallies


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--exhaustive", choices=["", "singles", "pairs"], default="")
    parser.add_argument("--every", type=int, default=1, help="of the exhaustive search, only every n-th")
    parser.add_argument("--script", default="", help="what one exhaustive failure printed")
    parser.add_argument("--evenings", action="store_true", help="only those that begin on a month's last evening")
    parser.add_argument("--late", action="store_true", help="Omie's lists are 200 to 400 s late, the setting says 120")
    parser.add_argument("--resume", action="store_true", help="go on with the campaign of this content of layers/")
    parser.add_argument("--log-every", type=int, default=0, help="a line after so many schedules")
    wanted = parser.parse_args()
    if wanted.script:
        parts = (part.split(":") for part in wanted.script.split(","))
        return _replay(Adversary(1, script={int(number): way for number, way in parts}, contracts=CONTRACTS))
    if wanted.exhaustive:
        return _tell(search(singles() if wanted.exhaustive == "singles" else pairs(), wanted.every))
    if wanted.schedules == 1:
        return _replay(adversary_of(wanted.seed, late=wanted.late))
    total, began, told = Tally(), time.monotonic(), 0
    if wanted.resume:
        for block in campaign.resume(wanted.schedules, wanted.jobs, late=wanted.late):
            total += block
            print(campaign.stands(), flush=True)
        return _tell(total)
    for piece in tallies(wanted.seed, wanted.schedules, wanted.jobs, evenings=wanted.evenings, late=wanted.late):
        for replay, broken in piece.failed:
            print(f"FAILED  {replay}\n        " + "\n        ".join(broken), flush=True)
        total += piece
        if wanted.log_every and total.schedules // wanted.log_every > told:
            told = total.schedules // wanted.log_every
            print(f"seeds {wanted.seed}..{wanted.seed + total.schedules - 1}: {total}", flush=True)
    print(f"seeds {wanted.seed}..{wanted.seed + wanted.schedules - 1}, {time.monotonic() - began:.0f} s")
    return _tell(total)


def _replay(adversary: Adversary) -> int:
    found = outcome(adversary.run())
    print("\n".join(found.trace))
    for promise in found.verdict.forgiven:
        print(f"forgiven: {promise}")
    for park in found.verdict.false_parks:
        print(f"parked for nothing: {park}")
    for promise in found.verdict.unmeasured:
        print(f"unmeasured: {promise}")
    for promise in found.verdict.broken:
        print(f"BROKEN: {promise}")
    print(f"{found.steps} steps, {found.billings} billings, {len(found.verdict.broken)} promises broken")
    return int(bool(found.verdict.broken))


def _tell(total: Tally) -> int:
    print(total)
    for kind, times in total.done.most_common():
        print(f"  {times:8} {kind}")
    for park in total.false_parks[:20]:
        print(f"PARKED FOR NOTHING  {park}")
    for replay in total.unmeasured[:20]:
        print(f"UNMEASURED  {replay}")
    for replay, broken in total.failed[:20]:
        print(f"FAILED  {replay}\n        " + "\n        ".join(broken))
    return int(bool(total.failed))


if __name__ == "__main__":
    sys.exit(main())
