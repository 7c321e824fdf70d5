"""Hosts on one network, made of namespaces: each with its own address, and every fault by name.

A switch (a bridge in a namespace of its own) and a namespace for each host, joined by veth pairs.
Nothing of it is in the namespace that the tests run in. Packets are dropped by nftables where they
arrive, so each direction is its own, and the rules' counters say what a fault really cost; a thin
link is a token bucket (tbf) where packets leave. There is no delay: many kernels have no ``netem``.
Everything is ended and removed by name, what a killed run left behind too.
"""

import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

PREFIX = "glnet"
SUBNET = "10.77.0"
TOOLS = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}
_numbers = itertools.count(1)


class NoNetwork(Exception):
    """This machine cannot make such a network; the text says what it lacks."""


def run(*command, stdin=None):
    """Run a tool to its end; gives what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise NoNetwork(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


@functools.cache
def missing():
    """What this machine lacks to make such a network, in a few words; empty where it can."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"there is no {tool} here (Debian: {package})"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with Network() as network:
            one, two = network.host(), network.host()
            network.lose(one, two, 50, "loss")
            network.rate(one, 1000)
            network.dropped()
    except NoNetwork as fault:
        return f"no network namespaces with veth, nftables and tbf here: {fault}"
    return ""


class NamespaceHost:
    """One host: a namespace with one interface and one address."""

    def __init__(self, namespace, address):
        self.namespace = namespace
        self.address = address

    def __repr__(self):
        return f"host {self.address}"

    @property
    def enter(self):
        """The words before a command that is to run on this host."""
        return ("ip", "netns", "exec", self.namespace)


class Network:
    """Hosts behind one switch; leaves nothing behind.

    Attributes:
        fired: how many packets each kind of fault has dropped or held back, rules in force apart.
    """

    def __init__(self):
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.switch = f"{self.name}-switch"
        self.hosts = []
        self.fired = Counter()
        self._rules = {}
        self._thin = set()

    def __enter__(self):
        sweep()
        try:
            run("ip", "netns", "add", self.switch)
            run("ip", "-n", self.switch, "link", "add", "name", "br0", "type", "bridge")
            run("ip", "-n", self.switch, "link", "set", "br0", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End what still runs on the hosts, and remove them."""
        for namespace in (*(host.namespace for host in self.hosts), self.switch):
            remove(namespace)

    def host(self):
        """Another host on the switch."""
        number = len(self.hosts) + 1
        host = NamespaceHost(f"{self.name}-{number}", f"{SUBNET}.{number}")
        self.hosts.append(host)
        run("ip", "netns", "add", host.namespace)
        run(
            "ip", "-n", self.switch, "link", "add", "name", f"port{number}", "type", "veth",
            "peer", "name", "eth0", "netns", host.namespace,
        )  # fmt: skip
        run("ip", "-n", self.switch, "link", "set", f"port{number}", "master", "br0", "up")
        run("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        run("ip", "-n", host.namespace, "link", "set", "lo", "up")
        run("ip", "-n", host.namespace, "link", "set", "eth0", "up")
        return host

    # --- faults --------------------------------------------------------------------------------

    def lose(self, source, target, percent, kind):
        """Of what one host sends to another lose so many packets in a hundred, by chance.

        Args:
            kind: the word under which the loss is counted.
        """
        self._rules.setdefault(target, {})[source] = (percent, kind)
        self._enforce(target)

    def cut(self, some, others, kind="partition"):
        """No packet between some hosts and others, either way."""
        for one, other in itertools.product(some, others):
            self._rules.setdefault(one, {})[other] = (100, kind)
            self._rules.setdefault(other, {})[one] = (100, kind)
        for host in {*some, *others}:
            self._enforce(host)

    def rate(self, host, kbit):
        """A thin line out of one host, with a queue of a second; what overflows it is lost."""
        run(
            "tc", "-n", host.namespace, "qdisc", "replace", "dev", "eth0", "root",
            "tbf", "rate", f"{kbit}kbit", "burst", "4kb", "latency", "1000ms",
        )  # fmt: skip
        self._thin.add(host)

    def heal(self):
        """Every fault ends."""
        self.fired = self.dropped()
        for host in self._rules:
            run(*host.enter, "nft", "delete", "table", "inet", "faults")
        for host in self._thin:
            run("tc", "-n", host.namespace, "qdisc", "delete", "dev", "eth0", "root")
        self._rules.clear()
        self._thin.clear()

    def dropped(self):
        """How many packets each kind of fault has dropped or held back up to now."""
        told = Counter(self.fired)
        for host in self._rules:
            told += self._dropped_at(host)
        for host in self._thin:
            [line] = json.loads(
                run("tc", "-n", host.namespace, "-s", "-j", "qdisc", "show", "dev", "eth0")
            )
            told["thin link"] += line["overlimits"]
        return told

    def _dropped_at(self, host):
        told = Counter()
        listed = json.loads(
            run(*host.enter, "nft", "-j", "list", "table", "inet", "faults")
        )["nftables"]  # fmt: skip
        for rule in (one["rule"] for one in listed if "rule" in one):
            for part in rule["expr"]:
                told[rule["comment"]] += part.get("counter", {}).get("packets", 0)
        return told

    def _enforce(self, host):
        """Put a host's rules in force in one step, and keep what the old ones counted."""
        with contextlib.suppress(NoNetwork):  # there are none yet
            self.fired += self._dropped_at(host)
        rules = "\n".join(
            f"ip saddr {source.address} "
            + (f"numgen random mod 100 < {percent} " if percent < 100 else "")
            + f'counter drop comment "{kind}"'
            for source, (percent, kind) in self._rules[host].items()
        )
        run(
            *host.enter, "nft", "-f", "-",
            stdin=f"""
                table inet faults
                delete table inet faults
                table inet faults {{
                    chain arriving {{
                        type filter hook input priority 0; policy accept;
                        {rules}
                    }}
                }}
            """,
        )  # fmt: skip


def remove(namespace):
    """End every process in a namespace, and remove it; nothing where there is none."""
    with contextlib.suppress(NoNetwork):
        for pid in run("ip", "netns", "pids", namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "delete", namespace)


def sweep():
    """Remove what runs that were killed have left behind."""
    for line in run("ip", "netns", "list").splitlines():
        namespace = line.split()[0]
        prefix, _, rest = namespace.partition("-")
        pid = rest.partition("-")[0]
        if prefix == PREFIX and not Path(f"/proc/{pid}").exists():
            remove(namespace)
