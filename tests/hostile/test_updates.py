"""Updates that no honest node would send, as bytes, to a real replica."""

import pytest

from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId
from crdt.primitives.varint import block, uint
from crdt.wire.messages import Records, SyncStep1, SyncStep2, Update, encode_frame
from crdt.wire.yjs_update import CLOCK_END
from machines import pipeline as p
from machines.values import FreeText
from tests.support.builders import hostile_acts as acts
from tests.support.harness.hostile_cluster import peak_of

ANY, BINARY, DELETED, ORIGIN = 8, 3, 1, 0x80
NO_DELETES = b"\x00"
FREED = 64
"""How many times the size of a message its reading may take in memory."""


@pytest.fixture
def root(siege):
    return FeedId(siege.bringer, 0).root.encode()


@pytest.fixture
def client(siege):
    return FeedId(siege.bringer, 0).client_id(siege.found.id)


def update(structs, *, client, clock=0, count=1, clients=1, deletes=NO_DELETES):
    return uint(clients) + uint(count) + uint(client) + uint(clock) + structs + deletes


def item(root, content, info=ANY):
    return bytes([info]) + uint(1) + block(root) + content


def values(*of):
    return uint(len(of)) + b"".join(b"t" + block(value) for value in of)


def good(siege, root, client, title="good"):
    value = siege.pen.story("good", title=title, clock=0).value
    return update(item(root, values(value)), client=client)


def test_what_the_others_spoil_is_taken_as_it_is(siege, root, client):
    """The bytes that the rest of this page starts from are good ones."""
    ready = siege.bring(encode_frame(Update(good(siege, root, client))))
    assert ready.fault is None
    assert "good" in siege.replicas[2].ledger.board


# --- clocks --------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [2**31, 2**32, 2**53 - 1])
def test_a_clock_past_the_last_is_refused(siege, client, clock):
    content = bytes([ANY | ORIGIN]) + uint(client) + uint(clock - 1) + values(b"x" * 80)
    siege.update_refused(update(content, client=client, clock=clock), Reason.MALFORMED_UPDATE)


@pytest.mark.parametrize("length", [CLOCK_END, 2**31 - 1, 2**53 - 1])
def test_a_run_past_the_last_clock_is_refused(siege, client, length):
    content = bytes([DELETED | ORIGIN]) + uint(client) + uint(4) + uint(length)
    siege.update_refused(update(content, client=client, clock=5), Reason.MALFORMED_UPDATE)


def test_a_few_bytes_that_claim_all_of_a_victims_clocks_silence_nobody(siege):
    victim = siege.feed_of(1)
    head = victim.next_clock
    gap = acts.false_gap(victim.id, siege.found.id, CLOCK_END, start=head)
    ready = siege.bring(encode_frame(gap))
    assert ready.fault is None  # it says that something is gone, which is true every day
    assert siege.replicas[0].document.end(siege.feed_of(1).id) == head
    siege.unharmed()
    assert siege.replicas[0].document.end(siege.feed_of(1).id) == head + 1
    siege.agree()


def test_a_deletion_of_anothers_records_is_taken_from_nobody(siege):
    siege.add(1, "kept")
    siege.deliver()
    victim = siege.feed_of(1)
    deletes = uint(1) + uint(victim.client_id) + uint(1) + uint(0) + uint(victim.next_clock)
    ready = siege.bring(encode_frame(Update(b"\x00" + deletes)))
    assert ready.fault is None
    assert not ready.persist.rows
    siege.unharmed()
    assert all("kept" in replica.ledger.board for replica in siege.honest)
    siege.agree()


# --- whose feed it is ----------------------------------------------------------------------


def test_a_client_id_that_is_not_its_authors_is_refused(siege, root, client):
    siege.update_refused(good(siege, root, client ^ 1), Reason.MALFORMED_UPDATE)
    victim = siege.feed_of(1).client_id
    siege.update_refused(good(siege, root, victim), Reason.MALFORMED_UPDATE)


