from msgspec import UNSET

from crdt.primitives.hlc import Stamp
from crdt.records.bodies import Claim, Story
from crdt.views.story_state import StoryState
from machines import execution as x
from machines import pipeline as p
from machines.values import FreeText, Instant, StoryId
from tests.support.builders.ledger_fixture import spawn

WHY = FreeText("why")


def story(*records):
    state = StoryState("s-1")
    for record in records:
        state.add(record)
    return state


def claim(pen, *, ms, since_ms=None, until_ms=None, **where):
    since = Stamp(Instant.from_ms(since_ms or ms), 0)
    until = Instant.from_ms(until_ms or ms + 60_000)
    body = Claim(at=pen.at(ms), n=0, key=StoryId("s-1"), since=since, until=until)
    return pen.write(body, **where)


def fields(pen, *, ms, **said):
    return pen.write(Story(at=pen.at(ms), n=0, story=StoryId("s-1"), **said))


def test_a_story_is_there_while_any_record_names_it(court):
    assert not story()
    first = court.bob.transition("s-1", p.DepsMet())
    for record in (
        first,
        court.bob.ack("s-1", first),
        court.bob.story("s-1"),
        spawn(court.bob),
        court.bob.release("s-1"),
    ):
        state = story(record)
        assert state
        state.remove(record)
        assert not state


def test_new_events_change_a_fold(court):
    first = court.bob.transition("s-1", p.DepsMet(), ms=court.ms)
    state = story(first)
    assert state.stage == p.Coding()
    state.add(second := court.cat.transition("s-1", p.GatesStarted(), first, ms=court.ms + 5))
    assert state.stage == p.Qa()
    state.add(rival := court.ada.transition("s-1", p.Abandon(), first, ms=court.ms + 4))
    assert [lost.record for lost in state.fold.lost] == [second]
    state.add(ack := court.founder.ack("s-1", second))
    assert state.stage == p.Qa()
    state.add(another := court.obs.ack("s-1", second))
    state.remove(ack)
    assert state.stage == p.Qa()
    state.remove(another)
    assert state.stage == p.Archived(rival.stamp.at, p.Abandoned())


def test_events_that_are_one_path_are_not_folded(court, monkeypatch):
    first = court.bob.transition("s-1", p.DepsMet())
    second = court.cat.transition("s-1", p.GatesStarted(), first, ms=court.ms)
    third = court.ada.transition("s-1", p.GatesFailed(FreeText("why")), second, ms=court.ms + 1)
    shuffled = story(third, first)
    shuffled.add(second)
    assert (shuffled.stage, shuffled.lost) == (p.Coding(), [])
    shuffled.remove(third)
    assert shuffled.stage == p.Qa()
    monkeypatch.setattr("crdt.views.story_state.Fold", None)
    state = story(first, second, court.founder.ack("s-1", second))
    assert (state.stage, state.last, state.lost) == (p.Qa(), second, [])
    for path in (state, shuffled):  # one that was found to be a path as well
        path.add(third)
        assert (path.stage, path.last, path.lost) == (p.Coding(), third, [])


def test_other_records_leave_the_fold_unchanged(court):
    state = story(
        court.bob.transition("s-1", p.DepsMet(), ms=court.ms),
        court.ada.transition("s-1", p.DepsMet(), ms=court.ms),
    )
    before = state.fold
    for record in (title := court.bob.story("s-1"), spawn(court.bob), court.bob.release("s-1")):
        state.add(record)
    state.remove(title)
    assert state.fold is before


def test_each_field_takes_its_latest_stamp(court):
    both = fields(court.bob, ms=court.ms, title="one", description="text")
    later = fields(court.cat, ms=court.ms + 1, title="two", depends_on=(StoryId("s-0"),))
    state = story(later, both)
    assert (state.field("title"), state.field("description")) == ("two", "text")
    assert state.field_record("title") is later
    assert state.field("labels") is None
    view = state.view()
    assert (view.title, view.description) == ("two", "text")
    assert (view.depends_on, view.labels) == (("s-0",), ())


def test_greater_key_wins_for_equal_field_stamps(court):
    one = fields(court.bob, ms=court.ms, title="one")
    other = fields(court.cat, ms=court.ms, title="other")
    winner = max((one, other), key=lambda record: record.feed)
    assert story(one, other).field_record("title") is winner
    assert story(other, one).field_record("title") is winner


