"""A config that is gone or broken, written anew from the node's key and its store.

Stands beside ``init_join.py``. The store knows the cluster, the founder, what the node is called
and where others were last; where this node listens it does not know. What is broken is kept beside.
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


class Mended(NamedTuple):
    """What was written.

    Attributes:
        aside: where the broken config is now; ``None`` if there was none.
        lonely: other nodes belong to the cluster, and the address of none is known.
    """

    config: Config
    aside: Path | None
    lonely: bool


def mend(
    home: Home, name: str, listen: str | None = None, advertise: Sequence[str] | None = None
) -> Mended:
    """Write a node's config anew.

    Args:
        name: what it is called if the store does not say.
        listen: where it listens; else as the broken config says, or the default.
        advertise: likewise what it tells others.

    Raises:
        Trouble: the config can be read, or there is no key or no store to write it from.
    """
    text = _broken(home)
    own = key_file.load(home.key).pubkey
    held = store_audit.examine(home.store)
    roster = held.ledger.roster
    options: dict[str, Any] = {"name": roster.name(own) or name} | _still_good(text)
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
    return Mended(config, aside, bool({*roster.nodes()} - {own}) and not known)


def _broken(home: Home) -> str:
    """The text of the config that cannot be used with this store; empty if there is none.

    Raises:
        Trouble: it can be used, or looked at by nobody here.
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
    raise OperatorError(
        f"{home.config} is in order; change what you want in it, and start the daemon"
    )


def _still_good(text: str) -> dict[str, Any]:
    """Those options of a broken config that are good by themselves."""
    try:
        options = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
    good = {}
    for name, value in options.items():
        try:
            settings.check(
                msgspec.convert({"cluster": "", "founder": "", name: value}, type=Config)
            )
        except (msgspec.ValidationError, OperatorError):
            continue
        good[name] = value
    return good


def _stamp() -> str:
    return str(clock.wall()).replace(":", "")
