"""What a feed keeps up to date as records come and go is what it would compute from nothing."""

from hypothesis import given
from hypothesis import strategies as st

from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Seal
from crdt.records.digests import feed_digest, seal_digest
from crdt.sync.seal_audit import shortfall
from tests.support.builders.ledger_fixture import LedgerFixture, spawn

COURT = LedgerFixture()
RECORDS = [COURT.bob.story(f"s-{number}", clock=number // 2) for number in range(12)] + [
    spawn(COURT.bob, f"k-{clock}", clock=clock) for clock in range(6)
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, len(RECORDS) - 1), st.sampled_from([*EntryStatus])),
        st.sampled_from(["look", "fork", "keep"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_live_is_kept_as_it_would_be_computed(steps):
    """A record comes, or one that is held goes or is judged anew; the cut moves; anybody looks."""
    feed = Feed(FeedId(COURT.bob.node, 0), COURT.cluster)
    for step in steps:
        match step:
            case "look":
                check(feed)
            case "fork":
                feed.fork = None if feed.fork is not None else 2
                feed.invalidate()
            case "keep":
                feed.keeps = not feed.keeps
                feed.invalidate()
            case number, verdict:
                record = RECORDS[number]
                held = feed.find(record.clock, record.record_id)
                if held is None:
                    feed.place(Entry(record, verdict))
                elif held.verdict is verdict:
                    feed.withdraw(held)
                else:
                    feed.judge(held, verdict)
    check(feed)


def check(feed):
    live = [entry.record for entry in feed.entries() if feed.is_live(entry)]
    assert feed.live() == live
    assert feed.digest() == feed_digest([record.record_id for record in live])
    assert feed.as_sealed() == feed._compare_with_seal()


@given(
    st.lists(st.sampled_from(["s-1", "s-2", "k-1", "k-2", "seal"]), min_size=1, max_size=8),
    st.lists(st.integers(0, 2), min_size=9, max_size=9),
)
def test_no_honest_seal_is_ever_called_false(written, shown):
    """Whatever is withheld: its author may have counted what is not here."""
    author, court = LedgerFixture(), LedgerFixture()
    records = []
    for what in [*written, "seal"]:
        if what == "seal":
            said = (
                author.feed(author.bob).sealable(len(records)) if records else (0, seal_digest([]))
            )
            records.append(author.bob.seal(*said))
        else:
            write = author.bob.story if what[0] == "s" else lambda key: spawn(author.bob, key)
            records.append(write(what))
        author.take(records[-1])
    assert author.feed(author.bob).as_sealed() is True

    for record, how in zip(records, shown, strict=False):
        if how == 1 or record is records[-1]:
            court.take(record)
    feed = court.feed(court.bob)
    for record, how in zip(records, shown, strict=False):
        if how == 2:
            court.ledger.believe_gap(feed.id, record.clock, record.clock + 1)
    found = shortfall(court.ledger, feed)
    assert found is None or not found.unsatisfiable
    assert found is None or found.sealed_count >= found.held
    court.take(*[record for record in records if not isinstance(record.body, Seal)])
    assert shortfall(court.ledger, feed) is None
