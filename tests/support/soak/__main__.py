"""``make soak-store``: everything that can go wrong with a disk and a process, and what was lost.

    python -m tests.support.soak [--kills N] [--seed SEED]

The other faults grow with the kills. Ends with one line, and with 1 where a law did not hold or a
fault never fired; then the folder with every home and log is kept and named.
"""

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.soak import clusters, kills, lag, power
from tests.support.soak.points import POINTS

KILLS = 1_000
LANES = 2
EACH_POINT_MIN = 20
LAG_SECONDS = 10
SYNC_SECONDS = (1, 10)


class Sizes:
    """How often what is injected, for a soak of so many kills."""

    def __init__(self, count):
        self.kills = count
        self.each_point = min(EACH_POINT_MIN, max(count // (2 * len(POINTS)), 1))
        self.cuts = max(count // 4, 10)
        self.long_syncs = max(count // 50, 4)
        self.clusters = max(count // 200, 1)


class Soak:
    """One run."""

    def __init__(self, folder, seed, sizes):
        self.folder, self.seed, self.sizes = folder, seed, sizes
        self.injected = {}
        self.acknowledged = 0
        self.begun = time.monotonic()

    def run(self):
        """Inject everything; gives the summary.

        Raises:
            AssertionError: a law did not hold, or a fault never fired.
        """
        self.say(str(lag.measure(self._sub("lag"), LAG_SECONDS)))
        self._power()
        self._kill()
        times = self.sizes.clusters
        done, acknowledged = clusters.run(self._sub("clusters") / "trio", self.seed, times)
        aside = Counter(noticed=done.pop("set_aside", 0))
        self._note("hurt homes", done, dict.fromkeys(clusters.WHAT, times))
        self._note("damaged stores set aside", aside, {"noticed": 1})
        self.acknowledged += acknowledged
        return self.summary()

    def _power(self):
        rng = random.Random(self.seed)
        done = power.cut_power(self._sub("power"), rng, self.sizes.cuts)
        self._note("power cuts", done, {"write": 1, "sync": 1})
        for kind in power.ERRORS:
            done = power.fail_every_call(self._sub(kind), rng, kind)
            self._note(kind, done, {"write": 1})

        done = power.take_long(self._sub("slow"), rng, self.sizes.long_syncs, SYNC_SECONDS)
        self._note("syncs of 1 to 10 s, ended", done, {"well": 1, "in a power cut": 1})

    def _kill(self):
        wanted = kills.kinds(self.sizes.kills, self.sizes.each_point)
        lanes = [
            kills.Lane(self._sub(f"lane-{number}"), f"{self.seed}-{number}")
            for number in range(LANES)
        ]
        with ThreadPoolExecutor(LANES) as pool:
            running = [
                pool.submit(lane.run, wanted[number::LANES]) for number, lane in enumerate(lanes)
            ]
            for one in running:
                one.result()
        fired = sum((lane.fired for lane in lanes), Counter())
        self.acknowledged += sum(lane.acknowledged for lane in lanes)
        least = dict.fromkeys(POINTS, self.sizes.each_point * 3 // 4 or 1)
        self._note("kills", fired, {kills.AT_RANDOM: 1, **least})

    def _note(self, what, done, least):
        """Count what was injected; what fired too seldom was not shown to be survived."""
        self.injected[what] = done
        self.say(f"{what}: {_counts(done)}")
        for kind, number in least.items():
            if done[kind] < number:
                raise AssertionError(f"{what}: {kind} fired {done[kind]} times, not {number}")

    def _sub(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder

    def say(self, line):
        print(f"{time.monotonic() - self.begun:6.0f} s  {line}", flush=True)

    def summary(self):
        injected = "; ".join(
            f"{done.total()} {what} ({_counts(done)})" for what, done in self.injected.items()
        )
        return (
            f"soak-store, seed {self.seed}: {injected}. Lost: 0 of {self.acknowledged} records "
            "that daemons acknowledged; 0 slots used twice, 0 stores that failed their check"
        )


def _counts(done):
    return ", ".join(f"{kind.replace('_', ' ')} {many}" for kind, many in sorted(done.items()))


def main():
    parser = argparse.ArgumentParser(prog="make soak-store", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    logging.disable(logging.ERROR)  # what fails in this process was made to
    folder = Path(tempfile.mkdtemp(prefix="gangline-soak-"))
    soak = Soak(folder, asked.seed, Sizes(asked.kills))
    soak.say(f"seed {asked.seed}, {asked.kills} kills, in {folder}")
    try:
        print(soak.run())
    except AssertionError as broken:
        print(f"soak-store, seed {asked.seed}: {broken}; everything is in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
