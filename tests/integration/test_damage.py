"""A store that a disk damaged while its daemon was down, in a cluster that has the rest."""

import contextlib
import os

import apsw
import pytest

from tests.support.harness.daemons import Fleet, agree, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_damaged_store_is_told_set_aside_and_made_whole_by_peers(tmp_path):
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        other = fleet.join(den, "other")
        for number in range(30):
            den.gangline("add", f"s-{number}", "--title", "x" * 200)
        agree(den, other)
        other.stop()
        store = other.home / "store.db"
        with contextlib.closing(apsw.Connection(str(store))) as database:
            query = "SELECT pageno FROM dbstat WHERE name = 'records' AND pagetype = 'leaf'"
            pages = [number for (number,) in database.execute(query)]
        with store.open("r+b") as file:
            file.seek((pages[-1] - 1) * 4096)
            file.write(os.urandom(4096))
        other.start()
        agree(den, other)
        eventually(lambda: "what other nodes hold again" in other.log(), "it says that it is whole")
        assert "is damaged" in other.log()
        assert "verify and were kept" in other.log()
        assert len(list(other.home.glob("store.db.damaged-*Z"))) == 1
        other.gangline("add", "after", "--title", "written on")
        agree(den, other)
        assert other.status()["forks"] == 0
        assert other.status()["incarnation"] != 0
        told = [row["what"] for row in other.json("inspect", "history")]
        assert "incarnation_opened" in told
        other.gangline("inspect", "verify")


def test_alone_it_says_how_to_go_on(tmp_path):
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        den.gangline("add", "s-1", "--title", "kept")
        den.stop()
        store = den.home / "store.db"
        with contextlib.closing(apsw.Connection(str(store))) as database:
            last = "(SELECT max(clock) FROM records)"
            database.execute(f"UPDATE records SET value = zeroblob(99) WHERE clock = {last}")
        den.start()
        assert "read-only" in den.status()["writable"]
        assert "--accept-loss" in den.gangline("add", "s-2", "--title", "no", code=1)
