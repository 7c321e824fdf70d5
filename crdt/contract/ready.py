"""What the core hands back: what to persist, reply, publish, quarantine and observe, in that order.

Stands at the end of the line: takes nothing, is filled by ``ledger.py``, ``responder.py`` and
``replica.py``, and is carried out by ``node/runtime/driver.py``. Persist comes BEFORE reply and
publish: nothing that leaves the process may rest on what is not on disk (protocol §11).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import msgspec
from machines.kernel import Action
from machines.pipeline import Stage
from machines.values import Instant, NodePubkey

from crdt.primitives.errors import Reason
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId, RecordId, RecordRef


class Now(NamedTuple):
    """The time, handed in: the wall clock for stamps, the monotonic one (seconds) for waiting."""

    wall: Instant
    mono: float


class Row(NamedTuple):
    """One record as it is stored."""

    author: NodePubkey
    incarnation: int
    clock: int
    record_id: RecordId
    value: bytes


RowKey = RecordRef
"""Which row: that of the record."""


class ProofRow(NamedTuple):
    """A proven fork: the slot, and twice (signature, H(body)). Never forgotten."""

    author: NodePubkey
    incarnation: int
    clock: int
    sides: tuple[tuple[bytes, bytes], tuple[bytes, bytes]]


class OwnEnd(NamedTuple):
    """How far a node has written in its own feed: no lower clock of it is ever written again."""

    author: NodePubkey
    incarnation: int
    clock: int
    """The next clock to write."""


class Quarantined(NamedTuple):
    """Bytes that were rejected or refused, kept with their reason.

    ``peer`` brought them (``None``: they came from the own store); the slot is what they claim.
    """

    peer: NodePubkey | None
    feed: FeedId | None
    clock: int | None
    record_id: RecordId | None
    reason: Reason
    detail: str
    value: bytes


class Outgoing(NamedTuple):
    """One encoded frame and the peers it goes to.

    ``goes_on``: once it is out, ``Replica.go_on`` may have more to say.
    """

    peers: tuple[NodePubkey, ...]
    data: bytes
    goes_on: bool = False


@dataclass(slots=True)
class Persist:
    """What one transaction writes."""

    rows: dict[RowKey, Row | None] = field(default_factory=dict)
    """What each row touched must be at the end: written, or gone."""
    proofs: list[ProofRow] = field(default_factory=list)
    rendered: dict[FeedId, int] = field(default_factory=dict)
    """Per feed the clock below which every slot without a row is known to be empty."""
    incarnation: int | None = None
    """The own incarnation, where it changed."""
    doubt: str | None = None
    """Why the own feed cannot be gone on in, where that changed; empty where it can."""
    own_end: OwnEnd | None = None
    """Goes with the own record that it counts, in one transaction."""
    reissue_done: list[RecordId] = field(default_factory=list)
    """Own records that count nowhere and were written again, or reported."""
    addresses: dict[NodePubkey, tuple[str, ...]] = field(default_factory=dict)

    def add(self, later: "Persist") -> None:
        """Take in what a later step writes, so that one transaction does for both."""
        self.rows |= later.rows
        self.proofs += later.proofs
        self.rendered |= later.rendered
        self.addresses |= later.addresses
        self.reissue_done += later.reissue_done
        if later.incarnation is not None:
            self.incarnation = later.incarnation
        if later.doubt is not None:
            self.doubt = later.doubt
        if later.own_end is not None:
            self.own_end = later.own_end

    def __bool__(self) -> bool:
        return bool(
            self.rows
            or self.proofs
            or self.rendered
            or self.addresses
            or self.reissue_done
            or self.incarnation is not None
            or self.doubt is not None
            or self.own_end is not None
        )


class StageMoved(msgspec.Struct, frozen=True, tag_field="type", tag="stage_moved"):
    """A story stands at another stage than before. ``late``: by a back-dated event."""

    story: str
    before: Stage
    after: Stage
    record: RecordRef | None
    event: str
    actions: tuple[Action, ...]
    late: bool
    own: bool


class EventLost(msgspec.Struct, frozen=True, tag_field="type", tag="event_lost"):
    """An event was merged, but a concurrent one beat it."""

    story: str
    record: RecordRef
    event: str
    beaten_by: RecordRef | None
    why: str


class ExecutionMoved(msgspec.Struct, frozen=True, tag_field="type", tag="execution_moved"):
    """A node's execution of a story changed."""

    story: str
    node: NodePubkey
    event: str
    state: str
    record: RecordRef
    own: bool


