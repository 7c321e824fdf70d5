"""Three honest replicas, and a member that sends whatever it is told; and what must hold after."""

import tracemalloc

from crdt.primitives.identity import FeedId
from crdt.wire.messages import Update, encode_frame
from machines import pipeline as p
from machines.values import StoryId
from tests.support.builders.cluster import Cluster
from tests.support.builders.record_author import RecordAuthor, as_frame

BRINGER = 3


class HostileCluster(Cluster):
    """Nodes 0 (the founder), 1 and 2 are honest; 3 is a member with a good key and a pen.

    What it brings goes to node 0 as the bytes of one message. Story ``s-1`` is in coding;
    node 1 named ``s-2``.
    """

    def __init__(self):
        super().__init__(4)
        self.verified = 0
        self.admit_all()
        for one, other in ((0, 1), (0, 2), (1, 2)):
            self.link(one, other)
        self.deliver()
        self.add(0, "s-1")
        self.fire(0, "s-1", p.DepsMet())
        self.add(1, "s-2")
        self.deliver()
        self.settle(3)
        self.pen = RecordAuthor(self.keys[BRINGER], self.found.id, self.ms)
        self._told = 0

    def make(self, signing, **options):
        replica = super().make(signing, **options)
        check = replica.ledger.verifier

        def counting(jobs):
            self.verified += len(jobs)
            return check(jobs)

        replica.ledger.verifier = counting
        return replica

    @property
    def honest(self):
        return self.replicas[:BRINGER]

    @property
    def bringer(self):
        return self.keys[BRINGER].pubkey

    @property
    def event(self):
        """The event that brought s-1 to coding."""
        return self.replicas[0].ledger.board.state("s-1").fold.last

    def feed_of(self, number, at=0):
        """Node ``number``'s first feed, as node ``at`` holds it."""
        return self.replicas[at].ledger.feeds[FeedId(self.keys[number].pubkey, 0)]

    def bring(self, data, to=0):
        """One message; gives what the replica made of it, carried out."""
        ready = self.replicas[to].receive(self.bringer, data, self.now_of(to))
        self.carry(to, ready)
        self.deliver()
        return ready

    def show(self, *records, to=0):
        """Records, by position."""
        return self.bring(as_frame(*records), to)

    # --- what must hold -----------------------------------------------------------------------

    def refused(self, data, reason):
        """The bytes are the bringer's fault: its link is dropped, they lie in quarantine under
        its name, and nothing of them is kept; the others go on.
        """
        held, before = self.replicas[0].document_digest(), len(self.quarantined[0])
        ready = self.bring(data)
        assert ready.fault is not None, "nothing was refused"
        assert (ready.fault.peer, ready.fault.reason) == (self.bringer, reason)
        [row] = self.quarantined[0][before:]
        assert (row.peer, row.reason, row.value) == (self.bringer, reason, data)
        assert not ready.persist.rows
        assert not ready.publish
        assert self.replicas[0].document_digest() == held
        self.unharmed()
        return ready.fault

    def update_refused(self, update, reason):
        """As ``refused``, for an update in its frame."""
        return self.refused(encode_frame(Update(update)), reason)

    def rejected(self, *records, reason):
        """The records are their author's fault: the link stays, each lies in quarantine with its
        slot, none counts or is handed on; the others go on.
        """
        before = len(self.quarantined[0])
        ready = self.show(*records)
        assert ready.fault is None
        rows = self.quarantined[0][before:]
        assert [row.reason for row in rows] == [reason] * len(records)
        for row, record in zip(rows, records, strict=True):
            assert (row.feed, row.clock, row.value) == (record.feed, record.clock, record.value)
            assert self.replicas[0].ledger.entry(record.ref) is None
        self.unharmed()
        assert not [row for number in (1, 2) for row in self.quarantined[number]]
        return rows

    def unharmed(self):
        """An honest author's next write is everywhere, and no honest feed is cut."""
        self._told += 1
        story = StoryId(f"told-{self._told}")
        self.add(1, story)
        self.deliver()
        assert all(story in replica.ledger.board for replica in self.honest)
        honest = {self.keys[number].pubkey for number in range(BRINGER)}
        for replica in self.honest:
            assert not [feed for feed in replica.ledger.proofs if feed.author in honest]

    def agree(self):
        self.settle()
        self.assert_agreed(nodes=(0, 1, 2))


def peak_of(work):
    """How many bytes were in use at the most while something was done, beyond what was before."""
    running = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not running:
            tracemalloc.stop()
