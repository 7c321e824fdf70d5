"""Files and folders that somebody else could read, replace or listen in: refused at the start."""

import os
import socket

import pytest

from node.api import unix_socket as api_socket
from node.config import key_file
from node.storage.store import Store
from node.system.errors import OperatorError, StoreFailure
from node.system.home import SOCKET_PATH_MAX, Home

OTHER = 65534
root_alone = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "den")
    home.make()
    key_file.generate(home.key)
    return home


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o610, 0o602])
def test_a_key_that_others_may_read_or_write_is_refused(home, mode):
    home.key.chmod(mode)
    with pytest.raises(OperatorError, match=f"chmod 600 {home.key}"):
        key_file.load(home.key)


@root_alone
def test_a_key_that_belongs_to_another_is_refused(home):
    os.chown(home.key, OTHER, -1)
    with pytest.raises(OperatorError, match=f"chown 0 {home.key}"):
        key_file.load(home.key)


@pytest.mark.parametrize("make", ["symlink", "fifo", "folder", "socket"])
def test_a_key_that_is_no_plain_file_is_refused_and_waited_for_by_nobody(home, make):
    text = home.key.read_text()
    home.key.unlink()
    if make == "symlink":
        elsewhere = home.path / "elsewhere"
        elsewhere.write_text(text)
        elsewhere.chmod(0o600)
        home.key.symlink_to(elsewhere)
    elif make == "fifo":
        os.mkfifo(home.key, 0o600)
    elif make == "folder":
        home.key.mkdir(mode=0o700)
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(home.key))
    with pytest.raises(OperatorError, match="plain file"):
        key_file.load(home.key)


def test_a_home_in_which_everybody_may_write_is_refused(home):
    home.path.chmod(0o777)
    with pytest.raises(OperatorError, match=f"chmod go-w {home.path}"):
        home.make()


def test_folders_are_made_for_their_owner_alone(home):
    for folder in (home.path, home.run):
        assert folder.stat().st_mode & 0o077 == 0


def test_the_socket_is_never_open_to_others(home):
    before = os.umask(0)
    try:
        with api_socket.bind(home.socket):
            assert home.socket.stat().st_mode & 0o077 == 0
            assert home.socket.parent.stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)


def test_a_socket_that_somebody_left_or_linked_is_replaced_and_nothing_else(home):
    target = home.path / "precious"
    target.write_text("kept")
    home.socket.symlink_to(target)
    with api_socket.bind(home.socket):
        assert not home.socket.is_symlink()
    assert target.read_text() == "kept"


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A home whose path is too long for a socket, which then stands in a shared place."""
    place = tmp_path / "shared"
    place.mkdir(mode=0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "ours"))
    long = Home(tmp_path / ("x" * SOCKET_PATH_MAX))
    assert long.socket.parent != long.run
    return place / "ours", long


def test_in_a_shared_place_the_socket_has_a_folder_of_its_own(shared):
    place, home = shared
    home.make()
    assert home.socket.parent.parent == place
    assert home.socket.parent.stat().st_mode & 0o077 == 0
    home.check_socket()


@root_alone
@pytest.mark.parametrize("depth", [0, 1])
def test_a_folder_that_another_made_there_first_is_used_by_neither_side(shared, depth):
    """Whoever owns the folder above could swap ours for his own, and answer in our place."""
    place, home = shared
    home.make()
    os.chown([place, home.socket.parent][depth], OTHER, -1)
    for use in (home.make, home.check_socket):
        with pytest.raises(OperatorError, match="belongs to another user"):
            use()


@pytest.mark.parametrize("depth", [0, 1])
def test_a_link_in_the_folders_place_is_used_by_neither_side(shared, depth):
    place, home = shared
    home.make()
    one = [place, home.socket.parent][depth]
    moved = one.with_name("moved")
    one.rename(moved)
    one.symlink_to(moved)
    for use in (home.make, home.check_socket):
        with pytest.raises(OperatorError, match="is not a folder"):
            use()


def test_a_store_opened_twice_names_who_has_it(home):
    with Store(home.store), pytest.raises(StoreFailure, match=f"pid {os.getpid()}"):
        Store(home.store)
    with Store(home.store):
        pass


def test_a_lock_that_is_a_link_is_followed_nowhere(home, tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    home.store.with_name(home.store.name + ".lock").symlink_to(target)
    with pytest.raises(StoreFailure, match="cannot open"):
        Store(home.store)
    assert target.read_text() == "kept"
