"""Stages 4 and 5 of the line: from slices of feeds to records whose signature holds.

Takes ``FeedSlice`` from ``yjs_update.py`` (or records by position from ``messages.py``), gives
``VerifiedRecord`` and ``UndecodableRecord`` to ``ledger.py``. Only a record whose signature
verifies is its author's doing: what fails here says nothing about the feed it names, and is the
fault of the peer that brought it. Source: protocol §5, 5 and 8.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from machines.values import NodePubkey
from msgspec import UNSET

from crdt.contract.checkpoint import Checkpoint, in_steps, pass_on
from crdt.contract.ready import Row
from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord, PeerFault, Reason
from crdt.primitives.identity import ClusterId, FeedId, RecordId, RecordRef, cluster_id_of
from crdt.records.bodies import Body, Member, parse_body
from crdt.records.record import (
    SignedRecord,
    VerifiedRecord,
    signed_bytes_and_id,
    signed_record,
    stored_record,
)
from crdt.records.signatures import Verifier
from crdt.wire.messages import Frame, Proof, Records, SyncStep2, Update
from crdt.wire.yjs_update import FeedSlice, decode_update, parse_root


class UndecodableRecord(NamedTuple):
    """A record that its author did sign, whose body is not what a body must be."""

    feed: FeedId
    clock: int
    value: bytes
    record_id: RecordId
    detail: str

    @property
    def ref(self) -> RecordRef:
        """Where it stands."""
        return RecordRef(*self.feed, self.clock, self.record_id)


Signed = VerifiedRecord | UndecodableRecord
"""What its author did sign."""

BRINGS_RECORDS: Final = SyncStep2 | Update | Records | Proof

CHECKED_AT_ONCE: Final = 64
"""Signatures: as many as take some milliseconds."""


@dataclass(slots=True)
class Arrivals:
    """What an update or a frame claims to hold, by feed."""

    records: list[SignedRecord]
    gaps: list[tuple[FeedId, int, int]]
    unplaced: int = 0
    """Slices that do not start at their root, of feeds that nobody here has heard of, or under a
    client id that is several feeds'."""


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """A message from a peer, decoded; no signature in it is verified.

    Attributes:
        cluster: the id of the cluster that its records are signed for.
        founder: the founder's key.
        peer: the peer that sent it.
        data: its bytes.
        frame: what they say.
        records: those of its records that are not held yet.
        gaps: runs without content: feed, start, end.
    """

    cluster: ClusterId
    founder: NodePubkey
    peer: NodePubkey
    data: bytes
    frame: Frame
    records: Sequence[SignedRecord] = ()
    gaps: Sequence[tuple[FeedId, int, int]] = ()


class VerifiedMessage(NamedTuple):
    """An opened message, and what its records are worth."""

    message: OpenedMessage
    batch: "VerifiedBatch"


@dataclass(slots=True)
class VerifiedBatch:
    """Verified records, and those whose signature does not hold."""

    records: list[Signed]
    forged: list[SignedRecord]

    def fault(self) -> PeerFault:
        """What the peer that brought them did wrong."""
        first = self.forged[0]
        where = f"{first.feed.author.short}/{first.feed.incarnation}#{first.clock}"
        told = f"the record at {where} was not signed by the node that it names as its author"
        more = len(self.forged) - 1
        return PeerFault(Reason.BAD_SIGNATURE, f"{told}, nor were {more} more" if more else told)


def locate_records(
    frame: SyncStep2 | Update | Records | Proof,
    cluster: ClusterId,
    by_client: Mapping[int, FeedId | None],
    checkpoint: Checkpoint = pass_on,
) -> Arrivals:
    """The records that a frame brings, by position, and the runs that it says have no content.

    Args:
        by_client: the known feeds by Yjs client id; ``None`` for an id of several feeds.
        checkpoint: called before each record is read, since an update may bring thousands.

    Raises:
        PeerFault: an update is malformed, or a value is no record.
    """
    match frame:
        case SyncStep2(update):
            slices = decode_update(
                update, bytes_max=limits.CATCHUP_BYTES_MAX, checkpoint=checkpoint
            )
        case Update(update):
            slices = decode_update(update, checkpoint=checkpoint)
        case Records(author, incarnation, records):
            feed = FeedId(author, incarnation)
            located = [signed_record(feed, *one) for one in in_steps(records, checkpoint)]
            return Arrivals(located, [])
        case _:
            return Arrivals([], [])
    return locate_slices(slices, cluster, by_client, checkpoint)


