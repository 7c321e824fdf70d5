"""A bucket for each author, so that none floods the others."""

import pytest

from crdt.contract.ready import Noticed
from crdt.ledger.ingest import UndecodableRecord
from crdt.ledger.ledger import Ledger
from crdt.ledger.rate_limits import TOO_MANY_EVENTS, TOO_MANY_STATEMENTS, AuthorRateLimits, is_news
from crdt.primitives import limits
from crdt.primitives.token_bucket import TokenBucket
from crdt.records.bodies import Role
from crdt.records.signatures import verify_batch
from machines import pipeline as p
from tests.support.builders.cluster import START, Cluster, Found, key
from tests.support.builders.ledger_fixture import spawn
from tests.support.builders.record_author import RecordAuthor, as_frame

NOTHING = Ledger(Found().id, Found().founder.pubkey, verify_batch)
"""To which everything is news."""


def records(number, count):
    pen = RecordAuthor(key(number), Found().id, START.ms)
    return [pen.story(f"s-{n}", title="x") for n in range(count)]


def test_rate_limit_spares_other_authors(monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 3)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_PER_SECOND", 1.0)
    quota = AuthorRateLimits(key(1).pubkey)
    flood, honest = records(2, 10), records(3, 3)
    assert quota.take([*flood, *honest], NOTHING) == [*flood[:3], *honest]
    assert [notice.node for notice in quota.news()] == [key(2).pubkey]
    quota.mono = 2.0
    assert quota.take(flood[3:], NOTHING) == flood[3:5]
    assert quota.news() == []  # told already
    quota.mono = 70.0
    quota.take(flood[5:] * 30, NOTHING)
    [again] = quota.news()
    assert again.node == key(2).pubkey


def test_roster_records_of_an_admin_are_limited(monkeypatch):
    monkeypatch.setattr(limits, "STATEMENTS_BURST", 3)
    monkeypatch.setattr(limits, "STATEMENTS_PER_SECOND", 1.0)
    quota = AuthorRateLimits(key(1).pubkey)
    admin = RecordAuthor(key(2), Found().id, START.ms)
    founder = RecordAuthor(Found().founder, Found().id, START.ms)
    said, by_founder = (
        [pen.member(key(3).pubkey, Role.MEMBER) for _ in range(5)] for pen in (admin, founder)
    )
    assert quota.take([*said, *by_founder], NOTHING) == [*said[:3], *by_founder]
    assert quota.news() == [
        Noticed("flood", f"{key(2).pubkey.short} {TOO_MANY_STATEMENTS}", key(2).pubkey),
    ]
    quota.give_back(said[:1], NOTHING, [])
    assert quota.take(said[3:], NOTHING) == said[3:4]
    quota.mono = 1.0
    assert quota.take(said[4:], NOTHING) == said[4:]


def test_revocation_is_charged_by_its_size(monkeypatch):
    monkeypatch.setattr(limits, "STATEMENTS_BURST", 10)
    monkeypatch.setattr(limits, "STATEMENT_STEPS", 10)
    admin = RecordAuthor(key(2), Found().id, START.ms)
    named = [admin.member(key(3).pubkey, Role.MEMBER) for _ in range(3)]
    small, large = (
        admin.revocation(key(3).pubkey, named, [(n, 1) for n in range(many)]) for many in (3, 6)
    )
    assert AuthorRateLimits(key(1).pubkey).take([small], NOTHING) == [
        small
    ]  # 1 + (10 * 6 + 9) / 10
    assert AuthorRateLimits(key(1).pubkey).take([large], NOTHING) == []  # 1 + (10 * 9 + 18) / 10


def test_the_own_records_always_come_back(monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 1)
    own = records(1, 5)
    quota = AuthorRateLimits(key(1).pubkey)
    assert quota.take(own, NOTHING) == own
    assert quota.news() == []


def test_unknown_keys_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(limits, "LINKS_MAX", 4)
    quota = AuthorRateLimits(key(1).pubkey)
    for number in range(2, 60):
        quota.mono = float(number)
        quota.take(records(number, 1), NOTHING)
    assert len(quota._records._buckets) <= 5
    assert not quota._records._reported


