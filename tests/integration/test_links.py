"""Links between real daemons: what each side is told of one that does not come about, mixed builds,
clocks that are far off, and a crowd at the door.
"""

import asyncio
import re
from datetime import UTC, datetime

import pytest

from tests.support.builders.wire import crowd
from tests.support.harness.daemons import Fleet, agree, eventually, faketime
from tests.support.harness.other_build import OtherNode

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def fleet(tmp_path):
    with Fleet(tmp_path, OtherNode) as fleet:
        yield fleet


def key_of(node):
    return node.status()["node"]


def linked(node):
    return {row["node"] for row in node.client.ask("GET", "/peers") if row["state"] == "linked"}


def error_of(node, peer):
    """What a node's table says of a link that does not come about."""
    return next(
        (row["error"] for row in node.client.ask("GET", "/peers") if row["node"] == peer), ""
    )


def port_of(node):
    return node.status()["listen"]


def listen(node, address):
    """Where it listens from its next start on."""
    config = node.home / "config.toml"
    config.write_text(re.sub(r"(?m)^listen = .*$", f'listen = "{address}"', config.read_text()))


# --- each refusal, on both sides -----------------------------------------------------------


def refused(dialer, peer, listener, word):
    """What both sides say of a link that does not come about: the table and log, and the log."""
    eventually(lambda: word in error_of(dialer, peer), f"{dialer} is told {word}")
    told = error_of(dialer, peer)
    assert told in dialer.log()
    eventually(lambda: word in listener.log(), f"{listener} says {word}")
    lines = [line for line in listener.log().splitlines() if "a caller from" in line]
    (said,) = {line.partition("a caller from 127.0.0.1 ")[2] for line in lines if word in line}
    return told, said


def test_a_node_with_another_key_than_the_one_that_was_meant(fleet):
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    agree(den, b, c)
    den_key, den_at, ticket = key_of(den), port_of(den), den.gangline("invite")
    for node in (den, b, c):
        node.stop()
    listen(c, den_at)
    c.start()
    b.start()
    told, said = refused(b, den_key, c, "wrong_key")
    assert told.endswith("the node at this address does not have the expected key")
    assert said.startswith("hung up on us: wrong_key: it expected another key")
    told = fleet.another("d").gangline("join", "--name", "d", stdin=ticket, code=4)
    assert told.startswith("gangline: wrong_key: the node at this address does not have")


def test_a_node_of_another_cluster(fleet):
    """A node's key went on to another cluster, and the node with it."""
    den = fleet.found()
    b = fleet.join(den, "b")
    agree(den, b)
    den_key, den_at, ticket = key_of(den), port_of(den), den.gangline("invite")
    den.stop()
    other = fleet.another("other")
    other.gangline("init", "--name", "other", "--listen", den_at)
    other.home.joinpath("node.key").write_bytes(den.home.joinpath("node.key").read_bytes())
    other.start()
    told, said = refused(b, den_key, other, "wrong_cluster")
    assert told == "wrong_cluster: the node at this address belongs to another cluster"
    assert said == "was refused: wrong_cluster: it belongs to another cluster"
    told = fleet.another("d").gangline("join", "--name", "d", stdin=ticket, code=4)
    assert told == "gangline: wrong_cluster: the node at this address belongs to another cluster\n"


def test_a_node_whose_admission_was_revoked(fleet):
    den = fleet.found()
    b = fleet.join(den, "b")
    agree(den, b)
    den_key = key_of(den)
    b.stop()
    den.gangline("members", "revoke", "b")
    b.start()
    told, said = refused(b, den_key, den, "revoked")
    assert told.startswith("revoked: this node's admission was revoked; an admin can take it back")
    assert said == "was refused: revoked: its admission was revoked"


def test_a_node_that_speaks_another_version_of_the_protocol(fleet):
    den = fleet.found()
    b = fleet.join(den, "b")
    agree(den, b)
    den_key, ticket = key_of(den), den.gangline("invite")
    b.stop()
    b.build = "version-2"
    b.start()
    told, said = refused(b, den_key, den, "wrong_version")
    both = "; install the same release of gangline on both"
    assert "that node speaks version 1 of the protocol, this one version 2" + both in told
    assert "it speaks version 2 of the protocol, this node version 1" + both in said
    d = fleet.another("d")
    d.build = "version-2"
    told = d.gangline("join", "--name", "d", stdin=ticket, code=4)
    assert "that node speaks version 1 of the protocol, this one version 2" in told
    assert not d.home.exists()
    b.gangline("add", "s-1")
    b.stop()
    b.build = ""
    b.start()
    agree(den, b)  # nothing that it wrote meanwhile is lost
    assert den.json("story", "s-1")


