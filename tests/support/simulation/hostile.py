"""Nodes that hold real keys and do the worst: each program is one thing a hostile node does once.

A hostile node runs the real replica beside its programs, so that it knows what the others know. A
program is called with the world, the node and two numbers from the schedule.
"""

import random

from crdt.ledger.ingest import locate_slices
from crdt.ledger.judge import is_cut
from crdt.primitives import limits
from crdt.primitives.errors import PeerFault
from crdt.primitives.identity import FeedId, H, SigningKey
from crdt.records.bodies import Role, Transition
from crdt.records.record import signed_record
from crdt.wire.messages import (
    DigestOffer,
    FeedDigest,
    FeedDigests,
    HaveUpTo,
    Proof,
    RangeDigest,
    RangeDigests,
    Records,
    SyncStep2,
    Update,
    decode_frame,
    encode_frame,
)
from crdt.wire.roster_request import NONCE_BYTES, RosterRequest, request_bytes
from crdt.wire.yjs_update import decode_update, encode_update
from machines import pipeline as p
from machines.values import FreeText, Instant, NodePubkey
from tests.support.builders import hostile_acts as acts
from tests.support.builders.record_author import RecordAuthor
from tests.support.simulation.faults import spoilt_proof


def pen_of(world, node, *, clock=None):
    """A pen at the end of the node's own feed, with its clock."""
    feed = node.replica._own_feed()
    return RecordAuthor(
        node.key,
        world.found.id,
        Instant.nearest(node.clock.at(world.t)).ms,
        node.replica.incarnation,
        feed.next_clock if clock is None else clock,
    )


def spread(world, node, *records, to=None):
    """Send records to some peers, or to all; and let the own replica know of them."""
    frames = world.frames_of(*records)
    for frame in frames:
        tell(world, node, frame, to=to)
    for record in records:
        node.replica._note(node.replica.ledger.merge([record], world.now(node).wall))


def tell(world, node, frame, *, to=None):
    """Send a frame, or bytes as they are, to some peers or to all."""
    frame = frame if isinstance(frame, bytes) else encode_frame(frame)
    for number, link in list(node.links.values()):
        if to is None or number in to:
            world.carry(node, world.nodes[number], link, frame)


def peers(node):
    """The numbers of the nodes it is linked with."""
    return [number for number, _ in node.links.values()]


def pick_story(node, a):
    views = sorted(view.id for view in node.replica.ledger.board.stories())
    return views[a % len(views)] if views else "s-0"


def events_of(node, story):
    state = node.replica.ledger.board.state(story)
    return list(state.events.values()) if state is not None else []


def any_record(node, a):
    """Some record of somebody else's, or ``None``."""
    held = [
        record
        for feed in sorted(node.replica.ledger.feeds.values(), key=lambda feed: feed.id)
        if feed.author != node.pub
        for record in feed.live()
    ]
    return held[a % len(held)] if held else None


# --- programs ------------------------------------------------------------------------------


def equivocate(world, node, a, b):
    """Two records for the next slot, each to half of the peers."""
    story = pick_story(node, a)
    one = pen_of(world, node).story(story, title=f"one {a % 9}")
    two = pen_of(world, node).transition(story, p.Block(FreeText("two")), None)
    everybody = peers(node)
    tell(world, node, world.frames_of(one)[0], to=everybody[::2])
    tell(world, node, world.frames_of(two)[0], to=everybody[1::2])


def fork_old(world, node, a, b):
    """Another record for an old slot, often the very first."""
    head = node.replica._own_feed().next_clock
    clock = 0 if b & 1 else a % (head + 1)
    pen = pen_of(world, node, clock=clock)
    record = pen.story(pick_story(node, a), title=f"undone {b % 9}")
    spread(world, node, record, to=peers(node)[:1] if b & 2 else None)


def illegal(world, node, a, b):
    """Events that are illegal in their own past, with good signatures."""
    story = pick_story(node, a)
    pen = pen_of(world, node)
    events = events_of(node, story)
    parent = events[b % len(events)] if events else None
    if parent is not None:
        pen.ms = max(pen.ms, parent.stamp.at.ms)
    events = acts.illegal_events(pen, story, parent)
    execution = acts.illegal_execution(pen, story)
    spread(world, node, *events, execution, to=peers(node)[:1] if b & 1 else None)


