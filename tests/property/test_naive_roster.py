"""The roster equals a second, naive one, whatever its statements say and in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.primitives.identity import FeedId
from crdt.records.bodies import Member, Role
from crdt.views.roster import Roster
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor
from tests.support.oracles import naive_roster

FOUND = Found()
KEYS = [key(number) for number in range(1, 6)]
NODES = [k.pubkey for k in KEYS]
SLOTS = [(incarnation, clock) for incarnation in (0, 1) for clock in range(4)]


@st.composite
def statements(draw):
    """Admissions and revocations by anybody of anybody; most by the founder and whom it named."""
    pens = [RecordAuthor(k, FOUND.id, START.ms) for k in KEYS]
    records = [FOUND.record]
    pens[0].clock = 1
    for pen in draw(st.lists(st.sampled_from([*pens, pens[0], pens[0], pens[1]]), max_size=12)):
        node = draw(st.sampled_from(NODES))
        if draw(st.booleans()):
            records.append(pen.member(node, draw(st.sampled_from(Role))))
            continue
        members = [record for record in records if isinstance(record.body, Member)]
        admissions = draw(st.lists(st.sampled_from(members), max_size=2))
        if admissions and draw(st.integers(0, 3)):
            node = admissions[0].body.node
        keep = draw(st.dictionaries(st.integers(0, 1), st.integers(0, 3)))
        records.append(pen.revocation(node, admissions, sorted(keep.items())))
    return records


@settings(max_examples=200)
@given(statements(), st.randoms(use_true_random=False))
def test_the_roster_is_the_naive_roster(records, chance):
    founder = FOUND.founder.pubkey
    naive = naive_roster.NaiveRoster(founder, records)
    shuffled = [*records]
    chance.shuffle(shuffled)
    found = Roster(founder, shuffled)
    for node in NODES:
        assert found.on_roster(node) == naive.on_roster(node)
        assert found.role(node) is naive.role(node)
        assert found.belongs(node) == (naive.role(node) is not None)
        for incarnation, clock in SLOTS:
            feed = FeedId(node, incarnation)
            assert found.role_of_slot(feed, clock) is naive.role_of_slot(node, incarnation, clock)
            assert found.keeps(feed) == naive.keeps(node, incarnation)
    for record in naive.admissions:
        assert found.counts(record) == naive.admission_counts(record)
    assert found.changed_nodes(Roster(founder, records)) == set()


@given(statements())
def test_whoever_has_a_role_holds_every_slot_in_it_at_least(records):
    """So a node that may write may write in whatever feed it goes on in."""
    found = Roster(FOUND.founder.pubkey, records)
    rank = [None, Role.OBSERVER, Role.MEMBER, Role.ADMIN]
    for node in NODES:
        for incarnation, clock in SLOTS:
            slot = found.role_of_slot(FeedId(node, incarnation), clock)
            assert rank.index(slot) >= rank.index(found.role(node))
