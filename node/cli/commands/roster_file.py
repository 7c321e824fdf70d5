"""Compares a file of members with the roster, for ``gangline members apply``.

The file is not the roster: what the roster lacks is asked of the daemon, one record at a time. TOML
or JSON, of this shape::

    [[member]]
    node = "1feb11c0…"    # the key, 64 hex digits
    role = "member"       # admin, member or observer; member where it is left out
    name = "kennel-2"     # may be left out

Source: protocol §9.
"""

import json
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from node.config.validation_messages import humanize
from node.system.errors import OperatorError
from node.system.exit_codes import Exit

RANK = {"observer": 0, "member": 1, "admin": 2}


class RosterEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One host of the file."""

    node: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    role: Literal["admin", "member", "observer"] = "member"
    name: Annotated[str, Meta(max_length=64)] = ""


class Hosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    member: list[RosterEntry]


class RosterStep(msgspec.Struct, frozen=True):
    """One request to the daemon, and a text that describes it."""

    text: str
    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RosterPlan:
    """How a file and the roster differ.

    Attributes:
        steps: what the roster lacks.
        left: differences that only a person should settle.
        extra: nodes that belong and are not in the file.
    """

    steps: list[RosterStep] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


def read(path: Path) -> list[RosterEntry]:
    """Read the hosts of a file.

    Raises:
        OperatorError: it cannot be read, or is not of this shape.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        hosts = msgspec.convert(raw, type=Hosts).member
    except OSError as fault:
        raise OperatorError(f"cannot read {path}: {fault.strerror}") from fault
    except (ValueError, msgspec.ValidationError) as fault:
        raise OperatorError(
            f"{path} is not a list of members: {humanize(str(fault))}", Exit.MALFORMED
        ) from fault
    repeated = {one.node for one in hosts if sum(other.node == one.node for other in hosts) > 1}
    if repeated:
        raise OperatorError(
            f"{path} names {', '.join(sorted(repeated))} more than once", Exit.MALFORMED
        )
    return hosts


def plan(hosts: list[RosterEntry], roster: list[dict[str, Any]]) -> RosterPlan:
    """Compare a file with the roster, as ``GET /members`` gives it."""
    found = RosterPlan()
    known = {row["node"]: row for row in roster}
    for host in hosts:
        row = known.get(host.node)
        if row is None:
            body = {"node": host.node, "role": host.role, "name": host.name}
            found.steps.append(
                RosterStep(f"admit {_display(host)} as {host.role}", "/members", body)
            )
        elif not row["belongs"]:
            name = f" --name {shlex.quote(host.name)}" if host.name else ""
            hint = f"take it back with: gangline members admit {host.node} --role {host.role}{name}"
            found.left.append(f"{_display(host)} was revoked; {hint}")
        else:
            _compare(host, row, found)
    named = {host.node for host in hosts}
    found.extra.extend(
        f"{row['node'][:8]} {row['name']} ({row['role']}) belongs and is not in the file"
        for row in roster
        if row["belongs"] and row["node"] not in named
    )
    return found


def _compare(host: RosterEntry, row: dict[str, Any], found: RosterPlan) -> None:
    has = row["role"]
    if RANK[host.role] > RANK[has]:
        body = {"node": host.node, "up": True, "role": host.role}
        text = f"promote {_display(host)} from {has} to {host.role}"
        found.steps.append(RosterStep(text, "/members/role", body))
    elif RANK[host.role] < RANK[has]:
        command = f"gangline members demote {host.node[:8]} --role {host.role}"
        found.left.append(
            f"{_display(host)} is {has}, but {host.role} in the file; demote it with: {command}"
        )
    if host.name and host.name != row["name"]:
        body = {"node": host.node, "name": host.name}
        text = f"rename {host.node[:8]} from {row['name'] or 'no name'} to {host.name}"
        found.steps.append(RosterStep(text, "/members/name", body))


def _display(host: RosterEntry) -> str:
    return f"{host.node[:8]} {host.name}".rstrip()
