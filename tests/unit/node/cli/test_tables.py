"""The tables that are wide, on a terminal of 80 columns."""

import json
import re

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from node.cli.console import put_note
from node.cli.main import app
from node.system.local_time import local

KEYS = ("1feb11c0" * 8, "2bad22c0" * 8)
AT = "2026-11-25T00:01:02.345Z"
LATER, LATEST = "2026-11-25T00:02:02.345Z", "2026-11-25T00:03:02.345Z"
DAY = f"den, {local(AT)[:10]}"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
ADMITTED = {
    "role": "member", "name": "b", "by": KEYS[0], "by_name": "den",
    "at": "2026-11-24T23:00:00.000Z", "revoked": [],
}  # fmt: skip


def cells(line):
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture
def narrow(monkeypatch):
    def show(rows, *command, width=80):
        for module in ("inspect.commands", "commands.show", "commands.members"):
            monkeypatch.setattr(f"node.cli.{module}.ask", lambda *_: rows)
        terminal = {"COLUMNS": str(width), "LINES": "25", "FORCE_COLOR": "1", "TERM": "dumb"}
        answer = CliRunner().invoke(app, command, env=terminal)
        assert answer.exit_code == 0
        lines = [line.rstrip() for line in answer.output.splitlines() if line.strip()]
        assert max(map(cell_len, lines)) <= width
        return lines

    return show


def test_who_belongs_takes_a_line_each(narrow):
    def admitted(*revoked):
        return [ADMITTED | {"at": AT, "revoked": revoked}]

    row = {"node": KEYS[1], "name": "kennel-2", "role": "member", "founder": False}
    gone = {"by": KEYS[0], "by_name": "den", "at": AT}
    head, _, founder, stands, left, unheard = narrow(
        [
            row | {"role": "admin", "founder": True, "belongs": True, "admissions": admitted()},
            row | {"belongs": True, "admissions": admitted()},
            row | {"belongs": False, "role": None, "admissions": admitted(gone)},
            row | {"name": "", "belongs": False, "role": "", "founder": True, "admissions": []},
        ],
        "members",
    )
    assert cells(head) == ["node", "name", "role", "admitted by", "revoked by"]
    assert cells(founder)[1:] == ["kennel-2", "admin (founder)", DAY]
    assert cells(stands)[1:] == ["kennel-2", "member", DAY]
    assert cells(left)[2:] == ["was member", DAY, DAY]
    assert cells(unheard)[1:] == ["unknown (founder)"]


@pytest.mark.parametrize(
    ("first", "now"),
    [
        ({"at": LATER}, ", now 2bad22c0"),
        ({"at": LATEST}, ""),  # another host, called so once the name was free
        ({"at": LATER, "by": KEYS[1]}, ""),
        ({"at": LATER, "name": "fen"}, ""),
    ],
)
def test_who_goes_on_under_a_new_key_is_shown_with_it(narrow, first, now):
    gone = {"by": KEYS[0], "by_name": "den", "at": LATER}
    row = {"name": "b", "role": "member", "founder": False, "belongs": True}
    old = ADMITTED | {"at": AT, "revoked": [gone]}
    _, _, left, stands = narrow(
        [
            row | {"node": KEYS[0], "belongs": False, "role": "", "admissions": [old]},
            row | {"node": KEYS[1], "admissions": [ADMITTED | first]},
        ],
        "members",
    )
    assert cells(left)[2] == f"was member{now}"
    assert cells(stands)[2] == "member"


def test_what_was_turned_away_has_room_for_why(narrow):
    row = {
        "at": AT, "peer": KEYS[0], "peer_name": "kennel-2", "author": KEYS[1],
        "author_name": "kennel-3", "incarnation": 0, "clock": 12, "record": "ab" * 32,
        "reason": "bad_signature", "detail": "signed by nobody",
    }  # fmt: skip
    head, _, *lines = narrow([row], "inspect", "quarantine")
    assert cells(head) == ["at", "brought by", "claims to be", "reason"]
    assert cells(lines[0])[:3] == [local(AT)[:10], "kennel-2", "kennel-3/0#12"]
    assert len(lines) <= 3