def test_feeds_have_a_bucket_of_their_own(monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_FEEDS_BURST", 2)
    monkeypatch.setattr(limits, "AUTHOR_FEEDS_PER_SECOND", 0.1)
    quota = AuthorRateLimits(key(1).pubkey)
    liar, honest = key(2).pubkey, key(3).pubkey
    assert [quota.opens(liar) for _ in range(3)] == [True, True, False]
    assert quota.opens(honest)
    assert all(quota.opens(key(1).pubkey) for _ in range(9))
    assert [(one.what, one.node) for one in quota.news()] == [("flood", liar)]
    assert len(quota.take(records(2, 3), NOTHING)) == 3
    quota.mono = 11.0
    assert [quota.opens(liar) for _ in range(2)] == [True, False]
    assert quota.news() == []


def test_events_of_one_story_are_limited(monkeypatch):
    monkeypatch.setattr(limits, "STORY_EVENTS_BURST", 3)
    monkeypatch.setattr(limits, "STORY_EVENTS_PER_SECOND", 0.5)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 8)
    quota = AuthorRateLimits(key(1).pubkey)
    own, liar, honest = (RecordAuthor(key(number), Found().id, START.ms) for number in (1, 2, 3))
    begin = liar.transition("s-1", p.DepsMet())
    events = [begin, liar.ack("s-1", begin), *(liar.transition("s-1", p.Abandon()) for _ in "abc")]
    others = [liar.transition("s-2", p.Abandon()), liar.story("s-1")]
    mine = [own.transition("s-1", p.Abandon()) for _ in range(5)]
    theirs = [honest.transition("s-1", p.Abandon())]
    taken = quota.take([*events, *others, *mine, *theirs], NOTHING)
    assert taken == [*events[:3], *others, *mine, *theirs]
    assert [(one.node, one.detail) for one in quota.news()] == [
        (liar.node, f"{liar.node.short} {TOO_MANY_EVENTS}")
    ]
    # What did not fit spent nothing of what is taken of its author in all.
    assert len(quota.take([liar.story(f"t-{number}") for number in range(5)], NOTHING)) == 3
    quota.mono = 2.5
    assert quota.take(events[3:], NOTHING) == events[3:4]


def test_buckets_are_pruned_when_they_double(monkeypatch):
    monkeypatch.setattr(limits, "LINKS_MAX", 4)
    looked = []
    original = TokenBucket.full
    monkeypatch.setattr(TokenBucket, "full", lambda b, mono: looked.append(1) or original(b, mono))
    quota = AuthorRateLimits(key(1).pubkey)
    pen = RecordAuthor(key(2), Found().id, START.ms)
    assert (
        len(quota.take([pen.transition(f"s-{n}", p.Abandon()) for n in range(200)], NOTHING)) == 200
    )
    assert len(looked) <= 2 * 200


# --- what is news --------------------------------------------------------------------------


def test_known_record_is_no_news(court):
    held = court.bob.story("a", title="x")
    waits = court.bob.transition("b", p.GatesStarted(), court.cat.transition("b", p.DepsMet()))
    refused = court.bob.member(court.sam.node, Role.MEMBER)
    assert all(is_news(court.ledger, record) for record in (held, waits, refused))
    court.take(held, waits, refused)
    assert [court.verdict(record) for record in (waits, refused)] == ["pending", "rejected"]
    assert not any(is_news(court.ledger, record) for record in (held, waits, refused))


def test_superseded_record_is_no_news(court):
    old, new = spawn(court.bob), spawn(court.bob)
    court.take(new)
    assert is_news(court.ledger, old), "that its slot is empty is news"
    court.take(old)
    assert not is_news(court.ledger, old)