# --- builds that know other kinds ----------------------------------------------------------


def held(node, kind):
    """The records of a kind that a node holds of b, as ``inspect feed`` shows them."""
    return [row for row in node.json("inspect", "feed", "b") if row["kind"] == kind]


@pytest.mark.slow
def test_a_kind_that_todays_build_does_not_know_is_carried_through_the_cluster(fleet):
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    den.gangline("add", "s-1", "--title", "Sail")
    agree(den, b, c)
    for node in (den, b, c):
        listen(node, port_of(node))
    c.stop()
    b.stop()
    b.build = "weather"
    b.start()
    for sky in ("rain", "snow", "sun"):
        b.gangline("edit", "s-1", "--description", f"weather: {sky}")
    b.gangline("edit", "s-1", "--title", "Set sail")
    agree(den, b)
    b.stop()
    c.start()  # what b wrote while it was away comes from den alone, which knows no such kind
    agree(den, c)
    for node in (den, c):
        node.stop()
        node.start()
    agree(den, c)
    for node in (den, c):
        (row,) = held(node, "weather")
        assert (row["verdict"], row["says"]) == ("live", "key=s-1 sky=sun")
        assert "a kind unknown to this version, passed on unread" in row["why"]
        story = node.json("story", "s-1")
        assert (story["title"], story["description"]) == ("Set sail", None)
        place = f"b/0#{row['clock']}"  # a seal may have come between two edits
        assert "sky=sun" in node.gangline("inspect", "record", place)
        assert "not as sealed" not in node.gangline("inspect", "feeds")
        assert not node.json("inspect", "quarantine")
    b.build = ""  # and b itself goes back to today's build
    b.start()
    b.gangline("add", "s-2")
    agree(den, b, c)
    assert held(b, "weather")[0]["body"]["sky"] == "sun"
    for node in (den, b, c):
        node.stop()
        node.gangline("inspect", "verify", "--store", str(node.home))


# --- clocks that are far off ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(faketime() is None, reason="there is no libfaketime (Debian: libfaketime)")
@pytest.mark.parametrize("year", [1970, 2019, 2099, 2120])
def test_a_host_whose_clock_is_decades_off_has_its_links(fleet, year):
    """A certificate's dates are looked at by nobody: what is pinned is its key."""
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    agree(den, b, c)
    listen(den, port_of(den))
    b.stop()
    there = datetime(year, 6, 1, tzinfo=UTC).timestamp()
    b.shift_clock(round(there - datetime.now(UTC).timestamp()))
    b.start()
    eventually(lambda: linked(den) and linked(b), "both are linked")
    eventually(lambda: not den.status()["writable"], "two of three know the time", 120)
    den.gangline("add", "s-1")
    assert "this host's clock" in b.gangline("add", "s-2", code=1)
    den.stop()
    den.start()
    eventually(lambda: linked(den) and linked(b), "both are linked again")
    b.shift_clock(0)
    eventually(lambda: not b.status()["writable"], "its clock is right again", 120)
    b.gangline("add", "s-2")
    agree(den, b, c)


# --- a crowd at the door -------------------------------------------------------------------


async def test_a_crowd_at_the_door_parts_no_members(fleet):
    do = asyncio.to_thread
    den = await do(fleet.found)
    b = await do(fleet.join, den, "b", start=False)
    async with crowd(port_of(den), 40):
        await do(
            eventually,
            lambda: "more unauthenticated connections than allowed" in den.log(),
            "a crowd",
        )
        await do(b.start)
        await do(eventually, lambda: linked(den) and linked(b), "b comes in")
        await do(b.gangline, "add", "s-1")
        await do(agree, den, b)
        await do(fleet.join, den, "c", start=False)
        await do(den.stop)
        await do(den.start)
        await do(eventually, lambda: linked(den) and linked(b), "b comes in again")
    assert "ERROR" not in den.log()
