"""The bodies of records: a struct for each kind, with its canonical JSON form.

A body whose bytes differ from its canonical form is malformed. This one rule covers duplicate keys,
escapes and alternative spellings. Source: protocol §4.
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
    """The role that an admission gives a node."""

    ADMIN = "admin"
    MEMBER = "member"
    OBSERVER = "observer"


class _Body(
    msgspec.Struct,
    frozen=True,
    gc=False,  # immutable, and refers to older objects only: never part of a cycle
    forbid_unknown_fields=True,
    tag_field="kind",
    kw_only=True,
):
    """The fields of every kind."""

    at: Instant
    n: Counter

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return str(self.__struct_config__.tag)

    @property
    def stamp(self) -> Stamp:
        """When it was written, according to its author."""
        return Stamp(self.at, self.n)


class _Unkeyed(_Body, frozen=True):
    """A kind without a key: its records supersede nothing."""

    key: ClassVar[None] = None


class Execution(_Body, frozen=True, tag="execution"):
    """What its author is doing about the story ``key``."""

    key: StoryId
    previous: ExecutionState
    event: ExecutionEvent
    state: ExecutionState


class Transition(_Unkeyed, frozen=True, tag="transition"):
    """A pipeline event, and its parent: the event that led to the stage it acts on."""

    story: StoryId
    event: PipelineEvent
    parent: RecordRef | None


class Ack(_Unkeyed, frozen=True, tag="ack"):
    """A node has seen that the event ``end`` archived the story."""

    story: StoryId
    end: RecordRef


class Story(_Unkeyed, frozen=True, tag="story"):
    """New values for some fields of a story."""

    story: StoryId
    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    depends_on: tuple[StoryId, ...] | UnsetType = UNSET
    labels: tuple[Label, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if isinstance(self.description, str) and len(self.description.encode()) > 4 * limits.KIB:
            raise InvalidValue("description", "at most 4 KiB")


class Claim(_Body, frozen=True, tag="claim"):
    """Its author claims the story ``key`` from ``since`` until ``until``, or has released it."""

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
    """Admits ``node``. Only the founding record has a ``nonce``."""

    node: NodePubkey
    role: Role
    name: NodeName
    ticket: Hash | UnsetType = UNSET
    nonce: Hash | UnsetType = UNSET


class Revocation(_Unkeyed, frozen=True, tag="revocation"):
    """Withdraws admissions of ``node``, for each incarnation from the clock in ``keep``."""

    node: NodePubkey
    admissions: tuple[RecordId, ...]
    keep: tuple[tuple[Incarnation, Clock], ...]

    def __post_init__(self) -> None:
        incarnations = [incarnation for incarnation, _ in self.keep]
        if any(a >= b for a, b in pairwise(incarnations)):
            raise InvalidValue("keep", "rising, each incarnation once")


class ProofSide(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One of two signatures for a slot, and H of the signed body."""

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
    """Count and hash of the live records of the feed below this clock, without older seals."""

    key: str
    count: Clock
    digest: Hash

    def __post_init__(self) -> None:
        if self.key != SEAL_KEY:
            raise InvalidValue("key", SEAL_KEY)


class Carried(msgspec.Struct, frozen=True):
    """A record of an unknown kind: stored and forwarded, but not folded into a view."""

    kind: str
    at: Instant
    n: int
    key: str | None

    @property
    def stamp(self) -> Stamp:
        """When it was written, according to its author."""
        return Stamp(self.at, self.n)


Known = Execution | Transition | Ack | Story | Claim | Member | Revocation | Evidence | Seal
Body = Known | Carried
Statement = Member | Revocation
"""The kinds that the roster is computed from."""

SEAL_KEY: Final = "feed"
KINDS: Final = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (Execution, Transition, Ack, Story, Claim, Member, Revocation, Evidence, Seal)
)
INTERNED_MAX: Final = 4096
DETAIL_CHARS_MAX: Final = 200
# Names and keys repeat from record to record. Caching the latest is faster than checking them
# again, and records with the same value share one object.
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
    """Return the ``key`` of evidence against a feed."""
    return f"{feed.author.hex()}.{feed.incarnation}"


def _dec_hook(kind: type, value: Any) -> Any:
    return _MAKE.get(kind, kind)(value)


def _enc_hook(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


_DECODER: Final = msgspec.json.Decoder(Known, dec_hook=_dec_hook)
_ENCODER: Final = msgspec.json.Encoder(enc_hook=_enc_hook, order="sorted")


def encode_body(body: Known) -> bytes:
    """Encode a body in canonical form.

    Raises:
        MalformedRecord: it exceeds a limit that its types do not check.
    """
    data = _ENCODER.encode(body)
    parse_body(data)
    return data


def parse_body(data: bytes) -> Body:
    """Decode a body from a peer.

    >>> body = parse_body(
    ...     b'{"at":"2026-01-01T12:00:00.000Z","kind":"story","n":0,"story":"s-1","title":"Add"}'
    ... )
    >>> body.kind, body.story, body.title
    ('story', 's-1', 'Add')

    Raises:
        MalformedRecord: it is not the canonical form of a record.
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
    """Decode a body from our own store, which holds canonical bodies only.

    Raises:
        MalformedRecord: the row is damaged.
    """
    try:
        body: Known = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return parse_body(data)  # an unknown kind, or damage
    return body


def _detail(fault: Exception) -> str:
    """Return the message of the parser, escaped and shortened: it may quote the record."""
    return str(fault).encode("unicode_escape").decode("ascii")[:DETAIL_CHARS_MAX]


def _parse_carried(data: bytes, fault: Exception) -> Carried:
    """Decode a body of an unknown kind.

    Raises:
        MalformedRecord: the kind is known (then because of ``fault``), or the body is malformed.
    """
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as broken:
        raise MalformedRecord(f"not JSON: {broken}") from broken
    if not isinstance(raw, dict) or not isinstance(kind := raw.get("kind"), str):
        raise MalformedRecord("not an object with a kind")
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
        raise MalformedRecord("n is not an integer from 0 to 2^16 - 1")
    return Carried(str(kind), at, n, None if key is None else str(key))
