"""What this node wrote and what counts nowhere now: what of it to write again, and how.

Stands beside ``handlers.py``. A host that was rolled back or cloned while it ran forks its feed
once; what the cut voids was acknowledged to somebody all the same. In the new feed its author
writes again what still applies, and reports the rest. Reads the ledger, changes nothing. Source:
protocol §9.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from machines.values import Instant, NodePubkey

from crdt.authoring.intents import Receipt
from crdt.authoring.reissue_body import AlreadySuperseded
from crdt.contract.ready import Noticed, NoticeKind, OwnEnd
from crdt.ledger.feed import EntryStatus, Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.identity import RecordId, RecordRef
from crdt.primitives.seeded_random import SeededRandom
from crdt.records.bodies import (
    Role,
)
from crdt.records.horizon import latest_own
from crdt.records.record import VerifiedRecord
from crdt.sync.anti_entropy import as_records
from crdt.sync.session import Session, Sessions
from crdt.views.event_tree import order
from crdt.views.roster import Roster
from crdt.wire.messages import Frame

KEPT_FOR_LATER = (EntryStatus.VOID_REVOKED, EntryStatus.WAITING, EntryStatus.REJECTED)
"""What of a node's own is not written again while it is held so, nor handed back."""


class Reissuer:
    """What still has to be written again, and what was dealt with.

    Args:
        sessions: whether there are peers, who vouch for the own clock.
        former: the key that this node had before its present one, where it had one.
        former_end: how far the node had written under that key, as far as it is known.

    Attributes:
        moved: where the records that were written again stand now, by their old id.
    """

    def __init__(
        self,
        own: NodePubkey,
        ledger: Ledger,
        sessions: Sessions,
        former: NodePubkey | None = None,
        former_end: OwnEnd | None = None,
    ) -> None:
        self.moved: dict[RecordId, RecordRef] = {}
        self._own = own
        self._sessions = sessions
        self._former = former
        self._former_end = former_end
        self._ledger = ledger
        self._settled: set[RecordId] = set()
        self._lost: list[VerifiedRecord] = []
        self._seen: object = None
        self._at = float("inf")

    def restore(self, settled: Iterable[RecordId]) -> None:
        """Take back what was dealt with before the last start."""
        self._settled = set(settled)

    def due(self, mono: float) -> list[VerifiedRecord]:
        """What to deal with now. What the own key lost waits a little, since peers may know more;
        what the former key lost by its revocation moves over at once, before anybody asks for it.
        """
        # Alone, it may be the own clock that makes a stamp look ahead.
        vouched = bool(self._sessions.all())
        self._look(vouched=vouched)
        lost = self._lost
        if vouched:
            ahead = self._ledger.pending.ahead_of(self._own)
            lost = lost + [one for one in ahead if one.record_id not in self._settled]
        moving = [record for record in lost if record.feed.author == self._former]
        if len(moving) == len(lost):
            self._at = float("inf")
            return moving
        self._at = min(self._at, mono + limits.WRITE_AGAIN_SECONDS)
        if mono < self._at:
            return moving
        mine = (record for record in lost if record.feed.author == self._own)
        return moving + list(islice(mine, limits.WRITE_AGAIN_PER_TICK_MAX))

    def is_moving(self) -> bool:
        """Whether something of the former key's is still to be written under this one."""
        self._look(vouched=bool(self._sessions.all()))
        moving = any(record.feed.author == self._former for record in self._lost)
        return moving and self._ledger.roster.role(self._own) not in (None, Role.OBSERVER)

    def _look(self, *, vouched: bool) -> None:
        """Find what is lost, if anything changed since: a long feed is not walked at every tick."""
        feeds = may_lack(self._ledger, self._own, self._former)
        seen = (
            vouched,
            self._ledger.broken.keys() - self._settled,
            [(f.id, f.changes) for f in feeds],
        )
        if seen != self._seen:
            self._seen = seen
            self._lost = own_void_records(self._ledger, self._own, self._former, vouched=vouched)
        self._lost = [
            one for one in self._lost if one.record_id not in self._settled and self._is_ours(one)
        ]

    def _is_ours(self, record: VerifiedRecord) -> bool:
        """Whether this node wrote a record, and not whoever else has its former key.

        Of what a revocation took of that key, only what this node knows to have written moves over.
        """
        entry, end = self._ledger.entry_of(record), self._former_end
        if record.feed.author != self._former or entry is None:
            return True
        if entry.verdict is not EntryStatus.VOID_REVOKED:
            return True
        return end is not None and record.feed == end[:2] and record.clock < end.clock

    def settle(self, record: VerifiedRecord, outcome: Receipt | ProposalRefused) -> Noticed | None:
        """Record that this was written again, or cannot be: never again, whatever crashes.

        Returns:
            What to report to the operator, if anything.
        """
        self._settled.add(record.record_id)
        what = f"{record.body.kind} {_slot(record.ref)}"
        if isinstance(outcome, Receipt):
            self.moved[record.record_id] = outcome.ref
            if record.feed.author == self._former:  # what moves to the next key was to move
                return None
            said = f"{what} counted nowhere and was written again at {_slot(outcome.ref)}"
        elif isinstance(outcome, AlreadySuperseded):
            return None
        else:
            said = f"{what} counts nowhere and was not written again: {outcome}"
        return Noticed(NoticeKind.WRITTEN_AGAIN, said, self._own)


