"""A disk that forgets what was not synced, and fails when it is told to.

An SQLite VFS over the default one, to be named to the very store that ships. The files are real,
and hold what a page cache would; beside them stands what a power cut would leave. A cut loses
everything since the last sync, or a random half of it, in sectors. A file that was deleted without
a sync of its folder may come back.
"""

import contextlib
import itertools
import os
from pathlib import Path

import apsw

SECTOR_BYTES = 512
CHANGES = {"write", "truncate", "sync", "delete"}
TAKES_SPACE = {"write"}
EVERY = CHANGES | {"open", "read", "size"}
EXTENDED = {
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "size": apsw.SQLITE_IOERR_FSTAT,
}
_numbers = itertools.count()


class Fault:
    """What goes wrong at the n-th of some calls.

    Attributes:
        at: counted from 1, over calls of the kinds in ``calls``.
        error: what the call then fails with; ``None``: the power goes.
        errno: the system's number for it, where SQLite itself only knows that a call failed.
        lasting: every such call after it fails too.
        struck: the call that it fell on, once it has.
    """

    def __init__(self, at, *, error=None, errno=0, calls=CHANGES, lasting=False):
        self.at = at
        self.error = error
        self.errno = errno
        self.calls = calls
        self.lasting = lasting or error is None
        self.struck = ""
        self._passed = 0

    def strikes(self, call):
        """Whether this call fails."""
        if call not in self.calls:
            # Without power nothing answers, whatever was counted.
            return self.error is None and bool(self.struck)
        self._passed += 1
        if self._passed == self.at:
            self.struck = call
        return self._passed == self.at or (self.lasting and self._passed > self.at)


class FrailDisk(apsw.VFS):
    """The disk. Unregister it when done.

    Attributes:
        fault: what goes wrong next, if anything.
        syncs: waits for as long as a sync takes, where it takes any time (``soak/slow.py``).
    """

    def __init__(self):
        self.name = f"frail-{os.getpid()}-{next(_numbers)}"
        self.fault = self.syncs = None
        self.images = {}
        self._errno = 0
        super().__init__(self.name, "")

    def called(self, call, path):
        """A call is about to be made: it fails where it is its turn."""
        if self.fault is not None and self.fault.strikes(call):
            failure = (self.fault.error or apsw.IOError)(f"injected at {call} of {path}")
            if isinstance(failure, apsw.IOError):
                failure.extendedresult = EXTENDED.get(call, apsw.SQLITE_IOERR)
            self._errno = self.fault.errno
            raise failure

    def image(self, path):
        """What a cut would leave of a file."""
        if path not in self.images:
            there = Path(path)
            self.images[path] = Image(there.read_bytes() if there.exists() else None)
        return self.images[path]

    def holds(self, data):
        """Whether these bytes would be there after a power cut."""
        return any(data in (image.durable or b"") for image in self.images.values())

    def cut(self, rng):
        """The power is back: the files hold what was kept. Every connection must be closed."""
        half = rng.random() < 0.5
        for path, image in self.images.items():
            kept = image.after_cut(rng if half else None)
            if kept is None:
                Path(path).unlink(missing_ok=True)
            else:
                _write_in_place(path, kept)
            # What SQLite shares between processes lives in memory alone.
            Path(f"{path}-shm").unlink(missing_ok=True)
        self.images.clear()
        self.fault = None

    # --- as SQLite calls it --------------------------------------------------------------------

    def xOpen(self, name, flags):
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:  # scratch space: gone at a cut in any case
            return apsw.VFSFile("", name, flags)
        self.called("open", path)
        image = self.image(path)
        file = FrailFile(self, image, path, name, flags)
        if not image.exists:
            image.change("write", 0, b"")
        return file

    def xDelete(self, path, sync_folder):
        self.called("delete", path)
        super().xDelete(path, sync_folder)
        image = self.image(path)
        image.change("delete", 0, b"")
        if sync_folder:
            image.sync()

    def xGetLastError(self):
        return self._errno, ""

    def excepthook(self, *_):
        """An injected error that SQLite has nobody to tell of."""


class FrailFile(apsw.VFSFile):
    """One open file of the disk."""

    def __init__(self, disk, image, path, name, flags):
        self.disk, self.image, self.path = disk, image, path
        super().__init__("", name, flags)

    def xRead(self, amount, offset):
        self.disk.called("read", self.path)
        return super().xRead(amount, offset)

    def xFileSize(self):
        self.disk.called("size", self.path)
        return super().xFileSize()

    def xWrite(self, data, offset):
        self.disk.called("write", self.path)
        super().xWrite(data, offset)
        self.image.change("write", offset, bytes(data))

    def xTruncate(self, size):
        self.disk.called("truncate", self.path)
        super().xTruncate(size)
        self.image.change("truncate", size, b"")

    def xSync(self, flags):
        if self.disk.syncs is not None:
            self.disk.syncs.wait()
        # The file itself needs none: what a cut would leave is kept here.
        self.disk.called("sync", self.path)
        self.image.sync()

    def excepthook(self, *_):
        """As the disk's."""


class Image:
    """A file as a power cut would leave it, and what was done to it since its last sync.

    Attributes:
        durable: its bytes; ``None``: there is no such file.
        exists: whether there is such a file while the power lasts.
    """

    def __init__(self, durable):
        self.durable = durable
        self.exists = durable is not None
        self._since = []

    def change(self, call, where, data):
        self.exists = call != "delete"
        self._since.append((call, where, data))

    def sync(self):
        for change in self._since:
            self.durable = _changed(self.durable, *change)
        self._since.clear()

    def after_cut(self, rng):
        """What is left: nothing since the last sync, or with chance a half of it, by sectors."""
        left = self.durable
        if rng is not None:
            for call, where, data in self._since:
                parts = [(call, where, data)]
                if call == "write" and data:
                    parts = [
                        (call, where + start, data[start : start + SECTOR_BYTES])
                        for start in range(0, len(data), SECTOR_BYTES)
                    ]
                for part in parts:
                    if rng.random() < 0.5:
                        left = _changed(left, *part)
        return None if left is None else bytes(left)


def _changed(held, call, where, data):
    """A file's bytes after a change; ``None`` where there is no file."""
    if call == "delete":
        return None
    held = bytearray(b"" if held is None else held) if not isinstance(held, bytearray) else held
    if call == "truncate":
        del held[where:]
    elif data:
        if len(held) < where:
            held.extend(bytes(where - len(held)))
        held[where : where + len(data)] = data
    return held


def _write_in_place(path, data):
    """As a file system does after a cut: the file keeps its number."""
    with contextlib.suppress(FileNotFoundError), Path(path).open("r+b") as file:
        file.write(data)
        file.truncate()
        return
    Path(path).write_bytes(data)
