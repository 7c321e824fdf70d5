"""``make sim`` and ``make soak-sim``: plays schedules, and says how to look into what failed."""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path

from tests.support.simulation import histories
from tests.support.simulation import plan as plans
from tests.support.simulation.planted import PLANTED, SEEDS_MAX, hunt
from tests.support.simulation.run import FIXED, KEPT, must_fire, play
from tests.support.simulation.shrink import Shrinker

EXAMPLES = """
examples:
  python -m tests.support.simulation                              the fixed seeds, and what was kept
  python -m tests.support.simulation --seeds 300 --seed 1         three hundred, from 1
  python -m tests.support.simulation --seeds 1 --seed 94 --trace  one, told line by line
  python -m tests.support.simulation --plan FILE --trace          a kept schedule, told line by line
  python -m tests.support.simulation --minutes 120 --seed 50000   for two hours
  python -m tests.support.simulation --roster --seeds 1000        a thousand histories of the roster
"""


def main():
    options = read_options()
    if options.trace:
        return trace(options)
    begin = time.perf_counter()
    with multiprocessing.Pool(options.jobs) as pool:
        tally = SeedTally(options)
        for outcome in pool.imap_unordered(play, schedules(options)):
            tally.add(outcome)
            if options.minutes and time.perf_counter() - begin > options.minutes * 60:
                pool.terminate()
                break
        caught = dict(pool.imap_unordered(hunt, PLANTED)) if options.planted else {}
    return tally.close(time.perf_counter() - begin, caught)


def read_options():
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.simulation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seeds", type=int, help="how many seeds (default: the fixed ones and what was kept)")
    add("--seed", type=int, default=1, help="the first seed")
    add("--minutes", type=float, help="play fresh seeds for so long")
    add("--seconds", type=int, default=60, help="virtual seconds of faults a seed")
    add("--roster", action="store_true", help="play histories of the roster over honest nodes")
    add("--plan", type=Path, help="play this schedule instead")
    add("--trace", action="store_true", help="tell one run line by line")
    add("--planted", action=argparse.BooleanOptionalAction, default=True, help="plant bugs too")
    add("--shrink", action=argparse.BooleanOptionalAction, default=True, help="cut down what fails")
    add("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    add("--into", type=Path, default=Path("build/sim"), help="where failing schedules are put")
    return parser.parse_args()


def schedules(options):
    if options.plan:
        yield plans.load(options.plan.read_bytes())
        return
    if options.seeds is None and options.minutes is None:
        yield from (of_seed(seed, options) for seed in FIXED)
        yield from (plans.load(path.read_bytes()) for path in KEPT)
        return
    last = options.seed + options.seeds if options.seeds else sys.maxsize
    seed = options.seed
    while seed < last:
        yield of_seed(seed, options)
        seed += 1


def of_seed(seed, options):
    if options.roster:
        return histories.make(seed)
    return plans.make(seed, seconds=options.seconds)


def trace(options):
    """One run, line by line."""
    plan = next(iter(schedules(options)))
    outcome = play(plan, trace=print)
    print(outcome.broken or "every law held")
    return 1 if outcome.broken else 0


class SeedTally:
    """What all runs came to."""

    def __init__(self, options):
        self.options = options
        self.runs = 0
        self.virtual_ms = self.settled_ms = 0
        self.counts, self.looked = Counter(), Counter()
        self.failed = []

    def add(self, outcome):
        self.runs += 1
        self.virtual_ms += outcome.virtual_ms
        self.settled_ms = max(self.settled_ms, outcome.settled_ms)
        self.counts += outcome.counts
        self.looked += outcome.looked
        if outcome.broken:
            self.failed.append(outcome)
            self.explain(outcome)
        elif self.runs % (1000 if self.options.roster else 50) == 0:
            print(f"{self.runs} schedules, {len(self.failed)} failed", flush=True)

    def explain(self, outcome):
        """What broke, with all that decides it, and the way to see it again."""
        plan = outcome.plan
        print(f"\nseed {plan.seed} broke a law: {outcome.broken}")
        print(
            f"  nodes {plan.nodes}, hostile {list(plan.hostile)}, admins {list(plan.admins)}, "
            f"{plan.seconds} s of faults, delay {plan.delay_ms} ms, loss {plan.loss}/1000, "
            f"duplicates {plan.duplicates}/1000, {len(plan.steps)} steps"
        )
        small = Shrinker(outcome.law).shrink(plan) if self.options.shrink else plan
        self.options.into.mkdir(parents=True, exist_ok=True)
        path = self.options.into / f"{outcome.law}-{plan.seed}.json"
        path.write_bytes(plans.dump(small))
        print(f"  cut down to {small.nodes} nodes and {len(small.steps)} steps: {path}")
        print(f"  look: python -m tests.support.simulation --plan {path} --trace", flush=True)

    def close(self, seconds, caught):
        """The tables and the one line; gives the exit code."""
        print("\nfaults and hostile programs, how often:")
        print(columns(self.counts))
        print("\nlaws, how often checked:")
        print(columns(self.looked))
        must = histories.must_fire() if self.options.roster else must_fire()
        silent = sorted(must - set(self.counts)) if not self.options.plan else []
        missed = sorted(name for name, by in caught.items() if not by)
        if caught:
            print("\nplanted bugs, and what caught each (a seed, a kept schedule, a transcript):")
            for name, by in sorted(caught.items()):
                print(f"  {name}: {by or 'nothing'}")
        for name in silent:
            print(f"never fired: {name}")
        for name in missed:
            print(f"not caught, {SEEDS_MAX} seeds tried: {name}")
        print(
            f"\nsim: {self.runs} schedules ({self.runs / seconds:.1f} a second), "
            f"{self.virtual_ms / 60_000:.0f} virtual minutes, agreed after at most "
            f"{self.settled_ms / 1000:.0f} virtual seconds of quiet, "
            f"{len(self.failed)} failed, {len(silent)} faults never fired, "
            f"{len(caught) - len(missed)} of {len(caught)} planted bugs caught"
        )
        return 1 if self.failed or silent or missed else 0


def columns(counts):
    rows = [f"{name} {count}" for name, count in sorted(counts.items())]
    width = max(map(len, rows), default=0) + 2
    per_line = max(100 // width, 1)
    lines = [rows[start : start + per_line] for start in range(0, len(rows), per_line)]
    return "\n".join("  " + "".join(row.ljust(width) for row in line).rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
