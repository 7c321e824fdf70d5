"""Signed presence, which is not stored, and the liveness of nodes that follows from it.

Presence is a Yjs awareness state ``{node, signature, state}``. Liveness uses only our own monotonic
clock, so that no wall clock can make a node look dead. Source: protocol §7, §10; y-protocols
``awareness.js``.
"""

from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

import msgspec
from machines.codec import dec_hook, enc_hook
from machines.errors import InvalidValue
from machines.values import Instant, NodePubkey, StoryId
from msgspec import UNSET, Meta, UnsetType

from crdt.primitives import canonical_json, limits
from crdt.primitives.errors import MalformedRecord, PeerFault, Reason
from crdt.primitives.identity import ClusterId, FeedId, H, Signature, SigningKey
from crdt.records.signatures import Verifier
from crdt.wire.messages import AwarenessEntry

PRESENCE_DOMAIN: Final = b"gangline/presence/1"
BEATS_MAX: Final = 64
ADDRESSES_MAX: Final = 8
HEARD_MAX: Final = 4
# Printable ASCII without characters that are special in JSON or HTML.
Address = Annotated[str, Meta(max_length=256, pattern=r"^[!#-;=?-\[\]-~]*\Z")]

Run = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
Host = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*\Z")]
Place = Annotated[str, Meta(max_length=1024, pattern=r"^[ !#-;=?-\[\]-~]*\Z")]


class PresenceState(msgspec.Struct, frozen=True):
    """The presence of a node. Unknown fields, of newer builds, are ignored.

    Attributes:
        at: the time of its own clock.
        addresses: the addresses where it listens; empty behind NAT.
        beats: the last heartbeat of the agent on each story that it works on.
        run: the random id of this start of its daemon.
        host: the name of its host.
        heard: the run ids received from other daemons with its key (``duplicate_key.py``).
        twin: the location of another daemon with its key, once that is certain.
    """

    at: Instant
    addresses: Annotated[tuple[Address, ...], Meta(max_length=ADDRESSES_MAX)] = ()
    beats: Annotated[dict[str, Instant], Meta(max_length=BEATS_MAX)] = {}
    run: Run | UnsetType = UNSET
    host: Host | UnsetType = UNSET
    heard: Annotated[tuple[Run, ...], Meta(max_length=HEARD_MAX)] | UnsetType = UNSET
    twin: Place | UnsetType = UNSET


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: str
    signature: str
    state: str


class Presence(NamedTuple):
    """A presence with a valid signature, and the entry to forward.

    The entry is encoded again by us, under the client id of the node.
    """

    node: NodePubkey
    state: PresenceState
    entry: AwarenessEntry


@dataclass(frozen=True, slots=True)
class Heard:
    """The last presence of a node.

    Attributes:
        mono: when it was received (monotonic seconds).
        recent: when the last few were received, oldest first, for the rate limit.
    """

    clock: int
    state: PresenceState
    mono: float
    recent: tuple[float, ...]
    entry: AwarenessEntry


def presence_bytes(cluster: ClusterId, node: NodePubkey, clock: int, state: str) -> bytes:
    """Return the bytes that a node signs (protocol §7)."""
    return PRESENCE_DOMAIN + cluster + node + clock.to_bytes(4, "big") + H(state.encode())


def sign_presence(
    key: SigningKey, cluster: ClusterId, clock: int, state: PresenceState
) -> AwarenessEntry:
    """Sign our own presence; the oldest beats are left out if not all fit.

    Raises:
        InvalidValue: the addresses alone are too long.
    """
    text = _fitting(state).decode()
    signature = Signature(key.sign(presence_bytes(cluster, key.pubkey, clock, text)))
    return _entry(cluster, key.pubkey, clock, signature, text)


def _fitting(state: PresenceState) -> bytes:
    newest = sorted(state.beats, key=lambda story: (state.beats[story], story), reverse=True)
    for kept in range(min(len(newest), BEATS_MAX), -1, -1):
        beats = {story: state.beats[story] for story in newest[:kept]}
        data = msgspec.json.encode(
            msgspec.structs.replace(state, beats=beats), enc_hook=enc_hook, order="sorted"
        )
        if len(data) <= limits.PRESENCE_BYTES_MAX:
            return data
    raise InvalidValue("addresses", f"at most {ADDRESSES_MAX}, of at most 256 characters each")


def _entry(
    cluster: ClusterId, node: NodePubkey, clock: int, signature: Signature, state: str
) -> AwarenessEntry:
    wire = msgspec.json.encode(_Wire(node.hex(), signature.hex(), state)).decode()
    return AwarenessEntry(FeedId(node, 0).client_id(cluster), clock, wire)


