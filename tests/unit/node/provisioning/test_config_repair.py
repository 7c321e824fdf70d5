"""A config that is gone or broken is written anew from the key and the store that are there."""

import re

import msgspec
import pytest
from typer.testing import CliRunner

from crdt.contract.ready import Persist
from machines.values import NodePubkey
from node.cli.main import app
from node.config import key_file, settings
from node.provisioning import config_repair, init_join
from node.storage.store import Store
from node.system.errors import OperatorError
from node.system.home import Home
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.stores import write


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "den")
    init_join.found(home, "den", "127.0.0.1:7001", ["den.example:7001"])
    return home


def gangline(home, *args):
    return CliRunner().invoke(app, ["--home", str(home.path), *args])


def test_a_lost_config_is_rebuilt_from_the_store(home):
    before, secret = settings.load(home.config), home.key.read_bytes()
    home.config.unlink()
    for command in ("run", "init", "backup x"):
        told = gangline(home, *command.split())
        assert told.exit_code == 1
        assert f"with: gangline --home {home.path} init --repair" in told.output
    told = gangline(home, "init", "--repair")
    assert (told.exit_code, "listen is 127.0.0.1:7467; change it" in told.output) == (
        0,
        True,
    )
    after = settings.load(home.config)
    assert after == msgspec.structs.replace(before, listen="127.0.0.1:7467", advertise=[])
    home.config.unlink()
    told = gangline(
        home, "init", "--repair", "--listen", "127.0.0.1:7001", "--advertise", "den.example:7001"
    )
    assert settings.load(home.config) == before
    assert home.key.read_bytes() == secret


def test_valid_options_of_a_broken_config_are_kept(home):
    text = 'listen = "127.0.0.1:7002"\nlinks = 3\nname = 7\nadvertise = ["x"]\nnonsense = 1\n'
    home.config.write_text(text)
    made = config_repair.repair(home, "host")
    assert made.aside.read_text() == text
    after = settings.load(home.config)
    assert (after.listen, after.links, after.name, after.advertise) == (
        "127.0.0.1:7002",
        3,
        "den",
        [],
    )


@pytest.mark.parametrize("text", ["", "cluster = [[", "\udcff", "founder = 'x'\n"])
def test_any_truncated_config_is_repaired(home, text):
    whole = settings.load(home.config)
    home.config.write_bytes(text.encode("utf-8", "surrogateescape"))
    config_repair.repair(home, "host", whole.listen, whole.advertise)
    assert settings.load(home.config) == whole


def test_a_config_in_order_is_left_alone(home):
    before = home.config.read_bytes()
    told = gangline(home, "init", "--repair")
    assert (told.exit_code, "is valid" in told.output) == (1, True)
    assert home.config.read_bytes() == before
    assert gangline(home, "init", "--repair", "--name", "x").exit_code == 2


@pytest.mark.parametrize("gone", ["key", "store"])
def test_without_a_key_or_a_store_nothing_is_written(home, gone):
    home.config.unlink()
    getattr(home, gone).unlink()
    with pytest.raises(OperatorError):
        config_repair.repair(home, "den")
    assert not home.config.exists()


def test_a_wrong_address_leaves_what_is_there(home):
    home.config.write_text("")
    told = gangline(home, "init", "--repair", "--listen", "nonsense")
    assert told.exit_code == 2
    assert home.config.read_text() == ""


def test_who_knows_no_other_node_is_told_to_name_one(tmp_path):
    cluster = Cluster(2)
    cluster.admit_all()
    home = Home(tmp_path / "den")
    home.make()
    write(cluster, 0, home.store)
    key_file.put(home.key, f"{key_file.HEADER}\n{'01' * 32}\n")
    assert key_file.load(home.key).pubkey == key(1).pubkey
    told = gangline(home, "init", "--repair")
    assert "no address of another node is known here; add one under [[peers]]" in told.output
    home.config.unlink()
    with Store(home.store) as store:
        persist = Persist(addresses={NodePubkey(cluster.keys[1].pubkey): ("b.example:7467",)})
        store.commit(persist, [], 0)
    told = gangline(home, "init", "--repair")
    assert re.search(r"wrote .*: den of [0-9a-f]{64}", told.output)
    assert "[[peers]]" not in told.output
