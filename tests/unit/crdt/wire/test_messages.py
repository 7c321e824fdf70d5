import pytest

from crdt.primitives import limits
from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.varint import block, uint
from crdt.wire.messages import (
    Awareness,
    AwarenessEntry,
    DigestOffer,
    FeedDigest,
    FeedDigests,
    HaveUpTo,
    Proof,
    QueryAwareness,
    RangeDigest,
    RangeDigests,
    Records,
    RecordsWanted,
    SyncStep1,
    SyncStep2,
    Update,
    decode_frame,
    encode_frame,
)
from crdt.wire.roster_request import Answer, RosterRequest
from crdt.wire.yjs_update import CLIENT_MAX, CLOCK_END
from tests.support.builders.cluster import key

NODE = key(1).pubkey
HASH = bytes(range(32))
SIDES = ((b"s" * 64, HASH), (b"t" * 64, HASH[::-1]))
ROW = FeedDigest(NODE, 0, HASH, 0)
HUGE = bytes(limits.RECORD_BYTES_MAX + 1)
FRAMES = [
    SyncStep1({}),
    SyncStep1({7: 3, CLIENT_MAX: CLOCK_END}),
    SyncStep2(b""),
    SyncStep2(b"\x00\x00"),
    Update(b"anything"),
    Awareness(()),
    Awareness((AwarenessEntry(7, 2**32 - 1, "{}"), AwarenessEntry(CLIENT_MAX, 0, "ü"))),
    QueryAwareness(),
    DigestOffer(HASH),
    FeedDigests((), last=True),
    FeedDigests((FeedDigest(NODE, 2**32 - 1, HASH, None), ROW), last=False),
    FeedDigests((FeedDigest(NODE, 0, HASH, limits.CLOCK_MAX),), last=True),
    RangeDigests(NODE, 1, ()),
    RangeDigests(NODE, 1, (RangeDigest(0, 4, 3, HASH), RangeDigest(4, CLOCK_END, 0, HASH))),
    RecordsWanted(NODE, 1, ((0, 1), (5, CLOCK_END))),
    Records(NODE, 1, ((0, b"v" * 80), (limits.CLOCK_MAX, b"w" * limits.RECORD_BYTES_MAX))),
    Proof(NODE, 1, limits.CLOCK_MAX, SIDES),
    HaveUpTo(NODE, 1, CLOCK_END),
    RosterRequest(NODE, None, 2**53 - 1, HASH, ((0, 0), (7, CLOCK_END)), (b"s" * 64,)),
    RosterRequest(NODE, key(2).pubkey, 0, HASH, (), (b"s" * 64, b"t" * 64)),
    Answer(HASH, ""),
    Answer(HASH, "done"),
]  # fmt: skip
HEAD = NODE + uint(0)


def refused(data):
    with pytest.raises(PeerFault) as caught:
        decode_frame(data)
    return caught.value


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_frame_round_trip(frame):
    heard = decode_frame(encode_frame(frame))
    assert heard == frame
    assert type(heard) is type(frame)