def test_latest_execution_over_incarnations(court):
    old, new = spawn(court.bob), spawn(court.bob, incarnation=1, clock=0)
    other = spawn(court.cat)
    views = story(new, old, other).execution_views()
    assert {view.node: view.record for view in views} == {
        court.bob.node: new.ref, court.cat.node: other.ref,
    }  # fmt: skip
    assert [view.node for view in views] == sorted(view.node for view in views)
    assert isinstance(views[0].state, x.Pending)


def test_equal_stamps_use_incarnation_then_clock(court):
    ms = court.ms
    first, second = claim(court.bob, ms=ms), claim(court.bob, ms=ms, until_ms=ms + 5)
    higher = claim(court.bob, ms=ms, until_ms=ms + 9, incarnation=1, clock=0)
    assert story(second, first).claim_views()[0].until == second.body.until
    assert story(higher, second, first).claim_views()[0].until == higher.body.until


def test_claim_view_has_its_stamp_as_fencing(court):
    held = claim(court.bob, ms=court.ms, since_ms=court.ms - 5)
    [view] = story(held).claim_views()
    assert (view.since, view.until, view.fencing) == (
        held.body.since, held.body.until, held.stamp,
    )  # fmt: skip
    assert not view.released
    [view] = story(court.bob.release("s-1")).claim_views()
    assert (view.released, view.since, view.until) == (True, None, None)


def test_explain_lists_events_with_place_and_weight(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    spine = court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 2)
    lost = court.cat.transition("s-1", p.GatesStarted(), start, ms=court.ms + 3)
    applied = court.cat.transition("s-1", p.Block(WHY), lost, ms=court.ms + 4)
    ack = court.founder.ack("s-1", spine)
    other = court.obs.ack("s-1", spine)
    explained = story(start, spine, lost, applied, ack, other).explain()
    rows = {row.record: row for row in explained.events}
    assert [row.place for row in explained.events] == ["spine", "spine", "lost", "applied"]
    assert rows[spine.ref].weight == 3
    assert rows[spine.ref].acks == tuple(sorted((court.founder.node, court.obs.node)))
    assert rows[spine.ref].parent == start.ref
    assert rows[lost.ref].beaten_by == spine.ref
    assert rows[lost.ref].why
    assert (rows[applied.ref].beaten_by, rows[applied.ref].why) == (None, "")
    assert explained.stage == p.Archived(applied.stamp.at, p.Blocked(WHY))


def test_a_story_without_fields_has_none(court):
    assert story(court.bob.story("s-1")).field("title") is None
    assert court.bob.story("s-1").body.title is UNSET


def test_floor_and_fields_follow_changes(court):
    early = court.bob.transition("s-1", p.DepsMet(), ms=court.ms)
    late = court.cat.transition("s-1", p.GatesStarted(), early, ms=court.ms + 9)
    old, new = (fields(court.bob, ms=court.ms + at, title=FreeText(f"at {at}")) for at in (0, 5))
    other = fields(court.bob, ms=court.ms + 9, description=FreeText("what"))
    state = story(early, old)
    assert (state.floor(), state.field("title")) == (early.stamp, "at 0")
    for record in (late, new, other):
        state.add(record)
    assert (state.floor(), state.field("title")) == (late.stamp, "at 5")
    state.add(fields(court.cat, ms=court.ms + 1, title=FreeText("late")))
    assert (state.field("title"), state.field("description")) == ("at 5", "what")
    for record in (late, new):
        state.remove(record)
    assert (state.floor(), state.field("title")) == (early.stamp, "late")
    state.add(late)
    assert state.floor() == late.stamp


def test_fresh_losses_survive_removals(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    one = court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 1)
    two = court.cat.transition("s-1", p.GatesStarted(), start, ms=court.ms + 2)
    three = court.cat.transition("s-1", p.GatesStarted(), start, ms=court.ms + 3)
    state = story(start, one)
    state.mark()
    assert state.fresh_losses(9) == []
    state.add(two)
    assert [lost.record for lost in state.fresh_losses(9)] == [two]
    state.mark()
    ack = court.founder.ack("s-1", three)
    state.add(three)
    state.add(ack)
    assert [lost.record for lost in state.fresh_losses(9)] == [one]
    state.remove(ack)
    assert [lost.record for lost in state.fresh_losses(9)] == [three]
    state.remove(one)
    assert [lost.record for lost in state.fresh_losses(9)] == [three]
    assert state.fresh_losses(0) == []
    state.mark()
    assert state.fresh_losses(9) == []


def test_path_without_an_event_had_no_losses(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    one = court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 1)
    two = court.cat.transition("s-1", p.GatesFailed(WHY), one, ms=court.ms + 2)
    state = story(start, one, two)
    state.mark()
    state.remove(one)
    assert [lost.record for lost in state.fresh_losses(9)] == [two]
