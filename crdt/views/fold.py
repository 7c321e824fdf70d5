"""The fold of a story: its spine, the events applied after it, and the events that lost.

The result depends on the set of live transitions and acks, not on their order. Of two branches the
one with more distinct authors counts, so that no author can rewrite the past by back-dating events.
A member may write any number of events, so adding one costs only what it changes, and what beat an
event is computed on demand. Source: protocol §7.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from machines.pipeline import PIPELINE, Stage
from machines.values import NodePubkey

from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import RecordId, RecordRef
from crdt.records.record import VerifiedRecord
from crdt.views.event_tree import (
    Acks,
    Events,
    Order,
    Tree,
    order,
    parent_id,
    stage_made_by,
    transition_of,
)

Ordered = tuple[Order, VerifiedRecord]

MOVES_MAX: Final = 32
"""Up to this many events that leave or join the spine are inserted one by one; more are sorted."""
WHY_WEIGHT: Final = "more authors stand behind the other branch"
WHY_ORDER: Final = "as many authors stand behind both branches, and the other is earlier"
WHY_BEFORE: Final = "stamped before the end of the branch that counts"
WHY_IGNORED: Final = "the stage that was reached ignores it"


@dataclass(frozen=True, slots=True)
class Lost:
    """An event that does not count, what beat it, and why."""

    record: VerifiedRecord
    beaten_by: RecordRef | None
    why: str


class Fold:
    """The fold of one story.

    Args:
        events: its live transitions, by id. The fold reads this mapping; later events must also be
            passed to ``add``. After a removal, make a new fold.
        acks: its live acks, by the id of the event that each names; likewise.

    Attributes:
        tree: the tree of the events.
    """

    def __init__(self, events: Events, acks: Acks) -> None:
        self.tree = Tree(events, acks)
        self._events = events
        self._added = dict(events)  # since the last ``_settle``
        self._spine: list[VerifiedRecord] = []
        self._at: dict[RecordId, int] = {}  # index of an event on the spine
        self._off: list[Ordered] = []
        self._applied: list[Ordered] = []
        self._lost: list[Lost] | None = None
        # Since ``mark``: events that lost, and events that had lost before and count again.
        self._fallen: dict[RecordId, VerifiedRecord] = {}
        self._risen: set[RecordId] = set()

    def add(self, record: VerifiedRecord) -> None:
        """Add an event that became live."""
        self.tree.add(record)
        self._added[record.record_id] = record
        self._lost = None

    def acknowledge(self, end: RecordId, author: NodePubkey) -> None:
        """Add an ack that became live."""
        self.tree.acknowledge(end, author)
        self._lost = None

    # --- the spine, and what is applied after it -------------------------------------------------

    def _settle(self) -> None:
        """Update the spine, and the events off it, after additions."""
        if not self._added and not self.tree.moved:
            return
        added, self._added = self._added, {}
        left: Events = {}
        joined: Events = {}
        old: list[Ordered] = []
        new: list[Ordered] = []
        wrong = [self._at[a] + 1 if a else 0 for a in self.tree.moved if a is None or a in self._at]
        self.tree.moved.clear()
        if wrong:
            left, joined = self._follow(min(wrong))
        self._sort_in({**left, **added}, joined)
        if left or joined:
            old, new = self._apply(0, self._after_spine())
        else:
            for item in sorted((order(record), record) for record in added.values()):
                place = bisect_left(self._applied, item)
                if self._applies(item[1], self._before(place)):
                    old, new = self._apply(place, bisect_left(self._off, item))
                    break
        self._note(added, {**left, **_by_id(old)}, {**joined, **_by_id(new)})

    def _follow(self, place: int) -> tuple[Events, Events]:
        """Follow the best children from an index of the spine; return what left and what joined."""
        left = {record.record_id: record for record in self._spine[place:]}
        del self._spine[place:]
        for record_id in left:
            del self._at[record_id]
        joined: dict[RecordId, VerifiedRecord] = {}
        best = self.tree.best.get(self._spine[-1].record_id if place else None)
        while best is not None:
            joined[best.record_id] = best
            self._at[best.record_id] = len(self._spine)
            self._spine.append(best)
            best = self.tree.best.get(best.record_id)
        return left, joined

    def _sort_in(self, off: Events, on: Events) -> None:
        """Add and remove events off the spine, keeping them sorted."""
        coming = [(order(r), r) for record_id, r in off.items() if record_id not in self._at]
        if len(off) + len(on) > MOVES_MAX:
            self._off = [item for item in self._off if item[1].record_id not in self._at]
            self._off += coming
            self._off.sort()
            return
        for item in coming:
            insort(self._off, item)
        for record in on.values():
            place = bisect_left(self._off, (order(record),))
            if place < len(self._off) and self._off[place][1] is record:
                del self._off[place]

    def _after_spine(self) -> int:
        """Return the index of the first off-spine event stamped after the end of the spine."""
        at, n = self._spine[-1].stamp
        return bisect_left(self._off, ((Stamp(at, n + 1),),))

    def _before(self, place: int) -> VerifiedRecord | None:
        """Return the last event that counts before an index of the applied events."""
        if place:
            return self._applied[place - 1][1]
        return self._spine[-1] if self._spine else None

    def _applies(self, record: VerifiedRecord, before: VerifiedRecord | None) -> bool:
        later = not self._spine or record.stamp > self._spine[-1].stamp
        return later and not PIPELINE.ignores(stage_made_by(before), transition_of(record).event)

    def _apply(self, place: int, start: int) -> tuple[list[Ordered], list[Ordered]]:
        """Apply events off the spine, in order, if they are legal at the stage reached.

        Args:
            place: index of the first applied event to drop.
            start: index, off the spine, of the first event to try.

        Returns:
            What was applied from ``place`` on before, and what is applied now.
        """
        old = self._applied[place:]
        del self._applied[place:]
        stage = stage_made_by(self._before(place))
        ignored: dict[type, bool] = {}
        for item in islice(self._off, start, None):
            event = transition_of(item[1]).event
            kind = type(event)
            if kind not in ignored:
                ignored[kind] = PIPELINE.ignores(stage, event)
            if not ignored[kind]:
                self._applied.append(item)
                stage = stage_made_by(item[1])
                ignored.clear()
        return old, self._applied[place:]

    def _note(self, added: Events, before: Events, after: Events) -> None:
        """Note which events no longer count, and which count again."""
        for record_id, record in {**added, **before}.items():
            if record_id in after:
                continue
            if record_id not in self._risen:
                self._fallen[record_id] = record
        for record_id in after:
            if record_id in before or record_id in added:
                continue
            if self._fallen.pop(record_id, None) is None:
                self._risen.add(record_id)

    # --- out -----------------------------------------------------------------------------------

    @property
    def spine(self) -> list[VerifiedRecord]:
        """The path that counts, from the first event."""
        self._settle()
        return self._spine

    @property
    def applied(self) -> list[VerifiedRecord]:
        """Events off the spine that are applied after it, in order."""
        self._settle()
        return [record for _, record in self._applied]

    @property
    def last(self) -> VerifiedRecord | None:
        """The last event that counts; the parent of the next one."""
        self._settle()
        return self._before(len(self._applied))

    @property
    def stage(self) -> Stage:
        """The stage of the story."""
        return stage_made_by(self.last)

    @property
    def lost(self) -> list[Lost]:
        """The events that do not count, in order."""
        self._settle()
        if self._lost is None:
            applied = _by_id(self._applied)
            self._lost = self._explain(r for _, r in self._off if r.record_id not in applied)
        return self._lost

    def mark(self) -> None:
        """Start a new period for ``fallen``."""
        self._settle()
        self._fallen.clear()
        self._risen.clear()

    def fallen(self, limit: int) -> list[Lost]:
        """Return the first ``limit`` events, in order, that lost since ``mark``."""
        self._settle()
        return self._explain(islice(sorted(self._fallen.values(), key=order), limit))

    def lost_at_mark(self) -> set[RecordId]:
        """Return the events that had lost when ``mark`` was called."""
        lost = {record.record_id for _, record in self._off} - _by_id(self._applied).keys()
        return (lost - self._fallen.keys()) | self._risen

    def _explain(self, records: Iterable[VerifiedRecord]) -> list[Lost]:
        """Find what beat each of these events, and why."""
        branches: dict[RecordId, tuple[VerifiedRecord, VerifiedRecord]] = {}
        end = self._spine[-1] if self._spine else None
        found = []
        for record in records:
            if record.record_id in self.tree.authors:
                winner, own = self._branch(record, branches)
                heavier = self.tree.weight(winner.record_id) > self.tree.weight(own.record_id)
                found.append(Lost(record, winner.ref, WHY_WEIGHT if heavier else WHY_ORDER))
                continue
            before = self._before(bisect_left(self._applied, (order(record),)))
            later = end is None or record.stamp > end.stamp
            beaten_by = None if before is None else before.ref
            found.append(Lost(record, beaten_by, WHY_IGNORED if later else WHY_BEFORE))
        return found

    def _branch(
        self,
        record: VerifiedRecord,
        known: dict[RecordId, tuple[VerifiedRecord, VerifiedRecord]],
    ) -> tuple[VerifiedRecord, VerifiedRecord]:
        """Return the spine event that beat the branch of an event, and the root of the branch."""
        path = []
        while record.record_id not in known:
            path.append(record.record_id)
            parent = parent_id(record)
            if parent is None or parent in self._at:
                place = 0 if parent is None else self._at[parent] + 1
                known[record.record_id] = self._spine[place], record
            else:
                record = self._events[parent]
        for record_id in path:
            known[record_id] = known[record.record_id]
        return known[record.record_id]


def _by_id(items: Iterable[Ordered]) -> dict[RecordId, VerifiedRecord]:
    return {record.record_id: record for _, record in items}
