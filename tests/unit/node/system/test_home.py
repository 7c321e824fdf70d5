"""Where a node's things are, whoever asks and by whatever name."""

import re
import shutil
from pathlib import Path

import pytest

from node.system.home import SOCKET_PATH_MAX, Home


@pytest.fixture
def long(tmp_path, monkeypatch):
    """A home whose path is too long for a socket, with a daemon that an owner's shell started."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "shell"))
    home = Home(tmp_path / ("x" * SOCKET_PATH_MAX))
    home.make()
    home.record_socket()
    return home


@pytest.mark.parametrize("way", ["a link", "a way back", "a tilde", "the environment"])
def test_links_to_a_home_are_resolved(tmp_path, monkeypatch, way):
    home = tmp_path / "den"
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("HOME", str(tmp_path))
    named = {
        "a link": tmp_path / "link",
        "a way back": tmp_path / "link" / ".." / "den",
        "a tilde": Path("~/link"),
    }
    if way == "the environment":
        monkeypatch.setenv("GANGLINE_HOME", str(tmp_path / "link"))
    assert Home.chosen(named.get(way)).path == home


def test_the_default_home_may_be_a_link_too(tmp_path, monkeypatch):
    (tmp_path / "gangline").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Home.chosen(None).path == tmp_path / "elsewhere"


def test_the_default_home_without_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.chosen(None).path == tmp_path / ".local" / "share" / "gangline"


def test_links_in_a_circle_are_no_traceback(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")
    assert Home.chosen(tmp_path / "a").path.name == "a"


def test_another_environment_finds_the_socket(long, tmp_path, monkeypatch):
    socket = long.place
    assert socket.parent.parent == tmp_path / "shell"
    for runtime in (str(tmp_path / "cron"), ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        assert long.socket == socket != long.place
        long.check_socket()
    long.record_socket()  # a daemon that cron started
    assert long.socket == long.place


def test_a_copied_home_is_not_taken_for_the_other_ones(long, tmp_path):
    copy = Home(tmp_path / ("y" * SOCKET_PATH_MAX))
    shutil.copytree(long.path, copy.path)
    assert copy.socket == copy.place != long.socket


@pytest.mark.parametrize(
    "word", ["", "{home}", "{home}\n\n", "{home}\nx.sock\n", "{home}\n/a\0b\n", "{home}\n/\udcff"]
)
def test_a_word_that_names_no_place_is_passed_over(long, word):
    text = word.format(home=long.path).encode("utf-8", "surrogateescape")
    (long.run / "socket").write_bytes(text)
    assert long.socket == long.place


def test_a_socket_in_the_home_needs_no_record(tmp_path):
    home = Home(tmp_path / "den")
    home.make()
    home.record_socket()
    assert home.socket == home.place == home.run / "api.sock"
    assert list(home.run.iterdir()) == []


def test_a_full_disk_prevents_no_socket(long, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    (long.run / "socket").unlink()
    monkeypatch.setattr(Path, "write_text", full)
    long.record_socket()
    assert long.socket == long.place


HERE = {
    "nothing": ((), "there is no node at .*gangline init, or join one .*gangline join"),
    "no config": (("node.key", "store.db"), "no config at .*with: gangline init --repair"),
    "a key alone": (("node.key",), "no config and no store: .*gangline restore FILE"),
    "no key": (("config.toml", "store.db"), "node.key is missing: .*restore FILE --force"),
    "a store alone": (("store.db",), "node.key is missing"),
    "a config alone": (("config.toml",), "node.key is missing"),
}


@pytest.mark.parametrize("case", HERE)
def test_a_missing_part_of_a_home_is_named(tmp_path, case):
    files, words = HERE[case]
    for name in files:
        (tmp_path / name).touch()
    told = Home(tmp_path).why_no_node()
    assert re.search(words, told)
    assert not re.search(r"remove|delete|\brm\b", told)
