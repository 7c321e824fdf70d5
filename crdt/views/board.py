"""The board: the view of all stories, folded from live records in any order.

It can be rebuilt at any time. Source: protocol §7.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec
from machines.codec import enc_hook
from machines.pipeline import PIPELINE, Archived, Blocked, Done, Stage, StoryCompleted
from machines.values import Instant, NodePubkey

from crdt.primitives import limits
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import RecordRef
from crdt.records.bodies import Ack, Claim, Execution, Story, Transition
from crdt.records.record import VerifiedRecord
from crdt.views.event_tree import stage_made_by
from crdt.views.fold import Lost
from crdt.views.story_state import StoryState
from crdt.views.view_types import ClaimView, ExecutionView, ExplainView, StoryView

# Made once, because every record is matched against them.
_MOVING: Final = Transition | Ack
_OF_STORY: Final = Transition | Ack | Story
_BY_STORY: Final = Execution | Claim
_ENCODER: Final = msgspec.json.Encoder(
    enc_hook=lambda value: value.hex() if isinstance(value, bytes) else enc_hook(value),
    order="sorted",
)


@dataclass(frozen=True, slots=True)
class BoardChange:
    """A change of the stage or the conflicts of a story.

    Attributes:
        last: the last event that counts, if any.
        late: whether a new event is stamped over five minutes before the last one that counted.
        lost: events that lost since the last change; at most ``LOSSES_TOLD_MAX``.
    """

    story: str
    before: Stage
    after: Stage
    last: VerifiedRecord | None
    late: bool
    lost: tuple[Lost, ...]


@dataclass(slots=True)
class _Reported:
    """The last reported state of a changed story, and the events and acks added since."""

    last: VerifiedRecord | None = None
    gained: list[VerifiedRecord] = field(default_factory=list)


class Board:
    """Every story."""

    def __init__(self) -> None:
        self._stories: dict[str, StoryState] = {}
        self._changed: dict[str, _Reported] = {}
        # Most stories do not change: only those with new events or acks are checked for due acks.
        self._touched: dict[str, None] = {}
        # Kept up to date, so that a count needs no pass over all stories.
        self._counts: Counter[str] = Counter()
        self._counted: dict[str, str] = {}
        self._miscounted: set[str] = set()
        self._worked_on: defaultdict[NodePubkey, Counter[str]] = defaultdict(Counter)

    # --- in ------------------------------------------------------------------------------------

    def add(self, record: VerifiedRecord) -> None:
        """Add a record that became live. Kinds that are not about a story are ignored."""
        story = story_of(record)
        if story is None:
            return
        state = self._stories.get(story)
        if state is None:
            state = self._stories[story] = StoryState(story)
            self._miscounted.add(story)
        if isinstance(record.body, _MOVING):
            self._mark(story, state).gained.append(record)
        elif isinstance(record.body, Execution):
            self._worked_on[record.feed.author][story] += 1
        state.add(record)

    def remove(self, record: VerifiedRecord) -> None:
        """Remove a record that is no longer live."""
        story = story_of(record)
        if story is None:
            return
        state = self._stories[story]
        if isinstance(record.body, _MOVING):
            self._mark(story, state)
        elif isinstance(record.body, Execution):
            stories = self._worked_on[record.feed.author]
            stories[story] -= 1
            if not stories[story]:
                del stories[story]
        state.remove(record)
        if not state:
            del self._stories[story]
            self._miscounted.add(story)

    def _mark(self, story: str, state: StoryState) -> _Reported:
        """Before the events or acks of a story change: keep its last reported state."""
        self._touched[story] = None
        self._miscounted.add(story)
        reported = self._changed.get(story)
        if reported is None:
            reported = self._changed[story] = _Reported(state.last)
            state.mark()
        return reported

    def take_changes(self) -> Iterator[BoardChange]:
        """Yield the changes of stages and conflicts since the last call, story by story."""
        changed, self._changed = self._changed, {}
        for story, reported in changed.items():
            state = self._stories.get(story)
            last = state.last if state is not None else None
            before, after = stage_made_by(reported.last), stage_made_by(last)
            fresh = () if state is None else tuple(state.fresh_losses(limits.LOSSES_TOLD_MAX))
            if before != after or fresh:
                newest = None if reported.last is None else reported.last.stamp
                late = before != after and any(
                    _is_late(record, newest) for record in reported.gained
                )
                yield BoardChange(story, before, after, last, late, fresh)

    def forget_changes(self) -> None:
        """Report no changes for what was read from our own store."""
        self._changed.clear()

    # --- out -----------------------------------------------------------------------------------

    def __contains__(self, story: str) -> bool:
        return story in self._stories

    def __len__(self) -> int:
        return len(self._stories)

    def story(self, story: str) -> StoryView | None:
        """Return a story, or ``None`` if no record names it."""
        state = self._stories.get(story)
        return state.view() if state is not None else None

    def stories(self) -> list[StoryView]:
        """Return all stories in order of id."""
        return [self._stories[story].view() for story in sorted(self._stories)]

    def stages(self) -> Mapping[str, int]:
        """Return the number of stories in each stage, by the name of the stage."""
        for story in self._miscounted:
            before = self._counted.pop(story, None)
            if before is not None:
                self._counts[before] -= 1
            state = self._stories.get(story)
            if state is not None:
                name = self._counted[story] = PIPELINE.state_name(state.stage)
                self._counts[name] += 1
        self._miscounted.clear()
        return +self._counts

    def executions(self, node: NodePubkey) -> Iterator[tuple[str, ExecutionView]]:
        """Yield the executions of a node, story by story."""
        for story in self._worked_on.get(node, ()):
            for view in self._stories[story].execution_views():
                if view.node == node:
                    yield story, view

    def explain(self, story: str) -> ExplainView | None:
        """Return why a story is in its stage, or ``None`` if no record names it."""
        state = self._stories.get(story)
        return state.explain() if state is not None else None

    def state(self, story: str) -> StoryState | None:
        """Return the live records of a story, or ``None`` if no record names it."""
        return self._stories.get(story)

    def holder(self, story: str, at: Instant) -> ClaimView | None:
        """Return the claim that holds a story at an instant: the lowest (since, pubkey)."""
        state = self._stories.get(story)
        if state is None:
            return None
        valid = [c for c in state.claim_views() if c.since is not None and c.stands(at)]
        return min(valid, key=lambda claim: (claim.since, claim.node), default=None)

    def dependency_path(self, begin: str, end: str) -> list[str]:
        """Return a chain of dependencies from story ``begin`` to ``end``; empty if there is none.

        Each story is visited once, because concurrent edits may create a cycle.
        """
        previous: dict[str, str | None] = {begin: None}
        left = [begin]
        while left:
            story: str | None = left.pop()
            if story == end:
                steps = []
                while story is not None:
                    steps.append(story)
                    story = previous[story]
                return steps[::-1]
            state = self.state(str(story))
            for other in (state.field("depends_on") if state is not None else None) or ():
                if other not in previous:
                    previous[other] = story
                    left.append(other)
        return []

    def unmet(self, story: str) -> list[str]:
        """Return the dependencies of a story that are neither done nor accepted.

        An abandoned dependency is not met: the story still lacks it.
        """
        state = self._stories.get(story)
        wanted = (state.field("depends_on") if state is not None else None) or ()
        return [dependency for dependency in wanted if not self._is_met(dependency)]

    def _is_met(self, story: str) -> bool:
        state = self._stories.get(story)
        if state is None:
            return False
        stage = state.stage
        return isinstance(stage, Done) or (
            isinstance(stage, Archived) and isinstance(stage.reason, StoryCompleted)
        )

    def take_touched(self, limit: int) -> list[str]:
        """Return up to ``limit`` stories with changed events or acks, each of them once."""
        found = [*islice(self._touched, limit)]
        for story in found:
            del self._touched[story]
        return found

    def unacknowledged_end(self, story: str) -> RecordRef | None:
        """Return the event that archived a story, if no other author acknowledged it.

        A blocked story may be unblocked, so it needs no ack.
        """
        state = self._stories.get(story)
        if state is None:
            return None
        stage, last = state.stage, state.last
        if last is None or not isinstance(stage, Archived) or isinstance(stage.reason, Blocked):
            return None
        return None if _is_acknowledged(state, last) else last.ref

    def canonical(self) -> bytes:
        """Return the view as canonical JSON; equal on nodes with the same live records."""
        return _ENCODER.encode({view.id: view for view in self.stories()})


def story_of(record: VerifiedRecord) -> str | None:
    """Return the story that a record is about, or ``None``."""
    body = record.body
    if isinstance(body, _OF_STORY):
        return body.story
    if isinstance(body, _BY_STORY):
        return body.key
    return None


def _is_late(record: VerifiedRecord, newest: Stamp | None) -> bool:
    if newest is None or record.body.at >= newest.at:
        return False
    return record.body.at.ms < newest.at.ms - limits.LATE_MS


def _is_acknowledged(state: StoryState, end: VerifiedRecord) -> bool:
    author: NodePubkey = end.feed.author
    acks = state.acks.get(end.record_id, {})
    return any(ack.feed.author != author for ack in acks.values())
