"""Four real daemons on hosts of their own, held to every law after each test."""

import contextlib

import pytest

from tests.support.faults import network_namespaces
from tests.support.harness import daemons
from tests.support.harness.workload import Workload
from tests.support.invariants import fleet_laws


class Team:
    """The daemons, the network between them, and what they have acknowledged."""

    def __init__(self, network, nodes):
        self.network = network
        self.nodes = nodes
        self.acked = []

    def __iter__(self):
        return iter(self.nodes)

    def working(self, nodes=None):
        """Callers at every node, to be used as a context."""
        return Workload(nodes or self.nodes, len(self.acked), self.acked)

    def settle(self):
        """Every fault ends; then every law must hold."""
        self.network.heal()
        for node in self.nodes:
            node.recover()
        fleet_laws.hold(self.nodes, self.acked)


class Kennel:
    """Keeps one team from test to test, since making one takes long, while its laws hold."""

    def __init__(self, folders):
        self._folders = folders
        self._stack = contextlib.ExitStack()
        self._team = None

    def take(self):
        team, self._team = self._team, None
        if team is None:
            self._stack.close()
            network = self._stack.enter_context(network_namespaces.Network())
            folder = self._folders.mktemp("fleet")
            on_a_host = lambda home: daemons.Node(home, network.host())  # noqa: E731
            fleet = self._stack.enter_context(daemons.Fleet(folder, on_a_host))
            den = fleet.found()
            for name in ("b", "c", "d"):
                fleet.join(den, name)
            team = Team(network, fleet.nodes)
        return team

    def put_back(self, team):
        self._team = team

    def close(self):
        self._stack.close()


@pytest.fixture(scope="session")
def kennel(tmp_path_factory):
    if missing := network_namespaces.missing():
        pytest.skip(missing)
    kennel = Kennel(tmp_path_factory)
    yield kennel
    kennel.close()


@pytest.fixture
def team(kennel):
    team = kennel.take()
    yield team
    team.settle()
    kennel.put_back(team)
