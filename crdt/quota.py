"""How many new records of one author are taken: a bucket for each, so that none floods the others.

Stands between ``intake.py`` and ``ledger.py``. Counts only records whose signature holds, since
nobody else's doing may cost an author his share. What does not fit is not taken and has no verdict;
anti-entropy brings it back. Source: protocol §5, 7; §14.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from machines.values import NodePubkey

from crdt import limits
from crdt.bucket import Bucket
from crdt.intake import Unreadable
from crdt.ready import Noticed
from crdt.record import VerifiedRecord

SAY_SECONDS: Final = 60.0
TOO_MUCH: Final = "writes more than is taken of one author; the rest comes later"
R = TypeVar("R", bound=VerifiedRecord | Unreadable)


class Quota:
    """The buckets of all authors.

    Args:
        own: the own key, whose records are always taken: they come back after a loss.
    """

    def __init__(self, own: NodePubkey) -> None:
        self._own = own
        self._buckets: dict[NodePubkey, Bucket] = {}
        self._told: dict[NodePubkey, float] = {}

    def take(self, records: Sequence[R], mono: float) -> tuple[list[R], list[Noticed]]:
        """Sort out what fits; gives that, and what to say of those of whom not everything did.

        An author is named once a minute at most.
        """
        taken: list[R] = []
        over: set[NodePubkey] = set()
        for record in records:
            author = record.feed.author
            if author == self._own or self._bucket(author, mono).take(mono):
                taken.append(record)
            else:
                over.add(author)
        self._forget(mono)
        news = sorted(a for a in over if mono - self._told.get(a, float("-inf")) >= SAY_SECONDS)
        self._told |= dict.fromkeys(news, mono)
        return taken, [Noticed("flood", f"{a.short} {TOO_MUCH}", a) for a in news]

    def _bucket(self, author: NodePubkey, mono: float) -> Bucket:
        bucket = self._buckets.get(author)
        if bucket is None:
            bucket = self._buckets[author] = Bucket(
                limits.AUTHOR_RECORDS_BURST, limits.AUTHOR_RECORDS_PER_SECOND, mono
            )
        return bucket

    def _forget(self, mono: float) -> None:
        """A full bucket says nothing: keys that nobody knows must not fill the memory."""
        if len(self._buckets) > limits.LINKS_MAX:
            self._buckets = {a: b for a, b in self._buckets.items() if not b.full(mono)}
            self._told = {a: t for a, t in self._told.items() if mono - t < SAY_SECONDS}
