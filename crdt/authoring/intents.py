"""What a local caller may ask of the replica, each a small frozen value.

Stands before the line: ``node/api`` and ``node/client/exec_runner.py`` build these,
``Replica.propose`` turns each into records of the own feed or refuses it with ``ProposalRefused``.
Values are checked by the types; whether the rules allow them is the replica's question.
"""

import msgspec
from machines.execution import ExecutionEvent
from machines.pipeline import PipelineEvent
from machines.values import FreeText, Label, NodePubkey, StoryId

from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.bodies import Role
from crdt.records.record import VerifiedRecord


class AddStory(msgspec.Struct, frozen=True):
    """Name a new story. Refused where the story exists already."""

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
    """Fire a pipeline event at a story. ``force`` passes over dependencies that are not done."""

    story: StoryId
    event: PipelineEvent
    force: bool = False


class FireExecution(msgspec.Struct, frozen=True):
    """Fire an execution event at this node's own execution of a story."""

    story: StoryId
    event: ExecutionEvent


class ClaimStory(msgspec.Struct, frozen=True):
    """Take or renew this node's claim of a story for ``seconds`` (at most an hour)."""

    story: StoryId
    seconds: int


class ReleaseClaim(msgspec.Struct, frozen=True):
    """Give this node's claim of a story back."""

    story: StoryId


class AdmitNode(msgspec.Struct, frozen=True):
    """Write a ``member`` record: admit a node, name it anew, or give it another role."""

    node: NodePubkey
    role: Role
    name: FreeText
    ticket: bytes | None = None


class RevokeNode(msgspec.Struct, frozen=True):
    """Withdraw admissions of a node, as far as this node may.

    Attributes:
        keep: per incarnation the first clock taken, rising; what it does not list is taken whole.
            ``None``: what the node wrote up to now, as far as this node holds it, is kept.
        admissions: which to withdraw; ``None``: every one that this node may.
    """

    node: NodePubkey
    keep: tuple[tuple[int, int], ...] | None = None
    admissions: tuple[RecordId, ...] | None = None


class AcknowledgeEnd(msgspec.Struct, frozen=True):
    """Write an ``ack`` of the event that archived a story (protocol §7); asked by ``tick``."""

    story: StoryId


class WriteSeal(msgspec.Struct, frozen=True):
    """Seal the own feed, unless its last record is a seal."""


class AccuseFork(msgspec.Struct, frozen=True):
    """Write down the proof of a fork that no uncut feed shows yet."""

    feed: FeedId
    clock: int


class WriteAgain(msgspec.Struct, frozen=True):
    """Say anew what a record of the own node said that counts nowhere now; asked by ``tick``."""

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
    """What a proposal wrote: where the record stands, for ``--wait-for`` and for the answer."""

    author: NodePubkey
    incarnation: int
    clock: int
    record_id: RecordId
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> RecordRef:
        """Where the record stands."""
        return RecordRef(self.author, self.incarnation, self.clock, self.record_id)
