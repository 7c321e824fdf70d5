"""The named points at which a daemon dies by its own hand, patched in from outside.

Each takes a countdown and changes this process, before the daemon starts in it. No switch for any
of it stands in the product.
"""

import os
import signal

import apsw

import crdt.replica
from node.config import key_file
from node.network.link import Link
from node.storage.rollback_guard import RollbackGuard
from node.storage.store import Store

SYSTEM = apsw.vfs_names()[0]
"""The file system that SQLite goes by where none is named."""


KEPT = []
"""Disks in use, since SQLite holds no reference that Python knows of."""


class Countdown:
    """Kills this process at the n-th pass, as the system would: at once, with nothing said."""

    def __init__(self, passes):
        self.left = passes

    def due(self):
        self.left -= 1
        return self.left == 0

    def passed(self):
        if self.due():
            die()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def before_sign(countdown):
    _around(crdt.replica, "sign_record", before=countdown.passed)


def signed_not_persisted(countdown):
    _around(crdt.replica, "sign_record", after=countdown.passed)


def persisted_not_witnessed(countdown):
    _around(RollbackGuard, "note", before=countdown.passed)


def persisted_not_published(countdown):
    _around(Store, "commit", after=countdown.passed)


def between_two_peers(countdown):
    """One peer has the frame, the next one never gets it."""
    real = Link.send
    last = [None, b""]

    def send(link, data, then=None):
        first, sent = last
        last[:] = link, data
        if sent is not data or first is link or not countdown.due():
            real(link, data, then)
            return
        _die_once_sent(first, data)

    Link.send = send


def _die_once_sent(link, last_data):
    real = link._socket.send

    async def send(data):
        await real(data)
        if data is last_data:
            die()

    link._socket.send = send


def in_a_commit(countdown):
    _DyingDisk("-wal", {"xWrite"}, countdown)


def before_fsync(countdown):
    _DyingDisk("-wal", {"xSync"}, countdown)


def in_a_checkpoint(countdown):
    """In WAL mode nothing but a checkpoint writes to the file itself."""
    small_steps = lambda store: store._db.pragma("wal_autocheckpoint", 8)  # noqa: E731
    _around(Store, "__init__", after=small_steps, told=True)
    _DyingDisk(".db", {"xWrite", "xSync", "xTruncate"}, countdown)


def in_a_migration(countdown):
    inside = []
    _around(Store, "_migrate", before=lambda: inside.append(1), after=inside.clear)
    _DyingDisk("-wal", {"xWrite", "xSync"}, countdown, only=inside)


def in_key_creation(countdown):
    """Between any two calls that make the key file."""
    key_file.os = _Calls(os, {"open", "fdopen", "fsync", "close", "link", "replace"}, countdown)


POINTS = {
    point.__name__: point
    for point in (
        before_sign,
        signed_not_persisted,
        in_a_commit,
        before_fsync,
        persisted_not_witnessed,
        persisted_not_published,
        between_two_peers,
        in_a_checkpoint,
        in_a_migration,
        in_key_creation,
    )
}


class _Calls:
    """A module, some of whose functions count."""

    def __init__(self, module, names, countdown):
        self._module, self._names, self._countdown = module, names, countdown

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if name not in self._names:
            return found

        def called(*args, **options):
            self._countdown.passed()
            return found(*args, **options)

        return called


class _DyingDisk(apsw.VFS):
    """The system's files; some calls on some of them count."""

    def __init__(self, suffix, calls, countdown, only=(True,)):
        self.suffix, self.calls, self.countdown, self.only = suffix, calls, countdown, only
        super().__init__("dying", SYSTEM, makedefault=True)
        KEPT.append(self)

    def xOpen(self, name, flags):
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or not str(path).endswith(self.suffix):
            return apsw.VFSFile(SYSTEM, name, flags)
        return _DyingFile(self, name, flags)


class _DyingFile(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        self.disk = disk
        super().__init__(SYSTEM, name, flags)

    def _count(self, call):
        if call in self.disk.calls and self.disk.only:
            self.disk.countdown.passed()

    def xWrite(self, data, offset):
        self._count("xWrite")
        super().xWrite(data, offset)

    def xSync(self, flags):
        self._count("xSync")
        super().xSync(flags)

    def xTruncate(self, size):
        self._count("xTruncate")
        super().xTruncate(size)


def _around(owner, name, before=lambda: None, after=lambda: None, *, told=False):
    real = getattr(owner, name)

    def around(*args, **options):
        before()
        result = real(*args, **options)
        after(*args[: 1 if told else 0])
        return result

    setattr(owner, name, around)