def story(name, **fields):
    return {
        "id": name, "title": "", "stage": {"stage": "backlog"}, "executions": [],
        "depends_on": [], "conflicts": [],
    } | fields  # fmt: skip


def test_stories_table_is_in_natural_order(narrow):
    ids = ["k-1", "k-10", "k-2", "k-2.10", "k-2.9", "K-3", "9", "10", "a", "k-01"]
    _, _, *lines = narrow([story(one) for one in ids], "stories")
    shown = [cells(line)[0] for line in lines]
    assert shown == ["9", "10", "K-3", "a", "k-01", "k-1", "k-2", "k-2.9", "k-2.10", "k-10"]


def test_stories_json_keeps_the_daemons_order(monkeypatch):
    rows = [story(one) for one in ("k-1", "k-10", "k-2")]
    monkeypatch.setattr("node.cli.commands.show.ask", lambda *_: rows)
    answer = CliRunner().invoke(app, ["stories", "--json"])
    assert [row["id"] for row in json.loads(answer.output)] == ["k-1", "k-10", "k-2"]


LONG = "a-rather-long-story-identifier-from-an-issue-tracker-PROJ-1234"
TITLE = "日本語の長いタイトル 🚀 which says a good deal more than fits into a line of a terminal"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_long_id_and_long_title_both_fit(narrow, width):
    rows = [story(LONG, title=TITLE), story("s-2", depends_on=["s-1"], title="short")]
    head, _, *lines = narrow(rows, "stories", width=width)
    assert cells(head) == ["story", "stage", "waits for", "title"]
    assert cells(lines[-1]) == ["s-2", "backlog", "s-1", "short"]
    first = [cells(line)[0] for line in lines[:-1]]
    assert "".join(part for part in first if part in LONG) == LONG
    assert {word for word in TITLE.split() if len(word) < 9} <= set(" ".join(lines).split())


def test_wide_terminal_keeps_empty_columns(narrow):
    head, _, line = narrow([story("s-1", title="short")], "stories")
    assert cells(head) == ["story", "stage", "working on it", "waits for", "lost", "title"]
    assert cells(line) == ["s-1", "backlog", "short"]


def test_narrow_terminal_prints_rows_as_pairs(narrow):
    lines = narrow([story("s-2", depends_on=["s-1"])], "stories", width=26)
    assert lines == ["story      s-2", "stage      backlog", "waits for  s-1"]


def test_text_of_several_lines_is_indented(monkeypatch):
    stage = {
        "stage": "archived", "archived_at": AT, "reason": {"kind": "blocked", "reason": "a\nb"},
    }  # fmt: skip
    answer = story("s-1", stage=stage, description="one\nclaim  held by me\x1b[2J\ttab") | {
        "names": {}, "last": None, "labels": [], "claims": [], "holder": None,
    }  # fmt: skip
    monkeypatch.setattr("node.cli.commands.show.ask", lambda *_: answer)
    assert CliRunner().invoke(app, ["story", "s-1"]).output.splitlines() == [
        "story        s-1",
        "stage        archived (blocked)",
        f"archived at  {local(AT)}",
        "reason       a",
        "             b",
        "description  one",
        "             claim  held by me\\x1b[2J   tab",
    ]


def test_watch_prints_times_and_leaves_out_seals(monkeypatch):
    ref = [KEYS[0], 0, 7, "ab" * 32]
    events = [
        {"type": "record_admitted", "kind": "seal", "record": ref, "own": True},
        {"type": "claim_moved", "story": "s-1", "holder": KEYS[0], "lost_by_us": False},
    ]
    monkeypatch.setattr("node.cli.commands.show.ask", lambda *_: [{"node": KEYS[0], "name": "den"}])
    monkeypatch.setattr("node.client.http_client.Client.stream", lambda *_: iter(events))
    told = CliRunner().invoke(app, ["watch"])
    assert told.exit_code == 3
    assert re.fullmatch(TIME + r"  s-1: claimed by den\n", told.stdout)
    lines = CliRunner().invoke(app, ["watch", "--json"]).stdout.splitlines()
    assert [json.loads(line) for line in lines] == events


