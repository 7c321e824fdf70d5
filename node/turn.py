"""One turn of the replica: a batch of jobs, what it must put on disk, what may leave once it has.

Stands between ``driver.py``, which owns the time and the threads, and the core. Knows neither loop
nor store, so that whatever carries turns out keeps one order: work, commit, let out. Source:
protocol §11.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from crdt.errors import ProposalRefused
from crdt.ready import Now, Persist, Quarantined, Ready
from machines.values import NodePubkey


@dataclass(slots=True)
class Job:
    """Something to do with the replica.

    Attributes:
        work: does it; gives the instructions and the answer to who asked.
        answer: told the answer, or why there is none, once what it rests on is on disk.
        drop: told why the link that brought the work must go, where it must.
    """

    work: Callable[[Now], tuple[Ready, Any]]
    answer: Callable[[Any], None] | None = None
    drop: Callable[[str], None] | None = None


@dataclass(slots=True)
class Turn:
    """What a batch of jobs came to. Nothing of it may be seen before ``persist`` is on disk."""

    persist: Persist = field(default_factory=Persist)
    quarantine: list[Quarantined] = field(default_factory=list)
    results: list[tuple[Job, Ready, Any]] = field(default_factory=list)

    @property
    def must_commit(self) -> bool:
        """Whether there is anything to put on disk."""
        return bool(self.persist or self.quarantine)

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


def work(jobs: Iterable[Job], at: Now) -> Turn:
    """Do a batch of jobs at one instant. A refusal is an answer, not a failure."""
    turn = Turn()
    for job in jobs:
        try:
            ready, result = job.work(at)
        except ProposalRefused as refusal:
            ready, result = Ready(), refusal
        turn.results.append((job, ready, result))
        turn.persist.add(ready.persist)
        turn.quarantine += ready.quarantine
    return turn
