import fcntl
import os
import stat

import pytest

from node.system.atomic_file import atomic_file
from node.system.errors import OperatorError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "backup"


def leftovers(file):
    return sorted(path.name for path in file.parent.iterdir())


def write_half_of(file):
    with atomic_file(file, force=False) as partial:
        partial.write_text("half")
        raise BufferError


def test_a_file_is_written_whole_and_private(file):
    with atomic_file(file, force=False) as partial:
        partial.write_text("all of it")
        assert not file.exists()
    assert file.read_text() == "all of it"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert leftovers(file) == ["backup"]


def test_nothing_is_left_of_what_failed(file):
    with pytest.raises(BufferError):
        write_half_of(file)
    assert leftovers(file) == []


def test_what_is_there_is_overwritten_only_when_told_to(file):
    file.write_text("old")
    with (
        pytest.raises(OperatorError, match="--force overwrites it"),
        atomic_file(file, force=False),
    ):
        pass
    assert file.read_text() == "old"
    with atomic_file(file, force=True) as partial:
        partial.write_text("new")
    assert file.read_text() == "new"


@pytest.mark.parametrize("left", ["folder", "file"])
def test_what_a_command_left_that_was_cut_short_is_gone(file, left):
    partial = file.with_name("backup.partial")
    if left == "folder":
        partial.mkdir()
        partial.joinpath("backup-journal").write_text("from before")
    else:
        partial.write_text("from before")  # as an earlier version left it
    with atomic_file(file, force=False) as mine:
        assert mine.read_text() == ""
        assert [path.name for path in mine.parent.iterdir()] == ["backup"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert leftovers(file) == ["backup"]


@pytest.mark.parametrize("force", [False, True])
def test_two_commands_do_not_write_one_file(file, force):
    with atomic_file(file, force=force) as partial:
        partial.write_text("first")
        with (
            pytest.raises(OperatorError, match="another command is writing"),
            atomic_file(file, force=force),
        ):
            pass
        assert partial.read_text() == "first"
    with atomic_file(file, force=True) as partial:
        assert partial.read_text() == ""
        partial.write_text("second")
    assert file.read_text() == "second"


def test_a_planted_file_is_not_written_into(file, monkeypatch):
    """Opened while another command wrote it, and locked when that one had ended."""
    left = file.with_name("backup.partial")
    left.mkdir()
    (left / "backup").write_text("of another command")
    lock = fcntl.flock

    def late(descriptor, how):
        if (left / "backup").exists():
            (left / "backup").replace(file)
            left.rmdir()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with atomic_file(file, force=True) as mine:
        assert file.read_text() == "of another command"
        mine.write_text("mine")
    assert file.read_text() == "mine"


def test_a_folder_removed_as_a_leftover_is_recreated(file, monkeypatch):
    place, lock, seen = file.with_name("backup.partial"), fcntl.flock, []

    def late(descriptor, how):
        if not seen:
            place.rmdir()
        seen.append(how)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with atomic_file(file, force=False) as mine:
        mine.write_text("mine")
    assert file.read_text() == "mine"
    assert len(seen) == 2


def test_a_link_in_its_place_is_not_followed(file, tmp_path):
    (tmp_path / "other").write_text("precious")
    file.with_name("backup.partial").symlink_to(tmp_path / "other")
    with pytest.raises(OperatorError, match="cannot write"), atomic_file(file, force=True):
        pass
    assert (tmp_path / "other").read_text() == "precious"


@pytest.mark.parametrize("folder", [False, True])
def test_another_users_file_is_left_alone(file, monkeypatch, folder):
    theirs = file.with_name("backup.partial")
    theirs.mkdir() if folder else theirs.write_text("theirs")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with (
        pytest.raises(OperatorError, match=r"backup\.partial belongs to another user"),
        atomic_file(file, force=True),
    ):
        pass
    assert leftovers(file) == ["backup.partial"]
