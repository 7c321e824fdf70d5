"""What was turned away, with its reason, for who wants to look at it; bounded in rows and bytes.

Stands under ``store.py``: a table written in the transaction of what else came of the same step.
Nothing rests on it; it is not shared. Source: protocol §5, §11, §14.
"""

from collections.abc import Sequence

import apsw

from crdt import limits
from crdt.ready import Quarantined


class Quarantine:
    """The table of one open store, the newest rows of it."""

    def __init__(self) -> None:
        self._bytes: int | None = None

    def write(self, db: apsw.Connection, rows: Sequence[Quarantined], at_ms: int) -> None:
        """Add rows, and let go of the oldest where there are too many, or too much."""
        if not rows:
            return
        db.executemany(
            "INSERT INTO quarantine VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_row(row, at_ms) for row in rows],
        )
        db.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
            (limits.QUARANTINE_ROWS_MAX,),
        )
        # Counted here and not in the table, which takes some 40 ms once it is full: too much for
        # every commit. What is counted here may be too much, never too little.
        if self._bytes is not None:
            self._bytes += sum(len(row.value) for row in rows)
        if self._bytes is None or self._bytes > limits.QUARANTINE_BYTES_MAX:
            self._bytes = _trim(db)


def _trim(db: apsw.Connection) -> int:
    """Let go of the oldest where there is too much, of some more than need be; gives what stays."""
    size = "SELECT coalesce(sum(length(value)), 0) FROM quarantine"
    [(found,)] = db.execute(size)
    if found > limits.QUARANTINE_BYTES_MAX:
        db.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM (SELECT id, "
            "sum(length(value)) OVER (ORDER BY id DESC) AS size FROM quarantine) WHERE size > ?)",
            (limits.QUARANTINE_BYTES_MAX * 7 // 8,),
        )
        [(found,)] = db.execute(size)
    return int(found)


def _row(row: Quarantined, at_ms: int) -> tuple[object, ...]:
    author, incarnation = row.feed if row.feed is not None else (None, None)
    return (
        at_ms,
        None if row.peer is None else bytes(row.peer),
        None if author is None else bytes(author),
        incarnation,
        row.clock,
        None if row.record_id is None else bytes(row.record_id),
        str(row.reason),
        row.detail,
        row.value[: limits.RECORD_BYTES_MAX],
    )
