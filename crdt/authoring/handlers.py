"""What a local caller asks for, turned into the body of an own record, or refused.

Stands before the line, beside ``replica.py``. The same ``step`` that judges records judges callers
first: what would be rejected is never written. Reads the ledger, changes nothing. Source: protocol
§7, §9.
"""

from dataclasses import dataclass
from typing import Final, assert_never

from machines.execution import EXECUTION, ExecutionState
from machines.kernel import Ignored
from machines.pipeline import PIPELINE, DepsMet
from machines.values import Instant, NodePubkey
from msgspec import UNSET

from crdt.authoring.intents import (
    AccuseFork,
    AcknowledgeEnd,
    AddStory,
    AdmitNode,
    ClaimStory,
    EditStory,
    FireEvent,
    FireExecution,
    Intent,
    ReleaseClaim,
    RevokeNode,
    WriteSeal,
)
from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.errors import EventIgnored, ProposalRefused, UnknownStory
from crdt.primitives.hlc import Stamp, next_stamp
from crdt.primitives.identity import Hash, RecordId, Signature
from crdt.records.bodies import (
    SEAL_KEY,
    Ack,
    Claim,
    Evidence,
    Execution,
    Known,
    Member,
    ProofSide,
    Revocation,
    Role,
    Seal,
    Story,
    Transition,
    evidence_key,
)
from crdt.records.horizon import latest_own
from crdt.views.story_state import StoryState

CIRCLE_SHOWN_MAX: Final = 8
KEEP_BYTES_MAX: Final = limits.BODY_BYTES_MAX - 2 * limits.KIB
"""What a revocation may keep leaves room for the admissions that it withdraws."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: the own key, the feed being written, and the own clock.

    ``before`` is the latest stamp of the own earlier feeds, as far as others take it.
    """

    node: NodePubkey
    feed: Feed
    wall: Instant
    before: Stamp | None = None

    def stamp(self, state: StoryState | None = None) -> Stamp:
        """The own clock, or one tick past the own records and the story's events (§7)."""
        floors = [self.before, self.feed.latest, state.floor() if state is not None else None]
        return next_stamp(self.wall, max((f for f in floors if f is not None), default=None))


def author(feed: Feed, ledger: Ledger, wall: Instant) -> Author:
    """The author of a feed, whose stamps go back in none of his feeds, whatever his clock does.

    Only what is further ahead than others take is left behind, with the feed it stands in.
    """
    own = feed.author
    latest = (one.latest for one in ledger.feeds.values() if one.author == own)
    bound = latest_own(wall)
    before = max((s for s in latest if s is not None and s.at <= bound), default=None)
    return Author(own, feed, wall, before)


def handle_intent(intent: Intent, ledger: Ledger, author: Author) -> tuple[Known, tuple[str, ...]]:
    """The body that says what the caller wants, and what he should be warned of.

    Raises:
        ProposalRefused: the rules do not allow it; says what would be.
    """
    match intent:
        case AddStory() | EditStory():
            return _story(intent, ledger, author)
        case FireEvent():
            return _event(intent, ledger, author)
        case FireExecution():
            return _execution(intent, ledger, author), ()
        case ClaimStory():
            return _claim(intent, ledger, author), ()
        case ReleaseClaim():
            return _release(intent, ledger, author), ()
        case AdmitNode():
            return _admit(intent, ledger, author), ()
        case RevokeNode():
            return _revoke(intent, ledger, author), ()
        case AcknowledgeEnd():
            return _ack(intent, ledger, author), ()
        case WriteSeal():
            return _seal(author), ()
        case AccuseFork():
            return _accuse(intent, ledger, author), ()
        case _:
            assert_never(intent)


def own_execution(ledger: Ledger, node: NodePubkey, story: str) -> ExecutionState:
    """What a node is doing about a story: idle where nothing says otherwise."""
    state = ledger.board.state(story)
    for view in state.execution_views() if state is not None else ():
        if view.node == node:
            return view.state
    idle: ExecutionState = EXECUTION.initial
    return idle


def _known(ledger: Ledger, story: str) -> StoryState:
    state = ledger.board.state(story)
    if state is None:
        raise UnknownStory(story)
    return state


