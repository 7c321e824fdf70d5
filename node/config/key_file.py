"""The node's private key on disk: one file, 0600, written once.

Besides ``tls.py`` the only module that handles the secret. Returns a ``SigningKey``, whose ``repr``
hides it.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from crdt.primitives.identity import SigningKey
from machines.values import NodePubkey
from node.system import clock
from node.system.errors import OperatorError
from node.system.home import Home

HEADER = "gangline-ed25519-seed-1"
SEED_BYTES = 32
FILE_BYTES_MAX = 256


def generate(path: Path) -> SigningKey:
    """Create a key and write it: it is on disk before anybody sees its public half.

    Raises:
        OperatorError: the file exists, or cannot be written.
    """
    seed = secrets.token_bytes(SEED_BYTES)
    _write(path, seed)
    return SigningKey(seed)


def put(path: Path, text: str) -> SigningKey:
    """Write a key that was kept elsewhere.

    Args:
        text: from ``text_of``.

    Raises:
        OperatorError: the text is not a key, or the file exists or cannot be written.
    """
    seed = _parse(text, "the saved key")
    _write(path, seed)
    return SigningKey(seed)


def replace(path: Path, text: str = "") -> NodePubkey:
    """Write a given or a new key; an existing one is kept under another name.

    There may be no other copy of it.

    Args:
        text: from ``text_of``; empty for a new key.

    Raises:
        OperatorError: as ``put``.
    """
    if path.exists():
        aside = str(clock.wall()).replace(":", "")
        with contextlib.suppress(OperatorError):  # it is not a key, or others can read it
            if text_of(path) == text:
                return pubkey_of(text)
            aside = load(path).pubkey.short
        path.rename(path.with_name(f"{path.name}.{aside}"))
    return (put(path, text) if text else generate(path)).pubkey


def text_of(path: Path) -> str:
    """The text of the key file, to be kept elsewhere; as secret as the file.

    Raises:
        OperatorError: as ``load``.
    """
    return f"{HEADER}\n{_read(path).hex()}\n"


def pubkey_of(text: str) -> NodePubkey:
    """The public half of a key from ``text_of``.

    Raises:
        OperatorError: the text is not a key.
    """
    return SigningKey(_parse(text, "the saved key")).pubkey


def _write(path: Path, seed: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{HEADER}\n{seed.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except FileExistsError:
        raise OperatorError(f"{path} exists already; a node keeps its key") from None
    except OSError as fault:
        raise OperatorError(f"cannot write the key file {path}: {fault.strerror}") from fault


def load(path: Path) -> SigningKey:
    """Read the key.

    Raises:
        OperatorError: it is missing or damaged, or others could read or replace it.
    """
    return SigningKey(_read(path))


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise OperatorError(Home(path.parent).why_no_node()) from None
    except OSError as fault:
        raise OperatorError(
            f"cannot open the key file {path}: {fault.strerror}; it must be a plain file"
        ) from fault
    try:
        _check(path, os.fstat(descriptor))
        return _parse(os.read(descriptor, FILE_BYTES_MAX).decode("ascii", "replace"), str(path))
    finally:
        os.close(descriptor)


def _parse(text: str, where: str) -> bytes:
    try:
        header, seed, rest = text.split("\n")
        raw = bytes.fromhex(seed)
        if header != HEADER or rest or len(raw) != SEED_BYTES:
            raise ValueError(header)
    except ValueError:
        raise OperatorError(
            f"{where} is not a key file of this version, or is damaged; a backup may hold a good "
            "one: gangline restore FILE --force puts it back, and keeps the damaged file"
        ) from None
    return raw


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OperatorError(f"{path} is not a plain file; a key file must be one")
    if status.st_uid != os.getuid():
        raise OperatorError(
            f"{path} belongs to another user; fix it with: chown {os.getuid()} {path}"
        )
    if status.st_mode & 0o077:
        raise OperatorError(f"others may read {path}; fix it with: chmod 600 {path}")
