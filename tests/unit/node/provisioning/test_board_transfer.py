"""What an import makes of a line, whatever is here already."""

import msgspec
import pytest

from node.provisioning.board_transfer import Line, plan, read

EVENTS = tuple({"event": name} for name in ("deps_met", "gates_started", "gates_failed"))
THERE = Line("s-1", title="one", labels=("x",), stage={"stage": "coding"}, events=EVENTS)


def test_a_missing_story_is_added_with_its_events():
    made = plan(THERE, None, force=False)
    assert (made.new, made.fields, made.events, made.left) == (
        True, {"title": "one", "labels": ("x",)}, EVENTS, [],
    )  # fmt: skip


@pytest.mark.parametrize("done", range(4))
def test_an_import_that_stopped_midway_goes_on(done):
    here = msgspec.structs.replace(THERE, events=EVENTS[:done])
    made = plan(THERE, here, force=False)
    assert (made.new, made.fields, made.events, made.left) == (False, {}, EVENTS[done:], [])


def test_a_story_that_went_further_here_is_let_be():
    here = msgspec.structs.replace(THERE, events=(*EVENTS, {"event": "block", "reason": "x"}))
    made = plan(THERE, here, force=False)
    assert (made.events, made.left) == ((), [])


def test_a_story_that_went_another_way_is_named_and_left():
    here = msgspec.structs.replace(
        THERE, events=({"event": "abandon"},), stage={"stage": "archived"}
    )
    made = plan(THERE, here, force=True)
    assert made.events == ()
    assert "archived" in made.left[0]


@pytest.mark.parametrize("force", [False, True])
def test_a_differing_field_is_overwritten_with_force(force):
    here = msgspec.structs.replace(THERE, title="another", labels=())
    made = plan(THERE, here, force=force)
    assert made.fields == {"labels": ("x",)} | ({"title": "one"} if force else {})
    assert bool(made.left) is not force


HEAD = b'{"type":"board","version":1,"stories":1}'
STORY = b'{"type":"story","id":"s-1"}'


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ([], "0 stories"),
        ([HEAD], "truncated"),
        ([HEAD, STORY, STORY], "2 stories"),
        ([STORY, HEAD], "line 1"),
        ([HEAD, HEAD], "line 2"),
        ([HEAD, b"\xff"], "line 2"),
        ([HEAD, b'{"type":"story","id":7}'], "line 2"),
        ([HEAD.replace(b"1", b"9", 1), STORY], "another version"),
    ],
)
def test_what_is_no_board_is_refused_by_line(lines, word):
    with pytest.raises(ValueError, match=word):
        read(lines)
    assert read([HEAD, STORY]) == [Line("s-1")]
