"""What waits for the replica: local callers first, then each peer in turn by the time it cost.

Stands between the links and ``driver.py``. One lane for each peer, bounded, so that whoever sends
much makes himself wait and nobody else; and the lane that has had the least of the replica's time
comes next, so that a few dear messages cost their sender as much as many cheap ones. Source:
protocol §10; Goyal, Vin and Cheng, "Start-time Fair Queueing" (1996).
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
LANE_MAX: Final = 16
BATCH_MAX: Final = 64
"""One turn runs without a pause: more jobs would share a commit, and stall the loop for longer."""
BATCH_BYTES_MAX: Final = 1024 * 1024
BATCH_SECONDS_MAX: Final = 0.01
"""When the messages of one turn have cost this much, the rest is for the next: one message of
64 KiB may cost three times as much, and the loop is held for all of a turn."""
LANES_MAX: Final = 2 * limits.LINKS_MAX


@dataclass(slots=True)
class _Flow:
    """A peer's messages that wait, with their sizes, and the time it cost so far, in seconds."""

    jobs: deque[tuple[Job, int]] = field(default_factory=deque)
    spent: float = 0.0
    room: asyncio.Event = field(default_factory=asyncio.Event)


class FairQueue:
    """Everything that waits."""

    def __init__(self) -> None:
        self._local: asyncio.Queue[Job] = asyncio.Queue(LOCAL_MAX)
        self._lanes: dict[NodePubkey, _Flow] = {}
        self._filled = asyncio.Event()
        self._cost = 0.0
        self.is_closed = False

    def __len__(self) -> int:
        return self._local.qsize() + sum(len(lane.jobs) for lane in self._lanes.values())

    async def put(self, job: Job) -> None:
        """Queue what a local caller, or the shell itself, asks for; waits while it is full."""
        await self._local.put(job)
        self._filled.set()

    async def put_from(self, peer: NodePubkey, job: Job, size: int) -> None:
        """Queue a peer's message; waits, and so lets the peer wait, while its lane is full."""
        while len((lane := self._lane(peer)).jobs) >= LANE_MAX and not self.is_closed:
            lane.room.clear()
            await lane.room.wait()
        if self.is_closed:
            return
        if not lane.jobs:
            # Whoever was silent has saved nothing up: he starts where the others are.
            lane.spent = max(lane.spent, self._least())
        lane.jobs.append((job, size))
        self._filled.set()

    def close(self) -> None:
        """Nobody takes anything any more: whoever waits for room in a lane goes on without it.

        A link that waited for ever would keep the daemon from ending.
        """
        self.is_closed = True
        for lane in self._lanes.values():
            lane.room.set()

    def charge(self, peer: NodePubkey, seconds: float) -> None:
        """A message of this peer cost so much of the replica's time."""
        self._cost += seconds
        self._lane(peer).spent += seconds

    def _lane(self, peer: NodePubkey) -> _Flow:
        lane = self._lanes.get(peer)
        if lane is None:
            if len(self._lanes) >= LANES_MAX:
                self._lanes = {key: one for key, one in self._lanes.items() if one.jobs}
            lane = self._lanes[peer] = _Flow()
        return lane

    def _least(self) -> float:
        return min((lane.spent for lane in self._lanes.values() if lane.jobs), default=0.0)

    async def wait(self, seconds: float) -> None:
        """Wait until there is something, for so long at most; let others have the loop anyway."""
        if len(self):
            await asyncio.sleep(0)
            return
        self._filled.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._filled.wait()

    def local(self) -> list[Job]:
        """Take what local callers ask for, as much as makes a batch."""
        return [self._local.get_nowait() for _ in range(min(BATCH_MAX, self._local.qsize()))]

    def of_peers(self, most: int) -> Iterator[Job]:
        """Take what peers ask for, each job when the one before it is done and its cost known.

        Args:
            most: as many jobs.
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
        waiting = [lane for lane in self._lanes.values() if lane.jobs]
        if not waiting:
            return None
        lane = min(waiting, key=lambda lane: lane.spent)
        # Until it is known what this one costs: less than a message, more than nothing, so that
        # lanes alternate whose messages are not done at once.
        lane.spent += 1e-6
        lane.room.set()
        return lane.jobs.popleft()
