"""What an operator is told of what is not as it should be."""

from crdt.contract.ready import PeerFaulted, RecordRejected, RosterChange, RosterMoved
from crdt.primitives.errors import Reason
from crdt.primitives.identity import RecordId, RecordRef
from crdt.records.bodies import Role
from node.reporting import queries
from node.runtime import operator_notices
from node.runtime.operator_notices import ROSTER_AT_ONCE, Notices
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.ledger_fixture import LedgerFixture


def test_what_does_not_count_because_the_clock_was_set_back_is_told():
    cluster = Cluster(1)
    cluster.ms += 2 * 3600 * 1000
    cluster.add(0, "s-1")
    assert operator_notices.standing(cluster.replicas[0], cluster.now) == []
    cluster.ms -= 3600 * 1000
    cluster.restart(0)
    assert "s-1" not in cluster.replicas[0].ledger.board
    [sentence] = operator_notices.standing(cluster.replicas[0], cluster.now)
    assert "ahead of this host's clock: 1;" in sentence
    cluster.ms += 3600 * 1000
    cluster.tick()
    assert operator_notices.standing(cluster.replicas[0], cluster.now) == []


def admitted(number):
    return RosterChange(key(number).pubkey, f"n-{number}", "member", "", "", key(1).pubkey)


def test_a_change_of_the_roster_is_logged_with_the_names_that_are_known(caplog):
    caplog.set_level("INFO", "gangline")
    court, taken = LedgerFixture(), Notices()
    taken.called = queries.Called(lambda: court.ledger.roster)
    court.take(court.founder.member(court.ada.node, Role.ADMIN, "ada"))
    [moved] = court.take(court.ada.member(court.sam.node, Role.MEMBER, "sam")).observed[:1]
    taken.on_event(moved)
    [entry] = caplog.records
    assert entry.getMessage() == f"sam ({court.sam.node.short}) was admitted as member by ada"
    assert entry.fields == {
        "what": "roster", "node": court.sam.node.hex(), "name": "sam", "role": "member",
        "by": court.ada.node.hex(),
    }  # fmt: skip
    assert taken.current(Cluster(1).replicas[0], Cluster(1).now) == (), "it is no trouble"


def test_a_roster_that_moves_without_end_does_not_fill_the_log(caplog, monkeypatch):
    caplog.set_level("INFO", "gangline")
    monkeypatch.setattr(operator_notices.clock, "monotonic", lambda: 100.0)
    taken = Notices()
    for number in range(10, 1000):
        taken.on_event(RosterMoved((admitted(number % 200 + 1),)))
    assert len(caplog.records) == ROSTER_AT_ONCE + 1
    assert "faster than is told" in caplog.records[-1].getMessage()


def test_a_node_that_left_is_not_told_that_it_was_revoked(caplog):
    caplog.set_level("INFO", "gangline")
    taken = Notices()
    taken.own = key(2).pubkey.hex()
    gone = RosterMoved((RosterChange(key(2).pubkey, "b", "revoked", "b", "member", None),))
    taken.on_event(gone)
    assert caplog.records.pop().getMessage() == f"this node, b ({key(2).pubkey.short}), was revoked"
    taken.has_left = lambda: True
    taken.on_event(gone)
    assert caplog.records == []


def test_what_a_node_is_called_is_worked_out_anew_where_the_roster_moved():
    court = LedgerFixture()
    called = queries.Called(lambda: court.ledger.roster)
    sam = court.sam.node
    assert called(sam) == sam.short
    first = called.names
    assert called.names is first
    court.take(court.ada.member(sam, Role.MEMBER, "sam"))
    assert called(sam) == f"sam ({sam.short})"


def test_who_did_what_no_honest_node_does_is_logged_by_name_and_with_what_it_was(caplog):
    court, taken = LedgerFixture(), Notices()
    taken.called = queries.Called(lambda: court.ledger.roster)
    court.take(court.ada.member(court.sam.node, Role.MEMBER, "sam"))
    sam = court.sam.node
    record = RecordRef(sam, 3, 7, RecordId(bytes(32)))
    taken.on_event(RecordRejected(record, Reason.ILLEGAL_TRANSITION, "qa ignores accepted", None))
    taken.on_event(PeerFaulted(sam, Reason.TOO_LARGE, "a frame of 9 MiB"))
    assert [entry.getMessage() for entry in caplog.records] == [
        f"rejected a record of sam ({sam.short}), 3#7: illegal_transition: qa ignores accepted",
        f"dropped sam ({sam.short}): too_large: a frame of 9 MiB",
    ]
