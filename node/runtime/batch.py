"""A batch of jobs on the replica: what it must persist, and what it releases afterwards.

``driver.py`` and the simulator run batches, each with its own clock and store, in one order: work,
commit, release. If the commit fails, all that depended on it is dropped and the replica is built
again from the store. Until the disk takes writes again, queries and peers are served, but nothing
is written or merged. Source: protocol §11.
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
"""How long to wait after a failed commit before the disk is tried again."""


@dataclass(slots=True)
class Job:
    """Something to do with the replica.

    Attributes:
        work: does the job; returns the instructions, and the answer for the caller.
        answer: called with the answer or the failure, once all that it depends on is on disk.
        drop: called with the reason if the link that brought the job must be dropped.
        reads: whether it writes no record, so that it can be done while the store is read-only.
    """

    work: Callable[[Now], tuple[Ready, Any]]
    answer: Callable[[Any], None] | None = None
    drop: Callable[[DisconnectReason], None] | None = None
    reads: bool = False


@dataclass(slots=True)
class Batch:
    """The results of a batch of jobs. Nobody may see them before ``persist`` is on disk."""

    persist: Persist = field(default_factory=Persist)
    quarantine: list[Quarantined] = field(default_factory=list)
    events: list[Observation] = field(default_factory=list)
    results: list[tuple[Job, Ready, Any]] = field(default_factory=list)

    @property
    def must_commit(self) -> bool:
        """Whether there is anything to persist."""
        return bool(self.persist or self.quarantine or self.events)

    def release(
        self, send: Callable[[NodePubkey, Outgoing], None], publish: Callable[[Any], None]
    ) -> None:
        """Send frames, events and answers, job by job."""
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
    """Runs batches on a replica, and builds it again after a failed commit.

    Args:
        build: builds the replica from the store; also returns what reading left to be written.
        why: why the store takes no writes from the start; empty if it does.

    Attributes:
        replica: replaced by ``fail`` and ``resume``: do not keep it from one batch to the next.
        try_at: when to try the disk again (monotonic seconds), while halted.
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
        # Presence is not stored: this node's addresses, what it heard of others, and the instant of
        # its last announcement, since peers ignore an older one.
        self.replica.beacon = beacon

    def startup_effects(self) -> Job:
        """What reading the store left to be written: the first job, also after ``resume``."""
        ready, self._owed = self._owed, Ready()
        return Job(lambda _at: (ready, None))

    def work(self, jobs: Iterable[Job], at: Now) -> Batch:
        """Do a batch of jobs at one instant. A refusal is an answer like any other."""
        batch = Batch()
        for job in jobs:
            result: Any
            if self.halted and not job.reads:
                batch.results.append((job, Ready(), StoreFailure(self.halted)))
                continue
            try:
                ready, result = job.work(at)
            except ProposalRefused as refusal:
                ready, result = Ready(), refusal
            batch.results.append((job, ready, result))
            if self.halted:
                # No records, but such as addresses and empty slots: persisted later.
                self._owed.persist.add(ready.persist)
                continue
            batch.persist.add(ready.persist)
            batch.quarantine += ready.quarantine
            batch.events += filter(is_kept, ready.observe)
        return batch

    def fail(self, batch: Batch, why: str, at: Now) -> Batch:
        """Drop what depended on a failed commit; returns the batch to release instead.

        Writes are refused and queries run again. The caller must drop all links, since the new
        replica has no sessions.

        Raises:
            StoreFailure: the store cannot be read either.
        """
        self._build_again()
        self._halt(why, at.mono + PROBE_SECONDS)
        return self.work([job for job, _, _ in batch.results], at)

    def resume(self, *, rebuild: bool = False) -> Job:
        """Go on writing; returns the first job to do.

        The caller must drop all links, so that new sessions ask for what was not merged meanwhile.

        Args:
            rebuild: whether the store was opened again, so that the replica must be built again.

        Raises:
            StoreFailure: the store cannot be read.
        """
        if rebuild:
            self._build_again()
        self.replica.store_read_only, self.try_at = "", float("inf")
        return self.startup_effects()
