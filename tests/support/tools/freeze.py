"""Writes the small store that ``tests/stores`` keeps of each version of the tables.

``python -m tests.support.tools.freeze FILE``, run in a checkout of the version, once: a frozen
file is never made again. What it holds is ``RECORDS`` and the rest below, whatever the version.
"""

import sys
from pathlib import Path

from crdt.contract.ready import Persist, ProofRow, Quarantined, Row, RowKey
from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from node.storage.store import Store
from node.storage.ticket_rows import TicketRow
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor

FOUND = Found()
FOUNDER = RecordAuthor(FOUND.founder, FOUND.id, START.ms, clock=1)
MEMBER = RecordAuthor(key(2), FOUND.id, START.ms)
RECORDS = [
    FOUND.record,
    FOUNDER.member(key(2).pubkey, Role.MEMBER, "two"),
    FOUNDER.story("s-1", title="First"),
    MEMBER.story("s-2", title="Second"),
    MEMBER.release("s-1"),
]
ROWS = [Row(*record.ref, record.value) for record in RECORDS]
PROOF = ProofRow(key(3).pubkey, 4, 5, ((b"s" * 64, b"h" * 32), (b"t" * 64, b"i" * 32)))
RENDERED = {FeedId(key(1).pubkey, 0): 3, FeedId(key(2).pubkey, 0): 2}
ADDRESSES = {key(2).pubkey: ("two.example:7467",)}
TURNED = Quarantined(
    key(2).pubkey, FeedId(key(2).pubkey, 0), 9, None, Reason.BAD_SIGNATURE, "forged", b"bytes"
)
TICKET = b"h" * 32


def main():
    path = Path(sys.argv[1])
    persist = Persist(proofs=[PROOF], rendered=RENDERED, incarnation=0, addresses=ADDRESSES)
    for row in ROWS:
        persist.rows[RowKey(*row[:4])] = row
    with Store(path) as store:
        store.commit(persist, [TURNED], START.ms)
        store.add_ticket(TicketRow(TICKET, "member", START.ms), START.ms)
    for suffix in (".lock", ".witness"):
        Path(f"{path}{suffix}").unlink()


if __name__ == "__main__":
    main()
