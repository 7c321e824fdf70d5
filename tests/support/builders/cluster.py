"""Replicas in one process, with messages carried by hand: no sockets, no clock, no chance."""

from collections import deque

from msgspec import UNSET
from pycrdt import Array

from crdt.authoring.intents import AddStory, AdmitNode, FireEvent
from crdt.contract.checkpoint import pass_on
from crdt.contract.ready import Now, Row
from crdt.primitives.identity import FeedId, Hash, SigningKey, cluster_id_of
from crdt.records.bodies import Member, Role, encode_body
from crdt.records.record import sign_record
from crdt.replica import Replica
from machines.values import FreeText, Instant, StoryId

START = Instant("2026-11-24T10:00:00.000Z")


def key(number):
    return SigningKey(bytes([number]) * 32)


class Found:
    """A cluster founded by ``key(1)``: its id, and the founding record."""

    def __init__(self):
        self.founder = key(1)
        self.body = Member(
            at=START, n=0, node=self.founder.pubkey, role=Role.ADMIN, name="den",
            ticket=UNSET, nonce=Hash(b"n" * 32),
        )  # fmt: skip
        # The cluster id is made of the founding body, which does not name it.
        self.id = cluster_id_of(self.founder.pubkey, encode_body(self.body))
        self.record = sign_record(self.founder, self.id, 0, 0, self.body)


