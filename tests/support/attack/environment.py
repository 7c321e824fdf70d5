"""Where it happens: three daemons that know each other by a hostile relay's addresses alone.

Attackers come from places of their own on the loopback network, so that what is held against a
place is never held against the honest nodes.
"""

import asyncio
import contextlib
import itertools
import socket
from pathlib import Path
from typing import NamedTuple

from crdt.primitives.identity import ClusterId, H, SigningKey
from machines.values import NodePubkey
from node.network.ticket import read_ticket
from tests.support.harness.daemons import Node, eventually

ROGUES = 8
MEMBERS_PLACE, STRANGERS_PLACE = 81, 90
PATIENCE_SECONDS = 40
"""How long a stranger may be left hanging: far above five seconds, for a machine that is busy."""


class Target(NamedTuple):
    """A daemon as an attacker sees it."""

    node: Node
    host: str
    port: int
    pubkey: NodePubkey
    cluster: ClusterId

    @property
    def address(self):
        return f"{self.host}:{self.port}"


class Ground:
    """The daemons, the keys of the members gone bad, and places to come from.

    Attributes:
        rogues: members, admitted by their keys.
        admin: an admin gone bad, likewise.
        scribe: a member that only fills the board.
        alone: held by what only one attempt may do at a time.
        tickets: secrets of tickets that let nobody in any longer, by what befell them.
        done: what was done much of.
        long_feed: one of which a few dozen fill an outbox, once there is one.
    """

    def __init__(self, fleet, relays, rng):
        self.rng = rng
        self.fleet = fleet
        self.rogues = [SigningKey(rng.randbytes(32)) for _ in range(ROGUES)]
        self.admin, self.scribe = (SigningKey(rng.randbytes(32)) for _ in range(2))
        self.tickets = {}
        self.long_feed = None
        self.done = set()
        self.alone = asyncio.Lock()
        self._strangers = itertools.count()
        den = self._make("den", relays[0], lambda node: node.gangline(
            "init", "--name", "den", "--listen", node.listen, "--advertise", relays[0].address
        ))  # fmt: skip
        self._spoil_tickets(den)
        for name, relay in zip(("b", "c"), relays[1:], strict=True):
            ticket = den.gangline("invite")
            self.tickets["used"] = read_ticket(ticket).secret
            self._make(name, relay, lambda node, name=name, relay=relay, ticket=ticket: (
                node.gangline("join", "--name", name, "--listen", node.listen,
                              "--advertise", relay.address, stdin=ticket)
            ))  # fmt: skip
        self.targets = [_target(node) for node in fleet.nodes]
        names = [f"rogue-{number}" for number in range(ROGUES)]
        for name, key in zip([*names, "admin", "scribe"], self._keys, strict=True):
            body = {"node": key.pubkey.hex(), "name": name}
            role = {"role": "admin"} if name == "admin" else {}
            den.client.ask("POST", "/members", body | role)
        eventually(self._met, "the honest nodes are linked and know every member")

    def _spoil_tickets(self, den):
        for name in ("expired", "withdrawn"):
            told = den.client.ask("POST", "/invite", {"seconds": 1 if name == "expired" else 600})
            self.tickets[name] = read_ticket(told["ticket"]).secret
        which = H(self.tickets["withdrawn"]).hex()
        den.client.ask("POST", "/tickets/withdraw", {"ticket": which})

    def _make(self, name, relay, found):
        node = self.fleet.another(name)
        found(node)
        node.start()
        relay.target = node.status()["listen"]
        return node

    def _met(self):
        return all(
            len(node.client.ask("GET", "/members")) == len(self.fleet.nodes + self._keys)
            and sum(row["linked"] for row in node.client.ask("GET", "/nodes")) >= 1
            for node in self.fleet.nodes
        )

    @property
    def liars(self):
        """The keys of whoever lies."""
        return [key.pubkey for key in (*self.rogues, self.admin)]

    @property
    def _keys(self):
        return [*self.rogues, self.admin, self.scribe]

    @property
    def cluster(self):
        return self.targets[0].cluster

    @property
    def founder(self):
        return self.targets[0].pubkey

    def target(self):
        """Any daemon."""
        return self.rng.choice(self.targets)

    def strangers_place(self):
        """Where nobody has come from yet."""
        number = next(self._strangers)
        return f"127.{STRANGERS_PLACE}.{number // 250 % 250}.{number % 250 + 1}"

    def members_place(self, rogue):
        """Where a member lives."""
        return f"127.{MEMBERS_PLACE}.0.{self._keys.index(rogue) + 1}"


def _target(node):
    status = node.status()
    host, _, port = status["listen"].rpartition(":")
    cluster = ClusterId(bytes.fromhex(status["cluster"]))
    return Target(node, host, int(port), NodePubkey.from_hex(status["node"]), cluster)


def resident_kib(process):
    """The memory that a process has in use."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def knock(target, place):
    """A bare connection from a place; ``None`` where the door shut at once."""
    with contextlib.suppress(OSError):
        return await asyncio.open_connection(target.host, target.port, local_addr=(place, 0))
    return None


async def until_cut_off(reader, writer):
    """Wait until the daemon ends it, and say so."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await reader.read(65536):
                pass
    except TimeoutError:
        return "left hanging"
    except OSError:
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return "cut off"


def reset(writer):
    """Close a connection by a reset, so that what is under way is lost."""
    with contextlib.suppress(OSError):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()
