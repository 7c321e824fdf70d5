"""Draws a machine from its table: Mermaid, DOT, and a table in Markdown.

Takes a ``Machine``, gives text. Nothing here knows a state by name, so a drawing cannot disagree
with the rules. ``page`` makes docs/machines.md.
"""

from typing import Annotated, Any, get_args, get_origin

import msgspec

from machines.execution import EXECUTION
from machines.kernel import Machine, Rule, tag_of
from machines.pipeline import PIPELINE

MACHINES = {"pipeline": PIPELINE, "execution": EXECUTION}


def _label(rule: Rule) -> str:
    """An arrow's label: the event, its condition, and whether it updates in place."""
    condition = f" [{rule.when_text}]" if rule.when_text else ""
    return f"{tag_of(rule.event)}{condition}{' (in place)' if rule.in_place else ''}"


def arrows(machine: Machine) -> list[tuple[str, str, str]]:
    """Every arrow as (from, to, label): rules between the same two ends share one.

    A superstate's rule is one arrow from its box, except where it leads back into that box: neither
    Mermaid nor Graphviz draws that, so it leaves from each member.
    """
    members = {above.name: above.members for above in machine.superstates}
    labels: dict[tuple[str, str], list[str]] = {}
    for rule in machine.rules:
        inside = members.get(rule.source, ())
        tails = [tag_of(kind) for kind in inside] if rule.target in inside else [rule.source]
        for tail in tails:
            labels.setdefault((tail, tag_of(rule.target)), []).append(_label(rule))
    return [(tail, head, ", ".join(events)) for (tail, head), events in labels.items()]


def mermaid(machine: Machine) -> str:
    """The machine as a Mermaid state diagram; superstates are boxes."""
    lines = ["stateDiagram-v2", f"    [*] --> {machine.state_name(machine.initial)}"]
    for above in machine.superstates:
        lines.append(f"    state {above.name} {{")
        lines += [f"        {tag_of(kind)}" for kind in above.members]
        lines.append("    }")
    lines += [f"    {tail} --> {head} : {label}" for tail, head, label in arrows(machine)]
    return "\n".join(lines) + "\n"


def dot(machine: Machine) -> str:
    """The machine for Graphviz; superstates are clusters."""
    lines = [f"digraph {machine.name} {{", "    compound=true;", "    node [shape=box];"]
    anchors = {tag_of(kind): tag_of(kind) for kind in machine.states}
    for above in machine.superstates:
        lines.append(f"    subgraph cluster_{above.name} {{")
        lines.append(f'        label="{above.name}";')
        lines += [f'        "{tag_of(kind)}";' for kind in above.members]
        lines.append("    }")
        anchors[above.name] = tag_of(above.members[0])
    lines += [f'    "{tag_of(k)}";' for k in machine.states if machine.superstate(k) is None]
    for source, head, label in arrows(machine):
        # Graphviz draws from a cluster's edge when the tail is one of its nodes.
        tail = f', ltail="cluster_{source}"' if anchors[source] != source else ""
        lines.append(f'    "{anchors[source]}" -> "{head}" [label="{label}"{tail}];')
    return "\n".join([*lines, "}"]) + "\n"


def table(machine: Machine) -> list[tuple[str, str, str, str]]:
    """Every rule as (from, event, to, what it asks for); superstates stand once."""
    rows = []
    for rule in machine.rules:
        target = tag_of(rule.target) + (" (in place)" if rule.in_place else "")
        condition = f" ({rule.when_text})" if rule.when_text else ""
        rows.append((rule.source + condition, tag_of(rule.event), target, rule.action or ""))
    return rows


def _actions(machine: Machine) -> list[str]:
    declared = [("entry", name, names) for name, names in machine.entry.items()]
    declared += [("exit", name, names) for name, names in machine.exit.items()]
    for above in machine.superstates:
        declared += [("entry", above.name, above.entry), ("exit", above.name, above.exit)]
    return [f"- {on} of *{name}*: {', '.join(names)}" for on, name, names in declared if names]


def _fields(kind: type) -> str:
    """A state's or an event's name and its fields, each with what it may hold."""
    held = msgspec.structs.fields(kind)
    if not held:
        return f"`{tag_of(kind)}`"
    return f"`{tag_of(kind)}` {{{', '.join(f'{f.name}: {_holds(f.type)}' for f in held)}}}"


def _holds(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        _, bounds = get_args(hint)
        return f"{bounds.ge} to {bounds.le}"
    if isinstance(hint, type):
        return hint.__name__
    return " or ".join(_fields(kind) for kind in get_args(hint))


def page() -> str:
    """The whole of docs/machines.md."""
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
        for above in machine.superstates:
            members = ", ".join(tag_of(kind) for kind in above.members)
            parts += [f"Superstate **{above.name}**: {members}.", ""]
        parts += ["| from | event | to | asks for |", "|---|---|---|---|"]
        parts += [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in table(machine)]
        parts += ["| anything else | | ignored | |", ""]
        parts += ["States and events, with what their fields hold:", ""]
        parts += [f"- {_fields(kind)}" for kind in machine.states]
        parts += ["", *(f"- {_fields(kind)}" for kind in machine.events), ""]
        parts += ["Actions come back as data with the outcome:", "", *_actions(machine), ""]
        parts += ["```mermaid", mermaid(machine).rstrip(), "```", ""]
    return "\n".join(parts)
