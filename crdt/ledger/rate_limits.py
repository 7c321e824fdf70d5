"""How much of one author is taken: a bucket of records, one of feeds and one of words about the
roster for each, and one of events for each story, so that none floods the others.

Stands between ``ingest.py`` and ``ledger.py``. Counts only what an author signed and what is news
here, since nobody else's doing may cost him his share: whoever has his old records could bring them
again and again. A new feed, or a fork of one, costs every node some kilobytes for ever, and is no
honest node's daily business: of those far fewer fit. What does not fit is not taken and has no
verdict; anti-entropy brings it back. Source: protocol §5, 7; §14.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

from machines.values import NodePubkey

from crdt.contract.ready import Noticed
from crdt.ledger.ingest import Signed, UndecodableRecord
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.token_bucket import TokenBucket
from crdt.records.bodies import Ack, Evidence, Member, Statement, Transition
from crdt.records.fork_proof import claimed_proof
from crdt.records.record import VerifiedRecord

SAY_SECONDS: Final = 60.0
TOO_MUCH: Final = "writes more than is taken of one author; the rest comes later"
TOO_MANY: Final = "opens or forks more feeds than are taken of one author; the rest comes later"
TOO_BOSSY: Final = "says more of the roster than is taken of one admin; the rest comes later"
TOO_BUSY: Final = "writes more of one story than is taken of one author; the rest comes later"
K = TypeVar("K", bound=Hashable)


class AuthorRateLimits:
    """The buckets of all authors.

    Args:
        own: the own key, whose records are always taken: they come back after a loss.

    Attributes:
        mono: the time, in monotonic seconds; handed in at each step.
    """

    def __init__(self, own: NodePubkey) -> None:
        self.mono = 0.0
        self._own = own
        self._records: TokenBuckets[NodePubkey] = TokenBuckets(
            lambda: (limits.AUTHOR_RECORDS_BURST, limits.AUTHOR_RECORDS_PER_SECOND)
        )
        self._feeds: TokenBuckets[NodePubkey] = TokenBuckets(
            lambda: (limits.AUTHOR_FEEDS_BURST, limits.AUTHOR_FEEDS_PER_SECOND)
        )
        self._statements: TokenBuckets[NodePubkey] = TokenBuckets(
            lambda: (limits.STATEMENTS_BURST, limits.STATEMENTS_PER_SECOND)
        )
        self._stories: TokenBuckets[tuple[NodePubkey, str]] = TokenBuckets(
            lambda: (limits.STORY_EVENTS_BURST, limits.STORY_EVENTS_PER_SECOND)
        )

    def take(self, records: Sequence[Signed], ledger: Ledger) -> list[Signed]:
        """Sort out which records are news and fit; each once, however often it was brought."""
        news = {record.record_id: record for record in records if is_news(ledger, record)}
        return [r for r in news.values() if r.feed.author == self._own or self._fits(r, ledger)]

    def _fits(self, record: Signed, ledger: Ledger) -> bool:
        return all(
            buckets.take(key, self.mono, amount)
            for buckets, key, amount in self._charges(record, ledger)
        )

    def give_back(
        self, records: Sequence[Signed], ledger: Ledger, live: Sequence[VerifiedRecord]
    ) -> None:
        """Charge nothing for those of the records that were not taken after all.

        Args:
            live: what became live, and so was taken.
        """
        taken = {record.record_id for record in live}
        for record in records:
            if record.record_id in taken or record.feed.author == self._own:
                continue
            if is_news(ledger, record):
                for buckets, key, amount in self._charges(record, ledger):
                    buckets.give_back(key, amount)

    def _charges(
        self, record: Signed, ledger: Ledger
    ) -> Iterator[tuple["TokenBuckets[Any]", Hashable, float]]:
        """From which buckets a record takes, and how much."""
        author, body = (
            record.feed.author,
            None if isinstance(record, UndecodableRecord) else record.body,
        )
        if isinstance(body, Transition | Ack):
            yield self._stories, (author, body.story), 1.0
        elif isinstance(body, Statement) and author != ledger.roster.founder:
            yield self._statements, author, _weight(body)
        yield self._records, author, 1.0

    def opens(self, author: NodePubkey) -> bool:
        """Whether one more feed of an author, or one more fork, fits."""
        return author == self._own or self._feeds.take(author, self.mono)

    def news(self) -> list[Noticed]:
        """What to say of those of whom not everything fitted, since it was last asked.

        An author is named once a minute at most for each.
        """
        busy = sorted({author for author, _ in self._stories.news(self.mono)})
        return [
            Noticed("flood", f"{author.short} {what}", author)
            for authors, what in (
                (sorted(self._records.news(self.mono)), TOO_MUCH),
                (sorted(self._feeds.news(self.mono)), TOO_MANY),
                (sorted(self._statements.news(self.mono)), TOO_BOSSY),
                (busy, TOO_BUSY),
            )
            for author in authors
        ]


def is_news(ledger: Ledger, record: Signed) -> bool:
    """Whether a record could change anything: what has a place, or was superseded, does not."""
    if ledger.is_known(record):
        return False
    feed = ledger.feeds.get(record.feed)
    if feed is None or isinstance(record, UndecodableRecord) or not feed.has_melted(record):
        return True
    # A proof counts wherever it is found.
    body = record.body
    return isinstance(body, Evidence) and ledger.proofs.is_news(claimed_proof(body))


def _weight(body: Statement) -> float:
    """How many words about the roster this one is as dear as."""
    if isinstance(body, Member):
        return 1.0
    named, kept = len(body.admissions), len(body.keep)
    return 1.0 + (10 * (named + kept) + named * kept) / limits.STATEMENT_STEPS


class TokenBuckets(Generic[K]):
    """One bucket for each of what is bounded, and which were emptied.

    Args:
        bounds: gives what may be taken at once, and what flows back in a second.
    """

    def __init__(self, bounds: Callable[[], tuple[float, float]]) -> None:
        self._bounds = bounds
        self._buckets: dict[K, TokenBucket] = {}
        self._over: set[K] = set()
        self._told: dict[K, float] = {}
        self._next = 0

    def take(self, key: K, mono: float, amount: float = 1.0) -> bool:
        """Take so many; says whether they were there."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget(mono)
            bucket = self._buckets[key] = TokenBucket(*self._bounds(), mono)
        if bucket.take(mono, amount):
            return True
        self._over.add(key)
        return False

    def give_back(self, key: K, amount: float = 1.0) -> None:
        """Put back what was taken."""
        self._buckets[key].give_back(amount)

    def news(self, mono: float) -> list[K]:
        """Which to name: what was emptied since this was last asked."""
        over, self._over = self._over, set()
        news = [key for key in over if mono - self._told.get(key, float("-inf")) >= SAY_SECONDS]
        self._told |= dict.fromkeys(news, mono)
        return news

    def _forget(self, mono: float) -> None:
        """A full bucket says nothing: keys that nobody knows must not fill the memory."""
        if len(self._buckets) >= max(limits.LINKS_MAX, self._next):
            self._buckets = {key: b for key, b in self._buckets.items() if not b.full(mono)}
            self._told = {key: t for key, t in self._told.items() if mono - t < SAY_SECONDS}
            self._next = 2 * len(self._buckets)  # looked through as often as it doubles
