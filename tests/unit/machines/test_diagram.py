import runpy
from pathlib import Path

import msgspec
import pytest

from machines import diagram
from machines.diagram import MACHINES, arrows, dot, mermaid, page, table
from machines.execution import EXECUTION
from machines.kernel import Machine, Rule, Superstate, tag_of
from machines.pipeline import PIPELINE

ROOT = Path(__file__).parents[3]


def test_the_page_is_not_stale(capsys):
    runpy.run_module("machines", run_name="__main__")
    made = capsys.readouterr().out
    assert made == page()
    stale = "run: python -m machines > docs/machines.md"
    assert (ROOT / "docs" / "machines.md").read_text(encoding="utf-8") == made, stale


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_rule_stands_in_the_table_and_on_an_arrow(machine):
    assert len(table(machine)) == len(machine.rules)
    drawn = {(tail, head): label for tail, head, label in arrows(machine)}
    for rule in machine.rules:
        above = next((one for one in machine.superstates if one.name == rule.source), None)
        tails = [rule.source]
        if above is not None and rule.target in above.members:
            tails = [tag_of(kind) for kind in above.members]
        for tail in tails:
            assert tag_of(rule.event) in drawn[tail, tag_of(rule.target)]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_both_drawings_hold_every_state_and_every_arrow(machine):
    as_mermaid, as_dot = mermaid(machine), dot(machine)
    assert as_mermaid.startswith("stateDiagram-v2\n    [*] --> ")
    assert as_dot.startswith(f"digraph {machine.name} {{")
    assert as_dot.count("->") == len(arrows(machine)) == as_mermaid.count("-->") - 1
    for tail, head, label in arrows(machine):
        assert f"    {tail} --> {head} : {label}\n" in as_mermaid
        assert f'-> "{head}" [label="{label}"' in as_dot
    for kind in machine.states:
        assert f'"{tag_of(kind)}";' in as_dot


def test_superstate_is_a_box_with_its_own_arrows():
    assert ("active", "archived", "block, review_hold, abandon, supersede") in arrows(PIPELINE)
    assert '"backlog" -> "archived" [label="block, review_hold, abandon, supersede", ltail=' in dot(
        PIPELINE
    )


def test_rule_into_its_superstate_starts_at_members():
    assert ("running", "idle", "stopped, reset") in arrows(EXECUTION)
    assert ("idle", "idle", "stopped, reset") in arrows(EXECUTION)
    assert not [arrow for arrow in arrows(EXECUTION) if arrow[0] == "any"]


def test_arrow_labels_have_conditions_and_in_place():
    assert ("archived", "backlog", "unblock [blocked only]") in arrows(PIPELINE)
    assert ("running", "running", "heartbeat (in place)") in arrows(EXECUTION)


class Up(msgspec.Struct, frozen=True, tag="up"):
    pass


class Down(msgspec.Struct, frozen=True, tag="down"):
    pass


class Flip(msgspec.Struct, frozen=True, tag="flip"):
    pass


def to(kind):
    return lambda _state, _event, _at: kind()


LEVER = Machine(
    name="lever",
    states=(Up, Down),
    events=(Flip,),
    superstates=(Superstate("high", (Up,), entry=("shine",), exit=("fade",)),),
    rules=(Rule("high", Flip, Down, to(Down), action="click"), Rule("down", Flip, Up, to(Up))),
    initial=Down(),
    entry={"down": ("rest", "cool")},
    exit={"down": ()},
)


def test_a_drawing_for_graphviz_is_whole_to_the_letter():
    assert dot(LEVER).splitlines() == [
        "digraph lever {",
        "    compound=true;",
        "    node [shape=box];",
        "    subgraph cluster_high {",
        '        label="high";',
        '        "up";',
        "    }",
        '    "down";',
        '    "up" -> "down" [label="flip", ltail="cluster_high"];',
        '    "down" -> "up" [label="flip"];',
        "}",
    ]
    assert dot(LEVER).endswith("}\n")


def test_page_lists_entry_and_exit_actions(monkeypatch):
    monkeypatch.setattr(diagram, "MACHINES", {"lever": LEVER})
    said = page().splitlines()
    assert [line for line in said if " of *" in line] == [
        "- entry of *down*: rest, cool",
        "- entry of *high*: shine",
        "- exit of *high*: fade",
    ]
    assert "| high | flip | down | click |" in said


def test_each_machine_goes_by_its_own_name():
    assert {name: machine.name for name, machine in MACHINES.items()} == {
        "pipeline": "pipeline",
        "execution": "execution",
    }
