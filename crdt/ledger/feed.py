"""One author's append-only log as this node holds it: entries, gaps, the cut, what is live.

Stands under ``ledger.py``, which alone changes it. A slot is *held* (an entry: admitted or void),
*empty* (superseded, rejected, or a gap believed for the rendering) or *unknown*. Source: protocol
§3, §5, §8, §9.
"""

from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from typing import Final

import msgspec
from machines.values import NodePubkey

from crdt.ledger.live_records import LiveRecords
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import ClusterId, FeedId, RecordId
from crdt.primitives.range_set import RangeSet
from crdt.records.bodies import Seal
from crdt.records.record import VerifiedRecord


class EntryStatus(IntEnum):
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


LIVE: Final = (EntryStatus.ADMITTED, EntryStatus.BUILT_UPON)
"""The verdicts under which a record is live, if its feed lets it be."""
VOID: Final = (EntryStatus.VOID_FORK, EntryStatus.VOID_REVOKED)


class Entry(msgspec.Struct, eq=False, gc=False):
    """A held record and its verdict.

    ``twin`` chains further records signed for the same slot; ``shown`` says that the board has it,
    ``bounded`` that it was void when it came, and fills a part of what its author may have of that.
    """

    record: VerifiedRecord
    verdict: EntryStatus
    shown: bool = False
    bounded: bool = False
    twin: "Entry | None" = None


