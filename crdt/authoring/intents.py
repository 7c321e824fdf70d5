"""Intents: what local callers, and the replica itself, may ask the replica to write.

The types check the values. The replica checks the rules, and either writes a record or raises
``ProposalRefused``.
"""

import msgspec
from machines.execution import ExecutionEvent
from machines.pipeline import PipelineEvent
from machines.values import FreeText, Label, NodePubkey, StoryId

from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.bodies import Role
from crdt.records.record import VerifiedRecord


class AddStory(msgspec.Struct, frozen=True):
    """Add a story. Refused if the story exists."""

    story: StoryId
    title: FreeText | None = None
    description: FreeText | None = None
    depends_on: tuple[StoryId, ...] | None = None
    labels: tuple[Label, ...] | None = None


class EditStory(msgspec.Struct, frozen=True):
    """Change some fields of a story; ``None`` leaves a field as it is."""

    story: StoryId
    title: FreeText | None = None
    description: FreeText | None = None
    depends_on: tuple[StoryId, ...] | None = None
    labels: tuple[Label, ...] | None = None


class FireEvent(msgspec.Struct, frozen=True):
    """Fire a pipeline event at a story. ``force`` ignores dependencies that are not done."""

    story: StoryId
    event: PipelineEvent
    force: bool = False


class FireExecution(msgspec.Struct, frozen=True):
    """Fire an event at this node's execution of a story."""

    story: StoryId
    event: ExecutionEvent


class ClaimStory(msgspec.Struct, frozen=True):
    """Claim a story, or renew the claim, for ``seconds`` (at most 3,600)."""

    story: StoryId
    seconds: int


class ReleaseClaim(msgspec.Struct, frozen=True):
    """Release this node's claim of a story."""

    story: StoryId


class AdmitNode(msgspec.Struct, frozen=True):
    """Write a ``member`` record: admit a node, rename it, or change its role."""

    node: NodePubkey
    role: Role
    name: FreeText
    ticket: bytes | None = None


class RevokeNode(msgspec.Struct, frozen=True):
    """Withdraw admissions of a node.

    Attributes:
        keep: (incarnation, first clock taken), rising; incarnations not listed are taken whole.
            ``None`` keeps all records of the node that this node has.
        admissions: the admissions to withdraw; ``None`` for all that this node may withdraw.
    """

    node: NodePubkey
    keep: tuple[tuple[int, int], ...] | None = None
    admissions: tuple[RecordId, ...] | None = None


class AcknowledgeEnd(msgspec.Struct, frozen=True):
    """Write an ``ack`` of the event that archived a story (protocol §7)."""

    story: StoryId


class WriteSeal(msgspec.Struct, frozen=True):
    """Seal our feed, unless its last record is a seal."""


class AccuseFork(msgspec.Struct, frozen=True):
    """Write an ``evidence`` record for a known fork proof (protocol §9)."""

    feed: FeedId
    clock: int


class WriteAgain(msgspec.Struct, frozen=True):
    """Reissue one of our records that no longer counts (protocol §9)."""

    record: VerifiedRecord


Intent = (
    AddStory
    | EditStory
    | FireEvent
    | FireExecution
    | ClaimStory
    | ReleaseClaim
    | AdmitNode
    | RevokeNode
    | AcknowledgeEnd
    | WriteSeal
    | AccuseFork
)


class Receipt(msgspec.Struct, frozen=True):
    """The slot and id of the record that an intent wrote."""

    author: NodePubkey
    incarnation: int
    clock: int
    record_id: RecordId
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> RecordRef:
        """A reference to the record."""
        return RecordRef(self.author, self.incarnation, self.clock, self.record_id)
