"""Realistic mistakes, planted from outside by patching: the harness must catch every one.

Each is a context manager that makes the product wrong while it stands, as somebody in a hurry
would have written it. The product has no switch for any of them. ``hunt`` returns what caught
one: what is known to, or else the first of so many seeds. What one change of an operator, a
condition or a return breaks in the modules that ``make mutation`` covers is left to that.
"""

import contextlib
import dataclasses
import sys
from pathlib import Path
from unittest import mock

import msgspec
from msgspec import UNSET

from crdt import replica
from crdt.authoring import handlers, reissue, roster_intents, roster_requests
from crdt.authoring.handlers import Author
from crdt.authoring.intents import AccuseFork
from crdt.authoring.reissue import Reissuer
from crdt.authoring.scheduled_writes import ScheduledWrites
from crdt.contract.ready import Persist, Ready
from crdt.ledger import judge, ledger
from crdt.ledger import rate_limits as quota
from crdt.ledger.bounds import Bounds, pending_bounds
from crdt.ledger.changes import Changes
from crdt.ledger.feed import EntryStatus, Feed
from crdt.ledger.judge import Deferred, Rejected
from crdt.ledger.ledger import Ledger
from crdt.ledger.rate_limits import AuthorRateLimits, TokenBuckets
from crdt.ledger.rejected import RejectedRecords
from crdt.ledger.roster_statements import Statements
from crdt.presence.duplicate_key import DuplicateKeyDetector
from crdt.presence.signed_presence import Liveness
from crdt.presence.tracker import PresenceTracker
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused, Reason
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId, H
from crdt.records import bodies
from crdt.records.bodies import Revocation, Transition
from crdt.records.digests import seal_digest
from crdt.records.fork_proof import Proofs, accused
from crdt.records.record import sign_record
from crdt.replica import Replica
from crdt.sync import anti_entropy
from crdt.sync.responder import Sync
from crdt.sync.session import Session, Sessions
from crdt.sync.yjs_document import Document
from crdt.views import event_tree
from crdt.views.roster import Admission
from crdt.wire.messages import Awareness, HaveUpTo
from crdt.wire.roster_request import RosterRequest
from machines.kernel import Ignored
from machines.pipeline import PIPELINE
from machines.values import NodePubkey
from node.runtime.batch import Batch, BatchRunner
from tests.support.builders.cluster import START
from tests.support.scenario import runner
from tests.support.simulation import disk
from tests.support.simulation import plan as plans
from tests.support.simulation.run import SCHEDULES, play

TRANSCRIPTS = Path(__file__).parents[2] / "scenarios"
SEEDS_MAX = 40
"""Where what is known to catch a bug no longer does, as many seeds are tried."""
TWO_FORKERS = "belonging-two-forkers-carry-the-evidence-against-each-other.txt"
PLANTED = {}
CAUGHT_BY = {}
"""What is known to catch each: a seed, a kept schedule, or a transcript (``.txt``)."""


def swap(name, by, target, attribute, value):
    """List a mistake that is one value in the place of another."""
    PLANTED[name] = lambda: mock.patch.object(target, attribute, value)
    CAUGHT_BY[name] = by


def instead(by, target, attribute):
    """List a function in the place of another, which it is handed first."""

    def keep(function):
        def planted():
            original = getattr(target, attribute)
            return mock.patch.object(
                target, attribute, lambda *args, **named: function(original, *args, **named)
            )

        PLANTED[function.__name__] = planted
        CAUGHT_BY[function.__name__] = by
        return function

    return keep


def planted(by):
    """List a mistake under its name, with what catches it."""

    def keep(function):
        PLANTED[function.__name__] = contextlib.contextmanager(function)
        CAUGHT_BY[function.__name__] = by
        return function

    return keep


@instead(1, Replica, "__init__")
def signatures_are_not_checked(original, self, *args, **options):
    original(self, *args, **options)
    self.ledger.verifier = lambda jobs: [True] * len(jobs)


@instead("belonging-a-closing-event-forked-away-after-its-ack.txt", ledger, "judge")
def an_event_is_judged_from_where_the_story_stands_now(original, record, world, now):
    state = world.board.state(getattr(record.body, "story", ""))
    if isinstance(record.body, Transition) and state is not None and now is not None:
        here = PIPELINE.step(state.stage, record.body.event, record.body.at)
        if isinstance(here, Ignored):
            return Rejected(Reason.ILLEGAL_TRANSITION, "not from here")
    return original(record, world, now)


