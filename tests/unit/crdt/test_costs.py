"""What one message, or one tick, may cost, whoever sent it: counted in steps, not in seconds.

Each test does the same to a small board and to a large one. Where the cost may not depend on what
is held, the counts are all but equal; where it may, twice as much costs about twice as much.
"""

from functools import partial

import pytest

from crdt.authoring.intents import AdmitNode
from crdt.authoring.roster_intents import Admit, Revoke
from crdt.contract.checkpoint import pass_on
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.sync import anti_entropy
from crdt.wire.messages import RangeDigest, RangeDigests, SyncStep2, Update, encode_frame
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines import pipeline as p
from machines.values import FreeText
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.record_author import RecordAuthor, as_frame
from tests.support.tools.steps import longest, steps

FEW = 1_500
"""Steps by which two messages may differ: halving looks a few times more at what is longer."""


class Board:
    """A node, and a pen for a member whose every message it takes."""

    def __init__(self):
        self.told = pass_on
        self.cluster = Cluster(3, checkpoint=self.checkpoint)
        self.cluster.admit_all()
        self.replica = self.cluster.replicas[0]
        for signing in self.cluster.keys[1:]:
            self.replica.connected(signing.pubkey, self.cluster.now.wall, self.cluster.now)

    def pen(self, number=1, **where):
        return RecordAuthor(
            self.cluster.keys[number], self.cluster.found.id, self.cluster.ms, **where
        )

    def take(self, frame, number=1):
        """One message from a member."""
        peer = self.cluster.keys[number].pubkey
        ready = self.replica.receive(peer, frame, self.cluster.now)
        assert ready.fault is None
        return ready

    def cost(self, *frames):
        return steps(lambda: [self.take(frame) for frame in frames])

    def wish(self, wish):
        """What an operator of this node wishes for the roster."""
        self.cluster.pass_time(2)
        return self.replica.change_roster(wish, self.cluster.now)

    def checkpoint(self):
        self.told()

    def longest(self, work):
        """The most steps between two checkpoints."""

        def watched(checkpoint):
            self.told = checkpoint
            work()

        try:
            return longest(watched)
        finally:
            self.told = pass_on

    def feed(self, pen):
        return self.replica.ledger.feeds[FeedId(pen.node, pen.incarnation)]

    def slice(self, pen, start, end, records):
        """What an update says of a feed: records, and nothing in the other slots."""
        feed = FeedId(pen.node, pen.incarnation)
        held = {record.clock for record in records}
        gaps = [(clock, 1) for clock in range(start, end) if clock not in held]
        rows = [(record.clock, record.value) for record in records]
        client = feed.client_id(self.cluster.found.id)
        piece = FeedSlice(client, feed.root if start == 0 else None, start, end, rows, gaps)
        return encode_update([piece])


@pytest.fixture
def board():
    return Board()


def test_twice_as_many_gaps_in_a_feed_twice_as_long_cost_twice_as_much(board):
    counts = []
    for size in (200, 400):
        pen = board.pen(incarnation=size)
        records = [pen.story("s") for _ in range(size)]
        board.take(as_frame(*records))
        update = board.slice(pen, 0, size - 1, records[:-1:2])
        counts.append(board.cost(encode_frame(SyncStep2(update))))
    assert counts[1] <= 2.2 * counts[0]


def test_what_must_come_back_in_a_long_feed_costs_what_it_costs_in_a_short_one(board):
    counts = []
    for size in (100, 400):
        pen = board.pen(incarnation=size)
        board.take(as_frame(*[pen.story("s") for _ in range(size)]))
        late, last = pen.story("s"), pen.story("s")
        gap = encode_frame(Update(board.slice(pen, size, size + 2, [last])))
        board.cluster.pass_time(2)
        counts.append(board.cost(gap, as_frame(late)))
        assert board.replica.document.end(board.feed(pen).id) == size + 2
    assert counts[1] <= counts[0] + FEW


def test_a_digest_of_a_long_feed_costs_what_one_of_a_short_feed_costs(board):
    counts = []
    for size in (100, 400):
        pen = board.pen(incarnation=size)
        board.take(as_frame(*[pen.story("s") for _ in range(size)]))
        other = RangeDigest(0, limits.CLOCK_MAX + 1, 40, bytes(32))
        asked = encode_frame(RangeDigests(pen.node, size, (other,)))
        board.take(asked)
        counts.append(board.cost(as_frame(pen.story("s")), asked))
    assert counts[1] <= counts[0] + FEW


def rivals(pen, many, *, downwards):
    """Events of one story that compete, each later than the one before it, or earlier."""
    begin = pen.ms
    ways = [begin - n if downwards else begin + n for n in range(many)]
    return [pen.transition("s", p.DepsMet(), ms=ms) for ms in ways]


@pytest.mark.parametrize("downwards", [False, True])
def test_one_more_of_many_rivals_in_a_story_costs_little_more(board, downwards):
    pen = board.pen()
    events = rivals(pen, 410, downwards=downwards)
    board.take(as_frame(*events[:100]))
    few = board.cost(as_frame(events[100]))
    board.take(as_frame(*events[101:400]))
    assert board.cost(as_frame(events[400])) <= few + (300 * 40 if downwards else 0) + FEW
    assert len(board.replica.ledger.board.story("s").conflicts) == 400


