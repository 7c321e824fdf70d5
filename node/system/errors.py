"""What goes wrong outside the core, each a sentence with the way out.

Stands beside the shell. ``node/cli`` prints the sentence and ends with the code.

    Exception
    └── Trouble           something an operator can mend; has an exit code
        ├── StoreFailure  the store cannot be read or written
        │   ├── StoreDamaged  what is in it is not what was written
        │   └── NoRoom        the disk is full, or this user's share of it
        ├── NoDaemon      nobody answers on the node's socket
        │   └── Silent        a daemon is there, and answers nobody
        └── OtherVersion  who answers there speaks another version of the local API
"""

from node.system.exit_codes import Exit


class OperatorError(Exception):
    """Something that an operator can mend.

    Attributes:
        sentence: what is wrong with which thing, and the way out.
        code: how the command ends.
    """

    def __init__(self, sentence: str, code: Exit = Exit.ENVIRONMENT) -> None:
        super().__init__(sentence)
        self.message = sentence
        self.code = code


class StoreFailure(OperatorError):
    """The store cannot be opened, read or written."""


class StoreDamaged(StoreFailure):
    """What is in the store is not what was written: no database, or damaged pages or rows."""


class DiskFull(StoreFailure):
    """The disk, or this user's share of it, is full."""


class NoDaemon(OperatorError):
    """Nobody answers on the node's socket.

    Attributes:
        asked: the question was sent, so that what was asked may be done all the same.
    """

    def __init__(self, socket: str, *, asked: bool = False) -> None:
        told = (
            f"the daemon at {socket} ended before it answered; what was asked may be done all the "
            "same. Start it again with: gangline run"
            if asked
            else f"no daemon answers at {socket}; start it with: gangline run"
        )
        super().__init__(told, Exit.NO_DAEMON)
        self.asked = asked


class Silent(NoDaemon):
    """A daemon is there and answers nobody: its process is stopped, or its host overloaded.

    Args:
        pid: of its process; 0 if that is not known.
    """

    def __init__(self, socket: str, pid: int, *, asked: bool = False) -> None:
        done = "what was asked may be done once it goes on" if asked else "nothing was asked of it"
        way = f"let it go on (kill -CONT {pid}), or end it (kill -9 {pid})" if pid else "end it"
        OperatorError.__init__(
            self,
            f"the daemon at {socket} is there, but has answered nobody for 5 s; {done}. If its "
            f"process is stopped, {way} and start it again with: gangline run",
            Exit.NO_DAEMON,
        )
        self.asked = asked


class OtherVersion(OperatorError):
    """The daemon speaks another version of the local API than this command."""
