from crdt.authoring.intents import Receipt
from crdt.primitives.identity import RecordId, RecordRef
from tests.support.builders.cluster import key


def test_receipt_refers_to_the_record():
    where = RecordRef(key(1).pubkey, 2, 3, RecordId(bytes(32)))
    receipt = Receipt(*where)
    assert receipt.ref == where
    assert receipt.warnings == ()