def test_an_event_beside_a_long_path_costs_a_fold_once_and_then_little(board):
    pen, other = board.pen(), board.pen(2)
    path = [pen.transition("s", p.DepsMet())]
    for n in range(200):
        event = p.Unblock() if n % 2 else p.Block(FreeText(""))
        path.append(pen.transition("s", event, path[-1]))
    board.take(as_frame(*path))
    board.take(as_frame(other.transition("s", p.Abandon())), 2)
    beside = as_frame(other.transition("s", p.Abandon()))
    lone = as_frame(other.transition("t", p.Abandon()))
    assert board.cost(beside) <= board.cost(lone) + 2 * FEW


def test_how_many_stories_stand_where_costs_the_same_however_many_there_are(board):
    pen, counts = board.pen(), []
    for many in (100, 400):
        moved = [pen.transition(f"s{many}-{n}", p.DepsMet()) for n in range(many)]
        board.take(as_frame(*moved))
        stages = board.replica.ledger.board.stages
        stages()
        board.take(as_frame(pen.transition(f"s{many}-0", p.GatesStarted(), moved[0])))
        counts.append(steps(stages))
    assert counts[1] <= counts[0] + FEW / 10


@pytest.mark.parametrize("own", [False, True])
def test_one_more_that_names_a_void_event_costs_the_same_however_many_do(board, own):
    """They are the liar's own: of an event that his fork voids none of them makes anything."""
    forked, pen = board.pen(incarnation=7), board.pen(incarnation=8)
    event = forked.transition("t", p.DepsMet())
    board.take(as_frame(event))
    board.take(as_frame(forked.story("t", clock=0)))
    counts = []
    for many in (20, 200):
        if own:
            namers = [pen.ack("u", event) for _ in range(many + 1)]
        else:
            namers = [pen.transition(f"u{n}", p.Abandon(), event) for n in range(many + 1)]
        board.take(as_frame(*namers[:-1]))
        counts.append(board.cost(as_frame(namers[-1])))
    assert counts[1] <= counts[0] + FEW


def test_what_a_member_says_of_the_roster_costs_the_same_however_much_he_said(board):
    pen, node = board.pen(), board.cluster.keys[2].pubkey
    counts = []
    for many in (10, 100):
        board.take(as_frame(*[pen.member(node, Role.MEMBER, "x") for _ in range(many)]))
        counts.append(board.cost(as_frame(pen.member(node, Role.MEMBER, "x"))))
    assert counts[1] <= counts[0] + FEW


def test_a_role_costs_the_same_however_many_admissions_and_revocations_it_rests_on(board):
    admin = RecordAuthor(key(9), board.cluster.found.id, board.cluster.ms)
    board.cluster.propose(0, AdmitNode(admin.node, Role.ADMIN, FreeText("admin")))
    pen = board.pen()
    counts = []
    for many in (4, 12):
        admitted = [admin.member(pen.node, Role.MEMBER, "x") for _ in range(many)]
        board.take(as_frame(*admitted))
        keep = [(0, limits.CLOCK_MAX)]
        revoked = [admin.revocation(pen.node, admitted, keep=keep) for _ in range(many)]
        board.take(as_frame(*revoked))
        board.take(as_frame(pen.story("s")))
        counts.append(board.cost(as_frame(pen.story("s"))))
    assert counts[1] <= counts[0] + FEW


def test_no_stretch_of_a_fork_or_a_move_of_the_roster_grows_with_what_rests_on_it(
    board, monkeypatch
):
    """The shell may let others go first at each checkpoint, however much is judged again."""
    monkeypatch.setattr(anti_entropy, "REPLY_BYTES_MAX", 2000)  # one frame is encoded in one go
    signing = board.cluster.keys[2]
    wishes = (Revoke(signing.pubkey, ()), Admit(signing.pubkey))
    counts = []
    for size in (100, 400):
        pen = board.pen(2, incarnation=size)
        board.take(as_frame(*[pen.story(f"s-{size}-{number}") for number in range(size)]), 2)
        twin = as_frame(pen.story("other", clock=0))
        works = [partial(board.wish, wish) for wish in wishes] + [partial(board.take, twin, 2)]
        counts.append([board.longest(work) for work in works])
        board.cluster.pass_time(2)
    few, many = counts
    assert all(one <= other + FEW for one, other in zip(many, few, strict=True)), counts


def test_records_of_a_large_message_are_read_in_steps(board):
    # Reading the records themselves is most of what a message of a megabyte costs.
    counts = []
    for size in (64, 1_000):
        pen = board.pen(incarnation=size)
        records = [pen.story(f"s-{number}", clock=number) for number in range(size)]
        message = encode_frame(Update(board.slice(pen, 0, size, records)))
        counts.append(board.longest(partial(board.replica.open, pen.node, message)))
    assert counts[1] <= counts[0] + FEW, counts


def test_what_an_admin_says_of_the_roster_costs_no_more_once_he_said_all_that_is_taken(
    board, monkeypatch
):
    monkeypatch.setattr(limits, "STATEMENTS_BURST", 20)
    admin = RecordAuthor(key(9), board.cluster.found.id, board.cluster.ms)
    board.cluster.propose(0, AdmitNode(admin.node, Role.ADMIN, FreeText("admin")))
    node = board.cluster.keys[2].pubkey
    counts = []
    for many in (20, 200):
        board.take(as_frame(*[admin.member(node, Role.MEMBER, "x") for _ in range(many)]))
        counts.append(board.cost(as_frame(admin.member(node, Role.MEMBER, "x"))))
    assert counts[1] <= counts[0] + FEW
