"""The line itself: open a message, verify it, merge it; then instructions.

Takes bytes from peers, intents from callers, rows from the store, and the time; returns a
``Ready``, which the task that owns the replica carries out in order. Pure. Source: protocol §5.
"""

from collections.abc import Iterable, Mapping
from functools import partial

from machines.values import Instant, NodePubkey

from crdt.authoring import handlers, reissue, roster_intents, roster_requests
from crdt.authoring.intents import Intent, Receipt, WriteAgain, WriteSeal
from crdt.authoring.reissue_body import reissue_body
from crdt.authoring.roster_intents import RosterIntent
from crdt.authoring.scheduled_writes import ScheduledWrites
from crdt.authoring.write_state import Writable, WriteState, require_writable, write_state_of
from crdt.contract.checkpoint import Checkpoint, in_steps, pass_on
from crdt.contract.ready import (
    IncarnationOpened,
    Now,
    Outgoing,
    OwnEnd,
    PeerFaulted,
    PetitionAnswered,
    ProofRow,
    Quarantined,
    Ready,
    Row,
)
from crdt.ledger.changes import Changes
from crdt.ledger.feed import Feed
from crdt.ledger.ingest import (
    BRINGS_RECORDS,
    OpenedMessage,
    VerifiedBatch,
    VerifiedMessage,
    locate_records,
    stored_records,
    verify,
)
from crdt.ledger.judge import Admitted
from crdt.ledger.ledger import Ledger
from crdt.ledger.rate_limits import AuthorRateLimits
from crdt.observer import Observer
from crdt.presence.tracker import PresenceTracker
from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord, NotWritable, PeerFault, ProposalRefused
from crdt.primitives.identity import ClusterId, FeedId, H, RecordId, SigningKey
from crdt.primitives.seeded_random import SeededRandom
from crdt.records.bodies import Member
from crdt.records.record import VerifiedRecord, sign_record
from crdt.records.signatures import Verifier, verify_batch
from crdt.sync import anti_entropy
from crdt.sync.responder import Sync
from crdt.sync.seal_audit import SealWatch
from crdt.sync.session import ClockWatch, Session, Sessions, ahead_ms
from crdt.sync.yjs_document import Document
from crdt.wire.messages import (
    Awareness,
    DigestOffer,
    Frame,
    Proof,
    QueryAwareness,
    SyncStep1,
    decode_frame,
    encode_frame,
)
from crdt.wire.roster_request import Answer, RosterRequest