def foreign(world, node, a, b):
    """A record in another's name: the signature does not hold."""
    victim = any_record(node, a)
    if victim is None:
        return
    own = pen_of(world, node).story(pick_story(node, a), title="forged")
    tell(world, node, acts.by_position(victim.feed, (victim.clock + b % 3, own.value)))


def false_seal(world, node, a, b):
    spread(world, node, pen_of(world, node).seal(a % 50, bytes(32)))


def flood(world, node, a, b):
    """Many records whose parents nobody has."""
    spread(world, node, *acts.orphans(pen_of(world, node), "s-0", 60, bytes([b % 256]) * 32))


def far_future(world, node, a, b):
    """Stamped ahead: five minutes or ten years."""
    pen = pen_of(world, node)
    pen.ms += 299_000 if b & 1 else 10 * 365 * 86_400_000
    spread(world, node, pen.story(pick_story(node, a), title="from tomorrow"))


def back_date(world, node, a, b):
    """An abandon slipped in under what happened since."""
    story = pick_story(node, a)
    events = events_of(node, story)
    pen = pen_of(world, node)
    parent = events[b % len(events)] if events else None
    ms = parent.stamp.at.ms + 1 if parent is not None else pen.ms - 3_600_000
    spread(world, node, pen.transition(story, p.Abandon(), parent, ms=ms))


def revoke(world, node, a, b):
    """Admissions withdrawn and made up, by whoever has the right or has it not."""
    roster = node.replica.ledger.roster
    nodes = roster.nodes()
    target = nodes[a % len(nodes)]
    admissions = _admissions(node, target)
    pen = pen_of(world, node)
    keep = [(0, b % 40)] if b & 1 else []
    records = [
        pen.revocation(target, admissions, keep),
        pen.member(nodes[b % len(nodes)], Role.MEMBER),
    ]
    if b & 4:
        records.append(pen.member(nodes[b % len(nodes)], Role.ADMIN))
    spread(world, node, *records)


def garbage(world, node, a, b):
    """Bytes of no kind, and good frames with a byte or two changed."""
    chance = random.Random(a)
    frames = [chance.randbytes(a % 300)]
    for _, _, data in list(world.old_frames)[-5:]:
        spoilt = bytearray(data)
        if spoilt:
            spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        frames.append(bytes(spoilt))
    for number in peers(node):
        tell(world, node, frames[(a + number) % len(frames)], to=[number])


def forge_gap(world, node, a, b):
    """An update that says a part of another's feed is empty."""
    victim = any_record(node, a)
    if victim is None:
        return
    feed = node.replica.ledger.feeds[victim.feed]
    end = feed.next_clock + b % 5
    if end == 0:
        return
    tell(world, node, acts.false_gap(feed.id, world.found.id, end))


def malformed(world, node, a, b):
    """Signed, and no record."""
    pen = pen_of(world, node)
    bodies = (b"{}", b'{"kind":"story"}', b"[" * 500, b'{"at":1e400}')
    tell(world, node, world.frames_of(*map(pen.sign_bytes, bodies))[0])


def false_evidence(world, node, a, b):
    """An accusation of an honest author that proves nothing: the other side is forged."""
    victim = any_record(node, a)
    if victim is None:
        return
    record = pen_of(world, node).accusation(victim.feed, victim.clock, victim.value)
    spread(world, node, record)


def withhold(world, node, a, b):
    """From now on, pass on nothing by one author."""
    node.doing = (*node.doing, ("withhold", a % len(world.nodes)))


def replay_frames(world, node, a, b):
    """Frames of others, new and from long ago, sent as if they were the node's own."""
    old = list(world.archive)[a % 50 :: 37][:8]
    for data in [*(data for _, _, data in list(world.old_frames)[-8:]), *old]:
        tell(world, node, data)


def carried(world, node, a, b):
    """Kinds nobody knows, with a key: the later supersedes the earlier."""
    spread(world, node, *acts.unknown_kinds(pen_of(world, node), *[[a, b]] * 3))


def squat(world, node, a, b):
    """Writes in feeds of drawn incarnations, many of them."""
    pen = pen_of(world, node)
    records = []
    for number in range(10):
        pen.incarnation, pen.clock = (a + number * 7919) % 2**32, b % 4
        records.append(pen.story(pick_story(node, a), title=f"elsewhere {number}"))
    spread(world, node, *records)


