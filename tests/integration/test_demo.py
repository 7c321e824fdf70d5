"""The demo, as ``make demo`` runs it."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.harness.daemons import GANGLINE

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_the_demo_ends_with_one_digest_and_leaves_nothing_behind(tmp_path):
    # As in a git hook, which has the caller's repository in its surroundings.
    mine = {"GIT_DIR": str(tmp_path / "mine.git"), "GIT_INDEX_FILE": str(tmp_path / "index")}
    done = subprocess.run(
        [GANGLINE, "demo"], capture_output=True, text=True, timeout=240, check=False,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path), **mine},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "one digest on all three" in done.stdout
    assert "bad_signature" in done.stdout
    assert "illegal_transition" in done.stdout
    assert not list(Path(tmp_path).iterdir())
    # s-6 is moved by two at once: which move counts is another one each time.
    pictured = re.findall(r"^ (s-[1-5] .*)", (ROOT / "README.md").read_text(), re.MULTILINE)
    printed = [line.split() for line in done.stdout.splitlines()]
    assert len(pictured) == 5
    assert all(line.split() in printed for line in pictured)


@pytest.mark.timeout(300)
def test_ctrl_c_in_the_middle_leaves_nothing_behind(tmp_path):
    with subprocess.Popen(
        [GANGLINE, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
    ) as demo:  # fmt: skip
        assert any(line.startswith("c joined") for line in demo.stdout)
        [folder] = tmp_path.iterdir()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=120)
    assert demo.returncode == 130
    assert not list(tmp_path.iterdir())
    assert str(folder) not in subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
