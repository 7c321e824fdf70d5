"""A node's config: one TOML file, read strictly into ``Config``.

Every option has a description, with its unit; an error names the file, the line and the way out.
TOML is written by hand: tomli-w writes short ``[[peers]]`` inline, and errors name tables by line.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from crdt.primitives import limits
from node.config import addresses
from node.system import atomic_file
from node.system.errors import OperatorError
from node.system.home import REPAIR, Home

_KEY = re.compile("[0-9a-f]{64}")


class PeerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A peer to dial."""

    node: Annotated[str, Meta(description="its public key, 64 hex digits")]
    address: Annotated[str, Meta(description="host:port")]


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an agent signals that it must wait: by an exit code, a line of output, or either."""

    resume_after: Annotated[int, Meta(ge=1, description="seconds before the agent may resume")]
    exit_code: Annotated[
        int | None, Meta(description="the exit code of an agent that must wait")
    ] = None
    pattern: Annotated[
        str | None, Meta(description="a regular expression that its output matches")
    ] = None

    def __post_init__(self) -> None:
        """Reject a pattern that is not a regular expression."""
        try:
            re.compile(self.pattern or "")
        except (re.error, OverflowError, RecursionError) as fault:
            raise ValueError(f"pattern is not a regular expression: {fault}") from fault


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All options of a node."""

    cluster: Annotated[str, Meta(description="the cluster's id, 64 hex digits")]
    founder: Annotated[str, Meta(description="the founder's public key, 64 hex digits")]
    name: Annotated[str, Meta(description="this node's name")] = ""
    listen: Annotated[
        str, Meta(description="host:port to listen on; empty: only dial. Port 0 takes a free one")
    ] = "127.0.0.1:7467"
    advertise: Annotated[
        list[Annotated[str, Meta(max_length=256, pattern=r"^[!#-;=?-\[\]-~]+\Z")]],
        Meta(max_length=8, description="addresses that others dial; empty: the listen address"),
    ] = []
    peers: Annotated[
        list[PeerSettings], Meta(description="nodes to dial besides those learned from peers")
    ] = []
    rate_limits: Annotated[
        list[RateLimit], Meta(description="how agents signal that they must wait")
    ] = []
    links: Annotated[int, Meta(ge=1, le=64, description="how many links to open and keep")] = 8
    log_format: Annotated[
        Literal["text", "json"], Meta(description="text, or json: one object a line")
    ] = "text"
    history_rows: Annotated[
        int,
        Meta(ge=0, le=limits.INTEGER_MAX, description="events kept for inspect history; 0: none"),
    ] = 10_000
    history_days: Annotated[int, Meta(ge=1, le=36_500, description="days to keep them at most")] = (
        30
    )


