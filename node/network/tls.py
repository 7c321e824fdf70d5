"""TLS from the node's own key: no CA, nothing to configure.

Stands under ``link.py``. The certificate is made anew at each start from the Ed25519 key, so that
the key the dialer means to reach is the key that it finds. Source: protocol §10; RFC 8446,
RFC 8410.
"""

import datetime as dt
import hashlib
import os
import ssl
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.identity import SigningKey
from machines.values import NodePubkey

NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
NOT_AFTER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


def server_context(key: SigningKey, folder: Path) -> tuple[ssl.SSLContext, bytes]:
    """A context that serves the key's own certificate, and SHA-256 of its DER.

    Args:
        folder: one that only the owner can read: where there is no file in memory, the key lies
            there for a moment.
    """
    private = ed25519.Ed25519PrivateKey.from_private_bytes(key.seed())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, key.pubkey.hex()[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .sign(private, algorithm=None)
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(context, pem, folder)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return context, hashlib.sha256(der).digest()


def _load(context: ssl.SSLContext, pem: bytes, folder: Path) -> None:
    """Give a context its key and certificate; Python's ssl takes them from a file alone."""
    name = ""
    if sys.platform == "linux" and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("tls")
    else:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix="tls-")  # 0600
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(name or f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
        if name:
            Path(name).unlink()


def client_context() -> ssl.SSLContext:
    """A context that takes any certificate: ``check_server`` compares its key afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_server(der: bytes | None, wanted: NodePubkey) -> bytes:
    """Compare a server's certificate with the key that was meant; gives SHA-256 of its DER.

    Raises:
        PeerFault: another key, or none.
    """
    if der is None or _key_in(der) != wanted:
        raise PeerFault(Reason.BAD_SIGNATURE, f"wrong_key: this is not {wanted.short}")
    return hashlib.sha256(der).digest()


def _key_in(der: bytes) -> bytes | None:
    """The Ed25519 key of a certificate; whoever serves it may have made it of anything."""
    try:
        public = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return None
    return public.public_bytes_raw() if isinstance(public, ed25519.Ed25519PublicKey) else None
