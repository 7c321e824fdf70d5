"""Records that break a rule, signed with a good key or not, as bytes, to a real replica."""

import json

import pytest

from crdt.authoring.intents import AdmitNode, ClaimStory, FireExecution, RevokeNode
from crdt.contract.ready import ForkProven, Noticed
from crdt.ledger.feed import EntryStatus
from crdt.presence.signed_presence import PresenceState, presence_bytes, sign_presence
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.identity import ClusterId, FeedId, H
from crdt.records.bodies import Role
from crdt.records.record import sign_record, signed_bytes
from crdt.wire.handshake_transcript import DIALLED, hello_bytes
from crdt.wire.messages import Awareness, Proof, Records, encode_frame
from machines import execution as x
from machines import pipeline as p
from machines.values import AgentName, FreeText, StoryId
from tests.support.builders import hostile_acts as acts
from tests.support.builders.cluster import Found, key
from tests.support.builders.malformed import AT, BODIES, IDS
from tests.support.builders.record_author import RecordAuthor

CODER = AgentName("coder")
STRANGER = key(9)


def by_position(feed, clock, value):
    return encode_frame(acts.by_position(feed, (clock, value)))


# --- two in one slot -----------------------------------------------------------------------


def test_two_records_in_one_slot_are_proof_for_ever_and_cut_that_feed_alone(siege):
    kept = siege.pen.story("kept", clock=0)
    one, two = siege.pen.story("one", clock=1), siege.pen.story("two", clock=1)
    siege.show(kept, one)
    siege.show(two, to=1)
    siege.agree()
    feed = FeedId(siege.bringer, 0)
    for number, replica in enumerate(siege.honest):
        assert replica.ledger.feeds[feed].fork == 1
        assert "kept" in replica.ledger.board
        assert not {"one", "two"} & {view.id for view in replica.ledger.board.stories()}
        assert any(isinstance(event, ForkProven) for event in siege.observed[number])
    siege.restart(2)
    assert siege.replicas[2].ledger.fork_of(feed) == 1
    siege.link(1, 2)
    siege.unharmed()


def test_a_proof_that_proves_nothing_is_ignored_and_blames_nobody(siege):
    victim = siege.feed_of(1)
    value = victim.live()[0].value
    side = (value[:64], H(value[64:]))
    made_up = (bytes(64), H(b"never said"))
    for sides in ((side, side), (side, made_up), (made_up, side)):
        ready = siege.bring(encode_frame(Proof(victim.author, 0, 0, sides)))
        assert not ready.persist.proofs
    assert not siege.replicas[0].ledger.proofs
    siege.unharmed()


# --- a signature of something else ---------------------------------------------------------


def elsewhere(siege):
    """A true record of node 1, and every place where it does not stand."""
    victim = siege.feed_of(1)
    true = victim.live()[0]
    return true, [
        (victim.id, true.clock + 1),
        (FeedId(victim.author, 7), true.clock),
        (FeedId(siege.keys[2].pubkey, 0), true.clock),
        (FeedId(siege.bringer, 0), true.clock),
        (FeedId(STRANGER.pubkey, 0), true.clock),
    ]


@pytest.mark.parametrize("place", range(5))
def test_a_record_replayed_in_another_place_is_not_its_authors(siege, place):
    true, places = elsewhere(siege)
    feed, clock = places[place]
    siege.refused(by_position(feed, clock, true.value), Reason.BAD_SIGNATURE)


def test_a_record_of_another_cluster_is_not_its_authors(siege):
    body = siege.pen.story("x", clock=0).body
    value = sign_record(siege.keys[3], ClusterId(b"o" * 32), 0, 0, body).value
    siege.refused(by_position(FeedId(siege.bringer, 0), 0, value), Reason.BAD_SIGNATURE)


