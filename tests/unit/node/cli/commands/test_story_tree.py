"""The tree of a story as people see it."""

from typer.testing import CliRunner

from node.cli.commands.story_tree import draw
from node.cli.console import to_builtins
from node.cli.main import app
from node.reporting import queries
from tests.support.builders.stores import collided, write


def lines(cluster):
    explained = queries.explain(cluster.replicas[0].ledger, "s-1")
    return list(draw(to_builtins(explained)))


def test_tree_shows_spine_weight_and_lost_events():
    told = "\n".join(lines(collided()))
    assert told.startswith("s-1  Wanted by two\nstands at archived (blocked): ")
    assert "2 on the spine, 1 applied after it, 1 lost" in told
    assert "● deps_met → coding" in told
    assert "├─✗ qa_skipped → merge" in told or "├─✗ gates_started → qa" in told
    assert "lost to" in told
    assert "weight 3: " in told


def test_tree_fits_80_columns_and_is_escaped():
    told = lines(collided("\u202eowned"))
    assert "\\u202eowned" in told[0]
    for line in told:
        assert len(line) <= 80
        assert "\u202e" not in line


def test_a_store_and_its_daemon_are_told_alike(tmp_path):
    cluster = collided()
    store = write(cluster, 0, tmp_path / "0.db")
    told = CliRunner().invoke(app, ["inspect", "explain", "s-1", "--store", str(store)])
    assert told.exit_code == 0
    assert told.output.splitlines() == lines(cluster)


def test_event_without_counted_parent_is_not_in_tree():
    event = {
        "record": ["ab" * 32, 0, 3, "cd" * 32], "parent": ["ee" * 32, 0, 0, "ff" * 32],
        "event": {"event": "deps_met"}, "makes": {"stage": "coding"},
        "stamp": ["2026-01-05T12:15:00.000Z", 0], "weight": 0, "authors": [], "place": "lost",
        "in_tree": False, "beaten_by": None, "why": "the stage that was reached ignores it",
        "acks": ["ab" * 32],
    }  # fmt: skip
    later = event | {"place": "applied", "why": ""}
    answer = {
        "id": "s-1", "title": "\x1b]0;owned\x07", "stage": {"stage": "backlog"},
        "names": {"ab" * 32: "den"}, "events": [event, later],
    }  # fmt: skip
    told = "\n".join(draw(answer))
    assert "s-1  \\x1b]0;owned\\x07" in told
    assert "0 on the spine, 1 applied after it, 1 lost" in told
    assert "not in the tree" in told
    assert "lost: the stage that was reached ignores it" in told
    assert "seen archived by den" in told
    assert "applied after the end of the spine" in told
