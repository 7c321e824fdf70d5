"""Where a node keeps its things: one folder, and who may look into it.

Stands under the shell. ``--home`` or ``GANGLINE_HOME`` says which; the default goes by the XDG base
directory specification.
"""

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from platformdirs.unix import Unix

from node.system.errors import OperatorError

ANEW = "write it anew from the store with: gangline init --repair"
SOCKET_PATH_MAX = 100
"""Unix socket paths are at most 107 bytes on Linux, 103 elsewhere."""


@dataclass(frozen=True, slots=True)
class Home:
    """A node's folder."""

    path: Path

    @classmethod
    def chosen(cls, option: Path | None) -> "Home":
        """The folder that was asked for, by option or environment, or the default.

        By whatever links it is named, it is one folder with one name.
        """
        named = os.environ.get("GANGLINE_HOME")
        if option is None and named:
            option = Path(named)
        if option is None:
            option = Unix("gangline").user_data_path  # on macOS too: its homes stay in place
        return cls(Path(os.path.realpath(option.expanduser())))

    @property
    def key(self) -> Path:
        """The private key, 0600."""
        return self.path / "node.key"

    @property
    def next_key(self) -> Path:
        """The key that is to come after it, while ``rotate`` is under way; 0600."""
        return self.path / "node.key.next"

    @property
    def config(self) -> Path:
        """The config file."""
        return self.path / "config.toml"

    @property
    def store(self) -> Path:
        """The store."""
        return self.path / "store.db"

    @property
    def run(self) -> Path:
        """What lives as long as the daemon, 0700."""
        return self.path / "run"

    @property
    def socket(self) -> Path:
        """The local API: where the daemon left word that it is, or else where it would be."""
        if self.place.parent == self.run:
            return self.place
        try:
            home, word, _ = self._word.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError):
            return self.place
        # A home that was copied has the word of the other one's daemon.
        usable = home == str(self.path) and "\0" not in word and Path(word).is_absolute()
        return Path(word) if usable else self.place

    @property
    def _word(self) -> Path:
        """Says where the socket is if not in the home: that depends on who started the daemon."""
        return self.run / "socket"

    def leave_word(self) -> None:
        """Say where the socket is, to callers with another environment than this process."""
        if self.place.parent != self.run:
            with contextlib.suppress(OSError):  # on a full disk those with the same one find it
                part = self._word.with_suffix(".part")
                part.write_text(f"{self.path}\n{self.place}\n", encoding="utf-8")
                part.replace(self._word)

    @property
    def place(self) -> Path:
        """Where this process would put the socket: in the home, or, if that path were too long for
        one, in the folder that the system keeps for what runs.
        """
        path = self.run / "api.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        name = hashlib.blake2b(os.fsencode(self.path), digest_size=8).hexdigest()
        base = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/gangline-{os.getuid()}"  # noqa: S108 - made 0700 and checked by make()
        return Path(base) / name / "api.sock"

    def why_no_node(self) -> str:
        """What is missing here for a node, and the way out that keeps what there is of one."""
        key, store, settings = self.key.exists(), self.store.exists(), self.config.exists()
        if key and store:
            return f"there is no config at {self.config}, but a node's key and store; {ANEW}"
        if key:
            return (
                f"{self.path} holds a key, but no config and no store: put a backup back, which "
                "leaves the key, with: gangline restore FILE. If no node ever ran here (an init or "
                "a join was cut short), move the folder away, or choose another with --home"
            )
        if store or settings:
            return (
                f"{self.path} holds a node, but its {self.key.name} is missing: put it back, or a "
                "backup that holds it, with: gangline restore FILE --force. To go on as a node "
                "with a new key, in another --home, gangline restore FILE --as-new"
            )
        return (
            f"there is no node at {self.path}; found a cluster with: gangline init, or join one "
            "by a ticket with: gangline join"
        )

    def make(self) -> None:
        """Make the folders, for their owner alone.

        Raises:
            Trouble: somebody else could put his own things in their place.
        """
        try:
            for folder in (self.path, self.run, self.place.parent.parent, self.place.parent):
                if not folder.exists():
                    folder.mkdir(mode=0o700, parents=True)
        except OSError as fault:
            raise self._unusable(fault) from fault
        if self.path.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise OperatorError(
                f"everybody may write in {self.path}; mend it with: chmod go-w {self.path}"
            )
        self._check(self.place)
        try:
            self.place.parent.chmod(0o700)
        except OSError as fault:
            raise self._unusable(fault) from fault

    def _unusable(self, fault: OSError) -> OperatorError:
        return OperatorError(
            f"cannot write in {self.path}: {fault.strerror}; mend that, or choose another --home"
        )

    def unmake(self, *, whole: bool) -> None:
        """Take back what ``make`` made, and the key, where nothing came of it.

        Args:
            whole: the home itself too, since it was not there before; unless something is in it.
        """
        self.key.unlink(missing_ok=True)
        for folder in (self.place.parent, self.run, *((self.path,) if whole else ())):
            with contextlib.suppress(OSError):  # gone already, or not empty
                folder.rmdir()

    def check_socket(self) -> None:
        """Look at the folders of the socket, where they are: in a shared place anybody may have
        made them, to listen there himself.

        Raises:
            Trouble: one belongs to somebody else, or is no folder.
        """
        self._check(self.socket)

    def _check(self, socket: Path) -> None:
        folders = [socket.parent]
        if socket.parent != self.run:
            folders.append(socket.parent.parent)
        for folder in folders:
            try:
                status = folder.lstat()
            except FileNotFoundError:
                continue
            except OSError as fault:
                raise OperatorError(f"cannot look at {folder}: {fault.strerror}") from fault
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in self._owners():
                raise OperatorError(
                    f"{folder}, where the socket stands, belongs to somebody else or is no folder; "
                    "remove it, or set XDG_RUNTIME_DIR to a folder of your own"
                )

    def _owners(self) -> set[int]:
        """Whose the socket may be: one's own; for root also of whoever has the home."""
        own = os.getuid()
        return {own} if own or not self.path.exists() else {own, self.path.stat().st_uid}
