"""The bytes that were made outside the project, loaded once."""

import json
from pathlib import Path

from crdt.primitives.identity import ClusterId, FeedId, SigningKey
from machines.values import NodePubkey

FOLDER = Path(__file__).parents[2] / "vectors"
RECORDS = json.loads((FOLDER / "records.json").read_text())
CLUSTER = ClusterId(bytes.fromhex(RECORDS["cluster"]["cluster_id"]))
KEYS = {node["pubkey"]: SigningKey(bytes.fromhex(node["seed"])) for node in RECORDS["nodes"]}


def feed_of(row):
    return FeedId(NodePubkey.from_hex(row["pubkey"]), row["incarnation"])
