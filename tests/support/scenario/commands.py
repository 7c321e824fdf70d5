"""The commands of a scenario: what nodes, liars, the network and hosts do.

What is shown and what must hold are in ``queries.py``.
"""

import re

from crdt.authoring.intents import (
    AddStory,
    AdmitNode,
    ClaimStory,
    EditStory,
    FireEvent,
    FireExecution,
    ReleaseClaim,
    RevokeNode,
)
from crdt.contract.ready import PetitionAnswered
from crdt.presence.signed_presence import PresenceState, sign_presence
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.wire.messages import Awareness, Records, encode_frame
from machines.values import FreeText, Instant, StoryId
from tests.support.scenario import queries as looks
from tests.support.scenario.signing import duration, execution_event, pipeline_event, sign

COMMANDS = []


def command(pattern):
    """Say what a line of this form does: ``{nodes}`` are words, ``[…]`` may be left out."""
    regex = re.sub(r"\[(.*?)\]", r"(?:\1)?", pattern)
    regex = re.sub(r"\{(\w+)\}", r"(?P<\1>.+?)", regex)

    def keep(function):
        COMMANDS.append((re.compile(regex + r"\Z"), function))
        return function

    return keep


@command("cluster {nodes}")
def cluster(field, nodes):
    field.found_with(nodes.split())


# --- honest nodes ------------------------------------------------------------------------------


@command('{node} adds {story} "{title}"')
def add(field, node, story, title, label=None):
    return field.ask(node, AddStory(StoryId(story), FreeText(title)), label)


@command("{node} adds {story}[ after {others}]")
def add_plain(field, node, story, others=None, label=None):
    after = tuple(StoryId(other) for other in others.split()) if others else None
    return field.ask(node, AddStory(StoryId(story), depends_on=after), label)


@command('{node} titles {story} "{title}"')
def edit(field, node, story, title, label=None):
    return field.ask(node, EditStory(StoryId(story), title=FreeText(title)), label)


@command("{node} fires {story} {event}")
def fire(field, node, story, event, label=None):
    name, *args = event.split()
    force = args[-1:] == ["regardless"]
    event = pipeline_event(name, args[:-1] if force else args)
    return field.ask(node, FireEvent(StoryId(story), event, force=force), label)


@command("{node} works on {story}: {event}")
def work(field, node, story, event, label=None):
    name, *args = event.split()
    at = Instant.from_ms(field.ms + 60_000)
    event = execution_event(name, args, at=at)
    return field.ask(node, FireExecution(StoryId(story), event), label)