@pytest.mark.parametrize(
    "root",
    [
        b"stories",
        b"feed/../0",
        b"feed/" + b"A" * 64 + b"/0",
        b"feed/" + b"a" * 64 + b"/00",
        b"feed/" + b"a" * 64 + b"/4294967296",
        b"feed/" + b"a" * 64 + b"/0\x00",
        b"feed/" + b"\xff" * 64 + b"/0",
    ],
)
def test_a_root_of_another_form_is_refused(siege, client, root):
    value = siege.pen.story("x", clock=0).value
    siege.update_refused(update(item(root, values(value)), client=client), Reason.MALFORMED_UPDATE)


# --- bytes ---------------------------------------------------------------------------------

NESTED = b"u" + uint(1)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda r, c: update(item(r, uint(1) + NESTED * 30_000 + b"~"), client=c),
                     id="arrays nested 30,000 deep"),
        pytest.param(lambda r, c: update(item(r, uint(1) + (b"v" + uint(1) + block(b"k")) * 30_000),
                     client=c), id="objects nested 30,000 deep"),
        pytest.param(lambda r, c: update(item(r, uint(2**53 - 1) + b"t" + block(b"x")), client=c),
                     id="a giant count of values"),
        pytest.param(lambda r, c: update(item(r, values(b"x" * 80)), client=c, count=2**40),
                     id="a giant count of structs"),
        pytest.param(lambda r, c: update(b"", client=c, clients=2**53 - 1),
                     id="a giant count of clients"),
        pytest.param(lambda r, c: update(item(r, values(b"x" * 80)), client=c,
                     deletes=uint(2**50)), id="a giant count of deletions"),
        pytest.param(lambda r, c: update(item(r, uint(1) + b"t" + uint(2**52) + b"x"), client=c),
                     id="a giant length"),
        pytest.param(lambda r, c: b"\xff" * 100_000, id="a varint without end"),
        pytest.param(lambda r, c: b"\x81\x00" + update(b"", client=c)[1:], id="a padded varint"),
        pytest.param(lambda r, c: update(item(r, values(b"x" * 80)), client=c)[:-1],
                     id="one byte short"),
        pytest.param(lambda r, c: update(item(r, values(b"x" * 80)), client=c) + b"\x00",
                     id="one byte more"),
        pytest.param(lambda r, c: bytes.fromhex("000002a5010000010406037465737401020101000100"),
                     id="version-2 encoding"),
        pytest.param(lambda r, c: update(b"\x00" + uint(5), client=c), id="garbage collected"),
        pytest.param(lambda r, c: update(b"\x0a" + uint(5), client=c), id="skipped"),
        pytest.param(lambda r, c: update(item(r, block(b"text"), info=4), client=c), id="text"),
        pytest.param(lambda r, c: update(item(r, uint(0), info=7), client=c), id="a type inside"),
        pytest.param(lambda r, c: update(item(r, uint(0)), client=c), id="a run of nothing"),
    ],
)  # fmt: skip
def test_what_is_no_update_of_ours_is_refused_on_its_bytes(siege, root, client, spoil):
    data = encode_frame(Update(spoil(root, client)))
    before = siege.verified
    peak = peak_of(lambda: siege.replicas[0].receive(siege.bringer, data, siege.now))
    assert siege.verified == before, "a signature was checked"
    assert peak < FREED * len(data) + limits.MIB // 4
    siege.refused(data, Reason.MALFORMED_UPDATE)


def test_every_cut_of_a_good_update_is_refused(siege, root, client):
    data = good(siege, root, client)
    for end in range(len(data)):
        ready = siege.replicas[0].receive(
            siege.bringer, encode_frame(Update(data[:end])), siege.now
        )
        assert ready.fault.reason is Reason.MALFORMED_UPDATE
        assert not ready.persist.rows
    siege.unharmed()


