"""The sync with one peer over one link, and the table of all of them.

Stands at stage 2 of the line, beside ``replica.py``: what each peer is known to hold, when to
compare digests with it again, how far its clock is off. Knows nothing of sockets or of the hello,
so that a session fits anything that carries frames. Source: protocol §10.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median_high, median_low

from machines.values import Instant, NodePubkey

from crdt.contract.ready import Noticed, NoticeKind, Now
from crdt.primitives import limits
from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.horizon import Horizon
from crdt.sync.yjs_document import Stretch
from crdt.wire.messages import Frame


@dataclass(slots=True)
class FeedBackoff:
    """A feed that differs: both digests when it was last compared, when that was, when again."""

    mine: bytes
    theirs: bytes
    asked: float
    retry_at: float
    delay: float


class Owed:
    """Frames that a peer is to be sent and that are made when they are sent: so a question waits
    here in a few bytes, however long its answer is. Bounded, since a peer can ask without end.
    """

    def __init__(self) -> None:
        self._answers: deque[tuple[int, Iterator[Frame]]] = deque()
        self._weight = 0

    def add(self, frames: Iterator[Frame], weight: int = 1) -> None:
        """Owe some more; where that is too much, what was owed before comes first.

        Args:
            weight: as many feeds or ranges they speak of.
        """
        if self._weight + weight <= limits.OWED_MAX:
            self._weight += weight
            self._answers.append((weight, frames))

    def __iter__(self) -> Iterator[Frame]:
        """Take out one after the other, each as it is made."""
        while self._answers:
            weight, frames = self._answers[0]
            frame = next(frames, None)
            if frame is not None:
                yield frame
            else:
                self._answers.popleft()
                self._weight -= weight


@dataclass(slots=True)
class Session:
    """One peer.

    Attributes:
        peer: its key.
        since: when the session began (monotonic seconds).
        ahead_ms: how far the peer's wall clock was ahead of our monotonic one, when it was last
            heard: that one does not jump, so that a jump of either wall clock shows.
        next_offer: when to offer the document digest again (monotonic seconds).
        agrees: whether its last digest was ours; ``None`` before the first.
        compared: whether its feed digests were ever read to the end.
        listed: the own feeds that the digests it is sending have named so far.
        handed_back: the peer's own records that it was given because they count nowhere here.
        holding: per feed, the clock below which the peer said it has everything on disk.
        asked: the peer sent a state vector that nothing has been said to yet.
        lacked: what its last state vector lacks and was not sent yet.
        owed: what else it is to be sent, beside that.
        answering: a part of it all is on its way out.
    """

    peer: NodePubkey
    since: float
    ahead_ms: float
    next_offer: float
    agrees: bool | None = None
    compared: bool = False
    holding: dict[FeedId, int] = field(default_factory=dict)
    doubts: dict[FeedId, FeedBackoff] = field(default_factory=dict)
    listed: set[FeedId] = field(default_factory=set)
    handed_back: set[RecordId] = field(default_factory=set)
    asked: bool = False
    lacked: deque[Stretch] = field(default_factory=deque)
    owed: Owed = field(default_factory=Owed)
    answering: bool = False

    def holds(self, feed: FeedId, end: int) -> None:
        """The peer said what it has."""
        if end > self.holding.get(feed, 0):
            self.holding[feed] = end

    def compare_soon(self, at: float) -> None:
        """Offer the document digest by then."""
        self.next_offer = min(self.next_offer, at)

    def may_compare(self, feed: FeedId, mine: bytes, theirs: bytes, now: float) -> bool:
        """Whether to compare a differing feed now: one that stays as it is backs off."""
        doubt = self.doubts.get(feed)
        if doubt is None or (doubt.mine, doubt.theirs) != (mine, theirs):
            self.doubts[feed] = FeedBackoff(mine, theirs, now, now, limits.ANTI_ENTROPY_SECONDS)
            if len(self.doubts) > limits.FEEDS_PER_FRAME_MAX:
                del self.doubts[next(iter(self.doubts))]  # a peer can name feeds without end
            return True
        if now < doubt.retry_at:
            return False
        doubt.asked, doubt.retry_at = now, now + doubt.delay
        doubt.delay = min(2 * doubt.delay, limits.ANTI_ENTROPY_BACKOFF_SECONDS_MAX)
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

    def hear_clock(self, peer: NodePubkey, at: Instant | None, now: Now) -> None:
        """What a peer's clock shows, where it said so for itself."""
        session = self._sessions.get(peer)
        if session is not None and at is not None:
            session.ahead_ms = ahead_ms(at, now)

    def skew_ms(self, now: Now) -> int:
        """How far the median of the peers' clocks is ahead of ours; 0 without peers.

        Of the two in the middle of an even number the nearer counts: of two peers one alone, be its
        clock wrong or the peer a liar, keeps nobody from writing.
        """
        own = ahead_ms(now.wall, now)
        off = [session.ahead_ms - own for session in self._sessions.values()]
        return int(min(median_low(off), median_high(off), key=abs)) if off else 0


def ahead_ms(wall: Instant, now: Now) -> float:
    """How far a wall clock is ahead of the own monotonic one."""
    return wall.ms - 1000 * now.mono


class ClockWatch:
    """Whether the own clock can be written by, and when to say that it cannot.

    Args:
        sessions: the peers whose clocks it is compared with.
        horizon: what it shows beside the founding of the cluster.
    """

    def __init__(self, sessions: Sessions, horizon: Horizon) -> None:
        self._sessions = sessions
        self._horizon = horizon
        self._told = False

    def why_not(self, now: Now) -> str:
        """Why nothing should be stamped by the own clock; empty where it may."""
        if now.wall.is_edge:
            return "this host's clock shows no time between 2020 and 2100; set it right"
        skew = self._sessions.skew_ms(now)
        if abs(skew) <= limits.CLOCK_SKEW_MS_MAX:
            if self._horizon.is_clockless:
                return "this host's clock shows a time before the cluster was founded; set it right"
            return ""
        way, off = "behind" if skew > 0 else "ahead of", f"{abs(skew) / 1000:.0f} s"
        if len(self._sessions.all()) == 1:
            # A pair cannot tell which of the two is wrong.
            return (
                f"this host's clock is {off} {way} its only peer's; see which of the two is wrong, "
                "and set that one right"
            )
        return f"this host's clock is {off} {way} its peers'; set it right"

    def news(self, now: Now) -> list[Noticed]:
        """What to tell the operator: once when it is off, and once when it is right again."""
        why = self.why_not(now)
        # Without peers nothing says that it is right again.
        if bool(why) == self._told or not (why or self._sessions.all()):
            return []
        self._told = bool(why)
        return [Noticed(NoticeKind.CLOCK, why or "this host's clock agrees with its peers' again")]
