"""Hypothesis strategies for everything a record can say."""

from hypothesis import strategies as st
from msgspec import UNSET

from crdt.primitives import limits
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId, Hash, RecordId, RecordRef, Signature
from crdt.records.bodies import (
    SEAL_KEY,
    Ack,
    Claim,
    Evidence,
    Execution,
    Member,
    ProofSide,
    Revocation,
    Role,
    Seal,
    Story,
    Transition,
    evidence_key,
)
from machines import execution as x
from machines.values import Instant, Label, NodePubkey
from tests.support.strategies import records as s

counters = st.integers(0, limits.STAMP_COUNTER_MAX)
clocks = st.integers(0, limits.CLOCK_MAX)
incarnations = st.integers(0, limits.INCARNATION_MAX)
nodes = st.binary(min_size=32, max_size=32).map(NodePubkey)
hashes = st.binary(min_size=32, max_size=32).map(Hash)
record_ids = st.binary(min_size=32, max_size=32).map(RecordId)
signatures = st.binary(min_size=64, max_size=64).map(Signature)
feeds = st.builds(FeedId, nodes, incarnations)
refs = st.builds(RecordRef, nodes, incarnations, clocks, record_ids)
written = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from('\n\t"\\'),
    max_size=40,
)
execution_states = st.one_of(
    st.just(x.Idle()),
    st.builds(x.Pending, s.agents, s.instants),
    st.builds(x.Running, s.agents, s.instants, s.instants),
    st.builds(x.RateLimited, s.agents, s.instants),
    st.builds(x.Completed, s.agents, s.codes, s.instants),
)


def optional(values):
    return values | st.just(UNSET)


def tuples(values):
    return st.lists(values, max_size=3).map(tuple)


def stamped(kind, **fields):
    return st.builds(kind, at=s.instants, n=counters, **fields)


@st.composite
def claims(draw):
    at, n, key = draw(s.instants), draw(counters), draw(s.stories)
    if draw(st.booleans()):
        return Claim(at=at, n=n, key=key, released=True)
    since_ms = draw(st.integers(s.FIRST_MS, at.ms))
    since_n = draw(st.integers(0, n if since_ms == at.ms else limits.STAMP_COUNTER_MAX))
    until_ms = draw(st.integers(s.FIRST_MS, min(at.ms + limits.CLAIM_MS_MAX, s.LAST_MS)))
    since = Stamp(Instant.from_ms(since_ms), since_n)
    return Claim(at=at, n=n, key=key, since=since, until=Instant.from_ms(until_ms))


@st.composite
def evidences(draw):
    feed = draw(feeds)
    one, other = draw(st.lists(hashes, min_size=2, max_size=2, unique=True))
    return Evidence(
        at=draw(s.instants),
        n=draw(counters),
        key=evidence_key(feed),
        feed=feed,
        clock=draw(clocks),
        proof=(ProofSide(draw(signatures), one), ProofSide(draw(signatures), other)),
    )


keeps = st.dictionaries(incarnations, clocks, max_size=3).map(
    lambda keep: tuple(sorted(keep.items()))
)
known_bodies = st.one_of(
    stamped(
        Execution,
        key=s.stories,
        previous=execution_states,
        event=s.execution_events,
        state=execution_states,
    ),
    stamped(Transition, story=s.stories, event=s.pipeline_events, parent=st.none() | refs),
    stamped(Ack, story=s.stories, end=refs),
    stamped(
        Story,
        story=s.stories,
        title=optional(written),
        description=optional(written),
        depends_on=optional(tuples(s.stories)),
        labels=optional(tuples(s.stories.map(Label))),
    ),
    claims(),
    stamped(
        Member,
        node=nodes,
        role=st.sampled_from(Role),
        name=written,
        ticket=optional(hashes),
        nonce=optional(hashes),
    ),
    stamped(Revocation, node=nodes, admissions=tuples(record_ids), keep=keeps),
    evidences(),
    stamped(Seal, key=st.just(SEAL_KEY), count=clocks, digest=hashes),
)
