"""Diagrams of a machine in Mermaid and DOT, and docs/machines.md.

Everything is generated from the table of the machine, so a diagram cannot disagree with the rules.
"""

from typing import Annotated, Any, get_args, get_origin

import msgspec

from machines.execution import EXECUTION
from machines.kernel import Machine, Rule, tag_of
from machines.pipeline import PIPELINE

MACHINES = {"pipeline": PIPELINE, "execution": EXECUTION}


def _label(rule: Rule) -> str:
    """Return the label of an arrow: the event, its condition, and whether it updates in place."""
    condition = f" [{rule.when_text}]" if rule.when_text else ""
    return f"{tag_of(rule.event)}{condition}{' (in place)' if rule.in_place else ''}"


def arrows(machine: Machine) -> list[tuple[str, str, str]]:
    """Return all arrows as (from, to, label); rules between the same two states share one.

    The rule of a superstate is one arrow from its box. If it leads back into the box, which neither
    Mermaid nor Graphviz can draw, it is one arrow from each member.
    """
    members = {superstate.name: superstate.members for superstate in machine.superstates}
    labels: dict[tuple[str, str], list[str]] = {}
    for rule in machine.rules:
        inside = members.get(rule.source, ())
        tails = [tag_of(kind) for kind in inside] if rule.target in inside else [rule.source]
        for tail in tails:
            labels.setdefault((tail, tag_of(rule.target)), []).append(_label(rule))
    return [(tail, head, ", ".join(events)) for (tail, head), events in labels.items()]


def mermaid(machine: Machine) -> str:
    """Return a Mermaid state diagram; superstates are boxes."""
    lines = ["stateDiagram-v2", f"    [*] --> {machine.state_name(machine.initial)}"]
    for superstate in machine.superstates:
        lines.append(f"    state {superstate.name} {{")
        lines += [f"        {tag_of(kind)}" for kind in superstate.members]
        lines.append("    }")
    lines += [f"    {tail} --> {head} : {label}" for tail, head, label in arrows(machine)]
    return "\n".join(lines) + "\n"


def dot(machine: Machine) -> str:
    """Return a Graphviz graph; superstates are clusters."""
    lines = [f"digraph {machine.name} {{", "    compound=true;", "    node [shape=box];"]
    anchors = {tag_of(kind): tag_of(kind) for kind in machine.states}
    for superstate in machine.superstates:
        lines.append(f"    subgraph cluster_{superstate.name} {{")
        lines.append(f'        label="{superstate.name}";')
        lines += [f'        "{tag_of(kind)}";' for kind in superstate.members]
        lines.append("    }")
        anchors[superstate.name] = tag_of(superstate.members[0])
    lines += [f'    "{tag_of(k)}";' for k in machine.states if machine.superstate(k) is None]
    for source, head, label in arrows(machine):
        # Graphviz starts an arrow at the edge of a cluster only with a tail inside the cluster.
        tail = f', ltail="cluster_{source}"' if anchors[source] != source else ""
        lines.append(f'    "{anchors[source]}" -> "{head}" [label="{label}"{tail}];')
    return "\n".join([*lines, "}"]) + "\n"


def table(machine: Machine) -> list[tuple[str, str, str, str]]:
    """Return all rules as (from, event, to, action); a rule of a superstate is one row."""
    rows = []
    for rule in machine.rules:
        target = tag_of(rule.target) + (" (in place)" if rule.in_place else "")
        condition = f" ({rule.when_text})" if rule.when_text else ""
        rows.append((rule.source + condition, tag_of(rule.event), target, rule.action or ""))
    return rows


def _actions(machine: Machine) -> list[str]:
    found = [("entry", name, names) for name, names in machine.entry.items()]
    found += [("exit", name, names) for name, names in machine.exit.items()]
    for superstate in machine.superstates:
        found += [
            ("entry", superstate.name, superstate.entry),
            ("exit", superstate.name, superstate.exit),
        ]
    return [f"- {on} of *{name}*: {', '.join(names)}" for on, name, names in found if names]


def _fields(kind: type) -> str:
    """Return the name of a state or event, and its fields with their types."""
    fields = msgspec.structs.fields(kind)
    if not fields:
        return f"`{tag_of(kind)}`"
    return f"`{tag_of(kind)}` {{{', '.join(f'{f.name}: {_type_text(f.type)}' for f in fields)}}}"


def _type_text(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        _, bounds = get_args(hint)
        return f"{bounds.ge} to {bounds.le}"
    if isinstance(hint, type):
        return hint.__name__
    return " or ".join(_fields(kind) for kind in get_args(hint))


def page() -> str:
    """Return the content of docs/machines.md."""
    parts = [
        "# The machines",
        "",
        "Generated from the tables in `machines/` (`python -m machines`); a test fails when this",
        "page is stale. A state answers an event or defers to its superstate; what neither answers",
        "is *ignored*, and changes nothing.",
        "",
    ]
    for machine in MACHINES.values():
        parts += [f"## {machine.name}", ""]
        for superstate in machine.superstates:
            members = ", ".join(tag_of(kind) for kind in superstate.members)
            parts += [f"Superstate **{superstate.name}**: {members}.", ""]
        parts += ["| from | event | to | asks for |", "|---|---|---|---|"]
        parts += [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in table(machine)]
        parts += ["| anything else | | ignored | |", ""]
        parts += ["States and events, with what their fields hold:", ""]
        parts += [f"- {_fields(kind)}" for kind in machine.states]
        parts += ["", *(f"- {_fields(kind)}" for kind in machine.events), ""]
        parts += ["Actions come back as data with the outcome:", "", *_actions(machine), ""]
        parts += ["```mermaid", mermaid(machine).rstrip(), "```", ""]
    return "\n".join(parts)
