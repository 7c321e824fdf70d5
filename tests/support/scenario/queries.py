"""What a scenario shows of its nodes, and what it says must hold.

What is shown is told once for all nodes that show the same.
"""

from crdt.ledger.feed import EntryStatus
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Transition
from crdt.sync.seal_audit import shortfall, sources
from crdt.views.event_tree import transition_of
from machines.execution import EXECUTION
from machines.pipeline import PIPELINE, Archived
from machines.values import Instant
from tests.support.builders.cluster import shown

COMMANDS = []
WORDS = {
    EntryStatus.ADMITTED: "admitted",
    EntryStatus.BUILT_UPON: "built upon",
    EntryStatus.VOID_FORK: "void (fork)",
    EntryStatus.VOID_REVOKED: "void (revoked)",
    EntryStatus.AHEAD: "waits on disk (stamp_ahead)",
    EntryStatus.WAITING: "waits on disk (missing_parent)",
    EntryStatus.REJECTED: "rejected, on disk",
}


def command(pattern):
    """Say what a line of this form shows, or holds to."""

    def keep(function):
        COMMANDS.append((pattern, function))
        return function

    return keep


def grouped(field, numbers, look):
    """What each node shows, told once for all that show the same."""
    told = {}
    for number in numbers:
        told.setdefault(tuple(look(number)) or ("nothing",), []).append(field.names[number])
    for rows, names in told.items():
        if len(told) > 1 or len(rows) > 1:
            yield f"{' '.join(names)}:"
            yield from (f"  {row}" for row in rows)
        else:
            yield f"{' '.join(names)}: {rows[0]}"


# --- records -----------------------------------------------------------------------------------


def fate(field, number, record):
    """What has become of a record at a node."""
    ledger = field.replicas[number].ledger
    feed = ledger.feeds.get(record.feed)
    entry = ledger.entry(record.ref)
    if entry is not None:
        idle = entry.verdict is EntryStatus.ADMITTED and not feed.is_live(entry)
        return "keyed, and not live behind a cut" if idle else WORDS[entry.verdict]
    if record.record_id in ledger.pending:
        waiting = {w.record.record_id: w.reason for w in ledger.pending.rows()}
        return f"pending ({waiting[record.record_id]})"
    if (turned := ledger.rejected.find(record.ref)) is not None:
        return f"rejected ({turned.reason})"
    key = getattr(getattr(record, "body", None), "key", None)
    if key and feed is not None and feed.keys.get((record.body.kind, key), -1) > record.clock:
        return "superseded"
    return "not here"


def fates(field, labels, numbers):
    """One line for each record: what it is, and to whom."""
    for label in labels:
        told = {}
        for number in numbers:
            found = fate(field, number, field.labels[label])
            told.setdefault(found, []).append(field.names[number])
        yield f"{label}: " + "; ".join(f"{' '.join(n)} {found}" for found, n in told.items())


def faults_since(field, before):
    """The links that were dropped, and why."""
    for number, fault in field.faults[before:]:
        peer = field.name_of(fault.peer)
        yield f"{field.names[number]} drops {peer}: {fault.reason}"


@command("show {labels} on {nodes}")
def show_fates_on(field, labels, nodes):
    return show(field, labels, nodes)


@command("show {labels}")
def show(field, labels, nodes=None):
    """Stories and feeds have commands of their own; here labels, or one of the words below."""
    first, *rest = labels.split()
    numbers = field.numbers(nodes)
    if first in LOOKS:
        look = LOOKS[first]
        return list(grouped(field, numbers, lambda n: look(field, n, *rest)))
    return list(fates(field, labels.split(), numbers))


