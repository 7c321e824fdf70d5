"""The exit codes of every command (protocol §13)."""

from enum import IntEnum


class Exit(IntEnum):
    """What a command's end means."""

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
    Exit.ENVIRONMENT: "the environment: a port, a file and its mode, the disk",
    Exit.USAGE: "wrong usage: an unknown command, or an option missing or wrong",
    Exit.NO_DAEMON: "no daemon answers, or none within 5 s",
    Exit.REFUSED: "refused by the rules; an unknown story, node or record; a spent ticket",
    Exit.DIFFER: "verification failed, or contents differ",
    Exit.MALFORMED: "malformed input",
    Exit.INTERRUPTED: "Ctrl-C",
    Exit.UNREAD: "whoever read the answer had seen enough, as head has",
}
