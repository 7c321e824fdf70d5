"""Realistic mistakes, planted from outside by patching: the harness must catch every one.

Each is a context manager that makes the product wrong while it stands, as somebody in a hurry
would have written it. The product has no switch for any of them.
"""

import contextlib
from unittest import mock

import msgspec

from crdt import antientropy, fold, judge, ledger, replica
from crdt.bodies import Transition
from crdt.errors import Reason
from crdt.feeds import Feed
from crdt.identity import H
from crdt.judge import Rejected, Waits
from crdt.ledger import Ledger
from crdt.proposals import Author
from crdt.ready import Persist, Ready
from crdt.replica import Replica
from crdt.roster import Roster
from crdt.stamp import Stamp
from machines.kernel import Ignored
from machines.pipeline import PIPELINE
from node.turn import Carrier, Turn
from tests.support.sim import disk

PLANTED = {}


def planted(function):
    """List a mistake under its name."""
    PLANTED[function.__name__] = contextlib.contextmanager(function)
    return function


@planted
def signatures_are_not_checked():
    original = Replica.__init__

    def trusting(self, *args, **options):
        original(self, *args, **options)
        self._verifier = lambda jobs: [True] * len(jobs)

    with mock.patch.object(Replica, "__init__", trusting):
        yield


@planted
def an_event_is_judged_from_where_the_story_stands_now():
    original = ledger.judge

    def hasty(record, world, now):
        state = world.board.state(getattr(record.body, "story", ""))
        if isinstance(record.body, Transition) and state is not None and now is not None:
            here = PIPELINE.step(state.stage, record.body.event, record.body.at)
            if isinstance(here, Ignored):
                return Rejected(Reason.ILLEGAL_TRANSITION, "not from here")
        return original(record, world, now)

    with mock.patch.object(ledger, "judge", hasty):
        yield


@planted
def state_vectors_are_compared_instead_of_digests():
    def vector(self):
        return H(repr(sorted(self.state_vector().items())).encode())

    with mock.patch.object(Replica, "document_digest", vector):
        yield


@planted
def frames_leave_before_the_disk_has_them():
    with mock.patch.object(Turn, "must_commit", property(lambda _turn: False)):
        yield


@planted
def what_rested_on_a_failed_commit_stays():
    original = Carrier.fail

    def keep(self, turn, why, at):
        self._build = lambda: (self.replica, Ready())
        return original(self, turn, why, at)

    with mock.patch.object(Carrier, "fail", keep):
        yield


@planted
def a_restored_store_is_trusted():
    with mock.patch.object(disk, "why_doubt", lambda _found, _said: ""):
        yield


@planted
def a_peer_that_knows_more_is_passed_over():
    original = Replica._check_incarnation

    def bold(self, now):
        if self._doubt.startswith("a peer"):
            self._doubt = ""
        original(self, now)

    with mock.patch.object(Replica, "_check_incarnation", bold):
        yield


@planted
def a_stamp_is_the_local_clock_and_no_more():
    with mock.patch.object(Author, "stamp", lambda self, _state=None: Stamp(self.wall, 0)):
        yield


@planted
def a_moved_roster_judges_nothing_again():
    original = Ledger._move_roster

    def lazy(self):
        with mock.patch.object(Ledger, "_rejudge", lambda _self, _authors: None):
            original(self)

    with mock.patch.object(Ledger, "_move_roster", lazy):
        yield


@planted
def a_feed_is_cut_at_the_fork_that_came_first():
    original = Ledger._prove

    def first_come(self, row):
        if all((p.author, p.incarnation) != row[:2] for p in self.proofs.values()):
            original(self, row)

    with mock.patch.object(Ledger, "_prove", first_come):
        yield


@planted
def a_slot_that_is_unknown_holds_up_the_next():
    original = ledger.judge

    def in_line(record, world, now):
        feed = world.feeds.get(record.feed)
        before = record.clock - 1
        if before >= 0 and (feed is None or (before not in feed.slots and before not in feed.gaps)):
            return Waits(Reason.MISSING_PARENT)
        return original(record, world, now)

    with mock.patch.object(ledger, "judge", in_line):
        yield


@planted
def evidence_goes_down_with_the_feed_that_carries_it():
    original = Ledger.accuse

    def picky(self, claimed):
        return False if self._peer is not None else original(self, claimed)

    with mock.patch.object(Ledger, "accuse", picky):
        yield


@planted
def heads_stand_in_the_digest():
    original = antientropy.digest_of_document

    def with_heads(book):
        heads = sorted((feed.id, feed.head) for feed in book.feeds.values() if feed.live())
        return H(original(book) + repr(heads).encode())

    with mock.patch.object(antientropy, "digest_of_document", with_heads):
        yield


@planted
def the_next_incarnation_is_counted():
    original = Replica._check_incarnation

    def count(self, now):
        # One past the highest that is known here.
        known = max(
            f.incarnation for f in [self._own_feed().id, *self.ledger.feeds] if f.author == self.own
        )
        with mock.patch.object(self._draw, "u32", iter(range(known + 1, 2**32)).__next__):
            original(self, now)

    with mock.patch.object(Replica, "_check_incarnation", count):
        yield


@planted
def a_cut_keeps_keyed_records():
    with mock.patch.object(Feed, "keyed_dead", property(lambda _feed: False)):
        yield


@planted
def a_parent_of_a_stranger_waits_for_ever():
    original = judge._judge_transition

    def strict(record, body, world):
        if body.parent is not None and world.find(body.parent) is None:
            return Waits(Reason.MISSING_PARENT)
        return original(record, body, world)

    with mock.patch.object(judge, "_judge_transition", strict):
        yield


@planted
def what_hangs_on_a_record_is_not_judged_again():
    with mock.patch.object(Ledger, "_queue_dependents", lambda _self, _record: None):
        yield


@planted
def holes_stay_unknown():
    with mock.patch.object(Ledger, "believe_holes", lambda _self: None):
        yield


@planted
def a_row_deleted_in_the_batch_that_wrote_it_stays():
    original = Persist.add

    def keep(self, later):
        gone = {key for key, row in later.rows.items() if row is None and self.rows.get(key)}
        kept = {key: self.rows[key] for key in gone}
        original(self, later)
        self.rows |= kept

    with mock.patch.object(Persist, "add", keep):
        yield


@planted
def of_two_events_the_one_that_came_first_wins():
    with mock.patch.object(fold, "order", lambda _record: 0):
        yield


@planted
def what_waited_for_the_clock_waits_for_ever():
    with mock.patch.object(Ledger, "ripen", lambda _self, _now: None):
        yield


@planted
def an_illegal_event_is_let_in():
    original = ledger.judge

    def lenient(record, world, now):
        verdict = original(record, world, now)
        known = isinstance(verdict, Rejected) and isinstance(record.body, Transition)
        return judge.ADMITTED if known else verdict

    with (
        mock.patch.object(ledger, "judge", lenient),
        mock.patch.object(fold, "hangs", lambda _record, _parent: True),
    ):
        yield


@planted
def anybody_may_admit_anybody():
    with mock.patch.object(Roster, "_may_admit", lambda _self, _author, _body: True):
        yield


@planted
def a_claim_is_since_the_older_clock():
    original = replica.proposals._claim

    def careless(intent, book, author):
        claim = original(intent, book, author)
        state = book.board.state(intent.story)
        mine = [c.since for c in state.claim_views() if c.node == author.node and c.since]
        return msgspec.structs.replace(claim, since=max([claim.since, *mine]))

    with mock.patch.object(replica.proposals, "_claim", careless):
        yield
