"""Whole replicas, with real signed records, carried by hand."""

import pytest

from crdt.authoring.intents import AddStory, AdmitNode, ClaimStory, FireEvent, RevokeNode
from crdt.authoring.roster_intents import Demote, Rename, Replace
from crdt.contract.ready import IncarnationOpened, Noticed, Now, OwnEnd, PetitionAnswered, Row
from crdt.ledger.judge import Deferred
from crdt.primitives import limits
from crdt.primitives.errors import NotWritable, ProposalRefused, Reason
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role, Transition
from crdt.records.fork_proof import proof_of, proof_side
from crdt.wire.messages import (
    DigestOffer,
    Proof,
    Records,
    SyncStep1,
    Update,
    decode_frame,
    encode_frame,
)
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines import pipeline as p
from machines.values import BranchName, FreeText, Instant, Label, StoryId
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.record_author import RecordAuthor, as_frame

BRANCH = BranchName("feature/x")


@pytest.fixture
def trio():
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    cluster.settle(3)
    return cluster


def test_a_message_lost_costs_one_anti_entropy_period(trio):
    trio.add(0, "s-1")
    trio.wire.clear()
    trio.fire(0, "s-1", p.DepsMet())
    trio.wire.clear()
    assert len(trio.digests()) == 2
    trio.settle()
    trio.assert_agreed()


# What a peer may send


def shown(cluster, number, sender, data):
    """A node is handed bytes, and what it says is carried out."""
    ready = cluster.replicas[number].receive(cluster.keys[sender].pubkey, data, cluster.now)
    cluster.carry(number, ready)
    return ready


def test_bytes_that_are_no_frame_are_the_peers_fault_and_change_nothing(trio):
    before = trio.replicas[0].document_digest()
    ready = shown(trio, 0, 1, b"\xff")
    assert ready.fault.reason is Reason.MALFORMED_FRAME
    assert ready.observe == [ready.fault]
    [row] = ready.quarantine
    assert (row.peer, row.value) == (trio.keys[1].pubkey, b"\xff")
    assert trio.replicas[0].document_digest() == before


def test_true_records_beside_a_forged_one_are_merged_and_the_bringer_is_dropped(trio):
    pen = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=50)
    one, two = pen.story("a"), pen.story("b")
    rows = ((50, one.value), (51, one.value[:64] + two.value[64:]))
    ready = shown(trio, 0, 2, encode_frame(Records(pen.node, 0, rows)))
    assert ready.fault.reason is Reason.BAD_SIGNATURE
    assert "a" in trio.replicas[0].ledger.board
    assert "b" not in trio.replicas[0].ledger.board


def test_a_proof_of_a_fork_cuts_the_feed_and_hands_the_author_what_it_took(trio):
    pen = RecordAuthor(trio.keys[2], trio.found.id, trio.ms, clock=9)
    kept = pen.story("kept")
    shown(trio, 0, 2, as_frame(kept))
    trio.wire.clear()
    one, two = (pen.story(title, clock=9) for title in "ab")
    sides = proof_of(one.feed, 9, proof_side(one.value), proof_side(two.value)).sides
    shown(trio, 0, 1, encode_frame(Proof(pen.node, 0, 9, sides)))
    assert "kept" not in trio.replicas[0].ledger.board
    trio.pass_time(limits.ANTI_ENTROPY_SECONDS)
    ready = trio.replicas[0].tick(trio.now)
    back = [out for out in ready.publish if out.peers == (pen.node,)]
    assert as_frame(kept) in [out.data for out in back]


def test_more_of_one_author_than_is_taken_is_told_and_comes_later(trio, monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 2)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_PER_SECOND", 1.0)
    fresh = trio.make(trio.keys[0])
    fresh.replay(trio.stores[0].values(), (), {}, trio.now)
    pen = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=20)
    records = [pen.story(name) for name in "abc"]
    ready = fresh.receive(pen.node, as_frame(*records), trio.now)
    assert [n.what for n in ready.observe if isinstance(n, Noticed)] == ["flood"]
    assert "c" not in fresh.ledger.board
    later = Now(trio.now.wall, trio.now.mono + 5)
    fresh.receive(pen.node, as_frame(*records), later)
    assert "c" in fresh.ledger.board


