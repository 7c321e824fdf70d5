"""The live records of one story: its fields, events, acks, executions and claims.

Records are added and removed in any order. Views are computed on demand; a story is folded only if
its events are not a single path. Source: protocol §7.
"""

from collections.abc import Iterable
from typing import Any

from machines.pipeline import Stage
from machines.values import NodePubkey
from msgspec import UNSET

from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import RecordId
from crdt.records.bodies import Ack, Claim, Execution, Story, Transition
from crdt.records.record import VerifiedRecord
from crdt.views.event_tree import extends, order, stage_made_by, transition_of
from crdt.views.fold import Fold, Lost
from crdt.views.view_types import (
    ClaimView,
    ConflictView,
    ExecutionView,
    ExplainView,
    NodeOfTree,
    StoryView,
)

FIELDS = ("title", "description", "depends_on", "labels")


class StoryState:
    """One story."""

    __slots__ = (
        "_end",
        "_floor",
        "_fold",
        "_is_path",
        "_latest",
        "_lost_before",
        "acks",
        "claims",
        "events",
        "executions",
        "fields",
        "id",
    )

    def __init__(self, story: str) -> None:
        self.id = story
        self.events: dict[RecordId, VerifiedRecord] = {}
        self.acks: dict[RecordId, dict[RecordId, VerifiedRecord]] = {}  # by the event they name
        self.fields: dict[RecordId, VerifiedRecord] = {}
        self.executions: dict[RecordId, VerifiedRecord] = {}
        self.claims: dict[RecordId, VerifiedRecord] = {}
        # The events of nearly every story are one path, whose end determines the stage.
        self._is_path = True
        self._end: VerifiedRecord | None = None
        self._fold: Fold | None = None
        self._lost_before: set[RecordId] | None = None
        self._floor: Stamp | None = None
        self._latest: dict[str, VerifiedRecord | None] = {}

    def add(self, record: VerifiedRecord) -> None:
        """Add a record that became live."""
        place = self._place(record)
        assert record.record_id not in place, "a record becomes live once"
        place[record.record_id] = record
        match record.body:
            case Transition():
                self._is_path = self._is_path and extends(record, self._end)
                self._end = record if self._is_path else None
                if self._floor is not None:
                    self._floor = max(self._floor, record.stamp)
                if self._fold is not None:
                    self._fold.add(record)
            case Ack(end=end):
                if self._fold is not None:
                    self._fold.acknowledge(end.record_id, record.feed.author)
            case Story():
                for name, latest in self._latest.items():
                    if _sets(record, name) and (latest is None or order(record) > order(latest)):
                        self._latest[name] = record

    def remove(self, record: VerifiedRecord) -> None:
        """Remove a record that is no longer live."""
        place = self._place(record)
        del place[record.record_id]
        match record.body:
            case Transition():
                self._is_path, self._end, self._floor = not place, None, None
                self._drop_fold()
            case Ack(end=end):
                if not place:
                    del self.acks[end.record_id]
                self._drop_fold()
            case Story():
                self._latest.clear()

    def _drop_fold(self) -> None:
        """Drop the fold after a removal, which may lower weights; keep which events had lost."""
        if self._lost_before is None:
            self._lost_before = set() if self._fold is None else self._fold.lost_at_mark()
        self._fold = None

    def __bool__(self) -> bool:
        """Whether any record names the story."""
        return any((self.events, self.acks, self.fields, self.executions, self.claims))

    def _place(self, record: VerifiedRecord) -> dict[RecordId, VerifiedRecord]:
        match record.body:
            case Transition():
                return self.events
            case Ack():
                return self.acks.setdefault(record.body.end.record_id, {})
            case Story():
                return self.fields
            case Execution():
                return self.executions
            case _:
                assert isinstance(record.body, Claim)
                return self.claims

    # --- views ---------------------------------------------------------------------------------

    @property
    def fold(self) -> Fold:
        """The fold of the events. Kept unless they are a single path."""
        if self._fold is not None:
            return self._fold
        fold = Fold(self.events, self.acks)
        self._is_path = len(fold.spine) == len(self.events)
        self._end = fold.last if self._is_path else None
        self._fold = None if self._is_path else fold
        return fold

    def mark(self) -> None:
        """Start a new period for ``fresh_losses``."""
        if not self._is_path:
            self.fold.mark()
        self._lost_before = None

    def fresh_losses(self, limit: int) -> list[Lost]:
        """Return the first ``limit`` events, in order, that lost since ``mark``."""
        if self._lost_before is None:
            return [] if self._is_path else self.fold.fallen(limit)
        before = self._lost_before
        return [lost for lost in self.lost if lost.record.record_id not in before][:limit]

    @property
    def last(self) -> VerifiedRecord | None:
        """The last event that counts; the parent of the next one."""
        return self._end if self._is_path else self.fold.last

    @property
    def stage(self) -> Stage:
        """The stage of the story."""
        return stage_made_by(self.last)

    @property
    def lost(self) -> list[Lost]:
        """The events that do not count, in order."""
        return [] if self._is_path else self.fold.lost

    def floor(self) -> Stamp | None:
        """Return the latest stamp of the events, or ``None``."""
        if self._floor is None and self.events:
            self._floor = max(record.stamp for record in self.events.values())
        return self._floor

    def field_record(self, name: str) -> VerifiedRecord | None:
        """Return the record that sets a field: greatest (stamp, pubkey, incarnation, clock)."""
        if name not in self._latest:
            found = (record for record in self.fields.values() if _sets(record, name))
            self._latest[name] = max(found, key=order, default=None)
        return self._latest[name]

    def field(self, name: str) -> Any:
        """Return the value of a field, or ``None``."""
        record = self.field_record(name)
        return getattr(record.body, name) if record is not None else None

    def execution_views(self) -> list[ExecutionView]:
        """Return the latest execution of each node."""
        views = []
        for record in _latest_of_each(self.executions.values()):
            body = record.body
            assert isinstance(body, Execution)
            views.append(ExecutionView(record.feed.author, body.state, record.stamp, record.ref))
        return views

    def claim_views(self) -> list[ClaimView]:
        """Return the latest claim of each node."""
        views = []
        for record in _latest_of_each(self.claims.values()):
            body = record.body
            assert isinstance(body, Claim)
            since = None if body.since is UNSET else body.since
            until = None if body.until is UNSET else body.until
            released = body.released is True
            views.append(ClaimView(record.feed.author, released, since, until, record.stamp))
        return views

    def view(self) -> StoryView:
        """Return the story as the board shows it."""
        conflicts = tuple(
            ConflictView(
                lost.record.ref,
                transition_of(lost.record).event,
                lost.record.stamp,
                lost.beaten_by,
                lost.why,
            )
            for lost in self.lost
        )
        title, description = self.field("title"), self.field("description")
        return StoryView(
            id=self.id,
            title=title,
            description=description,
            depends_on=tuple(self.field("depends_on") or ()),
            labels=tuple(self.field("labels") or ()),
            stage=self.stage,
            last=self.last.ref if self.last is not None else None,
            executions=tuple(self.execution_views()),
            claims=tuple(self.claim_views()),
            conflicts=conflicts,
        )

    def explain(self) -> ExplainView:
        """Return all events with their place and weight."""
        whole = self.fold
        lost = {one.record.record_id: one for one in whole.lost}
        applied, tree = {record.record_id for record in whole.applied}, whole.tree
        nodes = []
        for record in sorted(self.events.values(), key=order):
            body = transition_of(record)
            loss = lost.get(record.record_id)
            place = "lost" if loss else "applied" if record.record_id in applied else "spine"
            acks = sorted(a.feed.author for a in self.acks.get(record.record_id, {}).values())
            nodes.append(
                NodeOfTree(
                    record.ref,
                    body.parent,
                    body.event,
                    stage_made_by(record),
                    record.stamp,
                    tree.weight(record.record_id),
                    tree.authors_of(record.record_id),
                    place,
                    record.record_id in tree.authors,
                    loss.beaten_by if loss else None,
                    loss.why if loss else "",
                    tuple(acks),
                )
            )
        return ExplainView(self.id, whole.stage, tuple(nodes))


def _sets(record: VerifiedRecord, field: str) -> bool:
    return getattr(record.body, field) is not UNSET


def _latest_of_each(records: Iterable[VerifiedRecord]) -> list[VerifiedRecord]:
    """Return for each node the record with the latest stamp, then the higher incarnation."""
    best: dict[NodePubkey, VerifiedRecord] = {}
    for record in records:
        known = best.get(record.feed.author)
        if known is None or _rank(record) > _rank(known):
            best[record.feed.author] = record
    return [best[node] for node in sorted(best)]


def _rank(record: VerifiedRecord) -> tuple[Stamp, int, int]:
    return record.stamp, record.feed.incarnation, record.clock
