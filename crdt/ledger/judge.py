"""Stage 6 of the line: what a verified record is worth.

Takes a ``VerifiedRecord`` from ``signatures.py``, gives a ``Verdict`` to ``ledger.py``. A record
is judged by itself: by what it says, the one parent it names, the roster and the cuts; never by the
order of arrival, the local clock, or other records of its feed (protocol §5). The clock can only
delay.
"""

from dataclasses import dataclass
from typing import Protocol

from machines.execution import EXECUTION
from machines.kernel import Ignored
from machines.pipeline import INITIAL_STAGE, PIPELINE, Stage, stage_after
from machines.values import Instant

from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId, RecordRef
from crdt.records.bodies import Execution, Member, Revocation, Role, Statement, Transition
from crdt.records.record import VerifiedRecord
from crdt.views.roster import Roster


@dataclass(frozen=True, slots=True)
class Admitted:
    """Merged; live unless superseded.

    ``built_upon``: void by a fork alone, and yet live, since others built on it.
    """

    built_upon: bool = False


@dataclass(frozen=True, slots=True)
class Deferred:
    """Pending: no verdict yet."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Rejected:
    """Against the rules: the slot stays empty."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Void:
    """Kept, shown, counted nowhere."""

    reason: Reason


Verdict = Admitted | Deferred | Rejected | Void
ADMITTED = Admitted()
BUILT_UPON = Admitted(built_upon=True)
VOID_FORK = Void(Reason.FORK)
VOID_REVOKED = Void(Reason.REVOKED)


class KnownRecords(Protocol):
    """What a verdict may rest on beside the record itself."""

    roster: Roster

    def fork_of(self, feed: FeedId) -> int | None:
        """The lowest proven fork of a feed whose author is on the roster."""

    def find(self, ref: RecordRef) -> VerifiedRecord | None:
        """A held record that neither waits for its parent nor breaks the rules."""

    def is_rejected(self, ref: RecordRef) -> bool:
        """Whether this record is known to have been rejected."""

    def is_built_upon(self, record: VerifiedRecord) -> bool:
        """Whether others built on a transition that a fork voids (protocol §9)."""


def is_cut(world: KnownRecords, feed: FeedId, clock: int) -> bool:
    """Whether a slot of a feed lies at or after a cut, by fork or by revocation.

    One that only an observer's role is left for is cut as well: it was written in a role that a
    revocation took, or by nobody who may write.
    """
    fork = world.fork_of(feed)
    if fork is not None and clock >= fork:
        return True
    return world.roster.role_of_slot(feed, clock) in (None, Role.OBSERVER)


def judge(record: VerifiedRecord, world: KnownRecords, latest: Instant) -> Verdict:
    """Judge one record.

    Args:
        latest: a record stamped after this waits: it is too far ahead of the own clock.
    """
    roster = world.roster
    if not roster.on_roster(record.feed.author):
        return Deferred(Reason.UNKNOWN_AUTHOR)
    role = roster.role_of_slot(record.feed, record.clock)
    if role is None:
        return VOID_REVOKED
    if role is Role.OBSERVER:
        if roster.has_granted(record.feed.author, Role.MEMBER):
            return VOID_REVOKED
        return Rejected(Reason.NOT_ALLOWED, "an observer writes nothing")
    if record.body.at > latest:
        return Deferred(Reason.STAMP_AHEAD)
    verdict = _judge_kind(record, world)
    if verdict is not ADMITTED:
        return verdict
    fork = world.fork_of(record.feed)
    if fork is None or record.clock < fork:
        return ADMITTED
    # Authority proves itself: these two stay live behind their author's fork (protocol §9).
    if isinstance(record.body, Statement):
        return ADMITTED
    return BUILT_UPON if world.is_built_upon(record) else VOID_FORK


def _judge_kind(record: VerifiedRecord, world: KnownRecords) -> Verdict:
    body = record.body
    if isinstance(body, Transition):
        return _judge_transition(record, body, world)
    if isinstance(body, Execution):
        return _judge_execution(body)
    if isinstance(body, Member) and not world.roster.counts(record):
        return _not_allowed(record, world.roster, f"may not admit a node as {body.role}")
    if isinstance(body, Revocation) and not world.roster.may_revoke(record, body):
        return _not_allowed(record, world.roster, "may not revoke this node")
    return ADMITTED


def _not_allowed(record: VerifiedRecord, roster: Roster, detail: str) -> Verdict:
    """A statement that its author may not make: void if a revocation took an admin's right to."""
    role = roster.role_of_slot(record.feed, record.clock)
    if role is not Role.ADMIN and roster.has_granted(record.feed.author, Role.ADMIN):
        return VOID_REVOKED
    return Rejected(Reason.NOT_ALLOWED, detail)


def _judge_transition(record: VerifiedRecord, body: Transition, world: KnownRecords) -> Verdict:
    """Judge an event from the one parent it names (protocol §5, 3)."""
    stage: Stage = INITIAL_STAGE
    ref = body.parent
    if ref is not None:
        # The author could not know of a cut or of a roster that has moved: merged, and the fold
        # decides.
        if not world.roster.on_roster(ref.author) or is_cut(world, ref.feed, ref.clock):
            return ADMITTED
        parent = world.find(ref)
        if parent is None:
            if world.is_rejected(ref):
                return Rejected(Reason.REJECTED_PARENT, "the event it builds on was rejected")
            return Deferred(Reason.MISSING_PARENT)
        said = parent.body
        if not isinstance(said, Transition) or said.story != body.story:
            return Rejected(Reason.ILLEGAL_TRANSITION, "its parent is no event of this story")
        if record.stamp <= parent.stamp:
            return Rejected(Reason.STAMP_BACKWARDS, "stamped no later than its parent")
        stage = stage_after(said.event, said.at)
    if PIPELINE.ignores(stage, body.event):
        event, here = PIPELINE.event_name(body.event), PIPELINE.state_name(stage)
        return Rejected(Reason.ILLEGAL_TRANSITION, f"{here} ignores {event}")
    return ADMITTED


def _judge_execution(body: Execution) -> Verdict:
    """Judge an execution from itself (protocol §5, 4)."""
    outcome = EXECUTION.step(body.previous, body.event, body.at)
    if isinstance(outcome, Ignored):
        event = EXECUTION.event_name(body.event)
        here = EXECUTION.state_name(body.previous)
        return Rejected(Reason.ILLEGAL_EXECUTION, f"{here} ignores {event}")
    if outcome.state != body.state:
        return Rejected(Reason.ILLEGAL_EXECUTION, "the event does not lead to the state it states")
    return ADMITTED
