"""Stages 6 and 7 of the line: gives every verified record its verdict and its place.

Takes verified records from ``verify.py``, asks ``judge.py``, and keeps each in exactly one place:
held in its feed, pending, rejected, or gone (superseded, or not taken). When the roster or a cut
moves, what rested on it is judged again. What must be stored and what happened is collected in a
``Ready``. Holds nothing that depends on the order of arrival, but for what a bound did not take.
Source: protocol §5, §9.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import chain
from typing import assert_never

from machines.values import Instant, NodePubkey

from crdt import limits
from crdt.board import Board
from crdt.bodies import Evidence, Statement, Transition
from crdt.errors import Reason
from crdt.feeds import LIVE, Entry, Feed, Verdict
from crdt.forks import Proofs, accused, claimed_proof, proof_of, proof_side
from crdt.identity import ClusterId, FeedId, RecordId, RecordRef
from crdt.intake import Signed, Unreadable
from crdt.judge import Admitted, Judgement, Rejected, Void, Waits, judge
from crdt.names import Names, named_by
from crdt.pending import Ahead, Pending
from crdt.ready import (
    ForkProven,
    ProofRow,
    Quarantined,
    Ready,
    RecordRejected,
    RosterMoved,
    Row,
)
from crdt.record import SignedRecord, VerifiedRecord
from crdt.room import Room, void_bounds
from crdt.roster import Roster
from crdt.turned import TurnedAway
from crdt.verify import Verifier


class Ledger:
    """Every record this node knows, each with its verdict.

    Args:
        openings: whether one more feed, or fork, of a member is taken now.

    Attributes:
        feeds: what is held, by feed.
        roster: who belongs, as of the records held.
        proofs: for each accused feed the lowest proven fork; those against strangers count for
            nothing until they are on the roster.
        evidence: live ``evidence`` records, by the feed they accuse.
        by_client: the feed that is rendered under a Yjs client id.
        touched: feeds that changed since the document was last rendered.
        ahead: what is held and waits for its time.
        comeback: something must come back into, or be withdrawn from, what was rendered.
        admitted: records that became live since ``take`` was last called.
    """

    def __init__(
        self,
        cluster: ClusterId,
        founder: NodePubkey,
        verifier: Verifier,
        openings: Callable[[NodePubkey], bool] = lambda _author: True,
    ) -> None:
        self._openings = openings
        self.cluster = cluster
        self.verifier = verifier
        self.feeds: dict[FeedId, Feed] = {}
        self.roster = Roster(founder)
        self.board = Board()
        self.pending = Pending()
        self.rejected = TurnedAway()
        self.proofs = Proofs(cluster, verifier)
        self.evidence: dict[FeedId, list[VerifiedRecord]] = {}
        self.touched: set[FeedId] = set()
        self.comeback = False
        self.admitted: list[VerifiedRecord] = []
        self.ready = Ready()
        self.by_client: dict[int, FeedId] = {}
        self._statements: dict[RecordId, VerifiedRecord] = {}
        self._names = Names()
        self._void = Room(void_bounds)
        self.ahead = Ahead()
        self._latest = Instant.nearest(0)
        self._work: deque[VerifiedRecord] = deque()
        self._queued: set[RecordId] = set()
        self._peer: NodePubkey | None = None
        self._stored = self._lapsed = False

    # --- in ------------------------------------------------------------------------------------

    def take(
        self,
        records: Sequence[Signed],
        now: Instant,
        *,
        peer: NodePubkey | None = None,
        stored: bool = False,
    ) -> None:
        """Judge and merge verified records, in any order.

        Args:
            now: the own wall clock; delays a record stamped too far ahead, decides nothing. Where
                it goes back, so does what it let in.
            peer: who brought them (``None``: the own store, or a local caller).
            stored: they come from the own store: no bound applies and nothing is written again.
        """
        self._peer, self._stored = peer, stored
        moved = False
        # What stands beside a record in this call has no place yet, but may be its twin, or itself.
        fresh: defaultdict[FeedId, dict[int, Signed]] = defaultdict(dict)
        for record in records:
            if record.record_id in self._queued or self._is_known(record):
                continue
            beside = fresh[record.feed]
            if not self._affords(record, beside.get(record.clock)):
                continue  # it has no verdict yet, and comes back by anti-entropy
            beside.setdefault(record.clock, record)
            if isinstance(record, Unreadable):
                self._turn_away(record, Reason.MALFORMED_RECORD, record.detail)
                continue
            if isinstance(record.body, Statement):
                self._statements[record.record_id] = record
                moved = True
            self._names.add(record)
            self._queue(record)
        if moved:
            self._move_roster()
        self._settle(now)
        self._stored = False

    def ripen(self, now: Instant) -> None:
        """Judge what waited for the clock alone."""
        self._peer = None
        for record in self.pending.ripe(now.ms):
            self._queue(record)
        bound = Instant.nearest(now.ms + limits.STAMP_AHEAD_MS_MAX)
        for record in self.ahead.ripe(bound):
            self._queue(record)
        if self._latest > bound:
            self._set_back(bound)
        self._settle(now)

    def _set_back(self, bound: Instant) -> None:
        """The own clock went back: what it took too early no longer counts, as with the others."""
        self._latest = bound
        for feed in self.feeds.values():
            for entry in feed.entries():
                if entry.record.body.at > bound:
                    self._queue(entry.record)

    def accuse(self, claimed: ProofRow) -> None:
        """Take a claimed proof of a fork, if it is one and lower than what is known.

        Counts at once where the accused is on the roster, and from then on where it comes to be.
        """
        if self.proofs.is_news(claimed):
            self._prove(claimed, accused(claimed).author)

    def restore_proof(self, row: ProofRow) -> None:
        """Take back a proof that was checked before it was stored."""
        if self.proofs.is_lower(row):
            self.proofs[accused(row)] = row
            self._cut(accused(row))

    def believe_gap(self, feed: FeedId, start: int, end: int) -> None:
        """Take a run without content as empty, as far as a record of the feed follows it."""
        held = self.feeds.get(feed)
        if held is not None and held.believe_gap(start, end):
            self.touched.add(feed)

    def believe_holes(self) -> None:
        """A peer holds the very same live records: what lies between them is empty for both.

        Without this a message lost on the way leaves a slot unknown for ever, and whoever reads the
        rendering never sees what stands behind it.
        """
        for feed in self.feeds.values():
            if feed.known_end() < feed.head:
                self.believe_gap(feed.id, 0, feed.head)

    def take_ready(self) -> Ready:
        """Hand out what was collected since the last call."""
        ready, self.ready = self.ready, Ready()
        return ready

    def has(self, signed: SignedRecord) -> bool:
        """Whether these very bytes are held in this slot, so that nothing need be checked."""
        feed = self.feeds.get(signed.feed)
        entries = () if feed is None else feed.entries_at(signed.clock)
        return any(entry.record.value == signed.value for entry in entries)

    # --- questions, for the judge ----------------------------------------------------------------

    def fork_of(self, feed: FeedId) -> int | None:
        """The lowest proven fork of a feed whose author is on the roster."""
        proof = self.proofs.get(feed)
        return proof.clock if proof is not None and self.roster.on_roster(feed.author) else None

    def _held(self, record: Signed) -> Entry | None:
        """A record's place in its feed, if it has one."""
        feed = self.feeds.get(record.feed)
        return feed.find(record.clock, record.record_id) if feed is not None else None

    def entry(self, ref: RecordRef) -> Entry | None:
        """A held record with its verdict."""
        feed = self.feeds.get(ref.feed)
        return feed.find(ref.clock, ref.record_id) if feed is not None else None

    def find(self, ref: RecordRef) -> VerifiedRecord | None:
        """A held record."""
        entry = self.entry(ref)
        return entry.record if entry is not None else None

    def is_rejected(self, ref: RecordRef) -> bool:
        """Whether this record is known to have been rejected."""
        return self.rejected.find(ref) is not None

    def is_built_upon(self, record: VerifiedRecord) -> bool:
        """Whether an admitted event or ack of another author, or one built upon, names it."""
        if not isinstance(record.body, Transition):
            return False
        for namer in self._names.of(record):
            entry = self._held(namer)
            if entry is None:
                continue
            if entry.verdict is Verdict.BUILT_UPON:
                return True
            if entry.verdict is Verdict.ADMITTED and namer.feed.author != record.feed.author:
                return True
        return False

    # --- the work list -----------------------------------------------------------------------

    def _queue(self, record: VerifiedRecord) -> None:
        if record.record_id not in self._queued:
            self._queued.add(record.record_id)
            self._work.append(record)

    def _settle(self, now: Instant) -> None:
        """Judge until nothing moves. Ends: names only point back, by hash, so there is no ring."""
        while self._work:
            record = self._work.popleft()
            self._queued.discard(record.record_id)
            held = self._held(record)
            judgement = judge(record, self, now)
            if self._apply(record, held, judgement):
                self._queue_dependents(record)
            if self._lapsed and not self._work:
                self._move_roster()
        self._queued.clear()  # a set keeps the room of the most that it ever held

    def _queue_dependents(self, record: VerifiedRecord) -> None:
        """A record's place changed: judge again what names it, and what it names."""
        for namer in self._names.of(record):
            self._queue(namer)
        named = named_by(record) if self.proofs else None
        if named is not None and self.fork_of(named.feed) is not None:
            target = self.find(named)
            if target is not None:
                self._queue(target)

    def _apply(self, record: VerifiedRecord, held: Entry | None, judgement: Judgement) -> bool:
        """Move a record to where its judgement puts it; says whether anything changed."""
        match judgement:
            case Admitted(built):
                return self._hold(record, held, Verdict.BUILT_UPON if built else Verdict.ADMITTED)
            case Void(reason):
                void = Verdict.VOID_FORK if reason is Reason.FORK else Verdict.VOID_REVOKED
                return self._hold(record, held, void)
            case Waits(Reason.STAMP_AHEAD) if held is not None or self._stored:
                return self._hold(record, held, Verdict.AHEAD)
            case Waits(reason):
                if held is not None:
                    self._drop(held, known_empty=False)
                self.rejected.discard(record.record_id)
                if not self.pending.add(record, reason, stored=self._stored):
                    self._lapsed |= record.record_id in self._statements  # counts no longer
                    self._unindex(record)
                return held is not None
            case Rejected(reason, detail):
                if held is not None:
                    self._drop(held, known_empty=True)
                elif self.pending.discard(record) or self._stored:
                    self.ready.persist.rows[record.ref] = None
                known = self.rejected.find(record.ref)
                if known is not None and known.reason is reason:
                    return False
                self._turn_away(record, reason, detail)
                return True
            case _:
                assert_never(judgement)

    def _hold(self, record: VerifiedRecord, held: Entry | None, verdict: Verdict) -> bool:
        """Hold a record under a verdict, superseding what its key supersedes."""
        if held is not None and held.verdict is verdict:
            self._show(self.feeds[record.feed], held)
            return False
        feed = self.feed(record.feed)
        live = verdict in LIVE
        stored = self.pending.discard(record) or self._stored
        self.rejected.discard(record.record_id)
        if live and self._is_superseded(feed, record):
            if held is not None:
                self._drop(held, known_empty=True)
            else:  # It came after the one that supersedes it: its slot is empty.
                feed.empty(record.clock, record.clock + 1)
                if stored:
                    self.ready.persist.rows[record.ref] = None
            self._unindex(record)
            self.touched.add(feed.id)
            return True
        if held is None:
            if not (live or stored or self._void.fits(record)):
                self._unindex(record)
                return False
            held = Entry(record, verdict)
            feed.place(held)
            if not stored:
                ref = record.ref
                self.ready.persist.rows[ref] = Row(*ref, record.value)
        else:
            self._count_void(record, held.verdict, -1)
            held.verdict = verdict
            feed.touch()
        self._count_void(record, verdict, 1)
        if live:
            self._latest = max(self._latest, record.body.at)
        elif verdict is Verdict.AHEAD:
            self.ahead.add(record)
        self.touched.add(feed.id)
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
            # Of two feeds with one client id only the first by key is rendered (protocol §3).
            owner = self.by_client.setdefault(feed.client_id, feed_id)
            if feed_id < owner:
                self.by_client[feed.client_id] = feed_id
                self.comeback = True
        return feed

    def _drop(self, entry: Entry, *, known_empty: bool) -> None:
        """Hold a record no longer, and delete its row."""
        record = entry.record
        feed = self.feeds[record.feed]
        self._count_void(record, entry.verdict, -1)
        self._hide(feed, entry)
        feed.withdraw(entry)
        self._key(feed, record, live=False)
        if not known_empty and record.clock not in feed.slots:
            feed.gaps.discard(record.clock)
            self.comeback = self.comeback or record.clock < feed.rendered
        self.ready.persist.rows[record.ref] = None
        self.touched.add(feed.id)

    def _show(self, feed: Feed, entry: Entry) -> None:
        """Bring the board and the document in line with whether an entry is live."""
        if not feed.is_live(entry):
            self._hide(feed, entry)
        elif not entry.shown:
            entry.shown = True
            self.board.add(entry.record)
            if isinstance(entry.record.body, Evidence):
                self.evidence.setdefault(entry.record.body.feed, []).append(entry.record)
            self.admitted.append(entry.record)
            if entry.record.clock < feed.rendered:
                self.comeback = True

    def _hide(self, feed: Feed, entry: Entry) -> None:
        if entry.shown:
            entry.shown = False
            self.board.remove(entry.record)
            if isinstance(entry.record.body, Evidence):
                self.evidence[entry.record.body.feed].remove(entry.record)
            if entry.record.clock < feed.rendered:
                feed.dead.append(entry.record.clock)

    def _count_void(self, record: VerifiedRecord, verdict: Verdict, by: int) -> None:
        if verdict not in LIVE:
            self._void.count(record, by)

    # --- what was turned away ------------------------------------------------------------------

    def _turn_away(self, record: Signed, reason: Reason, detail: str) -> None:
        """Reject a record: remember it, quarantine its bytes, leave its slot empty."""
        for forgotten in self.rejected.add(record, reason):
            if isinstance(forgotten, VerifiedRecord):
                self._unindex(forgotten)
        if self.roster.on_roster(record.feed.author):
            feed = self.feed(record.feed)
            if record.clock not in feed.slots and record.clock not in feed.gaps:
                feed.empty(record.clock, record.clock + 1)
            self.touched.add(feed.id)
        where = (record.feed, record.clock, record.record_id)
        self.ready.quarantine.append(Quarantined(self._peer, *where, reason, detail, record.value))
        self.ready.observe.append(RecordRejected(record.ref, reason, detail, self._peer))

    def _unindex(self, record: VerifiedRecord) -> None:
        """A record is gone: nothing may find it any longer."""
        self._statements.pop(record.record_id, None)
        self._names.discard(record)

    # --- forks and the roster ------------------------------------------------------------------

    def _is_known(self, record: Signed) -> bool:
        known = record.record_id in self.rejected or record.record_id in self.pending
        return known or self._held(record) is not None

    def _affords(self, record: Signed, beside: Signed | None) -> bool:
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
            twin = beside if beside is not None else self._at(feed, clock)
            if twin is not None:
                one, two = proof_side(record.value), proof_side(twin.value)
                if not self._prove(proof_of(feed, clock, one, two), feed.author):
                    return False
        if isinstance(record, VerifiedRecord) and isinstance(record.body, Evidence):
            claimed = claimed_proof(record.body)
            return not self.proofs.is_news(claimed) or self._prove(claimed, feed.author)
        return True

    def _at(self, feed_id: FeedId, clock: int) -> Signed | None:
        """The first record that is known for a slot, whatever its verdict."""
        feed = self.feeds.get(feed_id)
        entry = feed.slots.get(clock) if feed is not None else None
        if entry is not None:
            return entry.record
        others = chain(self.pending.at(feed_id, clock), self.rejected.at(feed_id, clock))
        return next(others, None)

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
        self.ready.persist.proofs.append(row)
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
            feed.touch()
            self.touched.add(feed_id)
            for entry in feed.entries_between(start, end):
                self._queue(entry.record)
        for record in self._names.of_feed(feed_id, start, end):
            self._queue(record)
        self.comeback = True
        self.ready.observe.append(ForkProven(feed_id.author, feed_id.incarnation, fork))

    def _move_roster(self) -> None:
        """Compute the roster anew, and judge again what rested on what changed."""
        before, self._lapsed = self.roster, False
        self.roster = Roster(before.founder, self._statements.values())
        moved = self.roster.moved(before)
        if moved:
            self._rejudge(moved)
            for statement in self._statements.values():
                self._queue(statement)
            self.comeback = True
            self.ready.observe.append(RosterMoved(self.roster.changes(before, moved)))

    def _rejudge(self, authors: set[NodePubkey]) -> None:
        """Queue every record of these authors, and every one that names a record of theirs."""
        for feed in self.feeds.values():
            if feed.author in authors:
                feed.fork = self.fork_of(feed.id)
                feed.keeps = self.roster.keeps(feed.id)
                feed.touch()
                self.touched.add(feed.id)
                for entry in feed.entries():
                    self._queue(entry.record)
        for author in sorted(authors):
            for record in self.pending.of_author(author):
                self._queue(record)
        for record in self._names.of_authors(authors):
            self._queue(record)
        for turned in self.rejected:
            if isinstance(turned.record, VerifiedRecord) and turned.record.feed.author in authors:
                self._queue(turned.record)