def _story(
    intent: AddStory | EditStory, ledger: Ledger, author: Author
) -> tuple[Story, tuple[str, ...]]:
    known = intent.story in ledger.board
    if isinstance(intent, AddStory) and known:
        raise ProposalRefused(f"{intent.story} exists already; see: gangline edit --help")
    if isinstance(intent, EditStory):
        if not known:
            raise UnknownStory(intent.story)
        if {intent.title, intent.description, intent.depends_on, intent.labels} == {None}:
            raise ProposalRefused("nothing to change: name a field")
    awaited = intent.depends_on or ()
    if intent.story in awaited:
        raise ProposalRefused(f"{intent.story} cannot wait for itself")
    for story in awaited:
        if way := ledger.board.dependency_path(story, intent.story):
            shown = (
                way
                if len(way) <= CIRCLE_SHOWN_MAX
                else [*way[: CIRCLE_SHOWN_MAX - 1], "…", way[-1]]
            )
            circle = " → ".join((intent.story, *shown))
            raise ProposalRefused(f"stories cannot wait for each other in a circle: {circle}")
    warnings = tuple(f"no story is called {s} yet" for s in awaited if s not in ledger.board)
    stamp = author.stamp()
    body = Story(
        at=stamp.at,
        n=stamp.n,
        story=intent.story,
        title=UNSET if intent.title is None else str(intent.title),
        description=UNSET if intent.description is None else str(intent.description),
        depends_on=UNSET if intent.depends_on is None else intent.depends_on,
        labels=UNSET if intent.labels is None else intent.labels,
    )
    return body, warnings


def _event(intent: FireEvent, ledger: Ledger, author: Author) -> tuple[Transition, tuple[str, ...]]:
    state = _known(ledger, intent.story)
    stamp = author.stamp(state)
    if PIPELINE.ignores(state.stage, intent.event):
        raise EventIgnored(
            intent.story,
            PIPELINE.state_name(state.stage),
            PIPELINE.event_name(intent.event),
            PIPELINE.legal_events(state.stage),
        )
    warnings: tuple[str, ...] = ()
    unmet = ledger.board.unmet(intent.story) if isinstance(intent.event, DepsMet) else []
    if unmet:
        sentence = f"{intent.story} depends on what is not done: {', '.join(unmet)}"
        if not intent.force:
            raise ProposalRefused(f"{sentence}; fire it with --force all the same")
        warnings = (sentence,)
    last = state.last
    body = Transition(
        at=stamp.at,
        n=stamp.n,
        story=intent.story,
        event=intent.event,
        parent=last.ref if last is not None else None,
    )
    return body, warnings


def _execution(intent: FireExecution, ledger: Ledger, author: Author) -> Execution:
    _known(ledger, intent.story)
    previous = own_execution(ledger, author.node, intent.story)
    stamp = author.stamp()
    outcome = EXECUTION.step(previous, intent.event, stamp.at)
    if isinstance(outcome, Ignored):
        raise EventIgnored(
            f"this node's execution of {intent.story}",
            EXECUTION.state_name(previous),
            EXECUTION.event_name(intent.event),
            EXECUTION.legal_events(previous),
        )
    return Execution(
        at=stamp.at,
        n=stamp.n,
        key=intent.story,
        previous=previous,
        event=intent.event,
        state=outcome.state,
    )


def _claim(intent: ClaimStory, ledger: Ledger, author: Author) -> Claim:
    state = _known(ledger, intent.story)
    if not 0 < intent.seconds * 1000 <= limits.CLAIM_MS_MAX:
        raise ProposalRefused("a claim lasts from a second to an hour")
    stamp = author.stamp()
    holder = ledger.board.holder(intent.story, stamp.at)
    if holder is not None and holder.node != author.node:
        name = ledger.roster.name(holder.node)
        who = f"{name} ({holder.node.short})" if name else holder.node.short
        raise ProposalRefused(f"{intent.story} is held by {who} until {holder.until}")
    mine = [c for c in state.claim_views() if c.node == author.node and c.stands(stamp.at)]
    # A claim of an older incarnation may be stamped later than the clock says now.
    since = min(mine[0].since, stamp) if mine and mine[0].since is not None else stamp
    until = Instant.nearest(stamp.at.ms + intent.seconds * 1000)
    return Claim(at=stamp.at, n=stamp.n, key=intent.story, since=since, until=until)


def _release(intent: ReleaseClaim, ledger: Ledger, author: Author) -> Claim:
    state = _known(ledger, intent.story)
    stamp = author.stamp()
    if not any(c.node == author.node and c.stands(stamp.at) for c in state.claim_views()):
        raise ProposalRefused(f"this node holds no claim of {intent.story}")
    return Claim(at=stamp.at, n=stamp.n, key=intent.story, released=True)


