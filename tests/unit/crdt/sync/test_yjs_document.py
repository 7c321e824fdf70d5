from collections import deque

import pytest
from pycrdt import Array, Doc

from crdt.ledger.changes import Changes
from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.sync.yjs_document import Document, Rendering, Stretch, render_slice
from crdt.wire.yjs_update import decode_update, encode_update
from tests.support.builders.cluster import updates_since


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


def shown(*feeds):
    """A document that shows these feeds."""
    document = Document({feed.id: feed for feed in feeds})
    document.note(Changes(opened=[*feeds]))
    return document, show(document, *feeds)


def show(document, *feeds, mono=0.0, **changes):
    document.note(Changes(feeds={feed.id for feed in feeds}, **changes))
    return document.show(mono)


def test_what_becomes_known_is_rendered_once(court, feed):
    document, rendering = shown(feed)
    assert rendering == Rendering([feed], deque([Stretch(feed.id, 0, 5)]), b"", [])
    assert read(document, feed) == live(feed)
    assert document.end(feed.id) == 5
    assert show(document, feed) == Rendering([feed], deque(), b"", [])
    feed.place(Entry(court.bob.story("b", clock=5), EntryStatus.ADMITTED))
    assert show(document, feed).lacked == deque([Stretch(feed.id, 5, 6)])
    assert document.end(feed.id) == 6
    assert read(document, feed) == live(feed)


def test_what_is_live_no_longer_is_deleted(court, feed):
    document, _ = shown(feed)
    assert read(document, feed) == live(feed)
    entry = next(feed.entries_at(1))
    feed.withdraw(entry)
    rendering = show(document, feed, ceased=[entry.record, entry.record])
    assert rendering.deleted == encode_update((), {feed.client_id: [(1, 1)]})
    assert decode_update(rendering.deleted) == []
    assert read(document, feed) == live(feed)
    assert show(document, feed).deleted == b"", "told once"
    late = court.bob.story("late", clock=9)
    assert show(document, feed, ceased=[late]).deleted == b"", "it was never shown"


def test_the_store_goes_no_further_than_what_is_known_or_shown(court, feed):
    document = Document({feed.id: feed})
    assert document.stored_end(feed) == 0
    feed.pass_over(2)
    document, _ = shown(feed)
    assert document.end(feed.id) == 5
    assert document.stored_end(feed) == 2


def test_of_two_feeds_with_one_client_id_one_alone_is_shown_and_neither_is_told(court, feed):
    """Who knows but one would take the other's records for forged; they go by position."""
    document, _ = shown(feed)
    other = colliding(court, feed)
    first, second = sorted((feed, other), key=lambda one: one.id)
    document._feeds[other.id] = other
    [record] = other.live()
    rendering = show(document, other, opened=[other], live=[record], mono=9.0)
    assert (rendering.lacked, rendering.back) == (deque(), [record])
    assert document.by_client == {feed.client_id: None}
    assert document.owners == {feed.client_id: first}
    assert read(document, first) == live(first)
    assert document.end(second.id) == 0
    assert document.state_vector() == {}
    third = Entry(court.cat.story("c"), EntryStatus.ADMITTED)
    other.place(third)
    assert show(document, other).lacked == deque()


def test_a_document_that_is_stale_is_built_again_at_most_once_a_second(court, feed):
    document, _ = shown(feed)
    assert read(document, feed) == live(feed)
    entry = next(feed.entries_at(1))
    entry.verdict = EntryStatus.VOID_REVOKED
    feed.invalidate()
    show(document, feed, ceased=[entry.record])
    assert read(document, feed) == live(feed)
    entry.verdict = EntryStatus.ADMITTED
    feed.invalidate()
    rendering = show(document, feed, live=[entry.record], mono=1.0)
    assert rendering.back == [entry.record], "no update can bring it"
    assert not document.is_stale
    assert read(document, feed) == live(feed)
    assert show(document, feed, redraw=True, mono=1.5).feeds == [feed]
    assert document.is_stale
    assert document.show(2.5).feeds == [feed]
    assert not document.is_stale


def test_a_slot_that_is_unknown_again_below_what_is_shown_makes_a_document_stale(court, feed):
    document, _ = shown(feed)
    document.note(Changes(forgotten=[(feed.id, 5)]))
    assert not document.is_stale
    document.note(Changes(forgotten=[(feed.id, 4)]))
    assert document.is_stale


def test_a_feed_of_which_nothing_is_known_from_the_start_is_not_rendered(court):
    feed = Feed(FeedId(court.bob.node, 0), court.cluster)
    feed.place(Entry(court.bob.story("a", clock=3), EntryStatus.ADMITTED))
    document, rendering = shown(feed)
    assert not rendering.lacked
    document.rebuild()
    assert document.end(feed.id) == 0
    assert document.state_vector() == {}


def test_a_slice_joins_what_is_not_shown_into_one_gap(court, feed):
    next(feed.entries_at(1)).verdict = EntryStatus.VOID_REVOKED
    piece = render_slice(feed, 0, 5)
    assert piece.root == feed.id.root
    assert [clock for clock, _ in piece.records] == [0, 4]
    assert piece.gaps == [(1, 3)]
    part = render_slice(feed, 2, 3)
    assert (part.root, part.records, part.gaps) == (None, [], [(2, 1)])


def test_another_document_is_told_what_it_lacks(court, feed):
    document, _ = shown(feed)
    assert document.state_vector() == {feed.client_id: 5}
    [whole] = updates_since(document, [feed], {})
    assert decode_update(whole) == [render_slice(feed, 0, 5)]
    [rest] = updates_since(document, [feed], {feed.client_id: 3})
    assert decode_update(rest) == [render_slice(feed, 3, 5)]
    assert updates_since(document, [feed], {feed.client_id: 5}) == []


@pytest.mark.parametrize("room", [500, 700, 1_000, 1_300, 2_000])
def test_what_is_lacking_comes_in_parts_that_each_fit(court, monkeypatch, room):
    feeds = []
    for pen in (court.ada, court.bob, court.cat):
        feed = Feed(FeedId(pen.node, 0), court.cluster)
        for _ in range(7):
            feed.place(Entry(pen.story("a", title="x" * 50), EntryStatus.ADMITTED))
        feed.empty(7, 9)
        feeds.append(feed)
    document, _ = shown(*feeds)
    monkeypatch.setattr(limits, "UPDATE_BYTES_MAX", room)
    parts = updates_since(document, feeds, {})
    assert len(parts) >= 3
    assert max(len(part) for part in parts) <= room
    told = Document({})
    for part in parts:
        told.doc.apply_update(part)
    for feed in feeds:
        assert read(told, feed) == live(feed)


def test_a_document_that_nobody_reads_is_not_made_and_one_that_is_read_is_kept_up(
    court, feed, monkeypatch
):
    made = []
    monkeypatch.setattr("crdt.sync.yjs_document.Doc", lambda: made.append(Doc()) or made[-1])
    document, _ = shown(feed)
    show(document, feed, redraw=True, mono=1.0)
    assert made == []
    assert read(document, feed) == live(feed)
    feed.place(Entry(court.bob.story("b", clock=5), EntryStatus.ADMITTED))
    show(document, feed, mono=1.0)
    assert read(document, feed) == live(feed)
    assert len(made) == 1
    show(document, feed, redraw=True, mono=2.0)
    assert read(document, feed) == live(feed)
    assert len(made) == 2
