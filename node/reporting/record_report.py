"""Reports on records of an audited store: content, verdict and why.

Finds records by the start of an id or by place (``den/0#7``), in feeds, pending, rejected or in
quarantine. Read-only. Source: protocol §5, §9, §13.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.ledger.ingest import UndecodableRecord
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.bodies import (
    Ack,
    Carried,
    Claim,
    Evidence,
    Execution,
    Member,
    Revocation,
    Seal,
    Story,
    Transition,
)
from crdt.records.record import SignedRecord, VerifiedRecord, signed_bytes_and_id
from crdt.records.signatures import verify_batch
from crdt.views.event_tree import stage_made_by
from machines.kernel import tag_of
from machines.pipeline import PIPELINE
from machines.values import NODE_PUBKEY_BYTES, Instant, NodePubkey
from node.reporting import queries
from node.reporting.describe import describe_body, format_ref
from node.reporting.store_audit import UNSETTLED, AuditedStore
from node.storage.reader import is_slot

WHY_NOT_LIVE = {
    EntryStatus.VOID_FORK: "void: at or after a proven fork of its feed",
    EntryStatus.VOID_REVOKED: "void: the roster does not let its author write in this slot",
    EntryStatus.AHEAD: "pending: stamped too far ahead of this host's clock",
    **UNSETTLED,
}
PLACE = re.compile(r"(.+)/(\d{1,10})#(\d{1,10})", re.ASCII)
PREFIX_MIN = 4


class RecordRow(msgspec.Struct, frozen=True):
    """One record; keys and ids in hex.

    Attributes:
        name: of its author.
        verdict: live, not live, pending, rejected, or why it is void.
        why: the reason for the verdict.
        says: its body in one line.
        signature: whether it is valid for this place and cluster.
        supersedes: in words, which records it supersedes.
        superseded: in words, what supersedes it.
    """

    author: str
    name: str
    incarnation: int
    clock: int
    record: str
    kind: str
    at: str
    n: int
    verdict: str
    why: str
    says: str
    signature: bool
    supersedes: str
    superseded: str
    body: dict[str, Any]


def held_rows(audited: AuditedStore) -> Iterator[RecordRow]:
    """Every record in the feeds, feed by feed in order of clock."""
    names = queries.names(audited.ledger)
    for feed, entry in audited.entries():
        yield _held(audited.ledger, feed, entry, names)


def every_row(audited: AuditedStore) -> Iterator[RecordRow]:
    """The same, then records that are pending, rejected, or in quarantine with a place."""
    names = queries.names(audited.ledger)
    yield from held_rows(audited)
    for waiting in audited.ledger.pending.rows():
        yield _row(waiting.record, names, verdict="pending", why=str(waiting.reason))
    for turned in audited.ledger.rejected:
        if isinstance(turned.record, VerifiedRecord):
            yield _row(turned.record, names, verdict="rejected", why=str(turned.reason))
        else:
            yield _raw(
                audited, turned.record, "rejected", f"{turned.reason}: {turned.record.detail}"
            )
    known: set[object] = {turned.record.record_id for turned in audited.ledger.rejected}
    for at, _, author, incarnation, clock, record, reason, detail, value in audited.quarantined:
        feed = _feed_of(author, incarnation, clock)
        if feed is None or record in known:
            continue
        assert isinstance(clock, int)
        assert isinstance(at, int)
        assert isinstance(value, bytes)
        known.add(record)
        why = f"{reason}: {detail}, in quarantine since {Instant.nearest(at)}"
        yield _raw(audited, SignedRecord(feed, clock, value), "rejected", why)


def _feed_of(author: object, incarnation: object, clock: object) -> FeedId | None:
    """The feed that a quarantine row names, if it names a valid slot."""
    if not (isinstance(author, bytes) and isinstance(incarnation, int) and isinstance(clock, int)):
        return None
    if len(author) != NODE_PUBKEY_BYTES or not is_slot(incarnation, clock):
        return None
    return FeedId(NodePubkey(author), incarnation)


def find(audited: AuditedStore, wanted: str) -> list[RecordRow]:
    """The records named by the start of an id, or by a place."""
    slot = PLACE.fullmatch(wanted)
    if slot is None and len(wanted) < PREFIX_MIN:
        return []
    return [row for row in every_row(audited) if _is_wanted(row, wanted, slot)]


def _is_wanted(row: RecordRow, wanted: str, slot: re.Match[str] | None) -> bool:
    if slot is None:
        return row.record.startswith(wanted)
    at = (row.incarnation, row.clock) == (int(slot[2]), int(slot[3]))
    return at and is_called(row.author, row.name, slot[1])


def is_called(author: str, name: str | None, node: str) -> bool:
    """Whether ``node`` means this author: by name, or by the start of its key."""
    return name == node or (len(node) >= PREFIX_MIN and author.startswith(node))


def empty_slot(audited: AuditedStore, wanted: str) -> str:
    """Why no record is at a place, as far as known; empty if the text is not a place."""
    slot = PLACE.fullmatch(wanted)
    if slot is None:
        return ""
    names, clock = queries.names(audited.ledger), int(slot[3])
    for feed_id, feed in audited.ledger.feeds.items():
        author = feed_id.author.hex()
        if feed_id.incarnation == int(slot[2]) and is_called(author, names.get(author), slot[1]):
            return _why_empty(feed, clock)
    return "no such feed is here"


def _why_empty(feed: Feed, clock: int) -> str:
    if clock >= feed.next_clock:
        return f"the feed ends before #{feed.next_clock}"
    if clock not in feed.known:
        return "nothing is known about it yet"
    above = [
        f"#{record.clock} ({record.body.kind} {record.body.key})"
        for record in feed.live()
        if record.clock > clock and record.body.key is not None
    ]
    by = f"; if it was superseded, by one of {', '.join(above)}" if above else ""
    return f"its content is gone: superseded, rejected or void{by}"


# --- one row -------------------------------------------------------------------------------------


def _held(ledger: Ledger, feed: Feed, entry: Entry, names: queries.Names) -> RecordRow:
    record, key = entry.record, entry.record.body.key
    live = feed.is_live(entry)
    if live:
        verdict = "live"
        why = _why(ledger, record, names)
        if entry.verdict is EntryStatus.BUILT_UPON:
            why = f"after a fork, but others built on it; {why}"
    elif entry.verdict is EntryStatus.ADMITTED:
        verdict, why = "not live", "its feed is cut, and no keyed record is live there"
    else:
        verdict, why = entry.verdict.name.lower(), WHY_NOT_LIVE[entry.verdict]
    return _row(
        record,
        names,
        verdict=verdict,
        why=why,
        supersedes=f"every {record.body.kind} of {key} below #{record.clock} in its feed"
        if live and key is not None
        else "nothing",
        superseded="by nothing: records of its kind are never superseded"
        if key is None
        else f"by nothing: no later {record.body.kind} of {key} is live in its feed",
    )


def _row(
    record: VerifiedRecord,
    names: queries.Names,
    *,
    verdict: str,
    why: str,
    supersedes: str = "nothing",
    superseded: str = "by nothing",
) -> RecordRow:
    author = record.feed.author.hex()
    body = msgspec.json.decode(record.value[limits.SIGNATURE_BYTES :])
    return RecordRow(
        author=author,
        name=names.get(author, ""),
        incarnation=record.feed.incarnation,
        clock=record.clock,
        record=record.record_id.hex(),
        kind=record.body.kind,
        at=str(record.stamp.at),
        n=record.stamp.n,
        verdict=verdict,
        why=why,
        says=describe_body(body, names),
        signature=True,
        supersedes=supersedes,
        superseded=superseded,
        body=body,
    )


def _raw(
    audited: AuditedStore, record: SignedRecord | UndecodableRecord, verdict: str, why: str
) -> RecordRow:
    """A record with unchecked content and signature."""
    names = queries.names(audited.ledger)
    signed = SignedRecord(record.feed, record.clock, record.value)
    message, record_id = signed_bytes_and_id(audited.cluster, signed)
    holds = verify_batch([(record.feed.author, message, signed.signature)])[0]
    try:
        found = msgspec.json.decode(signed.body_bytes)
        body = found if isinstance(found, dict) else {"unreadable": signed.body_bytes.hex()}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        body = {"unreadable": signed.body_bytes.hex()}
    author = record.feed.author.hex()
    return RecordRow(
        author=author,
        name=names.get(author, ""),
        incarnation=record.feed.incarnation,
        clock=record.clock,
        record=record_id.hex(),
        kind=str(body.get("kind", "")),
        at=str(body.get("at", "")),
        n=n if isinstance(n := body.get("n"), int) else 0,
        verdict=verdict,
        why=why,
        says="",
        signature=bool(holds),
        supersedes="nothing",
        superseded="by nothing: its slot is empty",
        body=body,
    )


def _why(ledger: Ledger, record: VerifiedRecord, names: queries.Names) -> str:
    """Why a record was admitted (protocol §5)."""
    role = ledger.roster.role_of_slot(record.feed, record.clock)
    may = f"its author is {role} for this slot" if role else "its author is on the roster"
    match record.body:
        case Transition(event=event, parent=parent):
            before = None if parent is None else ledger.find(parent)
            if parent is not None and before is None:
                return f"{may}; its parent does not count here, so the fold decides"
            stage, name = PIPELINE.state_name(stage_made_by(before)), tag_of(type(event))
            made = "" if parent is None else f" (after {format_ref(names, _hex(parent))})"
            return f"{may}; {stage}{made} accepts {name}"
        case Execution(previous=previous, event=event, state=state):
            step = f"{tag_of(type(event))} leads from {tag_of(type(previous))}"
            return f"{may}; {step} to {tag_of(type(state))}"
        case Member():
            counts = "and it counts" if ledger.roster.counts(record) else "but it counts nowhere"
            return f"{may}; an admission depends on its author's role only, {counts}"
        case Revocation():
            return f"{may}, and may revoke this node"
        case Evidence():
            return "both signatures are valid for one slot, which proves a fork"
        case Ack():
            return f"{may}; an ack is always admitted, and counts if the record it names counts"
        case Seal():
            return f"{may}; a seal decides nothing; it is compared with the records here"
        case Carried():
            return f"{may}; a kind unknown to this version, passed on unread"
        case Story() | Claim():
            return f"{may}, and a {record.body.kind} needs nothing more"


def _hex(ref: Any) -> tuple[str, int, int]:
    return ref.author.hex(), ref.incarnation, ref.clock
