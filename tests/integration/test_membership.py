"""Who comes in, who goes, and what each side is told: real daemons, driven by the command."""

import json
import threading

import pytest

from node.client.http_client import RequestRefused
from tests.support.builders.cluster import key
from tests.support.harness.daemons import Node, agree, eventually

FRESH = key(9).pubkey.hex()
"""The key of a node that never ran."""

pytestmark = pytest.mark.timeout(600)


def key_of(node):
    return node.status()["node"]


def row_of(node, key):
    (row,) = [row for row in node.client.ask("GET", "/members") if row["node"] == key]
    return row


def test_a_roster_is_changed_by_hand(fleet):
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    kb, kc = key_of(b), key_of(c)
    agree(den, b, c)
    assert "only an admin changes" in b.gangline("members", "demote", "c", code=4)
    den.gangline("members", "promote", "b", "--role", "admin")
    eventually(lambda: row_of(c, kb)["role"] == "admin", "all know the new admin")
    told = b.gangline("members", "revoke", "c", code=4)
    assert "the founder" in told
    den.gangline("members", "demote", "c")
    eventually(lambda: row_of(c, kc)["role"] == "observer", "it knows of its demotion")
    assert "an observer writes nothing" in c.gangline("add", "s-1", code=4)
    assert "an observer writes nothing" in c.gangline("claim", "s-1", code=4)
    den.gangline("add", "s-1", "--title", "seen")
    told = c.gangline("exec", "s-1", "--agent", "a", "--", "true", code=4)
    assert "an observer writes nothing" in told
    agree(den, b, c)
    assert c.json("story", "s-1")["title"] == "seen"
    den.gangline("members", "rename", kc[:8], "screen")
    for taken in ("den", den.status()["node"][:6]):
        assert "would be taken for" in den.gangline("members", "rename", kc[:8], taken, code=4)
    eventually(lambda: row_of(b, kc)["name"] == "screen", "the name gets round")
    assert "screen" in b.gangline("members")
    den.gangline("members", "revoke", "screen", "--keep", "nothing")
    eventually(lambda: not row_of(b, kc)["belongs"], "the revocation gets round")
    eventually(lambda: not c.status()["peers"], "its links end")
    eventually(lambda: "revoked" in c.gangline("peers"), "it is told why")
    assert "revoked" in den.log()
    assert "malformed" not in den.log()
    assert "revoked" in c.status()["writable"]
    assert row_of(den, kc)["admissions"][-1]["revoked"][0]["by"] == key_of(den)
    den.gangline("members", "admit", kc, "--name", "back")
    eventually(lambda: row_of(b, kc)["belongs"], "it is taken back in")
    told = den.gangline("members", "revoke", "nobody", code=4)
    assert f"take a key from: gangline --home {den.home} members" in told
    assert "keep is" in den.gangline("members", "revoke", "back", "--keep", "some", code=65)


def test_tickets_let_in_so_many_and_each_refusal_is_told_on_both_sides(fleet):
    den = fleet.found()
    ticket = den.gangline("invite", "--uses", "2", "--role", "observer")
    for name in ("one", "two"):
        Node(fleet.folder / name).gangline(
            "join", "--name", name, "--listen", "127.0.0.1:0", stdin=ticket
        )
    three = Node(fleet.folder / "three")
    assert "is used up" in three.gangline("join", stdin=ticket, code=4)
    (row,) = den.json("invite", "--list")
    assert (row["state"], len(row["used_by"]), row["role"]) == ("used", 2, "observer")
    assert "used_ticket: it showed a ticket that is used up" in den.log()
    taken = den.gangline("invite")
    (spare,) = [row for row in den.json("invite", "--list") if row["state"] == "open"]
    den.gangline("invite", "--revoke", spare["ticket"])
    assert "withdrawn" in three.gangline("join", stdin=taken, code=4)
    assert "withdrawn_ticket: " in den.log()
    assert ticket.strip() not in den.log()
    short_lived = den.gangline("invite", "--expires", "1s")
    eventually(
        lambda: [r for r in den.json("invite", "--list") if r["state"] == "expired"], "it expires"
    )
    assert "expired" in three.gangline("join", stdin=short_lived, code=4)
    assert not three.home.joinpath("node.key").exists()
    other = fleet.found("other")
    foreign = other.gangline("invite")
    other.stop()
    assert "cannot join" in three.gangline("join", stdin=foreign, code=1)


