"""Every record this node knows, by where it stands, and what is asked of them.

Stands under ``ledger.py``, which alone changes it, and answers ``judge.py``. A record has exactly
one place: held in its feed, pending, rejected, or none. Source: protocol §5, §9.
"""

from itertools import chain

from machines.values import NodePubkey

from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.ledger.ingest import Signed
from crdt.ledger.pending import PendingRecords
from crdt.ledger.reference_index import ReferenceIndex
from crdt.ledger.rejected import RejectedRecords
from crdt.primitives.identity import ClusterId, FeedId, RecordRef
from crdt.records.bodies import Transition
from crdt.records.fork_proof import Proofs
from crdt.records.record import SignedRecord, VerifiedRecord
from crdt.records.signatures import Verifier
from crdt.views.roster import Roster


class Holdings:
    """What is known, and what the roster and the proofs make of it.

    Attributes:
        feeds: what is held, by feed.
        roster: who belongs, as of the records held.
        proofs: for each accused feed the lowest proven fork; those against strangers count for
            nothing until they are on the roster.
        names: which records name which.
    """

    def __init__(
        self, cluster: ClusterId, founder: NodePubkey, verifier: Verifier, own: NodePubkey | None
    ) -> None:
        self.cluster = cluster
        self.verifier = verifier
        self.feeds: dict[FeedId, Feed] = {}
        self.roster = Roster(founder)
        self.pending = PendingRecords(own)
        self.rejected = RejectedRecords()
        self.proofs = Proofs(cluster, verifier)
        self.names = ReferenceIndex()

    def has(self, signed: SignedRecord) -> bool:
        """Whether these very bytes are held in this slot, so that nothing need be checked."""
        feed = self.feeds.get(signed.feed)
        entries = () if feed is None else feed.entries_at(signed.clock)
        return any(entry.record.value == signed.value for entry in entries)

    def is_known(self, record: Signed) -> bool:
        """Whether a record has a place."""
        known = record.record_id in self.rejected or record.record_id in self.pending
        return known or self.entry_of(record) is not None

    def at(self, feed_id: FeedId, clock: int) -> Signed | None:
        """The first record that is known for a slot, whatever its verdict."""
        feed = self.feeds.get(feed_id)
        entry = feed.slots.get(clock) if feed is not None else None
        if entry is not None:
            return entry.record
        others = chain(self.pending.at(feed_id, clock), self.rejected.at(feed_id, clock))
        return next(others, None)

    def entry(self, ref: RecordRef) -> Entry | None:
        """The entry of the record that a reference names, if it is held."""
        feed = self.feeds.get(ref.feed)
        return feed.find(ref.clock, ref.record_id) if feed is not None else None

    def entry_of(self, record: Signed) -> Entry | None:
        """The entry of a record, if it is held."""
        feed = self.feeds.get(record.feed)
        return feed.find(record.clock, record.record_id) if feed is not None else None

    # --- for the judge ---------------------------------------------------------------------------

    def find(self, ref: RecordRef) -> VerifiedRecord | None:
        """A held record that neither waits for its parent nor breaks the rules."""
        entry = self.entry(ref)
        if entry is None or entry.verdict in (EntryStatus.WAITING, EntryStatus.REJECTED):
            return None
        return entry.record

    def is_rejected(self, ref: RecordRef) -> bool:
        """Whether this record is known to have been rejected."""
        entry = self.entry(ref)
        if entry is not None:
            return entry.verdict is EntryStatus.REJECTED
        return self.rejected.find(ref) is not None

    def fork_of(self, feed: FeedId) -> int | None:
        """The lowest proven fork of a feed whose author is on the roster."""
        proof = self.proofs.get(feed)
        return proof.clock if proof is not None and self.roster.on_roster(feed.author) else None

    def is_built_upon(self, record: VerifiedRecord) -> bool:
        """Whether an admitted event or ack of another author, or one built upon, names it."""
        if not isinstance(record.body, Transition):
            return False
        return any(self.builds_on(namer, record) for namer in self.names.of(record))

    def builds_on(self, namer: VerifiedRecord, record: VerifiedRecord) -> bool:
        """Whether one that names an event keeps it live behind its author's fork."""
        entry = self.entry_of(namer)
        if entry is None or entry.verdict is not EntryStatus.ADMITTED:
            return entry is not None and entry.verdict is EntryStatus.BUILT_UPON
        return namer.feed.author != record.feed.author