def load(path: Path) -> Config:
    """Read the config file.

    Raises:
        OperatorError: it is missing or not TOML, or an option is wrong; names the line.
    """
    home = Home(path.parent)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OperatorError(home.why_no_node()) from None
    except OSError as fault:
        raise OperatorError(f"cannot read the config {path}: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise OperatorError(f"{path} is not TOML: {fault}{_repair_hint(home)}") from fault
    return parse(text, path, _repair_hint(home))


def _repair_hint(home: Home) -> str:
    """How to rebuild the config from the store; empty if there is no store or key."""
    return f"; fix it, or {REPAIR}" if home.key.exists() and home.store.exists() else ""


def parse(text: str, path: Path, hint: str = "") -> Config:
    """Parse the text of a config.

    Args:
        path: of the file, for messages.
        hint: appended if the text is not TOML, or lacks a required option.

    Raises:
        OperatorError: it is not TOML, or an option is wrong; names the line.
    """
    try:
        config = msgspec.convert(tomllib.loads(text), type=Config)
    except tomllib.TOMLDecodeError as fault:
        raise OperatorError(f"{path} is not TOML: {fault}{hint}") from fault
    except msgspec.ValidationError as fault:
        if missing := re.search(r"missing required field `(cluster|founder)`", str(fault)):
            raise OperatorError(f"{path}: {missing[1]} is missing{hint}") from fault
        raise OperatorError(_explain(path, text, str(fault))) from fault
    check(config, text, path)
    for name, key in _keys(config):
        if _KEY.fullmatch(key) is None:
            option = rf"\s*(\[\[)?{name}\b"
            raise OperatorError(
                f"{path}{_line(text, option)}: {name}: not 64 lower-case hex digits{hint}"
            )
    return config


def _keys(config: Config) -> list[tuple[str, str]]:
    """Every key in a config, after the name of its option."""
    peers = [("node", peer.node) for peer in config.peers]
    return [("cluster", config.cluster), ("founder", config.founder), *peers]


def check(config: Config, text: str = "", path: Path | None = None) -> None:
    """Check every address in a config.

    Raises:
        OperatorError: one is invalid; names its line in the text.
    """
    wrong = bad_address(config)
    if wrong is not None:
        option, address, reason = wrong
        line = _line(text, rf".*{re.escape(msgspec.json.encode(address).decode())}")
        line = line or _line(text, rf"\s*(\[\[)?{option}\b")
        raise OperatorError(f"{path}{line}: {option}: {reason}")


def bad_address(config: Config) -> tuple[str, str, str] | None:
    """The first invalid address: its option, the address, and what is wrong with it."""
    given = [("listen", config.listen)] if config.listen else []
    given += [("advertise", address) for address in config.advertise]
    given += [("peers", peer.address) for peer in config.peers]
    for option, address in given:
        reason = addresses.fault(address, listening=option == "listen")
        if reason is not None:
            return option, address, reason
    return None


def write(path: Path, config: Config) -> None:
    """Write a config that ``load`` reads back, whole or not at all."""
    with atomic_file.atomic_file(path, force=True) as partial:
        partial.write_text(text_of(config), encoding="utf-8")


def text_of(config: Config) -> str:
    """A config as TOML that ``parse`` reads back: options first, then tables."""
    tables = ("peers", "rate_limits")
    whole = msgspec.to_builtins(config)
    lines = [
        f"{name} = {msgspec.json.encode(value).decode()}"
        for name, value in whole.items()
        if name not in tables
    ]
    for table in tables:
        for row in whole[table]:
            lines += ["", f"[[{table}]]"]
            lines += [
                f"{name} = {msgspec.json.encode(value).decode()}"
                for name, value in row.items()
                if value is not None
            ]
    return "\n".join(lines) + "\n"


def _explain(path: Path, text: str, fault: str) -> str:
    """A validation error as a message: with the line, and the closest option for an unknown one."""
    unknown = re.search(r"unknown field `(\w+)`", fault)
    named = unknown or re.search(r"`\$\.(\w+)", fault)
    line = ""
    if named is not None:
        # A table may appear several times; the error names its index.
        count = re.search(rf"`\$\.{named[1]}\[(\d+)\]", fault)
        line = _line(text, rf"\s*(\[\[)?{named[1]}\b", int(count[1]) if count else 0)
    hint = ""
    if unknown is not None:
        names = [field.name for field in msgspec.structs.fields(Config)]
        near = difflib.get_close_matches(unknown[1], names, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; the options are: {', '.join(names)}"
    elif named is not None and "enum" in fault:
        hint = f"; use {' or '.join(get_args(get_type_hints(Config)[named[1]]))}"
    return f"{path}{line}: {fault}{hint}"


def _line(text: str, pattern: str, which: int = 0) -> str:
    """The line that matches, for a message: the one with this index, or else the last."""
    numbers = [n for n, written in enumerate(text.splitlines(), 1) if re.match(pattern, written)]
    return f", line {numbers[min(which, len(numbers) - 1)]}" if numbers else ""
