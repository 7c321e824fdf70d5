"""All that can be told of one record: what it says, where it stands, and why.

Takes what ``store_audit.py`` holds of a store; finds records by the start of an id, or by their
place as tables show it (``den/0#7``), whatever became of them: held, pending, rejected or in
quarantine. Stands beside the line, and changes nothing. Source: protocol §5, §9, §13.
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

NOT_WHY = {
    EntryStatus.VOID_FORK: "void: at or after a proven fork of its feed",
    EntryStatus.VOID_REVOKED: "void: its author has no right to this slot on the present roster",
    EntryStatus.AHEAD: "stamped too far ahead of this host's clock to count yet",
    **UNSETTLED,
}
PLACE = re.compile(r"(.+)/(\d{1,10})#(\d{1,10})", re.ASCII)
PREFIX_MIN = 4


class RecordRow(msgspec.Struct, frozen=True):
    """One record, whatever became of it; keys and ids in hex.

    Attributes:
        name: what its author is called.
        verdict: live, not live, pending, rejected, refused, or why it is void.
        why: what the verdict rests on.
        says: its body in a line.
        signature: whether it holds for this position and cluster.
        supersedes: which records below it, in words.
        superseded: whether by what, in words.
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


def held_rows(held: AuditedStore) -> Iterator[RecordRow]:
    """Every record that a store holds, feed by feed in order of clock."""
    names = queries.names(held.ledger)
    for feed, entry in held.entries():
        yield _held(held.ledger, feed, entry, names)


def every_row(held: AuditedStore) -> Iterator[RecordRow]:
    """The same, and what waits, was rejected, or stands in quarantine with its position."""
    names = queries.names(held.ledger)
    yield from held_rows(held)
    for waiting in held.ledger.pending.rows():
        yield _row(waiting.record, names, verdict="pending", why=str(waiting.reason))
    for turned in held.ledger.rejected:
        if isinstance(turned.record, VerifiedRecord):
            yield _row(turned.record, names, verdict="rejected", why=str(turned.reason))
        else:
            yield _raw(held, turned.record, "rejected", f"{turned.reason}: {turned.record.detail}")
    known: set[object] = {turned.record.record_id for turned in held.ledger.rejected}
    for at, _, author, incarnation, clock, record, reason, detail, value in held.quarantined:
        feed = _feed_of(author, incarnation, clock)
        if feed is None or record in known:
            continue
        assert isinstance(clock, int)
        assert isinstance(at, int)
        assert isinstance(value, bytes)
        known.add(record)
        why = f"{reason}: {detail}, in quarantine since {Instant.nearest(at)}"
        yield _raw(held, SignedRecord(feed, clock, value), "rejected", why)


def _feed_of(author: object, incarnation: object, clock: object) -> FeedId | None:
    """The feed that a row of the quarantine names, if it names a slot of one."""
    if not (isinstance(author, bytes) and isinstance(incarnation, int) and isinstance(clock, int)):
        return None
    if len(author) != NODE_PUBKEY_BYTES or not is_slot(incarnation, clock):
        return None
    return FeedId(NodePubkey(author), incarnation)


def find(held: AuditedStore, wanted: str) -> list[RecordRow]:
    """The records that an id's start or a place names."""
    slot = PLACE.fullmatch(wanted)
    if slot is None and len(wanted) < PREFIX_MIN:
        return []
    return [row for row in every_row(held) if _is_wanted(row, wanted, slot)]


def _is_wanted(row: RecordRow, wanted: str, slot: re.Match[str] | None) -> bool:
    if slot is None:
        return row.record.startswith(wanted)
    at = (row.incarnation, row.clock) == (int(slot[2]), int(slot[3]))
    return at and is_called(row.author, row.name, slot[1])


def is_called(author: str, name: str | None, node: str) -> bool:
    """Whether a node is meant: by its name, or by the start of its key."""
    return name == node or (len(node) >= PREFIX_MIN and author.startswith(node))


def empty_slot(held: AuditedStore, wanted: str) -> str:
    """Why nothing stands at a place, as far as that can be known; empty where it is no place."""
    slot = PLACE.fullmatch(wanted)
    if slot is None:
        return ""
    names, clock = queries.names(held.ledger), int(slot[3])
    for feed_id, feed in held.ledger.feeds.items():
        author = feed_id.author.hex()
        if feed_id.incarnation == int(slot[2]) and is_called(author, names.get(author), slot[1]):
            return _why_empty(feed, clock)
    return "no such feed is held"


def _why_empty(feed: Feed, clock: int) -> str:
    if clock >= feed.next_clock:
        return f"the feed ends before #{feed.next_clock}"
    if clock not in feed.known:
        return "nothing is known of it yet"
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
            why = f"a fork voids it, but others built on it; {why}"
    elif entry.verdict is EntryStatus.ADMITTED:
        verdict, why = "not live", "its feed is cut, and nothing with a key is live there"
    else:
        verdict, why = entry.verdict.name.lower(), NOT_WHY[entry.verdict]
    return _row(
        record,
        names,
        verdict=verdict,
        why=why,
        supersedes=f"every {record.body.kind} of {key} below #{record.clock} in its feed"
        if live and key is not None
        else "nothing",
        superseded="by nothing: its kind has no key"
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
    held: AuditedStore, record: SignedRecord | UndecodableRecord, verdict: str, why: str
) -> RecordRow:
    """A record that may say anything, or whose signature may not hold."""
    names = queries.names(held.ledger)
    signed = SignedRecord(record.feed, record.clock, record.value)
    message, record_id = signed_bytes_and_id(held.cluster, signed)
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
    """What an admitted record's verdict rests on (protocol §5)."""
    role = ledger.roster.role_of_slot(record.feed, record.clock)
    may = f"its author is {role} for this slot" if role else "its author is on the roster"
    match record.body:
        case Transition(event=event, parent=parent):
            before = None if parent is None else ledger.find(parent)
            if parent is not None and before is None:
                return f"{may}; what it acts on does not count here, and the fold decides"
            stage, name = PIPELINE.state_name(stage_made_by(before)), tag_of(type(event))
            made = "" if parent is None else f", which {format_ref(names, _hex(parent))} made,"
            return f"{may}; {stage}{made} takes {name}"
        case Execution(previous=previous, event=event, state=state):
            step = f"{tag_of(type(event))} leads from {tag_of(type(previous))}"
            return f"{may}; {step} to {tag_of(type(state))}"
        case Member():
            counts = "and it counts" if ledger.roster.counts(record) else "but it counts nowhere"
            return f"{may}; an admission is judged by who wrote it, {counts}"
        case Revocation():
            return f"{may}, and may revoke this node"
        case Evidence():
            return "proof proves itself: both signatures hold for one slot"
        case Ack():
            return f"{may}; an ack is admitted whatever it names, and counts where that counts"
        case Seal():
            return f"{may}; a seal decides nothing, it is compared with what is held"
        case Carried():
            return f"{may}; a kind that this build does not know is carried along"
        case Story() | Claim():
            return f"{may}, and nothing more is asked of a {record.body.kind}"


def _hex(ref: Any) -> tuple[str, int, int]:
    return ref.author.hex(), ref.incarnation, ref.clock
