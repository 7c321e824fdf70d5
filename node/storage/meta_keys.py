"""The names under which the store's ``meta`` table keeps single values.

They are part of the file's format: a name never changes.
"""

from enum import StrEnum


class MetaKey(StrEnum):
    """A name in the table ``meta``."""

    INCARNATION = "incarnation"
    """The incarnation that this node writes in: 4 bytes, big-endian."""
    OWN_END = "own_end"
    """How far this node has written: author, incarnation, clock (``reader.OWN_END``)."""
    FORMER = "former"
    """The key that this node had before a rotation: 32 bytes."""
    FORMER_END = "former_end"
    """How far the former key had written, as in ``OWN_END``."""
    LEFT = "left"
    """How far this node is with leaving its cluster: ``asked`` or ``gone``."""
    HURT = "hurt"
    """What a rebuilt store lacks, as a sentence; empty once peers have everything back."""
    DOUBT = "doubt"
    """Why this node may not know how far it has written; empty if it does."""
    TOKEN = "token"  # noqa: S105 - a name, no secret
    """Random bytes that name this file, compared with the rollback guard's."""
    WRITES = "writes"
    """The number of commits, 8 bytes, big-endian, compared with the rollback guard's."""
    PROBE = "probe"
    """Bytes written to see whether a full disk takes a write again."""
    BACKUP = "backup"
    """The label of a backup file, as JSON."""


OF_ONE_FILE = (MetaKey.TOKEN, MetaKey.WRITES, MetaKey.DOUBT, MetaKey.PROBE)
"""Names that describe the file rather than the node."""
OF_ONE_KEY = (
    MetaKey.INCARNATION,
    MetaKey.DOUBT,
    MetaKey.LEFT,
    MetaKey.OWN_END,
    MetaKey.FORMER,
    MetaKey.FORMER_END,
)
"""Names that a node with another key does not take over."""
