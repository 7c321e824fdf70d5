"""The SQLite store and its recovery."""
