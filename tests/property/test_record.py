"""A record's bytes and what they say are one: every body, every slot, every way to spoil it."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from crdt.primitives.canonical_json import encode as canonical
from crdt.primitives.errors import MalformedRecord
from crdt.primitives.identity import ClusterId, FeedId, SigningKey
from crdt.records.bodies import Carried, encode_body, parse_body
from crdt.records.record import (
    SignedRecord,
    record_id_of,
    sign_record,
    signed_bytes_and_id,
    signed_record,
    stored_record,
)
from crdt.records.signatures import verify_batch
from tests.support.builders import bodies
from tests.support.builders.vectors import RECORDS

OK = [bytes.fromhex(row["body_hex"]) for row in RECORDS["bodies"] if row["verdict"] == "ok"]
WRITTEN = [row["body"].encode() for row in RECORDS["records"]] + OK
PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b".", b"e", b"null", b"true"]
KEY = SigningKey(b"k" * 32)
CLUSTER = ClusterId(b"c" * 32)


def read(data):
    """What the bytes say; ``None`` where they are malformed. Nothing else may happen."""
    try:
        return parse_body(data)
    except MalformedRecord as fault:
        assert len(str(fault)) < 400
        assert str(fault).isascii()
        assert str(fault).isprintable()
        return None


def assert_exact(data):
    """Whatever is accepted is accepted as these bytes and no others."""
    body = read(data)
    if body is None:
        return
    assert canonical(json.loads(data)) == data
    if not isinstance(body, Carried):
        assert encode_body(body) == data


@given(bodies.known_bodies)
def test_what_is_written_is_read_back(body):
    data = encode_body(body)
    again = parse_body(data)
    assert again == body
    assert hash(again) == hash(body)
    assert (again.kind, again.key, again.stamp) == (body.kind, body.key, body.stamp)
    assert json.loads(data)["kind"] == body.kind


@st.composite
def spoilt(draw):
    data = draw(st.sampled_from(WRITTEN) | bodies.known_bodies.map(encode_body))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 4))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=3) | st.just(data[at : at + 9]))
        data = data[:at] + piece + data[at + length :]
    return data


@given(spoilt())
@settings(max_examples=500)
@example(b"")
@example(b'{"kind":[]}')
@example(b'{"kind":"seal"}')
def test_spoilt_bytes_are_exact_or_malformed(data):
    assert_exact(data)


@st.composite
def misfits(draw):
    """Canonical JSON of the right kind, with a field that is gone, added or of another sort."""
    fields = json.loads(draw(st.sampled_from(WRITTEN)))
    values = st.none() | st.booleans() | st.integers(-2, 70000) | st.sampled_from(
        ["", "x", "\n", "ab" * 32, [], {}, [[]], [None], "2026-11-24T02:00:00.000Z", "z" * 5000]
    )  # fmt: skip
    inside = [fields, *(value for value in fields.values() if isinstance(value, dict))]
    target = draw(st.sampled_from(inside))
    name = draw(st.sampled_from([*target, "key", "extra", "released", "since", "nonce"]))
    if draw(st.booleans()):
        target.pop(name, None)
    else:
        target[name] = draw(values)
    return canonical(fields)


@given(misfits())
@settings(max_examples=500)
def test_fields_that_do_not_fit_are_exact_or_malformed(data):
    assert_exact(data)


@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_any_bytes_are_exact_or_malformed(data):
    assert_exact(data)


@given(bodies.known_bodies, bodies.incarnations, bodies.clocks)
@settings(max_examples=50)
def test_a_record_holds_in_its_slot_and_nowhere_else(body, incarnation, clock):
    record = sign_record(KEY, CLUSTER, incarnation, clock, body)
    here = signed_record(record.feed, clock, record.value)
    elsewhere = [
        (CLUSTER, here),
        (CLUSTER, SignedRecord(record.feed, clock ^ 1, record.value)),
        (CLUSTER, SignedRecord(FeedId(KEY.pubkey, incarnation ^ 1), clock, record.value)),
        (CLUSTER, SignedRecord(FeedId(SigningKey(b"o" * 32).pubkey, 0), clock, record.value)),
        (ClusterId(b"d" * 32), here),
        (CLUSTER, SignedRecord(record.feed, clock, record.value + b" ")),
        (CLUSTER, SignedRecord(record.feed, clock, b"\0" + record.value[1:-1] + b"}")),
    ]
    said = [signed_bytes_and_id(cluster, where) for cluster, where in elsewhere]
    jobs = [
        (where.feed.author, message, where.signature)
        for (_, where), (message, _) in zip(elsewhere, said, strict=True)
    ]
    holds = verify_batch(jobs)
    assert holds[0]
    # The last one is the record itself where its signature happens to start with a zero byte.
    assert holds[1:6] == [False] * 5
    assert holds[6] == (record.value[0] == 0)
    assert said[0][1] == record.record_id
    assert record.record_id == record_id_of(CLUSTER, record.feed, clock, here.body_bytes)
    assert len({record_id for _, record_id in said[:6]}) == 6


@given(bodies.known_bodies, bodies.incarnations, bodies.clocks)
@settings(max_examples=50)
def test_a_stored_row_comes_back_as_it_was(body, incarnation, clock):
    record = sign_record(KEY, CLUSTER, incarnation, clock, body)
    again = stored_record(*record.ref, record.value)
    assert (again.feed, again.clock, again.value) == (record.feed, record.clock, record.value)
    assert (again.body, again.ref, again.stamp) == (record.body, record.ref, record.stamp)
