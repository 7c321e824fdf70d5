"""One author's append-only log as this node holds it: entries, gaps, the cut, what is live.

Stands under ``ledger.py``, which alone changes it. A slot is *held* (an entry: admitted or void),
*empty* (superseded, rejected, or a gap believed for the rendering) or *unknown*. Source: protocol
§3, §5, §8, §9.
"""

from bisect import bisect_left
from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from typing import Final

import msgspec
from machines.values import NodePubkey

from crdt.bodies import Seal
from crdt.digest import feed_digest, seal_digest
from crdt.identity import ClusterId, FeedId, RecordId
from crdt.ranges import RangeSet
from crdt.record import VerifiedRecord
from crdt.stamp import Stamp


class Verdict(IntEnum):
    """What the gate said of a record that is held."""

    ADMITTED = 0
    VOID_FORK = 1
    VOID_REVOKED = 2
    BUILT_UPON = 3
    """Void by a fork alone, and yet live: others built on it (protocol §9)."""
    AHEAD = 4
    """On disk, and stamped too far ahead to count yet: it was taken by a clock that ran ahead, or
    while something else kept it from counting."""
    WAITING = 5
    """On disk, and its parent is not here: it was taken while the roster made that no matter."""
    REJECTED = 6
    """On disk, and against the rules since the roster moved: treated as rejected, and kept."""


LIVE: Final = (Verdict.ADMITTED, Verdict.BUILT_UPON)
"""The verdicts under which a record is live, if its feed lets it be."""
VOID: Final = (Verdict.VOID_FORK, Verdict.VOID_REVOKED)


class Entry(msgspec.Struct, eq=False, gc=False):
    """A held record and its verdict.

    ``twin`` chains further records signed for the same slot; ``shown`` says that the board has it,
    ``bounded`` that it was void when it came, and fills a part of what its author may have of that.
    """

    record: VerifiedRecord
    verdict: Verdict
    shown: bool = False
    bounded: bool = False
    twin: "Entry | None" = None