def test_a_gap_in_anothers_feed_is_believed_as_far_as_a_record_follows(trio):
    pen = RecordAuthor(trio.keys[2], trio.found.id, trio.ms, clock=3)
    record = pen.story("a")
    client = record.feed.client_id(trio.found.id)
    piece = FeedSlice(client, record.feed.root, 0, 6, [(3, record.value)], [(0, 3), (4, 2)])
    shown(trio, 0, 1, encode_frame(Update(encode_update([piece]))))
    assert list(trio.replicas[0].ledger.feeds[record.feed].gaps()) == [(0, 3)]


def test_a_gap_in_the_own_feed_is_believed_of_nobody(trio):
    mine = trio.replicas[1].ledger.feeds[FeedId(trio.keys[1].pubkey, 0)]
    before = list(mine.gaps())
    pen = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=mine.next_clock + 3)
    record = pen.story("a")
    records, gaps = [(record.clock, record.value)], [(mine.next_clock, 3)]
    piece = FeedSlice(
        mine.client_id, mine.id.root, mine.next_clock, record.clock + 1, records, gaps
    )
    shown(trio, 1, 0, encode_frame(Update(encode_update([piece]))))
    assert list(mine.gaps()) == before


# Stamps


def test_a_member_who_stamps_as_far_ahead_as_it_may_holds_up_no_write(trio):
    """The counter is used up at every millisecond: others can follow it, and be followed."""
    trio.add(0, "s-1")
    trio.deliver()
    pen = RecordAuthor(trio.keys[2], trio.found.id, trio.ms, incarnation=5)
    for turn in range(3):
        edge = Instant.from_ms(trio.ms + limits.STAMP_AHEAD_MS_MAX)
        for n in (limits.STAMP_COUNTER_MAX - 1, limits.STAMP_COUNTER_MAX):
            bad = Transition(at=edge, n=n, story=StoryId("s-1"), event=p.DepsMet(), parent=None)
            trio.hand(2, 0, as_frame(pen.write(bad)))
        trio.deliver()
        for _ in range(2):
            trio.propose(0, FireEvent(StoryId("s-1"), p.GatesStarted()))
            trio.propose(0, FireEvent(StoryId("s-1"), p.GatesFailed(FreeText("x"))))
        wish = Rename(trio.keys[1].pubkey, FreeText(f"name-{turn}"))
        trio.carry(0, trio.replicas[0].change_roster(wish, trio.now)[0])
        assert trio.replicas[0].ledger.roster.name(trio.keys[1].pubkey) == f"name-{turn}"
        trio.deliver()
        trio.pass_time(0.001)
    trio.settle()
    assert len(trio.replicas[1].ledger.board.state("s-1").events) == 3 * (2 + 4)
    assert trio.replicas[0].incarnation == 0
    trio.ms -= limits.STAMP_LEEWAY_MS // 2
    trio.propose(0, AddStory(StoryId("s-2")))
    assert trio.replicas[0].incarnation == 0, "a clock that was set a little costs no feed"


# Whether a node may write


def why_not(cluster, number, intent=None):
    with pytest.raises(NotWritable) as caught:
        cluster.propose(number, intent or AddStory(StoryId("x")))
    assert str(caught.value) == cluster.replicas[number].write_state(cluster.now).why
    return str(caught.value)


def test_a_node_nobody_admitted_writes_nothing_and_neither_does_an_observer():
    cluster = Cluster(3)
    assert "not on the roster" in why_not(cluster, 1)
    cluster.admit_all(Role.OBSERVER)
    cluster.link_all()
    cluster.deliver()
    assert why_not(cluster, 1) == "an observer writes nothing"
    assert not cluster.replicas[1].seal(cluster.now).persist
    cluster.tick()
    assert FeedId(cluster.keys[1].pubkey, 0) not in cluster.replicas[0].ledger.feeds


def test_what_the_shell_holds_up_is_not_written(trio):
    trio.replicas[0].store_incomplete = "the disk is full"
    assert why_not(trio, 0) == "the disk is full"
    trio.replicas[0].store_incomplete = ""
    trio.add(0, "s-1")


def test_a_wish_for_the_roster_is_written_in_one_go(trio):
    wish = Demote(trio.keys[1].pubkey)
    ready, receipt = trio.replicas[0].change_roster(wish, trio.now)
    assert len(ready.persist.rows) == 2
    assert trio.replicas[0].ledger.roster.role(trio.keys[1].pubkey) is Role.OBSERVER
    assert receipt.author == trio.keys[0].pubkey