class Feed:
    """What this node holds of one feed.

    Attributes:
        id: author and incarnation.
        client_id: the Yjs client id; may collide with another feed's.
        slots: what is held, by clock.
        held: the clocks of the slots that are held.
        known: those of the slots that are held or empty.
        changes: grows with whatever changes what is held, or live.
        count: how many records are held, and ``bytes``, the length of all their values.
        head: the next clock after every record and believed gap seen.
        fork: the lowest proven fork, or ``None``.
        keeps: a counting revocation keeps a clock of this feed.
        passed: slots that the document shows as empty, though a record may wait for them.
        latest: the latest stamp in the feed.
        keys: for each (kind, key) the highest clock of an admitted record that has it.
    """

    __slots__ = (
        "_digest",
        "_live",
        "_sealed",
        "bytes",
        "changes",
        "client_id",
        "count",
        "fork",
        "held",
        "id",
        "keeps",
        "keys",
        "known",
        "latest",
        "next_clock",
        "passed",
        "slots",
    )

    def __init__(self, feed: FeedId, cluster: ClusterId) -> None:
        self.id = feed
        self.client_id = feed.client_id(cluster)
        self.slots: dict[int, Entry] = {}
        self.held = RangeSet()
        self.known = RangeSet()
        self.passed = RangeSet()
        self.count = self.bytes = self.changes = 0
        self.next_clock = 0
        self.fork: int | None = None
        self.keeps = False
        self.latest: Stamp | None = None
        self.keys: dict[tuple[str, str], int] = {}
        self._digest: bytes | None = None
        self._live: LiveRecords | None = None
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
        return self.entries_between(0, self.held.end)

    def entries_between(self, start: int, end: int) -> Iterator[Entry]:
        """Those whose clock lies in ``[start, end)``, in that order, however far that is."""
        for low, high in self.held.within(start, end):
            for clock in range(low, high):
                entry = self.slots[clock]
                if entry.twin is None:
                    yield entry
                else:
                    yield from sorted(self.entries_at(clock), key=lambda e: e.record.record_id)

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
        self.held.add(clock, clock + 1)
        self.known.add(clock, clock + 1)
        self.passed.discard(clock)
        self.count += 1
        self.changes += 1
        self.bytes += len(entry.record.value)
        self.next_clock = max(self.next_clock, clock + 1)
        self._sealed = None
        stamp = entry.record.stamp
        if self.latest is None or stamp > self.latest:
            self.latest = stamp
        if self.is_live(entry):
            self._digest = None
            if self._live is not None:
                self._live.add(entry.record)

    def withdraw(self, entry: Entry) -> None:
        """Hold a record no longer; where nothing else is in its slot, the slot is empty."""
        clock = entry.record.clock
        self.count -= 1
        self.changes += 1
        self.bytes -= len(entry.record.value)
        self._sealed = None
        if self.is_live(entry):
            self._digest = None
            if self._live is not None:
                self._live.remove(entry.record)
        kept = [other for other in self.entries_at(clock) if other is not entry]
        for other in kept:
            other.twin = None
        for left, right in pairwise(kept):
            left.twin = right
        if kept:
            self.slots[clock] = kept[0]
        else:
            del self.slots[clock]
            self.held.discard(clock)
        entry.twin = None

    def judge(self, entry: Entry, verdict: EntryStatus) -> None:
        """Hold a record under another verdict."""
        before = self.is_live(entry)
        entry.verdict = verdict
        self.changes += 1
        after = self.is_live(entry)
        if before is not after:
            self._digest = self._sealed = None
            if self._live is not None:
                (self._live.add if after else self._live.remove)(entry.record)

    def empty(self, start: int, end: int) -> None:
        """Take the clocks of ``[start, end)`` that are not held as empty."""
        self.known.add(start, end)
        if end > self.next_clock:
            self.next_clock = end
            self._sealed = None

    def forget(self, clock: int) -> None:
        """Take a slot that is not held as unknown."""
        self.known.discard(clock)

    def pass_over(self, clock: int) -> None:
        """Take a slot as unknown, and let the document go on behind it."""
        self.known.discard(clock)
        self.passed.add(clock, clock + 1)

    def believe_gap(self, start: int, end: int) -> bool:
        """Take clocks as empty as far as a record follows them; says whether any could be."""
        end = min(end, self.held.end - 1)
        if start >= end:
            return False
        self.empty(start, end)
        return True

    def gaps(self) -> Iterator[tuple[int, int]]:
        """The runs of empty slots."""
        for low, high in self.known:
            yield from self.held.missing(low, high)

    def unknown(self, end: int) -> Iterator[tuple[int, int]]:
        """The runs of clocks below ``end`` of which nothing is known."""
        return self.known.missing(0, end)

    def invalidate(self) -> None:
        """The cut or a keep changed: forget what was computed from the live set."""
        self.changes += 1
        self._digest = None
        self._live = None
        self._sealed = None

    def has_melted(self, record: VerifiedRecord) -> bool:
        """Whether a record was superseded, and nothing is held in its slot any more."""
        key, clock = record.body.key, record.clock
        if key is None or clock in self.slots or clock not in self.known:
            return False
        return self.keys.get((record.body.kind, key), -1) > clock

    # --- what is live --------------------------------------------------------------------------

    @property
    def keyed_void(self) -> bool:
        """Whether nothing with a key is live here (protocol §2, *live*)."""
        return self.fork is not None or self.keeps

    def is_live(self, entry: Entry) -> bool:
        """Whether a held record is live."""
        if entry.verdict not in LIVE:
            return False
        return entry.record.body.key is None or not self.keyed_void

    def _alive(self) -> LiveRecords:
        if self._live is None:
            self._live = LiveRecords(e.record for e in self.entries() if self.is_live(e))
        return self._live

    def live(self) -> list[VerifiedRecord]:
        """The live records in order of clock, then id."""
        return self._alive().records

    def idle(self) -> Iterator[Entry]:
        """What is held and not live. Of most feeds that is nothing, which is seen at once."""
        if len(self.live()) < self.count:
            yield from (entry for entry in self.entries() if not self.is_live(entry))

    def live_between(self, start: int, end: int) -> list[VerifiedRecord]:
        """The live records whose clock lies in ``[start, end)``."""
        return self._alive().between(start, end)

    def middle(self, start: int, end: int) -> int:
        """The clock of the middle one of those; there must be one."""
        return self._alive().middle(start, end)

    def range_digest(self, start: int, end: int) -> tuple[int, bytes]:
        """How many they are, and their digest (protocol §10)."""
        return self._alive().digest(start, end)

    def digest(self) -> bytes:
        """The feed digest (protocol §8)."""
        if self._digest is None:
            self._digest = self.range_digest(0, self.next_clock)[1]
        return self._digest

    # --- seals ---------------------------------------------------------------------------------

    def last_seal(self) -> VerifiedRecord | None:
        """The feed's seal, where its last record is one."""
        live = self.live()
        if live and isinstance(live[-1].body, Seal) and live[-1].clock == self.next_clock - 1:
            return live[-1]
        return None

    def sealable(self, below: int) -> tuple[int, bytes]:
        """The count and the digest that a seal at this clock states (protocol §8)."""
        return self._alive().sealed(below)

    def as_sealed(self) -> bool | None:
        """Whether the feed is held as its author sealed it; ``None`` where it is not sealed."""
        if self._sealed is None:
            self._sealed = (self._compare_with_seal(),)
        return self._sealed[0]

    def _compare_with_seal(self) -> bool | None:
        seal = self.last_seal()
        if seal is None or not isinstance(seal.body, Seal):
            return None
        return self.sealable(seal.clock) == (seal.body.count, seal.body.digest)

    # --- the rendering -------------------------------------------------------------------------

    def known_end(self) -> int:
        """The first clock whose slot is unknown."""
        return self.known.run_end(0)

    def shown_end(self, end: int) -> int:
        """The clock below which a document that shows the feed below ``end`` can show it."""
        while (further := self.passed.run_end(self.known.run_end(end))) > end:
            end = further
        return end

    def rendered_records(self, start: int, end: int) -> list[VerifiedRecord]:
        """What the document shows in the slots of ``[start, end)``; the others are deleted.

        At or after a fork a slot is rendered as deleted, whoever built on it.
        """
        return self.live_between(start, end if self.fork is None else min(end, self.fork))
