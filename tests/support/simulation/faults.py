"""What goes wrong: processes, the network, clocks and disks. Steps of a schedule.

As in ``work.py``, each is called with the world, the node and two numbers.
"""

from tests.support.builders.cluster import START
from tests.support.simulation.disk import SimulatedDisk
from tests.support.simulation.host import SimulatedNode

NOTICES_MS = 10_000
"""How long a link carries nothing before both ends give it up."""
POINTS = ("now", "before_commit", "in_commit_lost", "in_commit_kept", "after_commit", "sending")
STROBE_MS = 4 * 60_000 + 48_000


# --- processes -----------------------------------------------------------------------------


def kill(world, node, a, b):
    if node.replica is None:
        return
    point = POINTS[a % len(POINTS)]
    world.counts["kill"] += 1
    if point == "now":
        world.counts["killed at once"] += 1
        world.kill(node)
        world.after(b % 8000, world.restart, node)
    else:
        node.kill_at = point


def stall(world, node, a, b):
    world.counts["stall"] += 1
    node.stalled_until = world.t + 100 + a % (60_000 if b & 1 else 15_000)


def partition(world, node, a, b):
    """The nodes of a bit mask are cut off from the others."""
    mask = a % (2 ** len(world.nodes))
    inside = [n for n in range(len(world.nodes)) if mask >> n & 1]
    ways = [
        way
        for one in inside
        for other in range(len(world.nodes))
        if other not in inside
        for way in ((one, other), (other, one))
    ]
    _block(world, ways, 1000 + b % 20_000, "partition")


def ring(world, node, a, b):
    """Everybody is linked with a majority, and no two with the same one."""
    size = world.plan.nodes
    reach = size // 4
    apart = [
        (one, other)
        for one in range(size)
        for other in range(size)
        if one != other and min((one - other) % size, (other - one) % size) > max(reach, 1)
    ]
    _block(world, apart, 1000 + b % 20_000, "ring")


def one_way(world, node, a, b):
    _block(world, [(node.number, a % len(world.nodes))], 1000 + b % 20_000, "one_way")


def clog(world, node, a, b):
    """One path carries nothing for a while; what was sent meanwhile comes then."""
    _jam(world, [(node.number, a % len(world.nodes))], [b % 5000], "clog")


def jam(world, node, a, b):
    """A random set of paths is clogged one by one, and freed in another order."""
    numbers = range(world.plan.nodes)
    ways = [(one, other) for one in numbers for other in numbers if one != other]
    chosen = [way for way in ways if world.chance("jam", a, way) < 0.4]
    for number, way in enumerate(chosen):
        ms = world.chance("freed", b, way) * 10_000
        world.after(number * 100, _jam, world, [way], [ms], "jam")


def _jam(world, ways, times, name):
    world.counts[name] += 1
    for way, ms in zip(ways, times, strict=True):
        world.clogged.setdefault(way, [])
        world.after(ms, world.unclog, way)


def _block(world, ways, ms, name):
    if not ways:
        return
    world.counts[name] += 1
    for way in ways:
        world.blocked[way] += 1
    if ms > NOTICES_MS:
        world.after(NOTICES_MS, _give_up, world, ways)
    world.after(ms, _unblock, world, ways)


def _give_up(world, ways):
    for one, other in ways:
        world.unlink(world.nodes[one], world.nodes[other])


def _unblock(world, ways):
    for way in ways:
        world.blocked[way] -= 1


def flap(world, node, a, b):
    """A link that is cut ten times a second."""
    other = world.nodes[a % len(world.nodes)]
    world.counts["flap"] += 1
    for number in range(10):
        world.after(number * 100, world.unlink, node, other)
        world.dial_again.clear()


def loss(world, node, a, b):
    _for_a_while(world, "loss", world.plan.loss, 2000 + b % 20_000)


def duplicate(world, node, a, b):
    _for_a_while(world, "duplicates", world.plan.duplicates, 2000 + b % 20_000)


def corrupt(world, node, a, b):
    _for_a_while(world, "corrupt", 5, 2000 + b % 10_000)


def _for_a_while(world, name, value, ms):
    world.counts[name] += 1
    setattr(world, name, value)
    world.after(ms, setattr, world, name, 0)


