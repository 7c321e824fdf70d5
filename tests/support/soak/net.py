"""``make soak-net``: real daemons on hosts of their own, and one random fault after another.

Callers write at every node all the while; after every few faults the whole fleet is held to every
law. One seed gives one order of faults; how they fall in time is the machine's doing.
"""

import argparse
import contextlib
import itertools
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.support.faults import network_namespaces
from tests.support.harness.daemons import Failed, Fleet, Node, faketime
from tests.support.harness.workload import Workload
from tests.support.invariants import fleet_laws
from tests.support.invariants.laws import Broken

NAMES = ("b", "c", "d", "e")
FAULTS_A_CHECK = 4
PACKETS = ("partition", "one-way loss", "loss", "thin link")
"""Faults that count only where packets were really dropped or held back."""


class NetworkSoak:
    """One fleet, its callers, and how often which fault struck."""

    def __init__(self, folder, network, seed):
        self.rng = random.Random(seed)
        self.network = network
        self.fleet = Fleet(folder, lambda home: Node(home, network.host()))
        self.fired = Counter()
        self.counts = Counter()
        self.checks = 0
        self.acked = []

    def run(self, seconds):
        """Every kind of fault once, in random order; again for so long; the laws in between."""
        den = self.fleet.found()
        for name in NAMES:
            self.fleet.join(den, name)
        begin = time.monotonic()
        while True:
            kinds = list(KINDS)
            self.rng.shuffle(kinds)
            for start in range(0, len(kinds), FAULTS_A_CHECK):
                some = kinds[start : start + FAULTS_A_CHECK]
                print(f"{time.monotonic() - begin:.0f} s: {', '.join(some)}", flush=True)
                with Workload(self.fleet.nodes, self.rng.random(), self.acked) as work:
                    for kind in some:
                        KINDS[kind](self)
                self.counts += work.counts
                self.check()
            if time.monotonic() - begin > seconds:
                return

    def check(self):
        """Every fault ends, and every law holds."""
        self.network.heal()
        for node in self.fleet.nodes:
            node.recover()
        fleet_laws.hold(self.fleet.nodes, self.acked)
        self.checks += 1

    def silent(self):
        """The faults that have not struck yet."""
        return sorted(set(KINDS) - set(self.struck()))

    def struck(self):
        """How often each fault struck: packets of the network's, else occasions."""
        packets = self.network.dropped()
        return self.fired + Counter({kind: packets[kind] for kind in PACKETS})

    # --- what a fault needs --------------------------------------------------------------------

    def some(self, least, most):
        """A few nodes, by chance."""
        return self.rng.sample(self.fleet.nodes, self.rng.randint(least, most))

    def last(self, least=1.0, most=10.0):
        """Leave a fault in force for a while."""
        time.sleep(self.rng.uniform(least, most))

    @contextlib.contextmanager
    def mended(self):
        """What is done to the network lasts a while, and at times into the next fault."""
        yield
        self.last()
        if self.rng.random() < 0.7:
            self.network.heal()


def partition(soak):
    """Some nodes on one side, the rest on the other; long enough, at times, for links to die."""
    ones = soak.some(1, 2)
    others = [node for node in soak.fleet.nodes if node not in ones]
    with soak.mended():
        soak.network.cut([one.host for one in ones], [other.host for other in others])
        if soak.rng.random() < 0.3:
            soak.last(30, 45)


def one_way(soak):
    """Nothing comes through from one node to another, all the other way."""
    source, target = soak.some(2, 2)
    with soak.mended():
        soak.network.lose(source.host, target.host, 100, "one-way loss")


def loss(soak):
    """A fifth to a third of all packets between some nodes are lost."""
    with soak.mended():
        for one, other in itertools.permutations(soak.some(2, 5), 2):
            soak.network.lose(one.host, other.host, soak.rng.randint(20, 30), "loss")


def thin(soak):
    """Some nodes have a line of 32 to 256 kbit/s."""
    with soak.mended():
        for node in soak.some(1, 2):
            soak.network.rate(node.host, soak.rng.choice((32, 64, 128, 256)))


def stopped(soak):
    """A daemon is stopped; at times longer than its links live."""
    [node] = soak.some(1, 1)
    node.pause()
    soak.last(*((31, 60) if soak.rng.random() < 0.2 else (1, 10)))
    node.resume()
    soak.fired["stopped"] += 1


def killed(soak):
    """A storm of kills, with writes in flight."""
    for _ in range(soak.rng.randint(1, 4)):
        [node] = soak.some(1, 1)
        node.kill()
        soak.last(0, 2)
        node.start()
        soak.fired["killed"] += 1


def restarted(soak):
    """A daemon ends in order, and comes back."""
    [node] = soak.some(1, 1)
    node.stop()
    node.start()
    soak.fired["restarted"] += 1


def clock_off(soak):
    """A clock is set up to four minutes off, by a step and across restarts; later it is right."""
    [node] = soak.some(1, 1)
    for _ in range(2):
        node.stop()
        node.shift_clock(soak.rng.randint(-240, 240))
        node.start()
        soak.last(1, 5)
    node.shift_clock(soak.rng.randint(-240, 240))
    soak.last(1, 5)
    node.shift_clock(0)
    soak.fired["clock off"] += 1


KINDS = {
    "partition": partition,
    "one-way loss": one_way,
    "loss": loss,
    "thin link": thin,
    "stopped": stopped,
    "killed": killed,
    "restarted": restarted,
    "clock off": clock_off,
}


def main():
    options = argparse.ArgumentParser(prog="python -m tests.support.soak.net", description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    missing = network_namespaces.missing() or ("" if faketime() else "there is no libfaketime here")
    if missing:
        print(f"soak-net: nothing was run: {missing}")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="gangline-soak-net-"))
    begin = time.monotonic()
    with network_namespaces.Network() as network:
        soak = NetworkSoak(folder, network, chosen.seed)
        with soak.fleet:
            broken = ""
            try:
                soak.run(chosen.minutes * 60)
            except (Broken, Failed) as fault:
                broken = str(fault)
            except Exception as fault:  # noqa: BLE001 - the closing line must come
                traceback.print_exc()
                broken = f"{type(fault).__name__}: {fault}"
            silent, struck = soak.silent(), soak.struck()
    minutes = (time.monotonic() - begin) / 60
    print(f"seed {chosen.seed}; homes and logs in {folder}")
    for kind in silent:
        print(f"never fired: {kind}")
    print(
        f"soak-net: {minutes:.0f} minutes, {len(NAMES) + 1} daemons, "
        f"{', '.join(f'{kind} {struck[kind]}' for kind in KINDS)}; "
        f"{soak.counts['acknowledged']} writes acknowledged, {soak.counts['refused']} refused, "
        f"{soak.counts['unanswered']} unanswered; every law checked {soak.checks} times, "
        + (f"broken: {broken}" if broken else "no write lost, no law broken")
    )
    return 1 if broken or silent else 0


if __name__ == "__main__":
    sys.exit(main())
