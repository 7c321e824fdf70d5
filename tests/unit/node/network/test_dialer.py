"""Whom a node dials, how many, and that nothing which a peer says makes it dial anything else."""

import random
from types import SimpleNamespace

import pytest

from crdt.presence.signed_presence import PresenceState, sign_presence
from crdt.primitives.identity import ClusterId
from machines.values import Instant
from node.network import dialer
from node.network.connection_limits import ConnectionLimiter
from node.network.dialer import BACKOFF_SECONDS_MIN, PATIENCE_SECONDS, Dialer
from node.network.handshake import Identity
from node.network.link_supervisor import LinkSupervisor
from node.system import clock
from tests.support.builders.cluster import START, Cluster, key

CLUSTER = ClusterId(b"c" * 32)
KEYS = [key(number) for number in range(1, 37)]


class Link:
    """As much of a link as a dialer sees."""

    def __init__(self, since=float("-inf")):
        self.since, self.ended = since, ""

    def end(self, reason):
        self.ended = reason


def made(own, known, links=8, looks=None):
    """A dialer with links by hand."""
    driver = SimpleNamespace(links={})

    async def query(look):
        return look(looks)

    driver.query = query
    holder = LinkSupervisor(driver, ConnectionLimiter(lambda: 0.0), lambda node: node.short)
    return Dialer(driver, Identity(own, CLUSTER), known, links, holder)


def places(keys):
    return {one.pubkey: (f"192.0.2.{number}:1",) for number, one in enumerate(keys, 1)}


def test_a_fleet_has_about_equal_numbers_of_links():
    """In the order of keys the first eight would have 35 each."""
    random.seed(7)
    fleet = {one.pubkey: made(one, places(KEYS)) for one in KEYS}
    for _ in range(len(KEYS)):
        for own, one in fleet.items():
            for node in one._due():
                one._driver.links[node] = fleet[node]._driver.links[own] = Link()
    held = sorted(len(one._driver.links) for one in fleet.values())
    assert held[0] >= 8
    assert held[-1] <= 20


def test_a_held_link_counts_once():
    """``links = 3`` holds three, dialled here or there."""
    one = made(KEYS[0], places(KEYS), links=3)
    nodes = [other.pubkey for other in KEYS[1:4]]
    for held, node in enumerate(nodes):
        assert len(one._due()) == 3 - held
        one._dialling[node] = one._driver.links[node] = Link()
    assert one._due() == []


def test_beyond_its_links_it_dials_one_that_is_silent():
    """Of a fleet that was cut in two each half may have links enough."""
    one = made(KEYS[0], places(KEYS[:9]), links=3)
    for other in KEYS[1:4]:
        one._driver.links[other.pubkey] = Link()
    one._silent = {other.pubkey for other in KEYS[6:9]}
    [node] = one._due()
    assert node in one._silent
    one._dialling[node] = None
    assert one._due() == [], "one at a time"
    one._driver.links[node] = Link()
    assert len(one._due()) == 1, "the others may be in a third part"


def test_link_drawn_among_few_nodes_is_redrawn():
    """Or who lets a fleet in has a link with each of it for ever."""
    one = made(KEYS[0], places(KEYS[:2]), links=3)
    den, others = KEYS[1].pubkey, KEYS[2:4]
    one._dialling[den], one._among[den] = None, 1
    link = one._driver.links[den] = Link()
    for node, known in places(KEYS).items():
        one._hear(node, known)
    one._spread()
    assert not link.ended, "there are too few others"
    for other in others:
        one._driver.links[other.pubkey] = Link()
    link.since = clock.monotonic()
    one._spread()
    assert not link.ended, "it may have come up a moment ago"
    link.since -= 2 * PATIENCE_SECONDS
    one._spread()
    assert link.ended == "elsewhere"
    link.ended = ""
    one._spread()
    assert not link.ended, "what was drawn among as many stays"


NO_ADDRESSES = (
    "[", "127.0.0.1:1/admin?all=1", "user:pw@127.0.0.1:1", "x" * 70 + ".example:1", "a..b:1",
)  # fmt: skip


@pytest.mark.parametrize("said", NO_ADDRESSES)
async def test_what_is_no_address_is_never_dialled(said):
    """Neither from the store nor from presence, whatever else the node says beside it."""
    cluster, peer = Cluster(2), key(2)
    cluster.admit_all()
    replica = cluster.replicas[0]
    one = made(KEYS[0], {peer.pubkey: (said,)}, looks=replica)
    assert one.known == {}
    state = PresenceState(Instant(START), (said, "192.0.2.7:1"))
    entry = sign_presence(peer, cluster.found.id, 1, state)
    replica.beacon.liveness.receive(peer.pubkey, entry, state, START.ms, 0.0, peer.pubkey)
    await one._learn()
    assert one.known == {peer.pubkey: ("192.0.2.7:1",)}


async def test_any_dial_error_is_logged_once_and_backs_off(monkeypatch, caplog):
    node, tries = key(9).pubkey, []

    async def raises(address, *_args):
        tries.append(address)
        raise RuntimeError(f"no. {len(tries)}")

    monkeypatch.setattr(dialer, "reach", raises)
    one = made(KEYS[0], {node: ("192.0.2.7:1",)})
    pauses = []
    for _ in range(4):
        [due] = one._due()
        one._dialling[due] = None
        await one._dial(due)
        assert one._due() == [], "it is tried again at once"
        pauses.append(one.attempts[node].delay)
        one.attempts[node].retry_at = 0.0
    assert len(tries) == 4
    assert pauses == [BACKOFF_SECONDS_MIN * factor for factor in (2, 4, 8, 16)]
    assert one.attempts[node].last_error == "dialling failed: RuntimeError"
    assert not one._dialling
    [row] = caplog.records
    assert row.exc_info[0] is RuntimeError


async def test_what_a_held_link_raises_backs_off_too(monkeypatch, caplog):
    """Though a link that was up is dialled again at once otherwise."""
    node = key(9).pubkey

    async def links(*_args):
        return SimpleNamespace(host="192.0.2.7"), None

    async def raises(_link):
        raise RuntimeError

    monkeypatch.setattr(dialer, "reach", links)
    one = made(KEYS[0], {node: ("192.0.2.7:1",)})
    one._supervisor.hold = raises
    for factor in (2, 4, 8):
        one.attempts.setdefault(node, dialer.DialAttempt()).retry_at = 0.0
        one._dialling[node] = None
        await one._dial(node)
        assert one.attempts[node].delay == BACKOFF_SECONDS_MIN * factor
        assert one._due() == []
    assert len(caplog.records) == 1