def open_presence(cluster: ClusterId, entry: AwarenessEntry, verifier: Verifier) -> Presence:
    """Check an awareness entry: its length, its signature, then its content.

    Raises:
        PeerFault: ``malformed_frame``, ``too_large`` or ``bad_signature``.
    """
    try:
        wire = msgspec.json.decode(entry.state, type=_Wire)
        node, signature = NodePubkey.from_hex(wire.node), Signature.from_hex(wire.signature)
        state = wire.state.encode()
    except (msgspec.MsgspecError, ValueError) as fault:
        raise PeerFault(Reason.MALFORMED_FRAME, "not a presence") from fault
    if len(state) > limits.PRESENCE_BYTES_MAX:
        raise PeerFault(Reason.TOO_LARGE, "a presence that is too long")
    if not verifier([(node, presence_bytes(cluster, node, entry.clock, wire.state), signature)])[0]:
        raise PeerFault(Reason.BAD_SIGNATURE, "a presence that its node did not sign")
    forwarded = _entry(cluster, node, entry.clock, signature, wire.state)
    return Presence(node, _read_state(state), forwarded)


def _read_state(data: bytes) -> PresenceState:
    try:
        canonical_json.check_bytes(data)
        state = msgspec.json.decode(data, type=PresenceState, dec_hook=dec_hook)
        for story in state.beats:
            StoryId(story)
        if canonical_json.encode(msgspec.json.decode(data)) != data:
            raise MalformedRecord("not in canonical form")
    except (msgspec.MsgspecError, UnicodeError, InvalidValue, MalformedRecord) as fault:
        raise PeerFault(Reason.MALFORMED_FRAME, "a presence with an invalid state") from fault
    return state


class Liveness:
    """The last presence of each node, and the peers that sent it."""

    def __init__(self) -> None:
        self._heard: dict[NodePubkey, Heard] = {}
        self._paths: dict[NodePubkey, dict[NodePubkey, float]] = {}
        self._others: dict[NodePubkey, dict[str, tuple[tuple[Instant, int], float]]] = {}

    def receive(
        self,
        node: NodePubkey,
        entry: AwarenessEntry,
        state: PresenceState,
        wall_ms: int,
        mono: float,
        by: NodePubkey,
    ) -> bool:
        """Take a verified presence from peer ``by``; return whether to forward it.

        Not forwarded: too old, not newer than the last of the node, more than two a second, or
        stamped in the future. A future one could be replayed long after the node died, and once the
        node's clock is corrected, none of its presence would be newer.
        """
        age_ms = wall_ms - state.at.ms
        if not -limits.STAMP_AHEAD_MS_MAX <= age_ms <= limits.PRESENCE_AGE_MS_MAX:
            return False
        known = self._heard.get(node)
        recent: tuple[float, ...] = ()
        if known is not None:
            stamp, last = (state.at, entry.clock), (known.state.at, known.clock)
            if stamp == last:
                self._note_path(node, by, mono)
            if stamp <= last:
                return state.run != known.state.run and self._receive_other_run(
                    node, state, stamp, mono
                )
            recent = known.recent[-limits.PRESENCE_PER_SECOND_MAX :]
            if len(recent) == limits.PRESENCE_PER_SECOND_MAX and mono - recent[0] < 1.0:
                return False
        self._heard[node] = Heard(entry.clock, state, mono, (*recent, mono), entry)
        self._note_path(node, by, mono)
        return True

    def _receive_other_run(
        self, node: NodePubkey, state: PresenceState, stamp: tuple[Instant, int], mono: float
    ) -> bool:
        """Whether to forward a presence of another run that is not newer than the last one.

        Of two daemons with one key, one may have a clock that is behind, or always announce just
        before the other, which would then never receive it. A few recent runs are distinguished.
        None is displaced by a new one, so that no presence circulates for ever.
        """
        runs = {
            run: heard
            for run, heard in self._others.get(node, {}).items()
            if mono - heard[1] < limits.SUSPECT_SECONDS
        }
        self._others[node] = runs
        run = "" if state.run is UNSET else state.run
        known = runs.get(run)
        if known is None and len(runs) >= HEARD_MAX:
            return False
        if known is not None and (stamp <= known[0] or mono - known[1] < 1.0):
            return False
        runs[run] = stamp, mono
        return True

    def _note_path(self, node: NodePubkey, by: NodePubkey, mono: float) -> None:
        paths = self._paths.setdefault(node, {})
        paths.pop(by, None)  # keeps the dictionary in order of time
        paths[by] = mono
        if len(paths) > limits.LINKS_MAX:
            del paths[next(iter(paths))]

    def seen_by(self, node: NodePubkey) -> dict[NodePubkey, float]:
        """Return the peers that sent presence of a node, and when (monotonic), oldest first.

        If some peers are recent and others are not, the node is alive and the others are slow.
        """
        return dict(self._paths.get(node, {}))

    def last(self, node: NodePubkey) -> Heard | None:
        """Return the last presence of a node, or ``None``."""
        return self._heard.get(node)

    def entries(self) -> tuple[AwarenessEntry, ...]:
        """Return the last presence of all nodes, to forward."""
        return tuple(self._heard[node].entry for node in sorted(self._heard))

    def status(self, node: NodePubkey, mono: float) -> str:
        """Return ``alive``, ``suspect`` or ``offline``."""
        heard = self._heard.get(node)
        if heard is None:
            return "offline"
        silence = mono - heard.mono
        if silence < limits.ALIVE_SECONDS:
            return "alive"
        return "suspect" if silence < limits.SUSPECT_SECONDS else "offline"
