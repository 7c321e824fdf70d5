"""Plays a schedule: one queue of events by virtual time, real replicas, a network that goes wrong.

Carries turns out as ``node/driver.py`` does (work, commit, let out: ``node/turn.py``), with a kill
possible between any two of them. Nothing here draws from anything but the schedule.
"""

import hashlib
import heapq
from collections import Counter, deque

from crdt import limits, membership
from crdt.bodies import Role
from crdt.errors import ProposalRefused
from crdt.frame import Records, encode_frame
from crdt.intents import (
    AddStory,
    AdmitNode,
    ClaimStory,
    EditStory,
    FireEvent,
    FireExecution,
    Receipt,
    ReleaseClaim,
    RevokeNode,
)
from crdt.ready import Now, Ready, Row
from crdt.replica import Replica
from machines import execution as x
from machines import pipeline as p
from machines.pipeline import PIPELINE
from machines.values import AgentName, BranchName, FreeText, GitSha, Instant, StoryId
from node.errors import StoreFailure
from node.turn import PROBE_SECONDS, Carrier, Job
from node.witness import Vouch
from tests.support.cluster import START, Found, key
from tests.support.sim import hostile
from tests.support.sim.disk import Disk

TICK_MS = 500
DIAL_MS = 1000
SNAPSHOT_MS = 4000
BATCH_MAX = 256
NOTICES_MS = 10_000
"""How long a link carries nothing before both ends give it up."""
POINTS = ("now", "before_commit", "in_commit_lost", "in_commit_kept", "after_commit", "sending")
STORIES = 6


def pipeline_events(number):
    """Every event of the pipeline, with contents."""
    text = FreeText(f"because {number % 97}")
    branch, sha = BranchName(f"feature/{number % 7}"), GitSha(f"{number % 4096:03x}abc")
    return [
        p.DepsMet(), p.GatesStarted(), p.GatesPassed(branch, 1 + number % 5), p.GatesFailed(text),
        p.QaSkipped(branch, 1), p.MergeSucceeded(sha), p.MergeFailedFinal(text), p.Accepted(),
        p.Block(text), p.Unblock(), p.Abandon(), p.Supersede(StoryId("s-0")), p.ReviewHold(text),
    ]  # fmt: skip


def execution_events(number):
    """Every event of an execution, with contents."""
    return [
        x.SpawnRequested(AgentName(f"agent-{number % 3}")), x.SpawnedSuccessfully(), x.Heartbeat(),
        x.HitRateLimit(Instant.from_ms(START.ms + number % 10**6)), x.Exited(number % 3),
        x.Stopped(), x.Reset(),
    ]  # fmt: skip


class Clock:
    """A host's wall clock, which may be off, stand still, or run too fast."""

    def __init__(self):
        self.since, self.base, self.rate = 0, START.ms, 1.0

    def at(self, t):
        return int(self.base + (t - self.since) * self.rate)

    def set(self, t, base, rate=1.0):
        self.since, self.base, self.rate = t, base, rate


class Node:
    """One daemon, its disk and its clock. ``replica`` is ``None`` while it is down."""

    def __init__(self, number, signing, disk, *, honest=True):
        self.number = number
        self.key = signing
        self.pub = signing.pubkey
        self.disk = disk
        self.honest = honest
        self.witness = None
        self.clock = Clock()
        self.carrier = None
        self.life = 0
        self.builds = 0
        self.inbox = deque()
        self.busy = False
        self.stalled_until = 0
        self.slow_disk_until = 0
        self.full_disk_until = self.bad_disk_until = 0
        self.kill_at = None
        self.links = {}  # peer's key -> (peer's number, id of the link)
        self.snapshots = []
        self.doing = ()

    @property
    def replica(self):
        return self.carrier.replica if self.carrier is not None else None

    def __repr__(self):
        return f"n{self.number}"


