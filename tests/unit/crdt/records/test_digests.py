from itertools import permutations

import pytest

from crdt.primitives.identity import H, RecordId
from crdt.records.digests import NO_FORK, document_digest, feed_digest, seal_digest
from machines.values import NodePubkey
from tests.support.builders.vectors import RECORDS, feed_of

DIGESTS = RECORDS["digests"]
IDS = [RecordId(bytes([number]) * 32) for number in range(3)]
ROW = (NodePubkey(b"a" * 32), 1, H(b"x"), None)


def live_ids(feed):
    """The live records of a feed of the vectors, in order of clock (README: all are admitted)."""
    rows = [row for row in RECORDS["records"] if feed_of(row) == feed]
    kept = [row for row in rows if row["name"] != "execution"]  # the one that is superseded
    return [bytes.fromhex(r["record_id"]) for r in sorted(kept, key=lambda row: row["clock"])]


def test_a_seal():
    ids = [bytes.fromhex(record_id) for record_id in DIGESTS["seal_over"]]
    assert seal_digest(ids).hex() == DIGESTS["seal_digest"]


@pytest.mark.parametrize(
    "row",
    [row for row in DIGESTS["feeds"] if row["lowest_fork"] is None],
    ids=lambda row: f"{row['pubkey'][:8]}/{row['incarnation']}",
)
def test_a_feed(row):
    assert feed_digest(live_ids(feed_of(row))).hex() == row["feed_digest"]


def test_the_document():
    rows = [(*feed_of(r), bytes.fromhex(r["feed_digest"]), r["lowest_fork"]) for r in
            DIGESTS["feeds"]]  # fmt: skip
    assert any(row[3] is not None for row in rows)
    assert document_digest(rows).hex() == DIGESTS["document_digest"]
    assert document_digest(iter(rows)).hex() == DIGESTS["document_digest"]
    assert document_digest([]).hex() == DIGESTS["empty_document"]


def test_the_three_have_domains_of_their_own():
    assert len({seal_digest([]), feed_digest([]), document_digest([])}) == 3
    assert len({seal_digest(IDS), feed_digest(IDS)}) == 2


def test_order_and_number_of_records_count():
    chains = [chain for size in range(4) for chain in permutations(IDS, size)]
    assert len({feed_digest(chain) for chain in chains}) == len(chains)
    assert len({seal_digest(iter(chain)) for chain in chains}) == len(chains)


def test_everything_about_a_feed_counts():
    author, incarnation, digest, fork = ROW
    others = [
        (NodePubkey(b"b" * 32), incarnation, digest, fork),
        (author, 2, digest, fork),
        (author, incarnation, H(b"y"), fork),
        (author, incarnation, digest, 0),
        (author, incarnation, digest, 7),
    ]
    digests = {document_digest([row]) for row in (ROW, *others)}
    assert len(digests) == 6
    assert document_digest([(author, incarnation, digest, NO_FORK)]) == document_digest([ROW])
