from collections import deque

import pytest

from crdt.contract.ready import Ready
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.digests import feed_digest
from crdt.sync.responder import Sync
from crdt.sync.session import Session, Sessions
from crdt.sync.yjs_document import Rendering, Stretch
from crdt.wire.messages import (
    DigestOffer,
    FeedDigest,
    FeedDigests,
    HaveUpTo,
    QueryAwareness,
    RangeDigest,
    RangeDigests,
    Records,
    RecordsWanted,
    SyncStep1,
    SyncStep2,
    Update,
    decode_frame,
)
from crdt.wire.yjs_update import decode_update
from tests.support.builders.ledger_fixture import LedgerFixture

DIGEST = b"d" * 32


class Node:
    """Bob's side of a session with cat."""

    def __init__(self):
        self.court = LedgerFixture()
        self.session = Session(self.court.cat.node, 0.0, 0, 1.0)
        self.sessions = Sessions()
        self.sessions.open(self.session)
        self.sync = Sync(self.court.bob.node, self.court.ledger, self.sessions, self.court.document)

    def receive(self, frame, *, mono=0.0):
        self.sync.receive(frame, self.session, lambda: DIGEST, mono)

    def answer(self, frame, *, mono=0.0):
        """All that is said to a frame, part by part."""
        self.receive(frame, mono=mono)
        frames = []
        while part := self.parted(is_out=True):
            frames += part
        return frames

    def parted(self, *, is_out=False):
        """The next part of what is owed, if any."""
        part = self.sync.next_part(self.session, is_out=is_out)
        assert {outgoing.peers for outgoing in part} <= {(self.session.peer,)}
        assert [outgoing.goes_on for outgoing in part] == [False] * (len(part) - 1) + [True] * bool(
            part
        )
        return [decode_frame(outgoing.data) for outgoing in part]

    def part(self, *, is_out=False):
        """The next part of what a state vector lacks, if any."""
        return next(iter(self.parted(is_out=is_out)), None)

    def take(self, *records):
        self.court.take(*records)
        self.court.document.rebuild()


@pytest.fixture
def node():
    return Node()


def test_a_state_vector_is_answered_with_what_it_lacks(node):
    record = node.court.bob.story("a")
    node.take(record)
    node.receive(SyncStep1({}))
    step = node.part()
    assert isinstance(step, SyncStep2)
    held = {piece.client: piece.records for piece in decode_update(step.update)}
    assert held[record.feed.client_id(node.court.cluster)] == [(0, record.value)]
    node.receive(SyncStep1(node.court.document.state_vector()))
    step = node.part(is_out=True)
    assert isinstance(step, SyncStep2)
    assert decode_update(step.update) == []
    assert node.part(is_out=True) is None


def test_the_founders_and_the_admins_feeds_come_first(node):
    court = node.court
    node.take(*(pen.story("a") for pen in (court.bob, court.cat, court.ada)))
    authors = [feed.author for feed in node.sync.feeds_in_order()]
    assert authors == [
        court.founder.node,
        court.ada.node,
        *sorted((court.bob.node, court.cat.node)),
    ]


def clocks(node, step):
    mine = FeedId(node.court.bob.node, 0).client_id(node.court.cluster)
    pieces = [piece for piece in decode_update(step.update) if piece.client == mine]
    return [clock for piece in pieces for clock, _ in piece.records]


@pytest.fixture
def long(node, monkeypatch):
    """A node that knows more of bob than fits one part."""
    monkeypatch.setattr("crdt.primitives.limits.UPDATE_BYTES_MAX", 1_000)
    node.take(*(node.court.bob.story("a", title="x" * 80) for _ in range(9)))
    return node


def test_what_does_not_fit_one_part_follows_as_updates_once_that_is_out(long):
    long.receive(SyncStep1({}))
    steps = [long.part()]
    assert long.part() is None, "two parts were made at once"
    while (step := long.part(is_out=True)) is not None:
        steps.append(step)
    assert [type(step) for step in steps] == [SyncStep2] + [Update] * (len(steps) - 1)
    assert len(steps) > 3
    assert [clock for step in steps for clock in clocks(long, step)] == list(range(9))