@instead("renewed-claim-of-a-later-clock", Replica, "document_digest")
def state_vectors_are_compared_instead_of_digests(original, self):
    return H(repr(sorted(self.state_vector().items())).encode())


swap(
    "frames_leave_before_the_disk_has_them", 1, Batch, "must_commit", property(lambda _turn: False)
)


@instead(7, BatchRunner, "fail")
def what_rested_on_a_failed_commit_stays(original, self, turn, why, at):
    self._build = lambda: (self.replica, Ready())
    return original(self, turn, why, at)


@instead("a-clone-and-its-original-both-open-the-next-incarnation", disk, "mismatch")
def a_restored_store_is_trusted(*_):
    return ""


@instead("belonging-a-peer-knows-more-of-ones-own-feed.txt", Replica, "_check_incarnation")
def a_peer_that_knows_more_is_passed_over(original, self, now):
    if self.doubt.startswith("a peer"):
        self.doubt = ""
    return original(self, now)


@instead("what-a-torn-store-brings-back", Ledger, "merge")
def what_a_torn_store_brings_back_stays(original, self, records, now, *, stored=False, **rest):
    changes = original(self, records, now, stored=stored, **rest)
    if stored:
        changes.rows.clear()
    return changes


@instead("board-a-claim-renewed-by-a-clock-set-back.txt", Replica, "_write")
def what_waited_for_the_clock_is_looked_at_later(original, self, *args, **named):
    with mock.patch.object(Ledger, "release_due", lambda *_: Changes()):
        return original(self, *args, **named)


@instead("renewed-claim-of-a-later-clock", Author, "stamp")
def a_stamp_is_the_local_clock_and_no_more(_original, self, _state=None):
    return Stamp(self.wall, 0)


@instead("gate-verdicts-are-given-again.txt", Ledger, "_move_roster")
def a_moved_roster_judges_nothing_again(original, self):
    with mock.patch.object(Ledger, "_rejudge", lambda _self, _authors: None):
        original(self)


@instead("belonging-a-fork-is-cut-at-one-clock.txt", Ledger, "_prove")
def a_feed_is_cut_at_the_fork_that_came_first(original, self, row, by):
    known = any((p.author, p.incarnation) == row[:2] for p in self.proofs.values())
    return known or original(self, row, by)


@instead("a-host-cloned-while-its-next-key-waits", ledger, "judge")
def a_slot_that_is_unknown_holds_up_the_next(original, record, world, now):
    feed = world.feeds.get(record.feed)
    before = record.clock - 1
    if before >= 0 and (feed is None or before not in feed.known):
        return Deferred(Reason.MISSING_PARENT)
    return original(record, world, now)


@instead(TWO_FORKERS, Proofs, "is_news")
def evidence_goes_down_with_the_feed_that_carries_it(*_):
    return False


@instead(1, anti_entropy, "digest_of_document")
def heads_stand_in_the_digest(original, book):
    heads = sorted((feed.id, feed.next_clock) for feed in book.feeds.values() if feed.live())
    return H(original(book) + repr(heads).encode())


@instead("a-clone-and-its-original-both-open-the-next-incarnation", Replica, "_check_incarnation")
def the_next_incarnation_is_counted(original, self, now):
    # One past the highest that is known here.
    known = max(
        f.incarnation for f in [self._own_feed().id, *self.ledger.feeds] if f.author == self.own
    )
    with mock.patch.object(self._draw, "u32", iter(range(known + 1, 2**32)).__next__):
        return original(self, now)


swap("a_cut_keeps_keyed_records", 1, Feed, "keyed_void", property(lambda _feed: False))


@instead("belonging-an-honest-node-built-on-a-void-admission.txt", judge, "_judge_transition")
def a_parent_of_a_stranger_waits_for_ever(original, record, body, world):
    if body.parent is not None and world.find(body.parent) is None:
        return Deferred(Reason.MISSING_PARENT)
    return original(record, body, world)


@instead("renewed-claim-of-a-later-clock", Ledger, "_queue_dependents")
def what_hangs_on_a_record_is_not_judged_again(*_):
    pass


@instead("renewed-claim-of-a-later-clock", Ledger, "believe_holes")
def holes_stay_unknown(*_):
    return Changes()


