"""The latest stamp that counts, by our own clock.

Records stamped over five minutes ahead stay pending. If the clock is set back, records that it
admitted too early become pending again. Our own records may be stamped a little further ahead, so
that a member that stamps as far ahead as allowed cannot stop all writes on a story. Source:
protocol §5, 1 and 9; §7.
"""

from typing import Final

from machines.values import Instant, NodePubkey

from crdt.primitives import limits
from crdt.records.bodies import Member
from crdt.records.record import VerifiedRecord

FIRST: Final = Instant.nearest(0)
LAST: Final = Instant.nearest(2**63)


class Horizon:
    """The latest stamps that count now.

    Args:
        own: our own key; our new records are treated like records on disk.

    Attributes:
        arriving: the latest stamp for records of other authors that arrive.
        on_disk: the latest stamp for records on disk and our own. If the clock shows a time before
            the founding record, it is wrong, and all of these count.
    """

    __slots__ = ("_founded", "_own", "arriving", "on_disk")

    def __init__(self, own: NodePubkey | None = None) -> None:
        self._own = own
        self.arriving = self.on_disk = self._founded = FIRST

    @property
    def is_clockless(self) -> bool:
        """Whether our clock is certainly wrong: it is before the founding record."""
        return self._founded > self.arriving

    def set_time(self, now: Instant) -> None:
        """Set the time of our wall clock."""
        self.arriving = Instant.nearest(now.ms + limits.STAMP_AHEAD_MS_MAX)
        self.on_disk = LAST if self.is_clockless else latest_own(now)

    def of(self, record: VerifiedRecord, *, on_disk: bool) -> Instant:
        """Return the latest stamp with which this record counts."""
        return self.on_disk if on_disk or record.feed.author == self._own else self.arriving

    def note(self, record: VerifiedRecord) -> None:
        """Note a record on disk: the founding record (only it has a nonce) dates the cluster.

        Takes effect at the next ``set_time``.
        """
        if isinstance(record.body, Member) and record.body.nonce:
            self._founded = record.body.at


def latest_own(now: Instant) -> Instant:
    """Return the latest stamp that one of our own records may have."""
    return Instant.nearest(now.ms + limits.STAMP_AHEAD_MS_MAX + limits.STAMP_LEEWAY_MS)