@pytest.mark.parametrize("kind", [Update, SyncStep2])
def test_an_update_over_its_bound_is_refused_unread(siege, kind):
    most = limits.UPDATE_BYTES_MAX if kind is Update else limits.CATCHUP_BYTES_MAX
    data = encode_frame(kind(b"\xff" * (most + 1)))
    peak = peak_of(lambda: siege.replicas[0].receive(siege.bringer, data, siege.now))
    assert peak < 3 * len(data)
    siege.refused(data, Reason.TOO_LARGE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x00\x05",
        b"\x63" * 10,
        b"\x68" * 80,
        b"\x6b",
        b"\xff" * 1000,
        b"\x03\x00",
        b"\x01" + block(uint(2**40)),
        b"\x01" + block(uint(257) + b"\x00" * 3 * 257),
        bytes([104]) + b"a" * 32 + uint(2**32) + uint(0),
        bytes([104]) + b"a" * 32 + uint(0) + uint(2**40),
        bytes([103]) + b"a" * 32 + uint(0) + uint(1) + uint(5) + uint(5),
        bytes([103]) + b"a" * 32 + uint(0) + uint(2) + uint(5) + uint(9) + uint(8) + uint(10),
        bytes([101, 2, 0]),
        bytes([105]) + b"a" * 32 + uint(0) + uint(2**31),
    ],
    ids=lambda data: data[:6].hex() or "nothing",
)
def test_what_is_no_frame_is_refused(siege, data):
    siege.refused(data, Reason.MALFORMED_FRAME)


def test_a_frame_over_its_bound_is_refused_unread(siege):
    siege.refused(b"\x00" * (limits.FRAME_BYTES_MAX + 1), Reason.TOO_LARGE)


def test_a_state_vector_of_giant_counts_is_refused(siege):
    data = b"\x00\x00" + block(uint(2**52) + b"\x01\x01")
    siege.refused(data, Reason.MALFORMED_UPDATE)


def test_a_state_vector_of_clients_nobody_knows_is_answered_in_bounds(siege):
    """Asking for everything is no fault; the answer is what there is."""
    vector = dict.fromkeys(range(1, 20000), CLOCK_END)
    siege.link(0, 3)
    siege.wire.clear()
    ready = siege.replicas[0].receive(siege.bringer, encode_frame(SyncStep1(vector)), siege.now)
    assert ready.fault is None
    assert sum(len(out.data) for out in ready.reply) < limits.CATCHUP_BYTES_MAX
    siege.unharmed()


# --- what waits ----------------------------------------------------------------------------


def test_records_with_parents_that_nobody_has_are_bounded_and_looked_at_once(siege, monkeypatch):
    """CVE-2024-31208: what waits must not be gone through again for each that comes."""
    monkeypatch.setattr(limits, "STORY_EVENTS_BURST", 10_000)  # another bound than the one at hand
    nowhere = siege.pen.transition("s-1", p.GatesStarted(), siege.event, clock=10**6)
    many = 2 * limits.PENDING_PER_AUTHOR_MAX
    bomb = [siege.pen.transition("s-1", p.GatesFailed(FreeText("x")), nowhere) for _ in range(many)]
    before = siege.verified
    rows = tuple((record.clock, record.value) for record in bomb)
    frames = [
        encode_frame(Records(siege.bringer, 0, rows[start : start + 500]))
        for start in range(0, many, 500)
    ]
    for data in frames:
        assert siege.bring(data).fault is None
    ledger = siege.replicas[0].ledger
    assert len(ledger.pending) == limits.PENDING_PER_AUTHOR_MAX
    assert siege.verified - before == many
    siege.unharmed()
    # The parent comes: what waited is judged, and what did not fit is fetched again later.
    siege.show(nowhere)
    assert len(ledger.pending) == 0
    siege.unharmed()


def test_a_story_of_a_thousand_concurrent_events_takes_so_many_steps(siege, monkeypatch):
    steps = 0
    rule = p.PIPELINE._rule

    def counted(*args):
        nonlocal steps
        steps += 1
        return rule(*args)

    monkeypatch.setattr(type(p.PIPELINE), "_rule", lambda _self, *args: counted(*args))
    root = siege.event
    events = [siege.pen.transition("s-1", p.Block(FreeText("x")), root) for _ in range(1000)]
    rows = tuple((record.clock, record.value) for record in events)
    for start in range(0, 1000, 250):
        siege.bring(encode_frame(Records(siege.bringer, 0, rows[start : start + 250])))
    assert len(siege.replicas[2].ledger.board.state("s-1").events) == 1001
    # Three replicas, four messages: each event a few times, and not each beside each other.
    assert 1000 <= steps < 3 * 4 * 3 * 1000
    siege.unharmed()
