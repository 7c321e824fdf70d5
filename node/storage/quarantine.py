"""The quarantine: rejected records and frames with the reason, bounded in rows and bytes.

Rows are written in the transaction of the batch that rejected them. Nothing depends on the table,
and it is not shared with peers. Each node that is to blame has its own bound, so that a noisy one
does not push out the others. Source: protocol §5, §11, §14.
"""

from collections.abc import Sequence

import apsw

from crdt.contract.ready import Quarantined
from crdt.primitives import limits
from crdt.primitives.errors import Reason

BLAMES_PEER = (
    Reason.MALFORMED_FRAME,
    Reason.MALFORMED_UPDATE,
    Reason.TOO_LARGE,
    Reason.BAD_SIGNATURE,
    Reason.WRONG_CLUSTER,
)
"""Reasons that prove nothing against the named author: the peer that sent it is to blame."""
BLAMED = (
    "CASE WHEN author IS NULL OR reason IN "
    f"({', '.join(repr(str(reason)) for reason in BLAMES_PEER)}) THEN peer ELSE author END"
)


class Quarantine:
    """Writes the table of one open store and keeps its bounds."""

    def __init__(self) -> None:
        self._bytes: int | None = None
        self._rows = 0  # an exact count: ids have gaps where rows of one node were deleted
        self._blamed: dict[bytes | None, tuple[int, int]] | None = None

    def write(self, db: apsw.Connection, rows: Sequence[Quarantined], at_ms: int) -> None:
        """Add rows, and delete the oldest if there are too many rows or bytes."""
        if not rows:
            return
        db.executemany(
            "INSERT INTO quarantine VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_row(row, at_ms) for row in rows],
        )
        before = db.total_changes()
        self._bound_each(db, rows)
        self._rows -= db.total_changes() - before
        if self._rows > limits.QUARANTINE_ROWS_MAX:
            db.execute(
                "DELETE FROM quarantine "
                "WHERE id IN (SELECT id FROM quarantine ORDER BY id LIMIT ?)",
                (self._rows - limits.QUARANTINE_ROWS_MAX,),
            )
            self._rows = limits.QUARANTINE_ROWS_MAX
        # Counted here, since a query takes some 40 ms on a full table: too much for every commit.
        # This count may be too high, never too low.
        if self._bytes is not None:
            self._bytes += sum(len(row.value) for row in rows)
        if self._bytes is None or self._bytes > limits.QUARANTINE_BYTES_MAX:
            before = db.total_changes()
            self._bytes = _trim(db)
            self._rows -= db.total_changes() - before

    def _bound_each(self, db: apsw.Connection, rows: Sequence[Quarantined]) -> None:
        """Delete the oldest rows of each node that now exceeds its own bound."""
        counted = self._blamed
        if counted is None or len(counted) > limits.QUARANTINE_ROWS_MAX:
            query = f"SELECT {BLAMED}, count(*), sum(length(value)) FROM quarantine GROUP BY 1"  # noqa: S608 - our own names
            counted = self._blamed = {who: (many, size) for who, many, size in db.execute(query)}
            self._rows = sum(many for many, _ in counted.values())
        else:
            self._rows += len(rows)
            for row in rows:
                many, size = counted.get(_blamed(row), (0, 0))
                counted[_blamed(row)] = many + 1, size + len(row.value)
        for who in {_blamed(row) for row in rows}:
            many, size = counted.get(who, (0, 0))
            if (
                many > limits.QUARANTINE_ROWS_OF_ONE_MAX
                or size > limits.QUARANTINE_BYTES_OF_ONE_MAX
            ):
                counted[who] = _trim_one(db, who)


def _blamed(row: Quarantined) -> bytes | None:
    """The node to blame for a row; ``None`` if unknown."""
    who = row.peer if row.feed is None or row.reason in BLAMES_PEER else row.feed.author
    return None if who is None else bytes(who)


def _trim_one(db: apsw.Connection, who: bytes | None) -> tuple[int, int]:
    """Delete the oldest rows of one node, down to 7/8 of its bound; returns rows and bytes left."""
    db.execute(
        "DELETE FROM quarantine WHERE id IN (SELECT id FROM (SELECT id, "  # noqa: S608 - our own names
        "row_number() OVER (ORDER BY id DESC) AS many, "
        "sum(length(value)) OVER (ORDER BY id DESC) AS size "
        f"FROM quarantine WHERE {BLAMED} IS ?) WHERE many > ? OR size > ?)",
        (
            who,
            limits.QUARANTINE_ROWS_OF_ONE_MAX * 7 // 8,
            limits.QUARANTINE_BYTES_OF_ONE_MAX * 7 // 8,
        ),
    )
    query = (
        "SELECT count(*), coalesce(sum(length(value)), 0) FROM quarantine "  # noqa: S608 - our own names
        f"WHERE {BLAMED} IS ?"
    )
    [(many, size)] = db.execute(query, (who,))
    return int(many), int(size)


def _trim(db: apsw.Connection) -> int:
    """If there are too many bytes, delete the oldest, down to 7/8; returns the bytes left."""
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
