"""The nodes of a scenario by name: honest ones with replicas, liars with a pen and no scruples.

``n…`` is an honest node. ``x…`` is a member that signs whatever it is told, and ``z…`` a stranger
who does; neither runs a replica.
"""

import re

from crdt.authoring.intents import AdmitNode
from crdt.contract.ready import Now
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.wire.messages import RangeDigests, Update, encode_frame
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines.values import FreeText, Instant
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.record_author import RecordAuthor, as_frame

LIARS = ("x", "z")
FEED = re.compile(r"\b([nxz]\w+)/(\d+)\b")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")
RANGES = encode_frame(RangeDigests(bytes(32), 0, ()))[:1]


class NamedCluster(Cluster):
    """A cluster whose nodes have names.

    Attributes:
        labels: records by the name that the transcript gives them.
        off_ms: how far each host's clock is off.
        compared: how often a node was sent digests of ranges of a feed.
        may_fork: keys of hosts that were cloned or put back while they ran.
    """

    def __init__(self):
        super().__init__(0)
        self.names = []
        self.labels = {}
        self.off_ms = {}
        self.kept = {}
        self.gone = set()
        self.compared = 0
        self.may_fork = set()
        self._pens = {}
        self._drawn = {}

    # --- who is here -----------------------------------------------------------------------

    def found_with(self, words):
        """``n1 n2/admin x1 z1``: the first founds, and admits all but strangers."""
        self.names = [word.partition("/")[0] for word in words]
        self.keys = [key(number + 1) for number in range(len(words))]
        self.replicas = [self.make(signing) for signing in self.keys]
        for table in ("stores", "proofs", "rendered"):
            setattr(self, table, [{} for _ in words])
        for table in ("observed", "quarantined"):
            setattr(self, table, [[] for _ in words])
        self.ends = [None for _ in words]
        for number in range(len(words)):
            self.carry(number, self.start(number))
        belong = [n for n, word in enumerate(words) if not word.endswith("/stranger")]
        belong = [n for n in belong if not self.names[n].startswith("z")]
        for number in belong[1:]:
            role = words[number].partition("/")[2] or "member"
            intent = AdmitNode(self.keys[number].pubkey, Role(role), FreeText(self.names[number]))
            self.propose(0, intent)
        for number in belong:
            for other in belong[:number]:
                if not {number, other} - set(self.honest()):
                    self.link(number, other)
        self.settle(3)

    def number(self, name):
        assert name in self.names, f"nobody is called {name}"
        return self.names.index(name)

    def numbers(self, names):
        """The nodes named; every honest one that is up where none is."""
        return [self.number(name) for name in names.split()] if names else self.up()

    def honest(self):
        return [n for n, name in enumerate(self.names) if not name.startswith(LIARS)]

    def up(self):
        return [n for n in self.honest() if n not in self.gone]

    def name_of(self, pubkey):
        return self.names[self.index(pubkey)]

    def feed_named(self, word):
        """``n1``, ``x1/7``, or ``n2'`` for the first feed that a node opened by drawing."""
        name, _, incarnation = word.partition("/")
        pubkey = self.keys[self.number(name.rstrip("'"))].pubkey
        if name.endswith("'"):
            order = name.count("'")
            return next(f for f, n in self._drawn.items() if f.author == pubkey and n == order)
        return FeedId(pubkey, int(incarnation or 0))

    def name_of_feed(self, feed):
        name = self.name_of(feed.author)
        if feed.incarnation < 1000:
            return f"{name}/{feed.incarnation}" if feed.incarnation else name
        if feed not in self._drawn:
            self._drawn[feed] = 1 + sum(f.author == feed.author for f in self._drawn)
        return name + "'" * self._drawn[feed]

    def place(self, ref):
        return f"{self.name_of_feed(ref.feed)} #{ref.clock}"

    def called(self, ref):
        """A record's label, or its place."""
        for label, record in self.labels.items():
            if getattr(record, "record_id", None) == ref.record_id:
                return label
        return self.place(ref)

    # --- time and the wire -----------------------------------------------------------------

    def now_of(self, number):
        ms = self.ms + self.off_ms.get(self.names[number], 0)
        return Now(Instant.from_ms(ms), self.mono)

    def route(self, number, pubkey):
        """Of a node and its clone the one that was linked with last."""
        found = [n for n, signing in enumerate(self.keys) if signing.pubkey == pubkey]
        linked = [n for n in found if (number, n) in self.links]
        return (linked or found)[-1]

    def tick(self, seconds=1.0):
        self.pass_time(seconds)
        for number in self.up():
            self.carry(number, self.replicas[number].tick(self.now_of(number)))
        self.deliver()

    def hand(self, sender, receiver, data):
        self.compared += data[:1] == RANGES
        super().hand(sender, receiver, data)

    def hear(self, receiver, sender, *, lose=False):
        """Deliver (or lose) what is under way between two nodes, in order."""
        many, kept = 0, []
        while self.wire:
            message = self.wire.popleft()
            if message[:2] != (sender, receiver):
                kept.append(message)
                continue
            many += 1
            if not lose:
                self.hand(*message)
        self.wire.extendleft(reversed(kept))
        return many

    def show(self, sender, receivers, records):
        """Hand records to nodes as a peer that need not have written them."""
        by_feed = {}
        for record in records:
            by_feed.setdefault(record.feed, []).append(record)
        for receiver in receivers:
            for rows in by_feed.values():
                self.hand(sender, receiver, as_frame(*rows))

    def claim_gap(self, sender, receiver, feed, start, end, records=()):
        """Hand over a slice of a feed in which all but some records is a gap."""
        gaps, at = [], start
        for record in sorted(records, key=lambda record: record.clock):
            if record.clock > at:
                gaps.append((at, record.clock - at))
            at = record.clock + 1
        if end > at:
            gaps.append((at, end - at))
        rows = [(record.clock, record.value) for record in records]
        root = feed.root if start == 0 else None
        piece = FeedSlice(feed.client_id(self.found.id), root, start, end, rows, gaps)
        self.hand(sender, receiver, encode_frame(Update(encode_update([piece]))))

    # --- hosts -----------------------------------------------------------------------------

    def keep(self, name, label):
        number = self.number(name)
        self.kept[label] = (
            dict(self.stores[number]), dict(self.proofs[number]), dict(self.rendered[number]),
            self.replicas[number].incarnation, self.ends[number],
        )  # fmt: skip

    def put_back(self, number, kept, doubt):
        stores, proofs, rendered, incarnation, self.ends[number] = kept
        self.stores[number], self.proofs[number] = dict(stores), dict(proofs)
        self.rendered[number] = dict(rendered)
        self.restart(number, incarnation=incarnation, doubt=doubt, seed=self._seed(number))

    def clone(self, number, name, doubt):
        """A second daemon with the same key, from a copy of the store as it is now."""
        self.keep(self.names[number], name)
        self.names.append(name)
        self.keys.append(self.keys[number])
        self.replicas.append(None)
        self.ends.append(None)
        for table in (self.stores, self.proofs, self.rendered):
            table.append({})
        for table in (self.observed, self.quarantined):
            table.append([])
        clone = len(self.names) - 1
        self.replicas[clone] = self.make(self.keys[number])
        self.put_back(clone, self.kept[name], doubt)

    def _seed(self, number):
        """Secret, and another at each start."""
        return f"{self.names[number]} {self.mono}".encode()

    def restart(self, number, **options):
        for one, other in [link for link in self.links if link[0] == number]:
            self.unlink(one, other)
        super().restart(number, **options)

    # --- records ---------------------------------------------------------------------------

    def ask(self, name, intent, label=None):
        """Ask a node for a write; gives what it answers."""
        number = self.number(name)
        try:
            receipt = self.propose(number, intent)
        except ProposalRefused as refusal:
            return [f"refused: {self.plain(str(refusal))}"]
        record = self.replicas[number].ledger.find(receipt.ref)
        if label is not None:
            self.labels[label] = record
        return [f"{self.place(receipt.ref)}: {record.body.kind}"]

    def plain(self, text):
        """A sentence with names in the place of keys, and seconds from now in that of instants."""
        for name, signing in zip(self.names, self.keys, strict=True):
            text = text.replace(signing.pubkey.hex(), name).replace(signing.pubkey.short, name)

        def feed(found):
            pubkey = self.keys[self.number(found[1])].pubkey
            return self.name_of_feed(FeedId(pubkey, int(found[2])))

        def seconds(found):
            return f"{(Instant(found[0]).ms - self.ms) / 1000:+.0f} s"

        return INSTANT.sub(seconds, FEED.sub(feed, text))

    def pen(self, name, incarnation, clock, ms):
        """A liar's pen: at the end of the feed it writes in, or wherever it likes."""
        number = self.number(name)
        feed = FeedId(self.keys[number].pubkey, incarnation)
        if feed not in self._pens:
            self._pens[feed] = RecordAuthor(self.keys[number], self.found.id, 0, incarnation)
        pen = self._pens[feed]
        pen.ms = self.ms + ms
        if clock is not None:
            pen = RecordAuthor(self.keys[number], self.found.id, pen.ms, incarnation, clock)
        return pen