def test_who_asks_again_and_again_gets_one_answer_at_a_time(long):
    long.receive(SyncStep1({}))
    first = long.part()
    for _ in range(100):
        long.receive(SyncStep1({}))
        assert long.part() is None
    again = long.part(is_out=True)
    assert isinstance(again, SyncStep2), "what was asked last was never answered"
    assert clocks(long, again) == clocks(long, first)


def test_who_has_more_by_now_is_told_the_rest_alone(long):
    long.receive(SyncStep1({}))
    long.part()
    mine = FeedId(long.court.bob.node, 0).client_id(long.court.cluster)
    long.receive(SyncStep1(long.court.document.state_vector() | {mine: 8}))
    assert clocks(long, long.part(is_out=True)) == [8]
    assert long.part(is_out=True) is None


def test_what_comes_meanwhile_is_no_part_of_the_answer(long):
    """It is published anyway; or an answer would never end where much is written."""
    long.receive(SyncStep1({}))
    step = long.part()
    told = []
    while step is not None:
        told += clocks(long, step)
        long.take(long.court.bob.story("b"))
        step = long.part(is_out=True)
    assert told == list(range(9))


def test_what_is_no_longer_shown_is_not_sent(long):
    long.receive(SyncStep1({}))
    long.part()
    del long.court.document._ends[FeedId(long.court.bob.node, 0)]
    told = []
    while (step := long.part(is_out=True)) is not None:
        told += clocks(long, step)
    assert told == []


def test_nobody_is_told_anything_without_a_session(node):
    assert node.sync.next_part(None) == []


def test_a_state_vector_says_how_much_of_the_own_feed_the_peer_holds(node):
    court = node.court
    node.take(court.bob.story("a"), court.cat.story("b"))
    mine, theirs = FeedId(court.bob.node, 0), FeedId(court.cat.node, 0)
    vector = {mine.client_id(court.cluster): 1, theirs.client_id(court.cluster): 1, 99: 5}
    node.receive(SyncStep1(vector))
    assert node.session.holding == {mine: 1}


def test_where_digests_agree_the_peer_holds_all_and_holes_are_empty(node):
    court = node.court
    node.take(court.bob.story("a", clock=3))
    assert node.answer(DigestOffer(DIGEST)) == []
    assert node.session.agrees is True
    assert node.session.holding[FeedId(court.bob.node, 0)] == 4
    assert court.feed(court.bob).known_end() == 4


def test_where_they_differ_feed_digests_are_said(node):
    [frame] = node.answer(DigestOffer(b"x" * 32))
    assert isinstance(frame, FeedDigests)
    assert node.session.agrees is False
    assert node.session.holding == {}


def differing(node):
    court = node.court
    return FeedDigests((FeedDigest(court.founder.node, 0, feed_digest([]), None),), last=True)


def test_a_feed_that_differs_is_compared_and_one_that_stays_so_backs_off(node):
    [opened] = node.answer(differing(node))
    assert isinstance(opened, RangeDigests)
    node.answer(differing(node))
    assert node.answer(differing(node), mono=1.0) == []
    assert len(node.answer(differing(node), mono=40.0)) == 1


def test_a_feed_that_only_one_side_has_differs_too(node):
    court = node.court
    row = FeedDigest(court.sam.node, 0, feed_digest([b"x" * 32]), None)
    answers = node.answer(FeedDigests((row,), last=True))
    assert [frame.author for frame in answers] == [court.founder.node, court.sam.node]


def test_ranges_and_records_are_answered_from_what_is_held(node):
    court = node.court
    record = court.bob.story("a")
    node.take(record)
    row = RangeDigest(0, 9, 0, feed_digest([]))
    assert node.answer(RangeDigests(*record.feed, (row,))) == [
        Records(*record.feed, ((0, record.value),))
    ]
    assert node.answer(RecordsWanted(*record.feed, ((0, 9),))) == [
        Records(*record.feed, ((0, record.value),))
    ]


def test_what_a_peer_says_it_holds_is_noted(node):
    record = node.court.bob.story("a")
    node.take(record)
    assert node.answer(HaveUpTo(*record.feed, 7)) == []
    assert node.session.holding == {record.feed: 7}


def test_of_feeds_that_are_nowhere_it_is_not_noted_who_holds_them(node):
    for incarnation in range(3):
        assert node.answer(HaveUpTo(node.court.bob.node, incarnation, 7)) == []
    assert node.session.holding == {}


