"""A store of today made into one of an earlier version, for tests that begin with one."""

from node.storage.migrations import SUMMED


def without_sums(database):
    """As version 5 had the small tables: no totals, no sums."""
    triggers = database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:
        database.execute(f"DROP TRIGGER {name}")
    database.execute("DROP TABLE totals")
    for table in SUMMED:
        database.execute(f"ALTER TABLE {table} DROP COLUMN sum")
    database.pragma("user_version", 5)
