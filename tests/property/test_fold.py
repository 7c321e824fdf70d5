"""The fold of a story equals a second, naive one, whatever its events say and however they came."""

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.views import event_tree, fold
from crdt.views.story_state import StoryState
from machines import pipeline as p
from machines.values import BranchName, FreeText, GitSha
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor
from tests.support.oracles import naive_fold

FOUND = Found()
KEYS = [key(number) for number in range(1, 6)]
EVENTS = [
    p.DepsMet(), p.GatesStarted(), p.GatesPassed(BranchName("x"), 1), p.GatesFailed(FreeText("")),
    p.QaSkipped(BranchName("x"), 1), p.MergeSucceeded(GitSha("abc")), p.Accepted(), p.Abandon(),
    p.Block(FreeText("")), p.Unblock(),
]  # fmt: skip


@st.composite
def stories(draw):
    """Events and acks of a story by five authors who stop at nothing, some of them not live.

    Stamps lie close together, so that ties are the rule; a parent may be anything, and half of the
    events are legal on theirs.
    """
    pens = [RecordAuthor(k, FOUND.id, START.ms) for k in KEYS]
    events = []
    for _ in range(draw(st.integers(1, 14))):
        parent = draw(st.sampled_from([None, *events[-5:]]))
        fitting = [
            event
            for event in EVENTS
            if not p.PIPELINE.ignores(event_tree.stage_made_by(parent), event)
        ]
        event = draw(st.sampled_from(fitting or EVENTS) | st.sampled_from(EVENTS))
        floor = START.ms if parent is None else parent.stamp.at.ms
        pen = draw(st.sampled_from(pens))
        where = {"incarnation": draw(st.integers(0, 1))}
        ms = max(START.ms, floor + draw(st.integers(-1, 3)))
        events.append(pen.transition("s-1", event, parent, ms=ms, **where))
    acks = [
        draw(st.sampled_from(pens)).ack("s-1", draw(st.sampled_from(events)))
        for _ in range(draw(st.integers(0, 4)))
    ]
    gone = draw(st.sets(st.integers(0, len(events) - 1), max_size=2))
    return [event for number, event in enumerate(events) if number not in gone], acks


def folded(events, acks):
    ends = {}
    for ack in acks:
        ends.setdefault(ack.body.end.record_id, {})[ack.record_id] = ack
    return fold.Fold({event.record_id: event for event in events}, ends)


def assert_same(found, naive):
    assert found.spine == naive.spine
    assert found.applied == naive.applied
    assert [one.record for one in found.lost] == naive.lost
    assert found.stage == naive.stage
    assert found.last is naive.last


@settings(max_examples=300)
@given(stories(), st.randoms(use_true_random=False))
def test_the_fold_is_the_naive_fold(story, chance):
    events, acks = story
    chance.shuffle(events)
    found = folded(events, acks)
    naive = naive_fold.NaiveFold(events, acks)
    assert_same(found, naive)
    for event in found.spine:
        assert found.tree.authors_of(event.record_id) == tuple(sorted(naive.authors(event)))
        assert found.tree.weight(event.record_id) == len(naive.authors(event))


@settings(max_examples=150)
@given(stories(), st.randoms(use_true_random=False))
def test_a_story_that_gains_and_loses_records_one_by_one_stays_the_naive_fold(story, chance):
    events, acks = story
    records = [*events, *acks]
    chance.shuffle(records)
    state, live = StoryState("s-1"), []
    lost_before = set()
    for record in records:
        state.add(record)
        live.append(record)
        if chance.random() < 0.2:
            gone = live.pop(chance.randrange(len(live)))
            state.remove(gone)
        naive = naive_fold.NaiveFold(
            [r for r in live if r in events], [r for r in live if r not in events]
        )
        if chance.random() < 0.5:  # who does not look leaves it to whoever looks next
            assert [one.record for one in state.lost] == naive.lost
            assert state.stage == naive.stage
            assert state.last is naive.last
        if chance.random() < 0.5:
            assert_same(state.fold, naive)
        if chance.random() < 0.3:
            news = [lost for lost in naive.lost if lost.record_id not in lost_before]
            assert state.last is naive.last
            assert [one.record for one in state.fresh_losses(99)] == news
            assert [one for one in state.lost if one.record in news] == state.fresh_losses(99)
            state.mark()
            lost_before = {lost.record_id for lost in naive.lost}


@settings(max_examples=150)
@given(stories())
def test_what_beat_an_event_stood_in_its_place_or_was_reached_before_it(story):
    events, acks = story
    found = folded(events, acks)
    counting = {record.ref for record in [*found.spine, *found.applied]}
    for lost in found.lost:
        if lost.beaten_by is None:
            assert not found.spine
            assert all(
                event_tree.order(lost.record) < event_tree.order(one) for one in found.applied
            )
        else:
            assert lost.beaten_by in counting
        assert lost.why in (fold.WHY_BEFORE, fold.WHY_IGNORED, fold.WHY_ORDER, fold.WHY_WEIGHT)
