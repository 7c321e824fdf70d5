"""This node's presence, said now and then, and what it makes of everybody else's.

Stands beside ``replica.py``. Signed, unpersisted, bounded: ``signed_presence.py`` has the bytes
and the liveness. Source: protocol §7, §10.
"""

from typing import NamedTuple

from machines.values import Instant, NodePubkey
from msgspec import UNSET

from crdt.contract.ready import Noticed, Now
from crdt.presence.duplicate_key import DuplicateKeyDetector, own_sentence, peer_sentence, where
from crdt.presence.signed_presence import Liveness, PresenceState, open_presence, sign_presence
from crdt.primitives import limits
from crdt.primitives.identity import ClusterId, SigningKey
from crdt.records.signatures import Verifier
from crdt.views.roster import Roster
from crdt.wire.messages import Awareness, AwarenessEntry


class News(NamedTuple):
    """What a frame of presence told: entries to hand on, where nodes listen now, and what to say.

    ``at`` is what the peer's own clock showed, where it spoke for itself.
    """

    entries: tuple[AwarenessEntry, ...]
    addresses: dict[NodePubkey, tuple[str, ...]]
    noticed: tuple[Noticed, ...]
    at: Instant | None


class PresenceTracker:
    """One node's side of presence.

    Attributes:
        liveness: who was heard from, and when.
        addresses: where this node listens, as it tells others; empty behind NAT.
        beats: for each story this node works on, the agent's last heartbeat.
        host: what this host is called, as it tells others; empty: it does not tell.
        twins: others with the own key.
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
        self._said_at = self._next = float("-inf")
        self._count = 0

    def announce(self, now: Now) -> Awareness | None:
        """The own presence, where it is time for it."""
        if now.mono < self._next:
            return None
        self._said_at = now.mono
        self._next = now.mono + limits.PRESENCE_SECONDS
        self._count += 1
        twin = self.twins.standing(now.mono)
        state = PresenceState(
            now.wall,
            self.addresses,
            dict(self.beats),
            run=self.twins.run,
            host=self.host or UNSET,
            heard=self.twins.heard(now.mono) or UNSET,
            twin=where(twin) if twin is not None else UNSET,
        )
        return Awareness((sign_presence(self._key, self._cluster, self._count, state),))

    def everybody(self) -> list[Awareness]:
        """Everybody's last presence, in frames that a peer takes."""
        entries, size = self.liveness.entries(), limits.AWARENESS_ENTRIES_MAX
        return [Awareness(entries[start : start + size]) for start in range(0, len(entries), size)]

    def announce_soon(self) -> None:
        """Somebody is there who should hear it sooner, but not more often than others take it."""
        self._next = min(self._next, self._said_at + 1.0)

    def receive(self, peer: NodePubkey, frame: Awareness, roster: Roster, now: Now) -> News:
        """Check what a peer brought, and keep what is news.

        Raises:
            PeerFault: an entry that its node did not sign.
        """
        entries: list[AwarenessEntry] = []
        addresses: dict[NodePubkey, tuple[str, ...]] = {}
        noticed: list[Noticed] = []
        at: Instant | None = None
        for brought in frame.entries:
            node, state, entry = open_presence(self._cluster, brought, self._verifier)
            if node == self._key.pubkey:
                noticed += self._hear_own(state, now)
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
                    continue  # it is behind what the node said last, in another run
                if state.addresses:
                    addresses[node] = state.addresses
                if state.twin is not UNSET and (before is None or before.state.twin is UNSET):
                    noticed.append(Noticed("twin", peer_sentence(node, state), node))
        return News(tuple(entries), addresses, tuple(noticed), at)

    def _hear_own(self, state: PresenceState, now: Now) -> list[Noticed]:
        """Presence that the own key signed: this process's, an earlier one's, or a twin's."""
        known = self.twins.heard(now.mono)
        fresh = self.twins.receive(state, now.mono)
        if fresh or self.twins.heard(now.mono) != known:
            self.announce_soon()  # the twin learns from it
        return [Noticed("twin", own_sentence(state), self._key.pubkey)] if fresh else []
