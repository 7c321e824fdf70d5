import copy
import gc
import pickle

import msgspec
import pytest

from machines import pipeline as p
from machines.codec import dec_hook, enc_hook
from machines.errors import InvalidValue
from machines.kernel import tag_of
from machines.pipeline import PIPELINE, stage_after
from machines.values import BranchName, FreeText, GitSha, Instant, StoryId
from tests.support.builders import tables
from tests.support.builders.tables import AT
from tests.support.oracles import flat_machines

ROWS = tables.rows("pipeline_table.json", p.Stage, p.PipelineEvent)
BRANCH = BranchName("feature/x")
WHY = FreeText("why")
LATER = Instant("2026-04-04T00:00:00.000Z")
ACTIVE = (p.Backlog(), p.Coding(), p.Qa(), p.Merge(BRANCH, 1))
BLOCKED = p.Archived(AT, p.Blocked(WHY))


@pytest.mark.parametrize(("state", "event", "outcome", "expected"), ROWS)
def test_every_row_of_the_table(state, event, outcome, expected):
    result = PIPELINE.step(state, event, AT)
    assert result.word == outcome
    assert getattr(result, "state", None) == expected
    word, after = flat_machines.pipeline(state, event, AT)
    assert (word, after) == (outcome, expected if expected is not None else state)


def test_the_table_is_complete():
    assert len(ROWS) == 11 * len(PIPELINE.events)


def test_stages_and_events_are_not_gc_tracked():
    for stage, event, *_ in ROWS:
        assert not gc.is_tracked(stage), stage
        assert not gc.is_tracked(event), event
    assert not gc.is_tracked(BLOCKED.reason)


@pytest.mark.parametrize("count", [0, -1, 2**32, True, 1.0, "1"])
def test_a_merge_with_nothing_to_merge_cannot_be_built(count):
    for kind in (p.Merge, p.GatesPassed, p.QaSkipped):
        with pytest.raises(InvalidValue):
            kind(BRANCH, count)
        with pytest.raises((InvalidValue, msgspec.ValidationError)):
            msgspec.structs.replace(kind(BRANCH, 1), commits_ahead=count)
        body = {
            msgspec.inspect.type_info(kind).tag_field: kind.__struct_config__.tag,
            "feature_branch": "f",
            "commits_ahead": count,
        }
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(body), type=kind, dec_hook=dec_hook)


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (p.Superseded, {"by": StoryId("s")}),
        (p.MergeFailed, {"reason": WHY}),
        (p.Blocked, {"reason": WHY}),
        (p.ReviewHeld, {"reason": WHY}),
        (p.Merge, {"feature_branch": BRANCH, "commits_ahead": 1}),
        (p.Done, {"merged_at": AT, "merge_commit": GitSha("abc")}),
        (p.Archived, {"archived_at": AT, "reason": p.StoryCompleted()}),
        (p.GatesPassed, {"feature_branch": BRANCH, "commits_ahead": 1}),
        (p.GatesFailed, {"reason": WHY}),
        (p.QaSkipped, {"feature_branch": BRANCH, "commits_ahead": 1}),
        (p.MergeSucceeded, {"merge_commit": GitSha("abc")}),
        (p.MergeFailedFinal, {"reason": WHY}),
        (p.Block, {"reason": WHY}),
        (p.Supersede, {"by": StoryId("s")}),
        (p.ReviewHold, {"reason": WHY}),
    ],
)
def test_no_field_accepts_an_unchecked_value(kind, good):
    whole = kind(**good)
    assert copy.copy(whole) == copy.deepcopy(whole) == pickle.loads(pickle.dumps(whole)) == whole
    assert hash(whole) == hash(kind(**good))
    for field in good:
        for bad in ("plain", "", None, 0, True):
            with pytest.raises(InvalidValue) as caught:
                kind(**{**good, field: bad})
            assert caught.value.what == field
            with pytest.raises(InvalidValue):
                msgspec.structs.replace(whole, **{field: bad})
        with pytest.raises(AttributeError):
            setattr(whole, field, good[field])


@pytest.mark.parametrize(("state", "event", "outcome", "expected"), ROWS)
def test_event_leads_to_one_stage(state, event, outcome, expected):
    if outcome == "transition":
        assert stage_after(event, AT) == expected


