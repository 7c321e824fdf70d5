import pytest

from crdt.authoring.handlers import Author
from crdt.authoring.reissue_body import AlreadySuperseded, reissue_body
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Claim, Role, Story
from machines import execution as x
from machines import pipeline as p
from machines.values import AgentName, Instant, StoryId
from tests.support.builders.ledger_fixture import spawn


def fork(court, pen):
    """The author's feed is cut at its very start."""
    court.take(pen.story("twin-a", clock=0), pen.story("twin-b", clock=0))
    pen.clock = 1


def restated(court, record, moved=None):
    """What its author would say anew, in his next feed."""
    feed = court.ledger.feed(FeedId(record.feed.author, 1))
    author = Author(record.feed.author, feed, court.now)
    return reissue_body(record, court.ledger, author, moved or {})


def refused(court, record, kind, moved=None):
    with pytest.raises(kind) as caught:
        restated(court, record, moved)
    assert type(caught.value) is kind
    return str(caught.value)


def test_story_is_reissued(court):
    record = court.bob.write(
        Story(at=court.bob.at(), n=0, story=StoryId("s-1"), title="mine", description="text")
    )
    court.take(court.cat.story("s-1", title="theirs", ms=court.ms))
    said = restated(court, record)
    assert (said.description, said.stamp) == ("text", record.stamp)
    assert not isinstance(said.title, str)
    ahead = court.bob.story("s-1", title="ahead", ms=court.ms + 9)
    assert restated(court, ahead).stamp == Stamp(court.now, 0)
    earlier = court.bob.story("s-1", title="old", ms=court.ms - 9)
    assert "since" in refused(court, earlier, AlreadySuperseded)


def test_story_fields_are_reissued_unless_newer(court):
    newer = court.bob.story("s-1", title="new", ms=court.ms)
    court.take(court.cat.story("s-1", title="old", ms=court.ms - 9))
    assert restated(court, newer).title == "new"
    assert restated(court, court.bob.story("s-2")).story == "s-2"


def test_event_is_reissued_if_the_stage_is_unchanged(court):
    first = court.cat.transition("s-1", p.DepsMet())
    court.take(first)
    record = court.bob.transition("s-1", p.GatesStarted(), first, ms=court.cat.ms + 1)
    said = restated(court, record)
    assert (said.event, said.parent) == (p.GatesStarted(), first.ref)
    assert first.stamp < said.stamp == record.stamp
    ahead = court.bob.transition("s-1", p.GatesStarted(), first, ms=court.ms + 9)
    assert restated(court, ahead).stamp == Stamp(court.now, 0)


def test_event_follows_its_reissued_parent(court):
    old = court.bob.transition("s-1", p.DepsMet())
    record = court.bob.transition("s-1", p.GatesStarted(), old)
    new = court.bob.transition("s-1", p.DepsMet(), incarnation=1, clock=0)
    court.take(new)
    assert "moved on" in refused(court, record, ProposalRefused)
    said = restated(court, record, {old.record_id: new.ref})
    assert said.parent == new.ref
    assert said.stamp > new.stamp > record.stamp
    first = court.bob.transition("s-2", p.DepsMet())
    court.take(court.cat.story("s-2"))
    assert restated(court, first).parent is None


def test_an_event_that_no_longer_applies_is_reported(court):
    record = court.bob.transition("s-1", p.Accepted())
    assert "no record names" in refused(court, record, ProposalRefused)
    court.take(court.cat.story("s-1"))
    assert "backlog ignores it" in refused(court, record, ProposalRefused)


def test_execution_is_reissued_unless_newer(court):
    record = spawn(court.bob)
    said = restated(court, record)
    assert said.state == x.Pending(record.body.state.agent, said.at)
    court.take(spawn(court.cat))
    assert restated(court, record).event == record.body.event
    court.take(spawn(court.bob, incarnation=1, clock=0))
    assert "later one" in refused(court, record, AlreadySuperseded)


def test_reissued_execution_keeps_its_times(court):
    pending = spawn(court.bob)
    at = pending.body.at
    done = x.Completed(pending.body.state.agent, 0, at)
    record = court.bob.execution("s-1", pending.body.state, x.Exited(0), done, ms=at.ms)
    court.ms += 60_000
    said = restated(court, record)
    assert said == record.body
    assert said.state.completed_at == at