def _story(field, number, story):
    """``story s-1``: the stage, the events that count, and those that lost."""
    board = field.replicas[number].ledger.board
    view = board.story(story)
    if view is None:
        yield "unknown"
        return
    yield stage_name(view.stage) + (f', "{view.title}"' if view.title else "")
    fold = board.state(story).fold
    weights = {node.record.record_id: node.weight for node in board.explain(story).events}
    for record in [*fold.spine, *fold.applied]:
        beside = "" if record in fold.spine else ", applied beside the spine"
        weight = weights[record.record_id]
        of_weight = f", {weight} authors" if weight > 1 else ""
        yield f"{event_name(record)} ({field.called(record.ref)}{of_weight}{beside})"
    for lost in fold.lost[:5]:
        by = "" if lost.beaten_by is None else f" to {field.called(lost.beaten_by)}"
        yield f"lost{by}: {event_name(lost.record)} ({field.called(lost.record.ref)}): {lost.why}"
    if len(fold.lost) > 5:
        yield f"and {len(fold.lost) - 5} more lost"
    for execution in view.executions:
        yield f"{field.name_of(execution.node)} is {EXECUTION.state_name(execution.state)}"


def event_name(record):
    return PIPELINE.event_name(transition_of(record).event)


def stage_name(stage):
    name = PIPELINE.state_name(stage)
    return f"{name}, {stage.reason.__struct_config__.tag}" if isinstance(stage, Archived) else name


def _feed(field, number, word):
    """``feed x1``: slot by slot what is held, and where it is cut and sealed."""
    feed = field.replicas[number].ledger.feeds.get(field.feed_named(word))
    if feed is None:
        yield "unknown"
        return
    for entry in feed.entries():
        record = entry.record
        label = field.called(record.ref)
        named = "" if "#" in label else f" ({label})"
        what = event_name(record) if isinstance(record.body, Transition) else record.body.kind
        yield f"#{record.clock} {what}{named}: {fate(field, number, record)}"
    if feed.fork is not None:
        yield f"cut at {feed.fork}"
    if feed.as_sealed() is not None:
        yield "as sealed" if feed.as_sealed() else "not as sealed"


def _feeds(field, number):
    """``feeds``: every feed with something live, its end and its cut."""
    ledger = field.replicas[number].ledger
    for feed in sorted(ledger.feeds.values(), key=lambda f: field.name_of_feed(f.id)):
        if feed.live() or feed.fork is not None:
            cut = "" if feed.fork is None else f", cut at {feed.fork}"
            sealed = ", not as sealed" if feed.as_sealed() is False else ""
            live = len(feed.live())
            yield f"{field.name_of_feed(feed.id)}: {live} live below {feed.next_clock}{cut}{sealed}"


def _missing(field, number, word):
    """``missing x1``: what a feed lacks that is not held as sealed, and who might have it."""
    replica = field.replicas[number]
    feed = replica.ledger.feeds.get(field.feed_named(word))
    found = None if feed is None else shortfall(replica.ledger, feed)
    if found is None:
        return
    yield f"#{found.seal} seals {found.sealed_count} live records, {found.held} here"
    runs = {"unknown": found.unknown, "gone": found.gone, "idle": found.not_counted}
    for what, missing in runs.items():
        for start, end in missing:
            yield f"{what}: #{start}" + (f" to #{end - 1}" if end > start + 1 else "")
    if found.unsatisfiable:
        yield "no records could make that true"
    for one in sources(replica.ledger, replica.sessions, replica.own, feed):
        yield f"{field.name_of(one.node)}: {str(one.state).replace('_', ' ')}"


def _roster(field, number):
    """``roster``: who is on it, and with which role."""
    roster = field.replicas[number].ledger.roster
    for pubkey in sorted(roster.nodes(), key=field.name_of):
        role = roster.role(pubkey)
        yield f"{field.name_of(pubkey)}: {role or 'revoked'}"


def _pending(field, number):
    """``pending``: how many records wait, and for what."""
    reasons = [str(w.reason) for w in field.replicas[number].ledger.pending.rows()]
    return [f"{reasons.count(r)} {r}" for r in sorted(set(reasons))] or ["nothing"]


