"""The process that does the honest work, as the attack sees it."""

import json
import subprocess
import sys

from crdt.authoring.intents import Receipt
from crdt.primitives.identity import RecordId
from machines.values import NodePubkey
from tests.support.attack.work import CallerReport
from tests.support.harness.daemons import Failed
from tests.support.harness.workload import Acked
from tests.support.invariants.laws import Broken

END_SECONDS_MAX = 300
"""It waits for every answer: longer than a probe or a write may take."""


class Honest:
    """Work that goes on while the context is open, unless it is ended before.

    Args:
        path: the file that takes what it tells.
        rate: writes a second that are asked for.

    Attributes:
        acked: what was acknowledged, once it has ended.
        report: likewise.
    """

    def __init__(self, nodes, seed, path, rate):
        self.nodes = {str(node): node for node in nodes}
        self.rate = rate
        self.acked = []
        self._path = path
        self._command = [
            sys.executable, "-m", "tests.support.attack.work",
            "--seed", str(seed), "--rate", str(rate), *(str(node.home) for node in nodes),
        ]  # fmt: skip

    def __enter__(self):
        with self._path.open("wb") as told:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=told)
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def reached(self):
        """Acknowledged writes a second."""
        return len(self.acked) / self.report.seconds

    def end(self):
        """Let it end, and read what it told.

        Raises:
            Broken: work was held up.
        """
        self._process.communicate(timeout=END_SECONDS_MAX)
        if code := self._process.returncode:
            raise Failed(f"the honest work ended with {code}; what it died of is told above")
        *lines, last = self._path.read_text(encoding="utf-8").splitlines()
        self.report = CallerReport(**json.loads(last))
        for line in lines:
            name, author, incarnation, clock, record, key = json.loads(line)
            receipt = Receipt(
                NodePubkey.from_hex(author), incarnation, clock, RecordId.from_hex(record)
            )
            self.acked.append(Acked(self.nodes[name], receipt, tuple(key) if key else None))
        if self.report.fault:
            raise Broken("L6", self.report.fault)