HERE = "2026-11-25 05:31:02+05:30"
EXECUTION = {
    "node": KEYS[0], "name": "den", "shown": "running",
    "state": {"state": "running", "agent": "a", "started_at": AT, "last_heartbeat": AT},
}  # fmt: skip
CLAIM = {"node": KEYS[0], "until": AT, "released": False}
SHOWN = story("s-1", stage={"stage": "done", "merged_at": AT, "merge_commit": "abc"}) | {
    "names": {}, "last": None, "labels": [], "claims": [CLAIM], "holder": KEYS[0],
    "executions": [EXECUTION], "description": "",
}  # fmt: skip
EVENT = {
    "event": {"event": "deps_met"}, "record": [KEYS[0], 0, 7, "ab" * 32], "stamp": [AT, 0],
    "parent": None, "makes": {"stage": "coding"}, "place": "spine", "in_tree": True, "weight": 1,
    "authors": [KEYS[0]], "acks": [], "beaten_by": None, "why": "",
}  # fmt: skip
TIMED = {
    ("story", "s-1"): (SHOWN, 4),
    ("members",): ([{"node": KEYS[1], "name": "b", "role": "member", "founder": False,
                     "belongs": True, "admissions": [ADMITTED]}], 0),
    ("invite", "--list"): ([{"ticket": "ab", "role": "member", "state": "open", "uses": 1,
                             "used_by": [], "expires": AT}], 1),
    ("inspect", "quarantine"): ([{"at": AT, "peer": KEYS[0], "peer_name": "", "author": "",
                                  "record": "", "reason": "r", "detail": f"at {AT}"}], 2),
    ("inspect", "history"): ([{"at": AT, "what": "noticed", "story": "", "says": f"of {AT}"}], 2),
    ("inspect", "explain", "s-1"): ({"id": "s-1", "title": "", "stage": {"stage": "coding"},
                                     "events": [EVENT], "names": {}}, 1),
}  # fmt: skip


PASSED, TO_COME = "2025-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("until", "holder", "told"),
    [
        (TO_COME, KEYS[0], f"held by 1feb11c0 until {local(TO_COME)}"),
        (TO_COME, KEYS[1], f"claimed by 1feb11c0 until {local(TO_COME)}, but does not hold it"),
        (PASSED, None, f"claimed by 1feb11c0, expired at {local(PASSED)}"),
    ],
)
def test_a_claim_that_ran_out_is_said_to_have(monkeypatch, until, holder, told):
    answer = SHOWN | {"claims": [CLAIM | {"until": until}], "holder": holder}
    monkeypatch.setattr("node.cli.commands.show.ask", lambda *_: answer)
    assert f"claim         {told}\n" in CliRunner().invoke(app, ["story", "s-1"]).output


@pytest.mark.parametrize("command", TIMED)
def test_times_are_local_in_tables_and_utc_in_json(monkeypatch, zone, command):
    zone("IST-5:30")
    answer, times = TIMED[command]
    for module in (
        "inspect.commands",
        "inspect.history",
        "commands.show",
        "commands.members",
        "commands.join",
    ):
        monkeypatch.setattr(f"node.cli.{module}.ask", lambda *_: answer)
    told = CliRunner().invoke(app, command)
    assert (told.exit_code, told.output.count(HERE)) == (0, times)
    assert "2026-11-25T" not in told.output
    assert "2026-11-24" not in told.output, "a day is the reader's day"
    assert json.loads(CliRunner().invoke(app, [*command, "--json"]).output) == answer


def test_times_in_daemon_messages_are_local(monkeypatch, zone, capsys):
    zone("IST-5:30")
    put_note(f"s-1 is held by b until {AT}")
    assert capsys.readouterr().err == f"gangline: s-1 is held by b until {HERE}\n"
    status = {
        "name": "den", "node": KEYS[0], "cluster": KEYS[1], "role": "admin", "founder": True,
        "writable": f"not before {AT}", "listen": "", "peers": 0, "stories": {}, "live": 1,
        "pending": 0, "unshared": 0, "forks": 0, "digest": "", "notices": [f"mended at {AT}"],
    }  # fmt: skip
    monkeypatch.setattr("node.cli.commands.show.ask", lambda *_: status)
    assert CliRunner().invoke(app, ["status"]).output.count(HERE) == 2
