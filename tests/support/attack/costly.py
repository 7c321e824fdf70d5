"""What members may well write, and what was dear to every node that heard it.

Each attempt does much of it once a run, and a little after that: what it leaves is there for good.
How long any of it held a daemon's loop is told at the end of the run (``watched.py``).
"""

from itertools import pairwise

from crdt import limits
from crdt.bodies import Role
from crdt.frame import RangeDigest, RangeDigests, SyncStep2, Update
from crdt.identity import FeedId
from crdt.yupdate import FeedSlice, encode_update
from machines import pipeline as p
from tests.support.attack.member import FORKED, KEPT, rejected
from tests.support.attack.tally import Catalogue

CATALOGUE = Catalogue("costly")
MUCH, LITTLE = 900, 2


def many(one, name):
    """How much to do of it now."""
    first = name not in one.ground.done
    one.ground.done.add(name)
    return MUCH if first else LITTLE


def slice_of(one, start, end, records):
    """An update that says of the own feed that nothing is in its other slots."""
    feed = FeedId(one.key.pubkey, one.pen.incarnation)
    held = {record.clock for record in records}
    gaps = [(clock, 1) for clock in range(start, end) if clock not in held]
    rows = [(record.clock, record.value) for record in records]
    root = feed.root if start == 0 else None
    piece = FeedSlice(feed.client_id(one.cluster), root, start, end, rows, gaps)
    return encode_update([piece])


@CATALOGUE(*KEPT)
async def rivals_of_one_story(one):
    """Each is stamped before all that came, so that it is the one that counts."""
    begin = one.pen.ms
    for n in range(many(one, "rivals")):
        one.show(one.pen.transition("crowded", p.DepsMet(), ms=begin - n))


@CATALOGUE(*KEPT)
async def gaps_between_records(one):
    """Every second record of a feed, and that the others are gone."""
    records = [one.pen.story(one.story) for _ in range(many(one, "gaps"))]
    one.show(*records)
    last = records[-1].clock
    for _ in range(3):
        one.tell(SyncStep2(slice_of(one, 0, last + 1, records[1::2])))


@CATALOGUE(*KEPT)
async def record_behind_a_gap(one):
    """What was shown as empty must come back."""
    one.show(*(one.pen.story(one.story) for _ in range(many(one, "behind"))))
    late, last = one.pen.story(one.story), one.pen.story(one.story)
    one.tell(Update(slice_of(one, late.clock, last.clock + 1, [last])))
    one.show(late)


@CATALOGUE(*KEPT)
async def ends_nobody_heard_of(one):
    """A minute later each wants an ack."""
    stories = (f"end-{one.pen.incarnation}-{n}" for n in range(many(one, "ends")))
    one.show(*(one.pen.transition(story, p.Abandon()) for story in stories))


@CATALOGUE(*FORKED, "admitted")
async def names_of_a_void_event(one):
    """A fork voids it, and then it is named again and again."""
    event = one.pen.transition(one.story, p.Abandon())
    one.show(event)
    one.show(one.pen.story(one.story, clock=event.clock))
    for n in range(many(one, "names")):
        one.show(one.pen.transition(f"{one.story}-{n % 40}", p.Abandon(), event))


@CATALOGUE(*rejected("not_allowed"))
async def words_about_the_roster(one):
    """By whom nobody named an admin."""
    for _ in range(many(one, "words")):
        one.show(one.pen.member(one.ground.founder, Role.MEMBER))


@CATALOGUE(*KEPT)
async def ranges_of_a_long_feed(one):
    """The digest of every part of it, while it changes."""
    one.show(*(one.pen.story(one.story) for _ in range(many(one, "ranges"))))
    for _ in range(9):
        one.show(one.pen.story(one.story))
        parts = [*range(0, one.pen.clock, 4), limits.CLOCK_MAX]
        rows = [
            RangeDigest(start, end, 40, bytes(limits.HASH_BYTES)) for start, end in pairwise(parts)
        ]
        ranges = tuple(rows[: limits.RANGES_PER_FRAME_MAX])
        one.tell(RangeDigests(one.key.pubkey, one.pen.incarnation, ranges))
