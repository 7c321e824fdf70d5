"""Binds the local API's Unix socket with mode 0600.

Not left to the server, which would open the socket to all users.
"""

import contextlib
import os
import socket
from pathlib import Path

from node.system.accepting_socket import AcceptingSocket
from node.system.errors import OperatorError


def bind(path: Path) -> socket.socket:
    """Return a listening socket at ``path``; a stale socket there is replaced.

    Raises:
        OperatorError: a daemon answers there, or the path cannot be used.
    """
    listening = AcceptingSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() or path.is_symlink():
            if _answers(path):
                raise OperatorError(
                    f"a daemon already answers at {path}; stop it with: gangline stop"
                )
            path.unlink()
        # umask rather than a later chmod, so that the socket is never open to others.
        umask = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(umask)
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
