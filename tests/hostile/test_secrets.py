"""Real daemons, used for everything that touches a secret; then a search for it everywhere."""

import base64
import os
import re
import stat
from pathlib import Path

import pytest

from node.config import key_file
from node.network.ticket import read_ticket
from tests.support.harness.daemons import Fleet, agree

pytestmark = pytest.mark.timeout(600)
ASKED = (
    "/status", "/nodes", "/peers", "/stories", "/stories/s-1", "/stories/s-1/explain", "/members",
    "/tickets", "/inspect/feeds", "/inspect/quarantine", "/inspect/history", "/openapi.json",
)  # fmt: skip


def forms(secret):
    """A secret as it might be written somewhere."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield base64.b64encode(secret).rstrip(b"=")
    yield base64.b32encode(secret).rstrip(b"=").lower()
    yield repr(secret)[2:-1].encode()


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """Two nodes that run, everything that they said so far, and the secrets by name."""
    folder = tmp_path_factory.mktemp("secrets")
    said = []
    with Fleet(folder) as fleet:
        den = fleet.found()
        tickets = [den.gangline("invite"), den.gangline("invite", "--uses", "2")]
        other = fleet.another("b")
        said.append(other.gangline("join", "--listen", "127.0.0.1:0", stdin=tickets[0]))
        other.start()
        said.append(other.gangline("join", stdin=tickets[0][:-3], code=65))
        den.gangline("add", "s-1", "--title", "one")
        den.gangline("exec", "s-1", "--agent", "a", "--", "true")
        agree(den, other)
        den.gangline("backup", str(folder / "backup"))
        den.gangline("export", str(folder / "export"))
        said.append(den.gangline("invite", "--list"))
        said.append(den.gangline("status"))
        secrets = {
            f"seed of {node}": key_file._read(node.home / "node.key") for node in (den, other)
        }
        secrets |= {f"ticket {n}": read_ticket(text).secret for n, text in enumerate(tickets)}
        yield folder, (den, other), said, secrets


def assert_absent(where, data, secrets):
    found = [
        (name, where) for name, secret in secrets.items() for form in forms(secret) if form in data
    ]
    assert not found


def test_the_search_would_find_one(used):
    folder, nodes, _, secrets = used
    with pytest.raises(AssertionError):
        assert_absent("the key file", (nodes[0].home / "node.key").read_bytes(), secrets)
    kept = folder / "with-key"
    nodes[0].gangline("backup", "--with-key", str(kept))
    with pytest.raises(AssertionError):
        assert_absent("a backup that was asked for it", kept.read_bytes(), secrets)
    kept.unlink()


def test_no_file_but_the_key_holds_a_secret(used):
    folder, nodes, _, secrets = used
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "node.key":
            assert_absent(path, path.read_bytes(), secrets)
    assert all((node.home / "store.db").stat().st_size for node in nodes)


def test_no_output_and_no_answer_holds_a_secret(used):
    _, nodes, said, secrets = used
    for text in said:
        assert_absent("what a command said", text.encode(), secrets)
    for node in nodes:
        assert_absent("log", node.log().encode(), secrets)
        for path in ASKED:
            assert_absent(path, repr(node.client.ask("GET", path)).encode(), secrets)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="what /proc shows")
def test_no_secret_is_in_the_arguments_or_the_surroundings_of_the_process(used):
    _, nodes, _, secrets = used
    for node in nodes:
        proc = Path("/proc") / str(node.process.pid)
        for name in ("cmdline", "environ"):
            assert_absent(name, (proc / name).read_bytes(), secrets)


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="what /proc shows")
def test_the_daemon_writes_no_core_dump_and_nothing_for_others(used):
    folder, nodes, _, _ = used
    for node in nodes:
        proc = Path("/proc") / str(node.process.pid)
        assert re.search(r"Max core file size +0 +0 ", (proc / "limits").read_text())
        assert "Umask:\t0077" in (proc / "status").read_text()
        for name in ("", "node.key", "run", "run/api.sock"):
            assert stat.S_IMODE((node.home / name).stat().st_mode) & 0o077 == 0, name
    assert stat.S_IMODE((folder / "backup").stat().st_mode) == 0o600


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what /proc shows")
def test_the_daemon_hands_on_no_descriptor(used):
    """Whatever it might start would get none of its files and sockets."""
    _, nodes, _, _ = used
    for node in nodes:
        proc = Path("/proc") / str(node.process.pid)
        for one in (proc / "fdinfo").iterdir():
            if int(one.name) > 2:
                flags = re.search(r"flags:\t0?(\d+)", one.read_text())
                assert int(flags[1], 8) & os.O_CLOEXEC, (proc / "fd" / one.name).readlink()
