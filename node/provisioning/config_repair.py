"""Rebuilds a missing or broken config from the node's key and store.

The store knows the cluster, the founder, the node's name and the last addresses of others, but not
where this node listens. A broken config is kept under another name.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from node.config import key_file, settings
from node.config.settings import Config
from node.provisioning import init_join
from node.reporting import store_audit, store_origin
from node.storage.store import Store
from node.system import clock
from node.system.errors import OperatorError
from node.system.home import Home


class RepairedConfig(NamedTuple):
    """The new config.

    Attributes:
        aside: where the broken config is now; ``None`` if there was none.
        lonely: the cluster has other nodes, but no address of one is known.
    """

    config: Config
    aside: Path | None
    lonely: bool


def repair(
    home: Home, name: str, listen: str | None = None, advertise: Sequence[str] | None = None
) -> RepairedConfig:
    """Rebuild a node's config.

    Args:
        name: of the node, if the store does not know it.
        listen: where it listens; ``None``: as in the broken config, or the default.
        advertise: likewise, the addresses for others.

    Raises:
        OperatorError: the config is fine, or the key or the store is missing.
    """
    text = _broken(home)
    own = key_file.load(home.key).pubkey
    held = store_audit.audit(home.store)
    roster = held.ledger.roster
    options: dict[str, Any] = {"name": roster.name(own) or name} | _valid_options(text)
    options |= {"cluster": held.cluster.hex(), "founder": roster.founder.hex()}
    options |= {} if listen is None else {"listen": listen}
    options |= {} if advertise is None else {"advertise": [*advertise]}
    config = msgspec.convert(options, type=Config)
    init_join.check(config)
    aside = None
    if home.config.exists():
        aside = home.config.with_name(f"{home.config.name}.broken-{_stamp()}")
        home.config.rename(aside)
    settings.write(home.config, config)
    known = (held.addresses.keys() - {own}) or config.peers
    return RepairedConfig(config, aside, bool({*roster.nodes()} - {own}) and not known)


def _broken(home: Home) -> str:
    """The text of the unusable config; empty if there is none.

    Raises:
        OperatorError: it is usable, or cannot be read.
    """
    try:
        text = home.config.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as fault:
        raise OperatorError(f"cannot read the config {home.config}: {fault.strerror}") from fault
    try:
        config = settings.parse(text, home.config)
    except OperatorError:
        return text
    if home.store.exists():
        with Store(home.store, readonly=True) as store:
            if store_origin.difference(config, store.first_records()):
                return text
    raise OperatorError(f"{home.config} is valid; edit it if you want to, and start the daemon")


def _valid_options(text: str) -> dict[str, Any]:
    """The options of a broken config that are valid by themselves."""
    try:
        options = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
    valid = {}
    for name, value in options.items():
        try:
            settings.check(
                msgspec.convert({"cluster": "", "founder": "", name: value}, type=Config)
            )
        except (msgspec.ValidationError, OperatorError):
            continue
        valid[name] = value
    return valid


def _stamp() -> str:
    return str(clock.wall()).replace(":", "")
