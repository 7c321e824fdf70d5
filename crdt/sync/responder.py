"""Stage 2 of the line: what is said to frames that bring no records, and what peers are told.

Stands beside ``replica.py``, which hands it each such frame. State vectors are answered from the
rendering, digests by halving down to the clocks that differ (``anti_entropy.py``). Whatever is long
goes in parts, each once the one before it has left, so that it fits any outbox. Reads the ledger
and notes in the ``Session`` what the peer holds; changes no record's place, but that two nodes
that agree take the holes between their records as empty. Source: protocol §10.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter

from machines.values import NodePubkey

from crdt.contract.checkpoint import in_steps
from crdt.contract.ready import Outgoing, Ready
from crdt.ledger.changes import Changes
from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.records.record import VerifiedRecord
from crdt.sync import anti_entropy
from crdt.sync.session import Session, Sessions
from crdt.sync.yjs_document import Document, Rendering
from crdt.wire.messages import (
    DigestOffer,
    FeedDigests,
    Frame,
    HaveUpTo,
    RangeDigests,
    RecordsWanted,
    SyncStep1,
    SyncStep2,
    Update,
    encode_frame,
)


class Sync:
    """The answers of one node.

    Args:
        own: the own key.
        ledger: what this node knows.
        sessions: with whom it speaks.
        document: the rendering of what it knows.
    """

    def __init__(
        self, own: NodePubkey, ledger: Ledger, sessions: Sessions, document: Document
    ) -> None:
        self._own = own
        self._document = document
        self._ledger = ledger
        self._sessions = sessions

    def receive(
        self, frame: Frame, session: Session, digest: Callable[[], bytes], mono: float
    ) -> Changes:
        """Note what a frame says, and that it is to be answered: ``next_part`` does it.

        Args:
            session: with the peer that sent it.
            digest: gives the own document digest.
            mono: monotonic seconds.

        Returns:
            What changed in the ledger.
        """
        match frame:
            case SyncStep1(vector):
                self._note_vector(session, vector)
                told = filter(self._document.is_told, self.feeds_in_order())
                session.lacked = self._document.lacking(told, vector)
                session.asked = True
            case DigestOffer(document):
                return self._compare_documents(session, agrees=document == digest())
            case FeedDigests():
                self._compare_feeds(session, frame, mono)
            case RangeDigests():
                answer = _made_late(partial(anti_entropy.compare_ranges, self._ledger, frame))
                session.owed.add(answer, limits.QUESTION_WEIGHT + len(frame.ranges))
            case RecordsWanted():
                answer = _made_late(partial(anti_entropy.serve, self._ledger, frame))
                session.owed.add(answer, limits.QUESTION_WEIGHT + len(frame.ranges))
            case HaveUpTo(author, incarnation, end):
                feed = FeedId(author, incarnation)
                if feed in self._ledger.feeds:  # a peer can name feeds without end
                    session.holds(feed, end)
        return Changes()

    def next_part(self, session: Session | None, *, is_out: bool = False) -> list[Outgoing]:
        """The next part of what a peer is to be sent; nothing where one is on its way.

        So an answer takes the memory of one part, however long it is and however often it is
        asked for, and a peer gets it as fast as it reads.

        Args:
            is_out: the part before it no longer waits here.
        """
        if session is None:
            return []
        session.answering = session.answering and not is_out
        if session.answering:
            return []
        part = _part(self._due(session))
        session.answering = bool(part)
        peers, last = (session.peer,), len(part) - 1
        return [Outgoing(peers, data, goes_on=n == last) for n, data in enumerate(part)]

    def _due(self, session: Session) -> Iterator[Frame]:
        """What comes next: no more than one update, which fills a part."""
        if session.asked:
            session.asked = False
            yield SyncStep2(self._document.next_update(session.lacked))
            yield from session.owed
            return
        yield from session.owed
        if session.lacked:
            yield Update(self._document.next_update(session.lacked))

    # --- what nobody asked for -------------------------------------------------------------------

    def owe(self, session: Session, frames: Iterator[Frame], ready: Ready) -> None:
        """Let a peer have some frames, as many at once as fit a part."""
        session.owed.add(frames)
        ready.publish += self.next_part(session)

    def publish(self, rendering: Rendering, but: NodePubkey | None, ready: Ready) -> None:
        """Tell all peers but one what is new: as updates, and by position what none can tell.

        A change of the roster may bring back all that its members wrote, in one turn and for
        everybody. What is more than one update and one part is owed to each.
        """
        others = [session for session in self._sessions.all() if session.peer != but]
        if not others:
            return
        peers = [session.peer for session in others]
        lacked, deleted = rendering.lacked, rendering.deleted
        if lacked:
            update = self._document.next_update(lacked)
            ready.send(peers, encode_frame(Update(update)))
        # What peers would not take at once, they find by comparing digests.
        if deleted and len(deleted) <= limits.UPDATE_BYTES_MAX:
            ready.send(peers, encode_frame(Update(deleted)))
        frames = self._by_position(rendering.back)
        for data in _part(frames):
            ready.send(peers, data)
        rest = [*frames]
        for session in others if lacked or rest else ():
            if len(session.lacked) + len(lacked) <= limits.OWED_MAX:
                session.lacked += lacked
            self.owe(session, iter(rest), ready)

    def _by_position(self, back: Iterable[VerifiedRecord]) -> Iterator[Frame]:
        by_feed: defaultdict[FeedId, list[VerifiedRecord]] = defaultdict(list)
        for record in in_steps(back, self._ledger.checkpoint):
            by_feed[record.feed].append(record)
        for feed in sorted(by_feed):
            rows = sorted(by_feed[feed], key=attrgetter("clock", "record_id"))
            yield from anti_entropy.as_records(feed, in_steps(rows, self._ledger.checkpoint))

    def acknowledge(self, feeds: Iterable[Feed], ready: Ready) -> None:
        """Tell authors that are peers how much of their feeds is held."""
        for author, mine in groupby(sorted(feeds, key=lambda f: f.id), key=lambda f: f.author):
            session = self._sessions.get(author) if author != self._own else None
            if session is not None:
                frames = [HaveUpTo(*feed.id, feed.known_end()) for feed in mine]
                first = frames[: limits.PART_FRAMES_MAX]
                for frame in first:
                    ready.send((author,), encode_frame(frame))
                if len(frames) > len(first):
                    self.owe(session, iter(frames[len(first) :]), ready)

    def feeds_in_order(self) -> list[Feed]:
        """The founder's and the admins' feeds first: what others rest on."""
        return sorted(self._ledger.feeds.values(), key=lambda feed: self._rank(feed.id))

    def _rank(self, feed: FeedId) -> tuple[bool, bool, FeedId]:
        roster = self._ledger.roster
        return feed.author != roster.founder, roster.role(feed.author) is not Role.ADMIN, feed

    def _note_vector(self, session: Session, vector: dict[int, int]) -> None:
        """A peer's state vector says how much of our feeds it holds."""
        for client, end in vector.items():
            feed = self._document.by_client.get(client)
            if feed is not None and feed.author == self._own:
                session.holds(feed, end)

    def _compare_documents(self, session: Session, *, agrees: bool) -> Changes:
        session.agrees = agrees
        if not agrees:
            digests = _made_late(partial(anti_entropy.feed_digests, self._ledger))
            session.owed.add(digests, limits.QUESTION_WEIGHT)
            return Changes()
        changes = self._ledger.believe_holes()
        for feed in self._ledger.feeds.values():
            session.holds(feed.id, feed.next_clock)
        return changes

    def _compare_feeds(self, session: Session, theirs: FeedDigests, mono: float) -> None:
        """Open the comparison of the feeds that differ, as many as are compared at once."""
        said = {FeedId(row.author, row.incarnation): row.digest for row in theirs.feeds}
        opened: list[FeedId] = []
        found = anti_entropy.differing(self._ledger, theirs, session.listed)
        for feed_id in sorted(found, key=lambda one: (one in session.doubts, self._rank(one))):
            if len(opened) == limits.COMPARED_AT_ONCE_MAX:
                session.compare_soon(mono + limits.COMPARE_ON_SECONDS)
                break
            mine = self._ledger.feeds.get(feed_id)
            digest = mine.digest() if mine is not None else b""
            if session.may_compare(feed_id, digest, said.get(feed_id, b""), mono):
                opened.append(feed_id)
        session.compared = session.compared or theirs.last
        frames = (f for one in opened for f in anti_entropy.open_comparison(self._ledger, one))
        session.owed.add(frames, len(opened))


def _made_late(make: Callable[[], Iterable[Frame]]) -> Iterator[Frame]:
    """Frames that are made once the first of them is to be sent."""
    yield from make()


def _part(frames: Iterator[Frame]) -> list[bytes]:
    """As many frames as are sent at once, encoded."""
    part: list[bytes] = []
    room = limits.UPDATE_BYTES_MAX
    while room > 0 and len(part) < limits.PART_FRAMES_MAX:
        frame = next(frames, None)
        if frame is None:
            break
        part.append(encode_frame(frame))
        room -= len(part[-1])
    return part
