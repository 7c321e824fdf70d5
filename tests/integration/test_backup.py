"""Backup and restore with real daemons: on a fresh host, of a clone, of the founder's first day."""

import json
import shutil
import stat
import subprocess

import pytest

from tests.support.harness.daemons import GANGLINE, Fleet, Node, agree, eventually

pytestmark = pytest.mark.timeout(300)


def at(fleet, name):
    """A home that is not there yet, whose daemon the fleet ends."""
    node = Node(fleet.folder / name)
    fleet.nodes.append(node)
    return node


def feeds_of(node, key):
    return {f["incarnation"] for f in node.json("inspect", "feeds") if f["author"] == key}


def test_a_founder_restored_from_its_first_backup_does_not_fork(fleet):
    den = fleet.found()
    first = fleet.folder / "first.gangline"
    told = json.loads(den.gangline("backup", "--with-key", str(first), "--json"))
    assert (told["records"] > 0, told["key"]) == (True, True)
    b = fleet.join(den, "b")
    den.gangline("add", "s-1", "--title", "after the backup")
    den.gangline("fire", "s-1", "deps_met", "--wait-for", "1")
    key = den.status()["node"]
    agree(den, b)
    den.kill()
    shutil.rmtree(den.home)

    again = at(fleet, "den-again")
    again.gangline("restore", str(first))
    again.start()
    assert "restored from a backup" in again.log()
    again.gangline("add", "s-2", "--title", "before it met anybody")
    assert len(feeds_of(again, key)) == 2, "it wrote in a new feed"
    # Nobody told it of the others after its first day: they dial where they knew it, or it them.
    config = again.home / "config.toml"
    address, other = b.status()["listen"], b.status()["node"]
    again.stop()
    with config.open("a") as file:
        file.write(f'\n[[peers]]\nnode = "{other}"\naddress = "{address}"\n')
    again.start()
    agree(again, b)
    for node in (again, b):
        assert {s["id"] for s in node.json("stories")} == {"s-1", "s-2"}
        assert node.status()["forks"] == 0
    assert again.json("story", "s-1")["stage"]["stage"] == "coding"
    again.gangline("fire", "s-1", "gates_started", "--wait-for", "1", "--timeout", "30s")