def test_false_gap_does_not_hide_news(court):
    """A record that turns up for a clock inside it is judged like any other."""
    hidden, key_less, last = spawn(court.bob, "s-1"), court.bob.story("a"), spawn(court.bob, "s-2")
    court.take(last)
    court.ledger.believe_gap(last.feed, 0, 2)
    assert is_news(court.ledger, hidden)
    assert is_news(court.ledger, key_less)
    court.take(hidden, key_less)
    assert hidden in court.live(court.bob)


def test_another_record_in_a_slot_is_news(court):
    record = court.bob.story("a")
    court.take(record)
    assert is_news(court.ledger, court.bob.story("a", clock=record.clock))


def test_a_proof_is_news_wherever_it_is_found(court):
    """Evidence that its author superseded may be all that is left of a proof."""
    lower, higher = (
        court.bob.evidence(*(court.cat.story("f", title=title, clock=clock) for title in "ab"))
        for clock in (1, 5)
    )
    court.take(higher)
    court.ledger.believe_gap(higher.feed, 0, higher.clock)
    assert is_news(court.ledger, lower)
    court.take(lower)
    assert court.ledger.fork_of(lower.body.feed) == 1
    assert not is_news(court.ledger, lower)


def test_undecodable_record_is_news_until_rejected(court):
    spoilt = UndecodableRecord(court.bob.story("a").feed, 0, b"x" * 80, b"i" * 32, "no body")
    court.take(court.bob.story("b"))
    assert is_news(court.ledger, spoilt)
    court.take(spoilt)
    assert not is_news(court.ledger, spoilt)


def old_and_new(cluster, count=40):
    """What an honest node wrote for one key, the last of which alone is live."""
    pen = RecordAuthor(cluster.keys[1], cluster.found.id, cluster.ms - 100_000, incarnation=77)
    return [spawn(pen) for _ in range(count)]


@pytest.fixture
def trio(monkeypatch):
    """The founder, an honest member and a relay, who has what the honest one wrote."""
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 60)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_PER_SECOND", 0.0)
    return cluster


def test_repeated_old_records_are_not_charged(trio):
    old, (den, relay) = old_and_new(trio), (trio.replicas[0], trio.keys[2].pubkey)
    for _ in range(20):
        trio.carry(0, den.receive(relay, as_frame(*old), trio.now))
    trio.add(1, "honest")
    trio.settle(2)
    assert "honest" in den.ledger.board
    assert not [o for o in trio.observed[0] if isinstance(o, Noticed) and o.what == "flood"]


def test_repeated_record_is_charged_once(trio):
    [record] = old_and_new(trio, 1)
    den, relay = trio.replicas[0], trio.keys[2].pubkey
    trio.carry(0, den.receive(relay, as_frame(*[record] * 1000), trio.now))
    trio.add(1, "honest")
    trio.settle(2)
    assert "honest" in den.ledger.board


def test_what_there_was_no_room_for_costs_nothing(trio, monkeypatch):
    """A relay that withholds a parent brings what hangs below it again and again."""
    monkeypatch.setattr(limits, "PENDING_PER_AUTHOR_MAX", 3)
    pen = RecordAuthor(trio.keys[1], trio.found.id, trio.ms, incarnation=77)
    parent = pen.transition("s-1", p.DepsMet())
    orphans = [pen.transition("s-1", p.GatesStarted(), parent) for _ in range(40)]
    den, relay = trio.replicas[0], trio.keys[2].pubkey
    for _ in range(20):
        trio.carry(0, den.receive(relay, as_frame(*orphans), trio.now))
    assert len(den.ledger.pending) == 3
    trio.add(1, "honest")
    trio.settle(2)
    assert "honest" in den.ledger.board


def test_records_not_accepted_are_refunded(monkeypatch):
    monkeypatch.setattr(limits, "STORY_EVENTS_BURST", 1)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 1)
    pen = RecordAuthor(key(2), Found().id, START.ms)
    for record in (pen.transition("s-1", p.Abandon()), pen.story("s-1")):
        quota = AuthorRateLimits(key(1).pubkey)
        assert quota.take([record], NOTHING) == [record]
        assert quota.take([record], NOTHING) == []
        quota.give_back([record], NOTHING, [])
        assert quota.take([record], NOTHING) == [record]
