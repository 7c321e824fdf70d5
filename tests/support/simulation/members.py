"""Who belongs, asked for: admissions, roles, names, revocations, tickets, goodbyes, new keys.

Steps of a schedule, as in ``work.py``. Whom a ticket lets in, who is asked to part and when a key
takes the other's place is as in ``node/network/join_authorizer.py`` and
``node/runtime/leave_rotate.py``.
"""

from crdt.authoring import roster_intents
from crdt.authoring.intents import AdmitNode, RevokeNode
from crdt.authoring.roster_requests import RequestOutcome
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.identity import H
from crdt.records.bodies import Role
from machines.values import FreeText
from node.runtime.batch import Job
from node.runtime.leave_rotate import is_replaced, whom_to_ask
from tests.support.builders.cluster import key

PATIENCE_MS = 30_000
ASK_AGAIN_MS = 500
KEYS_EACH = 8
"""How many keys a node may come to have."""
KEEPS = ("what is held", "nothing", "a part", "another feed", "every feed")
"""What a revocation keeps."""


# --- the founder alone ---------------------------------------------------------------------


def expel(world, node, a, b):
    """The founder revokes a node; honest ones seldom, by mistake."""
    target = _somebody(world, a)
    if target is not None:
        world.counts["expel"] += 1
        world.expelled.update(target.keys)
        world.request(world.nodes[0], lambda _: RevokeNode(target.pub, None if b & 1 else ()))


def readmit(world, node, a, b):
    """The founder takes a node back in."""
    target = _somebody(world, a)
    if target is not None:
        world.counts["readmit"] += 1
        world.taken_back.add(target.pub)
        world.request(
            world.nodes[0], lambda _: AdmitNode(target.pub, Role.MEMBER, FreeText("again"))
        )


def _somebody(world, a):
    """A hostile node, where there is one and nine times of ten; never the founder."""
    others = world.nodes[1 : world.plan.nodes]
    hostile_ones = [n for n in others if not n.honest]
    chosen = hostile_ones if hostile_ones and a % 10 else others
    return chosen[a % len(chosen)] if world.nodes[0].honest else None


# --- whoever may ---------------------------------------------------------------------------


def promote(world, node, a, b):
    """One step up; by the founder's word also to an admin."""
    target = world.nodes[a % world.plan.nodes]
    role = Role.MEMBER if b & 1 or not target.honest else None
    if role is None:
        world.admins.add(target.number)
    _wish(world, node, "promote", roster_intents.Promote, target, role)


def demote(world, node, a, b):
    """One step down; what was written up to now is kept."""
    target = world.nodes[a % world.plan.nodes]
    _wish(world, node, "demote", roster_intents.Demote, target)


def rename(world, node, a, b):
    target = world.nodes[a % world.plan.nodes]
    _wish(world, node, "rename", roster_intents.Rename, target, FreeText(f"name-{b % 99}"))


def admit(world, node, a, b):
    """A newcomer, or somebody who was revoked."""
    target = world.nodes[a % world.plan.nodes]
    role = (Role.MEMBER, Role.OBSERVER)[b & 1]
    _wish(world, node, "admit", roster_intents.Admit, target, role, FreeText(f"name-{b % 99}"))


