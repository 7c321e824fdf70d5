"""Errors that an operator can fix: a message with the way out, and an exit code.

``node/cli`` prints the message and exits with the code.

    Exception
    └── OperatorError     something an operator can fix
        ├── StoreFailure  the store cannot be opened, read or written
        │   ├── StoreDamaged  the store does not hold what was written to it
        │   └── DiskFull      the disk or the user's quota is full
        ├── NoDaemon      no daemon answers on the node's socket
        │   └── Silent        a daemon is there, but does not answer
        └── OtherVersion  the daemon speaks another version of the local API
"""

from node.system.exit_codes import Exit


class OperatorError(Exception):
    """Something that an operator can fix.

    Attributes:
        message: what is wrong, and the way out.
        code: the exit code of the command.
    """

    def __init__(self, message: str, code: Exit = Exit.ENVIRONMENT) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class StoreFailure(OperatorError):
    """The store cannot be opened, read or written."""


class StoreDamaged(StoreFailure):
    """The store does not hold what was written: no database, or damaged pages or rows."""


class DiskFull(StoreFailure):
    """The disk or the user's quota is full."""


class NoDaemon(OperatorError):
    """No daemon answers on the node's socket.

    Attributes:
        asked: the request was sent, so the daemon may have carried it out.
    """

    def __init__(self, socket: str, *, asked: bool = False) -> None:
        message = (
            f"the daemon at {socket} ended before it answered; the request may have been "
            "carried out. Start the daemon again with: gangline run"
            if asked
            else f"no daemon answers at {socket}; start it with: gangline run"
        )
        super().__init__(message, Exit.NO_DAEMON)
        self.asked = asked


class Silent(NoDaemon):
    """A daemon is there, but does not answer: it is suspended, or its host is overloaded.

    Args:
        pid: its process id; 0 if unknown.
    """

    def __init__(self, socket: str, pid: int, *, asked: bool = False) -> None:
        request = "the request may be carried out later" if asked else "the request was not sent"
        way = f"resume it (kill -CONT {pid}), or kill it (kill -9 {pid})" if pid else "kill it"
        OperatorError.__init__(
            self,
            f"the daemon at {socket} is there, but did not answer within 5 s; {request}. If its "
            f"process is stopped, {way} and start it again with: gangline run",
            Exit.NO_DAEMON,
        )
        self.asked = asked


class OtherVersion(OperatorError):
    """The daemon speaks another version of the local API than this command."""