def test_sync_and_awareness_are_those_of_y_protocols():
    assert encode_frame(SyncStep1({7: 3})).hex() == "000003010703"
    assert encode_frame(SyncStep2(b"\x00\x00")).hex() == "0001020000"
    assert encode_frame(Update(b"\x00\x00")).hex() == "0002020000"
    assert encode_frame(QueryAwareness()).hex() == "03"
    assert encode_frame(Awareness((AwarenessEntry(7, 2, "{}"),))).hex() == "0106010702027b7d"


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_cut_short_anywhere_it_is_the_peers_fault(frame):
    data = encode_frame(frame)
    for size in range(min(len(data), 200)):
        assert refused(data[:size]).reason in (Reason.MALFORMED_FRAME, Reason.MALFORMED_UPDATE)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_nothing_may_follow(frame):
    assert "follow" in refused(encode_frame(frame) + b"\x00").detail


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (uint(2), "of a known type"),
        (uint(109), "of a known type"),
        (uint(0) + uint(3), "step 1, step 2 or update"),
        (uint(101) + uint(2) + uint(0), "at most 1"),
        (uint(101) + uint(1) + uint(1), "no more than fit"),
        (uint(1) + block(uint(2) + bytes(4)), "no more than fit"),
        (uint(1) + block(uint(1) + uint(CLIENT_MAX + 1)), "at most"),
        (uint(1) + block(uint(1) + uint(7) + uint(2**32) + block(b"{}")), "at most"),
        (uint(1) + block(uint(0) + b"x"), "1 bytes follow"),
        (uint(1) + block(uint(1) + uint(7) + uint(1) + block(b"\xff")), "UTF-8"),
        (uint(102) + NODE + uint(2**32) + uint(0), "at most"),
        (uint(102) + HEAD + uint(9), "no more than fit"),
        (uint(102) + HEAD + uint(1) + uint(0) + uint(CLOCK_END + 1) + uint(0) + HASH, "at most"),
        (uint(103) + HEAD + uint(1) + uint(4) + uint(4), "rising, none empty"),
        (uint(103) + HEAD + uint(2) + b"\x00\x05\x04\x09", "rising, none empty"),
        (uint(102) + HEAD + uint(1) + uint(4) + uint(3) + uint(0) + HASH, "rising, none empty"),
        (uint(103) + HEAD + uint(9), "no more than fit"),
        (uint(104) + HEAD + uint(9), "no more than fit"),
        (uint(104) + HEAD + uint(1) + uint(CLOCK_END) + block(b"v" * 80), "at most"),
        (uint(104) + HEAD + uint(1) + uint(0) + block(HUGE), "at most"),
        (uint(105) + HEAD + uint(CLOCK_END) + bytes(192), "at most"),
        (uint(106) + HEAD + uint(CLOCK_END + 1), "at most"),
        (uint(107) + NODE + uint(2), "at most 1"),
        (uint(107) + NODE + uint(0) + uint(2**53), "at most"),
        (uint(107) + NODE + uint(0) + uint(0) + HASH + uint(9), "no more than fit"),
        (uint(108) + HASH + block(b"w" * 41), "at most 40"),
        (uint(108) + HASH + block(b"\xff"), "UTF-8"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_invalid_frame_is_refused(data, why):
    fault = refused(data)
    assert fault.reason is Reason.MALFORMED_FRAME
    assert why in fault.detail


@pytest.mark.parametrize(
    ("number", "bound", "each"),
    [
        (102, limits.RANGES_PER_FRAME_MAX, 35),
        (103, limits.RANGES_PER_FRAME_MAX, 2),
        (104, limits.RECORDS_PER_FRAME_MAX, 64),
    ],
)
def test_more_things_than_a_frame_may_hold_are_refused(number, bound, each):
    data = uint(number) + HEAD + uint(bound + 1) + bytes(each * (bound + 1))
    assert f"at most {bound}" in refused(data).detail


def test_too_many_presences_or_feeds_are_refused():
    count = limits.AWARENESS_ENTRIES_MAX + 1
    assert "at most" in refused(uint(1) + block(uint(count) + bytes(3 * count))).detail
    count = limits.FEEDS_PER_FRAME_MAX + 1
    assert "at most" in refused(uint(101) + uint(1) + uint(count) + bytes(66 * count)).detail


def test_invalid_state_vector_keeps_its_reason():
    assert refused(uint(0) + uint(0) + block(b"\x01")).reason is Reason.MALFORMED_UPDATE


def test_a_frame_over_the_bound_is_refused_unread():
    fault = refused(bytes(limits.FRAME_BYTES_MAX + 1))
    assert fault.reason is Reason.TOO_LARGE
    assert str(limits.FRAME_BYTES_MAX + 1) in fault.detail
