from crdt.contract.ready import Noticed, ProofRow, Quarantined, Ready, Row
from crdt.ledger.changes import Changes
from crdt.primitives.errors import Reason
from tests.support.builders.ledger_fixture import LedgerFixture


def test_the_shell_is_instructed_after_what_it_was_told_before():
    court = LedgerFixture()
    record = court.bob.story("s-1")
    row = Row(*record.ref, record.value)
    proof = ProofRow(*record.feed, 0, ((b"", b""), (b"", b"")))
    rejected = Quarantined(None, None, None, None, Reason.MALFORMED_RECORD, "", b"")
    ready = Ready(observe=[Noticed("clock", "before")])
    changes = Changes(
        rows={record.ref: row},
        proofs=[proof],
        quarantined=[rejected],
        observed=[Noticed("clock", "after")],
    )
    changes.instruct(ready)
    assert ready.persist.rows == {record.ref: row}
    assert ready.persist.proofs == [proof]
    assert ready.quarantine == [rejected]
    assert [one.detail for one in ready.observe] == ["before", "after"]
