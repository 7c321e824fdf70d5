"""Rate limits for each author: records, new feeds, roster records, and events of each story.

Only signed records that are new here are charged, because a peer must not use up the share of an
author by repeating old records. A new feed or fork costs every node some kilobytes for ever, and
honest nodes rarely open one, so the limit for those is lower. A record that does not fit gets no
verdict; anti-entropy brings it again. Source: protocol §5, 7; §14.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

from machines.values import NodePubkey

from crdt.contract.ready import Noticed, NoticeKind
from crdt.ledger.ingest import Signed, UndecodableRecord
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.token_bucket import TokenBucket
from crdt.records.bodies import Ack, Evidence, Member, Statement, Transition
from crdt.records.fork_proof import claimed_proof
from crdt.records.record import VerifiedRecord

REPORT_SECONDS: Final = 60.0
TOO_MANY_RECORDS: Final = "writes more records than one author may; the rest comes later"
TOO_MANY_FEEDS: Final = "opens or forks more feeds than one author may; the rest comes later"
TOO_MANY_STATEMENTS: Final = (
    "changes the roster more often than one admin may; the rest comes later"
)
TOO_MANY_EVENTS: Final = "writes more events of one story than one author may; the rest comes later"
K = TypeVar("K", bound=Hashable)


class AuthorRateLimits:
    """The rate limits of all authors.

    Args:
        own: our own key, which has no limit: its records come back after a loss.

    Attributes:
        mono: the time now, in monotonic seconds; set by the caller before each step.
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
        """Return the records that are new and within the limits, each of them once."""
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
        """Refund the records that were not accepted after all.

        Args:
            live: the records that became live, and so were accepted.
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
        """Yield (buckets, key, amount) for everything that a record is charged to."""
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
        """Charge a new feed, or a fork, to an author; return whether it fits."""
        return author == self._own or self._feeds.take(author, self.mono)

    def news(self) -> list[Noticed]:
        """Return observations on the authors over a limit since the last call.

        Each author is reported at most once a minute for each limit.
        """
        if not any(b.over for b in (self._records, self._feeds, self._statements, self._stories)):
            return []
        busy = sorted({author for author, _ in self._stories.news(self.mono)})
        return [
            Noticed(NoticeKind.FLOOD, f"{author.short} {what}", author)
            for authors, what in (
                (sorted(self._records.news(self.mono)), TOO_MANY_RECORDS),
                (sorted(self._feeds.news(self.mono)), TOO_MANY_FEEDS),
                (sorted(self._statements.news(self.mono)), TOO_MANY_STATEMENTS),
                (busy, TOO_MANY_EVENTS),
            )
            for author in authors
        ]


def is_news(ledger: Ledger, record: Signed) -> bool:
    """Whether a record could change anything: it is neither known nor superseded."""
    if ledger.is_known(record):
        return False
    feed = ledger.feeds.get(record.feed)
    if feed is None or isinstance(record, UndecodableRecord) or not feed.has_melted(record):
        return True
    # A fork proof counts even in a superseded record.
    body = record.body
    return isinstance(body, Evidence) and ledger.proofs.is_news(claimed_proof(body))


def _weight(body: Statement) -> float:
    """Return the cost of a roster record, in ordinary ones."""
    if isinstance(body, Member):
        return 1.0
    named, kept = len(body.admissions), len(body.keep)
    return 1.0 + (10 * (named + kept) + named * kept) / limits.STATEMENT_STEPS


class TokenBuckets(Generic[K]):
    """A token bucket for each key, and the keys that ran out.

    Args:
        bounds: returns (burst, tokens per second).

    Attributes:
        over: the keys that ran out since the last report.
    """

    def __init__(self, bounds: Callable[[], tuple[float, float]]) -> None:
        self._bounds = bounds
        self._buckets: dict[K, TokenBucket] = {}
        self.over: set[K] = set()
        self._reported: dict[K, float] = {}
        self._next = 0

    def take(self, key: K, mono: float, amount: float = 1.0) -> bool:
        """Take tokens if there are enough; return whether there were."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget(mono)
            bucket = self._buckets[key] = TokenBucket(*self._bounds(), mono)
        if bucket.take(mono, amount):
            return True
        self.over.add(key)
        return False

    def give_back(self, key: K, amount: float = 1.0) -> None:
        """Return tokens to a bucket."""
        self._buckets[key].give_back(amount)

    def news(self, mono: float) -> list[K]:
        """Return the keys that ran out since the last call and may be reported again."""
        over, self.over = self.over, set()
        news = [
            key for key in over if mono - self._reported.get(key, float("-inf")) >= REPORT_SECONDS
        ]
        self._reported |= dict.fromkeys(news, mono)
        return news

    def _forget(self, mono: float) -> None:
        """Drop full buckets, so that keys of strangers do not fill the memory."""
        if len(self._buckets) >= max(limits.LINKS_MAX, self._next):
            self._buckets = {key: b for key, b in self._buckets.items() if not b.full(mono)}
            self._reported = {
                key: t for key, t in self._reported.items() if mono - t < REPORT_SECONDS
            }
            self._next = 2 * len(self._buckets)  # the next time that the number has doubled