def test_other_frames_are_not_its_business(node):
    assert node.answer(QueryAwareness()) == []


def test_the_state_vector_is_that_of_the_rendering(node):
    court = node.court
    court.take(court.bob.story("a"), court.cat.story("b", clock=5))
    assert node.court.document.state_vector() == {}
    court.document.rebuild()
    founder, bob = (FeedId(pen.node, 0) for pen in (court.founder, court.bob))
    assert node.court.document.state_vector() == {
        founder.client_id(court.cluster): 5, bob.client_id(court.cluster): 1,
    }  # fmt: skip


# --- long answers --------------------------------------------------------------------------


def many_feeds(node, count):
    """Feeds of bob's, of each of which a record at clock 1 alone is held: no update tells it."""
    records = [
        node.court.bob.story("a", title="x", clock=1, incarnation=number + 1)
        for number in range(count)
    ]
    node.take(*records)
    return records


def listed(records):
    """Those feeds as a peer lists them that holds something else."""
    empty = feed_digest([b"x" * 32])
    rows = tuple(FeedDigest(*record.feed, empty, None) for record in records)
    return FeedDigests(rows, last=False)


def test_however_many_feeds_differ_no_part_is_longer_than_another(node, monkeypatch):
    """An answer of more frames than an outbox holds would end its own link, for ever."""
    monkeypatch.setattr(limits, "PART_FRAMES_MAX", 8)
    records = many_feeds(node, 30)
    node.receive(listed(records))
    parts = []
    while part := node.parted(is_out=True):
        parts.append(part)
    assert [len(part) for part in parts] == [8, 8, 8, 6]
    compared = [FeedId(f.author, f.incarnation) for part in parts for f in part]
    assert sorted(compared) == sorted(record.feed for record in records)


def test_a_part_is_no_longer_than_an_update(node, monkeypatch):
    records = many_feeds(node, 9)
    for record in records:
        node.receive(RecordsWanted(*record.feed, ((0, 9),)))
    monkeypatch.setattr(limits, "UPDATE_BYTES_MAX", 2 * len(records[0].value))
    sizes = []
    while part := node.parted(is_out=True):
        sizes.append(len(part))
    assert sizes == [2, 2, 2, 2, 1]


def test_feeds_that_differ_are_compared_so_many_at_once_and_the_others_soon(node, monkeypatch):
    monkeypatch.setattr(limits, "COMPARED_AT_ONCE_MAX", 20)
    node.session.next_offer = 1000.0
    records = many_feeds(node, 50)
    compared = [node.answer(listed(records), mono=900.0 + n) for n in range(3)]
    assert [len(frames) for frames in compared] == [20, 20, 20]
    assert len({frame.incarnation for frames in compared for frame in frames}) == 50
    assert node.session.next_offer == 900.0 + limits.COMPARE_ON_SECONDS


def test_what_is_asked_without_end_is_forgotten(node, monkeypatch):
    """A peer that asks and does not read costs what may be owed, and no more."""
    monkeypatch.setattr(limits, "OWED_MAX", 10 * (limits.QUESTION_WEIGHT + 1))
    [record, *_] = many_feeds(node, 1)
    row = RangeDigest(0, 2, 0, feed_digest([]))
    for _ in range(100):
        node.receive(RangeDigests(*record.feed, (row,)))
        node.receive(RecordsWanted(*record.feed, ((0, 2),)))
    answers = 0
    while part := node.parted(is_out=True):
        answers += len(part)
    assert answers == 10
    assert node.answer(RecordsWanted(*record.feed, ((0, 2),))), "it is deaf from then on"


def test_an_answer_is_made_when_it_is_sent(node):
    """So that what is owed takes no memory, and is true when it leaves."""
    [record, *_] = many_feeds(node, 1)
    node.receive(RecordsWanted(*record.feed, ((0, 9),)))
    other = node.court.bob.story("b", clock=2, incarnation=record.feed.incarnation)
    node.take(other)
    [frame] = node.parted()
    assert [clock for clock, _ in frame.records] == [1, 2]


def said(ready):
    """The frames that were published, by peer."""
    found = {}
    for outgoing in ready.publish:
        for peer in outgoing.peers:
            found.setdefault(peer, []).append(decode_frame(outgoing.data))
    return found