@instead(4, Persist, "add")
def a_row_deleted_in_the_batch_that_wrote_it_stays(original, self, later):
    gone = {key for key, row in later.rows.items() if row is None and self.rows.get(key)}
    kept = {key: self.rows[key] for key in gone}
    original(self, later)
    self.rows |= kept


@instead("gate-a-clock-delays-a-verdict-and-changes-none.txt", Ledger, "release_due")
def what_waited_for_the_clock_waits_for_ever(*_):
    return Changes()


@planted(1)
def an_illegal_event_is_let_in():
    original = ledger.judge

    def lenient(record, world, now):
        verdict = original(record, world, now)
        known = isinstance(verdict, Rejected) and isinstance(record.body, Transition)
        return judge.ADMITTED if known else verdict

    with (
        mock.patch.object(ledger, "judge", lenient),
        mock.patch.object(event_tree, "attaches", lambda _record, _parent: True),
    ):
        yield


@instead("readmitted-with-a-stamp-ahead", Replica, "_write")
def a_clock_is_used_twice(original, self, intent, now):
    """The next clock is the number of records that are held: what was superseded is forgotten."""

    def sign(key, cluster, incarnation, _clock, body):
        return sign_record(key, cluster, incarnation, len(self._own_feed().slots), body)

    with mock.patch.object(replica, "sign_record", sign):
        return original(self, intent, now)


@instead("gate-a-gap-is-believed-as-far-as-a-record-follows.txt", Ledger, "believe_gap")
def a_gap_is_believed_to_its_end(original, self, feed, start, end):
    held = self.feeds.get(feed)
    if held is not None:
        held.empty(start, end)
        self._changes.feeds.add(feed)


@instead("renewed-claim-of-a-later-clock", Ledger, "believe_gap")
def a_deletion_is_taken_from_the_wire(original, self, feed, start, end):
    held = self.feeds.get(feed)
    for clock in range(start, min(end, held.next_clock)) if held is not None else ():
        for entry in list(held.entries_at(clock)):
            self._drop(entry, known_empty=True)
            self._unindex(entry.record)
    original(self, feed, start, end)


@instead("gate-a-gap-is-believed-as-far-as-a-record-follows.txt", Ledger, "is_known")
def a_record_inside_a_gap_is_passed_over(original, self, record):
    feed = self.feeds.get(record.feed)
    is_empty = feed is not None and record.clock in feed.known and not feed.slots.get(record.clock)
    return is_empty or original(self, record)


@instead(2, Feed, "as_sealed")
def a_seal_is_taken_at_its_word(original, self):
    return None if self.last_seal() is None else True


@instead("seals-a-quiet-feed-is-sealed.txt", Feed, "sealable")
def a_seal_counts_the_seals_before_it(original, self, below):
    ids = [record.record_id for record in self.live() if record.clock < below]
    return len(ids), seal_digest(ids)


@planted("a-statement-for-which-there-is-no-room")
def what_waits_is_not_bounded():
    without_end = Bounds(*[sys.maxsize] * len(Bounds._fields))
    with mock.patch("crdt.ledger.pending.pending_bounds", lambda: without_end):
        yield


@planted("belonging-an-admin-forks-after-it-admitted-half-the-fleet.txt")
def admissions_go_down_with_the_feed_that_carries_them():
    move, cut = Ledger._move_roster, Ledger._cut

    def forgetful(self):
        def stands(record):
            fork = self.proofs.get(record.feed)
            return fork is None or record.clock < fork.clock

        kept = Statements()
        for record in filter(stands, self.statements._known.values()):
            kept.add(record)
        with mock.patch.object(self, "statements", kept):
            move(self)

    def cutting(self, feed_id):
        cut(self, feed_id)
        forgetful(self)

    with (
        mock.patch.object(Ledger, "_move_roster", forgetful),
        mock.patch.object(Ledger, "_cut", cutting),
    ):
        yield


@instead("belonging-a-revoked-node-goes-on-in-another-incarnation.txt", Admission, "ends")
def a_revocation_knows_no_incarnations(original, self):
    if not self.revocations:
        return original(self)
    return {}, min(max(take.keep.values(), default=0) for take in self.revocations)


