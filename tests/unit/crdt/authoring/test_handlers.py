import pytest

from crdt.authoring.handlers import Author, author, handle_intent, own_execution
from crdt.authoring.intents import (
    AccuseFork,
    AcknowledgeEnd,
    AddStory,
    AdmitNode,
    ClaimStory,
    EditStory,
    FireEvent,
    FireExecution,
    ReleaseClaim,
    RevokeNode,
    WriteSeal,
)
from crdt.ledger.feed import EntryStatus
from crdt.primitives import limits
from crdt.primitives.errors import EventIgnored, ProposalRefused, UnknownStory
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role, Story
from crdt.records.digests import seal_digest
from crdt.records.fork_proof import claimed_proof
from machines import execution as x
from machines import pipeline as p
from machines.values import FreeText, Instant, Label, StoryId
from tests.support.builders.ledger_fixture import CODER, LedgerFixture, spawn

S1 = StoryId("s-1")


@pytest.fixture
def court():
    made = LedgerFixture()
    made.take(made.ada.story("s-1"))
    return made


def say(court, pen, intent):
    """The body and the warnings, as this author would write them now."""
    feed = court.ledger.feed(FeedId(pen.node, pen.incarnation))
    return handle_intent(intent, court.ledger, Author(pen.node, feed, court.now))


def body(court, pen, intent):
    return say(court, pen, intent)[0]


def write(court, pen, intent):
    """Propose, sign and take."""
    record = pen.write(body(court, pen, intent))
    court.take(record)
    return record


def refused(court, pen, intent, kind=ProposalRefused):
    with pytest.raises(kind) as caught:
        say(court, pen, intent)
    return str(caught.value)


# Stamps


def test_a_stamp_is_the_own_clock_or_one_tick_past_what_it_must_follow(court):
    assert body(court, court.bob, EditStory(S1, title=FreeText("a"))).stamp == Stamp(court.now, 0)
    own = court.bob.story("s-1", ms=court.ms + 5_000)
    court.take(own)
    assert body(court, court.bob, EditStory(S1, title=FreeText("a"))).stamp == own.stamp._replace(
        n=1
    )
    event = court.cat.transition("s-1", p.DepsMet(), ms=court.ms + 9_000)
    court.take(event)
    assert body(court, court.bob, FireEvent(S1, p.Abandon())).stamp == event.stamp._replace(n=1)
    assert body(court, court.ada, EditStory(S1, title=FreeText("a"))).stamp == Stamp(court.now, 0)


def test_stamps_go_back_in_none_of_ones_feeds_but_for_those_that_others_do_not_take(court):
    fresh = court.ledger.feed(FeedId(court.bob.node, 5))
    assert author(fresh, court.ledger, court.now).before is None
    bound = court.ms + limits.STAMP_AHEAD_MS_MAX + limits.STAMP_LEEWAY_MS
    for ms, incarnation in ((court.ms + 5_000, 0), (bound, 1), (bound + 1, 2)):
        court.take(court.bob.story("a", clock=0, incarnation=incarnation, ms=ms), stored=True)
    court.take(court.cat.story("a", ms=bound), stored=True)
    made = author(fresh, court.ledger, court.now)
    assert (made.node, made.feed, made.wall) == (court.bob.node, fresh, court.now)
    assert made.before == Stamp(Instant.from_ms(bound), 0)
    assert made.stamp() == Stamp(Instant.from_ms(bound), 1)


# Stories


def test_a_story_is_named_once_and_changed_after_that(court):
    added = body(
        court,
        court.bob,
        AddStory(StoryId("s-2"), FreeText("t"), FreeText("d"), (S1,), (Label("l"),)),
    )
    assert (added.title, added.description, added.depends_on, added.labels) == (
        "t", "d", ("s-1",), ("l",),
    )  # fmt: skip
    bare = body(court, court.bob, AddStory(StoryId("s-2")))
    assert not any(isinstance(v, str) for v in (bare.title, bare.description))
    assert "exists already" in refused(court, court.bob, AddStory(S1))
    assert body(court, court.bob, EditStory(S1, labels=())).labels == ()
    assert "name a field" in refused(court, court.bob, EditStory(S1))
    refused(court, court.bob, EditStory(StoryId("s-9"), FreeText("t")), UnknownStory)


def test_a_story_does_not_wait_for_itself(court):
    s2 = StoryId("s-2")
    sentence = "s-2 cannot wait for itself"
    assert sentence in refused(court, court.bob, AddStory(s2, depends_on=(S1, s2)))
    write(court, court.bob, AddStory(s2, depends_on=(S1,)))
    assert sentence in refused(court, court.bob, EditStory(s2, depends_on=(s2,)))