def strike(world, node, a, b):
    """Revoked by whom it may be: keeping what is held, nothing, or some of the first feed."""
    target = world.nodes[a % world.plan.nodes]
    if target.honest and b % 3:
        return  # honest nodes seldom
    keep = (None, (), ((0, b % 40),))[b // 3 % 3]
    world.expelled.update(target.keys)
    _wish(world, node, "strike", roster_intents.Revoke, target, keep)


def revocation(world, node, a, b):
    """Revoked by whom it may be, honest or not, with any kind of ``keep``."""
    target = world.nodes[a % world.plan.nodes]
    kind = KEEPS[b % len(KEEPS)]
    _revoke(world, node, target, kind, lambda _: None, b // len(KEEPS))


def withdrawal(world, node, a, b):
    """One of several admissions is revoked, with any kind of ``keep``."""
    target = world.nodes[a % world.plan.nodes]

    def one(roster):
        admissions = roster.admissions(target.pub)
        return (admissions[b % len(admissions)].ref.record_id,) if admissions else ()

    world.counts["withdrawal"] += 1
    _revoke(world, node, target, KEEPS[b % len(KEEPS)], one, b // len(KEEPS))


def _revoke(world, node, target, kind, admissions, number):
    world.counts[f"revocation: keep {kind}"] += 1
    world.expelled.update(target.keys)

    def choose(replica):
        keep = _keep(replica.ledger, target, kind, number)
        return RevokeNode(target.pub, keep, admissions(replica.ledger.roster))

    world.request(_boss(world, node), choose)


def _keep(ledger, target, kind, number):
    feeds = sorted(feed for feed in ledger.feeds if feed.author == target.pub)
    heads = [(feed.incarnation, ledger.feeds[feed].next_clock) for feed in feeds]
    match kind:
        case "what is held":
            return None
        case "nothing":
            return ()
        case "a part":
            return tuple((incarnation, number % (head + 1)) for incarnation, head in heads)
        case "another feed":
            return ((1 + number, number % 9),)
        case "every feed":
            return tuple((incarnation, head + number % 3) for incarnation, head in heads)


def _boss(world, node):
    """The node itself where it is an admin, else the founder."""
    is_admin = node.honest and node.replica is not None
    return node if is_admin and node.roster.role(node.pub) is Role.ADMIN else world.nodes[0]


def reunite(world):
    """The founder takes everybody back, with every slot; says whether anybody was still away.

    In half of the histories those too whose key was replaced belong again, by both of their keys.
    """
    founder = world.nodes[0]
    if founder.replica.write_state(world.now(founder)).why:
        return False  # every disk was lost, so that nobody knows the cluster
    away = []
    for node in world.honest():
        keys = node.keys if world.chance("old keys") < 0.5 else [node.pub]
        away += [(node, pub) for pub in keys if pub not in {founder.pub, *world.reunited}]
    for node, pub in away:
        role = Role.ADMIN if node.number in world.admins else Role.MEMBER
        intent = AdmitNode(pub, role, FreeText("taken back"))
        world.counts["taken back at the end"] += 1
        world.reunited.add(pub)
        world.taken_back.add(pub)
        world.propose(founder, intent)
    return bool(away)


def _wish(world, node, name, make, target, *rest):
    """Asked of the node where it is an admin, else of the founder; whoever is asked may refuse."""
    boss = _boss(world, node)
    if boss.honest:
        world.counts[name] += 1
        if make is not roster_intents.Revoke:
            world.taken_back.add(target.pub)
        world.request(boss, lambda _: make(target.pub, *rest))


# --- tickets -------------------------------------------------------------------------------


def ticket_of(world, inviter):
    """What the roster says of an admin's one ticket, which lets in one node."""
    return H(f"ticket {world.plan.seed} {inviter}".encode())


def ticket(world, node, a, b):
    """Somebody who does not belong shows an admin's ticket, which another may have shown before.

    As ``OpenAuthorizer.join`` decides: whoever was let in by it gets the same answer, the roster
    counts.
    """
    admins = [n for n in world.honest() if n.roster.role(n.pub) is Role.ADMIN]
    if not admins:
        return
    inviter = admins[b % len(admins)]
    outside = [n for n in world.nodes if not inviter.roster.on_roster(n.pub)] or [node]
    world.counts["ticket"] += 1
    secret = ticket_of(world, inviter)
    pub = outside[a % len(outside)].pub

    def choose(replica):
        roster = replica.ledger.roster
        users = replica.ledger.statements.ticket_users(secret)
        if pub in users or users or roster.on_roster(pub):
            world.counts["ticket: used before"] += pub not in users and bool(users)
            return None
        world.counts["ticket: let in"] += 1
        return AdmitNode(pub, Role.MEMBER, FreeText("by ticket"), secret)

    world.request(inviter, choose)


# --- goodbyes and new keys -----------------------------------------------------------------


def leave(world, node, a, b):
    """A node asks to be taken off the roster."""
    if node.honest and node.replica is not None and node.next_key is None:
        world.counts["leave"] += 1
        world.expelled.update(node.keys)
        Petitioning(world, node, None).ask()


def rotate(world, node, a, b):
    """A node asks for its next key to be put in its place; it is kept until it is."""
    if not node.honest or node.replica is None or node is world.nodes[0]:
        return
    if node.next_key is None:
        count = len(node.keys)
        if node.number >= world.plan.nodes or count >= KEYS_EACH:
            return
        node.next_key = key(100 + KEYS_EACH * node.number + count)
        world.owners[node.next_key.pubkey] = node.number
    world.counts["rotate"] += 1
    world.expelled.update(node.keys)
    Petitioning(world, node, node.next_key).ask()


class Petitioning:
    """One node's asking, until everybody who must has answered or patience ends."""

    def __init__(self, world, node, successor):
        self.world, self.node, self.successor = world, node, successor
        self.life, self.end = node.life, world.t + PATIENCE_MS
        self.count = 0

    def ask(self):
        node, world = self.node, self.world
        if node.life != self.life or world.t > self.end:
            return
        linked = {pub for pub, (number, _) in node.links.items() if world.nodes[number].honest}
        try:
            peers, missing = whom_to_ask(node.replica, linked)
        except ProposalRefused as refusal:
            peers, missing = [], str(refusal)
        if missing or not peers:
            world.counts["a petition without anybody to ask"] += 1
            return
        for peer in peers:
            self.count += 1
            nonce = H(f"{node} {self.life} {world.t} {self.count}".encode())
            world.petitions[nonce] = (self, node.links[peer][0])
            node.inbox.append(Job(lambda at, p=peer, n=nonce: (self._petition(p, n, at), None)))
        world.wake(node)

    def _petition(self, peer, nonce, at):
        return self.node.replica.ask_to_part(peer, self.successor, bytes(nonce), at)

    def answered(self, word, by):
        world = self.world
        world.counts[f"petition: {word}"] += 1
        world.say(self.node, f"is told by n{by}: {word}")
        if word == RequestOutcome.BEHIND:
            world.after(ASK_AGAIN_MS, self.ask)
        elif word == RequestOutcome.DONE:
            world.parted.append((self.node.number, self.node.pub, self.successor, by))


def answered(world, event):
    """A node heard the answer to its petition."""
    known = world.petitions.get(event.nonce)
    if known is not None:
        petitioning, by = known
        petitioning.answered(event.word, by)


def has_next(node):
    """Whether the roster has put a node's next key in its place: then it starts again under it."""
    return node.next_key is not None and is_replaced(
        node.replica.ledger.roster, node.replica.own, node.next_key.pubkey
    )


def settle(world, node):
    """At a start, as ``node.runtime.leave_rotate.settle``: the next key takes its place; says
    whether it did.
    """
    if not has_next(node):
        return False
    node.disk.former, node.disk.incarnation = node.pub, 0
    node.disk.former_end = node.disk.own_end
    if world.chance("between keys", node.number, world.t) < 0.3:
        world.counts["killed between two keys"] += 1
        world.kill(node)
        world.after(100, world.restart, node)
        return False
    node.had.append(node.pub)
    node.key, node.next_key = node.next_key, None
    world.counts["changed keys"] += 1
    world.say(node, f"goes on as {node.pub.short}")
    return True


STEPS = {
    step.__name__: step
    for step in (
        expel, readmit, promote, demote, rename, admit, strike, revocation, withdrawal, ticket,
        leave, rotate,
    )
}  # fmt: skip
