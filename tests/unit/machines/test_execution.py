import gc

import msgspec
import pytest

from machines import execution as x
from machines.codec import dec_hook, enc_hook
from machines.errors import InvalidValue
from machines.execution import EXECUTION
from machines.values import AgentName, Instant
from tests.support.builders import tables
from tests.support.builders.tables import AT
from tests.support.oracles import flat_machines

ROWS = tables.rows("execution_table.json", x.ExecutionState, x.ExecutionEvent)
CODER = AgentName("coder-1")
LATER = Instant("2026-04-04T00:00:00.000Z")


@pytest.mark.parametrize(("state", "event", "outcome", "expected"), ROWS)
def test_every_row_of_the_table(state, event, outcome, expected):
    result = EXECUTION.step(state, event, AT)
    assert result.word == outcome
    assert getattr(result, "state", None) == expected
    word, after = flat_machines.execution(state, event, AT)
    assert (word, after) == (outcome, expected if expected is not None else state)


def test_the_table_is_complete():
    assert len(ROWS) == len(EXECUTION.states) * len(EXECUTION.events)


def test_states_and_events_are_not_gc_tracked():
    for state, event, *_ in ROWS:
        assert not gc.is_tracked(state), state
        assert not gc.is_tracked(event), event


def test_a_rate_limit_then_resume():
    running = x.Running(CODER, AT, AT)
    limited = EXECUTION.step(running, x.HitRateLimit(LATER), AT)
    assert limited.state == x.RateLimited(CODER, LATER)
    assert [(a.on, a.name) for a in limited.actions] == [
        ("exit", "stop_heartbeat"),
        ("transition", "schedule_resume"),
    ]
    resumed = EXECUTION.step(limited.state, x.SpawnedSuccessfully(), LATER)
    assert resumed.state == x.Running(CODER, LATER, LATER)
    assert [(a.on, a.name) for a in resumed.actions] == [("entry", "start_heartbeat")]


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (x.Pending, {"agent": CODER, "since": AT}),
        (x.Running, {"agent": CODER, "started_at": AT, "last_heartbeat": AT}),
        (x.RateLimited, {"agent": CODER, "resume_at": AT}),
        (x.Completed, {"agent": CODER, "exit_code": 1, "completed_at": AT}),
        (x.SpawnRequested, {"agent": CODER}),
        (x.HitRateLimit, {"resume_at": AT}),
        (x.Exited, {"exit_code": -1}),
    ],
)
def test_no_field_accepts_an_unchecked_value(kind, good):
    whole = kind(**good)
    for field in good:
        for bad in ("plain", None, 2**31, -(2**31) - 1, True, 1.5):
            with pytest.raises(InvalidValue) as caught:
                kind(**{**good, field: bad})
            assert caught.value.what == field
            with pytest.raises(InvalidValue):
                msgspec.structs.replace(whole, **{field: bad})


@pytest.mark.parametrize("kind", [x.Exited, x.Completed])
def test_an_exit_code_is_an_i32(kind):
    rest = {} if kind is x.Exited else {"agent": "coder-1", "completed_at": str(AT)}
    rest[kind.__struct_config__.tag_field] = kind.__struct_config__.tag
    for code in (-(2**31), 2**31 - 1):
        said = msgspec.convert({**rest, "exit_code": code}, kind, dec_hook=dec_hook)
        assert msgspec.structs.replace(said, exit_code=code) == said
    for code in (-(2**31) - 1, 2**31):
        with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
            msgspec.convert({**rest, "exit_code": code}, kind, dec_hook=dec_hook)
        with pytest.raises(InvalidValue, match=f"exit_code: {-(2**31)} to {2**31 - 1}"):
            msgspec.structs.replace(said, exit_code=code)


def everything():
    """Each state and event as JSON."""
    whole = [one for state, event, _, _ in ROWS for one in (state, event)]
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
    for field in kind.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(one, field, getattr(one, field))


def test_names_of_machine_and_superstate():
    assert EXECUTION.name == "execution"
    assert {EXECUTION.superstate(kind).name for kind in EXECUTION.states} == {"any"}
