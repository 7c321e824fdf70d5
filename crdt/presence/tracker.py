"""Announcing the presence of this node, and receiving that of others.

``signed_presence.py`` has the bytes and the liveness. Source: protocol §7, §10.
"""

from typing import NamedTuple

from machines.values import Instant, NodePubkey
from msgspec import UNSET

from crdt.contract.ready import Noticed, NoticeKind, Now
from crdt.presence.duplicate_key import DuplicateKeyDetector, location, own_sentence, peer_sentence
from crdt.presence.signed_presence import Liveness, PresenceState, open_presence, sign_presence
from crdt.primitives import limits
from crdt.primitives.identity import ClusterId, SigningKey
from crdt.records.signatures import Verifier
from crdt.views.roster import Roster
from crdt.wire.messages import Awareness, AwarenessEntry


class News(NamedTuple):
    """The result of receiving a frame of presence.

    Attributes:
        entries: the entries to forward.
        addresses: the current addresses of nodes.
        noticed: observations for the operator.
        at: the clock of the peer, if the frame has its own presence.
    """

    entries: tuple[AwarenessEntry, ...]
    addresses: dict[NodePubkey, tuple[str, ...]]
    noticed: tuple[Noticed, ...]
    at: Instant | None


class PresenceTracker:
    """The presence of this node and of all others.

    Attributes:
        liveness: the last presence of each node.
        addresses: the addresses that this node announces; empty behind NAT.
        beats: the last heartbeat of the agent on each story that this node works on.
        host: the host name that this node announces; if empty, none.
        twins: other daemons with our key.
    """

    def __init__(self, key: SigningKey, cluster: ClusterId, verifier: Verifier, run: bytes) -> None:
        self.liveness = Liveness()
        self.host = ""
        self.twins = DuplicateKeyDetector(run.hex())
        self.addresses: tuple[str, ...] = ()
        self.beats: dict[str, Instant] = {}
        self._key = key
        self._cluster = cluster
        self._verifier = verifier
        self._announced_at = self._next = float("-inf")
        self._count = 0

    def announce(self, now: Now) -> Awareness | None:
        """Return our presence if it is due, else ``None``."""
        if now.mono < self._next:
            return None
        self._announced_at = now.mono
        self._next = now.mono + limits.PRESENCE_SECONDS
        self._count += 1
        twin = self.twins.current(now.mono)
        state = PresenceState(
            now.wall,
            self.addresses,
            dict(self.beats),
            run=self.twins.run,
            host=self.host or UNSET,
            heard=self.twins.heard(now.mono) or UNSET,
            twin=location(twin) if twin is not None else UNSET,
        )
        return Awareness((sign_presence(self._key, self._cluster, self._count, state),))

    def everybody(self) -> list[Awareness]:
        """Return the last presence of all nodes, in frames of bounded size."""
        entries, size = self.liveness.entries(), limits.AWARENESS_ENTRIES_MAX
        return [Awareness(entries[start : start + size]) for start in range(0, len(entries), size)]

    def announce_soon(self) -> None:
        """Announce earlier, for a new peer, but at most once a second."""
        self._next = min(self._next, self._announced_at + 1.0)

    def receive(self, peer: NodePubkey, frame: Awareness, roster: Roster, now: Now) -> News:
        """Verify presence from a peer, and keep what is new.

        Raises:
            PeerFault: an entry is malformed, too long, or not signed by its node.
        """
        entries: list[AwarenessEntry] = []
        addresses: dict[NodePubkey, tuple[str, ...]] = {}
        noticed: list[Noticed] = []
        at: Instant | None = None
        for signed in frame.entries:
            node, state, entry = open_presence(self._cluster, signed, self._verifier)
            if node == self._key.pubkey:
                noticed += self._receive_own(state, now)
                continue
            if node == peer:
                at = state.at
            if not roster.belongs(node):
                continue
            before = self.liveness.last(node)
            if self.liveness.receive(node, entry, state, now.wall.ms, now.mono, peer):
                entries.append(entry)
                last = self.liveness.last(node)
                assert last is not None, "it was news"
                if last.state is not state:
                    continue  # an older one, of another run
                if state.addresses:
                    addresses[node] = state.addresses
                if state.twin is not UNSET and (before is None or before.state.twin is UNSET):
                    noticed.append(Noticed(NoticeKind.TWIN, peer_sentence(node, state), node))
        return News(tuple(entries), addresses, tuple(noticed), at)

    def _receive_own(self, state: PresenceState, now: Now) -> list[Noticed]:
        """Take presence signed with our key: by this run, an earlier one, or another daemon."""
        known = self.twins.heard(now.mono)
        is_new = self.twins.receive(state, now.mono)
        if is_new or self.twins.heard(now.mono) != known:
            self.announce_soon()  # so that the other daemon learns of this one
        return [Noticed(NoticeKind.TWIN, own_sentence(state), self._key.pubkey)] if is_new else []