class Feed:
    """What this node holds of one feed.

    Attributes:
        id: author and incarnation.
        client_id: the Yjs client id; may collide with another feed's.
        head: the next clock after every record and believed gap seen.
        fork: the lowest proven fork, or ``None``.
        keeps: a counting revocation keeps a clock of this feed.
        rendered: the document shows the feed below this clock.
        dead: clocks below ``rendered`` that the document must still be told are deleted.
        latest: the latest stamp in the feed.
        keys: for each (kind, key) the highest clock of an admitted record that has it.
    """

    __slots__ = (
        "_digest",
        "_live",
        "_sealed",
        "client_id",
        "dead",
        "fork",
        "gaps",
        "head",
        "id",
        "keeps",
        "keys",
        "latest",
        "rendered",
        "slots",
    )

    def __init__(self, feed: FeedId, cluster: ClusterId) -> None:
        self.id = feed
        self.client_id = feed.client_id(cluster)
        self.slots: dict[int, Entry] = {}
        self.gaps = RangeSet()
        self.head = 0
        self.fork: int | None = None
        self.keeps = False
        self.rendered = 0
        self.dead: list[int] = []
        self.latest: Stamp | None = None
        self.keys: dict[tuple[str, str], int] = {}
        self._digest: bytes | None = None
        self._live: list[VerifiedRecord] | None = None
        self._sealed: tuple[bool | None] | None = None

    @property
    def author(self) -> NodePubkey:
        """The one node that may write here."""
        return self.id.author

    def entries_at(self, clock: int) -> Iterator[Entry]:
        """Every held record of a slot: none, one, or the twins of a fork."""
        entry = self.slots.get(clock)
        while entry is not None:
            yield entry
            entry = entry.twin

    def entries(self) -> Iterator[Entry]:
        """Every held record in order of clock, twins in order of record id."""
        for clock in sorted(self.slots):
            twins = list(self.entries_at(clock))
            if len(twins) > 1:
                twins.sort(key=lambda entry: entry.record.record_id)
            yield from twins

    def entries_between(self, start: int, end: int) -> Iterator[Entry]:
        """Every held record whose clock lies in ``[start, end)``, however far that is."""
        clocks = range(start, end)
        found = clocks if len(clocks) < len(self.slots) else [c for c in self.slots if c in clocks]
        for clock in found:
            yield from self.entries_at(clock)

    def find(self, clock: int, record_id: RecordId) -> Entry | None:
        """The held record of a slot with this id."""
        entry = self.slots.get(clock)
        while entry is not None and entry.record.record_id != record_id:
            entry = entry.twin
        return entry

    def place(self, entry: Entry) -> None:
        """Hold a record."""
        clock = entry.record.clock
        entry.record.feed = self.id  # one object for all of them
        entry.twin = self.slots.get(clock)
        self.slots[clock] = entry
        self.gaps.discard(clock)
        self.head = max(self.head, clock + 1)
        self._sealed = None
        stamp = entry.record.stamp
        if self.latest is None or stamp > self.latest:
            self.latest = stamp
        if self.is_live(entry):
            self._digest = None
            # Nearly every record comes behind all others: a long feed is not sorted for each.
            if self._live is not None and clock + 1 == self.head and entry.twin is None:
                self._live.append(entry.record)
            else:
                self._live = None

    def withdraw(self, entry: Entry) -> None:
        """Hold a record no longer; where nothing else is in its slot, the slot is empty."""
        clock = entry.record.clock
        self._sealed = None
        if self.is_live(entry):
            self._digest = None
            if self._live is not None:
                place = bisect_left(self._live, clock, key=lambda record: record.clock)
                del self._live[self._live.index(entry.record, place)]
        kept = [other for other in self.entries_at(clock) if other is not entry]
        for other in kept:
            other.twin = None
        for left, right in pairwise(kept):
            left.twin = right
        if kept:
            self.slots[clock] = kept[0]
        else:
            del self.slots[clock]
            self.gaps.add(clock, clock + 1)
        entry.twin = None

    def empty(self, start: int, end: int) -> None:
        """Take the clocks of ``[start, end)`` that are not held as empty."""
        clock = start
        for held in sorted(clock for clock in self.slots if start <= clock < end):
            self.gaps.add(clock, held)
            clock = held + 1
        self.gaps.add(clock, end)
        self.head = max(self.head, end)
        self._sealed = None

    def believe_gap(self, start: int, end: int) -> bool:
        """Take clocks as empty as far as a record follows them; says whether any could be."""
        end = min(end, max(self.slots, default=-1))
        if start >= end:
            return False
        self.empty(start, end)
        return True

    def touch(self) -> None:
        """A verdict, the cut or a keep changed: forget what was computed from the live set."""
        self._digest = None
        self._live = None
        self._sealed = None

    def has_melted(self, record: VerifiedRecord) -> bool:
        """Whether a record was superseded, and nothing is held in its slot any more."""
        key, clock = record.body.key, record.clock
        if key is None or clock in self.slots or clock not in self.gaps:
            return False
        return self.keys.get((record.body.kind, key), -1) > clock

    # --- what is live --------------------------------------------------------------------------

    @property
    def keyed_dead(self) -> bool:
        """Whether nothing with a key is live here (protocol §2, *live*)."""
        return self.fork is not None or self.keeps

    def is_live(self, entry: Entry) -> bool:
        """Whether a held record is live."""
        if entry.verdict not in LIVE:
            return False
        return entry.record.body.key is None or not self.keyed_dead

    def live(self) -> list[VerifiedRecord]:
        """The live records in order of clock, then id."""
        if self._live is None:
            self._live = [entry.record for entry in self.entries() if self.is_live(entry)]
        return self._live

    def live_between(self, start: int, end: int) -> list[VerifiedRecord]:
        """The live records whose clock lies in ``[start, end)``."""
        live = self.live()
        low = bisect_left(live, start, key=lambda record: record.clock)
        high = bisect_left(live, end, key=lambda record: record.clock)
        return live[low:high]

    def digest(self) -> bytes:
        """The feed digest (protocol §8)."""
        if self._digest is None:
            self._digest = feed_digest([record.record_id for record in self.live()])
        return self._digest

    # --- seals ---------------------------------------------------------------------------------

    def last_seal(self) -> VerifiedRecord | None:
        """The feed's seal, where its last record is one."""
        live = self.live()
        if live and isinstance(live[-1].body, Seal) and live[-1].clock == self.head - 1:
            return live[-1]
        return None

    def sealable(self, below: int) -> list[RecordId]:
        """The ids a seal at clock ``below`` states: live, below it, older seals not counted."""
        return [
            record.record_id
            for record in self.live()
            if record.clock < below and not isinstance(record.body, Seal)
        ]

    def as_sealed(self) -> bool | None:
        """Whether the feed is held as its author sealed it; ``None`` where it is not sealed."""
        if self._sealed is None:
            self._sealed = (self._compare_with_seal(),)
        return self._sealed[0]

    def _compare_with_seal(self) -> bool | None:
        seal = self.last_seal()
        if seal is None or not isinstance(seal.body, Seal):
            return None
        ids = self.sealable(seal.clock)
        return len(ids) == seal.body.count and seal_digest(ids) == seal.body.digest

    def unknown(self, end: int) -> Iterator[tuple[int, int]]:
        """The runs of clocks below ``end`` of which nothing is known."""
        clock = 0
        for held in sorted(held for held in self.slots if held < end):
            yield from self._unknown_between(clock, held)
            clock = held + 1
        yield from self._unknown_between(clock, end)

    def _unknown_between(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Of a run of clocks that are not held, those that are not empty either."""
        for low, high in self.gaps.within(start, end):
            if start < low:
                yield start, low
            start = high
        if start < end:
            yield start, end

    # --- the rendering -------------------------------------------------------------------------

    def known_end(self) -> int:
        """The first clock at or after ``rendered`` whose slot is unknown."""
        clock = self.rendered
        while True:
            if clock in self.slots:
                clock += 1
                continue
            end = self.gaps.run_end(clock)
            if end == clock:
                return clock
            clock = end

    def rendered_record(self, clock: int) -> VerifiedRecord | None:
        """What the document shows in a slot: the live record, or ``None`` for a deleted one.

        At or after a fork a slot is rendered as deleted, whoever built on it.
        """
        if self.fork is not None and clock >= self.fork:
            return None
        entry = self.slots.get(clock)
        return entry.record if entry is not None and self.is_live(entry) else None
