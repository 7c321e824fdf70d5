"""A daemon whose process is stopped: every command says so and ends, and none is done later."""

import subprocess

import pytest

from node.system.exit_codes import Exit
from tests.support.harness.daemons import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

KEY = "1f" * 32
COMMANDS = (
    ("status",), ("nodes",), ("peers",), ("stories",), ("story", "s-1"), ("watch",),
    ("watch", "s-1", "--json"), ("add", "s-1"), ("edit", "s-1", "--title", "x"),
    ("fire", "s-1", "deps_met", "--wait-for", "1"), ("claim", "s-1"), ("release", "s-1"),
    ("exec", "s-1", "--agent", "a", "--", "true"), ("invite",), ("invite", "--list"),
    ("members",), ("members", "admit", KEY), ("members", "revoke", "den"), ("leave",),
    ("rotate",), ("export",), ("inspect", "digest"), ("inspect", "feeds"),
    ("inspect", "history"), ("stop",),
)  # fmt: skip


def test_every_command_ends_with_a_sentence_and_nothing_is_done_later(tmp_path):
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        den.pause()
        # All at once, since each gives the daemon its time.
        running = [
            subprocess.Popen(den._command(*args), stdout=-1, stderr=-1, text=True)
            for args in COMMANDS
        ]
        for args, process in zip(COMMANDS, running, strict=True):
            told, said = process.communicate(timeout=100)
            assert (args, process.returncode, told) == (args, Exit.NO_DAEMON, "")
            assert f"kill -CONT {den.process.pid}" in said
            assert "the request was not sent" in said
        backup = tmp_path / "den.gangline"
        den.gangline("backup", str(backup))  # it reads the file
        assert backup.exists()
        den.resume()
        assert den.status()["stories"] == {}
        assert [row["node"] for row in den.json("members")] == [den.key()]
        assert den.process.poll() is None
