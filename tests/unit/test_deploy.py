import shutil
import subprocess
from pathlib import Path

import pytest

from node.config import reference, settings
from node.config.settings import Config

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "gangline.example.toml"


def test_the_example_config_and_the_page_are_not_stale():
    assert EXAMPLE.read_text() == reference.example()
    assert (ROOT / "docs" / "configuration.md").read_text() == reference.page()


def test_the_example_is_a_config_and_so_is_what_it_comments_out(tmp_path):
    given = Config(cluster="0" * 64, founder="0" * 64)
    assert settings.load(EXAMPLE) == given
    whole = tmp_path / "config.toml"
    lines = EXAMPLE.read_text().splitlines()[1:]
    options = [
        line.removeprefix("# ") for line in lines if " = " in line or line.startswith("# [[")
    ]
    whole.write_text("\n".join(options))
    read = settings.load(whole)
    assert len(read.peers) == len(read.rate_limits) == 1
    assert read.links == given.links


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_systemd_takes_the_unit():
    done = subprocess.run(
        ["systemd-analyze", "verify", str(ROOT / "deploy" / "gangline.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
