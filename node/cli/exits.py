"""The exit codes of every command (protocol §13)."""

from enum import IntEnum


class Exit(IntEnum):
    """What a command's end means."""

    DONE = 0
    ENVIRONMENT = 1
    """A port, a file's mode, the disk."""
    USAGE = 2
    NO_DAEMON = 3
    REFUSED = 4
    """By the rules; or an unknown story, node or record; or a used or expired ticket."""
    DIFFER = 5
    """Verification failed, or contents differ."""
    MALFORMED = 65
    INTERRUPTED = 130
