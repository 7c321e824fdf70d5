import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.main import app

ROOT = Path(__file__).parents[5]
RUN = "from node.cli.main import run; run()"
DONE = '{"stage":"done","merged_at":"2026-01-05T12:15:00Z","merge_commit":"1f0c2ab"}'


def gangline(*args, stdin=None):
    return CliRunner().invoke(app, ["machine", *args], input=stdin)


def test_the_happy_path_of_the_readme():
    result = gangline("replay", "pipeline", str(ROOT / "examples/happy_path.jsonl"))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == (
        'accepted → {"stage":"archived","archived_at":"2026-01-06T08:00:00.000Z",'
        '"reason":{"kind":"completed"}}'
    )


def test_an_ignored_event_changes_nothing():
    file = str(ROOT / "examples/ignored.jsonl")
    result = gangline("replay", "pipeline", file, "--from", DONE, "--json")
    assert result.exit_code == 0
    assert json.loads(result.output) == {
        "outcome": "ignored",
        "state": json.loads(DONE) | {"merged_at": "2026-01-05T12:15:00.000Z"},
    }


def test_invalid_line_is_reported_and_changes_nothing():
    lines = '{"event":"block"}\nnot json\n\n{"event":"deps_met"}\n{"event":"deps_met","at":"x"}\n'
    result = gangline("replay", "pipeline", "--json", stdin=lines)
    assert result.exit_code == 65
    answers = [json.loads(line) for line in result.output.splitlines()]
    assert [answer.get("line") for answer in answers] == [1, 2, None, 5]
    assert answers[2] == {"outcome": "transition", "state": {"stage": "coding"}}
    people = gangline("replay", "pipeline", stdin="\x1b[31m\n")
    assert people.exit_code == 65
    assert "\x1b" not in people.output


def test_deep_nesting_is_an_error_not_a_crash():
    result = gangline("replay", "pipeline", "--json", stdin="[" * 60_000 + "\n")
    assert result.exit_code == 65


def test_an_execution_update_says_so():
    lines = (
        '{"event":"spawn_requested","agent":"a"}\n{"event":"spawned_successfully"}\n'
        '{"event":"heartbeat"}\n'
    )
    result = gangline("replay", "execution", stdin=lines)
    assert result.exit_code == 0
    assert result.output.splitlines()[-1].startswith(
        'heartbeat   updated: still {"state":"running"'
    )


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("table", "nonesuch"), 2),
        (("replay", "pipeline", "/nonesuch"), 1),
        (("replay", "pipeline", "--from", "{}"), 65),
        (("legal", "pipeline", "--from", "["), 65),
    ],
)
def test_errors_are_sentences(args, code):
    result = gangline(*args, stdin="")
    assert result.exit_code == code
    assert result.stderr.startswith("gangline: ")


def test_table_legal_and_diagram():
    assert "gates_passed" in gangline("table", "pipeline").output
    rows = json.loads(gangline("table", "execution", "--json").output)
    assert {
        "from": "running",
        "event": "heartbeat",
        "to": "running (in place)",
        "action": "",
    } in rows
    assert gangline("legal", "pipeline").output.split()[0] == "deps_met"
    assert "unblock" not in json.loads(gangline("legal", "pipeline", "--json").output)
    assert gangline("diagram", "pipeline").output.startswith("stateDiagram-v2")
    assert gangline("diagram", "pipeline", "--dot").output.startswith("digraph")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"event":"block","reason":"a","reason":"b"}', "a name is repeated"),
        (b'{"event":"qa_skipped","feature_branch":"f","commits_ahead":1.0}', "must be an integer"),
        (b'{"event":"qa_skipped","feature_branch":"f","commits_ahead":NaN}', "must be an integer"),
        (b'{"event":"qa_skipped","feature_branch":"f","commits_ahead":0}', "commits_ahead"),
        (b'{"event":"qa_skipped","feature_branch":"a..b","commits_ahead":1}', "two dots"),
        (b'{"event":"block","reason":"\\ud800"}', "UTF-8"),
        (b'{"event":"block","reason":"a","more":1}', "more"),
        (b'{"event":"heartbeat"}', "no such event"),
        (b'{"event":["block"]}', "no such event"),
        (b"{}", "no such event"),
        (b"[1]", "a JSON object"),
        (b'{"event":"deps_met","at":7}', "an instant"),
        (b'{"event":"deps_met","at":"2026-01-01T00:00:00+01:00"}', "an instant"),
        (b'{"event":"block","reason":"' + b"x" * 70_000 + b'"}', "longer than"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line, says):
    lines = line + b'\n{"event":"deps_met"}'
    result = gangline("replay", "pipeline", "--json", stdin=lines)
    assert result.exit_code == 65
    told, after = (json.loads(answer) for answer in result.output.splitlines())
    assert told["line"] == 1
    assert says in told["error"]
    assert after == {"outcome": "transition", "state": {"stage": "coding"}}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"deps_met", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"event":"block","reason":"\xff"}', "utf-8"),
        (b"\x7fELF\x02", "Expecting value"),
    ],
)
def test_replay_stops_if_the_first_line_is_not_json(line, says):
    result = gangline("replay", "pipeline", "--json", stdin=b"\n" + line + b'\nmore\n{"event":"x"}')
    assert result.exit_code == 65
    (told,) = map(json.loads, result.stdout.splitlines())
    assert told["line"] == 2
    assert says in told["error"]
    assert result.stderr == "gangline: an event is one JSON object on one line; stopped\n"


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_nothing_that_a_terminal_obeys_is_printed(as_json):
    lines = '{"event":"deps_met","\\u009b\\u202e\\u001b[31m":1}\n{"event":"\u202e\x9b"}\n'
    result = gangline("replay", "pipeline", *as_json, stdin=lines)
    assert result.exit_code == 65
    assert not set(result.output) & set("\u202e\x9b\x1b")
    assert "u202e" in result.output


def test_text_is_answered_as_it_was_brought_to_nfc():
    result = gangline("replay", "pipeline", "--json", stdin='{"event":"block","reason":"e\u0301"}')
    assert json.loads(result.output)["state"]["reason"] == {"kind": "blocked", "reason": "\u00e9"}


def test_an_event_without_an_instant_happens_now(monkeypatch):
    monkeypatch.setattr("node.system.clock.wall_ms", lambda: 1_800_000_000_123)
    result = gangline("replay", "pipeline", "--json", stdin='{"event":"abandon"}')
    assert json.loads(result.output)["state"]["archived_at"] == "2027-01-15T08:00:00.123Z"


def test_replay_prompts_on_a_terminal():
    person, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, "machine", "replay", "pipeline", "--json"],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    os.close(terminal)
    typed = b'deps_met\nblock why\nblock reason="no time"\n{"event":"unblock"}\n\x04'
    os.write(person, typed)
    answers, prompts = child.communicate(timeout=60)
    os.close(person)
    assert child.returncode == 65
    one, two, three, four = (json.loads(line) for line in answers.splitlines())
    assert one["state"] == {"stage": "coding"}
    assert two["line"] == 2
    assert three["state"]["reason"] == {"kind": "blocked", "reason": "no time"}
    assert four["state"] == {"stage": "backlog"}
    assert b"backlog (deps_met, block, " in prompts
    assert b"archived (unblock) > " in prompts
