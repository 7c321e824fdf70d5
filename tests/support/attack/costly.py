"""What members and admins may well write, and what was dear to every node that heard it.

Each attempt does much of it once a run, and a little after that: what it leaves is there for good.
In a run of a minute and more that is once alone, one after the other, and how long it held a
daemon's loop (``watched.py``) is told.
"""

import asyncio
import os
from itertools import pairwise

from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.wire.messages import RangeDigest, RangeDigests, SyncStep2, Update
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines import pipeline as p
from machines.values import NodePubkey
from node.system.errors import Silent
from tests.support.attack import member
from tests.support.attack.member import dropped, rejected
from tests.support.attack.results import Catalogue

CATALOGUE = Catalogue("costly")
ADMIN = Catalogue("admin")
LOCAL = Catalogue("local")
MUCH, LITTLE = 900, 2
FEEDS = 300
"""Each is a message to every link, of which an outbox holds a thousand."""
ADMITTED, REVOCATIONS, REVOKED, KEPT_CLOCKS = 300, 3, 50, 400
"""How often an admin admits, and revokes; and how many admissions one revocation names, and of how
many incarnations it keeps a part. All of that is taken. Of what is more each node takes another
part, and they agree only once all came back."""
BEHIND = dropped("lagging", "silent", "without a word")
"""What a link may get whose other end is busy signing, while what others send comes back to it."""
KEPT, WAITS, FORKED = ((*got, *BEHIND) for got in (member.KEPT, member.WAITS, member.FORKED))
SLICE = 400
"""Slots of short records of which an update is an ordinary message."""


def many(one, name):
    """How much to do of it now."""
    first = name not in one.ground.done
    one.ground.done.add(name)
    return MUCH if first else LITTLE


def once(one, name, much):
    """How much to do of what is done once a run."""
    first = name not in one.ground.done
    one.ground.done.add(name)
    return much if first else 0


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
    for start in [*range(0, len(records), SLICE)] * 3:
        shown = records[start : start + SLICE][1::2]
        if shown:
            one.tell(SyncStep2(slice_of(one, start, shown[-1].clock + 1, shown)))


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


@CATALOGUE(*rejected("not_allowed"), *BEHIND)
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


@CATALOGUE(*rejected("illegal_transition"), *KEPT)
async def feeds_that_are_not_as_sealed(one):
    """And rejected records, all of which might be what is missing in them."""
    one.show(*(one.pen.transition(one.story, p.Accepted()) for _ in range(many(one, "rejected"))))
    for _ in range(once(one, "sealed", FEEDS)):
        await asyncio.sleep(0)  # to sign takes long, and strangers have five seconds for a hello
        where = {"incarnation": one.rng.getrandbits(32)}
        one.show(
            one.pen.story(one.story, clock=0, **where),
            one.pen.seal(3, bytes(limits.HASH_BYTES), clock=1, **where),
        )


# --- by an admin ---------------------------------------------------------------------------


@ADMIN(*KEPT)
async def admissions_of_one_node(one):
    """One after the other; each might move all that the node wrote."""
    for _ in range(once(one, "admissions", ADMITTED)):
        await asyncio.sleep(0)
        one.show(one.pen.member(one.ground.rogues[0].pubkey, Role.MEMBER, one.story))


@ADMIN(*KEPT)
async def admissions_of_made_up_keys(one):
    for _ in range(once(one, "made up", ADMITTED)):
        await asyncio.sleep(0)
        one.show(one.pen.member(NodePubkey(os.urandom(limits.KEY_BYTES)), Role.OBSERVER, "nobody"))


@ADMIN(*KEPT)
async def revocations_that_keep_much(one):
    """Each names every admission, and takes nothing: what it keeps is far beyond any end."""
    node = one.ground.rogues[1].pubkey
    much = once(one, "kept", REVOKED)
    admissions = [one.pen.member(node, Role.MEMBER, one.story) for _ in range(much)]
    one.show(*admissions)
    for _ in range(REVOCATIONS if much else 0):
        first = one.rng.randrange(limits.INCARNATION_MAX - KEPT_CLOCKS)
        keep = [(n, limits.CLOCK_MAX) for n in (0, *range(first, first + KEPT_CLOCKS))]
        one.show(one.pen.revocation(node, admissions, keep))


@ADMIN(*WAITS)
async def statements_from_tomorrow(one):
    """Shown to one node: they must count there no sooner than anywhere."""
    one.pen.ms += 86_400_000
    admission = one.pen.member(one.ground.rogues[2].pubkey, Role.MEMBER, one.story)
    one.show(admission, one.pen.revocation(one.ground.rogues[2].pubkey, [admission]))


# --- at the local API ----------------------------------------------------------------------


@LOCAL("answered")
async def every_feed_asked_for(ground):
    """Again and again, as a page that shows them does."""
    try:
        await asyncio.to_thread(ground.target().node.client.ask, "GET", "/inspect/feeds")
    except Silent:
        return "left without an answer"
    return "answered"