def false_ack(world, node, a, b):
    """Acks of events that archived nothing, or are of another story, or are not."""
    story = pick_story(node, a)
    events = events_of(node, story)
    pen = pen_of(world, node)
    if events:
        one = events[b % len(events)]
        pen.ms = max(pen.ms, one.stamp.at.ms)
        spread(world, node, pen.ack(story, one), pen.ack("s-1", one))


def hide_twin(world, node, a, b):
    """One node is shown an illegal record where the others are shown a legal one."""
    story = pick_story(node, a)
    pen = pen_of(world, node)
    clock = pen.clock
    legal = pen.story(story, title=f"fine {b % 9}")
    hidden = pen.transition(story, p.Accepted(), None, clock=clock)
    everybody = peers(node)
    if everybody:
        chosen = everybody[b % len(everybody)]
        tell(world, node, world.frames_of(hidden)[0], to=[chosen])
        tell(world, node, world.frames_of(legal)[0], to=[n for n in everybody if n != chosen])


def big_claims(world, node, a, b):
    """Claims since the beginning of time."""
    spread(world, node, pen_of(world, node).claim(pick_story(node, a), acts.LONG_AGO))


def flood_valid(world, node, a, b):
    """As many good records as it can sign."""
    pen = pen_of(world, node)
    story = pick_story(node, a)
    spread(world, node, *(pen.story(story, title=f"flood {number}") for number in range(50)))


def spend_others(world, node, a, b):
    """Many records in another's name; none is signed by him."""
    victim = any_record(node, a)
    if victim is not None:
        body = victim.value[limits.SIGNATURE_BYTES :]
        rows = [(1000 + b % 1000 + n, random.Random(n).randbytes(64) + body) for n in range(60)]
        tell(world, node, acts.by_position(victim.feed, *rows))


def forge_petition(world, node, a, b):
    """Petitions that somebody did not sign: a successor, the node that is named, this receiver."""
    stranger = SigningKey(random.Random(a).randbytes(32))
    others = [one for one in world.nodes[: world.plan.nodes] if one is not node]
    victim = others[b % len(others)]
    at_ms = node.clock.at(world.t)
    for number, _ in list(node.links.values()):
        peer = world.nodes[number]
        for named, successor, receiver, signer in (
            (node, stranger.pubkey, peer, node),
            (victim, None, peer, node),
            (node, None, victim, node),
        ):
            asked = RosterRequest(named.pub, successor, at_ms, bytes(NONCE_BYTES), (), ())
            said = request_bytes(world.found.id, receiver.pub, asked)
            signature = bytes(signer.key.sign(said))
            count = 1 if successor is None else 2
            frame = encode_frame(asked._replace(signatures=(signature,) * count))
            if receiver.pub != peer.pub or named is not node or successor is not None:
                tell(world, node, frame, to=[number])


def strange_forks(world, node, a, b):
    """Proofs that keys which nobody knows have forked, made for it."""
    for number in range(15):
        stranger = SigningKey((a + number).to_bytes(8, "big") * 4)
        tell(world, node, acts.fork_of(stranger, world.found.id, node.clock.at(0)))


def endless_feeds(world, node, a, b):
    """Feeds that there are not, in everything that names feeds."""
    chance = random.Random(a)
    for _ in range(10):
        feed = NodePubkey(chance.randbytes(32)), chance.getrandbits(32)
        row = FeedDigest(*feed, H(b"nothing"), None)
        tell(world, node, HaveUpTo(*feed, b % 1000))
        tell(world, node, FeedDigests((row,), last=bool(b & 1)))
        whole = RangeDigest(0, 2**31, 1 + b % 9, H(b"nothing"))
        tell(world, node, RangeDigests(*feed, (whole,)))


def many_feeds(world, node, a, b):
    """A record behind an unknown slot in each of many feeds, for one peer: no update tells them."""
    chance = random.Random(a)
    feeds = [chance.getrandbits(32) for _ in range(60)]
    records = acts.in_many_feeds(pen_of(world, node), "s-0", feeds)
    for frame in world.frames_of(*records):
        tell(world, node, frame, to=peers(node)[:1])


