"""Counts of things in messages. By hand: two plural forms need no library."""


def counted(number: int, noun: str) -> str:
    """A count with its noun: ``1 story``, ``2 stories``, ``0 records``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
