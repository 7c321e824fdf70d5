"""The sync with one peer over one link, and the table of all of them.

Stands at stage 2 of the line, beside ``replica.py``: what each peer is known to hold, when to
compare digests with it again, how far its clock is off. Knows nothing of sockets or of the hello,
so that a session fits anything that carries frames. Source: protocol §10.
"""

from dataclasses import dataclass, field
from statistics import median

from machines.values import Instant, NodePubkey

from crdt import limits
from crdt.identity import FeedId, RecordRef


@dataclass(slots=True)
class Doubt:
    """A feed that differs: both digests when it was last compared, and when to compare again."""

    mine: bytes
    theirs: bytes
    again: float
    pause: float


@dataclass(slots=True)
class Session:
    """One peer.

    Attributes:
        peer: its key.
        since: when the session began (monotonic seconds).
        offset_ms: how far the peer's clock was ahead of ours when it last said so: at the hello,
            and in each presence of its own since, for clocks are put right while links are up.
        next_offer: when to offer the document digest again (monotonic seconds).
        agrees: whether its last digest was ours; ``None`` before the first.
        listed: the own feeds that the digests it is sending have named so far.
        holding: per feed, the clock below which the peer said it has everything on disk.
    """

    peer: NodePubkey
    since: float
    offset_ms: int
    next_offer: float
    agrees: bool | None = None
    holding: dict[FeedId, int] = field(default_factory=dict)
    doubts: dict[FeedId, Doubt] = field(default_factory=dict)
    listed: set[FeedId] = field(default_factory=set)

    def holds(self, feed: FeedId, end: int) -> None:
        """The peer said what it has."""
        if end > self.holding.get(feed, 0):
            self.holding[feed] = end

    def may_compare(self, feed: FeedId, mine: bytes, theirs: bytes, now: float) -> bool:
        """Whether to compare a differing feed now: one that stays as it is backs off."""
        doubt = self.doubts.get(feed)
        if doubt is None or (doubt.mine, doubt.theirs) != (mine, theirs):
            self.doubts[feed] = Doubt(mine, theirs, now, limits.ANTI_ENTROPY_SECONDS)
            return True
        if now < doubt.again:
            return False
        doubt.again = now + doubt.pause
        doubt.pause = min(2 * doubt.pause, limits.ANTI_ENTROPY_BACKOFF_SECONDS_MAX)
        return True


class Sessions:
    """Every session, by peer."""

    def __init__(self) -> None:
        self._sessions: dict[NodePubkey, Session] = {}
        self._shared: dict[FeedId, int] = {}

    def open(self, session: Session) -> None:
        """Begin a session; one with the same peer is replaced."""
        self._sessions[session.peer] = session

    def close(self, peer: NodePubkey) -> None:
        """End a session."""
        session = self._sessions.pop(peer, None)
        if session is not None:
            for feed, end in session.holding.items():
                self._shared[feed] = max(self._shared.get(feed, 0), end)

    def get(self, peer: NodePubkey) -> Session | None:
        """The session with a peer."""
        return self._sessions.get(peer)

    def all(self) -> list[Session]:
        """Every session, in order of key."""
        return [self._sessions[peer] for peer in sorted(self._sessions)]

    def peers(self, *, but: NodePubkey | None = None) -> list[NodePubkey]:
        """Every peer with a session, in order of key, leaving one out."""
        return [peer for peer in sorted(self._sessions) if peer != but]

    def holders(self, ref: RecordRef) -> int:
        """How many linked peers said that they have a record on disk."""
        return sum(
            session.holding.get(ref.feed, 0) > ref.clock for session in self._sessions.values()
        )

    def shared_end(self, feed: FeedId) -> int:
        """The clock below which some peer, linked or gone, has everything of a feed."""
        ends = [session.holding.get(feed, 0) for session in self._sessions.values()]
        return max([self._shared.get(feed, 0), *ends])

    def clock_said(self, peer: NodePubkey, theirs: Instant | None, ours: Instant) -> None:
        """A peer spoke, and said what its clock shows, if it spoke of itself."""
        session = self._sessions.get(peer)
        if session is not None and theirs is not None:
            session.offset_ms = theirs.ms - ours.ms

    def skew_ms(self) -> int:
        """How far the median of the peers' clocks is ahead of ours; 0 without peers."""
        offsets = [session.offset_ms for session in self._sessions.values()]
        return int(median(offsets)) if offsets else 0
