"""The exit codes of every command (protocol §13)."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    ENVIRONMENT = 1
    USAGE = 2
    NO_DAEMON = 3
    REFUSED = 4
    DIFFER = 5
    MALFORMED = 65
    INTERRUPTED = 130
    UNREAD = 141


MEANING = {
    Exit.DONE: "done",
    Exit.ENVIRONMENT: "the environment: a port, a file or its mode, the disk",
    Exit.USAGE: "wrong usage: an unknown command, or an option missing or wrong",
    Exit.NO_DAEMON: "no daemon answers within 5 s",
    Exit.REFUSED: "refused by the rules; an unknown story, node or record; a used ticket",
    Exit.DIFFER: "verification failed, or contents differ",
    Exit.MALFORMED: "malformed input",
    Exit.INTERRUPTED: "Ctrl-C",
    Exit.UNREAD: "the reader closed the pipe (as `head` does)",
}
