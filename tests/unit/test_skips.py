import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.mark.skipif(True, reason="there is no {tool} here")
def test_marked(): pass

def test_inside():
    pytest.skip("{tool} is not installed")

def test_for_root():
    pytest.skip("network namespaces need root")

@pytest.mark.xfail(reason="it is known to fail", strict=True)
def test_expected(): assert False
"""


@pytest.mark.parametrize(
    ("no_skips", "outcome"),
    [("", "3 skipped, 1 xfailed"), ("1", "1 failed, 1 skipped, 1 xfailed, 1 error")],
)
def test_ci_skips_nothing_that_a_tool_would_run(tmp_path, no_skips, outcome):
    (tmp_path / "test_tools.py").write_text(TESTS.format(tool="sledge"))
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", tmp_path,
            "-p", "no:cacheprovider", "-p", "tests.support.tools.skips", tmp_path,
        ],
        cwd=ROOT, env=os.environ | {"NO_SKIPS": no_skips},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome in done.stdout  # a skip mark speaks in the set-up, where failing is an error
    assert ("CI runs every test: Skipped: sledge is not installed" in done.stdout) == bool(no_skips)