def test_what_the_gate_would_not_admit_is_not_written(trio, monkeypatch):
    """Own records pass the door that everybody's pass."""
    monkeypatch.setattr("crdt.ledger.ledger.judge", lambda *_: Deferred(Reason.MISSING_PARENT))
    with pytest.raises(NotWritable) as caught:
        trio.add(0, "s-1")
    assert "the gate would not admit" in str(caught.value)
    assert "s-1" not in trio.replicas[0].ledger.board


def test_a_body_that_breaks_a_bound_is_a_refusal(trio):
    text = FreeText("x" * 4096)
    labels = tuple(Label(f"l{number}" + "x" * 100) for number in range(200))
    with pytest.raises(ProposalRefused) as caught:
        trio.add(0, "s-1", title=FreeText("t"), description=text, labels=labels)
    assert str(caught.value) == "too long"


# Where a node goes on in a new feed


def opened(cluster, number):
    return [one for one in cluster.observed[number] if isinstance(one, IncarnationOpened)]


def test_a_store_in_doubt_makes_the_first_write_open_a_new_feed(trio):
    trio.settle(3)
    trio.restart(1, doubt="the store was restored")
    assert not trio.replicas[1]._ready.persist
    receipt = trio.add(1, "s-1")
    [one] = opened(trio, 1)
    assert (one.incarnation, one.why) == (receipt.incarnation, "the store was restored")
    assert receipt.incarnation == trio.replicas[1].incarnation != 0
    assert trio.add(1, "s-2").incarnation == receipt.incarnation


def test_how_far_the_own_feed_was_written_goes_with_each_own_record(trio):
    first = trio.add(1, "s-1")
    assert trio.ends[1] == OwnEnd(trio.keys[1].pubkey, 0, first.clock + 1)
    trio.add(1, "s-2")
    assert trio.ends[1].clock == first.clock + 2
    pen = RecordAuthor(trio.keys[0], trio.found.id, trio.ms, clock=70)
    assert shown(trio, 1, 0, as_frame(pen.story("theirs"))).persist.own_end is None


def test_a_store_that_holds_less_of_the_own_feed_than_it_says_is_a_restored_one(trio):
    last = trio.add(1, "s-1")
    trio.restart(1)
    assert trio.add(1, "s-2").incarnation == 0
    del trio.stores[1][tuple(trio.add(1, "s-3").ref)]
    trio.restart(1)
    assert "holds less" in trio.replicas[1].doubt
    assert trio.add(1, "s-4").incarnation != last.incarnation
    trio.restart(1, written=OwnEnd(trio.keys[0].pubkey, 0, 1000))  # of the key it had before
    assert trio.replicas[1].doubt == ""


def test_what_the_former_key_wrote_is_known_by_how_far_it_had_written(trio):
    old = trio.keys[1].pubkey
    said = {"former": old, "written": OwnEnd(old, 0, 4), "incarnation": 0}
    replica = trio.make(key(9), **said)
    assert replica.rewriting._former_end == said["written"]
    later = trio.make(key(9), former=old, former_end=said["written"])
    assert later.rewriting._former_end == said["written"]


def test_a_cut_feed_is_gone_on_in_another_and_what_it_lost_is_written_again(trio):
    trio.add(1, "mine", title=FreeText("kept"))
    mine = trio.replicas[1].ledger.feeds[FeedId(trio.keys[1].pubkey, 0)]
    twin = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=0).story("twin")
    first = next(iter(mine.entries())).record
    pen = RecordAuthor(trio.keys[0], trio.found.id, trio.ms, clock=70)
    shown(trio, 1, 0, as_frame(pen.evidence(first, twin)))
    assert "mine" not in trio.replicas[1].ledger.board
    for _ in range(8):
        trio.tick()
    assert trio.replicas[1].ledger.board.story("mine").title == "kept"
    assert "fork of the own feed" in opened(trio, 1)[0].why
    said = [n.detail for n in trio.observed[1] if isinstance(n, Noticed)]
    assert any("was written again at" in one for one in said)