class Cluster:
    """Replicas, the store of each, and the messages between them that are under way."""

    def __init__(self, size=3, checkpoint=pass_on):
        self.checkpoint = checkpoint
        self.found = Found()
        self.ms = START.ms
        self.mono = 0.0
        self.keys = [key(number + 1) for number in range(size)]
        self.replicas = [self.make(k) for k in self.keys]
        self.stores = [{} for _ in self.keys]
        self.proofs = [{} for _ in self.keys]
        self.rendered = [{} for _ in self.keys]
        self.ends = [None for _ in self.keys]
        self.wire = deque()
        self.links = set()
        self.observed = [[] for _ in self.keys]
        self.quarantined = [[] for _ in self.keys]
        self.faults = []
        for number in range(size):
            self.carry(number, self.start(number))

    def make(self, signing, **options):
        options.setdefault("seed", bytes(signing.pubkey))
        options.setdefault("checkpoint", self.checkpoint)
        return Replica(signing, self.found.id, self.found.founder.pubkey, **options)

    def start(self, number):
        """Replay what this node has on disk; the founding record at least."""
        founding = self.found.record
        rows = self.stores[number] or {founding.ref: Row(*founding.ref, founding.value)}
        self.stores[number] = dict(rows)
        return self.replicas[number].replay(
            rows.values(), self.proofs[number].values(), self.rendered[number], self.now_of(number)
        )

    @property
    def now(self):
        return Now(Instant.from_ms(self.ms), self.mono)

    def now_of(self, number):
        """The time as one host has it; here all clocks are right."""
        return self.now

    def index(self, pubkey):
        return next(i for i, k in enumerate(self.keys) if k.pubkey == pubkey)

    def route(self, number, pubkey):
        """Which node a peer of this one is."""
        return self.index(pubkey)

    def pass_time(self, seconds):
        self.ms += int(seconds * 1000)
        self.mono += seconds

    # --- carrying out ----------------------------------------------------------------------

    def carry(self, number, ready):
        """What the shell does, in its order: persist, then reply and publish."""
        for key_, row in ready.persist.rows.items():
            if row is None:
                self.stores[number].pop(tuple(key_), None)
            else:
                self.stores[number][tuple(key_)] = row
        for proof in ready.persist.proofs:
            self.proofs[number][FeedId(proof.author, proof.incarnation)] = proof
        self.rendered[number].update(ready.persist.rendered)
        self.ends[number] = ready.persist.own_end or self.ends[number]
        for outgoing in (*ready.reply, *ready.publish):
            for peer in outgoing.peers:
                self.wire.append((number, self.route(number, peer), outgoing.data))
                if outgoing.goes_on:
                    self.carry(number, self.replicas[number].go_on(peer, self.now_of(number)))
        self.observed[number] += ready.observe
        self.quarantined[number] += ready.quarantine
        if ready.fault is not None:
            self.faults.append((number, ready.fault))

    def link(self, one, other):
        for here, there in ((one, other), (other, one)):
            self.links.add((here, there))
            clock, now = self.now_of(there).wall, self.now_of(here)
            self.carry(here, self.replicas[here].connected(self.keys[there].pubkey, clock, now))

    def unlink(self, one, other):
        for here, there in ((one, other), (other, one)):
            self.links.discard((here, there))
            self.replicas[here].disconnected(self.keys[there].pubkey)

    def link_all(self):
        for one in range(len(self.keys)):
            for other in range(one):
                self.link(one, other)

    def deliver(self, limit=10_000):
        """Carry messages until none is under way."""
        while self.wire:
            sender, receiver, data = self.wire.popleft()
            if (sender, receiver) in self.links:
                self.hand(sender, receiver, data)
            limit -= 1
            assert limit, "the nodes talk without end"

    def hand(self, sender, receiver, data):
        replica = self.replicas[receiver]
        self.carry(receiver, replica.receive(self.keys[sender].pubkey, data, self.now_of(receiver)))

    def tick(self, seconds=1.0):
        self.pass_time(seconds)
        for number, replica in enumerate(self.replicas):
            self.carry(number, replica.tick(self.now_of(number)))
        self.deliver()

    def settle(self, seconds=70):
        """Two anti-entropy periods and a little."""
        for _ in range(seconds):
            self.tick()

    # --- acting ----------------------------------------------------------------------------

    def propose(self, number, intent):
        self.pass_time(0.001)
        ready, receipt = self.replicas[number].propose(intent, self.now_of(number))
        self.carry(number, ready)
        return receipt

    def admit_all(self, role=Role.MEMBER):
        for signing in self.keys[1:]:
            self.propose(0, AdmitNode(signing.pubkey, role, FreeText("node")))

    def add(self, number, story, **fields):
        return self.propose(number, AddStory(StoryId(story), **fields))

    def fire(self, number, story, event, **options):
        return self.propose(number, FireEvent(StoryId(story), event, **options))

    def restart(self, number, **options):
        """Build a node again from what it has on disk."""
        options.setdefault("incarnation", self.replicas[number].incarnation)
        options.setdefault("written", self.ends[number])
        for one, other in [link for link in self.links if link[0] == number]:
            self.unlink(one, other)
        self.replicas[number] = self.make(self.keys[number], **options)
        self.carry(number, self.start(number))

    # --- looking ---------------------------------------------------------------------------

    def digests(self):
        return {replica.document_digest() for replica in self.replicas}

    def views(self):
        return {replica.ledger.board.canonical() for replica in self.replicas}

    def assert_agreed(self, *, nodes=None):
        chosen = [self.replicas[n] for n in nodes] if nodes is not None else self.replicas
        assert len({replica.document_digest() for replica in chosen}) == 1
        assert len({replica.ledger.board.canonical() for replica in chosen}) == 1
        for replica in chosen:
            check_document(replica)


def check_document(replica):
    """The pycrdt document shows exactly what the feeds say it shows."""
    for feed in replica.ledger.feeds.values():
        shown = [bytes(value) for value in replica.document.doc.get(feed.id.root, type=Array)]
        rendered = replica.document.end(feed.id)
        # From the words of protocol §3, not from the feed's own: nothing behind a fork is shown.
        end = rendered if feed.fork is None else min(rendered, feed.fork)
        expected = [record.value for record in feed.live() if record.clock < end]
        if replica.document.owners.get(feed.client_id) is feed:
            assert shown == expected, feed.id


def updates_since(document, feeds, known):
    """All that another document lacks, given its state vector; part by part."""
    lacked, parts = document.lacking(feeds, known), []
    while lacked:
        parts.append(document.next_update(lacked))
    return parts


def shown(replica):
    """What a Yjs client would read, every feed as a list of values."""
    found = []
    for feed in replica.ledger.feeds.values():
        if replica.document.owners.get(feed.client_id) is feed:
            read = replica.document.doc.get(feed.id.root, type=Array)
            values = tuple(bytes(value) for value in read)
            if values:
                found.append((feed.id, values))
    return tuple(sorted(found))
