"""A made-up fleet: signed records of several authors, as a busy board leaves them.

Each story has a title and the four events that bring it to its end: five records, all live for as
long as the cluster lives.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import UNSET

from crdt.contract.ready import Row
from crdt.primitives.identity import ClusterId, FeedId, Hash, SigningKey, cluster_id_of
from crdt.records.bodies import SEAL_KEY, Known, Member, Role, Seal, Story, Transition, encode_body
from crdt.records.digests import seal_digest
from crdt.records.record import VerifiedRecord, sign_record
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines import pipeline
from machines.values import BranchName, GitSha, Instant, NodePubkey, StoryId

BEGIN = Instant("2026-01-01T00:00:00.000Z")
AUTHORS = 10
STORY_RECORDS = 5
EVENTS = (
    pipeline.DepsMet(),
    pipeline.QaSkipped(BranchName("feature/x"), 1),
    pipeline.MergeSucceeded(GitSha("abc123")),
    pipeline.Accepted(),
)


class Pen:
    """One author, who writes one feed."""

    def __init__(self, number: int) -> None:
        self.key = SigningKey(number.to_bytes(32, "big"))
        self.feed = FeedId(self.key.pubkey, 0)
        self.written: list[VerifiedRecord] = []

    def write(self, cluster: ClusterId, body: Known) -> VerifiedRecord:
        """Sign the next record."""
        record = sign_record(self.key, cluster, 0, len(self.written), body)
        self.written.append(record)
        return record


class Fleet:
    """A cluster, its founder, and what its members wrote.

    Args:
        records: how many records the members shall write; a multiple of five for each.
        sealed: whether each of their feeds ends in a seal.
    """

    def __init__(self, records: int, *, sealed: bool = False) -> None:
        self.founder, *self.members = (Pen(number + 1) for number in range(AUTHORS + 1))
        first = self._member(self.founder.key.pubkey, Role.ADMIN, Hash(b"n" * 32))
        self.cluster = cluster_id_of(self.founder.key.pubkey, encode_body(first))
        self.founder.write(self.cluster, first)
        for pen in self.members:
            self.founder.write(self.cluster, self._member(pen.key.pubkey, Role.MEMBER))
        self._ms = BEGIN.ms
        for number in range(records // STORY_RECORDS):
            self._story(self.members[number % AUTHORS], StoryId(f"story-{number}"))
        for pen in self.members if sealed else ():
            ids = [record.record_id for record in pen.written]
            self._ms += 1
            digest = Hash(seal_digest(ids))
            body = Seal(at=self.end, n=0, key=SEAL_KEY, count=len(ids), digest=digest)
            pen.write(self.cluster, body)

    @property
    def end(self) -> Instant:
        """The latest instant that anything is stamped with."""
        return Instant.from_ms(self._ms)

    def roster(self) -> list[VerifiedRecord]:
        """The founder's records, by which the others are admitted."""
        return self.founder.written

    def records(self) -> Iterator[VerifiedRecord]:
        """What the members wrote."""
        for pen in self.members:
            yield from pen.written

    def rows(self) -> Iterator[Row]:
        """Everything, as a store keeps it."""
        for record in (*self.roster(), *self.records()):
            yield Row(*record.ref, record.value)

    def updates(self, size: int) -> list[bytes]:
        """What the members wrote as Yjs updates of so many records, author by author."""
        return [
            encode_update([_slice(self.cluster, pen, start, size)])
            for pen in (self.founder, *self.members)
            for start in range(0, len(pen.written), size)
        ]

    @staticmethod
    def _member(node: NodePubkey, role: Role, nonce: Hash | None = None) -> Member:
        kept = UNSET if nonce is None else nonce
        return Member(at=BEGIN, n=0, node=node, role=role, name="bench", nonce=kept)

    def _story(self, pen: Pen, story: StoryId) -> None:
        self._ms += 1
        title = f"what {story} is about"
        pen.write(self.cluster, Story(at=self.end, n=0, story=story, title=title))
        parent = None
        for event in EVENTS:
            self._ms += 1
            body = Transition(at=self.end, n=0, story=story, event=event, parent=parent)
            parent = pen.write(self.cluster, body).ref


def _slice(cluster: ClusterId, pen: Pen, start: int, size: int) -> FeedSlice:
    records: Sequence[VerifiedRecord] = list(islice(pen.written, start, start + size))
    root = pen.feed.root if start == 0 else None
    placed = [(record.clock, record.value) for record in records]
    end = start + len(records)
    return FeedSlice(pen.feed.client_id(cluster), root, start, end, placed, [])
