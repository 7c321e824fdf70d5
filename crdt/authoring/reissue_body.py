"""The body with which a record is reissued in another feed of its author.

``reissue.py`` finds the records to reissue. Only reads the ledger. Source: protocol §9.
"""

from collections.abc import Mapping

from machines.execution import EXECUTION
from machines.kernel import Ignored
from machines.pipeline import PIPELINE
from machines.values import Instant, NodePubkey
from msgspec import UNSET
from msgspec.structs import replace

from crdt.authoring.handlers import Author
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.identity import Hash, RecordId, RecordRef
from crdt.records.bodies import (
    Carried,
    Claim,
    Execution,
    Known,
    Member,
    Revocation,
    Role,
    Story,
    Transition,
)
from crdt.records.record import VerifiedRecord
from crdt.views.roster import Roster
from crdt.views.story_state import FIELDS


class AlreadySuperseded(ProposalRefused):
    """A record need not be reissued: a later record replaced it, or others are made instead."""


def reissue_body(
    record: VerifiedRecord, ledger: Ledger, author: Author, moved: Mapping[RecordId, RecordRef]
) -> Known:
    """Return the body with which to reissue a record.

    Args:
        moved: the new references of events reissued so far, by their old id.

    Raises:
        AlreadySuperseded: it need not be reissued.
        ProposalRefused: it no longer applies.
    """
    match record.body:
        case Story() as body:
            return _story(record, body, ledger, author)
        case Transition() as body:
            return _transition(record, body, ledger, author, moved)
        case Execution() as body:
            return _execution(record, body, ledger, author)
        case Claim() as body:
            return _claim(record, body, ledger, author)
        case Member(nonce=Hash()):
            raise AlreadySuperseded("the founding record defines the cluster")
        case Member() as body if not _may_admit(ledger.roster, author.node, body):
            raise ProposalRefused(f"this node may not admit a node as {body.role}")
        case Member() | Revocation() as body:
            stamp = author.stamp()
            return replace(body, at=stamp.at, n=stamp.n)
        case Carried() as body:
            raise ProposalRefused(f"this version does not know the kind {body.kind}")
        case _:
            raise AlreadySuperseded("missing acks, evidence and seals are written by themselves")


def _may_admit(roster: Roster, own: NodePubkey, body: Member) -> bool:
    return roster.role(own) is Role.ADMIN and roster.may_admit(own, body)


def _story(record: VerifiedRecord, body: Story, ledger: Ledger, author: Author) -> Story:
    state = ledger.board.state(body.story)
    fields = {}
    for name in FIELDS:
        value = getattr(body, name)
        if value is UNSET:
            continue
        known = state.field_record(name) if state is not None else None
        if known is None or known.stamp < record.stamp:
            fields[name] = value
    if not fields and state is not None:
        raise AlreadySuperseded("every field was changed since")
    stamp = min(record.stamp, author.stamp())
    return Story(at=stamp.at, n=stamp.n, story=body.story, **fields)


def _transition(
    record: VerifiedRecord,
    body: Transition,
    ledger: Ledger,
    author: Author,
    moved: Mapping[RecordId, RecordRef],
) -> Transition:
    state = ledger.board.state(body.story)
    if state is None:
        raise ProposalRefused("no record names the story now")
    parent = body.parent
    if parent is not None:
        parent = moved.get(parent.record_id, parent)
    last = state.last
    if parent != (None if last is None else last.ref):
        raise ProposalRefused("the story has moved on since")
    stamp = author.stamp(state)
    if last is None or last.stamp < record.stamp:
        stamp = min(record.stamp, stamp)  # the stage takes its times from the stamp
    if PIPELINE.ignores(state.stage, body.event):
        raise ProposalRefused(f"{PIPELINE.state_name(state.stage)} ignores it")
    return replace(body, at=stamp.at, n=stamp.n, parent=parent)


def _execution(
    record: VerifiedRecord, body: Execution, ledger: Ledger, author: Author
) -> Execution:
    state = ledger.board.state(body.key)
    for view in state.execution_views() if state is not None else ():
        if view.node == author.node and view.stamp >= record.stamp:
            raise AlreadySuperseded("a later one was written since")
    stamp = author.stamp()
    if record.stamp <= stamp:
        return body  # its times follow from its stamp, so it keeps its stamp
    outcome = EXECUTION.step(body.previous, body.event, stamp.at)
    if isinstance(outcome, Ignored):
        # It was stamped ahead and pending, so the gate has not checked it yet.
        raise ProposalRefused(f"{EXECUTION.state_name(body.previous)} ignores it")
    return replace(body, at=stamp.at, n=stamp.n, state=outcome.state)


def _claim(record: VerifiedRecord, body: Claim, ledger: Ledger, author: Author) -> Claim:
    if body.since is UNSET or body.until is UNSET or body.until <= author.wall:
        raise AlreadySuperseded("it expired or was released")
    state = ledger.board.state(body.key)
    for view in state.claim_views() if state is not None else ():
        if view.node == author.node and view.fencing >= record.stamp:
            raise AlreadySuperseded("a later one was written since")
    holder = ledger.board.holder(body.key, author.wall)
    if holder is not None and holder.node != author.node:
        raise ProposalRefused(f"the story is held by {holder.node.short} now")
    stamp = author.stamp()
    latest = Instant.nearest(stamp.at.ms + limits.CLAIM_MS_MAX)
    since, until = min(body.since, stamp), min(body.until, latest)
    return replace(body, at=stamp.at, n=stamp.n, since=since, until=until)
