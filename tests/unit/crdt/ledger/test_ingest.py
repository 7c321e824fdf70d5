import pytest

from crdt.contract.ready import Row
from crdt.ledger import ingest
from crdt.ledger.ingest import (
    Arrivals,
    OpenedMessage,
    UndecodableRecord,
    locate_records,
    locate_slices,
    stored_records,
    verify,
    verify_records,
)
from crdt.primitives import limits
from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role, Story
from crdt.records.record import record_id_of, signed_record
from crdt.records.signatures import verify_batch
from crdt.wire.messages import Proof, Records, SyncStep2, Update
from crdt.wire.yjs_update import FeedSlice, encode_update


def opened(court, *signed):
    return verify_records(signed, court.cluster, court.founder.node, verify_batch)


def signed(record):
    return signed_record(record.feed, record.clock, record.value)


def signed_over(pen, body, clock=0):
    """A record of any bytes at all, truly signed."""
    return signed(pen.sign_bytes(body, clock=clock))


def value(letter):
    return letter * 80


def test_a_slice_from_the_root_says_whose_feed_it_is(court):
    feed = FeedId(court.bob.node, 3)
    client = feed.client_id(court.cluster)
    piece = FeedSlice(client, feed.root, 0, 4, [(0, value(b"a")), (3, value(b"b"))], [(1, 2)])
    arrivals = locate_slices([piece], court.cluster, {})
    records = [signed_record(feed, 0, value(b"a")), signed_record(feed, 3, value(b"b"))]
    assert arrivals == Arrivals(records, [(feed, 1, 3)])


def test_a_slice_that_goes_on_is_placed_where_its_client_is_known(court):
    feed = FeedId(court.bob.node, 0)
    pieces = [
        FeedSlice(5, None, 7, 8, [(7, value(b"a"))], []),
        FeedSlice(6, None, 7, 8, [(7, value(b"b"))], []),
    ]
    arrivals = locate_slices(pieces, court.cluster, {5: feed})
    assert arrivals.records == [signed_record(feed, 7, value(b"a"))]
    assert arrivals.unplaced == 1


def test_a_slice_under_a_client_id_of_several_feeds_is_nobodys(court):
    """Tried as the wrong one's, a true record would look forged. With its root it is placed."""
    feed = FeedId(court.bob.node, 0)
    client = feed.client_id(court.cluster)
    rest = FeedSlice(client, None, 7, 9, [(7, value(b"a"))], [(8, 1)])
    assert locate_slices([rest], court.cluster, {client: None}) == Arrivals([], [], 1)
    first = FeedSlice(client, feed.root, 0, 1, [(0, value(b"a"))], [])
    assert locate_slices([first], court.cluster, {client: None}).unplaced == 0


def test_a_client_id_that_is_not_its_roots_is_the_peers_fault(court):
    feed = FeedId(court.bob.node, 0)
    piece = FeedSlice(feed.client_id(court.cluster) ^ 1, feed.root, 0, 1, [(0, value(b"a"))], [])
    with pytest.raises(PeerFault) as caught:
        locate_slices([piece], court.cluster, {})
    assert caught.value.reason is Reason.MALFORMED_UPDATE


def test_what_is_too_short_for_a_record_is_the_peers_fault(court):
    piece = FeedSlice(5, None, 7, 8, [(7, b"short")], [])
    with pytest.raises(PeerFault) as caught:
        locate_slices([piece], court.cluster, {5: FeedId(court.bob.node, 0)})
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_records_whose_signature_holds_are_read_whatever_stands_beside_them(court):
    true, moved = court.bob.story("a"), court.bob.story("b")
    forged = signed_record(moved.feed, moved.clock + 5, moved.value)
    found = opened(court, forged, signed(true))
    [record] = found.records
    assert (record.ref, record.body, record.value) == (true.ref, true.body, true.value)
    assert found.forged == [forged]
    fault = found.fault()
    assert fault.reason is Reason.BAD_SIGNATURE
    said = f"the record at {court.bob.node.short}/0#6 was not signed by the node that it names as"
    assert fault.detail == f"{said} its author"
    found.forged += [forged, forged]
    assert found.fault().detail == f"{said} its author, nor were 2 more"


