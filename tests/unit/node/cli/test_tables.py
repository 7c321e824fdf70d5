"""The tables that are wide, on a terminal of 80 columns."""

import json
import re

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from node.cli.main import app

KEYS = ("1feb11c0" * 8, "2bad22c0" * 8)
AT = "2026-11-25T00:01:02.345Z"


def cells(line):
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture
def narrow(monkeypatch):
    def show(rows, *command, width=80):
        for module in ("inspect", "look", "members"):
            monkeypatch.setattr(f"node.cli.{module}.ask", lambda *_: rows)
        terminal = {"COLUMNS": str(width), "FORCE_COLOR": "1", "TERM": "dumb"}
        answer = CliRunner().invoke(app, command, env=terminal)
        assert answer.exit_code == 0
        lines = [line.rstrip() for line in answer.output.splitlines() if line.strip()]
        assert max(map(cell_len, lines)) <= width
        return lines

    return show


def test_who_belongs_takes_a_line_each(narrow):
    def admitted(*revoked):
        return [{"role": "member", "by": KEYS[0], "by_name": "den", "at": AT, "revoked": revoked}]

    row = {"node": KEYS[1], "name": "kennel-2", "role": "member", "founder": False}
    gone = {"by": KEYS[0], "by_name": "den", "at": AT}
    head, _, founder, stands, left = narrow(
        [
            row | {"role": "admin", "founder": True, "belongs": True, "admissions": admitted()},
            row | {"belongs": True, "admissions": admitted()},
            row | {"belongs": False, "role": None, "admissions": admitted(gone)},
        ],
        "members",
    )
    assert cells(head) == ["node", "name", "role", "admitted by", "revoked by"]
    assert cells(founder)[1:] == ["kennel-2", "admin (founder)", "den, 2026-11-25"]
    assert cells(stands)[1:] == ["kennel-2", "member", "den, 2026-11-25"]
    assert cells(left)[2:] == ["was member", "den, 2026-11-25", "den, 2026-11-25"]


def test_what_was_turned_away_has_room_for_why(narrow):
    row = {
        "at": AT, "peer": KEYS[0], "peer_name": "kennel-2", "author": KEYS[1],
        "author_name": "kennel-3", "incarnation": 0, "clock": 12, "record": "ab" * 32,
        "reason": "bad_signature", "detail": "signed by nobody",
    }  # fmt: skip
    head, _, *lines = narrow([row], "inspect", "quarantine")
    assert cells(head) == ["at", "brought by", "claims to be", "reason"]
    first = ["2026-11-25 00:01", "kennel-2", "kennel-3/0#12", "bad_signature: signed by"]
    assert cells(lines[0]) == first
    assert len(lines) <= 2


def story(name, **fields):
    return {
        "id": name, "title": "", "stage": {"stage": "backlog"}, "executions": [],
        "depends_on": [], "conflicts": [],
    } | fields  # fmt: skip


def test_stories_stand_in_the_order_in_which_people_count(narrow):
    ids = ["k-1", "k-10", "k-2", "k-2.10", "k-2.9", "K-3", "9", "10", "a", "k-01"]
    _, _, *lines = narrow([story(one) for one in ids], "stories")
    shown = [cells(line)[0] for line in lines]
    assert shown == ["9", "10", "K-3", "a", "k-01", "k-1", "k-2", "k-2.9", "k-2.10", "k-10"]


def test_a_program_gets_stories_in_the_order_of_the_daemon(monkeypatch):
    rows = [story(one) for one in ("k-1", "k-10", "k-2")]
    monkeypatch.setattr("node.cli.look.ask", lambda *_: rows)
    answer = CliRunner().invoke(app, ["stories", "--json"])
    assert [row["id"] for row in json.loads(answer.output)] == ["k-1", "k-10", "k-2"]


LONG = "a-rather-long-story-identifier-from-an-issue-tracker-PROJ-1234"
TITLE = "日本語の長いタイトル 🚀 which says a good deal more than fits into a line of a terminal"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_long_id_and_a_long_title_leave_each_other_room(narrow, width):
    rows = [story(LONG, title=TITLE), story("s-2", depends_on=["s-1"], title="short")]
    head, _, *lines = narrow(rows, "stories", width=width)
    assert cells(head) == ["story", "stage", "waits for", "title"]
    assert cells(lines[-1]) == ["s-2", "backlog", "s-1", "short"]
    first = [cells(line)[0] for line in lines[:-1]]
    assert "".join(part for part in first if part in LONG) == LONG
    assert {word for word in TITLE.split() if len(word) < 9} <= set(" ".join(lines).split())


def test_what_has_room_keeps_the_columns_with_nothing_in_them(narrow):
    head, _, line = narrow([story("s-1", title="short")], "stories")
    assert cells(head) == ["story", "stage", "working on it", "waits for", "lost", "title"]
    assert cells(line) == ["s-1", "backlog", "short"]


def test_where_no_table_fits_a_row_has_lines_of_its_own(narrow):
    lines = narrow([story("s-2", depends_on=["s-1"])], "stories", width=26)
    assert lines == ["story      s-2", "stage      backlog", "waits for  s-1"]


def test_a_text_of_several_lines_stands_indented_and_forges_nothing(monkeypatch):
    stage = {
        "stage": "archived", "archived_at": AT, "reason": {"kind": "blocked", "reason": "a\nb"},
    }  # fmt: skip
    answer = story("s-1", stage=stage, description="one\nclaim  held by me\x1b[2J\ttab") | {
        "names": {}, "last": None, "labels": [], "claims": [], "holder": None,
    }  # fmt: skip
    monkeypatch.setattr("node.cli.look.ask", lambda *_: answer)
    assert CliRunner().invoke(app, ["story", "s-1"]).output.splitlines() == [
        "story        s-1",
        "stage        archived (blocked)",
        "archived at  2026-11-25 00:01:02",
        "reason       a",
        "             b",
        "description  one",
        "             claim  held by me\\x1b[2J   tab",
    ]


def test_watch_tells_people_when_and_leaves_seals_to_programs(monkeypatch):
    ref = [KEYS[0], 0, 7, "ab" * 32]
    events = [
        {"type": "record_admitted", "kind": "seal", "record": ref, "own": True},
        {"type": "claim_moved", "story": "s-1", "holder": KEYS[0], "lost_by_us": False},
    ]
    monkeypatch.setattr("node.cli.look.ask", lambda *_: [{"node": KEYS[0], "name": "den"}])
    monkeypatch.setattr("node.client.Client.stream", lambda *_: iter(events))
    told = CliRunner().invoke(app, ["watch"])
    assert told.exit_code == 3
    assert re.fullmatch(r"\d\d:\d\d:\d\d  s-1: claimed by den\n", told.stdout)
    lines = CliRunner().invoke(app, ["watch", "--json"]).stdout.splitlines()
    assert [json.loads(line) for line in lines] == events
