"""How much is kept of what does not count: so many records and so many bytes of one author, and in
all.

Stands under ``ledger.py`` and ``pending.py``. What does not fit is not taken and has no verdict;
anti-entropy brings it back. Source: protocol §5, 7; §14.
"""

from collections.abc import Callable
from typing import NamedTuple

from machines.values import NodePubkey

from crdt import limits
from crdt.record import VerifiedRecord


class Bounds(NamedTuple):
    """So much at most."""

    of_author: int
    in_all: int
    bytes_of_author: int
    bytes_in_all: int


class Room:
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


def void_bounds() -> Bounds:
    """For what is void."""
    return Bounds(
        limits.VOID_PER_AUTHOR_MAX,
        limits.VOID_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_MAX,
    )


def pending_bounds() -> Bounds:
    """For what is pending."""
    return Bounds(
        limits.PENDING_PER_AUTHOR_MAX,
        limits.PENDING_MAX,
        limits.WAITING_BYTES_PER_AUTHOR_MAX,
        limits.WAITING_BYTES_MAX,
    )
