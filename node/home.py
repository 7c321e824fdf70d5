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

from node.errors import Trouble

SOCKET_PATH_MAX = 100
"""Unix socket paths are at most 107 bytes on Linux, 103 elsewhere."""


@dataclass(frozen=True, slots=True)
class Home:
    """A node's folder."""

    path: Path

    @classmethod
    def chosen(cls, option: Path | None) -> "Home":
        """The folder that was asked for, by option or environment, or the default."""
        if option is not None:
            return cls(option.expanduser().absolute())
        named = os.environ.get("GANGLINE_HOME")
        if named:
            return cls(Path(named).expanduser().absolute())
        data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        return cls(Path(data) / "gangline")

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
        """The local API; in a shorter place where the path would be too long for a socket."""
        path = self.run / "api.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        name = hashlib.blake2b(os.fsencode(self.path), digest_size=8).hexdigest()
        base = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/gangline-{os.getuid()}"  # noqa: S108 - made 0700 and checked by make()
        return Path(base) / name / "api.sock"

    def make(self) -> None:
        """Make the folders, for their owner alone.

        Raises:
            Trouble: somebody else could put his own things in their place.
        """
        try:
            for folder in (self.path, self.run, self.socket.parent.parent, self.socket.parent):
                if not folder.exists():
                    folder.mkdir(mode=0o700, parents=True)
        except OSError as fault:
            raise self._unusable(fault) from fault
        if self.path.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise Trouble(
                f"everybody may write in {self.path}; mend it with: chmod go-w {self.path}"
            )
        self.check_socket()
        try:
            self.socket.parent.chmod(0o700)
        except OSError as fault:
            raise self._unusable(fault) from fault

    def _unusable(self, fault: OSError) -> Trouble:
        return Trouble(
            f"cannot write in {self.path}: {fault.strerror}; mend that, or choose another --home"
        )

    def unmake(self, *, whole: bool) -> None:
        """Take back what ``make`` made, and the key, where nothing came of it.

        Args:
            whole: the home itself too, since it was not there before; unless something is in it.
        """
        self.key.unlink(missing_ok=True)
        for folder in (self.socket.parent, self.run, *((self.path,) if whole else ())):
            with contextlib.suppress(OSError):  # gone already, or not empty
                folder.rmdir()

    def check_socket(self) -> None:
        """Look at the folders of the socket, where they are: in a shared place anybody may have
        made them, to listen there himself.

        Raises:
            Trouble: one belongs to somebody else, or is no folder.
        """
        folders = [self.socket.parent]
        if self.socket.parent != self.run:
            folders.append(self.socket.parent.parent)
        for folder in folders:
            try:
                status = folder.lstat()
            except FileNotFoundError:
                continue
            except OSError as fault:
                raise Trouble(f"cannot look at {folder}: {fault.strerror}") from fault
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in self._owners():
                raise Trouble(
                    f"{folder}, where the socket stands, belongs to somebody else or is no folder; "
                    "remove it, or set XDG_RUNTIME_DIR to a folder of your own"
                )

    def _owners(self) -> set[int]:
        """Whose the socket may be: one's own; for root also of whoever has the home."""
        own = os.getuid()
        return {own} if own or not self.path.exists() else {own, self.path.stat().st_uid}
