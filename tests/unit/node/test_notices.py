"""What an operator is told of what is not as it should be."""

from node import notices
from tests.support.cluster import Cluster


def test_what_does_not_count_because_the_clock_was_set_back_is_told():
    cluster = Cluster(1)
    cluster.add(0, "s-1")
    assert notices.standing(cluster.replicas[0], cluster.now) == []
    cluster.ms -= 2 * 3600 * 1000
    cluster.restart(0)
    assert "s-1" not in cluster.replicas[0].ledger.board
    [sentence] = notices.standing(cluster.replicas[0], cluster.now)
    assert sentence.startswith("2 records here are stamped more than five minutes ahead of this")
    cluster.ms += 2 * 3600 * 1000
    cluster.tick()
    assert notices.standing(cluster.replicas[0], cluster.now) == []
