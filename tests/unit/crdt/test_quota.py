"""A bucket for each author, so that none floods the others."""

from crdt import limits
from crdt.frame import RecordsWanted, encode_frame
from crdt.quota import Quota
from crdt.ready import Noticed
from tests.support.authors import Pen, as_frame
from tests.support.cluster import START, Cluster, Found, key


def records(number, count):
    pen = Pen(key(number), Found().id, START.ms)
    return [pen.story(f"s-{n}", title="x") for n in range(count)]


def test_what_does_not_fit_waits_and_others_are_unharmed(monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 3)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_PER_SECOND", 1.0)
    quota = Quota(key(1).pubkey)
    flood, honest = records(2, 10), records(3, 3)
    assert quota.take([*flood, *honest]) == [*flood[:3], *honest]
    assert [notice.node for notice in quota.news()] == [key(2).pubkey]
    quota.mono = 2.0
    assert quota.take(flood[3:]) == flood[3:5]
    assert quota.news() == []  # told already
    quota.mono = 70.0
    quota.take(flood[5:] * 30)
    [again] = quota.news()
    assert again.node == key(2).pubkey


def test_the_own_records_always_come_back(monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 1)
    own = records(1, 5)
    quota = Quota(key(1).pubkey)
    assert quota.take(own) == own
    assert quota.news() == []


def test_keys_that_nobody_knows_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(limits, "LINKS_MAX", 4)
    quota = Quota(key(1).pubkey)
    for number in range(2, 60):
        quota.mono = float(number)
        quota.take(records(number, 1))
    assert len(quota._records._buckets) <= 5
    assert not quota._records._told


def test_feeds_have_a_bucket_of_their_own(monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_FEEDS_BURST", 2)
    monkeypatch.setattr(limits, "AUTHOR_FEEDS_PER_SECOND", 0.1)
    quota = Quota(key(1).pubkey)
    liar, honest = key(2).pubkey, key(3).pubkey
    assert [quota.opens(liar) for _ in range(3)] == [True, True, False]
    assert quota.opens(honest)
    assert all(quota.opens(key(1).pubkey) for _ in range(9))
    assert [(one.what, one.node) for one in quota.news()] == [("flood", liar)]
    assert len(quota.take(records(2, 3))) == 3
    quota.mono = 11.0
    assert [quota.opens(liar) for _ in range(2)] == [True, False]
    assert quota.news() == []


def test_a_flood_is_told_and_what_did_not_fit_comes_back_when_asked_for(monkeypatch):
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_BURST", 4)
    monkeypatch.setattr(limits, "AUTHOR_RECORDS_PER_SECOND", 1.0)
    cluster = Cluster(2)
    cluster.admit_all()
    cluster.link_all()
    cluster.settle(2)
    pen = Pen(cluster.keys[1], cluster.found.id, cluster.ms)
    written = [pen.story(f"s-{n}", title="x") for n in range(8)]
    den, liar = cluster.replicas[0], cluster.keys[1].pubkey
    cluster.carry(0, den.receive(liar, as_frame(*written), cluster.now))
    assert len(den.ledger.board) == 4
    told = [e for e in cluster.observed[0] if isinstance(e, Noticed) and e.what == "flood"]
    assert [e.node for e in told] == [liar]
    assert not cluster.faults
    cluster.pass_time(60)
    cluster.carry(0, den.receive(liar, as_frame(*written), cluster.now))
    assert len(den.ledger.board) == 8
    wanted = encode_frame(RecordsWanted(liar, 0, ((0, 8),)))
    ready = den.receive(liar, wanted, cluster.now)
    assert len(ready.reply) == 1
