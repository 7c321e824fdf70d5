"""TLS with the node's own key: no CA, nothing to configure.

The certificate is made from the Ed25519 key at each start; the dialer compares the key in it with
the key of the node that it dials. Source: protocol §10; RFC 8446, RFC 8410.
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
    """Make a server context with the key's certificate.

    Args:
        key: the node's key.
        folder: a folder that only the owner can read; without in-memory files the key is stored
            there for a moment.

    Returns:
        The context, and SHA-256 of the certificate's DER.
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
    """Load key and certificate into a context; Python's ssl reads them from files only."""
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
    """Make a client context that accepts any certificate; ``check_server`` compares its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_server(der: bytes | None, wanted: NodePubkey) -> bytes:
    """Check that a server's certificate has the wanted key; returns SHA-256 of its DER.

    Raises:
        PeerFault: it has another key, or there is no certificate.
    """
    if der is None or _key_in(der) != wanted:
        raise PeerFault(Reason.BAD_SIGNATURE, f"wrong_key: this is not {wanted.short}")
    return hashlib.sha256(der).digest()


def _key_in(der: bytes) -> bytes | None:
    """The Ed25519 key of a certificate, which may be any bytes; ``None`` if it has none."""
    try:
        public = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return None
    return public.public_bytes_raw() if isinstance(public, ed25519.Ed25519PublicKey) else None
