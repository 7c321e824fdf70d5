"""The Yjs updates made outside the project; those of records stand with what reads them."""

import json
from pathlib import Path

import pytest
from pycrdt import Array, Doc

from crdt.primitives import limits
from crdt.primitives.errors import PeerFault
from crdt.wire.yjs_update import decode_update, encode_update

VECTORS = Path(__file__).parents[2] / "vectors"
UPDATES = json.loads((VECTORS / "yjs_updates.json").read_text())


def named(rows):
    return [pytest.param(row, id=row["name"]) for row in rows]


@pytest.mark.parametrize("row", named(UPDATES))
def test_an_update(row):
    data = bytes.fromhex(row["update"])
    if row["verdict"] == "reject":
        with pytest.raises(PeerFault):
            decode_update(data, bytes_max=limits.CATCHUP_BYTES_MAX)
        return
    slices = decode_update(data, bytes_max=limits.CATCHUP_BYTES_MAX)
    found = {piece.client: piece for piece in slices}
    assert len(found) == len(row["feeds"])
    for feed in row["feeds"]:
        piece = found[feed["client"]]
        assert (piece.root, piece.start, piece.end) == (feed["root"], feed["start"], feed["end"])
        records = [[clock, value.hex()] for clock, value in piece.records]
        if feed.get("superseded_may_remain"):
            assert all(record in records for record in feed["records"])
        else:
            assert records == feed["records"]
    again = decode_update(encode_update(slices), bytes_max=limits.CATCHUP_BYTES_MAX)
    assert {piece.client: piece for piece in again} == found


@pytest.mark.parametrize("row", named(r for r in UPDATES if r["verdict"] == "accept"))
def test_what_we_encode_pycrdt_reads_the_same_and_what_it_encodes_we_read(row):
    slices = decode_update(bytes.fromhex(row["update"]), bytes_max=limits.CATCHUP_BYTES_MAX)
    if any(piece.start for piece in slices):
        return  # pycrdt keeps these back until what comes before is there
    doc = Doc()
    doc.apply_update(encode_update(slices))
    for piece in slices:
        shown = [bytes(value) for value in doc.get(piece.root, type=Array)]
        assert shown == [value for _, value in piece.records]
    again = decode_update(doc.get_update(), bytes_max=limits.CATCHUP_BYTES_MAX)
    assert sorted(again) == sorted(slices)