@pytest.mark.slow
def test_hosts_that_are_kept_in_a_file(fleet, tmp_path):
    den = fleet.found()
    b = fleet.join(den, "b")
    known, fresh = key_of(b), FRESH
    file = tmp_path / "hosts.toml"
    file.write_text(
        f'[[member]]\nnode = "{known}"\nname = "bee"\n'
        f'[[member]]\nnode = "{fresh}"\nrole = "admin"\nname = "cee"\n'
    )
    would = den.gangline("members", "apply", str(file), "--dry-run")
    assert would.count("would ") == 2
    assert len(den.json("members")) == 2
    assert "done: " in den.gangline("members", "apply", str(file))
    assert row_of(den, known)["name"] == "bee"
    assert row_of(den, fresh)["role"] == "admin"
    assert "has everything" in den.gangline("members", "apply", str(file))
    den.gangline("members", "revoke", "cee")
    told = den.gangline("members", "apply", str(file), code=5)
    assert "was revoked" in told
    assert "is not in the file" in told  # the founder itself
    assert not row_of(den, fresh)["belongs"]
    as_json = tmp_path / "hosts.json"
    as_json.write_text(json.dumps({"member": [{"node": known, "role": "observer"}]}))
    assert "members demote" in den.gangline("members", "apply", str(as_json), code=5)
    as_json.write_text('{"member": [{"node": "short"}]}')
    assert "node" in den.gangline("members", "apply", str(as_json), code=65)


def test_a_node_leaves_over_its_link(fleet):
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    eventually(lambda: b.status()["peers"], "b is linked")
    b.gangline("add", "s-1")
    assert "founder cannot leave" in den.gangline("leave", code=4)
    b.gangline("leave")
    eventually(lambda: not row_of(c, key_of(b))["belongs"], "the word gets round")
    assert "s-1" in {story["id"] for story in c.json("stories")}
    for told in (b.gangline("add", "s-2", code=4), b.gangline("leave", code=4)):
        assert "left the cluster and writes nothing" in told
    assert f"gangline members admit {key_of(b)}" in b.status()["writable"]
    eventually(lambda: not b.status()["peers"], "its links end")
    assert "revoked" not in b.log()
    assert "this node left the cluster and writes nothing; " in b.log()
    for other in (den, c):
        assert f"b ({key_of(b)[:8]}) was revoked by den" in other.log()
    before = den.log()
    b.stop()
    b.start()
    assert b.log().count("this node left the cluster and writes nothing") == 2
    eventually(lambda: "was refused: revoked" in den.log()[len(before) :], "it asks at a start")
    told = den.gangline("members", "admit", key_of(b))  # as status says it
    assert told == f"admitted {key_of(b)[:8]} as member, called b\n"
    b.stop()
    b.start()
    eventually(lambda: not b.status()["writable"], "it is taken back in")
    b.gangline("add", "s-3", "--wait-for", "1")
    den.gangline("members", "revoke", "b")
    eventually(lambda: "was revoked" in b.status()["writable"], "this time by another's word")
    den.stop()
    told = c.gangline("rotate", code=1)
    assert "den" in told
    assert "not linked" in told


