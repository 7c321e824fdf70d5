"""``gangline watch`` and ``gangline stop`` on a real daemon."""

import contextlib
import json
import re
import select
import signal
import subprocess

import pytest

from tests.support.harness.daemons import GANGLINE, Fleet

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def den(tmp_path):
    with Fleet(tmp_path) as fleet:
        yield fleet.found()


@contextlib.contextmanager
def watching(node, *args):
    """A watcher that has begun, and its first line; ended at the end, if it still runs."""
    with subprocess.Popen(
        [GANGLINE, "--home", str(node.home), "watch", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            for number in range(100):
                # What was written before the watcher was there is not told: write until it is.
                node.gangline("add", f"w-{number}")
                if select.select([process.stdout], [], [], 0.5)[0]:
                    break
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_watch_tells_what_happens_and_ends_with_130(den):
    with watching(den) as (process, first):
        assert " admitted (den/0#" in first
        den.gangline("fire", "w-0", "deps_met")
        line = next(line for line in process.stdout if " w-0:" in line)
        time = r"\S{10} \d\d:\d\d:\d\d[+-]\d\d:\d\d"
        assert re.match(rf"{time}  w-0: backlog → coding by deps_met \(den/0#", line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130


@pytest.mark.parametrize("lines", [(), ("--json",)])
def test_watch_ends_quietly_when_nobody_reads_any_longer(den, lines):
    with watching(den, *lines) as (process, _):
        process.stdout.close()
        for number in range(100):
            den.gangline("add", f"more-{number}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
                break
        assert (process.returncode, process.stderr.read()) == (128 + signal.SIGPIPE, "")
        process.stdout = None


def test_watch_as_json_lines_ends_with_3_when_the_daemon_stops(den):
    with watching(den, "--json") as (process, first):
        assert json.loads(first)["type"] == "record_admitted"
        assert den.gangline("stop") == "stopped\n"
        den.process.wait(timeout=60)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, "the daemon" in err) == (3, True)
    den.start()
    assert den.gangline("status")
