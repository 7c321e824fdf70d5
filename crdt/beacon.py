"""This node's presence, said now and then, and what it makes of everybody else's.

Stands beside ``replica.py``. Signed, unpersisted, bounded: ``presence.py`` has the bytes and the
liveness. Source: protocol §7, §10.
"""

from typing import NamedTuple

from machines.values import Instant, NodePubkey

from crdt import limits
from crdt.frame import Awareness, AwarenessEntry
from crdt.identity import ClusterId, SigningKey
from crdt.presence import Liveness, PresenceState, open_presence, sign_presence
from crdt.ready import Now
from crdt.roster import Roster
from crdt.verify import Verifier


class News(NamedTuple):
    """What a frame of presence told.

    Attributes:
        entries: to hand on.
        addresses: where nodes listen now.
        clock: what the clock of the peer that brought it said, where it spoke of itself.
    """

    entries: tuple[AwarenessEntry, ...]
    addresses: dict[NodePubkey, tuple[str, ...]]
    clock: Instant | None


class Beacon:
    """One node's side of presence.

    Attributes:
        liveness: who was heard from, and when.
        addresses: where this node listens, as it tells others; empty behind NAT.
        beats: for each story this node works on, the agent's last heartbeat.
    """

    def __init__(self, key: SigningKey, cluster: ClusterId, verifier: Verifier) -> None:
        self.liveness = Liveness()
        self.addresses: tuple[str, ...] = ()
        self.beats: dict[str, Instant] = {}
        self._key = key
        self._cluster = cluster
        self._verifier = verifier
        self._said_at = float("-inf")
        self._count = 0

    def say(self, now: Now) -> Awareness | None:
        """The own presence, where it is time for it."""
        if now.mono - self._said_at < limits.PRESENCE_SECONDS:
            return None
        self._said_at = now.mono
        self._count += 1
        state = PresenceState(now.wall, self.addresses, dict(self.beats))
        return Awareness((sign_presence(self._key, self._cluster, self._count, state),))

    def everybody(self) -> list[Awareness]:
        """Everybody's last presence, in frames that a peer takes."""
        entries, size = self.liveness.entries(), limits.AWARENESS_ENTRIES_MAX
        return [Awareness(entries[start : start + size]) for start in range(0, len(entries), size)]

    def hear(self, peer: NodePubkey, frame: Awareness, roster: Roster, now: Now) -> News:
        """Check what a peer brought, and keep what is news.

        Raises:
            PeerFault: an entry that its node did not sign.
        """
        entries: list[AwarenessEntry] = []
        addresses: dict[NodePubkey, tuple[str, ...]] = {}
        clock: Instant | None = None
        for brought in frame.entries:
            node, state, entry = open_presence(self._cluster, brought, self._verifier)
            if node == peer:
                clock = state.at
            known = roster.belongs(node) and node != self._key.pubkey
            if known and self.liveness.hear(node, entry, state, now.wall.ms, now.mono, peer):
                entries.append(entry)
                if state.addresses:
                    addresses[node] = state.addresses
        return News(tuple(entries), addresses, clock)