def old_records(world, node, a, b):
    """What went over the wire of another, much of it superseded since, to spend his share."""
    victim = world.nodes[a % world.plan.nodes]
    kept = [*world.archive, *(data for _, _, data in world.old_frames)]
    found = {(r.feed, r.clock, r.value) for data in kept for r in _shown(world, node, data)}
    for feed, clock, value in sorted(found):
        if victim is not node and feed.author == victim.pub:
            tell(world, node, acts.by_position(feed, *[(clock, value)] * 20))


def _shown(world, node, data):
    """The records in a frame."""
    try:
        frame = decode_frame(data)
        if isinstance(frame, Records):
            feed = FeedId(frame.author, frame.incarnation)
            return [signed_record(feed, clock, value) for clock, value in frame.records]
        if isinstance(frame, SyncStep2 | Update):
            slices = decode_update(frame.update, bytes_max=2**24)
            return locate_slices(slices, world.found.id, node.replica.document.by_client).records
    except PeerFault:
        pass
    return []


def far_statements(world, node, a, b):
    """Who belongs, said ten years ahead, to one node alone: it may not count there."""
    roster = node.replica.ledger.roster
    nodes = roster.nodes()
    target = nodes[a % len(nodes)]
    admissions = _admissions(node, target)
    pen = pen_of(world, node)
    pen.ms += 10 * 365 * 86_400_000
    word = pen.revocation(target, admissions) if b & 1 else pen.member(target, Role.OBSERVER)
    for number in peers(node)[:1]:
        tell(world, node, world.frames_of(word)[0], to=[number])


def _admissions(node, target):
    """The records that let a node in, as far as they are held."""
    ledger = node.replica.ledger
    found = (ledger.find(admission.ref) for admission in ledger.roster.admissions(target))
    return [record for record in found if record is not None]


def build_illegally(world, node, a, b):
    """Illegal on an event of somebody who is off the roster, so that nobody looks at it now."""
    ledger = node.replica.ledger
    events = [
        entry.record
        for feed in sorted(ledger.feeds.values(), key=lambda feed: feed.id)
        for entry in feed.entries()
        if isinstance(entry.record.body, Transition) and is_cut(ledger, feed.id, entry.record.clock)
    ]
    if events:
        event = events[a % len(events)]
        pen = pen_of(world, node)
        pen.ms = max(pen.ms, event.stamp.at.ms)
        spread(world, node, pen.transition(event.body.story, event.body.event, event))


def spoilt_proofs(world, node, a, b):
    """Proofs of forks that it knows, with a bit flipped: they prove nothing."""
    for feed, proof in sorted(node.replica.ledger.proofs.items())[:5]:
        world.say(node, f"spoils the proof against {feed}")
        tell(world, node, Proof(*spoilt_proof(proof, a + b)))


PROGRAMS = {
    program.__name__: program
    for program in (
        equivocate, fork_old, illegal, foreign, false_seal, flood, far_future, back_date, revoke,
        garbage, forge_gap, malformed, false_evidence, withhold, replay_frames, carried, squat,
        false_ack, big_claims, hide_twin, flood_valid, spend_others, forge_petition,
        strange_forks, endless_feeds, many_feeds, old_records, far_statements, build_illegally,
        spoilt_proofs,
    )
}  # fmt: skip


# --- relays --------------------------------------------------------------------------------


def relay(world, node, other, data):
    """What a hostile node makes of a frame that its replica would send."""
    for what, number in node.doing:
        if what == "withhold":
            author = world.nodes[number % len(world.nodes)].pub
            if author not in (node.pub, other.pub):
                data = _without(world, node, data, author)
                if data is None:
                    return []
    return [data]


def _without(world, node, data, author):
    """A frame in which an author's records are shown as gaps."""
    try:
        frame = decode_frame(data)
    except PeerFault:
        return data
    if isinstance(frame, Records) and frame.author == author:
        world.counts["withheld"] += 1
        return None
    if isinstance(frame, DigestOffer):
        return None
    if not isinstance(frame, SyncStep2 | Update):
        return data
    slices = []
    for piece in decode_update(frame.update, bytes_max=2**24):
        feed = node.replica.document.by_client.get(piece.client)
        if feed is not None and feed.author == author:
            world.counts["withheld"] += 1
            gap = (piece.start, piece.end - piece.start)
            slices.append(piece._replace(records=[], gaps=[gap]))
        else:
            slices.append(piece)
    return encode_frame(type(frame)(encode_update(slices)))
