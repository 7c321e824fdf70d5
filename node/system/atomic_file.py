"""Files that are there whole, or not at all.

Stands under ``backup.py`` and the commands that write a file for a person.
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
    """A file that is there whole and on disk, for its owner alone, or not at all.

    It is written in a folder of its own beside its place: where others may write too, nobody can
    have put a file there first, under this name or under one that SQLite gives its journal.

    Args:
        force: whether it may take the place of one that is there.

    Raises:
        Trouble: it cannot be written, or came into being meanwhile.
    """
    folder = file.with_name(file.name + PARTIAL)
    try:
        claim = _claimed(folder)
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
            file.hardlink_to(partial)  # unlike a rename, never over what is there
        _sync(file.absolute().parent)
    except FileExistsError:
        raise OperatorError(f"{file} exists already; --force overwrites it") from None
    except OSError as fault:
        raise OperatorError(f"cannot write {file}: {fault.strerror}") from fault
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
        os.close(claim)  # only now may another command claim the name


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _claimed(folder: Path) -> int:
    """A new folder that this command alone writes in; returns a descriptor that locks it.

    Raises:
        BlockingIOError: another command has it.
        OSError: it cannot be made.
    """
    while True:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            _clear(folder)
            continue
        with contextlib.suppress(FileNotFoundError):  # taken for one that was left
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            with contextlib.ExitStack() as closing:
                closing.callback(os.close, descriptor)
                if _locked(descriptor, folder):
                    closing.pop_all()
                    return descriptor


def _clear(left: Path) -> None:
    """Remove what a command of this user left that was cut short.

    Raises:
        BlockingIOError: a command has it.
        OSError: it is another user's, or cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        # A pipe must not hold this up, and a link is not followed.
        descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{left} is another user's")
            if _locked(descriptor, left):
                shutil.rmtree(left) if stat.S_ISDIR(status.st_mode) else left.unlink()
        finally:
            os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    """Lock what was opened; returns whether it still stands at its path.

    Raises:
        BlockingIOError: another command has it.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
