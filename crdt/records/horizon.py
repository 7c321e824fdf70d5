"""Up to which stamp a record counts, by the own clock.

Stands beside ``ledger.py``. A clock may delay a verdict and never change one: what is stamped
further ahead of it than it may be off waits, and where it goes back, what it let in too early waits
again. An own record follows what arrived, so it may lie a little further ahead: if it might not,
one member who stamps as far ahead as he may could stop every write on a story. Source: protocol §5,
1 and 8; §7.
"""

from typing import Final

from machines.values import Instant, NodePubkey

from crdt.primitives import limits
from crdt.records.bodies import Member
from crdt.records.record import VerifiedRecord

FIRST: Final = Instant.nearest(0)
LAST: Final = Instant.nearest(2**63)


class Horizon:
    """The latest stamp that counts now.

    Args:
        own: the own key, whose new records are taken as those on disk are.

    Attributes:
        arriving: of what others wrote, as it arrives.
        on_disk: of what is on disk, and of the own records. A clock that stands before the founding
            record is none, and all of it counts.
    """

    __slots__ = ("_founded", "_own", "arriving", "on_disk")

    def __init__(self, own: NodePubkey | None = None) -> None:
        self._own = own
        self.arriving = self.on_disk = self._founded = FIRST

    @property
    def is_clockless(self) -> bool:
        """Whether the own clock stands before the founding record, which cannot be."""
        return self._founded > self.arriving

    def tell_time(self, now: Instant) -> None:
        """Learn what the own wall clock shows."""
        self.arriving = Instant.nearest(now.ms + limits.STAMP_AHEAD_MS_MAX)
        self.on_disk = LAST if self.is_clockless else latest_own(now)

    def of(self, record: VerifiedRecord, *, on_disk: bool) -> Instant:
        """The latest stamp under which this record counts."""
        return self.on_disk if on_disk or record.feed.author == self._own else self.arriving

    def see(self, record: VerifiedRecord) -> None:
        """Learn of a record on disk: the founding one, which alone has a nonce, dates the cluster.

        What it dates counts from when the time is told.
        """
        if isinstance(record.body, Member) and record.body.nonce:
            self._founded = record.body.at


def latest_own(now: Instant) -> Instant:
    """The latest stamp that an own record may have, by the own clock."""
    return Instant.nearest(now.ms + limits.STAMP_AHEAD_MS_MAX + limits.STAMP_LEEWAY_MS)
