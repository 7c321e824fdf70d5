"""Bounds on pending and void records: number and bytes, per author and in total.

A record that does not fit gets no verdict; anti-entropy brings it again. Source: protocol §5, 7;
§14.
"""

from collections.abc import Callable
from typing import NamedTuple

from machines.values import NodePubkey

from crdt.ledger.feed import VOID, Entry
from crdt.primitives import limits
from crdt.records.record import VerifiedRecord


class Bounds(NamedTuple):
    """The largest number of records and bytes, of one author and in total."""

    of_author: int
    in_all: int
    bytes_of_author: int
    bytes_in_all: int


class RecordBounds:
    """The number and bytes of records, and whether more fit.

    Args:
        bounds: returns the bounds now.
    """

    def __init__(self, bounds: Callable[[], Bounds]) -> None:
        self._bounds = bounds
        self._of_author: dict[NodePubkey, tuple[int, int]] = {}
        self._records = 0
        self._bytes = 0

    def fits(self, record: VerifiedRecord) -> bool:
        """Whether one more record fits."""
        bounds, size = self._bounds(), len(record.value)
        records, used = self._of_author.get(record.feed.author, (0, 0))
        return (
            records < bounds.of_author
            and self._records < bounds.in_all
            and used + size <= bounds.bytes_of_author
            and self._bytes + size <= bounds.bytes_in_all
        )

    def count(self, record: VerifiedRecord, by: int) -> None:
        """Count a record that was added (``by`` is 1) or removed (-1)."""
        records, used = self._of_author.get(record.feed.author, (0, 0))
        size = by * len(record.value)
        self._records += by
        self._bytes += size
        if records + by:
            self._of_author[record.feed.author] = (records + by, used + size)
        else:
            del self._of_author[record.feed.author]


class VoidBounds:
    """The bound on records that were void on arrival.

    Records that were once live are kept for good and not counted. After a restart the two cannot be
    distinguished; both are counted as far as they fit.

    Args:
        own: this node's key; its records are exempt.
    """

    def __init__(self, own: NodePubkey | None = None) -> None:
        self._own = own
        self._counted = RecordBounds(void_bounds)
        self._unbounded: list[Entry] = []

    def take(self, entry: Entry, *, stored: bool) -> None:
        """Count an entry that is void on arrival, if it fits."""
        record = entry.record
        if record.feed.author == self._own:
            return
        entry.bounded = self._counted.fits(record)
        if entry.bounded:
            self._counted.count(record, 1)
        elif not stored:
            self._unbounded.append(entry)

    def leave(self, entry: Entry) -> None:
        """Stop counting an entry that changed its status or was removed."""
        if entry.bounded:
            entry.bounded = False
            self._counted.count(entry.record, -1)

    def overflow(self) -> list[Entry]:
        """Return, and forget, the entries that did not fit and are still void.

        Call it after the whole batch is judged: another record in it may build on an entry.
        """
        found = [entry for entry in self._unbounded if entry.verdict in VOID]
        self._unbounded.clear()
        return found


def void_bounds() -> Bounds:
    """Return the bounds on void records."""
    return Bounds(
        limits.VOID_PER_AUTHOR_MAX,
        limits.VOID_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_MAX,
    )


def stranger_bounds() -> Bounds:
    """Return the bounds on pending records of keys that are not on the roster."""
    return Bounds(
        limits.STRANGERS_PER_AUTHOR_MAX,
        limits.STRANGERS_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
    )


def pending_bounds() -> Bounds:
    """Return the bounds on other pending records: the rest of ``PENDING_MAX``."""
    return Bounds(
        limits.PENDING_PER_AUTHOR_MAX,
        limits.PENDING_MAX - limits.STRANGERS_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_MAX,
    )
