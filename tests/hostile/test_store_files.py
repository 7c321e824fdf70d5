"""Store files that say anything at all, to every command that reads one."""

import contextlib
import shutil

import apsw
import pytest
from typer.testing import CliRunner

from crdt.contract.ready import Noticed, Persist, Quarantined, RowKey
from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId
from node.cli.main import app
from node.storage.store import Store
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.record_author import RecordAuthor, as_frame

ODD = "\x1b[31mRED\x1b]0;t\x07\u202e\x9b"
ENDS = (0, 1, 4, 5, 65)
VARIANTS = {
    "rendered": "UPDATE feeds SET rendered = 9223372036854775807",
    "rendered below": "UPDATE feeds SET rendered = -5",
    "incarnation above": "UPDATE feeds SET incarnation = 99999999999 WHERE id = 1",
    "incarnation below": "UPDATE feeds SET incarnation = -1 WHERE id = 1",
    "author": "UPDATE feeds SET author = x'00' WHERE id = 1",
    "clock below": "UPDATE records SET clock = -1 WHERE clock = 1",
    "clock above": "UPDATE records SET clock = 9000000000000000000 WHERE clock = 1",
    "value empty": "UPDATE records SET value = x''",
    "value large": "UPDATE records SET value = zeroblob(3000000) WHERE clock = 1",
    "record id": "UPDATE records SET record_id = x'01' WHERE clock = 1 AND feed = 1",
    "proof short": "UPDATE proofs SET sides = x'00'",
    "proof below": "UPDATE proofs SET clock = -3",
    "proof above": "UPDATE proofs SET clock = 9223372036854775807",
    "proof of": "UPDATE proofs SET author = x'00'",
    "incarnation": "UPDATE meta SET value = x'' WHERE name = 'incarnation'",
    "doubt": "UPDATE meta SET value = x'ff' WHERE name = 'doubt'",
    "turned away above": "UPDATE quarantine SET at = 9223372036854775807",
    "turned away below": "UPDATE quarantine SET at = -9223372036854775807",
    "turned away why": f"UPDATE quarantine SET reason = '{ODD}', detail = '{ODD}'",
    "turned away text": "UPDATE quarantine SET detail = CAST(x'ff' AS TEXT)",
    "turned away place": "UPDATE quarantine SET clock = -1, incarnation = 99999999999",
    "turned away of": "UPDATE quarantine SET author = x'01', peer = x'03', record_id = x'02'",
    "turned away null": "UPDATE quarantine SET clock = NULL, incarnation = NULL, value = x'00'",
    "history at": "UPDATE history SET at = 9223372036854775807",
    "history no object": "UPDATE history SET event = x'5b5d'",
    "history no JSON": "UPDATE history SET event = x'7b'",
    "history of nothing": 'UPDATE history SET event = CAST(\'{"type":"stage_moved"}\' AS BLOB)',
    "history types": 'UPDATE history SET event = CAST(\'{"type":[],"story":7}\' AS BLOB)',
    "history fields": (
        'UPDATE history SET event = CAST(\'{"type":"stage_moved","event":1,"late":0,'
        '"before":[],"after":{},"record":{}}\' AS BLOB)'
    ),
    "history deep": (
        "UPDATE history SET event = CAST(replace(hex(zeroblob(50000)), '0', '[') AS BLOB)"
    ),
    "history bytes": "UPDATE history SET event = x'ff'",
    "address": f"UPDATE addresses SET text = '{ODD}'",
    "address of": "UPDATE addresses SET node = x'01'",
    "ticket": f"UPDATE tickets SET role = '{ODD}', expires = 9223372036854775807, uses = -1",
    "no founding record": "DELETE FROM records WHERE clock = 0",
    "no table": "DROP TABLE quarantine",
    "version above": "PRAGMA user_version = 99",
    "version below": "PRAGMA user_version = -1",
    "version of before": "PRAGMA user_version = 1",
    "view": (
        "DROP TABLE history; CREATE VIEW history AS WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL "
        "SELECT x + 1 FROM c) SELECT x AS id, 1 AS at, 's' AS story, x'7b7d' AS event FROM c"
    ),
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM records; END",
    "total": "UPDATE total SET rows = -1",
    "no total": "DELETE FROM total",
}
COMMANDS = ("verify", "doc", "quarantine", "history", "feeds", "evidence", "record den/0#1")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A store with something in each of its tables."""
    cluster = Cluster(2)
    cluster.admit_all()
    cluster.add(0, "s-1")
    pen = RecordAuthor(cluster.keys[1], cluster.found.id, cluster.ms)
    for twin in (pen.story("left", clock=1), pen.story("right", clock=1)):
        cluster.hand(1, 0, as_frame(twin))
    persist = Persist(incarnation=0, doubt="", addresses={key(2).pubkey: ("two:1",)})
    persist.rows.update({RowKey(*row[:4]): row for row in cluster.stores[0].values()})
    persist.rendered.update(cluster.rendered[0])
    persist.proofs += cluster.proofs[0].values()
    turned = Quarantined(
        key(2).pubkey, FeedId(key(2).pubkey, 0), 9, None, Reason.BAD_SIGNATURE, "forged", b"bytes"
    )
    path = tmp_path_factory.mktemp("good") / "store.db"
    with Store(path) as store:
        store.commit(persist, [turned], cluster.ms, [Noticed("something", "said")])
        store._db.execute("INSERT INTO tickets VALUES (zeroblob(32), 'member', 5, 1, 0, 0)")
    return path


@pytest.mark.parametrize("variant", VARIANTS)
def test_whatever_a_file_says_each_command_answers_in_sentences(good, tmp_path, variant):
    path = tmp_path / "store.db"
    shutil.copy(good, path)
    with contextlib.closing(apsw.Connection(str(path))) as database:
        before = database.total_changes()
        database.execute("PRAGMA foreign_keys = off")
        database.execute(VARIANTS[variant])
        if VARIANTS[variant].startswith("UPDATE"):
            assert database.total_changes() > before
    for command in COMMANDS:
        told = CliRunner().invoke(app, ["inspect", *command.split(), "--store", str(path)])
        assert told.exception is None or isinstance(told.exception, SystemExit), command
        assert told.exit_code in ENDS, (command, told.output)
        odd = {one for one in told.output if not (one.isprintable() or one == "\n")}
        assert not odd, (command, odd)