def test_what_cannot_be_written_again_is_reported(trio):
    trio.add(1, "mine")
    trio.fire(1, "mine", p.Abandon())
    mine = trio.replicas[1].ledger.feeds[FeedId(trio.keys[1].pubkey, 0)]
    records = [entry.record for entry in mine.entries()]
    event = next(record for record in records if record.body.kind == "transition")
    named = RecordAuthor(trio.keys[0], trio.found.id, trio.ms + 10, clock=70)
    done = named.transition("mine", p.Block(FreeText("why")))
    twin = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=0).story("twin")
    shown(trio, 1, 0, as_frame(named.evidence(records[0], twin)))
    shown(trio, 1, 0, as_frame(done))
    for _ in range(8):
        trio.tick()
    said = [n.detail for n in trio.observed[1] if isinstance(n, Noticed)]
    assert any("was not written again: the story has moved on" in one for one in said)
    assert trio.replicas[1].ledger.board.state("mine").fold.last.record_id == done.record_id
    assert event.record_id != done.record_id


def test_a_feed_of_which_a_revocation_kept_a_part_is_gone_on_in_another(trio):
    trio.add(1, "before")
    trio.deliver()
    trio.propose(0, RevokeNode(trio.keys[1].pubkey))
    trio.deliver()
    assert "revoked" in why_not(trio, 1)
    trio.propose(0, AdmitNode(trio.keys[1].pubkey, Role.OBSERVER, FreeText("node")))
    trio.deliver()
    assert why_not(trio, 1) == "an observer writes nothing"
    trio.propose(0, AdmitNode(trio.keys[1].pubkey, Role.MEMBER, FreeText("node")))
    trio.deliver()
    assert trio.add(1, "after").incarnation != 0
    assert "admission changed" in opened(trio, 1)[0].why


def test_own_records_stamped_further_ahead_than_others_take_are_left_behind(trio):
    for peer in trio.replicas[1].sessions.peers():
        trio.replicas[1].disconnected(peer)  # else they would tell it that its clock is off
    trio.ms += 3_600_000
    trio.add(1, "early")
    trio.ms -= 3_600_000
    assert trio.add(1, "s-1").incarnation != 0
    assert "further ahead" in opened(trio, 1)[0].why


# At a start


def test_a_damaged_row_is_told_of_and_costs_no_other(trio):
    rows = [*trio.stores[0].values()]
    damaged = rows[-1]._replace(value=b"x" * 90)
    fresh = trio.make(trio.keys[0])
    ready = fresh.replay([*rows[:-1], damaged], (), {}, trio.now)
    assert ready.damage.startswith("1 of its rows hold no record, 0 of")
    assert sum(len(feed.slots) for feed in fresh.ledger.feeds.values()) == len(rows) - 1


def test_a_stored_proof_that_proves_nothing_is_told_of_and_cuts_no_feed(trio):
    pen = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=1)
    shown(trio, 0, 1, as_frame(pen.story("a", clock=1)))
    shown(trio, 0, 1, as_frame(pen.story("b", clock=1)))
    [proof] = trio.proofs[0].values()
    fresh = trio.make(trio.keys[0])
    assert not fresh.replay((), [proof], {}, trio.now).damage
    fresh = trio.make(trio.keys[0])
    ready = fresh.replay(trio.stores[0].values(), [proof._replace(clock=0)], {}, trio.now)
    assert ready.damage.endswith("1 of its proofs prove no fork")
    assert fresh.ledger.fork_of(FeedId(pen.node, 0)) == 1  # the two records show it again


def test_a_proof_that_was_stored_cuts_again_after_a_start(trio):
    pen = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=0)
    shown(trio, 0, 1, as_frame(pen.story("a", clock=0)))
    shown(trio, 0, 1, as_frame(pen.story("b", clock=0)))
    trio.restart(0)
    assert trio.replicas[0].ledger.fork_of(FeedId(pen.node, 0)) == 0


def test_what_was_known_to_be_empty_is_still_known_after_a_start(trio):
    feed_id = FeedId(trio.keys[1].pubkey, 0)
    fresh = trio.make(trio.keys[0])
    rendered = {feed_id: 3, FeedId(trio.keys[2].pubkey, 8): 4}
    record = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=3).story("a")
    row = Row(*record.ref, record.value)
    fresh.replay([*trio.stores[0].values(), row], (), rendered, trio.now)
    assert fresh.document.end(feed_id) == 4
    assert FeedId(trio.keys[2].pubkey, 8) not in fresh.ledger.feeds


