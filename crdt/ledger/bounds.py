"""How much is kept of what does not count: so many records and so many bytes of one author, and in
all.

Stands under ``ledger.py`` and ``pending.py``. What does not fit is not taken and has no verdict;
anti-entropy brings it back. Source: protocol §5, 7; §14.
"""

from collections.abc import Callable
from typing import NamedTuple

from machines.values import NodePubkey

from crdt.ledger.feed import VOID, Entry
from crdt.primitives import limits
from crdt.records.record import VerifiedRecord


class Bounds(NamedTuple):
    """So much at most."""

    of_author: int
    in_all: int
    bytes_of_author: int
    bytes_in_all: int


class RecordBounds:
    """What is there, counted.

    Args:
        bounds: gives what may be there.
    """

    def __init__(self, bounds: Callable[[], Bounds]) -> None:
        self._bounds = bounds
        self._of_author: dict[NodePubkey, tuple[int, int]] = {}
        self._records = 0
        self._bytes = 0

    def fits(self, record: VerifiedRecord) -> bool:
        """Whether one more has room."""
        bounds, size = self._bounds(), len(record.value)
        many, large = self._of_author.get(record.feed.author, (0, 0))
        return (
            many < bounds.of_author
            and self._records < bounds.in_all
            and large + size <= bounds.bytes_of_author
            and self._bytes + size <= bounds.bytes_in_all
        )

    def count(self, record: VerifiedRecord, by: int) -> None:
        """One more (``1``) is there, or one less (``-1``)."""
        many, large = self._of_author.get(record.feed.author, (0, 0))
        size = by * len(record.value)
        self._records += by
        self._bytes += size
        if many + by:
            self._of_author[record.feed.author] = (many + by, large + size)
        else:
            del self._of_author[record.feed.author]


class VoidRoom:
    """What was void when it came, as far as it is kept: so much of one author, and in all.

    What was live once is kept for good and fills no room. After a start the two look alike, and
    fill what room there is.

    Args:
        own: this node's key, which no bound applies to.
    """

    def __init__(self, own: NodePubkey | None = None) -> None:
        self._own = own
        self._room = RecordBounds(void_bounds)
        self._without: list[Entry] = []

    def take(self, entry: Entry, *, stored: bool) -> None:
        """Give room to an entry that is void as it comes."""
        record = entry.record
        if record.feed.author == self._own:
            return
        entry.bounded = self._room.fits(record)
        if entry.bounded:
            self._room.count(record, 1)
        elif not stored:
            self._without.append(entry)

    def leave(self, entry: Entry) -> None:
        """An entry is another thing from here on, or gone."""
        if entry.bounded:
            entry.bounded = False
            self._room.count(entry.record, -1)

    def overflow(self) -> list[Entry]:
        """Take out what found no room and is void still.

        To be asked for once all that came beside it is judged: another record may build on it.
        """
        found = [entry for entry in self._without if entry.verdict in VOID]
        self._without.clear()
        return found


def void_bounds() -> Bounds:
    """For what is void."""
    return Bounds(
        limits.VOID_PER_AUTHOR_MAX,
        limits.VOID_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_MAX,
    )


def stranger_bounds() -> Bounds:
    """For what is pending of keys that are on no roster, which share a small room of their own."""
    return Bounds(
        limits.STRANGERS_PER_AUTHOR_MAX,
        limits.STRANGERS_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
    )


def pending_bounds() -> Bounds:
    """For what else is pending: what the small room leaves of all that may be."""
    return Bounds(
        limits.PENDING_PER_AUTHOR_MAX,
        limits.PENDING_MAX - limits.STRANGERS_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_MAX,
    )
