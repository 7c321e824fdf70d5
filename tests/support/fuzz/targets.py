"""What reads bytes of others, each as a function that may do nothing but take or refuse them.

A target raises only where the product does what it does not document: another exception than its
refusal, or a value that is not written back as it was read.
"""

import functools
import hashlib
import warnings
from pathlib import Path

import msgspec

from crdt.presence.signed_presence import open_presence
from crdt.primitives.errors import MalformedEvidence, MalformedRecord, PeerFault
from crdt.primitives.identity import ClusterId
from crdt.records.bodies import Carried, encode_body, parse_body
from crdt.records.evidence_file import check, encode_evidence, parse_evidence
from crdt.wire.messages import AwarenessEntry, decode_frame, encode_frame
from crdt.wire.yjs_update import (
    decode_state_vector,
    decode_update,
    encode_state_vector,
    encode_update,
)
from machines.codec import lenient_hook
from machines.errors import InvalidValue
from machines.values import NodePubkey
from node.api import request_parsing
from node.network import handshake, tls
from node.network.ticket import read_ticket
from node.reporting import rows
from node.system.errors import OperatorError
from node.system.exit_codes import Exit
from tests.support.builders.cluster import Cluster, key

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"
CLUSTER = ClusterId(b"c" * 32)
NODE = NodePubkey(b"k" * 32)
BODIES = (rows.Add, rows.Fire, rows.ExecutionEventRequest, rows.ClaimFor)


def update(data):
    try:
        pieces = decode_update(data)
    except PeerFault:
        return
    # Slices of one feed stand in the order of clients once they were written by us.
    assert sorted(decode_update(encode_update(pieces)), key=_client) == sorted(pieces, key=_client)


def _client(piece):
    return piece.client


def state_vector(data):
    try:
        vector = decode_state_vector(data)
    except PeerFault:
        return
    assert decode_state_vector(encode_state_vector(vector)) == vector


def frame(data):
    try:
        read = decode_frame(data)
    except PeerFault:
        return
    assert decode_frame(encode_frame(read)) == read


def body(data):
    try:
        read = parse_body(data)
    except MalformedRecord:
        return
    if not isinstance(read, Carried):  # which nobody here writes
        assert encode_body(read) == data


class _Said:
    """A socket over which one message comes."""

    def __init__(self, data):
        self.data = data

    async def recv(self):
        return self.data


def hello(data):
    for kind in (
        handshake.Hello,
        handshake.Welcome,
        handshake.ProofMessage,
        handshake.AcceptMessage,
    ):
        reading = handshake.receive(_Said(data), kind)
        try:
            reading.send(None)
        except StopIteration as done:
            assert isinstance(done.value, kind)
        except handshake.HelloRefused as refusal:
            assert handshake.reason_from_peer(refusal.reason)


def presence(data):
    entry = AwarenessEntry(1, 1, data.decode("utf-8", "replace"))
    try:
        said = open_presence(CLUSTER, entry, lambda jobs: [True] * len(jobs))
    except PeerFault:
        return
    again = open_presence(CLUSTER, said.entry, lambda jobs: [True] * len(jobs))
    assert (again.node, again.state) == (said.node, said.state)


def ticket(data):
    try:
        read = read_ticket(data.decode("utf-8", "replace"))
    except OperatorError as trouble:
        assert trouble.code is Exit.MALFORMED
        return
    assert read_ticket(read.text()) == read


def evidence_file(data):
    try:
        read = parse_evidence(data)
    except MalformedEvidence as fault:
        assert str(fault).isascii()
        return
    assert encode_evidence(read) == data.removesuffix(b"\n") + b"\n"
    # Whatever its bodies say, it proves nothing without two signatures of the key.
    assert not check(read, lambda jobs: [False] * len(jobs)).proven


def certificate(data):
    """Whoever can copy a key into one still has to sign with it: that is TLS's part."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it will refuse in a later release
        try:
            seen = tls.check_server(data, NODE)
        except PeerFault:
            return
    assert seen == hashlib.sha256(data).digest()


def api(data):
    """A body of the local API, as far as the daemon reads it before it asks the replica."""
    for kind in BODIES:
        try:
            read = msgspec.json.decode(data, type=kind, dec_hook=lenient_hook)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
        try:
            if isinstance(read, rows.Add):
                request_parsing.story_fields(read)
            elif isinstance(read, rows.Fire):
                request_parsing.pipeline_event(read.event)
            elif isinstance(read, rows.ExecutionEventRequest):
                request_parsing.execution_event(read.event)
        except (request_parsing.Malformed, InvalidValue):
            pass


@functools.cache
def _cluster():
    cluster = Cluster(2)
    cluster.admit_all()
    cluster.link(0, 1)
    cluster.deliver()
    return cluster


def replica(data):
    """A whole message, through the line, to a replica that has a board and a link."""
    cluster = _cluster()
    ready = cluster.replicas[0].receive(key(2).pubkey, data, cluster.now)
    if ready.fault is not None:
        assert ready.quarantine[-1].value == data


TARGETS = {
    one.__name__: one
    for one in (
        update, state_vector, frame, body, hello, presence, ticket, evidence_file, certificate,
        api, replica,
    )
}  # fmt: skip


def kept(name):
    """The kept inputs of one target, in an order of their own."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def keep(name, data):
    """Keep an input, under the name that libFuzzer would give it."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
