"""The history: observations of this node for ``inspect history``, bounded in rows and age.

Events are written in the transaction of the batch that caused them. Nothing depends on the table,
and it is not shared with peers. Source: protocol §11.
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
"""The first version of the store with this table."""
HISTORY_SHOWN = 100
EXPIRED_AT_ONCE = 64
"""At most so many expired rows are deleted in one commit."""
DAY_MS = 86_400_000
KEPT = (
    StageMoved, EventLost, ClaimMoved, ForkProven, RosterMoved, IncarnationOpened, Noticed,
    RecordRejected, PeerFaulted,
)  # fmt: skip
_ENCODER = msgspec.json.Encoder(
    enc_hook=lambda value: value.hex() if isinstance(value, bytes) else enc_hook(value)
)


class HistoryBounds(NamedTuple):
    """How many rows are kept, and for how many days."""

    rows: int
    days: int


BOUNDS = HistoryBounds(10_000, 30)


def is_kept(event: Observation) -> bool:
    """Whether an event belongs in the history; a heartbeat does not."""
    return isinstance(event, KEPT) or (
        isinstance(event, ExecutionMoved) and event.event != "heartbeat"
    )


def write(
    db: apsw.Connection, events: Sequence[Observation], at_ms: int, bounds: HistoryBounds
) -> None:
    """Add events, and delete the surplus and some of the expired."""
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
        (EXPIRED_AT_ONCE, at_ms - bounds.days * DAY_MS),
    )


def read(db: apsw.Connection, story: str, limit: int) -> list[tuple[int, bytes]]:
    """Rows of Unix milliseconds and the event as JSON, newest first.

    Args:
        limit: at most so many, from 0 to ``limits.INTEGER_MAX``.
    """
    which = "WHERE story = ?2" if story else ""
    query = f"SELECT at, event FROM history {which} ORDER BY id DESC LIMIT ?1"  # noqa: S608 - two fixed texts
    return list(db.execute(query, (limit, story) if story else (limit,)))