def test_stories_do_not_wait_for_each_other_in_a_circle(court):
    names = [StoryId(f"c-{number}") for number in range(12)]
    for number, name in enumerate(names):
        awaited = (S1, *names[number + 1 : number + 3])  # more than one way each
        write(court, court.bob, AddStory(name, depends_on=awaited))
    told = refused(court, court.bob, EditStory(names[2], depends_on=(S1, names[1])))
    assert told == "stories cannot wait for each other in a circle: c-2 → c-1 → c-2"
    told = refused(court, court.bob, EditStory(names[11], depends_on=(names[0],)))
    assert told.startswith("stories cannot wait for each other in a circle: c-11 → c-0 → c-")
    assert told.endswith("→ c-11")
    assert len(told) < 130
    assert body(court, court.bob, EditStory(names[1], depends_on=(names[11],))).depends_on


def test_a_circle_that_concurrent_edits_made_hangs_nothing_and_can_be_undone(court):
    s2, s3 = StoryId("s-2"), StoryId("s-3")
    write(court, court.bob, AddStory(s2, depends_on=(s3,)))
    body_of_ada = Story(at=court.now, n=0, story=s3, depends_on=(s2,))  # who saw nothing of it
    court.take(court.ada.write(body_of_ada))
    assert court.ledger.board.dependency_path("s-2", "s-2") == ["s-2"]
    assert court.ledger.board.dependency_path("s-2", "s-9") == []
    assert "s-3" in refused(court, court.bob, FireEvent(s2, p.DepsMet()))
    assert body(court, court.bob, FireEvent(s2, p.DepsMet(), force=True))
    assert body(court, court.bob, EditStory(S1, depends_on=(s2,))).depends_on  # no part of it
    assert body(court, court.bob, EditStory(s3, depends_on=())).depends_on == ()


def test_to_wait_for_a_story_that_nobody_named_leaves_a_warning(court):
    s2, s9 = StoryId("s-2"), StoryId("s-9")
    added, warnings = say(court, court.bob, AddStory(s2, depends_on=(S1, s9)))
    assert added.depends_on == (S1, s9)
    assert warnings == ("no story is called s-9 yet",)
    assert say(court, court.bob, AddStory(s2, depends_on=(S1,)))[1] == ()


# Events


def test_an_event_names_the_one_it_follows(court):
    first = write(court, court.bob, FireEvent(S1, p.DepsMet()))
    assert first.body.parent is None
    assert body(court, court.cat, FireEvent(S1, p.GatesStarted())).parent == first.ref


def test_an_event_that_the_stage_ignores_is_refused_with_what_is_legal(court):
    with pytest.raises(EventIgnored) as caught:
        say(court, court.bob, FireEvent(S1, p.Accepted()))
    assert (caught.value.state, caught.value.event) == ("backlog", "accepted")
    assert caught.value.legal == p.PIPELINE.legal_events(p.Backlog())
    refused(court, court.bob, FireEvent(StoryId("s-9"), p.DepsMet()), UnknownStory)


def test_dependencies_that_are_not_done_want_force_and_leave_a_warning(court):
    write(court, court.bob, AddStory(StoryId("s-2"), depends_on=(S1,)))
    fire = FireEvent(StoryId("s-2"), p.DepsMet())
    assert "--force" in refused(court, court.bob, fire)
    _, warnings = say(court, court.bob, FireEvent(StoryId("s-2"), p.DepsMet(), force=True))
    assert warnings == ("s-2 depends on what is not done: s-1",)
    assert say(court, court.bob, FireEvent(StoryId("s-2"), p.Abandon()))[1] == ()


# Executions


def test_an_execution_goes_on_from_the_own_one(court):
    court.take(spawn(court.cat))
    started = write(court, court.bob, FireExecution(S1, x.SpawnRequested(CODER)))
    assert started.body.previous == x.Idle()
    assert started.body.state == x.Pending(CODER, started.body.at)
    assert own_execution(court.ledger, court.bob.node, "s-1") == started.body.state
    again = body(court, court.bob, FireExecution(S1, x.SpawnedSuccessfully()))
    assert again.previous == started.body.state
    assert own_execution(court.ledger, court.bob.node, "s-9") == x.Idle()
    assert own_execution(court.ledger, court.ada.node, "s-1") == x.Idle()


