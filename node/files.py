"""Files that are there whole, or not at all.

Stands under ``backup.py`` and the commands that write a file for a person.
"""

import contextlib
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
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            yield partial
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
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