def locate_slices(
    slices: Iterable[FeedSlice],
    cluster: ClusterId,
    by_client: Mapping[int, FeedId | None],
    checkpoint: Checkpoint = pass_on,
) -> Arrivals:
    """Say which feed each slice of an update belongs to.

    Args:
        by_client: the feeds known here, by Yjs client id; ``None`` for that of several.

    Raises:
        PeerFault: a root name and a client id do not belong together, or a value is no record.
    """
    arrivals = Arrivals([], [])
    for piece in slices:
        feed = by_client.get(piece.client)
        if piece.root is not None:
            parsed = parse_root(piece.root)
            assert parsed is not None, "the decoder lets no other root through"
            feed = FeedId(NodePubkey(parsed[0]), parsed[1])
            if feed.client_id(cluster) != piece.client:
                raise PeerFault(Reason.MALFORMED_UPDATE, "a client id that is not its root's")
        if feed is None:
            arrivals.unplaced += 1
            continue
        for clock, value in piece.records:
            checkpoint()
            arrivals.records.append(signed_record(feed, clock, value))
        arrivals.gaps += [(feed, clock, clock + length) for clock, length in piece.gaps]
    return arrivals


def stored_records(rows: Iterable[Row]) -> tuple[list[VerifiedRecord], int]:
    """The records of a store, verified before they were written; and how many rows hold none.

    In the order of their stamps, so that nothing waits for what it names.
    """
    records: list[VerifiedRecord] = []
    damaged = 0
    for row in rows:
        try:
            records.append(stored_record(*row))
        except MalformedRecord:
            damaged += 1
    records.sort(key=lambda record: record.body.at)
    return records, damaged


def verify(
    message: OpenedMessage, pool: Verifier, checkpoint: Checkpoint = pass_on
) -> VerifiedMessage:
    """Verify the signatures of a message, then decode the bodies. Touches no replica.

    Args:
        pool: verifies a batch of signatures, in place or in threads.
        checkpoint: called before each batch.
    """
    trust = (message.cluster, message.founder, pool, checkpoint)
    return VerifiedMessage(message, verify_records(message.records, *trust))


def verify_records(
    records: Sequence[SignedRecord],
    cluster: ClusterId,
    founder: NodePubkey,
    verifier: Verifier,
    checkpoint: Checkpoint = pass_on,
) -> VerifiedBatch:
    """Verify every signature, a batch at a time, and decode the bodies of those that hold.

    Args:
        checkpoint: called before each batch.
    """
    opened = VerifiedBatch([], [])
    for start in range(0, len(records), CHECKED_AT_ONCE):
        checkpoint()
        batch = records[start : start + CHECKED_AT_ONCE]
        said = [signed_bytes_and_id(cluster, record) for record in batch]
        jobs = [
            (record.feed.author, message, record.signature)
            for record, (message, _) in zip(batch, said, strict=True)
        ]
        for record, (_, record_id), holds in zip(batch, said, verifier(jobs), strict=True):
            if holds:
                opened.records.append(read_record(record, record_id, cluster, founder))
            else:
                opened.forged.append(record)
    return opened


def read_record(
    record: SignedRecord, record_id: RecordId, cluster: ClusterId, founder: NodePubkey
) -> Signed:
    """Read the body of a record whose signature holds."""
    try:
        body = parse_body(record.body_bytes)
        _check_nonce(record, body, cluster, founder)
    except MalformedRecord as fault:
        return UndecodableRecord(record.feed, record.clock, record.value, record_id, fault.detail)
    return VerifiedRecord(record.feed, record.clock, record.value, record_id, body)


def _check_nonce(record: SignedRecord, body: Body, cluster: ClusterId, founder: NodePubkey) -> None:
    """Only the founding record, the one the cluster id is made of, carries a nonce (§4)."""
    if not isinstance(body, Member) or body.nonce is UNSET:
        return
    is_first = record.feed == FeedId(founder, 0) and record.clock == 0
    if not is_first or cluster_id_of(founder, record.body_bytes) != cluster:
        raise MalformedRecord("only the founding record carries a nonce")
