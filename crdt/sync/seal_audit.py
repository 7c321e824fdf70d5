"""A feed that is not held as its author sealed it: what is missing, and who might have it.

Stands beside ``feed.py``, and decides nothing: a seal moves no verdict, and what is told here is
an observation. Says what can be known and no more. A clock whose content is gone may have been
superseded or withheld, and nobody but its author can tell which; but some seals are true of no feed
at all that these records could be a part of. Source: protocol §8; docs/decisions/0007.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from machines.values import NodePubkey

from crdt.contract.ready import Noticed
from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.primitives.range_set import RangeSet
from crdt.records.bodies import Seal
from crdt.sync.session import Session, Sessions

SAY_SECONDS: Final = 2 * limits.ANTI_ENTROPY_SECONDS
"""What is merely under way has come by then."""


@dataclass(frozen=True, slots=True)
class SealMismatch:
    """How a feed that is held differs from what its author sealed.

    Attributes:
        seal: the seal's clock; all below is about what lies before it.
        stated: how many live records the seal counts, and ``held`` how many there are here.
        unknown: clocks of which nothing is known.
        gone: clocks without content: superseded, or withheld.
        idle: clocks of what is here and does not count: it waits, was rejected, or is void.
        false: no records that could still come would make the seal true.
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
    """What is missing of a feed; ``None`` where it is held as sealed, or not sealed."""
    seal = feed.last_seal()
    if feed.as_sealed() is not False or seal is None or not isinstance(seal.body, Seal):
        return None
    held, _ = feed.sealable(seal.clock)
    unknown, gone, idle = RangeSet(feed.unknown(seal.clock)), RangeSet(feed.gaps()), RangeSet()
    for clock in _idle(ledger, feed):
        if clock < seal.clock:
            idle.add(clock, clock + 1)
            unknown.discard(clock)
            gone.discard(clock)
    false = _is_false(
        seal.body.count - held,
        [run for runs in (unknown, gone, idle) for run in runs],
        next(record.clock for record in feed.live() if record.body.key is not None),
    )
    return SealMismatch(
        feed.id, seal.clock, seal.body.count, held, unknown, gone, idle, unsatisfiable=false
    )


def _idle(ledger: Ledger, feed: Feed) -> Iterator[int]:
    """The clocks of records that are here and do not count."""
    for entry in feed.idle():
        yield entry.record.clock
    for record in ledger.pending.of_author(feed.author):
        if record.feed == feed.id:
            yield record.clock
    yield from ledger.rejected.clocks(feed.id)


def _is_false(missing: int, room: list[tuple[int, int]], lowest_key: int) -> bool:
    """Whether a seal that does not match can be true of no feed that holds these records.

    For each live record here its author has that one live, or by its key a later one: an honest
    count is never lower. What it counts beside them stands where nothing live is here. And where it
    counts as many, some key was written again, at a clock further up.

    Args:
        missing: how many more records the seal counts than are live here.
        room: the clocks below it where nothing live is.
        lowest_key: the lowest clock of a live record with a key; the seal's where none has one.
    """
    if missing == 0:
        return max((end for _, end in room), default=0) <= lowest_key
    return not 0 < missing <= sum(end - start for start, end in room)


# --- who might have it ---------------------------------------------------------------------------


class SourceState(StrEnum):
    """What is known of another node and a feed that is not held as sealed."""

    ASKED = "asked"
    """It holds something else of the feed, and was asked for it."""
    SAME = "same"
    """It holds the very same."""
    NOT_COMPARED = "not_compared"
    """It is linked, and its feeds were not compared yet."""
    NOT_LINKED = "not_linked"
    """It may have it: nobody asked."""


class Source(NamedTuple):
    """Another node, and when it was last asked (monotonic seconds)."""

    node: NodePubkey
    road: SourceState
    asked: float | None = None


def sources(ledger: Ledger, sessions: Sessions, own: NodePubkey, feed: Feed) -> list[Source]:
    """Who might have what is missing of a feed, its author first; then in order of key."""
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


# --- telling the operator ------------------------------------------------------------------------


class SealWatch:
    """Says once of an author that a feed of his is not held as sealed, and once that all are.

    By author and not by feed: one who opens many must not fill the log.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._since: dict[NodePubkey, float] = {}
        self._told: set[NodePubkey] = set()
        self._next = float("-inf")

    def news(self, mono: float) -> list[Noticed]:
        """What to tell the operator; looks once in an anti-entropy period."""
        if mono < self._next:
            return []
        self._next = mono + limits.ANTI_ENTROPY_SECONDS
        short = {f.author: f.id for f in self._ledger.feeds.values() if f.as_sealed() is False}
        healed = sorted(self._told - short.keys())
        self._told -= set(healed)
        self._since = {author: self._since.get(author, mono) for author in short}
        fresh = sorted(
            author
            for author, since in self._since.items()
            if mono - since >= SAY_SECONDS and author not in self._told
        )
        self._told |= set(fresh)
        return [
            Noticed("seal", f"{author.short}: every feed is held as sealed again", author)
            for author in healed
        ] + [
            Noticed("seal", f"{_named(short[author])} is not as its author sealed it", author)
            for author in fresh
        ]


def _named(feed: FeedId) -> str:
    return f"{feed.author.short}/{feed.incarnation}"
