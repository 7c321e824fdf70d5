import pytest

from crdt.contract.ready import Now
from crdt.presence.tracker import PresenceTracker
from crdt.primitives import limits
from crdt.primitives.errors import PeerFault
from crdt.records.signatures import verify_batch
from crdt.wire.messages import Awareness
from machines.values import Instant


def beacon(court, pen):
    return PresenceTracker(pen.signing, court.cluster, verify_batch, bytes(pen.node[:8]))


def at(court, seconds=0.0):
    return Now(Instant.from_ms(court.ms + int(seconds * 1000)), seconds)


def hear(court, to, frame, by, seconds=0.0):
    return to.receive(by.node, frame, court.ledger.roster, at(court, seconds))


def test_presence_is_announced_every_15_seconds(court):
    mine = beacon(court, court.bob)
    said = [second for second in range(60) if mine.announce(at(court, second)) is not None]
    assert said == [0, 15, 30, 45]


def test_announced_presence_reaches_other_nodes(court):
    mine, theirs = beacon(court, court.bob), beacon(court, court.cat)
    mine.addresses = ("wss://bob:7747",)
    mine.beats["s-1"] = court.now
    news = hear(court, theirs, mine.announce(at(court)), court.bob)
    assert news.addresses == {court.bob.node: ("wss://bob:7747",)}
    assert len(news.entries) == 1
    heard = theirs.liveness.last(court.bob.node)
    assert heard.state.beats == {"s-1": court.now}
    assert theirs.liveness.status(court.bob.node, 0.0) == "alive"


def test_repeated_presence_is_not_forwarded(court):
    mine, theirs = beacon(court, court.bob), beacon(court, court.cat)
    frame = mine.announce(at(court))
    assert hear(court, theirs, frame, court.bob).entries
    again = hear(court, theirs, frame, court.ada, 1.0)
    assert (again.entries, again.addresses) == ((), {})


def test_older_duplicate_changes_no_address(court):
    mine, theirs = beacon(court, court.bob), beacon(court, court.cat)
    twin = PresenceTracker(court.bob.signing, court.cluster, verify_batch, bytes(8))
    mine.addresses, twin.addresses = ("wss://bob:7747",), ("wss://twin:7747",)
    hear(court, theirs, mine.announce(at(court, 60)), court.bob, 60)
    late = twin.announce(at(court, 30))
    news = hear(court, theirs, late, court.ada, 61)
    assert news.entries == late.entries
    assert news.addresses == {}
    assert hear(court, theirs, late, court.ada, 62).entries == ()


def test_node_behind_nat_announces_no_address(court):
    mine, theirs = beacon(court, court.bob), beacon(court, court.cat)
    assert hear(court, theirs, mine.announce(at(court)), court.bob).addresses == {}


def test_presence_of_a_stranger_is_ignored(court):
    theirs = beacon(court, court.cat)
    assert (
        hear(court, theirs, beacon(court, court.sam).announce(at(court)), court.bob).entries == ()
    )
    assert theirs.liveness.last(court.sam.node) is None


def test_own_presence_is_ignored(court):
    mine = beacon(court, court.bob)
    assert hear(court, mine, mine.announce(at(court)), court.cat).entries == ()


def test_unsigned_presence_is_a_peer_fault(court):
    [entry] = beacon(court, court.bob).announce(at(court)).entries
    forged = Awareness((entry._replace(clock=entry.clock + 1),))
    with pytest.raises(PeerFault):
        hear(court, beacon(court, court.cat), forged, court.ada)


def test_each_presence_has_a_new_clock(court):
    mine = beacon(court, court.bob)
    clocks = [
        mine.announce(at(court, n * limits.PRESENCE_SECONDS)).entries[0].clock for n in range(3)
    ]
    assert clocks == [1, 2, 3]


def test_everybody_fits_frames_that_a_peer_accepts(court, monkeypatch):
    ears = beacon(court, court.ada)
    assert ears.everybody() == []
    for pen in (court.bob, court.cat):
        hear(court, ears, beacon(court, pen).announce(at(court)), pen)
    [whole] = ears.everybody()
    monkeypatch.setattr(limits, "AWARENESS_ENTRIES_MAX", 1)
    assert [frame.entries for frame in ears.everybody()] == [(entry,) for entry in whole.entries]


def test_announce_soon_keeps_the_rate_limit(court):
    mine = beacon(court, court.bob)
    mine.announce(at(court, 0))
    mine.announce_soon()
    assert mine.announce(at(court, 0.5)) is None
    assert mine.announce(at(court, 1.0)) is not None
    mine.announce_soon()
    mine.announce_soon()
    assert mine.announce(at(court, 1.9)) is None
    assert mine.announce(at(court, 2.0)) is not None
    assert mine.announce(at(court, 16.9)) is None
    assert mine.announce(at(court, 17.0)) is not None


def twin(court):
    made = PresenceTracker(court.bob.signing, court.cluster, verify_batch, b"another!")
    made.host = "kennel-2"
    return made


def test_duplicates_are_reported_once(court):
    mine, other, theirs = beacon(court, court.bob), twin(court), beacon(court, court.cat)
    mine.host = "kennel-1"
    early = other.announce(at(court, 0))
    assert hear(court, mine, early, court.cat).noticed == (), "it may be an earlier start's"
    assert mine.announce(at(court, 1)) is not None
    mine.announce(at(court, 2))
    hear(court, mine, early, court.cat, 2.5)
    heard = hear(court, other, mine.announce(at(court, 17)), court.cat, 17)
    [told] = heard.noticed
    assert (told.what, told.node) == ("twin", court.bob.node)
    assert "kennel-1" in told.detail
    said = other.announce(at(court, 18))
    assert said is not None, "the other one should learn of it soon"
    [back] = hear(court, mine, said, court.cat, 18).noticed
    assert "kennel-2" in back.detail
    assert hear(court, mine, said, court.cat, 18.5).noticed == ()
    [news] = hear(court, theirs, said, court.bob, 18).noticed
    assert (news.what, news.node) == ("twin", court.bob.node)
    assert "kennel-1" in news.detail
    again = other.announce(at(court, 40))
    assert hear(court, theirs, again, court.bob, 40).noticed == (), "told once"


def test_clock_of_the_peer_is_returned(court):
    mine, theirs = beacon(court, court.bob), beacon(court, court.cat)
    frame = mine.announce(at(court, 3))
    assert hear(court, theirs, frame, court.bob).at == at(court, 3).wall
    assert hear(court, theirs, frame, court.ada).at is None
