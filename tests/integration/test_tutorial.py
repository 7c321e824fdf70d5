"""The tutorial and the README: their commands run on real daemons, and print what they show.

A fenced ``sh`` block of the tutorial is run, all in one shell; a ``text`` block after it is what it
prints. Ids, times and clocks vary between runs and are masked, and so is the layout of tables. The
page may leave out lines.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.harness.daemons import GANGLINE, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
README = (ROOT / "README.md").read_text()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END_OF_BLOCK = "--- end of block ---"
FAILED = re.compile(r"^--- exit (\d+): (.*)$", re.MULTILINE)
REFUSED = "gangline: "
SHELL = f"""
set -E
trap 'echo "--- exit $?: $BASH_COMMAND"' ERR
next() {{ echo "{END_OF_BLOCK}"; }}
"""
SSH = """#!/bin/sh
[ "$1" != -n ] || { shift; exec </dev/null; }
export HOME="$HOME/$1"
shift
mkdir -p "$HOME" && exec sh -c "$*"
"""
"""Stands in for ssh: another host is another home. As in ssh, a shell parses the words again."""
VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d[+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8}([0-9a-f]{56})?\b"), "ID"),
    (re.compile(r"#\d+"), "#CLOCK"),
    (re.compile(r"\d+ records"), "N records"),
    (re.compile(r"(weight \d+): .*"), r"\1: NODES IN THE ORDER OF THEIR KEYS"),
    (re.compile(r"\s+"), " "),
)


def blocks():
    """Each block of commands with the lines that the page shows below it."""
    found = []
    for language, text in FENCED.findall(TUTORIAL):
        if language == "sh":
            found.append((text, []))
        else:
            assert language == "text"
            found[-1][1].extend(text.splitlines())
    return found


def masked(line):
    for pattern, word in VARIABLE:
        line = pattern.sub(word, line)
    return line.strip()


def lines_of(text):
    return [masked(line) for line in text if line.strip(" ─")]


class Checkout:
    """A folder that looks like the repository, and a home for what runs there."""

    def __init__(self, folder):
        self.folder, self.home, self.commands = (
            folder / name for name in ("checkout", "home", "commands")
        )
        for path in (self.folder, self.home, self.commands):
            path.mkdir()
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / "examples").symlink_to(ROOT / "examples")

    def play(self, script):
        """Run commands in one shell, stop what they started, and return their output."""
        rng = random.SystemRandom()
        for port in set(re.findall(r"127\.0\.0\.1:(7\d+)", script)):
            script = script.replace(f":{port}", f":{free_port(rng)}")
        with subprocess.Popen(
            ["bash", "-c", SHELL + script], cwd=self.folder,
            env={"PATH": f"{self.commands}:/usr/bin:/bin", "HOME": str(self.home)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        ) as shell:  # fmt: skip
            try:
                return shell.communicate()[0]
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_the_tutorial_prints_what_it_shows(checkout):
    steps = blocks()
    printed = checkout.play("\nnext\n".join(commands for commands, _ in steps))
    printed = printed.split(f"{END_OF_BLOCK}\n")
    assert len(printed) == len(steps), printed[-1]
    for (commands, shown), output in zip(steps, printed, strict=True):
        refused = any(line.startswith(REFUSED) for line in shown)
        assert bool(FAILED.search(output)) == refused, commands + output
        missing = Counter(lines_of(shown)) - Counter(lines_of(output.splitlines()))
        assert not missing, f"{commands}\nprinted:\n{output}\nand not: {missing}"
    assert not list(checkout.home.iterdir())


def test_the_three_hosts_of_the_readme_are_one_cluster(checkout):
    ssh = checkout.commands / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    (checkout.commands / "gangline").symlink_to(GANGLINE)
    [lines] = [text for _, text in FENCED.findall(README) if "gangline init" in text]
    lines = lines.splitlines()
    assert len(lines) == 6
    lines[:2] = [*lines[:2], "until gangline status >/dev/null 2>&1; do sleep 0.1; done"]
    for port, host in enumerate(("den", "north"), 7471):
        lines = [re.sub(f"0.0.0.0:7467 --advertise {host}.example:7467", f"127.0.0.1:{port}", line)
                 for line in lines]  # fmt: skip
    lines += [
        "until [ $(gangline peers 2>/dev/null | grep -c linked) = 2 ]; do sleep 0.1; done",
        "next",
        "gangline members",
        "gangline stop; ssh north gangline stop; ssh south gangline stop",
    ]
    begun, _, seen = checkout.play("\n".join(lines)).partition(END_OF_BLOCK)
    assert not FAILED.search(begun + seen), begun + seen
    assert sorted(re.findall(r"\b(?:den|north|south) +(?:admin|member)", seen)) == [
        "den    admin", "north  member", "south  member",
    ]  # fmt: skip
