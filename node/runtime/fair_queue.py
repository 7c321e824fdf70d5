"""Jobs that wait for the replica: those of local callers first, then those of peers, fairly.

Stands between the links and ``driver.py``. Each peer has a bounded queue, so that a peer that sends
much delays only itself. The peer that has used the least of the replica's time comes next, so that
a few expensive messages count as much as many cheap ones. Source: protocol §10; Goyal, Vin and
Cheng, "Start-time Fair Queueing" (1996).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from crdt.primitives import limits
from machines.values import NodePubkey
from node.runtime.batch import Job

LOCAL_MAX: Final = 1024
FLOW_MAX: Final = 16
BATCH_MAX: Final = 64
"""More jobs would share a commit, but delay all others for longer."""
BATCH_BYTES_MAX: Final = 1024 * 1024
BATCH_SECONDS_MAX: Final = 0.01
"""When a batch has taken this long, the remaining messages go to the next batch."""
FLOWS_MAX: Final = 2 * limits.LINKS_MAX


@dataclass(slots=True)
class _Flow:
    """A peer's waiting jobs with their sizes, and the time it has used, in seconds."""

    jobs: deque[tuple[Job, int]] = field(default_factory=deque)
    spent: float = 0.0
    room: asyncio.Event = field(default_factory=asyncio.Event)


class FairQueue:
    """The jobs that wait for the replica."""

    def __init__(self) -> None:
        self._local: asyncio.Queue[Job] = asyncio.Queue(LOCAL_MAX)
        self._flows: dict[NodePubkey, _Flow] = {}
        self._filled = asyncio.Event()
        self._cost = 0.0
        self.is_closed = False

    def __len__(self) -> int:
        return self._local.qsize() + sum(len(flow.jobs) for flow in self._flows.values())

    async def put(self, job: Job) -> None:
        """Queue a job of a local caller or of the shell itself; waits while the queue is full."""
        await self._local.put(job)
        self._filled.set()

    async def put_from(self, peer: NodePubkey, job: Job, size: int) -> None:
        """Queue a peer's message; waits, and so makes the peer wait, while its queue is full."""
        while len((flow := self._flow(peer)).jobs) >= FLOW_MAX and not self.is_closed:
            flow.room.clear()
            await flow.room.wait()
        if self.is_closed:
            return
        if not flow.jobs:
            # A silent peer saves up no time: it starts where the others are.
            flow.spent = max(flow.spent, self._least())
        flow.jobs.append((job, size))
        self._filled.set()

    def close(self) -> None:
        """Take no more jobs, and wake the links that wait for room.

        Otherwise they would wait for ever and keep the daemon from stopping.
        """
        self.is_closed = True
        for flow in self._flows.values():
            flow.room.set()

    def charge(self, peer: NodePubkey, seconds: float) -> None:
        """Charge a peer for the time that its message took."""
        self._cost += seconds
        self._flow(peer).spent += seconds

    def _flow(self, peer: NodePubkey) -> _Flow:
        flow = self._flows.get(peer)
        if flow is None:
            if len(self._flows) >= FLOWS_MAX:
                self._flows = {key: one for key, one in self._flows.items() if one.jobs}
            flow = self._flows[peer] = _Flow()
        return flow

    def _least(self) -> float:
        return min((flow.spent for flow in self._flows.values() if flow.jobs), default=0.0)

    async def wait(self, seconds: float) -> None:
        """Wait until a job is queued, at most so many seconds; yields to the loop in any case."""
        if len(self):
            await asyncio.sleep(0)
            return
        self._filled.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._filled.wait()

    def local(self) -> list[Job]:
        """Take the jobs of local callers, at most as many as make a batch."""
        return [self._local.get_nowait() for _ in range(min(BATCH_MAX, self._local.qsize()))]

    def of_peers(self, most: int) -> Iterator[Job]:
        """Take jobs of peers, each once the one before it is done and its cost is known.

        Args:
            most: how many jobs at most.
        """
        room, self._cost = BATCH_BYTES_MAX, 0.0
        while (
            most > 0
            and room > 0
            and self._cost < BATCH_SECONDS_MAX
            and (taken := self._next()) is not None
        ):
            job, size = taken
            most -= 1
            room -= size
            yield job

    def _next(self) -> tuple[Job, int] | None:
        waiting = [flow for flow in self._flows.values() if flow.jobs]
        if not waiting:
            return None
        flow = min(waiting, key=lambda flow: flow.spent)
        # Until the cost of this one is known: more than nothing, so that equal peers alternate.
        flow.spent += 1e-6
        flow.room.set()
        return flow.jobs.popleft()
