"""Where a story stands: its spine, what was applied after it, and what lost.

Takes a story's live transitions and acks from ``story_state.py`` as they come, and hangs them in
the tree of ``event_tree.py``; what it says is a pure function of the set, whatever the order.
Weight comes from others: of two branches the one with more distinct authors counts, so that nobody
can back-date himself into another's past. A member may write events of one story without end: so
one more costs what it changes, and what beat an event is worked out for whoever asks. Source:
protocol §7.
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
"""What goes off the spine or onto it is put in its place one by one up to here, then in one go."""
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


class Fold:
    """A story's events, weighed.

    Args:
        events: its live transitions, by id. The fold looks here; it must be told of each that comes
            later, and made anew when one goes.
        acks: its live acks, by the id of the event that each names; likewise.

    Attributes:
        tree: the events in their tree.
    """

    def __init__(self, events: Events, acks: Acks) -> None:
        self.tree = Tree(events, acks)
        self._events = events
        self._came = dict(events)  # since the spine was last followed
        self._spine: list[VerifiedRecord] = []
        self._at: dict[RecordId, int] = {}  # where on the spine an event stands
        self._off: list[Ordered] = []
        self._applied: list[Ordered] = []
        self._lost: list[Lost] | None = None
        # Since ``mark``: what was lost, and what had been and then counted again.
        self._fallen: dict[RecordId, VerifiedRecord] = {}
        self._risen: set[RecordId] = set()

    def add(self, record: VerifiedRecord) -> None:
        """One more event is live."""
        self.tree.add(record)
        self._came[record.record_id] = record
        self._lost = None

    def acknowledge(self, end: RecordId, author: NodePubkey) -> None:
        """One more ack is live."""
        self.tree.acknowledge(end, author)
        self._lost = None

    # --- the spine, and what is applied after it -------------------------------------------------

    def _settle(self) -> None:
        """Bring the spine, and what lies off it, in line with what came."""
        if not self._came and not self.tree.moved:
            return
        came, self._came = self._came, {}
        gone: Events = {}
        joined: Events = {}
        old: list[Ordered] = []
        new: list[Ordered] = []
        wrong = [self._at[a] + 1 if a else 0 for a in self.tree.moved if a is None or a in self._at]
        self.tree.moved.clear()
        if wrong:
            gone, joined = self._follow(min(wrong))
        self._sort_in({**gone, **came}, joined)
        if gone or joined:
            old, new = self._apply(0, self._after_spine())
        else:
            for item in sorted((order(record), record) for record in came.values()):
                place = bisect_left(self._applied, item)
                if self._applies(item[1], self._before(place)):
                    old, new = self._apply(place, bisect_left(self._off, item))
                    break
        self._note(came, {**gone, **_by_id(old)}, {**joined, **_by_id(new)})

    def _follow(self, place: int) -> tuple[Events, Events]:
        """Follow the best child from a place on the spine; gives what left it and what joined."""
        gone = {record.record_id: record for record in self._spine[place:]}
        del self._spine[place:]
        for record_id in gone:
            del self._at[record_id]
        joined: dict[RecordId, VerifiedRecord] = {}
        best = self.tree.best.get(self._spine[-1].record_id if place else None)
        while best is not None:
            joined[best.record_id] = best
            self._at[best.record_id] = len(self._spine)
            self._spine.append(best)
            best = self.tree.best.get(best.record_id)
        return gone, joined

    def _sort_in(self, off: Events, on: Events) -> None:
        """Keep what lies off the spine in order."""
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
        """Where among those off the spine the first is that is stamped after its end."""
        at, n = self._spine[-1].stamp
        return bisect_left(self._off, ((Stamp(at, n + 1),),))

    def _before(self, place: int) -> VerifiedRecord | None:
        """What counts last before a place among those that are applied."""
        if place:
            return self._applied[place - 1][1]
        return self._spine[-1] if self._spine else None

    def _applies(self, record: VerifiedRecord, before: VerifiedRecord | None) -> bool:
        later = not self._spine or record.stamp > self._spine[-1].stamp
        return later and not PIPELINE.ignores(stage_made_by(before), transition_of(record).event)

    def _apply(self, place: int, start: int) -> tuple[list[Ordered], list[Ordered]]:
        """Apply in order what is legal at the stage that was reached.

        Args:
            place: of those that are applied, the first that need not stay.
            start: of those off the spine, the first to look at.

        Returns:
            What was applied there before, and what is now.
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

    def _note(self, came: Events, before: Events, after: Events) -> None:
        """Note what no longer counts, or counts again."""
        for record_id, record in {**came, **before}.items():
            if record_id in after:
                continue
            if record_id not in self._risen:
                self._fallen[record_id] = record
        for record_id in after:
            if record_id in before or record_id in came:
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
        """Events off the spine that still applied, in order."""
        self._settle()
        return [record for _, record in self._applied]

    @property
    def last(self) -> VerifiedRecord | None:
        """The last event applied, on the spine or off it; the next one's parent."""
        self._settle()
        return self._before(len(self._applied))

    @property
    def stage(self) -> Stage:
        """Where the story stands."""
        return stage_made_by(self.last)

    @property
    def lost(self) -> list[Lost]:
        """The events that count for nothing, in order."""
        self._settle()
        if self._lost is None:
            applied = _by_id(self._applied)
            self._lost = self._explain(r for _, r in self._off if r.record_id not in applied)
        return self._lost

    def mark(self) -> None:
        """What is lost from here on is news."""
        self._settle()
        self._fallen.clear()
        self._risen.clear()

    def fallen(self, most: int) -> list[Lost]:
        """So many of those that were lost since ``mark``, the first in order."""
        self._settle()
        return self._explain(islice(sorted(self._fallen.values(), key=order), most))

    def lost_at_mark(self) -> set[RecordId]:
        """What was lost when ``mark`` was called."""
        lost = {record.record_id for _, record in self._off} - _by_id(self._applied).keys()
        return (lost - self._fallen.keys()) | self._risen

    def _explain(self, records: Iterable[VerifiedRecord]) -> list[Lost]:
        """Say of events that lost what beat them, and why."""
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
        """What won where the branch of an event left the spine, and what of it stood there."""
        way = []
        while record.record_id not in known:
            way.append(record.record_id)
            above = parent_id(record)
            if above is None or above in self._at:
                place = 0 if above is None else self._at[above] + 1
                known[record.record_id] = self._spine[place], record
            else:
                record = self._events[above]
        for record_id in way:
            known[record_id] = known[record.record_id]
        return known[record.record_id]


def _by_id(items: Iterable[Ordered]) -> dict[RecordId, VerifiedRecord]:
    return {record.record_id: record for _, record in items}