def _quarantine(field, number):
    """``quarantine``: what was turned away, and why."""
    rows = field.quarantined[number]
    return [
        f"{field.name_of(row.peer) if row.peer else 'the store'} brought {row.reason}: "
        f"{field.plain(row.detail)}"
        for row in rows
    ] or ["nothing"]


def _holder(field, number, story, *words):
    """``holder s-1``: who holds a story now."""
    holder = _holds(field, number, story, 0)
    if holder is None:
        return ["nobody"]
    since = (holder.since.at.ms - field.ms) / 1000
    until = (holder.until.ms - field.ms) / 1000
    return [f"{field.name_of(holder.node)}, since {since:+.2f} s, until {until:+.2f} s"]


def _holds(field, number, story, later_ms):
    board = field.replicas[number].ledger.board
    return board.holder(story, Instant.from_ms(field.ms + later_ms))


def _nodes(field, number):
    """``nodes``: who is alive, suspect or offline."""
    replica = field.replicas[number]
    for pubkey in sorted(replica.ledger.roster.nodes(), key=field.name_of):
        if pubkey != replica.own:
            yield f"{field.name_of(pubkey)}: {replica.beacon.liveness.status(pubkey, field.mono)}"


def _stamps(field, number, *labels):
    """``stamps a b``: from now."""
    ledger = field.replicas[number].ledger
    for label in labels:
        record = ledger.find(field.labels[label].ref)
        yield f"{label}: {(record.stamp.at.ms - field.ms) / 1000:+.0f} s" if record else "not here"


def _notices(field, number):
    """``notices``: what the operator was told of feeds and of work written again."""
    told = []
    for event in field.observed[number]:
        kind = type(event).__name__
        if kind == "Noticed":
            told.append(field.plain(event.detail))
        elif kind == "IncarnationOpened":
            told.append(f"goes on in a new feed: {event.why}")
        elif kind == "ForkProven":
            feed = field.name_of_feed(FeedId(event.author, event.incarnation))
            told.append(f"a fork of {feed} is proven at {event.clock}")
        elif kind == "StageMoved" and event.late:
            told.append(
                f"late: {event.story} moved from {stage_name(event.before)} "
                f"to {stage_name(event.after)}"
            )
        elif kind == "ClaimMoved" and event.lost_by_us:
            told.append(f"lost the claim of {event.story} to {field.name_of(event.holder)}")
    return told or ["nothing"]


LOOKS = {
    "story": _story,
    "feed": _feed,
    "feeds": _feeds,
    "missing": _missing,
    "roster": _roster,
    "pending": _pending,
    "quarantine": _quarantine,
    "stamps": _stamps,
    "holder": _holder,
    "nodes": _nodes,
    "notices": _notices,
}


# --- what must hold ----------------------------------------------------------------------------


@command("so all agree")
def agree(field):
    field.assert_agreed(nodes=field.up())
    read = {shown(field.replicas[n]) for n in field.up()}
    assert len(read) == 1, "one digest, and different Yjs documents"


@command("so {nodes} differ")
def differ(field, nodes):
    assert len({field.replicas[n].document_digest() for n in field.numbers(nodes)}) > 1


def every(field, nodes, look, wanted):
    for number in field.numbers(nodes):
        found = look(number)
        assert found == wanted, f"on {field.names[number]} it is {found}"


@command("so only {feeds} is cut[ at {clock}]")
def only_cut(field, feeds, clock=None):
    wanted = {}
    for word in feeds.split(" and "):
        name, _, at = word.partition(" at ")
        wanted[name] = int(at or clock)
    every(field, None, lambda n: _all_cut(field, n), wanted)


@command("so nobody is cut")
def none_cut(field):
    every(field, None, lambda n: _all_cut(field, n), {})


def _all_cut(field, number):
    ledger = field.replicas[number].ledger
    found = {feed: ledger.fork_of(feed) for feed in ledger.proofs}
    return {field.name_of_feed(feed): at for feed, at in found.items() if at is not None}