@instead("gate-a-new-kind-met-by-an-old-build.txt", bodies, "_parse_carried")
def a_carried_kind_supersedes_nothing(original, data, fault):
    return msgspec.structs.replace(original(data, fault), key=None)


@instead("belonging-a-fork-is-cut-at-one-clock.txt", Ledger, "_has_budget")
def twins_in_one_call_are_overlooked(original, self, record, _beside):
    return original(self, record, None)


@instead("gate-what-was-rejected-still-proves-a-fork.txt", RejectedRecords, "at")
def what_was_rejected_proves_no_fork(*_):
    return ()


@instead("gate-what-is-void-supersedes-nothing.txt", Ledger, "_key")
def what_is_void_supersedes(original, self, feed, record, *, live):
    original(self, feed, record, live=True)


@instead(
    "belonging-two-forkers-carry-the-evidence-against-each-other.txt",
    ScheduledWrites,
    "_accusations",
)
def a_proof_is_written_down_by_nobody(*_):
    return []


@instead(
    "belonging-the-only-carrier-of-a-proof-forks-below-it.txt", ScheduledWrites, "_accusations"
)
def everybody_accuses_at_once_and_for_ever(original, self, _mono):
    """Without remembering what is written already, every node writes it at every tick."""
    return [AccuseFork(feed, proof.clock) for feed, proof in self._ledger.proofs.items()]


@instead("belonging-a-host-put-back-while-it-ran.txt", Reissuer, "due")
def what_a_fork_took_is_not_written_again(*_):
    return []


@instead("belonging-what-a-fork-took-is-handed-back.txt", reissue, "return_void_records")
def what_a_fork_took_is_not_handed_back(*_):
    return iter(())


@instead("links-a-feed-that-stays-different.txt", Ledger, "_clock_went_back")
def a_clock_that_went_back_keeps_what_it_let_in(*_):
    pass


@instead("links-a-feed-that-stays-different.txt", Feed, "is_live")
def what_waits_on_disk_counts_at_once(original, self, entry):
    return entry.verdict is EntryStatus.AHEAD or original(self, entry)


swap(
    "what_is_behind_a_cut_is_rendered",
    "belonging-a-member-forks-to-undo-what-others-built.txt",
    Feed,
    "rendered_records",
    Feed.live_between,
)


@instead("belonging-a-member-forks-to-undo-what-others-built.txt", Ledger, "is_built_upon")
def what_others_built_upon_goes_with_the_fork(*_):
    return False


@instead("links-a-feed-that-stays-different.txt", Session, "may_compare")
def each_feed_is_compared_once(_original, self, feed, _mine, _theirs, _now):
    first = feed not in self.doubts
    self.doubts[feed] = True
    return first


@instead("board-who-is-alive-by-ones-own-clock.txt", Liveness, "status")
def who_is_alive_goes_by_the_wall_clock(_original, self, node, mono):
    heard = self.last(node)
    silence_ms = START.ms + mono * 1000 - heard.state.at.ms if heard is not None else 10**6
    return "alive" if 0 <= silence_ms < limits.ALIVE_SECONDS * 1000 else "offline"


swap(
    "an_old_presence_is_news",
    "links-presence-of-a-dead-node-replayed.txt",
    limits,
    "PRESENCE_AGE_MS_MAX",
    10**12,
)


@instead("board-an-end-is-acknowledged.txt", ScheduledWrites, "_acks")
def an_end_is_acknowledged_by_its_author_too(original, self, mono):
    with mock.patch.object(self, "_own", b""):
        return original(self, mono)


swap(
    "an_ack_is_written_at_once",
    "board-an-end-is-acknowledged.txt",
    limits,
    "ACK_AFTER_SECONDS",
    0.0,
)


@instead("built-on-what-an-observer-may-not-say", judge, "is_cut")
def an_observers_slot_is_no_cut(_original, world, feed, clock):
    fork = world.fork_of(feed)
    behind = fork is not None and clock >= fork
    return behind or world.roster.role_of_slot(feed, clock) is None


@instead("two-daemons-with-one-key", DuplicateKeyDetector, "heard")
def twins_never_tell_whom_they_heard(*_):
    return ()


@instead("a-restart-is-no-twin", DuplicateKeyDetector, "receive")
def a_restart_is_taken_for_a_twin(original, self, state, mono):
    """Any other run with the own key, without asking whether it is of before."""
    named = (self.run,) if state.run not in (UNSET, self.run) else UNSET
    return original(self, msgspec.structs.replace(state, heard=named), mono)