def test_what_comes_back_all_at_once_goes_to_each_peer_in_parts(node, monkeypatch):
    """As when a member with many feeds is admitted again."""
    monkeypatch.setattr(limits, "PART_FRAMES_MAX", 4)
    records = many_feeds(node, 20)
    ready = Ready()
    node.sync.publish(Rendering([], deque(), b"", records), None, ready)
    first = said(ready)[node.session.peer]
    assert len(first) == 8, "a part for all, and the first that is owed to each"
    told = [*first]
    while part := node.parted(is_out=True):
        told += part
    assert sorted(frame.incarnation for frame in told) == list(range(1, 21))


def test_updates_that_are_too_many_are_owed_too(long):
    mine = FeedId(long.court.bob.node, 0)
    ready = Ready()
    long.sync.publish(Rendering([], deque([Stretch(mine, 0, 9)]), b"", []), None, ready)
    told = [c for update in said(ready)[long.session.peer] for c in clocks(long, update)]
    while (step := long.part(is_out=True)) is not None:
        told += clocks(long, step)
    assert told == list(range(9))


def test_a_peer_that_is_owed_too_much_finds_the_rest_by_comparing(long, monkeypatch):
    monkeypatch.setattr(limits, "OWED_MAX", 0)
    ready = Ready()
    lacked = deque([Stretch(FeedId(long.court.bob.node, 0), 0, 9)])
    long.sync.publish(Rendering([], lacked, b"", []), None, ready)
    assert len(said(ready)[long.session.peer]) == 1
    assert not long.session.lacked


def test_nobody_is_told_what_he_brought(node):
    ready = Ready()
    brought = Rendering([], deque(), b"", many_feeds(node, 1))
    node.sync.publish(brought, node.session.peer, ready)
    node.sync.publish(Rendering([], deque(), b"gone", []), None, ready)
    assert said(ready) == {node.session.peer: [Update(b"gone")]}


def test_an_author_is_told_how_much_of_all_its_feeds_is_held_in_parts(node, monkeypatch):
    """And nobody else is, nor is the own key."""
    monkeypatch.setattr(limits, "PART_FRAMES_MAX", 4)
    court = node.court
    node.take(*(court.cat.story("a", clock=0, incarnation=number) for number in range(20)))
    node.take(court.bob.story("b"), court.ada.story("c"))
    ready = Ready()
    node.sync.acknowledge(court.ledger.feeds.values(), ready)
    told = said(ready)[node.session.peer]
    while part := node.parted(is_out=True):
        told += part
    assert [*said(ready)] == [node.session.peer]
    assert told == [HaveUpTo(court.cat.node, number, 1) for number in range(20)]
    few = Ready()
    node.sync.acknowledge([court.feed(court.cat)], few)
    assert said(few) == {node.session.peer: [HaveUpTo(court.cat.node, 0, 1)]}


# --- two feeds with one client id ----------------------------------------------------------


def test_what_two_feeds_share_is_said_by_no_state_vector(node, monkeypatch):
    """Whoever knows one of them alone would take the other's records for forged."""
    court = node.court
    ours, other = FeedId(court.bob.node, 0), FeedId(court.ada.node, 0)
    client_id = FeedId.client_id
    monkeypatch.setattr(
        FeedId, "client_id", lambda one, cluster: client_id(ours if one == other else one, cluster)
    )
    node.take(court.bob.story("a"), court.ada.story("b"))
    shared = ours.client_id(court.cluster)
    assert shared not in node.court.document.state_vector()
    node.receive(SyncStep1({shared: 1}))
    assert node.session.holding == {}, "it is not said whose"
    step = node.part()
    assert shared not in {piece.client for piece in decode_update(step.update)}


def test_a_deletion_that_no_peer_would_take_is_not_published(node, monkeypatch):
    """An honest peer would take it for an attack; comparing digests finds what it says."""
    monkeypatch.setattr(limits, "UPDATE_BYTES_MAX", 3)
    ready = Ready()
    node.sync.publish(Rendering([], deque(), b"gone", []), None, ready)
    assert ready.publish == []
    node.sync.publish(Rendering([], deque(), b"end", []), None, ready)
    assert len(ready.publish) == 1
