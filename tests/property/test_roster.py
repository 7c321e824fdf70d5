"""The roster is one in whatever order its records come, with any choice of what to keep."""

from hypothesis import given
from hypothesis import strategies as st

from crdt.ledger.ledger import Ledger
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.records.signatures import verify_batch
from crdt.views.roster import Roster
from machines.values import Instant
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor

FOUND = Found()
KEYS = [key(number) for number in range(1, 6)]
NOW = Instant.from_ms(START.ms + 60_000)
INCARNATIONS = (0, 7)


@st.composite
def statements(draw):
    """Admissions and revocations by anybody of anybody, in two feeds each, forks among them."""
    pens = [
        RecordAuthor(signing, FOUND.id, START.ms, incarnation, clock=1 if signing is KEYS[0] else 0)
        for signing in KEYS
        for incarnation in INCARNATIONS
    ]
    records = [FOUND.record]
    for _ in range(draw(st.integers(1, 20))):
        pen = draw(st.sampled_from(pens))
        node = draw(st.sampled_from(KEYS)).pubkey
        where = {}
        if pen.clock and draw(st.integers(0, 7)) == 0:
            where["clock"] = draw(st.integers(0, pen.clock - 1))
        if draw(st.booleans()):
            record = pen.member(node, draw(st.sampled_from(list(Role))), **where)
        else:
            named = draw(st.lists(st.sampled_from(records), max_size=4, unique=True))
            chosen = draw(st.sets(st.sampled_from(INCARNATIONS)))
            keep = [(incarnation, draw(st.integers(0, 6))) for incarnation in sorted(chosen)]
            record = pen.revocation(node, named, keep, **where)
        records.append(record)
    return records


def standing(roster):
    """All that anything else asks of a roster."""
    slots = [(FeedId(k.pubkey, i), c) for k in KEYS for i in INCARNATIONS for c in range(8)]
    return (
        roster.nodes(),
        [(roster.role(k.pubkey), roster.name(k.pubkey), roster.belongs(k.pubkey)) for k in KEYS],
        [(roster.role_of_slot(feed, clock), roster.keeps(feed)) for feed, clock in slots],
        [roster.admissions(k.pubkey) for k in KEYS],
    )


@given(statements(), st.randoms(use_true_random=False))
def test_a_roster_is_the_same_in_every_order(records, chance):
    founder = KEYS[0].pubkey
    shuffled = records[:]
    chance.shuffle(shuffled)
    assert standing(Roster(founder, records)) == standing(Roster(founder, shuffled))


@given(statements(), st.randoms(use_true_random=False))
def test_a_ledger_comes_to_the_same_roster_however_its_records_come(records, chance):
    """One at a time or all at once, twice or once, with what was void or waiting in between."""
    found = []
    for _ in range(2):
        ledger = Ledger(FOUND.id, KEYS[0].pubkey, verify_batch)
        arriving = [*records, *chance.sample(records, len(records) // 2)]
        chance.shuffle(arriving)
        while arriving:
            size = chance.randint(1, len(arriving))
            ledger.merge(arriving[:size], NOW)
            del arriving[:size]
        found.append(standing(ledger.roster))
    assert found[0] == found[1]


@given(statements())
def test_nobody_has_a_role_but_by_the_word_of_who_may_give_it(records):
    founder = KEYS[0].pubkey
    roster = Roster(founder, records)
    assert roster.role(founder) is Role.ADMIN
    for signing in KEYS[1:]:
        for admission in roster.admissions(signing.pubkey):
            by = admission.ref.author
            if admission.body.role is Role.ADMIN:
                assert by == founder
            assert by != signing.pubkey
            feed = FeedId(by, admission.ref.incarnation)
            assert by == founder or roster.role_of_slot(feed, admission.ref.clock) is Role.ADMIN
            assert all(take.ref.author in (by, founder) for take in admission.revocations)
