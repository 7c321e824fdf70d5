"""Signed presence: "I am here", unpersisted, and who was heard from when.

Stands beside ``replica.py``. What a node says rides in a Yjs awareness state as
``{node, signature, state}``; liveness goes by this node's own monotonic clock, so that nobody's
wall clock can make anybody dead. Source: protocol §7, §10; y-protocols ``awareness.js``.
"""

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from machines.codec import enc_hook
from machines.errors import InvalidValue
from machines.values import Instant, NodePubkey, StoryId
from msgspec import Meta

from crdt import limits
from crdt.errors import PeerFault, Reason
from crdt.frame import AwarenessEntry
from crdt.identity import ClusterId, FeedId, H, SigningKey
from crdt.verify import Verifier

PRESENCE_DOMAIN: Final = b"gangline/presence/1"
Address = Annotated[str, Meta(max_length=256, pattern=r"^[!-~]*$")]


class PresenceState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node says of itself.

    Attributes:
        at: when, by its own clock.
        addresses: where it listens; empty behind NAT.
        beats: for each story it works on, the agent's last heartbeat.
    """

    at: Instant
    addresses: Annotated[tuple[Address, ...], Meta(max_length=8)] = ()
    beats: Annotated[dict[str, Instant], Meta(max_length=64)] = {}


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: str
    signature: str
    state: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A node's last presence, and when it was heard here (monotonic seconds)."""

    clock: int
    state: PresenceState
    mono: float
    entry: AwarenessEntry


def presence_bytes(cluster: ClusterId, node: NodePubkey, clock: int, state: str) -> bytes:
    """What is signed (protocol §7)."""
    return PRESENCE_DOMAIN + cluster + node + clock.to_bytes(4, "big") + H(state.encode())


def sign_presence(
    key: SigningKey, cluster: ClusterId, clock: int, state: PresenceState
) -> AwarenessEntry:
    """One's own presence, as an awareness entry."""
    text = msgspec.json.encode(state, enc_hook=enc_hook, order="sorted").decode()
    signature = key.sign(presence_bytes(cluster, key.pubkey, clock, text))
    wire = _Wire(key.pubkey.hex(), signature.hex(), text)
    client = FeedId(key.pubkey, 0).client_id(cluster)
    return AwarenessEntry(client, clock, msgspec.json.encode(wire).decode())


def open_presence(
    cluster: ClusterId, entry: AwarenessEntry, verifier: Verifier
) -> tuple[NodePubkey, PresenceState]:
    """Check an awareness entry.

    Raises:
        PeerFault: ``malformed_frame`` or ``bad_signature``.
    """
    try:
        wire = msgspec.json.decode(entry.state, type=_Wire)
        node = NodePubkey.from_hex(wire.node)
        signature = bytes.fromhex(wire.signature)
        if len(wire.state.encode()) > limits.PRESENCE_BYTES_MAX:
            raise PeerFault(Reason.TOO_LARGE, "a presence over its bound")
    except (msgspec.MsgspecError, ValueError) as fault:
        raise PeerFault(Reason.MALFORMED_FRAME, "no presence") from fault
    if not verifier([(node, presence_bytes(cluster, node, entry.clock, wire.state), signature)])[0]:
        raise PeerFault(Reason.BAD_SIGNATURE, "a presence that its node did not sign")
    try:
        state = msgspec.json.decode(wire.state, type=PresenceState, dec_hook=_dec_hook)
        for story in state.beats:
            StoryId(story)
    except (msgspec.MsgspecError, InvalidValue) as fault:
        raise PeerFault(Reason.MALFORMED_FRAME, "a presence that says nothing known") from fault
    return node, state


def _dec_hook(kind: type, value: str) -> object:
    return kind(value)


class Liveness:
    """Who was heard from, and how long ago."""

    def __init__(self) -> None:
        self._heard: dict[NodePubkey, Heard] = {}

    def hear(
        self,
        node: NodePubkey,
        entry: AwarenessEntry,
        state: PresenceState,
        wall_ms: int,
        mono: float,
    ) -> bool:
        """Take a checked presence; says whether it is news.

        One that is too old, or not newer than the node's last, is no news.
        """
        if wall_ms - state.at.ms > limits.PRESENCE_AGE_MS_MAX:
            return False
        known = self._heard.get(node)
        if known is not None and (state.at, entry.clock) <= (known.state.at, known.clock):
            return False
        self._heard[node] = Heard(entry.clock, state, mono, entry)
        return True

    def last(self, node: NodePubkey) -> Heard | None:
        """A node's last presence."""
        return self._heard.get(node)

    def entries(self) -> tuple[AwarenessEntry, ...]:
        """Everybody's last presence, to hand on."""
        return tuple(self._heard[node].entry for node in sorted(self._heard))

    def word(self, node: NodePubkey, mono: float) -> str:
        """``alive``, ``suspect`` or ``offline``."""
        heard = self._heard.get(node)
        if heard is None:
            return "offline"
        silence = mono - heard.mono
        if silence < limits.ALIVE_SECONDS:
            return "alive"
        return "suspect" if silence < limits.SUSPECT_SECONDS else "offline"
