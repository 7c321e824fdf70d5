"""Feeds that do not match their seal: what is missing, and which nodes might have it.

A seal changes no verdict; a mismatch is only an observation. A clock without content was superseded
or withheld, and only the author knows which. But some seals cannot match any feed that contains the
known records. Source: protocol §8; docs/decisions/0007.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from machines.values import NodePubkey

from crdt.contract.ready import Noticed, NoticeKind
from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.primitives.range_set import RangeSet
from crdt.records.bodies import Seal
from crdt.sync.session import Session, Sessions

REPORT_AFTER_SECONDS: Final = 2 * limits.ANTI_ENTROPY_SECONDS
"""By then, records on their way have arrived."""


@dataclass(frozen=True, slots=True)
class SealMismatch:
    """How a feed differs from its seal. All fields are about clocks below the seal.

    Attributes:
        seal: the clock of the seal.
        sealed_count: the number of live records according to the seal.
        held: the number of live records here.
        unknown: clocks of which nothing is known.
        gone: clocks without content: superseded, or withheld.
        not_counted: clocks of records that are here but pending, rejected or void.
        unsatisfiable: whether no record that may still arrive can make the seal match.
    """

    feed: FeedId
    seal: int
    sealed_count: int
    held: int
    unknown: RangeSet
    gone: RangeSet
    not_counted: RangeSet
    unsatisfiable: bool


def shortfall(ledger: Ledger, feed: Feed) -> SealMismatch | None:
    """Compare a feed with its seal; ``None`` if they match or there is no seal."""
    seal = feed.last_seal()
    if feed.as_sealed() is not False or seal is None or not isinstance(seal.body, Seal):
        return None
    held, _ = feed.sealable(seal.clock)
    unknown, gone, not_counted = (
        RangeSet(feed.unknown(seal.clock)),
        RangeSet(feed.gaps()),
        RangeSet(),
    )
    for clock in _not_counted(ledger, feed):
        if clock < seal.clock:
            not_counted.add(clock, clock + 1)
            unknown.discard(clock)
            gone.discard(clock)
    unsatisfiable = _is_unsatisfiable(
        seal.body.count - held,
        [run for runs in (unknown, gone, not_counted) for run in runs],
        next(record.clock for record in feed.live() if record.body.key is not None),
    )
    return SealMismatch(
        feed.id,
        seal.clock,
        seal.body.count,
        held,
        unknown,
        gone,
        not_counted,
        unsatisfiable=unsatisfiable,
    )


def _not_counted(ledger: Ledger, feed: Feed) -> Iterator[int]:
    """Yield the clocks of records that are here but not live."""
    for entry in feed.idle():
        yield entry.record.clock
    for record in ledger.pending.of_author(feed.author):
        if record.feed == feed.id:
            yield record.clock
    yield from ledger.rejected.clocks(feed.id)


def _is_unsatisfiable(missing: int, free: list[tuple[int, int]], lowest_key: int) -> bool:
    """Whether a mismatching seal cannot match any feed that contains the records here.

    For each record that is live here, the author has that record live, or a later one with its key:
    an honest count is never lower than ours. Any further records must be at clocks without a live
    record here. If the counts are equal, some key was written again, at a later clock.

    Args:
        missing: the count in the seal, minus the live records here.
        free: runs of clocks below the seal without a live record.
        lowest_key: the lowest clock of a live record with a key; the seal's own if there is none.
    """
    if missing == 0:
        return max((end for _, end in free), default=0) <= lowest_key
    return not 0 < missing <= sum(end - start for start, end in free)


# --- other nodes that might have it ------------------------------------------------------------


class SourceState(StrEnum):
    """How another node relates to a feed that does not match its seal here."""

    ASKED = "asked"
    """Its feed differs from ours, and it was asked for the difference."""
    SAME = "same"
    """Its feed is the same as ours."""
    NOT_COMPARED = "not_compared"
    """It is linked, but feeds were not compared yet."""
    NOT_LINKED = "not_linked"
    """It is not linked and cannot be asked."""


class Source(NamedTuple):
    """Another node, and when it was last asked (monotonic seconds), if ever."""

    node: NodePubkey
    state: SourceState
    asked: float | None = None


def sources(ledger: Ledger, sessions: Sessions, own: NodePubkey, feed: Feed) -> list[Source]:
    """Return the nodes that might have missing records: the author, then others by key."""
    found = []
    for node in ledger.roster.nodes():
        session = sessions.get(node)
        if session is not None:
            found.append(_source(session, feed))
        elif node != own and ledger.roster.belongs(node):
            found.append(Source(node, SourceState.NOT_LINKED))
    return sorted(found, key=lambda source: (source.node != feed.author, source.node))


def _source(session: Session, feed: Feed) -> Source:
    doubt = session.doubts.get(feed.id)
    if session.agrees:
        return Source(session.peer, SourceState.SAME)
    if doubt is not None and doubt.theirs != feed.digest():
        return Source(session.peer, SourceState.ASKED, doubt.asked)
    return Source(session.peer, SourceState.SAME if session.compared else SourceState.NOT_COMPARED)


# --- observations --------------------------------------------------------------------------------


class SealWatch:
    """Observes once when a feed of an author does not match its seal, and once when all match.

    Once per author, not per feed: an author that opens many feeds must not fill the log.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._since: dict[NodePubkey, float] = {}
        self._reported: set[NodePubkey] = set()
        self._next = float("-inf")

    def news(self, mono: float) -> list[Noticed]:
        """Return observations for the operator; checks once per anti-entropy period."""
        if mono < self._next:
            return []
        self._next = mono + limits.ANTI_ENTROPY_SECONDS
        differing = {f.author: f.id for f in self._ledger.feeds.values() if f.as_sealed() is False}
        healed = sorted(self._reported - differing.keys())
        self._reported -= set(healed)
        self._since = {author: self._since.get(author, mono) for author in differing}
        new = sorted(
            author
            for author, since in self._since.items()
            if mono - since >= REPORT_AFTER_SECONDS and author not in self._reported
        )
        self._reported |= set(new)
        return [
            Noticed(NoticeKind.SEAL, f"{author.short}: every feed is held as sealed again", author)
            for author in healed
        ] + [
            Noticed(
                NoticeKind.SEAL,
                f"{_feed_name(differing[author])} is not as its author sealed it",
                author,
            )
            for author in new
        ]


def _feed_name(feed: FeedId) -> str:
    return f"{feed.author.short}/{feed.incarnation}"
