"""Where a story stands: the fold of its events into a tree, a spine, and what lost.

Takes a story's live transitions and acks from ``board.py``, gives a ``Fold``; a pure function of
the set, whatever the order. Weight comes from others: of two branches the one with more distinct
authors counts, so that nobody can back-date himself into another's past. Source: protocol §7.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from machines.pipeline import INITIAL_STAGE, PIPELINE, Stage, stage_after
from machines.values import NodePubkey

from crdt.bodies import Transition
from crdt.identity import RecordId, RecordRef
from crdt.record import VerifiedRecord
from crdt.stamp import Stamp

Order = tuple[Stamp, RecordRef]

WHY_WEIGHT: Final = "more authors stand behind the other branch"
WHY_ORDER: Final = "as many authors stand behind both branches, and the other is earlier"
WHY_BEFORE: Final = "stamped before the end of the branch that counts"
WHY_IGNORED: Final = "the stage that was reached ignores it"


@dataclass(frozen=True, slots=True)
class Lost:
    """An event that counts for nothing, what beat it, and why."""

    record: VerifiedRecord
    beaten_by: RecordRef | None
    why: str


@dataclass(slots=True)
class Fold:
    """A story's events, weighed.

    Attributes:
        stage: where the story stands.
        last: the last event applied, on the spine or off it; the next one's parent.
        spine: the path that counts, from the first event.
        applied: events off the spine that still applied, in order.
        lost: the others, in order.
        children: the tree, by the parent's id (``None``: acting on backlog).
        authors: for each event of the tree, a bit for every author at or below it.
        bits: which author a bit stands for.
    """

    stage: Stage = INITIAL_STAGE
    last: VerifiedRecord | None = None
    spine: list[VerifiedRecord] = field(default_factory=list)
    applied: list[VerifiedRecord] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    children: dict[RecordId | None, list[VerifiedRecord]] = field(default_factory=dict)
    authors: dict[RecordId, int] = field(default_factory=dict)
    bits: dict[NodePubkey, int] = field(default_factory=dict)

    def weight(self, record_id: RecordId) -> int:
        """How many distinct authors of events and acks stand at or below an event."""
        return self.authors.get(record_id, 0).bit_count()

    def behind(self, record_id: RecordId) -> tuple[NodePubkey, ...]:
        """The distinct authors of events and acks that stand at or below an event."""
        held = self.authors.get(record_id, 0)
        return tuple(sorted(author for author, bit in self.bits.items() if held & bit))


def order(record: VerifiedRecord) -> Order:
    """The order of events: stamp, pubkey, incarnation, clock."""
    return record.stamp, record.ref


def said(record: VerifiedRecord) -> Transition:
    """A transition's body."""
    body = record.body
    assert isinstance(body, Transition), "only transitions are folded"
    return body


def stage_made_by(record: VerifiedRecord | None) -> Stage:
    """The stage that an event made; backlog before the first."""
    if record is None:
        return INITIAL_STAGE
    body = said(record)
    return stage_after(body.event, body.at)


def hangs(record: VerifiedRecord, parent: VerifiedRecord | None) -> bool:
    """Whether an event is legal on its parent, and later."""
    if parent is not None and record.stamp <= parent.stamp:
        return False
    return not PIPELINE.ignores(stage_made_by(parent), said(record).event)


def follows(record: VerifiedRecord, end: VerifiedRecord | None) -> bool:
    """Whether an event makes a story whose events are one path a longer path.

    Then nothing competes, and nothing need be folded: the story stands where its last event put it.
    """
    parent = said(record).parent
    wanted = None if end is None else end.record_id
    return (None if parent is None else parent.record_id) == wanted and hangs(record, end)


