from dataclasses import fields

import pytest

from crdt.contract.ready import Outgoing, OwnEnd, Persist, ProofRow, Ready, Row, RowKey
from crdt.primitives.identity import FeedId, RecordId
from tests.support.builders.cluster import key

NODE, PEER = key(1).pubkey, key(2).pubkey
ROW = Row(NODE, 0, 3, RecordId(bytes(32)), b"value")
KEY = RowKey(*ROW[:4])
FEED = FeedId(NODE, 0)
PROOF = ProofRow(NODE, 0, 3, ((b"s", b"h"), (b"t", b"i")))
EACH = {
    "rows": {KEY: ROW},
    "proofs": [PROOF],
    "rendered": {FEED: 4},
    "incarnation": 0,
    "doubt": "",
    "own_end": OwnEnd(NODE, 0, 4),
    "reissue_done": [RecordId(bytes(32))],
    "addresses": {NODE: ("wss://a",)},
}


def test_instructions_stand_in_the_order_in_which_they_are_carried_out():
    # protocol §11: nothing that leaves the process may rest on what is not on disk.
    names = [field.name for field in fields(Ready)]
    assert names[:5] == ["persist", "reply", "publish", "quarantine", "observe"]


def test_there_is_nothing_to_persist_at_first():
    assert not Persist()
    assert not Ready().persist


@pytest.mark.parametrize("name", [field.name for field in fields(Persist)])
def test_each_thing_to_persist_is_one_and_survives_being_taken_in(name):
    alone = Persist(**{name: EACH[name]})
    assert alone
    whole = Persist()
    whole.add(alone)
    assert whole == alone


def test_of_two_steps_the_later_counts_where_only_one_can():
    one = Persist(rows={KEY: ROW}, rendered={FEED: 1}, incarnation=1, doubt="why")
    one.add(Persist(rows={KEY: None}, rendered={FEED: 2}, incarnation=2, doubt=""))
    assert (one.rows, one.rendered) == ({KEY: None}, {FEED: 2})
    assert (one.incarnation, one.doubt) == (2, "")


def test_a_later_step_that_says_nothing_takes_nothing_back():
    one = Persist(**EACH)
    one.add(Persist())
    assert one == Persist(**EACH)


def test_a_frame_for_nobody_is_not_sent():
    ready = Ready()
    ready.send([], b"frame")
    ready.send([PEER], b"frame")
    assert ready.publish == [Outgoing((PEER,), b"frame")]
