"""What no honest node writes: each act builds records or frames, and its user sends them."""

from typing import NamedTuple

from crdt.primitives.identity import RecordId, RecordRef
from crdt.records.fork_proof import proof_of, proof_side
from crdt.wire.messages import Proof, Records, Update
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines import execution as x
from machines import pipeline as p
from machines.values import AgentName
from tests.support.builders.record_author import RecordAuthor

LONG_AGO = "2020-01-01T00:00:00.000Z"


class Unwritten(NamedTuple):
    """Stands for a record that was never written."""

    ref: RecordRef


def by_position(feed, *rows):
    """Values at clocks of a feed, whether or not its author signed them."""
    return Records(*feed, rows)


def illegal_events(pen, story, parent=None, then=None):
    """An event that its stage ignores, and a child of it."""
    first = pen.transition(story, p.Accepted(), parent)
    return first, pen.transition(story, then or p.GatesStarted(), first)


def illegal_execution(pen, story):
    """An execution that does not follow from the state before."""
    done = x.Completed(AgentName("a"), 0, pen.at())
    return pen.execution(story, x.Idle(), x.Exited(0), done, ms=pen.ms)


def orphans(pen, story, many, ghost):
    """Events whose parents nobody has: records of the author with the id ``ghost``."""
    refs = (RecordRef(pen.node, 7, number, RecordId(ghost)) for number in range(many))
    return [pen.transition(story, p.DepsMet(), Unwritten(ref)) for ref in refs]


def unknown_kinds(pen, *values):
    """Records of a kind that nobody knows, with one key."""
    fields = {"key": "k", "kind": "new-kind", "n": 0}
    return [pen.raw(fields | {"at": str(pen.at()), "x": value}) for value in values]


def in_many_feeds(pen, story, incarnations):
    """A record in each feed, behind a slot that nobody is shown: no update contains it."""
    return [pen.story(story, title="x", clock=1, incarnation=one) for one in incarnations]


def fork_of(key, cluster, ms):
    """A true proof that a key has forked; the fork was made for it."""
    one, two = (RecordAuthor(key, cluster, ms).story("s-0", title=title) for title in "ab")
    return Proof(*proof_of(one.feed, 0, proof_side(one.value), proof_side(two.value)))


def false_gap(feed, cluster, end, start=0):
    """An update that asserts that a part of a feed is empty."""
    root = feed.root if start == 0 else None
    gap = FeedSlice(feed.client_id(cluster), root, start, end, [], [(start, end - start)])
    return Update(encode_update([gap]))