def replay(world, node, a, b):
    """Frames of before come once more, as far as their links still stand."""
    world.counts["replay"] += 1
    frames = list(world.old_frames)
    for number in range(5):
        if frames:
            (one, other), link, data = frames[(a + number * b) % len(frames)]
            world.at(world.t, world.arrive, world.nodes[one], world.nodes[other], link, data)


def clock_bump(world, node, a, b):
    world.counts["clock_bump"] += 1
    bound = 288_000 if b & 1 else 140_000
    true = START.ms + world.t
    off = (node.clock.at(world.t) - true) + a % (2 * bound) - bound
    node.clock.set(world.t, true + max(-bound, min(bound, off)))


def clock_freeze(world, node, a, b):
    _odd_clock(world, node, 0.0, 1000 + a % 60_000, "clock_freeze")


def clock_fast(world, node, a, b):
    _odd_clock(world, node, 10.0, 1000 + a % 12_000, "clock_fast")


def clock_strobe(world, node, a, b):
    """Back and forth between right and wrong, several times a second."""
    world.counts["clock_strobe"] += 1
    off = a % (2 * STROBE_MS) - STROBE_MS
    for number in range(20 + b % 80):
        ms = off * (number % 2)
        world.after(number * 150, _set_right, world, node, ms)
    world.after((20 + b % 80) * 150, _set_right, world, node, 0)


def _set_right(world, node, off):
    node.clock.set(world.t, START.ms + world.t + off)


def clock_jump(world, node, a, b):
    """A day or ten years off, ahead or back, for a while."""
    days = (1, 3650)[b & 1] * (1, -1)[b >> 1 & 1]
    _set_clock(world, node, START.ms + world.t + days * 86_400_000, a, "clock_jump")


def clock_lost(world, node, a, b):
    """1970, or 9999: a host without a battery, or a typing mistake; also across a restart."""
    if b & 2:
        world.kill(node)
        world.after(b % 3000, world.restart, node)
    _set_clock(world, node, (0, 253_000_000_000_000)[b & 1], a, "clock_lost")


def _set_clock(world, node, ms, a, name):
    world.counts[name] += 1
    node.clock.set(world.t, ms)
    world.after(1000 + a % 30_000, _set_right, world, node, 0)


def storm(world, node, a, b):
    """Killed again and again, each time before it has come to itself."""
    world.counts["storm"] += 1
    for number in range(2 + a % 8):
        world.after(number * (100 + b % 900), world.kill, node)
        world.after(number * (100 + b % 900) + 50, world.restart, node)


def _odd_clock(world, node, rate, ms, name):
    world.counts[name] += 1
    node.clock.set(world.t, node.clock.at(world.t), rate)
    world.after(ms, _set_right, world, node, 0)


def slow_disk(world, node, a, b):
    world.counts["slow_disk"] += 1
    node.slow_disk_until = world.t + a % 10_000


def disk_full(world, node, a, b):
    node.full_disk_until = world.t + a % 15_000


def eio(world, node, a, b):
    node.bad_disk_until = world.t + a % 15_000
    if b & 1:  # before the disk is well again
        world.after(a % 15_000, _crash, world, node)


def _crash(world, node):
    if node.replica is not None:
        world.fall(node)


def wipe(world, node, a, b):
    _lose_disk(world, node, "wipe")
    node.disk = SimulatedDisk(node.disk.host, node.disk.inode + 1000)
    node.witness = None
    world.after(b % 8000, world.restart, node)


def restore(world, node, a, b):
    """An older copy of the store is put back; the witness knows better."""
    if node.snapshots:
        _lose_disk(world, node, "restore")
        old, *_ = node.snapshots[a % len(node.snapshots)]
        if node.witness is not None and node.witness.writes < node.disk.writes:
            # Killed after a commit that nobody heard of, the witness neither: its slots are free.
            world.laws.forget(node, set(node.disk.rows) - set(old.rows))
        node.disk = old.copy(inode=old.inode)
        world.after(b % 8000, world.restart, node)


