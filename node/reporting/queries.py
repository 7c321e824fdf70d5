"""Answers about a ledger, shared by the local API and ``inspect``.

The ledger is the daemon's or one rebuilt from a store file. Answers hold names beside keys; only
keys identify. If two nodes share a name, neither is called by it.
"""

import re
from collections.abc import Callable, Iterable

from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives.identity import FeedId
from crdt.sync.anti_entropy import compared_feeds
from crdt.views.roster import Roster
from crdt.views.view_types import ExplainView
from machines.values import Instant, NodePubkey
from node.reporting.describe import whole_name
from node.reporting.node_names import named_nodes
from node.reporting.rows import FeedRow, QuarantineRow
from node.reporting.seal_report import Look

Names = dict[str, str]
KEY_SHOWN = 8
"""Digits of a key shown for a node without a name."""
_LIKE_A_KEY = re.compile(r"[0-9a-f]{4,64}", re.ASCII)


class Explained(ExplainView, frozen=True):
    """Why a story is at its stage, with the names of nodes."""

    title: str | None
    names: Names


def names(ledger: Ledger) -> Names:
    """The unambiguous names of nodes, by key in hex."""
    return names_on(ledger.roster)


def names_on(roster: Roster) -> Names:
    """The unambiguous names of nodes on a roster, by key in hex."""
    keys = [node.hex() for node in roster.nodes()]

    def looks_like_a_key(name: str) -> bool:
        is_hex = _LIKE_A_KEY.fullmatch(name) is not None
        return is_hex and (len(name) >= KEY_SHOWN or any(key.startswith(name) for key in keys))

    found = named_nodes(roster)
    return {node.hex(): name for node, name in found.items() if not looks_like_a_key(name)}


class Called:
    """Names nodes in the log: by name and the start of the key.

    Args:
        roster: returns the current roster.
    """

    def __init__(self, roster: Callable[[], Roster]) -> None:
        self._current = roster
        self._roster: Roster | None = None
        self._names: Names = {}

    @property
    def names(self) -> Names:
        """What each node is called, worked out once for each roster."""
        roster = self._current()
        if self._roster is not roster:
            self._roster, self._names = roster, names_on(roster)
        return self._names

    def __call__(self, node: NodePubkey) -> str:
        """One node: ``den (1feb11c0)``."""
        return whole_name(self.names.get(node.hex(), ""), node.hex())


def known_feeds(ledger: Ledger) -> list[Feed]:
    """Every feed of which anything is known, in order."""
    found = {feed.id: feed for feed in (*ledger.feeds.values(), *compared_feeds(ledger))}
    return [found[feed] for feed in sorted(found)]


def feeds(
    shown: Iterable[Feed], called: Names, look: Look, end: Callable[[FeedId], int]
) -> list[FeedRow]:
    """Rows for some feeds.

    Args:
        look: returns what is missing of a feed that does not match its seal.
        end: the clock below which the document shows a feed.
    """
    return [_feed(feed, called, look, end(feed.id)) for feed in shown]


def _feed(feed: Feed, called: Names, look: Look, rendered: int) -> FeedRow:
    known, held = feed.known.total, len(feed.slots)
    return FeedRow(
        author=feed.author.hex(),
        name=called.get(feed.author.hex(), ""),
        incarnation=feed.id.incarnation,
        head=feed.next_clock,
        live=len(feed.live()),
        gaps=known - held,
        unknown=feed.next_clock - known,
        sealed=feed.as_sealed(),
        fork=feed.fork,
        rendered=rendered,
        bytes=feed.bytes,
        shortfall=look(feed),
    )


def explain(ledger: Ledger, story: str) -> Explained | None:
    """Why a story is at its stage; ``None`` if no record names it."""
    view, state = ledger.board.explain(story), ledger.board.state(story)
    if view is None or state is None:
        return None
    return Explained(view.id, view.stage, view.events, state.field("title"), names(ledger))


def quarantine(rows: Iterable[tuple[object, ...]], called: Names) -> list[QuarantineRow]:
    """Rows of the quarantine, from the rows of a store."""
    return [_quarantined(row, called) for row in rows]


def _quarantined(row: tuple[object, ...], called: Names) -> QuarantineRow:
    at, peer, author, incarnation, clock, record, reason, detail, value = row
    assert isinstance(at, int)
    assert isinstance(value, bytes)
    return QuarantineRow(
        at=Instant.nearest(at),
        peer=_hex(peer),
        peer_name=called.get(_hex(peer), ""),
        author=_hex(author),
        author_name=called.get(_hex(author), ""),
        incarnation=incarnation if isinstance(incarnation, int) else None,
        clock=clock if isinstance(clock, int) else None,
        record=_hex(record),
        reason=str(reason),
        detail=str(detail),
        bytes=len(value),
    )


def _hex(raw: object) -> str:
    return raw.hex() if isinstance(raw, bytes) else ""
