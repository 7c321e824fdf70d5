"""A small cluster's ledger, and a pen for everyone in it: where most tests of the core begin."""

from crdt.ledger.feed import EntryStatus
from crdt.ledger.ledger import Ledger
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.records.signatures import verify_batch
from crdt.sync.yjs_document import Document
from machines import execution as x
from machines.values import AgentName, Instant
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor

CODER = AgentName("coder")


class LedgerFixture:
    """A ledger that holds the founding record and the founder's admissions.

    ``ada`` is an admin, ``bob`` and ``cat`` are members, ``obs`` is an observer; nobody has heard
    of ``sam``. The wall clock stands a minute after the founding.
    """

    def __init__(self, ledger=None):
        self.found = Found()
        self.cluster = self.found.id
        self.founder, self.ada, self.bob, self.cat, self.obs, self.sam = (
            RecordAuthor(key(number), self.cluster, START.ms + 1000 * number)
            for number in range(1, 7)
        )
        self.founder.clock = 1
        self.ms = START.ms + 60_000
        self.ledger = ledger or Ledger(self.cluster, self.found.founder.pubkey, verify_batch)
        self.document = Document(self.ledger.feeds)
        self.admissions = {
            pen.node: self.founder.member(pen.node, role)
            for pen, role in (
                (self.ada, Role.ADMIN),
                (self.bob, Role.MEMBER),
                (self.cat, Role.MEMBER),
                (self.obs, Role.OBSERVER),
            )
        }
        self.take(self.found.record, *self.admissions.values())

    @property
    def now(self):
        return Instant.from_ms(self.ms)

    @property
    def board(self):
        return self.ledger.board

    def take(self, *records, **options):
        """Merge records, and return what changed."""
        changes = self.ledger.merge(records, self.now, **options)
        self.document.note(changes)
        return changes

    def feed(self, pen):
        return self.ledger.feeds[FeedId(pen.node, pen.incarnation)]

    def verdict(self, record):
        """Where a record stands: a verdict, a word, or ``None`` where nothing of it is kept."""
        entry = self.ledger.entry(record.ref)
        if entry is not None:
            return entry.verdict
        if record.record_id in self.ledger.pending:
            return "pending"
        return "rejected" if self.ledger.is_rejected(record.ref) else None

    def live(self, pen):
        return self.feed(pen).live()


def spawn(pen, story="s-1", **where):
    """An execution that follows from itself: an agent is asked for."""
    at = pen.at()
    state = x.Pending(CODER, at)
    return pen.execution(story, x.Idle(), x.SpawnRequested(CODER), state, ms=at.ms, **where)


ADMITTED, VOID_FORK, VOID_REVOKED = (
    EntryStatus.ADMITTED,
    EntryStatus.VOID_FORK,
    EntryStatus.VOID_REVOKED,
)
BUILT_UPON, AHEAD = EntryStatus.BUILT_UPON, EntryStatus.AHEAD
WAITING, REJECTED = EntryStatus.WAITING, EntryStatus.REJECTED