def old_page(world, node, a, b):
    """A part of the store is as it was at an earlier time; how far it was written is not."""
    if node.snapshots:
        _lose_disk(world, node, "old_page")
        world.torn.add(node.number)
        old, *_ = node.snapshots[a % len(node.snapshots)]
        rows = {ref: row for ref, row in node.disk.rows.items() if ref[2] % 3 != b % 3}
        rows |= {ref: row for ref, row in old.rows.items() if ref[2] % 3 == b % 3}
        node.disk.rows, node.disk.taken = rows, set(rows)
        if b // 3 & 1:
            node.disk.rendered = dict(old.rendered)
        world.after(b % 8000, world.restart, node)


def proof_bit(world, node, a, b):
    """One bit of a proof of a fork flips on a disk, which is read at the next start."""
    holding = [one for one in world.nodes if one.honest and one.disk.proofs]
    if not holding:
        return
    node = holding[a % len(holding)]
    world.counts["proof_bit"] += 1
    feed = sorted(node.disk.proofs)[b % len(node.disk.proofs)]
    node.disk.proofs[feed] = spoilt_proof(node.disk.proofs[feed], b)
    world.kill(node)
    world.after(b % 3000, world.restart, node)


def spoilt_proof(proof, number):
    """The same with one bit flipped: of the clock, the incarnation or a signature."""
    (signature, body), other = proof.sides
    broken = bytes([signature[0] ^ 1 << number % 8]) + signature[1:]
    return (
        proof._replace(clock=proof.clock ^ 1 << number % 5),
        proof._replace(incarnation=proof.incarnation ^ 1 << number % 5),
        proof._replace(sides=((broken, body), other)),
    )[number // 8 % 3]


def rollback(world, node, a, b):
    """The whole host goes back to a snapshot, witness and all: it will fork once, and heal."""
    if node.snapshots:
        _lose_disk(world, node, "rollback")
        _may_fork(world, node)
        old, node.witness, node.key, node.next_key, had = node.snapshots[a % len(node.snapshots)]
        node.disk, node.had = old.copy(inode=old.inode), list(had)
        world.after(b % 8000, world.restart, node)


def _may_fork(world, node):
    """Nothing tells two hosts apart that were one: whatever key they come to have, both have."""
    world.forks.update(node.keys)
    if node.next_key is not None:
        world.forks.add(node.next_key.pubkey)


def _lose_disk(world, node, name):
    """What no other honest disk holds is lost with this one, by the schedule's doing."""
    world.counts[name] += 1
    world.lost.add(node.number)
    world.kill(node)
    held = set().union(
        *(other.disk.rows for other in world.nodes if other.honest and other is not node)
    )
    for _, receipt in world.acked:
        ref = (receipt.author, receipt.incarnation, receipt.clock, receipt.record_id)
        if ref not in held:
            world.excused.add(receipt.record_id)


def clone(world, node, a, b):
    """A second daemon with the same key: from a copy at rest, or (odd) of a running host.

    The operator finds it after a while and stops it, or nobody does.
    """
    if not node.snapshots or node.number >= world.plan.nodes:
        return
    if any(other.pub == node.pub and other is not node for other in world.nodes):
        return
    world.counts["clone"] += 1
    disk, witness = node.disk.copy(inode=node.disk.inode), node.witness
    if b & 1:
        _may_fork(world, node)
    else:
        disk.host = f"clone of {disk.host}"
    other = SimulatedNode(len(world.nodes), node.key, disk, honest=node.honest)
    other.witness, other.next_key, other.had = witness, node.next_key, list(node.had)
    other.clock.set(world.t, node.clock.at(world.t))
    world.nodes.append(other)
    world.twins.append((node, other))
    world.say(other, f"is a clone of {node}")
    world.start(other)
    if a & 1:
        world.after(5000 + a % 20_000, _retire, world, other)


def _retire(world, clone):
    """The operator found it, and stopped it; what only it had is gone with it."""
    _lose_disk(world, clone, "clone stopped")
    clone.disk = SimulatedDisk(clone.disk.host, clone.disk.inode)


STEPS = {
    step.__name__: step
    for step in (
        kill, stall, storm, partition, ring, one_way, clog, jam, flap, loss, duplicate, replay,
        corrupt, clock_bump, clock_freeze, clock_fast, clock_strobe, clock_jump, clock_lost,
        slow_disk, disk_full, eio, wipe, restore, old_page, proof_bit, rollback, clone,
    )
}  # fmt: skip
