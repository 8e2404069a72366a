"""How many schedules it takes to miss each rule: `python -m tests.simulation.mutants`, a line a rule."""

import argparse
from collections import Counter

from tests.simulation.mutations import LATE, MUTATIONS, constants
from tests.simulation.schedules import run_schedule


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--bites", type=int, default=3, help="stop after so many")
    parser.add_argument("rules", nargs="*")
    wanted = parser.parse_args()
    for rule in MUTATIONS:
        if wanted.rules and rule.__name__ not in wanted.rules:
            continue
        seeds: list[int] = []
        why: Counter[str] = Counter()
        with constants(rule):
            for seed in range(wanted.seed, wanted.seed + wanted.most):
                broken = run_schedule(seed, spoil=rule, late=rule in LATE).verdict.broken
                if broken:
                    seeds.append(seed)
                    why[broken[0].partition(":")[2][:60].strip()] += 1
                if len(seeds) == wanted.bites:
                    break
        print(f"without {rule.__name__}: fails at seeds {seeds}: {dict(why)}", flush=True)


if __name__ == "__main__":
    main()
