"""A node's home: the folder with its key, config and store, and the place of its socket.

``--home`` or ``GANGLINE_HOME`` names it; the default follows the XDG base directory specification.
"""

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from platformdirs.unix import Unix

from node.system.errors import OperatorError

REPAIR = "rebuild it from the store with: gangline init --repair"
SOCKET_PATH_MAX = 100
"""Bytes. The system's limit is 107 on Linux, 103 elsewhere."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one node."""

    path: Path

    @classmethod
    def chosen(cls, option: Path | None) -> "Home":
        """The folder given by option or environment, or the default; links are resolved."""
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
        """The next private key, during ``rotate``; 0600."""
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
        """Files that exist while the daemon runs, 0700."""
        return self.path / "run"

    @property
    def socket(self) -> Path:
        """The socket of the local API: as recorded by the daemon, or else the default path."""
        if self.place.parent == self.run:
            return self.place
        try:
            home, recorded, _ = self._record.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError):
            return self.place
        # A copied home holds the record of the other home's daemon.
        usable = home == str(self.path) and "\0" not in recorded and Path(recorded).is_absolute()
        return Path(recorded) if usable else self.place

    @property
    def _record(self) -> Path:
        """Records the socket's path if outside the home: it depends on the daemon's environment."""
        return self.run / "socket"

    def record_socket(self) -> None:
        """Record the socket's path, for callers with another environment than this process."""
        if self.place.parent != self.run:
            with contextlib.suppress(
                OSError
            ):  # on a full disk, callers with this environment still find it
                part = self._record.with_suffix(".part")
                part.write_text(f"{self.path}\n{self.place}\n", encoding="utf-8")
                part.replace(self._record)

    @property
    def place(self) -> Path:
        """The default socket path: in the home, or in the runtime folder if that path is too long.

        By hand: platformdirs uses folders under /tmp that others can create first.
        """
        path = self.run / "api.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        name = hashlib.blake2b(os.fsencode(self.path), digest_size=8).hexdigest()
        base = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/gangline-{os.getuid()}"  # noqa: S108 - made 0700 and checked by make()
        return Path(base) / name / "api.sock"

    def why_no_node(self) -> str:
        """Why no node can start here, and the way out that keeps what exists of one."""
        key, store, settings = self.key.exists(), self.store.exists(), self.config.exists()
        if key and store:
            return (
                f"there is no config at {self.config}, but a node's key and store exist; {REPAIR}"
            )
        if key:
            return (
                f"{self.path} holds a key, but no config and no store: restore a backup, which "
                "keeps the key, with: gangline restore FILE. If no node ever ran here (an init or "
                "a join was interrupted), move the folder away, or choose another with --home"
            )
        if store or settings:
            return (
                f"{self.path} holds a node, but its {self.key.name} is missing: put it back, or "
                "restore a backup that holds it, with: gangline restore FILE --force. To continue "
                "as a node with a new key, in another --home: gangline restore FILE --as-new"
            )
        return (
            f"there is no node at {self.path}; found a cluster with: gangline init, or join one "
            "by a ticket with: gangline join"
        )

    def make(self) -> None:
        """Create the folders, accessible to their owner only.

        Raises:
            OperatorError: they cannot be created, or another user could replace them.
        """
        try:
            for folder in (self.path, self.run, self.place.parent.parent, self.place.parent):
                if not folder.exists():
                    folder.mkdir(mode=0o700, parents=True)
        except OSError as fault:
            raise self._unusable(fault) from fault
        if self.path.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise OperatorError(
                f"everybody may write in {self.path}; fix it with: chmod go-w {self.path}"
            )
        self._check(self.place)
        try:
            self.place.parent.chmod(0o700)
        except OSError as fault:
            raise self._unusable(fault) from fault

    def _unusable(self, fault: OSError) -> OperatorError:
        return OperatorError(
            f"cannot write in {self.path}: {fault.strerror}; fix that, or choose another --home"
        )

    def unmake(self, *, whole: bool) -> None:
        """Remove what ``make`` created, and the key, if no node came of it.

        Args:
            whole: remove the home too if it is empty, since it did not exist before.
        """
        self.key.unlink(missing_ok=True)
        for folder in (self.place.parent, self.run, *((self.path,) if whole else ())):
            with contextlib.suppress(OSError):  # it is gone already, or not empty
                folder.rmdir()

    def check_socket(self) -> None:
        """Check the folders of the socket: in a shared place, another user may have created them.

        Raises:
            OperatorError: one belongs to another user, or is not a folder.
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
                raise OperatorError(f"cannot inspect {folder}: {fault.strerror}") from fault
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in self._owners():
                raise OperatorError(
                    f"{folder} (for the socket) belongs to another user or is not a folder; "
                    "remove it, or set XDG_RUNTIME_DIR to a folder of your own"
                )

    def _owners(self) -> set[int]:
        """Users who may own the socket: this user; for root, the owner of the home too."""
        own = os.getuid()
        return {own} if own or not self.path.exists() else {own, self.path.stat().st_uid}
