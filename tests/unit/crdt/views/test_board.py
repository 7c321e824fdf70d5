import json

import pytest

from crdt.primitives import limits
from crdt.primitives.hlc import Stamp
from crdt.records.bodies import Claim, Role, Story
from crdt.views.board import Board, story_of
from machines import execution as x
from machines import pipeline as p
from machines.values import BranchName, FreeText, GitSha, Instant, StoryId
from tests.support.builders.ledger_fixture import spawn

WHY = FreeText("why")
BRANCH = BranchName("feature/x")


def board(*records):
    made = Board()
    for record in records:
        made.add(record)
    return made


def claim(pen, ms, since_ms, until_ms, story="s-1"):
    since = Stamp(Instant.from_ms(since_ms), 0)
    body = Claim(
        at=pen.at(ms), n=0, key=StoryId(story), since=since, until=Instant.from_ms(until_ms)
    )
    return pen.write(body)


def depends(pen, story, *on):
    return pen.write(Story(at=pen.at(), n=0, story=StoryId(story), depends_on=tuple(on)))


def ended(pen, story, *events):
    """A story driven to done, and on."""
    records = []
    for event in (p.DepsMet(), p.QaSkipped(BRANCH, 1), p.MergeSucceeded(GitSha("abc123")), *events):
        records.append(pen.transition(story, event, records[-1] if records else None))
    return records


def test_story_exists_while_a_record_names_it(court):
    record = court.bob.story("s-1", title="first")
    made = board(record)
    assert "s-1" in made
    assert len(made) == 1
    assert made.story("s-1").title == "first"
    made.remove(record)
    assert "s-1" not in made
    assert made.story("s-1") is made.state("s-1") is made.explain("s-1") is None


def test_kinds_without_a_story_are_ignored(court):
    member = court.ada.member(court.sam.node, Role.MEMBER)
    made = board(member)
    made.remove(member)
    assert len(made) == 0
    assert story_of(member) is None


def test_which_story_a_record_is_about(court):
    event = court.bob.transition("s-1", p.DepsMet())
    about = [event, court.bob.ack("s-2", event), court.bob.story("s-3"), spawn(court.bob, "s-4")]
    about.append(court.bob.release("s-5"))
    assert [story_of(record) for record in about] == [f"s-{number}" for number in range(1, 6)]


def test_stories_are_sorted_and_view_is_canonical(court):
    records = [court.bob.story(name, title=name) for name in ("b", "c", "a")]
    records.append(spawn(court.bob, "a"))
    made = board(*records)
    assert [view.id for view in made.stories()] == ["a", "b", "c"]
    said = made.canonical()
    assert said == board(*reversed(records)).canonical()
    parsed = json.loads(said)
    assert list(parsed) == ["a", "b", "c"]
    assert parsed["a"]["executions"][0]["node"] == court.bob.node.hex()
    assert made.explain("a").id == "a"


def test_changes_are_reported_once(court):
    first = court.bob.transition("s-1", p.DepsMet())
    made = board(first, court.bob.story("s-2"))
    [change] = made.take_changes()
    assert (change.story, change.before, change.after) == ("s-1", p.Backlog(), p.Coding())
    assert (change.last, change.late, change.lost) == (first, False, ())
    assert list(made.take_changes()) == []


def test_forgotten_changes_are_not_reported(court):
    first = court.bob.transition("s-1", p.DepsMet(), ms=court.ms)
    lost = court.cat.transition("s-1", p.DepsMet(), ms=court.ms + 1)
    made = board(first, lost)
    made.forget_changes()
    assert list(made.take_changes()) == []
    made.add(court.ada.transition("s-1", p.GatesStarted(), first, ms=court.ms + 2))
    [change] = made.take_changes()
    assert (change.before, change.after, change.lost) == (p.Coding(), p.Qa(), ())


def test_removed_event_is_a_change(court):
    first = court.bob.transition("s-1", p.DepsMet())
    made = board(first)
    list(made.take_changes())
    made.remove(first)
    [change] = made.take_changes()
    assert (change.before, change.after, change.last) == (p.Coding(), p.Backlog(), None)


def test_conflict_is_reported_once(court):
    first = court.bob.transition("s-1", p.DepsMet(), ms=court.ms)
    lost = court.cat.transition("s-1", p.DepsMet(), ms=court.ms + 1)
    made = board(first)
    list(made.take_changes())
    made.add(lost)
    [change] = made.take_changes()
    assert change.before == change.after == p.Coding()
    assert [one.record for one in change.lost] == [lost]
    made.add(ack := court.ada.ack("s-1", first))
    assert list(made.take_changes()) == []
    made.remove(ack)
    assert list(made.take_changes()) == []


@pytest.mark.parametrize(
    ("ahead_ms", "late"), [(limits.LATE_MS, False), (limits.LATE_MS + 1, True)]
)
def test_back_dated_event_is_reported_as_late(court, ahead_ms, late):
    first = court.bob.transition("s-1", p.DepsMet(), ms=court.ms + ahead_ms)
    made = board(first)
    list(made.take_changes())
    made.add(court.cat.transition("s-1", p.Abandon(), ms=court.ms))
    [change] = made.take_changes()
    assert change.after.reason == p.Abandoned()
    assert change.late is late


