import pytest

from crdt.primitives.identity import H
from node.config import key_file, settings
from node.network.handshake import AcceptMessage, HelloRefused
from node.network.ticket import Ticket
from node.provisioning import config_repair, init_join
from node.system import clock
from node.system.errors import OperatorError
from node.system.exit_codes import Exit
from node.system.home import Home


def test_a_folder_with_a_node_in_it_is_left_alone(tmp_path):
    home = Home(tmp_path / "den")
    init_join.found(home, "den", "")
    key = home.key.read_bytes()
    with pytest.raises(OperatorError, match="a node exists at"):
        init_join.found(home, "den", "")
    assert home.key.read_bytes() == key


def test_an_init_that_was_cut_short_says_how_to_go_on(tmp_path, monkeypatch):
    home = Home(tmp_path / "den")
    monkeypatch.setattr("node.provisioning.init_join.settings.write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        init_join.found(home, "den", "")
    key = home.key.read_bytes()
    with pytest.raises(OperatorError, match="gangline init --repair"):
        init_join.found(home, "den", "")
    assert home.key.read_bytes() == key
    monkeypatch.undo()
    config_repair.repair(home, "den")
    assert settings.load(home.config).founder == key_file.load(home.key).pubkey.hex()


def ticket(address="127.0.0.1:1"):
    return Ticket(address, H(b"c"), H(b"i"), bytes(16), clock.wall_ms() + 60_000)


@pytest.mark.parametrize(
    ("listen", "advertise"),
    [
        ("127.0.0.1:99999", ()), ("nonsense", ()), ("127.0.0.1:-1", ()),
        ("", ["nonsense:x"]), ("", ["a:0"]), ("", ["a:1"] * 9),
    ],
)  # fmt: skip
async def test_a_wrong_address_is_refused_first(tmp_path, listen, advertise):
    home = Home(tmp_path / "den")
    with pytest.raises(OperatorError) as trouble:
        init_join.found(home, "den", listen, advertise)
    assert trouble.value.code == Exit.USAGE
    with pytest.raises(OperatorError) as trouble:
        await init_join.join(home, ticket(), "den", listen, advertise)
    assert trouble.value.code == Exit.USAGE
    assert not home.path.exists()


@pytest.mark.parametrize("name", ["bad\x07name", "\ud800", "n" * 65])
async def test_a_wrong_name_is_refused_first(tmp_path, name):
    home = Home(tmp_path / "den")
    with pytest.raises(OperatorError, match="1 to 64 characters on one line") as trouble:
        init_join.found(home, name, "")
    assert trouble.value.code == Exit.USAGE
    with pytest.raises(OperatorError, match="1 to 64 characters on one line"):
        await init_join.join(home, ticket(), name, "")
    assert not home.path.exists()
    init_join.found(home, "good", "")


async def refused(*_, **__):
    raise HelloRefused("spent_ticket")


async def unreachable(*_, **__):
    raise OSError("nobody there")


async def shows_no_record(*_, **__):
    return None, AcceptMessage("ab" * 32, "")


@pytest.mark.parametrize("answer", [refused, unreachable, shows_no_record])
async def test_a_join_that_is_refused_leaves_nothing_behind(tmp_path, monkeypatch, answer):
    monkeypatch.setattr("node.provisioning.init_join.reach", answer)
    home = Home(tmp_path / "den")
    with pytest.raises(OperatorError):
        await init_join.join(home, ticket(), "b", "")
    assert not home.path.exists()
    home.path.mkdir()
    home.path.joinpath("mine").touch()
    with pytest.raises(OperatorError):
        await init_join.join(home, ticket(), "b", "")
    assert [path.name for path in home.path.iterdir()] == ["mine"]
