"""Stage 2 of the line: what is said to frames that bring no records.

Stands beside ``replica.py``, which hands it each such frame. State vectors are answered from the
rendering, digests by halving down to the clocks that differ (``antientropy.py``). Reads the ledger
and notes in the ``Session`` what the peer holds; changes no record's place, but that two nodes
that agree take the holes between their records as empty. Source: protocol §10.
"""

from collections.abc import Callable, Iterator

from machines.values import NodePubkey

from crdt import antientropy
from crdt.bodies import Role
from crdt.document import lacking, next_update
from crdt.feeds import Feed
from crdt.frame import (
    DigestOffer,
    FeedDigests,
    Frame,
    Holding,
    RangeDigests,
    RecordsWanted,
    SyncStep1,
    SyncStep2,
    Update,
    encode_frame,
)
from crdt.identity import FeedId
from crdt.ledger import Ledger
from crdt.ready import Outgoing
from crdt.session import Session


class Sync:
    """The answers of one node.

    Args:
        own: the own key.
        ledger: what this node knows.
    """

    def __init__(self, own: NodePubkey, ledger: Ledger) -> None:
        self._own = own
        self._ledger = ledger

    def answer(
        self, frame: Frame, session: Session, digest: Callable[[], bytes], mono: float
    ) -> list[Frame]:
        """What to say to a frame at once; to a state vector, ``next_part`` says it.

        Args:
            session: with the peer that sent it.
            digest: gives the own document digest.
            mono: monotonic seconds.
        """
        match frame:
            case SyncStep1(vector):
                self._note_vector(session, vector)
                session.lacked = lacking(self._told_by_client(), vector)
                session.asked = True
            case DigestOffer(document):
                return self._compare_documents(session, agrees=document == digest())
            case FeedDigests():
                return self._compare_feeds(session, frame, mono)
            case RangeDigests():
                return antientropy.compare_ranges(self._ledger, frame)
            case RecordsWanted():
                return antientropy.serve(self._ledger, frame)
            case Holding(author, incarnation, end):
                feed = FeedId(author, incarnation)
                if feed in self._ledger.feeds:  # a peer can name feeds without end
                    session.holds(feed, end)
        return []

    def next_part(self, session: Session | None, *, is_out: bool = False) -> list[Outgoing]:
        """The next part of what a peer's last state vector lacks; nothing where one is on its way.

        So an answer takes the memory of one part, however long it is and however often it is
        asked for, and a peer gets it as fast as it reads.

        Args:
            is_out: the part before it no longer waits here.
        """
        if session is None:
            return []
        session.answering = session.answering and not is_out
        if session.answering or not (session.asked or session.lacked):
            return []
        update = next_update(session.lacked, self._ledger.feeds)
        frame = SyncStep2(update) if session.asked else Update(update)
        session.asked, session.answering = False, True
        return [Outgoing((session.peer,), encode_frame(frame), goes_on=True)]

    def state_vector(self) -> dict[int, int]:
        """Of the rendering: client id → next clock."""
        return {feed.client_id: feed.rendered for feed in self._told_by_client() if feed.rendered}

    def feeds_in_order(self) -> list[Feed]:
        """The founder's and the admins' feeds first: what others rest on."""
        roster = self._ledger.roster

        def rank(feed: Feed) -> tuple[bool, bool, FeedId]:
            founder = feed.author == roster.founder
            return not founder, roster.role(feed.author) is not Role.ADMIN, feed.id

        return sorted(self._ledger.feeds.values(), key=rank)

    def _told_by_client(self) -> Iterator[Feed]:
        """The feeds that a state vector can tell apart. Whoever knows only one of two with one
        client id would take the other's records for forged; those travel by position.
        """
        by_client = self._ledger.by_client
        return (feed for feed in self.feeds_in_order() if by_client[feed.client_id] == feed.id)

    def _note_vector(self, session: Session, vector: dict[int, int]) -> None:
        """A peer's state vector says how much of our feeds it holds."""
        for client, end in vector.items():
            feed = self._ledger.by_client.get(client)
            if feed is not None and feed.author == self._own:
                session.holds(feed, end)

    def _compare_documents(self, session: Session, *, agrees: bool) -> list[Frame]:
        if agrees:
            self._ledger.believe_holes()
        session.agrees = agrees
        for feed in self._ledger.feeds.values() if agrees else ():
            session.holds(feed.id, feed.head)
        return [] if agrees else [*antientropy.feed_digests(self._ledger)]

    def _compare_feeds(self, session: Session, theirs: FeedDigests, mono: float) -> list[Frame]:
        """Open the comparison of each feed that differs."""
        replies: list[Frame] = []
        said = {FeedId(row.author, row.incarnation): row.digest for row in theirs.feeds}
        for feed_id in antientropy.differing(self._ledger, theirs, session.listed):
            mine = self._ledger.feeds.get(feed_id)
            digest = mine.digest() if mine is not None else b""
            other = said.get(feed_id, b"")
            if session.may_compare(feed_id, digest, other, mono):
                replies += antientropy.open_comparison(self._ledger, feed_id)
        session.compared = session.compared or theirs.last
        return replies
