"""Honest work beside an attack: so many writes a second, and how soon they are seen elsewhere."""

import threading
import time

from node.client import Refused
from tests.support.daemons import Failed, eventually
from tests.support.laws import Broken
from tests.support.workload import SHARED, Workload

OWN = 20
"""Stories that one node alone works on; most writes renew a claim, as a fleet's do."""
BEHIND_SECONDS_MAX = 1.0
SEEN_SECONDS_MAX = 120


class Steady(Workload):
    """A workload at a steady rate over all its nodes, as far as they keep up.

    Attributes:
        took: seconds from each request to its acknowledgement.
    """

    def __init__(self, nodes, seed, acked, rate):
        super().__init__(nodes, seed, acked)
        self.took = []
        self._pause = len(nodes) / rate
        self._due = {}
        self._busy = set()

    def _waited(self, node, rng):
        """Until the next write is due; what a slow answer cost is caught up, up to a second."""
        at = time.monotonic()
        due = max(self._due.get(node, at), at - BEHIND_SECONDS_MAX)
        self._due[node] = due + self._pause
        return self._stop.wait(max(due - at, 0))

    def _write(self, node, rng, number):
        begin = time.monotonic()
        own = f"work-{node}-{rng.randrange(OWN)}"
        chance = rng.random()
        if number <= SHARED and node is self.nodes[0]:
            self._ask(node, "POST", f"shared-{number - 1}", "", {"title": "everybody's"})
        elif number <= 2 * OWN:
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
        except Refused:
            return False
        return True


class Probe:
    """Writes a story now and then, and waits until every other node shows it.

    Attributes:
        seen: seconds until the last of them did, for each story.
    """

    def __init__(self, nodes):
        self.seen = []
        self._nodes = nodes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._fault = None

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self):
        number = 0
        try:
            while not self._stop.wait(1.0):
                number += 1
                self._once(f"probe-{number}", self._nodes[number % len(self._nodes)])
        except Failed as fault:
            self._fault = Broken("L6", f"honest work is held up: {fault}")

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
    except Refused:
        return False
    return True