def test_an_execution_event_that_is_ignored_is_refused(court):
    with pytest.raises(EventIgnored) as caught:
        say(court, court.bob, FireExecution(S1, x.Heartbeat()))
    assert (caught.value.state, caught.value.event) == ("idle", "heartbeat")
    assert str(caught.value).startswith("this node's execution of s-1 is in idle")
    refused(court, court.bob, FireExecution(StoryId("s-9"), x.Stopped()), UnknownStory)


# Claims


def test_a_claim_lasts_up_to_an_hour_and_keeps_its_first_instant(court):
    first = write(court, court.bob, ClaimStory(S1, 60))
    assert (first.body.since, first.body.until.ms) == (first.stamp, first.stamp.at.ms + 60_000)
    court.ms += 5_000
    renewed = body(court, court.bob, ClaimStory(S1, 3_600))
    assert (renewed.since, renewed.until.ms) == (first.stamp, court.ms + limits.CLAIM_MS_MAX)
    for seconds in (0, -1, 3_601):
        assert "a second to an hour" in refused(court, court.cat, ClaimStory(S1, seconds))


def test_a_story_that_another_holds_is_not_claimed_until_it_runs_out(court):
    write(court, court.bob, ClaimStory(S1, 60))
    assert court.bob.node.short in refused(court, court.cat, ClaimStory(S1, 60))
    court.ms += 61_000
    claimed = write(court, court.cat, ClaimStory(S1, 60))
    assert claimed.body.since == claimed.stamp


def test_a_claim_that_ran_out_is_taken_anew(court):
    first = write(court, court.bob, ClaimStory(S1, 60))
    court.ms += 61_000
    assert body(court, court.bob, ClaimStory(S1, 60)).since > first.stamp


def test_a_claim_of_an_older_feed_stamped_later_is_renewed_all_the_same(court):
    court.ms += 50_000
    write(court, court.bob, ClaimStory(S1, 600))
    court.ms -= 50_000
    court.bob.incarnation = 5
    renewed = body(court, court.bob, ClaimStory(S1, 600))
    assert renewed.since == renewed.stamp


def test_only_a_claim_that_stands_is_given_back(court):
    assert "holds no claim" in refused(court, court.bob, ReleaseClaim(S1))
    write(court, court.bob, ClaimStory(S1, 60))
    assert body(court, court.bob, ReleaseClaim(S1)).released is True
    assert "holds no claim" in refused(court, court.cat, ReleaseClaim(S1))
    court.ms += 61_000
    assert "holds no claim" in refused(court, court.bob, ReleaseClaim(S1))
    refused(court, court.bob, ReleaseClaim(StoryId("s-9")), UnknownStory)


# Who belongs


def admit(node, role=Role.MEMBER, **options):
    return AdmitNode(node, role, FreeText("name"), **options)


def test_admins_admit_and_only_the_founder_names_admins(court):
    said = body(court, court.ada, admit(court.sam.node, ticket=b"t" * 32))
    assert (said.node, said.role, said.name, said.ticket) == (
        court.sam.node, Role.MEMBER, "name", b"t" * 32,
    )  # fmt: skip
    assert not isinstance(body(court, court.ada, admit(court.sam.node)).ticket, bytes)
    assert "only an admin" in refused(court, court.bob, admit(court.sam.node))
    assert "only the founder" in refused(court, court.ada, admit(court.sam.node, Role.ADMIN))
    assert body(court, court.founder, admit(court.sam.node, Role.ADMIN)).role is Role.ADMIN


def test_nobody_admits_himself_or_the_founder_but_the_founder(court):
    for node in (court.ada.node, court.founder.node):
        assert "does not admit itself" in refused(court, court.ada, admit(node))
    assert "stays an admin" in refused(court, court.founder, admit(court.founder.node))
    renamed = body(court, court.founder, admit(court.founder.node, Role.ADMIN))
    assert renamed.name == "name"


def test_a_revocation_names_what_its_author_may_withdraw_and_keeps_what_is_known(court):
    write(court, court.ada, admit(court.sam.node))
    court.take(court.sam.story("a", clock=4), court.sam.story("b", clock=0, incarnation=9))
    by_ada = body(court, court.ada, RevokeNode(court.sam.node))
    assert len(by_ada.admissions) == 1
    assert by_ada.keep == ((0, 5), (9, 1))
    assert body(court, court.ada, RevokeNode(court.sam.node, ())).keep == ()
    founders = write(court, court.founder, admit(court.sam.node))
    assert body(court, court.ada, RevokeNode(court.sam.node)).admissions == by_ada.admissions
    both = body(court, court.founder, RevokeNode(court.sam.node)).admissions
    assert set(both) == {*by_ada.admissions, founders.record_id}


