"""One turn of the replica: a batch of jobs, what it must put on disk, what may leave once it has.

Stands between ``driver.py``, which owns the time and the threads, and the core. Knows neither loop
nor store, so that whatever carries turns out keeps one order: work, commit, let out. Where the
commit fails, everything that rested on it is dropped: the replica is built again from what is on
disk, and until the disk takes writes again callers look and peers are served, but nothing is
written, and nothing is taken that could not be kept. Source: protocol §11.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from crdt.contract.ready import Now, Observation, Outgoing, Persist, Quarantined, Ready
from crdt.primitives.errors import ProposalRefused
from crdt.replica import Replica
from machines.values import NodePubkey
from node.runtime.peer_link import DisconnectReason
from node.storage.history import is_kept
from node.system.errors import StoreFailure

PROBE_SECONDS = 5.0
"""How long after a failed commit the disk is tried again."""


@dataclass(slots=True)
class Job:
    """Something to do with the replica.

    Attributes:
        work: does it; gives the instructions and the answer to who asked.
        answer: told the answer, or why there is none, once what it rests on is on disk.
        drop: told why the link that brought the work must go, where it must.
        looks: it writes nothing of its own, so it can be done while nothing can be written.
    """

    work: Callable[[Now], tuple[Ready, Any]]
    answer: Callable[[Any], None] | None = None
    drop: Callable[[DisconnectReason], None] | None = None
    looks: bool = False


@dataclass(slots=True)
class Batch:
    """What a batch of jobs came to. Nothing of it may be seen before ``persist`` is on disk."""

    persist: Persist = field(default_factory=Persist)
    quarantine: list[Quarantined] = field(default_factory=list)
    events: list[Observation] = field(default_factory=list)
    results: list[tuple[Job, Ready, Any]] = field(default_factory=list)

    @property
    def must_commit(self) -> bool:
        """Whether there is anything to put on disk."""
        return bool(self.persist or self.quarantine or self.events)

    def release(
        self, send: Callable[[NodePubkey, Outgoing], None], publish: Callable[[Any], None]
    ) -> None:
        """Hand out frames, events and answers, job by job."""
        for job, ready, result in self.results:
            for outgoing in (*ready.reply, *ready.publish):
                for peer in outgoing.peers:
                    send(peer, outgoing)
            for event in ready.observe:
                publish(event)
            if ready.fault is not None and job.drop is not None:
                job.drop(DisconnectReason(ready.fault.reason))
            if job.answer is not None:
                job.answer(result)


class BatchRunner:
    """A replica, carried from turn to turn, and whether the disk keeps up with it.

    Args:
        build: the replica as the disk has it, and what reading it left to be written.
        why: why nothing can be written from the start.

    Attributes:
        replica: another object after a ``fail`` or ``resume``: never keep it over a turn.
        try_at: when to try the disk again (monotonic), while halted.
    """

    def __init__(self, build: Callable[[], tuple[Replica, Ready]], why: str = "") -> None:
        self._build = build
        self.replica, self._owed = build()
        self.try_at = float("inf")
        if why:
            self._halt(why, float("-inf"))

    @property
    def halted(self) -> str:
        """Why the store takes no writes now; empty if it does."""
        return self.replica.store_read_only

    def _halt(self, why: str, try_at: float) -> None:
        self.replica.store_read_only = f"read-only until the store takes writes again: {why}"
        self.try_at = try_at

    def _build_again(self) -> None:
        beacon = self.replica.beacon
        self.replica, self._owed = self._build()
        # What no disk holds: where this node can be reached, who was heard of, and which presence
        # was its last, which peers take no older one after.
        self.replica.beacon = beacon

    def startup_effects(self) -> Job:
        """What reading the disk left to be done: the first job, also after ``resume``."""
        ready, self._owed = self._owed, Ready()
        return Job(lambda _at: (ready, None))

    def work(self, jobs: Iterable[Job], at: Now) -> Batch:
        """Do a batch of jobs at one instant. A refusal is an answer, not a failure."""
        turn = Batch()
        for job in jobs:
            result: Any
            if self.halted and not job.looks:
                turn.results.append((job, Ready(), StoreFailure(self.halted)))
                continue
            try:
                ready, result = job.work(at)
            except ProposalRefused as refusal:
                ready, result = Ready(), refusal
            turn.results.append((job, ready, result))
            if self.halted:
                # No record: an address, or that a slot is empty. It is written later.
                self._owed.persist.add(ready.persist)
                continue
            turn.persist.add(ready.persist)
            turn.quarantine += ready.quarantine
            turn.events += filter(is_kept, ready.observe)
        return turn

    def fail(self, turn: Batch, why: str, at: Now) -> Batch:
        """A commit failed: drop what rested on it. Gives what may be let out instead of the turn.

        Who asked for a write is refused; who looked, looks again. Links must be dropped, to be
        opened anew: the new replica has no sessions.

        Raises:
            StoreFailure: what is on disk cannot be read either.
        """
        self._build_again()
        self._halt(why, at.mono + PROBE_SECONDS)
        return self.work([job for job, _, _ in turn.results], at)

    def resume(self, *, anew: bool = False) -> Job:
        """The disk takes writes again. Gives the first job to do.

        Links must be dropped: what peers brought meanwhile was not taken, and is to be asked for.

        Args:
            anew: the store was opened anew, so that the replica must be too.

        Raises:
            StoreFailure: what is on disk cannot be read.
        """
        if anew:
            self._build_again()
        self.replica.store_read_only, self.try_at = "", float("inf")
        return self.startup_effects()
