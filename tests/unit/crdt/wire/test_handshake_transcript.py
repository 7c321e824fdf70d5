import pytest

from crdt.records.signatures import verify_batch
from crdt.wire.handshake_transcript import DIALLED, LISTENED, PROTOCOL_VERSION, hello_bytes
from machines.values import NodePubkey
from tests.support.builders.vectors import CLUSTER, KEYS, RECORDS

ROW = RECORDS["hello"]
DIALER, LISTENER = (NodePubkey.from_hex(ROW[name]) for name in ("dialer", "listener"))
NONCES = [bytes.fromhex(ROW[name]) for name in ("dialer_nonce", "listener_nonce")]
CERTIFICATE = bytes.fromhex(ROW["certificate_sha256"])


def said(role, **changed):
    parts = {
        "version": PROTOCOL_VERSION,
        "cluster": CLUSTER,
        "role": role,
        "dialer": DIALER,
        "listener": LISTENER,
        "dialer_nonce": NONCES[0],
        "listener_nonce": NONCES[1],
        "certificate_sha256": CERTIFICATE,
    }
    return hello_bytes(**(parts | changed))


@pytest.mark.parametrize(("role", "name"), [(DIALLED, "dialer"), (LISTENED, "listener")])
def test_a_hello_made_outside_the_project(role, name):
    assert ROW["protocol_version"] == PROTOCOL_VERSION
    assert said(role).hex() == ROW[f"{name}_signs"]
    assert KEYS[ROW[name]].sign(said(role)).hex() == ROW[f"{name}_signature"]


def test_a_signature_for_one_hello_holds_for_no_other():
    other = b"o" * 32
    signature = bytes.fromhex(ROW["dialer_signature"])
    elsewhere = [
        said(LISTENED),  # reflected
        said(DIALLED, version=2),
        said(DIALLED, cluster=other),
        said(DIALLED, dialer=LISTENER, listener=DIALER),
        said(DIALLED, listener=NodePubkey(other)),  # relayed to another
        said(DIALLED, dialer_nonce=other),  # replayed
        said(DIALLED, listener_nonce=other),
        said(DIALLED, dialer_nonce=NONCES[1], listener_nonce=NONCES[0]),
        said(DIALLED, certificate_sha256=other),  # through somebody who ends TLS in between
    ]
    jobs = [(DIALER, message, signature) for message in (said(DIALLED), *elsewhere)]
    assert verify_batch(jobs) == [True] + [False] * len(elsewhere)


def test_widths():
    assert said(DIALLED).startswith(b"gangline/hello/1\x00\x01" + CLUSTER + b"\x01" + DIALER)
    assert len(said(DIALLED)) == len(b"gangline/hello/1") + 2 + 32 + 1 + 5 * 32
