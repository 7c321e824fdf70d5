"""Audits a store file without a daemon: re-verifies signatures, verdicts, seals and views.

Read-only; trusts nothing but the bytes. Source: protocol §13.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.ledger.ingest import UndecodableRecord, verify_records
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import ClusterId, FeedId, RecordRef
from crdt.records.evidence_file import EvidenceFile, evidence_file
from crdt.records.record import SignedRecord, VerifiedRecord
from crdt.records.signatures import verify_batch
from crdt.sync import anti_entropy
from machines.values import NodePubkey
from node.reporting import queries, seal_report
from node.reporting.rows import FeedRow, QuarantineRow
from node.reporting.store_origin import Origin, origin
from node.storage.migrations import APPLICATION_ID
from node.storage.store import Store
from node.system import clock
from node.system.errors import OperatorError, StoreDamaged
from node.system.exit_codes import Exit
from node.system.home import Home

SQLITE = b"SQLite format 3\0"
UNSETTLED = {
    EntryStatus.WAITING: "on disk, but the event it builds on is not here",
    EntryStatus.REJECTED: "on disk, but against the rules since the roster changed",
}
"""Verdicts that a record may get after it was stored: not faults of the store."""
APPLICATION_ID_AT = 68
"""The offset in SQLite's file format, big-endian."""
HOW_TO_RECOVER = (
    "a daemon started on it keeps what verifies and fetches the rest from peers; or "
    "restore a backup with: gangline restore FILE --force"
)


@dataclass(slots=True)
class AuditedStore:
    """The content of a store, judged again.

    Attributes:
        quarantined: rows of the quarantine, newest first.
        addresses: last known addresses of other nodes.
        faults: a sentence for each fault.
        unsound: how many of them, at the start of the list, are damaged or forged rows; a store
            with such rows cannot be compared with another.
        observed: sentences on findings that are not faults (docs/decisions/0007).
    """

    cluster: ClusterId
    ledger: Ledger
    records: dict[RecordRef, VerifiedRecord]
    quarantined: list[tuple[object, ...]]
    addresses: dict[NodePubkey, tuple[str, ...]]
    faults: list[str] = field(default_factory=list)
    unsound: int = 0
    observed: list[str] = field(default_factory=list)

    def entries(self) -> Iterator[tuple[Feed, Entry]]:
        """Every record in the feeds, feed by feed in order of clock."""
        for feed_id in sorted(self.ledger.feeds):
            feed = self.ledger.feeds[feed_id]
            for entry in feed.entries():
                yield feed, entry

    def feeds(self) -> list[FeedRow]:
        """Every feed of which anything is known."""
        shown, called = queries.known_feeds(self.ledger), queries.names(self.ledger)
        return queries.feeds(shown, called, self.look, lambda _feed: 0)  # no document was built

    @property
    def look(self) -> seal_report.Look:
        """Returns what is missing of a feed that does not match its seal."""
        return seal_report.of_file(self.ledger, queries.names(self.ledger), self.addresses)

    def explain(self, story: str) -> queries.Explained:
        """Why a story is at its stage.

        Raises:
            OperatorError: no record names it.
        """
        found = queries.explain(self.ledger, story)
        if found is None:
            raise OperatorError(f"no story is called {story}", Exit.REFUSED)
        return found

    def quarantine(self) -> list[QuarantineRow]:
        """The rows of the quarantine, newest first."""
        return queries.quarantine(self.quarantined, queries.names(self.ledger))

    def evidence(self) -> list[dict[str, Any]]:
        """Every proven fork, both sides in hex."""
        called = queries.names(self.ledger)
        return [
            {
                "author": feed.author.hex(),
                "name": called.get(feed.author.hex(), ""),
                "incarnation": feed.incarnation,
                "clock": proof.clock,
                "counts": self.ledger.fork_of(feed) is not None,
                "sides": [
                    {"signature": signature.hex(), "body_hash": body_hash.hex()}
                    for signature, body_hash in proof.sides
                ],
            }
            for feed, proof in sorted(self.ledger.proofs.items())
        ]

    def evidence_file(self, feed: FeedId) -> EvidenceFile:
        """The proof against a feed, with the bodies of its two sides that are found anywhere."""
        proof = self.ledger.proofs[feed]
        slot = (feed, proof.clock)
        found = [
            *(entry.record.value for entry in self.ledger.feed(feed).entries_at(proof.clock)),
            *(record.value for record in self.ledger.pending.at(*slot)),
            *(record.value for record in self.ledger.rejected.at(*slot)),
            *(
                value
                for _, _, author, incarnation, clock, *_, value in self.quarantined
                if (author, incarnation, clock) == (*feed, proof.clock) and isinstance(value, bytes)
            ),
        ]
        bodies = (value[limits.SIGNATURE_BYTES :] for value in found)
        return evidence_file(self.cluster, proof, bodies)

    @property
    def digest(self) -> str:
        """The document digest of these records, in hex."""
        return anti_entropy.digest_of_document(self.ledger).hex()

    def check_views(self) -> list[str]:
        """Fold every view again from the same records in reverse order, and compare.

        Returns a sentence for each difference. There must be none, since a view depends only on
        the set of records.
        """
        again = Ledger(self.cluster, self.ledger.roster.founder, verify_batch)
        for proof in self.ledger.proofs.values():
            again.restore_proof(proof)
        again.merge([*reversed(self.records.values())], clock.now().wall, stored=True)
        before = {view.id: view for view in self.ledger.board.stories()}
        after = {view.id: view for view in again.board.stories()}
        faults = [
            f"{story}: folded in another order, it is at another stage or has other events"
            for story in sorted(before.keys() | after.keys())
            if before.get(story) != after.get(story)
        ]
        if anti_entropy.digest_of_document(again).hex() != self.digest:
            faults.append("judged in another order, the records give another digest")
        return faults


