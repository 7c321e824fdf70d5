"""One turn of the replica: a batch of jobs, what it must put on disk, what may leave once it has.

Stands between ``driver.py``, which owns the time and the threads, and the core. Knows neither loop
nor store, so that whatever carries turns out keeps one order: work, commit, let out. Where the
commit fails, everything that rested on it is dropped: the replica is built again from what is on
disk, and until the disk takes writes again there is only looking. Source: protocol §11.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from crdt.errors import ProposalRefused
from crdt.ready import Now, Observation, Persist, Quarantined, Ready
from crdt.replica import Replica
from machines.values import NodePubkey
from node.errors import StoreFailure
from node.history import is_kept

PROBE_SECONDS = 5.0
"""How long after a failed commit the disk is tried again."""


@dataclass(slots=True)
class Job:
    """Something to do with the replica.

    Attributes:
        work: does it; gives the instructions and the answer to who asked.
        answer: told the answer, or why there is none, once what it rests on is on disk.
        drop: told why the link that brought the work must go, where it must.
        looks: it changes nothing that is stored, so it can be done while nothing can be written.
    """

    work: Callable[[Now], tuple[Ready, Any]]
    answer: Callable[[Any], None] | None = None
    drop: Callable[[str], None] | None = None
    looks: bool = False


@dataclass(slots=True)
class Turn:
    """What a batch of jobs came to. Nothing of it may be seen before ``persist`` is on disk."""

    persist: Persist = field(default_factory=Persist)
    quarantine: list[Quarantined] = field(default_factory=list)
    events: list[Observation] = field(default_factory=list)
    results: list[tuple[Job, Ready, Any]] = field(default_factory=list)

    @property
    def must_commit(self) -> bool:
        """Whether there is anything to put on disk."""
        return bool(self.persist or self.quarantine or self.events)

    def let_out(
        self, send: Callable[[NodePubkey, bytes], None], publish: Callable[[Any], None]
    ) -> None:
        """Hand out frames, events and answers, job by job."""
        for job, ready, result in self.results:
            for outgoing in (*ready.reply, *ready.publish):
                for peer in outgoing.peers:
                    send(peer, outgoing.data)
            for event in ready.observe:
                publish(event)
            if ready.fault is not None and job.drop is not None:
                job.drop(str(ready.fault.reason))
            if job.answer is not None:
                job.answer(result)


class Carrier:
    """A replica, carried from turn to turn, and whether the disk keeps up with it.

    Args:
        build: the replica as the disk has it, and what reading it left to be written.

    Attributes:
        replica: another object after every ``fail``: never keep it over a turn.
        halted: why nothing can be written now; empty while all is well.
        try_at: when to try the disk again (monotonic), while halted.
    """

    def __init__(self, build: Callable[[], tuple[Replica, Ready]]) -> None:
        self._build = build
        self.replica, self._owed = build()
        self.halted = self._held = ""
        self.try_at = float("inf")

    def owed(self) -> Job:
        """What reading the disk left to be done: the first job, also after ``resume``."""
        ready, self._owed = self._owed, Ready()
        return Job(lambda _at: (ready, None))

    def work(self, jobs: Iterable[Job], at: Now) -> Turn:
        """Do a batch of jobs at one instant. A refusal is an answer, not a failure."""
        turn = Turn()
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
            turn.persist.add(ready.persist)
            turn.quarantine += ready.quarantine
            turn.events += filter(is_kept, ready.observe)
        return turn

    def fail(self, turn: Turn, why: str, at: Now) -> Turn:
        """A commit failed: drop what rested on it. Gives what may be let out instead of the turn.

        Who asked for a write is refused; who looked, looks again. Links must be dropped: the new
        replica has no sessions.

        Raises:
            StoreFailure: what is on disk cannot be read either.
        """
        before = self.replica
        self.replica, self._owed = self._build()
        # What no disk holds: where this node can be reached, and who was heard of.
        self.replica.beacon = before.beacon
        self._held = self.replica.held
        self.replica.held = self.halted = f"read-only: {why}"
        self.try_at = at.mono + PROBE_SECONDS
        return self.work([job for job, _, _ in turn.results], at)

    def resume(self) -> Job:
        """The disk takes writes again. Gives the first job to do."""
        self.replica.held, self.halted = self._held, ""
        self.try_at = float("inf")
        return self.owed()
