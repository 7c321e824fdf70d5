"""Plays a schedule: one queue of events by virtual time, real replicas, a network that goes wrong.

Carries turns out as ``node/runtime/driver.py`` does (work, commit, let out:
``node/runtime/batch.py``), with a kill possible between any two of them. Nothing here draws from
anything but the schedule.
"""

import hashlib
import heapq
from collections import Counter, defaultdict, deque

from crdt.authoring import roster_intents
from crdt.authoring.intents import AdmitNode, Receipt
from crdt.contract.ready import Now, PetitionAnswered, Ready, Row
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.records.bodies import Role
from crdt.replica import Replica
from crdt.wire.messages import Records, encode_frame
from machines.values import FreeText, Instant
from node.runtime.batch import PROBE_SECONDS, BatchRunner, Job
from node.storage.rollback_guard import StoreStamp
from node.system.errors import StoreFailure
from tests.support.builders.cluster import START, Found, key
from tests.support.invariants.laws import Broken
from tests.support.simulation import faults, hostile, members, work
from tests.support.simulation.disk import SimulatedDisk
from tests.support.simulation.host import SimulatedNode

TICK_MS = 500
DIAL_MS = 1000
SNAPSHOT_MS = 4000
BATCH_MAX = 256
TWIN_MS = 5000
"""How old a link must be for another daemon with the peer's key to take its place."""
LATE_FRAMES = 50
KEPT_FRAMES = 300
STEPS = {**work.STEPS, **members.STEPS, **faults.STEPS}


