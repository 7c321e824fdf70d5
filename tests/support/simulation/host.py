"""A host of the simulated world: one daemon, its disk, its clock and its keys."""

from collections import deque

from crdt.primitives.identity import NodePubkey
from tests.support.builders.cluster import START


class Clock:
    """A host's wall clock, which may be off, stand still, or run too fast.

    ``moved`` is when it was last put to another time or pace.
    """

    def __init__(self):
        self.since, self.base, self.rate = 0, START.ms, 1.0
        self.moved = 0

    def at(self, t):
        return int(self.base + (t - self.since) * self.rate)

    def set(self, t, base, rate=1.0):
        if (base, rate) != (self.at(t), self.rate):
            self.moved = t
        self.since, self.base, self.rate = t, base, rate


class SimulatedNode:
    """One daemon. ``replica`` is ``None`` while it is down.

    Attributes:
        key: the present one; ``next_key`` lies beside it until the roster has it, ``had`` are the
            keys from before.
        links: the peer's key as it said hello → (the peer's number, id of the link).
        snapshots: the host as it was at some times.
        doing: what a hostile node goes on doing.
        ticked: when its clock was last asked what is ripe, and whether it took what was.
    """

    def __init__(self, number, signing, disk, *, honest=True):
        self.number = number
        self.key = signing
        self.next_key = None
        self.had = []
        self.disk = disk
        self.honest = honest
        self.witness = None
        self.clock = Clock()
        self.carrier = None
        self.life = 0
        self.builds = 0
        self.inbox = deque()
        self.busy = False
        self.stalled_until = 0
        self.slow_disk_until = 0
        self.full_disk_until = self.bad_disk_until = 0
        self.kill_at = None
        self.links = {}
        self.snapshots = []
        self.doing = ()
        self.ticked = 0, True

    @property
    def pub(self) -> NodePubkey:
        return self.key.pubkey

    @property
    def keys(self):
        """Every key it had, the present one last."""
        return [*self.had, self.pub]

    @property
    def replica(self):
        return self.carrier.replica if self.carrier is not None else None

    @property
    def roster(self):
        return self.replica.ledger.roster

    def face(self, there):
        """The key with which it says hello to a node: the next one, where only that belongs."""
        spare = self.next_key
        if spare is None or there.roster.belongs(self.pub):
            return self.pub
        return spare.pubkey if there.roster.belongs(spare.pubkey) else self.pub

    def snapshot(self):
        """The host as it is, to go back to."""
        disk = self.disk.copy(inode=self.disk.inode)
        return disk, self.witness, self.key, self.next_key, list(self.had)

    def __repr__(self):
        return f"n{self.number}"
