"""Stages 6 and 7 of the line: gives every verified record its verdict and its place.

Takes verified records from ``signatures.py``, asks ``judge.py``, and keeps each in exactly one
place: held in its feed, pending, rejected, or gone (superseded, or not taken). What is held is on
disk, and leaves it only when it is superseded: where the roster or a cut moves, what rested on it
is judged again, and kept if it counts no longer. Returns ``Changes``. No verdict depends on the
order of arrival. Source: protocol §5, §9.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, assert_never

from machines.values import Instant, NodePubkey

from crdt.contract.checkpoint import Checkpoint, pass_on
from crdt.contract.ready import (
    ForkProven,
    ProofRow,
    Quarantined,
    RecordRejected,
    RosterMoved,
    Row,
)
from crdt.ledger.bounds import VoidBounds
from crdt.ledger.changes import Changes
from crdt.ledger.feed import LIVE, VOID, Entry, EntryStatus, Feed
from crdt.ledger.ingest import Signed, UndecodableRecord
from crdt.ledger.judge import Admitted, Deferred, Rejected, Verdict, Void, judge
from crdt.ledger.pending import FutureStamped
from crdt.ledger.placement import Holdings
from crdt.ledger.reference_index import referenced_by
from crdt.ledger.roster_statements import Statements
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.identity import ClusterId, FeedId, RecordId
from crdt.records.bodies import Evidence, Role, Statement
from crdt.records.fork_proof import accused, claimed_proof, proof_of, proof_side
from crdt.records.horizon import FIRST, Horizon
from crdt.records.record import VerifiedRecord
from crdt.records.signatures import Verifier
from crdt.views.board import Board
from crdt.views.roster import Roster

KEPT: Final = {
    Reason.UNKNOWN_AUTHOR: EntryStatus.VOID_REVOKED,
    Reason.MISSING_PARENT: EntryStatus.WAITING,
    Reason.STAMP_AHEAD: EntryStatus.AHEAD,
}
"""How a record on disk is held that would wait, were it to arrive now."""


class Ledger(Holdings):
    """Every record this node knows, each with its verdict.

    Args:
        openings: whether one more feed, or fork, of a member is taken now.
        own: this node's key, which no bound applies to.
        checkpoint: called before each step, however many there are.

    Attributes:
        evidence: live ``evidence`` records, by the feed they accuse.
        ahead: what is held and waits for its time.
        broken: what is held and breaks the rules since the roster moved.
        statements: what is said of who belongs, whatever its verdict.
    """

    def __init__(
        self,
        cluster: ClusterId,
        founder: NodePubkey,
        verifier: Verifier,
        openings: Callable[[NodePubkey], bool] = lambda _author: True,
        own: NodePubkey | None = None,
        checkpoint: Checkpoint = pass_on,
    ) -> None:
        super().__init__(cluster, founder, verifier, own)
        self._openings = openings
        self.checkpoint = checkpoint
        self.board = Board()
        self.evidence: dict[FeedId, list[VerifiedRecord]] = {}
        self._changes = Changes()
        self.horizon = Horizon(own)
        self.statements = Statements()
        self._void = VoidBounds(own)
        self.ahead = FutureStamped()
        self.broken: dict[RecordId, VerifiedRecord] = {}
        self._latest = FIRST
        self._work: deque[VerifiedRecord] = deque()
        self._queued: set[RecordId] = set()
        self._peer: NodePubkey | None = None
        self._stored = self._roster_stale = False

    # --- in ------------------------------------------------------------------------------------

    def merge(
        self,
        records: Sequence[Signed],
        now: Instant,
        *,
        peer: NodePubkey | None = None,
        gaps: Iterable[tuple[FeedId, int, int]] = (),
        stored: bool = False,
    ) -> Changes:
        """Judge and merge verified records, in any order; return what changed since the last call.

        Args:
            now: the own wall clock; delays a record stamped too far ahead, decides nothing. Where
                it goes back, so does what it let in.
            peer: who brought them (``None``: the own store, or a local caller).
            gaps: runs without content (feed, start, end) that came with them.
            stored: they come from the own store: no bound applies and nothing is written again.
        """
        self._peer, self._stored = peer, stored
        # What stands beside a record in this call has no place yet, but may be its twin, or itself.
        fresh: defaultdict[FeedId, dict[int, Signed]] = defaultdict(dict)
        for record in records:
            if record.record_id in self._queued or self.is_known(record):
                continue
            beside = fresh[record.feed]
            if not self._has_budget(record, beside.get(record.clock)):
                continue  # it has no verdict yet, and comes back by anti-entropy
            beside.setdefault(record.clock, record)
            if isinstance(record, UndecodableRecord):
                self._turn_away(record, Reason.MALFORMED_RECORD, record.detail)
                continue
            if isinstance(record.body, Statement):
                self.statements.add(record)
                self._roster_stale |= self.roster.has_granted(record.feed.author, Role.ADMIN)
                if stored:
                    self.horizon.note(record)
            self.names.add(record)
            self._queue(record)
        self._tell_time(now)
        self._settle()
        self._stored = False
        for gap in gaps:
            self.believe_gap(*gap)
        return self.take_changes()

    def release_due(self, now: Instant) -> Changes:
        """Judge what waited for the clock alone; return what changed since the last call."""
        self._peer = None
        self._tell_time(now)
        self._settle()
        return self.take_changes()

    def _tell_time(self, now: Instant) -> None:
        """Queue what the clock lets count from now on, or, where it went back, no longer."""
        horizon, was_clockless = self.horizon, self.horizon.is_clockless
        horizon.set_time(now)
        held = filter(self.entry_of, self.ahead.due(horizon.on_disk))
        for record in (*self.pending.due(now.ms), *held):
            self._queue(record)
        if self._latest > horizon.on_disk:
            self._clock_went_back(horizon.on_disk)
        self._roster_stale |= self.statements.have_moved(horizon)
        self._roster_stale |= horizon.is_clockless is not was_clockless

    def _clock_went_back(self, latest: Instant) -> None:
        """The own clock went back: what it took too early no longer counts, as with the others."""
        self._latest = latest
        for feed in self.feeds.values():
            for entry in feed.entries():
                if entry.record.body.at > latest:
                    self._queue(entry.record)

    def accuse(self, claimed: ProofRow) -> None:
        """Take a claimed proof of a fork, if it is one and lower than what is known.

        Counts at once where the accused is on the roster, and from then on where it comes to be.
        """
        if self.proofs.is_news(claimed):
            self._prove(claimed, accused(claimed).author)

    def retire(self, record: VerifiedRecord) -> Changes:
        """Drop an own record that waits for its stamp, and was written again since.

        It would count a second time once its time has come. Its bytes go to quarantine.
        """
        entry = self.entry_of(record)
        if entry is None:
            self.pending.discard(record)
        elif entry.verdict is EntryStatus.AHEAD:
            self._drop(entry, known_empty=True)
        else:
            return self.take_changes()
        self._unindex(record)
        self._quarantine(record, Reason.STAMP_AHEAD, "written again since, or reported", None)
        return self.take_changes()

    def restore_proof(self, row: ProofRow) -> bool:
        """Take back a stored proof, which no sum guards; returns whether it proves a fork."""
        if (holds := self.proofs.is_valid(row)) and self.proofs.is_lower(row):
            self.proofs[accused(row)] = row
            self._cut(accused(row))
        return holds

    def believe_gap(self, feed: FeedId, start: int, end: int) -> None:
        """Take a run without content as empty, as far as a record of the feed follows it."""
        held = self.feeds.get(feed)
        if held is not None and held.believe_gap(start, end):
            self._changes.feeds.add(feed)

    def believe_holes(self) -> Changes:
        """A peer holds the very same live records: what lies between them is empty for both.

        Without this a message lost on the way leaves a slot unknown for ever, and whoever reads the
        rendering never sees what stands behind it. A slot of a pending record is shown as empty,
        since the other node may have found no room for that record; but it is not known to be:
        the record is not on disk, and its author must not be told that it is.
        """
        for feed in self.feeds.values():
            if feed.known_end() < feed.next_clock:
                self.believe_gap(feed.id, 0, feed.next_clock)
        for waiting in self.pending.rows():
            held = self.feeds.get(waiting.record.feed)
            if held is not None and waiting.record.clock not in held.slots:
                held.pass_over(waiting.record.clock)
                self._changes.feeds.add(held.id)
        return self.take_changes()

    def take_changes(self) -> Changes:
        """Return what changed since the last call, and forget it."""
        changes, self._changes = self._changes, Changes()
        return changes

    # --- the work list -----------------------------------------------------------------------

    def _queue(self, record: VerifiedRecord) -> None:
        self.checkpoint()
        if record.record_id not in self._queued:
            self._queued.add(record.record_id)
            self._work.append(record)

    def _settle(self) -> None:
        """Judge until nothing moves. Ends: names only point back, by hash, so there is no ring."""
        if self._roster_stale:
            self._move_roster()
        while self._work:
            self.checkpoint()
            record = self._work.popleft()
            self._queued.discard(record.record_id)
            held = self.entry_of(record)
            if self._apply(record, held, self.judge(record, on_disk=self._is_kept(held))):
                self._queue_dependents(record)
            if not self._work:
                for entry in self._void.overflow():
                    self._drop(entry, known_empty=False)
                    self._unindex(entry.record)
        self._queued.clear()  # a set keeps the room of the most that it ever held

    def judge(self, record: VerifiedRecord, *, on_disk: bool = False) -> Verdict:
        """What the gate says of a record, by the time that was last told."""
        return judge(record, self, self.horizon.of(record, on_disk=on_disk))

    def _is_kept(self, held: Entry | None) -> bool:
        """Whether a record is on disk, where it stays whatever becomes of the roster."""
        return held is not None or self._stored

    def _queue_dependents(self, record: VerifiedRecord) -> None:
        """A record's place changed: judge again what names it, and what it names."""
        for namer in self.names.of(record):
            self._queue(namer)
        named = referenced_by(record) if self.proofs else None
        if named is not None and self.fork_of(named.feed) is not None:
            target = self.entry(named)
            built = target is not None and target.verdict is EntryStatus.BUILT_UPON
            if target is not None and self.builds_on(record, target.record) is not built:
                self._queue(target.record)

    def _apply(self, record: VerifiedRecord, held: Entry | None, judgement: Verdict) -> bool:
        """Move a record to where its judgement puts it; says whether anything changed."""
        match judgement:
            case Admitted(built):
                return self._hold(
                    record, held, EntryStatus.BUILT_UPON if built else EntryStatus.ADMITTED
                )
            case Void(reason):
                void = EntryStatus.VOID_FORK if reason is Reason.FORK else EntryStatus.VOID_REVOKED
                return self._hold(record, held, void)
            case Deferred(reason) if self._is_kept(held):
                return self._hold(record, held, KEPT[reason])
            case Deferred(reason):
                self.rejected.discard(record.record_id)
                if not self.pending.add(record, reason):
                    self._unindex(record)
                return False
            case Rejected(Reason.NOT_ALLOWED) if self._is_kept(held):
                return self._hold(record, held, EntryStatus.VOID_REVOKED)
            case Rejected(reason, detail) if self._is_kept(held):
                moved = self._hold(record, held, EntryStatus.REJECTED)
                if moved and held is not None:
                    self._tell_rejected(record, reason, detail)
                return moved
            case Rejected(reason, detail):
                self.pending.discard(record)
                known = self.rejected.find(record.ref)
                if known is not None and known.reason is reason:
                    return False
                self._turn_away(record, reason, detail)
                return True
            case _:
                assert_never(judgement)

    def _hold(self, record: VerifiedRecord, held: Entry | None, verdict: EntryStatus) -> bool:
        """Hold a record under a verdict, superseding what its key supersedes."""
        if held is not None and held.verdict is verdict:
            self._show(self.feeds[record.feed], held)
            return False
        feed = self.feed(record.feed)
        live = verdict in LIVE
        self.pending.discard(record)
        self.rejected.discard(record.record_id)
        if live and self._is_superseded(feed, record):
            if held is not None:
                self._drop(held, known_empty=True)
            else:  # It came after the one that supersedes it: its slot is empty.
                feed.empty(record.clock, record.clock + 1)
                if self._stored:
                    self._changes.rows[record.ref] = None
            self._unindex(record)
            self._changes.feeds.add(feed.id)
            return True
        if held is None:
            held = Entry(record, verdict)
            feed.place(held)
            if not self._stored:
                ref = record.ref
                self._changes.rows[ref] = Row(*ref, record.value)
                self.horizon.note(record)
            if verdict in VOID:
                self._void.take(held, stored=self._stored)
        else:
            self._void.leave(held)
            feed.judge(held, verdict)
        if verdict is EntryStatus.REJECTED:
            self.broken[record.record_id] = record
        else:
            self.broken.pop(record.record_id, None)
        if live:
            self._latest = max(self._latest, record.body.at)
        elif verdict is EntryStatus.AHEAD:
            self.ahead.add(record)
        self._changes.feeds.add(feed.id)
        self._key(feed, record, live=live)
        self._show(feed, held)
        return True

    # --- keys --------------------------------------------------------------------------------

    def _is_superseded(self, feed: Feed, record: VerifiedRecord) -> bool:
        key = record.body.key
        return key is not None and feed.keys.get((record.body.kind, key), -1) > record.clock

    def _key(self, feed: Feed, record: VerifiedRecord, *, live: bool) -> None:
        """Supersede what a keyed record supersedes; or, if it is void, no longer stand for it."""
        if record.body.key is None:
            return
        key = (record.body.kind, record.body.key)
        top = feed.keys.get(key, -1)
        if live and record.clock >= top:
            feed.keys[key] = record.clock
            if 0 <= top < record.clock:
                # It stands alone in its slot: a twin would have cut the feed there.
                [entry] = feed.entries_at(top)
                self._drop(entry, known_empty=True)
                self._unindex(entry.record)
        elif not live and record.clock == top:
            del feed.keys[key]

    # --- places ------------------------------------------------------------------------------

    def feed(self, feed_id: FeedId) -> Feed:
        """A feed, made where nothing of it was known."""
        feed = self.feeds.get(feed_id)
        if feed is None:
            feed = self.feeds[feed_id] = Feed(feed_id, self.cluster)
            feed.fork = self.fork_of(feed_id)
            feed.keeps = self.roster.keeps(feed_id)
            self._changes.opened.append(feed)
        return feed

    def _drop(self, entry: Entry, *, known_empty: bool) -> None:
        """Hold a record no longer, and delete its row."""
        record = entry.record
        feed = self.feeds[record.feed]
        self._void.leave(entry)
        self._hide(entry)
        feed.withdraw(entry)
        self._key(feed, record, live=False)
        if not known_empty and record.clock not in feed.slots:
            feed.forget(record.clock)
            self._changes.forgotten.append((feed.id, record.clock))
        self._changes.rows[record.ref] = None
        self._changes.feeds.add(feed.id)

    def _show(self, feed: Feed, entry: Entry) -> None:
        """Bring the board in line with whether an entry is live."""
        if not feed.is_live(entry):
            self._hide(entry)
        elif not entry.shown:
            entry.shown = True
            self.board.add(entry.record)
            if isinstance(entry.record.body, Evidence):
                self.evidence.setdefault(entry.record.body.feed, []).append(entry.record)
            self._changes.live.append(entry.record)

    def _hide(self, entry: Entry) -> None:
        if entry.shown:
            entry.shown = False
            self.board.remove(entry.record)
            self._changes.ceased.append(entry.record)
            if isinstance(entry.record.body, Evidence):
                self.evidence[entry.record.body.feed].remove(entry.record)

    # --- what was turned away ------------------------------------------------------------------

    def _turn_away(self, record: Signed, reason: Reason, detail: str) -> None:
        """Reject a record: remember it, quarantine its bytes, leave its slot empty."""
        for forgotten in self.rejected.add(record, reason):
            if isinstance(forgotten, VerifiedRecord):
                self._unindex(forgotten)
        if self.roster.on_roster(record.feed.author):
            feed = self.feed(record.feed)
            feed.empty(record.clock, record.clock + 1)
            self._changes.feeds.add(feed.id)
        self._tell_rejected(record, reason, detail)

    def _tell_rejected(self, record: Signed, reason: Reason, detail: str) -> None:
        self._quarantine(record, reason, detail, self._peer)
        self._changes.observed.append(RecordRejected(record.ref, reason, detail, self._peer))

    def _quarantine(
        self, record: Signed, reason: Reason, detail: str, peer: NodePubkey | None
    ) -> None:
        where = (record.feed, record.clock, record.record_id)
        self._changes.quarantined.append(Quarantined(peer, *where, reason, detail, record.value))

    def _unindex(self, record: VerifiedRecord) -> None:
        """A record is gone: nothing may find it any longer."""
        self.statements.discard(record)
        self.names.discard(record)

    # --- forks and the roster ------------------------------------------------------------------

    def _has_budget(self, record: Signed, beside: Signed | None) -> bool:
        """Open the feed a record opens, take the fork it proves; says whether both fitted.

        Two different records signed for one slot prove a fork, whatever their verdicts; ``beside``
        is another for this slot that has no place yet.
        """
        feed, clock = record.feed, record.clock
        if feed not in self.feeds and self.roster.on_roster(feed.author):
            if not (self._stored or self._openings(feed.author)):
                return False
            self.feed(feed)
        fork = self.proofs.get(feed)
        if fork is None or clock < fork.clock:
            twin = beside if beside is not None else self.at(feed, clock)
            if twin is not None:
                one, two = proof_side(record.value), proof_side(twin.value)
                if not self._prove(proof_of(feed, clock, one, two), feed.author):
                    return False
        if isinstance(record, VerifiedRecord) and isinstance(record.body, Evidence):
            claimed = claimed_proof(record.body)
            return not self.proofs.is_news(claimed) or self._prove(claimed, feed.author)
        return True

    def _prove(self, row: ProofRow, by: NodePubkey) -> bool:
        """Take a proof; says whether it fitted.

        Those against members come as fast as who writes them down may open feeds: what an honest
        node writes waits for no liar's share. Those against strangers are bounded for good.
        """
        feed, on_roster = accused(row), self.roster.on_roster
        if on_roster(feed.author):
            if not (self._stored or self._openings(by if on_roster(by) else feed.author)):
                return False
        elif feed not in self.proofs and len(self.proofs) >= limits.PENDING_MAX:
            return True
        self.proofs[feed] = row
        self._changes.proofs.append(row)
        self._cut(feed)
        return True

    def _cut(self, feed_id: FeedId) -> None:
        """A fork was proven lower than any before: judge again what rested on the feed."""
        fork = self.fork_of(feed_id)
        if fork is None:
            return
        feed = self.feeds.get(feed_id)
        before = None if feed is None else feed.fork
        # What lies behind an earlier cut rests on that already; the first takes every key.
        start, end = (0, limits.CLOCK_MAX + 1) if before is None else (fork, before)
        if feed is not None:
            feed.fork = fork
            feed.invalidate()
            self._changes.feeds.add(feed_id)
            for entry in feed.entries_between(start, end):
                self._queue(entry.record)
        for record in self.names.of_feed(feed_id, start, end):
            self._queue(record)
        self._changes.redraw = True
        self._changes.observed.append(ForkProven(feed_id.author, feed_id.incarnation, fork))

    def _move_roster(self) -> None:
        """Compute the roster anew, and judge again what rested on what changed."""
        before, self._roster_stale = self.roster, False
        ripe = self.statements.due(self.horizon, lambda r: self._is_kept(self.entry_of(r)))
        self.roster = Roster(before.founder, ripe)
        moved = self.roster.changed_nodes(before)
        if moved:
            self._rejudge(moved)
            for statement in self.statements.about(moved):
                self._queue(statement)
            self._changes.redraw = True
            self._changes.observed.append(RosterMoved(self.roster.changes(before, moved)))

    def _rejudge(self, authors: set[NodePubkey]) -> None:
        """Queue every record of these authors, and every one that names a record of theirs."""
        for feed in self.feeds.values():
            if feed.author in authors:
                feed.fork = self.fork_of(feed.id)
                feed.keeps = self.roster.keeps(feed.id)
                feed.invalidate()
                self._changes.feeds.add(feed.id)
                for entry in feed.entries():
                    self._queue(entry.record)
        for author in sorted(authors):
            for record in self.pending.of_author(author):
                self._queue(record)
        for record in self.names.of_authors(authors):
            self._queue(record)
        for turned in self.rejected:
            if isinstance(turned.record, VerifiedRecord) and turned.record.feed.author in authors:
                self._queue(turned.record)