@instead("a-new-key-takes-its-work-along", Reissuer, "__init__")
def a_new_key_forgets_what_the_old_one_did(original, self, own, held, sessions, *_of_the_former):
    original(self, own, held, sessions)


@instead("a-new-key-in-the-old-ones-place", roster_intents, "expand")
def a_new_key_comes_beside_the_old_one(original, wish, roster, own):
    done = original(wish, roster, own)
    return done[:1] if isinstance(wish, roster_intents.Replace) else done


@instead("a-ticket-whose-guest-was-revoked", Statements, "ticket_users")
def a_revoked_guest_makes_the_ticket_good_again(original, self, ticket):
    said = [record.body for record in self.about(original(self, ticket))]
    revoked = {body.node for body in said if isinstance(body, Revocation)}
    return original(self, ticket) - revoked


# --- petitions, shares, and what was real --------------------------------------------------


@instead("a-petition-that-nobody-signed", roster_requests, "_is_signed")
def a_petition_need_not_be_signed(*_):
    return True


@instead("belonging-a-goodbye-from-before.txt", roster_requests, "_refusal")
def a_petition_is_good_for_ever(original, asked, peer, held, own, wall):
    word = original(asked, peer, held, own, wall)
    return "" if word == "stale" else word


@instead("belonging-a-goodbye-from-before.txt", Replica, "_reply")
def who_asked_to_leave_is_not_told(original, self, peer, frame, now):
    if not isinstance(frame, RosterRequest):
        return original(self, peer, frame, now)
    finish = self._finish
    with mock.patch.object(self, "_finish", lambda _peer, at: finish(peer, at)):
        return original(self, peer, frame, now)


@planted("nobody-waits-for-a-flood")
def one_bucket_is_for_all():
    original, give_back, everybody = (
        TokenBuckets.take,
        TokenBuckets.give_back,
        NodePubkey(bytes(32)),
    )

    def shared(self, author, mono, amount=1.0):
        taken = original(self, everybody, mono, amount)
        if not taken:
            self.over.add(author)
        return taken

    def give(self, _author, amount=1.0):
        give_back(self, everybody, amount)

    with mock.patch.multiple(TokenBuckets, take=shared, give_back=give):
        yield


def no_share():
    """Every record is taken, and none is paid for."""
    take = lambda _self, records, _ledger: list(records)  # noqa: E731
    return mock.patch.multiple(AuthorRateLimits, take=take, give_back=lambda *_: None)


@planted("records-in-anothers-name")
def an_author_pays_for_what_he_did_not_sign():
    original = Replica.open

    def early(self, peer, data):
        message, quota = original(self, peer, data), self._quota
        fits = [r for r in message.records if quota._records.take(r.feed.author, quota.mono)]
        return dataclasses.replace(message, records=fits)

    with mock.patch.object(Replica, "open", early), no_share():
        yield


@planted("nobody-waits-for-a-flood")
def an_author_has_no_share():
    with no_share():
        yield


@instead("more-than-fits-one-update", Document, "next_update")
def what_came_at_once_is_forwarded_whole(original, self, lacked):
    with mock.patch.object(limits, "UPDATE_BYTES_MAX", 2**30):
        return original(self, lacked)


@instead(1, PresenceTracker, "everybody")
def everybodys_presence_goes_in_one_frame(original, self):
    return [Awareness(self.liveness.entries())]


@planted("links-a-feed-that-stays-different.txt")
def each_frame_of_digests_is_taken_for_all():
    differing, digests = anti_entropy.differing, anti_entropy.feed_digests

    def narrow(held, theirs, _listed):
        return differing(held, theirs._replace(last=True), set())

    def one_by_one(held):
        with mock.patch.object(limits, "FEEDS_PER_FRAME_MAX", 1):
            return digests(held)

    with (
        mock.patch.object(anti_entropy, "differing", narrow),
        mock.patch.object(anti_entropy, "feed_digests", one_by_one),
    ):
        yield


@instead("proofs-against-strangers", Proofs, "is_news")
def a_full_table_of_proofs_takes_none_against_a_member(original, self, claimed):
    room = accused(claimed) in self or len(self) < limits.PENDING_MAX
    return room and original(self, claimed)


