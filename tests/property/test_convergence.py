"""Any order of any set of records, hostile ones included, gives one digest and one view."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrdt import Array

from crdt.contract.ready import Now
from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import FeedId, Hash
from crdt.records.bodies import SEAL_KEY, Role, Seal, Transition
from crdt.records.record import sign_record
from crdt.records.signatures import verify_batch
from crdt.replica import Replica
from crdt.sync import anti_entropy
from crdt.sync.yjs_document import Document
from machines import execution as x
from machines.values import AgentName, Instant
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor, as_frame
from tests.support.strategies import records as strategies

FOUND = Found()
NOW = Instant.from_ms(START.ms + 60_000)
KEYS = [key(number) for number in range(1, 7)]


@st.composite
def histories(draw, *, forks=True):
    """Records by a founder, admins, members, an observer and a stranger, who stop at nothing.

    Each writes at its next clock, or again at an old one (a fork); parents, admissions and roles
    are whatever was drawn.
    """
    pens = [RecordAuthor(k, FOUND.id, START.ms, clock=0) for k in KEYS]
    pens[0].clock = 1
    roles = [Role.ADMIN, Role.MEMBER, Role.MEMBER, Role.OBSERVER]
    records = [FOUND.record]
    records += [pens[0].member(pen.node, role) for pen, role in zip(pens[1:], roles, strict=False)]
    for _ in range(draw(st.integers(1, 25))):
        pen = draw(st.sampled_from(pens))
        where = {}
        if forks and pen.clock and draw(st.integers(0, 9)) == 0:
            where["clock"] = draw(st.integers(0, pen.clock - 1))
        records.append(draw_record(draw, pen, records, where))
    return records


def draw_record(draw, pen, records, where):
    story = draw(st.sampled_from(["s-1", "s-2"]))
    events = [r for r in records if isinstance(r.body, Transition)]
    match draw(st.integers(0, 9)):
        case 0:
            return pen.story(story, title=draw(st.sampled_from(["a", "b"])), **where)
        case 1:
            state = x.Pending(AgentName("a"), pen.at())
            event = x.SpawnRequested(AgentName("a"))
            if "clock" in where:  # a twin of what was superseded is seen by nobody
                return pen.story(story, **where)
            return pen.execution(story, x.Idle(), event, state, ms=pen.ms)
        case 2 if events:
            return pen.ack(story, draw(st.sampled_from(events)), **where)
        case 3:
            node = draw(st.sampled_from(KEYS)).pubkey
            return pen.member(node, draw(st.sampled_from(list(Role))), **where)
        case 4:
            admission = draw(st.sampled_from(records[: len(KEYS)]))
            node = getattr(admission.body, "node", KEYS[1].pubkey)
            keep = [(0, draw(st.integers(0, 5)))] if draw(st.booleans()) else []
            return pen.revocation(node, [admission], keep, **where)
        case _:
            parent = draw(st.sampled_from([None, *events[-6:]]))
            event = draw(strategies.pipeline_events)
            ms = None
            if parent is not None:
                ms = max(pen.ms + 1, parent.stamp.at.ms + draw(st.integers(0, 2)))
            return pen.transition(story, event, parent, ms=ms, **where)


def texts(ledger, document):
    """What a Yjs client would read, by root."""
    return {
        feed.root: [bytes(value) for value in document.doc.get(feed.root, type=Array)]
        for feed in ledger.feeds
    }


def taken(records, batch):
    ledger = Ledger(FOUND.id, FOUND.founder.pubkey, verify_batch)
    for start in range(0, len(records), batch):
        ledger.merge(records[start : start + batch], NOW)
    return ledger


def told(ledger, proofs):
    """What anti-entropy brings at the latest: the proofs that others hold."""
    for proof in proofs:
        ledger.accuse(proof)
    ledger.merge((), NOW)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_of_any_records_gives_one_digest_and_one_view(records, chance, batch):
    shuffled = [*records]
    chance.shuffle(shuffled)
    one, other = taken(records, 1), taken(shuffled, batch)
    proofs = [*one.proofs.values(), *other.proofs.values()]
    for ledger in (one, other):
        told(ledger, proofs)
    # What a bound or a rejection dropped comes back by anti-entropy, and is judged alike.
    for ledger in (one, other):
        ledger.merge(records, NOW)
    assert one.board.canonical() == other.board.canonical()
    assert anti_entropy.digest_of_document(one) == anti_entropy.digest_of_document(other)
    assert set(one.feeds) >= {feed for feed in other.feeds if other.feeds[feed].live()}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.randoms(use_true_random=False))
def test_the_fold_kept_step_by_step_is_the_fold_made_at_once(records, chance):
    shuffled = [*records]
    chance.shuffle(shuffled)
    ledger = Ledger(FOUND.id, FOUND.founder.pubkey, verify_batch)
    for record in shuffled:
        ledger.merge([record], NOW)
        list(ledger.board.take_changes())
    again = Ledger(FOUND.id, FOUND.founder.pubkey, verify_batch)
    for feed in ledger.feeds.values():
        for record in feed.live():
            again.board.add(record)
    assert again.board.canonical() == ledger.board.canonical()


def state(ledger):
    return anti_entropy.digest_of_document(ledger), ledger.board.canonical()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(forks=False), st.integers(1, 5))
def test_taking_records_again_changes_nothing(records, batch):
    ledger = taken(records, batch)
    before = state(ledger)
    ledger.merge(records, NOW)
    assert state(ledger) == before


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.integers(1, 5))
def test_forks_are_known_when_each_record_came_twice(records, batch):
    """Once may be too few: a twin of what was superseded finds nothing to be compared with."""
    ledger = taken(records, batch)
    ledger.merge(records, NOW)
    before = state(ledger)
    ledger.merge(records, NOW)
    assert state(ledger) == before


def test_twins_that_come_in_one_call_are_found():
    """Before either has its place, and before a third record supersedes one of them."""
    pen = RecordAuthor(KEYS[1], FOUND.id, START.ms, clock=0)
    admission = RecordAuthor(KEYS[0], FOUND.id, START.ms, clock=1).member(pen.node, Role.MEMBER)
    spawn = x.SpawnRequested(AgentName("a"))
    pending = [x.Pending(AgentName("a"), pen.at()) for _ in range(2)]
    one = pen.execution("s-1", x.Idle(), spawn, pending[0], ms=pending[0].since.ms)
    two = pen.story("s-1", clock=0)
    newer = pen.execution("s-1", x.Idle(), spawn, pending[1], ms=pending[1].since.ms)
    ledger = taken([FOUND.record, admission, one, two, newer], 5)
    assert list(ledger.proofs) == [one.feed]
    once = state(ledger)
    ledger.merge([one, two, newer], NOW)
    assert state(ledger) == once


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.integers(1, 5))
def test_the_document_rendered_step_by_step_is_the_one_rendered_at_once(records, batch):
    ledger = Ledger(FOUND.id, FOUND.founder.pubkey, verify_batch)
    kept = Document(ledger.feeds)
    for start in range(0, len(records), batch):
        kept.note(ledger.merge(records[start : start + batch], NOW))
        kept.show(float(start))
    fresh = Document(ledger.feeds)
    fresh.rebuild()
    assert texts(ledger, kept) == texts(ledger, fresh)


# Through the whole line, and at any time


def replica(number):
    return Replica(KEYS[number], FOUND.id, FOUND.founder.pubkey, seed=bytes([number]) * 32)


def hear(node, records, batches, mono=0.0):
    """Bring records by ``receive``, in frames of so many; a frame holds one feed's alone."""
    peer, at = KEYS[5].pubkey, Now(NOW, mono)
    for start in range(0, len(records), batches):
        by_feed = {}
        for record in records[start : start + batches]:
            by_feed.setdefault(record.feed, []).append(record)
        for together in by_feed.values():
            assert node.receive(peer, as_frame(*together), at).fault is None