class World:
    """One run.

    Attributes:
        acked: (node, receipt) of every write that was acknowledged to a local caller.
        excused: record ids whose loss is the schedule's doing (a disk lost before anybody else
            had them).
        expelled: keys that the founder revoked at some time.
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
        self.expelled = set()
        self.blocked = Counter()
        self.loss = self.duplicates = self.corrupt = 0
        self._events = []
        self._order = 0
        self._sent = Counter()
        self._last_arrival = {}
        self._link_ids = 0
        self.old_frames = deque(maxlen=50)
        self._dial_again = {}
        self._hash = hashlib.blake2b(digest_size=16)
        self.nodes = []
        for number in range(plan.nodes):
            disk = Disk(f"host-{number}", number)
            honest = number not in plan.hostile
            self.nodes.append(Node(number, key(number + 1), disk, honest=honest))
        for node in self.nodes:
            founding = self.found.record
            node.disk.rows[tuple(founding.ref)] = Row(*founding.ref, founding.value)
            # Founded or joined a moment ago, and left in order.
            node.witness = Vouch(node.disk.host, node.disk.inode, node.disk.token, 0)
        for node in self.nodes:
            self.start(node)
        for number in range(1, plan.nodes):
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
            self.laws.committed(self, node, disk.unsure)
            disk.commit(disk.unsure)
        token = self._seed("token", node, node.life)[:16]
        disk.doubt, node.witness = disk.swear_in(node.witness, token)
        node.carrier = Carrier(lambda: self._build(node))
        node.inbox.append(node.carrier.owed())
        self._wake(node)
        self.after(self.chance("tick", node.number) * TICK_MS, self._tick, node, node.life)

    def _seed(self, *names):
        return hashlib.blake2b(f"{self.plan.seed} {names}".encode(), digest_size=32).digest()

    def _build(self, node):
        """The replica as its disk has it."""
        node.builds += 1
        disk = node.disk
        replica = Replica(
            node.key,
            self.found.id,
            self.found.founder.pubkey,
            seed=self._seed("replica", node, node.builds),
            incarnation=disk.incarnation,
            doubt=disk.doubt,
        )
        ready = replica.replay(
            sorted(disk.rows.values(), key=lambda row: row[:4]),
            disk.proofs.values(),
            disk.rendered,
            self.now(node),
            settled=disk.settled,
        )
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
        for pub, (number, link) in list(node.links.items()):
            other = self.nodes[number]
            self.after(self.chance("rst", link) * 2000, self._lose, other, node.pub, link)
            del node.links[pub]

    def restart(self, node):
        if node.replica is None:
            self.start(node)

    def _tick(self, node, life):
        if node.life != life:
            return
        if len(node.inbox) < 3 * BATCH_MAX:
            node.inbox.append(Job(lambda at: (node.replica.tick(at), None)))
        self._wake(node)
        self.after(TICK_MS, self._tick, node, life)

    def _snapshot(self):
        for node in self.nodes:
            node.snapshots.append((node.disk.copy(inode=node.disk.inode), node.witness))
        self.after(SNAPSHOT_MS, self._snapshot)

    # --- turns -----------------------------------------------------------------------------

    def _wake(self, node):
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
            return self._fall(node)
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
            self._fall(node)
            return
        if self.t < node.bad_disk_until:
            self.counts["eio"] += 1
            node.disk.unsure = turn.persist
            self._halt(node, turn, life)
            return
        node.disk.commit(turn.persist)
        self.laws.committed(self, node, turn.persist)
        if node.kill_at == "in_commit_kept":
            # Durable, and the witness does not know yet.
            self.counts["killed in a commit that was kept"] += 1
            self._fall(node)
            return
        node.witness = node.witness._replace(writes=node.disk.writes)
        if node.kill_at == "after_commit":
            self.counts["killed between commit and sending"] += 1
            self._fall(node)
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
        self._wake(node)

    def _let_out(self, node, turn, life):
        left = 1 if node.kill_at == "sending" else None

        def send(peer, data):
            nonlocal left
            if left is not None:
                if not left:
                    raise _Killed
                left -= 1
            self.send(node, peer, data)

        try:
            turn.let_out(send, lambda event: self._observed(node, event))
        except _Killed:
            self.counts["killed between two peers"] += 1
            self._fall(node)
            return
        if node.life == life:
            node.busy = False
            self._wake(node)

    def _fall(self, node):
        self.kill(node)
        self.after(200 + self.chance("up", node.number, self.t) * 5000, self.restart, node)

    def _observed(self, node, event):
        name = type(event).__name__
        self.counts[name] += 1
        if name in ("IncarnationOpened", "ForkProven", "PeerFaulted"):
            self.say(node, f"notices {event}")

    # --- the network -----------------------------------------------------------------------

    def _dial(self):
        for node in self.nodes:
            for other in self.nodes[: node.number]:
                self._try_link(other, node)
        self.after(DIAL_MS, self._dial)

    def _try_link(self, one, other):
        if None in (one.replica, other.replica) or one.pub == other.pub:
            return
        if one.carrier.halted or other.carrier.halted:
            return
        if other.pub in one.links or one.pub in other.links or self._is_cut(one, other):
            return
        if self._dial_again.get((one.number, other.number), 0) > self.t:
            return
        if not (_belongs(one, other) or _belongs(other, one)):
            return
        self._link_ids += 1
        link = self._link_ids
        for here, there in ((one, other), (other, one)):
            here.links[there.pub] = (there.number, link)
            self._connect(here, there.pub, self.now(there).wall)
        self.say(one, f"links with {other}")

    def _connect(self, here, pub, wall):
        here.inbox.append(Job(lambda at: (here.replica.connected(pub, wall, at), None)))
        self._wake(here)

    def unlink(self, one, other):
        for here, there in ((one, other), (other, one)):
            number, link = here.links.get(there.pub, (None, None))
            if number == there.number:
                self._lose(here, there.pub, link)

    def _lose(self, node, pub, link):
        """A node learns that a link is gone."""
        if node.links.get(pub, (None, None))[1] != link:
            return
        number = node.links.pop(pub)[0]
        pair = tuple(sorted((node.number, number)))
        self._dial_again[pair] = self.t + 500 + self.chance("again", link) * 2000
        if node.replica is not None:
            node.inbox.append(Job(lambda _at: (node.replica.disconnected(pub) or Ready(), None)))
            self._wake(node)

    def _is_cut(self, one, other):
        a, b = one.number, other.number
        return self.blocked[a, b] > 0 or self.blocked[b, a] > 0

    def send(self, node, peer, data):
        number, link = node.links.get(peer, (None, None))
        if number is None:
            return
        frames = [data]
        if not node.honest:
            frames = hostile.relay(self, node, self.nodes[number], data)
        for frame in frames:
            self.carry(node, self.nodes[number], link, frame)

    def carry(self, node, other, link, data):
        self.laws.sent(self, node, data)
        self._hash.update(data)
        way = (node.number, other.number)
        self._sent[way] += 1
        count = self._sent[way]
        self.old_frames.append((way, link, data))
        if self.blocked[way] > 0:
            self.counts["lost in a partition"] += 1
            return
        if self.loss and self.chance("loss", way, count) * 1000 < self.loss:
            self.counts["lost"] += 1
            return
        if self.corrupt and self.chance("corrupt", way, count) * 1000 < self.corrupt:
            self.counts["corrupted"] += 1
            where = int(self.chance("where", way, count) * len(data))
            data = data[:where] + bytes([data[where] ^ 0x10]) + data[where + 1 :]
        draw = self.chance("delay", way, count)
        delay = 1 + self.plan.delay_ms * 2 * draw
        if draw > 0.995:
            delay += 5000
        # A link is a stream: what was sent later does not arrive sooner.
        arrival = max(self.t + delay, self._last_arrival.get((way, link), 0))
        self._last_arrival[way, link] = arrival
        self.at(int(arrival), self._arrive, node, other, link, data)
        if self.duplicates and self.chance("twice", way, count) * 1000 < self.duplicates:
            self.counts["duplicated"] += 1
            later = arrival + self.chance("later", way, count) * 3000
            self.at(int(later), self._arrive, node, other, link, data)

    def _arrive(self, node, other, link, data):
        if other.replica is None or other.links.get(node.pub) != (node.number, link):
            return
        if len(other.inbox) > 4 * BATCH_MAX:
            self.counts["dropped by a full inbox"] += 1
            return

        def drop(reason):
            self.counts[f"dropped: {reason}"] += 1
            self.unlink(node, other)

        pub = node.pub
        other.inbox.append(Job(lambda at: (other.replica.receive(pub, data, at), None), drop=drop))
        self._wake(other)

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
            if isinstance(intent, membership.Wish):
                return node.replica.change_roster(intent, at)
            return node.replica.propose(intent, at)

        def answer(result):
            if isinstance(result, Receipt):
                self.counts["acknowledged"] += 1
                self.say(node, f"wrote {result.incarnation}/{result.clock}")
                self.acked.append((node, result))
            elif isinstance(result, StoreFailure):
                self.counts["refused: the disk fails"] += 1
            elif isinstance(result, ProposalRefused):
                self.counts["refused"] += 1
                self.laws.refused(node, result)

        node.inbox.append(Job(job, answer=answer))
        self._wake(node)

    def do(self, step):
        """Do one step of the schedule."""
        node = self.nodes[step.node]
        handler = getattr(self, f"step_{step.what}", None)
        if handler is not None:
            handler(node, step.a, step.b)
        elif not node.honest and node.replica is not None:
            self.counts[f"hostile: {step.what}"] += 1
            self.say(node, f"does {step.what}")
            hostile.PROGRAMS[step.what](self, node, step.a, step.b)

    def step_add(self, node, a, b):
        self.request(node, lambda _: AddStory(StoryId(f"s-{a % STORIES}"), FreeText(f"t{b % 99}")))

    def step_edit(self, node, a, b):
        self.request(
            node, lambda r: (s := _story(r, a)) and EditStory(s, title=FreeText(f"t{b % 99}"))
        )

    def step_fire(self, node, a, b):
        def choose(replica):
            story = _story(replica, a)
            if story is None:
                return None
            legal = PIPELINE.legal_events(replica.ledger.board.state(story).stage)
            events = [e for e in pipeline_events(b) if PIPELINE.event_name(e) in legal]
            return FireEvent(story, events[b % len(events)], force=True) if events else None

        self.request(node, choose)

    def step_execution(self, node, a, b):
        def choose(replica):
            story = _story(replica, a)
            events = execution_events(b)
            return story and FireExecution(story, events[b % len(events)])

        self.request(node, choose)

    def step_claim(self, node, a, b):
        self.request(node, lambda r: (s := _story(r, a)) and ClaimStory(s, 60 + b % 3000))

    def step_release(self, node, a, b):
        self.request(node, lambda r: (s := _story(r, a)) and ReleaseClaim(s))

    def step_expel(self, node, a, b):
        """The founder revokes a node; honest ones seldom, by mistake."""
        target = self._somebody(a)
        if target is not None:
            self.counts["expel"] += 1
            self.expelled.add(target.pub)
            self.request(self.nodes[0], lambda _: RevokeNode(target.pub, None if b & 1 else ()))

    def step_readmit(self, node, a, b):
        """The founder takes a node back in."""
        target = self._somebody(a)
        if target is not None:
            self.counts["readmit"] += 1
            intent = AdmitNode(target.pub, Role.MEMBER, FreeText("again"))
            self.request(self.nodes[0], lambda _: intent)

    def step_promote(self, node, a, b):
        """The founder makes an observer a member."""
        self._wish("promote", a, lambda pub: membership.Promote(pub, Role.MEMBER))

    def step_demote(self, node, a, b):
        """The founder takes a node one step down."""
        self._wish("demote", a, membership.Demote)

    def step_rename(self, node, a, b):
        """The founder calls a node something else."""
        self._wish("rename", a, lambda pub: membership.Rename(pub, FreeText(f"name-{b % 99}")))

    def _wish(self, name, a, made_for):
        target = self._somebody(a)
        if target is not None:
            self.counts[name] += 1
            self.request(self.nodes[0], lambda _: made_for(target.pub))

    def step_leave(self, node, a, b):
        """A node asks the founder to take it off the roster."""
        founder = self.nodes[0]
        if node is founder or not founder.honest or None in (node.replica, founder.replica):
            return
        self.counts["leave"] += 1
        self.expelled.add(node.pub)
        nonce = a.to_bytes(32, "big")
        ask = node.replica.ask_to_part
        node.inbox.append(Job(lambda at: (ask(founder.pub, None, nonce, at), None)))
        self._wake(node)

    def _somebody(self, a):
        """A hostile node, where there is one and nine times of ten; never the founder."""
        others = self.nodes[1 : self.plan.nodes]
        hostile_ones = [n for n in others if not n.honest]
        chosen = hostile_ones if hostile_ones and a % 10 else others
        return chosen[a % len(chosen)] if self.nodes[0].honest else None

    # --- faults ----------------------------------------------------------------------------

    def step_kill(self, node, a, b):
        if node.replica is None:
            return
        point = POINTS[a % len(POINTS)]
        self.counts["kill"] += 1
        if point == "now":
            self.counts["killed at once"] += 1
            self.kill(node)
            self.after(b % 8000, self.restart, node)
        else:
            node.kill_at = point

    def step_stall(self, node, a, b):
        self.counts["stall"] += 1
        node.stalled_until = self.t + 100 + a % 15_000

    def step_partition(self, node, a, b):
        """The nodes of a bit mask are cut off from the others."""
        mask = a % (2 ** len(self.nodes))
        inside = [n for n in range(len(self.nodes)) if mask >> n & 1]
        ways = [
            way
            for one in inside
            for other in range(len(self.nodes))
            if other not in inside
            for way in ((one, other), (other, one))
        ]
        self._block(ways, 1000 + b % 20_000, "partition")

    def step_one_way(self, node, a, b):
        self._block([(node.number, a % len(self.nodes))], 1000 + b % 20_000, "one_way")

    def step_clog(self, node, a, b):
        self._block([(node.number, a % len(self.nodes))], b % 5000, "clog")

    def _block(self, ways, ms, name):
        if not ways:
            return
        self.counts[name] += 1
        for way in ways:
            self.blocked[way] += 1
        if ms > NOTICES_MS:
            self.after(NOTICES_MS, self._give_up, ways)
        self.after(ms, self._unblock, ways)

    def _give_up(self, ways):
        for one, other in ways:
            self.unlink(self.nodes[one], self.nodes[other])

    def _unblock(self, ways):
        for way in ways:
            self.blocked[way] -= 1

    def step_flap(self, node, a, b):
        """A link that is cut ten times a second."""
        other = self.nodes[a % len(self.nodes)]
        self.counts["flap"] += 1
        for number in range(10):
            self.after(number * 100, self.unlink, node, other)
            self._dial_again.clear()

    def step_loss(self, node, a, b):
        self._for_a_while("loss", self.plan.loss, 2000 + b % 20_000)

    def step_duplicate(self, node, a, b):
        self._for_a_while("duplicates", self.plan.duplicates, 2000 + b % 20_000)

    def step_corrupt(self, node, a, b):
        self._for_a_while("corrupt", 5, 2000 + b % 10_000)

    def _for_a_while(self, name, value, ms):
        self.counts[name] += 1
        setattr(self, name, value)
        self.after(ms, setattr, self, name, 0)

    def step_replay(self, node, a, b):
        """Frames of before come once more, as far as their links still stand."""
        self.counts["replay"] += 1
        frames = list(self.old_frames)
        for number in range(5):
            if frames:
                (one, other), link, data = frames[(a + number * b) % len(frames)]
                self.at(self.t, self._arrive, self.nodes[one], self.nodes[other], link, data)

    def step_clock_bump(self, node, a, b):
        self.counts["clock_bump"] += 1
        bound = 288_000 if b & 1 else 140_000
        true = START.ms + self.t
        off = (node.clock.at(self.t) - true) + a % (2 * bound) - bound
        node.clock.set(self.t, true + max(-bound, min(bound, off)))

    def step_clock_freeze(self, node, a, b):
        self._odd_clock(node, 0.0, 1000 + a % 60_000, "clock_freeze")

    def step_clock_fast(self, node, a, b):
        self._odd_clock(node, 10.0, 1000 + a % 12_000, "clock_fast")

    def step_clock_jump(self, node, a, b):
        """A day or ten years off, ahead or back, for a while."""
        days = (1, 3650)[b & 1] * (1, -1)[b >> 1 & 1]
        self._set_clock(node, START.ms + self.t + days * 86_400_000, a, "clock_jump")

    def step_clock_lost(self, node, a, b):
        """1970, or 9999: a host without a battery, or a typing mistake; also across a restart."""
        if b & 2:
            self.kill(node)
            self.after(b % 3000, self.restart, node)
        self._set_clock(node, (0, 253_000_000_000_000)[b & 1], a, "clock_lost")

    def _set_clock(self, node, ms, a, name):
        self.counts[name] += 1
        node.clock.set(self.t, ms)
        self.after(1000 + a % 30_000, lambda: node.clock.set(self.t, START.ms + self.t))

    def step_storm(self, node, a, b):
        """Killed again and again, each time before it has come to itself."""
        self.counts["storm"] += 1
        for number in range(2 + a % 8):
            self.after(number * (100 + b % 900), self.kill, node)
            self.after(number * (100 + b % 900) + 50, self.restart, node)

    def _odd_clock(self, node, rate, ms, name):
        self.counts[name] += 1
        node.clock.set(self.t, node.clock.at(self.t), rate)
        self.after(ms, lambda: node.clock.set(self.t, START.ms + self.t))

    def step_slow_disk(self, node, a, b):
        self.counts["slow_disk"] += 1
        node.slow_disk_until = self.t + a % 10_000

    def step_disk_full(self, node, a, b):
        node.full_disk_until = self.t + a % 15_000

    def step_eio(self, node, a, b):
        node.bad_disk_until = self.t + a % 15_000
        if b & 1:  # before the disk is well again
            self.after(a % 15_000, self._crash, node)

    def _crash(self, node):
        if node.replica is not None:
            self._fall(node)

    def step_wipe(self, node, a, b):
        self._lose_disk(node, "wipe")
        node.disk = Disk(node.disk.host, node.disk.inode + 1000)
        node.witness = None
        self.after(b % 8000, self.restart, node)

    def step_restore(self, node, a, b):
        """An older copy of the store is put back; the witness knows better."""
        if node.snapshots:
            self._lose_disk(node, "restore")
            old, _ = node.snapshots[a % len(node.snapshots)]
            node.disk = old.copy(inode=old.inode)
            self.after(b % 8000, self.restart, node)

    def step_rollback(self, node, a, b):
        """The whole host goes back to a snapshot, witness and all: it will fork once, and heal."""
        if node.snapshots:
            self._lose_disk(node, "rollback")
            self.forks.add(node.pub)
            old, witness = node.snapshots[a % len(node.snapshots)]
            node.disk, node.witness = old.copy(inode=old.inode), witness
            self.after(b % 8000, self.restart, node)

    def _lose_disk(self, node, name):
        """What no other honest disk holds is lost with this one, by the schedule's doing."""
        self.counts[name] += 1
        self.kill(node)
        held = set().union(
            *(other.disk.rows for other in self.nodes if other.honest and other is not node)
        )
        for _, receipt in self.acked:
            ref = (receipt.author, receipt.incarnation, receipt.clock, receipt.record_id)
            if ref not in held:
                self.excused.add(receipt.record_id)

    def step_clone(self, node, a, b):
        """A second daemon with the same key: from a copy at rest, or (odd) of a running host."""
        if not node.snapshots or node.number >= self.plan.nodes:
            return
        if any(other.pub == node.pub and other is not node for other in self.nodes):
            return
        self.counts["clone"] += 1
        disk, witness = node.disk.copy(inode=node.disk.inode), node.witness
        if b & 1:
            self.forks.add(node.pub)
        else:
            disk.host = f"clone of {disk.host}"
        clone = Node(len(self.nodes), node.key, disk, honest=node.honest)
        clone.witness = witness
        clone.clock.set(self.t, node.clock.at(self.t))
        self.nodes.append(clone)
        self.say(clone, f"is a clone of {node}")
        self.start(clone)
        self.after(5000 + a % 20_000, self._retire, clone)

    def _retire(self, clone):
        """The operator found it, and stopped it; what only it had is gone with it."""
        self._lose_disk(clone, "clone stopped")
        clone.disk = Disk(clone.disk.host, clone.disk.inode)

    # --- the phases ------------------------------------------------------------------------

    def heal(self):
        """Faults stop: the network carries, clocks are set right, every host is up."""
        self.say("--", "faults stop")
        self.blocked.clear()
        self.loss = self.duplicates = self.corrupt = 0
        for node in self.nodes:
            node.kill_at = None
            node.stalled_until = node.slow_disk_until = 0
            node.full_disk_until = node.bad_disk_until = 0
            node.clock.set(self.t, START.ms + self.t)
            if node.number < self.plan.nodes:
                self.restart(node)
            elif node.replica is not None:
                self._retire(node)

    def honest(self):
        """The honest nodes that are up."""
        return [node for node in self.nodes if node.honest and node.replica is not None]

    def busy(self):
        """Whether any node still has work before it, or is not up yet."""
        hosts = [node for node in self.nodes[: self.plan.nodes] if node.honest]
        return any(node.replica is None for node in hosts) or any(
            node.inbox or node.busy for node in self.honest()
        )

    def frames_of(self, *records):
        """Records by position, one frame for each feed."""
        by_feed = {}
        for record in records:
            by_feed.setdefault(record.feed, []).append((record.clock, record.value))
        return [encode_frame(Records(*feed, tuple(rows))) for feed, rows in by_feed.items()]


class _Killed(Exception):
    """A node was killed between two sends."""


def _belongs(here, there):
    return here.replica.ledger.roster.belongs(there.pub)


def _story(replica, number):
    views = sorted(view.id for view in replica.ledger.board.stories())
    return views[number % len(views)] if views else None


assert limits.ANTI_ENTROPY_SECONDS * 1000 > NOTICES_MS
