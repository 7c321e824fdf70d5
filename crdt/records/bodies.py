"""What a record says: one struct for each kind, read from and written in canonical form.

Takes a body's bytes from ``record.py``, gives a typed value, or ``MalformedRecord``. A body that is
not byte for byte its own canonical form is refused, which settles duplicate keys, escapes and
spellings at one stroke. Source: protocol §4.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final

import msgspec
from machines.errors import InvalidValue
from machines.execution import ExecutionEvent, ExecutionState
from machines.pipeline import PipelineEvent
from machines.values import AgentName, BranchName, Instant, Label, NodePubkey, StoryId
from msgspec import UNSET, Meta, UnsetType

from crdt.primitives import canonical_json, limits
from crdt.primitives.errors import MalformedRecord
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import (
    Clock,
    FeedId,
    Hash,
    Incarnation,
    RecordId,
    RecordRef,
    Signature,
)

Counter = Annotated[int, Meta(ge=0, le=limits.STAMP_COUNTER_MAX)]
TITLE_CHARACTERS_MAX: Final = 256
Title = Annotated[str, Meta(max_length=TITLE_CHARACTERS_MAX)]
NODE_NAME_CHARACTERS_MAX: Final = 64
NodeName = Annotated[str, Meta(max_length=NODE_NAME_CHARACTERS_MAX)]
Description = Annotated[str, Meta(max_length=4096)]


class Role(StrEnum):
    """What an admission makes of a node."""

    ADMIN = "admin"
    MEMBER = "member"
    OBSERVER = "observer"


class _Body(
    msgspec.Struct,
    frozen=True,
    gc=False,  # what never changes and names only what was there before is part of no ring
    forbid_unknown_fields=True,
    tag_field="kind",
    kw_only=True,
):
    """What every kind has: its name and its stamp."""

    at: Instant
    n: Counter

    @property
    def kind(self) -> str:
        """The kind's name."""
        return str(self.__struct_config__.tag)

    @property
    def stamp(self) -> Stamp:
        """When its author says it was written."""
        return Stamp(self.at, self.n)


class _Unkeyed(_Body, frozen=True):
    """A kind whose records supersede nothing."""

    key: ClassVar[None] = None


class Execution(_Body, frozen=True, tag="execution"):
    """What this node is doing about the story that is its key."""

    key: StoryId
    previous: ExecutionState
    event: ExecutionEvent
    state: ExecutionState


class Transition(_Unkeyed, frozen=True, tag="transition"):
    """An event in the pipeline, and the event that made the stage it acts on."""

    story: StoryId
    event: PipelineEvent
    parent: RecordRef | None


class Ack(_Unkeyed, frozen=True, tag="ack"):
    """Another node has seen the story archived by this event."""

    story: StoryId
    end: RecordRef


