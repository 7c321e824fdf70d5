"""Signed presence: "I am here", unpersisted, and who was heard from when.

Stands beside ``replica.py``. What a node says rides in a Yjs awareness state as
``{node, signature, state}``; liveness goes by this node's own monotonic clock, so that nobody's
wall clock can make anybody dead. Source: protocol §7, §10; y-protocols ``awareness.js``.
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
# Printable ASCII without what JSON would escape or a page would take for markup.
Address = Annotated[str, Meta(max_length=256, pattern=r"^[!#-;=?-\[\]-~]*\Z")]

Run = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
Host = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*\Z")]
Place = Annotated[str, Meta(max_length=1024, pattern=r"^[ !#-;=?-\[\]-~]*\Z")]


class PresenceState(msgspec.Struct, frozen=True):
    """What a node says of itself. Fields that a newer build adds are let be.

    Attributes:
        at: when, by its own clock.
        addresses: where it listens; empty behind NAT.
        beats: for each story it works on, the agent's last heartbeat.
        run: drawn anew at each start; tells two daemons with one key apart.
        host: what its host is called.
        heard: the runs of others with its key that it has heard of (``duplicate_key.py``).
        twin: where another daemon with its key runs, once that is certain.
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
    """A presence whose signature holds, and the entry to hand on: in our own words, under the
    node's own client id, whatever the peer that brought it wrote there.
    """

    node: NodePubkey
    state: PresenceState
    entry: AwarenessEntry


@dataclass(frozen=True, slots=True)
class Heard:
    """A node's last presence.

    Attributes:
        mono: when it was heard here (monotonic seconds).
        recent: the same of the last few, as many as may come in a second, oldest first.
    """

    clock: int
    state: PresenceState
    mono: float
    recent: tuple[float, ...]
    entry: AwarenessEntry


def presence_bytes(cluster: ClusterId, node: NodePubkey, clock: int, state: str) -> bytes:
    """What is signed (protocol §7)."""
    return PRESENCE_DOMAIN + cluster + node + clock.to_bytes(4, "big") + H(state.encode())


def sign_presence(
    key: SigningKey, cluster: ClusterId, clock: int, state: PresenceState
) -> AwarenessEntry:
    """One's own presence, as an awareness entry; without the oldest beats where not all fit.

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
    """Check an awareness entry: length, then the signature, then what it says.

    Raises:
        PeerFault: ``malformed_frame``, ``too_large`` or ``bad_signature``.
    """
    try:
        wire = msgspec.json.decode(entry.state, type=_Wire)
        node, signature = NodePubkey.from_hex(wire.node), Signature.from_hex(wire.signature)
        said = wire.state.encode()
    except (msgspec.MsgspecError, ValueError) as fault:
        raise PeerFault(Reason.MALFORMED_FRAME, "no presence") from fault
    if len(said) > limits.PRESENCE_BYTES_MAX:
        raise PeerFault(Reason.TOO_LARGE, "a presence over its bound")
    if not verifier([(node, presence_bytes(cluster, node, entry.clock, wire.state), signature)])[0]:
        raise PeerFault(Reason.BAD_SIGNATURE, "a presence that its node did not sign")
    again = _entry(cluster, node, entry.clock, signature, wire.state)
    return Presence(node, _read_state(said), again)


def _read_state(said: bytes) -> PresenceState:
    try:
        canonical_json.check_bytes(said)
        state = msgspec.json.decode(said, type=PresenceState, dec_hook=dec_hook)
        for story in state.beats:
            StoryId(story)
        if canonical_json.encode(msgspec.json.decode(said)) != said:
            raise MalformedRecord("not in canonical form")
    except (msgspec.MsgspecError, UnicodeError, InvalidValue, MalformedRecord) as fault:
        raise PeerFault(Reason.MALFORMED_FRAME, "a presence that says nothing known") from fault
    return state


class Liveness:
    """Who was heard from, how long ago, and over whom."""

    def __init__(self) -> None:
        self._heard: dict[NodePubkey, Heard] = {}
        self._roads: dict[NodePubkey, dict[NodePubkey, float]] = {}
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
        """Take a checked presence that a peer brought; says whether it is news.

        Too old, not newer than the node's last, or more than two a second, is no news. Nor is what
        lies in the future: it would stay young for years, to be replayed long after the node died,
        and once the node's clock was mended nothing it says would be newer.
        """
        age_ms = wall_ms - state.at.ms
        if not -limits.STAMP_AHEAD_MS_MAX <= age_ms <= limits.PRESENCE_AGE_MS_MAX:
            return False
        known = self._heard.get(node)
        recent: tuple[float, ...] = ()
        if known is not None:
            said, last = (state.at, entry.clock), (known.state.at, known.clock)
            if said == last:
                self._note_road(node, by, mono)
            if said <= last:
                return state.run != known.state.run and self._hear_other(node, state, said, mono)
            recent = known.recent[-limits.PRESENCE_PER_SECOND_MAX :]
            if len(recent) == limits.PRESENCE_PER_SECOND_MAX and mono - recent[0] < 1.0:
                return False
        self._heard[node] = Heard(entry.clock, state, mono, (*recent, mono), entry)
        self._note_road(node, by, mono)
        return True

    def _hear_other(
        self, node: NodePubkey, state: PresenceState, said: tuple[Instant, int], mono: float
    ) -> bool:
        """Not newer than the node's last, and of another run: whether to hand it on all the same.

        Of two daemons with one key the clock of one may be behind, or it speaks just before the
        other each time: the other would never hear of it. A few runs are told apart, each heard of
        lately; none is pushed out, so that nothing goes round for ever.
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
        if known is not None and (said <= known[0] or mono - known[1] < 1.0):
            return False
        runs[run] = said, mono
        return True

    def _note_road(self, node: NodePubkey, by: NodePubkey, mono: float) -> None:
        roads = self._roads.setdefault(node, {})
        roads.pop(by, None)  # so that the table stays in order of time
        roads[by] = mono
        if len(roads) > limits.LINKS_MAX:
            del roads[next(iter(roads))]

    def seen_by(self, node: NodePubkey) -> dict[NodePubkey, float]:
        """Which peers last brought news of a node, and when (monotonic seconds), oldest first.

        Where some still do, the node lives and the others are slow.
        """
        return dict(self._roads.get(node, {}))

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
