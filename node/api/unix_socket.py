"""Binds the local API's Unix socket: 0600, in a folder of its own, and nobody else's.

Stands under ``daemon.py``. Bound by us, since servers by themselves leave it open to everybody.
"""

import contextlib
import os
import socket
from pathlib import Path

from node.system.accepting_socket import AcceptingSocket
from node.system.errors import OperatorError


def bind(path: Path) -> socket.socket:
    """A listening socket at ``path``; one that nobody answers any longer is replaced.

    Raises:
        Trouble: a daemon answers there, or the place cannot be used.
    """
    listening = AcceptingSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() or path.is_symlink():
            if _answers(path):
                raise OperatorError(
                    f"a daemon answers at {path} already; stop it with: gangline stop"
                )
            path.unlink()
        # The mask, not a chmod afterwards: the socket is never open to others for a moment.
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(128)
    except OSError as fault:
        listening.close()
        raise OperatorError(f"cannot open the socket {path}: {fault.strerror}") from fault
    except OperatorError:
        listening.close()
        raise
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.settimeout(1)
        probe.connect(str(path))
        return True
    return False
