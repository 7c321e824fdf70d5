"""Files that are there whole, or not at all.

Stands under ``backup.py`` and the commands that write a file for a person.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.errors import Trouble

PARTIAL: Final = ".partial"


@contextlib.contextmanager
def whole(file: Path, *, force: bool) -> Iterator[Path]:
    """A file that is there whole and on disk, for its owner alone, or not at all.

    Args:
        force: whether it may take the place of one that is there.

    Raises:
        Trouble: it cannot be written, or came into being meanwhile.
    """
    partial = file.with_name(file.name + PARTIAL)
    try:
        descriptor = _claimed(partial)
    except BlockingIOError:
        raise Trouble(f"another command is writing {file}; try again when it has ended") from None
    except OSError as fault:
        raise Trouble(f"cannot write {file}: {fault.strerror}") from fault
    try:
        yield partial
        os.fsync(descriptor)
        if force:
            partial.replace(file)
        else:
            file.hardlink_to(partial)  # unlike a rename, never over what is there
        folder = os.open(file.absolute().parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except FileExistsError:
        raise Trouble(f"{file} exists already; --force overwrites it") from None
    except OSError as fault:
        raise Trouble(f"cannot write {file}: {fault.strerror}") from fault
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        os.close(descriptor)  # only now may another command claim the name


def _claimed(partial: Path) -> int:
    """An empty file that no other command writes, and a lock on it as its descriptor.

    Raises:
        BlockingIOError: another command writes it.
        OSError: it cannot be made.
    """
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, partial):
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, 0)  # what a command left that was cut short
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was put in its place, or given up, after it was opened


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
