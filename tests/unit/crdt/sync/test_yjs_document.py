from collections import deque

import pytest
from pycrdt import Array, Doc

from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.sync.yjs_document import Document, Stretch, render_slice
from crdt.wire.yjs_update import decode_update
from tests.support.builders.cluster import updates_since
from tests.support.builders.ledger_fixture import LedgerFixture


@pytest.fixture
def court():
    return LedgerFixture()


@pytest.fixture
def feed(court):
    """Three live records at 0, 1 and 4; 2 and 3 are empty."""
    feed = Feed(FeedId(court.bob.node, 0), court.cluster)
    for clock in (0, 1, 4):
        feed.place(Entry(court.bob.story("a", clock=clock), EntryStatus.ADMITTED))
    feed.empty(2, 4)
    return feed


def read(document, feed):
    """What a Yjs client reads."""
    return [bytes(value) for value in document.doc.get(feed.id.root, type=Array)]


def live(feed):
    return [record.value for record in feed.live()]


def colliding(court, feed):
    """A feed of another key under the same client id: one in 2^53, so it is made to."""
    other = Feed(FeedId(court.cat.node, 0), court.cluster)
    other.client_id = feed.client_id
    other.place(Entry(court.cat.story("b"), EntryStatus.ADMITTED))
    return other


def test_what_becomes_known_is_rendered_once(court, feed):
    document = Document()
    assert document.advance([feed]) == {}
    assert read(document, feed) == live(feed)
    assert feed.rendered == 5
    feed.place(Entry(court.bob.story("b", clock=5), EntryStatus.ADMITTED))
    assert document.advance([feed]) == {}
    assert feed.rendered == 6
    assert read(document, feed) == live(feed)


def test_what_is_live_no_longer_is_deleted(court, feed):
    document = Document()
    document.advance([feed])
    entry = next(feed.entries_at(1))
    feed.withdraw(entry)
    feed.dead.add(1, 2)
    feed.dead.add(1, 2)
    assert document.advance([feed]) == {feed.client_id: [(1, 1)]}
    assert read(document, feed) == live(feed)
    assert not feed.dead


def test_of_two_feeds_with_one_client_id_one_alone_is_shown(court, feed):
    other = colliding(court, feed)
    document = Document()
    document.advance([feed])
    assert document.advance([other]) == {}
    assert other.rendered == 0
    first, second = sorted((feed, other), key=lambda one: one.id)
    document.rebuild([second, first])
    assert read(document, first) == live(first)
    assert second.rendered == 0


def test_a_document_built_anew_shows_again_what_it_once_deleted(court, feed):
    document = Document()
    entry = next(feed.entries_at(1))
    entry.verdict = EntryStatus.VOID_REVOKED
    feed.invalidate()
    document.advance([feed])
    entry.verdict = EntryStatus.ADMITTED
    feed.invalidate()
    feed.dead.add(0, 1)
    document.rebuild([feed])
    assert read(document, feed) == live(feed)
    assert not feed.dead


def test_a_feed_of_which_nothing_is_known_from_the_start_is_not_rendered(court):
    feed = Feed(FeedId(court.bob.node, 0), court.cluster)
    feed.place(Entry(court.bob.story("a", clock=3), EntryStatus.ADMITTED))
    document = Document()
    document.rebuild([feed])
    assert document.advance([feed]) == {}
    assert feed.rendered == 0


def test_a_slice_joins_what_is_not_shown_into_one_gap(court, feed):
    next(feed.entries_at(1)).verdict = EntryStatus.VOID_REVOKED
    piece = render_slice(feed, 0, 5)
    assert piece.root == feed.id.root
    assert [clock for clock, _ in piece.records] == [0, 4]
    assert piece.gaps == [(1, 3)]
    part = render_slice(feed, 2, 3)
    assert (part.root, part.records, part.gaps) == (None, [], [(2, 1)])


def test_another_document_is_told_what_it_lacks(court, feed):
    Document().advance([feed])
    [whole] = updates_since([feed], {})
    assert decode_update(whole) == [render_slice(feed, 0, 5)]
    [rest] = updates_since([feed], {feed.client_id: 3})
    assert decode_update(rest) == [render_slice(feed, 3, 5)]
    assert updates_since([feed], {feed.client_id: 5}) == []


@pytest.mark.parametrize("room", [500, 700, 1_000, 1_300, 2_000])
def test_what_is_lacking_comes_in_parts_that_each_fit(court, monkeypatch, room):
    feeds = []
    for pen in (court.ada, court.bob, court.cat):
        feed = Feed(FeedId(pen.node, 0), court.cluster)
        for _ in range(7):
            feed.place(Entry(pen.story("a", title="x" * 50), EntryStatus.ADMITTED))
        feed.empty(7, 9)
        feeds.append(feed)
    document = Document()
    document.advance(feeds)
    monkeypatch.setattr(limits, "UPDATE_BYTES_MAX", room)
    parts = updates_since(feeds, {})
    assert len(parts) >= 3
    assert max(len(part) for part in parts) <= room
    told = Document()
    for part in parts:
        told.doc.apply_update(part)
    for feed in feeds:
        assert read(told, feed) == live(feed)


def test_what_is_shown_is_told_to_those_who_follow(court, feed):
    document, alone = Document(), {feed.client_id: feed.id}
    assert document.show([feed], alone, anew=False) == (deque([Stretch(feed.id, 0, 5)]), b"")
    assert document.show([feed], alone, anew=False) == (deque(), b"")
    feed.place(Entry(court.bob.story("b", clock=5), EntryStatus.ADMITTED))
    assert document.show([feed], alone, anew=True) == (deque([Stretch(feed.id, 5, 6)]), b"")
    feed.withdraw(next(feed.entries_at(1)))
    feed.dead.add(1, 2)
    lacked, deleted = document.show([feed], alone, anew=False)
    assert not lacked
    assert decode_update(deleted) == []
    assert read(document, feed) == live(feed)


def test_of_two_feeds_with_one_client_id_neither_is_told(court, feed):
    """Though one is shown: who knows but the other would take its records for forged."""
    document, other = Document(), colliding(court, feed)
    feeds = sorted((feed, other), key=lambda one: one.id)
    assert document.show(feeds, {feed.client_id: None}, anew=True) == (deque(), b"")
    assert document.owners == {feed.client_id: feeds[0]}
    assert read(document, feeds[0]) == live(feeds[0])


def test_a_document_that_nobody_reads_is_not_made_and_one_that_is_read_is_kept_up(
    court, feed, monkeypatch
):
    made = []
    monkeypatch.setattr("crdt.sync.yjs_document.Doc", lambda: made.append(Doc()) or made[-1])
    document = Document()
    document.show([feed], {feed.client_id: feed.id}, anew=False)
    document.show([feed], {feed.client_id: feed.id}, anew=True)
    assert made == []
    assert read(document, feed) == live(feed)
    feed.place(Entry(court.bob.story("b", clock=5), EntryStatus.ADMITTED))
    document.show([feed], {feed.client_id: feed.id}, anew=False)
    assert read(document, feed) == live(feed)
    assert len(made) == 1
    document.show([feed], {feed.client_id: feed.id}, anew=True)
    assert read(document, feed) == live(feed)
    assert len(made) == 2
