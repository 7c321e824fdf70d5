"""A proven fork as one small file that anyone can be sent, and checked by anyone.

Stands beside ``fork_proof.py``. The file holds the slot, both signatures, and for each side the
record's body or, where nobody held it any more, its hash; so that it needs no store, no roster and
no other node. Whoever reads one may have had it from anybody: it is bounded before it is read, and
has one form. Source: protocol §9, §17.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Self

import msgspec
from machines.codec import dec_hook
from machines.errors import InvalidValue
from machines.values import NodePubkey
from msgspec import UNSET, UnsetType

from crdt.contract.ready import ProofRow
from crdt.primitives import limits
from crdt.primitives.errors import MalformedEvidence
from crdt.primitives.identity import Clock, ClusterId, FeedId, H, Hash, Incarnation, Signature
from crdt.records.fork_proof import sides_hold
from crdt.records.signatures import Verifier

FORMAT: Final = "gangline/evidence-file/1"
DETAIL_CHARS_MAX: Final = 200
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)


class BodyBytes(bytes):
    """The bytes of a record's body, whatever they say; in JSON as lower-case hex."""

    __slots__ = ()

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read the one text form.

        Raises:
            InvalidValue: not lower-case hex, or longer than any body.
        """
        most = 2 * limits.BODY_BYTES_MAX
        if not isinstance(text, str) or len(text) > most or not _HEX.fullmatch(text):
            raise InvalidValue("a body", f"at most {most} lower-case hex digits")
        return cls(bytes.fromhex(text))


class Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the two records: its signature, and its body or the hash of that, never both."""

    signature: Signature
    body: BodyBytes | UnsetType = UNSET
    body_hash: Hash | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.body is UNSET) == (self.body_hash is UNSET):
            raise InvalidValue("a side", "its body or its body_hash, one of the two")

    @property
    def hash(self) -> bytes:
        """H(body), which is what was signed."""
        if self.body_hash is not UNSET:
            return self.body_hash
        assert self.body is not UNSET
        return H(self.body)


class EvidenceFile(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True,
    tag_field="format", tag=FORMAT,
):  # fmt: skip
    """What the file claims: this key signed two different records for one slot of this cluster."""

    cluster: Hash
    author: NodePubkey
    incarnation: Incarnation
    clock: Clock
    sides: tuple[Side, Side]

    @property
    def feed(self) -> FeedId:
        """The feed that it accuses."""
        return FeedId(self.author, self.incarnation)

    def proof(self) -> ProofRow:
        """The same without the bodies, as nodes exchange it."""
        one, other = ((bytes(side.signature), side.hash) for side in self.sides)
        return ProofRow(self.author, self.incarnation, self.clock, (one, other))


class Finding(NamedTuple):
    """What a file proves.

    Attributes:
        hold: for each side, whether its signature is the key's, for this slot of this cluster.
        differ: the two are signatures of different bodies.
    """

    hold: tuple[bool, bool]
    differ: bool

    @property
    def proven(self) -> bool:
        """Whether the key signed two different records for one slot."""
        return self.differ and all(self.hold)


def check(file: EvidenceFile, verifier: Verifier) -> Finding:
    """Check both signatures. Needs nothing but the file."""
    one, other = sides_hold(ClusterId(file.cluster), file.proof(), verifier)
    return Finding((one, other), file.sides[0].hash != file.sides[1].hash)


def evidence_file(cluster: ClusterId, proof: ProofRow, bodies: Iterable[bytes]) -> EvidenceFile:
    """Put a proof into a file.

    Args:
        bodies: what is held of the slot; the two that were signed are taken.
    """
    held = {H(body): BodyBytes(body) for body in bodies}
    one, other = (
        Side(signature=Signature(signature), body=held[body_hash])
        if body_hash in held
        else Side(signature=Signature(signature), body_hash=Hash(body_hash))
        for signature, body_hash in proof.sides
    )
    return EvidenceFile(
        cluster=Hash(cluster),
        author=NodePubkey(proof.author),
        incarnation=proof.incarnation,
        clock=proof.clock,
        sides=(one, other),
    )


def encode_evidence(file: EvidenceFile) -> bytes:
    """The bytes of a file: canonical JSON, and a newline."""
    return _ENCODER.encode(file) + b"\n"


def parse_evidence(data: bytes) -> EvidenceFile:
    """Read a file.

    Raises:
        MalformedEvidence: it is none; says why.
    """
    if len(data) > limits.EVIDENCE_FILE_BYTES_MAX:
        raise MalformedEvidence(f"longer than {limits.EVIDENCE_FILE_BYTES_MAX} bytes")
    text = data.removesuffix(b"\n")
    try:
        file = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise MalformedEvidence(f"no evidence file: {_detail(fault)}") from fault
    if _ENCODER.encode(file) != text:
        raise MalformedEvidence("no evidence file: not in canonical form")
    return file


def _detail(fault: Exception) -> str:
    """What the parser says, which may quote the file: not much of it."""
    return str(fault).encode("unicode_escape").decode("ascii")[:DETAIL_CHARS_MAX]


def _dec_hook(kind: Any, value: Any) -> Any:
    if kind in (BodyBytes, Hash, Signature):
        return kind.from_hex(value)
    return dec_hook(kind, value)


_DECODER: Final = msgspec.json.Decoder(EvidenceFile, dec_hook=_dec_hook)
_ENCODER: Final = msgspec.json.Encoder(enc_hook=lambda value: value.hex(), order="sorted")