class Replica:
    """One node's share of a cluster.

    Args:
        key: the own key.
        cluster: the cluster's id.
        founder: the founder's key.
        seed: secret bytes from which incarnations and delays are drawn.
        incarnation: the own feed to go on in, as the store has it.
        doubt: why the store may be an older one, if it may; the first write then opens a new feed.
        written: how far this node had written in its own feed, as the store has it.
        former: the key this node had before this one, if it had one.
        former_end: how far this node had written under that key.
        verifier: checks signatures, a batch at a time.
        checkpoint: called after each step of work that may be long.
    """

    def __init__(
        self,
        key: SigningKey,
        cluster: ClusterId,
        founder: NodePubkey,
        *,
        seed: bytes,
        incarnation: int = 0,
        doubt: str = "",
        written: OwnEnd | None = None,
        former: NodePubkey | None = None,
        former_end: OwnEnd | None = None,
        verifier: Verifier = verify_batch,
        checkpoint: Checkpoint = pass_on,
    ) -> None:
        self.own = key.pubkey
        self.cluster = cluster
        self.founder = founder
        self.incarnation = incarnation
        self.store_read_only = self.store_incomplete = ""  # set by the shell; see ``Writer``
        self._quota = AuthorRateLimits(self.own)
        self.ledger = Ledger(cluster, founder, verifier, self._quota.opens, self.own, checkpoint)
        self.document = Document(self.ledger.feeds, checkpoint)
        self.sessions = Sessions()
        self.clock_watch = ClockWatch(self.sessions, self.ledger.horizon)
        self._seal_watch = SealWatch(self.ledger)
        self.beacon = PresenceTracker(key, cluster, verifier, H(b"run" + seed)[:8])
        self._key, self._draw = key, SeededRandom(seed)
        self.doubt = doubt
        self._written = written
        self._sync = Sync(self.own, self.ledger, self.sessions, self.document)
        self._duties = ScheduledWrites(self.own, self.ledger, self._draw)
        if written is not None and written.author == former:
            former_end = written
        self.rewriting = reissue.Reissuer(self.own, self.ledger, self.sessions, former, former_end)
        self._observer = Observer(self.own, self.ledger.board, checkpoint)
        self._ready = Ready()  # what this step asks the shell to do
        self._live: list[VerifiedRecord] = []  # what became live in this step
        self._new_keys = roster_requests.RequestPace()
        self._wrote_at = float("-inf")

    # --- the line ------------------------------------------------------------------------------

    def receive(self, peer: NodePubkey, data: bytes, now: Now) -> Ready:
        """Open, verify and merge one message from a peer.

        Never raises for what a peer sends: ``Ready.fault`` says that its link must be dropped.
        """
        try:
            message = self.open(peer, data)
        except PeerFault as fault:
            return self.refuse(peer, data, fault, now)
        return self.merge(verify(message, self.ledger.verifier, self.ledger.checkpoint), now)

    def open(self, peer: NodePubkey, data: bytes) -> OpenedMessage:
        """Decode a message from a peer, and locate its records; changes nothing.

        Raises:
            PeerFault: no honest node sends it; hand it to ``refuse``.
        """
        frame = decode_frame(data)
        if self.store_read_only or not isinstance(frame, BRINGS_RECORDS):
            return OpenedMessage(self.cluster, self.founder, peer, data, frame)
        pause = self.ledger.checkpoint
        arrivals = locate_records(frame, self.cluster, self.document.by_client, pause)
        fresh = [r for r in in_steps(arrivals.records, pause) if not self.ledger.has(r)]
        return OpenedMessage(self.cluster, self.founder, peer, data, frame, fresh, arrivals.gaps)

    def merge(self, verified: VerifiedMessage, now: Now) -> Ready:
        """Judge and merge a verified message, or answer it if it brings no records."""
        message, batch = verified
        self._quota.mono = now.mono
        try:
            if not isinstance(message.frame, BRINGS_RECORDS):
                return self._reply(message.peer, message.frame, now)
            if not self.store_read_only:  # else, it is asked for again once it can be kept
                self._merge_records(message, batch, now)
            if batch.forged:
                raise batch.fault()
        except PeerFault as fault:
            return self.refuse(message.peer, message.data, fault, now)
        return self._finish(message.peer, now)

    def refuse(self, peer: NodePubkey, data: bytes, fault: PeerFault, now: Now) -> Ready:
        """Quarantine a message that no honest node sends: its link must be dropped."""
        self._quota.mono = now.mono
        ready = self._finish(peer, now)
        ready.fault = PeerFaulted(peer, fault.reason, fault.detail)
        ready.observe.append(ready.fault)
        whole = Quarantined(peer, None, None, None, fault.reason, fault.detail, data)
        ready.quarantine.append(whole)
        return ready

    def _merge_records(self, message: OpenedMessage, batch: VerifiedBatch, now: Now) -> None:
        """Judge and merge what a message brings, as far as its authors' rate limits allow."""
        if isinstance(message.frame, Proof):
            self.ledger.accuse(ProofRow(*message.frame))
        own = self._own_feed()
        if any(r.feed == own.id and r.clock >= own.next_clock for r in batch.records):
            self._doubt("a peer knows more of the own feed than this node does")
        news = self._quota.take(batch.records, self.ledger)
        gaps = [gap for gap in message.gaps if gap[0].author != self.own]
        changes = self.ledger.merge(news, now.wall, peer=message.peer, gaps=gaps)
        self._quota.give_back(news, self.ledger, changes.live)
        self._note(changes)

    def _reply(self, peer: NodePubkey, frame: Frame, now: Now) -> Ready:
        """Answer a frame that brings no records."""
        session, answer = self.sessions.get(peer), None
        match frame:
            case Awareness():
                self._hear_presence(peer, frame, now)
            case RosterRequest():
                world = (self.ledger, self.own, now, self._new_keys)
                write = partial(self._write, now=now)
                answer = roster_requests.answer(frame, peer, *world, write)
            case Answer(nonce, word):
                self._ready.observe.append(PetitionAnswered(peer, nonce, word))
            case _ if session is None:
                pass  # the link is gone, so nobody would read an answer
            case QueryAwareness():
                session.owed.add(iter(self.beacon.everybody()))
            case _:
                self._note(self._sync.receive(frame, session, self.document_digest, now.mono))
        ready = self._finish(None, now)  # the peer too receives what was written at its request
        if answer is not None:
            ready.reply.append(Outgoing((peer,), encode_frame(answer)))
        ready.reply += self._sync.next_part(session)
        return ready

    # --- local callers -------------------------------------------------------------------------

    def propose(self, intent: Intent, now: Now) -> tuple[Ready, Receipt]:
        """Write an own record.

        Raises:
            ProposalRefused: the rules do not allow it; nothing was written.
        """
        receipt = self._write(intent, now)
        return self._finish(None, now), receipt

    def change_roster(self, wish: RosterIntent, now: Now) -> tuple[Ready, Receipt]:
        """Write what an operator wishes for the roster, all of it in one go.

        Raises:
            ProposalRefused: this node may not, or there is nothing to do.
        """
        require_writable(
            self.write_state(now)
        )  # before the rules: one cause ends every write alike
        receipt = roster_intents.carry_out(
            wish, self.ledger, self.own, partial(self._write, now=now)
        )
        return self._finish(None, now), receipt

    def ask_to_part(
        self, peer: NodePubkey, successor: SigningKey | None, nonce: bytes, now: Now
    ) -> Ready:
        """Ask a peer to take this node off the roster, or to put its next key in its place."""
        asked = roster_requests.make_request(
            self._key, self.ledger, peer, successor, nonce, now.wall
        )
        ready = self._finish(None, now)
        ready.send((peer,), encode_frame(asked))
        return ready

    def _write(self, intent: Intent | WriteAgain, now: Now) -> Receipt:
        self._note(self.ledger.release_due(now.wall))  # before anything is written by this clock
        require_writable(self.write_state(now))
        feed, why = self._check_incarnation(now)
        author = handlers.author(feed, self.ledger, now.wall)
        warnings: tuple[str, ...] = ()
        if isinstance(intent, WriteAgain):
            body = reissue_body(intent.record, self.ledger, author, self.rewriting.moved)
        else:
            body, warnings = handlers.handle_intent(intent, self.ledger, author)
        clock = author.feed.next_clock
        try:
            record = sign_record(self._key, self.cluster, feed.id.incarnation, clock, body)
        except MalformedRecord as fault:
            raise ProposalRefused(fault.detail) from fault
        # The gate is the same for own records. An admission counts only once the roster holds
        # it, so its rules stand in ``proposals`` alone.
        if not isinstance(body, Member):
            verdict = self.ledger.judge(record)
            if not isinstance(verdict, Admitted):
                raise NotWritable(f"the gate would not admit this record: {verdict}")
        if why:
            self.incarnation = self._ready.persist.incarnation = feed.id.incarnation
            self._ready.observe.append(IncarnationOpened(self.incarnation, why))
            self._doubt("")
        self._note(self.ledger.merge([record], now.wall))
        self._ready.persist.own_end = OwnEnd(*feed.id, clock + 1)
        self._wrote_at = now.mono
        return Receipt(*record.ref, warnings)

    def write_state(self, now: Now) -> WriteState:
        """Whether this node may write now, and if not, why."""
        return write_state_of(self, now)

    def _check_incarnation(self, now: Now) -> tuple[Feed, str]:
        """The feed to write in, and why it is another than the present one (protocol §9)."""
        feed = self._own_feed()
        why = reissue.new_feed_reason(feed, self.ledger.roster, now.wall) or self.doubt
        if not why:
            return feed, ""
        drawn = reissue.draw_incarnation(self.ledger, self.own, self._draw)
        return Feed(FeedId(self.own, drawn), self.cluster), why

    def _doubt(self, why: str) -> None:
        """Go on in the own feed no further; or, where there is no reason, in this one."""
        self.doubt = self._ready.persist.doubt = why

    # --- time ----------------------------------------------------------------------------------

    def tick(self, now: Now) -> Ready:
        """Do what is due: ripe stamps, seals, acks, evidence, presence, digests."""
        if not self.store_read_only:
            self._note(self.ledger.release_due(now.wall))
        if isinstance(self.write_state(now), Writable):
            quiet = 0.0 if self.doubt else now.mono - self._wrote_at
            for intent in self._duties.due_commands(self._own_feed(), quiet, now.mono):
                self._try(intent, now)
            for record in self.rewriting.due(now.mono):
                self._write_again(record, now)
        self._ready.observe += self.clock_watch.news(now) + self._seal_watch.news(now.mono)
        ready = self._finish(None, now)
        if self.sessions.peers() and (said := self.beacon.announce(now)) is not None:
            ready.send(self.sessions.peers(), encode_frame(said))
        due = [session for session in self.sessions.all() if now.mono >= session.next_offer]
        offer = encode_frame(DigestOffer(self.document_digest())) if due else b""
        for session in due:
            session.next_offer = now.mono + limits.ANTI_ENTROPY_SECONDS
            ready.send((session.peer,), offer)
            self._sync.owe(session, reissue.return_void_records(self.ledger, session), ready)
        return ready

    def seal(self, now: Now) -> Ready:
        """Seal the own feed now, as at a shutdown; nothing where it is sealed already."""
        if isinstance(self.write_state(now), Writable):
            self._try(WriteSeal(), now)
        return self._finish(None, now)

    def _try(self, intent: Intent | WriteAgain, now: Now) -> Receipt | ProposalRefused:
        """Write what is due, if the rules allow it."""
        try:
            return self._write(intent, now)
        except ProposalRefused as refusal:
            return refusal

    def _write_again(self, record: VerifiedRecord, now: Now) -> None:
        """Write a record that counts nowhere again if it still applies (protocol §9)."""
        notice = self.rewriting.settle(record, self._try(WriteAgain(record), now))
        if notice is not None:
            self._ready.observe.append(notice)
        if record.feed.author == self.own:
            self._note(self.ledger.retire(record))
        self._ready.persist.reissue_done.append(record.record_id)

    # --- sessions ------------------------------------------------------------------------------

    def connected(self, peer: NodePubkey, peer_clock: Instant, now: Now) -> Ready:
        """A link to a peer is up: open the session."""
        self.sessions.open(Session(peer, now.mono, ahead_ms(peer_clock, now), now.mono + 1.0))
        self.beacon.announce_soon()
        ready = self._finish(None, now)
        if not self.store_read_only:
            ready.send((peer,), encode_frame(SyncStep1(self.state_vector())))
        ready.send((peer,), encode_frame(QueryAwareness()))
        return ready

    def disconnected(self, peer: NodePubkey) -> None:
        """The link to a peer is down: close the session."""
        self.sessions.close(peer)

    def _hear_presence(self, peer: NodePubkey, frame: Awareness, now: Now) -> None:
        """Keep what is news, and hand it on.

        Raises:
            PeerFault: an entry that its node did not sign.
        """
        news = self.beacon.receive(peer, frame, self.ledger.roster, now)
        self._ready.persist.addresses |= news.addresses
        self._ready.observe += news.noticed
        self.sessions.hear_clock(peer, news.at, now)
        if news.entries:
            others = self.sessions.peers(but=peer)
            self._ready.send(others, encode_frame(Awareness(news.entries)))

    def go_on(self, peer: NodePubkey, now: Now) -> Ready:
        """A part of a long answer to a peer is out: give the next one."""
        ready = self._finish(None, now)
        ready.reply += self._sync.next_part(self.sessions.get(peer), is_out=True)
        return ready

    # --- the end of each step ------------------------------------------------------------------

    def _note(self, changes: Changes) -> None:
        """Hand on what the ledger changed in this step."""
        changes.instruct(self._ready)
        self._live += changes.live
        self.document.note(changes)

    def _finish(self, peer: NodePubkey | None, now: Now) -> Ready:
        """Render what changed, publish it, and return the instructions."""
        ready, self._ready = self._ready, Ready()
        live, self._live = self._live, []
        rendering = self.document.show(now.mono)
        ends = {feed.id: self.document.stored_end(feed) for feed in rendering.feeds}
        ready.persist.rendered |= ends
        self._sync.publish(rendering, peer, ready)
        self._sync.acknowledge(rendering.feeds, ready)
        ready.observe += self._quota.news() + self._observer.observe(live, now.wall)
        return ready

    # --- the store -----------------------------------------------------------------------------

    def replay(
        self,
        rows: Iterable[Row],
        proofs: Iterable[ProofRow],
        rendered: Mapping[FeedId, int],
        now: Now,
        *,
        settled: Iterable[RecordId] = (),
    ) -> Ready:
        """Take back what was stored, at a start. Rows were verified before they were written."""
        self.rewriting.restore(settled)
        records, damaged = stored_records(rows)
        unproven = sum(not self.ledger.restore_proof(proof) for proof in proofs)
        changes = self.ledger.merge(records, now.wall, stored=True)
        changes.instruct(self._ready)
        if short := reissue.why_short(self._own_feed(), self._written):
            self._doubt(short)
        for change in (changes, self.ledger.take_changes()):  # the second opens the own feed
            self.document.note(change)
        for feed_id in rendered.keys() & self.ledger.feeds.keys():
            self.ledger.feeds[feed_id].empty(0, rendered[feed_id])
        self.document.rebuild()
        self._observer.skip((*reissue.dead(self.ledger), *changes.live), now.wall)
        ready = self._finish(None, now)
        said = f"{damaged} of its rows hold no record, {unproven} of its proofs prove no fork"
        ready.observe, ready.damage = [], said if damaged or unproven else ""
        return ready

    # --- questions -----------------------------------------------------------------------------

    def document_digest(self) -> bytes:
        """What two nodes compare (protocol §8)."""
        return anti_entropy.digest_of_document(self.ledger)

    def state_vector(self) -> dict[int, int]:
        """Of the rendering: client id → next clock."""
        return self.document.state_vector()

    def unshared(self) -> int:
        """How many live records of the own feed no peer has said it holds."""
        feed = self._own_feed()
        return len(feed.live_between(self.sessions.shared_end(feed.id), feed.next_clock))

    def _own_feed(self) -> Feed:
        return self.ledger.feed(FeedId(self.own, self.incarnation))
