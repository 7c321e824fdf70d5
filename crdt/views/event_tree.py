"""A story's events as a tree, and how many authors stand behind each.

Stands under ``fold.py``. A live event hangs below its parent where that is in the tree, and the
event is legal and later there; what waits for its parent is hung when that comes. Weights only
grow, and what grows is compared with the best beside it: so one more event costs the way up to
where nothing changes. Source: protocol §7.
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
    """The order of events: stamp, pubkey, incarnation, clock."""
    return record.stamp, record.ref


def transition_of(record: VerifiedRecord) -> Transition:
    """A transition's body."""
    body = record.body
    assert isinstance(body, Transition), "only transitions are folded"
    return body


def stage_made_by(record: VerifiedRecord | None) -> Stage:
    """The stage that an event made; backlog before the first."""
    if record is None:
        return INITIAL_STAGE
    body = transition_of(record)
    return stage_after(body.event, body.at)


def attaches(record: VerifiedRecord, parent: VerifiedRecord | None) -> bool:
    """Whether an event is legal on its parent, and later."""
    if parent is not None and record.stamp <= parent.stamp:
        return False
    return not PIPELINE.ignores(stage_made_by(parent), transition_of(record).event)


def extends(record: VerifiedRecord, end: VerifiedRecord | None) -> bool:
    """Whether an event makes a story whose events are one path a longer path.

    Then nothing competes, and nothing need be folded: the story stands where its last event put it.
    """
    parent = transition_of(record).parent
    wanted = None if end is None else end.record_id
    return (None if parent is None else parent.record_id) == wanted and attaches(record, end)


def parent_id(record: VerifiedRecord) -> RecordId | None:
    """The id of the event that an event builds on; ``None`` where it acts on backlog."""
    ref = transition_of(record).parent
    return None if ref is None else ref.record_id


class Tree:
    """The tree of a story.

    Args:
        events: its live transitions, by id. The tree looks here; it must be told of each that comes
            later, and made anew when one goes.
        acks: its live acks, by the id of the event that each names; likewise.

    Attributes:
        authors: for each event of the tree, a bit for every author at or below it.
        best: the child that counts, by the parent's id (``None``: acting on backlog).
        moved: the parents of which another child counts than when this was last emptied.
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
            self._hang(record)

    def add(self, record: VerifiedRecord) -> None:
        """One more event is live."""
        above = parent_id(record)
        self._children.setdefault(above, []).append(record)
        if above is None or above in self.authors:
            self._hang(record)

    def acknowledge(self, end: RecordId, author: NodePubkey) -> None:
        """One more ack is live."""
        if end in self.authors:
            self._raise(self._events[end], self._bit(author))

    def weight(self, record_id: RecordId) -> int:
        """How many distinct authors of events and acks stand at or below an event."""
        return self.authors.get(record_id, 0).bit_count()

    def behind(self, record_id: RecordId) -> tuple[NodePubkey, ...]:
        """The distinct authors of events and acks that stand at or below an event."""
        held = self.authors.get(record_id, 0)
        return tuple(sorted(author for author, bit in self._bits.items() if held & bit))

    def _hang(self, record: VerifiedRecord) -> None:
        """Hang an event below its parent, if it hangs there, and then what waits for it."""
        waiting = [record]
        while waiting:
            record = waiting.pop()
            above = parent_id(record)
            if attaches(record, None if above is None else self._events[above]):
                self.authors[record.record_id] = 0
                bits = self._bit(record.feed.author)
                for ack in self._acks.get(record.record_id, {}).values():
                    bits |= self._bit(ack.feed.author)
                self._raise(record, bits)
                waiting += self._children.get(record.record_id, ())

    def _bit(self, author: NodePubkey) -> int:
        return self._bits.setdefault(author, 1 << len(self._bits))

    def _raise(self, record: VerifiedRecord, bits: int) -> None:
        """Count authors at an event and above it, and choose again beside those that changed."""
        while bits & ~self.authors[record.record_id]:
            self.authors[record.record_id] |= bits
            above = parent_id(record)
            best = self.best.get(above)
            if best is None or self._beats(record, best):
                self.best[above] = record
                self.moved.add(above)
            if above is None:
                return
            record = self._events[above]

    def _beats(self, record: VerifiedRecord, best: VerifiedRecord) -> bool:
        """The heavier of two branches counts, then the first in order."""
        one, other = self.weight(record.record_id), self.weight(best.record_id)
        return one > other or (one == other and order(record) < order(best))
