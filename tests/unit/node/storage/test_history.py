import json

import pytest

from crdt.contract.ready import (
    ClaimMoved,
    EventLost,
    ExecutionMoved,
    ForkProven,
    IncarnationOpened,
    Noticed,
    PeerFaulted,
    Persist,
    RecordAdmitted,
    RecordRejected,
    RosterChange,
    RosterMoved,
    StageMoved,
)
from crdt.primitives.errors import Reason
from crdt.primitives.identity import RecordId, RecordRef
from machines.pipeline import INITIAL_STAGE
from node.reporting import history_report
from node.storage.history import DAY_MS, HistoryBounds
from node.storage.store import Store
from tests.support.builders.cluster import START, key

ONE, TWO = key(1).pubkey, key(2).pubkey
REF = RecordRef(ONE, 0, 7, RecordId(b"r" * 32))
EVENTS = [
    StageMoved("s-1", INITIAL_STAGE, INITIAL_STAGE, REF, "deps_met", (), late=True, own=False),
    EventLost("s-1", REF, "block", RecordRef(TWO, 0, 3, RecordId(b"q" * 32)), "beaten"),
    EventLost("s-1", REF, "block", None, "not legal there"),
    ExecutionMoved("s-1", ONE, "spawn_requested", "pending", REF, own=True),
    ClaimMoved("s-1", None, TWO, lost_by_us=False),
    RecordRejected(REF, Reason.ILLEGAL_TRANSITION, "why", TWO),
    ForkProven(ONE, 4, 5),
    RosterMoved((RosterChange(TWO, "fen", "revoked", "fen", "member", ONE),)),
    PeerFaulted(TWO, Reason.BAD_SIGNATURE, "why"),
    IncarnationOpened(9, "a copy"),
    Noticed("written_again", "detail", ONE),
]


def happened(number):
    return Noticed("number", str(number))


def details(store, **asked):
    return [json.loads(event)["detail"] for _, event in store.history(**asked)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


def test_every_kind_of_event_is_read_back(path):
    with Store(path) as store:
        store.commit(Persist(), [], START.ms, EVENTS)
        rows = history_report.rows(store.history(), {ONE.hex(): "den", TWO.hex(): "fen"})
    assert [row.says for row in reversed(rows)] == [
        "backlog → backlog by deps_met of den/0#7, late",
        "block of den/0#7 lost: beaten by fen/0#3",
        "block of den/0#7 lost: not legal there",
        "den spawn_requested → pending",
        "nobody → fen",
        "den/0#7: illegal_transition: why",
        "den/4 forked at #5",
        f"fen ({TWO.short}) was revoked by den",
        "fen: bad_signature: why",
        "continues in 9: a copy",
        "written_again: detail",
    ]
    assert {row.at for row in rows} == {str(START)}


def test_a_row_of_an_earlier_release_is_read():
    row = json.dumps({"type": "roster_moved", "nodes": [ONE.hex(), TWO.hex()]}).encode()
    [shown] = history_report.rows([(START.ms, row)], {ONE.hex(): "den"})
    assert shown.says == f"den, {TWO.short}"


def test_a_story_has_a_history_of_its_own(path):
    with Store(path) as store:
        store.commit(Persist(), [], START.ms, EVENTS)
        told = history_report.rows(store.history("s-1"), {})
    assert {row.story for row in told} == {"s-1"}
    assert len(told) == 5


def test_heartbeats_and_mere_records_are_no_events_of_it(path):
    with Store(path) as store:
        beat = ExecutionMoved("s-1", ONE, "heartbeat", "running", REF, own=True)
        store.commit(Persist(), [], 5, [beat, RecordAdmitted(REF, "story", own=True)])
        assert store.history() == []


def test_it_is_bounded_by_size(path):
    with Store(path, history=HistoryBounds(3, 30)) as store:
        for number in range(6):
            store.commit(Persist(), [], number, [happened(number)])
        assert details(store) == ["5", "4", "3"]
        assert details(store, limit=1) == ["5"]


def test_it_is_bounded_by_age(path):
    with Store(path, history=HistoryBounds(100, 2)) as store:
        for day in range(6):
            store.commit(Persist(), [], day * DAY_MS, [happened(day)])
        assert details(store) == ["5", "4", "3"]


def test_none_is_kept_where_none_is_wanted(path):
    with Store(path, history=HistoryBounds(0, 30)) as store:
        store.commit(Persist(), [], 0, EVENTS)
        assert store.history() == []