def test_a_signature_under_a_hello_or_a_presence_is_none_under_a_record(siege):
    """Each of them is signed in a domain of its own."""
    body = siege.pen.story("x", clock=0).value[64:]
    signing, cluster = siege.keys[3], siege.found.id
    feed = FeedId(siege.bringer, 0)
    under_record = signed_bytes(cluster, feed, 0, H(body))
    others = [
        hello_bytes(1, cluster, DIALLED, siege.bringer, siege.keys[0].pubkey, *[b"n" * 32] * 3),
        presence_bytes(cluster, siege.bringer, 0, body.decode()),
        under_record.removeprefix(b"gangline/record/1"),
        body,
        H(body),
    ]
    for said in others:
        value = signing.sign(said) + body
        siege.refused(by_position(feed, 0, value), Reason.BAD_SIGNATURE)
    value = signing.sign(under_record) + body
    assert siege.bring(by_position(feed, 0, value)).fault is None


def test_a_presence_that_its_node_did_not_sign_is_refused(siege):
    state = PresenceState(siege.now.wall, ("192.0.2.1:1",))
    mine = sign_presence(siege.keys[3], siege.found.id, 5, state)
    wire = json.loads(mine.state)
    wire["node"] = siege.keys[1].pubkey.hex()
    stolen = mine._replace(state=json.dumps(wire))
    later = mine._replace(clock=6)
    for entry in (stolen, later):
        siege.refused(encode_frame(Awareness((entry,))), Reason.BAD_SIGNATURE)
    heard = siege.replicas[0].beacon.liveness.last(siege.keys[1].pubkey)
    assert heard.state.addresses == ()
    assert siege.replicas[0].beacon.liveness.last(siege.bringer) is None


def test_a_flood_of_presence_is_news_twice_a_second(siege):
    told = 0
    siege.link(0, 3)
    for number in range(200):
        siege.ms += 1
        entry = sign_presence(siege.keys[3], siege.found.id, number, PresenceState(siege.now.wall))
        ready = siege.replicas[0].receive(
            siege.bringer, encode_frame(Awareness((entry,))), siege.now
        )
        assert ready.fault is None
        told += len(ready.publish)
    assert told <= limits.PRESENCE_PER_SECOND_MAX
    siege.unharmed()


def spoilt_signatures(value):
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(value[32:64], "little")
    yield "s past the order", value[:32] + (s + order).to_bytes(32, "little") + value[64:]
    yield "a point of small order", bytes(32) + value[32:]
    yield "identity and zero", b"\x01" + bytes(63) + value[64:]
    yield "not canonical", b"\xff" * 31 + b"\x7f" + value[32:]
    yield "all zero", bytes(64) + value[64:]
    yield "one bit", bytes([value[0] ^ 1]) + value[1:]


@pytest.mark.parametrize("kind", range(6))
def test_a_signature_of_another_form_is_refused(siege, kind):
    value = siege.pen.story("x", clock=0).value
    _, spoilt = list(spoilt_signatures(value))[kind]
    siege.refused(by_position(FeedId(siege.bringer, 0), 0, spoilt), Reason.BAD_SIGNATURE)


@pytest.mark.parametrize("size", [0, 1, 63, 64])
def test_a_value_too_short_for_a_signature_and_a_body_is_refused(siege, size):
    value = siege.pen.story("x", clock=0).value[:size]
    ready = siege.bring(by_position(FeedId(siege.bringer, 0), 0, value))
    # A count of values that cannot all be records does not fit the bytes that are left.
    expected = Reason.MALFORMED_FRAME if size < 62 else Reason.BAD_SIGNATURE
    assert ready.fault.reason is expected
    assert siege.quarantined[0][-1].peer == siege.bringer
    siege.unharmed()


def test_a_key_of_small_order_signs_nothing(siege):
    weak = FeedId(type(siege.bringer)(b"\x01" + bytes(31)), 0)
    value = b"\x01" + bytes(63) + siege.pen.story("x", clock=0).value[64:]
    siege.refused(by_position(weak, 0, value), Reason.BAD_SIGNATURE)


