"""A proven fork as a small file that anyone can check without a store, a roster or a node.

The file holds the slot, both signatures, and for each side the body or, if it is gone, its hash. A
file may come from anywhere, so its size is limited and it has one canonical form. Source: protocol
§9, §17.
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
from crdt.records.fork_proof import valid_sides
from crdt.records.signatures import Verifier

FORMAT: Final = "gangline/evidence-file/1"
DETAIL_CHARS_MAX: Final = 200
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)


class BodyBytes(bytes):
    """The unparsed bytes of a body; in JSON lower-case hex."""

    __slots__ = ()

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Decode lower-case hex.

        Raises:
            InvalidValue: not lower-case hex, or longer than any body.
        """
        limit = 2 * limits.BODY_BYTES_MAX
        if not isinstance(text, str) or len(text) > limit or not _HEX.fullmatch(text):
            raise InvalidValue("a body", f"at most {limit} lower-case hex digits")
        return cls(bytes.fromhex(text))


class Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the two records: its signature, and either its body or the hash of its body."""

    signature: Signature
    body: BodyBytes | UnsetType = UNSET
    body_hash: Hash | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.body is UNSET) == (self.body_hash is UNSET):
            raise InvalidValue("a side", "either body or body_hash")

    @property
    def hash(self) -> bytes:
        """H(body), which is signed."""
        if self.body_hash is not UNSET:
            return self.body_hash
        assert self.body is not UNSET
        return H(self.body)


class EvidenceFile(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True,
    tag_field="format", tag=FORMAT,
):  # fmt: skip
    """The claim that ``author`` signed two different records for one slot of ``cluster``."""

    cluster: Hash
    author: NodePubkey
    incarnation: Incarnation
    clock: Clock
    sides: tuple[Side, Side]

    @property
    def feed(self) -> FeedId:
        """The accused feed."""
        return FeedId(self.author, self.incarnation)

    def proof(self) -> ProofRow:
        """Return the claim without the bodies, as nodes exchange it."""
        one, other = ((bytes(side.signature), side.hash) for side in self.sides)
        return ProofRow(self.author, self.incarnation, self.clock, (one, other))


class Finding(NamedTuple):
    """The result of checking an evidence file.

    Attributes:
        hold: for each side, whether its signature is valid for the key, the slot and the cluster.
        differ: whether the two bodies differ.
    """

    hold: tuple[bool, bool]
    differ: bool

    @property
    def proven(self) -> bool:
        """Whether the key signed two different records for one slot."""
        return self.differ and all(self.hold)


def check(file: EvidenceFile, verifier: Verifier) -> Finding:
    """Check both signatures; only the file is needed."""
    one, other = valid_sides(ClusterId(file.cluster), file.proof(), verifier)
    return Finding((one, other), file.sides[0].hash != file.sides[1].hash)


def evidence_file(cluster: ClusterId, proof: ProofRow, bodies: Iterable[bytes]) -> EvidenceFile:
    """Make a file from a proof.

    Args:
        bodies: the known bodies of the slot; only those named in the proof are used.
    """
    known = {H(body): BodyBytes(body) for body in bodies}
    one, other = (
        Side(signature=Signature(signature), body=known[body_hash])
        if body_hash in known
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
    """Encode a file: canonical JSON and a newline."""
    return _ENCODER.encode(file) + b"\n"


def parse_evidence(data: bytes) -> EvidenceFile:
    """Decode a file.

    Raises:
        MalformedEvidence: it is not an evidence file.
    """
    if len(data) > limits.EVIDENCE_FILE_BYTES_MAX:
        raise MalformedEvidence(f"longer than {limits.EVIDENCE_FILE_BYTES_MAX} bytes")
    text = data.removesuffix(b"\n")
    try:
        file = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise MalformedEvidence(f"not an evidence file: {_detail(fault)}") from fault
    if _ENCODER.encode(file) != text:
        raise MalformedEvidence("not an evidence file: not in canonical form")
    return file


def _detail(fault: Exception) -> str:
    """Return the message of the parser, escaped and shortened: it may quote the file."""
    return str(fault).encode("unicode_escape").decode("ascii")[:DETAIL_CHARS_MAX]


def _dec_hook(kind: Any, value: Any) -> Any:
    if kind in (BodyBytes, Hash, Signature):
        return kind.from_hex(value)
    return dec_hook(kind, value)


_DECODER: Final = msgspec.json.Decoder(EvidenceFile, dec_hook=_dec_hook)
_ENCODER: Final = msgspec.json.Encoder(enc_hook=lambda value: value.hex(), order="sorted")