def test_work_may_be_interrupted_between_a_few_signatures(court, monkeypatch):
    monkeypatch.setattr(ingest, "CHECKED_AT_ONCE", 2)
    seen = []

    def verifier(jobs):
        seen.append(len(jobs))
        return verify_batch(jobs)

    records = [court.bob.story(title) for title in "abcde"]
    signed = [signed_record(one.feed, one.clock, one.value) for one in records]
    opened = verify_records(
        signed, court.cluster, court.founder.node, verifier, lambda: seen.append("checkpoint")
    )
    assert [one.record_id for one in opened.records] == [one.record_id for one in records]
    assert seen == ["checkpoint", 2, "checkpoint", 2, "checkpoint", 1]


def test_a_body_that_is_no_body_is_its_authors_doing(court):
    [record] = opened(court, signed_over(court.bob, b'{"kind":"story"}', 4)).records
    assert isinstance(record, UndecodableRecord)
    feed = FeedId(court.bob.node, 0)
    assert record.record_id == record_id_of(court.cluster, feed, 4, b'{"kind":"story"}')
    assert record.ref == (*feed, 4, record.record_id)
    assert record.detail


def test_the_founding_record_alone_carries_a_nonce(court):
    [founding] = opened(court, signed(court.found.record)).records
    assert founding.body == court.found.body
    elsewhere = [
        court.founder.write(court.found.body, clock=1),
        court.founder.write(court.found.body, clock=0, incarnation=2),
        court.bob.write(court.found.body, clock=0),
    ]
    for record in opened(court, *map(signed, elsewhere)).records:
        assert isinstance(record, UndecodableRecord)
        assert "nonce" in record.detail


def test_another_cluster_is_not_founded_in_this_one(court):
    """The same founder, the same slot, another nonce: the cluster's id is not made of it."""
    other = type(court.found.body)(
        at=court.found.body.at, n=9, node=court.founder.node, role=Role.ADMIN, name="den",
        nonce=court.found.body.nonce,
    )  # fmt: skip
    [record] = opened(court, signed(court.founder.write(other, clock=0))).records
    assert isinstance(record, UndecodableRecord)


def test_a_member_without_a_nonce_is_read(court):
    record = court.founder.member(court.sam.node, Role.MEMBER)
    assert opened(court, signed(record)).records[0].body == record.body
    assert isinstance(opened(court, signed(court.bob.story("a"))).records[0].body, Story)


def test_rows_are_read_back_and_those_that_hold_no_record_are_counted(court):
    records = [court.bob.story(name, ms=court.ms + place) for place, name in enumerate("ab")]
    rows = [Row(*record.ref, record.value) for record in reversed(records)]
    rows.insert(1, rows[0]._replace(value=rows[0].value[:-1]))
    found, damaged = stored_records(rows)
    assert [(r.ref, r.value, r.body) for r in found] == [(r.ref, r.value, r.body) for r in records]
    assert damaged == 1


def test_a_message_is_verified_apart_from_any_replica(court):
    true, moved = court.bob.story("a"), court.bob.story("b")
    forged = signed_record(moved.feed, moved.clock + 5, moved.value)
    frame = Records(*true.feed, ((true.clock, true.value), (forged.clock, forged.value)))
    located = locate_records(frame, court.cluster, {})
    message = OpenedMessage(
        court.cluster, court.founder.node, court.cat.node, b"", frame, located.records
    )
    opened, batch = verify(message, verify_batch)
    assert opened is message
    assert [record.ref for record in batch.records] == [true.ref]
    assert batch.forged == [forged]


def test_a_frame_brings_records_by_position_or_in_an_update(court):
    record = court.bob.story("a")
    feed = record.feed
    piece = FeedSlice(feed.client_id(court.cluster), feed.root, 0, 2, [(0, record.value)], [(1, 1)])
    update = encode_update([piece])
    for frame in (Update(update), SyncStep2(update)):
        located = locate_records(frame, court.cluster, {})
        assert located == Arrivals([signed(record)], [(feed, 1, 2)])
    proof = Proof(*feed, 0, ((b"", b""), (b"", b"")))
    assert locate_records(proof, court.cluster, {}) == Arrivals([], [])


@pytest.mark.parametrize(
    ("kind", "most"),
    [(Update, limits.UPDATE_BYTES_MAX), (SyncStep2, limits.CATCHUP_BYTES_MAX)],
)
def test_what_answers_a_state_vector_may_be_longer(court, kind, most):
    with pytest.raises(PeerFault) as caught:
        locate_records(kind(bytes(most + 1)), court.cluster, {})
    assert caught.value.reason is Reason.TOO_LARGE
    with pytest.raises(PeerFault) as caught:
        locate_records(kind(bytes(most)), court.cluster, {})
    assert caught.value.reason is Reason.MALFORMED_UPDATE