@command("{node} claims {story} for {time}")
def claim(field, node, story, time, label=None):
    return field.ask(node, ClaimStory(StoryId(story), duration(time) // 1000), label)


@command("{node} releases {story}")
def release(field, node, story, label=None):
    return field.ask(node, ReleaseClaim(StoryId(story)), label)


@command("{node} admits {other} as {role}")
def admit(field, node, other, role, label=None):
    pubkey = field.keys[field.number(other)].pubkey
    return field.ask(node, AdmitNode(pubkey, Role(role), FreeText(other)), label)


@command("{node} revokes {other}[ and keeps {what}]")
def revoke(field, node, other, what="all", label=None):
    pubkey = field.keys[field.number(other)].pubkey
    return field.ask(node, RevokeNode(pubkey, None if what == "all" else ()), label)


@command("{node} asks {other} to let it go")
def say_goodbye(field, node, other, label=None):
    """A petition over the link; the label is what was sent."""
    number, receiver = field.number(node), field.number(other)
    replica, peer = field.replicas[number], field.keys[receiver].pubkey
    ready = replica.ask_to_part(peer, None, label.encode().ljust(32), field.now_of(number))
    field.labels[label] = (number, ready.publish[-1].data)
    return repeat(field, other, label)


@command("{receiver} is asked again: {which}")
def repeat(field, receiver, which):
    """A petition, as it was sent; shows the answer."""
    sender, data = field.labels[which]
    field.deliver()
    before = len(field.observed[sender])
    field.hand(sender, field.number(receiver), data)
    field.deliver()
    news = field.observed[sender][before:]
    return [event.word for event in news if isinstance(event, PetitionAnswered)]


# --- liars -------------------------------------------------------------------------------------


@command("{liar} signs[ in {incarnation}][ at {clock}][ stamped {time}]: {words}")
def signs(field, liar, words, incarnation="0", clock=None, time="0 s", label=None):
    pen = field.pen(liar, int(incarnation), None if clock is None else int(clock), duration(time))
    record = sign(field, pen, words)
    if label is not None:
        field.labels[label] = record
    return [f"{field.place(record.ref)}"]


@command("{peer} shows {nodes} {many} concurrent events on {story} after {parent}")
def show_many(field, peer, nodes, many, story, parent):
    """One liar's events all hang on one parent: the same two in turns, a slot each."""
    pen = field.pen(peer, 0, None, 0)
    events = ["gates_started", "block"]
    records = [
        pen.transition(story, pipeline_event(events[n % 2]), field.labels[parent])
        for n in range(int(many))
    ]
    field.show(field.number(peer), field.numbers(nodes), records)


@command("{liar} {does} {many}[ {more}] feeds at {nodes}")
def open_many(field, liar, does, many, nodes, more=""):
    """``opens 9 feeds``, each by one record; ``forks 9 feeds``, by two; with ``more``, others."""
    sides = {"opens": 1, "forks": 2}[does]
    first = 1 + int(many) * (more == "more")
    pens = [field.pen(liar, incarnation, 0, 0) for incarnation in range(first, first + int(many))]
    for number in field.numbers(nodes):
        for pen in pens:
            records = [pen.story("s-9", clock=0) for _ in range(sides)]
            field.show(field.number(liar), [number], records)
        ledger = field.replicas[number].ledger
        held = [
            feed for feed in ledger.feeds if feed in {FeedId(p.node, p.incarnation) for p in pens}
        ]
        cut = sum(ledger.fork_of(feed) is not None for feed in held)
        yield f"{field.names[number]} takes {len(held)} of them" + (f", {cut} cut" if cut else "")


@command("{peer} shows {nodes} a gap in {feed}[ from {start}][ to {end}]")
def show_gap(field, peer, nodes, feed, start="0", end="50"):
    for number in field.numbers(nodes):
        before = len(field.faults)
        field.claim_gap(field.number(peer), number, field.feed_named(feed), int(start), int(end))
        yield from looks.faults_since(field, before)


@command("{peer} shows {nodes} {feed} as {labels} alone, up to {end}")
def relay(field, peer, nodes, feed, labels, end):
    """A relay's picture of a feed: these records, and gaps in all other slots."""
    records = [field.labels[label] for label in labels.split()]
    for number in field.numbers(nodes):
        feed_id = field.feed_named(feed)
        field.claim_gap(field.number(peer), number, feed_id, 0, int(end), records)
    yield from looks.fates(field, labels.split(), field.numbers(nodes))


@command("{peer} shows {nodes} a record in the name of {feed} at {clock}")
def forge(field, peer, nodes, feed, clock):
    before = len(field.faults)
    own = field.pen(peer, 99, 0, 0).story("s-9", title="forged")
    frame = Records(*field.feed_named(feed), ((int(clock), own.value),))
    for number in field.numbers(nodes):
        field.hand(field.number(peer), number, encode_frame(frame))
    yield from looks.faults_since(field, before)


@command("{node} said {time} ago that it is here")
def presence(field, node, time, label=None):
    """A presence that a node really signed."""
    signing = field.keys[field.number(node)]
    state = PresenceState(Instant.from_ms(field.ms - duration(time)))
    field.labels[label] = sign_presence(signing, field.found.id, 10**6, state)


@command("{peer} shows {nodes} the presence {which}")
def show_presence(field, peer, nodes, which):
    for number in field.numbers(nodes):
        frame = encode_frame(Awareness((field.labels[which],)))
        field.hand(field.number(peer), number, frame)


@command("{peer} shows {nodes}: {labels}")
def shows(field, peer, nodes, labels):
    """What a peer hands over, and what becomes of it there."""
    before = len(field.faults)
    records = [field.labels[label] for label in labels.split()]
    field.show(field.number(peer), field.numbers(nodes), records)
    yield from looks.fates(field, labels.split(), field.numbers(nodes))
    yield from looks.faults_since(field, before)


@command("the last record of {feed}[ that {node} holds]")
def last_record(field, feed, node="n1", label=None):
    """Give a name to what a node wrote by itself, such as a seal."""
    held = field.replicas[field.number(node)].ledger.feeds[field.feed_named(feed)]
    record = held.live()[-1]
    field.labels[label] = record
    return [f"{field.place(record.ref)}: {record.body.kind}"]


# --- the network and time ----------------------------------------------------------------------


@command("all hear")
def all_hear(field):
    field.deliver()


@command("{receiver} hears {sender}")
def hear(field, receiver, sender):
    return [count(field.hear(field.number(receiver), field.number(sender)))]


@command("{receiver} misses {sender}")
def miss(field, receiver, sender):
    return [count(field.hear(field.number(receiver), field.number(sender), lose=True))]


def count(many):
    return "1 message" if many == 1 else f"{many} messages"


@command("part {nodes}")
def part(field, nodes):
    """Cut these from each other; one alone from everybody."""
    for one, other in _pairs(field, nodes):
        field.unlink(one, other)


@command("meet {nodes}")
def meet(field, nodes):
    for one, other in _pairs(field, nodes):
        if (one, other) not in field.links:
            field.link(one, other)


def _pairs(field, nodes):
    chosen = field.numbers(nodes)
    others = chosen if len(chosen) > 1 else field.up()
    found = {tuple(sorted((a, b))) for a in chosen for b in others if a != b}
    return sorted(found)


@command("wait {time} and count comparisons")
def wait_and_count(field, time):
    """How often a feed that differs is compared in that time."""
    before = field.compared
    field.settle(duration(time) // 1000)
    return [f"{field.compared - before} digests of ranges of clocks"]


@command("wait {time}")
def wait(field, time):
    """The clock ticks, second by second, and what is sent arrives."""
    field.settle(duration(time) // 1000)


@command("{time} go by")
def go_by(field, time):
    """As waiting, ten minutes a tick."""
    for _ in range(duration(time) // 600_000):
        field.tick(600.0)


@command("{node}'s clock is off by {time}")
def clock(field, node, time):
    """Its peers hear of it when they meet next."""
    field.off_ms[node] = duration(time)


@command("{node}'s clock is right")
def clock_right(field, node):
    field.off_ms.pop(node)


# --- hosts -------------------------------------------------------------------------------------


@command("copy the store of {node} as {label_of_copy}")
def copy(field, node, label_of_copy):
    field.keep(node, label_of_copy)


@command("{node} restarts")
def restart(field, node):
    field.restart(field.number(node))


@command("{node} is wiped")
def wipe(field, node):
    field.put_back(field.number(node), ({}, {}, {}, 0, None), "nothing vouches for the store")


@command("{node} is restored from {copied}")
def restore(field, node, copied):
    field.put_back(field.number(node), field.kept[copied], "the store was put back")


@command("the whole host of {node} goes back to {copied}")
def roll_back(field, node, copied):
    """Nothing tells the node of it: it will use slots twice."""
    field.may_fork.add(field.keys[field.number(node)].pubkey)
    field.put_back(field.number(node), field.kept[copied], "")


@command("{node} is cloned as {other}")
def clone(field, node, other):
    field.clone(field.number(node), other, "the store was last written on another host")


@command("{node} is gone")
def gone(field, node):
    number = field.number(node)
    for one, other in [link for link in field.links if link[0] == number]:
        field.unlink(one, other)
    field.gone.add(number)


@command("{node} is back")
def back(field, node):
    field.gone.discard(field.number(node))


# --- looking -----------------------------------------------------------------------------------

for _pattern, _function in looks.COMMANDS:
    command(_pattern)(_function)
