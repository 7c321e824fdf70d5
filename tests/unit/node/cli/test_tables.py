"""The tables that are wide, on a terminal of 80 columns."""

import re

import pytest
from typer.testing import CliRunner

from node.cli.main import app

KEYS = ("1feb11c0" * 8, "2bad22c0" * 8)
AT = "2026-11-25T00:01:02.345Z"


def cells(line):
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture
def narrow(monkeypatch):
    def show(rows, *command):
        for module in ("inspect", "members"):
            monkeypatch.setattr(f"node.cli.{module}.ask", lambda *_: rows)
        terminal = {"COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "dumb"}
        answer = CliRunner().invoke(app, command, env=terminal)
        assert answer.exit_code == 0
        lines = [line.rstrip() for line in answer.output.splitlines() if line.strip()]
        assert max(map(len, lines)) <= 80
        return lines

    return show


def test_who_belongs_takes_a_line_each(narrow):
    def admitted(*revoked):
        return [{"role": "member", "by": KEYS[0], "by_name": "den", "at": AT, "revoked": revoked}]

    row = {"node": KEYS[1], "name": "kennel-2", "role": "member", "founder": False}
    gone = {"by": KEYS[0], "by_name": "den", "at": AT}
    head, _, stands, left = narrow(
        [
            row | {"belongs": True, "admissions": admitted()},
            row | {"belongs": False, "role": None, "admissions": admitted(gone)},
        ],
        "members",
    )
    assert cells(head) == ["node", "name", "role", "admitted by", "revoked by"]
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