def test_a_backup_is_taken_while_the_daemon_writes_and_holds_no_key_unasked(fleet):
    den = fleet.found()
    for number in range(20):
        den.client.ask("POST", f"/stories/s-{number}", {})
    file = fleet.folder / "den.gangline"
    den.gangline("backup", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = (den.home / "node.key").read_text().split("\n")[1]
    assert secret.encode() not in file.read_bytes()
    before = file.read_bytes()
    assert "--force" in den.gangline("backup", str(file), code=1)
    assert file.read_bytes() == before
    den.gangline("backup", str(file), "--force", "--with-key")
    assert secret.encode() in file.read_bytes()
    assert den.gangline("inspect", "verify", "--store", str(file))
    assert len(den.json("stories")) == 20


@pytest.mark.slow
def test_a_restore_wants_the_right_key_and_an_empty_place(fleet):
    den = fleet.found()
    other = at(fleet, "other")
    other.gangline("init", "--name", "other", "--listen", "127.0.0.1:0")
    file = fleet.folder / "den.gangline"
    den.gangline("backup", str(file))
    fresh = at(fleet, "fresh")
    assert "--key" in fresh.gangline("restore", str(file), code=2)
    wrong = fresh.gangline("restore", str(file), "--key", str(other.home / "node.key"), code=4)
    assert den.status()["node"][:8] in wrong
    assert not fresh.home.exists()
    assert "--force" in other.gangline("restore", str(file), "--as-new", code=1)
    running = den.gangline("restore", str(file), "--force", code=1)
    assert str(den.process.pid) in running
    den.stop()
    fresh.gangline("restore", str(file), "--key", str(den.home / "node.key"))
    assert (fresh.home / "node.key").read_bytes() == (den.home / "node.key").read_bytes()
    den.gangline("restore", str(file), "--force")  # its own key is here
    den.start()
    assert den.status()["forks"] == 0


def test_what_is_no_backup_or_damaged_is_refused(fleet):
    den = fleet.found()
    file, fresh = fleet.folder / "den.gangline", at(fleet, "fresh")
    assert f"{__file__} is not a backup of Gangline" in fresh.gangline("restore", __file__, code=65)
    assert "not a backup" in fresh.gangline("restore", str(den.home / "store.db"), code=65)
    file.write_bytes(b"what a backup is not" * 300)
    fresh.gangline("restore", str(file), code=65)
    den.gangline("backup", str(file), "--force", "--with-key")
    data = bytearray(file.read_bytes())
    place = data.index(b'"name":"den"')
    data[place + 8 : place + 11] = b"dun"
    file.write_bytes(data)
    fresh.gangline("restore", str(file), code=5)
    assert not (fresh.home / "store.db").exists()


@pytest.mark.slow
def test_two_on_one_host_need_two_ports_and_a_restore_as_new_says_so(fleet):
    den = at(fleet, "den")
    den.gangline("init", "--name", "den", "--listen", "127.0.0.1:7499")
    file = fleet.folder / "den.gangline"
    den.gangline("backup", str(file))

    def restored(name, *args, code=0):
        node = at(fleet, name)
        done = subprocess.run(
            [GANGLINE, "--home", str(node.home), "restore", str(file), *args],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return node, done.stderr

    same, told = restored("same", "--as-new", "--name", "same")
    [line] = [line for line in told.splitlines() if "it listens at 127.0.0.1:7499, like" in line]
    assert str(same.home / "config.toml") in line
    assert "--listen HOST:PORT" in line
    other, told = restored("other", "--as-new", "--name", "other", "--listen", "127.0.0.1:7498")
    assert "like the old node" not in told
    assert 'listen = "127.0.0.1:7498"' in (other.home / "config.toml").read_text()
    wrong, told = restored("wrong", "--as-new", "--listen", "7498", code=2)
    assert "listen" in told
    assert not wrong.home.exists()
    assert "--as-new" in restored("old", "--listen", "127.0.0.1:7498", code=2)[1]


@pytest.mark.slow
def test_a_node_that_left_is_restored_as_new_without_having_left(fleet):
    den = fleet.found()
    b = fleet.join(den, "b")
    agree(den, b)
    b.gangline("leave")
    file = fleet.folder / "b.gangline"
    b.gangline("backup", str(file))
    new = at(fleet, "new")
    new.gangline("restore", str(file), "--as-new", "--name", "new", "--listen", "127.0.0.1:0")
    new.start()
    assert "left the cluster" not in new.status()["writable"]


@pytest.mark.slow
def test_a_clone_restored_as_new_joins_as_a_node_of_its_own(fleet):
    den = fleet.found()
    b = fleet.join(den, "b")
    b.gangline("add", "s-1", "--title", "kept")
    agree(den, b)
    file = fleet.folder / "b.gangline"
    b.gangline("backup", str(file), "--with-key")
    clone = at(fleet, "clone")
    told = json.loads(clone.gangline("restore", str(file), "--as-new", "--name", "c", "--json"))
    node, old = told["node"], b.status()["node"]
    assert node != old
    secret = (b.home / "node.key").read_text().split("\n")[1]
    assert secret.encode() not in (clone.home / "store.db").read_bytes()
    config = clone.home / "config.toml"
    lines = ['listen = "127.0.0.1:0"' if t.startswith("listen") else t
             for t in config.read_text().splitlines()]  # fmt: skip
    config.write_text("\n".join(lines) + "\n")
    clone.start()
    assert {s["id"] for s in clone.json("stories")} == {"s-1"}
    assert "roster" in clone.gangline("add", "s-2", code=4)
    den.gangline("members", "admit", node, "--name", "c")
    eventually(lambda: clone.status()["writable"] == "", "the clone is admitted")
    clone.gangline("add", "s-2")
    agree(den, b, clone)
    assert feeds_of(den, node) == {0}
    assert den.status()["forks"] == 0


@pytest.mark.slow
def test_a_board_is_carried_into_another_cluster(fleet):
    den = fleet.found()
    den.gangline("add", "s-1", "--title", "Grüße", "--depends-on", "s-2")
    den.gangline("add", "s-2")
    den.gangline("fire", "s-1", "deps_met", "--force")
    den.gangline(
        "fire", "s-1", "qa_skipped", "--set", "feature_branch=f", "--set", "commits_ahead=2"
    )
    den.gangline("fire", "s-1", "merge_succeeded", "--set", "merge_commit=1f0c2ab")
    file = fleet.folder / "board.jsonl"
    den.gangline("export", str(file))
    assert "--force" in den.gangline("export", str(file), code=1)
    assert den.gangline("export").splitlines()[1:] == file.read_text().splitlines()[1:]

    new = Fleet(fleet.folder / "elsewhere")
    new.folder.mkdir()
    with new:
        far = new.found("far")
        far.gangline("add", "s-2", "--title", "another")
        told = json.loads(far.gangline("import", str(file), "--json"))
        assert told == {"stories": 2, "added": 1, "edited": 0, "fired": 3, "left": []}
        story = far.json("story", "s-1")
        assert (story["title"], story["depends_on"]) == ("Grüße", ["s-2"])
        assert (story["stage"]["stage"], story["stage"]["merge_commit"]) == ("done", "1f0c2ab")
        again = json.loads(far.gangline("import", str(file), "--json"))
        assert (again["added"], again["fired"], again["left"]) == (0, 0, [])
        far.gangline("import", str(fleet.folder / "none"), code=1)
        cut = fleet.folder / "cut.jsonl"
        cut.write_text("\n".join(file.read_text().splitlines()[:2]))
        assert "truncated" in far.gangline("import", str(cut), code=65)