def test_true_records_beside_a_forged_one_are_taken(siege):
    true = siege.pen.story("true", clock=0)
    forged = true.value[:64] + true.value[64:].replace(b"true", b"fals")
    data = encode_frame(Records(siege.bringer, 0, ((0, true.value), (1, forged))))
    assert siege.bring(data).fault.reason is Reason.BAD_SIGNATURE
    assert all("true" in replica.ledger.board for replica in siege.honest)


# --- bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_body_is_its_authors_and_costs_nobody_else(siege, name):
    body = BODIES[name] if isinstance(BODIES[name], bytes) else BODIES[name].encode()
    signed = siege.pen.sign_bytes(body)
    ready = siege.show(signed)
    [row] = siege.quarantined[0]
    assert not ready.persist.rows
    assert ready.fault is None
    assert (row.reason, row.feed, row.clock) == (Reason.MALFORMED_RECORD, signed.feed, 0)
    assert "\x1b" not in row.detail
    assert "\x9b" not in row.detail
    siege.unharmed()


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("field", ["story", "key", "depends_on"])
def test_an_id_outside_its_alphabet_is_refused_wherever_it_stands(siege, name, field):
    bad = IDS[name]
    bodies = {
        "story": f'{{"at":"{AT}","kind":"story","n":0,"story":"{bad}"}}',
        "key": f'{{"at":"{AT}","key":"{bad}","kind":"claim","n":0,"released":true}}',
        "depends_on": f'{{"at":"{AT}","depends_on":["{bad}"],"kind":"story","n":0,"story":"x"}}',
    }
    assert siege.show(siege.pen.sign_bytes(bodies[field].encode())).fault is None
    assert [row.reason for row in siege.quarantined[0]] == [Reason.MALFORMED_RECORD]
    siege.unharmed()


# --- stamps --------------------------------------------------------------------------------


@pytest.mark.parametrize("years", [1, 73])
def test_a_stamp_ahead_waits_and_drags_nobodys_clock(siege, years):
    ahead = siege.pen.story("ahead", ms=siege.ms + years * 365 * 86_400_000)
    assert siege.show(ahead).fault is None
    assert [row.reason for row in siege.replicas[0].ledger.pending.rows()] == [Reason.STAMP_AHEAD]
    assert "ahead" not in siege.replicas[0].ledger.board
    receipt = siege.add(0, "mine")
    mine = siege.replicas[0].ledger.entry(receipt.ref).record
    assert abs(mine.stamp.at.ms - siege.ms) < 1000
    siege.unharmed()


def test_a_stamp_just_within_the_bound_drags_the_clock_no_further(siege):
    last = siege.ms + limits.STAMP_AHEAD_MS_MAX - 1000
    for number in range(20):
        siege.show(siege.pen.story(f"late-{number}", ms=last + number))
    receipt = siege.add(0, "mine")
    mine = siege.replicas[0].ledger.entry(receipt.ref).record
    assert abs(mine.stamp.at.ms - siege.ms) < 1000
    siege.unharmed()


def test_a_stamp_before_its_parents_is_rejected(siege):
    siege.rejected(
        siege.pen.transition("s-1", p.GatesStarted(), siege.event, ms=siege.event.stamp.at.ms),
        reason=Reason.STAMP_BACKWARDS,
    )


# --- rules ---------------------------------------------------------------------------------


def test_an_event_that_its_stage_ignores_is_rejected_and_its_children_too(siege):
    illegal, child = acts.illegal_events(siege.pen, "s-1", siege.event, p.DepsMet())
    siege.rejected(illegal, reason=Reason.ILLEGAL_TRANSITION)
    siege.rejected(child, reason=Reason.REJECTED_PARENT)
    siege.agree()


def test_an_execution_of_ones_own_must_follow_from_itself(siege):
    siege.rejected(
        acts.illegal_execution(siege.pen, "s-1"),
        siege.pen.execution("s-1", x.Idle(), x.SpawnRequested(CODER), x.Idle()),
        reason=Reason.ILLEGAL_EXECUTION,
    )


