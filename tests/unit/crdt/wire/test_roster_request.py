"""The bytes of petitions: what is signed, and that they read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.primitives.errors import PeerFault
from crdt.wire.messages import decode_frame, encode_frame
from crdt.wire.roster_request import Answer, RosterRequest, request_bytes
from machines.values import NodePubkey

NONCE = b"n" * 32


def test_what_is_signed_stands_in_this_order():
    cluster, node, receiver = b"c" * 32, NodePubkey(b"a" * 32), NodePubkey(b"r" * 32)
    petition = RosterRequest(node, None, 7, NONCE, ((3, 4),), ())
    assert request_bytes(cluster, receiver, petition) == (
        b"gangline/petition/1" + cluster + node + receiver + bytes(32) + bytes(7) + b"\x07" + NONCE
        + b"\0\0\0\1" + b"\0\0\0\3" + bytes(7) + b"\4"
    )  # fmt: skip


keys32 = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
ends = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**31)), max_size=4)


@given(
    keys32, st.one_of(st.none(), keys32), st.integers(0, 2**53 - 1), keys32, ends,
    st.tuples(signatures, signatures),
)  # fmt: skip
def test_requests_and_answers_round_trip(node, successor, at_ms, nonce, ends, signed):
    named = None if successor is None else NodePubkey(successor)
    signed = signed if successor is not None else signed[:1]
    petition = RosterRequest(NodePubkey(node), named, at_ms, nonce, tuple(ends), signed)
    data = encode_frame(petition)
    assert decode_frame(data) == petition
    for cut in (1, 40, len(data) - 1):
        with pytest.raises(PeerFault):
            decode_frame(data[:cut])
    with pytest.raises(PeerFault):
        decode_frame(data + b"\0")
    assert decode_frame(encode_frame(Answer(nonce, "done"))) == Answer(nonce, "done")
