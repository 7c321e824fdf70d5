"""What was turned away, with its reason, for who wants to look at it; bounded in rows and bytes.

Stands under ``store.py``: a table written in the transaction of what else came of the same step.
Nothing rests on it; it is not shared. Whoever is to blame for a row has a bound of its own, so that
one that is noisy does not push out what others did. Source: protocol §5, §11, §14.
"""

from collections.abc import Sequence

import apsw

from crdt.contract.ready import Quarantined
from crdt.primitives import limits
from crdt.primitives.errors import Reason

PEERS_FAULTS = (
    Reason.MALFORMED_FRAME,
    Reason.MALFORMED_UPDATE,
    Reason.TOO_LARGE,
    Reason.BAD_SIGNATURE,
    Reason.WRONG_CLUSTER,
)
"""What says nothing of the author that is named: whoever brought it is to blame."""
BLAMED = (
    "CASE WHEN author IS NULL OR reason IN "
    f"({', '.join(repr(str(reason)) for reason in PEERS_FAULTS)}) THEN peer ELSE author END"
)


class Quarantine:
    """The table of one open store, the newest rows of it."""

    def __init__(self) -> None:
        self._bytes: int | None = None
        self._rows = 0  # exactly: ids have holes once the oldest of one were let go of
        self._blamed: dict[bytes | None, tuple[int, int]] | None = None

    def write(self, db: apsw.Connection, rows: Sequence[Quarantined], at_ms: int) -> None:
        """Add rows, and let go of the oldest where there are too many, or too much."""
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
        # Counted here and not in the table, which takes some 40 ms once it is full: too much for
        # every commit. What is counted here may be too much, never too little.
        if self._bytes is not None:
            self._bytes += sum(len(row.value) for row in rows)
        if self._bytes is None or self._bytes > limits.QUARANTINE_BYTES_MAX:
            before = db.total_changes()
            self._bytes = _trim(db)
            self._rows -= db.total_changes() - before

    def _bound_each(self, db: apsw.Connection, rows: Sequence[Quarantined]) -> None:
        """Let go of the oldest of each who now has too many, counted as below."""
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
    """Whose bound a row counts in; ``None``: nobody is known."""
    who = row.peer if row.feed is None or row.reason in PEERS_FAULTS else row.feed.author
    return None if who is None else bytes(who)


def _trim_one(db: apsw.Connection, who: bytes | None) -> tuple[int, int]:
    """Let go of the oldest of one, of some more than need be; gives what stays."""
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