def new_feed_reason(feed: Feed, roster: Roster, wall: Instant) -> str:
    """Why the own feed cannot be gone on in (protocol §9); empty where it can."""
    if feed.latest is not None and feed.latest.at > latest_own(wall):
        return "the own records are stamped further ahead than others take"
    if roster.role_of_slot(feed.id, feed.next_clock) in (None, Role.OBSERVER):
        return "a revocation takes the own feed from here on"
    if feed.fork is not None:
        return f"a fork of the own feed was proven at clock {feed.fork}"
    if feed.keeps:
        return (
            "since its admission changed, executions and claims in the feed so far count no longer"
        )
    return ""


def why_short(feed: Feed, written: OwnEnd | None) -> str:
    """Why a store cannot be the one last written: it holds less of the own feed than it says.

    The last record of a feed is never superseded, and no other record leaves a disk (protocol §9).
    """
    if (
        written is None
        or written[:2] != feed.id
        or written.clock <= max(feed.slots, default=-1) + 1
    ):
        return ""
    return "the store holds less of what this node wrote than it says"


def draw_incarnation(ledger: Ledger, own: NodePubkey, draw: SeededRandom) -> int:
    """The number of a new own feed: no counting, since others may have counted on too."""
    taken = {feed.incarnation for feed in ledger.feeds if feed.author == own}
    return next(n for n in iter(draw.u32, None) if n and n not in taken)


def may_lack(ledger: Ledger, own: NodePubkey, former: NodePubkey | None) -> list[Feed]:
    """The feeds of a node's own in which something may count nowhere."""
    return [
        feed
        for feed in ledger.feeds.values()
        if (feed.author == own and (feed.keyed_void or ledger.ahead)) or feed.author == former
    ]


def own_void_records(
    ledger: Ledger, own: NodePubkey, former: NodePubkey | None = None, *, vouched: bool = True
) -> list[VerifiedRecord]:
    """The own records that count nowhere though they could, in order of their stamps.

    Of the own key's those that a fork or (where peers vouch for the clock) a stamp took, those that
    break the rules since the roster moved, and those with a key in a feed that a revocation keeps
    in part: they stopped counting when it came, not when the node lost its right.
    Of the key that this node had before, whatever its revocation took: that was to move over.
    """
    found = [
        entry.record
        for feed in may_lack(ledger, own, former)
        for entry in feed.idle()
        if (entry.verdict not in KEPT_FOR_LATER or feed.author == former)
        and (entry.verdict is not EntryStatus.AHEAD or vouched)
    ]
    found += [record for record in ledger.broken.values() if record.feed.author == own]
    return sorted(found, key=order)


def dead(ledger: Ledger) -> Iterator[VerifiedRecord]:
    """What is held in feeds in which nothing with a key is live: it may be written again."""
    for feed in ledger.feeds.values():
        if feed.keyed_void:
            yield from (entry.record for entry in feed.entries())


def return_void_records(ledger: Ledger, session: Session) -> Iterator[Frame]:
    """What this node keeps of a peer's own that counts nowhere: the peer may have lost it.

    By position; each record once a session. What counts travels by anti-entropy.
    """
    theirs = [
        feed
        for feed in ledger.feeds.values()
        if feed.author == session.peer and (feed.keyed_void or ledger.ahead)
    ]
    for feed in sorted(theirs, key=lambda feed: feed.id):
        kept = [
            entry.record
            for entry in feed.idle()
            if entry.verdict not in KEPT_FOR_LATER
            and entry.record.record_id not in session.handed_back
        ]
        session.handed_back.update(record.record_id for record in kept)
        yield from as_records(feed.id, kept)


def _slot(ref: RecordRef) -> str:
    """A record's place, as a person reads it."""
    return f"{ref.author.short}/{ref.incarnation} #{ref.clock}"