def test_a_node_goes_on_under_a_new_key(fleet):
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    den.gangline("add", "s-1")
    agree(den, b, c)
    old = key_of(b)
    b.gangline("claim", "s-1")
    eventually(lambda: den.status()["peers"] >= 2, "all are linked")
    said = b.gangline("rotate")
    eventually(lambda: b.key() not in (None, old), "it goes on under the new key")
    new = key_of(b)
    assert new in said
    assert not b.home.joinpath("node.key.next").exists()
    agree(den, b, c)
    assert row_of(c, new)["name"] == "b"
    assert not row_of(c, old)["belongs"]
    assert f"was member, now {new[:8]}" in c.gangline("members")
    assert "members admit" not in b.log()
    eventually(lambda: c.json("story", "s-1")["holder"] == new, "the claim moves over")
    b.gangline("fire", "s-1", "deps_met", "--wait-for", "1", "--timeout", "30s")
    b.kill()
    b.start()
    assert key_of(b) == new
    agree(den, b, c)


def test_a_node_comes_in_without_a_ticket(fleet, tmp_path):
    """As the page says: a backup, a key of its own, an admission of that key."""
    den = fleet.found()
    file = str(tmp_path / "den.gangline")
    den.gangline("backup", file)
    north = fleet.another("north")
    told = north.gangline("restore", file, "--as-new", "--name", "north", "--listen", "127.0.0.1:0")
    key = told.split()[1]
    den.gangline("members", "admit", key, "--name", "north")
    north.start()
    agree(den, north)
    assert key_of(north) == key
    assert row_of(den, key)["name"] == "north"
    north.gangline("add", "s-1", "--wait-for", "1", "--timeout", "30s")


@pytest.mark.slow
def test_a_key_that_was_replaced_while_its_host_lay_still_comes_back_by_itself(fleet):
    """The records that say so came everywhere but there: it was killed with its new key ready."""
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    agree(den, b, c)
    old = key_of(b)
    b.kill()
    ready = Node(fleet.folder / "other")
    ready.gangline("init", "--name", "other", "--listen", "127.0.0.1:0")
    b.home.joinpath("node.key.next").write_bytes(ready.home.joinpath("node.key").read_bytes())
    b.home.joinpath("node.key.next").chmod(0o600)
    fleet.nodes.append(ready)
    ready.start()
    new = key_of(ready)
    ready.stop()
    den.gangline("members", "admit", new, "--name", "b")
    den.gangline("members", "revoke", old)
    b.start()
    eventually(lambda: b.key() == new, "it finds out, and goes on")
    agree(den, b, c)


@pytest.mark.slow
def test_what_nothing_can_be_called_is_one_plain_sentence_wherever_it_is_said(fleet):
    den = fleet.found()
    sentence = "gangline: a node's name: 1 to 64 characters on one line, no control characters\n"
    for name in ("x" * 65, "x" * 9999, "two\nlines", "\x1b[31m", "  "):
        for args in (("rename", "den", name), ("admit", FRESH, "--name", name)):
            assert den.gangline("members", *args, code=65) == sentence
        new, ticket = fleet.another("new"), den.gangline("invite")
        assert new.gangline("init", "--name", name, code=2) == sentence
        assert new.gangline("join", "--name", name, stdin=ticket, code=2) == sentence
        assert not new.home.exists()
    body = {"node": "den", "name": "x" * 65}
    with pytest.raises(RequestRefused) as refused:
        den.client.ask("POST", "/members/name", body)
    assert f"gangline: {refused.value.message}\n" == sentence
    told = den.gangline("members", "promote", "x" * 5000, code=4)
    way = f"gangline --home {den.home} members"
    assert told == f"gangline: that is no node of the roster; take a key from: {way}\n"
    b = fleet.join(den, "b")
    eventually(lambda: "b " in den.gangline("peers"), "peers shows names")
    assert {row["name"] for row in b.json("peers")} == {"den"}


# --- several at once -----------------------------------------------------------------------


def keep_ports(*nodes):
    """They listen where they listen now at every start, so that they find each other again."""
    for node in nodes:
        config = node.home / "config.toml"
        here = node.status()["listen"]
        config.write_text(config.read_text().replace('"127.0.0.1:0"', f'"{here}"'))


