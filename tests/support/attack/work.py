"""Honest work beside an attack, in a process of its own, so that no attacker slows it down.

    python -m tests.support.attack.work --seed SEED --rate WRITES_PER_SECOND HOME...

So many writes a second over all nodes, and how soon they are seen elsewhere. Each acknowledged
write is a line on standard output, ``[node, author, incarnation, clock, record, key]``; it ends
with its standard input, and its last line is a ``CallerReport``. ``honest.py`` starts and reads it.
"""

import argparse
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from node.client.http_client import RequestRefused
from node.system.errors import OperatorError
from tests.support.harness.daemons import Failed, Node, eventually
from tests.support.harness.workload import SHARED, Workload

CALLERS = 4
"""At each node: while one waits for an answer, the others go on."""
OWN = 5
"""Stories that one caller alone works on; most writes renew a claim, as a fleet's do."""
BEHIND_SECONDS_MAX = 5.0
SEEN_SECONDS_MAX = 120


@dataclass
class CallerReport:
    """What became of the work.

    Attributes:
        seconds: how long it went on.
        took: in seconds, within which half and 99 % of the writes were acknowledged.
        seen: for how many probes every node showed the story, and the longest that took.
        fault: why work was held up; empty where it was not.
    """

    seconds: float
    took: tuple[float, float]
    seen: tuple[int, float]
    fault: str


class HonestCaller(NamedTuple):
    """One of the callers of a node; for a workload, a node."""

    node: Node
    number: int

    def __str__(self):
        return f"{self.node}-{self.number}"

    @property
    def client(self):
        return self.node.client


class CallerLines:
    """Takes what is acknowledged, and tells it as lines."""

    def append(self, acked):
        print(json.dumps([str(acked.node.node), *_told(acked.receipt), acked.key]), flush=True)


def _told(receipt):
    return receipt.author.hex(), receipt.incarnation, receipt.clock, receipt.record_id.hex()


class Steady(Workload):
    """A workload at a steady rate over all its nodes, as far as they keep up.

    Attributes:
        took: seconds from each request to its acknowledgement.
    """

    def __init__(self, nodes, seed, acked, rate):
        callers = [HonestCaller(node, number) for number in range(CALLERS) for node in nodes]
        super().__init__(callers, seed, acked)
        self.took = []
        self._pause = len(nodes) / rate
        self._due = {}
        self._busy = set()

    def _waited(self, node, rng):
        """Until the node's next write is due; what slow answers cost is caught up, in bounds."""
        at = time.monotonic()
        with self._lock:
            due = max(self._due.get(node.node, at), at - BEHIND_SECONDS_MAX)
            self._due[node.node] = due + self._pause
        return self._stop.wait(max(due - at, 0))

    def _write(self, node, rng, number):
        begin = time.monotonic()
        own = f"work-{node}-{rng.randrange(OWN)}"
        chance = rng.random()
        if number <= SHARED and node is self.nodes[0]:
            self._ask(node, "POST", f"shared-{number - 1}", "", {"title": "everybody's"})
        elif number <= SHARED + OWN:
            own = f"work-{node}-{number % OWN}"
            self._ask(node, "POST", own, "", {"title": f"from {node}"})
        elif chance < 0.85 or (chance > 0.93 and not self._moved(node, rng)):
            self._ask(node, "POST", own, "/claim", {"seconds": 60}, "claim")
        elif chance < 0.93:
            event = {"event": "reset"}
            if own not in self._busy:
                event = {"event": "spawn_requested", "agent": "a-1"}
            self._ask(node, "POST", own, "/execution", {"event": event}, "execution")
            self._busy ^= {own}
        self.took.append(time.monotonic() - begin)

    def _moved(self, node, rng):
        """Move a story that all nodes move; whoever comes second is refused, and told why."""
        try:
            self._move(node, rng, f"shared-{rng.randrange(SHARED)}")
        except RequestRefused:
            return False
        return True


class Probe:
    """Writes a story now and then, and waits until every other node shows it.

    Attributes:
        seen: seconds until the last of them did, for each story.
        fault: why it could not go on; empty while it can.
    """

    def __init__(self, nodes):
        self.seen = []
        self.fault = ""
        self._nodes = nodes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        number = 0
        try:
            while not self._stop.wait(1.0):
                number += 1
                self._once(f"probe-{number}", self._nodes[number % len(self._nodes)])
        except (Failed, OperatorError) as fault:
            self.fault = f"honest work is held up: {fault}"

    def _once(self, story, node):
        begin = time.monotonic()
        node.client.ask("POST", f"/stories/{story}", {"title": "seen?"})
        for other in self._nodes:
            eventually(lambda other=other: _shows(other, story), f"{other} shows {story}",
                       SEEN_SECONDS_MAX)  # fmt: skip
        self.seen.append(time.monotonic() - begin)


def _shows(node, story):
    try:
        node.client.ask("GET", f"/stories/{story}")
    except RequestRefused:
        return False
    return True


def _within(seconds, share):
    """Within what time so many of a hundred were done."""
    return sorted(seconds)[len(seconds) * share // 100] if seconds else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("homes", type=Path, nargs="+")
    asked = parser.parse_args()
    nodes = [Node(home) for home in asked.homes]
    begin = time.monotonic()
    with Steady(nodes, asked.seed, CallerLines(), asked.rate) as work, Probe(nodes) as probe:
        sys.stdin.read()
        seconds = time.monotonic() - begin
    took, seen = (_within(work.took, 50), _within(work.took, 99)), probe.seen
    report = CallerReport(seconds, took, (len(seen), max(seen, default=0.0)), probe.fault)
    print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main()
