"""The ``gangline inspect`` commands."""