class Story(_Unkeyed, frozen=True, tag="story"):
    """Those of a story's fields that change."""

    story: StoryId
    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    depends_on: tuple[StoryId, ...] | UnsetType = UNSET
    labels: tuple[Label, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if isinstance(self.description, str) and len(self.description.encode()) > 4 * limits.KIB:
            raise InvalidValue("description", "at most 4 KiB")


class Claim(_Body, frozen=True, tag="claim"):
    """The node holds the story that is its key ``since`` … ``until``; or has released it."""

    key: StoryId
    since: Stamp | UnsetType = UNSET
    until: Instant | UnsetType = UNSET
    released: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.released is not UNSET:
            if self.released is not True or (self.since, self.until) != (UNSET, UNSET):
                raise InvalidValue("released", "true, and alone")
            return
        if self.since is UNSET or self.until is UNSET:
            raise InvalidValue("claim", "since and until, or released")
        if not 0 <= self.since[1] <= limits.STAMP_COUNTER_MAX or self.since > self.stamp:
            raise InvalidValue("since", "a stamp, not later than the record's own")
        if self.until.ms > self.at.ms + limits.CLAIM_MS_MAX:
            raise InvalidValue("until", "at most an hour after the stamp")


class Member(_Unkeyed, frozen=True, tag="member"):
    """A node is admitted. ``nonce`` stands in the founding record and in no other."""

    node: NodePubkey
    role: Role
    name: NodeName
    ticket: Hash | UnsetType = UNSET
    nonce: Hash | UnsetType = UNSET


class Revocation(_Unkeyed, frozen=True, tag="revocation"):
    """Admissions are withdrawn, from the clock that ``keep`` gives each incarnation."""

    node: NodePubkey
    admissions: tuple[RecordId, ...]
    keep: tuple[tuple[Incarnation, Clock], ...]

    def __post_init__(self) -> None:
        incarnations = [incarnation for incarnation, _ in self.keep]
        if any(a >= b for a, b in pairwise(incarnations)):
            raise InvalidValue("keep", "rising, each incarnation once")


class ProofSide(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One of the two signatures for a slot, and the hash of the body it stands for."""

    signature: Signature
    body_hash: Hash


class Evidence(_Body, frozen=True, tag="evidence"):
    """Two signatures that prove a fork of ``feed`` at ``clock``."""

    key: str
    feed: FeedId
    clock: Clock
    proof: tuple[ProofSide, ProofSide]

    def __post_init__(self) -> None:
        if self.key != evidence_key(self.feed):
            raise InvalidValue("key", "<pubkey>.<incarnation> of the accused")
        if self.proof[0].body_hash == self.proof[1].body_hash:
            raise InvalidValue("proof", "two different bodies")


class Seal(_Body, frozen=True, tag="seal"):
    """The feed's live records below this clock, older seals left out: how many, and their hash."""

    key: str
    count: Clock
    digest: Hash

    def __post_init__(self) -> None:
        if self.key != SEAL_KEY:
            raise InvalidValue("key", SEAL_KEY)


class Carried(msgspec.Struct, frozen=True):
    """A kind that this build does not know: carried along, folded into nothing."""

    kind: str
    at: Instant
    n: int
    key: str | None

    @property
    def stamp(self) -> Stamp:
        """When its author says it was written."""
        return Stamp(self.at, self.n)


Known = Execution | Transition | Ack | Story | Claim | Member | Revocation | Evidence | Seal
Body = Known | Carried
Statement = Member | Revocation
"""What the roster is made of."""

SEAL_KEY: Final = "feed"
KINDS: Final = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (Execution, Transition, Ack, Story, Claim, Member, Revocation, Evidence, Seal)
)
INTERNED_MAX: Final = 4096
DETAIL_CHARS_MAX: Final = 200
# Names and keys come again in record after record: the last few are kept, which is faster than to
# check them anew, and lets all records that say the same share one object.
_MAKE: Final[dict[type, Callable[[Any], object]]] = {
    NodePubkey: lru_cache(INTERNED_MAX)(NodePubkey.from_hex),
    StoryId: lru_cache(INTERNED_MAX)(StoryId),
    AgentName: lru_cache(INTERNED_MAX)(AgentName),
    Label: lru_cache(INTERNED_MAX)(Label),
    BranchName: lru_cache(INTERNED_MAX)(BranchName),
    RecordId: RecordId.from_hex,
    Hash: Hash.from_hex,
    Signature: Signature.from_hex,
}


def evidence_key(feed: FeedId) -> str:
    """The key of evidence against a feed."""
    return f"{feed.author.hex()}.{feed.incarnation}"


def _dec_hook(kind: type, value: Any) -> Any:
    return _MAKE.get(kind, kind)(value)


def _enc_hook(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


_DECODER: Final = msgspec.json.Decoder(Known, dec_hook=_dec_hook)
_ENCODER: Final = msgspec.json.Encoder(enc_hook=_enc_hook, order="sorted")


def encode_body(body: Known) -> bytes:
    """A body in canonical form.

    Raises:
        MalformedRecord: it breaks a bound that its types do not hold.
    """
    data = _ENCODER.encode(body)
    parse_body(data)
    return data


def parse_body(data: bytes) -> Body:
    """Read a body.

    Raises:
        MalformedRecord: it is not the canonical form of a record; says why.
    """
    canonical_json.check_bytes(data)
    try:
        body: Known = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        return _parse_carried(data, fault)
    if _ENCODER.encode(body) != data:
        raise MalformedRecord("not in canonical form")
    return body


def stored_body(data: bytes) -> Body:
    """Read a body from the own store, which takes none that is not canonical.

    Raises:
        MalformedRecord: it is none, since its row is damaged.
    """
    try:
        body: Known = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return parse_body(data)  # a kind that this build does not know, or damage
    return body


def _detail(fault: Exception) -> str:
    """What the parser says, which may quote the record: escaped, and not much of it."""
    return str(fault).encode("unicode_escape").decode("ascii")[:DETAIL_CHARS_MAX]


def _parse_carried(data: bytes, fault: Exception) -> Carried:
    """Read a body of a kind this build does not know.

    Raises:
        MalformedRecord: the kind is known (then ``fault`` says what is wrong), or it is not well
            formed.
    """
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as broken:
        raise MalformedRecord(f"no JSON: {broken}") from broken
    if not isinstance(raw, dict) or not isinstance(kind := raw.get("kind"), str):
        raise MalformedRecord("no object with a kind")
    if kind in KINDS:
        raise MalformedRecord(_detail(fault)) from fault
    if canonical_json.encode(raw) != data:
        raise MalformedRecord("not in canonical form")
    try:
        StoryId(kind)
        at, n = Instant(raw["at"]), raw["n"]
        key = StoryId(raw["key"]) if "key" in raw else None
    except (InvalidValue, KeyError) as broken:
        raise MalformedRecord(f"kind, at, n or key: {broken}") from broken
    if type(n) is not int or not 0 <= n <= limits.STAMP_COUNTER_MAX:
        raise MalformedRecord("n is no counter below 2^16")
    return Carried(str(kind), at, n, None if key is None else str(key))
