"""Three daemons, driven by commands, and what must survive."""

import json
import subprocess
import sys

import pytest

from tests.support.harness.daemons import Fleet, agree, eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def kennel(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("kennel")) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def trio(kennel):
    """Three daemons for the whole module: each test moves stories of its own."""
    den = kennel.found()
    return den, kennel.join(den, "b"), kennel.join(den, "c")


def dishonest(mine, theirs, trick):
    subprocess.run(
        [sys.executable, "-m", "node.cli.demo.dishonest_member", mine.home, theirs.home, trick],
        check=True, timeout=60, capture_output=True,
    )  # fmt: skip


def test_a_story_goes_through_the_whole_pipeline_on_three_hosts(trio):
    den, b, c = trio
    den.gangline("add", "s-1", "--title", "first")
    agree(*trio)
    moves = (
        (b, "deps_met"),
        (c, "gates_started"),
        (den, "gates_passed", "--set", "feature_branch=feature/s-1", "--set", "commits_ahead=2"),
        (b, "merge_succeeded", "--set", "merge_commit=1f0c2ab"),
        (c, "accepted"),
    )
    for node, *move in moves:
        node.gangline("fire", "s-1", *move)
        agree(*trio)
    for node in trio:
        stage = node.json("story", "s-1")["stage"]
        assert (stage["stage"], stage["reason"]["kind"]) == ("archived", "completed")


def test_a_refusal_names_the_stage_and_what_is_legal(trio):
    den = trio[0]
    den.gangline("add", "s-2")
    told = den.gangline("fire", "s-2", "accepted", code=4)
    assert "backlog" in told
    assert "deps_met" in told
    den.gangline("fire", "nonesuch", "deps_met", code=4)
    den.gangline("fire", "s-2", "deps_mat", code=65)


def test_killed_in_the_middle_and_away_for_many_records(trio):
    den, b, c = trio
    den.gangline("add", "s-3")
    agree(*trio)
    c.kill()
    for number in range(60):
        (den, b)[number % 2].client.ask("POST", f"/stories/t-{number}", {})
    c.start()
    agree(*trio)
    assert sum(row["id"].startswith("t-") for row in c.json("stories")) == 60
    c.gangline("fire", "s-3", "deps_met", "--wait-for", "2", "--timeout", "30s")
    agree(*trio)


def test_moves_at_the_same_moment_end_in_one_board(trio):
    den, b, c = trio
    den.gangline("add", "s-4")
    agree(*trio)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "node.cli", "--home", node.home, "fire", "s-4", *move],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for node, move in (
            (b, ("block", "--set", "reason=why")),
            (c, ("deps_met",)),
        )
    ]  # fmt: skip
    for process in running:
        process.wait(timeout=60)
    agree(*trio)
    assert len({str(node.json("story", "s-4")) for node in trio}) == 1


def test_a_liar_without_a_node_gets_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.demo.dishonest_member", tmp_path / "bad", tmp_path / "b"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("python -m node.cli.demo.dishonest_member: there is no ")


def test_a_forged_record_and_an_illegal_transition_end_in_quarantine(kennel, trio):
    den, b, c = trio
    bad = kennel.join(den, "bad", start=False)
    agree(*trio)
    before = den.json("stories")
    dishonest(bad, b, "forge")
    dishonest(bad, b, "illegal")
    eventually(
        lambda: (
            {r["reason"] for r in b.json("inspect", "quarantine")}
            == {"bad_signature", "illegal_transition"}
        ),
        "both are in quarantine",
    )
    agree(*trio)
    for node in trio:
        assert node.json("stories") == before
    assert den.json("inspect", "quarantine") == c.json("inspect", "quarantine") == []


def test_tickets_work_once(fleet):
    den = fleet.found()
    ticket = den.gangline("invite")
    one, two = (fleet.folder / name for name in ("one", "two"))
    den.gangline("--home", str(one), "join", "--listen", "127.0.0.1:0", stdin=ticket)
    told = den.gangline("--home", str(two), "join", stdin=ticket, code=4)
    assert "used" in told
    den.gangline("--home", str(two), "join", stdin=ticket[:40], code=65)
    spoiled = ticket.replace(ticket[30], "a" if ticket[30] != "a" else "b", 1)
    den.gangline("--home", str(two), "join", stdin=spoiled, code=65)


def test_no_daemon_and_a_second_daemon_are_sentences(fleet):
    den = fleet.found()
    told = den.gangline("run", code=1)
    assert str(den.process.pid) in told
    den.stop()
    assert "error" not in den.log()
    assert f"gangline --home {den.home} run" in den.gangline("status", code=3)
    den.home.joinpath("node.key").chmod(0o644)
    assert "chmod 600" in den.gangline("run", code=1)


def test_a_daemon_is_found_by_every_way_to_its_home_and_from_every_environment(
    tmp_path, monkeypatch
):
    """As cron and su have another XDG_RUNTIME_DIR; in a home whose path is no socket's."""
    long = tmp_path / ("l" * 100)
    long.mkdir()
    (tmp_path / "link").symlink_to(long)
    with Fleet(long) as fleet:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "shell"))
        den = fleet.found()
        node = den.key()
        homes = [
            long / "den",
            tmp_path / "link" / "den",
            tmp_path / "link" / ".." / long.name / "den",
        ]
        for runtime in (tmp_path / "shell", tmp_path / "cron"):
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
            for home in homes:
                told = den.gangline("--home", str(home), "status", "--json")
                assert json.loads(told)["node"] == node
        den.gangline("--home", str(homes[1]), "stop")
        den.process.wait(timeout=60)
        assert "no daemon answers" in den.gangline("status", code=3)