def test_holder_is_earliest_valid_claim(court):
    ms = court.ms
    made = board(
        claim(court.bob, ms, ms - 10, ms + 1_000),
        claim(court.cat, ms, ms - 20, ms + 500),
        claim(court.ada, ms, ms - 10, ms + 1_000),
        court.founder.release("s-1"),
    )
    assert made.holder("s-1", Instant.from_ms(ms)).node == court.cat.node
    after = made.holder("s-1", Instant.from_ms(ms + 501)).node
    assert after == min(court.bob.node, court.ada.node)
    assert made.holder("s-1", Instant.from_ms(ms + 1_001)) is None
    assert made.holder("s-9", Instant.from_ms(ms)) is None


def test_dependency_is_met_when_done_or_accepted(court):
    made = board(
        *ended(court.bob, "done"),
        *ended(court.bob, "accepted", p.Accepted()),
        *ended(court.bob, "given-up", p.Abandon()),
        court.bob.transition("begun", p.DepsMet()),
        depends(court.bob, "s-1", "done", "accepted", "given-up", "begun", "nowhere"),
        depends(court.bob, "s-2", "done"),
        court.bob.story("s-3"),
    )
    assert made.unmet("s-1") == ["given-up", "begun", "nowhere"]
    assert made.unmet("s-2") == made.unmet("s-3") == made.unmet("nowhere") == []


def test_dependency_path_with_cycles(court):
    found = board(
        depends(court.ada, "a", "b", "c"),
        depends(court.ada, "b", "c", "nobody-named-it"),
        depends(court.bob, "c", "a", "d"),
    )
    assert found.dependency_path("a", "a") == ["a"]
    assert found.dependency_path("b", "d") == ["b", "c", "d"]
    assert found.dependency_path("c", "b") == ["c", "a", "b"]
    assert found.dependency_path("d", "a") == found.dependency_path("a", "e") == []


def test_removed_story_needs_no_ack(court):
    records = ended(court.bob, "s-1", p.Accepted())
    made = board(*records)
    assert made.unacknowledged_end("s-1") == records[-1].ref
    for record in records:
        made.remove(record)
    assert made.unacknowledged_end("s-1") is None


def test_stage_counts_follow_changes(court):
    end = ended(court.bob, "s-1")
    made = board(*end, court.bob.story("s-2"), gone := court.bob.story("s-3"))
    assert made.stages() == {"done": 1, "backlog": 2}
    made.remove(gone)
    made.remove(end[-1])
    made.add(court.bob.transition("s-2", p.Block(WHY)))
    assert made.stages() == {"merge": 1, "archived": 1}
    for record in end[:-1]:
        made.remove(record)
    assert made.stages() == {"archived": 1}


def test_executions_of_a_node_are_indexed(court):
    ada, bob, later = spawn(court.ada, "s-1"), spawn(court.bob, "s-1"), spawn(court.bob, "s-2")
    made = board(ada, bob, later)
    made.add(again := court.bob.execution("s-1", x.Idle(), x.Reset(), x.Idle()))
    made.remove(bob)
    assert [(story, view.record) for story, view in made.executions(court.bob.node)] == [
        ("s-1", again.ref), ("s-2", later.ref),
    ]  # fmt: skip
    made.remove(again)
    assert [story for story, _ in made.executions(court.bob.node)] == ["s-2"]
    assert [view.record for _, view in made.executions(court.ada.node)] == [ada.ref]
    assert not [*made.executions(court.cat.node)]


def test_archived_end_needs_an_ack_by_another_author(court):
    records = ended(court.bob, "s-1", p.Accepted())
    made = board(
        *records,
        court.bob.transition("blocked", p.Block(WHY)),
        *ended(court.bob, "done"),
    )
    end = records[-1]
    assert [made.unacknowledged_end(story) for story in ("s-1", "blocked", "done")] == [
        end.ref,
        None,
        None,
    ]
    made.add(court.bob.ack("s-1", end))
    made.add(court.cat.ack("s-1", records[0]))
    assert made.unacknowledged_end("s-1") == end.ref
    ack = court.cat.ack("s-1", end)
    made.add(ack)
    assert made.unacknowledged_end("s-1") is None
    made.remove(ack)
    assert made.unacknowledged_end("s-1") == end.ref


def test_touched_stories_are_returned_once_in_batches(court):
    made = board(*(court.bob.transition(f"s-{n}", p.Abandon()) for n in range(3)))
    made.add(court.bob.story("s-3"))
    assert made.take_touched(2) == ["s-0", "s-1"]
    assert made.take_touched(2) == ["s-2"]
    made.add(court.cat.transition("s-1", p.Abandon()))
    assert made.take_touched(2) == ["s-1"]
    assert made.take_touched(2) == []
