"""The events of a story as a tree, with the number of authors behind each event.

A live event is attached to its parent if the parent is in the tree and the event is legal there and
later. An event that arrives before its parent is attached when the parent is. Weights only grow, so
adding an event only updates its ancestors, up to the first one that does not change. Source:
protocol §7.
"""

from collections.abc import Mapping

from machines.pipeline import INITIAL_STAGE, PIPELINE, Stage, stage_after
from machines.values import NodePubkey

from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import RecordId, RecordRef
from crdt.records.bodies import Transition
from crdt.records.record import VerifiedRecord

Order = tuple[Stamp, RecordRef]
Events = Mapping[RecordId, VerifiedRecord]
Acks = Mapping[RecordId, Events]


def order(record: VerifiedRecord) -> Order:
    """Return the sort key of an event: stamp, pubkey, incarnation, clock."""
    return record.stamp, record.ref


def transition_of(record: VerifiedRecord) -> Transition:
    """Return the body of a transition."""
    body = record.body
    assert isinstance(body, Transition), "only transitions are folded"
    return body


def stage_made_by(record: VerifiedRecord | None) -> Stage:
    """Return the stage that an event led to; backlog for ``None``."""
    if record is None:
        return INITIAL_STAGE
    body = transition_of(record)
    return stage_after(body.event, body.at)


def attaches(record: VerifiedRecord, parent: VerifiedRecord | None) -> bool:
    """Whether an event is legal on its parent and later."""
    if parent is not None and record.stamp <= parent.stamp:
        return False
    return not PIPELINE.ignores(stage_made_by(parent), transition_of(record).event)


def extends(record: VerifiedRecord, end: VerifiedRecord | None) -> bool:
    """Whether an event extends a story whose events are one path that ends with ``end``.

    On a path nothing competes, so nothing needs to be folded.
    """
    parent = transition_of(record).parent
    wanted = None if end is None else end.record_id
    return (None if parent is None else parent.record_id) == wanted and attaches(record, end)


def parent_id(record: VerifiedRecord) -> RecordId | None:
    """Return the id of the parent of an event; ``None`` if it acts on backlog."""
    ref = transition_of(record).parent
    return None if ref is None else ref.record_id


class Tree:
    """The tree of a story.

    Args:
        events: its live transitions, by id. The tree reads this mapping; later events must also be
            passed to ``add``. After a removal, make a new tree.
        acks: its live acks, by the id of the event that each names; likewise.

    Attributes:
        authors: for each event of the tree, a bit for every author at or below it.
        best: the child that counts, by the parent's id (``None``: acting on backlog).
        moved: the parents whose best child changed; the caller empties it.
    """

    def __init__(self, events: Events, acks: Acks) -> None:
        self.authors: dict[RecordId, int] = {}
        self.best: dict[RecordId | None, VerifiedRecord] = {}
        self.moved: set[RecordId | None] = set()
        self._events = events
        self._acks = acks
        self._bits: dict[NodePubkey, int] = {}
        self._children: dict[RecordId | None, list[VerifiedRecord]] = {}
        for record in events.values():
            self._children.setdefault(parent_id(record), []).append(record)
        for record in self._children.get(None, ()):
            self._attach(record)

    def add(self, record: VerifiedRecord) -> None:
        """Add an event that became live."""
        parent = parent_id(record)
        self._children.setdefault(parent, []).append(record)
        if parent is None or parent in self.authors:
            self._attach(record)

    def acknowledge(self, end: RecordId, author: NodePubkey) -> None:
        """Add an ack that became live."""
        if end in self.authors:
            self._add_authors(self._events[end], self._bit(author))

    def weight(self, record_id: RecordId) -> int:
        """Return the number of distinct authors of events and acks at or below an event."""
        return self.authors.get(record_id, 0).bit_count()

    def authors_of(self, record_id: RecordId) -> tuple[NodePubkey, ...]:
        """Return the distinct authors of events and acks at or below an event, in order."""
        bits = self.authors.get(record_id, 0)
        return tuple(sorted(author for author, bit in self._bits.items() if bits & bit))

    def _attach(self, record: VerifiedRecord) -> None:
        """Attach an event to its parent if possible, then the events that wait for it."""
        waiting = [record]
        while waiting:
            record = waiting.pop()
            parent = parent_id(record)
            if attaches(record, None if parent is None else self._events[parent]):
                self.authors[record.record_id] = 0
                bits = self._bit(record.feed.author)
                for ack in self._acks.get(record.record_id, {}).values():
                    bits |= self._bit(ack.feed.author)
                self._add_authors(record, bits)
                waiting += self._children.get(record.record_id, ())

    def _bit(self, author: NodePubkey) -> int:
        return self._bits.setdefault(author, 1 << len(self._bits))

    def _add_authors(self, record: VerifiedRecord, bits: int) -> None:
        """Add authors to an event and its ancestors, and update the best children."""
        while bits & ~self.authors[record.record_id]:
            self.authors[record.record_id] |= bits
            parent = parent_id(record)
            best = self.best.get(parent)
            if best is None or self._beats(record, best):
                self.best[parent] = record
                self.moved.add(parent)
            if parent is None:
                return
            record = self._events[parent]

    def _beats(self, record: VerifiedRecord, best: VerifiedRecord) -> bool:
        """Whether a branch has more authors, or as many and an earlier first event."""
        one, other = self.weight(record.record_id), self.weight(best.record_id)
        return one > other or (one == other and order(record) < order(best))
