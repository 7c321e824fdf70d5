import pytest

from node import founding
from node.errors import Trouble
from node.home import Home


def test_a_folder_with_a_node_in_it_is_left_alone(tmp_path):
    home = Home(tmp_path / "den")
    founding.found(home, "den", "")
    key = home.key.read_bytes()
    with pytest.raises(Trouble, match="there is a node at"):
        founding.found(home, "den", "")
    assert home.key.read_bytes() == key


def test_an_init_that_was_cut_short_says_how_to_go_on(tmp_path, monkeypatch):
    home = Home(tmp_path / "den")
    monkeypatch.setattr("node.founding.config.write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        founding.found(home, "den", "")
    monkeypatch.undo()
    with pytest.raises(Trouble, match="remove that folder"):
        founding.found(home, "den", "")
