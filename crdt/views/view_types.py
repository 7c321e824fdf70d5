"""What people and programs are shown of the board: plain frozen structs that cross JSON.

Made by ``board.py``; carried by the local API. Free text in them is as its author wrote it: who
shows it to a person escapes it.
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
    """One node's claim of a story. ``fencing`` is the claim's own stamp."""

    node: NodePubkey
    released: bool
    since: Stamp | None
    until: Instant | None
    fencing: Stamp

    def stands(self, at: Instant) -> bool:
        """Whether it is neither released nor past its end."""
        return not self.released and self.until is not None and at <= self.until


class ConflictView(msgspec.Struct, frozen=True):
    """An event that lost, and what beat it."""

    record: RecordRef
    event: PipelineEvent
    stamp: Stamp
    beaten_by: RecordRef | None
    why: str


class StoryView(msgspec.Struct, frozen=True):
    """A story as the board has it."""

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
    """One event of a story's tree, for ``explain``.

    Attributes:
        makes: the stage it leads to where it counts.
        weight: how many distinct ``authors`` of events and acks stand at or below it.
        place: spine, applied or lost.
        in_tree: it hangs below its parent; an orphan does not.
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
    """Why a story stands where it stands."""

    id: str
    stage: Stage
    events: tuple[NodeOfTree, ...]
