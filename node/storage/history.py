"""What happened on this node, kept for the inspector's timeline, bounded by size and by age.

Stands under ``store.py``: a table of events, written in the transaction of what they tell. Nothing
rests on it; it is not shared, and two nodes have two histories. Source: protocol §11.
"""

from collections.abc import Sequence
from typing import NamedTuple

import apsw
import msgspec

from crdt.contract.ready import (
    ClaimMoved,
    EventLost,
    ExecutionMoved,
    ForkProven,
    IncarnationOpened,
    Noticed,
    Observation,
    PeerFaulted,
    RecordRejected,
    RosterMoved,
    StageMoved,
)
from machines.codec import enc_hook

FIRST_VERSION = 3
"""The version of the tables that brought the history."""
HISTORY_SHOWN = 100
OLD_AT_ONCE = 64
"""So many rows at most are let go for their age in one commit."""
DAY_MS = 86_400_000
KEPT = (
    StageMoved, EventLost, ClaimMoved, ForkProven, RosterMoved, IncarnationOpened, Noticed,
    RecordRejected, PeerFaulted,
)  # fmt: skip
_ENCODER = msgspec.json.Encoder(
    enc_hook=lambda value: value.hex() if isinstance(value, bytes) else enc_hook(value)
)


class HistoryBounds(NamedTuple):
    """How much is kept."""

    rows: int
    days: int


BOUNDS = HistoryBounds(10_000, 30)


def is_kept(event: Observation) -> bool:
    """Whether an event belongs in the history: a heartbeat, say, does not."""
    return isinstance(event, KEPT) or (
        isinstance(event, ExecutionMoved) and event.event != "heartbeat"
    )


def write(
    db: apsw.Connection, events: Sequence[Observation], at_ms: int, bounds: HistoryBounds
) -> None:
    """Add events, and let go of what is too much or too old."""
    rows = [
        (at_ms, getattr(event, "story", None), _ENCODER.encode(event))
        for event in events
        if is_kept(event)
    ]
    if not rows:
        return
    db.executemany("INSERT INTO history VALUES (NULL, ?, ?, ?)", rows)
    db.execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (bounds.rows,))
    db.execute(
        "DELETE FROM history WHERE id IN (SELECT id FROM history ORDER BY id LIMIT ?) AND at < ?",
        (OLD_AT_ONCE, at_ms - bounds.days * DAY_MS),
    )


def read(db: apsw.Connection, story: str, limit: int) -> list[tuple[int, bytes]]:
    """The newest first: when (Unix ms), and the event as JSON.

    Args:
        limit: so many at most, from 0 to ``limits.INTEGER_MAX``.
    """
    which = "WHERE story = ?2" if story else ""
    query = f"SELECT at, event FROM history {which} ORDER BY id DESC LIMIT ?1"  # noqa: S608 - two fixed texts
    return list(db.execute(query, (limit, story) if story else (limit,)))
