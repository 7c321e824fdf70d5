"""When ``make`` takes the environment that is there, and when it makes one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "{}.{}".format(*sys.version_info)


class Checkout:
    """A folder that ``make`` may look at, and in which nothing is installed."""

    def __init__(self, folder):
        self.folder = folder
        self.venv = folder / ".venv"
        self.python = self.venv / "bin" / "python"
        folder.mkdir()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        shutil.copytree(ROOT / "requirements", folder / "requirements")

    def make(self, *args):
        return subprocess.run(
            ["make", *args], cwd=self.folder, env={"PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def would_run(self):
        done = self.make("-n", "setup", f"PYTHON={sys.executable}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stamps(self):
        """The files that say how far the set-up came, in the order they are written."""
        lines = self.would_run().splitlines()
        return [self.folder / line.split()[1] for line in lines if line.startswith("touch ")]

    def set_up(self):
        """What stands there after ``make setup``, but for the packages."""
        stamps = self.stamps()
        self.python.parent.mkdir(parents=True)
        self.python.symlink_to(sys.executable)
        for stamp in stamps:
            stamp.touch()
        return stamps


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "a check out")


def makes_environment(checkout):
    return "-m venv .venv" in checkout.would_run()


def test_a_ready_environment_is_taken(checkout):
    locked, ready = checkout.set_up()
    assert (locked.name.split("-")[1], ready.name.split("-")[1]) == (VERSION, VERSION)
    assert checkout.make("-q", "setup", f"PYTHON={sys.executable}").returncode == 0


def test_a_fresh_checkout_gets_an_environment(checkout):
    assert makes_environment(checkout)


def test_a_half_made_environment_is_made_again(checkout):
    # As pip left it when it failed: an interpreter, and no stamp.
    for stamp in checkout.set_up():
        stamp.unlink()
    assert makes_environment(checkout)


def test_a_half_removed_environment_does_not_look_ready(checkout):
    checkout.set_up()
    shutil.rmtree(checkout.venv / "bin")
    commands = checkout.would_run()
    assert commands.index("rm -f .venv/.*-*") < commands.index("rm -rf .venv")


def test_an_environment_whose_interpreter_is_gone_is_made_again(checkout):
    checkout.set_up()
    checkout.python.unlink()
    checkout.python.symlink_to(checkout.folder / "uninstalled")
    assert makes_environment(checkout)


def test_an_environment_of_another_interpreter_is_made_again(checkout):
    checkout.set_up()
    checkout.python.unlink()
    checkout.python.write_text("#!/bin/sh\necho 3.10\n")
    checkout.python.chmod(0o755)
    assert makes_environment(checkout)


def test_a_project_that_did_not_install_is_installed_again(checkout):
    _, ready = checkout.set_up()
    ready.unlink()
    assert not makes_environment(checkout)
    assert "--no-build-isolation -e ." in checkout.would_run()


def test_an_interpreter_that_is_not_there_is_named(checkout):
    done = checkout.make("setup", "PYTHON=python3.99")
    assert done.returncode == 2
    assert "no working 'python3.99' here; install Python 3.11, 3.12 or 3.13" in done.stderr
    assert not checkout.venv.exists()


def test_an_interpreter_of_pyenv_is_found_by_name(checkout):
    # Its shims answer for the selected version alone.
    place = checkout.folder / ".pyenv" / "versions" / f"{VERSION}.1" / "bin" / "python-of-pyenv"
    place.parent.mkdir(parents=True)
    place.symlink_to(sys.executable)
    done = subprocess.run(
        ["make", "-n", "setup", "PYTHON=python-of-pyenv"],
        cwd=checkout.folder, env={"PATH": "/usr/bin:/bin", "PYENV_ROOT": ".pyenv"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f'".pyenv/versions/{VERSION}.1/bin/python-of-pyenv" -c' in done.stdout


def test_the_path_of_an_interpreter_may_have_a_space(checkout):
    python = checkout.folder / "my pythons" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    done = checkout.make("-n", "setup", f"PYTHON={python}")
    assert f"/.locked-{VERSION}-" in done.stdout
    assert f'"{python}" -c' in done.stdout


def test_an_old_python3_is_passed_over(checkout):
    names = checkout.folder / "bin"
    names.mkdir()
    (names / "python3").write_text("#!/bin/sh\nexit 1\n")
    (names / "python3").chmod(0o755)
    (names / "python3.13").symlink_to(sys.executable)
    done = subprocess.run(
        ["make", "-n", "setup"],
        cwd=checkout.folder, env={"PATH": f"{names}:/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert '"python3.13" -c' in done.stdout