def test_unshared_records_are_those_no_peer_said_it_holds(trio):
    trio.settle()
    assert trio.replicas[1].unshared() == 0
    trio.add(1, "s-1")
    assert trio.replicas[1].unshared() == 1
    trio.deliver()
    assert trio.replicas[1].unshared() == 0


def test_a_seal_is_written_at_a_shutdown_and_only_once(trio):
    trio.add(1, "s-1")
    trio.carry(1, trio.replicas[1].seal(trio.now))
    assert trio.replicas[1].ledger.feeds[FeedId(trio.keys[1].pubkey, 0)].as_sealed() is True
    assert not trio.replicas[1].seal(trio.now).persist.rows


def test_a_document_is_built_anew_at_most_once_a_second(trio):
    pen = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=90)
    shown(trio, 0, 1, as_frame(pen.story("x"), pen.story("y")))
    before = trio.replicas[0].document.doc
    shown(trio, 0, 1, as_frame(pen.story("twin", clock=91)))
    first = trio.replicas[0].document.doc
    assert first is not before
    shown(trio, 0, 1, as_frame(pen.story("twin", clock=90)))
    assert trio.replicas[0].document.doc is first
    trio.tick(2.0)
    assert trio.replicas[0].document.doc is not first


def test_a_record_that_comes_back_where_it_was_shown_as_deleted_travels_by_position(trio):
    trio.add(1, "s-1")
    trio.deliver()
    trio.propose(0, RevokeNode(trio.keys[1].pubkey, ()))
    trio.deliver()
    assert "s-1" not in trio.replicas[2].ledger.board
    trio.propose(0, AdmitNode(trio.keys[1].pubkey, Role.MEMBER, FreeText("again")))
    frames = [decode_frame(data) for _, _, data in trio.wire]
    assert any(isinstance(one, Records) and one.author == trio.keys[1].pubkey for one in frames)
    trio.settle(3)
    trio.assert_agreed()


def test_a_node_asks_to_leave_and_is_told_what_became_of_it(trio):
    me, admin = trio.keys[2].pubkey, trio.keys[0].pubkey
    trio.carry(2, trio.replicas[2].ask_to_part(admin, None, b"n" * 32, trio.now))
    assert [(sender, receiver) for sender, receiver, _ in trio.wire] == [(2, 0)]
    trio.deliver()
    assert PetitionAnswered(admin, b"n" * 32, "done") in trio.observed[2]
    assert not trio.replicas[1].ledger.roster.belongs(me)
    assert "revoked" in why_not(trio, 2)


def test_who_has_no_link_is_answered_nothing_and_what_it_brings_is_taken(trio):
    stranger = key(9).pubkey
    offer = encode_frame(DigestOffer(b"d" * 32))
    assert trio.replicas[0].receive(trio.keys[1].pubkey, offer, trio.now).reply
    assert not trio.replicas[0].receive(stranger, offer, trio.now).reply
    record = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, clock=9).story("s-1")
    ready = trio.replicas[0].receive(stranger, as_frame(record), trio.now)
    assert ready.fault is None
    assert "s-1" in trio.replicas[0].ledger.board


def test_what_is_forwarded_fits_what_a_node_takes_however_much_came_at_once():
    cluster = Cluster(2)
    cluster.admit_all()
    cluster.link_all()
    cluster.settle(3)
    den, author = cluster.replicas[0], cluster.keys[1].pubkey
    head = den.ledger.feed(FeedId(author, 0)).next_clock
    pen = RecordAuthor(cluster.keys[1], cluster.found.id, cluster.ms, clock=head)
    first = pen.story("s-first")
    behind = [pen.story(f"s-{n}", title="t" * 250, description="d" * 4000) for n in range(1100)]
    for start in range(0, len(behind), 100):
        den.receive(author, as_frame(*behind[start : start + 100]), cluster.now)
    watcher = key(9).pubkey
    den.connected(watcher, cluster.now.wall, cluster.now)
    # The one slot that held the rendering up: all that stands behind it can be shown now.
    ready = den.receive(author, as_frame(first), cluster.now)
    sizes = []
    while ready.publish or ready.reply:
        said = [out for out in (*ready.reply, *ready.publish) if watcher in out.peers]
        assert sum(len(out.data) for out in said) <= 3 * limits.UPDATE_BYTES_MAX
        frames = [decode_frame(out.data) for out in said]
        sizes += [len(frame.update) for frame in frames if isinstance(frame, Update)]
        ready = den.go_on(watcher, cluster.now)
    assert sum(sizes) > limits.CATCHUP_BYTES_MAX
    assert max(sizes) <= limits.UPDATE_BYTES_MAX


