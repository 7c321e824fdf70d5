"""A disk that keeps what was committed, and the witness beside it; as the real store does.

What a real store does with the same instructions is shown in tests/unit/node/storage/test_store.py
and tests/integration; here it must only be quick and able to go wrong.
"""

from dataclasses import dataclass, field

from crdt.primitives.identity import FeedId
from node.storage.rollback_guard import StoreStamp, mismatch


@dataclass
class SimulatedDisk:
    """What one node has on disk.

    ``taken`` is no part of it: every row that this disk, or the one it is a copy of, ever took.
    """

    host: str
    inode: int
    rows: dict = field(default_factory=dict)
    proofs: dict = field(default_factory=dict)
    rendered: dict = field(default_factory=dict)
    incarnation: int = 0
    doubt: str = ""
    token: bytes = b""
    writes: int = 0
    reissue_done: set = field(default_factory=set)
    former: object = None
    former_end: object = None
    own_end: object = None
    taken: set = field(default_factory=set)
    unsure: object = None
    """A commit that failed half-way: a crash before the next one that works may bring it back."""

    def commit(self, persist):
        self.unsure = None
        for key, row in persist.rows.items():
            if row is None:
                self.rows.pop(tuple(key), None)
            else:
                self.rows[tuple(key)] = row
                self.taken.add(tuple(key))
        for proof in persist.proofs:
            self.proofs[FeedId(proof.author, proof.incarnation)] = proof
        self.rendered.update(persist.rendered)
        if persist.incarnation is not None:
            self.incarnation = persist.incarnation
        if persist.doubt is not None:
            self.doubt = persist.doubt
        self.own_end = persist.own_end or self.own_end
        self.reissue_done.update(persist.reissue_done)
        self.writes += 1

    def copy(self, *, inode):
        """The same contents in another file."""
        return SimulatedDisk(
            self.host, inode, dict(self.rows), dict(self.proofs), dict(self.rendered),
            self.incarnation, self.doubt, self.token, self.writes, set(self.reissue_done),
            self.former, self.former_end,
            own_end=self.own_end, taken=set(self.taken),
        )  # fmt: skip

    def register(self, witness, token):
        """As ``Store`` does at its opening: gives the doubt, and the witness from here on."""
        found = StoreStamp(self.host, self.inode, self.token, self.writes)
        self.doubt = self.doubt or mismatch(found, witness)
        self.token = token
        return self.doubt, found._replace(token=token)
