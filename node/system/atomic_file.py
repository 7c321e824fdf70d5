"""Files written whole or not at all.

Used by ``backup.py`` and the commands that write a file. By hand: libraries for this write a
temporary file under a name that others can guess, and take no lock.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.system.errors import OperatorError

PARTIAL: Final = ".partial"


@contextlib.contextmanager
def atomic_file(file: Path, *, force: bool) -> Iterator[Path]:
    """Write a file whole, synced and readable by its owner only, or not at all.

    It is written in a new folder beside its target. In a folder that others may write to, nobody
    can then plant a file under this name or under the name of SQLite's journal.

    Args:
        force: overwrite an existing file.

    Yields:
        The path to write to.

    Raises:
        OperatorError: the file cannot be written, or exists by now.
    """
    folder = file.with_name(file.name + PARTIAL)
    try:
        lock = _create_locked(folder)
    except BlockingIOError:
        raise OperatorError(
            f"another command is writing {file}; try again when it has ended"
        ) from None
    except OSError as fault:
        raise OperatorError(f"cannot write {file}: {fault.strerror}") from fault
    try:
        partial = folder / file.name
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            yield partial
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if force:
            partial.replace(file)
        else:
            file.hardlink_to(partial)  # unlike a rename, it never overwrites
        _sync_folder(file.absolute().parent)
    except FileExistsError:
        raise OperatorError(f"{file} exists already; --force overwrites it") from None
    except OSError as fault:
        raise OperatorError(f"cannot write {file}: {fault.strerror}") from fault
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
        os.close(lock)  # only now may another command use the name


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_locked(folder: Path) -> int:
    """Create a folder and lock it; returns the descriptor that holds the lock.

    Raises:
        BlockingIOError: another command holds it.
        OSError: it cannot be created.
    """
    while True:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            _remove_leftover(folder)
            continue
        with contextlib.suppress(FileNotFoundError):  # another command removed it as a leftover
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            with contextlib.ExitStack() as closing:
                closing.callback(os.close, descriptor)
                if _locked(descriptor, folder):
                    closing.pop_all()
                    return descriptor


def _remove_leftover(path: Path) -> None:
    """Remove what an interrupted command of this user left behind.

    Raises:
        BlockingIOError: a running command holds it.
        OSError: it belongs to another user, or cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        # Do not wait for a pipe, do not follow a link.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{path} belongs to another user")
            if _locked(descriptor, path):
                shutil.rmtree(path) if stat.S_ISDIR(status.st_mode) else path.unlink()
        finally:
            os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    """Lock an open file or folder; returns whether it is still the one at its path.

    Raises:
        BlockingIOError: another command holds it.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
