"""The node's private key on disk: one file, 0600, written once.

Stands under the shell; the only file besides ``tls.py`` that touches the secret. Gives a
``SigningKey``, which shows itself nowhere.
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
    """Make a key and write it, so that it is on disk before anybody sees its public half.

    Raises:
        Trouble: the file exists, or cannot be written.
    """
    seed = secrets.token_bytes(SEED_BYTES)
    _write(path, seed)
    return SigningKey(seed)


def put(path: Path, text: str) -> SigningKey:
    """Write a key that was kept elsewhere.

    Args:
        text: what ``text_of`` gave.

    Raises:
        Trouble: it is no key, the file exists, or cannot be written.
    """
    seed = _parse(text, "what was kept")
    _write(path, seed)
    return SigningKey(seed)


def replace(path: Path, text: str = "") -> NodePubkey:
    """Put a key in its place, or a new one; keep the one that was there, under another name.

    Whatever was asked for: of a key there may be no other copy.

    Args:
        text: what ``text_of`` gave; empty for a new key.

    Raises:
        Trouble: as ``put``.
    """
    if path.exists():
        aside = str(clock.wall()).replace(":", "")
        with contextlib.suppress(OperatorError):  # it is no key, or may be read by others
            if text_of(path) == text:
                return pubkey_of(text)
            aside = load(path).pubkey.short
        path.rename(path.with_name(f"{path.name}.{aside}"))
    return (put(path, text) if text else generate(path)).pubkey


def text_of(path: Path) -> str:
    """The key as it stands in its file, to be kept elsewhere; as secret as the file.

    Raises:
        Trouble: as ``load``.
    """
    return f"{HEADER}\n{_read(path).hex()}\n"


def pubkey_of(text: str) -> NodePubkey:
    """Whose key ``text_of`` gave.

    Raises:
        Trouble: it is no key.
    """
    return SigningKey(_parse(text, "what was kept")).pubkey


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
        Trouble: it is missing, damaged, or others could read or replace it; says how to mend it.
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
            f"{where} is no key file of this version, or it is damaged; one that is good may be in "
            "a backup: gangline restore FILE --force puts it back, and keeps what was there"
        ) from None
    return raw


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OperatorError(f"{path} is no plain file; a key file must be one")
    if status.st_uid != os.getuid():
        raise OperatorError(
            f"{path} belongs to another user; mend it with: chown {os.getuid()} {path}"
        )
    if status.st_mode & 0o077:
        raise OperatorError(f"others may read {path}; mend it with: chmod 600 {path}")
