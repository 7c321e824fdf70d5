"""Everything live about one story: its fields, events, acks, executions and claims.

Stands between ``board.py`` and ``fold.py``. Takes live records in and out, in any order; views are
computed when asked for, and a story is folded only where its events are no path.
Source: protocol §7.
"""

from collections.abc import Iterable
from typing import Any

from machines.pipeline import Stage
from machines.values import NodePubkey
from msgspec import UNSET

from crdt import fold as folding
from crdt.bodies import Ack, Claim, Execution, Story, Transition
from crdt.fold import Fold, Lost
from crdt.identity import RecordId
from crdt.record import VerifiedRecord
from crdt.stamp import Stamp
from crdt.views import (
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
        "_fold",
        "_is_path",
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
        self.acks: dict[RecordId, VerifiedRecord] = {}
        self.fields: dict[RecordId, VerifiedRecord] = {}
        self.executions: dict[RecordId, VerifiedRecord] = {}
        self.claims: dict[RecordId, VerifiedRecord] = {}
        # Nearly every story's events are one path, which is not folded: its end says it all.
        self._is_path = True
        self._end: VerifiedRecord | None = None
        self._fold: Fold | None = None

    def add(self, record: VerifiedRecord) -> None:
        """A record about the story became live."""
        place = self._place(record)
        assert record.record_id not in place, "a record becomes live once"
        place[record.record_id] = record
        if place is self.events:
            self._is_path = self._is_path and folding.follows(record, self._end)
            self._end = record if self._is_path else None
        if place is self.events or place is self.acks:
            self._fold = None

    def remove(self, record: VerifiedRecord) -> None:
        """A record about the story is live no longer."""
        place = self._place(record)
        del place[record.record_id]
        if place is self.events:
            self._is_path, self._end = not place, None
        if place is self.events or place is self.acks:
            self._fold = None

    def __bool__(self) -> bool:
        """Whether any record names it."""
        return any((self.events, self.acks, self.fields, self.executions, self.claims))

    def _place(self, record: VerifiedRecord) -> dict[RecordId, VerifiedRecord]:
        match record.body:
            case Transition():
                return self.events
            case Ack():
                return self.acks
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
        """The story's events, weighed. Kept where they are no path."""
        if self._fold is not None:
            return self._fold
        fold = folding.fold_story(
            self.events, ((_end(record), record) for record in self.acks.values())
        )
        self._is_path = len(fold.spine) == len(self.events)
        self._end = fold.last if self._is_path else None
        self._fold = None if self._is_path else fold
        return fold

    @property
    def last(self) -> VerifiedRecord | None:
        """The last event that counts; the next one's parent."""
        return self._end if self._is_path else self.fold.last

    @property
    def stage(self) -> Stage:
        """Where it stands."""
        return folding.stage_made_by(self.last)

    @property
    def lost(self) -> list[Lost]:
        """The events that count for nothing, in order."""
        return [] if self._is_path else self.fold.lost

    def floor(self) -> Stamp | None:
        """The latest stamp of its events."""
        return max((record.stamp for record in self.events.values()), default=None)

    def field_record(self, name: str) -> VerifiedRecord | None:
        """Where a field's value stands: with the greatest (stamp, pubkey, incarnation, clock)."""
        found = (r for r in self.fields.values() if getattr(r.body, name) is not UNSET)
        return max(found, key=folding.order, default=None)

    def field(self, name: str) -> Any:
        """A field's value."""
        record = self.field_record(name)
        return getattr(record.body, name) if record is not None else None

    def execution_views(self) -> list[ExecutionView]:
        """For each node its latest execution."""
        views = []
        for record in _latest(self.executions.values()):
            body = record.body
            assert isinstance(body, Execution)
            views.append(ExecutionView(record.feed.author, body.state, record.stamp, record.ref))
        return views

    def claim_views(self) -> list[ClaimView]:
        """For each node its latest claim."""
        views = []
        for record in _latest(self.claims.values()):
            body = record.body
            assert isinstance(body, Claim)
            since = None if body.since is UNSET else body.since
            until = None if body.until is UNSET else body.until
            released = body.released is True
            views.append(ClaimView(record.feed.author, released, since, until, record.stamp))
        return views

    def view(self) -> StoryView:
        """The story as the board shows it."""
        conflicts = tuple(
            ConflictView(
                lost.record.ref,
                folding.said(lost.record).event,
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
        """Every event, its place and the weight that put it there."""
        whole = self.fold
        lost = {one.record.record_id: one for one in whole.lost}
        applied = {record.record_id for record in whole.applied}
        nodes = []
        for record in sorted(self.events.values(), key=folding.order):
            body = folding.said(record)
            loss = lost.get(record.record_id)
            place = "lost" if loss else "applied" if record.record_id in applied else "spine"
            acks = sorted(a.feed.author for a in self.acks.values() if _end(a) == record.record_id)
            nodes.append(
                NodeOfTree(
                    record.ref,
                    body.parent,
                    body.event,
                    folding.stage_made_by(record),
                    record.stamp,
                    whole.weight(record.record_id),
                    whole.behind(record.record_id),
                    place,
                    record.record_id in whole.authors,
                    loss.beaten_by if loss else None,
                    loss.why if loss else "",
                    tuple(acks),
                )
            )
        return ExplainView(self.id, whole.stage, tuple(nodes))


def _end(record: VerifiedRecord) -> RecordId:
    body = record.body
    assert isinstance(body, Ack)
    return body.end.record_id


def _latest(records: Iterable[VerifiedRecord]) -> list[VerifiedRecord]:
    """For each node the record with the latest stamp, then of the higher incarnation."""
    best: dict[NodePubkey, VerifiedRecord] = {}
    for record in records:
        known = best.get(record.feed.author)
        if known is None or _rank(record) > _rank(known):
            best[record.feed.author] = record
    return [best[node] for node in sorted(best)]


def _rank(record: VerifiedRecord) -> tuple[Stamp, int, int]:
    return record.stamp, record.feed.incarnation, record.clock