class World:
    """One run.

    Attributes:
        acked: (node, receipt) of every write that was acknowledged to a local caller.
        excused: record ids whose loss is the schedule's doing (a disk lost before anybody else
            had them).
        lost: numbers of the nodes that lost a disk, or went back.
        torn: numbers of those of whose disk a part went back.
        taken_back: keys of which some admin said a further word, which may cross a revocation.
        reunited: keys that the founder took back at the end of a history of the roster.
        expelled: keys that somebody asked to be revoked at some time.
        admins: numbers of the nodes that the founder named admins at some time.
        owners: key → number of its node.
        twins: (node, its clone), for every clone there was.
        petitions: nonce → who asked, and the number of whom.
        parted: (number, key, next key or none, number of who did it), for each done petition.
        forks: keys that a rolled-back or cloned host may have forked.
        counts: what happened, how often.
    """

    def __init__(self, plan, laws, *, trace=None):
        self.plan = plan
        self.laws = laws
        self.trace = trace
        self.t = 0
        self.found = Found()
        self.counts = Counter()
        self.acked = []
        self.excused = set()
        self.forks = set()
        self.lost = set()
        self.torn = set()
        self.taken_back = set()
        self.reunited = set()
        self.expelled = set()
        self.admins = {0, *plan.admins}
        self.owners = {key(number + 1).pubkey: number for number in range(plan.nodes)}
        self.twins = []
        self.petitions = {}
        self.parted = []
        self.clogged = {}
        self.blocked = Counter()
        self.loss = self.duplicates = self.corrupt = 0
        self._events = []
        self._order = 0
        self._sent = Counter()
        self._spoilt = set()
        self._last_arrival = {}
        self._outbox = defaultdict(deque)  # (way, link) -> when each frame that waits will be out
        self._link_ids = 0
        self._links = {}  # id of a link -> (since, number -> the key with which it said hello)
        self.old_frames = deque(maxlen=LATE_FRAMES)
        self.archive = deque(maxlen=KEPT_FRAMES)
        self.dial_again = {}
        self._hash = hashlib.blake2b(digest_size=16)
        self.nodes = []
        for number in range(plan.nodes):
            disk = SimulatedDisk(f"host-{number}", number)
            honest = number not in plan.hostile
            self.nodes.append(SimulatedNode(number, key(number + 1), disk, honest=honest))
        for node in self.nodes:
            founding = self.found.record
            node.disk.token = self._seed("founded", node)[:16]
            node.disk.rows[tuple(founding.ref)] = Row(*founding.ref, founding.value)
            # Founded or joined a moment ago, and left in order.
            node.witness = StoreStamp(node.disk.host, node.disk.inode, node.disk.token, 0)
        for node in self.nodes:
            self.start(node)
        for number in sorted({*range(1, plan.nodes)} - {*plan.newcomers}):
            role = Role.ADMIN if number in plan.admins else Role.MEMBER
            role = Role.OBSERVER if number in plan.observers else role
            intent = AdmitNode(self.nodes[number].pub, role, FreeText(f"node-{number}"))
            self.propose(self.nodes[0], intent)
        self.at(0, self._dial)
        self.at(SNAPSHOT_MS, self._snapshot)

    # --- time ------------------------------------------------------------------------------

    def at(self, t, what, *args):
        self._order += 1
        heapq.heappush(self._events, (t, self._order, what, args))

    def after(self, ms, what, *args):
        self.at(self.t + max(int(ms), 0), what, *args)

    def run_until(self, t):
        while self._events and self._events[0][0] <= t:
            self.t, _, what, args = heapq.heappop(self._events)
            what(*args)
        self.t = t

    def chance(self, *names):
        """A number from 0 up to 1 that hangs on the seed and the names alone."""
        text = f"{self.plan.seed} {names}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / 2**56

    def now(self, node):
        return Now(Instant.nearest(node.clock.at(self.t)), self.t / 1000)

    def say(self, node, text):
        line = f"{self.t:>7} {node} {text}"
        self._hash.update(line.encode())
        if self.trace is not None:
            self.trace(line)

    def fingerprint(self):
        """Two runs that did the same have the same."""
        return self._hash.hexdigest()

    # --- processes -------------------------------------------------------------------------

    def start(self, node):
        node.life += 1
        self.say(node, "starts")
        disk = node.disk
        if disk.unsure is not None and self.chance("unsure", node.number, self.t) < 0.5:
            self.counts["a failed commit came back"] += 1
            persist = disk.unsure
            self.laws.committing(node, persist)
            disk.commit(persist)
            self.laws.committed(self, node, persist)
        token = self._seed("token", node, node.life)[:16]
        disk.doubt, node.witness = disk.register(node.witness, token)
        node.carrier = BatchRunner(lambda: self._build(node))
        if members.settle(self, node):
            node.carrier = BatchRunner(lambda: self._build(node))
        if node.replica is None:
            return
        node.inbox.append(node.carrier.startup_effects())
        self.wake(node)
        self.after(self.chance("tick", node.number) * TICK_MS, self._tick, node, node.life)

    def _seed(self, *names):
        return hashlib.blake2b(f"{self.plan.seed} {names}".encode(), digest_size=32).digest()

    def _build(self, node):
        """The replica as its disk has it."""
        node.builds += 1
        self.laws.built(self, node)
        disk = node.disk
        replica = Replica(
            node.key,
            self.found.id,
            self.found.founder.pubkey,
            seed=self._seed("replica", node, node.builds),
            incarnation=disk.incarnation,
            doubt=disk.doubt,
            written=disk.own_end,
            former=disk.former,
            former_end=disk.former_end,
        )
        ready = replica.replay(
            sorted(disk.rows.values(), key=lambda row: row[:4]),
            disk.proofs.values(),
            disk.rendered,
            self.now(node),
            settled=disk.reissue_done,
        )
        node.ticked = self.t, not replica.store_read_only
        self.laws.begun(self, node, replica)
        return replica, ready

    def kill(self, node):
        if node.replica is None:
            return
        self.say(node, "is killed")
        node.carrier = None
        node.life += 1
        node.inbox.clear()
        node.busy = False
        node.kill_at = None
        self._drop_links(node)

    def _drop_links(self, node):
        for number, link in node.links.values():
            face = self._links[link][1][node.number]
            other = self.nodes[number]
            self.after(self.chance("rst", link) * 2000, self._lose, other, face, link)
        node.links.clear()

    def restart(self, node):
        if node.replica is None:
            self.start(node)

    def _tick(self, node, life):
        if node.life != life:
            return
        if not node.busy and members.has_next(node):
            self.kill(node)
            self.after(100, self.restart, node)
            return
        if len(node.inbox) < 3 * BATCH_MAX:
            node.inbox.append(Job(lambda at: (self._ripen(node, at), None)))
        self.wake(node)
        self.after(TICK_MS, self._tick, node, life)

    def _ripen(self, node, at):
        node.ticked = self.t, not node.replica.store_read_only
        return node.replica.tick(at)

    def _snapshot(self):
        for node in self.nodes:
            node.snapshots.append(node.snapshot())
        self.after(SNAPSHOT_MS, self._snapshot)

    # --- turns -----------------------------------------------------------------------------

    def wake(self, node):
        if not node.busy and node.inbox and node.replica is not None:
            node.busy = True
            self.after(0, self._turn, node, node.life)

    def _turn(self, node, life):
        if node.life != life:
            return None
        if self.t < node.stalled_until:
            self.after(min(node.stalled_until - self.t, TICK_MS), self._turn, node, life)
            return None
        jobs = [node.inbox.popleft() for _ in range(min(len(node.inbox), BATCH_MAX))]
        turn = node.carrier.work(jobs, self.now(node))
        if node.kill_at == "before_commit":
            self.counts["killed before a commit"] += 1
            return self.fall(node)
        if not turn.must_commit:
            return self._let_out(node, turn, life)
        if self.t < node.full_disk_until:
            self.counts["disk_full"] += 1
            return self._halt(node, turn, life)
        fsync = 1 + self.chance("fsync", node.number, self.t) * 4
        if self.t < node.slow_disk_until:
            fsync = 1000 + self.chance("slow", node.number, self.t) * 4000
        self.after(fsync, self._committed, node, turn, life)
        return None

    def _committed(self, node, turn, life):
        if node.life != life:
            return
        if node.kill_at == "in_commit_lost":
            self.counts["killed in a commit that was lost"] += 1
            self.fall(node)
            return
        if self.t < node.bad_disk_until:
            self.counts["eio"] += 1
            node.disk.unsure = turn.persist
            self._halt(node, turn, life)
            return
        self.laws.committing(node, turn.persist)
        node.disk.commit(turn.persist)
        self.laws.committed(self, node, turn.persist)
        if node.kill_at == "in_commit_kept":
            # Durable, and the witness does not know yet.
            self.counts["killed in a commit that was kept"] += 1
            self.fall(node)
            return
        node.witness = node.witness._replace(writes=node.disk.writes)
        if node.kill_at == "after_commit":
            self.counts["killed between commit and sending"] += 1
            self.fall(node)
            return
        self._let_out(node, turn, life)

    def _halt(self, node, turn, life):
        """As ``Driver`` does it: the links go, and what rested on the commit that failed."""
        self.say(node, "cannot write")
        self._drop_links(node)
        turn = node.carrier.fail(turn, "the disk fails", self.now(node))
        self.after(PROBE_SECONDS * 1000, self._try_disk, node, life)
        self._let_out(node, turn, life)

    def _try_disk(self, node, life):
        if node.life != life:
            return
        if self.t < max(node.full_disk_until, node.bad_disk_until):
            self.after(PROBE_SECONDS * 1000, self._try_disk, node, life)
            return
        self.say(node, "writes again")
        node.disk.unsure = None  # written over
        node.inbox.appendleft(node.carrier.resume())
        self.wake(node)

    def _let_out(self, node, turn, life):
        left = 1 if node.kill_at == "sending" else None

        def send(peer, outgoing):
            nonlocal left
            if left is not None:
                if not left:
                    raise _Killed
                left -= 1
            out_at = self.send(node, peer, outgoing.data)
            if outgoing.goes_on:
                self.at(out_at, self._go_on, node, peer, life)

        try:
            turn.release(send, lambda event: self._observed(node, event))
        except _Killed:
            self.counts["killed between two peers"] += 1
            self.fall(node)
            return
        if node.life == life:
            node.busy = False
            self.wake(node)

    def _go_on(self, node, peer, life):
        """A peer has taken a part of a long answer."""
        if node.life == life:
            node.inbox.append(Job(lambda at: (node.replica.go_on(peer, at), None)))
            self.wake(node)

    def fall(self, node):
        self.kill(node)
        self.after(200 + self.chance("up", node.number, self.t) * 5000, self.restart, node)

    def _observed(self, node, event):
        name = type(event).__name__
        self.counts[name] += 1
        if name in ("IncarnationOpened", "ForkProven", "PeerFaulted"):
            self.say(node, f"notices {event}")
        if isinstance(event, PetitionAnswered):
            members.answered(self, event)
        self.laws.noticed(self, node, event)

    # --- the network -----------------------------------------------------------------------

    def _dial(self):
        for node in self.nodes:
            for other in self.nodes[: node.number]:
                self._try_link(other, node)
        self.after(DIAL_MS, self._dial)

    def _try_link(self, one, other):
        if None in (one.replica, other.replica) or one.pub == other.pub:
            return
        if one.carrier.halted or other.carrier.halted or self._is_cut(one, other):
            return
        if self.dial_again.get((one.number, other.number), 0) > self.t:
            return
        faces = {one.number: one.face(other), other.number: other.face(one)}
        ends = ((one, other), (other, one))
        if not any(here.roster.belongs(faces[there.number]) for here, there in ends):
            return
        taken = [(here, here.links.get(faces[there.number])) for here, there in ends]
        for _, held in taken:
            if held is not None and not self._gives_way(*held, but=(one, other)):
                return
        for here, held in taken:
            if held is not None:
                self._push_out(here, *held)
        self._link_ids += 1
        link = self._link_ids
        self._links[link] = (self.t, faces)
        for here, there in ends:
            here.links[faces[there.number]] = (there.number, link)
            self._connect(here, faces[there.number], self.now(there).wall)
        self.say(one, f"links with {other}")

    def _gives_way(self, number, link, *, but):
        """Whether a link is another daemon's with the same key, and stood for a while."""
        return self.nodes[number] not in but and self.t - self._links[link][0] >= TWIN_MS

    def _push_out(self, here, number, link):
        """The newer link with one key counts; who lost it leaves it there for a while."""
        loser = self.nodes[number]
        self.counts["a twin took the link"] += 1
        self.unlink(here, loser)
        pair = tuple(sorted((here.number, number)))
        self.dial_again[pair] = self.t + TWIN_MS + self.chance("left", link) * 10_000

    def _connect(self, here, pub, wall):
        here.inbox.append(Job(lambda at: (here.replica.connected(pub, wall, at), None)))
        self.wake(here)

    def unlink(self, one, other):
        for here, there in ((one, other), (other, one)):
            for pub, (number, link) in list(here.links.items()):
                if number == there.number:
                    self._lose(here, pub, link)

    def _lose(self, node, pub, link):
        """A node learns that a link is gone."""
        if node.links.get(pub, (None, None))[1] != link:
            return
        number = node.links.pop(pub)[0]
        pair = tuple(sorted((node.number, number)))
        self.dial_again[pair] = self.t + 500 + self.chance("again", link) * 2000
        if node.replica is not None:
            node.inbox.append(Job(lambda _at: (node.replica.disconnected(pub) or Ready(), None)))
            self.wake(node)

    def _is_cut(self, one, other):
        a, b = one.number, other.number
        return self.blocked[a, b] > 0 or self.blocked[b, a] > 0

    def send(self, node, peer, data):
        """Let a frame out to a peer, unless too many wait already; gives when it has left."""
        number, link = node.links.get(peer, (None, None))
        if number is None:
            return self.t
        way = (node.number, number)
        waiting = self._outbox[way, link]
        while waiting and waiting[0] <= self.t:
            waiting.popleft()
        if len(waiting) > limits.OUTBOX_MESSAGES_MAX:
            self.counts["dropped: lagging"] += 1
            self.unlink(node, self.nodes[number])
            return self.t
        frames = [data]
        if not node.honest:
            frames = hostile.relay(self, node, self.nodes[number], data)
        for frame in frames:
            self.carry(node, self.nodes[number], link, frame)
        waiting.append(max(self._last_arrival.get((way, link), 0), self.t))
        return waiting[-1]

    def carry(self, node, other, link, data):
        self.laws.sent(self, node, data)
        self._hash.update(data)
        way = (node.number, other.number)
        self._sent[way] += 1
        count = self._sent[way]
        self.old_frames.append((way, link, data))
        if self._sent[way] % 20 == 0:
            self.archive.append(data)
        if self.blocked[way] > 0:
            self.counts["lost in a partition"] += 1
            return
        if way in self.clogged:
            self.counts["held up in a clogged path"] += 1
            self.clogged[way].append((node, other, link, data))
            return
        if self.loss and self.chance("loss", way, count) * 1000 < self.loss:
            self.counts["lost"] += 1
            return
        if self.corrupt and self.chance("corrupt", way, count) * 1000 < self.corrupt:
            self.counts["corrupted"] += 1
            where = int(self.chance("where", way, count) * len(data))
            data = data[:where] + bytes([data[where] ^ 0x10]) + data[where + 1 :]
            self._spoilt.add(data)
        draw = self.chance("delay", way, count)
        delay = 1 + self.plan.delay_ms * 2 * draw
        if draw > 0.995:
            delay += 5000
        # A link is a stream: what was sent later does not arrive sooner.
        arrival = int(max(self.t + delay, self._last_arrival.get((way, link), 0)))
        self._last_arrival[way, link] = arrival
        self.at(arrival, self.arrive, node, other, link, data)
        if self.duplicates and self.chance("twice", way, count) * 1000 < self.duplicates:
            self.counts["duplicated"] += 1
            later = arrival + self.chance("later", way, count) * 3000
            self.at(int(later), self.arrive, node, other, link, data)

    def unclog(self, way):
        """A path carries again: what was held up comes first, in its order."""
        for node, other, link, data in self.clogged.pop(way, ()):
            self._last_arrival[way, link] = self.t + 1
            self.at(self.t + 1, self.arrive, node, other, link, data)

    def arrive(self, node, other, link, data):
        face = self._links[link][1][node.number]
        if other.replica is None or other.links.get(face) != (node.number, link):
            return
        if len(other.inbox) > 4 * BATCH_MAX:
            self.counts["dropped by a full inbox"] += 1
            return

        def drop(reason):
            self.counts[f"dropped: {reason}"] += 1
            if node.honest and other.honest and data not in self._spoilt:
                raise Broken("L9", f"{other} takes for {reason} what {node} sent in good faith")
            self.unlink(node, other)

        other.inbox.append(Job(lambda at: (other.replica.receive(face, data, at), None), drop=drop))
        self.wake(other)

    # --- work ------------------------------------------------------------------------------

    def propose(self, node, intent):
        """Ask a node for a write; what is asked of a node that is down is asked of nobody."""
        self.request(node, lambda _replica: intent)

    def request(self, node, choose):
        """Ask a node for a write, or for a wish of the roster."""
        if node.replica is None:
            return

        def job(at):
            intent = choose(node.replica)
            if intent is None:
                return Ready(), None
            if isinstance(intent, roster_intents.RosterIntent):
                return node.replica.change_roster(intent, at)
            return node.replica.propose(intent, at)

        def answer(result):
            if isinstance(result, Receipt):
                self.counts["acknowledged"] += 1
                self.say(node, f"wrote {result.incarnation}/{result.clock}")
                self.acked.append((node, result))
                self.laws.acknowledged(self, node, result)
            elif isinstance(result, StoreFailure):
                self.counts["refused: the disk fails"] += 1
            elif isinstance(result, ProposalRefused):
                self.counts["refused"] += 1
                self.laws.refused(node, result)

        node.inbox.append(Job(job, answer=answer))
        self.wake(node)

    def do(self, step):
        """Do one step of the schedule."""
        node = self.nodes[step.node]
        if step.what in STEPS:
            STEPS[step.what](self, node, step.a, step.b)
        elif not node.honest and node.replica is not None:
            self.counts[f"hostile: {step.what}"] += 1
            self.say(node, f"does {step.what}")
            hostile.PROGRAMS[step.what](self, node, step.a, step.b)

    # --- the phases ------------------------------------------------------------------------

    def heal(self):
        """Faults stop: the network carries, clocks are set right, every host is up."""
        self.say("--", "faults stop")
        self.blocked.clear()
        for way in list(self.clogged):
            self.unclog(way)
        self.loss = self.duplicates = self.corrupt = 0
        for node in self.nodes:
            node.kill_at = None
            node.stalled_until = node.slow_disk_until = 0
            node.full_disk_until = node.bad_disk_until = 0
            node.clock.set(self.t, START.ms + self.t)
            if node.number < self.plan.nodes:
                self.restart(node)

    def twinned(self):
        """The numbers of the nodes of which there ever were two at once."""
        return {node.number for node, _ in self.twins}

    def honest(self):
        """The honest nodes that are up."""
        return [node for node in self.nodes if node.honest and node.replica is not None]

    def busy(self):
        """Whether any node still has work before it, or is not up yet."""
        hosts = [node for node in self.nodes[: self.plan.nodes] if node.honest]
        return any(node.replica is None for node in hosts) or any(
            node.inbox or node.busy or node.replica.document.is_stale for node in self.honest()
        )

    def frames_of(self, *records):
        """Records by position, one frame for each feed."""
        by_feed = {}
        for record in records:
            by_feed.setdefault(record.feed, []).append((record.clock, record.value))
        most = limits.RECORDS_PER_FRAME_MAX
        return [
            encode_frame(Records(*feed, tuple(rows[start : start + most])))
            for feed, rows in by_feed.items()
            for start in range(0, len(rows), most)
        ]


class _Killed(Exception):
    """A node was killed between two sends."""


assert limits.ANTI_ENTROPY_SECONDS * 1000 > faults.NOTICES_MS