def _admit(intent: AdmitNode, ledger: Ledger, author: Author) -> Member:
    roster = ledger.roster
    if roster.role(author.node) is not Role.ADMIN:
        raise ProposalRefused("only an admin admits nodes")
    founder = author.node == roster.founder
    if intent.role is Role.ADMIN and not founder:
        raise ProposalRefused("only the founder names admins")
    if intent.node in (author.node, roster.founder) and not founder:
        raise ProposalRefused("a node does not admit itself, and nobody admits the founder")
    if intent.node == roster.founder and intent.role is not Role.ADMIN:
        raise ProposalRefused("the founder stays an admin")
    stamp = author.stamp()
    return Member(
        at=stamp.at,
        n=stamp.n,
        node=intent.node,
        role=intent.role,
        name=str(intent.name),
        ticket=UNSET if intent.ticket is None else Hash(intent.ticket),
    )


def _revoke(intent: RevokeNode, ledger: Ledger, author: Author) -> Revocation:
    roster = ledger.roster
    if roster.role(author.node) is not Role.ADMIN:
        raise ProposalRefused("only an admin revokes nodes")
    founder = author.node == roster.founder
    if intent.node == roster.founder:
        raise ProposalRefused("nobody revokes the founder")
    if not founder and roster.role(intent.node) is Role.ADMIN:
        raise ProposalRefused("only the founder revokes an admin")
    mine: tuple[RecordId, ...] = tuple(
        admission.ref.record_id
        for admission in roster.admissions(intent.node)
        # One that says itself what to keep takes more of what another took already.
        if (intent.keep is not None or not admission.revoked)
        and (founder or admission.ref.author == author.node)
        and (intent.admissions is None or admission.ref.record_id in intent.admissions)
    )
    if not mine:
        if roster.on_roster(intent.node) and not roster.belongs(intent.node):
            raise ProposalRefused(
                f"{intent.node.short} is revoked already; say with --keep what else to take"
            )
        raise ProposalRefused(
            f"{intent.node.short} has no admission that this node may withdraw; "
            "the node that admitted it may, and the founder"
        )
    keep = intent.keep
    if keep is None:
        keep = tuple(
            sorted(
                (feed.id.incarnation, feed.next_clock)
                for feed in ledger.feeds.values()
                if feed.author == intent.node and feed.next_clock
            )
        )
    # A member gone bad may have opened more feeds than one record can name.
    if sum(len(f"[{incarnation},{clock}],") for incarnation, clock in keep) > KEEP_BYTES_MAX:
        raise ProposalRefused(
            f"{intent.node.short} has {len(keep)} feeds, more than one revocation can name: "
            "revoke it with --keep nothing, or say with --keep which feeds stay"
        )
    stamp = author.stamp()
    return Revocation(at=stamp.at, n=stamp.n, node=intent.node, admissions=mine, keep=keep)


def _ack(intent: AcknowledgeEnd, ledger: Ledger, author: Author) -> Ack:
    state = _known(ledger, intent.story)
    last = state.last
    if last is None:
        raise ProposalRefused(f"nothing has happened to {intent.story}")
    stamp = author.stamp(state)
    return Ack(at=stamp.at, n=stamp.n, story=intent.story, end=last.ref)


def _seal(author: Author) -> Seal:
    # A seal may cease to be true with no record after it: the roster decides what counts.
    sealed = author.feed.last_seal() is not None and author.feed.as_sealed()
    if author.feed.next_clock == 0 or sealed:
        raise ProposalRefused("there is nothing to seal")
    count, digest = author.feed.sealable(author.feed.next_clock)
    stamp = author.stamp()
    return Seal(at=stamp.at, n=stamp.n, key=SEAL_KEY, count=count, digest=Hash(digest))


def _accuse(intent: AccuseFork, ledger: Ledger, author: Author) -> Evidence:
    proof = ledger.proofs.get(intent.feed)
    if proof is None:
        raise ProposalRefused("no proof of a fork of this feed is known")
    one, other = (ProofSide(Signature(sig), Hash(body_hash)) for sig, body_hash in proof.sides)
    stamp = author.stamp()
    return Evidence(
        at=stamp.at,
        n=stamp.n,
        key=evidence_key(intent.feed),
        feed=intent.feed,
        clock=proof.clock,
        proof=(one, other),
    )