def fold_story(
    events: Mapping[RecordId, VerifiedRecord], acks: Iterable[tuple[RecordId, VerifiedRecord]]
) -> Fold:
    """Fold a story.

    Args:
        events: its live transitions, by id.
        acks: its live acks, each with the id of the event it names.
    """
    fold = Fold()
    reachable = _grow(fold, events)
    _weigh(fold, reachable, acks)
    _choose(fold)
    _apply_rest(fold, events, reachable)
    return fold


def _grow(fold: Fold, events: Mapping[RecordId, VerifiedRecord]) -> list[VerifiedRecord]:
    """Build the tree; gives its events, every parent before its children."""
    for record in events.values():
        ref = said(record).parent
        parent = None if ref is None else events.get(ref.record_id)
        if (ref is None or parent is not None) and hangs(record, parent):
            fold.children.setdefault(None if ref is None else ref.record_id, []).append(record)
    reachable = list(fold.children.get(None, ()))
    for record in reachable:  # grows while it is walked
        reachable += fold.children.get(record.record_id, ())
    return reachable


def _weigh(
    fold: Fold, reachable: list[VerifiedRecord], acks: Iterable[tuple[RecordId, VerifiedRecord]]
) -> None:
    def bit(author: NodePubkey) -> int:
        return fold.bits.setdefault(author, 1 << len(fold.bits))

    for record in reachable:
        fold.authors[record.record_id] = bit(record.feed.author)
    for end, ack in acks:
        if end in fold.authors:
            fold.authors[end] |= bit(ack.feed.author)
    for record in reversed(reachable):
        parent = said(record).parent
        if parent is not None:
            fold.authors[parent.record_id] |= fold.authors[record.record_id]


def _choose(fold: Fold) -> None:
    """Follow the heaviest child, then the first in order, from backlog to the end."""
    children = fold.children.get(None)
    while children:
        best = min(children, key=lambda record: (-fold.weight(record.record_id), order(record)))
        fold.spine.append(best)
        children = fold.children.get(best.record_id)
    fold.last = fold.spine[-1] if fold.spine else None
    fold.stage = stage_made_by(fold.last)


def _apply_rest(
    fold: Fold, events: Mapping[RecordId, VerifiedRecord], reachable: list[VerifiedRecord]
) -> None:
    """Apply what lies off the spine where it is later than its end and legal; the rest lost."""
    on_spine = {record.record_id for record in fold.spine}
    end = fold.spine[-1] if fold.spine else None
    beaters = _beaters(fold, reachable)
    for record in sorted((r for r in events.values() if r.record_id not in on_spine), key=order):
        body = said(record)
        later = end is None or record.stamp > end.stamp
        if later and not PIPELINE.ignores(fold.stage, body.event):
            fold.applied.append(record)
            fold.last = record
            fold.stage = stage_made_by(record)
            continue
        winner = beaters.get(record.record_id)
        if winner is not None:
            heavier = fold.weight(winner[0].record_id) > fold.weight(winner[1].record_id)
            why = WHY_WEIGHT if heavier else WHY_ORDER
            fold.lost.append(Lost(record, winner[0].ref, why))
        else:
            why = WHY_IGNORED if later else WHY_BEFORE
            fold.lost.append(Lost(record, fold.last.ref if fold.last else None, why))


def _beaters(
    fold: Fold, reachable: list[VerifiedRecord]
) -> dict[RecordId, tuple[VerifiedRecord, VerifiedRecord]]:
    """For each event of the tree off the spine: what won where its branch left it, and what of
    its own branch stood there.
    """
    chosen = {
        (said(record).parent.record_id if said(record).parent else None): record  # type: ignore[union-attr]
        for record in fold.spine
    }
    on_spine = {record.record_id for record in fold.spine}
    found: dict[RecordId, tuple[VerifiedRecord, VerifiedRecord]] = {}
    for record in reachable:
        if record.record_id in on_spine:
            continue
        parent = said(record).parent
        parent_id = None if parent is None else parent.record_id
        if parent_id in found:
            found[record.record_id] = found[parent_id]
        else:
            found[record.record_id] = (chosen[parent_id], record)
    return found
