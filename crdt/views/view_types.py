"""The types of the board's views, as returned by the local API in JSON.

Free text is as its author wrote it; escape it before it is shown to a person.
"""

import msgspec
from machines.execution import ExecutionState
from machines.pipeline import PipelineEvent, Stage
from machines.values import Instant, NodePubkey

from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import RecordRef


class ExecutionView(msgspec.Struct, frozen=True):
    """What one node is doing about a story."""

    node: NodePubkey
    state: ExecutionState
    stamp: Stamp
    record: RecordRef


class ClaimView(msgspec.Struct, frozen=True):
    """The claim of a story by one node. ``fencing`` is the stamp of the claim."""

    node: NodePubkey
    released: bool
    since: Stamp | None
    until: Instant | None
    fencing: Stamp

    def stands(self, at: Instant) -> bool:
        """Whether the claim is neither released nor expired."""
        return not self.released and self.until is not None and at <= self.until


class ConflictView(msgspec.Struct, frozen=True):
    """An event that lost, and what beat it."""

    record: RecordRef
    event: PipelineEvent
    stamp: Stamp
    beaten_by: RecordRef | None
    why: str


class StoryView(msgspec.Struct, frozen=True):
    """A story on the board."""

    id: str
    title: str | None
    description: str | None
    depends_on: tuple[str, ...]
    labels: tuple[str, ...]
    stage: Stage
    last: RecordRef | None
    executions: tuple[ExecutionView, ...]
    claims: tuple[ClaimView, ...]
    conflicts: tuple[ConflictView, ...]


class NodeOfTree(msgspec.Struct, frozen=True):
    """One event of the tree of a story.

    Attributes:
        makes: the stage that it leads to.
        weight: the number of ``authors``: distinct authors of events and acks at or below it.
        place: ``spine``, ``applied`` or ``lost``.
        in_tree: whether it is attached to its parent; an orphan is not.
    """

    record: RecordRef
    parent: RecordRef | None
    event: PipelineEvent
    makes: Stage
    stamp: Stamp
    weight: int
    authors: tuple[NodePubkey, ...]
    place: str
    in_tree: bool
    beaten_by: RecordRef | None
    why: str
    acks: tuple[NodePubkey, ...]


class ExplainView(msgspec.Struct, frozen=True):
    """Why a story is in its stage."""

    id: str
    stage: Stage
    events: tuple[NodeOfTree, ...]
