"""What a feed keeps up to date as records come and go is what it would compute from nothing."""

from hypothesis import given
from hypothesis import strategies as st

from crdt.digest import feed_digest
from crdt.feeds import Entry, Feed, Verdict
from crdt.identity import FeedId
from tests.support.court import Court, spawn

COURT = Court()
RECORDS = [COURT.bob.story(f"s-{number}", clock=number // 2) for number in range(12)] + [
    spawn(COURT.bob, f"k-{clock}", clock=clock) for clock in range(6)
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, len(RECORDS) - 1), st.sampled_from([*Verdict])),
        st.sampled_from(["look", "fork", "keep"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_live_is_kept_as_it_would_be_computed(steps):
    """A record comes, or one that is held goes; the cut moves; and anybody may look meanwhile."""
    feed = Feed(FeedId(COURT.bob.node, 0), COURT.cluster)
    for step in steps:
        match step:
            case "look":
                check(feed)
            case "fork":
                feed.fork = None if feed.fork is not None else 2
                feed.touch()
            case "keep":
                feed.keeps = not feed.keeps
                feed.touch()
            case number, verdict:
                record = RECORDS[number]
                held = feed.find(record.clock, record.record_id)
                if held is None:
                    feed.place(Entry(record, verdict))
                else:
                    feed.withdraw(held)
    check(feed)


def check(feed):
    live = [entry.record for entry in feed.entries() if feed.is_live(entry)]
    assert feed.live() == live
    assert feed.digest() == feed_digest([record.record_id for record in live])