def store_path(place: Path, what: str = "store") -> Path:
    """The store of a home, or the given file.

    Args:
        what: the word for messages: ``store`` or ``backup``.

    Raises:
        OperatorError: there is no such file, or it is something else.
    """
    place = Path(os.path.realpath(place.expanduser()))
    path = Home(place).store if place.is_dir() else place
    if not path.is_file():
        raise OperatorError(f"there is no {what} at {path}")
    try:
        with path.open("rb") as file:
            head = file.read(APPLICATION_ID_AT + 4)
    except OSError as fault:
        raise OperatorError(f"cannot read {path}: {fault.strerror}") from fault
    application_id = int.from_bytes(head[APPLICATION_ID_AT:])
    if not head.startswith(SQLITE) or application_id != APPLICATION_ID:
        raise OperatorError(f"{path} is not a {what} of Gangline", Exit.MALFORMED)
    return path


def audit(place: Path) -> AuditedStore:
    """Read a store, check every signature and seal, and judge every record again.

    Raises:
        OperatorError: it cannot be read, is damaged, or holds no founding record.
    """
    path = store_path(place)
    try:
        with Store(path, readonly=True) as store:
            whole, hurt = store.totals_match(), store.damaged_rows()
            rows = list(store.rows())
            quarantined = store.quarantine(limits.QUARANTINE_ROWS_MAX)
            proofs = store.proofs()
            rendered, addresses = store.rendered(), store.addresses()
    except StoreDamaged as damage:
        raise OperatorError(f"{damage.message}; {HOW_TO_RECOVER}", Exit.DIFFER) from damage
    signed = [SignedRecord(FeedId(r.author, r.incarnation), r.clock, r.value) for r in rows]
    cluster, founder = founding(signed, path)
    opened = verify_records(signed, cluster, founder, verify_batch)
    audited = AuditedStore(
        cluster, Ledger(cluster, founder, verify_batch), {}, quarantined, addresses
    )
    if not whole:
        audited.faults.append("the store: rows are missing, or a part is older than the rest")
    audited.faults += [f"the store: {sentence}" for sentence in hurt]
    audited.faults += [f"{_place(one)}: its signature is invalid" for one in opened.forged]
    good: list[VerifiedRecord] = []
    for one in opened.records:
        if isinstance(one, UndecodableRecord):
            audited.faults.append(f"{_place(one)}: it cannot be read: {one.detail}")
        else:
            good.append(one)
            audited.records[one.ref] = one
    in_rows = {(FeedId(r.author, r.incarnation), r.clock, bytes(r.record_id)) for r in rows}
    computed = {(one.feed, one.clock, bytes(one.record_id)) for one in good}
    audited.faults += [
        f"{feed.author.short}/{feed.incarnation}#{at}: its row names another record id"
        for feed, at, record_id in sorted(computed - in_rows)
    ]
    audited.faults += [
        f"{proof.author.short}/{proof.incarnation}#{proof.clock}: its stored proof proves no fork"
        for proof in proofs
        if not audited.ledger.restore_proof(proof)
    ]
    audited.unsound = len(audited.faults)
    audited.ledger.merge(good, clock.now().wall, stored=True)
    for feed_id, end in rendered.items():
        if feed_id in audited.ledger.feeds:
            audited.ledger.feeds[feed_id].empty(0, end)
    audited.observed += [
        f"{_place(entry.record)}: {UNSETTLED[entry.verdict]}"
        for feed in audited.ledger.feeds.values()
        for entry in feed.entries()
        if entry.verdict in UNSETTLED
    ]
    look = audited.look
    for found in filter(None, map(look, audited.ledger.feeds.values())):
        (audited.observed if found.false else audited.faults).append(found.says)
    return audited


def founding(records: list[SignedRecord], path: Path) -> Origin:
    """The cluster and its founder.

    Raises:
        OperatorError: there is no founding record.
    """
    found = origin(records)
    if found is None:
        raise OperatorError(
            f"{path} holds no founding record, so nothing in it can be checked", Exit.DIFFER
        )
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """A live record or a cut that only one of two stores has."""

    feed: FeedId
    clock: int
    what: str
    only_in: str


def compare(one: AuditedStore, other: AuditedStore) -> list[Difference]:
    """Live records and cuts that only one of two stores has, by feed and clock."""
    found: list[Difference] = []
    for mine, theirs, name in ((one, other, "A"), (other, one, "B")):
        known = {r.record_id for feed in theirs.ledger.feeds.values() for r in feed.live()}
        for feed in anti_entropy.compared_feeds(mine.ledger):
            found += [
                Difference(feed.id, record.clock, record.body.kind, name)
                for record in feed.live()
                if record.record_id not in known
            ]
            fork = theirs.ledger.fork_of(feed.id)
            if feed.fork is not None and feed.fork != fork:
                found.append(Difference(feed.id, feed.fork, "proof of a fork", name))
    return sorted(found, key=lambda one: (one.feed, one.clock, one.only_in))


def _place(record: SignedRecord | VerifiedRecord | UndecodableRecord) -> str:
    return f"{record.feed.author.short}/{record.feed.incarnation}#{record.clock}"
