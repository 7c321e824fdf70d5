import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.config import addresses
from node.config.addresses import advertised, dialable, fault, is_foreign
from tests.support.builders.cluster import key
from tests.support.builders.service import api


@pytest.mark.parametrize("nowhere", ["0.0.0.0:7467", "[::]:7467", ":7467", ""])
def test_an_address_without_host_is_not_advertised(nowhere):
    assert advertised([], nowhere) == ()
    assert advertised(["den.example:1"], nowhere) == ("den.example:1",)


def test_the_listen_address_is_the_default_to_advertise():
    assert advertised([], "192.0.2.1:7467") == ("192.0.2.1:7467",)
    assert advertised(["a:1", "b:2"], "192.0.2.1:7467") == ("a:1", "b:2")


async def test_a_ticket_to_nowhere_is_refused_with_the_way_out(tmp_path):
    async with api(tmp_path, listen="0.0.0.0:7467") as (client, _):
        answer = await client.post("/invite", json={})
        assert answer.status_code == 409
        assert "set advertise" in answer.json()["detail"]
    async with api(tmp_path / "silent", listen="") as (client, _):
        assert "does not listen" in (await client.post("/invite", json={})).json()["detail"]


@pytest.mark.parametrize("address", ["a:1", "127.0.0.1:65535", "[::1]:7467", "[fe80::1%eth0]:7"])
def test_an_address_is_a_host_and_a_port(address):
    assert fault(address) is None
    assert fault(address, listening=True) is None


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":7467"])
def test_only_a_listen_address_may_lack_host_or_port(address):
    assert fault(address, listening=True) is None
    assert fault(address) is not None


@pytest.mark.parametrize(
    "address",
    [
        "", "nonsense", "nonsense:x", "a:", "a:-1", "a:+1", "a: 1", "a:99999", "a:74912222",
        "a:65536", "::1:7467", "a b:1", "a/b:1", "u@a:1", "a:1\n", "a:١",
        "a:1/admin?all=1", "a:1#x", "u:p@a:1", "[", "[:1", "]:1", "[a]:1", "[]:1", "[:::]:1",
        "[192.0.2.1]:1", ".:1", ".a:1", "a..b:1", "x" * 64 + ":1", "a.b" * 90 + ":1",
        "[fe80::1%" + "x" * 64 + "]:1",
    ],
)  # fmt: skip
def test_what_is_no_address_is_none_to_listen_on_either(address):
    assert repr(address) in (fault(address) or "")
    assert repr(address) in (fault(address, listening=True) or "")


@pytest.mark.parametrize("name", ["a.", "x" * 63 + ".example", "xn--bcher-kva.example", "_a-b.c"])
def test_a_name_is_what_a_resolver_takes(name):
    assert fault(f"{name}:1") is None


def test_invalid_addresses_of_a_peer_are_ignored():
    assert dialable(("[", "a:1", "a:1/x", "u@b:2", "[::1]:2")) == ("a:1", "[::1]:2")
    assert dialable(("x" * 70 + ".example:1",)) == ()


def test_received_and_configured_addresses_are_merged():
    one, two, three = (key(number).pubkey for number in (1, 2, 3))
    told = {one: ("new:1", "old:1"), two: ("two:1",)}
    assert addresses.merged(told, {one: ["old:1"], three: ["three:1"]}) == {
        one: ("new:1", "old:1"), two: ("two:1",), three: ("three:1",),
    }  # fmt: skip
    assert addresses.in_dial_order(("new:1",), ["old:1"]) == ("new:1", "old:1")


def test_an_ip_address_of_another_host_is_detected():
    assert is_foreign("203.0.113.9:7473")
    assert is_foreign("[2001:db8::9]:7473")
    for own in ("127.0.0.1:7473", "0.0.0.0:7473", ":7473", "den.example:7473", ""):
        assert not is_foreign(own)


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("203.0.113.9:7473", "this host does not have the address in 203.0.113.9:7473"),
        (":7488", "others cannot dial :7488; set advertise"),
        ("127.0.0.1:7488", None),
    ],
)
def test_init_says_what_will_not_work(tmp_path, listen, said):
    told = CliRunner().invoke(app, ["--home", str(tmp_path / "den"), "init", "--listen", listen])
    assert told.exit_code == 0
    if said is None:
        assert "cannot dial" not in told.output
        assert "does not have" not in told.output
    else:
        assert said in told.output