def test_execution_stamped_ahead_gets_a_new_stamp(court):
    at = Instant.from_ms(court.ms + 60_000)
    pending = x.Pending(AgentName("a"), at)
    asked = x.SpawnRequested(AgentName("a"))
    record = court.bob.execution("s-1", x.Idle(), asked, pending, ms=at.ms)
    said = restated(court, record)
    assert said.at < record.body.at
    assert said.state.since == said.at


def claim(pen, ms, until_ms, since_ms=None, **where):
    body = Claim(
        at=pen.at(ms), n=0, key=StoryId("s-1"),
        since=Stamp(Instant.from_ms(since_ms or ms), 0), until=Instant.from_ms(until_ms),
    )  # fmt: skip
    return pen.write(body, **where)


def test_valid_claim_is_reissued_with_its_since(court):
    record = claim(court.bob, court.ms - 9, court.ms + 60_000, court.ms - 20)
    said = restated(court, record)
    assert (said.since, said.until) == (record.body.since, record.body.until)
    ahead = claim(court.bob, court.ms + 50_000, court.ms + 50_000 + limits.CLAIM_MS_MAX)
    said = restated(court, ahead)
    assert said.since == said.stamp
    assert said.until.ms == court.ms + limits.CLAIM_MS_MAX


def test_expired_or_contested_claim_is_not_reissued(court):
    over = claim(court.bob, court.ms - 9, court.ms)
    for record in (over, court.bob.release("s-1")):
        assert "expired" in refused(court, record, AlreadySuperseded)
    mine = claim(court.bob, court.ms - 9, court.ms + 60_000)
    court.take(claim(court.cat, court.ms - 90, court.ms + 60_000))
    assert court.cat.node.short in refused(court, mine, ProposalRefused)
    court.take(court.bob.release("s-1", incarnation=1, clock=0))
    later = claim(court.bob, court.ms - 9, court.ms + 60_000)
    court.take(claim(court.bob, court.ms, court.ms + 60_000, incarnation=1, clock=1))
    assert "later one" in refused(court, later, AlreadySuperseded)


def test_an_own_claim_is_no_reason_against_itself(court):
    mine = claim(court.bob, court.ms - 9, court.ms + 60_000)
    court.take(claim(court.bob, court.ms - 30, court.ms + 60_000, incarnation=1, clock=0))
    assert restated(court, mine).until == mine.body.until


def test_roster_records_are_reissued(court):
    admission = court.ada.member(court.sam.node, Role.MEMBER)
    take = court.ada.revocation(court.sam.node, [admission], [(0, 3)])
    assert restated(court, admission).node == court.sam.node
    assert restated(court, take).admissions == (admission.record_id,)
    assert restated(court, take).stamp == Stamp(court.now, 0)


def test_admission_is_reissued_if_still_allowed(court):
    """A member that signed one with a key that was an admin's says nothing by it."""
    admission = court.ada.member(court.sam.node, Role.MEMBER)
    assert "may not admit" in refused(court, court.bob.write(admission.body), ProposalRefused)
    above = court.ada.member(court.sam.node, Role.ADMIN)
    assert "as admin" in refused(court, above, ProposalRefused)


def test_unknown_kinds_and_kinds_written_by_themselves(court):
    carried = court.bob.raw({"at": str(court.bob.at()), "kind": "weather", "n": 0})
    assert "weather" in refused(court, carried, ProposalRefused)
    end = court.cat.transition("s-1", p.Abandon())
    assert "written by themselves" in refused(court, court.bob.ack("s-1", end), AlreadySuperseded)


def test_founding_record_is_never_reissued(court):
    assert "founding record" in refused(court, court.found.record, AlreadySuperseded)


def test_illegal_pending_record_is_reported(court):
    at = court.ms + limits.STAMP_AHEAD_MS_MAX + 1
    state = x.Completed(AgentName("a"), 0, Instant.from_ms(at))
    court.take(court.bob.execution("s", x.Idle(), x.Exited(0), state, ms=at))
    [parked] = court.ledger.pending.ahead_of(court.bob.node)
    with pytest.raises(ProposalRefused, match="idle ignores it"):
        restated(court, parked)
