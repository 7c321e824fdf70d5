"""The tables of a store as numbered migrations, and their checksums.

A released migration never changes; new ones are appended. Source: protocol §11.
"""

import contextlib
import functools
import zlib
from typing import Any

import apsw

APPLICATION_ID = 0x47616E67  # "Gang"
INDEXED = ("feeds", "history")
TOTALLED = {
    "addresses": "sum",
    "proofs": "clock % 4294967296",  # any value in a damaged file: the sum must not overflow
    "settled": "sum",
    "tickets": "sum",
}
"""The small tables with a stored total, and the expression that is summed over their rows.

The rollback guard finds an older page of ``meta``; one of ``feeds`` only makes peers send more.
"""


def _total_of(table: str, column: str) -> str:
    """SQL that creates a table's total and the triggers that maintain it."""
    change = f"UPDATE totals SET rows = rows + {{}} WHERE name = '{table}'"  # noqa: S608 - our own names
    put = change.format(f"1, sum = sum + NEW.{column}")
    drop = change.format(f"-1, sum = sum - OLD.{column}")
    alter = change.format(f"0, sum = sum + NEW.{column} - OLD.{column}")
    return f"""
    INSERT INTO totals SELECT '{table}', count(*), coalesce(sum({column}), 0) FROM {table};
    CREATE TRIGGER {table}_put AFTER INSERT ON {table} BEGIN {put}; END;
    CREATE TRIGGER {table}_drop AFTER DELETE ON {table} BEGIN {drop}; END;
    CREATE TRIGGER {table}_alter AFTER UPDATE ON {table} BEGIN {alter}; END;
    """  # noqa: S608 - our own names


MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE feeds (
        id INTEGER PRIMARY KEY, author BLOB NOT NULL, incarnation INTEGER NOT NULL,
        rendered INTEGER NOT NULL DEFAULT 0, UNIQUE (author, incarnation)
    ) STRICT;
    CREATE TABLE records (
        feed INTEGER NOT NULL REFERENCES feeds, clock INTEGER NOT NULL, record_id BLOB NOT NULL,
        value BLOB NOT NULL, PRIMARY KEY (feed, clock, record_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE proofs (
        author BLOB NOT NULL, incarnation INTEGER NOT NULL, clock INTEGER NOT NULL,
        sides BLOB NOT NULL, PRIMARY KEY (author, incarnation)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, peer BLOB, author BLOB, incarnation INTEGER,
        clock INTEGER, record_id BLOB, reason TEXT NOT NULL, detail TEXT NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE addresses (node BLOB PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE tickets (
        hash BLOB PRIMARY KEY, role TEXT NOT NULL, expires INTEGER NOT NULL, used_by BLOB
    ) STRICT, WITHOUT ROWID;
    """,
    "CREATE TABLE settled (record_id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;",
    # ``sum`` detects a damaged row at a start without a signature check (docs/decisions/0002).
    """
    ALTER TABLE records ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    UPDATE records SET sum = (
        SELECT row_sum(author, incarnation, clock, record_id, value) FROM feeds WHERE id = feed
    );
    CREATE TABLE history (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, story TEXT, event BLOB NOT NULL
    ) STRICT;
    CREATE INDEX history_of_story ON history (story, id) WHERE story IS NOT NULL;
    """,
    # The roster alone records who used a ticket.
    """
    ALTER TABLE tickets DROP COLUMN used_by;
    ALTER TABLE tickets ADD COLUMN uses INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE tickets ADD COLUMN withdrawn INTEGER NOT NULL DEFAULT 0;
    """,
    # The total of ``records`` detects an older page, whose rows each have a valid checksum
    # (docs/decisions/0002).
    """
    CREATE TABLE total (rows INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;
    INSERT INTO total SELECT count(*), coalesce(sum(sum), 0) FROM records;
    """,
    # Checksums for the other rows that matter; a proof has its signatures.
    """
    ALTER TABLE meta ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    UPDATE meta SET sum = cells_sum(name, value);
    ALTER TABLE feeds ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    UPDATE feeds SET sum = cells_sum(author, incarnation, rendered);
    ALTER TABLE addresses ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    UPDATE addresses SET sum = cells_sum(node, text);
    ALTER TABLE tickets ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    UPDATE tickets SET sum = cells_sum(hash, role, expires, uses, withdrawn);
    ALTER TABLE settled ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    UPDATE settled SET sum = cells_sum(record_id);
    """,
    # Totals for these tables too.
    """
    CREATE TABLE totals (
        name TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """
    + "".join(_total_of(*one) for one in TOTALLED.items()),
)
"""Numbered from 1; each upgrades the file by one version, in one transaction."""


def row_sum(author: bytes, incarnation: int, clock: int, record_id: bytes, value: bytes) -> int:
    """The checksum (CRC-32) of a row of ``records`` (docs/decisions/0002)."""
    place = author + incarnation.to_bytes(4, "big") + clock.to_bytes(8, "big") + record_id
    return zlib.crc32(value, zlib.crc32(place))


SUMMED = {
    "meta": ("name", "value"),
    "feeds": ("author", "incarnation", "rendered"),
    "addresses": ("node", "text"),
    "tickets": ("hash", "role", "expires", "uses", "withdrawn"),
    "settled": ("record_id",),
}
"""The small tables whose rows have a checksum, and the columns it covers."""
SET_ADDRESSES = (
    "INSERT INTO addresses VALUES (?1, ?2, cells_sum(?1, ?2)) "
    "ON CONFLICT DO UPDATE SET text = excluded.text, sum = excluded.sum"
)
SET_META = "INSERT OR REPLACE INTO meta VALUES (?1, ?2, cells_sum(?1, ?2))"


def cells_sum(*cells: bytes | str | int) -> int:
    """The checksum of a row of a small table; a cell and its cast to a blob give the same."""
    found = 0
    for cell in cells:
        raw = cell if isinstance(cell, bytes) else str(cell).encode()
        found = zlib.crc32(raw, zlib.crc32(b"%d " % len(raw), found))
    return found


def expected_sum(table: str) -> str:
    """SQL for the checksum that each row of a small table should have, whatever its types."""
    return f"cells_sum({', '.join(f'CAST({name} AS BLOB)' for name in SUMMED[table])})"


def add_functions(db: apsw.Connection) -> None:
    """Register the SQL functions that migrations and statements call."""

    def of_record(*cells: Any) -> int:
        return row_sum(*cells)

    def of_cells(*cells: Any) -> int:
        return cells_sum(*cells)

    db.create_scalar_function("row_sum", of_record, 5, deterministic=True)
    db.create_scalar_function("cells_sum", of_cells, -1, deterministic=True)


def migrate(db: apsw.Connection, number: int, script: str) -> None:
    """Upgrade a file by one version, to ``number``; the caller holds the transaction."""
    db.execute(script)
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", number)


def upgrade(db: apsw.Connection) -> None:
    """Upgrade a file to the current version in the caller's transaction."""
    version = db.pragma("user_version")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        migrate(db, number, script)


def definitions(db: apsw.Connection) -> list[tuple[Any, ...]]:
    """The definitions of a file's tables."""
    return list(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"))


@functools.cache
def defined(migrations: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """The definitions of the tables after these migrations."""
    with contextlib.closing(apsw.Connection(":memory:")) as db:
        add_functions(db)
        for script in migrations:
            db.execute(script)
        return definitions(db)


def damaged_pages(db: apsw.Connection) -> str:
    """The first fault that SQLite finds in the file's pages, in one line; empty if none."""
    existing = {name for (name,) in db.execute("SELECT tbl_name FROM sqlite_schema")}
    # The quick check does not compare an index with its table: few tables have one, all small.
    checks = ["quick_check(1)", *(f"integrity_check({t})" for t in INDEXED if t in existing)]
    for check in checks:
        report = [str(line) for (line,) in db.execute(f"PRAGMA {check}")]
        if report != ["ok"]:
            # A heading between asterisks may precede it and name the database.
            lines = (line.strip() for line in "\n".join(report).splitlines())
            found = (line for line in lines if line and not line.startswith("***"))
            return next(found, "a check of its pages fails")
    return ""