def test_who_cannot_put_on_disk_what_is_brought_takes_nothing_and_serves_what_he_has(trio):
    trio.add(0, "s-1")
    trio.deliver()
    stuck = trio.replicas[2]
    stuck.store_read_only = "read-only: the disk is full"
    before = dict(trio.stores[2])
    trio.add(1, "s-2")
    trio.settle(3)
    assert trio.stores[2] == before
    assert "s-2" not in stuck.ledger.board
    trio.unlink(0, 2)
    trio.link(0, 2)
    assert not any(
        isinstance(decode_frame(data), SyncStep1) for sender, _, data in trio.wire if sender == 2
    )
    trio.deliver()
    # Who comes back empty has from it what it holds.
    trio.stores[1].clear()
    trio.unlink(0, 1)
    trio.restart(1)
    trio.link(1, 2)
    trio.settle(3)
    assert "s-1" in trio.replicas[1].ledger.board
    stuck.store_read_only = ""
    trio.link(0, 1)
    trio.settle()
    trio.assert_agreed()


def test_what_waited_for_the_clock_is_on_disk_before_anything_rests_on_it(trio):
    founding = tuple(trio.found.record.ref)
    trio.unlink(0, 2)
    trio.stores[2].clear()
    trio.replicas[2] = trio.make(trio.keys[2])
    trio.ms -= 3600 * 1000
    trio.link(0, 2)
    trio.deliver()
    trio.unlink(0, 2)
    trio.ms += 3600 * 1000
    assert founding not in trio.stores[2], "stamped ahead of a clock that was set back"
    trio.add(2, "s-1")
    assert founding in trio.stores[2]


def test_two_feeds_with_one_client_id_make_no_honest_peer_a_forger(monkeypatch):
    """Found by many hashes, or by chance: the two travel by position, and all agree."""
    cluster = Cluster(3)
    honest = FeedId(cluster.keys[1].pubkey, 0)
    rogue = next(key(n) for n in range(60, 255) if key(n).pubkey < honest.author)
    client_id = FeedId.client_id
    monkeypatch.setattr(
        FeedId, "client_id",
        lambda feed, id_: client_id(honest if feed == FeedId(rogue.pubkey, 0) else feed, id_),
    )  # fmt: skip
    cluster.admit_all()
    cluster.propose(0, AdmitNode(rogue.pubkey, Role.MEMBER, FreeText("rogue")))
    cluster.link_all()
    cluster.deliver()
    cluster.add(1, "h-1")
    cluster.settle(5)
    pen = RecordAuthor(rogue, cluster.found.id, cluster.ms)
    frame = as_frame(*(pen.story(f"r-{number}") for number in range(3)))
    cluster.carry(2, cluster.replicas[2].receive(rogue.pubkey, frame, cluster.now))
    cluster.wire.clear()  # one of them alone knows of it
    for number in range(2, 6):
        cluster.add(1, f"h-{number}")
        cluster.deliver()
        assert f"h-{number}" in cluster.replicas[0].ledger.board
    cluster.settle()
    assert not cluster.faults
    cluster.assert_agreed()
    assert all("r-2" in replica.ledger.board for replica in cluster.replicas)
    cluster.add(1, "h-last")
    cluster.deliver()
    assert all("h-last" in replica.ledger.board for replica in cluster.replicas), "at once"


def test_what_the_former_key_lost_is_written_again(trio):
    trio.add(1, "s-1")
    lost = trio.propose(1, ClaimStory(StoryId("s-1"), 600))
    trio.deliver()
    old, new = trio.keys[1].pubkey, key(9)
    ready, _ = trio.replicas[0].change_roster(Replace(old, new.pubkey), trio.now)
    trio.carry(0, ready)
    later = trio.make(new, former=old, former_end=trio.ends[1])
    later.replay(trio.stores[0].values(), (), {}, trio.now)
    ready = later.tick(trio.now)
    assert ready.persist.reissue_done == [lost.record_id]
    assert [row.author for row in ready.persist.rows.values()] == [new.pubkey]
