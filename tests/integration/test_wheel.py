"""The wheel, driven away from the checkout: what a command needs is in it.

Nothing is fetched: the wheel is built and installed with what the lock file installed here.
"""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.harness import daemons

ROOT = Path(__file__).parents[2]
PACKAGES = ("machines", "crdt", "node")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
for package in sys.argv[1:]:
    top = importlib.import_module(package)
    print(*top.__path__)
    for found in pkgutil.walk_packages(top.__path__, f"{package}."):
        if not found.name.endswith(".__main__"):
            print(importlib.import_module(found.name).__file__)
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def modules():
    return {
        str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*.py")
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: what was built in the checkout before would come along."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in (*PACKAGES, "examples", "tests/interop"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "node_modules").mkdir()
    (copy / "node_modules" / "__init__.py").touch()
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*PIP, "wheel", *offline, "--wheel-dir", folder, copy], check=True)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The ``bin`` of an environment that holds the wheel, and sees what the lock installed."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    offline = ["--no-index", "--no-deps"]
    subprocess.run([*PIP, "--python", python, "install", *offline, wheel], check=True)
    # Python follows no .pth of a folder that a .pth names: the checkout stays out of reach.
    [packages] = (folder / "lib").glob("python*/site-packages")
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.fixture
def away(tmp_path):
    """A folder and surroundings that know nothing of the checkout."""
    (tmp_path / "tmp").mkdir()
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        held = set(file.namelist())
    about = {name for name in held if ".dist-info/" in name}
    assert held - about == modules()
    assert {"METADATA", "entry_points.txt", "LICENSE"} <= {Path(name).name for name in about}


def test_every_module_is_imported_from_the_wheel(installed, away):
    done = subprocess.run(
        [installed / "python", "-c", IMPORT_EVERYTHING, *PACKAGES],
        env=away, cwd=away["HOME"], capture_output=True, text=True, check=True,
    )  # fmt: skip
    places = done.stdout.splitlines()
    assert len(places) >= len([name for name in modules() if not name.endswith("__main__.py")])
    assert all(place.startswith(str(installed.parent)) for place in places)


class InstalledNode(daemons.Node):
    """A node that runs what is installed, from a folder of its own."""

    def __init__(self, home, installed):
        super().__init__(home)
        self.installed = installed

    def _command(self, *args):
        return [
            "env",
            "-C",
            self.home.parent,
            self.installed / "gangline",
            "--home",
            self.home,
            *args,
        ]


def test_a_node_runs_away_from_the_checkout(installed, tmp_path):
    den = InstalledNode(tmp_path / "den", installed)
    assert "Usage: gangline" in den.gangline("--help")
    den.gangline("init", "--name", "den", "--listen", "127.0.0.1:0")
    try:
        den.start()
        den.gangline("add", "s-1", "--title", "Parse the header")
        assert "Parse the header" in den.gangline("stories")
        assert den.gangline("stop") == "stopped\n"
        assert den.process.wait(timeout=60) == 0
    finally:
        den.stop()


def test_the_demo_runs_away_from_the_checkout(installed, away, tmp_path):
    # A package of that name in the current folder is not what is run.
    for name in ("node", "crdt", "machines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('another one was run')\n")
    done = subprocess.run(
        [installed / "gangline", "demo"],
        env=away, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one digest on all three" in done.stdout
    assert "illegal_transition" in done.stdout
    assert not list(Path(away["TMPDIR"]).iterdir())


@pytest.mark.parametrize("name", ["machines", "node.config.reference", "node.cli.reference"])
def test_a_page_is_printed_away_from_the_checkout(installed, away, name):
    done = subprocess.run(
        [installed / "python", "-m", name],
        env=away, cwd=away["HOME"], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("# ")
