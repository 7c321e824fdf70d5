"""What goes wrong outside the core, each a sentence with the way out.

Stands beside the shell. ``node/cli`` prints the sentence and ends with the code.

    Exception
    └── Trouble           something an operator can mend; has an exit code
        ├── StoreFailure  the store cannot be read or written
        │   ├── StoreDamaged  what is in it is not what was written
        │   └── NoRoom        the disk is full, or this user's share of it
        ├── NoDaemon      nobody answers on the node's socket
        └── OtherVersion  who answers there speaks another version of the local API
"""

from node.cli.exits import Exit


class Trouble(Exception):
    """Something that an operator can mend.

    Attributes:
        sentence: what is wrong with which thing, and the way out.
        code: how the command ends.
    """

    def __init__(self, sentence: str, code: Exit = Exit.ENVIRONMENT) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class StoreFailure(Trouble):
    """The store cannot be opened, read or written."""


class StoreDamaged(StoreFailure):
    """What is in the store is not what was written: no database, or damaged pages or rows."""


class NoRoom(StoreFailure):
    """The disk, or this user's share of it, is full."""


class NoDaemon(Trouble):
    """Nobody answers on the node's socket."""

    def __init__(self, socket: str) -> None:
        super().__init__(
            f"no daemon answers at {socket}; start it with: gangline run", Exit.NO_DAEMON
        )


class OtherVersion(Trouble):
    """The daemon speaks another version of the local API than this command."""