@instead("gate-feeds-of-one-author-are-taken-as-they-fit.txt", AuthorRateLimits, "opens")
def feeds_are_taken_without_end(*_):
    return True


@instead("gate-many-forks-shown-here-and-others-there.txt", Ledger, "_prove")
def evidence_waits_for_the_share_of_the_accused(original, self, row, _by):
    return original(self, row, row.author)


@instead("seals-a-seal-is-renewed-when-the-roster-moves.txt", handlers, "_seal")
def a_seal_that_ceased_to_be_true_is_left_as_it_is(original, author):
    if author.feed.last_seal() is not None:
        raise ProposalRefused("there is nothing to seal")
    return original(author)


@instead("a-clock-that-is-put-right", Sessions, "hear_clock")
def a_peers_clock_is_read_at_the_hello_alone(*_):
    pass


@instead(1, Sync, "receive")
def what_a_peer_names_is_remembered(original, self, frame, session, digest, mono):
    if isinstance(frame, HaveUpTo):
        session.holds(FeedId(frame.author, frame.incarnation), frame.end)
        return Changes()
    return original(self, frame, session, digest, mono)


@instead("twins-that-speak-in-step", Liveness, "_receive_other_run")
def of_a_key_the_latest_presence_alone_is_handed_on(*_):
    return False


@instead("a-word-from-2099-for-one-node", Statements, "due")
def a_statement_counts_before_its_time(_original, self, *_):
    return [*self._known.values()]


@planted("what-was-superseded-comes-again")
def what_was_superseded_is_paid_for_again():
    def news(ledger, record):
        return not ledger.is_known(record)

    with (
        mock.patch.object(quota, "is_news", news),
        mock.patch.object(AuthorRateLimits, "give_back", lambda *_: None),
    ):
        yield


@instead("started-again-while-off-the-roster", Ledger, "_apply")
def a_row_is_deleted_because_the_roster_moved(original, self, record, held, judgement):
    stranger = judgement == Deferred(Reason.UNKNOWN_AUTHOR)
    if held is None or not stranger:
        return original(self, record, held, judgement)
    self._drop(held, known_empty=False)
    self.pending.add(record, Reason.UNKNOWN_AUTHOR)
    return True


@instead("a-torn-store-that-ends-too-soon", reissue, "why_short")
def the_own_head_is_taken_from_the_rows(*_):
    return ""


@instead("a-bit-of-a-proof-that-flips", Ledger, "restore_proof")
def proofs_are_read_unchecked(original, self, row):
    if self.proofs.is_lower(row):
        self.proofs[accused(row)] = row
        self._cut(accused(row))
    return True


@planted("a-statement-for-which-there-is-no-room")
def one_author_may_fill_the_room_of_all():
    def bounds():
        most = pending_bounds()
        return most._replace(of_author=most.in_all, bytes_of_author=most.bytes_in_all)

    with mock.patch("crdt.ledger.pending.pending_bounds", bounds):
        yield


@instead("board-a-clock-that-was-a-day-ahead.txt", Ledger, "retire")
def what_was_written_again_counts_twice(*_):
    return Changes()


# --- the hunt ------------------------------------------------------------------------------


def hunt(name):
    """What catches a planted bug, ``""`` where nothing does."""
    if _catches(CAUGHT_BY[name]):
        return name, ""  # what fails by itself, such as a transcript that is stale, catches nothing
    return name, caught_by(name)


def caught_by(name):
    """The same, where what is known to catch it was seen to pass without the bug."""
    known = CAUGHT_BY[name]
    with PLANTED[name]():
        if _catches(known):
            return f"seed {known}" if isinstance(known, int) else known
        for seed in range(1, SEEDS_MAX):
            if _catches(seed):
                return f"seed {seed}"
    return ""


UNFIT = ("L9: AttributeError", "L9: NameError", "L9: TypeError")
"""How a plant ends that no longer fits the product it is planted in: that catches nothing."""


def _catches(what):
    if isinstance(what, int):
        return _breaks(plans.make(what))
    if what.endswith(".txt"):
        text = (TRANSCRIPTS / what).read_text()
        try:
            return runner.play(text) != text
        except AssertionError:
            return True
    return _breaks(plans.load((SCHEDULES / f"{what}.json").read_bytes()))


def _breaks(plan):
    broken = play(plan).broken
    return bool(broken) and not broken.startswith(UNFIT)