def test_an_execution_in_anothers_feed_is_not_its_authors(siege):
    at = siege.pen.at()
    mine = siege.pen.execution(
        "s-1", x.Idle(), x.SpawnRequested(CODER), x.Pending(CODER, at), ms=at.ms, clock=0
    )
    victim = siege.feed_of(1)
    siege.refused(by_position(victim.id, victim.next_clock, mine.value), Reason.BAD_SIGNATURE)


def test_who_is_no_admin_changes_no_roster(siege):
    pen = siege.pen
    admission = siege.feed_of(0).live()[0]
    siege.rejected(
        pen.member(STRANGER.pubkey, Role.MEMBER),
        pen.member(siege.bringer, Role.ADMIN),
        pen.revocation(siege.keys[0].pubkey, [admission]),
        pen.revocation(siege.keys[1].pubkey, []),
        reason=Reason.NOT_ALLOWED,
    )
    for replica in siege.honest:
        assert all(replica.ledger.roster.belongs(k.pubkey) for k in siege.keys)


def test_a_made_up_founding_record_makes_no_founder(siege):
    """Only the record that the cluster's id is made of carries a nonce."""
    body = Found().body
    ready = siege.show(siege.pen.write(body))
    assert ready.fault is None
    assert [row.reason for row in siege.quarantined[0]] == [Reason.MALFORMED_RECORD]
    siege.unharmed()


def test_a_strangers_records_wait_and_are_bounded(siege):
    """Each key for itself, and all keys that anybody can make together."""
    pen = RecordAuthor(STRANGER, siege.found.id, siege.ms)
    siege.show(*[pen.story(f"s-{number}") for number in range(300)])
    ledger = siege.replicas[0].ledger
    assert len(ledger.pending) == limits.STRANGERS_PER_AUTHOR_MAX
    for seed in range(100, 110):
        other = RecordAuthor(key(seed), siege.found.id, siege.ms)
        siege.show(*[other.story(f"s-{number}") for number in range(200)])
    assert len(ledger.pending) == limits.STRANGERS_MAX
    assert {row.reason for row in ledger.pending.rows()} == {Reason.UNKNOWN_AUTHOR}
    assert FeedId(STRANGER.pubkey, 0) not in ledger.feeds
    siege.unharmed()


# --- seals and what is withheld ------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 2**31 - 1])
def test_a_false_seal_blames_its_own_feed_alone(siege, count):
    story = siege.pen.story("sealed")
    assert siege.show(story, siege.pen.seal(count, b"x" * 32)).fault is None
    feed = siege.feed_of(3)
    assert feed.as_sealed() is False
    assert siege.replicas[0].ledger.entry(story.ref).verdict is EntryStatus.ADMITTED
    siege.agree()
    assert all(siege.feed_of(1, at).as_sealed() is not False for at in range(3))
    siege.unharmed()


def test_a_record_withheld_by_a_relay_is_noticed_and_fetched_elsewhere(siege):
    one, two = siege.pen.story("one"), siege.pen.story("two")
    siege.unlink(0, 2)
    siege.unlink(1, 2)
    siege.show(one, two)
    ready = siege.replicas[2].receive(
        siege.bringer, by_position(two.feed, two.clock, two.value), siege.now
    )
    siege.carry(2, ready)
    assert siege.feed_of(3, at=2).as_sealed() is not True
    siege.link(1, 2)
    siege.agree()
    assert "one" in siege.replicas[2].ledger.board


# --- floods --------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", ["a", "ab"])
def test_a_flood_of_feeds_and_forks_is_taken_in_its_share_and_told(siege, monkeypatch, sides):
    """Each costs every node some kilobytes for ever, and a state vector must fit a frame."""
    monkeypatch.setattr(limits, "AUTHOR_FEEDS_BURST", 20)
    for number in range(1, 101):
        for title in sides:
            assert siege.show(siege.pen.story(title, clock=0, incarnation=number)).fault is None
    ledger, liar = siege.replicas[0].ledger, siege.pen.node
    assert sum(feed.author == liar for feed in ledger.feeds) + len(ledger.proofs) == 20
    told = [(e.what, e.node) for e in siege.observed[0] if isinstance(e, Noticed)]
    assert told == [("flood", liar)]
    siege.unharmed()
    siege.agree()


