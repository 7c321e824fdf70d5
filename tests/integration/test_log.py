"""What a daemon writes to standard error, read by a program."""

import json
import subprocess
import sys

import pytest

from node.system.sanitize import UNSAFE
from tests.support.harness.daemons import Fleet, agree, eventually

DIES = """
import sys
from pathlib import Path
from node import daemon
from node.system.home import Home

async def broken(*_, **__):
    raise ValueError("\\x1b[2J\\x9b31m\\u202e")

daemon.run = broken
daemon.main(Home(Path(sys.argv[1])), log_format=sys.argv[2])
"""


def entries(text):
    assert UNSAFE.search(text.replace("\n", "")) is None
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_of_a_log_for_programs_is_an_object(tmp_path):
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        den.stop()
        den.log_path.unlink()
        settings = den.home / "config.toml"
        text = settings.read_text()
        assert 'log_format = "text"' in text
        settings.write_text(text.replace('log_format = "text"', 'log_format = "json"'))
        den.start()
        other = fleet.another("b")
        ticket = den.gangline("invite")
        other.gangline("join", "--name", "\u202eb\u2066", "--listen", "127.0.0.1:0", stdin=ticket)
        other.start()
        den.gangline("add", "s-1", "--title", "\u202e<b>")
        agree(den, other)
        key = other.status()["node"]
        other.stop()
        eventually(lambda: "ended" in den.log(), "the end of the link is logged")
        den.stop()
        told = entries(den.log())
        assert [entry["level"] for entry in told] == ["info"] * len(told)
        # More than one, where both dialled at once and the first ended before the second was up.
        ended = [entry for entry in told if "ended" in entry["message"]]
        assert {entry["peer"] for entry in ended} == {key}
        assert all(entry["reason"] for entry in ended)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_ends_a_daemon_is_told_in_its_format(tmp_path, log_format):
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        second = fleet.another("b")
        second.gangline("init", "--name", "b", "--listen", den.status()["listen"])
        told = second.gangline("run", "--log-format", log_format, code=1)
        assert "stop the process that uses it" in told.replace("\n", " ")
        if log_format == "json":
            assert entries(told)[-1]["level"] == "critical"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_mistake_of_ones_own_ends_in_the_log_and_nothing_of_it_is_obeyed(tmp_path, log_format):
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path), log_format],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert UNSAFE.search(done.stderr.replace("\n", "")) is None
    assert "Traceback" in done.stderr
    if log_format == "json":
        [entry] = entries(done.stderr)
        assert "\x1b[2J" in entry["exception"]
