import pytest
from msgspec import structs

from crdt.ledger.roster_statements import Statements
from crdt.primitives import limits
from crdt.primitives.identity import Hash
from crdt.records.bodies import Role
from crdt.records.horizon import Horizon
from machines.values import Instant


@pytest.fixture
def horizon(court):
    horizon = Horizon()
    horizon.set_time(court.now)
    return horizon


def known(*records):
    statements = Statements()
    for record in records:
        statements.add(record)
    return statements


def nowhere(_record):
    return False


def test_what_is_known_is_kept_until_it_is_discarded(court, horizon):
    one, two = court.admissions[court.bob.node], court.admissions[court.cat.node]
    statements = known(one, two)
    assert statements.due(horizon, nowhere) == [one, two]
    statements.discard(one)
    statements.discard(one)
    assert statements.due(horizon, nowhere) == [two]


def test_statement_stamped_ahead_is_not_due(court, horizon):
    ahead = court.ms + limits.STAMP_AHEAD_MS_MAX
    court.founder.ms = ahead - 1
    last = court.founder.revocation(court.bob.node, [])
    early = court.founder.revocation(court.cat.node, [])
    assert [last.body.at.ms, early.body.at.ms] == [ahead, ahead + 1]
    statements = known(last, early)
    assert statements.due(horizon, nowhere) == [last]
    assert not statements.have_moved(horizon)
    horizon.set_time(Instant.from_ms(court.ms + 1))
    assert statements.have_moved(horizon)
    assert statements.due(horizon, nowhere) == [last, early]
    assert not statements.have_moved(horizon)
    horizon.set_time(Instant.from_ms(court.ms - limits.STAMP_LEEWAY_MS))
    assert statements.have_moved(horizon)
    assert statements.due(horizon, nowhere) == []
    assert statements.due(horizon, lambda _record: True) == [last]


def test_stored_statements_count_with_a_wrong_clock(court, horizon):
    one, two = court.admissions[court.bob.node], court.admissions[court.cat.node]
    statements = known(one, two)
    horizon.note(court.found.record)
    horizon.set_time(Instant("2021-01-01T00:00:00.000Z"))
    assert statements.due(horizon, lambda record: record is one) == [one]
    assert not statements.have_moved(horizon)


def test_ticket_is_used_even_if_admission_does_not_count(court):
    ticket = Hash(b"t" * 32)
    admission = court.admissions[court.bob.node]
    guest = structs.replace(admission.body, node=court.sam.node, ticket=ticket)
    early = structs.replace(guest, node=court.cat.node, at=Instant("2090-01-01T00:00:00.000Z"))
    statements = known(admission, court.founder.write(guest), court.founder.write(early))
    statements.add(court.ada.revocation(court.sam.node, []))
    assert statements.ticket_users(ticket) == {court.sam.node, court.cat.node}
    assert statements.ticket_users(Hash(bytes(32))) == set()


def test_those_by_some_nodes_or_about_them_are_found(court):
    statements = Statements()
    one = court.ada.member(court.bob.node, Role.MEMBER)
    two = court.cat.member(court.obs.node, Role.MEMBER)
    for record in (one, two):
        statements.add(record)
    assert statements.about({court.bob.node}) == statements.about({court.ada.node}) == [one]
    assert statements.about({court.cat.node, court.ada.node}) == [one, two]
    assert statements.about({court.sam.node}) == []