class ClaimMoved(msgspec.Struct, frozen=True, tag_field="type", tag="claim_moved"):
    """Another node holds a story's claim now than before (``None``: nobody)."""

    story: str
    before: NodePubkey | None
    holder: NodePubkey | None
    lost_by_us: bool


class RecordAdmitted(msgspec.Struct, frozen=True, tag_field="type", tag="record_admitted"):
    """A record of a kind that moves no machine was admitted."""

    record: RecordRef
    kind: str
    own: bool


class RecordRejected(msgspec.Struct, frozen=True, tag_field="type", tag="record_rejected"):
    """A record with a true signature breaks the rules; its slot stays empty."""

    record: RecordRef
    reason: Reason
    detail: str
    peer: NodePubkey | None


class ForkProven(msgspec.Struct, frozen=True, tag_field="type", tag="fork_proven"):
    """An author signed two records for one slot; its feed is cut there."""

    author: NodePubkey
    incarnation: int
    clock: int


class RosterChange(msgspec.Struct, frozen=True):
    """How a node stands on the roster, and how it stood before.

    Attributes:
        role: ``revoked`` where no admission stands, empty where there never was one.
        by: whose word it is; ``None`` where it is that of several.
    """

    node: NodePubkey
    name: str
    role: str
    before_name: str
    before_role: str
    by: NodePubkey | None


class RosterMoved(msgspec.Struct, frozen=True, tag_field="type", tag="roster_moved"):
    """These nodes' standing changed."""

    changes: tuple[RosterChange, ...]


class PeerFaulted(msgspec.Struct, frozen=True, tag_field="type", tag="peer_faulted"):
    """A peer sent what no honest node forwards; its link is dropped."""

    peer: NodePubkey
    reason: Reason
    detail: str


class IncarnationOpened(msgspec.Struct, frozen=True, tag_field="type", tag="incarnation_opened"):
    """This node goes on in a new feed."""

    incarnation: int
    why: str


class PetitionAnswered(msgspec.Struct, frozen=True, tag_field="type", tag="petition_answered"):
    """A peer said what became of a petition of this node."""

    peer: NodePubkey
    nonce: bytes
    word: str


class NoticeKind(StrEnum):
    """What an operator is told of by ``Noticed``."""

    CLOCK = "clock"
    FLOOD = "flood"
    SEAL = "seal"
    STORE_REBUILT = "store_rebuilt"
    TWIN = "twin"
    WRITTEN_AGAIN = "written_again"


class Noticed(msgspec.Struct, frozen=True, tag_field="type", tag="noticed"):
    """Something worth telling the operator that changes no verdict.

    Attributes:
        what: a ``NoticeKind``; typed as text, since later versions may add kinds.
    """

    what: str
    detail: str
    node: NodePubkey | None = None
    stamp: Stamp | None = None


Observation = (
    StageMoved
    | EventLost
    | ExecutionMoved
    | ClaimMoved
    | RecordAdmitted
    | RecordRejected
    | ForkProven
    | RosterMoved
    | PeerFaulted
    | IncarnationOpened
    | Noticed
    | PetitionAnswered
)


@dataclass(slots=True)
class Ready:
    """Instructions for the shell. Carry them out in the order of the fields.

    Attributes:
        persist: goes to stable storage BEFORE anything below leaves the process.
        reply: frames for the peer that asked.
        publish: frames for peers that did not ask.
        quarantine: what was rejected or refused, with its reason.
        observe: what happened, for the bus, the log and the counters.
        fault: the peer whose link must be dropped, with the reason.
        damage: what in the store is not as it was written; empty if all of it is.
    """

    persist: Persist = field(default_factory=Persist)
    reply: list[Outgoing] = field(default_factory=list)
    publish: list[Outgoing] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    observe: list[Observation] = field(default_factory=list)
    fault: PeerFaulted | None = None
    damage: str = ""

    def send(self, peers: Sequence[NodePubkey], data: bytes) -> None:
        """Publish one frame to some peers."""
        if peers:
            self.publish.append(Outgoing(tuple(peers), data))