def test_a_flood_of_valid_records_is_taken_in_its_share_and_told(siege, monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 50)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_PER_SECOND", 1.0)
    flood = [siege.pen.story(f"f-{number}") for number in range(300)]
    before = len(siege.replicas[0].ledger.board.stories())
    ready = siege.show(*flood)
    assert ready.fault is None
    assert len(siege.replicas[0].ledger.board.stories()) - before == 50
    assert [e.what for e in siege.observed[0] if isinstance(e, Noticed)] == ["flood"]
    # Another author's records in the same message's wake are taken at once.
    siege.unharmed()
    assert siege.replicas[0].ledger.entry(flood[0].ref).verdict is EntryStatus.ADMITTED


# --- what is void, ahead or written over ----------------------------------------------------


def test_overwrites_leave_one_row_and_one_run_of_deletions(siege):
    siege.propose(1, FireExecution(StoryId("s-1"), x.SpawnRequested(CODER)))
    siege.propose(1, FireExecution(StoryId("s-1"), x.SpawnedSuccessfully()))
    for _ in range(200):
        siege.propose(1, FireExecution(StoryId("s-1"), x.Heartbeat()))
        siege.propose(1, ClaimStory(StoryId("s-1"), 60))
    siege.deliver()
    siege.agree()
    feed = siege.replicas[2].ledger.feeds[FeedId(siege.keys[1].pubkey, 0)]
    assert len(feed.live()) == 4  # story, execution, claim, seal
    assert len(list(feed.gaps())) <= 3
    assert len(siege.replicas[2].document.doc.get_update()) < 10_000
    assert feed.as_sealed() is True


def test_a_record_stamped_ahead_counts_nowhere_before_its_time_whatever_else_happens(siege):
    """Void while its author is revoked, it must not slip in when he is taken back."""
    late = siege.pen.story("s-9", ms=siege.ms + 400_000)
    siege.propose(0, RevokeNode(siege.pen.node, keep=()))
    siege.show(late)
    assert siege.replicas[0].ledger.entry(late.ref).verdict is EntryStatus.VOID_REVOKED
    siege.propose(0, AdmitNode(siege.pen.node, Role.MEMBER, FreeText("again")))
    assert siege.replicas[0].ledger.entry(late.ref).verdict is EntryStatus.AHEAD
    siege.restart(0)
    assert siege.replicas[0].ledger.entry(late.ref).verdict is EntryStatus.AHEAD
    assert "s-9" not in siege.replicas[0].ledger.board
    siege.tick(200)
    assert "s-9" in siege.replicas[0].ledger.board


def test_what_was_superseded_while_it_waited_on_disk_stays_gone(siege):
    """The later record ripens first; the earlier one must not come back beside it."""
    start = siege.ms
    siege.ms += 3_600_000
    siege.pen.ms = start + 450_000
    first = siege.pen.release("s-1")
    siege.pen.ms = start + 400_000
    second = siege.pen.release("s-1")
    siege.ms = start
    siege.propose(0, RevokeNode(siege.pen.node, keep=()))
    siege.show(first, second)
    siege.propose(0, AdmitNode(siege.pen.node, Role.MEMBER, FreeText("again")))
    verdicts = [siege.replicas[0].ledger.entry(r.ref).verdict for r in (first, second)]
    assert verdicts == [EntryStatus.AHEAD, EntryStatus.AHEAD]
    siege.tick(300)
    live = siege.replicas[0].ledger.feeds[FeedId(siege.pen.node, 0)].live()
    assert [record.clock for record in live] == [1]
    assert first.ref not in siege.stores[0]
    siege.agree()
