"""What a node owes the others without being asked: acks, evidence, and a seal.

Stands beside ``replica.py``, which asks at every tick and writes what is due. Remembers only since
when each is due; what is due follows from the ledger alone. Source: protocol §7 (acks), §8 (seals),
§9 (evidence).
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
"""After one that could not be written."""


class ScheduledWrites:
    """The duties of one node.

    Args:
        own: the own key.
        ledger: what this node knows.
        draw: where delays are drawn from, so that a fleet does not do everything at once.
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
        """What to write now.

        Args:
            feed: the own feed.
            quiet_seconds: how long nothing was written in it; 0 where it must not be sealed.
            mono: monotonic seconds.
        """
        due: list[Intent] = [*self._acks(mono), *self._accusations(mono)]
        if quiet_seconds >= limits.SEAL_QUIET_SECONDS and feed.next_clock and not feed.keyed_void:
            due.append(WriteSeal())
        return due

    def _acks(self, mono: float) -> list[Intent]:
        """Ends that others wrote, seen for a minute and acknowledged by nobody; a few at a time."""
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
        """Look at an end when it is due; what was said of the story before is no longer so."""
        self._ends_seen[story] = (end, until)
        heapq.heappush(self._queue, (until, story))

    def _accusations(self, mono: float) -> list[Intent]:
        """Proofs that no uncut feed shows, each after a random delay."""
        due: list[Intent] = []
        unsaid: dict[tuple[FeedId, int], float] = {}
        for feed, proof in self._ledger.proofs.items():
            if self._ledger.fork_of(feed) is None or any(
                isinstance(record.body, Evidence) and record.body.clock <= proof.clock
                for record in self._ledger.evidence.get(feed, ())
            ):
                continue
            delay = self._draw.fraction() * limits.EVIDENCE_DELAY_SECONDS_MAX
            at = self._forks_seen.get((feed, proof.clock), mono + delay)
            unsaid[feed, proof.clock] = at
            room = len(due) < limits.ACCUSATIONS_PER_TICK_MAX
            if mono >= at and room and self._pace.take(mono):
                due.append(AccuseFork(feed, proof.clock))
        self._forks_seen = unsaid
        return due