def test_legal_events_are_those_that_are_not_ignored():
    for state, event, outcome, _ in ROWS:
        legal = PIPELINE.legal_events(state)
        assert (PIPELINE.event_name(event) in legal) == (outcome != "ignored")


def test_actions_are_ordered_exit_then_entry():
    outcome = PIPELINE.step(p.Coding(), p.Block(WHY), AT)
    assert [(a.on, a.state, a.name) for a in outcome.actions] == [
        ("exit", "coding", "stop_agent"),
        ("exit", "active", "release_claim"),
        ("entry", "archived", "clean_up"),
    ]
    outcome = PIPELINE.step(p.Qa(), p.GatesFailed(WHY), AT)
    assert [(a.on, a.name) for a in outcome.actions] == [
        ("transition", "report_gates"),
        ("entry", "start_agent"),
    ]


def test_entry_and_exit_actions_of_each_stage():
    asked = {
        tag_of(type(event)): [(a.on, a.name) for a in PIPELINE.step(state, event, AT).actions]
        for state, event in (
            (p.Backlog(), p.DepsMet()),
            (p.Coding(), p.GatesStarted()),
            (p.Qa(), p.GatesPassed(BRANCH, 1)),
            (p.Merge(BRANCH, 1), p.MergeSucceeded(GitSha("abc"))),
            (p.Done(AT, GitSha("abc")), p.Accepted()),
        )
    }
    assert asked == {
        "deps_met": [("entry", "start_agent")],
        "gates_started": [("exit", "stop_agent"), ("entry", "run_gates")],
        "gates_passed": [("entry", "merge_branch")],
        "merge_succeeded": [("exit", "release_claim")],
        "accepted": [("entry", "clean_up")],
    }


def everything():
    """Each stage, reason and event as JSON."""
    whole = [*ACTIVE, p.Done(AT, GitSha("abc")), BLOCKED]
    whole += [p.StoryCompleted(), p.Abandoned(), p.Superseded(StoryId("s")), p.ReviewHeld(WHY)]
    whole += [event for _, event, _, _ in ROWS]
    return {type(one): msgspec.to_builtins(one, enc_hook=enc_hook) for one in whole}.items()


@pytest.mark.parametrize(("kind", "said"), everything())
def test_json_with_unknown_fields_or_tags_is_refused(kind, said):
    assert type(msgspec.convert(said, kind, dec_hook=dec_hook)) is kind
    tag = kind.__struct_config__.tag_field
    for other in ({**said, "more": 1}, {**said, tag: "other"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(other, kind, dec_hook=dec_hook)


@pytest.mark.parametrize(("kind", "said"), everything())
def test_states_and_events_are_hashable(kind, said):
    one, same = (msgspec.convert(said, kind, dec_hook=dec_hook) for _ in range(2))
    assert {one: 1}[same] == 1


@pytest.mark.parametrize("kind", [p.Merge, p.GatesPassed, p.QaSkipped])
def test_how_many_commits_a_merge_may_be_ahead(kind):
    tag = {kind.__struct_config__.tag_field: kind.__struct_config__.tag}
    for count in (1, 2**32 - 1):
        said = {**tag, "feature_branch": "f", "commits_ahead": count}
        assert msgspec.convert(said, kind, dec_hook=dec_hook) == kind(BranchName("f"), count)
    for count in (0, 2**32):
        said = {**tag, "feature_branch": "f", "commits_ahead": count}
        with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
            msgspec.convert(said, kind, dec_hook=dec_hook)
        with pytest.raises(InvalidValue, match=f"commits_ahead: 1 to {2**32 - 1}"):
            kind(BRANCH, count)


def test_names_of_machine_and_active_superstate():
    assert PIPELINE.name == "pipeline"
    shared = [PIPELINE.superstate(type(stage)) for stage in (*ACTIVE, BLOCKED)]
    assert [above and above.name for above in shared] == ["active"] * 4 + [None]


def test_condition_has_a_text():
    assert [rule.when_text for rule in PIPELINE.rules if rule.when is not None] == ["blocked only"]