def agreed(nodes):
    """Tell each the proofs that the others hold, as anti-entropy does; then all are one."""
    proofs = [proof for node in nodes for proof in node.ledger.proofs.values()]
    for node in nodes:
        told(node.ledger, proofs)
    return len({state(node.ledger) for node in nodes}) == 1


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(histories(), st.data())
def test_merge_is_commutative_associative_and_idempotent(records, data):
    """Records split in any way over calls and over nodes, which then hear each other's share."""
    share = [data.draw(st.integers(0, 2)) for _ in records]
    parts = [[r for r, mine in zip(records, share, strict=True) if mine == n] for n in range(3)]
    nodes = [replica(number) for number in range(4)]
    batches = data.draw(st.integers(1, 5))
    for node, order in zip(nodes, ((0, 1, 2), (2, 1, 0), (1, 0, 2)), strict=False):
        for part in order:
            hear(node, parts[part], batches)
    # (a + b) + c, c + (b + a), (b + a) + c; and all at once, in order, each of them twice.
    hear(nodes[3], records, 25)
    for node in nodes:
        hear(node, records, batches)  # what a bound or a rejection dropped comes back
    assert agreed(nodes)
    before = [state(node.ledger) for node in nodes]
    hear(nodes[0], records, 3)
    assert [state(node.ledger) for node in nodes] == before


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(histories(), st.randoms(use_true_random=False))
def test_a_local_clock_may_delay_a_verdict_and_never_changes_one(records, chance):
    """Whatever clock each record met, once it stands right all is as with a clock that did."""
    right = taken(records, 3)
    shuffled = [*records]
    chance.shuffle(shuffled)
    wrong = Ledger(FOUND.id, FOUND.founder.pubkey, verify_batch)
    for record in shuffled:
        off = chance.choice((0, -limits.STAMP_AHEAD_MS_MAX, -60_000 - limits.STAMP_AHEAD_MS_MAX))
        wall = Instant.from_ms(START.ms + off + chance.randrange(20))
        wrong.merge([record], wall)
        wrong.release_due(wall)
    wrong.release_due(NOW)
    proofs = [*right.proofs.values(), *wrong.proofs.values()]
    for ledger in (right, wrong):
        told(ledger, proofs)
        ledger.merge(records, NOW)
    assert state(right) == state(wrong)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(histories(forks=False), st.randoms(use_true_random=False))
def test_a_true_seal_holds_for_the_whole_feed_and_for_nothing_less(records, chance):
    """Whoever withholds a record, or makes up a gap for it, is seen."""
    ledger = taken(records, 4)
    for number, signing in enumerate(KEYS):
        feed = ledger.feeds.get(FeedId(signing.pubkey, 0))
        if feed is None or feed.keyed_void or not feed.live():
            continue
        count, digest = feed.sealable(feed.next_clock)
        body = Seal(at=NOW, n=number, key=SEAL_KEY, count=count, digest=Hash(digest))
        seal = sign_record(signing, FOUND.id, 0, feed.next_clock, body)
        if feed.id.author != FOUND.founder.pubkey and not ledger.roster.belongs(feed.author):
            continue
        ledger.merge([seal], NOW)
        if ledger.entry(seal.ref) is None:
            continue  # an observer seals nothing
        assert feed.as_sealed() is True
        less = Feed(feed.id, FOUND.id)
        gone = chance.choice([r for r in feed.live() if not isinstance(r.body, Seal)]).record_id
        for record in feed.live():
            if record.record_id != gone:
                less.place(Entry(record, EntryStatus.ADMITTED))
        less.empty(0, less.next_clock)
        assert less.as_sealed() is False