@pytest.mark.slow
def test_two_admins_cannot_throw_each_other_out_and_a_promotion_outlives_a_revocation(fleet):
    """c came in by b's ticket; b takes that back while the founder, apart, makes c an admin."""
    den = fleet.found()
    b = fleet.join(den, "b")
    den.gangline("members", "promote", "b", "--role", "admin")
    eventually(lambda: row_of(b, key_of(b))["role"] == "admin", "b knows")
    c = fleet.join(b, "c")
    kb, kc = key_of(b), key_of(c)
    agree(den, b, c)
    keep_ports(den, b, c)
    c.stop()
    b.stop()
    den.gangline("members", "promote", "c", "--role", "admin")
    den.stop()
    b.start()
    b.gangline("members", "revoke", "c")
    den.start()
    c.start()
    agree(den, b, c)
    for node in (den, b, c):
        assert [row_of(node, key)["role"] for key in (kb, kc)] == ["admin", "admin"]
    for one, other in ((b, "c"), (c, "b")):
        told = one.gangline("members", "revoke", other, code=4)
        assert told == "gangline: only the founder revokes an admin\n"
    c.gangline("members", "admit", FRESH, "--name", "new")
    agree(den, b, c)
    assert row_of(b, FRESH)["belongs"]


@pytest.mark.slow
def test_a_node_that_is_revoked_while_it_writes(fleet):
    """What the revoking host had counts on every node, and nothing else does on any."""
    den = fleet.found()
    b, c = fleet.join(den, "b"), fleet.join(den, "c")
    agree(den, b, c)
    written, refusals = [], []

    def write():
        for number in range(500):
            try:
                b.client.ask("POST", f"/stories/w-{number}", {})
            except RequestRefused as refusal:
                refusals.append(refusal.message)
                return
            written.append(f"w-{number}")

    writing = threading.Thread(target=write)
    writing.start()
    eventually(lambda: len(written) > 20, "b writes")
    den.gangline("members", "revoke", "b")
    writing.join()
    assert "revoked" in refusals[0]
    agree(den, b, c)
    boards = [{story["id"] for story in node.json("stories")} for node in (den, b, c)]
    assert boards[0] == boards[1] == boards[2]
    assert boards[0] == {*written[: len(boards[0])]}  # its first so many, without a hole
    for node in (den, b, c):
        node.stop()
        node.gangline("inspect", "verify", "--store", str(node.home))


@pytest.mark.slow
def test_an_admission_against_a_revocation_that_never_saw_it(fleet):
    """A revocation counts for the admissions that its author wrote, or knew of; not for a later."""
    den = fleet.found()
    b = fleet.join(den, "b")
    den.gangline("members", "promote", "b", "--role", "admin")
    agree(den, b)
    keep_ports(den, b)
    new = FRESH
    b.stop()
    den.gangline("members", "admit", new, "--name", "new")
    den.gangline("members", "revoke", "new")
    den.stop()
    b.start()
    b.gangline("members", "admit", new, "--name", "new", "--role", "observer")
    den.start()
    agree(den, b)
    for node in (den, b):
        row = row_of(node, new)
        assert (row["belongs"], row["role"]) == (True, "observer")
        assert len(row["admissions"]) == 2
    den.gangline("members", "revoke", new[:8])
    agree(den, b)
    assert not row_of(b, new)["belongs"]


@pytest.mark.slow
def test_who_has_not_heard_of_its_admission_is_told_for_whom_to_wait(fleet):
    den = fleet.found()
    keep_ports(den)
    b, inviter = fleet.join(den, "b", start=False), key_of(den)
    den.stop()
    b.start()
    for command in ("leave", "rotate"):
        told = b.gangline(command, code=1)
        assert "has not received its admission yet" in told
        assert f"wait until {inviter[:8]} (not linked now)" in told
    den.start()
    agree(den, b)
    b.gangline("leave")