@command("so the proof against {feed} is written down")
def proof_written(field, feed):
    for number in field.up():
        ledger = field.replicas[number].ledger
        rows = ledger.evidence.get(field.feed_named(feed), [])
        clock = ledger.proofs[field.feed_named(feed)].clock
        assert any(r.body.clock <= clock for r in rows), f"not on {field.names[number]}"


@command("so {node} belongs")
def belongs(field, node):
    pubkey = field.keys[field.number(node)].pubkey
    every(field, None, lambda n: field.replicas[n].ledger.roster.belongs(pubkey), wanted=True)


@command("so {node} does not belong")
def belongs_not(field, node):
    pubkey = field.keys[field.number(node)].pubkey
    every(field, None, lambda n: field.replicas[n].ledger.roster.belongs(pubkey), wanted=False)


@command("so {node} is an? {role} for all")
def has_role(field, node, role):
    pubkey = field.keys[field.number(node)].pubkey
    every(field, None, lambda n: field.replicas[n].ledger.roster.role(pubkey), role)


@command("so {node} holds {story}[ in {minutes} min][ on {nodes}]")
def holds(field, node, story, minutes="0", nodes=None):
    wanted = None if node == "nobody" else node

    def look(number):
        found = _holds(field, number, story, int(minutes) * 60_000)
        return found and field.name_of(found.node)

    every(field, nodes, look, wanted)


@command('so the title of {story} is "{title}"')
def titled(field, story, title):
    every(field, None, lambda n: field.replicas[n].ledger.board.story(story).title, title)


@command("so {node} goes on in the feed {feed}")
def goes_on(field, node, feed):
    replica = field.replicas[field.number(node)]
    found = field.name_of_feed(FeedId(replica.own, replica.incarnation))
    assert found == feed, f"it is {found}"


@command("so {feed} is held as sealed")
def sealed(field, feed):
    every(field, None, lambda n: _as_sealed(field, n, feed), wanted=True)


@command("so {feed} is not held as sealed[ on {nodes}]")
def not_sealed(field, feed, nodes=None):
    every(field, nodes, lambda n: _as_sealed(field, n, feed), wanted=False)


@command("so the seal of {feed} is false[ on {nodes}]")
def false_seal(field, feed, nodes=None):
    every(field, nodes, lambda n: _is_false(field, n, feed), wanted=True)


@command("so the seal of {feed} may be true[ on {nodes}]")
def seal_may_be_true(field, feed, nodes=None):
    every(field, nodes, lambda n: _is_false(field, n, feed), wanted=False)


def _is_false(field, number, feed):
    ledger = field.replicas[number].ledger
    found = shortfall(ledger, ledger.feeds[field.feed_named(feed)])
    return found is not None and found.unsatisfiable


def _as_sealed(field, number, feed):
    held = field.replicas[number].ledger.feeds.get(field.feed_named(feed))
    return held and held.as_sealed()


@command("so {node} is {word} to {nodes}")
def is_alive(field, node, word, nodes):
    pubkey = field.keys[field.number(node)].pubkey
    every(
        field, nodes, lambda n: field.replicas[n].beacon.liveness.status(pubkey, field.mono), word
    )


@command("so {what} is {state} on {nodes}")
def is_on(field, what, state, nodes):
    assert_is(field, what, state, nodes)


@command("so {what} is {state}")
def is_everywhere(field, what, state):
    assert_is(field, what, state, None)


def assert_is(field, what, state, nodes):
    """A story's stage, or what has become of a record."""
    for one in what.split(" and "):
        if one in field.labels:
            every(field, nodes, lambda n, o=one: fate(field, n, field.labels[o]), state)
        else:
            every(field, nodes, lambda n, o=one: _stage(field, n, o), state)


def _stage(field, number, story):
    view = field.replicas[number].ledger.board.story(story)
    return "unknown" if view is None else stage_name(view.stage)
