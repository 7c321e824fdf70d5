"""Callers of real daemons: one to a node, all at once, each noting what was acknowledged to it."""

import random
import threading
from collections import Counter
from typing import NamedTuple

from crdt.authoring.intents import Receipt
from crdt.primitives.identity import RecordId
from machines.values import NodePubkey
from node.client.http_client import RequestRefused
from node.system.errors import OperatorError
from tests.support.harness.daemons import eventually

PAUSE_SECONDS = 0.05
SHARED = 6
"""Stories that every caller moves, so that they collide."""
FORWARD = {
    "backlog": ("deps_met",),
    "coding": ("gates_started", "block"),
    "qa": ("gates_passed", "gates_failed"),
    "merge": ("merge_succeeded",),
    "done": ("accepted",),
    "archived": ("unblock",),
}
FIELDS = {
    "block": {"reason": "waits for a key"},
    "gates_failed": {"reason": "two tests fail"},
    "gates_passed": {"feature_branch": "feature/x", "commits_ahead": 2},
    "merge_succeeded": {"merge_commit": "1f0c2ab"},
}


class Acked(NamedTuple):
    """A write that a daemon has acknowledged.

    Attributes:
        key: the record's kind and key; ``None`` where its kind has none.
    """

    node: object
    receipt: Receipt
    key: tuple[str, str] | None


class Workload:
    """Callers that write until told to stop. To be used as a context.

    Args:
        acked: where to note what was acknowledged; these no fault may lose.

    Attributes:
        counts: how often a write was acknowledged, refused, or left without an answer.
        refusals: the sentences.
        fault: what a caller died of, which is a mistake in the tests.
    """

    def __init__(self, nodes, seed, acked):
        self.nodes = nodes
        self.acked = acked
        self.counts = Counter()
        self.refusals = set()
        self.fault = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(node, random.Random(f"{seed} {node}")))
            for node in nodes
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.fault is not None:
            raise self.fault

    def go_on(self, writes=20):
        """Wait until every node has acknowledged so many more writes."""
        start = len(self.acked)

        def enough():
            more = Counter(one.node for one in self.acked[start:])
            return self.fault or all(more[node] >= writes for node in self.nodes)

        eventually(enough, f"{writes} more writes are acknowledged by each of {self.nodes}")

    def _waited(self, node, rng):
        """Pause before the next write; says whether it is time to stop."""
        return self._stop.wait(PAUSE_SECONDS * rng.uniform(0.5, 1.5))

    def _call(self, node, rng):
        number = 0
        while not self._waited(node, rng):
            number += 1
            try:
                self._write(node, rng, number)
            except RequestRefused as refusal:
                with self._lock:
                    self.counts["refused"] += 1
                    self.refusals.add(refusal.message)
            except (
                OperatorError
            ):  # killed, stopped or starting: what became of the write nobody knows
                with self._lock:
                    self.counts["unanswered"] += 1
            except Exception as fault:  # noqa: BLE001 - told when the callers are joined
                self.fault = fault
                return

    def _write(self, node, rng, number):
        shared = f"shared-{rng.randrange(SHARED)}"
        own = f"{node}-{number}-{rng.randrange(10**6)}"
        match rng.choice(("add", "add", "move", "move", "move", "claim", "release", "work")):
            case "add":
                story = own if rng.random() < 0.8 else shared
                self._ask(node, "POST", story, "", {"title": f"from {node}"})
            case "move":
                self._move(node, rng, shared)
            case "claim":
                self._ask(node, "POST", shared, "/claim", {"seconds": 60}, "claim")
            case "release":
                self._ask(node, "DELETE", shared, "/claim", None, "claim")
            case "work":
                state = node.client.ask("GET", f"/stories/{shared}/execution")["state"]["state"]
                event = {"event": "spawn_requested", "agent": "a-1"}
                if state != "idle":
                    event = {"event": "reset"}
                self._ask(node, "POST", shared, "/execution", {"event": event}, "execution")

    def _move(self, node, rng, story):
        stage = node.client.ask("GET", f"/stories/{story}")["stage"]["stage"]
        event = rng.choice(FORWARD[stage])
        body = {"event": {"event": event, **FIELDS.get(event, {})}, "force": True}
        self._ask(node, "POST", story, "/events", body)

    def _ask(self, node, method, story, what, body, kind=None):
        told = node.client.ask(method, f"/stories/{story}{what}", body)
        receipt = Receipt(
            NodePubkey.from_hex(told["author"]),
            told["incarnation"],
            told["clock"],
            RecordId.from_hex(told["record"]),
        )
        with self._lock:
            self.counts["acknowledged"] += 1
            self.acked.append(Acked(node, receipt, (kind, story) if kind else None))
