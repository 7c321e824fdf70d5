import pytest

from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord, PeerFault, Reason
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId, H, RecordRef
from crdt.records.bodies import Carried, Story, encode_body, parse_body
from crdt.records.record import (
    SignedRecord,
    record_id_of,
    sign_record,
    signed_bytes,
    signed_bytes_and_id,
    signed_record,
    stored_record,
)
from crdt.records.signatures import verify_batch
from machines.values import Instant, NodePubkey, StoryId
from tests.support.builders.vectors import CLUSTER, KEYS, RECORDS, feed_of

[KEY, *_] = KEYS.values()
BODY = Story(at=Instant("2026-11-24T02:00:00.000Z"), n=4, story=StoryId("s"))


def holds(cluster, row):
    record = signed_record(feed_of(row), row["clock"], bytes.fromhex(row["value"]))
    message, _ = signed_bytes_and_id(cluster, record)
    return verify_batch([(record.feed.author, message, record.signature)]) == [True]


@pytest.mark.parametrize("row", RECORDS["records"], ids=lambda row: row["name"])
def test_records_made_outside_the_project(row):
    feed, clock, value = feed_of(row), row["clock"], bytes.fromhex(row["value"])
    record = signed_record(feed, clock, value)
    message, record_id = signed_bytes_and_id(CLUSTER, record)
    assert record.body_bytes == row["body"].encode()
    assert record.signature + record.body_bytes == value
    assert message.hex() == row["signed_bytes"]
    assert message == signed_bytes(CLUSTER, feed, clock, H(record.body_bytes))
    assert record_id.hex() == row["record_id"]
    assert record_id == record_id_of(CLUSTER, feed, clock, record.body_bytes)
    assert holds(CLUSTER, row)
    body = parse_body(record.body_bytes)
    if not isinstance(body, Carried):
        again = sign_record(KEYS[row["pubkey"]], CLUSTER, row["incarnation"], clock, body)
        # Ed25519 is deterministic (RFC 8032 §5.1.6).
        assert (again.value, again.record_id, again.feed) == (value, record_id, feed)


@pytest.mark.parametrize("row", RECORDS["wrong_signatures"], ids=lambda row: row["name"])
def test_moved_record_is_invalid(row):
    assert not holds(bytes.fromhex(row["cluster_id"]), row)


def test_signed_bytes_have_the_stated_widths():
    feed = FeedId(NodePubkey(b"p" * 32), 0x01020304)
    said = signed_bytes(CLUSTER, feed, 0x05060708, b"h" * 32)
    position = bytes([1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8])
    assert said == b"gangline/record/1" + CLUSTER + b"p" * 32 + position + b"h" * 32


@pytest.mark.parametrize("size", [0, 63, 64, 65, limits.RECORD_BYTES_MAX + 1])
def test_value_of_impossible_size_is_refused(size):
    with pytest.raises(PeerFault) as caught:
        signed_record(FeedId(KEY.pubkey, 0), 0, b"x" * size)
    assert caught.value.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("size", [66, limits.RECORD_BYTES_MAX])
def test_value_of_possible_size_is_accepted(size):
    record = signed_record(FeedId(KEY.pubkey, 0), 0, b"s" * 64 + b"b" * (size - 64))
    assert record == SignedRecord(FeedId(KEY.pubkey, 0), 0, record.value)
    assert (record.signature, record.body_bytes[:1]) == (b"s" * 64, b"b")


def test_signed_record_has_its_reference():
    record = sign_record(KEY, CLUSTER, 7, 9, BODY)
    assert record.ref == RecordRef(KEY.pubkey, 7, 9, record.record_id)
    assert record.ref.feed == record.feed == FeedId(KEY.pubkey, 7)
    assert record.stamp == Stamp(BODY.at, 4)
    assert record.value[64:] == encode_body(BODY)
    place = f"{KEY.pubkey.short}/7 #9 story {record.record_id.hex()[:8]}"
    assert repr(record) == f"VerifiedRecord({place})"


def test_a_record_keeps_its_bytes_once():
    record = sign_record(KEY, CLUSTER, 0, 0, BODY)
    assert not hasattr(record, "__dict__")
    kept = [getattr(record, name) for name in record.__slots__]
    assert [value for value in kept if type(value) is bytes] == [record.value]


def test_a_body_that_breaks_a_bound_is_not_signed():
    with pytest.raises(MalformedRecord):
        sign_record(KEY, CLUSTER, 0, 0, Story(at=BODY.at, n=-1, story=BODY.story))


def test_a_row_of_the_store_comes_back():
    record = sign_record(KEY, CLUSTER, 3, 5, BODY)
    again = stored_record(*record.ref, record.value)
    assert (again.ref, again.body, again.value) == (record.ref, record.body, record.value)


def test_a_damaged_row_is_noticed():
    record = sign_record(KEY, CLUSTER, 3, 5, BODY)
    author, incarnation, clock, record_id = record.ref
    for value in (b"", record.value[:64], record.value[:-1], record.value[:70] + b"\x00"):
        with pytest.raises(MalformedRecord):
            stored_record(author, incarnation, clock, record_id, value)
    with pytest.raises(MalformedRecord):
        stored_record(author, incarnation, clock, record_id[:31], record.value)