def test_what_is_withdrawn_already_is_not_named_again(court):
    write(court, court.founder, RevokeNode(court.bob.node))
    assert "revoked already" in refused(court, court.founder, RevokeNode(court.bob.node))
    assert "no admission" in refused(court, court.founder, RevokeNode(court.sam.node))


def test_one_that_says_itself_what_to_keep_takes_more_of_what_was_taken(court):
    write(court, court.founder, RevokeNode(court.bob.node, ((0, 9),)))
    again = body(court, court.founder, RevokeNode(court.bob.node, ((0, 2),)))
    assert again.admissions == (court.admissions[court.bob.node].record_id,)
    assert again.keep == ((0, 2),)


def test_a_revocation_may_name_some_admissions_only(court):
    first = court.admissions[court.bob.node]
    second = write(court, court.founder, admit(court.bob.node, Role.OBSERVER))
    revoke = RevokeNode(court.bob.node, None, (second.record_id,))
    assert body(court, court.founder, revoke).admissions == (second.record_id,)
    assert first.record_id != second.record_id


def test_who_may_not_revoke_is_told_why(court):
    for pen, node, why in (
        (court.bob, court.cat.node, "only an admin"),
        (court.founder, court.founder.node, "nobody revokes the founder"),
        (court.ada, court.founder.node, "nobody revokes the founder"),
        (court.ada, court.ada.node, "only the founder revokes an admin"),
        (court.ada, court.bob.node, "the node that admitted it may"),
    ):
        assert why in refused(court, pen, RevokeNode(node))


# What tick asks for


def test_an_ack_names_the_end(court):
    end = write(court, court.bob, FireEvent(S1, p.Abandon()))
    assert body(court, court.cat, AcknowledgeEnd(S1)).end == end.ref
    write(court, court.bob, AddStory(StoryId("s-2")))
    assert "nothing has happened" in refused(court, court.cat, AcknowledgeEnd(StoryId("s-2")))
    refused(court, court.cat, AcknowledgeEnd(StoryId("s-9")), UnknownStory)


def test_a_seal_counts_the_live_records_and_stands_last_once(court):
    assert "nothing to seal" in refused(court, court.bob, WriteSeal())
    records = [court.bob.story("a"), court.bob.story("b")]
    court.take(*records)
    seal = write(court, court.bob, WriteSeal())
    assert seal.body.count == 2
    assert seal.body.digest == seal_digest([record.record_id for record in records])
    assert court.feed(court.bob).as_sealed() is True
    assert "nothing to seal" in refused(court, court.bob, WriteSeal())


def test_one_who_opened_more_feeds_than_a_record_names_is_revoked_all_the_same(court):
    for number in range(1100):
        incarnation = 4_000_000_000 + number
        court.take(court.bob.story("a", incarnation=incarnation, clock=0))
    why = refused(court, court.founder, RevokeNode(court.bob.node))
    assert "has 1100 feeds, more than one revocation can name: revoke it with --keep nothing" in why
    some = tuple((4_000_000_000 + number, 1) for number in range(800))
    write(court, court.founder, RevokeNode(court.bob.node, some))
    assert not court.ledger.roster.belongs(court.bob.node)


def test_a_seal_that_the_roster_made_untrue_is_written_anew(court):
    """Nothing was written after it, and yet a revocation counts no longer."""
    write(court, court.ada, AdmitNode(court.sam.node, Role.MEMBER, FreeText("sam")))
    revoked = write(court, court.ada, RevokeNode(court.sam.node))
    write(court, court.ada, WriteSeal())
    assert court.feed(court.ada).as_sealed() is True
    court.take(court.founder.member(court.sam.node, Role.ADMIN))
    assert court.verdict(revoked) is EntryStatus.VOID_REVOKED
    assert court.feed(court.ada).as_sealed() is False
    assert write(court, court.ada, WriteSeal()).body.count == 2
    assert court.feed(court.ada).as_sealed() is True
    assert "nothing to seal" in refused(court, court.ada, WriteSeal())


def test_an_accusation_carries_the_proof_that_is_known(court):
    one, two = (court.bob.story(title, clock=3) for title in "ab")
    accuse = AccuseFork(one.feed, 3)
    assert "no proof" in refused(court, court.cat, accuse)
    court.take(one, two)
    said = body(court, court.cat, accuse)
    assert (said.feed, said.clock) == (one.feed, 3)
    assert claimed_proof(said) == court.ledger.proofs[one.feed]
