"""Records that a node writes on its own: acks, evidence and seals.

The ledger determines what is to be written; this module only keeps the time at which each becomes
due. Source: protocol §7 (acks), §8 (seals), §9 (evidence).
"""

import heapq
from typing import Final

from machines.values import NodePubkey, StoryId

from crdt.authoring.intents import AccuseFork, AcknowledgeEnd, Intent, WriteSeal
from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import FeedId, RecordRef
from crdt.primitives.seeded_random import SeededRandom
from crdt.primitives.token_bucket import TokenBucket
from crdt.records.bodies import Evidence

ACK_AGAIN_SECONDS: Final = 1.0
"""The delay after an ack that could not be written."""


class ScheduledWrites:
    """The scheduled writes of one node.

    Args:
        own: our own key.
        ledger: all known records.
        draw: the source of random delays, so that not all nodes write at once.
    """

    def __init__(self, own: NodePubkey, ledger: Ledger, draw: SeededRandom) -> None:
        self._own = own
        self._ledger = ledger
        self._draw = draw
        self._ends_seen: dict[str, tuple[RecordRef, float]] = {}
        self._queue: list[tuple[float, str]] = []
        self._forks_seen: dict[tuple[FeedId, int], float] = {}
        self._pace = TokenBucket(limits.ACCUSATIONS_BURST, limits.AUTHOR_FEEDS_PER_SECOND, 0.0)

    def due_commands(self, feed: Feed, quiet_seconds: float, mono: float) -> list[Intent]:
        """Return the intents that are due.

        Args:
            feed: our feed.
            quiet_seconds: the time since its last record; 0 if it must not be sealed.
            mono: the time now, in monotonic seconds.
        """
        due: list[Intent] = [*self._acks(mono), *self._accusations(mono)]
        if quiet_seconds >= limits.SEAL_QUIET_SECONDS and feed.next_clock and not feed.keyed_void:
            due.append(WriteSeal())
        return due

    def _acks(self, mono: float) -> list[Intent]:
        """Return the acks that are due: of ends by others that are a minute old and have no ack."""
        board = self._ledger.board
        for story in board.take_touched(limits.ENDS_PER_TICK_MAX):
            end = board.unacknowledged_end(story)
            known = self._ends_seen.get(story)
            if end is None or end.author == self._own:
                self._ends_seen.pop(story, None)
            elif known is None or known[0] != end:
                self._wait(story, end, mono + self._draw.fraction() + limits.ACK_AFTER_SECONDS)
        due: list[Intent] = []
        for _ in range(limits.ACKS_PER_TICK_MAX):
            if not self._queue or self._queue[0][0] > mono:
                break
            at, story = heapq.heappop(self._queue)
            end, since = self._ends_seen.get(story, (None, 0.0))
            if end is not None and since == at and board.unacknowledged_end(story) == end:
                due.append(AcknowledgeEnd(StoryId(story)))
                self._wait(story, end, mono + ACK_AGAIN_SECONDS)
        return due

    def _wait(self, story: str, end: RecordRef, until: float) -> None:
        """Check an end at a later time, instead of any earlier end of the story."""
        self._ends_seen[story] = (end, until)
        heapq.heappush(self._queue, (until, story))

    def _accusations(self, mono: float) -> list[Intent]:
        """Return evidence for fork proofs that no uncut feed contains, after random delays."""
        due: list[Intent] = []
        scheduled: dict[tuple[FeedId, int], float] = {}
        for feed, proof in self._ledger.proofs.items():
            if self._ledger.fork_of(feed) is None or any(
                isinstance(record.body, Evidence) and record.body.clock <= proof.clock
                for record in self._ledger.evidence.get(feed, ())
            ):
                continue
            delay = self._draw.fraction() * limits.EVIDENCE_DELAY_SECONDS_MAX
            at = self._forks_seen.get((feed, proof.clock), mono + delay)
            scheduled[feed, proof.clock] = at
            has_room = len(due) < limits.ACCUSATIONS_PER_TICK_MAX
            if mono >= at and has_room and self._pace.take(mono):
                due.append(AccuseFork(feed, proof.clock))
        self._forks_seen = scheduled
        return due
