"""Whatever the roster was meanwhile, who belongs again has everything back, and nobody forked.

Honest nodes alone write, are revoked with every kind of ``keep``, promoted, demoted and let in
again, by the founder and by an admin, together and apart, and are started again from their rows.
``make sim-roster`` plays the same with a network, clocks and disks that go wrong.
"""

import contextlib
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.authoring.intents import AdmitNode, ClaimStory
from crdt.authoring.roster_intents import Admit, Demote, Promote, Revoke
from crdt.contract.ready import ForkProven
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.records.bodies import Role, parse_body
from machines.values import FreeText, StoryId
from tests.support.builders.cluster import Cluster

SIZE = 4
NAME = FreeText("node")
SOON_SECONDS = 4.0
"""Between two comparisons, so that little time must pass."""
nodes = st.integers(0, SIZE - 1)
others = st.integers(1, SIZE - 1)
keeps = st.one_of(
    st.none(),
    st.just(()),
    st.dictionaries(st.sampled_from([0, 7]), st.integers(0, 6)).map(
        lambda d: (*sorted(d.items()),)
    ),
)
wishes = st.one_of(
    st.builds(lambda keep: lambda node: Revoke(node, keep), keeps),
    st.just(Demote),
    st.just(Promote),
    st.sampled_from(Role).map(lambda role: lambda node: Admit(node, role, NAME)),
)
steps = st.one_of(
    st.tuples(st.just("write"), nodes, st.booleans()),
    st.tuples(st.just("wish"), st.integers(0, 1), st.tuples(others, wishes)),
    st.tuples(st.just("wish"), st.integers(0, 1), st.tuples(others, wishes)),
    st.tuples(st.just("away"), others, st.none()),
    st.tuples(st.just("back"), others, st.none()),
    st.tuples(st.just("restart"), nodes, st.none()),
    st.tuples(st.just("wait"), st.integers(1, 8), st.none()),
)


class Lasting(Cluster):
    """Node 1 is an admin who let the others in. No row may leave a store but for a later one."""

    def __init__(self):
        super().__init__(SIZE)
        self.acked = []
        self.away = set()
        self.propose(0, AdmitNode(self.keys[1].pubkey, Role.ADMIN, NAME))
        self.meet()
        for number in range(2, SIZE):
            self.propose(1, AdmitNode(self.keys[number].pubkey, Role.MEMBER, NAME))
            self.deliver()

    def carry(self, number, ready):
        before = dict(self.stores[number])
        super().carry(number, ready)
        for ref in before.keys() - self.stores[number].keys():
            rows = self.stores[number].values()
            assert any(supersedes(row, before[ref]) for row in rows), f"{number} deleted {ref}"

    def meet(self):
        """Everybody who is not away is linked with everybody."""
        here = [number for number in range(SIZE) if number not in self.away]
        for one in here:
            for other in here:
                if other < one and (one, other) not in self.links:
                    self.link(one, other)
        self.deliver()

    def write(self, number, *, keyed):
        story = StoryId(f"s-{len(self.acked)}")
        with contextlib.suppress(ProposalRefused):
            self.acked.append((story, self.add(number, story)))
            if keyed:
                self.propose(number, ClaimStory(story, 60))
        self.deliver()

    def wish(self, number, wish):
        self.pass_time(0.001)
        with contextlib.suppress(ProposalRefused):
            ready, _ = self.replicas[number].change_roster(wish, self.now)
            self.carry(number, ready)
        self.deliver()

    def leave(self, number):
        self.away.add(number)
        for other in range(SIZE):
            if (number, other) in self.links:
                self.unlink(number, other)

    def play(self, what, number, how):
        match what:
            case "write":
                self.write(number, keyed=how)
            case "wish":
                target, make = how
                self.wish(number, make(self.keys[target].pubkey))
            case "away":
                self.leave(number)
            case "back":
                self.away.discard(number)
                self.meet()
            case "restart":
                self.restart(number)
                self.meet()
            case "wait":
                self.settle(number)

    def reunite(self):
        """All meet, all are started again, and the founder takes everybody back."""
        self.away.clear()
        self.meet()
        self.settle(5)
        for number in range(SIZE):
            self.restart(number)
        self.meet()
        for signing in self.keys[1:]:
            self.propose(0, AdmitNode(signing.pubkey, Role.ADMIN, NAME))
        self.deliver()
        self.settle(4 * int(SOON_SECONDS))


def supersedes(row, other):
    one, two = (parse_body(r.value[limits.SIGNATURE_BYTES :]) for r in (row, other))
    same = (row.author, row.incarnation, one.kind, one.key) == (
        other.author, other.incarnation, two.kind, two.key,
    )  # fmt: skip
    return same and one.key is not None and row.clock > other.clock


@settings(max_examples=40)
@given(st.lists(steps, min_size=3, max_size=14))
def test_who_belongs_again_has_everything_back(script):
    with mock.patch.object(limits, "ANTI_ENTROPY_SECONDS", SOON_SECONDS):
        cluster = Lasting()
        for what, number, how in script:
            cluster.play(what, number, how)
        cluster.reunite()
    cluster.assert_agreed()
    for number, replica in enumerate(cluster.replicas):
        for story, receipt in cluster.acked:
            assert replica.ledger.find(receipt.ref) is not None, f"{number} lost {receipt}"
            assert story in replica.ledger.board, f"{number} does not show {story}"
    assert not [one for seen in cluster.observed for one in seen if isinstance(one, ForkProven)]
